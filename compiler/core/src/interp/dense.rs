//! Dense matrices in f64: products and factorizations, shared by the interpreter and the evaluator of plans.
//!
//! A factorization of a matrix that is not finite fails, and so does one that does not exist.

use faer::{Mat, Side};

/// A dense matrix, row-major.
pub(crate) struct Dense {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) data: Vec<f64>,
}

impl Dense {
    pub(crate) fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j]
    }

    pub(crate) fn transposed(&self) -> Dense {
        let data = (0..self.data.len())
            .map(|n| self.at(n % self.rows, n / self.rows))
            .collect();
        Dense {
            rows: self.cols,
            cols: self.rows,
            data,
        }
    }

    pub(crate) fn times(&self, other: &Dense) -> Dense {
        let mut data = vec![0.0; self.rows * other.cols];
        for i in 0..self.rows {
            for k in 0..self.cols {
                let a = self.at(i, k);
                for j in 0..other.cols {
                    data[i * other.cols + j] += a * other.at(k, j);
                }
            }
        }
        Dense {
            rows: self.rows,
            cols: other.cols,
            data,
        }
    }

    fn faer(&self) -> Mat<f64> {
        Mat::from_fn(self.rows, self.cols, |i, j| self.at(i, j))
    }
}

fn finite(a: &Dense) -> bool {
    a.data.iter().all(|x| x.is_finite())
}

pub(crate) fn eigh(a: &Dense, descending: bool) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let n = a.rows;
    if n == 0 {
        return Some(vec![Vec::new(), Vec::new()]);
    }
    let eigen = a.faer().self_adjoint_eigen(Side::Lower).ok()?;
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let column = |j: usize| if descending { n - 1 - j } else { j };
    let values = (0..n).map(|j| values[column(j)]).collect();
    let vectors = (0..n * n)
        .map(|k| vectors[(k / n, column(k % n))])
        .collect();
    Some(vec![values, vectors])
}

pub(crate) fn qr(a: &Dense) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let inner = a.rows.min(a.cols);
    if inner == 0 {
        return Some(vec![Vec::new(), Vec::new()]);
    }
    let qr = a.faer().qr();
    let (q, r) = (qr.compute_thin_Q(), qr.thin_R());
    let q = (0..a.rows * inner)
        .map(|k| q[(k / inner, k % inner)])
        .collect();
    let upper = |k: usize| {
        if k / a.cols <= k % a.cols {
            r[(k / a.cols, k % a.cols)]
        } else {
            0.0
        }
    };
    Some(vec![q, (0..inner * a.cols).map(upper).collect()])
}

/// U, the largest singular values, V; zeros beyond the smaller side.
pub(crate) fn svd(a: &Dense, count: usize) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let svd = a.faer().thin_svd().ok()?;
    let (u, s, v) = (svd.U(), svd.S().column_vector(), svd.V());
    let first = |x: faer::MatRef<'_, f64>| {
        let entries = 0..x.nrows() * count;
        let entry = |k| {
            if k % count < x.ncols() {
                x[(k / count, k % count)]
            } else {
                0.0
            }
        };
        entries.map(entry).collect()
    };
    let value = |k| if k < s.nrows() { s[k] } else { 0.0 };
    Some(vec![first(u), (0..count).map(value).collect(), first(v)])
}

pub(crate) fn cholesky(a: &Dense) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let n = a.rows;
    if n == 0 {
        return Some(vec![Vec::new()]);
    }
    let factor = a.faer().llt(Side::Lower).ok()?;
    let lower = factor.L();
    Some(vec![
        (0..n * n)
            .map(|k| {
                if k / n >= k % n {
                    lower[(k / n, k % n)]
                } else {
                    0.0
                }
            })
            .collect(),
    ])
}

/// Substitution, row by row.
pub(crate) fn solve(a: &Dense, b: &Dense, upper: bool) -> Option<Vec<f64>> {
    let (n, m) = (a.rows, b.cols);
    let known = a.data.iter().chain(&b.data).all(|x| x.is_finite());
    if !known || (0..n).any(|i| a.at(i, i) == 0.0) {
        return None;
    }
    let mut x = b.data.clone();
    let rows: Vec<usize> = if upper {
        (0..n).rev().collect()
    } else {
        (0..n).collect()
    };
    for i in rows {
        let known = if upper { i + 1..n } else { 0..i };
        for j in 0..m {
            let sum: f64 = known.clone().map(|k| a.at(i, k) * x[k * m + j]).sum();
            x[i * m + j] = (x[i * m + j] - sum) / a.at(i, i);
        }
    }
    x.iter().all(|x| x.is_finite()).then_some(x)
}
