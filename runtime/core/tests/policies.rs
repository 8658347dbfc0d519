//! What rules say of gradients and factorizations that go wrong: through the engine, against plain f64.

use optc_core::dtype::DType;
use optc_runtime::{
    BindOptions, Given, NonFinite, Optimizer, ParamDesc, Rules, StepError, StepInput, TensorView,
};

const DIMS: [i64; 1] = [2];

/// Two vectors of two numbers, from 0.
struct Bound {
    optimizer: Optimizer,
    values: [Vec<f64>; 2],
}

impl Bound {
    fn new(text: &str, non_finite: NonFinite) -> Bound {
        let rules = Rules::from_source("shown", text).unwrap_or_else(|error| panic!("{error:?}"));
        let params = ["a", "b"].map(|name| ParamDesc::new(name, &DIMS, DType::F64));
        let options = BindOptions {
            optimizer: rules.optimizers().last().map(str::to_owned),
            threads: Some(2),
            non_finite,
            ..BindOptions::default()
        };
        Bound {
            optimizer: rules.bind(&params, &options).expect("vectors have a rule"),
            values: [vec![0.0; 2], vec![0.0; 2]],
        }
    }

    fn act(
        &mut self,
        grads: [[f64; 2]; 2],
        act: impl FnOnce(&mut Optimizer, &[StepInput<'_>]) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let inputs: Vec<StepInput<'_>> = (self.values.iter_mut().zip(&grads))
            .map(|(value, grad)| StepInput {
                param: TensorView::from_mut(value, &DIMS).expect("two numbers"),
                grad: TensorView::from_ref(grad, &DIMS),
            })
            .collect();
        act(&mut self.optimizer, &inputs)
    }

    fn step(&mut self, grads: [[f64; 2]; 2]) -> Result<(), StepError> {
        self.act(grads, |optimizer, inputs| optimizer.step(inputs))
    }

    fn steps(&self) -> [Option<u64>; 2] {
        [0, 1].map(|n| self.optimizer.step_at(n))
    }
}

/// Momentum with a factor of the group and a sum over all parameters, and `policy` in its head.
fn momentum(policy: &str) -> String {
    format!(
        "optimizer Momentum {{
            {policy}
            shared turns = 0
            rule each(w: [n]) {{
                state buffer = zeros_like(w)
                let total = across params {{ dot(grad, grad) }}
                turns += 1
                buffer += grad
                w -= buffer + total + turns
                entry push {{ w += grad }}
            }}
        }}"
    )
}

const FINE: [[f64; 2]; 2] = [[1.0, 2.0], [3.0, 4.0]];
const BAD: [[f64; 2]; 2] = [[1.0, 2.0], [3.0, f64::NAN]];

#[test]
fn a_gradient_that_is_not_finite_leaves_its_parameter_alone() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let text = momentum("nonfinite grad: skip");
        let mut bound = Bound::new(&text, NonFinite::Propagate);
        bound.step(FINE).unwrap();
        assert_eq!(bound.values, [[-32.0, -33.0], [-34.0, -35.0]]);
        bound.step([[1.0, 2.0], [3.0, bad]]).unwrap();
        // The sum has the first parameter only; the second one keeps value, buffer and step number.
        assert_eq!(bound.values, [[-41.0, -44.0], [-34.0, -35.0]]);
        assert_eq!(bound.steps(), [Some(2), Some(1)]);
        bound.step([[bad; 2]; 2]).unwrap();
        assert_eq!(bound.steps(), [Some(2), Some(1)]);
        bound.step([[0.0; 2]; 2]).unwrap();
        assert_eq!(bound.values[1], [-34.0 - 3.0 - 3.0, -35.0 - 4.0 - 3.0]);
    }
}

#[test]
fn an_error_names_the_gradient_and_nothing_is_written() {
    let mut bound = Bound::new(&momentum("nonfinite grad: raise"), NonFinite::Propagate);
    let error = bound.step(BAD).expect_err("refused");
    let StepError::NonFinite { name, index, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!((name.as_str(), index), ("b", vec![1]));
    assert_eq!(bound.values, [[0.0; 2]; 2]);
    assert_eq!(bound.steps(), [Some(0); 2]);
}

#[test]
fn without_a_policy_a_rule_computes_with_what_it_is_given() {
    for text in [momentum(""), momentum("nonfinite grad: pass")] {
        let mut bound = Bound::new(&text, NonFinite::Propagate);
        bound.step(BAD).unwrap();
        assert!(bound.values.iter().flatten().all(|x| x.is_nan()));
    }
}

/// `min` of numbers passes a NaN on, as that of tensors does: a norm that is none stops every parameter, not one.
#[test]
fn a_norm_without_a_value_clips_to_none() {
    let text = "optimizer Clipped {
        rule each(w: [n]) {
            let total = sqrt(across params { dot(grad, grad) })
            w -= min(1, max(0, 1 / total)) * grad
        }
    }";
    let mut bound = Bound::new(text, NonFinite::Propagate);
    bound.step(BAD).unwrap();
    assert!(bound.values.iter().flatten().all(|x| x.is_nan()));
}

#[test]
fn the_stricter_of_rule_and_program_holds() {
    let text = momentum("nonfinite grad: skip");
    assert!(Bound::new(&text, NonFinite::Error).step(BAD).is_err());
    let mut bound = Bound::new(&momentum(""), NonFinite::Skip);
    bound.step(BAD).unwrap();
    assert_eq!(bound.steps(), [Some(1), Some(0)]);
}

#[test]
fn an_entry_that_reads_the_gradient_has_the_policy_too() {
    let mut bound = Bound::new(&momentum("nonfinite grad: skip"), NonFinite::Propagate);
    let push = |optimizer: &mut Optimizer, inputs: &[StepInput<'_>]| {
        optimizer.run_entry("push", inputs, Given::default())
    };
    bound.act(BAD, push).unwrap();
    assert_eq!(bound.values, [[1.0, 2.0], [0.0, 0.0]]);
}

/// The root of a gradient, which must be positive, kept for two failures in a row.
const ROOTS: &str = "optimizer Roots {
    rule each(w: [n]) {
        state root: [n, n] = 0
        root = cholesky(diag(grad)) or keep at most 2 times
        w += diag(root)
    }
}";

const ONE: [[f64; 2]; 2] = [[1.0, 4.0], [9.0, 16.0]];
const ONE_BAD: [[f64; 2]; 2] = [[1.0, 4.0], [9.0, -16.0]];

fn failures(bound: &Bound, param: &str) -> f32 {
    let view = bound
        .optimizer
        .state(param, "root.failures")
        .expect("a count");
    let bytes = view.bytes().expect("host memory");
    f32::from_ne_bytes(bytes.as_ref().try_into().expect("one number"))
}

#[test]
fn one_failure_more_than_allowed_is_an_error() {
    let mut bound = Bound::new(ROOTS, NonFinite::Propagate);
    bound.step(ONE).unwrap();
    for expected in [1.0, 2.0] {
        bound.step(ONE_BAD).unwrap();
        assert_eq!(failures(&bound, "b"), expected);
    }
    let error = bound.step(ONE_BAD).expect_err("the third in a row");
    let StepError::KeptTooOften { name, state, most } = error else {
        panic!("{error:?}")
    };
    assert_eq!((name.as_str(), state.as_str(), most), ("b", "root", 2));
    assert_eq!(bound.values, [[4.0, 8.0], [9.0, 12.0]]);
    assert_eq!(bound.steps(), [Some(4), Some(3)]);
    bound.step(ONE).unwrap();
    assert_eq!(failures(&bound, "b"), 0.0);
    assert_eq!(failures(&bound, "a"), 0.0);
    bound.step(ONE_BAD).unwrap();
}

/// The same with a second matrix to factorize where the first fails.
#[test]
fn what_stands_in_for_a_failure_may_fail_itself() {
    let instead = "or else cholesky(diag(-grad)) or keep at most 2 times";
    let text = ROOTS.replace("or keep at most 2 times", instead);
    let mut bound = Bound::new(&text, NonFinite::Propagate);
    bound.step([[1.0, 4.0], [-9.0, -16.0]]).unwrap();
    assert_eq!(bound.values, [[1.0, 2.0], [3.0, 4.0]]);
    for expected in [1.0, 2.0] {
        bound.step(ONE_BAD).unwrap();
        assert_eq!(failures(&bound, "b"), expected);
    }
    assert_eq!(bound.values, [[3.0, 6.0], [9.0, 12.0]]);
    let error = bound.step(ONE_BAD).expect_err("the third in a row");
    assert!(matches!(error, StepError::KeptTooOften { .. }), "{error:?}");
}

/// A factorization of what another one made: where the inner one fails, the state is kept as well.
#[test]
fn a_failure_inside_of_what_is_factorized_keeps_the_state() {
    let nested = "cholesky(gram(cholesky(diag(grad)))) or keep";
    let text = ROOTS.replace("cholesky(diag(grad)) or keep at most 2 times", nested);
    let mut bound = Bound::new(&text, NonFinite::Propagate);
    bound.step(ONE).unwrap();
    assert_eq!(bound.values, [[1.0, 2.0], [3.0, 4.0]]);
    bound.step(ONE_BAD).unwrap();
    assert_eq!(bound.values, [[2.0, 4.0], [6.0, 8.0]]);
}

/// Where nothing stands in for it, the failure of what stood in is the step's.
#[test]
fn a_failure_behind_a_failure_is_an_error() {
    let text = ROOTS.replace("or keep at most 2 times", "or else cholesky(diag(-grad))");
    let mut bound = Bound::new(&text, NonFinite::Propagate);
    bound.step([[1.0, 4.0], [-9.0, -16.0]]).unwrap();
    let error = bound.step(ONE_BAD).expect_err("neither has a factor");
    assert!(error.to_string().contains("`b`"), "{error}");
}

#[test]
fn a_count_of_failures_resumes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x");
    let mut bound = Bound::new(ROOTS, NonFinite::Propagate);
    bound.step(ONE_BAD).unwrap();
    bound.step(ONE_BAD).unwrap();
    bound.optimizer.save(&path).unwrap();
    let mut resumed = Bound::new(ROOTS, NonFinite::Propagate);
    resumed.optimizer.load(&path).unwrap();
    assert_eq!(failures(&resumed, "b"), 2.0);
    let error = resumed.step(ONE_BAD).expect_err("the third in a row");
    assert!(matches!(error, StepError::KeptTooOften { .. }), "{error:?}");
}

#[test]
fn a_wrapper_has_the_policy_of_its_base_unless_it_has_one() {
    let wrapped = |policy: &str| {
        let base = momentum("nonfinite grad: raise");
        format!(
            "{base}\noptimizer Around(base: optimizer = Momentum) {{
                {policy}
                rule each(w: [n]) {{ w = base(w, grad) }}
            }}"
        )
    };
    let mut inherits = Bound::new(&wrapped(""), NonFinite::Propagate);
    assert!(inherits.step(BAD).is_err());
    let mut own = Bound::new(&wrapped("nonfinite grad: skip"), NonFinite::Propagate);
    own.step(BAD).unwrap();
    assert_eq!(own.steps(), [Some(1), Some(0)]);
}
