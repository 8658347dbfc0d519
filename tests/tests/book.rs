//! Every `opt` block of the README and the book is a program that the compiler takes.
//!
//! A block marked `opt` is a whole file, `opt member` stands inside an optimizer, `opt rule` inside a rule.

use std::fs;
use std::path::Path;

use optc_core::check::check;
use optc_tests::library::LIBRARY;

struct Block {
    place: String,
    kind: String,
    text: String,
}

impl Block {
    /// The whole file that the block is, or is part of.
    fn program(&self) -> String {
        let text = &self.text;
        match self.kind.as_str() {
            "opt" => text.clone(),
            "opt member" if text.contains("rule ") => format!("optimizer Shown {{\n{text}\n}}"),
            "opt member" => {
                format!("optimizer Shown {{\n{text}\nrule each(w: [...]) {{ w -= grad }}\n}}")
            }
            "opt rule" => {
                format!("optimizer Shown {{\nrule each(w: [...]) {{\n{text}\nw -= grad\n}}\n}}")
            }
            other => panic!("{}: unknown kind of block `{other}`", self.place),
        }
    }
}

fn blocks(file: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let markdown = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for (at, line) in markdown.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(kind) if kind.starts_with("opt") => {
                open = true;
                blocks.push(Block {
                    place: format!("{file}:{}", at + 1),
                    kind: kind.to_owned(),
                    text: String::new(),
                });
            }
            Some(_) => open = false,
            None if open => {
                let block = blocks.last_mut().expect("an open block");
                block.text += &format!("{line}\n");
            }
            None => {}
        }
    }
    blocks
}

fn expect_programs(file: &str) {
    let blocks = blocks(file);
    assert!(!blocks.is_empty(), "{file} shows no program");
    for block in blocks {
        let mistakes = check(&block.place, &block.program(), &LIBRARY).err();
        let said = mistakes.map(|found| format!("{found:?}"));
        assert!(
            said.is_none(),
            "{}: {}",
            block.place,
            said.unwrap_or_default()
        );
    }
}

#[test]
fn readme() {
    expect_programs("README.md");
}

#[test]
fn tutorial() {
    expect_programs("docs/tutorial.md");
}

#[test]
fn language() {
    expect_programs("docs/language.md");
}

#[test]
fn a_broken_block_is_noticed() {
    for text in ["let = 3", "let u = expavg", "state m = zeros_like(v)"] {
        let block = Block {
            place: "here".into(),
            kind: "opt rule".into(),
            text: text.into(),
        };
        assert!(check("here", &block.program(), &LIBRARY).is_err(), "{text}");
    }
}
