//! How a module name becomes text.
//!
//! Core reads no files: who calls [`check`](crate::check::check) says where `use helpers.clip` finds `helpers`, and
//! falls through to the standard library for names that begin with `std`.

/// Where modules come from.
pub trait Sources {
    /// The text of a module such as `std.soap`, or `None` when there is no such module.
    fn read(&self, module: &str) -> Option<String>;

    /// The names that exist, for "did you mean"; it need not be complete.
    fn modules(&self) -> Vec<String>;
}

/// Modules whose texts are part of the program, such as those of the standard library; or none.
///
/// ```
/// use optc_core::source::{Embedded, Sources};
///
/// let library = Embedded { names: optc_stdlib::NAMES, text: optc_stdlib::source };
/// assert!(library.read("std.soap").is_some() && library.read("soap").is_none());
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Embedded {
    /// Every module's name.
    pub names: &'static [&'static str],
    /// The text of a module of that name.
    pub text: fn(&str) -> Option<&'static str>,
}

impl Embedded {
    /// No modules.
    pub const NOTHING: Embedded = Embedded {
        names: &[],
        text: |_| None,
    };
}

impl Sources for Embedded {
    fn read(&self, module: &str) -> Option<String> {
        (self.text)(module).map(str::to_owned)
    }

    fn modules(&self) -> Vec<String> {
        self.names.iter().map(|&name| name.to_owned()).collect()
    }
}
