//! Parameters that are cut into many blocks: planning them takes time in proportion to the blocks.
//!
//! Nothing here measures time. A stage that looks at all blocks for each of them would take minutes.

use optc_core::check::check;
use optc_core::dtype::DType;
use optc_core::lower::{Spec, rule_for};
use optc_core::plan::{Plan, Thunk};
use optc_core::settings::{Overrides, StaticValue, settle};
use optc_core::source::Embedded;
use optc_core::specialize::plan_for;
use std::collections::HashSet;

const LIBRARY: Embedded = Embedded {
    names: optc_stdlib::NAMES,
    text: optc_stdlib::source,
};

const SOAP_IN_BLOCKS: &str = "use std.soap.Soap
optimizer Blocked {
    static size: int = 8 in [1, inf)
    rule each(w: [m, n]) = Soap() on blocks(w, size: size)
    rule other(w: [...]) { w -= grad }
}";

/// The plan of a square matrix that is cut into `side` × `side` blocks.
fn planned(text: &str, size: &str, side: u64) -> Plan {
    let program = check("shown", text, &LIBRARY).expect("no mistakes").program;
    let optimizer = program.roots[0];
    let overrides = Overrides {
        statics: vec![(size.to_owned(), StaticValue::Number(8.0))],
        ..Overrides::default()
    };
    let settings = settle(&program, optimizer, &overrides).expect("settings");
    let dims = &[8 * side, 8 * side];
    plan_for(&Spec {
        program: &program,
        optimizer,
        settings: &settings,
        rule: rule_for(&program, optimizer, &settings, ("w", dims))
            .expect("no guard loops")
            .expect("a rule"),
        name: "w",
        dims,
        dtype: DType::F32,
        grad_dtype: DType::F32,
    })
    .expect("a rule with a measure")
}

fn thunks(all: &[Thunk]) -> usize {
    let inner = |thunk: &Thunk| match thunk {
        Thunk::If {
            then, otherwise, ..
        }
        | Thunk::IfFlag {
            then, otherwise, ..
        } => 1 + thunks(then) + thunks(otherwise),
        _ => 1,
    };
    all.iter().map(inner).sum()
}

/// Four times the blocks on each side are 16 times the work of a step, with the same kernels and host scalars.
fn check_growth(text: &str, size: &str, side: u64) {
    let (few, many) = (planned(text, size, side), planned(text, size, 4 * side));
    let hashes = |plan: &Plan| -> HashSet<String> {
        plan.kernels.iter().map(|kernel| kernel.hash()).collect()
    };
    assert_eq!(hashes(&few), hashes(&many));
    assert_eq!(hashes(&many).len(), many.kernels.len(), "each kernel once");
    assert_eq!(few.host.len(), many.host.len());
    let [few, many] = [few, many].map(|plan| thunks(&plan.init) + thunks(&plan.body));
    assert!(
        (15 * few..=16 * few + 16).contains(&many),
        "{few} thunks, then {many}"
    );
}

fn module(name: &str) -> &'static str {
    optc_stdlib::source(name).expect("a module")
}

#[test]
fn distributed_shampoo_in_1024_blocks() {
    check_growth(
        module("std.distributed_shampoo"),
        "max_preconditioner_dim",
        8,
    );
}

#[test]
fn soap_in_1024_blocks() {
    check_growth(SOAP_IN_BLOCKS, "size", 8);
}

/// Each block has hundreds of turns of loops: a tenth of a million branches.
#[test]
fn scalable_shampoo_in_64_blocks() {
    check_growth(module("std.scalable_shampoo"), "blockwise.block_size", 2);
}
