//! Compiled map kernels against their meaning, bit for bit.

mod common;

use common::random::{Random, kernel};
use common::{Dims, Object, eval};
use optc_core::dtype::DType;
use optc_core::kernel::{Access, BinaryOp, Input, Inst, MapKernel, Output, OutputKind, Space, UnaryOp};
use optc_mlir::{Isa, Stage, Unit, compile_cpu, emit_cpu_text};

/// The levels this machine can run.
fn levels() -> Vec<Isa> {
    let mut levels = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c") {
        levels.push(Isa::X86_64V3);
    }
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        levels.push(Isa::X86_64V4);
    }
    if is_x86_feature_detected!("avx512bf16") {
        levels.push(Isa::X86_64V4Bf16);
    }
    levels
}

fn object(kernels: &[MapKernel], isa: Isa) -> Object {
    Object::load(&compile_cpu(&Unit { kernels, products: &[] }, isa).unwrap())
}

fn check(object: &Object, kernel: &MapKernel, dims: Dims, random: &mut Random, name: &str) {
    let inputs = random.inputs(kernel, dims);
    let scalars = [random.number(), random.below(2) as f64];
    let expected = eval::run(kernel, &inputs, &scalars, dims);
    for step in [1, 1000] {
        let found = object.run(kernel, &inputs, &scalars, dims, step);
        for (n, (found, expected)) in found.iter().zip(&expected).enumerate() {
            if let Some((at, found, expected)) = found.first_difference(expected) {
                panic!("{name}, {dims:?}, output {n}, element {at}: {found:e} is not {expected:e}\n{kernel}");
            }
        }
    }
}

/// `w -= lr * m / (sqrt(v) + eps)`, as an optimizer has it.
fn adam(dtype: DType) -> MapKernel {
    let full = Input { dtype, access: Access::Full };
    let insts = vec![
        Inst::Load(0),
        Inst::Load(1),
        Inst::Load(2),
        Inst::Scalar(0),
        Inst::Unary(UnaryOp::Sqrt, 2),
        Inst::Const(1e-8),
        Inst::Binary(BinaryOp::Add, 4, 5),
        Inst::Binary(BinaryOp::Mul, 3, 1),
        Inst::Binary(BinaryOp::Div, 7, 6),
        Inst::Binary(BinaryOp::Sub, 0, 8),
    ];
    let outputs = vec![Output { value: 9, dtype, kind: OutputKind::Store }];
    MapKernel { space: Space::Flat, compute: DType::F32, inputs: vec![full; 3], scalars: 1, insts, outputs }
}

#[test]
fn sizes_of_a_flat_kernel() {
    for isa in levels() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let kernel = adam(dtype);
            let object = object(std::slice::from_ref(&kernel), isa);
            for rows in [0, 1, 3, 15, 16, 17, 4095, 4096, 4097, 1_000_003] {
                check(&object, &kernel, Dims { rows, cols: 1 }, &mut Random::new(rows as u64), isa.name());
            }
        }
    }
}

#[test]
fn random_flat_kernels() {
    let mut random = Random::new(1);
    for compute in [DType::F32, DType::F64] {
        let kernels: Vec<MapKernel> = (0..24).map(|n| kernel(&mut random, Space::Flat, compute, 6 + n)).collect();
        for isa in levels() {
            let object = object(&kernels, isa);
            for (n, kernel) in kernels.iter().enumerate() {
                for rows in [0, 1, 17, 100, 4097, 9000] {
                    check(&object, kernel, Dims { rows, cols: 1 }, &mut random, &format!("{} {n}", isa.name()));
                }
            }
        }
    }
}

#[test]
fn random_grid_kernels() {
    let mut random = Random::new(2);
    for compute in [DType::F32, DType::F64] {
        let kernels: Vec<MapKernel> = (0..24).map(|n| kernel(&mut random, Space::Grid, compute, 6 + n)).collect();
        for isa in levels() {
            let object = object(&kernels, isa);
            for (n, kernel) in kernels.iter().enumerate() {
                for (rows, cols) in [(0, 5), (1, 1), (3, 0), (5, 17), (64, 16), (65, 3), (130, 33)] {
                    check(&object, kernel, Dims { rows, cols }, &mut random, &format!("{} {n}", isa.name()));
                }
            }
        }
    }
}

#[test]
fn an_output_may_be_an_input() {
    let kernel = adam(DType::F32);
    for isa in levels() {
        let object = object(std::slice::from_ref(&kernel), isa);
        let dims = Dims { rows: 5003, cols: 1 };
        let mut inputs = Random::new(3).inputs(&kernel, dims);
        let expected = eval::run(&kernel, &inputs, &[0.1], dims);
        // SAFETY: the symbol has the type of map kernels; all four operands have 5003 elements.
        unsafe {
            type Kernel = unsafe extern "C" fn(*const *mut u8, *const f64, *const u64, u64, u64);
            let function: Kernel = object.symbol(&kernel.symbol());
            let pointers: Vec<*mut u8> = inputs.iter_mut().map(|input| input.bytes.as_mut_ptr()).collect();
            let operands = [pointers[0], pointers[1], pointers[2], pointers[0]];
            function(operands.as_ptr(), [0.1].as_ptr(), [5003].as_ptr(), 0, 5003);
        }
        assert!(inputs[0].first_difference(&expected[0]).is_none(), "{}", isa.name());
    }
}

#[test]
fn floats_stay_strict() {
    let mut random = Random::new(4);
    let kernels: Vec<MapKernel> = (0..8).map(|_| kernel(&mut random, Space::Flat, DType::F32, 30)).collect();
    for isa in Isa::ALL {
        let asm = emit_cpu_text(&Unit { kernels: &kernels, products: &[] }, isa, Stage::Asm).unwrap();
        for banned in ["vfmadd", "vfmsub", "vfnmadd", "vrcp", "vrsqrt", "vcvtneps2bf16", "call"] {
            assert!(!asm.contains(banned), "{} uses {banned}", isa.name());
        }
    }
}

#[test]
fn the_same_unit_gives_the_same_bytes() {
    let kernels = [adam(DType::F32), adam(DType::BF16)];
    let unit = Unit { kernels: &kernels, products: &[] };
    let first = compile_cpu(&unit, Isa::X86_64V3).unwrap();
    assert_eq!(first, compile_cpu(&unit, Isa::X86_64V3).unwrap());
}
