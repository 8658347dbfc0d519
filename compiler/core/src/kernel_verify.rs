//! What makes a map kernel well formed. A violation is a bug in the compiler, never a message to the user.
//!
//! Checked:
//! - the compute type is `f32` or `f64`;
//! - no operand is stored as `i64`; row and column operands, and sums along one axis, only in a grid;
//! - every load, scalar and value that is named exists, and a value is made before it is used;
//! - each operand has the kind its instruction takes (float, mask, integer), and each output's value is a float;
//! - a rounding is to a type narrower than the compute type;
//! - a shift by a constant is by less than the width.

use crate::dtype::DType;
use crate::kernel::{Access, Inst, IntOp, MapKernel, Output, OutputKind, Space, Val};

/// What an instruction makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number of the compute type.
    Float,
    /// A truth value.
    Mask,
    /// An integer of the compute type's width.
    Int,
}

impl Kind {
    /// The kind of an instruction's value.
    pub fn of(inst: Inst) -> Kind {
        match inst {
            Inst::ScalarMask(_) | Inst::Compare(..) | Inst::Logic(..) | Inst::Not(_) => Kind::Mask,
            Inst::ToInt(_) | Inst::Bits(_) | Inst::IntConst(_) | Inst::Int(..) => Kind::Int,
            _ => Kind::Float,
        }
    }
}

/// Checks a kernel; the error lists every violation, one per line.
pub fn verify(kernel: &MapKernel) -> Result<(), String> {
    let mut faults = Vec::new();
    if !matches!(kernel.compute, DType::F32 | DType::F64) {
        faults.push(format!("compute type {}", kernel.compute));
    }
    for (n, input) in kernel.inputs.iter().enumerate() {
        if !input.dtype.is_float() {
            faults.push(format!("%{n} is stored as {}", input.dtype));
        }
        if kernel.space == Space::Flat && matches!(input.access, Access::Row | Access::Col) {
            faults.push(format!("%{n} is read by row or column of a flat space"));
        }
    }
    for n in 0..kernel.insts.len() {
        faults.extend(
            inst_faults(kernel, n)
                .into_iter()
                .map(|fault| format!("v{n}: {fault}")),
        );
    }
    for (n, output) in kernel.outputs.iter().enumerate() {
        faults.extend(
            output_faults(kernel, output)
                .into_iter()
                .map(|fault| format!("output {n}: {fault}")),
        );
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

fn inst_faults(kernel: &MapKernel, n: usize) -> Vec<String> {
    let inst = kernel.insts[n];
    let made = &kernel.insts[..n];
    let mut faults: Vec<String> = operands(inst)
        .iter()
        .filter_map(|&(kind, v)| kind_fault(made, kind, v))
        .collect();
    match inst {
        Inst::Load(i) if i as usize >= kernel.inputs.len() => faults.push(format!("no input %{i}")),
        Inst::Scalar(i) | Inst::ScalarMask(i) if i >= kernel.scalars => {
            faults.push(format!("no scalar s{i}"))
        }
        Inst::Round(to, _) if to.size() >= kernel.compute.size() => {
            faults.push(format!("rounds to {to}"))
        }
        Inst::Int(IntOp::Shl | IntOp::Shr | IntOp::Sar, _, by) => {
            let width = 8 * kernel.compute.size() as i64;
            if let Some(Inst::IntConst(by)) = made.get(by as usize)
                && !(0..width).contains(by)
            {
                faults.push(format!("shifts by {by}"));
            }
        }
        _ => {}
    }
    faults
}

/// The values an instruction reads, with the kind each must have.
fn operands(inst: Inst) -> Vec<(Kind, Val)> {
    use Kind::{Float, Int, Mask};
    match inst {
        Inst::Load(_)
        | Inst::Scalar(_)
        | Inst::ScalarMask(_)
        | Inst::Const(_)
        | Inst::IntConst(_) => vec![],
        Inst::Unary(_, a) | Inst::Round(_, a) | Inst::ToInt(a) | Inst::Bits(a) => vec![(Float, a)],
        Inst::FromInt(a) | Inst::FromBits(a) => vec![(Int, a)],
        Inst::Not(a) => vec![(Mask, a)],
        Inst::Binary(_, a, b) | Inst::Compare(_, a, b) => vec![(Float, a), (Float, b)],
        Inst::Logic(_, a, b) => vec![(Mask, a), (Mask, b)],
        Inst::Int(_, a, b) => vec![(Int, a), (Int, b)],
        Inst::Select(c, a, b) => vec![(Mask, c), (Float, a), (Float, b)],
    }
}

fn kind_fault(made: &[Inst], expected: Kind, value: Val) -> Option<String> {
    match made.get(value as usize) {
        None => Some(format!("v{value} is not made yet")),
        Some(&inst) if Kind::of(inst) != expected => Some(format!(
            "v{value} is {:?}, not {expected:?}",
            Kind::of(inst)
        )),
        Some(_) => None,
    }
}

fn output_faults(kernel: &MapKernel, output: &Output) -> Vec<String> {
    let mut faults: Vec<String> = kind_fault(&kernel.insts, Kind::Float, output.value)
        .into_iter()
        .collect();
    if !output.dtype.is_float() {
        faults.push(format!("is stored as {}", output.dtype));
    }
    if kernel.space == Space::Flat
        && matches!(output.kind, OutputKind::Cols(_) | OutputKind::Rows(_))
    {
        faults.push("reduces along an axis of a flat space".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{BinaryOp, Fold, Input, UnaryOp};

    fn kernel(insts: Vec<Inst>) -> MapKernel {
        let value = insts.len() as Val - 1;
        MapKernel {
            space: Space::Flat,
            compute: DType::F32,
            inputs: vec![Input {
                dtype: DType::F32,
                access: Access::Full,
            }],
            scalars: 1,
            insts,
            outputs: vec![Output {
                value,
                dtype: DType::F32,
                kind: OutputKind::Store,
            }],
        }
    }

    #[track_caller]
    fn rejects(kernel: MapKernel, expected: &str) {
        assert_eq!(verify(&kernel), Err(expected.to_owned()));
    }

    #[test]
    fn accepts_what_is_well_formed() {
        verify(&kernel(vec![
            Inst::Load(0),
            Inst::Scalar(0),
            Inst::Binary(BinaryOp::Add, 0, 1),
        ]))
        .unwrap();
    }

    #[test]
    fn names_missing_operands() {
        rejects(kernel(vec![Inst::Load(1)]), "v0: no input %1");
        rejects(kernel(vec![Inst::Scalar(1)]), "v0: no scalar s1");
        rejects(
            kernel(vec![Inst::Unary(UnaryOp::Neg, 0)]),
            "v0: v0 is not made yet",
        );
    }

    #[test]
    fn names_wrong_kinds() {
        rejects(
            kernel(vec![Inst::IntConst(1), Inst::Unary(UnaryOp::Neg, 0)]),
            "v1: v0 is Int, not Float",
        );
        rejects(
            kernel(vec![Inst::ScalarMask(0)]),
            "output 0: v0 is Mask, not Float",
        );
    }

    #[test]
    fn names_wrong_types() {
        rejects(
            kernel(vec![Inst::Load(0), Inst::Round(DType::F32, 0)]),
            "v1: rounds to f32",
        );
        rejects(
            MapKernel {
                compute: DType::F16,
                ..kernel(vec![Inst::Load(0)])
            },
            "compute type f16",
        );
        let shift = vec![
            Inst::IntConst(32),
            Inst::Int(IntOp::Shl, 0, 0),
            Inst::FromInt(1),
        ];
        rejects(kernel(shift), "v1: shifts by 32");
    }

    #[test]
    fn names_axes_that_a_flat_space_lacks() {
        let mut flat = kernel(vec![Inst::Load(0)]);
        flat.inputs[0].access = Access::Row;
        flat.outputs[0].kind = OutputKind::Cols(Fold::Sum);
        rejects(
            flat,
            "%0 is read by row or column of a flat space\noutput 0: reduces along an axis of a flat space",
        );
    }
}
