//! Runs an optimizer through a recorded trajectory and measures parameters and states at every snapshot.
//!
//! The interpreter and every compiled tier implement [`Stepper`]; the runner and the tolerances are the same for all.

use std::collections::BTreeMap;
use std::fmt;

use crate::compare::{self, Basis, Distance};
use crate::golden::{Case, Snapshot};
use crate::mapping::{self, Setup, State};
use crate::tolerance::{Bound, Precision, Quantity, bound};

/// An optimizer bound to the parameters of one case.
pub trait Stepper {
    /// One step; `lr` replaces the learning rate of every group, and a parameter without a gradient has no entry.
    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>);
    /// A parameter, row-major.
    fn param(&self, name: &str) -> Vec<f64>;
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

/// Steps through the whole case and compares at every snapshot.
pub fn run(case: &Case, precision: Precision, stepper: &mut dyn Stepper) -> Report {
    let runner = Runner {
        case,
        precision,
        setup: mapping::setup(case),
    };
    let mut comparisons = Vec::new();
    for step in 1..=case.steps {
        let at = step as usize - 1;
        stepper.step(case.lr.as_ref().map(|lr| lr[at]), &case.grads[at]);
        if case.snapshots.contains(&step) {
            case.order
                .iter()
                .for_each(|p| runner.compare(step, p, stepper, &mut comparisons));
        }
    }
    Report {
        case: case.id(),
        comparisons,
    }
}

struct Runner<'a> {
    case: &'a Case,
    precision: Precision,
    setup: Setup,
}

impl Runner<'_> {
    fn compare(&self, step: u64, param: &str, stepper: &dyn Stepper, out: &mut Vec<Comparison>) {
        let snapshot = self.case.snapshot(step, param);
        let init = &self.case.params[param].init;
        out.push(Comparison {
            step,
            what: param.to_owned(),
            distance: compare::movement(&stepper.param(param), &snapshot.param, init),
            bound: bound(self.case, self.precision, Quantity::Param),
        });
        let states = snapshot.states.keys().filter_map(|recorded| {
            let distance = self.state(param, snapshot, recorded, stepper)?;
            let bound = bound(self.case, self.precision, Quantity::State(recorded));
            Some(Comparison {
                step,
                what: format!("{param}/{recorded}"),
                distance,
                bound,
            })
        });
        out.extend(states);
    }

    /// The distance of one state, or nothing for an option that the reference keeps among its states.
    fn state(
        &self,
        param: &str,
        snapshot: &Snapshot,
        recorded: &str,
        stepper: &dyn Stepper,
    ) -> Option<Distance> {
        let reference = &snapshot.states[recorded];
        // A missing state is an empty one: infinitely far from what was recorded.
        let get = |name: &str| stepper.state(param, name).unwrap_or_default();
        Some(match mapping::state(self.case, recorded) {
            State::Option => return None,
            State::Plain(name) => compare::relative(&get(&name), reference),
            State::Counter(ahead) => {
                let count: Vec<f64> = get("step").iter().map(|step| step - ahead).collect();
                compare::relative(&count, reference)
            }
            State::Basis(name) => {
                let size = reference.len().isqrt();
                let rank = self.case.params[param].gradient_rank.unwrap_or(size);
                let found = get(&name);
                compare::bases(
                    Basis {
                        values: &found,
                        size,
                    },
                    Basis {
                        values: reference,
                        size,
                    },
                    rank,
                )
            }
            State::Rotated(name) => self.rotated(param, snapshot, &get(&name), reference, &get),
        })
    }

    /// Compares in the layout of the modes, after giving our columns the reference's signs.
    fn rotated(
        &self,
        param: &str,
        snapshot: &Snapshot,
        found: &[f64],
        reference: &[f64],
        get: &dyn Fn(&str) -> Vec<f64>,
    ) -> Distance {
        let modes = mapping::modes(&self.setup, param, &self.case.params[param]);
        if found.len() != modes.order.len() {
            return compare::relative(found, reference);
        }
        let signs: Vec<_> = (0..modes.dims.len())
            .map(|i| self.signs(i, snapshot, get))
            .collect();
        let reorder = |values: &[f64]| modes.order.iter().map(|at| values[*at]).collect::<Vec<_>>();
        let found = compare::with_signs(&reorder(found), &modes.dims, &signs);
        compare::relative(&found, &reorder(reference))
    }

    fn signs(
        &self,
        mode: usize,
        snapshot: &Snapshot,
        get: &dyn Fn(&str) -> Vec<f64>,
    ) -> Option<Vec<f64>> {
        let recorded = format!("Q.{mode}");
        let reference = snapshot.states.get(&recorded)?;
        let State::Basis(name) = mapping::state(self.case, &recorded) else {
            return None;
        };
        let found = get(&name);
        let size = reference.len().isqrt();
        let whole = found.len() == reference.len();
        whole.then(|| {
            compare::column_signs(
                Basis {
                    values: &found,
                    size,
                },
                Basis {
                    values: reference,
                    size,
                },
            )
        })
    }
}
