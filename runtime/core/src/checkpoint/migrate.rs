//! What was saved by an earlier version of an optimizer, by the names of the version that is bound.
//!
//! An optimizer says in its source what has changed: `migrate from "1" { rename m -> exp_avg }`. A change touches only
//! what it finds: state that is there under its name of today is taken as it is. The state of an optimizer that another
//! one takes, or of a part of a parameter, has a path before its name: `base.part0.exp_avg`.

use crate::error::CheckpointError;
use optc_core::hir::{Change, FIRST_VERSION, Optimizer, OptimizerId, Program};
use std::collections::BTreeMap;

/// The versions of an optimizer, of those that it delegates to and of those that it takes, by name; the first version
/// is not mentioned.
pub fn versions_of(program: &Program, id: OptimizerId) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    visit(program, id, "", &mut |_, optimizer| {
        if optimizer.version != FIRST_VERSION {
            versions.insert(optimizer.name.clone(), optimizer.version.clone());
        }
    });
    versions
}

/// Shows an optimizer, and those that it delegates to or takes, with the path before the names of their state.
fn visit<'a>(
    program: &'a Program,
    id: OptimizerId,
    path: &str,
    see: &mut impl FnMut(&str, &'a Optimizer),
) {
    let optimizer = &program.optimizers[id];
    see(path, optimizer);
    for other in optimizer
        .rules
        .iter()
        .filter_map(|rule| rule.body.delegated())
    {
        visit(program, other, path, see);
    }
    for base in &optimizer.bases {
        visit(
            program,
            base.optimizer,
            &format!("{path}{}.", base.name),
            see,
        );
    }
}

/// What has changed since other versions.
#[derive(Debug, Default)]
pub struct Changes {
    list: Vec<Noted>,
}

/// A change, and which optimizer's it is.
#[derive(Debug)]
struct Noted {
    /// What stands before the names of that optimizer's state: nothing, or `base.`.
    path: String,
    /// `AdamW 1 -> 2: rename m -> exp_avg`
    line: String,
    change: Change,
}

impl Changes {
    /// The changes between the versions that were saved, by optimizer, and those of the program.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Version`]: an optimizer declares no migration from that version.
    pub fn between(
        program: &Program,
        id: OptimizerId,
        saved: &BTreeMap<String, String>,
    ) -> Result<Changes, CheckpointError> {
        let mut outcome = Ok(Changes::default());
        visit(program, id, "", &mut |path, optimizer| {
            let saved = saved.get(&optimizer.name);
            let saved = saved.map_or(FIRST_VERSION, String::as_str);
            if let Ok(changes) = &mut outcome
                && let Err(error) = changes.extend(path, optimizer, saved)
            {
                outcome = Err(error);
            }
        });
        outcome
    }

    fn extend(
        &mut self,
        path: &str,
        optimizer: &Optimizer,
        saved: &str,
    ) -> Result<(), CheckpointError> {
        if saved == optimizer.version {
            return Ok(());
        }
        let mut migrations = optimizer.migrations.iter();
        let migration = migrations.find(|migration| migration.from == saved);
        let migration = migration.ok_or_else(|| CheckpointError::Version {
            optimizer: optimizer.name.clone(),
            found: saved.to_owned(),
            expected: optimizer.version.clone(),
        })?;
        let whose = format!("{} {saved} -> {}", optimizer.name, optimizer.version);
        self.list
            .extend(migration.changes.iter().map(|change| Noted {
                path: path.to_owned(),
                line: format!("{whose}: {change}"),
                change: change.clone(),
            }));
        Ok(())
    }

    /// Whether the versions are the same.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What state of today was called, and the change as a report names it.
    pub fn former(&self, state: &str) -> Option<(String, &str)> {
        let (name, mode) = split_mode(state);
        self.list.iter().find_map(|noted| match &noted.change {
            Change::Rename { from, to } => {
                let path = noted.path_of(name, to)?;
                Some((format!("{path}{from}{mode}"), noted.line.as_str()))
            }
            _ => None,
        })
    }

    /// The value of state that was not there, and the change.
    pub fn added(&self, state: &str) -> Option<(f64, &str)> {
        let (name, _) = split_mode(state);
        self.list.iter().find_map(|noted| match &noted.change {
            Change::Add { name: new, value } => {
                noted.path_of(name, new).map(|_| (*value, &*noted.line))
            }
            _ => None,
        })
    }

    /// The change by which state of those versions is no longer there.
    pub fn dropped(&self, state: &str) -> Option<&str> {
        let (name, _) = split_mode(state);
        self.list.iter().find_map(|noted| match &noted.change {
            Change::Drop(old) => noted.path_of(name, old).map(|_| &*noted.line),
            _ => None,
        })
    }

    /// What an option of today may have been called, and the change. An option of an optimizer that another one takes
    /// has its path where the plain name would be ambiguous.
    pub fn former_options(&self, option: &str) -> Vec<(String, &str)> {
        let renamed = self.list.iter().filter_map(|noted| match &noted.change {
            Change::Rename { from, to } if noted.is_option(option, to) => Some((noted, from)),
            _ => None,
        });
        let names = renamed.flat_map(|(noted, from)| {
            let path = format!("{}{from}", noted.path);
            [path, from.clone()].map(|name| (name, &*noted.line))
        });
        names.collect()
    }

    /// The change by which an option of those versions is no longer there.
    pub fn dropped_option(&self, option: &str) -> Option<&str> {
        self.list.iter().find_map(|noted| match &noted.change {
            Change::Drop(old) if noted.is_option(option, old) => Some(&*noted.line),
            _ => None,
        })
    }
}

impl Noted {
    /// What stands before `name` in the name of a piece of state, if that is state of this optimizer.
    fn path_of<'a>(&self, state: &'a str, name: &str) -> Option<&'a str> {
        let path = state.strip_suffix(name)?;
        let segments = path.split_inclusive('.');
        let own: String = segments.filter(|segment| !is_part(segment)).collect();
        (own == self.path && (path.is_empty() || path.ends_with('.'))).then_some(path)
    }

    fn is_option(&self, option: &str, name: &str) -> bool {
        option == name || option.strip_prefix(&*self.path) == Some(name)
    }
}

/// Whether a segment of a path is a part of a parameter: `part0.`.
fn is_part(segment: &str) -> bool {
    let number = segment
        .strip_prefix("part")
        .and_then(|rest| rest.strip_suffix('.'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// State of a mode is `NAME.INDEX`: its name, and the rest.
fn split_mode(state: &str) -> (&str, &str) {
    let name = state.trim_end_matches(|c: char| c.is_ascii_digit());
    match name.strip_suffix('.') {
        Some(name) if name.len() + 1 < state.len() => state.split_at(name.len()),
        _ => (state, ""),
    }
}

/// What was migrated: a line each, with how many parameters it concerned.
#[derive(Debug, Default)]
pub(super) struct Log {
    counts: BTreeMap<String, usize>,
}

impl Log {
    pub(super) fn note(&mut self, line: &str) {
        *self.counts.entry(line.to_owned()).or_default() += 1;
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
