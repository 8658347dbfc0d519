//! The thunks of all parameters of a device, stage by stage, as launches over tables.
//!
//! Parameters with small temporaries are stepped together, each with temporaries of its own; every other one by
//! itself, after them. These waves follow each other in the stream, so they use the same memory.

use super::super::Param;
use super::super::bind::in_lockstep;
use super::super::stages::{Stage, stages};
use crate::cuda::CudaError;
use crate::cuda::device::Device;
use crate::cuda::driver::Function;
use crate::cuda::entries::{Entries, Entry, NoEntry};
use crate::cuda::table::{Filled, Ring, Table, Writer};
use crate::execute::{Frame, Launch};
use crate::memory::{Pointer, padded};
use crate::moves;
use crate::prepared::shape_of;
use optc_core::dtype::DType;
use optc_core::kernel::Fold;
use optc_core::kernel_support::TOTALS_ITEM;
use optc_core::plan::{Buffer, Plan, Thunk};
use std::collections::BTreeMap;

/// A parameter of a wave, and where in the arena its temporaries begin.
pub(super) type Member = (usize, u64);

/// Which parameters step together, and the bytes of temporaries that this needs.
pub(super) fn waves(params: &[Param], on_device: &[usize]) -> (Vec<Vec<Member>>, u64) {
    let own =
        |n: usize| padded(params[n].prepared.plan.arena_bytes) + params[n].prepared.work_bytes;
    let (small, large): (Vec<usize>, Vec<usize>) = on_device
        .iter()
        .partition(|&&n| in_lockstep(&params[n].prepared));
    let mut end = 0;
    let together = small.into_iter().map(|n| {
        let at = end;
        end += padded(own(n));
        (n, at)
    });
    let mut waves: Vec<Vec<Member>> = vec![together.collect()];
    let most = large.iter().map(|&n| own(n)).max().unwrap_or(0).max(end);
    waves.extend(large.into_iter().map(|n| vec![(n, 0)]));
    (waves, most)
}

/// What a run does, in order.
#[derive(Debug)]
pub(super) struct Program {
    acts: Vec<Act>,
    words: usize,
}

#[derive(Debug)]
enum Act {
    Launch(Group),
    /// A copy or a fill.
    Move(Line),
}

/// The same entry over several parameters.
#[derive(Debug)]
struct Group {
    /// Completes the totals of this kind; without one, the maps themselves.
    totals: Option<(Fold, DType)>,
    function: Function,
    table: Table,
    lines: Vec<Line>,
    filled: Filled,
}

/// A stage of a parameter.
#[derive(Debug, Clone)]
struct Line {
    param: usize,
    arena: Pointer,
    stage: Stage,
}

/// Builds a program.
pub(super) struct Builder<'a> {
    pub(super) params: &'a [Param],
    pub(super) entries: &'a Entries,
    /// Where the temporaries are.
    pub(super) arena: Pointer,
}

/// A kernel that the PTX lacks, and who needs it.
pub(super) type Lack = (usize, NoEntry);

impl Builder<'_> {
    /// The program of some thunks of every member.
    pub(super) fn program(
        &self,
        waves: &[Vec<Member>],
        thunks: fn(&Plan) -> &[Thunk],
    ) -> Result<Program, Lack> {
        let mut program = Program {
            acts: Vec::new(),
            words: 0,
        };
        for wave in waves {
            let lists: Vec<Vec<Line>> = wave
                .iter()
                .map(|&member| self.lines(member, thunks))
                .collect();
            for round in 0..lists.iter().map(Vec::len).max().unwrap_or(0) {
                let lines = lists.iter().filter_map(|list| list.get(round)).cloned();
                self.round(&mut program, lines)?;
            }
        }
        Ok(program)
    }

    fn lines(&self, (param, at): Member, thunks: fn(&Plan) -> &[Thunk]) -> Vec<Line> {
        let line = |stage| Line {
            param,
            arena: self.arena.plus(at),
            stage,
        };
        stages(thunks(&self.params[param].prepared.plan))
            .into_iter()
            .map(line)
            .collect()
    }

    /// Lines that need not wait for each other.
    fn round(&self, program: &mut Program, lines: impl Iterator<Item = Line>) -> Result<(), Lack> {
        let mut maps: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for line in lines {
            match line.launch(self.params) {
                Some(launch) => maps.entry(launch.kernel().hash()).or_default().push(line),
                None => program.acts.push(Act::Move(line)),
            }
        }
        maps.into_values()
            .try_for_each(|lines| self.map(program, lines))
    }

    /// A kernel over some parameters, then what is to be added up of it.
    fn map(&self, program: &mut Program, lines: Vec<Line>) -> Result<(), Lack> {
        let Some(launch) = lines[0].launch(self.params) else {
            return Ok(());
        };
        let kernel = launch.kernel();
        let operands = kernel.inputs.len() + kernel.outputs.len();
        let table = Table::new(
            &mut program.words,
            lines.len(),
            operands,
            kernel.scalars as usize,
        );
        let mut totals: BTreeMap<(Fold, DType), usize> = BTreeMap::new();
        launch
            .folded()
            .for_each(|total| *totals.entry(total).or_default() += 1);
        let map = self.group(None, Entry::Map(kernel), table, lines.clone())?;
        program.acts.push(map);
        for ((fold, dtype), count) in totals {
            let table = Table::new(&mut program.words, count * lines.len(), 2, 0);
            let entry = Entry::Totals(fold, dtype);
            let totals = self.group(Some((fold, dtype)), entry, table, lines.clone())?;
            program.acts.push(totals);
        }
        Ok(())
    }

    fn group(
        &self,
        totals: Option<(Fold, DType)>,
        entry: Entry<'_>,
        table: Table,
        lines: Vec<Line>,
    ) -> Result<Act, Lack> {
        let function = self
            .entries
            .find(entry)
            .map_err(|lack| (lines[0].param, lack))?;
        Ok(Act::Launch(Group {
            totals,
            function,
            table,
            lines,
            filled: Filled::default(),
        }))
    }
}

impl Program {
    /// Words of all tables.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Runs it for the parameters that take part.
    pub(super) fn run(
        &mut self,
        ring: &mut Ring,
        device: &Device,
        (params, regs): (&[Param], &[f64]),
        takes_part: impl Fn(&Param) -> bool,
    ) -> Result<(), CudaError> {
        if self.acts.is_empty()
            || !params
                .iter()
                .any(|param| !param.on_host() && takes_part(param))
        {
            return Ok(());
        }
        let (words, acts) = (self.words, &mut self.acts);
        let runs = |line: &Line| {
            takes_part(&params[line.param]) && line.stage.runs(&line.frame(params, regs))
        };
        let write = |words: &mut [u64]| {
            for act in acts.iter_mut() {
                if let Act::Launch(group) = act {
                    group.fill(words, (params, regs), &runs);
                }
            }
            acts
        };
        ring.run(words, write, |acts, base| {
            acts.iter().try_for_each(|act| match act {
                Act::Launch(group) => group.launch(device, base),
                Act::Move(line) if runs(line) => line.act(device, params, regs),
                Act::Move(_) => Ok(()),
            })
        })
    }
}

impl Group {
    fn fill(
        &mut self,
        words: &mut [u64],
        (params, regs): (&[Param], &[f64]),
        runs: &impl Fn(&Line) -> bool,
    ) {
        let mut writer = self.table.writer(words);
        for line in self.lines.iter().filter(|line| runs(line)) {
            if let Some(launch) = line.launch(params) {
                let frame = line.frame(params, regs);
                match self.totals {
                    None => write_map(&mut writer, &launch, &frame),
                    Some(total) => write_totals(&mut writer, &launch, &frame, total),
                }
            }
        }
        self.filled = writer.finish();
    }

    fn launch(&self, device: &Device, base: u64) -> Result<(), CudaError> {
        match self.table.launch(self.function, self.filled, base) {
            // SAFETY: `Prepared` checked the operands' sizes, and the tensors are those of this step; what earlier
            // launches of the stream write is there.
            Some(launch) => unsafe { device.api().launch(&launch, device.stream()) },
            None => Ok(()),
        }
    }
}

/// Where a parameter's partial results are: behind its temporaries.
fn partial(frame: &Frame<'_>) -> Pointer {
    frame.arena.plus(padded(frame.prepared.plan.arena_bytes))
}

fn write_map(writer: &mut Writer<'_>, launch: &Launch<'_>, frame: &Frame<'_>) {
    let operands = launch.operands(frame, partial(frame)).map(Pointer::address);
    let scalars = launch.scalars(frame).map(f64::to_bits);
    let items = launch.rows.div_ceil(launch.unit());
    writer.line(operands, scalars, [launch.rows, launch.cols], items);
}

fn write_totals(
    writer: &mut Writer<'_>,
    launch: &Launch<'_>,
    frame: &Frame<'_>,
    which: (Fold, DType),
) {
    for total in launch
        .totals(frame, partial(frame))
        .filter(|total| (total.fold, total.dtype) == which)
    {
        let operands = [total.partial, total.out].map(Pointer::address).into_iter();
        let items = total.columns.div_ceil(TOTALS_ITEM);
        writer.line(
            operands,
            std::iter::empty(),
            [total.chunks, total.columns],
            items,
        );
    }
}

impl Line {
    fn launch<'a>(&'a self, params: &'a [Param]) -> Option<Launch<'a>> {
        Launch::new(&params[self.param].prepared, &self.stage.thunk)
    }

    fn frame<'a>(&self, params: &'a [Param], regs: &'a [f64]) -> Frame<'a> {
        params[self.param].frame(regs, self.arena)
    }

    /// Does a copy or a fill.
    fn act(&self, device: &Device, params: &[Param], regs: &[f64]) -> Result<(), CudaError> {
        let frame = self.frame(params, regs);
        let tensor = |buffer: Buffer| {
            let (dtype, dims) =
                shape_of(&frame.prepared.plan, buffer).unwrap_or((DType::F32, &[0]));
            (
                frame.address(buffer).address(),
                dtype,
                dims.iter().product::<u64>(),
            )
        };
        let (api, stream) = (device.api(), device.stream());
        match self.stage.thunk {
            Thunk::Copy { x, out } => {
                let ((from, dtype, count), (to, ..)) = (tensor(x), tensor(out));
                // SAFETY: `Prepared` checked that both hold the elements.
                unsafe { api.copy(to, from, count * dtype.size(), stream) }
            }
            Thunk::Fill { out, value } => {
                let (at, dtype, count) = tensor(out);
                let bits = moves::bits(dtype, frame.regs[value as usize]);
                // SAFETY: all elements of the tensor.
                unsafe { api.fill(at, dtype.size(), count, bits, stream) }
            }
            _ => Ok(()),
        }
    }
}
