//! Random tensors and branches: the streams of the seed, the same in every tier.

use optc_core::dtype::DType;
use optc_core::random::{Distribution, Draw, Noise};
use optc_tests::trial::Trial;

fn drawn(step: u64, site: u32, distribution: Distribution, count: u64) -> Vec<f64> {
    let draw = Draw {
        param: "w",
        step,
        site,
    };
    let mut found = Vec::new();
    Noise::Seeded(0).fill(draw, distribution, DType::F64, count, |_, x| found.push(x));
    found
}

#[test]
fn draws_belong_to_a_step_and_a_place() {
    let text = "optimizer Shown { rule each(w: [m, n]) {
        state first: [n, m] = normal(n, m)
        w += normal_like(w) + 10 * uniform_like(grad) + first'
        repeat 2 { w += 100 * normal_like(w) }
    } }";
    let mut expected = vec![0.0; 6];
    let first = drawn(1, 0, Distribution::Normal, 6);
    for step in [1, 2] {
        let normal = drawn(step, 1, Distribution::Normal, 6);
        let uniform = drawn(step, 2, Distribution::Uniform, 6);
        let turns = [3, 4].map(|site| drawn(step, site, Distribution::Normal, 6));
        for (n, w) in expected.iter_mut().enumerate() {
            *w += normal[n] + 10.0 * uniform[n] + first[n % 3 * 2 + n / 3];
            *w += 100.0 * (turns[0][n] + turns[1][n]);
        }
    }
    let run = Trial::given(text, &[2, 3], &[0.0; 6], &[&[0.0; 6], &[0.0; 6]]);
    run.ends_at(&expected, 1e-12);
}

#[test]
fn a_branch_happens_with_its_probability() {
    let text = "optimizer Shown { hyper p = 0.3 rule each(w: [...]) {
        with probability p { w += 1 }
        with probability if step > 30 { 1 } else { 0 } { w += 1000 + 0 * grad }
    } }";
    let happens = |step: &u64| {
        let draw = Draw {
            param: "",
            step: *step,
            site: 0,
        };
        Noise::Seeded(0).chance(draw) < 0.3
    };
    let often = (1..=40).filter(happens).count() as f64;
    assert!(often > 4.0 && often < 24.0);
    let grads: Vec<&[f64]> = vec![&[0.0]; 40];
    let run = Trial::given(text, &[1], &[0.0], &grads);
    run.ends_at(&[often + 10_000.0], 1e-15);
}

/// The neighbours of a float with `cut` bits less, and where between them it is.
fn between(x: f64, cut: u32) -> (f64, f64, f64) {
    let (bits, cell) = ((x as f32).to_bits(), 1u32 << cut);
    let below = bits & !(cell - 1);
    let [below, above] = [below, below + cell].map(|bits| f64::from(f32::from_bits(bits)));
    (below, above, f64::from(bits & (cell - 1)) / f64::from(cell))
}

/// What `stochastic` makes of a float.
fn taken(x: f64, cut: u32, noise: f64) -> f64 {
    let (below, above, share) = between(x, cut);
    if noise < share { above } else { below }
}

#[test]
fn stochastic_rounding_takes_a_neighbour_by_a_draw() {
    let grad: Vec<f64> = (0..400)
        .map(|n| f64::from((n as f32 * 0.7).sin()))
        .collect();
    let ends_at = |shown: &str, expected: &[f64]| {
        let text = format!(
            "optimizer Shown {{ rule each(w: [n]) {{
                state brain: bf16 = zeros_like(w)
                state half: f16 = zeros_like(w)
                state exact: bf16 = zeros_like(w)
                brain = stochastic(grad)
                half = stochastic(brain + grad)
                exact = stochastic(floor(100 * grad))
                w = stochastic({shown} + 0 * brain + 0 * half + 0 * exact)
            }} }}"
        );
        let run = Trial::given(&text, &[400], &[0.0; 400], &[&grad]);
        run.ends_at(expected, 1e-15);
    };
    let drawn = |site| {
        let draw = Draw {
            param: "w",
            step: 1,
            site,
        };
        let mut found = Vec::new();
        Noise::Seeded(0).fill(draw, Distribution::Uniform, DType::F32, 400, |_, x| {
            found.push(x);
        });
        found
    };
    let (of_brain, of_half) = (drawn(0), drawn(1));
    let brain: Vec<f64> = (0..400).map(|n| taken(grad[n], 16, of_brain[n])).collect();
    let away = (0..400).filter(|&n| brain[n].abs() > grad[n].abs()).count();
    assert!((150..250).contains(&away), "{away} of 400");
    let sum = |n: usize| f64::from(brain[n] as f32 + grad[n] as f32);
    let half: Vec<f64> = (0..400).map(|n| taken(sum(n), 13, of_half[n])).collect();
    let exact: Vec<f64> = grad.iter().map(|g| (100.0 * g).floor()).collect();
    ends_at("brain", &brain);
    ends_at("half", &half);
    ends_at("exact", &exact);
}
