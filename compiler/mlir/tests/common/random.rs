//! Random kernels and numbers from a seed.

use super::{Dims, Tensor};
use optc_core::dtype::DType;
use optc_core::kernel::{
    Access, BinaryOp, CompareOp, Input, Inst, IntOp, LogicOp, MapKernel, Output, OutputKind, Space, UnaryOp, Val,
};

/// A small generator (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Mostly ordinary, of either sign; now and then an edge of the format.
    pub(crate) fn number(&mut self) -> f64 {
        const EDGES: [f64; 12] = [
            0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-40, -3e-39, 6e-8, 65519.0, 3.4e38,
        ];
        if self.below(16) == 0 {
            return self.pick(&EDGES);
        }
        let unit = (self.next() as f64 / (1u64 << 48) as f64) * 2.0 - 1.0;
        unit * 10f64.powi(self.below(9) as i32 - 4)
    }

    /// Uniform in (-1, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() as f64 / (1u64 << 48) as f64) * 2.0 - 1.0
    }

    pub(crate) fn tensor(&mut self, dtype: DType, count: usize) -> Tensor {
        let values: Vec<f64> = (0..count).map(|_| self.number()).collect();
        Tensor::new(dtype, &values)
    }

    pub(crate) fn inputs(&mut self, kernel: &MapKernel, dims: Dims) -> Vec<Tensor> {
        kernel.inputs.iter().map(|input| self.tensor(input.dtype, dims.count(input.access))).collect()
    }
}

const STORED: [DType; 4] = [DType::F32, DType::F64, DType::BF16, DType::F16];

/// A well-formed kernel: a few loads and scalars, `steps` random instructions, one to four outputs.
pub(crate) fn kernel(random: &mut Random, space: Space, compute: DType, steps: usize) -> MapKernel {
    let mut maker = Maker { random, compute, insts: Vec::new(), floats: Vec::new(), masks: Vec::new(), ints: Vec::new() };
    let inputs = maker.loads(space);
    for step in 0..steps {
        maker.step(step);
    }
    let outputs = maker.outputs(space);
    MapKernel { space, compute, inputs, scalars: 2, insts: maker.insts, outputs }
}

struct Maker<'r> {
    random: &'r mut Random,
    compute: DType,
    insts: Vec<Inst>,
    floats: Vec<Val>,
    masks: Vec<Val>,
    ints: Vec<Val>,
}

impl Maker<'_> {
    fn push(&mut self, inst: Inst) -> Val {
        self.insts.push(inst);
        self.insts.len() as Val - 1
    }

    fn push_float(&mut self, inst: Inst) -> Val {
        let val = self.push(inst);
        self.floats.push(val);
        val
    }

    fn float(&mut self) -> Val {
        self.random.pick(&self.floats)
    }

    fn loads(&mut self, space: Space) -> Vec<Input> {
        let accesses: &[Access] = match space {
            Space::Flat => &[Access::Full, Access::One],
            Space::Grid => &[Access::Full, Access::Row, Access::Col, Access::One],
        };
        let count = 1 + self.random.below(4) as u32;
        let inputs = (0..count).map(|n| {
            self.push_float(Inst::Load(n));
            let access = if n == 0 { Access::Full } else { self.random.pick(accesses) };
            Input { dtype: self.random.pick(&STORED), access }
        });
        let inputs = inputs.collect();
        self.push_float(Inst::Scalar(0));
        let constant = self.random.number();
        self.push_float(Inst::Const(constant));
        let mask = self.push(Inst::ScalarMask(1));
        self.masks.push(mask);
        let integer = self.random.next() as i64;
        let integer = self.push(Inst::IntConst(if self.compute == DType::F32 { integer as i32 as i64 } else { integer }));
        self.ints.push(integer);
        inputs
    }

    fn step(&mut self, step: usize) {
        let (a, b) = (self.float(), self.float());
        let mask = self.random.pick(&self.masks);
        let int = self.random.pick(&self.ints);
        match (step + self.random.below(3)) % 11 {
            0..=4 => {
                use BinaryOp::*;
                let op = self.random.pick(&[Add, Sub, Mul, Div, Min, Max]);
                self.push_float(Inst::Binary(op, a, b));
            }
            5 => {
                use UnaryOp::*;
                let op = self.random.pick(&[Neg, Abs, Sqrt, RoundEven, Floor]);
                self.push_float(Inst::Unary(op, a));
            }
            6 => {
                use CompareOp::*;
                let op = self.random.pick(&[Eq, Ne, Lt, Le, Gt, Ge]);
                let compare = self.push(Inst::Compare(op, a, b));
                self.masks.push(compare);
            }
            7 => {
                self.push_float(Inst::Select(mask, a, b));
            }
            8 => {
                let other = self.random.pick(&self.masks);
                let op = self.random.pick(&[LogicOp::And, LogicOp::Or]);
                let both = self.push(Inst::Logic(op, mask, other));
                let not = self.push(Inst::Not(both));
                self.masks.extend([both, not]);
            }
            9 => {
                let halves = [DType::BF16, DType::F16, DType::F32];
                let dtype = self.random.pick(if self.compute == DType::F64 { &halves } else { &halves[..2] });
                self.push_float(Inst::Round(dtype, a));
            }
            _ => self.integers(a, int),
        }
    }

    /// Integers from numbers in range, and numbers from bits that are no NaN's.
    fn integers(&mut self, a: Val, int: Val) {
        let one = self.push(Inst::Const(1.0));
        let ordered = self.push(Inst::Compare(CompareOp::Eq, a, a));
        let number = self.push(Inst::Select(ordered, a, one));
        let top = self.push(Inst::Const(1e6));
        let clipped = self.push(Inst::Binary(BinaryOp::Min, number, top));
        let bottom = self.push(Inst::Const(-1e6));
        let clipped = self.push(Inst::Binary(BinaryOp::Max, clipped, bottom));
        let whole = self.push(Inst::ToInt(clipped));
        let bits = self.push(Inst::Bits(number));
        let count = self.random.below(24) as i64;
        let shift = self.push(Inst::IntConst(count));
        use IntOp::*;
        let op = self.random.pick(&[Shl, Shr, Sar]);
        let shifted = self.push(Inst::Int(op, bits, shift));
        let op = self.random.pick(&[Add, Sub, And, Or]);
        let mixed = self.push(Inst::Int(op, whole, int));
        self.ints.extend([whole, bits, shifted, mixed]);
        self.push_float(Inst::FromInt(mixed));
        self.push_float(Inst::FromBits(shifted));
    }

    fn outputs(&mut self, space: Space) -> Vec<Output> {
        use OutputKind::*;
        let kinds: &[OutputKind] = match space {
            Space::Flat => &[Store, SumAll],
            Space::Grid => &[Store, SumAll, SumCols, SumRows],
        };
        let count = 1 + self.random.below(4);
        let recent = self.floats[self.floats.len().saturating_sub(6)..].to_vec();
        let outputs = (0..count).map(|n| Output {
            value: self.random.pick(&recent),
            dtype: self.random.pick(&STORED),
            kind: if n == 0 { Store } else { self.random.pick(kinds) },
        });
        outputs.collect()
    }
}
