//! Mode products and Gram matrices of matrices become plain products.
//!
//! ```text
//! v2 = contract v0 mode 1 with v1   →   v2 = product v0, v1
//! v3 = gram v0 mode 0               →   v3 = product v0, v0'
//! ```
//!
//! Tensors of other ranks keep theirs: the plan turns those into batched products without moving data.

use super::rewrite::{Visitor, rebuild};
use crate::ir::{Builder, Function, OpKind, Product, Type, Value};

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    rebuild(&function, &mut Modes)
}

struct Modes;

impl Visitor for Modes {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: Vec<Type>,
        _: &[Value],
    ) -> Vec<Value> {
        match as_product(build, &kind) {
            Some(product) => vec![build.product(product)],
            None => build.push(kind, types),
        }
    }
}

fn as_product(build: &Builder, kind: &OpKind) -> Option<Product> {
    let is_matrix = |value: Value| build.function.dims(value).len() == 2;
    let plain = |a, ta, b, tb| Product {
        a,
        ta,
        b,
        tb,
        alpha: None,
        added: None,
    };
    match *kind {
        OpKind::Contract {
            x,
            q,
            mode: 0,
            transposed,
        } if is_matrix(x) => Some(plain(q, !transposed, x, false)),
        OpKind::Contract {
            x,
            q,
            mode: 1,
            transposed,
        } if is_matrix(x) => Some(plain(x, false, q, transposed)),
        OpKind::Gram {
            x,
            mode,
            alpha,
            added,
        } if is_matrix(x) => {
            let rows = mode == 0;
            Some(Product {
                a: x,
                ta: !rows,
                b: x,
                tb: rows,
                alpha,
                added,
            })
        }
        _ => None,
    }
}
