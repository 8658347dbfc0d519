//! Runs an optimizer through a recorded trajectory and measures parameters and states at every snapshot.
//!
//! The interpreter and every compiled tier implement [`Stepper`]; the runner and the tolerances are the same for all.

use std::collections::BTreeMap;
use std::fmt;

use crate::compare::{self, Basis, Distance};
use crate::golden::{Case, Snapshot};
use crate::mapping::{self, Setup, State};
use crate::signs::{self, Told};
use crate::tolerance::{Bound, Precision, Quantity, bound};

/// An optimizer bound to the parameters of one case.
pub trait Stepper {
    /// One step; `lr` replaces the learning rate of every group, and a parameter without a gradient has no entry.
    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>);
    /// An entry on the parameters with these gradients, or on all of them.
    fn entry(&mut self, name: &str, grads: Option<&BTreeMap<String, Vec<f64>>>);
    /// A parameter, row-major.
    fn param(&self, name: &str) -> Vec<f64>;
    /// A number that the parameters of a group share; groups count from 0, in the order of the reference.
    fn shared(&self, group: usize, name: &str) -> Option<f64>;
    /// A state by its name in the language (`exp_avg`, `gram.0`), or the counter `step` as one number.
    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>>;
}

/// One compared tensor.
#[derive(Debug)]
pub struct Comparison {
    pub step: u64,
    /// `NAME` or `NAME/STATE`.
    pub what: String,
    pub distance: Distance,
    pub bound: Bound,
}

/// All comparisons of one case.
pub struct Report {
    pub case: String,
    pub comparisons: Vec<Comparison>,
}

impl Report {
    /// What is further away than its bound.
    pub fn failures(&self) -> impl Iterator<Item = &Comparison> {
        self.comparisons
            .iter()
            .filter(|c| !c.bound.admits(c.distance))
    }

    /// Whether everything is within its bound, and there was something to compare.
    pub fn passed(&self) -> bool {
        !self.comparisons.is_empty() && self.failures().next().is_none()
    }

    /// The largest error in units of its bound.
    pub fn worst(&self) -> f64 {
        self.comparisons
            .iter()
            .map(|c| c.distance.max / c.bound.max)
            .fold(0.0, f64::max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let failed = self.failures().count();
        writeln!(
            f,
            "{}: {failed} of {} differ",
            self.case,
            self.comparisons.len()
        )?;
        for c in self.failures().take(10) {
            let (error, bound) = (c.distance.max, c.bound.max);
            writeln!(
                f,
                "  step {:>2}  {:<24} error {error:.1e}  bound {bound:.1e}",
                c.step, c.what
            )?;
        }
        Ok(())
    }
}

/// Steps through the whole case and compares at every snapshot; where the recorded numbers hang on signs that a
/// factorization chose, with what they are for the stepper's own.
pub fn follow(case: &Case, precision: Precision, stepper: &mut dyn Stepper) -> Report {
    if !signs::hangs_on_signs(case) {
        return run(case, precision, stepper);
    }
    let mut told = Told::by(case, stepper);
    run(&signs::expected(case, &told), precision, &mut told)
}

/// Steps through the whole case and compares with the recording at every snapshot.
pub fn run(case: &Case, precision: Precision, stepper: &mut dyn Stepper) -> Report {
    let setup = mapping::setup(case);
    let starts: Vec<Vec<f64>> = case.order.iter().map(|name| stepper.param(name)).collect();
    let mut comparisons = Vec::new();
    if case.extra("after_init", 0).is_some() {
        stepper.entry("init", None);
        let found = points(case, precision, 0, ("after_init", &starts), stepper);
        comparisons.extend(found);
    }
    for step in 1..=case.steps {
        let at = step as usize - 1;
        let lr = case.lr.as_ref().map(|lr| lr[at]);
        if let Some(grads) = case.extra("grad_first", step) {
            stepper.entry("first_step", Some(grads));
            comparisons.extend(points(
                case,
                precision,
                step,
                ("perturbed", &starts),
                stepper,
            ));
        }
        stepper.step(lr, &grads(case, &setup, at));
        if let Some(grads) = case.extra("grad_hessian", step) {
            stepper.entry("update_hessian", Some(grads));
        }
        if case.snapshots.contains(&step) {
            let stepper = &*stepper;
            let seen = case.order.iter().zip(&starts).map(|(param, start)| Seen {
                case,
                setup: &setup,
                precision,
                step,
                param,
                start,
                stepper,
            });
            comparisons.extend(seen.flat_map(|seen| seen.compare()));
            comparisons.extend(shared(case, precision, step, stepper));
        }
        if precision == Precision::F64 && case.extra("eval", step).is_some() {
            stepper.entry("eval", None);
            comparisons.extend(points(case, precision, step, ("eval", &starts), stepper));
            stepper.entry("train", None);
        }
    }
    Report {
        case: case.id(),
        comparisons,
    }
}

/// Parameters at a point that was recorded beside the snapshots.
fn points(
    case: &Case,
    precision: Precision,
    step: u64,
    (kind, starts): (&str, &[Vec<f64>]),
    stepper: &dyn Stepper,
) -> Vec<Comparison> {
    let Some(recorded) = case.extra(kind, step) else {
        return Vec::new();
    };
    let compared = case.order.iter().zip(starts);
    let each = compared.filter_map(|(param, start)| Some((param, start, recorded.get(param)?)));
    each.map(|(param, start, reference)| {
        let init = &case.params[param].init;
        let mut found = stepper.param(param);
        for ((found, start), init) in found.iter_mut().zip(start).zip(init) {
            *found += init - start;
        }
        let (largest, moved) = extent(reference, init);
        let exact = bound(case, precision, Quantity::Point);
        Comparison {
            step,
            what: format!("{param} ({kind})"),
            distance: compare::movement(&found, reference, init),
            bound: match precision {
                Precision::F64 => exact,
                _ => exact.stored_in_f32(step, largest, moved),
            },
        }
    })
    .collect()
}

/// The largest element of a parameter, and of its movement.
fn extent(reference: &[f64], init: &[f64]) -> (f64, f64) {
    let moved: Vec<f64> = reference.iter().zip(init).map(|(r, i)| r - i).collect();
    (compare::largest(reference), compare::largest(&moved))
}

/// The upper triangle of a square matrix, row by row.
fn upper(matrix: &[f64]) -> Vec<f64> {
    let n = matrix.len().isqrt().max(1);
    let rows = matrix.chunks(n).enumerate();
    rows.flat_map(|(at, row)| row[at..].to_vec()).collect()
}

/// The symmetric matrix whose upper triangle, row by row, that is.
pub fn unpacked(upper: &[f64]) -> Vec<f64> {
    let n = ((8 * upper.len() + 1).isqrt() - 1) / 2;
    let at = |row: usize, column: usize| {
        let (row, column) = (row.min(column), row.max(column));
        upper[row * (2 * n - row + 1) / 2 + column - row]
    };
    (0..n * n).map(|i| at(i / n, i % n)).collect()
}

/// What the parameters of each group share.
fn shared(case: &Case, precision: Precision, step: u64, stepper: &dyn Stepper) -> Vec<Comparison> {
    let groups = 0..case.groups.len();
    let all = groups.flat_map(|group| {
        let recorded = mapping::shared(case, step, group).into_iter();
        recorded.map(move |(name, value)| (group, name, value))
    });
    all.map(|(group, name, reference)| {
        let found: Vec<f64> = stepper.shared(group, name).into_iter().collect();
        Comparison {
            step,
            what: format!("group {group}/{name}"),
            distance: compare::relative(&found, &[reference]),
            bound: bound(case, precision, Quantity::State(name)),
        }
    })
    .collect()
}

fn grads(case: &Case, setup: &Setup, at: usize) -> BTreeMap<String, Vec<f64>> {
    let mut grads = case.grads[at].clone();
    if setup.absent_is_zero {
        for (name, param) in &case.params {
            let zeros = || vec![0.0; param.init.len()];
            grads.entry(name.clone()).or_insert_with(zeros);
        }
    }
    grads
}

/// One parameter at one snapshot.
struct Seen<'a> {
    case: &'a Case,
    setup: &'a Setup,
    precision: Precision,
    step: u64,
    param: &'a str,
    /// The stepper's own start: the recorded one, rounded to what it stores.
    start: &'a [f64],
    stepper: &'a dyn Stepper,
}

impl Seen<'_> {
    fn compare(&self) -> Vec<Comparison> {
        let states = self.snapshot().states.keys();
        let states = states.filter_map(|recorded| self.compare_state(recorded));
        std::iter::once(self.compare_param())
            .chain(states)
            .collect()
    }

    fn snapshot(&self) -> &Snapshot {
        self.case.snapshot(self.step, self.param)
    }

    /// Our state; a missing one is empty, and so infinitely far from what was recorded.
    fn ours(&self, name: &str) -> Vec<f64> {
        let state = self.stepper.state(self.param, name);
        state.unwrap_or_default()
    }

    /// The first of two states that is there.
    fn either(&self, first: &str, second: &str) -> Vec<f64> {
        let found = self.ours(first);
        if found.is_empty() {
            self.ours(second)
        } else {
            found
        }
    }

    fn compare_param(&self) -> Comparison {
        let init = &self.case.params[self.param].init;
        let mut found = self.stepper.param(self.param);
        for ((found, start), init) in found.iter_mut().zip(self.start).zip(init) {
            if start != init {
                *found += init - start;
            }
        }
        Comparison {
            step: self.step,
            what: self.param.to_owned(),
            distance: compare::movement(&found, &self.snapshot().param, init),
            bound: self.param_bound(),
        }
    }

    fn param_bound(&self) -> Bound {
        let bound = bound(self.case, self.precision, Quantity::Param);
        if self.precision == Precision::F64 {
            return bound;
        }
        let (reference, init) = (&self.snapshot().param, &self.case.params[self.param].init);
        let (largest, moved) = extent(reference, init);
        bound.stored_in_f32(self.step, largest, moved)
    }

    /// Nothing for what the reference keeps among its states and does not read.
    fn compare_state(&self, recorded: &str) -> Option<Comparison> {
        Some(Comparison {
            step: self.step,
            what: format!("{}/{recorded}", self.param),
            distance: self.distance(recorded)?,
            bound: bound(self.case, self.precision, Quantity::State(recorded)),
        })
    }

    fn distance(&self, recorded: &str) -> Option<Distance> {
        let reference = &self.snapshot().states[recorded];
        Some(match mapping::state(self.case, self.param, recorded) {
            State::Unread => return None,
            State::Plain(name) => compare::relative(&self.ours(&name), reference),
            State::Either(first, second) => {
                compare::relative(&self.either(&first, &second), reference)
            }
            State::Packed(first, second) => {
                let found = self.either(&first, &second);
                let whole = found.len() != reference.len();
                let found = if whole { unpacked(&found) } else { found };
                compare::relative(&found, reference)
            }
            State::Unsigned(name) => {
                let sizes = |values: &[f64]| values.iter().map(|x| x.abs()).collect::<Vec<_>>();
                compare::relative(&sizes(&self.ours(&name)), &sizes(reference))
            }
            State::Upper(name) => compare::relative(&upper(&self.ours(&name)), reference),
            State::Parts(name, count) => {
                let parts = (0..count).map(|n| self.ours(&format!("part{n}.{name}")));
                compare::relative(&parts.collect::<Vec<_>>().concat(), reference)
            }
            State::Counter(ahead) => {
                let count = self.ours("step");
                let count: Vec<f64> = count.iter().map(|step| step - ahead).collect();
                compare::relative(&count, reference)
            }
            State::Basis(name) => {
                let (found, reference) = (self.ours(&name), Basis::new(reference));
                let rank = self.case.params[self.param].gradient_rank;
                let rank = rank.unwrap_or(reference.size);
                compare::bases(Basis::new(&found), reference, rank)
            }
            State::Rotated { name, signed } => self.rotated(&self.ours(&name), reference, signed),
        })
    }

    /// Compares in the layout of the modes, after giving our columns the reference's signs.
    fn rotated(&self, found: &[f64], reference: &[f64], signed: bool) -> Distance {
        let modes = mapping::modes(self.setup, self.param, &self.case.params[self.param]);
        let reference: Vec<f64> = modes.order.iter().map(|at| reference[*at]).collect();
        if found.len() != reference.len() {
            return compare::relative(found, &reference);
        }
        let signs = (0..modes.dims.len()).map(|mode| self.signs(mode).filter(|_| signed));
        let found = compare::with_signs(found, &modes.dims, &signs.collect::<Vec<_>>());
        compare::relative(&found, &reference)
    }

    /// The signs of our columns in a mode that has a basis.
    fn signs(&self, mode: usize) -> Option<Vec<f64>> {
        let recorded = format!("Q.{mode}");
        let reference = self.snapshot().states.get(&recorded)?;
        let State::Basis(name) = mapping::state(self.case, self.param, &recorded) else {
            return None;
        };
        let found = self.ours(&name);
        let whole = found.len() == reference.len();
        whole.then(|| compare::column_signs(Basis::new(&found), Basis::new(reference)))
    }
}
