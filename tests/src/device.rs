//! What tests do with a GPU on a machine without one: kernels by module, and artifacts whose PTX only names them.
//!
//! The driver is `runtime/capi/tests/fake_cuda`, which runs kernels by their meaning. PTX itself is tested where it is
//! made, in `compiler/mlir`.

use crate::library::checked;
use optc_artifact::{Builder, Manifest, Sources};
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;
use optc_core::kernel_support;
use optc_core::settings::Overrides;
use optc_core::variants::variants;
use std::collections::BTreeMap;

/// The kernels that an artifact of a module carries, by name.
///
/// # Panics
///
/// When the module does not exist.
pub fn kernels(module: &str) -> BTreeMap<String, MapKernel> {
    let program = checked(module).program;
    let dtypes = [DType::F32, DType::F64, DType::BF16, DType::F16];
    let all = program.roots.iter().flat_map(|&root| {
        let found = variants(&program, root, &Overrides::default(), &dtypes);
        found.kernels.into_values()
    });
    all.map(|kernel| (kernel.symbol(), kernel)).collect()
}

/// An artifact for devices alone.
///
/// # Panics
///
/// When the module does not exist.
pub fn artifact(module: &str) -> Vec<u8> {
    let mut sources = Sources::new(module);
    let text = optc_stdlib::source(module).unwrap_or_default();
    sources.modules.insert(module.into(), text.into());
    let target = "sm_80";
    let manifest = Manifest {
        optc: env!("CARGO_PKG_VERSION").into(),
        root: module.into(),
        targets: [target.to_owned()].into(),
        ..Manifest::default()
    };
    let support = kernel_support::kernels().map(|kernel| kernel.symbol());
    let symbols = kernels(module).into_keys().chain(support);
    let symbols = symbols.chain(kernel_support::symbols());
    let ptx = symbols.map(|symbol| format!(".visible .entry {symbol}()\n"));
    let builder = Builder::new(manifest, sources).ptx(target, ptx.collect());
    builder.build().expect("an artifact")
}
