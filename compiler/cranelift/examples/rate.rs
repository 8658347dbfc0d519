//! How fast the quick tier compiles, and how fast its code runs on one thread beside the same loop in Rust:
//! `cargo run --release -p optc-cranelift --example rate`.

use optc_core::dtype::DType;
use optc_core::kernel::{
    Access, BinaryOp, Fold, Input, Inst, MapKernel, Output, OutputKind, Space, Val,
};
use optc_core::kernel_random::{STORED, adamw, functions, kernel};
use std::ffi::c_void;
use std::time::Instant;

const ELEMENTS: usize = 1 << 23;
const SCALARS: [f64; 7] = [0.999, 0.1, 0.999, 0.001, 1e-3, 0.3, 1e-8];

fn main() -> miette::Result<()> {
    println!("adamw f32 in Rust: {:.1} GB/s", rust_rate());
    for dtype in STORED {
        report(
            &format!("adamw {dtype}"),
            &adamw(dtype),
            &[0, 1, 2, 3, 0, 2, 3],
        )?;
    }
    report("sum of squares f32", &sum_of_squares(), &[0, 1])?;
    let names = ["exp", "log", "tanh", "pow", "sin", "cos", "atan2"];
    for (name, kernel) in names.iter().zip(functions()) {
        report(&format!("{name} f32"), &kernel, &[0, 1])?;
    }
    let kernels: Vec<_> = (0..50).map(|seed| kernel(seed, Space::Grid)).collect();
    let time = seconds(|| drop(optc_cranelift::compile(&kernels)));
    println!("50 random kernels: compiled in {:.1} ms", time * 1e3);
    Ok(())
}

/// Compiles and runs one flat kernel; `operands` says which tensor each of its operands is.
fn report(name: &str, kernel: &MapKernel, operands: &[usize]) -> miette::Result<()> {
    let compile = median((0..21).map(|_| seconds(|| drop(compile_one(kernel)))));
    let compiled = compile_one(kernel)?;
    let Some(function) = compiled.get(&kernel.hash()) else {
        return Ok(());
    };
    let bytes = kernel.inputs[0].dtype.encode(&[0.5]).repeat(ELEMENTS);
    let mut tensors = vec![bytes; 4];
    let operands: Vec<*mut c_void> = operands
        .iter()
        .map(|&n| tensors[n].as_mut_ptr().cast())
        .collect();
    let n = ELEMENTS as u64;
    // SAFETY: every operand has room for `n` elements; an output is an input or a tensor of its own.
    let run = || unsafe { function(operands.as_ptr(), SCALARS.as_ptr(), &n, 0, n) };
    let rate = (kernel.bytes_per_point() * n) as f64 / median((0..15).map(|_| seconds(run))) / 1e9;
    println!(
        "{name}: compiled in {:.2} ms, {rate:.1} GB/s",
        compile * 1e3
    );
    Ok(())
}

fn compile_one(
    kernel: &MapKernel,
) -> Result<optc_cranelift::Compiled, optc_cranelift::CompileError> {
    optc_cranelift::compile(std::slice::from_ref(kernel))
}

fn sum_of_squares() -> MapKernel {
    let insts = vec![Inst::Load(0), Inst::Binary(BinaryOp::Mul, 0, 0)];
    let value = insts.len() as Val - 1;
    MapKernel {
        space: Space::Flat,
        compute: DType::F32,
        inputs: vec![Input {
            dtype: DType::F32,
            access: Access::Full,
        }],
        scalars: 0,
        insts,
        outputs: vec![Output {
            value,
            dtype: DType::F32,
            kind: OutputKind::All(Fold::Sum),
        }],
    }
}

/// GB/s of AdamW as `rustc` compiles it for the least processor of this architecture.
fn rust_rate() -> f64 {
    let [mut w, grad, mut m, mut v] = [0; 4].map(|_| vec![0.5_f32; ELEMENTS]);
    let [
        decay,
        one_minus_beta1,
        beta2,
        one_minus_beta2,
        rate,
        correction,
        eps,
    ] = SCALARS.map(|x| x as f32);
    let step = || {
        for (((w, g), m), v) in w.iter_mut().zip(&grad).zip(&mut m).zip(&mut v) {
            *m += one_minus_beta1 * (g - *m);
            *v = beta2 * *v + one_minus_beta2 * (g * g);
            *w = *w * decay - rate * *m / (v.sqrt() / correction + eps);
        }
    };
    let mut step = step;
    28.0 * ELEMENTS as f64 / median((0..15).map(|_| seconds(&mut step))) / 1e9
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
