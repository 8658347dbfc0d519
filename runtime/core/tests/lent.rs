//! State in the caller's memory: the same bits as the optimizer's own, and no step without it.

use optc_core::dtype::DType;
use optc_runtime::{
    BindOptions, Given, Group, Optimizer, ParamDesc, Present, Rules, StepError, StepInput,
    TensorView,
};

const DIMS: [i64; 2] = [3, 5];

fn bind(module: &str, lent: bool) -> Optimizer {
    bind_one(module, None, lent)
}

fn bind_one(module: &str, optimizer: Option<&str>, lent: bool) -> Optimizer {
    let options = BindOptions {
        optimizer: optimizer.map(str::to_owned),
        state_is_lent: lent,
        ..BindOptions::default()
    };
    let params = [ParamDesc::new("w", &DIMS, DType::F32)];
    let rules = Rules::from_std(module).unwrap();
    rules.bind(&params, &options).unwrap()
}

fn step(optimizer: &mut Optimizer, w: &mut [f32], n: i32) -> Result<(), StepError> {
    optimizer.step(&[StepInput {
        param: TensorView::from_mut(w, &DIMS).unwrap(),
        grad: TensorView::from_ref(&grad(n), &DIMS),
    }])
}

fn enter(optimizer: &mut Optimizer, entry: &str, w: &mut [f32], n: i32) -> Result<(), StepError> {
    let grad = grad(n);
    let input = StepInput {
        param: TensorView::from_mut(w, &DIMS).unwrap(),
        grad: TensorView::from_ref(&grad, &DIMS),
    };
    optimizer.run_entry(entry, &[input], Given::default())
}

fn grad(n: i32) -> Vec<f32> {
    (0..15).map(|i| ((i * 7 + n) as f32).sin()).collect()
}

/// State of one parameter as a caller would keep it.
struct Kept {
    step: Option<u64>,
    dims: Vec<Vec<i64>>,
    dtypes: Vec<DType>,
    bytes: Vec<Vec<u64>>,
}

impl Kept {
    fn of(optimizer: &Optimizer) -> Kept {
        let layout: Vec<_> = optimizer.state_layout(0).collect();
        let bytes = |dtype: DType, dims: &[u64]| {
            (dims.iter().product::<u64>() * dtype.size()).div_ceil(8) as usize
        };
        Kept {
            step: None,
            dims: layout
                .iter()
                .map(|(_, _, dims)| dims.iter().map(|&dim| dim as i64).collect())
                .collect(),
            dtypes: layout.iter().map(|&(_, dtype, _)| dtype).collect(),
            bytes: layout
                .iter()
                .map(|&(_, dtype, dims)| vec![0; bytes(dtype, dims)])
                .collect(),
        }
    }

    fn lend(&mut self, optimizer: &mut Optimizer) -> Result<(), StepError> {
        let places = self.bytes.iter_mut().zip(&self.dims).zip(&self.dtypes);
        let views: Vec<TensorView<'_>> = places
            .map(|((bytes, dims), &dtype)| {
                let data = bytes.as_mut_ptr().cast();
                // SAFETY: the bytes are as many as the shape needs, zeroed at first, and live in `self` until the step.
                unsafe { TensorView::from_raw(data, dtype, dims, None, Default::default()) }
            })
            .collect();
        // SAFETY: as above; each test steps, saves or reclaims before it touches the bytes again.
        unsafe { optimizer.lend_state(0, self.step, &views) }
    }
}

#[test]
fn lent_state_gives_the_same_bits() {
    for module in ["std.adamw", "std.sgd", "std.muon", "std.soap"] {
        let (mut own, mut lent) = (bind(module, false), bind(module, true));
        let mut kept = Kept::of(&lent);
        let (mut a, mut b) = (vec![1.0f32; 15], vec![1.0f32; 15]);
        for n in 0..12 {
            step(&mut own, &mut a, n).unwrap();
            kept.lend(&mut lent).unwrap();
            step(&mut lent, &mut b, n).unwrap();
            kept.step = lent.step_at(0);
        }
        assert_eq!(a, b, "{module}");
        assert_eq!((kept.step, own.step_of("w")), (Some(12), Some(12)));
    }
}

#[test]
fn an_entry_begins_lent_state() {
    let sam = |lent| bind_one("std.sam", Some("Sam"), lent);
    let everything = Present {
        grad: true,
        tensors: true,
        state: false,
    };
    let (mut own, mut lent) = (sam(false), sam(true));
    assert!(lent.enters("first_step", 0, everything));
    assert!(!lent.enters("second_step", 0, everything));
    let nothing = Present {
        grad: false,
        ..everything
    };
    assert!(!lent.enters("first_step", 0, nothing));
    let mut kept = Kept::of(&lent);
    let (mut a, mut b) = (vec![1.0f32; 15], vec![1.0f32; 15]);
    for n in 0..3 {
        enter(&mut own, "first_step", &mut a, n).unwrap();
        kept.lend(&mut lent).unwrap();
        enter(&mut lent, "first_step", &mut b, n).unwrap();
        assert!(lent.has_begun(0));
        kept.step = lent.step_at(0);
        assert_eq!(kept.step, Some(n as u64));
        step(&mut own, &mut a, n + 1).unwrap();
        kept.lend(&mut lent).unwrap();
        step(&mut lent, &mut b, n + 1).unwrap();
        kept.step = lent.step_at(0);
    }
    assert_eq!(a, b);
}

#[test]
fn state_that_is_not_lent_again_is_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut lent = bind("std.adamw", true);
    let mut kept = Kept::of(&lent);
    kept.lend(&mut lent).unwrap();
    step(&mut lent, &mut [1.0f32; 15], 0).unwrap();
    lent.save(&path).unwrap();
    let saved = lent.read(&path).unwrap();
    let found: Vec<_> = saved.params().map(|p| (p.step, p.states.len())).collect();
    assert_eq!(found, [(0, 0)]);
}

#[test]
fn a_checkpoint_goes_from_lent_to_own_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let mut lent = bind("std.soap", true);
    let mut kept = Kept::of(&lent);
    let mut a = vec![1.0f32; 15];
    for n in 0..3 {
        kept.lend(&mut lent).unwrap();
        step(&mut lent, &mut a, n).unwrap();
        kept.step = lent.step_at(0);
    }
    kept.lend(&mut lent).unwrap();
    lent.save(&path).unwrap();
    let mut own = bind("std.soap", false);
    own.load(&path).unwrap();
    let mut b = a.clone();
    step(&mut lent, &mut a, 3).unwrap();
    step(&mut own, &mut b, 3).unwrap();
    assert_eq!(a, b);
    assert_eq!(own.step_of("w"), Some(4));
}

#[test]
fn what_has_not_stepped_is_saved_as_a_count_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let lent = bind("std.soap", true);
    lent.save(&path).unwrap();
    let saved = lent.read(&path).unwrap();
    let found: Vec<_> = saved.params().map(|p| (p.step, p.states.len())).collect();
    assert_eq!(found, [(0, 0)]);

    let mut own = bind("std.soap", false);
    let mut w = vec![1.0f32; 15];
    step(&mut own, &mut w, 0).unwrap();
    own.load(&path).unwrap();
    let (mut a, mut b) = (vec![1.0f32; 15], vec![1.0f32; 15]);
    let mut fresh = bind("std.soap", false);
    for n in 0..3 {
        step(&mut own, &mut a, n).unwrap();
        step(&mut fresh, &mut b, n).unwrap();
    }
    assert_eq!(a, b);
}

#[test]
fn state_is_lent_for_one_step() {
    let mut optimizer = bind("std.adamw", true);
    let mut kept = Kept::of(&optimizer);
    let mut w = vec![1.0f32; 15];
    assert!(matches!(
        step(&mut optimizer, &mut w, 0),
        Err(StepError::State { .. })
    ));
    kept.lend(&mut optimizer).unwrap();
    step(&mut optimizer, &mut w, 0).unwrap();
    let before = w.clone();
    let error = step(&mut optimizer, &mut w, 0).unwrap_err().to_string();
    assert!(
        error.contains("`w` does not fit: it was not lent"),
        "{error}"
    );
    assert_eq!(w, before);
}

#[test]
fn lent_state_must_fit() {
    let mut optimizer = bind("std.adamw", true);
    let refuse = |optimizer: &mut Optimizer, change: fn(&mut Kept)| {
        let mut kept = Kept::of(optimizer);
        change(&mut kept);
        kept.lend(optimizer).unwrap_err().to_string()
    };
    let mut check = |change: fn(&mut Kept), what: &str| {
        let error = refuse(&mut optimizer, change);
        assert!(error.contains(what), "{error}");
    };
    check(|kept| drop(kept.bytes.pop()), "1 tensors for 2");
    check(
        |kept| kept.dims[0] = vec![5, 3],
        "`exp_avg` has shape [5, 3]",
    );
    check(
        |kept| kept.dtypes[1] = DType::F64,
        "`exp_avg_sq` is stored as f64, not f32",
    );
    let mut own = bind("std.adamw", false);
    assert!(refuse(&mut own, |_| ()).contains("keeps its state itself"));
}

#[test]
fn shared_numbers_can_be_kept_by_the_caller() {
    let mut optimizer = bind("std.prodigy", false);
    let names: Vec<String> = optimizer.shared_numbers(0).map(|(name, _)| name).collect();
    assert!(names.contains(&"d".to_owned()), "{names:?}");
    optimizer.set_shared(0, "d", 0.5).unwrap();
    assert_eq!(optimizer.shared(0, "d"), Some(0.5));
    assert!(optimizer.set_shared(0, "lr", 0.5).is_err());
    assert!(optimizer.set_shared(1, "d", 0.5).is_err());
}

#[test]
fn a_group_takes_another_optimizer() {
    let adamw = Rules::from_std("std.adamw").unwrap();
    let options = BindOptions {
        hypers: vec![("lr".into(), 0.5)],
        groups: vec![Group::of(["b"]).uses(&adamw, None).hyper("lr", 0.25)],
        ..BindOptions::default()
    };
    let params = ["w", "b"].map(|name| ParamDesc::new(name, &DIMS, DType::F32));
    let rules = Rules::from_std("std.sgd").unwrap();
    let mut optimizer = rules.bind(&params, &options).unwrap();
    let (mut w, mut b) = (vec![1.0f32; 15], vec![1.0f32; 15]);
    let grad = vec![2.0f32; 15];
    let input = |param| StepInput {
        param: TensorView::from_mut(param, &DIMS).unwrap(),
        grad: TensorView::from_ref(&grad, &DIMS),
    };
    optimizer.step(&[input(&mut w), input(&mut b)]).unwrap();
    assert_eq!(w, [0.0; 15]);
    assert!(b.iter().all(|b| (b - 0.7475).abs() < 1e-6), "{b:?}");
    let names = [0, 1].map(|group| optimizer.name_of(group).unwrap());
    assert_eq!(names, ["Sgd", "AdamW"]);
    assert_eq!(optimizer.states("b").count(), 2);
    assert_eq!(optimizer.hyper(1, "beta1"), Some(0.9));
}
