//! Every optimizer of the standard library on every shape of a table: the interpreter and the quick tier agree, nothing
//! becomes infinite, and there is no state that the rule does not declare.

use optc_tests::library;
use optc_tests::trial::{Run, Trial};
use serde_json::{Value, json};

/// Every rank to 5, lengths 0 and 1, tall and wide, and longer than the limits that [`LIMIT`] sets.
const SHAPES: &[&[u64]] = &[
    &[],
    &[0],
    &[1],
    &[7],
    &[0, 3],
    &[3, 0],
    &[1, 1],
    &[1, 6],
    &[6, 1],
    &[5, 5],
    &[24, 3],
    &[3, 24],
    &[0, 2, 3],
    &[1, 3, 1],
    &[2, 3, 4],
    &[2, 1, 2, 1],
    &[4, 3, 2, 2],
    &[1, 1, 1, 1, 1],
    &[2, 2, 3, 2, 2],
];

/// Rules in eigenbases: where a Gram matrix is larger than its rank, any basis of its null space will do.
const EIGENBASES: [&str; 3] = ["std.graft", "std.soap", "std.splus"];

/// In the basis of its own singular vectors a gradient is diagonal: what rounding leaves beside the diagonal is divided
/// by itself.
const DIVIDED_ROUNDING: &str = "std.distributed_shampoo_evc";

/// What static limits on lengths are set to in a second round.
const LIMIT: u64 = 4;

fn modules() -> impl Iterator<Item = &'static str> {
    let all = optc_stdlib::NAMES.iter().copied();
    all.filter(|name| optc_stdlib::source(name).is_some_and(|text| text.contains("\noptimizer ")))
}

/// Statics that limit lengths.
const LIMITS: [&str; 3] = ["max_precond_dim", "block_size", "max_preconditioner_dim"];

fn has_static(module: &str, name: &str) -> bool {
    let program = library::checked(module).program;
    let statics = &program.optimizers[program.roots[0]].statics;
    statics.iter().any(|declared| declared.name == name)
}

/// The shapes that some rule takes.
fn taken(module: &'static str, set: Option<(&'static str, Value)>) -> (Trial, usize) {
    let shapes: Vec<&[u64]> = SHAPES
        .iter()
        .copied()
        .filter(|dims| takes(module, dims))
        .collect();
    let larger = |dims: &[u64]| {
        let count: u64 = dims.iter().product();
        dims.iter().any(|d| d * d > count)
    };
    let loose = (0..shapes.len()).filter(|&n| {
        module == DIVIDED_ROUNDING || EIGENBASES.contains(&module) && larger(shapes[n])
    });
    let trial = Trial::of_std(module, &shapes)
        .steps(4)
        .loose(loose.collect());
    // The tiers agree as far as products are exact.
    let trial = match has_static(module, "ns_dtype") {
        true => trial.set("ns_dtype", json!("same")),
        false => trial,
    };
    let trial = match set {
        Some((name, value)) => trial.set(name, value),
        None => trial,
    };
    (trial, shapes.len())
}

fn takes(module: &str, dims: &[u64]) -> bool {
    use optc_core::lower::rule_for;
    use optc_core::settings::{Overrides, settle};
    let program = library::checked(module).program;
    let id = program.roots[0];
    let settings = settle(&program, id, &Overrides::default()).expect("defaults");
    rule_for(&program, id, &settings, ("p0", dims)).is_some()
}

fn check(module: &str, run: &Run, params: usize) {
    for param in 0..params {
        let finite = run.params[param].iter().all(|x| x.is_finite());
        assert!(
            finite,
            "{module}, parameter {param}: {:?}",
            run.params[param]
        );
        assert!(
            run.has_declared_state_only(param),
            "{module}, parameter {param}"
        );
    }
}

#[test]
fn with_the_defaults() {
    for module in modules() {
        println!("{module}");
        let (trial, params) = taken(module, None);
        assert!(params > 0, "{module}");
        check(module, &trial.run(), params);
    }
}

#[test]
fn with_low_limits() {
    let mut seen = 0;
    for module in modules() {
        if let Some(name) = LIMITS.into_iter().find(|name| has_static(module, name)) {
            println!("{module}");
            let (trial, params) = taken(module, Some((name, json!(LIMIT))));
            check(module, &trial.run(), params);
            seen += 1;
        }
    }
    assert!(seen > 0);
}
