//! Every code has a page whose examples do what they say, and a message that reads well.

use crate::support::{codes, mistakes, render, split};
use optc_core::codes::{self, Code};
use std::collections::BTreeSet;

#[test]
fn failing_examples_fail_with_their_code_alone() {
    let mut wrong = Vec::new();
    for page in codes::all() {
        let (text, modules) = split(&page.failing_source());
        let found = mistakes(&text, &modules);
        if codes(&found) != [page.code] {
            let shown = if page.repeated == 1 {
                render(&found)
            } else {
                format!("{:?}", codes(&found))
            };
            wrong.push(format!("{}:\n{shown}", page.code));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn corrected_examples_are_clean() {
    let mut wrong = Vec::new();
    for page in codes::all() {
        let (text, modules) = split(page.corrected);
        let found = mistakes(&text, &modules);
        if !found.is_empty() {
            wrong.push(format!("{}:\n{}", page.code, render(&found)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The codes that stand on variants.
fn declared() -> Vec<String> {
    let sources = [
        include_str!("../../src/check/error.rs"),
        include_str!("../../src/check/unused.rs"),
        include_str!("../../../../grammar/src/error.rs"),
    ];
    let after = sources
        .iter()
        .flat_map(|source| source.split("code(").skip(1));
    let inside = after.filter_map(|text| text.split_once(')'));
    let plain = inside.map(|(code, _)| code.trim().trim_matches('"').to_owned());
    plain.filter(|code| code.starts_with("opt::")).collect()
}

#[test]
fn variants_and_pages_have_the_same_codes() {
    let declared = declared();
    let pages: Vec<String> = codes::all().map(|page| page.code.to_owned()).collect();
    let set = |codes: &[String]| codes.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(set(&declared), set(&pages));
    assert_eq!(
        declared.len(),
        set(&declared).len(),
        "two variants share a code"
    );
    assert_eq!(pages.len(), set(&pages).len(), "two pages share a code");
}

#[test]
fn pages_are_found_by_code() {
    assert_eq!(
        codes::find("opt::shape::mismatch").map(|page| page.code),
        Some("opt::shape::mismatch")
    );
    assert_eq!(codes::find("opt::shape::nothing"), None);
    let page = codes::find("opt::shape::inner")
        .map(Code::page)
        .unwrap_or_default();
    assert!(page.starts_with("# opt::shape::inner\n"), "{page}");
    assert_eq!(page.matches("```opt\n").count(), 2);
}

/// Messages say what is wrong without a capital or a full stop, summaries likewise.
#[test]
fn messages_are_in_one_voice() {
    for page in codes::all().filter(|page| page.repeated == 1) {
        let (text, modules) = split(page.failing);
        for one in mistakes(&text, &modules) {
            let message = one.to_string();
            let first = message.chars().next().expect("a message has text");
            assert!(
                !first.is_uppercase() && !message.ends_with('.'),
                "{}: {message}",
                page.code
            );
            assert!(
                miette::Diagnostic::help(&one).is_some(),
                "{} has no help",
                page.code
            );
        }
        assert!(!page.summary.ends_with('.'), "{}", page.code);
    }
}

/// One rendered message per code. Texts of a mebibyte are left to the parser's own tests.
#[test]
fn messages() {
    for page in codes::all().filter(|page| page.repeated == 1) {
        let (text, modules) = split(page.failing);
        let rendered = render(&mistakes(&text, &modules));
        let name = page.code.trim_start_matches("opt::").replace("::", "_");
        insta::assert_snapshot!(name, format!("{}\n\n{rendered}", page.failing.trim()));
    }
}
