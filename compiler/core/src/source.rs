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
