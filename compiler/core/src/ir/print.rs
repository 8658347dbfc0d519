//! The text form of a function; the same in messages, dumps and snapshots.

use super::{Function, OnFailure, OpKind, Product, Reduce, Region, Type, Value};
use crate::kernel::{Fold, MapKernel};
use crate::random::Distribution;
use std::fmt::{self, Display, Formatter, Write};

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "function {{")?;
        for (n, slot) in self.slots.iter().enumerate() {
            let role = format!("{:?}", slot.role).to_lowercase();
            writeln!(
                f,
                "  slot {n} {} {} {role}",
                slot.name,
                Type::Tensor(slot.ty.clone())
            )?;
        }
        for (name, region) in [("init", self.init), ("body", self.body)] {
            if self.regions[region].ops.is_empty() && self.regions[region].results.is_empty() {
                continue;
            }
            write!(f, "  {name} {{")?;
            print_region(f, self, region, 2)?;
            writeln!(f)?;
        }
        for sum in &self.sums {
            let text = sum.function.to_string().replace('\n', "\n  ");
            let of = match sum.fold {
                Fold::Sum => "sums",
                Fold::Max => "is the largest",
            };
            writeln!(f, "  input {} {of} {text}", sum.input)?;
        }
        for kernel in self.kernels() {
            let text = kernel.to_string().replace('\n', "\n  ");
            writeln!(f, "  {} = {}", short(kernel), text.trim_end())?;
        }
        write!(f, "}}")
    }
}

impl Function {
    /// The distinct kernels, in order of first use.
    pub fn kernels(&self) -> Vec<&MapKernel> {
        let mut found: Vec<&MapKernel> = Vec::new();
        self.for_each_op(|op| {
            if let OpKind::Fused(fused) = &self.ops[op].kind
                && !found.contains(&&fused.kernel)
            {
                found.push(&fused.kernel);
            }
        });
        found
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Type::Host => f.write_str("host"),
            Type::Tensor(ty) => write!(f, "{}{:?}", ty.dtype, ty.dims),
            Type::Mask(dims) => write!(f, "mask{dims:?}"),
        }
    }
}

/// The kernel's name in dumps: enough of its hash to tell it from the others.
fn short(kernel: &MapKernel) -> String {
    format!("map_{}", &kernel.hash()[..8])
}

fn print_region(
    f: &mut Formatter<'_>,
    function: &Function,
    region: Region,
    depth: usize,
) -> fmt::Result {
    let data = &function.regions[region];
    let pad = "  ".repeat(depth);
    for &op in &data.ops {
        write!(f, "\n{pad}")?;
        let op = &function.ops[op];
        if !op.results.is_empty() {
            write!(f, "{} = ", list(&op.results))?;
        }
        print_op(f, function, &op.kind, depth)?;
        if let Some(&first) = op.results.first()
            && !op.kind.is_host()
        {
            write!(f, " : {}", function.ty(first))?;
        }
    }
    if !data.results.is_empty() {
        write!(f, "\n{pad}yield {}", list(&data.results))?;
    }
    write!(f, "\n{}}}", "  ".repeat(depth - 1))
}

fn print_op(
    f: &mut Formatter<'_>,
    function: &Function,
    kind: &OpKind,
    depth: usize,
) -> fmt::Result {
    match kind {
        OpKind::Hyper(n) => write!(f, "hyper {n}"),
        OpKind::Step => write!(f, "step"),
        OpKind::Triangle { upper: true } => write!(f, "triangle upper"),
        OpKind::Triangle { upper: false } => write!(f, "triangle lower"),
        OpKind::Chance(site) => write!(f, "chance {site}"),
        OpKind::Random(Distribution::Normal, site) => write!(f, "normal {site}"),
        OpKind::Random(Distribution::Uniform, site) => write!(f, "uniform {site}"),
        OpKind::Const(x) => write!(f, "const {x}"),
        OpKind::HostUnary(op, a) => write!(f, "host.{} {a}", word(op)),
        OpKind::HostBinary(op, a, b) => write!(f, "host.{} {a}, {b}", word(op)),
        OpKind::HostSelect(c, a, b) => write!(f, "host.select {c}, {a}, {b}"),
        OpKind::Slot(n) => write!(f, "slot {n}"),
        OpKind::Fill(a) => write!(f, "fill {a}"),
        OpKind::Identity(a) => write!(f, "identity {a}"),
        OpKind::Cast(a) => write!(f, "cast {a}"),
        OpKind::Unary(op, a) => write!(f, "{} {a}", word(op)),
        OpKind::Binary(op, a, b) => write!(f, "{} {a}, {b}", word(op)),
        OpKind::Stochastic(x, noise) => write!(f, "stochastic {x} by {noise}"),
        OpKind::Math(op, a) => write!(f, "{} {a}", word(op)),
        OpKind::Pow(a, b) => write!(f, "pow {a}, {b}"),
        OpKind::Atan2(a, b) => write!(f, "atan2 {a}, {b}"),
        OpKind::Lerp(a, b, w) => write!(f, "lerp {a}, {b}, {w}"),
        OpKind::Compare(op, a, b) => write!(f, "cmp-{} {a}, {b}", word(op)),
        OpKind::Logic(op, a, b) => write!(f, "mask-{} {a}, {b}", word(op)),
        OpKind::Not(a) => write!(f, "mask-not {a}"),
        OpKind::Select(c, a, b) => write!(f, "select {c}, {a}, {b}"),
        OpKind::Reduce(fold, a, Reduce::All) => write!(f, "{} {a}", word(fold)),
        OpKind::Reduce(fold, a, Reduce::From(axis)) => {
            write!(f, "{} {a} from axis {axis}", word(fold))
        }
        OpKind::Reduce(fold, a, Reduce::Before(axis)) => {
            write!(f, "{} {a} before axis {axis}", word(fold))
        }
        OpKind::Fused(fused) => {
            write!(
                f,
                "{} ({}) scalars ({})",
                short(&fused.kernel),
                list(&fused.inputs),
                list(&fused.scalars)
            )?;
            write!(f, " over {}x{}", fused.rows, fused.cols)
        }
        OpKind::Reshape(a) => write!(f, "reshape {a}"),
        OpKind::Permute(a, axes) => write!(f, "permute {a} {axes:?}"),
        OpKind::Diag(a) => write!(f, "diag {a}"),
        OpKind::Argsort { x, descending } => write!(f, "argsort {x}{}", order(*descending)),
        OpKind::Gather { x, axis, index } => write!(f, "gather {x} axis {axis} by {index}"),
        OpKind::Scatter { x, axis, index, y } => {
            write!(f, "scatter {y} into {x} axis {axis} by {index}")
        }
        OpKind::Quantize { x, format } => write!(f, "quantize {x} as {format}"),
        OpKind::Dequantize {
            codes,
            scales,
            format,
        } => write!(f, "dequantize {codes} by {scales} from {format}"),
        OpKind::Pack { x, packing } => write!(f, "pack {x} {packing}"),
        OpKind::Unpack { x, packing } => write!(f, "unpack {x} {packing}"),
        OpKind::Limit { x, most, kept } => write!(f, "limit {x} to {most} of slot {kept}"),
        OpKind::Slice { x, axis, from } => write!(f, "slice {x} axis {axis} from {from}"),
        OpKind::Concat { parts, axis } => write!(f, "concat {} axis {axis}", list(parts)),
        OpKind::Product(product) => print_product(f, product),
        OpKind::Contract {
            x,
            q,
            mode,
            transposed,
        } => {
            write!(f, "contract {x} mode {mode} with {q}{}", tick(*transposed))
        }
        OpKind::Gram {
            x,
            mode,
            alpha,
            added,
        } => {
            print_alpha(f, *alpha)?;
            write!(f, "gram {x} mode {mode}")?;
            print_added(f, *added)
        }
        OpKind::Eigh {
            x,
            descending,
            on_failure,
        } => {
            write!(f, "eigh {x}{}{}", order(*descending), policy(on_failure))
        }
        OpKind::Qr { x, on_failure } => write!(f, "qr {x}{}", policy(on_failure)),
        OpKind::Svd { x, on_failure } => write!(f, "svd {x}{}", policy(on_failure)),
        OpKind::Cholesky { x, on_failure } => write!(f, "cholesky {x}{}", policy(on_failure)),
        OpKind::SolveTriangular {
            a,
            b,
            upper,
            on_failure,
        } => {
            let triangle = if *upper { "upper" } else { "lower" };
            write!(f, "solve-{triangle} {a}, {b}{}", policy(on_failure))
        }
        OpKind::If {
            cond,
            then,
            otherwise,
        } => {
            write!(f, "if {cond} {{")?;
            print_region(f, function, *then, depth + 1)?;
            write!(f, " else {{")?;
            print_region(f, function, *otherwise, depth + 1)
        }
    }
}

fn print_product(f: &mut Formatter<'_>, product: &Product) -> fmt::Result {
    print_alpha(f, product.alpha)?;
    write!(
        f,
        "product {}{}, {}{}",
        product.a,
        tick(product.ta),
        product.b,
        tick(product.tb)
    )?;
    print_added(f, product.added)
}

fn print_alpha(f: &mut Formatter<'_>, alpha: Option<Value>) -> fmt::Result {
    alpha.map_or(Ok(()), |alpha| write!(f, "{alpha} "))
}

fn print_added(f: &mut Formatter<'_>, added: Option<(Value, Option<Value>)>) -> fmt::Result {
    match added {
        None => Ok(()),
        Some((c, None)) => write!(f, " plus {c}"),
        Some((c, Some(beta))) => write!(f, " plus {beta} {c}"),
    }
}

fn policy(on_failure: &OnFailure) -> String {
    let mut text = String::new();
    if on_failure.retry_f64 {
        text.push_str(" or retry f64");
    }
    if let Some(keep) = on_failure.keep {
        let _ = write!(text, " or keep {keep}");
    }
    if on_failure.nan {
        text.push_str(" or nan");
    }
    text
}

fn order(descending: bool) -> &'static str {
    if descending {
        " descending"
    } else {
        " ascending"
    }
}

fn tick(transposed: bool) -> &'static str {
    if transposed { "'" } else { "" }
}

fn word(op: &impl fmt::Debug) -> String {
    format!("{op:?}").to_lowercase()
}

fn list(values: &[Value]) -> String {
    values
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
