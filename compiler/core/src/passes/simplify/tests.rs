//! Each rule fires where it may and stays quiet where its condition fails.

use super::run;
use crate::dtype::DType;
use crate::hir::Fact;
use crate::ir::{Builder, OnFailure, OpKind, Product, TensorType, Type, Value};
use crate::kernel::BinaryOp;
use crate::passes::testing::{check, hyper, matrix, slot, tensor};
use crate::plan::HostBinary;
use insta::assert_snapshot;

#[test]
fn host_constants_fold() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let [two, three] = [2.0, 3.0].map(|x| b.constant(x));
        let six = b.push_one(OpKind::HostBinary(HostBinary::Mul, two, three), Type::Host);
        let chosen = b.push_one(OpKind::HostSelect(six, two, three), Type::Host);
        vec![
            b.binary(BinaryOp::Add, x[0], six),
            b.binary(BinaryOp::Add, x[0], chosen),
        ]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = const 2
    v2 = const 3
    v3 = host.mul v1, v2
    v4 = host.select v3, v1, v2
    v5 = add v0, v3 : f32[4]
    v6 = add v0, v4 : f32[4]
    yield v5, v6
    →
    v0 = slot 0 : f32[4]
    v1 = const 2
    v2 = const 3
    v3 = const 6
    v4 = add v0, v3 : f32[4]
    v5 = add v0, v1 : f32[4]
    yield v4, v5
    ");
}

#[test]
fn host_values_that_vary_do_not_fold() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let (two, varies) = (b.constant(2.0), hyper(b));
        let product = b.push_one(OpKind::HostBinary(HostBinary::Mul, two, varies), Type::Host);
        vec![b.binary(BinaryOp::Add, x[0], product)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = const 2
    v2 = hyper 0
    v3 = host.mul v1, v2
    v4 = add v0, v3 : f32[4]
    yield v4
    →
    v0 = slot 0 : f32[4]
    v1 = const 2
    v2 = hyper 0
    v3 = host.mul v1, v2
    v4 = add v0, v3 : f32[4]
    yield v4
    ");
}

fn host_pair(b: &mut Builder, x: Value, pairs: [(HostBinary, bool); 2]) -> Vec<Value> {
    let (one, varies) = (b.constant(1.0), hyper(b));
    let make = |(op, one_first): (HostBinary, bool)| {
        let (p, q) = if one_first {
            (one, varies)
        } else {
            (varies, one)
        };
        let host = b.push_one(OpKind::HostBinary(op, p, q), Type::Host);
        b.binary(BinaryOp::Mul, x, host)
    };
    pairs.map(make).to_vec()
}

#[test]
fn a_host_factor_of_one_goes() {
    let pairs = [(HostBinary::Mul, true), (HostBinary::Div, false)];
    let shown = check(run, &[tensor(&[4])], |b, x| host_pair(b, x[0], pairs));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = const 1
    v2 = hyper 0
    v3 = host.mul v1, v2
    v4 = mul v0, v3 : f32[4]
    v5 = host.div v2, v1
    v6 = mul v0, v5 : f32[4]
    yield v4, v6
    →
    v0 = slot 0 : f32[4]
    v1 = const 1
    v2 = hyper 0
    v3 = mul v0, v2 : f32[4]
    v4 = mul v0, v2 : f32[4]
    yield v3, v4
    ");
}

#[test]
fn one_over_a_host_value_stays() {
    let pairs = [(HostBinary::Div, true), (HostBinary::Add, false)];
    let shown = check(run, &[tensor(&[4])], |b, x| host_pair(b, x[0], pairs));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = const 1
    v2 = hyper 0
    v3 = host.div v1, v2
    v4 = mul v0, v3 : f32[4]
    v5 = host.add v2, v1
    v6 = mul v0, v5 : f32[4]
    yield v4, v6
    →
    v0 = slot 0 : f32[4]
    v1 = const 1
    v2 = hyper 0
    v3 = host.div v1, v2
    v4 = mul v0, v3 : f32[4]
    v5 = host.add v2, v1
    v6 = mul v0, v5 : f32[4]
    yield v4, v6
    ");
}

#[test]
fn a_cast_there_and_back_goes() {
    let shown = check(run, &[slot(DType::BF16, &[4], Fact::General)], |b, x| {
        let wide = b.cast(x[0], DType::F32);
        vec![b.cast(wide, DType::BF16)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : bf16[4]
    v1 = cast v0 : f32[4]
    v2 = cast v1 : bf16[4]
    yield v2
    →
    v0 = slot 0 : bf16[4]
    v1 = cast v0 : f32[4]
    yield v0
    ");
}

#[test]
fn a_cast_that_loses_bits_stays() {
    let shown = check(run, &[tensor(&[4])], |b, x| {
        let narrow = b.cast(x[0], DType::BF16);
        vec![b.cast(narrow, DType::F32)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4]
    v1 = cast v0 : bf16[4]
    v2 = cast v1 : f32[4]
    yield v2
    →
    v0 = slot 0 : f32[4]
    v1 = cast v0 : bf16[4]
    v2 = cast v1 : f32[4]
    yield v2
    ");
}

#[test]
fn reshapes_join() {
    let shown = check(run, &[tensor(&[4, 6])], |b, x| {
        let flat = b.reshape(x[0], vec![24]);
        vec![b.reshape(flat, vec![2, 12]), b.reshape(flat, vec![4, 6])]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4, 6]
    v1 = reshape v0 : f32[24]
    v2 = reshape v1 : f32[2, 12]
    v3 = reshape v1 : f32[4, 6]
    yield v2, v3
    →
    v0 = slot 0 : f32[4, 6]
    v1 = reshape v0 : f32[24]
    v2 = reshape v0 : f32[2, 12]
    yield v2, v0
    ");
}

#[test]
fn a_reshape_of_a_transpose_stays() {
    let shown = check(run, &[tensor(&[4, 6])], |b, x| {
        let turned = b.transpose(x[0]);
        vec![b.reshape(turned, vec![24])]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[4, 6]
    v1 = permute v0 [1, 0] : f32[6, 4]
    v2 = reshape v1 : f32[24]
    yield v2
    →
    v0 = slot 0 : f32[4, 6]
    v1 = permute v0 [1, 0] : f32[6, 4]
    v2 = reshape v1 : f32[24]
    yield v2
    ");
}

#[test]
fn permutations_join_or_cancel() {
    let shown = check(run, &[tensor(&[2, 3, 4])], |b, x| {
        let turned = b.permute(x[0], vec![1, 2, 0]);
        vec![
            b.permute(turned, vec![1, 2, 0]),
            b.permute(turned, vec![2, 0, 1]),
        ]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[2, 3, 4]
    v1 = permute v0 [1, 2, 0] : f32[3, 4, 2]
    v2 = permute v1 [1, 2, 0] : f32[4, 2, 3]
    v3 = permute v1 [2, 0, 1] : f32[2, 3, 4]
    yield v2, v3
    →
    v0 = slot 0 : f32[2, 3, 4]
    v1 = permute v0 [1, 2, 0] : f32[3, 4, 2]
    v2 = permute v0 [2, 0, 1] : f32[4, 2, 3]
    yield v2, v0
    ");
}

#[test]
fn a_permutation_that_moves_nothing_is_a_reshape_at_most() {
    let shown = check(run, &[tensor(&[2, 3]), tensor(&[2, 1, 3])], |b, x| {
        vec![b.permute(x[0], vec![0, 1]), b.permute(x[1], vec![1, 0, 2])]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[2, 3]
    v1 = slot 1 : f32[2, 1, 3]
    v2 = permute v0 [0, 1] : f32[2, 3]
    v3 = permute v1 [1, 0, 2] : f32[1, 2, 3]
    yield v2, v3
    →
    v0 = slot 0 : f32[2, 3]
    v1 = slot 1 : f32[2, 1, 3]
    v2 = reshape v1 : f32[1, 2, 3]
    yield v0, v2
    ");
}

#[test]
fn products_take_transposes_in() {
    let shown = check(run, &[tensor(&[2, 3, 4]), tensor(&[2, 3, 5])], |b, x| {
        let turned = b.transpose(x[0]);
        vec![
            b.matmul(turned, false, x[1], false),
            b.matmul(x[1], true, turned, true),
        ]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[2, 3, 4]
    v1 = slot 1 : f32[2, 3, 5]
    v2 = permute v0 [0, 2, 1] : f32[2, 4, 3]
    v3 = product v2, v1 : f32[2, 4, 5]
    v4 = product v1', v2' : f32[2, 5, 4]
    yield v3, v4
    →
    v0 = slot 0 : f32[2, 3, 4]
    v1 = slot 1 : f32[2, 3, 5]
    v2 = permute v0 [0, 2, 1] : f32[2, 4, 3]
    v3 = product v0', v1 : f32[2, 4, 5]
    v4 = product v1', v0 : f32[2, 5, 4]
    yield v3, v4
    ");
}

#[test]
fn products_leave_other_permutations() {
    let shown = check(run, &[tensor(&[2, 3, 4]), tensor(&[3, 4, 5])], |b, x| {
        let turned = b.permute(x[0], vec![1, 0, 2]);
        vec![b.matmul(turned, false, x[1], false)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[2, 3, 4]
    v1 = slot 1 : f32[3, 4, 5]
    v2 = permute v0 [1, 0, 2] : f32[3, 2, 4]
    v3 = product v2, v1 : f32[3, 2, 5]
    yield v3
    →
    v0 = slot 0 : f32[2, 3, 4]
    v1 = slot 1 : f32[3, 4, 5]
    v2 = permute v0 [1, 0, 2] : f32[3, 2, 4]
    v3 = product v2, v1 : f32[3, 2, 5]
    yield v3
    ");
}

#[test]
fn a_symmetric_matrix_needs_no_transpose() {
    let shown = check(
        run,
        &[matrix(&[3, 3], Fact::Symmetric), tensor(&[3, 3])],
        |b, x| vec![b.matmul(x[0], true, x[1], true)],
    );
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = product v0', v1' : f32[3, 3]
    yield v2
    →
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = product v0, v1' : f32[3, 3]
    yield v2
    ");
}

#[test]
fn factors_leave_a_product() {
    let shown = check(run, &[tensor(&[3, 3]), tensor(&[3, 3])], |b, x| {
        let factor = hyper(b);
        let scaled = b.binary(BinaryOp::Mul, x[0], factor);
        let also = b.binary(BinaryOp::Mul, factor, x[1]);
        vec![b.matmul(scaled, false, also, true)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = hyper 0
    v3 = mul v0, v2 : f32[3, 3]
    v4 = mul v2, v1 : f32[3, 3]
    v5 = product v3, v4' : f32[3, 3]
    yield v5
    →
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = hyper 0
    v3 = mul v0, v2 : f32[3, 3]
    v4 = mul v2, v1 : f32[3, 3]
    v5 = host.mul v2, v2
    v6 = v5 product v0, v1' : f32[3, 3]
    yield v6
    ");
}

#[test]
fn tensors_are_no_factors() {
    let shown = check(run, &[tensor(&[3, 3]), tensor(&[3, 3])], |b, x| {
        let scaled = b.binary(BinaryOp::Mul, x[0], x[1]);
        vec![b.matmul(scaled, false, x[1], false)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = mul v0, v1 : f32[3, 3]
    v3 = product v2, v1 : f32[3, 3]
    yield v3
    →
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = mul v0, v1 : f32[3, 3]
    v3 = product v2, v1 : f32[3, 3]
    yield v3
    ");
}

/// There with `q`, back with `p`.
fn rotation(b: &mut Builder, x: Value, [q, p]: [Value; 2], back: bool) -> Vec<Value> {
    let there = b.contract(x, q, 0, false);
    vec![b.contract(there, p, 0, back)]
}

#[test]
fn a_rotation_there_and_back_goes() {
    let inputs = [tensor(&[3, 4]), matrix(&[3, 3], Fact::Orthogonal)];
    let shown = check(run, &inputs, |b, x| rotation(b, x[0], [x[1], x[1]], true));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = contract v0 mode 0 with v1 : f32[3, 4]
    v3 = contract v2 mode 0 with v1' : f32[3, 4]
    yield v3
    →
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = contract v0 mode 0 with v1 : f32[3, 4]
    yield v0
    ");
}

#[test]
fn modes_commute_on_the_way_back() {
    let orthogonal = |n| matrix(&[n, n], Fact::Orthogonal);
    let shown = check(
        run,
        &[tensor(&[3, 4]), orthogonal(3), orthogonal(4)],
        |b, x| {
            let rows = b.contract(x[0], x[1], 0, false);
            let both = b.contract(rows, x[2], 1, false);
            vec![b.contract(both, x[1], 0, true)]
        },
    );
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[4, 4]
    v3 = contract v0 mode 0 with v1 : f32[3, 4]
    v4 = contract v3 mode 1 with v2 : f32[3, 4]
    v5 = contract v4 mode 0 with v1' : f32[3, 4]
    yield v5
    →
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[4, 4]
    v3 = contract v0 mode 0 with v1 : f32[3, 4]
    v4 = contract v3 mode 1 with v2 : f32[3, 4]
    v5 = contract v0 mode 1 with v2 : f32[3, 4]
    yield v5
    ");
}

#[test]
fn a_matrix_that_is_not_orthogonal_does_not_cancel() {
    let shown = check(run, &[tensor(&[3, 4]), tensor(&[3, 3])], |b, x| {
        rotation(b, x[0], [x[1], x[1]], true)
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = contract v0 mode 0 with v1 : f32[3, 4]
    v3 = contract v2 mode 0 with v1' : f32[3, 4]
    yield v3
    →
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = contract v0 mode 0 with v1 : f32[3, 4]
    v3 = contract v2 mode 0 with v1' : f32[3, 4]
    yield v3
    ");
}

#[test]
fn a_rotation_twice_the_same_way_stays() {
    let inputs = [tensor(&[3, 4]), matrix(&[3, 3], Fact::Orthogonal)];
    let shown = check(run, &inputs, |b, x| rotation(b, x[0], [x[1], x[1]], false));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = contract v0 mode 0 with v1 : f32[3, 4]
    v3 = contract v2 mode 0 with v1 : f32[3, 4]
    yield v3
    →
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = contract v0 mode 0 with v1 : f32[3, 4]
    v3 = contract v2 mode 0 with v1 : f32[3, 4]
    yield v3
    ");
}

#[test]
fn another_basis_does_not_cancel() {
    let orthogonal = matrix(&[3, 3], Fact::Orthogonal);
    let inputs = [tensor(&[3, 4]), orthogonal.clone(), orthogonal];
    let shown = check(run, &inputs, |b, x| rotation(b, x[0], [x[1], x[2]], true));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[3, 3]
    v3 = contract v0 mode 0 with v1 : f32[3, 4]
    v4 = contract v3 mode 0 with v2' : f32[3, 4]
    yield v4
    →
    v0 = slot 0 : f32[3, 4]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[3, 3]
    v3 = contract v0 mode 0 with v1 : f32[3, 4]
    v4 = contract v3 mode 0 with v2' : f32[3, 4]
    yield v4
    ");
}

/// Q of a decomposition that keeps `keep` when it fails.
fn kept_q(b: &mut Builder, x: Value, keep: Value) -> Value {
    let on_failure = OnFailure {
        retry_f64: false,
        nan: false,
        keep: Some(keep),
    };
    let ty = b.function.ty(x).clone();
    b.push(OpKind::Qr { x, on_failure }, vec![ty.clone(), ty])[0]
}

#[test]
fn q_is_orthogonal_if_what_it_may_keep_is() {
    let inputs = [tensor(&[3, 3]), matrix(&[3, 3], Fact::Orthogonal)];
    let shown = check(run, &inputs, |b, x| {
        let q = kept_q(b, x[0], x[1]);
        rotation(b, x[0], [q, q], true)
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2, v3 = qr v0 or keep v1 : f32[3, 3]
    v4 = contract v0 mode 0 with v2 : f32[3, 3]
    v5 = contract v4 mode 0 with v2' : f32[3, 3]
    yield v5
    →
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2, v3 = qr v0 or keep v1 : f32[3, 3]
    v4 = contract v0 mode 0 with v2 : f32[3, 3]
    yield v0
    ");
}

#[test]
fn q_is_not_known_to_be_orthogonal_if_what_it_may_keep_is_not() {
    let shown = check(run, &[tensor(&[3, 3]), tensor(&[3, 3])], |b, x| {
        let q = kept_q(b, x[0], x[1]);
        rotation(b, x[0], [q, q], true)
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2, v3 = qr v0 or keep v1 : f32[3, 3]
    v4 = contract v0 mode 0 with v2 : f32[3, 3]
    v5 = contract v4 mode 0 with v2' : f32[3, 3]
    yield v5
    →
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2, v3 = qr v0 or keep v1 : f32[3, 3]
    v4 = contract v0 mode 0 with v2 : f32[3, 3]
    v5 = contract v4 mode 0 with v2' : f32[3, 3]
    yield v5
    ");
}

/// `x` in the order of its first input.
fn sorted(b: &mut Builder, key: Value, x: Value, axis: u32) -> Value {
    let dims = b.function.dims(key).to_vec();
    let ty = Type::Tensor(TensorType {
        dtype: DType::I64,
        dims,
    });
    let index = b.push_one(
        OpKind::Argsort {
            x: key,
            descending: true,
        },
        ty,
    );
    let ty = b.function.ty(x).clone();
    b.push_one(OpKind::Gather { x, axis, index }, ty)
}

#[test]
fn columns_are_sorted_after_the_product() {
    let shown = check(
        run,
        &[tensor(&[3]), tensor(&[3, 3]), tensor(&[3, 3])],
        |b, x| {
            let columns = sorted(b, x[0], x[2], 1);
            vec![b.matmul(x[1], false, columns, false)]
        },
    );
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[3, 3]
    v3 = argsort v0 descending : i64[3]
    v4 = gather v2 axis 1 by v3 : f32[3, 3]
    v5 = product v1, v4 : f32[3, 3]
    yield v5
    →
    v0 = slot 0 : f32[3]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[3, 3]
    v3 = argsort v0 descending : i64[3]
    v4 = gather v2 axis 1 by v3 : f32[3, 3]
    v5 = product v1, v2 : f32[3, 3]
    v6 = gather v5 axis 1 by v3 : f32[3, 3]
    yield v6
    ");
}

#[test]
fn rows_are_sorted_before_the_product() {
    let shown = check(
        run,
        &[tensor(&[3]), tensor(&[3, 3]), tensor(&[3, 3])],
        |b, x| {
            let rows = sorted(b, x[0], x[2], 0);
            vec![b.matmul(x[1], false, rows, false)]
        },
    );
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[3, 3]
    v3 = argsort v0 descending : i64[3]
    v4 = gather v2 axis 0 by v3 : f32[3, 3]
    v5 = product v1, v4 : f32[3, 3]
    yield v5
    →
    v0 = slot 0 : f32[3]
    v1 = slot 1 : f32[3, 3]
    v2 = slot 2 : f32[3, 3]
    v3 = argsort v0 descending : i64[3]
    v4 = gather v2 axis 0 by v3 : f32[3, 3]
    v5 = product v1, v4 : f32[3, 3]
    yield v5
    ");
}

/// `(b A + c A A) x` with `A = g g'`.
fn polynomial(b: &mut Builder, g: Value, x: Value) -> Vec<Value> {
    let a = b.matmul(g, false, g, true);
    let square = b.matmul(a, false, a, false);
    let (first, second) = (hyper(b), b.constant(2.0));
    let first = b.binary(BinaryOp::Mul, first, a);
    let second = b.binary(BinaryOp::Mul, second, square);
    let sum = b.binary(BinaryOp::Add, first, second);
    vec![b.matmul(sum, false, x, false)]
}

#[test]
fn a_polynomial_of_a_tall_matrix_works_on_its_short_side() {
    let shown = check(run, &[tensor(&[8, 2])], |b, x| polynomial(b, x[0], x[0]));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[8, 2]
    v1 = product v0, v0' : f32[8, 8]
    v2 = product v1, v1 : f32[8, 8]
    v3 = hyper 0
    v4 = const 2
    v5 = mul v3, v1 : f32[8, 8]
    v6 = mul v4, v2 : f32[8, 8]
    v7 = add v5, v6 : f32[8, 8]
    v8 = product v7, v0 : f32[8, 2]
    yield v8
    →
    v0 = slot 0 : f32[8, 2]
    v1 = product v0, v0' : f32[8, 8]
    v2 = product v1, v1 : f32[8, 8]
    v3 = hyper 0
    v4 = const 2
    v5 = mul v3, v1 : f32[8, 8]
    v6 = mul v4, v2 : f32[8, 8]
    v7 = add v5, v6 : f32[8, 8]
    v8 = product v0', v0 : f32[2, 2]
    v9 = mul v3, v8 : f32[2, 2]
    v10 = product v8, v8 : f32[2, 2]
    v11 = mul v4, v10 : f32[2, 2]
    v12 = add v9, v11 : f32[2, 2]
    v13 = product v0, v12 : f32[8, 2]
    yield v13
    ");
}

#[test]
fn a_polynomial_of_a_wide_matrix_stays() {
    let shown = check(run, &[tensor(&[2, 8])], |b, x| polynomial(b, x[0], x[0]));
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[2, 8]
    v1 = product v0, v0' : f32[2, 2]
    v2 = product v1, v1 : f32[2, 2]
    v3 = hyper 0
    v4 = const 2
    v5 = mul v3, v1 : f32[2, 2]
    v6 = mul v4, v2 : f32[2, 2]
    v7 = add v5, v6 : f32[2, 2]
    v8 = product v7, v0 : f32[2, 8]
    yield v8
    →
    v0 = slot 0 : f32[2, 8]
    v1 = product v0, v0' : f32[2, 2]
    v2 = product v1, v1 : f32[2, 2]
    v3 = hyper 0
    v4 = const 2
    v5 = mul v3, v1 : f32[2, 2]
    v6 = mul v4, v2 : f32[2, 2]
    v7 = add v5, v6 : f32[2, 2]
    v8 = product v7, v0 : f32[2, 8]
    yield v8
    ");
}

#[test]
fn a_polynomial_of_another_matrix_stays() {
    let shown = check(run, &[tensor(&[8, 2]), tensor(&[8, 2])], |b, x| {
        polynomial(b, x[0], x[1])
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[8, 2]
    v1 = slot 1 : f32[8, 2]
    v2 = product v0, v0' : f32[8, 8]
    v3 = product v2, v2 : f32[8, 8]
    v4 = hyper 0
    v5 = const 2
    v6 = mul v4, v2 : f32[8, 8]
    v7 = mul v5, v3 : f32[8, 8]
    v8 = add v6, v7 : f32[8, 8]
    v9 = product v8, v1 : f32[8, 2]
    yield v9
    →
    v0 = slot 0 : f32[8, 2]
    v1 = slot 1 : f32[8, 2]
    v2 = product v0, v0' : f32[8, 8]
    v3 = product v2, v2 : f32[8, 8]
    v4 = hyper 0
    v5 = const 2
    v6 = mul v4, v2 : f32[8, 8]
    v7 = mul v5, v3 : f32[8, 8]
    v8 = add v6, v7 : f32[8, 8]
    v9 = product v8, v1 : f32[8, 2]
    yield v9
    ");
}

fn diag(b: &mut Builder, x: Value) -> Value {
    let (dtype, dims) = b.parts(x);
    b.push_one(
        OpKind::Diag(x),
        Type::Tensor(TensorType {
            dtype,
            dims: vec![dims[0]],
        }),
    )
}

#[test]
fn the_diagonal_of_a_product_is_sums_of_columns() {
    let inputs = [tensor(&[3, 3]), matrix(&[3, 3], Fact::Symmetric)];
    let shown = check(run, &inputs, |b, x| {
        let left = b.matmul(x[0], true, x[1], false);
        let rotated = b.matmul(left, false, x[0], false);
        vec![diag(b, rotated)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = product v0', v1 : f32[3, 3]
    v3 = product v2, v0 : f32[3, 3]
    v4 = diag v3 : f32[3]
    yield v4
    →
    v0 = slot 0 : f32[3, 3]
    v1 = slot 1 : f32[3, 3]
    v2 = product v0', v1 : f32[3, 3]
    v3 = product v2, v0 : f32[3, 3]
    v4 = product v1, v0 : f32[3, 3]
    v5 = mul v4, v0 : f32[3, 3]
    v6 = sum v5 before axis 1 : f32[3]
    yield v6
    ");
}

#[test]
fn the_diagonal_of_a_sum_stays() {
    let shown = check(run, &[tensor(&[3, 3])], |b, x| {
        let left = b.matmul(x[0], true, x[0], false);
        let plain = Product {
            a: left,
            ta: false,
            b: x[0],
            tb: false,
            alpha: None,
            added: Some((x[0], None)),
        };
        let sum = b.product(plain);
        vec![diag(b, sum)]
    });
    assert_snapshot!(shown, @"
    v0 = slot 0 : f32[3, 3]
    v1 = product v0', v0 : f32[3, 3]
    v2 = product v1, v0 plus v0 : f32[3, 3]
    v3 = diag v2 : f32[3]
    yield v3
    →
    v0 = slot 0 : f32[3, 3]
    v1 = product v0', v0 : f32[3, 3]
    v2 = product v1, v0 plus v0 : f32[3, 3]
    v3 = diag v2 : f32[3]
    yield v3
    ");
}
