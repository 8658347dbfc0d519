//! `sin`, `cos` and `atan2` of host numbers: the steps of [`crate::kernel_math`] in f64, without a kernel.
//!
//! ```
//! use optc_core::host_math::{atan2, cos};
//!
//! assert_eq!(cos(0.0), 1.0);
//! assert_eq!(atan2(1.0, 0.0), std::f64::consts::FRAC_PI_2);
//! ```
//!
//! A schedule computed from `step` is so the same on every machine, and the same as that of a tensor in f64: a test
//! holds the two to each other, bit for bit.

use crate::kernel_math::circle::{EIGHTH, F64, MOST_QUARTERS};

/// The sine.
pub fn sin(x: f64) -> f64 {
    sine(x.abs(), 0) * 1f64.copysign(x)
}

/// The cosine.
pub fn cos(x: f64) -> f64 {
    sine(x.abs(), 1)
}

/// The angle between the positive x axis and the point (`x`, `y`), from -pi to pi.
pub fn atan2(y: f64, x: f64) -> f64 {
    let (tall, wide) = (y.abs(), x.abs());
    let t = smaller_over_larger(tall, wide);
    let z = t * t;
    let bend = match t == 1.0 {
        true => F64.corner(),
        false => t * (z * polynomial(F64.atan, z)),
    };
    let side = 1f64.copysign(x);
    let (quarters, way) = match tall > wide {
        true => (1.0, -side),
        false => (1.0 - side, side),
    };
    let [high, low] = F64.half_pi.map(|word| quarters * word);
    let (sum, dropped) = fast_two_sum(high, way * t);
    (sum + (dropped + low - way * bend)).copysign(y)
}

fn smaller_over_larger(a: f64, b: f64) -> f64 {
    match (a == b, a == 0.0) {
        (true, true) => 0.0,
        (true, false) => 1.0,
        _ if a > b => b / a,
        _ => a / b,
    }
}

/// The sine of `size + ahead` quarters.
fn sine(size: f64, ahead: i64) -> f64 {
    let (quarters, r, low) = quarters_and_rest(size);
    let z = r * r;
    let half = z * 0.5;
    let turn = quarters + ahead;
    let result = if turn % 2 == 0 {
        r + (r * (z * polynomial(F64.sin, z)) + low * (1.0 - half))
    } else {
        let (line, dropped) = fast_two_sum(1.0, -half);
        line + (dropped + (z * (z * polynomial(F64.cos, z)) - r * low))
    };
    if turn & 2 == 0 { result } else { -result }
}

fn quarters_and_rest(size: f64) -> (i64, f64, f64) {
    let n = (size * std::f64::consts::FRAC_2_PI).round_ties_even();
    let [first, second, third, fourth] = F64.quarter;
    let (fine, finer) = two_product(n, third);
    let (rest, dropped) = two_difference(size - n * first - n * second, fine);
    let (high, low) = fast_two_sum(rest, dropped - finer - n * fourth);
    let low = if size <= F64.reach { low } else { 0.0 };
    (
        n.min(MOST_QUARTERS) as i64,
        high.clamp(-EIGHTH, EIGHTH),
        low,
    )
}

fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

fn two_difference(a: f64, b: f64) -> (f64, f64) {
    let high = a - b;
    let taken = high - a;
    (high, (a - (high - taken)) - (b + taken))
}

fn two_product(a: f64, b: f64) -> (f64, f64) {
    let high = a * b;
    let [a, b] = [a, b].map(|x| {
        let upper = f64::from_bits(x.to_bits() & !0x7ff_ffff);
        (upper, x - upper)
    });
    let error = (a.0 * b.0 - high) + a.0 * b.1 + a.1 * b.0;
    (high, error + a.1 * b.1)
}

fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    let Some((&last, lower)) = coefficients.split_last() else {
        return 0.0;
    };
    let add = |sum: f64, &coefficient: &f64| sum * x + coefficient;
    lower.iter().rev().fold(last, add)
}
