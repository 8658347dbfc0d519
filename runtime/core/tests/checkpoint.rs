//! Checkpoints that are damaged or belong to something else: an error by name, and nothing changes.

use optc_core::dtype::DType;
use optc_runtime::{
    BindOptions, CheckpointError, Group, Optimizer, ParamDesc, Rules, StepInput, TensorView,
};
use std::path::{Path, PathBuf};

fn bind(module: &str, params: &[(&str, &[i64])], options: &BindOptions) -> Optimizer {
    let params: Vec<ParamDesc> = params
        .iter()
        .map(|(name, dims)| ParamDesc::new(name, dims, DType::F32))
        .collect();
    Rules::from_std(module)
        .unwrap()
        .bind(&params, options)
        .unwrap()
}

const PARAMS: [(&str, &[i64]); 2] = [("a/b", &[2, 3]), ("c", &[])];

fn adamw() -> Optimizer {
    bind("std.adamw", &PARAMS, &BindOptions::default())
}

fn stepped() -> Optimizer {
    let mut optimizer = adamw();
    step_once(&mut optimizer);
    optimizer
}

/// One step from fixed parameters with fixed gradients; gives the new parameters.
fn step_once(optimizer: &mut Optimizer) -> ([f32; 6], [f32; 1]) {
    let (mut a, mut c) = ([1.0f32; 6], [2.0f32]);
    let grads = ([0.5f32; 6], [0.25f32]);
    let input = |param, grad, dims| StepInput {
        param: TensorView::from_mut(param, dims).unwrap(),
        grad: TensorView::from_ref(grad, dims),
    };
    optimizer
        .step(&[
            input(&mut a, &grads.0, &[2, 3]),
            input(&mut c, &grads.1, &[]),
        ])
        .unwrap();
    (a, c)
}

#[test]
fn shared_numbers_resume() {
    let folder = Folder::new();
    let options = BindOptions {
        hypers: vec![("max_grad_norm".into(), 1.0)],
        ..BindOptions::default()
    };
    let mut optimizer = bind("std.adan", &PARAMS, &options);
    step_once(&mut optimizer);
    step_once(&mut optimizer);
    optimizer.save(folder.path("x")).unwrap();
    let mut resumed = bind("std.adan", &PARAMS, &options);
    assert_eq!(resumed.shared(0, "t"), Some(0.0));
    resumed.load(folder.path("x")).unwrap();
    assert_eq!(resumed.shared(0, "t"), Some(2.0));
    assert_eq!(step_once(&mut optimizer), step_once(&mut resumed));
}

/// Everything that a load could change.
fn snapshot(optimizer: &Optimizer) -> Vec<Vec<u8>> {
    let names: Vec<String> = optimizer.param_names().map(str::to_owned).collect();
    let mut all: Vec<Vec<u8>> = names
        .iter()
        .flat_map(|name| optimizer.states(name))
        .map(|s| s.bytes().unwrap().into_owned())
        .collect();
    all.extend(
        names
            .iter()
            .map(|name| optimizer.step_of(name).unwrap().to_le_bytes().to_vec()),
    );
    all.extend(
        optimizer
            .hypers(0)
            .map(|(_, value)| value.to_bits().to_le_bytes().to_vec()),
    );
    all
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[track_caller]
fn refuses(optimizer: &mut Optimizer, path: &Path) -> CheckpointError {
    let before = snapshot(optimizer);
    let error = optimizer
        .load(path)
        .expect_err("a bad checkpoint was loaded");
    assert_eq!(snapshot(optimizer), before);
    error
}

#[test]
fn a_good_checkpoint_restores_everything() {
    let folder = Folder::new();
    let saved = stepped();
    saved.save(folder.path("x")).unwrap();
    let mut fresh = adamw();
    fresh.load(folder.path("x")).unwrap();
    assert_eq!(snapshot(&fresh), snapshot(&saved));
    assert_eq!(fresh.step_of("a/b"), Some(1));
}

#[test]
fn saving_twice_gives_the_same_bytes() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    let first = std::fs::read(folder.path("x")).unwrap();
    stepped().save(folder.path("x")).unwrap();
    assert_eq!(first, std::fs::read(folder.path("x")).unwrap());
}

#[test]
fn every_truncation_is_refused() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    let bytes = std::fs::read(folder.path("x")).unwrap();
    let mut optimizer = adamw();
    for length in 0..bytes.len() {
        std::fs::write(folder.path("y"), &bytes[..length]).unwrap();
        refuses(&mut optimizer, &folder.path("y"));
    }
    std::fs::write(folder.path("y"), [&bytes[..], &[0]].concat()).unwrap();
    refuses(&mut optimizer, &folder.path("y"));
}

#[test]
fn every_flipped_byte_is_refused() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    let good = std::fs::read(folder.path("x")).unwrap();
    let mut optimizer = adamw();
    for at in 0..good.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= mask;
            std::fs::write(folder.path("y"), &bytes).unwrap();
            refuses(&mut optimizer, &folder.path("y"));
        }
    }
}

#[test]
fn another_optimizer_is_named() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    let mut other = bind("std.sgd", &PARAMS, &BindOptions::default());
    let error = refuses(&mut other, &folder.path("x"));
    assert!(
        matches!(error, CheckpointError::Optimizer { .. }),
        "{error}"
    );
}

#[test]
fn other_parameters_and_shapes_are_named() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    let load = |params: &[(&str, &[i64])]| {
        let mut optimizer = bind("std.adamw", params, &BindOptions::default());
        refuses(&mut optimizer, &folder.path("x")).to_string()
    };
    assert!(
        load(&[("a/b", &[3, 2]), ("c", &[])])
            .contains("`a/b/exp_avg` is F32 [2, 3] in the checkpoint")
    );
    assert!(load(&[("a/b", &[2, 3]), ("d", &[])]).contains("lacks `d/step`"));
    assert!(load(&[("a/b", &[2, 3])]).contains("has `c/exp_avg`, which is not bound"));
}

#[test]
fn other_groups_are_named() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    let options = BindOptions {
        groups: vec![Group::new("c").hyper("lr", 0.5)],
        ..BindOptions::default()
    };
    let error = refuses(&mut bind("std.adamw", &PARAMS, &options), &folder.path("x"));
    assert!(matches!(error, CheckpointError::Groups { .. }), "{error}");
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = Folder::new();
    let error = refuses(&mut adamw(), &folder.path("absent"));
    assert!(
        matches!(error, CheckpointError::File { action: "read", .. }),
        "{error}"
    );
    let error = stepped().save(folder.path("no/such/folder")).unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::File {
                action: "write",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let folder = Folder::new();
    stepped().save(folder.path("x")).unwrap();
    // The longest name that a file can have: the temporary file's would be longer, so a save over it fails.
    let path = folder.path(&"x".repeat(255));
    std::fs::rename(folder.path("x"), &path).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(stepped().save(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
