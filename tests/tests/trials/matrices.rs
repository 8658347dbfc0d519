//! Diagonals, products along a mode, functions of symmetric matrices.

use optc_tests::trial::Trial;

/// A body for one square matrix, `grad` a constant.
#[track_caller]
fn square(body: &str, start: &[f64], grad: &[f64], expected: &[f64]) {
    let text = format!(
        "use std.roots.inverse_root\noptimizer Shown {{ rule each(w: [n, n]) {{\n{body}\n}} }}"
    );
    let n = start.len().isqrt() as u64;
    Trial::given(&text, &[n, n], start, &[grad]).ends_at(expected, 1e-12);
}

const ONES: [f64; 4] = [1.0; 4];

#[test]
fn a_diagonal_matrix_scales_columns_or_rows() {
    let w = [5.0, 7.0, 7.0, 10.0];
    let of = |product: &str| format!("let d = diag(diag(w))\nw = {product} + 0 * grad");
    square(&of("grad * d"), &w, &ONES, &[5.0, 10.0, 5.0, 10.0]);
    square(&of("d * grad"), &w, &ONES, &[5.0, 5.0, 10.0, 10.0]);
    square(&of("d * d + d"), &w, &ONES, &[30.0, 0.0, 0.0, 110.0]);
    square(&of("d + identity(n)"), &w, &ONES, &[6.0, 0.0, 0.0, 11.0]);
}

#[test]
fn an_infinite_entry_leaves_the_zeros_alone() {
    let w = [1.0, 0.0, 0.0, 1.0];
    let body = "w = select(diag(diag(grad) / 0) > 1, 7, diag(diag(w)))";
    square(body, &w, &[1.0, 2.0, 3.0, 0.5], &[7.0, 0.0, 0.0, 7.0]);
}

#[test]
fn an_inverse_root_of_a_known_matrix() {
    // Eigenvalues 1 and 16 along (1, 1) and (1, -1).
    let a = [8.5, -7.5, -7.5, 8.5];
    let root = "w = inverse_root(gram(grad), 2) + 0 * w";
    square(
        root,
        &a,
        &a,
        &[8.5 / 16.0, 7.5 / 16.0, 7.5 / 16.0, 8.5 / 16.0],
    );
}

#[test]
fn along_multiplies_one_mode() {
    let text = "optimizer Shown { rule each(w: [...]) {
        modes i of w { state turn[i]: [dim(w, i), dim(w, i)] = 0 }
        each i { turn[i] = gram(w, i) }
        var x = grad
        each i { x = along(x, i, turn[i]) }
        w = x
    } }";
    // L = w w', R = w' w; L grad R' by hand.
    let run = Trial::given(
        text,
        &[2, 2],
        &[1.0, 2.0, 0.0, 1.0],
        &[&[1.0, 0.0, 0.0, 2.0]],
    );
    // L = [5 2; 2 1], R = [1 2; 2 5]
    run.ends_at(&[5.0 + 8.0, 10.0 + 20.0, 2.0 + 4.0, 4.0 + 10.0], 1e-12);
}

#[test]
fn a_rotation_leaves_one_mode_alone() {
    let text = "optimizer Shown { rule each(w: [...]) {
        modes i of w { state turn[i]: [dim(w, i), dim(w, i)] = 0 }
        each i { turn[i] = gram(w, i) }
        each i { w += rotate(grad, turn, but: i) }
    } }";
    let run = Trial::given(
        text,
        &[2, 2],
        &[1.0, 2.0, 0.0, 1.0],
        &[&[1.0, 0.0, 0.0, 2.0]],
    );
    // L = [5 2; 2 1], R = [1 2; 2 5]; grad R + L grad.
    run.ends_at(
        &[
            1.0 + 1.0 + 5.0,
            2.0 + 2.0 + 4.0,
            4.0 + 2.0,
            1.0 + 10.0 + 2.0,
        ],
        1e-12,
    );
}

#[test]
fn axes_in_another_order() {
    let text = "optimizer Shown { rule each(w: [n, n, n]) {
        w = permute(w, (2, 0, 1)) + 10 * permute(permute(grad, (2, 0, 1)), (1, 2, 0))
    } }";
    let run = Trial::given(
        text,
        &[2, 2, 2],
        &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        &[&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]],
    );
    run.ends_at(&[10.0, 2.0, 4.0, 6.0, 1.0, 3.0, 25.0, 7.0], 1e-12);
}

#[test]
fn a_stack_is_made_orthonormal_matrix_by_matrix() {
    // Columns in the directions of (3, 4) and of an axis; signs as the reflections leave them, so squares are compared.
    let text = "optimizer Shown { rule each(w: [a, m, n]) {
        let q = orthonormal(w + 0 * grad)
        w = q .* q
    } }";
    let run = Trial::given(text, &[2, 2, 1], &[3.0, 4.0, 0.0, 2.0], &[&[0.0; 4]]);
    run.ends_at(&[0.36, 0.64, 0.0, 1.0], 1e-12);
    let empty = Trial::given(text, &[0, 2, 1], &[], &[&[]]);
    empty.ends_at(&[], 0.0);
}

#[test]
fn a_remainder_has_the_sign_of_the_divisor() {
    let text = "optimizer Shown { rule each(w: [...]) {
        if step == 1 or mod(step, 3) == 0 { w += 1 }
        w += 100 * mod(step, 4) + 10000 * mod(-step, 4) + 0 * grad
    } }";
    let grads: [&[f64]; 4] = [&[0.0]; 4];
    let run = Trial::given(text, &[1], &[0.0], &grads);
    run.ends_at(&[2.0 + 600.0 + 60000.0], 1e-15);
}

/// A body for one matrix of two rows and three columns.
#[track_caller]
fn wide(body: &str, start: &[f64], grad: &[f64], expected: &[f64]) {
    let text = format!("optimizer Shown {{ rule each(w: [m, n]) {{\n{body}\n}} }}");
    Trial::given(&text, &[2, 3], start, &[grad]).ends_at(expected, 1e-12);
}

#[test]
fn singular_vectors_put_a_matrix_together_again() {
    let x = [1.0, 2.0, -3.0, 0.5, 4.0, 1.0];
    let whole = "let f = svd(grad)\nw = f.u * diag(f.s) * f.v'";
    wide(whole, &x, &x, &x);
    let more = "let f = svd(grad, rank: 5)\nw = f.u * diag(f.s) * f.v'";
    wide(more, &x, &x, &x);
}

#[test]
fn the_largest_singular_value_comes_first() {
    // Rank one of a matrix whose rows are orthogonal: its longer row.
    let x = [3.0, 0.0, 0.0, 0.0, 4.0, 0.0];
    let first = "let f = svd(grad, rank: 1)\nw = f.u * diag(f.s) * f.v'";
    wide(first, &x, &x, &[0.0, 0.0, 0.0, 0.0, 4.0, 0.0]);
}

#[test]
fn a_failure_anywhere_keeps_the_old_state() {
    let text = "use std.roots.inverse_root
    fn half(a: sym[n]) -> [n, n] { 0.5 * (cholesky(a) * cholesky(a)') }
    optimizer Shown { rule each(w: [n, n]) {
        state root:   [n, n] = identity
        state factor: [n, n] = identity
        state values: [n] = 7
        root   = inverse_root(gram(grad) - identity(n), 2) or retry f64 or keep
        factor = half(gram(grad) - 2 * identity(n)) or keep
        values = eigh(grad / 0).values or keep
        w = root + factor + diag(values)
    } }";
    // The second gradient's Gram matrix is 0 once the identity is subtracted, indefinite once 2 is, and the gradient is
    // not finite once divided.
    let run = Trial::given(
        text,
        &[2, 2],
        &[0.0; 4],
        &[&[6f64.sqrt(), 0.0, 0.0, 6f64.sqrt()], &[1.0, 0.0, 0.0, 1.0]],
    );
    let kept = 5f64.sqrt().recip() + 2.0 + 7.0;
    run.ends_at(&[kept, 0.0, 0.0, kept], 1e-12);
}

#[test]
fn triangular_systems_from_either_side() {
    let grad = [2.0, 9.0, 6.0, 4.0];
    let w = [1.0, 2.0, 3.0, 4.0];
    // What is solved is `w` times a triangle: the rule gives `w` back.
    let gives_back = |solved: &str| {
        let text = format!(
            "let l = tril(grad)
            let u = triu(grad)
            let v = l - diag(diag(grad)) + identity(n)
            w = solve_triangular({solved})"
        );
        square(&text, &w, &grad, &w);
    };
    gives_back("l, l * w");
    gives_back("u, u * w");
    gives_back("l, w * l, side: right");
    gives_back("u, w * u, side: right, triangle: upper");
    gives_back("l, l' * w, transposed: true");
    gives_back("u, w * u', side: right, transposed: true");
    gives_back("l, v * w, unit: true");
    gives_back("l, w * v', side: right, transposed: true, unit: n == 2");
    // Of a matrix that is not known to be triangular one half is read.
    gives_back("grad, l * w, triangle: lower");
    gives_back("grad, w * u', side: right, triangle: upper, transposed: true");
    gives_back("diag(diag(grad)), diag(diag(grad)) * w, triangle: upper");
}

#[test]
fn failures_in_a_row_are_counted() {
    let text = "optimizer Shown { rule each(w: [n, n]) {
        state root: [n, n] = 0
        state whole: [n, n] = 0
        root  = cholesky(gram(grad) - identity(n)) or retry f64 or keep at most 2 times
        whole = 2 * cholesky(gram(grad) - identity(n)) or keep at most n times
        w += root + whole
    } }";
    // The identity less itself is no positive matrix: kept twice, then twice again after a success.
    let (good, bad) = ([2f64.sqrt(), 0.0, 0.0, 2f64.sqrt()], [1.0, 0.0, 0.0, 1.0]);
    let run = Trial::given(
        text,
        &[2, 2],
        &[0.0; 4],
        &[&good, &bad, &bad, &good, &bad, &bad],
    );
    run.ends_at(&[18.0, 0.0, 0.0, 18.0], 1e-12);
}

#[test]
fn triangles() {
    let x = [1.0, 2.0, 3.0, 4.0];
    square("w = triu(grad)", &x, &x, &[1.0, 2.0, 0.0, 4.0]);
    square("w = tril(grad) + 0 * w", &x, &x, &[1.0, 0.0, 3.0, 4.0]);
}

#[test]
fn a_diagonal_along_a_mode_scales_it() {
    let text = "optimizer Shown { rule each(w: [...]) {
        modes i of w { state sizes[i]: [dim(w, i)] = 0 }
        each i { sizes[i] = diag(gram(grad, i)) }
        var x = w
        each i { x = along(x, i, diag(sizes[i])) }
        w = x
    } }";
    // Row sums of squares 14 and 77; column sums 17, 29, 45.
    let run = Trial::given(text, &[2, 3], &[1.0; 6], &[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]);
    let expected = [14.0, 77.0].map(|row| [17.0, 29.0, 45.0].map(|col| row * col));
    run.ends_at(expected.as_flattened(), 1e-12);
}

#[test]
fn orthonormal_columns_span_the_same() {
    // The projection onto the columns is the same for every basis of them.
    let x = [3.0, 0.0, 4.0, 5.0];
    square(
        "let q = orthonormal(grad)\nw = q * q'",
        &x,
        &x,
        &[1.0, 0.0, 0.0, 1.0],
    );
    let tall = "let q = orthonormal(grad')\nw = grad * q * q'";
    let y = [1.0, 2.0, -3.0, 0.5, 4.0, 1.0];
    wide(tall, &y, &y, &y);
    let more = "let q = orthonormal(grad)\nw = q * q' * grad";
    wide(more, &y, &y, &y);
}

/// Lengths that are the smaller of two are one, however they are asked for; rows and columns are vectors too.
#[test]
fn shapes_of_factors_and_lines() {
    let text = "optimizer Shown { rule each(w: [m, n]) {
        state left: [m, min(m, n)] = 0
        state rows: [m] = 0
        left = qr(grad).q
        rows = flatten(row_sums(grad^2), from: 0)
        let line = diag(row_sums(grad)) * w
        w = line + left * left' * grad + 0 * diag(rows) * w
    } }";
    for (dims, w, grad) in [
        (
            vec![2, 2],
            vec![1.0, 2.0, 3.0, 4.0],
            vec![2.0, 0.0, 0.0, 5.0],
        ),
        (vec![1, 2], vec![1.0, 2.0], vec![3.0, 4.0]),
        (vec![2, 1], vec![1.0, 2.0], vec![3.0, 4.0]),
    ] {
        let cols = dims[1] as usize;
        let sum = |at: usize| grad[at / cols * cols..][..cols].iter().sum::<f64>();
        let expected: Vec<f64> = (0..w.len()).map(|at| sum(at) * w[at] + grad[at]).collect();
        Trial::given(text, &dims, &w, &[&grad]).ends_at(&expected, 1e-12);
    }
}

/// A scalar is one element in a row.
#[test]
fn a_scalar_is_flattened() {
    let text = "optimizer Shown { rule each(w: [...]) {
        let flat = flatten(grad, from: 0)
        w -= sum(gather(flat, 0, top_k(flat, 1))) + 0 * w
    } }";
    Trial::given(text, &[], &[5.0], &[&[2.0]]).ends_at(&[3.0], 0.0);
    Trial::given(text, &[3], &[5.0, 6.0, 7.0], &[&[1.0, 4.0, 2.0]]).ends_at(&[1.0, 2.0, 3.0], 0.0);
}
