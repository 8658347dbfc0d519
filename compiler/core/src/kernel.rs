//! Map kernels: one pass over an index space, any number of inputs and outputs, reductions included.
//!
//! ```text
//! map flat f32 (%0: f32 full, %1: f32 full) scalars (s0)
//!   v0 = load %0
//!   v1 = load %1
//!   v2 = scalar s0
//!   v3 = mul v2, v1
//!   v4 = sub v0, v3
//!   store v4 -> f32
//! ```
//!
//! A kernel knows no dimensions: they are arguments. Its text form is canonical, and the hash of that text is its
//! name, so equal work met in two rules is compiled once and an artifact's kernels are found by content.
//!
//! # Meaning
//!
//! All arithmetic is strict IEEE in the kernel's compute type: no contraction, no reassociation, correctly rounded
//! division and square root. A load converts from the stored type (exact for the half types, one rounding from f64
//! to f32); a store rounds once, to nearest, ties to even. `min` and `max` propagate NaN, and order −0 below +0.
//! Comparisons with NaN are false, except `ne`. A NaN result may have any payload.
//!
//! Sums add in f64. Along a run of elements, element `e` of the run goes to lane `e mod 16` in order; the 16
//! lanes are then added pairwise: lane `j` and `j + 8`, then `j + 4`, `j + 2`, `j + 1`. Runs and partial sums:
//!
//! | output | space | run | where the f64 partial goes | final value |
//! |---|---|---|---|---|
//! | sum of all | flat | elements `[4096 c, 4096 (c+1))` | `partial[c]` | partials added in order of `c` |
//! | sum of all | grid | each row; the row sums of rows `[64 c, 64 (c+1))` added in order | `partial[c]` | the same |
//! | sum along columns (one value per row) | grid | each row | none: the row sum is rounded and stored at `out[row]` | |
//! | sum along rows (one value per column) | grid | rows `[64 c, 64 (c+1))`, added in order per column | `partial[c * cols + col]` | partials added in order of `c` |
//!
//! A sum starts at +0. Final values are rounded once to the output's type; the runtime (and the interpreter) adds the
//! partials. Nothing here depends on the number of threads.
//!
//! A maximum has the same partials, with [`BinaryOp::Max`] of f64 in place of the addition and −∞ in place of +0; its
//! value does not depend on the order.
//!
//! # Calling convention
//!
//! ```c
//! void kernel(void *const *operands,    // inputs in order, then outputs in order
//!             const double *scalars,    // converted to the compute type on entry; a bool is 0 or 1
//!             const uint64_t *dims,     // flat: [n]; grid: [rows, cols]
//!             uint64_t begin, uint64_t end);
//! ```
//!
//! Flat: elements `[begin, end)`, `begin` a multiple of 4096. Grid: rows `[begin, end)`, `begin` a multiple of 64.
//! All tensors are contiguous, row-major, aligned to their element only. A full output may be exactly a full input
//! (same pointer): an element is loaded before it is stored. Other overlaps do not occur. An empty range is allowed.

use crate::dtype::DType;
use std::fmt;

/// Elements per partial sum of a flat kernel.
pub const CHUNK: u64 = 4096;
/// Rows per partial sum of a grid kernel.
pub const ROW_CHUNK: u64 = 64;
/// Lanes of a running sum.
pub const LANES: usize = 16;

/// A value of the kernel's body: the index of the instruction that makes it.
pub type Val = u32;

/// The shape of the index space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// One run of elements.
    Flat,
    /// Rows and columns, row-major.
    Grid,
}

/// Which element of an operand belongs to a point of the index space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// One element per point.
    Full,
    /// One element per row (grid only).
    Row,
    /// One element per column (grid only).
    Col,
    /// One element in all.
    One,
}

/// A tensor that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Input {
    /// How it is stored; never `I64`.
    pub dtype: DType,
    /// How it is indexed.
    pub access: Access,
}

/// A tensor that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Output {
    /// The stored or reduced value; a float.
    pub value: Val,
    /// How it is stored; never `I64`.
    pub dtype: DType,
    /// Stored as it is, or reduced first.
    pub kind: OutputKind,
}

/// What happens to an output's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// Stored at every point.
    Store,
    /// Reduced over all points.
    All(Fold),
    /// Reduced along the columns of each row: one value per row (grid only).
    Cols(Fold),
    /// Reduced along the rows of each column: one value per column (grid only).
    Rows(Fold),
}

/// How many values become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fold {
    /// Their sum; 0 of none.
    Sum,
    /// The largest; NaN if any is, −∞ of none.
    Max,
}

impl Fold {
    /// Both, in the order in which tables list them.
    pub const BOTH: [Fold; 2] = [Fold::Sum, Fold::Max];

    /// What it makes of no value.
    pub fn of_none(self) -> f64 {
        match self {
            Fold::Sum => 0.0,
            Fold::Max => f64::NEG_INFINITY,
        }
    }

    /// What it makes of two values.
    pub fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Fold::Sum => a + b,
            Fold::Max if a.is_nan() || b.is_nan() => f64::NAN,
            Fold::Max if a > b || (a == b && a.is_sign_positive()) => a,
            Fold::Max => b,
        }
    }

    /// What it makes of all of them, in order.
    pub fn of_all(self, values: impl IntoIterator<Item = f64>) -> f64 {
        values
            .into_iter()
            .fold(self.of_none(), |a, b| self.of(a, b))
    }
}

impl OutputKind {
    /// How its values are reduced; `None` where they are stored.
    pub fn fold(self) -> Option<Fold> {
        match self {
            OutputKind::Store => None,
            OutputKind::All(fold) | OutputKind::Cols(fold) | OutputKind::Rows(fold) => Some(fold),
        }
    }

    /// Whether the kernel leaves partial results, which are folded after it.
    pub fn has_partials(self) -> bool {
        matches!(self, OutputKind::All(_) | OutputKind::Rows(_))
    }

    /// Whether it is reduced along a run.
    pub fn is_along_run(self) -> bool {
        matches!(self, OutputKind::All(_) | OutputKind::Cols(_))
    }
}

/// A step of the body. Every instruction makes one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Inst {
    /// The element of input `n` at this point, in the compute type.
    Load(u32),
    /// Host scalar `n`, rounded to the compute type.
    Scalar(u32),
    /// Host scalar `n` as a mask: true unless it is 0.
    ScalarMask(u32),
    /// A constant, rounded to the compute type.
    Const(f64),
    /// Float → float.
    Unary(UnaryOp, Val),
    /// Float, float → float.
    Binary(BinaryOp, Val, Val),
    /// Float, float → mask.
    Compare(CompareOp, Val, Val),
    /// Mask, mask → mask.
    Logic(LogicOp, Val, Val),
    /// Mask → mask.
    Not(Val),
    /// Mask, float, float → float: the first where the mask holds, else the second.
    Select(Val, Val, Val),
    /// Float rounded to a narrower stored type and converted back (`BF16` or `F16`; in an f64 kernel also `F32`).
    Round(DType, Val),
    /// Float → integer of the same width, rounded to nearest even. Out of range and NaN: any integer, no trap.
    ToInt(Val),
    /// Integer → float, rounded to nearest even.
    FromInt(Val),
    /// The bits of a float as an integer of the same width.
    Bits(Val),
    /// The float of these bits.
    FromBits(Val),
    /// An integer constant.
    IntConst(i64),
    /// Integer, integer → integer, wrapping, of the compute type's width.
    Int(IntOp, Val, Val),
}

impl Inst {
    /// Equality; constants by their bits.
    pub(crate) fn same(&self, other: &Inst) -> bool {
        match (self, other) {
            (Inst::Const(x), Inst::Const(y)) => x.to_bits() == y.to_bits(),
            (a, b) => a == b,
        }
    }
}

/// Float functions of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// Sign flipped.
    Neg,
    /// Sign cleared.
    Abs,
    /// Square root, correctly rounded.
    Sqrt,
    /// Nearest integer, ties to even.
    RoundEven,
    /// Largest integer not above.
    Floor,
}

/// Float functions of two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient, correctly rounded.
    Div,
    /// Smaller; NaN if either is.
    Min,
    /// Larger; NaN if either is.
    Max,
}

/// Ordered comparisons; false with NaN, except `Ne`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal (true with NaN).
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// Functions of two masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogicOp {
    /// Both.
    And,
    /// Either.
    Or,
}

/// Integer functions; shifts are by less than the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IntOp {
    /// Wrapping sum.
    Add,
    /// Wrapping difference.
    Sub,
    /// Bits in both.
    And,
    /// Bits in either.
    Or,
    /// Shift left.
    Shl,
    /// Shift right, zero fill.
    Shr,
    /// Shift right, sign fill.
    Sar,
}

/// One pass over an index space.
#[derive(Debug, Clone, PartialEq)]
pub struct MapKernel {
    /// The index space.
    pub space: Space,
    /// `F32` or `F64`.
    pub compute: DType,
    /// The tensors read.
    pub inputs: Vec<Input>,
    /// Host scalars taken.
    pub scalars: u32,
    /// The body, in order.
    pub insts: Vec<Inst>,
    /// The tensors written.
    pub outputs: Vec<Output>,
}

impl MapKernel {
    /// 32 hexadecimal digits of the hash of the canonical text.
    pub fn hash(&self) -> String {
        blake3::hash(self.to_string().as_bytes()).to_hex()[..32].to_owned()
    }

    /// The symbol under which a backend exports this kernel.
    pub fn symbol(&self) -> String {
        format!("optc_map_{}", self.hash())
    }

    /// Bytes moved per point by full operands (the others are counted as nothing).
    pub fn bytes_per_point(&self) -> u64 {
        let read: u64 = self
            .inputs
            .iter()
            .filter(|i| i.access == Access::Full)
            .map(|i| i.dtype.size())
            .sum();
        let written: u64 = self
            .outputs
            .iter()
            .filter(|o| o.kind == OutputKind::Store)
            .map(|o| o.dtype.size())
            .sum();
        read + written
    }

    /// Floating-point operations per point.
    pub fn flops_per_point(&self) -> u64 {
        let arithmetic = self
            .insts
            .iter()
            .filter(|i| matches!(i, Inst::Unary(..) | Inst::Binary(..)))
            .count();
        let sums = self
            .outputs
            .iter()
            .filter(|o| o.kind != OutputKind::Store)
            .count();
        (arithmetic + sums) as u64
    }
}

impl fmt::Display for MapKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = match self.space {
            Space::Flat => "flat",
            Space::Grid => "grid",
        };
        write!(f, "map {space} {} (", self.compute)?;
        for (n, input) in self.inputs.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}%{n}: {} {}", input.dtype, lower(&input.access))?;
        }
        writeln!(f, ") scalars {}", self.scalars)?;
        for (n, inst) in self.insts.iter().enumerate() {
            writeln!(f, "  v{n} = {inst}")?;
        }
        for output in &self.outputs {
            writeln!(f, "  {} v{} -> {}", output.kind, output.value, output.dtype)?;
        }
        Ok(())
    }
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputKind::Store => write!(f, "store"),
            OutputKind::All(fold) => write!(f, "{}-all", lower(fold)),
            OutputKind::Cols(fold) => write!(f, "{}-cols", lower(fold)),
            OutputKind::Rows(fold) => write!(f, "{}-rows", lower(fold)),
        }
    }
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inst::Load(n) => write!(f, "load %{n}"),
            Inst::Scalar(n) => write!(f, "scalar s{n}"),
            Inst::ScalarMask(n) => write!(f, "scalar-mask s{n}"),
            Inst::Const(x) => write!(f, "const {x:?}"),
            Inst::Unary(op, a) => write!(f, "{} v{a}", lower(op)),
            Inst::Binary(op, a, b) => write!(f, "{} v{a}, v{b}", lower(op)),
            Inst::Compare(op, a, b) => write!(f, "cmp-{} v{a}, v{b}", lower(op)),
            Inst::Logic(op, a, b) => write!(f, "mask-{} v{a}, v{b}", lower(op)),
            Inst::Not(a) => write!(f, "mask-not v{a}"),
            Inst::Select(c, a, b) => write!(f, "select v{c}, v{a}, v{b}"),
            Inst::Round(dtype, a) => write!(f, "round-{dtype} v{a}"),
            Inst::ToInt(a) => write!(f, "to-int v{a}"),
            Inst::FromInt(a) => write!(f, "from-int v{a}"),
            Inst::Bits(a) => write!(f, "bits v{a}"),
            Inst::FromBits(a) => write!(f, "from-bits v{a}"),
            Inst::IntConst(x) => write!(f, "int-const {x}"),
            Inst::Int(op, a, b) => write!(f, "int-{} v{a}, v{b}", lower(op)),
        }
    }
}

fn lower(op: &impl fmt::Debug) -> String {
    format!("{op:?}").to_lowercase()
}
