//! When a host value is known: at bind, when hyperparameters change, at each step, or only on the device.

use super::body::Body;
use super::error::CheckError;
use crate::hir::{self, Builtin, Expr, ExprKind, Type};
use std::collections::BTreeSet;

/// The latest thing that a value depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Statics and shapes.
    Bind,
    /// Hyperparameters: their values at bind can be read there, but they may change later.
    Hyper,
    /// The step number, and variables.
    Step,
    /// Elements of tensors.
    Device,
}

/// When a value is known; inside a function also which of its parameters decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) level: Level,
    pub(super) params: BTreeSet<usize>,
    /// It depends on one parameter of the model: its shape, its step number, its elements.
    pub(super) of_one: bool,
}

impl Phase {
    pub(super) fn at(level: Level) -> Self {
        Self {
            level,
            params: BTreeSet::new(),
            of_one: level == Level::Device,
        }
    }

    /// What one parameter of the model decides.
    pub(super) fn of_one(level: Level) -> Self {
        Self {
            of_one: true,
            ..Self::at(level)
        }
    }

    /// As early as the argument for parameter `index`.
    pub(super) fn of_param(index: usize) -> Self {
        Self {
            level: Level::Bind,
            params: BTreeSet::from([index]),
            of_one: false,
        }
    }

    pub(super) fn join(mut self, other: Self) -> Self {
        self.level = self.level.max(other.level);
        self.params.extend(other.params);
        self.of_one |= other.of_one;
        self
    }
}

impl Body<'_> {
    pub(super) fn phase(&self, expr: &Expr) -> Phase {
        if matches!(
            expr.ty,
            Type::Tensor { .. } | Type::Mask(_) | Type::Indices { .. }
        ) {
            return Phase::at(Level::Device);
        }
        match &expr.kind {
            ExprKind::Hyper(_) | ExprKind::BaseHyper(..) => Phase::at(Level::Hyper),
            ExprKind::Step | ExprKind::Builtin(Builtin::Chance, _) => Phase::of_one(Level::Step),
            ExprKind::Dim(_) | ExprKind::Mode => Phase::of_one(Level::Bind),
            ExprKind::Shared(_) | ExprKind::Across(..) => Phase::at(Level::Step),
            ExprKind::Local(local) => self.local_info[*local].phase.clone(),
            ExprKind::Builtin(Builtin::Named, _) => Phase::of_one(Level::Bind),
            ExprKind::Builtin(
                Builtin::Rank | Builtin::Dim | Builtin::Numel | Builtin::Epsilon,
                args,
            ) => Phase::of_one(Level::Bind).join(self.phase_of_all(&args[1..])),
            _ => parts(expr)
                .into_iter()
                .fold(Phase::at(Level::Bind), |phase, part| {
                    phase.join(self.phase(part))
                }),
        }
    }

    fn phase_of_all(&self, exprs: &[Expr]) -> Phase {
        exprs.iter().fold(Phase::at(Level::Bind), |phase, expr| {
            phase.join(self.phase(expr))
        })
    }

    /// Demands that a value is known by `level`; parameters of a function pass the demand on to its calls.
    pub(super) fn require(&mut self, expr: &Expr, level: Level, what: &str) {
        let phase = self.phase(expr);
        if phase.level <= level {
            return self.require_params(&phase.params);
        }
        let culprit = self.culprit(expr, level);
        let help = match phase.level {
            Level::Hyper => "use a `static`: it is fixed when the optimizer is bound",
            Level::Step => {
                "use statics and shapes; for a choice at each step write `if` or `every`"
            }
            _ => {
                "elements of tensors are known only on the device; shapes and statics are known at bind"
            }
        };
        self.report(CheckError::NotFixed {
            what: what.to_owned(),
            culprit,
            help: help.to_owned(),
            at: expr.span,
        });
    }

    fn require_params(&mut self, params: &BTreeSet<usize>) {
        if let super::body::Room::Function = self.room
            && let Some(function) = self.function
        {
            let fixed = &mut self.cx.functions[function].fixed;
            params.iter().for_each(|index| fixed[*index] = true);
        }
    }

    /// The name of the first part that comes too late.
    fn culprit(&self, expr: &Expr, level: Level) -> String {
        let late = parts(expr)
            .into_iter()
            .find(|part| self.phase(part).level > level);
        match (&expr.kind, late) {
            (ExprKind::Hyper(index), _) => format!("hyperparameter `{}`", self.hyper_name(*index)),
            (ExprKind::BaseHyper(_, name), _) => format!("hyperparameter `{name}`"),
            (ExprKind::Step, _) => "`step`".to_owned(),
            (ExprKind::Across(..), _) => "a number of all parameters".to_owned(),
            (ExprKind::Local(local), _) => format!("`{}`", self.locals[*local].name),
            (_, Some(part)) => self.culprit(part, level),
            _ => self.describe(&expr.ty),
        }
    }

    fn hyper_name(&self, index: usize) -> &str {
        let optimizer = self.optimizer.map(|id| &self.cx.program.optimizers[id]);
        optimizer
            .and_then(|optimizer| optimizer.hypers.get(index))
            .map_or("?", |hyper| hyper.name.as_str())
    }
}

/// The expressions directly inside, as far as the value depends on them.
fn parts(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Unary(_, x) | ExprKind::Transpose(x) | ExprKind::Field(x, _) => vec![x],
        ExprKind::OrElse(policy) => vec![&policy.value],
        ExprKind::Binary(_, x, y) => vec![x, y],
        ExprKind::If {
            cond,
            then,
            otherwise,
        } => {
            let tails = [then, otherwise]
                .into_iter()
                .filter_map(|block| block.tail.as_deref());
            std::iter::once(cond.as_ref()).chain(tails).collect()
        }
        ExprKind::In(_, block) => block.tail.as_deref().into_iter().collect(),
        ExprKind::Call(_, args) | ExprKind::Use(_, _, args) | ExprKind::Builtin(_, args) => {
            args.iter().collect()
        }
        _ => Vec::new(),
    }
}

/// Whether a value is a tensor or made of tensors.
pub(super) fn is_host(ty: &Type) -> bool {
    matches!(
        ty,
        hir::Type::Int | Type::Float | Type::Bool | Type::Choice(_) | Type::DType | Type::Table(_)
    )
}
