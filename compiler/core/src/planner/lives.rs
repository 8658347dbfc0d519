//! When each operation happens and when each value is read; scratch memory from that.

use super::{Planner, base, bytes};
use crate::ir::{Function, Op, OpKind, Region, Type, Value};
use crate::kernel::Access;
use crate::plan::{Buffer, Temp};
use std::collections::HashMap;

/// The branches around a place: which side of which `if`.
pub(super) type Path = Vec<(Op, bool)>;

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Element by element, or in a way that writing over it in the same thunk allows.
    InPlace,
    /// In any order.
    Anyhow,
    /// It becomes result `index` of an `if`.
    Yield(Op, usize),
    /// It becomes the new value of this slot.
    Final(u32),
}

/// One reading of a value.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) at: u32,
    pub(super) path: Path,
    pub(super) how: Reading,
}

/// Where an operation stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) at: u32,
    /// For an `if`: the last moment inside it.
    pub(super) end: u32,
    pub(super) path: Path,
}

/// Every operation of a root region in a line, and every reading of each value (of the buffer's owner).
#[derive(Debug, Default)]
pub(super) struct Timeline {
    pub(super) places: HashMap<Op, Place>,
    pub(super) uses: HashMap<Value, Vec<Use>>,
    pub(super) end: u32,
}

impl Timeline {
    pub(super) fn new(function: &Function, region: Region) -> Timeline {
        let mut timeline = Timeline::default();
        timeline.region(function, region, &Vec::new());
        let end = timeline.tick();
        let results = &function.regions[region].results;
        let tensors = results.iter().filter(|&&value| !function.is_host(value));
        let written = function.slots.len() - tensors.clone().count();
        for (n, &value) in tensors.enumerate() {
            let slot = if written == 2 || n > 0 {
                n + written
            } else {
                0
            };
            timeline.read(
                function,
                value,
                end,
                &Vec::new(),
                Reading::Final(slot as u32),
            );
        }
        timeline
    }

    fn tick(&mut self) -> u32 {
        self.end += 1;
        self.end
    }

    fn region(&mut self, function: &Function, region: Region, path: &Path) {
        for &op in &function.regions[region].ops {
            let at = self.tick();
            self.places.insert(
                op,
                Place {
                    at,
                    end: at,
                    path: path.clone(),
                },
            );
            self.op(function, op, at, path);
        }
    }

    fn op(&mut self, function: &Function, op: Op, at: u32, path: &Path) {
        match &function.ops[op].kind {
            OpKind::If {
                cond,
                then,
                otherwise,
            } => {
                self.read(function, *cond, at, path, Reading::Anyhow);
                for (side, region) in [(true, *then), (false, *otherwise)] {
                    let inner = [path.clone(), vec![(op, side)]].concat();
                    self.region(function, region, &inner);
                    let end = self.tick();
                    for (index, &value) in function.regions[region].results.iter().enumerate() {
                        self.read(function, value, end, &inner, Reading::Yield(op, index));
                    }
                }
                let end = self.tick();
                self.places.insert(
                    op,
                    Place {
                        at,
                        end,
                        path: path.clone(),
                    },
                );
            }
            kind => {
                for (value, how) in readings(kind) {
                    self.read(function, value, at, path, how);
                }
            }
        }
    }

    fn read(&mut self, function: &Function, value: Value, at: u32, path: &Path, how: Reading) {
        if matches!(function.ty(value), Type::Tensor(_)) {
            let owner = base(function, value);
            self.uses.entry(owner).or_default().push(Use {
                at,
                path: path.clone(),
                how,
            });
        }
    }

    /// Two places that never happen in the same step.
    pub(super) fn exclusive(a: &Path, b: &Path) -> bool {
        a.iter().any(|(op, side)| {
            b.iter()
                .any(|(other, other_side)| op == other && side != other_side)
        })
    }
}

/// Operands with how they are read.
fn readings(kind: &OpKind) -> Vec<(Value, Reading)> {
    match kind {
        OpKind::Reshape(_) => Vec::new(),
        OpKind::Fused(fused) => {
            let full = |n: usize| fused.kernel.inputs[n].access == Access::Full;
            let how = |n| {
                if full(n) {
                    Reading::InPlace
                } else {
                    Reading::Anyhow
                }
            };
            fused
                .inputs
                .iter()
                .enumerate()
                .map(|(n, &value)| (value, how(n)))
                .collect()
        }
        OpKind::Product(p) => {
            let added = p.added.map(|(c, _)| (c, Reading::InPlace));
            [(p.a, Reading::Anyhow), (p.b, Reading::Anyhow)]
                .into_iter()
                .chain(added)
                .collect()
        }
        OpKind::Gram { x, added, .. } => {
            let added = added.map(|(c, _)| (c, Reading::InPlace));
            [(*x, Reading::Anyhow)].into_iter().chain(added).collect()
        }
        OpKind::Eigh { x, on_failure, .. }
        | OpKind::Qr { x, on_failure }
        | OpKind::Svd { x, on_failure }
        | OpKind::Cholesky { x, on_failure } => {
            let keep = on_failure.keep.map(|keep| (keep, Reading::InPlace));
            [(*x, Reading::Anyhow)].into_iter().chain(keep).collect()
        }
        kind => kind
            .operands()
            .into_iter()
            .map(|value| (value, Reading::Anyhow))
            .collect(),
    }
}

impl Planner<'_> {
    /// Gives every tensor without a buffer a place in scratch.
    pub(super) fn allocate(&mut self, timeline: &Timeline, region: Region) {
        let mut wanted = Vec::new();
        self.collect(timeline, region, &mut wanted);
        wanted.sort_by_key(|(_, from, _)| *from);
        let fixed = self.scratch_end();
        let mut taken: Vec<(u32, u32, u64, u64)> = Vec::new();
        for (value, from, to) in wanted {
            let Some(ty) = self.function.tensor(value) else {
                continue;
            };
            let temp = Temp {
                dtype: ty.dtype,
                dims: ty.dims.clone(),
                offset: 0,
            };
            let size = bytes(&temp).next_multiple_of(64);
            let mut busy: Vec<(u64, u64)> = taken
                .iter()
                .filter(|(start, end, ..)| *start <= to && from <= *end)
                .map(|&(_, _, offset, size)| (offset, offset + size))
                .collect();
            busy.sort_unstable();
            let offset = busy.iter().fold(
                fixed,
                |at, &(low, high)| if at + size <= low { at } else { at.max(high) },
            );
            taken.push((from, to, offset, size));
            self.temps.push(Temp { offset, ..temp });
            self.buffers
                .insert(value, Buffer::Temp(self.temps.len() as u32 - 1));
        }
    }

    fn collect(&self, timeline: &Timeline, region: Region, wanted: &mut Vec<(Value, u32, u32)>) {
        for &op in &self.function.regions[region].ops {
            let data = &self.function.ops[op];
            if let OpKind::If {
                then, otherwise, ..
            } = data.kind
            {
                self.collect(timeline, then, wanted);
                self.collect(timeline, otherwise, wanted);
            }
            if matches!(data.kind, OpKind::Slot(_) | OpKind::Reshape(_)) {
                continue;
            }
            for &result in &data.results {
                let uses = timeline.uses.get(&result);
                let homeless = !self.buffers.contains_key(&result);
                if let (Some(uses), true, Some(place)) = (uses, homeless, timeline.places.get(&op))
                {
                    let last = uses.iter().map(|read| read.at).max().unwrap_or(place.end);
                    wanted.push((result, place.at, last.max(place.end)));
                } else if homeless && uses.is_none() && matches!(data.kind, OpKind::Fused(_)) {
                    let at = timeline.places.get(&op).map_or(0, |place| place.at);
                    wanted.push((result, at, at));
                }
            }
        }
    }
}
