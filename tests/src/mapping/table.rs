//! One row per recorded file: the optimizer, and what the reference's options and states are called here.

use serde_json::{Value, json};

use super::State;
use crate::golden::Case;

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
    /// Options of a group that the reference changes, and shared numbers of the same name.
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
        "distributed_shampoo_other" => "distributed_shampoo",
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

const TABLE: &[Row] = &[
    Row {
        file: "sgd",
        module: "std.sgd",
        optimizer: "Sgd",
        hypers: &[LR, MOMENTUM, ("dampening", &["dampening"]), WEIGHT_DECAY],
        statics: &[("nesterov", "nesterov", no), MAXIMIZE],
        states: &[("momentum_buffer", plain)],
        ..ROW
    },
    Row {
        file: "adagrad",
        module: "std.adagrad",
        optimizer: "Adagrad",
        hypers: &[LR, ("lr_decay", &["lr_decay"]), EPS, WEIGHT_DECAY],
        statics: &[
            (
                "initial_accumulator_value",
                "initial_accumulator_value",
                || json!(0),
            ),
            MAXIMIZE,
        ],
        states: &[("sum", plain), STEP],
        ..ROW
    },
    Row {
        file: "adadelta",
        module: "std.adadelta",
        optimizer: "Adadelta",
        hypers: &[LR, ("rho", &["rho"]), EPS, WEIGHT_DECAY],
        statics: &[MAXIMIZE],
        states: &[("square_avg", plain), ("acc_delta", plain), STEP],
        ..ROW
    },
    Row {
        file: "rmsprop",
        module: "std.rmsprop",
        optimizer: "RMSprop",
        hypers: &[LR, ("alpha", &["alpha"]), EPS, WEIGHT_DECAY, MOMENTUM],
        statics: &[("centered", "centered", no), MAXIMIZE],
        states: &[
            ("square_avg", plain),
            ("grad_avg", plain),
            ("momentum_buffer", plain),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "adam",
        module: "std.adam",
        optimizer: "Adam",
        statics: ADAM_STATICS,
        ..ROW
    },
    Row {
        file: "adamw",
        module: "std.adamw",
        optimizer: "AdamW",
        statics: ADAM_STATICS,
        ..ROW
    },
    Row {
        file: "nadam",
        module: "std.nadam",
        optimizer: "NAdam",
        hypers: &[
            LR,
            BETAS,
            EPS,
            WEIGHT_DECAY,
            ("momentum_decay", &["momentum_decay"]),
        ],
        statics: DECOUPLED,
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("mu_product", plain),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "radam",
        module: "std.radam",
        optimizer: "RAdam",
        statics: DECOUPLED,
        ..ROW
    },
    Row {
        file: "adamax",
        module: "std.adamax",
        optimizer: "Adamax",
        statics: &[MAXIMIZE],
        states: &[("exp_avg", plain), ("exp_inf", plain), STEP],
        ..ROW
    },
    Row {
        file: "asgd",
        module: "std.asgd",
        optimizer: "ASGD",
        hypers: &[
            LR,
            ("lambd", &["lambd"]),
            ("alpha", &["alpha"]),
            ("t0", &["t0"]),
            WEIGHT_DECAY,
        ],
        statics: &[MAXIMIZE],
        states: &[("ax", plain), ("eta", plain), ("mu", plain), STEP],
        ..ROW
    },
    Row {
        file: "rprop",
        module: "std.rprop",
        optimizer: "Rprop",
        hypers: &[
            LR,
            ("etas", &["etaminus", "etaplus"]),
            ("step_sizes", &["step_size_min", "step_size_max"]),
        ],
        statics: &[MAXIMIZE],
        states: &[("prev", plain), ("step_size", plain), STEP],
        ..ROW
    },
    Row {
        file: "lion",
        module: "std.lion",
        optimizer: "Lion",
        hypers: LION_HYPERS,
        statics: &[("decoupled_weight_decay", "decoupled_weight_decay", no)],
        ..ROW
    },
    Row {
        file: "lion_cautious",
        module: "std.cautious_lion",
        optimizer: "CautiousLion",
        hypers: &[
            LR,
            BETAS,
            WEIGHT_DECAY,
            ("cautious_factor", &["cautious_factor"]),
        ],
        statics: &[("cautious_wd", "cautious_wd", no)],
        ..ROW
    },
    Row {
        file: "c_lion",
        module: "std.cautious_lion",
        optimizer: "CautiousLion",
        hypers: LION_HYPERS,
        fixed: &[("rescale", "count")],
        ..ROW
    },
    Row {
        file: "c_adamw",
        module: "std.cautious_adamw",
        optimizer: "CautiousAdamW",
        statics: &[
            ("correct_bias", "correct_bias", yes),
            // The reference has another rule for lists of tensors.
            ("foreach", "eps_after_correction", no),
        ],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("momentum", |_| State::Plain("exp_avg".to_owned())),
            ("variance", |_| State::Plain("exp_avg_sq".to_owned())),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "signum",
        module: "std.signum",
        optimizer: "Signum",
        hypers: &[LR, MOMENTUM, WEIGHT_DECAY],
        statics: &[WEIGHT_DECOUPLE],
        states: &[("momentum_buffer", plain)],
        ..ROW
    },
    Row {
        file: "ademamix",
        module: "std.ademamix",
        optimizer: "AdEMAMix",
        hypers: &[
            LR,
            ("betas", &["beta1", "beta2", "beta3"]),
            ("alpha", &["alpha"]),
            EPS,
            WEIGHT_DECAY,
        ],
        statics: &[
            ("alpha_warmup", "alpha_warmup", || json!(0)),
            ("beta3_warmup", "beta3_warmup", || json!(0)),
        ],
        states: &[
            ("exp_avg_fast", plain),
            ("exp_avg_slow", plain),
            ("exp_avg_sq", plain),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "normalised_gd",
        module: "std.normalised_gd",
        optimizer: "NormalisedGd",
        hypers: &[LR, EPS],
        statics: &[("scope", "scope", || json!("tensor"))],
        states: &[],
        ..ROW
    },
    Row {
        file: "adabelief",
        module: "std.adabelief",
        optimizer: "AdaBelief",
        statics: &[("rectify", "rectify", no), WEIGHT_DECOUPLE],
        states: &[("exp_avg", plain), ("exp_avg_var", plain)],
        ..ROW
    },
    Row {
        file: "yogi",
        module: "std.yogi",
        optimizer: "Yogi",
        statics: &[
            ("initial_accumulator", "initial_accumulator", || json!(1e-6)),
            WEIGHT_DECOUPLE,
        ],
        ..ROW
    },
    Row {
        file: "adan",
        module: "std.adan",
        optimizer: "Adan",
        hypers: &[
            LR,
            ("betas", &["beta1", "beta2", "beta3"]),
            EPS,
            WEIGHT_DECAY,
            ("max_grad_norm", &["max_grad_norm"]),
        ],
        statics: &[("weight_decouple", "weight_decouple", no)],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_diff", plain),
            ("exp_avg_sq", plain),
            ("previous_grad", plain),
        ],
        ..ROW
    },
    Row {
        file: "laprop",
        module: "std.laprop",
        optimizer: "LaProp",
        statics: &[
            ("centered", "centered", no),
            (
                "steps_before_using_centered",
                "steps_before_using_centered",
                || json!(10),
            ),
            ("ams_bound", "ams_bound", no),
        ],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("exp_avg_lr_1", plain),
            ("exp_avg_lr_2", unread),
            ("exp_mean_avg_beta2", plain),
            ("max_exp_avg_sq", plain),
        ],
        ..ROW
    },
    Row {
        file: "adopt",
        module: "std.adopt",
        optimizer: "Adopt",
        statics: &[("weight_decouple", "weight_decouple", no)],
        ..ROW
    },
    Row {
        file: "grams",
        module: "std.grams",
        optimizer: "Grams",
        statics: &[WEIGHT_DECOUPLE],
        ..ROW
    },
    Row {
        file: "clip_norm_adamw",
        module: "std.clip_adamw",
        optimizer: "ClipAdamW",
        hypers: &[LR, BETAS, EPS, WEIGHT_DECAY, ("max_norm", &["max_norm"])],
        statics: &[("norm_type", "norm_type", || json!(2.0))],
        ..ROW
    },
    Row {
        file: "composed_clip_norm_adamw",
        module: "std.clip",
        optimizer: "Clip",
        hypers: &[LR, BETAS, EPS, WEIGHT_DECAY, ("max_norm", &["max_norm"])],
        statics: &[("norm_type", "norm_type", || json!(2.0))],
        states: BASE_ADAM_STATES,
        ..ROW
    },
    Row {
        file: "sam",
        module: "std.sam",
        optimizer: "Sam",
        instead: |case| (case.hyper["base"] == "AdamW").then_some("SamAdamW"),
        hypers: &[
            LR,
            BETAS,
            EPS,
            MOMENTUM,
            WEIGHT_DECAY,
            ("rho", &["rho"]),
            ("dampening", &["dampening"]),
        ],
        statics: &[("adaptive", "adaptive", no)],
        states: BASE_ADAM_STATES,
        ..ROW
    },
    Row {
        file: "sophia_g",
        module: "std.sophia_g",
        optimizer: "SophiaG",
        hypers: &[LR, BETAS, WEIGHT_DECAY, ("rho", &["rho"]), ("bs", &["bs"])],
        statics: &[MAXIMIZE],
        states: &[("exp_avg", plain), ("hessian", plain), STEP],
        ..ROW
    },
    Row {
        file: "c_muon",
        module: "std.cautious_muon",
        optimizer: "CautiousMuon",
        hypers: &[LR, MOMENTUM, WEIGHT_DECAY],
        states: MUON_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "composed_schedule_free_sgd",
        module: "std.schedule_free",
        optimizer: "ScheduleFree",
        hypers: &[
            LR,
            ("momentum", &["beta"]),
            ("weight_decay", &["averaged_decay"]),
            ("warmup_steps", &["warmup_steps"]),
            ("r", &["r"]),
            ("weight_lr_power", &["weight_lr_power"]),
        ],
        states: SCHEDULE_FREE_STATES,
        shared: SCHEDULE_FREE_SHARED,
        ..ROW
    },
    Row {
        file: "prodigy",
        module: "std.prodigy",
        optimizer: "Prodigy",
        hypers: &[
            LR,
            BETAS,
            ("beta3", &["beta3"]),
            WEIGHT_DECAY,
            ("d0", &["d0"]),
            ("d_coef", &["d_coef"]),
            ("growth_rate", &["growth_rate"]),
        ],
        statics: &[
            ("decouple", "decouple", yes),
            ("use_bias_correction", "use_bias_correction", no),
            ("safeguard_warmup", "safeguard_warmup", no),
        ],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("p0", plain),
            ("s", plain),
            STEP,
        ],
        shared: &["d", "d_max", "d_numerator", "k"],
        ..ROW
    },
    Row {
        file: "schedule_free_adamw",
        module: "std.schedule_free_adamw",
        optimizer: "ScheduleFreeAdamW",
        hypers: SCHEDULE_FREE_HYPERS,
        states: SCHEDULE_FREE_STATES,
        shared: SCHEDULE_FREE_SHARED,
        ..ROW
    },
    Row {
        file: "schedule_free_radam",
        module: "std.schedule_free_radam",
        optimizer: "ScheduleFreeRAdam",
        hypers: SCHEDULE_FREE_HYPERS,
        statics: &[("silent_sgd_phase", "silent_sgd_phase", yes)],
        states: SCHEDULE_FREE_STATES,
        shared: SCHEDULE_FREE_SHARED,
        ..ROW
    },
    Row {
        file: "schedule_free_sgd",
        module: "std.schedule_free_sgd",
        optimizer: "ScheduleFreeSgd",
        hypers: &[
            LR,
            MOMENTUM,
            WEIGHT_DECAY,
            ("warmup_steps", &["warmup_steps"]),
            ("r", &["r"]),
            ("weight_lr_power", &["weight_lr_power"]),
        ],
        states: SCHEDULE_FREE_STATES,
        shared: SCHEDULE_FREE_SHARED,
        ..ROW
    },
    Row {
        file: "adafactor",
        module: "std.adafactor",
        optimizer: "Adafactor",
        hypers: &[
            LR,
            ("beta2_decay", &["beta2_decay"]),
            ("eps", &["eps1", "eps2"]),
            ("d", &["d"]),
            WEIGHT_DECAY,
        ],
        statics: &[MAXIMIZE],
        states: &[
            ("row_var", plain),
            ("col_var", plain),
            ("variance", plain),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "adafactor_fairseq",
        module: "std.adafactor_fairseq",
        optimizer: "AdafactorFairseq",
        hypers: &[
            LR,
            ("beta1", &["beta1"]),
            ("eps", &["eps1", "eps2"]),
            ("clip_threshold", &["clip_threshold"]),
            ("decay_rate", &["decay_rate"]),
            WEIGHT_DECAY,
        ],
        statics: &[
            ("relative_step", "relative_step", yes),
            ("scale_parameter", "scale_parameter", yes),
            ("warmup_init", "warmup_init", no),
        ],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("exp_avg_sq_row", plain),
            ("exp_avg_sq_col", plain),
            ("RMS", unread),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "lamb",
        module: "std.lamb",
        optimizer: "Lamb",
        statics: &[("adam", "adam", no)],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", plain),
            ("weight_norm", unread),
            ("adam_norm", unread),
            ("trust_ratio", unread),
            STEP,
        ],
        ..ROW
    },
    Row {
        file: "lars",
        module: "std.lars",
        optimizer: "Lars",
        hypers: &[
            LR,
            MOMENTUM,
            ("dampening", &["dampening"]),
            WEIGHT_DECAY,
            ("trust_coefficient", &["trust_coefficient"]),
        ],
        statics: &[("nesterov", "nesterov", no)],
        states: &[("momentum_buffer", plain)],
        ..ROW
    },
    Row {
        file: "mars",
        module: "std.mars",
        optimizer: "Mars",
        hypers: &[
            LR,
            BETAS,
            EPS,
            WEIGHT_DECAY,
            ("gamma", &["gamma"]),
            ("lr_1d", &["lr_1d"]),
            ("betas_1d", &["beta1_1d", "beta2_1d"]),
            ("weight_decay_1d", &["weight_decay_1d"]),
        ],
        statics: &[
            ("mars_type", "mars_type", || json!("mars-adamw")),
            ("amsgrad", "amsgrad", no),
            ("optimize_1d", "optimize_1d", no),
        ],
        states: &[
            ("exp_avg", plain),
            ("exp_avg_sq", |at| {
                of_mars(at, mars_type(at.case).is_none(), true)
            }),
            ("max_exp_avg_sq", plain),
            ("last_grad", |at| of_mars(at, true, false)),
            STEP,
        ],
        work: |case| match mars_type(case) {
            Some("mars-shampoo") => Work::Orthogonalised,
            _ => Work::Elementwise,
        },
        ..ROW
    },
    Row {
        file: "torch_muon",
        module: "std.muon",
        optimizer: "Muon",
        hypers: MUON_HYPERS,
        statics: &[
            ("nesterov", "nesterov", yes),
            ("ns_steps", "ns_steps", || json!(5)),
            ("ns_coefficients", "coefficients", || {
                json!([3.4445, -4.775, 2.0315])
            }),
            ("adjust_lr_fn", "adjust_lr", || json!("original")),
        ],
        fixed: &[("norm_floor", "clamp")],
        states: MUON_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "muon",
        module: "std.muon",
        optimizer: "Muon",
        hypers: MUON_HYPERS,
        states: MUON_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "po_muon",
        module: "std.muon",
        optimizer: "Muon",
        hypers: MUON_HYPERS,
        statics: &[
            ("nesterov", "nesterov", yes),
            ("ns_steps", "ns_steps", || json!(5)),
            ("ns_coeffs", "coefficients", || {
                json!([[3.4445, -4.775, 2.0315]])
            }),
            ("use_adjusted_lr", "adjust_lr", no),
        ],
        fixed: &[("norm_floor", "clamp")],
        states: MUON_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "moonlight_muon",
        module: "std.moonlight_muon",
        optimizer: "MoonlightMuon",
        hypers: MOONLIGHT_HYPERS,
        statics: &[("nesterov", "nesterov", yes)],
        states: MOONLIGHT_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "mars_m",
        module: "std.mars_m",
        optimizer: "MarsM",
        hypers: &[
            LR,
            ("wd", &["wd"]),
            MOMENTUM,
            ("gamma", &["gamma"]),
            ("adamw_betas", &["adamw_beta1", "adamw_beta2"]),
            ("adamw_eps", &["adamw_eps"]),
        ],
        states: MOONLIGHT_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "normuon",
        module: "std.normuon",
        optimizer: "NorMuon",
        hypers: DION_HYPERS,
        statics: &[
            ("nesterov", "nesterov", no),
            ("cautious_wd", "cautious_wd", no),
            ("flatten", "flatten", no),
            POLAR,
            ADJUST_LR,
            ("split_sizes", "split_sizes", || json!(null)),
        ],
        states: &[("momentum", of_parts), ("variance_neuron", of_whole)],
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "dion2",
        module: "std.dion2",
        optimizer: "Dion2",
        hypers: DION_HYPERS,
        statics: &[FRACTION, POLAR, ADJUST_LR],
        states: &[("momentum", plain)],
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "nordion2",
        module: "std.nordion2",
        optimizer: "NorDion2",
        hypers: DION_HYPERS,
        statics: &[FRACTION, POLAR, ADJUST_LR],
        states: &[("momentum", plain), ("variance_neuron", plain)],
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "adam_mini",
        module: "std.adam_mini",
        optimizer: "AdamMini",
        hypers: &[
            LR,
            ("beta1", &["beta1"]),
            ("beta2", &["beta2"]),
            EPS,
            WEIGHT_DECAY,
        ],
        statics: &[
            ("dim", "dim", || json!(2048)),
            ("n_heads", "n_heads", || json!(32)),
        ],
        states: &[
            ("m", plain),
            ("v", plain),
            ("vmean", plain),
            STEP,
            ("block_numel", unread),
            ("head_per_gpu", unread),
            ("neuron_per_gpu", unread),
            ("reduced", unread),
        ],
        ..ROW
    },
    Row {
        file: "scion",
        module: "std.scion",
        optimizer: "Scion",
        hypers: &[LR, MOMENTUM, ("scale", &["scale"])],
        statics: &[
            ("norm", "norm", || json!("Auto")),
            ("unconstrained", "unconstrained", no),
            ("normalized", "normalized", || json!(null)),
            ("transpose", "transposed", no),
            ("max", "at_least_one", no),
            ("steps", "steps", || json!(5)),
        ],
        states: &[("momentum_buffer", plain)],
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "soap",
        module: "std.soap",
        optimizer: "Soap",
        hypers: &[
            LR,
            BETAS,
            ("shampoo_beta", &["shampoo_beta"]),
            EPS,
            WEIGHT_DECAY,
        ],
        statics: SOAP_STATICS,
        states: SOAP_STATES,
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "pytorch_optimizer_shampoo",
        module: "std.shampoo",
        optimizer: "Shampoo",
        hypers: &[LR, MOMENTUM, WEIGHT_DECAY, ("matrix_eps", &["matrix_eps"])],
        statics: &[
            (
                "preconditioning_compute_steps",
                "preconditioning_compute_steps",
                || json!(1),
            ),
            ("weight_decouple", "weight_decouple", no),
        ],
        states: &[
            MOMENTUM_BUFFER,
            ("pre_cond", |at| of_mode(at, "pre_cond")),
            ("inv_pre_cond", |at| of_mode(at, "inv_pre_cond")),
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "torch_optimizer_shampoo",
        module: "std.shampoo_sequential",
        optimizer: "ShampooSequential",
        hypers: &[LR, MOMENTUM, WEIGHT_DECAY, ("epsilon", &["epsilon"])],
        statics: &[("update_freq", "update_freq", || json!(1))],
        states: &[
            MOMENTUM_BUFFER,
            ("precond", |at| of_mode(at, "precond")),
            ("inv_precond", |at| of_mode(at, "inv_precond")),
            STEP,
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "splus",
        module: "std.splus",
        optimizer: "SPlus",
        hypers: &[
            LR,
            ("b1", &["b1"]),
            ("b2", &["b2"]),
            ("ema_rate", &["ema_rate"]),
            WEIGHT_DECAY,
            EPS,
            ("nonstandard_constant", &["nonstandard_constant"]),
        ],
        statics: &[
            ("inverse_every", "inverse_every", || json!(100)),
            ("max_dim", "max_dim", || json!(10000)),
        ],
        states: &[
            ("momentum", plain),
            ("ema", plain),
            ("sides", |at| of_mode(at, "sides")),
            ("q_sides", |at| {
                State::Basis(format!("q_sides.{}", at.index))
            }),
            STEP,
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "galore_adamw",
        module: "std.galore",
        optimizer: "GaLore",
        hypers: &[LR, BETAS, EPS, WEIGHT_DECAY, ("scale", &["scale"])],
        statics: &[
            ("rank", "proj_rank", || json!(0)),
            ("update_proj_gap", "update_proj_gap", || json!(200)),
            ("proj_type", "proj_type", || json!("std")),
        ],
        states: &[
            ("exp_avg", |at| State::Unsigned(at.index.to_owned())),
            ("exp_avg_sq", plain),
            ("ortho_matrix", |at| {
                let name = match at.index {
                    "0" => "ortho_left",
                    "1" => "ortho_right",
                    whole => whole,
                };
                State::Unsigned(name.to_owned())
            }),
            STEP,
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "psgd_kron",
        module: "std.psgd_kron",
        optimizer: "PsgdKron",
        hypers: &[
            LR,
            ("b1", &["b1"]),
            WEIGHT_DECAY,
            ("precond_lr", &["precond_lr"]),
            ("precond_init_scale", &["precond_init_scale"]),
            ("schedule", &["min_prob", "max_prob", "decay", "flat_start"]),
            (
                "preconditioner_update_probability",
                &["min_prob", "max_prob"],
            ),
        ],
        statics: &[
            ("max_size_triangular", "max_size_triangular", || json!(8192)),
            ("min_ndim_triangular", "min_ndim_triangular", || json!(2)),
            ("memory_save_mode", "memory_save_mode", || json!("none")),
            ("merge_dims", "merge_dims", yes),
            (
                "momentum_into_precond_update",
                "momentum_into_precond_update",
                yes,
            ),
        ],
        states: &[
            MOMENTUM_BUFFER,
            ("Q", factor_of_mode),
            ("merged_shape", unread),
            STEP,
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "dion",
        module: "std.dion",
        optimizer: "Dion",
        hypers: DION_HYPERS,
        statics: &[
            ("algorithm", "algorithm", || json!("dion")),
            ("rank_fraction", "rank_fraction", || json!(1.0)),
            ("rank_multiple_of", "rank_multiple_of", || json!(1)),
            ("power_iters", "power_iters", || json!(1)),
        ],
        states: DION_STATES,
        draws: first_of_dion,
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "dion_simple",
        module: "std.dion",
        optimizer: "Dion",
        hypers: DION_HYPERS,
        statics: &[("rank", "max_rank", || json!(0))],
        fixed: &[("side", "columns")],
        states: DION_STATES,
        draws: first_of_dion,
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "dion_muon",
        module: "std.dion_muon",
        optimizer: "DionMuon",
        hypers: DION_HYPERS,
        statics: &[
            ("algorithm", "algorithm", || json!("muon")),
            ("nesterov", "nesterov", no),
            ("cautious_wd", "cautious_wd", no),
            POLAR,
            ADJUST_LR,
        ],
        states: DION_STATES,
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "distributed_shampoo",
        module: "std.distributed_shampoo",
        optimizer: "DistributedShampoo",
        hypers: &[
            LR,
            BETAS,
            ("beta3", &["beta3"]),
            ("epsilon", &["epsilon"]),
            WEIGHT_DECAY,
            ("grafting_config", &["grafting_beta2", "grafting_epsilon"]),
            ("iterate_averaging_config", &["momentum", "dampening"]),
        ],
        statics: &[
            MAX_PRECONDITIONER_DIM,
            PRECONDITION_FREQUENCY,
            START_PRECONDITIONING_STEP,
            ("class", "method", || json!("EigenConfig")),
            ("tolerance", "tolerance", || json!(0.0)),
            ("grafting_config", "grafting", || json!(null)),
            ("use_bias_correction", "use_bias_correction", yes),
            ("use_nesterov", "use_nesterov", no),
            ("weight_decay_type", "weight_decay_type", || {
                json!("DECOUPLED")
            }),
            ("peak_lr", "peak_lr", || json!(null)),
        ],
        states: &[
            ("shampoo.factor_matrices", |at| {
                of_mode(at, "factor_matrices")
            }),
            ("shampoo.inv_factor_matrices", |at| {
                of_mode(at, "inv_factor_matrices")
            }),
            ("filtered_grad", plain),
            ("momentum_buffer", plain),
            ("adagrad", plain),
            ("weight_buffer", plain),
            ("lr_sum", unread),
            ("train_mode", unread),
            // One for the whole group.
            ("step", unread),
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "distributed_shampoo_evc",
        module: "std.distributed_shampoo_evc",
        optimizer: "EigenvalueCorrectedShampoo",
        hypers: &[LR, BETAS, ("epsilon", &["epsilon"]), WEIGHT_DECAY],
        statics: &[
            MAX_PRECONDITIONER_DIM,
            PRECONDITION_FREQUENCY,
            START_PRECONDITIONING_STEP,
            ("class", "method", || json!("EighEigendecompositionConfig")),
            ("max_iterations", "max_iterations", || json!(1)),
            ("tolerance", "tolerance", || json!(0.0)),
            ("use_bias_correction", "use_bias_correction", yes),
        ],
        states: &[
            ("shampoo.factor_matrices", |at| {
                of_mode(at, "factor_matrices")
            }),
            ("shampoo.factor_matrices_eigenvectors", |at| {
                State::Basis(format!("factor_matrices_eigenvectors.{}", at.index))
            }),
            ("shampoo.corrected_eigenvalues", |_| {
                State::Plain("corrected_eigenvalues".to_owned())
            }),
            ("filtered_grad", plain),
            // One for the whole group.
            ("step", unread),
        ],
        work: |_| Work::Factored,
        ..ROW
    },
];
