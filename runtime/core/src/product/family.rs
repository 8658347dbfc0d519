//! The blocked loops around a compiled micro-kernel: pack, then one tile after another.
//!
//! ```text
//! for columns in steps of nc           the right block stays in the last cache
//!   for the sum in steps of kc         one pass; bf16 has a single one, so that there is one rounding
//!     pack the right factor
//!     for rows in steps of mc          the left block stays in the second cache
//!       pack the left factor
//!       tiles
//! ```
//!
//! The passes depend on k alone and a tile's sum runs over its pass in order, so every entry of the result has the
//! same bits however the output is cut.

use super::{Grid, Product, Region};
use crate::kernels::{GemmFamily, PackFn};
use crate::memory::{Pointer, padded};
use optc_core::dtype::DType;
use optc_core::plan::{Gemm, Matrix};
use std::ffi::c_void;
use std::ptr::null;

/// Bytes of a packed left block: a good part of a second-level cache.
const LEFT_BYTES: u64 = 320 << 10;
/// Bytes of a packed right block: a share of a last-level cache.
const RIGHT_BYTES: u64 = 1536 << 10;
/// Bytes of one row of a panel per pass: k times the element size.
const PASS_BYTES: u64 = 2048;
/// Blocks per worker when a product is shared: more of them balance better, fewer pack less.
const SHARES: u64 = 4;

/// Block sizes of one product, in elements.
#[derive(Debug, Clone, Copy)]
struct Blocks {
    kc: u64,
    mc: u64,
    nc: u64,
}

impl Blocks {
    fn new(family: &GemmFamily, gemm: &Gemm) -> Blocks {
        let size = gemm.dtype.size();
        let kc = pass_length(gemm);
        let depth = packed_depth(gemm, kc).max(1);
        let fit = |bytes: u64, unit: u64, limit: u64| {
            let whole = bytes / (depth * size) / unit * unit;
            whole.clamp(unit, limit.max(1).next_multiple_of(unit))
        };
        Blocks {
            kc,
            mc: fit(LEFT_BYTES, family.mr, gemm.m),
            nc: fit(RIGHT_BYTES, family.nr, gemm.n),
        }
    }
}

/// The length of a pass over k: equal parts, and all of it for bf16.
fn pass_length(gemm: &Gemm) -> u64 {
    if gemm.dtype == DType::BF16 || gemm.k == 0 {
        return gemm.k.max(1);
    }
    let passes = gemm.k.div_ceil(PASS_BYTES / gemm.dtype.size());
    gemm.k.div_ceil(passes).next_multiple_of(8).min(gemm.k)
}

/// Elements of a panel per row and pass: bf16 is packed in pairs, and sums over the whole batch at once.
fn packed_depth(gemm: &Gemm, kc: u64) -> u64 {
    match (gemm.dtype, gemm.sum_batch) {
        (DType::BF16, true) => kc.next_multiple_of(2) * gemm.batch,
        (DType::BF16, false) => kc.next_multiple_of(2),
        _ => kc,
    }
}

/// Blocks for sharing a product between workers: columns as a worker alone would take them, rows as many as there are
/// shares left, in whole panels.
pub(super) fn grid(family: &GemmFamily, gemm: &Gemm, workers: u64) -> Grid {
    let cols = Blocks::new(family, gemm).nc;
    let across = gemm.n.div_ceil(cols).max(1);
    let down = (SHARES * workers).div_ceil(across);
    Grid {
        rows: gemm.m.div_ceil(down).max(1).next_multiple_of(family.mr),
        cols,
    }
}

/// Bytes of the two packed blocks.
pub(super) fn work_bytes(family: &GemmFamily, gemm: &Gemm) -> u64 {
    let blocks = Blocks::new(family, gemm);
    let depth = packed_depth(gemm, blocks.kc) * gemm.dtype.size();
    padded(blocks.mc * depth) + padded(blocks.nc * depth)
}

/// # Safety
///
/// As for [`Product::run`].
pub(super) unsafe fn run(
    product: &Product<'_>,
    family: &GemmFamily,
    region: Region,
    work: Pointer,
) {
    let no_terms = product.gemm.k == 0 || product.terms(region.batch).is_empty();
    // The micro-kernel wants unit columns in `c`; anything else is first written to the output.
    let strided_c = product.gemm.c.is_some_and(|c| c.col_stride != 1);
    if no_terms || strided_c {
        // SAFETY: by the caller's promise.
        unsafe { product.start_from_c(region) };
    }
    if !no_terms {
        let driver = Driver::new(product, family, work);
        // SAFETY: by the caller's promise.
        unsafe { driver.run(region, strided_c) };
    }
}

/// Part of a sum: `[begin, end)` of k, of these batches.
#[derive(Debug, Clone)]
struct Pass {
    batches: std::ops::Range<u64>,
    k: [u64; 2],
}

struct Driver<'a> {
    product: &'a Product<'a>,
    family: &'a GemmFamily,
    blocks: Blocks,
    left: Pointer,
    right: Pointer,
}

impl<'a> Driver<'a> {
    fn new(product: &'a Product<'a>, family: &'a GemmFamily, work: Pointer) -> Driver<'a> {
        let blocks = Blocks::new(family, product.gemm);
        let left_bytes =
            padded(blocks.mc * packed_depth(product.gemm, blocks.kc) * product.gemm.dtype.size());
        Driver {
            product,
            family,
            blocks,
            left: work,
            right: work.plus(left_bytes),
        }
    }

    fn passes(&self, batch: u64) -> impl Iterator<Item = Pass> {
        let (k, kc) = (self.product.gemm.k, self.blocks.kc);
        let terms = self.product.terms(batch);
        let together = self.product.gemm.dtype == DType::BF16;
        let groups = if together { 1 } else { terms.end - terms.start };
        (0..groups).flat_map(move |group| {
            let first = terms.start + group;
            let batches = if together {
                terms.clone()
            } else {
                first..first + 1
            };
            let each = move |begin: u64| Pass {
                batches: batches.clone(),
                k: [begin, k.min(begin + kc)],
            };
            (0..k).step_by(kc as usize).map(each)
        })
    }

    /// # Safety
    ///
    /// As for [`Product::run`]; with `started` the output already holds `beta · c`.
    unsafe fn run(&self, region: Region, started: bool) {
        for col in (region.cols[0]..region.cols[1]).step_by(self.blocks.nc as usize) {
            let cols = [col, region.cols[1].min(col + self.blocks.nc)];
            for (n, pass) in self.passes(region.batch).enumerate() {
                let block = Region { cols, ..region };
                // SAFETY: by the caller's promise; the right block has room for nc columns of a pass.
                unsafe {
                    self.pack_right(&pass, cols);
                    self.row_blocks(&pass, block, started || n > 0);
                }
            }
        }
    }

    unsafe fn row_blocks(&self, pass: &Pass, region: Region, add: bool) {
        for row in (region.rows[0]..region.rows[1]).step_by(self.blocks.mc as usize) {
            let rows = [row, region.rows[1].min(row + self.blocks.mc)];
            let block = Region { rows, ..region };
            if block.is_needed(self.product.gemm.symmetric) {
                // SAFETY: by the caller's promise; the left block has room for mc rows of a pass.
                unsafe {
                    self.pack_left(pass, rows);
                    self.tiles(pass, block, add);
                }
            }
        }
    }

    /// Elements of a packed panel per row.
    fn depth(&self, pass: &Pass) -> u64 {
        (pass.batches.end - pass.batches.start) * self.slice_depth(pass)
    }

    /// The same for one batch.
    fn slice_depth(&self, pass: &Pass) -> u64 {
        let unit = if self.product.gemm.dtype == DType::BF16 {
            2
        } else {
            1
        };
        (pass.k[1] - pass.k[0]).next_multiple_of(unit)
    }

    unsafe fn pack_left(&self, pass: &Pass, rows: [u64; 2]) {
        let a = &self.product.gemm.a;
        let at =
            |batch: u64, row: u64| self.product.entry(self.product.a, a, batch, row, pass.k[0]);
        let packing = Packing {
            pack: self.family.pack_a,
            unit: self.family.mr,
            matrix: a,
            along_rows: true,
        };
        // SAFETY: entries from `at` on lie inside the factor; the left block is this worker's.
        unsafe { self.pack(pass, rows, self.left, &packing, at) }
    }

    unsafe fn pack_right(&self, pass: &Pass, cols: [u64; 2]) {
        let b = &self.product.gemm.b;
        let at =
            |batch: u64, col: u64| self.product.entry(self.product.b, b, batch, pass.k[0], col);
        let packing = Packing {
            pack: self.family.pack_b,
            unit: self.family.nr,
            matrix: b,
            along_rows: false,
        };
        // SAFETY: as for the left factor.
        unsafe { self.pack(pass, cols, self.right, &packing, at) }
    }

    /// Packs all panels at once, or panel by panel where a panel holds several batches.
    unsafe fn pack(
        &self,
        pass: &Pass,
        [begin, end]: [u64; 2],
        to: Pointer,
        packing: &Packing<'_>,
        at: impl Fn(u64, u64) -> Pointer,
    ) {
        let k = pass.k[1] - pass.k[0];
        let step = if pass.batches.end - pass.batches.start == 1 {
            end - begin
        } else {
            packing.unit
        };
        let line = self.product.gemm.dtype.size() * packing.unit;
        for (panel, first) in (begin..end).step_by(step.max(1) as usize).enumerate() {
            let base = to.plus(panel as u64 * self.depth(pass) * line);
            for (n, batch) in pass.batches.clone().enumerate() {
                let dst = base.plus(n as u64 * self.slice_depth(pass) * line);
                // SAFETY: by the caller's promise.
                unsafe { packing.call(dst, at(batch, first), step.min(end - first), k) };
            }
        }
    }

    unsafe fn tiles(&self, pass: &Pass, block: Region, add: bool) {
        let (mr, nr) = (self.family.mr, self.family.nr);
        let (size, depth) = (self.product.gemm.dtype.size(), self.depth(pass));
        for col in (block.cols[0]..block.cols[1]).step_by(nr as usize) {
            let cols = [col, block.cols[1].min(col + nr)];
            let right = self.right.plus((col - block.cols[0]) * depth * size);
            for row in (block.rows[0]..block.rows[1]).step_by(mr as usize) {
                let tile = Region {
                    rows: [row, block.rows[1].min(row + mr)],
                    cols,
                    batch: block.batch,
                };
                if tile.is_needed(self.product.gemm.symmetric) {
                    let left = self.left.plus((row - block.rows[0]) * depth * size);
                    // SAFETY: both panels are packed, and the tile is inside the region.
                    unsafe { self.tile(depth, left, right, tile, add) };
                }
            }
        }
    }

    unsafe fn tile(&self, depth: u64, left: Pointer, right: Pointer, tile: Region, add: bool) {
        let product = self.product;
        let entry = |base, matrix: &Matrix| {
            product.entry(base, matrix, tile.batch, tile.rows[0], tile.cols[0])
        };
        let out = entry(product.out, &product.gemm.out);
        let stride = product.gemm.out.row_stride;
        let (c, c_stride, beta) = match (product.c, &product.gemm.c) {
            _ if add => (out.0.cast_const().cast(), stride, 1.0),
            (Some(c), Some(at)) => (
                entry(c, at).0.cast_const().cast(),
                at.row_stride,
                product.beta,
            ),
            _ => (null::<c_void>(), 0, 0.0),
        };
        let (m, n) = (tile.rows[1] - tile.rows[0], tile.cols[1] - tile.cols[0]);
        let (a, b) = (left.0.cast_const().cast(), right.0.cast_const().cast());
        // SAFETY: the family's contract: packed panels of `depth`, a tile of at most mr × nr inside the output.
        unsafe {
            (self.family.tile)(
                depth,
                a,
                b,
                out.0.cast(),
                stride,
                c,
                c_stride,
                product.alpha,
                beta,
                m,
                n,
            )
        }
    }
}

/// How one factor is packed.
struct Packing<'a> {
    pack: PackFn,
    unit: u64,
    matrix: &'a Matrix,
    /// Panels run along the rows of the factor (the left one) rather than its columns.
    along_rows: bool,
}

impl Packing<'_> {
    /// # Safety
    ///
    /// `count` rows or columns of length `k` are readable from `src`; their panels fit at `dst`.
    unsafe fn call(&self, dst: Pointer, src: Pointer, count: u64, k: u64) {
        let (rows, cols) = if self.along_rows {
            (count, k)
        } else {
            (k, count)
        };
        let (row_stride, col_stride) = (self.matrix.row_stride, self.matrix.col_stride);
        // SAFETY: by the caller's promise.
        unsafe {
            (self.pack)(
                dst.0.cast(),
                src.0.cast_const().cast(),
                row_stride,
                col_stride,
                rows,
                cols,
            )
        }
    }
}
