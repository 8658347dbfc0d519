//! The rows themselves, in the order of `golden::FILES`.

use super::*;

pub(super) const TABLE: &[Row] = &[
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
        statics: &[
            ("cautious_wd", "cautious_wd", no),
            ("decoupled_weight_decay", "decoupled_weight_decay", no),
        ],
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
        shared: DELEGATED_SCHEDULE_FREE,
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
            ("algorithm", "algorithm", || json!("normuon")),
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
        statics: &[
            ("algorithm", "algorithm", || json!("dion2")),
            FRACTION,
            POLAR,
            ADJUST_LR,
        ],
        states: &[("momentum", plain)],
        work: |_| Work::Orthogonalised,
        ..ROW
    },
    Row {
        file: "nordion2",
        module: "std.nordion2",
        optimizer: "NorDion2",
        hypers: DION_HYPERS,
        statics: &[
            ("algorithm", "algorithm", || json!("nordion2")),
            FRACTION,
            POLAR,
            ADJUST_LR,
        ],
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
            ("zero_init", "zero_init", no),
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
            ("correct_bias", "correct_bias", yes),
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
            QR_METHOD,
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
            ("flatten", "flatten", no),
            POLAR,
            ADJUST_LR,
            ("split_sizes", "split_sizes", || json!(null)),
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
            ("preconditioner_config", "kl", || json!(null)),
            ("preconditioner_config", "inverse_exponent_override", || {
                json!(null)
            }),
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
                packed(shampoo_mode(at, "factor_matrices"))
            }),
            ("shampoo.inv_factor_matrices", shampoo_root),
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
        file: "primal_averaged_shampoo",
        module: "std.averaged_shampoo",
        optimizer: "PrimalAveragedShampoo",
        hypers: &[
            LR,
            BETAS,
            ("beta3", &["beta3"]),
            ("epsilon", &["epsilon"]),
            ("weight_decay", &["averaged_decay"]),
            (
                "iterate_averaging_config",
                &["eval_interp_coeff", "train_interp_coeff"],
            ),
        ],
        statics: &[
            MAX_PRECONDITIONER_DIM,
            PRECONDITION_FREQUENCY,
            START_PRECONDITIONING_STEP,
        ],
        states: AVERAGED_SHAMPOO_STATES,
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "schedule_free_shampoo",
        module: "std.averaged_shampoo",
        optimizer: "ScheduleFreeShampoo",
        hypers: &[
            LR,
            BETAS,
            ("beta3", &["beta3"]),
            ("epsilon", &["epsilon"]),
            ("iterate_averaging_config", &["beta", "weight_lr_power"]),
        ],
        statics: &[
            MAX_PRECONDITIONER_DIM,
            PRECONDITION_FREQUENCY,
            START_PRECONDITIONING_STEP,
        ],
        states: AVERAGED_SHAMPOO_STATES,
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "spectral_descent",
        module: "std.spectral_descent",
        optimizer: "SpectralDescent",
        hypers: &[LR, ("betas", &["beta1"]), WEIGHT_DECAY],
        statics: &[
            ("preconditioner_config", "norm", || json!(null)),
            ("class", "method", || {
                json!("NewtonSchulzOrthogonalizationConfig")
            }),
            ("coefficients", "coefficients", || json!(null)),
            ("num_iterations", "num_iterations", || json!(5)),
            ("scale_by_nuclear_norm", "scale_by_nuclear_norm", no),
        ],
        states: &[
            ("filtered_grad", |_| {
                State::Plain("b.filtered_grad".to_owned())
            }),
            // One for the whole group.
            ("step", unread),
        ],
        work: |_| Work::Factored,
        ..ROW
    },
    Row {
        file: "scalable_shampoo",
        module: "std.scalable_shampoo",
        optimizer: "ScalableShampoo",
        hypers: &[
            LR,
            BETAS,
            WEIGHT_DECAY,
            ("matrix_eps", &["matrix_eps"]),
            ("diagonal_eps", &["diagonal_eps"]),
        ],
        statics: &[
            ("block_size", "block_size", || json!(512)),
            START_PRECONDITIONING_STEP,
            (
                "preconditioning_compute_steps",
                "preconditioning_compute_steps",
                || json!(1000),
            ),
            (
                "statistics_compute_steps",
                "statistics_compute_steps",
                || json!(1),
            ),
            ("shape_interpretation", "shape_interpretation", yes),
            // The reference's interpretation of shapes has it.
            ("shape_interpretation", "leading_one", no),
            (
                "no_preconditioning_for_layers_with_dim_gt",
                "no_preconditioning_for_layers_with_dim_gt",
                || json!(8192),
            ),
            ("graft_type", "graft_type", || json!(1)),
            ("pre_conditioner_type", "pre_conditioner_type", || json!(0)),
            ("use_svd", "use_svd", no),
            ("nesterov", "nesterov", yes),
            (
                "moving_average_for_momentum",
                "moving_average_for_momentum",
                no,
            ),
            ("decoupled_weight_decay", "decoupled_weight_decay", no),
        ],
        states: &[
            ("momentum", plain),
            ("graft.momentum", |_| {
                State::Plain("graft_momentum".to_owned())
            }),
            ("graft.statistics", |_| {
                State::Plain("graft_statistics".to_owned())
            }),
            ("statistics", |at| of_block(at, "statistics")),
            ("preconditioners", |at| of_block(at, "preconditioners")),
        ],
        draws: starts_of_scalable,
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
                packed(format!("factor_matrices.{}", at.index))
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
