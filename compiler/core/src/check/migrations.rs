//! `version` and `migrate from`: what a checkpoint of an earlier version holds, in the terms of this one.

use super::body::{Body, Context, Room};
use super::error::CheckError;
use super::items::Items;
use super::names::did_you_mean;
use crate::hir::{Change, FileId, Migration, Optimizer, OptimizerId, RuleBody};
use optc_grammar::ast::{self, Name, Span};
use std::collections::{BTreeSet, HashMap};

/// Checks the version of an optimizer whose rules are checked, and its migrations to it.
pub(super) fn migrations(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
) {
    if let Some(version) = &optimizer.version {
        cx.program.optimizers[id].version = version.text.clone();
    }
    let mut check = Migrations {
        states: BTreeSet::new(),
        numbers: BTreeSet::new(),
        optimizer: optimizer.name.text.clone(),
        items,
        cx,
    };
    check.collect(id, &mut BTreeSet::new());
    check.labels(id, optimizer);
    let migrations = optimizer.migrations.iter();
    let checked: Vec<Migration> = migrations.map(|one| check.migration(one)).collect();
    cx.program.optimizers[id].migrations = checked;
}

/// What a checkpoint of this version may hold.
struct Migrations<'a> {
    cx: &'a mut Context,
    items: &'a Items,
    optimizer: String,
    states: BTreeSet<String>,
    /// Hyperparameters and shared numbers.
    numbers: BTreeSet<String>,
}

impl Migrations<'_> {
    /// The names of an optimizer and of those that it delegates to; circles are another mistake.
    fn collect(&mut self, id: OptimizerId, seen: &mut BTreeSet<OptimizerId>) {
        if !seen.insert(id) {
            return;
        }
        let optimizer = &self.cx.program.optimizers[id];
        let states = optimizer.rules.iter().flat_map(|rule| rule.states.values());
        self.states.extend(states.map(|state| state.name.clone()));
        self.numbers.extend(numbers(optimizer));
        for other in delegates(optimizer) {
            self.collect(other, seen);
        }
    }

    fn report(&mut self, error: CheckError) {
        let file: FileId = self.items.file;
        self.cx.sink.report(file, error);
    }

    /// Each version migrates once, and none from itself.
    fn labels(&mut self, id: OptimizerId, optimizer: &ast::Optimizer) {
        let mut seen = HashMap::new();
        for migration in &optimizer.migrations {
            self.once(&migration.from, &mut seen);
            if migration.from.text == self.cx.program.optimizers[id].version {
                self.report(CheckError::MigratesFromItself {
                    version: migration.from.text.clone(),
                    at: migration.from.span,
                });
            }
        }
    }

    fn once(&mut self, name: &Name, seen: &mut HashMap<String, Span>) {
        if let Some(origin) = seen.insert(name.text.clone(), name.span) {
            self.report(CheckError::Duplicate {
                name: name.text.clone(),
                at: name.span,
                origin: Some(origin),
            });
        }
    }

    fn migration(&mut self, migration: &ast::Migration) -> Migration {
        let (mut old, mut new) = (HashMap::new(), HashMap::new());
        let changes = migration.changes.iter();
        let changes = changes.map(|change| self.change(change, &mut old, &mut new));
        Migration {
            from: migration.from.text.clone(),
            changes: changes.collect(),
        }
    }

    fn change(
        &mut self,
        change: &ast::Change,
        old: &mut HashMap<String, Span>,
        new: &mut HashMap<String, Span>,
    ) -> Change {
        match change {
            ast::Change::Rename { from, to } => {
                self.gone(from, old);
                self.declared(to, new, true);
                Change::Rename {
                    from: from.text.clone(),
                    to: to.text.clone(),
                }
            }
            ast::Change::Drop(name) => {
                self.gone(name, old);
                Change::Drop(name.text.clone())
            }
            ast::Change::Add { name, value } => {
                self.declared(name, new, false);
                Change::Add {
                    name: name.text.clone(),
                    value: self.number(value),
                }
            }
        }
    }

    /// A name of the old version that this one must not have.
    fn gone(&mut self, name: &Name, seen: &mut HashMap<String, Span>) {
        self.once(name, seen);
        if self.states.contains(&name.text) || self.numbers.contains(&name.text) {
            self.report(CheckError::StillDeclared {
                name: name.text.clone(),
                at: name.span,
            });
        }
    }

    /// A name that this version must have.
    fn declared(&mut self, name: &Name, seen: &mut HashMap<String, Span>, numbers_too: bool) {
        self.once(name, seen);
        let is_number = self.numbers.contains(&name.text);
        if self.states.contains(&name.text) || numbers_too && is_number {
            return;
        }
        let help = match is_number {
            true => "a hyperparameter that an older file lacks keeps the value it is bound with; \
                     remove the line"
                .to_owned(),
            false => {
                let known = self.states.iter().chain(&self.numbers);
                did_you_mean(
                    &name.text,
                    known.map(String::as_str),
                    "write the name that a rule declares",
                )
            }
        };
        self.report(CheckError::UnknownMigrated {
            name: name.text.clone(),
            optimizer: self.optimizer.clone(),
            help,
            at: name.span,
        });
    }

    fn number(&mut self, value: &ast::Expr) -> f64 {
        let mut body = Body::new(self.cx, self.items, Room::Setting("a migration"));
        body.constant(value, "the value of added state")
            .unwrap_or(0.0)
    }
}

fn numbers(optimizer: &Optimizer) -> impl Iterator<Item = String> {
    let hypers = optimizer.hypers.iter().map(|hyper| hyper.name.clone());
    hypers.chain(optimizer.shared.iter().map(|shared| shared.name.clone()))
}

fn delegates(optimizer: &Optimizer) -> Vec<OptimizerId> {
    let bodies = optimizer.rules.iter().map(|rule| &rule.body);
    bodies.filter_map(RuleBody::delegated).collect()
}
