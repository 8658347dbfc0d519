//! One parameter stepped by every tier that runs on a bare machine.

use optc_core::check::check;
use optc_core::dtype::DType;
use optc_core::interp::{self, Moment};
use optc_core::lower::{Spec, lower, rule_for};
use optc_core::passes;
use optc_core::settings::{Overrides, settle};
use optc_runtime::{BindOptions, ParamDesc, Rules, StepInput, TensorView};
use optc_tests::library::Library;

/// A rule for parameter `w`, and what it is stepped with.
pub(crate) struct Run<'a> {
    /// Members of the optimizer, functions before it: a whole file.
    pub(crate) text: &'a str,
    pub(crate) dims: &'a [u64],
    pub(crate) start: &'a [f64],
    pub(crate) grads: &'a [&'a [f64]],
}

impl Run<'_> {
    /// Every tier ends near `expected`.
    #[track_caller]
    pub(crate) fn ends_at(&self, expected: &[f64], tolerance: f64) {
        for (tier, found) in [
            ("lowered", self.interpreted(false)),
            ("optimized", self.interpreted(true)),
            ("quick", self.compiled()),
        ] {
            let near = found
                .iter()
                .zip(expected)
                .all(|(x, y)| (x - y).abs() <= tolerance * (1.0 + y.abs()));
            assert!(
                near && found.len() == expected.len(),
                "{tier}: {found:?} instead of {expected:?}"
            );
        }
    }

    fn interpreted(&self, optimized: bool) -> Vec<f64> {
        let program = check("shown", self.text, &Library)
            .expect("no mistakes")
            .program;
        let id = program.roots[0];
        let settings = settle(&program, id, &Overrides::default()).expect("defaults");
        let rule = rule_for(&program, id, &settings, ("w", self.dims)).expect("a rule");
        let lowered = lower(&Spec {
            program: &program,
            optimizer: id,
            settings: &settings,
            rule,
            name: "w",
            dims: self.dims,
            dtype: DType::F64,
            grad_dtype: DType::F64,
        });
        let function = if optimized {
            passes::optimize(lowered)
        } else {
            lowered
        };
        let inputs = settings.inputs();
        let first = self.grads[0];
        let moment = |step| Moment {
            param: "w",
            ..Moment::new(&inputs, step)
        };
        let mut slots = interp::allocate(&function, self.start, first, moment(1.0)).expect("state");
        for (n, grad) in self.grads.iter().enumerate() {
            slots[interp::GRAD] = grad.to_vec();
            interp::run(&function, &mut slots, moment(n as f64 + 1.0)).expect("a step");
        }
        slots.swap_remove(interp::PARAM)
    }

    fn compiled(&self) -> Vec<f64> {
        let dims: Vec<i64> = self.dims.iter().map(|&d| d as i64).collect();
        let params = [ParamDesc::new("w", &dims, DType::F64)];
        let rules = Rules::from_source("shown", self.text).expect("no mistakes");
        let mut optimizer = rules.bind(&params, &BindOptions::default()).expect("bound");
        let mut param = self.start.to_vec();
        for grad in self.grads {
            let input = StepInput {
                param: TensorView::from_mut(&mut param, &dims).expect("the shape fits"),
                grad: TensorView::from_ref(grad, &dims),
            };
            optimizer.step(&[input]).expect("a step");
        }
        param
    }
}
