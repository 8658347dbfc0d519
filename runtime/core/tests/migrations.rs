//! Checkpoints of an earlier version of a rule: what its migrations do, and what is refused.

use optc_core::dtype::DType;
use optc_runtime::{
    BindOptions, CheckpointError, Optimizer, ParamDesc, Rules, StepInput, TensorView,
};
use std::path::PathBuf;

const FIRST: &str = "
optimizer Shown {
    hyper rate = 0.1, unused = 3
    rule each(w: [...]) {
        state m = zeros_like(w)
        state extra = zeros_like(w)
        modes i of w { state l[i]: f64[] = 0 }
        m = lerp(m, grad, 0.5)
        extra = m
        each i { l[i] = l[i] + 1 }
        w -= (rate + 0 * unused) * extra
    }
}";

const SECOND: &str = r#"
optimizer Shown {
    hyper lr = 0.2, decay = 0.25
    version "2"
    migrate from "1" {
        rename m -> exp_avg
        rename l -> laps
        rename rate -> lr
        drop extra
        drop unused
        add exp_avg_sq = 1 / 4
    }
    rule each(w: [...]) {
        state exp_avg = zeros_like(w)
        state exp_avg_sq = zeros_like(w)
        modes i of w { state laps[i]: f64[] = 0 }
        exp_avg = lerp(exp_avg, grad, 0.5)
        exp_avg_sq = exp_avg_sq + grad^2
        each i { laps[i] = laps[i] + 1 }
        w -= lr * exp_avg / exp_avg_sq + decay
    }
}"#;

fn bind(source: &str) -> Optimizer {
    let rules = Rules::from_source("shown", source).unwrap();
    let params = ["a", "b"].map(|name| ParamDesc::new(name, &[2, 3], DType::F32));
    rules.bind(&params, &BindOptions::default()).unwrap()
}

fn step(optimizer: &mut Optimizer) -> [[f32; 6]; 2] {
    let mut weights = [[1.0f32; 6], [2.0; 6]];
    let grad = [0.5f32; 6];
    let inputs = weights.each_mut().map(|weight| StepInput {
        param: TensorView::from_mut(weight, &[2, 3]).unwrap(),
        grad: TensorView::from_ref(&grad, &[2, 3]),
    });
    optimizer.step(&inputs).unwrap();
    weights
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

/// A checkpoint of that source after one step.
fn saved(source: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut optimizer = bind(source);
    step(&mut optimizer);
    optimizer.save(&path).unwrap();
    Place {
        _folder: folder,
        path,
    }
}

fn numbers(optimizer: &Optimizer, param: &str, state: &str) -> Vec<f32> {
    let found = optimizer.states(param).find(|view| view.name == state);
    let bytes = found.unwrap().bytes().unwrap().into_owned();
    let each = bytes.chunks_exact(4);
    each.map(|bytes| f32::from_ne_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn changes_are_applied_and_reported() {
    let old = saved(FIRST);
    let mut optimizer = bind(SECOND);
    let report = optimizer.load(&old.path).unwrap();
    assert_eq!(
        report,
        [
            "Shown 1 -> 2: add exp_avg_sq = 0.25 (2 times)",
            "Shown 1 -> 2: drop extra (2 times)",
            "Shown 1 -> 2: drop unused",
            "Shown 1 -> 2: rename l -> laps (4 times)",
            "Shown 1 -> 2: rename m -> exp_avg (2 times)",
            "Shown 1 -> 2: rename rate -> lr",
        ]
    );
    assert_eq!(optimizer.step_of("b"), Some(1));
    assert_eq!(numbers(&optimizer, "b", "exp_avg"), [0.25; 6]);
    assert_eq!(numbers(&optimizer, "b", "exp_avg_sq"), [0.25; 6]);
    let hypers: Vec<(&str, f64)> = optimizer.hypers(0).collect();
    assert_eq!(hypers, [("lr", 0.1), ("decay", 0.25)]);
    let expected = 1.0f32 - (0.1 * 0.375 / 0.5 + 0.25);
    assert!(
        step(&mut optimizer)[0]
            .iter()
            .all(|w| (w - expected).abs() < 1e-6)
    );
}

#[test]
fn a_file_of_this_version_needs_nothing() {
    let file = saved(SECOND);
    let mut optimizer = bind(SECOND);
    assert!(optimizer.load(&file.path).unwrap().is_empty());
    assert_eq!(numbers(&optimizer, "a", "exp_avg_sq"), [0.25; 6]);
}

#[test]
fn a_version_without_a_migration_is_named() {
    let file = saved(SECOND);
    let error = bind(FIRST).load(&file.path).unwrap_err();
    let CheckpointError::Version {
        optimizer,
        found,
        expected,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!((&*optimizer, &*found, &*expected), ("Shown", "2", "1"));
}

#[test]
fn what_no_migration_names_is_refused() {
    let old = saved(FIRST);
    let without = |line: &str| SECOND.replace(line, "");
    let error = bind(&without("drop extra")).load(&old.path).unwrap_err();
    assert!(
        matches!(error, CheckpointError::Unexpected { .. }),
        "{error}"
    );
    let error = bind(&without("rename m -> exp_avg")).load(&old.path);
    let error = error.unwrap_err();
    assert!(matches!(error, CheckpointError::Missing { .. }), "{error}");
    let error = bind(&without("drop unused")).load(&old.path).unwrap_err();
    assert!(matches!(error, CheckpointError::Groups { .. }), "{error}");
}

#[test]
fn state_of_an_optimizer_that_a_rule_delegates_to_migrates_too() {
    let wrapped =
        |inner: &str| format!("{inner}\noptimizer Outer {{ rule each(w: [...]) = Shown() }}");
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("checkpoint");
    let outer = |source: &str| {
        let rules = Rules::from_source("shown", &wrapped(source)).unwrap();
        let params = ["a", "b"].map(|name| ParamDesc::new(name, &[2, 3], DType::F32));
        let options = BindOptions {
            optimizer: Some("Outer".into()),
            ..BindOptions::default()
        };
        rules.bind(&params, &options).unwrap()
    };
    let mut first = outer(FIRST);
    step(&mut first);
    first.save(&path).unwrap();
    let mut second = outer(SECOND);
    assert_eq!(second.load(&path).unwrap().len(), 4);
    assert_eq!(numbers(&second, "a", "exp_avg"), [0.25; 6]);
}

/// An optimizer around `Shown`, one that delegates to it, and one that steps halves of a parameter.
fn around(source: &str, middle: &str) -> String {
    format!(
        "{source}
optimizer Around(base: optimizer = Shown) {{
    hyper {middle}
    rule each(w: [...]) {{
        state m = zeros_like(w)
        m = m + 1
        w = base(w, grad)
    }}
}}
optimizer Others {{ rule each(w: [...]) = Shown }}
optimizer Halves {{
    rule halves(w: [m, n]) = half on split(w, 1, parts: 3)
    rule half(w: [m, n]) = Shown
}}"
    )
}

#[test]
fn inside_of_other_optimizers() {
    let bind = |source: &str, name: &str| {
        let rules = Rules::from_source("shown", source).unwrap();
        let options = BindOptions {
            optimizer: Some(name.into()),
            ..BindOptions::default()
        };
        let params = ["a", "b"].map(|name| ParamDesc::new(name, &[2, 3], DType::F32));
        rules.bind(&params, &options).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    for (name, middle, state, count) in [
        ("Around", "rate = 7, lr = 7", "base.exp_avg", 2),
        ("Around", "other = 7", "base.exp_avg", 2),
        ("Others", "other = 7", "exp_avg", 2),
        ("Halves", "other = 7", "part1.exp_avg", 6),
    ] {
        let mut old = bind(&around(FIRST, middle), name);
        step(&mut old);
        old.save(&path).unwrap();
        let mut now = bind(&around(SECOND, middle), name);
        let report = now.load(&path).unwrap();
        let line = format!("Shown 1 -> 2: rename m -> exp_avg ({count} times)");
        assert!(report.contains(&line), "{name}: {report:?}");
        assert!(numbers(&now, "b", state).iter().all(|x| *x == 0.25));
        let own = now.states("b").any(|state| state.name == "m");
        assert_eq!(
            own,
            name == "Around",
            "the state of the optimizer around it stays"
        );
        let rate = if middle == "other = 7" {
            "lr"
        } else {
            "base.lr"
        };
        if name == "Around" {
            assert_eq!(now.hyper(0, rate), Some(0.1), "{middle}");
        }
        step(&mut now);
    }
}
