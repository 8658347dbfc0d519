//! Errors in units of the last place over whole ranges, and the special cases.

use super::*;
use crate::kernel::{Access, Input, MapKernel, Output, OutputKind, Space};
use crate::kernel_eval;
use crate::kernel_verify::verify;

type Expansion = fn(&mut Vec<Inst>, DType, Val, Val) -> Val;

const EXP: Expansion = |b, compute, x, _| exp(b, compute, x);
const LOG: Expansion = |b, compute, x, _| log(b, compute, x);
const TANH: Expansion = |b, compute, x, _| tanh(b, compute, x);

fn evaluate(expansion: Expansion, compute: DType, points: &[(f64, f64)]) -> Vec<f64> {
    let mut insts = vec![Inst::Load(0), Inst::Load(1)];
    let value = expansion(&mut insts, compute, 0, 1);
    let kernel = MapKernel {
        space: Space::Flat,
        compute,
        inputs: vec![
            Input {
                dtype: compute,
                access: Access::Full
            };
            2
        ],
        scalars: 0,
        insts,
        outputs: vec![Output {
            value,
            dtype: compute,
            kind: OutputKind::Store,
        }],
    };
    verify(&kernel).unwrap();
    let (xs, ss): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    kernel_eval::run(&kernel, &[&xs, &ss], &[], points.len() as u64, 1).remove(0)
}

/// The distance in units of the last place of `expected`, as the compute type has it.
fn ulps(compute: DType, actual: f64, expected: f64) -> f64 {
    let size = expected.abs();
    let unit = match compute {
        DType::F32 => f64::from((size as f32).next_up()) - f64::from(size as f32),
        _ => size.next_up() - size,
    };
    (actual - expected).abs() / unit
}

/// Holds every result that is normal to `bound`, and what is infinite, zero or NaN to be so.
#[track_caller]
fn within(
    bound: f64,
    expansion: Expansion,
    compute: DType,
    points: &[(f64, f64)],
    truth: fn(f64, f64) -> f64,
) {
    let least = if compute == DType::F32 {
        f64::from(f32::MIN_POSITIVE)
    } else {
        f64::MIN_POSITIVE
    };
    let mut worst = (0.0, 0.0, 0.0);
    for (&(x, s), actual) in points.iter().zip(evaluate(expansion, compute, points)) {
        let expected = truth(x, s);
        let rounded = kernel_eval::round_once(compute, expected);
        if !rounded.is_finite() || rounded.abs() < least {
            let near = rounded.is_finite() && ulps(compute, actual, rounded) <= 1.0;
            assert!(
                near || actual == rounded || (actual.is_nan() && rounded.is_nan()),
                "{x:e}, {s:e}: {actual:e}"
            );
            continue;
        }
        assert!(!actual.is_nan(), "NaN at {x:e}, {s:e}");
        let error = ulps(compute, actual, expected);
        if error > worst.0 {
            worst = (error, x, s);
        }
    }
    assert!(
        worst.0 <= bound,
        "{} ulp at {:e}, {:e}",
        worst.0,
        worst.1,
        worst.2
    );
}

/// Numbers of the compute type spread evenly over a range.
fn sweep(compute: DType, from: f64, to: f64, count: usize) -> Vec<(f64, f64)> {
    let at =
        |n: usize| kernel_eval::round_once(compute, from + (to - from) * n as f64 / count as f64);
    (0..=count).map(|n| (at(n), 0.0)).collect()
}

/// Positive numbers of every magnitude, and many near 1.
fn positive(compute: DType, count: usize) -> Vec<(f64, f64)> {
    let (least, most) = if compute == DType::F32 {
        (-149.0, 127.99)
    } else {
        (-1074.0, 1023.99)
    };
    let wide = sweep(DType::F64, least, most, count);
    let wide = wide
        .into_iter()
        .map(|(e, _)| (kernel_eval::round_once(compute, e.exp2()), 0.0));
    wide.chain(sweep(compute, 0.5, 2.0, count)).collect()
}

// The f64 bounds are wider than the errors: the truth they are held to is itself only good to half a unit or so.

#[test]
fn exp_is_accurate() {
    within(
        0.7,
        EXP,
        DType::F32,
        &sweep(DType::F32, -110.0, 95.0, 200_000),
        |x, _| x.exp(),
    );
    within(
        0.7,
        EXP,
        DType::F32,
        &sweep(DType::F32, -1.0, 1.0, 100_000),
        |x, _| x.exp(),
    );
    within(
        1.3,
        EXP,
        DType::F64,
        &sweep(DType::F64, -760.0, 720.0, 100_000),
        |x, _| x.exp(),
    );
    within(
        1.3,
        EXP,
        DType::F64,
        &sweep(DType::F64, -1.0, 1.0, 100_000),
        |x, _| x.exp(),
    );
}

#[test]
fn log_is_accurate() {
    within(
        0.9,
        LOG,
        DType::F32,
        &positive(DType::F32, 100_000),
        |x, _| x.ln(),
    );
    within(
        1.5,
        LOG,
        DType::F64,
        &positive(DType::F64, 100_000),
        |x, _| x.ln(),
    );
}

#[test]
fn tanh_is_accurate() {
    within(
        1.2,
        TANH,
        DType::F32,
        &sweep(DType::F32, -12.0, 12.0, 200_000),
        |x, _| x.tanh(),
    );
    within(
        1.2,
        TANH,
        DType::F32,
        &sweep(DType::F32, -1e-3, 1.1e-3, 10_000),
        |x, _| x.tanh(),
    );
    within(
        2.0,
        TANH,
        DType::F64,
        &sweep(DType::F64, -21.0, 21.0, 100_000),
        |x, _| x.tanh(),
    );
}

#[test]
fn pow_is_accurate() {
    for compute in [DType::F32, DType::F64] {
        let bases = positive(compute, 2_000);
        let exponents = [
            -3.5,
            -2.0,
            -1.0,
            -0.5,
            -0.25,
            1.0 / 3.0,
            0.5,
            0.75,
            1.0,
            1.5,
            2.0,
            3.0,
            7.0,
            100.25,
            1e4,
        ];
        let with = |s: f64| {
            let s = kernel_eval::round_once(compute, s);
            bases.iter().map(move |&(x, _)| (x, s))
        };
        let points: Vec<(f64, f64)> = exponents.into_iter().flat_map(with).collect();
        within(
            if compute == DType::F32 { 0.7 } else { 1.3 },
            pow,
            compute,
            &points,
            f64::powf,
        );
    }
}

#[test]
fn whole_powers_of_small_numbers_are_exact() {
    for compute in [DType::F32, DType::F64] {
        let points: Vec<(f64, f64)> = (-12..=12)
            .flat_map(|x| (0..=5).map(move |s| (x.into(), s.into())))
            .collect();
        for (&(x, s), actual) in points.iter().zip(evaluate(pow, compute, &points)) {
            assert_eq!(actual, x.powi(s as i32), "{x}^{s}, {compute}");
        }
    }
}

#[track_caller]
fn gives(expansion: Expansion, cases: &[(f64, f64, f64)]) {
    for compute in [DType::F32, DType::F64] {
        let points: Vec<(f64, f64)> = cases.iter().map(|&(x, s, _)| (x, s)).collect();
        for (&(x, s, expected), actual) in cases.iter().zip(evaluate(expansion, compute, &points)) {
            let same =
                actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
            assert!(
                same,
                "{compute}: {x:e}, {s:e} gives {actual:e}, not {expected:e}"
            );
        }
    }
}

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

#[test]
fn limits() {
    gives(
        EXP,
        &[
            (0.0, 0.0, 1.0),
            (-0.0, 0.0, 1.0),
            (INF, 0.0, INF),
            (-INF, 0.0, 0.0),
            (NAN, 0.0, NAN),
        ],
    );
    gives(EXP, &[(1e30, 0.0, INF), (-1e30, 0.0, 0.0)]);
    gives(
        LOG,
        &[
            (1.0, 0.0, 0.0),
            (0.0, 0.0, -INF),
            (-0.0, 0.0, -INF),
            (-1.0, 0.0, NAN),
            (-INF, 0.0, NAN),
        ],
    );
    gives(LOG, &[(INF, 0.0, INF), (NAN, 0.0, NAN)]);
    gives(
        TANH,
        &[
            (0.0, 0.0, 0.0),
            (-0.0, 0.0, -0.0),
            (INF, 0.0, 1.0),
            (-INF, 0.0, -1.0),
            (NAN, 0.0, NAN),
        ],
    );
    gives(
        TANH,
        &[
            (50.0, 0.0, 1.0),
            (-1e30, 0.0, -1.0),
            (2f64.powi(-140), 0.0, 2f64.powi(-140)),
        ],
    );
}

#[test]
fn limits_of_pow_are_those_of_the_standard() {
    let values = [
        0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -1e30, 1e30, INF, -INF, NAN,
    ];
    let all = values
        .iter()
        .flat_map(|&x| values.iter().map(move |&s| (x, s, x.powf(s))));
    let exact: Vec<(f64, f64, f64)> = all
        .filter(|(.., y)| !y.is_normal() || y.abs() == 1.0)
        .collect();
    gives(pow, &exact);
}

#[test]
fn underflow_is_gradual() {
    let results = evaluate(
        EXP,
        DType::F32,
        &[(-100.0, 0.0), (-103.0, 0.0), (-104.5, 0.0)],
    );
    assert_eq!(results, [27.0, 1.0, 0.0].map(|n| n * 2f64.powi(-149)));
}

mod circle;
