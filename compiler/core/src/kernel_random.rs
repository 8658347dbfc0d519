//! Random well-typed kernels and data for them, shared by the tests of every backend.
//!
//! A kernel uses any instruction, stored type, access and output its space allows. What the contract leaves open is
//! avoided: a float whose bits or integer are taken is never NaN, and is in range before it becomes an integer.
//!
//! ```
//! use optc_core::kernel::Space;
//! use optc_core::{kernel_eval, kernel_random, kernel_verify};
//!
//! let kernel = kernel_random::kernel(7, Space::Grid);
//! kernel_verify::verify(&kernel).unwrap();
//! let data = kernel_random::inputs(&kernel, 7, 3, 5);
//! let inputs: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
//! kernel_eval::run(&kernel, &inputs, &kernel_random::scalars(&kernel, 7), 3, 5);
//! ```

use crate::dtype::DType;
use crate::kernel::{
    Access, BinaryOp, CompareOp, Fold, Input, Inst, IntOp, LogicOp, MapKernel, Output, OutputKind,
    Space, UnaryOp, Val,
};
use crate::kernel_eval::round_once;
use crate::kernel_math;
use crate::kernel_verify::Kind;

/// The types a tensor may be stored in.
pub const STORED: [DType; 4] = [DType::F32, DType::F64, DType::BF16, DType::F16];

/// A kernel of 1 to 4 inputs, up to 3 scalars, some 40 instructions and 1 to 3 outputs; equal seeds, equal kernels.
pub fn kernel(seed: u64, space: Space) -> MapKernel {
    let mut random = Random::new(seed);
    let accesses: &[Access] = match space {
        Space::Flat => &[Access::Full, Access::Full, Access::One],
        Space::Grid => &[
            Access::Full,
            Access::Full,
            Access::Row,
            Access::Col,
            Access::One,
        ],
    };
    let compute = random.pick(&[DType::F32, DType::F32, DType::F64]);
    let mut input = || Input {
        dtype: random.pick(&STORED),
        access: random.pick(accesses),
    };
    let first = Input {
        access: Access::Full,
        ..input()
    };
    let inputs: Vec<Input> = [first, input(), input(), input()].into();
    let count = 1 + random.below(4) as usize;
    let kernel = MapKernel {
        space,
        compute,
        inputs: inputs[..count].to_vec(),
        scalars: random.below(4) as u32,
        insts: vec![],
        outputs: vec![],
    };
    let mut builder = Builder { kernel, random };
    builder.body();
    builder.outputs();
    builder.kernel
}

/// Data for every input: half of the seeds give plain numbers only, the others zeros, infinities, NaN and subnormals too.
pub fn inputs(kernel: &MapKernel, seed: u64, rows: u64, cols: u64) -> Vec<Vec<f64>> {
    let mut random = Random::new(seed ^ 0x00da_7a00);
    let mut column = |input: &Input| {
        let count = match input.access {
            Access::Full => rows * cols,
            Access::Row => rows,
            Access::Col => cols,
            Access::One => 1,
        };
        (0..count)
            .map(|_| round_once(input.dtype, random.number(seed % 2 == 1)))
            .collect()
    };
    kernel.inputs.iter().map(&mut column).collect()
}

/// Host scalars for a kernel; zero now and then, so that masks made of them differ.
pub fn scalars(kernel: &MapKernel, seed: u64) -> Vec<f64> {
    let mut random = Random::new(seed ^ 0x5ca1_a400);
    (0..kernel.scalars)
        .map(|_| {
            if random.below(3) == 0 {
                0.0
            } else {
                random.number(false)
            }
        })
        .collect()
}

/// Whether two results are the same, bit for bit, any NaN equal to any other.
pub fn same(a: &[f64], b: &[f64]) -> bool {
    let equal = |(x, y): (&f64, &f64)| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
    a.len() == b.len() && a.iter().zip(b).all(equal)
}

/// AdamW over tensors of one stored type: parameter, gradient and both moments in; parameter and moments out.
///
/// Scalars: `1 - lr * weight_decay`, `1 - beta1`, `beta2`, `1 - beta2`, `lr / (1 - beta1^t)`, `sqrt(1 - beta2^t)`, `eps`.
pub fn adamw(dtype: DType) -> MapKernel {
    use BinaryOp::{Add, Div, Mul, Sub};
    let mut insts: Vec<Inst> = (0..4)
        .map(Inst::Load)
        .chain((0..7).map(Inst::Scalar))
        .collect();
    let mut push = |inst| {
        insts.push(inst);
        insts.len() as Val - 1
    };
    let (w, grad, exp_avg, exp_avg_sq) = (0, 1, 2, 3);
    let (decay, one_minus_beta1, beta2, one_minus_beta2, rate, correction, eps) =
        (4, 5, 6, 7, 8, 9, 10);
    let decayed = push(Inst::Binary(Mul, w, decay));
    let towards = push(Inst::Binary(Sub, grad, exp_avg));
    let moved = push(Inst::Binary(Mul, one_minus_beta1, towards));
    let m = push(Inst::Binary(Add, exp_avg, moved));
    let square = push(Inst::Binary(Mul, grad, grad));
    let kept = push(Inst::Binary(Mul, beta2, exp_avg_sq));
    let added = push(Inst::Binary(Mul, one_minus_beta2, square));
    let v = push(Inst::Binary(Add, kept, added));
    let root = push(Inst::Unary(UnaryOp::Sqrt, v));
    let corrected = push(Inst::Binary(Div, root, correction));
    let denominator = push(Inst::Binary(Add, corrected, eps));
    let scaled = push(Inst::Binary(Mul, rate, m));
    let update = push(Inst::Binary(Div, scaled, denominator));
    let result = push(Inst::Binary(Sub, decayed, update));
    let output = |value| Output {
        value,
        dtype,
        kind: OutputKind::Store,
    };
    MapKernel {
        space: Space::Flat,
        compute: dtype.compute(),
        inputs: vec![
            Input {
                dtype,
                access: Access::Full
            };
            4
        ],
        scalars: 7,
        insts,
        outputs: [result, m, v].map(output).to_vec(),
    }
}

/// `exp`, `log`, `tanh` and `pow` of a tensor, the exponent a scalar, then `sin`, `cos` and the angle of a tensor and that
/// scalar, in both compute types.
pub fn functions() -> Vec<MapKernel> {
    type Expansion = fn(&mut Vec<Inst>, DType, Val) -> Val;
    let all: [Expansion; 7] = [
        kernel_math::exp,
        kernel_math::log,
        kernel_math::tanh,
        |b, compute, x| {
            b.push(Inst::Scalar(0));
            let s = b.len() as Val - 1;
            kernel_math::pow(b, compute, x, s)
        },
        kernel_math::sin,
        kernel_math::cos,
        |b, compute, y| {
            b.push(Inst::Scalar(0));
            let x = b.len() as Val - 1;
            kernel_math::atan2(b, compute, y, x)
        },
    ];
    let kernel = |dtype, function: Expansion| {
        let mut insts = vec![Inst::Load(0)];
        let value = function(&mut insts, dtype, 0);
        MapKernel {
            space: Space::Flat,
            compute: dtype,
            inputs: vec![Input {
                dtype,
                access: Access::Full,
            }],
            scalars: 1,
            insts,
            outputs: vec![Output {
                value,
                dtype,
                kind: OutputKind::Store,
            }],
        }
    };
    [DType::F32, DType::F64]
        .into_iter()
        .flat_map(|dtype| all.map(|function| kernel(dtype, function)))
        .collect()
}

struct Builder {
    kernel: MapKernel,
    random: Random,
}

impl Builder {
    fn body(&mut self) {
        for n in 0..self.kernel.inputs.len() as u32 {
            self.push(Inst::Load(n));
        }
        for n in 0..self.kernel.scalars {
            self.push(Inst::Scalar(n));
            self.push(Inst::ScalarMask(n));
        }
        for _ in 0..5 + self.random.below(30) {
            self.step();
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0 => self.constant(),
            1..=3 => self.unary(),
            4..=8 => self.binary(),
            9 => self.compare(),
            10 => self.logic(),
            11 => self.select(),
            12 => self.round(),
            13 => self.convert(),
            _ => self.integer(),
        };
    }

    fn outputs(&mut self) {
        let kinds: &[OutputKind] = match self.kernel.space {
            Space::Flat => &[
                OutputKind::Store,
                OutputKind::Store,
                OutputKind::All(Fold::Sum),
                OutputKind::All(Fold::Max),
            ],
            Space::Grid => &[
                OutputKind::Store,
                OutputKind::All(Fold::Sum),
                OutputKind::Cols(Fold::Sum),
                OutputKind::Rows(Fold::Sum),
                OutputKind::All(Fold::Max),
                OutputKind::Cols(Fold::Max),
                OutputKind::Rows(Fold::Max),
            ],
        };
        for _ in 0..1 + self.random.below(3) {
            let (value, dtype) = (self.any(Kind::Float), self.random.pick(&STORED));
            let kind = self.random.pick(kinds);
            self.kernel.outputs.push(Output { value, dtype, kind });
        }
    }

    fn push(&mut self, inst: Inst) -> Val {
        self.kernel.insts.push(inst);
        self.kernel.insts.len() as Val - 1
    }

    /// A value of that kind, later ones more often; there is one because the body makes it if need be.
    fn any(&mut self, kind: Kind) -> Val {
        let insts = &self.kernel.insts;
        let found: Vec<Val> = (0..insts.len())
            .filter(|&n| Kind::of(insts[n]) == kind)
            .map(|n| n as Val)
            .collect();
        match (found.len(), kind) {
            (0, Kind::Mask) => self.compare(),
            (0, Kind::Int) => self.push(Inst::IntConst(3)),
            (count, _) => {
                found[self
                    .random
                    .below(count as u64)
                    .max(self.random.below(count as u64)) as usize]
            }
        }
    }

    fn constant(&mut self) -> Val {
        let x = self
            .random
            .pick(&[0.0, -0.0, 1.0, -2.5, 1e-3, 3.7e4, 0.1, f64::INFINITY]);
        self.push(Inst::Const(x))
    }

    fn unary(&mut self) -> Val {
        use UnaryOp::{Abs, Floor, Neg, RoundEven, Sqrt};
        let (op, a) = (
            self.random.pick(&[Neg, Abs, Sqrt, RoundEven, Floor]),
            self.any(Kind::Float),
        );
        self.push(Inst::Unary(op, a))
    }

    fn binary(&mut self) -> Val {
        use BinaryOp::{Add, Div, Max, Min, Mul, Sub};
        let op = self.random.pick(&[Add, Sub, Mul, Div, Min, Max]);
        let (a, b) = (self.any(Kind::Float), self.any(Kind::Float));
        self.push(Inst::Binary(op, a, b))
    }

    fn compare(&mut self) -> Val {
        use CompareOp::{Eq, Ge, Gt, Le, Lt, Ne};
        let op = self.random.pick(&[Eq, Ne, Lt, Le, Gt, Ge]);
        let (a, b) = (self.any(Kind::Float), self.any(Kind::Float));
        self.push(Inst::Compare(op, a, b))
    }

    fn logic(&mut self) -> Val {
        let (a, b) = (self.any(Kind::Mask), self.any(Kind::Mask));
        let inst = self.random.pick(&[
            Inst::Not(a),
            Inst::Logic(LogicOp::And, a, b),
            Inst::Logic(LogicOp::Or, a, b),
        ]);
        self.push(inst)
    }

    fn select(&mut self) -> Val {
        let (c, a, b) = (
            self.any(Kind::Mask),
            self.any(Kind::Float),
            self.any(Kind::Float),
        );
        self.push(Inst::Select(c, a, b))
    }

    fn round(&mut self) -> Val {
        let to = match self.kernel.compute {
            DType::F32 => self.random.pick(&[DType::BF16, DType::F16]),
            _ => self.random.pick(&[DType::BF16, DType::F16, DType::F32]),
        };
        let a = self.any(Kind::Float);
        self.push(Inst::Round(to, a))
    }

    fn convert(&mut self) -> Val {
        match self.random.below(4) {
            0 => {
                let a = self.guarded(1e6);
                self.push(Inst::ToInt(a))
            }
            1 => {
                let a = self.any(Kind::Int);
                self.push(Inst::FromInt(a))
            }
            2 => {
                let a = self.guarded(f64::INFINITY);
                self.push(Inst::Bits(a))
            }
            _ => {
                let a = self.any(Kind::Int);
                self.push(Inst::FromBits(a))
            }
        }
    }

    /// A float of at most that size, 0 in place of NaN.
    fn guarded(&mut self, limit: f64) -> Val {
        let a = self.any(Kind::Float);
        let is_number = self.push(Inst::Compare(CompareOp::Eq, a, a));
        let zero = self.push(Inst::Const(0.0));
        let number = self.push(Inst::Select(is_number, a, zero));
        let (low, high) = (
            self.push(Inst::Const(-limit)),
            self.push(Inst::Const(limit)),
        );
        let raised = self.push(Inst::Binary(BinaryOp::Max, number, low));
        self.push(Inst::Binary(BinaryOp::Min, raised, high))
    }

    fn integer(&mut self) -> Val {
        use IntOp::{Add, And, Or, Sar, Shl, Shr, Sub};
        let op = self.random.pick(&[Add, Sub, And, Or, Shl, Shr, Sar]);
        let a = self.any(Kind::Int);
        let b = if matches!(op, Shl | Shr | Sar) {
            self.shift()
        } else {
            self.any(Kind::Int)
        };
        self.push(Inst::Int(op, a, b))
    }

    /// A shift amount: mostly a constant, sometimes one that differs from point to point.
    fn shift(&mut self) -> Val {
        let width = 8 * self.kernel.compute.size();
        let mask = self.push(Inst::IntConst(width as i64 - 1));
        if self.random.below(3) > 0 {
            let by = self.random.below(width) as i64;
            return self.push(Inst::IntConst(by));
        }
        let a = self.any(Kind::Int);
        self.push(Inst::Int(IntOp::And, a, mask))
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x0123_4567_89ab_cdef)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2f64.powi(-53)
    }

    /// A number: mostly around 1, of either sign; if `wild`, one in eight is an edge case or of any magnitude.
    fn number(&mut self, wild: bool) -> f64 {
        let plain = 4.0 * self.unit() - 2.0;
        if !wild || self.below(8) > 0 {
            return plain;
        }
        let any_size = plain * 2f64.powi(self.below(320) as i32 - 160);
        let edges = [
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e-40,
            -3e-8,
            65504.0,
            65520.0,
            1.00390625,
        ];
        let edge = self.pick(&edges);
        self.pick(&[any_size, any_size.round(), edge])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_eval;
    use crate::kernel_verify::verify;
    use std::collections::HashSet;
    use std::mem::discriminant;

    #[test]
    fn kernels_are_well_formed_and_run() {
        for seed in 0..500 {
            for space in [Space::Flat, Space::Grid] {
                let kernel = kernel(seed, space);
                verify(&kernel).unwrap_or_else(|faults| panic!("seed {seed}: {faults}\n{kernel}"));
                let data = inputs(&kernel, seed, 2, 3);
                let slices: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
                kernel_eval::run(&kernel, &slices, &scalars(&kernel, seed), 2, 3);
            }
        }
    }

    #[test]
    fn every_instruction_occurs() {
        let all = (0..200).flat_map(|seed| kernel(seed, Space::Grid).insts);
        assert_eq!(
            all.map(|inst| discriminant(&inst))
                .collect::<HashSet<_>>()
                .len(),
            17
        );
    }

    #[test]
    fn stored_numbers_come_back() {
        for dtype in STORED {
            let values: Vec<f64> = [0.1, -3.0, 1e-7, f64::INFINITY]
                .map(|x| round_once(dtype, x))
                .to_vec();
            assert!(same(&dtype.decode(&dtype.encode(&values)), &values));
        }
    }

    #[test]
    fn functions_are_well_formed() {
        functions()
            .iter()
            .for_each(|kernel| verify(kernel).unwrap());
    }

    #[test]
    fn adamw_is_well_formed() {
        for dtype in STORED {
            verify(&adamw(dtype)).unwrap();
        }
    }
}
