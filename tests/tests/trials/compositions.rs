//! Optimizers around optimizers, against models written by hand.

use optc_tests::trial::{Run, Trial};

use crate::models::norm;
use crate::models::optimizers::{Adam, Model, Muon, Shampoo, Soap};

/// A matrix of each form, a vector and a scalar. The Gram matrices have no null space of two dimensions or more, where
/// a basis would be anyone's choice.
const SHAPES: [&[u64]; 4] = [&[4, 3], &[3, 3], &[5], &[]];

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn add(w: &mut [f64], by: f64, d: &[f64]) {
    w.iter_mut().zip(d).for_each(|(w, d)| *w += by * d);
}

fn len(dims: &[u64]) -> usize {
    dims.iter().product::<u64>() as usize
}

/// The norm of all gradients of a call.
fn total(run: &Run, call: usize) -> f64 {
    let all: Vec<f64> = run
        .grads
        .iter()
        .flat_map(|grads| grads[call].clone())
        .collect();
    norm(&all)
}

#[test]
fn clip_of_cautious_of_adamw() {
    let text = "use std.clip.Clip
        use std.cautious.Cautious
        use std.adamw.AdamW
        optimizer Shown = Clip(base = Cautious(base = AdamW(lr = 0.1)), max_norm = 1)";
    let run = Trial::new(text, &SHAPES).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let mut base = Adam {
                decay: 0.01,
                ..Adam::new(len(dims), 0.1)
            };
            for (call, g) in grads.iter().enumerate() {
                let scale = (1.0 / (total(&run, call) + 1e-6)).min(1.0);
                assert!(scale < 1.0, "the gradient is clipped");
                let g: Vec<f64> = g.iter().map(|g| scale * g).collect();
                let d = less(&base.step(w, &g), w);
                let kept = d.iter().zip(&g).map(|(d, g)| f64::from(d * g < 0.0));
                let kept: Vec<f64> = kept.collect();
                let mean = (kept.iter().sum::<f64>() / kept.len() as f64).max(1e-3);
                let moved: Vec<f64> = d.iter().zip(&kept).map(|(d, kept)| d * kept).collect();
                add(w, 1.0 / mean, &moved);
            }
        }));
    }
}

const SAM_OF_SOAP: &str = "use std.sam.Sam
    use std.soap.Soap
    optimizer Shown = Sam(base = Soap(precondition_frequency = 2, lr = 0.1), rho = 0.1)";

/// Each step is preceded by a look around, whose gradients the base must not see.
#[test]
fn sam_of_soap() {
    let calls = ["first_step", "step"].repeat(6);
    let run = Trial::new(SAM_OF_SOAP, &SHAPES).calls(&calls).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let mut base = Soap::new(dims, 0.1, 2);
            for pair in grads.chunks(2) {
                let moved = base.step(w, &pair[1]);
                w.copy_from_slice(&moved);
            }
        }));
    }
}

#[test]
fn sam_looks_where_all_gradients_point_together() {
    let calls = ["first_step", "step", "first_step", "step", "first_step"];
    let run = Trial::new(SAM_OF_SOAP, &SHAPES).calls(&calls).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let mut base = Soap::new(dims, 0.1, 2);
            for call in [1, 3] {
                let moved = base.step(w, &grads[call]);
                w.copy_from_slice(&moved);
            }
            add(w, 0.1 / (total(&run, 4) + 1e-12), &grads[4]);
        }));
    }
}

/// Where Schedule-Free evaluates gradients, and the sequence of the base.
struct Averaged {
    y: Vec<f64>,
    z: Vec<f64>,
    base: Muon,
}

impl Averaged {
    fn after(dims: &[u64], w: &[f64], grads: &[Vec<f64>]) -> Averaged {
        let mut all = Averaged {
            y: w.to_vec(),
            z: w.to_vec(),
            base: Muon::new(dims, 0.1, 0.5),
        };
        for (g, t) in grads.iter().zip(1..) {
            all.step(g, 1.0 / f64::from(t));
        }
        all
    }

    fn step(&mut self, g: &[f64], c: f64) {
        let moved = self.base.step(&self.z, g);
        let s = less(&moved, &self.z);
        let apart = less(&self.z, &self.y);
        add(&mut self.y, c, &apart);
        add(&mut self.y, 1.0 - 0.8 * (1.0 - c), &s);
        self.z = moved;
    }
}

const SCHEDULE_FREE_OF_MUON: &str = "use std.schedule_free.ScheduleFree
    use std.muon.Muon
    optimizer Shown = ScheduleFree(base = Muon(lr = 0.1, momentum = 0.5, ns_dtype = same), beta = 0.8)";

#[test]
fn schedule_free_of_muon() {
    let run = Trial::new(SCHEDULE_FREE_OF_MUON, &SHAPES).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let all = Averaged::after(dims, w, grads);
            let apart = less(&run.state(param, "z"), &all.z);
            assert!(norm(&apart) < 1e-9, "z is {apart:?} away");
            w.copy_from_slice(&all.y);
        }));
    }
}

#[test]
fn schedule_free_of_muon_is_evaluated_at_the_average() {
    let calls = ["step", "step", "eval", "train", "step", "eval"];
    let run = Trial::new(SCHEDULE_FREE_OF_MUON, &SHAPES)
        .calls(&calls)
        .run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let steps = [0, 1, 4].map(|call| grads[call].clone());
            let all = Averaged::after(dims, w, &steps);
            w.copy_from_slice(&all.y);
            add(w, 1.0 - 1.0 / 0.8, &less(&all.z, &all.y));
        }));
    }
}

/// As far as `magnitude` goes, in the direction of `direction`.
fn grafted(w: &mut [f64], g: &[f64], magnitude: &mut dyn Model, direction: &mut dyn Model) {
    let far = norm(&less(&magnitude.step(w, g), w));
    let d = less(&direction.step(w, g), w);
    add(w, far / norm(&d).max(1e-16), &d);
}

#[test]
fn shampoo_grafted_onto_adam() {
    let text = "use std.graft.Graft
        use std.adamw.AdamW
        use std.shampoo.Shampoo
        optimizer Shown = Graft(magnitude = AdamW(weight_decay = 0), direction = Shampoo, lr = 0.1)";
    let run = Trial::new(text, &SHAPES).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let (mut adam, mut shampoo) = (Adam::new(w.len(), 0.1), Shampoo::new(dims));
            for g in grads {
                grafted(w, g, &mut adam, &mut shampoo);
            }
        }));
    }
}

/// The direction's first step goes nowhere, and so does the whole.
#[test]
fn soap_grafted_onto_adam() {
    let text = "use std.graft.Graft
        use std.adamw.AdamW
        use std.soap.Soap
        optimizer Shown = Graft(magnitude = AdamW(weight_decay = 0),
                                direction = Soap(precondition_frequency = 2), lr = 0.1)";
    let run = Trial::new(text, &SHAPES).run();
    for (param, dims) in SHAPES.iter().enumerate() {
        assert!(run.is_near(param, |w, grads| {
            let (mut adam, mut soap) = (Adam::new(w.len(), 0.1), Soap::new(dims, 0.1, 2));
            for g in grads {
                grafted(w, g, &mut adam, &mut soap);
            }
        }));
    }
}
