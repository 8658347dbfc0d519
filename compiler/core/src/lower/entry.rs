//! Entries: what a rule does beside its step, with the same state.
//!
//! The slots of an entry are those of the step, in the same order, and behind them the tensors that it is given. So the
//! rule is lowered as for a step, and what that did is forgotten but for the slots and what names mean.

use super::{Frame, Lowerer, Spec, Val, lowered};
use crate::hir::{Entry, Fact, Input, InputKind, Program, RuleBody, Signature};
use crate::ir::{Function, OpKind, RegionData, Type};
use crate::plan::Role;

/// The entries of one rule for one parameter, those of what it delegates to and applies included; with each whether it
/// reads the gradient.
pub fn entries(spec: &Spec<'_>) -> Vec<(Signature, bool)> {
    let lowerer = lowered(spec);
    let ran = lowerer.ran.iter().filter(|frame| frame.home.is_some());
    let all = ran.flat_map(|frame| entries_of(spec.program, frame));
    all.map(|entry| (entry.signature(), entry.reads_grad))
        .collect()
}

/// Specialises an entry of a rule; none if it has no such entry.
///
/// Host inputs behind those of the optimizer are the numbers that the entry is given, in order.
pub fn lower_entry(spec: &Spec<'_>, name: &str) -> Option<Function> {
    let mut lowerer = lowered(spec);
    let found = lowerer.ran.iter().find_map(|frame| {
        let entry = entries_of(spec.program, frame).iter();
        let entry = entry.clone().find(|entry| entry.name == name)?;
        frame.home.is_some().then(|| (frame.clone(), entry))
    });
    let (frame, entry) = found?;
    lowerer.forget_step(frame);
    lowerer.entry(spec, entry);
    Some(lowerer.finish())
}

fn entries_of<'p>(program: &'p Program, frame: &Frame) -> &'p [Entry] {
    let rule = &program.optimizers[frame.optimizer].rules[frame.rule];
    match rule.body {
        RuleBody::Block(_) => &rule.entries,
        RuleBody::Delegate { .. } => &[],
    }
}

impl<'p> Lowerer<'p> {
    /// An empty body, in which every slot is as it was, and names mean what they meant in a rule that ran.
    fn forget_step(&mut self, frame: Frame) {
        let body = self.build.function.body;
        self.build.function.regions[body] = RegionData::default();
        self.build.region = body;
        self.build.function.sums.clear();
        self.assigned.clear();
        self.frame = frame;
        self.frame.locals.clear();
        self.frame.shared.clear();
        self.current.clear();
        for slot in 0..self.build.function.slots.len() {
            let value = self.read_slot(slot);
            self.current.push(value);
        }
    }

    fn entry(&mut self, spec: &Spec<'_>, entry: &'p Entry) {
        let Some((home, seen)) = self.frame.home.clone() else {
            unreachable!("`{}` has a parameter that is kept nowhere", entry.name)
        };
        let view = self.frame.view.clone();
        let param = self.apply_view(&seen, self.current[home]);
        let grad = self.apply_view(&view, self.current[1]);
        (self.frame.param, self.frame.grad) = (Some(param), Some(grad));
        let mut number = spec.settings.inputs().len() as u32;
        for input in &entry.inputs {
            let value = self.given(spec, input, &mut number);
            self.frame.locals.insert(input.local, value);
        }
        self.stmts(&entry.body.stmts, None);
        let param = self.frame.param.unwrap_or(param);
        self.current[home] = self.undo_view(&seen, param);
    }

    fn given(&mut self, spec: &Spec<'_>, input: &Input, number: &mut u32) -> Val {
        match input.kind {
            InputKind::Number => {
                *number += 1;
                Val::Host(self.build.push_one(OpKind::Hyper(*number - 1), Type::Host))
            }
            InputKind::Tensor => {
                let name = &input.name;
                let slot = self.slot(name, Role::Input, spec.dtype, spec.dims, Fact::General);
                let value = self.read_slot(slot);
                self.current.push(value);
                let view = self.frame.view.clone();
                Val::Tensor(self.apply_view(&view, value))
            }
        }
    }
}
