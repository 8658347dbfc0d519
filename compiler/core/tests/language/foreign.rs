//! What people bring from other languages: the message says what is written here.

use crate::support::{Modules, library_mistakes};
use miette::Diagnostic;
use std::fmt::Write;

/// Statements of a rule for matrices.
const STATEMENTS: [&str; 52] = [
    "let x = grad @ grad'",
    "let x = grad ** 2",
    "let x = grad % 2",
    "let x = grad * grad'.T",
    "let x = grad.shape",
    "let x = grad.sum()",
    "let x = grad.sum(0)",
    "let x = grad[0]",
    "let x = lr > 1 ? 2 : 3",
    "if lr > 1 && lr < 2 { w *= 2 }",
    "if step % 10 == 0 { w *= 2 }",
    "for i in 0..5 { w *= 0.9 }",
    "while norm(grad) > 1 { w *= 0.9 }",
    "return grad",
    "print(w)",
    "let q, r = qr(grad)",
    "state m",
    "every { w *= 2 }",
    "w -= where(grad > 0, grad, 0)",
    "let x = sum(grad, 0)",
    "let x = sum(grad, dim: 0)",
    "let x = mean(grad, 0)",
    "let x = norm(grad, 1)",
    "let x = sqrt(grad, 2)",
    "state s: [m] = zeros(m)",
    "let x = ones(m, n)",
    "let x = full_like(grad, 2)",
    "let x = eye(m)",
    "let x = transpose(grad)",
    "let x = matmul(grad, grad)",
    "let x = mul(grad, grad)",
    "let x = pow(grad, 2)",
    "let x = rsqrt(grad)",
    "let x = reciprocal(grad)",
    "let x = clip(grad, 0, 1)",
    "let x = maximum(grad, 0)",
    "let x = minimum(grad, 0)",
    "let x = rand_like(grad)",
    "let x = randn_like(grad)",
    "let x = argmax(row_sums(grad))",
    "let x = inv(gram(grad))",
    "let x = inverse_root(gram(grad), 4)",
    "let x = std(grad)",
    "let x = size(grad)",
    "let x = round(grad)",
    "let x = tan(grad)",
    "let x = atan(grad)",
    "let x = arctan2(grad, w)",
    "state s: float32 = zeros_like(w)",
    "state s: int8 = zeros_like(w)",
    "state s: q8 = zeros_like(w)",
    "state s: complex = zeros_like(w)",
];

/// Whole files.
const FILES: [&str; 13] = [
    "# a comment",
    "import std.adamw",
    "def f(x): x",
    "class Sgd { }",
    "fn f(x) -> [...] { x }",
    "fn f(x: [...]) { x }",
    "component c(x) -> [...] { x }",
    "component c(x: [...]) { x }",
    "optimizer T { hyper lr: float = 1e-3 }",
    "optimizer T { static k = 5 }",
    "optimizer T { rule each(w: [...]) = AdamW(lr = 1) }",
    "optimizer T = Sam(base = Soap)",
    "optimizer T { rule each(w) { w -= grad } }",
];

#[test]
fn spellings() {
    let rule = |statement: &&str| {
        format!(
            "optimizer T {{ hyper lr = 1 rule each(w: [m, n]) {{\n{statement}\nw -= lr * grad\n}} }}"
        )
    };
    let texts = STATEMENTS.iter().map(rule);
    let files = FILES.iter().map(|file| (*file).to_owned());
    let mut shown = String::new();
    let sources = STATEMENTS.iter().chain(&FILES);
    for (text, source) in texts.chain(files).zip(sources) {
        let mistakes = library_mistakes(&text, &Modules::default());
        let first = mistakes
            .first()
            .unwrap_or_else(|| panic!("{source} is no mistake"));
        let help = first.help().expect("a help");
        writeln!(shown, "{source}\n    {first}\n    {help}\n")
            .expect("writing to a string succeeds");
    }
    insta::assert_snapshot!(shown);
}
