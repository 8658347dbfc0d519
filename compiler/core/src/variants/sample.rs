//! The settings and shapes for which an optimizer is planned.
//!
//! Shapes are every rank up to 4, tall, wide and square, with equal and different axes, and below and above each int
//! static, which is how limits are written. An int that is 0 is off, and switched on.

use crate::hir::{Static, StaticType};
use crate::settings::{Settings, StaticValue};
use std::collections::BTreeSet;

/// More settings than this are not planned only to meet a kernel that three or more switched statics need.
const ENOUGH: usize = 32;

/// The settings as given, then with each bool, choice, dtype and int that is off switched alone, with every two of them,
/// and with more while there are few.
pub(super) fn rounds(statics: &[Static], given: Settings) -> Vec<Vec<Settings>> {
    let mut rounds = Vec::new();
    let mut count = 0;
    let mut latest = vec![(0, given)];
    for switches in 0.. {
        let next: Vec<_> = latest
            .iter()
            .flat_map(|(from, settings)| switch_one(statics, settings, *from))
            .collect();
        count += latest.len();
        rounds.push(latest.into_iter().map(|(_, settings)| settings).collect());
        if next.is_empty() || switches >= 2 && count + next.len() > ENOUGH {
            break;
        }
        latest = next;
    }
    rounds
}

/// Settings in which one more static, at `from` or behind, is switched; and where the next switch may be.
fn switch_one(statics: &[Static], settings: &Settings, from: usize) -> Vec<(usize, Settings)> {
    let mut found = Vec::new();
    for (index, declared) in statics.iter().enumerate().skip(from) {
        for value in alternatives(declared, &settings.statics[index]) {
            found.push((index + 1, with(settings, index, value)));
        }
    }
    found
}

fn with(settings: &Settings, index: usize, value: StaticValue) -> Settings {
    let mut settings = settings.clone();
    settings.statics[index] = value;
    settings
}

/// What an int that 0 switches off is switched on with: a rank or a limit below the lengths of the sample.
const ON: f64 = 2.0;

fn alternatives(declared: &Static, given: &StaticValue) -> Vec<StaticValue> {
    match (&declared.ty, given) {
        (StaticType::Bool, StaticValue::Bool(b)) => vec![StaticValue::Bool(!b)],
        (StaticType::DType, StaticValue::DType(Some(_))) => vec![StaticValue::DType(None)],
        (StaticType::Choice(words), given) => words
            .iter()
            .map(|word| StaticValue::Word(word.clone()))
            .filter(|word| word != given)
            .collect(),
        (StaticType::Int, StaticValue::Number(0.0))
            if declared
                .range
                .as_ref()
                .is_none_or(|range| range.contains(ON)) =>
        {
            vec![StaticValue::Number(ON)]
        }
        _ => Vec::new(),
    }
}

/// Small shapes of every form.
pub(super) fn plain() -> Vec<Vec<u64>> {
    let shapes: [&[u64]; 16] = [
        &[],
        &[6],
        &[1],
        &[8, 12],
        &[12, 8],
        &[8, 8],
        &[4, 8, 12],
        &[3, 12, 8],
        &[4, 8, 8],
        &[8, 8, 4],
        &[8, 4, 8],
        &[8, 8, 8],
        &[8, 4, 3, 3],
        &[4, 8, 3, 3],
        &[8, 8, 3, 3],
        &[8, 3, 3, 3],
    ];
    shapes.map(<[u64]>::to_vec).to_vec()
}

/// Small shapes whose axes are made longer.
const STRETCHED: [&[u64]; 7] = [
    &[6],
    &[8, 12],
    &[12, 8],
    &[8, 8],
    &[4, 8, 12],
    &[8, 8, 8],
    &[8, 4, 3, 3],
];

/// Axes of one shape that are longer than a limit: more are met in no network, and cost as many blocks as they make.
const LONG: u32 = 2;

/// Shapes with one or two axes longer than that: vectors and matrices, and tensors of higher rank.
pub(super) fn stretched(limit: u64) -> [Vec<Vec<u64>>; 2] {
    let longer = |&dims: &&'static [u64]| {
        let masks = (1u32..1 << dims.len()).filter(|mask| mask.count_ones() <= LONG);
        masks.map(move |mask| stretch(dims, mask, limit))
    };
    let all = STRETCHED.iter().flat_map(longer);
    let (low, high) = all.partition(|dims| dims.len() <= 2);
    [low, high]
}

/// With `limit` and one more than before on every axis of the mask.
fn stretch(dims: &[u64], mask: u32, limit: u64) -> Vec<u64> {
    let one = |(axis, &dim)| {
        if mask >> axis & 1 == 1 {
            limit + 1 + dim
        } else {
            dim
        }
    };
    dims.iter().enumerate().map(one).collect()
}

/// Ints that may be the longest axis a rule takes, in ascending order.
pub(super) fn limits(statics: &[Static], given: &Settings) -> BTreeSet<u64> {
    let limit = |(declared, value): (&Static, &StaticValue)| match (&declared.ty, value) {
        (StaticType::Int, StaticValue::Number(limit)) if (64.0..1e9).contains(limit) => {
            Some(*limit as u64)
        }
        _ => None,
    };
    statics
        .iter()
        .zip(&given.statics)
        .filter_map(limit)
        .collect()
}
