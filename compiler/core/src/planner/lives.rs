//! When each operation happens and when each value is read; scratch memory from that.

use super::base;
use crate::ir::{Function, Op, OpKind, Region, Type, Value};
use crate::kernel::Access;
use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};

/// The branches around a place: the innermost one, which knows those around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Path(u32);
entity_impl!(Path);

/// One side of an `if`, or the root.
#[derive(Debug)]
struct Side {
    /// Which `if`, and which side of it; the root has none.
    of: Option<(Op, bool)>,
    around: Path,
    depth: u32,
}

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
    /// Another one of the same value, before this.
    earlier: PackedOption<UseKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct UseKey(u32);
entity_impl!(UseKey);

/// Where an operation stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) at: u32,
    /// For an `if`: the last moment inside it.
    pub(super) end: u32,
    pub(super) path: Path,
}

/// When one side of an `if`, or the root, yields.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) at: u32,
    pub(super) path: Path,
}

/// Every operation of a root region in a line, and every reading of each value (of the buffer's owner).
#[derive(Debug)]
pub(super) struct Timeline {
    sides: PrimaryMap<Path, Side>,
    places: SecondaryMap<Op, Option<Place>>,
    ends: SecondaryMap<Region, Option<End>>,
    uses: PrimaryMap<UseKey, Use>,
    last_use: SecondaryMap<Value, PackedOption<UseKey>>,
    end: u32,
}

impl Timeline {
    pub(super) fn new(function: &Function, region: Region) -> Timeline {
        let mut sides = PrimaryMap::new();
        let root = sides.push(Side {
            of: None,
            around: Path::from_u32(0),
            depth: 0,
        });
        let mut timeline = Timeline {
            sides,
            places: SecondaryMap::new(),
            ends: SecondaryMap::new(),
            uses: PrimaryMap::new(),
            last_use: SecondaryMap::new(),
            end: 0,
        };
        timeline.region(function, region, root);
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
            timeline.read(function, value, end, root, Reading::Final(slot as u32));
        }
        timeline
    }

    fn tick(&mut self) -> u32 {
        self.end += 1;
        self.end
    }

    /// Where an operation stands, if it is in the root region.
    pub(super) fn place(&self, op: Op) -> Option<Place> {
        self.places[op]
    }

    /// When the root region yields.
    pub(super) fn finish(&self) -> End {
        End {
            at: self.end,
            path: Path::from_u32(0),
        }
    }

    /// When a side yields, if it is in the root region.
    pub(super) fn end(&self, side: Region) -> Option<End> {
        self.ends[side]
    }

    /// All readings of a value, the last one first.
    pub(super) fn uses(&self, value: Value) -> impl Iterator<Item = &Use> {
        let last = self.last_use[value].expand();
        std::iter::successors(last, |&key| self.uses[key].earlier.expand())
            .map(|key| &self.uses[key])
    }

    fn region(&mut self, function: &Function, region: Region, path: Path) {
        for &op in &function.regions[region].ops {
            let at = self.tick();
            self.places[op] = Some(Place { at, end: at, path });
            self.op(function, op, at, path);
        }
    }

    fn op(&mut self, function: &Function, op: Op, at: u32, path: Path) {
        match &function.ops[op].kind {
            OpKind::If {
                cond,
                then,
                otherwise,
            } => {
                self.read(function, *cond, at, path, Reading::Anyhow);
                for (side, region) in [(true, *then), (false, *otherwise)] {
                    let inner = self.sides.push(Side {
                        of: Some((op, side)),
                        around: path,
                        depth: self.sides[path].depth + 1,
                    });
                    self.region(function, region, inner);
                    let end = self.tick();
                    let moment = End {
                        at: end,
                        path: inner,
                    };
                    self.ends[region] = Some(moment);
                    for (index, &value) in function.regions[region].results.iter().enumerate() {
                        self.read(function, value, end, inner, Reading::Yield(op, index));
                    }
                }
                let end = self.tick();
                self.places[op] = Some(Place { at, end, path });
            }
            kind => readings(kind, |value, how| self.read(function, value, at, path, how)),
        }
    }

    fn read(&mut self, function: &Function, value: Value, at: u32, path: Path, how: Reading) {
        if matches!(function.ty(value), Type::Tensor(_)) {
            let owner = base(function, value);
            let earlier = self.last_use[owner];
            let key = self.uses.push(Use {
                at,
                path,
                how,
                earlier,
            });
            self.last_use[owner] = key.into();
        }
    }

    /// Two places that never happen in the same step: on different sides of an `if`.
    pub(super) fn exclusive(&self, mut a: Path, mut b: Path) -> bool {
        while a != b {
            let (of_a, of_b) = (&self.sides[a], &self.sides[b]);
            if of_a.depth == of_b.depth && of_a.of.map(|(op, _)| op) == of_b.of.map(|(op, _)| op) {
                return true;
            }
            let (up_a, up_b) = (of_a.depth >= of_b.depth, of_b.depth >= of_a.depth);
            let (above_a, above_b) = (of_a.around, of_b.around);
            a = if up_a { above_a } else { a };
            b = if up_b { above_b } else { b };
        }
        false
    }
}

/// Calls `f` with the operands and how they are read.
fn readings(kind: &OpKind, mut f: impl FnMut(Value, Reading)) {
    match kind {
        OpKind::Reshape(_) => {}
        OpKind::Fused(fused) => {
            for (&value, input) in fused.inputs.iter().zip(&fused.kernel.inputs) {
                match input.access {
                    Access::Full => f(value, Reading::InPlace),
                    _ => f(value, Reading::Anyhow),
                }
            }
        }
        OpKind::Product(p) => {
            f(p.a, Reading::Anyhow);
            f(p.b, Reading::Anyhow);
            p.added.iter().for_each(|(c, _)| f(*c, Reading::InPlace));
        }
        OpKind::Gram { x, added, .. } => {
            f(*x, Reading::Anyhow);
            added.iter().for_each(|(c, _)| f(*c, Reading::InPlace));
        }
        OpKind::Eigh { x, on_failure, .. }
        | OpKind::Qr { x, on_failure }
        | OpKind::Svd { x, on_failure }
        | OpKind::Cholesky { x, on_failure } => {
            f(*x, Reading::Anyhow);
            let keep = on_failure.keep.iter();
            keep.for_each(|&keep| f(keep, Reading::InPlace));
        }
        kind => kind.each_operand(|value| f(value, Reading::Anyhow)),
    }
}
