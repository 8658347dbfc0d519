//! What a plan means, slow and plain: the oracle of the planner's tests and of the runtime.
//!
//! ```text
//! let mut slots = eval::allocate(&plan, &weights, &hypers)?;   // state as the plan's `init` makes it
//! slots[1] = gradient;
//! eval::run(&plan, &mut slots, &hypers, step)?;                // slots[0] and the state are new
//! ```
//!
//! Thunks run one after the other on buffers. All temporaries lie in one array of bytes at the plan's offsets, so
//! tensors that share memory really overwrite each other; the array starts as bytes that are NaN in every float type,
//! so what is read before it is written shows. A thunk that breaks the contract of its type (an output over an input
//! that is still read, a tensor of the wrong length, a written gradient) is an error: a bug of the planner.

use super::{
    Along, Buffer, Gemm, Matrix, OnFailure, Plan, Reg, Role, Routine, Thunk, evaluate_host,
};
use crate::dtype::DType;
use crate::interp::dense::{self, Dense};
use crate::interp::{
    argsort, dequantize, diagonal, gather, paste, permute, quantize, scatter, slice, triangle,
};
use crate::kernel::{Access, MapKernel, OutputKind};
use crate::kernel_eval::{self, round_once};
use crate::random::{Draw, Noise};
use std::ops::Range;
use thiserror::Error;

/// A step of a plan that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvalError {
    /// A factorization failed and the plan has no policy that helps; slots may be half written.
    #[error("{routine}: the factorization failed")]
    Factorization {
        /// Which.
        routine: &'static str,
    },
    /// There were more failures in a row than a state may be kept for.
    #[error("`{state}` was kept too often")]
    KeptTooOften {
        /// The state.
        state: String,
    },
    /// The plan breaks the contract of one of its thunks.
    #[error("{thunk}: {what}")]
    Broken {
        /// Which kind of thunk.
        thunk: &'static str,
        /// What it does wrong.
        what: String,
    },
}

/// Slots with the parameter, a zero gradient, and the state as the plan's `init` makes it.
///
/// # Errors
///
/// See [`EvalError`].
pub fn allocate(plan: &Plan, param: &[f64], hypers: &[f64]) -> Result<Vec<Vec<f64>>, EvalError> {
    let first = |role| if role == Role::State { f64::NAN } else { 0.0 };
    let mut slots: Vec<Vec<f64>> = plan
        .slots
        .iter()
        .map(|slot| vec![first(slot.role); slot.dims.iter().product::<u64>() as usize])
        .collect();
    slots[0] = param.to_vec();
    init(plan, &mut slots, hypers)?;
    Ok(slots)
}

/// Fills the state from the parameter, as before the first step. Lengths and values are those of the plan's slots.
///
/// # Errors
///
/// See [`EvalError`].
pub fn init(plan: &Plan, slots: &mut [Vec<f64>], hypers: &[f64]) -> Result<(), EvalError> {
    Machine::new(plan, slots, hypers, 1.0).thunks(&plan.init)
}

/// One step: new values of the parameter and the state, in place.
///
/// # Errors
///
/// See [`EvalError`].
pub fn run(
    plan: &Plan,
    slots: &mut [Vec<f64>],
    hypers: &[f64],
    step: f64,
) -> Result<(), EvalError> {
    Machine::new(plan, slots, hypers, step).thunks(&plan.body)
}

struct Machine<'a> {
    plan: &'a Plan,
    slots: &'a mut [Vec<f64>],
    arena: Vec<u8>,
    regs: Vec<f64>,
    step: f64,
}

impl<'a> Machine<'a> {
    fn new(plan: &'a Plan, slots: &'a mut [Vec<f64>], hypers: &[f64], step: f64) -> Machine<'a> {
        let mut regs = vec![f64::NAN; plan.host.len()];
        evaluate_host(&plan.host, hypers, step, &Noise::default(), &mut regs);
        Machine {
            plan,
            step,
            slots,
            arena: vec![0xff; plan.arena_bytes as usize],
            regs,
        }
    }

    fn thunks(&mut self, thunks: &[Thunk]) -> Result<(), EvalError> {
        thunks.iter().try_for_each(|thunk| self.thunk(thunk))
    }

    fn thunk(&mut self, thunk: &Thunk) -> Result<(), EvalError> {
        match thunk {
            Thunk::Map {
                kernel,
                inputs,
                outputs,
                scalars,
                rows,
                cols,
            } => {
                let kernel = &self.plan.kernels[*kernel as usize];
                self.map(&Map {
                    kernel,
                    inputs,
                    outputs,
                    scalars,
                    rows: *rows,
                    cols: *cols,
                })
            }
            Thunk::Gemm(gemm) => self.gemm(gemm),
            Thunk::Call {
                routine,
                inputs,
                outputs,
                on_failure,
            } => self.call(*routine, inputs, outputs, on_failure),
            Thunk::Permute { x, out, dims, axes } => {
                let made = permute(&self.load(*x), dims, axes);
                self.moved("permute", *x, *out, &made)
            }
            Thunk::Gather {
                x,
                index,
                out,
                axis,
            } => self.gather([*x, *index, *out], axis),
            Thunk::Scatter {
                x,
                index,
                y,
                out,
                axis,
            } => self.scatter([*x, *index, *y, *out], axis),
            Thunk::Quantize {
                x,
                codes,
                scales,
                format,
            } => {
                let [made, of_blocks] = quantize(&self.load(*x), *format);
                self.apart("quantize", *codes, &[*scales])?;
                self.moved("quantize", *x, *scales, &of_blocks)?;
                self.moved("quantize", *x, *codes, &made)
            }
            Thunk::Dequantize {
                codes,
                scales,
                out,
                format,
            } => {
                let made = dequantize(&self.load(*codes), &self.load(*scales), *format);
                self.apart("dequantize", *out, &[*scales])?;
                self.moved("dequantize", *codes, *out, &made)
            }
            Thunk::Pack { x, out, n, packing } => {
                let made = packing.pack(&self.load(*x), *n as usize);
                self.moved("pack", *x, *out, &made)
            }
            Thunk::Unpack { x, out, n, packing } => {
                let made = packing.unpack(&self.load(*x), *n as usize);
                self.moved("unpack", *x, *out, &made)
            }
            Thunk::Limit { x, out, most, kept } => {
                let made = self.load(*x);
                if made[0] > f64::from(*most) {
                    let state = self.plan.slots[*kept as usize].name.clone();
                    return Err(EvalError::KeptTooOften { state });
                }
                self.moved("limit", *x, *out, &made)
            }
            Thunk::Slice { x, out, axis, from } => {
                let made = slice(&self.load(*x), axis.whole(), *from, axis.count);
                self.moved("slice", *x, *out, &made)
            }
            Thunk::Paste { x, out, axis, from } => {
                let mut made = self.load(*out);
                let part = self.load(*x);
                paste(&mut made, &part, axis.whole(), *from, axis.count);
                self.moved("paste", *x, *out, &made)
            }
            Thunk::Argsort {
                x, out, descending, ..
            } => {
                let made = argsort(&self.load(*x), *descending, self.count(*out));
                self.moved("argsort", *x, *out, &made)
            }
            Thunk::Diag { x, out, n } => {
                let made = diagonal(&self.load(*x), &[*n, *n]);
                self.moved("diag", *x, *out, &made)
            }
            Thunk::Copy { x, out } => {
                let made = self.load(*x);
                if self.dtype(*x) != self.dtype(*out) {
                    return broken(
                        "copy",
                        format_args!("{x:?} and {out:?} have different dtypes"),
                    );
                }
                self.moved("copy", *x, *out, &made)
            }
            Thunk::Fill { out, value } => {
                let value = self.regs[*value as usize];
                self.store("fill", *out, &vec![value; self.count(*out)])
            }
            Thunk::Triangle { out, n, upper } => {
                self.store("triangle", *out, &triangle(*n, *upper))
            }
            Thunk::Random {
                out,
                distribution,
                site,
            } => {
                let draw = Draw {
                    param: "",
                    step: self.step as u64,
                    site: *site,
                };
                let mut made = vec![0.0; self.count(*out)];
                let (dtype, count) = (self.dtype(*out), made.len() as u64);
                let store = |n: u64, x| made[n as usize] = x;
                Noise::default().fill(draw, *distribution, dtype, count, store);
                self.store("random", *out, &made)
            }
            Thunk::Identity { out, n, scale } => {
                let (n, scale) = (*n as usize, self.regs[*scale as usize]);
                let made: Vec<f64> = (0..n * n)
                    .map(|k| if k / n == k % n { scale } else { 0.0 })
                    .collect();
                self.store("identity", *out, &made)
            }
            Thunk::IfFlag {
                flag,
                then,
                otherwise,
            } => {
                let holds = self.load(*flag).first().is_some_and(|&x| x != 0.0);
                self.thunks(if holds { then } else { otherwise })
            }
            Thunk::If {
                cond,
                then,
                otherwise,
            } => {
                let holds = self.regs[*cond as usize] != 0.0;
                self.thunks(if holds { then } else { otherwise })
            }
        }
    }

    fn dtype(&self, buffer: Buffer) -> DType {
        match buffer {
            Buffer::Slot(n) => self.plan.slots[n as usize].dtype,
            Buffer::Temp(n) => self.plan.temps[n as usize].dtype,
        }
    }

    fn count(&self, buffer: Buffer) -> usize {
        self.plan.dims(buffer).iter().product::<u64>() as usize
    }

    /// Where a temporary lies in the arena.
    fn range(&self, temp: u32) -> Range<usize> {
        let start = self.plan.temps[temp as usize].offset as usize;
        start..start + self.plan.bytes(Buffer::Temp(temp)) as usize
    }

    fn load(&self, buffer: Buffer) -> Vec<f64> {
        match buffer {
            Buffer::Slot(n) => self.slots[n as usize].clone(),
            Buffer::Temp(n) => self.dtype(buffer).decode(&self.arena[self.range(n)]),
        }
    }

    /// Writes a whole tensor, each element rounded once to its dtype.
    fn store(
        &mut self,
        thunk: &'static str,
        buffer: Buffer,
        data: &[f64],
    ) -> Result<(), EvalError> {
        if data.len() != self.count(buffer) {
            return broken(
                thunk,
                format_args!("{} elements for {buffer:?}", data.len()),
            );
        }
        let dtype = self.dtype(buffer);
        let rounded = data.iter().map(|&x| round_once(dtype, x));
        match buffer {
            Buffer::Slot(n) if self.plan.slots[n as usize].role.is_read_only() => {
                return broken(thunk, "writes the gradient or an input");
            }
            Buffer::Slot(n) => self.slots[n as usize] = rounded.collect(),
            Buffer::Temp(n) => {
                let (bytes, range) = (dtype.encode(&rounded.collect::<Vec<f64>>()), self.range(n));
                self.arena[range].copy_from_slice(&bytes);
            }
        }
        Ok(())
    }

    /// Whether two buffers have a byte in common.
    fn clash(&self, a: Buffer, b: Buffer) -> bool {
        match (a, b) {
            (Buffer::Slot(a), Buffer::Slot(b)) => a == b,
            (Buffer::Temp(a), Buffer::Temp(b)) => {
                let (a, b) = (self.range(a), self.range(b));
                a.start.max(b.start) < a.end.min(b.end)
            }
            _ => false,
        }
    }

    fn apart(&self, thunk: &'static str, out: Buffer, others: &[Buffer]) -> Result<(), EvalError> {
        match others.iter().find(|&&other| self.clash(out, other)) {
            Some(other) => broken(thunk, format_args!("{out:?} overlaps {other:?}")),
            None => Ok(()),
        }
    }

    /// Stores what was made of `x`, which `out` must not overlap.
    fn moved(
        &mut self,
        thunk: &'static str,
        x: Buffer,
        out: Buffer,
        data: &[f64],
    ) -> Result<(), EvalError> {
        self.apart(thunk, out, &[x])?;
        self.store(thunk, out, data)
    }

    fn gather(&mut self, [x, index, out]: [Buffer; 3], axis: &Along) -> Result<(), EvalError> {
        let indices = self.indices("gather", index, axis)?;
        self.apart("gather", out, &[index])?;
        let made = gather(&self.load(x), &axis.whole(), 1, &indices);
        self.moved("gather", x, out, &made)
    }

    fn scatter(&mut self, [x, index, y, out]: [Buffer; 4], axis: &Along) -> Result<(), EvalError> {
        let indices = self.indices("scatter", index, axis)?;
        self.apart("scatter", out, &[index, y])?;
        let made = scatter(&self.load(x), &self.load(y), axis.whole(), &indices);
        self.moved("scatter", x, out, &made)
    }

    fn indices(
        &self,
        thunk: &'static str,
        index: Buffer,
        axis: &Along,
    ) -> Result<Vec<f64>, EvalError> {
        let indices = self.load(index);
        let valid = |&i: &f64| i >= 0.0 && i < axis.d as f64;
        if indices.len() as u64 != axis.count || !indices.iter().all(valid) {
            return broken(thunk, format_args!("indices {indices:?} of {}", axis.d));
        }
        Ok(indices)
    }

    fn map(&mut self, map: &Map<'_>) -> Result<(), EvalError> {
        self.check_map(map)?;
        let inputs: Vec<Vec<f64>> = map.inputs.iter().map(|&buffer| self.load(buffer)).collect();
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let scalars: Vec<f64> = map
            .scalars
            .iter()
            .map(|&reg| self.regs[reg as usize])
            .collect();
        let made = kernel_eval::run(map.kernel, &inputs, &scalars, map.rows, map.cols);
        map.outputs
            .iter()
            .zip(made)
            .try_for_each(|(&out, data)| self.store("map", out, &data))
    }

    fn check_map(&self, map: &Map<'_>) -> Result<(), EvalError> {
        let counts = (
            map.inputs.len(),
            map.outputs.len(),
            map.scalars.len() as u32,
        );
        if counts
            != (
                map.kernel.inputs.len(),
                map.kernel.outputs.len(),
                map.kernel.scalars,
            )
        {
            return broken("map", format_args!("{counts:?} operands"));
        }
        for (&buffer, input) in map.inputs.iter().zip(&map.kernel.inputs) {
            if (self.count(buffer) as u64, self.dtype(buffer))
                != (map.elements(input.access), input.dtype)
            {
                return broken("map", format_args!("{buffer:?} is read as {input:?}"));
            }
        }
        for (n, (&out, output)) in map.outputs.iter().zip(&map.kernel.outputs).enumerate() {
            if self.dtype(out) != output.dtype {
                return broken("map", format_args!("{out:?} is written as {output:?}"));
            }
            self.apart("map", out, &map.outputs[..n])?;
            let in_place = |n: usize| {
                let input = map.kernel.inputs[n];
                let same_place = self.same(map.inputs[n], out);
                same_place
                    && output.kind == OutputKind::Store
                    && input.access == Access::Full
                    && input.dtype == output.dtype
            };
            let others: Vec<Buffer> = (0..map.inputs.len())
                .filter(|&n| !in_place(n))
                .map(|n| map.inputs[n])
                .collect();
            self.apart("map", out, &others)?;
        }
        Ok(())
    }

    /// Exactly the same bytes.
    fn same(&self, a: Buffer, b: Buffer) -> bool {
        match (a, b) {
            (Buffer::Temp(a), Buffer::Temp(b)) => self.range(a) == self.range(b),
            (a, b) => a == b,
        }
    }

    fn gemm(&mut self, gemm: &Gemm) -> Result<(), EvalError> {
        self.apart("gemm", gemm.out.buffer, &[gemm.a.buffer, gemm.b.buffer])?;
        if let Some(c) = &gemm.c
            && !(self.same(c.buffer, gemm.out.buffer)
                && Matrix {
                    buffer: gemm.out.buffer,
                    ..*c
                } == gemm.out)
        {
            self.apart("gemm", gemm.out.buffer, &[c.buffer])?;
        }
        let factor = |reg: Option<Reg>| reg.map_or(1.0, |reg| self.regs[reg as usize]);
        let (alpha, beta) = (factor(gemm.alpha), factor(gemm.beta));
        let products = self.products(gemm)?;
        let c = gemm.c.map(|c| (c, self.load(c.buffer)));
        let mut out = self.load(gemm.out.buffer);
        for (batch, sums) in products.into_iter().enumerate() {
            for (i, j) in (0..gemm.m).flat_map(|i| (0..gemm.n).map(move |j| (i, j))) {
                // The caller promises symmetry, so the upper triangle is what the lower one says.
                let (row, col) = if gemm.symmetric {
                    (i.max(j), i.min(j))
                } else {
                    (i, j)
                };
                let added = c
                    .as_ref()
                    .map_or(0.0, |(at, c)| beta * c[entry(at, batch, row, col)]);
                out[entry(&gemm.out, batch, i, j)] =
                    alpha * sums.at(row as usize, col as usize) + added;
            }
        }
        self.store("gemm", gemm.out.buffer, &out)
    }

    /// `a[b] · b[b]` of each result.
    fn products(&self, gemm: &Gemm) -> Result<Vec<Dense>, EvalError> {
        let Gemm { m, n, k, batch, .. } = *gemm;
        let results = if gemm.sum_batch { 1 } else { batch };
        let operands = [Some((gemm.a, m, k, batch)), Some((gemm.b, k, n, batch))];
        let sums = [
            gemm.c.map(|c| (c, m, n, results)),
            Some((gemm.out, m, n, results)),
        ];
        for (matrix, rows, cols, batch) in operands.into_iter().chain(sums).flatten() {
            let last = entry(
                &matrix,
                batch.max(1) as usize - 1,
                rows.max(1) - 1,
                cols.max(1) - 1,
            );
            let inside = rows * cols * batch == 0 || last < self.count(matrix.buffer);
            if self.dtype(matrix.buffer) != gemm.dtype || !inside {
                return broken(
                    "gemm",
                    format_args!("{matrix:?} of {rows}x{cols}, {batch} of them"),
                );
            }
        }
        let (a, b) = (self.load(gemm.a.buffer), self.load(gemm.b.buffer));
        let one = |batch: usize| {
            dense(&a, &gemm.a, batch, gemm.m, gemm.k)
                .times(&dense(&b, &gemm.b, batch, gemm.k, gemm.n))
        };
        let each = (0..gemm.batch as usize).map(one);
        if !gemm.sum_batch {
            return Ok(each.collect());
        }
        let zero = Dense {
            rows: gemm.m as usize,
            cols: gemm.n as usize,
            data: vec![0.0; (gemm.m * gemm.n) as usize],
        };
        Ok(vec![each.fold(zero, |total, part| {
            let data = total
                .data
                .iter()
                .zip(&part.data)
                .map(|(x, y)| x + y)
                .collect();
            Dense { data, ..total }
        })])
    }

    fn call(
        &mut self,
        routine: Routine,
        inputs: &[Buffer],
        outputs: &[Option<Buffer>],
        on_failure: &OnFailure,
    ) -> Result<(), EvalError> {
        if let Some(flat) = inputs
            .iter()
            .find(|&&input| self.plan.dims(input).len() != 2)
        {
            return broken("call", format_args!("{flat:?} is not a matrix"));
        }
        for (n, out) in outputs
            .iter()
            .enumerate()
            .filter_map(|(n, out)| out.map(|out| (n, out)))
        {
            self.apart("call", out, inputs)?;
            self.apart(
                "call",
                out,
                &outputs[..n].iter().copied().flatten().collect::<Vec<_>>(),
            )?;
            if let Some(keep) = on_failure.keep
                && !(n == kept_result(routine) && self.same(out, keep))
            {
                self.apart("call", out, &[keep])?;
            }
        }
        let made = match (self.factorize(routine, inputs), on_failure.keep) {
            (Some(made), _) => made,
            (None, Some(keep)) => self.kept(routine, keep, outputs),
            (None, None) if on_failure.nan => outputs
                .iter()
                .map(|out| vec![f64::NAN; out.map_or(0, |out| self.count(out))])
                .collect(),
            (None, None) => {
                return Err(EvalError::Factorization {
                    routine: super::print::routine_name(routine),
                });
            }
        };
        let wanted = outputs
            .iter()
            .zip(made)
            .filter_map(|(out, data)| out.map(|out| (out, data)));
        wanted
            .into_iter()
            .try_for_each(|(out, data)| self.store("call", out, &data))
    }

    fn factorize(&self, routine: Routine, inputs: &[Buffer]) -> Option<Vec<Vec<f64>>> {
        let matrix = |n: usize| {
            let dims = self.plan.dims(inputs[n]);
            Dense {
                rows: dims[0] as usize,
                cols: dims[1] as usize,
                data: self.load(inputs[n]),
            }
        };
        match routine {
            Routine::Eigh { descending } => dense::eigh(&matrix(0), descending),
            Routine::Qr => dense::qr(&matrix(0)),
            Routine::Svd { count } => dense::svd(&matrix(0), count as usize),
            Routine::Cholesky => dense::cholesky(&matrix(0)),
            Routine::SolveTriangular {
                upper,
                transposed: false,
            } => dense::solve(&matrix(0), &matrix(1), upper).map(|x| vec![x]),
            Routine::SolveTriangular {
                upper,
                transposed: true,
            } => {
                let turned = matrix(0).transposed();
                dense::solve(&turned, &matrix(1), !upper).map(|x| vec![x])
            }
        }
    }

    /// The results after a failure: the kept tensor for the one that may be kept, zeros for the other.
    fn kept(&self, routine: Routine, keep: Buffer, outputs: &[Option<Buffer>]) -> Vec<Vec<f64>> {
        let result = |(n, out): (usize, &Option<Buffer>)| {
            if n == kept_result(routine) {
                self.load(keep)
            } else {
                vec![0.0; out.map_or(0, |out| self.count(out))]
            }
        };
        outputs.iter().enumerate().map(result).collect()
    }
}

/// Which result a `keep` policy speaks of: the vectors, Q, L.
fn kept_result(routine: Routine) -> usize {
    usize::from(matches!(routine, Routine::Eigh { .. }))
}

/// A map thunk.
struct Map<'a> {
    kernel: &'a MapKernel,
    inputs: &'a [Buffer],
    outputs: &'a [Buffer],
    scalars: &'a [Reg],
    rows: u64,
    cols: u64,
}

impl Map<'_> {
    /// How many elements an operand with this access has.
    fn elements(&self, access: Access) -> u64 {
        match access {
            Access::Full => self.rows * self.cols,
            Access::Row => self.rows,
            Access::Col => self.cols,
            Access::One => 1,
        }
    }
}

fn broken<T>(thunk: &'static str, what: impl ToString) -> Result<T, EvalError> {
    Err(EvalError::Broken {
        thunk,
        what: what.to_string(),
    })
}

/// The place of entry (i, j) of a batch's matrix.
fn entry(matrix: &Matrix, batch: usize, i: u64, j: u64) -> usize {
    (matrix.offset
        + batch as u64 * matrix.batch_stride
        + i * matrix.row_stride
        + j * matrix.col_stride) as usize
}

fn dense(data: &[f64], matrix: &Matrix, batch: usize, rows: u64, cols: u64) -> Dense {
    let at = |k: u64| data[entry(matrix, batch, k / cols, k % cols)];
    Dense {
        rows: rows as usize,
        cols: cols as usize,
        data: (0..rows * cols).map(at).collect(),
    }
}
