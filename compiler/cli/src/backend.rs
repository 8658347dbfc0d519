//! What needs LLVM: artifacts, and the text of the stages behind the plan.

use crate::args::{self, Emit, Target};
use crate::artifact::PTX_TARGET;
use crate::error::Failure;
use crate::needs::Needs;
use optc_artifact::{Features, Isa};
use optc_mlir::{Stage, Unit};

pub(crate) use crate::artifact::build as artifact;
pub(crate) use crate::supervise::in_child as supervised;

/// The kernels at one stage.
pub(crate) fn text(args: &args::Compile, stage: Emit, needs: &Needs) -> Result<String, Failure> {
    let unit = Unit {
        kernels: &needs.kernels,
        products: &needs.products,
    };
    let best = || Features::detect().best();
    let isa = args.isa.or_else(best).unwrap_or(Isa::X86_64V3);
    let cuda = args.target.contains(&Target::Cuda);
    Ok(match stage {
        Emit::Ptx => optc_mlir::compile_ptx(&needs.kernels, PTX_TARGET)?,
        Emit::Mlir if cuda => optc_mlir::emit_mlir_cuda(&needs.kernels)?,
        Emit::Llvm => optc_mlir::emit_cpu_text(&unit, isa, Stage::Llvm)?,
        Emit::Asm => optc_mlir::emit_cpu_text(&unit, isa, Stage::Asm)?,
        _ => optc_mlir::emit_cpu_text(&unit, isa, Stage::Mlir)?,
    })
}
