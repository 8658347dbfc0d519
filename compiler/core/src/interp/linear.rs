//! Products and factorizations, in f64, rounded once.

use super::{Datum, Interp, InterpError};
use crate::ir::{OnFailure, Op, OpKind, Product, Value};
use faer::{Mat, Side};

/// A dense matrix, row-major.
struct Dense {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Dense {
    fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j]
    }

    fn transposed(&self) -> Dense {
        let data = (0..self.data.len()).map(|n| self.at(n % self.rows, n / self.rows)).collect();
        Dense { rows: self.cols, cols: self.rows, data }
    }

    fn times(&self, other: &Dense) -> Dense {
        let mut data = vec![0.0; self.rows * other.cols];
        for i in 0..self.rows {
            for k in 0..self.cols {
                let a = self.at(i, k);
                for j in 0..other.cols {
                    data[i * other.cols + j] += a * other.at(k, j);
                }
            }
        }
        Dense { rows: self.rows, cols: other.cols, data }
    }

    fn faer(&self) -> Mat<f64> {
        Mat::from_fn(self.rows, self.cols, |i, j| self.at(i, j))
    }
}

impl Interp<'_> {
    /// The matrices of a stack, transposed if asked.
    fn stack(&self, value: Value, transposed: bool) -> Vec<Dense> {
        let (data, dims) = (self.tensor(value), self.dims(value));
        let (rows, cols) = (dims[dims.len() - 2] as usize, dims[dims.len() - 1] as usize);
        let count = dims[..dims.len() - 2].iter().product::<u64>() as usize;
        let matrix = |n: usize| Dense { rows, cols, data: data[n * rows * cols..(n + 1) * rows * cols].to_vec() };
        (0..count).map(matrix).map(|m| if transposed { m.transposed() } else { m }).collect()
    }

    pub(super) fn product(&self, product: &Product, result: Value) -> Vec<f64> {
        let (a, b) = (self.stack(product.a, product.ta), self.stack(product.b, product.tb));
        let sums = a.iter().zip(&b).flat_map(|(a, b)| a.times(b).data).collect();
        self.scaled(sums, product.alpha, product.added, self.dtype(result))
    }

    /// `alpha x + beta c`, rounded once.
    fn scaled(
        &self,
        x: Vec<f64>,
        alpha: Option<Value>,
        added: Option<(Value, Option<Value>)>,
        dtype: crate::dtype::DType,
    ) -> Vec<f64> {
        let alpha = alpha.map_or(1.0, |alpha| self.host(alpha));
        let beta = added.and_then(|(_, beta)| beta).map_or(1.0, |beta| self.host(beta));
        let c = added.map(|(c, _)| self.tensor(c));
        let element = |(n, x): (usize, f64)| dtype.round(alpha * x + c.map_or(0.0, |c| beta * c[n]));
        x.into_iter().enumerate().map(element).collect()
    }

    /// The tensor as `[pre, d, post]` around an axis.
    fn around(&self, x: Value, mode: usize) -> (usize, usize, usize) {
        let dims = self.dims(x);
        let pre = dims[..mode].iter().product::<u64>() as usize;
        let post = dims[mode + 1..].iter().product::<u64>() as usize;
        (pre, dims[mode] as usize, post)
    }

    pub(super) fn contract(&self, x: Value, q: Value, mode: usize, transposed: bool) -> Vec<f64> {
        let (pre, d, post) = self.around(x, mode);
        let (data, q) = (self.tensor(x), self.tensor(q));
        let entry = |k: usize, j: usize| if transposed { q[j * d + k] } else { q[k * d + j] };
        let mut out = vec![0.0; data.len()];
        for p in 0..pre {
            for j in 0..d {
                for k in 0..d {
                    let (from, to) = ((p * d + k) * post, (p * d + j) * post);
                    (0..post).for_each(|r| out[to + r] += entry(k, j) * data[from + r]);
                }
            }
        }
        out.into_iter().map(|y| self.dtype(x).round(y)).collect()
    }

    pub(super) fn gram(
        &self,
        x: Value,
        mode: usize,
        alpha: Option<Value>,
        added: Option<(Value, Option<Value>)>,
    ) -> Vec<f64> {
        let (pre, d, post) = self.around(x, mode);
        let data = self.tensor(x);
        let fiber = |p: usize, j: usize| &data[(p * d + j) * post..(p * d + j + 1) * post];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let entry = |n: usize| (0..pre).map(|p| dot(fiber(p, n / d), fiber(p, n % d))).sum();
        self.scaled((0..d * d).map(entry).collect(), alpha, added, self.dtype(x))
    }

    pub(super) fn factorize(&self, kind: &OpKind, op: Op) -> Result<Vec<Datum>, InterpError> {
        let (made, on_failure) = match kind {
            OpKind::Eigh { x, descending, on_failure } => (eigh(&self.dense(*x), *descending), *on_failure),
            OpKind::Qr { x, on_failure } => (qr(&self.dense(*x)), *on_failure),
            OpKind::Cholesky { x, on_failure } => (cholesky(&self.dense(*x)), *on_failure),
            OpKind::SolveTriangular { a, b, upper } => {
                (Some(vec![solve(&self.dense(*a), &self.dense(*b), *upper)]), OnFailure::default())
            }
            other => unreachable!("{other:?} is not a factorization"),
        };
        let results = &self.function.ops[op].results;
        match (made, on_failure.keep) {
            (Some(made), _) => {
                let rounded = made.into_iter().zip(results).map(|(data, &result)| {
                    Datum::Tensor(data.into_iter().map(|x| self.dtype(result).round(x)).collect())
                });
                Ok(rounded.collect())
            }
            (None, Some(keep)) => Ok(results.iter().map(|&result| self.kept(keep, result)).collect()),
            (None, None) => Err(InterpError::Factorization { op: op.to_string() }),
        }
    }

    /// The kept tensor where it has the result's shape, zeros for the other result.
    fn kept(&self, keep: Value, result: Value) -> Datum {
        let dims = self.dims(result);
        if self.dims(keep) == dims {
            return Datum::Tensor(self.tensor(keep).to_vec());
        }
        Datum::Tensor(vec![0.0; dims.iter().product::<u64>() as usize])
    }

    fn dense(&self, value: Value) -> Dense {
        let dims = self.dims(value);
        Dense { rows: dims[0] as usize, cols: dims[1] as usize, data: self.tensor(value).to_vec() }
    }
}

fn finite(a: &Dense) -> bool {
    a.data.iter().all(|x| x.is_finite())
}

fn eigh(a: &Dense, descending: bool) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let n = a.rows;
    let eigen = a.faer().self_adjoint_eigen(Side::Lower).ok()?;
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let column = |j: usize| if descending { n - 1 - j } else { j };
    let values = (0..n).map(|j| values[column(j)]).collect();
    let vectors = (0..n * n).map(|k| vectors[(k / n, column(k % n))]).collect();
    Some(vec![values, vectors])
}

fn qr(a: &Dense) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let inner = a.rows.min(a.cols);
    let qr = a.faer().qr();
    let (q, r) = (qr.compute_thin_Q(), qr.thin_R());
    let q = (0..a.rows * inner).map(|k| q[(k / inner, k % inner)]).collect();
    let upper = |k: usize| if k / a.cols <= k % a.cols { r[(k / a.cols, k % a.cols)] } else { 0.0 };
    Some(vec![q, (0..inner * a.cols).map(upper).collect()])
}

fn cholesky(a: &Dense) -> Option<Vec<Vec<f64>>> {
    if !finite(a) {
        return None;
    }
    let n = a.rows;
    let factor = a.faer().llt(Side::Lower).ok()?;
    let lower = factor.L();
    Some(vec![(0..n * n).map(|k| if k / n >= k % n { lower[(k / n, k % n)] } else { 0.0 }).collect()])
}

/// Substitution, row by row.
fn solve(a: &Dense, b: &Dense, upper: bool) -> Vec<f64> {
    let (n, m) = (a.rows, b.cols);
    let mut x = b.data.clone();
    let rows: Vec<usize> = if upper { (0..n).rev().collect() } else { (0..n).collect() };
    for i in rows {
        let known = if upper { i + 1..n } else { 0..i };
        for j in 0..m {
            let sum: f64 = known.clone().map(|k| a.at(i, k) * x[k * m + j]).sum();
            x[i * m + j] = (x[i * m + j] - sum) / a.at(i, i);
        }
    }
    x
}
