//! Matrix products: for each dtype a family of four functions, after BLIS.
//!
//! ```c
//! void optc_gemm_f32_shape (uint64_t out[2]);                        // mr, nr: the tile in elements
//! void optc_gemm_f32_pack_a(T *dst, const T *src, uint64_t row_stride, uint64_t col_stride, uint64_t m, uint64_t k);
//! void optc_gemm_f32_pack_b(T *dst, const T *src, uint64_t row_stride, uint64_t col_stride, uint64_t k, uint64_t n);
//! void optc_gemm_f32_tile  (uint64_t k, const T *a_panel, const T *b_panel,
//!                           T *out, uint64_t out_row_stride, const T *c, uint64_t c_row_stride,
//!                           double alpha, double beta, uint64_t m, uint64_t n);
//! ```
//!
//! All strides are in elements. `pack_a` writes panels of `mr` rows, `pack_b` panels of `nr` columns, zero padded:
//! `ceil(m / mr) * mr * k2` and `ceil(n / nr) * nr * k2` elements, with `k2 = k`, for bf16 rounded up to even. What a
//! panel looks like inside is private to the family. `tile` computes `out = alpha * a b + beta * c` for the first `m`
//! rows and `n` columns of one tile (`m <= mr`, `n <= nr`); `c` may be null (nothing is added) or `out`; the columns of
//! both are one element apart.
//!
//! Each result is one sum over `k` in order, with fused multiply-add, in f32 (bf16 too) or f64: it does not depend on
//! where a tile lies. bf16 results are rounded once, at the end.

mod pack;
mod tile;

use crate::target::lanes;
use crate::text::{Elem, Text, act, emit};
use optc_artifact::Isa;
use optc_core::dtype::DType;

const POINTER: &str = "!llvm.ptr";

/// How one dtype is multiplied on one ISA level.
#[derive(Debug, Clone, Copy)]
struct Family {
    dtype: DType,
    isa: Isa,
    /// What sums are held in.
    sum: Elem,
    /// Sums in one register.
    lanes: u32,
    /// Rows of a tile.
    mr: u32,
    /// Columns of a tile: two registers.
    nr: u32,
    /// Steps of `k` that lie beside each other in a panel: a pair for bf16, which is how `vdpbf16ps` takes them.
    group: u32,
}

impl Family {
    /// Tiles fill the registers with sums: 24 of 32, or 12 of 16.
    fn new(dtype: DType, isa: Isa) -> Family {
        let sum = if dtype == DType::F64 {
            Elem::F64
        } else {
            Elem::F32
        };
        let lanes = lanes(isa, if dtype == DType::F64 { 64 } else { 32 });
        let mr = if isa == Isa::X86_64V3 { 6 } else { 12 };
        let group = if dtype == DType::BF16 { 2 } else { 1 };
        Family {
            dtype,
            isa,
            sum,
            lanes,
            mr,
            nr: 2 * lanes,
            group,
        }
    }

    fn symbol(&self, function: &str) -> String {
        format!("optc_gemm_{}_{function}", self.dtype)
    }
}

/// Writes the family of `dtype`, which is `F32`, `F64` or `BF16`.
pub(crate) fn emit(t: &mut Text, dtype: DType, isa: Isa) {
    let family = Family::new(dtype, isa);
    shape(t, &family);
    pack::emit_a(t, &family);
    pack::emit_b(t, &family);
    tile::emit(t, &family);
}

fn shape(t: &mut Text, family: &Family) {
    t.function(&family.symbol("shape"), &[POINTER], |t, args| {
        for (n, size) in [family.mr, family.nr].into_iter().enumerate() {
            let value = t.index(i64::from(size));
            let address = emit!(
                t,
                "llvm.getelementptr {}[{n}] : ({POINTER}) -> {POINTER}, i64",
                args[0]
            );
            act!(t, "llvm.store {value}, {address} : i64, {POINTER}");
        }
    });
}
