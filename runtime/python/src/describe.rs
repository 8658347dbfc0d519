//! What an artifact says about itself, for `help`, signatures and notebooks.

use crate::artifact::Artifact;
use crate::error;
use optc_artifact::manifest;
use optc_cli::describe::{self, interval};
use optc_core::hir::{self, InputKind};
use pyo3::prelude::*;

/// Name, default, what it may be, documentation.
pub(crate) type Row = (String, String, String, String);

pub(crate) fn hypers(py: Python<'_>, artifact: &Artifact) -> PyResult<Vec<Row>> {
    let row = |hyper: manifest::Hyper| {
        let range = hyper.range.map(interval).unwrap_or_default();
        (hyper.name, hyper.default.0.to_string(), range, hyper.docs)
    };
    Ok(own(py, artifact)?.hypers.into_iter().map(row).collect())
}

pub(crate) fn statics(py: Python<'_>, artifact: &Artifact) -> PyResult<Vec<Row>> {
    let row = |choice: manifest::Static| (choice.name, choice.default, choice.ty, choice.docs);
    Ok(own(py, artifact)?.statics.into_iter().map(row).collect())
}

pub(crate) fn rules(py: Python<'_>, artifact: &Artifact) -> PyResult<Vec<(String, String)>> {
    let row = |rule: manifest::Rule| (rule.name, rule.pattern);
    Ok(own(py, artifact)?.rules.into_iter().map(row).collect())
}

/// What can be asked for beside a step: names, and for each input its name and whether it is a tensor.
pub(crate) type Signature = (String, Vec<(String, bool)>);

pub(crate) fn entries(artifact: &Artifact) -> Vec<Signature> {
    let program = artifact.rules.program();
    let entries = program.entries(artifact.id);
    entries.iter().map(signature).collect()
}

pub(crate) fn signature(entry: &hir::Signature) -> Signature {
    let inputs = entry.inputs.iter();
    let inputs = inputs.map(|(name, kind)| (name.clone(), *kind == InputKind::Tensor));
    (entry.name.clone(), inputs.collect())
}

fn own(py: Python<'_>, artifact: &Artifact) -> PyResult<manifest::Optimizer> {
    let all = describe::optimizers(artifact.rules.program()).map_err(|e| error::raise(py, &e))?;
    let name = &artifact.optimizer().name;
    let found = all.into_iter().find(|optimizer| optimizer.name == *name);
    found.ok_or_else(|| pyo3::exceptions::PyLookupError::new_err(name.clone()))
}
