//! One rendered diagnostic per code, and the wording of the common ones.

use miette::{GraphicalReportHandler, GraphicalTheme, NamedSource, Report};
use optc_grammar::{MAX_DEPTH, MAX_LINE, MAX_SIZE, ParseError, dump, parse, printable};

/// Snapshots the rendering of the one mistake in a file.
fn render(name: &str, source: &str) {
    insta::assert_snapshot!(name, format!("{source}\n---\n{}", rendered(source)));
}

fn rendered(source: &str) -> String {
    let report = Report::new(failure(source))
        .with_source_code(NamedSource::new("rule.opt", source.to_owned()));
    shown(&report)
}

fn shown(report: &Report) -> String {
    let mut out = String::new();
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(80);
    handler
        .render_report(&mut out, report.as_ref())
        .expect("a string takes any report");
    out
}

#[track_caller]
fn failure(source: &str) -> ParseError {
    match parse(source) {
        Err(error) => error,
        Ok(module) => panic!("parsed:\n{}", dump(&module)),
    }
}

/// Compares the help of a mistake in a rule's body.
#[track_caller]
fn check_help(body: &str, help: &str) {
    let error = failure(&format!("optimizer O {{ rule r(w: [...]) {{ {body} }} }}"));
    assert_eq!(
        miette::Diagnostic::help(&error)
            .map(|help| help.to_string())
            .as_deref(),
        Some(help)
    );
}

#[test]
fn too_large() {
    let source = format!("table T = [1]\n{}", "// filler\n".repeat(MAX_SIZE / 10));
    let error = failure(&source);
    assert_eq!(
        error.to_string(),
        format!(
            "the source has {} bytes, {MAX_SIZE} are allowed",
            source.len()
        )
    );
    let rendering = rendered(&source);
    insta::assert_snapshot!("too_large", rendering);
}

#[test]
fn long_line() {
    let line = format!("table T = [{}1]", " ".repeat(MAX_LINE));
    let source = format!("// first\n{line}\n// last\n");
    let error = failure(&source);
    assert_eq!(
        error.to_string(),
        format!(
            "a line of {} characters, {MAX_LINE} are allowed",
            line.len()
        )
    );
    let report = Report::new(error)
        .with_source_code(NamedSource::new("rule.opt", printable(&source).to_owned()));
    insta::assert_snapshot!("long_line", shown(&report));
    // Characters count, not bytes.
    let most = format!("// {}\ntable T = [1]", "é".repeat(MAX_LINE - 3));
    assert!(parse(&most).is_ok() && printable(&most) == most);
}

/// A column beyond what a terminal has, and a file of a mebibyte in one line.
#[test]
fn no_message_shows_a_line_that_is_too_long() {
    for text in [
        format!("table T = [{}$]", " ".repeat(70_000)),
        " ".repeat(MAX_SIZE + 1),
    ] {
        assert!(matches!(failure(&text), ParseError::LongLine { .. }));
        assert!(printable(&text).len() < 100);
    }
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    let text = "\u{feff}//! What it is.\ntable T = [1]";
    let module = parse(text).expect("the mark is skipped");
    assert_eq!(module.docs, "What it is.");
    let error = failure("\u{feff}table T = [$]");
    let label = miette::Diagnostic::labels(&error).and_then(|mut labels| labels.next());
    assert_eq!(label.map(|label| label.offset()), Some(14));
}

#[test]
fn too_deep() {
    let source = format!(
        "table T = [\n{}1{}]",
        "(\n".repeat(MAX_DEPTH),
        ")".repeat(MAX_DEPTH)
    );
    insta::assert_snapshot!("too_deep", rendered(&source));
}

#[test]
fn unclosed() {
    render(
        "unclosed",
        "optimizer O {\n    rule r(w: [...]) {\n        w -= max(grad, 0\n    }\n}\n",
    );
}

#[test]
fn unclosed_at_the_end() {
    render(
        "unclosed_at_the_end",
        "optimizer O {\n    rule r(w: [...]) {\n        skip\n    }\n",
    );
}

#[test]
fn unopened() {
    render("unopened", "table T = [1]\n}\n");
}

#[test]
fn unexpected() {
    render("unexpected", "optimizer O {\n    hyper lr 1e-3\n}\n");
}

#[test]
fn reserved() {
    render("reserved", "optimizer O {\n    hyper rule = 1e-3\n}\n");
}

#[test]
fn number_range() {
    render("number_range", "table T = [1e999]\n");
    assert_eq!(
        failure("table T = [1e-999]").to_string(),
        "the number `1e-999` is out of range"
    );
    let wide = "optimizer O { static t: table(4294967296) = [1] }";
    assert_eq!(
        failure(wide).to_string(),
        "the number `4294967296` is out of range"
    );
}

#[test]
fn chained_comparison() {
    render(
        "chained_comparison",
        "fn f(a: int) -> bool {\n    0 < a <= 3\n}\n",
    );
}

#[test]
fn missing_else() {
    render(
        "missing_else",
        "fn f(a: int) -> int {\n    let b = if a > 0 { a }\n    b\n}\n",
    );
}

#[test]
fn unbounded_loop() {
    let rule = |body: &str| format!("optimizer O {{ rule r(w: [n]) {{ {body} }} }}");
    render("unbounded_loop", &rule("until norm(w) < 1 { w *= 0.5 }"));
    render("unbounded_repeat", &rule("repeat { w *= 0.5 }"));
}

#[test]
fn repeated_member() {
    render(
        "repeated_member",
        "optimizer O {\n    absent grad: zeros\n    absent grad: skip\n}\n",
    );
}

#[test]
fn other_languages_get_a_translation() {
    check_help("w = a ** 2", "write `^` for a power");
    check_help("w = a && b", "write `and`");
    check_help("w = !a", "write `not`");
    check_help("w = a @ b", "write `*` for the product of matrices");
    check_help("# hello", "comments begin with `//`");
    check_help("w = \"a", "a text ends with `\"` on its line");
}

#[test]
fn what_is_expected_is_said_in_words() {
    let bodies = [
        "let x = ",
        "let = 1",
        "let x 1",
        "let step: = 0",
        "w b",
        "w = a b",
        "w = (a b)",
        "w = f(a b)",
        "w = (a + )",
        "w = a + * b",
        "w = a + not b",
        "w = a[0]",
        "w = a $ b",
        "w = é",
        "w = 3x",
        "w = in f32 a",
        "w = a. b.3",
        "w = a or retry",
        "w = a or keep at most 3",
        "if a skip",
        "if a {} else b",
        "on second step {}",
        "every 3 {}",
        "each {}",
        "modes i w {}",
        "repeat (a, b) on T {}",
        "repeat (a, 3) in T {}",
        "state x: [m,, n] = 0",
        "state x: [... = 0]",
        "state x",
        "hyper lr = 1",
        "else {}",
        "x ^= 2",
        "fn = 3",
        "w = if a { 1 }; 3 4",
    ];
    let items = [
        "optimiser O {}",
        "use std",
        "use std.{}",
        "use std.a, std.b",
        "fn f(a) -> int { 1 }",
        "fn f(a: int) { 1 }",
        "fn f(a: int) -> { 1 }",
        "fn if(a: int) -> int { 1 }",
        "fn f(let: int) -> int { 1 }",
        "table T = []",
        "table T = 3",
        "table T = [(1, 2) (3, 4)]",
        "optimizer O { lr = 3 }",
        "optimizer { }",
        "optimizer O [ ]",
        "optimizer O { rule r(w) {} }",
        "optimizer O { rule r(w: [n]) }",
        "optimizer O { rule r(w: [n]) = }",
        "optimizer O { rule r(w: [n]) = A(lr: 3) }",
        "optimizer O { hyper a = 1 in 3 }",
        "optimizer O { hyper a = 1 in [0, 1 }",
        "optimizer O { hyper a }",
        "optimizer O { static a = 1 }",
        "optimizer O { static a: table(x) = 1 }",
        "optimizer O { absent grad: 3 }",
        "optimizer O { nonfinite grad }",
        "optimizer O { state x = 1 }",
    ];
    let bodies = bodies.map(|body| {
        (
            body,
            format!("optimizer O {{ rule r(w: [...]) {{ {body} }} }}"),
        )
    });
    let items = items.map(|item| (item, item.to_owned()));
    let lines = bodies.iter().chain(&items).map(|(shown, source)| {
        let outcome = parse(source)
            .map(|module| dump(&module))
            .unwrap_or_else(|error| format!("error: {error}\n"));
        format!("{shown}\n    {outcome}")
    });
    insta::assert_snapshot!("messages", lines.collect::<String>());
}
