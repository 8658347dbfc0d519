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
pub use target::Isa;

use lower::{LlvmContext, LlvmModule, TO_LLVM, lower, translate};
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
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
        Stage::Mlir => lower(&cpu_source(unit, isa), &[], |module| Ok(module.as_operation().to_string())),
        Stage::Llvm => cpu_module(unit, isa, |_, module| Ok(target::llvm_text(module))),
        Stage::Asm => cpu_module(unit, isa, |machine, module| machine.assembly(module)),
    }
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
    let machine = Machine::cpu(isa)?;
    lower(&cpu_source(unit, isa), TO_LLVM, |module| {
        let context = LlvmContext::new();
        let module = translate(module.as_operation().to_raw(), &context)?;
        machine.optimize(&module, PASSES)?;
        then(&machine, &module)
    })
}
