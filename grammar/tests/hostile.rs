//! Texts made to break a parser: none may overflow the stack, panic or take long.

use optc_grammar::{MAX_LINE, MAX_SIZE, ParseError, parse};

const SAMPLES: [&str; 3] = [
    include_str!("samples/adamw.opt"),
    include_str!("samples/muon.opt"),
    include_str!("samples/soap.opt"),
];

/// As many copies of `unit` as fit between `head` and `tail` in the largest source, in lines that are not too long.
fn filled(head: &str, unit: &str, tail: &str) -> String {
    let line = unit.repeat(MAX_LINE / 2 / unit.len()) + "\n";
    let lines = (MAX_SIZE - head.len() - tail.len()) / line.len();
    format!("{head}{}{tail}", line.repeat(lines))
}

#[track_caller]
fn check_too_deep(source: &str) {
    let result = parse(source);
    assert!(
        matches!(result, Err(ParseError::TooDeep { .. })),
        "{:?}",
        result.err()
    );
}

#[test]
fn brackets_without_end() {
    for bracket in ["(", "[", "{", "f(", "[(", "if a {", "in bf16 {"] {
        check_too_deep(&filled("fn f() -> int { ", bracket, ""));
    }
}

#[test]
fn chains_without_end() {
    let body = |unit, tail| filled("fn f() -> int { ", unit, tail);
    check_too_deep(&body("-", "a }"));
    check_too_deep(&body("- ", "a }"));
    check_too_deep(&body("not ", "a }"));
    check_too_deep(&body("a+", "a }"));
    check_too_deep(&body("a ^ ", "a }"));
    check_too_deep(&body("a and ", "a }"));
    // A mark touches what it follows, so this chain has one line.
    check_too_deep(&format!("fn f() -> int {{ a{} }}", "'".repeat(2_000)));
    check_too_deep(&filled("fn f() -> int { a", ".b", "}"));
    check_too_deep(&filled(
        "fn f() -> int { if a { 1 } ",
        "else if a { 1 } ",
        "else { 1 } }",
    ));
}

#[test]
fn unfinished_chains_are_plain_mistakes() {
    for unit in [
        "-",
        "a+",
        "a ",
        "'",
        "a'",
        "else if a {}",
        ".",
        "a,",
        "1",
        "é",
        "/",
        "//",
        "///\n",
    ] {
        let result = parse(&filled("fn f() -> int { ", unit, ""));
        assert!(
            matches!(
                result,
                Err(ParseError::Unexpected { .. } | ParseError::Unclosed { .. })
            ),
            "{unit}"
        );
    }
}

#[test]
fn flat_texts_of_full_size_parse() {
    assert!(parse(&filled("table T = [", "1,", "]")).is_ok());
    assert!(parse(&filled("", "use a.b\n", "")).is_ok());
    assert!(parse(&filled("use a", ".a", "")).is_ok());
    assert!(parse(&filled("fn f() -> int { ", "let a = 1 ", "a }")).is_ok());
    assert!(parse(&filled("", "\n", "")).is_ok());
}

#[test]
fn the_deepest_tree_parses_on_a_small_stack() {
    let nested = |open: &str, inner: &str, close: &str, levels: usize| {
        format!(
            "fn f() -> int {{ {}{inner}{} }}",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    let sources = [
        nested("(", "1", ")", 255),
        nested("[", "1", "]", 255),
        nested("f(", "1", ")", 255),
        nested("f(a: ", "1", ")", 255),
        nested("-(", "1", ")", 127),
        nested("if a { ", "1", " } else { 2 }", 127),
        nested("in bf16 { ", "1", " }", 255),
        nested("repeat 3 { ", "1", " }", 255),
        nested("if ", "a", " { 1 } else { 2 }", 100),
        nested("1 + ", "1", "", 254),
        nested("2 ^ ", "1", "", 254),
    ];
    for source in sources {
        let dump = on_small_stack(move || parse(&source).map(|module| optc_grammar::dump(&module)));
        let dump = dump.expect("within the limits");
        assert!(!dump.is_empty());
    }
}

fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let thread = thread.spawn(work).expect("a thread starts");
    thread.join().expect("no panic")
}

#[test]
fn a_mistake_deep_inside_is_found_in_linear_time() {
    let units = [
        ("(", ")"),
        ("[", "]"),
        ("[(", ")]"),
        ("f(", ")"),
        ("f(a: ", ")"),
        ("- (", ")"),
        ("a - (", ")"),
        ("a or (", ")"),
        ("a = b - in bf16 { ", "}"),
        ("b - in bf16 { ", "}"),
        ("f(in bf16 { ", "})"),
        ("w = f(in bf16 { ", "})"),
        ("if a { ", "}"),
        ("if a {} else { ", "}"),
        ("if if a { ", "} else { 1 } {}"),
        ("let x = if a { ", "} else { 1 }"),
        ("repeat (a) in in bf16 { ", "} {}"),
        ("repeat (a) in T take in bf16 { ", "} {}"),
        ("repeat ((", ")) {}"),
        ("every in bf16 { ", "} steps {}"),
        ("every 3 steps from in bf16 { ", "} {}"),
        ("modes i of w where in bf16 { ", "} {}"),
        ("state a: f32[in bf16 { ", "}] = 0"),
        ("state a: [in bf16 { ", "}] = 0"),
        ("(in bf16 { skip ", "}, 1)'.b"),
    ];
    for (open, close) in units {
        let source = format!(
            "fn f() -> int {{ {} $ {} }}",
            open.repeat(100),
            close.repeat(100)
        );
        let error = parse(&source).expect_err("`$` is no token");
        assert!(
            matches!(error, ParseError::Unexpected { .. }),
            "{open}: {error}"
        );
    }
}

#[test]
fn mutated_samples_never_panic() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for sample in SAMPLES {
        for _ in 0..300 {
            let mut bytes = sample.as_bytes().to_vec();
            for _ in 0..=random.below(4) {
                mutate(&mut bytes, &mut random);
            }
            let source = String::from_utf8_lossy(&bytes);
            let _ = parse(&source).map(|module| optc_grammar::dump(&module));
        }
    }
}

/// Replaces, removes, doubles or moves a few bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(12)).min(bytes.len());
    match random.below(4) {
        0 => bytes[at] = b"(){}[]'^-+*/=.,:; \nainw09\xC3"[random.below(26)],
        1 => drop(bytes.drain(at..end)),
        2 => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        _ => {
            let part: Vec<u8> = bytes.drain(at..end).collect();
            let to = random.below(bytes.len());
            bytes.splice(to..to, part);
        }
    }
}

/// A xorshift generator: the same texts in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
