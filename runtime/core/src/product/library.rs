//! Products by faer, where no compiled family is at hand.
//!
//! faer chooses its blocking by the shape it is given, so the output is always cut into the same blocks, whether one
//! worker computes them or several. bf16 is widened, multiplied in f32 and rounded once.

use super::{Grid, Product, Region};
use crate::memory::{Pointer, padded};
use crate::moves;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::mat::{MatMut, MatRef};
use faer::prelude::{Reborrow, ReborrowMut};
use faer::traits::ComplexField;
use faer::{Accum, Par};
use optc_core::dtype::DType;
use optc_core::plan::{Gemm, Matrix};

/// The blocks; square, so that the diagonal of a symmetric result stays in diagonal blocks.
pub(super) const GRID: Grid = Grid {
    rows: 512,
    cols: 512,
};

/// Bytes of the widened factors and result of one block of a bf16 product.
pub(super) fn work_bytes(gemm: &Gemm) -> u64 {
    if gemm.dtype != DType::BF16 {
        return 0;
    }
    let (m, n) = (gemm.m.min(GRID.rows), gemm.n.min(GRID.cols));
    padded(4 * m * gemm.k) + padded(4 * gemm.k * n) + padded(4 * m * n)
}

/// # Safety
///
/// As for [`Product::run`].
pub(super) unsafe fn run(product: &Product<'_>, region: Region, work: Pointer) {
    // SAFETY: by the caller's promise; the dtype says how the matrices are stored.
    unsafe {
        match product.gemm.dtype {
            DType::F64 => direct::<f64>(product, region, product.alpha),
            DType::BF16 => Widened::new(product, region, work).run(),
            _ => direct::<f32>(product, region, product.alpha as f32),
        }
    }
}

unsafe fn direct<T: ComplexField>(product: &Product<'_>, region: Region, alpha: T) {
    let gemm = product.gemm;
    let no_terms = gemm.k == 0 || product.terms(region.batch).is_empty();
    let mut accum = Accum::Replace;
    if product.c.is_some() || no_terms {
        // SAFETY: by the caller's promise.
        unsafe { product.start_from_c(region) };
        accum = Accum::Add;
    }
    if no_terms {
        return;
    }
    // SAFETY: the region lies inside the output and nobody else touches it.
    let mut out = unsafe { matrix_mut::<T>(product, region) };
    for batch in product.terms(region.batch) {
        let a = product.entry(product.a, &gemm.a, batch, region.rows[0], 0);
        let b = product.entry(product.b, &gemm.b, batch, 0, region.cols[0]);
        // SAFETY: the factors lie inside their buffers and do not overlap the output.
        let (a, b) = unsafe {
            (
                factor::<T>(a, &gemm.a, rows(region), gemm.k),
                factor::<T>(b, &gemm.b, gemm.k, cols(region)),
            )
        };
        multiply(
            out.rb_mut(),
            structure(product, region),
            accum,
            a,
            b,
            alpha.clone(),
        );
        accum = Accum::Add;
    }
}

fn rows(region: Region) -> u64 {
    region.rows[1] - region.rows[0]
}

fn cols(region: Region) -> u64 {
    region.cols[1] - region.cols[0]
}

/// A block on the diagonal of a symmetric result needs its upper triangle only.
fn structure(product: &Product<'_>, region: Region) -> BlockStructure {
    if product.gemm.symmetric && region.rows == region.cols {
        BlockStructure::TriangularUpper
    } else {
        BlockStructure::Rectangular
    }
}

fn multiply<T: ComplexField>(
    out: MatMut<'_, T>,
    structure: BlockStructure,
    accum: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    alpha: T,
) {
    let full = BlockStructure::Rectangular;
    triangular::matmul(out, structure, accum, a, full, b, full, alpha, Par::Seq);
}

/// # Safety
///
/// The region is writable and the caller's for `'a`.
unsafe fn matrix_mut<'a, T>(product: &Product<'_>, region: Region) -> MatMut<'a, T> {
    let at = &product.gemm.out;
    let out = product.entry(
        product.out,
        at,
        region.batch,
        region.rows[0],
        region.cols[0],
    );
    // SAFETY: by the caller's promise.
    unsafe {
        of_strides(
            out,
            rows(region),
            cols(region),
            at.row_stride,
            at.col_stride,
        )
    }
}

/// # Safety
///
/// Entry (0, 0) of a matrix of that many rows and columns is at `start`, readable for `'a`.
unsafe fn factor<'a, T>(start: Pointer, matrix: &Matrix, rows: u64, cols: u64) -> MatRef<'a, T> {
    let (row, col) = (matrix.row_stride as isize, matrix.col_stride as isize);
    // SAFETY: by the caller's promise.
    unsafe { MatRef::from_raw_parts(start.0.cast(), rows as usize, cols as usize, row, col) }
}

unsafe fn of_strides<'a, T>(
    start: Pointer,
    rows: u64,
    cols: u64,
    row: u64,
    col: u64,
) -> MatMut<'a, T> {
    // SAFETY: the callers pass matrices that lie inside a buffer.
    unsafe {
        MatMut::from_raw_parts_mut(
            start.0.cast(),
            rows as usize,
            cols as usize,
            row as isize,
            col as isize,
        )
    }
}

/// A block of a bf16 product in f32.
struct Widened<'a> {
    product: &'a Product<'a>,
    region: Region,
    a: Pointer,
    b: Pointer,
    sum: Pointer,
}

impl<'a> Widened<'a> {
    fn new(product: &'a Product<'a>, region: Region, work: Pointer) -> Widened<'a> {
        let k = product.gemm.k;
        let b = work.plus(padded(4 * rows(region) * k));
        let sum = b.plus(padded(4 * k * cols(region)));
        Widened {
            product,
            region,
            a: work,
            b,
            sum,
        }
    }

    /// # Safety
    ///
    /// As for [`Product::run`].
    unsafe fn run(&self) {
        let (region, gemm) = (self.region, self.product.gemm);
        // SAFETY: the scratch is this worker's and has room for the three blocks.
        unsafe {
            moves::fill(self.sum, DType::F32, rows(region) * cols(region), 0.0);
            for batch in self.product.terms(region.batch) {
                let a = self
                    .product
                    .entry(self.product.a, &gemm.a, batch, region.rows[0], 0);
                let b = self
                    .product
                    .entry(self.product.b, &gemm.b, batch, 0, region.cols[0]);
                widen(a, &gemm.a, self.a, rows(region), gemm.k);
                widen(b, &gemm.b, self.b, gemm.k, cols(region));
                self.add_product();
            }
            self.round();
        }
    }

    unsafe fn add_product(&self) {
        let (m, n, k) = (rows(self.region), cols(self.region), self.product.gemm.k);
        // SAFETY: `widen` filled both factors; the sum is zeroed.
        unsafe {
            let sum = of_strides::<f32>(self.sum, m, n, n, 1);
            let (a, b) = (
                of_strides::<f32>(self.a, m, k, k, 1),
                of_strides::<f32>(self.b, k, n, n, 1),
            );
            let structure = structure(self.product, self.region);
            multiply(sum, structure, Accum::Add, a.rb(), b.rb(), 1.0);
        }
    }

    /// `alpha · sum + beta · c` in f32, rounded once.
    unsafe fn round(&self) {
        let (product, region) = (self.product, self.region);
        let alpha = product.alpha as f32;
        for (i, row) in (region.rows[0]..region.rows[1]).enumerate() {
            for (j, col) in (region.cols[0]..region.cols[1]).enumerate() {
                // SAFETY: the entries lie inside the sum, `c` and the output.
                unsafe {
                    let sum = moves::load(self.sum, DType::F32, i as u64 * cols(region) + j as u64)
                        as f32;
                    let value = alpha * sum + self.added(row, col);
                    let out = product.entry(product.out, &product.gemm.out, region.batch, row, col);
                    moves::store(out, DType::BF16, 0, f64::from(value));
                }
            }
        }
    }

    unsafe fn added(&self, row: u64, col: u64) -> f32 {
        let (Some(c), Some(at)) = (self.product.c, &self.product.gemm.c) else {
            return 0.0;
        };
        let entry = self.product.entry(c, at, self.region.batch, row, col);
        // SAFETY: the entry lies inside `c`.
        let c = unsafe { moves::load(entry, DType::BF16, 0) };
        self.product.beta as f32 * c as f32
    }
}

/// Copies a strided bf16 matrix to a row-major f32 one.
///
/// # Safety
///
/// The matrix is readable from `from`, and `rows · cols` floats are writable at `to`.
unsafe fn widen(from: Pointer, matrix: &Matrix, to: Pointer, rows: u64, cols: u64) {
    for i in 0..rows {
        for j in 0..cols {
            // SAFETY: by the caller's promise.
            unsafe {
                let value = moves::load(
                    from,
                    DType::BF16,
                    i * matrix.row_stride + j * matrix.col_stride,
                );
                moves::store(to, DType::F32, i * cols + j, value);
            }
        }
    }
}
