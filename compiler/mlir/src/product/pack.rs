//! Packing: a strided matrix into panels that a tile reads front to back.
//!
//! A panel is `width` rows of `a` (or columns of `b`): for each step of `k`, `width` elements beside each other; for
//! bf16 the steps go in pairs, and each place holds both. Whole panels are copied by vectors where neighbours in the
//! panel are neighbours in memory, and transposed in registers where neighbours along `k` are. The rest, and all
//! padding, goes element by element.

use super::{Family, POINTER};
use crate::text::{Elem, Range, Text, Type, Value, act, emit, list};
use optc_core::dtype::DType;

pub(super) fn emit_a(t: &mut Text, family: &Family) {
    let params = [POINTER, POINTER, "i64", "i64", "i64", "i64"];
    t.function(&family.symbol("pack_a"), &params, |t, args| {
        let &[dst, src, row_stride, col_stride, m, k] = args else {
            unreachable!("as in `params`")
        };
        let across = Axis {
            stride: row_stride,
            len: m,
        };
        Pack {
            family,
            width: family.mr,
            dst,
            src,
            across,
            along: Axis {
                stride: col_stride,
                len: k,
            },
        }
        .panels(t);
    });
}

pub(super) fn emit_b(t: &mut Text, family: &Family) {
    let params = [POINTER, POINTER, "i64", "i64", "i64", "i64"];
    t.function(&family.symbol("pack_b"), &params, |t, args| {
        let &[dst, src, row_stride, col_stride, k, n] = args else {
            unreachable!("as in `params`")
        };
        let across = Axis {
            stride: col_stride,
            len: n,
        };
        Pack {
            family,
            width: family.nr,
            dst,
            src,
            across,
            along: Axis {
                stride: row_stride,
                len: k,
            },
        }
        .panels(t);
    });
}

/// One direction of the source.
#[derive(Clone, Copy)]
struct Axis {
    stride: Value,
    len: Value,
}

/// One packing: the source seen across the panels and along `k`.
struct Pack<'f> {
    family: &'f Family,
    width: u32,
    dst: Value,
    src: Value,
    across: Axis,
    along: Axis,
}

/// One panel: where it starts in the source and in the destination, and how many of its places are used.
#[derive(Clone, Copy)]
struct Panel {
    src: Value,
    dst: Value,
    used: Value,
}

impl Pack<'_> {
    fn panels(&self, t: &mut Text) {
        let (from, one) = (t.index(0), t.index(1));
        let padded = self.round_up(t, self.along.len);
        let dense = emit!(t, "arith.cmpi eq, {}, {one} : i64", self.across.stride);
        let transposed = emit!(t, "arith.cmpi eq, {}, {one} : i64", self.along.stride);
        t.repeat(
            Range {
                from,
                to: self.across.len,
                step: i64::from(self.width),
            },
            |t, first| {
                let panel = self.panel(t, first, padded);
                let width = t.index(i64::from(self.width));
                let whole = emit!(t, "arith.cmpi eq, {}, {width} : i64", panel.used);
                let copies = emit!(t, "arith.andi {whole}, {dense} : i1");
                let transposes = emit!(t, "arith.andi {whole}, {transposed} : i1");
                t.either(
                    copies,
                    |t| {
                        let done = self.copy(t, panel);
                        self.elements(
                            t,
                            panel,
                            Range {
                                from: done,
                                to: padded,
                                step: 1,
                            },
                        );
                    },
                    |t| {
                        let index = Type::scalar(Elem::I64);
                        let done =
                            t.choose(transposes, index, |t| self.transpose(t, panel), |_| from);
                        self.elements(
                            t,
                            panel,
                            Range {
                                from: done,
                                to: padded,
                                step: 1,
                            },
                        );
                    },
                );
            },
        );
    }

    /// `k` rounded up to whole groups.
    fn round_up(&self, t: &mut Text, k: Value) -> Value {
        let group = i64::from(self.family.group);
        let (more, mask) = (t.index(group - 1), t.index(-group));
        let sum = t.plus(k, more);
        emit!(t, "arith.andi {sum}, {mask} : i64")
    }

    fn panel(&self, t: &mut Text, first: Value, padded: Value) -> Panel {
        let (from, to) = (t.times(first, self.across.stride), t.times(first, padded));
        let left = emit!(t, "arith.subi {}, {first} : i64", self.across.len);
        let width = t.index(i64::from(self.width));
        let used = t.least(left, width);
        Panel {
            src: self.address(t, self.src, from),
            dst: self.address(t, self.dst, to),
            used,
        }
    }

    /// The bits of one element: packing only moves.
    fn elem(&self) -> Elem {
        match self.family.dtype {
            DType::F64 => Elem::I64,
            DType::BF16 => Elem::I16,
            _ => Elem::I32,
        }
    }

    fn address(&self, t: &mut Text, base: Value, at: Value) -> Value {
        t.at(POINTER, base, at, self.elem())
    }

    fn load(&self, t: &mut Text, panel: Panel, place: Value, step: Value, ty: Type) -> Value {
        let (across, along) = (
            t.times(place, self.across.stride),
            t.times(step, self.along.stride),
        );
        let at = t.plus(across, along);
        let address = self.address(t, panel.src, at);
        emit!(
            t,
            "llvm.load {address} {{alignment = {} : i64}} : {POINTER} -> {ty}",
            self.family.dtype.size()
        )
    }

    /// Stores to the group of steps that begins at `step`.
    fn store(&self, t: &mut Text, panel: Panel, step: Value, value: Value, ty: Type) {
        let width = t.index(i64::from(self.width));
        let at = t.times(step, width);
        let address = self.address(t, panel.dst, at);
        let size = self.family.dtype.size();
        act!(
            t,
            "llvm.store {value}, {address} {{alignment = {size} : i64}} : {ty}, {POINTER}"
        );
    }

    /// The steps below `k` that fill whole batches of `count`.
    fn whole(&self, t: &mut Text, count: u32) -> Range {
        let (from, mask) = (t.index(0), t.index(-i64::from(count)));
        let to = emit!(t, "arith.andi {}, {mask} : i64", self.along.len);
        Range {
            from,
            to,
            step: i64::from(count),
        }
    }

    /// Copies group by group; returns the first step left over.
    fn copy(&self, t: &mut Text, panel: Panel) -> Value {
        let ty = Type::vector(self.elem(), self.width);
        let zero = t.index(0);
        let steps = self.whole(t, self.family.group);
        t.repeat(steps, |t, step| {
            let first = self.load(t, panel, zero, step, ty);
            if self.family.group == 1 {
                return self.store(t, panel, step, first, ty);
            }
            let one = t.index(1);
            let after = t.plus(step, one);
            let second = self.load(t, panel, zero, after, ty);
            let pairs = zip(t, first, second, ty, 0..self.width);
            self.store(
                t,
                panel,
                step,
                pairs,
                Type::vector(self.elem(), 2 * self.width),
            );
        });
        steps.to
    }

    /// Transposes squares of registers; a pair of bf16 moves as one. Returns the first step left over.
    fn transpose(&self, t: &mut Text, panel: Panel) -> Value {
        let lanes = self.family.lanes;
        let unit = if self.family.dtype == DType::F64 {
            Elem::I64
        } else {
            Elem::I32
        };
        let square = Type::vector(unit, lanes);
        let steps = self.whole(t, lanes * self.family.group);
        t.repeat(steps, |t, step| {
            for block in (0..self.width).step_by(lanes as usize) {
                let places = lanes.min(self.width - block);
                let none = t.int(square, 0);
                let rows: Vec<Value> = (0..lanes)
                    .map(|place| match place < places {
                        true => {
                            let place = t.index(i64::from(block + place));
                            self.load(t, panel, place, step, square)
                        }
                        false => none,
                    })
                    .collect();
                let columns = transpose_square(t, rows, square);
                for (n, column) in columns.into_iter().enumerate() {
                    self.store_column(t, panel, step, n as u32, block, (column, square), places);
                }
            }
        });
        steps.to
    }

    /// Stores the first `places` lanes of a transposed column: group `n` after `step`, from place `block` on.
    #[expect(clippy::too_many_arguments, reason = "coordinates of one store")]
    fn store_column(
        &self,
        t: &mut Text,
        panel: Panel,
        step: Value,
        n: u32,
        block: u32,
        (column, ty): (Value, Type),
        places: u32,
    ) {
        let (value, kept) = match places == ty.lanes {
            true => (column, ty),
            false => {
                let lanes = list(0..places);
                (
                    emit!(
                        t,
                        "vector.shuffle {column}, {column} [{lanes}] : {ty}, {ty}"
                    ),
                    Type {
                        lanes: places,
                        ..ty
                    },
                )
            }
        };
        let width = t.index(i64::from(self.width));
        let start = t.times(step, width);
        let offset = t.index(i64::from((n * self.width + block) * self.family.group));
        let at = t.plus(start, offset);
        let address = self.address(t, panel.dst, at);
        let size = self.family.dtype.size();
        act!(
            t,
            "llvm.store {value}, {address} {{alignment = {size} : i64}} : {kept}, {POINTER}"
        );
    }

    /// One element at a time, with zeros beyond the source.
    fn elements(&self, t: &mut Text, panel: Panel, steps: Range) {
        let (from, to) = (t.index(0), t.index(i64::from(self.width)));
        let element = Type::scalar(self.elem());
        t.repeat(steps, |t, step| {
            let within = emit!(t, "arith.cmpi slt, {step}, {} : i64", self.along.len);
            let start = self.group_start(t, step);
            t.repeat(Range { from, to, step: 1 }, |t, place| {
                let used = emit!(t, "arith.cmpi slt, {place}, {} : i64", panel.used);
                let there = emit!(t, "arith.andi {used}, {within} : i1");
                let value = t.choose(
                    there,
                    element,
                    |t| self.load(t, panel, place, step, element),
                    |t| t.int(element, 0),
                );
                let group = t.index(i64::from(self.family.group));
                let offset = t.times(place, group);
                let at = t.plus(start, offset);
                let address = self.address(t, panel.dst, at);
                act!(t, "llvm.store {value}, {address} : {element}, {POINTER}");
            });
        });
    }

    /// Where place 0 of a step lies in a panel.
    fn group_start(&self, t: &mut Text, step: Value) -> Value {
        let group = i64::from(self.family.group);
        let (mask, low, width) = (
            t.index(-group),
            t.index(group - 1),
            t.index(i64::from(self.width)),
        );
        let first = emit!(t, "arith.andi {step}, {mask} : i64");
        let within = emit!(t, "arith.andi {step}, {low} : i64");
        let start = t.times(first, width);
        t.plus(start, within)
    }
}

/// Turns rows into columns. Interleaving row `i` with row `i + half` rotates the bits of (row, lane) by one; after as
/// many rounds as an index has bits, row and lane have changed places.
fn transpose_square(t: &mut Text, mut rows: Vec<Value>, ty: Type) -> Vec<Value> {
    let half = ty.lanes / 2;
    for _ in 0..ty.lanes.ilog2() {
        let (low, high) = rows.split_at(half as usize);
        let pairs = low.iter().zip(high);
        rows = pairs
            .flat_map(|(&a, &b)| [zip(t, a, b, ty, 0..half), zip(t, a, b, ty, half..ty.lanes)])
            .collect();
    }
    rows
}

/// The lanes in `range` of `a` and `b` by turns.
fn zip(t: &mut Text, a: Value, b: Value, ty: Type, range: std::ops::Range<u32>) -> Value {
    let lanes = list(range.flat_map(|lane| [lane, lane + ty.lanes]));
    emit!(t, "vector.shuffle {a}, {b} [{lanes}] : {ty}, {ty}")
}
