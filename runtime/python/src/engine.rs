//! The optimizer bound to tensors: what happens in one call per step.

use crate::artifact::Artifact;
use crate::describe;
use crate::entry;
use crate::error::raise;
use crate::groups::Group;
use crate::overlap;
use crate::params::{Candidate, Kept, Param, Tensors};
use miette::Diagnostic;
use optc_core::random::Noise;
use optc_runtime::cuda::Stream;
use optc_runtime::{
    BindOptions, Device, NonFinite, Optimizer, ParamDesc, Pool, StepError, StepInput, TensorView,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::path::PathBuf;
use thiserror::Error;

/// A second thread came while the first was inside.
#[derive(Debug, Error, Diagnostic)]
#[error("two threads use this optimizer at once")]
#[diagnostic(
    code(opt::python::threads),
    help("step, save and load one optimizer from one thread at a time")
)]
struct Busy;

/// Machine code and metadata for the tensors of one optimizer. All that changes, parameters, state and options, stays
/// in torch's own places and is read again in every step, so an engine can be thrown away at any time.
#[pyclass(module = "optc._optc")]
pub(crate) struct Engine {
    pub(crate) optimizer: Optimizer,
    groups: Vec<Group>,
    pub(crate) params: Vec<Param>,
    /// CUDA devices that parameters are on, by number, and `torch.cuda` if there are any.
    devices: BTreeSet<u32>,
    cuda: Option<Py<PyModule>>,
    /// The addresses that were last found apart.
    apart: Vec<usize>,
}

/// What a checkpoint holds: options of each group, then steps and state of each parameter; and what was migrated.
type Saved<'py> = (
    Vec<Vec<(String, f64)>>,
    Vec<(u64, Vec<Bound<'py, PyBytes>>)>,
    Vec<String>,
);

#[pymethods]
impl Engine {
    /// Binds the parameters of all groups. `uses` has each group's source, and its rule where it takes a certain one.
    #[new]
    fn new(
        py: Python<'_>,
        uses: Vec<(Py<Artifact>, Option<String>)>,
        groups: Vec<Bound<'_, PyDict>>,
        names: Vec<Vec<String>>,
        threads: usize,
        non_finite: &str,
        seed: u64,
    ) -> PyResult<Engine> {
        let (artifacts, rules): (Vec<_>, Vec<_>) = uses.into_iter().unzip();
        let mut candidates = Vec::new();
        for (group, names) in groups.iter().zip(&names) {
            let params = group.as_any().get_item("params")?;
            for (tensor, name) in params.try_iter()?.zip(names) {
                candidates.push(Candidate::new(name.clone(), &tensor?)?);
            }
        }
        let mut options = bind_options(&artifacts, &rules, &groups, &names)?;
        options.pool = Some(Pool::shared(threads));
        options.noise = Noise::Seeded(seed);
        options.non_finite = match non_finite {
            "error" => NonFinite::Error,
            "skip" => NonFinite::Skip,
            _ => NonFinite::Propagate,
        };
        let described: Vec<ParamDesc> = candidates.iter().map(Candidate::describe).collect();
        let rules = &artifacts[0].get().rules;
        let optimizer = py
            .detach(|| rules.bind(&described, &options))
            .map_err(|error| raise(py, &error))?;
        Engine::of(py, optimizer, candidates, &artifacts, &groups)
    }

    /// Takes over the numbers of torch's groups; false if the groups are not those that were bound.
    fn follow(this: &Bound<'_, Self>, groups: Vec<Bound<'_, PyDict>>) -> PyResult<bool> {
        let mut this = this.try_borrow_mut().map_err(|_| raise(this.py(), &Busy))?;
        this.adopt(&groups)
    }

    /// One step. Returns the parameters that took part.
    fn step<'py>(
        this: &Bound<'py, Self>,
        state: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = this.py();
        let mut this = this.try_borrow_mut().map_err(|_| raise(py, &Busy))?;
        let tensors = this.read(py, state)?;
        this.check_apart(py, &tensors)?;
        this.take_streams(py)?;
        let outcome = this.run(py, &tensors, |optimizer, inputs, _| optimizer.step(inputs));
        this.store(&tensors, state)?;
        for (n, group) in this.groups.iter().enumerate() {
            group.store_shared(py, n, &this.optimizer)?;
        }
        outcome.map_err(|error| raise(py, &error))?;
        this.taking_part(py, &tensors)
    }

    /// Runs an entry: numbers by name, and by name one tensor or None for each parameter. Returns the parameters that
    /// took part.
    fn run_entry<'py>(
        this: &Bound<'py, Self>,
        state: &Bound<'py, PyDict>,
        name: &str,
        numbers: Vec<(String, f64)>,
        tensors: entry::Tensors<'py>,
    ) -> PyResult<Bound<'py, PyList>> {
        let py = this.py();
        let mut this = this.try_borrow_mut().map_err(|_| raise(py, &Busy))?;
        let call = entry::Call {
            name,
            numbers,
            tensors,
        };
        let found = this.read_given(py, state, &call)?;
        this.check_all_apart(py, &found)?;
        this.take_streams(py)?;
        let outcome = this.enter(py, &found, &call);
        this.store(&found, state)?;
        outcome.map_err(|error| raise(py, &error))?;
        this.taking_part(py, &found)
    }

    /// What can be asked for beside a step: names, and for each input its name and whether it is a tensor.
    #[getter]
    fn entries(&self) -> Vec<describe::Signature> {
        let entries = self.optimizer.entries();
        entries.map(describe::signature).collect()
    }

    /// Writes options, steps and state.
    fn save(this: &Bound<'_, Self>, path: PathBuf, state: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = this.py();
        let mut this = this.try_borrow_mut().map_err(|_| raise(py, &Busy))?;
        let this = &mut *this;
        this.take_streams(py)?;
        let kept = this
            .params
            .iter()
            .map(|param| param.read_kept(state))
            .collect::<PyResult<Vec<Option<Kept>>>>()?;
        for (n, kept) in kept.iter().enumerate() {
            let lent = kept.as_ref().map_or(Ok(()), |kept| {
                // SAFETY: `kept` was read from tensors that `state` holds, which nobody frees until the loan ends.
                unsafe { lend(&mut this.optimizer, &this.params[n], n, kept) }
            });
            lent.map_err(|error| raise(py, &error))?;
        }
        let saved = py.detach(|| this.optimizer.save(path));
        this.optimizer.reclaim_state();
        saved.map_err(|error| raise(py, &error))
    }

    /// Reads a checkpoint that fits what is bound.
    fn load<'py>(&self, py: Python<'py>, path: PathBuf) -> PyResult<Saved<'py>> {
        let saved = py.detach(|| self.optimizer.read(path));
        let saved = saved.map_err(|error| raise(py, &error))?;
        let named = |(group, values): (usize, &Vec<f64>)| {
            let hypers = self.optimizer.hypers(group);
            let shared = self.optimizer.shared_numbers(group);
            let hypers = hypers.map(|(name, _)| name.to_owned());
            let names = hypers.chain(shared.map(|(name, _)| name));
            names.zip(values.iter().copied()).collect()
        };
        let hypers = saved.hypers().iter().enumerate().map(named).collect();
        let bytes =
            |state: Vec<&[u8]>| state.into_iter().map(|one| PyBytes::new(py, one)).collect();
        let params = saved
            .params()
            .map(|param| (param.step, bytes(param.states)));
        Ok((hypers, params.collect(), saved.migrated().to_vec()))
    }

    /// Name, torch's element type and shape of each piece of a parameter's state.
    fn layout(&self, param: usize) -> Vec<(String, &'static str, Vec<u64>)> {
        let pieces = self.optimizer.state_layout(param);
        pieces
            .map(|(name, dtype, dims)| {
                (
                    name.to_owned(),
                    crate::value::torch_name(dtype),
                    dims.to_vec(),
                )
            })
            .collect()
    }

    /// The rule of each parameter, by name.
    #[getter]
    fn rules(&self) -> Vec<(String, String)> {
        self.optimizer.report().rules.clone()
    }

    /// What was bound and where its code comes from.
    #[getter]
    fn report(&self) -> String {
        self.optimizer.report().to_string()
    }
}

/// How the groups are bound; the first has what no other takes.
fn bind_options(
    artifacts: &[Py<Artifact>],
    rules: &[Option<String>],
    groups: &[Bound<'_, PyDict>],
    names: &[Vec<String>],
) -> PyResult<BindOptions> {
    let first = artifacts[0].get();
    let terms = first.terms(&groups[0])?;
    let mut options = BindOptions {
        optimizer: Some(first.optimizer().name.clone()),
        hypers: terms.hypers,
        statics: terms.statics,
        rule: rules[0].clone(),
        state_is_lent: true,
        ..BindOptions::default()
    };
    for n in 1..groups.len() {
        let group = optc_runtime::Group::of(names[n].iter().map(String::as_str));
        options.groups.push(
            artifacts[n]
                .get()
                .fill(group, &groups[n], rules[n].as_deref())?,
        );
    }
    Ok(options)
}

/// # Safety
///
/// The tensors that `kept` was read from stay as they are until the optimizer's next step, or until it reclaims them.
unsafe fn lend(
    optimizer: &mut Optimizer,
    param: &Param,
    n: usize,
    kept: &Kept,
) -> Result<(), StepError> {
    let pieces = kept.state.iter().zip(&param.state);
    // SAFETY: the memory was read for these layouts, and stays by the caller's promise.
    let views: Vec<TensorView<'_>> = pieces
        .map(|(memory, state)| unsafe { memory.view(&state.layout) })
        .collect();
    // SAFETY: as above; `check_apart` found no overlap before a step, and a save only reads.
    unsafe { optimizer.lend_state(n, kept.step, &views) }
}

impl Engine {
    fn of(
        py: Python<'_>,
        optimizer: Optimizer,
        candidates: Vec<Candidate>,
        artifacts: &[Py<Artifact>],
        groups: &[Bound<'_, PyDict>],
    ) -> PyResult<Engine> {
        let params = candidates
            .into_iter()
            .enumerate()
            .map(|(n, candidate)| candidate.bound(py, &optimizer, n))
            .collect::<PyResult<Vec<Param>>>()?;
        let bound = artifacts.iter().zip(groups);
        let groups = bound
            .map(|(artifact, group)| Group::new(py, artifact, group))
            .collect::<PyResult<Vec<Group>>>()?;
        let devices = params.iter().filter_map(|param| match param.layout.device {
            Device::Cpu => None,
            Device::Cuda(ordinal) => Some(ordinal),
        });
        let devices: BTreeSet<u32> = devices.collect();
        let cuda = match devices.is_empty() {
            true => None,
            false => Some(py.import("torch.cuda")?.unbind()),
        };
        Ok(Engine {
            optimizer,
            groups,
            devices,
            cuda,
            params,
            apart: Vec::new(),
        })
    }

    /// Takes over the groups' numbers, if the groups are still those that were bound.
    fn adopt(&mut self, groups: &[Bound<'_, PyDict>]) -> PyResult<bool> {
        if groups.len() != self.groups.len() {
            return Ok(false);
        }
        let mut params = self.params.iter();
        for (n, (bound, group)) in self.groups.iter_mut().zip(groups).enumerate() {
            if !bound.adopt(group, n, &mut self.optimizer)? {
                return Ok(false);
            }
            let members = group.as_any().get_item("params")?.cast_into::<PyList>()?;
            for tensor in members.iter() {
                if !params.next().is_some_and(|param| param.tensor.is(&tensor)) {
                    return Ok(false);
                }
            }
        }
        Ok(params.next().is_none())
    }

    /// Steps each device on the stream that torch gives it work on now.
    fn take_streams(&mut self, py: Python<'_>) -> PyResult<()> {
        let Some(cuda) = self.cuda.as_ref().map(|cuda| cuda.bind(py)) else {
            return Ok(());
        };
        for &ordinal in &self.devices {
            let current = cuda.call_method1(intern!(py, "current_stream"), (ordinal,))?;
            let raw: usize = current.getattr(intern!(py, "cuda_stream"))?.extract()?;
            // SAFETY: torch's streams are of the primary context, and torch never destroys one.
            let stream = unsafe { Stream::from_raw(raw as *mut c_void) };
            let taken = self.optimizer.set_stream(ordinal, stream);
            taken.map_err(|error| raise(py, &error))?;
        }
        Ok(())
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        state: &Bound<'py, PyDict>,
    ) -> PyResult<Vec<Tensors<'py>>> {
        let each = self.params.iter().enumerate();
        each.map(|(n, param)| param.read(py, state, self.negates(n)))
            .collect()
    }

    pub(crate) fn negates(&self, param: usize) -> bool {
        let group = self.optimizer.group_of(param).unwrap_or_default();
        self.groups[group].negates()
    }

    /// The parameters that took part.
    fn taking_part<'py>(
        &self,
        py: Python<'py>,
        tensors: &[Tensors<'_>],
    ) -> PyResult<Bound<'py, PyList>> {
        let all = self.params.iter().zip(tensors);
        let taking_part = all.filter(|(_, tensors)| tensors.kept.is_some());
        PyList::new(
            py,
            taking_part
                .map(|(param, _)| &param.tensor)
                .collect::<Vec<_>>(),
        )
    }

    /// Checks that written tensors share no memory, unless everything is where it was when that was last checked.
    fn check_apart(&mut self, py: Python<'_>, tensors: &[Tensors<'_>]) -> PyResult<()> {
        let addresses: Vec<usize> = tensors.iter().flat_map(Tensors::addresses).collect();
        if addresses == self.apart {
            return Ok(());
        }
        self.check_all_apart(py, tensors)?;
        self.apart = addresses;
        Ok(())
    }

    fn check_all_apart(&self, py: Python<'_>, tensors: &[Tensors<'_>]) -> PyResult<()> {
        let all = self.params.iter().zip(tensors);
        let all = all.enumerate();
        let parts = all.flat_map(|(n, (param, tensors))| param.parts(n, tensors));
        overlap::check(py, parts.collect(), |n| &self.params[n].name)
    }

    /// Lends the state, and does with parameters and gradients what `work` says; it is also handed what an entry is
    /// given, one list for each of its tensors.
    pub(crate) fn run(
        &mut self,
        py: Python<'_>,
        tensors: &[Tensors<'_>],
        work: impl Send
        + FnOnce(
            &mut Optimizer,
            &[StepInput<'_>],
            &[Vec<Option<TensorView<'_>>>],
        ) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let memories: Vec<_> = tensors.iter().map(Tensors::memories).collect();
        let (optimizer, params) = (&mut self.optimizer, &self.params);
        py.detach(|| {
            for (n, memories) in memories.iter().enumerate() {
                if let Some(kept) = memories.kept {
                    // SAFETY: `tensors` and the state it was read from live until this returns.
                    unsafe { lend(optimizer, &params[n], n, kept)? };
                }
            }
            let inputs = memories
                .iter()
                .zip(params)
                .map(|(memories, param)| StepInput {
                    // SAFETY: read for this layout from a live tensor, found apart from all others.
                    param: unsafe { memories.param.view(&param.layout) },
                    // SAFETY: as above; a gradient is only read.
                    grad: memories.grad.map(|grad| unsafe { grad.view(&param.grad) }),
                });
            let inputs: Vec<StepInput<'_>> = inputs.collect();
            let count = memories.first().map_or(0, |first| first.given.len());
            let given = (0..count).map(|at| entry::given(&memories, params, at));
            let given: Vec<_> = given.collect();
            work(optimizer, &inputs, &given)
        })
    }

    /// Stores steps and new state where torch keeps them, of parameters whose state has begun.
    fn store(&self, tensors: &[Tensors<'_>], states: &Bound<'_, PyDict>) -> PyResult<()> {
        for (n, (param, tensors)) in self.params.iter().zip(tensors).enumerate() {
            if tensors.kept.is_some() && self.optimizer.has_begun(n) {
                param.store(
                    tensors,
                    self.optimizer.step_at(n).unwrap_or_default(),
                    states,
                )?;
            }
        }
        Ok(())
    }
}
