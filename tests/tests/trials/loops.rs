//! Loops that end when a tensor says so.

use optc_tests::trial::Trial;

#[track_caller]
fn ends(text: &str, start: f64, grads: &[f64], expected: f64) {
    let grads: Vec<[f64; 1]> = grads.iter().map(|&grad| [grad]).collect();
    let grads: Vec<&[f64]> = grads.iter().map(|grad| &grad[..]).collect();
    Trial::given(text, &[1], &[start], &grads).ends_at(&[expected], 1e-12);
}

/// Halves the gradient while it is at least 1, and counts.
const HALVES: &str = "optimizer Shown { rule each(w: [...]) {
    state longest: [] = 0
    var x = grad
    var turns = 0 * sum(grad)
    until max(abs(x)) < 1 at most 6 {
        x = 0.5 * x
        turns += 1
    }
    longest = max(longest, turns)
    w = x + 100 * turns + 10000 * longest
} }";

#[test]
fn a_loop_ends_when_its_condition_holds() {
    ends(HALVES, 0.0, &[10.0], 0.625 + 400.0 + 40_000.0);
    ends(HALVES, 0.0, &[10.0, 3.0], 0.75 + 200.0 + 40_000.0);
}

#[test]
fn a_loop_may_not_begin() {
    ends(HALVES, 0.0, &[0.5], 0.5);
}

#[test]
fn a_loop_ends_after_so_many_turns() {
    ends(HALVES, 0.0, &[6400.0], 100.0 + 600.0 + 60_000.0);
}

/// However many turns there may be, those that are taken are the first ones, in order.
#[test]
fn a_long_loop_takes_its_turns_in_order() {
    let text = "optimizer Shown { rule each(w: [...]) {
        var x = grad
        var sum = 0 * grad
        until max(abs(x)) >= 40 at most 1000 {
            x += 1
            sum = 0.5 * sum + x
        }
        w = sum
    } }";
    for start in [39.5, 30.0, 2.0, 0.0] {
        let (mut x, mut sum) = (start, 0.0);
        while x < 40.0 {
            x += 1.0;
            sum = 0.5 * sum + x;
        }
        ends(text, 0.0, &[start], sum);
    }
}

#[test]
fn a_loop_may_change_state_and_the_parameter() {
    let text = "optimizer Shown { rule each(w: [...]) {
        state total = zeros_like(w)
        until norm(w) < 2 at most 20 { w -= grad; total += grad }
        on first step { total *= 10 }
        w += 1000 * total
    } }";
    // Five turns from 6.5 by 1; then the parameter is large and falls by 2 for 20 turns.
    ends(text, 6.5, &[1.0], 1.5 + 50_000.0);
    ends(text, 6.5, &[1.0, 2.0], 50_001.5 - 40.0 + 90_000.0);
}

#[test]
fn a_coupled_newton_iteration_finds_an_inverse_root() {
    let text = "
    fn coupled_newton(a: sym[n], p: int, tolerance: float) -> [n, n] {
        let z = (p + 1) / (2 * norm(a))
        var x = z^(1 / p) * identity(n)
        var m = z * a
        until max(abs(m - identity(n))) <= tolerance at most 100 {
            let step = (1 + 1 / p) * identity(n) - m / p
            x = x * step
            var power = step
            repeat p - 1 { power = power * step }
            m = power * m
        }
        x
    }
    optimizer Shown { rule each(w: [n, n]) { w = coupled_newton(gram(grad), 4, 1e-13) } }";
    // The Gram matrix has eigenvalues 1 and 256 along (1, 1) and (1, -1).
    let run = Trial::given(text, &[2, 2], &[0.0; 4], &[&[8.5, -7.5, -7.5, 8.5]]);
    run.ends_at(&[0.625, 0.375, 0.375, 0.625], 1e-11);
}

#[test]
fn a_host_condition_ends_a_loop_too() {
    let text = "optimizer Shown { rule each(w: [...]) {
        var n = 0
        until n >= step at most 10 { w += grad; n = n + 1 }
    } }";
    ends(text, 0.0, &[1.0, 10.0, 100.0], 1.0 + 20.0 + 300.0);
}
