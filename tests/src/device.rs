//! What tests do with a GPU on a machine without one: kernels by module, artifacts whose PTX only names them, and
//! whether PTX assembles.
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
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Of parameters on a device; the first is met most often.
pub const DTYPES: [DType; 4] = [DType::F32, DType::F64, DType::BF16, DType::F16];

/// The kernels that an artifact of a module carries for parameters of these types, by name.
///
/// # Panics
///
/// When the module does not exist.
pub fn kernels(module: &str, dtypes: &[DType]) -> BTreeMap<String, MapKernel> {
    let program = checked(module).program;
    let all = program.roots.iter().flat_map(|&root| {
        let found = variants(&program, root, &Overrides::default(), dtypes);
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
    let symbols = kernels(module, &DTYPES).into_keys().chain(support);
    let symbols = symbols.chain(kernel_support::symbols());
    let ptx = symbols.map(|symbol| format!(".visible .entry {symbol}()\n"));
    let builder = Builder::new(manifest, sources).ptx(target, ptx.collect());
    builder.build().expect("an artifact")
}

/// What `ptxas -v` says of PTX, an error if it does not assemble; none where there is no `ptxas` in `OPTC_PTXAS` or on the
/// path.
///
/// # Panics
///
/// When the program cannot be run.
pub fn assembled(ptx: &str, arch: &str) -> Option<Result<String, String>> {
    let mut command = Command::new(ptxas()?);
    command.args(["-v", "-arch", arch, "-o", "/dev/null", "/dev/stdin"]);
    command.stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("ptxas");
    let stdin = running.stdin.take();
    let written = stdin.map(|mut stdin| stdin.write_all(ptx.as_bytes()));
    written.transpose().expect("ptxas reads all of it");
    let output = running.wait_with_output().expect("what ptxas says");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(match output.status.success() {
        true => Ok(said),
        false => Err(said),
    })
}

fn ptxas() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::var_os("OPTC_PTXAS").map(PathBuf::from);
    let found = std::env::split_paths(&path).map(|folder| folder.join("ptxas"));
    let mut candidates = named.into_iter().chain(found);
    candidates.find(|candidate| candidate.is_file())
}

/// The most bytes that a kernel keeps in memory for want of registers, by what `ptxas -v` says.
pub fn spilled(said: &str) -> u64 {
    let before = said.split(" bytes spill stores");
    let numbers = before.filter_map(|text| text.rsplit(' ').next()?.parse().ok());
    numbers.max().unwrap_or(0)
}
