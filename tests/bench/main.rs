//! Times one optimizer on a parameter set of `shapes.json`, and prints JSON.
//!
//! ```text
//! optc-bench --shapes tests/bench/shapes.json --set matrices_12m --rules out/soap.optc --steps 20
//! optc-bench … --rules std.soap --static precondition_frequency=1      # the quick tier
//! ```
//!
//! The counterpart of `competitors.py`; `run.py` calls both in turn and compares.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use optc_core::dtype::DType;
use optc_runtime::{BindOptions, Optimizer, ParamDesc, Rules, StepInput, TensorView};
use serde::Deserialize;
use serde_json::{Value, json};

/// Times one optimizer.
#[derive(Parser)]
struct Args {
    /// The parameter sets.
    #[arg(long)]
    shapes: PathBuf,
    /// Which of them.
    #[arg(long)]
    set: String,
    /// An artifact, a source, or a module of the standard library.
    #[arg(long)]
    rules: PathBuf,
    /// NAME=VALUE, may be given several times.
    #[arg(long = "static")]
    statics: Vec<String>,
    /// Timed steps.
    #[arg(long, default_value_t = 20)]
    steps: usize,
    /// Untimed steps before them.
    #[arg(long, default_value_t = 2)]
    untimed: usize,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

#[derive(Deserialize)]
struct Set {
    params: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    shape: Vec<i64>,
}

/// A parameter and its gradient.
struct Tensor {
    dims: Vec<i64>,
    value: Vec<f32>,
    grad: Vec<f32>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let sets: std::collections::BTreeMap<String, Set> =
        serde_json::from_str(&std::fs::read_to_string(&args.shapes)?)?;
    let set = sets.get(&args.set).ok_or("no such set")?;
    let mut tensors: Vec<Tensor> = set
        .params
        .iter()
        .zip(1..)
        .map(|(entry, seed)| tensor(entry, seed))
        .collect();
    let mut optimizer = bind(&args, set)?;
    let mut times = Vec::new();
    for step in 0..args.untimed + args.steps {
        let start = Instant::now();
        optimizer.step(&inputs(&mut tensors))?;
        if step >= args.untimed {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    println!("{}", summary(&args, &optimizer, times));
    Ok(())
}

fn bind(args: &Args, set: &Set) -> Result<Optimizer, Box<dyn std::error::Error>> {
    let params: Vec<ParamDesc> = set
        .params
        .iter()
        .map(|entry| ParamDesc::new(&entry.name, &entry.shape, DType::F32))
        .collect();
    let pairs = args.statics.iter().filter_map(|pair| pair.split_once('='));
    let statics = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let options = BindOptions {
        statics,
        threads: Some(args.threads),
        ..BindOptions::default()
    };
    // SAFETY: the artifact was made by the caller of this benchmark.
    let rules = unsafe { Rules::open(&args.rules)? };
    Ok(rules.bind(&params, &options)?)
}

fn inputs(tensors: &mut [Tensor]) -> Vec<StepInput<'_>> {
    let views = tensors.iter_mut().filter_map(|tensor| {
        let param = TensorView::from_mut(&mut tensor.value, &tensor.dims)?;
        Some(StepInput {
            param,
            grad: TensorView::from_ref(&tensor.grad, &tensor.dims),
        })
    });
    views.collect()
}

/// Numbers between −1 and 1 from a linear congruence: the same in every run.
fn tensor(entry: &Entry, seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut draw = move |scale: f32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u32 << 23) as f32 - 1.0) * scale
    };
    let count = entry.shape.iter().product::<i64>() as usize;
    let value = (0..count).map(|_| draw(0.02)).collect();
    let grad = (0..count).map(|_| draw(0.01)).collect();
    Tensor {
        dims: entry.shape.clone(),
        value,
        grad,
    }
}

fn summary(args: &Args, optimizer: &Optimizer, mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    json!({
        "optimizer": optimizer.name(),
        "set": args.set,
        "report": optimizer.report().to_string(),
        "steps": times.len(),
        "median_ms": times[times.len() / 2],
        "mean_ms": times.iter().sum::<f64>() / times.len() as f64,
        "least_ms": times[0],
        "most_ms": times[times.len() - 1],
    })
}
