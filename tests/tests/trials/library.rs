//! What no recording covers of the standard library, against models written by hand.

use optc_tests::trial::Trial;
use serde_json::json;

use crate::models::{iterate, norm, of_eigenvalues, times, turned};

/// A kernel is the matrix that it flattens to.
#[test]
fn adamuon() {
    for stabilized in [false, true] {
        let shapes: [&[u64]; 4] = [&[4, 3], &[2, 5], &[1, 6], &[3, 2, 2]];
        let trial = Trial::of_std("std.adamuon", &shapes).hyper("weight_decay", 0.1);
        let trial = trial.set("sign_stabilized", json!(stabilized));
        let run = trial.set("ns_dtype", json!("same")).run();
        for (param, dims) in shapes.iter().enumerate() {
            let cols = dims[1..].iter().product::<u64>() as usize;
            assert!(run.is_near(param, |w, grads| {
                let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
                for (g, t) in grads.iter().zip(1..) {
                    m.iter_mut().zip(g).for_each(|(m, g)| *m += 0.1 * (g - *m));
                    let seen = |m: &f64| if stabilized { m.signum() } else { *m };
                    let seen: Vec<f64> = m.iter().map(seen).collect();
                    let size = norm(&seen);
                    let mut u = iterate(seen.iter().map(|x| x / size).collect(), cols);
                    for (u, v) in u.iter_mut().zip(&mut v) {
                        *v = 0.95 * *v + 0.05 * *u * *u;
                        *u /= f64::sqrt(*v / (1.0 - 0.95f64.powi(t))) + 1e-10;
                    }
                    // √min √max = √numel
                    let factor = 0.02 * 0.2 * (w.len() as f64).sqrt() / (norm(&u) + 1e-10);
                    let each = w.iter_mut().zip(&u);
                    each.for_each(|(w, u)| *w = *w * (1.0 - 0.02 * 0.1) - factor * u);
                }
            }));
        }
    }
}

/// Adam's step of an element without decay.
fn adam([m, v]: &mut [f64; 2], g: f64, t: i32, lr: f64) -> f64 {
    *m += 0.1 * (g - *m);
    *v = 0.999 * *v + 0.001 * g * g;
    let below = (*v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8;
    -lr * *m / (1.0 - 0.9f64.powi(t)) / below
}

/// Shampoo's direction for a matrix of `n` columns: each factor collects Gram matrices, its root has exponent -1/4.
fn shampoo(factors: &mut [Vec<f64>; 2], g: &[f64], n: usize) -> Vec<f64> {
    let m = g.len() / n;
    let grams = [times(g, &turned(g, n), n, m), times(&turned(g, n), g, m, n)];
    for (factor, gram) in factors.iter_mut().zip(&grams) {
        factor.iter_mut().zip(gram).for_each(|(f, g)| *f += g);
    }
    let root = |at: usize, n| of_eigenvalues(&factors[at], n, |x| x.powf(-0.25));
    times(&times(&root(0, m), g, m, n), &root(1, n), n, n)
}

#[test]
fn shampoo_grafted_onto_adam() {
    let text = "use std.graft.Graft
        use std.adamw.AdamW
        use std.shampoo.Shampoo
        optimizer Grafted = Graft(magnitude = AdamW(weight_decay = 0), direction = Shampoo, lr = 0.1)";
    // A vector is a matrix with one column to Shampoo, but its one mode has exponent -1/2; a scalar has no modes.
    let shapes: [&[u64]; 4] = [&[4, 3], &[3, 3], &[5], &[]];
    let run = Trial::new(text, &shapes).run();
    for (param, dims) in shapes.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let identity = |n: usize| -> Vec<f64> {
                (0..n * n)
                    .map(|at| 1e-6 * f64::from(at / n == at % n))
                    .collect()
            };
            let n = dims.get(1).map_or(1, |&n| n as usize);
            let mut factors = [identity(w.len() / n), identity(n)];
            let mut states = vec![[0.0; 2]; w.len()];
            for (g, t) in grads.iter().zip(1..) {
                let direction = match dims.len() {
                    0 => g.clone(),
                    1 => {
                        let square = times(g, g, 1, g.len());
                        factors[0]
                            .iter_mut()
                            .zip(&square)
                            .for_each(|(f, g)| *f += g);
                        let root = of_eigenvalues(&factors[0], g.len(), |x| x.powf(-0.5));
                        times(&root, g, g.len(), 1)
                    }
                    _ => shampoo(&mut factors, g, n),
                };
                let pairs = states.iter_mut().zip(g);
                let far: Vec<f64> = pairs.map(|(state, &g)| adam(state, g, t, 0.1)).collect();
                let scale = norm(&far) / norm(&direction);
                w.iter_mut()
                    .zip(&direction)
                    .for_each(|(w, d)| *w -= scale * d);
            }
        }));
    }
}
