//! Warnings of what is declared and does nothing.

use miette::Diagnostic;
use optc_grammar::ast::Span;
use thiserror::Error;

/// What looks like an oversight; `at` is where it is declared.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
pub enum Unused {
    #[error("`{name}` is never used")]
    #[diagnostic(
        code(opt::unused::local),
        severity(Warning),
        help("remove it, or call it `_{name}`")
    )]
    Local {
        name: String,
        #[label(primary, "declared here")]
        at: Span,
    },

    #[error("state `{name}` is never read")]
    #[diagnostic(
        code(opt::unused::state),
        severity(Warning),
        help("remove it: it costs memory in every parameter")
    )]
    State {
        name: String,
        #[label(primary, "declared here")]
        at: Span,
    },

    #[error("state `{name}` is read and never assigned")]
    #[diagnostic(
        code(opt::unused::memory),
        severity(Warning),
        help("assign it, or write its value in its place: what never changes needs no memory")
    )]
    NeverAssigned {
        name: String,
        #[label(primary, "stays as it begins")]
        at: Span,
    },

    #[error("hyperparameter `{name}` is never used")]
    #[diagnostic(
        code(opt::unused::hyper),
        severity(Warning),
        help("remove it, or use it in a rule")
    )]
    Hyper {
        name: String,
        #[label(primary, "declared here")]
        at: Span,
    },

    #[error("optimizer `{name}` is never applied")]
    #[diagnostic(
        code(opt::unused::base),
        severity(Warning),
        help("remove it, or apply it in a rule: `w = {name}(w, grad)`")
    )]
    Base {
        name: String,
        #[label(primary, "declared here")]
        at: Span,
    },

    #[error("static `{name}` is never used")]
    #[diagnostic(
        code("opt::unused::static"),
        severity(Warning),
        help("remove it, or use it in a rule")
    )]
    Static {
        name: String,
        #[label(primary, "declared here")]
        at: Span,
    },
}
