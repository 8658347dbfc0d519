//! The micro-kernel: one tile of a product, its sums in registers from the first step of `k` to the last.
//!
//! The sums then go through a buffer on the stack to the rows of the result, so a tile at an edge and one in the
//! middle run the same code until the last few instructions, with the same result.

use super::{Family, POINTER};
use crate::number::{convert, load, store};
use crate::text::{Elem, Range, Text, Type, Value, act, emit};
use optc_artifact::Isa;
use optc_core::dtype::DType;

/// Registers across a tile.
const ACROSS: usize = 2;

/// The parameters of a tile function.
struct Tile<'f> {
    family: &'f Family,
    k: Value,
    a: Value,
    b: Value,
    out: Value,
    out_stride: Value,
    c: Value,
    c_stride: Value,
    alpha: Value,
    beta: Value,
    m: Value,
    n: Value,
}

pub(super) fn emit(t: &mut Text, family: &Family) {
    let params = [
        "i64", POINTER, POINTER, POINTER, "i64", POINTER, "i64", "f64", "f64", "i64", "i64",
    ];
    t.function(&family.symbol("tile"), &params, |t, args| {
        let &[k, a, b, out, out_stride, c, c_stride, alpha, beta, m, n] = args else {
            unreachable!("as in `params`")
        };
        let tile = Tile {
            family,
            k,
            a,
            b,
            out,
            out_stride,
            c,
            c_stride,
            alpha,
            beta,
            m,
            n,
        };
        let size = t.index(i64::from(family.mr * family.nr));
        let buffer = emit!(
            t,
            "llvm.alloca {size} x {} {{alignment = 64 : i64}} : (i64) -> {POINTER}",
            family.sum
        );
        let sums = tile.sums(t);
        tile.spill(t, buffer, &sums);
        tile.rows(t, buffer);
    });
}

impl Tile<'_> {
    fn vector(&self) -> Type {
        Type::vector(self.family.sum, self.family.lanes)
    }

    /// The sums of the tile, row by row.
    fn sums(&self, t: &mut Text) -> Vec<Value> {
        let (from, zero) = (t.index(0), t.float(self.vector(), 0.0));
        let last = t.index(i64::from(self.family.group) - 1);
        let padded = t.plus(self.k, last);
        let group = t.index(i64::from(self.family.group));
        let steps = emit!(t, "arith.divui {padded}, {group} : i64");
        let carried = vec![(zero, self.vector()); self.family.mr as usize * ACROSS];
        t.loop_over(
            Range {
                from,
                to: steps,
                step: 1,
            },
            &carried,
            |t, step, sums| self.step(t, step, sums),
        )
    }

    /// Adds one step of `k` (one pair of steps for bf16) to the sums.
    fn step(&self, t: &mut Text, step: Value, sums: &[Value]) -> Vec<Value> {
        let mut sums = sums.to_vec();
        let rows = 0..self.family.mr as usize;
        let reads = self.reads();
        // Of a pair, 32 registers hold both halves at once; with 16, all first halves are used before any second one.
        if self.family.isa == Isa::X86_64V3 {
            for read in reads {
                let columns = self.columns(t, step, read);
                rows.clone()
                    .for_each(|row| self.row(t, step, read, &columns, (row, &mut sums)));
            }
        } else {
            let columns: Vec<[Value; ACROSS]> = reads
                .iter()
                .map(|&read| self.columns(t, step, read))
                .collect();
            for row in rows {
                let both = reads.iter().zip(&columns);
                both.for_each(|(&read, columns)| {
                    self.row(t, step, read, columns, (row, &mut sums))
                });
            }
        }
        sums
    }

    /// What is read from a unit of a panel, in order.
    fn reads(&self) -> Vec<Read> {
        match self.family.dtype {
            DType::BF16 if !self.dots() => vec![low_half, high_half],
            _ => vec![whole],
        }
    }

    fn columns(&self, t: &mut Text, step: Value, read: Read) -> [Value; ACROSS] {
        std::array::from_fn(|n| {
            let offset = n as u32 * self.family.lanes;
            let unit = self.panel_vector(t, self.b, step, self.family.nr, offset);
            read(t, unit, self.vector())
        })
    }

    /// Adds to the sums of one row.
    fn row(
        &self,
        t: &mut Text,
        step: Value,
        read: Read,
        columns: &[Value; ACROSS],
        (row, sums): (usize, &mut [Value]),
    ) {
        let unit = self.panel_element(t, self.a, step, self.family.mr, row as u32);
        let element = read(t, unit, self.vector());
        for (sum, &column) in sums[row * ACROSS..].iter_mut().zip(columns) {
            *sum = self.multiply_add(t, element, column, *sum);
        }
    }

    /// Whether an instruction multiplies pairs of bf16.
    fn dots(&self) -> bool {
        self.family.dtype == DType::BF16 && self.family.isa == Isa::X86_64V4Bf16
    }

    /// What a panel holds per row or column and step: a number, or a pair of bf16 as 32 bits.
    fn unit(&self) -> Elem {
        if self.family.dtype == DType::BF16 {
            Elem::I32
        } else {
            self.family.sum
        }
    }

    fn panel_address(
        &self,
        t: &mut Text,
        panel: Value,
        step: Value,
        width: u32,
        offset: u32,
    ) -> Value {
        let (width, offset) = (t.index(i64::from(width)), t.index(i64::from(offset)));
        let start = t.times(step, width);
        let at = t.plus(start, offset);
        t.at(POINTER, panel, at, self.unit())
    }

    fn panel_vector(
        &self,
        t: &mut Text,
        panel: Value,
        step: Value,
        width: u32,
        offset: u32,
    ) -> Value {
        let address = self.panel_address(t, panel, step, width, offset);
        let ty = self.vector().of(self.unit());
        emit!(
            t,
            "llvm.load {address} {{alignment = {} : i64}} : {POINTER} -> {ty}",
            self.family.dtype.size()
        )
    }

    /// One unit, in every lane.
    fn panel_element(
        &self,
        t: &mut Text,
        panel: Value,
        step: Value,
        width: u32,
        offset: u32,
    ) -> Value {
        let address = self.panel_address(t, panel, step, width, offset);
        let (unit, size) = (self.unit(), self.family.dtype.size());
        let value = emit!(
            t,
            "llvm.load {address} {{alignment = {size} : i64}} : {POINTER} -> {unit}"
        );
        emit!(
            t,
            "vector.broadcast {value} : {unit} to {}",
            self.vector().of(unit)
        )
    }

    fn multiply_add(&self, t: &mut Text, a: Value, b: Value, sum: Value) -> Value {
        if !self.dots() {
            return fused(t, a, b, sum, self.vector());
        }
        let (bits, sums) = (self.vector().of(Elem::I32), self.vector());
        let pairs = Type::vector(Elem::BF16, 2 * self.family.lanes);
        let a = emit!(t, "vector.bitcast {a} : {bits} to {pairs}");
        let b = emit!(t, "vector.bitcast {b} : {bits} to {pairs}");
        let call = "llvm.call_intrinsic \"llvm.x86.avx512bf16.dpbf16ps.512\"";
        emit!(
            t,
            "{call}({sum}, {b}, {a}) : ({sums}, {pairs}, {pairs}) -> {sums}"
        )
    }

    fn spill(&self, t: &mut Text, buffer: Value, sums: &[Value]) {
        let ty = self.vector();
        for (n, sum) in sums.iter().enumerate() {
            let at = t.index(n as i64 * i64::from(self.family.lanes));
            let address = t.at(POINTER, buffer, at, ty.elem);
            act!(
                t,
                "llvm.store {sum}, {address} {{alignment = 64 : i64}} : {ty}, {POINTER}"
            );
        }
    }

    /// Scales and stores each row: in whole registers if the tile is as wide as can be, else one by one.
    fn rows(&self, t: &mut Text, buffer: Value) {
        let (from, width) = (t.index(0), t.index(i64::from(self.family.nr)));
        let null = emit!(t, "llvm.mlir.zero : {POINTER}");
        let adds = emit!(t, "llvm.icmp \"ne\" {}, {null} : {POINTER}", self.c);
        let wide = emit!(t, "arith.cmpi eq, {}, {width} : i64", self.n);
        t.repeat(
            Range {
                from,
                to: self.m,
                step: 1,
            },
            |t, row| {
                let (sums, out) = (t.times(row, width), t.times(row, self.out_stride));
                let c = t.times(row, self.c_stride);
                let place = Place {
                    buffer,
                    sums,
                    out,
                    c,
                    adds,
                };
                t.either(
                    wide,
                    |t| {
                        for n in 0..ACROSS as u32 {
                            let col = t.index(i64::from(n * self.family.lanes));
                            self.store(t, place, col, self.family.lanes);
                        }
                    },
                    |t| {
                        t.repeat(
                            Range {
                                from,
                                to: self.n,
                                step: 1,
                            },
                            |t, col| self.store(t, place, col, 1),
                        )
                    },
                );
            },
        );
    }

    fn store(&self, t: &mut Text, place: Place, col: Value, lanes: u32) {
        let (dtype, ty) = (self.family.dtype, Type::vector(self.family.sum, lanes));
        let (sums, out) = (t.plus(place.sums, col), t.plus(place.out, col));
        let held = if ty.elem == Elem::F64 {
            DType::F64
        } else {
            DType::F32
        };
        let sum = load(t, POINTER, place.buffer, sums, held, ty);
        let alpha = self.factor(t, self.alpha, ty);
        let product = emit!(t, "arith.mulf {alpha}, {sum} : {ty}");
        let result = t.choose(
            place.adds,
            ty,
            |t| {
                let at = t.plus(place.c, col);
                let c = load(t, POINTER, self.c, at, dtype, ty);
                let beta = self.factor(t, self.beta, ty);
                fused(t, beta, c, product, ty)
            },
            |_| product,
        );
        store(t, POINTER, self.out, out, dtype, result, ty);
    }

    fn factor(&self, t: &mut Text, factor: Value, ty: Type) -> Value {
        let value = convert(t, factor, Type::scalar(Elem::F64), ty.elem);
        match ty.lanes {
            1 => value,
            _ => emit!(t, "vector.broadcast {value} : {} to {ty}", ty.elem),
        }
    }
}

/// Where a row of the tile is, and where it goes.
#[derive(Clone, Copy)]
struct Place {
    buffer: Value,
    sums: Value,
    out: Value,
    c: Value,
    /// Whether there is a `c`.
    adds: Value,
}

type Read = fn(&mut Text, Value, Type) -> Value;

/// A number, or a pair as it is.
fn whole(_: &mut Text, unit: Value, _: Type) -> Value {
    unit
}

/// The first bf16 of each pair, as f32.
fn low_half(t: &mut Text, pair: Value, ty: Type) -> Value {
    let bits = ty.of(Elem::I32);
    let sixteen = t.int(bits, 16);
    let high = emit!(t, "arith.shli {pair}, {sixteen} : {bits}");
    emit!(t, "arith.bitcast {high} : {bits} to {ty}")
}

/// The second bf16 of each pair, as f32.
fn high_half(t: &mut Text, pair: Value, ty: Type) -> Value {
    let bits = ty.of(Elem::I32);
    let mask = t.int(bits, -0x1_0000);
    let high = emit!(t, "arith.andi {pair}, {mask} : {bits}");
    emit!(t, "arith.bitcast {high} : {bits} to {ty}")
}

fn fused(t: &mut Text, a: Value, b: Value, sum: Value, ty: Type) -> Value {
    emit!(
        t,
        "llvm.intr.fma({a}, {b}, {sum}) : ({ty}, {ty}, {ty}) -> {ty}"
    )
}
