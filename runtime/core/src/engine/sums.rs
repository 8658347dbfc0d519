//! What the parameters of a step have in common: sums and maxima over all of them, and the numbers that a group shares.
//!
//! A sum adds in the order of `bind`, in f64, so it does not depend on the number of threads.

use super::{Engine, Param};
use crate::execute::{self, Frame, Team};
use crate::memory::{Memory, Pointer};
use crate::moves;
use crate::prepared::Prepared;
use optc_core::kernel::Fold;
use optc_core::plan::{HostInst, Sum, evaluate_host};
use optc_core::random::{Draw, Noise};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What one parameter adds to a sum.
#[derive(Debug)]
pub(super) struct Summand {
    /// The host input that the sum becomes.
    input: u32,
    fold: Fold,
    pub(super) prepared: Arc<Prepared>,
    /// Where its host scalars are.
    regs: usize,
    /// The last slot of its plan.
    value: Memory,
    /// The addresses of all slots in this step.
    slots: Vec<Pointer>,
    /// The step that its random numbers belong to.
    step: u64,
}

impl Summand {
    /// `None` when there is no memory.
    pub(super) fn new(sum: &Sum, prepared: Arc<Prepared>, regs: usize) -> Option<Summand> {
        let count = prepared.plan.slots.len();
        Some(Summand {
            input: sum.input,
            fold: sum.fold,
            regs,
            value: Memory::zeroed(prepared.slot_bytes(count - 1))?,
            slots: vec![Pointer::NULL; count],
            step: 0,
            prepared,
        })
    }

    /// Its slots are those of the parameter, as far as they go, and its own.
    fn place(&mut self, slots: &[Pointer]) {
        let own = self.slots.len() - 1;
        self.slots[..own].copy_from_slice(&slots[..own]);
        self.slots[own] = self.value.pointer();
    }

    /// Whether it needs one of these host inputs.
    fn reads(&self, inputs: &[u32]) -> bool {
        let is_one = |inst: &HostInst| matches!(inst, HostInst::Hyper(n) if inputs.contains(n));
        self.prepared.plan.host.iter().any(is_one)
    }

    /// The host input that the sum becomes.
    pub(super) fn input(&self) -> u32 {
        self.input
    }

    /// Takes the parameter's slots, and evaluates its host scalars.
    pub(super) fn prepare(
        &mut self,
        slots: &[Pointer],
        inputs: &[f64],
        (step, noise): (u64, &Noise),
        regs: &mut [f64],
    ) {
        self.place(slots);
        self.step = step;
        let host = &self.prepared.plan.host;
        let regs = &mut regs[self.regs..self.regs + host.len()];
        evaluate_host(host, inputs, step as f64, noise, regs);
    }

    fn value(&self) -> f64 {
        let slot = &self.prepared.plan.slots[self.slots.len() - 1];
        // SAFETY: the memory holds one element of the slot's type.
        unsafe { moves::load(self.value.pointer(), slot.dtype, 0) }
    }
}

/// The host inputs that are sums, in rounds: those of a round need none of the same round.
pub(super) fn rounds(params: &[Param]) -> Vec<Vec<u32>> {
    let summands = || params.iter().flat_map(|param| &param.summands);
    let mut inputs: Vec<u32> = summands().map(|summand| summand.input).collect();
    inputs.sort_unstable();
    inputs.dedup();
    let mut rounds: Vec<Vec<u32>> = Vec::new();
    for input in inputs {
        let reads = |earlier: &[u32]| {
            let mut due = summands().filter(|summand| summand.input == input);
            due.any(|summand| summand.reads(earlier))
        };
        match rounds.last_mut() {
            Some(round) if !reads(round) => round.push(input),
            _ => rounds.push(vec![input]),
        }
    }
    rounds
}

impl Engine {
    pub(super) fn has_sums(&self) -> bool {
        !self.tables.sums.is_empty()
    }

    /// Computes the sums that this step reads, and what depends on them.
    pub(super) fn sum_parameters(&mut self) {
        for n in 0..self.tables.sums.len() {
            let round = std::mem::take(&mut self.tables.sums[n]);
            self.sum(&round);
            self.tables.sums[n] = round;
        }
        self.evaluate_host();
    }

    fn sum(&mut self, round: &[u32]) {
        for param in self.params.iter_mut().filter(|param| param.active) {
            let inputs = &self.hypers[param.hypers];
            let due = |summand: &&mut Summand| round.contains(&summand.input);
            for summand in param.summands.iter_mut().filter(due) {
                let moment = (param.step + 1, &self.noise);
                summand.prepare(&param.slots, inputs, moment, &mut self.regs);
            }
        }
        self.compute_all(|param| &param.summands, round);
        for &input in round {
            let active = self.params.iter().filter(|param| param.active);
            let total = total(active.flat_map(|param| &param.summands), input);
            for inputs in &mut self.hypers {
                inputs[input as usize] = total;
            }
        }
    }

    /// Runs the summands of all parameters of this step, those of one parameter one after the other: what one has read
    /// is near for the next.
    pub(super) fn compute_all(&self, of: impl Fn(&Param) -> &[Summand] + Sync, round: &[u32]) {
        let outcome = self.pool.run(self.params.len(), &|worker, n| {
            let param = &self.params[n];
            let due = |summand: &&Summand| param.active && round.contains(&summand.input);
            for summand in of(param).iter().filter(due) {
                if let Err(stop) = self.compute_one(param, summand, worker) {
                    self.record(n, stop);
                }
            }
        });
        if outcome.is_err() {
            self.record(0, execute::Stop::Panicked);
        }
    }

    fn compute_one(
        &self,
        param: &Param,
        summand: &Summand,
        worker: usize,
    ) -> Result<(), execute::Stop> {
        let plan = (&*summand.prepared, summand.regs, summand.step);
        // SAFETY: the slots are those of the parameter and the summand's own, as `place` set them.
        unsafe { self.run_beside_step(param, plan, &summand.slots, worker) }
    }

    /// Runs a plan of a parameter that is not its step: a summand or an entry, with the place of its host scalars and the
    /// step that its random numbers belong to.
    ///
    /// # Safety
    ///
    /// The slots are those of the plan, each of its size, and nobody else writes them meanwhile; `worker` is the number
    /// of this thread.
    pub(super) unsafe fn run_beside_step(
        &self,
        param: &Param,
        (prepared, regs, step): (&Prepared, usize, u64),
        slots: &[Pointer],
        worker: usize,
    ) -> Result<(), execute::Stop> {
        let plan = &prepared.plan;
        // SAFETY: `worker` is this thread's number, and the reference ends here.
        let arena = unsafe { self.scratches.get(worker) }.arena.pointer();
        let of_step = param.frame(&self.regs, arena);
        let frame = Frame {
            prepared,
            slots,
            arena,
            regs: &self.regs[regs..regs + plan.host.len()],
            draw: Draw {
                step,
                ..of_step.draw
            },
            ..of_step
        };
        let team = Team {
            pool: None,
            scratches: &self.scratches,
            me: worker,
        };
        // SAFETY: the caller's promise; the arena is this worker's.
        unsafe { execute::run(&frame, team, &plan.body) }
    }

    /// Gives shared numbers their new values: every parameter of a group found the same.
    pub(super) fn share(&mut self) {
        let done = |param: &&Param| param.active && !param.failed.load(Ordering::Relaxed);
        for param in self.params.iter().filter(done) {
            for &(input, reg) in &param.prepared.plan.shared {
                let value = self.regs[param.regs + reg as usize];
                self.hypers[param.hypers][input as usize] = value;
            }
        }
    }
}

/// What the summands of a host input come to.
pub(super) fn total<'a>(summands: impl Iterator<Item = &'a Summand> + Clone, input: u32) -> f64 {
    let due = summands.filter(|summand| summand.input == input);
    let fold = due.clone().next().map(|summand| summand.fold);
    fold.map_or(0.0, |fold| fold.of_all(due.map(Summand::value)))
}
