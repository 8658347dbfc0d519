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
use group::{Group, for_each_operand, for_each_read};
use kernel::KernelBuilder;
use std::collections::HashMap;

/// Runs the pass.
pub(super) fn run(mut function: Function) -> Function {
    let readers = Readers::new(&function);
    let regions: Vec<Region> = function.regions.keys().collect();
    for region in regions {
        let groups = group::groups(&function, region);
        emit(&mut function, region, groups, &readers);
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
        self.yielded[value] || self.ops[value].iter().any(|op| !group.members.contains(op))
    }
}

/// Replaces the region's operations by one operation per group, in an order that respects all dependences. Masks
/// disappear: the kernels that need them have them.
fn emit(function: &mut Function, region: Region, groups: Vec<Group>, readers: &Readers) {
    let mut emitter = Emitter {
        state: HashMap::new(),
        groups,
        readers,
        order: Vec::new(),
    };
    let ops = std::mem::take(&mut function.regions[region].ops);
    emitter.state = ops.iter().map(|&op| (op, State::Alone)).collect();
    for (n, group) in emitter.groups.iter().enumerate() {
        let members = group.members.iter();
        emitter
            .state
            .extend(members.map(|&op| (op, State::Member(n))));
    }
    for op in ops {
        emitter.op(function, op);
    }
    function.regions[region].ops = emitter.order;
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
    /// Of the region's operations.
    state: HashMap<Op, State>,
    groups: Vec<Group>,
    readers: &'a Readers,
    order: Vec<Op>,
}

impl Emitter<'_> {
    fn op(&mut self, function: &mut Function, op: Op) {
        match self.state.remove(&op).unwrap_or_default() {
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
        let members: Vec<Op> = self.groups[group].members.iter().copied().collect();
        for op in &members {
            self.state.remove(op);
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
