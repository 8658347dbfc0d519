//! A checked program → an artifact: machine code for every target, beside the sources it was made from.

use crate::args::Target;
use crate::describe;
use crate::error::CommandError;
use crate::needs::Needs;
use optc_artifact::manifest::{Kernel, Manifest, Sources};
use optc_artifact::{BuildError, Builder, Isa};
use optc_core::dtype::DType;
use optc_core::hir::Program;
use optc_core::kernel::MapKernel;
use optc_core::kernel_support;
use optc_mlir::{EmitError, Unit};
use std::collections::BTreeSet;
use std::thread;

/// The GPU architecture that PTX is made for; later ones run it.
pub(crate) const PTX_TARGET: &str = "sm_80";

/// What was made for one target.
enum Code {
    Object(Isa, Vec<u8>),
    Ptx(String),
}

/// The bytes of `program`'s artifact. `root` names the root module inside of it.
///
/// The targets are compiled side by side, each on its own thread.
pub(crate) fn build(
    program: &Program,
    root: &str,
    needs: &Needs,
    targets: &[Target],
) -> Result<Vec<u8>, CommandError> {
    let unit = Unit {
        kernels: &needs.kernels,
        products: &needs.products,
    };
    let codes = thread::scope(|scope| {
        let levels = levels(targets, unit.products)
            .into_iter()
            .map(|isa| scope.spawn(move || object(unit, isa)));
        let ptx = targets
            .contains(&Target::Cuda)
            .then(|| scope.spawn(move || ptx(unit.kernels)));
        let running: Vec<_> = levels.chain(ptx).collect();
        // A panic ends the process in its hook, so every thread can be joined.
        running
            .into_iter()
            .flat_map(|thread| thread.join())
            .collect::<Result<Vec<Code>, EmitError>>()
    })?;
    let names: BTreeSet<String> = codes.iter().map(Code::name).collect();
    let manifest = manifest(program, root, needs, &names)?;
    let docs = describe::docs(&manifest.optimizers);
    let builder = Builder::new(manifest, sources(program, root)).docs(docs);
    let built = codes.into_iter().fold(builder, Code::add_to).build();
    built.map_err(|error: BuildError| CommandError::Bug {
        what: error.to_string(),
    })
}

/// The CPU levels worth an object. Only products of bf16 gain from the level with bf16 instructions.
fn levels(targets: &[Target], products: &[DType]) -> Vec<Isa> {
    let wanted = |isa: &Isa| *isa != Isa::X86_64V4Bf16 || products.contains(&DType::BF16);
    let levels = Isa::ALL.into_iter().filter(wanted);
    if targets.contains(&Target::Cpu) {
        levels.collect()
    } else {
        Vec::new()
    }
}

fn object(unit: Unit<'_>, isa: Isa) -> Result<Code, EmitError> {
    Ok(Code::Object(isa, optc_mlir::compile_cpu(&unit, isa)?))
}

fn ptx(kernels: &[MapKernel]) -> Result<Code, EmitError> {
    let all: Vec<MapKernel> = kernels
        .iter()
        .cloned()
        .chain(kernel_support::kernels())
        .collect();
    Ok(Code::Ptx(optc_mlir::compile_ptx(&all, PTX_TARGET)?))
}

impl Code {
    fn name(&self) -> String {
        match self {
            Code::Object(isa, _) => isa.name().into(),
            Code::Ptx(_) => PTX_TARGET.into(),
        }
    }

    fn add_to(builder: Builder, code: Code) -> Builder {
        match code {
            Code::Object(isa, bytes) => builder.object(isa, bytes),
            Code::Ptx(text) => builder.ptx(PTX_TARGET, text),
        }
    }
}

fn manifest(
    program: &Program,
    root: &str,
    needs: &Needs,
    targets: &BTreeSet<String>,
) -> Result<Manifest, CommandError> {
    Ok(Manifest {
        capabilities: needs.capabilities(),
        kernels: needs
            .kernels
            .iter()
            .map(|kernel| entry(kernel, targets))
            .collect(),
        optc: env!("CARGO_PKG_VERSION").into(),
        optimizers: describe::optimizers(program)?,
        products: needs
            .products
            .iter()
            .map(|dtype| dtype.name().to_owned())
            .collect(),
        root: root.into(),
        targets: targets.clone(),
    })
}

fn entry(kernel: &MapKernel, targets: &BTreeSet<String>) -> Kernel {
    Kernel {
        hash: kernel.hash(),
        symbol: kernel.symbol(),
        targets: targets.clone(),
    }
}

/// All files of the program. The root is known by its module name: where it lay on this machine is nobody's business.
fn sources(program: &Program, root: &str) -> Sources {
    let mut sources = Sources::new(root);
    for (index, file) in program.sources.values().enumerate() {
        let name = if index == 0 { root } else { &file.name };
        sources.modules.insert(name.to_owned(), file.text.clone());
    }
    sources
}
