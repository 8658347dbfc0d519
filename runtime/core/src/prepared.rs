//! A plan that was checked against the kernels at hand: every buffer exists, is large enough for what the thunks do
//! with it, and every kernel has code. What runs afterwards relies on this.
//!
//! A violation is a bug of the compiler that made the plan, or an artifact made by hand; it is reported as
//! [`InvalidPlan`], not to the user's rule.

use crate::kernels::{KernelSet, MapFn};
use crate::memory::{Pointer, padded};
use crate::moves::MAX_RANK;
use crate::product;
use crate::routine::{self, Operand};
use optc_core::dtype::DType;
use optc_core::kernel::{Access, CHUNK, MapKernel, OutputKind, ROW_CHUNK, Space};
use optc_core::plan::{
    Along, Buffer, Gemm, HostInst, Matrix, OnFailure, Plan, Reg, Role, Routine, Thunk,
};
use optc_core::quantized::Format;
use std::sync::Arc;

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// The plan refers to something that is not there, or too small.
    #[error("{what}")]
    Broken {
        /// The violation.
        what: String,
    },
    /// Neither the artifact nor the quick tier has code for a kernel.
    #[error("no code for kernel {hash}")]
    MissingKernel {
        /// The kernel's content hash.
        hash: String,
    },
}

type Check = Result<(), InvalidPlan>;

fn broken<T>(what: impl Into<String>) -> Result<T, InvalidPlan> {
    Err(InvalidPlan::Broken { what: what.into() })
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { broken(what()) }
}

/// A plan with its code and what one execution needs.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) plan: Arc<Plan>,
    /// The code of each of the plan's kernels; none for a plan that runs on a device.
    pub(crate) functions: Vec<MapFn>,
    /// Keeps the code mapped.
    pub(crate) kernels: KernelSet,
    /// Bytes of scratch beside the arena: partial sums, packed panels, workspaces; one thunk at a time uses it.
    pub(crate) work_bytes: u64,
    /// The most operands of a kernel.
    pub(crate) operands: usize,
    /// The most scalars of a kernel.
    pub(crate) scalars: usize,
    /// The initial state is computed from the parameter or the gradient.
    pub(crate) init_reads_views: bool,
    /// It is computed from the gradient.
    pub(crate) init_reads_grad: bool,
    /// The body consists of maps, copies and fills alone.
    pub(crate) maps_only: bool,
}

impl Prepared {
    /// Checks a plan and looks up its kernels.
    ///
    /// # Errors
    ///
    /// [`InvalidPlan`] names the first violation.
    pub(crate) fn new(plan: Arc<Plan>, kernels: &KernelSet) -> Result<Prepared, InvalidPlan> {
        let missing = |kernel: &MapKernel| InvalidPlan::MissingKernel {
            hash: kernel.hash(),
        };
        let find = |kernel: &MapKernel| kernels.get(kernel).ok_or_else(|| missing(kernel));
        let functions = plan
            .kernels
            .iter()
            .map(find)
            .collect::<Result<Vec<MapFn>, InvalidPlan>>()?;
        Prepared::with(plan, functions, kernels)
    }

    /// Checks a plan whose kernels run on a device.
    ///
    /// # Errors
    ///
    /// [`InvalidPlan`] names the first violation.
    pub(crate) fn for_device(plan: Arc<Plan>) -> Result<Prepared, InvalidPlan> {
        Prepared::with(plan, Vec::new(), &KernelSet::default())
    }

    fn with(
        plan: Arc<Plan>,
        functions: Vec<MapFn>,
        kernels: &KernelSet,
    ) -> Result<Prepared, InvalidPlan> {
        let mut checker = Checker {
            plan: &plan,
            kernels,
            work_bytes: 0,
        };
        checker.tables()?;
        checker.thunks(&plan.init)?;
        checker.thunks(&plan.body)?;
        let work_bytes = checker.work_bytes;
        let operands = plan
            .kernels
            .iter()
            .map(|k| k.inputs.len() + k.outputs.len())
            .max()
            .unwrap_or(0);
        let scalars = plan
            .kernels
            .iter()
            .map(|k| k.scalars as usize)
            .max()
            .unwrap_or(0);
        let init_reads = |roles: &[Role]| any(&plan.init, &|thunk| reads(&plan, thunk, roles));
        let init_reads_views = init_reads(&[Role::Param, Role::Grad]);
        let init_reads_grad = init_reads(&[Role::Grad]);
        let maps_only = !any(&plan.body, &|thunk| !is_map(thunk));
        let kernels = kernels.clone();
        Ok(Prepared {
            plan,
            functions,
            kernels,
            work_bytes,
            operands,
            scalars,
            init_reads_views,
            init_reads_grad,
            maps_only,
        })
    }

    /// Bytes of a slot.
    pub(crate) fn slot_bytes(&self, slot: usize) -> u64 {
        let slot = &self.plan.slots[slot];
        slot.dims.iter().product::<u64>() * slot.dtype.size()
    }
}

/// How a plan's buffers look, before anything is known about them.
pub(crate) fn shape_of(plan: &Plan, buffer: Buffer) -> Option<(DType, &[u64])> {
    match buffer {
        Buffer::Slot(n) => plan
            .slots
            .get(n as usize)
            .map(|slot| (slot.dtype, slot.dims.as_slice())),
        Buffer::Temp(n) => plan
            .temps
            .get(n as usize)
            .map(|temp| (temp.dtype, temp.dims.as_slice())),
    }
}

/// f64 partial results per output that needs them: one per chunk, or one per chunk and column.
pub(crate) fn partials(kernel: &MapKernel, kind: OutputKind, rows: u64, cols: u64) -> u64 {
    let unit = if kernel.space == Space::Flat {
        CHUNK
    } else {
        ROW_CHUNK
    };
    match kind {
        OutputKind::All(_) => rows.div_ceil(unit),
        OutputKind::Rows(_) => rows.div_ceil(unit) * cols,
        OutputKind::Store | OutputKind::Cols(_) => 0,
    }
}

fn partial_bytes(kernel: &MapKernel, rows: u64, cols: u64) -> u64 {
    kernel
        .outputs
        .iter()
        .map(|output| padded(8 * partials(kernel, output.kind, rows, cols)))
        .sum()
}

fn any(thunks: &[Thunk], holds: &impl Fn(&Thunk) -> bool) -> bool {
    thunks.iter().any(|thunk| match thunk {
        Thunk::If {
            then, otherwise, ..
        } => any(then, holds) || any(otherwise, holds),
        Thunk::IfFlag {
            then, otherwise, ..
        } => holds(thunk) || any(then, holds) || any(otherwise, holds),
        other => holds(other),
    })
}

/// The dtypes of a plan's products.
pub(crate) fn product_dtypes(plan: &Plan) -> Vec<DType> {
    fn collect(thunks: &[Thunk], found: &mut Vec<DType>) {
        for thunk in thunks {
            match thunk {
                Thunk::Gemm(gemm) => found.push(gemm.dtype),
                Thunk::If {
                    then, otherwise, ..
                }
                | Thunk::IfFlag {
                    then, otherwise, ..
                } => {
                    collect(then, found);
                    collect(otherwise, found);
                }
                _ => {}
            }
        }
    }
    let mut found = Vec::new();
    collect(&plan.init, &mut found);
    collect(&plan.body, &mut found);
    found
}

fn is_map(thunk: &Thunk) -> bool {
    matches!(
        thunk,
        Thunk::Map { .. } | Thunk::Copy { .. } | Thunk::Fill { .. }
    )
}

/// Whether a thunk reads slots of those roles.
fn reads(plan: &Plan, thunk: &Thunk, roles: &[Role]) -> bool {
    let view = |buffer: Buffer| matches!(buffer, Buffer::Slot(n) if roles.contains(&plan.slots[n as usize].role));
    match thunk {
        Thunk::Map { inputs, .. } | Thunk::Call { inputs, .. } => {
            inputs.iter().any(|&input| view(input))
        }
        Thunk::Gemm(gemm) => [Some(gemm.a), Some(gemm.b), gemm.c]
            .into_iter()
            .flatten()
            .any(|m| view(m.buffer)),
        Thunk::Permute { x, .. }
        | Thunk::Argsort { x, .. }
        | Thunk::Diag { x, .. }
        | Thunk::Slice { x, .. }
        | Thunk::Limit { x, .. }
        | Thunk::Pack { x, .. }
        | Thunk::Unpack { x, .. }
        | Thunk::Paste { x, .. }
        | Thunk::Quantize { x, .. }
        | Thunk::Copy { x, .. } => view(*x),
        Thunk::Dequantize { codes, scales, .. } => view(*codes) || view(*scales),
        Thunk::Gather { x, index, .. } => view(*x) || view(*index),
        Thunk::IfFlag { flag, .. } => view(*flag),
        Thunk::Scatter { x, index, y, .. } => [x, index, y].into_iter().any(|&b| view(b)),
        Thunk::Fill { .. }
        | Thunk::Identity { .. }
        | Thunk::Random { .. }
        | Thunk::Triangle { .. }
        | Thunk::If { .. } => false,
    }
}

struct Checker<'a> {
    plan: &'a Plan,
    kernels: &'a KernelSet,
    work_bytes: u64,
}

impl Checker<'_> {
    /// Slots, temporaries and host program by themselves.
    fn tables(&self) -> Check {
        let roles = [Role::Param, Role::Grad];
        let begins = self.plan.slots.len() >= 2
            && self
                .plan
                .slots
                .iter()
                .zip(roles)
                .all(|(s, role)| s.role == role);
        ensure(begins, || {
            "slots do not begin with the parameter and its gradient".into()
        })?;
        let rest_is_state = self.plan.slots[2..]
            .iter()
            .all(|slot| matches!(slot.role, Role::State | Role::Input));
        ensure(rest_is_state, || {
            "a slot after the gradient is neither state nor an input".into()
        })?;
        for slot in &self.plan.slots {
            bytes(slot.dtype, &slot.dims)?;
        }
        for (n, temp) in self.plan.temps.iter().enumerate() {
            let end = bytes(temp.dtype, &temp.dims)?.checked_add(temp.offset);
            let inside =
                temp.offset % 64 == 0 && end.is_some_and(|end| end <= self.plan.arena_bytes);
            ensure(inside, || format!("temporary {n} is not inside the arena"))?;
        }
        self.host()
    }

    fn host(&self) -> Check {
        for (n, inst) in self.plan.host.iter().enumerate() {
            let operands = match *inst {
                HostInst::Hyper(_) | HostInst::Step | HostInst::Const(_) | HostInst::Chance(_) => {
                    vec![]
                }
                HostInst::Unary(_, a) => vec![a],
                HostInst::Binary(_, a, b) => vec![a, b],
                HostInst::Select(a, b, c) => vec![a, b, c],
            };
            let earlier = operands.iter().all(|&reg| (reg as usize) < n);
            ensure(earlier, || {
                format!("host instruction {n} reads a later register")
            })?;
        }
        Ok(())
    }

    fn thunks(&mut self, thunks: &[Thunk]) -> Check {
        thunks.iter().try_for_each(|thunk| self.thunk(thunk))
    }

    fn thunk(&mut self, thunk: &Thunk) -> Check {
        match thunk {
            Thunk::Map { .. } => self.map(thunk),
            Thunk::Gemm(gemm) => self.gemm(gemm),
            Thunk::Call {
                routine,
                inputs,
                outputs,
                on_failure,
            } => self.call(*routine, inputs, outputs, on_failure),
            Thunk::Permute { x, out, dims, axes } => self.permute(*x, *out, dims, axes),
            Thunk::Gather {
                x,
                index,
                out,
                axis,
            } => {
                self.same_dtype(*x, *out)?;
                self.indices(*index, axis)?;
                self.part(*x, *out, axis)?;
                self.written(*out, 0)
            }
            Thunk::Scatter {
                x,
                index,
                y,
                out,
                axis,
            } => {
                self.same_dtype(*x, *out)?;
                self.same_dtype(*y, *out)?;
                self.indices(*index, axis)?;
                self.part(*x, *y, axis)?;
                self.holds(*x, self.count(*out)?)?;
                self.written(*out, self.count(*x)?)
            }
            Thunk::Quantize {
                x,
                codes,
                scales,
                format,
            } => {
                self.written(*codes, 0)?;
                self.written(*scales, 0)?;
                self.codes(*codes, *scales, *x, format)
            }
            Thunk::Dequantize {
                codes,
                scales,
                out,
                format,
            } => {
                self.written(*out, 0)?;
                self.codes(*codes, *scales, *out, format)
            }
            Thunk::Pack { x, out, n, .. } => {
                self.same_dtype(*x, *out)?;
                let whole = square(*n)?;
                self.holds(*x, whole)?;
                self.written(*out, (whole + *n) / 2)
            }
            Thunk::Unpack { x, out, n, .. } => {
                self.same_dtype(*x, *out)?;
                let whole = square(*n)?;
                self.holds(*x, (whole + *n) / 2)?;
                self.written(*out, whole)
            }
            Thunk::Limit { x, out, kept, .. } => {
                ensure((*kept as usize) < self.plan.slots.len(), || {
                    "a limit is of no state".into()
                })?;
                self.floats(*x)?;
                self.same_dtype(*x, *out)?;
                self.holds(*x, 1)?;
                self.written(*out, 1)
            }
            Thunk::Slice { x, out, axis, from } => {
                self.same_dtype(*x, *out)?;
                self.inside(axis, *from)?;
                self.part(*x, *out, axis)?;
                self.written(*out, 0)
            }
            Thunk::Paste { x, out, axis, from } => {
                self.same_dtype(*x, *out)?;
                self.inside(axis, *from)?;
                self.part(*out, *x, axis)?;
                self.written(*out, 0)
            }
            Thunk::Argsort { x, out, n, .. } => {
                self.floats(*x)?;
                self.holds(*x, *n)?;
                let kept = self.count(*out)?;
                ensure(kept <= *n, || "more is kept of an order than it has".into())?;
                self.written(*out, kept)?;
                self.reserve(8 * *n);
                ensure(self.dtype(*out)? == DType::I64, || {
                    "an order is not stored as i64".into()
                })
            }
            Thunk::Diag { x, out, n } => {
                self.same_dtype(*x, *out)?;
                self.holds(*x, square(*n)?)?;
                self.written(*out, *n)
            }
            Thunk::Copy { x, out } => {
                self.same_dtype(*x, *out)?;
                self.written(*out, self.count(*x)?)?;
                self.holds(*x, self.count(*out)?)
            }
            Thunk::Fill { out, value } => {
                self.reg(*value)?;
                self.written(*out, 0)
            }
            Thunk::Triangle { out, n, .. } => {
                self.floats(*out)?;
                self.written(*out, square(*n)?)
            }
            Thunk::Random { out, .. } => {
                self.floats(*out)?;
                self.written(*out, 0)
            }
            Thunk::Identity { out, n, scale } => {
                self.reg(*scale)?;
                self.written(*out, square(*n)?)
            }
            Thunk::IfFlag {
                flag,
                then,
                otherwise,
            } => {
                self.floats(*flag)?;
                self.holds(*flag, 1)?;
                self.thunks(then)?;
                self.thunks(otherwise)
            }
            Thunk::If {
                cond,
                then,
                otherwise,
            } => {
                self.reg(*cond)?;
                self.thunks(then)?;
                self.thunks(otherwise)
            }
        }
    }

    fn map(&mut self, thunk: &Thunk) -> Check {
        let Thunk::Map {
            kernel,
            inputs,
            outputs,
            scalars,
            rows,
            cols,
        } = thunk
        else {
            return Ok(());
        };
        let Some(code) = self.plan.kernels.get(*kernel as usize) else {
            return broken(format!("kernel {kernel} does not exist"));
        };
        let counts = (code.inputs.len(), code.outputs.len(), code.scalars as usize);
        let given = (inputs.len(), outputs.len(), scalars.len());
        ensure(counts == given, || {
            format!("kernel {kernel} takes {counts:?} operands, not {given:?}")
        })?;
        ensure(code.space == Space::Grid || *cols == 1, || {
            "a flat kernel has columns".into()
        })?;
        scalars.iter().try_for_each(|&reg| self.reg(reg))?;
        let points = product_of(&[*rows, *cols])?;
        for (input, &buffer) in code.inputs.iter().zip(inputs) {
            let count = match input.access {
                Access::Full => points,
                Access::Row => *rows,
                Access::Col => *cols,
                Access::One => 1,
            };
            self.holds(buffer, count)?;
            ensure(self.dtype(buffer)? == input.dtype, || {
                format!("an input of kernel {kernel} has another dtype")
            })?;
        }
        for (output, &buffer) in code.outputs.iter().zip(outputs) {
            let count = match output.kind {
                OutputKind::Store => points,
                OutputKind::All(_) => 1,
                OutputKind::Cols(_) => *rows,
                OutputKind::Rows(_) => *cols,
            };
            self.written(buffer, count)?;
            ensure(self.dtype(buffer)? == output.dtype, || {
                format!("an output of kernel {kernel} has another dtype")
            })?;
        }
        self.reserve(partial_bytes(code, *rows, *cols));
        Ok(())
    }

    fn gemm(&mut self, gemm: &Gemm) -> Check {
        let float = matches!(gemm.dtype, DType::F32 | DType::F64 | DType::BF16);
        ensure(float, || format!("products of {} do not exist", gemm.dtype))?;
        [gemm.alpha, gemm.beta]
            .into_iter()
            .flatten()
            .try_for_each(|reg| self.reg(reg))?;
        ensure(!gemm.symmetric || gemm.m == gemm.n, || {
            "a symmetric product is not square".into()
        })?;
        ensure(gemm.out.col_stride == 1, || {
            "a product's columns are not adjacent".into()
        })?;
        let outputs = if gemm.sum_batch { 1 } else { gemm.batch };
        self.matrix(&gemm.a, gemm, [gemm.m, gemm.k, gemm.batch])?;
        self.matrix(&gemm.b, gemm, [gemm.k, gemm.n, gemm.batch])?;
        self.matrix(&gemm.out, gemm, [gemm.m, gemm.n, outputs])?;
        self.written(gemm.out.buffer, 0)?;
        if let Some(c) = &gemm.c {
            self.matrix(c, gemm, [gemm.m, gemm.n, outputs])?;
        }
        self.reserve(product::work_bytes(gemm, self.kernels.products(gemm.dtype)));
        Ok(())
    }

    /// The last entry of the last matrix lies inside the buffer.
    fn matrix(&self, matrix: &Matrix, gemm: &Gemm, [rows, cols, batch]: [u64; 3]) -> Check {
        ensure(self.dtype(matrix.buffer)? == gemm.dtype, || {
            "a factor has another dtype than its product".into()
        })?;
        if rows == 0 || cols == 0 || batch == 0 {
            return Ok(());
        }
        let steps = [
            (rows, matrix.row_stride),
            (cols, matrix.col_stride),
            (batch, matrix.batch_stride),
        ];
        let last = steps
            .iter()
            .try_fold(matrix.offset, |at, &(count, stride)| {
                (count - 1)
                    .checked_mul(stride)
                    .and_then(|far| at.checked_add(far))
            });
        match last.and_then(|last| last.checked_add(1)) {
            Some(count) => self.holds(matrix.buffer, count),
            None => broken("a matrix's last entry has no address"),
        }
    }

    fn call(
        &mut self,
        routine: Routine,
        inputs: &[Buffer],
        outputs: &[Option<Buffer>],
        policy: &OnFailure,
    ) -> Check {
        let [a, b] = [0, 1].map(|n| inputs.get(n).copied());
        let Some(a) = a else {
            return broken("a routine has no input");
        };
        let a = self.operand(a)?;
        let (m, n, least) = (a.rows, a.cols, a.rows.min(a.cols));
        let b = b.map(|b| self.operand(b)).transpose()?;
        let results = match routine {
            Routine::Eigh { .. } => [Some((n, 1)), Some((n, n)), None],
            Routine::Qr => [Some((m, least)), Some((least, n)), None],
            Routine::Svd { count } => [Some((m, count)), Some((count, 1)), Some((n, count))],
            Routine::Cholesky => [Some((n, n)), None, None],
            Routine::SolveTriangular { .. } => [b.map(|b| (b.rows, b.cols)), None, None],
        };
        let any_shape = matches!(routine, Routine::Qr | Routine::Svd { .. });
        ensure(any_shape || m == n, || {
            "a routine's matrix is not square".into()
        })?;
        let solves = matches!(routine, Routine::SolveTriangular { .. });
        ensure(inputs.len() == 1 + usize::from(solves), || {
            "a routine has the wrong number of inputs".into()
        })?;
        ensure(b.is_none_or(|b| b.rows == n), || {
            "the right side of a solve has other rows".into()
        })?;
        ensure(outputs.len() <= 3, || {
            "a routine has more than three results".into()
        })?;
        for (output, result) in outputs.iter().zip(results) {
            if let Some(buffer) = *output {
                let found = self.operand(buffer)?;
                let fits =
                    result.is_some_and(|(rows, cols)| (found.rows, found.cols) == (rows, cols));
                ensure(fits, || "a routine's result has another shape".into())?;
                self.written(buffer, 0)?;
            }
        }
        if let Some(keep) = policy.keep {
            let keep = self.operand(keep)?;
            let shape = |o: &Operand| (o.rows, o.cols, o.dtype);
            let operands = outputs
                .iter()
                .flatten()
                .map(|&b| self.operand(b))
                .collect::<Result<Vec<_>, _>>()?;
            ensure(operands.iter().any(|o| shape(o) == shape(&keep)), || {
                "no result has the shape of what is kept".into()
            })?;
        }
        self.reserve(routine::work_bytes(routine, &[Some(a), b], policy));
        Ok(())
    }

    fn operand(&self, buffer: Buffer) -> Result<Operand, InvalidPlan> {
        self.floats(buffer)?;
        match shape_of(self.plan, buffer) {
            Some((dtype, dims)) if dims.len() == 1 || dims.len() == 2 => {
                Ok(Operand::new(Pointer::NULL, dtype, dims))
            }
            _ => broken("a routine's operand is neither a vector nor a matrix"),
        }
    }

    fn permute(&self, x: Buffer, out: Buffer, dims: &[u64], axes: &[u32]) -> Check {
        self.same_dtype(x, out)?;
        let mut seen = [false; MAX_RANK];
        let valid = axes.len() == dims.len()
            && axes.len() <= MAX_RANK
            && axes.iter().all(|&a| {
                (a as usize) < dims.len() && !std::mem::replace(&mut seen[a as usize], true)
            });
        ensure(valid, || {
            format!("{axes:?} is not an order of {} axes", dims.len())
        })?;
        let count = product_of(dims)?;
        self.holds(x, count)?;
        self.written(out, count)
    }

    fn indices(&self, index: Buffer, axis: &Along) -> Check {
        ensure(self.dtype(index)? == DType::I64, || {
            "an index is not stored as i64".into()
        })?;
        self.holds(index, axis.count)
    }

    /// Codes, scales and numbers belong together.
    fn codes(&self, codes: Buffer, scales: Buffer, x: Buffer, format: &Format) -> Check {
        let types = (self.dtype(codes)?, self.dtype(scales)?, self.dtype(x)?);
        ensure(types == (DType::U8, DType::F32, DType::F32), || {
            "codes are not bytes of f32".into()
        })?;
        ensure(format.block > 0, || "a block has no elements".into())?;
        let count = self.count(x)?;
        self.holds(codes, count)?;
        self.holds(x, self.count(codes)?)?;
        self.holds(scales, format.scales(count))
    }

    /// Both tensors hold what the axis says.
    fn part(&self, whole: Buffer, part: Buffer, axis: &Along) -> Check {
        self.holds(whole, product_of(&axis.whole())?)?;
        self.holds(part, product_of(&axis.part())?)
    }

    fn inside(&self, axis: &Along, from: u64) -> Check {
        let end = from.checked_add(axis.count);
        ensure(end.is_some_and(|end| end <= axis.d), || {
            "a part is not inside its tensor".into()
        })
    }

    fn reserve(&mut self, bytes: u64) {
        self.work_bytes = self.work_bytes.max(bytes);
    }

    fn reg(&self, reg: Reg) -> Check {
        ensure((reg as usize) < self.plan.host.len(), || {
            format!("register {reg} does not exist")
        })
    }

    fn dtype(&self, buffer: Buffer) -> Result<DType, InvalidPlan> {
        shape_of(self.plan, buffer).map_or_else(
            || broken(format!("{buffer:?} does not exist")),
            |(dtype, _)| Ok(dtype),
        )
    }

    fn count(&self, buffer: Buffer) -> Result<u64, InvalidPlan> {
        match shape_of(self.plan, buffer) {
            Some((_, dims)) => product_of(dims),
            None => broken(format!("{buffer:?} does not exist")),
        }
    }

    fn holds(&self, buffer: Buffer, count: u64) -> Check {
        ensure(self.count(buffer)? >= count, || {
            format!("{buffer:?} holds fewer than {count} elements")
        })
    }

    fn written(&self, buffer: Buffer, count: u64) -> Check {
        self.holds(buffer, count)?;
        let given =
            matches!(buffer, Buffer::Slot(n) if self.plan.slots[n as usize].role.is_read_only());
        ensure(!given, || "the gradient or an input is written".into())
    }

    fn floats(&self, buffer: Buffer) -> Check {
        ensure(self.dtype(buffer)?.is_float(), || {
            format!("{buffer:?} holds no numbers")
        })
    }

    fn same_dtype(&self, x: Buffer, out: Buffer) -> Check {
        let (x, out) = (self.dtype(x)?, self.dtype(out)?);
        ensure(x == out, || format!("{x} elements are moved to {out} ones"))
    }
}

/// Bytes of a tensor, if they can be counted; no more than an allocation may have.
fn bytes(dtype: DType, dims: &[u64]) -> Result<u64, InvalidPlan> {
    let total = product_of(dims)?
        .checked_mul(dtype.size())
        .filter(|&total| total <= isize::MAX as u64);
    total.map_or_else(|| broken(format!("a tensor of {dims:?} is too large")), Ok)
}

fn product_of(dims: &[u64]) -> Result<u64, InvalidPlan> {
    let product = dims
        .iter()
        .try_fold(1u64, |product, &dim| product.checked_mul(dim));
    product.map_or_else(|| broken(format!("a tensor of {dims:?} is too large")), Ok)
}

fn square(n: u64) -> Result<u64, InvalidPlan> {
    product_of(&[n, n])
}
