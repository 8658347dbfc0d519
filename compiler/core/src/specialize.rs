//! From a checked program to the plans of one parameter: the whole middle of the compiler in one call.

use crate::hir::Signature;
use crate::ir::Function;
use crate::lower::{self, Spec, lower};
use crate::passes;
use crate::plan::Plan;
use crate::planner;
use std::sync::Arc;

/// The plan of one rule for one parameter; one that is too large says so, and is empty.
pub fn plan_for(spec: &Spec<'_>) -> Plan {
    plan(lower(spec))
}

fn plan(function: Function) -> Plan {
    match function.too_large {
        true => Plan {
            too_large: true,
            ..Plan::default()
        },
        false => planner::plan(&passes::optimize(function)),
    }
}

/// The optimized IR of one rule for one parameter.
pub fn function_for(spec: &Spec<'_>) -> Function {
    passes::optimize(lower(spec))
}

/// An entry of a rule, planned for one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryPlan {
    /// What callers see of it.
    pub signature: Signature,
    /// A parameter without a gradient is left out.
    pub reads_grad: bool,
    /// Its slots are those of the step, then its tensors; its host inputs those of the optimizer, then its numbers.
    pub plan: Arc<Plan>,
}

/// The plans of all entries of one rule for one parameter.
pub fn entry_plans(spec: &Spec<'_>) -> Vec<EntryPlan> {
    if spec.program.entries(spec.optimizer).is_empty() {
        return Vec::new();
    }
    let planned = |(signature, reads_grad): (Signature, bool)| {
        let function = lower::lower_entry(spec, &signature.name)?;
        Some(EntryPlan {
            plan: Arc::new(plan(function)),
            signature,
            reads_grad,
        })
    };
    lower::entries(spec)
        .into_iter()
        .filter_map(planned)
        .collect()
}
