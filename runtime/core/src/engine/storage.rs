//! A tensor of the optimizer's own, in host memory or on a device, or one that the caller lends.

use crate::cuda::device::{Device, download};
use crate::cuda::{Buffer, CudaError};
use crate::memory::{Memory, Pointer};
use std::borrow::Cow;

/// State, or the contiguous copy of a strided tensor.
#[derive(Debug)]
pub(crate) enum Storage {
    Host(Memory),
    Device(Buffer),
    Lent(Lent),
}

/// The caller's memory, for the time of a loan.
#[derive(Debug)]
pub(crate) struct Lent {
    at: Pointer,
    bytes: u64,
    /// None in host memory.
    device: Option<Device>,
}

impl Lent {
    /// # Safety
    ///
    /// That many bytes are there, readable and writable, as long as this is held, and nobody else uses them.
    pub(crate) unsafe fn new(at: Pointer, bytes: u64, device: Option<Device>) -> Lent {
        Lent { at, bytes, device }
    }

    fn bytes(&self) -> Result<Cow<'_, [u8]>, CudaError> {
        match &self.device {
            Some(device) => {
                // SAFETY: as many bytes are there, by the promise of `new`.
                unsafe { download(device, self.at.address(), self.bytes) }.map(Cow::Owned)
            }
            // SAFETY: as above; an empty tensor has the aligned address that `address` gives it.
            None => Ok(Cow::Borrowed(unsafe {
                std::slice::from_raw_parts(self.at.0, self.bytes as usize)
            })),
        }
    }
}

impl Storage {
    /// Its address where it is.
    pub(crate) fn pointer(&self) -> Pointer {
        match self {
            Storage::Host(memory) => memory.pointer(),
            Storage::Device(buffer) => Pointer::on_device(buffer.address()),
            Storage::Lent(lent) => lent.at,
        }
    }

    /// Its bytes; those of a device are copied.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, CudaError> {
        match self {
            Storage::Host(memory) => Ok(Cow::Borrowed(memory.as_slice())),
            Storage::Device(buffer) => buffer.download().map(Cow::Owned),
            Storage::Lent(lent) => lent.bytes(),
        }
    }

    /// Replaces its bytes by as many; lent ones are the caller's to write.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CudaError> {
        match self {
            Storage::Host(memory) => {
                memory.as_mut_slice().copy_from_slice(bytes);
                Ok(())
            }
            Storage::Device(buffer) => buffer.upload(bytes),
            Storage::Lent(_) => Ok(()),
        }
    }
}
