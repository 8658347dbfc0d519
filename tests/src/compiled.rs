//! A stepper that runs compiled code through the runtime: the quick tier, or an artifact.

use std::collections::BTreeMap;

use optc_runtime::view::Element;
use optc_runtime::{
    BindOptions, Given, Group, Optimizer, ParamDesc, Report, Rules, StepInput, TensorView,
};
use serde_json::Value;

use crate::golden::Case;
use crate::mapping;
use crate::parity::Stepper;
use crate::replay;

/// An optimizer bound by the runtime to the parameters of a case, all of one element type.
pub struct Compiled<T> {
    optimizer: Optimizer,
    names: Vec<String>,
    dims: Vec<Vec<i64>>,
    values: Vec<Vec<T>>,
}

/// Element types that a case's numbers can be converted to.
pub trait Number: Element {
    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// The value, exactly.
    fn to_f64(self) -> f64;
    /// One element of a state.
    fn read(bytes: &[u8]) -> f64;
}

impl Number for f64 {
    fn from_f64(x: f64) -> f64 {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn read(bytes: &[u8]) -> f64 {
        f64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }
}

impl Number for f32 {
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn read(bytes: &[u8]) -> f64 {
        f64::from(f32::from_ne_bytes(bytes.try_into().expect("four bytes")))
    }
}

impl Number for half::bf16 {
    fn from_f64(x: f64) -> half::bf16 {
        half::bf16::from_f64(x)
    }
    fn to_f64(self) -> f64 {
        self.to_f64()
    }
    fn read(bytes: &[u8]) -> f64 {
        half::bf16::from_ne_bytes(bytes.try_into().expect("two bytes")).to_f64()
    }
}

impl<T: Number> Compiled<T> {
    /// Binds the optimizer that a case recorded, from rules of its module.
    ///
    /// # Panics
    ///
    /// When it cannot be bound.
    pub fn new(case: &Case, rules: &Rules) -> Compiled<T> {
        let setup = mapping::setup(case);
        let tensor = |name: &String| {
            let param = &case.params[name];
            let dims = param.shape.iter().map(|&d| d as i64).collect();
            (name.clone(), dims, param.init.clone())
        };
        let tensors = case.order.iter().map(tensor).collect();
        let options = BindOptions {
            noise: replay::noise(case),
            ..options(setup.optimizer, &setup.groups)
        };
        Compiled::bind(rules, &options, tensors)
    }

    /// Binds an optimizer to parameters: their names, shapes and elements.
    ///
    /// # Panics
    ///
    /// When it cannot be bound.
    pub fn bind(
        rules: &Rules,
        options: &BindOptions,
        tensors: Vec<(String, Vec<i64>, Vec<f64>)>,
    ) -> Compiled<T> {
        let descs: Vec<ParamDesc> = tensors
            .iter()
            .map(|(name, dims, _)| ParamDesc::new(name, dims, T::DTYPE))
            .collect();
        let optimizer = rules
            .bind(&descs, options)
            .unwrap_or_else(|mistake| panic!("{mistake}"));
        let (mut names, mut dims, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (name, shape, init) in tensors {
            names.push(name);
            dims.push(shape);
            values.push(init.into_iter().map(T::from_f64).collect());
        }
        Compiled {
            optimizer,
            names,
            dims,
            values,
        }
    }

    /// Where the code of the optimizer comes from.
    pub fn report(&self) -> &Report {
        self.optimizer.report()
    }

    /// Gradients in the order of `bind`.
    fn grads(&self, grads: &BTreeMap<String, Vec<f64>>) -> Vec<Option<Vec<T>>> {
        let stored = |grad: &Vec<f64>| grad.iter().map(|&x| T::from_f64(x)).collect();
        let names = self.names.iter();
        names.map(|name| grads.get(name).map(stored)).collect()
    }

    /// The states of a parameter by name, and how many elements each has.
    pub fn states(&self, param: &str) -> Vec<(String, usize)> {
        let states = self.optimizer.states(param);
        let mut states: Vec<(String, usize)> = states
            .map(|state| {
                let count = state.dims.iter().product::<u64>() as usize;
                (state.name.to_owned(), count)
            })
            .collect();
        states.sort();
        states
    }

    fn position(&self, name: &str) -> usize {
        self.names
            .iter()
            .position(|known| known == name)
            .expect("a known parameter")
    }
}

/// Views of parameters and gradients.
fn inputs<'a, T: Number>(
    values: &'a mut [Vec<T>],
    dims: &'a [Vec<i64>],
    grads: &'a [Option<Vec<T>>],
) -> Vec<StepInput<'a>> {
    let each = values.iter_mut().zip(dims).zip(grads);
    let views = each.map(|((value, dims), grad)| StepInput {
        param: TensorView::from_mut(value, dims).expect("the shape fits"),
        grad: grad
            .as_ref()
            .and_then(|grad| TensorView::from_ref(grad, dims)),
    });
    views.collect()
}

/// The module that a case needs, with the quick tier alone.
///
/// # Panics
///
/// When the standard library lacks it.
pub fn quick(case: &Case) -> Rules {
    Rules::from_std(mapping::setup(case).module).unwrap_or_else(|mistake| panic!("{mistake}"))
}

/// An optimizer and its groups as the runtime is told of them.
pub fn options(optimizer: &str, groups: &[mapping::Group]) -> BindOptions {
    let groups = groups.iter().map(|group| {
        let names: Vec<String> = group
            .params
            .iter()
            .map(|name| format!("^{name}$"))
            .collect();
        let named = group
            .rule
            .into_iter()
            .fold(Group::new(&names.join("|")), Group::rule);
        let hypers = group
            .hypers
            .iter()
            .fold(named, |made, (name, x)| made.hyper(name, *x));
        group
            .statics
            .iter()
            .fold(hypers, |made, (name, value)| made.set(name, &text(value)))
    });
    BindOptions {
        optimizer: Some(optimizer.to_owned()),
        groups: groups.collect(),
        threads: Some(2),
        ..BindOptions::default()
    }
}

/// A static as a person would write it.
fn text(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Array(cells) if cells.iter().all(Value::is_number) => {
            cells.iter().map(text).collect::<Vec<_>>().join(",")
        }
        Value::Array(rows) => rows.iter().map(text).collect::<Vec<_>>().join(";"),
        other => other.to_string(),
    }
}

impl<T: Number> Stepper for Compiled<T> {
    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>) {
        if let Some(lr) = lr {
            for group in 1..self.optimizer.group_count() {
                self.optimizer
                    .set_hyper(group, "lr", lr)
                    .expect("a learning rate in its interval");
            }
        }
        let grads = self.grads(grads);
        let inputs = inputs(&mut self.values, &self.dims, &grads);
        self.optimizer
            .step(&inputs)
            .unwrap_or_else(|mistake| panic!("{mistake}"));
    }

    fn entry(&mut self, name: &str, grads: Option<&BTreeMap<String, Vec<f64>>>) {
        let grads = self.grads(grads.unwrap_or(&BTreeMap::new()));
        let inputs = inputs(&mut self.values, &self.dims, &grads);
        self.optimizer
            .run_entry(name, &inputs, Given::default())
            .unwrap_or_else(|mistake| panic!("{mistake}"));
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.values[self.position(name)]
            .iter()
            .map(|&x| x.to_f64())
            .collect()
    }

    fn shared(&self, group: usize, name: &str) -> Option<f64> {
        self.optimizer.shared(group + 1, name)
    }

    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        if state == "step" {
            return self.optimizer.step_of(param).map(|step| vec![step as f64]);
        }
        let view = self.optimizer.state(param, state)?;
        assert_eq!(
            view.dtype,
            T::DTYPE,
            "state `{state}` is stored as the parameter is"
        );
        Some(
            view.bytes()
                .expect("host memory")
                .chunks_exact(view.dtype.size() as usize)
                .map(T::read)
                .collect(),
        )
    }
}
