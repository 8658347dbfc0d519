//! Entries of a rule: what it does beside its step, with the same state and inputs of its own.
//!
//! An entry sees the settings, the parameter, its gradient and all state that the rule declares at its top, wherever
//! the entry stands; what the step computes is not there.

use super::body::{Body, Context, Flow};
use super::error::CheckError;
use super::expr::general;
use super::names::{Binding, Names};
use super::phase::{Level, Phase};
use super::rules::RuleSet;
use crate::hir::{Entry, Input, InputKind, OptimizerId, Signature, Type};
use optc_grammar::ast::{self, EntryInput, InputType, Name, Span, StmtKind};
use std::collections::HashMap;

impl Body<'_> {
    /// Checks the entries of a rule's block, whose statements are checked; `names` are those before them.
    pub(super) fn entries(&mut self, block: &ast::Block, names: Names) -> Vec<Entry> {
        let mut checked = Vec::new();
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for stmt in &block.stmts {
            let StmtKind::Entry { name, inputs, body } = &stmt.kind else {
                continue;
            };
            self.entry_name(name, seen.insert(&name.text, name.span));
            checked.push(self.entry(name, inputs, body, names.clone()));
        }
        checked
    }

    fn entry_name(&mut self, name: &Name, origin: Option<Span>) {
        let (text, at) = (name.text.clone(), name.span);
        if text == "step" {
            self.report(CheckError::Reserved { name: text, at });
        } else if origin.is_some() {
            self.report(CheckError::Duplicate {
                name: text,
                at,
                origin,
            });
        }
    }

    fn entry(
        &mut self,
        name: &Name,
        inputs: &[EntryInput],
        block: &ast::Block,
        names: Names,
    ) -> Entry {
        let step = std::mem::replace(&mut self.names, names);
        let states = step.of_rule();
        for (state, entry) in &states {
            let _ = self.names.declare(state, entry.binding, entry.span);
        }
        let ended = std::mem::replace(&mut self.may_have_ended, false);
        let updates = std::mem::replace(&mut self.updates, false);
        let changes = std::mem::replace(&mut self.changes, false);
        self.in_entry = true;
        let flow = Flow::default();
        let (inputs, body) = self.within(flow, |inner| {
            let inputs = inputs
                .iter()
                .filter_map(|input| inner.input(input))
                .collect();
            (inputs, inner.block(block))
        });
        self.in_entry = false;
        if !std::mem::replace(&mut self.changes, changes) {
            let (name, at) = (name.text.clone(), name.span);
            self.report(CheckError::EntryWithoutEffect { name, at });
        }
        (self.may_have_ended, self.updates) = (ended, updates);
        let used = std::mem::replace(&mut self.names, step);
        let is_used = |name: &str| used.get(name).is_some_and(|entry| entry.used);
        for (state, _) in states.iter().filter(|(state, _)| is_used(state)) {
            self.names.mark_used(state);
        }
        Entry {
            name: name.text.clone(),
            inputs,
            reads_grad: is_used("grad"),
            body,
            span: name.span,
        }
    }

    /// `hess: like w`, `bs: float`
    fn input(&mut self, input: &EntryInput) -> Option<Input> {
        let param = self.param.as_ref()?;
        let (kind, ty, phase) = match &input.ty {
            InputType::Like(of) if of.text == param.name => {
                let ty = general(param.shape.clone());
                (InputKind::Tensor, ty, Phase::at(Level::Device))
            }
            InputType::Written(ast::Type::Word(word)) if word.text == "float" => {
                (InputKind::Number, Type::Float, Phase::at(Level::Step))
            }
            _ => {
                let param = param.name.clone();
                let (name, at) = (input.name.text.clone(), input.name.span);
                self.report(CheckError::EntryInput { name, param, at });
                (InputKind::Number, Type::Error, Phase::at(Level::Step))
            }
        };
        let local = self.add_local(&input.name, ty, false, phase, true);
        let name = input.name.text.clone();
        Some(Input { name, local, kind })
    }
}

impl Names {
    /// The state and the modes that are visible.
    fn of_rule(&self) -> Vec<(String, super::names::Entry)> {
        let mut found: Vec<_> = self
            .visible()
            .filter(|(_, entry)| matches!(entry.binding, Binding::State(_) | Binding::Modes(_)))
            .map(|(name, entry)| (name.to_owned(), *entry))
            .collect();
        found.sort_by_key(|(_, entry)| entry.span.map(|span| span.start));
        found
    }
}

impl RuleSet<'_> {
    /// Rules whose entries share a name but not the inputs.
    pub(super) fn entries_differ(&mut self) {
        let mut errors = Vec::new();
        let mut seen: HashMap<String, (Signature, Span)> = HashMap::new();
        for entry in self
            .checked()
            .into_iter()
            .flatten()
            .flat_map(|rule| &rule.entries)
        {
            let signature = entry.signature();
            let first = seen
                .entry(entry.name.clone())
                .or_insert_with(|| (signature.clone(), entry.span));
            if first.0 != signature {
                let (name, at, origin) = (entry.name.clone(), entry.span, first.1);
                errors.push(CheckError::EntryInputsDiffer { name, at, origin });
            }
        }
        errors.into_iter().for_each(|error| self.report(error));
    }
}

/// Reports entries that two optimizers of a composition have.
pub(super) fn collisions(cx: &mut Context) {
    for id in written(cx) {
        for (name, parts) in shared_entries(cx, id) {
            let optimizer = &cx.program.optimizers[id];
            let own = (optimizer.file, optimizer.span);
            let (file, at) = cx.places.get(&id).copied().unwrap_or(own);
            let parts = super::body::list(&parts);
            cx.sink
                .report(file, CheckError::EntryCollision { name, parts, at });
        }
    }
}

/// The optimizers that a text declares or composes.
fn written(cx: &Context) -> Vec<OptimizerId> {
    let ids = cx.program.optimizers.keys();
    ids.filter(|id| cx.places.contains_key(id) || !cx.origins.contains_key(id))
        .collect()
}

/// Reports entries of what a composition applies to something computed: nobody can call them.
pub(super) fn out_of_reach(cx: &mut Context) {
    for id in written(cx) {
        let bases = cx.homeless.get(&cx.origin(id)).cloned().unwrap_or_default();
        for base in bases {
            let optimizer = &cx.program.optimizers[id];
            let Some(taken) = optimizer.bases.get(base) else {
                continue;
            };
            let names = cx.program.entries(taken.optimizer).into_iter();
            let names: Vec<String> = names.map(|entry| entry.name.clone()).collect();
            if names.is_empty() {
                continue;
            }
            let own = (optimizer.file, optimizer.span);
            let (file, at) = cx.places.get(&id).copied().unwrap_or(own);
            let base = taken.name.clone();
            let entries = super::body::list(&names);
            cx.sink
                .report(file, CheckError::EntryOutOfReach { entries, base, at });
        }
    }
}

/// The names of entries that come from two of an optimizer's own rules and the optimizers that it takes.
fn shared_entries(cx: &Context, id: OptimizerId) -> Vec<(String, Vec<String>)> {
    let optimizer = &cx.program.optimizers[id];
    if optimizer.bases.is_empty() {
        return Vec::new();
    }
    let mut owners: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |name: &str, owner: &str| {
        let known = owners.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or_else(|| {
            owners.push((name.to_owned(), Vec::new()));
            owners.len() - 1
        });
        if !owners[at].1.iter().any(|known| known == owner) {
            owners[at].1.push(owner.to_owned());
        }
    };
    for entry in optimizer.rules.iter().flat_map(|rule| &rule.entries) {
        add(&entry.name, &optimizer.name);
    }
    for base in &optimizer.bases {
        for entry in cx.program.entries(base.optimizer) {
            add(&entry.name, &base.name);
        }
    }
    owners.retain(|(_, owners)| owners.len() > 1);
    owners
}
