//! What compositions mean: the interpreter against models written out by hand, state names, options.

#[path = "language/support.rs"]
#[expect(dead_code, reason = "the language tests use the rest")]
mod support;

use optc_core::check::check;
use optc_core::dtype::DType;
use optc_core::hir::{OptimizerId, Program};
use optc_core::interp::{self, Moment};
use optc_core::ir::{Function, verify};
use optc_core::lower::{Spec, entries, lower, lower_entry, rule_for};
use optc_core::passes;
use optc_core::settings::{Overrides, settle};
use std::collections::{BTreeMap, BTreeSet};
use support::Modules;

/// The last optimizer of a text, bound to parameters.
struct Bound {
    inputs: Vec<f64>,
    names: Vec<String>,
    params: Vec<Param>,
}

struct Param {
    function: Function,
    /// By name, with whether it reads the gradient.
    entries: BTreeMap<String, (Function, bool)>,
    begun: bool,
    slots: Vec<Vec<f64>>,
    step: u64,
}

fn program(text: &str) -> (Program, OptimizerId) {
    let checked = check("shown.opt", text, &Modules::default());
    let program = checked
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .program;
    let id = *program.roots.last().expect("an optimizer");
    (program, id)
}

fn bind(text: &str, params: &[(&[u64], &[f64])]) -> Bound {
    let (program, id) = program(text);
    let settings = settle(&program, id, &Overrides::default()).expect("defaults fit");
    let each = params.iter().map(|(dims, values)| {
        let rule = rule_for(&program, id, &settings, ("w", dims)).expect("no guard loops");
        let rule = rule.expect("a rule takes it");
        let spec = Spec {
            program: &program,
            optimizer: id,
            settings: &settings,
            rule,
            name: "w",
            dims,
            dtype: DType::F64,
            grad_dtype: DType::F64,
        };
        let function = optimized(lower(&spec).expect("small rules"));
        let entries = entries(&spec).expect("small rules");
        let entries = entries.into_iter().map(|(entry, reads_grad)| {
            let lowered = lower_entry(&spec, &entry.name).expect("small rules");
            let lowered = lowered.expect("the entry is there");
            (entry.name, (optimized(lowered), reads_grad))
        });
        let mut slots = vec![values.to_vec()];
        slots.resize(function.slots.len(), Vec::new());
        Param {
            entries: entries.collect(),
            function,
            begun: false,
            slots,
            step: 0,
        }
    });
    Bound {
        params: each.collect(),
        inputs: settings.inputs(),
        names: program.input_names(id),
    }
}

fn optimized(function: Function) -> Function {
    let faults = verify(&function);
    assert!(faults.is_empty(), "{faults:?}\n{function}");
    let function = passes::optimize(function);
    let faults = verify(&function);
    assert!(faults.is_empty(), "{faults:?}\n{function}");
    function
}

impl Param {
    fn begin(&mut self, grad: &[f64], inputs: &[f64]) {
        if !self.begun {
            let first = &self.slots[interp::PARAM];
            let slots = interp::allocate(&self.function, first, grad, Moment::new(inputs, 1.0));
            self.slots = slots.expect("state begins");
            self.begun = true;
        }
        self.slots[interp::GRAD] = grad.to_vec();
    }
}

impl Bound {
    fn step(&mut self, grads: &[&[f64]]) {
        for (param, grad) in self.params.iter_mut().zip(grads) {
            param.begin(grad, &self.inputs);
            param.step += 1;
        }
        self.sums(None);
        let before = self.inputs.clone();
        for param in &mut self.params {
            let step = param.step as f64;
            let shared = interp::run(
                &param.function,
                &mut param.slots,
                Moment::new(&before, step),
            );
            let shared = shared.expect("the step succeeds");
            for (&input, value) in param.function.shared.iter().zip(shared) {
                self.inputs[input as usize] = value;
            }
        }
    }

    /// Runs an entry with one list of tensors per parameter, one of numbers, and gradients.
    fn entry(&mut self, name: &str, tensors: &[&[&[f64]]], numbers: &[f64], grads: &[&[f64]]) {
        let count = self.inputs.len();
        for (n, param) in self.params.iter_mut().enumerate() {
            let zeros = vec![0.0; param.slots[interp::PARAM].len()];
            param.begin(grads.get(n).unwrap_or(&zeros.as_slice()), &self.inputs);
            let given = tensors.get(n).into_iter().copied().flatten();
            param.slots.extend(given.map(|x| x.to_vec()));
        }
        self.inputs.extend(numbers);
        self.sums(Some(name));
        for param in &mut self.params {
            let (function, _) = &param.entries[name];
            let done = interp::run(
                function,
                &mut param.slots,
                Moment::new(&self.inputs, param.step as f64),
            );
            done.expect("the entry succeeds");
            param.slots.truncate(param.function.slots.len());
        }
        self.inputs.truncate(count);
    }

    fn sums(&mut self, entry: Option<&str>) {
        fn of<'a>(param: &'a Param, entry: Option<&str>) -> &'a Function {
            entry.map_or(&param.function, |name| &param.entries[name].0)
        }
        let all = self.params.iter().flat_map(|param| &of(param, entry).sums);
        let inputs: BTreeSet<u32> = all.map(|sum| sum.input).collect();
        for input in inputs {
            let each = self.params.iter().flat_map(|param| {
                let sums = of(param, entry)
                    .sums
                    .iter()
                    .filter(|sum| sum.input == input);
                sums.map(|sum| {
                    let step = param.step as f64;
                    interp::summand(sum, &param.slots, Moment::new(&self.inputs, step))
                        .expect("a sum")
                })
            });
            self.inputs[input as usize] = each.sum();
        }
    }

    fn set(&mut self, name: &str, value: f64) {
        let at = self.names.iter().position(|known| known == name);
        self.inputs[at.unwrap_or_else(|| panic!("`{name}` of {:?}", self.names))] = value;
    }

    fn param(&self, n: usize) -> &[f64] {
        &self.params[n].slots[interp::PARAM]
    }

    fn state(&self, n: usize, name: &str) -> &[f64] {
        let slots = &self.params[n].function.slots;
        let at = slots.iter().position(|slot| slot.name == name);
        &self.params[n].slots[at.unwrap_or_else(|| panic!("no state `{name}`"))]
    }

    fn states(&self, n: usize) -> Vec<&str> {
        let slots = &self.params[n].function.slots[2..];
        slots.iter().map(|slot| slot.name.as_str()).collect()
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-13 * (1.0 + b.abs());
    let same = found.len() == expected.len() && found.iter().zip(expected).all(near);
    assert!(same, "{found:?} is not {expected:?}");
}

/// Gradients of step `t` for the parameter `n`.
fn gradient(t: usize, n: usize, len: usize) -> Vec<f64> {
    let wave = |i: usize| ((t * 7 + n * 3 + i * 5) as f64 * 0.37).sin() * 2.0;
    (0..len).map(wave).collect()
}

const PLAIN: &str = "optimizer Plain {
    hyper lr = 0.1 in [0, inf)
    rule each(w: [...]) { w -= lr * grad }
}
";

const MOMENTUM: &str = "optimizer Momentum {
    hyper lr = 0.1 in [0, inf), beta = 0.9
    rule each(w: [...]) {
        state buffer = grad
        if step > 1 { buffer = beta * buffer + grad }
        w -= lr * buffer
    }
}
";

#[test]
fn the_value_of_an_application() {
    let half = "optimizer Half(base: optimizer = Plain) {
        rule each(w: [...]) { w = 0.5 * (w + base(w, grad)) }
    }";
    let mut bound = bind(&format!("{PLAIN}{half}"), &[(&[2], &[1.0, 2.0])]);
    bound.step(&[&[3.0, -1.0]]);
    close(bound.param(0), &[1.0 - 0.05 * 3.0, 2.0 + 0.05]);
    bound.set("lr", 1.0);
    bound.step(&[&[2.0, 2.0]]);
    close(bound.param(0), &[0.85 - 1.0, 2.05 - 1.0]);
}

#[test]
fn state_of_what_is_applied_begins_with_what_it_is_given() {
    let text = "optimizer Twice(base: optimizer = Momentum) {
        rule each(w: [...]) { w = base(w, 2 * grad) }
    }";
    let mut bound = bind(&format!("{MOMENTUM}{text}"), &[(&[2], &[0.0, 0.0])]);
    let (mut w, mut buffer) = ([0.0; 2], [0.0; 2]);
    for t in 1..5 {
        let grad = gradient(t, 0, 2);
        bound.step(&[&grad]);
        for i in 0..2 {
            buffer[i] = if t == 1 {
                2.0 * grad[i]
            } else {
                0.9 * buffer[i] + 2.0 * grad[i]
            };
            w[i] -= 0.1 * buffer[i];
        }
        close(bound.state(0, "base.buffer"), &buffer);
        close(bound.param(0), &w);
    }
}

#[test]
fn a_skip_ends_what_is_applied_alone() {
    let text = "optimizer Lazy {
        hyper lr = 0.1
        rule each(w: [...]) {
            state seen = zeros_like(w)
            seen += grad
            on first step { skip }
            w -= lr * seen
        }
    }
    optimizer Both(base: optimizer = Lazy) {
        rule each(w: [...]) {
            w = base(w, grad)
            w *= 0.5
        }
    }";
    let mut bound = bind(text, &[(&[1], &[8.0])]);
    bound.step(&[&[1.0]]);
    close(bound.param(0), &[4.0]);
    bound.step(&[&[2.0]]);
    close(bound.param(0), &[0.5 * (4.0 - 0.3)]);
}

#[test]
fn sums_and_shared_numbers_of_what_is_applied() {
    let text = "optimizer Clip {
        hyper lr = 1, limit = 1
        shared turns = 0
        rule each(w: [...]) {
            turns += 1
            let total = sqrt(across params { dot(grad, grad) })
            w -= lr / turns * min(1, limit / total) * grad
        }
    }
    optimizer Scaled(base: optimizer = Clip) {
        hyper factor = 10
        shared calls = 100
        rule each(w: [...]) {
            calls += 1
            let norm = sqrt(across params { dot(w, w) })
            w = base(w, factor * grad) * (calls / calls) + 0 * norm
        }
    }";
    let mut bound = bind(text, &[(&[1], &[1.0]), (&[2], &[2.0, 3.0])]);
    for (t, expected) in [(1.0, [1.0 - 0.6, 2.0 - 0.8, 3.0]), (2.0, [0.1, 0.8, 3.0])] {
        bound.step(&[&[3.0], &[4.0, 0.0]]);
        close(bound.param(0), &expected[..1]);
        close(bound.param(1), &expected[1..]);
        let at = bound.names.iter().position(|name| name == "base.turns");
        assert_eq!(bound.inputs[at.expect("a shared number")], t);
    }
}

#[test]
fn names_of_options_and_state() {
    let text = "use std.adamw.AdamW
    use std.sgd.Sgd
    optimizer Pass(base: optimizer = Sgd) {
        hyper factor = 1
        rule each(w: [...]) { w = base(w, factor * grad) }
    }
    optimizer Mean(a: optimizer = Sgd, b: optimizer = AdamW) {
        rule each(w: [...]) { w = 0.5 * (a(w, grad) + b(w, grad)) }
    }
    optimizer Shown = Mean(a = Pass(base = Sgd(momentum = 0.8), factor = 3), b = Pass(base = AdamW))";
    let (program, id) = program(text);
    let shown = &program.optimizers[id];
    let names: Vec<&str> = shown
        .hypers
        .iter()
        .map(|hyper| hyper.name.as_str())
        .collect();
    let expected = [
        "a.factor",
        "a.base.lr",
        "momentum",
        "dampening",
        "a.base.weight_decay",
        "b.factor",
        "b.base.lr",
        "beta1",
        "beta2",
        "eps",
        "b.base.weight_decay",
    ];
    assert_eq!(names, expected);
    let settings = settle(&program, id, &Overrides::default()).expect("defaults fit");
    assert_eq!((settings.hypers[0], settings.hypers[2]), (3.0, 0.8));
    let aliased = Overrides {
        hypers: vec![("b.base.beta1".to_owned(), 0.5)],
        statics: Vec::new(),
    };
    let settings = settle(&program, id, &aliased).expect("a path means the same");
    assert_eq!(settings.hypers[7], 0.5);
    let bound = bind(text, &[(&[2, 3], &[0.0; 6])]);
    assert_eq!(
        bound.states(0),
        [
            "a.base.momentum_buffer",
            "b.base.exp_avg",
            "b.base.exp_avg_sq"
        ]
    );
}

#[test]
fn what_is_set_at_each_step_is_no_option() {
    let text = "optimizer Warm(base: optimizer = Plain) {
        hyper rate = 2
        rule each(w: [...]) { w = base(w, grad, lr: rate / step) }
    }
    optimizer Shown = Warm(base = Plain)";
    let mut bound = bind(&format!("{PLAIN}{text}"), &[(&[1], &[0.0])]);
    assert_eq!(bound.names, ["rate"]);
    bound.step(&[&[1.0]]);
    bound.step(&[&[1.0]]);
    close(bound.param(0), &[-3.0]);
}

#[test]
fn what_is_read_stays_an_option() {
    let text = "optimizer Warm(base: optimizer = Plain) {
        rule each(w: [...]) { w = base(w, grad, lr: base.lr / step) }
    }";
    let mut bound = bind(&format!("{PLAIN}{text}"), &[(&[1], &[0.0])]);
    assert_eq!(bound.names, ["lr"]);
    bound.step(&[&[1.0]]);
    bound.set("lr", 4.0);
    bound.step(&[&[1.0]]);
    close(bound.param(0), &[-2.1]);
}

#[test]
fn the_rule_of_what_is_applied_goes_by_shape() {
    let text = "optimizer ByShape {
        hyper lr = 1
        rule vector(w: [n]) { w -= lr * grad }
        rule flat(w: [m, n]) where m > 1 = rows on flatten(w, from: 1)
        rule rows(w: [m, n]) {
            state total = zeros_like(w)
            total += grad
            w -= lr / n * total
        }
    }
    optimizer Pass(base: optimizer = ByShape) {
        rule each(w: [...]) { w = base(w, grad) }
    }";
    let mut bound = bind(text, &[(&[2], &[0.0; 2]), (&[2, 3], &[0.0; 6])]);
    bound.step(&[&[1.0; 2], &[3.0; 6]]);
    close(bound.param(0), &[-1.0; 2]);
    close(bound.param(1), &[-1.0; 6]);
    assert_eq!(bound.states(1), ["base.total"]);
    let (program, id) = program(text);
    let settings = settle(&program, id, &Overrides::default()).expect("defaults fit");
    assert_eq!(
        rule_for(&program, id, &settings, ("w", &[2, 2, 2])),
        Ok(None)
    );
}

const SAM: &str = "optimizer Sam(base: optimizer = Plain) {
    hyper rho = 0.05 in [0, inf)
    rule each(w: [...]) {
        state old = zeros_like(w)
        w = base(old, grad)
        entry first_step {
            let n = sqrt(across params { dot(grad, grad) })
            old = w
            w += rho / (n + 1e-12) * grad
        }
    }
}
";

#[test]
fn an_entry_shares_state_with_the_step() {
    let mut bound = bind(
        &format!("{PLAIN}{SAM}"),
        &[(&[1], &[1.0]), (&[2], &[2.0, 3.0])],
    );
    bound.entry("first_step", &[], &[], &[&[3.0], &[0.0, 4.0]]);
    close(bound.param(0), &[1.0 + 0.05 * 0.6]);
    close(bound.param(1), &[2.0, 3.0 + 0.05 * 0.8]);
    close(bound.state(1, "old"), &[2.0, 3.0]);
    bound.step(&[&[1.0], &[1.0, 1.0]]);
    close(bound.param(0), &[0.9]);
    close(bound.param(1), &[1.9, 2.9]);
}

const AVERAGED: &str = "optimizer Averaged {
    hyper lr = 1, beta = 0.5
    rule flat(w: [a, b, ...]) = each on flatten(w, from: 0)
    rule each(w: [...]) {
        state z = w
        z -= lr * grad
        w = lerp(w, z, 0.5)
        entry eval { w = lerp(w, z, 1 - 1 / beta) }
        entry train { w = lerp(w, z, 1 - beta) }
        entry nudge(to: like w, by: float, often: float) { w = lerp(w, to, by * often * step) }
    }
}
";

#[test]
fn inputs_of_an_entry() {
    let mut bound = bind(AVERAGED, &[(&[2], &[1.0, 2.0])]);
    bound.step(&[&[2.0, 0.0]]);
    close(bound.param(0), &[0.0, 2.0]);
    bound.entry("nudge", &[&[&[8.0, 4.0]]], &[0.25, 2.0], &[]);
    close(bound.param(0), &[4.0, 3.0]);
    bound.entry("eval", &[], &[], &[]);
    close(bound.param(0), &[4.0 + 5.0, 4.0]);
    bound.entry("train", &[], &[], &[]);
    close(bound.param(0), &[4.0, 3.0]);
}

#[test]
fn a_wrapper_has_the_entries_of_what_it_applies() {
    let text = "optimizer Double(base: optimizer = Averaged) {
        rule each(w: [...]) { w = base(w, 2 * grad) }
    }
    optimizer Shown = Double(base = Double)";
    let mut bound = bind(&format!("{AVERAGED}{text}"), &[(&[2, 1], &[1.0, 2.0])]);
    bound.step(&[&[0.5, 0.0]]);
    close(bound.param(0), &[0.0, 2.0]);
    bound.entry("nudge", &[&[&[8.0, 4.0]]], &[0.25, 2.0], &[]);
    close(bound.param(0), &[4.0, 3.0]);
    bound.entry("eval", &[], &[], &[]);
    close(bound.param(0), &[9.0, 4.0]);
}

#[test]
fn an_entry_acts_where_the_value_is_kept() {
    let text = "optimizer Inside(base: optimizer = Averaged) {
        rule each(w: [...]) {
            state fast = w
            fast = base(fast, grad)
            w = lerp(w, fast, 0.5)
        }
    }";
    let mut bound = bind(&format!("{AVERAGED}{text}"), &[(&[1], &[1.0])]);
    bound.step(&[&[2.0]]);
    // z = 1 - 2, fast = (1 - 1) / 2, w = (1 + 0) / 2
    close(bound.param(0), &[0.5]);
    bound.entry("eval", &[], &[], &[]);
    close(bound.param(0), &[0.5]);
    close(bound.state(0, "fast"), &[1.0]);
    close(bound.state(0, "base.z"), &[-1.0]);
}

const COMPONENT: &str = "component momentum(g: [...], beta: float) -> [...] {
    state buffer = g
    buffer = lerp(buffer, g, 1 - beta)
    buffer
}
component twice(g: [...], beta: float) -> [...] {
    state turns = 0
    turns += 1
    let once = momentum(g, beta)
    momentum(once, beta) / turns
}
";

#[test]
fn every_use_of_a_component_has_its_state() {
    let text = "optimizer Shown {
        hyper beta = 0.5
        rule each(w: [...]) {
            let fast = momentum(grad, beta)
            let slow = momentum(-grad, 0.75)
            w -= fast + slow + twice(w, beta)
        }
    }";
    let mut bound = bind(&format!("{COMPONENT}{text}"), &[(&[1], &[4.0])]);
    assert_eq!(
        bound.states(0),
        [
            "fast.buffer",
            "slow.buffer",
            "twice.turns",
            "twice.once.buffer",
            "twice.momentum.buffer"
        ]
    );
    let (mut w, mut fast, mut slow, mut once, mut again) = (4.0, 0.0, 0.0, 0.0, 0.0);
    for t in 1..5 {
        let g = gradient(t, 0, 1)[0];
        bound.step(&[&[g]]);
        let first = t == 1;
        fast = if first { g } else { fast + 0.5 * (g - fast) };
        slow = if first { -g } else { slow + 0.25 * (-g - slow) };
        once = if first { w } else { once + 0.5 * (w - once) };
        again = if first {
            once
        } else {
            again + 0.5 * (once - again)
        };
        w -= fast + slow + again / t as f64;
        close(bound.param(0), &[w]);
    }
}

#[test]
fn components_of_modes() {
    let text = "component running(g: [m, m]) -> [m, m] {
        state buffer = zeros_like(g)
        buffer = 0.5 * buffer + g
        buffer
    }
    optimizer Shown {
        rule each(w: [...]) {
            modes i of w where dim(w, i) > 1 { state total[i]: sym[dim(w, i)] = 0 }
            each i {
                let m = running(gram(grad, i))
                total[i] = total[i] + m
            }
            w -= grad
        }
    }";
    let mut bound = bind(text, &[(&[2, 3], &[0.0; 6])]);
    assert_eq!(
        bound.states(0),
        ["total.0", "total.1", "m.buffer.0", "m.buffer.1"]
    );
    bound.step(&[&[1.0; 6]]);
    bound.step(&[&[1.0; 6]]);
    close(bound.state(0, "total.0"), &[3.0 + 4.5; 4]);
    close(bound.state(0, "m.buffer.1"), &[3.0; 9]);
}

#[test]
fn a_step_setting_reaches_the_first_value_of_state() {
    let text = "optimizer Sized {
        hyper lr = 0.1
        rule each(w: [...]) {
            state size = lr * ones_like(w)
            w -= size .* grad
        }
    }
    optimizer Shown(base: optimizer = Sized) {
        hyper rate = 3
        rule each(w: [...]) { w = base(w, grad, lr: rate / step) }
    }";
    let mut bound = bind(text, &[(&[1], &[0.0])]);
    bound.step(&[&[1.0]]);
    bound.step(&[&[1.0]]);
    close(bound.param(0), &[-6.0]);
}
