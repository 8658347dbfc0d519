//! Factorizations and solves, by faer, on scratch that was reserved at bind.
//!
//! Every input is read into column-major scratch in the compute type, so any float dtype and any failure policy takes
//! the same path. A NaN or an infinity in an input is a [`Failure`] before faer sees it: iterations on NaN need not
//! end.

use crate::memory::{ALIGN, Pointer, padded};
use crate::moves;
use faer::diag::DiagMut;
use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::cholesky::llt::factor as llt;
use faer::linalg::evd::{self, ComputeEigenvectors};
use faer::linalg::qr::no_pivoting::factor as qr;
use faer::linalg::svd::{self, ComputeSvdVectors};
use faer::linalg::{householder, triangular_solve};
use faer::mat::MatMut;
use faer::prelude::{Reborrow, ReborrowMut};
use faer::traits::RealField;
use faer::{Conj, Par, Spec};
use optc_core::dtype::DType;
use optc_core::plan::{OnFailure, Routine};
use std::mem::MaybeUninit;

/// Why a factorization or solve has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// The input holds a NaN or an infinity.
    #[error("its input holds a NaN or an infinity")]
    NotFiniteInput,
    /// The eigenvalue iteration did not converge.
    #[error("the iteration did not converge")]
    NoConvergence,
    /// A pivot of a Cholesky factorization is not positive.
    #[error("the matrix is not positive definite")]
    NotPositiveDefinite,
    /// A diagonal entry of a triangular matrix is 0.
    #[error("the matrix is singular")]
    Singular,
    /// The result overflowed.
    #[error("its result is not finite")]
    NotFiniteResult,
    /// An index is outside the axis that it selects from.
    #[error("an index is out of range")]
    IndexOutOfRange,
}

/// A tensor with its shape: `rows` × `cols`, a vector being one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    pub(crate) at: Pointer,
    pub(crate) dtype: DType,
    pub(crate) rows: u64,
    pub(crate) cols: u64,
}

impl Operand {
    /// Of a tensor of rank 1 or 2.
    pub(crate) fn new(at: Pointer, dtype: DType, dims: &[u64]) -> Operand {
        let rows = dims.first().copied().unwrap_or(1);
        Operand {
            at,
            dtype,
            rows,
            cols: dims.get(1).copied().unwrap_or(1),
        }
    }

    fn count(&self) -> u64 {
        self.rows * self.cols
    }
}

/// A routine with its operands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) routine: Routine,
    pub(crate) inputs: [Option<Operand>; 2],
    pub(crate) outputs: [Option<Operand>; 3],
    pub(crate) retry_f64: bool,
    pub(crate) keep: Option<Operand>,
    pub(crate) nan: bool,
}

/// The type a routine computes in: f64 for f64 inputs, f32 for the others.
fn computes_in_f64(inputs: &[Option<Operand>; 2]) -> bool {
    inputs
        .iter()
        .flatten()
        .any(|input| input.dtype == DType::F64)
}

/// Bytes of scratch of a call on inputs of these shapes, in the wider type if a retry may happen.
pub(crate) fn work_bytes(
    routine: Routine,
    inputs: &[Option<Operand>; 2],
    on_failure: &OnFailure,
) -> u64 {
    if computes_in_f64(inputs) || on_failure.retry_f64 {
        bytes::<f64>(routine, inputs)
    } else {
        bytes::<f32>(routine, inputs)
    }
}

fn bytes<T: RealField>(routine: Routine, inputs: &[Option<Operand>; 2]) -> u64 {
    let size = size_of::<T>() as u64;
    let [first, second] = inputs.map(|input| input.map_or((0, 0), |o| (o.rows, o.cols)));
    let (m, n) = first;
    let matrices = match routine {
        Routine::Eigh { .. } => vec![n * n, n * n, n],
        Routine::Qr => vec![m * n, m * m.min(n), m * m.min(n)],
        Routine::Svd { .. } => vec![m * n, m * m.min(n), n * m.min(n), m.min(n)],
        Routine::Cholesky => vec![n * n],
        Routine::SolveTriangular { .. } => vec![n * n, second.0 * second.1],
    };
    let stack = stack::<T>(routine, m as usize, n as usize).size_bytes() as u64;
    matrices
        .into_iter()
        .map(|count| padded(count * size))
        .sum::<u64>()
        + padded(stack)
        + ALIGN as u64
}

/// What faer wants beside our matrices.
fn stack<T: RealField>(routine: Routine, m: usize, n: usize) -> StackReq {
    let least = m.min(n);
    if least == 0 {
        return StackReq::EMPTY;
    }
    match routine {
        Routine::Eigh { .. } => evd::self_adjoint_evd_scratch::<T>(
            n,
            ComputeEigenvectors::Yes,
            Par::Seq,
            Spec::default(),
        ),
        Routine::Qr => {
            let block = qr::recommended_block_size::<T>(m, n);
            let factor = qr::qr_in_place_scratch::<T>(m, n, block, Par::Seq, Spec::default());
            let apply = householder::apply_block_householder_sequence_on_the_left_in_place_scratch::<
                T,
            >(m, block, least);
            factor.or(apply)
        }
        Routine::Svd { .. } => svd::svd_scratch::<T>(
            m,
            n,
            ComputeSvdVectors::Thin,
            ComputeSvdVectors::Thin,
            Par::Seq,
            Spec::default(),
        ),
        Routine::Cholesky => llt::cholesky_in_place_scratch::<T>(n, Par::Seq, Spec::default()),
        Routine::SolveTriangular { .. } => StackReq::EMPTY,
    }
}

impl Call {
    /// Runs the routine under its failure policy.
    ///
    /// # Errors
    ///
    /// The [`Failure`], when there is no policy for it; outputs are then as they were.
    ///
    /// # Safety
    ///
    /// Inputs are readable and outputs writable with the shapes that the routine demands, and `work` holds
    /// [`work_bytes`] bytes of the caller's own.
    pub(crate) unsafe fn run(&self, work: &mut [u8]) -> Result<(), Failure> {
        // SAFETY: by the caller's promise.
        unsafe {
            let wide = computes_in_f64(&self.inputs);
            let mut outcome = if wide {
                self.attempt::<f64>(work)
            } else {
                self.attempt::<f32>(work)
            };
            if outcome.is_err() && self.retry_f64 && !wide {
                outcome = self.attempt::<f64>(work);
            }
            match (outcome, self.keep) {
                (Err(_), Some(keep)) => {
                    self.keep_old(keep);
                    Ok(())
                }
                (Err(_), None) if self.nan => {
                    self.outputs.iter().flatten().for_each(|out| {
                        moves::fill(out.at, out.dtype, out.count(), f64::NAN);
                    });
                    Ok(())
                }
                (outcome, _) => outcome,
            }
        }
    }

    /// Copies the kept tensor to the result of its shape; other results become 0.
    unsafe fn keep_old(&self, keep: Operand) {
        let mut kept = false;
        for out in self.outputs.iter().flatten() {
            let same =
                !kept && (out.rows, out.cols, out.dtype) == (keep.rows, keep.cols, keep.dtype);
            kept |= same;
            // SAFETY: both tensors have this many elements; they may be the same tensor.
            unsafe {
                if same {
                    let bytes = out.count() * out.dtype.size();
                    std::ptr::copy(keep.at.0.cast_const(), out.at.0, bytes as usize);
                } else {
                    moves::fill(out.at, out.dtype, out.count(), 0.0);
                }
            }
        }
    }

    unsafe fn attempt<T: Real>(&self, work: &mut [u8]) -> Result<(), Failure> {
        let Some(first) = self.inputs[0] else {
            return Ok(());
        };
        if self.inputs.iter().flatten().any(|input| !input.is_finite()) {
            return Err(Failure::NotFiniteInput);
        }
        if self.outputs.iter().flatten().all(|out| out.count() == 0) {
            return Ok(());
        }
        let work = Work { free: work };
        match self.routine {
            Routine::Eigh { descending } => self.eigh::<T>(first, descending, work),
            Routine::Qr => self.qr::<T>(first, work),
            Routine::Svd { .. } => self.svd::<T>(first, work),
            Routine::Cholesky => self.cholesky::<T>(first, work),
            Routine::SolveTriangular { upper, transposed } => {
                self.solve::<T>(first, upper, transposed, work)
            }
        }
    }

    fn eigh<T: Real>(
        &self,
        a: Operand,
        descending: bool,
        mut work: Work<'_>,
    ) -> Result<(), Failure> {
        let n = a.rows as usize;
        let (source, vectors, values) = (
            work.take::<T>(n * n),
            work.take::<T>(n * n),
            work.take::<T>(n),
        );
        a.read(source);
        evd::self_adjoint_evd(
            columns(source, n, n).rb(),
            DiagMut::from_slice_mut(values),
            Some(columns(vectors, n, n)),
            Par::Seq,
            work.stack(),
            Spec::default(),
        )
        .map_err(|_| Failure::NoConvergence)?;
        check_finite(values)?;
        check_finite(vectors)?;
        if descending {
            values.reverse();
            reverse_columns(vectors, n);
        }
        self.write(0, values);
        self.write(1, vectors);
        Ok(())
    }

    fn qr<T: Real>(&self, a: Operand, mut work: Work<'_>) -> Result<(), Failure> {
        let (m, n) = (a.rows as usize, a.cols as usize);
        let least = m.min(n);
        let block = qr::recommended_block_size::<T>(m, n);
        let (source, q) = (work.take::<T>(m * n), work.take::<T>(m * least));
        let coefficients = work.take::<T>(block * least);
        a.read(source);
        q.fill(T::from_f64(0.0));
        (0..least).for_each(|i| q[i * m + i] = T::from_f64(1.0));
        let mut factors = columns(source, m, n);
        let mut blocks = columns(coefficients, block, least);
        let stack = work.stack();
        qr::qr_in_place(
            factors.rb_mut(),
            blocks.rb_mut(),
            Par::Seq,
            stack,
            Spec::default(),
        );
        householder::apply_block_householder_sequence_on_the_left_in_place_with_conj(
            factors.rb().subcols(0, least),
            blocks.rb(),
            Conj::No,
            columns(q, m, least),
            Par::Seq,
            stack,
        );
        check_finite(q)?;
        keep_upper(source, m, n);
        self.write(0, q);
        self.write_top(1, source, m);
        Ok(())
    }

    fn svd<T: Real>(&self, a: Operand, mut work: Work<'_>) -> Result<(), Failure> {
        let (m, n) = (a.rows as usize, a.cols as usize);
        let least = m.min(n);
        let (source, u) = (work.take::<T>(m * n), work.take::<T>(m * least));
        let (v, values) = (work.take::<T>(n * least), work.take::<T>(least));
        a.read(source);
        svd::svd(
            columns(source, m, n).rb(),
            DiagMut::from_slice_mut(values),
            Some(columns(u, m, least)),
            Some(columns(v, n, least)),
            Par::Seq,
            work.stack(),
            Spec::default(),
        )
        .map_err(|_| Failure::NoConvergence)?;
        check_finite(values)?;
        check_finite(u)?;
        check_finite(v)?;
        self.write_padded(0, u, m);
        self.write_padded(1, values, least);
        self.write_padded(2, v, n);
        Ok(())
    }

    fn cholesky<T: Real>(&self, a: Operand, mut work: Work<'_>) -> Result<(), Failure> {
        let n = a.rows as usize;
        let source = work.take::<T>(n * n);
        a.read(source);
        llt::cholesky_in_place(
            columns(source, n, n),
            Default::default(),
            Par::Seq,
            work.stack(),
            Spec::default(),
        )
        .map_err(|_| Failure::NotPositiveDefinite)?;
        for j in 0..n {
            source[j * n..j * n + j].fill(T::from_f64(0.0));
        }
        check_finite(source)?;
        self.write(0, source);
        Ok(())
    }

    fn solve<T: Real>(
        &self,
        a: Operand,
        upper: bool,
        transposed: bool,
        mut work: Work<'_>,
    ) -> Result<(), Failure> {
        let Some(b) = self.inputs[1] else {
            return Ok(());
        };
        let n = a.rows as usize;
        let (matrix, right) = (work.take::<T>(n * n), work.take::<T>(n * b.cols as usize));
        a.read(matrix);
        b.read(right);
        if (0..n).any(|i| matrix[i * n + i].to_f64() == 0.0) {
            return Err(Failure::Singular);
        }
        let (matrix, solution) = (columns(matrix, n, n), columns(right, n, b.cols as usize));
        match (upper, transposed) {
            (false, false) => {
                triangular_solve::solve_lower_triangular_in_place(matrix.rb(), solution, Par::Seq)
            }
            (true, false) => {
                triangular_solve::solve_upper_triangular_in_place(matrix.rb(), solution, Par::Seq)
            }
            (false, true) => {
                triangular_solve::solve_upper_triangular_in_place(
                    matrix.rb().transpose(),
                    solution,
                    Par::Seq,
                );
            }
            (true, true) => {
                triangular_solve::solve_lower_triangular_in_place(
                    matrix.rb().transpose(),
                    solution,
                    Par::Seq,
                );
            }
        }
        check_finite(right)?;
        self.write(0, right);
        Ok(())
    }

    /// Writes a column-major result to output `n`, if anybody reads it.
    fn write<T: Real>(&self, n: usize, from: &[T]) {
        if let Some(out) = self.outputs[n] {
            self.write_top(n, from, out.rows as usize);
        }
    }

    /// The same, with zeros for what the result has not.
    fn write_padded<T: Real>(&self, n: usize, from: &[T], height: usize) {
        let Some(out) = self.outputs[n] else { return };
        let (rows, cols) = (out.rows as usize, out.cols as usize);
        for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
            let known = if i < height {
                from.get(j * height + i)
            } else {
                None
            };
            let value = known.map_or(0.0, |x| x.to_f64());
            // SAFETY: `run` promises the output's shape; the index is inside it.
            unsafe { moves::store(out.at, out.dtype, (i * cols + j) as u64, value) };
        }
    }

    /// The same for the top rows of columns of length `height`.
    fn write_top<T: Real>(&self, n: usize, from: &[T], height: usize) {
        let Some(out) = self.outputs[n] else { return };
        let (rows, cols) = (out.rows as usize, out.cols as usize);
        for i in 0..rows {
            for j in 0..cols {
                // SAFETY: `run` promises the output's shape; the index is inside it.
                unsafe {
                    moves::store(
                        out.at,
                        out.dtype,
                        (i * cols + j) as u64,
                        from[j * height + i].to_f64(),
                    )
                };
            }
        }
    }
}

impl Operand {
    fn is_finite(&self) -> bool {
        // SAFETY: `Call::run` promises the input's shape.
        unsafe { moves::all_finite(self.at, self.dtype, 0, self.count()) }
    }

    /// Reads the row-major tensor into column-major scratch.
    fn read<T: Real>(&self, into: &mut [T]) {
        let (rows, cols) = (self.rows as usize, self.cols as usize);
        for i in 0..rows {
            for j in 0..cols {
                // SAFETY: `Call::run` promises the input's shape; the index is inside it.
                let value = unsafe { moves::load(self.at, self.dtype, (i * cols + j) as u64) };
                into[j * rows + i] = T::from_f64(value);
            }
        }
    }
}

/// The compute types.
trait Real: RealField + Copy + 'static {
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn from_f64(x: f64) -> f64 {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// Scratch, given out from the front.
struct Work<'a> {
    free: &'a mut [u8],
}

impl<'a> Work<'a> {
    /// `count` elements; what they hold is left over from earlier calls.
    ///
    /// Panics if `work_bytes` was too small, which is a bug of this file.
    fn take<T: Real>(&mut self, count: usize) -> &'a mut [T] {
        let free = std::mem::take(&mut self.free);
        let skip = free.as_ptr().align_offset(ALIGN);
        let (taken, rest) = free.split_at_mut(skip + count * size_of::<T>());
        self.free = rest;
        // SAFETY: aligned, of the right length, borrowed mutably, and any bits are a float.
        unsafe { std::slice::from_raw_parts_mut(taken[skip..].as_mut_ptr().cast(), count) }
    }

    /// The rest, for faer.
    fn stack(self) -> &'a mut MemStack {
        let bytes: *mut [u8] = self.free;
        // SAFETY: faer writes before it reads, and only plain floats, so the bytes stay valid as bytes.
        MemStack::new(unsafe { &mut *(bytes as *mut [MaybeUninit<u8>]) })
    }
}

fn columns<T>(data: &mut [T], rows: usize, cols: usize) -> MatMut<'_, T> {
    MatMut::from_column_major_slice_mut(data, rows, cols)
}

fn check_finite<T: Real>(values: &[T]) -> Result<(), Failure> {
    let finite = values.iter().all(|x| x.to_f64().is_finite());
    if finite {
        Ok(())
    } else {
        Err(Failure::NotFiniteResult)
    }
}

fn reverse_columns<T>(matrix: &mut [T], n: usize) {
    for j in 0..n / 2 {
        let (left, right) = matrix.split_at_mut((n - 1 - j) * n);
        left[j * n..(j + 1) * n].swap_with_slice(&mut right[..n]);
    }
}

/// Clears what lies below the diagonal: faer keeps its reflectors there.
fn keep_upper<T: Real>(matrix: &mut [T], m: usize, n: usize) {
    for j in 0..n {
        let column = &mut matrix[j * m..(j + 1) * m];
        column[m.min(j + 1)..].fill(T::from_f64(0.0));
    }
}

#[cfg(test)]
mod tests;
