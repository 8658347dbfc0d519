//! Matrix products: `out[b] = alpha · a[b] · b[b] + beta · c[b]` over tiles, in an order that depends on the shape alone.
//!
//! [`family`] drives the compiled micro-kernels of an artifact, [`library`] is faer's product for programs without
//! them. Both compute regions of the output independently of each other, so any split over threads gives the same
//! bits. A symmetric result is computed where it touches the upper triangle and mirrored.

pub(crate) mod family;
pub(crate) mod library;
#[cfg(test)]
mod tests;

use crate::kernels::GemmFamily;
use crate::memory::Pointer;
use crate::moves;
use optc_core::dtype::DType;
use optc_core::plan::{Gemm, Matrix};

/// A product with its addresses and factors: element (0, 0) of batch 0 of each matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) gemm: &'a Gemm,
    pub(crate) family: Option<&'a GemmFamily>,
    pub(crate) a: Pointer,
    pub(crate) b: Pointer,
    pub(crate) c: Option<Pointer>,
    pub(crate) out: Pointer,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    /// Workers that share it.
    pub(crate) workers: usize,
}

/// Rows and columns of one output matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) batch: u64,
    pub(crate) rows: [u64; 2],
    pub(crate) cols: [u64; 2],
}

/// How an output is cut: blocks of so many rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) rows: u64,
    pub(crate) cols: u64,
}

impl<'a> Product<'a> {
    /// Output matrices.
    pub(crate) fn outputs(&self) -> u64 {
        if self.gemm.sum_batch {
            1
        } else {
            self.gemm.batch
        }
    }

    /// The batches that output `batch` sums over.
    fn terms(&self, batch: u64) -> std::ops::Range<u64> {
        if self.gemm.sum_batch {
            0..self.gemm.batch
        } else {
            batch..batch + 1
        }
    }

    /// Blocks that may be computed by different workers.
    pub(crate) fn grid(&self) -> Grid {
        match self.family {
            Some(family) => family::grid(family, self.gemm, self.workers as u64),
            None => library::GRID,
        }
    }

    /// Computes one region; see [`Product::finish`] for what symmetric results need afterwards.
    ///
    /// # Safety
    ///
    /// The matrices lie inside live buffers, `out` overlaps no factor, nobody else touches the region, and `work`
    /// has [`work_bytes`] bytes of the caller's own.
    pub(crate) unsafe fn run(&self, region: Region, work: Pointer) {
        // SAFETY: by the caller's promise.
        unsafe {
            match self.family {
                Some(family) => family::run(self, family, region, work),
                None => library::run(self, region, work),
            }
        }
    }

    /// All of one output matrix, mirrored if it is symmetric.
    ///
    /// # Safety
    ///
    /// As for [`Product::run`], with the whole output.
    pub(crate) unsafe fn run_whole(&self, batch: u64, work: Pointer) {
        let (m, n) = (self.gemm.m, self.gemm.n);
        // SAFETY: by the caller's promise.
        unsafe {
            match self.family {
                Some(family) => family::run(
                    self,
                    family,
                    Region {
                        batch,
                        rows: [0, m],
                        cols: [0, n],
                    },
                    work,
                ),
                None => self
                    .blocks()
                    .filter(|r| r.batch == batch)
                    .for_each(|r| library::run(self, r, work)),
            }
            self.finish(batch, [0, m]);
        }
    }

    /// The regions of the grid that have to be computed.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Region> {
        let (count, each) = (self.block_count(), move |n| self.block(n));
        (0..count).filter_map(each)
    }

    /// Blocks of the grid over all outputs, those below the diagonal of a symmetric result among them.
    pub(crate) fn block_count(&self) -> u64 {
        let grid = self.grid();
        self.outputs() * self.gemm.m.div_ceil(grid.rows) * self.gemm.n.div_ceil(grid.cols)
    }

    /// Block `n` of the grid, unless its mirror image stands for it.
    pub(crate) fn block(&self, n: u64) -> Option<Region> {
        let (gemm, grid) = (self.gemm, self.grid());
        let (down, across) = (gemm.m.div_ceil(grid.rows), gemm.n.div_ceil(grid.cols));
        let (row, col) = (n / across % down * grid.rows, n % across * grid.cols);
        let rows = [row, gemm.m.min(row + grid.rows)];
        let cols = [col, gemm.n.min(col + grid.cols)];
        let region = Region {
            batch: n / (across * down),
            rows,
            cols,
        };
        region.is_needed(gemm.symmetric).then_some(region)
    }

    /// Copies the upper triangle to those rows below the diagonal, if the result is symmetric.
    ///
    /// # Safety
    ///
    /// The upper triangle of output `batch` is done, and nobody else touches those rows.
    pub(crate) unsafe fn finish(&self, batch: u64, rows: [u64; 2]) {
        if self.gemm.symmetric {
            let (size, stride) = (self.gemm.dtype.size(), self.gemm.out.row_stride);
            let out = self.out.plus(batch * self.gemm.out.batch_stride * size);
            // SAFETY: entries (i, j) and (j, i) lie inside the output; what is read is above the diagonal, what is
            // written below it.
            unsafe {
                match size {
                    2 => mirror::<u16>(out, stride, rows),
                    4 => mirror::<u32>(out, stride, rows),
                    _ => mirror::<u64>(out, stride, rows),
                }
            }
        }
    }

    /// The address of entry (row, col) of a matrix of batch `batch`.
    fn entry(&self, base: Pointer, matrix: &Matrix, batch: u64, row: u64, col: u64) -> Pointer {
        let elements =
            batch * matrix.batch_stride + row * matrix.row_stride + col * matrix.col_stride;
        base.plus(elements * self.gemm.dtype.size())
    }

    /// Writes `beta · c` (0 without `c`) to a region of the output.
    ///
    /// # Safety
    ///
    /// As for [`Product::run`].
    unsafe fn start_from_c(&self, region: Region) {
        let dtype = self.gemm.dtype;
        for row in region.rows[0]..region.rows[1] {
            for col in region.cols[0]..region.cols[1] {
                let value = match (self.c, &self.gemm.c) {
                    // SAFETY: the entry lies inside `c`.
                    (Some(c), Some(at)) => unsafe {
                        scaled(
                            dtype,
                            self.beta,
                            moves::load(self.entry(c, at, region.batch, row, col), dtype, 0),
                        )
                    },
                    _ => 0.0,
                };
                let out = self.entry(self.out, &self.gemm.out, region.batch, row, col);
                // SAFETY: the entry lies inside the region, which is the caller's.
                unsafe { moves::store(out, dtype, 0, value) };
            }
        }
    }
}

impl Region {
    fn is_needed(&self, symmetric: bool) -> bool {
        !symmetric || self.rows[0] < self.cols[1]
    }
}

/// `beta · c` in the arithmetic of the dtype.
fn scaled(dtype: DType, beta: f64, c: f64) -> f64 {
    match dtype.compute() {
        DType::F32 => f64::from(beta as f32 * c as f32),
        _ => beta * c,
    }
}

/// Bytes of scratch that one worker needs for a product.
pub(crate) fn work_bytes(gemm: &Gemm, family: Option<&GemmFamily>) -> u64 {
    match family {
        Some(family) => family::work_bytes(family, gemm),
        None => library::work_bytes(gemm),
    }
}

/// Writes the entries below the diagonal in `rows` from above it, in squares that fit the first-level cache.
///
/// # Safety
///
/// The square of order `rows[1]` lies inside the buffer.
unsafe fn mirror<T: Copy>(out: Pointer, stride: u64, rows: [u64; 2]) {
    const SQUARE: usize = 32;
    let (base, stride) = (out.0.cast::<T>(), stride as usize);
    let [first, last] = rows.map(|row| row as usize);
    for top in (first..last).step_by(SQUARE) {
        for left in (0..last.min(top + SQUARE)).step_by(SQUARE) {
            for i in top..last.min(top + SQUARE) {
                for j in left..i.min(left + SQUARE) {
                    // SAFETY: j < i < last.
                    unsafe { *base.add(i * stride + j) = *base.add(j * stride + i) };
                }
            }
        }
    }
}
