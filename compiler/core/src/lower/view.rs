//! Views of a parameter: flatten, merge, permute, unsqueeze, applied to the parameter and its gradient and undone on the result;
//! split and blocks, whose parts are parameters of their own and come together again.

use super::Fault;
use super::{Lowerer, Val};
use crate::hir::{Parts, View};
use crate::ir::Value;
use crate::ir::numel;

/// One change of shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// New shape, same elements; with the old one.
    Reshape { from: Vec<u64>, to: Vec<u64> },
    /// Axis `a` of the view is axis `axes[a]` of the tensor.
    Permute { axes: Vec<u32> },
    /// `count` elements along an axis; not invertible.
    Slice { axis: u32, from: u64, count: u64 },
}

/// A parameter is not cut into more parts than this: each has its own piece of the plan.
const MOST_PARTS: usize = 4096;

/// What a view makes of a shape.
pub(super) enum Seen {
    /// Another shape.
    Whole(Step),
    /// Along each axis the lengths of the parts.
    Parts(Vec<Vec<u64>>),
    /// Nothing: the lengths of the parts do not add up, or there are too many.
    Nothing,
}

/// The shape that a tensor of shape `dims` has after a step.
pub(super) fn dims_after(step: &Step, dims: &[u64]) -> Vec<u64> {
    match step {
        Step::Reshape { to, .. } => to.clone(),
        Step::Permute { axes } => axes.iter().map(|&axis| dims[axis as usize]).collect(),
        Step::Slice { axis, count, .. } => {
            let mut dims = dims.to_vec();
            dims[*axis as usize] = *count;
            dims
        }
    }
}

/// The steps to each part, row-major.
pub(super) fn parts(lengths: &[Vec<u64>]) -> Vec<Vec<Step>> {
    let mut all = vec![Vec::new()];
    for (axis, lengths) in lengths.iter().enumerate() {
        all = all
            .into_iter()
            .flat_map(|steps| along(steps, axis as u32, lengths))
            .collect();
    }
    all
}

/// The steps, then a slice for each of these lengths along an axis; none where there is one alone.
fn along(steps: Vec<Step>, axis: u32, lengths: &[u64]) -> Vec<Vec<Step>> {
    if lengths.len() == 1 {
        return vec![steps];
    }
    let mut from = 0;
    let part = |&count: &u64| {
        let slice = Step::Slice { axis, from, count };
        from += count;
        [steps.clone(), vec![slice]].concat()
    };
    lengths.iter().map(part).collect()
}

/// An axis in pieces of at most `size`.
fn pieces(length: u64, size: u64) -> Vec<u64> {
    let size = size.max(1);
    let whole = vec![size; (length / size) as usize];
    match length % size {
        0 if !whole.is_empty() => whole,
        left => [whole, vec![left]].concat(),
    }
}

impl<'p> Lowerer<'p> {
    /// What a view makes of a tensor of this shape.
    pub(super) fn seen(&mut self, view: &'p View, dims: &[u64]) -> Seen {
        match view {
            View::Flatten { from } => {
                let from = self.count(from).min(dims.len() as u64) as usize;
                reshaped(dims, flattened(dims, from))
            }
            View::Merge { limit, from_right } => {
                let limit = self.count(limit);
                reshaped(dims, merged(dims, limit, *from_right))
            }
            View::Unsqueeze { axis } => {
                let (front, back) = dims.split_at((self.count(axis) as usize).min(dims.len()));
                reshaped(dims, [front, &[1], back].concat())
            }
            View::Rows { of } => {
                let (of, count) = (self.count(of), numel(dims));
                match of > 0 && count.is_multiple_of(of) {
                    true => reshaped(dims, vec![count / of, of]),
                    false => Seen::Nothing,
                }
            }
            View::Permute { axes } if axes.len() == dims.len() => {
                Seen::Whole(Step::Permute { axes: axes.clone() })
            }
            View::Permute { .. } => Seen::Nothing,
            View::Split { axis, parts } => {
                let axis = self.count(axis) as usize;
                let lengths = dims.get(axis).and_then(|&d| self.lengths(parts, d));
                in_parts(lengths.map(|lengths| {
                    let whole = |(n, &d): (usize, &u64)| {
                        if n == axis { lengths.clone() } else { vec![d] }
                    };
                    dims.iter().enumerate().map(whole).collect()
                }))
            }
            View::Blocks { size } => {
                let size = self.count(size);
                let counts = dims.iter().map(|&d| d.div_ceil(size.max(1)).max(1));
                let count = counts.fold(1, u64::saturating_mul);
                let few = count <= MOST_PARTS as u64;
                in_parts(few.then(|| dims.iter().map(|&d| pieces(d, size)).collect()))
            }
        }
    }

    /// The lengths of parts of an axis, if they add up to it.
    fn lengths(&mut self, parts: &'p Parts, length: u64) -> Option<Vec<u64>> {
        match parts {
            Parts::Equal(count) => {
                let count = self.count(count);
                let fits = count > 0 && count <= MOST_PARTS as u64 && length.is_multiple_of(count);
                fits.then(|| vec![length / count; count as usize])
            }
            Parts::Sizes(sizes) => {
                let Val::Table(rows) = self.expr(sizes) else {
                    return None;
                };
                let cells: Vec<f64> = rows.concat();
                let lengths: Vec<u64> = cells.iter().map(|&x| x as u64).collect();
                let whole = cells.iter().all(|&x| x >= 1.0 && x.fract() == 0.0);
                let adds_up = lengths.iter().try_fold(0u64, |sum, &x| sum.checked_add(x));
                (whole && adds_up == Some(length)).then_some(lengths)
            }
        }
    }

    /// A host int known at bind.
    pub(super) fn count(&mut self, expr: &'p crate::hir::Expr) -> u64 {
        match self.expr(expr) {
            Val::Number(x) if x < 0.0 => {
                self.out_of_range(expr, x, "at least 0");
                0
            }
            Val::Number(x) => x as u64,
            other => unreachable!("a bind-time int is {other:?}"),
        }
    }

    /// A count that is known at bind is not what it must be.
    pub(super) fn out_of_range(&mut self, expr: &crate::hir::Expr, value: f64, need: &'static str) {
        let file = self.frame.file.map(|file| &self.program.sources[file].text);
        let range = expr.span.start as usize..expr.span.end as usize;
        let text = file.and_then(|text| text.get(range)).unwrap_or("a count");
        self.fault.get_or_insert(Fault::Count {
            text: text.to_owned(),
            value: crate::hir_text::number(value),
            need,
        });
    }

    pub(super) fn apply_view(&mut self, steps: &[Step], value: Value) -> Value {
        steps.iter().fold(value, |value, step| match *step {
            Step::Reshape { ref to, .. } => self.build.reshape(value, to.clone()),
            Step::Permute { ref axes } => self.build.permute(value, axes.clone()),
            Step::Slice { axis, from, count } => self.build.slice(value, axis, from, count),
        })
    }

    pub(super) fn undo_view(&mut self, step: &Step, value: Value) -> Value {
        match step {
            Step::Reshape { from, .. } => self.build.reshape(value, from.clone()),
            Step::Permute { axes } => self.build.permute(value, inverse(axes)),
            Step::Slice { .. } => unreachable!("parts are put together, not undone"),
        }
    }

    /// The parts in row-major order as one tensor again.
    pub(super) fn together(&mut self, lengths: &[Vec<u64>], mut parts: Vec<Value>) -> Value {
        for (axis, lengths) in lengths.iter().enumerate().rev() {
            let rows = parts.chunks(lengths.len());
            parts = rows
                .map(|row| self.build.concat(row.to_vec(), axis as u32))
                .collect();
        }
        parts[0]
    }
}

fn reshaped(from: &[u64], to: Vec<u64>) -> Seen {
    Seen::Whole(Step::Reshape {
        from: from.to_vec(),
        to,
    })
}

fn in_parts(lengths: Option<Vec<Vec<u64>>>) -> Seen {
    lengths.map_or(Seen::Nothing, Seen::Parts)
}

/// Axes from `from` on as one.
pub(super) fn flattened(dims: &[u64], from: usize) -> Vec<u64> {
    let mut to = dims[..from].to_vec();
    // A scalar is one element in a row.
    if from < dims.len() || dims.is_empty() {
        to.push(numel(&dims[from..]));
    }
    to
}

fn inverse(axes: &[u32]) -> Vec<u32> {
    let mut back = vec![0; axes.len()];
    axes.iter()
        .enumerate()
        .for_each(|(to, &from)| back[from as usize] = to as u32);
    back
}

/// Greedy merging of neighbours while the product stays within the limit.
fn merged(dims: &[u64], limit: u64, from_right: bool) -> Vec<u64> {
    let ordered: Vec<u64> = if from_right {
        dims.iter().rev().copied().collect()
    } else {
        dims.to_vec()
    };
    let mut result: Vec<u64> = Vec::new();
    let mut open = 1;
    for d in ordered {
        if open * d <= limit {
            open *= d;
            continue;
        }
        if open > 1 {
            result.push(open);
            open = 1;
        }
        if d > limit {
            result.push(d);
        } else {
            open = d;
        }
    }
    if open != 1 || result.is_empty() {
        result.push(open);
    }
    if from_right {
        result.reverse();
    }
    result
}
