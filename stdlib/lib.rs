//! The standard library: `.opt` files, embedded by name.
//!
//! ```
//! assert!(optc_stdlib::source("std.soap").is_some_and(|text| text.contains("optimizer Soap")));
//! ```

/// Every module's name, in alphabetical order.
pub const NAMES: &[&str] = &[
    "std.adam",
    "std.adamw",
    "std.muon",
    "std.orthogonal",
    "std.sgd",
    "std.soap",
];

/// The text of a module.
pub fn source(name: &str) -> Option<&'static str> {
    match name {
        "std.adam" => Some(include_str!("adam.opt")),
        "std.adamw" => Some(include_str!("adamw.opt")),
        "std.muon" => Some(include_str!("muon.opt")),
        "std.orthogonal" => Some(include_str!("orthogonal.opt")),
        "std.sgd" => Some(include_str!("sgd.opt")),
        "std.soap" => Some(include_str!("soap.opt")),
        _ => None,
    }
}
