//! Fusion: element-wise operations over one index space become one kernel with many inputs and outputs.
//!
//! ```text
//! v3 = lerp v1, v0, v9                     v3, v5 = map_1a2b3c4d (v1, v0, v2) scalars (v9, v8)
//! v4 = mul v0, v0               →
//! v5 = lerp v2, v4, v8
//! ```
//!
//! Operations join a group while no path leads out of the group and back. An operation whose readers all sit in a later
//! group moves there, so nothing is stored only to be read again. Masks and host values are never stored: each kernel
//! that needs one computes it. Sums ride on the group that makes their operand.

mod group;
mod kernel;
mod space;

pub(super) use space::{Split, cut, is_inline, padded, split_of_operands};

use crate::ir::{Function, Op, OpData, OpKind, Region, Value, ValueData};
use cranelift_entity::SecondaryMap;
use group::{Group, Places, for_each_operand, for_each_read};
use kernel::KernelBuilder;

/// Runs the pass.
pub(super) fn run(mut function: Function) -> Function {
    let readers = Readers::new(&function);
    let places = Places::new(&function);
    let mut state = SecondaryMap::with_capacity(function.ops.len());
    let regions: Vec<Region> = function.regions.keys().collect();
    for region in regions {
        let groups = group::groups(&function, region, &places);
        let emitter = Emitter {
            state: &mut state,
            groups,
            readers: &readers,
            order: Vec::new(),
        };
        emitter.region(&mut function, region);
    }
    function
}

/// Who reads each value that may be stored; a branch reads only its condition, what is inside it reads for itself.
struct Readers {
    ops: SecondaryMap<Value, Vec<Op>>,
    yielded: SecondaryMap<Value, bool>,
}

impl Readers {
    fn new(function: &Function) -> Readers {
        let mut readers = Readers {
            ops: SecondaryMap::new(),
            yielded: SecondaryMap::new(),
        };
        for region in function.regions.values() {
            for &op in region
                .ops
                .iter()
                .filter(|&&op| !is_inline(&function.ops[op].kind))
            {
                for_each_operand(function, op, &mut |value| readers.ops[value].push(op));
            }
            region
                .results
                .iter()
                .for_each(|&value| readers.yielded[value] = true);
        }
        readers
    }

    /// Whether anything but these operations reads a value.
    fn any_outside(&self, value: Value, group: &Group) -> bool {
        self.yielded[value] || self.ops[value].iter().any(|&op| !group.contains(op))
    }
}

/// What is still to be done about an operation.
#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// Nothing: it is emitted, or not of this region.
    #[default]
    Done,
    Alone,
    Member(usize),
}

struct Emitter<'a> {
    state: &'a mut SecondaryMap<Op, State>,
    groups: Vec<Group>,
    readers: &'a Readers,
    order: Vec<Op>,
}

impl Emitter<'_> {
    /// Replaces the region's operations by one operation per group, in an order that respects all dependences. Masks
    /// disappear: the kernels that need them have them.
    fn region(mut self, function: &mut Function, region: Region) {
        let ops = std::mem::take(&mut function.regions[region].ops);
        for &op in &ops {
            self.state[op] = State::Alone;
        }
        for (n, group) in self.groups.iter().enumerate() {
            for &op in &group.members {
                self.state[op] = State::Member(n);
            }
        }
        for op in ops {
            self.op(function, op);
        }
        function.regions[region].ops = self.order;
    }

    fn op(&mut self, function: &mut Function, op: Op) {
        match std::mem::take(&mut self.state[op]) {
            State::Done => {}
            State::Alone if is_inline(&function.ops[op].kind) => {}
            State::Alone => {
                self.sources(function, op);
                self.order.push(op);
            }
            State::Member(group) => self.group(function, group),
        }
    }

    fn sources(&mut self, function: &mut Function, op: Op) {
        let mut sources = Vec::new();
        for_each_read(function, op, &mut |value| {
            sources.push(function.values[value].op)
        });
        sources
            .into_iter()
            .for_each(|source| self.op(function, source));
    }

    fn group(&mut self, function: &mut Function, group: usize) {
        let members = self.groups[group].members.clone();
        for &op in &members {
            self.state[op] = State::Done;
        }
        members.iter().for_each(|&op| self.sources(function, op));
        let built = KernelBuilder::new(function, &self.groups[group], self.readers).build();
        let fused = function.ops.next_key();
        for (index, &result) in built.results.iter().enumerate() {
            let ty = function.values[result].ty.clone();
            function.values[result] = ValueData {
                ty,
                op: fused,
                index: index as u32,
            };
        }
        function.ops.push(OpData {
            kind: OpKind::Fused(Box::new(built.fused)),
            results: built.results,
        });
        self.order.push(fused);
    }
}

#[cfg(test)]
mod tests;
