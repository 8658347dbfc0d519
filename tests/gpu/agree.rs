//! Every map kernel of an artifact on the device, bit for bit against `kernel_eval`.

use optc_artifact::Artifact;
use optc_core::dtype::DType;
use optc_core::kernel::{MapKernel, Space};
use optc_core::kernel_random::{inputs, same, scalars};
use optc_core::settings::Overrides;
use optc_core::variants::variants;
use optc_core::{kernel_eval, kernel_support};
use optc_runtime::Rules;
use optc_runtime::cuda::{Device, Runner, Tensor};
use std::collections::BTreeMap;
use std::error::Error;

/// What was compared so far.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) kernels: usize,
    pub(crate) comparisons: usize,
    pub(crate) mismatches: usize,
}

impl Found {
    /// Counts a comparison, and names it if it failed.
    pub(crate) fn note(&mut self, agrees: bool, what: impl FnOnce() -> String) {
        self.comparisons += 1;
        if !agrees {
            self.mismatches += 1;
            eprintln!("MISMATCH: {}", what());
        }
    }
}

/// Runs all kernels of an artifact over all sizes, those of one kernel in one launch.
pub(crate) fn kernels(
    device: &Device,
    bytes: &[u8],
    largest: u64,
    found: &mut Found,
) -> Result<(), Box<dyn Error>> {
    let artifact = Artifact::parse(bytes)?;
    let (major, minor) = device.capability();
    let ptx = artifact.best_ptx(major, minor)?.text;
    let runner = Runner::new(device, ptx)?;
    for kernel in of_artifact(bytes, ptx)? {
        found.kernels += 1;
        for seed in [0, 1] {
            check(&runner, &kernel, seed, largest, found)?;
        }
    }
    Ok(())
}

/// The kernels that the PTX has, as their rules mean them.
fn of_artifact(bytes: &[u8], ptx: &str) -> Result<Vec<MapKernel>, Box<dyn Error>> {
    let rules = Rules::from_artifact_source(bytes)?;
    let dtypes = [DType::F32, DType::F64, DType::BF16, DType::F16];
    let program = rules.program();
    let of_rules = program
        .roots
        .iter()
        .flat_map(|&id| variants(program, id, &Overrides::default(), &dtypes).kernels);
    let support = kernel_support::kernels().map(|kernel| (kernel.hash(), kernel));
    let all: BTreeMap<String, MapKernel> = of_rules.chain(support).collect();
    let here = all
        .into_values()
        .filter(|kernel| ptx.contains(&kernel.symbol()));
    Ok(here.collect())
}

fn sizes(kernel: &MapKernel, largest: u64) -> Vec<(u64, u64)> {
    let lengths = [0, 1, 3, 16, 17, 4097, largest];
    match kernel.space {
        Space::Flat => lengths.map(|n| (n, 1)).to_vec(),
        Space::Grid => {
            let small = [
                (0, 5),
                (3, 0),
                (1, 1),
                (3, 5),
                (16, 17),
                (65, 130),
                (4097, 3),
                (3, 4097),
            ];
            small.into_iter().chain([(largest / 1000, 1000)]).collect()
        }
    }
}

fn check(
    runner: &Runner,
    kernel: &MapKernel,
    seed: u64,
    largest: u64,
    found: &mut Found,
) -> Result<(), Box<dyn Error>> {
    let sizes = sizes(kernel, largest);
    let data: Vec<Vec<Vec<f64>>> = sizes
        .iter()
        .map(|&(rows, cols)| inputs(kernel, seed, rows, cols))
        .collect();
    let tensor = |(data, &(rows, cols)): (&Vec<Vec<f64>>, &(u64, u64))| Tensor {
        inputs: encoded(kernel, data),
        scalars: scalars(kernel, seed),
        rows,
        cols,
    };
    let tensors: Vec<Tensor> = data.iter().zip(&sizes).map(tensor).collect();
    let Some(results) = runner.run(kernel, &tensors)? else {
        return Err(format!("the PTX has no entry {}", kernel.symbol()).into());
    };
    for ((data, &size), outputs) in data.iter().zip(&sizes).zip(&results) {
        compare(kernel, (data, seed), size, outputs, found);
    }
    Ok(())
}

fn encoded(kernel: &MapKernel, data: &[Vec<f64>]) -> Vec<Vec<u8>> {
    let pairs = data.iter().zip(&kernel.inputs);
    pairs
        .map(|(values, input)| input.dtype.encode(values))
        .collect()
}

fn compare(
    kernel: &MapKernel,
    (data, seed): (&[Vec<f64>], u64),
    (rows, cols): (u64, u64),
    outputs: &[Vec<u8>],
    found: &mut Found,
) {
    let data: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let expected = kernel_eval::run(kernel, &data, &scalars(kernel, seed), rows, cols);
    for (n, (bytes, expected)) in outputs.iter().zip(&expected).enumerate() {
        let agrees = same(&kernel.outputs[n].dtype.decode(bytes), expected);
        found.note(agrees, || {
            format!("{rows} × {cols}, seed {seed}, output {n} of\n{kernel}")
        });
    }
}
