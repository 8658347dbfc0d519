//! The random numbers of a recorded run, given again to the parameters that drew them.

use std::collections::BTreeMap;
use std::sync::Arc;

use optc_core::random::{Draw, Noise, Recorded};

use crate::golden::Case;
use crate::mapping;

/// Tensors by parameter and its own step, in the order of the rule; one number per step for what all share.
#[derive(Debug)]
struct Replay {
    tensors: BTreeMap<(String, u64), Vec<Vec<f64>>>,
    chances: Vec<f64>,
}

impl Recorded for Replay {
    fn tensor(&self, draw: Draw<'_>) -> Option<Vec<f64>> {
        let drawn = self.tensors.get(&(draw.param.to_owned(), draw.step))?;
        drawn.get(draw.site as usize).cloned()
    }

    fn chance(&self, draw: Draw<'_>) -> Option<f64> {
        self.chances.get(draw.step as usize - 1).copied()
    }
}

/// What a case's rule draws; the streams of seed 0 where nothing was recorded.
pub fn noise(case: &Case) -> Noise {
    if case.draws.is_empty() {
        return Noise::default();
    }
    let mut draws = case.draws.iter().peekable();
    let mut steps: BTreeMap<&str, u64> = BTreeMap::new();
    let mut tensors: BTreeMap<(String, u64), Vec<Vec<f64>>> = BTreeMap::new();
    // Before the first step a parameter draws as many numbers as it has elements, perhaps in pieces.
    for name in &case.order {
        let mut drawn = Vec::new();
        while drawn.len() < case.params[name].init.len()
            && let Some((_, piece)) = draws.next_if(|(at, _)| *at == 0)
        {
            drawn.extend(piece);
        }
        if !drawn.is_empty() {
            tensors.insert((name.clone(), 0), vec![drawn]);
        }
    }
    for (t, grads) in (1..).zip(&case.grads) {
        for name in case.order.iter().filter(|name| grads.contains_key(*name)) {
            let step = steps.entry(name).or_default();
            *step += 1;
            for _ in 0..mapping::draws(case, name, *step) {
                if let Some((_, drawn)) = draws.next_if(|(at, _)| *at == t) {
                    let own = tensors.entry((name.clone(), *step)).or_default();
                    own.push(drawn.clone());
                }
            }
        }
    }
    assert!(
        draws.next().is_none(),
        "{}: a draw without a parameter",
        case.id()
    );
    Noise::Recorded(Arc::new(Replay {
        tensors,
        chances: case.chances.clone(),
    }))
}
