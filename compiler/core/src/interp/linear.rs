//! Products and factorizations, in f64, rounded once.

use super::dense::{self, Dense};
use super::{Datum, Interp, InterpError};
use crate::ir::{OnFailure, Op, OpKind, Product, Value};

impl Interp<'_> {
    /// The matrices of a stack, transposed if asked.
    fn stack(&self, value: Value, transposed: bool) -> Vec<Dense> {
        let (data, dims) = (self.tensor(value), self.dims(value));
        let (rows, cols) = (dims[dims.len() - 2] as usize, dims[dims.len() - 1] as usize);
        let count = dims[..dims.len() - 2].iter().product::<u64>() as usize;
        let matrix = |n: usize| Dense {
            rows,
            cols,
            data: data[n * rows * cols..(n + 1) * rows * cols].to_vec(),
        };
        (0..count)
            .map(matrix)
            .map(|m| if transposed { m.transposed() } else { m })
            .collect()
    }

    pub(super) fn product(&self, product: &Product, result: Value) -> Vec<f64> {
        let (a, b) = (
            self.stack(product.a, product.ta),
            self.stack(product.b, product.tb),
        );
        let sums = a
            .iter()
            .zip(&b)
            .flat_map(|(a, b)| a.times(b).data)
            .collect();
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
        let beta = added
            .and_then(|(_, beta)| beta)
            .map_or(1.0, |beta| self.host(beta));
        let c = added.map(|(c, _)| self.tensor(c));
        let element =
            |(n, x): (usize, f64)| dtype.round(alpha * x + c.map_or(0.0, |c| beta * c[n]));
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
        let entry = |k: usize, j: usize| {
            if transposed {
                q[j * d + k]
            } else {
                q[k * d + j]
            }
        };
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
        let entry = |n: usize| {
            (0..pre)
                .map(|p| dot(fiber(p, n / d), fiber(p, n % d)))
                .sum()
        };
        self.scaled((0..d * d).map(entry).collect(), alpha, added, self.dtype(x))
    }

    pub(super) fn factorize(&self, kind: &OpKind, op: Op) -> Result<Vec<Datum>, InterpError> {
        let (made, on_failure) = match kind {
            OpKind::Eigh {
                x,
                descending,
                on_failure,
            } => (dense::eigh(&self.dense(*x), *descending), *on_failure),
            OpKind::Qr { x, on_failure } => (dense::qr(&self.dense(*x)), *on_failure),
            OpKind::Svd { x, on_failure } => {
                let count = self.dims(self.function.ops[op].results[1])[0] as usize;
                (dense::svd(&self.dense(*x), count), *on_failure)
            }
            OpKind::Cholesky { x, on_failure } => (dense::cholesky(&self.dense(*x)), *on_failure),
            OpKind::SolveTriangular { a, b, upper, .. } => (
                Some(vec![dense::solve(&self.dense(*a), &self.dense(*b), *upper)]),
                OnFailure::default(),
            ),
            other => unreachable!("{other:?} is not a factorization"),
        };
        let results = &self.function.ops[op].results;
        match (made, on_failure.keep) {
            (Some(made), _) => {
                let rounded = made.into_iter().zip(results).map(|(data, &result)| {
                    Datum::Tensor(
                        data.into_iter()
                            .map(|x| self.dtype(result).round(x))
                            .collect(),
                    )
                });
                Ok(rounded.collect())
            }
            (None, Some(keep)) => {
                let kept = usize::from(matches!(kind, OpKind::Eigh { .. }));
                Ok((0..results.len())
                    .map(|n| self.kept(keep, results[n], n == kept))
                    .collect())
            }
            (None, None) if on_failure.nan => Ok(results
                .iter()
                .map(|&result| self.constant(result, f64::NAN))
                .collect()),
            (None, None) => Err(InterpError::Factorization { op: op.to_string() }),
        }
    }

    /// After a failure: the kept tensor for the result that may be kept (vectors, Q, L), zeros for the other.
    fn kept(&self, keep: Value, result: Value, is_kept: bool) -> Datum {
        if is_kept {
            return Datum::Tensor(self.tensor(keep).to_vec());
        }
        self.constant(result, 0.0)
    }

    fn constant(&self, result: Value, x: f64) -> Datum {
        Datum::Tensor(vec![x; self.dims(result).iter().product::<u64>() as usize])
    }

    fn dense(&self, value: Value) -> Dense {
        let dims = self.dims(value);
        Dense {
            rows: dims[0] as usize,
            cols: dims[1] as usize,
            data: self.tensor(value).to_vec(),
        }
    }
}
