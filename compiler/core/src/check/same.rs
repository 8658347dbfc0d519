//! Whether two expressions are written alike: places do not matter.

use crate::hir::{Builtin, Expr, ExprKind};
use std::fmt::Write;

/// Equal keys mean equal values at one point of a rule; blocks and random numbers are equal only to themselves.
pub(super) fn key(expr: &Expr) -> String {
    let mut text = String::new();
    write_key(expr, &mut text);
    text
}

fn write_key(expr: &Expr, into: &mut String) {
    let (head, parts): (String, Vec<&Expr>) = match &expr.kind {
        ExprKind::Unary(op, x) => (format!("{op:?}"), vec![x]),
        ExprKind::Binary(op, x, y) => (format!("{op:?}"), vec![x, y]),
        ExprKind::Transpose(x) => ("Transpose".to_owned(), vec![x]),
        ExprKind::Field(x, field) => (format!("{field:?}"), vec![x]),
        ExprKind::Call(function, args) => (format!("{function}"), args.iter().collect()),
        ExprKind::Builtin(
            Builtin::Normal | Builtin::NormalLike | Builtin::UniformLike | Builtin::Stochastic,
            _,
        ) => (format!("{:?}", expr.span), vec![]),
        ExprKind::Builtin(builtin, args) => (format!("{builtin:?}"), args.iter().collect()),
        ExprKind::If { .. } | ExprKind::In(..) | ExprKind::Across(..) | ExprKind::OrElse(_) => {
            (format!("{:?}", expr.span), vec![])
        }
        leaf => (format!("{leaf:?}"), vec![]),
    };
    let _ = write!(into, "{head}(");
    for part in parts {
        write_key(part, into);
        into.push(',');
    }
    into.push(')');
}
