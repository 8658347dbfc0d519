//! A checked source or artifact, as Python holds it.

use crate::describe;
use crate::error;
use crate::fields::{self, Field};
use crate::migrate::Changes;
use crate::value;
use optc_artifact::Artifact as Container;
use optc_cli::Question;
use optc_core::check::Located;
use optc_core::hir::{Optimizer, OptimizerId};
use optc_runtime::{LoadError, Rules, versions_of};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An optimizer that was read and checked.
#[pyclass(frozen, module = "optc", weakref)]
pub(crate) struct Artifact {
    pub(crate) rules: Rules,
    pub(crate) id: OptimizerId,
    pub(crate) fields: Vec<Field>,
    /// The file, if it came with machine code.
    bytes: Option<Vec<u8>>,
}

impl Artifact {
    fn new(py: Python<'_>, rules: Rules, optimizer: Option<&str>) -> PyResult<Artifact> {
        let id = rules
            .optimizer(optimizer)
            .map_err(|error| error::raise(py, &error))?;
        let fields = fields::of(&rules.program().optimizers[id]);
        Ok(Artifact {
            rules,
            id,
            fields,
            bytes: None,
        })
    }

    /// With the file that it came from.
    fn native(
        py: Python<'_>,
        rules: Rules,
        bytes: Vec<u8>,
        optimizer: Option<&str>,
    ) -> PyResult<Artifact> {
        Ok(Artifact {
            bytes: Some(bytes),
            ..Artifact::new(py, rules, optimizer)?
        })
    }

    pub(crate) fn optimizer(&self) -> &Optimizer {
        &self.rules.program().optimizers[self.id]
    }
}

#[pymethods]
impl Artifact {
    /// The text of a `.opt` file.
    #[staticmethod]
    #[pyo3(signature = (text, name = "source", optimizer = None, modules = BTreeMap::new()))]
    fn from_text(
        py: Python<'_>,
        text: &str,
        name: &str,
        optimizer: Option<&str>,
        modules: BTreeMap<String, String>,
    ) -> PyResult<Artifact> {
        let rules = Rules::from_sources(name, text, modules);
        Artifact::new(
            py,
            rules.map_err(|error| error::load(py, error))?,
            optimizer,
        )
    }

    /// A module of the standard library.
    #[staticmethod]
    #[pyo3(signature = (name, optimizer = None))]
    fn from_std(py: Python<'_>, name: &str, optimizer: Option<&str>) -> PyResult<Artifact> {
        let rules = Rules::from_std(name).map_err(|error| error::load(py, error))?;
        Artifact::new(py, rules, optimizer)
    }

    /// A composition of optimizers of the standard library.
    #[staticmethod]
    fn compose(py: Python<'_>, composition: &str) -> PyResult<Artifact> {
        let rules = Rules::compose(composition).map_err(|error| error::load(py, error))?;
        Artifact::new(py, rules, None)
    }

    /// A `.opt` file or an artifact.
    #[staticmethod]
    #[pyo3(signature = (path, optimizer = None))]
    fn open(py: Python<'_>, path: PathBuf, optimizer: Option<&str>) -> PyResult<Artifact> {
        let failed = |error| error::load(py, error);
        let bytes = std::fs::read(&path).map_err(|source| {
            failed(LoadError::File {
                path: path.clone(),
                source,
            })
        })?;
        if Container::recognises(&bytes) {
            // SAFETY: whoever names the file trusts it; the documentation says so.
            let rules = unsafe { Rules::from_artifact(&bytes) };
            let rules = rules.map_err(|error| failed(error.of_file(&path)))?;
            return Artifact::native(py, rules, bytes, optimizer);
        }
        Artifact::new(py, Rules::open_source(&path).map_err(failed)?, optimizer)
    }

    /// An artifact, whose machine code is run when it is bound.
    #[staticmethod]
    #[pyo3(signature = (bytes, optimizer = None))]
    fn from_bytes(py: Python<'_>, bytes: Vec<u8>, optimizer: Option<&str>) -> PyResult<Artifact> {
        // SAFETY: whoever names the file trusts it; the documentation says so.
        let rules = unsafe { Rules::from_artifact(&bytes) };
        let rules = rules.map_err(|error| error::load(py, error))?;
        Artifact::native(py, rules, bytes, optimizer)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let class = py.get_type::<Artifact>();
        let name = &self.optimizer().name;
        if let Some(bytes) = &self.bytes {
            let arguments = (PyBytes::new(py, bytes), name).into_pyobject(py)?;
            return Ok((class.getattr("from_bytes")?, arguments.into_any()));
        }
        let mut files = self.rules.program().sources.values();
        let (root, text) = files
            .next()
            .map_or(("", ""), |file| (&file.name, &file.text));
        let modules: BTreeMap<&str, &str> = files
            .map(|file| (file.name.as_str(), file.text.as_str()))
            .collect();
        let arguments = (text, root, name, modules).into_pyobject(py)?;
        Ok((class.getattr("from_text")?, arguments.into_any()))
    }

    /// An optimizer of this rule.
    #[pyo3(signature = (params, **options))]
    fn __call__<'py>(
        this: &Bound<'py, Self>,
        params: &Bound<'py, PyAny>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let class = this.py().import("optc._optimizer")?.getattr("Optimizer")?;
        class.call((params, this), options)
    }

    #[getter]
    fn __signature__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let document = this.py().import("optc._document")?;
        document.call_method1("signature", (this,))
    }

    fn __copy__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __deepcopy__(this: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        this
    }

    /// The optimizer's name in its source.
    #[getter]
    fn name(&self) -> &str {
        &self.optimizer().name
    }

    /// The versions that state dicts of today are, by optimizer: of this one, and of those that it delegates to or takes.
    /// First versions are not mentioned.
    #[getter]
    fn versions(&self) -> BTreeMap<String, String> {
        versions_of(self.rules.program(), self.id)
    }

    /// What has changed since other versions.
    fn changes_since(
        &self,
        py: Python<'_>,
        versions: BTreeMap<String, String>,
    ) -> PyResult<Changes> {
        let changes = optc_runtime::Changes::between(self.rules.program(), self.id, &versions);
        changes
            .map(Changes)
            .map_err(|error| error::raise(py, &error))
    }

    /// Its documentation.
    #[getter]
    fn docs(&self) -> &str {
        &self.optimizer().docs
    }

    /// The text of the source.
    #[getter]
    fn source(&self) -> &str {
        let first = self.rules.program().sources.values().next();
        first.map_or("", |file| &file.text)
    }

    /// The modules that it uses, by name, without the standard library's.
    #[getter]
    fn modules(&self) -> BTreeMap<&str, &str> {
        let files = self.rules.program().sources.values().skip(1);
        let own = files.filter(|file| optc_stdlib::source(&file.name).is_none());
        own.map(|file| (file.name.as_str(), file.text.as_str()))
            .collect()
    }

    /// The level of its machine code, if it came with any.
    #[getter]
    fn isa(&self) -> Option<String> {
        self.rules.isa().map(|isa| isa.to_string())
    }

    /// Name, default, interval and documentation of every hyperparameter.
    #[getter]
    fn hypers(&self, py: Python<'_>) -> PyResult<Vec<describe::Row>> {
        describe::hypers(py, self)
    }

    /// Name, default, type and documentation of every static.
    #[getter]
    fn statics(&self, py: Python<'_>) -> PyResult<Vec<describe::Row>> {
        describe::statics(py, self)
    }

    /// Name and pattern of every rule.
    #[getter]
    fn rules(&self, py: Python<'_>) -> PyResult<Vec<(String, String)>> {
        describe::rules(py, self)
    }

    /// What its rules do beside a step: names, and for each input its name and whether it is a tensor.
    #[getter]
    fn entries(&self) -> Vec<describe::Signature> {
        describe::entries(self)
    }

    /// All options of a parameter group, from those that are given.
    fn complete<'py>(
        &self,
        py: Python<'py>,
        options: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.complete_options(py, options)
    }

    /// What `optc inspect` prints: hyperparameters, statics, rules; state, cost and plan for each shape.
    #[pyo3(signature = (*shapes, dtype = "float32", **statics))]
    fn inspect(
        &self,
        py: Python<'_>,
        shapes: Vec<Vec<u64>>,
        dtype: &str,
        statics: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        let text = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok((name.to_string(), value::to_text(&value)?))
        };
        let statics = statics.map_or_else(
            || Ok(Vec::new()),
            |all| all.iter().map(text).collect::<PyResult<_>>(),
        )?;
        let question = Question {
            optimizer: Some(&self.optimizer().name),
            statics: &statics,
            shapes: &shapes,
            dtype: value::dtype(dtype)?,
        };
        optc_cli::inspect(self.rules.program(), &question)
            .map_err(|error| error::raise(py, &*error))
    }

    fn __repr__(&self) -> String {
        let code = self.isa().unwrap_or_else(|| "compiled when bound".into());
        format!("<optc.Artifact {}, {code}>", self.optimizer().name)
    }
}

/// Every mistake and warning in the text of a source, in order.
#[pyfunction]
pub(crate) fn check_text<'py>(py: Python<'py>, text: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
    findings(py, Rules::from_source("source", text))
}

/// Every mistake and warning in a composition, in order.
#[pyfunction]
pub(crate) fn check_composition<'py>(
    py: Python<'py>,
    composition: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    findings(py, Rules::compose(composition))
}

/// Whether something that names no file may be a composition.
#[pyfunction]
pub(crate) fn is_composition(source: &str) -> bool {
    optc_stdlib::is_composition(source)
}

/// Every mistake and warning in a `.opt` file, or in the source inside of an artifact, in order.
#[pyfunction]
pub(crate) fn check_file(py: Python<'_>, path: PathBuf) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let artifact = std::fs::read(&path)
        .ok()
        .filter(|bytes| Container::recognises(bytes));
    let rules = match artifact {
        Some(bytes) => Rules::from_artifact_source(&bytes).map_err(|error| error.of_file(&path)),
        None => Rules::open_source(&path),
    };
    findings(py, rules)
}

fn findings(py: Python<'_>, rules: Result<Rules, LoadError>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let found: Vec<Located> = match rules {
        Ok(rules) => rules.warnings().to_vec(),
        Err(LoadError::Source { source }) => source.into_iter().collect(),
        Err(error) => return Err(error::raise(py, &error)),
    };
    let object = |one: &Located| error::object(py, &one.to_string(), one);
    found.iter().map(object).collect()
}

/// Runs the command `optc` with these arguments, the program's name first; returns its exit code.
#[pyfunction]
pub(crate) fn run_command(arguments: Vec<std::ffi::OsString>) -> u8 {
    optc_cli::main(arguments)
}

/// The names of the standard library's modules.
#[pyfunction]
pub(crate) fn standard_library() -> Vec<&'static str> {
    optc_stdlib::NAMES.to_vec()
}
