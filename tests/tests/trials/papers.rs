//! Rules of papers that were not on the project's list, in `tests/papers`, each against a model written by hand.

use std::fs;
use std::path::Path;

use optc_tests::trial::Trial;

use crate::models::{iterate, norm};

const SHAPES: &[&[u64]] = &[&[4, 3], &[2, 5], &[1, 6]];

fn paper(name: &str) -> Trial {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("papers/{name}.opt"));
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
    Trial::new(&text, SHAPES)
}

/// An element's state is `N` numbers, and a step sees the element, its gradient and the number of the step.
fn element_wise<const N: usize>(
    trial: &Trial,
    begin: impl Fn(f64) -> [f64; N],
    step: impl Fn(&mut f64, &mut [f64; N], f64, i32),
) {
    let run = trial.run();
    for param in 0..SHAPES.len() {
        assert!(run.is_near(param, |w, grads| {
            for (at, w) in w.iter_mut().enumerate() {
                let mut state = begin(grads[0][at]);
                for (n, g) in grads.iter().enumerate() {
                    step(w, &mut state, g[at], n as i32 + 1);
                }
            }
        }));
    }
}

fn zeros<const N: usize>(_: f64) -> [f64; N] {
    [0.0; N]
}

fn sign(x: f64) -> f64 {
    f64::from(x > 0.0) - f64::from(x < 0.0)
}

#[test]
fn focus() {
    element_wise(&paper("focus"), zeros, |w, [m, p], g, t| {
        *m = 0.9 * *m + 0.1 * g;
        *p = 0.99 * *p + 0.01 * *w;
        let average = *p / (1.0 - 0.99f64.powi(t));
        *w -= 0.01 * 0.1 * average;
        *w -= 0.01 * (sign(*m) + 0.1 * sign(*w - average));
    });
}

#[test]
fn adam_atan2() {
    element_wise(&paper("adam_atan2"), zeros, |w, [m, v], g, t| {
        *w *= 1.0 - 1e-4;
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.99 * *v + 0.01 * g * g;
        let size = (*v / (1.0 - 0.99f64.powi(t))).sqrt();
        *w -= 1e-3 * f64::atan2(*m / (1.0 - 0.9f64.powi(t)), size);
    });
}

#[test]
fn ano() {
    element_wise(&paper("ano"), zeros, |w, [m, v], g, t| {
        *w *= 1.0 - 1e-4;
        *m = 0.92 * *m + 0.08 * g;
        *v = 0.99 * *v + 0.01 * sign(g * g - *v) * g * g;
        *w -= 1e-3 * g.abs() * sign(*m) / ((*v / (1.0 - 0.99f64.powi(t))).sqrt() + 1e-8);
    });
}

#[test]
fn bcos() {
    element_wise(
        &paper("bcos"),
        |first| [first],
        |w, [m], g, _| {
            let (b, c) = (0.9f64, 0.1f64);
            let v = (3.0 * b * b - 2.0 * b.powi(3)) * *m * *m
                + c * c * g * g
                + 2.0 * b * c * c * *m * g;
            *m = b * *m + c * g;
            *w *= 1.0 - 1e-4;
            *w -= 1e-3 * *m / (v.sqrt() + 1e-6);
        },
    );
}

/// The norm of the last parameter's layer follows no other.
#[test]
fn adamc() {
    let run = paper("adamc")
        .named(&["a.weight", "b.weight", "lm_head.weight"])
        .run();
    for (param, decay) in [
        (0, 0.1 * 1e-6 / 2e-3),
        (1, 0.1 * 1e-6 / 2e-3),
        (2, 0.1 * 1e-3),
    ] {
        assert!(run.is_near(param, |w, grads| {
            for (at, w) in w.iter_mut().enumerate() {
                let (mut m, mut v) = (0.0, 0.0);
                for (g, t) in grads.iter().zip(1..) {
                    *w *= 1.0 - decay;
                    m = 0.9 * m + 0.1 * g[at];
                    v = 0.999 * v + 0.001 * g[at] * g[at];
                    let below = (f64::sqrt(v) + 1e-8) / (1.0 - 0.999f64.powi(t)).sqrt();
                    *w -= 1e-3 * m / (1.0 - 0.9f64.powi(t)) / below;
                }
            }
        }));
    }
}

#[test]
fn simplified_ademamix() {
    element_wise(&paper("simplified_ademamix"), zeros, |w, [m, v], g, t| {
        *m = 0.99 * *m + g;
        *v = 0.95 * *v + 0.05 * g * g;
        *w *= 1.0 - 1e-5;
        *w -= 1e-4 * (5.0 * g + *m) / ((*v / (1.0 - 0.95f64.powi(t))).sqrt() + 1e-8);
    });
}

#[test]
fn cautious_decay() {
    element_wise(&paper("cautious_decay"), zeros, |w, [m, v], g, t| {
        *m += 0.1 * (g - *m);
        *v += 0.05 * (g * g - *v);
        let below = (*v / (1.0 - 0.95f64.powi(t))).sqrt() + 1e-8;
        let u = *m / (1.0 - 0.9f64.powi(t)) / below;
        *w -= 1e-3 * (u + 0.1 * if u * *w >= 0.0 { *w } else { 0.0 });
    });
}

#[test]
fn racs() {
    let run = paper("racs").run();
    for (param, dims) in SHAPES.iter().enumerate() {
        let (m, n) = (dims[0] as usize, dims[1] as usize);
        assert!(run.is_near(param, |w, grads| {
            let (mut s, mut q, mut theta) = (vec![0.0; m], vec![1.0; n], 0.0);
            for (t, g) in grads.iter().enumerate() {
                let square = |row: usize, col: usize| g[row * n + col].powi(2);
                for (row, s) in s.iter_mut().enumerate() {
                    *s =
                        0.9 * *s + 0.1 * (0..n).map(|col| square(row, col)).sum::<f64>() / n as f64;
                }
                for (col, q) in q.iter_mut().enumerate() {
                    *q =
                        0.9 * *q + 0.1 * (0..m).map(|row| square(row, col)).sum::<f64>() / m as f64;
                }
                let scaled =
                    |at: usize| g[at] / (f64::sqrt(s[at / n] + 1e-8) * f64::sqrt(q[at % n] + 1e-8));
                let u: Vec<f64> = (0..m * n).map(scaled).collect();
                let grown = f64::max(norm(&u) / (theta + 1e-8), 1.01);
                let limit = if t == 0 { 1.0 } else { 1.01 / grown };
                theta = norm(&u) * limit;
                w.iter_mut()
                    .zip(&u)
                    .for_each(|(w, u)| *w -= 0.02 * 0.05 * limit * u);
            }
        }));
    }
}

#[test]
fn sgd_sai() {
    let run = paper("sgd_sai").run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let first = &grads[0];
            let count = first.len() as f64;
            let mean = first.iter().sum::<f64>() / count;
            let squares: f64 = first.iter().map(|g| (g - mean).powi(2)).sum();
            let deviation = (squares / (count - 1.0)).sqrt();
            let ratio = norm(first) / if dims[0] == 1 { 1.0 } else { deviation + 1e-8 };
            let mut buffer = vec![0.0; w.len()];
            for g in grads {
                for (at, w) in w.iter_mut().enumerate() {
                    buffer[at] = 0.9 * buffer[at] + 0.1 * g[at];
                    *w *= 1.0 - 1e-4;
                    *w -= 0.01 * ratio * buffer[at];
                }
            }
        }));
    }
}

#[test]
fn scale() {
    let run = paper("scale")
        .named(&["a.weight", "b.weight", "lm_head.weight"])
        .run();
    for (param, dims) in SHAPES.iter().enumerate() {
        let n = dims[1] as usize;
        let (kept, added) = if param == 2 { (0.9, 0.1) } else { (0.0, 1.0) };
        assert!(run.is_near(param, |w, grads| {
            let mut buffer = vec![0.0; w.len()];
            for g in grads {
                buffer
                    .iter_mut()
                    .zip(g)
                    .for_each(|(b, g)| *b = kept * *b + added * g);
                let length = |col: usize| {
                    let column: Vec<f64> = buffer.iter().skip(col).step_by(n).copied().collect();
                    norm(&column) + 1e-8
                };
                for (at, w) in w.iter_mut().enumerate() {
                    *w -= 0.01 * buffer[at] / length(at % n);
                }
            }
        }));
    }
}

/// Keller Jordan's iteration on a matrix with that many columns, scaled as Muon does it.
fn newton_schulz(x: &[f64], n: usize) -> Vec<f64> {
    let size = norm(x) + 1e-7;
    iterate(x.iter().map(|x| x / size).collect(), n)
}

#[test]
fn adago() {
    let run = paper("adago").run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let (mut buffer, mut sum) = (vec![0.0; w.len()], 1e-6);
            for g in grads {
                buffer
                    .iter_mut()
                    .zip(g)
                    .for_each(|(b, g)| *b += 0.05 * (g - *b));
                let size = norm(g).min(10.0);
                sum += size * size;
                let o = newton_schulz(&buffer, dims[1] as usize);
                let factor = f64::max(5e-4, 0.05 * size / f64::sqrt(sum));
                w.iter_mut().zip(&o).for_each(|(w, o)| *w -= factor * o);
            }
        }));
    }
}
