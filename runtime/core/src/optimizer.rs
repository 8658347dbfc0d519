//! A bound optimizer: the public face of a step.

use crate::checkpoint;
use crate::cuda::{CudaError, Driver, Stream};
use crate::engine::bind::Code;
use crate::engine::device::bind::Ptx;
use crate::engine::storage::Storage;
use crate::engine::{Engine, Entry, NonFinite, StepInput};
use crate::error::{BindError, CheckpointError, HyperError, StepError};
use crate::groups::{self, Group};
use crate::pool::Pool;
use crate::report::Report;
use crate::rules::Rules;
use crate::view::Device;
use optc_core::dtype::DType;
use optc_core::hir::{OptimizerId, Program};
use optc_core::kernel::MapKernel;
use optc_core::lower::{Spec, rule_for, rule_takes};
use optc_core::plan::Plan;
use optc_core::settings::{Settings, check_hyper};
use optc_core::specialize::plan_for;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
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
    /// Parameters with settings of their own.
    pub groups: Vec<Group>,
    /// What to do about NaN and infinities in gradients.
    pub non_finite: NonFinite,
    /// Worker threads, the caller's among them; as many as the machine offers when absent.
    pub threads: Option<usize>,
    /// A pool to share with other optimizers; goes before `threads`.
    pub pool: Option<Arc<Pool>>,
    /// The driver of parameters on CUDA devices; the machine's own when absent.
    pub cuda: Option<Driver>,
}

/// An optimizer bound to parameters.
#[derive(Debug)]
pub struct Optimizer {
    pub(crate) engine: Engine,
    program: Arc<Program>,
    id: OptimizerId,
    groups: Vec<usize>,
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
        let id = rules.optimizer(options.optimizer.as_deref())?;
        let settings = groups::settings(&rules.program, id, options)?;
        let groups = groups::assign(&options.groups, params)?;
        let mut planner = Planner::new(&rules.program, id, &settings, options);
        let each = params
            .iter()
            .zip(&groups)
            .map(|(param, &group)| planner.entry(param, group));
        let entries = each.collect::<Result<Vec<Entry>, BindError>>()?;
        let wanted = kernels(&entries, Device::Cpu);
        let kernels = rules.kernels(&wanted)?;
        let report = Report::new(
            rules.isa(),
            std::mem::take(&mut planner.rules),
            &wanted,
            &planner.products(),
            &kernels,
        );
        let hypers = settings
            .into_iter()
            .map(|settings| settings.inputs())
            .collect();
        let ptx = Ptx {
            targets: rules.ptx(),
            driver: options.cuda.as_ref(),
        };
        let kernels = &kernels;
        let code = Code { kernels, ptx };
        let engine = Engine::new(entries, hypers, code, pool(options), options.non_finite)?;
        Ok(Optimizer {
            engine,
            program: Arc::clone(&rules.program),
            id,
            groups,
            report,
        })
    }

    /// One step over all parameters, in the order of `bind`. Those without a gradient are skipped, unless the
    /// optimizer says `absent grad: zeros`.
    ///
    /// Parameters on a CUDA device are stepped in the order of their stream; the call does not wait for them, unless
    /// `NonFinite::Error` needs to look at their gradients.
    ///
    /// Allocates nothing after the first step (a strided tensor gets a contiguous copy when first seen, and faer's own
    /// products keep a buffer per thread).
    ///
    /// # Errors
    ///
    /// See [`StepError`]. Tensors are checked before anything is written.
    pub fn step(&mut self, inputs: &[StepInput<'_>]) -> Result<(), StepError> {
        self.engine.step(inputs)
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
        &self.program.optimizers[self.id].name
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
        let names = self.program.optimizers[self.id]
            .hypers
            .iter()
            .map(|hyper| hyper.name.as_str());
        names.zip(self.engine.hypers.get(group).into_iter().flatten().copied())
    }

    /// All numbers of a group that a step reads: hyperparameters, then what its parameters share.
    pub(crate) fn inputs(&self, group: usize) -> impl Iterator<Item = (String, f64)> {
        let names = self.program.input_names(self.id).into_iter();
        names.zip(self.engine.hypers.get(group).into_iter().flatten().copied())
    }

    /// A number that the parameters of a group share.
    pub fn shared(&self, group: usize, name: &str) -> Option<f64> {
        let mut found = self.inputs(group).filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value)
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
        let optimizer = &self.program.optimizers[self.id];
        let groups = self.engine.hypers.len();
        let hypers = self
            .engine
            .hypers
            .get_mut(group)
            .ok_or(HyperError::UnknownGroup { group, groups })?;
        let Some(index) = optimizer.hypers.iter().position(|hyper| hyper.name == name) else {
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
        checkpoint::save(self, path.as_ref())
    }

    /// Reads what [`Optimizer::save`] wrote; the next step continues bit for bit.
    ///
    /// # Errors
    ///
    /// A damaged file, or one of another optimizer, other parameters, shapes or groups. Nothing is changed then.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        checkpoint::load(self, path.as_ref())
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

/// What a plan depends on: statics (by their first group), rule, shape, dtypes.
type Key = (usize, usize, Vec<u64>, DType, DType);

/// Picks rules and makes plans, one for all parameters alike.
struct Planner<'a> {
    program: &'a Program,
    id: OptimizerId,
    settings: &'a [Settings],
    options: &'a BindOptions,
    plans: HashMap<Key, Arc<Plan>>,
    /// The rule of each parameter so far.
    rules: Vec<(String, String)>,
}

impl<'a> Planner<'a> {
    fn new(
        program: &'a Program,
        id: OptimizerId,
        settings: &'a [Settings],
        options: &'a BindOptions,
    ) -> Planner<'a> {
        Planner {
            program,
            id,
            settings,
            options,
            plans: HashMap::new(),
            rules: Vec::new(),
        }
    }

    fn entry(&mut self, param: &ParamDesc, group: usize) -> Result<Entry, BindError> {
        let dims = dims_of(param)?;
        let rule = self.rule(param, &dims, group)?;
        self.rules.push((
            param.name.clone(),
            self.program.optimizers[self.id].rules[rule].name.clone(),
        ));
        Ok(Entry {
            rule: self.program.optimizers[self.id].rules[rule].name.clone(),
            name: param.name.clone(),
            dims: param.dims.clone(),
            dtype: param.dtype,
            device: param.device,
            plan: self.plan(param, dims, group, rule),
            hypers: group,
            absent_zeros: self.program.optimizers[self.id].absent_grad_is_zero,
        })
    }

    fn rule(&self, param: &ParamDesc, dims: &[u64], group: usize) -> Result<usize, BindError> {
        let optimizer = &self.program.optimizers[self.id];
        let (name, dims_found) = (param.name.clone(), param.dims.clone());
        let Some(wanted) = group
            .checked_sub(1)
            .and_then(|group| self.options.groups[group].rule.as_ref())
        else {
            let found = rule_for(self.program, self.id, &self.settings[group], dims);
            let optimizer = optimizer.name.clone();
            return found.ok_or(BindError::NoRule {
                name,
                dims: dims_found,
                optimizer,
            });
        };
        let Some(rule) = optimizer.rules.iter().position(|rule| rule.name == *wanted) else {
            let known = optimizer
                .rules
                .iter()
                .map(|rule| format!("`{}`", rule.name))
                .collect::<Vec<_>>()
                .join(", ");
            return Err(BindError::UnknownRule {
                rule: wanted.clone(),
                optimizer: optimizer.name.clone(),
                known,
            });
        };
        match rule_takes(self.program, self.id, &self.settings[group], rule, dims) {
            true => Ok(rule),
            false => Err(BindError::RuleRefuses {
                name,
                rule: wanted.clone(),
                dims: dims_found,
            }),
        }
    }

    fn plan(&mut self, param: &ParamDesc, dims: Vec<u64>, group: usize, rule: usize) -> Arc<Plan> {
        let same_statics = |settings: &Settings| settings.statics == self.settings[group].statics;
        let statics = self.settings.iter().position(same_statics).unwrap_or(group);
        let (program, optimizer, settings) = (self.program, self.id, &self.settings[group]);
        let (dtype, grad_dtype) = (param.dtype, param.grad_dtype);
        let make = |key: &Key| {
            let dims = &key.2;
            Arc::new(plan_for(&Spec {
                program,
                optimizer,
                settings,
                rule,
                dims,
                dtype,
                grad_dtype,
            }))
        };
        let key = (statics, rule, dims, dtype, grad_dtype);
        Arc::clone(self.plans.entry(key).or_insert_with_key(make))
    }

    /// The dtypes of all products.
    fn products(&self) -> Vec<DType> {
        let mut dtypes: Vec<DType> = self
            .plans
            .values()
            .flat_map(|plan| crate::prepared::product_dtypes(plan))
            .collect();
        dtypes.sort();
        dtypes.dedup();
        dtypes
    }
}

/// The distinct kernels of all plans on a device, by hash.
fn kernels(entries: &[Entry], device: Device) -> Vec<MapKernel> {
    let plans: HashMap<*const Plan, &Arc<Plan>> = entries
        .iter()
        .filter(|entry| entry.device == device)
        .map(|entry| (Arc::as_ptr(&entry.plan), &entry.plan))
        .collect();
    let all = plans.into_values().flat_map(|plan| plan.all_kernels());
    let by_hash: BTreeMap<String, MapKernel> =
        all.map(|kernel| (kernel.hash(), kernel.clone())).collect();
    by_hash.into_values().collect()
}

fn dims_of(param: &ParamDesc) -> Result<Vec<u64>, BindError> {
    let (name, dims) = (&param.name, &param.dims);
    if !matches!(
        param.dtype,
        DType::F64 | DType::F32 | DType::BF16 | DType::F16
    ) {
        return Err(BindError::NotFloat {
            name: name.clone(),
            dtype: param.dtype,
        });
    }
    let all = dims
        .iter()
        .map(|&dim| u64::try_from(dim).ok())
        .collect::<Option<Vec<u64>>>();
    let fits = |dims: &Vec<u64>| {
        dims.iter()
            .try_fold(8u64, |n, &d| n.checked_mul(d))
            .is_some_and(|n| n < 1 << 62)
    };
    all.filter(fits).ok_or_else(|| BindError::Shape {
        name: name.clone(),
        dims: dims.clone(),
    })
}
