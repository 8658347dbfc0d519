//! Expressions: every node gets a type, every mistake is reported once.

use super::body::{Body, Flow, Room, list};
use super::error::CheckError;
use super::names::{Binding, did_you_mean};
use super::phase::{Level, is_host};
use super::shapes::Matrix;
use super::types::{self, fits, implies};
use crate::hir::{Block, Expr, ExprKind, Fact, Field, Keep, OrElse, Place, Shape, Type};
use optc_grammar::ast::{self, Name, Span};

/// A place where neither state nor sums over parameters can stand.
const VALUE: &str = "a block that gives a value";

/// An expression that was reported; its consequences are silent.
pub(super) fn error(span: Span) -> Expr {
    Expr {
        kind: ExprKind::Number(0.0),
        ty: Type::Error,
        span,
    }
}

pub(super) fn general(shape: Shape) -> Type {
    Type::Tensor {
        shape,
        fact: Fact::General,
    }
}

impl Body<'_> {
    /// Checks an expression that says itself what it is.
    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Expr {
        self.size = self.size.saturating_add(self.copies);
        let span = expr.span;
        match &expr.kind {
            ast::ExprKind::Number(value) => number(*value, span),
            ast::ExprKind::Bool(value) => Expr {
                kind: ExprKind::Bool(*value),
                ty: Type::Bool,
                span,
            },
            ast::ExprKind::Text(_) => self.stray_text(span),
            ast::ExprKind::Name(name) => self.name(name, span),
            ast::ExprKind::Index { name, index } => self.index(name, index, span),
            ast::ExprKind::Unary(op, x) => {
                let x = self.expr(x);
                self.unary(*op, x, span)
            }
            ast::ExprKind::Transpose(x) => {
                let x = self.expr(x);
                self.transpose(x, span)
            }
            ast::ExprKind::Binary(op, x, y) => self.operands(*op, x, y, span),
            ast::ExprKind::Call { callee, args } => self.call(callee, args, span),
            ast::ExprKind::Field(x, name) => match self.base_named(x) {
                Some((base, of)) => self.base_hyper(base, of, name, span),
                None => {
                    let x = self.expr(x);
                    self.field(x, name, span)
                }
            },
            ast::ExprKind::If {
                cond,
                then,
                otherwise,
            } => self.if_value(cond, then, otherwise, None, span),
            ast::ExprKind::In { dtype, body } => self.in_value(dtype, body, None, span),
            ast::ExprKind::Across { max, body } => self.across(*max, body, span),
            ast::ExprKind::OrElse { value, policies } => self.or_else(value, policies, span),
            ast::ExprKind::Composed(composed) => self.composed_as_value(composed),
            ast::ExprKind::Table(rows) => self.table_literal(rows, span),
        }
    }

    fn stray_text(&mut self, at: Span) -> Expr {
        self.report(CheckError::TypeMismatch {
            expected: "a number or a tensor".to_owned(),
            found: "a text".to_owned(),
            help: "texts say which names are meant, as in `named(\"bias|norm\")`".to_owned(),
            at,
            origin: None,
        });
        error(at)
    }

    /// Checks an expression where `expected` is needed: words of a choice and storage types can be read only so.
    pub(super) fn expr_as(&mut self, expr: &ast::Expr, expected: &Type) -> Expr {
        let checked = self.expr_towards(expr, Some(expected));
        self.expect(checked, expected, None)
    }

    /// As [`Self::expr`], with a hint for words.
    pub(super) fn expr_towards(&mut self, expr: &ast::Expr, expected: Option<&Type>) -> Expr {
        let span = expr.span;
        match (&expr.kind, expected) {
            (ast::ExprKind::Name(name), Some(Type::Choice(words))) => self.word(name, words, span),
            (ast::ExprKind::Name(name), Some(Type::DType)) => self.dtype_word(name, span),
            (
                ast::ExprKind::If {
                    cond,
                    then,
                    otherwise,
                },
                _,
            ) => self.if_value(cond, then, otherwise, expected, span),
            (ast::ExprKind::In { dtype, body }, _) => self.in_value(dtype, body, expected, span),
            _ => self.expr(expr),
        }
    }

    /// Reports a value whose type does not fit.
    pub(super) fn expect(&mut self, value: Expr, expected: &Type, origin: Option<Span>) -> Expr {
        if fits(expected, &value.ty) {
            return value;
        }
        let help = match (expected, &value.ty) {
            (Type::Int, Type::Float) => "`floor(x)` makes a whole number",
            (Type::Float | Type::Int, Type::Tensor { .. }) => {
                "the elements of a tensor are not known on the host; compute with tensors, or use a hyperparameter"
            }
            (Type::Tensor { .. }, Type::Int | Type::Float) => {
                "`zeros_like(x)` and `ones_like(x)` make tensors"
            }
            _ => "write a value of the type that is needed",
        };
        let (expected, found) = (self.describe(expected), self.describe(&value.ty));
        let at = value.span;
        self.report(CheckError::TypeMismatch {
            expected,
            found,
            help: help.to_owned(),
            at,
            origin,
        });
        error(at)
    }

    fn word(&mut self, name: &str, words: &[String], span: Span) -> Expr {
        let choice = Type::Choice(words.to_vec());
        let entry = self.names.get(name);
        if entry.is_some_and(|entry| self.binding_type(entry.binding) == choice) {
            return self.name(name, span);
        }
        if words.iter().any(|word| word == name) {
            return Expr {
                kind: ExprKind::Word(name.to_owned()),
                ty: choice,
                span,
            };
        }
        if entry.is_some() {
            return self.name(name, span);
        }
        let fallback = format!("write one of {}", list(words));
        let help = did_you_mean(name, words.iter().map(String::as_str), fallback);
        self.report(CheckError::UnknownWord {
            name: name.to_owned(),
            words: list(words),
            help,
            at: span,
        });
        error(span)
    }

    fn dtype_word(&mut self, name: &str, span: Span) -> Expr {
        let dtype = types::dtype(name);
        if dtype.is_some() || name == "same" {
            return Expr {
                kind: ExprKind::DType(dtype),
                ty: Type::DType,
                span,
            };
        }
        if self.names.get(name).is_some() {
            return self.name(name, span);
        }
        let help = types::suggest_dtype(name);
        self.report(CheckError::UnknownDtype {
            name: name.to_owned(),
            help,
            at: span,
        });
        error(span)
    }

    fn name(&mut self, name: &str, span: Span) -> Expr {
        if let (None, Some(table)) = (self.names.get(name), self.items.tables.get(name)) {
            let rows = &self.cx.program.tables[*table].rows;
            let width = rows.first().map_or(0, |row| row.len() as u32);
            return Expr {
                kind: ExprKind::Table(*table),
                ty: Type::Table(width),
                span,
            };
        }
        if self.items.missing.contains(name) && self.names.get(name).is_none() {
            return error(span);
        }
        let Some(entry) = self.resolve(name, span) else {
            return error(span);
        };
        let kind = match entry.binding {
            Binding::Param => ExprKind::Param,
            Binding::Grad => ExprKind::Grad,
            Binding::Step => ExprKind::Step,
            Binding::Symbol(symbol) => ExprKind::Dim(symbol),
            Binding::Hyper(index) => ExprKind::Hyper(index),
            Binding::Shared(index) => ExprKind::Shared(index),
            Binding::Static(index) => ExprKind::Static(index),
            Binding::Local(local) => ExprKind::Local(local),
            Binding::State(state) => match self.states[state].modes {
                None => ExprKind::State(state),
                Some(_) => return self.family_as_value(name, entry.span, span),
            },
            Binding::Modes(modes) => return self.mode_number(name, modes, entry.span, span),
            Binding::Base(_) => return self.base_as_value(name, span),
            Binding::Later | Binding::Hidden => return error(span),
        };
        Expr {
            kind,
            ty: self.binding_type(entry.binding),
            span,
        }
    }

    /// The optimizer that the bare name of one that is taken means.
    fn base_named<'e>(&self, of: &'e ast::Expr) -> Option<(usize, &'e str)> {
        let ast::ExprKind::Name(name) = &of.kind else {
            return None;
        };
        match self.names.get(name)?.binding {
            Binding::Base(base) => Some((base, name)),
            _ => None,
        }
    }

    fn field(&mut self, x: Expr, name: &Name, span: Span) -> Expr {
        let fields: &[&str] = match &x.ty {
            Type::Error => return error(span),
            Type::Eigh(_) => &["values", "vectors"],
            Type::Qr(_) => &["q", "r"],
            Type::Svd(..) => &["u", "s", "v"],
            _ => {
                let help = "`eigh(a)` has `.values` and `.vectors`, `qr(a)` has `.q` and `.r`, `svd(a)` has `.u`, `.s` and `.v`";
                let call = super::signatures::find(&name.text).map(|function| {
                    format!("write `{}` for `x.{}`", function.usage(), function.name)
                });
                let help = super::foreign::field(&name.text).unwrap_or(help).to_owned();
                return self.unknown_field(&x, name, call.unwrap_or(help));
            }
        };
        let Some((field, ty)) = self.field_type(&x.ty, &name.text) else {
            let all: Vec<String> = fields.iter().map(|field| format!("`.{field}`")).collect();
            let fallback = format!("write {}", all.join(" or "));
            let help = did_you_mean(&name.text, fields.iter().copied(), fallback);
            return self.unknown_field(&x, name, help);
        };
        Expr {
            kind: ExprKind::Field(Box::new(x), field),
            ty,
            span,
        }
    }

    fn unknown_field(&mut self, x: &Expr, name: &Name, help: String) -> Expr {
        let of = self.describe(&x.ty);
        self.report(CheckError::UnknownField {
            of,
            name: name.text.clone(),
            help,
            at: name.span,
        });
        error(x.span)
    }

    fn field_type(&mut self, ty: &Type, name: &str) -> Option<(Field, Type)> {
        let (Type::Eigh(shape) | Type::Qr(shape) | Type::Svd(shape, _)) = ty else {
            return None;
        };
        let matrix = Matrix::of(shape)?;
        let fact = |shape: Shape, fact: Fact| Type::Tensor { shape, fact };
        match (ty, name) {
            (Type::Eigh(_), "values") => {
                Some((Field::Values, general(matrix.vectors(matrix.rows.clone()))))
            }
            (Type::Eigh(_), "vectors") => {
                Some((Field::Vectors, fact(shape.clone(), Fact::Orthogonal)))
            }
            (Type::Qr(_), "q") => {
                let inner = self.smaller(&matrix);
                let square = inner == matrix.rows;
                let q = if square {
                    Fact::Orthogonal
                } else {
                    Fact::General
                };
                Some((Field::Q, fact(matrix.sized(matrix.rows.clone(), inner), q)))
            }
            (Type::Qr(_), "r") => {
                let inner = self.smaller(&matrix);
                Some((
                    Field::R,
                    fact(matrix.sized(inner, matrix.cols.clone()), Fact::Upper),
                ))
            }
            (Type::Svd(_, count), "u") => Some((
                Field::U,
                general(matrix.sized(matrix.rows.clone(), count.clone())),
            )),
            (Type::Svd(_, count), "s") => Some((Field::S, general(matrix.vectors(count.clone())))),
            (Type::Svd(_, count), "v") => Some((
                Field::V,
                general(matrix.sized(matrix.cols.clone(), count.clone())),
            )),
            _ => None,
        }
    }

    /// The smaller of rows and columns.
    pub(super) fn smaller(&mut self, matrix: &Matrix) -> crate::hir::Dim {
        self.smaller_dim(matrix.rows.clone(), matrix.cols.clone())
    }

    fn if_value(
        &mut self,
        cond: &ast::Expr,
        then: &ast::Block,
        otherwise: &ast::Block,
        expected: Option<&Type>,
        span: Span,
    ) -> Expr {
        let cond = self.condition(cond);
        let place = match self.phase(&cond).level {
            Level::Bind => self.flow.no_state,
            _ => Some(VALUE),
        };
        let before = (self.applied.clone(), self.uses.clone());
        let then = self.inner_value_at(then, expected, place);
        // Only one of the branches exists.
        let applied = std::mem::replace(&mut self.applied, before.0);
        let uses = std::mem::replace(&mut self.uses, before.1);
        let otherwise = self.inner_value_at(otherwise, expected, place);
        self.applied.extend(applied);
        self.uses.extend(uses);
        let (Some(a), Some(b)) = (&then.tail, &otherwise.tail) else {
            return error(span);
        };
        let Some(ty) = self.join(a, b, span) else {
            return error(span);
        };
        if !matches!(
            ty,
            Type::Int | Type::Float | Type::Bool | Type::Tensor { .. } | Type::Mask(_)
        ) {
            // Only numbers and tensors can be chosen between while the program runs.
            let level = if let Room::Setting(_) = self.room {
                Level::Hyper
            } else {
                Level::Bind
            };
            let what = format!("a choice between values such as {}", self.describe(&ty));
            self.require(&cond, level, &what);
        }
        Expr {
            kind: ExprKind::If {
                cond: Box::new(cond),
                then,
                otherwise,
            },
            ty,
            span,
        }
    }

    /// The common type of two branches.
    fn join(&mut self, a: &Expr, b: &Expr, span: Span) -> Option<Type> {
        match (&a.ty, &b.ty) {
            (Type::Error, _) | (_, Type::Error) => None,
            (a, b) if fits(a, b) && is_host(a) => Some(a.clone()),
            (a, b) if fits(b, a) && is_host(b) => Some(b.clone()),
            (
                Type::Tensor { shape, fact: x },
                Type::Tensor {
                    shape: other,
                    fact: y,
                },
            ) if shape == other => {
                let fact = if implies(*x, *y) {
                    *y
                } else if implies(*y, *x) {
                    *x
                } else {
                    Fact::General
                };
                Some(Type::Tensor {
                    shape: shape.clone(),
                    fact,
                })
            }
            (Type::Tensor { shape: left, .. }, Type::Tensor { shape: right, .. }) => {
                let (left, right) = (left.clone(), right.clone());
                let help = "both branches need one shape, whatever the condition; bring both to it, or write two rules";
                self.shape_mismatch(&left, &right, help, span, Some(a.span), Some(b.span));
                None
            }
            (x, y) if x == y => Some(x.clone()),
            (x, y) => {
                let (expected, found) = (self.describe(x), self.describe(y));
                let help = "both branches need one type".to_owned();
                self.report(CheckError::TypeMismatch {
                    expected,
                    found,
                    help,
                    at: b.span,
                    origin: None,
                });
                None
            }
        }
    }

    /// A host condition.
    pub(super) fn condition(&mut self, cond: &ast::Expr) -> Expr {
        let checked = self.expr(cond);
        let help = match &checked.ty {
            Type::Bool | Type::Error => return checked,
            Type::Mask(shape) if shape.axes.is_empty() => {
                "this number is on the device, which `if` does not wait for: `select(c, a, b)` chooses there, and `w = select(c, new, w)` leaves `w` as it is where `c` does not hold"
            }
            Type::Mask(_) => "choose element by element with `select(mask, a, b)`",
            Type::Int | Type::Float => "compare the number, as in `x != 0`",
            _ => {
                "a condition is made with comparisons, `and`, `or`, `not`, and statics of type `bool`"
            }
        };
        let found = self.describe(&checked.ty);
        self.report(CheckError::NotACondition {
            found,
            help: help.to_owned(),
            at: cond.span,
        });
        error(cond.span)
    }

    fn in_value(
        &mut self,
        dtype: &Name,
        block: &ast::Block,
        expected: Option<&Type>,
        span: Span,
    ) -> Expr {
        let dtype = self.dtype_word(&dtype.text, dtype.span);
        let dtype = self.expect(dtype, &Type::DType, None);
        let block = self.inner_value(block, expected);
        let Some(ty) = block.tail.as_ref().map(|tail| tail.ty.clone()) else {
            return error(span);
        };
        Expr {
            kind: ExprKind::In(Box::new(dtype), block),
            ty,
            span,
        }
    }

    /// A block inside an expression: it may name things, but change nothing outside.
    pub(super) fn inner_value(&mut self, block: &ast::Block, expected: Option<&Type>) -> Block {
        self.inner_value_at(block, expected, Some(VALUE))
    }

    fn inner_value_at(
        &mut self,
        block: &ast::Block,
        expected: Option<&Type>,
        place: Option<&'static str>,
    ) -> Block {
        let depth = self.flow.value_depth + 1;
        let flow = Flow {
            value_depth: depth,
            no_state: place,
            no_use: place,
            ..self.flow
        };
        self.within(flow, |body| body.value_statements(block, expected))
    }

    /// The body of a function: its value has the declared type.
    pub(super) fn value_block(&mut self, block: &ast::Block, result: Option<&Type>) -> Block {
        let mut checked = self.value_statements(block, result);
        if let (Some(tail), Some(result)) = (checked.tail.take(), result) {
            checked.tail = Some(Box::new(self.result(*tail, result)));
        }
        checked
    }

    fn result(&mut self, tail: Expr, result: &Type) -> Expr {
        if let (Type::Tensor { shape: left, .. }, Type::Tensor { shape: right, .. }) =
            (result, &tail.ty)
            && left != right
        {
            let help = "the value must have the shape after `->`";
            let (at, right) = (tail.span, right.clone());
            self.shape_mismatch(left, &right, help, at, None, Some(at));
            return error(at);
        }
        self.expect(tail, result, None)
    }

    fn value_statements(&mut self, block: &ast::Block, expected: Option<&Type>) -> Block {
        let stmts = self.statements(&block.stmts);
        let tail = match &block.tail {
            Some(tail) => self.expr_towards(tail, expected),
            None => {
                let end = Span {
                    start: block.span.end.saturating_sub(1),
                    end: block.span.end,
                };
                self.report(CheckError::NoValue { at: end });
                error(end)
            }
        };
        Block {
            stmts,
            tail: Some(Box::new(tail)),
        }
    }

    fn or_else(&mut self, value: &ast::Expr, policies: &[ast::Policy], span: Span) -> Expr {
        let kept = self.kept.take();
        let before = std::mem::replace(&mut self.can_fail, false);
        let value = self.expr(value);
        if value.ty != Type::Error && !self.can_fail {
            self.report(CheckError::CannotFail { at: value.span });
        }
        self.can_fail |= before;
        let (mut retry_f64, mut keep, mut instead) = (false, None, None);
        for policy in policies {
            match policy {
                ast::Policy::Retry(dtype) => retry_f64 |= self.is_f64(dtype),
                ast::Policy::Keep { most, span } => {
                    keep = self.keep(kept, most.as_deref(), *span);
                }
                ast::Policy::Else(other) if keep.is_some() => {
                    self.report(CheckError::ElseBehindKeep { at: other.span });
                }
                ast::Policy::Else(other) => {
                    self.kept = kept;
                    instead = Some(self.instead(other));
                }
            }
        }
        let Some(ty) = self.type_or_else(&value, instead.as_ref(), span) else {
            return error(span);
        };
        Expr {
            kind: ExprKind::OrElse(Box::new(OrElse {
                value,
                retry_f64,
                keep,
                instead,
            })),
            ty,
            span,
        }
    }

    fn is_f64(&mut self, dtype: &Name) -> bool {
        if dtype.text != "f64" {
            self.report(CheckError::RetryDtype {
                dtype: dtype.text.clone(),
                at: dtype.span,
            });
        }
        dtype.text == "f64"
    }

    fn keep(&mut self, place: Option<Place>, most: Option<&ast::Expr>, at: Span) -> Option<Keep> {
        let most = most.map(|most| Box::new(self.keep_count(most)));
        let Some(place) = place else {
            self.report(CheckError::KeepOutside { at });
            return None;
        };
        if let (Place::State(state) | Place::StateOfMode(state), true) = (place, most.is_some()) {
            self.states[state].counts_failures = true;
        }
        Some(Keep { place, most })
    }

    /// What is computed only where something else has failed.
    fn instead(&mut self, value: &ast::Expr) -> Expr {
        let flow = Flow {
            no_state: Some(VALUE),
            no_use: Some(VALUE),
            ..self.flow
        };
        self.within(flow, |body| body.expr(value))
    }

    fn type_or_else(&mut self, value: &Expr, instead: Option<&Expr>, span: Span) -> Option<Type> {
        let Some(instead) = instead else {
            return Some(value.ty.clone());
        };
        if !matches!(value.ty, Type::Tensor { .. } | Type::Error) {
            let help = "both sides of `or else` are tensors: name the field, as in `eigh(a).vectors or else identity(n)`";
            self.operand("or else", value, help);
            return None;
        }
        self.join(value, instead, span)
    }

    fn table_literal(&mut self, rows: &[Vec<ast::Expr>], span: Span) -> Expr {
        let rows = self.constant_rows(rows);
        let width = rows.first().map_or(0, |row| row.len() as u32);
        Expr {
            kind: ExprKind::TableLiteral(rows),
            ty: Type::Table(width),
            span,
        }
    }
}

/// Whole numbers are whole numbers, however they are written.
fn number(value: f64, span: Span) -> Expr {
    let whole = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
    Expr {
        kind: ExprKind::Number(value),
        ty: if whole { Type::Int } else { Type::Float },
        span,
    }
}

pub(super) fn is_numeric(ty: &Type) -> bool {
    matches!(ty, Type::Int | Type::Float | Type::Tensor { .. })
}
