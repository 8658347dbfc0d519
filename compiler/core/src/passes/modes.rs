//! Mode products and Gram matrices of matrices become plain products.
//!
//! ```text
//! v2 = contract v0 mode 1 with v1   →   v2 = product v0, v1
//! v3 = gram v0 mode 0               →   v3 = product v0, v0'
//! ```
//!
//! Tensors of other ranks keep theirs: the plan turns those into batched products without moving data.

use crate::ir::{Function, OpKind, Product, Type, Value};

/// Runs the pass.
pub(super) fn run(mut function: Function) -> Function {
    for op in function.ops.keys() {
        if let Some(product) = as_product(&function, &function.ops[op].kind) {
            let result = function.ops[op].results[0];
            function.values[result].ty = Type::Tensor(function.product_type(&product));
            function.ops[op].kind = OpKind::Product(product);
        }
    }
    function
}

fn as_product(function: &Function, kind: &OpKind) -> Option<Product> {
    let is_matrix = |value: Value| function.dims(value).len() == 2;
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

#[cfg(test)]
mod tests {
    use super::run;
    use crate::passes::testing::{check, tensor};
    use insta::assert_snapshot;

    #[test]
    fn modes_of_a_matrix_are_products() {
        let shown = check(
            run,
            &[tensor(&[2, 3]), tensor(&[2, 2]), tensor(&[3, 3])],
            |b, x| {
                let rows = b.contract(x[0], x[1], 0, false);
                let columns = b.contract(x[0], x[2], 1, false);
                vec![rows, columns]
            },
        );
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3]
        v1 = slot 1 : f32[2, 2]
        v2 = slot 2 : f32[3, 3]
        v3 = contract v0 mode 0 with v1 : f32[2, 3]
        v4 = contract v0 mode 1 with v2 : f32[2, 3]
        yield v3, v4
        →
        v0 = slot 0 : f32[2, 3]
        v1 = slot 1 : f32[2, 2]
        v2 = slot 2 : f32[3, 3]
        v3 = product v1', v0 : f32[2, 3]
        v4 = product v0, v2 : f32[2, 3]
        yield v3, v4
        ");
    }

    #[test]
    fn a_transposed_mode_turns_its_matrix() {
        let shown = check(
            run,
            &[tensor(&[2, 3]), tensor(&[2, 2]), tensor(&[3, 3])],
            |b, x| {
                let rows = b.contract(x[0], x[1], 0, true);
                let columns = b.contract(x[0], x[2], 1, true);
                vec![rows, columns]
            },
        );
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3]
        v1 = slot 1 : f32[2, 2]
        v2 = slot 2 : f32[3, 3]
        v3 = contract v0 mode 0 with v1' : f32[2, 3]
        v4 = contract v0 mode 1 with v2' : f32[2, 3]
        yield v3, v4
        →
        v0 = slot 0 : f32[2, 3]
        v1 = slot 1 : f32[2, 2]
        v2 = slot 2 : f32[3, 3]
        v3 = product v1, v0 : f32[2, 3]
        v4 = product v0, v2' : f32[2, 3]
        yield v3, v4
        ");
    }

    #[test]
    fn grams_of_a_matrix_are_products() {
        let shown = check(run, &[tensor(&[2, 3])], |b, x| {
            vec![b.gram(x[0], 0), b.gram(x[0], 1)]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3]
        v1 = gram v0 mode 0 : f32[2, 2]
        v2 = gram v0 mode 1 : f32[3, 3]
        yield v1, v2
        →
        v0 = slot 0 : f32[2, 3]
        v1 = product v0, v0' : f32[2, 2]
        v2 = product v0', v0 : f32[3, 3]
        yield v1, v2
        ");
    }

    #[test]
    fn other_ranks_keep_their_modes() {
        let shown = check(run, &[tensor(&[2, 3, 4]), tensor(&[3, 3])], |b, x| {
            let gram = b.gram(x[0], 2);
            let rotated = b.contract(x[0], x[1], 1, false);
            vec![gram, rotated]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[3, 3]
        v2 = gram v0 mode 2 : f32[4, 4]
        v3 = contract v0 mode 1 with v1 : f32[2, 3, 4]
        yield v2, v3
        →
        v0 = slot 0 : f32[2, 3, 4]
        v1 = slot 1 : f32[3, 3]
        v2 = gram v0 mode 2 : f32[4, 4]
        v3 = contract v0 mode 1 with v1 : f32[2, 3, 4]
        yield v2, v3
        ");
    }
}
