//! Prints what the generated code reaches on this machine: products per tile and packed, maps, and compile times.
//!
//! `cargo run --release -p optc-mlir --example gemm_rate`

#[path = "../tests/common/mod.rs"]
mod common;

use common::gemm::{Addend, Family, Matrix, Size};
use common::{Kernel, Object, levels};
use optc_core::dtype::DType;
use optc_core::kernel::{MapKernel, Space};
use optc_core::kernel_random::{adamw, kernel, scalars};
use optc_mlir::{Isa, Unit, compile_cpu, compile_ptx};
use std::time::Instant;

fn main() {
    for isa in levels() {
        compile_times(isa);
        let products = [DType::F32, DType::F64, DType::BF16];
        let maps = [adamw(DType::F32), adamw(DType::BF16)];
        let object = Object::load(
            &compile_cpu(
                &Unit {
                    kernels: &maps,
                    products: &products,
                },
                isa,
            )
            .expect("compiles"),
        );
        for dtype in products {
            product_rates(&Family::of(&object, dtype), isa);
        }
        for map in &maps {
            map_rate(&object, map, isa);
        }
    }
    let maps = random_maps();
    for (name, kernels) in [("adamw", &[adamw(DType::F32)][..]), ("30 maps", &maps)] {
        let millis = best(3, || drop(compile_ptx(kernels, "sm_80").expect("compiles"))) * 1e3;
        println!("sm_80           {name}: {millis:.0} ms");
    }
}

fn random_maps() -> Vec<MapKernel> {
    (0..30).map(|seed| kernel(seed, Space::Flat)).collect()
}

fn compile_times(isa: Isa) {
    let maps = random_maps();
    let one = [adamw(DType::F32)];
    let time = |name: &str, unit: Unit<'_>| {
        let millis = best(3, || drop(compile_cpu(&unit, isa).expect("compiles"))) * 1e3;
        println!("{:15} {name}: {millis:.0} ms", isa.name());
    };
    time(
        "adamw",
        Unit {
            kernels: &one,
            products: &[],
        },
    );
    time(
        "30 maps",
        Unit {
            kernels: &maps,
            products: &[],
        },
    );
    time(
        "products f32",
        Unit {
            kernels: &[],
            products: &[DType::F32],
        },
    );
    time(
        "30 maps, products f32",
        Unit {
            kernels: &maps,
            products: &[DType::F32],
        },
    );
    time(
        "products f32, f64, bf16",
        Unit {
            kernels: &[],
            products: &[DType::F32, DType::F64, DType::BF16],
        },
    );
}

fn product_rates(family: &Family, isa: Isa) {
    let (dtype, k, n) = (family.dtype, 256, 1024);
    let bytes = |count: u64| vec![0; (count * dtype.size()) as usize];
    let square = |by_columns: bool| {
        let (row_stride, col_stride) = if by_columns { (1, n) } else { (n, 1) };
        Matrix {
            bytes: bytes(n * n),
            row_stride,
            col_stride,
        }
    };
    let name = format!("{:15} {dtype:4} {}x{}", isa.name(), family.mr, family.nr);
    let (a, b) = (bytes(family.mr * k), bytes(family.nr * k));
    let mut out = bytes(family.mr * family.nr);
    let tile = best(2000, || family.tile(k, &a, &b, &mut out));
    let rate = |flops: u64, seconds: f64| flops as f64 / seconds / 1e9;
    println!(
        "{name} tile, k {k}: {:.1} GFLOP/s",
        rate(2 * family.mr * family.nr * k, tile)
    );
    let (plain, turned, mut out) = (square(false), square(true), square(false));
    let size = Size {
        m: n,
        n,
        k: n,
        alpha: 1.0,
        beta: 0.0,
    };
    let whole = best(5, || {
        family.multiply(&plain, &plain, &mut out, Addend::None, size)
    });
    println!(
        "{name} {n} cubed, unblocked: {:.1} GFLOP/s",
        rate(2 * n * n * n, whole)
    );
    for (side, matrix) in [("rows", &plain), ("columns", &turned)] {
        // A block as a product packs it: the matrix is larger, the block fits the cache.
        let speed = |seconds: f64| (k * k * dtype.size()) as f64 / seconds / 1e9;
        let mut packed = family.room(k, family.mr, k);
        let a = best(200, || family.pack_a(&mut packed, matrix, k, k));
        let mut packed = family.room(k, family.nr, k);
        let b = best(200, || family.pack_b(&mut packed, matrix, k, k));
        println!(
            "{name} packing {side}: a {:.1} GB/s, b {:.1} GB/s",
            speed(a),
            speed(b)
        );
    }
}

/// 16 M elements in one thread, in place.
fn map_rate(object: &Object, map: &MapKernel, isa: Isa) {
    let count = 1 << 24;
    let dtype = map.inputs[0].dtype;
    let mut tensors: Vec<Vec<u8>> = (0..4)
        .map(|_| vec![0; (count * dtype.size()) as usize])
        .collect();
    let [w, grad, m, v] = [0, 1, 2, 3].map(|n: usize| tensors[n].as_mut_ptr().cast());
    let scalars = scalars(map, 1);
    // SAFETY: the symbol has the type of map kernels; all operands have `count` elements.
    let seconds = best(7, || unsafe {
        let function: Kernel = object.symbol(&map.symbol());
        function(
            [w, grad, m, v, w, m, v].as_ptr(),
            scalars.as_ptr(),
            [count].as_ptr(),
            0,
            count,
        );
    });
    let speed = (count * map.bytes_per_point()) as f64 / seconds / 1e9;
    println!("{:15} adamw {dtype}: {speed:.1} GB/s", isa.name());
}

/// Seconds of the fastest of `times` runs.
fn best(times: u32, mut work: impl FnMut()) -> f64 {
    let run = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..times).map(run).fold(f64::INFINITY, f64::min)
}
