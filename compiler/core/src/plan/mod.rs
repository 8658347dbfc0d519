//! The plan of one rule for one parameter shape: what a step does, as data.
//!
//! ```text
//! slots   %0 w f32[512, 512] param · %1 grad · %2 exp_avg state
//! host    r0 = hyper lr · r1 = step · r2 = pow r0, r1 …
//! step    map optc_map_… (%0, %1, %2) scalars (r2) -> (%0, %2)
//!         if r7 { call qr %3 -> %4 }
//! ```
//!
//! A plan is concrete: dimensions, statics and the set of modes are constants; hyperparameters and the step number are
//! not. The runtime executes it; `optc inspect` prints it; its cost is read off it. Buffers are slots (the parameter,
//! its gradient, its state) and temporaries at fixed offsets of one scratch arena.

pub mod eval;
mod print;

use crate::dtype::DType;
use crate::host_math;
use crate::kernel::{Fold, MapKernel};
use crate::packed::Packing;
use crate::quantized::Format;
use crate::random::{Distribution, Draw, Noise};
use std::sync::Arc;

/// A register of the host program; every register is an f64 (a bool is 0 or 1).
pub type Reg = u32;

/// What a step of one rule does to one parameter shape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The parameter (0), its gradient (1), then its state in declaration order.
    pub slots: Vec<Slot>,
    /// Scratch tensors.
    pub temps: Vec<Temp>,
    /// Bytes of scratch that one execution needs.
    pub arena_bytes: u64,
    /// Host scalars: evaluated in order, once per step, before the body.
    pub host: Vec<HostInst>,
    /// The distinct kernels.
    pub kernels: Vec<MapKernel>,
    /// Fills the state before the first step.
    pub init: Vec<Thunk>,
    /// One step.
    pub body: Vec<Thunk>,
    /// Host inputs that get a new value after the step, and the register that holds it.
    pub shared: Vec<(u32, Reg)>,
    /// Sums over parameters that the step reads: computed before it, in order.
    pub sums: Vec<Sum>,
}

/// What a parameter adds to a sum over all parameters of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Sum {
    /// The host input that the sum becomes.
    pub input: u32,
    /// Whether it is a sum, or the largest summand.
    pub fold: Fold,
    /// Writes the summand to its last slot, a scalar, and nothing to the others.
    pub plan: Arc<Plan>,
}

impl Plan {
    /// The kernels of the step and of its sums.
    pub fn all_kernels(&self) -> impl Iterator<Item = &MapKernel> {
        let sums = self.sums.iter().flat_map(|sum| &sum.plan.kernels);
        self.kernels.iter().chain(sums)
    }

    /// Shape of a buffer.
    pub fn dims(&self, buffer: Buffer) -> &[u64] {
        match buffer {
            Buffer::Slot(n) => &self.slots[n as usize].dims,
            Buffer::Temp(n) => &self.temps[n as usize].dims,
        }
    }

    /// Size of a buffer in bytes.
    pub fn bytes(&self, buffer: Buffer) -> u64 {
        let dtype = match buffer {
            Buffer::Slot(n) => self.slots[n as usize].dtype,
            Buffer::Temp(n) => self.temps[n as usize].dtype,
        };
        self.dims(buffer).iter().product::<u64>() * dtype.size()
    }
}

/// A tensor that outlives the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name: `w`, `grad`, `exp_avg`, `gram.0`.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// How it is stored.
    pub dtype: DType,
    /// Its shape; empty for a scalar.
    pub dims: Vec<u64>,
}

/// What a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The parameter: read and written.
    Param,
    /// Its gradient: read only.
    Grad,
    /// State: read and written.
    State,
    /// What a caller gives an entry: read only.
    Input,
}

impl Role {
    /// Whether nothing writes it.
    pub fn is_read_only(self) -> bool {
        matches!(self, Role::Grad | Role::Input)
    }
}

/// A scratch tensor; its life ends with the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temp {
    /// How it is stored.
    pub dtype: DType,
    /// Its shape.
    pub dims: Vec<u64>,
    /// Where it starts in the arena; a multiple of 64.
    pub offset: u64,
}

/// A tensor of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// An index into [`Plan::slots`].
    Slot(u32),
    /// An index into [`Plan::temps`].
    Temp(u32),
}

/// One host scalar; instruction `n` writes register `n`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HostInst {
    /// Host input `n`: the hyperparameters of the bound optimizer, then shared numbers and sums over parameters.
    Hyper(u32),
    /// The parameter's step number: 1 at its first step.
    Step,
    /// A constant.
    Const(f64),
    /// A random number in [0, 1), drawn by this call at this step.
    Chance(u32),
    /// One operand.
    Unary(HostUnary, Reg),
    /// Two operands.
    Binary(HostBinary, Reg, Reg),
    /// The second where the first is not 0, else the third.
    Select(Reg, Reg, Reg),
}

/// Host functions of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostUnary {
    /// `-x`
    Neg,
    /// Absolute value.
    Abs,
    /// Square root.
    Sqrt,
    /// e to the power.
    Exp,
    /// Natural logarithm.
    Log,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// 1 for 0, else 0.
    Not,
}

/// Host functions of two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HostBinary {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient.
    Div,
    /// Power.
    Pow,
    /// Remainder with the sign of the divisor.
    Mod,
    /// The angle of the point that has the second as `x`, the first as `y`.
    Atan2,
    /// Smaller.
    Min,
    /// Larger.
    Max,
    /// 1 if less.
    Lt,
    /// 1 if less or equal.
    Le,
    /// 1 if equal.
    Eq,
    /// 1 if both are not 0.
    And,
    /// 1 if either is not 0.
    Or,
}

/// A matrix inside a buffer, in elements; entry (i, j) of batch b is at
/// `offset + b * batch_stride + i * row_stride + j * col_stride`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// The tensor.
    pub buffer: Buffer,
    /// Of entry (0, 0) of batch 0.
    pub offset: u64,
    /// Between rows.
    pub row_stride: u64,
    /// Between columns.
    pub col_stride: u64,
    /// Between matrices; 0 when all use the same.
    pub batch_stride: u64,
}

/// `out[b] = alpha · a[b] · b[b] + beta · c[b]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemm {
    /// The storage type of `a`, `b`, `c` and `out`: `F32`, `F64` or `BF16` (products of bf16 add in f32, one rounding at the end).
    pub dtype: DType,
    /// m × k.
    pub a: Matrix,
    /// k × n.
    pub b: Matrix,
    /// m × n, added; may be `out` itself. Its `col_stride` is 1.
    pub c: Option<Matrix>,
    /// m × n; never overlaps `a` or `b`. Its `col_stride` is 1.
    pub out: Matrix,
    /// Rows of the result.
    pub m: u64,
    /// Columns of the result.
    pub n: u64,
    /// Length of the sums.
    pub k: u64,
    /// Matrices in the batch.
    pub batch: u64,
    /// One result for the whole batch: `out = alpha · Σ_b a[b] · b[b] + beta · c`.
    pub sum_batch: bool,
    /// The product's factor; 1 when absent.
    pub alpha: Option<Reg>,
    /// The factor of `c`; 1 when absent.
    pub beta: Option<Reg>,
    /// The result is known to be symmetric (m = n): computing one triangle and mirroring it is allowed. If `c` is
    /// given, it is symmetric too.
    pub symmetric: bool,
}

/// What to do when a factorization fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnFailure {
    /// Try once more in f64.
    pub retry_f64: bool,
    /// Take this tensor instead of the result; without it a failure is an error.
    pub keep: Option<Buffer>,
    /// The results are NaN, and the step goes on.
    pub nan: bool,
}

/// Some elements along one axis of a tensor that is seen as `[pre, d, post]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Along {
    /// Elements before the axis.
    pub pre: u64,
    /// Length of the axis.
    pub d: u64,
    /// Elements after it.
    pub post: u64,
    /// How many along the axis.
    pub count: u64,
}

impl Along {
    /// Shape of the whole tensor.
    pub fn whole(&self) -> [u64; 3] {
        [self.pre, self.d, self.post]
    }

    /// Shape of the chosen elements.
    pub fn part(&self) -> [u64; 3] {
        [self.pre, self.count, self.post]
    }
}

/// A library routine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routine {
    /// Symmetric `[n, n]` → values `[n]`, vectors `[n, n]` (columns).
    Eigh {
        /// Largest eigenvalue first.
        descending: bool,
    },
    /// `[m, n]` → Q `[m, min(m, n)]`, R `[min(m, n), n]`, by Householder reflections.
    Qr,
    /// `[m, n]` → U `[m, count]`, singular values `[count]`, V `[n, count]`, the largest first.
    Svd {
        /// How many singular values; zeros beyond min(m, n).
        count: u64,
    },
    /// SPD `[n, n]` → lower L with L L' = A.
    Cholesky,
    /// Triangular A `[n, n]`, B `[n, m]` → X with A X = B.
    SolveTriangular {
        /// A is upper triangular.
        upper: bool,
        /// Solve with A' instead.
        transposed: bool,
    },
}

/// One action of a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Thunk {
    /// Run a kernel over its whole index space. An output with a sum has its final value written (partials are added
    /// by whoever executes).
    Map {
        /// An index into [`Plan::kernels`].
        kernel: u32,
        /// One tensor per kernel input.
        inputs: Vec<Buffer>,
        /// One tensor per kernel output.
        outputs: Vec<Buffer>,
        /// One register per kernel scalar.
        scalars: Vec<Reg>,
        /// Flat: the number of elements. Grid: the number of rows.
        rows: u64,
        /// Flat: 1. Grid: the number of columns.
        cols: u64,
    },
    /// A matrix product.
    Gemm(Gemm),
    /// A factorization or a solve.
    Call {
        /// Which.
        routine: Routine,
        /// Its operands.
        inputs: Vec<Buffer>,
        /// Its results; `None` for one that nobody reads.
        outputs: Vec<Option<Buffer>>,
        /// What a failure means.
        on_failure: OnFailure,
    },
    /// `out` is `x` with its axes in another order: axis `a` of `out` is axis `axes[a]` of `x`.
    Permute {
        /// The tensor.
        x: Buffer,
        /// The result; never `x`.
        out: Buffer,
        /// Shape of `x`.
        dims: Vec<u64>,
        /// The order.
        axes: Vec<u32>,
    },
    /// `out[p, j, q] = x[p, index[j], q]`.
    Gather {
        /// The tensor.
        x: Buffer,
        /// Indices, `I64 [count]`.
        index: Buffer,
        /// The result; never `x`.
        out: Buffer,
        /// Which elements.
        axis: Along,
    },
    /// `out` is `x`, but `out[p, index[j], q] = y[p, j, q]`.
    Scatter {
        /// The tensor.
        x: Buffer,
        /// Indices, `I64 [count]`, each at most once.
        index: Buffer,
        /// `count` elements along the axis.
        y: Buffer,
        /// The result; neither `x` nor `y`.
        out: Buffer,
        /// Which elements.
        axis: Along,
    },
    /// `out[p, j, q] = x[p, from + j, q]`.
    Slice {
        /// The tensor.
        x: Buffer,
        /// `count` elements along the axis; never `x`.
        out: Buffer,
        /// Which elements.
        axis: Along,
        /// The first one.
        from: u64,
    },
    /// Keeps one half of an n × n matrix.
    Pack {
        /// n².
        x: Buffer,
        /// n (n + 1) / 2, row by row.
        out: Buffer,
        /// Rows.
        n: u64,
        /// Which half.
        packing: Packing,
    },
    /// The n × n matrix of one half.
    Unpack {
        /// n (n + 1) / 2, row by row.
        x: Buffer,
        /// n².
        out: Buffer,
        /// Rows.
        n: u64,
        /// Which half.
        packing: Packing,
    },
    /// Copies a scalar; an error if it is above a number.
    Limit {
        /// Failures in a row.
        x: Buffer,
        /// Receives it.
        out: Buffer,
        /// The largest that is no error.
        most: u32,
        /// The slot of the state that was kept.
        kept: u32,
    },
    /// Floats to codes, and a scale for each block.
    Quantize {
        /// `F32`.
        x: Buffer,
        /// `U8`, as many.
        codes: Buffer,
        /// `F32`, one for each block.
        scales: Buffer,
        /// How.
        format: Format,
    },
    /// Codes and scales to floats.
    Dequantize {
        /// `U8`.
        codes: Buffer,
        /// `F32`, one for each block.
        scales: Buffer,
        /// `F32`, as many as codes.
        out: Buffer,
        /// How.
        format: Format,
    },
    /// `out[p, from + j, q] = x[p, j, q]`; the others stay.
    Paste {
        /// `count` elements along the axis.
        x: Buffer,
        /// The tensor; never `x`.
        out: Buffer,
        /// Which elements.
        axis: Along,
        /// The first one.
        from: u64,
    },
    /// Stable order of a vector, as indices.
    Argsort {
        /// `[n]`.
        x: Buffer,
        /// `I64`: as many of the first ones as it holds.
        out: Buffer,
        /// Length of `x`.
        n: u64,
        /// Largest first.
        descending: bool,
    },
    /// The diagonal of an `[n, n]` matrix, as `[n]`.
    Diag {
        /// `[n, n]`.
        x: Buffer,
        /// `[n]`.
        out: Buffer,
        /// Order.
        n: u64,
    },
    /// The same elements in another buffer of the same dtype.
    Copy {
        /// From.
        x: Buffer,
        /// To.
        out: Buffer,
    },
    /// Every element set to a host scalar.
    Fill {
        /// The tensor.
        out: Buffer,
        /// The value.
        value: Reg,
    },
    /// Random numbers, drawn by call `site` at this step for this parameter.
    Random {
        /// The tensor.
        out: Buffer,
        /// How they are distributed.
        distribution: Distribution,
        /// Which call.
        site: u32,
    },
    /// Ones on the diagonal of an `[n, n]` matrix and on one side of it, 0 on the other.
    Triangle {
        /// The matrix.
        out: Buffer,
        /// Order.
        n: u64,
        /// The ones are above the diagonal.
        upper: bool,
    },
    /// `scale` on the diagonal of an `[n, n]` matrix, 0 elsewhere.
    Identity {
        /// The matrix.
        out: Buffer,
        /// Order.
        n: u64,
        /// The diagonal.
        scale: Reg,
    },
    /// One of two lists, by a scalar tensor.
    IfFlag {
        /// Not 0: the first.
        flag: Buffer,
        /// When it holds.
        then: Vec<Thunk>,
        /// Otherwise.
        otherwise: Vec<Thunk>,
    },
    /// One of two lists, by a host scalar.
    If {
        /// Not 0: the first.
        cond: Reg,
        /// When it holds.
        then: Vec<Thunk>,
        /// Otherwise.
        otherwise: Vec<Thunk>,
    },
}

/// Evaluates a plan's host program: `regs[n]` receives the value of instruction `n`.
///
/// `inputs` holds the current hyperparameters, shared numbers and sums, `step` the parameter's step number. Nothing is allocated.
pub fn evaluate_host(
    host: &[HostInst],
    inputs: &[f64],
    step: f64,
    noise: &Noise,
    regs: &mut [f64],
) {
    for (n, inst) in host.iter().enumerate() {
        regs[n] = match *inst {
            HostInst::Hyper(n) => inputs[n as usize],
            HostInst::Step => step,
            HostInst::Const(x) => x,
            HostInst::Chance(site) => noise.chance(Draw {
                param: "",
                step: step as u64,
                site,
            }),
            HostInst::Unary(op, a) => op.apply(regs[a as usize]),
            HostInst::Binary(op, a, b) => op.apply(regs[a as usize], regs[b as usize]),
            HostInst::Select(c, a, b) => regs[if regs[c as usize] != 0.0 { a } else { b } as usize],
        };
    }
}

impl HostUnary {
    /// The function's value.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            HostUnary::Neg => -x,
            HostUnary::Abs => x.abs(),
            HostUnary::Sqrt => x.sqrt(),
            HostUnary::Exp => x.exp(),
            HostUnary::Log => x.ln(),
            HostUnary::Sin => host_math::sin(x),
            HostUnary::Cos => host_math::cos(x),
            HostUnary::Floor => x.floor(),
            HostUnary::Ceil => x.ceil(),
            HostUnary::Not => f64::from(u8::from(x == 0.0)),
        }
    }
}

impl HostBinary {
    /// The function's value.
    pub fn apply(self, x: f64, y: f64) -> f64 {
        let truth = |b: bool| f64::from(u8::from(b));
        match self {
            HostBinary::Add => x + y,
            HostBinary::Sub => x - y,
            HostBinary::Mul => x * y,
            HostBinary::Div => x / y,
            HostBinary::Pow => x.powf(y),
            HostBinary::Mod => x - y * (x / y).floor(),
            HostBinary::Atan2 => host_math::atan2(x, y),
            HostBinary::Min | HostBinary::Max if x.is_nan() || y.is_nan() => f64::NAN,
            HostBinary::Min => x.min(y),
            HostBinary::Max => x.max(y),
            HostBinary::Lt => truth(x < y),
            HostBinary::Le => truth(x <= y),
            HostBinary::Eq => truth(x == y),
            HostBinary::And => truth(x != 0.0 && y != 0.0),
            HostBinary::Or => truth(x != 0.0 || y != 0.0),
        }
    }
}
