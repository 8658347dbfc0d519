//! Parameters and gradients on the device, and numbers to fill them with.

use optc_core::dtype::DType;
use optc_runtime::TensorView;
use optc_runtime::cuda::{Buffer, CudaError, Device};
use std::ffi::c_void;

/// An f32 tensor on the device.
pub(crate) struct Placed {
    dims: Vec<i64>,
    strides: Option<Vec<i64>>,
    device: optc_runtime::Device,
    buffer: Buffer,
}

impl Placed {
    /// Copies contiguous values there, or such as these strides reach.
    pub(crate) fn new(
        device: &Device,
        dims: &[i64],
        strides: Option<&[i64]>,
        values: &[f32],
    ) -> Result<Placed, CudaError> {
        let mut buffer = device.allocate(4 * values.len() as u64)?;
        buffer.upload(&bytes(values))?;
        Ok(Placed {
            dims: dims.to_vec(),
            strides: strides.map(<[i64]>::to_vec),
            device: optc_runtime::Device::Cuda(device.ordinal()),
            buffer,
        })
    }

    pub(crate) fn view(&mut self) -> TensorView<'_> {
        let data = self.buffer.address() as *mut c_void;
        // SAFETY: `new` was given as many values as the dimensions and strides reach, and the buffer is borrowed.
        unsafe {
            TensorView::from_raw(
                data,
                DType::F32,
                &self.dims,
                self.strides.as_deref(),
                self.device,
            )
        }
    }

    pub(crate) fn read(&self) -> Result<Vec<u8>, CudaError> {
        self.buffer.download()
    }
}

pub(crate) fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Numbers between −1 and 1 from a linear congruence: the same in every run.
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
