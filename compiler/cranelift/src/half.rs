//! Conversions between the half types and f32 by integer arithmetic: the same bits on every host, scalar or vector.
//!
//! A half is held in the low 16 bits of an integer as wide as the float beside it. Every function takes scalars and
//! vectors alike and goes by the type of its argument.

use crate::code::Code;
use cranelift::prelude::*;

impl Code<'_> {
    /// bfloat16 → f32.
    pub(crate) fn widen_bf16(&mut self, half: Value) -> Value {
        let bits = self.left(half, 16);
        self.as_float(bits)
    }

    /// binary16 → f32. Scaling by 2^112 moves the exponent over and makes subnormals normal, exactly.
    pub(crate) fn widen_f16(&mut self, half: Value) -> Value {
        let magnitude = self.mask_bits(half, 0x7fff);
        let small = self.left(magnitude, 13);
        let small = self.as_float(small);
        let scale = self.float_like(small, 2f64.powi(112));
        let finite = self.b.ins().fmul(small, scale);
        let finite = self.as_int(finite);
        let special = self.int_like(half, 0x7c00);
        let is_special = self.icmp(IntCC::UnsignedGreaterThanOrEqual, magnitude, special);
        let infinity = self.int_like(half, 0x7f80_0000);
        let infinite = self.b.ins().bor(finite, infinity);
        let absolute = self.choose(is_special, infinite, finite);
        let sign = self.mask_bits(half, 0x8000);
        let sign = self.left(sign, 16);
        let bits = self.b.ins().bor(absolute, sign);
        self.as_float(bits)
    }

    /// f32 → bfloat16, ties to even: adding just under half of the last kept place carries where it should.
    pub(crate) fn narrow_bf16(&mut self, x: Value) -> Value {
        let bits = self.as_int(x);
        let below = self.int_like(bits, 0x7fff);
        let sum = self.b.ins().iadd(bits, below);
        let rounded = self.round_bits(sum, bits, 16);
        let cut = self.right(bits, 16);
        let quiet = self.int_like(bits, 0x40);
        let nan = self.b.ins().bor(cut, quiet);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        self.choose(is_nan, nan, rounded)
    }

    /// f32 → binary16, ties to even. Three ranges: what overflows, normal numbers, and subnormal ones, which an
    /// addition to 0.5 rounds, for its last place is theirs.
    pub(crate) fn narrow_f16(&mut self, x: Value) -> Value {
        let bits = self.as_int(x);
        let magnitude = self.mask_bits(bits, 0x7fff_ffff);
        let normal = self.narrow_normal_f16(magnitude);
        let subnormal = self.narrow_subnormal_f16(magnitude);
        let first_normal = self.int_like(bits, 0x3880_0000);
        let is_subnormal = self.icmp(IntCC::UnsignedLessThan, magnitude, first_normal);
        let finite = self.choose(is_subnormal, subnormal, normal);

        let first_over = self.int_like(bits, 0x4780_0000);
        let is_over = self.icmp(IntCC::UnsignedGreaterThanOrEqual, magnitude, first_over);
        let (infinity, nan) = (self.int_like(bits, 0x7c00), self.int_like(bits, 0x7e00));
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, x, x);
        let over = self.choose(is_nan, nan, infinity);
        let absolute = self.choose(is_over, over, finite);

        let sign = self.right(bits, 16);
        let sign = self.mask_bits(sign, 0x8000);
        self.b.ins().bor(absolute, sign)
    }

    fn narrow_normal_f16(&mut self, magnitude: Value) -> Value {
        // The exponent's bias goes from 127 to 15, and just under half of the last kept place is added.
        let rebias = self.int_like(magnitude, ((15 - 127) << 23) + 0xfff);
        let sum = self.b.ins().iadd(magnitude, rebias);
        self.round_bits(sum, magnitude, 13)
    }

    fn narrow_subnormal_f16(&mut self, magnitude: Value) -> Value {
        let small = self.as_float(magnitude);
        let half = self.float_like(small, 0.5);
        let sum = self.b.ins().fadd(small, half);
        let (sum, half) = (self.as_int(sum), self.as_int(half));
        self.b.ins().isub(sum, half)
    }

    /// `sum`, one more where the last place that `bits` keeps is odd, shifted right.
    fn round_bits(&mut self, sum: Value, bits: Value, shift: i64) -> Value {
        let last = self.right(bits, shift);
        let odd = self.mask_bits(last, 1);
        let sum = self.b.ins().iadd(sum, odd);
        self.right(sum, shift)
    }

    /// f64 → f32, cut, the last bit set if anything was cut off: narrowing that further rounds once. Scalars only.
    pub(crate) fn round_to_odd(&mut self, x: Value) -> Value {
        let near = self.b.ins().fdemote(types::F32, x);
        let back = self.b.ins().fpromote(types::F64, near);
        let bits = self.as_int(near);
        let (size, size_back) = (self.b.ins().fabs(x), self.b.ins().fabs(back));
        let above = self.b.ins().fcmp(FloatCC::GreaterThan, size_back, size);
        let above = self.b.ins().uextend(types::I32, above);
        let cut = self.b.ins().isub(bits, above);
        let inexact = self.b.ins().fcmp(FloatCC::NotEqual, back, x);
        let inexact = self.b.ins().uextend(types::I32, inexact);
        let odd = self.b.ins().bor(cut, inexact);
        self.as_float(odd)
    }

    fn mask_bits(&mut self, x: Value, mask: i64) -> Value {
        let mask = self.int_like(x, mask);
        self.b.ins().band(x, mask)
    }

    fn left(&mut self, x: Value, by: i64) -> Value {
        let by = self.b.ins().iconst(types::I32, by);
        self.b.ins().ishl(x, by)
    }

    fn right(&mut self, x: Value, by: i64) -> Value {
        let by = self.b.ins().iconst(types::I32, by);
        self.b.ins().ushr(x, by)
    }

    fn icmp(&mut self, cc: IntCC, a: Value, b: Value) -> Value {
        self.b.ins().icmp(cc, a, b)
    }
}
