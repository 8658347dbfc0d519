//! `exp`, `log`, `tanh`, powers, `sin`, `cos` and `atan2`, written out in primitive instructions: every backend computes
//! the same bits.
//!
//! ```
//! use optc_core::{dtype::DType, kernel::Inst, kernel_math};
//!
//! let mut body = vec![Inst::Load(0)];
//! let result = kernel_math::exp(&mut body, DType::F32, 0);
//! assert_eq!(result as usize, body.len() - 1);
//! ```
//!
//! Errors in units of the last place, measured over normal results: `exp` 0.62, `log` 0.80, `tanh` 1.07, `pow` 0.64,
//! `sin` and `cos` 0.78 (to 1e5 in 32 bits and 1e9 in 64), `atan2` 1.48. Special cases are those
//! of IEEE 754: overflow gives infinity, underflow is gradual, NaN gives NaN (except that `pow` is 1 at exponent 0 and
//! at base 1); `log` of a negative number, `pow` of one to a broken exponent, and `sin` and `cos` of infinities are NaN.
//!
//! Polynomials are minimax fits of our own: the Remez exchange in 300-bit arithmetic, on the intervals named beside
//! them, each weighted so that the error of the function, not of the polynomial, is level. There is no fused
//! multiply-add to lean on; what must be exact is made so by constants with trailing zeros (Cody and Waite), and
//! where one word is too short, by a second one that holds the rounding error of the first (Dekker, Knuth).

use crate::dtype::DType;
use crate::kernel::{BinaryOp, CompareOp, Inst, IntOp, LogicOp, UnaryOp, Val};

pub(crate) mod circle;

pub use circle::{atan2, cos, sin};

/// e to the power of the float `x`.
pub fn exp(b: &mut Vec<Inst>, compute: DType, x: Val) -> Val {
    let mut math = Math::new(b, compute);
    let clamped = math.clamp(x, math.format.exp_range);
    math.exp_in_range(clamped, None)
}

/// The natural logarithm of the float `x`.
pub fn log(b: &mut Vec<Inst>, compute: DType, x: Val) -> Val {
    Math::new(b, compute).log(x)
}

/// The hyperbolic tangent of the float `x`.
pub fn tanh(b: &mut Vec<Inst>, compute: DType, x: Val) -> Val {
    Math::new(b, compute).tanh(x)
}

/// The float `x` to the power of the float `s`.
pub fn pow(b: &mut Vec<Inst>, compute: DType, x: Val, s: Val) -> Val {
    Math::new(b, compute).pow(x, s)
}

/// What differs between the compute types.
struct Format {
    /// Bits of a number, and those that its fraction has in storage.
    width: i64,
    fraction: i64,
    /// Added to an exponent in storage.
    bias: i64,
    /// The smallest normal number, and a power of two (with its exponent) that makes every subnormal one normal.
    normal: f64,
    raise: (f64, f64),
    /// The bits of the square root of one half.
    root_half: i64,
    /// The sign bit alone, as an integer of the width.
    sign: i64,
    /// Keeps the upper half of a fraction.
    upper: i64,
    /// Below the first, `exp` is 0; above the second, infinite.
    exp_range: (f64, f64),
    /// A logarithm times this is beyond `exp_range`, unless it is 0.
    huge: f64,
    /// ln 2 in two parts; a multiple of the first by an exponent is exact.
    ln2: [f64; 2],
    /// 2/3 in two words.
    two_thirds: [f64; 2],
    /// `(e^r - 1 - r) / r^2`, |r| <= ln 2 / 2.
    exp: &'static [f64],
    /// `(2 atanh(s) / s - 2) / z`, `z = s^2`, 1/sqrt 2 <= (1 + s) / (1 - s) <= sqrt 2.
    log: &'static [f64],
    /// `(2 atanh(s) / s - 2 - 2/3 z) / z^2`, on the same interval.
    log_tail: &'static [f64],
    /// `(1 - tanh(x) / x) / z`, `z = x^2`, 0 <= x <= 1.
    tanh: &'static [f64],
    circle: &'static circle::Circle,
}

static F32: Format = Format {
    width: 32,
    fraction: 23,
    bias: 127,
    normal: f32::MIN_POSITIVE as f64,
    raise: (16_777_216.0, 24.0),
    root_half: 0x3f35_04f3,
    sign: i32::MIN as i64,
    upper: !0xfff,
    exp_range: (-104.0, 89.0),
    huge: 1.718e10,
    ln2: [0.693_115_234_375, 3.194_618_329_871_446e-5],
    two_thirds: [0.666_666_686_534_881_6, -1.986_821_551_724_915_5e-8],
    exp: &[
        0.5,
        0.166_666_671_633_720_4,
        0.041_666_269_302_368_164,
        0.008_333_263_918_757_439,
        0.001_394_607_359_543_442_7,
        0.000_199_183_719_814_755_02,
    ],
    log: &[
        0.666_666_626_930_236_8,
        0.400_003_314_018_249_5,
        0.285_374_850_034_713_75,
        0.235_792_562_365_531_92,
    ],
    log_tail: &[
        0.400_000_005_960_464_5,
        0.285_715_311_765_670_8,
        0.222_046_926_617_622_38,
        0.191_220_179_200_172_42,
    ],
    tanh: &[
        0.333_333_283_662_796,
        -0.133_332_118_391_990_66,
        0.053_954_064_846_038_82,
        -0.021_788_612_008_094_788,
        0.008_603_501_133_620_739,
        -0.003_088_582_539_930_939_7,
        0.000_847_314_600_832_760_3,
        -0.000_123_020_348_837_599_16,
    ],
    circle: &circle::F32,
};

static F64: Format = Format {
    width: 64,
    fraction: 52,
    bias: 1023,
    normal: f64::MIN_POSITIVE,
    raise: (18_014_398_509_481_984.0, 54.0),
    root_half: 0x3fe6_a09e_667f_3bcd,
    sign: i64::MIN,
    upper: !0x7ff_ffff,
    exp_range: (-746.0, 710.0),
    huge: 1.845e19,
    ln2: [0.693_147_180_559_208_2, 7.371_002_565_167_799e-13],
    two_thirds: [0.666_666_666_666_666_6, 3.700_743_415_417_188e-17],
    exp: &[
        0.5,
        0.166_666_666_666_666_85,
        0.041_666_666_666_666_73,
        0.008_333_333_333_316_737,
        0.001_388_888_888_885_855,
        0.000_198_412_698_970_607_7,
        2.480_158_737_353_966_7e-5,
        2.755_723_423_518_674e-6,
        2.755_723_352_420_911e-7,
        2.511_224_034_277_241_3e-8,
        2.092_689_436_491_062_3e-9,
    ],
    log: &[
        0.666_666_666_666_666_6,
        0.400_000_000_000_059_3,
        0.285_714_285_691_657_24,
        0.222_222_226_368_779_83,
        0.181_817_763_422_317_56,
        0.153_870_649_270_115_87,
        0.132_506_356_293_694_4,
        0.132_470_904_418_138_97,
    ],
    log_tail: &[
        0.4,
        0.285_714_285_714_293_75,
        0.222_222_222_216_513_2,
        0.181_818_183_363_240_04,
        0.153_845_948_721_192_98,
        0.133_348_091_984_972_55,
        0.117_061_250_366_625_75,
        0.117_242_589_938_413_54,
    ],
    tanh: &[
        0.333_333_333_333_333_04,
        -0.133_333_333_333_296_36,
        0.053_968_253_966_672_63,
        -0.021_869_488_501_991_444,
        0.008_863_235_089_678_3,
        -0.003_592_124_323_657_592_4,
        0.001_455_812_665_767_018_7,
        -0.000_589_935_868_716_471_6,
        0.000_238_843_732_109_570_05,
        -9.624_685_836_276_182e-5,
        3.808_920_674_885_874e-5,
        -1.430_444_708_731_237_5e-5,
        4.774_900_362_987_668e-6,
        -1.279_112_076_346_679_5e-6,
        2.351_712_209_974_333e-7,
        -2.157_646_999_957_814e-8,
    ],
    circle: &circle::F64,
};

/// A value in two words: the second holds what the first, a rounded value, lacks.
#[derive(Clone, Copy)]
struct Pair {
    high: Val,
    low: Val,
}

/// Appends instructions to a body.
struct Math<'a> {
    insts: &'a mut Vec<Inst>,
    format: &'static Format,
}

impl Math<'_> {
    fn new(insts: &mut Vec<Inst>, compute: DType) -> Math<'_> {
        Math {
            insts,
            format: if compute == DType::F64 { &F64 } else { &F32 },
        }
    }

    /// `e^(x + low)` for `x` in the range of `exp`, or NaN; `low` is a small correction.
    ///
    /// `x = n ln 2 + r`, and `e^r = 1 + (r + r^2 q(r))`. What rounding `r` and `1 + r` drops is added last.
    fn exp_in_range(&mut self, x: Val, low: Option<Val>) -> Val {
        let one = self.constant(1.0);
        let scaled = self.scale(x, std::f64::consts::LOG2_E);
        let n = self.unary(UnaryOp::RoundEven, scaled);
        let whole = self.scale(n, self.format.ln2[0]);
        let rough = self.sub(x, whole);
        let rest = self.scale(n, self.format.ln2[1]);
        let rest = low.map_or(rest, |low| self.sub(rest, low));
        let r = self.sub(rough, rest);
        let dropped = self.sub(rough, r);
        let dropped = self.sub(dropped, rest);

        let q = self.polynomial(self.format.exp, r);
        let square = self.mul(r, r);
        let curve = self.mul(square, q);
        let curve = self.add(curve, dropped);
        let line = self.fast_two_sum(one, r);
        let tail = self.add(line.low, curve);
        let fraction = self.add(line.high, tail);
        self.times_power_of_two(fraction, n)
    }

    /// In two halves, so that neither power overflows or underflows where the product does not.
    fn times_power_of_two(&mut self, x: Val, n: Val) -> Val {
        let n = self.push(Inst::ToInt(n));
        let one = self.int(1);
        let first = self.push(Inst::Int(IntOp::Sar, n, one));
        let second = self.push(Inst::Int(IntOp::Sub, n, first));
        let (first, second) = (self.power_of_two(first), self.power_of_two(second));
        let x = self.mul(x, first);
        self.mul(x, second)
    }

    fn power_of_two(&mut self, n: Val) -> Val {
        let (bias, fraction) = (self.int(self.format.bias), self.int(self.format.fraction));
        let exponent = self.push(Inst::Int(IntOp::Add, n, bias));
        let bits = self.push(Inst::Int(IntOp::Shl, exponent, fraction));
        self.push(Inst::FromBits(bits))
    }

    /// With `x = 2^e (1 + f)`, `s = f / (2 + f)` and `h = f^2 / 2`: `ln (1 + f) = f - (h - s (h + R))`.
    fn log(&mut self, x: Val) -> Val {
        let (e, f) = self.exponent_and_fraction(x);
        let two = self.constant(2.0);
        let sum = self.add(two, f);
        let s = self.div(f, sum);
        let z = self.mul(s, s);
        let r = self.polynomial(self.format.log, z);
        let r = self.mul(z, r);
        let half = self.scale(f, 0.5);
        let h = self.mul(half, f);
        let curve = self.add(h, r);
        let curve = self.mul(s, curve);
        let rest = self.scale(e, self.format.ln2[1]);
        let curve = self.add(curve, rest);
        let below = self.sub(h, curve);
        let below = self.sub(below, f);
        let whole = self.scale(e, self.format.ln2[0]);
        let result = self.sub(whole, below);
        self.log_of_special(x, result)
    }

    fn log_of_special(&mut self, x: Val, result: Val) -> Val {
        let (zero, infinity) = (self.constant(0.0), self.constant(f64::INFINITY));
        let (minus_infinity, nan) = (self.constant(f64::NEG_INFINITY), self.constant(f64::NAN));
        let finite = self.compare(CompareOp::Lt, x, infinity);
        let result = self.select(finite, result, x);
        let is_zero = self.compare(CompareOp::Eq, x, zero);
        let result = self.select(is_zero, minus_infinity, result);
        let negative = self.compare(CompareOp::Lt, x, zero);
        self.select(negative, nan, result)
    }

    /// `e` and `f` of `x = 2^e (1 + f)` with `1 + f` in `[1/sqrt 2, sqrt 2)`, for finite `x > 0`; both exact.
    fn exponent_and_fraction(&mut self, x: Val) -> (Val, Val) {
        let (raise, by) = self.format.raise;
        let (normal, zero, one) = (
            self.constant(self.format.normal),
            self.constant(0.0),
            self.constant(1.0),
        );
        let subnormal = self.compare(CompareOp::Lt, x, normal);
        let raised = self.scale(x, raise);
        let x = self.select(subnormal, raised, x);
        let by = self.constant(-by);
        let lowered = self.select(subnormal, by, zero);

        let root_half = self.int(self.format.root_half);
        let (fraction, mask) = (
            self.int(self.format.fraction),
            self.int((1 << self.format.fraction) - 1),
        );
        let bits = self.push(Inst::Bits(x));
        let above = self.push(Inst::Int(IntOp::Sub, bits, root_half));
        let exponent = self.push(Inst::Int(IntOp::Sar, above, fraction));
        let exponent = self.push(Inst::FromInt(exponent));
        let exponent = self.add(exponent, lowered);
        let kept = self.push(Inst::Int(IntOp::And, above, mask));
        let kept = self.push(Inst::Int(IntOp::Add, kept, root_half));
        let mantissa = self.push(Inst::FromBits(kept));
        (exponent, self.sub(mantissa, one))
    }

    /// A polynomial below 1, `1 - 2 / (e^2x + 1)` from there on; the sign goes through untouched.
    fn tanh(&mut self, x: Val) -> Val {
        let (one, two) = (self.constant(1.0), self.constant(2.0));
        let size = self.unary(UnaryOp::Abs, x);
        let z = self.mul(size, size);
        let q = self.polynomial(self.format.tanh, z);
        let q = self.mul(z, q);
        let bend = self.mul(size, q);
        let near = self.sub(size, bend);

        let twice = self.add(size, size);
        let twice = self.clamp(twice, self.format.exp_range);
        let power = self.exp_in_range(twice, None);
        let power = self.add(power, one);
        let gap = self.div(two, power);
        let far = self.sub(one, gap);

        let is_near = self.compare(CompareOp::Lt, size, one);
        let result = self.select(is_near, near, far);
        self.with_sign_of(result, x)
    }

    /// `|x|^s = e^(s ln |x|)` with the logarithm and the product in two words, then signs and special cases.
    fn pow(&mut self, x: Val, s: Val) -> Val {
        let size = self.unary(UnaryOp::Abs, x);
        let (low, high) = self.format.exp_range;
        let log = self.log_in_two_words(size);
        let exponent = self.clamp(s, (-self.format.huge, self.format.huge));
        let product = self.two_product(exponent, log.high);
        let rest = self.mul(exponent, log.low);
        let rest = self.add(product.low, rest);

        let distance = self.unary(UnaryOp::Abs, product.high);
        let (limit, zero) = (self.constant(high - low), self.constant(0.0));
        let in_range = self.compare(CompareOp::Lt, distance, limit);
        let rest = self.select(in_range, rest, zero);
        let clamped = self.clamp(product.high, self.format.exp_range);
        let power = self.exp_in_range(clamped, Some(rest));
        let power = self.pow_at_ends(size, s, power);
        let power = self.pow_of_negative(x, s, power);
        self.pow_of_special(x, s, power)
    }

    /// The logarithm of finite `x > 0` to half as many bits again; `ln (1 + f) = s (2 + z (2/3 + z T(z)))`.
    fn log_in_two_words(&mut self, x: Val) -> Pair {
        let two = self.constant(2.0);
        let (e, f) = self.exponent_and_fraction(x);
        let sum = self.fast_two_sum(two, f);
        let s = self.quotient(f, sum);
        let mut z = self.two_product(s.high, s.high);
        let cross = self.mul(s.high, s.low);
        let cross = self.add(cross, cross);
        z.low = self.add(z.low, cross);

        let tail = self.polynomial(self.format.log_tail, z.high);
        let tail = self.mul(z.high, tail);
        let [high, low] = self.format.two_thirds.map(|word| self.constant(word));
        let mut w = self.fast_two_sum(high, tail);
        w.low = self.add(w.low, low);
        let bend = self.product(z, w);
        let mut slope = self.fast_two_sum(two, bend.high);
        slope.low = self.add(slope.low, bend.low);
        let log = self.product(s, slope);

        let [whole, rest] = self.format.ln2.map(|part| self.scale(e, part));
        let total = self.fast_two_sum(whole, log.high);
        let rest = self.add(rest, log.low);
        let rest = self.add(total.low, rest);
        self.fast_two_sum(total.high, rest)
    }

    /// Bases 0 and infinity; `size` is the base without its sign.
    fn pow_at_ends(&mut self, size: Val, s: Val, power: Val) -> Val {
        let (zero, infinity) = (self.constant(0.0), self.constant(f64::INFINITY));
        let falling = self.compare(CompareOp::Lt, s, zero);
        let at_zero = self.select(falling, infinity, zero);
        let is_zero = self.compare(CompareOp::Eq, size, zero);
        let power = self.select(is_zero, at_zero, power);
        let at_infinity = self.select(falling, zero, infinity);
        let is_infinite = self.compare(CompareOp::Eq, size, infinity);
        self.select(is_infinite, at_infinity, power)
    }

    /// The sign of an odd power, and NaN for a broken power of a finite negative number.
    fn pow_of_negative(&mut self, x: Val, s: Val, power: Val) -> Val {
        let (zero, nan) = (self.constant(0.0), self.constant(f64::NAN));
        let is_whole = self.is_whole(s);
        let half = self.scale(s, 0.5);
        let half_is_whole = self.is_whole(half);
        let half_is_broken = self.push(Inst::Not(half_is_whole));
        let is_odd = self.push(Inst::Logic(LogicOp::And, is_whole, half_is_broken));
        let signed = self.with_sign_of(power, x);
        let power = self.select(is_odd, signed, power);

        let lowest = self.constant(f64::NEG_INFINITY);
        let is_negative = self.compare(CompareOp::Lt, x, zero);
        let is_finite = self.compare(CompareOp::Gt, x, lowest);
        let is_broken = self.push(Inst::Not(is_whole));
        let fails = self.push(Inst::Logic(LogicOp::And, is_negative, is_finite));
        let fails = self.push(Inst::Logic(LogicOp::And, fails, is_broken));
        self.select(fails, nan, power)
    }

    /// NaN goes through; exponent 0 and base 1 give 1 whatever the other is.
    fn pow_of_special(&mut self, x: Val, s: Val, power: Val) -> Val {
        let (zero, one) = (self.constant(0.0), self.constant(1.0));
        let x_is_number = self.compare(CompareOp::Eq, x, x);
        let s_is_number = self.compare(CompareOp::Eq, s, s);
        let are_numbers = self.push(Inst::Logic(LogicOp::And, x_is_number, s_is_number));
        let sum = self.add(x, s);
        let power = self.select(are_numbers, power, sum);
        let s_is_zero = self.compare(CompareOp::Eq, s, zero);
        let x_is_one = self.compare(CompareOp::Eq, x, one);
        let is_one = self.push(Inst::Logic(LogicOp::Or, s_is_zero, x_is_one));
        self.select(is_one, one, power)
    }
}

/// Arithmetic in two words.
impl Math<'_> {
    /// The sum and its rounding error, exact where `a` is not the smaller in size.
    fn fast_two_sum(&mut self, a: Val, b: Val) -> Pair {
        let high = self.add(a, b);
        let kept = self.sub(high, a);
        Pair {
            high,
            low: self.sub(b, kept),
        }
    }

    /// The product and its rounding error, from products of half words.
    fn two_product(&mut self, a: Val, b: Val) -> Pair {
        let high = self.mul(a, b);
        let (a, b) = (self.split(a), self.split(b));
        let upper = self.mul(a.high, b.high);
        let error = self.sub(upper, high);
        let cross = self.mul(a.high, b.low);
        let error = self.add(error, cross);
        let cross = self.mul(a.low, b.high);
        let error = self.add(error, cross);
        let lower = self.mul(a.low, b.low);
        Pair {
            high,
            low: self.add(error, lower),
        }
    }

    fn split(&mut self, a: Val) -> Pair {
        let mask = self.int(self.format.upper);
        let bits = self.push(Inst::Bits(a));
        let bits = self.push(Inst::Int(IntOp::And, bits, mask));
        let high = self.push(Inst::FromBits(bits));
        Pair {
            high,
            low: self.sub(a, high),
        }
    }

    fn product(&mut self, a: Pair, b: Pair) -> Pair {
        let mut product = self.two_product(a.high, b.high);
        let (first, second) = (self.mul(a.high, b.low), self.mul(a.low, b.high));
        let cross = self.add(first, second);
        product.low = self.add(product.low, cross);
        product
    }

    fn quotient(&mut self, a: Val, b: Pair) -> Pair {
        let high = self.div(a, b.high);
        let back = self.two_product(high, b.high);
        let rest = self.sub(a, back.high);
        let rest = self.sub(rest, back.low);
        let below = self.mul(high, b.low);
        let rest = self.sub(rest, below);
        Pair {
            high,
            low: self.div(rest, b.high),
        }
    }
}

/// Single instructions and short phrases of them.
impl Math<'_> {
    fn push(&mut self, inst: Inst) -> Val {
        self.insts.push(inst);
        self.insts.len() as Val - 1
    }

    fn constant(&mut self, x: f64) -> Val {
        self.push(Inst::Const(x))
    }

    fn int(&mut self, x: i64) -> Val {
        self.push(Inst::IntConst(x))
    }

    fn unary(&mut self, op: UnaryOp, a: Val) -> Val {
        self.push(Inst::Unary(op, a))
    }

    fn add(&mut self, a: Val, b: Val) -> Val {
        self.push(Inst::Binary(BinaryOp::Add, a, b))
    }

    fn sub(&mut self, a: Val, b: Val) -> Val {
        self.push(Inst::Binary(BinaryOp::Sub, a, b))
    }

    fn mul(&mut self, a: Val, b: Val) -> Val {
        self.push(Inst::Binary(BinaryOp::Mul, a, b))
    }

    fn div(&mut self, a: Val, b: Val) -> Val {
        self.push(Inst::Binary(BinaryOp::Div, a, b))
    }

    fn scale(&mut self, a: Val, by: f64) -> Val {
        let by = self.constant(by);
        self.mul(a, by)
    }

    fn compare(&mut self, op: CompareOp, a: Val, b: Val) -> Val {
        self.push(Inst::Compare(op, a, b))
    }

    fn select(&mut self, mask: Val, a: Val, b: Val) -> Val {
        self.push(Inst::Select(mask, a, b))
    }

    /// Within the range; NaN stays NaN.
    fn clamp(&mut self, x: Val, (low, high): (f64, f64)) -> Val {
        let (low, high) = (self.constant(low), self.constant(high));
        let x = self.push(Inst::Binary(BinaryOp::Max, x, low));
        self.push(Inst::Binary(BinaryOp::Min, x, high))
    }

    /// Whether a number has no fraction; infinities have none.
    fn is_whole(&mut self, x: Val) -> Val {
        let floor = self.unary(UnaryOp::Floor, x);
        self.compare(CompareOp::Eq, floor, x)
    }

    /// `size`, which is not negative, with the sign of `x`.
    fn with_sign_of(&mut self, size: Val, x: Val) -> Val {
        let sign = self.int(self.format.sign);
        let (size, x) = (self.push(Inst::Bits(size)), self.push(Inst::Bits(x)));
        let sign = self.push(Inst::Int(IntOp::And, x, sign));
        let bits = self.push(Inst::Int(IntOp::Or, size, sign));
        self.push(Inst::FromBits(bits))
    }

    /// Coefficients from the constant one up, by Horner's rule.
    fn polynomial(&mut self, coefficients: &[f64], x: Val) -> Val {
        let Some((&last, lower)) = coefficients.split_last() else {
            return self.constant(0.0);
        };
        let mut sum = self.constant(last);
        for &coefficient in lower.iter().rev() {
            let product = self.mul(sum, x);
            let coefficient = self.constant(coefficient);
            sum = self.add(product, coefficient);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
