//! Names of other languages and libraries for what the language has under another one.

/// What is written elsewhere, and what is written here.
const FUNCTIONS: [(&[&str], &str); 48] = [
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
    (
        &["outer", "ger"],
        "write `a * b` of a column and a row, such as `row_sums(x) * column_sums(x)`",
    ),
    (
        &["kron"],
        "write `a * x * b'`, which is what it does to `x`",
    ),
    (&["mul", "multiply", "hadamard"], "write `x .* y`"),
    (&["div", "divide"], "write `x / y`"),
    (&["add"], "write `x + y`"),
    (&["sub", "subtract"], "write `x - y`"),
    (&["neg", "negative"], "write `-x`"),
    (&["pow", "power", "square"], "write `x^2`"),
    (&["cbrt"], "write `sign(x) .* abs(x)^(1 / 3)`"),
    (&["rsqrt"], "write `1 / sqrt(x)`"),
    (&["reciprocal"], "write `1 / x`"),
    (&["log2", "log10"], "write `log(x) / log(2)`, or `log(10)`"),
    (&["log1p"], "write `log(1 + x)`"),
    (&["expm1"], "write `exp(x) - 1`"),
    (&["absolute", "fabs"], "write `abs(x)`"),
    (&["clip"], "write `clamp(x, lo, hi)`"),
    (&["clamp_min", "maximum", "relu"], "write `max(x, y)`"),
    (&["clamp_max", "minimum"], "write `min(x, y)`"),
    (&["amax"], "write `max(x)`, or `row_max(x)`"),
    (&["amin"], "write `min(x)`"),
    (
        &["rand", "rand_like", "random", "uniform"],
        "write `uniform_like(x)`",
    ),
    (
        &["randn", "randn_like", "gaussian"],
        "write `normal_like(x)`, or `normal(m, n)` for another shape",
    ),
    (&["argmax"], "write `top_k(v, 1)`"),
    (&["sort"], "write `permute(v, 0, argsort(v))`"),
    (
        &["median", "quantile", "kthvalue"],
        "write `min(gather(v, 0, top_k(v, k)))` for the k-th largest element of a vector; half of all are above the middle one",
    ),
    (
        &["cumsum"],
        "write `tril(ones_like(gram(x))) * x` for running sums down the columns of a matrix",
    ),
    (&["prod"], "write `exp(sum(log(x)))` of positive elements"),
    (
        &["inv", "inverse", "pinv"],
        "write `solve_triangular(a, b)`, or `inverse_root(a, 1)` of `std.roots`",
    ),
    (
        &["std", "variance"],
        "write `rms(x - mean(x))`, or its square",
    ),
    (&["normalize"], "write `x / (norm(x) + 1e-12)`"),
    (
        &["shape", "size", "len"],
        "write `dim(x, k)` for a length and `numel(x)` for the number of elements",
    ),
    (&["ndim"], "write `rank(x)`"),
    (
        &["reshape", "view"],
        "write `flatten(x, from: k)` and `unflatten(y, from: k, like: x)`",
    ),
    (
        &["broadcast", "broadcast_to", "expand", "expand_as"],
        "an axis of length 1 goes with every length: write the operation itself, as in `x / row_sums(x)`",
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
        &["softmax"],
        "write `exp(x - max(x)) / sum(exp(x - max(x)))`",
    ),
    (
        &["isnan", "isinf", "isfinite"],
        "`nonfinite grad: skip` leaves out gradients that are not finite; only a NaN differs from itself, as in `x != x`",
    ),
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

/// How a value of another language is written here.
pub(super) fn value(name: &str) -> Option<&'static str> {
    match name {
        "zeros" => Some("write `0`, or `zeros_like(x)` for a tensor of zeros"),
        "ones" => Some("write `1`, or `ones_like(x)` for a tensor of ones"),
        "True" => Some("write `true`"),
        "False" => Some("write `false`"),
        "infinity" | "Infinity" => Some("write `inf`"),
        "pi" | "PI" => Some("write `3.141592653589793`"),
        "None" | "null" => Some("every value is a number or a tensor: leave this out"),
        _ => None,
    }
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
