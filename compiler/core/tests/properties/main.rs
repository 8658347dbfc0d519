//! Random functions through every pass and the planner: nothing may change what they mean.
//!
//! Element-wise work must stay equal bit for bit; what depends on a product may differ by rounding. Seeds are fixed,
//! so a failure is found again by its seed, which is printed.

mod data;
mod generate;
mod random;

use data::{Values, contents};
use generate::{Generated, Options};
use optc_core::dtype::DType;
use optc_core::interp;
use optc_core::interp::Moment;
use optc_core::ir::{Function, verify};
use optc_core::passes::PIPELINE;
use optc_core::plan::Plan;
use optc_core::plan::eval::{self, EvalError};
use optc_core::planner;
use random::Rng;

/// How far apart results that depend on a product may be, relative to the largest element (or 1); `None`: unchecked.
type Bound = Option<f64>;

const HYPERS: [f64; 3] = [0.1, 0.9, -1.5];
const STEPS: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

#[test]
fn elementwise_functions_keep_every_bit_in_f64() {
    all(
        0..250,
        Options {
            dtypes: &[DType::F64],
            products: false,
            ops: 0,
        },
        None,
    );
}

#[test]
fn elementwise_functions_keep_every_bit_in_mixed_precision() {
    let dtypes = &[DType::F32, DType::F32, DType::BF16, DType::F64, DType::F16];
    all(
        1000..1350,
        Options {
            dtypes,
            products: false,
            ops: 0,
        },
        None,
    );
}

#[test]
fn products_stay_within_rounding() {
    all(
        2000..2350,
        Options {
            dtypes: &[DType::F64],
            products: true,
            ops: 0,
        },
        Some(1e-9),
    );
}

/// Rounding to few bits makes any bound on products meaningless, but what does not depend on them keeps every bit.
#[test]
fn products_in_mixed_precision_are_planned() {
    let dtypes = &[DType::F32, DType::BF16];
    all(
        3000..3150,
        Options {
            dtypes,
            products: true,
            ops: 0,
        },
        None,
    );
}

/// Prints the seed if the test fails before it is dropped.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}", self.0);
        }
    }
}

fn all(seeds: std::ops::Range<u64>, options: Options, bound: Bound) {
    let mut compared = 0;
    let count = seeds.end - seeds.start;
    for (n, seed) in seeds.enumerate() {
        let _seed = Seed(seed);
        let ops = 2 + n / 8;
        let generated = generate::function(Options { ops, ..options }, Rng::new(seed));
        let values = if options.products {
            Values::Tame
        } else {
            Values::Any
        };
        let slots = contents(&generated.function, values, &mut Rng::new(!seed));
        compared += u64::from(one(&generated, &slots, bound));
    }
    assert!(
        compared * 4 >= count * 3,
        "only {compared} of {count} functions were compared"
    );
}

/// A function through all passes and the planner; false if a factorization fails or values explode.
fn one(generated: &Generated, slots: &[Vec<f64>], bound: Bound) -> bool {
    let Generated { function, loose } = generated;
    let check = Check {
        function,
        slots,
        loose,
        bound,
    };
    well_formed("generated", function);
    let Some(expected) = check.interpreted(function) else {
        return false;
    };
    let mut at = function.clone();
    for pass in PIPELINE {
        let again = (pass.run)(at.clone()).to_string();
        at = (pass.run)(at);
        well_formed(pass.name, &at);
        assert_eq!(
            at.to_string(),
            again,
            "`{}` does not make the same function twice",
            pass.name
        );
        let Some(found) = check.interpreted(&at) else {
            panic!("after `{}` a step fails\n{at}", pass.name)
        };
        check.compare(pass.name, &expected, &found, &at);
    }
    let plan = planner::plan(&at);
    check.compare(
        "plan",
        &expected,
        &check.planned(&plan, &at),
        format_args!("{at}\n{plan}"),
    );
    true
}

fn well_formed(after: &str, function: &Function) {
    let violations = verify(function);
    assert!(
        violations.is_empty(),
        "after `{after}`: {}\n{function}",
        violations.join("; ")
    );
}

/// The state as `init` makes it, then the slots after each of some steps, each from the same contents.
struct Outcome {
    initial: Vec<Vec<f64>>,
    stepped: Vec<Vec<Vec<f64>>>,
}

struct Check<'a> {
    function: &'a Function,
    slots: &'a [Vec<f64>],
    /// Per written slot.
    loose: &'a [bool],
    bound: Bound,
}

impl Check<'_> {
    fn interpreted(&self, function: &Function) -> Option<Outcome> {
        let initial = interp::allocate(
            function,
            &self.slots[0],
            &self.slots[1],
            Moment::new(&HYPERS, 1.0),
        )
        .ok()?;
        let step = |&step: &f64| {
            let mut slots = self.slots.to_vec();
            interp::run(function, &mut slots, Moment::new(&HYPERS, step)).ok()?;
            Some(slots)
        };
        let stepped: Vec<_> = STEPS.iter().map(step).collect::<Option<_>>()?;
        let tame = stepped.iter().flatten().flatten().all(|x| x.abs() < 1e6);
        (self.bound.is_none() || tame).then_some(Outcome { initial, stepped })
    }

    fn planned(&self, plan: &Plan, function: &Function) -> Outcome {
        let check = |outcome: Result<(), EvalError>| match outcome {
            Ok(()) => {}
            Err(error) => panic!("the plan fails: {error}\n{function}\n{plan}"),
        };
        let mut initial = self.slots.to_vec();
        check(eval::init(plan, &mut initial, &HYPERS));
        let step = |&step: &f64| {
            let mut slots = self.slots.to_vec();
            check(eval::run(plan, &mut slots, &HYPERS, step));
            slots
        };
        Outcome {
            initial,
            stepped: STEPS.iter().map(step).collect(),
        }
    }

    fn compare(
        &self,
        stage: &str,
        expected: &Outcome,
        found: &Outcome,
        text: impl std::fmt::Display,
    ) {
        let context = |slot: usize| {
            format!(
                "{} after `{stage}` of\n{}\nwhich is\n{text}",
                self.function.slots[slot].name, self.function
            )
        };
        for (slot, (a, b)) in expected.initial.iter().zip(&found.initial).enumerate() {
            assert!(
                slot == 1 || equal(a, b),
                "initial {a:?} became {b:?}: {}",
                context(slot)
            );
        }
        for ((a, b), step) in expected.stepped.iter().zip(&found.stepped).zip(STEPS) {
            for (slot, (a, b)) in a.iter().zip(b).enumerate() {
                let loose = slot != 1 && self.loose[slot.saturating_sub(1)];
                let same = if loose {
                    self.bound.is_none_or(|bound| near(a, b, bound))
                } else {
                    equal(a, b)
                };
                assert!(same, "step {step}: {a:?} became {b:?}: {}", context(slot));
            }
        }
    }
}

/// The same bits; every NaN is the same.
fn equal(a: &[f64], b: &[f64]) -> bool {
    let same = |(x, y): (&f64, &f64)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn near(a: &[f64], b: &[f64], bound: f64) -> bool {
    let largest = a.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| (x - y).abs() <= bound * largest)
}
