//! What checked rules say about themselves, as texts that C can hold on to.

use crate::text::owned;
use optc_artifact::manifest;
use optc_cli::describe;
use optc_core::hir::Program;
use std::ffi::CString;

/// An optimizer of a source.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) name: CString,
    pub(crate) docs: CString,
    pub(crate) hypers: Vec<Hyper>,
    pub(crate) statics: Vec<Static>,
}

/// A hyperparameter.
#[derive(Debug)]
pub(crate) struct Hyper {
    pub(crate) name: CString,
    pub(crate) docs: CString,
    pub(crate) default: f64,
    pub(crate) range: manifest::Range,
}

/// A static.
#[derive(Debug)]
pub(crate) struct Static {
    pub(crate) name: CString,
    pub(crate) docs: CString,
    pub(crate) ty: CString,
    pub(crate) default: CString,
}

/// All optimizers of the root file, in order. One whose defaults contradict themselves cannot be bound, and says
/// nothing here.
pub(crate) fn all(program: &Program) -> Vec<Described> {
    let optimizers = describe::optimizers(program).unwrap_or_default();
    optimizers.iter().map(optimizer).collect()
}

fn optimizer(optimizer: &manifest::Optimizer) -> Described {
    Described {
        name: owned(&optimizer.name),
        docs: owned(&optimizer.docs),
        hypers: optimizer.hypers.iter().map(hyper).collect(),
        statics: optimizer.statics.iter().map(choice).collect(),
    }
}

fn hyper(hyper: &manifest::Hyper) -> Hyper {
    let anything = manifest::Range {
        hi: manifest::Number(f64::INFINITY),
        hi_closed: false,
        lo: manifest::Number(f64::NEG_INFINITY),
        lo_closed: false,
    };
    Hyper {
        name: owned(&hyper.name),
        docs: owned(&hyper.docs),
        default: hyper.default.0,
        range: hyper.range.unwrap_or(anything),
    }
}

fn choice(choice: &manifest::Static) -> Static {
    Static {
        name: owned(&choice.name),
        docs: owned(&choice.docs),
        ty: owned(&choice.ty),
        default: owned(&choice.default),
    }
}
