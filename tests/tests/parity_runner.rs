//! Shows that the parity runner passes what is right and fails what is wrong.
//!
//! Two steppers prove it: a hand-written AdamW, and a player that repeats the recording with chosen faults.

use std::collections::BTreeMap;

use optc_tests::golden::{Case, load, load_all};
use optc_tests::mapping::{self, State};
use optc_tests::parity::{Stepper, run, unpacked};
use optc_tests::tolerance::Precision;

#[derive(Clone, Copy)]
struct AdamW {
    lr: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    eps_inside_root: bool,
}

#[derive(Clone)]
struct Slot {
    w: Vec<f64>,
    exp_avg: Vec<f64>,
    exp_avg_sq: Vec<f64>,
    step: i32,
}

struct AdamWStepper {
    rule: AdamW,
    slots: BTreeMap<String, Slot>,
}

impl AdamWStepper {
    fn new(case: &Case, change: impl Fn(&mut AdamW)) -> AdamWStepper {
        let hypers = &mapping::setup(case).groups[0].hypers;
        let mut rule = AdamW {
            lr: hypers["lr"],
            beta1: hypers["beta1"],
            beta2: hypers["beta2"],
            eps: hypers["eps"],
            weight_decay: hypers["weight_decay"],
            eps_inside_root: false,
        };
        change(&mut rule);
        let slot = |w: &[f64]| {
            let zeros = vec![0.0; w.len()];
            Slot {
                w: w.to_vec(),
                exp_avg: zeros.clone(),
                exp_avg_sq: zeros,
                step: 0,
            }
        };
        let slots = case
            .params
            .iter()
            .map(|(name, p)| (name.clone(), slot(&p.init)))
            .collect();
        AdamWStepper { rule, slots }
    }
}

impl AdamW {
    fn update(&self, slot: &mut Slot, grad: &[f64]) {
        slot.step += 1;
        let (bc1, bc2) = (
            1.0 - self.beta1.powi(slot.step),
            1.0 - self.beta2.powi(slot.step),
        );
        for (i, g) in grad.iter().enumerate() {
            let (m, v) = (&mut slot.exp_avg[i], &mut slot.exp_avg_sq[i]);
            *m += (1.0 - self.beta1) * (g - *m);
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            let root = match self.eps_inside_root {
                true => (*v / bc2 + self.eps).sqrt(),
                false => (*v / bc2).sqrt() + self.eps,
            };
            slot.w[i] *= 1.0 - self.lr * self.weight_decay;
            slot.w[i] -= self.lr * (*m / bc1) / root;
        }
    }
}

impl Stepper for AdamWStepper {
    fn entry(&mut self, _: &str, _: Option<&BTreeMap<String, Vec<f64>>>) {}

    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>) {
        self.rule.lr = lr.unwrap_or(self.rule.lr);
        for (name, grad) in grads {
            self.rule
                .update(self.slots.get_mut(name).expect("a known parameter"), grad);
        }
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.slots[name].w.clone()
    }

    fn shared(&self, _: usize, _: &str) -> Option<f64> {
        None
    }

    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        let slot = &self.slots[param];
        match state {
            "exp_avg" => Some(slot.exp_avg.clone()),
            "exp_avg_sq" => Some(slot.exp_avg_sq.clone()),
            "step" => Some(vec![f64::from(slot.step)]),
            _ => None,
        }
    }
}

fn adamw_cases() -> impl Iterator<Item = Case> {
    let ours = ["default", "eps_large", "long", "lr_schedule", "float32"];
    load("adamw")
        .into_iter()
        .filter(move |case| ours.contains(&case.name.as_str()))
}

#[test]
fn a_right_adamw_passes() {
    for case in adamw_cases() {
        let report = run(&case, Precision::F64, &mut AdamWStepper::new(&case, |_| {}));
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn a_wrong_adamw_fails() {
    type Change = fn(&mut AdamW);
    let faults: [(&str, Change); 4] = [
        ("beta2 off by one in a million", |rule| rule.beta2 -= 1e-6),
        ("lr off by one in a hundred million", |rule| {
            rule.lr *= 1.0 + 1e-8
        }),
        ("eps inside the root", |rule| rule.eps_inside_root = true),
        ("no weight decay", |rule| rule.weight_decay = 0.0),
    ];
    for case in adamw_cases().filter(|case| case.name == "default") {
        for (fault, change) in faults {
            let report = run(&case, Precision::F64, &mut AdamWStepper::new(&case, change));
            assert!(!report.passed(), "{fault} was not noticed");
        }
    }
}

#[test]
fn amsgrad_is_not_adamw() {
    for case in load("adamw")
        .into_iter()
        .filter(|case| case.name == "amsgrad_decay")
    {
        let report = run(&case, Precision::F64, &mut AdamWStepper::new(&case, |_| {}));
        assert!(!report.passed());
        assert!(
            report.to_string().contains("mat/max_exp_avg_sq"),
            "{report}"
        );
    }
}

/// Repeats the recording; a fault may change what it says of a state.
struct Player<'a> {
    case: &'a Case,
    step: u64,
    /// Where an entry has brought the parameters, and the step under which that was recorded.
    point: Option<(&'static str, u64)>,
    fault: Fault,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Columns of every basis, and the tensors rotated by it, change sign together.
    FlippedTogether,
    /// Columns change sign, what lives in them does not.
    FlippedBasisOnly,
    /// The first two columns of every basis are swapped.
    SwappedColumns,
    /// The counter is one behind.
    Counter,
    /// The states are not there.
    NoStates,
}

impl Player<'_> {
    fn recorded(&self, param: &str, ours: &str) -> Option<(String, Vec<f64>)> {
        let states = &self.case.snapshot(self.step, param).states;
        let is_ours = |recorded: &str| match mapping::state(self.case, param, recorded) {
            State::Plain(name)
            | State::Unsigned(name)
            | State::Basis(name)
            | State::Upper(name)
            | State::Rotated { name, .. } => name == ours,
            State::Counter(_) => ours == "step",
            State::Either(first, second) | State::Packed(first, second) => {
                first == ours || second == ours
            }
            // The first part is all of it, and the others are empty.
            State::Parts(name, _) => ours == format!("part0.{name}"),
            State::Unread => false,
        };
        states
            .iter()
            .find(|(name, _)| is_ours(name))
            .map(|(n, v)| (n.clone(), v.clone()))
    }

    fn basis(&self, values: &mut [f64]) {
        let size = values.len().isqrt();
        for row in values.chunks_exact_mut(size.max(1)) {
            match self.fault {
                Fault::FlippedTogether | Fault::FlippedBasisOnly => row[0] = -row[0],
                Fault::SwappedColumns if size > 1 => row.swap(0, 1),
                _ => {}
            }
        }
    }

    /// Gives a rotated tensor the layout of the modes, and flips what a flipped first column flips:
    /// elements whose index is zero in an odd number of rotated modes.
    fn rotated(&self, param: &str, values: &mut Vec<f64>, signed: bool) {
        let setup = mapping::setup(self.case);
        let modes = mapping::modes(&setup, param, &self.case.params[param]);
        *values = modes.order.iter().map(|at| values[*at]).collect();
        let states = &self.case.snapshot(self.step, param).states;
        let mut stride = values.len();
        for (mode, dim) in modes.dims.iter().enumerate() {
            stride /= dim;
            let flips = signed && self.fault == Fault::FlippedTogether;
            if flips && states.contains_key(&format!("Q.{mode}")) {
                let first = values.chunks_mut(stride).step_by(*dim);
                first.flatten().for_each(|value| *value = -*value);
            }
        }
    }
}

impl Stepper for Player<'_> {
    fn entry(&mut self, name: &str, _: Option<&BTreeMap<String, Vec<f64>>>) {
        self.point = match name {
            "first_step" => Some(("perturbed", self.step + 1)),
            "init" => Some(("after_init", self.step)),
            "eval" => Some(("eval", self.step)),
            _ => None,
        };
    }

    fn step(&mut self, _: Option<f64>, _: &BTreeMap<String, Vec<f64>>) {
        self.step += 1;
        self.point = None;
    }

    fn param(&self, name: &str) -> Vec<f64> {
        if let Some((kind, step)) = self.point {
            return self.case.extra(kind, step).expect("a recorded point")[name].clone();
        }
        match self.step {
            0 => self.case.params[name].init.clone(),
            step => self.case.snapshot(step, name).param.clone(),
        }
    }

    fn shared(&self, group: usize, name: &str) -> Option<f64> {
        let recorded = mapping::shared(self.case, self.step, group);
        let found = recorded.into_iter().find(|(ours, _)| *ours == name);
        found.map(|(_, value)| value)
    }

    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        let (recorded, mut values) = self.recorded(param, state)?;
        match mapping::state(self.case, param, &recorded) {
            _ if self.fault == Fault::NoStates => return None,
            State::Basis(_) => self.basis(&mut values),
            State::Upper(_) => values = unpacked(&values),
            State::Rotated { signed, .. } => self.rotated(param, &mut values, signed),
            State::Counter(ahead) => {
                values[0] += ahead - f64::from(self.fault == Fault::Counter);
            }
            _ => {}
        }
        Some(values)
    }
}

fn play(case: &Case, fault: Fault) -> bool {
    let precision = if case.dtype == "float64" {
        Precision::F64
    } else {
        Precision::F32
    };
    run(
        case,
        precision,
        &mut Player {
            case,
            step: 0,
            point: None,
            fault,
        },
    )
    .passed()
}

#[test]
fn the_recording_agrees_with_itself() {
    for case in load_all() {
        assert!(play(&case, Fault::None), "{}", case.id());
    }
}

#[test]
fn missing_states_are_noticed() {
    let stateful = |case: &&Case| {
        let last = *case.snapshots.iter().max().expect("a snapshot");
        let states = |param| case.snapshot(last, param).states.is_empty();
        !case.order.iter().all(|param| states(param))
    };
    for case in load_all().iter().filter(stateful) {
        assert!(!play(case, Fault::NoStates), "{}", case.id());
    }
}

#[test]
fn column_signs_are_free_and_nothing_else() {
    for case in load_all()
        .iter()
        .filter(|case| case.file.starts_with("soap"))
    {
        assert!(play(case, Fault::FlippedTogether), "{}", case.id());
        assert!(!play(case, Fault::FlippedBasisOnly), "{}", case.id());
        assert!(!play(case, Fault::SwappedColumns), "{}", case.id());
        assert!(!play(case, Fault::Counter), "{}", case.id());
    }
}
