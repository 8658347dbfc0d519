//! What has changed in a rule since the version that wrote a state dict.

use pyo3::prelude::*;

/// Changes, each with the line by which a report names it.
#[pyclass(frozen, module = "optc._optc")]
pub(crate) struct Changes(pub(crate) optc_runtime::Changes);

#[pymethods]
impl Changes {
    /// What state of today was called.
    fn former(&self, state: &str) -> Option<(String, &str)> {
        self.0.former(state)
    }

    /// The value of state that was not there.
    fn added(&self, state: &str) -> Option<(f64, &str)> {
        self.0.added(state)
    }

    /// Whether state is no longer there.
    fn dropped(&self, state: &str) -> Option<&str> {
        self.0.dropped(state)
    }

    /// What an option of today may have been called.
    fn former_options(&self, option: &str) -> Vec<(String, &str)> {
        self.0.former_options(option)
    }

    /// Whether an option is no longer there.
    fn dropped_option(&self, option: &str) -> Option<&str> {
        self.0.dropped_option(option)
    }
}
