//! Rules: patterns and guards, bodies, delegation, and whether every rule can do its work.

use super::body::{Body, Context, Param, Room};
use super::compose::Maker;
use super::error::CheckError;
use super::graph;
use super::items::Items;
use super::names::{Binding, Names, did_you_mean};
use super::phase::Level;
use crate::hir::{
    self, Entry, Expr, OptimizerId, Pattern, PatternAxis, Rule, RuleBody, Target, Type,
};
use cranelift_entity::{EntityRef, PrimaryMap};
use optc_grammar::ast::{self, Name, Span};
use std::collections::HashMap;

/// Checks the rules of an optimizer whose settings are known.
pub(super) fn rules(cx: &mut Context, items: &Items, id: OptimizerId, optimizer: &ast::Optimizer) {
    let mut set = RuleSet {
        cx,
        items,
        id,
        optimizer,
        broken: Vec::new(),
    };
    set.names();
    let settings = settings(optimizer);
    for rule in &optimizer.rules {
        let checked = set.rule(rule, settings.clone());
        set.cx.program.optimizers[id].rules.push(checked);
    }
    set.entries_differ();
    set.unreachable();
    set.never_fitting();
    set.circles();
}

/// The names of the settings. One that is declared twice was reported; its first declaration counts.
fn settings(optimizer: &ast::Optimizer) -> Names {
    let mut names = Names::default();
    for (index, Name { text, span }) in optimizer.hypers.iter().map(|hyper| &hyper.name).enumerate()
    {
        let _ = names.declare(text, Binding::Hyper(index), Some(*span));
    }
    for (index, Name { text, span }) in optimizer
        .statics
        .iter()
        .map(|entry| &entry.name)
        .enumerate()
    {
        let _ = names.declare(text, Binding::Static(index), Some(*span));
    }
    for (index, Name { text, span }) in optimizer.bases.iter().map(|base| &base.name).enumerate() {
        let _ = names.declare(text, Binding::Base(index), Some(*span));
    }
    for (index, shared) in optimizer.shared.iter().enumerate() {
        let Name { text, span } = &shared.name;
        let _ = names.declare(text, Binding::Shared(index), Some(*span));
    }
    names.seal()
}

/// The rules of one optimizer, as written and as far as checked.
pub(super) struct RuleSet<'a> {
    cx: &'a mut Context,
    items: &'a Items,
    pub(super) id: OptimizerId,
    pub(super) optimizer: &'a ast::Optimizer,
    /// Rules whose pattern was reported: nothing more is said of what they take.
    broken: Vec<bool>,
}

impl RuleSet<'_> {
    pub(super) fn report(&mut self, error: CheckError) {
        self.cx.sink.report(self.items.file, error);
    }

    /// The checked rules; `None` for one whose pattern was reported.
    pub(super) fn checked(&self) -> Vec<Option<&Rule>> {
        let rules = self.cx.program.optimizers[self.id].rules.iter();
        rules
            .zip(&self.broken)
            .map(|(rule, broken)| (!broken).then_some(rule))
            .collect()
    }

    fn names(&mut self) {
        if self.optimizer.rules.is_empty() {
            let Name { text, span } = self.optimizer.name.clone();
            self.report(CheckError::NoRule {
                name: text,
                at: span,
            });
        }
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for Name { text, span } in self.optimizer.rules.iter().map(|rule| &rule.name) {
            match seen.get(text.as_str()) {
                Some(origin) => {
                    let (name, at, origin) = (text.clone(), *span, Some(*origin));
                    self.cx
                        .sink
                        .report(self.items.file, CheckError::Duplicate { name, at, origin });
                }
                None => {
                    seen.insert(text, *span);
                }
            }
        }
    }

    fn rule(&mut self, rule: &ast::Rule, settings: Names) -> Rule {
        let mut body = Body::new(self.cx, self.items, Room::Rule);
        body.optimizer = Some(self.id);
        body.names = settings;
        body.declare(&rule.param, Binding::Param);
        let pattern = body.pattern(&rule.pattern);
        self.broken.push(pattern.is_none());
        let pattern = pattern.unwrap_or(Pattern {
            axes: vec![PatternAxis::Rest],
        });
        let shape = body.shape_of_pattern(&pattern);
        body.param = Some(Param {
            name: rule.param.text.clone(),
            shape,
        });
        let guard = rule.guard.as_ref().map(|guard| body.guard(guard));
        let (checked, entries) = body.rule_body(self.optimizer, rule, &pattern);
        body.check_size(&rule.name);
        Rule {
            name: rule.name.text.clone(),
            docs: rule.docs.clone(),
            param: rule.param.text.clone(),
            pattern,
            guard,
            symbols: body.symbols,
            locals: body.locals,
            states: body.states,
            modes: body.modes,
            applies: body.applied.into_keys().collect(),
            body: checked,
            entries,
            file: self.items.file,
            span: rule.span,
        }
    }
}

impl<'a> Body<'a> {
    fn guard(&mut self, guard: &ast::Expr) -> Expr {
        let room = std::mem::replace(&mut self.room, Room::Setting("a guard"));
        let checked = self.condition(guard);
        self.require(&checked, Level::Bind, "a guard");
        self.room = room;
        checked
    }

    fn rule_body(
        &mut self,
        optimizer: &ast::Optimizer,
        rule: &'a ast::Rule,
        pattern: &Pattern,
    ) -> (RuleBody, Vec<Entry>) {
        match &rule.body {
            ast::RuleBody::Block(block) => self.rule_block(rule, block),
            ast::RuleBody::Delegate {
                target,
                args,
                view,
                span,
            } => {
                let view = match view {
                    Some(view) => self.views(view),
                    None => Some(Vec::new()),
                };
                let view = view.filter(|view| self.axes_exist(view, pattern, *span));
                let room = std::mem::replace(
                    &mut self.room,
                    Room::Setting("a setting of another optimizer"),
                );
                let target = self.target_of(optimizer, target, args);
                self.room = room;
                let body = match target.zip(view) {
                    Some((target, view)) => RuleBody::Delegate { target, view },
                    None => RuleBody::Block(hir::Block {
                        stmts: Vec::new(),
                        tail: None,
                    }),
                };
                (body, Vec::new())
            }
        }
    }

    fn rule_block(&mut self, rule: &'a ast::Rule, block: &'a ast::Block) -> (RuleBody, Vec<Entry>) {
        for (name, binding) in [("grad", Binding::Grad), ("step", Binding::Step)] {
            // A setting of that name was reported with the settings.
            if let Err(entry) = self.names.declare(name, binding, None)
                && !matches!(
                    entry.binding,
                    Binding::Hyper(_) | Binding::Static(_) | Binding::Shared(_) | Binding::Base(_)
                )
            {
                let (name, at) = (name.to_owned(), entry.span.unwrap_or_default());
                self.report(CheckError::Reserved { name, at });
            }
        }
        self.source = Some(block);
        let flow = self.flow;
        let names = self.names.clone();
        let (checked, entries) = self.within(flow, |body| {
            let checked = body.block(block);
            (checked, body.entries(block, names))
        });
        if !self.updates {
            let (name, param, at) = (
                rule.name.text.clone(),
                rule.param.text.clone(),
                rule.name.span,
            );
            self.report(CheckError::NoUpdate { name, param, at });
        }
        (RuleBody::Block(checked), entries)
    }

    fn target_of(
        &mut self,
        optimizer: &ast::Optimizer,
        target: &Name,
        args: &[(Name, ast::Expr)],
    ) -> Option<Target> {
        let rule = optimizer
            .rules
            .iter()
            .position(|rule| rule.name.text == target.text);
        if let Some(index) = rule {
            if let (Some((first, _)), Some((_, last))) = (args.first(), args.last()) {
                let (name, at) = (target.text.clone(), first.span.to(last.span));
                let origin = optimizer.rules[index].name.span;
                self.report(CheckError::ArgumentsOnRule { name, at, origin });
            }
            return Some(Target::Rule(index));
        }
        if self.items.missing.contains(&target.text) {
            return None;
        }
        let Some(id) = self.items.optimizers.get(&target.text).copied() else {
            let rules = optimizer.rules.iter().map(|rule| rule.name.text.as_str());
            let optimizers = self.items.optimizers.keys().map(String::as_str);
            let fallback = "name a rule of this optimizer, or import an optimizer with `use`";
            let help = did_you_mean(&target.text, rules.chain(optimizers), fallback);
            self.report(CheckError::UnknownTarget {
                name: target.text.clone(),
                help,
                at: target.span,
            });
            return None;
        };
        let other = &self.cx.program.optimizers[id];
        let takes = |name: &Name| other.bases.iter().any(|base| base.name == name.text);
        let (given, settings): (Vec<_>, Vec<_>) = args.iter().partition(|(name, _)| takes(name));
        let id = match (given.first(), given.last()) {
            (Some((first, _)), Some((_, last))) => {
                let at = first.span.to(last.span);
                let (cx, items) = (&mut *self.cx, self.items);
                Maker { cx, items }.with_bases(id, &given, at)?
            }
            _ => id,
        };
        let (mut hypers, mut statics) = (Vec::new(), Vec::new());
        for (name, value) in settings {
            self.setting(id, name, value, &mut hypers, &mut statics);
        }
        Some(Target::Optimizer {
            id,
            hypers,
            statics,
        })
    }

    fn setting(
        &mut self,
        id: OptimizerId,
        name: &Name,
        value: &ast::Expr,
        hypers: &mut Vec<(usize, Expr)>,
        statics: &mut Vec<(usize, Expr)>,
    ) {
        let other = &self.cx.program.optimizers[id];
        let hyper = other.hypers.iter().position(|hyper| hyper.is(&name.text));
        let entry = other.statics.iter().position(|entry| entry.is(&name.text));
        let (index, expected, range, level, into) = match (hyper, entry) {
            (Some(index), _) => (
                index,
                Type::Float,
                other.hypers[index].range,
                Level::Hyper,
                hypers,
            ),
            (None, Some(index)) => {
                let declared = &other.statics[index];
                let ty = super::settings::value_type(declared.ty.clone());
                (index, ty, declared.range, Level::Bind, statics)
            }
            (None, None) => return self.unknown_setting(id, name),
        };
        if into.iter().any(|(known, _)| *known == index) {
            let (name, at) = (name.text.clone(), name.span);
            return self.report(CheckError::Duplicate {
                name,
                at,
                origin: None,
            });
        }
        let checked = self.expr_as(value, &expected);
        self.require(&checked, level, "a setting");
        self.check_setting(id, name, &checked, range);
        into.push((index, checked));
    }

    /// A constant must lie in the range that the other optimizer declares.
    pub(super) fn check_setting(
        &mut self,
        id: OptimizerId,
        name: &Name,
        value: &Expr,
        range: Option<hir::Range>,
    ) {
        let known = super::constant::constant(value).filter(|_| value.ty != Type::Error);
        if let (Some(number), Some(range)) = (known, range)
            && !range.contains(number)
        {
            let (of, name) = (
                self.cx.program.optimizers[id].name.clone(),
                name.text.clone(),
            );
            let (value, range, at) = (
                crate::hir_text::number(number),
                range.to_string(),
                value.span,
            );
            self.report(CheckError::SettingOutOfRange {
                of,
                name,
                value,
                range,
                at,
            });
        }
    }

    pub(super) fn unknown_setting(&mut self, id: OptimizerId, name: &Name) {
        let other = &self.cx.program.optimizers[id];
        let hypers = other.hypers.iter().map(|hyper| hyper.name.as_str());
        let statics = other.statics.iter().map(|entry| entry.name.as_str());
        let bases = other.bases.iter().map(|base| base.name.as_str());
        let known: Vec<&str> = bases.chain(hypers).chain(statics).collect();
        let fallback = match known.as_slice() {
            [] => format!("`{}` has no arguments", other.name),
            known => format!("`{}` takes `{}`", other.name, known.join("`, `")),
        };
        let help = did_you_mean(&name.text, known.iter().copied(), fallback);
        let (of, name, at) = (other.name.clone(), name.text.clone(), name.span);
        self.report(CheckError::UnknownArgument { of, name, help, at });
    }
}

/// The right side of a delegation.
pub(super) fn delegate_span(rule: &ast::Rule) -> Span {
    match &rule.body {
        ast::RuleBody::Delegate { span, .. } => *span,
        ast::RuleBody::Block(block) => block.span,
    }
}

impl RuleSet<'_> {
    /// Rules that hand their parameter around.
    fn circles(&mut self) {
        let target = |rule: &Rule| match &rule.body {
            RuleBody::Delegate {
                target: Target::Rule(index),
                ..
            } => vec![*index],
            _ => Vec::new(),
        };
        let edges: Vec<Vec<usize>> = self.cx.program.optimizers[self.id]
            .rules
            .iter()
            .map(target)
            .collect();
        for circle in graph::order(&edges).circles {
            let names = circle
                .path
                .iter()
                .map(|index| self.optimizer.rules[*index].name.text.as_str());
            let path = show_path(names);
            let at = delegate_span(&self.optimizer.rules[circle.closed_by.0]);
            self.report(CheckError::DelegateCycle { path, at });
        }
    }
}

/// Reports optimizers that hand parameters to each other in a circle; whether there are any.
pub(super) fn optimizer_circles(cx: &mut Context) -> bool {
    let optimizers = &cx.program.optimizers;
    let delegates: PrimaryMap<OptimizerId, Vec<(usize, Span)>> = optimizers
        .values()
        .map(|optimizer| {
            let taken = optimizer.bases.iter();
            let taken = taken.map(|base| (base.optimizer.index(), optimizer.span));
            let delegates = optimizer.rules.iter().filter_map(delegated_optimizer);
            delegates.chain(taken).collect()
        })
        .collect();
    let edges: Vec<Vec<usize>> = delegates
        .values()
        .map(|delegates| delegates.iter().map(|(id, _)| *id).collect())
        .collect();
    let circles = graph::order(&edges).circles;
    for circle in &circles {
        let names = circle.path.iter().map(|index| {
            cx.program.optimizers[OptimizerId::new(*index)]
                .name
                .as_str()
        });
        let path = show_path(names);
        let (from, edge) = (OptimizerId::new(circle.closed_by.0), circle.closed_by.1);
        let (file, at) = (cx.program.optimizers[from].file, delegates[from][edge].1);
        cx.sink.report(file, CheckError::DelegateCycle { path, at });
    }
    !circles.is_empty()
}

fn delegated_optimizer(rule: &Rule) -> Option<(usize, Span)> {
    let id = rule.body.delegated()?;
    Some((id.index(), rule.span))
}

pub(super) fn show_path<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" → ")
}
