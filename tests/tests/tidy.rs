//! The checks of the repository itself: what a reviewer would otherwise say again and again.
//!
//! `cargo tidy` runs them alone; each failure lists every place.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of a text file of the repository.
struct Line {
    file: String,
    number: usize,
    text: String,
}

impl Line {
    fn place(&self) -> String {
        format!("{}:{}: {}", self.file, self.number, self.text.trim())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every file with one of these endings, as a path from the root; build output and results are left out.
fn files(endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found);
    found.retain(|file| endings.iter().any(|ending| file.ends_with(ending)));
    found.sort();
    assert!(!found.is_empty(), "no files end in {endings:?}");
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match (is_folder, path.as_str()) {
            (true, ".git" | "target" | "out" | ".venv" | "shared") => {}
            (true, _) => walk(&entry.path(), &format!("{path}/"), found),
            (false, _) => found.push(path),
        }
    }
}

fn lines(endings: &[&str]) -> Vec<Line> {
    let all = files(endings).into_iter().flat_map(|file| {
        let text = read(&file);
        let lines = text
            .lines()
            .enumerate()
            .map(|(at, text)| (at + 1, text.to_owned()));
        lines
            .map(|(number, text)| Line {
                file: file.clone(),
                number,
                text,
            })
            .collect::<Vec<_>>()
    });
    all.collect()
}

fn expect_none(what: &str, hits: impl IntoIterator<Item = String>) {
    let hits: Vec<String> = hits.into_iter().collect();
    assert!(hits.is_empty(), "{what}:\n{}", hits.join("\n"));
}

/// Whether the text holds the word with no letter, digit or underscore around it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next())
    })
}

#[test]
fn nothing_is_left_unfinished() {
    // Written in halves, so that this file passes its own check.
    let words = [
        concat!("TO", "DO"),
        concat!("XX", "X"),
        concat!("to", "do!"),
        concat!("db", "g!"),
    ];
    let unfinished = concat!("unimple", "mented!");
    let hits = lines(&[".rs", ".opt", ".py", ".pest", ".md", ".toml"]);
    let hits = hits.iter().filter(|line| {
        words.iter().any(|word| has_word(&line.text, word)) || line.text.contains(unfinished)
    });
    expect_none("finish it or file an issue", hits.map(Line::place));
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let silent = files(&[".rs"])
        .into_iter()
        .filter(|file| !read(file).starts_with("//!"));
    expect_none("open these files with `//!`", silent);
}

#[test]
fn no_path_of_a_machine() {
    let folders = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
    ];
    let endings = [
        ".rs",
        ".opt",
        ".py",
        ".md",
        ".toml",
        ".json",
        ".snap",
        "Makefile",
        ".ci/run",
        ".ci/setup",
    ];
    let hits = lines(&endings);
    let absolute = |line: &&Line| {
        folders.iter().any(|folder| {
            let mut starts = line
                .text
                .match_indices(folder)
                .map(|(at, _)| &line.text[..at]);
            starts.any(|before| {
                !before.ends_with(|c: char| c.is_alphanumeric() || "._-$}~".contains(c))
            })
        })
    };
    expect_none(
        "name no folder of one machine",
        hits.iter().filter(absolute).map(Line::place),
    );
}

#[test]
fn no_test_is_switched_off_and_no_lint_without_a_reason() {
    let marks = [
        concat!("#[ig", "nore]"),
        concat!("#[al", "low("),
        concat!("#![al", "low("),
    ];
    let hits = lines(&[".rs"]);
    let hits = hits
        .iter()
        .filter(|line| marks.iter().any(|mark| line.text.contains(mark)))
        .filter(|line| !line.text.contains("reason = \""));
    expect_none(
        "run the test, or write `#[expect(lint, reason = \"…\")]`",
        hits.map(Line::place),
    );
}

#[test]
fn unsafe_stays_in_its_rooms() {
    // The last four load artifacts: running a file's machine code is an act that its caller answers for.
    let rooms = [
        "compiler/cranelift/",
        "compiler/mlir/",
        "runtime/",
        "examples/",
        "tests/bench/",
        "compiler/cli/tests/parity.rs",
        "tests/gpu/",
    ];
    let hits = lines(&[".rs"]);
    let code = |line: &&Line| !line.text.trim_start().starts_with("//");
    let outside = |line: &&Line| !rooms.iter().any(|room| line.file.starts_with(room));
    let word = concat!("un", "safe");
    let hits = hits.iter().filter(outside).filter(code);
    let hits = hits.filter(|line| {
        [" {", " fn", " impl", " extern"].iter().any(|after| {
            let phrase = format!("{word}{after}");
            line.text
                .match_indices(&phrase)
                .any(|(at, _)| !line.text[..at].contains('"'))
        })
    });
    expect_none(
        "move it behind a safe function of the runtime or a backend",
        hits.map(Line::place),
    );
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let (_, table) = manifest
        .split_once("[workspace.dependencies]\n")
        .expect("the table");
    let table = table.split("\n[").next().expect("a first part");
    let mut comment = None;
    let mut silent = Vec::new();
    for line in table.lines() {
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        match line.chars().next() {
            None => comment = None,
            Some('#') => comment = Some(Vec::<String>::new()),
            // One comment may speak for two crates, or for a family that shares a name.
            Some(_) => match &mut comment {
                Some(block) if block.len() < 2 || is_family(block, name) => block.push(name.into()),
                _ => silent.push(name.to_owned()),
            },
        }
    }
    expect_none("say in a comment above what the dependency is for", silent);
}

fn is_family(block: &[String], name: &str) -> bool {
    let stem = |name: &str| name.split(['-', '_']).next().unwrap_or_default().to_owned();
    block.iter().all(|other| stem(other) == stem(name))
}

/// Lines of fenced shell blocks in the Markdown that a person follows, without the prompt.
fn shell_lines() -> Vec<Line> {
    let mut inside = false;
    let mut shell = Vec::new();
    for line in lines(&[".md"]) {
        if !line.file.starts_with("docs/") && line.file.contains('/') {
            continue;
        }
        match line.text.trim() {
            "```sh" | "```console" => inside = true,
            text if text.starts_with("```") => inside = false,
            _ if inside => shell.push(line),
            _ => {}
        }
    }
    shell
}

/// The first word after a command such as `make`, when the line runs it.
fn argument<'a>(line: &'a str, command: &str) -> Option<&'a str> {
    let mut words = line.trim_start_matches("$ ").split_whitespace();
    let program = words.next()?;
    (program == command || program.ends_with(&format!("/{command}"))).then(|| words.next())?
}

#[test]
fn make_targets_in_the_documents_exist() {
    let makefile = read("Makefile");
    let shell = shell_lines();
    let calls = shell
        .iter()
        .filter_map(|line| Some((line, argument(&line.text, "make")?)));
    let calls: Vec<_> = calls.collect();
    assert!(
        calls.iter().any(|(_, target)| *target == "demo"),
        "the README shows `make demo`"
    );
    let unknown = calls.into_iter().filter(|(_, target)| {
        !makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")))
    });
    expect_none(
        "no such target in the Makefile",
        unknown.map(|(line, _)| line.place()),
    );
}

#[test]
fn subcommands_in_the_documents_exist() {
    let sources = files(&[".rs"])
        .into_iter()
        .filter(|file| file.starts_with("compiler/cli/src/"));
    let source: String = sources.map(|file| read(&file)).collect();
    let shell = shell_lines();
    let calls = shell
        .iter()
        .filter_map(|line| Some((line, argument(&line.text, "optc")?)));
    // clap names a subcommand after its variant: `Check(…)` is `check`.
    let unknown = calls.filter(|(_, name)| {
        let variant = name[..1].to_uppercase() + &name[1..];
        let forms = ["(", " {", ","].map(|after| format!("{variant}{after}"));
        !name.starts_with('-') && !forms.iter().any(|form| source.contains(form))
    });
    expect_none(
        "no such subcommand of optc",
        unknown.map(|(line, _)| line.place()),
    );
}

#[test]
fn files_stay_readable_in_one_sitting() {
    let mut lengths: Vec<(usize, String)> = files(&[".rs"])
        .into_iter()
        .map(|file| (read(&file).lines().count(), file))
        .collect();
    lengths.sort_by(|a, b| b.cmp(a));
    for (length, file) in lengths.iter().take(10) {
        println!("{length:>6} {file}");
    }
    // The pages of `optc explain` are read one at a time.
    lengths.retain(|(_, file)| !file.starts_with("compiler/core/src/codes/"));
    let long = lengths.iter().filter(|(length, _)| *length > 1200);
    expect_none(
        "split these files",
        long.map(|(length, file)| format!("{length} {file}")),
    );
}
