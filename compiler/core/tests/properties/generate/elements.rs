//! Host scalars, element-wise operations, sums and data movement.

use super::{Generator, Make};
use optc_core::dtype::DType;
use optc_core::ir::{Math, OpKind, Reduce, TensorType, Type, Value};
use optc_core::kernel::{BinaryOp, CompareOp, Fold, LogicOp, UnaryOp};
use optc_core::packed::Packing;
use optc_core::plan::{HostBinary, HostUnary};

/// Tensors larger than this are not made.
const MOST: u64 = 10_000;

pub(super) const OPS: &[(usize, Make)] = &[
    (6, Generator::host_value),
    (2, Generator::read_slot),
    (2, Generator::fill),
    (4, Generator::unary),
    (2, Generator::math),
    (12, Generator::binary),
    (6, Generator::binary_host),
    (5, Generator::lerp),
    (5, Generator::compare),
    (2, Generator::logic),
    (5, Generator::select),
    (3, Generator::cast),
    (6, Generator::reduction),
    (5, Generator::reshape),
    (2, Generator::permute),
    (2, Generator::gather),
    (1, Generator::diag),
    (2, Generator::half),
    (2, Generator::stochastic),
];

const BINARY: [BinaryOp; 5] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Min,
    BinaryOp::Max,
];

impl Generator {
    fn new_host(&mut self, kind: OpKind) -> Value {
        let value = self.build.push_one(kind, Type::Host);
        self.see(value);
        value
    }

    fn host_value(&mut self) -> Option<()> {
        let (a, b, c) = (self.host(), self.host(), self.host());
        let binary = [
            HostBinary::Add,
            HostBinary::Sub,
            HostBinary::Mul,
            HostBinary::Div,
            HostBinary::Max,
            HostBinary::Lt,
        ];
        let kind = match self.rng.below(8) {
            0 | 1 => OpKind::Hyper(self.rng.below(3) as u32),
            2 => OpKind::Step,
            3 => OpKind::Const(self.rng.pick(&[0.0, 1.0, 0.1, 0.5, -2.0])),
            4 => OpKind::HostUnary(
                self.rng
                    .pick(&[HostUnary::Neg, HostUnary::Abs, HostUnary::Not]),
                a,
            ),
            5 => OpKind::HostSelect(a, b, c),
            _ => OpKind::HostBinary(self.rng.pick(&binary), a, b),
        };
        self.new_host(kind);
        Some(())
    }

    /// Something that holds in some of the first steps, or always, or never.
    pub(super) fn condition(&mut self) -> Value {
        let step = self.new_host(OpKind::Step);
        let period = self.rng.pick(&[1.0, 2.0, 3.0]);
        let period = self.new_host(OpKind::Const(period));
        match self.rng.below(6) {
            0 => self.new_host(OpKind::HostBinary(HostBinary::Le, step, period)),
            1 => self.new_host(OpKind::Const(f64::from(u8::from(
                period.as_u32().is_multiple_of(2),
            )))),
            2 => self.host(),
            _ => self.new_host(OpKind::HostBinary(HostBinary::Mod, step, period)),
        }
    }

    fn read_slot(&mut self) -> Option<()> {
        let slot = self.rng.below(self.build.function.slots.len());
        let value = self.build.slot(slot as u32);
        self.see(value);
        Some(())
    }

    fn fill(&mut self) -> Option<()> {
        let like = self.tensor()?;
        let (host, dims) = (self.host(), self.dims(like));
        let dtype = self.rng.pick(self.options.dtypes);
        let value = self.build.fill(host, TensorType { dtype, dims });
        self.see(value);
        Some(())
    }

    fn unary(&mut self) -> Option<()> {
        let x = self.tensor()?;
        let steps = if self.exact(x) { 5 } else { 3 };
        let op = [
            UnaryOp::Neg,
            UnaryOp::Abs,
            UnaryOp::Sqrt,
            UnaryOp::RoundEven,
            UnaryOp::Floor,
        ][self.rng.below(steps)];
        let tame = self.options.products && op == UnaryOp::Sqrt;
        let x = if tame {
            self.build.unary(UnaryOp::Abs, x)
        } else {
            x
        };
        self.spread(x);
        let value = self.build.unary(op, x);
        self.see(value);
        Some(())
    }

    fn math(&mut self) -> Option<()> {
        let x = self.tensor()?;
        let (math, exponent) = (
            self.rng
                .pick(&[Math::Exp, Math::Log, Math::Tanh, Math::Sin, Math::Cos]),
            self.host(),
        );
        let value = match self.rng.below(4) {
            _ if self.options.products => self.build.math(Math::Tanh, x),
            0 => {
                let ty = self.build.function.ty(x).clone();
                self.build.push_one(OpKind::Pow(x, exponent), ty)
            }
            1 => self.build.atan2(x, exponent),
            _ => self.build.math(math, x),
        };
        self.see(value);
        Some(())
    }

    /// One half of a square matrix, and the matrix of it.
    fn half(&mut self) -> Option<()> {
        let x = self.tensor_where(|this, x| matches!(this.dims(x)[..], [m, n] if m == n))?;
        let rows = self.dims(x)[0];
        let packing = self
            .rng
            .pick(&[Packing::Mirrored, Packing::Upper, Packing::Lower]);
        let packed = self.build.pack(x, packing);
        let whole = self.build.unpack(packed, rows, packing);
        for value in [packed, whole] {
            self.spread(value);
            self.see(value);
        }
        Some(())
    }

    /// Rounded by any other tensor, where a last bit more or less cannot matter.
    fn stochastic(&mut self) -> Option<()> {
        let single = |this: &Self, x: Value| this.dtype(x) == DType::F32 && this.exact(x);
        let x = self.tensor_where(single)?;
        let noise = self.tensor_where(|this, noise| {
            single(this, noise) && this.common(x, noise) == Some(this.dims(x))
        })?;
        let halves = [DType::BF16, DType::F16];
        let dtype = self.rng.pick(&halves);
        if !self.options.dtypes.contains(&dtype) {
            return None;
        }
        let noise = self.build.unary(UnaryOp::Abs, noise);
        self.see(noise);
        let dims = self.dims(x);
        let ty = Type::Tensor(TensorType { dtype, dims });
        let value = self.build.push_one(OpKind::Stochastic(x, noise), ty);
        self.see(value);
        Some(())
    }

    /// The common shape of two operands, if they have one.
    fn common(&self, a: Value, b: Value) -> Option<Vec<u64>> {
        let (a, b) = (self.dims(a), self.dims(b));
        let rank = a.len().max(b.len());
        let padded = |dims: Vec<u64>| [vec![1; rank - dims.len()], dims].concat();
        let join = |(a, b): (u64, u64)| match (a, b) {
            (1, d) | (d, 1) => Some(d),
            (a, b) => (a == b).then_some(a),
        };
        let dims: Option<Vec<u64>> = padded(a).into_iter().zip(padded(b)).map(join).collect();
        dims.filter(|dims| dims.iter().product::<u64>() <= MOST)
    }

    /// Two tensors that broadcast together.
    fn pair(&mut self) -> Option<(Value, Value)> {
        let a = self.tensor()?;
        let b = self.tensor_where(|this, b| this.common(a, b).is_some())?;
        Some((a, b))
    }

    fn binary(&mut self) -> Option<()> {
        let (a, b) = self.pair()?;
        let value = if self.rng.percent(12) {
            self.quotient(a, b)
        } else {
            self.arithmetic(a, b)
        };
        self.see(value);
        Some(())
    }

    fn arithmetic(&mut self, a: Value, b: Value) -> Value {
        let op = self.rng.pick(&BINARY);
        self.build.binary(op, a, b)
    }

    fn quotient(&mut self, a: Value, b: Value) -> Value {
        if !self.options.products {
            return self.build.binary(BinaryOp::Div, a, b);
        }
        let positive = self.build.unary(UnaryOp::Abs, b);
        let one = self.build.constant(1.0);
        let away_from_zero = self.build.binary(BinaryOp::Add, one, positive);
        [positive, away_from_zero]
            .into_iter()
            .for_each(|value| self.spread(value));
        self.build.binary(BinaryOp::Div, a, away_from_zero)
    }

    fn binary_host(&mut self) -> Option<()> {
        let (x, host) = (self.tensor()?, self.host());
        let op = if self.rng.percent(40) {
            BinaryOp::Mul
        } else {
            self.rng.pick(&BINARY)
        };
        let value = if self.rng.percent(50) {
            self.build.binary(op, x, host)
        } else {
            self.build.binary(op, host, x)
        };
        self.see(value);
        Some(())
    }

    fn lerp(&mut self) -> Option<()> {
        let (a, b) = self.pair()?;
        let weight = self.rng.percent(25).then(|| self.tensor()).flatten();
        let weight = weight.filter(|&w| self.common(w, a).is_some() && self.common(w, b).is_some());
        let weight = weight.unwrap_or_else(|| self.host());
        let value = self.build.lerp(a, b, weight);
        self.see(value);
        Some(())
    }

    fn compare(&mut self) -> Option<()> {
        let ops = [
            CompareOp::Eq,
            CompareOp::Ne,
            CompareOp::Lt,
            CompareOp::Le,
            CompareOp::Gt,
            CompareOp::Ge,
        ];
        let (op, host) = (self.rng.pick(&ops), self.host());
        let a = self.tensor_where(Self::exact)?;
        let value = match self.rng.below(3) {
            0 => self.build.compare(op, a, host),
            1 => self.build.compare(op, host, a),
            _ => {
                let b =
                    self.tensor_where(|this, b| this.exact(b) && this.common(a, b).is_some())?;
                self.build.compare(op, a, b)
            }
        };
        self.see(value);
        Some(())
    }

    fn mask(&mut self) -> Option<Value> {
        let masks = self.scope.masks.clone();
        (!masks.is_empty()).then(|| self.rng.pick(&masks))
    }

    fn logic(&mut self) -> Option<()> {
        let (a, b) = (self.mask()?, self.mask()?);
        let kind = match self.rng.below(3) {
            0 => OpKind::Not(a),
            _ if self.dims(a) != self.dims(b) => return None,
            1 => OpKind::Logic(LogicOp::And, a, b),
            _ => OpKind::Logic(LogicOp::Or, a, b),
        };
        let ty = self.build.function.ty(a).clone();
        let value = self.build.push_one(kind, ty);
        self.see(value);
        Some(())
    }

    fn select(&mut self) -> Option<()> {
        let mask = if self.rng.percent(10) {
            self.host()
        } else {
            self.mask()?
        };
        let a = self.tensor_where(|this, a| this.common(mask, a).is_some())?;
        let b = if self.rng.percent(30) {
            self.host()
        } else {
            self.tensor()?
        };
        if self.common(mask, b).is_none() || self.common(a, b).is_none() {
            return None;
        }
        let value = if self.rng.percent(50) {
            self.build.select(mask, a, b)
        } else {
            self.build.select(mask, b, a)
        };
        self.see(value);
        Some(())
    }

    fn cast(&mut self) -> Option<()> {
        let (x, dtype) = (self.tensor()?, self.rng.pick(self.options.dtypes));
        let value = self.build.cast(x, dtype);
        self.see(value);
        Some(())
    }

    fn reduction(&mut self) -> Option<()> {
        let x = self.tensor()?;
        let axis = self.rng.below(self.dims(x).len() + 1);
        let over = self
            .rng
            .pick(&[Reduce::All, Reduce::From(axis), Reduce::Before(axis)]);
        let none = self.dims(x).contains(&0);
        let fold = self.rng.pick(&[Fold::Sum, Fold::Sum, Fold::Max]);
        // The largest of nothing is infinite, which no product survives.
        let fold = if none { Fold::Sum } else { fold };
        let value = self.build.reduce(fold, x, over);
        self.see(value);
        if let (Reduce::From(axis), true) = (over, self.rng.percent(60)) {
            let kept = [self.dims(value), vec![1; self.dims(x).len() - axis]].concat();
            let column = self.build.reshape(value, kept);
            self.see(column);
        }
        Some(())
    }

    fn reshape(&mut self) -> Option<()> {
        let x = self.tensor()?;
        let dims = self.dims(x);
        let cut = self.rng.below(dims.len() + 1);
        let to = match self.rng.below(5) {
            0 => vec![dims.iter().product()],
            1 => [&dims[..cut], &[dims[cut..].iter().product()]].concat(),
            2 => [&[dims[..cut].iter().product()], &dims[cut..]].concat(),
            3 => dims.iter().copied().filter(|&d| d != 1).collect(),
            _ => [&dims[..cut], &[1], &dims[cut..]].concat(),
        };
        if to.len() > 4 {
            return None;
        }
        let value = self.build.reshape(x, to);
        self.see(value);
        Some(())
    }

    fn permute(&mut self) -> Option<()> {
        let x = self.tensor_where(|this, x| this.dims(x).len() > 1)?;
        let mut axes: Vec<u32> = (0..self.dims(x).len() as u32).collect();
        for n in 0..axes.len() {
            let other = self.rng.below(axes.len());
            axes.swap(n, other);
        }
        let value = self.build.permute(x, axes);
        self.see(value);
        Some(())
    }

    fn gather(&mut self) -> Option<()> {
        let key = self.tensor_where(|this, key| this.exact(key) && this.dims(key).len() == 1)?;
        let (n, descending) = (self.dims(key)[0], self.rng.percent(50));
        let x = self.tensor_where(|this, x| this.dims(x).contains(&n))?;
        let axes: Vec<u32> = (0..self.dims(x).len() as u32)
            .filter(|&axis| self.dims(x)[axis as usize] == n)
            .collect();
        let ty = Type::Tensor(TensorType {
            dtype: DType::I64,
            dims: vec![n],
        });
        let index = self
            .build
            .push_one(OpKind::Argsort { x: key, descending }, ty);
        let (axis, ty) = (self.rng.pick(&axes), self.build.function.ty(x).clone());
        let value = self.build.push_one(OpKind::Gather { x, axis, index }, ty);
        self.see(value);
        Some(())
    }

    fn diag(&mut self) -> Option<()> {
        let x = self.tensor_where(|this, x| matches!(this.dims(x)[..], [m, n] if m == n))?;
        let ty = TensorType {
            dtype: self.dtype(x),
            dims: vec![self.dims(x)[0]],
        };
        let value = self.build.push_one(OpKind::Diag(x), Type::Tensor(ty));
        self.see(value);
        Some(())
    }
}
