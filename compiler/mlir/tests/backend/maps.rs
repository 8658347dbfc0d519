//! Compiled map kernels against their meaning, bit for bit.

use crate::common::{Dims, Object, functions, levels};
use optc_core::dtype::DType;
use optc_core::kernel::{MapKernel, Space};
use optc_core::kernel_random::{adamw, inputs, kernel, same, scalars};
use optc_core::{kernel_eval, kernel_random};
use optc_mlir::{EmitError, Isa, Stage, Unit, compile_cpu, emit_cpu_text};
use optc_runtime::kernels::MapFn;

fn object(kernels: &[MapKernel], isa: Isa) -> Object {
    Object::load(
        &compile_cpu(
            &Unit {
                kernels,
                products: &[],
            },
            isa,
        )
        .unwrap(),
    )
}

fn check(object: &Object, kernel: &MapKernel, dims: Dims, seed: u64, isa: Isa) {
    let data = inputs(kernel, seed, dims.rows, dims.cols);
    let scalars = scalars(kernel, seed);
    let columns: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let expected = kernel_eval::run(kernel, &columns, &scalars, dims.rows, dims.cols);
    for step in [1, 1000] {
        let found = object.run(kernel, &data, &scalars, dims, step);
        for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let place = format!("{}, seed {seed}, {dims:?}, output {n}", isa.name());
            assert!(
                same(found, expected),
                "{place}: {}\n{kernel}",
                first_difference(found, expected)
            );
        }
    }
}

fn first_difference(found: &[f64], expected: &[f64]) -> String {
    let at = (0..expected.len()).find(|&n| !same(&found[n..=n], &expected[n..=n]));
    at.map(|n| format!("element {n} is {:e}, not {:e}", found[n], expected[n]))
        .unwrap_or_default()
}

#[test]
fn sizes_of_a_flat_kernel() {
    for dtype in kernel_random::STORED {
        let kernel = adamw(dtype);
        for isa in levels() {
            let object = object(std::slice::from_ref(&kernel), isa);
            for rows in [0, 1, 3, 15, 16, 17, 4095, 4096, 4097, 1_000_003] {
                check(&object, &kernel, Dims { rows, cols: 1 }, rows, isa);
            }
        }
    }
}

#[test]
fn random_flat_kernels() {
    let kernels: Vec<MapKernel> = (0..60).map(|seed| kernel(seed, Space::Flat)).collect();
    for isa in levels() {
        let object = object(&kernels, isa);
        for (seed, kernel) in kernels.iter().enumerate() {
            for rows in [0, 1, 17, 100, 4097, 9000] {
                check(&object, kernel, Dims { rows, cols: 1 }, seed as u64, isa);
            }
        }
    }
}

#[test]
fn random_grid_kernels() {
    let kernels: Vec<MapKernel> = (0..60).map(|seed| kernel(seed, Space::Grid)).collect();
    for isa in levels() {
        let object = object(&kernels, isa);
        for (seed, kernel) in kernels.iter().enumerate() {
            for (rows, cols) in [
                (0, 5),
                (1, 1),
                (3, 0),
                (5, 17),
                (64, 16),
                (65, 3),
                (130, 33),
            ] {
                check(&object, kernel, Dims { rows, cols }, seed as u64, isa);
            }
        }
    }
}

#[test]
fn functions_written_out() {
    let kernels = [DType::F32, DType::F64].map(functions).concat();
    for isa in levels() {
        let object = object(&kernels, isa);
        for kernel in &kernels {
            for seed in 0..4 {
                check(
                    &object,
                    kernel,
                    Dims {
                        rows: 20_003,
                        cols: 1,
                    },
                    seed,
                    isa,
                );
            }
        }
    }
}

#[test]
fn an_output_may_be_an_input() {
    let kernel = adamw(DType::F32);
    let data = inputs(&kernel, 3, 5003, 1);
    let columns: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let scalars = scalars(&kernel, 3);
    let expected = kernel_eval::run(&kernel, &columns, &scalars, 5003, 1);
    for isa in levels() {
        let object = object(std::slice::from_ref(&kernel), isa);
        let mut tensors: Vec<Vec<u8>> = data
            .iter()
            .map(|values| DType::F32.encode(values))
            .collect();
        let [w, grad, m, v] = [0, 1, 2, 3].map(|n: usize| tensors[n].as_mut_ptr().cast());
        // SAFETY: the symbol has the type of map kernels; all operands have 5003 elements.
        unsafe {
            let function: MapFn = object.symbol(&kernel.symbol());
            function(
                [w, grad, m, v, w, m, v].as_ptr(),
                scalars.as_ptr(),
                [5003].as_ptr(),
                0,
                5003,
            );
        }
        for (tensor, expected) in [0, 2, 3].into_iter().zip(&expected) {
            assert!(
                same(&DType::F32.decode(&tensors[tensor]), expected),
                "{}, {tensor}",
                isa.name()
            );
        }
    }
}

#[test]
fn floats_stay_strict() {
    let kernels: Vec<MapKernel> = (0..30).map(|seed| kernel(seed, Space::Grid)).collect();
    for isa in Isa::ALL {
        let asm = emit_cpu_text(
            &Unit {
                kernels: &kernels,
                products: &[],
            },
            isa,
            Stage::Asm,
        )
        .unwrap();
        for banned in [
            "vfmadd",
            "vfmsub",
            "vfnmadd",
            "vrcp",
            "vrsqrt",
            "vcvtneps2bf16",
            "call",
        ] {
            assert!(!asm.contains(banned), "{} uses {banned}", isa.name());
        }
    }
}

#[test]
fn the_same_unit_gives_the_same_bytes() {
    let kernels = [adamw(DType::F32), adamw(DType::BF16)];
    let unit = Unit {
        kernels: &kernels,
        products: &[],
    };
    let first = compile_cpu(&unit, Isa::X86_64V3).unwrap();
    assert_eq!(first, compile_cpu(&unit, Isa::X86_64V3).unwrap());
}

#[test]
fn a_kernel_that_is_not_well_formed_has_a_name() {
    let mut broken = adamw(DType::F32);
    broken.outputs[0].value = 1000;
    let unit = Unit {
        kernels: std::slice::from_ref(&broken),
        products: &[],
    };
    for error in [
        compile_cpu(&unit, Isa::X86_64V3).unwrap_err(),
        emit_cpu_text(&unit, Isa::X86_64V4, Stage::Mlir).unwrap_err(),
    ] {
        let EmitError::Internal { kernel, stage, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!((kernel, stage), (broken.symbol(), "verify kernel"));
    }
}
