//! Tensor SSA of one rule, specialised for one parameter shape.
//!
//! ```text
//! function {
//!   slot 0 w f32[512, 64] param
//!   slot 1 grad f32[512, 64] grad
//!   slot 2 exp_avg f32[512, 64] state
//!   body {
//!     v0 = slot 0 : f32[512, 64]
//!     v4 = lerp v2, v1, v3 : f32[512, 64]
//!     if v9 { … yield v4 } else { … yield v2 } -> v10
//!   } yield v7, v4
//! }
//! ```
//!
//! # Meaning
//!
//! The IR is functional: a slot op is the slot's value before the step, and what the body yields becomes the new value
//! of the parameter and of every state, in slot order without the gradient. Host values are f64 scalars computed from
//! hyperparameters and the step number; they have no shape and, entering a tensor operation, are rounded to its compute
//! type.
//!
//! Element-wise arithmetic is strict: each operation computes in its compute type (f32 for the half types) and rounds
//! once to the result's type. Operands broadcast over axes of length 1, and tensors of one element over anything.
//! `min` and `max` propagate NaN; comparisons with NaN are false, except `ne`. Sums add in f64 in the order given in
//! [`crate::kernel`], which also says what a maximum is. Products and factorizations are exact up to the bound of their routine: their order of
//! summation is free, so rewrites may reassociate *them*, and nothing else.
//!
//! Values have no aliasing; which buffers hold them is the plan's concern.

mod build;
pub mod facts;
mod print;
mod verify;

pub use build::Builder;
pub use verify::verify;

use crate::dtype::DType;
use crate::hir::Fact;
use crate::kernel::{BinaryOp, CompareOp, Fold, LogicOp, MapKernel, UnaryOp};
use crate::packed::Packing;
use crate::plan::{HostBinary, HostUnary, Role};
use crate::quantized::Format;
use crate::random::Distribution;
use cranelift_entity::{PrimaryMap, entity_impl};

/// A value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// An operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Op(u32);
entity_impl!(Op, "op");

/// A list of operations with results.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(u32);
entity_impl!(Region, "region");

/// One rule for one parameter shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// The parameter (0), its gradient (1), then its state.
    pub slots: Vec<Slot>,
    /// All operations.
    pub ops: PrimaryMap<Op, OpData>,
    /// All values.
    pub values: PrimaryMap<Value, ValueData>,
    /// All regions.
    pub regions: PrimaryMap<Region, RegionData>,
    /// Makes the first value of each state: yields one value per state slot. Reads the parameter's slot only.
    pub init: Region,
    /// One step: yields the new value of the parameter, then of each state, then of each shared number.
    pub body: Region,
    /// Which host inputs the shared numbers that the body yields are.
    pub shared: Vec<u32>,
    /// What the parameter adds to the sums over parameters that the body reads, in order.
    pub sums: Vec<Summand>,
}

/// What one parameter adds to a sum over parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Summand {
    /// The host input that the sum becomes.
    pub input: u32,
    /// Whether it is a sum, or the largest summand.
    pub fold: Fold,
    /// Its last slot, a scalar, receives the summand; it leaves all others as they are.
    pub function: Function,
}

/// A tensor that outlives the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its type.
    pub ty: TensorType,
    /// The declared fact.
    pub fact: Fact,
}

/// What an operation does and makes.
#[derive(Debug, Clone, PartialEq)]
pub struct OpData {
    /// What it does.
    pub kind: OpKind,
    /// What it makes.
    pub results: Vec<Value>,
}

/// A value's type and origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// The operation that makes it.
    pub op: Op,
    /// Which of that operation's results it is.
    pub index: u32,
}

/// Operations in order, and what they yield.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegionData {
    /// In order.
    pub ops: Vec<Op>,
    /// The region's results.
    pub results: Vec<Value>,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// An f64 scalar on the host; a bool is 0 or 1.
    Host,
    /// A tensor.
    Tensor(TensorType),
    /// Truth values, one per element; lives only between element-wise operations.
    Mask(Vec<u64>),
}

/// The type of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// How it is stored.
    pub dtype: DType,
    /// Its shape; empty for a scalar.
    pub dims: Vec<u64>,
}

impl TensorType {
    /// Number of elements.
    pub fn numel(&self) -> u64 {
        numel(&self.dims)
    }
}

/// The number of elements; of more than there are numbers for, the largest.
pub fn numel(dims: &[u64]) -> u64 {
    match dims.contains(&0) {
        true => 0,
        false => dims.iter().fold(1, |count, &d| count.saturating_mul(d)),
    }
}

/// Elements of the largest tensor that a rule may make.
pub const LARGEST_TENSOR: u64 = 1 << 40;

/// Over which axes a reduction goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// All axes: a scalar.
    All,
    /// Axes from this one on: the axes before it remain.
    From(usize),
    /// Axes before this one: the axes from it on remain.
    Before(usize),
}

/// Element-wise functions that are expanded into primitive instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Math {
    /// e to the power.
    Exp,
    /// Natural logarithm.
    Log,
    /// Hyperbolic tangent.
    Tanh,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

/// `alpha · op(a) op(b) + beta · c`, on the last two axes; axes before them are a stack, equal in all operands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Product {
    /// Left operand.
    pub a: Value,
    /// The last two axes of `a` are exchanged.
    pub ta: bool,
    /// Right operand.
    pub b: Value,
    /// The last two axes of `b` are exchanged.
    pub tb: bool,
    /// The product's factor (host); 1 when absent.
    pub alpha: Option<Value>,
    /// An added tensor and its factor (host; 1 when absent).
    pub added: Option<(Value, Option<Value>)>,
}

/// What an operation does. Operands called host are [`Type::Host`]; others are tensors.
#[derive(Debug, Clone, PartialEq)]
pub enum OpKind {
    /// Host: input `n` of the optimizer: its hyperparameters, then shared numbers and sums over parameters.
    Hyper(u32),
    /// Host: the step number.
    Step,
    /// Host: a constant.
    Const(f64),
    /// Host → host.
    HostUnary(HostUnary, Value),
    /// Host, host → host.
    HostBinary(HostBinary, Value, Value),
    /// Host: a random number in [0, 1), drawn by this call at this step.
    Chance(u32),
    /// Host, host, host → host.
    HostSelect(Value, Value, Value),

    /// A slot's value before the step.
    Slot(u32),
    /// A tensor whose elements are a host scalar.
    Fill(Value),
    /// A host scalar on the diagonal.
    Identity(Value),
    /// Random numbers, drawn by this call at this step for this parameter.
    Random(Distribution, u32),
    /// A square matrix with ones on the diagonal and above it, or on the diagonal and below it; zeros elsewhere.
    Triangle {
        /// Above.
        upper: bool,
    },
    /// Another dtype.
    Cast(Value),
    /// Element by element.
    Unary(UnaryOp, Value),
    /// Element by element; one operand may be host.
    Binary(BinaryOp, Value, Value),
    /// Element by element, expanded.
    Math(Math, Value),
    /// Element by element: tensor to a host power, expanded.
    Pow(Value, Value),
    /// Element by element: the angle of the point (second, first), expanded; one operand may be host.
    Atan2(Value, Value),
    /// An `f32` tensor rounded to the half type of the result, by noise in [0, 1): [`DType::round_stochastic`].
    Stochastic(Value, Value),
    /// `a + weight (b − a)`; the weight is host or a tensor.
    Lerp(Value, Value, Value),
    /// Tensor or host, tensor or host → mask.
    Compare(CompareOp, Value, Value),
    /// Mask, mask → mask.
    Logic(LogicOp, Value, Value),
    /// Mask → mask.
    Not(Value),
    /// Mask (or host), then tensor or host twice.
    Select(Value, Value, Value),
    /// A sum or a maximum.
    Reduce(Fold, Value, Reduce),
    /// Several of the above in one pass; results in the order of the kernel's outputs.
    Fused(Box<Fused>),

    /// The same elements in another shape.
    Reshape(Value),
    /// Axis `a` of the result is axis `axes[a]` of the operand.
    Permute(Value, Vec<u32>),
    /// The diagonal of a matrix.
    Diag(Value),
    /// Stable order of a vector, as indices; as many of the first ones as the result has.
    Argsort {
        /// `[n]`.
        x: Value,
        /// Largest first.
        descending: bool,
    },
    /// The elements along one axis that an index vector names, in its order.
    Gather {
        /// The tensor.
        x: Value,
        /// Which axis.
        axis: u32,
        /// `i64 [n]`; the result has `n` elements along the axis.
        index: Value,
    },
    /// `x`, with the elements along one axis that an index vector names replaced.
    Scatter {
        /// The tensor.
        x: Value,
        /// Which axis.
        axis: u32,
        /// `i64 [n]`, each index at most once.
        index: Value,
        /// What they become: `x` with `n` elements along the axis.
        y: Value,
    },
    /// Elements along one axis that follow each other; as many as the result has.
    Slice {
        /// The tensor.
        x: Value,
        /// Which axis.
        axis: u32,
        /// The first one.
        from: u64,
    },
    /// A square matrix → the half that is stored.
    Pack {
        /// `[n, n]`.
        x: Value,
        /// Which half.
        packing: Packing,
    },
    /// The half that is stored → the square matrix.
    Unpack {
        /// `[n (n + 1) / 2]`.
        x: Value,
        /// Which half.
        packing: Packing,
    },
    /// Floats → codes, and a scale for each block of the elements in order.
    Quantize {
        /// `f32`.
        x: Value,
        /// How.
        format: Format,
    },
    /// Codes and scales → `f32`.
    Dequantize {
        /// `u8`.
        codes: Value,
        /// `f32`, one for each block.
        scales: Value,
        /// How.
        format: Format,
    },
    /// Tensors one after the other along one axis; at least one.
    Concat {
        /// In order.
        parts: Vec<Value>,
        /// Which axis.
        axis: u32,
    },

    /// A matrix product.
    Product(Product),
    /// Mode product: axis `mode` of `x` contracted with the rows of `q` (its columns if transposed).
    Contract {
        /// The tensor.
        x: Value,
        /// `[d, d]`.
        q: Value,
        /// Which axis.
        mode: u32,
        /// Contract with the columns of `q`: `x ×_mode q`; otherwise `x ×_mode q'`.
        transposed: bool,
    },
    /// `alpha · X_(mode) X_(mode)' + beta · c`, X_(mode) having the axis as rows.
    Gram {
        /// The tensor.
        x: Value,
        /// Which axis.
        mode: u32,
        /// The Gram matrix' factor (host); 1 when absent.
        alpha: Option<Value>,
        /// An added symmetric matrix and its factor (host; 1 when absent).
        added: Option<(Value, Option<Value>)>,
    },
    /// Symmetric → values, vectors.
    Eigh {
        /// `[n, n]`.
        x: Value,
        /// Largest eigenvalue first.
        descending: bool,
        /// What a failure means.
        on_failure: OnFailure,
    },
    /// `[m, n]` → Q, R.
    Qr {
        /// `[m, n]`.
        x: Value,
        /// What a failure means.
        on_failure: OnFailure,
    },
    /// `[m, n]` → U `[m, k]`, singular values `[k]`, V `[n, k]`, the largest first; `k` as its results say,
    /// with zeros beyond min(m, n).
    Svd {
        /// `[m, n]`.
        x: Value,
        /// What a failure means.
        on_failure: OnFailure,
    },
    /// SPD → lower factor.
    Cholesky {
        /// `[n, n]`.
        x: Value,
        /// What a failure means.
        on_failure: OnFailure,
    },
    /// Triangular solve.
    SolveTriangular {
        /// Triangular `[n, n]`.
        a: Value,
        /// `[n, m]`.
        b: Value,
        /// `a` is upper triangular.
        upper: bool,
        /// What a failure means.
        on_failure: OnFailure,
    },

    /// A scalar, while it is not above a number; then the step is an error.
    Limit {
        /// `f32 []`: failures in a row.
        x: Value,
        /// The largest that is none.
        most: u32,
        /// The state that was kept, for the error.
        kept: u32,
    },

    /// One of two regions, by a host value or a scalar tensor; results are what the region yields. Under a tensor there
    /// are no host results.
    If {
        /// Not 0: the first.
        cond: Value,
        /// When it holds.
        then: Region,
        /// Otherwise.
        otherwise: Region,
    },
}

/// What to do when a factorization fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnFailure {
    /// Try once more in f64.
    pub retry_f64: bool,
    /// Take this value as the result that may be kept (`eigh`: vectors, `qr`: Q).
    pub keep: Option<Value>,
    /// The results are NaN, and the step goes on.
    pub nan: bool,
}

/// A map kernel with its operands.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused {
    /// The kernel.
    pub kernel: MapKernel,
    /// One tensor per kernel input.
    pub inputs: Vec<Value>,
    /// One host value per kernel scalar.
    pub scalars: Vec<Value>,
    /// Flat: elements. Grid: rows.
    pub rows: u64,
    /// Flat: 1. Grid: columns.
    pub cols: u64,
}

impl Function {
    /// The type of a value.
    pub fn ty(&self, value: Value) -> &Type {
        &self.values[value].ty
    }

    /// The tensor type of a value that is a tensor.
    pub fn tensor(&self, value: Value) -> Option<&TensorType> {
        match self.ty(value) {
            Type::Tensor(ty) => Some(ty),
            Type::Host | Type::Mask(_) => None,
        }
    }

    /// The shape of a tensor or mask; empty for a host value.
    pub fn dims(&self, value: Value) -> &[u64] {
        match self.ty(value) {
            Type::Host => &[],
            Type::Tensor(ty) => &ty.dims,
            Type::Mask(dims) => dims,
        }
    }

    /// Whether a value is a host scalar.
    pub fn is_host(&self, value: Value) -> bool {
        *self.ty(value) == Type::Host
    }

    /// The operation that makes a value.
    pub fn def(&self, value: Value) -> &OpKind {
        &self.ops[self.values[value].op].kind
    }

    /// The value of a host constant.
    pub fn constant(&self, value: Value) -> Option<f64> {
        match self.def(value) {
            OpKind::Const(x) => Some(*x),
            _ => None,
        }
    }

    /// The type of a matrix product.
    pub fn product_type(&self, product: &Product) -> TensorType {
        let (a, b) = (self.dims(product.a), self.dims(product.b));
        let rank = a.len();
        let rows = a[if product.ta { rank - 1 } else { rank - 2 }];
        let cols = b[if product.tb { b.len() - 2 } else { b.len() - 1 }];
        let dtype = self.tensor(product.a).map_or(DType::F64, |ty| ty.dtype);
        TensorType {
            dtype,
            dims: [&a[..rank - 2], &[rows, cols]].concat(),
        }
    }

    /// Calls `f` on every operation, outer before inner, in order; `init` first.
    pub fn for_each_op(&self, mut f: impl FnMut(Op)) {
        for region in [self.init, self.body] {
            self.visit_region(region, &mut f);
        }
    }

    fn visit_region(&self, region: Region, f: &mut impl FnMut(Op)) {
        for &op in &self.regions[region].ops {
            f(op);
            if let OpKind::If {
                then, otherwise, ..
            } = self.ops[op].kind
            {
                self.visit_region(then, f);
                self.visit_region(otherwise, f);
            }
        }
    }
}

impl OpKind {
    /// The operands, in order. Regions of an `if` are not looked into.
    pub fn operands(&self) -> Vec<Value> {
        let mut found = Vec::new();
        self.each_operand(|value| found.push(value));
        found
    }

    /// Calls `f` with every operand, in order.
    pub fn each_operand(&self, mut f: impl FnMut(Value)) {
        each_operand(self, &mut |value| f(*value));
    }

    /// Replaces every operand.
    pub fn replace_operands(&mut self, mut f: impl FnMut(Value) -> Value) {
        each_operand_mut(self, &mut |value| *value = f(*value));
    }

    /// The operation with every operand replaced.
    pub fn map_operands(mut self, f: impl FnMut(Value) -> Value) -> OpKind {
        self.replace_operands(f);
        self
    }

    /// Element by element over its result's shape: may join a kernel.
    pub fn is_map(&self) -> bool {
        matches!(
            self,
            OpKind::Fill(_)
                | OpKind::Cast(_)
                | OpKind::Unary(..)
                | OpKind::Binary(..)
                | OpKind::Math(..)
                | OpKind::Pow(..)
                | OpKind::Atan2(..)
                | OpKind::Stochastic(..)
                | OpKind::Lerp(..)
                | OpKind::Compare(..)
                | OpKind::Logic(..)
                | OpKind::Not(_)
                | OpKind::Select(..)
        )
    }

    /// A factorization or a solve.
    pub fn is_call(&self) -> bool {
        matches!(
            self,
            OpKind::Eigh { .. }
                | OpKind::Qr { .. }
                | OpKind::Svd { .. }
                | OpKind::Cholesky { .. }
                | OpKind::SolveTriangular { .. }
        )
    }

    /// Computed on the host.
    pub fn is_host(&self) -> bool {
        matches!(
            self,
            OpKind::Hyper(_)
                | OpKind::Step
                | OpKind::Const(_)
                | OpKind::Chance(_)
                | OpKind::HostUnary(..)
                | OpKind::HostBinary(..)
                | OpKind::HostSelect(..)
        )
    }
}

/// The operands of an operation, to read or to replace.
macro_rules! each_operand {
    ($name:ident, $kind:ty, $value:ty, $iter:ident) => {
        fn $name(kind: $kind, f: &mut impl FnMut($value)) {
            match kind {
                OpKind::Hyper(_)
                | OpKind::Step
                | OpKind::Const(_)
                | OpKind::Chance(_)
                | OpKind::Random(..)
                | OpKind::Triangle { .. }
                | OpKind::Slot(_) => {}
                OpKind::HostUnary(_, a)
                | OpKind::Fill(a)
                | OpKind::Identity(a)
                | OpKind::Cast(a)
                | OpKind::Unary(_, a)
                | OpKind::Math(_, a)
                | OpKind::Not(a)
                | OpKind::Reduce(_, a, _)
                | OpKind::Reshape(a)
                | OpKind::Permute(a, _)
                | OpKind::Diag(a)
                | OpKind::Argsort { x: a, .. }
                | OpKind::Slice { x: a, .. }
                | OpKind::Quantize { x: a, .. }
                | OpKind::Limit { x: a, .. }
                | OpKind::Pack { x: a, .. }
                | OpKind::Unpack { x: a, .. }
                | OpKind::If { cond: a, .. } => f(a),
                OpKind::HostBinary(_, a, b)
                | OpKind::Binary(_, a, b)
                | OpKind::Pow(a, b)
                | OpKind::Atan2(a, b)
                | OpKind::Stochastic(a, b)
                | OpKind::Compare(_, a, b)
                | OpKind::Logic(_, a, b)
                | OpKind::Gather { x: a, index: b, .. }
                | OpKind::Dequantize {
                    codes: a,
                    scales: b,
                    ..
                }
                | OpKind::Contract { x: a, q: b, .. } => {
                    f(a);
                    f(b);
                }
                OpKind::SolveTriangular {
                    a, b, on_failure, ..
                } => {
                    f(a);
                    f(b);
                    on_failure.keep.$iter().for_each(f);
                }
                OpKind::Concat { parts, .. } => parts.$iter().for_each(f),
                OpKind::HostSelect(a, b, c)
                | OpKind::Lerp(a, b, c)
                | OpKind::Select(a, b, c)
                | OpKind::Scatter {
                    x: a,
                    index: b,
                    y: c,
                    ..
                } => {
                    f(a);
                    f(b);
                    f(c);
                }
                OpKind::Fused(fused) => {
                    fused.inputs.$iter().for_each(&mut *f);
                    fused.scalars.$iter().for_each(f);
                }
                OpKind::Product(Product {
                    a, b, alpha, added, ..
                }) => {
                    f(a);
                    f(b);
                    alpha.$iter().for_each(&mut *f);
                    each_operand!(@added added, $iter, f);
                }
                OpKind::Gram {
                    x, alpha, added, ..
                } => {
                    f(x);
                    alpha.$iter().for_each(&mut *f);
                    each_operand!(@added added, $iter, f);
                }
                OpKind::Eigh { x, on_failure, .. }
                | OpKind::Qr { x, on_failure }
                | OpKind::Svd { x, on_failure }
                | OpKind::Cholesky { x, on_failure } => {
                    f(x);
                    on_failure.keep.$iter().for_each(f);
                }
            }
        }
    };
    (@added $added:ident, $iter:ident, $f:ident) => {
        if let Some((c, beta)) = $added {
            $f(c);
            beta.$iter().for_each($f);
        }
    };
}

each_operand!(each_operand, &OpKind, &Value, iter);
each_operand!(each_operand_mut, &mut OpKind, &mut Value, iter_mut);
