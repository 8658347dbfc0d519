//! A bound parameter group: notices what a person or a scheduler has changed in it.

use crate::artifact::Artifact;
use crate::options::refused;
use optc_core::settings::StaticValue;
use optc_runtime::{HyperError, Optimizer};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::collections::BTreeMap;

/// What the options of a group were when it was last looked at.
pub(crate) struct Group {
    artifact: Py<Artifact>,
    hypers: Vec<Hyper>,
    /// Statics that the group holds, by key.
    choices: Vec<(Py<PyString>, Py<PyAny>)>,
    /// The statics that it was bound with.
    statics: Vec<StaticValue>,
    /// The rule has no word of its own for `maximize`, and the group asks for it.
    negate: bool,
    /// torch's group, where the numbers that its parameters share are kept.
    home: Py<PyDict>,
}

struct Hyper {
    key: Py<PyString>,
    index: Option<usize>,
    value: f64,
}

impl Group {
    pub(crate) fn new(
        py: Python<'_>,
        artifact: &Py<Artifact>,
        group: &Bound<'_, PyDict>,
    ) -> PyResult<Group> {
        let settings = artifact.get().settings(py, group)?;
        let places = artifact.get().fields.iter().zip(&settings.hypers);
        let hyper = |(field, &value): (&crate::fields::Field, &f64)| Hyper {
            key: PyString::intern(py, &field.key).unbind(),
            index: field.index,
            value,
        };
        let mut choices = Vec::new();
        for choice in &artifact.get().optimizer().statics {
            if let Some(value) = group.get_item(&choice.name)? {
                choices.push((PyString::intern(py, &choice.name).unbind(), value.unbind()));
            }
        }
        Ok(Group {
            hypers: places.map(hyper).collect(),
            choices,
            statics: settings.statics,
            negate: false,
            home: group.clone().unbind(),
            artifact: artifact.clone_ref(py),
        })
    }

    /// Whether gradients change their sign before the rule sees them.
    pub(crate) fn negates(&self) -> bool {
        self.negate
    }

    /// Hands changed hyperparameters to the optimizer; false if a static is another one now.
    pub(crate) fn adopt(
        &mut self,
        group: &Bound<'_, PyDict>,
        n: usize,
        optimizer: &mut Optimizer,
    ) -> PyResult<bool> {
        let py = group.py();
        let mut changed = false;
        for at in 0..self.hypers.len() {
            changed |= self.adopt_hyper(group, at, n, optimizer)?;
        }
        for (key, value) in &self.choices {
            let now = group.as_any().get_item(key)?;
            if !now.is(value) && !now.eq(value)? {
                return Ok(false);
            }
        }
        self.negate = self.asks_to_negate(py, group)?;
        self.home = group.clone().unbind();
        if let Some(shared) = group.get_item(intern!(py, "shared"))? {
            for (name, value) in shared.extract::<BTreeMap<String, f64>>()? {
                let set = optimizer.set_shared(n, &name, value);
                set.map_err(|error| crate::error::raise(py, &error))?;
            }
        }
        if changed && self.artifact.get().derives_statics() {
            return Ok(self.artifact.get().settings(py, group)?.statics == self.statics);
        }
        Ok(true)
    }

    /// Stores what the parameters share where torch keeps the group.
    pub(crate) fn store_shared(
        &self,
        py: Python<'_>,
        n: usize,
        optimizer: &Optimizer,
    ) -> PyResult<()> {
        let mut numbers = optimizer.shared_numbers(n).peekable();
        if numbers.peek().is_none() {
            return Ok(());
        }
        let shared = PyDict::new(py);
        for (name, value) in numbers {
            shared.set_item(name, value)?;
        }
        self.home.bind(py).set_item(intern!(py, "shared"), shared)
    }

    fn asks_to_negate(&self, py: Python<'_>, group: &Bound<'_, PyDict>) -> PyResult<bool> {
        if self
            .choices
            .iter()
            .any(|(key, _)| key.bind(py) == "maximize")
        {
            return Ok(false);
        }
        group
            .get_item(intern!(py, "maximize"))?
            .map_or(Ok(false), |value| value.is_truthy())
    }

    fn adopt_hyper(
        &mut self,
        group: &Bound<'_, PyDict>,
        at: usize,
        n: usize,
        optimizer: &mut Optimizer,
    ) -> PyResult<bool> {
        let py = group.py();
        let hyper = &mut self.hypers[at];
        let mut object = group.as_any().get_item(&hyper.key)?;
        if let Some(index) = hyper.index {
            object = object.get_item(index)?;
        }
        let value: f64 = object.extract()?;
        if value.to_bits() == hyper.value.to_bits() {
            return Ok(false);
        }
        let field = &self.artifact.get().fields[at];
        optimizer
            .set_hyper(n, &field.name, value)
            .map_err(|error| match &error {
                HyperError::Setting(setting) => refused(py, field, &object, setting),
                other => crate::error::raise(py, other),
            })?;
        hyper.value = value;
        Ok(true)
    }
}
