//! Bound parameters and how a step runs over them.
//!
//! Parameters whose plans are maps alone are stepped in lockstep: stage by stage, all of them at once, split by bytes,
//! so that thousands of small tensors cost their bytes ([`lockstep`]). Every other parameter's plan runs on one worker
//! from beginning to end, the costliest first; one that is too large for that has each of its thunks shared by the
//! pool ([`schedule`]). Parameters on a CUDA device are launched there before the host begins with its own
//! ([`device`]). None of this changes a result.

pub(crate) mod bind;
pub(crate) mod device;
pub(crate) mod entry;
mod lockstep;
mod schedule;
mod stages;
mod step;
pub(crate) mod storage;
mod sums;
#[cfg(test)]
mod tests;

use crate::error::Which;
use crate::execute::{Frame, Scratches, Stop};
use crate::memory::{Memory, Pointer};
use crate::optimizer::StateView;
use crate::pool::Pool;
use crate::prepared::Prepared;
use crate::view::{Device, TensorView};
use device::Part;
use entry::BoundEntry;
use lockstep::Lockstep;
use optc_core::dtype::DType;
use optc_core::hir::NonfiniteGrad;
use optc_core::plan::{Plan, Slot};
use optc_core::random::{Draw, Noise};
use optc_core::specialize::EntryPlan;
use schedule::Schedule;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use storage::Storage;
use sums::Summand;

/// What to do about a NaN or an infinity in a gradient. What is stricter holds where the optimizer itself says
/// `nonfinite grad`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NonFinite {
    /// Compute with it.
    #[default]
    Propagate,
    /// Leave the parameter as if it had no gradient in this step.
    Skip,
    /// Refuse the step, before anything is written.
    Error,
}

impl From<NonfiniteGrad> for NonFinite {
    fn from(policy: NonfiniteGrad) -> NonFinite {
        match policy {
            NonfiniteGrad::Pass => NonFinite::Propagate,
            NonfiniteGrad::Skip => NonFinite::Skip,
            NonfiniteGrad::Raise => NonFinite::Error,
        }
    }
}

/// One parameter's tensors for one step.
#[derive(Debug)]
pub struct StepInput<'a> {
    /// Read and written.
    pub param: TensorView<'a>,
    /// Read; a parameter without one is skipped, unless the optimizer says `absent grad: zeros`.
    pub grad: Option<TensorView<'a>>,
}

impl<'a> StepInput<'a> {
    pub(crate) fn view(&self, which: Which) -> Option<&TensorView<'a>> {
        match which {
            Which::Parameter => Some(&self.param),
            Which::Gradient => self.grad.as_ref(),
        }
    }
}

/// A parameter to bind, with the plan for its shape.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) dims: Vec<i64>,
    pub(crate) dtype: DType,
    pub(crate) device: Device,
    pub(crate) plan: Arc<Plan>,
    /// The plans of its rule's entries.
    pub(crate) entries: Arc<[EntryPlan]>,
    /// Numbers that a caller gives behind the host inputs of the group.
    pub(crate) numbers: usize,
    /// The rule that the plan is of, for messages.
    pub(crate) rule: String,
    /// Which set of hyperparameters.
    pub(crate) hypers: usize,
    /// A missing gradient counts as zeros.
    pub(crate) absent_zeros: bool,
    /// What its optimizer says of gradients that are not finite.
    pub(crate) non_finite: NonFinite,
    /// The caller keeps the state.
    pub(crate) lent: bool,
}

/// Parameters, their state, and everything a step needs.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) params: Vec<Param>,
    /// Current hyperparameters and shared numbers, one list per group.
    pub(crate) hypers: Vec<Vec<f64>>,
    noise: Noise,
    pool: Arc<Pool>,
    /// One for each CUDA device.
    parts: Vec<Part>,
    scratches: Scratches,
    /// Host scalars of all parameters.
    regs: Vec<f64>,
    tables: Tables,
    /// A gradient of zeros, as large as the largest that may be missing.
    zeros: Memory,
    /// The first parameter whose step did not finish.
    failure: Mutex<Option<(usize, Stop)>>,
}

/// What is worked out at bind, or used again in every step.
#[derive(Debug)]
struct Tables {
    /// Plan and set of hyperparameters: what shares host scalars.
    buckets: Vec<Bucket>,
    lockstep: Lockstep,
    schedule: Schedule,
    /// Ranges of gradients to be looked at for NaN.
    scan: Vec<lockstep::Item>,
    /// The host inputs that are sums over parameters, in rounds that are computed one after the other.
    sums: Vec<Vec<u32>>,
    /// Parameters and gradients of this step that need a contiguous copy.
    strided: Vec<(usize, Which)>,
}

/// One bound parameter.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    pub(crate) dims: Vec<i64>,
    pub(crate) device: Device,
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) hypers: usize,
    /// Steps taken.
    pub(crate) step: u64,
    /// Its state is no longer what it was before the first step.
    pub(crate) begun: bool,
    /// One buffer per slot after the gradient; the caller's while it lends them.
    pub(crate) states: Vec<Storage>,
    pub(crate) home: Home,
    absent_zeros: bool,
    non_finite: NonFinite,
    noise: Noise,
    /// What it adds to sums over parameters.
    summands: Vec<Summand>,
    entries: Vec<BoundEntry>,
    bucket: usize,
    /// The addresses of all slots in this step.
    slots: Vec<Pointer>,
    /// Temporaries and partial sums of a parameter in lockstep; the others use their worker's.
    arena: Memory,
    /// Contiguous copies, once one was needed.
    dense_param: Option<Storage>,
    dense_grad: Option<Storage>,
    /// Takes part in this step.
    active: bool,
    /// Where its own host scalars are, and those it uses in this step.
    own_regs: usize,
    regs: usize,
    failed: AtomicBool,
    /// Its gradient is not finite in this step, where that matters.
    bad: AtomicBool,
}

/// Whose memory holds a parameter's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    Own,
    /// The caller's; `here` while it is lent.
    Lent {
        here: bool,
    },
}

#[derive(Debug)]
struct Bucket {
    prepared: Arc<Prepared>,
    hypers: usize,
    /// Step numbers already evaluated in this step, and where.
    evaluated: Vec<(u64, usize)>,
}

impl Param {
    /// What its state is, in declaration order.
    pub(crate) fn state_slots(&self) -> &[Slot] {
        &self.prepared.plan.slots[2..]
    }

    /// Its state, in declaration order; nothing while it is not lent.
    pub(crate) fn states(&self) -> impl Iterator<Item = StateView<'_>> {
        let all = self.state_slots().iter().zip(&self.states);
        all.map(|(slot, storage)| StateView {
            name: &slot.name,
            dtype: slot.dtype,
            dims: &slot.dims,
            storage,
        })
    }

    /// Takes the caller's memory for its state.
    fn lend(&mut self, step: Option<u64>, state: Vec<Storage>) {
        self.step = step.unwrap_or_default();
        self.begun = step.is_some();
        self.slots.truncate(2);
        self.slots.extend(state.iter().map(Storage::pointer));
        self.states = state;
        self.home = Home::Lent { here: true };
    }

    /// Forgets lent memory.
    pub(crate) fn reclaim(&mut self) {
        if let Home::Lent { here } = &mut self.home {
            *here = false;
            self.states.clear();
        }
    }

    pub(crate) fn on_host(&self) -> bool {
        self.device == Device::Cpu
    }

    pub(crate) fn elements(&self) -> u64 {
        self.dims.iter().map(|dim| dim.unsigned_abs()).product()
    }

    fn frame<'a>(&'a self, regs: &'a [f64], arena: Pointer) -> Frame<'a> {
        let count = self.prepared.plan.host.len();
        Frame {
            prepared: &self.prepared,
            slots: &self.slots,
            arena,
            regs: &regs[self.regs..self.regs + count],
            draw: Draw {
                param: &self.name,
                step: self.step + 1,
                site: 0,
            },
            noise: &self.noise,
        }
    }
}
