//! Products and factorizations: single ones, and the patterns that the rewrites look for.

use super::{Generator, Make};
use optc_core::dtype::DType;
use optc_core::hir::Fact;
use optc_core::ir::{OnFailure, OpKind, Reduce, TensorType, Type, Value};
use optc_core::kernel::BinaryOp;

pub(super) const OPS: &[(usize, Make)] = &[
    (6, Generator::product),
    (4, Generator::contract),
    (4, Generator::gram),
    (5, Generator::newton_schulz),
    (4, Generator::rotation),
    (4, Generator::gram_average),
    (4, Generator::new_basis),
    (2, Generator::triangular),
];

impl Generator {
    fn matrix(&mut self) -> Option<Value> {
        self.tensor_where(|this, x| this.dims(x).len() > 1)
    }

    /// Operands of one type, in whatever orientation fits; sometimes scaled or transposed by an operation of its own.
    fn product(&mut self) -> Option<()> {
        let a = self.matrix()?;
        let dims = self.dims(a);
        let stack = dims.len() - 2;
        let (ta, tb) = (self.rng.percent(50), self.rng.percent(50));
        let inner = dims[stack + usize::from(!ta)];
        let b = self.tensor_where(|this, b| {
            let other = this.dims(b);
            other.len() == dims.len()
                && other[..stack] == dims[..stack]
                && other[stack + usize::from(tb)] == inner
                && this.dtype(b) == this.dtype(a)
        })?;
        let (a, b) = (self.scaled(a), self.scaled(b));
        let (a, ta) = self.turned(a, ta);
        let (b, tb) = self.turned(b, tb);
        let value = self.build.matmul(a, ta, b, tb);
        self.see(value);
        self.average(value)
    }

    /// Small factors, so that chains of products stay tame.
    fn factor(&mut self) -> Value {
        let x = self.rng.pick(&[0.1, 0.25, -0.5]);
        self.build.constant(x)
    }

    fn scaled(&mut self, x: Value) -> Value {
        if self.rng.percent(50) {
            return x;
        }
        let factor = self.factor();
        let (a, b) = if self.rng.percent(50) {
            (x, factor)
        } else {
            (factor, x)
        };
        let value = self.build.binary(BinaryOp::Mul, a, b);
        self.see(value);
        value
    }

    fn turned(&mut self, x: Value, transposed: bool) -> (Value, bool) {
        if self.rng.percent(60) {
            return (x, transposed);
        }
        let value = self.build.transpose(x);
        self.see(value);
        (value, !transposed)
    }

    /// Often adds something to a product, in one of the ways that the product can take in.
    fn average(&mut self, product: Value) -> Option<()> {
        let ty = self.build.function.ty(product).clone();
        let other = self.tensor_where(|this, x| *this.build.function.ty(x) == ty)?;
        let (product, other) = (self.scaled(product), self.scaled(other));
        let factor = self.factor();
        let value = match self.rng.below(6) {
            0 => self.build.binary(BinaryOp::Add, product, other),
            1 => self.build.binary(BinaryOp::Sub, other, product),
            2 => self.build.binary(BinaryOp::Sub, product, other),
            3 => self.build.lerp(other, product, factor),
            4 => self.build.lerp(product, other, factor),
            _ => return None,
        };
        self.see(value);
        Some(())
    }

    fn contract(&mut self) -> Option<()> {
        let x = self.matrix()?;
        let (mode, transposed) = (
            self.rng.below(self.dims(x).len()) as u32,
            self.rng.percent(50),
        );
        let d = self.dims(x)[mode as usize];
        let q =
            self.tensor_where(|this, q| this.dims(q) == [d, d] && this.dtype(q) == this.dtype(x))?;
        let value = self.build.contract(x, q, mode, transposed);
        self.see(value);
        self.average(value)
    }

    fn gram(&mut self) -> Option<()> {
        let x = self.matrix()?;
        let mode = self.rng.below(self.dims(x).len()) as u32;
        let value = self.build.gram(x, mode);
        self.see(value);
        self.average(value)
    }

    /// `a x + (b A + c A A) x` with `A = x x'`, on whichever side.
    fn newton_schulz(&mut self) -> Option<()> {
        let x = self.matrix()?;
        let left = self.rng.percent(70);
        let gram = self.build.matmul(x, !left, x, left);
        let square = self.build.matmul(gram, false, gram, false);
        self.see(gram);
        self.see(square);
        let (first, second) = (self.scaled(gram), self.scaled(square));
        let polynomial = self.build.binary(BinaryOp::Add, first, second);
        self.see(polynomial);
        let (a, b) = if left {
            (polynomial, x)
        } else {
            (x, polynomial)
        };
        let moved = self.build.matmul(a, false, b, false);
        self.see(moved);
        let x = self.scaled(x);
        let value = self.build.binary(BinaryOp::Add, x, moved);
        self.see(value);
        Some(())
    }

    /// The slots of one fact, with the axis of the parameter they belong to.
    fn family(&self, fact: Fact) -> Vec<(u32, usize)> {
        let slots = &self.build.function.slots;
        let of_fact = slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.fact == fact);
        of_fact
            .filter_map(|(n, slot)| Some((slot.name.split_once('.')?.1.parse().ok()?, n)))
            .collect()
    }

    /// Into the basis, something there or not, and back.
    fn rotation(&mut self) -> Option<()> {
        let dims = self.build.function.slots[0].ty.dims.clone();
        let mut x = self.tensor_where(|this, x| this.dims(x) == dims)?;
        let basis = self.family(Fact::Orthogonal);
        for &(mode, slot) in &basis {
            x = self.rotated(x, slot, mode, false);
        }
        if self.rng.percent(30) {
            x = self.scaled(x);
        }
        for (mode, slot) in basis {
            x = self.rotated(x, slot, mode, true);
        }
        Some(())
    }

    fn rotated(&mut self, x: Value, slot: usize, mode: u32, back: bool) -> Value {
        let q = self.scope.current[slot];
        let q = self.build.cast(q, self.dtype(x));
        self.spread(q);
        let value = self.build.contract(x, q, mode, back);
        self.see(value);
        value
    }

    fn gram_average(&mut self) -> Option<()> {
        let grams = self.family(Fact::Symmetric);
        let dims = self.build.function.slots[0].ty.dims.clone();
        let x = self.tensor_where(|this, x| this.dims(x) == dims)?;
        if grams.is_empty() {
            return None;
        }
        let (mode, slot) = self.rng.pick(&grams);
        let x = self.build.cast(x, self.build.function.slots[slot].ty.dtype);
        self.spread(x);
        let gram = self.build.gram(x, mode);
        let weight = self.build.constant(0.1);
        let old = self.scope.current[slot];
        let value = self.build.lerp(old, gram, weight);
        self.see(gram);
        self.see(value);
        self.scope.current[slot] = value;
        Some(())
    }

    /// A basis from its Gram matrix: eigenvectors, or one step of the power method in sorted order.
    fn new_basis(&mut self) -> Option<()> {
        let bases = self.family(Fact::Orthogonal);
        if bases.is_empty() {
            return None;
        }
        let (_, slot) = self.rng.pick(&bases);
        let (gram, basis) = (self.scope.current[slot - 1], self.scope.current[slot]);
        let on_failure = self.policy(basis);
        let (square, n) = (self.build.function.ty(gram).clone(), self.dims(gram)[0]);
        let dtype = self.dtype(gram);
        let vector = |dtype| {
            Type::Tensor(TensorType {
                dtype,
                dims: vec![n],
            })
        };
        // The sign of an eigenvector hangs on the last bit of the matrix.
        let made = if self.exact(gram) && self.rng.percent(60) {
            let kind = OpKind::Eigh {
                x: gram,
                descending: self.rng.percent(50),
                on_failure,
            };
            self.build.push(kind, vec![vector(dtype), square])[1]
        } else {
            let rotated = self.build.matmul(basis, true, gram, false);
            let rotated = self.build.matmul(rotated, false, basis, false);
            let energies = self.build.push_one(OpKind::Diag(rotated), vector(dtype));
            let order = self.build.push_one(
                OpKind::Argsort {
                    x: energies,
                    descending: true,
                },
                vector(DType::I64),
            );
            let sorted = self.build.push_one(
                OpKind::Gather {
                    x: basis,
                    axis: 1,
                    index: order,
                },
                square.clone(),
            );
            let turned = self.build.matmul(gram, false, sorted, false);
            [rotated, energies, order, sorted, turned]
                .into_iter()
                .for_each(|value| self.spread(value));
            self.build.push(
                OpKind::Qr {
                    x: turned,
                    on_failure,
                },
                vec![square.clone(), square],
            )[0]
        };
        self.see(made);
        self.scope.current[slot] = made;
        Some(())
    }

    fn policy(&mut self, keep: Value) -> OnFailure {
        OnFailure {
            nan: false,
            retry_f64: self.rng.percent(50),
            keep: self.rng.percent(70).then_some(keep),
        }
    }

    /// A Cholesky factor of a Gram matrix (of an indefinite one now and then), and what it makes of a matrix.
    fn triangular(&mut self) -> Option<()> {
        let x = self.tensor_where(|this, x| this.dims(x).len() == 2)?;
        let gram = self.build.matmul(x, false, x, true);
        let (ty, one) = (
            self.build.function.ty(gram).clone(),
            self.build.constant(1.0),
        );
        let identity = self.build.push_one(OpKind::Identity(one), ty.clone());
        let op = if self.rng.percent(80) {
            BinaryOp::Add
        } else {
            BinaryOp::Sub
        };
        let positive = self.build.binary(op, gram, identity);
        let on_failure = OnFailure {
            nan: false,
            retry_f64: true,
            keep: Some(identity),
        };
        [gram, positive]
            .into_iter()
            .for_each(|value| self.spread(value));
        let factor = self.build.push_one(
            OpKind::Cholesky {
                x: positive,
                on_failure,
            },
            ty,
        );
        self.see(identity);
        self.see(factor);
        let solved = OpKind::SolveTriangular {
            a: factor,
            b: x,
            upper: false,
            nan: false,
        };
        let ty = self.build.function.ty(x).clone();
        let solved = self.build.push_one(solved, ty);
        self.see(solved);
        let total = self.build.sum(solved, Reduce::All);
        self.see(total);
        Some(())
    }
}
