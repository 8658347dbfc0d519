//! What people bring from other languages: the message says what is written here.

use crate::support::{Modules, library_mistakes};
use miette::Diagnostic;
use std::fmt::Write;

/// Statements of a rule for matrices.
const STATEMENTS: [&str; 81] = [
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
    "let x = median(row_sums(grad))",
    "let x = sort(row_sums(grad))",
    "let x = outer(row_sums(grad), column_sums(grad))",
    "let x = cumsum(grad)",
    "let x = broadcast(grad)",
    "let x = sigmoid(grad)",
    "let x = softmax(grad)",
    "let x = var(grad)",
    "let x = log2(grad)",
    "let x = isnan(grad)",
    "let x = |grad|",
    "let x = 2grad",
    "let x = grad.abs",
    "let x = grad × grad",
    "let x = grad ÷ 2",
    "let x = grad²",
    "fn f(x: [m]) -> [m] { x }",
    "state a = zeros",
    "let x = True",
    "state a = 0, b = 0",
    "let a = 1, b = 2",
    "if norm(w) > 1 { skip }",
    "if grad > 1 { w *= 2 }",
    "state error = 0; error = grad",
    "var acc = 0; acc += grad",
    "var acc = 0; acc = gram(grad)",
    "let x = top_k(row_sums(grad), numel(w) / 100)",
    "let x = identity(m / 2)",
    "let x = sum(grad) or keep",
];

/// Whole files.
const FILES: [&str; 21] = [
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
    "optimizer T { fn f(x: [m]) -> [m] { x } }",
    "optimizer T { rule each(w: [...]) = std.adamw.AdamW(lr = 1) }",
    "optimizer T(base: optimizer = std.adamw.AdamW) { }",
    "use std.clip.Clip optimizer T = Clip(base = std.adamw.AdamW)",
    "use std.clip.Clip optimizer T = Clip(base = std.adamw.AdamW(lr = 1))",
    "use std.graft.Graft use std.adamw.AdamW optimizer T = Graft(foo = AdamW)",
    "optimizer T { rule each(w: [..., m, n]) { state r: [..., m, 1] = 0 w -= r } }",
    "optimizer T { hyper seed = 1 rule each(w: [...]) { w -= seed * grad } }",
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
