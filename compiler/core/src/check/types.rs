//! Written types and patterns, and which types fit where.

use super::body::Body;
use super::error::CheckError;
use super::names::{Binding, did_you_mean};
use super::phase::Level;
use super::same;
use crate::dtype::DType;
use crate::hir::{self, Axis, Dim, Expr, ExprKind, Fact, Pattern, PatternAxis, Shape, Type};
use optc_grammar::ast::{self, Name};

const FACTS: [(&str, Fact); 6] = [
    ("sym", Fact::Symmetric),
    ("spd", Fact::Spd),
    ("orthogonal", Fact::Orthogonal),
    ("upper", Fact::Upper),
    ("lower", Fact::Lower),
    ("diagonal", Fact::Diagonal),
];

const HOST_WORDS: [(&str, Type); 4] = [
    ("int", Type::Int),
    ("float", Type::Float),
    ("bool", Type::Bool),
    ("dtype", Type::DType),
];

/// The storage types that a user can name.
pub(super) const DTYPES: [&str; 4] = ["f64", "f32", "bf16", "f16"];

/// The storage type of that name; indices have one too, but not for users.
pub(super) fn dtype(name: &str) -> Option<DType> {
    DTYPES
        .contains(&name)
        .then(|| DType::from_name(name))
        .flatten()
}

/// What to write instead of a storage type that is not there.
pub(super) fn suggest_dtype(name: &str) -> String {
    let elsewhere = match name {
        "double" | "float64" | "fp64" => Some("f64"),
        "float" | "single" | "float32" | "fp32" => Some("f32"),
        "bfloat16" => Some("bf16"),
        "half" | "float16" | "fp16" => Some("f16"),
        _ => None,
    };
    let fallback =
        "write `f64`, `f32`, `bf16`, `f16`, `same` (the parameter's), or a static of type `dtype`";
    match elsewhere {
        Some(ours) => format!("write `{ours}`"),
        None => did_you_mean(name, DTYPES, fallback),
    }
}

/// The word for a fact, in a sentence.
pub(super) fn fact_name(fact: Fact) -> &'static str {
    match fact {
        Fact::General => "general",
        Fact::Symmetric => "symmetric",
        Fact::Spd => "symmetric positive definite",
        Fact::Orthogonal => "orthogonal",
        Fact::Upper => "upper triangular",
        Fact::Lower => "lower triangular",
        Fact::Diagonal => "diagonal",
    }
}

/// A written tensor type.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) dtype: Option<DType>,
    pub(super) fact: Fact,
    pub(super) shape: Shape,
    /// The lengths; `None` when the shape has `...`.
    pub(super) dims: Option<Vec<Expr>>,
}

impl Body<'_> {
    /// A type of host values; anything else is reported, with what may stand here.
    pub(super) fn host_type(&mut self, ty: &ast::Type, expected: &str) -> Option<Type> {
        let (name, at) = match ty {
            ast::Type::Choice { names, .. } => {
                return Some(Type::Choice(
                    names.iter().map(|name| name.text.clone()).collect(),
                ));
            }
            ast::Type::Table { width, .. } => return Some(Type::Table(*width)),
            ast::Type::Word(word) => match HOST_WORDS.iter().find(|(name, _)| *name == word.text) {
                Some((_, ty)) => return Some(ty.clone()),
                None => (word.text.clone(), word.span),
            },
            ast::Type::Applied { word, .. } => (word.text.clone(), word.span),
            ast::Type::Tensor(shape) => ("[…]".to_owned(), shape.span),
        };
        let words = HOST_WORDS.iter().map(|(name, _)| *name);
        let help = did_you_mean(&name, words, format!("write {expected}"));
        self.report(CheckError::UnknownType { name, help, at });
        None
    }

    /// `sym`, `orthogonal`, …
    pub(super) fn fact(&mut self, word: &Name) -> Option<Fact> {
        let known = FACTS.iter().find(|(name, _)| *name == word.text);
        if known.is_none() {
            let fallback =
                "write `sym`, `spd`, `orthogonal`, `upper`, `lower` or `diagonal` before a shape";
            let help = did_you_mean(&word.text, FACTS.iter().map(|(name, _)| *name), fallback);
            self.report(CheckError::UnknownType {
                name: word.text.clone(),
                help,
                at: word.span,
            });
        }
        known.map(|(_, fact)| *fact)
    }

    /// `[m, n]`, `sym[n]`, `bf16[...]`
    pub(super) fn tensor_type(&mut self, ty: &ast::Type) -> Option<Declared> {
        match ty {
            ast::Type::Tensor(shape) => self.declared(None, Fact::General, shape),
            ast::Type::Applied { word, shape } => match dtype(&word.text) {
                Some(dtype) => self.declared(Some(dtype), Fact::General, shape),
                None => {
                    let fact = self.fact_or_dtype(word)?;
                    self.declared(None, fact, shape)
                }
            },
            other => {
                let at = super::functions::type_span(other);
                let name = self.cx.sink.text(self.file, at).to_owned();
                let help = match super::foreign::storage(&name) {
                    Some(ours) => format!("write `{ours}`"),
                    None => "write a storage type (`f64`, `f32`, `bf16`, `f16`, `q8[256]`, `uq8[256]`) or a shape (`[m, n]`, `sym[n]`)".to_owned(),
                };
                self.report(CheckError::UnknownType { name, help, at });
                None
            }
        }
    }

    fn fact_or_dtype(&mut self, word: &Name) -> Option<Fact> {
        let known = FACTS.iter().find(|(name, _)| *name == word.text);
        if known.is_none() {
            let words = FACTS.iter().map(|(name, _)| *name).chain(DTYPES);
            let fallback = "before a shape stands a fact (`sym`, `orthogonal`, …) or a storage type (`f32`, `bf16`, …)";
            let help = did_you_mean(&word.text, words, fallback);
            self.report(CheckError::UnknownType {
                name: word.text.clone(),
                help,
                at: word.span,
            });
        }
        known.map(|(_, fact)| *fact)
    }

    fn declared(
        &mut self,
        dtype: Option<DType>,
        fact: Fact,
        shape: &ast::Shape,
    ) -> Option<Declared> {
        self.few_axes(shape)?;
        let mut axes = Vec::new();
        let mut dims = Some(Vec::new());
        for axis in &shape.axes {
            match axis {
                ast::Axis::Rest(span) => {
                    axes.push(self.rest_of_param(*span)?);
                    dims = None;
                }
                ast::Axis::Dim(expr) => {
                    let (expr, dim) = self.length(expr)?;
                    axes.push(Axis::Dim(dim));
                    dims.iter_mut().for_each(|dims| dims.push(expr.clone()));
                }
            }
        }
        if fact != Fact::General && axes.len() == 1 {
            axes.push(axes[0].clone());
            dims.iter_mut().for_each(|dims| dims.push(dims[0].clone()));
        }
        let shape_of = Shape { axes };
        self.square_if_declared(fact, &shape_of, shape.span)?;
        Some(Declared {
            dtype,
            fact,
            shape: shape_of,
            dims,
        })
    }

    fn square_if_declared(&mut self, fact: Fact, shape: &Shape, at: ast::Span) -> Option<()> {
        let square =
            super::shapes::Matrix::of(shape).is_some_and(|matrix| matrix.rows == matrix.cols);
        if fact == Fact::General || square {
            return Some(());
        }
        let what = format!("the word for {} matrices", fact_name(fact));
        let shape = self.show_shape(shape);
        self.report(CheckError::NotSquare { what, shape, at });
        None
    }

    /// `...` outside a pattern repeats the pattern's.
    fn rest_of_param(&mut self, at: ast::Span) -> Option<Axis> {
        let param = self.param.as_ref().map(|param| &param.shape);
        let known =
            param.is_some_and(|shape| shape.axes.contains(&Axis::Rest(0))) || self.open_params();
        if !known {
            self.report(CheckError::BadPattern {
                what: "`...` that no pattern has".to_owned(),
                at,
            });
        }
        known.then_some(Axis::Rest(0))
    }

    /// Whether a parameter of the function has `...`.
    fn open_params(&self) -> bool {
        self.locals.values().any(|local| match &local.ty {
            Type::Tensor { shape, .. } => shape.axes.contains(&Axis::Rest(0)),
            _ => false,
        })
    }

    /// A length in a type: a host int that is known at bind.
    fn length(&mut self, expr: &ast::Expr) -> Option<(Expr, Dim)> {
        let checked = self.expr_as(expr, &Type::Int);
        if checked.ty == Type::Error {
            return None;
        }
        self.require(&checked, Level::Bind, "a length");
        if super::constant::constant(&checked).is_some_and(|length| length < 0.0) {
            self.report(CheckError::BadPattern {
                what: "a negative length".to_owned(),
                at: expr.span,
            });
            return None;
        }
        let dim = self.dim_of(&checked);
        Some((checked, dim))
    }

    /// The symbolic length that a host expression computes.
    pub(super) fn dim_of(&mut self, expr: &Expr) -> Dim {
        match &expr.kind {
            ExprKind::Number(value) => Dim::Const(*value as u64),
            ExprKind::Dim(symbol) => Dim::Named(self.symbols[*symbol].clone()),
            ExprKind::Builtin(hir::Builtin::Dim, args) => {
                self.dim_of_axis(&args[0], &args[1], expr)
            }
            ExprKind::Builtin(hir::Builtin::Min, args) => {
                let [a, b] = [0, 1].map(|n| self.dim_of(&args[n]));
                self.smaller_dim(a, b)
            }
            _ => self.computed_dim(expr),
        }
    }

    /// The smaller of two lengths, the same however it is asked for.
    pub(super) fn smaller_dim(&mut self, a: Dim, b: Dim) -> Dim {
        match (&a, &b) {
            (Dim::Const(x), Dim::Const(y)) => Dim::Const(*x.min(y)),
            _ if a == b => a,
            _ => {
                let text = format!("min({}, {})", self.show_dim(&a), self.show_dim(&b));
                let mut both = [format!("{a:?}"), format!("{b:?}")];
                both.sort();
                self.fresh_dim(format!("min of {both:?}"), text)
            }
        }
    }

    /// `dim(x, k)`, as a length.
    fn dim_of_axis(&mut self, tensor: &Expr, axis: &Expr, whole: &Expr) -> Dim {
        let Type::Tensor { shape, .. } = &tensor.ty else {
            return self.computed_dim(whole);
        };
        self.axis_length(shape, axis)
            .unwrap_or_else(|| self.computed_dim(whole))
    }

    /// The length of the axis that a host expression chooses, if it has a name or number.
    pub(super) fn axis_length(&self, shape: &Shape, axis: &Expr) -> Option<Dim> {
        let whole = self
            .param
            .as_ref()
            .is_some_and(|param| param.shape == *shape);
        match (&axis.kind, self.mode) {
            (ExprKind::Mode, Some((modes, _))) if whole => Some(Dim::Mode(modes)),
            (ExprKind::Number(k), _) => super::shapes::axis(shape, *k as usize).cloned(),
            _ => None,
        }
    }

    fn computed_dim(&mut self, expr: &Expr) -> Dim {
        let text = self.cx.sink.text(self.file, expr.span).to_owned();
        self.fresh_dim(same::key(expr), text)
    }

    /// No tensor library has more axes.
    fn few_axes(&mut self, shape: &ast::Shape) -> Option<()> {
        if shape.axes.len() <= 64 {
            return Some(());
        }
        let what = format!("a list of {} axes", shape.axes.len());
        self.report(CheckError::BadPattern {
            what,
            at: shape.span,
        });
        None
    }

    /// A shape pattern; its names become dimensions.
    pub(super) fn pattern(&mut self, shape: &ast::Shape) -> Option<Pattern> {
        self.few_axes(shape)?;
        let mut axes = Vec::new();
        for axis in &shape.axes {
            axes.push(self.pattern_axis(axis, axes.contains(&PatternAxis::Rest))?);
        }
        Some(Pattern { axes })
    }

    fn pattern_axis(&mut self, axis: &ast::Axis, has_rest: bool) -> Option<PatternAxis> {
        let (what, at) = match axis {
            ast::Axis::Rest(_) if !has_rest => return Some(PatternAxis::Rest),
            ast::Axis::Rest(span) => ("a second `...`".to_owned(), *span),
            ast::Axis::Dim(expr) => match &expr.kind {
                ast::ExprKind::Name(name) => {
                    let name = Name {
                        text: name.clone(),
                        span: expr.span,
                    };
                    return Some(PatternAxis::Bind(self.add_symbol(&name)));
                }
                ast::ExprKind::Number(length)
                    if length.fract() == 0.0 && (0.0..=1e15).contains(length) =>
                {
                    return Some(PatternAxis::Fixed(*length as u64));
                }
                _ => (
                    format!("`{}`", self.cx.sink.text(self.file, expr.span)),
                    expr.span,
                ),
            },
        };
        self.report(CheckError::BadPattern { what, at });
        None
    }

    pub(super) fn shape_of_pattern(&self, pattern: &Pattern) -> Shape {
        let axes = pattern.axes.iter().map(|axis| match axis {
            PatternAxis::Bind(symbol) => Axis::Dim(Dim::Named(self.symbols[*symbol].clone())),
            PatternAxis::Fixed(length) => Axis::Dim(Dim::Const(*length)),
            PatternAxis::Rest => Axis::Rest(0),
        });
        Shape {
            axes: axes.collect(),
        }
    }

    /// A whole number from a name that must be a dimension, or the like.
    pub(super) fn binding_type(&self, binding: Binding) -> Type {
        let optimizer = self.optimizer.map(|id| &self.cx.program.optimizers[id]);
        let tensor = |shape: Option<Shape>| match shape {
            Some(shape) => Type::Tensor {
                shape,
                fact: Fact::General,
            },
            None => Type::Error,
        };
        match binding {
            Binding::Param | Binding::Grad => {
                tensor(self.param.as_ref().map(|param| param.shape.clone()))
            }
            Binding::Step | Binding::Symbol(_) | Binding::Modes(_) => Type::Int,
            Binding::Hyper(_) | Binding::Shared(_) => Type::Float,
            Binding::Static(index) => {
                let entry = optimizer.and_then(|optimizer| optimizer.statics.get(index));
                entry.map_or(Type::Error, |entry| {
                    super::settings::value_type(entry.ty.clone())
                })
            }
            Binding::Local(local) => self.locals[local].ty.clone(),
            Binding::State(state) => self.states[state].ty.clone(),
            Binding::Base(_) | Binding::Later | Binding::Hidden => Type::Error,
        }
    }
}

/// Whether a value of type `found` can stand where `expected` is needed. Facts are not compared here.
pub(super) fn fits(expected: &Type, found: &Type) -> bool {
    match (expected, found) {
        (Type::Error, _) | (_, Type::Error) | (Type::Float, Type::Int) => true,
        (
            Type::Tensor {
                shape: expected, ..
            },
            Type::Tensor { shape: found, .. },
        ) => expected == found,
        _ => expected == found,
    }
}

/// Whether everything that has `found` also has `declared`.
pub(super) fn implies(found: Fact, declared: Fact) -> bool {
    match declared {
        Fact::General => true,
        Fact::Symmetric => matches!(found, Fact::Symmetric | Fact::Spd | Fact::Diagonal),
        Fact::Upper => matches!(found, Fact::Upper | Fact::Diagonal),
        Fact::Lower => matches!(found, Fact::Lower | Fact::Diagonal),
        other => found == other,
    }
}
