//! Operators: arithmetic, products, comparisons, logic, transposition; and what they keep of a matrix's structure.

use super::body::Body;
use super::error::CheckError;
use super::expr::{error, general, is_numeric};
use super::phase::is_host;
use super::same;
use super::shapes::{self, Matrix};
use super::types::implies;
use crate::hir::{Axis, BinaryOp, Dim, Expr, ExprKind, Fact, Shape, Type, UnaryOp};
use optc_grammar::ast::{self, Span};

impl Body<'_> {
    pub(super) fn unary(&mut self, op: ast::UnaryOp, x: Expr, span: Span) -> Expr {
        let (op, text) = match op {
            ast::UnaryOp::Neg => (UnaryOp::Neg, "-"),
            ast::UnaryOp::Not => (UnaryOp::Not, "not"),
        };
        let ty = match (op, &x.ty) {
            (_, Type::Error) => return error(span),
            (UnaryOp::Neg, Type::Int | Type::Float)
            | (UnaryOp::Not, Type::Bool | Type::Mask(_)) => x.ty.clone(),
            (UnaryOp::Neg, Type::Tensor { shape, fact }) => Type::Tensor {
                shape: shape.clone(),
                fact: scaled(*fact),
            },
            _ => {
                let help = if op == UnaryOp::Not {
                    "`not` is for conditions"
                } else {
                    "`-` is for numbers and tensors"
                };
                return self.operand(text, &x, help);
            }
        };
        Expr {
            kind: ExprKind::Unary(op, Box::new(x)),
            ty,
            span,
        }
    }

    pub(super) fn operand(&mut self, op: &str, x: &Expr, help: &str) -> Expr {
        let found = self.describe(&x.ty);
        self.report(CheckError::Operand {
            op: op.to_owned(),
            found,
            help: help.to_owned(),
            at: x.span,
        });
        error(x.span)
    }

    pub(super) fn transpose(&mut self, x: Expr, span: Span) -> Expr {
        let (shape, fact) = match &x.ty {
            Type::Error => return error(span),
            Type::Tensor { shape, fact } => (shape, *fact),
            _ => return self.operand("'", &x, "`'` transposes matrices"),
        };
        let Some(matrix) = Matrix::of(shape) else {
            let error = self.wrong_rank("`'`", "a matrix", shape, x.span);
            self.report(error);
            return self::error(span);
        };
        let ty = Type::Tensor {
            shape: matrix.sized(matrix.cols.clone(), matrix.rows.clone()),
            fact: flipped(fact),
        };
        Expr {
            kind: ExprKind::Transpose(Box::new(x)),
            ty,
            span,
        }
    }

    pub(super) fn wrong_rank(&self, what: &str, need: &str, shape: &Shape, at: Span) -> CheckError {
        let help = if shapes::rank(shape).is_none() {
            "name the dimensions it needs in the pattern, as in `w: [m, n]` or `w: [..., m, n]`"
        } else {
            "hand over a tensor with more or fewer axes"
        };
        let (what, need, shape) = (what.to_owned(), need.to_owned(), self.show_shape(shape));
        CheckError::WrongRank {
            what,
            need,
            shape,
            help: help.to_owned(),
            at,
        }
    }

    /// Words can stand on either side of `==`.
    pub(super) fn operands(
        &mut self,
        op: ast::BinaryOp,
        x: &ast::Expr,
        y: &ast::Expr,
        span: Span,
    ) -> Expr {
        let equality = matches!(op, ast::BinaryOp::Eq | ast::BinaryOp::Ne);
        let is_word = |body: &Self, expr: &ast::Expr| match &expr.kind {
            ast::ExprKind::Name(name) => body.names.get(name).is_none(),
            _ => false,
        };
        if equality && is_word(self, x) && !is_word(self, y) {
            let y = self.expr(y);
            let x = self.expr_towards(x, Some(&y.ty));
            return self.binary(op, x, y, span);
        }
        let x = self.expr(x);
        let y = if equality {
            self.expr_towards(y, Some(&x.ty))
        } else {
            self.expr(y)
        };
        self.binary(op, x, y, span)
    }

    pub(super) fn binary(&mut self, op: ast::BinaryOp, x: Expr, y: Expr, span: Span) -> Expr {
        if x.ty == Type::Error || y.ty == Type::Error {
            return error(span);
        }
        use ast::BinaryOp::*;
        match op {
            Mul => self.product(x, y, span),
            Add | Sub | ElementMul | Div | Pow => self.arithmetic(op, x, y, span),
            Lt | Le | Gt | Ge | Eq | Ne => self.comparison(op, x, y, span),
            And | Or => self.logic(op, x, y, span),
        }
    }

    fn arithmetic(&mut self, op: ast::BinaryOp, x: Expr, y: Expr, span: Span) -> Expr {
        let text = symbol(op);
        for side in [&x, &y] {
            if !is_numeric(&side.ty) {
                let help = match &side.ty {
                    Type::Mask(_) => "`select(mask, 1, 0)` makes numbers of a mask",
                    _ => "arithmetic is for numbers and tensors",
                };
                return self.operand(text, side, help);
            }
        }
        if op == ast::BinaryOp::Pow && !is_host(&y.ty) {
            return self.operand(
                "^",
                &y,
                "the exponent is a number; `exp(y * log(x))` takes tensors",
            );
        }
        let ty = match self.elementwise(&x, &y, span) {
            Some(Type::Int) if matches!(op, ast::BinaryOp::Div | ast::BinaryOp::Pow) => Type::Float,
            Some(Type::Tensor { shape, .. }) => Type::Tensor {
                shape,
                fact: fact_of(op, &x, &y),
            },
            Some(ty) => ty,
            None => return error(span),
        };
        let op = hir_op(op);
        Expr {
            kind: ExprKind::Binary(op, Box::new(x), Box::new(y)),
            ty,
            span,
        }
    }

    /// The type of an elementwise operation of two numeric values.
    pub(super) fn elementwise(&mut self, x: &Expr, y: &Expr, at: Span) -> Option<Type> {
        match (&x.ty, &y.ty) {
            (Type::Int, Type::Int) => Some(Type::Int),
            (Type::Int | Type::Float, Type::Int | Type::Float) => Some(Type::Float),
            (Type::Tensor { shape, .. }, Type::Int | Type::Float)
            | (Type::Int | Type::Float, Type::Tensor { shape, .. }) => Some(general(shape.clone())),
            (Type::Tensor { shape: left, .. }, Type::Tensor { shape: right, .. }) => {
                let shape = self.broadcast(left, right, at, Some(x.span), Some(y.span));
                shape.map(general)
            }
            _ => None,
        }
    }

    /// The common shape, or a report with both.
    pub(super) fn broadcast(
        &mut self,
        left: &Shape,
        right: &Shape,
        at: Span,
        left_at: Option<Span>,
        right_at: Option<Span>,
    ) -> Option<Shape> {
        let shape = shapes::broadcast(left, right);
        if shape.is_none() {
            let help = "elementwise operations need equal shapes, a scalar, or axes of length 1";
            self.shape_mismatch(left, right, help, at, left_at, right_at);
        }
        shape
    }

    pub(super) fn shape_mismatch(
        &mut self,
        left: &Shape,
        right: &Shape,
        help: &str,
        at: Span,
        left_at: Option<Span>,
        right_at: Option<Span>,
    ) {
        let mut axes = left.axes.iter().zip(&right.axes);
        let named = match axes.find(|(a, b)| a != b) {
            Some((Axis::Dim(a), Axis::Dim(b))) => self.first_named([a, b]),
            _ => Vec::new(),
        };
        let (left, right) = (self.show_shape(left), self.show_shape(right));
        let help = help.to_owned();
        self.report(CheckError::ShapeMismatch {
            left,
            right,
            help,
            at,
            left_at,
            right_at,
            named,
        });
    }

    /// Where two lengths that differ got their names.
    fn first_named(&self, dims: [&Dim; 2]) -> Vec<Span> {
        let named = dims.into_iter().filter_map(|dim| match dim {
            Dim::Named(name) => self.names.get(name)?.span,
            _ => None,
        });
        named.collect()
    }

    /// `*`: scaling, or the product of matrices.
    fn product(&mut self, x: Expr, y: Expr, span: Span) -> Expr {
        let (
            Type::Tensor {
                shape: left,
                fact: a,
            },
            Type::Tensor {
                shape: right,
                fact: b,
            },
        ) = (&x.ty, &y.ty)
        else {
            return self.arithmetic(ast::BinaryOp::Mul, x, y, span);
        };
        let scales = |shape: &Shape| {
            shape.axes.is_empty() || Matrix::of(shape).is_some_and(|m| m.is_factor())
        };
        if scales(left) || scales(right) {
            return self.arithmetic(ast::BinaryOp::Mul, x, y, span);
        }
        let (Some(m), Some(n)) = (Matrix::of(left), Matrix::of(right)) else {
            let (left, right) = (self.show_shape(left), self.show_shape(right));
            self.report(CheckError::AmbiguousProduct {
                left,
                right,
                at: span,
                left_at: x.span,
                right_at: y.span,
            });
            return error(span);
        };
        if m.cols != n.rows {
            let (left, right) = (self.show_shape(left), self.show_shape(right));
            let (inner_left, inner_right) = (self.show_dim(&m.cols), self.show_dim(&n.rows));
            let (left_at, right_at) = (x.span, y.span);
            let named = self.first_named([&m.cols, &n.rows]);
            self.report(CheckError::InnerMismatch {
                left,
                right,
                inner_left,
                inner_right,
                at: span,
                left_at,
                right_at,
                named,
            });
            return error(span);
        }
        if m.stack != n.stack {
            let (left, right) = (left.clone(), right.clone());
            let help = "a product of stacks needs the same leading axes on both sides";
            self.shape_mismatch(&left, &right, help, span, Some(x.span), Some(y.span));
            return error(span);
        }
        let fact = match is_congruence(&x, &y) {
            true => Fact::Symmetric,
            false => product_fact(*a, *b),
        };
        let ty = Type::Tensor {
            shape: m.sized(m.rows.clone(), n.cols),
            fact,
        };
        Expr {
            kind: ExprKind::Binary(BinaryOp::MatMul, Box::new(x), Box::new(y)),
            ty,
            span,
        }
    }

    fn comparison(&mut self, op: ast::BinaryOp, x: Expr, y: Expr, span: Span) -> Expr {
        let equality = matches!(op, ast::BinaryOp::Eq | ast::BinaryOp::Ne);
        let ty = match (&x.ty, &y.ty) {
            (Type::Bool, Type::Bool) | (Type::DType, Type::DType) if equality => Type::Bool,
            (Type::Choice(a), Type::Choice(b)) if equality && a == b => Type::Bool,
            (a, b) if is_numeric(a) && is_numeric(b) => match self.elementwise(&x, &y, span) {
                Some(Type::Tensor { shape, .. }) => Type::Mask(shape),
                Some(_) => Type::Bool,
                None => return error(span),
            },
            (a, b) => {
                let odd = if is_numeric(a) && !is_numeric(b) {
                    &y
                } else {
                    &x
                };
                let help = if equality {
                    "both sides must be numbers, tensors, truth values, or words of one choice"
                } else {
                    "order is for numbers and tensors"
                };
                return self.operand(symbol(op), odd, help);
            }
        };
        Expr {
            kind: ExprKind::Binary(hir_op(op), Box::new(x), Box::new(y)),
            ty,
            span,
        }
    }

    fn logic(&mut self, op: ast::BinaryOp, x: Expr, y: Expr, span: Span) -> Expr {
        let ty = match (&x.ty, &y.ty) {
            (Type::Bool, Type::Bool) => Type::Bool,
            (Type::Mask(a), Type::Mask(b)) => {
                match self.broadcast(a, b, span, Some(x.span), Some(y.span)) {
                    Some(shape) => Type::Mask(shape),
                    None => return error(span),
                }
            }
            (Type::Bool | Type::Mask(_), _) => {
                return self.operand(
                    symbol(op),
                    &y,
                    "both sides must be conditions, or both masks",
                );
            }
            _ => {
                return self.operand(
                    symbol(op),
                    &x,
                    "both sides must be conditions, or both masks",
                );
            }
        };
        Expr {
            kind: ExprKind::Binary(hir_op(op), Box::new(x), Box::new(y)),
            ty,
            span,
        }
    }
}

fn symbol(op: ast::BinaryOp) -> &'static str {
    use ast::BinaryOp::*;
    match op {
        Add => "+",
        Sub => "-",
        Mul => "*",
        ElementMul => ".*",
        Div => "/",
        Pow => "^",
        Lt => "<",
        Le => "<=",
        Gt => ">",
        Ge => ">=",
        Eq => "==",
        Ne => "!=",
        And => "and",
        Or => "or",
    }
}

fn hir_op(op: ast::BinaryOp) -> BinaryOp {
    use ast::BinaryOp::*;
    match op {
        Add => BinaryOp::Add,
        Sub => BinaryOp::Sub,
        Mul | ElementMul => BinaryOp::Mul,
        Div => BinaryOp::Div,
        Pow => BinaryOp::Pow,
        Lt => BinaryOp::Lt,
        Le => BinaryOp::Le,
        Gt => BinaryOp::Gt,
        Ge => BinaryOp::Ge,
        Eq => BinaryOp::Eq,
        Ne => BinaryOp::Ne,
        And => BinaryOp::And,
        Or => BinaryOp::Or,
    }
}

/// What is left of a fact when a matrix is multiplied by some number.
pub(super) fn scaled(fact: Fact) -> Fact {
    match fact {
        Fact::Spd => Fact::Symmetric,
        Fact::Orthogonal => Fact::General,
        other => other,
    }
}

fn flipped(fact: Fact) -> Fact {
    match fact {
        Fact::Upper => Fact::Lower,
        Fact::Lower => Fact::Upper,
        other => other,
    }
}

fn product_fact(a: Fact, b: Fact) -> Fact {
    match (a, b) {
        (Fact::Orthogonal, Fact::Orthogonal) => Fact::Orthogonal,
        (Fact::Diagonal, Fact::Diagonal) => Fact::Diagonal,
        (Fact::Upper | Fact::Diagonal, Fact::Upper | Fact::Diagonal) => Fact::Upper,
        (Fact::Lower | Fact::Diagonal, Fact::Lower | Fact::Diagonal) => Fact::Lower,
        _ => Fact::General,
    }
}

/// The fact of an elementwise result.
fn fact_of(op: ast::BinaryOp, x: &Expr, y: &Expr) -> Fact {
    use ast::BinaryOp::*;
    match (op, &x.ty, &y.ty) {
        (
            Add | Sub,
            Type::Tensor { shape, fact: a },
            Type::Tensor {
                shape: other,
                fact: b,
            },
        ) if shape == other => {
            if is_symmetric_sum(op, x, y) {
                Fact::Symmetric
            } else {
                sum_fact(*a, *b)
            }
        }
        (Mul | ElementMul | Div, Type::Tensor { fact, shape }, other) if scales(other, shape) => {
            scaled(*fact)
        }
        (Mul | ElementMul, other, Type::Tensor { fact, shape }) if scales(other, shape) => {
            scaled(*fact)
        }
        _ => Fact::General,
    }
}

/// One number for each matrix.
fn scales(ty: &Type, of: &Shape) -> bool {
    match ty {
        Type::Int | Type::Float => true,
        Type::Tensor { shape, .. } => {
            shape.axes.is_empty()
                || (Matrix::of(shape).is_some_and(|m| m.is_factor())
                    && shape.axes.len() == of.axes.len())
        }
        _ => false,
    }
}

/// The fact of a sum or difference, or of a mean with weights.
pub(super) fn sum_fact(a: Fact, b: Fact) -> Fact {
    let (a, b) = (scaled(a), scaled(b));
    match (a, b) {
        (Fact::General, _) | (_, Fact::General) => Fact::General,
        _ if implies(a, b) => b,
        _ if implies(b, a) => a,
        _ => Fact::General,
    }
}

/// `x + x'`
fn is_symmetric_sum(op: ast::BinaryOp, x: &Expr, y: &Expr) -> bool {
    op == ast::BinaryOp::Add && are_transposes(x, y)
}

/// `x * x'`, and `x * s * x'` with a symmetric `s`
fn is_congruence(x: &Expr, y: &Expr) -> bool {
    let (x, y) = (unscaled(x), unscaled(y));
    match &x.kind {
        _ if are_transposes(x, y) => true,
        ExprKind::Binary(BinaryOp::MatMul, first, middle) => {
            is_symmetric(middle) && are_transposes(unscaled(first), y)
        }
        _ => false,
    }
}

/// `x` and `x'`, as written, or twice the same symmetric matrix
fn are_transposes(x: &Expr, y: &Expr) -> bool {
    let transposed = |a: &Expr, b: &Expr| matches!(&a.kind, ExprKind::Transpose(inner) if same::key(inner) == same::key(b));
    transposed(x, y) || transposed(y, x) || is_symmetric(x) && same::key(x) == same::key(y)
}

fn is_symmetric(x: &Expr) -> bool {
    matches!(x.ty, Type::Tensor { fact, .. } if implies(fact, Fact::Symmetric))
}

/// What stands behind the factors that are numbers of the host.
fn unscaled(x: &Expr) -> &Expr {
    match &x.kind {
        ExprKind::Binary(BinaryOp::Mul, factor, rest) if is_host(&factor.ty) => unscaled(rest),
        ExprKind::Binary(BinaryOp::Mul | BinaryOp::Div, rest, factor) if is_host(&factor.ty) => {
            unscaled(rest)
        }
        ExprKind::Unary(UnaryOp::Neg, rest) => unscaled(rest),
        _ => x,
    }
}
