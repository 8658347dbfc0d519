//! Each construct of the language and the tree it becomes.

use optc_grammar::{dump, parse};

/// Compares the dump of a file, all white space taken as one blank.
#[track_caller]
fn check(input: &str, expected: &str) {
    let module = parse(input).unwrap_or_else(|error| panic!("{error:?}\n{input}"));
    assert_eq!(one_line(&dump(&module)), one_line(expected));
}

/// Checks an expression, as the value of a function.
#[track_caller]
fn check_expr(input: &str, expected: &str) {
    let source = format!("fn f() -> int {{ {input} }}");
    check(&source, &format!("(fn f () int (do (value {expected})))"));
}

/// Checks statements, as the body of a rule.
#[track_caller]
fn check_body(input: &str, expected: &str) {
    let source = format!("optimizer O {{ rule r(w: [...]) {{ {input} }} }}");
    check(
        &source,
        &format!("(optimizer O (rule r w (shape ...) (do {expected})))"),
    );
}

/// Checks members of an optimizer.
#[track_caller]
fn check_members(input: &str, expected: &str) {
    check(
        &format!("optimizer O {{\n{input}\n}}"),
        &format!("(optimizer O {expected})"),
    );
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace("( ", "(").replace(" )", ")")
}

#[test]
fn an_empty_file_has_no_items() {
    check("", "");
    check(" // nothing\n\n", "");
}

#[test]
fn module_docs_lose_their_marker() {
    check(
        "//! One.\n//!   two\n\n// aside\n//! three\ntable T = [1]\n//! not this",
        r#"(docs "One.\n  two\nthree") (table T (1))"#,
    );
}

#[test]
fn use_takes_one_name_or_a_list() {
    check("use std.adamw.AdamW", "(use (std adamw) (AdamW))");
    check(
        "use std.orthogonal.{newton_schulz, KELLER,}",
        "(use (std orthogonal) (newton_schulz KELLER))",
    );
    check("use local.{ x }", "(use (local) (x))");
}

#[test]
fn functions_have_typed_parameters_and_a_result() {
    check(
        "/// Doubles.\n/// Twice.\nfn f(g: [m, n], k: int,) -> [m, n] { g * k }",
        r#"(fn f "Doubles.\nTwice." ((g (shape m n)) (k int)) (shape m n) (do (value (* g k))))"#,
    );
}

#[test]
fn tables_have_rows() {
    check(
        "table T = [(1, -2.5), (3, 4),]",
        "(table T (1 (- 2.5)) (3 4))",
    );
    check("table T = [1, 2]", "(table T (1) (2))");
    check(
        "table T = [(1), (1 + 2) * 3]",
        "(table T (1) ((* (+ 1 2) 3)))",
    );
}

#[test]
fn hypers_have_defaults_ranges_and_docs() {
    check_members(
        "hyper lr = 1e-3 in [0, inf), b = 2 in (-1, 1]",
        "(hyper lr 0.001 (in (from 0) (below inf))) (hyper b 2 (in (above (- 1)) (to 1)))",
    );
    check_members(
        "hyper a = 1, // one\n b = a // two",
        r#"(hyper a "one" 1) (hyper b "two" a)"#,
    );
    check_members("/// above\nhyper a = 1 // beside", r#"(hyper a "above" 1)"#);
    check_members(
        "hyper\n/// its own\na = 1, b = 2",
        r#"(hyper a "its own" 1) (hyper b 2)"#,
    );
}

#[test]
fn statics_have_types() {
    check_members(
        "static n: int = 5 in [1, 99] // steps",
        r#"(static n "steps" int 5 (in (from 1) (to 99)))"#,
    );
    check_members("static on_: bool = true", "(static on_ bool true)");
    check_members(
        "static s: choice(original, other) = original",
        "(static s (choice original other) original)",
    );
    check_members(
        "static t: table(3) = [(1, 2, 3)]",
        "(static t (table 3) (rows (1 2 3)))",
    );
    check_members(
        "static t: table(2) = (1, 2)",
        "(static t (table 2) (rows (1 2)))",
    );
}

#[test]
fn an_absent_gradient_has_a_policy() {
    check_members("absent grad: zeros", "(absent-grad zeros)");
    check_members("absent grad: skip", "(absent-grad skip)");
}

#[test]
fn state_may_be_packed() {
    check_members(
        "rule r(w: [n]) { state a: packed sym[n] = 0  state packed: f32 = w }",
        "(rule r w (shape n) (do (state a packed (sym (shape n)) 0) (state packed f32 w)))",
    );
}

#[test]
fn a_gradient_that_is_not_finite_has_a_policy() {
    for policy in ["skip", "raise", "pass"] {
        check_members(
            &format!("nonfinite grad: {policy}"),
            &format!("(nonfinite-grad {policy})"),
        );
    }
}

#[test]
fn rules_have_patterns_guards_and_bodies() {
    check_members(
        "/// Matrices.\nrule hidden(w: [m, n]) where m > 1 { skip }",
        r#"(rule hidden "Matrices." w (shape m n) (where (> m 1)) (do (skip)))"#,
    );
    check_members(
        "rule each(w: [out, in, ...]) {}",
        "(rule each w (shape out in ...) (do))",
    );
    check_members(
        "rule r(w: [..., in]) {} rule s(w: []) {}",
        "(rule r w (shape ... in) (do)) (rule s w (shape) (do))",
    );
}

#[test]
fn rules_delegate() {
    check_members(
        "rule conv(w: [...]) = each on flatten(w, from: 1)",
        "(rule conv w (shape ...) (delegate each (on (call flatten w (: from 1)))))",
    );
    check_members(
        "rule other(w: [...]) = AdamW(lr = 3e-4, weight_decay = 0)",
        "(rule other w (shape ...) (delegate AdamW (= lr 0.0003) (= weight_decay 0)))",
    );
    check_members(
        "rule a(w: [n]) where n > 2 = b rule b(w: [n]) = C()",
        "(rule a w (shape n) (where (> n 2)) (delegate b)) (rule b w (shape n) (delegate C))",
    );
}

#[test]
fn states_may_be_typed_and_per_mode() {
    check_body("state m = zeros_like(w)", "(state m (call zeros_like w))");
    check_body("state m: bf16 = 0", "(state m bf16 0)");
    check_body(
        "state g[i]: sym[dim(w, i)] = 0",
        "(state g[i] (sym (shape (call dim w i))) 0)",
    );
    check_body("state m: [4, n] = 0", "(state m (shape 4 n) 0)");
}

#[test]
fn bindings_and_assignments() {
    check_body("let a: int = 1 var b = 2", "(let a int 1) (var b 2)");
    check_body(
        "a = 1 b += 2; c -= 3 d *= 4 e /= 5;",
        "(= a 1) (+= b 2) (-= c 3) (*= d 4) (/= e 5)",
    );
    check_body("gram[i] = gram(grad, i)", "(= gram[i] (call gram grad i))");
}

#[test]
fn conditions_are_statements_or_values() {
    check_body("if a { skip }", "(if a (do (skip)))");
    check_body(
        "if a { x = 1 } else if b { y = 1 } else { skip }",
        "(if a (do (= x 1)) (do (if b (do (= y 1)) (do (skip)))))",
    );
    check_expr(
        "if a { 1 } else { 2 }",
        "(if a (do (value 1)) (do (value 2)))",
    );
    check_expr(
        "if a { 1 } else if b { 2 } else { 3 }",
        "(if a (do (value 1)) (do (value (if b (do (value 2)) (do (value 3))))))",
    );
    check_body(
        "let u = if a { 1 } else { 2 } * 3",
        "(let u (* (if a (do (value 1)) (do (value 2))) 3))",
    );
    check_body(
        "if a { 1 } else { 2 } skip",
        "(if a (do (value 1)) (do (value 2))) (skip)",
    );
    check_body(
        "if a { 1 } else { skip }",
        "(if a (do (value 1)) (do (skip)))",
    );
}

#[test]
fn time_has_its_statements() {
    check_body("on first step { skip }", "(on-first (do (skip)))");
    check_body("every k steps { skip }", "(every k (do (skip)))");
    check_body(
        "every 2 * k steps from s + 1 {}",
        "(every (* 2 k) (from (+ s 1)) (do))",
    );
}

#[test]
fn modes_and_each() {
    check_body(
        "modes i of w where rank(w) > 1 { state a[i] = 0 } each i { skip }",
        "(modes i w (where (> (call rank w) 1)) (do (state a[i] 0))) (each i (do (skip)))",
    );
    check_body("modes i of w {}", "(modes i w (do))");
}

#[test]
fn repeats_count_or_walk_a_table() {
    check_body("repeat k { skip }", "(repeat (take k) (do (skip)))");
    check_body("repeat (k) {}", "(repeat (take k) (do))");
    check_body("repeat (a, b) in T {}", "(repeat (in (a b) T) (do))");
    check_body(
        "repeat (a) in T take k + 1 {}",
        "(repeat (in (a) T) (take (+ k 1)) (do))",
    );
}

#[test]
fn operators_bind_in_order() {
    check_expr(
        "a or b and not c < d + e * -f ^ g",
        "(or a (and b (not (< c (+ d (* e (- (^ f g))))))))",
    );
    check_expr("a - b - c", "(- (- a b) c)");
    check_expr("a / b .* c * d", "(* (.* (/ a b) c) d)");
    check_expr("a ^ b ^ c", "(^ a (^ b c))");
    check_expr("-x^2", "(- (^ x 2))");
    check_expr("x^-1 * y", "(* (^ x (- 1)) y)");
    check_expr("2 ^ -x ^ 2", "(^ 2 (- (^ x 2)))");
    check_expr("-a * b", "(* (- a) b)");
    check_expr("- - a", "(- (- a))");
    check_expr("not a and b", "(and (not a) b)");
    check_expr("not not a == b", "(not (not (== a b)))");
    check_expr("(a + b) * c", "(* (+ a b) c)");
    check_expr(
        "a <= b and c >= d or e != f",
        "(or (and (<= a b) (>= c d)) (!= e f))",
    );
}

#[test]
fn postfix_marks_bind_tightest() {
    check_expr("a' * b[i]'", "(* (' a) (' b[i]))");
    check_expr("a''^2", "(^ (' (' a)) 2)");
    check_expr(
        "eigh(a, order: descending).vectors'",
        "(' (. (call eigh a (: order descending)) vectors))",
    );
    check_expr("f()\n  .q // the factor\n  .r", "(. (. (call f) q) r)");
    check_expr("(a * b)'", "(' (* a b))");
    check_expr("a.*b", "(.* a b)");
    check_expr("2.*b", "(.* 2 b)");
}

#[test]
fn a_factorization_may_have_policies() {
    check_expr(
        "eigh(a).vectors or retry f64 or keep",
        "(or-else (. (call eigh a) vectors) (retry f64) keep)",
    );
    check_expr("a or b or keep", "(or-else (or a b) keep)");
    check_expr(
        "eigh(a).vectors or retry f64 or keep at most n + 1 times",
        "(or-else (. (call eigh a) vectors) (retry f64) (keep (+ n 1)))",
    );
    check_expr(
        "cholesky(a) or retry f64 or else 2 * b or keep",
        "(or-else (call cholesky a) (retry f64) (else (or-else (* 2 b) keep)))",
    );
}

#[test]
fn precision_is_a_block() {
    check_expr(
        "in bf16 { let p = a * b p }",
        "(in bf16 (do (let p (* a b)) (value p)))",
    );
}

#[test]
fn in_is_also_a_dimension() {
    check_expr("out / in", "(/ out in)");
    check_body(
        "let r = max(in, 1) / in let s = in w = s",
        "(let r (/ (call max in 1) in)) (let s in) (= w s)",
    );
}

#[test]
fn numbers() {
    check_expr("1_000.5e-1_0", "1.0005e-7");
    check_expr(
        "[1, 0.95, 1e-3, 1E+3, inf, pi, 0e9, 0.0]",
        "(rows (1) (0.95) (0.001) (1000) (inf) (3.141592653589793) (0) (0))",
    );
    check_expr("[true, false]", "(rows (true) (false))");
}

#[test]
fn lines_end_where_the_next_token_cannot_go_on() {
    check_body("let a = b\n- c\nw = a", "(let a (- b c)) (= w a)");
    check_body("let a = b\n(c)", "(let a b) (value c)");
    check_body("let a = b\n[c]", "(let a b) (value (rows (c)))");
    check_body("let a = b; -c", "(let a b) (value (- c))");
    check_body("let a = f (x)", "(let a (call f x))");
}

#[test]
fn words_of_a_construct_are_names_elsewhere() {
    check_expr(
        "f(from: step, of: first, take: table)",
        "(call f (: from step) (: of first) (: take table))",
    );
    check_body("let index = information", "(let index information)");
    check_body("let pin = pi_", "(let pin pi_)");
    check_body(
        "let nothing = order - each_",
        "(let nothing (- order each_))",
    );
}

#[test]
fn spans_end_at_the_last_token() {
    let source = "table T = [(1 + (2)  ,3)] // end\n\n";
    let module = parse(source).expect("parses");
    let [optc_grammar::ast::Item::Table(table)] = &module.items[..] else {
        panic!("one table")
    };
    let text = |span: optc_grammar::ast::Span| &source[span.start as usize..span.end as usize];
    assert_eq!(text(table.span), "table T = [(1 + (2)  ,3)]");
    assert_eq!(text(table.name.span), "T");
    assert_eq!(text(table.rows[0][0].span), "1 + (2)");
}
