//! Contiguous copies of strided tensors on a device, and the way back for parameters.

use super::super::{Param, StepInput};
use super::program::Lack;
use crate::cuda::CudaError;
use crate::cuda::device::Device;
use crate::cuda::driver::Function;
use crate::cuda::entries::{Entries, Entry};
use crate::cuda::table::{Filled, Ring, Table};
use crate::error::Which;
use crate::memory::Pointer;
use crate::view::TensorView;
use optc_core::kernel::CHUNK;
use optc_core::kernel_support::{AXES, SIZES};

/// What moves strided elements, and what is strided in this step.
#[derive(Debug)]
pub(in crate::engine) struct Strided {
    gather: [Function; SIZES.len()],
    scatter: [Function; SIZES.len()],
    /// Room for one tensor.
    table: Table,
    /// Parameters and gradients of this step.
    pub(in crate::engine) tensors: Vec<(usize, Which)>,
}

impl Strided {
    pub(super) fn new(entries: &Entries, on_device: &[usize]) -> Result<Strided, Lack> {
        let first = on_device.first().copied().unwrap_or(0);
        let find = |entry: fn(u64) -> Entry<'static>| -> Result<[Function; SIZES.len()], Lack> {
            let mut functions = [Function(0); SIZES.len()];
            for (function, size) in functions.iter_mut().zip(SIZES) {
                *function = entries.find(entry(size)).map_err(|lack| (first, lack))?;
            }
            Ok(functions)
        };
        Ok(Strided {
            gather: find(Entry::Gather)?,
            scatter: find(Entry::Scatter)?,
            table: Table::new(&mut 0, 1, 2, 2 * AXES),
            tensors: Vec::with_capacity(2 * on_device.len()),
        })
    }

    pub(super) fn words(&self) -> usize {
        self.table.words()
    }

    /// Copies what is strided.
    pub(super) fn gather(
        &self,
        ring: &mut Ring,
        device: &Device,
        params: &[Param],
        inputs: &[StepInput<'_>],
    ) -> Result<(), CudaError> {
        let all = self.tensors.iter();
        all.filter_map(|&(n, which)| Some((n, which, inputs[n].view(which)?)))
            .try_for_each(|(n, which, view)| {
                self.copy(
                    ring,
                    device,
                    &self.gather,
                    view,
                    params[n].slots[which as usize],
                )
            })
    }

    /// Copies strided parameters back.
    pub(super) fn scatter(
        &self,
        ring: &mut Ring,
        device: &Device,
        params: &[Param],
        inputs: &[StepInput<'_>],
    ) -> Result<(), CudaError> {
        let written = self
            .tensors
            .iter()
            .filter(|(_, which)| *which == Which::Parameter);
        written.map(|&(n, _)| n).try_for_each(|n| {
            self.copy(
                ring,
                device,
                &self.scatter,
                &inputs[n].param,
                params[n].slots[0],
            )
        })
    }

    fn copy(
        &self,
        ring: &mut Ring,
        device: &Device,
        functions: &[Function; SIZES.len()],
        view: &TensorView<'_>,
        dense: Pointer,
    ) -> Result<(), CudaError> {
        let size = SIZES
            .iter()
            .position(|&size| size == view.dtype().size())
            .unwrap_or(0);
        let write = |words: &mut [u64]| self.write(words, view, dense);
        ring.run(self.words(), write, |filled, base| {
            match self.table.launch(functions[size], filled, base) {
                // SAFETY: every element that the view reaches is there, and the copy has one place for each.
                Some(launch) => unsafe { device.api().launch(&launch, device.stream()) },
                None => Ok(()),
            }
        })
    }

    fn write(&self, words: &mut [u64], view: &TensorView<'_>, dense: Pointer) -> Filled {
        let count = view.element_count().unwrap_or(0);
        let operands = [view.data() as u64, dense.address()].into_iter();
        let pairs = view.dims().iter().zip(view.strides().unwrap_or(&[])).rev();
        let axes = pairs.flat_map(|(&dim, &stride)| [dim as u64, stride as u64]);
        let mut writer = self.table.writer(words);
        let dims = [count, view.dims().len() as u64];
        writer.line(operands, axes, dims, count.div_ceil(CHUNK));
        writer.finish()
    }
}
