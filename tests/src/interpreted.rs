//! A stepper that runs the reference interpreter, on the IR as lowered or as optimized.

use std::collections::{BTreeMap, BTreeSet};

use optc_core::dtype::DType;
use optc_core::hir::{OptimizerId, Program};
use optc_core::interp::{self, Moment};
use optc_core::ir::{Function, Summand};
use optc_core::kernel::Fold;
use optc_core::lower::{Spec, entries, lower, lower_entry, rule_for};
use optc_core::passes;
use optc_core::plan::Role;
use optc_core::random::Noise;
use optc_core::settings::{Overrides, Settings, StaticValue, settle};
use serde_json::Value;

use crate::golden::Case;
use crate::library;
use crate::mapping::{self, Group};
use crate::parity::Stepper;
use crate::replay;

/// How much of the compiler runs before the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Straight from lowering.
    Lowered,
    /// After all passes.
    Optimized,
}

/// One parameter with its rule and state.
struct Bound {
    function: Function,
    /// By name, with whether it reads the gradient.
    entries: BTreeMap<String, (Function, bool)>,
    /// The state is no longer what it was before the first step.
    begun: bool,
    slots: Vec<Vec<f64>>,
    group: usize,
    step: u64,
    name: String,
    noise: Noise,
}

/// An optimizer bound to the parameters of a case.
pub struct Interpreted {
    /// Hyperparameters, shared numbers and sums of each group.
    inputs: Vec<Vec<f64>>,
    names: Vec<String>,
    params: BTreeMap<String, Bound>,
}

impl Interpreted {
    /// Binds the optimizer that a case recorded.
    ///
    /// # Panics
    ///
    /// When the optimizer cannot be bound: a fault of the mapping or of the standard library.
    pub fn new(case: &Case, dtype: DType, stage: Stage) -> Interpreted {
        let setup = mapping::setup(case);
        let program = library::checked(setup.module).program;
        let id = optimizer(&program, setup.optimizer);
        let tensor = |name: &String| {
            let param = &case.params[name];
            let dims = param.shape.iter().map(|&d| d as u64).collect();
            (dims, param.init.clone())
        };
        let params = case.order.iter().map(|name| (name.clone(), tensor(name)));
        let mut made = Interpreted::bind(
            &program,
            id,
            &setup.groups,
            &params.collect(),
            (dtype, stage),
        );
        let noise = replay::noise(case);
        for bound in made.params.values_mut() {
            bound.noise = noise.clone();
        }
        made
    }

    /// Binds an optimizer to parameters, each with its shape and its elements.
    ///
    /// # Panics
    ///
    /// When it cannot be bound.
    pub fn bind(
        program: &Program,
        id: OptimizerId,
        groups: &[Group],
        tensors: &BTreeMap<String, (Vec<u64>, Vec<f64>)>,
        (dtype, stage): (DType, Stage),
    ) -> Interpreted {
        let settings: Vec<Settings> = groups
            .iter()
            .map(|group| settings(program, id, group))
            .collect();
        let mut params = BTreeMap::new();
        for (n, group) in groups.iter().enumerate() {
            for name in &group.params {
                let tensor = (name.as_str(), &tensors[name]);
                let bound = bind(program, id, (&settings[n], group), tensor, (dtype, stage));
                params.insert(name.clone(), Bound { group: n, ..bound });
            }
        }
        Interpreted {
            inputs: settings.iter().map(Settings::inputs).collect(),
            names: program.input_names(id),
            params,
        }
    }
}

impl Interpreted {
    /// Computes the sums over the parameters of a step, in order of their inputs.
    fn sum<'a>(&mut self, entry: Option<&str>, names: impl Iterator<Item = &'a String> + Clone) {
        let bound = |name: &'a String| &self.params[name];
        let sums = |bound: &Bound| {
            bound
                .of(entry)
                .sums
                .iter()
                .map(|sum| sum.input)
                .collect::<Vec<_>>()
        };
        let wanted: BTreeSet<u32> = names.clone().flat_map(|name| sums(bound(name))).collect();
        for input in wanted {
            let each = names.clone().flat_map(|name| {
                let bound = &self.params[name];
                bound.summands(entry, input, &self.inputs[bound.group])
            });
            let total = total(each);
            self.inputs
                .iter_mut()
                .for_each(|inputs| inputs[input as usize] = total);
        }
    }
}

/// What parameters make together; all fold alike.
fn total(each: impl Iterator<Item = (Fold, f64)>) -> f64 {
    let joined = each.reduce(|(fold, a), (_, b)| (fold, fold.of(a, b)));
    joined.map_or(0.0, |(_, total)| total)
}

impl Bound {
    /// A step begins: the gradient is there, and before the first one the state gets its values.
    fn begin(&mut self, grad: &[f64], inputs: &[f64]) {
        let dtype = self.function.slots[interp::GRAD].ty.dtype;
        let grad: Vec<f64> = grad.iter().map(|&x| dtype.round(x)).collect();
        if !self.begun {
            self.begun = true;
            let param = &self.slots[interp::PARAM];
            let slots = interp::allocate(&self.function, param, &grad, self.moment(inputs, 1));
            self.slots = slots.expect("state can be initialised");
        }
        self.slots[interp::GRAD] = grad;
    }

    /// What runs: the step, or an entry.
    fn of(&self, entry: Option<&str>) -> &Function {
        entry.map_or(&self.function, |name| &self.entries[name].0)
    }

    /// What it adds to a sum over parameters: a summand for each of its parts.
    fn summands(&self, entry: Option<&str>, input: u32, inputs: &[f64]) -> Vec<(Fold, f64)> {
        let sums = self.of(entry).sums.iter().filter(|sum| sum.input == input);
        let moment = self.moment(inputs, self.step);
        let value = |sum: &Summand| {
            let value = interp::summand(sum, &self.slots, moment);
            (sum.fold, value.expect("the sum can be computed"))
        };
        sums.map(value).collect()
    }

    fn run_entry(&mut self, entry: &str, inputs: &[f64]) {
        let (function, _) = &self.entries[entry];
        let moment = Moment {
            inputs,
            step: self.step as f64,
            param: &self.name,
            noise: &self.noise,
        };
        let done = interp::run(function, &mut self.slots, moment);
        done.expect("the entry succeeds");
    }

    fn run(&mut self, inputs: &[f64]) -> Vec<f64> {
        let moment = Moment {
            inputs,
            step: self.step as f64,
            param: &self.name,
            noise: &self.noise,
        };
        let made = interp::run(&self.function, &mut self.slots, moment);
        made.expect("the step succeeds")
    }

    fn moment<'a>(&'a self, inputs: &'a [f64], step: u64) -> Moment<'a> {
        Moment {
            inputs,
            step: step as f64,
            param: &self.name,
            noise: &self.noise,
        }
    }
}

fn bind(
    program: &Program,
    optimizer: OptimizerId,
    (settings, group): (&Settings, &Group),
    (name, (dims, init)): (&str, &(Vec<u64>, Vec<f64>)),
    (dtype, stage): (DType, Stage),
) -> Bound {
    let rules = &program.optimizers[optimizer].rules;
    let named = group
        .rule
        .and_then(|rule| rules.iter().position(|r| r.name == rule));
    let matching = || rule_for(program, optimizer, settings, (name, dims)).expect("short guards");
    let rule = named.or_else(matching);
    let rule = rule.unwrap_or_else(|| panic!("no rule takes `{name}` {dims:?}"));
    let spec = Spec {
        program,
        optimizer,
        settings,
        rule,
        name,
        dims,
        dtype,
        grad_dtype: dtype,
    };
    let at_stage = |lowered| match stage {
        Stage::Lowered => lowered,
        Stage::Optimized => passes::optimize(lowered),
    };
    let function = at_stage(lower(&spec).expect("a rule with a measure"));
    let entries = entries(&spec).expect("a rule with a measure");
    let entries = entries.into_iter().map(|(entry, reads_grad)| {
        let lowered = lower_entry(&spec, &entry.name).expect("an entry with a measure");
        let lowered = lowered.expect("an entry of the rule");
        (entry.name, (at_stage(lowered), reads_grad))
    });
    let entries = entries.collect();
    let init: Vec<f64> = init.iter().map(|&x| dtype.round(x)).collect();
    let zeros = vec![0.0; init.len()];
    let inputs = settings.inputs();
    let slots = interp::allocate(&function, &init, &zeros, Moment::new(&inputs, 1.0));
    let slots = slots.expect("state can be initialised");
    Bound {
        function,
        entries,
        begun: false,
        slots,
        group: 0,
        step: 0,
        name: name.to_owned(),
        noise: Noise::default(),
    }
}

/// The optimizer of that name.
fn optimizer(program: &Program, name: &str) -> OptimizerId {
    let found = program
        .optimizers
        .iter()
        .find(|(_, optimizer)| optimizer.name == name);
    found.unwrap_or_else(|| panic!("no optimizer `{name}`")).0
}

fn settings(program: &Program, id: OptimizerId, group: &Group) -> Settings {
    let overrides = overrides(group);
    settle(program, id, &overrides).unwrap_or_else(|mistake| panic!("{mistake}"))
}

/// A group's options in the compiler's terms.
pub fn overrides(group: &Group) -> Overrides {
    Overrides {
        hypers: group
            .hypers
            .iter()
            .map(|(name, x)| ((*name).to_owned(), *x))
            .collect(),
        statics: group
            .statics
            .iter()
            .map(|(name, value)| ((*name).to_owned(), static_value(value)))
            .collect(),
    }
}

fn static_value(value: &Value) -> StaticValue {
    match value {
        Value::Bool(b) => StaticValue::Bool(*b),
        Value::Number(x) => StaticValue::Number(x.as_f64().expect("a number")),
        Value::String(word) if word == "same" => StaticValue::DType(None),
        Value::String(word) => DType::from_name(word)
            .map_or(StaticValue::Word(word.clone()), |d| {
                StaticValue::DType(Some(d))
            }),
        Value::Array(cells) => StaticValue::Table(rows(cells)),
        other => panic!("no static is {other}"),
    }
}

fn rows(cells: &[Value]) -> Vec<Vec<f64>> {
    let number = |cell: &Value| cell.as_f64().expect("a number");
    match cells.first() {
        Some(Value::Array(_)) => cells
            .iter()
            .map(|row| row.as_array().into_iter().flatten().map(number).collect())
            .collect(),
        _ => vec![cells.iter().map(number).collect()],
    }
}

impl Interpreted {
    /// Changes a state between steps.
    ///
    /// # Panics
    ///
    /// When the parameter has none of that name.
    pub fn change_state(&mut self, param: &str, name: &str, change: impl FnOnce(&mut [f64])) {
        let bound = self.params.get_mut(param).expect("a known parameter");
        let slot = bound
            .function
            .slots
            .iter()
            .position(|slot| slot.name == name);
        change(&mut bound.slots[slot.expect("a state")]);
    }

    /// The states of a parameter by name, and how many elements each has.
    pub fn states(&self, param: &str) -> Vec<(String, usize)> {
        let bound = &self.params[param];
        let slots = bound.function.slots.iter().zip(&bound.slots);
        let states = slots.filter(|(slot, _)| slot.role == Role::State);
        let mut states: Vec<(String, usize)> = states
            .map(|(slot, values)| (slot.name.clone(), values.len()))
            .collect();
        states.sort();
        states
    }
}

impl Stepper for Interpreted {
    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>) {
        if let Some(lr) = lr {
            let at = self.names.iter().position(|name| name == "lr");
            let at = at.expect("a learning rate that can be set");
            self.inputs.iter_mut().for_each(|inputs| inputs[at] = lr);
        }
        for (name, grad) in grads {
            let bound = self.params.get_mut(name).expect("a known parameter");
            bound.begin(grad, &self.inputs[bound.group]);
            bound.step += 1;
        }
        self.sum(None, grads.keys());
        let before = self.inputs.clone();
        for name in grads.keys() {
            let bound = self.params.get_mut(name).expect("a known parameter");
            let shared = bound.run(&before[bound.group]);
            for (&input, value) in bound.function.shared.iter().zip(shared) {
                self.inputs[bound.group][input as usize] = value;
            }
        }
    }

    fn entry(&mut self, name: &str, grads: Option<&BTreeMap<String, Vec<f64>>>) {
        let takes = |param: &&String| {
            let bound = &self.params[*param];
            let reads_grad = bound.entries.get(name).map(|(_, reads_grad)| *reads_grad);
            reads_grad.is_some_and(|reads| !reads || grads.is_some_and(|g| g.contains_key(*param)))
        };
        let taken: Vec<String> = self.params.keys().filter(takes).cloned().collect();
        for param in &taken {
            let bound = self.params.get_mut(param).expect("a known parameter");
            let zeros = vec![0.0; bound.slots[interp::PARAM].len()];
            let grad = grads.and_then(|grads| grads.get(param)).unwrap_or(&zeros);
            bound.begin(grad, &self.inputs[bound.group]);
        }
        self.sum(Some(name), taken.iter());
        for param in &taken {
            let bound = self.params.get_mut(param).expect("a known parameter");
            bound.run_entry(name, &self.inputs[bound.group]);
        }
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.params[name].slots[interp::PARAM].clone()
    }

    fn shared(&self, group: usize, name: &str) -> Option<f64> {
        let at = self.names.iter().position(|known| known == name)?;
        Some(self.inputs[group][at])
    }

    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        let bound = &self.params[param];
        if state == "step" {
            return Some(vec![bound.step as f64]);
        }
        let slot = bound
            .function
            .slots
            .iter()
            .position(|slot| slot.name == state)?;
        Some(bound.slots[slot].clone())
    }
}
