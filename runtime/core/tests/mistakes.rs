//! What a user can get wrong when loading and binding: each has its own code, and nothing panics.

use miette::Diagnostic;
use optc_artifact::{Builder, Manifest, Sources};
use optc_core::dtype::DType;
use optc_runtime::{BindOptions, Device, Group, LoadError, Optimizer, ParamDesc, Rules};

#[track_caller]
fn check<T: std::fmt::Debug, E: Diagnostic>(outcome: Result<T, E>, code: &str, message: &str) {
    let error = outcome.expect_err("the mistake went unnoticed");
    assert_eq!(
        error
            .code()
            .map(|code| code.to_string())
            .unwrap_or_default(),
        code
    );
    assert!(error.to_string().contains(message), "{error}");
    assert!(error.help().is_some(), "{code} has no help");
}

const TWO: &str = r"
//! Two optimizers.
optimizer First {
    hyper lr = 0.5 in [0, 1]
    static twice: bool = false
    rule matrix(w: [m, n]) { w -= if twice { 2 * lr * grad } else { lr * grad } }
    rule vector(w: [n]) { w -= lr * grad }
}
optimizer Second {
    hyper lr = 0.5
    rule each(w: [...]) { w -= lr * grad }
}";

fn bind(params: &[ParamDesc], options: BindOptions) -> Result<Optimizer, optc_runtime::BindError> {
    let optimizer = options.optimizer.clone().or(Some("First".into()));
    Rules::from_source("two", TWO).unwrap().bind(
        params,
        &BindOptions {
            optimizer,
            ..options
        },
    )
}

fn vector(name: &str) -> ParamDesc {
    ParamDesc::new(name, &[3], DType::F32)
}

fn grouped(group: Group) -> BindOptions {
    BindOptions {
        groups: vec![group],
        ..BindOptions::default()
    }
}

#[test]
fn optimizers_are_chosen_by_name() {
    let rules = Rules::from_source("two", TWO).unwrap();
    assert_eq!(rules.optimizers().collect::<Vec<_>>(), ["First", "Second"]);
    let bind = |name: Option<&str>| {
        rules.bind(
            &[],
            &BindOptions {
                optimizer: name.map(str::to_owned),
                ..BindOptions::default()
            },
        )
    };
    assert_eq!(bind(Some("Second")).unwrap().name(), "Second");
    check(bind(None), "opt::bind::which_optimizer", "which optimizer");
    check(
        bind(Some("Third")),
        "opt::bind::unknown_optimizer",
        "`Third`",
    );
}

#[test]
fn settings_are_checked() {
    let hyper = |name: &str, value: f64| BindOptions {
        hypers: vec![(name.into(), value)],
        ..BindOptions::default()
    };
    check(
        bind(&[], hyper("lr", 2.0)),
        "opt::bind::out_of_range",
        "`lr` = 2",
    );
    check(
        bind(&[], hyper("lr", f64::NAN)),
        "opt::bind::out_of_range",
        "`lr`",
    );
    check(
        bind(&[], hyper("rate", 0.1)),
        "opt::bind::unknown_hyper",
        "`rate`",
    );
    let fixed = |name: &str, value: &str| BindOptions {
        statics: vec![(name.into(), value.into())],
        ..BindOptions::default()
    };
    assert!(bind(&[], fixed("twice", "true")).is_ok());
    check(
        bind(&[], fixed("twice", "maybe")),
        "opt::bind::wrong_static",
        "`twice`",
    );
    check(
        bind(&[], fixed("thrice", "true")),
        "opt::bind::unknown_static",
        "`thrice`",
    );
}

#[test]
fn parameters_are_checked() {
    let one = |param: ParamDesc| bind(&[param], BindOptions::default());
    check(
        one(ParamDesc::new("w", &[2, 3, 4], DType::F32)),
        "opt::bind::no_rule",
        "[2, 3, 4]",
    );
    check(
        one(ParamDesc::new("w", &[-1], DType::F32)),
        "opt::bind::shape",
        "impossible shape",
    );
    check(
        one(ParamDesc::new("w", &[i64::MAX], DType::F32)),
        "opt::bind::shape",
        "impossible shape",
    );
    check(
        one(ParamDesc::new("w", &[3], DType::I64)),
        "opt::bind::not_float",
        "i64",
    );
    check(
        one(ParamDesc {
            device: Device::Cuda(0),
            ..vector("w")
        }),
        "opt::bind::no_cuda_code",
        "cuda:0",
    );
    check(
        bind(&[vector("w"), vector("w")], BindOptions::default()),
        "opt::bind::duplicate",
        "`w`",
    );
    let second = BindOptions {
        optimizer: Some("Second".into()),
        ..BindOptions::default()
    };
    check(
        bind(&[ParamDesc::new("w", &[1; 17], DType::F32)], second),
        "opt::bind::rank",
        "17 axes",
    );
}

#[test]
fn groups_are_checked() {
    let one = |group: Group| bind(&[vector("w")], grouped(group));
    assert!(one(Group::new("w").rule("vector")).is_ok());
    check(one(Group::new("(")), "opt::bind::pattern", "`(`");
    check(one(Group::new("v")), "opt::bind::nothing_matches", "`v`");
    check(
        one(Group::new("w").rule("tensor")),
        "opt::bind::unknown_rule",
        "`tensor`",
    );
    check(
        one(Group::new("w").rule("matrix")),
        "opt::bind::rule_refuses",
        "`matrix`",
    );
    check(
        one(Group::new("w").hyper("lr", -1.0)),
        "opt::bind::out_of_range",
        "`lr` = -1",
    );
    let two = BindOptions {
        groups: vec![Group::new("w"), Group::new("^w")],
        ..BindOptions::default()
    };
    check(bind(&[vector("w")], two), "opt::bind::two_groups", "`w`");
}

#[test]
fn hyperparameters_are_checked_when_set() {
    let mut optimizer = bind(&[vector("w")], BindOptions::default()).unwrap();
    optimizer.set_lr(0.75).unwrap();
    check(
        optimizer.set_lr(1.5),
        "opt::bind::out_of_range",
        "`lr` = 1.5",
    );
    check(
        optimizer.set_hyper(0, "rate", 0.5),
        "opt::step::unknown_hyper",
        "`rate`",
    );
    check(
        optimizer.set_hyper(1, "lr", 0.5),
        "opt::step::unknown_group",
        "group 1",
    );
    assert_eq!(optimizer.hyper(0, "lr"), Some(0.75));
}

#[test]
fn sources_are_checked() {
    let error = Rules::from_source(
        "bad",
        "optimizer P { rule each(w: [...]) { w -= lr * grad } }",
    )
    .unwrap_err();
    let LoadError::Source { source } = &error else {
        panic!("{error}")
    };
    assert!(!source.to_string().is_empty());
    check(
        Rules::from_std("std.nothing"),
        "opt::load::unknown_module",
        "`std.nothing`",
    );
}

#[test]
fn files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    check(
        Rules::open_source(path("absent.opt")),
        "opt::load::file",
        "absent.opt",
    );
    std::fs::write(path("binary.opt"), [0xff, 0xfe, 0x00]).unwrap();
    check(
        Rules::open_source(path("binary.opt")),
        "opt::load::not_text",
        "binary.opt",
    );
    std::fs::write(path("two.opt"), TWO).unwrap();
    assert_eq!(
        Rules::open_source(path("two.opt"))
            .unwrap()
            .optimizers()
            .count(),
        2
    );
    // SAFETY: none of these files holds machine code.
    unsafe {
        assert!(Rules::open(path("two.opt")).is_ok());
        assert!(Rules::open("std.adamw").is_ok());
        check(
            Rules::open(path("absent.optc")),
            "opt::load::file",
            "absent.optc",
        );
    }
}

#[test]
fn imports_are_found_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    std::fs::write(
        folder.path().join("parts/rate.opt"),
        "fn halve(x: [...]) -> [...] { 0.5 * x }",
    )
    .unwrap();
    let text = "use parts.rate.halve\noptimizer P { rule each(w: [...]) { w -= halve(grad) } }";
    std::fs::write(folder.path().join("p.opt"), text).unwrap();
    let rules = Rules::open_source(folder.path().join("p.opt")).unwrap();
    assert!(rules.bind(&[vector("w")], &BindOptions::default()).is_ok());
}

fn artifact() -> Vec<u8> {
    let mut sources = Sources::new("two");
    sources.modules.insert("two".into(), TWO.into());
    let manifest = Manifest {
        optc: "0.1.0".into(),
        root: "two".into(),
        ..Manifest::default()
    };
    Builder::new(manifest, sources).build().unwrap()
}

#[test]
fn artifacts_are_checked() {
    let bytes = artifact();
    assert_eq!(
        Rules::from_artifact_source(&bytes)
            .unwrap()
            .optimizers()
            .count(),
        2
    );
    // SAFETY: the artifact holds no machine code.
    unsafe {
        check(Rules::from_artifact(&bytes), "opt::artifact::cpu", "");
        check(
            Rules::from_artifact(&bytes[..bytes.len() - 1]),
            "opt::artifact::truncated",
            "cut short",
        );
        check(
            Rules::from_artifact(b"optimizer"),
            "opt::artifact::magic",
            "not an optc artifact",
        );
    }
}

/// Loops of which only bind knows the count, and loops in loops.
#[test]
fn loops_without_measure_are_refused() {
    let loops = [
        "repeat k { repeat k { x = exp(x) } }",
        "until max(x) <= 0 at most k { repeat k { x = exp(x) } }",
        "repeat k { x = turned(x, 1e4) }",
        "repeat k { repeat k { w = w } }",
    ];
    for turns in loops {
        let text = format!(
            "fn turned(a: [n], k: int) -> [n] {{ var x = a; repeat k {{ x = exp(x) }}; x }}
            optimizer Turning {{
                static k: int = 10000
                rule vector(w: [n]) {{ var x = grad; {turns}; w -= x }}
            }}"
        );
        let rules = Rules::from_source("turning", &text).expect(turns);
        let bound = rules.bind(&[vector("w")], &BindOptions::default());
        check(
            bound,
            "opt::bind::too_large",
            "rule `vector` for parameter `w` of shape [3] is too large",
        );
    }
}

/// The same in what is computed before a rule is chosen: a number cut short would be a wrong one.
#[test]
fn settings_and_guards_without_measure_are_refused() {
    let cases = [
        (
            "hyper lr = counted(10000)",
            "",
            "the default of `lr` is too large",
        ),
        (
            "static turns: float = counted(10000)",
            "",
            "the default of `turns` is too large",
        ),
        (
            "shared turns = counted(10000)",
            "",
            "what `Counting` starts from is too large",
        ),
        (
            "",
            "where counted(10000) > 0",
            "rule `vector` for parameter `w` of shape [3] is too large",
        ),
    ];
    for (setting, guard, message) in cases {
        let text = format!(
            "fn counted(k: int) -> float {{ var x = 0; repeat k {{ repeat k {{ x += 1 }} }}; x }}
            optimizer Counting {{
                {setting}
                rule vector(w: [n]) {guard} {{ w -= grad }}
            }}"
        );
        let rules = Rules::from_source("counting", &text).expect(message);
        let bound = rules.bind(&[vector("w")], &BindOptions::default());
        check(bound, "opt::bind::too_large", message);
    }
}

/// Counts and lengths that only a parameter and the statics show.
#[test]
fn counts_out_of_range_are_refused() {
    let cases = [
        (
            "repeat k { w -= grad }",
            "`k` is -2, and must be at least 0",
        ),
        (
            "repeat 20000 - 10 * k { w -= grad }",
            "and must be at most 10000",
        ),
        (
            "every k steps { w -= grad }",
            "`k` is -2, and must be at least 1",
        ),
        (
            "every k + 2 steps { w -= grad }",
            "`k + 2` is 0, and must be at least 1",
        ),
        (
            "state s: [n + 2 * k] = 0; s += 1; w -= sum(s) * grad",
            "`n + 2 * k` is -1",
        ),
        (
            "w = scatter(w, 0, top_k(w, k), gather(grad, 0, top_k(w, k)))",
            "`k` is -2",
        ),
        ("w -= counted(k) * grad", "`k` is -2"),
    ];
    for (body, message) in cases {
        let text = format!(
            "fn counted(k: int) -> float {{ var x = 0; repeat k {{ x += 1 }}; x }}
            optimizer Counting {{
                static k: int = -2
                rule vector(w: [n]) {{ {body} }}
            }}"
        );
        let rules = Rules::from_source("counting", &text).expect(body);
        let bound = rules.bind(&[vector("w")], &BindOptions::default());
        check(bound, "opt::bind::count", message);
    }
}

/// A tensor that no memory holds, and whose size is no number of 64 bits.
#[test]
fn tensors_beyond_measure_are_refused() {
    let bodies = [
        "state s: [n * 1000000000, n * 1000000000, 10000000000] = 0; s += 1; w -= sum(s) * grad",
        "w -= sum(normal(10000000000 * n, 10000000000 * n)) * grad",
        "w -= sum(identity(10000000 * n)) * grad",
    ];
    for body in bodies {
        let text = format!("optimizer Large {{ rule vector(w: [n]) {{ {body} }} }}");
        let rules = Rules::from_source("large", &text).expect(body);
        let bound = rules.bind(&[vector("w")], &BindOptions::default());
        check(bound, "opt::bind::too_large", "a tensor in it has shape");
    }
}
