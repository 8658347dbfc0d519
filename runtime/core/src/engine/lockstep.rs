//! Parameters whose plans are maps alone, stepped together.
//!
//! A plan's body is flattened to stages: one map, copy or fill each, with the conditions under which it runs. Stage
//! `s` of all parameters is one run of the pool over work items, each a range of one parameter; items are gathered to
//! tasks of about equal bytes. The worker that finishes a parameter's last item adds its partial sums.

use super::bind::in_lockstep;
use super::stages::{Stage, stages};
use super::{Engine, Param};
use crate::execute::{self, Frame, Launch};
use crate::memory::padded;
use crate::pool::Panicked;
use optc_core::kernel::CHUNK;
use optc_core::plan::Thunk;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes that a task moves, about: long enough for a worker's way to it not to count.
const TASK_BYTES: u64 = 2 << 20;

/// Rows `[begin, end)` of a stage of a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item {
    pub(super) param: u32,
    pub(super) begin: u64,
    pub(super) end: u64,
    bytes: u64,
}

/// One run of the pool.
#[derive(Debug, Default)]
struct Round {
    items: Vec<Item>,
    /// Items per task.
    tasks: Vec<Range<usize>>,
    /// Parameters of this round, with their number of items.
    members: Vec<(u32, u32)>,
}

/// The tables of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Lockstep {
    rounds: Vec<Round>,
    /// Per parameter; empty for those that are not in lockstep.
    stages: Vec<Vec<Stage>>,
    /// Items that a parameter has left in the current round.
    left: Vec<AtomicU32>,
}

impl Lockstep {
    pub(super) fn new(params: &[Param]) -> Lockstep {
        let stages: Vec<Vec<Stage>> = params.iter().map(stages_of).collect();
        let rounds = (0..stages.iter().map(Vec::len).max().unwrap_or(0))
            .map(|s| Round::new(params, &stages, s));
        let left = params.iter().map(|_| AtomicU32::new(0)).collect();
        Lockstep {
            rounds: rounds.collect(),
            stages,
            left,
        }
    }

    pub(super) fn takes(&self, param: usize) -> bool {
        !self.stages[param].is_empty()
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// Bytes that the first round moves: what may fill the gaps of costlier work.
    pub(super) fn bytes(&self) -> u64 {
        self.rounds
            .first()
            .map_or(0, |round| round.items.iter().map(|item| item.bytes).sum())
    }

    /// Tasks of a round.
    pub(super) fn tasks(&self, round: usize) -> usize {
        self.rounds.get(round).map_or(0, |round| round.tasks.len())
    }
}

fn stages_of(param: &Param) -> Vec<Stage> {
    if param.on_host() && in_lockstep(&param.prepared) {
        stages(&param.prepared.plan.body)
    } else {
        Vec::new()
    }
}

impl Round {
    fn new(params: &[Param], stages: &[Vec<Stage>], stage: usize) -> Round {
        let mut round = Round::default();
        for (n, param) in params.iter().enumerate() {
            if let Some(stage) = stages[n].get(stage) {
                let items = items_of(param, n, &stage.thunk);
                round.members.push((n as u32, items.len() as u32));
                round.items.extend(items);
            }
        }
        round.tasks = tasks_of(&round.items);
        round
    }
}

fn items_of(param: &Param, n: usize, thunk: &Thunk) -> Vec<Item> {
    match Launch::new(&param.prepared, thunk) {
        Some(launch) => ranges(n, launch.rows, launch.row_bytes(), launch.unit()),
        None => ranges(n, written_elements(param, thunk), 8, CHUNK),
    }
}

/// Elements that a copy or fill writes.
fn written_elements(param: &Param, thunk: &Thunk) -> u64 {
    let (Thunk::Copy { out, .. } | Thunk::Fill { out, .. }) = thunk else {
        return 0;
    };
    crate::prepared::shape_of(&param.prepared.plan, *out)
        .map_or(0, |(_, dims)| dims.iter().product())
}

/// Cuts `rows` into items of at most a task's bytes, on multiples of `unit`. Without rows there is one empty item, for
/// the sums of nothing.
pub(super) fn ranges(param: usize, rows: u64, row_bytes: u64, unit: u64) -> Vec<Item> {
    let length = (TASK_BYTES / row_bytes.max(1))
        .max(1)
        .next_multiple_of(unit);
    let item = |begin: u64| {
        let end = rows.min(begin + length);
        Item {
            param: param as u32,
            begin,
            end,
            bytes: (end - begin) * row_bytes,
        }
    };
    (0..rows.max(1))
        .step_by(length as usize)
        .map(item)
        .collect()
}

/// Gathers neighbouring items until a task has its bytes.
fn tasks_of(items: &[Item]) -> Vec<Range<usize>> {
    let mut tasks = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (n, item) in items.iter().enumerate() {
        // A small tensor costs some time even without bytes.
        bytes += item.bytes + 512;
        if bytes >= TASK_BYTES {
            tasks.push(begin..n + 1);
            (begin, bytes) = (n + 1, 0);
        }
    }
    if begin < items.len() {
        tasks.push(begin..items.len());
    }
    tasks
}

impl Engine {
    /// Counts the items of a round, before it runs.
    pub(super) fn open_round(&self, round: usize) {
        if let Some(round) = self.tables.lockstep.rounds.get(round) {
            for &(param, items) in &round.members {
                self.tables.lockstep.left[param as usize].store(items, Ordering::Relaxed);
            }
        }
    }

    /// Whether any parameter has something to do in a round.
    pub(super) fn round_runs(&self, n: usize) -> bool {
        let Some(round) = self.tables.lockstep.rounds.get(n) else {
            return false;
        };
        round.members.iter().any(|&(index, _)| {
            let (param, stages) = (
                &self.params[index as usize],
                &self.tables.lockstep.stages[index as usize],
            );
            param.active && stages[n].runs(&param.frame(&self.regs, param.arena.pointer()))
        })
    }

    /// Runs one task of a round, as that worker.
    pub(super) fn run_task(&self, round: usize, task: usize, worker: usize) {
        let table = &self.tables.lockstep.rounds[round];
        for item in &table.items[table.tasks[task].clone()] {
            self.run_item(round, item, worker);
        }
    }

    fn run_item(&self, round: usize, item: &Item, worker: usize) {
        let n = item.param as usize;
        let (param, stage) = (&self.params[n], &self.tables.lockstep.stages[n][round]);
        let frame = param.frame(&self.regs, param.arena.pointer());
        if !param.active || !stage.runs(&frame) {
            return;
        }
        // SAFETY: the item's range is this task's alone, and the tensors are this parameter's.
        unsafe {
            match &stage.thunk {
                Thunk::Copy { x, out } => execute::copy(&frame, *x, *out, item.begin, item.end),
                Thunk::Fill { out, value } => execute::fill(
                    &frame,
                    *out,
                    frame.regs[*value as usize],
                    item.begin,
                    item.end,
                ),
                thunk => self.run_map(&frame, thunk, item, worker),
            }
        }
    }

    /// # Safety
    ///
    /// The item's range is this worker's alone.
    unsafe fn run_map(&self, frame: &Frame<'_>, thunk: &Thunk, item: &Item, worker: usize) {
        let Some(launch) = Launch::new(frame.prepared, thunk) else {
            return;
        };
        let partial = frame.arena.plus(padded(frame.prepared.plan.arena_bytes));
        // SAFETY: this worker's scratch, not borrowed elsewhere.
        let scratch = unsafe { self.scratches.get(worker) };
        let (mut arguments, _) = scratch.split();
        launch.arguments(frame, partial, &mut arguments);
        // SAFETY: items begin on the launch's unit.
        unsafe { launch.run(&arguments, item.begin, item.end) };
        if self.tables.lockstep.left[item.param as usize].fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: all items of this parameter are done, and their sums are visible here.
            unsafe { launch.combine(frame, partial) };
        }
    }

    /// Runs the rounds from `first` on.
    pub(super) fn run_rounds(&self, first: usize) -> Result<(), Panicked> {
        for round in first..self.tables.lockstep.rounds() {
            if self.round_runs(round) {
                self.open_round(round);
                self.pool
                    .run(self.tables.lockstep.tasks(round), &|worker, task| {
                        self.run_task(round, task, worker)
                    })?;
            }
        }
        Ok(())
    }
}
