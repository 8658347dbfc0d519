//! A bound parameter: its tensors are found again in every step, in torch's own places.

use crate::error::raise;
use crate::tensor::{Label, Layout, Memory, TensorError};
use miette::Diagnostic;
use optc_core::dtype::DType;
use optc_runtime::apart::Part;
use optc_runtime::{Device, Optimizer, ParamDesc};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use thiserror::Error;

/// State that is not what the rule declares.
#[derive(Debug, Error, Diagnostic)]
#[error("the state of parameter `{name}` lacks `{key}`")]
#[diagnostic(
    code(opt::python::state),
    help("load a state dict of this optimizer, or remove the parameter's entry to start afresh")
)]
struct Lacks {
    name: String,
    key: String,
}

/// A parameter.
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) tensor: Py<PyAny>,
    pub(crate) layout: Layout,
    pub(crate) grad: Layout,
    pub(crate) state: Vec<State>,
    counter: Layout,
    /// Steps even without a gradient.
    always: bool,
}

/// A piece of its state.
pub(crate) struct State {
    key: Py<PyString>,
    pub(crate) layout: Layout,
}

/// Its tensors in one step or entry.
pub(crate) struct Tensors<'py> {
    pub(crate) param: Memory,
    pub(crate) grad: Option<Memory>,
    /// None when it takes no part.
    pub(crate) kept: Option<Kept>,
    /// What an entry is given for it, in the order of the call.
    pub(crate) given: Vec<Option<Memory>>,
    /// New state, which torch gets to keep once it has begun.
    fresh: Option<Bound<'py, PyDict>>,
    /// Keeps tensors alive that were made for this call.
    _made: Vec<Bound<'py, PyAny>>,
}

/// Its state in one step or entry.
pub(crate) struct Kept {
    pub(crate) state: Vec<Memory>,
    /// Steps taken; none before a step or an entry has begun the state.
    pub(crate) step: Option<u64>,
    /// Where torch keeps the number.
    counter: usize,
}

/// What an entry is given for one parameter: the name of each tensor, and the tensor if there is one.
pub(crate) type Given<'a, 'py> = Vec<(&'a str, Option<&'a Bound<'py, PyAny>>)>;

/// A tensor on its way to being bound.
pub(crate) struct Candidate {
    name: String,
    tensor: Py<PyAny>,
    layout: Layout,
    grad: Layout,
}

impl Candidate {
    pub(crate) fn new(name: String, tensor: &Bound<'_, PyAny>) -> PyResult<Candidate> {
        let layout = Layout::of(tensor, Label::Parameter(&name))?;
        let grad = tensor.getattr("grad")?;
        let like = if grad.is_none() { tensor } else { &grad };
        Ok(Candidate {
            grad: Layout::of(like, Label::Gradient(&name))?,
            tensor: tensor.clone().unbind(),
            layout,
            name,
        })
    }

    pub(crate) fn describe(&self) -> ParamDesc {
        ParamDesc {
            grad_dtype: self.grad.dtype,
            device: self.layout.device,
            ..ParamDesc::new(&self.name, &self.layout.dims, self.layout.dtype)
        }
    }

    /// The parameter at that position of a bound optimizer.
    pub(crate) fn bound(self, py: Python<'_>, optimizer: &Optimizer, n: usize) -> PyResult<Param> {
        let state = optimizer.state_layout(n).map(|(name, dtype, dims)| {
            Ok(State {
                key: PyString::intern(py, name).unbind(),
                layout: Layout::new(py, dtype, dims, self.layout.device)?,
            })
        });
        Ok(Param {
            state: state.collect::<PyResult<_>>()?,
            counter: Layout::new(py, DType::F32, &[], Device::Cpu)?,
            always: optimizer.steps_without_gradient(n),
            name: self.name,
            tensor: self.tensor,
            layout: self.layout,
            grad: self.grad,
        })
    }
}

impl Param {
    /// Finds everything that a step needs, and makes the state of a first step.
    pub(crate) fn read<'py>(
        &self,
        py: Python<'py>,
        states: &Bound<'py, PyDict>,
        negate: bool,
    ) -> PyResult<Tensors<'py>> {
        let takes_part = |grad: bool, _: bool| grad || self.always;
        self.read_given(py, states, negate, &Vec::new(), takes_part)
    }

    /// Finds everything that an entry needs; whether the parameter takes part follows from whether there are a gradient
    /// and state.
    pub(crate) fn read_given<'py>(
        &self,
        py: Python<'py>,
        states: &Bound<'py, PyDict>,
        negate: bool,
        given: &Given<'_, 'py>,
        takes_part: impl FnOnce(bool, bool) -> bool,
    ) -> PyResult<Tensors<'py>> {
        let tensor = self.tensor.bind(py);
        let param = self.layout.read(tensor, Label::Parameter(&self.name))?;
        if param.overlaps(&self.layout.dims) {
            let tensor = Label::Parameter(&self.name).to_string();
            return Err(raise(py, &TensorError::Overlapping { tensor }));
        }
        let mut made = Vec::new();
        let grad = tensor.getattr(intern!(py, "grad"))?;
        let grad = match grad.is_none() {
            true => None,
            false => {
                let label = Label::Gradient(&self.name);
                Some(read_only(&self.grad, &grad, label, negate, &mut made)?)
            }
        };
        let given = given.iter().map(|&(name, tensor)| {
            let label = Label::Input(name, &self.name);
            let read = |tensor| read_only(&self.layout, tensor, label, false, &mut made);
            tensor.map(read).transpose()
        });
        let given = given.collect::<PyResult<_>>()?;
        let kept = self.read_kept(states)?;
        let (kept, fresh) = match (takes_part(grad.is_some(), kept.is_some()), kept) {
            (false, _) => (None, None),
            (true, Some(kept)) => (Some(kept), None),
            (true, None) => self.begin(py)?,
        };
        Ok(Tensors {
            param,
            grad,
            kept,
            fresh,
            given,
            _made: made,
        })
    }

    /// Its state as torch keeps it, if it has any.
    pub(crate) fn read_kept(&self, states: &Bound<'_, PyDict>) -> PyResult<Option<Kept>> {
        let entry = states.get_item(&self.tensor)?;
        match entry.map(|entry| entry.cast_into::<PyDict>()).transpose()? {
            Some(entry) if !entry.is_empty() => self.kept(&entry).map(Some),
            _ => Ok(None),
        }
    }

    /// Makes its state, which the step or entry will fill.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<(Option<Kept>, Option<Bound<'py, PyDict>>)> {
        let entry = self.fresh(py)?;
        let kept = self.kept(&entry)?;
        Ok((Some(Kept { step: None, ..kept }), Some(entry)))
    }

    /// Stores where torch keeps them the state that has begun, and the number of steps.
    pub(crate) fn store(
        &self,
        tensors: &Tensors<'_>,
        step: u64,
        states: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        if let Some(kept) = &tensors.kept {
            kept.store_step(step);
        }
        let fresh = tensors.fresh.as_ref();
        fresh.map_or(Ok(()), |entry| states.set_item(&self.tensor, entry))
    }

    /// The entry of a parameter that has not stepped.
    fn fresh<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let entry = PyDict::new(py);
        entry.set_item("step", self.counter.zeros(py)?)?;
        for state in &self.state {
            let zeros = state.layout.zeros_beside(self.tensor.bind(py))?;
            entry.set_item(&state.key, zeros)?;
        }
        Ok(entry)
    }

    fn kept(&self, entry: &Bound<'_, PyDict>) -> PyResult<Kept> {
        let counter = self.piece(entry, intern!(entry.py(), "step"), &self.counter)?;
        let mut state = Vec::with_capacity(self.state.len());
        for one in &self.state {
            state.push(self.piece(entry, one.key.bind(entry.py()), &one.layout)?);
        }
        Ok(Kept {
            state,
            step: Some(count(counter.address)),
            counter: counter.address,
        })
    }

    fn piece(
        &self,
        entry: &Bound<'_, PyDict>,
        key: &Bound<'_, PyString>,
        layout: &Layout,
    ) -> PyResult<Memory> {
        let Some(tensor) = entry.get_item(key)? else {
            let (name, key) = (self.name.clone(), key.to_string());
            return Err(raise(entry.py(), &Lacks { name, key }));
        };
        // Only a message needs the name as a string.
        let memory = layout.read(&tensor, Label::State("", &self.name));
        memory.or_else(|_| layout.read(&tensor, Label::State(&key.to_string(), &self.name)))
    }
}

/// A tensor that is only read; one that must be negated or overlaps itself is made anew.
fn read_only<'py>(
    layout: &Layout,
    tensor: &Bound<'py, PyAny>,
    label: Label<'_>,
    negate: bool,
    made: &mut Vec<Bound<'py, PyAny>>,
) -> PyResult<Memory> {
    let memory = layout.read(tensor, label)?;
    let anew = match () {
        () if negate => tensor.call_method0("neg")?,
        () if memory.overlaps(&layout.dims) => tensor.call_method0("contiguous")?,
        () => return Ok(memory),
    };
    let memory = layout.read(&anew, label)?;
    made.push(anew);
    Ok(memory)
}

impl Tensors<'_> {
    /// Where everything is that a step uses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = usize> {
        let kept = self.kept.iter().flat_map(|kept| &kept.state);
        let all = std::iter::once(&self.param).chain(&self.grad).chain(kept);
        all.map(|memory| memory.address)
    }

    /// The part of it that needs no interpreter.
    pub(crate) fn memories(&self) -> Memories<'_> {
        Memories {
            param: &self.param,
            grad: self.grad.as_ref(),
            kept: self.kept.as_ref(),
            given: &self.given,
        }
    }
}

/// Where a parameter's tensors are in one step or entry.
pub(crate) struct Memories<'a> {
    pub(crate) param: &'a Memory,
    pub(crate) grad: Option<&'a Memory>,
    pub(crate) kept: Option<&'a Kept>,
    pub(crate) given: &'a [Option<Memory>],
}

impl Param {
    /// Its tensors, to be compared with those of others; `n` is its position.
    pub(crate) fn parts(&self, n: usize, tensors: &Tensors<'_>) -> Vec<Part> {
        let part = |memory: &Memory, layout: &Layout, written| Part {
            bytes: memory.span(layout),
            written,
            param: n,
        };
        let kept = tensors
            .kept
            .iter()
            .flat_map(|kept| kept.state.iter().zip(&self.state));
        let states = kept.map(|(memory, state)| part(memory, &state.layout, true));
        let grad = tensors
            .grad
            .iter()
            .map(|memory| part(memory, &self.grad, false));
        let given = tensors.given.iter().flatten();
        let given = given.map(|memory| part(memory, &self.layout, false));
        let own = part(&tensors.param, &self.layout, true);
        states.chain(grad).chain(given).chain([own]).collect()
    }
}

impl Kept {
    /// Stores the number of steps where torch keeps it.
    fn store_step(&self, step: u64) {
        // SAFETY: `Param::kept` read this address from a float32 scalar that the state still holds.
        unsafe { (self.counter as *mut f32).write_unaligned(step as f32) }
    }
}

fn count(counter: usize) -> u64 {
    // SAFETY: `Param::kept` read this address from a float32 scalar that is alive.
    let steps = unsafe { (counter as *const f32).read_unaligned() };
    steps as u64
}
