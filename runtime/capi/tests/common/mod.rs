//! Builds programs of C and C++ against the library that cargo made for this test.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of `liboptc.so`: that of this test's own program.
pub(crate) fn library() -> PathBuf {
    let program = std::env::current_exe().expect("a path of this test");
    program.parent().expect("a folder").to_owned()
}

/// Where a program looks for libraries: where the test says, then beside the test. Cargo lists its target folder first,
/// where an earlier build may have left one.
fn search_path(command: &Command) -> OsString {
    const NAME: &str = "LD_LIBRARY_PATH";
    let own = command.get_envs().find(|(name, _)| *name == NAME);
    let own = own.and_then(|(_, value)| value.map(PathBuf::from));
    let rest = std::env::var_os(NAME).unwrap_or_default();
    let all = own.into_iter().chain([library()]);
    std::env::join_paths(all.chain(std::env::split_paths(&rest))).expect("paths without colons")
}

/// A folder of the crate.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The rule whose entries are run from every language.
pub(crate) fn pulled() -> PathBuf {
    folder("../../tests/cases/pass/entries/pulled.opt")
}

/// The blocks of a language in the page about C and C++.
pub(crate) fn blocks(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(folder("../../docs/cpp.md")).expect("the page");
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

/// A folder for what this test builds; kept between runs.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).expect("a folder for results");
    path
}

/// Runs a command, which must succeed; returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    run_with(command, "")
}

/// The same, for a command that reads.
pub(crate) fn run_with(command: &mut Command, input: &str) -> String {
    command.env("LD_LIBRARY_PATH", search_path(command));
    command.stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdin = child.stdin.take();
    // A command that does not read may have ended before.
    let _ = stdin.map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("what it printed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out
}
