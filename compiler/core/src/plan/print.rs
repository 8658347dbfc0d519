//! The text of a plan, as `optc inspect` and `--emit plan` show it.

use super::{Buffer, Gemm, HostBinary, HostInst, Matrix, OnFailure, Plan, Reg, Routine, Thunk};
use crate::kernel::{Fold, Space};
use crate::random::Distribution;
use std::fmt::{self, Display, Formatter};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "slots")?;
        for (n, slot) in self.slots.iter().enumerate() {
            let role = format!("{:?}", slot.role).to_lowercase();
            writeln!(
                f,
                "  %{n} {} {}{:?} {role}",
                slot.name, slot.dtype, slot.dims
            )?;
        }
        if !self.temps.is_empty() {
            writeln!(f, "scratch {} bytes", self.arena_bytes)?;
        }
        for (n, temp) in self.temps.iter().enumerate() {
            writeln!(f, "  t{n} {}{:?} at {}", temp.dtype, temp.dims, temp.offset)?;
        }
        self.print_host(f)?;
        for sum in &self.sums {
            let of = match sum.fold {
                Fold::Sum => "sums",
                Fold::Max => "is the largest",
            };
            writeln!(f, "input {} {of}", sum.input)?;
            let text = sum.plan.to_string();
            text.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        for (title, thunks) in [("init", &self.init), ("step", &self.body)] {
            if !thunks.is_empty() {
                writeln!(f, "{title}")?;
                self.print_thunks(f, thunks, 1)?;
            }
        }
        for (input, reg) in &self.shared {
            writeln!(f, "then input {input} = r{reg}")?;
        }
        Ok(())
    }
}

impl Plan {
    fn print_host(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() {
            return Ok(());
        }
        writeln!(f, "host")?;
        for (n, inst) in self.host.iter().enumerate() {
            writeln!(f, "  r{n} = {inst}")?;
        }
        Ok(())
    }

    fn print_thunks(&self, f: &mut Formatter<'_>, thunks: &[Thunk], depth: usize) -> fmt::Result {
        let pad = "  ".repeat(depth);
        for thunk in thunks {
            write!(f, "{pad}")?;
            match thunk {
                Thunk::If {
                    cond,
                    then,
                    otherwise,
                } => {
                    writeln!(f, "if r{cond} {{")?;
                    self.print_sides(f, then, otherwise, depth)?;
                }
                Thunk::IfFlag {
                    flag,
                    then,
                    otherwise,
                } => {
                    writeln!(f, "if {} {{", name(*flag))?;
                    self.print_sides(f, then, otherwise, depth)?;
                }
                thunk => self.print_thunk(f, thunk)?,
            }
        }
        Ok(())
    }

    fn print_sides(
        &self,
        f: &mut Formatter<'_>,
        then: &[Thunk],
        otherwise: &[Thunk],
        depth: usize,
    ) -> fmt::Result {
        let pad = "  ".repeat(depth);
        self.print_thunks(f, then, depth + 1)?;
        if !otherwise.is_empty() {
            writeln!(f, "{pad}}} else {{")?;
            self.print_thunks(f, otherwise, depth + 1)?;
        }
        writeln!(f, "{pad}}}")
    }

    fn print_thunk(&self, f: &mut Formatter<'_>, thunk: &Thunk) -> fmt::Result {
        match thunk {
            Thunk::Map {
                kernel,
                inputs,
                outputs,
                scalars,
                rows,
                cols,
            } => {
                let kernel = &self.kernels[*kernel as usize];
                let space = if kernel.space == Space::Flat {
                    format!("{rows}")
                } else {
                    format!("{rows}x{cols}")
                };
                write!(
                    f,
                    "map {} over {space} ({})",
                    &kernel.hash()[..8],
                    list(inputs)
                )?;
                let scalars: Vec<String> = scalars.iter().map(|reg| format!("r{reg}")).collect();
                writeln!(f, " scalars ({}) -> {}", scalars.join(", "), list(outputs))
            }
            Thunk::Gemm(gemm) => print_gemm(f, gemm),
            Thunk::Call {
                routine,
                inputs,
                outputs,
                on_failure,
            } => {
                let outputs: Vec<String> = outputs
                    .iter()
                    .map(|out| out.map_or("_".to_owned(), name))
                    .collect();
                writeln!(
                    f,
                    "call {} {} -> {}{}",
                    routine_name(*routine),
                    list(inputs),
                    outputs.join(", "),
                    policy(on_failure)
                )
            }
            Thunk::Permute { x, out, dims, axes } => writeln!(
                f,
                "permute {} {dims:?} by {axes:?} -> {}",
                name(*x),
                name(*out)
            ),
            Thunk::Gather {
                x,
                index,
                out,
                axis,
            } => {
                writeln!(
                    f,
                    "gather {} {:?} by {} -> {}",
                    name(*x),
                    axis.whole(),
                    name(*index),
                    name(*out)
                )
            }
            Thunk::Scatter {
                x,
                index,
                y,
                out,
                axis,
            } => writeln!(
                f,
                "scatter {} into {} {:?} by {} -> {}",
                name(*y),
                name(*x),
                axis.whole(),
                name(*index),
                name(*out)
            ),
            Thunk::Slice { x, out, axis, from } => writeln!(
                f,
                "slice {} {:?} from {from} -> {} {:?}",
                name(*x),
                axis.whole(),
                name(*out),
                axis.part()
            ),
            Thunk::Quantize {
                x,
                codes,
                scales,
                format,
            } => writeln!(
                f,
                "quantize {} as {format} -> {}, {}",
                name(*x),
                name(*codes),
                name(*scales)
            ),
            Thunk::Dequantize {
                codes,
                scales,
                out,
                format,
            } => writeln!(
                f,
                "dequantize {}, {} from {format} -> {}",
                name(*codes),
                name(*scales),
                name(*out)
            ),
            Thunk::Pack {
                x, out, packing, ..
            } => {
                writeln!(f, "pack {} {packing} -> {}", name(*x), name(*out))
            }
            Thunk::Unpack {
                x, out, packing, ..
            } => writeln!(f, "unpack {} {packing} -> {}", name(*x), name(*out)),
            Thunk::Limit { x, out, most, kept } => writeln!(
                f,
                "limit {} to {most} failures of {} -> {}",
                name(*x),
                name(Buffer::Slot(*kept)),
                name(*out)
            ),
            Thunk::Paste { x, out, axis, from } => writeln!(
                f,
                "paste {} {:?} -> {} {:?} from {from}",
                name(*x),
                axis.part(),
                name(*out),
                axis.whole()
            ),
            Thunk::Argsort {
                x, out, descending, ..
            } => {
                let order = if *descending {
                    "descending"
                } else {
                    "ascending"
                };
                writeln!(f, "argsort {} {order} -> {}", name(*x), name(*out))
            }
            Thunk::Diag { x, out, .. } => writeln!(f, "diag {} -> {}", name(*x), name(*out)),
            Thunk::Copy { x, out } => writeln!(f, "copy {} -> {}", name(*x), name(*out)),
            Thunk::Fill { out, value } => writeln!(f, "fill r{value} -> {}", name(*out)),
            Thunk::Triangle { out, upper, .. } => {
                let side = if *upper { "upper" } else { "lower" };
                writeln!(f, "triangle {side} -> {}", name(*out))
            }
            Thunk::Random {
                out,
                distribution,
                site,
            } => {
                let drawn = match distribution {
                    Distribution::Normal => "normal",
                    Distribution::Uniform => "uniform",
                };
                writeln!(f, "{drawn} {site} -> {}", name(*out))
            }
            Thunk::Identity { out, scale, .. } => {
                writeln!(f, "identity r{scale} -> {}", name(*out))
            }
            Thunk::If { .. } | Thunk::IfFlag { .. } => Ok(()),
        }
    }
}

impl Display for HostInst {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            HostInst::Hyper(n) => write!(f, "hyper {n}"),
            HostInst::Step => write!(f, "step"),
            HostInst::Const(x) => write!(f, "{x}"),
            HostInst::Chance(site) => write!(f, "chance {site}"),
            HostInst::Unary(op, a) => write!(f, "{} r{a}", format!("{op:?}").to_lowercase()),
            HostInst::Binary(op, a, b) => write!(f, "r{a} {} r{b}", sign(*op)),
            HostInst::Select(c, a, b) => write!(f, "r{c} ? r{a} : r{b}"),
        }
    }
}

fn sign(op: HostBinary) -> &'static str {
    match op {
        HostBinary::Add => "+",
        HostBinary::Sub => "-",
        HostBinary::Mul => "*",
        HostBinary::Div => "/",
        HostBinary::Pow => "^",
        HostBinary::Mod => "mod",
        HostBinary::Atan2 => "atan2",
        HostBinary::Min => "min",
        HostBinary::Max => "max",
        HostBinary::Lt => "<",
        HostBinary::Le => "<=",
        HostBinary::Eq => "==",
        HostBinary::And => "and",
        HostBinary::Or => "or",
    }
}

fn print_gemm(f: &mut Formatter<'_>, gemm: &Gemm) -> fmt::Result {
    let Gemm { m, n, k, batch, .. } = gemm;
    let kind = if gemm.symmetric { "syrk" } else { "gemm" };
    let stack = match (*batch, gemm.sum_batch) {
        (1, _) => String::new(),
        (batch, true) => format!(" sum of {batch}"),
        (batch, false) => format!(" batch {batch}"),
    };
    write!(
        f,
        "{kind} {} {m}x{n}x{k}{stack} {}",
        gemm.dtype,
        factor(gemm.alpha)
    )?;
    write!(f, "{} {}", operand(&gemm.a), operand(&gemm.b))?;
    if let Some(c) = &gemm.c {
        write!(f, " + {}{}", factor(gemm.beta), operand(c))?;
    }
    writeln!(f, " -> {}", name(gemm.out.buffer))
}

fn operand(matrix: &Matrix) -> String {
    let tick = if matrix.col_stride == 1 { "" } else { "'" };
    format!("{}{tick}", name(matrix.buffer))
}

fn factor(reg: Option<Reg>) -> String {
    reg.map_or(String::new(), |reg| format!("r{reg} "))
}

pub(super) fn routine_name(routine: Routine) -> &'static str {
    match routine {
        Routine::Eigh { descending: true } => "eigh descending",
        Routine::Eigh { descending: false } => "eigh ascending",
        Routine::Qr => "qr",
        Routine::Svd { .. } => "svd",
        Routine::Cholesky => "cholesky",
        Routine::SolveTriangular { upper: true, .. } => "solve upper",
        Routine::SolveTriangular { upper: false, .. } => "solve lower",
    }
}

fn policy(on_failure: &OnFailure) -> String {
    let retry = if on_failure.retry_f64 {
        " or retry f64"
    } else {
        ""
    };
    let keep = on_failure
        .keep
        .map_or(String::new(), |keep| format!(" or keep {}", name(keep)));
    let nan = if on_failure.nan { " or nan" } else { "" };
    format!("{retry}{keep}{nan}")
}

fn name(buffer: Buffer) -> String {
    match buffer {
        Buffer::Slot(n) => format!("%{n}"),
        Buffer::Temp(n) => format!("t{n}"),
    }
}

fn list(buffers: &[Buffer]) -> String {
    buffers
        .iter()
        .map(|&buffer| name(buffer))
        .collect::<Vec<_>>()
        .join(", ")
}
