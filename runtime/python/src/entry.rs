//! Entries: what a rule does beside a step, with tensors and numbers that the program hands in.

use crate::engine::Engine;
use crate::params::{self, Given, Memories, Param};
use optc_runtime::{Present, StepError, TensorView};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// By name, a tensor or None for each parameter.
pub(crate) type Tensors<'py> = Vec<(String, Vec<Option<Bound<'py, PyAny>>>)>;

/// What the program asks for.
pub(crate) struct Call<'a, 'py> {
    pub(crate) name: &'a str,
    pub(crate) numbers: Vec<(String, f64)>,
    pub(crate) tensors: Tensors<'py>,
}

impl Engine {
    /// Finds what an entry needs of each parameter; of those that take no part, no state is made.
    pub(crate) fn read_given<'py>(
        &self,
        py: Python<'py>,
        states: &Bound<'py, PyDict>,
        call: &Call<'_, 'py>,
    ) -> PyResult<Vec<params::Tensors<'py>>> {
        let each = self.params.iter().enumerate().map(|(n, param)| {
            let all = call.tensors.iter();
            let own = all.map(|(name, all)| (&**name, all.get(n).and_then(Option::as_ref)));
            let given: Given<'_, 'py> = own.collect();
            let complete = given.iter().all(|(_, tensor)| tensor.is_some());
            let enters = |grad, state| {
                let present = Present {
                    grad,
                    tensors: complete,
                    state,
                };
                self.optimizer.enters(call.name, n, present)
            };
            param.read_given(py, states, self.negates(n), &given, enters)
        });
        each.collect()
    }

    /// Runs the entry with what was found.
    pub(crate) fn enter(
        &mut self,
        py: Python<'_>,
        found: &[params::Tensors<'_>],
        call: &Call<'_, '_>,
    ) -> Result<(), StepError> {
        let names: Vec<&str> = call.tensors.iter().map(|(name, _)| &**name).collect();
        let numbers = call.numbers.iter();
        let numbers: Vec<(&str, f64)> = numbers.map(|(name, x)| (&**name, *x)).collect();
        let name = call.name;
        self.run(py, found, |optimizer, inputs, views| {
            let tensors = names.iter().zip(views);
            let tensors: Vec<_> = tensors.map(|(&name, views)| (name, &**views)).collect();
            let given = optc_runtime::Given {
                numbers: &numbers,
                tensors: &tensors,
            };
            optimizer.run_entry(name, inputs, given)
        })
    }
}

/// The tensors that all parameters are given under one name.
pub(crate) fn given<'a>(
    memories: &'a [Memories<'_>],
    params: &'a [Param],
    at: usize,
) -> Vec<Option<TensorView<'a>>> {
    let each = memories.iter().zip(params).map(|(memories, param)| {
        let memory = memories.given.get(at)?.as_ref()?;
        // SAFETY: read for this layout from a live tensor that is only read, and found apart from all that is written.
        Some(unsafe { memory.view(&param.layout) })
    });
    each.collect()
}
