//! A map kernel as a C function: loops over runs, whole vectors of 16 first, the rest of a run one by one.
//!
//! ```text
//! flat        for each chunk of 4096 (only if something is summed): run
//! grid        for each 64 rows: for each row: run
//! run         for e in 0..len by 16: 16 lanes of the body · for the rest: one lane of the body
//! ```
//!
//! The running sums of a run are one `vector<16xf64>` each. The rest of a run adds to the same lanes through a small
//! buffer on the stack, so both halves follow the order that `optc_core::kernel` fixes. Maxima are computed like sums.
//! No pointer is marked `noalias`: an output may be an input.

use super::body::{Body, Frame, Point, folded};
use crate::number::store;
use crate::text::{Elem, Range, Text, Type, Value, act, emit, list};
use optc_core::kernel::{CHUNK, Fold, LANES, MapKernel, OutputKind, ROW_CHUNK, Space};

const POINTER: &str = "!llvm.ptr";
const DOUBLE: Type = Type {
    elem: Elem::F64,
    lanes: 1,
};
const SUMS: Type = Type {
    elem: Elem::F64,
    lanes: LANES as u32,
};

/// Writes `kernel` as a function named by its symbol.
pub(crate) fn emit(t: &mut Text, kernel: &MapKernel) {
    t.function(
        &kernel.symbol(),
        &[POINTER, POINTER, POINTER, "i64", "i64"],
        |t, args| {
            let frame = frame(t, kernel, args);
            let loops = Loops::new(t, &frame);
            match kernel.space {
                Space::Flat => loops.flat(t, args[3], args[4]),
                Space::Grid => {
                    let one = t.index(1);
                    let cols = element(t, args[2], one, Elem::I64);
                    loops.grid(t, args[3], args[4], cols);
                }
            }
        },
    );
}

fn frame<'k>(t: &mut Text, kernel: &'k MapKernel, args: &[Value]) -> Frame<'k> {
    let count = kernel.inputs.len() + kernel.outputs.len();
    let operands = (0..count).map(|n| {
        let address = emit!(
            t,
            "llvm.getelementptr {}[{n}] : ({POINTER}) -> {POINTER}, {POINTER}",
            args[0]
        );
        emit!(t, "llvm.load {address} : {POINTER} -> {POINTER}")
    });
    Frame {
        kernel,
        operands: operands.collect(),
        scalars: args[1],
        pointer: POINTER,
    }
}

/// What the loops of one kernel share.
struct Loops<'f> {
    frame: &'f Frame<'f>,
    vector: Body<'f>,
    scalar: Body<'f>,
    /// The outputs summed along a run, by index.
    sums: Vec<usize>,
    /// On the stack: 16 lanes for each of `sums`.
    lanes: Value,
}

/// Elements that follow each other.
#[derive(Clone, Copy)]
struct Run {
    /// Offset of the first one in a full operand.
    origin: Value,
    /// How many.
    len: Value,
    /// Offset of the first column's partial sum.
    partial: Value,
}

impl<'f> Loops<'f> {
    fn new(t: &mut Text, frame: &'f Frame<'f>) -> Self {
        let outputs = frame.kernel.outputs.iter().enumerate();
        let sums: Vec<usize> = outputs
            .filter(|(_, output)| output.kind.is_along_run())
            .map(|(n, _)| n)
            .collect();
        let size = t.index((LANES * sums.len().max(1)) as i64);
        let lanes = emit!(
            t,
            "llvm.alloca {size} x f64 {{alignment = 64 : i64}} : (i64) -> {POINTER}"
        );
        let vector = Body::new(t, frame, LANES as u32);
        let scalar = Body::new(t, frame, 1);
        Loops {
            frame,
            vector,
            scalar,
            sums,
            lanes,
        }
    }

    fn flat(&self, t: &mut Text, begin: Value, end: Value) {
        let zero = t.index(0);
        if self.sums.is_empty() {
            let len = emit!(t, "arith.subi {end}, {begin} : i64");
            self.run(
                t,
                &self.vector,
                &self.scalar,
                Run {
                    origin: begin,
                    len,
                    partial: zero,
                },
            );
            return;
        }
        t.repeat(
            Range {
                from: begin,
                to: end,
                step: CHUNK as i64,
            },
            |t, chunk| {
                let left = emit!(t, "arith.subi {end}, {chunk} : i64");
                let whole = t.index(CHUNK as i64);
                let len = t.least(left, whole);
                let sums = self.run(
                    t,
                    &self.vector,
                    &self.scalar,
                    Run {
                        origin: chunk,
                        len,
                        partial: zero,
                    },
                );
                let at = divide(t, chunk, CHUNK);
                for (&n, sum) in self.sums.iter().zip(sums) {
                    self.store_f64(t, n, at, sum, DOUBLE);
                }
            },
        );
    }

    fn grid(&self, t: &mut Text, begin: Value, end: Value, cols: Value) {
        t.repeat(
            Range {
                from: begin,
                to: end,
                step: ROW_CHUNK as i64,
            },
            |t, first| {
                let chunk = divide(t, first, ROW_CHUNK);
                let partial = t.times(chunk, cols);
                self.clear_columns(t, partial, cols);
                let height = t.index(ROW_CHUNK as i64);
                let beyond = t.plus(first, height);
                let to = t.least(beyond, end);
                let totals = self.rows(
                    t,
                    Range {
                        from: first,
                        to,
                        step: 1,
                    },
                    cols,
                    partial,
                );
                for ((n, _), total) in self.of_all().into_iter().zip(totals) {
                    self.store_f64(t, n, chunk, total, DOUBLE);
                }
            },
        );
    }

    /// Runs over some rows; returns their sums over all elements.
    fn rows(&self, t: &mut Text, rows: Range, cols: Value, partial: Value) -> Vec<Value> {
        let begin = |(_, fold): (usize, Fold)| (t.float(DOUBLE, fold.of_none()), DOUBLE);
        let totals: Vec<_> = self.of_all().into_iter().map(begin).collect();
        t.loop_over(rows, &totals, |t, row, totals| {
            let vector = self.vector.in_row(t, row);
            let scalar = self.scalar.in_row(t, row);
            let origin = t.times(row, cols);
            let sums = self.run(
                t,
                &vector,
                &scalar,
                Run {
                    origin,
                    len: cols,
                    partial,
                },
            );
            let mut totals = totals.iter();
            let mut next = Vec::new();
            for (&n, sum) in self.sums.iter().zip(sums) {
                match self.frame.kernel.outputs[n].kind {
                    OutputKind::All(fold) => {
                        let total = totals.next().expect("one total for each sum over all");
                        next.push(folded(t, fold, *total, sum, DOUBLE));
                    }
                    _ => self.store_f64_rounded(t, n, row, sum),
                }
            }
            next
        })
    }

    /// Runs over one run; returns its sums.
    fn run(&self, t: &mut Text, vector: &Body<'f>, scalar: &Body<'f>, run: Run) -> Vec<Value> {
        let (zero, mask) = (t.index(0), t.index(-(LANES as i64)));
        let whole = emit!(t, "arith.andi {}, {mask} : i64", run.len);
        let begin = |&n: &usize| (t.float(SUMS, self.fold_of(n).of_none()), SUMS);
        let none: Vec<_> = self.sums.iter().map(begin).collect();
        let lanes = t.loop_over(
            Range {
                from: zero,
                to: whole,
                step: LANES as i64,
            },
            &none,
            |t, e, lanes| {
                let values = self.point(t, vector, run, e);
                let add = |(&lane, &n): (&Value, &usize)| {
                    let value = vector.to_f64(t, values[n]);
                    folded(t, self.fold_of(n), lane, value, SUMS)
                };
                lanes.iter().zip(&self.sums).map(add).collect()
            },
        );
        self.spill(t, &lanes);
        t.repeat(
            Range {
                from: whole,
                to: run.len,
                step: 1,
            },
            |t, e| {
                let values = self.point(t, scalar, run, e);
                let lane = emit!(t, "arith.subi {e}, {whole} : i64");
                for (slot, &n) in self.sums.iter().enumerate() {
                    let value = scalar.to_f64(t, values[n]);
                    let offset = t.index((LANES * slot) as i64);
                    let at = t.plus(offset, lane);
                    self.fold_at(t, self.fold_of(n), (self.lanes, at), value, DOUBLE);
                }
            },
        );
        (0..self.sums.len())
            .map(|slot| self.fold(t, slot))
            .collect()
    }

    /// One point, or 16: every value, then every store.
    fn point(&self, t: &mut Text, body: &Body<'f>, run: Run, e: Value) -> Vec<Value> {
        let full = t.plus(run.origin, e);
        let values = body.at(t, Point { full, col: e });
        for (n, output) in self.frame.kernel.outputs.iter().enumerate() {
            match output.kind {
                OutputKind::Store => body.store(t, n, full, values[n]),
                OutputKind::Rows(fold) => {
                    let value = body.to_f64(t, values[n]);
                    let at = (self.output(n), t.plus(run.partial, e));
                    self.fold_at(t, fold, at, value, body.float().of(Elem::F64));
                }
                OutputKind::All(_) | OutputKind::Cols(_) => {}
            }
        }
        values
    }

    /// Begins the partial sums of every column.
    fn clear_columns(&self, t: &mut Text, partial: Value, cols: Value) {
        let from = t.index(0);
        for (n, fold) in self.of_rows() {
            let none = t.float(DOUBLE, fold.of_none());
            t.repeat(
                Range {
                    from,
                    to: cols,
                    step: 1,
                },
                |t, col| {
                    let at = t.plus(partial, col);
                    self.store_f64(t, n, at, none, DOUBLE);
                },
            );
        }
    }

    fn spill(&self, t: &mut Text, lanes: &[Value]) {
        for (slot, lane) in lanes.iter().enumerate() {
            let at = t.index((LANES * slot) as i64);
            let address = t.at(POINTER, self.lanes, at, Elem::F64);
            act!(
                t,
                "llvm.store {lane}, {address} {{alignment = 64 : i64}} : {SUMS}, {POINTER}"
            );
        }
    }

    /// The sum of 16 lanes: `j` and `j + 8`, then 4, 2, 1 apart.
    fn fold(&self, t: &mut Text, slot: usize) -> Value {
        let fold = self.fold_of(self.sums[slot]);
        let at = t.index((LANES * slot) as i64);
        let address = t.at(POINTER, self.lanes, at, Elem::F64);
        let mut sum = emit!(
            t,
            "llvm.load {address} {{alignment = 64 : i64}} : {POINTER} -> {SUMS}"
        );
        let mut lanes = LANES;
        while lanes > 2 {
            let [whole, half] = [lanes, lanes / 2].map(|lanes| Type {
                lanes: lanes as u32,
                ..SUMS
            });
            let (low, high) = (list(0..lanes / 2), list(lanes / 2..lanes));
            let a = emit!(t, "vector.shuffle {sum}, {sum} [{low}] : {whole}, {whole}");
            let b = emit!(t, "vector.shuffle {sum}, {sum} [{high}] : {whole}, {whole}");
            sum = folded(t, fold, a, b, half);
            lanes /= 2;
        }
        let [even, odd] =
            [0, 1].map(|lane| emit!(t, "vector.extract {sum}[{lane}] : f64 from vector<2xf64>"));
        folded(t, fold, even, odd, DOUBLE)
    }

    fn fold_at(
        &self,
        t: &mut Text,
        fold: Fold,
        (base, at): (Value, Value),
        value: Value,
        ty: Type,
    ) {
        let address = t.at(POINTER, base, at, Elem::F64);
        let old = emit!(
            t,
            "llvm.load {address} {{alignment = 8 : i64}} : {POINTER} -> {ty}"
        );
        let new = folded(t, fold, old, value, ty);
        act!(
            t,
            "llvm.store {new}, {address} {{alignment = 8 : i64}} : {ty}, {POINTER}"
        );
    }

    fn store_f64(&self, t: &mut Text, n: usize, at: Value, value: Value, ty: Type) {
        let address = t.at(POINTER, self.output(n), at, Elem::F64);
        act!(
            t,
            "llvm.store {value}, {address} {{alignment = 8 : i64}} : {ty}, {POINTER}"
        );
    }

    fn store_f64_rounded(&self, t: &mut Text, n: usize, at: Value, value: Value) {
        store(
            t,
            POINTER,
            self.output(n),
            at,
            self.frame.kernel.outputs[n].dtype,
            value,
            DOUBLE,
        );
    }

    fn output(&self, n: usize) -> Value {
        self.frame.operands[self.frame.kernel.inputs.len() + n]
    }

    /// How an output that is reduced is.
    fn fold_of(&self, n: usize) -> Fold {
        let fold = self.frame.kernel.outputs[n].kind.fold();
        fold.expect("this output is reduced")
    }

    fn of_all(&self) -> Vec<(usize, Fold)> {
        self.outputs(|kind| match kind {
            OutputKind::All(fold) => Some(fold),
            _ => None,
        })
    }

    fn of_rows(&self) -> Vec<(usize, Fold)> {
        self.outputs(|kind| match kind {
            OutputKind::Rows(fold) => Some(fold),
            _ => None,
        })
    }

    fn outputs(&self, fold: impl Fn(OutputKind) -> Option<Fold>) -> Vec<(usize, Fold)> {
        let outputs = self.frame.kernel.outputs.iter().enumerate();
        outputs
            .filter_map(|(n, output)| Some((n, fold(output.kind)?)))
            .collect()
    }
}

fn divide(t: &mut Text, value: Value, by: u64) -> Value {
    let by = t.index(by as i64);
    emit!(t, "arith.divui {value}, {by} : i64")
}

fn element(t: &mut Text, base: Value, at: Value, elem: Elem) -> Value {
    let address = t.at(POINTER, base, at, elem);
    emit!(t, "llvm.load {address} : {POINTER} -> {elem}")
}
