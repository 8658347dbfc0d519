//! The tool for machines with a GPU, on whatever machine this is.

use std::process::Command;

#[test]
fn a_machine_without_a_gpu_is_told_apart() {
    let output = Command::new(env!("CARGO_BIN_EXE_optc-gpu"))
        .args(["--shapes", "no-shapes.json", "no-such.optc"])
        .output()
        .expect("the tool runs");
    let said = String::from_utf8_lossy(&output.stderr);
    // With a GPU it comes as far as the missing artifact.
    let expected = if said.starts_with("no GPU: ") { 3 } else { 1 };
    assert_eq!(output.status.code(), Some(expected), "{said}");
    assert!(output.stdout.is_empty());
}
