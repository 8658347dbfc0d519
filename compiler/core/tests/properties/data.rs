//! Contents of slots: random, with the special values that tell a wrong rewrite from a right one, and true to their facts.

use crate::random::Rng;
use optc_core::hir::Fact;
use optc_core::ir::{Function, Slot};

/// What to put into slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Values {
    /// Zeros of both signs, NaN and infinities among the others.
    Any,
    /// Finite and of moderate size.
    Tame,
}

/// The parameter, the gradient and the state.
pub(crate) fn contents(function: &Function, values: Values, rng: &mut Rng) -> Vec<Vec<f64>> {
    function
        .slots
        .iter()
        .map(|slot| content(slot, values, rng))
        .collect()
}

fn content(slot: &Slot, values: Values, rng: &mut Rng) -> Vec<f64> {
    let count = slot.ty.numel() as usize;
    let data: Vec<f64> = (0..count).map(|_| element(values, rng)).collect();
    let n = slot.ty.dims.last().map_or(1, |&d| d as usize);
    let data = match slot.fact {
        Fact::Symmetric => (0..count)
            .map(|k| data[(k / n).max(k % n) * n + (k / n).min(k % n)])
            .collect(),
        Fact::Orthogonal => orthogonal(data, n),
        _ => data,
    };
    data.into_iter().map(|x| slot.ty.dtype.round(x)).collect()
}

fn element(values: Values, rng: &mut Rng) -> f64 {
    let special = [
        0.0,
        -0.0,
        0.1,
        1.0,
        -1.0,
        1e-30,
        3e38,
        f64::NAN,
        f64::INFINITY,
    ];
    match (values, rng.below(40)) {
        (Values::Any, 0) => rng.pick(&special),
        (_, 1) => rng.pick(&[0.0, 0.1, 1.0, 0.5]),
        _ => rng.unit(),
    }
}

/// Rows made orthonormal one after the other, twice for accuracy.
fn orthogonal(mut data: Vec<f64>, n: usize) -> Vec<f64> {
    (0..n).for_each(|i| data[i * n + i] += 1.5);
    for _ in 0..2 {
        for i in 0..n {
            for j in 0..i {
                let dot: f64 = (0..n).map(|k| data[i * n + k] * data[j * n + k]).sum();
                (0..n).for_each(|k| data[i * n + k] -= dot * data[j * n + k]);
            }
            let norm = (0..n).map(|k| data[i * n + k].powi(2)).sum::<f64>().sqrt();
            (0..n).for_each(|k| data[i * n + k] /= norm);
        }
    }
    data
}
