//! Which `.opt` optimizer, with which options and state names, each recorded file is: one table.
//!
//! Options that only choose between equal implementations (`foreach`, `fused`, `capturable`, …) have no counterpart.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::golden::{Case, Param};

/// A recorded case in the terms of the language.
pub struct Setup {
    /// Module of the standard library, for example `std.adamw`.
    pub module: &'static str,
    /// The optimizer in it.
    pub optimizer: &'static str,
    /// Parameter groups in the order of the reference.
    pub groups: Vec<Group>,
    /// Products declared in low precision run at the precision of the parameters.
    pub exact: bool,
}

/// One parameter group.
pub struct Group {
    /// Names, in order.
    pub params: Vec<String>,
    /// The rule to use; without one the first that matches the shape.
    pub rule: Option<&'static str>,
    /// All hyperparameters that the reference has.
    pub hypers: BTreeMap<&'static str, f64>,
    /// Only the statics that differ from the default.
    pub statics: BTreeMap<&'static str, Value>,
}

/// What a recorded state is in the language.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The state of this name, element by element.
    Plain(String),
    /// An orthogonal basis of a mode, up to the sign of its columns.
    Basis(String),
    /// A tensor in the rotated basis: it changes sign with the columns.
    Rotated(String),
    /// The step counter, which runs this far ahead of the recorded one.
    Counter(f64),
    /// An option that the reference keeps among its states.
    Option,
}

struct Row {
    file: &'static str,
    module: &'static str,
    optimizer: &'static str,
    hypers: &'static [(&'static str, &'static [&'static str])],
    /// Recorded option, our static, default.
    statics: &'static [(&'static str, &'static str, fn() -> Value)],
    states: &'static [(&'static str, fn(&str) -> State)],
}

const ADAM_HYPERS: &[(&str, &[&str])] = &[
    ("lr", &["lr"]),
    ("betas", &["beta1", "beta2"]),
    ("eps", &["eps"]),
    ("weight_decay", &["weight_decay"]),
];
const ADAM_STATICS: &[(&str, &str, fn() -> Value)] = &[
    ("amsgrad", "amsgrad", || json!(false)),
    ("maximize", "maximize", || json!(false)),
];
const ADAM_STATES: &[(&str, fn(&str) -> State)] = &[
    ("exp_avg", plain),
    ("exp_avg_sq", plain),
    ("max_exp_avg_sq", plain),
    ("step", |_| State::Counter(0.0)),
];
const SOAP_HYPERS: &[(&str, &[&str])] = &[
    ("lr", &["lr"]),
    ("betas", &["beta1", "beta2"]),
    ("shampoo_beta", &["shampoo_beta"]),
    ("eps", &["eps"]),
    ("weight_decay", &["weight_decay"]),
];
const SOAP_STATICS: &[(&str, &str, fn() -> Value)] = &[
    ("precondition_frequency", "precondition_frequency", || {
        json!(10)
    }),
    ("max_precond_dim", "max_precond_dim", || json!(10000)),
    ("merge_dims", "merge_dims", || json!(false)),
    ("precondition_1d", "precondition_1d", || json!(false)),
    ("normalize_grads", "normalize_grads", || json!(false)),
    ("correct_bias", "correct_bias", || json!(true)),
    ("data_format", "data_format", || json!("channels_first")),
];
const SOAP_STATES: &[(&str, fn(&str) -> State)] = &[
    ("GG", |index| State::Plain(format!("gram.{index}"))),
    ("Q", |index| State::Basis(format!("basis.{index}"))),
    ("exp_avg", |name| State::Rotated(name.to_owned())),
    ("exp_avg_sq", plain),
    // The reference does not count the call that only initialises.
    ("step", |_| State::Counter(1.0)),
    ("precondition_frequency", |_| State::Option),
    ("shampoo_beta", |_| State::Option),
];

const TABLE: &[Row] = &[
    Row {
        file: "sgd",
        module: "std.sgd",
        optimizer: "Sgd",
        hypers: &[
            ("lr", &["lr"]),
            ("momentum", &["momentum"]),
            ("dampening", &["dampening"]),
            ("weight_decay", &["weight_decay"]),
        ],
        statics: &[
            ("nesterov", "nesterov", || json!(false)),
            ("maximize", "maximize", || json!(false)),
        ],
        states: &[("momentum_buffer", plain)],
    },
    Row {
        file: "adam",
        module: "std.adamw",
        optimizer: "Adam",
        hypers: ADAM_HYPERS,
        statics: ADAM_STATICS,
        states: ADAM_STATES,
    },
    Row {
        file: "adamw",
        module: "std.adamw",
        optimizer: "AdamW",
        hypers: ADAM_HYPERS,
        statics: ADAM_STATICS,
        states: ADAM_STATES,
    },
    Row {
        file: "torch_muon",
        module: "std.muon",
        optimizer: "TorchMuon",
        hypers: &[
            ("lr", &["lr"]),
            ("momentum", &["momentum"]),
            ("eps", &["eps"]),
            ("weight_decay", &["weight_decay"]),
        ],
        statics: &[
            ("nesterov", "nesterov", || json!(true)),
            ("ns_steps", "ns_steps", || json!(5)),
            ("ns_coefficients", "ns_coefficients", || {
                json!([3.4445, -4.775, 2.0315])
            }),
            ("adjust_lr_fn", "adjust_lr_fn", || json!("original")),
        ],
        states: &[("momentum_buffer", plain)],
    },
    Row {
        file: "muon",
        module: "std.muon",
        optimizer: "Muon",
        hypers: &[
            ("lr", &["lr"]),
            ("momentum", &["momentum"]),
            ("betas", &["beta1", "beta2"]),
            ("eps", &["eps"]),
            ("weight_decay", &["weight_decay"]),
        ],
        statics: &[],
        states: &[
            ("momentum_buffer", plain),
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("step", |_| State::Counter(0.0)),
        ],
    },
    Row {
        file: "soap",
        module: "std.soap",
        optimizer: "Soap",
        hypers: SOAP_HYPERS,
        statics: SOAP_STATICS,
        states: SOAP_STATES,
    },
];

fn plain(name: &str) -> State {
    State::Plain(name.to_owned())
}

fn row(case: &Case) -> &'static Row {
    let file = if case.file.starts_with("soap") {
        "soap"
    } else {
        &case.file
    };
    TABLE
        .iter()
        .find(|row| row.file == file)
        .expect("every recorded file has a row")
}

/// A case in the terms of the language.
pub fn setup(case: &Case) -> Setup {
    let row = row(case);
    Setup {
        module: row.module,
        optimizer: row.optimizer,
        groups: (0..case.groups.len())
            .map(|index| group(case, row, index))
            .collect(),
        exact: case.exact,
    }
}

fn group(case: &Case, row: &Row, index: usize) -> Group {
    let options = &case.groups[index];
    // The author's Muon has one flag for its two rules; the matrix rule is then chosen by shape.
    let other = options.get("use_muon") == Some(&json!(false));
    Group {
        params: strings(&options["params"]),
        rule: other.then_some("other"),
        hypers: row
            .hypers
            .iter()
            .flat_map(|(name, ours)| hypers(options.get(*name), ours))
            .collect(),
        statics: row
            .statics
            .iter()
            .filter_map(|entry| changed(case, index, entry))
            .collect(),
    }
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("a list of names")
}

/// `betas: [a, b]` becomes two hyperparameters; a negative number (SOAP's `shampoo_beta`) means "the default".
fn hypers(value: Option<&Value>, ours: &[&'static str]) -> Vec<(&'static str, f64)> {
    let values: Vec<f64> = match value {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_f64).collect(),
        Some(one) => one.as_f64().into_iter().collect(),
    };
    ours.iter()
        .copied()
        .zip(values)
        .filter(|(_, value)| *value >= 0.0)
        .collect()
}

/// A static that the group, or the case for what the reference keeps outside its groups, sets to another value.
fn changed(
    case: &Case,
    index: usize,
    (name, ours, default): &(&str, &'static str, fn() -> Value),
) -> Option<(&'static str, Value)> {
    let value = case.groups[index]
        .get(*name)
        .or_else(|| case.hyper.get(*name))?;
    (!value.is_null() && *value != default()).then(|| (*ours, value.clone()))
}

/// What a recorded state is in the language; list entries are `NAME.INDEX`.
pub fn state(case: &Case, recorded: &str) -> State {
    let (name, index) = recorded.split_once('.').unwrap_or((recorded, recorded));
    let states = row(case).states;
    let entry = states.iter().find(|(known, _)| *known == name);
    entry
        .unwrap_or_else(|| panic!("{}: no row for state `{recorded}`", case.id()))
        .1(index)
}

/// The modes in which SOAP rotates a parameter.
pub struct Modes {
    /// Element of the parameter at each position of the rotated layout.
    pub order: Vec<usize>,
    /// Dimensions of that layout.
    pub dims: Vec<usize>,
}

/// The layout after SOAP's options `data_format` and `merge_dims`.
pub fn modes(setup: &Setup, param: &str, shape: &Param) -> Modes {
    let group = setup
        .groups
        .iter()
        .find(|g| g.params.iter().any(|p| p == param));
    let statics = &group.expect("every parameter is in a group").statics;
    let set = |name: &str| statics.get(name);
    let last = set("data_format") == Some(&json!("channels_last")) && shape.shape.len() == 4;
    let axes: Vec<usize> = if last {
        vec![0, 2, 3, 1]
    } else {
        (0..shape.shape.len()).collect()
    };
    let dims: Vec<usize> = axes.iter().map(|axis| shape.shape[*axis]).collect();
    let limit = set("max_precond_dim")
        .and_then(Value::as_u64)
        .unwrap_or(10000) as usize;
    let merged = if set("merge_dims") == Some(&json!(true)) {
        merge(&dims, limit)
    } else {
        dims
    };
    Modes {
        order: permuted(&shape.shape, &axes),
        dims: merged,
    }
}

/// Merges neighbours from the left while their product stays within the limit.
fn merge(dims: &[usize], limit: usize) -> Vec<usize> {
    let mut merged: Vec<usize> = Vec::new();
    let mut open = 1;
    for dim in dims {
        if open * dim <= limit {
            open *= dim;
        } else if open > 1 {
            merged.push(open);
            open = *dim;
        } else {
            merged.push(*dim);
        }
    }
    if open > 1 || merged.is_empty() {
        merged.push(open);
    }
    merged
}

fn permuted(shape: &[usize], axes: &[usize]) -> Vec<usize> {
    let mut order = vec![0];
    for axis in axes {
        let stride: usize = shape[axis + 1..].iter().product();
        let offsets = |at: usize| (0..shape[*axis]).map(move |i| at + i * stride);
        order = order.into_iter().flat_map(offsets).collect();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{load, load_all};

    #[test]
    fn every_recorded_state_has_a_row() {
        for case in load_all() {
            for step in &case.snapshots {
                for param in &case.order {
                    case.snapshot(*step, param)
                        .states
                        .keys()
                        .for_each(|s| drop(state(&case, s)));
                }
            }
        }
    }

    #[test]
    fn every_option_that_changes_the_rule_has_a_counterpart() {
        let equal = [
            "foreach",
            "fused",
            "capturable",
            "differentiable",
            "decoupled_weight_decay",
        ];
        for case in load_all() {
            let row = row(&case);
            let known = |name: &str| {
                row.hypers.iter().any(|h| h.0 == name) || row.statics.iter().any(|s| s.0 == name)
            };
            let options = case.groups.iter().flat_map(|g| g.keys());
            for name in options.filter(|n| !["params", "use_muon"].contains(&n.as_str())) {
                assert!(
                    known(name) || equal.contains(&name.as_str()),
                    "{}: {name}",
                    case.id()
                );
            }
        }
    }

    #[test]
    fn options_become_hypers_and_statics() {
        let cases = load("soap_options");
        let case = cases
            .iter()
            .find(|c| c.name == "no_bias_exact")
            .expect("the case");
        let group = &setup(case).groups[0];
        assert_eq!(group.hypers["beta2"], 0.99);
        assert_eq!(group.hypers["shampoo_beta"], 0.8);
        assert_eq!(group.statics["correct_bias"], json!(false));
        assert_eq!(group.statics["precondition_frequency"], json!(2));
        assert!(!group.statics.contains_key("merge_dims"));
    }

    #[test]
    fn merging_is_greedy_from_the_left() {
        assert_eq!(merge(&[3, 2, 2, 3], 6), [6, 6]);
        assert_eq!(merge(&[2, 3, 6], 6), [6, 6]);
        assert_eq!(merge(&[2, 9], 6), [2, 9]);
        assert_eq!(merge(&[], 6), [1]);
    }

    #[test]
    fn channels_last_moves_the_second_axis_to_the_end() {
        assert_eq!(permuted(&[1, 2, 1, 3], &[0, 2, 3, 1]), [0, 3, 1, 4, 2, 5]);
    }
}
