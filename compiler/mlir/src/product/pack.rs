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

    /// Stores from place `place` on of the group `groups` after the one that begins at `step`.
    fn store(
        &self,
        t: &mut Text,
        panel: Panel,
        (step, groups, place): (Value, u32, u32),
        kept: (Value, Type),
    ) {
        let (value, ty) = kept;
        let width = t.index(i64::from(self.width));
        let offset = t.index(i64::from((groups * self.width + place) * self.family.group));
        let start = t.times(step, width);
        let at = t.plus(start, offset);
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
                return self.store(t, panel, (step, 0, 0), (first, ty));
            }
            let one = t.index(1);
            let after = t.plus(step, one);
            let second = self.load(t, panel, zero, after, ty);
            let pairs = zip(t, first, second, ty, 0..self.width);
            let both = Type::vector(self.elem(), 2 * self.width);
            self.store(t, panel, (step, 0, 0), (pairs, both));
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
                let none = emit!(t, "llvm.mlir.poison : {square}");
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
                    let kept = first_lanes(t, column, square, places);
                    self.store(t, panel, (step, n as u32, block), kept);
                }
            }
        });
        steps.to
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

/// Turns rows into columns: first inside each 128-bit part, where registers shuffle for free, then the parts.
///
/// Interleaving row `i` with row `i + half` rotates the bits of (row, place) by one, and so does splitting even from
/// odd, the other way; after as many rounds as an index has bits, row and place have changed sides.
fn transpose_square(t: &mut Text, mut rows: Vec<Value>, ty: Type) -> Vec<Value> {
    let part = if ty.elem == Elem::I64 { 2 } else { 4 };
    let parts = ty.lanes / part;
    for group in rows.chunks_mut(part as usize) {
        for _ in 0..part.ilog2() {
            let (low, high) = group.split_at(group.len() / 2);
            let pairs = low.iter().zip(high);
            let next: Vec<Value> = pairs
                .flat_map(|(&a, &b)| interleave(t, a, b, ty, part))
                .collect();
            group.copy_from_slice(&next);
        }
    }
    for place in 0..part as usize {
        let mut column: Vec<Value> = rows
            .iter()
            .copied()
            .skip(place)
            .step_by(part as usize)
            .collect();
        for _ in 0..parts.ilog2() {
            let pairs: Vec<[Value; 2]> = column
                .chunks(2)
                .map(|pair| split(t, pair[0], pair[1], ty, part))
                .collect();
            column = (0..2)
                .flat_map(|odd| pairs.iter().map(move |pair| pair[odd]))
                .collect();
        }
        for (n, value) in column.into_iter().enumerate() {
            rows[n * part as usize + place] = value;
        }
    }
    rows
}

/// In each part: the lower halves of `a` and `b` by turns; the upper halves by turns.
fn interleave(t: &mut Text, a: Value, b: Value, ty: Type, part: u32) -> [Value; 2] {
    [0, part / 2].map(|from| {
        let starts = (0..ty.lanes).step_by(part as usize);
        let lanes = list(starts.flat_map(|start| {
            (0..part / 2).flat_map(move |n| {
                let lane = start + from + n;
                [lane, lane + ty.lanes]
            })
        }));
        emit!(t, "vector.shuffle {a}, {b} [{lanes}] : {ty}, {ty}")
    })
}

/// The even parts of `a` and then of `b`; the odd ones.
fn split(t: &mut Text, a: Value, b: Value, ty: Type, part: u32) -> [Value; 2] {
    [0, part].map(|from| {
        let starts = (from..2 * ty.lanes).step_by(2 * part as usize);
        let lanes = list(starts.flat_map(|start| start..start + part));
        emit!(t, "vector.shuffle {a}, {b} [{lanes}] : {ty}, {ty}")
    })
}

/// The vector cut to its first `lanes`.
fn first_lanes(t: &mut Text, value: Value, ty: Type, lanes: u32) -> (Value, Type) {
    if lanes == ty.lanes {
        return (value, ty);
    }
    let kept = list(0..lanes);
    let cut = emit!(t, "vector.shuffle {value}, {value} [{kept}] : {ty}, {ty}");
    (cut, Type { lanes, ..ty })
}

/// The lanes in `range` of `a` and `b` by turns.
fn zip(t: &mut Text, a: Value, b: Value, ty: Type, range: std::ops::Range<u32>) -> Value {
    let lanes = list(range.flat_map(|lane| [lane, lane + ty.lanes]));
    emit!(t, "vector.shuffle {a}, {b} [{lanes}] : {ty}, {ty}")
}
