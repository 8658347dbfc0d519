//! A plan's thunks without nesting: each with the conditions under which it runs.

use crate::execute::Frame;
use optc_core::plan::{Reg, Thunk};

/// One thunk of a flattened plan.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    /// Registers, and whether each must hold.
    guards: Vec<(Reg, bool)>,
    pub(super) thunk: Thunk,
}

impl Stage {
    pub(super) fn runs(&self, frame: &Frame<'_>) -> bool {
        self.guards
            .iter()
            .all(|&(reg, holds)| frame.holds(reg) == holds)
    }
}

/// The thunks of a list in order.
pub(super) fn stages(thunks: &[Thunk]) -> Vec<Stage> {
    let mut stages = Vec::new();
    flatten(thunks, &mut Vec::new(), &mut stages);
    stages
}

fn flatten(thunks: &[Thunk], guards: &mut Vec<(Reg, bool)>, stages: &mut Vec<Stage>) {
    for thunk in thunks {
        if let Thunk::If {
            cond,
            then,
            otherwise,
        } = thunk
        {
            for (branch, holds) in [(then, true), (otherwise, false)] {
                guards.push((*cond, holds));
                flatten(branch, guards, stages);
                guards.pop();
            }
        } else {
            stages.push(Stage {
                guards: guards.clone(),
                thunk: thunk.clone(),
            });
        }
    }
}
