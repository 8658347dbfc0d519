//! The value of each slot at this point, with what a branch changes of it.
//!
//! A rule may have thousands of slots and as many branches that touch few of them, so a branch costs what it changes:
//! while one is lowered, old values are kept aside.

use crate::ir::Value;
use std::collections::BTreeMap;
use std::ops::Index;

/// Values by slot.
#[derive(Debug, Default)]
pub(super) struct Current {
    values: Vec<Value>,
    /// Slots that were set inside branches, with the values before.
    before: Vec<(usize, Value)>,
    branches: usize,
}

/// Where a side of a branch began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    slots: usize,
    before: usize,
}

impl Mark {
    /// How many slots there were.
    pub(super) fn slots(self) -> usize {
        self.slots
    }
}

/// What one side of a branch did.
#[derive(Debug)]
pub(super) struct Changes {
    /// New values of slots that were there.
    pub(super) set: BTreeMap<usize, Value>,
    /// Values of slots that were not.
    pub(super) added: Vec<Value>,
}

impl Current {
    pub(super) fn new(values: Vec<Value>) -> Current {
        Current {
            values,
            ..Current::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn set(&mut self, slot: usize, value: Value) {
        let old = std::mem::replace(&mut self.values[slot], value);
        if self.branches > 0 {
            self.before.push((slot, old));
        }
    }

    pub(super) fn push(&mut self, value: Value) {
        self.values.push(value);
    }

    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }

    /// A side of a branch begins.
    pub(super) fn enter(&mut self) -> Mark {
        self.branches += 1;
        Mark {
            slots: self.values.len(),
            before: self.before.len(),
        }
    }

    /// It ends: everything is again as it was when it began.
    pub(super) fn leave(&mut self, mark: Mark) -> Changes {
        self.branches -= 1;
        let added = self.values.split_off(mark.slots);
        let mut set = BTreeMap::new();
        for (slot, old) in self.before.drain(mark.before..).rev() {
            if slot < mark.slots {
                let now = std::mem::replace(&mut self.values[slot], old);
                set.entry(slot).or_insert(now);
            }
        }
        Changes { set, added }
    }

    /// Does again what a side did.
    pub(super) fn redo(&mut self, changes: &Changes) {
        for (&slot, &value) in &changes.set {
            self.set(slot, value);
        }
        self.values.extend(&changes.added);
    }
}

impl Index<usize> for Current {
    type Output = Value;

    fn index(&self, slot: usize) -> &Value {
        &self.values[slot]
    }
}
