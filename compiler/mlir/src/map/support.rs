//! The entries that PTX has beside map kernels: totals of partial results, and copies between strided and contiguous.
//!
//! ```text
//! totals:  thread t takes column 128 · item + t: folds its chunks in order, 32 loads in flight at a time
//! gather:  element e of the contiguous tensor is at Σ index(axis, e) · stride(axis) of the strided one
//! ```
//!
//! What they take is said in [`optc_core::kernel_support`].

use super::body::folded;
use super::grid::{Block, STRIP, Work};
use crate::number::{load, storage, store};
use crate::text::{Elem, Range, Text, Type, Value, act, emit};
use optc_core::dtype::DType;
use optc_core::kernel::{CHUNK, Fold};
use optc_core::kernel_support::{
    AXES, SIZES, TOTALS, TOTALS_ITEM, gather_symbol, scatter_symbol, totals_symbol,
};

/// Partial sums that are loaded together.
const AT_ONCE: i64 = 32;
const DOUBLE: Type = Type {
    elem: Elem::F64,
    lanes: 1,
};

const INDEX: Type = Type {
    elem: Elem::I64,
    lanes: 1,
};

/// One of the entries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Support {
    Totals(Fold, DType),
    Gather(u64),
    Scatter(u64),
}

pub(super) fn all() -> impl Iterator<Item = Support> {
    let moves = SIZES.map(|size| [Support::Gather(size), Support::Scatter(size)]);
    let totals = Fold::BOTH.map(|fold| TOTALS.map(|dtype| Support::Totals(fold, dtype)));
    totals
        .into_iter()
        .flatten()
        .chain(moves.into_iter().flatten())
}

impl Support {
    pub(super) fn symbol(self) -> String {
        match self {
            Support::Totals(fold, dtype) => totals_symbol(fold, dtype),
            Support::Gather(size) => gather_symbol(size),
            Support::Scatter(size) => scatter_symbol(size),
        }
    }

    /// Writes what one block does for one work item.
    pub(super) fn item(self, t: &mut Text, block: Block, work: &Work) {
        match self {
            Support::Totals(fold, dtype) => totals(t, block, work, (fold, dtype)),
            Support::Gather(size) => moves(t, block, work, |t, strided, dense| {
                copy(t, block, size, strided, dense)
            }),
            Support::Scatter(size) => moves(t, block, work, |t, strided, dense| {
                copy(t, block, size, dense, strided)
            }),
        }
    }
}

/// An operand of this work item's tensor; these entries have two.
fn operand(t: &mut Text, block: Block, work: &Work, n: i64) -> Value {
    let (two, n) = (t.index(2), t.index(n));
    let line = t.times(work.tensor, two);
    let at = t.plus(line, n);
    let address = t.at(block.pointer, work.operands, at, Elem::I64);
    emit!(t, "llvm.load {address} : {0} -> {0}", block.pointer)
}

fn totals(t: &mut Text, block: Block, work: &Work, (fold, dtype): (Fold, DType)) {
    let (partial, out) = (operand(t, block, work, 0), operand(t, block, work, 1));
    let size = t.index(TOTALS_ITEM as i64);
    let first = t.times(work.item, size);
    let col = t.plus(first, block.thread);
    let (chunks, columns) = work.dims;
    let there = emit!(t, "arith.cmpi ult, {col}, {columns} : i64");
    t.when(there, |t| {
        let total = total(t, block, fold, (partial, col), (chunks, columns));
        store(t, block.pointer, out, col, dtype, total, DOUBLE);
    });
}

/// The chunks of one column, folded in order. Behind the last comes what is made of nothing, which changes no total
/// that began with it.
fn total(
    t: &mut Text,
    block: Block,
    fold: Fold,
    (partial, col): (Value, Value),
    (chunks, columns): (Value, Value),
) -> Value {
    let (from, none) = (t.index(0), t.float(DOUBLE, fold.of_none()));
    let range = Range {
        from,
        to: chunks,
        step: AT_ONCE,
    };
    let total = t.loop_over(range, &[(none, DOUBLE)], |t, chunk, total| {
        let values: Vec<Value> = (0..AT_ONCE)
            .map(|n| {
                let n = t.index(n);
                let chunk = t.plus(chunk, n);
                let there = emit!(t, "arith.cmpi ult, {chunk}, {chunks} : i64");
                let line = t.times(chunk, columns);
                let at = t.plus(line, col);
                let value = |t: &mut Text| load(t, block.pointer, partial, at, DType::F64, DOUBLE);
                t.choose(there, DOUBLE, value, |_| none)
            })
            .collect();
        let add = |sum: Value, value: Value| folded(t, fold, sum, value, DOUBLE);
        vec![values.into_iter().fold(total[0], add)]
    });
    total[0]
}

/// A place in a tensor: its address, and the element.
type Place = (Value, Value);

fn moves(t: &mut Text, block: Block, work: &Work, copy: impl Fn(&mut Text, Place, Place)) {
    let (strided, dense) = (operand(t, block, work, 0), operand(t, block, work, 1));
    let (size, axes) = (t.index(CHUNK as i64), t.index(2 * AXES as i64));
    let (first, axes) = (t.times(work.item, size), t.times(work.tensor, axes));
    let end = t.plus(first, size);
    let range = Range {
        from: t.plus(first, block.thread),
        to: t.least(end, work.dims.0),
        step: STRIP,
    };
    t.repeat(range, |t, element| {
        let at = place(t, block, work, axes, element);
        copy(t, (strided, at), (dense, element));
    });
}

/// Where an element is in the strided tensor; the lengths and strides of its axes begin at number `axes`.
fn place(t: &mut Text, block: Block, work: &Work, axes: Value, element: Value) -> Value {
    let (from, one, two) = (t.index(0), t.index(1), t.index(2));
    let range = Range {
        from,
        to: work.dims.1,
        step: 1,
    };
    let carried = [(from, INDEX), (element, INDEX)];
    let walked = t.loop_over(range, &carried, |t, axis, state| {
        let pair = t.times(axis, two);
        let length = t.plus(axes, pair);
        let stride = t.plus(length, one);
        let [length, stride] = [length, stride].map(|at| block.table(t, work.scalars, at));
        let left = emit!(t, "arith.divui {}, {length} : i64", state[1]);
        let whole = t.times(left, length);
        let index = emit!(t, "arith.subi {}, {whole} : i64", state[1]);
        let step = t.times(index, stride);
        vec![t.plus(state[0], step), left]
    });
    walked[0]
}

/// Copies one element of that many bytes.
fn copy(t: &mut Text, block: Block, size: u64, from: Place, to: Place) {
    let (pointer, elem) = (block.pointer, storage(integer(size)));
    let source = t.at(pointer, from.0, from.1, elem);
    let value = emit!(
        t,
        "llvm.load {source} {{alignment = {size} : i64}} : {pointer} -> {elem}"
    );
    let target = t.at(pointer, to.0, to.1, elem);
    act!(
        t,
        "llvm.store {value}, {target} {{alignment = {size} : i64}} : {elem}, {pointer}"
    );
}

/// A dtype of that many bytes whose bits are moved as they are.
fn integer(size: u64) -> DType {
    match size {
        2 => DType::BF16,
        4 => DType::F32,
        _ => DType::I64,
    }
}
