//! Scratch memory: a place for every tensor without a home, shared by those whose lives do not overlap.

use super::lives::Timeline;
use super::{Planner, bytes};
use crate::ir::{Op, OpKind, Region, Value};
use crate::plan::Temp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Values that want a tensor in scratch, from one moment to another; the first one has its shape.
struct Wanted {
    values: Vec<Value>,
    from: u32,
    to: u32,
}

impl Planner<'_> {
    /// Gives every tensor without a buffer a place in scratch, and those of a group one together.
    pub(super) fn allocate(&mut self, timeline: &Timeline, region: Region, groups: &[Vec<Value>]) {
        let mut wanted = Vec::new();
        self.collect(timeline, region, &mut wanted);
        let mut wanted = together(wanted, groups);
        wanted.sort_by_key(|wanted| wanted.from);
        let mut memory = Memory::new(self.scratch_end());
        for Wanted { values, from, to } in wanted {
            let Some(ty) = self.function.tensor(values[0]) else {
                continue;
            };
            let mut temp = Temp {
                dtype: ty.dtype,
                dims: ty.dims.clone(),
                offset: 0,
            };
            temp.offset = memory.take(bytes(&temp).next_multiple_of(64), from, to);
            let buffer = self.temp(temp);
            for value in values {
                self.buffers[value] = Some(buffer);
            }
        }
    }

    fn collect(&self, timeline: &Timeline, region: Region, wanted: &mut Vec<Wanted>) {
        for &op in &self.function.regions[region].ops {
            let kind = &self.function.ops[op].kind;
            if let OpKind::If {
                then, otherwise, ..
            } = *kind
            {
                self.collect(timeline, then, wanted);
                self.collect(timeline, otherwise, wanted);
            }
            if !matches!(kind, OpKind::Slot(_) | OpKind::Reshape(_)) {
                self.collect_results(timeline, op, wanted);
            }
        }
    }

    fn collect_results(&self, timeline: &Timeline, op: Op, wanted: &mut Vec<Wanted>) {
        let Some(place) = timeline.place(op) else {
            return;
        };
        let data = &self.function.ops[op];
        let homeless = |value: &&Value| self.buffers[**value].is_none();
        for &value in data.results.iter().filter(homeless) {
            let last = timeline.uses(value).map(|read| read.at).max();
            let to = match last {
                Some(last) => last.max(place.end),
                None if matches!(data.kind, OpKind::Fused(_)) => place.at,
                None => continue,
            };
            let from = place.at;
            let values = vec![value];
            wanted.push(Wanted { values, from, to });
        }
    }
}

/// One for each group, and the others as they are.
fn together(wanted: Vec<Wanted>, groups: &[Vec<Value>]) -> Vec<Wanted> {
    let members = groups.iter().enumerate();
    let group_of: HashMap<Value, usize> = members
        .flat_map(|(n, values)| values.iter().map(move |&value| (value, n)))
        .collect();
    let mut shared: Vec<Option<Wanted>> = groups.iter().map(|_| None).collect();
    let mut all = Vec::new();
    for one in wanted {
        let Some(&n) = group_of.get(&one.values[0]) else {
            all.push(one);
            continue;
        };
        let group = shared[n].get_or_insert(Wanted {
            values: groups[n].clone(),
            ..one
        });
        group.from = group.from.min(one.from);
        group.to = group.to.max(one.to);
    }
    all.extend(shared.into_iter().flatten());
    all
}

/// Scratch while its tensors are placed in the order in which they are made.
struct Memory {
    /// Free pieces by offset, with their lengths; none touch. The last one has no end.
    free: BTreeMap<u64, u64>,
    /// What is taken, by when it is read last.
    taken: BinaryHeap<Reverse<(u32, u64, u64)>>,
    first: u64,
}

impl Memory {
    fn new(first: u64) -> Memory {
        Memory {
            free: BTreeMap::from([(first, u64::MAX - first)]),
            taken: BinaryHeap::new(),
            first,
        }
    }

    /// The lowest free piece of that size.
    fn take(&mut self, size: u64, from: u32, to: u32) -> u64 {
        self.release_before(from);
        if size == 0 {
            return self.first;
        }
        let fits = |piece: &(&u64, &u64)| *piece.1 >= size;
        let Some((&at, &length)) = self.free.iter().find(fits) else {
            unreachable!("the last piece has no end")
        };
        self.free.remove(&at);
        if length > size {
            self.free.insert(at + size, length - size);
        }
        self.taken.push(Reverse((to, at, size)));
        at
    }

    /// Frees what was read for the last time before that moment.
    fn release_before(&mut self, from: u32) {
        while let Some(&Reverse((to, at, size))) = self.taken.peek() {
            if to >= from {
                return;
            }
            self.taken.pop();
            self.release(at, size);
        }
    }

    fn release(&mut self, at: u64, size: u64) {
        let behind = self.free.remove(&(at + size)).unwrap_or(0);
        let length = size + behind;
        match self.free.range_mut(..at).next_back() {
            Some((&start, before)) if start + *before == at => *before += length,
            _ => _ = self.free.insert(at, length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn the_lowest_free_piece_is_taken() {
        let mut memory = Memory::new(64);
        assert_eq!(memory.take(128, 1, 5), 64);
        assert_eq!(memory.take(64, 2, 3), 192);
        assert_eq!(memory.take(64, 3, 9), 256, "still read at 3");
        assert_eq!(memory.take(128, 4, 9), 320, "the piece at 192 is too small");
        assert_eq!(memory.take(0, 5, 9), 64);
        assert_eq!(memory.take(192, 6, 9), 64, "pieces that touch are one");
    }
}
