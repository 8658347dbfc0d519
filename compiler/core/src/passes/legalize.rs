//! Makes element-wise operations fit the plan: every operand a full tensor, one number per row, one per column, or a
//! single number, all by one cut into rows and columns; and no mask outlives the branch that makes it.
//!
//! ```text
//! v2 = mul v0, v1 : [2, 3, 4]            v3 = fill 0 : [3, 2, 4]
//!   (v0 [2, 3, 4], v1 [2, 1, 4])    →    v4 = select 1, v1 as [2, 4], v3 : [3, 2, 4]
//!                                        v5 = permute v4 [1, 0, 2]
//!                                        v2 = mul v0, v5
//! ```
//!
//! An operand that does not fit is written out in full, bit for bit. That costs memory traffic, so it happens only to
//! shapes that no single pass over rows and columns could serve.

use super::fuse::{Split, cut, is_inline, padded, split_of_operands};
use super::rewrite::{Visitor, rebuild};
use crate::dtype::DType;
use crate::ir::{Builder, Function, OpKind, TensorType, Type, Value};
use crate::kernel::CompareOp;

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    rebuild(&function, &mut Legalize)
}

struct Legalize;

impl Visitor for Legalize {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: Vec<Type>,
        _: &[Value],
    ) -> Vec<Value> {
        let kind = match &types[..] {
            [Type::Tensor(ty)] if kind.is_map() => fitting(build, kind, &ty.dims),
            _ => kind,
        };
        build.push(kind, types)
    }

    /// A branch yields a mask as numbers, which are compared again.
    fn yielded(&mut self, build: &mut Builder, value: Value) -> Value {
        let Type::Mask(dims) = build.function.ty(value).clone() else {
            return value;
        };
        let [one, zero] = [1.0, 0.0].map(|x| build.constant(x));
        let ty = TensorType {
            dtype: DType::F32,
            dims,
        };
        let nothing = build.fill(zero, ty);
        let kind = OpKind::Select(value, one, nothing);
        let ty = build.function.ty(nothing).clone();
        let dims = build.function.dims(nothing).to_vec();
        let kind = fitting(build, kind, &dims);
        build.push_one(kind, ty)
    }

    fn joined(&mut self, build: &mut Builder, value: Value, ty: &Type) -> Value {
        if !matches!(ty, Type::Mask(_)) {
            return value;
        }
        let zero = build.constant(0.0);
        build.compare(CompareOp::Ne, value, zero)
    }
}

/// The operation with operands that share one cut of its index space.
fn fitting(build: &mut Builder, kind: OpKind, dims: &[u64]) -> OpKind {
    if is_inline(&kind) || split_of_operands(&build.function, &kind, dims).is_some() {
        return kind;
    }
    let mut split = Split::Any;
    kind.map_operands(|operand| fit(build, operand, dims, &mut split))
}

/// The operand, if it fits the cut so far or none was chosen yet; otherwise the operand in full.
fn fit(build: &mut Builder, operand: Value, dims: &[u64], split: &mut Split) -> Value {
    let kind = build.function.def(operand).clone();
    if is_inline(&kind) {
        let kind = kind.map_operands(|inner| fit(build, inner, dims, split));
        return build.push_one(kind, Type::Mask(dims.to_vec()));
    }
    match cut(build.function.dims(operand), dims).and_then(|own| split.join(own)) {
        Some(joined) => {
            *split = joined;
            operand
        }
        None => in_full(build, operand, dims),
    }
}

/// The operand stretched to `dims`: stretched axes first, where its elements are columns, then in their order.
fn in_full(build: &mut Builder, operand: Value, dims: &[u64]) -> Value {
    let (dtype, own) = build.parts(operand);
    let own = padded(&own, dims.len());
    let (kept, stretched): (Vec<usize>, Vec<usize>) =
        (0..dims.len()).partition(|&axis| own[axis] == dims[axis]);
    let order: Vec<usize> = [stretched, kept.clone()].concat();
    let columns = build.reshape(operand, kept.iter().map(|&axis| dims[axis]).collect());
    let [zero, one] = [0.0, 1.0].map(|x| build.constant(x));
    let nothing = build.fill(
        zero,
        TensorType {
            dtype,
            dims: order.iter().map(|&axis| dims[axis]).collect(),
        },
    );
    let full = build.select(one, columns, nothing);
    let place = |axis| {
        order
            .iter()
            .position(|&from| from == axis)
            .unwrap_or_default() as u32
    };
    build.permute(full, (0..dims.len()).map(place).collect())
}
