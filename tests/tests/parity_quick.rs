//! The quick tier follows every recorded trajectory, in f64 and in f32.

use optc_tests::compiled::{Compiled, Number, quick};
use optc_tests::golden::load_all;
use optc_tests::mapping::open;
use optc_tests::parity::follow;
use optc_tests::tolerance::{Precision, too_sensitive};

fn check<T: Number>(recorded: &str, precision: Precision) {
    let mut failures = String::new();
    let mut seen = 0;
    for case in load_all().into_iter().filter(|case| case.dtype == recorded) {
        if let Some(reason) = open(&case) {
            println!("open: {}: {reason}", case.id());
            continue;
        }
        if precision == Precision::F32 && too_sensitive(&case) {
            println!("too sensitive for f32: {}", case.id());
            continue;
        }
        let report = follow(
            &case,
            precision,
            &mut Compiled::<T>::new(&case, &quick(&case)),
        );
        seen += 1;
        if !report.passed() {
            failures.push_str(&report.to_string());
        }
    }
    assert!(seen > 0, "no case was run");
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn recorded_in_f64() {
    check::<f64>("float64", Precision::F64);
}

#[test]
fn recorded_in_f64_run_in_f32() {
    check::<f32>("float64", Precision::F32);
}

#[test]
fn recorded_in_f32() {
    check::<f32>("float32", Precision::F32);
}
