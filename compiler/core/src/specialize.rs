//! From a checked program to the plans of one parameter: the whole middle of the compiler in one call.

use crate::hir::Signature;
use crate::ir::Function;
use crate::lower::{self, LowerError, Spec, lower};
use crate::passes;
use crate::plan::Plan;
use crate::planner;
use std::sync::Arc;

/// The plan of one rule for one parameter.
///
/// # Errors
///
/// The rule's loops are too long to be written out.
pub fn plan_for(spec: &Spec<'_>) -> Result<Plan, LowerError> {
    Ok(plan(lower(spec)?))
}

fn plan(function: Function) -> Plan {
    planner::plan(&passes::optimize(function))
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
///
/// # Errors
///
/// The loops of the rule or of an entry are too long to be written out.
pub fn entry_plans(spec: &Spec<'_>) -> Result<Vec<EntryPlan>, LowerError> {
    if spec.program.entries(spec.optimizer).is_empty() {
        return Ok(Vec::new());
    }
    let mut planned = Vec::new();
    for (signature, reads_grad) in lower::entries(spec)? {
        if let Some(function) = lower::lower_entry(spec, &signature.name)? {
            planned.push(EntryPlan {
                plan: Arc::new(plan(function)),
                signature,
                reads_grad,
            });
        }
    }
    Ok(planned)
}
