//! Views of a parameter: flatten, merge, permute; applied to the parameter and its gradient, undone on the result.

use super::{Lowerer, Val};
use crate::hir::View;
use crate::ir::Value;

/// One invertible change of shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// New shape, same elements; with the old one.
    Reshape { from: Vec<u64>, to: Vec<u64> },
    /// Axis `a` of the view is axis `axes[a]` of the tensor.
    Permute { axes: Vec<u32> },
}

/// The shape that a parameter of shape `dims` has under a view.
pub(super) fn dims_after(steps: &[Step], dims: &[u64]) -> Vec<u64> {
    steps.iter().fold(dims.to_vec(), |dims, step| match step {
        Step::Reshape { to, .. } => to.clone(),
        Step::Permute { axes } => axes.iter().map(|&axis| dims[axis as usize]).collect(),
    })
}

impl<'p> Lowerer<'p> {
    /// The concrete steps of a list of views of a tensor of this shape.
    pub(super) fn view_steps(&mut self, views: &'p [View], mut dims: Vec<u64>) -> Vec<Step> {
        let mut steps = Vec::new();
        for view in views {
            let step = self.view_step(view, &dims);
            dims = dims_after(std::slice::from_ref(&step), &dims);
            steps.push(step);
        }
        steps
    }

    fn view_step(&mut self, view: &'p View, dims: &[u64]) -> Step {
        match view {
            View::Flatten { from } => {
                let from = self.count(from).min(dims.len() as u64) as usize;
                Step::Reshape {
                    from: dims.to_vec(),
                    to: flattened(dims, from),
                }
            }
            View::Merge { limit, from_right } => {
                let limit = self.count(limit);
                Step::Reshape {
                    from: dims.to_vec(),
                    to: merged(dims, limit, *from_right),
                }
            }
            View::Permute { axes } => Step::Permute { axes: axes.clone() },
        }
    }

    /// A host int known at bind.
    pub(super) fn count(&mut self, expr: &'p crate::hir::Expr) -> u64 {
        match self.expr(expr) {
            Val::Number(x) => x.max(0.0) as u64,
            other => unreachable!("a bind-time int is {other:?}"),
        }
    }

    pub(super) fn apply_view(&mut self, steps: &[Step], value: Value) -> Value {
        steps.iter().fold(value, |value, step| match step {
            Step::Reshape { to, .. } => self.build.reshape(value, to.clone()),
            Step::Permute { axes } => self.build.permute(value, axes.clone()),
        })
    }

    pub(super) fn undo_view(&mut self, steps: &[Step], value: Value) -> Value {
        steps.iter().rev().fold(value, |value, step| match step {
            Step::Reshape { from, .. } => self.build.reshape(value, from.clone()),
            Step::Permute { axes } => self.build.permute(value, inverse(axes)),
        })
    }
}

/// Axes from `from` on as one.
pub(super) fn flattened(dims: &[u64], from: usize) -> Vec<u64> {
    let mut to = dims[..from].to_vec();
    if from < dims.len() {
        to.push(dims[from..].iter().product());
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
    if open > 1 || result.is_empty() {
        result.push(open);
    }
    if from_right {
        result.reverse();
    }
    result
}
