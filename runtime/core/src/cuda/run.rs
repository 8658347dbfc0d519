//! One map kernel by itself, over tensors in host memory: what tests and tools compare with the kernel's meaning.

use super::device::{Buffer, Device};
use super::driver::Function;
use super::entries::{Entries, Entry, NoEntry};
use super::error::CudaError;
use super::table::{Ring, Table};
use crate::prepared::partials;
use optc_core::kernel::{CHUNK, MapKernel, OutputKind, ROW_CHUNK, Space};
use optc_core::kernel_support::TOTALS_ITEM;

/// A device with the PTX of one artifact.
#[derive(Debug)]
pub struct Runner {
    device: Device,
    entries: Entries,
}

/// What a kernel is run over.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The bytes of each input.
    pub inputs: Vec<Vec<u8>>,
    /// One number for each scalar.
    pub scalars: Vec<f64>,
    /// Flat: elements. Grid: rows.
    pub rows: u64,
    /// Flat: 1. Grid: columns.
    pub cols: u64,
}

/// A tensor's buffers on the device.
struct Placed {
    inputs: Vec<Buffer>,
    outputs: Vec<Placing>,
}

/// An output, and its partial sums if it has any.
struct Placing {
    partial: Option<Buffer>,
    out: Buffer,
}

impl Runner {
    /// Compiles the PTX for the device.
    ///
    /// # Errors
    ///
    /// [`CudaError::Ptx`].
    pub fn new(device: &Device, ptx: &str) -> Result<Runner, CudaError> {
        Ok(Runner {
            device: device.clone(),
            entries: Entries::load(device, ptx)?,
        })
    }

    /// Runs a kernel over all tensors in one launch; the bytes of every output of each, sums added up and rounded.
    /// `None` if the PTX lacks the kernel.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    ///
    /// # Panics
    ///
    /// When a tensor has not the inputs and scalars of the kernel.
    pub fn run(
        &self,
        kernel: &MapKernel,
        tensors: &[Tensor],
    ) -> Result<Option<Vec<Vec<Vec<u8>>>>, CudaError> {
        let Some(function) = self.find(Entry::Map(kernel))? else {
            return Ok(None);
        };
        let placed = tensors
            .iter()
            .map(|tensor| self.place(kernel, tensor))
            .collect::<Result<Vec<Placed>, CudaError>>()?;
        self.map(kernel, function, tensors, &placed)?;
        for (n, output) in kernel.outputs.iter().enumerate() {
            if let (true, Some(fold)) = (output.kind.has_partials(), output.kind.fold()) {
                let Some(function) = self.find(Entry::Totals(fold, output.dtype))? else {
                    return Ok(None);
                };
                self.totals(kernel, n, function, tensors, &placed)?;
            }
        }
        let read = |placed: &Placed| {
            placed
                .outputs
                .iter()
                .map(|output| output.out.download())
                .collect()
        };
        placed
            .iter()
            .map(read)
            .collect::<Result<_, CudaError>>()
            .map(Some)
    }

    fn find(&self, entry: Entry<'_>) -> Result<Option<Function>, CudaError> {
        match self.entries.find(entry) {
            Ok(function) => Ok(Some(function)),
            Err(NoEntry::Missing(_)) => Ok(None),
            Err(NoEntry::Cuda(error)) => Err(error),
        }
    }

    fn place(&self, kernel: &MapKernel, tensor: &Tensor) -> Result<Placed, CudaError> {
        let counts = (tensor.inputs.len(), tensor.scalars.len());
        assert_eq!(
            counts,
            (kernel.inputs.len(), kernel.scalars as usize),
            "the kernel's operands"
        );
        let upload = |bytes: &Vec<u8>| {
            let mut buffer = self.device.allocate(bytes.len() as u64)?;
            buffer.upload(bytes).map(|()| buffer)
        };
        let inputs = tensor
            .inputs
            .iter()
            .map(upload)
            .collect::<Result<_, CudaError>>()?;
        let output = |output: &optc_core::kernel::Output| {
            let count = written(output.kind, tensor);
            let sums = partials(kernel, output.kind, tensor.rows, tensor.cols);
            Ok(Placing {
                partial: (output.kind.has_partials())
                    .then(|| self.device.allocate(8 * sums))
                    .transpose()?,
                out: self.device.zeroed(count * output.dtype.size())?,
            })
        };
        let outputs = kernel
            .outputs
            .iter()
            .map(output)
            .collect::<Result<_, CudaError>>()?;
        Ok(Placed { inputs, outputs })
    }

    fn map(
        &self,
        kernel: &MapKernel,
        function: Function,
        tensors: &[Tensor],
        placed: &[Placed],
    ) -> Result<(), CudaError> {
        let (mut words, operands) = (0, kernel.inputs.len() + kernel.outputs.len());
        let table = Table::new(&mut words, tensors.len(), operands, kernel.scalars as usize);
        self.launch(table, function, |writer| {
            for (tensor, placed) in tensors.iter().zip(placed) {
                let outputs = placed
                    .outputs
                    .iter()
                    .map(|output| output.partial.as_ref().unwrap_or(&output.out));
                let operands = placed.inputs.iter().chain(outputs).map(Buffer::address);
                let scalars = tensor.scalars.iter().map(|scalar| scalar.to_bits());
                writer.line(
                    operands,
                    scalars,
                    [tensor.rows, tensor.cols],
                    chunks(kernel, tensor),
                );
            }
        })
    }

    fn totals(
        &self,
        kernel: &MapKernel,
        n: usize,
        function: Function,
        tensors: &[Tensor],
        placed: &[Placed],
    ) -> Result<(), CudaError> {
        let table = Table::new(&mut 0, tensors.len(), 2, 0);
        self.launch(table, function, |writer| {
            for (tensor, placed) in tensors.iter().zip(placed) {
                let Placing {
                    partial: Some(partial),
                    out,
                } = &placed.outputs[n]
                else {
                    continue;
                };
                let columns = written(kernel.outputs[n].kind, tensor);
                let operands = [partial.address(), out.address()].into_iter();
                let dims = [chunks(kernel, tensor), columns];
                writer.line(
                    operands,
                    std::iter::empty(),
                    dims,
                    columns.div_ceil(TOTALS_ITEM),
                );
            }
        })
    }

    fn launch(
        &self,
        table: Table,
        function: Function,
        fill: impl FnOnce(&mut super::table::Writer<'_>),
    ) -> Result<(), CudaError> {
        let words = table.words();
        let write = |words: &mut [u64]| {
            let mut writer = table.writer(words);
            fill(&mut writer);
            writer.finish()
        };
        Ring::new(&self.device, words)?.run(words, write, |filled, base| {
            match table.launch(function, filled, base) {
                // SAFETY: `place` allocated every operand with the size that the entry touches.
                Some(launch) => unsafe { self.device.api().launch(&launch, self.device.stream()) },
                None => Ok(()),
            }
        })?;
        self.device.synchronize()
    }
}

/// Work items of a tensor.
fn chunks(kernel: &MapKernel, tensor: &Tensor) -> u64 {
    tensor.rows.div_ceil(match kernel.space {
        Space::Flat => CHUNK,
        Space::Grid => ROW_CHUNK,
    })
}

/// Elements of an output.
fn written(kind: OutputKind, tensor: &Tensor) -> u64 {
    match kind {
        OutputKind::Store => tensor.rows * tensor.cols,
        OutputKind::All(_) => 1,
        OutputKind::Cols(_) => tensor.rows,
        OutputKind::Rows(_) => tensor.cols,
    }
}
