//! Statements: state declarations, assignments, loops that unroll, branches that depend on the step.

use super::current::{Changes, Mark};
use super::{Fault, LARGEST_FUNCTION, Lowerer, Val};
use crate::dtype::DType;
use crate::hir::{Block, Builtin, Expr, ExprKind, Local, Place, StateId, Stmt, StmtKind};
use crate::ir::{OpKind, TensorType, Type, Value};
use crate::plan::{HostBinary, HostUnary};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The longest loop.
const MOST_TURNS: u64 = 10_000;

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
            StmtKind::Until { cond, most, body } => {
                let most = self.turns_of(most);
                let around = self.frame.locals.keys().copied().collect();
                self.until(cond, body, &around, most);
            }
            StmtKind::Skip => return true,
        }
        false
    }

    /// `step >= from and (step - from) mod period == 0`
    fn due(&mut self, period: &'p Expr, from: &'p Expr) -> Val {
        if let Val::Number(x) = self.expr(period)
            && x < 1.0
        {
            self.out_of_range(period, x, "at least 1");
        }
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

    /// Turns of a loop until its condition holds. Each stands inside of one before it: once the condition holds, which
    /// it then does for good, as many are left to ask as the loop is deep, and that is the logarithm of their number.
    /// Names that are not from `around` the loop end with their turn.
    fn until(&mut self, cond: &'p Expr, body: &'p Block, around: &HashSet<Local>, turns: u64) {
        if turns == 0 || !self.has_room() {
            return;
        }
        let later = turns - 1;
        let turn = |this: &mut Self| {
            this.stmts(&body.stmts, None);
            this.frame.locals.retain(|local, _| around.contains(local));
            this.until(cond, body, around, later - later / 2);
            this.until(cond, body, around, later / 2);
        };
        let go_on = match self.expr(cond) {
            Val::Number(x) if x != 0.0 => return,
            Val::Number(_) => return turn(self),
            Val::Tensor(done) => self.flag(done, [0.0, 1.0]),
            done => match self.host_fn(HostUnary::Not, done) {
                Val::Host(go_on) => go_on,
                other => unreachable!("a condition of the step is {other:?}"),
            },
        };
        self.branch(go_on, turn, |_| {});
    }

    /// How often a loop turns, as bound: no more than what a number in the source may say.
    fn turns_of(&mut self, count: &'p Expr) -> u64 {
        let turns = self.count(count);
        if turns > MOST_TURNS {
            self.out_of_range(count, turns as f64, "at most 10000");
        }
        turns.min(MOST_TURNS)
    }

    /// A mask of one element as a condition that the device decides: one number where it holds, another where not.
    pub(super) fn flag(&mut self, mask: Value, numbers: [f64; 2]) -> Value {
        let dtype = self.build.function.slots[0].ty.dtype.compute();
        let [yes, no] = numbers.map(|x| self.build.constant(x));
        let scalar = TensorType {
            dtype,
            dims: Vec::new(),
        };
        let yes = self.build.fill(yes, scalar);
        self.build.select(mask, yes, no)
    }

    /// Whether one more turn of a loop may be written out.
    fn has_room(&mut self) -> bool {
        self.turns += 1;
        let size = self.turns.max(self.build.function.ops.len() as u64);
        if size > LARGEST_FUNCTION {
            self.fault.get_or_insert(Fault::Operations);
        }
        self.fault.is_none()
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
        let count = count.map_or(rows.len() as u64, |count| self.turns_of(count));
        for n in 0..count as usize {
            if !self.has_room() {
                break;
            }
            let cells = rows.get(n).or(rows.last());
            for (local, cell) in row.iter().zip(cells.into_iter().flatten()) {
                self.frame.locals.insert(*local, Val::Number(*cell));
            }
            self.stmts(&body.stmts, None);
        }
    }

    /// Lowers two regions under a condition and merges what they changed.
    pub(super) fn branch(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        self.branches(
            cond,
            |this| {
                then(this);
                None
            },
            |this| {
                otherwise(this);
                None
            },
        );
    }

    /// The same of two regions that have a value each, of one type.
    pub(super) fn branch_value(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self) -> Val,
        otherwise: impl FnOnce(&mut Self) -> Val,
    ) -> Val {
        let value = self.branches(cond, |this| Some(then(this)), |this| Some(otherwise(this)));
        value.unwrap_or_else(|| unreachable!("both sides of a branch have a value"))
    }

    fn branches(
        &mut self,
        cond: Value,
        then: impl FnOnce(&mut Self) -> Option<Val>,
        otherwise: impl FnOnce(&mut Self) -> Option<Val>,
    ) -> Option<Val> {
        let outer = self.build.region;
        let before = self.names();
        let (then_region, otherwise_region) = (self.build.new_region(), self.build.new_region());
        self.build.region = then_region;
        let mark = self.current.enter();
        let value = then(self);
        let mut after_then = self.side(mark, value);
        self.restore(&before);
        self.build.region = otherwise_region;
        let mark = self.current.enter();
        let value = otherwise(self);
        self.read_missing_slots(mark.slots() + after_then.slots.added.len());
        let after_otherwise = self.side(mark, value);
        self.build.region = then_region;
        for added in after_then.slots.added.len()..after_otherwise.slots.added.len() {
            let value = self.read_slot(mark.slots() + added);
            after_then.slots.added.push(value);
        }
        self.build.region = outer;
        self.merge(
            cond,
            [then_region, otherwise_region],
            before,
            after_then,
            after_otherwise,
        )
    }

    /// What a side of a branch made of names and slots.
    fn side(&mut self, mark: Mark, value: Option<Val>) -> Side {
        Side {
            names: self.names(),
            slots: self.current.leave(mark),
            value,
        }
    }

    /// State declared in the other branch keeps its value in this one.
    pub(super) fn read_missing_slots(&mut self, count: usize) {
        for slot in self.current.len()..count {
            let value = self.read_slot(slot);
            self.current.push(value);
        }
    }

    pub(super) fn read_slot(&mut self, slot: usize) -> Value {
        let value = self.build.slot(slot as u32);
        if let Some(&format) = self.formats.get(&slot) {
            let scales = self.build.slot(slot as u32 + 1);
            return self.build.dequantize(value, scales, format);
        }
        let value = match self.packed.get(&slot) {
            Some(&(packing, rows)) => self.build.unpack(value, rows, packing),
            None => value,
        };
        let dtype = self.build.function.slots[slot].ty.dtype;
        self.build.cast(value, dtype.compute())
    }

    fn names(&self) -> Names {
        Names {
            param: self.frame.param,
            locals: self.frame.locals.clone(),
        }
    }

    fn restore(&mut self, names: &Names) {
        self.frame.param = names.param;
        self.frame.locals.clone_from(&names.locals);
    }

    fn merge(
        &mut self,
        cond: Value,
        regions: [crate::ir::Region; 2],
        before: Names,
        then: Side,
        otherwise: Side,
    ) -> Option<Val> {
        let mut joins: Vec<(Target, Val, Val)> = Vec::new();
        for (slot, a, b) in self.joined_slots(&then.slots, &otherwise.slots) {
            joins.push((Target::Slot(slot), Val::Tensor(a), Val::Tensor(b)));
        }
        let sides = [&then.names, &otherwise.names];
        if let [Some(a), Some(b)] = sides.map(|names| names.param) {
            joins.push((Target::Param, Val::Tensor(a), Val::Tensor(b)));
        }
        let mut locals: Vec<Local> = before.locals.keys().copied().collect();
        locals.sort_unstable();
        for local in locals {
            if let [Some(a), Some(b)] = sides.map(|names| names.locals.get(&local)) {
                joins.push((Target::Local(local), a.clone(), b.clone()));
            }
        }
        self.restore(&before);
        self.current.redo(&then.slots);
        joins.retain(|(_, a, b)| a != b);
        if let (Some(a), Some(b)) = (then.value, otherwise.value) {
            joins.push((Target::Value, a, b));
        }
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
        let mut value = None;
        for ((target, ..), result) in joins.into_iter().zip(results) {
            match target {
                Target::Slot(slot) => self.current.set(slot, result),
                Target::Param => self.frame.param = Some(result),
                Target::Local(local) => {
                    let result = self.val(result);
                    self.frame.locals.insert(local, result);
                }
                Target::Value => value = Some(self.val(result)),
            }
        }
        value
    }

    fn val(&self, value: Value) -> Val {
        match self.build.function.is_host(value) {
            true => Val::Host(value),
            false => Val::Tensor(value),
        }
    }

    /// The slots that a branch may have changed, in order, with their values at the end of both sides.
    fn joined_slots(&self, then: &Changes, otherwise: &Changes) -> Vec<(usize, Value, Value)> {
        let set: BTreeSet<usize> = then
            .set
            .keys()
            .chain(otherwise.set.keys())
            .copied()
            .collect();
        let at_end =
            |side: &Changes, slot| side.set.get(&slot).copied().unwrap_or(self.current[slot]);
        let changed = set
            .into_iter()
            .map(|slot| (slot, at_end(then, slot), at_end(otherwise, slot)));
        let added = then.added.iter().zip(&otherwise.added).enumerate();
        let first = self.current.len();
        let added = added.map(|(n, (&a, &b))| (first + n, a, b));
        changed.chain(added).collect()
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

    fn assign(&mut self, place: Place, value: &'p Expr) {
        let value = match &value.kind {
            ExprKind::Builtin(Builtin::Stochastic, args) => {
                let value = self.expr(&args[0]);
                self.stochastic(place, value)
            }
            _ => self.expr(value),
        };
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

    /// Rounded to what the place is stored in, up or down by a draw of its own; a wider type has the value itself.
    fn stochastic(&mut self, place: Place, value: Val) -> Val {
        let noise = self.noise();
        let Some(stored) = self.stored(place) else {
            return value;
        };
        if stored.dtype == stored.dtype.compute() {
            return value;
        }
        let held = TensorType {
            dtype: stored.dtype.compute(),
            dims: stored.dims.clone(),
        };
        let x = self.filled(value, held.clone());
        let noise = self.build.push_one(noise, Type::Tensor(held.clone()));
        let rounded = OpKind::Stochastic(x, noise);
        let rounded = self.build.push_one(rounded, Type::Tensor(stored));
        Val::Tensor(self.build.cast(rounded, held.dtype))
    }

    /// How a place is stored; the parameter as the rule sees it, if it is kept anywhere.
    fn stored(&self, place: Place) -> Option<TensorType> {
        let slots = &self.build.function.slots;
        let slot = match place {
            Place::Param => {
                let (slot, _) = self.frame.through.home.as_ref()?;
                let dims = self.build.function.dims(self.frame.param?).to_vec();
                let dtype = slots[*slot].ty.dtype;
                return Some(TensorType { dtype, dims });
            }
            Place::State(state) => self.frame.states[&(state, None)],
            Place::StateOfMode(state) => self.frame.states[&(state, self.frame.mode)],
            Place::Local(_) | Place::Shared(_) => return None,
        };
        Some(self.slot_type(slot))
    }

    fn assign_state(&mut self, state: StateId, mode: Option<u32>, value: Val) {
        let slot = self.frame.states[&(state, mode)];
        let ty = self.slot_type(slot);
        let dtype = match self.formats.contains_key(&slot) {
            true => DType::F32,
            false => ty.dtype.compute(),
        };
        let ty = TensorType {
            dtype,
            dims: ty.dims,
        };
        let value = self.filled(value, ty);
        self.current.set(slot, value);
    }
}

/// How a side of a branch ended.
struct Side {
    names: Names,
    slots: Changes,
    value: Option<Val>,
}

/// What a branch may change besides slots.
struct Names {
    param: Option<Value>,
    locals: HashMap<Local, Val>,
}

/// Where a merged value goes.
enum Target {
    Slot(usize),
    Param,
    Local(Local),
    Value,
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
