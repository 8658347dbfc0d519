//! Common subexpressions: an operation that was computed already is not computed again.
//!
//! ```text
//! v1 = mul v0, v0        v1 = mul v0, v0
//! v2 = mul v0, v0   →
//! v3 = add v1, v2        v3 = add v1, v1
//! ```
//!
//! Operations are pure, so equal kind and operands mean equal results. A value made in one branch is not visible in
//! the other, so the table of known operations is scoped by region.

use super::rewrite::{Visitor, rebuild};
use crate::ir::{Builder, Function, OpKind, Type, Value};
use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    rebuild(&function, &mut Cse { scopes: Vec::new() })
}

struct Cse {
    scopes: Vec<HashMap<Key, Vec<Known>>>,
}

/// What equal operations have in common at least.
type Key = (Discriminant<OpKind>, Vec<Value>);

/// An operation that was computed.
struct Known {
    kind: OpKind,
    results: Vec<Value>,
}

impl Known {
    fn is(&self, build: &Builder, kind: &OpKind, types: &[Type]) -> bool {
        let known = self.results.iter().map(|&result| build.function.ty(result));
        same(&self.kind, kind) && known.eq(types)
    }
}

/// Equality; constants by their bits.
fn same(a: &OpKind, b: &OpKind) -> bool {
    match (a, b) {
        (OpKind::Const(x), OpKind::Const(y)) => x.to_bits() == y.to_bits(),
        (a, b) => a == b,
    }
}

impl Visitor for Cse {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: Vec<Type>,
        _: &[Value],
    ) -> Vec<Value> {
        let key = (discriminant(&kind), kind.operands());
        let found = self
            .scopes
            .iter()
            .rev()
            .filter_map(|scope| scope.get(&key))
            .flatten();
        if let Some(known) = found
            .into_iter()
            .find(|known| known.is(build, &kind, &types))
        {
            return known.results.clone();
        }
        let results = build.push(kind.clone(), types);
        if let Some(scope) = self.scopes.last_mut() {
            let known = Known {
                kind,
                results: results.clone(),
            };
            scope.entry(key).or_default().push(known);
        }
        results
    }

    fn enter(&mut self) {
        self.scopes.push(HashMap::new());
    }

    fn exit(&mut self) {
        self.scopes.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::kernel::BinaryOp;
    use crate::passes::testing::{branch, check, tensor};
    use insta::assert_snapshot;

    #[test]
    fn equal_operations_are_shared() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let squares = [0, 1].map(|_| b.binary(BinaryOp::Mul, x[0], x[0]));
            vec![b.binary(BinaryOp::Add, squares[0], squares[1])]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = mul v0, v0 : f32[4]
        v3 = add v1, v2 : f32[4]
        yield v3
        →
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = add v1, v1 : f32[4]
        yield v2
        ");
    }

    #[test]
    fn zeros_of_different_sign_are_different() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let zeros = [0.0, -0.0].map(|zero| b.constant(zero));
            zeros
                .map(|zero| b.binary(BinaryOp::Add, x[0], zero))
                .to_vec()
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = const 0
        v2 = const -0
        v3 = add v0, v1 : f32[4]
        v4 = add v0, v2 : f32[4]
        yield v3, v4
        →
        v0 = slot 0 : f32[4]
        v1 = const 0
        v2 = const -0
        v3 = add v0, v1 : f32[4]
        v4 = add v0, v2 : f32[4]
        yield v3, v4
        ");
    }

    #[test]
    fn a_branch_sees_what_stands_before_it_but_not_its_other_side() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let square = b.binary(BinaryOp::Mul, x[0], x[0]);
            let chosen = branch(
                b,
                |b| {
                    let again = b.binary(BinaryOp::Mul, x[0], x[0]);
                    b.binary(BinaryOp::Add, again, x[0])
                },
                |b| b.binary(BinaryOp::Add, square, x[0]),
            );
            vec![square, chosen]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = step
        v3 = const 2
        v4 = host.mod v2, v3
        v8 = if v4 {
          v5 = mul v0, v0 : f32[4]
          v6 = add v5, v0 : f32[4]
          yield v6
        } else {
          v7 = add v1, v0 : f32[4]
          yield v7
        } : f32[4]
        yield v1, v8
        →
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = step
        v3 = const 2
        v4 = host.mod v2, v3
        v7 = if v4 {
          v5 = add v1, v0 : f32[4]
          yield v5
        } else {
          v6 = add v1, v0 : f32[4]
          yield v6
        } : f32[4]
        yield v1, v7
        ");
    }
}
