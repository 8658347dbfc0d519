//! The index space of an operation, and how operands lie in it.

use crate::dtype::DType;
use crate::ir::{Function, Op, OpKind, Reduce};
use crate::kernel::Access;

/// The index space of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SpaceKey {
    pub(super) dims: Vec<u64>,
    pub(super) compute: DType,
}

/// How a group's space is cut into rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::passes) enum Split {
    /// Any cut will do.
    Any,
    /// It must be one run: a sum over all elements has its own order.
    Flat,
    /// Axes before this one are rows.
    At(usize),
}

impl Split {
    pub(in crate::passes) fn join(self, other: Split) -> Option<Split> {
        match (self, other) {
            (Split::Any, split) | (split, Split::Any) => Some(split),
            (a, b) => (a == b).then_some(a),
        }
    }
}

/// Computed by each kernel that needs it, never stored: masks.
pub(in crate::passes) fn is_inline(kind: &OpKind) -> bool {
    matches!(
        kind,
        OpKind::Compare(..) | OpKind::Logic(..) | OpKind::Not(_)
    )
}

/// The space and cut that an operation needs, if it can be part of a kernel.
pub(super) fn space_of(function: &Function, op: Op) -> Option<(SpaceKey, Split)> {
    let data = &function.ops[op];
    let (dims, dtype) = match &data.kind {
        OpKind::Reduce(_, a, _) => (function.dims(*a), function.tensor(*a)?.dtype),
        kind if kind.is_map() && !is_inline(kind) => {
            let ty = function.tensor(data.results[0])?;
            (&ty.dims[..], ty.dtype)
        }
        _ => return None,
    };
    let split = match &data.kind {
        OpKind::Reduce(_, _, Reduce::All) => Split::Flat,
        OpKind::Reduce(_, _, Reduce::From(axis) | Reduce::Before(axis)) => Split::At(*axis),
        kind => split_of_operands(function, kind, dims)?,
    };
    let compute = masks_compute(function, &data.kind, dtype.compute());
    let one = split == Split::Any && dims.iter().product::<u64>() == 1;
    Some((
        SpaceKey {
            dims: if one { Vec::new() } else { dims.to_vec() },
            compute,
        },
        split,
    ))
}

pub(super) fn wider(a: DType, b: DType) -> DType {
    if a == DType::F64 || b == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

/// The compute type that an operation and the comparisons it chooses by share.
fn masks_compute(function: &Function, kind: &OpKind, own: DType) -> DType {
    let mut compute = own;
    kind.each_operand(|operand| {
        let source = function.def(operand);
        if is_inline(source) {
            compute = masks_compute(function, source, compute_of(function, source, compute));
        }
    });
    compute
}

/// The widest compute type among the tensors read and `least`.
pub(super) fn compute_of(function: &Function, kind: &OpKind, least: DType) -> DType {
    let mut compute = least;
    kind.each_operand(|value| {
        if let Some(ty) = function.tensor(value) {
            compute = wider(compute, ty.dtype.compute());
        }
    });
    compute
}

/// The cut that serves all operands of an element-wise operation over `dims`, if one does.
pub(in crate::passes) fn split_of_operands(
    function: &Function,
    kind: &OpKind,
    dims: &[u64],
) -> Option<Split> {
    let mut split = Some(Split::Any);
    kind.each_operand(|operand| {
        let inner = function.def(operand);
        let own = if is_inline(inner) {
            split_of_operands(function, inner, dims)
        } else {
            cut(function.dims(operand), dims)
        };
        split = split.zip(own).and_then(|(split, own)| split.join(own));
    });
    split
}

/// How an operand of shape `from` broadcasts over `dims`; `None` when neither rows nor columns do it.
pub(in crate::passes) fn cut(from: &[u64], dims: &[u64]) -> Option<Split> {
    if from == dims || from.iter().product::<u64>() == 1 {
        return Some(Split::Any);
    }
    let padded = padded(from, dims.len());
    if padded == dims {
        return Some(Split::Any);
    }
    let equal = padded.iter().zip(dims).take_while(|(a, b)| a == b).count();
    if padded[equal..].iter().all(|&d| d == 1) {
        return Some(Split::At(equal));
    }
    let ones = padded.iter().take_while(|&&d| d == 1).count();
    (padded[ones..] == dims[ones..]).then_some(Split::At(ones))
}

/// A shape with leading axes of length 1.
pub(in crate::passes) fn padded(from: &[u64], rank: usize) -> Vec<u64> {
    [vec![1; rank - from.len()], from.to_vec()].concat()
}

/// Which element of an operand belongs to a point of the space.
pub(super) fn access(from: &[u64], dims: &[u64], split: Split) -> Access {
    let count = from.iter().product::<u64>();
    match split {
        _ if count == dims.iter().product::<u64>() => Access::Full,
        _ if count == 1 => Access::One,
        Split::At(axis) if padded(from, dims.len())[axis..].iter().all(|&d| d == 1) => Access::Row,
        Split::At(_) => Access::Col,
        Split::Any | Split::Flat => unreachable!("{from:?} over {dims:?} needs rows and columns"),
    }
}
