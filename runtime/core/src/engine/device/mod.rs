//! The parameters on one CUDA device: their programs, and how a step runs over them.
//!
//! What a step needs is one table per kernel and stage, over all parameters that take part: addresses, host scalars,
//! sizes. The tables of a run are sent with one copy and launched in the order of the stream. A step so costs the host
//! one copy and a few launches, whatever the number of parameters; it allocates nothing and waits for nothing, unless
//! NaN are refused or skipped: then it reads back one number per parameter before anything is written.

pub(crate) mod bind;
mod program;
mod scan;
mod strided;

use super::{Param, StepInput};
use crate::cuda::device::Device;
use crate::cuda::entries::Entries;
use crate::cuda::table::Ring;
use crate::cuda::{Buffer, CudaError, Stream};
use crate::memory::Pointer;
use program::Program;
use scan::Scan;
use strided::Strided;

/// A device with the parameters on it.
#[derive(Debug)]
pub(crate) struct Part {
    device: Device,
    ring: Ring,
    init: Program,
    body: Program,
    /// Looks for NaN, where they are refused or skipped.
    scan: Option<Scan>,
    pub(super) strided: Strided,
    /// A gradient of zeros, as large as the largest that may be missing.
    zeros: Buffer,
    #[expect(dead_code, reason = "the programs' temporaries lie in it")]
    arena: Buffer,
    #[expect(dead_code, reason = "keeps the functions loaded")]
    entries: Entries,
}

impl Part {
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    pub(super) fn zeros(&self) -> Pointer {
        Pointer::on_device(self.zeros.address())
    }

    pub(super) fn set_stream(&mut self, stream: Stream) -> Result<(), CudaError> {
        if stream == self.device.stream() {
            return Ok(());
        }
        self.ring.change_stream(stream)
    }

    /// Fills the state of the active parameters, which need no tensors for it.
    pub(super) fn initialise(&mut self, params: &[Param], regs: &[f64]) -> Result<(), CudaError> {
        let active = |param: &Param| param.active;
        self.init
            .run(&mut self.ring, &self.device, (params, regs), active)?;
        // The first step may come on another stream.
        self.device.synchronize()
    }

    /// Makes contiguous copies of what is strided.
    pub(super) fn gather(
        &mut self,
        params: &[Param],
        inputs: &[StepInput<'_>],
    ) -> Result<(), CudaError> {
        self.strided
            .gather(&mut self.ring, &self.device, params, inputs)
    }

    /// Marks active parameters whose gradient is not finite, where that matters.
    pub(super) fn mark_not_finite(&mut self, params: &[Param]) -> Result<(), CudaError> {
        match &mut self.scan {
            Some(scan) => scan.run(&mut self.ring, &self.device, params),
            None => Ok(()),
        }
    }

    /// Gives the device a step of every active parameter.
    pub(super) fn step(
        &mut self,
        params: &[Param],
        regs: &[f64],
        inputs: &[StepInput<'_>],
    ) -> Result<(), CudaError> {
        let late = |param: &Param| param.active && !param.begun && param.initialised_late();
        self.init
            .run(&mut self.ring, &self.device, (params, regs), late)?;
        self.body
            .run(&mut self.ring, &self.device, (params, regs), |param| {
                param.active
            })?;
        self.strided
            .scatter(&mut self.ring, &self.device, params, inputs)
    }
}
