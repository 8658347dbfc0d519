//! Which `.opt` optimizer, with which options and state names, each recorded file is: one table.
//!
//! Options that only choose between equal implementations (`foreach`, `fused`, `capturable`, …) have no counterpart.

mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::golden::{Case, Param};
pub use table::Work;
use table::{AUXILIARY_HYPERS, Recorded, Row, StaticRow, row};

/// A recorded case in the terms of the language.
pub struct Setup {
    /// Module of the standard library, for example `std.adamw`.
    pub module: &'static str,
    /// The optimizer in it.
    pub optimizer: &'static str,
    /// Parameter groups in the order of the reference.
    pub groups: Vec<Group>,
    /// The reference replaces a missing gradient by zeros instead of skipping the parameter.
    pub absent_is_zero: bool,
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
    /// The states of this name of that many parts, one after the other.
    Parts(String, usize),
    /// The first of these states, or the second where the parameter lacks it.
    Either(String, String),
    /// An orthogonal basis of a mode, up to the sign of its columns.
    Basis(String),
    /// A tensor in the rotated basis, in the layout of the modes.
    Rotated {
        /// Its name.
        name: String,
        /// It changes sign with the columns.
        signed: bool,
    },
    /// The state of this name, each element up to its sign: it changes with the signs of singular vectors.
    Unsigned(String),
    /// The upper triangle of the state of this name, row by row.
    Upper(String),
    /// A symmetric matrix, recorded whole or as its upper triangle, which the first of these states is, or the second where
    /// the parameter lacks it.
    Packed(String, String),
    /// The step counter, which runs this far ahead of the recorded one.
    Counter(f64),
    /// An option or a log that the reference keeps among its states: its rule does not read it.
    Unread,
}

/// A case in the terms of the language.
pub fn setup(case: &Case) -> Setup {
    let row = row(case);
    Setup {
        module: row.module,
        optimizer: (row.instead)(case).unwrap_or(row.optimizer),
        groups: (0..case.groups.len())
            .map(|index| group(case, row, index))
            .collect(),
        absent_is_zero: row.file == "muon",
    }
}

fn group(case: &Case, row: &Row, index: usize) -> Group {
    let options = &case.groups[index];
    // The author's Muon has one flag for its two rules; the matrix rule is then chosen by shape.
    let other = options.get("use_muon") == Some(&json!(false));
    let names = if other { AUXILIARY_HYPERS } else { row.hypers };
    let hypers = names
        .iter()
        .flat_map(|(name, ours)| hypers(case.option(index, name), ours));
    Group {
        params: strings(&options["params"]),
        rule: other.then_some("other"),
        hypers: hypers.collect(),
        statics: statics(case, row, index),
    }
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("a list of names")
}

/// `betas: [a, b]` becomes two hyperparameters, a dictionary those of its keys, one number all of them; what is `None`
/// keeps our default.
fn hypers(value: Option<&Value>, ours: &[&'static str]) -> Vec<(&'static str, f64)> {
    let values: Vec<Option<f64>> = match value {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(Value::as_f64).collect(),
        Some(Value::Object(named)) => ours
            .iter()
            .map(|name| {
                let key = match *name {
                    "beta" => "train_interp_coeff",
                    "weight_lr_power" => "eval_coeff_lr_power",
                    name => name.trim_start_matches("grafting_"),
                };
                named.get(key).and_then(Value::as_f64)
            })
            .collect(),
        Some(one) => vec![one.as_f64(); ours.len()],
    };
    let pairs = ours.iter().copied().zip(values);
    let given = pairs.filter_map(|(name, value)| Some((name, value?)));
    // Only SOAP's `shampoo_beta` says "the default" by a negative number.
    given
        .filter(|(name, value)| *value >= 0.0 || *name != "shampoo_beta")
        .collect()
}

fn statics(case: &Case, row: &Row, index: usize) -> BTreeMap<&'static str, Value> {
    let changed = row
        .statics
        .iter()
        .filter_map(|entry| changed(case, index, entry));
    let mut statics: BTreeMap<_, _> = changed.collect();
    statics.extend(row.fixed.iter().map(|(name, value)| (*name, json!(value))));
    // The recording made the reference's cast to bfloat16 harmless.
    if case.exact && (row.work)(case) == Work::Orthogonalised {
        statics.insert("ns_dtype", json!("same"));
    }
    statics
}

/// A static that the reference sets to another value than our default.
fn changed(
    case: &Case,
    index: usize,
    (name, ours, default): &StaticRow,
) -> Option<(&'static str, Value)> {
    let inner = || {
        let kept_apart = ["norm_kwargs", "iterate_averaging_config"];
        let places = kept_apart.iter().filter_map(|at| case.option(index, at));
        let how = case.option(index, "preconditioner_config");
        let computed = ["amortized_computation_config", "orthogonalization_config"];
        let computed = computed.iter().filter_map(|at| how?.get(at));
        places.chain(computed).find_map(|options| options.get(name))
    };
    let value = case.option(index, name).or_else(inner)?;
    // The name of the default table, in a group that reads none.
    let named = *ours == "coefficients" && value.is_string();
    // Only the Dion repository means something by no adjustment.
    let given = !value.is_null() || *name == "adjust_lr";
    let differs = given && !named && *value != default();
    differs.then(|| (*ours, in_our_terms(ours, value)))
}

fn in_our_terms(ours: &str, value: &Value) -> Value {
    match ours {
        // One triple becomes a table of one row.
        "coefficients" if value[0].is_number() => json!([value]),
        "adjust_lr" if *value == json!(true) => json!("match_rms_adamw"),
        "adjust_lr" if value.is_null() => json!("none"),
        "inverse_exponent_override" => exponents(&value["inverse_exponent_override"]),
        "kl" => json!(value["class"] == "RootInvKLShampooPreconditionerConfig"),
        "graft_type" => json!(
            ["none", "sgd", "adagrad", "rmsprop", "sqrtn"][value.as_u64().unwrap_or(1) as usize]
        ),
        "pre_conditioner_type" => {
            json!(["all", "input", "output"][value.as_u64().unwrap_or(0) as usize])
        }
        "grafting" => json!(match value["class"].as_str() {
            Some("SGDPreconditionerConfig") => "sgd",
            Some("AdaGradPreconditionerConfig") => "adagrad",
            Some("RMSpropPreconditionerConfig") => "rmsprop",
            _ => "adam",
        }),
        "method" => json!(match value.as_str() {
            Some("QREigendecompositionConfig") => "qr",
            Some("EighEigendecompositionConfig") => "eigh",
            Some("CoupledNewtonConfig") => "coupled_newton",
            Some("SVDOrthogonalizationConfig") => "svd",
            _ => "eigen",
        }),
        "weight_decay_type" => json!(value.as_str().map(str::to_lowercase)),
        "split_sizes" => {
            let sizes = value.as_array().into_iter().flatten();
            sizes.map(|size| json!([size])).collect()
        }
        "norm" => json!(match value.as_str().or(value["class"].as_str()) {
            Some("Sign" | "SignDescentPreconditionerConfig") => "sign",
            Some("ColNorm") => "col_norm",
            Some("RowNorm") => "row_norm",
            // The shape decides.
            _ => "spectral",
        }),
        "norm_type" => json!(if *value == json!("inf") {
            "largest"
        } else {
            "one"
        }),
        "qr_method" => json!(if value == "cqr" { "cqr" } else { "qr" }),
        "channels_last" => json!(value == "channels_last"),
        "mars_type" => json!(value.as_str().map(|word| word.trim_start_matches("mars-"))),
        _ => value.clone(),
    }
}

/// By order and dimension, as rows; the row of no tensor where there are none.
fn exponents(by_order: &Value) -> Value {
    let orders = by_order.as_object().into_iter().flatten();
    let rows = orders.flat_map(|(order, by_dim)| {
        let dims = by_dim.as_object().into_iter().flatten();
        dims.map(move |(dim, exponent)| json!([number(order), number(dim), exponent]))
    });
    let rows: Vec<Value> = rows.collect();
    if rows.is_empty() {
        json!([[0, 0, 0]])
    } else {
        json!(rows)
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a whole number")
}

/// What a recorded state of a parameter is in the language; list entries are `NAME.INDEX` or `NAME_INDEX`.
pub fn state(case: &Case, param: &str, recorded: &str) -> State {
    if let Some((block, rest)) = recorded
        .strip_prefix("block_")
        .and_then(|rest| rest.split_once('.'))
    {
        return match state(case, param, rest) {
            State::Plain(name) => State::Either(format!("part{block}.{name}"), name),
            State::Packed(_, name) => State::Packed(format!("part{block}.{name}"), name),
            other => other,
        };
    }
    let states = row(case).states;
    let whole = Some((recorded, recorded));
    let listed = ['.', '_'].map(|mark| recorded.rsplit_once(mark));
    let found = [whole, listed[0], listed[1]].into_iter().flatten();
    let entry = found.into_iter().find_map(|(name, index)| {
        let (_, meaning) = states.iter().find(|(known, _)| *known == name)?;
        Some((index, meaning))
    });
    let (index, meaning) =
        entry.unwrap_or_else(|| panic!("{}: no row for state `{recorded}`", case.id()));
    meaning(&Recorded { case, param, index })
}

/// Recorded cases that no rule can follow yet, and why: there are none now.
const OPEN: &[(&str, &str, &str)] = &[];

/// Why no rule can follow this case yet.
pub fn open(case: &Case) -> Option<&'static str> {
    let entry = OPEN
        .iter()
        .find(|(file, name, _)| case.file.ends_with(file) && case.name == *name);
    entry.map(|(_, _, reason)| *reason)
}

/// How many random tensors a parameter draws at one of its own steps.
pub fn draws(case: &Case, param: &str, step: u64) -> usize {
    (row(case).draws)(
        &Recorded {
            case,
            param,
            index: "",
        },
        step,
    )
}

/// The recorded values of numbers that the parameters of a group share, at a step: our name, value.
pub fn shared(case: &Case, step: u64, group: usize) -> Vec<(&'static str, f64)> {
    let options = case.options.get(&(step, group));
    let names = row(case).shared.iter().copied();
    let recorded = |name: &str| {
        let last = name.rsplit('.').next()?;
        options?.get(last).copied()
    };
    let each = names.filter_map(|name| Some((name, recorded(name)?)));
    each.collect()
}

/// What kind of arithmetic the rule of a case is.
pub fn work(case: &Case) -> Work {
    (row(case).work)(case)
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
    let last = set("channels_last") == Some(&json!(true)) && shape.shape.len() == 4;
    let axes: Vec<usize> = if last {
        vec![0, 3, 1, 2]
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
                        .for_each(|s| drop(state(&case, param, s)));
                }
            }
        }
    }

    #[test]
    fn every_option_that_changes_the_rule_has_a_counterpart() {
        // Equal implementations and factorizations, the dtype of factors, what chooses the group, and how a method that
        // takes matrices is told to make some.
        let others = [
            "adamw_lr",
            "base",
            "betas",
            "cqr_warmup_steps",
            "distributed_config",
            "foreach",
            "fused",
            "name",
            "params",
            "precond_dtype",
            "preconditioner_config",
            "use_muon",
        ];
        for case in load_all() {
            let row = row(&case);
            let hypers = row.hypers.iter().chain(AUXILIARY_HYPERS).map(|h| h.0);
            let known: Vec<&str> = hypers.chain(row.statics.iter().map(|s| s.0)).collect();
            let options = case.hyper.keys().map(String::as_str);
            for name in options.filter(|_| open(&case).is_none()) {
                let made_matrix = name == "max_preconditioner_dim" && case.hyper[name] == "inf";
                let has_place = known.contains(&name) || others.contains(&name) || made_matrix;
                assert!(has_place, "{}: {name}", case.id());
            }
        }
    }

    #[test]
    fn muon_has_the_norm_of_torch_or_of_its_author() {
        for case in load("torch_muon") {
            let group = &setup(&case).groups[0];
            assert_eq!(case.groups[0]["eps"], json!(1e-7), "a constant of the rule");
            assert_eq!(group.statics["norm_floor"], json!("clamp"));
            assert_eq!(group.statics.contains_key("ns_dtype"), case.exact);
        }
        for case in load("muon") {
            let setup = setup(&case);
            assert!(setup.absent_is_zero);
            assert!(!setup.groups[0].statics.contains_key("norm_floor"));
        }
    }

    #[test]
    fn the_flagged_group_takes_the_other_rule() {
        let cases = load("muon");
        let case = cases.iter().find(|c| c.name == "exact").expect("the case");
        let groups = setup(case).groups;
        assert_eq!((groups[0].rule, groups[1].rule), (None, Some("other")));
        assert_eq!(groups[0].hypers["momentum"], 0.95);
        assert_eq!(groups[1].hypers["adam_beta2"], 0.95);
        assert_eq!(groups[1].hypers["adam_lr"], 0.02);
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
    fn randomised_qr_is_qr_and_cholesky_qr_is_not() {
        let cases = load("dion");
        let case = cases.iter().find(|c| c.name == "cqr_native");
        let groups = setup(case.expect("the case")).groups;
        assert_eq!(groups[0].statics["qr_method"], json!("cqr"));
    }

    #[test]
    fn merging_is_greedy_from_the_left() {
        assert_eq!(merge(&[3, 2, 2, 3], 6), [6, 6]);
        assert_eq!(merge(&[2, 3, 6], 6), [6, 6]);
        assert_eq!(merge(&[2, 9], 6), [2, 9]);
        assert_eq!(merge(&[], 6), [1]);
    }

    #[test]
    fn a_permutation_says_where_each_element_goes() {
        assert_eq!(permuted(&[1, 2, 1, 3], &[0, 2, 3, 1]), [0, 3, 1, 4, 2, 5]);
    }
}
