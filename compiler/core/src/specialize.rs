//! From a checked program to the plan of one parameter: the whole middle of the compiler in one call.

use crate::ir::Function;
use crate::lower::{Spec, lower};
use crate::passes;
use crate::plan::Plan;
use crate::planner;

/// The plan of one rule for one parameter.
pub fn plan_for(spec: &Spec<'_>) -> Plan {
    planner::plan(&function_for(spec))
}

/// The optimized IR of one rule for one parameter.
pub fn function_for(spec: &Spec<'_>) -> Function {
    passes::optimize(lower(spec))
}
