//! Which values share a buffer: a slot's, or one in scratch.
//!
//! The new value of a slot is followed back to what makes it: operations, through branches to what both sides yield.
//! All of these values may live in the slot's buffer if, whenever one of them is written, everything that the buffer
//! held before has been read for the last time. What one side yields may also live elsewhere and be copied when that
//! side ends, so that a side that changes nothing does nothing:
//!
//! ```text
//! if due { average -> t0; copy t0 -> slow }      rather than
//! if due { average -> t0 } else { copy slow -> t0 }; copy t0 -> slow
//! ```
//!
//! Results of branches that end in no slot are followed likewise. They live in the slot whose old value one side passes
//! on, if the slot's new value allows it, or share a tensor in scratch.

use super::base;
use super::lives::{End, Path, Place, Reading, Timeline, Use};
use crate::ir::{Function, Op, OpKind, Region, Value};
use crate::kernel::OutputKind;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The values that live together.
#[derive(Debug, Default)]
pub(super) struct Homes {
    /// Those that live in slots.
    pub(super) slots: HashMap<Value, u32>,
    /// Slots that the region leaves as they are.
    pub(super) untouched: BTreeSet<u32>,
    /// Those that share scratch; the first one has the shape.
    pub(super) shared: Vec<Vec<Value>>,
}

/// Chooses homes for the results of a root region; result `n` belongs to slot `targets[n]`.
pub(super) fn choose(
    function: &Function,
    timeline: &Timeline,
    region: Region,
    targets: &[u32],
) -> Homes {
    let mut homes = Homes::default();
    let mut taken = HashSet::new();
    let old = old_values(function, timeline);
    let room = |slot: u32| Room {
        slot: Some(slot),
        dims: &function.slots[slot as usize].ty.dims,
        old: &old[slot as usize],
    };
    let mut held: HashMap<u32, Held> = HashMap::new();
    for (&slot, &value) in targets.iter().zip(&function.regions[region].results) {
        let nothing = (&taken, Held::default());
        let ends_here = chain(function, timeline, room(slot), nothing, value);
        if let Some(now) = &ends_here {
            if now.values.is_empty() {
                homes.untouched.insert(slot);
            }
            taken.extend(now.values.iter().copied());
        }
        // A value that lives elsewhere comes by a copy when all is done.
        held.insert(
            slot,
            ends_here.unwrap_or_else(|| Held::copied_at(timeline.finish())),
        );
    }
    for value in branch_results(function, timeline, region) {
        let passed_on = passed_on_slot(function, value).and_then(|slot| held.get_mut(&slot));
        let Some(before) = passed_on else { continue };
        let room = room(passed_on_slot(function, value).unwrap_or_default());
        let state = (&taken, before.clone());
        if let Some(now) = chain(function, timeline, room, state, value) {
            taken.extend(now.values.iter().copied());
            *before = now;
        }
    }
    for (slot, held) in held {
        let here = held.values.into_iter().map(|value| (value, slot));
        homes.slots.extend(here);
    }
    for value in branch_results(function, timeline, region) {
        let room = Room {
            slot: None,
            dims: function.dims(value),
            old: &[],
        };
        let now = chain(function, timeline, room, (&taken, Held::default()), value);
        if let Some(now) = now.filter(|now| now.values.len() > 1) {
            taken.extend(now.values.iter().copied());
            homes.shared.push(now.values);
        }
    }
    homes
}

/// The slot whose old value one side of the branch that makes `value` passes on.
fn passed_on_slot(function: &Function, value: Value) -> Option<u32> {
    let data = &function.values[value];
    let OpKind::If {
        then, otherwise, ..
    } = function.ops[data.op].kind
    else {
        return None;
    };
    let yields = [then, otherwise].map(|side| function.regions[side].results[data.index as usize]);
    yields
        .into_iter()
        .find_map(|value| match *function.def(base(function, value)) {
            OpKind::Slot(slot) => Some(slot),
            _ => None,
        })
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

/// The tensors that branches yield and somebody reads, outer and later ones first.
fn branch_results(function: &Function, timeline: &Timeline, region: Region) -> Vec<Value> {
    let mut found = Vec::new();
    for &op in function.regions[region].ops.iter().rev() {
        let data = &function.ops[op];
        if let OpKind::If {
            then, otherwise, ..
        } = data.kind
        {
            let read = |value: &Value| timeline.uses(*value).next().is_some();
            found.extend(data.results.iter().copied().filter(read));
            found.extend(branch_results(function, timeline, then));
            found.extend(branch_results(function, timeline, otherwise));
        }
    }
    found
}

/// What lives in a buffer, with `value` and what may live there with it; none if it cannot live there.
fn chain(
    function: &Function,
    timeline: &Timeline,
    room: Room<'_>,
    (taken, held): (&HashSet<Value>, Held),
    value: Value,
) -> Option<Held> {
    let mut chain = Chain {
        function,
        timeline,
        room,
        taken,
        refused: HashSet::new(),
        values: held.values,
        writes: held.writes,
    };
    let fits = chain.follow(value);
    fits.then_some(Held {
        values: chain.values,
        writes: chain.writes,
    })
}

/// What lives in a buffer.
#[derive(Clone, Default)]
struct Held {
    values: Vec<Value>,
    writes: Vec<Write>,
}

impl Held {
    fn copied_at(End { at, path }: End) -> Held {
        let how = How::Anyhow;
        Held {
            values: Vec::new(),
            writes: vec![Write { at, path, how }],
        }
    }
}

/// A buffer.
struct Room<'a> {
    slot: Option<u32>,
    dims: &'a [u64],
    /// What it held before the step.
    old: &'a [Value],
}

/// Something that changes the buffer.
#[derive(Clone, Copy)]
struct Write {
    at: u32,
    path: Path,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// What is read at that moment may be gone.
    Anyhow,
    /// What the same thunk reads element by element may be written over.
    InPlace,
    /// Copied when a side yields, after what else that side copies out of the buffer.
    Yield,
}

/// The values that would share one buffer.
struct Chain<'a> {
    function: &'a Function,
    timeline: &'a Timeline,
    room: Room<'a>,
    /// Values that live elsewhere.
    taken: &'a HashSet<Value>,
    /// Branches that could not be followed; once is enough.
    refused: HashSet<Value>,
    values: Vec<Value>,
    writes: Vec<Write>,
}

impl Chain<'_> {
    /// Takes in `value` and what makes it; false, and all as before, when that cannot be in the buffer.
    fn follow(&mut self, value: Value) -> bool {
        let value = base(self.function, value);
        if self.values.contains(&value) {
            return true;
        }
        if self.taken.contains(&value) || self.refused.contains(&value) {
            return false;
        }
        let before = (self.values.len(), self.writes.len());
        let op = self.op(value);
        let fits = match self.function.ops[op].kind {
            OpKind::Slot(slot) => return self.room.slot == Some(slot),
            OpKind::If {
                then, otherwise, ..
            } => {
                let fits = self.hold(value) && self.follow_sides(value, [then, otherwise]);
                if !fits {
                    self.refused.insert(value);
                }
                fits
            }
            // A routine reads its shape off its operands, so the buffer must have it.
            ref kind if kind.is_call() && self.function.dims(value) != self.room.dims => false,
            _ => self.hold(value) && self.write_result(value),
        };
        if !fits {
            self.values.truncate(before.0);
            self.writes.truncate(before.1);
        }
        fits
    }

    /// Takes in what both sides yield, or has it copied when they end.
    ///
    /// What was there before the branch comes first: the side that yields it shall have nothing to do.
    fn follow_sides(&mut self, result: Value, sides: [Region; 2]) -> bool {
        let index = self.function.values[result].index as usize;
        let mut yields = sides.map(|side| (side, self.function.regions[side].results[index]));
        yields.sort_by_key(|&(side, value)| !self.is_from_outside(value, side));
        yields.into_iter().all(|(side, value)| {
            let stays = !self.is_read_after(value, result) && self.follow(value);
            stays || self.copy_at_end(side)
        })
    }

    fn is_from_outside(&self, value: Value, side: Region) -> bool {
        let made = self.place(base(self.function, value));
        let (made, end) = (made.map(|place| place.path), self.timeline.end(side));
        made != end.map(|end| end.path)
    }

    /// Whether a value is still wanted when the branch is over.
    fn is_read_after(&self, value: Value, result: Value) -> bool {
        self.place(result).is_some_and(|branch| {
            let mut uses = self.timeline.uses(base(self.function, value));
            uses.any(|read| {
                read.at > branch.end && !self.timeline.exclusive(read.path, branch.path)
            })
        })
    }

    fn op(&self, value: Value) -> Op {
        self.function.values[value].op
    }

    fn place(&self, value: Value) -> Option<Place> {
        self.timeline.place(self.op(value))
    }

    /// Lets the buffer hold `value`, if nothing is written while it is wanted.
    fn hold(&mut self, value: Value) -> bool {
        let mut others = self.values.iter();
        // Results of one operation are there at the same time.
        let fits = others.all(|&other| self.op(other) != self.op(value))
            && self.writes.iter().all(|write| self.spares(write, value));
        self.values.push(value);
        fits
    }

    fn write_result(&mut self, value: Value) -> bool {
        let Some(place) = self.place(value) else {
            return false;
        };
        let how = if self.goes_element_by_element(value) {
            How::InPlace
        } else {
            How::Anyhow
        };
        let write = Write {
            at: place.at,
            path: place.path,
            how,
        };
        self.write(write, Some(value))
    }

    fn copy_at_end(&mut self, side: Region) -> bool {
        self.timeline.end(side).is_some_and(|end| {
            let write = Write {
                at: end.at,
                path: end.path,
                how: How::Yield,
            };
            self.write(write, None)
        })
    }

    /// Lets the buffer be written, if that spares all it holds but the value that is written.
    fn write(&mut self, write: Write, value: Option<Value>) -> bool {
        let mut held = self.room.old.iter().chain(&self.values);
        let spares = held.all(|&held| Some(held) == value || self.spares(&write, held));
        self.writes.push(write);
        spares
    }

    /// Whether `held` is not in the buffer at a write, or has been read by then.
    fn spares(&self, write: &Write, held: Value) -> bool {
        !self.made_before(held, write.at, write.path) || self.read_by(held, write)
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
        self.place(value).is_some_and(|place| {
            (is_old || place.end <= at) && !self.timeline.exclusive(place.path, path)
        })
    }

    /// Yielding a value is reading it, even if it goes where it already is: the buffer must hold it until then.
    fn read_by(&self, value: Value, write: &Write) -> bool {
        self.timeline.uses(value).all(|read| {
            let by_then = read.at < write.at || (read.at == write.at && allows(write.how, read));
            by_then || self.timeline.exclusive(read.path, write.path)
        })
    }
}

/// Whether a write may happen at the same moment as a reading.
fn allows(how: How, read: &Use) -> bool {
    match how {
        How::Anyhow => false,
        How::InPlace => read.how == Reading::InPlace,
        How::Yield => matches!(read.how, Reading::Yield(..)),
    }
}
