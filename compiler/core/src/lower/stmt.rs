//! Statements: state declarations, assignments, loops that unroll, branches that depend on the step.

use super::{Lowerer, Val};
use crate::dtype::DType;
use crate::hir::{Block, Expr, Fact, Local, Place, StateId, Stmt, StmtKind};
use crate::ir::{OpKind, TensorType, Type, Value};
use crate::plan::{HostBinary, Role};
use crate::quantized::Format;

/// What follows a block: the rest of the blocks around it.
pub(super) struct Rest<'a, 'p> {
    stmts: &'p [Stmt],
    next: Option<&'a Rest<'a, 'p>>,
}

impl<'p> Lowerer<'p> {
    /// Lowers statements; true if they ended the rule (by `skip`, or because what follows was lowered already).
    pub(super) fn stmts(&mut self, stmts: &'p [Stmt], after: Option<&Rest<'_, 'p>>) -> bool {
        for (n, stmt) in stmts.iter().enumerate() {
            let rest = Rest {
                stmts: &stmts[n + 1..],
                next: after,
            };
            if self.stmt(stmt, &rest) {
                return true;
            }
        }
        false
    }

    fn stmt(&mut self, stmt: &'p Stmt, rest: &Rest<'_, 'p>) -> bool {
        match &stmt.kind {
            StmtKind::State(state) => self.declare(*state),
            StmtKind::Let(local, value) => {
                let value = self.expr(value);
                self.frame.locals.insert(*local, value);
            }
            StmtKind::Assign(place, value) => self.assign(*place, value),
            StmtKind::If {
                cond,
                then,
                otherwise,
            } => {
                let cond = self.expr(cond);
                return self.choose(cond, &then.stmts, &otherwise.stmts, rest);
            }
            StmtKind::OnFirst(body) => {
                let (step, one) = (self.step(), Val::Number(1.0));
                let first = self.host_op(HostBinary::Eq, step, one);
                return self.choose(first, &body.stmts, &[], rest);
            }
            StmtKind::Every { period, from, body } => {
                let due = self.due(period, from);
                return self.choose(due, &body.stmts, &[], rest);
            }
            StmtKind::Each(modes, body) => {
                for mode in self.frame.modes.get(modes).cloned().unwrap_or_default() {
                    let outer = self.frame.mode.replace(mode);
                    self.stmts(&body.stmts, None);
                    self.frame.mode = outer;
                }
            }
            StmtKind::Repeat {
                row,
                table,
                count,
                body,
            } => self.repeat(row, table.as_ref(), count.as_ref(), body),
            StmtKind::Skip => return true,
        }
        false
    }

    /// `step >= from and (step - from) mod period == 0`
    fn due(&mut self, period: &'p Expr, from: &'p Expr) -> Val {
        let (period, from, step) = (self.expr(period), self.expr(from), self.step());
        let since = self.host_op(HostBinary::Sub, step.clone(), from.clone());
        let phase = self.host_op(HostBinary::Mod, since, period);
        let on_time = self.host_op(HostBinary::Eq, phase, Val::Number(0.0));
        let begun = self.host_op(HostBinary::Le, from, step);
        self.host_op(HostBinary::And, begun, on_time)
    }

    pub(super) fn step(&mut self) -> Val {
        Val::Host(self.build.push_one(OpKind::Step, Type::Host))
    }

    /// One of two lists of statements; a branch that may `skip` takes what follows into the other one.
    fn choose(
        &mut self,
        cond: Val,
        then: &'p [Stmt],
        otherwise: &'p [Stmt],
        rest: &Rest<'_, 'p>,
    ) -> bool {
        match cond {
            Val::Number(x) => self.stmts(if x != 0.0 { then } else { otherwise }, Some(rest)),
            cond if may_skip(then) || may_skip(otherwise) => {
                let cond = self.host(cond);
                self.branch(
                    cond,
                    |this| this.with_rest(then, rest),
                    |this| this.with_rest(otherwise, rest),
                );
                true
            }
            cond => {
                let cond = self.host(cond);
                self.branch(
                    cond,
                    |this| _ = this.stmts(then, None),
                    |this| _ = this.stmts(otherwise, None),
                );
                false
            }
        }
    }

    fn with_rest(&mut self, stmts: &'p [Stmt], rest: &Rest<'_, 'p>) {
        let mut ended = self.stmts(stmts, Some(rest));
        let mut rest = Some(rest);
        while let (false, Some(part)) = (ended, rest) {
            ended = self.stmts(part.stmts, part.next);
            rest = part.next;
        }
    }

    fn repeat(
        &mut self,
        row: &'p [Local],
        table: Option<&'p Expr>,
        count: Option<&'p Expr>,
        body: &'p Block,
    ) {
        let rows = match table.map(|table| self.expr(table)) {
            Some(Val::Table(rows)) => rows,
            _ => Vec::new(),
        };
        let count = count.map_or(rows.len() as u64, |count| self.count(count));
        for n in 0..count as usize {
            let cells = rows.get(n).or(rows.last());
            for (local, cell) in row.iter().zip(cells.into_iter().flatten()) {
                self.frame.locals.insert(*local, Val::Number(*cell));
            }
            self.stmts(&body.stmts, None);
        }
    }

    /// Lowers two regions under a host condition and merges what they changed.
    pub(super) fn branch(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let outer = self.build.region;
        let before = self.names();
        let (then_region, otherwise_region) = (self.build.new_region(), self.build.new_region());
        self.build.region = then_region;
        then(self);
        let after_then = self.names();
        self.restore(&before);
        self.build.region = otherwise_region;
        otherwise(self);
        self.read_missing_slots(after_then.slots.len());
        let after_otherwise = self.names();
        self.build.region = then_region;
        self.current.clone_from(&after_then.slots);
        self.read_missing_slots(after_otherwise.slots.len());
        let after_then = Names {
            slots: self.current.clone(),
            ..after_then
        };
        self.build.region = outer;
        self.merge(
            cond,
            [then_region, otherwise_region],
            &before,
            after_then,
            after_otherwise,
        );
    }

    /// State declared in the other branch keeps its value in this one.
    fn read_missing_slots(&mut self, count: usize) {
        for slot in self.current.len()..count {
            let value = self.read_slot(slot);
            self.current.push(value);
        }
    }

    fn read_slot(&mut self, slot: usize) -> Value {
        let value = self.build.slot(slot as u32);
        if let Some(&format) = self.formats.get(&slot) {
            let scales = self.build.slot(slot as u32 + 1);
            return self.build.dequantize(value, scales, format);
        }
        let dtype = self.build.function.slots[slot].ty.dtype;
        self.build.cast(value, dtype.compute())
    }

    fn names(&self) -> Names {
        let locals = self
            .frame
            .locals
            .iter()
            .map(|(local, val)| (*local, val.clone()))
            .collect();
        Names {
            slots: self.current.clone(),
            param: self.frame.param,
            locals,
        }
    }

    fn restore(&mut self, names: &Names) {
        self.current.clone_from(&names.slots);
        self.frame.param = names.param;
        self.frame.locals = names.locals.iter().cloned().collect();
    }

    fn merge(
        &mut self,
        cond: Value,
        regions: [crate::ir::Region; 2],
        before: &Names,
        then: Names,
        otherwise: Names,
    ) {
        let mut joins: Vec<(Target, Val, Val)> = Vec::new();
        for (slot, (&a, &b)) in then.slots.iter().zip(&otherwise.slots).enumerate() {
            joins.push((Target::Slot(slot), Val::Tensor(a), Val::Tensor(b)));
        }
        if let (Some(a), Some(b)) = (then.param, otherwise.param) {
            joins.push((Target::Param, Val::Tensor(a), Val::Tensor(b)));
        }
        let mut locals: Vec<&(Local, Val)> = before.locals.iter().collect();
        locals.sort_by_key(|(local, _)| *local);
        for (local, _) in locals {
            let find = |names: &Names| {
                names
                    .locals
                    .iter()
                    .find(|(l, _)| l == local)
                    .map(|(_, val)| val.clone())
            };
            if let (Some(a), Some(b)) = (find(&then), find(&otherwise)) {
                joins.push((Target::Local(*local), a, b));
            }
        }
        self.restore(before);
        self.current = then.slots.clone();
        joins.retain(|(_, a, b)| a != b);
        let yields: Vec<(Value, Value)> = joins
            .iter()
            .map(|(_, a, b)| self.join(regions, a, b))
            .collect();
        let types = yields
            .iter()
            .map(|(a, _)| self.build.function.ty(*a).clone())
            .collect();
        self.build.function.regions[regions[0]].results = yields.iter().map(|(a, _)| *a).collect();
        self.build.function.regions[regions[1]].results = yields.iter().map(|(_, b)| *b).collect();
        let results = self.build.push(
            OpKind::If {
                cond,
                then: regions[0],
                otherwise: regions[1],
            },
            types,
        );
        for ((target, ..), result) in joins.into_iter().zip(results) {
            self.bind(target, result);
        }
    }

    /// Two values of one type, each visible in its region.
    fn join(&mut self, regions: [crate::ir::Region; 2], a: &Val, b: &Val) -> (Value, Value) {
        let outer = self.build.region;
        self.build.region = regions[0];
        let a = self.value(a.clone());
        self.build.region = regions[1];
        let b = self.value(b.clone());
        let b = match self.build.function.tensor(a).map(|ty| ty.dtype) {
            Some(dtype) => self.build.cast(b, dtype),
            None => b,
        };
        self.build.region = outer;
        (a, b)
    }

    fn bind(&mut self, target: Target, result: Value) {
        match target {
            Target::Slot(slot) => self.current[slot] = result,
            Target::Param => self.frame.param = Some(result),
            Target::Local(local) => {
                let host = self.build.function.is_host(result);
                let val = if host {
                    Val::Host(result)
                } else {
                    Val::Tensor(result)
                };
                self.frame.locals.insert(local, val);
            }
        }
    }

    fn declare(&mut self, state: StateId) {
        let data = &self.rule_data().states[state];
        let Some(modes) = data.modes else {
            return self.declare_one(state, None);
        };
        if !self.frame.modes.contains_key(&modes) {
            let present = self.present_modes(modes);
            self.frame.modes.insert(modes, present);
        }
        for mode in self.frame.modes[&modes].clone() {
            let outer = self.frame.mode.replace(mode);
            self.declare_one(state, Some(mode));
            self.frame.mode = outer;
        }
    }

    /// The modes of the parameter for which the guard holds.
    fn present_modes(&mut self, modes: crate::hir::ModesId) -> Vec<u32> {
        let data = &self.rule_data().modes[modes];
        let rank = self
            .frame
            .param
            .map_or(0, |param| self.build.function.dims(param).len() as u32);
        let mut present = Vec::new();
        for mode in 0..rank {
            let outer = self.frame.mode.replace(mode);
            let takes_part = data
                .guard
                .as_ref()
                .is_none_or(|guard| self.expr(guard) == Val::Number(1.0));
            self.frame.mode = outer;
            present.extend(takes_part.then_some(mode));
        }
        present
    }

    fn declare_one(&mut self, state: StateId, mode: Option<u32>) {
        let data = &self.rule_data().states[state];
        let stored = data.format.map(|_| DType::F32).or(data.dtype);
        let dtype = stored.unwrap_or(self.build.function.slots[0].ty.dtype);
        let dims = data
            .dims
            .as_ref()
            .map(|dims| dims.iter().map(|dim| self.count(dim)).collect());
        let initial = self.initial_value(&data.init, dtype, dims);
        let dims = self.build.function.dims(initial).to_vec();
        let mode_name = mode.map_or_else(String::new, |mode| format!(".{mode}"));
        let name = format!("{}{}{mode_name}", self.frame.through.part, data.name);
        let slot = match data.format {
            Some(format) => self.declare_codes(&name, &dims, initial, format),
            None => {
                self.initial.push(initial);
                self.slot(&name, Role::State, dtype, &dims, data.fact)
            }
        };
        self.read_missing_slots(self.build.function.slots.len());
        self.frame.states.insert((state, mode), slot);
    }

    /// Two slots: `exp_avg` for the codes, `exp_avg.absmax` for the scales.
    fn declare_codes(&mut self, name: &str, dims: &[u64], initial: Value, format: Format) -> usize {
        let body = std::mem::replace(&mut self.build.region, self.build.function.init);
        let first = self.build.quantize(initial, format);
        self.build.region = body;
        self.initial.extend(first);
        let scales = [format.scales(dims.iter().product())];
        let slot = self.slot(name, Role::State, DType::U8, dims, Fact::General);
        let name = format!("{name}.absmax");
        self.slot(&name, Role::State, DType::F32, &scales, Fact::General);
        self.formats.insert(slot, format);
        slot
    }

    /// The codes and scales of what changed.
    pub(super) fn store_codes(&mut self) {
        for (slot, format) in self.formats.clone() {
            let is_old = match *self.build.function.def(self.current[slot]) {
                OpKind::Dequantize { codes, .. } => {
                    *self.build.function.def(codes) == OpKind::Slot(slot as u32)
                }
                _ => false,
            };
            let [codes, scales] = if is_old {
                [slot, slot + 1].map(|slot| self.build.slot(slot as u32))
            } else {
                self.build.quantize(self.current[slot], format)
            };
            (self.current[slot], self.current[slot + 1]) = (codes, scales);
        }
    }

    /// Lowers a state's first value into `init`, where the parameter is what it is before the first step.
    fn initial_value(&mut self, init: &'p Expr, dtype: DType, dims: Option<Vec<u64>>) -> Value {
        let outer = std::mem::replace(&mut self.build.region, self.build.function.init);
        let steps = self.frame.through.steps.clone();
        let [seen, seen_grad] = [0, 1].map(|slot| {
            let slot = self.build.slot(slot);
            self.apply_view(&steps, slot)
        });
        let param = self.frame.param.replace(seen);
        let grad = self.frame.grad.replace(seen_grad);
        let value = self.expr(init);
        let dims = dims.unwrap_or_else(|| match &value {
            Val::Tensor(tensor) => self.build.function.dims(*tensor).to_vec(),
            _ => Vec::new(),
        });
        let value = self.filled(value, TensorType { dtype, dims });
        (self.frame.param, self.frame.grad) = (param, grad);
        self.build.region = outer;
        value
    }

    /// A tensor of this type: numbers fill it, `identity` is ones on the diagonal.
    fn filled(&mut self, value: Val, ty: TensorType) -> Value {
        match value {
            Val::Tensor(tensor) => self.build.cast(tensor, ty.dtype),
            Val::Identity => {
                let one = self.build.constant(1.0);
                self.build.push_one(OpKind::Identity(one), Type::Tensor(ty))
            }
            number => {
                let number = self.host(number);
                self.build.fill(number, ty)
            }
        }
    }

    fn assign(&mut self, place: Place, value: &'p Expr) {
        let value = self.expr(value);
        match place {
            Place::Local(local) => drop(self.frame.locals.insert(local, value)),
            Place::Param => {
                let like = self.frame.param.map(|param| self.build.parts(param));
                self.frame.param =
                    like.map(|(dtype, dims)| self.filled(value, TensorType { dtype, dims }));
            }
            Place::Shared(n) => self.assign_shared(n, value),
            Place::State(state) => self.assign_state(state, None, value),
            Place::StateOfMode(state) => self.assign_state(state, self.frame.mode, value),
        }
    }

    fn assign_state(&mut self, state: StateId, mode: Option<u32>, value: Val) {
        let slot = self.frame.states[&(state, mode)];
        let ty = self.build.function.slots[slot].ty.clone();
        let dtype = match self.formats.contains_key(&slot) {
            true => DType::F32,
            false => ty.dtype.compute(),
        };
        let ty = TensorType {
            dtype,
            dims: ty.dims,
        };
        self.current[slot] = self.filled(value, ty);
    }
}

/// Everything that a branch may change.
struct Names {
    slots: Vec<Value>,
    param: Option<Value>,
    locals: Vec<(Local, Val)>,
}

/// Where a merged value goes.
enum Target {
    Slot(usize),
    Param,
    Local(Local),
}

fn may_skip(stmts: &[Stmt]) -> bool {
    stmts.iter().any(|stmt| match &stmt.kind {
        StmtKind::Skip => true,
        StmtKind::If {
            then, otherwise, ..
        } => may_skip(&then.stmts) || may_skip(&otherwise.stmts),
        StmtKind::OnFirst(body) | StmtKind::Every { body, .. } => may_skip(&body.stmts),
        _ => false,
    })
}
