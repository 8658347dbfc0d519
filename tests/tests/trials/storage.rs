//! How state is stored: in 8 bits, in halves with what they leave out, in a wider copy.

use optc_core::dtype::DType;
use optc_runtime::Rules;
use optc_tests::compiled::{Compiled, options};
use optc_tests::interpreted::{Interpreted, Stage};
use optc_tests::library;
use optc_tests::mapping::Group;
use optc_tests::parity::Stepper;
use optc_tests::trial::Trial;
use serde_json::json;

/// The codes' numbers, by the rule and not by the compiler's table.
fn numbers(signed: bool) -> Vec<f32> {
    let mut all = vec![0.0f32, 1.0];
    for power in 0..7 {
        let cells = if signed { 1 << power } else { 2 << power };
        for cell in 0..cells {
            let middle = 0.1 + 0.9 * (cell as f64 + 0.5) / cells as f64;
            let number = (middle * 10f64.powi(power - 6)) as f32;
            all.push(number);
            all.extend(signed.then_some(-number));
        }
    }
    all
}

/// What a block of numbers is after it was stored.
fn stored(block: &[f32], numbers: &[f32]) -> Vec<f32> {
    let scale = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let nearest = |x: f32| {
        let far = |number: &f32| (f64::from(x) - f64::from(*number)).abs();
        let by_distance = |a: &&f32, b: &&f32| far(a).total_cmp(&far(b));
        *numbers.iter().min_by(by_distance).unwrap()
    };
    let quotient = |x: f32| if scale > 0.0 { x / scale } else { 0.0 };
    block
        .iter()
        .map(|&x| nearest(quotient(x)) * scale)
        .collect()
}

#[test]
fn adamw_in_8_bits() {
    let trial = Trial::of_std("std.adamw_8bit", &[&[3, 300], &[10]]);
    let run = trial
        .set("min_8bit_size", json!(64))
        .hyper("lr", 0.05)
        .run();
    assert!(run.is_near(0, |w, grads| {
        let (mut m, mut v) = (vec![0.0f32; w.len()], vec![0.0f32; w.len()]);
        let (signed, unsigned) = (numbers(true), numbers(false));
        for (g, t) in grads.iter().zip(1..) {
            let (ones, twos) = (1.0 - 0.9f64.powi(t), (1.0 - 0.999f64.powi(t)).sqrt());
            // State is held in 32 bits, and numbers that meet it are rounded to them.
            let (factor, eps) = ((0.05 * (twos / ones)) as f32, (1e-8 * twos) as f32);
            for (at, w) in w.iter_mut().enumerate() {
                m[at] = (f64::from(0.9f32 * m[at]) + (1.0 - 0.9) * g[at]) as f32;
                v[at] = (f64::from(0.999f32 * v[at]) + (1.0 - 0.999) * (g[at] * g[at])) as f32;
                *w -= f64::from(factor * (m[at] / (v[at].sqrt() + eps)));
                *w *= 1.0 - 0.05 * 0.01;
            }
            m = m
                .chunks(256)
                .flat_map(|block| stored(block, &signed))
                .collect();
            v = v
                .chunks(256)
                .flat_map(|block| stored(block, &unsigned))
                .collect();
        }
    }));
    assert_eq!(run.state(0, "state1").len(), 900);
    assert_eq!(
        run.state(0, "state1.absmax").len(),
        4,
        "the last block is shorter"
    );
    assert!(
        run.state(0, "state2")
            .iter()
            .all(|code| (0.0..256.0).contains(code))
    );
}

/// A rule on square matrices whose state is packed, or not.
fn triangles(packed: &str) -> String {
    format!(
        "optimizer Tried {{ hyper lr = 0.1
        rule each(w: [n, n]) {{
            modes i of w {{ state factor[i]: {packed} sym[dim(w, i)] = identity }}
            state root: {packed} lower[n] = identity
            state top: {packed} upper[n] = triu(w)
            each i {{ factor[i] = lerp(factor[i], gram(grad, i), 0.5) }}
            every 2 steps {{ root = cholesky(gram(grad) + identity(n)) or keep }}
            var x = grad
            each i {{ x = along(x, i, factor[i]) }}
            w -= lr * (x + top + root)
            top = triu(grad * root)
        }} }}"
    )
}

#[test]
fn a_packed_matrix_is_the_matrix() {
    let run = |packed| Trial::new(&triangles(packed), &[&[5, 5], &[1, 1]]).run();
    let (whole, packed) = (run(""), run("packed"));
    for n in 0..2 {
        assert!(packed.is_near(n, |w, _| w.copy_from_slice(&whole.params[n])));
    }
    let rows = |name: &str, upper: bool| -> Vec<f64> {
        let of_row = |(i, row): (usize, &[f64])| match upper {
            true => row[i..].to_vec(),
            false => row[..i + 1].to_vec(),
        };
        let state = whole.state(0, name);
        state.chunks(5).enumerate().flat_map(of_row).collect()
    };
    for (name, upper) in [
        ("factor.0", true),
        ("factor.1", true),
        ("root", false),
        ("top", true),
    ] {
        let (found, expected) = (packed.state(0, name), rows(name, upper));
        assert_eq!(found.len(), 15, "{name}");
        let far = |(x, y): (&f64, &f64)| (x - y).abs() > 1e-12 * (1.0 + y.abs());
        assert!(
            !found.iter().zip(&expected).any(far),
            "{name}: {found:?} {expected:?}"
        );
    }
}

/// A state in 32 bits beside a parameter in 64: products, along a mode too, and solutions are in the wider of the two.
#[test]
fn factors_of_two_storages() {
    let text = "optimizer Tried { hyper lr = 0.1  rule each(w: [n, n]) {
            state s: f32 = identity(n)
            s = lerp(s, grad, 0.5)
            w -= lr * (gram(s) * grad + grad * s + along(grad, 1, s) + solve_triangular(tril(s), grad))
        } }";
    let run = Trial::new(text, &[&[1, 1]]).run();
    assert!(run.is_near(0, |w, grads| {
        let mut s = 1.0f32;
        for g in grads {
            s = (f64::from(s) + 0.5 * (g[0] - f64::from(s))) as f32;
            let (square, s) = (f64::from(s * s), f64::from(s));
            w[0] -= 0.1 * (square * g[0] + 2.0 * g[0] * s + g[0] / s);
        }
    }));
    // Sums of 32 bits depend on their order.
    Trial::new(text, &[&[4, 4]]).loose(vec![0]).run();
}

/// State that a step leaves alone keeps its codes.
#[test]
fn codes_rest_when_nothing_is_assigned() {
    let text = "optimizer Tried { hyper lr = 0.1
        rule each(w: [n]) { state first: q8[4] = grad  w -= lr * first } }";
    let run = Trial::new(text, &[&[6], &[0], &[1]]).run();
    assert!(run.is_near(0, |w, grads| {
        let first: Vec<f32> = grads[0].iter().map(|&g| g as f32).collect();
        let kept = first
            .chunks(4)
            .flat_map(|block| stored(block, &numbers(true)));
        let kept: Vec<f32> = kept.collect();
        for _ in grads {
            let pairs = w.iter_mut().zip(&kept);
            pairs.for_each(|(w, kept)| *w -= f64::from(0.1f32 * kept));
        }
    }));
}

/// A thousandth of the distance between neighbours, three hundred times: rounding alone would keep the parameter where it is.
#[test]
fn what_rounding_leaves_out_is_kept() {
    for held in ["master", "rest"] {
        let [interpreted, quick] = small_steps("std.adamw_bf16", &[("held", held)], 3);
        assert_eq!(interpreted, quick, "{held}");
        let interpreted = interpreted[2];
        let far = (interpreted - (1.0 - 0.003)).abs();
        assert!(
            far < 1.0 / 256.0 && interpreted < 1.0,
            "{held}: {interpreted}"
        );
    }
    let [alone, _] = small_steps("std.adamw", &[], 3);
    assert_eq!(alone, [1.0; 3]);
}

/// Neighbours below 1 are 2^-8 apart: an element takes about three cells in four, and their mean is where it should be.
#[test]
fn stochastic_rounding_is_right_in_the_mean() {
    let [interpreted, quick] = small_steps("std.adamw_bf16", &[("held", "nothing")], 4096);
    assert_eq!(interpreted, quick);
    let on_the_grid = |x: &f64| (x * 256.0).fract() == 0.0;
    assert!(interpreted.iter().all(on_the_grid));
    let mean = interpreted.iter().sum::<f64>() / 4096.0;
    // One element's deviation is 2^-8 times the root of the expected number of cells.
    let deviation = (0.003f64 * 256.0).sqrt() / 256.0 / 64.0;
    assert!((mean - 0.997).abs() < 4.0 * deviation, "{mean}");
}

/// A bf16 parameter of so many ones after 300 steps of 1e-5, by the interpreter and by the quick tier.
fn small_steps(
    module: &'static str,
    set: &[(&'static str, &str)],
    elements: usize,
) -> [Vec<f64>; 2] {
    let checked = library::checked(module).program;
    let id = checked.roots[0];
    let statics = set.iter().map(|&(name, word)| (name, json!(word)));
    let group = Group {
        params: vec!["w".to_owned()],
        rule: None,
        hypers: [("lr", 1e-5), ("weight_decay", 0.0)].into(),
        statics: statics.collect(),
    };
    let tensors = [("w".to_owned(), (vec![elements as u64], vec![1.0; elements]))].into();
    let groups = std::slice::from_ref(&group);
    let setup = (DType::BF16, Stage::Optimized);
    let mut interpreted = Interpreted::bind(&checked, id, groups, &tensors, setup);
    let rules = Rules::from_std(module).unwrap();
    let options = options(&checked.optimizers[id].name, groups);
    let tensors = vec![("w".to_owned(), vec![elements as i64], vec![1.0; elements])];
    let mut quick = Compiled::<half::bf16>::bind(&rules, &options, tensors);
    for _ in 0..300 {
        let grads = [("w".to_owned(), vec![0.5; elements])].into();
        interpreted.step(None, &grads);
        quick.step(None, &grads);
    }
    [interpreted.param("w").to_vec(), quick.param("w").to_vec()]
}
