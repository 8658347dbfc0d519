//! The interface from plain C: under AddressSanitizer, for many lives, and in two threads.

mod common;

use common::{folder, library, run, scratch};
use std::path::PathBuf;
use std::process::Command;

/// How far the resident set may grow in 9 000 lives: what the allocator keeps for itself, less than a byte per life
/// and parameter would leak.
const GROWTH_KIB: i64 = 2048;

/// Compiles a C program with those flags.
fn compile(name: &str, flags: &[&str]) -> PathBuf {
    let program = scratch("c").join(name);
    let (sources, library) = (folder("tests/c"), library());
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
        .args(flags);
    cc.arg("-I")
        .arg(folder("include"))
        .arg(sources.join("step.c"))
        .arg("-o")
        .arg(&program);
    cc.arg("-L")
        .arg(&library)
        .args(["-loptc", "-lm", "-lpthread"]);
    cc.arg(format!("-Wl,-rpath,{}", library.display()));
    run(&mut cc);
    program
}

#[test]
fn no_error_and_no_leak_under_the_sanitizer() {
    let program = compile(
        "step-asan",
        &["-fsanitize=address,undefined", "-fno-sanitize-recover"],
    );
    run(&mut Command::new(program));
}

#[test]
fn ten_thousand_lives_take_constant_memory() {
    let program = compile("step", &["-O1"]);
    let growth: i64 = run(Command::new(program).arg("10000"))
        .trim()
        .parse()
        .expect("a number");
    assert!(growth < GROWTH_KIB, "{growth} KiB more after 9 000 lives");
}
