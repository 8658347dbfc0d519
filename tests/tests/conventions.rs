//! The page of conventions names what there is: every file of the library, options of its optimizers, other files.
//!
//! The first column of a row has files, the last one `option = value`, `option` or `std.file`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use optc_core::hir::{Optimizer, StaticType};
use optc_core::settings::StaticValue;
use optc_tests::library::checked;

/// Files that are no optimizers.
const HELPERS: [&str; 2] = ["std.orthogonal", "std.roots"];

struct Row {
    line: String,
    files: Vec<String>,
    other: Vec<String>,
}

fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conventions.md");
    let page = fs::read_to_string(path).expect("the page of conventions");
    page.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line
        .strip_prefix('|')?
        .trim_end_matches('|')
        .split(" | ")
        .collect();
    let files = words(cells[0]);
    let is_row = cells.len() == 6 && !files.is_empty();
    is_row.then(|| Row {
        line: line.to_owned(),
        files: files.iter().map(|file| format!("std.{file}")).collect(),
        other: words(cells[5]),
    })
}

/// What stands between backquotes.
fn words(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether an optimizer of the file has the option.
fn offers(file: &str, option: &str) -> bool {
    let program = checked(file).program;
    let mut own = program.roots.iter().map(|&id| &program.optimizers[id]);
    own.any(|one| has(one, option))
}

/// Whether the optimizer has the option, and the option may be that.
fn has(optimizer: &Optimizer, option: &str) -> bool {
    let (name, value) = match option.split_once(" = ") {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    let hyper = optimizer.hypers.iter().any(|found| found.is(name));
    let fits = |ty: &StaticType, value: &str| match ty {
        StaticType::Choice(words) => words.iter().any(|word| word == value),
        _ => StaticValue::parse(value, ty).is_some(),
    };
    hyper && value.is_none_or(|value| value.parse::<f64>().is_ok())
        || optimizer
            .statics
            .iter()
            .any(|found| found.is(name) && value.is_none_or(|value| fits(&found.ty, value)))
}

#[test]
fn every_option_exists() {
    for row in rows() {
        for other in &row.other {
            let found = if other.starts_with("std.") {
                optc_stdlib::source(other).is_some()
            } else {
                row.files.iter().any(|file| offers(file, other))
            };
            assert!(found, "there is no `{other}`: {}", row.line);
        }
    }
}

#[test]
fn every_file_is_there() {
    let named: BTreeSet<String> = rows().into_iter().flat_map(|row| row.files).collect();
    let library: BTreeSet<String> = optc_stdlib::NAMES
        .iter()
        .filter(|name| !HELPERS.contains(name))
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(named, library);
}
