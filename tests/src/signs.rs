//! GaLore after its projector changed: moments that outlive a projector keep the signs of its vectors, and those are the
//! factorization's choice.
//!
//! The interpreter can be told whose signs to keep ([`Turned`]): with those of the recording it follows the recording to
//! its end, and with those that a stepper chose it says where that stepper must go ([`expected`]).

use std::collections::BTreeMap;

use optc_core::dtype::DType;

use crate::golden::{Case, Snapshot};
use crate::interpreted::{Interpreted, Stage};
use crate::mapping::{self, State};
use crate::parity::Stepper;

/// The recorded case whose moments outlive a projector.
pub const CASE: (&str, &str) = ("galore_adamw", "std_gap");

const RANK: usize = 3;
/// The steps at which the projector is made.
const RENEWED: [u64; 3] = [1, 4, 7];

/// Whether the recorded numbers are one of several that are right.
pub fn hangs_on_signs(case: &Case) -> bool {
    (case.file.as_str(), case.name.as_str()) == CASE
}

/// The case as it goes with the signs that a stepper chose.
pub fn expected(case: &Case, told: &Told) -> Case {
    let mut stepper = Turned::new(case, Stage::Lowered, told.signs(case));
    let mut expected = case.clone();
    for step in 1..=case.steps {
        stepper.step(None, &case.grads[step as usize - 1]);
        for param in case.order.iter().filter(|_| case.snapshots.contains(&step)) {
            expected.replace(step, param, snapshot(case, (step, param), &stepper));
        }
    }
    expected
}

fn snapshot(case: &Case, (step, param): (u64, &str), stepper: &Turned<'_>) -> Snapshot {
    let recorded = case.snapshot(step, param).states.iter();
    let states = recorded.map(|(name, known)| {
        let ours = ours(case, param, name).filter(|ours| ours != "step");
        let value = ours.and_then(|ours| stepper.state(param, &ours));
        (name.clone(), value.unwrap_or_else(|| known.clone()))
    });
    Snapshot {
        param: stepper.param(param),
        states: states.collect(),
    }
}

/// What a recorded state is called here.
fn ours(case: &Case, param: &str, recorded: &str) -> Option<String> {
    match mapping::state(case, param, recorded) {
        State::Plain(ours) | State::Unsigned(ours) => Some(ours),
        State::Counter(_) => Some("step".to_owned()),
        _ => None,
    }
}

/// The signs of singular vectors in terms of the recorded ones, by step and parameter.
type Signs = BTreeMap<(u64, String), [f64; RANK]>;

/// What a stepper did in a whole case; it does it again.
pub struct Told {
    /// Parameters, and their states as `param/state`, before the first step and after each.
    steps: Vec<BTreeMap<String, Vec<f64>>>,
    now: usize,
}

impl Told {
    /// Takes the stepper through the case.
    pub fn by(case: &Case, stepper: &mut dyn Stepper) -> Told {
        let mut steps = vec![seen(case, stepper)];
        for grads in &case.grads {
            stepper.step(None, grads);
            steps.push(seen(case, stepper));
        }
        Told { steps, now: 0 }
    }

    fn signs(&self, case: &Case) -> Signs {
        let renewed = RENEWED.into_iter().flat_map(|step| {
            let projector =
                |param: &str| &self.steps[step as usize][&format!("{param}/ortho_matrix")];
            let each = projected(case).map(move |param| {
                let signs = signs(case, (step, param), projector(param));
                ((step, param.to_owned()), signs)
            });
            each.collect::<Vec<_>>()
        });
        renewed.collect()
    }
}

fn seen(case: &Case, stepper: &dyn Stepper) -> BTreeMap<String, Vec<f64>> {
    let mut seen = BTreeMap::new();
    for param in &case.order {
        let recorded = case.snapshot(case.steps, param).states.keys();
        for ours in recorded.filter_map(|recorded| ours(case, param, recorded)) {
            if let Some(value) = stepper.state(param, &ours) {
                seen.insert(format!("{param}/{ours}"), value);
            }
        }
        seen.insert(param.clone(), stepper.param(param));
    }
    seen
}

impl Stepper for Told {
    fn step(&mut self, _: Option<f64>, _: &BTreeMap<String, Vec<f64>>) {
        self.now += 1;
    }

    fn entry(&mut self, name: &str, _: Option<&BTreeMap<String, Vec<f64>>>) {
        unreachable!("the case has no entry `{name}`")
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.steps[self.now][name].clone()
    }

    fn shared(&self, _: usize, _: &str) -> Option<f64> {
        None
    }

    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        self.steps[self.now]
            .get(&format!("{param}/{state}"))
            .cloned()
    }
}

/// The interpreter, whose moments keep other signs than its own when their projector is renewed.
pub struct Turned<'a> {
    case: &'a Case,
    stepper: Interpreted,
    step: u64,
    /// Where the signs differ, -1.
    turns: Signs,
}

impl<'a> Turned<'a> {
    /// Which signs the interpreter chooses does not hang on the moments: a first run finds them out.
    pub fn new(case: &'a Case, stage: Stage, wanted: Signs) -> Turned<'a> {
        let interpreted = || Interpreted::new(case, DType::F64, stage);
        let mut turns = Told::by(case, &mut interpreted()).signs(case);
        for (key, signs) in &mut turns {
            signs
                .iter_mut()
                .zip(wanted[key])
                .for_each(|(own, wanted)| *own *= wanted);
        }
        Turned {
            case,
            stepper: interpreted(),
            step: 0,
            turns,
        }
    }

    /// With the signs of the recording.
    pub fn as_recorded(case: &'a Case, stage: Stage) -> Turned<'a> {
        let all = RENEWED.into_iter().flat_map(|step| {
            let each = projected(case).map(move |param| ((step, param.to_owned()), [1.0; RANK]));
            each.collect::<Vec<_>>()
        });
        Turned::new(case, stage, all.collect())
    }

    /// The turns of the projector that was made last.
    fn turns(&self, param: &str, step: u64) -> Option<[f64; RANK]> {
        let made = RENEWED.into_iter().rev().find(|made| *made <= step)?;
        self.turns.get(&(made, param.to_owned())).copied()
    }
}

impl Stepper for Turned<'_> {
    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>) {
        self.step += 1;
        for param in projected(self.case) {
            let known = (
                self.turns(param, self.step - 1),
                self.turns(param, self.step),
            );
            if let (Some(old), Some(new)) = known {
                let moments = |values: &mut [f64]| {
                    turn(values, old, !is_tall(self.case, param));
                    turn(values, new, !is_tall(self.case, param));
                };
                self.stepper.change_state(param, "exp_avg", moments);
            }
        }
        self.stepper.step(lr, grads);
    }

    fn entry(&mut self, name: &str, grads: Option<&BTreeMap<String, Vec<f64>>>) {
        self.stepper.entry(name, grads);
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.stepper.param(name)
    }

    fn shared(&self, group: usize, name: &str) -> Option<f64> {
        self.stepper.shared(group, name)
    }

    /// Projector and moments in the signs that are wanted.
    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        let mut found = self.stepper.state(param, state)?;
        if let Some(turns) = self.turns(param, self.step) {
            match state {
                "ortho_matrix" => turn(&mut found, turns, is_tall(self.case, param)),
                "exp_avg" => turn(&mut found, turns, !is_tall(self.case, param)),
                _ => {}
            }
        }
        Some(found)
    }
}

fn projected(case: &Case) -> impl Iterator<Item = &str> {
    let matrices = case.order.iter().map(String::as_str);
    matrices.filter(|name| case.params[*name].shape.len() == 2)
}

fn is_tall(case: &Case, param: &str) -> bool {
    let shape = &case.params[param].shape;
    shape[0] >= shape[1]
}

fn signs(case: &Case, (step, param): (u64, &str), projector: &[f64]) -> [f64; RANK] {
    let recorded = &case.snapshot(step, param).states["ortho_matrix"];
    let (count, mut products) = (recorded.len(), [0.0; RANK]);
    for (at, (ours, recorded)) in projector.iter().zip(recorded).enumerate() {
        products[vector(at, count, is_tall(case, param))] += ours * recorded;
    }
    products.map(f64::signum)
}

/// Gives each vector its sign.
fn turn(values: &mut [f64], signs: [f64; RANK], along_rows: bool) {
    let count = values.len();
    for (at, x) in values.iter_mut().enumerate() {
        *x *= signs[vector(at, count, along_rows)];
    }
}

/// The vector that an element belongs to: the projector and the moments have vectors along opposite axes.
fn vector(at: usize, count: usize, along_rows: bool) -> usize {
    if along_rows {
        at / (count / RANK)
    } else {
        at % RANK
    }
}
