//! Expressions: what is known now is computed, host scalars and tensors become operations.

use super::{Frame, Lowerer, Val};
use crate::hir::{
    BinaryOp, Block, Builtin, Expr, ExprKind, Field, FunctionId, Keep, OrElse, Place, StateId,
    UnaryOp,
};
use crate::ir::{OnFailure, OpKind, Reduce, Type, Value};
use crate::kernel;
use crate::plan::{HostBinary, HostUnary};

impl<'p> Lowerer<'p> {
    pub(super) fn expr(&mut self, expr: &'p Expr) -> Val {
        match &expr.kind {
            ExprKind::Number(x) => Val::Number(*x),
            ExprKind::Bool(b) => Val::Number(f64::from(u8::from(*b))),
            ExprKind::Text(words) => Val::Word(words.clone()),
            ExprKind::Word(word) => Val::Word(word.clone()),
            ExprKind::DType(dtype) => Val::DType(*dtype),
            ExprKind::Hyper(n) => self.hyper(*n),
            ExprKind::Static(n) => self.frame.statics[*n].clone(),
            ExprKind::Shared(n) => self.shared(*n),
            ExprKind::Across(fold, n, summand) => self.across(*fold, *n, summand),
            ExprKind::Step => self.step(),
            ExprKind::Apply {
                base,
                param,
                grad,
                hypers,
            } => self.apply(*base, param, grad, hypers),
            ExprKind::BaseHyper(base, name) => self.base_hyper(*base, name),
            ExprKind::Param => self.read(self.frame.param),
            ExprKind::Grad => self.read(self.frame.grad),
            ExprKind::State(state) => {
                self.read(Some(self.current[self.frame.states[&(*state, None)]]))
            }
            ExprKind::StateOfMode(state) => self.read(Some(
                self.current[self.frame.states[&(*state, self.frame.mode)]],
            )),
            ExprKind::Family(state) => self.family(*state),
            ExprKind::Local(local) => match self.frame.locals[local].clone() {
                Val::Tensor(tensor) => self.read(Some(tensor)),
                Val::Host(value) => Val::Host(self.known(value)),
                other => other,
            },
            ExprKind::Dim(symbol) => Val::Number(self.frame.symbols[*symbol] as f64),
            ExprKind::Mode => Val::Number(f64::from(self.frame.mode.unwrap_or_default())),
            ExprKind::Table(table) => Val::Table(self.program.tables[*table].rows.clone()),
            ExprKind::TableLiteral(rows) => Val::Table(rows.clone()),
            ExprKind::Unary(op, a) => self.unary(*op, a),
            ExprKind::Binary(op, a, b) => self.binary(*op, a, b),
            ExprKind::Transpose(a) => {
                let a = self.tensor(a);
                Val::Tensor(self.build.transpose(a))
            }
            ExprKind::If {
                cond,
                then,
                otherwise,
            } => self.if_expr(cond, then, otherwise),
            ExprKind::In(dtype, body) => self.in_dtype(dtype, body),
            ExprKind::Call(function, args) => self.call(*function, None, args),
            ExprKind::Use(function, name, args) => self.call(*function, Some(name), args),
            ExprKind::Builtin(builtin, args) => self.builtin(*builtin, args),
            ExprKind::Field(value, field) => self.field(value, *field),
            ExprKind::OrElse(policy) => self.or_else(policy),
        }
    }

    /// A hyperparameter's value, read here if it is an input.
    pub(super) fn hyper(&mut self, n: usize) -> Val {
        match self.frame.hypers[n].clone() {
            Val::Input(n) => Val::Host(self.build.push_one(OpKind::Hyper(n), Type::Host)),
            Val::Host(value) => Val::Host(self.known(value)),
            value => value,
        }
    }

    /// A tensor as the surrounding `in dtype { }` sees it.
    fn read(&mut self, value: Option<Value>) -> Val {
        let Some(value) = value else {
            unreachable!("a rule's names outside a rule")
        };
        let value = self.known(value);
        match self.context {
            Some(dtype)
                if self
                    .build
                    .function
                    .tensor(value)
                    .is_some_and(|ty| ty.dtype.is_float()) =>
            {
                Val::Tensor(self.build.cast(value, dtype))
            }
            _ => Val::Tensor(value),
        }
    }

    fn family(&mut self, state: crate::hir::StateId) -> Val {
        let mut members: Vec<(u32, usize)> = Vec::new();
        for (&(id, mode), &slot) in &self.frame.states {
            if let (true, Some(mode)) = (id == state, mode) {
                members.push((mode, slot));
            }
        }
        members.sort_unstable();
        Val::Family(
            members
                .into_iter()
                .map(|(mode, slot)| (mode, self.current[slot]))
                .collect(),
        )
    }

    /// A host value of the IR.
    pub(super) fn host(&mut self, val: Val) -> Value {
        match val {
            Val::Number(x) => self.build.constant(x),
            Val::Host(value) => value,
            other => unreachable!("a host number is {other:?}"),
        }
    }

    /// A value of the IR: a tensor, or a host number.
    pub(super) fn value(&mut self, val: Val) -> Value {
        match val {
            Val::Tensor(tensor) => tensor,
            number => self.host(number),
        }
    }

    pub(super) fn tensor(&mut self, expr: &'p Expr) -> Value {
        match self.expr(expr) {
            Val::Tensor(tensor) => tensor,
            other => unreachable!("a tensor is {other:?}"),
        }
    }

    pub(super) fn host_op(&mut self, op: HostBinary, a: Val, b: Val) -> Val {
        if let (Val::Number(x), Val::Number(y)) = (&a, &b) {
            return Val::Number(op.apply(*x, *y));
        }
        let (a, b) = (self.host(a), self.host(b));
        Val::Host(self.build.host_binary(op, a, b))
    }

    pub(super) fn host_fn(&mut self, op: HostUnary, a: Val) -> Val {
        match a {
            Val::Number(x) => Val::Number(op.apply(x)),
            a => {
                let a = self.host(a);
                Val::Host(self.build.host_unary(op, a))
            }
        }
    }

    fn unary(&mut self, op: UnaryOp, a: &'p Expr) -> Val {
        match (op, self.expr(a)) {
            (UnaryOp::Neg, Val::Tensor(a)) => {
                Val::Tensor(self.build.unary(kernel::UnaryOp::Neg, a))
            }
            (UnaryOp::Not, Val::Tensor(a)) => {
                let ty = self.build.function.ty(a).clone();
                Val::Tensor(self.build.push_one(OpKind::Not(a), ty))
            }
            (UnaryOp::Neg, a) => self.host_fn(HostUnary::Neg, a),
            (UnaryOp::Not, a) => self.host_fn(HostUnary::Not, a),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: &'p Expr, b: &'p Expr) -> Val {
        let (a, b) = (self.expr(a), self.expr(b));
        match (&a, &b) {
            (Val::Tensor(_), _) | (_, Val::Tensor(_)) => {
                let (a, b) = (self.value(a), self.value(b));
                Val::Tensor(self.tensor_binary(op, a, b))
            }
            (Val::Word(x), Val::Word(y)) => {
                Val::Number(f64::from(u8::from((x == y) == (op == BinaryOp::Eq))))
            }
            (Val::DType(x), Val::DType(y)) => {
                Val::Number(f64::from(u8::from((x == y) == (op == BinaryOp::Eq))))
            }
            _ => self.host_arithmetic(op, a, b),
        }
    }

    fn host_arithmetic(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        match op {
            BinaryOp::Add => self.host_op(HostBinary::Add, a, b),
            BinaryOp::Sub => self.host_op(HostBinary::Sub, a, b),
            BinaryOp::Mul | BinaryOp::MatMul => self.host_op(HostBinary::Mul, a, b),
            BinaryOp::Div => self.host_op(HostBinary::Div, a, b),
            BinaryOp::Pow => self.host_op(HostBinary::Pow, a, b),
            BinaryOp::Lt => self.host_op(HostBinary::Lt, a, b),
            BinaryOp::Le => self.host_op(HostBinary::Le, a, b),
            BinaryOp::Gt => self.host_op(HostBinary::Lt, b, a),
            BinaryOp::Ge => self.host_op(HostBinary::Le, b, a),
            BinaryOp::Eq => self.host_op(HostBinary::Eq, a, b),
            BinaryOp::Ne => {
                let equal = self.host_op(HostBinary::Eq, a, b);
                self.host_fn(HostUnary::Not, equal)
            }
            BinaryOp::And => self.host_op(HostBinary::And, a, b),
            BinaryOp::Or => self.host_op(HostBinary::Or, a, b),
        }
    }

    pub(super) fn tensor_binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        use kernel::{BinaryOp as Map, CompareOp, LogicOp};
        let compare = |this: &mut Self, op| this.build.compare(op, a, b);
        match op {
            BinaryOp::Add => self.build.binary(Map::Add, a, b),
            BinaryOp::Sub => self.build.binary(Map::Sub, a, b),
            BinaryOp::Mul => self.build.binary(Map::Mul, a, b),
            BinaryOp::Div => self.build.binary(Map::Div, a, b),
            BinaryOp::MatMul => self
                .scaled(a, b)
                .unwrap_or_else(|| self.build.matmul(a, false, b, false)),
            BinaryOp::Pow => self.power(a, b),
            BinaryOp::Lt => compare(self, CompareOp::Lt),
            BinaryOp::Le => compare(self, CompareOp::Le),
            BinaryOp::Gt => compare(self, CompareOp::Gt),
            BinaryOp::Ge => compare(self, CompareOp::Ge),
            BinaryOp::Eq => compare(self, CompareOp::Eq),
            BinaryOp::Ne => compare(self, CompareOp::Ne),
            BinaryOp::And | BinaryOp::Or => {
                let op = if op == BinaryOp::And {
                    LogicOp::And
                } else {
                    LogicOp::Or
                };
                let ty = self.build.function.ty(a).clone();
                self.build.push_one(OpKind::Logic(op, a, b), ty)
            }
        }
    }

    /// Small constant exponents are products, roots and quotients; others are expanded in the kernel.
    fn power(&mut self, x: Value, exponent: Value) -> Value {
        use kernel::{BinaryOp as Map, UnaryOp as MapUnary};
        let known = self.build.function.constant(exponent);
        match known {
            Some(1.0) => x,
            Some(2.0) => self.build.binary(Map::Mul, x, x),
            Some(3.0) => {
                let square = self.build.binary(Map::Mul, x, x);
                self.build.binary(Map::Mul, square, x)
            }
            Some(4.0) => {
                let square = self.build.binary(Map::Mul, x, x);
                self.build.binary(Map::Mul, square, square)
            }
            Some(0.5) => self.build.unary(MapUnary::Sqrt, x),
            Some(p) if [-0.5, -1.0, -2.0].contains(&p) => {
                let (one, positive) = (self.build.constant(1.0), self.build.constant(-p));
                let root = self.power(x, positive);
                self.build.binary(Map::Div, one, root)
            }
            _ => {
                let ty = self.build.function.ty(x).clone();
                self.build.push_one(OpKind::Pow(x, exponent), ty)
            }
        }
    }

    fn if_expr(&mut self, cond: &'p Expr, then: &'p Block, otherwise: &'p Block) -> Val {
        match self.expr(cond) {
            Val::Number(x) => self.block_value(if x != 0.0 { then } else { otherwise }),
            cond => {
                let cond = self.host(cond);
                self.branch_value(
                    cond,
                    |this| this.block_value(then),
                    |this| this.block_value(otherwise),
                )
            }
        }
    }

    pub(super) fn block_value(&mut self, block: &'p Block) -> Val {
        self.stmts(&block.stmts, None);
        match &block.tail {
            Some(tail) => self.expr(tail),
            None => unreachable!("a block used as a value has one"),
        }
    }

    /// Inside, tensors are stored in the given type; the value is again of the type around.
    fn in_dtype(&mut self, dtype: &'p Expr, body: &'p Block) -> Val {
        let context = match self.expr(dtype) {
            Val::DType(Some(dtype)) => Some(dtype),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.context, context);
        let value = self.block_value(body);
        self.context = outer;
        let around = outer.or_else(|| {
            self.build
                .function
                .slots
                .first()
                .map(|slot| slot.ty.dtype.compute())
        });
        match (value, around) {
            (Val::Tensor(tensor), Some(dtype)) => Val::Tensor(self.build.cast(tensor, dtype)),
            (value, _) => value,
        }
    }

    /// A function, or a component with a name for its state.
    fn call(&mut self, id: FunctionId, used_as: Option<&str>, args: &'p [Expr]) -> Val {
        let args: Vec<Val> = args.iter().map(|arg| self.expr(arg)).collect();
        let function = &self.program.functions[id];
        let outer = self.frame.clone();
        let (hypers, statics) = (outer.hypers.clone(), outer.statics.clone());
        self.frame = Frame::new(outer.optimizer, hypers, statics);
        self.frame.file = Some(function.file);
        if let Some(name) = used_as {
            let mode = outer.component.map_or(outer.mode, |(_, mode)| mode);
            self.frame.component = Some((id, mode));
            self.frame.through = outer.through.clone().named(name);
        }
        for ((local, pattern), arg) in function.params.iter().zip(args) {
            if let (Some(pattern), Val::Tensor(tensor)) = (pattern, &arg) {
                let dims = self.build.function.dims(*tensor).to_vec();
                self.bind_argument(pattern, &dims);
            }
            self.frame.locals.insert(*local, arg);
        }
        let value = self.block_value(&function.body);
        self.frame = outer;
        value
    }

    fn field(&mut self, value: &'p Expr, field: Field) -> Val {
        let Val::Results(results) = self.expr(value) else {
            unreachable!("`.{field:?}` of something else than a factorization")
        };
        Val::Tensor(match field {
            Field::Values | Field::Q | Field::U => results[0],
            Field::Vectors | Field::R | Field::S => results[1],
            Field::V => results[2],
        })
    }

    fn or_else(&mut self, policy: &'p OrElse) -> Val {
        let keep = policy.keep.as_ref();
        let slot = keep.and_then(|keep| self.frame.states.get(&self.kept_key(keep)?));
        let old = slot.map(|&slot| self.current[slot]);
        let counted = keep.is_some_and(|keep| keep.most.is_some());
        let direct = old.filter(|_| is_kept_whole(&policy.value) && !counted);
        let on_failure = OnFailure {
            retry_f64: policy.retry_f64,
            keep: direct,
            nan: policy.instead.is_some() || old.is_some() && direct.is_none(),
        };
        let outer = std::mem::replace(&mut self.on_failure, on_failure);
        let value = self.expr(&policy.value);
        self.on_failure = outer;
        match (value, old, keep, &policy.instead) {
            (Val::Tensor(value), _, _, Some(instead)) => self.finite_or_else(value, instead),
            (Val::Tensor(value), Some(old), Some(keep), None) if on_failure.nan => {
                Val::Tensor(self.finite_or(value, old, keep))
            }
            (value, ..) => value,
        }
    }

    /// The state of a policy.
    fn kept_key(&self, keep: &Keep) -> Option<(StateId, Option<u32>)> {
        match keep.place {
            Place::State(state) => Some((state, None)),
            Place::StateOfMode(state) => Some((state, self.frame.mode)),
            Place::Param | Place::Local(_) | Place::Shared(_) => None,
        }
    }

    /// The value if all of it is finite, else another one, computed only then.
    fn finite_or_else(&mut self, value: Value, instead: &'p Expr) -> Val {
        let finite = self.is_finite(value);
        let finite = self.flag(finite, [1.0, 0.0]);
        self.branch_value(finite, |_| Val::Tensor(value), |this| this.expr(instead))
    }

    /// Whether all of a tensor is finite, as a mask.
    fn is_finite(&mut self, value: Value) -> Value {
        let zero = self.build.constant(0.0);
        let nothing = self.build.binary(kernel::BinaryOp::Mul, value, zero);
        let sum = self.build.sum(nothing, Reduce::All);
        self.build.compare(kernel::CompareOp::Eq, sum, zero)
    }

    /// The new value if all of it is finite, else the old one.
    fn finite_or(&mut self, value: Value, old: Value, keep: &'p Keep) -> Value {
        let finite = self.is_finite(value);
        if let Some(most) = &keep.most {
            let most = self.count(most) as u32;
            self.count_failure(finite, most, keep);
        }
        let dtype = self.build.parts(value).0;
        let old = self.build.cast(old, dtype);
        self.build.select(finite, value, old)
    }

    /// One more failure in a row, or none; too many are an error.
    fn count_failure(&mut self, finite: Value, most: u32, keep: &Keep) {
        let key = self.kept_key(keep);
        let known = key.and_then(|key| {
            let count = self.frame.failures.get(&key)?;
            Some((*count, self.frame.states[&key] as u32))
        });
        let Some((slot, kept)) = known else { return };
        let (zero, one) = (self.build.constant(0.0), self.build.constant(1.0));
        let more = self
            .build
            .binary(kernel::BinaryOp::Add, self.current[slot], one);
        let count = self.build.select(finite, zero, more);
        let ty = self.build.function.ty(count).clone();
        let limit = OpKind::Limit {
            x: count,
            most,
            kept,
        };
        let count = self.build.push_one(limit, ty);
        self.current.set(slot, count);
    }
}

/// Whether a factorization itself can leave the kept tensor in place of the value: nothing else in it fails.
fn is_kept_whole(value: &Expr) -> bool {
    let is = |expr: &Expr, builtin| matches!(&expr.kind, ExprKind::Builtin(found, args) if *found == builtin && args.iter().all(is_sound));
    match &value.kind {
        ExprKind::Field(x, Field::Vectors) => is(x, Builtin::Eigh),
        ExprKind::Field(x, Field::Q) => is(x, Builtin::Qr),
        _ => is(value, Builtin::Cholesky),
    }
}

/// Whether a value is plainly computed without factorizations.
fn is_sound(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Builtin(
            Builtin::Eigh
            | Builtin::Qr
            | Builtin::Orthonormal
            | Builtin::Svd
            | Builtin::Cholesky
            | Builtin::SolveTriangular,
            _,
        ) => false,
        ExprKind::Builtin(_, args) => args.iter().all(is_sound),
        ExprKind::Unary(_, x) | ExprKind::Transpose(x) => is_sound(x),
        ExprKind::Binary(_, x, y) => is_sound(x) && is_sound(y),
        ExprKind::Call(..)
        | ExprKind::Use(..)
        | ExprKind::If { .. }
        | ExprKind::In(..)
        | ExprKind::Across(..)
        | ExprKind::Apply { .. }
        | ExprKind::Field(..)
        | ExprKind::OrElse(_) => false,
        _ => true,
    }
}
