//! Names that options cannot have: Python's interface, and torch's training loops, keep something else under them.

use super::error::CheckError;
use optc_grammar::ast::{self, Type};

/// Names, and what has them.
const TAKEN: [(&[&str], &str); 4] = [
    (
        &[
            "self",
            "params",
            "source",
            "groups",
            "seed",
            "non_finite",
            "differentiable",
            "maximize",
        ],
        "in Python an optimizer is made with an argument of this name",
    ),
    (
        &["param_names", "shared", "versions", "name", "pattern"],
        "in Python a group of parameters keeps something else under this name",
    ),
    (
        &["betas"],
        "in Python this is the tuple of `beta1`, `beta2`, …",
    ),
    (
        &["initial_lr"],
        "schedulers of torch take what stands under this name for the learning rate at the beginning",
    ),
];

/// The options of an optimizer that nobody could set.
pub(super) fn taken(optimizer: &ast::Optimizer) -> impl Iterator<Item = CheckError> {
    let hypers = optimizer.hypers.iter().map(|hyper| &hyper.name);
    // Every rule can be asked to maximize; this is how it says that it does so itself.
    let maximizes = |entry: &&ast::Static| {
        entry.name.text == "maximize"
            && matches!(&entry.ty, Type::Word(word) if word.text == "bool")
    };
    let statics = optimizer
        .statics
        .iter()
        .filter(move |entry| !maximizes(entry));
    let names = hypers.chain(statics.map(|entry| &entry.name));
    names.filter_map(|name| {
        let (_, by) = TAKEN
            .iter()
            .find(|(names, _)| names.contains(&name.text.as_str()))?;
        Some(CheckError::TakenName {
            name: name.text.clone(),
            taken_by: (*by).to_owned(),
            at: name.span,
        })
    })
}
