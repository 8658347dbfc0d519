//! The standard library: no mistakes, no warnings, and its checked trees.

use crate::support::{Modules, library_mistakes, render};
use optc_core::check::check;

#[test]
fn every_module_is_clean() {
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        assert_eq!(
            render(&library_mistakes(text, &Modules::default())),
            "",
            "{name}"
        );
    }
}

#[test]
fn promised_lengths() {
    let promised = [
        ("std.adamw", 25),
        ("std.muon", 40),
        ("std.soap", 60),
        ("std.shampoo", 80),
        ("std.distributed_shampoo", 80),
        ("std.distributed_shampoo_evc", 80),
        ("std.scalable_shampoo", 80),
        ("std.psgd_kron", 90),
        ("std.schedule_free", 30),
    ];
    for (name, lines) in promised {
        let text = optc_stdlib::source(name).expect("a named module has text");
        assert!(
            text.lines().count() <= lines,
            "{name} is longer than {lines} lines"
        );
    }
}

/// A header has its equations as an indented block, and a paper or a year in its first line or one below.
#[test]
fn headers_have_equations_and_a_source() {
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        let header: Vec<&str> = text
            .lines()
            .map_while(|line| line.strip_prefix("//!"))
            .collect();
        let equation = |line: &&str| line.starts_with("     ") && line.contains(['←', '=']);
        assert!(header.iter().any(equation), "{name} has no equations");
        let dated = |word: &str| {
            word.len() == 4 && word.starts_with(['1', '2']) && word.parse::<u16>().is_ok()
        };
        let words = header
            .iter()
            .flat_map(|line| line.split([' ', ',', ')', '.', ';', ':']));
        let mut words = words.filter(|&word| dated(word) || word == "arXiv");
        assert!(words.next().is_some(), "{name} has no source");
    }
}

/// The checked trees of the walkthrough rules.
#[test]
fn checked_trees() {
    for name in ["sgd", "adamw", "muon", "soap"] {
        let module = format!("std.{name}");
        let text = optc_stdlib::source(&module).expect("a named module has text");
        let checked = check(&module, text, &Modules::default())
            .expect("the standard library has no mistakes");
        insta::assert_snapshot!(
            format!("hir_{name}"),
            format!("{text}\n{}", checked.program)
        );
    }
}
