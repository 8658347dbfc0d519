//! Agreement with the evaluator, bit for bit, over random kernels, sizes, ranges and aliased operands.

use super::*;
use optc_core::dtype::DType;
use optc_core::kernel::{Access, CHUNK, Inst, Output, OutputKind, ROW_CHUNK, Space};
use optc_core::kernel_eval::{self, round_once};
use optc_core::kernel_random::{self, same};

const FLAT: [u64; 10] = [0, 1, 3, 15, 16, 17, 4095, 4096, 4097, 10_000];
const GRID: [(u64, u64); 8] = [
    (0, 0),
    (0, 5),
    (5, 0),
    (1, 1),
    (3, 47),
    (65, 17),
    (130, 33),
    (64, 16),
];

/// A kernel with data, ready to run.
struct Case {
    kernel: MapKernel,
    inputs: Vec<Vec<f64>>,
    scalars: Vec<f64>,
    rows: u64,
    cols: u64,
}

impl Case {
    fn random(seed: u64, space: Space, (rows, cols): (u64, u64)) -> Case {
        let kernel = kernel_random::kernel(seed, space);
        let inputs = kernel_random::inputs(&kernel, seed, rows, cols);
        let scalars = kernel_random::scalars(&kernel, seed);
        Case {
            kernel,
            inputs,
            scalars,
            rows,
            cols,
        }
    }

    fn expected(&self) -> Vec<Vec<f64>> {
        let inputs: Vec<&[f64]> = self.inputs.iter().map(Vec::as_slice).collect();
        kernel_eval::run(&self.kernel, &inputs, &self.scalars, self.rows, self.cols)
    }

    /// Runs compiled code over ranges that meet at `cuts`, all of which are multiples of the chunk.
    fn run(&self, function: MapFn, cuts: &[u64]) -> Vec<Vec<f64>> {
        let mut inputs: Vec<Vec<u8>> = self
            .kernel
            .inputs
            .iter()
            .zip(&self.inputs)
            .map(|(input, x)| input.dtype.encode(x))
            .collect();
        let mut outputs: Vec<Vec<u8>> = self
            .kernel
            .outputs
            .iter()
            .map(|output| self.buffer(output))
            .collect();
        let operands: Vec<*mut c_void> = inputs
            .iter_mut()
            .chain(&mut outputs)
            .map(|x| x.as_mut_ptr().cast())
            .collect();
        self.call(function, &operands, cuts);
        self.kernel
            .outputs
            .iter()
            .zip(&outputs)
            .map(|(output, bytes)| self.finish(output, bytes))
            .collect()
    }

    fn call(&self, function: MapFn, operands: &[*mut c_void], cuts: &[u64]) {
        let (dims, end) = match self.kernel.space {
            Space::Flat => (vec![self.rows * self.cols], self.rows * self.cols),
            Space::Grid => (vec![self.rows, self.cols], self.rows),
        };
        let mut begin = 0;
        for &cut in cuts.iter().filter(|&&cut| cut < end).chain([&end]) {
            // SAFETY: one operand per input and output, each as long as the kernel's access says; the range is
            // within the dimensions and begins at a chunk.
            unsafe {
                function(
                    operands.as_ptr(),
                    self.scalars.as_ptr(),
                    dims.as_ptr(),
                    begin,
                    cut,
                )
            };
            begin = cut;
        }
    }

    fn chunks(&self) -> u64 {
        match self.kernel.space {
            Space::Flat => (self.rows * self.cols).div_ceil(CHUNK),
            Space::Grid => self.rows.div_ceil(ROW_CHUNK),
        }
    }

    /// Room for what the kernel itself writes, filled with a pattern that no result has by chance.
    fn buffer(&self, output: &Output) -> Vec<u8> {
        let bytes = match output.kind {
            OutputKind::Store => self.rows * self.cols * output.dtype.size(),
            OutputKind::Cols(_) => self.rows * output.dtype.size(),
            OutputKind::All(_) => self.chunks() * 8,
            OutputKind::Rows(_) => self.chunks() * self.cols * 8,
        };
        vec![0xa5; bytes as usize]
    }

    /// What the runtime does with partial sums.
    fn finish(&self, output: &Output, bytes: &[u8]) -> Vec<f64> {
        let width = match output.kind {
            OutputKind::Store | OutputKind::Cols(_) => return output.dtype.decode(bytes),
            OutputKind::All(_) => 1,
            OutputKind::Rows(_) => self.cols as usize,
        };
        let fold = output.kind.fold().unwrap();
        let mut totals = vec![fold.of_none(); width];
        for (n, partial) in DType::F64.decode(bytes).into_iter().enumerate() {
            totals[n % width] = fold.of(totals[n % width], partial);
        }
        totals
            .into_iter()
            .map(|x| round_once(output.dtype, x))
            .collect()
    }
}

#[track_caller]
fn agree(case: &Case, actual: &[Vec<f64>], what: &str) {
    for (n, (actual, expected)) in actual.iter().zip(case.expected()).enumerate() {
        let differs = |(a, b): (&f64, &f64)| !same(&[*a], &[*b]);
        if let Some(at) = actual.iter().zip(&expected).position(differs) {
            let (actual, expected) = (actual[at], expected[at]);
            let (rows, cols, kernel) = (case.rows, case.cols, &case.kernel);
            panic!(
                "{what}, {rows}x{cols}: output {n}[{at}] is {actual:e}, not {expected:e}\n{kernel}"
            );
        }
        assert_eq!(actual.len(), expected.len());
    }
}

fn compile_one(kernel: &MapKernel, width: Width) -> (Compiled, MapFn) {
    let compiled = compile_for(&machine().unwrap(), std::slice::from_ref(kernel), width).unwrap();
    let function = compiled.get(&kernel.hash()).unwrap();
    (compiled, function)
}

fn flat_shapes() -> Vec<(u64, u64)> {
    FLAT.map(|n| (n, 1)).to_vec()
}

fn check_random(space: Space, shapes: &[(u64, u64)], width: Width, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let (_owner, function) = compile_one(&kernel_random::kernel(seed, space), width);
        for &shape in shapes {
            let case = Case::random(seed, space, shape);
            agree(
                &case,
                &case.run(function, &[]),
                &format!("{space:?} {width:?} seed {seed}"),
            );
        }
    }
}

#[test]
fn flat_kernels_agree() {
    check_random(Space::Flat, &flat_shapes(), Width::Vector, 0..120);
}

#[test]
fn grid_kernels_agree() {
    check_random(Space::Grid, &GRID, Width::Vector, 0..120);
}

#[test]
fn kernels_agree_one_element_at_a_time() {
    check_random(Space::Flat, &flat_shapes(), Width::Scalar, 0..40);
    check_random(Space::Grid, &GRID, Width::Scalar, 0..40);
}

/// With exponents that take every branch of `pow`, over data with zeros, infinities and NaN.
#[test]
fn functions_agree() {
    for kernel in kernel_random::functions() {
        let (_owner, function) = compile_one(&kernel, Width::Vector);
        for exponent in [
            -0.25,
            0.0,
            0.5,
            2.0,
            3.0,
            -7.0,
            1e300,
            f64::NEG_INFINITY,
            f64::NAN,
        ] {
            let inputs = kernel_random::inputs(&kernel, 3, 4097, 1);
            let case = Case {
                kernel: kernel.clone(),
                inputs,
                scalars: vec![exponent],
                rows: 4097,
                cols: 1,
            };
            agree(
                &case,
                &case.run(function, &[]),
                &format!("exponent {exponent}"),
            );
        }
    }
}

#[test]
fn kernels_agree_without_optional_instructions() {
    let triple = machine().unwrap().triple().clone();
    let isa = cranelift::codegen::isa::lookup(triple)
        .unwrap()
        .finish(flags().unwrap())
        .unwrap();
    for seed in 0..40 {
        let case = Case::random(seed, Space::Grid, (65, 17));
        let compiled =
            compile_for(&isa, std::slice::from_ref(&case.kernel), Width::Vector).unwrap();
        let function = compiled.get(&case.kernel.hash()).unwrap();
        agree(
            &case,
            &case.run(function, &[]),
            &format!("baseline, seed {seed}"),
        );
    }
}

#[test]
fn ranges_do_not_matter() {
    for seed in 0..40 {
        for (space, shape, cuts) in [
            (Space::Flat, (10_000, 1), [4096, 8192]),
            (Space::Flat, (4097, 1), [4096, 4096]),
            (Space::Grid, (130, 33), [64, 128]),
            (Space::Grid, (130, 33), [64, 64]),
        ] {
            let case = Case::random(seed, space, shape);
            let (_owner, function) = compile_one(&case.kernel, Width::Vector);
            agree(
                &case,
                &case.run(function, &cuts),
                &format!("ranges, seed {seed}"),
            );
        }
    }
}

#[test]
fn outputs_may_be_inputs() {
    for dtype in kernel_random::STORED {
        let kernel = kernel_random::adamw(dtype);
        let (_owner, function) = compile_one(&kernel, Width::Vector);
        for n in FLAT {
            let mut inputs = kernel_random::inputs(&kernel, 2, n, 1);
            inputs[3] = inputs[3].iter().map(|x| x.abs()).collect();
            let scalars = vec![0.999, 0.1, 0.999, 0.001, 1e-2, 0.3, 1e-8];
            let case = Case {
                kernel: kernel.clone(),
                inputs,
                scalars,
                rows: n,
                cols: 1,
            };
            let mut tensors: Vec<Vec<u8>> = case.inputs.iter().map(|x| dtype.encode(x)).collect();
            let operands = [0, 1, 2, 3, 0, 2, 3].map(|n: usize| tensors[n].as_mut_ptr().cast());
            case.call(function, &operands, &[]);
            let results = [0, 2, 3].map(|n: usize| dtype.decode(&tensors[n]));
            agree(&case, &results, &format!("in place, {dtype}"));
        }
    }
}

/// Every f16 and bf16 through a load and a store, and what lies at and beside ties of rounding through a store.
#[test]
fn half_types_convert_exactly() {
    for dtype in [DType::F16, DType::BF16] {
        let halves: Vec<f64> = dtype.decode(
            &(0..=u16::MAX)
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>(),
        );
        let around = |x: &f64| {
            let bits = (*x as f32).to_bits();
            [
                -0x1001, -0x1000, -0xfff, -1, 0, 1, 0xfff, 0x1000, 0x1001, 0x8000, 0x7fff, 0x8001,
            ]
            .map(|by: i32| f64::from(f32::from_bits(bits.wrapping_add_signed(by))))
        };
        let singles: Vec<f64> = halves.iter().flat_map(around).collect();
        // A last bit that f32 does not hold decides a tie.
        let beside = |x: &f64| [x.next_down(), *x, x.next_up()];
        let doubles: Vec<f64> = singles.iter().flat_map(beside).collect();
        for (from, values) in [
            (dtype, halves),
            (DType::F32, singles),
            (DType::F64, doubles),
        ] {
            for (compute, to) in [
                (DType::F32, dtype),
                (DType::F64, dtype),
                (DType::F32, DType::F64),
            ] {
                let base = kernel_random::adamw(DType::F32);
                let kernel = MapKernel {
                    compute,
                    inputs: vec![optc_core::kernel::Input {
                        dtype: from,
                        access: Access::Full,
                    }],
                    scalars: 0,
                    insts: vec![Inst::Load(0)],
                    outputs: vec![Output {
                        value: 0,
                        dtype: to,
                        kind: OutputKind::Store,
                    }],
                    ..base
                };
                let (_owner, function) = compile_one(&kernel, Width::Vector);
                let rows = values.len() as u64;
                let case = Case {
                    kernel,
                    inputs: vec![values.clone()],
                    scalars: vec![],
                    rows,
                    cols: 1,
                };
                agree(&case, &case.run(function, &[]), &format!("{from} to {to}"));
            }
        }
    }
}

/// The fallback to single elements would hide a vector instruction that is missing.
#[test]
#[cfg(target_arch = "x86_64")]
fn vectors_are_not_refused() {
    let isa = machine().unwrap();
    let mut compiler = Compiler::new(isa.clone());
    for seed in 0..60 {
        compiler.build(&kernel_random::kernel(seed, Space::Grid), Width::Vector);
        compiler
            .context
            .compile(&*isa, &mut Default::default())
            .unwrap();
    }
}

#[test]
fn equal_kernels_are_compiled_once() {
    let kernel = kernel_random::adamw(DType::F32);
    let compiled = compile(&[
        kernel.clone(),
        kernel.clone(),
        kernel_random::adamw(DType::F64),
    ])
    .unwrap();
    assert_eq!(compiled.functions.len(), 2);
    assert!(compiled.get("no such hash").is_none());
}

#[test]
fn malformed_kernels_are_refused() {
    let mut kernel = kernel_random::adamw(DType::F32);
    kernel.insts[0] = Inst::Load(9);
    assert!(matches!(
        compile(&[kernel]),
        Err(CompileError::Malformed { .. })
    ));
}

#[test]
fn compiled_code_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Compiled>();
}

#[test]
fn code_of_adamw() {
    let kernel = kernel_random::adamw(DType::F32);
    let mut compiler = Compiler::new(machine().unwrap());
    compiler.build(&kernel, Width::Vector);
    let code = compiler.context.func.display().to_string();
    // The calling convention is this machine's.
    let convention = compiler.context.func.signature.call_conv.to_string();
    insta::assert_snapshot!(format!(
        "{kernel}\n{}",
        code.replacen(&convention, "CALL_CONV", 1)
    ));
}
