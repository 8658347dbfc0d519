//! Random numbers that every replica and every resumed run draws alike.
//!
//! A number depends on the seed, the step, the parameter's name, the place of the call in the rule, and its own index,
//! and on nothing else: Philox 4×32 with ten rounds turns these into bits. There is no state to save, and nothing that
//! depends on the machine: the bits become numbers by IEEE arithmetic alone.
//!
//! ```
//! use optc_core::random::{Draw, Noise};
//!
//! let draw = Draw { param: "weight", step: 3, site: 0 };
//! assert_eq!(Noise::Seeded(7).chance(draw), Noise::Seeded(7).chance(draw));
//! ```

use crate::dtype::DType;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// How numbers are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Mean 0, variance 1.
    Normal,
    /// In [0, 1), all multiples of the dtype's resolution below 1 alike.
    Uniform,
}

/// Which numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw<'a> {
    /// The parameter's name; empty for numbers that all parameters share.
    pub param: &'a str,
    /// Its step number, from 1; state is made at step 1. An entry's is the number of steps so far.
    pub step: u64,
    /// Which call of the rule, in the order in which calls were written out.
    pub site: u32,
}

/// Numbers that take the place of random ones: a recorded run's.
pub trait Recorded: Debug + Send + Sync {
    /// The elements of a tensor.
    fn tensor(&self, draw: Draw<'_>) -> Option<Vec<f64>>;
    /// What decides `with probability`.
    fn chance(&self, draw: Draw<'_>) -> Option<f64>;
}

/// Where random numbers come from.
#[derive(Debug, Clone)]
pub enum Noise {
    /// The streams of a seed.
    Seeded(u64),
    /// A recording, and the streams of seed 0 for what it lacks.
    Recorded(Arc<dyn Recorded>),
}

impl Default for Noise {
    fn default() -> Self {
        Noise::Seeded(0)
    }
}

impl Noise {
    /// Gives each element of a tensor to `store`, with its index.
    pub fn fill(
        &self,
        draw: Draw<'_>,
        distribution: Distribution,
        dtype: DType,
        count: u64,
        mut store: impl FnMut(u64, f64),
    ) {
        match self.recorded(draw, count) {
            Some(values) => (0..).zip(values).for_each(|(n, x)| store(n, x)),
            None => self
                .numbers(draw, distribution, dtype)
                .each(0..count, store),
        }
    }

    /// The elements of a tensor, where a recording has as many.
    pub fn recorded(&self, draw: Draw<'_>, count: u64) -> Option<Vec<f64>> {
        let Noise::Recorded(recorded) = self else {
            return None;
        };
        let values = recorded.tensor(draw);
        values.filter(|values| values.len() as u64 == count)
    }

    /// The elements of a tensor that no recording has; every range of them may be drawn apart.
    pub fn numbers(&self, draw: Draw<'_>, distribution: Distribution, dtype: DType) -> Numbers {
        Numbers {
            stream: Stream::new(self.seed(), draw),
            distribution,
            digits: digits(dtype),
        }
    }

    /// A number in [0, 1) that all parameters at this step share.
    pub fn chance(&self, draw: Draw<'_>) -> f64 {
        let recorded = match self {
            Noise::Recorded(recorded) => recorded.chance(draw),
            Noise::Seeded(_) => None,
        };
        recorded.unwrap_or_else(|| uniform(Stream::new(self.seed(), draw).bits(0)[0], 53))
    }

    fn seed(&self) -> u64 {
        match self {
            Noise::Seeded(seed) => *seed,
            Noise::Recorded(_) => 0,
        }
    }
}

/// Bits of the significand, the leading one among them.
fn digits(dtype: DType) -> u32 {
    match dtype {
        DType::F64 | DType::I64 => 53,
        DType::F32 => 24,
        DType::F16 => 11,
        DType::BF16 | DType::U8 => 8,
    }
}

/// The numbers of one draw, which depend on nothing but their index.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    stream: Stream,
    distribution: Distribution,
    digits: u32,
}

/// Numbers that are made side by side, so that the loops over them become vector instructions.
const BATCH: usize = 64;

impl Numbers {
    /// Gives each number of a range to `store`, with its index.
    pub fn each(&self, range: Range<u64>, mut store: impl FnMut(u64, f64)) {
        let mut next = range.start;
        while next < range.end {
            let first = next & !1;
            let batch = self.batch(first);
            let end = range.end.min(first + BATCH as u64);
            (next..end).for_each(|n| store(n, batch[(n - first) as usize]));
            next = end;
        }
    }

    /// The numbers from an even one on.
    fn batch(&self, first: u64) -> [f64; BATCH] {
        let bits = self.stream.bits(first);
        match self.distribution {
            Distribution::Normal => normals(&bits),
            Distribution::Uniform => bits.map(|bits| uniform(bits, self.digits)),
        }
    }
}

/// One key and one counter, up to the index.
#[derive(Debug, Clone, Copy)]
struct Stream {
    key: [u32; 2],
    step: u32,
    site: u32,
}

impl Stream {
    fn new(seed: u64, draw: Draw<'_>) -> Stream {
        let key = mixed(seed ^ mixed(hash(draw.param)));
        Stream {
            key: [key as u32, (key >> 32) as u32],
            step: draw.step as u32,
            site: draw.site,
        }
    }

    /// The bits of the numbers from an even one on: two share a block.
    fn bits(&self, first: u64) -> [u64; BATCH] {
        let mut counter = [
            [0; BATCH / 2],
            [0; BATCH / 2],
            [self.step; BATCH / 2],
            [self.site; BATCH / 2],
        ];
        for (lane, block) in (first / 2..).take(BATCH / 2).enumerate() {
            counter[0][lane] = block as u32;
            counter[1][lane] = (block >> 32) as u32;
        }
        let words = philox(counter, self.key);
        let mut bits = [0; BATCH];
        for (n, bits) in bits.iter_mut().enumerate() {
            let (lane, half) = (n / 2, 2 * (n % 2));
            *bits = u64::from(words[half][lane]) | u64::from(words[half + 1][lane]) << 32;
        }
        bits
    }
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finalizer of SplitMix64.
fn mixed(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Philox 4×32-10 (Salmon et al., 2011) of several counters at once.
fn philox<const N: usize>(mut counter: [[u32; N]; 4], mut key: [u32; 2]) -> [[u32; N]; 4] {
    for _ in 0..10 {
        let [mut a, mut b, mut c, mut d] = counter;
        for n in 0..N {
            let (x, y) = (u64::from(a[n]) * 0xd251_1f53, u64::from(c[n]) * 0xcd9e_8d57);
            a[n] = (y >> 32) as u32 ^ b[n] ^ key[0];
            b[n] = y as u32;
            c[n] = (x >> 32) as u32 ^ d[n] ^ key[1];
            d[n] = x as u32;
        }
        counter = [a, b, c, d];
        key = [
            key[0].wrapping_add(0x9e37_79b9),
            key[1].wrapping_add(0xbb67_ae85),
        ];
    }
    counter
}

/// A multiple of 2^-digits in [0, 1).
fn uniform(bits: u64, digits: u32) -> f64 {
    (bits >> (64 - digits)) as f64 * 2f64.powi(-(digits as i32))
}

/// The normal numbers below which a share of p lies, p being the middle of one of 2^53 cells: Wichura's AS 241.
///
/// All are first taken for central ones, of which 85 in 100 are, because a loop without branches is a fast one.
fn normals(bits: &[u64; BATCH]) -> [f64; BATCH] {
    let (mut shares, mut numbers) = ([0.0; BATCH], [0.0; BATCH]);
    for n in 0..BATCH {
        let p = ((bits[n] >> 11) as f64 + 0.5) * 2f64.powi(-53);
        let q = p - 0.5;
        shares[n] = p;
        numbers[n] = q * ratio(&CENTRE, 0.180625 - q * q);
    }
    for (number, p) in numbers.iter_mut().zip(shares) {
        if (p - 0.5).abs() > 0.425 {
            *number = outer(p);
        }
    }
    numbers
}

/// A normal number far from 0.
fn outer(p: f64) -> f64 {
    let q = p - 0.5;
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-ln(tail)).sqrt();
    let x = if r <= 5.0 {
        ratio(&SIDES, r - 1.6)
    } else {
        ratio(&TAILS, r - 5.0)
    };
    if q < 0.0 { -x } else { x }
}

/// Numerator and denominator, highest power first.
type Ratio = [[f64; 8]; 2];

fn ratio([above, below]: &Ratio, x: f64) -> f64 {
    let value = |terms: &[f64; 8]| terms.iter().fold(0.0, |sum, term| sum * x + term);
    value(above) / value(below)
}

/// Natural logarithm of a number in (0, 1], to about 1e-16, by the series of atanh.
fn ln(x: f64) -> f64 {
    let exponent = (x.to_bits() >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(x.to_bits() & ((1 << 52) - 1) | 1023 << 52);
    let (mantissa, exponent) = if mantissa > std::f64::consts::SQRT_2 {
        (mantissa / 2.0, exponent + 1)
    } else {
        (mantissa, exponent)
    };
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let terms = (0..13).rev().map(|k| 1.0 / f64::from(2 * k + 1));
    let series = terms.fold(0.0, |sum, term| sum * (s * s) + term);
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

#[expect(clippy::excessive_precision, reason = "as published")]
const CENTRE: Ratio = [
    [
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080,
    ],
    [
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ],
];

#[expect(clippy::excessive_precision, reason = "as published")]
const SIDES: Ratio = [
    [
        7.7454501427834140764e-4,
        2.2723844989269184586e-2,
        2.4178072517745061177e-1,
        1.2704582524523683826,
        3.6478483247632046050,
        5.7694972214606914055,
        4.6303378461565452959,
        1.4234371107496835773,
    ],
    [
        1.0507500716444168432e-9,
        5.4759380849953449460e-4,
        1.5198666563616457197e-2,
        1.4810397642748007459e-1,
        6.8976733498510000455e-1,
        1.6763848301838038494,
        2.0531916266377588219,
        1.0,
    ],
];

#[expect(clippy::excessive_precision, reason = "as published")]
const TAILS: Ratio = [
    [
        2.0103343992922881327e-7,
        2.7115555687434875782e-5,
        1.2426609473880784386e-3,
        2.6532189526576123093e-2,
        2.9656057182850489123e-1,
        1.7848265399172913358,
        5.4637849111641143699,
        6.6579046435011037772,
    ],
    [
        2.0442631033899397856e-15,
        1.4215117583164458887e-7,
        1.8463183175100546818e-5,
        7.8686913114561325907e-4,
        1.4875361290850614853e-2,
        1.3692988092273580576e-1,
        5.9983220655588793769e-1,
        1.0,
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(site: u32) -> Draw<'static> {
        Draw {
            param: "w",
            step: 3,
            site,
        }
    }

    fn numbers(noise: &Noise, draw: Draw<'_>, distribution: Distribution) -> Vec<f64> {
        let mut found = Vec::new();
        noise.fill(draw, distribution, DType::F64, 40_000, |_, x| found.push(x));
        found
    }

    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(
            philox([[0]; 4], [0; 2]),
            [[0x6627_e8d5], [0xe169_c58d], [0xbc57_ac4c], [0x9b00_dbd8]]
        );
        assert_eq!(
            philox([[u32::MAX]; 4], [u32::MAX; 2]),
            [[0x408f_276d], [0x41c8_3b0e], [0xa20b_c7c6], [0x6d54_51fd]]
        );
    }

    #[test]
    fn quantiles_are_those_of_the_normal_distribution() {
        let at = |p: f64| normals(&[((p * 2f64.powi(53)) as u64) << 11; BATCH])[0];
        for (p, x) in [
            (0.5, 0.0),
            (0.841_344_746_068_542_9, 1.0),
            (0.022_750_131_948_179_2, -2.0),
            (0.999_999_713_348_428_1, 5.0),
        ] {
            assert!((at(p) - x).abs() < 1e-9, "{p}: {}", at(p));
        }
        // One of 2^53 cells is not narrow so far out.
        assert!((at(1e-12) + 7.034_483_825_301_131).abs() < 1e-5);
    }

    #[test]
    fn logarithms() {
        for x in [1e-17, 3e-9, 0.07, 0.5, 0.999, 1.0] {
            assert!((ln(x) - x.ln()).abs() < 1e-14, "{x}");
        }
    }

    #[test]
    fn numbers_do_not_depend_on_the_range_they_are_drawn_in() {
        let all = numbers(&Noise::Seeded(1), draw(0), Distribution::Normal);
        let drawn = Noise::Seeded(1).numbers(draw(0), Distribution::Normal, DType::F64);
        for range in [0..1, 1..2, 63..64, 7..300, 299..300, 300..300] {
            let mut found = Vec::new();
            drawn.each(range.clone(), |n, x| found.push((n, x)));
            let expected: Vec<_> = range.map(|n| (n, all[n as usize])).collect();
            assert_eq!(found, expected);
        }
    }

    /// A changed number would change every run that was ever recorded.
    #[test]
    fn numbers_stay_what_they_are() {
        let all = numbers(&Noise::Seeded(1), draw(0), Distribution::Normal);
        let fold = |hash: u64, x: &f64| mixed(hash ^ x.to_bits());
        assert_eq!(all.iter().fold(0, fold), 0x4934_e4c8_b876_9043);
    }

    #[test]
    fn moments() {
        let normal = numbers(&Noise::Seeded(1), draw(0), Distribution::Normal);
        let mean = |f: &dyn Fn(f64) -> f64| {
            normal.iter().map(|&x| f(x)).sum::<f64>() / normal.len() as f64
        };
        assert!(mean(&|x| x).abs() < 0.02);
        assert!((mean(&|x| x * x) - 1.0).abs() < 0.03);
        assert!((mean(&|x| x.powi(4)) - 3.0).abs() < 0.2);
        let uniform = numbers(&Noise::Seeded(1), draw(0), Distribution::Uniform);
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = uniform.iter().sum::<f64>() / uniform.len() as f64;
        assert!((mean - 0.5).abs() < 0.01);
    }

    #[test]
    fn everything_in_the_key_matters() {
        let of =
            |seed, draw| numbers(&Noise::Seeded(seed), draw, Distribution::Normal)[..4].to_vec();
        let base = of(1, draw(0));
        assert_eq!(base, of(1, draw(0)));
        let others = [
            of(2, draw(0)),
            of(1, draw(1)),
            of(1, Draw { step: 4, ..draw(0) }),
            of(
                1,
                Draw {
                    param: "v",
                    ..draw(0)
                },
            ),
        ];
        assert!(others.iter().all(|other| *other != base));
    }

    #[test]
    fn uniform_numbers_fit_their_dtype() {
        Noise::default().fill(draw(0), Distribution::Uniform, DType::BF16, 1000, |_, x| {
            assert!(x < 1.0 && DType::BF16.round(x) == x);
        });
    }
}
