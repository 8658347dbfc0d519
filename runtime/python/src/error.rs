//! Diagnostics → `optc.OptError`, with code, span and rendered text.

use miette::{Diagnostic, LabeledSpan, Severity};
use optc_cli::rendered;
use optc_core::check::Diagnostics;
use optc_runtime::LoadError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

/// The exception for a diagnostic.
pub(crate) fn raise(py: Python<'_>, diagnostic: &dyn Diagnostic) -> PyErr {
    worded(py, &diagnostic.to_string(), diagnostic)
}

/// The exception for a diagnostic, with another message.
pub(crate) fn worded(py: Python<'_>, message: &str, diagnostic: &dyn Diagnostic) -> PyErr {
    match object(py, message, diagnostic) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// The exception for what could not be loaded; of several mistakes it names the first and shows all.
pub(crate) fn load(py: Python<'_>, error: LoadError) -> PyErr {
    match &error {
        LoadError::Source { source } => match mistakes(py, source) {
            Ok(exception) => PyErr::from_value(exception),
            Err(error) => error,
        },
        _ => raise(py, &error),
    }
}

fn mistakes<'py>(py: Python<'py>, all: &Diagnostics) -> PyResult<Bound<'py, PyAny>> {
    let rendered: Vec<String> = all.iter().map(|one| rendered(one)).collect();
    let Some(first) = all.iter().next() else {
        return object(py, &all.to_string(), all);
    };
    let exception = object(py, &all.to_string(), first)?;
    exception.setattr("rendered", rendered.join("\n"))?;
    Ok(exception)
}

/// The exception object for a diagnostic.
pub(crate) fn object<'py>(
    py: Python<'py>,
    message: &str,
    diagnostic: &dyn Diagnostic,
) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "optc._errors", "OptError")?;
    let about = PyDict::new(py);
    about.set_item("code", diagnostic.code().map(|code| code.to_string()))?;
    about.set_item("span", span(diagnostic))?;
    about.set_item("help", diagnostic.help().map(|help| help.to_string()))?;
    about.set_item("severity", severity(diagnostic))?;
    about.set_item("rendered", rendered(diagnostic))?;
    class.call((message,), Some(&about))
}

fn severity(diagnostic: &dyn Diagnostic) -> &'static str {
    match diagnostic.severity().unwrap_or_default() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

/// Begin and end of the primary label, in bytes.
fn span(diagnostic: &dyn Diagnostic) -> Option<(usize, usize)> {
    let mut labels: Vec<LabeledSpan> = diagnostic.labels().into_iter().flatten().collect();
    labels.sort_by_key(|label| !label.primary());
    let first = labels.first()?;
    Some((first.offset(), first.offset() + first.len()))
}
