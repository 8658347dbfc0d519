//! Optimizers that an optimizer takes, where its rules use them: `base(w, grad)` and `base.lr`.
//!
//! An application stands where every parameter comes by once in each step, so the state, the step number and the shared
//! numbers of what is applied mean what they mean alone.

use super::body::{Body, Room};
use super::error::CheckError;
use super::expr::{error, general};
use crate::hir::{Expr, ExprKind, Type};
use optc_grammar::ast::{self, Arg, Name, Span};

impl Body<'_> {
    /// `base(w, grad, lr: 0.1)`
    pub(super) fn apply(&mut self, base: usize, callee: &Name, args: &[Arg], span: Span) -> Expr {
        self.names.mark_used(&callee.text);
        let what = format!("an application of `{}`", callee.text);
        let placed = self.in_common(&what, span);
        let twice = placed && self.applied_before(base, callee, span);
        let (values, settings): (Vec<&Arg>, Vec<&Arg>) =
            args.iter().partition(|arg| arg.name.is_none());
        let hypers = settings
            .iter()
            .filter_map(|arg| self.step_setting(arg))
            .collect();
        let [param, grad] = values.as_slice() else {
            values.iter().for_each(|arg| drop(self.expr(&arg.value)));
            self.report(CheckError::ArgumentCount {
                name: callee.text.clone(),
                expected: "2 arguments and settings by name".to_owned(),
                found: values.len(),
                help: format!("write `{}(w, grad)`", callee.text),
                at: span,
            });
            return error(span);
        };
        let (param, grad) = (self.like_param(param), self.like_param(grad));
        if !placed || twice || [&param, &grad].iter().any(|arg| arg.ty == Type::Error) {
            return error(span);
        }
        self.note_home(base, &param);
        let ty = param.ty.clone();
        let (param, grad) = (Box::new(param), Box::new(grad));
        let kind = ExprKind::Apply {
            base,
            param,
            grad,
            hypers,
        };
        Expr { kind, ty, span }
    }

    /// What is applied to something computed has no entries: there is nothing that they could act on.
    fn note_home(&mut self, base: usize, param: &Expr) {
        let kept = matches!(param.kind, ExprKind::Param | ExprKind::State(_));
        if let (false, Some(id)) = (kept, self.optimizer) {
            self.cx.homeless.entry(id).or_default().push(base);
        }
    }

    /// Its state would have two meanings.
    fn applied_before(&mut self, base: usize, callee: &Name, at: Span) -> bool {
        let Some(origin) = self.applied.insert(base, at) else {
            return false;
        };
        let name = callee.text.clone();
        self.report(CheckError::AppliedTwice { name, at, origin });
        true
    }

    /// `lr: 0.1`: whether the optimizer has such a hyperparameter was checked where it is given.
    fn step_setting(&mut self, arg: &Arg) -> Option<(String, Expr)> {
        let name = arg.name.as_ref()?;
        let value = self.expr_as(&arg.value, &Type::Float);
        Some((name.text.clone(), value))
    }

    /// Whether a component may be used here, with state under that name.
    pub(super) fn used_here(&mut self, component: &str, name: &str, at: Span) -> bool {
        let what = format!("component `{component}`");
        let place = match (self.room, self.flow.no_use) {
            (Room::Rule, _) if self.in_entry => "an entry",
            (Room::Rule | Room::Component, Some(place)) => place,
            (Room::Rule, None) if self.in_init => "an initial value",
            (Room::Rule, None) if self.may_have_ended => "what a `skip` may leave out",
            (Room::Rule | Room::Component, None) => return self.used_once(name, at),
            (room, _) => room.name(),
        };
        let help = "use it at the top of the rule, and bind its value with `let`: its state changes once in each step";
        self.misplaced(&what, place, help, at)
    }

    fn used_once(&mut self, name: &str, at: Span) -> bool {
        let Some(origin) = self.uses.insert(name.to_owned(), at) else {
            return true;
        };
        let name = name.to_owned();
        self.report(CheckError::UsedTwice { name, at, origin });
        false
    }

    /// A tensor with the shape of the parameter.
    fn like_param(&mut self, arg: &Arg) -> Expr {
        let value = self.expr(&arg.value);
        let shape = self.param.as_ref().map(|param| param.shape.clone());
        match (shape, &value.ty) {
            (_, Type::Error) | (None, _) => value,
            (Some(shape), Type::Tensor { .. }) => {
                let mut value = self.fitting(value, &general(shape.clone()), None);
                if value.ty != Type::Error {
                    value.ty = general(shape);
                }
                value
            }
            (Some(shape), _) => self.expect(value, &general(shape), None),
        }
    }

    /// `base.lr`
    pub(super) fn base_hyper(&mut self, base: usize, of: &str, field: &Name, span: Span) -> Expr {
        self.names.mark_used(of);
        if let Room::Setting(place) = self.room {
            self.report(CheckError::NotAvailable {
                name: format!("{of}.{}", field.text),
                place: place.to_owned(),
                help: "read it in the body of a rule".to_owned(),
                at: span,
            });
            return error(span);
        }
        Expr {
            kind: ExprKind::BaseHyper(base, field.text.clone()),
            ty: Type::Float,
            span,
        }
    }

    pub(super) fn base_as_value(&mut self, name: &str, at: Span) -> Expr {
        let name = name.to_owned();
        self.report(CheckError::OptimizerAsValue { name, at });
        error(at)
    }

    /// `Soap(precondition_frequency = 5)` where nothing takes an optimizer.
    pub(super) fn composed_as_value(&mut self, composed: &ast::Composed) -> Expr {
        self.base_as_value(&composed.target.text, composed.span)
    }
}
