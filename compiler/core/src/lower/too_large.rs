//! What has more operations than anything can run, once its loops are written out.

use super::{LARGEST_FUNCTION, Spec};
use miette::Diagnostic;
use std::fmt;
use thiserror::Error;

/// Loops were not written out to their end, because what they are part of would have become too large.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[error("{what}: it has more than {LARGEST_FUNCTION} operations")]
#[diagnostic(
    code(opt::bind::too_large),
    help(
        "loops are written out, for each part of the parameter: lower their counts, or make the parts larger"
    )
)]
pub struct TooLarge {
    /// What they are part of.
    pub what: Large,
}

/// What may be too large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Large {
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

impl fmt::Display for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Large::Rule { rule, param, dims } => {
                write!(f, "rule `{rule}` is too large for ")?;
                match param.as_str() {
                    "" => write!(f, "a parameter of shape {dims:?}"),
                    name => write!(f, "parameter `{name}` of shape {dims:?}"),
                }
            }
            Large::Default { name } => write!(f, "the default of `{name}` is too large"),
            Large::Start { optimizer } => write!(f, "what `{optimizer}` starts from is too large"),
        }
    }
}

impl TooLarge {
    pub(super) fn rule(rule: &str, (param, dims): (&str, &[u64])) -> TooLarge {
        TooLarge {
            what: Large::Rule {
                rule: rule.to_owned(),
                param: param.to_owned(),
                dims: dims.to_vec(),
            },
        }
    }

    pub(super) fn of(spec: &Spec<'_>) -> TooLarge {
        let rule = &spec.program.optimizers[spec.optimizer].rules[spec.rule];
        TooLarge::rule(&rule.name, (spec.name, spec.dims))
    }

    pub(super) fn default(name: &str) -> TooLarge {
        TooLarge {
            what: Large::Default {
                name: name.to_owned(),
            },
        }
    }

    pub(super) fn start(optimizer: &str) -> TooLarge {
        TooLarge {
            what: Large::Start {
                optimizer: optimizer.to_owned(),
            },
        }
    }
}
