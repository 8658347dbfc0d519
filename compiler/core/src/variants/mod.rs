//! Which kernels an optimizer is likely to need: what an artifact carries.
//!
//! Rules are specialised when they are bound, so the set of kernels is open; but kernels know no dimensions, and few
//! differ. This module plans the optimizer for the settings and shapes of [`sample`]: each static switched, each two of
//! them, and more where there are few. Shapes that need the same kernels under every single switch stand for each other
//! when more are switched. A kernel that is met only outside the sample is compiled by the quick tier when it is bound;
//! what is too large to be bound is left out.

mod sample;
mod survey;

use crate::dtype::DType;
use crate::hir::{OptimizerId, Program};
use crate::kernel::MapKernel;
use crate::plan::{Plan, Thunk};
use crate::settings::{Overrides, settle};
use std::collections::BTreeMap;
use survey::Survey;

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
    let Ok(given) = settle(program, optimizer, overrides) else {
        return Variants::default();
    };
    let statics = &program.optimizers[optimizer].statics;
    let mut survey = Survey::new(program, optimizer, dtypes);
    let mut places = survey.places(&sample::plain());
    let limits = sample::limits(statics, &given);
    let first = given.clone();
    for (switches, settings) in sample::rounds(statics, given).iter().enumerate() {
        if switches == 2 {
            places = survey.distinct(&places);
        }
        match switches {
            0 | 1 => survey.compare(settings, &places),
            _ => survey.visit(settings, &places),
        }
    }
    limits
        .into_iter()
        .for_each(|limit| survey.beyond(limit, &first));
    survey.found
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
                Thunk::Gemm(gemm) => self.product(gemm.dtype),
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

    fn product(&mut self, dtype: DType) {
        if !self.products.contains(&dtype) {
            self.products.push(dtype);
        }
    }

    fn merge(&mut self, other: Variants) {
        self.kernels.extend(other.kernels);
        other
            .products
            .into_iter()
            .for_each(|dtype| self.product(dtype));
        self.calls |= other.calls;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::lower::{Spec, rule_for};
    use crate::settings::StaticValue;
    use crate::source::Embedded;
    use crate::specialize::plan_for;

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
            rule: rule_for(program, id, &settings, ("w", dims))
                .expect("no guard loops")
                .expect("a rule"),
            name: "w",
            dims,
            dtype: DType::F32,
            grad_dtype: DType::F32,
        })
        .expect("a small rule")
    }

    #[test]
    fn a_rank_that_is_off_is_switched_on() {
        let program = check("shown", LOW_RANK, &Embedded::NOTHING)
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
