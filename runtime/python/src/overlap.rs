//! Tensors of one step that share memory: what is written must be nobody else's.

use crate::error::raise;
use miette::Diagnostic;
use pyo3::prelude::*;
use std::ops::Range;
use thiserror::Error;

/// One of the tensors would be written while another one is read or written.
#[derive(Debug, Error, Diagnostic)]
#[error("`{first}` and `{second}` share memory")]
#[diagnostic(code(opt::python::shared), help("give a tied parameter once"))]
struct Shared {
    first: String,
    second: String,
}

/// A tensor of the step.
pub(crate) struct Part<'a> {
    pub(crate) bytes: Range<usize>,
    pub(crate) written: bool,
    /// The parameter it belongs to.
    pub(crate) owner: &'a str,
}

/// Checks that no written tensor overlaps another one.
pub(crate) fn check(py: Python<'_>, mut parts: Vec<Part<'_>>) -> PyResult<()> {
    parts.retain(|part| !part.bytes.is_empty());
    parts.sort_unstable_by_key(|part| part.bytes.start);
    // The one that reaches furthest, and the written one that does.
    let mut furthest: [Option<&Part<'_>>; 2] = [None, None];
    for part in &parts {
        let [any, written] = furthest;
        let clash = if part.written { any } else { written };
        if let Some(other) = clash.filter(|other| other.bytes.end > part.bytes.start) {
            let (first, second) = (other.owner.to_owned(), part.owner.to_owned());
            return Err(raise(py, &Shared { first, second }));
        }
        furthest[0] = further(any, part);
        if part.written {
            furthest[1] = further(written, part);
        }
    }
    Ok(())
}

fn further<'a, 'b>(known: Option<&'b Part<'a>>, part: &'b Part<'a>) -> Option<&'b Part<'a>> {
    known
        .filter(|known| known.bytes.end >= part.bytes.end)
        .or(Some(part))
}
