//! No text makes the checker panic, overflow or forget itself.

use crate::support::{Modules, Random, codes, library_mistakes};
use std::fmt::Write;

fn check(text: &str) -> Vec<String> {
    codes(&library_mistakes(text, &Modules::default()))
}

/// A long chain of functions would overflow the stack of a checker that follows calls.
#[test]
fn long_chain_of_functions() {
    let mut text = String::from("fn f0(x: [...]) -> [...] { x }\n");
    for k in 1..5_000 {
        writeln!(text, "fn f{k}(x: [...]) -> [...] {{ f{}(x) }}", k - 1)
            .expect("writing to a string succeeds");
    }
    text += "optimizer Shown { rule each(w: [...]) { w -= f4999(grad) } }";
    assert_eq!(check(&text), [""; 0]);
}

#[test]
fn long_chain_of_settings() {
    let mut text = String::from("optimizer Shown {\n    hyper a0 = 1 in [0, 2]\n");
    for k in 1..2_000 {
        writeln!(text, "    hyper a{k} = a{0} * a{0} in [0, 2]", k - 1)
            .expect("writing to a string succeeds");
    }
    text += "    rule each(w: [...]) { w -= a1999 * grad }\n}";
    assert_eq!(check(&text), [""; 0]);
}

#[test]
fn nesting_up_to_the_limit() {
    for (open, close) in [
        ("(", ")"),
        ("sqrt(", ")"),
        ("-(", ")"),
        ("if rank(w) > 1 { ", " } else { grad }"),
    ] {
        for depth in [60, 120, 240] {
            let text = format!(
                "optimizer Shown {{ rule each(w: [...]) {{ w -= {}grad{} }} }}",
                format!("{open}\n").repeat(depth),
                format!("{close}\n").repeat(depth)
            );
            let found = check(&text);
            assert!(
                found.is_empty() || found == ["opt::syntax::too_deep"],
                "{open}: {found:?}"
            );
        }
    }
}

/// A column beyond what a terminal has, a file of a mebibyte in one line, an argument over many lines.
#[test]
fn no_message_is_longer_than_a_page() {
    let rule = |body: &str| format!("optimizer Shown {{ rule each(w: [...]) {{ {body} }} }}");
    for text in [
        rule(&format!("w -={}lr * grad", " ".repeat(70_000))),
        rule(&" ".repeat(1 << 21)),
        rule(&format!("w -= named((1,\n{}2))", "1,\n".repeat(9_000))),
        rule(&format!("w -= sum([1,\n{}2], 3)", "1,\n".repeat(9_000))),
    ] {
        let mistakes = library_mistakes(&text, &Modules::default());
        assert!(!mistakes.is_empty());
        let shown = crate::support::render(&mistakes);
        assert!(shown.len() < 5_000, "{}", &shown[..5_000]);
    }
}

/// An optimizer that hands parameters to a composition of itself.
#[test]
fn circles_through_compositions() {
    let base = "optimizer P { hyper lr = 1 rule each(w: [...]) { w -= lr * grad } }";
    for inner in ["S(base = S)", "S(base = S(base = P))", "S(base = P)"] {
        let text = format!(
            "optimizer S(base: optimizer = P) {{
                rule v(w: [n]) = {inner}
                rule each(w: [...]) {{ w = base(w, grad) }}
            }} {base}"
        );
        let found = check(&text);
        assert!(
            !found.is_empty() && found.iter().all(|code| code == "opt::rule::cycle"),
            "{found:?}"
        );
    }
}

/// A thousand mistakes: the first hundred are shown.
#[test]
fn many_mistakes() {
    let mut text = String::from("optimizer Shown { rule each(w: [...]) {\n");
    for k in 0..1_000 {
        writeln!(text, "w -= missing{k} * grad").expect("writing to a string succeeds");
    }
    text += "} }";
    assert_eq!(check(&text), vec!["opt::name::unknown"; 100]);
}

/// The words of the library, shuffled locally: most results parse, few make sense.
#[test]
fn mutated_library() {
    let mut random = Random(7);
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        for _ in 0..150 {
            let mut words: Vec<&str> = text
                .split_inclusive([' ', '(', ')', '[', ']', ',', '\n'])
                .collect();
            for _ in 0..=random.below(4) {
                let (from, to) = (random.below(words.len()), random.below(words.len()));
                match random.below(3) {
                    0 => words.swap(from, to),
                    1 => words[to] = words[from],
                    _ => words[to] = "",
                }
            }
            check(&words.concat());
        }
    }
}

/// Names exchanged for one another: everything parses, and every check has its turn.
#[test]
fn exchanged_names() {
    let mut random = Random(11);
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut words: Vec<&str> = text
            .split(|c| !is_word(c))
            .filter(|word| word.len() > 1)
            .collect();
        words.sort_unstable();
        words.dedup();
        for _ in 0..100 {
            let (from, to) = (
                words[random.below(words.len())],
                words[random.below(words.len())],
            );
            check(&text.replacen(from, to, 1 + random.below(2)));
        }
    }
}
