//! CUDA devices through the driver API, loaded when the first parameter on one is bound.
//!
//! | file | holds |
//! |---|---|
//! | `driver` | what is asked of a driver, and its handles |
//! | `library` | the machine's driver, `libcuda.so.1` |
//! | `device` | a device, its memory, compiled PTX |
//! | `entries` | the PTX's entries by purpose |
//! | `table` | tables of tensors, and how they reach the device |
//! | `fake` | a driver whose device is the host, for tests |
//! | `run` | one kernel by itself, for tests and tools |
//!
//! Nothing here knows plans or parameters; the engine's `device` steps them. Neither the CUDA toolkit nor LibTorch is
//! needed. What is left out: products and factorizations, graphs, peer access.

pub(crate) mod device;
// Public for a driver made for tests, as `fake` is.
#[doc(hidden)]
pub mod driver;
pub(crate) mod entries;
mod error;
#[cfg(any(test, feature = "fake-cuda"))]
#[doc(hidden)]
pub mod fake;
mod library;
mod run;
pub(crate) mod table;
#[cfg(test)]
mod tests;

pub use device::{Buffer, Device};
pub use driver::{Address, Driver, Stream};
pub use error::CudaError;
pub use run::{Runner, Tensor};
