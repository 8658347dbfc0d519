//! Which kernels an optimizer is likely to need: what an artifact carries.
//!
//! Rules are specialised when they are bound, so the set of kernels is open; but kernels know no dimensions, and few
//! differ. This module plans the optimizer for a sample of shapes (every rank up to 4, tall, wide and square, with equal
//! and different axes, below and above each int static, which is how limits are written) and for each static and each
//! two of them switched, more where there are few; an int that is 0 is off, and switched on. A kernel that is met only outside the sample is compiled by the quick tier when it is bound.

use crate::dtype::DType;
use crate::hir::{OptimizerId, Program, Static, StaticType};
use crate::kernel::MapKernel;
use crate::lower::{self, Spec, rule_for};
use crate::plan::{Plan, Thunk};
use crate::settings::{Overrides, Settings, StaticValue, settle};
use crate::specialize::{entry_plans, plan_for};
use std::collections::BTreeMap;

/// What an artifact should carry for an optimizer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variants {
    /// The kernels, by hash.
    pub kernels: BTreeMap<String, MapKernel>,
    /// The dtypes of matrix products.
    pub products: Vec<DType>,
    /// Whether a rule calls factorizations.
    pub calls: bool,
}

/// Collects the kernels of one optimizer bound with `overrides`, for parameters of the given dtypes.
pub fn variants(
    program: &Program,
    optimizer: OptimizerId,
    overrides: &Overrides,
    dtypes: &[DType],
) -> Variants {
    let mut found = Variants::default();
    let names = names(program);
    for (n, settings) in switched(program, optimizer, overrides).iter().enumerate() {
        let shapes = shapes(program, optimizer, settings, n == 0);
        let each = |&dtype| {
            let named = names
                .iter()
                .flat_map(|name| shapes.iter().map(move |dims| (name, dims)));
            named.map(move |(name, dims)| (dtype, name, dims))
        };
        for (dtype, name, dims) in dtypes.iter().flat_map(each) {
            if let Some(rule) = rule_for(program, optimizer, settings, (name, dims)) {
                let spec = Spec {
                    program,
                    optimizer,
                    settings,
                    rule,
                    name,
                    dims,
                    dtype,
                    grad_dtype: dtype,
                };
                found.add(plan_for(&spec));
                for entry in entry_plans(&spec) {
                    found.add(Plan::clone(&entry.plan));
                }
            }
        }
    }
    found
}

/// Names that rules tell apart.
fn names(program: &Program) -> Vec<String> {
    let mut answered: BTreeMap<Vec<bool>, String> = BTreeMap::new();
    for name in lower::examples(program) {
        answered
            .entry(lower::answers(program, &name))
            .or_insert(name);
    }
    answered.into_values().collect()
}

impl Variants {
    fn add(&mut self, plan: Plan) {
        for sum in &plan.sums {
            self.add(Plan::clone(&sum.plan));
        }
        for thunks in [&plan.init, &plan.body] {
            self.look_at(thunks);
        }
        self.kernels.extend(
            plan.kernels
                .into_iter()
                .map(|kernel| (kernel.hash(), kernel)),
        );
    }

    fn look_at(&mut self, thunks: &[Thunk]) {
        for thunk in thunks {
            match thunk {
                Thunk::Gemm(gemm) if !self.products.contains(&gemm.dtype) => {
                    self.products.push(gemm.dtype)
                }
                Thunk::Call { .. } => self.calls = true,
                Thunk::If {
                    then, otherwise, ..
                }
                | Thunk::IfFlag {
                    then, otherwise, ..
                } => {
                    self.look_at(then);
                    self.look_at(otherwise);
                }
                _ => {}
            }
        }
    }
}

/// More settings than this are not planned only to meet a kernel that three or more switched statics need.
const ENOUGH: usize = 32;

/// The settings as given, then with each bool, choice, dtype and int that is off switched alone, with every two of them,
/// and with more while there are few.
fn switched(program: &Program, optimizer: OptimizerId, overrides: &Overrides) -> Vec<Settings> {
    let Ok(given) = settle(program, optimizer, overrides) else {
        return Vec::new();
    };
    let statics = &program.optimizers[optimizer].statics;
    let mut all = Vec::new();
    let mut latest = vec![(0, given)];
    for switches in 0.. {
        let next: Vec<_> = latest
            .iter()
            .flat_map(|(from, settings)| switch_one(statics, settings, *from))
            .collect();
        all.extend(latest.into_iter().map(|(_, settings)| settings));
        if next.is_empty() || switches >= 2 && all.len() + next.len() > ENOUGH {
            break;
        }
        latest = next;
    }
    all
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

/// Shapes below and above every int static; all of them for the given settings, the plain ones for switched ones.
fn shapes(
    program: &Program,
    optimizer: OptimizerId,
    settings: &Settings,
    all: bool,
) -> Vec<Vec<u64>> {
    let mut shapes: Vec<Vec<u64>> = [
        &[][..],
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
    ]
    .map(<[u64]>::to_vec)
    .to_vec();
    if !all {
        return shapes;
    }
    let limits = program.optimizers[optimizer]
        .statics
        .iter()
        .zip(&settings.statics)
        .filter_map(|(declared, value)| match (&declared.ty, value) {
            (StaticType::Int, StaticValue::Number(limit)) if (64.0..1e9).contains(limit) => {
                Some(*limit as u64 + 1)
            }
            _ => None,
        });
    for large in limits {
        let small: Vec<Vec<u64>> = shapes
            .iter()
            .filter(|dims| dims.iter().all(|&d| d < 64))
            .cloned()
            .collect();
        for dims in small {
            for mask in 1u32..1 << dims.len() {
                let stretched = dims
                    .iter()
                    .enumerate()
                    .map(|(n, &d)| if mask >> n & 1 == 1 { large + d } else { d });
                shapes.push(stretched.collect());
            }
        }
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::source::Sources;

    struct Nothing;

    impl Sources for Nothing {
        fn read(&self, _: &str) -> Option<String> {
            None
        }
        fn modules(&self) -> Vec<String> {
            Vec::new()
        }
    }

    const LOW_RANK: &str = "optimizer Low {
        static rank: int = 0 in [0, inf)
        static most: int = 0 in [0, 1]
        rule low(w: [m, n]) where rank > 0 and most == 0 {
            state basis: [m, rank] = 0
            basis = grad * ones_like(grad' * basis)
            w -= basis * basis' * grad / (1 + abs(w))
        }
        rule other(w: [...]) { w -= grad }
    }";

    fn planned(program: &Program, rank: f64) -> Plan {
        let id = program.roots[0];
        let statics = [("rank".to_owned(), StaticValue::Number(rank))];
        let overrides = Overrides {
            statics: statics.into(),
            ..Overrides::default()
        };
        let settings = settle(program, id, &overrides).expect("settings");
        let dims = &[9, 9];
        plan_for(&Spec {
            program,
            optimizer: id,
            settings: &settings,
            rule: rule_for(program, id, &settings, ("w", dims)).expect("a rule"),
            name: "w",
            dims,
            dtype: DType::F32,
            grad_dtype: DType::F32,
        })
    }

    #[test]
    fn a_rank_that_is_off_is_switched_on() {
        let program = check("shown", LOW_RANK, &Nothing)
            .expect("no mistakes")
            .program;
        let found = variants(
            &program,
            program.roots[0],
            &Overrides::default(),
            &[DType::F32],
        );
        assert_eq!(found.products, [DType::F32]);
        for rank in [3.0, 5.0] {
            for kernel in planned(&program, rank).kernels {
                assert!(found.kernels.contains_key(&kernel.hash()), "rank {rank}");
            }
        }
    }
}
