//! Every `optc` command that the README and the tutorial show is run, on the program that they show before it.

use std::path::Path;
use std::process::Command;

/// A fenced block of a page: its kind and its lines.
struct Block<'a> {
    kind: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(kind) if !open => blocks.push(Block {
                kind,
                lines: Vec::new(),
            }),
            None if open => blocks
                .last_mut()
                .into_iter()
                .for_each(|block| block.lines.push(line)),
            _ => {}
        }
        open ^= line.starts_with("```");
    }
    blocks
}

/// The arguments of a line that calls `optc`, by whatever path.
fn arguments(line: &str) -> Option<Vec<&str>> {
    let command = line.split(" #").next().unwrap_or(line);
    let mut words = command.split_whitespace();
    let name = words.next()?;
    (name == "optc" || name.ends_with("/optc")).then(|| words.collect())
}

fn run(folder: &Path, line: &str, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_optc"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` fails: {said}");
}

/// Runs the commands of a page and counts them.
fn run_page(file: &str) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file);
    let page = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for block in blocks(&page) {
        match block.kind {
            "opt" => {
                std::fs::write(folder.path().join("lion.opt"), block.lines.join("\n")).unwrap()
            }
            "sh" => {
                for line in block.lines {
                    if let Some(arguments) = arguments(line) {
                        run(folder.path(), line, &arguments);
                        commands += 1;
                    }
                }
            }
            _ => {}
        }
    }
    commands
}

#[test]
fn readme() {
    assert_eq!(run_page("README.md"), 4);
}

#[test]
fn tutorial() {
    assert_eq!(run_page("docs/tutorial.md"), 4);
}
