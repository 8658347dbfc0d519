//! Short branches that change a gradient become element-wise choices, which fuse with what reads them.
//!
//! ```text
//! v4 = if v1 {                       v2 = mul v0, v9
//!   v2 = mul v0, v9                  v3 = add v2, v8
//!   v3 = add v2, v8            →     v4 = select v1, v3, v8
//!   yield v3
//! } else { yield v8 }
//! ```
//!
//! A branch gives its result a buffer, and the side that passes a gradient on must copy it there: nothing may be
//! written into a gradient. What changes the parameter, state or an intermediate tensor stays a branch, because the
//! planner gives its result the place of what is passed on, and then the idle side costs nothing. So does a branch with
//! more than a few cheap operations, one that reads much, and one whose result no kernel reads: there, computing for
//! nothing would cost more than a copy.

use super::rewrite::{Keep, rebuild};
use crate::ir::{Function, Op, OpData, OpKind, Region, Value};
use crate::planner::base;
use cranelift_entity::EntitySet;
use std::collections::BTreeSet;

/// Element-wise operations that both sides may have together.
const MOST_OPS: usize = 8;
/// Tensors that both sides may read together, the one that is passed on among them.
const MOST_READ: usize = 3;

/// Runs the pass.
pub(super) fn run(mut function: Function) -> Function {
    let readers = Readers::new(&function);
    let regions: Vec<Region> = function.regions.keys().collect();
    let mut changed = false;
    for region in regions {
        let ops = std::mem::take(&mut function.regions[region].ops);
        let mut kept = Vec::with_capacity(ops.len());
        for op in ops {
            if is_choice(&function, &readers, op) {
                choose(&mut function, op, &mut kept);
                changed = true;
            } else {
                kept.push(op);
            }
        }
        function.regions[region].ops = kept;
    }
    // Operations are numbered in their order.
    if changed {
        rebuild(function, &mut Keep)
    } else {
        function
    }
}

/// Which values something reads that cannot be part of a kernel.
struct Readers {
    others: EntitySet<Value>,
}

impl Readers {
    fn new(function: &Function) -> Readers {
        let mut others = EntitySet::new();
        function.for_each_op(|op| {
            let kind = &function.ops[op].kind;
            if !kind.is_map() && !matches!(kind, OpKind::Reduce(..)) {
                others.extend(kind.operands());
            }
        });
        Readers { others }
    }
}

fn is_choice(function: &Function, readers: &Readers, op: Op) -> bool {
    let data = &function.ops[op];
    let OpKind::If {
        cond,
        then,
        otherwise,
    } = data.kind
    else {
        return false;
    };
    let sides = [then, otherwise];
    let passes_on = |index: usize| {
        let yields = sides.map(|side| function.regions[side].results[index]);
        yields.iter().any(|&value| is_read_only(function, value))
    };
    let results = data.results.iter().enumerate();
    function.is_host(cond)
        && data.results.iter().any(|&result| !function.is_host(result))
        && results
            .filter(|(_, result)| !function.is_host(**result))
            .all(|(index, result)| passes_on(index) && !readers.others.contains(*result))
        && is_cheap(function, sides)
}

/// Whether nothing may be written where a value is.
fn is_read_only(function: &Function, value: Value) -> bool {
    match *function.def(base(function, value)) {
        OpKind::Slot(slot) => function.slots[slot as usize].role.is_read_only(),
        _ => false,
    }
}

/// Whether computing both sides costs less than a copy.
fn is_cheap(function: &Function, sides: [Region; 2]) -> bool {
    let (mut work, mut read) = (0, BTreeSet::new());
    let mut inside = EntitySet::new();
    for op in sides
        .map(|side| &function.regions[side].ops)
        .into_iter()
        .flatten()
    {
        let data = &function.ops[*op];
        match data.kind {
            OpKind::Slot(_) => continue,
            OpKind::Reshape(_) => {}
            ref kind if kind.is_host() => {}
            ref kind if is_cheap_map(kind) => work += 1,
            _ => return false,
        }
        inside.extend(data.results.iter().copied());
        let outer = |value: &Value| !function.is_host(*value) && !inside.contains(*value);
        read.extend(data.kind.operands().into_iter().filter(outer));
    }
    work <= MOST_OPS && read.len() <= MOST_READ
}

fn is_cheap_map(kind: &OpKind) -> bool {
    let is_expanded = matches!(
        kind,
        OpKind::Math(..) | OpKind::Pow(..) | OpKind::Stochastic(..)
    );
    kind.is_map() && !is_expanded
}

/// Appends what both sides do, and for each result of a branch the choice between what they yield.
fn choose(function: &mut Function, op: Op, ops: &mut Vec<Op>) {
    let OpData { kind, results } = function.ops[op].clone();
    let OpKind::If {
        cond,
        then,
        otherwise,
    } = kind
    else {
        unreachable!("{op} is no branch")
    };
    let sides = [then, otherwise].map(|side| std::mem::take(&mut function.regions[side]));
    sides.iter().for_each(|side| ops.extend(&side.ops));
    for (index, &result) in results.iter().enumerate() {
        let [a, b] = [0, 1].map(|side: usize| sides[side].results[index]);
        let kind = match function.is_host(result) {
            true => OpKind::HostSelect(cond, a, b),
            false => OpKind::Select(cond, a, b),
        };
        let results = vec![result];
        let made = function.ops.push(OpData { kind, results });
        (function.values[result].op, function.values[result].index) = (made, 0);
        ops.push(made);
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::ir::{Builder, Value};
    use crate::kernel::{BinaryOp, UnaryOp};
    use crate::passes::testing::{branch, check, hyper, tensor};
    use insta::assert_snapshot;

    /// A gradient that is decayed now and then.
    fn decayed(b: &mut Builder, grad: Value, w: Value) -> Value {
        let rate = hyper(b);
        let step = |b: &mut Builder| {
            let decay = b.binary(BinaryOp::Mul, w, rate);
            b.binary(BinaryOp::Add, grad, decay)
        };
        branch(b, step, |_| grad)
    }

    #[test]
    fn a_gradient_is_changed_by_choice() {
        let shown = check(run, &[tensor(&[4]), tensor(&[4])], |b, x| {
            let g = decayed(b, x[0], x[1]);
            vec![b.unary(UnaryOp::Neg, g)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = slot 1 : f32[4]
        v2 = hyper 0
        v3 = step
        v4 = const 2
        v5 = host.mod v3, v4
        v8 = if v5 {
          v6 = mul v1, v2 : f32[4]
          v7 = add v0, v6 : f32[4]
          yield v7
        } else {
          yield v0
        } : f32[4]
        v9 = neg v8 : f32[4]
        yield v9
        →
        v0 = slot 0 : f32[4]
        v1 = slot 1 : f32[4]
        v2 = hyper 0
        v3 = step
        v4 = const 2
        v5 = host.mod v3, v4
        v6 = mul v1, v2 : f32[4]
        v7 = add v0, v6 : f32[4]
        v8 = select v5, v7, v0 : f32[4]
        v9 = neg v8 : f32[4]
        yield v9
        ");
    }

    #[test]
    fn one_that_a_product_reads_is_not() {
        let inputs = [tensor(&[4, 4]), tensor(&[4, 4])];
        let shown = check(run, &inputs, |b, x| {
            let g = decayed(b, x[0], x[1]);
            vec![b.matmul(g, false, x[1], false)]
        });
        let [before, after] = shown.split("\n→\n").collect::<Vec<_>>()[..] else {
            panic!("{shown}")
        };
        assert_eq!(before, after);
    }

    #[test]
    fn what_is_no_gradient_is_not() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let square = b.binary(BinaryOp::Mul, x[0], x[0]);
            vec![branch(b, |b| b.unary(UnaryOp::Sqrt, square), |_| square)]
        });
        let [before, after] = shown.split("\n→\n").collect::<Vec<_>>()[..] else {
            panic!("{shown}")
        };
        assert_eq!(before, after);
    }
}
