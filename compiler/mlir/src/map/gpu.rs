//! A map kernel as a CUDA entry over a table of tensors, in the `gpu` dialect.
//!
//! ```text
//! for each work item of this block:            // 4096 elements, or 64 rows
//!     which tensor is it?                      // binary search in `starts`
//!     flat: run · grid: for each row: run
//! run: for e in 0..len by 128: thread t has element e + t
//! ```
//!
//! A sum has 16 lanes as on the CPU, and threads 0 to 15 hold them: after each strip of 128 elements the values lie in
//! shared memory, and thread `j` adds those of lane `j` in order. At the end of a run every thread adds the 16 lanes
//! up pairwise, so that the sum is known to all. A sum along the rows needs no neighbour: a column always falls to the
//! same thread. Maxima are computed like sums.
//!
//! The loop over work items is that of [`super::grid`].

use super::body::{Body, Frame, Point, folded};
use super::grid::{Block, STRIP, Work};
use crate::number::{load, store};
use crate::text::{Elem, Range, Text, Type, Value, emit};
use optc_core::dtype::DType;
use optc_core::kernel::{CHUNK, Fold, LANES, MapKernel, OutputKind, ROW_CHUNK, Space};

const DOUBLE: Type = Type {
    elem: Elem::F64,
    lanes: 1,
};
const INDEX: Type = Type {
    elem: Elem::I64,
    lanes: 1,
};

/// Writes what one block does for one work item of a kernel.
pub(crate) fn item(t: &mut Text, kernel: &MapKernel, block: Block, work: &Work) {
    let frame = frame(t, kernel, block, (work.operands, work.scalars), work.tensor);
    let body = Body::new(t, &frame, 1);
    Item {
        frame: &frame,
        block,
        chunk: work.item,
    }
    .run_all(t, &body, work.dims);
}

fn frame<'k>(
    t: &mut Text,
    kernel: &'k MapKernel,
    block: Block,
    (operands, scalars): (Value, Value),
    tensor: Value,
) -> Frame<'k> {
    let (pointer, count) = (block.pointer, kernel.inputs.len() + kernel.outputs.len());
    let line = t.index(count as i64);
    let first = t.times(tensor, line);
    let addresses = (0..count).map(|n| {
        let n = t.index(n as i64);
        let at = t.plus(first, n);
        let address = t.at(pointer, operands, at, Elem::I64);
        emit!(t, "llvm.load {address} : {pointer} -> {pointer}")
    });
    let operands = addresses.collect();
    let line = t.index(i64::from(kernel.scalars));
    let first = t.times(tensor, line);
    let scalars = t.at(pointer, scalars, first, Elem::F64);
    Frame {
        kernel,
        operands,
        scalars,
        pointer,
    }
}

/// Outputs that are reduced along a run.
#[derive(Debug, Clone, Copy)]
enum Along {
    /// To one number in all.
    All,
    /// To one number per row.
    Cols,
}

impl Along {
    fn takes(self, kind: OutputKind) -> bool {
        match self {
            Along::All => matches!(kind, OutputKind::All(_)),
            Along::Cols => matches!(kind, OutputKind::Cols(_)),
        }
    }
}

/// One work item.
struct Item<'f> {
    frame: &'f Frame<'f>,
    block: Block,
    /// Its number within the tensor.
    chunk: Value,
}

/// Elements that follow each other, as in `super::cpu`.
#[derive(Clone, Copy)]
struct Run {
    origin: Value,
    len: Value,
    partial: Value,
}

impl Item<'_> {
    fn run_all(&self, t: &mut Text, body: &Body<'_>, (rows, cols): (Value, Value)) {
        let size = t.index(if self.frame.kernel.space == Space::Flat {
            CHUNK
        } else {
            ROW_CHUNK
        } as i64);
        let first = t.times(self.chunk, size);
        let left = emit!(t, "arith.subi {rows}, {first} : i64");
        let len = t.least(left, size);
        match self.frame.kernel.space {
            Space::Flat => {
                let partial = t.index(0);
                let sums = self.run(
                    t,
                    body,
                    Run {
                        origin: first,
                        len,
                        partial,
                    },
                );
                self.finish(t, Along::All, self.chunk, &sums);
            }
            Space::Grid => self.grid(t, body, first, len, cols),
        }
    }

    fn grid(&self, t: &mut Text, body: &Body<'_>, first: Value, len: Value, cols: Value) {
        let (partial, to) = (t.times(self.chunk, cols), t.plus(first, len));
        self.clear_columns(t, partial, cols);
        let all = self
            .along()
            .into_iter()
            .filter(|&(n, _)| Along::All.takes(self.kind(n)))
            .collect::<Vec<_>>();
        let totals = all
            .iter()
            .map(|(_, fold)| (t.float(DOUBLE, fold.of_none()), DOUBLE))
            .collect::<Vec<_>>();
        let totals = t.loop_over(
            Range {
                from: first,
                to,
                step: 1,
            },
            &totals,
            |t, row, totals| {
                let body = body.in_row(t, row);
                let origin = t.times(row, cols);
                let sums = self.run(
                    t,
                    &body,
                    Run {
                        origin,
                        len: cols,
                        partial,
                    },
                );
                self.finish(t, Along::Cols, row, &sums);
                let of = |(n, fold): &(usize, Fold)| {
                    let (_, sum) = sums.iter().find(|(sum, _)| sum == n)?;
                    Some((*fold, *sum))
                };
                let pairs = totals.iter().zip(all.iter().filter_map(of));
                pairs
                    .map(|(&total, (fold, sum))| folded(t, fold, total, sum, DOUBLE))
                    .collect()
            },
        );
        let totals: Vec<(usize, Value)> = all.into_iter().map(|(n, _)| n).zip(totals).collect();
        self.finish(t, Along::All, self.chunk, &totals);
    }

    /// Runs over one run; returns its sums, by output, known to every thread.
    fn run(&self, t: &mut Text, body: &Body<'_>, run: Run) -> Vec<(usize, Value)> {
        let along = self.along();
        if along.is_empty() {
            t.repeat(
                Range {
                    from: self.block.thread,
                    to: run.len,
                    step: STRIP,
                },
                |t, e| {
                    self.point(t, body, run, e);
                },
            );
            return Vec::new();
        }
        let from = t.index(0);
        let lanes = along
            .iter()
            .map(|(_, fold)| (t.float(DOUBLE, fold.of_none()), DOUBLE))
            .collect::<Vec<_>>();
        let lanes = t.loop_over(
            Range {
                from,
                to: run.len,
                step: STRIP,
            },
            &lanes,
            |t, strip, lanes| self.strip(t, body, run, strip, lanes),
        );
        let pairs = along.into_iter().zip(lanes);
        pairs
            .map(|((n, fold), lane)| (n, self.fold(t, fold, lane)))
            .collect()
    }

    /// 128 elements: a value per thread, then the lanes.
    fn strip(
        &self,
        t: &mut Text,
        body: &Body<'_>,
        run: Run,
        strip: Value,
        lanes: &[Value],
    ) -> Vec<Value> {
        let e = t.plus(strip, self.block.thread);
        let there = emit!(t, "arith.cmpi ult, {e}, {} : i64", run.len);
        let zero = t.float(DOUBLE, 0.0);
        let values = t.choose_all(
            there,
            &vec![DOUBLE; lanes.len()],
            |t| {
                let values = self.point(t, body, run, e);
                self.along()
                    .into_iter()
                    .map(|(n, _)| body.to_f64(t, values[n]))
                    .collect()
            },
            |_| vec![zero; lanes.len()],
        );
        let left = emit!(t, "arith.subi {}, {strip} : i64", run.len);
        let full = t.index(STRIP);
        let len = t.least(left, full);
        let pairs = lanes.iter().zip(values).zip(self.along());
        pairs
            .map(|((&lane, value), (_, fold))| self.add_to_lane(t, fold, lane, value, len))
            .collect()
    }

    /// Thread `j` below 16 adds the strip's elements of lane `j`, in order.
    fn add_to_lane(
        &self,
        t: &mut Text,
        fold: Fold,
        lane: Value,
        value: Value,
        len: Value,
    ) -> Value {
        let thread = self.block.thread;
        self.block.write_shared(t, thread, value);
        self.block.wait(t);
        let (lanes, none) = (t.index(LANES as i64), t.index(0));
        let adds = emit!(t, "arith.cmpi ult, {thread}, {lanes} : i64");
        let to = t.choose(adds, INDEX, |_| len, |_| none);
        let sum = t.loop_over(
            Range {
                from: thread,
                to,
                step: LANES as i64,
            },
            &[(lane, DOUBLE)],
            |t, at, sum| {
                let value = self.block.read_shared(t, at);
                vec![folded(t, fold, sum[0], value, DOUBLE)]
            },
        );
        self.block.wait(t);
        sum[0]
    }

    /// The sum of the 16 lanes, in every thread: `j` and `j + 8`, then 4, 2, 1 apart.
    fn fold(&self, t: &mut Text, fold: Fold, lane: Value) -> Value {
        self.block.write_shared(t, self.block.thread, lane);
        self.block.wait(t);
        let mut sums: Vec<Value> = (0..LANES as i64)
            .map(|n| {
                let at = t.index(n);
                self.block.read_shared(t, at)
            })
            .collect();
        self.block.wait(t);
        while sums.len() > 1 {
            let (low, high) = sums.split_at(sums.len() / 2);
            sums = low
                .iter()
                .zip(high)
                .map(|(&a, &b)| folded(t, fold, a, b, DOUBLE))
                .collect();
        }
        sums[0]
    }

    /// One point: every value, then every store.
    fn point(&self, t: &mut Text, body: &Body<'_>, run: Run, e: Value) -> Vec<Value> {
        let full = t.plus(run.origin, e);
        let values = body.at(t, Point { full, col: e });
        for (n, output) in self.frame.kernel.outputs.iter().enumerate() {
            match output.kind {
                OutputKind::Store => body.store(t, n, full, values[n]),
                OutputKind::Rows(fold) => {
                    let value = body.to_f64(t, values[n]);
                    let at = t.plus(run.partial, e);
                    let old = load(
                        t,
                        self.frame.pointer,
                        self.output(n),
                        at,
                        DType::F64,
                        DOUBLE,
                    );
                    let new = folded(t, fold, old, value, DOUBLE);
                    store(
                        t,
                        self.frame.pointer,
                        self.output(n),
                        at,
                        DType::F64,
                        new,
                        DOUBLE,
                    );
                }
                OutputKind::All(_) | OutputKind::Cols(_) => {}
            }
        }
        values
    }

    /// Begins the partial sums of this thread's columns.
    fn clear_columns(&self, t: &mut Text, partial: Value, cols: Value) {
        for n in 0..self.frame.kernel.outputs.len() {
            let OutputKind::Rows(fold) = self.kind(n) else {
                continue;
            };
            let none = t.float(DOUBLE, fold.of_none());
            t.repeat(
                Range {
                    from: self.block.thread,
                    to: cols,
                    step: STRIP,
                },
                |t, col| {
                    let at = t.plus(partial, col);
                    store(
                        t,
                        self.frame.pointer,
                        self.output(n),
                        at,
                        DType::F64,
                        none,
                        DOUBLE,
                    );
                },
            );
        }
    }

    /// The first thread stores the sums of one kind: partial sums as they are, row sums rounded.
    fn finish(&self, t: &mut Text, along: Along, at: Value, sums: &[(usize, Value)]) {
        let first = self.block.is_first(t);
        for &(n, sum) in sums.iter().filter(|(n, _)| along.takes(self.kind(*n))) {
            let dtype = match along {
                Along::Cols => self.frame.kernel.outputs[n].dtype,
                Along::All => DType::F64,
            };
            t.when(first, |t| {
                store(
                    t,
                    self.frame.pointer,
                    self.output(n),
                    at,
                    dtype,
                    sum,
                    DOUBLE,
                )
            });
        }
    }

    /// The outputs reduced along a run, by index.
    fn along(&self) -> Vec<(usize, Fold)> {
        let outputs = self.frame.kernel.outputs.iter().enumerate();
        outputs
            .filter(|(_, output)| output.kind.is_along_run())
            .filter_map(|(n, output)| Some((n, output.kind.fold()?)))
            .collect()
    }

    fn kind(&self, n: usize) -> OutputKind {
        self.frame.kernel.outputs[n].kind
    }

    fn output(&self, n: usize) -> Value {
        self.frame.operands[self.frame.kernel.inputs.len() + n]
    }
}
