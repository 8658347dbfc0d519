//! Runs a plan's thunks for one parameter, alone or with the whole pool behind each thunk.
//!
//! Sums are added in the order of their chunks and products in the order of their passes, so both ways, with any
//! number of workers, give the same bits.

use crate::memory::{Memory, Pointer, padded};
use crate::moves::{self, Axes};
use crate::pool::{Panicked, Pool};
use crate::prepared::{Prepared, partials, shape_of};
use crate::product::Product;
use crate::quantized;
use crate::routine::{Call, Failure, Operand};
use optc_core::dtype::DType;
use optc_core::kernel::{CHUNK, Fold, MapKernel, OutputKind, ROW_CHUNK, Space};
use optc_core::plan::{Buffer, Gemm, Matrix, OnFailure, Reg, Routine, Thunk};
use optc_core::quantized::Format;
use optc_core::random::{Distribution, Draw, Noise};
use std::cell::UnsafeCell;
use std::ffi::c_void;

/// Why a parameter's step did not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A factorization or gather failed, and the rule has no policy for it.
    Failed(&'static str, Failure),
    /// The state of this slot was kept for as many failures in a row as its policy allows, and there is one more.
    KeptTooOften(u32, u32),
    /// A panic: a bug.
    Panicked,
}

impl From<Panicked> for Stop {
    fn from(_: Panicked) -> Stop {
        Stop::Panicked
    }
}

/// One worker's own memory.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The temporaries of the plan in hand.
    pub(crate) arena: Memory,
    /// What one thunk needs besides: partial sums, packed panels, workspaces.
    pub(crate) work: Memory,
    operands: Vec<*mut c_void>,
    scalars: Vec<f64>,
}

impl Scratch {
    /// Enough for each of those plans, one at a time. `None` when there is not that much memory.
    pub(crate) fn new<'a>(plans: impl Iterator<Item = &'a Prepared> + Clone) -> Option<Scratch> {
        let most = |of: fn(&Prepared) -> u64| plans.clone().map(of).max().unwrap_or(0);
        Some(Scratch {
            arena: Memory::zeroed(most(|p| p.plan.arena_bytes))?,
            work: Memory::zeroed(most(|p| p.work_bytes))?,
            operands: Vec::with_capacity(most(|p| p.operands as u64) as usize),
            scalars: Vec::with_capacity(most(|p| p.scalars as u64) as usize),
        })
    }
}

/// The scratch of all workers; worker `n` of a pool uses entry `n` alone.
#[derive(Debug, Default)]
pub(crate) struct Scratches(Vec<UnsafeCell<Scratch>>);

// SAFETY: a pool gives each worker number to one thread at a time, and `get` is called with one's own number.
unsafe impl Sync for Scratches {}
// SAFETY: scratch holds plain memory; the operand addresses in it are written before each use.
unsafe impl Send for Scratches {}

impl Scratches {
    pub(crate) fn new(all: Vec<Scratch>) -> Scratches {
        Scratches(all.into_iter().map(UnsafeCell::new).collect())
    }

    /// # Safety
    ///
    /// The caller is worker `n`, and has no other reference to its scratch.
    #[expect(clippy::mut_from_ref, reason = "each worker has its own entry")]
    pub(crate) unsafe fn get(&self, n: usize) -> &mut Scratch {
        // SAFETY: by the caller's promise.
        unsafe { &mut *self.0[n].get() }
    }
}

/// Where a plan's tensors are for one parameter, and its host scalars.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) prepared: &'a Prepared,
    pub(crate) slots: &'a [Pointer],
    pub(crate) arena: Pointer,
    pub(crate) regs: &'a [f64],
    /// The parameter and its step.
    pub(crate) draw: Draw<'a>,
    pub(crate) noise: &'a Noise,
}

impl Frame<'_> {
    pub(crate) fn address(&self, buffer: Buffer) -> Pointer {
        match buffer {
            Buffer::Slot(n) => self.slots[n as usize],
            Buffer::Temp(n) => self.arena.plus(self.prepared.plan.temps[n as usize].offset),
        }
    }

    fn shape(&self, buffer: Buffer) -> (DType, &[u64]) {
        shape_of(&self.prepared.plan, buffer).unwrap_or((DType::F32, &[0]))
    }

    fn count(&self, buffer: Buffer) -> u64 {
        self.shape(buffer).1.iter().product()
    }

    pub(crate) fn holds(&self, reg: Reg) -> bool {
        self.regs[reg as usize] != 0.0
    }

    fn operand(&self, buffer: Buffer) -> Operand {
        let (dtype, dims) = self.shape(buffer);
        Operand::new(self.address(buffer), dtype, dims)
    }

    fn matrix(&self, matrix: &Matrix, dtype: DType) -> Pointer {
        self.address(matrix.buffer)
            .plus(matrix.offset * dtype.size())
    }

    fn product<'b>(&'b self, gemm: &'b Gemm, workers: usize) -> Product<'b> {
        let factor = |reg: Option<Reg>| reg.map_or(1.0, |reg| self.regs[reg as usize]);
        Product {
            gemm,
            family: self.prepared.kernels.products(gemm.dtype),
            a: self.matrix(&gemm.a, gemm.dtype),
            b: self.matrix(&gemm.b, gemm.dtype),
            c: gemm.c.as_ref().map(|c| self.matrix(c, gemm.dtype)),
            out: self.matrix(&gemm.out, gemm.dtype),
            alpha: factor(gemm.alpha),
            beta: factor(gemm.beta),
            workers,
        }
    }
}

/// One map thunk of one parameter, ready to run over any of its ranges.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launch<'a> {
    prepared: &'a Prepared,
    index: usize,
    kernel: &'a MapKernel,
    inputs: &'a [Buffer],
    outputs: &'a [Buffer],
    registers: &'a [Reg],
    pub(crate) rows: u64,
    pub(crate) cols: u64,
}

/// An output that is completed after its kernel: partial sums are added up, of partial maxima the largest is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Total {
    pub(crate) fold: Fold,
    /// f64 partial results: `chunks` rows of `columns`.
    pub(crate) partial: Pointer,
    pub(crate) out: Pointer,
    pub(crate) dtype: DType,
    pub(crate) chunks: u64,
    pub(crate) columns: u64,
}

impl<'a> Launch<'a> {
    /// Of a map thunk.
    pub(crate) fn new(prepared: &'a Prepared, thunk: &'a Thunk) -> Option<Launch<'a>> {
        let Thunk::Map {
            kernel,
            inputs,
            outputs,
            scalars,
            rows,
            cols,
        } = thunk
        else {
            return None;
        };
        let index = *kernel as usize;
        Some(Launch {
            prepared,
            index,
            kernel: &prepared.plan.kernels[index],
            inputs,
            outputs,
            registers: scalars,
            rows: *rows,
            cols: *cols,
        })
    }

    pub(crate) fn kernel(&self) -> &'a MapKernel {
        self.kernel
    }

    /// How the outputs that have partial results are completed, and their dtypes.
    pub(crate) fn folded(&self) -> impl Iterator<Item = (Fold, DType)> {
        let outputs = self.kernel.outputs.iter();
        outputs
            .filter(|output| output.kind.has_partials())
            .filter_map(|output| Some((output.kind.fold()?, output.dtype)))
    }

    /// Rows of the smallest range that may run by itself.
    pub(crate) fn unit(&self) -> u64 {
        if self.kernel.space == Space::Flat {
            CHUNK
        } else {
            ROW_CHUNK
        }
    }

    /// Fills the kernel's arguments. Partial sums go to `partial`.
    pub(crate) fn arguments(
        &self,
        frame: &Frame<'_>,
        partial: Pointer,
        scratch: &mut Arguments<'_>,
    ) {
        scratch.operands.clear();
        scratch.operands.extend(
            self.operands(frame, partial)
                .map(|at| at.0.cast::<c_void>()),
        );
        scratch.scalars.clear();
        scratch.scalars.extend(self.scalars(frame));
    }

    /// Where inputs and outputs are. Partial sums go to `partial`.
    pub(crate) fn operands(
        &self,
        frame: &Frame<'_>,
        mut partial: Pointer,
    ) -> impl Iterator<Item = Pointer> {
        let inputs = self.inputs.iter().map(|&input| frame.address(input));
        let outputs = self.kernel.outputs.iter().zip(self.outputs);
        inputs.chain(outputs.map(move |(output, &buffer)| {
            let sums = partials(self.kernel, output.kind, self.rows, self.cols);
            let at = if output.kind.has_partials() {
                partial
            } else {
                frame.address(buffer)
            };
            partial = partial.plus(padded(8 * sums));
            at
        }))
    }

    pub(crate) fn scalars(&self, frame: &Frame<'_>) -> impl Iterator<Item = f64> {
        self.registers.iter().map(|&reg| frame.regs[reg as usize])
    }

    /// What is still to be completed once the kernel has run with partial results at `partial`.
    pub(crate) fn totals(
        &self,
        frame: &Frame<'_>,
        mut partial: Pointer,
    ) -> impl Iterator<Item = Total> {
        let outputs = self.kernel.outputs.iter().zip(self.outputs);
        outputs.filter_map(move |(output, &buffer)| {
            let (fold, columns) = match output.kind {
                OutputKind::All(fold) => (fold, 1),
                OutputKind::Rows(fold) => (fold, self.cols),
                OutputKind::Store | OutputKind::Cols(_) => return None,
            };
            let total = Total {
                fold,
                partial,
                out: frame.address(buffer),
                dtype: output.dtype,
                chunks: self.rows.div_ceil(self.unit()),
                columns,
            };
            partial = partial.plus(padded(8 * total.chunks * columns));
            Some(total)
        })
    }

    /// Runs the kernel over `[begin, end)`.
    ///
    /// # Safety
    ///
    /// `arguments` were made by this launch for buffers that nobody else uses in this range, and the range begins on a
    /// [`Launch::unit`].
    pub(crate) unsafe fn run(&self, arguments: &Arguments<'_>, begin: u64, end: u64) {
        let dims = [self.rows, self.cols];
        // SAFETY: `Prepared` checked the operands' sizes; the rest is the caller's promise.
        unsafe {
            (self.prepared.functions[self.index])(
                arguments.operands.as_ptr(),
                arguments.scalars.as_ptr(),
                dims.as_ptr(),
                begin,
                end,
            )
        }
    }

    /// Folds the partial results in the order of their chunks and stores the totals.
    ///
    /// # Safety
    ///
    /// The kernel has run over its whole space with partial results at `partial`.
    pub(crate) unsafe fn combine(&self, frame: &Frame<'_>, partial: Pointer) {
        for total in self.totals(frame, partial) {
            for col in 0..total.columns {
                // SAFETY: every chunk has written its partial result; `Prepared` checked the output's size.
                unsafe {
                    let partials = (0..total.chunks)
                        .map(|c| moves::load(total.partial, DType::F64, c * total.columns + col));
                    moves::store(total.out, total.dtype, col, total.fold.of_all(partials));
                }
            }
        }
    }
}

/// A kernel's arguments, in memory that is used again and again.
#[derive(Debug)]
pub(crate) struct Arguments<'a> {
    operands: &'a mut Vec<*mut c_void>,
    scalars: &'a mut Vec<f64>,
}

// SAFETY: workers of one launch only read the arguments, and the addresses are those of its tensors.
unsafe impl Sync for Arguments<'_> {}

impl Scratch {
    /// This worker's argument memory and its work memory.
    pub(crate) fn split(&mut self) -> (Arguments<'_>, Pointer) {
        let work = self.work.pointer();
        (
            Arguments {
                operands: &mut self.operands,
                scalars: &mut self.scalars,
            },
            work,
        )
    }
}

/// Who runs a thunk: this worker, or the pool with this thread as its caller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Team<'a> {
    pub(crate) pool: Option<&'a Pool>,
    pub(crate) scratches: &'a Scratches,
    /// This worker's number.
    pub(crate) me: usize,
}

/// Bytes that a worker takes at a time from a shared map.
const SHARE_BYTES: u64 = 1 << 20;

/// Runs thunks in order.
///
/// # Errors
///
/// The first [`Stop`].
///
/// # Safety
///
/// The frame's slots and arena have the sizes that the plan gives them, nobody else uses them meanwhile, and the team
/// is this thread's: its `me` is this worker, and with a pool this thread is the one that may start its runs.
pub(crate) unsafe fn run(frame: &Frame<'_>, team: Team<'_>, thunks: &[Thunk]) -> Result<(), Stop> {
    for thunk in thunks {
        // SAFETY: by the caller's promise, and `Prepared` checked each thunk against the plan's buffers.
        unsafe { run_one(frame, team, thunk)? }
    }
    Ok(())
}

unsafe fn run_one(frame: &Frame<'_>, team: Team<'_>, thunk: &Thunk) -> Result<(), Stop> {
    // SAFETY: the promises of `run` hold for each arm.
    unsafe {
        match thunk {
            Thunk::Map { .. } => map(frame, team, thunk),
            Thunk::Gemm(gemm) => gemm_over(frame, team, gemm),
            Thunk::Call {
                routine,
                inputs,
                outputs,
                on_failure,
            } => call(frame, team, *routine, (inputs, outputs), on_failure),
            Thunk::IfFlag {
                flag,
                then,
                otherwise,
            } => {
                let dtype = frame.shape(*flag).0;
                let holds = moves::load(frame.address(*flag), dtype, 0) != 0.0;
                run(frame, team, if holds { then } else { otherwise })
            }
            Thunk::If {
                cond,
                then,
                otherwise,
            } => run(
                frame,
                team,
                if frame.holds(*cond) { then } else { otherwise },
            ),
            Thunk::Gather {
                x,
                index,
                out,
                axis,
            } => {
                let [source, index, target] = [*x, *index, *out].map(|b| frame.address(b));
                let size = frame.shape(*x).0.size();
                in_range("gather", moves::gather(source, index, target, size, axis))
            }
            Thunk::Quantize {
                x,
                codes,
                scales,
                format,
            } => {
                let at = [*x, *codes, *scales].map(|b| frame.address(b));
                let count = frame.count(*x);
                in_blocks(team, count, format, &|first, last| {
                    quantized::encode(at, format, count, [first, last])
                })
            }
            Thunk::Dequantize {
                codes,
                scales,
                out,
                format,
            } => {
                let at = [*codes, *scales, *out].map(|b| frame.address(b));
                let count = frame.count(*out);
                in_blocks(team, count, format, &|first, last| {
                    quantized::decode(at, format, count, [first, last])
                })
            }
            Thunk::Scatter {
                x,
                index,
                y,
                out,
                axis,
            } => {
                copy(frame, *x, *out, 0, frame.count(*x));
                let [source, index, target] = [*y, *index, *out].map(|b| frame.address(b));
                let size = frame.shape(*x).0.size();
                in_range("scatter", moves::scatter(source, index, target, size, axis))
            }
            Thunk::Limit { x, out, most, kept } => {
                let count = moves::load(frame.address(*x), frame.shape(*x).0, 0);
                if count > f64::from(*most) {
                    return Err(Stop::KeptTooOften(*kept, *most));
                }
                copy(frame, *x, *out, 0, 1);
                Ok(())
            }
            Thunk::Argsort {
                x,
                out,
                n,
                descending,
            } => {
                let [values, order] = [*x, *out].map(|b| frame.address(b));
                let dtype = frame.shape(*x).0;
                let kept = frame.count(*out);
                if kept == *n {
                    moves::argsort(values, dtype, order, [kept, *n], *descending);
                } else {
                    let all = team.scratches.get(team.me).work.pointer();
                    moves::argsort(values, dtype, all, [kept, *n], *descending);
                    std::ptr::copy_nonoverlapping(all.0, order.0, 8 * kept as usize);
                }
                Ok(())
            }
            Thunk::Random {
                out,
                distribution,
                site,
            } => random(frame, team, *out, *distribution, *site),
            other => {
                arrange(frame, other);
                Ok(())
            }
        }
    }
}

/// Runs blocks `first..last` by one worker at a time, all of them by the team.
///
/// # Safety
///
/// `run` may be called for every range of blocks, for several apart at the same time.
unsafe fn in_blocks(
    team: Team<'_>,
    count: u64,
    format: &Format,
    run: &(impl Fn(u64, u64) + Sync),
) -> Result<(), Stop> {
    let blocks = format.scales(count);
    let share = (CHUNK * 16).div_ceil(format.block);
    match team.pool {
        Some(pool) if blocks > share => {
            let tasks = blocks.div_ceil(share) as usize;
            pool.run(tasks, &|_, task| {
                let first = task as u64 * share;
                run(first, blocks.min(first + share));
            })?;
        }
        _ => run(0, blocks),
    }
    Ok(())
}

fn in_range(what: &'static str, inside: bool) -> Result<(), Stop> {
    if inside {
        Ok(())
    } else {
        Err(Stop::Failed(what, Failure::IndexOutOfRange))
    }
}

/// The thunks that only move or set elements.
unsafe fn arrange(frame: &Frame<'_>, thunk: &Thunk) {
    let at = |buffer: Buffer| frame.address(buffer);
    let dtype = |buffer: Buffer| frame.shape(buffer).0;
    let value = |reg: Reg| frame.regs[reg as usize];
    // SAFETY: `Prepared` checked that the buffers hold what each thunk touches.
    unsafe {
        match thunk {
            Thunk::Permute { x, out, dims, axes } => {
                moves::permute(at(*x), at(*out), dtype(*x).size(), dims, axes)
            }
            Thunk::Slice { x, out, axis, from } => {
                moves::slice(at(*x), at(*out), dtype(*x).size(), axis, *from)
            }
            Thunk::Paste { x, out, axis, from } => {
                moves::paste(at(*x), at(*out), dtype(*x).size(), axis, *from)
            }
            Thunk::Diag { x, out, n } => moves::diagonal(at(*x), at(*out), dtype(*x).size(), *n),
            Thunk::Pack { x, out, n, packing } => {
                moves::pack(at(*x), at(*out), dtype(*x).size(), *n, *packing)
            }
            Thunk::Unpack { x, out, n, packing } => {
                moves::unpack(at(*x), at(*out), dtype(*x).size(), *n, *packing)
            }
            Thunk::Copy { x, out } => copy(frame, *x, *out, 0, frame.count(*x)),
            Thunk::Fill { out, value: reg } => fill(frame, *out, value(*reg), 0, frame.count(*out)),
            Thunk::Triangle { out, n, upper } => moves::triangle(at(*out), dtype(*out), *n, *upper),
            Thunk::Identity { out, n, scale } => {
                moves::identity(at(*out), dtype(*out), *n, value(*scale))
            }
            Thunk::Map { .. }
            | Thunk::Gemm(_)
            | Thunk::Call { .. }
            | Thunk::Gather { .. }
            | Thunk::Scatter { .. }
            | Thunk::Quantize { .. }
            | Thunk::Dequantize { .. }
            | Thunk::Limit { .. }
            | Thunk::Argsort { .. }
            | Thunk::Random { .. }
            | Thunk::IfFlag { .. }
            | Thunk::If { .. } => {}
        }
    }
}

/// Draws a whole tensor, by all workers together if it is long.
///
/// # Safety
///
/// Nobody else touches it.
unsafe fn random(
    frame: &Frame<'_>,
    team: Team<'_>,
    out: Buffer,
    distribution: Distribution,
    site: u32,
) -> Result<(), Stop> {
    let (at, dtype) = (frame.address(out), frame.shape(out).0);
    let (draw, count) = (Draw { site, ..frame.draw }, frame.count(out));
    // SAFETY: the indices are below the tensor's count, and each is stored once.
    let store = |n, x| unsafe { moves::store(at, dtype, n, x) };
    if let Some(values) = frame.noise.recorded(draw, count) {
        (0..).zip(values).for_each(|(n, x)| store(n, x));
        return Ok(());
    }
    let numbers = frame.noise.numbers(draw, distribution, dtype);
    match team.pool {
        Some(pool) if count > CHUNK => {
            let range = |task: u64| task * CHUNK..count.min((task + 1) * CHUNK);
            let draw = |_, task| numbers.each(range(task as u64), store);
            pool.run(count.div_ceil(CHUNK) as usize, &draw)?;
        }
        _ => numbers.each(0..count, store),
    }
    Ok(())
}

/// Copies elements `begin..end`.
///
/// # Safety
///
/// Nobody else touches these elements.
pub(crate) unsafe fn copy(frame: &Frame<'_>, x: Buffer, out: Buffer, begin: u64, end: u64) {
    let size = frame.shape(x).0.size();
    let (from, to) = (
        frame.address(x).plus(begin * size),
        frame.address(out).plus(begin * size),
    );
    // SAFETY: both tensors have the same count of the same dtype; they may be one tensor.
    unsafe { std::ptr::copy(from.0.cast_const(), to.0, ((end - begin) * size) as usize) }
}

/// Sets elements `begin..end`.
///
/// # Safety
///
/// Nobody else touches these elements.
pub(crate) unsafe fn fill(frame: &Frame<'_>, out: Buffer, value: f64, begin: u64, end: u64) {
    let dtype = frame.shape(out).0;
    // SAFETY: the range lies inside the tensor.
    unsafe {
        moves::fill(
            frame.address(out).plus(begin * dtype.size()),
            dtype,
            end - begin,
            value,
        )
    }
}

unsafe fn map(frame: &Frame<'_>, team: Team<'_>, thunk: &Thunk) -> Result<(), Stop> {
    let Some(launch) = Launch::new(frame.prepared, thunk) else {
        return Ok(());
    };
    // SAFETY: this worker's scratch; nothing below asks for it again.
    let scratch = unsafe { team.scratches.get(team.me) };
    let (mut arguments, partial) = scratch.split();
    launch.arguments(frame, partial, &mut arguments);
    let arguments = &arguments;
    let share = (SHARE_BYTES / launch.row_bytes().max(1)).next_multiple_of(launch.unit());
    match team.pool {
        Some(pool) if launch.rows > share => {
            let tasks = launch.rows.div_ceil(share) as usize;
            pool.run(tasks, &|_, task| {
                let begin = task as u64 * share;
                // SAFETY: each task has its own range, on a multiple of the unit.
                unsafe { launch.run(arguments, begin, launch.rows.min(begin + share)) };
            })?;
        }
        // SAFETY: the whole range, alone.
        _ => unsafe { launch.run(arguments, 0, launch.rows) },
    }
    // SAFETY: the kernel has run over all rows.
    unsafe { launch.combine(frame, partial) };
    Ok(())
}

impl Launch<'_> {
    /// Bytes that one row moves.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.kernel.bytes_per_point() * self.cols
    }
}

unsafe fn gemm_over(frame: &Frame<'_>, team: Team<'_>, gemm: &Gemm) -> Result<(), Stop> {
    let product = frame.product(gemm, team.pool.map_or(1, Pool::threads));
    match team.pool {
        Some(pool) => {
            pool.run(product.block_count() as usize, &|worker, task| {
                if let Some(region) = product.block(task as u64) {
                    // SAFETY: `Prepared` checked that the matrices lie inside their buffers; the plan keeps `out` apart
                    // from the factors; each task has its own block and each worker its own scratch.
                    unsafe { product.run(region, team.scratches.get(worker).work.pointer()) };
                }
            })?;
            mirror(&product, pool)
        }
        None => {
            // SAFETY: as above.
            let work = unsafe { team.scratches.get(team.me) }.work.pointer();
            // SAFETY: as above, the whole output.
            (0..product.outputs()).for_each(|batch| unsafe { product.run_whole(batch, work) });
            Ok(())
        }
    }
}

/// Completes a symmetric result, rows in parallel.
fn mirror(product: &Product<'_>, pool: &Pool) -> Result<(), Stop> {
    const ROWS: u64 = 64;
    if !product.gemm.symmetric {
        return Ok(());
    }
    let strips = product.gemm.m.div_ceil(ROWS);
    pool.run((strips * product.outputs()) as usize, &|_, task| {
        let (batch, first) = (task as u64 / strips, task as u64 % strips * ROWS);
        // SAFETY: the upper triangle is done, and each task has its own rows below the diagonal.
        unsafe { product.finish(batch, [first, product.gemm.m.min(first + ROWS)]) };
    })?;
    Ok(())
}

unsafe fn call(
    frame: &Frame<'_>,
    team: Team<'_>,
    routine: Routine,
    (inputs, outputs): (&[Buffer], &[Option<Buffer>]),
    on_failure: &OnFailure,
) -> Result<(), Stop> {
    let input = |n: usize| inputs.get(n).map(|&buffer| frame.operand(buffer));
    let output = |n: usize| {
        outputs
            .get(n)
            .copied()
            .flatten()
            .map(|buffer| frame.operand(buffer))
    };
    let call = Call {
        routine,
        inputs: [input(0), input(1)],
        outputs: [output(0), output(1), output(2)],
        retry_f64: on_failure.retry_f64,
        keep: on_failure.keep.map(|buffer| frame.operand(buffer)),
        nan: on_failure.nan,
    };
    // SAFETY: `Prepared` checked the shapes and reserved the work memory, which is this worker's.
    unsafe { call.run(team.scratches.get(team.me).work.as_mut_slice()) }
        .map_err(|failure| Stop::Failed(name(routine), failure))
}

fn name(routine: Routine) -> &'static str {
    match routine {
        Routine::Eigh { .. } => "eigh",
        Routine::Qr => "qr",
        Routine::Svd { .. } => "svd",
        Routine::Cholesky => "cholesky",
        Routine::SolveTriangular { .. } => "solve_triangular",
    }
}

/// The walk over a strided view, as `moves` wants it.
pub(crate) fn axes_of(dims: &[i64], strides: &[i64]) -> Axes {
    Axes::signed(
        dims.iter()
            .zip(strides)
            .map(|(&dim, &stride)| (dim.unsigned_abs(), stride)),
    )
}
