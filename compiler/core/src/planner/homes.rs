//! Which values are written straight into a slot.
//!
//! The new value of a slot is followed back to what makes it: operations, through branches to what both sides yield.
//! All of these values may live in the slot's buffer if, whenever one of them is written, everything that the buffer
//! held before has been read for the last time.

use super::base;
use super::lives::{Path, Reading, Timeline};
use crate::ir::{Function, Op, OpKind, Region, Value};
use crate::kernel::OutputKind;
use std::collections::{BTreeSet, HashMap};

/// The values that live in slots.
#[derive(Debug, Default)]
pub(super) struct Homes {
    pub(super) slots: HashMap<Value, u32>,
    /// Slots that the region leaves as they are.
    pub(super) untouched: BTreeSet<u32>,
}

/// Chooses homes for the results of a root region; result `n` belongs to slot `targets[n]`.
pub(super) fn choose(
    function: &Function,
    timeline: &Timeline,
    region: Region,
    targets: &[u32],
) -> Homes {
    let mut homes = Homes::default();
    let old = old_values(function, timeline);
    for (&slot, &value) in targets.iter().zip(&function.regions[region].results) {
        let mut chain = Chain {
            function,
            timeline,
            slot,
            old: &old[slot as usize],
            values: Vec::new(),
            taken: &homes.slots,
        };
        if chain.follow(value) && chain.is_safe() {
            let values = chain.values;
            if values.is_empty() {
                homes.untouched.insert(slot);
            }
            homes
                .slots
                .extend(values.into_iter().map(|value| (value, slot)));
        }
    }
    homes
}

/// For each slot the values that are what it held before the step.
fn old_values(function: &Function, timeline: &Timeline) -> Vec<Vec<Value>> {
    let mut old = vec![Vec::new(); function.slots.len()];
    for (value, data) in &function.values {
        if let OpKind::Slot(slot) = function.ops[data.op].kind
            && timeline.place(data.op).is_some()
        {
            old[slot as usize].push(value);
        }
    }
    old
}

/// The values that would share one slot's buffer.
struct Chain<'a> {
    function: &'a Function,
    timeline: &'a Timeline,
    slot: u32,
    /// What the slot held before the step.
    old: &'a [Value],
    values: Vec<Value>,
    taken: &'a HashMap<Value, u32>,
}

impl Chain<'_> {
    /// Collects what makes `value`; false when that cannot be written to the slot.
    fn follow(&mut self, value: Value) -> bool {
        let value = base(self.function, value);
        if self.values.contains(&value) {
            return true;
        }
        if self.taken.contains_key(&value) {
            return false;
        }
        let data = &self.function.values[value];
        match self.function.ops[data.op].kind {
            OpKind::Slot(slot) => slot == self.slot,
            OpKind::If {
                then, otherwise, ..
            } => {
                self.values.push(value);
                let index = data.index as usize;
                [then, otherwise]
                    .into_iter()
                    .all(|region| self.follow(self.function.regions[region].results[index]))
            }
            // A routine reads its shape off its operands, so the slot must have it.
            ref kind
                if kind.is_call()
                    && self.function.dims(value)
                        != self.function.slots[self.slot as usize].ty.dims =>
            {
                false
            }
            _ => {
                self.values.push(value);
                true
            }
        }
    }

    fn op(&self, value: Value) -> Op {
        self.function.values[value].op
    }

    fn is_branch(&self, value: Value) -> bool {
        matches!(self.function.def(value), OpKind::If { .. })
    }

    fn is_safe(&self) -> bool {
        let writes: Vec<Value> = self
            .values
            .iter()
            .copied()
            .filter(|&value| !self.is_branch(value))
            .collect();
        writes.iter().all(|&write| self.write_is_safe(write))
    }

    /// Whether everything the buffer may hold when `write` happens has been read by then.
    fn write_is_safe(&self, write: Value) -> bool {
        let Some(place) = self.timeline.place(self.op(write)) else {
            return false;
        };
        let in_place = self.goes_element_by_element(write);
        let held = self.old.iter().chain(&self.values);
        held.filter(|&&held| held != write).all(|&held| {
            let before = self.made_before(held, place.at, place.path);
            !before || self.read_by(held, place.at, place.path, in_place)
        })
    }

    /// Whether a write may go over what the same thunk reads element by element: the sums of a kernel may not.
    fn goes_element_by_element(&self, write: Value) -> bool {
        let index = self.function.values[write].index as usize;
        match self.function.def(write) {
            OpKind::Fused(fused) => fused.kernel.outputs[index].kind == OutputKind::Store,
            _ => true,
        }
    }

    /// Whether the buffer holds `value` when a write happens at `at`: the slot's old value from the start, the result of
    /// a branch from its end.
    fn made_before(&self, value: Value, at: u32, path: Path) -> bool {
        let is_old = matches!(self.function.def(value), OpKind::Slot(_));
        let place = self.timeline.place(self.op(value));
        place.is_some_and(|place| {
            (is_old || place.end <= at) && !self.timeline.exclusive(place.path, path)
        })
    }

    /// Yielding a value is reading it, even if it goes where it already is: the buffer must hold it until then.
    ///
    /// With `in_place`, what happens at `at` may read the value element by element while it writes over it.
    fn read_by(&self, value: Value, at: u32, path: Path, in_place: bool) -> bool {
        self.timeline.uses(value).all(|read| {
            let same_thunk = in_place && read.at == at && read.how == Reading::InPlace;
            read.at < at || same_thunk || self.timeline.exclusive(read.path, path)
        })
    }
}
