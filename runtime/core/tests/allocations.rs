//! A step allocates nothing after the first one.

use optc_core::dtype::DType;
use optc_runtime::{BindOptions, NonFinite, Optimizer, ParamDesc, Rules, StepInput, TensorView};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: by the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SHAPES: [&[i64]; 5] = [&[30, 20], &[20, 30], &[7], &[100_000], &[]];

fn bind(module: &str, threads: usize) -> Optimizer {
    let named = |(n, dims): (usize, &&[i64])| ParamDesc::new(&format!("p{n}"), dims, DType::F32);
    let params: Vec<ParamDesc> = SHAPES.iter().enumerate().map(named).collect();
    let options = BindOptions {
        threads: Some(threads),
        non_finite: NonFinite::Error,
        ..BindOptions::default()
    };
    Rules::from_std(module)
        .unwrap()
        .bind(&params, &options)
        .unwrap()
}

/// Allocations of ten steps after two others.
fn allocations(module: &str, threads: usize) -> usize {
    let mut optimizer = bind(module, threads);
    let values = |scale: f32| SHAPES.map(|dims| vec![scale; dims.iter().product::<i64>() as usize]);
    let (mut params, grads) = (values(1.0), values(0.01));
    let inputs: Vec<StepInput<'_>> = (params.iter_mut().zip(&grads).zip(SHAPES))
        .map(|((param, grad), dims)| StepInput {
            param: TensorView::from_mut(param, dims).unwrap(),
            grad: TensorView::from_ref(grad, dims),
        })
        .collect();
    (0..2).for_each(|_| optimizer.step(&inputs).unwrap());
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    (0..10).for_each(|_| optimizer.step(&inputs).unwrap());
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

// One test: another one's allocations would be counted too.
#[test]
fn steps_do_not_allocate() {
    assert_eq!(allocations("std.adamw", 3), 0);
    assert_eq!(allocations("std.sgd", 3), 0);
    // faer's products keep a buffer per thread, allocated when a thread first multiplies; a family's need none.
    assert_eq!(allocations("std.muon", 1), 0);
}
