//! Stochastic rounding to the half types, written out in primitive instructions: every backend computes the same bits.
//!
//! A number between two neighbours of the half type becomes the one away from zero in a share of all draws that is its
//! distance from the other, so its expectation is the number itself. What the half type has stays as it is, and so do
//! infinities and NaN.

use crate::dtype::DType;
use crate::kernel::{BinaryOp, CompareOp, Inst, IntOp, UnaryOp, Val};

/// `x` rounded to `BF16` or `F16` by a number in [0, 1); all in f32. Above the largest number of the type is infinity,
/// once it is stored.
pub fn stochastic(b: &mut Vec<Inst>, to: DType, x: Val, noise: Val) -> Val {
    let rounded = match to {
        DType::F16 => in_f16(b, x, noise),
        _ => by_cutting(b, 16, x, noise),
    };
    let number = push(b, Inst::Compare(CompareOp::Eq, x, x));
    push(b, Inst::Select(number, rounded, x))
}

fn push(b: &mut Vec<Inst>, inst: Inst) -> Val {
    b.push(inst);
    b.len() as Val - 1
}

fn constant(b: &mut Vec<Inst>, x: f64) -> Val {
    push(b, Inst::Const(x))
}

fn int(b: &mut Vec<Inst>, op: IntOp, x: Val, constant: i64) -> Val {
    let constant = push(b, Inst::IntConst(constant));
    push(b, Inst::Int(op, x, constant))
}

/// The last bits of the fraction are the distance from the neighbour towards zero.
fn by_cutting(b: &mut Vec<Inst>, cut: u32, x: Val, noise: Val) -> Val {
    let cell = 1i64 << cut;
    let bits = push(b, Inst::Bits(x));
    let rest = int(b, IntOp::And, bits, cell - 1);
    let rest = push(b, Inst::FromInt(rest));
    let cells = constant(b, cell as f64);
    let drawn = push(b, Inst::Binary(BinaryOp::Mul, noise, cells));
    let away = push(b, Inst::Compare(CompareOp::Lt, drawn, rest));
    let below = int(b, IntOp::And, bits, -cell);
    let above = int(b, IntOp::Add, below, cell);
    let below = push(b, Inst::FromBits(below));
    let above = push(b, Inst::FromBits(above));
    push(b, Inst::Select(away, above, below))
}

/// Below 2^-14 the numbers of the type are the multiples of 2^-24.
fn in_f16(b: &mut Vec<Inst>, x: Val, noise: Val) -> Val {
    let normal = by_cutting(b, 13, x, noise);
    let size = push(b, Inst::Unary(UnaryOp::Abs, x));
    let raise = constant(b, 2f64.powi(24));
    let cells = push(b, Inst::Binary(BinaryOp::Mul, size, raise));
    let below = push(b, Inst::Unary(UnaryOp::Floor, cells));
    let rest = push(b, Inst::Binary(BinaryOp::Sub, cells, below));
    let one = constant(b, 1.0);
    let above = push(b, Inst::Binary(BinaryOp::Add, below, one));
    let away = push(b, Inst::Compare(CompareOp::Lt, noise, rest));
    let rounded = push(b, Inst::Select(away, above, below));
    let lower = constant(b, 2f64.powi(-24));
    let rounded = push(b, Inst::Binary(BinaryOp::Mul, rounded, lower));
    let bits = push(b, Inst::Bits(rounded));
    let sign = push(b, Inst::Bits(x));
    let sign = int(b, IntOp::And, sign, i64::from(i32::MIN));
    let signed = push(b, Inst::Int(IntOp::Or, bits, sign));
    let signed = push(b, Inst::FromBits(signed));
    let least = constant(b, 2f64.powi(-14));
    let small = push(b, Inst::Compare(CompareOp::Lt, size, least));
    push(b, Inst::Select(small, signed, normal))
}

#[cfg(test)]
mod tests {
    use super::stochastic;
    use crate::dtype::DType;
    use crate::kernel::{Access, Input, Inst, MapKernel, Output, OutputKind, Space};
    use crate::kernel_eval;

    fn kernel(to: DType) -> MapKernel {
        let mut insts = vec![Inst::Load(0), Inst::Load(1)];
        let value = stochastic(&mut insts, to, 0, 1);
        let input = Input {
            dtype: DType::F32,
            access: Access::Full,
        };
        let output = Output {
            value,
            dtype: to,
            kind: OutputKind::Store,
        };
        MapKernel {
            space: Space::Flat,
            compute: DType::F32,
            inputs: vec![input; 2],
            scalars: 0,
            insts,
            outputs: vec![output],
        }
    }

    /// Floats of every size and sign, the special ones, and the ends of both types.
    fn numbers() -> Vec<f64> {
        let mut bits = 1u32;
        let mut all: Vec<f32> = (0..20_000)
            .map(|_| {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(bits)
            })
            .collect();
        let ends = [
            0.0, 1.0, 65504.0, 65519.9, 65520.0, 6.1e-5, 5.96e-8, 2.9e-8, 1e-45,
        ];
        let special = [f32::INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE];
        all.extend(ends.iter().chain(&special).flat_map(|&x| [x, -x]));
        all.extend([0x7f80_0001, 0x7fff_ffff, 0xffff_ffff].map(f32::from_bits));
        all.into_iter().map(f64::from).collect()
    }

    #[test]
    fn the_expansion_is_what_the_dtype_says() {
        let x = numbers();
        for to in [DType::BF16, DType::F16] {
            for noise in [0.0, 2f64.powi(-24), 0.25, 0.5, 0.75, 1.0 - 2f64.powi(-24)] {
                let noise = vec![noise; x.len()];
                let found = kernel_eval::run(&kernel(to), &[&x, &noise], &[], x.len() as u64, 1);
                for (n, found) in found[0].iter().enumerate() {
                    let expected = to.round(to.round_stochastic(x[n], noise[n]));
                    let same = found.to_bits() == expected.to_bits()
                        || found.is_nan() && expected.is_nan();
                    assert!(
                        same,
                        "{to} {} by {}: {found}, not {expected}",
                        x[n], noise[n]
                    );
                }
            }
        }
    }
}
