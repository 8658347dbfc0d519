//! What becomes one kernel, and what must not.

use super::run;
use crate::dtype::DType;
use crate::hir::Fact;
use crate::ir::{Reduce, Value};
use crate::kernel::{BinaryOp, CompareOp, UnaryOp};
use crate::passes::testing::{branch, check, hyper, slot, tensor};
use insta::assert_snapshot;

#[test]
fn element_wise_work_is_one_kernel() {
    let shown = check(run, &[tensor(&[4]), tensor(&[4]), tensor(&[4])], |b, x| {
        let weight = hyper(b);
        let first = b.lerp(x[1], x[0], weight);
        let square = b.binary(BinaryOp::Mul, x[0], x[0]);
        let second = b.lerp(x[2], square, weight);
        vec![first, second]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = slot 1 : f32[4]
    v2 = slot 2 : f32[4]
    v3 = hyper 0
    v4 = lerp v1, v0, v3 : f32[4]
    v5 = mul v0, v0 : f32[4]
    v6 = lerp v2, v5, v3 : f32[4]
    yield v4, v6
    →
    v0 = slot 0 : f32[4]
    v1 = slot 1 : f32[4]
    v2 = slot 2 : f32[4]
    v3 = hyper 0
    v4, v6 = map_4f91d52f (v1, v0, v2) scalars (v3) over 4x1 : f32[4]
    yield v4, v6
    map_4f91d52f = map flat f32 (%0: f32 full, %1: f32 full, %2: f32 full) scalars 1
    v0 = load %0
    v1 = load %1
    v2 = scalar s0
    v3 = sub v1, v0
    v4 = mul v2, v3
    v5 = add v0, v4
    v6 = mul v1, v1
    v7 = load %2
    v8 = sub v6, v7
    v9 = mul v2, v8
    v10 = add v7, v9
    store v5 -> f32
    store v10 -> f32
    ");
}

#[test]
fn each_operation_of_a_half_type_is_rounded() {
    let shown = check(run, &[slot(DType::BF16, &[4], Fact::General)], |b, x| {
        let square = b.binary(BinaryOp::Mul, x[0], x[0]);
        let wide = b.cast(square, DType::F32);
        vec![b.binary(BinaryOp::Add, square, x[0]), wide]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : bf16[4]
    v1 = mul v0, v0 : bf16[4]
    v2 = cast v1 : f32[4]
    v3 = add v1, v0 : bf16[4]
    yield v3, v2
    →
    v0 = slot 0 : bf16[4]
    v2, v3 = map_07468026 (v0) scalars () over 4x1 : f32[4]
    yield v3, v2
    map_07468026 = map flat f32 (%0: bf16 full) scalars 0
    v0 = load %0
    v1 = mul v0, v0
    v2 = round-bf16 v1
    v3 = add v2, v0
    v4 = round-bf16 v3
    store v2 -> f32
    store v4 -> bf16
    ");
}

#[test]
fn a_sum_rides_on_what_makes_its_operand_but_its_readers_do_not() {
    let shown = check(run, &[tensor(&[4, 6])], |b, x| {
        let square = b.binary(BinaryOp::Mul, x[0], x[0]);
        let sum = b.sum(square, Reduce::All);
        let norm = b.unary(UnaryOp::Sqrt, sum);
        vec![b.binary(BinaryOp::Div, x[0], norm)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4, 6]
    v1 = mul v0, v0 : f32[4, 6]
    v2 = sum v1 : f32[]
    v3 = sqrt v2 : f32[]
    v4 = div v0, v3 : f32[4, 6]
    yield v4
    →
    v0 = slot 0 : f32[4, 6]
    v2 = map_eeaa36de (v0) scalars () over 24x1 : f32[]
    v3 = map_7811411d (v2) scalars () over 1x1 : f32[]
    v4 = map_bf35a777 (v0, v3) scalars () over 24x1 : f32[4, 6]
    yield v4
    map_eeaa36de = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    v1 = mul v0, v0
    sum-all v1 -> f32
    map_7811411d = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    v1 = sqrt v0
    store v1 -> f32
    map_bf35a777 = map flat f32 (%0: f32 full, %1: f32 one) scalars 0
    v0 = load %0
    v1 = load %1
    v2 = div v0, v1
    store v2 -> f32
    ");
}

#[test]
fn rows_and_columns_are_read_and_summed_in_one_pass() {
    let shown = check(
        run,
        &[tensor(&[4, 6]), tensor(&[4, 1]), tensor(&[6])],
        |b, x| {
            let rows = b.binary(BinaryOp::Mul, x[0], x[1]);
            let both = b.binary(BinaryOp::Mul, rows, x[2]);
            vec![b.sum(both, Reduce::From(1)), b.sum(both, Reduce::Before(1))]
        },
    );
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4, 6]
    v1 = slot 1 : f32[4, 1]
    v2 = slot 2 : f32[6]
    v3 = mul v0, v1 : f32[4, 6]
    v4 = mul v3, v2 : f32[4, 6]
    v5 = sum v4 from axis 1 : f32[4]
    v6 = sum v4 before axis 1 : f32[6]
    yield v5, v6
    →
    v0 = slot 0 : f32[4, 6]
    v1 = slot 1 : f32[4, 1]
    v2 = slot 2 : f32[6]
    v5, v6 = map_5415c7ba (v0, v1, v2) scalars () over 4x6 : f32[4]
    yield v5, v6
    map_5415c7ba = map grid f32 (%0: f32 full, %1: f32 row, %2: f32 col) scalars 0
    v0 = load %0
    v1 = load %1
    v2 = mul v0, v1
    v3 = load %2
    v4 = mul v2, v3
    sum-cols v4 -> f32
    sum-rows v4 -> f32
    ");
}

/// Axes of length 1 in front do not make a column a row.
#[test]
fn a_column_between_axes_of_length_one_is_a_column() {
    let shown = check(
        run,
        &[tensor(&[1, 2, 3, 1]), tensor(&[1, 1, 3, 1])],
        |b, x| vec![b.binary(BinaryOp::Mul, x[0], x[1])],
    );
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[1, 2, 3, 1]
    v1 = slot 1 : f32[1, 1, 3, 1]
    v2 = mul v0, v1 : f32[1, 2, 3, 1]
    yield v2
    →
    v0 = slot 0 : f32[1, 2, 3, 1]
    v1 = slot 1 : f32[1, 1, 3, 1]
    v2 = map_3d38c2d5 (v0, v1) scalars () over 2x3 : f32[1, 2, 3, 1]
    yield v2
    map_3d38c2d5 = map grid f32 (%0: f32 full, %1: f32 col) scalars 0
    v0 = load %0
    v1 = load %1
    v2 = mul v0, v1
    store v2 -> f32
    ");
}

#[test]
fn different_cuts_are_different_kernels() {
    let shown = check(run, &[tensor(&[2, 3, 4])], |b, x| {
        vec![b.sum(x[0], Reduce::From(1)), b.sum(x[0], Reduce::From(2))]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[2, 3, 4]
    v1 = sum v0 from axis 1 : f32[2]
    v2 = sum v0 from axis 2 : f32[2, 3]
    yield v1, v2
    →
    v0 = slot 0 : f32[2, 3, 4]
    v1 = map_1265653f (v0) scalars () over 2x12 : f32[2]
    v2 = map_1265653f (v0) scalars () over 6x4 : f32[2, 3]
    yield v1, v2
    map_1265653f = map grid f32 (%0: f32 full) scalars 0
    v0 = load %0
    sum-cols v0 -> f32
    ");
}

#[test]
fn masks_are_part_of_the_kernels_that_choose_by_them() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let zero = b.constant(0.0);
        let square = b.binary(BinaryOp::Mul, x[0], x[0]);
        let mask = b.compare(CompareOp::Gt, square, zero);
        vec![b.select(mask, x[0], zero)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = const 0
    v2 = mul v0, v0 : f32[4]
    v3 = cmp-gt v2, v1 : mask[4]
    v4 = select v3, v0, v1 : f32[4]
    yield v4
    →
    v0 = slot 0 : f32[4]
    v1 = const 0
    v4 = map_a45e2efd (v0) scalars () over 4x1 : f32[4]
    yield v4
    map_a45e2efd = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    v1 = mul v0, v0
    v2 = const 0.0
    v3 = cmp-gt v1, v2
    v4 = select v3, v0, v2
    store v4 -> f32
    ");
}

/// The number is compared as the f32 operation would, though the kernel computes in f64.
#[test]
fn a_comparison_keeps_its_precision_in_a_wider_kernel() {
    let inputs = [tensor(&[4]), slot(DType::F64, &[4], Fact::General)];
    let shown = check(run, &inputs, |b, x| {
        let tenth = b.constant(0.1);
        let mask = b.compare(CompareOp::Gt, x[0], tenth);
        vec![b.select(mask, x[1], tenth)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = slot 1 : f64[4]
    v2 = const 0.1
    v3 = cmp-gt v0, v2 : mask[4]
    v4 = select v3, v1, v2 : f64[4]
    yield v4
    →
    v0 = slot 0 : f32[4]
    v1 = slot 1 : f64[4]
    v2 = const 0.1
    v4 = map_c3476a3e (v0, v1) scalars (v2) over 4x1 : f64[4]
    yield v4
    map_c3476a3e = map flat f64 (%0: f32 full, %1: f64 full) scalars 1
    v0 = load %0
    v1 = scalar s0
    v2 = round-f32 v1
    v3 = cmp-gt v0, v2
    v4 = load %1
    v5 = select v3, v4, v1
    store v5 -> f64
    ");
}

fn scaled_by_norm(b: &mut crate::ir::Builder, x: Value) -> Value {
    let sum = b.sum(x, Reduce::All);
    b.binary(BinaryOp::Div, x, sum)
}

#[test]
fn what_only_a_later_kernel_reads_moves_there() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let factor = hyper(b);
        let late = b.binary(BinaryOp::Mul, x[0], factor);
        let normal = scaled_by_norm(b, x[0]);
        vec![b.binary(BinaryOp::Add, late, normal)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = hyper 0
    v2 = mul v0, v1 : f32[4]
    v3 = sum v0 : f32[]
    v4 = div v0, v3 : f32[4]
    v5 = add v2, v4 : f32[4]
    yield v5
    →
    v0 = slot 0 : f32[4]
    v1 = hyper 0
    v3 = map_43c47cc0 (v0) scalars () over 4x1 : f32[]
    v5 = map_a50c54da (v0, v3) scalars (v1) over 4x1 : f32[4]
    yield v5
    map_43c47cc0 = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    sum-all v0 -> f32
    map_a50c54da = map flat f32 (%0: f32 full, %1: f32 one) scalars 1
    v0 = load %0
    v1 = scalar s0
    v2 = mul v0, v1
    v3 = load %1
    v4 = div v0, v3
    v5 = add v2, v4
    store v5 -> f32
    ");
}

#[test]
fn work_inside_a_branch_stays_there() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let outside = b.unary(UnaryOp::Abs, x[0]);
        let chosen = branch(
            b,
            |b| b.binary(BinaryOp::Add, outside, x[0]),
            |b| b.binary(BinaryOp::Sub, outside, x[0]),
        );
        vec![b.unary(UnaryOp::Sqrt, chosen)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = abs v0 : f32[4]
    v2 = step
    v3 = const 2
    v4 = host.mod v2, v3
    v7 = if v4 {
      v5 = add v1, v0 : f32[4]
      yield v5
    } else {
      v6 = sub v1, v0 : f32[4]
      yield v6
    } : f32[4]
    v8 = sqrt v7 : f32[4]
    yield v8
    →
    v0 = slot 0 : f32[4]
    v1 = map_fb8a504e (v0) scalars () over 4x1 : f32[4]
    v2 = step
    v3 = const 2
    v4 = host.mod v2, v3
    v7 = if v4 {
      v5 = map_1ec86bf4 (v1, v0) scalars () over 4x1 : f32[4]
      yield v5
    } else {
      v6 = map_974af1c8 (v1, v0) scalars () over 4x1 : f32[4]
      yield v6
    } : f32[4]
    v8 = map_7811411d (v7) scalars () over 4x1 : f32[4]
    yield v8
    map_fb8a504e = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    v1 = abs v0
    store v1 -> f32
    map_1ec86bf4 = map flat f32 (%0: f32 full, %1: f32 full) scalars 0
    v0 = load %0
    v1 = load %1
    v2 = add v0, v1
    store v2 -> f32
    map_974af1c8 = map flat f32 (%0: f32 full, %1: f32 full) scalars 0
    v0 = load %0
    v1 = load %1
    v2 = sub v0, v1
    store v2 -> f32
    map_7811411d = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    v1 = sqrt v0
    store v1 -> f32
    ");
}

/// The branch stands between two operations of one space: what comes after it cannot join what comes before.
#[test]
fn a_kernel_does_not_reach_across_what_it_feeds() {
    let shown = check(run, &[tensor(&[3, 3])], |b, x| {
        let first = b.unary(UnaryOp::Abs, x[0]);
        let product = b.matmul(first, false, x[0], false);
        let second = b.binary(BinaryOp::Add, first, product);
        vec![second]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = abs v0 : f32[3, 3]
    v2 = product v1, v0 : f32[3, 3]
    v3 = add v1, v2 : f32[3, 3]
    yield v3
    →
    v0 = slot 0 : f32[3, 3]
    v1 = map_fb8a504e (v0) scalars () over 9x1 : f32[3, 3]
    v2 = product v1, v0 : f32[3, 3]
    v3 = map_1ec86bf4 (v1, v2) scalars () over 9x1 : f32[3, 3]
    yield v3
    map_fb8a504e = map flat f32 (%0: f32 full) scalars 0
    v0 = load %0
    v1 = abs v0
    store v1 -> f32
    map_1ec86bf4 = map flat f32 (%0: f32 full, %1: f32 full) scalars 0
    v0 = load %0
    v1 = load %1
    v2 = add v0, v1
    store v2 -> f32
    ");
}

#[test]
fn inside_a_branch_only_what_leaves_it_is_stored() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let chosen = branch(
            b,
            |b| {
                let square = b.binary(BinaryOp::Mul, x[0], x[0]);
                let sum = b.binary(BinaryOp::Add, square, x[0]);
                b.unary(UnaryOp::Sqrt, sum)
            },
            |_| x[0],
        );
        vec![chosen]
    });
    assert_eq!(shown.matches("store").count(), 1, "{shown}");
}
