//! What only the numbers of one parameter show: loops without measure, tensors that no memory holds, negative counts.

use super::Spec;
use crate::ir::LARGEST_TENSOR;
use miette::Diagnostic;
use std::fmt::{self, Display, Formatter};
use thiserror::Error;

/// Why a checked program cannot be specialised.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{place} {fault}")]
pub struct LowerError {
    /// What is wrong.
    pub place: Place,
    /// What is wrong with it.
    pub fault: Fault,
}

/// A part of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A rule, its guard or one of its entries.
    Rule {
        /// The rule.
        rule: String,
        /// The parameter's name; empty if it has none.
        param: String,
        /// The parameter's shape.
        dims: Vec<u64>,
    },
    /// What a hyperparameter or static is unless it is set.
    Default {
        /// Its name.
        name: String,
    },
    /// The numbers before the first step, and the settings of what rules delegate to.
    Start {
        /// The optimizer that they are bound to.
        optimizer: String,
    },
}

/// What may be wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
pub enum Fault {
    /// Loops were not written out to their end.
    #[error(
        "is too large: it has more than {} operations",
        super::LARGEST_FUNCTION
    )]
    #[diagnostic(
        code(opt::bind::too_large),
        help(
            "loops are written out, for each part of the parameter: lower their counts, or make the parts larger"
        )
    )]
    Operations,
    /// A tensor of this shape.
    #[error("is too large: a tensor in it has shape {0:?}, more than {LARGEST_TENSOR} elements")]
    #[diagnostic(
        code(opt::bind::too_large),
        help("lower the lengths, or give large dimensions a rule of their own with `where`")
    )]
    Elements(Vec<u64>),
    /// A count is out of range.
    #[error("has a count out of range: `{text}` is {value}, and must be {need}")]
    #[diagnostic(
        code(opt::bind::count),
        help(
            "set the static to another value, give it a range with `in`, or keep such parameters away with `where`"
        )
    )]
    Count {
        /// As written.
        text: String,
        /// Its value.
        value: String,
        /// What it must be.
        need: &'static str,
    },
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Place::Rule { rule, param, dims } => match param.as_str() {
                "" => write!(f, "rule `{rule}` for a parameter of shape {dims:?}"),
                name => write!(f, "rule `{rule}` for parameter `{name}` of shape {dims:?}"),
            },
            Place::Default { name } => write!(f, "the default of `{name}`"),
            Place::Start { optimizer } => write!(f, "what `{optimizer}` starts from"),
        }
    }
}

impl Diagnostic for LowerError {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.fault.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        self.fault.help()
    }
}

impl Place {
    pub(super) fn rule(rule: &str, (param, dims): (&str, &[u64])) -> Place {
        Place::Rule {
            rule: rule.to_owned(),
            param: param.to_owned(),
            dims: dims.to_vec(),
        }
    }

    pub(super) fn of(spec: &Spec<'_>) -> Place {
        let rule = &spec.program.optimizers[spec.optimizer].rules[spec.rule];
        Place::rule(&rule.name, (spec.name, spec.dims))
    }

    pub(super) fn default(name: &str) -> Place {
        Place::Default {
            name: name.to_owned(),
        }
    }

    pub(super) fn start(optimizer: &str) -> Place {
        Place::Start {
            optimizer: optimizer.to_owned(),
        }
    }
}
