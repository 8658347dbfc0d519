//! Numbers that are known while checking: table cells, bounds, defaults.

use crate::hir::{BinaryOp, Expr, ExprKind, UnaryOp};

/// The value of an expression of numbers; `known` gives the values of names.
///
/// Powers have whole exponents here, so that no platform's `pow` enters a table.
pub(super) fn evaluate(expr: &Expr, known: &dyn Fn(&ExprKind) -> Option<f64>) -> Option<f64> {
    match &expr.kind {
        ExprKind::Number(value) => Some(*value),
        ExprKind::Unary(UnaryOp::Neg, x) => Some(-evaluate(x, known)?),
        ExprKind::Binary(op, x, y) => binary(*op, evaluate(x, known)?, evaluate(y, known)?),
        other => known(other),
    }
}

/// The value of an expression without names.
pub(super) fn constant(expr: &Expr) -> Option<f64> {
    evaluate(expr, &|_| None)
}

fn binary(op: BinaryOp, x: f64, y: f64) -> Option<f64> {
    match op {
        BinaryOp::Add => Some(x + y),
        BinaryOp::Sub => Some(x - y),
        BinaryOp::Mul => Some(x * y),
        BinaryOp::Div => Some(x / y),
        BinaryOp::Pow if y.fract() == 0.0 && y.abs() <= 64.0 => Some(power(x, y)),
        _ => None,
    }
}

fn power(x: f64, exponent: f64) -> f64 {
    let product = (0..exponent.abs() as u32).fold(1.0, |product, _| product * x);
    if exponent < 0.0 {
        1.0 / product
    } else {
        product
    }
}
