//! The standard library: `.opt` files, embedded by name.
//!
//! ```
//! assert!(optc_stdlib::source("std.soap").is_some_and(|text| text.contains("optimizer Soap")));
//! ```

/// Every module's name, in alphabetical order.
pub const NAMES: &[&str] = &[
    "std.adadelta",
    "std.adagrad",
    "std.adam",
    "std.adamax",
    "std.adamw",
    "std.ademamix",
    "std.asgd",
    "std.cautious_adamw",
    "std.cautious_lion",
    "std.lamb",
    "std.lars",
    "std.lion",
    "std.mars",
    "std.muon",
    "std.nadam",
    "std.normalised_gd",
    "std.orthogonal",
    "std.radam",
    "std.rmsprop",
    "std.rprop",
    "std.sgd",
    "std.signum",
    "std.soap",
];

/// The text of a module.
pub fn source(name: &str) -> Option<&'static str> {
    match name {
        "std.adadelta" => Some(include_str!("adadelta.opt")),
        "std.adagrad" => Some(include_str!("adagrad.opt")),
        "std.adam" => Some(include_str!("adam.opt")),
        "std.adamax" => Some(include_str!("adamax.opt")),
        "std.adamw" => Some(include_str!("adamw.opt")),
        "std.ademamix" => Some(include_str!("ademamix.opt")),
        "std.asgd" => Some(include_str!("asgd.opt")),
        "std.cautious_adamw" => Some(include_str!("cautious_adamw.opt")),
        "std.cautious_lion" => Some(include_str!("cautious_lion.opt")),
        "std.lamb" => Some(include_str!("lamb.opt")),
        "std.lars" => Some(include_str!("lars.opt")),
        "std.lion" => Some(include_str!("lion.opt")),
        "std.mars" => Some(include_str!("mars.opt")),
        "std.muon" => Some(include_str!("muon.opt")),
        "std.nadam" => Some(include_str!("nadam.opt")),
        "std.normalised_gd" => Some(include_str!("normalised_gd.opt")),
        "std.orthogonal" => Some(include_str!("orthogonal.opt")),
        "std.radam" => Some(include_str!("radam.opt")),
        "std.rmsprop" => Some(include_str!("rmsprop.opt")),
        "std.rprop" => Some(include_str!("rprop.opt")),
        "std.sgd" => Some(include_str!("sgd.opt")),
        "std.signum" => Some(include_str!("signum.opt")),
        "std.soap" => Some(include_str!("soap.opt")),
        _ => None,
    }
}
