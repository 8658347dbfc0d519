//! What is known of a matrix: symmetric, orthogonal, a polynomial in another matrix.
//!
//! Facts are computed bottom-up from the operations and from what state declarations promise. They choose the
//! symmetric half of a product, license rewrites such as `Q' Q = I`, and cost nothing at run time.

use super::{Function, OnFailure, OpKind, Value};
use crate::hir::Fact;
use crate::packed::Packing;

/// Whether `value` equals its transpose.
pub fn is_symmetric(function: &Function, value: Value) -> bool {
    match function.def(value) {
        OpKind::Slot(n) => matches!(
            function.slots[*n as usize].fact,
            Fact::Symmetric | Fact::Spd | Fact::Diagonal
        ),
        OpKind::Identity(_) => true,
        OpKind::Unpack { packing, .. } => *packing == Packing::Mirrored,
        OpKind::Gram { added, .. } => added.is_none_or(|(c, _)| is_symmetric(function, c)),
        OpKind::Fill(_) => is_square(function, value),
        OpKind::Product(p) => {
            let added = p.added.is_none_or(|(c, _)| is_symmetric(function, c));
            added
                && is_square(function, value)
                && (is_gram(p) || polynomial_base(function, value).is_some())
        }
        kind if kind.is_map() => {
            is_square(function, value) && map_of_symmetric(function, kind, value)
        }
        OpKind::If { .. } => false,
        _ => false,
    }
}

/// `x x'` or `x' x`.
fn is_gram(product: &super::Product) -> bool {
    product.a == product.b && product.ta != product.tb
}

fn is_square(function: &Function, value: Value) -> bool {
    matches!(function.dims(value), [.., m, n] if m == n)
}

/// An element-wise function of symmetric matrices (and scalars) is symmetric.
fn map_of_symmetric(function: &Function, kind: &OpKind, value: Value) -> bool {
    kind.operands().into_iter().all(|operand| {
        let scalar =
            function.is_host(operand) || function.dims(operand).iter().product::<u64>() == 1;
        scalar
            || (function.dims(operand) == function.dims(value) && is_symmetric(function, operand))
    })
}

/// The symmetric matrix S that `value` is a polynomial in, if it is one: two polynomials in one symmetric matrix
/// commute, so their product is symmetric.
pub fn polynomial_base(function: &Function, value: Value) -> Option<Value> {
    match function.def(value) {
        OpKind::Product(p) if !is_gram(p) => {
            let base = polynomial_base(function, p.a)?;
            let same = polynomial_base(function, p.b)? == base;
            let added = p
                .added
                .is_none_or(|(c, _)| polynomial_base(function, c) == Some(base));
            (same && added).then_some(base)
        }
        OpKind::Product(p) if p.added.is_some() => {
            let inner = polynomial_base(function, p.a)?;
            let (c, _) = p.added?;
            (polynomial_base(function, c) == Some(inner)).then_some(inner)
        }
        OpKind::Product(p) if is_square(function, p.a) && is_symmetric(function, p.a) => {
            polynomial_base(function, p.a)
        }
        OpKind::Binary(op, a, b) => binary_polynomial(function, *op, *a, *b),
        OpKind::Lerp(a, b, weight) if function.is_host(*weight) => {
            let base = polynomial_base(function, *a)?;
            (polynomial_base(function, *b)? == base).then_some(base)
        }
        OpKind::Unary(crate::kernel::UnaryOp::Neg, a) | OpKind::Cast(a) => {
            polynomial_base(function, *a)
        }
        _ => (is_square(function, value) && is_symmetric(function, value)).then_some(value),
    }
}

fn binary_polynomial(
    function: &Function,
    op: crate::kernel::BinaryOp,
    a: Value,
    b: Value,
) -> Option<Value> {
    use crate::kernel::BinaryOp;
    let (host_a, host_b) = (function.is_host(a), function.is_host(b));
    match op {
        BinaryOp::Mul if host_a => polynomial_base(function, b),
        BinaryOp::Mul | BinaryOp::Div if host_b => polynomial_base(function, a),
        BinaryOp::Add | BinaryOp::Sub if !host_a && !host_b => {
            let base = polynomial_base(function, a)?;
            (polynomial_base(function, b)? == base).then_some(base)
        }
        _ => None,
    }
}

/// Whether `value' value` is the identity (and `value` is square).
pub fn is_orthogonal(function: &Function, value: Value) -> bool {
    if !is_square(function, value) {
        return false;
    }
    match function.def(value) {
        OpKind::Slot(n) => function.slots[*n as usize].fact == Fact::Orthogonal,
        OpKind::Eigh { on_failure, .. } => {
            function.values[value].index == 1 && keeps_orthogonal(function, *on_failure)
        }
        OpKind::Qr { on_failure, .. } => {
            function.values[value].index == 0 && keeps_orthogonal(function, *on_failure)
        }
        // The order of a vector is a permutation of its indices.
        OpKind::Gather { x, index, .. } => {
            matches!(function.def(*index), OpKind::Argsort { .. }) && is_orthogonal(function, *x)
        }
        OpKind::Permute(x, axes) => axes[..] == [1, 0] && is_orthogonal(function, *x),
        _ => false,
    }
}

/// Whether what a failed factorization leaves instead of its result is orthogonal too.
fn keeps_orthogonal(function: &Function, on_failure: OnFailure) -> bool {
    let kept = on_failure.keep;
    !on_failure.nan && kept.is_none_or(|keep| is_orthogonal(function, keep))
}
