//! `sin`, `cos` and `atan2`: errors, special cases, and that host numbers get the same bits.

use super::*;
use crate::host_math;
use std::f64::consts::{FRAC_PI_2, PI};

type Truth = fn(f64, f64) -> f64;

const SIN: Expansion = |b, compute, x, _| sin(b, compute, x);
const COS: Expansion = |b, compute, x, _| cos(b, compute, x);
const BOTH: [(Expansion, Truth); 2] = [(SIN, |x, _| x.sin()), (COS, |x, _| x.cos())];

/// Angles up to the reach, small ones, and the numbers next to multiples of pi / 2, where most bits cancel.
fn angles(compute: DType) -> Vec<(f64, f64)> {
    let reach = if compute == DType::F32 { 1e5 } else { 1e9 };
    let turns = (reach / FRAC_PI_2) as usize;
    let beside = (1..=turns).step_by(turns / 60_000 + 1).flat_map(|k| {
        let x = kernel_eval::round_once(compute, k as f64 * FRAC_PI_2);
        [(x, 0.0), (-x, 0.0)]
    });
    sweep(compute, -reach, reach, 100_000)
        .into_iter()
        .chain(sweep(compute, -10.0, 10.0, 100_000))
        .chain(sweep(compute, -1e-3, 1.1e-3, 10_000))
        .chain(beside)
        .collect()
}

/// Points in all directions, at all distances.
fn points(compute: DType) -> Vec<(f64, f64)> {
    let most = if compute == DType::F32 { 30.0 } else { 300.0 };
    let round = |x| kernel_eval::round_once(compute, x);
    let polar = (0..200_000).map(|n| {
        let angle = PI * (n as f64 / 100_000.0 - 1.0);
        let size = 10f64.powf(most * (f64::from(n % 201) / 100.0 - 1.0));
        (round(size * angle.sin()), round(size * angle.cos()))
    });
    let slopes = positive(compute, 20_000)
        .into_iter()
        .flat_map(|(x, _)| [(x, 1.0), (x, -1.0), (-x, 1.0), (1.0, -x), (3.0, x)]);
    polar.chain(slopes).collect()
}

#[test]
fn sin_and_cos_are_accurate() {
    for (expansion, truth) in BOTH {
        within(0.9, expansion, DType::F32, &angles(DType::F32), truth);
        within(1.5, expansion, DType::F64, &angles(DType::F64), truth);
    }
}

#[test]
fn atan2_is_accurate() {
    within(1.6, atan2, DType::F32, &points(DType::F32), f64::atan2);
    within(2.0, atan2, DType::F64, &points(DType::F64), f64::atan2);
}

#[test]
fn beyond_the_reach_the_circle_is_not_left() {
    for (expansion, _) in BOTH {
        for (compute, most) in [(DType::F32, 38.5), (DType::F64, 308.0)] {
            let exponents = sweep(DType::F64, 5.0, most, 20_000).into_iter();
            let angles: Vec<_> = exponents
                .map(|(e, _)| (kernel_eval::round_once(compute, 10f64.powf(e)), 0.0))
                .collect();
            let results = evaluate(expansion, compute, &angles);
            assert!(results.iter().all(|y| y.abs() <= 1.0));
        }
    }
}

#[test]
fn angles_that_are_none() {
    gives(SIN, &[(0.0, 0.0, 0.0), (-0.0, 0.0, -0.0)]);
    gives(SIN, &[(INF, 0.0, NAN), (-INF, 0.0, NAN), (NAN, 0.0, NAN)]);
    gives(COS, &[(0.0, 0.0, 1.0), (-0.0, 0.0, 1.0)]);
    gives(COS, &[(INF, 0.0, NAN), (-INF, 0.0, NAN), (NAN, 0.0, NAN)]);
    let least = 2f64.powi(-140);
    gives(SIN, &[(least, 0.0, least), (-least, 0.0, -least)]);
}

/// Zeros, ones and infinities of both signs: quadrants, and signs of zero, are those of IEEE 754.
#[test]
fn special_points_are_those_of_the_standard() {
    let values = [0.0, -0.0, 1.0, -1.0, INF, -INF, NAN];
    let all = values
        .iter()
        .flat_map(|&y| values.iter().map(move |&x| (y, x)));
    let cases: Vec<(f64, f64)> = all.collect();
    for compute in [DType::F32, DType::F64] {
        for (&(y, x), actual) in cases.iter().zip(evaluate(atan2, compute, &cases)) {
            let expected = kernel_eval::round_once(compute, y.atan2(x));
            let same = actual.to_bits() == expected.to_bits();
            let both_none = actual.is_nan() && expected.is_nan();
            assert!(
                same || both_none,
                "{compute}: {y}, {x} gives {actual:e}, not {expected:e}"
            );
        }
    }
}

#[test]
fn host_numbers_get_the_same_bits() {
    let mut cases = angles(DType::F64);
    cases.extend(points(DType::F64));
    cases.extend([0.0, -0.0, INF, -INF, NAN, 1e17, -1e300].map(|x| (x, 1.0)));
    cases.extend([0.0, -0.0, INF, -INF, NAN, 1.0].map(|x| (-0.0, x)));
    let functions: [(Expansion, Truth); 3] = [
        (SIN, |x, _| host_math::sin(x)),
        (COS, |x, _| host_math::cos(x)),
        (atan2, host_math::atan2),
    ];
    for (expansion, host) in functions {
        for (&(a, b), actual) in cases.iter().zip(evaluate(expansion, DType::F64, &cases)) {
            let expected = host(a, b);
            let same = actual.to_bits() == expected.to_bits();
            assert!(
                same || (actual.is_nan() && expected.is_nan()),
                "{a:e}, {b:e}"
            );
        }
    }
}
