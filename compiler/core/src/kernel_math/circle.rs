//! `sin`, `cos` and `atan2`: angles brought to an eighth of the circle, and a polynomial there.
//!
//! An angle `x` is `n` quarters and a rest `r`. With pi / 2 in four parts of which the first two are so short that their
//! multiples are exact, `r` comes out in two words, right even where `x` lies beside a multiple of pi / 2 and nearly
//! all of it cancels. That holds up to `reach`; beyond it the error grows with the distance between neighbours of `x`,
//! and the result stays between -1 and 1.

use super::{Math, Pair};
use crate::dtype::DType;
use crate::kernel::{BinaryOp, CompareOp, Inst, IntOp, UnaryOp, Val};

/// The sine of the float `x`.
pub fn sin(b: &mut Vec<Inst>, compute: DType, x: Val) -> Val {
    let mut math = Math::new(b, compute);
    let size = math.unary(UnaryOp::Abs, x);
    let sine = math.sine(size, 0);
    math.with_sign_flipped_by(sine, x)
}

/// The cosine of the float `x`.
pub fn cos(b: &mut Vec<Inst>, compute: DType, x: Val) -> Val {
    let mut math = Math::new(b, compute);
    let size = math.unary(UnaryOp::Abs, x);
    math.sine(size, 1)
}

/// The angle between the positive x axis and the point (`x`, `y`), from -pi to pi.
pub fn atan2(b: &mut Vec<Inst>, compute: DType, y: Val, x: Val) -> Val {
    Math::new(b, compute).atan2(y, x)
}

/// What differs between the compute types.
pub(crate) struct Circle {
    /// The largest angle that is reduced exactly.
    pub(crate) reach: f64,
    /// pi / 2; a multiple of the first two parts by a whole number of quarters within `reach` is exact.
    pub(crate) quarter: [f64; 4],
    /// pi / 2 in two words.
    pub(crate) half_pi: [f64; 2],
    /// `(sin(r) / r - 1) / z`, `z = r^2`, |r| <= `EIGHTH`.
    pub(crate) sin: &'static [f64],
    /// `(cos(r) - 1 + z / 2) / z^2`, on the same interval.
    pub(crate) cos: &'static [f64],
    /// `(1 - atan(t) / t) / z`, `z = t^2`, 0 <= t <= 1.
    pub(crate) atan: &'static [f64],
}

impl Circle {
    /// `1 - atan(1)`, so that the angle of a diagonal is pi / 4 to the last bit.
    pub(crate) fn corner(&self) -> f64 {
        1.0 - self.half_pi[0] / 2.0
    }
}

/// More than pi / 4 by what rounding the number of quarters may add, in f32 at the end of its reach.
pub(crate) const EIGHTH: f64 = 0.795;

/// A number of quarters that an integer of either width holds, beyond both reaches.
pub(crate) const MOST_QUARTERS: f64 = 1_073_741_824.0;

pub(super) static F32: Circle = Circle {
    reach: 1e5,
    quarter: [
        1.570_312_5,
        4.844_665_527_343_75e-4,
        -6.397_578_431_460_715e-7,
        5.390_302_953_474_238e-15,
    ],
    half_pi: [1.570_796_370_506_286_6, -4.371_138_828_673_793e-8],
    sin: &[
        -0.166_666_537_523_269_65,
        0.008_332_104_422_152_042,
        -0.000_195_074_593_648_314_48,
    ],
    cos: &[
        0.041_666_645_556_688_31,
        -0.001_388_729_433_529_079,
        2.442_942_059_133_202e-5,
    ],
    atan: &[
        0.333_332_985_639_572_14,
        -0.199_985_295_534_133_9,
        0.142_640_441_656_112_67,
        -0.109_513_022_005_558_01,
        0.084_016_263_484_954_83,
        -0.057_943_947_613_239_29,
        0.031_185_869_127_511_978,
        -0.010_932_401_753_962_04,
        0.001_800_947_124_138_474_5,
    ],
};

pub(crate) static F64: Circle = Circle {
    reach: 1e9,
    quarter: [
        1.570_796_251_296_997,
        7.549_789_415_861_596e-8,
        5.390_302_858_158_119e-15,
        8.478_427_660_368_9e-32,
    ],
    half_pi: [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17],
    sin: &[
        -0.166_666_666_666_666_66,
        0.008_333_333_333_333_047,
        -0.000_198_412_698_409_734_8,
        2.755_731_908_194_013_6e-6,
        -2.505_207_349_565_803_3e-8,
        1.605_469_425_060_537e-10,
        -7.410_798_306_191_649e-13,
    ],
    cos: &[
        0.041_666_666_666_666_58,
        -0.001_388_888_888_887_096,
        2.480_158_728_751_905_3e-5,
        -2.755_731_378_829_505e-7,
        2.087_564_697_657_363_3e-9,
        -1.135_571_473_370_586_2e-11,
    ],
    atan: &[
        0.333_333_333_333_332_87,
        -0.199_999_999_999_906_17,
        0.142_857_142_850_449_8,
        -0.111_111_110_866_709_79,
        0.090_909_085_510_383_86,
        -0.076_922_997_567_521_41,
        0.066_665_841_260_400_33,
        -0.058_817_189_756_517_22,
        0.052_594_493_158_778_16,
        -0.047_449_930_806_589_77,
        0.042_866_162_920_287_74,
        -0.038_215_969_830_450_426,
        0.032_797_460_385_104_82,
        -0.026_170_669_003_299_52,
        0.018_637_322_453_708_107,
        -0.011_339_080_967_272_219,
        0.005_627_215_065_108_388,
        -0.002_158_995_311_341_864,
        0.000_595_414_410_610_019_3,
        -0.000_104_394_604_742_469_04,
        8.703_968_738_466_613e-6,
    ],
};

impl Math<'_> {
    /// The sine of `size + ahead` quarters, for `size` that is not negative: by quarters in turn `sin(r)`, `cos(r)`,
    /// `-sin(r)`, `-cos(r)`.
    fn sine(&mut self, size: Val, ahead: i64) -> Val {
        let (quarters, r) = self.quarters_and_rest(size);
        let z = self.mul(r.high, r.high);
        let half = self.scale(z, 0.5);
        let (sine, cosine) = (
            self.sine_of_rest(r, z, half),
            self.cosine_of_rest(r, z, half),
        );

        let ahead = self.int(ahead);
        let turn = self.push(Inst::Int(IntOp::Add, quarters, ahead));
        let (one, two) = (self.int(1), self.int(2));
        let odd = self.push(Inst::Int(IntOp::And, turn, one));
        let odd = self.push(Inst::FromInt(odd));
        let zero = self.constant(0.0);
        let is_even = self.compare(CompareOp::Eq, odd, zero);
        let result = self.select(is_even, sine, cosine);

        let turned = self.push(Inst::Int(IntOp::And, turn, two));
        let up = self.int(self.format.width - 2);
        let sign = self.push(Inst::Int(IntOp::Shl, turned, up));
        self.with_bits_added(result, sign)
    }

    /// How many quarters of the circle come before the rest.
    fn quarters_and_rest(&mut self, size: Val) -> (Val, Pair) {
        let circle = self.format.circle;
        let scaled = self.scale(size, std::f64::consts::FRAC_2_PI);
        let n = self.unary(UnaryOp::RoundEven, scaled);
        let [first, second, third, fourth] = circle.quarter.map(|part| self.constant(part));
        let whole = self.mul(n, first);
        let rest = self.sub(size, whole);
        let whole = self.mul(n, second);
        let rest = self.sub(rest, whole);
        let fine = self.two_product(n, third);
        let rest = self.two_difference(rest, fine.high);
        let finest = self.mul(n, fourth);
        let low = self.sub(rest.low, fine.low);
        let low = self.sub(low, finest);
        let rest = self.fast_two_sum(rest.high, low);

        let (reach, zero) = (self.constant(circle.reach), self.constant(0.0));
        let is_known = self.compare(CompareOp::Le, size, reach);
        let high = self.clamp(rest.high, (-EIGHTH, EIGHTH));
        let low = self.select(is_known, rest.low, zero);
        let most = self.constant(MOST_QUARTERS);
        let n = self.push(Inst::Binary(BinaryOp::Min, n, most));
        (self.push(Inst::ToInt(n)), Pair { high, low })
    }

    /// `sin(r + low) = r + (r z S(z) + low (1 - z / 2))`
    fn sine_of_rest(&mut self, r: Pair, z: Val, half: Val) -> Val {
        let one = self.constant(1.0);
        let bend = self.polynomial(self.format.circle.sin, z);
        let bend = self.mul(z, bend);
        let bend = self.mul(r.high, bend);
        let slope = self.sub(one, half);
        let low = self.mul(r.low, slope);
        let tail = self.add(bend, low);
        self.add(r.high, tail)
    }

    /// `cos(r + low) = (1 - z / 2) + (z^2 C(z) - r low)`, with what rounding `1 - z / 2` drops.
    fn cosine_of_rest(&mut self, r: Pair, z: Val, half: Val) -> Val {
        let one = self.constant(1.0);
        let curve = self.polynomial(self.format.circle.cos, z);
        let curve = self.mul(z, curve);
        let curve = self.mul(z, curve);
        let low = self.mul(r.high, r.low);
        let curve = self.sub(curve, low);
        let fall = self.unary(UnaryOp::Neg, half);
        let line = self.fast_two_sum(one, fall);
        let tail = self.add(line.low, curve);
        self.add(line.high, tail)
    }

    /// The arc tangent of the smaller size over the larger, `t - t z P(z)`, added to or taken from the nearest quarter.
    fn atan2(&mut self, y: Val, x: Val) -> Val {
        let (tall, wide) = (self.unary(UnaryOp::Abs, y), self.unary(UnaryOp::Abs, x));
        let t = self.smaller_over_larger(tall, wide);
        let z = self.mul(t, t);
        let bend = self.polynomial(self.format.circle.atan, z);
        let bend = self.mul(z, bend);
        let bend = self.mul(t, bend);

        let (one, minus) = (self.constant(1.0), self.constant(-1.0));
        let corner = self.constant(self.format.circle.corner());
        let is_diagonal = self.compare(CompareOp::Eq, t, one);
        let bend = self.select(is_diagonal, corner, bend);
        let side = self.with_sign_of(one, x);
        let is_steep = self.compare(CompareOp::Gt, tall, wide);
        let tip = self.select(is_steep, minus, one);
        let way = self.mul(side, tip);
        let behind = self.sub(one, side);
        let quarters = self.select(is_steep, one, behind);

        let [high, low] = self
            .format
            .circle
            .half_pi
            .map(|word| self.scale(quarters, word));
        let (t, bend) = (self.mul(way, t), self.mul(way, bend));
        let sum = self.fast_two_sum(high, t);
        let tail = self.add(sum.low, low);
        let tail = self.sub(tail, bend);
        let size = self.add(sum.high, tail);
        self.with_sign_of(size, y)
    }

    /// From 0 to 1; 0 of two zeros, 1 of two infinities.
    fn smaller_over_larger(&mut self, a: Val, b: Val) -> Val {
        let (zero, one) = (self.constant(0.0), self.constant(1.0));
        let smaller = self.push(Inst::Binary(BinaryOp::Min, a, b));
        let larger = self.push(Inst::Binary(BinaryOp::Max, a, b));
        let ratio = self.div(smaller, larger);
        let is_origin = self.compare(CompareOp::Eq, larger, zero);
        let of_equals = self.select(is_origin, zero, one);
        let are_equal = self.compare(CompareOp::Eq, a, b);
        self.select(are_equal, of_equals, ratio)
    }

    /// The difference and its rounding error, exact whichever is larger.
    fn two_difference(&mut self, a: Val, b: Val) -> Pair {
        let high = self.sub(a, b);
        let taken = self.sub(high, a);
        let kept = self.sub(high, taken);
        let of_a = self.sub(a, kept);
        let of_b = self.add(b, taken);
        Pair {
            high,
            low: self.sub(of_a, of_b),
        }
    }

    fn with_sign_flipped_by(&mut self, y: Val, x: Val) -> Val {
        let sign = self.int(self.format.sign);
        let bits = self.push(Inst::Bits(x));
        let sign = self.push(Inst::Int(IntOp::And, bits, sign));
        self.with_bits_added(y, sign)
    }

    /// Added to the sign bit, a sign bit flips it.
    fn with_bits_added(&mut self, y: Val, sign: Val) -> Val {
        let bits = self.push(Inst::Bits(y));
        let bits = self.push(Inst::Int(IntOp::Add, bits, sign));
        self.push(Inst::FromBits(bits))
    }
}
