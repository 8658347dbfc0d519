//! Elements chosen by index: the largest, gathered, changed and put back.

use optc_tests::trial::Trial;

/// The positions of the `k` largest, largest first.
fn top(values: &[f64], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order.truncate(k);
    order
}

#[test]
fn only_the_largest_entries_move() {
    let text = "optimizer Tried { hyper lr = 0.5
        rule each(w: [n]) {
            let chosen = top_k(abs(grad), 2)
            w = scatter(w, 0, chosen, gather(w, 0, chosen) - lr * gather(grad, 0, chosen))
        } }";
    let shapes: &[&[u64]] = &[&[7], &[2], &[1]];
    let run = Trial::new(text, shapes).run();
    for param in 0..shapes.len() {
        assert!(run.is_near(param, |w, grads| {
            for g in grads {
                let sizes: Vec<f64> = g.iter().map(|g| g.abs()).collect();
                top(&sizes, 2).iter().for_each(|&n| w[n] -= 0.5 * g[n]);
            }
        }));
    }
}

#[test]
fn adding_is_scattering_what_was_there_and_more() {
    let text = "optimizer Tried { hyper lr = 0.5
        rule each(w: [m, n]) {
            let rows = top_k(row_sums(abs(grad)), 2)
            w = scatter_add(w, 0, rows, -lr * gather(grad, 0, rows))
        } }";
    let run = Trial::new(text, &[&[4, 3]]).run();
    assert!(run.is_near(0, |w, grads| {
        for g in grads {
            let sizes: Vec<f64> = g
                .chunks(3)
                .map(|row| row.iter().map(|x| x.abs()).sum())
                .collect();
            for row in top(&sizes, 2) {
                (0..3).for_each(|col| w[row * 3 + col] -= 0.5 * g[row * 3 + col]);
            }
        }
    }));
}

/// Half of the columns, by their sums of squares.
#[test]
fn columns_of_a_matrix() {
    let text = "optimizer Tried { hyper lr = 0.5  static part: float = 0.5
        rule each(w: [m, n]) {
            let columns = top_k(column_sums(grad^2), max(1, -floor(-part * n)))
            w -= scatter(zeros_like(w), 1, columns, lr * gather(grad, 1, columns))
        } }";
    let run = Trial::new(text, &[&[3, 5]]).run();
    assert!(run.is_near(0, |w, grads| {
        for g in grads {
            let sizes: Vec<f64> = (0..5)
                .map(|col| (0..3).map(|row| g[row * 5 + col].powi(2)).sum())
                .collect();
            for col in top(&sizes, 3) {
                (0..3).for_each(|row| w[row * 5 + col] -= 0.5 * g[row * 5 + col]);
            }
        }
    }));
}

#[test]
fn a_kernel_is_flattened_and_unflattened() {
    let text = "optimizer Tried { hyper lr = 0.5
        rule each(w: [out, in, ...]) {
            let flat = flatten(grad, from: 1)
            w -= lr * unflatten(flat / row_max(abs(flat)), from: 1, like: w)
        } }";
    let run = Trial::new(text, &[&[2, 3, 2, 2]]).run();
    assert!(run.is_near(0, |w, grads| {
        for g in grads {
            for (w, g) in w.chunks_mut(12).zip(g.chunks(12)) {
                let most = g.iter().fold(0.0, |most, g| f64::max(most, g.abs()));
                w.iter_mut().zip(g).for_each(|(w, g)| *w -= 0.5 * g / most);
            }
        }
    }));
}
