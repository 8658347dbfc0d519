//! A tensor of the optimizer's own, in host memory or on a device.

use crate::cuda::{Buffer, CudaError};
use crate::memory::{Memory, Pointer};
use std::borrow::Cow;

/// State, or the contiguous copy of a strided tensor.
#[derive(Debug)]
pub(crate) enum Storage {
    Host(Memory),
    Device(Buffer),
}

impl Storage {
    /// Its address where it is.
    pub(crate) fn pointer(&self) -> Pointer {
        match self {
            Storage::Host(memory) => memory.pointer(),
            Storage::Device(buffer) => Pointer::on_device(buffer.address()),
        }
    }

    /// Its bytes; those of a device are copied.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, CudaError> {
        match self {
            Storage::Host(memory) => Ok(Cow::Borrowed(memory.as_slice())),
            Storage::Device(buffer) => buffer.download().map(Cow::Owned),
        }
    }

    /// Replaces its bytes by as many.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CudaError> {
        match self {
            Storage::Host(memory) => {
                memory.as_mut_slice().copy_from_slice(bytes);
                Ok(())
            }
            Storage::Device(buffer) => buffer.upload(bytes),
        }
    }
}
