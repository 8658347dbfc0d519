//! Which worker runs which parameter: the costliest first, the too costly by all workers together.
//!
//! Costs are estimates in nanoseconds of one worker. They order the work and change no result.

use super::lockstep::Lockstep;
use super::{Engine, Param};
use crate::execute::{self, Frame, Stop, Team};
use crate::prepared::shape_of;
use optc_core::dtype::DType;
use optc_core::plan::{Buffer, Gemm, Plan, Routine, Thunk};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes per nanosecond of one worker.
const BANDWIDTH: f64 = 16.0;

/// The parameters that are not in lockstep, and their order in the current step.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    members: Vec<usize>,
    /// Estimated time of the lockstep's first round, which fills gaps.
    filler: f64,
    order: Vec<Job>,
    /// Jobs at the front of `order` that all workers share.
    shared: usize,
}

#[derive(Debug, Clone, Copy)]
struct Job {
    param: usize,
    cost: Cost,
}

/// Time of a body: all of it, and the part that cannot be shared.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    total: f64,
    serial: f64,
}

impl Schedule {
    pub(super) fn new(params: &[Param], lockstep: &Lockstep) -> Schedule {
        let members: Vec<usize> = (0..params.len())
            .filter(|&n| params[n].on_host() && !lockstep.takes(n))
            .collect();
        let order = Vec::with_capacity(members.len());
        Schedule {
            members,
            filler: lockstep.bytes() as f64 / BANDWIDTH,
            order,
            shared: 0,
        }
    }

    /// Decides the order of one step.
    fn arrange(&mut self, params: &[Param], regs: &[f64], threads: usize) {
        self.order.clear();
        for &param in self.members.iter().filter(|&&n| params[n].active) {
            let frame = params[param].frame(regs, crate::memory::Pointer::NULL);
            let cost = cost_of(&frame, &frame.prepared.plan.body);
            self.order.push(Job { param, cost });
        }
        let by_cost = |a: &Job, b: &Job| {
            b.cost
                .total
                .total_cmp(&a.cost.total)
                .then(a.param.cmp(&b.param))
        };
        self.order.sort_unstable_by(by_cost);
        self.shared = self.share(threads);
    }

    /// Moves to the front what would keep one worker busy after the others are done.
    fn share(&mut self, threads: usize) -> usize {
        let mut rest = self.filler + self.order.iter().map(|job| job.cost.total).sum::<f64>();
        let mut shared = 0;
        for n in 0..self.order.len() {
            let cost = self.order[n].cost;
            if threads > 1 && cost.total > rest / threads as f64 && cost.serial < cost.total / 2.0 {
                // Rotating keeps the others in order.
                self.order[shared..=n].rotate_right(1);
                shared += 1;
                rest -= cost.total;
            }
        }
        shared
    }
}

impl Engine {
    /// Runs the bodies of all active parameters.
    pub(super) fn run_bodies(&mut self) -> Result<(), crate::pool::Panicked> {
        self.tables
            .schedule
            .arrange(&self.params, &self.regs, self.pool.threads());
        let this = &*self;
        let (shared, queue) = this
            .tables
            .schedule
            .order
            .split_at(this.tables.schedule.shared);
        for job in shared {
            this.run_param(
                job.param,
                Team {
                    pool: Some(&this.pool),
                    scratches: &this.scratches,
                    me: 0,
                },
            );
        }
        this.open_round(0);
        let fill = if this.round_runs(0) {
            this.tables.lockstep.tasks(0)
        } else {
            0
        };
        this.pool
            .run(queue.len() + fill, &|worker, task| match queue.get(task) {
                Some(job) => this.run_param(
                    job.param,
                    Team {
                        pool: None,
                        scratches: &this.scratches,
                        me: worker,
                    },
                ),
                None => this.run_task(0, task - queue.len(), worker),
            })?;
        this.run_rounds(1)
    }

    fn run_param(&self, n: usize, team: Team<'_>) {
        let param = &self.params[n];
        // SAFETY: `me` is this thread's number, and the reference ends here.
        let arena = unsafe { self.scratches.get(team.me) }.arena.pointer();
        let frame = param.frame(&self.regs, arena);
        // SAFETY: the slots are this parameter's, set for this step; the arena is this worker's.
        let run = || unsafe { execute::run(&frame, team, &param.prepared.plan.body) };
        if let Err(stop) = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Stop::Panicked)) {
            self.record(n, stop);
        }
    }
}

fn cost_of(frame: &Frame<'_>, thunks: &[Thunk]) -> Cost {
    thunks.iter().fold(Cost::default(), |sum, thunk| {
        let cost = cost_of_one(frame, thunk);
        Cost {
            total: sum.total + cost.total,
            serial: sum.serial + cost.serial,
        }
    })
}

fn cost_of_one(frame: &Frame<'_>, thunk: &Thunk) -> Cost {
    let plan = &*frame.prepared.plan;
    let serial = |time: f64| Cost {
        total: time,
        serial: time,
    };
    match thunk {
        Thunk::Map {
            kernel, rows, cols, ..
        } => {
            let bytes = plan.kernels[*kernel as usize].bytes_per_point() * rows * cols;
            Cost {
                total: bytes as f64 / BANDWIDTH,
                serial: 0.0,
            }
        }
        Thunk::Gemm(gemm) => Cost {
            total: gemm_time(gemm),
            serial: 0.0,
        },
        Thunk::Call {
            routine, inputs, ..
        } => serial(
            inputs
                .first()
                .map_or(0.0, |&a| call_time(plan, *routine, a)),
        ),
        // As if it always held: how long a loop runs is not known.
        Thunk::IfFlag { then, .. } => cost_of(frame, then),
        Thunk::If {
            cond,
            then,
            otherwise,
        } => cost_of(frame, if frame.holds(*cond) { then } else { otherwise }),
        Thunk::Permute { out, .. }
        | Thunk::Gather { out, .. }
        | Thunk::Scatter { out, .. }
        | Thunk::Slice { out, .. }
        | Thunk::Paste { x: out, .. }
        | Thunk::Quantize { x: out, .. }
        | Thunk::Dequantize { out, .. }
        | Thunk::Limit { out, .. }
        | Thunk::Pack { out, .. }
        | Thunk::Unpack { out, .. }
        | Thunk::Argsort { out, .. }
        | Thunk::Diag { out, .. }
        | Thunk::Copy { out, .. }
        | Thunk::Fill { out, .. }
        | Thunk::Triangle { out, .. }
        | Thunk::Identity { out, .. } => serial(count(plan, *out) * 0.5),
        Thunk::Random { out, .. } => Cost {
            total: count(plan, *out) * 20.0,
            serial: 0.0,
        },
    }
}

fn count(plan: &Plan, buffer: Buffer) -> f64 {
    shape_of(plan, buffer).map_or(0.0, |(_, dims)| dims.iter().product::<u64>() as f64)
}

fn gemm_time(gemm: &Gemm) -> f64 {
    let flops = 2.0
        * [gemm.m, gemm.n, gemm.k, gemm.batch]
            .iter()
            .map(|&x| x as f64)
            .product::<f64>();
    let rate = match gemm.dtype {
        DType::F64 => 40.0,
        DType::BF16 => 150.0,
        _ => 80.0,
    };
    flops / rate / if gemm.symmetric { 2.0 } else { 1.0 }
}

/// Nanoseconds per element and dimension, measured around order 512 in f32.
fn call_time(plan: &Plan, routine: Routine, a: Buffer) -> f64 {
    let Some((_, dims)) = shape_of(plan, a) else {
        return 0.0;
    };
    let least = dims.iter().copied().min().unwrap_or(0) as f64;
    let each = match routine {
        Routine::Eigh { .. } => 0.15,
        Routine::Qr => 0.15,
        Routine::Svd { .. } => 0.4,
        Routine::Cholesky => 0.01,
        Routine::SolveTriangular { .. } => 0.02,
    };
    each * least * count(plan, a)
}
