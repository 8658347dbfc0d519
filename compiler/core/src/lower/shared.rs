//! Numbers that parameters share and sums over parameters: inputs of the host program beside the hyperparameters.
//!
//! The inputs of an optimizer are its shared numbers, its sums, and then those of each optimizer that its rules
//! delegate to, in order of the rules. So every parameter of a group means the same number by an input, whichever rule
//! takes it.

use super::{LowerError, Lowerer, Place, Val, constant_frame};
use crate::hir::{Block, Fact, OptimizerId, Program, RuleBody, Target};
use crate::ir::{OpKind, Summand, TensorType, Type, Value};
use crate::kernel::Fold;
use crate::plan::Role;
use crate::settings::Settings;

/// The inputs of an optimizer after its hyperparameters, before the first step.
pub(crate) fn first_shared(
    program: &Program,
    id: OptimizerId,
    settings: &Settings,
) -> Result<Vec<f64>, LowerError> {
    let mut lowerer = Lowerer::new(program, constant_frame(id, settings));
    let inputs = lowerer.first_inputs();
    lowerer.whole(|| Place::start(&program.optimizers[id].name))?;
    Ok(inputs)
}

/// How many inputs an optimizer has besides its hyperparameters.
fn inputs(program: &Program, id: OptimizerId) -> usize {
    let optimizer = &program.optimizers[id];
    let targets = optimizer
        .rules
        .iter()
        .map(|rule| target_inputs(program, &rule.body));
    let bases = optimizer.bases.iter();
    let bases: usize = bases.map(|base| inputs(program, base.optimizer)).sum();
    optimizer.shared.len() + optimizer.sums + targets.sum::<usize>() + bases
}

fn target_inputs(program: &Program, body: &RuleBody) -> usize {
    body.delegated().map_or(0, |id| inputs(program, id))
}

impl<'p> Lowerer<'p> {
    fn first_inputs(&mut self) -> Vec<f64> {
        let optimizer = &self.program.optimizers[self.frame.optimizer];
        let mut first: Vec<f64> = Vec::new();
        for shared in &optimizer.shared {
            let value = self.expr(&shared.initial);
            first.push(value.number());
        }
        first.resize(first.len() + optimizer.sums, 0.0);
        for rule in &optimizer.rules {
            if let RuleBody::Delegate {
                target:
                    Target::Optimizer {
                        id,
                        hypers,
                        statics,
                    },
                ..
            } = &rule.body
            {
                let frame = self.inner_frame(*id, hypers, statics);
                let outer = std::mem::replace(&mut self.frame, frame);
                first.extend(self.first_inputs());
                self.frame = outer;
            }
        }
        for base in 0..optimizer.bases.len() {
            let frame = self.base_frame(base, Vec::new());
            let outer = std::mem::replace(&mut self.frame, frame);
            first.extend(self.first_inputs());
            self.frame = outer;
        }
        first
    }

    /// Where the inputs of what a rule delegates to begin: a rule of the same optimizer has the same.
    pub(super) fn inputs_of_target(&self, rule: usize) -> usize {
        let optimizer = &self.program.optimizers[self.frame.optimizer];
        if optimizer.rules[rule].body.delegated().is_none() {
            return self.frame.first_input;
        }
        let before = optimizer.rules[..rule].iter();
        let before: usize = before
            .map(|rule| target_inputs(self.program, &rule.body))
            .sum();
        self.frame.first_input + optimizer.shared.len() + optimizer.sums + before
    }

    /// Where the inputs of an optimizer that this one takes begin.
    pub(super) fn inputs_of_base(&self, base: usize) -> usize {
        let optimizer = &self.program.optimizers[self.frame.optimizer];
        let after = optimizer.bases[base..].iter();
        let after: usize = after.map(|base| inputs(self.program, base.optimizer)).sum();
        self.frame.first_input + inputs(self.program, self.frame.optimizer) - after
    }

    pub(super) fn shared(&mut self, n: usize) -> Val {
        match self.frame.shared.get(&n) {
            Some(&value) => Val::Host(value),
            None => Val::Host(self.input(self.frame.first_input + n)),
        }
    }

    fn input(&mut self, n: usize) -> Value {
        self.build.push_one(OpKind::Hyper(n as u32), Type::Host)
    }

    pub(super) fn assign_shared(&mut self, n: usize, value: Val) {
        let value = self.host(value);
        self.frame.shared.insert(n, value);
        let input = self.frame.first_input + n;
        self.assigned.insert(input as u32, value);
    }

    /// Sets what the parameter adds aside, as a function of its own, and reads the sum.
    pub(super) fn across(&mut self, fold: Fold, n: usize, summand: &'p Block) -> Val {
        let summand = self.block_value(summand);
        let shared = self.program.optimizers[self.frame.optimizer].shared.len();
        let input = self.frame.first_input + shared + n;
        let function = self.summand(summand);
        self.build.function.sums.push(Summand {
            input: input as u32,
            fold,
            function,
        });
        Val::Host(self.input(input))
    }

    /// The rule so far, with a slot for the summand; every other slot keeps its value.
    fn summand(&mut self, summand: Val) -> crate::ir::Function {
        let summand = self.value(summand);
        let mut build = self.build.clone();
        let dtype = build.function.slots[0].ty.dtype.compute();
        let scalar = TensorType {
            dtype,
            dims: Vec::new(),
        };
        let summand = match build.function.is_host(summand) {
            true => build.fill(summand, scalar.clone()),
            false => build.cast(summand, dtype),
        };
        let slots = build.function.slots.iter().enumerate();
        let kept = slots.filter(|(_, slot)| !slot.role.is_read_only());
        let kept: Vec<u32> = kept.map(|(n, _)| n as u32).collect();
        let mut results: Vec<Value> = kept.into_iter().map(|slot| build.slot(slot)).collect();
        results.push(summand);
        build.function.slots.push(crate::ir::Slot {
            name: "summand".to_owned(),
            role: Role::State,
            ty: scalar.clone(),
            fact: Fact::General,
        });
        let body = build.function.body;
        build.function.regions[body].results = results;
        build.region = build.function.init;
        let zero = build.constant(0.0);
        let empty = build.fill(zero, scalar);
        let mut first = self.initial.clone();
        first.push(empty);
        let init = build.function.init;
        build.function.regions[init].results = first;
        build.function.sums.clear();
        build.function
    }
}
