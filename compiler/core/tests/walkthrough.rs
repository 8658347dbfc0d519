//! Four rules of the standard library through every stage, from the simplest to one with matrix products: the source
//! first, then what the stage makes of it.
//!
//! Shapes are those of one matrix: a tall one where the shorter side matters. The kernels' names are hashes of their
//! text, so a changed kernel shows in the plan too.

use insta::assert_snapshot;
use optc_core::check::check;
use optc_core::dtype::DType;
use optc_core::lower::{Spec, lower, rule_for};
use optc_core::passes::optimize;
use optc_core::planner;
use optc_core::settings::{Overrides, settle};
use optc_core::source::Embedded;
use optc_grammar::{dump, parse};

const LIBRARY: Embedded = Embedded {
    names: optc_stdlib::NAMES,
    text: optc_stdlib::source,
};

/// The stages of one rule, by name.
fn stages(module: &str, dims: &[u64]) -> [(&'static str, String); 5] {
    let source = optc_stdlib::source(module).unwrap();
    let checked = check(module, source, &LIBRARY).unwrap();
    let program = &checked.program;
    let optimizer = program.roots[0];
    let settings = settle(program, optimizer, &Overrides::default()).unwrap();
    let rule = rule_for(program, optimizer, &settings, ("", dims))
        .unwrap()
        .unwrap();
    let spec = Spec {
        program,
        optimizer,
        settings: &settings,
        rule,
        name: "",
        dims,
        dtype: DType::F32,
        grad_dtype: DType::F32,
    };
    let lowered = lower(&spec).unwrap();
    let fused = optimize(lowered.clone());
    let plan = planner::plan(&fused);
    [
        ("ast", dump(&parse(source).unwrap())),
        ("hir", program.to_string()),
        ("ir", lowered.to_string()),
        ("fused", fused.to_string()),
        ("plan", plan.to_string()),
    ]
    .map(|(stage, text)| (stage, format!("{source}\n── {stage} of {dims:?}\n\n{text}")))
}

#[track_caller]
fn walk(name: &str, dims: &[u64]) {
    for (stage, text) in stages(&format!("std.{name}"), dims) {
        assert_snapshot!(format!("{name}_{stage}"), text);
    }
}

#[test]
fn sgd() {
    walk("sgd", &[8, 4]);
}

#[test]
fn adamw() {
    walk("adamw", &[8, 4]);
}

#[test]
fn muon_of_a_tall_matrix() {
    walk("muon", &[8, 4]);
}

#[test]
fn soap_of_a_matrix() {
    walk("soap", &[8, 4]);
}
