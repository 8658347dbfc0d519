//! One row per recorded file: the optimizer, and what the reference's options and states are called here.

use serde_json::{Value, json};

mod rows;

use super::State;
use crate::golden::Case;
use rows::TABLE;

/// Recorded option, our hyperparameters.
pub(super) type HyperRow = (&'static str, &'static [&'static str]);
/// Recorded option, our static, default.
pub(super) type StaticRow = (&'static str, &'static str, fn() -> Value);
/// Recorded state (without its index), what it is in the language.
pub(super) type StateRow = (&'static str, fn(&Recorded) -> State);

/// A recorded state.
pub(super) struct Recorded<'a> {
    pub(super) case: &'a Case,
    pub(super) param: &'a str,
    /// Its name, or its index in a list.
    pub(super) index: &'a str,
}

/// What kind of arithmetic a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Element by element, with sums over a tensor.
    Elementwise,
    /// A Newton–Schulz iteration makes the update; no product touches the states.
    Orthogonalised,
    /// Factorizations of averages.
    Factored,
}

pub(super) struct Row {
    pub(super) file: &'static str,
    pub(super) module: &'static str,
    pub(super) optimizer: &'static str,
    /// Another optimizer of the module that some cases need.
    pub(super) instead: fn(&Case) -> Option<&'static str>,
    pub(super) hypers: &'static [HyperRow],
    pub(super) statics: &'static [StaticRow],
    /// Statics that all cases of the file have.
    pub(super) fixed: &'static [(&'static str, &'static str)],
    pub(super) states: &'static [StateRow],
    /// Shared numbers; the reference changes options of a group that have the last part of their names.
    pub(super) shared: &'static [&'static str],
    /// How many random tensors a parameter draws at one of its own steps, at most.
    pub(super) draws: fn(&Recorded, u64) -> usize,
    pub(super) work: fn(&Case) -> Work,
}

/// What rows leave out.
const ROW: Row = Row {
    file: "",
    module: "",
    optimizer: "",
    instead: |_| None,
    hypers: ADAM_HYPERS,
    statics: &[],
    fixed: &[],
    states: ADAM_STATES,
    shared: &[],
    draws: |_, _| 1,
    work: |_| Work::Elementwise,
};

/// The row of a case.
pub(super) fn row(case: &Case) -> &'static Row {
    let file = match case.file.as_str() {
        file if file.starts_with("soap") => "soap",
        "distributed_shampoo_other" => match case.name.as_str() {
            "primal_averaging" => "primal_averaged_shampoo",
            "schedule_free" => "schedule_free_shampoo",
            "sign" | "spectral_newton_schulz" | "spectral_svd_nuclear" => "spectral_descent",
            _ => "distributed_shampoo",
        },
        file => file.trim_end_matches("_options"),
    };
    TABLE
        .iter()
        .find(|row| row.file == file)
        .expect("every recorded file has a row")
}

fn plain(recorded: &Recorded) -> State {
    State::Plain(recorded.index.to_owned())
}

/// One of a family.
fn of_mode(recorded: &Recorded, name: &str) -> State {
    State::Plain(format!("{name}.{}", recorded.index))
}

fn packed(name: String) -> State {
    State::Packed(name.clone(), name)
}

/// A triangular factor, or a diagonal one.
fn factor_of_mode(recorded: &Recorded) -> State {
    let [full, diagonal] = ["Q", "q"].map(|name| format!("{name}.{}", recorded.index));
    State::Either(full, diagonal)
}

/// What the Dion repository does with a parameter.
fn algorithm<'a>(recorded: &Recorded<'a>) -> &'a str {
    let param = json!(recorded.param);
    let takes = |group: &&serde_json::Map<String, Value>| {
        let params = group["params"].as_array();
        params.is_some_and(|params| params.contains(&param))
    };
    let group = recorded.case.groups.iter().find(takes);
    group
        .and_then(|group| group["algorithm"].as_str())
        .unwrap_or_default()
}

/// The first Q of each matrix.
fn first_of_dion(recorded: &Recorded, step: u64) -> usize {
    usize::from(step == 1 && algorithm(recorded) == "dion")
}

fn counter(_: &Recorded) -> State {
    State::Counter(0.0)
}

fn unread(_: &Recorded) -> State {
    State::Unread
}

fn of_base(recorded: &Recorded) -> State {
    State::Plain(format!("base.{}", recorded.index))
}

fn no() -> Value {
    json!(false)
}

fn yes() -> Value {
    json!(true)
}

const LR: HyperRow = ("lr", &["lr"]);
const EPS: HyperRow = ("eps", &["eps"]);
const MOMENTUM: HyperRow = ("momentum", &["momentum"]);
const WEIGHT_DECAY: HyperRow = ("weight_decay", &["weight_decay"]);
const BETAS: HyperRow = ("betas", &["beta1", "beta2"]);
const MOMENTUM_BUFFER: StateRow = ("momentum_buffer", plain);
const STEP: StateRow = ("step", counter);
const MAXIMIZE: StaticRow = ("maximize", "maximize", no);
const WEIGHT_DECOUPLE: StaticRow = ("weight_decouple", "weight_decouple", yes);

const ADAM_HYPERS: &[HyperRow] = &[LR, BETAS, EPS, WEIGHT_DECAY];
const ADAM_STATICS: &[StaticRow] = &[("amsgrad", "amsgrad", no), MAXIMIZE];
const ADAM_STATES: &[StateRow] = &[
    ("exp_avg", plain),
    ("exp_avg_sq", plain),
    ("max_exp_avg_sq", plain),
    STEP,
];
const BASE_ADAM_STATES: &[StateRow] = &[
    ("exp_avg", of_base),
    ("exp_avg_sq", of_base),
    ("momentum_buffer", of_base),
    STEP,
];
const DECOUPLED: &[StaticRow] = &[
    ("decoupled_weight_decay", "decoupled_weight_decay", no),
    MAXIMIZE,
];
const LION_HYPERS: &[HyperRow] = &[LR, BETAS, WEIGHT_DECAY];
const SCHEDULE_FREE_HYPERS: &[HyperRow] = &[
    LR,
    BETAS,
    EPS,
    WEIGHT_DECAY,
    ("warmup_steps", &["warmup_steps"]),
    ("r", &["r"]),
    ("weight_lr_power", &["weight_lr_power"]),
];
const SCHEDULE_FREE_STATES: &[StateRow] = &[("z", plain), ("exp_avg_sq", plain)];
const SCHEDULE_FREE_SHARED: &[&str] = &["k", "lr_max", "weight_sum"];
const DELEGATED_SCHEDULE_FREE: &[&str] = &["each.k", "each.lr_max", "each.weight_sum"];
const MUON_HYPERS: &[HyperRow] = &[LR, MOMENTUM, WEIGHT_DECAY];
/// The groups of the author's Muon that its Adam takes.
pub(super) const AUXILIARY_HYPERS: &[HyperRow] = &[
    ("lr", &["adam_lr"]),
    ("betas", &["adam_beta1", "adam_beta2"]),
    ("eps", &["adam_eps"]),
    ("weight_decay", &["adam_weight_decay"]),
];
const MOONLIGHT_HYPERS: &[HyperRow] = &[
    LR,
    ("wd", &["wd"]),
    MOMENTUM,
    ("adamw_betas", &["adamw_beta1", "adamw_beta2"]),
    ("adamw_eps", &["adamw_eps"]),
];
const MUON_STATES: &[StateRow] = &[
    ("momentum_buffer", plain),
    ("exp_avg", plain),
    ("exp_avg_sq", plain),
    STEP,
];
/// The reference keeps the previous gradient of every parameter, and reads that of matrices.
fn of_matrices(recorded: &Recorded) -> State {
    match recorded.case.params[recorded.param].shape.len() {
        2 => plain(recorded),
        _ => State::Unread,
    }
}

const MOONLIGHT_STATES: &[StateRow] = &[
    ("momentum_buffer", plain),
    ("moment1", plain),
    ("moment2", plain),
    ("last_grad", of_matrices),
    ("use_muon", unread),
    STEP,
];
const DION_HYPERS: &[HyperRow] = &[
    LR,
    ("mu", &["mu"]),
    ("ef_decay", &["ef_decay"]),
    ("muon_beta2", &["muon_beta2"]),
    WEIGHT_DECAY,
    ("epsilon", &["epsilon"]),
    ("beta1", &["beta1"]),
    ("beta2", &["beta2"]),
];
/// AdamW and Lion have LibTorch's names.
const DION_STATES: &[StateRow] = &[
    ("momentum", |at| {
        let matrix = ["dion", "muon"].contains(&algorithm(at));
        State::Plain(if matrix { "momentum" } else { "exp_avg" }.to_owned())
    }),
    ("variance", |_| State::Plain("exp_avg_sq".to_owned())),
    ("Q", |_| State::Unsigned("Q".to_owned())),
    ("step_dev", counter),
];
/// The randomised form is QR up to rounding.
const QR_METHOD: StaticRow = ("qr_method", "qr_method", || json!("rcqr"));
const FRACTION: StaticRow = ("fraction", "fraction", || json!(0.25));
const POLAR: StaticRow = ("use_polar_express", "use_polar_express", yes);
const MAX_PRECONDITIONER_DIM: StaticRow =
    ("max_preconditioner_dim", "max_preconditioner_dim", || {
        json!(1024)
    });
const PRECONDITION_FREQUENCY: StaticRow =
    ("precondition_frequency", "precondition_frequency", || {
        json!(1)
    });
const START_PRECONDITIONING_STEP: StaticRow = (
    "start_preconditioning_step",
    "start_preconditioning_step",
    || json!(1),
);
const ADJUST_LR: StaticRow = ("adjust_lr", "adjust_lr", || json!("spectral_norm"));

/// A matrix of Distributed Shampoo, which lists those of the modes that are preconditioned.
fn shampoo_mode(recorded: &Recorded, name: &str) -> String {
    let how = recorded.case.option(0, "preconditioner_config");
    let how = how.unwrap_or(&Value::Null);
    let shape = &recorded.case.params[recorded.param].shape;
    let own = &how["inverse_exponent_override"][shape.len().to_string()];
    let mut listed = (0..).filter(|mode: &usize| own[mode.to_string()] != json!(0.0));
    let at = recorded.index.parse().expect("an index");
    format!("{name}.{}", listed.nth(at).unwrap_or(at))
}

/// A root of Distributed Shampoo, perhaps a packed triangle.
fn shampoo_root(recorded: &Recorded) -> State {
    let name = shampoo_mode(recorded, "inv_factor_matrices");
    let how = recorded.case.option(0, "preconditioner_config");
    match how.and_then(|how| how.get("use_symmetric_packing")) {
        Some(Value::Bool(true)) => State::Upper(name),
        _ => State::Plain(name),
    }
}

/// The states of Distributed Shampoo as the base of an average.
const AVERAGED_SHAMPOO_STATES: &[StateRow] = &[
    ("shampoo.factor_matrices", |at| {
        packed(format!("base.factor_matrices.{}", at.index))
    }),
    ("shampoo.inv_factor_matrices", |at| {
        of_mode(at, "base.inv_factor_matrices")
    }),
    ("weight_buffer", |_| State::Plain("z".to_owned())),
    ("lr_sum", unread),
    ("train_mode", unread),
    // One for the whole group.
    ("step", unread),
];

/// The modes that Scalable Shampoo preconditions, block by block: the block, the mode and its length.
fn preconditioned(recorded: &Recorded) -> Vec<(usize, usize, usize)> {
    let option = |name: &str| recorded.case.option(0, name);
    let size = option("block_size").and_then(Value::as_u64);
    let size = size.expect("a block size") as usize;
    let shape = &recorded.case.params[recorded.param].shape;
    let merged = match option("shape_interpretation") {
        Some(Value::Bool(false)) => shape.clone(),
        _ => merged_with_leading_one(shape, size),
    };
    let longest = option("no_preconditioning_for_layers_with_dim_gt").and_then(Value::as_u64);
    let skipped = shape
        .iter()
        .any(|&d| longest.is_some_and(|most| d as u64 > most));
    if merged.len() < 2 || skipped {
        return Vec::new();
    }
    let modes = match option("pre_conditioner_type").and_then(Value::as_u64) {
        Some(1) => 0..merged.len() - 1,
        Some(2) => merged.len() - 1..merged.len(),
        _ => 0..merged.len(),
    };
    let mut blocks = vec![Vec::new()];
    for length in merged {
        let pieces = (0..length)
            .step_by(size)
            .map(|from| size.min(length - from));
        let pieces: Vec<usize> = pieces.collect();
        let longer = |block: Vec<usize>| {
            let each = pieces
                .iter()
                .map(move |&piece| [&block[..], &[piece]].concat());
            each.collect::<Vec<_>>()
        };
        blocks = blocks.into_iter().flat_map(longer).collect();
    }
    let of_block = |(n, block): (usize, Vec<usize>)| {
        let modes = modes.clone().map(move |mode| (n, mode, block[mode]));
        modes.collect::<Vec<_>>()
    };
    blocks.into_iter().enumerate().flat_map(of_block).collect()
}

/// A first dimension above the limit gets one of length 1 before it.
fn merged_with_leading_one(shape: &[usize], limit: usize) -> Vec<usize> {
    let mut merged = Vec::new();
    let mut open = 1;
    for &length in shape {
        if open * length > limit {
            merged.push(open);
            open = 1;
        }
        open *= length;
    }
    merged.push(open);
    merged
}

/// The reference lists the modes of all blocks one after the other.
fn of_block(recorded: &Recorded, name: &str) -> State {
    let at: usize = recorded.index.parse().expect("an index");
    let (block, mode, _) = preconditioned(recorded)[at];
    let [of_part, whole] = [
        format!("part{block}.{name}.{mode}"),
        format!("{name}.{mode}"),
    ];
    State::Either(format!("blockwise.{of_part}"), format!("blockwise.{whole}"))
}

/// Where its power iterations begin: not for modes of length 1.
fn starts_of_scalable(recorded: &Recorded, step: u64) -> usize {
    let every = recorded.case.option(0, "preconditioning_compute_steps");
    let due = every
        .and_then(Value::as_u64)
        .is_some_and(|every| step > 0 && step.is_multiple_of(every));
    let modes = preconditioned(recorded).into_iter();
    if due {
        modes.filter(|(.., length)| *length > 1).count()
    } else {
        0
    }
}

/// Of a fused matrix the reference scales the parts before it squares them, and we after it.
fn of_whole(recorded: &Recorded) -> State {
    match of_parts(recorded) {
        State::Parts(..) => State::Unread,
        other => other,
    }
}

/// The reference keeps one state for a fused matrix, whose parts are rows of it.
fn of_parts(recorded: &Recorded) -> State {
    let group = recorded.case.groups.iter().position(|group| {
        let params = group["params"].as_array();
        params.is_some_and(|params| params.contains(&json!(recorded.param)))
    });
    let sizes = group.and_then(|group| recorded.case.option(group, "split_sizes"));
    match sizes.and_then(Value::as_array) {
        Some(sizes) => State::Parts(recorded.index.to_owned(), sizes.len()),
        None => plain(recorded),
    }
}

const SOAP_STATICS: &[StaticRow] = &[
    ("precondition_frequency", "precondition_frequency", || {
        json!(10)
    }),
    ("max_precond_dim", "max_precond_dim", || json!(10000)),
    ("merge_dims", "merge_dims", no),
    ("precondition_1d", "precondition_1d", no),
    ("normalize_grads", "normalize_grads", no),
    ("correct_bias", "correct_bias", yes),
    ("data_format", "channels_last", || json!("channels_first")),
];
const SOAP_STATES: &[StateRow] = &[
    ("GG", |at| State::Plain(format!("gram.{}", at.index))),
    ("Q", |at| State::Basis(format!("basis.{}", at.index))),
    ("exp_avg", |at| rotated(at, true)),
    ("exp_avg_sq", |at| rotated(at, false)),
    // The reference does not count the call that only initialises.
    ("step", |_| State::Counter(1.0)),
    ("precondition_frequency", unread),
    ("shampoo_beta", unread),
];

fn rotated(recorded: &Recorded, signed: bool) -> State {
    State::Rotated {
        name: recorded.index.to_owned(),
        signed,
    }
}

/// The reference keeps the state for all parameters, and reads it in some branches.
fn of_mars(recorded: &Recorded, matrices: bool, others: bool) -> State {
    let matrix = recorded.case.params[recorded.param].shape.len() == 2;
    let reduced = matrix || recorded.case.hyper.get("optimize_1d") == Some(&json!(true));
    if if reduced { matrices } else { others } {
        plain(recorded)
    } else {
        State::Unread
    }
}

fn mars_type(case: &Case) -> Option<&str> {
    case.hyper.get("mars_type").and_then(Value::as_str)
}
