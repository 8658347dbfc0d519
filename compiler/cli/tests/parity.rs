//! Artifacts that the command writes follow every recorded trajectory: MLIR's kernels and products, through the runtime.
//!
//! Beside `tests/tests/parity_*.rs`, and here because the command itself, the way people use it, makes the artifact.

use optc_runtime::{Rules, Tier};
use optc_tests::compiled::{Compiled, Number};
use optc_tests::golden::{Case, load_all};
use optc_tests::mapping;
use optc_tests::parity::follow;
use optc_tests::tolerance::{Precision, too_sensitive};
use std::collections::BTreeMap;
use std::process::Command;

/// Compiles a module of the standard library for parameters of one type.
fn artifact(module: &str, dtype: &str) -> Rules {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("rule.opt");
    std::fs::write(&source, optc_stdlib::source(module).unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_optc"))
        .args(["compile", "rule.opt", "-o", "rule.optc", "--dtype", dtype])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{module}: {message}");
    let bytes = std::fs::read(folder.path().join("rule.optc")).unwrap();
    // SAFETY: the command of this workspace wrote it just now.
    unsafe { Rules::from_artifact(&bytes) }.unwrap()
}

/// Artifacts by module, each compiled once.
struct Artifacts {
    dtype: &'static str,
    known: BTreeMap<&'static str, Rules>,
}

impl Artifacts {
    fn rules(&mut self, case: &Case) -> &Rules {
        let module = mapping::setup(case).module;
        let make = || artifact(module, self.dtype);
        self.known.entry(module).or_insert_with(make)
    }
}

fn check<T: Number>(recorded: &str, dtype: &'static str, precision: Precision) {
    let known = BTreeMap::new();
    let mut artifacts = Artifacts { dtype, known };
    let mut failures = String::new();
    let (mut ahead, mut quick) = (0, 0);
    for case in load_all().into_iter().filter(|case| case.dtype == recorded) {
        if let Some(reason) = mapping::open(&case) {
            println!("open: {}: {reason}", case.id());
            continue;
        }
        if precision == Precision::F32 && too_sensitive(&case) {
            println!("too sensitive for f32: {}", case.id());
            continue;
        }
        let mut compiled = Compiled::<T>::new(&case, artifacts.rules(&case));
        let report = compiled.report();
        ahead += report.count(Tier::Artifact);
        quick += report.count(Tier::Quick);
        let ours = report.products.iter().all(|(_, ours)| *ours);
        if !ours {
            failures.push_str(&format!("{}: {report}\n", case.id()));
        }
        let outcome = follow(&case, precision, &mut compiled);
        if !outcome.passed() {
            failures.push_str(&outcome.to_string());
        }
    }
    // An artifact carries a sample of an open set of kernels: three statics switched at once may need another.
    assert!(
        quick * 20 < ahead,
        "{quick} of {} kernels came from the quick tier",
        ahead + quick
    );
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn recorded_in_f64() {
    check::<f64>("float64", "f64", Precision::F64);
}

#[test]
fn recorded_in_f64_run_in_f32() {
    check::<f32>("float64", "f32", Precision::F32);
}

#[test]
fn recorded_in_f32() {
    check::<f32>("float32", "f32", Precision::F32);
}
