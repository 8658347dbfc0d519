//! What names mean in a body, and what the user may have meant by one that is unknown.

use crate::hir::{Local, ModesId, StateId, Symbol};
use optc_grammar::ast::Span;
use std::collections::HashMap;
use std::rc::Rc;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    Param,
    Grad,
    Step,
    Symbol(Symbol),
    Hyper(usize),
    Static(usize),
    Shared(usize),
    /// An optimizer that the optimizer takes.
    Base(usize),
    Local(Local),
    State(StateId),
    Modes(ModesId),
    /// Declared further down among the settings of an optimizer.
    Later,
    /// A name of the optimizer that this place cannot use.
    Hidden,
}

/// A visible name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) binding: Binding,
    /// Where it was declared; `None` for `grad` and `step`.
    pub(super) span: Option<Span>,
    pub(super) used: bool,
}

/// The names of a body, block by block. A name has one meaning wherever it is visible: nothing is shadowed.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Names around the body, shared by all bodies of an optimizer.
    outer: Rc<HashMap<String, Entry>>,
    visible: HashMap<String, Entry>,
    blocks: Vec<Vec<String>>,
    ended: HashMap<String, Entry>,
}

impl Names {
    /// Makes a name visible to the end of the block; a name that is visible already comes back with its entry.
    pub(super) fn declare(
        &mut self,
        name: &str,
        binding: Binding,
        span: Option<Span>,
    ) -> Result<(), Entry> {
        if let Some(entry) = self.get(name) {
            return Err(entry);
        }
        self.visible.insert(
            name.to_owned(),
            Entry {
                binding,
                span,
                used: false,
            },
        );
        if let Some(block) = self.blocks.last_mut() {
            block.push(name.to_owned());
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &str) -> Option<Entry> {
        self.visible
            .get(name)
            .or_else(|| self.outer.get(name))
            .copied()
    }

    /// The names of the body, without those around it.
    pub(super) fn visible(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.visible
            .iter()
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// How many blocks are open.
    pub(super) fn depth(&self) -> usize {
        self.blocks.len()
    }

    /// Another meaning for a visible name.
    pub(super) fn rebind(&mut self, name: &str, binding: Binding) {
        if let Some(entry) = self.visible.get_mut(name) {
            entry.binding = binding;
        }
    }

    /// The names so far as the surroundings of bodies, cheap to clone.
    pub(super) fn seal(self) -> Self {
        Self {
            outer: Rc::new(self.visible),
            ..Self::default()
        }
    }

    pub(super) fn mark_used(&mut self, name: &str) {
        if let Some(entry) = self.visible.get_mut(name) {
            entry.used = true;
        }
    }

    /// Takes the mark back: an assignment is no use.
    pub(super) fn unmark_used(&mut self, name: &str) {
        if let Some(entry) = self.visible.get_mut(name) {
            entry.used = false;
        }
    }

    /// The name in a block that has ended.
    pub(super) fn ended(&self, name: &str) -> Option<Entry> {
        self.ended.get(name).copied()
    }

    pub(super) fn enter(&mut self) {
        self.blocks.push(Vec::new());
    }

    /// Ends the block; its names come back in order of declaration.
    pub(super) fn leave(&mut self) -> Vec<(String, Entry)> {
        let names = self.blocks.pop().unwrap_or_default();
        let gone = names.into_iter().filter_map(|name| {
            let entry = self.visible.remove(&name)?;
            self.ended.insert(name.clone(), entry);
            Some((name, entry))
        });
        gone.collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.visible
            .keys()
            .chain(self.outer.keys())
            .map(String::as_str)
    }
}

/// "did you mean" when a candidate is near, otherwise `fallback`.
pub(super) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    fallback: impl Into<String>,
) -> String {
    match nearest(name, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None => fallback.into(),
    }
}

/// The candidate that differs least, if a third of the letters at most are wrong; the first in the alphabet of equals.
fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    let near = candidates
        .into_iter()
        .filter(|other| other.len().abs_diff(name.len()) <= 4 * limit);
    let measured = near.map(|other| (distance(name, other), other));
    let best = measured
        .filter(|(distance, other)| *distance <= limit && *distance < other.chars().count());
    best.min().map(|(_, other)| other)
}

/// Insertions, deletions, substitutions and exchanges of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (
        a.to_lowercase().chars().collect(),
        b.to_lowercase().chars().collect(),
    );
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let differ = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + differ);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, candidates: &[&str], expected: Option<&str>) {
        assert_eq!(nearest(name, candidates.iter().copied()), expected);
    }

    #[test]
    fn slips_of_the_finger() {
        check("bata1", &["beta1", "beta2", "eps"], Some("beta1"));
        check("momentmu", &["momentum"], Some("momentum"));
        check("Lr", &["lr"], Some("lr"));
    }

    #[test]
    fn other_words() {
        check("x", &["lr", "eps"], None);
        check("a", &["b"], None);
        check("variance", &["exp_avg"], None);
    }
}
