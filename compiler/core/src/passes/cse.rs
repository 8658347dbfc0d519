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

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    rebuild(&function, &mut Cse { scopes: Vec::new() })
}

struct Cse {
    scopes: Vec<HashMap<String, Vec<Value>>>,
}

impl Visitor for Cse {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: Vec<Type>,
        _: &[Value],
    ) -> Vec<Value> {
        let key = format!("{kind:?} {types:?}");
        if let Some(known) = self.scopes.iter().rev().find_map(|scope| scope.get(&key)) {
            return known.clone();
        }
        let made = build.push(kind, types);
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(key, made.clone());
        }
        made
    }

    fn enter(&mut self) {
        self.scopes.push(HashMap::new());
    }

    fn exit(&mut self) {
        self.scopes.pop();
    }
}
