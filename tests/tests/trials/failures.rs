//! What stands in for a factorization that failed: `or else`.

use optc_tests::trial::Trial;

/// A Cholesky factor of the diagonal of the gradient, which has no factor where an element is negative.
fn roots(policy: &str) -> String {
    format!(
        "fn root(a: sym[n]) -> [n, n] {{ cholesky(a) {policy} }}
        optimizer Tried {{ hyper lr = 0.5
            rule each(w: [n, n]) {{
                every 2 steps from 1 {{ w -= lr * root(diag(diag(grad))) }}
            }} }}"
    )
}

fn diagonal(g: &[f64], n: usize) -> Vec<f64> {
    (0..n).map(|at| g[at * n + at]).collect()
}

#[test]
fn another_value_takes_the_place_of_a_factor() {
    let text = roots("or retry f64 or else (7 * identity(n))");
    let sizes = [1, 2, 3];
    let run = Trial::new(&text, &[&[1, 1], &[2, 2], &[3, 3]]).run();
    let mut failed = 0;
    for (param, n) in sizes.into_iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            for g in grads.iter().step_by(2) {
                let d = diagonal(g, n);
                let fails = d.iter().any(|&d| d <= 0.0);
                failed += usize::from(fails);
                for (at, d) in d.into_iter().enumerate() {
                    w[at * n + at] -= 0.5 * if fails { 7.0 } else { d.sqrt() };
                }
            }
        }));
    }
    assert!(failed > 0, "a trial without a failure");
}

/// The second factorization would fail where the first one does not: it is not tried then.
#[test]
fn the_other_value_is_computed_only_when_it_is_needed() {
    let text = roots("or else cholesky(-a) or else (3 * identity(n))");
    let run = Trial::new(&text, &[&[1, 1], &[2, 2]]).run();
    for (param, n) in [1, 2].into_iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            for g in grads.iter().step_by(2) {
                let d = diagonal(g, n);
                let all = |sign: f64| d.iter().all(|&d| sign * d > 0.0);
                for (at, &d) in d.iter().enumerate() {
                    let one_sign = all(1.0) || all(-1.0);
                    w[at * n + at] -= 0.5 * if one_sign { d.abs().sqrt() } else { 3.0 };
                }
            }
        }));
    }
}

/// A solution with a factor that was not found is not found either, and neither is one with a factor that is singular.
#[test]
fn what_is_solved_with_a_failed_factor_fails_with_it() {
    let text = "fn cholesky_qr(a: [m, n]) -> [m, n] {
            solve_triangular(cholesky(a' * a), a, side: right, transposed: true)
        }
        fn solved(a: [n, n]) -> [n, n] {
            solve_triangular(cholesky(identity(n)) * tril(a), a, triangle: lower)
        }
        optimizer Tried { hyper lr = 0.5
            rule each(w: [n, n]) {
                w -= lr * (cholesky_qr(grad) or else (3 * ones_like(w)))
                w -= lr * (solved(grad) or else (5 * ones_like(w)))
            } }";
    let bad = [1.0, 0.0, 0.0, 0.0];
    let good = [2.0, 0.0, 0.0, 4.0];
    let trial = Trial::given(text, &[2, 2], &[0.0; 4], &[&bad, &good]);
    // Of the good one the columns are at length 1, and its lower triangle is all of it.
    let both = [-4.0 - 1.0, -4.0, -4.0, -4.0 - 1.0];
    trial.ends_at(&both, 1e-12);
}
