//! Kernels to MLIR to object code or PTX: the ahead-of-time backend, and the only crate that sees melior.

mod error;
mod link;
mod lower;
mod map;
mod number;
mod product;
mod target;
mod text;

pub use error::EmitError;
pub use map::grid::THREADS;
pub use optc_artifact::Isa;

use lower::{LlvmContext, LlvmModule, TO_LLVM, TO_NVVM, lower, translate};
use melior::ir::BlockLike;
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
use optc_core::kernel_verify;
use std::ffi::CStr;
use target::Machine;
use text::Text;

/// What goes into one object.
#[derive(Debug, Clone, Copy)]
pub struct Unit<'a> {
    /// Exported under their symbols.
    pub kernels: &'a [MapKernel],
    /// The dtypes whose products are included: `F32`, `F64`, `BF16`.
    pub products: &'a [DType],
}

/// A form that [`emit_cpu_text`] can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// MLIR before any pass.
    Mlir,
    /// LLVM IR after its passes.
    Llvm,
    /// Assembly.
    Asm,
}

/// Loads, addresses and invariants made plain; the vectors are ours, and no pass may call a library.
const PASSES: &CStr = c"function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(loop-rotate,licm<allowspeculation>),early-cse<memssa>,instcombine<no-verify-fixpoint>,adce,simplifycfg)";

/// An ELF shared object with `unit`'s kernels and products for `isa`, without undefined symbols. The same unit gives
/// the same bytes.
///
/// # Errors
///
/// [`EmitError::LinkerMissing`] and [`EmitError::LinkerFailed`] if LLVM's linker does not run;
/// [`EmitError::Internal`] if MLIR or LLVM refuse what this crate wrote.
pub fn compile_cpu(unit: &Unit<'_>, isa: Isa) -> Result<Vec<u8>, EmitError> {
    let object = cpu_module(unit, isa, |machine, module| machine.object(module))?;
    link::shared_object(&object)
}

/// `unit` as text at one stage of its way to `isa`.
///
/// # Errors
///
/// [`EmitError::Internal`] if MLIR or LLVM refuse what this crate wrote.
pub fn emit_cpu_text(unit: &Unit<'_>, isa: Isa, stage: Stage) -> Result<String, EmitError> {
    match stage {
        Stage::Mlir => verify(unit.kernels).and_then(|()| {
            lower(&cpu_source(unit, isa), &[], |module| {
                Ok(module.as_operation().to_string())
            })
        }),
        Stage::Llvm => cpu_module(unit, isa, |_, module| Ok(target::llvm_text(module))),
        Stage::Asm => cpu_module(unit, isa, |machine, module| machine.assembly(module)),
    }
}

/// PTX with one entry per kernel, for `arch` (`sm_80`, `sm_90a`, …).
///
/// ```text
/// .entry optc_map_<hash>(
///     .u64 operands,   // device address of [tensors][inputs, then outputs] device addresses
///     .u64 scalars,    // [tensors][scalars] f64
///     .u64 dims,       // [tensors][2] u64: n and 1, or rows and columns
///     .u64 starts,     // [tensors + 1] u64: work items before each tensor, and in all
///     .u32 tensors)
/// ```
///
/// A work item is a chunk of 4096 elements (flat) or of 64 rows (grid). Blocks have [`THREADS`] threads and take work
/// items in turn, so any number of blocks will do. Sums go where the CPU puts them, in the same order. The entries of
/// [`optc_core::kernel_support`] that are no map kernels are always there.
///
/// # Errors
///
/// [`EmitError::UnknownArch`] for an architecture that is not one, or older than `sm_80`; [`EmitError::Internal`] if
/// MLIR or LLVM refuse what this crate wrote.
pub fn compile_ptx(kernels: &[MapKernel], arch: &str) -> Result<String, EmitError> {
    let machine = Machine::gpu(arch)?;
    verify(kernels)?;
    lower(&cuda_source(kernels), TO_NVVM, |module| {
        let gpu = module.body().first_operation().map(|op| op.to_raw());
        let context = LlvmContext::new();
        let module = translate(gpu.unwrap_or(module.as_operation().to_raw()), &context)?;
        machine.optimize(&module, PASSES)?;
        machine.assembly(&module)
    })
}

/// The MLIR that [`compile_ptx`] starts from.
///
/// # Errors
///
/// [`EmitError::Internal`] if MLIR refuses what this crate wrote.
pub fn emit_mlir_cuda(kernels: &[MapKernel]) -> Result<String, EmitError> {
    verify(kernels)?;
    lower(&cuda_source(kernels), &[], |module| {
        Ok(module.as_operation().to_string())
    })
}

/// The functions of [`compile_ptx`] as a shared object for this machine, for tests without a GPU: one call is one
/// thread. After the parameters of an entry come thread, block and number of blocks as `uint64_t`, the block's shared
/// memory (128 f64), and a barrier to call with the pointer after it.
#[doc(hidden)]
pub fn compile_emulated(kernels: &[MapKernel], isa: Isa) -> Result<Vec<u8>, EmitError> {
    verify(kernels)?;
    let mut t = Text::default();
    t.block(format_args!("module"), |t| {
        map::grid::emit_emulated(t, kernels)
    });
    let object = object(&t.finish(), isa, |machine, module| machine.object(module))?;
    link::shared_object(&object)
}

fn cuda_source(kernels: &[MapKernel]) -> String {
    let mut t = Text::default();
    t.block(
        format_args!("module attributes {{gpu.container_module}}"),
        |t| map::grid::emit(t, kernels),
    );
    t.finish()
}

/// A kernel that is not well formed is as much our bug as one that MLIR refuses.
fn verify(kernels: &[MapKernel]) -> Result<(), EmitError> {
    kernels.iter().try_for_each(|kernel| {
        kernel_verify::verify(kernel).map_err(|message| EmitError::Internal {
            kernel: kernel.symbol(),
            stage: "verify kernel",
            message,
        })
    })
}

fn cpu_source(unit: &Unit<'_>, isa: Isa) -> String {
    let mut t = Text::default();
    t.block(format_args!("module"), |t| {
        for kernel in unit.kernels {
            map::cpu::emit(t, kernel);
        }
        for &dtype in unit.products {
            product::emit(t, dtype, isa);
        }
    });
    t.finish()
}

fn cpu_module<R>(
    unit: &Unit<'_>,
    isa: Isa,
    then: impl FnOnce(&Machine, &LlvmModule<'_>) -> Result<R, EmitError>,
) -> Result<R, EmitError> {
    verify(unit.kernels)?;
    object(&cpu_source(unit, isa), isa, then)
}

/// Takes MLIR for the CPU to an optimised LLVM module.
fn object<R>(
    source: &str,
    isa: Isa,
    then: impl FnOnce(&Machine, &LlvmModule<'_>) -> Result<R, EmitError>,
) -> Result<R, EmitError> {
    let machine = Machine::cpu(isa)?;
    lower(source, TO_LLVM, |module| {
        let context = LlvmContext::new();
        let module = translate(module.as_operation().to_raw(), &context)?;
        machine.optimize(&module, PASSES)?;
        then(&machine, &module)
    })
}
