//! Dead code: removes operations whose results nobody reads, and results of branches that nobody reads.
//!
//! ```text
//! v1 = mul v0, v0   →   (nothing, when v1 is not used)
//! ```

use crate::ir::{Function, Op, OpKind, Region, Value};
use cranelift_entity::EntitySet;

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    let mut live = Live {
        function: &function,
        values: EntitySet::new(),
    };
    live.root(function.init);
    live.root(function.body);
    let values = live.values;
    sweep(function, &values)
}

struct Live<'a> {
    function: &'a Function,
    values: EntitySet<Value>,
}

impl Live<'_> {
    fn root(&mut self, region: Region) {
        self.values
            .extend(self.function.regions[region].results.iter().copied());
        self.region(region);
    }

    /// Marks backwards, so that every use is seen before the operation it keeps alive.
    fn region(&mut self, region: Region) {
        for &op in self.function.regions[region].ops.iter().rev() {
            let data = &self.function.ops[op];
            if !data
                .results
                .iter()
                .any(|&result| self.values.contains(result))
            {
                continue;
            }
            if let OpKind::If {
                then, otherwise, ..
            } = data.kind
            {
                for branch in [then, otherwise] {
                    let yields = data
                        .results
                        .iter()
                        .zip(&self.function.regions[branch].results);
                    let kept: Vec<Value> = yields
                        .filter(|(r, _)| self.values.contains(**r))
                        .map(|(_, y)| *y)
                        .collect();
                    self.values.extend(kept);
                    self.region(branch);
                }
            }
            self.values.extend(data.kind.operands());
        }
    }
}

fn sweep(mut function: Function, live: &EntitySet<Value>) -> Function {
    let ops: Vec<Op> = function.ops.keys().collect();
    for op in ops {
        let results = function.ops[op].results.clone();
        let OpKind::If {
            then, otherwise, ..
        } = function.ops[op].kind
        else {
            continue;
        };
        for branch in [then, otherwise] {
            let mut at = 0;
            function.regions[branch].results.retain(|_| {
                at += 1;
                results
                    .get(at - 1)
                    .is_some_and(|&result| live.contains(result))
            });
        }
        let kept: Vec<Value> = results
            .into_iter()
            .filter(|&result| live.contains(result))
            .collect();
        for (index, &result) in kept.iter().enumerate() {
            function.values[result].index = index as u32;
        }
        function.ops[op].results = kept;
    }
    let (ops, regions) = (&function.ops, &mut function.regions);
    for region in regions.values_mut() {
        region
            .ops
            .retain(|&op| ops[op].results.iter().any(|&result| live.contains(result)));
    }
    function
}
