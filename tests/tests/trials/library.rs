//! What no recording covers of the standard library, against models written by hand.

use optc_tests::trial::Trial;
use serde_json::json;

use crate::models::{identity, iterate, norm, of_eigenvalues, times, turned};

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

/// One parameter, gradients that turn, and the calls of them that `kept` names.
fn entries(
    module: &str,
    optimizer: Option<&str>,
    calls: &[&'static str],
    kept: &[usize],
) -> Vec<f64> {
    let start = [0.5, -0.25, 1.0, 0.75, -0.5, 0.125];
    let grad = |call: usize| -> Vec<f64> {
        let entry = |at: usize| ((3 * call + 7 * at) as f64).sin();
        (0..6).map(entry).collect()
    };
    let grads: Vec<Vec<f64>> = kept.iter().map(|&call| grad(call)).collect();
    let grads: Vec<&[f64]> = grads.iter().map(Vec::as_slice).collect();
    let text = optc_stdlib::source(module).expect("a module of the library");
    // The basis of a Gram matrix with a null space is anyone's choice.
    let dims: &[u64] = if module == "std.splus" { &[6] } else { &[2, 3] };
    let mut trial = Trial::given(text, dims, &start, &grads).calls(calls);
    if let Some(name) = optimizer {
        trial = trial.optimizer(name);
    }
    if module == "std.schedule_free_radam" {
        trial = trial.set("silent_sgd_phase", json!(false));
    }
    trial.run().params.swap_remove(0)
}

/// The references guard both by a flag.
#[test]
fn evaluating_twice_is_evaluating_once() {
    let averaging = [
        ("std.schedule_free", None),
        ("std.schedule_free_adamw", None),
        ("std.schedule_free_radam", None),
        ("std.schedule_free_sgd", None),
        ("std.primal_averaging", None),
        ("std.averaged_shampoo", Some("PrimalAveragedShampoo")),
        ("std.averaged_shampoo", Some("ScheduleFreeShampoo")),
        ("std.splus", None),
    ];
    for (module, optimizer) in averaging {
        let twice = [
            "train", "step", "step", "train", "eval", "eval", "train", "train", "step", "eval",
            "eval",
        ];
        let found = entries(
            module,
            optimizer,
            &twice,
            &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        );
        let once = ["step", "step", "eval", "train", "step", "eval"];
        let expected = entries(module, optimizer, &once, &[1, 2, 4, 6, 8, 9]);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-14;
        assert!(
            found.iter().zip(&expected).all(near),
            "{module}: {found:?} {expected:?}"
        );
        let trained = entries(module, optimizer, &once[..5], &[1, 2, 4, 6, 8]);
        assert_ne!(trained, expected, "{module} evaluates where it trains");
    }
}

/// A rate of 0 divides nothing by 0: pytorch-optimizer takes 1 for the correction.
#[test]
fn laprop_at_rest() {
    let text = optc_stdlib::source("std.laprop").expect("a module of the library");
    let grads: [&[f64]; 2] = [&[1.0, -2.0], &[0.5, 3.0]];
    let trial = Trial::given(text, &[2], &[0.25, -1.0], &grads).hyper("lr", 0.0);
    trial.ends_at(&[0.25, -1.0], 0.0);
}

/// Steps before the first gradient that is not 0 leave no trace, and a group without a rate gathers nothing.
#[test]
fn prodigy_waits_for_a_gradient() {
    let text = optc_stdlib::source("std.prodigy").expect("a module of the library");
    let start = [0.5, -0.25, 1.0];
    let grads: [&[f64]; 6] = [
        &[0.0; 3],
        &[0.0; 3],
        &[1.0, -2.0, 0.5],
        &[0.5, 3.0, -1.0],
        &[1.0, -1.0, 0.25],
        &[2.0, -1.5, 0.75],
    ];
    let trial = |grads: &[&[f64]]| {
        let trial = Trial::given(text, &[3], &start, grads).hyper("weight_decay", 0.1);
        let trial = trial.hyper("d0", 0.01).hyper("growth_rate", 1.5);
        trial.set("use_bias_correction", json!(true))
    };
    let late = trial(&grads[2..]).run().params.swap_remove(0);
    assert!(
        late.iter()
            .zip(&start)
            .all(|(w, start)| w.is_finite() && w != start)
    );
    trial(&grads).ends_at(&late, 1e-12);
    trial(&grads).hyper("lr", 0.0).ends_at(&start, 0.0);
}

/// Stacks are orthogonalised matrix by matrix under one mask, kernels as the matrix that they flatten to; what is no
/// matrix takes the cautious form of Adam.
#[test]
fn cautious_muon() {
    let shapes: [&[u64]; 5] = [&[4, 3], &[2, 3, 2], &[3, 2, 2, 1], &[5], &[]];
    let run = Trial::of_std("std.cautious_muon", &shapes)
        .hyper("weight_decay", 0.1)
        .hyper("adam_lr", 0.05)
        .set("ns_dtype", json!("same"))
        .run();
    for (param, dims) in shapes.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| match dims.len() {
            2 | 3 => masked_muon(
                w,
                grads,
                dims[dims.len() - 2] as usize,
                dims[dims.len() - 1] as usize
            ),
            4 => masked_muon(w, grads, dims[0] as usize, w.len() / dims[0] as usize),
            _ => masked_adam(w, grads),
        }));
    }
}

/// 1 where both have one sign, over the mean of that.
fn agreement(m: &[f64], g: &[f64]) -> Vec<f64> {
    let kept: Vec<f64> = m
        .iter()
        .zip(g)
        .map(|(m, g)| f64::from(m * g > 0.0))
        .collect();
    let mean = (kept.iter().sum::<f64>() / kept.len() as f64).max(1e-3);
    kept.iter().map(|kept| kept / mean).collect()
}

fn masked_muon(w: &mut [f64], grads: &[Vec<f64>], rows: usize, cols: usize) {
    let mut m = vec![0.0; w.len()];
    for g in grads {
        m.iter_mut().zip(g).for_each(|(m, g)| *m += 0.05 * (g - *m));
        let mask = agreement(&m, g);
        let mixed = m
            .iter()
            .zip(g)
            .zip(&mask)
            .map(|((m, g), p)| (g + 0.95 * (m - g)) * p);
        let mixed: Vec<f64> = mixed.collect();
        let scale = 0.02 * (rows as f64 / cols as f64).max(1.0).sqrt();
        for (w, u) in w.chunks_mut(rows * cols).zip(mixed.chunks(rows * cols)) {
            let size = norm(u) + 1e-7;
            let o = iterate(u.iter().map(|u| u / size).collect(), cols);
            let each = w.iter_mut().zip(&o);
            each.for_each(|(w, o)| *w = *w * (1.0 - 0.02 * 0.1) - scale * o);
        }
    }
}

fn masked_adam(w: &mut [f64], grads: &[Vec<f64>]) {
    let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
    for (g, t) in grads.iter().zip(1..) {
        m.iter_mut().zip(g).for_each(|(m, g)| *m += 0.1 * (g - *m));
        v.iter_mut()
            .zip(g)
            .for_each(|(v, g)| *v += 0.05 * (g * g - *v));
        let mask = agreement(&m, g);
        let [b1, b2] = [0.9f64, 0.95].map(|beta| 1.0 - beta.powi(t));
        for (at, w) in w.iter_mut().enumerate() {
            *w -= 0.05 * m[at] * mask[at] / b1 / ((v[at] / b2).sqrt() + 1e-10);
        }
    }
}

/// A scalar has a factor, as the vector of one element has.
#[test]
fn psgd_kron_preconditions_scalars() {
    let of_shape = |dims: &[u64]| {
        let trial = Trial::of_std("std.psgd_kron", &[dims]).hyper("lr", 0.1);
        trial.hyper("precond_init_scale", 0.5).run()
    };
    let (scalar, vector) = (of_shape(&[]), of_shape(&[1]));
    assert_eq!(scalar.params, vector.params);
    assert_eq!(scalar.state(0, "q.0"), vector.state(0, "q.0"));
    assert_ne!(scalar.state(0, "q.0"), [0.5]);
}

/// A projection that cannot be found is an error, not one onto nothing.
#[test]
#[should_panic(expected = "svd")]
fn galore_without_a_projection() {
    let text = optc_stdlib::source("std.galore").expect("a module of the library");
    let trial = Trial::given(text, &[2, 2], &[1.0; 4], &[&[f64::NAN; 4]]);
    trial.set("proj_rank", json!(1)).run();
}

/// What is stepped by hand and by the rule, for these options.
#[test]
fn galore_without_correction() {
    let run = Trial::of_std("std.galore", &[&[5]])
        .set("correct_bias", json!(false))
        .run();
    assert!(run.is_near(0, |w, grads| {
        let (mut m, mut v) = (vec![0.0; w.len()], vec![0.0; w.len()]);
        for g in grads {
            for (at, w) in w.iter_mut().enumerate() {
                m[at] += 0.1 * (g[at] - m[at]);
                v[at] += 0.001 * (g[at] * g[at] - v[at]);
                *w -= 1e-3 * m[at] / (v[at].sqrt() + 1e-6);
            }
        }
    }));
}

/// Norms are not added to 1e-7 alone: Polar Express takes 1.01 of them, and its own coefficients.
#[test]
fn muon_by_polar_express() {
    let text = "use std.muon.Muon
        use std.orthogonal.{polar_express, POLAR_EXPRESS}
        optimizer Shown = Muon(coefficients = POLAR_EXPRESS, ns_steps = 8, norm_floor = polar, ns_dtype = same)
        optimizer Same { hyper lr = 0.02
            rule each(w: [m, n]) { state b = zeros_like(w)
                b = lerp(b, grad, 1 - 0.95)
                w -= lr * sqrt(max(1, m / n)) * polar_express(lerp(grad, b, 0.95), 8) } }";
    let shapes: [&[u64]; 2] = [&[4, 3], &[2, 5]];
    let run = |name: &str| Trial::new(text, &shapes).optimizer(name).run().params;
    assert_eq!(run("Shown"), run("Same"));
}

/// An element of the gradient that is not finite costs its own element's state and nothing else.
#[test]
fn adamw_8bit_spares_elements() {
    let text = optc_stdlib::source("std.adamw_8bit").expect("a module of the library");
    let run = |bad: f64| {
        let grads: [&[f64]; 2] = [&[1.0, 1.0], &[1.0, bad]];
        let trial = Trial::given(text, &[2], &[0.5, 0.5], &grads).hyper("lr", 0.1);
        trial.set("min_8bit_size", json!(0)).run()
    };
    let (sound, nan, infinite) = (run(1.0), run(f64::NAN), run(f64::INFINITY));
    assert_eq!(nan.params, infinite.params);
    assert_eq!(nan.params[0][0], sound.params[0][0]);
    let once = Trial::given(text, &[2], &[0.5, 0.5], &[&[1.0, 1.0]]).hyper("lr", 0.1);
    let once = once.set("min_8bit_size", json!(0)).run();
    assert_eq!(nan.params[0][1], once.params[0][1]);
    // The code of 0.
    assert_eq!(nan.state(0, "state1")[1], 127.0);
}

/// Averages stand for sums.
#[test]
fn shampoo_of_averages() {
    let run = Trial::of_std("std.shampoo", &[&[2, 2]])
        .hyper("beta2", 0.9)
        .steps(1)
        .run();
    assert!(run.is_near(0, |w, grads| {
        let g = &grads[0];
        let (n, eps) = (2, 1e-6);
        let factor = |gram: Vec<f64>| {
            let start = identity(n, 0.9 * eps);
            let sum = start
                .iter()
                .zip(&gram)
                .map(|(a, b)| a + 0.1 * b)
                .collect::<Vec<_>>();
            of_eigenvalues(&sum, n, |x| x.powf(-0.25))
        };
        let left = factor(times(g, &turned(g, n), n, n));
        let right = factor(times(&turned(g, n), g, n, n));
        let p = times(&times(&left, g, n, n), &right, n, n);
        w.iter_mut().zip(&p).for_each(|(w, p)| *w -= 1e-3 * p);
    }));
}

/// The decay is in proportion to neither rate: weight_decay / peak_lr.
#[test]
fn independent_decay_of_distributed_shampoo() {
    let run = |kind: &str, decay: f64| {
        let trial =
            Trial::of_std("std.distributed_shampoo", &[&[3, 2]]).hyper("weight_decay", decay);
        let trial = trial.hyper("lr", 0.05).set("peak_lr", json!(0.2));
        trial.set("weight_decay_type", json!(kind)).run().params
    };
    let (independent, decoupled) = (run("independent", 0.1), run("decoupled", 0.5));
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
    assert!(independent[0].iter().zip(&decoupled[0]).all(near));
}

/// Vectors have their direction's length, Σ|b|.
#[test]
fn sign_descent_with_its_dual_norm() {
    let run = Trial::of_std("std.spectral_descent", &[&[4]]).set("scale_by_l1_norm", json!(true));
    let run = run.hyper("beta1", 0.0).run();
    assert!(run.is_near(0, |w, grads| {
        for g in grads {
            let size: f64 = g.iter().map(|g| g.abs()).sum();
            w.iter_mut()
                .zip(g)
                .for_each(|(w, g)| *w -= 1e-2 * size * g.signum());
        }
    }));
}

fn assert_near(found: &[f64], expected: &[f64]) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9;
    let all = found.len() == expected.len() && found.iter().zip(expected).all(near);
    assert!(all, "{found:?} instead of {expected:?}");
}

/// Both factors of the update may change their signs, and the update does not.
#[test]
fn dion_by_cholesky_qr() {
    let shapes: [&[u64]; 3] = [&[6, 3], &[3, 5], &[4, 4]];
    let run = |method: &str| {
        let trial = Trial::of_std("std.dion", &shapes).set("qr_method", json!(method));
        trial.set("rank_fraction", json!(0.5)).run().params
    };
    let (by_cholesky, by_householder) = (run("cqr"), run("qr"));
    for (found, expected) in by_cholesky.iter().zip(&by_householder) {
        assert_near(found, expected);
    }
}

/// A gradient of one row is not of full rank: Cholesky's factorization fails, and QR finds the columns.
#[test]
fn dion_where_cholesky_fails() {
    let text = optc_stdlib::source("std.dion").expect("a module of the library");
    let grads: [&[f64]; 2] = [
        &[1.0, 2.0, 0.0, 0.0, 0.0, 0.0],
        &[0.5, -1.0, 0.0, 0.0, 0.0, 0.0],
    ];
    let trial = Trial::given(text, &[3, 2], &[0.5; 6], &grads);
    let run = trial.set("qr_method", json!("cqr")).run();
    assert!(run.params[0].iter().all(|w| w.is_finite()));
}

/// The Dion repository gives groups to Lion in each of its optimizers.
#[test]
fn lion_beside_orthogonal_steps() {
    let shapes: [&[u64]; 2] = [&[4, 3], &[5]];
    let lion = Trial::of_std("std.lion", &shapes)
        .hyper("lr", 0.01)
        .hyper("beta2", 0.95);
    let lion = lion.hyper("weight_decay", 0.01).run().params;
    for module in [
        "std.dion",
        "std.dion2",
        "std.dion_muon",
        "std.nordion2",
        "std.normuon",
    ] {
        let trial = Trial::of_std(module, &shapes).set("algorithm", json!("lion"));
        assert_eq!(trial.run().params, lion, "{module}");
    }
}

#[test]
fn dion_muon_of_kernels_and_of_fused_matrices() {
    let muon =
        |shapes: &[&[u64]]| Trial::of_std("std.dion_muon", shapes).set("ns_dtype", json!("same"));
    let kernel = muon(&[&[4, 3, 2, 2]])
        .set("flatten", json!(true))
        .run()
        .params;
    assert_eq!(kernel, muon(&[&[4, 12]]).run().params);
    let whole = muon(&[&[5, 3]]).set("split_sizes", json!([[1], [4]])).run();
    let parts = muon(&[&[1, 3], &[4, 3]]).starting(&whole, 0).run();
    assert_near(&whole.params[0], &parts.params.concat());
}

#[test]
fn cautious_lion_decays_over_the_first_rate() {
    let run = |decay: f64, decoupled: bool| {
        let trial = Trial::of_std("std.cautious_lion", &[&[4, 3]]).hyper("lr", 0.05);
        let trial = trial.hyper("weight_decay", decay);
        trial
            .set("decoupled_weight_decay", json!(decoupled))
            .run()
            .params
    };
    assert_near(&run(0.05, true)[0], &run(1.0, false)[0]);
}

#[test]
fn scion_begins_at_zero() {
    let trial = Trial::of_std("std.scion", &[&[4, 3]]).set("norm", json!("sign"));
    let run = trial.set("zero_init", json!(true)).calls(&["init"]).run();
    assert_eq!(run.params[0], [0.0; 12]);
}
