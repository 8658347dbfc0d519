//! `sin`, `cos` and `atan2` of tensors and numbers, and schedules made of them.

use optc_tests::trial::Trial;

const GRAD: [f64; 6] = [0.0, -0.3, 2.0, -7.5, 1e4, -1e-9];
const START: [f64; 6] = [1.0, -1.0, 0.5, -2.0, -0.0, 0.0];

/// One step of `w = value`, and what each element should become.
#[track_caller]
fn makes(value: &str, model: impl Fn(f64, f64) -> f64) {
    let text = format!("optimizer Shown {{ rule each(w: [m, n]) {{ w = {value} }} }}");
    let expected: Vec<f64> = START.iter().zip(GRAD).map(|(&w, g)| model(w, g)).collect();
    Trial::given(&text, &[2, 3], &START, &[&GRAD]).ends_at(&expected, 1e-15);
}

#[test]
fn of_each_element() {
    makes("sin(grad) + w", |w, g| g.sin() + w);
    makes("cos(grad) + w", |w, g| g.cos() + w);
    makes("atan2(grad, w)", |w, g| g.atan2(w));
}

#[test]
fn of_a_tensor_and_a_number() {
    makes("atan2(grad, -2)", |_, g| g.atan2(-2.0));
    makes("atan2(step, grad)", |_, g| 1f64.atan2(g));
    makes("atan2(grad, max(abs(grad)))", |_, g| g.atan2(1e4));
}

#[test]
fn of_rows_and_columns() {
    let text =
        "optimizer Shown { rule each(w: [m, n]) { w = atan2(row_sums(grad), w) + column_max(w) } }";
    let (rows, columns) = ([0.0 - 0.3 + 2.0, -7.5 + 1e4 - 1e-9], [1.0, -0.0, 0.5]);
    let expected: Vec<f64> = (0..6)
        .map(|at| f64::atan2(rows[at / 3], START[at]) + columns[at % 3])
        .collect();
    Trial::given(text, &[2, 3], &START, &[&GRAD]).ends_at(&expected, 1e-15);
}

#[test]
fn of_numbers() {
    let text = "optimizer Shown { hyper x = 0.7 rule each(w: [...]) {
        w = sin(x * step) + 10 * cos(x) + 100 * atan2(-x, -step) + 1000 * pi + 0 * grad
    } }";
    let expected = 1.4f64.sin() + 10.0 * 0.7f64.cos() + 100.0 * f64::atan2(-0.7, -2.0);
    let expected = expected + 1000.0 * std::f64::consts::PI;
    Trial::given(text, &[1], &[0.0], &[&[1.0], &[1.0]]).ends_at(&[expected], 1e-15);
}

/// SGDR (Loshchilov & Hutter, arXiv 1608.03983).
#[test]
fn a_cosine_with_warm_restarts() {
    let text = "optimizer Shown { hyper lr = 0.1, least = 0.01  static period: int = 4
        rule each(w: [...]) {
            let done = mod(step - 1, period) / period
            w -= lerp(least, lr, (1 + cos(pi * done)) / 2) * grad
        } }";
    let rate = |step: usize| {
        let done = (step % 4) as f64 / 4.0;
        0.01 + 0.09 * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0
    };
    let sum: f64 = (0..10).map(rate).sum();
    let grads: Vec<&[f64]> = vec![&[1.0]; 10];
    Trial::given(text, &[1], &[0.0], &grads).ends_at(&[-sum], 1e-14);
}
