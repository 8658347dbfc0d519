//! Hyperparameters and statics: defaults, ranges, the policy for absent gradients.

use super::body::{Body, Context, Room, Setting};
use super::constant::evaluate;
use super::error::CheckError;
use super::items::Items;
use super::names::{Binding, Names, did_you_mean};
use super::phase::Level;
use super::unused::Unused;
use crate::hir::{
    self, ExprKind, FileId, Hyper, NonfiniteGrad, OptimizerId, Range, Static, StaticType, Type,
};
use crate::hir_text::number;
use optc_grammar::ast::{self, Name, Span};
use std::collections::HashMap;

/// Checks the settings of an optimizer, in order: each may use those before it.
pub(super) fn settings(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
) {
    names(cx, items.file, optimizer);
    for error in super::taken::taken(optimizer) {
        cx.sink.report(items.file, error);
    }
    let names = names_ahead(optimizer);
    let mut check = Settings {
        cx,
        items,
        id,
        names,
        hypers: Vec::new(),
        statics: Vec::new(),
    };
    for hyper in &optimizer.hypers {
        let checked = check.hyper(hyper);
        check.cx.program.optimizers[id].hypers.push(checked);
    }
    // To a hyperparameter statics are out of reach; to a static they come later.
    for entry in &optimizer.statics {
        check.rebind(&entry.name, Binding::Hidden, Binding::Later);
    }
    for entry in &optimizer.statics {
        let checked = check.entry(entry);
        check.cx.program.optimizers[id].statics.push(checked);
    }
    check.shared(optimizer);
    let zero = optimizer
        .absent_grad
        .as_ref()
        .is_some_and(|policy| absent_grad(cx, items.file, policy));
    cx.program.optimizers[id].absent_grad_is_zero = zero;
    if optimizer.absent_grad.is_some() {
        cx.absent.insert(id, zero);
    }
    if let Some(policy) = &optimizer.nonfinite_grad {
        let nonfinite = nonfinite_grad(cx, items.file, policy);
        cx.program.optimizers[id].nonfinite_grad = nonfinite;
        cx.nonfinite.insert(id, nonfinite);
    }
}

/// Names that are taken, by another setting or by the language.
fn names(cx: &mut Context, file: FileId, optimizer: &ast::Optimizer) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for name in setting_names(optimizer) {
        let (text, at) = (name.text.clone(), name.span);
        if matches!(text.as_str(), "grad" | "step") {
            cx.sink
                .report(file, CheckError::Reserved { name: text, at });
        } else if let Some(origin) = seen.insert(&name.text, at) {
            cx.sink.report(
                file,
                CheckError::Duplicate {
                    name: text,
                    at,
                    origin: Some(origin),
                },
            );
        }
    }
}

fn setting_names(optimizer: &ast::Optimizer) -> impl Iterator<Item = &Name> {
    let hypers = optimizer.hypers.iter().map(|hyper| &hyper.name);
    let statics = optimizer.statics.iter().map(|entry| &entry.name);
    let shared = optimizer.shared.iter().map(|shared| &shared.name);
    let bases = optimizer.bases.iter().map(|base| &base.name);
    bases.chain(hypers).chain(statics).chain(shared)
}

/// Whether an absent gradient counts as zeros.
fn absent_grad(cx: &mut Context, file: FileId, policy: &Name) -> bool {
    check_word(cx, file, policy, &["zeros", "skip"]);
    policy.text == "zeros"
}

/// What is done about a gradient that is not finite.
fn nonfinite_grad(cx: &mut Context, file: FileId, policy: &Name) -> NonfiniteGrad {
    check_word(cx, file, policy, &["skip", "raise", "pass"]);
    match policy.text.as_str() {
        "skip" => NonfiniteGrad::Skip,
        "raise" => NonfiniteGrad::Raise,
        _ => NonfiniteGrad::Pass,
    }
}

fn check_word(cx: &mut Context, file: FileId, word: &Name, known: &[&str]) {
    if known.contains(&word.text.as_str()) {
        return;
    }
    let quoted: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
    let fallback = format!("write {}", quoted.join(" or "));
    let help = did_you_mean(&word.text, known.iter().copied(), fallback);
    let (name, words, at) = (word.text.clone(), quoted.join(", "), word.span);
    cx.sink.report(
        file,
        CheckError::UnknownWord {
            name,
            words,
            help,
            at,
        },
    );
}

/// All names of an optimizer, before any has a value. One that is taken was reported; its first meaning counts.
fn names_ahead(optimizer: &ast::Optimizer) -> Names {
    let mut names = Names::default();
    for hyper in &optimizer.hypers {
        let _ = names.declare(&hyper.name.text, Binding::Later, Some(hyper.name.span));
    }
    let hidden = optimizer.statics.iter().map(|entry| &entry.name);
    for Name { text, span } in hidden.chain(optimizer.shared.iter().map(|shared| &shared.name)) {
        let _ = names.declare(text, Binding::Hidden, Some(*span));
    }
    names
}

/// The settings of one optimizer, half checked.
struct Settings<'a> {
    cx: &'a mut Context,
    items: &'a Items,
    id: OptimizerId,
    names: Names,
    /// Defaults so far, where they are numbers that can be computed here.
    hypers: Vec<Option<f64>>,
    statics: Vec<Option<f64>>,
}

/// What a default and its range turn out to be.
struct Default {
    value: hir::Expr,
    number: Option<f64>,
    range: Option<Range>,
}

impl Settings<'_> {
    fn hyper(&mut self, hyper: &ast::Hyper) -> Hyper {
        let text = &hyper.name.text;
        let room = "the default of a hyperparameter";
        let default = self.default(
            room,
            (text, &hyper.default),
            &Type::Float,
            hyper.range.as_ref(),
        );
        self.rebind(
            &hyper.name,
            Binding::Later,
            Binding::Hyper(self.hypers.len()),
        );
        self.hypers.push(default.number);
        Hyper {
            name: text.clone(),
            path: text.clone(),
            docs: hyper.docs.clone(),
            default: default.value,
            range: default.range,
        }
    }

    fn entry(&mut self, entry: &ast::Static) -> Static {
        let text = &entry.name.text;
        let ty = Body::new(self.cx, self.items, Room::Setting("a static")).static_type(&entry.ty);
        let expected = ty.clone().map_or(Type::Error, value_type);
        let room = "the default of a static";
        let default = self.default(
            room,
            (text, &entry.default),
            &expected,
            entry.range.as_ref(),
        );
        self.rebind(
            &entry.name,
            Binding::Later,
            Binding::Static(self.statics.len()),
        );
        self.statics.push(default.number);
        // A wrong type was reported, so what stands for it is never used.
        let ty = ty.unwrap_or(StaticType::Float);
        Static {
            name: text.clone(),
            path: text.clone(),
            docs: entry.docs.clone(),
            ty,
            default: default.value,
            range: default.range,
        }
    }

    /// Numbers that parameters share begin as hyperparameters and statics say.
    fn shared(&mut self, optimizer: &ast::Optimizer) {
        for shared in &optimizer.shared {
            let text = &shared.name.text;
            let room = "the first value of a shared number";
            let initial = self.default(room, (text, &shared.initial), &Type::Float, None);
            let checked = hir::Shared {
                name: text.clone(),
                docs: shared.docs.clone(),
                initial: initial.value,
            };
            self.cx.program.optimizers[self.id].shared.push(checked);
        }
    }

    /// Another meaning for a name, if this declaration is the one that counts.
    fn rebind(&mut self, name: &Name, before: Binding, after: Binding) {
        let known = self.names.get(&name.text);
        if known.is_some_and(|entry| entry.span == Some(name.span) && entry.binding == before) {
            self.names.rebind(&name.text, after);
        }
    }

    fn default(
        &mut self,
        room: &'static str,
        (name, written): (&str, &ast::Expr),
        ty: &Type,
        range: Option<&ast::Range>,
    ) -> Default {
        let mut body = Body::new(self.cx, self.items, Room::Setting(room));
        body.optimizer = Some(self.id);
        body.names = std::mem::take(&mut self.names);
        let value = body.expr_as(written, ty);
        body.require(&value, Level::Hyper, "a default");
        let range = range.and_then(|range| body.range(range));
        self.names = std::mem::take(&mut body.names);
        let number = self.value(&value);
        self.check_default(name, written.span, number, range);
        Default {
            value,
            number,
            range: range.map(|(range, _)| range),
        }
    }

    fn value(&self, default: &hir::Expr) -> Option<f64> {
        evaluate(default, &|kind| match kind {
            ExprKind::Hyper(index) => *self.hypers.get(*index)?,
            ExprKind::Static(index) => *self.statics.get(*index)?,
            _ => None,
        })
    }

    fn check_default(
        &mut self,
        name: &str,
        at: Span,
        value: Option<f64>,
        range: Option<(Range, Span)>,
    ) {
        if let (Some(value), Some((range, origin))) = (value, range)
            && !range.contains(value)
        {
            let (name, value, range) = (name.to_owned(), number(value), range.to_string());
            let error = CheckError::DefaultOutOfRange {
                name,
                value,
                range,
                at,
                origin,
            };
            self.cx.sink.report(self.items.file, error);
        }
    }
}

/// The type of a static where it is used.
pub(super) fn value_type(ty: StaticType) -> Type {
    match ty {
        StaticType::Int => Type::Int,
        StaticType::Float => Type::Float,
        StaticType::Bool => Type::Bool,
        StaticType::Choice(names) => Type::Choice(names),
        StaticType::Table(width) => Type::Table(width),
        StaticType::DType => Type::DType,
    }
}

impl Body<'_> {
    /// A range and its place; one that is empty or not constant is reported.
    fn range(&mut self, range: &ast::Range) -> Option<(Range, Span)> {
        let lo = self.constant(&range.lo, "a bound");
        let hi = self.constant(&range.hi, "a bound");
        let checked = Range {
            lo: lo?,
            lo_closed: range.lo_closed,
            hi: hi?,
            hi_closed: range.hi_closed,
        };
        let point = checked.lo == checked.hi && range.lo_closed && range.hi_closed;
        if checked.lo < checked.hi || point {
            return Some((checked, range.span));
        }
        self.report(CheckError::EmptyRange {
            range: checked.to_string(),
            at: range.span,
        });
        None
    }

    fn static_type(&mut self, ty: &ast::Type) -> Option<StaticType> {
        let words = "`int`, `float`, `bool`, `dtype`, `choice(a, b)` or `table(3)`";
        match self.host_type(ty, words)? {
            Type::Int => Some(StaticType::Int),
            Type::Float => Some(StaticType::Float),
            Type::Bool => Some(StaticType::Bool),
            Type::Choice(names) => Some(StaticType::Choice(names)),
            Type::Table(width) => Some(StaticType::Table(width)),
            Type::DType => Some(StaticType::DType),
            _ => None,
        }
    }
}

/// Warns of settings that nothing reads.
pub(super) fn unused(cx: &mut Context, file: FileId, id: OptimizerId, optimizer: &ast::Optimizer) {
    for (index, Name { text, span }) in optimizer.hypers.iter().map(|hyper| &hyper.name).enumerate()
    {
        if !cx.used.contains(&(id, Setting::Hyper(index))) {
            cx.sink.report(
                file,
                CheckError::from(Unused::Hyper {
                    name: text.clone(),
                    at: *span,
                }),
            );
        }
    }
    for (index, base) in optimizer.bases.iter().enumerate() {
        let rules = &cx.program.optimizers[id].rules;
        if !rules.iter().any(|rule| rule.applies.contains(&index)) {
            let (name, at) = (base.name.text.clone(), base.name.span);
            let unused = CheckError::from(Unused::Base { name, at });
            cx.sink.report(file, unused);
        }
    }
    for (index, Name { text, span }) in optimizer
        .statics
        .iter()
        .map(|entry| &entry.name)
        .enumerate()
    {
        if !cx.used.contains(&(id, Setting::Static(index))) {
            cx.sink.report(
                file,
                CheckError::from(Unused::Static {
                    name: text.clone(),
                    at: *span,
                }),
            );
        }
    }
}
