//! Views in parts: each part is stepped as a parameter of its own.

use optc_tests::trial::{Run, Trial};
use serde_json::json;

/// Momentum, and steps of length one for each part.
const RULES: &str = "
    rule hidden(w: [...]) {
        state buffer = zeros_like(w)
        buffer = 0.5 * buffer + grad
        w -= lr * buffer / norm(buffer)
    }";

fn trial(head: &str, dims: &[u64]) -> Trial {
    Trial::new(
        &format!("optimizer Tried {{ hyper lr = 0.1 {head} {RULES} }}"),
        &[dims],
    )
}

/// The same by hand: `part` says of each element which part it is in.
fn agrees(run: &Run, part: impl Fn(usize) -> usize) -> bool {
    run.is_near(0, |w, grads| {
        let mut buffer = vec![0.0; w.len()];
        for g in grads {
            let mut squares = vec![0.0; w.len()];
            for (at, g) in g.iter().enumerate() {
                buffer[at] = 0.5 * buffer[at] + g;
                squares[part(at)] += buffer[at] * buffer[at];
            }
            for (at, w) in w.iter_mut().enumerate() {
                *w -= 0.1 * buffer[at] / f64::sqrt(squares[part(at)]);
            }
        }
    })
}

#[test]
fn rows_are_split_by_their_lengths() {
    let head = "rule fused(w: [m, n]) = hidden on split(w, axis: 0, sizes: (3, 2, 1))";
    let run = trial(head, &[6, 4]).run();
    assert!(agrees(&run, |at| [0, 0, 0, 1, 1, 2][at / 4]));
    assert_eq!(run.state(0, "part1.buffer").len(), 8);
}

#[test]
fn columns_are_split_equally() {
    let head = "rule fused(w: [m, n]) = hidden on split(w, axis: 1, parts: 2)";
    let run = trial(head, &[3, 8]).run();
    assert!(agrees(&run, |at| at % 8 / 4));
}

#[test]
fn a_row_of_a_vector_is_cut_into_blocks() {
    let head = "rule vector(w: [n]) = wide on unsqueeze(w, axis: 0)
        rule wide(w: [1, n]) = hidden on blocks(w, size: 3)";
    let run = trial(head, &[7]).run();
    assert!(agrees(&run, |at| at / 3));
    assert_eq!(run.state(0, "part2.buffer").len(), 1);
}

#[test]
fn a_table_of_the_group_says_the_lengths() {
    let head = "static sizes: table(1) = [(1)]
        rule fused(w: [m, n]) = hidden on split(w, axis: 0, sizes: sizes)";
    let run = trial(head, &[5, 2]).set("sizes", json!([[4], [1]])).run();
    assert!(agrees(&run, |at| at / 8));
    // Lengths that do not add up: the next rule takes the parameter whole.
    let run = trial(head, &[5, 2]).set("sizes", json!([[4], [2]])).run();
    assert!(agrees(&run, |_| 0));
    assert_eq!(run.state(0, "buffer").len(), 10);
}

#[test]
fn blocks_of_every_rank() {
    let head = "rule blocked(w: [...]) = hidden on blocks(w, size: 3)";
    let run = trial(head, &[7]).run();
    assert!(agrees(&run, |at| at / 3));
    let run = trial(head, &[4, 5]).run();
    assert!(agrees(&run, |at| 2 * (at / 5 / 3) + at % 5 / 3));
    let run = trial(head, &[2, 4, 2]).run();
    assert!(agrees(&run, |at| at / 2 % 4 / 3));
    let run = trial(head, &[]).run();
    assert!(agrees(&run, |_| 0));
    let run = trial(head, &[3, 3]).run();
    assert!(agrees(&run, |_| 0));
    assert_eq!(run.state(0, "buffer").len(), 9, "one block has no number");
}

/// A kernel as a matrix, in blocks, each turned on its side; and back again.
#[test]
fn views_go_through_each_other() {
    let head = "rule kernels(w: [a, b, c]) = hidden on permute(blocks(flatten(w, from: 1), size: 2), (1, 0))";
    let run = trial(head, &[3, 2, 2]).run();
    assert!(agrees(&run, |at| 2 * (at / 4 / 2) + at % 4 / 2));
    let state = run.state(0, "part3.buffer");
    assert_eq!(state.len(), 2);
}

/// State that starts as a part of the parameter, and steps that one part may skip.
#[test]
fn parts_begin_and_skip_by_themselves() {
    let text = "optimizer Tried { hyper lr = 0.1
        rule halves(w: [n]) = one on split(w, axis: 0, parts: 2)
        rule one(w: [n]) {
            state start = w
            on first step { w -= lr * grad  skip }
            w = start - lr * step * grad
        } }";
    let run = Trial::new(text, &[&[4]]).run();
    assert!(run.is_near(0, |w, grads| {
        let (start, last) = (w.to_vec(), grads.len());
        for (at, w) in w.iter_mut().enumerate() {
            *w = start[at] - 0.1 * last as f64 * grads[last - 1][at];
        }
    }));
}

/// A sum over parameters has the summands of every part.
#[test]
fn sums_go_over_parts() {
    let text = "optimizer Tried { hyper lr = 0.1
        rule halves(w: [n]) = one on split(w, axis: 0, parts: 2)
        rule one(w: [n]) { w -= lr * sum(grad) / sqrt(across params { dot(grad, grad) }) } }";
    let run = Trial::new(text, &[&[4], &[2]]).run();
    let total = |step: usize| {
        let all = run.grads.iter().flat_map(|grads| &grads[step]);
        all.map(|g| g * g).sum::<f64>().sqrt()
    };
    assert!(run.is_near(0, |w, grads| {
        for (step, g) in grads.iter().enumerate() {
            for (w, g) in w.chunks_mut(2).zip(g.chunks(2)) {
                w.iter_mut()
                    .for_each(|w| *w -= 0.1 * (g[0] + g[1]) / total(step));
            }
        }
    }));
}

/// Queries, keys and values in one matrix take three steps of Muon, of the size that each has by itself.
#[test]
fn a_fused_matrix_takes_muon_by_parts() {
    let fused = "use std.muon.Muon
        optimizer Tried { hyper lr = 0.02
            rule qkv(w: [m, n]) where named(\"qkv\") = Muon(ns_dtype = same) on split(w, axis: 0, sizes: (6, 2, 2))
            rule other(w: [...]) = Muon(ns_dtype = same) }";
    let dims: &[&[u64]] = &[&[10, 4], &[6, 4], &[2, 4], &[2, 4]];
    let run = Trial::new(fused, dims)
        .named(&["attn.qkv", "a", "b", "c"])
        .run();
    assert_eq!(run.state(0, "part2.momentum_buffer").len(), 8);
    // The whole is stepped like its parts by themselves, from where they begin and with their gradients.
    let alone = Trial::of_std("std.muon", &dims[1..]).set("ns_dtype", json!("same"));
    let alone = alone.starting(&run, 0).run();
    let parts = alone.params.concat();
    let far = run.params[0].iter().zip(&parts).map(|(x, y)| (x - y).abs());
    assert!(
        far.fold(0.0, f64::max) < 1e-9,
        "{:?}\n{parts:?}",
        run.params[0]
    );
}
