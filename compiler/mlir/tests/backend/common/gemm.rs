//! A product made of a family's functions, as the runtime composes them.

use super::Object;
use optc_core::dtype::DType;
use optc_runtime::kernels::{PackFn, ShapeFn, TileFn};
use std::ffi::c_void;

/// A matrix in stored bytes: entry (i, j) at element `i * row_stride + j * col_stride`.
pub(crate) struct Matrix {
    pub(crate) bytes: Vec<u8>,
    pub(crate) row_stride: u64,
    pub(crate) col_stride: u64,
}

/// Sizes and factors of `out = alpha * a b + beta * c`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) m: u64,
    pub(crate) n: u64,
    pub(crate) k: u64,
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
}

/// The functions of one dtype.
pub(crate) struct Family {
    pub(crate) dtype: DType,
    pub(crate) mr: u64,
    pub(crate) nr: u64,
    pack_a: PackFn,
    pack_b: PackFn,
    tile: TileFn,
}

/// What is added to a product.
pub(crate) enum Addend<'m> {
    None,
    Out,
    Matrix(&'m Matrix),
}

impl Family {
    pub(crate) fn of(object: &Object, dtype: DType) -> Family {
        let name = |function: &str| format!("optc_gemm_{dtype}_{function}");
        let mut shape = [0; 2];
        // SAFETY: the types are those that the crate documents; `shape` has room for both numbers.
        unsafe {
            object.symbol::<ShapeFn>(&name("shape"))(shape.as_mut_ptr());
            Family {
                dtype,
                mr: shape[0],
                nr: shape[1],
                pack_a: object.symbol(&name("pack_a")),
                pack_b: object.symbol(&name("pack_b")),
                tile: object.symbol(&name("tile")),
            }
        }
    }

    /// Bytes of one packed panel of `width`.
    pub(crate) fn panel_bytes(&self, width: u64, k: u64) -> u64 {
        let steps = if self.dtype == DType::BF16 {
            k.next_multiple_of(2)
        } else {
            k
        };
        width * steps * self.dtype.size()
    }

    /// Room for `count` rows or columns in panels of `width`, filled with something else than zeros.
    pub(crate) fn room(&self, count: u64, width: u64, k: u64) -> Vec<u8> {
        vec![0xAA; (count.div_ceil(width) * self.panel_bytes(width, k)) as usize]
    }

    pub(crate) fn pack_a(&self, packed: &mut [u8], a: &Matrix, m: u64, k: u64) {
        let (dst, src) = (packed.as_mut_ptr().cast(), a.bytes.as_ptr().cast());
        // SAFETY: `a` has m × k entries and `packed` the documented size.
        unsafe { (self.pack_a)(dst, src, a.row_stride, a.col_stride, m, k) }
    }

    pub(crate) fn pack_b(&self, packed: &mut [u8], b: &Matrix, k: u64, n: u64) {
        let (dst, src) = (packed.as_mut_ptr().cast(), b.bytes.as_ptr().cast());
        // SAFETY: `b` has k × n entries and `packed` the documented size.
        unsafe { (self.pack_b)(dst, src, b.row_stride, b.col_stride, k, n) }
    }

    /// Packs both sides and runs every tile.
    pub(crate) fn multiply(
        &self,
        a: &Matrix,
        b: &Matrix,
        out: &mut Matrix,
        add: Addend<'_>,
        size: Size,
    ) {
        let (mut packed_a, mut packed_b) = (
            self.room(size.m, self.mr, size.k),
            self.room(size.n, self.nr, size.k),
        );
        self.pack_a(&mut packed_a, a, size.m, size.k);
        self.pack_b(&mut packed_b, b, size.k, size.n);
        let row_stride = out.row_stride;
        let out = out.bytes.as_mut_ptr();
        for i in (0..size.m).step_by(self.mr as usize) {
            for j in (0..size.n).step_by(self.nr as usize) {
                let at = |stride: u64| ((i * stride + j) * self.dtype.size()) as usize;
                let a = &packed_a[(i * self.panel_bytes(1, size.k)) as usize..];
                let b = &packed_b[(j * self.panel_bytes(1, size.k)) as usize..];
                // SAFETY: the tile lies inside `out` and `c`, both with unit column stride.
                unsafe {
                    let out: *mut c_void = out.add(at(row_stride)).cast();
                    let (c, c_stride) = match &add {
                        Addend::None => (std::ptr::null(), 0),
                        Addend::Out => (out.cast_const(), row_stride),
                        Addend::Matrix(c) => {
                            (c.bytes.as_ptr().add(at(c.row_stride)).cast(), c.row_stride)
                        }
                    };
                    let (m, n) = ((size.m - i).min(self.mr), (size.n - j).min(self.nr));
                    let (a, b) = (a.as_ptr().cast(), b.as_ptr().cast());
                    (self.tile)(
                        size.k, a, b, out, row_stride, c, c_stride, size.alpha, size.beta, m, n,
                    );
                }
            }
        }
    }
}
