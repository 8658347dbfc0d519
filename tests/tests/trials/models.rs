//! Pieces of models written by hand.

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

/// f of the eigenvalues of a symmetric matrix with `n` rows, by Jacobi's rotations.
pub(crate) fn of_eigenvalues(a: &[f64], n: usize, f: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut a = a.to_vec();
    let mut q: Vec<f64> = (0..n * n).map(|at| f64::from(at / n == at % n)).collect();
    for _ in 0..30 {
        for i in 0..n {
            for j in i + 1..n {
                rotate(&mut a, &mut q, n, (i, j));
            }
        }
    }
    let scaled: Vec<f64> = (0..n * n)
        .map(|at| q[at] * f(a[at % n * (n + 1)]))
        .collect();
    times(&scaled, &turned(&q, n), n, n)
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
