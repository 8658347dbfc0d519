//! The interface from plain C: under AddressSanitizer, for many lives, and in two threads.

mod common;

use common::{blocks, folder, library, pulled, run, scratch};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How far the resident set may grow in 9 000 lives: what the allocator keeps for itself, less than a byte per life
/// and parameter would leak.
const GROWTH_KIB: i64 = 2048;

/// Compiles the program of this test with those flags.
fn compile(name: &str, flags: &[&str]) -> PathBuf {
    compile_file(&folder("tests/c/step.c"), name, flags)
}

fn compile_file(source: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let (program, library) = (scratch("c").join(name), library());
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-g"])
        .args(flags);
    cc.arg("-I")
        .arg(folder("include"))
        .arg(source)
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
    run(Command::new(program).arg(pulled()));
}

#[test]
fn the_page_shows_a_program_that_runs() {
    let block = blocks("c").remove(0);
    let (includes, body) = block
        .split_once("\n\n")
        .expect("what it includes, and statements");
    let end = "return rules == NULL || optimizer == NULL;";
    let source = scratch("c").join("page.c");
    let text = format!("{includes}\n#include <stdio.h>\nint main(void) {{\n{body}{end}\n}}\n");
    std::fs::write(&source, text).expect("a program");
    run(&mut Command::new(compile_file(&source, "page", &[])));
}

#[test]
fn ten_thousand_lives_take_constant_memory() {
    let program = compile("step", &["-O1"]);
    let growth: i64 = run(Command::new(program).args(["lives", "10000"]))
        .trim()
        .parse()
        .expect("a number");
    assert!(growth < GROWTH_KIB, "{growth} KiB more after 9 000 lives");
}
