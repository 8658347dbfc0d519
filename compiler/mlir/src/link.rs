//! One object in, one shared object out: LLVM's linker as a child process, over a private temporary folder.
//!
//! Nothing of the machine gets into the result: no paths, times, build identity or undefined symbols.

use crate::error::EmitError;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Links `object` into a shared object that stands alone.
pub(crate) fn shared_object(object: &[u8]) -> Result<Vec<u8>, EmitError> {
    let linker = find().ok_or(EmitError::LinkerMissing)?;
    run(&linker, object).map_err(|error| EmitError::LinkerFailed {
        program: linker.display().to_string(),
        reason: error.to_string(),
    })
}

fn run(linker: &Path, object: &[u8]) -> io::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("unit.o"), folder.path().join("unit.so"));
    std::fs::write(&from, object)?;
    let output = Command::new(linker)
        .args([
            "-shared",
            "--no-undefined",
            "--build-id=none",
            "--hash-style=gnu",
            "--threads=1",
            "-s",
            "-o",
        ])
        .args([&to, &from])
        .output()?;
    match output.status.success() {
        true => std::fs::read(&to),
        false => Err(io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
    }
}

/// From `PATH`, else beside the LLVM this crate was built with.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let built_with = option_env!("MLIR_SYS_220_PREFIX").map(|prefix| Path::new(prefix).join("bin"));
    let folders = || std::env::split_paths(&path).chain(built_with.clone());
    let candidates = ["ld.lld-22", "ld.lld"]
        .into_iter()
        .flat_map(|name| folders().map(move |folder| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}
