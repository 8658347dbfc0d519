//! Branches that change nothing do nothing: what a step copies, for rules that often have nothing to do.

use insta::assert_snapshot;
use optc_core::check::check;
use optc_core::dtype::DType;
use optc_core::lower::{Spec, rule_for};
use optc_core::plan::{Plan, Thunk};
use optc_core::settings::{Overrides, settle};
use optc_core::source::Embedded;
use optc_core::specialize::plan_for;

const LIBRARY: Embedded = Embedded {
    names: optc_stdlib::NAMES,
    text: optc_stdlib::source,
};

fn planned(text: &str) -> Plan {
    let checked = check("shown", text, &LIBRARY).expect("no mistakes");
    let program = &checked.program;
    let optimizer = program.roots[0];
    let settings = settle(program, optimizer, &Overrides::default()).expect("settings");
    let dims = &[64, 32];
    let rule = rule_for(program, optimizer, &settings, ("w", dims));
    let spec = Spec {
        program,
        optimizer,
        settings: &settings,
        rule: rule.expect("no guard loops").expect("a rule"),
        name: "w",
        dims,
        dtype: DType::F32,
        grad_dtype: DType::F32,
    };
    plan_for(&spec).expect("a rule with a measure")
}

/// The plan of an optimizer with one rule.
fn of_rule(body: &str) -> Plan {
    planned(&format!(
        "optimizer Shown {{ hyper lr = 0.1, wd = 0
            rule any(w: [i, j]) {{ {body} }} }}"
    ))
}

/// What a step does.
fn step(plan: &Plan) -> String {
    let text = plan.to_string();
    let (_, step) = text.split_once("\nstep\n").expect("a step");
    step.to_owned()
}

/// The copies of sides of branches that do nothing else.
fn idle_copies(thunks: &[Thunk]) -> usize {
    let of = |thunk: &Thunk| match thunk {
        Thunk::If {
            then, otherwise, ..
        }
        | Thunk::IfFlag {
            then, otherwise, ..
        } => [then, otherwise].map(|side| idle_side(side)).iter().sum(),
        _ => 0,
    };
    thunks.iter().map(of).sum()
}

fn idle_side(thunks: &[Thunk]) -> usize {
    let nested = |thunk: &&Thunk| matches!(thunk, Thunk::If { .. } | Thunk::IfFlag { .. });
    if thunks.iter().all(is_copy) {
        return thunks.len();
    }
    let nested: Vec<Thunk> = thunks.iter().filter(nested).cloned().collect();
    idle_copies(&nested)
}

fn is_copy(thunk: &Thunk) -> bool {
    matches!(thunk, Thunk::Copy { .. })
}

#[test]
fn slow_weights_that_move_now_and_then() {
    let plan = planned(optc_stdlib::source("std.lookahead").expect("a module"));
    assert_snapshot!("lookahead", step(&plan));
    assert_eq!(idle_copies(&plan.body), 0);
}

#[test]
fn a_gradient_that_is_decayed_or_not() {
    let variable = of_rule(
        "state m = zeros_like(w)
         var g = grad
         if wd != 0 { g += wd * w }
         m = lerp(m, g, 0.1)
         w -= lr * m",
    );
    let value = of_rule(
        "state m = zeros_like(w)
         let g = if wd != 0 { grad + wd * w } else { grad }
         m = lerp(m, g, 0.1)
         w -= lr * m",
    );
    assert_eq!(variable.body, value.body);
    assert_snapshot!("decayed_gradient", step(&variable));
}

#[test]
fn turns_of_a_loop_that_ended() {
    let plan = of_rule(
        "var y = 0.5 * grad
         until norm(y) <= 1 at most 2 { y = y * (y' * y) }
         w -= lr * y",
    );
    assert_snapshot!("until", step(&plan));
    assert_eq!(idle_copies(&plan.body), 0);
}

/// What was there before a turn is kept beside what the turn makes.
#[test]
fn turns_that_keep_what_was_before() {
    let plan = of_rule(
        "var y = 0.5 * grad
         var last = y
         until norm(y) <= 1 at most 3 { last = y
                                         y = y * (y' * y) }
         w -= lr * (y - last)",
    );
    assert_snapshot!("until_with_last", step(&plan));
}

/// Nothing may go to a buffer before what it replaces has gone where it belongs.
#[test]
fn two_states_that_change_places() {
    let plan = of_rule(
        "state a = zeros_like(w)
         state b = zeros_like(w)
         every 2 steps { let old = a
                         a = b
                         b = old }
         a += grad
         w -= lr * a .* b",
    );
    assert_snapshot!("change_places", step(&plan));
}

#[test]
fn no_module_of_the_library_copies_where_it_is_idle() {
    let copying = optc_stdlib::NAMES.iter().filter(|name| {
        let text = optc_stdlib::source(name).expect("a module");
        // Some have functions only.
        check(name, text, &LIBRARY).is_ok() && idle_copies(&planned(text).body) > 0
    });
    let copying: Vec<&str> = copying.copied().collect();
    assert_snapshot!("library", copying.join("\n"));
}
