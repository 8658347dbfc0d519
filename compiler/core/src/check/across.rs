//! What parameters have in common: sums over all of them, and numbers that they share.
//!
//! Both happen once a step, whatever the parameter, so they stand where every parameter of the rule comes by.

use super::body::{Body, Room};
use super::error::CheckError;
use super::expr::error;
use super::shapes;
use crate::hir::{Expr, ExprKind, Type};
use crate::kernel::Fold;
use optc_grammar::ast::{self, Span};

impl Body<'_> {
    /// `across params { dot(grad, grad) }`, `across params max { norm(grad) }`
    pub(super) fn across(&mut self, max: bool, block: &ast::Block, span: Span) -> Expr {
        let (fold, what) = match max {
            true => (Fold::Max, "a maximum over parameters"),
            false => (Fold::Sum, "a sum over parameters"),
        };
        if !self.in_common(what, span) {
            return error(span);
        }
        let block = self.inner_value(block, None);
        let value = block.tail.as_deref().map(|tail| (&tail.ty, tail.span));
        match value {
            Some((Type::Int | Type::Float, _)) => {}
            Some((Type::Tensor { shape, .. }, _)) if *shape == shapes::scalar() => {}
            Some((Type::Error, _)) | None => return error(span),
            Some((other, at)) => {
                let found = self.describe(other);
                self.report(CheckError::NotANumber { found, at });
                return error(span);
            }
        }
        Expr {
            kind: ExprKind::Across(fold, self.next_sum(), block),
            ty: Type::Float,
            span,
        }
    }

    fn next_sum(&mut self) -> usize {
        let Some(id) = self.optimizer else {
            return 0;
        };
        let sums = &mut self.cx.program.optimizers[id].sums;
        *sums += 1;
        *sums - 1
    }

    /// A shared number is assigned the same value whichever parameter computes it, and by one rule.
    pub(super) fn shared_once(&mut self, shared: usize, value: &Expr, at: Span) {
        if !self.in_common("an assignment to a shared number", at) {
            return;
        }
        if value.ty != Type::Error && self.phase(value).of_one {
            let name = self.shared_name(shared);
            self.report(CheckError::SharedOfOne {
                name,
                at: value.span,
            });
        }
        let Some(id) = self.optimizer else {
            return;
        };
        let rule = self.cx.program.optimizers[id].rules.len();
        let first = self.cx.shared_by.entry((id, shared)).or_insert((rule, at));
        if first.0 != rule {
            let (origin, name) = (first.1, self.shared_name(shared));
            self.report(CheckError::SharedTwice { name, at, origin });
        }
    }

    fn shared_name(&self, index: usize) -> String {
        let optimizer = self.optimizer.map(|id| &self.cx.program.optimizers[id]);
        let shared = optimizer.and_then(|optimizer| optimizer.shared.get(index));
        shared.map_or_else(String::new, |shared| shared.name.clone())
    }

    /// Whether every parameter that the rule takes comes by here, once in each step.
    pub(super) fn in_common(&mut self, what: &str, at: Span) -> bool {
        let place = match (self.room, self.flow.no_state) {
            (Room::Rule, Some(place)) => place,
            (Room::Rule, _) if self.in_entry && !what.ends_with("over parameters") => "an entry",
            (Room::Rule, None) if self.may_have_ended => "what a `skip` may leave out",
            (Room::Rule, None) if self.in_init => "an initial value",
            (Room::Rule, None) => return true,
            (room, _) => room.name(),
        };
        let help = "move it to the top of the rule: every parameter must come by once in each step";
        self.misplaced(what, place, help, at)
    }
}
