//! Entries: what a rule does beside its step, with the same state.
//!
//! The slots of an entry are those of the step, in the same order, and behind them the tensors that it is given. So the
//! rule is lowered as for a step, and what that did is forgotten but for the slots and what names mean.

use super::current::Current;
use super::view::Step;
use super::{Frame, LowerError, Lowerer, Place, Spec, Through, Val, lowered};
use crate::hir::{Entry, Fact, Input, InputKind, Program, RuleBody, Signature};
use crate::ir::{Function, Op, OpKind, Region, RegionData, Type, Value};
use crate::plan::Role;
use std::collections::HashSet;

/// The entries of one rule for one parameter, those of what it delegates to and applies included; with each whether it
/// reads the gradient.
///
/// # Errors
///
/// The rule's loops are too long to be written out.
pub fn entries(spec: &Spec<'_>) -> Result<Vec<(Signature, bool)>, LowerError> {
    let lowerer = lowered(spec)?;
    let ran = lowerer.ran.iter();
    let here = ran.filter(|frame| frame.through.home.is_some());
    let mut found: Vec<(Signature, bool)> = Vec::new();
    for entry in here.flat_map(|frame| entries_of(spec.program, frame)) {
        if !found.iter().any(|(known, _)| known.name == entry.name) {
            found.push((entry.signature(), entry.reads_grad));
        }
    }
    Ok(found)
}

/// Specialises an entry of a rule; none if it has no such entry.
///
/// Host inputs behind those of the optimizer are the numbers that the entry is given, in order.
///
/// # Errors
///
/// The loops of the rule or of the entry are too long to be written out.
pub fn lower_entry(spec: &Spec<'_>, name: &str) -> Result<Option<Function>, LowerError> {
    let mut lowerer = lowered(spec)?;
    let ran = std::mem::take(&mut lowerer.ran);
    let here = ran.into_iter().filter(|frame| frame.through.home.is_some());
    let found = here.filter_map(|frame| {
        let mut entries = entries_of(spec.program, &frame).iter();
        let entry = entries.find(|entry| entry.name == name)?;
        Some((frame, entry))
    });
    let found: Vec<(Frame, &Entry)> = found.collect();
    let Some((_, first)) = found.first() else {
        return Ok(None);
    };
    lowerer.forget_step();
    let given = lowerer.inputs_of_entry(spec, &first.inputs);
    // A parameter that is seen in parts has the entry for each of them.
    for (frame, entry) in found {
        lowerer.entry(frame, entry, &given);
    }
    let lowerer = lowerer.whole(|| Place::of(spec))?;
    Ok(Some(lowerer.finish()))
}

fn entries_of<'p>(program: &'p Program, frame: &Frame) -> &'p [Entry] {
    let rule = &program.optimizers[frame.optimizer].rules[frame.rule];
    match rule.body {
        RuleBody::Block(_) => &rule.entries,
        RuleBody::Delegate { .. } => &[],
    }
}

impl<'p> Lowerer<'p> {
    /// A body in which every slot is as it was; the host numbers remain that a rule was handed as its settings.
    fn forget_step(&mut self) {
        let body = self.build.function.body;
        let ops = self.host_numbers(body);
        self.build.function.regions[body] = RegionData {
            ops,
            ..RegionData::default()
        };
        self.build.region = body;
        self.build.function.sums.clear();
        self.assigned.clear();
        self.current = Current::default();
        self.diagonals.clear();
        for slot in 0..self.build.function.slots.len() {
            let value = self.read_slot(slot);
            self.current.push(value);
        }
    }

    /// The operations of a region that are computed on the host from hyperparameters and the like alone.
    fn host_numbers(&self, region: Region) -> Vec<Op> {
        let function = &self.build.function;
        let mut known: HashSet<Value> = HashSet::new();
        let mut kept = function.regions[region].ops.clone();
        kept.retain(|&op| {
            let data = &function.ops[op];
            let mut operands = data.kind.operands().into_iter();
            let keeps = data.kind.is_host() && operands.all(|value| known.contains(&value));
            known.extend(data.results.iter().filter(|_| keeps));
            keeps
        });
        kept
    }

    /// What the entry is given: numbers, and tensors as they were bound.
    fn inputs_of_entry(&mut self, spec: &Spec<'_>, inputs: &[Input]) -> Vec<Val> {
        let mut number = spec.settings.inputs().len() as u32;
        let mut values = Vec::new();
        for input in inputs {
            values.push(match input.kind {
                InputKind::Number => {
                    number += 1;
                    Val::Host(self.build.push_one(OpKind::Hyper(number - 1), Type::Host))
                }
                InputKind::Tensor => {
                    let (name, role) = (&input.name, Role::Input);
                    let slot = self.slot(name, role, spec.dtype, spec.dims, Fact::General);
                    let value = self.read_slot(slot);
                    self.current.push(value);
                    Val::Tensor(value)
                }
            });
        }
        values
    }

    /// Runs an entry with what names meant when its rule ran.
    fn entry(&mut self, frame: Frame, entry: &'p Entry, given: &[Val]) {
        self.frame = frame;
        self.frame.locals.clear();
        self.frame.shared.clear();
        let Through { steps, home, .. } = self.frame.through.clone();
        let Some((home, from_home)) = home else {
            unreachable!("`{}` has a parameter that is kept nowhere", entry.name)
        };
        let param = self.apply_view(&from_home, self.current[home]);
        let grad = self.apply_view(&steps, self.current[1]);
        (self.frame.param, self.frame.grad) = (Some(param), Some(grad));
        for (input, value) in entry.inputs.iter().zip(given) {
            let seen = match value {
                Val::Tensor(value) => Val::Tensor(self.apply_view(&steps, *value)),
                number => number.clone(),
            };
            self.frame.locals.insert(input.local, seen);
        }
        self.stmts(&entry.body.stmts, None);
        let param = self.frame.param.unwrap_or(param);
        let whole = self.put_back(self.current[home], &from_home, param);
        self.current.set(home, whole);
    }

    /// The whole with another value for what the steps lead to.
    fn put_back(&mut self, whole: Value, steps: &[Step], value: Value) -> Value {
        let Some((step, inner)) = steps.split_first() else {
            return value;
        };
        let seen = self.apply_view(std::slice::from_ref(step), whole);
        let value = self.put_back(seen, inner, value);
        let Step::Slice { axis, from, count } = *step else {
            return self.undo_view(step, value);
        };
        let length = self.build.function.dims(whole)[axis as usize];
        let end = from + count;
        let mut parts = Vec::new();
        if from > 0 {
            parts.push(self.build.slice(whole, axis, 0, from));
        }
        parts.push(value);
        if end < length {
            parts.push(self.build.slice(whole, axis, end, length - end));
        }
        self.build.concat(parts, axis)
    }
}
