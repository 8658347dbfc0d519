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

#[cfg(test)]
mod tests {
    use super::run;
    use crate::ir::{Builder, OpKind, Value};
    use crate::kernel::{BinaryOp, UnaryOp};
    use crate::passes::testing::{check, even, tensor};
    use insta::assert_snapshot;

    #[test]
    fn what_nobody_reads_goes() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let square = b.binary(BinaryOp::Mul, x[0], x[0]);
            b.unary(UnaryOp::Sqrt, square);
            vec![b.unary(UnaryOp::Neg, x[0])]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = sqrt v1 : f32[4]
        v3 = neg v0 : f32[4]
        yield v3
        →
        v0 = slot 0 : f32[4]
        v3 = neg v0 : f32[4]
        yield v3
        ");
    }

    /// A branch with two results.
    fn pair(b: &mut Builder, x: Value) -> Vec<Value> {
        let cond = even(b);
        let outer = b.region;
        let sides = [UnaryOp::Neg, UnaryOp::Abs].map(|op| {
            b.region = b.new_region();
            let first = b.unary(op, x);
            let second = b.unary(UnaryOp::Sqrt, first);
            let region = b.region;
            b.function.regions[region].results = vec![first, second];
            region
        });
        b.region = outer;
        let types = vec![b.function.ty(x).clone(); 2];
        b.push(
            OpKind::If {
                cond,
                then: sides[0],
                otherwise: sides[1],
            },
            types,
        )
    }

    #[test]
    fn a_branch_loses_the_results_that_nobody_reads() {
        let shown = check(run, &[tensor(&[4])], |b, x| vec![pair(b, x[0])[0]]);
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = step
        v2 = const 2
        v3 = host.mod v1, v2
        v8, v9 = if v3 {
          v4 = neg v0 : f32[4]
          v5 = sqrt v4 : f32[4]
          yield v4, v5
        } else {
          v6 = abs v0 : f32[4]
          v7 = sqrt v6 : f32[4]
          yield v6, v7
        } : f32[4]
        yield v8
        →
        v0 = slot 0 : f32[4]
        v1 = step
        v2 = const 2
        v3 = host.mod v1, v2
        v8 = if v3 {
          v4 = neg v0 : f32[4]
          yield v4
        } else {
          v6 = abs v0 : f32[4]
          yield v6
        } : f32[4]
        yield v8
        ");
    }

    #[test]
    fn a_result_keeps_what_it_needs_inside_the_branch() {
        let shown = check(run, &[tensor(&[4])], |b, x| vec![pair(b, x[0])[1]]);
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = step
        v2 = const 2
        v3 = host.mod v1, v2
        v8, v9 = if v3 {
          v4 = neg v0 : f32[4]
          v5 = sqrt v4 : f32[4]
          yield v4, v5
        } else {
          v6 = abs v0 : f32[4]
          v7 = sqrt v6 : f32[4]
          yield v6, v7
        } : f32[4]
        yield v9
        →
        v0 = slot 0 : f32[4]
        v1 = step
        v2 = const 2
        v3 = host.mod v1, v2
        v9 = if v3 {
          v4 = neg v0 : f32[4]
          v5 = sqrt v4 : f32[4]
          yield v5
        } else {
          v6 = abs v0 : f32[4]
          v7 = sqrt v6 : f32[4]
          yield v7
        } : f32[4]
        yield v9
        ");
    }

    #[test]
    fn a_branch_that_nobody_reads_goes() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            pair(b, x[0]);
            vec![x[0]]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = step
        v2 = const 2
        v3 = host.mod v1, v2
        v8, v9 = if v3 {
          v4 = neg v0 : f32[4]
          v5 = sqrt v4 : f32[4]
          yield v4, v5
        } else {
          v6 = abs v0 : f32[4]
          v7 = sqrt v6 : f32[4]
          yield v6, v7
        } : f32[4]
        yield v0
        →
        v0 = slot 0 : f32[4]
        yield v0
        ");
    }
}
