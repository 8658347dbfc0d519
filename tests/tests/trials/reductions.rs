//! Maxima and minima: of a tensor, of its rows and columns, and over parameters.

use optc_tests::trial::Trial;

const SHAPES: &[&[u64]] = &[&[4, 6], &[70, 3], &[1, 1], &[3, 130]];

fn rule(body: &str) -> String {
    format!("optimizer Tried {{ hyper lr = 0.1  rule each(w: [m, n]) {{ {body} }} }}")
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

#[test]
fn of_a_tensor() {
    let run = Trial::new(
        &rule("w -= lr * (max(grad) + 2 * min(grad)) * grad"),
        SHAPES,
    )
    .run();
    for param in 0..SHAPES.len() {
        assert!(run.is_near(param, |w, grads| {
            for g in grads {
                let most = largest(g.iter().copied());
                let least = -largest(g.iter().map(|x| -x));
                let pairs = w.iter_mut().zip(g);
                pairs.for_each(|(w, g)| *w -= 0.1 * (most + 2.0 * least) * g);
            }
        }));
    }
}

#[test]
fn of_rows_and_columns() {
    let body = "w -= lr * grad / row_max(abs(grad)) + lr * grad .* column_max(grad)";
    let run = Trial::new(&rule(body), SHAPES).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        let (rows, cols) = (dims[0] as usize, dims[1] as usize);
        assert!(run.is_near(param, |w, grads| {
            for g in grads {
                for (at, w) in w.iter_mut().enumerate() {
                    let (row, col) = (at / cols, at % cols);
                    let of_row = largest((0..cols).map(|c| g[row * cols + c].abs()));
                    let of_col = largest((0..rows).map(|r| g[r * cols + col]));
                    *w -= 0.1 * g[at] / of_row + 0.1 * g[at] * of_col;
                }
            }
        }));
    }
}

#[test]
fn of_columns_of_a_stack() {
    let text = "optimizer Tried { hyper lr = 0.1  rule each(w: [..., m, n]) { w -= lr * grad .* column_max(grad) } }";
    let run = Trial::new(text, &[&[2, 3, 4]]).run();
    assert!(run.is_near(0, |w, grads| {
        for g in grads {
            for (at, w) in w.iter_mut().enumerate() {
                let first = at / 12 * 12 + at % 4;
                *w -= 0.1 * g[at] * largest((0..3).map(|row| g[first + 4 * row]));
            }
        }
    }));
}

#[test]
fn over_parameters() {
    let body = "w -= lr / across params max { max(abs(grad)) } * grad";
    let run = Trial::new(&rule(body), SHAPES).run();
    let most = |step: usize| {
        let all = run.grads.iter().flat_map(|grads| &grads[step]);
        largest(all.map(|g| g.abs()))
    };
    for param in 0..SHAPES.len() {
        assert!(run.is_near(param, |w, grads| {
            for (step, g) in grads.iter().enumerate() {
                let pairs = w.iter_mut().zip(g);
                pairs.for_each(|(w, g)| *w -= 0.1 / most(step) * g);
            }
        }));
    }
}
