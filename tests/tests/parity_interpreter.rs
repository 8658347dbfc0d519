//! The interpreter follows every recorded trajectory: as lowered and after all passes, in f64 and in f32.

use optc_core::dtype::DType;
use optc_tests::golden::{Case, load_all};
use optc_tests::interpreted::{Interpreted, Stage};
use optc_tests::mapping::open;
use optc_tests::parity::follow;
use optc_tests::tolerance::Precision;

fn check(cases: impl Iterator<Item = Case>, dtype: DType, precision: Precision, stage: Stage) {
    let mut failures = String::new();
    let mut seen = 0;
    for case in cases {
        if let Some(reason) = open(&case) {
            println!("open: {}: {reason}", case.id());
            continue;
        }
        let report = follow(&case, precision, &mut Interpreted::new(&case, dtype, stage));
        seen += 1;
        if !report.passed() {
            failures.push_str(&report.to_string());
        }
    }
    assert!(seen > 0, "no case was run");
    assert!(failures.is_empty(), "{failures}");
}

fn recorded_in(dtype: &'static str) -> impl Iterator<Item = Case> {
    load_all()
        .into_iter()
        .filter(move |case| case.dtype == dtype)
}

#[test]
fn lowered_in_f64() {
    check(
        recorded_in("float64"),
        DType::F64,
        Precision::F64,
        Stage::Lowered,
    );
}

#[test]
fn optimized_in_f64() {
    check(
        recorded_in("float64"),
        DType::F64,
        Precision::F64,
        Stage::Optimized,
    );
}

#[test]
fn lowered_in_f32() {
    check(
        recorded_in("float32"),
        DType::F32,
        Precision::F32,
        Stage::Lowered,
    );
}

#[test]
fn optimized_in_f32() {
    check(
        recorded_in("float32"),
        DType::F32,
        Precision::F32,
        Stage::Optimized,
    );
}

#[test]
fn optimized_in_bf16() {
    check(
        recorded_in("bfloat16"),
        DType::BF16,
        Precision::F32,
        Stage::Optimized,
    );
}
