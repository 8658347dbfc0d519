//! The entries of an artifact's PTX, by what they are for.

use super::device::{Code, Device};
use super::driver::Function;
use super::error::CudaError;
use optc_core::dtype::DType;
use optc_core::kernel::{Fold, MapKernel};
use optc_core::kernel_support as support;

/// What a piece of work needs from the PTX.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// A map kernel.
    Map(&'a MapKernel),
    /// Folds partial results and rounds the totals to a dtype.
    Totals(Fold, DType),
    /// Strided elements of that many bytes to contiguous ones.
    Gather(u64),
    /// Contiguous elements of that many bytes to strided ones.
    Scatter(u64),
}

impl Entry<'_> {
    /// Its name in the PTX.
    pub(crate) fn symbol(&self) -> String {
        match self {
            Entry::Map(kernel) => kernel.symbol(),
            Entry::Totals(fold, dtype) => support::totals_symbol(*fold, *dtype),
            Entry::Gather(size) => support::gather_symbol(*size),
            Entry::Scatter(size) => support::scatter_symbol(*size),
        }
    }
}

/// Compiled PTX; the driver compiles it when this is made.
#[derive(Debug)]
pub(crate) struct Entries(Code);

/// Why an entry cannot be had.
#[derive(Debug)]
pub(crate) enum NoEntry {
    /// The PTX lacks it.
    Missing(String),
    Cuda(CudaError),
}

impl From<CudaError> for NoEntry {
    fn from(error: CudaError) -> NoEntry {
        NoEntry::Cuda(error)
    }
}

impl Entries {
    pub(crate) fn load(device: &Device, ptx: &str) -> Result<Entries, CudaError> {
        device.load(ptx).map(Entries)
    }

    pub(crate) fn find(&self, entry: Entry<'_>) -> Result<Function, NoEntry> {
        let symbol = entry.symbol();
        self.0.function(&symbol)?.ok_or(NoEntry::Missing(symbol))
    }
}
