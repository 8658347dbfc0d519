//! The options of a parameter group: what a person gives → all that the optimizer needs, as torch lays it out.

use crate::artifact::Artifact;
use crate::error::{raise, worded};
use crate::fields::{Field, invalid};
use crate::value;
use miette::Diagnostic;
use optc_core::hir::{ExprKind, Static, StaticType, UnaryOp};
use optc_core::settings::{Overrides, SettingError, Settings, StaticValue, check_hyper, settle};
use optc_runtime::Group;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use thiserror::Error;

/// An option that the rule does not declare.
#[derive(Debug, Error, Diagnostic)]
#[error("`{optimizer}` has no option `{name}`")]
#[diagnostic(code(opt::python::option), help("it has {known}"))]
struct UnknownOption {
    optimizer: String,
    name: String,
    known: String,
}

/// A tuple that does not go with the rule's betas.
#[derive(Debug, Error, Diagnostic)]
#[error("`betas` has {found} numbers, `{optimizer}` takes {takes}")]
#[diagnostic(code(opt::python::betas), help("give one for each of {names}"))]
struct WrongBetas {
    optimizer: String,
    found: usize,
    takes: String,
    names: String,
}

/// What a group says, as the runtime wants it.
pub(crate) struct Terms {
    pub(crate) hypers: Vec<(String, f64)>,
    pub(crate) statics: Vec<(String, String)>,
}

impl Artifact {
    /// Every hyperparameter and static of a group, from those that are given; the given objects are kept.
    ///
    /// A choice that follows from hyperparameters, such as whether there is momentum, is left out, for it goes on
    /// following them; a number stays what it is now.
    pub(crate) fn complete_options<'py>(
        &self,
        py: Python<'py>,
        given: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.check_names(py, given)?;
        let settings = self.settings(py, given)?;
        let options = PyDict::new(py);
        for (n, field) in self.fields.iter().enumerate() {
            let value = match given_hyper(field, given)? {
                Some((value, _)) => value,
                None => settings.hypers[n].into_pyobject(py)?.into_any(),
            };
            put(&options, field, value)?;
        }
        let declared = self.optimizer().statics.iter().zip(&settings.statics);
        for (choice, setting) in declared {
            if given.contains(&choice.name)?
                || !is_derived(choice)
                || choice.ty == StaticType::Float
            {
                let whole = choice.ty == StaticType::Int;
                options.set_item(&choice.name, value::to_python(py, setting, whole)?)?;
            }
        }
        Ok(options)
    }

    fn check_names(&self, py: Python<'_>, given: &Bound<'_, PyDict>) -> PyResult<()> {
        let known = |name: &str| {
            let hyper = |field: &Field| field.name == name || field.key == name;
            self.fields.iter().any(hyper)
                || self
                    .optimizer()
                    .statics
                    .iter()
                    .any(|choice| choice.name == name)
        };
        for name in given.keys() {
            let name = name.to_string();
            if !known(&name) {
                return Err(raise(py, &self.unknown(name)));
            }
        }
        Ok(())
    }

    fn unknown(&self, name: String) -> UnknownOption {
        let mut known: Vec<&str> = self.fields.iter().map(|field| field.key.as_str()).collect();
        known.dedup();
        known.extend(
            self.optimizer()
                .statics
                .iter()
                .map(|choice| choice.name.as_str()),
        );
        UnknownOption {
            optimizer: self.optimizer().name.clone(),
            name,
            known: known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", "),
        }
    }

    /// The settings that a group's options stand for; keys that are no option are passed over.
    pub(crate) fn settings(&self, py: Python<'_>, group: &Bound<'_, PyDict>) -> PyResult<Settings> {
        let overrides = self.overrides(py, group)?;
        settle(self.rules.program(), self.id, &overrides).map_err(|error| raise(py, &error))
    }

    fn overrides(&self, py: Python<'_>, group: &Bound<'_, PyDict>) -> PyResult<Overrides> {
        self.check_betas(py, group)?;
        let mut overrides = Overrides::default();
        for (n, field) in self.fields.iter().enumerate() {
            if let Some((value, place)) = given_hyper(field, group)? {
                let number = number(py, &place, &value)?;
                check_hyper(self.optimizer(), n, number)
                    .map_err(|error| refused(py, &place, &value, &error))?;
                overrides.hypers.push((field.name.clone(), number));
            }
        }
        for choice in &self.optimizer().statics {
            if let Some(value) = group.get_item(&choice.name)? {
                let text = value::to_text(&value)?;
                let parsed = StaticValue::parse(&text, &choice.ty);
                let value = parsed.unwrap_or(StaticValue::Word(text));
                overrides.statics.push((choice.name.clone(), value));
            }
        }
        Ok(overrides)
    }

    /// The last betas may be left out, as those of Prodigy that follow from the others; two are a tuple of torch's.
    fn check_betas(&self, py: Python<'_>, group: &Bound<'_, PyDict>) -> PyResult<()> {
        let betas = self.fields.iter().filter(|field| field.index.is_some());
        let names: Vec<String> = betas.map(|field| format!("`{}`", field.name)).collect();
        let Some(tuple) = group.get_item("betas")?.filter(|_| !names.is_empty()) else {
            return Ok(());
        };
        let found = tuple
            .len()
            .map_err(|_| wrong_type("betas", "a tuple of numbers", &tuple))?;
        if (2..=names.len()).contains(&found) {
            return Ok(());
        }
        let wrong = WrongBetas {
            optimizer: self.optimizer().name.clone(),
            found,
            takes: match names.len() {
                2 => "2".into(),
                most => format!("2 to {most}"),
            },
            names: names.join(", "),
        };
        Err(raise(py, &wrong))
    }

    /// Hyperparameters and statics of a group, as the runtime wants them.
    pub(crate) fn terms(&self, group: &Bound<'_, PyDict>) -> PyResult<Terms> {
        let mut statics = Vec::new();
        for choice in &self.optimizer().statics {
            if let Some(value) = group.get_item(&choice.name)? {
                statics.push((choice.name.clone(), value::to_text(&value)?));
            }
        }
        let hypers = self.overrides(group.py(), group)?.hypers;
        Ok(Terms { hypers, statics })
    }

    /// A group of the runtime with the options of one of torch's.
    pub(crate) fn fill(
        &self,
        group: Group,
        options: &Bound<'_, PyDict>,
        rule: Option<&str>,
    ) -> PyResult<Group> {
        let terms = self.terms(options)?;
        let mut group = group.uses(&self.rules, Some(&self.optimizer().name));
        for (name, value) in &terms.hypers {
            group = group.hyper(name, *value);
        }
        for (name, text) in &terms.statics {
            group = group.set(name, text);
        }
        Ok(match rule {
            Some(rule) => group.rule(rule),
            None => group,
        })
    }

    /// Whether a static that was not given may change with the hyperparameters.
    pub(crate) fn derives_statics(&self) -> bool {
        self.optimizer().statics.iter().any(is_derived)
    }
}

/// A hyperparameter's value: a number, or a tensor that holds one.
fn number(py: Python<'_>, place: &Field, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let elements = value.getattr_opt(intern!(py, "numel"))?;
    match elements
        .map(|numel| numel.call0()?.extract::<u64>())
        .transpose()?
    {
        None | Some(1) => value
            .extract()
            .map_err(|_| wrong_type(&place.key, "a number", value)),
        Some(_) => {
            let message = format!("Tensor {} must be 1-element", place.name);
            Err(PyValueError::new_err(message))
        }
    }
}

fn wrong_type(option: &str, wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    let kind = value.get_type();
    let kind = kind
        .name()
        .map_or_else(|_| "this".into(), |name| name.to_string());
    PyTypeError::new_err(format!("`{option}` must be {wanted}, not {kind}"))
}

/// torch's words for a value outside of its interval.
pub(crate) fn refused(
    py: Python<'_>,
    place: &Field,
    value: &Bound<'_, PyAny>,
    error: &SettingError,
) -> PyErr {
    match value.str() {
        Ok(text) => worded(py, &invalid(place, &text.to_string()), error),
        Err(error) => error,
    }
}

/// The value that a group gives to a hyperparameter, and where it stands there.
fn given_hyper<'py>(
    field: &Field,
    group: &Bound<'py, PyDict>,
) -> PyResult<Option<(Bound<'py, PyAny>, Field)>> {
    if let Some(value) = group.get_item(&field.name)? {
        let place = Field {
            key: field.name.clone(),
            index: None,
            ..field.clone()
        };
        return Ok(Some((value, place)));
    }
    let (Some(index), Some(tuple)) = (field.index, group.get_item(&field.key)?) else {
        return Ok(None);
    };
    // A shorter tuple leaves the last ones as they are.
    if index >= tuple.len()? {
        return Ok(None);
    }
    Ok(Some((tuple.get_item(index)?, field.clone())))
}

/// Stores a hyperparameter's value where torch keeps it; the parts of a tuple come in order.
fn put<'py>(options: &Bound<'py, PyDict>, field: &Field, value: Bound<'py, PyAny>) -> PyResult<()> {
    let Some(_) = field.index else {
        return options.set_item(&field.key, value);
    };
    let mut parts: Vec<Bound<'py, PyAny>> = match options.get_item(&field.key)? {
        Some(tuple) => tuple.extract()?,
        None => Vec::new(),
    };
    parts.push(value);
    options.set_item(&field.key, PyTuple::new(options.py(), parts)?)
}

/// The default is computed, so it may change when a hyperparameter does.
fn is_derived(choice: &Static) -> bool {
    let mut default = &choice.default.kind;
    while let ExprKind::Unary(UnaryOp::Neg, inner) = default {
        default = &inner.kind;
    }
    !matches!(
        default,
        ExprKind::Number(_)
            | ExprKind::Bool(_)
            | ExprKind::Word(_)
            | ExprKind::DType(_)
            | ExprKind::Table(_)
            | ExprKind::TableLiteral(_)
    )
}
