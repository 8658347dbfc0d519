//! Allocates and initialises state, and builds the tables of a step.

use super::device::bind::{Devices, Ptx, failed};
use super::entry::BoundEntry;
use super::lockstep::{Lockstep, ranges};
use super::schedule::Schedule;
use super::storage::Storage;
use super::sums::Summand;
use super::{Bucket, Engine, Entry, Home, NonFinite, Param, Tables};
use crate::cuda::CudaError;
use crate::error::BindError;
use crate::execute::{self, Scratch, Scratches, Team};
use crate::kernels::KernelSet;
use crate::memory::{Memory, Pointer, padded};
use crate::moves::MAX_RANK;
use crate::pool::Pool;
use crate::prepared::{InvalidPlan, Prepared};
use crate::view::Device;
use optc_core::hir::InputKind;
use optc_core::plan::{HostInst, Plan, evaluate_host};
use optc_core::random::Noise;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What a step does besides computing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    pub(crate) non_finite: NonFinite,
    pub(crate) noise: Noise,
}

/// The code that plans may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code<'a> {
    pub(crate) kernels: &'a KernelSet,
    pub(crate) ptx: Ptx<'a>,
}

impl Engine {
    /// Binds parameters to their plans.
    ///
    /// Entries that share a plan share the `Arc`.
    ///
    /// # Errors
    ///
    /// See [`BindError`].
    pub(crate) fn new(
        entries: Vec<Entry>,
        hypers: Vec<Vec<f64>>,
        code: Code<'_>,
        pool: Arc<Pool>,
        Policies { non_finite, noise }: Policies,
    ) -> Result<Engine, BindError> {
        let mut binder = Binder {
            kernels: code.kernels,
            hypers: &hypers,
            noise: &noise,
            non_finite,
            prepared: HashMap::new(),
            buckets: Vec::new(),
            bucket_of: HashMap::new(),
            regs: 0,
            devices: Devices::new(code.ptx),
        };
        check_names(&entries)?;
        let params = entries
            .into_iter()
            .map(|entry| binder.param(entry))
            .collect::<Result<Vec<Param>, BindError>>()?;
        let (buckets, regs) = (binder.finish(), vec![0.0; binder.regs]);
        let parts = binder.devices.parts(&params)?;
        let lockstep = Lockstep::new(&params);
        let schedule = Schedule::new(&params, &lockstep);
        let sums = super::sums::rounds(&params);
        let scan = scan_items(&params);
        let (scratches, zeros) = (scratches(&params, pool.threads())?, zeros(&params)?);
        let strided = Vec::with_capacity(2 * params.len());
        let tables = Tables {
            buckets,
            lockstep,
            schedule,
            scan,
            sums,
            strided,
        };
        let mut engine = Engine {
            params,
            hypers,
            noise,
            pool,
            parts,
            scratches,
            regs,
            tables,
            zeros,
            failure: Mutex::new(None),
        };
        engine.initialise_all()?;
        Ok(engine)
    }

    /// Fills the state of every parameter that does not need to see its tensors for it.
    fn initialise_all(&mut self) -> Result<(), BindError> {
        if self.initialise_early(|_| true)? {
            return Ok(());
        }
        let source = InvalidPlan::Broken {
            what: "the initial state cannot be computed".into(),
        };
        Err(BindError::InvalidPlan {
            name: self.params[0].name.clone(),
            source,
        })
    }

    /// Makes the state of the chosen parameters, by position, what it was at bind.
    pub(crate) fn reset(&mut self, chosen: impl Fn(usize) -> bool) -> Result<(), CudaError> {
        for (_, param) in self
            .params
            .iter_mut()
            .enumerate()
            .filter(|(n, _)| chosen(*n))
        {
            param.begun = false;
            for n in 0..param.states.len() {
                let zeros = vec![0; param.prepared.slot_bytes(n + 2) as usize];
                param.states[n].write(&zeros)?;
            }
        }
        // On the host it did not fail at bind, and nothing that it reads has changed since.
        self.initialise_early(chosen).map(drop)
    }

    /// Runs the initial thunks of the chosen parameters that need no tensors for it; false if some failed on the host.
    fn initialise_early(&mut self, chosen: impl Fn(usize) -> bool) -> Result<bool, CudaError> {
        self.evaluate_for_init();
        for (n, param) in self.params.iter_mut().enumerate() {
            param.active = chosen(n) && !param.initialised_late();
        }
        for part in &mut self.parts {
            part.initialise(&self.params, &self.regs)?;
        }
        let broken = AtomicBool::new(false);
        let this = &*self;
        let outcome = this.pool.run(this.params.len(), &|worker, n| {
            let param = &this.params[n];
            if param.on_host() && param.active && this.initialise(n, worker).is_err() {
                broken.store(true, Ordering::Relaxed);
            }
        });
        Ok(outcome.is_ok() && !broken.into_inner())
    }

    /// Host scalars of the first step, for whose sake the state is there.
    fn evaluate_for_init(&mut self) {
        for param in &mut self.params {
            let host = &param.prepared.plan.host;
            param.regs = param.own_regs;
            let regs = &mut self.regs[param.own_regs..param.own_regs + host.len()];
            evaluate_host(host, &self.hypers[param.hypers], 1.0, &self.noise, regs);
        }
    }

    /// Runs the initial thunks of one parameter, as that worker.
    pub(super) fn initialise(&self, n: usize, worker: usize) -> Result<(), execute::Stop> {
        let param = &self.params[n];
        // SAFETY: `worker` is this thread's number, and the reference ends here.
        let arena = unsafe { self.scratches.get(worker) }.arena.pointer();
        let team = Team {
            pool: None,
            scratches: &self.scratches,
            me: worker,
        };
        // SAFETY: the state is this parameter's, sized by `Binder::param`; views are set if the thunks read them.
        unsafe {
            execute::run(
                &param.frame(&self.regs, arena),
                team,
                &param.prepared.plan.init,
            )
        }
    }
}

impl Param {
    /// Its state is filled at its first step: it depends on tensors that are not here before.
    pub(super) fn initialised_late(&self) -> bool {
        self.prepared.init_reads_views || self.home != Home::Own
    }

    /// Its state depends on the first gradient.
    pub(super) fn begins_with_grad(&self) -> bool {
        self.prepared.init_reads_grad
    }
}

fn check_names(entries: &[Entry]) -> Result<(), BindError> {
    let mut seen = HashSet::new();
    match entries
        .iter()
        .find(|entry| !seen.insert(entry.name.as_str()))
    {
        Some(entry) => Err(BindError::Duplicate {
            name: entry.name.clone(),
        }),
        None => Ok(()),
    }
}

/// What the parameters of a bucket have in common, and how many they are.
struct Shared {
    prepared: Arc<Prepared>,
    hypers: usize,
    members: usize,
}

struct Binder<'a> {
    kernels: &'a KernelSet,
    hypers: &'a [Vec<f64>],
    noise: &'a Noise,
    non_finite: NonFinite,
    /// By plan, and whether for a device.
    prepared: HashMap<(*const Plan, bool), Arc<Prepared>>,
    buckets: Vec<Shared>,
    /// Where the bucket of a plan and a group's numbers is.
    bucket_of: HashMap<(*const Prepared, usize), usize>,
    /// Host scalars given out.
    regs: usize,
    devices: Devices<'a>,
}

impl Binder<'_> {
    fn param(&mut self, entry: Entry) -> Result<Param, BindError> {
        check_entry(&entry)?;
        let prepared = self.prepare(&entry)?;
        let on_host = entry.device == Device::Cpu;
        let arena = if on_host && in_lockstep(&prepared) {
            padded(prepared.plan.arena_bytes) + prepared.work_bytes
        } else {
            0
        };
        let slots = 2..prepared.plan.slots.len();
        let states = slots
            .filter(|_| !entry.lent)
            .map(|slot| self.allocate(&entry, prepared.slot_bytes(slot)))
            .collect::<Result<Vec<Storage>, BindError>>()?;
        let summands = self.summands(&entry)?;
        let entries = self.entries(&entry)?;
        let views = [Pointer::NULL; 2].into_iter();
        let param = Param {
            slots: views.chain(states.iter().map(Storage::pointer)).collect(),
            home: match entry.lent {
                true => Home::Lent { here: false },
                false => Home::Own,
            },
            arena: on_the_host(&entry.name, arena)?,
            bucket: self.bucket(&prepared, entry.hypers),
            own_regs: self.regs,
            regs: self.regs,
            states,
            dims: entry.dims,
            device: entry.device,
            hypers: entry.hypers,
            absent_zeros: entry.absent_zeros,
            non_finite: self.non_finite.max(entry.non_finite),
            noise: self.noise.clone(),
            summands,
            entries,
            name: entry.name,
            step: 0,
            begun: false,
            dense_param: None,
            dense_grad: None,
            active: false,
            failed: AtomicBool::new(false),
            bad: AtomicBool::new(false),
            prepared,
        };
        self.regs += param.prepared.plan.host.len();
        Ok(param)
    }

    /// Zeros where the parameter is.
    fn allocate(&mut self, entry: &Entry, bytes: u64) -> Result<Storage, BindError> {
        match entry.device {
            Device::Cpu => on_the_host(&entry.name, bytes).map(Storage::Host),
            Device::Cuda(ordinal) => {
                let device = self.devices.device(entry, ordinal)?;
                let buffer = device.zeroed(bytes);
                buffer
                    .map(Storage::Device)
                    .map_err(|error| failed(error, &entry.name, entry.device))
            }
        }
    }

    fn summands(&mut self, entry: &Entry) -> Result<Vec<Summand>, BindError> {
        let each = entry.plan.sums.iter().map(|sum| {
            let prepared = self.prepare(&Entry {
                plan: Arc::clone(&sum.plan),
                ..entry.clone()
            })?;
            let regs = self.regs;
            self.regs += prepared.plan.host.len();
            Summand::new(sum, prepared, regs).ok_or_else(|| BindError::OutOfMemory {
                name: entry.name.clone(),
                device: Device::Cpu,
            })
        });
        each.collect()
    }

    /// The entries of a parameter's rule; those of one on a device cannot run.
    fn entries(&mut self, entry: &Entry) -> Result<Vec<BoundEntry>, BindError> {
        let on_host = entry.device == Device::Cpu;
        let planned = entry.entries.iter().filter(|_| on_host);
        let each = planned.map(|planned| {
            let inputs = planned.signature.inputs.iter();
            let own = Entry {
                plan: Arc::clone(&planned.plan),
                numbers: inputs
                    .filter(|(_, kind)| *kind == InputKind::Number)
                    .count(),
                ..entry.clone()
            };
            let (prepared, regs) = (self.prepare(&own)?, self.regs);
            self.regs += prepared.plan.host.len();
            let summands = self.summands(&own)?;
            let signature = planned.signature.clone();
            let reads_grad = planned.reads_grad;
            Ok(BoundEntry::new(
                signature, reads_grad, prepared, regs, summands,
            ))
        });
        each.collect()
    }

    fn prepare(&mut self, entry: &Entry) -> Result<Arc<Prepared>, BindError> {
        self.check_hypers(entry)?;
        let on_host = entry.device == Device::Cpu;
        if let Device::Cuda(ordinal) = entry.device {
            self.devices.device(entry, ordinal)?;
        }
        let key = (Arc::as_ptr(&entry.plan), on_host);
        if let Some(prepared) = self.prepared.get(&key) {
            return check_fit(entry, prepared).map(|()| Arc::clone(prepared));
        }
        let plan = Arc::clone(&entry.plan);
        let prepared = if on_host {
            Prepared::new(plan, self.kernels)
        } else {
            Prepared::for_device(plan)
        };
        let prepared = Arc::new(prepared.map_err(|source| unusable(entry, source))?);
        check_fit(entry, &prepared)?;
        self.prepared.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }

    fn check_hypers(&self, entry: &Entry) -> Result<(), BindError> {
        let count = self.hypers.get(entry.hypers).map(Vec::len);
        let known = |count: usize| {
            let count = count + entry.numbers;
            let beyond =
                |inst: &HostInst| matches!(inst, HostInst::Hyper(n) if *n as usize >= count);
            !entry.plan.host.iter().any(beyond)
        };
        if count.is_some_and(known) {
            return Ok(());
        }
        invalid(entry, "a hyperparameter does not exist")
    }

    /// The bucket of one more parameter.
    fn bucket(&mut self, prepared: &Arc<Prepared>, hypers: usize) -> usize {
        let key = (Arc::as_ptr(prepared), hypers);
        let bucket = *self.bucket_of.entry(key).or_insert_with(|| {
            self.buckets.push(Shared {
                prepared: Arc::clone(prepared),
                hypers,
                members: 0,
            });
            self.buckets.len() - 1
        });
        self.buckets[bucket].members += 1;
        bucket
    }

    fn finish(&self) -> Vec<Bucket> {
        let each = |shared: &Shared| Bucket {
            prepared: Arc::clone(&shared.prepared),
            hypers: shared.hypers,
            evaluated: Vec::with_capacity(shared.members),
        };
        self.buckets.iter().map(each).collect()
    }
}

fn unusable(entry: &Entry, source: InvalidPlan) -> BindError {
    let name = entry.name.clone();
    match source {
        InvalidPlan::MissingKernel { hash } => BindError::MissingKernel { name, hash },
        source => BindError::InvalidPlan { name, source },
    }
}

/// Zeros in host memory.
fn on_the_host(name: &str, bytes: u64) -> Result<Memory, BindError> {
    Memory::zeroed(bytes).ok_or_else(|| BindError::OutOfMemory {
        name: name.to_owned(),
        device: Device::Cpu,
    })
}

fn invalid<T>(entry: &Entry, what: &str) -> Result<T, BindError> {
    let source = InvalidPlan::Broken { what: what.into() };
    Err(BindError::InvalidPlan {
        name: entry.name.clone(),
        source,
    })
}

/// What can be said about a parameter without its plan.
fn check_entry(entry: &Entry) -> Result<(), BindError> {
    let name = entry.name.clone();
    if entry.dims.len() > MAX_RANK {
        return Err(BindError::Rank {
            name,
            rank: entry.dims.len(),
        });
    }
    let dims = entry.dims.iter().map(|&dim| u64::try_from(dim).ok());
    let bytes = dims
        .into_iter()
        .try_fold(entry.dtype.size(), |bytes, dim| bytes.checked_mul(dim?));
    match bytes.filter(|&bytes| bytes <= isize::MAX as u64) {
        Some(_) => Ok(()),
        None => Err(BindError::Shape {
            name,
            dims: entry.dims.clone(),
        }),
    }
}

/// The plan is for tensors of this size and dtype.
fn check_fit(entry: &Entry, prepared: &Prepared) -> Result<(), BindError> {
    let elements: u64 = entry.dims.iter().map(|dim| dim.unsigned_abs()).product();
    let slots = &prepared.plan.slots[..2];
    if slots
        .iter()
        .any(|slot| slot.dims.iter().product::<u64>() != elements)
        || slots[0].dtype != entry.dtype
    {
        return invalid(entry, "the plan is for another shape or dtype");
    }
    Ok(())
}

/// Whether a plan's temporaries are small enough for each parameter to have its own.
pub(super) fn in_lockstep(prepared: &Prepared) -> bool {
    let own = prepared.plan.arena_bytes + prepared.work_bytes;
    prepared.maps_only && own <= 4096.max(prepared.slot_bytes(0) / 16)
}

fn scratches(params: &[Param], threads: usize) -> Result<Scratches, BindError> {
    let hosted = params.iter().filter(|param| param.on_host());
    let plans = hosted.clone().flat_map(|param| {
        let entries = param.entries.iter();
        let of_entries = entries.clone().flat_map(|entry| &entry.summands);
        let summands = param.summands.iter().chain(of_entries);
        std::iter::once(&*param.prepared)
            .chain(summands.map(|summand| &*summand.prepared))
            .chain(entries.map(|entry| &*entry.prepared))
    });
    let largest =
        hosted.max_by_key(|param| param.prepared.plan.arena_bytes + param.prepared.work_bytes);
    let out_of_memory = || BindError::OutOfMemory {
        name: largest.map(|p| p.name.clone()).unwrap_or_default(),
        device: Device::Cpu,
    };
    let all = (0..threads).map(|_| Scratch::new(plans.clone()).ok_or_else(out_of_memory));
    Ok(Scratches::new(
        all.collect::<Result<Vec<Scratch>, BindError>>()?,
    ))
}

fn zeros(params: &[Param]) -> Result<Memory, BindError> {
    let largest = params
        .iter()
        .filter(|param| param.on_host() && param.absent_zeros)
        .max_by_key(|param| param.prepared.slot_bytes(1));
    let bytes = largest.map_or(0, |param| param.prepared.slot_bytes(1));
    on_the_host(largest.map_or("", |param| &param.name), bytes)
}

fn scan_items(params: &[Param]) -> Vec<super::lockstep::Item> {
    let each = |(n, param): (usize, &Param)| ranges(n, param.elements(), 4, 1);
    let hosted = params
        .iter()
        .enumerate()
        .filter(|(_, param)| param.on_host() && param.non_finite != NonFinite::Propagate);
    hosted.flat_map(each).collect()
}
