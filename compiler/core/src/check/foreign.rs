//! Names of other languages and libraries for what the language has under another one.

/// What is written elsewhere, and what is written here.
const FUNCTIONS: [(&[&str], &str); 27] = [
    (
        &["zeros"],
        "write `zeros_like(x)`; state with a shape of its own begins as `state s: [m, n] = 0`",
    ),
    (
        &["ones"],
        "write `ones_like(x)`; state with a shape of its own begins as `state s: [m, n] = 1`",
    ),
    (&["full", "full_like"], "write `c * ones_like(x)`"),
    (&["eye"], "write `identity(n)`"),
    (
        &["transpose", "swapaxes"],
        "write `x'`, or `permute(x, (1, 0, 2))` for other axes",
    ),
    (
        &["matmul", "mm", "bmm", "einsum"],
        "write `a * b` for a product of matrices, `along(x, i, a)` for one along a mode",
    ),
    (&["mul", "multiply"], "write `x .* y`"),
    (&["pow", "power", "square"], "write `x^2`"),
    (&["rsqrt"], "write `1 / sqrt(x)`"),
    (&["reciprocal"], "write `1 / x`"),
    (&["clip"], "write `clamp(x, lo, hi)`"),
    (&["clamp_min", "maximum", "relu"], "write `max(x, y)`"),
    (&["clamp_max", "minimum"], "write `min(x, y)`"),
    (
        &["rand", "rand_like", "random", "uniform"],
        "write `uniform_like(x)`",
    ),
    (
        &["randn", "randn_like", "gaussian"],
        "write `normal_like(x)`, or `normal(m, n)` for another shape",
    ),
    (&["argmax"], "write `top_k(v, 1)`"),
    (
        &["inv", "inverse", "pinv"],
        "write `solve_triangular(a, b)`, or `inverse_root(a, 1)` of `std.roots`",
    ),
    (
        &["std", "variance"],
        "write `rms(x - mean(x))`, or its square",
    ),
    (
        &["shape", "size"],
        "write `dim(x, k)` for a length and `numel(x)` for the number of elements",
    ),
    (&["ndim"], "write `rank(x)`"),
    (
        &["reshape", "view"],
        "write `flatten(x, from: k)` and `unflatten(y, from: k, like: x)`",
    ),
    (
        &["ceil", "round"],
        "write `-floor(-x)` to round up, `floor(x + 0.5)` to the nearest",
    ),
    (&["tan"], "write `sin(x) / cos(x)`"),
    (&["atan", "arctan"], "write `atan2(x, 1)`"),
    (&["arctan2", "angle"], "write `atan2(y, x)`"),
    (&["sigmoid"], "write `1 / (1 + exp(-x))`"),
    (
        &["print"],
        "nothing is printed: keep the value as state, which the program reads",
    ),
];

/// How a function of another language is written here.
pub(super) fn function(name: &str) -> Option<&'static str> {
    let known = FUNCTIONS.iter().find(|(names, _)| names.contains(&name));
    known.map(|(_, help)| *help)
}

/// What a reduction along one axis, or another norm, is called.
pub(super) fn reduction(name: &str) -> Option<&'static str> {
    match name {
        "sum" => Some("for rows or columns write `row_sums(x)` or `column_sums(x)`"),
        "mean" => Some("for rows or columns write `row_sums(x) / n` or `column_sums(x) / m`"),
        "norm" => Some(
            "for rows write `sqrt(row_sums(x^2))`; other norms are `sum(abs(x))` and `max(abs(x))`",
        ),
        _ => None,
    }
}

/// What a field of another language is here.
pub(super) fn field(name: &str) -> Option<&'static str> {
    match name {
        "T" | "mT" | "H" => Some("write `x'` for the transpose"),
        "shape" | "size" => Some("write `dim(x, k)` for a length"),
        "ndim" => Some("write `rank(x)`"),
        "dtype" => Some("state names its own, as in `state m: f32 = zeros_like(w)`"),
        _ => None,
    }
}

/// A storage type of another language.
pub(super) fn storage(name: &str) -> Option<&'static str> {
    let ours = match name {
        "float64" | "double" => "f64",
        "float32" | "float" | "single" => "f32",
        "float16" | "half" => "f16",
        "bfloat16" => "bf16",
        "int8" | "q8" => "q8[256]",
        "uint8" | "uq8" => "uq8[256]",
        _ => return None,
    };
    Some(ours)
}
