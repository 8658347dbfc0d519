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
use super::rewrite::{Made, Visitor, decides_now, in_order, rebuild};
use crate::dtype::DType;
use crate::ir::{Builder, Function, Op, OpKind, TensorType, Type, Value};
use crate::kernel::CompareOp;

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    let mut legal = in_order(&function);
    function.for_each_op(|op| legal &= is_legal(&function, op));
    if legal {
        return function;
    }
    rebuild(function, &mut Legalize)
}

/// Whether an operation stays as it is.
fn is_legal(function: &Function, op: Op) -> bool {
    let data = &function.ops[op];
    let is_mask = |&value: &Value| matches!(function.ty(value), Type::Mask(_));
    match &data.kind {
        OpKind::If { .. } => {
            !decides_now(function, &data.kind) && !data.results.iter().any(is_mask)
        }
        kind if kind.is_map() && !is_inline(kind) => {
            let dims = function.dims(data.results[0]);
            split_of_operands(function, kind, dims).is_some()
        }
        _ => true,
    }
}

struct Legalize;

impl Visitor for Legalize {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: &mut Vec<Type>,
        _: &[Value],
    ) -> Made {
        let kind = match &types[..] {
            [Type::Tensor(ty)] if kind.is_map() => fitting(build, kind, &ty.dims),
            _ => kind,
        };
        Made::Op(build.push_op(kind, types.drain(..)))
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
    if order.is_sorted() {
        return full;
    }
    let place = |axis| {
        order
            .iter()
            .position(|&from| from == axis)
            .unwrap_or_default() as u32
    };
    build.permute(full, (0..dims.len()).map(place).collect())
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::kernel::{BinaryOp, CompareOp};
    use crate::passes::testing::{branch, check, tensor};
    use insta::assert_snapshot;

    #[test]
    fn a_stretched_middle_axis_is_written_out() {
        let shown = check(run, &[tensor(&[2, 3, 4]), tensor(&[2, 1, 4])], |b, x| {
            vec![b.binary(BinaryOp::Mul, x[0], x[1])]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[2, 1, 4]
        v2 = mul v0, v1 : f32[2, 3, 4]
        yield v2
        →
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[2, 1, 4]
        v2 = reshape v1 : f32[2, 4]
        v3 = const 0
        v4 = const 1
        v5 = fill v3 : f32[3, 2, 4]
        v6 = select v4, v2, v5 : f32[3, 2, 4]
        v7 = permute v6 [1, 0, 2] : f32[2, 3, 4]
        v8 = mul v0, v7 : f32[2, 3, 4]
        yield v8
        ");
    }

    #[test]
    fn of_two_cuts_the_first_stays() {
        let inputs = [tensor(&[2, 3, 4]), tensor(&[2, 1, 1]), tensor(&[4])];
        let shown = check(run, &inputs, |b, x| vec![b.lerp(x[0], x[1], x[2])]);
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[2, 1, 1]
        v2 = slot 2 : f32[4]
        v3 = lerp v0, v1, v2 : f32[2, 3, 4]
        yield v3
        →
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[2, 1, 1]
        v2 = slot 2 : f32[4]
        v3 = const 0
        v4 = const 1
        v5 = fill v3 : f32[2, 3, 4]
        v6 = select v4, v2, v5 : f32[2, 3, 4]
        v7 = lerp v0, v1, v6 : f32[2, 3, 4]
        yield v7
        ");
    }

    #[test]
    fn a_mask_that_does_not_fit_is_made_again() {
        let shown = check(run, &[tensor(&[2, 3, 4]), tensor(&[2, 1, 4])], |b, x| {
            let zero = b.constant(0.0);
            let mask = b.compare(CompareOp::Gt, x[1], zero);
            vec![b.select(mask, x[0], zero)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[2, 1, 4]
        v2 = const 0
        v3 = cmp-gt v1, v2 : mask[2, 1, 4]
        v4 = select v3, v0, v2 : f32[2, 3, 4]
        yield v4
        →
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[2, 1, 4]
        v2 = const 0
        v3 = cmp-gt v1, v2 : mask[2, 1, 4]
        v4 = reshape v1 : f32[2, 4]
        v5 = const 0
        v6 = const 1
        v7 = fill v5 : f32[3, 2, 4]
        v8 = select v6, v4, v7 : f32[3, 2, 4]
        v9 = permute v8 [1, 0, 2] : f32[2, 3, 4]
        v10 = cmp-gt v9, v2 : mask[2, 3, 4]
        v11 = select v10, v0, v2 : f32[2, 3, 4]
        yield v11
        ");
    }

    #[test]
    fn a_mask_leaves_a_branch_as_numbers() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let zero = b.constant(0.0);
            let mask = branch(
                b,
                |b| b.compare(CompareOp::Gt, x[0], zero),
                |b| b.compare(CompareOp::Lt, x[0], zero),
            );
            vec![b.select(mask, x[0], zero)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = const 0
        v2 = step
        v3 = const 2
        v4 = host.mod v2, v3
        v7 = if v4 {
          v5 = cmp-gt v0, v1 : mask[4]
          yield v5
        } else {
          v6 = cmp-lt v0, v1 : mask[4]
          yield v6
        } : mask[4]
        v8 = select v7, v0, v1 : f32[4]
        yield v8
        →
        v0 = slot 0 : f32[4]
        v1 = const 0
        v2 = step
        v3 = const 2
        v4 = host.mod v2, v3
        v15 = if v4 {
          v5 = cmp-gt v0, v1 : mask[4]
          v6 = const 1
          v7 = const 0
          v8 = fill v7 : f32[4]
          v9 = select v5, v6, v8 : f32[4]
          yield v9
        } else {
          v10 = cmp-lt v0, v1 : mask[4]
          v11 = const 1
          v12 = const 0
          v13 = fill v12 : f32[4]
          v14 = select v10, v11, v13 : f32[4]
          yield v14
        } : f32[4]
        v16 = const 0
        v17 = cmp-ne v15, v16 : mask[4]
        v18 = select v17, v0, v1 : f32[4]
        yield v18
        ");
    }

    #[test]
    fn rows_columns_and_single_numbers_stay() {
        let shown = check(
            run,
            &[tensor(&[2, 3]), tensor(&[2, 1]), tensor(&[3]), tensor(&[])],
            |b, x| {
                let rows = b.binary(BinaryOp::Mul, x[0], x[1]);
                let columns = b.binary(BinaryOp::Mul, x[0], x[2]);
                let one = b.binary(BinaryOp::Mul, rows, x[3]);
                vec![columns, one]
            },
        );
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3]
        v1 = slot 1 : f32[2, 1]
        v2 = slot 2 : f32[3]
        v3 = slot 3 : f32[]
        v4 = mul v0, v1 : f32[2, 3]
        v5 = mul v0, v2 : f32[2, 3]
        v6 = mul v4, v3 : f32[2, 3]
        yield v5, v6
        →
        v0 = slot 0 : f32[2, 3]
        v1 = slot 1 : f32[2, 1]
        v2 = slot 2 : f32[3]
        v3 = slot 3 : f32[]
        v4 = mul v0, v1 : f32[2, 3]
        v5 = mul v0, v2 : f32[2, 3]
        v6 = mul v4, v3 : f32[2, 3]
        yield v5, v6
        ");
    }
}
