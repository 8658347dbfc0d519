//! What a checkpoint of an earlier version holds, by the names of the version that is bound.
//!
//! An optimizer says in its source what has changed: `migrate from "1" { rename m -> exp_avg }`. A change touches only
//! what it finds: state that is there under its name of today is taken as it is.

use super::About;
use crate::error::CheckpointError;
use crate::groups::Terms;
use optc_core::hir::{Change, FIRST_VERSION, Optimizer, OptimizerId, Program};
use std::collections::{BTreeMap, BTreeSet};

/// The versions of the optimizers of all groups and of those that they delegate to; the first is not mentioned.
pub(super) fn versions<'a>(terms: impl Iterator<Item = &'a Terms>) -> BTreeMap<String, String> {
    let optimizers = terms.flat_map(|terms| reached(&terms.program, terms.id));
    let later = optimizers.filter(|optimizer| optimizer.version != FIRST_VERSION);
    later
        .map(|optimizer| (optimizer.name.clone(), optimizer.version.clone()))
        .collect()
}

/// An optimizer and those that it delegates to, each once.
fn reached(program: &Program, id: OptimizerId) -> Vec<&Optimizer> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![id]);
    while let Some(id) = open.pop() {
        if seen.insert(id) {
            let rules = program.optimizers[id].rules.iter();
            open.extend(rules.filter_map(|rule| rule.body.delegated()));
        }
    }
    let optimizers = seen.into_iter().map(|id| &program.optimizers[id]);
    optimizers.collect()
}

/// What has changed for the parameters of one group.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    list: Vec<Noted<'a>>,
}

/// A change, and which optimizer's it is.
#[derive(Debug)]
struct Noted<'a> {
    /// `AdamW 1 -> 2`
    whose: String,
    change: &'a Change,
}

impl<'a> Changes<'a> {
    /// The changes between the versions in a file and those that a group is bound to.
    pub(super) fn between(about: &About, terms: &'a Terms) -> Result<Self, CheckpointError> {
        let mut list = Vec::new();
        for optimizer in reached(&terms.program, terms.id) {
            let saved = about.versions.get(&optimizer.name);
            let saved = saved.map_or(FIRST_VERSION, String::as_str);
            if saved != optimizer.version {
                list.extend(changes_of(optimizer, saved)?);
            }
        }
        Ok(Self { list })
    }

    /// Whether the file is of the versions that are bound.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What something of today was called.
    pub(super) fn former(&self, name: &str) -> Option<(&'a str, String)> {
        self.list.iter().find_map(|noted| match noted.change {
            Change::Rename { from, to } if to == name => Some((from.as_str(), noted.line())),
            _ => None,
        })
    }

    /// The value of state that was not there.
    pub(super) fn added(&self, name: &str) -> Option<(f64, String)> {
        self.list.iter().find_map(|noted| match noted.change {
            Change::Add { name: new, value } if new == name => Some((*value, noted.line())),
            _ => None,
        })
    }

    /// Whether something of the file is no longer there.
    pub(super) fn dropped(&self, name: &str) -> Option<String> {
        self.list.iter().find_map(|noted| match noted.change {
            Change::Drop(old) if old == name => Some(noted.line()),
            _ => None,
        })
    }
}

impl Noted<'_> {
    fn line(&self) -> String {
        format!("{}: {}", self.whose, self.change)
    }
}

fn changes_of<'a>(
    optimizer: &'a Optimizer,
    saved: &str,
) -> Result<impl Iterator<Item = Noted<'a>>, CheckpointError> {
    let mut migrations = optimizer.migrations.iter();
    let migration = migrations.find(|migration| migration.from == saved);
    let migration = migration.ok_or_else(|| CheckpointError::Version {
        optimizer: optimizer.name.clone(),
        found: saved.to_owned(),
        expected: optimizer.version.clone(),
    })?;
    let whose = format!("{} {saved} -> {}", optimizer.name, optimizer.version);
    let changes = migration.changes.iter();
    Ok(changes.map(move |change| Noted {
        whose: whose.clone(),
        change,
    }))
}

/// What was migrated: a line each, with how many parameters it concerned.
#[derive(Debug, Default)]
pub(super) struct Log {
    counts: BTreeMap<String, usize>,
}

impl Log {
    pub(super) fn note(&mut self, line: String) {
        *self.counts.entry(line).or_default() += 1;
    }

    pub(super) fn lines(self) -> Vec<String> {
        let lines = self.counts.into_iter();
        lines
            .map(|(line, count)| match count {
                1 => line,
                many => format!("{line} ({many} times)"),
            })
            .collect()
    }
}
