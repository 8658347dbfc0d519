//! What can go wrong with a CUDA driver or a device.

use crate::view::Device;
use miette::Diagnostic;
use thiserror::Error;

/// Why a CUDA device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
pub enum CudaError {
    /// There is no driver on this machine.
    #[error("the CUDA driver `{path}` cannot be loaded: {message}")]
    #[diagnostic(
        code(opt::cuda::no_driver),
        help(
            "install NVIDIA's driver, which brings libcuda.so.1, or keep the parameters on the cpu"
        )
    )]
    NoDriver {
        /// The file that was looked for.
        path: String,
        /// The loader's message.
        message: String,
    },
    /// The driver lacks a function.
    #[error("the CUDA driver has no function `{function}`")]
    #[diagnostic(
        code(opt::cuda::old_driver),
        help("install a driver of CUDA 12 or newer")
    )]
    OldDriver {
        /// What it lacks.
        function: &'static str,
    },
    /// There is no such device.
    #[error("there is no device {device}")]
    #[diagnostic(
        code(opt::cuda::no_device),
        help(
            "the driver sees {count} devices, counted from 0; CUDA_VISIBLE_DEVICES may hide others"
        )
    )]
    NoDevice {
        /// What was asked for.
        device: Device,
        /// How many there are.
        count: u32,
    },
    /// The driver does not compile the PTX.
    #[error("the CUDA driver refuses the artifact's PTX ({name}): {log}")]
    #[diagnostic(
        code(opt::cuda::ptx),
        help("update the driver, or report this if it is current")
    )]
    Ptx {
        /// The driver's name for the error.
        name: String,
        /// What its compiler wrote.
        log: String,
    },
    /// The device has not that much memory left.
    #[error("not enough memory on the device for {bytes} bytes more")]
    #[diagnostic(
        code(opt::cuda::memory),
        help("free memory on the device, or use a smaller model or a rule with less state")
    )]
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
    /// Any other failure of the driver; work given to the device before may be what failed.
    #[error("the CUDA driver's `{call}` failed: {name}")]
    #[diagnostic(
        code(opt::cuda::call),
        help(
            "work on a device fails late: look at what used it before, with CUDA_LAUNCH_BLOCKING=1 to find the place"
        )
    )]
    Call {
        /// The function.
        call: &'static str,
        /// The driver's name for the error.
        name: String,
    },
}
