//! What an artifact's PTX carries beside the map kernels of its rules: adding up, moving, and looking for NaN.
//!
//! The entries take a table of tensors as map kernels do (operands, scalars, dims, starts, number of tensors):
//!
//! | entry | operands | scalars | dims | work item |
//! |---|---|---|---|---|
//! | `optc_sums_<dtype>` | f64 partial sums `[chunks][columns]`; totals of the dtype | none | chunks, columns | [`TOTALS_ITEM`] columns |
//! | `optc_maxs_<dtype>` | the same of partial maxima | none | the same | the same |
//! | `optc_gather_<bytes>` | strided tensor; contiguous one | room for [`AXES`] pairs of length and stride in elements, as integers, the last axis first | elements, axes | [`CHUNK`](crate::kernel::CHUNK) elements |
//! | `optc_scatter_<bytes>` | strided tensor; contiguous one | the same | the same | the same |
//!
//! Partial sums are added in the order of their chunks and the total is rounded once, as [`crate::kernel`] says. A
//! gradient is looked at by a map kernel, [`zero_or_nan`].

use crate::dtype::DType;
use crate::kernel::{Access, BinaryOp, Fold, Input, Inst, MapKernel, Output, OutputKind, Space};

/// Columns per work item of `optc_sums_…` and `optc_maxs_…`.
pub const TOTALS_ITEM: u64 = 128;
/// Axes of a strided tensor.
pub const AXES: usize = 16;
/// The dtypes of totals.
pub const TOTALS: [DType; 4] = [DType::F64, DType::F32, DType::BF16, DType::F16];
/// The sizes of elements that are moved.
pub const SIZES: [u64; 3] = [2, 4, 8];

/// The entry that folds partial sums or maxima and rounds to that dtype.
pub fn totals_symbol(fold: Fold, dtype: DType) -> String {
    match fold {
        Fold::Sum => format!("optc_sums_{dtype}"),
        Fold::Max => format!("optc_maxs_{dtype}"),
    }
}

/// The entry that makes elements of that many bytes contiguous.
pub fn gather_symbol(size: u64) -> String {
    format!("optc_gather_{size}")
}

/// The entry that puts contiguous elements of that many bytes back.
pub fn scatter_symbol(size: u64) -> String {
    format!("optc_scatter_{size}")
}

/// The names of all entries beside map kernels.
pub fn symbols() -> impl Iterator<Item = String> {
    let totals = Fold::BOTH
        .into_iter()
        .flat_map(|fold| TOTALS.map(|dtype| totals_symbol(fold, dtype)));
    let moves = SIZES.map(|size| [gather_symbol(size), scatter_symbol(size)]);
    totals.chain(moves.into_iter().flatten())
}

/// The sum of `0 · x` over all elements: 0 if they are finite, else NaN.
pub fn zero_or_nan(dtype: DType) -> MapKernel {
    let compute = if dtype == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    MapKernel {
        space: Space::Flat,
        compute,
        inputs: vec![Input {
            dtype,
            access: Access::Full,
        }],
        scalars: 0,
        insts: vec![
            Inst::Load(0),
            Inst::Const(0.0),
            Inst::Binary(BinaryOp::Mul, 0, 1),
        ],
        outputs: vec![Output {
            value: 2,
            dtype: DType::F64,
            kind: OutputKind::All(Fold::Sum),
        }],
    }
}

/// The kernels of [`zero_or_nan`] for every dtype of a gradient.
pub fn kernels() -> impl Iterator<Item = MapKernel> {
    TOTALS.into_iter().map(zero_or_nan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_eval::run;
    use crate::kernel_verify::verify;

    #[test]
    fn what_is_not_finite_shows() {
        for kernel in kernels() {
            verify(&kernel).unwrap();
            let sum = |values: &[f64]| run(&kernel, &[values], &[], values.len() as u64, 1)[0][0];
            assert_eq!(sum(&[1.0, -2.0, 0.0]).to_bits(), 0.0f64.to_bits());
            assert_eq!(sum(&[]), 0.0);
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert!(sum(&[1.0, bad, 3.0]).is_nan());
            }
        }
    }
}
