//! What no recording covers of the standard library, against models written by hand.

use optc_tests::trial::Trial;
use serde_json::json;

use crate::models::{iterate, norm};

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
