//! `tests/cases`: a file in `pass` has no mistake and no warning; in `fail` a comment `//~ code` stands on every line
//! where one is expected, and nowhere else. `modules` holds what cases `use`.

use crate::support::{Modules, library_mistakes, render};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/cases")
        .join(name)
}

/// Every `.opt` file below a folder, with its text, in order of paths.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|ending| ending == "opt") {
            let text = fs::read_to_string(&path).expect("a readable file");
            found.insert(path, text);
        }
    }
    found
}

fn modules() -> Modules {
    let named = files(&folder("modules")).into_iter().map(|(path, text)| {
        let name = path
            .file_stem()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        (name, text)
    });
    Modules(named.collect())
}

#[test]
fn pass() {
    let modules = modules();
    let cases = files(&folder("pass"));
    assert!(cases.len() > 10, "the cases were not found");
    for (path, text) in cases {
        assert_eq!(
            render(&library_mistakes(&text, &modules)),
            "",
            "{}",
            path.display()
        );
    }
}

/// `line code` for every mark of a text.
fn expected(text: &str) -> Vec<String> {
    let marked = text
        .lines()
        .enumerate()
        .filter_map(|(at, line)| Some((at + 1, line.split_once("//~")?.1)));
    let mut marks: Vec<String> = marked
        .flat_map(|(at, codes)| {
            codes
                .split_whitespace()
                .map(move |code| format!("{at} {code}"))
        })
        .collect();
    marks.sort();
    marks
}

#[test]
fn fail() {
    let modules = modules();
    let cases = files(&folder("fail"));
    assert!(cases.len() > 10, "the cases were not found");
    let mut wrong = Vec::new();
    for (path, text) in cases {
        let mistakes = library_mistakes(&text, &modules);
        let mut found: Vec<String> = mistakes
            .iter()
            .map(|one| {
                let offset = one.span().map_or(0, |span| span.offset());
                format!("{} {}", text[..offset].lines().count().max(1), one.code())
            })
            .collect();
        found.sort();
        let expected = expected(&text);
        assert!(!expected.is_empty(), "{} expects nothing", path.display());
        if found != expected {
            let missing: Vec<&String> = expected
                .iter()
                .filter(|mark| !found.contains(mark))
                .collect();
            let extra: Vec<&String> = found
                .iter()
                .filter(|mark| !expected.contains(mark))
                .collect();
            let unexpected: Vec<_> = mistakes
                .into_iter()
                .filter(|one| extra.iter().any(|mark| mark.ends_with(&one.code())))
                .collect();
            wrong.push(format!(
                "{}: missing {missing:?}, unexpected {extra:?}\n{}",
                path.display(),
                render(&unexpected)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
