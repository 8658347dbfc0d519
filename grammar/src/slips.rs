//! What may be meant by what cannot stand in its place: spellings of other languages, and forms that go on otherwise.

use crate::ast::Span;
use crate::error::is_reserved;

/// Spellings of other languages, and ours.
const SLIPS: [(&str, &str); 28] = [
    ("**", "write `^` for a power"),
    ("&&", "write `and`"),
    ("||", "write `or`"),
    ("|", "write `abs(x)` for a size, `or` between conditions"),
    ("!", "write `not`"),
    ("@", "write `*` for the product of matrices"),
    ("×", "write `*`"),
    ("·", "write `*`"),
    ("÷", "write `/`"),
    ("−", "write `-`"),
    ("²", "write `x^2`"),
    ("√", "write `sqrt(x)`"),
    ("≤", "write `<=`"),
    ("≥", "write `>=`"),
    ("≠", "write `!=`"),
    ("#", "comments begin with `//`"),
    ("/*", "comments begin with `//`"),
    ("\"", "a text ends with `\"` on its line"),
    ("%", "write `mod(x, y)` for what a division leaves"),
    ("?", "write `if c { a } else { b }`"),
    ("elif", "write `else if`"),
    ("elseif", "write `else if`"),
    ("return", "write the value as the last line of the body"),
    (
        "for",
        "write `repeat k { … }` or `repeat (a, b) in TABLE { … }`",
    ),
    ("while", "write `until c at most k { … }`"),
    ("import", "write `use`, as in `use std.adamw.AdamW`"),
    ("def", "write `fn`, as in `fn f(x: [m, n]) -> [m, n] { … }`"),
    ("class", "write `optimizer Name { … }`"),
];

/// The word that a line or block begins with, what is expected further on, and how the whole is written.
const FORMS: [(&str, &str, &str); 10] = [
    (
        "hyper",
        "`=`",
        "write `=` and a number; there is no type, as in `hyper lr = 1e-3 in [0, inf)`",
    ),
    (
        "static",
        "`:`",
        "say what it may be, as in `static k: int = 5` or `static nesterov: bool = true`",
    ),
    (
        "rule",
        "`:`",
        "say which shapes it takes, as in `rule each(w: [...])` or `rule matrix(w: [m, n])`",
    ),
    (
        "fn",
        "`:`",
        "give each parameter a type, as in `fn f(x: [m, n], factor: float) -> [m, n] { … }`",
    ),
    (
        "fn",
        "`->`",
        "say what it gives, as in `fn f(x: [m, n]) -> [m, n] { … }`",
    ),
    (
        "component",
        "`:`",
        "give each parameter a type, as in `component c(x: [...], beta: float) -> [...] { … }`",
    ),
    (
        "component",
        "`->`",
        "say what it gives, as in `component c(x: [...]) -> [...] { … }`",
    ),
    (
        "state",
        "`:` or `=`",
        "say how it begins, as in `state m = zeros_like(w)`",
    ),
    (
        "let",
        "`:` or `=`",
        "a name has one value: `let f = qr(a)`, then `f.q` and `f.r`",
    ),
    (
        "every",
        "an expression",
        "say how often, as in `every 10 steps { … }`",
    ),
];

/// The help for what does not stand at a place, where more can be said than what is expected.
pub(crate) fn help(text: &str, at: Span, expected: &str) -> Option<String> {
    let here = text.get(at.start as usize..at.end as usize)?;
    let before = &text[..at.start as usize];
    let reserved = || format!("`{here}` is a word of the language and cannot stand here");
    let path = || path(text, at.start as usize).filter(|_| [".", "("].contains(&here));
    let found = misplaced(text, at).map(str::to_owned);
    let found = found.or_else(|| is_reserved(here).then(reserved));
    let found = found.or_else(|| slip(text, at).map(str::to_owned));
    let found = found.or_else(|| path().map(import));
    found.or_else(|| form(before.trim_end(), here, expected).map(str::to_owned))
}

/// The help for a word of the language that is a function elsewhere, or stands at the top of a file.
fn misplaced(text: &str, at: Span) -> Option<&'static str> {
    let (before, from) = text.split_at(at.start as usize);
    let word = from.get(..(at.end - at.start) as usize)?;
    match word {
        "where" if from.starts_with("where(") => Some("write `select(mask, x, y)`"),
        "var" if from.starts_with("var(") => Some("write `rms(x - mean(x))^2`"),
        "use" | "fn" | "component" | "table" if is_inside(before) => {
            Some("move it to the top of the file, above the optimizer")
        }
        _ => None,
    }
}

/// The help for a spelling of another language, at a place or right before it; `**` is found out at its second half.
fn slip(text: &str, at: Span) -> Option<&'static str> {
    let start = at.start as usize;
    let here = text.get(start..at.end as usize)?;
    if is_glued(here) {
        return Some("write `*` between a number and a name, as in `2 * m`");
    }
    let pair = text
        .get(start.saturating_sub(1)..start + 1)
        .unwrap_or_default();
    let before = text[..start].trim_end_matches(' ');
    let word = &before[word_start(before)..];
    let mut slips = SLIPS.iter();
    let known = slips.find(|(slip, _)| [here, pair, word].contains(slip));
    known.map(|(_, help)| *help)
}

/// Whether a text ends inside of braces.
fn is_inside(text: &str) -> bool {
    text.matches('{').count() > text.matches('}').count()
}

/// `2m`, which is no number.
fn is_glued(token: &str) -> bool {
    let digit = token.starts_with(|c: char| c.is_ascii_digit());
    digit && token.parse::<f64>().is_err() && token.contains(char::is_alphabetic)
}

/// Where the word begins that a text ends with.
fn word_start(text: &str) -> usize {
    let before = text.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
    before.len()
}

/// The path around a place, such as `std.adamw.AdamW`, that may mean an optimizer.
fn path(text: &str, at: usize) -> Option<(&str, &str)> {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let start = text[..at].trim_end_matches(inside).len();
    let length = text[start..].find(|c| !inside(c));
    let path = &text[start..length.map_or(text.len(), |length| start + length)];
    let (module, name) = path.rsplit_once('.')?;
    let named = name.starts_with(|c: char| c.is_ascii_uppercase());
    (named && module.starts_with(|c: char| c.is_alphabetic())).then_some((path, name))
}

fn import((path, name): (&str, &str)) -> String {
    format!("write `use {path}` at the top of the file, and `{name}` here")
}

/// The help for what has begun as the language has it and goes on otherwise.
fn form(before: &str, here: &str, expected: &str) -> Option<&'static str> {
    let begun = before
        .rfind(['\n', '{', '}', ';'])
        .map_or(before, |at| &before[at + 1..])
        .trim_start();
    let begins = |word: &str| {
        let rest = begun.strip_prefix(word);
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let declares = || ["state", "let", "var"].iter().any(|word| begins(word));
    let mut forms = FORMS.iter();
    let known = forms.find(|(word, wanted, _)| *wanted == expected && begins(word));
    if let Some((_, _, help)) = known {
        return Some(help);
    }
    match (expected, here) {
        ("a name", _) if before.ends_with('[') => Some(
            "modes have names, as in `each i { s[i] = … }`; elements are taken with `gather(x, axis, index)`",
        ),
        ("an expression", ")") if is_method(before) => Some(METHOD),
        ("`}`", _) if ends_with_method(before) => Some(METHOD),
        ("`}`", here) if !here.is_empty() => Some(
            "a value stands last in its block: give the one before a name with `let`, or assign it",
        ),
        (_, ",") if expected.starts_with("a statement") && declares() => Some(
            "declare one after the other, each with its word: `let a = 1` and below it `let b = 2`",
        ),
        _ => None,
    }
}

const METHOD: &str = "write a function before what it is of, as in `sum(x)` for `x.sum()`";

/// Whether a text ends as `x.sum(`.
fn is_method(text: &str) -> bool {
    let Some(called) = text.strip_suffix('(') else {
        return false;
    };
    called[..word_start(called)].ends_with('.')
}

/// Whether a text ends as `x.sum(0)`.
fn ends_with_method(text: &str) -> bool {
    let mut open = 0;
    let mut places = text.char_indices().rev();
    let begin = places.find(|(_, c)| {
        open += i32::from(*c == ')') - i32::from(*c == '(');
        open <= 0
    });
    begin.is_some_and(|(at, c)| c == '(' && is_method(&text[..=at]))
}
