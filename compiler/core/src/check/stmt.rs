//! Statements: bindings, assignments, branches, loops and time.

use super::body::{Body, Flow, Room, count};
use super::error::CheckError;
use super::expr::{general, is_numeric};
use super::names::{Binding, Entry};
use super::phase::{Level, Phase};
use super::shapes::scalar;
use super::state::Declaration;
use super::types::{fact_name, implies};
use crate::hir::{BinaryOp, Block, Builtin, Expr, ExprKind, Place, State, Stmt, StmtKind, Type};
use crate::hir_text::number;
use optc_grammar::ast::{self, Name, Span};

/// What an assignment changes.
struct Target {
    place: Place,
    /// The value before.
    current: Expr,
    /// Where it was declared.
    origin: Option<Span>,
}

impl Body<'_> {
    /// Statements without a value.
    pub(super) fn block(&mut self, block: &ast::Block) -> Block {
        let stmts = self.statements(&block.stmts);
        if let Some(tail) = &block.tail
            && self.expr(tail).ty != Type::Error
        {
            self.report(CheckError::UnusedValue { at: tail.span });
        }
        Block { stmts, tail: None }
    }

    pub(super) fn statements(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        if let Some(pair) = stmts
            .windows(2)
            .find(|pair| pair[0].kind == ast::StmtKind::Skip)
        {
            self.report(CheckError::SkipNotLast {
                at: pair[0].span,
                origin: pair[1].span,
            });
        }
        let mut checked = Vec::new();
        for stmt in stmts {
            let kinds = self.statement(stmt);
            self.copies = self
                .copies
                .saturating_mul(kinds.iter().map(copies).product());
            checked.extend(kinds.into_iter().map(|kind| Stmt {
                kind,
                span: stmt.span,
            }));
        }
        checked
    }

    /// A `modes` block becomes one statement per state, everything else one statement, a mistake none.
    fn statement(&mut self, stmt: &ast::Stmt) -> Vec<StmtKind> {
        use ast::StmtKind::*;
        if self.cx.sink.is_full() || !self.allowed(stmt) {
            return Vec::new();
        }
        match &stmt.kind {
            kind @ State { .. } => Declaration::of(kind)
                .and_then(|declared| self.state(&declared, stmt.span))
                .into_iter()
                .collect(),
            Let {
                name,
                mutable,
                ty,
                value,
            } => vec![self.binding(name, *mutable, ty.as_ref(), value)],
            Assign {
                target,
                index,
                op,
                value,
            } => self
                .assign(target, index.as_ref(), *op, value, stmt.span)
                .into_iter()
                .collect(),
            If {
                cond,
                then,
                otherwise,
            } => vec![self.branch(cond, then, otherwise.as_ref())],
            OnFirst(body) => {
                let flow = Flow {
                    no_state: Some("`on first step`"),
                    no_use: Some("`on first step`"),
                    ..self.flow
                };
                vec![StmtKind::OnFirst(
                    self.within(flow, |inner| inner.block(body)),
                )]
            }
            Every { period, from, body } => vec![self.every(period, from.as_ref(), body)],
            Until { cond, most, body } => self.until(cond, most, body).into_iter().collect(),
            Chance { probability, body } => vec![self.chance(probability, body)],
            Modes {
                var,
                of,
                guard,
                body,
            } => self.modes(var, of, guard.as_ref(), body),
            Each { var, body } => self.each(var, body, stmt.span).into_iter().collect(),
            Repeat {
                row,
                table,
                count,
                body,
            } => vec![self.repeat(row, table.as_ref(), count.as_ref(), body)],
            Entry { .. } => Vec::new(),
            Skip => {
                self.may_have_ended |= self.flow.no_state.is_some();
                vec![StmtKind::Skip]
            }
        }
    }

    /// Functions and blocks with a value may only name things and loop.
    fn allowed(&mut self, stmt: &ast::Stmt) -> bool {
        use ast::StmtKind::*;
        let what = match &stmt.kind {
            Let { .. } | Assign { .. } | If { .. } | Repeat { .. } | Until { .. } => return true,
            Entry { .. } if self.room == Room::Rule => return self.entry_stands_here(stmt.span),
            State { .. } | OnFirst(_) | Every { .. } | Modes { .. } if self.in_entry => {
                let what = if matches!(stmt.kind, State { .. } | Modes { .. }) {
                    "state"
                } else {
                    "`on first step` or `every`"
                };
                let help = "an entry uses the state of its rule; ask for steps with `if` and `step`, the number of steps so far";
                return self.misplaced(what, "an entry", help, stmt.span);
            }
            Skip if self.flow.in_loop => {
                let help = "leave a loop out by its count, and the rule by a `skip` outside";
                return self.misplaced("`skip`", "a loop", help, stmt.span);
            }
            State { index: None, .. } if self.room == Room::Component => return true,
            State { .. } if self.flow.value_depth > 0 || self.room != Room::Rule => "state",
            OnFirst(_) => "`on first step`",
            Every { .. } => "`every`",
            Chance { .. } => "`with probability`",
            Modes { .. } => "`modes`",
            Each { .. } => "`each`",
            Entry { .. } => "`entry`",
            Skip => "`skip`",
            State { .. } => return true,
        };
        if matches!(self.room, Room::Function | Room::Component) {
            let place = self.room.name();
            let help = match self.room {
                Room::Component => "a component has state, and sees nothing else of the rule",
                _ => "functions are pure: do this in the rule that calls it",
            };
            return self.misplaced(what, place, help, stmt.span);
        }
        if self.flow.value_depth > 0 {
            let help = "end the expression first: a block that gives a value changes nothing else";
            return self.misplaced(what, "a block that gives a value", help, stmt.span);
        }
        true
    }

    /// Only the top of a rule has entries.
    fn entry_stands_here(&mut self, at: Span) -> bool {
        if self.names.depth() == 1 && !self.in_entry {
            return true;
        }
        let help = "write it at the top of the rule";
        self.misplaced("`entry`", "another block", help, at)
    }

    pub(super) fn misplaced(&mut self, what: &str, place: &str, help: &str, at: Span) -> bool {
        let (what, place, help) = (what.to_owned(), place.to_owned(), help.to_owned());
        self.report(CheckError::MisplacedStatement {
            what,
            place,
            help,
            at,
        });
        false
    }

    fn binding(
        &mut self,
        name: &Name,
        mutable: bool,
        ty: Option<&ast::Type>,
        value: &ast::Expr,
    ) -> StmtKind {
        self.bound_as = Some(name.text.clone());
        let (value, ty) = match ty {
            Some(written) => self.declared_value(name, written, value),
            None => {
                let value = self.expr(value);
                let ty = value.ty.clone();
                (value, ty)
            }
        };
        self.bound_as = None;
        let ty = if mutable {
            self.variable_type(ty, value.span)
        } else {
            ty
        };
        let phase = if mutable {
            Phase::of_one(Level::Step)
        } else {
            self.phase(&value)
        };
        StmtKind::Let(self.add_local(name, ty, mutable, phase, true), value)
    }

    /// What a variable may hold: it may be assigned at some steps only, so its value need not be known at bind.
    fn variable_type(&mut self, ty: Type, at: Span) -> Type {
        match ty {
            Type::Int => Type::Float,
            Type::Float | Type::Bool | Type::Tensor { .. } | Type::Mask(_) | Type::Error => ty,
            other => {
                let expected = "a number, a truth value or a tensor".to_owned();
                let (found, help) = (self.describe(&other), "bind it with `let`".to_owned());
                self.report(CheckError::TypeMismatch {
                    expected,
                    found,
                    help,
                    at,
                    origin: None,
                });
                Type::Error
            }
        }
    }

    fn declared_value(
        &mut self,
        name: &Name,
        written: &ast::Type,
        value: &ast::Expr,
    ) -> (Expr, Type) {
        let origin = super::functions::type_span(written);
        match written {
            ast::Type::Tensor(_) | ast::Type::Applied { .. } => {
                let declared = self.tensor_type(written);
                let value = self.expr(value);
                let Some(declared) = declared else {
                    return (value, Type::Error);
                };
                let value = self.fitting(value, &general(declared.shape.clone()), Some(origin));
                self.prove(&name.text, declared.fact, &value);
                (
                    value,
                    Type::Tensor {
                        shape: declared.shape,
                        fact: declared.fact,
                    },
                )
            }
            other => {
                let ty = self
                    .host_type(other, "a shape, `int`, `float` or `bool`")
                    .unwrap_or(Type::Error);
                let value = self.expr_as(value, &ty);
                (value, ty)
            }
        }
    }

    /// Reports a value whose shape or type does not fit its place.
    pub(super) fn fitting(&mut self, value: Expr, expected: &Type, origin: Option<Span>) -> Expr {
        match (expected, &value.ty) {
            (Type::Tensor { shape: left, .. }, Type::Tensor { shape: right, .. })
                if left != right =>
            {
                let (right, at) = (right.clone(), value.span);
                let help = "the value must have exactly the shape of its place";
                self.shape_mismatch(left, &right, help, at, origin, Some(at));
                super::expr::error(at)
            }
            _ => self.expect(value, expected, origin),
        }
    }

    /// Warns when a declared fact is not known of a value.
    pub(super) fn prove(&mut self, name: &str, declared: crate::hir::Fact, value: &Expr) {
        if let Type::Tensor { fact, .. } = value.ty
            && !implies(fact, declared)
        {
            let (name, declared) = (format!("`{name}`"), fact_name(declared).to_owned());
            self.report(CheckError::UnprovenFact {
                name,
                declared,
                at: value.span,
            });
        }
    }

    fn assign(
        &mut self,
        target: &Name,
        index: Option<&Name>,
        op: Option<ast::BinaryOp>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<StmtKind> {
        let Some(to) = self.target(target, index) else {
            self.expr(value);
            return None;
        };
        let keeps = op.is_none() && matches!(value.kind, ast::ExprKind::OrElse { .. });
        let state = matches!(to.place, Place::State(_) | Place::StateOfMode(_));
        self.kept = (keeps && state).then_some(to.place);
        self.rounds = op.is_none() && self.is_rounded(to.place, value);
        let value = self.expr_towards(value, Some(&to.current.ty));
        (self.kept, self.rounds) = (None, false);
        let value = match op {
            Some(op) => {
                self.names.mark_used(&target.text);
                self.binary(op, to.current.clone(), value, span)
            }
            None => value,
        };
        // A number fills a tensor.
        let fills = is_number(&value) && matches!(to.current.ty, Type::Tensor { .. });
        let value = match fills {
            true => value,
            false => self.assigned(value, &to, target),
        };
        if let Type::Tensor { fact, .. } = to.current.ty {
            self.prove(&target.text, fact, &value);
        }
        self.outside_device_loop(to.place, &to.current.ty, target);
        if let Place::State(state) | Place::StateOfMode(state) = to.place {
            self.assigned.insert(state);
        }
        self.updates |= to.place == Place::Param;
        self.changes |= !matches!(to.place, Place::Local(_));
        if let Place::Shared(shared) = to.place {
            self.shared_once(shared, &value, target.span);
        }
        Some(StmtKind::Assign(to.place, value))
    }

    /// A value that fits what it is assigned to; what begins as a number holds no tensor.
    fn assigned(&mut self, value: Expr, to: &Target, name: &Name) -> Expr {
        let number = match (to.place, &to.current.ty) {
            (Place::Local(_), Type::Float) => true,
            (Place::State(state), Type::Tensor { shape, .. }) => {
                shape.axes.is_empty() && is_number(&self.states[state].init)
            }
            _ => false,
        };
        let begins = number.then(|| self.beginning(&value.ty)).flatten();
        let (Some(begins), Type::Tensor { shape: right, .. }) = (begins, &value.ty) else {
            return self.fitting(value, &to.current.ty, to.origin);
        };
        let help = format!(
            "`{}` begins as a number and stays one: for a tensor of this shape let it begin as {begins}",
            name.text
        );
        let (left, right, at) = (scalar(), right.clone(), value.span);
        self.shape_mismatch(&left, &right, &help, at, to.origin, Some(at));
        super::expr::error(at)
    }

    /// Zeros of the shape of a value, where they are not a number.
    fn beginning(&self, ty: &Type) -> Option<String> {
        let Type::Tensor { shape, .. } = ty else {
            return None;
        };
        match &self.param {
            _ if shape.axes.is_empty() => None,
            Some(param) if param.shape == *shape => Some(format!("`zeros_like({})`", param.name)),
            _ => Some("`zeros_like(x)` of an `x` that has it".to_owned()),
        }
    }

    /// Whether a value is `stochastic(…)`, for something that is stored; in a storage type that rounds.
    fn is_rounded(&mut self, place: Place, value: &ast::Expr) -> bool {
        let ast::ExprKind::Call { callee, .. } = &value.kind else {
            return false;
        };
        if callee.text != "stochastic" {
            return false;
        }
        let (Place::State(state) | Place::StateOfMode(state)) = place else {
            return place == Place::Param;
        };
        let State { dtype, format, .. } = &self.states[state];
        let wide = dtype.is_some_and(|dtype| dtype == dtype.compute());
        if wide || format.is_some() {
            let help = "only bf16 and f16 are rounded so: declare the state as `bf16`, or leave \
                        `stochastic` out";
            self.rounds_nothing(help, callee.span);
        }
        true
    }

    fn target(&mut self, name: &Name, index: Option<&Name>) -> Option<Target> {
        let used = self.names.get(&name.text).is_some_and(|entry| entry.used);
        let entry = self.resolve(&name.text, name.span)?;
        if !used {
            self.names.unmark_used(&name.text);
        }
        let (place, kind) = match entry.binding {
            Binding::Param => (Place::Param, ExprKind::Param),
            Binding::Local(local) if self.locals[local].mutable => {
                (Place::Local(local), ExprKind::Local(local))
            }
            Binding::State(_) => return self.state_target(name, index, entry),
            Binding::Shared(shared) => (Place::Shared(shared), ExprKind::Shared(shared)),
            other => {
                self.immutable(name, other, entry.span);
                return None;
            }
        };
        if let Some(index) = index {
            self.index_not_allowed(name, index, entry.span);
            return None;
        }
        self.outside_value(name, entry)?;
        let current = Expr {
            kind,
            ty: self.binding_type(entry.binding),
            span: name.span,
        };
        Some(Target {
            place,
            current,
            origin: entry.span,
        })
    }

    fn state_target(&mut self, name: &Name, index: Option<&Name>, entry: Entry) -> Option<Target> {
        let current = match index {
            Some(index) => self.indexed(name, index, entry, name.span)?,
            None => self.unindexed(name, entry)?,
        };
        self.outside_value(name, entry)?;
        let place = match current.kind {
            ExprKind::StateOfMode(state) => Place::StateOfMode(state),
            ExprKind::State(state) => Place::State(state),
            _ => return None,
        };
        Some(Target {
            place,
            current,
            origin: entry.span,
        })
    }

    /// A block that gives a value may assign only what it declares.
    fn outside_value(&mut self, name: &Name, entry: Entry) -> Option<()> {
        let declared = match entry.binding {
            Binding::Local(local) => self.local_info[local].value_depth,
            _ => 0,
        };
        if declared == self.flow.value_depth {
            return Some(());
        }
        let (name, at) = (name.text.clone(), name.span);
        self.report(CheckError::AssignInValue {
            name,
            at,
            origin: entry.span,
        });
        None
    }

    fn immutable(&mut self, name: &Name, binding: Binding, origin: Option<Span>) {
        let text = &name.text;
        let (what, help) = match binding {
            Binding::Local(local) if self.local_info[local].warn || self.room == Room::Rule => (
                "bound with `let`",
                format!("declare it with `var {text} = …`"),
            ),
            Binding::Local(_) => ("a parameter", format!("copy it: `var y = {text}`")),
            Binding::Hyper(_) => (
                "a hyperparameter",
                "compute a new value with `let`".to_owned(),
            ),
            Binding::Static(_) => (
                "fixed when the optimizer is bound",
                "compute a new value with `let`".to_owned(),
            ),
            Binding::Grad => (
                "the gradient",
                "compute a new value: `let g = …`".to_owned(),
            ),
            Binding::Base(_) => (
                "an optimizer",
                "apply it, and assign what it gives".to_owned(),
            ),
            Binding::Step => (
                "the step number",
                "compute a new value: `let t = step - 1`".to_owned(),
            ),
            _ => ("a dimension", "compute a new value with `let`".to_owned()),
        };
        let (name, what, at) = (text.clone(), what.to_owned(), name.span);
        self.report(CheckError::Immutable {
            name,
            what,
            help,
            at,
            origin,
        });
    }

    fn branch(
        &mut self,
        cond: &ast::Expr,
        then: &ast::Block,
        otherwise: Option<&ast::Block>,
    ) -> StmtKind {
        let cond = self.condition(cond);
        let decided_at_bind = self.phase(&cond).level == Level::Bind;
        let no_state = if decided_at_bind {
            self.flow.no_state
        } else {
            Some("an `if` that is decided at each step")
        };
        let flow = Flow {
            no_state,
            no_use: self.flow.no_use.or(no_state.filter(|_| !decided_at_bind)),
            ..self.flow
        };
        let before = (self.applied.clone(), self.uses.clone());
        let then = self.within(flow, |body| body.block(then));
        // Only one of the branches exists.
        let applied = std::mem::replace(&mut self.applied, before.0);
        let uses = std::mem::replace(&mut self.uses, before.1);
        let otherwise = match otherwise {
            Some(block) => self.within(flow, |body| body.block(block)),
            None => Block {
                stmts: Vec::new(),
                tail: None,
            },
        };
        self.applied.extend(applied);
        self.uses.extend(uses);
        StmtKind::If {
            cond,
            then,
            otherwise,
        }
    }

    fn every(
        &mut self,
        period: &ast::Expr,
        from: Option<&ast::Expr>,
        block: &ast::Block,
    ) -> StmtKind {
        let checked = self.whole_number(period, "a period");
        if let Some(value) = super::constant::constant(&checked).filter(|value| *value < 1.0)
            && checked.ty != Type::Error
        {
            self.report(CheckError::BadPeriod {
                period: number(value),
                at: period.span,
            });
        }
        let from = match from {
            Some(from) => self.whole_number(from, "the first step of a period"),
            None => checked.clone(),
        };
        let flow = Flow {
            no_state: Some("`every`"),
            no_use: Some("`every`"),
            ..self.flow
        };
        let body = self.within(flow, |inner| inner.block(block));
        StmtKind::Every {
            period: checked,
            from,
            body,
        }
    }

    /// A loop that ends when a condition holds, of the host or of a scalar tensor.
    fn until(
        &mut self,
        cond: &ast::Expr,
        most: &ast::Expr,
        block: &ast::Block,
    ) -> Option<StmtKind> {
        let cond = self.expr(cond);
        let on_device = match &cond.ty {
            Type::Mask(shape) if shape.axes.is_empty() => true,
            Type::Bool | Type::Error => false,
            _ => {
                let expected = "a condition on scalars, such as `max(abs(x)) < 1e-6`".to_owned();
                let (found, at) = (self.describe(&cond.ty), cond.span);
                let help = "reduce the tensor first: `max(abs(x))`, `norm(x)`".to_owned();
                self.report(CheckError::TypeMismatch {
                    expected,
                    found,
                    help,
                    at,
                    origin: None,
                });
                return None;
            }
        };
        let most = self.repeat_count(most);
        let before = self.size;
        let entered = on_device.then_some(self.locals.len() as u32);
        let flow = Flow {
            no_state: self.flow.no_state.or(Some("`until`")),
            in_loop: true,
            device_loop: self.flow.device_loop.or(entered),
            ..self.flow
        };
        let body = self.within(flow, |inner| inner.block(block));
        let turns = super::constant::constant(&most).unwrap_or(1.0);
        self.size = before.saturating_add((self.size - before).saturating_mul(turns as u64));
        Some(StmtKind::Until { cond, most, body })
    }

    /// Reports a host variable that would have to know how long the device went on.
    fn outside_device_loop(&mut self, place: Place, ty: &Type, name: &Name) {
        let outer = match (place, self.flow.device_loop) {
            (Place::Local(local), Some(entered)) => local.as_u32() < entered,
            (Place::Shared(_), Some(_)) => true,
            _ => false,
        };
        if outer && !matches!(ty, Type::Tensor { .. } | Type::Error) {
            self.report(CheckError::HostInUntil {
                name: name.text.clone(),
                at: name.span,
            });
        }
    }

    /// A branch on a number that is drawn at each step.
    fn chance(&mut self, probability: &ast::Expr, block: &ast::Block) -> StmtKind {
        let checked = self.expr_as(probability, &Type::Float);
        if let Some(value) = super::constant::constant(&checked)
            && !(0.0..=1.0).contains(&value)
            && checked.ty != Type::Error
        {
            self.report(CheckError::BadProbability {
                probability: number(value),
                at: probability.span,
            });
        }
        let flow = Flow {
            no_state: Some("`with probability`"),
            no_use: Some("`with probability`"),
            ..self.flow
        };
        let then = self.within(flow, |inner| inner.block(block));
        let span = probability.span;
        let drawn = Expr {
            kind: ExprKind::Builtin(Builtin::Chance, Vec::new()),
            ty: Type::Float,
            span,
        };
        StmtKind::If {
            cond: Expr {
                kind: ExprKind::Binary(BinaryOp::Lt, Box::new(drawn), Box::new(checked)),
                ty: Type::Bool,
                span,
            },
            then,
            otherwise: Block {
                stmts: Vec::new(),
                tail: None,
            },
        }
    }

    /// A host int that is known at bind.
    fn whole_number(&mut self, expr: &ast::Expr, what: &str) -> Expr {
        let checked = self.expr_as(expr, &Type::Int);
        self.require(&checked, Level::Bind, what);
        checked
    }

    fn repeat(
        &mut self,
        row: &[Name],
        table: Option<&ast::Expr>,
        count: Option<&ast::Expr>,
        block: &ast::Block,
    ) -> StmtKind {
        let table = table.map(|table| self.rows(table, row.len()));
        let count = count.map(|count| self.repeat_count(count));
        let before = self.size;
        let no_state = self.flow.no_state.or(Some("`repeat`"));
        let flow = Flow {
            no_state,
            no_use: Some("`repeat`"),
            in_loop: true,
            ..self.flow
        };
        let (row, body) = self.within(flow, |inner| {
            let cells = row.iter().map(|name| {
                inner.add_local(name, Type::Float, false, Phase::at(Level::Bind), false)
            });
            let cells = cells.collect();
            (cells, inner.block(block))
        });
        let turns = count
            .as_ref()
            .and_then(super::constant::constant)
            .unwrap_or(1.0);
        self.size = before.saturating_add((self.size - before).saturating_mul(turns as u64));
        StmtKind::Repeat {
            row,
            table,
            count,
            body,
        }
    }

    fn repeat_count(&mut self, count: &ast::Expr) -> Expr {
        self.count_of(count, "a repeat count")
    }

    /// For how many failures in a row something is kept.
    pub(super) fn keep_count(&mut self, count: &ast::Expr) -> Expr {
        self.count_of(count, "a number of failures")
    }

    fn count_of(&mut self, count: &ast::Expr, what: &str) -> Expr {
        let checked = self.whole_number(count, what);
        match super::constant::constant(&checked) {
            Some(turns) if !(0.0..=10_000.0).contains(&turns) => {
                self.report(CheckError::BadCount {
                    count: number(turns),
                    at: count.span,
                });
                super::expr::error(count.span)
            }
            _ => checked,
        }
    }

    fn rows(&mut self, table: &ast::Expr, names: usize) -> Expr {
        let checked = self.expr(table);
        match checked.ty {
            Type::Table(width) if width as usize != names => {
                let (names, width) = (count(names, "name"), count(width as usize, "number"));
                self.report(CheckError::RowWidth {
                    names,
                    width,
                    at: table.span,
                });
                super::expr::error(table.span)
            }
            Type::Table(_) | Type::Error => checked,
            _ => self.expect(checked, &Type::Table(names as u32), None),
        }
    }
}

/// Whether a value can fill a tensor.
pub(super) fn is_number(value: &Expr) -> bool {
    is_numeric(&value.ty) && !matches!(value.ty, Type::Tensor { .. })
}

/// How often what follows a statement is written out: a branch that may `skip` takes it along.
fn copies(stmt: &StmtKind) -> u64 {
    let branches: [&[Stmt]; 2] = match stmt {
        StmtKind::If {
            then, otherwise, ..
        } => [&then.stmts, &otherwise.stmts],
        StmtKind::OnFirst(body) | StmtKind::Every { body, .. } => [&body.stmts, &[]],
        _ => return 1,
    };
    let ends = branches.map(open_ends);
    if ends == [1, 1] {
        1
    } else {
        ends.iter().sum::<u64>().max(1)
    }
}

/// How many ways through a block do not `skip`.
fn open_ends(stmts: &[Stmt]) -> u64 {
    match stmts.last() {
        Some(Stmt {
            kind: StmtKind::Skip,
            ..
        }) => 0,
        _ => stmts
            .iter()
            .fold(1, |ends: u64, stmt| ends.saturating_mul(copies(&stmt.kind))),
    }
}
