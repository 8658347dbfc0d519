//! Algebraic simplification: named rules, exact on element-wise work; products may be reassociated.
//!
//! ```text
//! v2 = contract v0 mode 0 with q'
//! v3 = contract v2 mode 0 with q     →   v0          (q orthogonal)
//! v5 = product v4', v1               →   product v4, v1 (v4 symmetric)
//! ```

use super::rewrite::{Made, Visitor, decides_now, in_order, rebuild};
use crate::dtype::DType;
use crate::ir::facts::{is_orthogonal, is_symmetric, polynomial_base};
use crate::ir::{Builder, Function, Op, OpKind, Product, Reduce, Type, Value};
use crate::kernel::BinaryOp;
use crate::plan::HostBinary;

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    let (function, applies) = any_applies(function);
    if applies || !in_order(&function) {
        rebuild(function, &mut Simplify)
    } else {
        function
    }
}

/// Whether a rule applies to any operation, or a branch is decided.
fn any_applies(function: Function) -> (Function, bool) {
    let mut ops = Vec::with_capacity(function.ops.len());
    function.for_each_op(|op| ops.push(op));
    let region = function.body;
    let mut build = Builder::at(function, region);
    let length = build.function.regions[region].ops.len();
    let applies = ops.into_iter().any(|op| applies(&mut build, op));
    build.function.regions[region].ops.truncate(length);
    (build.function, applies)
}

fn applies(build: &mut Builder, op: Op) -> bool {
    let kind = std::mem::replace(&mut build.function.ops[op].kind, OpKind::Step);
    let ty = build.function.ops[op]
        .results
        .first()
        .map(|&result| build.function.ty(result).clone());
    let mut rules = RULES.iter();
    let applies = decides_now(&build.function, &kind)
        || ty.is_some_and(|ty| rules.any(|rule| (rule.apply)(build, &kind, &ty).is_some()));
    build.function.ops[op].kind = kind;
    applies
}

/// A named rule: what an operation may be replaced by.
struct Rule {
    name: &'static str,
    apply: fn(&mut Builder, &OpKind, &Type) -> Option<Value>,
}

/// By operator. The first that applies is taken, and its result is not looked at again in this run.
const RULES: &[Rule] = &[
    // Host scalars.
    Rule {
        name: "host constants fold",
        apply: fold_host,
    },
    Rule {
        name: "x * 1 = x, x / 1 = x (host)",
        apply: host_one,
    },
    // Casts and shapes.
    Rule {
        name: "narrow(widen(x)) = x",
        apply: cast_of_cast,
    },
    Rule {
        name: "reshape(reshape(x)) = reshape(x)",
        apply: reshape_of_reshape,
    },
    Rule {
        name: "permute(permute(x)) = permute(x)",
        apply: permute_of_permute,
    },
    Rule {
        name: "permute of axes of length 1 = reshape",
        apply: permute_as_reshape,
    },
    // Products.
    Rule {
        name: "product(x', y) transposes while packing",
        apply: absorb_transpose,
    },
    Rule {
        name: "S' = S",
        apply: drop_symmetric_transpose,
    },
    Rule {
        name: "product(c x, y) = c product(x, y)",
        apply: scale_out,
    },
    Rule {
        name: "Q' Q = I along a mode",
        apply: cancel_rotation,
    },
    Rule {
        name: "A columns(B) = columns(A B)",
        apply: gather_out,
    },
    Rule {
        name: "p(X X') X = X p(X' X), the shorter side",
        apply: shorter_side,
    },
    // Reductions.
    Rule {
        name: "diag(A' B) = column sums of A ∘ B",
        apply: diag_of_product,
    },
];

struct Simplify;

impl Visitor for Simplify {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: &mut Vec<Type>,
        _: &[Value],
    ) -> Made {
        for rule in RULES {
            if let Some(value) = (rule.apply)(build, &kind, &types[0]) {
                debug_assert_eq!(build.function.ty(value), &types[0], "rule `{}`", rule.name);
                return Made::Value(value);
            }
        }
        Made::Op(build.push_op(kind, types.drain(..)))
    }
}

fn fold_host(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let known = |value: &Value| build.function.constant(*value);
    let x = match kind {
        OpKind::HostUnary(op, a) => op.apply(known(a)?),
        OpKind::HostBinary(op, a, b) => op.apply(known(a)?, known(b)?),
        OpKind::HostSelect(c, a, b) => return Some(if known(c)? != 0.0 { *a } else { *b }),
        _ => return None,
    };
    Some(build.constant(x))
}

fn host_one(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let is_one = |value: Value| build.function.constant(value) == Some(1.0);
    match *kind {
        OpKind::HostBinary(HostBinary::Mul, a, b) if is_one(b) => Some(a),
        OpKind::HostBinary(HostBinary::Mul, a, b) if is_one(a) => Some(b),
        OpKind::HostBinary(HostBinary::Div, a, b) if is_one(b) => Some(a),
        _ => None,
    }
}

fn cast_of_cast(build: &mut Builder, kind: &OpKind, ty: &Type) -> Option<Value> {
    let OpKind::Cast(inner) = *kind else {
        return None;
    };
    let OpKind::Cast(source) = *build.function.def(inner) else {
        return None;
    };
    let (wide, narrow) = (build.parts(inner).0, build.parts(source).0);
    let widened = narrow.compute() == wide || wide == DType::F64;
    (widened && build.function.ty(source) == ty).then_some(source)
}

fn reshape_of_reshape(build: &mut Builder, kind: &OpKind, ty: &Type) -> Option<Value> {
    let (OpKind::Reshape(inner), Type::Tensor(ty)) = (kind, ty) else {
        return None;
    };
    let OpKind::Reshape(source) = *build.function.def(*inner) else {
        return None;
    };
    Some(build.reshape(source, ty.dims.clone()))
}

fn permute_of_permute(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Permute(inner, outer_axes) = kind else {
        return None;
    };
    let OpKind::Permute(source, inner_axes) = build.function.def(*inner).clone() else {
        return None;
    };
    let axes: Vec<u32> = outer_axes
        .iter()
        .map(|&axis| inner_axes[axis as usize])
        .collect();
    if axes.iter().enumerate().all(|(n, &axis)| n as u32 == axis) {
        return Some(source);
    }
    Some(build.permute(source, axes))
}

/// The elements stay where they are when the axes longer than 1 keep their order.
fn permute_as_reshape(build: &mut Builder, kind: &OpKind, ty: &Type) -> Option<Value> {
    let (OpKind::Permute(x, axes), Type::Tensor(ty)) = (kind, ty) else {
        return None;
    };
    let dims = build.function.dims(*x);
    let long: Vec<u32> = axes
        .iter()
        .copied()
        .filter(|&axis| dims[axis as usize] != 1)
        .collect();
    long.is_sorted().then(|| build.reshape(*x, ty.dims.clone()))
}

/// The matrix that `value` is the transpose of.
fn transposed_source(build: &Builder, value: Value) -> Option<Value> {
    let OpKind::Permute(source, axes) = build.function.def(value) else {
        return None;
    };
    let rank = axes.len();
    let (front, back) = axes.split_at(rank.checked_sub(2)?);
    let stacked = front.iter().enumerate().all(|(n, &axis)| n as u32 == axis);
    (stacked && back == [rank as u32 - 1, rank as u32 - 2]).then_some(*source)
}

fn absorb_transpose(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Product(product) = kind else {
        return None;
    };
    let (a, b) = (
        transposed_source(build, product.a),
        transposed_source(build, product.b),
    );
    if a.is_none() && b.is_none() {
        return None;
    }
    let product = Product {
        a: a.unwrap_or(product.a),
        ta: product.ta != a.is_some(),
        b: b.unwrap_or(product.b),
        tb: product.tb != b.is_some(),
        ..product.clone()
    };
    Some(build.product(product))
}

fn drop_symmetric_transpose(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Product(product) = kind else {
        return None;
    };
    let drop_a = product.ta && is_symmetric(&build.function, product.a);
    let drop_b = product.tb && is_symmetric(&build.function, product.b);
    if !drop_a && !drop_b {
        return None;
    }
    Some(build.product(Product {
        ta: product.ta && !drop_a,
        tb: product.tb && !drop_b,
        ..product.clone()
    }))
}

/// The host factor and the tensor of `c x`.
pub(super) fn scaled(function: &Function, value: Value) -> Option<(Value, Value)> {
    match *function.def(value) {
        OpKind::Binary(BinaryOp::Mul, c, x) if function.is_host(c) => Some((c, x)),
        OpKind::Binary(BinaryOp::Mul, x, c) if function.is_host(c) => Some((c, x)),
        _ => None,
    }
}

fn scale_out(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Product(product) = kind else {
        return None;
    };
    let mut product = product.clone();
    let factors: Vec<Value> = [&mut product.a, &mut product.b]
        .into_iter()
        .filter_map(|operand| {
            let (factor, tensor) = scaled(&build.function, *operand)?;
            *operand = tensor;
            Some(factor)
        })
        .collect();
    let alpha = factors
        .iter()
        .copied()
        .reduce(|a, b| build.host_binary(HostBinary::Mul, a, b))?;
    product.alpha = Some(match product.alpha {
        Some(outer) => build.host_binary(HostBinary::Mul, outer, alpha),
        None => alpha,
    });
    Some(build.product(product))
}

/// Mode products along different modes commute, so the inverse may lie further down the chain.
fn cancel_rotation(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Contract {
        x,
        q,
        mode,
        transposed,
    } = *kind
    else {
        return None;
    };
    if !is_orthogonal(&build.function, q) {
        return None;
    }
    let mut between = Vec::new();
    let mut at = x;
    loop {
        let OpKind::Contract {
            x: inner,
            q: other,
            mode: axis,
            transposed: back,
        } = *build.function.def(at)
        else {
            return None;
        };
        if axis == mode {
            if other != q || back == transposed {
                return None;
            }
            let chain = between.into_iter().rev();
            return Some(chain.fold(inner, |x, (q, mode, back)| build.contract(x, q, mode, back)));
        }
        between.push((other, axis, back));
        at = inner;
    }
}

fn gather_out(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Product(product) = kind else {
        return None;
    };
    let OpKind::Gather { x, axis, index } = *build.function.def(product.b) else {
        return None;
    };
    let last = build.function.dims(x).len() as u32 - 1;
    // Of some columns alone the product is smaller.
    let some = build.function.dims(x) != build.function.dims(product.b);
    if product.tb || axis != last || product.added.is_some() || some {
        return None;
    }
    let whole = build.product(Product {
        b: x,
        ..product.clone()
    });
    Some(build.gather(whole, axis, index))
}

fn shorter_side(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Product(Product {
        a,
        ta: false,
        b: x,
        tb: false,
        alpha,
        added: None,
    }) = *kind
    else {
        return None;
    };
    let base = polynomial_base(&build.function, a)?;
    let OpKind::Product(gram) = build.function.def(base).clone() else {
        return None;
    };
    let of_x = gram.a == x && gram.b == x && !gram.ta && gram.tb && gram.added.is_none();
    let [.., m, n] = *build.function.dims(x) else {
        return None;
    };
    if !of_x || m <= n {
        return None;
    }
    let other = build.product(Product {
        ta: true,
        tb: false,
        ..gram
    });
    let polynomial = substitute(build, a, base, other)?;
    Some(build.product(Product {
        a: x,
        ta: false,
        b: polynomial,
        tb: false,
        alpha,
        added: None,
    }))
}

/// The polynomial `value` in `from`, written in `to` instead.
fn substitute(build: &mut Builder, value: Value, from: Value, to: Value) -> Option<Value> {
    if value == from {
        return Some(to);
    }
    match build.function.def(value).clone() {
        OpKind::Product(product) => {
            let a = substitute(build, product.a, from, to)?;
            let b = substitute(build, product.b, from, to)?;
            let added = match product.added {
                Some((c, beta)) => Some((substitute(build, c, from, to)?, beta)),
                None => None,
            };
            Some(build.product(Product {
                a,
                b,
                added,
                ..product
            }))
        }
        OpKind::Binary(op, a, b) => {
            let mut side = |v: Value| {
                if build.function.is_host(v) {
                    Some(v)
                } else {
                    substitute(build, v, from, to)
                }
            };
            let (a, b) = (side(a)?, side(b)?);
            Some(build.binary(op, a, b))
        }
        OpKind::Lerp(a, b, weight) => {
            let (a, b) = (
                substitute(build, a, from, to)?,
                substitute(build, b, from, to)?,
            );
            Some(build.lerp(a, b, weight))
        }
        OpKind::Unary(op, a) => {
            let a = substitute(build, a, from, to)?;
            Some(build.unary(op, a))
        }
        _ => None,
    }
}

fn diag_of_product(build: &mut Builder, kind: &OpKind, _: &Type) -> Option<Value> {
    let OpKind::Diag(of) = *kind else { return None };
    let OpKind::Product(outer) = build.function.def(of).clone() else {
        return None;
    };
    let OpKind::Product(left) = build.function.def(outer.a).clone() else {
        return None;
    };
    let plain = outer.alpha.is_none() && outer.added.is_none() && left.added.is_none();
    if !plain || outer.ta || outer.tb {
        return None;
    }
    let transposed = Product {
        a: left.b,
        ta: !left.tb,
        b: left.a,
        tb: !left.ta,
        ..left
    };
    let transposed =
        match drop_symmetric_transpose(build, &OpKind::Product(transposed.clone()), &Type::Host) {
            Some(value) => value,
            None => build.product(transposed),
        };
    let terms = build.binary(BinaryOp::Mul, transposed, outer.b);
    Some(build.sum(terms, Reduce::Before(1)))
}

#[cfg(test)]
mod tests;
