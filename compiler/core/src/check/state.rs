//! State, and the modes of a tensor that state may follow.

use super::body::{Body, Flow};
use super::call::identity;
use super::error::CheckError;
use super::expr::{error, general};
use super::names::{Binding, Entry, did_you_mean};
use super::phase::Level;
use super::shapes::Matrix;
use super::stmt::is_number;
use super::types::{Declared, dtype};
use crate::dtype::DType;
use crate::hir::{
    self, BinaryOp, Builtin, Expr, ExprKind, Fact, Modes, ModesId, StateId, StmtKind, Type,
};
use crate::packed::Packing;
use crate::quantized::Format;
use optc_grammar::ast::{self, Name, Span};

const ONE: hir::Dim = hir::Dim::Const(1);

/// Storage in 8 bits: with a sign, and without.
const FORMATS: [&str; 2] = ["q8", "uq8"];

/// What a state declaration says.
pub(super) struct Declaration<'a> {
    name: &'a Name,
    index: Option<&'a Name>,
    packed: Option<Span>,
    ty: Option<&'a ast::Type>,
    init: &'a ast::Expr,
}

impl<'a> Declaration<'a> {
    /// Of a statement that is one.
    pub(super) fn of(stmt: &'a ast::StmtKind) -> Option<Self> {
        match stmt {
            ast::StmtKind::State {
                name,
                index,
                packed,
                ty,
                init,
            } => Some(Declaration {
                name,
                index: index.as_ref(),
                packed: *packed,
                ty: ty.as_ref(),
                init,
            }),
            _ => None,
        }
    }
}

/// The type of a state before its initial value is known.
enum Written {
    Nothing,
    /// `state m: bf16 = …`
    Storage(DType),
    /// `state m: q8[256] = …`
    Quantized(Format),
    Full(Declared),
}

impl Body<'_> {
    pub(super) fn state(&mut self, declared: &Declaration<'_>, span: Span) -> Option<StmtKind> {
        let name = declared.name;
        if let Some(place) = self.flow.no_state {
            let help = "declare it at the top of the rule; an `if` over statics and shapes may also declare state";
            let (place, help) = (place.to_owned(), help.to_owned());
            self.report(CheckError::ConditionalState {
                place,
                help,
                at: name.span,
            });
        }
        let modes = self.state_index(name, declared.index);
        let written = self.written_type(declared.ty);
        let mut state = self.new_state(name, modes, written, declared.init, span);
        state.packed = declared.packed.and_then(|at| self.packing(&state, at));
        let id = self.states.push(state);
        self.declare(name, Binding::State(id));
        Some(StmtKind::State(id))
    }

    /// The half of a matrix that is stored.
    fn packing(&mut self, state: &hir::State, at: Span) -> Option<Packing> {
        let square = matches!(&state.ty, Type::Tensor { shape, .. } if shape.axes.len() == 2);
        let packing = Packing::of(state.fact).filter(|_| square);
        if packing.is_none() && state.ty != Type::Error {
            let name = state.name.clone();
            self.report(CheckError::NotPacked { name, at });
        }
        packing
    }

    /// One per mode inside a `modes` block, one alone outside.
    fn state_index(&mut self, name: &Name, index: Option<&Name>) -> Option<ModesId> {
        match (self.mode, index) {
            (None, None) => None,
            (Some((modes, _)), Some(index)) if self.modes[modes].var == index.text => Some(modes),
            (Some((modes, origin)), Some(index)) => {
                let help = format!("write `{}[{}]`", name.text, self.modes[modes].var);
                self.outside_each(index, help, Some(origin));
                Some(modes)
            }
            (Some((modes, origin)), None) => {
                let (name, index, at) =
                    (name.text.clone(), self.modes[modes].var.clone(), name.span);
                self.report(CheckError::IndexMissing {
                    name,
                    index,
                    at,
                    origin: Some(origin),
                });
                Some(modes)
            }
            (None, Some(index)) => {
                self.index_not_allowed(name, index, None);
                None
            }
        }
    }

    pub(super) fn index_not_allowed(&mut self, name: &Name, index: &Name, origin: Option<Span>) {
        self.report(CheckError::IndexNotAllowed {
            name: name.text.clone(),
            at: index.span,
            origin,
        });
    }

    fn outside_each(&mut self, index: &Name, help: String, origin: Option<Span>) {
        self.report(CheckError::OutsideEach {
            index: index.text.clone(),
            help,
            at: index.span,
            origin,
        });
    }

    fn written_type(&mut self, ty: Option<&ast::Type>) -> Option<Written> {
        match ty {
            None => Some(Written::Nothing),
            Some(ast::Type::Word(word)) if dtype(&word.text).is_some() => {
                dtype(&word.text).map(Written::Storage)
            }
            Some(ast::Type::Applied { word, shape }) if FORMATS.contains(&word.text.as_str()) => {
                self.format(word, shape).map(Written::Quantized)
            }
            Some(ty) => self.tensor_type(ty).map(Written::Full),
        }
    }

    /// `q8[256]`: how many elements share a scale.
    fn format(&mut self, word: &Name, shape: &ast::Shape) -> Option<Format> {
        let block = match shape.axes.as_slice() {
            [ast::Axis::Dim(length)] => match length.kind {
                ast::ExprKind::Number(block) if block.fract() == 0.0 => Some(block),
                _ => None,
            },
            _ => None,
        };
        let known = block.filter(|&block| (1.0..=65536.0).contains(&block));
        if known.is_none() {
            self.report(CheckError::UnknownType {
                name: word.text.clone(),
                help: format!(
                    "write `{}[256]`: how many elements share a scale, 1 to 65536",
                    word.text
                ),
                at: shape.span,
            });
        }
        known.map(|block| Format {
            block: block as u64,
            signed: word.text == "q8",
        })
    }

    fn new_state(
        &mut self,
        name: &Name,
        modes: Option<ModesId>,
        written: Option<Written>,
        init: &ast::Expr,
        span: Span,
    ) -> hir::State {
        let known = written.is_some();
        let format = match written {
            Some(Written::Quantized(format)) => Some(format),
            _ => None,
        };
        let (dtype, fact, dims, declared) = match written {
            Some(Written::Full(full)) => (full.dtype, full.fact, full.dims, Some(full.shape)),
            Some(Written::Storage(dtype)) => (Some(dtype), Fact::General, None, None),
            Some(Written::Quantized(_) | Written::Nothing) | None => {
                (None, Fact::General, None, None)
            }
        };
        let expected = match (declared, known) {
            (Some(shape), _) => Some(Type::Tensor { shape, fact }),
            (None, true) => None,
            (None, false) => Some(Type::Error),
        };
        let init = self.initial_value(name, expected.as_ref(), dims.is_some(), init);
        let ty = match (expected, &init.ty) {
            (Some(declared), _) => declared,
            (None, Type::Tensor { shape, .. }) => Type::Tensor {
                shape: shape.clone(),
                fact,
            },
            (None, Type::Int | Type::Float) => general(super::shapes::scalar()),
            (None, _) => Type::Error,
        };
        hir::State {
            name: name.text.clone(),
            modes,
            dtype,
            format,
            packed: None,
            counts_failures: false,
            fact,
            dims,
            init,
            ty,
            span,
        }
    }

    fn initial_value(
        &mut self,
        name: &Name,
        expected: Option<&Type>,
        sized: bool,
        init: &ast::Expr,
    ) -> Expr {
        if matches!(&init.kind, ast::ExprKind::Name(word) if word == "identity" && self.names.get(word).is_none())
        {
            return self.identity(name, expected, init.span);
        }
        let outer = std::mem::replace(&mut self.in_init, true);
        let value = self.expr(init);
        self.in_init = outer;
        match expected {
            Some(expected) if is_number(&value) => {
                self.number_of_shape(name, value, expected, sized)
            }
            Some(expected) => self.tensor_of_shape(name, value, expected),
            None if is_number(&value) || matches!(value.ty, Type::Tensor { .. } | Type::Error) => {
                value
            }
            None => self.expect(value, &Type::Float, None),
        }
    }

    fn identity(&mut self, name: &Name, expected: Option<&Type>, span: Span) -> Expr {
        match expected {
            Some(Type::Tensor { shape, .. })
                if Matrix::of(shape).is_some_and(|matrix| matrix.rows == matrix.cols) =>
            {
                identity(expected.cloned().unwrap_or(Type::Error), span)
            }
            Some(Type::Tensor { shape, .. }) => {
                let (what, shape) = ("`identity`".to_owned(), self.show_shape(shape));
                self.report(CheckError::NotSquare {
                    what,
                    shape,
                    at: span,
                });
                error(span)
            }
            Some(_) => error(span),
            None => {
                let help = format!(
                    "write the shape, as in `state {}: orthogonal[n] = identity`",
                    name.text
                );
                self.report(CheckError::StateNeedsType {
                    name: name.text.clone(),
                    help,
                    at: span,
                });
                error(span)
            }
        }
    }

    /// Where `...` hides lengths, a number needs the parameter to show them.
    fn number_of_shape(&mut self, name: &Name, value: Expr, expected: &Type, sized: bool) -> Expr {
        if sized || *expected == Type::Error {
            return value;
        }
        let whole = self
            .param
            .as_ref()
            .map(|param| general(param.shape.clone()));
        let Some(ty) = whole.filter(|whole| super::types::fits(whole, expected)) else {
            let help = self.first_value(expected);
            self.report(CheckError::StateNeedsType {
                name: name.text.clone(),
                help,
                at: value.span,
            });
            return error(value.span);
        };
        let param = Expr {
            kind: ExprKind::Param,
            ty,
            span: value.span,
        };
        self.filling(value, &param)
    }

    /// How a state begins whose shape a number does not show.
    fn first_value(&self, expected: &Type) -> String {
        let param = self.param.as_ref().map_or("w", |param| &param.name);
        let axes = match expected {
            Type::Tensor { shape, .. } => shape.axes.as_slice(),
            _ => &[],
        };
        let sums = match axes {
            [.., hir::Axis::Dim(_), hir::Axis::Dim(ONE)] => {
                format!("row_sums(zeros_like({param}))")
            }
            [.., hir::Axis::Dim(ONE), hir::Axis::Dim(_)] => {
                format!("column_sums(zeros_like({param}))")
            }
            _ => format!("zeros_like({param})"),
        };
        format!("write a first value of that shape, such as `{sums}`, or every length")
    }

    /// A tensor like another, filled with a number.
    fn filling(&mut self, value: Expr, like: &Expr) -> Expr {
        let Type::Tensor { shape, .. } = &like.ty else {
            return value;
        };
        if !matches!(value.ty, Type::Int | Type::Float) {
            return value;
        }
        let span = value.span;
        let ty = general(shape.clone());
        let ones = Expr {
            kind: ExprKind::Builtin(Builtin::OnesLike, vec![like.clone()]),
            ty: ty.clone(),
            span,
        };
        Expr {
            kind: ExprKind::Binary(BinaryOp::Mul, Box::new(value), Box::new(ones)),
            ty,
            span,
        }
    }

    fn tensor_of_shape(&mut self, name: &Name, value: Expr, expected: &Type) -> Expr {
        if let (
            Type::Tensor {
                shape: declared, ..
            },
            Type::Tensor { shape: found, .. },
        ) = (expected, &value.ty)
            && declared != found
        {
            let (declared, found) = (self.show_shape(declared), self.show_shape(found));
            let (at, origin) = (value.span, name.span);
            self.report(CheckError::StateShape {
                name: name.text.clone(),
                declared,
                found,
                at,
                origin,
            });
            return error(value.span);
        }
        let value = self.expect(value, expected, Some(name.span));
        if let Type::Tensor { fact, .. } = expected {
            self.prove(&name.text, *fact, &value);
        }
        value
    }

    /// `modes i of w where guard { state … }`
    pub(super) fn modes(
        &mut self,
        var: &Name,
        of: &Name,
        guard: Option<&ast::Expr>,
        block: &ast::Block,
    ) -> Vec<StmtKind> {
        self.modes_of_param(of);
        let id = self.modes.push(Modes {
            var: var.text.clone(),
            guard: None,
        });
        self.declare(var, Binding::Modes(id));
        self.names.mark_used(&var.text);
        let outer = self.mode.replace((id, var.span));
        self.modes[id].guard = guard.map(|guard| {
            let guard_expr = self.condition(guard);
            self.require(&guard_expr, Level::Bind, "which modes take part");
            guard_expr
        });
        let stmts = block
            .stmts
            .iter()
            .filter_map(|stmt| self.modes_statement(var, stmt))
            .collect();
        if let Some(tail) = &block.tail {
            self.report(CheckError::ModesBody {
                var: var.text.clone(),
                at: tail.span,
            });
        }
        self.mode = outer;
        stmts
    }

    fn modes_of_param(&mut self, of: &Name) {
        let param = self.param.as_ref().map(|param| param.name.clone());
        if param.as_deref() == Some(&of.text) || self.resolve(&of.text, of.span).is_none() {
            return;
        }
        let help = format!(
            "write `of {}`: modes are those of the parameter",
            param.unwrap_or_default()
        );
        self.report(CheckError::NotModes {
            name: of.text.clone(),
            help,
            at: of.span,
        });
    }

    fn modes_statement(&mut self, var: &Name, stmt: &ast::Stmt) -> Option<StmtKind> {
        match &stmt.kind {
            ast::StmtKind::State { .. } => {
                let declared = Declaration::of(&stmt.kind)?;
                self.state(&declared, stmt.span)
            }
            _ => {
                self.report(CheckError::ModesBody {
                    var: var.text.clone(),
                    at: stmt.span,
                });
                None
            }
        }
    }

    /// `each i { … }`
    pub(super) fn each(&mut self, var: &Name, block: &ast::Block, span: Span) -> Option<StmtKind> {
        if let Some((_, origin)) = self.mode {
            self.report(CheckError::NestedEach {
                at: span,
                origin: Some(origin),
            });
            return None;
        }
        let entry = self.resolve(&var.text, var.span)?;
        let Binding::Modes(modes) = entry.binding else {
            let known: Vec<String> = self.modes.values().map(|modes| modes.var.clone()).collect();
            let fallback = "declare modes first, as in `modes i of w { state … }`";
            let help = did_you_mean(&var.text, known.iter().map(String::as_str), fallback);
            self.report(CheckError::NotModes {
                name: var.text.clone(),
                help,
                at: var.span,
            });
            return None;
        };
        self.mode = Some((modes, var.span));
        let flow = Flow {
            no_state: Some("`each`"),
            in_loop: true,
            ..self.flow
        };
        let body = self.within(flow, |inner| inner.block(block));
        self.mode = None;
        Some(StmtKind::Each(modes, body))
    }

    /// `basis[i]`
    pub(super) fn index(&mut self, name: &Name, index: &Name, span: Span) -> Expr {
        let Some(entry) = self.resolve(&name.text, name.span) else {
            return error(span);
        };
        self.indexed(name, index, entry, span)
            .unwrap_or_else(|| error(span))
    }

    pub(super) fn indexed(
        &mut self,
        name: &Name,
        index: &Name,
        entry: Entry,
        span: Span,
    ) -> Option<Expr> {
        let family = match entry.binding {
            Binding::State(state) => self.states[state].modes.map(|modes| (state, modes)),
            _ => None,
        };
        let Some((state, modes)) = family else {
            self.index_not_allowed(name, index, entry.span);
            return None;
        };
        let var = self.modes[modes].var.clone();
        let chosen = self.mode.is_some_and(|(chosen, _)| chosen == modes);
        if !chosen || var != index.text {
            let help = if chosen {
                format!("write `{}[{var}]`", name.text)
            } else {
                format!(
                    "write it inside `each {var} {{ … }}` as `{}[{var}]`",
                    name.text
                )
            };
            let origin = self.names.get(&var).and_then(|entry| entry.span);
            self.outside_each(index, help, origin);
            return None;
        }
        Some(Expr {
            kind: ExprKind::StateOfMode(state),
            ty: self.states[state].ty.clone(),
            span,
        })
    }

    /// A state by its bare name, as the target of an assignment.
    pub(super) fn unindexed(&mut self, name: &Name, entry: Entry) -> Option<Expr> {
        let Binding::State(state) = entry.binding else {
            return None;
        };
        if let Some(modes) = self.states[state].modes {
            let (index, at) = (self.modes[modes].var.clone(), name.span);
            self.report(CheckError::IndexMissing {
                name: name.text.clone(),
                index,
                at,
                origin: entry.span,
            });
            return None;
        }
        Some(self.read_state(state, name.span))
    }

    fn read_state(&self, state: StateId, span: Span) -> Expr {
        Expr {
            kind: ExprKind::State(state),
            ty: self.states[state].ty.clone(),
            span,
        }
    }

    pub(super) fn family_as_value(&mut self, name: &str, origin: Option<Span>, at: Span) -> Expr {
        let entry = self.names.get(name).map(|entry| entry.binding);
        let index = match entry {
            Some(Binding::State(state)) => self.states[state]
                .modes
                .map(|modes| self.modes[modes].var.clone()),
            _ => None,
        };
        let (name, index) = (name.to_owned(), index.unwrap_or_default());
        self.report(CheckError::FamilyAsValue {
            name,
            index,
            at,
            origin,
        });
        error(at)
    }

    /// The mode variable as a number.
    pub(super) fn mode_number(
        &mut self,
        name: &str,
        modes: ModesId,
        origin: Option<Span>,
        span: Span,
    ) -> Expr {
        if self.mode.is_some_and(|(chosen, _)| chosen == modes) {
            return Expr {
                kind: ExprKind::Mode,
                ty: Type::Int,
                span,
            };
        }
        let help = format!("use `{name}` inside `each {name} {{ … }}`");
        self.outside_each(
            &Name {
                text: name.to_owned(),
                span,
            },
            help,
            origin,
        );
        error(span)
    }
}

/// Whether a first value is the same for every parameter of its shape: it reads no element and no hyperparameter, and
/// draws nothing.
pub(super) fn is_constant(init: &Expr) -> bool {
    match &init.kind {
        ExprKind::Number(_) | ExprKind::Bool(_) => true,
        ExprKind::Builtin(Builtin::ZerosLike | Builtin::OnesLike | Builtin::Identity, _) => true,
        ExprKind::Builtin(Builtin::IdentityOf, _) => true,
        ExprKind::Unary(_, x) => is_constant(x),
        ExprKind::Binary(_, x, y) => is_constant(x) && is_constant(y),
        _ => false,
    }
}
