//! The standard library as sources of a check.

use optc_core::check::{Checked, check};
use optc_core::source::Sources;

/// Modules of the standard library, and nothing else.
pub struct Library;

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

/// A module of the standard library, checked.
///
/// # Panics
///
/// When it does not exist or has a mistake.
pub fn checked(module: &str) -> Checked {
    let text = optc_stdlib::source(module).unwrap_or_else(|| panic!("no module `{module}`"));
    check(module, text, &Library).unwrap_or_else(|mistakes| panic!("{module}: {mistakes:?}"))
}
