//! The standard library's optimizers on real shapes, from source through the quick tier.

use optc_core::dtype::DType;
use optc_runtime::{
    BindOptions, Group, Optimizer, ParamDesc, Rules, StepError, StepInput, TensorView,
};

/// Numbers in (-1, 1), the same every time.
struct Random(u64);

impl Random {
    fn values(&mut self, count: i64) -> Vec<f32> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}

const SHAPES: [&[i64]; 8] = [
    &[],
    &[0],
    &[1],
    &[7],
    &[33, 20],
    &[20, 33],
    &[4, 3, 5, 2],
    &[5000],
];

/// They factor a square matrix of every length: their longest vector is shorter.
const UNLIMITED: [&str; 2] = ["std.shampoo", "std.shampoo_sequential"];

fn shapes(module: &str) -> Vec<Vec<i64>> {
    let mut shapes: Vec<Vec<i64>> = SHAPES.iter().map(|dims| dims.to_vec()).collect();
    if UNLIMITED.contains(&module) {
        shapes[7] = vec![70];
    }
    shapes
}

struct Model {
    optimizer: Optimizer,
    dims: Vec<Vec<i64>>,
    params: Vec<Vec<f32>>,
    random: Random,
}

fn describe(shapes: &[Vec<i64>]) -> Vec<ParamDesc> {
    shapes
        .iter()
        .enumerate()
        .map(|(n, dims)| ParamDesc::new(&format!("p{n}"), dims, DType::F32))
        .collect()
}

impl Model {
    fn new(module: &str, options: &BindOptions) -> Model {
        let rules = Rules::from_std(module).unwrap();
        let first = rules.optimizers().next().map(str::to_owned);
        let options = BindOptions {
            optimizer: first,
            ..options.clone()
        };
        let dims = shapes(module);
        let optimizer = rules.bind(&describe(&dims), &options).unwrap();
        let mut random = Random(3);
        let params = dims
            .iter()
            .map(|dims| random.values(dims.iter().product()))
            .collect();
        Model {
            optimizer,
            dims,
            params,
            random,
        }
    }

    fn step(&mut self) -> Result<(), StepError> {
        let grads: Vec<Vec<f32>> = self
            .params
            .iter()
            .map(|p| self.random.values(p.len() as i64))
            .collect();
        let inputs: Vec<StepInput<'_>> = (self.params.iter_mut().zip(&grads).zip(&self.dims))
            .map(|((param, grad), dims)| StepInput {
                param: TensorView::from_mut(param, dims).unwrap(),
                grad: TensorView::from_ref(grad, dims),
            })
            .collect();
        self.optimizer.step(&inputs)
    }

    fn bits(&self) -> Vec<u32> {
        self.params.iter().flatten().map(|x| x.to_bits()).collect()
    }
}

fn threads(threads: usize) -> BindOptions {
    BindOptions {
        threads: Some(threads),
        ..BindOptions::default()
    }
}

/// Every module of the library with an optimizer.
fn modules() -> impl Iterator<Item = &'static str> {
    let all = optc_stdlib::NAMES.iter().copied();
    let source = |name: &str| optc_stdlib::source(name).unwrap_or_default();
    all.filter(move |name| source(name).contains("\noptimizer "))
}

#[test]
fn every_optimizer_steps_on_every_shape_with_any_number_of_threads() {
    for module in modules() {
        let mut alone = Model::new(module, &threads(1));
        let mut together = Model::new(module, &threads(3));
        let before = alone.bits();
        for _ in 0..12 {
            let done = alone.step().and_then(|()| together.step());
            done.unwrap_or_else(|mistake| panic!("{module}: {mistake:?}"));
        }
        assert!(
            alone.params.iter().flatten().all(|x| x.is_finite()),
            "{module}"
        );
        assert_ne!(alone.bits(), before, "{module}");
        assert_eq!(alone.bits(), together.bits(), "{module}");
    }
}

#[test]
fn adamw_matches_its_formula() {
    let mut model = Model::new("std.adamw", &threads(2));
    let mut reference: Vec<Vec<[f64; 3]>> = model
        .params
        .iter()
        .map(|p| p.iter().map(|&w| [f64::from(w), 0.0, 0.0]).collect())
        .collect();
    let mut random = Random(model.random.0);
    for step in 1..=5 {
        for param in &mut reference {
            let grad = random.values(param.len() as i64);
            for ([w, m, v], g) in param.iter_mut().zip(grad.into_iter().map(f64::from)) {
                *w *= 1.0 - 1e-3 * 1e-2;
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (bc1, bc2) = (1.0 - 0.9f64.powi(step), 1.0 - 0.999f64.powi(step));
                *w -= 1e-3 * (*m / bc1) / ((*v / bc2).sqrt() + 1e-8);
            }
        }
        model.step().unwrap();
    }
    for (found, expected) in model
        .params
        .iter()
        .flatten()
        .zip(reference.iter().flatten())
    {
        assert!(
            (f64::from(*found) - expected[0]).abs() < 1e-6,
            "{found} {}",
            expected[0]
        );
    }
}

#[test]
fn a_resumed_run_continues_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    for module in modules() {
        let mut model = Model::new(module, &threads(2));
        (0..11).for_each(|_| model.step().unwrap());
        model.optimizer.set_lr(0.004).unwrap();
        model.optimizer.save(&path).unwrap();
        let mut resumed = Model::new(module, &threads(2));
        resumed.params.clone_from(&model.params);
        resumed.random = Random(model.random.0);
        resumed.optimizer.load(&path).unwrap();
        assert_eq!(resumed.optimizer.hyper(0, "lr"), Some(0.004));
        for _ in 0..10 {
            model.step().unwrap();
            resumed.step().unwrap();
        }
        assert_eq!(model.bits(), resumed.bits(), "{module}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn groups_choose_numbers_and_rules() {
    let options = BindOptions {
        groups: vec![
            Group::new("^p4$").rule("other").hyper("lr", 0.5),
            Group::new("^p5$").hyper("lr", 0.25),
        ],
        hypers: vec![("momentum".into(), 0.5)],
        ..threads(1)
    };
    let mut model = Model::new("std.muon", &options);
    let rule = |n: usize| model.optimizer.report().rules[n].1.as_str();
    assert_eq!((rule(4), rule(5)), ("other", "hidden"));
    assert_eq!(
        (0..3)
            .map(|g| model.optimizer.hyper(g, "momentum"))
            .collect::<Vec<_>>(),
        [Some(0.5); 3]
    );
    assert_eq!(
        (0..3)
            .map(|g| model.optimizer.hyper(g, "lr"))
            .collect::<Vec<_>>(),
        [Some(0.02), Some(0.5), Some(0.25)]
    );
    assert!(
        model.optimizer.state("p4", "exp_avg").is_some()
            || model.optimizer.states("p4").count() > 1
    );
    model.step().unwrap();
    assert_eq!(model.optimizer.step_of("p4"), Some(1));
}
