//! Tensors as the caller holds them: pointer, dtype, dimensions, strides, device; the shape of a `DLTensor`.
//!
//! ```
//! use optc_runtime::view::TensorView;
//!
//! let mut weights = vec![0.0f32; 6];
//! let view = TensorView::from_mut(&mut weights, &[2, 3]).unwrap();
//! assert!(view.is_contiguous());
//! ```
//!
//! A view owns nothing. It is neither `Copy` nor `Clone`, so the views of one step over slices never overlap.

use optc_core::dtype::DType;
use std::ffi::c_void;
use std::fmt;
use std::marker::PhantomData;

/// Where a tensor lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Device {
    /// Host memory.
    #[default]
    Cpu,
    /// The memory of that CUDA device.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

/// A tensor of the caller's, for the time of one step.
#[derive(Debug)]
pub struct TensorView<'a> {
    data: *mut c_void,
    dtype: DType,
    dims: &'a [i64],
    strides: Option<&'a [i64]>,
    device: Device,
    writable: bool,
    memory: PhantomData<&'a mut ()>,
}

/// Rust types that are tensor elements.
pub trait Element: Copy {
    /// The type's name in plans.
    const DTYPE: DType;
}

impl Element for f64 {
    const DTYPE: DType = DType::F64;
}
impl Element for f32 {
    const DTYPE: DType = DType::F32;
}
impl Element for half::bf16 {
    const DTYPE: DType = DType::BF16;
}
impl Element for half::f16 {
    const DTYPE: DType = DType::F16;
}

impl<'a> TensorView<'a> {
    /// A contiguous tensor that a step may write. `None` unless the dimensions' product is the slice's length.
    pub fn from_mut<T: Element>(data: &'a mut [T], dims: &'a [i64]) -> Option<TensorView<'a>> {
        let whole = element_count(dims) == Some(data.len() as u64);
        whole.then(|| TensorView::host(data.as_mut_ptr().cast(), T::DTYPE, dims, true))
    }

    /// A contiguous tensor that a step only reads. `None` unless the dimensions' product is the slice's length.
    pub fn from_ref<T: Element>(data: &'a [T], dims: &'a [i64]) -> Option<TensorView<'a>> {
        let whole = element_count(dims) == Some(data.len() as u64);
        whole.then(|| TensorView::host(data.as_ptr().cast_mut().cast(), T::DTYPE, dims, false))
    }

    fn host(data: *mut c_void, dtype: DType, dims: &'a [i64], writable: bool) -> TensorView<'a> {
        TensorView {
            data,
            dtype,
            dims,
            strides: None,
            device: Device::Cpu,
            writable,
            memory: PhantomData,
        }
    }

    /// A tensor at a pointer. Strides are in elements; `None` means contiguous, row-major.
    ///
    /// # Safety
    ///
    /// For `'a`: every element that `dims` and `strides` reach is inside one allocation on `device`, initialised,
    /// aligned to its dtype, and reached by one index only; nobody else writes it, and if the view is a step's
    /// parameter, nobody else reads it either and no other view of the step overlaps it.
    pub unsafe fn from_raw(
        data: *mut c_void,
        dtype: DType,
        dims: &'a [i64],
        strides: Option<&'a [i64]>,
        device: Device,
    ) -> TensorView<'a> {
        TensorView {
            data,
            dtype,
            dims,
            strides,
            device,
            writable: true,
            memory: PhantomData,
        }
    }

    /// The element at index 0, 0, …
    pub fn data(&self) -> *mut c_void {
        self.data
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    pub fn dims(&self) -> &'a [i64] {
        self.dims
    }

    /// Distances between neighbours along each axis, in elements; `None` when contiguous.
    pub fn strides(&self) -> Option<&'a [i64]> {
        self.strides
    }

    /// Where the elements are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Whether a step may write it.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// The number of elements, unless a dimension is negative or the product too large.
    pub fn element_count(&self) -> Option<u64> {
        element_count(self.dims)
    }

    /// Whether the elements lie row-major without gaps. Axes of length 1 may have any stride.
    pub fn is_contiguous(&self) -> bool {
        let Some(strides) = self.strides else {
            return true;
        };
        let mut expected = 1i64;
        let dense = self.dims.iter().zip(strides).rev().all(|(&dim, &stride)| {
            let fits = dim == 1 || stride == expected;
            expected = expected.saturating_mul(dim);
            fits
        });
        dense || self.dims.contains(&0)
    }
}

fn element_count(dims: &[i64]) -> Option<u64> {
    dims.iter().try_fold(1u64, |product, &dim| {
        product.checked_mul(u64::try_from(dim).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strided<'a>(dims: &'a [i64], strides: &'a [i64]) -> TensorView<'a> {
        // SAFETY: nothing reads through this view.
        unsafe {
            TensorView::from_raw(
                std::ptr::null_mut(),
                DType::F32,
                dims,
                Some(strides),
                Device::Cpu,
            )
        }
    }

    #[test]
    fn a_slice_must_have_the_shape() {
        let data = [0.0f32; 6];
        assert!(TensorView::from_ref(&data, &[2, 3]).is_some());
        assert!(TensorView::from_ref(&data, &[7]).is_none());
        assert!(TensorView::from_ref(&data, &[-2, -3]).is_none());
        assert!(TensorView::from_ref::<f32>(&[], &[4, 0]).is_some());
    }

    #[test]
    fn contiguity_ignores_axes_of_one() {
        assert!(strided(&[2, 3], &[3, 1]).is_contiguous());
        assert!(!strided(&[2, 3], &[1, 2]).is_contiguous());
        assert!(strided(&[1, 3], &[99, 1]).is_contiguous());
        assert!(strided(&[0, 3], &[7, 7]).is_contiguous());
        assert!(strided(&[], &[]).is_contiguous());
    }
}
