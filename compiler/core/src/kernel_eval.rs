//! What a map kernel means, slow and plain: the oracle of every backend's tests.
//!
//! ```
//! use optc_core::dtype::DType;
//! use optc_core::kernel::{Access, BinaryOp, Input, Inst, MapKernel, Output, OutputKind, Space};
//! use optc_core::kernel_eval::run;
//!
//! let kernel = MapKernel {
//!     space: Space::Flat,
//!     compute: DType::F32,
//!     inputs: vec![Input { dtype: DType::F32, access: Access::Full }],
//!     scalars: 1,
//!     insts: vec![Inst::Load(0), Inst::Scalar(0), Inst::Binary(BinaryOp::Mul, 0, 1)],
//!     outputs: vec![Output { value: 2, dtype: DType::F32, kind: OutputKind::Store }],
//! };
//! assert_eq!(run(&kernel, &[&[1.0, 2.0]], &[0.5], 2, 1), [[0.5, 1.0]]);
//! ```
//!
//! Left open by the contract, and so by every comparison with this evaluator: the payload of a NaN, the integer that
//! [`Inst::ToInt`] makes of a NaN or of a number out of range, and shifts by the width or more.

use crate::dtype::DType;
use crate::kernel::{
    Access, BinaryOp, CHUNK, CompareOp, Fold, Inst, IntOp, LANES, LogicOp, MapKernel, Output,
    OutputKind, ROW_CHUNK, Space, UnaryOp, Val,
};
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Runs a kernel over its whole index space. Values are held as f64; each value is one of the stored type.
///
/// A flat kernel covers `rows * cols` elements. There is one result per output, complete: partial sums are added and
/// the sum rounded. Lengths: `rows * cols` (stored), 1 (sum of all), `rows` (sum along columns), `cols` (along rows).
///
/// # Panics
///
/// When [`verify`](crate::kernel_verify::verify) rejects the kernel, or an input or the scalars are too short.
pub fn run(
    kernel: &MapKernel,
    inputs: &[&[f64]],
    scalars: &[f64],
    rows: u64,
    cols: u64,
) -> Vec<Vec<f64>> {
    let (rows, cols) = (rows as usize, cols as usize);
    let values = match kernel.compute {
        DType::F32 => points::<f32>(kernel, inputs, scalars, rows, cols),
        _ => points::<f64>(kernel, inputs, scalars, rows, cols),
    };
    let finish = |(output, values): (&Output, Vec<f64>)| {
        let values = reduce(kernel.space, output.kind, values, rows, cols);
        values
            .into_iter()
            .map(|x| round_once(output.dtype, x))
            .collect()
    };
    kernel.outputs.iter().zip(values).map(finish).collect()
}

/// `x` rounded once to a stored type.
pub fn round_once(dtype: DType, x: f64) -> f64 {
    dtype.round(x)
}

/// The value of each output at each point, in row-major order, before it is stored or summed.
fn points<T: Real>(
    kernel: &MapKernel,
    inputs: &[&[f64]],
    scalars: &[f64],
    rows: usize,
    cols: usize,
) -> Vec<Vec<f64>> {
    let mut results = vec![Vec::with_capacity(rows * cols); kernel.outputs.len()];
    let mut point = Point::<T> {
        kernel,
        inputs,
        scalars,
        cols,
        values: Vec::with_capacity(kernel.insts.len()),
    };
    for row in 0..rows {
        for col in 0..cols {
            point.run(row, col);
            for (result, output) in results.iter_mut().zip(&kernel.outputs) {
                result.push(point.float(output.value).to_f64());
            }
        }
    }
    results
}

fn reduce(space: Space, kind: OutputKind, values: Vec<f64>, rows: usize, cols: usize) -> Vec<f64> {
    let row = |r: usize| &values[r * cols..(r + 1) * cols];
    let of_rows = |fold| {
        (0..rows)
            .map(|r| of_run(fold, row(r)))
            .collect::<Vec<f64>>()
    };
    match (kind, space) {
        (OutputKind::Store, _) => values,
        (OutputKind::All(fold), Space::Flat) => {
            let partials = values
                .chunks(CHUNK as usize)
                .map(|chunk| of_run(fold, chunk));
            vec![fold.of_all(partials)]
        }
        (OutputKind::All(fold), Space::Grid) => {
            let rows = of_rows(fold);
            let partials = rows
                .chunks(ROW_CHUNK as usize)
                .map(|chunk| fold.of_all(chunk.iter().copied()));
            vec![fold.of_all(partials)]
        }
        (OutputKind::Cols(fold), _) => of_rows(fold),
        (OutputKind::Rows(fold), _) => (0..cols)
            .map(|c| of_column(fold, rows, |r| row(r)[c]))
            .collect(),
    }
}

/// What becomes of one run: 16 lanes, then the lanes pairwise.
fn of_run(fold: Fold, run: &[f64]) -> f64 {
    let mut lanes = [fold.of_none(); LANES];
    for (e, &x) in run.iter().enumerate() {
        lanes[e % LANES] = fold.of(lanes[e % LANES], x);
    }
    for half in [8, 4, 2, 1] {
        for j in 0..half {
            lanes[j] = fold.of(lanes[j], lanes[j + half]);
        }
    }
    lanes[0]
}

fn of_column(fold: Fold, rows: usize, at: impl Fn(usize) -> f64) -> f64 {
    let chunk = ROW_CHUNK as usize;
    let partial = |begin: usize| fold.of_all((begin..rows.min(begin + chunk)).map(&at));
    fold.of_all((0..rows).step_by(chunk).map(partial))
}

/// A value of the body.
#[derive(Clone, Copy)]
enum Value<T> {
    Float(T),
    Mask(bool),
    Int(i64),
}

/// The body at one point of the index space.
struct Point<'a, T> {
    kernel: &'a MapKernel,
    inputs: &'a [&'a [f64]],
    scalars: &'a [f64],
    cols: usize,
    values: Vec<Value<T>>,
}

impl<T: Real> Point<'_, T> {
    fn run(&mut self, row: usize, col: usize) {
        self.values.clear();
        for inst in &self.kernel.insts {
            let value = self.inst(*inst, row, col);
            self.values.push(value);
        }
    }

    fn inst(&self, inst: Inst, row: usize, col: usize) -> Value<T> {
        use Value::{Float, Int, Mask};
        match inst {
            Inst::Load(n) => Float(self.load(n as usize, row, col)),
            Inst::Scalar(n) => Float(T::from_f64(self.scalars[n as usize])),
            Inst::ScalarMask(n) => Mask(self.scalars[n as usize] != 0.0),
            Inst::Const(x) => Float(T::from_f64(x)),
            Inst::Unary(op, a) => Float(unary(op, self.float(a))),
            Inst::Binary(op, a, b) => Float(binary(op, self.float(a), self.float(b))),
            Inst::Compare(op, a, b) => Mask(compare(op, self.float(a), self.float(b))),
            Inst::Logic(LogicOp::And, a, b) => Mask(self.mask(a) & self.mask(b)),
            Inst::Logic(LogicOp::Or, a, b) => Mask(self.mask(a) | self.mask(b)),
            Inst::Not(a) => Mask(!self.mask(a)),
            Inst::Select(c, a, b) => Float(if self.mask(c) {
                self.float(a)
            } else {
                self.float(b)
            }),
            Inst::Round(dtype, a) => Float(T::from_f64(round_once(dtype, self.float(a).to_f64()))),
            Inst::ToInt(a) => Int(self.float(a).to_int()),
            Inst::FromInt(a) => Float(T::from_int(self.int(a))),
            Inst::Bits(a) => Int(self.float(a).to_bits()),
            Inst::FromBits(a) => Float(T::from_bits(self.int(a))),
            Inst::IntConst(x) => Int(T::wrap(x)),
            Inst::Int(op, a, b) => Int(int::<T>(op, self.int(a), self.int(b))),
        }
    }

    fn load(&self, n: usize, row: usize, col: usize) -> T {
        let index = match self.kernel.inputs[n].access {
            Access::Full => row * self.cols + col,
            Access::Row => row,
            Access::Col => col,
            Access::One => 0,
        };
        T::from_f64(self.inputs[n][index])
    }

    fn float(&self, value: Val) -> T {
        match self.values[value as usize] {
            Value::Float(x) => x,
            _ => panic!("v{value} is not a float"),
        }
    }

    fn mask(&self, value: Val) -> bool {
        match self.values[value as usize] {
            Value::Mask(x) => x,
            _ => panic!("v{value} is not a mask"),
        }
    }

    fn int(&self, value: Val) -> i64 {
        match self.values[value as usize] {
            Value::Int(x) => x,
            _ => panic!("v{value} is not an integer"),
        }
    }
}

fn unary<T: Real>(op: UnaryOp, a: T) -> T {
    match op {
        UnaryOp::Neg => -a,
        UnaryOp::Abs => a.abs(),
        UnaryOp::Sqrt => a.sqrt(),
        UnaryOp::RoundEven => a.round_even(),
        UnaryOp::Floor => a.floor(),
    }
}

fn binary<T: Real>(op: BinaryOp, a: T, b: T) -> T {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Min => min(a, b),
        BinaryOp::Max => -min(-a, -b),
    }
}

/// The smaller; NaN if either is, −0 below +0.
fn min<T: Real>(a: T, b: T) -> T {
    match a.partial_cmp(&b) {
        None => a + b,
        Some(Ordering::Less) => a,
        Some(Ordering::Greater) => b,
        Some(Ordering::Equal) => {
            if a.is_negative() {
                a
            } else {
                b
            }
        }
    }
}

fn compare<T: Real>(op: CompareOp, a: T, b: T) -> bool {
    match op {
        CompareOp::Eq => a == b,
        CompareOp::Ne => a != b,
        CompareOp::Lt => a < b,
        CompareOp::Le => a <= b,
        CompareOp::Gt => a > b,
        CompareOp::Ge => a >= b,
    }
}

fn int<T: Real>(op: IntOp, a: i64, b: i64) -> i64 {
    let by = (b as u32) % T::WIDTH;
    let result = match op {
        IntOp::Add => a.wrapping_add(b),
        IntOp::Sub => a.wrapping_sub(b),
        IntOp::And => a & b,
        IntOp::Or => a | b,
        IntOp::Shl => a << by,
        IntOp::Shr => (T::unsigned(a) >> by) as i64,
        IntOp::Sar => a >> by,
    };
    T::wrap(result)
}

/// A compute type. Integers of its width are held sign-extended in an i64.
trait Real:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    const WIDTH: u32;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn abs(self) -> Self;
    fn sqrt(self) -> Self;
    fn round_even(self) -> Self;
    fn floor(self) -> Self;
    fn is_negative(self) -> bool;
    fn to_int(self) -> i64;
    fn from_int(x: i64) -> Self;
    fn to_bits(self) -> i64;
    fn from_bits(x: i64) -> Self;
    fn wrap(x: i64) -> i64;
    fn unsigned(x: i64) -> u64;
}

macro_rules! real {
    ($float:ident, $int:ident, $uint:ident) => {
        impl Real for $float {
            const WIDTH: u32 = $int::BITS;
            fn from_f64(x: f64) -> Self {
                x as $float
            }
            fn to_f64(self) -> f64 {
                self.into()
            }
            fn abs(self) -> Self {
                self.abs()
            }
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            fn round_even(self) -> Self {
                self.round_ties_even()
            }
            fn floor(self) -> Self {
                self.floor()
            }
            fn is_negative(self) -> bool {
                self.is_sign_negative()
            }
            fn to_int(self) -> i64 {
                (self.round_ties_even() as $int).into()
            }
            fn from_int(x: i64) -> Self {
                x as $float
            }
            fn to_bits(self) -> i64 {
                (self.to_bits() as $int).into()
            }
            fn from_bits(x: i64) -> Self {
                $float::from_bits(x as $uint)
            }
            fn wrap(x: i64) -> i64 {
                (x as $int).into()
            }
            fn unsigned(x: i64) -> u64 {
                (x as $uint).into()
            }
        }
    };
}

real!(f32, i32, u32);
real!(f64, i64, u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Input;

    fn kernel(
        space: Space,
        compute: DType,
        insts: Vec<Inst>,
        kind: OutputKind,
        stored: DType,
    ) -> MapKernel {
        MapKernel {
            space,
            compute,
            inputs: vec![
                Input {
                    dtype: DType::F64,
                    access: Access::Full
                };
                2
            ],
            scalars: 1,
            outputs: vec![Output {
                value: insts.len() as Val - 1,
                dtype: stored,
                kind,
            }],
            insts,
        }
    }

    /// One flat f32 point.
    fn point(insts: Vec<Inst>, a: f64, b: f64) -> f64 {
        let kernel = kernel(
            Space::Flat,
            DType::F32,
            insts,
            OutputKind::Store,
            DType::F32,
        );
        run(&kernel, &[&[a], &[b]], &[0.1], 1, 1)[0][0]
    }

    fn op(op: BinaryOp, a: f64, b: f64) -> f64 {
        point(
            vec![Inst::Load(0), Inst::Load(1), Inst::Binary(op, 0, 1)],
            a,
            b,
        )
    }

    #[test]
    fn f32_kernels_compute_in_f32() {
        assert_eq!(op(BinaryOp::Add, 16_777_216.0, 1.0), 16_777_216.0);
        assert_eq!(point(vec![Inst::Scalar(0)], 0.0, 0.0), f64::from(0.1_f32));
        assert_eq!(op(BinaryOp::Mul, 1e30, 1e30), f64::INFINITY);
    }

    #[test]
    fn min_and_max_propagate_nan_and_order_zeros() {
        for (a, b) in [(1.0, f64::NAN), (f64::NAN, 1.0)] {
            assert!(op(BinaryOp::Min, a, b).is_nan() && op(BinaryOp::Max, a, b).is_nan());
        }
        for (a, b) in [(0.0, -0.0), (-0.0, 0.0)] {
            assert!(op(BinaryOp::Min, a, b).is_sign_negative());
            assert!(op(BinaryOp::Max, a, b).is_sign_positive());
        }
        assert_eq!(
            (op(BinaryOp::Min, 1.0, -2.0), op(BinaryOp::Max, 1.0, -2.0)),
            (-2.0, 1.0)
        );
    }

    #[test]
    fn integers_have_the_width_of_the_compute_type() {
        let shifted = |op| {
            let shift = vec![
                Inst::IntConst(-16),
                Inst::IntConst(28),
                Inst::Int(op, 0, 1),
                Inst::FromInt(2),
            ];
            point(shift, 0.0, 0.0)
        };
        assert_eq!(shifted(IntOp::Shr), 15.0);
        assert_eq!(shifted(IntOp::Sar), -1.0);
        assert_eq!(shifted(IntOp::Shl), 0.0);
        assert_eq!(
            point(
                vec![Inst::Load(0), Inst::Bits(0), Inst::FromBits(1)],
                -1.5,
                0.0
            ),
            -1.5
        );
        assert_eq!(
            point(
                vec![Inst::Load(0), Inst::ToInt(0), Inst::FromInt(1)],
                2.5,
                0.0
            ),
            2.0
        );
    }

    #[test]
    fn a_store_rounds_once() {
        // 1 + 2^-8 is a tie in bf16; the bit at 2^-40 decides it, and f32 would lose that bit.
        let x = 1.0 + 2f64.powi(-8) + 2f64.powi(-40);
        assert_eq!(round_once(DType::BF16, x), 1.0 + 2f64.powi(-7));
        assert_eq!(round_once(DType::BF16, 1.0 + 2f64.powi(-8)), 1.0);
        assert_eq!(
            round_once(DType::F16, 1.0 + 2f64.powi(-11) + 2f64.powi(-40)),
            1.0 + 2f64.powi(-10)
        );
        assert_eq!(round_once(DType::F16, 65520.0 - 1e-9), 65504.0);
        assert_eq!(round_once(DType::F16, 65520.0), f64::INFINITY);
        assert_eq!(round_once(DType::BF16, 1e300), f64::INFINITY);
        assert_eq!(round_once(DType::F16, -1e-300), 0.0);
        assert!(round_once(DType::F16, f64::NAN).is_nan());
    }

    /// 2^60 in lane 0 swallows small terms of its lane only, so the result shows which terms met which.
    #[test]
    fn a_run_is_summed_in_sixteen_lanes() {
        let sum = |values: &[f64]| {
            let kernel = kernel(
                Space::Flat,
                DType::F64,
                vec![Inst::Load(0)],
                OutputKind::All(Fold::Sum),
                DType::F64,
            );
            run(&kernel, &[values, values], &[0.0], values.len() as u64, 1)[0][0]
        };
        let big = 2f64.powi(60);
        let mut values = vec![0.0; 33];
        (values[0], values[16], values[32]) = (big, 1.0, -big);
        assert_eq!(sum(&values), 0.0, "same lane: the 1 is lost");
        values.swap(16, 17);
        assert_eq!(sum(&values), 1.0, "another lane: the 1 stays");
        // Lanes 1 and 9 meet first, then lane 5, then lane 0.
        let mut values = vec![0.0; 16];
        (values[1], values[9], values[5]) = (big, -big, 1.0);
        assert_eq!(sum(&values), 1.0);
        (values[1], values[9], values[5]) = (big, 1.0, -big);
        assert_eq!(sum(&values), 0.0);
        assert_eq!(sum(&[]).to_bits(), 0, "the empty sum is +0");
    }

    #[test]
    fn chunks_of_a_flat_sum_are_added_in_order() {
        let kernel = kernel(
            Space::Flat,
            DType::F64,
            vec![Inst::Load(0)],
            OutputKind::All(Fold::Sum),
            DType::F64,
        );
        let mut values = vec![0.0; 3 * CHUNK as usize];
        let big = 2f64.powi(60);
        (
            values[0],
            values[CHUNK as usize],
            values[2 * CHUNK as usize],
        ) = (big, 1.0, -big);
        assert_eq!(
            run(&kernel, &[&values, &values], &[0.0], values.len() as u64, 1),
            [[0.0]]
        );
        values.swap(CHUNK as usize, 2 * CHUNK as usize);
        assert_eq!(
            run(&kernel, &[&values, &values], &[0.0], values.len() as u64, 1),
            [[1.0]]
        );
    }

    fn grid_sum(kind: OutputKind, values: &[f64], rows: u64, cols: u64) -> Vec<f64> {
        let kernel = kernel(
            Space::Grid,
            DType::F64,
            vec![Inst::Load(0)],
            kind,
            DType::F32,
        );
        run(&kernel, &[values, values], &[0.0], rows, cols).remove(0)
    }

    #[test]
    fn grid_sums_run_along_their_axes() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(grid_sum(OutputKind::All(Fold::Sum), &values, 2, 3), [21.0]);
        assert_eq!(
            grid_sum(OutputKind::Cols(Fold::Sum), &values, 2, 3),
            [6.0, 15.0]
        );
        assert_eq!(
            grid_sum(OutputKind::Rows(Fold::Sum), &values, 2, 3),
            [5.0, 7.0, 9.0]
        );
        assert_eq!(grid_sum(OutputKind::Rows(Fold::Sum), &[], 0, 3), [0.0; 3]);
        assert_eq!(grid_sum(OutputKind::Cols(Fold::Sum), &[], 3, 0), [0.0; 3]);
        assert_eq!(grid_sum(OutputKind::All(Fold::Sum), &[], 0, 0), [0.0]);
    }

    #[test]
    fn chunks_of_rows_are_added_in_order() {
        let big = 2f64.powi(60);
        let mut column = vec![0.0; 65];
        (column[0], column[1], column[64]) = (big, 1.0, -big);
        assert_eq!(grid_sum(OutputKind::Rows(Fold::Sum), &column, 65, 1), [0.0]);
        column.swap(1, 64);
        assert_eq!(grid_sum(OutputKind::Rows(Fold::Sum), &column, 65, 1), [1.0]);
        assert_eq!(grid_sum(OutputKind::All(Fold::Sum), &column, 65, 1), [1.0]);
    }

    #[test]
    fn operands_are_read_by_their_access() {
        let accesses = [Access::Full, Access::Row, Access::Col, Access::One];
        let insts = vec![
            Inst::Load(0),
            Inst::Load(1),
            Inst::Load(2),
            Inst::Load(3),
            Inst::Binary(BinaryOp::Add, 0, 1),
            Inst::Binary(BinaryOp::Add, 2, 3),
            Inst::Binary(BinaryOp::Add, 4, 5),
        ];
        let inputs = accesses
            .map(|access| Input {
                dtype: DType::F32,
                access,
            })
            .to_vec();
        let base = kernel(
            Space::Grid,
            DType::F32,
            insts,
            OutputKind::Store,
            DType::F32,
        );
        let kernel = MapKernel { inputs, ..base };
        let result = run(
            &kernel,
            &[
                &[1.0, 2.0, 3.0, 4.0],
                &[10.0, 20.0],
                &[100.0, 200.0],
                &[1000.0],
            ],
            &[0.0],
            2,
            2,
        );
        assert_eq!(result, [[1111.0, 1212.0, 1123.0, 1224.0]]);
    }
}
