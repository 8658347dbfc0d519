//! Checks and times artifacts on a real GPU; needs NVIDIA's driver, and neither Rust nor LibTorch nor LLVM to run.
//!
//! ```text
//! optc-gpu --shapes shapes.json --set transformer_23m adamw.optc soap.optc
//! ```
//!
//! It runs every map kernel of each artifact against its meaning, steps the first artifact on the device and on the
//! host and compares the bits, times its steps, and prints JSON. The exit code is 0 if all agrees, 1 if anything does
//! not, 3 if there is no GPU. `run.py` beside this file calls it, and torch's optimizer after it.

mod agree;
mod placed;
mod steps;
mod time;

use clap::Parser;
use optc_runtime::cuda::{CudaError, Device, Driver};
use serde_json::{Value, json};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit code where there is nothing to run on.
const NO_GPU: u8 = 3;

/// Checks and times artifacts on a GPU.
#[derive(Parser)]
struct Args {
    /// Artifacts compiled with `--target cpu,cuda`, that of AdamW first.
    #[arg(required = true)]
    artifacts: Vec<PathBuf>,
    /// The parameter sets.
    #[arg(long)]
    shapes: PathBuf,
    /// Which of them is timed.
    #[arg(long, default_value = "transformer_23m")]
    set: String,
    /// Timed steps.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// The device's number.
    #[arg(long, default_value_t = 0)]
    device: u32,
    /// Elements of the largest tensor of the checks.
    #[arg(long, default_value_t = 1_000_003)]
    largest: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let device = match open(args.device) {
        Ok(device) => device,
        Err(error) => {
            eprintln!("no GPU: {error}");
            return ExitCode::from(NO_GPU);
        }
    };
    match run(&args, &device) {
        Ok(report) => {
            println!("{report:#}");
            ExitCode::from(u8::from(report["mismatches"] != 0))
        }
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(ordinal: u32) -> Result<Device, CudaError> {
    Device::open(&Driver::system()?, ordinal)
}

fn run(args: &Args, device: &Device) -> Result<Value, Box<dyn Error>> {
    let artifacts = args
        .artifacts
        .iter()
        .map(std::fs::read)
        .collect::<Result<Vec<Vec<u8>>, _>>()?;
    let mut found = agree::Found::default();
    for (path, bytes) in args.artifacts.iter().zip(&artifacts) {
        eprintln!("kernels of {}", path.display());
        agree::kernels(device, bytes, args.largest, &mut found)?;
    }
    eprintln!("steps");
    steps::compare(device, &artifacts[0], args.largest, &mut found)?;
    eprintln!("times");
    let time = time::run(device, &artifacts[0], args)?;
    let (major, minor) = device.capability();
    Ok(json!({
        "device": device.name(),
        "capability": format!("{major}.{minor}"),
        "kernels": found.kernels,
        "comparisons": found.comparisons,
        "mismatches": found.mismatches,
        "time": time,
    }))
}
