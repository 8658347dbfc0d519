//! Element-wise operations, one at a time, and reductions in their defined order.

use super::{Datum, Interp};
use crate::dtype::DType;
use crate::ir::{Math, OpKind, Reduce, Value};
use crate::kernel::{
    Access, BinaryOp, CHUNK, CompareOp, Fold, Input, Inst, LANES, LogicOp, MapKernel, Output,
    OutputKind, ROW_CHUNK, Space, UnaryOp, Val,
};
use crate::kernel_eval::{self, round_once};
use crate::kernel_math;

impl Interp<'_> {
    /// Element `n` of the result's index space, of a broadcast operand.
    fn element(&self, operand: Value, result: &[u64], n: usize) -> f64 {
        match &self.values[operand] {
            Datum::Host(x) => *x,
            Datum::Tensor(data) => data[source(self.dims(operand), result, n)],
            other => unreachable!("{operand} is {other:?}, not a number"),
        }
    }

    fn truth(&self, operand: Value, result: &[u64], n: usize) -> bool {
        match &self.values[operand] {
            Datum::Host(x) => *x != 0.0,
            Datum::Mask(data) => data[source(self.dims(operand), result, n)],
            other => unreachable!("{operand} is {other:?}, not a mask"),
        }
    }

    pub(super) fn map(&self, kind: &OpKind, result: Value) -> Datum {
        let dims = self.dims(result);
        let count = dims.iter().product::<u64>() as usize;
        let truths = |f: &dyn Fn(usize) -> bool| Datum::Mask((0..count).map(f).collect());
        match kind {
            OpKind::Compare(op, a, b) => {
                let compute = self.compute_of(&[*a, *b]);
                let read = |v: Value, n: usize| compute.round(self.element(v, dims, n));
                truths(&|n| compare(*op, read(*a, n), read(*b, n)))
            }
            OpKind::Logic(LogicOp::And, a, b) => {
                truths(&|n| self.truth(*a, dims, n) && self.truth(*b, dims, n))
            }
            OpKind::Logic(LogicOp::Or, a, b) => {
                truths(&|n| self.truth(*a, dims, n) || self.truth(*b, dims, n))
            }
            OpKind::Not(a) => truths(&|n| !self.truth(*a, dims, n)),
            OpKind::Math(..) | OpKind::Pow(..) | OpKind::Atan2(..) => {
                Datum::Tensor(self.expanded(kind, result))
            }
            kind => Datum::Tensor(
                (0..count)
                    .map(|n| self.arithmetic(kind, result, dims, n))
                    .collect(),
            ),
        }
    }

    /// The type that an operation on these operands computes in.
    fn compute_of(&self, operands: &[Value]) -> DType {
        let wide = operands.iter().any(|&v| {
            self.function
                .tensor(v)
                .is_some_and(|ty| ty.dtype == DType::F64)
        });
        if wide { DType::F64 } else { DType::F32 }
    }

    fn arithmetic(&self, kind: &OpKind, result: Value, dims: &[u64], n: usize) -> f64 {
        let dtype = self.dtype(result);
        let compute = dtype.compute();
        let read = |v: Value| compute.round(self.element(v, dims, n));
        let x = match kind {
            OpKind::Fill(a) | OpKind::Cast(a) => read(*a),
            OpKind::Unary(op, a) => unary(*op, read(*a)),
            OpKind::Binary(op, a, b) => binary(*op, read(*a), read(*b)),
            OpKind::Stochastic(x, noise) => dtype.round_stochastic(read(*x), read(*noise)),
            OpKind::Select(c, a, b) => read(if self.truth(*c, dims, n) { *a } else { *b }),
            OpKind::Lerp(a, b, weight) => {
                let (a, b, weight) = (read(*a), read(*b), read(*weight));
                let way = dtype.round(compute.round(b - a));
                let part = dtype.round(compute.round(weight * way));
                a + part
            }
            other => unreachable!("{other:?} is not arithmetic"),
        };
        round_once(dtype, compute.round(x))
    }

    /// `exp`, `log` and their like: the expansion that every backend runs, evaluated.
    fn expanded(&self, kind: &OpKind, result: Value) -> Vec<f64> {
        let (dtype, dims) = (self.dtype(result), self.dims(result));
        let (compute, count) = (dtype.compute(), dims.iter().product::<u64>());
        let operands = kind.operands();
        let mut insts: Vec<Inst> = (0..operands.len() as u32).map(Inst::Load).collect();
        let output = Output {
            value: expansion(kind, compute, &mut insts),
            dtype,
            kind: OutputKind::Store,
        };
        let input = Input {
            dtype: compute,
            access: Access::Full,
        };
        let kernel = MapKernel {
            space: Space::Flat,
            compute,
            inputs: vec![input; operands.len()],
            scalars: 0,
            insts,
            outputs: vec![output],
        };
        let read = |&operand: &Value| -> Vec<f64> {
            let element = |n| compute.round(self.element(operand, dims, n));
            (0..count as usize).map(element).collect()
        };
        let data: Vec<Vec<f64>> = operands.iter().map(read).collect();
        let inputs: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
        kernel_eval::run(&kernel, &inputs, &[], count, 1).swap_remove(0)
    }

    pub(super) fn reduce(&self, fold: Fold, a: Value, over: Reduce) -> Vec<f64> {
        let (x, dims, dtype) = (self.tensor(a), self.dims(a), self.dtype(a));
        let round = |x: f64| round_once(dtype, x);
        match over {
            Reduce::All => {
                let partials = x.chunks(CHUNK as usize).map(|run| of_run(fold, run));
                vec![round(fold.of_all(partials))]
            }
            Reduce::From(axis) => {
                let cols = dims[axis..].iter().product::<u64>() as usize;
                let rows = dims[..axis].iter().product::<u64>() as usize;
                (0..rows)
                    .map(|row| round(of_run(fold, &x[row * cols..(row + 1) * cols])))
                    .collect()
            }
            Reduce::Before(axis) => {
                let cols = dims[axis..].iter().product::<u64>() as usize;
                (0..cols)
                    .map(|col| round(of_column(fold, x, cols, col)))
                    .collect()
            }
        }
    }
}

/// The instructions of a function of the first values.
fn expansion(kind: &OpKind, compute: DType, b: &mut Vec<Inst>) -> Val {
    match kind {
        OpKind::Math(Math::Exp, _) => kernel_math::exp(b, compute, 0),
        OpKind::Math(Math::Log, _) => kernel_math::log(b, compute, 0),
        OpKind::Math(Math::Tanh, _) => kernel_math::tanh(b, compute, 0),
        OpKind::Math(Math::Sin, _) => kernel_math::sin(b, compute, 0),
        OpKind::Math(Math::Cos, _) => kernel_math::cos(b, compute, 0),
        OpKind::Pow(..) => kernel_math::pow(b, compute, 0, 1),
        OpKind::Atan2(..) => kernel_math::atan2(b, compute, 0, 1),
        other => unreachable!("{other:?} is not expanded"),
    }
}

/// The order of [`crate::kernel`]: 16 lanes, then pairwise.
fn of_run(fold: Fold, run: &[f64]) -> f64 {
    let mut lanes = [fold.of_none(); LANES];
    run.iter()
        .enumerate()
        .for_each(|(n, &x)| lanes[n % LANES] = fold.of(lanes[n % LANES], x));
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = fold.of(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

fn of_column(fold: Fold, x: &[f64], cols: usize, col: usize) -> f64 {
    let column: Vec<f64> = x.iter().skip(col).step_by(cols).copied().collect();
    let partials = column
        .chunks(ROW_CHUNK as usize)
        .map(|rows| fold.of_all(rows.iter().copied()));
    fold.of_all(partials)
}

/// In f64, to be rounded: for f32 operands that equals the f32 operation (53 bits are at least 2 · 24 + 2).
fn unary(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::RoundEven => x.round_ties_even(),
        UnaryOp::Floor => x.floor(),
    }
}

fn binary(op: BinaryOp, x: f64, y: f64) -> f64 {
    match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Min | BinaryOp::Max if x.is_nan() || y.is_nan() => f64::NAN,
        BinaryOp::Min => {
            if x < y || (x == y && x.is_sign_negative()) {
                x
            } else {
                y
            }
        }
        BinaryOp::Max => {
            if x > y || (x == y && x.is_sign_positive()) {
                x
            } else {
                y
            }
        }
    }
}

fn compare(op: CompareOp, a: f64, b: f64) -> bool {
    match op {
        CompareOp::Eq => a == b,
        CompareOp::Ne => a != b,
        CompareOp::Lt => a < b,
        CompareOp::Le => a <= b,
        CompareOp::Gt => a > b,
        CompareOp::Ge => a >= b,
    }
}

/// Where element `n` of the result's space lies in an operand that broadcasts.
fn source(dims: &[u64], result: &[u64], mut n: usize) -> usize {
    let (mut at, mut stride) = (0, 1);
    for axis in (0..result.len()).rev() {
        let index = n % result[axis] as usize;
        n /= result[axis] as usize;
        let Some(own) = (axis + dims.len()).checked_sub(result.len()) else {
            break;
        };
        if dims[own] != 1 {
            at += index * stride;
        }
        stride *= dims[own] as usize;
    }
    at
}
