//! GaLore after its projector changed: moments that outlive a projector keep the signs of its vectors, and those are the
//! factorization's choice. With the moments given the signs of the recorded choice, the whole run is followed.

use std::collections::BTreeMap;

use optc_core::dtype::DType;
use optc_tests::compare;
use optc_tests::golden::{Case, load};
use optc_tests::interpreted::{Interpreted, Stage};
use optc_tests::parity::Stepper;
use optc_tests::tolerance::{Precision, Quantity, bound};

const RANK: usize = 3;
/// The steps at which the projector is made.
const RENEWED: [u64; 3] = [1, 4, 7];

fn projected(case: &Case) -> impl Iterator<Item = &String> {
    let matrices = case.order.iter();
    matrices.filter(|name| case.params[*name].shape.len() == 2)
}

fn is_tall(case: &Case, param: &str) -> bool {
    let shape = &case.params[param].shape;
    shape[0] >= shape[1]
}

/// The vector that an element belongs to: the projector and the moments have vectors along opposite axes.
fn vector(at: usize, count: usize, along_rows: bool) -> usize {
    if along_rows {
        at / (count / RANK)
    } else {
        at % RANK
    }
}

/// The sign of each of our singular vectors in terms of the recorded ones.
fn signs(case: &Case, param: &str, step: u64, ours: &[f64]) -> [f64; RANK] {
    let recorded = &case.snapshot(step, param).states["ortho_matrix"];
    let count = recorded.len();
    let mut products = [0.0; RANK];
    for (at, (ours, recorded)) in ours.iter().zip(recorded).enumerate() {
        products[vector(at, count, is_tall(case, param))] += ours * recorded;
    }
    products.map(f64::signum)
}

/// Runs the case; `before` sees the stepper before each step, `after` after it.
fn follow(
    case: &Case,
    mut before: impl FnMut(u64, &mut Interpreted),
    mut after: impl FnMut(u64, &Interpreted),
) {
    let mut stepper = Interpreted::new(case, DType::F64, Stage::Optimized);
    for step in 1..=case.steps {
        before(step, &mut stepper);
        stepper.step(None, &case.grads[step as usize - 1]);
        after(step, &stepper);
    }
}

#[test]
fn galore_with_the_recorded_signs() {
    let cases = load("galore_adamw");
    let case = cases.iter().find(|case| case.name == "std_gap");
    let case = case.expect("the case");
    let mut chosen: BTreeMap<(u64, &String), [f64; RANK]> = BTreeMap::new();
    let note = |step, stepper: &Interpreted| {
        for param in projected(case).filter(|_| RENEWED.contains(&step)) {
            let ours = stepper.state(param, "ortho_matrix").expect("a projector");
            chosen.insert((step, param), signs(case, param, step, &ours));
        }
    };
    follow(case, |_, _| {}, note);
    let turn = |step: u64, stepper: &mut Interpreted| {
        for param in projected(case).filter(|_| RENEWED[1..].contains(&step)) {
            let (old, new) = (chosen[&(step - 3, param)], chosen[&(step, param)]);
            stepper.change_state(param, "exp_avg", |moments| {
                let count = moments.len();
                for (at, x) in moments.iter_mut().enumerate() {
                    let vector = vector(at, count, !is_tall(case, param));
                    *x *= old[vector] * new[vector];
                }
            });
        }
    };
    let compare = |step, stepper: &Interpreted| {
        let snapshot = case.snapshots.contains(&step);
        for param in case.order.iter().filter(|_| snapshot) {
            let (found, init) = (stepper.param(param), &case.params[param].init);
            let distance = compare::movement(&found, &case.snapshot(step, param).param, init);
            let bound = bound(case, Precision::F64, Quantity::Param);
            assert!(bound.admits(distance), "step {step}, {param}: {distance:?}");
        }
    };
    follow(case, turn, compare);
}
