//! Tensors of one call that share memory: what is written must be nobody else's.

use crate::error::raise;
use miette::Diagnostic;
use optc_runtime::apart::{Part, clash_text, find_clash};
use pyo3::prelude::*;
use thiserror::Error;

/// One of the tensors would be written while another one is read or written.
#[derive(Debug, Error, Diagnostic)]
#[error("{}", clash_text(first, second))]
#[diagnostic(
    code(opt::python::shared),
    help("give a tied parameter once, and each gradient memory of its own")
)]
struct Shared {
    first: String,
    second: String,
}

/// Checks that no written tensor overlaps another one; `name` is that of a parameter.
pub(crate) fn check<'a>(
    py: Python<'_>,
    parts: Vec<Part>,
    name: impl Fn(usize) -> &'a str,
) -> PyResult<()> {
    let Some((first, second)) = find_clash(parts) else {
        return Ok(());
    };
    let (first, second) = (name(first).to_owned(), name(second).to_owned());
    Err(raise(py, &Shared { first, second }))
}
