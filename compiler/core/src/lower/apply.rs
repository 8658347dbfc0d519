//! Optimizers that an optimizer takes: their rule is inlined where it is applied.
//!
//! What is applied sees the value that it is given as its parameter, and keeps state of its own beside that of the rule
//! around it, under a name of its own: `base.exp_avg`.

use super::view::Step;
use super::{Frame, Lowerer, Val};
use crate::hir::{Expr, ExprKind};
use std::collections::HashMap;

impl<'p> Lowerer<'p> {
    pub(super) fn apply(
        &mut self,
        base: usize,
        param: &'p Expr,
        grad: &'p Expr,
        set: &'p [(String, Expr)],
    ) -> Val {
        let (place, param, grad) = (param, self.tensor(param), self.tensor(grad));
        let set: Vec<(&str, Val)> = set
            .iter()
            .map(|(name, value)| (name.as_str(), self.expr(value)))
            .collect();
        let mut frame = self.base_frame(base, set);
        let dims = self.build.function.dims(param).to_vec();
        let rule = self.matching_rule(&frame, &dims).unwrap_or_default();
        let (given, pristine) = (self.frame.given, self.frame.pristine);
        let same = |n: usize, value| pristine[n] && given.is_some_and(|given| given[n] == value);
        frame.pristine = [same(0, param), same(1, grad)];
        frame.through.home = self.home_of(place);
        let outer = std::mem::replace(&mut self.frame, frame);
        let value = self.rule(rule, param, grad);
        self.frame = outer;
        Val::Tensor(value)
    }

    /// Where the value is kept that an optimizer is applied to.
    fn home_of(&self, param: &Expr) -> Option<(usize, Vec<Step>)> {
        match param.kind {
            ExprKind::Param => self.frame.through.home.clone(),
            ExprKind::State(state) => Some((self.frame.states[&(state, None)], Vec::new())),
            _ => None,
        }
    }

    /// What names mean in an optimizer that this one takes, some hyperparameters having other values.
    pub(super) fn base_frame(&mut self, base: usize, set: Vec<(&str, Val)>) -> Frame {
        let first_input = self.inputs_of_base(base);
        let taken = &self.program.optimizers[self.frame.optimizer].bases[base];
        let optimizer = &self.program.optimizers[taken.optimizer];
        let mut set: HashMap<&str, Val> = set.into_iter().collect();
        let statics = taken.statics.iter();
        let statics = statics.map(|&at| self.frame.statics[at].clone()).collect();
        let mut frame = Frame::new(taken.optimizer, Vec::new(), statics);
        frame.first_input = first_input;
        frame.through = self.frame.through.clone().named(&taken.name);
        let outer = std::mem::replace(&mut self.frame, frame);
        for (hyper, place) in optimizer.hypers.iter().zip(&taken.hypers) {
            let value = match (set.remove(hyper.name.as_str()), place) {
                (Some(value), _) => value,
                (None, Some(at)) => outer.hypers[*at].clone(),
                // It is set where the optimizer is applied; before, it has its default.
                (None, None) => self.expr(&hyper.default),
            };
            self.frame.hypers.push(value);
        }
        std::mem::replace(&mut self.frame, outer)
    }

    /// A hyperparameter of an optimizer that this one takes.
    pub(super) fn base_hyper(&mut self, base: usize, name: &str) -> Val {
        let taken = &self.program.optimizers[self.frame.optimizer].bases[base];
        let hypers = &self.program.optimizers[taken.optimizer].hypers;
        let index = hypers.iter().position(|hyper| hyper.is(name));
        match index.and_then(|index| taken.hypers[index]) {
            Some(at) => self.hyper(at),
            None => unreachable!("`{name}` of `{}` was not checked", taken.name),
        }
    }

    /// Whether the optimizers that a rule applies take a parameter of this shape.
    pub(super) fn bases_take(&mut self, applied: &[usize], dims: &[u64]) -> bool {
        applied.iter().all(|&base| {
            let frame = self.base_frame(base, Vec::new());
            self.matching_rule(&frame, dims).is_some()
        })
    }
}
