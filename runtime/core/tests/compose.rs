//! Hyperparameters of compositions and entries through the engine, and named errors.

use optc_core::dtype::DType;
use optc_core::hir::InputKind;
use optc_runtime::{
    BindOptions, Given, Optimizer, ParamDesc, Rules, StepError, StepInput, TensorView,
};

const SHAPES: [&[i64]; 3] = [&[4, 3], &[5], &[]];

fn bind(text: &str, name: &str) -> Optimizer {
    let params: Vec<ParamDesc> = SHAPES
        .iter()
        .enumerate()
        .map(|(n, dims)| ParamDesc::new(&format!("p{n}"), dims, DType::F64))
        .collect();
    let options = BindOptions {
        optimizer: Some(name.to_owned()),
        threads: Some(2),
        ..BindOptions::default()
    };
    let rules = Rules::from_source("shown", text).unwrap_or_else(|mistake| panic!("{mistake:?}"));
    rules
        .bind(&params, &options)
        .expect("every shape has a rule")
}

fn len(n: usize) -> usize {
    SHAPES[n].iter().product::<i64>() as usize
}

/// Waves that differ by step, parameter and element.
fn wave(t: usize, n: usize) -> Vec<f64> {
    let at = |i: usize| ((t * 7 + n * 3 + i * 5) as f64 * 0.37 + 0.1).sin() * 2.0;
    (0..len(n)).map(at).collect()
}

fn start() -> Vec<Vec<f64>> {
    (0..3).map(|n| wave(0, n)).collect()
}

fn views<'a>(values: &'a mut [Vec<f64>], grads: &'a [Option<Vec<f64>>]) -> Vec<StepInput<'a>> {
    let each = values.iter_mut().zip(SHAPES).zip(grads);
    let views = each.map(|((value, dims), grad)| StepInput {
        param: TensorView::from_mut(value, dims).expect("the shape"),
        grad: grad
            .as_ref()
            .map(|grad| TensorView::from_ref(grad, dims).expect("the shape")),
    });
    views.collect()
}

fn grads(t: usize) -> Vec<Option<Vec<f64>>> {
    (0..3).map(|n| Some(wave(t, n))).collect()
}

fn state(optimizer: &Optimizer, param: &str, name: &str) -> Vec<f64> {
    let view = optimizer.state(param, name);
    let view = view.unwrap_or_else(|| panic!("no state `{name}`"));
    let bytes = view.bytes().expect("host memory");
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f64::from_ne_bytes(*b))
        .collect()
}

#[track_caller]
fn close(found: &[f64], expected: &[f64]) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
    let same = found.len() == expected.len() && found.iter().zip(expected).all(near);
    assert!(same, "{found:?}\nis not\n{expected:?}");
}

#[test]
fn hyperparameters_of_a_base_change_between_steps() {
    let text = "use std.clip.ClipValue
        use std.sgd.Sgd
        optimizer Shown = ClipValue(base = Sgd(lr = 1), clip_value = 0.5)";
    let mut optimizer = bind(text, "Shown");
    let mut values = vec![vec![0.0; 12], vec![0.0; 5], vec![0.0]];
    let ones: Vec<Option<Vec<f64>>> = (0..3).map(|n| Some(vec![1.0; len(n)])).collect();
    optimizer.step(&views(&mut values, &ones)).expect("a step");
    assert_eq!(values[1], [-0.5; 5]);
    optimizer.set_lr(4.0).expect("the base has a learning rate");
    optimizer
        .set_hyper(0, "base.weight_decay", 0.0)
        .expect("a path means the same");
    optimizer.step(&views(&mut values, &ones)).expect("a step");
    assert_eq!(values[1], [-2.5; 5]);
}

#[test]
fn an_entry_reads_the_settings_that_its_rule_is_handed() {
    let text = "use std.schedule_free.ScheduleFree
        use std.sgd.Sgd
        optimizer Shown {
            hyper lr = 1, rest = 0.25
            rule each(w: [...]) = ScheduleFree(base = Sgd, lr = lr, beta = 1 - rest)
        }";
    let mut optimizer = bind(text, "Shown");
    let mut values = start();
    for t in 1..4 {
        optimizer
            .step(&views(&mut values, &grads(t)))
            .expect("a step");
    }
    let y = values.clone();
    let inputs = views(&mut values, &[None, None, None]);
    let done = optimizer.run_entry("eval", &inputs, Given::default());
    done.expect("an entry");
    drop(inputs);
    for n in 0..3 {
        let z = state(&optimizer, &format!("p{n}"), "z");
        let x = |(y, z): (&f64, &f64)| y + (1.0 - 1.0 / 0.75) * (z - y);
        let expected: Vec<f64> = y[n].iter().zip(&z).map(x).collect();
        close(&values[n], &expected);
    }
}

const WITH_INPUTS: &str = "optimizer Shown {
    rule scalar(w: []) { w -= grad }
    rule each(w: [...]) {
        state first = grad
        w -= first
        entry pull(to: like w, by: float) { w = lerp(w, to, by) }
        entry scale(by: float) { first *= by }
    }
}";

fn failure(
    optimizer: &mut Optimizer,
    name: &str,
    values: &mut [Vec<f64>],
    given: Given<'_>,
) -> String {
    let none = vec![None; 3];
    let done = optimizer.run_entry(name, &views(values, &none), given);
    let error: StepError = done.expect_err("a mistake");
    error.to_string()
}

#[test]
fn mistakes_in_entries_have_names() {
    let mut optimizer = bind(WITH_INPUTS, "Shown");
    let names: Vec<&str> = optimizer
        .entries()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["pull", "scale"]);
    let inputs = &optimizer.entries().next().expect("an entry").inputs;
    assert_eq!(inputs[0], ("to".to_owned(), InputKind::Tensor));
    let mut values = start();
    let no = Given::default();
    assert_eq!(
        failure(&mut optimizer, "eval", &mut values, no),
        "`Shown` has no entry `eval`"
    );
    assert_eq!(
        failure(&mut optimizer, "scale", &mut values, no),
        "entry `scale` needs `by`"
    );
    let numbers = [("by", 1.0), ("often", 2.0)];
    let given = Given {
        numbers: &numbers,
        tensors: &[],
    };
    assert_eq!(
        failure(&mut optimizer, "scale", &mut values, given),
        "entry `scale` takes no `often`"
    );
    let short = [0.0; 4];
    let dims = [4];
    let tensors = [None, TensorView::from_ref(&short, &dims), None];
    let given = Given {
        numbers: &numbers[..1],
        tensors: &[("to", &tensors)],
    };
    let message = failure(&mut optimizer, "pull", &mut values, given);
    assert_eq!(
        message,
        "`to` of entry `pull` does not fit parameter `p1`: it has shape [4], not [5]"
    );
    assert_eq!(values, start());
}

#[test]
fn what_is_not_there_leaves_a_parameter_out() {
    let mut optimizer = bind(WITH_INPUTS, "Shown");
    let mut values = start();
    let to: Vec<Vec<f64>> = (0..3).map(|n| vec![1.0; len(n)]).collect();
    let tensors = [
        TensorView::from_ref(&to[0], SHAPES[0]),
        None,
        TensorView::from_ref(&to[2], SHAPES[2]),
    ];
    let given = Given {
        numbers: &[("by", 1.0)],
        tensors: &[("to", &tensors)],
    };
    // State that begins from a gradient has not begun.
    let none = vec![None; 3];
    let done = optimizer.run_entry("pull", &views(&mut values, &none), given);
    done.expect("an entry");
    assert_eq!(values, start());
    let grads = grads(1);
    optimizer.step(&views(&mut values, &grads)).expect("a step");
    let before = values.clone();
    let done = optimizer.run_entry("pull", &views(&mut values, &none), given);
    done.expect("an entry");
    close(&values[0], &[1.0; 12]);
    assert_eq!(values[1..], before[1..]);
}
