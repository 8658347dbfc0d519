//! The functions of the language by name, and how their arguments are read.

use crate::hir::Builtin;

/// How an argument is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An expression.
    Value,
    /// One of these words; the first when left out.
    Word(&'static [&'static str]),
    /// A truth value known at bind; `false` when left out.
    Flag,
    /// A state with one tensor per mode.
    Family,
    /// Words in quotes.
    Text,
}

/// A function of the language.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) builtin: Builtin,
    pub(super) params: &'static [(&'static str, Kind)],
}

use Kind::{Family, Flag, Text, Value, Word};

const ORDER: Kind = Word(&["ascending", "descending"]);

const X: &[(&str, Kind)] = &[("x", Value)];
const XY: &[(&str, Kind)] = &[("x", Value), ("y", Value)];
const A: &[(&str, Kind)] = &[("a", Value)];
const SCATTER: &[(&str, Kind)] = &[
    ("x", Value),
    ("axis", Value),
    ("index", Value),
    ("y", Value),
];

const fn signature(
    name: &'static str,
    builtin: Builtin,
    params: &'static [(&'static str, Kind)],
) -> Signature {
    Signature {
        name,
        builtin,
        params,
    }
}

/// All of them; `min`, `max`, `gram`, `rotate` and `permute` stand twice, once for each number of arguments.
static SIGNATURES: [Signature; 68] = [
    signature("sqrt", Builtin::Sqrt, X),
    signature("abs", Builtin::Abs, X),
    signature("exp", Builtin::Exp, X),
    signature("log", Builtin::Log, X),
    signature("tanh", Builtin::Tanh, X),
    signature("sin", Builtin::Sin, X),
    signature("cos", Builtin::Cos, X),
    signature("atan2", Builtin::Atan2, &[("y", Value), ("x", Value)]),
    signature("sign", Builtin::Sign, X),
    signature("floor", Builtin::Floor, X),
    signature("min", Builtin::Min, XY),
    signature("max", Builtin::Max, XY),
    signature("min", Builtin::Smallest, X),
    signature("max", Builtin::Largest, X),
    signature(
        "clamp",
        Builtin::Clamp,
        &[("x", Value), ("lo", Value), ("hi", Value)],
    ),
    signature(
        "lerp",
        Builtin::Lerp,
        &[("x", Value), ("y", Value), ("weight", Value)],
    ),
    signature(
        "select",
        Builtin::Select,
        &[("mask", Value), ("x", Value), ("y", Value)],
    ),
    signature("zeros_like", Builtin::ZerosLike, X),
    signature("ones_like", Builtin::OnesLike, X),
    signature("sum", Builtin::Sum, X),
    signature("mean", Builtin::Mean, X),
    signature("norm", Builtin::Norm, X),
    signature("rms", Builtin::Rms, X),
    signature("frobenius", Builtin::Frobenius, X),
    signature("row_sums", Builtin::RowSums, X),
    signature("column_sums", Builtin::ColumnSums, X),
    signature("row_max", Builtin::RowMax, X),
    signature("column_max", Builtin::ColumnMax, X),
    signature("epsilon", Builtin::Epsilon, X),
    signature("dot", Builtin::Dot, XY),
    signature("numel", Builtin::Numel, X),
    signature("rank", Builtin::Rank, X),
    signature("dim", Builtin::Dim, &[("x", Value), ("axis", Value)]),
    signature("gram", Builtin::Gram, X),
    signature("gram", Builtin::GramMode, &[("x", Value), ("mode", Value)]),
    signature(
        "rotate",
        Builtin::Rotate,
        &[("x", Value), ("basis", Family)],
    ),
    signature(
        "rotate",
        Builtin::Rotate,
        &[("x", Value), ("basis", Family), ("but", Value)],
    ),
    signature(
        "rotate_back",
        Builtin::RotateBack,
        &[("x", Value), ("basis", Family)],
    ),
    signature("eigh", Builtin::Eigh, &[("a", Value), ("order", ORDER)]),
    signature("qr", Builtin::Qr, A),
    signature("orthonormal", Builtin::Orthonormal, A),
    signature("svd", Builtin::Svd, A),
    signature("svd", Builtin::Svd, &[("a", Value), ("rank", Value)]),
    signature("cholesky", Builtin::Cholesky, A),
    signature(
        "solve_triangular",
        Builtin::SolveTriangular,
        &[
            ("a", Value),
            ("b", Value),
            ("side", Word(&["left", "right"])),
            ("triangle", Word(&["known", "lower", "upper"])),
            ("transposed", Flag),
            ("unit", Flag),
        ],
    ),
    signature("diag", Builtin::Diag, A),
    signature("trace", Builtin::Trace, A),
    signature("identity", Builtin::IdentityOf, &[("n", Value)]),
    signature(
        "along",
        Builtin::Along,
        &[("x", Value), ("mode", Value), ("a", Value)],
    ),
    signature("triu", Builtin::Triu, A),
    signature("tril", Builtin::Tril, A),
    signature("stochastic", Builtin::Stochastic, X),
    signature("mod", Builtin::Mod, XY),
    signature("normal_like", Builtin::NormalLike, X),
    signature("uniform_like", Builtin::UniformLike, X),
    signature("normal", Builtin::Normal, &[("n", Value)]),
    signature("normal", Builtin::Normal, &[("m", Value), ("n", Value)]),
    signature(
        "argsort",
        Builtin::Argsort,
        &[("v", Value), ("order", ORDER)],
    ),
    signature("top_k", Builtin::TopK, &[("v", Value), ("k", Value)]),
    signature(
        "gather",
        Builtin::Gather,
        &[("x", Value), ("axis", Value), ("index", Value)],
    ),
    signature("scatter", Builtin::Scatter, SCATTER),
    signature("scatter_add", Builtin::ScatterAdd, SCATTER),
    signature(
        "permute",
        Builtin::Permute,
        &[("x", Value), ("axis", Value), ("order", Value)],
    ),
    signature(
        "permute",
        Builtin::PermuteAxes,
        &[("x", Value), ("axes", Value)],
    ),
    signature(
        "columns",
        Builtin::Columns,
        &[("a", Value), ("order", Value)],
    ),
    signature(
        "flatten",
        Builtin::Flatten,
        &[("x", Value), ("from", Value)],
    ),
    signature("named", Builtin::Named, &[("words", Text)]),
    signature(
        "unflatten",
        Builtin::Unflatten,
        &[("x", Value), ("from", Value), ("like", Value)],
    ),
];

/// The function of that name.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

/// The function of that name and number of arguments, or else of that name.
pub(super) fn find_for(name: &str, args: usize) -> Option<&'static Signature> {
    let exact = SIGNATURES
        .iter()
        .find(|signature| signature.name == name && signature.params.len() == args);
    exact.or_else(|| find(name))
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SIGNATURES.iter().map(|signature| signature.name)
}

impl Signature {
    /// `lerp(x, y, weight)`
    pub(super) fn usage(&self) -> String {
        let params = self.params.iter().map(|(name, kind)| match kind {
            Word(words) => format!("{name}: {}", words[words.len() - 1]),
            Flag => format!("{name}: true"),
            Text => "\"bias|norm\"".to_owned(),
            _ => (*name).to_owned(),
        });
        format!("{}({})", self.name, params.collect::<Vec<_>>().join(", "))
    }

    /// How many arguments must be given.
    pub(super) fn required(&self) -> usize {
        self.params
            .iter()
            .filter(|(_, kind)| !matches!(kind, Word(_) | Flag))
            .count()
    }
}
