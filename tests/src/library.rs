//! The standard library as sources of a check.

use optc_core::check::{Checked, check};
use optc_core::source::Embedded;

/// Modules of the standard library, and nothing else.
pub const LIBRARY: Embedded = Embedded {
    names: optc_stdlib::NAMES,
    text: optc_stdlib::source,
};

/// A module of the standard library, checked.
///
/// # Panics
///
/// When it does not exist or has a mistake.
pub fn checked(module: &str) -> Checked {
    let text = optc_stdlib::source(module).unwrap_or_else(|| panic!("no module `{module}`"));
    check(module, text, &LIBRARY).unwrap_or_else(|mistakes| panic!("{module}: {mistakes:?}"))
}
