//! PTX without a GPU: assembled by `ptxas` where there is one, and the same loops run thread by thread on the CPU.

use crate::common::{Dims, Object, finish, functions, levels, written};
use optc_core::dtype::DType;
use optc_core::kernel::{CHUNK, Fold, MapKernel, ROW_CHUNK, Space};
use optc_core::kernel_eval;
use optc_core::kernel_random::{adamw, inputs, kernel, same, scalars};
use optc_core::kernel_support::{
    AXES, SIZES, TOTALS, gather_symbol, scatter_symbol, totals_symbol,
};
use optc_mlir::{EmitError, THREADS, compile_emulated, compile_ptx, emit_mlir_cuda};
use optc_tests::device::{assembled, spilled};
use std::ffi::c_void;
use std::sync::Barrier;

fn kernels(count: u64) -> Vec<MapKernel> {
    let spaces = |seed| [kernel(seed, Space::Flat), kernel(seed, Space::Grid)];
    (0..count)
        .flat_map(spaces)
        .chain([DType::F32, DType::F64, DType::BF16, DType::F16].map(adamw))
        .chain([DType::F32, DType::F64].into_iter().flat_map(functions))
        .collect()
}

#[test]
fn ptx_assembles() {
    for arch in ["sm_80", "sm_90a", "sm_100"] {
        for (name, kernels) in [
            ("random", kernels(20)),
            ("adamw", vec![adamw(DType::F32), adamw(DType::BF16)]),
        ] {
            let Some(said) = assembled(&compile_ptx(&kernels, arch).unwrap(), arch) else {
                eprintln!("skipped: no ptxas (set OPTC_PTXAS)");
                return;
            };
            let said = said.unwrap_or_else(|said| panic!("{arch}: {said}"));
            // A random kernel may reduce more values than registers hold.
            assert!(
                name == "random" || spilled(&said) == 0,
                "{arch} {name}: {said}"
            );
        }
    }
}

#[test]
fn ptx_is_strict() {
    let kernels = kernels(30);
    let ptx = compile_ptx(&kernels, "sm_80").unwrap();
    for kernel in &kernels {
        assert!(ptx.contains(&format!(".visible .entry {}(", kernel.symbol())));
    }
    for banned in ["fma.", ".approx", ".ftz", ".full.f32", "call", ".extern"] {
        assert!(!ptx.contains(banned), "PTX has {banned}");
    }
    for wanted in [
        "mul.rn.f32",
        "add.rn.f32",
        "div.rn.f32",
        "sqrt.rn.f32",
        "max.NaN.f32",
    ] {
        assert!(ptx.contains(wanted), "PTX has no {wanted}");
    }
}

#[test]
fn ptx_is_reproducible() {
    let kernels = kernels(2);
    assert_eq!(
        compile_ptx(&kernels, "sm_90a").unwrap(),
        compile_ptx(&kernels, "sm_90a").unwrap()
    );
    assert!(emit_mlir_cuda(&kernels).unwrap().contains("gpu.module"));
}

#[test]
fn an_unknown_architecture_has_a_name() {
    for arch in ["sm_70", "gfx90a", "sm_", "sm_80\0", ""] {
        let found = compile_ptx(&[], arch);
        assert!(
            matches!(found, Err(EmitError::UnknownArch { .. })),
            "{arch}: {found:?}"
        );
    }
}

/// One tensor of a table.
struct Job {
    dims: Dims,
    seed: u64,
}

type Thread = unsafe extern "C" fn(
    *const *mut c_void,
    *const f64,
    *const [u64; 2],
    *const u64,
    u32,
    u64,
    u64,
    u64,
    *mut f64,
    extern "C" fn(&Barrier),
    &Barrier,
);

extern "C" fn wait(barrier: &Barrier) {
    barrier.wait();
}

/// Addresses that threads share; each element is touched by one thread between two barriers.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: the kernel under test keeps its threads apart, as on a GPU.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

/// Runs one kernel over a table of tensors with `blocks` blocks, every thread a thread.
fn launch(object: &Object, kernel: &MapKernel, jobs: &[Job], blocks: u64) {
    // SAFETY: this is the type that `compile_emulated` documents.
    let function: Thread = unsafe { object.symbol(&kernel.symbol()) };
    let data: Vec<Vec<Vec<f64>>> = jobs
        .iter()
        .map(|job| inputs(kernel, job.seed, job.dims.rows, job.dims.cols))
        .collect();
    let mut tensors: Vec<Vec<Vec<u8>>> = jobs
        .iter()
        .zip(&data)
        .map(|(job, data)| memory(kernel, job, data))
        .collect();
    let mut operands: Vec<*mut c_void> = tensors
        .iter_mut()
        .flatten()
        .map(|bytes| bytes.as_mut_ptr().cast())
        .collect();
    let mut host: Vec<f64> = jobs
        .iter()
        .flat_map(|job| scalars(kernel, job.seed))
        .collect();
    let dims: Vec<[u64; 2]> = jobs
        .iter()
        .map(|job| [job.dims.rows, job.dims.cols])
        .collect();
    let size = if kernel.space == Space::Flat {
        CHUNK
    } else {
        ROW_CHUNK
    };
    let mut starts = vec![0];
    for job in jobs {
        starts.push(starts[starts.len() - 1] + job.dims.rows.div_ceil(size));
    }
    // SAFETY: the tables describe live tensors of the sizes in `dims`.
    unsafe { run_blocks(function, &mut operands, &mut host, &dims, &starts, blocks) };
    for ((job, data), tensors) in jobs.iter().zip(&data).zip(&tensors) {
        compare(kernel, job, data, &tensors[data.len()..]);
    }
}

/// Runs every thread of some blocks over tables.
///
/// # Safety
///
/// The tables are those of the function.
unsafe fn run_blocks(
    function: Thread,
    operands: &mut [*mut c_void],
    scalars: &mut [f64],
    dims: &[[u64; 2]],
    starts: &[u64],
    blocks: u64,
) {
    let (table, host) = (Shared(operands.as_mut_ptr()), Shared(scalars.as_mut_ptr()));
    for block in 0..blocks {
        let barrier = Barrier::new(THREADS as usize);
        let mut lanes = [0.0; THREADS as usize];
        let shared = Shared(lanes.as_mut_ptr());
        std::thread::scope(|scope| {
            for thread in 0..u64::from(THREADS) {
                let barrier = &barrier;
                scope.spawn(move || {
                    let (table, host, shared) = (&table, &host, &shared);
                    let count = dims.len() as u32;
                    let (dims, starts) = (dims.as_ptr(), starts.as_ptr());
                    // SAFETY: by the caller's promise.
                    unsafe {
                        function(
                            table.0, host.0, dims, starts, count, thread, block, blocks, shared.0,
                            wait, barrier,
                        );
                    }
                });
            }
        });
    }
}

fn memory(kernel: &MapKernel, job: &Job, data: &[Vec<f64>]) -> Vec<Vec<u8>> {
    let stored = data
        .iter()
        .zip(&kernel.inputs)
        .map(|(values, input)| input.dtype.encode(values));
    let fresh = (0..kernel.outputs.len()).map(|n| {
        let (dtype, count) = written(kernel, n, job.dims);
        vec![0xAA; (count * dtype.size()) as usize]
    });
    stored.chain(fresh).collect()
}

fn compare(kernel: &MapKernel, job: &Job, data: &[Vec<f64>], outputs: &[Vec<u8>]) {
    let columns: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let Dims { rows, cols } = job.dims;
    let expected = kernel_eval::run(kernel, &columns, &scalars(kernel, job.seed), rows, cols);
    for (n, (bytes, expected)) in outputs.iter().zip(&expected).enumerate() {
        let elements = written(kernel, n, job.dims).0.decode(bytes);
        let found = finish(kernel, n, job.dims, elements);
        assert!(
            same(&found, expected),
            "{:?}, seed {}, output {n}\n{kernel}",
            job.dims,
            job.seed
        );
    }
}

fn jobs(sizes: &[(u64, u64)]) -> Vec<Job> {
    sizes
        .iter()
        .zip(0..)
        .map(|(&(rows, cols), seed)| Job {
            dims: Dims { rows, cols },
            seed,
        })
        .collect()
}

#[test]
fn a_grid_of_threads_agrees_with_the_meaning() {
    let Some(&isa) = levels().first() else {
        eprintln!("skipped: no ISA level of this crate on this machine");
        return;
    };
    let flat: Vec<MapKernel> = (0..6).map(|seed| kernel(seed, Space::Flat)).collect();
    let grid: Vec<MapKernel> = (0..6).map(|seed| kernel(seed, Space::Grid)).collect();
    let object = Object::load(&compile_emulated(&[&flat[..], &grid].concat(), isa).unwrap());
    for kernel in &flat {
        launch(
            &object,
            kernel,
            &jobs(&[(0, 1), (17, 1), (0, 1), (4097, 1), (300, 1)]),
            2,
        );
    }
    for kernel in &grid {
        launch(
            &object,
            kernel,
            &jobs(&[(3, 5), (0, 4), (66, 3), (2, 0), (5, 200)]),
            3,
        );
    }
}

/// The entries beside map kernels, on this machine.
fn support() -> Option<Object> {
    let isa = *levels().first()?;
    Some(Object::load(&compile_emulated(&[], isa).unwrap()))
}

#[test]
fn totals_are_added_in_order_and_rounded_once() {
    let Some(object) = support() else {
        eprintln!("skipped: no ISA level of this crate on this machine");
        return;
    };
    let kinds = Fold::BOTH.map(|fold| TOTALS.map(|dtype| (fold, dtype)));
    for (fold, dtype) in kinds.into_iter().flatten() {
        // SAFETY: the type that `compile_emulated` documents.
        let function: Thread = unsafe { object.symbol(&totals_symbol(fold, dtype)) };
        let dims = [[0, 3], [1, 1], [70, 1], [33, 200], [5, 0]];
        let value = |n: u64| (n as f64 + 0.3).sin() * 10f64.powi((n % 7) as i32 - 3);
        let mut partial =
            dims.map(|[chunks, columns]| (0..chunks * columns).map(value).collect::<Vec<f64>>());
        let mut out = dims.map(|[_, columns]| vec![0xAAu8; (columns * dtype.size()) as usize]);
        let mut operands: Vec<*mut c_void> = partial
            .iter_mut()
            .zip(&mut out)
            .flat_map(|(partial, out)| [partial.as_mut_ptr().cast(), out.as_mut_ptr().cast()])
            .collect();
        // SAFETY: partial sums and totals have the sizes of `dims`; 128 columns are a work item.
        unsafe {
            run_blocks(
                function,
                &mut operands,
                &mut [],
                &dims,
                &[0, 1, 2, 3, 5, 5],
                2,
            )
        };
        for ((partial, out), [_, columns]) in partial.iter().zip(&out).zip(dims) {
            let column = |col: usize| partial.iter().skip(col).step_by(columns as usize).copied();
            let total = |col: usize| fold.of_all(column(col));
            let totals =
                (0..columns as usize).map(|col| kernel_eval::round_once(dtype, total(col)));
            assert!(
                same(&dtype.decode(out), &totals.collect::<Vec<f64>>()),
                "{dtype}"
            );
        }
    }
}

#[test]
fn strided_tensors_come_and_go() {
    let Some(object) = support() else {
        eprintln!("skipped: no ISA level of this crate on this machine");
        return;
    };
    // A [3, 50, 40] tensor whose axes lie in another order, with gaps.
    let (lengths, strides, room) = ([3usize, 50, 40], [2usize, 300, 7], 15_000);
    let mut axes = [0.0; 2 * AXES];
    for (axis, (&length, &stride)) in lengths.iter().zip(&strides).rev().enumerate() {
        axes[2 * axis] = f64::from_bits(length as u64);
        axes[2 * axis + 1] = f64::from_bits(stride as u64);
    }
    for size in SIZES {
        let bytes = |count: usize| count * size as usize;
        let before: Vec<u8> = (0..bytes(room)).map(|n| (n * 7 + n / 251) as u8).collect();
        let (mut strided, mut dense) = (before.clone(), vec![0u8; bytes(6000)]);
        let mut run = |symbol: String, strided: &mut [u8]| {
            // SAFETY: the type that `compile_emulated` documents.
            let function: Thread = unsafe { object.symbol(&symbol) };
            let mut operands = [strided.as_mut_ptr().cast(), dense.as_mut_ptr().cast()];
            // SAFETY: the axes reach 14 992 elements, and there are 6 000, in two work items.
            unsafe { run_blocks(function, &mut operands, &mut axes, &[[6000, 3]], &[0, 2], 2) };
            dense.clone()
        };
        let found = run(gather_symbol(size), &mut strided);
        for (n, element) in found.chunks_exact(size as usize).enumerate() {
            let at = n / 2000 * strides[0] + n / 40 % 50 * strides[1] + n % 40 * strides[2];
            assert_eq!(
                element,
                &before[bytes(at)..bytes(at + 1)],
                "element {n} of {size} bytes"
            );
        }
        let mut back = vec![0u8; bytes(room)];
        run(scatter_symbol(size), &mut back);
        let again = run(gather_symbol(size), &mut back);
        assert_eq!(again, found);
        assert_eq!(
            back.chunks(size as usize)
                .filter(|x| x.iter().any(|&b| b != 0))
                .count(),
            found
                .chunks(size as usize)
                .filter(|x| x.iter().any(|&b| b != 0))
                .count()
        );
    }
}
