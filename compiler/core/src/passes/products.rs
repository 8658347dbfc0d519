//! Scaling and addition move into products: `alpha A B + beta C` is one call.
//!
//! ```text
//! v3 = product v0, v1
//! v4 = lerp v2, v3, v9     →   v4 = v9 product v0, v1 plus v10 v2     (v10 = 1 - v9)
//! ```
//!
//! Only a product that nobody else reads is absorbed. The sum is rounded once instead of after each operation, which
//! the bound on products allows.

use super::rewrite::{Made, Visitor, rebuild, use_counts};
use super::simplify::scaled;
use crate::ir::{Builder, Function, OpKind, Type, Value};
use crate::kernel::BinaryOp;
use crate::plan::{HostBinary, HostUnary};
use cranelift_entity::SecondaryMap;

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    let mut products = Products {
        old_uses: use_counts(&function),
        uses: SecondaryMap::new(),
    };
    rebuild(function, &mut products)
}

struct Products {
    old_uses: SecondaryMap<Value, u32>,
    /// How often the old function reads what this value of the new one stands for.
    uses: SecondaryMap<Value, u32>,
}

impl Visitor for Products {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: &mut Vec<Type>,
        old: &[Value],
    ) -> Made {
        if let Some(new) = self.absorb(build, &kind, &types[0]) {
            self.uses[new] = self.old_uses[old[0]];
            return Made::Value(new);
        }
        let op = build.push_op(kind, types.drain(..));
        for (&old, &new) in old.iter().zip(&build.function.ops[op].results) {
            self.uses[new] = self.old_uses[old];
        }
        Made::Op(op)
    }
}

/// `factor · value`; the factor is 1 when absent.
#[derive(Clone, Copy)]
struct Term {
    value: Value,
    factor: Option<Value>,
}

impl Products {
    fn absorb(&self, build: &mut Builder, kind: &OpKind, ty: &Type) -> Option<Value> {
        if let Some(scaled) = self.scaled_product(build, kind) {
            return Some(scaled);
        }
        let [first, second] = terms(build, kind)?;
        let (product, rest) = if self.is_free_product(build, second.value) {
            (second, first)
        } else if self.is_free_product(build, first.value) {
            (first, second)
        } else {
            return None;
        };
        let same_type =
            build.function.ty(product.value) == ty && build.function.ty(rest.value) == ty;
        if !same_type {
            return None;
        }
        let (rest_factor, rest_value) = match scaled(&build.function, rest.value) {
            Some((factor, value)) if build.function.ty(value) == ty => {
                (times(build, rest.factor, Some(factor)), value)
            }
            _ => (rest.factor, rest.value),
        };
        self.with(build, product, Some((rest_value, rest_factor)))
    }

    /// `c · product`, when nobody reads the product itself.
    fn scaled_product(&self, build: &mut Builder, kind: &OpKind) -> Option<Value> {
        let OpKind::Binary(BinaryOp::Mul, a, b) = *kind else {
            return None;
        };
        let (factor, value) = match (build.function.is_host(a), build.function.is_host(b)) {
            (true, false) => (a, b),
            (false, true) => (b, a),
            _ => return None,
        };
        let free = self.is_free_product(build, value);
        free.then(|| {
            self.with(
                build,
                Term {
                    value,
                    factor: Some(factor),
                },
                None,
            )
        })
        .flatten()
    }

    /// A product with nothing added yet, read once.
    fn is_free_product(&self, build: &Builder, value: Value) -> bool {
        let plain = match build.function.def(value) {
            OpKind::Product(product) => product.added.is_none(),
            OpKind::Gram { added, .. } => added.is_none(),
            _ => false,
        };
        plain && self.uses[value] == 1
    }

    fn with(
        &self,
        build: &mut Builder,
        term: Term,
        sum: Option<(Value, Option<Value>)>,
    ) -> Option<Value> {
        let mut kind = build.function.def(term.value).clone();
        match &mut kind {
            OpKind::Product(product) => {
                product.alpha = times(build, product.alpha, term.factor);
                product.added = sum;
            }
            OpKind::Gram { alpha, added, .. } => {
                *alpha = times(build, *alpha, term.factor);
                *added = sum;
            }
            _ => return None,
        }
        let ty = build.function.ty(term.value).clone();
        Some(build.push_one(kind, ty))
    }
}

fn times(build: &mut Builder, a: Option<Value>, b: Option<Value>) -> Option<Value> {
    match (a, b) {
        (Some(a), Some(b)) => Some(build.host_binary(HostBinary::Mul, a, b)),
        (a, b) => a.or(b),
    }
}

/// The two tensors that are added, with their factors.
fn terms(build: &mut Builder, kind: &OpKind) -> Option<[Term; 2]> {
    let plain = |value| Term {
        value,
        factor: None,
    };
    match *kind {
        OpKind::Binary(BinaryOp::Add, a, b) => Some([plain(a), plain(b)]),
        OpKind::Binary(BinaryOp::Sub, a, b) => {
            let one = build.constant(1.0);
            let minus = build.host_unary(HostUnary::Neg, one);
            Some([
                plain(a),
                Term {
                    value: b,
                    factor: Some(minus),
                },
            ])
        }
        OpKind::Lerp(a, b, weight) if build.function.is_host(weight) => {
            let one = build.constant(1.0);
            let other = build.host_binary(HostBinary::Sub, one, weight);
            Some([
                Term {
                    value: a,
                    factor: Some(other),
                },
                Term {
                    value: b,
                    factor: Some(weight),
                },
            ])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::dtype::DType;
    use crate::kernel::BinaryOp;
    use crate::passes::testing::{check, hyper, slot, tensor};
    use insta::assert_snapshot;

    #[test]
    fn an_average_with_a_product_is_one_call() {
        let shown = check(run, &[tensor(&[3, 3]), tensor(&[3, 5])], |b, x| {
            let product = b.matmul(x[1], false, x[1], true);
            let weight = hyper(b);
            vec![b.lerp(x[0], product, weight)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[3, 5]
        v2 = product v1, v1' : f32[3, 3]
        v3 = hyper 0
        v4 = lerp v0, v2, v3 : f32[3, 3]
        yield v4
        →
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[3, 5]
        v2 = product v1, v1' : f32[3, 3]
        v3 = hyper 0
        v4 = const 1
        v5 = host.sub v4, v3
        v6 = v3 product v1, v1' plus v5 v0 : f32[3, 3]
        yield v6
        ");
    }

    #[test]
    fn an_average_of_a_gram_is_one_call() {
        let shown = check(run, &[tensor(&[3, 3]), tensor(&[2, 3, 5])], |b, x| {
            let gram = b.gram(x[1], 1);
            let weight = hyper(b);
            vec![b.lerp(x[0], gram, weight)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[2, 3, 5]
        v2 = gram v1 mode 1 : f32[3, 3]
        v3 = hyper 0
        v4 = lerp v0, v2, v3 : f32[3, 3]
        yield v4
        →
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[2, 3, 5]
        v2 = gram v1 mode 1 : f32[3, 3]
        v3 = hyper 0
        v4 = const 1
        v5 = host.sub v4, v3
        v6 = v3 gram v1 mode 1 plus v5 v0 : f32[3, 3]
        yield v6
        ");
    }

    #[test]
    fn factors_and_sums_move_in() {
        let shown = check(run, &[tensor(&[3, 3]), tensor(&[3, 3])], |b, x| {
            let product = b.matmul(x[0], false, x[1], false);
            let factor = hyper(b);
            let scaled = b.binary(BinaryOp::Mul, factor, product);
            let other = b.binary(BinaryOp::Mul, x[1], factor);
            vec![b.binary(BinaryOp::Add, other, scaled)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[3, 3]
        v2 = product v0, v1 : f32[3, 3]
        v3 = hyper 0
        v4 = mul v3, v2 : f32[3, 3]
        v5 = mul v1, v3 : f32[3, 3]
        v6 = add v5, v4 : f32[3, 3]
        yield v6
        →
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[3, 3]
        v2 = product v0, v1 : f32[3, 3]
        v3 = hyper 0
        v4 = v3 product v0, v1 : f32[3, 3]
        v5 = mul v1, v3 : f32[3, 3]
        v6 = v3 product v0, v1 plus v3 v1 : f32[3, 3]
        yield v6
        ");
    }

    #[test]
    fn a_difference_negates_what_it_takes_away() {
        let shown = check(run, &[tensor(&[3, 3]), tensor(&[3, 3])], |b, x| {
            let first = b.matmul(x[0], false, x[1], false);
            let less = b.binary(BinaryOp::Sub, x[0], first);
            let second = b.matmul(x[1], false, x[0], false);
            let more = b.binary(BinaryOp::Sub, second, x[0]);
            vec![less, more]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[3, 3]
        v2 = product v0, v1 : f32[3, 3]
        v3 = sub v0, v2 : f32[3, 3]
        v4 = product v1, v0 : f32[3, 3]
        v5 = sub v4, v0 : f32[3, 3]
        yield v3, v5
        →
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f32[3, 3]
        v2 = product v0, v1 : f32[3, 3]
        v3 = const 1
        v4 = const -1
        v5 = v4 product v0, v1 plus v0 : f32[3, 3]
        v6 = product v1, v0 : f32[3, 3]
        v7 = const 1
        v8 = const -1
        v9 = product v1, v0 plus v8 v0 : f32[3, 3]
        yield v5, v9
        ");
    }

    #[test]
    fn a_product_that_is_read_twice_stays() {
        let shown = check(run, &[tensor(&[3, 3])], |b, x| {
            let product = b.matmul(x[0], false, x[0], false);
            let sum = b.binary(BinaryOp::Add, product, x[0]);
            vec![product, sum]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[3, 3]
        v1 = product v0, v0 : f32[3, 3]
        v2 = add v1, v0 : f32[3, 3]
        yield v1, v2
        →
        v0 = slot 0 : f32[3, 3]
        v1 = product v0, v0 : f32[3, 3]
        v2 = add v1, v0 : f32[3, 3]
        yield v1, v2
        ");
    }

    #[test]
    fn a_sum_of_another_dtype_or_shape_stays_outside() {
        let inputs = [
            tensor(&[3, 3]),
            slot(DType::F64, &[3, 3], crate::hir::Fact::General),
            tensor(&[3]),
        ];
        let shown = check(run, &inputs, |b, x| {
            let first = b.matmul(x[0], false, x[0], false);
            let second = b.matmul(x[0], false, x[0], true);
            let wide = b.binary(BinaryOp::Add, first, x[1]);
            let row = b.binary(BinaryOp::Add, second, x[2]);
            vec![wide, row]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f64[3, 3]
        v2 = slot 2 : f32[3]
        v3 = product v0, v0 : f32[3, 3]
        v4 = product v0, v0' : f32[3, 3]
        v5 = add v3, v1 : f64[3, 3]
        v6 = add v4, v2 : f32[3, 3]
        yield v5, v6
        →
        v0 = slot 0 : f32[3, 3]
        v1 = slot 1 : f64[3, 3]
        v2 = slot 2 : f32[3]
        v3 = product v0, v0 : f32[3, 3]
        v4 = product v0, v0' : f32[3, 3]
        v5 = add v3, v1 : f64[3, 3]
        v6 = add v4, v2 : f32[3, 3]
        yield v5, v6
        ");
    }
}
