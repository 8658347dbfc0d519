//! The standard library has no mistakes and no warnings.

use optc_core::check::{Located, check_library};
use optc_core::source::Sources;

struct Library;

impl Sources for Library {
    fn read(&self, module: &str) -> Option<String> {
        optc_stdlib::source(module).map(str::to_owned)
    }

    fn modules(&self) -> Vec<String> {
        optc_stdlib::NAMES
            .iter()
            .map(|name| (*name).to_owned())
            .collect()
    }
}

fn show(mistakes: impl Iterator<Item = Located>) -> String {
    mistakes
        .map(|one| format!("{} {one} at {:?}\n", one.code(), one.span()))
        .collect()
}

#[test]
fn every_module_checks() {
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        match check_library(name, text, &Library) {
            Ok(checked) => assert_eq!(show(checked.warnings.into_iter()), "", "{name}"),
            Err(mistakes) => panic!("{name}:\n{}", show(mistakes.into_iter())),
        }
    }
}
