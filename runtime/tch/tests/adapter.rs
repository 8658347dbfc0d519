//! The adapter against LibTorch's own optimizer, and what a store can hold.

use optc_tch::{Error, Given, Group, Optimizer};
use tch::nn::{self, Init, Module, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor, no_grad};

/// A store with a small network that reaches all but one of its variables.
struct Model {
    vs: VarStore,
    net: nn::Sequential,
}

impl Model {
    fn new(seed: i64) -> Model {
        tch::manual_seed(seed);
        let vs = VarStore::new(Device::Cpu);
        let root = vs.root();
        let net = nn::seq()
            .add(nn::linear(&root / "first", 5, 37, Default::default()))
            .add(nn::layer_norm(&root / "norm", vec![37], Default::default()))
            .add_fn(|x| x.tanh())
            .add(nn::linear(&root / "second", 37, 3, Default::default()));
        let _ = root.var("unused", &[4], Init::Const(1.0));
        Model { vs, net }
    }

    /// A loss that differs from step to step.
    fn loss(&self, step: i64) -> Tensor {
        let x = Tensor::arange(20, (Kind::Float, Device::Cpu)).view([4, 5]) * 0.37 + step as f64;
        (self.net.forward(&x.sin()) - 0.5)
            .square()
            .mean(Kind::Float)
    }

    fn values(&self, name: &str) -> Vec<f32> {
        values(&self.vs.variables()[name])
    }

    /// Everything the store holds, by name.
    fn all(&self) -> Vec<(String, Vec<f32>)> {
        let mut all: Vec<_> = self
            .vs
            .variables()
            .into_iter()
            .map(|(name, tensor)| (name, values(&tensor)))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().contiguous().view(-1)).unwrap()
}

/// A store with one variable of ones, whose gradient is `of_grad` after `sum_of`.
fn store_of(dims: &[i64]) -> (VarStore, Tensor) {
    let vs = VarStore::new(Device::Cpu);
    let variable = vs.root().var("w", dims, Init::Const(1.0));
    (vs, variable)
}

const PLAIN: &str = "
//! Plain gradient descent.
optimizer Plain {
    hyper lr = 0.5 in [0, inf)
    rule each(w: [...]) { w -= lr * grad }
}";

#[test]
fn adamw_is_libtorchs() {
    let (ours, theirs) = (Model::new(1), Model::new(1));
    let mut optimizer = Optimizer::from_file(&ours.vs, "std.adamw").unwrap();
    let mut reference = nn::AdamW::default().build(&theirs.vs, 1e-3).unwrap();
    for step in 1..=50 {
        let lr = 1e-3 * (1.0 + step as f64 / 10.0);
        optimizer.set_lr(lr).unwrap();
        reference.set_lr(lr);
        optimizer.backward_step(&ours.loss(step)).unwrap();
        reference.backward_step(&theirs.loss(step));
    }
    for ((name, ours), (_, theirs)) in ours.all().iter().zip(theirs.all()) {
        let worst = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        // Fifty steps of about 4e-3 each: rounding in another order may differ by a few units in the last place.
        assert!(worst <= 2e-5, "{name}: {worst}");
    }
    assert_ne!(
        ours.values("first.weight"),
        Model::new(1).values("first.weight")
    );
}

#[test]
fn a_variable_without_a_gradient_is_skipped() {
    let model = Model::new(2);
    let mut optimizer = Optimizer::from_file(&model.vs, "std.adamw").unwrap();
    optimizer.backward_step(&model.loss(1)).unwrap();
    assert_eq!(model.values("unused"), [1.0; 4]);
    assert_eq!(optimizer.bound().step_of("unused"), Some(0));
    assert_eq!(optimizer.bound().step_of("first.bias"), Some(1));
    optimizer.zero_grad();
    let before = model.all();
    optimizer.step().unwrap();
    assert_eq!(model.all(), before);
}

#[test]
fn groups_have_their_own_numbers() {
    let model = Model::new(3);
    let mut optimizer = Optimizer::builder()
        .hyper("lr", 0.0)
        .group(Group::new("bias$").hyper("lr", 0.25))
        .build_from_source(&model.vs, PLAIN)
        .unwrap();
    let before = Model::new(3);
    optimizer.backward_step(&model.loss(1)).unwrap();
    assert_eq!(model.values("first.weight"), before.values("first.weight"));
    assert_ne!(model.values("first.bias"), before.values("first.bias"));

    let bias = model.values("first.bias");
    optimizer.set_lr_group(0, 0.5).unwrap();
    optimizer.set_lr_group(1, 0.0).unwrap();
    optimizer.backward_step(&model.loss(2)).unwrap();
    assert_ne!(model.values("first.weight"), before.values("first.weight"));
    assert_eq!(model.values("first.bias"), bias);
    assert_eq!(
        (optimizer.hyper(0, "lr"), optimizer.hyper(1, "lr")),
        (Some(0.5), Some(0.0))
    );
    assert!(matches!(
        optimizer.set_lr_group(2, 0.1),
        Err(Error::Hyper(_))
    ));
    assert!(matches!(optimizer.set_lr(-1.0), Err(Error::Hyper(_))));
    assert!(matches!(optimizer.set_momentum(0.9), Err(Error::Hyper(_))));
}

#[test]
fn a_resumed_run_continues_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (state, weights) = (
        folder.path().join("state.safetensors"),
        folder.path().join("weights.safetensors"),
    );
    let build = |model: &Model| Optimizer::from_file(&model.vs, "std.adamw").unwrap();

    let whole = Model::new(4);
    let mut optimizer = build(&whole);
    for step in 1..=6 {
        optimizer.backward_step(&whole.loss(step)).unwrap();
        if step == 3 {
            optimizer.set_lr(5e-3).unwrap();
            optimizer.save(&state).unwrap();
            whole.vs.save(&weights).unwrap();
        }
    }

    let mut resumed = Model::new(99);
    resumed.vs.load(&weights).unwrap();
    let mut optimizer = build(&resumed);
    optimizer.load(&state).unwrap();
    assert_eq!(optimizer.hyper(0, "lr"), Some(5e-3));
    for step in 4..=6 {
        optimizer.backward_step(&resumed.loss(step)).unwrap();
    }
    assert_eq!(resumed.all(), whole.all());
    assert!(matches!(
        optimizer.load(folder.path().join("nothing")),
        Err(Error::Checkpoint(_))
    ));
}

#[test]
fn strided_variables_and_gradients_are_stepped_where_they_are() {
    let (vs, mut variable) = store_of(&[6, 4]);
    let (dense_vs, dense) = store_of(&[6, 4]);
    // The same values, stored column by column.
    no_grad(|| variable.set_data(&Tensor::ones([4, 6], (Kind::Float, Device::Cpu)).tr()));
    assert!(!variable.is_contiguous());
    let mut optimizer = Optimizer::from_file(&vs, "std.adamw").unwrap();
    let mut reference = Optimizer::from_file(&dense_vs, "std.adamw").unwrap();
    let factor = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([6, 4]) - 7.5;
    for _ in 0..3 {
        optimizer
            .backward_step(&(&variable * &factor).square().sum(Kind::Float))
            .unwrap();
        reference
            .backward_step(&(&dense * &factor).square().sum(Kind::Float))
            .unwrap();
    }
    assert!(!variable.is_contiguous());
    assert_eq!(values(&variable), values(&dense));
    assert_ne!(values(&dense), [1.0; 24]);
}

#[test]
fn a_variable_without_elements_is_no_trouble() {
    let (vs, empty) = store_of(&[0, 3]);
    let other = vs.root().var("other", &[2], Init::Const(1.0));
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    let loss = empty.sum(Kind::Float) + other.sum(Kind::Float);
    optimizer.backward_step(&loss).unwrap();
    assert_eq!(values(&other), [0.5; 2]);
    assert_eq!(
        optimizer.bound().param_names().collect::<Vec<_>>(),
        ["other", "w"]
    );
}

#[test]
fn kinds_other_than_float() {
    let mut double = VarStore::new(Device::Cpu);
    let variable = double.root().var("w", &[3], Init::Const(1.0));
    double.double();
    Optimizer::from_source(&double, PLAIN)
        .unwrap()
        .backward_step(&variable.sum(Kind::Double))
        .unwrap();
    assert_eq!(Vec::<f64>::try_from(variable.detach()).unwrap(), [0.5; 3]);

    let mut half = VarStore::new(Device::Cpu);
    let variable = half.root().var("w", &[3], Init::Const(1.0));
    half.bfloat16();
    Optimizer::from_source(&half, PLAIN)
        .unwrap()
        .backward_step(&variable.sum(Kind::BFloat16))
        .unwrap();
    assert_eq!(values(&variable.to_kind(Kind::Float)), [0.5; 3]);
}

#[test]
fn buffers_are_not_trained_and_frozen_variables_wait() {
    let mut model = Model::new(5);
    let buffer = model.vs.root().zeros_no_train("buffer", &[2]);
    model.vs.freeze();
    let mut optimizer = Optimizer::from_source(&model.vs, PLAIN).unwrap();
    assert!(optimizer.bound().param_names().all(|name| name != "buffer"));
    assert_eq!(
        optimizer.trainable_variables().len(),
        optimizer.bound().param_names().count()
    );
    optimizer.step().unwrap();
    model.vs.unfreeze();
    optimizer.backward_step(&model.loss(1)).unwrap();
    assert_ne!(
        model.values("first.weight"),
        Model::new(5).values("first.weight")
    );
    assert_eq!(values(&buffer), [0.0; 2]);
}

#[test]
fn clipping() {
    let (vs, variable) = store_of(&[2]);
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    assert_eq!(optimizer.clip_grad_norm(1.0).unwrap(), 0.0);
    let slope = Tensor::from_slice(&[3f32, -4.0]);
    let loss = || (&variable * &slope).sum(Kind::Float);
    optimizer.backward_step_clip(&loss(), 0.5).unwrap();
    assert_eq!(values(&variable), [0.75, 1.25]);
    optimizer.backward_step_clip_norm(&loss(), 1.0).unwrap();
    let grad = values(&variable.grad());
    assert!(
        (grad[0] - 0.6).abs() < 1e-6 && (grad[1] + 0.8).abs() < 1e-6,
        "{grad:?}"
    );
    assert!((optimizer.clip_grad_norm(2.0).unwrap() - 1.0).abs() < 1e-6);
}

#[test]
fn autograd_notices_the_step() {
    let (vs, variable) = store_of(&[2]);
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    let stale = variable.square().sum(Kind::Float);
    optimizer.backward_step(&variable.sum(Kind::Float)).unwrap();
    let error = optimizer.backward_step(&stale).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("modified by an inplace operation"),
        "{error}"
    );
}

#[test]
fn variables_made_later_are_an_error() {
    let (vs, variable) = store_of(&[2]);
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    let _ = vs.root().var("later", &[1], Init::Const(0.0));
    let error = optimizer
        .backward_step(&variable.sum(Kind::Float))
        .unwrap_err();
    assert!(
        matches!(error, Error::Grown { bound: 1, found: 2 }),
        "{error}"
    );
}

#[test]
fn memory_that_is_not_a_variables_own_is_an_error() {
    let (vs, mut variable) = store_of(&[2, 3]);
    let mut other = vs.root().var("other", &[6], Init::Const(1.0));
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    no_grad(|| other.set_data(&variable.detach().view(6)));
    assert!(matches!(optimizer.step(), Err(Error::Shared { .. })));
    no_grad(|| {
        variable.set_data(&Tensor::ones([1, 3], (Kind::Float, Device::Cpu)).expand([2, 3], false))
    });
    assert!(matches!(optimizer.step(), Err(Error::Overlapping { .. })));
}

#[test]
fn a_sparse_gradient_is_an_error() {
    let vs = VarStore::new(Device::Cpu);
    let config = nn::EmbeddingConfig {
        sparse: true,
        ..Default::default()
    };
    let embedding = nn::embedding(vs.root(), 4, 2, config);
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    let loss = embedding
        .forward(&Tensor::from_slice(&[1i64, 2]))
        .sum(Kind::Float);
    assert!(matches!(
        optimizer.backward_step(&loss),
        Err(Error::Sparse { .. })
    ));
}

#[test]
fn mistakes_when_building() {
    let model = Model::new(6);
    let build = |group| {
        Optimizer::builder()
            .group(group)
            .build_from_file(&model.vs, "std.adamw")
    };
    assert!(matches!(
        build(Group::new("nothing like it")),
        Err(Error::Bind(_))
    ));
    assert!(matches!(
        build(Group::new("bias").hyper("learning_rate", 1.0)),
        Err(Error::Bind(_))
    ));
    assert!(matches!(
        Optimizer::from_source(&model.vs, "optimizer {"),
        Err(Error::Load(_))
    ));
    assert!(matches!(
        Optimizer::from_file(&model.vs, "no/such/file.opt"),
        Err(Error::Load(_))
    ));

    let vs = VarStore::new(Device::Cpu);
    let _ = vs.root().set_group(1).var("w", &[1], Init::Const(0.0));
    assert!(matches!(
        Optimizer::from_source(&vs, PLAIN),
        Err(Error::StoreGroup { group: 1, .. })
    ));
}

#[test]
fn a_loss_without_a_way_back_is_an_error() {
    let (vs, _) = store_of(&[2]);
    let mut optimizer = Optimizer::from_source(&vs, PLAIN).unwrap();
    let constant = Tensor::from(1.0);
    assert!(matches!(
        optimizer.backward_step(&constant),
        Err(Error::LibTorch(_))
    ));
}

const PULLED: &str = include_str!("../../../tests/cases/pass/entries/pulled.opt");

#[test]
fn entries_take_numbers_and_tensors() {
    let (vs, w) = store_of(&[2, 3]);
    let mut optimizer = Optimizer::from_source(&vs, PULLED).unwrap();
    let goal = |value: f64| Tensor::full([2, 3], value, (Kind::Float, Device::Cpu));
    let to = |name: &str, tensor: Tensor| {
        Given::new()
            .number("by", 0.25)
            .tensors("to", [(name.to_owned(), tensor)])
    };
    let loss = w.square().sum(Kind::Float);
    optimizer.run_entry("pull", &to("w", goal(3.0))).unwrap();
    assert_eq!(values(&w), [1.5; 6]);
    assert_eq!(optimizer.bound().step_of("w"), Some(0));
    assert!(loss.f_backward().is_err(), "autograd knows that it changed");
    optimizer.run_entry("back", &Given::new()).unwrap();
    assert_eq!(values(&w), [1.0; 6]);

    let mut code = |name: &str, given: Given| {
        let error = optimizer.run_entry(name, &given).unwrap_err();
        miette::Diagnostic::code(&error).unwrap().to_string()
    };
    assert_eq!(code("push", Given::new()), "opt::entry::unknown");
    assert_eq!(code("pull", Given::new()), "opt::entry::missing_input");
    assert_eq!(code("pull", to("v", goal(3.0))), "opt::tch::given");
    assert_eq!(code("pull", to("w", w.detach())), "opt::tch::shared");
    assert_eq!(
        code("pull", to("w", goal(3.0).view([6]))),
        "opt::entry::tensor"
    );
    assert_eq!(values(&w), [1.0; 6]);
}

#[test]
fn a_seed_decides_what_is_drawn() {
    let rule =
        "optimizer N { hyper lr = 0.1 rule each(w: [...]) { w -= lr * normal_like(w) .* grad } }";
    let drawn = |seed: u64| {
        let (vs, w) = store_of(&[2, 3]);
        let builder = Optimizer::builder().seed(seed);
        let mut optimizer = builder.build_from_source(&vs, rule).unwrap();
        optimizer.backward_step(&w.sum(Kind::Float)).unwrap();
        values(&w)
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}
