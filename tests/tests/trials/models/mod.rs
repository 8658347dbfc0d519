//! Models written by hand, in plain f64 loops, and their pieces.

pub(crate) mod optimizers;

pub(crate) fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// `a b` of matrices, row by row: `a` has `k` columns and `b` has `cols`.
pub(crate) fn times(a: &[f64], b: &[f64], k: usize, cols: usize) -> Vec<f64> {
    let entry = |at: usize| {
        (0..k)
            .map(|l| a[at / cols * k + l] * b[l * cols + at % cols])
            .sum()
    };
    (0..a.len() / k * cols).map(entry).collect()
}

/// A matrix with `n` columns, turned.
pub(crate) fn turned(a: &[f64], n: usize) -> Vec<f64> {
    let m = a.len() / n;
    (0..m * n).map(|at| a[at % m * n + at / m]).collect()
}

/// Five turns of Keller Jordan's iteration on a matrix with `n` columns.
pub(crate) fn iterate(mut y: Vec<f64>, n: usize) -> Vec<f64> {
    let m = y.len() / n;
    for _ in 0..5 {
        let s = times(&y, &turned(&y, n), n, m);
        let squared = times(&s, &s, m, m);
        let mixed: Vec<f64> = s
            .iter()
            .zip(&squared)
            .map(|(s, t)| -4.7750 * s + 2.0315 * t)
            .collect();
        let moved = times(&mixed, &y, m, n);
        y = y.iter().zip(&moved).map(|(y, z)| 3.4445 * y + z).collect();
    }
    y
}

/// f of the eigenvalues of a symmetric matrix with `n` rows.
pub(crate) fn of_eigenvalues(a: &[f64], n: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let (values, q) = eigen(a, n);
    let scaled: Vec<f64> = (0..n * n).map(|at| q[at] * f(values[at % n])).collect();
    times(&scaled, &turned(&q, n), n, n)
}

/// Eigenvalues of a symmetric matrix with `n` rows, and its eigenvectors as columns, by Jacobi's rotations.
pub(crate) fn eigen(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = a.to_vec();
    let mut q = identity(n, 1.0);
    for _ in 0..30 {
        for i in 0..n {
            for j in i + 1..n {
                rotate(&mut a, &mut q, n, (i, j));
            }
        }
    }
    (diagonal(&a, n), q)
}

/// A multiple of the identity with `n` rows.
pub(crate) fn identity(n: usize, by: f64) -> Vec<f64> {
    let entry = |at: usize| if at / n == at % n { by } else { 0.0 };
    (0..n * n).map(entry).collect()
}

pub(crate) fn diagonal(a: &[f64], n: usize) -> Vec<f64> {
    (0..n).map(|i| a[i * (n + 1)]).collect()
}

/// Positions of the largest value, of the second, and so on.
pub(crate) fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
    order
}

/// The columns of a matrix in another order.
pub(crate) fn columns(a: &[f64], order: &[usize]) -> Vec<f64> {
    let n = order.len();
    (0..a.len())
        .map(|at| a[at / n * n + order[at % n]])
        .collect()
}

/// The columns of a square matrix made orthonormal one after the other, by Gram and Schmidt.
pub(crate) fn orthonormal(a: &[f64], n: usize) -> Vec<f64> {
    let mut rows = turned(a, n);
    for i in 0..n {
        let (done, rest) = rows.split_at_mut(i * n);
        let own = &mut rest[..n];
        for other in done.chunks(n) {
            let shadow: f64 = own.iter().zip(other).map(|(x, y)| x * y).sum();
            own.iter_mut()
                .zip(other)
                .for_each(|(x, y)| *x -= shadow * y);
        }
        let length = norm(own);
        own.iter_mut().for_each(|x| *x /= length);
    }
    turned(&rows, n)
}

/// Turns two axes so that their entry vanishes.
fn rotate(a: &mut [f64], q: &mut [f64], n: usize, (i, j): (usize, usize)) {
    let angle = 0.5 * (2.0 * a[i * n + j]).atan2(a[j * n + j] - a[i * n + i]);
    let (sin, cos) = angle.sin_cos();
    let turn = |x: &mut [f64], step: usize, apart: usize| {
        for k in 0..n {
            let (u, v) = (x[i * apart + k * step], x[j * apart + k * step]);
            x[i * apart + k * step] = cos * u - sin * v;
            x[j * apart + k * step] = sin * u + cos * v;
        }
    };
    turn(a, 1, n);
    turn(a, n, 1);
    turn(q, n, 1);
}
