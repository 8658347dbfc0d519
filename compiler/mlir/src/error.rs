//! What can go wrong between a kernel and its machine code.

use miette::Diagnostic;
use thiserror::Error;

/// Why nothing was emitted.
#[derive(Debug, Error, Diagnostic)]
pub enum EmitError {
    /// The linker that makes the shared object is not installed.
    #[error("no linker: `ld.lld-22` and `ld.lld` were not found")]
    #[diagnostic(code(opt::emit::linker), help("install the Debian package `lld-22`"))]
    LinkerMissing,
    /// The linker could not be run, or its files could not be written or read.
    #[error("the linker could not be run: {reason}")]
    #[diagnostic(
        code(opt::emit::linker),
        help("check that `{program}` runs and that there is room for temporary files")
    )]
    LinkerFailed {
        /// The program that was called.
        program: String,
        /// What the system said.
        reason: String,
    },
    /// The GPU architecture has no backend here.
    #[error("no PTX for architecture `{arch}`")]
    #[diagnostic(
        code(opt::emit::arch),
        help("write `sm_80`, `sm_90a` or another architecture from `sm_80` on")
    )]
    UnknownArch {
        /// As it was asked for.
        arch: String,
    },
    /// A bug of the compiler: a kernel that a stage of MLIR or LLVM refused.
    #[error("internal error in `{stage}` on `{kernel}`: {message}")]
    #[diagnostic(
        code(opt::emit::internal),
        help("this is a bug in optc: please report it with the rule")
    )]
    Internal {
        /// The symbol of the kernel, or the unit where no single kernel is known.
        kernel: String,
        /// The pass.
        stage: &'static str,
        /// What the stage said.
        message: String,
    },
}
