//! GaLore's recorded run with renewed projectors, once the moments are given the recorded signs.

use optc_tests::golden::load;
use optc_tests::interpreted::Stage;
use optc_tests::parity::run;
use optc_tests::signs::{CASE, Turned};
use optc_tests::tolerance::Precision;

#[test]
fn galore_with_the_recorded_signs() {
    let (file, name) = CASE;
    let cases = load(file);
    let case = cases.iter().find(|case| case.name == name);
    let case = case.expect("the case");
    for stage in [Stage::Lowered, Stage::Optimized] {
        let report = run(case, Precision::F64, &mut Turned::as_recorded(case, stage));
        assert!(report.passed(), "{report}");
    }
}
