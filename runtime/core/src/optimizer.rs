//! A bound optimizer: the public face of a step.

use crate::checkpoint::{self, Saved};
use crate::cuda::{CudaError, Driver, Stream};
use crate::engine::bind::{Code, Policies};
use crate::engine::device::bind::Ptx;
use crate::engine::entry::{Given, Present};
use crate::engine::storage::Storage;
use crate::engine::{Engine, Entry, NonFinite, Param, StepInput};
use crate::error::{BindError, CheckpointError, HyperError, StepError};
use crate::groups::{self, Group, Terms};
use crate::lent;
use crate::plans::Planner;
use crate::pool::Pool;
use crate::report::Report;
use crate::rules::Rules;
use crate::view::{Device, TensorView};
use optc_core::dtype::DType;
use optc_core::hir::Signature;
use optc_core::kernel::MapKernel;
use optc_core::plan::Plan;
use optc_core::random::Noise;
use optc_core::settings::check_hyper;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// A parameter as it is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamDesc {
    /// Its name: what groups match and checkpoints are keyed by.
    pub name: String,
    /// Its shape.
    pub dims: Vec<i64>,
    /// Its element type.
    pub dtype: DType,
    /// Its gradient's element type.
    pub grad_dtype: DType,
    /// Where both are.
    pub device: Device,
}

impl ParamDesc {
    /// A parameter in host memory whose gradient has the same dtype.
    pub fn new(name: &str, dims: &[i64], dtype: DType) -> ParamDesc {
        ParamDesc {
            name: name.to_owned(),
            dims: dims.to_vec(),
            dtype,
            grad_dtype: dtype,
            device: Device::Cpu,
        }
    }
}

/// How to bind.
#[derive(Debug, Clone, Default)]
pub struct BindOptions {
    /// Which optimizer, if the source declares several.
    pub optimizer: Option<String>,
    /// Hyperparameters that differ from their defaults.
    pub hypers: Vec<(String, f64)>,
    /// Statics that differ from their defaults, as text.
    pub statics: Vec<(String, String)>,
    /// The rule that parameters of no group take, in place of the first that fits.
    pub rule: Option<String>,
    /// Parameters with settings of their own.
    pub groups: Vec<Group>,
    /// What to do about NaN and infinities in gradients.
    pub non_finite: NonFinite,
    /// Worker threads, the caller's among them; as many as the machine offers when absent.
    pub threads: Option<usize>,
    /// A pool to share with other optimizers; goes before `threads`.
    pub pool: Option<Arc<Pool>>,
    /// State is the caller's: nothing is allocated for it, and [`Optimizer::lend_state`] comes before every step.
    pub state_is_lent: bool,
    /// Where random numbers come from: the streams of a seed, or a recording.
    pub noise: Noise,
    /// The driver of parameters on CUDA devices; the machine's own when absent.
    pub cuda: Option<Driver>,
}

/// An optimizer bound to parameters.
#[derive(Debug)]
pub struct Optimizer {
    pub(crate) engine: Engine,
    /// One per group.
    terms: Vec<Terms>,
    /// The group of each parameter.
    groups: Vec<usize>,
    /// The entries by name, and whether they read gradients.
    entries: BTreeMap<String, (Signature, bool)>,
    /// The names of each parameter's entries.
    has_entry: Vec<BTreeSet<String>>,
    report: Report,
}

/// A piece of a parameter's state.
#[derive(Debug, Clone, Copy)]
pub struct StateView<'a> {
    /// Its name in the rule, with its mode if it has one: `exp_avg`, `gram.0`.
    pub name: &'a str,
    /// Its element type.
    pub dtype: DType,
    /// Its shape.
    pub dims: &'a [u64],
    pub(crate) storage: &'a Storage,
}

impl<'a> StateView<'a> {
    /// Its elements, row-major, in the machine's byte order; those on a device are copied.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    pub fn bytes(&self) -> Result<Cow<'a, [u8]>, CudaError> {
        self.storage.bytes()
    }

    /// How many bytes that are.
    pub fn len(&self) -> u64 {
        self.dims.iter().product::<u64>() * self.dtype.size()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Optimizer {
    pub(crate) fn bind(
        rules: &Rules,
        params: &[ParamDesc],
        options: &BindOptions,
    ) -> Result<Optimizer, BindError> {
        let terms = groups::terms(rules, options)?;
        let groups = groups::assign(&options.groups, params)?;
        let mut planner = Planner::new(&terms, options.state_is_lent);
        let each = params
            .iter()
            .zip(&groups)
            .map(|(param, &group)| planner.entry(param, group));
        let entries = each.collect::<Result<Vec<Entry>, BindError>>()?;
        let wanted = kernels(&entries, Device::Cpu);
        let others = options.groups.iter().filter_map(Group::other_rules);
        let kernels_of_host = Rules::kernels(std::iter::once(rules).chain(others), &wanted)?;
        let mut report = Report::new(
            rules.isa(),
            std::mem::take(&mut planner.rules),
            &wanted,
            &planner.products(),
            &kernels_of_host,
        );
        report.devices = devices(params)
            .into_iter()
            .map(|device| (device, kernels(&entries, device).len()))
            .collect();
        let hypers = terms.iter().map(|terms| terms.settings.inputs()).collect();
        let names = |entry: &Entry| {
            let entries = entry.entries.iter();
            entries.map(|entry| entry.signature.name.clone()).collect()
        };
        let has_entry = entries.iter().map(names).collect();
        let known = known_entries(&entries);
        let ptx = Ptx {
            targets: rules.ptx(),
            driver: options.cuda.as_ref(),
        };
        let kernels = &kernels_of_host;
        let code = Code { kernels, ptx };
        let policies = Policies {
            non_finite: options.non_finite,
            noise: options.noise.clone(),
        };
        let engine = Engine::new(entries, hypers, code, pool(options), policies)?;
        Ok(Optimizer {
            engine,
            terms,
            groups,
            entries: known,
            has_entry,
            report,
        })
    }

    /// One step over all parameters, in the order of `bind`. Those without a gradient are skipped, unless the
    /// optimizer says `absent grad: zeros`.
    ///
    /// Parameters on a CUDA device are stepped in the order of their stream; the call does not wait for them, unless
    /// a policy for gradients that are not finite needs to look at theirs.
    ///
    /// Allocates nothing after the first step (a strided tensor gets a contiguous copy when first seen, and faer's own
    /// products keep a buffer per thread).
    ///
    /// # Errors
    ///
    /// See [`StepError`]. Tensors are checked before anything is written.
    pub fn step(&mut self, inputs: &[StepInput<'_>]) -> Result<(), StepError> {
        let done = self.engine.step(inputs);
        self.reclaim_state();
        done
    }

    /// Runs an entry of the optimizer over all parameters, in the order of `bind`: what its rules say beside a step, as
    /// in `optimizer.run_entry("eval", &inputs, Given::default())`.
    ///
    /// A parameter whose rule lacks the entry is left as it is; so is one without a gradient or a tensor that the entry
    /// reads, and one whose state begins from a gradient and has not seen any. Steps are not counted.
    ///
    /// # Errors
    ///
    /// See [`StepError`]: no such entry, an input that is missing, unknown or does not fit, or a parameter on a device.
    /// Nothing is written then.
    pub fn run_entry(
        &mut self,
        name: &str,
        inputs: &[StepInput<'_>],
        given: Given<'_>,
    ) -> Result<(), StepError> {
        let Some(signature) = self.entries().find(|entry| entry.name == name).cloned() else {
            let known: Vec<String> = self
                .entries()
                .map(|entry| format!("`{}`", entry.name))
                .collect();
            return Err(StepError::UnknownEntry {
                optimizer: self.name().to_owned(),
                name: name.to_owned(),
                known: match known.is_empty() {
                    true => "none".to_owned(),
                    false => known.join(", "),
                },
            });
        };
        if let Some((param, device)) = self.on_device(name) {
            return Err(StepError::EntryOnDevice {
                entry: name.to_owned(),
                name: param,
                device,
            });
        }
        let done = self.engine.run_entry(&signature, inputs, given);
        self.reclaim_state();
        done
    }

    /// The entries of the rules that took the parameters, each once, with what it is given.
    pub fn entries(&self) -> impl Iterator<Item = &Signature> {
        self.entries.values().map(|(signature, _)| signature)
    }

    /// Whether an entry reads gradients; false if there is no such entry.
    pub fn entry_reads_gradients(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|(_, reads)| *reads)
    }

    /// The first parameter on a device whose rule has that entry.
    fn on_device(&self, entry: &str) -> Option<(String, Device)> {
        let devices = self.engine.params.iter().zip(&self.has_entry);
        let mut found = devices.filter(|(param, has)| !param.on_host() && has.contains(entry));
        found
            .next()
            .map(|(param, _)| (param.name.clone(), param.device))
    }

    /// Whether a parameter, by its position, takes part in an entry: for callers that keep the state, which they lend to
    /// those that do.
    pub fn enters(&self, entry: &str, param: usize, present: Present) -> bool {
        let known = self.engine.params.get(param);
        known.is_some_and(|known| known.enters(entry, present))
    }

    /// Whether the state of a parameter, by its position, is no longer what it was before the first step or entry.
    pub fn has_begun(&self, param: usize) -> bool {
        self.engine
            .params
            .get(param)
            .is_some_and(|known| known.begun)
    }

    /// Lends the state of one parameter, by its position, with the steps it has taken: for the next step, entry, save or
    /// load. Without a number of steps it has not begun: it is zeros, and the step or entry fills it. An entry may have
    /// begun it before the first step.
    ///
    /// # Errors
    ///
    /// [`StepError::State`]: not the tensors that [`Optimizer::state_layout`] lists.
    ///
    /// # Safety
    ///
    /// The promises of [`TensorView::from_raw`] for a step's parameter hold for every tensor, until the next
    /// [`Optimizer::step`] or [`Optimizer::reclaim_state`] returns.
    pub unsafe fn lend_state(
        &mut self,
        param: usize,
        step: Option<u64>,
        state: &[TensorView<'_>],
    ) -> Result<(), StepError> {
        let misfit = |name: &str, what: String| StepError::State {
            name: name.to_owned(),
            what,
        };
        let Some(bound) = self.engine.params.get(param) else {
            return Err(misfit(&param.to_string(), "no such parameter".into()));
        };
        lent::check(bound, state).map_err(|what| misfit(&bound.name, what))?;
        // SAFETY: by the caller's promise, and the layout was checked.
        unsafe { self.engine.lend(param, step, state) };
        Ok(())
    }

    /// Ends the loan of all state.
    pub fn reclaim_state(&mut self) {
        self.engine.params.iter_mut().for_each(Param::reclaim);
    }

    /// The state of a parameter, by its position: name, element type and shape of each piece, in order.
    pub fn state_layout(&self, param: usize) -> impl Iterator<Item = (&str, DType, &[u64])> {
        let param = self.engine.params.get(param);
        let slots = param.into_iter().flat_map(Param::state_slots);
        slots.map(|slot| (slot.name.as_str(), slot.dtype, slot.dims.as_slice()))
    }

    /// Whether a parameter, by its position, takes part in a step without a gradient: its rule says
    /// `absent grad: zeros`.
    pub fn steps_without_gradient(&self, param: usize) -> bool {
        let terms = self.group_of(param).and_then(|group| self.terms.get(group));
        terms.is_some_and(|terms| terms.optimizer().absent_grad_is_zero)
    }

    /// Steps that a parameter has taken, by its position.
    pub fn step_at(&self, param: usize) -> Option<u64> {
        self.engine.params.get(param).map(|known| known.step)
    }

    /// Steps parameters of that CUDA device on another stream from now on, after all that was asked on the one before.
    /// At first it is the legacy default stream. Without parameters on the device nothing happens.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    pub fn set_stream(&mut self, ordinal: u32, stream: Stream) -> Result<(), CudaError> {
        self.engine.set_stream(ordinal, stream)
    }

    /// The optimizer's name in its source.
    pub fn name(&self) -> &str {
        self.name_of(0).unwrap_or_default()
    }

    /// The name of the optimizer that a group takes.
    pub fn name_of(&self, group: usize) -> Option<&str> {
        let terms = self.terms.get(group)?;
        Some(&terms.optimizer().name)
    }

    /// What each group has settled on, in order.
    pub(crate) fn all_terms(&self) -> impl Iterator<Item = &Terms> {
        self.terms.iter()
    }

    /// Groups, the optimizer's own settings counted as group 0.
    pub fn group_count(&self) -> usize {
        self.engine.hypers.len()
    }

    /// The group of a parameter, by its position.
    pub fn group_of(&self, param: usize) -> Option<usize> {
        self.groups.get(param).copied()
    }

    /// Hyperparameters of a group, in declaration order; none if there is no such group.
    pub fn hypers(&self, group: usize) -> impl Iterator<Item = (&str, f64)> {
        let declared = self
            .terms
            .get(group)
            .into_iter()
            .flat_map(|terms| &terms.optimizer().hypers);
        let names = declared.map(|hyper| hyper.name.as_str());
        names.zip(self.engine.hypers.get(group).into_iter().flatten().copied())
    }

    /// All numbers of a group that a step reads: hyperparameters, then what its parameters share.
    pub(crate) fn inputs(&self, group: usize) -> impl Iterator<Item = (String, f64)> {
        let terms = self.terms.get(group).into_iter();
        let names = terms.flat_map(|terms| terms.program.input_names(terms.id));
        names.zip(self.engine.hypers.get(group).into_iter().flatten().copied())
    }

    /// A number that the parameters of a group share.
    pub fn shared(&self, group: usize, name: &str) -> Option<f64> {
        let mut found = self.inputs(group).filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value)
    }

    /// All numbers that the parameters of a group share: state of the group, beside that of its parameters.
    pub fn shared_numbers(&self, group: usize) -> impl Iterator<Item = (String, f64)> {
        self.inputs(group).skip(self.hypers(group).count())
    }

    /// Sets a number that the parameters of a group share, for callers that keep it themselves.
    ///
    /// # Errors
    ///
    /// No such group or number.
    pub fn set_shared(&mut self, group: usize, name: &str, value: f64) -> Result<(), HyperError> {
        let groups = self.group_count();
        let Some(terms) = self.terms.get(group) else {
            return Err(HyperError::UnknownGroup { group, groups });
        };
        let names = terms.program.input_names(terms.id);
        let hypers = terms.optimizer().hypers.len();
        let found = (hypers..names.len()).find(|&n| names[n] == name);
        let Some(index) = found else {
            let known: Vec<String> = names[hypers..]
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            return Err(HyperError::UnknownHyper {
                optimizer: terms.optimizer().name.clone(),
                name: name.to_owned(),
                known: known.join(", "),
            });
        };
        self.engine.hypers[group][index] = value;
        Ok(())
    }

    /// One hyperparameter of a group.
    pub fn hyper(&self, group: usize, name: &str) -> Option<f64> {
        self.hypers(group)
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// Sets a hyperparameter of one group, from the next step on. Another whose default is computed from it keeps the
    /// value it got at bind.
    ///
    /// # Errors
    ///
    /// No such group or hyperparameter, or a value outside its interval.
    pub fn set_hyper(&mut self, group: usize, name: &str, value: f64) -> Result<(), HyperError> {
        let groups = self.engine.hypers.len();
        let unknown = HyperError::UnknownGroup { group, groups };
        let (Some(terms), Some(hypers)) =
            (self.terms.get(group), self.engine.hypers.get_mut(group))
        else {
            return Err(unknown);
        };
        let optimizer = terms.optimizer();
        let Some(index) = optimizer.hypers.iter().position(|hyper| hyper.is(name)) else {
            let known = optimizer
                .hypers
                .iter()
                .map(|hyper| format!("`{}`", hyper.name))
                .collect::<Vec<_>>();
            let (optimizer, name, known) =
                (optimizer.name.clone(), name.to_owned(), known.join(", "));
            return Err(HyperError::UnknownHyper {
                optimizer,
                name,
                known,
            });
        };
        check_hyper(optimizer, index, value)?;
        hypers[index] = value;
        Ok(())
    }

    /// Sets the hyperparameter `lr` of every group.
    ///
    /// # Errors
    ///
    /// The optimizer has no `lr`, or the value is outside its interval; nothing is changed then.
    pub fn set_lr(&mut self, lr: f64) -> Result<(), HyperError> {
        (0..self.group_count()).try_for_each(|group| self.set_hyper(group, "lr", lr))
    }

    /// Names of the parameters, in order.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.engine.params.iter().map(|param| param.name.as_str())
    }

    /// Steps that a parameter has taken.
    pub fn step_of(&self, param: &str) -> Option<u64> {
        self.engine
            .params
            .iter()
            .find(|known| known.name == param)
            .map(|known| known.step)
    }

    /// All state of a parameter; none if there is no such parameter.
    pub fn states(&self, param: &str) -> impl Iterator<Item = StateView<'_>> {
        let param = self.engine.params.iter().find(|known| known.name == param);
        param.into_iter().flat_map(crate::engine::Param::states)
    }

    /// All state of a parameter, by its position.
    pub fn states_at(&self, param: usize) -> impl Iterator<Item = StateView<'_>> {
        let param = self.engine.params.get(param);
        param.into_iter().flat_map(Param::states)
    }

    /// One piece of state of a parameter.
    pub fn state(&self, param: &str, name: &str) -> Option<StateView<'_>> {
        self.states(param).find(|state| state.name == name)
    }

    /// Bytes of state of all parameters.
    pub fn state_bytes(&self) -> u64 {
        let states = self
            .engine
            .params
            .iter()
            .flat_map(crate::engine::Param::states);
        states.map(|state| state.len()).sum()
    }

    /// What was bound and where its code comes from.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Writes state, step counts and hyperparameters to a file; what was there before is replaced at once or not at
    /// all. Parameters are not written: they are the caller's.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        checkpoint::write(self, path.as_ref())
    }

    /// Reads what [`Optimizer::save`] wrote; the next step continues bit for bit. Returns what the source's migrations
    /// did to a file of an earlier version, a line each; none for a file of this version.
    ///
    /// # Errors
    ///
    /// A damaged file, or one of another optimizer, other parameters, shapes or groups, or of a version from which the
    /// source declares no migration. Nothing is changed then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<Vec<String>, CheckpointError> {
        let saved = self.read(path)?;
        checkpoint::restore(self, &saved)?;
        Ok(saved.migrated().to_vec())
    }

    /// Reads a checkpoint and changes nothing: for callers that keep the state themselves.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::load`].
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Saved, CheckpointError> {
        checkpoint::read(self, path.as_ref())
    }

    /// What [`Optimizer::save`] writes, for callers with a container of their own.
    ///
    /// # Errors
    ///
    /// A failure of a device.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        checkpoint::to_bytes(self)
    }

    /// As [`Optimizer::read`], of bytes that messages call `name`.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::load`].
    pub fn read_bytes(&self, name: &str, bytes: Vec<u8>) -> Result<Saved, CheckpointError> {
        checkpoint::from_bytes(self, Path::new(name), bytes)
    }
}

fn pool(options: &BindOptions) -> Arc<Pool> {
    let new = || {
        options
            .threads
            .map_or_else(Pool::with_available_parallelism, Pool::new)
    };
    options.pool.clone().unwrap_or_else(|| Arc::new(new()))
}

/// The entries of all parameters, by name.
fn known_entries(entries: &[Entry]) -> BTreeMap<String, (Signature, bool)> {
    let mut known: BTreeMap<String, (Signature, bool)> = BTreeMap::new();
    for planned in entries.iter().flat_map(|entry| entry.entries.iter()) {
        let signature = &planned.signature;
        let new = || (signature.clone(), false);
        let (_, reads) = known.entry(signature.name.clone()).or_insert_with(new);
        *reads |= planned.reads_grad;
    }
    known
}

/// The CUDA devices of some parameters.
fn devices(params: &[ParamDesc]) -> BTreeSet<Device> {
    let all = params.iter().map(|param| param.device);
    all.filter(|&device| device != Device::Cpu).collect()
}

/// The distinct kernels of all plans on a device, by hash.
fn kernels(entries: &[Entry], device: Device) -> Vec<MapKernel> {
    let plans: HashMap<*const Plan, &Arc<Plan>> = entries
        .iter()
        .filter(|entry| entry.device == device)
        .flat_map(|entry| {
            // Entries do not run on devices.
            let on_host = entry.entries.iter().filter(|_| device == Device::Cpu);
            std::iter::once(&entry.plan).chain(on_host.map(|planned| &planned.plan))
        })
        .map(|plan| (Arc::as_ptr(plan), plan))
        .collect();
    let all = plans.into_values().flat_map(|plan| plan.all_kernels());
    let by_hash: BTreeMap<String, MapKernel> =
        all.map(|kernel| (kernel.hash(), kernel.clone())).collect();
    by_hash.into_values().collect()
}
