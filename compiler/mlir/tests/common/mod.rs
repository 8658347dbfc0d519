//! What the tests of this crate share: random numbers, random kernels, stored tensors, and a loaded object.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod eval;
pub(crate) mod random;

use optc_core::dtype::DType;
use optc_core::kernel::{Access, CHUNK, MapKernel, OutputKind, ROW_CHUNK, Space};
use std::ffi::c_void;

/// A tensor as its stored bytes, with its dtype.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) dtype: DType,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    pub(crate) fn new(dtype: DType, values: &[f64]) -> Tensor {
        let bytes = values.iter().flat_map(|&value| encode(dtype, value)).collect();
        Tensor { dtype, bytes }
    }

    pub(crate) fn values(&self) -> Vec<f64> {
        self.bytes.chunks_exact(self.dtype.size() as usize).map(|chunk| decode(self.dtype, chunk)).collect()
    }

    /// Differences in stored bits, except between NaNs.
    pub(crate) fn first_difference(&self, other: &Tensor) -> Option<(usize, f64, f64)> {
        let (a, b) = (self.values(), other.values());
        assert_eq!(a.len(), b.len());
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        (0..a.len()).find(|&n| !same(a[n], b[n])).map(|n| (n, a[n], b[n]))
    }
}

pub(crate) fn encode(dtype: DType, value: f64) -> Vec<u8> {
    match dtype {
        DType::F64 => value.to_le_bytes().to_vec(),
        DType::F32 => (value as f32).to_le_bytes().to_vec(),
        DType::BF16 => half::bf16::from_f32(value as f32).to_le_bytes().to_vec(),
        DType::F16 => half::f16::from_f32(value as f32).to_le_bytes().to_vec(),
        DType::I64 => (value as i64).to_le_bytes().to_vec(),
    }
}

fn decode(dtype: DType, bytes: &[u8]) -> f64 {
    match dtype {
        DType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
        DType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        DType::BF16 => half::bf16::from_le_bytes(bytes.try_into().unwrap()).to_f64(),
        DType::F16 => half::f16::from_le_bytes(bytes.try_into().unwrap()).to_f64(),
        DType::I64 => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
    }
}

/// The index space of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dims {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

impl Dims {
    pub(crate) fn points(self) -> usize {
        self.rows * self.cols
    }

    /// Elements of an input.
    pub(crate) fn count(self, access: Access) -> usize {
        match access {
            Access::Full => self.points(),
            Access::Row => self.rows,
            Access::Col => self.cols,
            Access::One => 1,
        }
    }

    fn chunks(self, space: Space) -> usize {
        let size = if space == Space::Flat { CHUNK } else { ROW_CHUNK };
        self.rows.div_ceil(size as usize)
    }

    /// What a backend writes for one output: its dtype and elements (partial sums where the runtime finishes).
    pub(crate) fn written(self, kernel: &MapKernel, n: usize) -> (DType, usize) {
        let output = kernel.outputs[n];
        match output.kind {
            OutputKind::Store => (output.dtype, self.points()),
            OutputKind::SumCols => (output.dtype, self.rows),
            OutputKind::SumAll => (DType::F64, self.chunks(kernel.space)),
            OutputKind::SumRows => (DType::F64, self.chunks(kernel.space) * self.cols),
        }
    }
}

type Kernel = unsafe extern "C" fn(*const *mut c_void, *const f64, *const u64, u64, u64);

/// A shared object in memory of this process.
pub(crate) struct Object {
    library: libloading::Library,
}

impl Object {
    pub(crate) fn load(bytes: &[u8]) -> Object {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        // SAFETY: an object of ours has no initialisers.
        let library = unsafe { libloading::Library::new(file.path()).unwrap() };
        Object { library }
    }

    /// The function of that name.
    ///
    /// # Safety
    ///
    /// `F` is its C type.
    pub unsafe fn symbol<F: Copy>(&self, name: &str) -> F {
        // SAFETY: the caller vouches for the type; the library outlives the calls of a test.
        unsafe { *self.library.get::<F>(name.as_bytes()).unwrap() }
    }

    /// Runs a kernel in calls of `step` chunks; returns what it wrote.
    pub(crate) fn run(&self, kernel: &MapKernel, inputs: &[Tensor], scalars: &[f64], dims: Dims, step: u64) -> Vec<Tensor> {
        // SAFETY: the symbol of a map kernel has this type.
        let function: Kernel = unsafe { self.symbol(&kernel.symbol()) };
        let mut inputs: Vec<Vec<u8>> = inputs.iter().map(|input| input.bytes.clone()).collect();
        let mut outputs: Vec<Tensor> = (0..kernel.outputs.len())
            .map(|n| {
                let (dtype, count) = dims.written(kernel, n);
                Tensor { dtype, bytes: vec![0xAA; count * dtype.size() as usize] }
            })
            .collect();
        let operands: Vec<*mut c_void> = inputs
            .iter_mut()
            .map(|input| input.as_mut_ptr().cast())
            .chain(outputs.iter_mut().map(|output| output.bytes.as_mut_ptr().cast()))
            .collect();
        let sizes = [dims.rows as u64, dims.cols as u64];
        let unit = if kernel.space == Space::Flat { CHUNK } else { ROW_CHUNK } * step;
        let mut begin = 0;
        loop {
            let end = (begin + unit).min(sizes[0]);
            // SAFETY: every operand has the elements that `dims` asks for.
            unsafe { function(operands.as_ptr(), scalars.as_ptr(), sizes.as_ptr(), begin, end) };
            begin = end;
            if end == sizes[0] {
                return outputs;
            }
        }
    }
}
