//! One run in three languages. `tests/chain` holds what Rust saves after two steps, what Python saves after three more,
//! what C++ saves after three more, and the bits of the weights at each of these points. Here Rust takes all steps; the
//! tests of the other two begin where the one before ended. `OPTC_WRITE_CHAIN=1` writes the files.

use optc_core::dtype::DType;
use optc_runtime::{BindOptions, Optimizer, ParamDesc, Rules, StepInput, TensorView};
use std::path::{Path, PathBuf};

const DIMS: [i64; 2] = [3, 2];
const STAGES: [(&str, &[f32]); 3] = [
    ("rust", &[0.25, -1.5]),
    ("python", &[0.75, -0.5, 0.125]),
    ("cpp", &[0.75, -0.5, 0.125]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/chain")
}

fn adamw() -> Optimizer {
    let params = [ParamDesc::new("weight", &DIMS, DType::F32)];
    let rules = Rules::from_std("std.adamw").unwrap();
    let mut options = BindOptions::default();
    options.hypers.push(("lr".into(), 0.0625));
    rules.bind(&params, &options).unwrap()
}

fn step(optimizer: &mut Optimizer, weight: &mut [f32; 6], grad: f32) {
    let grad = [grad; 6];
    let input = StepInput {
        param: TensorView::from_mut(weight, &DIMS).unwrap(),
        grad: TensorView::from_ref(&grad, &DIMS),
    };
    optimizer.step(&[input]).unwrap();
}

/// Compares a file with what it should hold, or makes it so.
fn is(path: &Path, expected: &[u8]) {
    if std::env::var_os("OPTC_WRITE_CHAIN").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read(path).unwrap();
    assert!(found == expected, "{}", path.display());
}

#[test]
fn all_files_are_of_one_run() {
    let mut optimizer = adamw();
    let mut weight = [0.5f32, -0.25, 1.0, 2.0, -3.0, 0.0];
    let mut lines = String::new();
    let place = tempfile::tempdir().unwrap();
    let saved = place.path().join("saved");
    for (name, grads) in STAGES {
        for &grad in grads {
            step(&mut optimizer, &mut weight, grad);
        }
        optimizer.save(&saved).unwrap();
        let file = folder().join(name).with_extension("safetensors");
        is(&file, &std::fs::read(&saved).unwrap());
        lines += &weight.map(|x| x.to_bits().to_string()).join(" ");
        lines += "\n";
    }
    is(&folder().join("weights"), lines.as_bytes());
}
