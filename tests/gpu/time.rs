//! Times steps over one of the parameter sets.

use crate::Args;
use crate::placed::{Placed, numbers};
use optc_core::dtype::DType;
use optc_runtime::cuda::{CudaError, Device};
use optc_runtime::{BindOptions, Optimizer, ParamDesc, Rules, StepError, StepInput};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

/// Untimed steps before the others.
const WARM: usize = 10;
/// What AdamW moves per element in f32: parameter and both moments read and written, the gradient read.
const BYTES: f64 = 28.0;

#[derive(Deserialize)]
struct Set {
    params: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    shape: Vec<i64>,
}

impl Entry {
    fn elements(&self) -> usize {
        self.shape.iter().product::<i64>() as usize
    }

    fn place(&self, device: &Device, seed: u64) -> Result<Placed, CudaError> {
        Placed::new(device, &self.shape, None, &numbers(seed, self.elements()))
    }
}

/// Steps queued one behind the other, and steps waited for one by one.
pub(crate) fn run(device: &Device, artifact: &[u8], args: &Args) -> Result<Value, Box<dyn Error>> {
    let sets: BTreeMap<String, Set> =
        serde_json::from_str(&std::fs::read_to_string(&args.shapes)?)?;
    let set = sets.get(&args.set).ok_or("no such set")?;
    let mut optimizer = bind(device, artifact, set)?;
    let place = |(entry, seed): (&Entry, u64)| {
        Ok((
            entry.place(device, seed)?,
            entry.place(device, seed + 1000)?,
        ))
    };
    let tensors = set.params.iter().zip(1..).map(place);
    let mut tensors = tensors.collect::<Result<Vec<(Placed, Placed)>, CudaError>>()?;
    let inputs: Vec<StepInput<'_>> = tensors
        .iter_mut()
        .map(|(param, grad)| StepInput {
            param: param.view(),
            grad: Some(grad.view()),
        })
        .collect();
    let queued = queued(device, &mut optimizer, &inputs, args.steps)?;
    let waited = waited(device, &mut optimizer, &inputs, args.steps)?;
    let elements: usize = set.params.iter().map(Entry::elements).sum();
    Ok(json!({
        "optimizer": optimizer.name(),
        "set": args.set,
        "tensors": set.params.len(),
        "elements": elements,
        "steps": args.steps,
        "queued_ms": queued,
        "waited_median_ms": waited,
        "queued_gb_per_s": BYTES * elements as f64 / queued / 1e6,
    }))
}

fn bind(device: &Device, artifact: &[u8], set: &Set) -> Result<Optimizer, Box<dyn Error>> {
    // SAFETY: whoever runs this tool trusts the artifacts that it is given.
    let rules = unsafe { Rules::from_artifact(artifact) }?;
    let describe = |entry: &Entry| ParamDesc {
        device: optc_runtime::Device::Cuda(device.ordinal()),
        ..ParamDesc::new(&entry.name, &entry.shape, DType::F32)
    };
    let params: Vec<ParamDesc> = set.params.iter().map(describe).collect();
    Ok(rules.bind(&params, &BindOptions::default())?)
}

fn queued(
    device: &Device,
    optimizer: &mut Optimizer,
    inputs: &[StepInput<'_>],
    steps: usize,
) -> Result<f64, StepError> {
    (0..WARM).try_for_each(|_| optimizer.step(inputs))?;
    device.synchronize()?;
    let start = Instant::now();
    (0..steps).try_for_each(|_| optimizer.step(inputs))?;
    device.synchronize()?;
    Ok(start.elapsed().as_secs_f64() * 1e3 / steps as f64)
}

fn waited(
    device: &Device,
    optimizer: &mut Optimizer,
    inputs: &[StepInput<'_>],
    steps: usize,
) -> Result<f64, StepError> {
    let mut times = Vec::with_capacity(steps);
    for _ in 0..steps {
        let start = Instant::now();
        optimizer.step(inputs)?;
        device.synchronize()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
