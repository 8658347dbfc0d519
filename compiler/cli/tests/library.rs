//! Every module of the standard library compiles for every target, and its PTX assembles.

use optc_artifact::Artifact;
use optc_tests::device::{assembled, spilled};
use std::num::NonZero;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// An architecture of today; PTX is made for the oldest that is supported.
const ARCH: &str = "sm_90a";

/// Bytes that a kernel may keep in memory: a few with sums have more numbers than there are registers, 24 bytes of them
/// when this was written.
const SPILLED: u64 = 32;

fn modules() -> Vec<&'static str> {
    let declares = |module: &&str| {
        optc_stdlib::source(module).is_some_and(|text| text.contains("\noptimizer "))
    };
    optc_stdlib::NAMES
        .iter()
        .copied()
        .filter(declares)
        .collect()
}

fn compiled(module: &str, folder: &Path) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_optc"))
        .args(["compile", module, "--target", "cpu,cuda", "-o"])
        .arg(folder.join(module))
        .output()
        .expect("optc");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{module}: {message}");
    std::fs::read(folder.join(module)).expect("the artifact")
}

/// What is wrong with the PTX of a module's artifact.
fn faults(module: &str, folder: &Path) -> Vec<String> {
    let bytes = compiled(module, folder);
    let artifact = Artifact::parse(&bytes).expect(module);
    let said = artifact.ptx();
    let said = said.map(|ptx| assembled(ptx.text, ARCH).expect("`make setup` brings ptxas"));
    let fault = |said: Result<String, String>| match said {
        Ok(said) if spilled(&said) <= SPILLED => None,
        Ok(said) | Err(said) => Some(format!("{module}: {said}")),
    };
    said.filter_map(fault).collect()
}

#[test]
fn every_module_compiles_for_every_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let (modules, next) = (modules(), AtomicUsize::new(0));
    let work = || {
        let mine = std::iter::repeat_with(|| modules.get(next.fetch_add(1, Ordering::Relaxed)));
        let mine = mine.map_while(|module| module.copied());
        mine.flat_map(|module| faults(module, folder.path()))
            .collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let found = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let each = running
            .into_iter()
            .map(|one| one.join().expect("artifacts"));
        each.flatten().collect::<Vec<_>>()
    });
    assert!(found.is_empty(), "{}", found.join("\n"));
}
