//! A rule that a test wrote, on gradients that look random: the interpreter and the quick tier agree about it.
//!
//! ```
//! use optc_tests::trial::Trial;
//!
//! let rule = "optimizer Plain { hyper lr = 0.1  rule each(w: [...]) { w -= lr * grad } }";
//! let run = Trial::new(rule, &[&[3], &[2, 2]]).run();
//! assert!(run.is_near(0, |w, grads| {
//!     for g in grads {
//!         w.iter_mut().zip(g).for_each(|(w, g)| *w -= 0.1 * g);
//!     }
//! }));
//! ```

use std::collections::BTreeMap;

use optc_core::check::{Checked, check};
use optc_core::dtype::DType;
use optc_core::hir::{OptimizerId, Program};
use optc_runtime::Rules;
use serde_json::Value;

use crate::compiled::{Compiled, options};
use crate::interpreted::{Interpreted, Stage};
use crate::library::LIBRARY;
use crate::mapping::Group;
use crate::parity::Stepper;

/// Products, and factorizations of well-conditioned matrices, in another order.
const NEAR: f64 = 1e-9;

/// A rule, and the parameters that it is to step.
pub struct Trial {
    text: String,
    dims: Vec<Vec<u64>>,
    names: Vec<String>,
    group: Group,
    optimizer: Option<String>,
    /// Entries and steps, in order.
    calls: Vec<&'static str>,
    /// Parameters whose step is not unique.
    loose: Vec<usize>,
    /// Where the parameters begin, and their gradients, if they are not random.
    given: Option<(Vec<Vec<f64>>, Grads)>,
}

/// What one call of the rule is named among the entries.
const STEP: &str = "step";

/// The gradients of each parameter, call by call.
type Grads = Vec<Vec<Vec<f64>>>;

/// What both made of it.
pub struct Run {
    /// Every parameter before the first step.
    pub init: Vec<Vec<f64>>,
    /// The gradients of each parameter, call by call.
    pub grads: Grads,
    /// Every parameter after the last call.
    pub params: Vec<Vec<f64>>,
    stepper: Interpreted,
    quick: Compiled<f64>,
    names: Vec<String>,
}

impl Trial {
    /// The first optimizer of the file, on parameters of these shapes, for six steps.
    pub fn new(text: &str, dims: &[&[u64]]) -> Trial {
        let names: Vec<String> = (0..dims.len()).map(|n| format!("p{n}")).collect();
        Trial {
            text: text.to_owned(),
            dims: dims.iter().map(|dims| dims.to_vec()).collect(),
            group: Group {
                params: names.clone(),
                rule: None,
                hypers: BTreeMap::new(),
                statics: BTreeMap::new(),
            },
            names,
            optimizer: None,
            calls: vec![STEP; 6],
            loose: Vec::new(),
            given: None,
        }
    }

    /// A module of the standard library.
    ///
    /// # Panics
    ///
    /// When it does not exist.
    pub fn of_std(module: &str, dims: &[&[u64]]) -> Trial {
        let text = optc_stdlib::source(module);
        Trial::new(text.unwrap_or_else(|| panic!("no `{module}`")), dims)
    }

    /// One parameter `w` that begins at `start`, and its gradients.
    pub fn given(text: &str, dims: &[u64], start: &[f64], grads: &[&[f64]]) -> Trial {
        let each = grads.iter().map(|grad| grad.to_vec()).collect();
        Trial {
            given: Some((vec![start.to_vec()], vec![each])),
            ..Trial::new(text, &[dims]).named(&["w"]).steps(grads.len())
        }
    }

    /// Another optimizer of the file.
    pub fn optimizer(mut self, name: &str) -> Trial {
        self.optimizer = Some(name.to_owned());
        self
    }

    /// Names of the parameters, which otherwise are `p0`, `p1`, …
    pub fn named(mut self, names: &[&str]) -> Trial {
        self.names = names.iter().map(|&name| name.to_owned()).collect();
        self.group.params = self.names.clone();
        self
    }

    /// A hyperparameter that is not the default.
    pub fn hyper(mut self, name: &'static str, value: f64) -> Trial {
        self.group.hypers.insert(name, value);
        self
    }

    /// A static that is not the default.
    pub fn set(mut self, name: &'static str, value: Value) -> Trial {
        self.group.statics.insert(name, value);
        self
    }

    /// The parameters are those elements of another run's parameter that follow each other, with their gradients.
    pub fn starting(mut self, run: &Run, param: usize) -> Trial {
        let mut from = 0;
        let (mut init, mut grads) = (Vec::new(), Vec::new());
        for dims in &self.dims {
            let part = from..from + dims.iter().product::<u64>() as usize;
            from = part.end;
            init.push(run.init[param][part.clone()].to_vec());
            let each = run.grads[param].iter();
            grads.push(each.map(|grad| grad[part.clone()].to_vec()).collect());
        }
        self.given = Some((init, grads));
        self
    }

    /// Parameters whose step depends on what a factorization chooses: the tiers need not agree about them.
    pub fn loose(self, loose: Vec<usize>) -> Trial {
        Trial { loose, ..self }
    }

    /// Another number of steps.
    pub fn steps(self, steps: usize) -> Trial {
        self.calls(&vec![STEP; steps])
    }

    /// Entries by their names, and `step`s; each call has gradients of its own.
    pub fn calls(self, calls: &[&'static str]) -> Trial {
        let calls = calls.to_vec();
        Trial { calls, ..self }
    }

    /// Runs it three times in f64: as lowered, after all passes, and by the quick tier in two threads.
    ///
    /// # Panics
    ///
    /// When the rule has a mistake, or two of them differ by more than products in another order explain.
    pub fn run(&self) -> Run {
        let (init, grads) = self.data();
        let (lowered, optimized, quick) = self.stepped(&init, &grads);
        let params = self.params(&optimized);
        self.assert_near(&lowered, &params, "as lowered, after all passes");
        self.assert_near(&quick, &params, "quick tier, interpreter");
        Run {
            init,
            grads,
            params,
            stepper: optimized,
            quick,
            names: self.names.clone(),
        }
    }

    /// Every tier takes the first parameter near `expected`: by less than `tolerance` of each element and 1.
    ///
    /// # Panics
    ///
    /// When one does not, or the rule has a mistake.
    #[track_caller]
    pub fn ends_at(&self, expected: &[f64], tolerance: f64) {
        let (init, grads) = self.data();
        let (lowered, optimized, quick) = self.stepped(&init, &grads);
        let tiers = [
            ("as lowered", self.params(&lowered)),
            ("after all passes", self.params(&optimized)),
            ("quick tier", self.params(&quick)),
        ];
        for (tier, params) in &tiers {
            let found = &params[0];
            let near = |(x, y): (&f64, &f64)| (x - y).abs() <= tolerance * (1.0 + y.abs());
            let all = found.len() == expected.len() && found.iter().zip(expected).all(near);
            assert!(all, "{tier}: {found:?} instead of {expected:?}");
        }
    }

    /// All calls: as lowered, after all passes, by the quick tier.
    fn stepped(
        &self,
        init: &[Vec<f64>],
        grads: &[Vec<Vec<f64>>],
    ) -> (Interpreted, Interpreted, Compiled<f64>) {
        let interpreted = |stage| self.called(self.interpreted(init, stage), grads);
        let quick = self.called(self.quick(init), grads);
        (
            interpreted(Stage::Lowered),
            interpreted(Stage::Optimized),
            quick,
        )
    }

    fn data(&self) -> (Vec<Vec<f64>>, Grads) {
        self.given.clone().unwrap_or_else(|| self.random())
    }

    fn random(&self) -> (Vec<Vec<f64>>, Grads) {
        let mut random = Random(7);
        let count = |dims: &Vec<u64>| dims.iter().product::<u64>() as usize;
        let mut values = |dims: &Vec<u64>| random.values(count(dims));
        let init = self.dims.iter().map(&mut values).collect();
        let all = |dims: &Vec<u64>| self.calls.iter().map(|_| values(dims)).collect();
        (init, self.dims.iter().map(all).collect())
    }

    fn checked(&self) -> Checked {
        let checked = check("trial.opt", &self.text, &LIBRARY);
        checked.unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    fn declared(&self, program: &Program) -> OptimizerId {
        let named = |id: &&OptimizerId| {
            let name = &program.optimizers[**id].name;
            self.optimizer.as_ref().is_none_or(|wanted| wanted == name)
        };
        let found = program.roots.iter().find(named);
        *found.unwrap_or_else(|| panic!("no optimizer {:?}", self.optimizer))
    }

    fn interpreted(&self, init: &[Vec<f64>], stage: Stage) -> Interpreted {
        let program = self.checked().program;
        let id = self.declared(&program);
        let tensors = self.names.iter().zip(&self.dims).zip(init);
        let tensors =
            tensors.map(|((name, dims), init)| (name.clone(), (dims.clone(), init.clone())));
        let groups = std::slice::from_ref(&self.group);
        Interpreted::bind(
            &program,
            id,
            groups,
            &tensors.collect(),
            (DType::F64, stage),
        )
    }

    fn quick(&self, init: &[Vec<f64>]) -> Compiled<f64> {
        let program = self.checked().program;
        let optimizer = &program.optimizers[self.declared(&program)].name;
        let rules = Rules::from_source("trial.opt", &self.text);
        let rules = rules.unwrap_or_else(|mistake| panic!("{mistake}"));
        let tensors = self.names.iter().zip(&self.dims).zip(init);
        let tensors = tensors.map(|((name, dims), init)| {
            let dims = dims.iter().map(|&d| d as i64).collect();
            (name.clone(), dims, init.clone())
        });
        let options = options(optimizer, std::slice::from_ref(&self.group));
        Compiled::bind(&rules, &options, tensors.collect())
    }

    fn called<S: Stepper>(&self, mut stepper: S, grads: &[Vec<Vec<f64>>]) -> S {
        for (at, &call) in self.calls.iter().enumerate() {
            let each = self.names.iter().zip(grads);
            let now = each.map(|(name, grads)| (name.clone(), grads[at].clone()));
            match call {
                STEP => stepper.step(None, &now.collect()),
                entry => stepper.entry(entry, Some(&now.collect())),
            }
        }
        stepper
    }

    fn assert_near(&self, stepper: &impl Stepper, expected: &[Vec<f64>], which: &str) {
        let found = self.params(stepper);
        let pairs = found.iter().zip(expected).enumerate();
        for (n, (found, expected)) in pairs.filter(|(n, _)| !self.loose.contains(n)) {
            let (name, dims) = (&self.names[n], &self.dims[n]);
            let agree = near(found, expected);
            assert!(agree, "{which}: {name} {dims:?}\n{found:?}\n{expected:?}");
        }
    }

    fn params(&self, stepper: &impl Stepper) -> Vec<Vec<f64>> {
        self.names.iter().map(|name| stepper.param(name)).collect()
    }
}

impl Run {
    /// A state of a parameter after the last call.
    ///
    /// # Panics
    ///
    /// When there is none of that name.
    pub fn state(&self, param: usize, name: &str) -> Vec<f64> {
        let state = self.stepper.state(&self.names[param], name);
        state.unwrap_or_else(|| panic!("no state `{name}`"))
    }

    /// Whether the quick tier holds the states of the parameter that the interpreter has, and no others; each is
    /// declared, and of the declared size.
    pub fn has_declared_state_only(&self, param: usize) -> bool {
        let name = &self.names[param];
        let declared = self.stepper.states(name);
        let held = self.quick.states(name);
        declared == held
    }

    /// Whether a model written by hand comes to the same: it gets the parameter before the first call and all gradients.
    pub fn is_near(&self, param: usize, model: impl FnOnce(&mut [f64], &[Vec<f64>])) -> bool {
        let mut expected = self.init[param].clone();
        model(&mut expected, &self.grads[param]);
        let near = near(&self.params[param], &expected);
        if !near {
            println!("found {:?}\nmodel {expected:?}", self.params[param]);
        }
        near
    }
}

fn near(found: &[f64], expected: &[f64]) -> bool {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= NEAR * b.abs().max(1.0) || a == b;
    found.len() == expected.len() && found.iter().zip(expected).all(close)
}

/// Numbers in (-1, 1), the same every time.
struct Random(u64);

impl Random {
    fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> f64 {
        let (factor, added) = (6_364_136_223_846_793_005, 1_442_695_040_888_963_407);
        self.0 = self.0.wrapping_mul(factor).wrapping_add(added);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}
