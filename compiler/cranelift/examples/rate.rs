//! How fast the quick tier compiles AdamW, and how fast the code runs on one thread: `cargo run --release --example rate`.

use optc_core::dtype::DType;
use optc_core::kernel_random::{adamw, kernel};
use std::time::Instant;

const ELEMENTS: usize = 1 << 23;
const SCALARS: [f64; 7] = [0.999, 0.1, 0.999, 0.001, 1e-3, 0.3, 1e-8];

fn main() -> miette::Result<()> {
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let kernel = adamw(dtype);
        let milliseconds = median(
            (0..21)
                .map(|_| seconds(|| drop(optc_cranelift::compile(std::slice::from_ref(&kernel))))),
        );
        let compiled = optc_cranelift::compile(std::slice::from_ref(&kernel))?;
        let Some(function) = compiled.get(&kernel.hash()) else {
            continue;
        };
        let mut tensors = vec![vec![0_u8; ELEMENTS * dtype.size() as usize]; 4];
        let operands = [0, 1, 2, 3, 0, 2, 3].map(|n: usize| tensors[n].as_mut_ptr().cast());
        let n = ELEMENTS as u64;
        // SAFETY: seven operands of `n` elements each, as the kernel has; outputs are inputs, which it may be told.
        let run = || unsafe { function(operands.as_ptr(), SCALARS.as_ptr(), &n, 0, n) };
        let step = median((0..15).map(|_| seconds(run)));
        let rate = (kernel.bytes_per_point() * n) as f64 / step / 1e9;
        println!(
            "adamw {dtype}: compiled in {:.2} ms, {rate:.1} GB/s",
            milliseconds * 1e3
        );
    }
    let kernels: Vec<_> = (0..50)
        .map(|seed| kernel(seed, optc_core::kernel::Space::Grid))
        .collect();
    println!(
        "50 random kernels: {:.1} ms",
        seconds(|| drop(optc_cranelift::compile(&kernels))) * 1e3
    );
    Ok(())
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(times: impl Iterator<Item = f64>) -> f64 {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
