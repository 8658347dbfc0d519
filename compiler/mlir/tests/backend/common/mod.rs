//! What the tests of this crate share: a loaded object, and kernels called through it.

pub(crate) mod gemm;

use optc_artifact::Features;
use optc_core::dtype::DType;
use optc_core::kernel::{
    Access, CHUNK, Input, Inst, MapKernel, Output, OutputKind, ROW_CHUNK, Space, Val,
};
use optc_core::kernel_eval::round_once;
use optc_core::kernel_math;
use optc_mlir::Isa;
use optc_runtime::kernels::MapFn;
use std::ffi::c_void;

/// The ISA levels this machine can run.
pub(crate) fn levels() -> Vec<Isa> {
    let machine = Features::detect();
    let all = Isa::ALL.into_iter();
    all.filter(|&isa| machine.runs(isa)).collect()
}

/// `exp`, `log`, `tanh`, a power, `sin`, `cos` and an angle of one input: long bodies whose last bits hang on every rounding.
pub(crate) fn functions(compute: DType) -> Vec<MapKernel> {
    let input = Input {
        dtype: compute,
        access: Access::Full,
    };
    let kernel = |function: fn(&mut Vec<Inst>, DType) -> Val| {
        let mut insts = vec![Inst::Load(0), Inst::Scalar(0)];
        let output = Output {
            value: function(&mut insts, compute),
            dtype: compute,
            kind: OutputKind::Store,
        };
        MapKernel {
            space: Space::Flat,
            compute,
            inputs: vec![input],
            scalars: 1,
            insts,
            outputs: vec![output],
        }
    };
    vec![
        kernel(|insts, compute| kernel_math::exp(insts, compute, 0)),
        kernel(|insts, compute| kernel_math::log(insts, compute, 0)),
        kernel(|insts, compute| kernel_math::tanh(insts, compute, 0)),
        kernel(|insts, compute| kernel_math::pow(insts, compute, 0, 1)),
        kernel(|insts, compute| kernel_math::sin(insts, compute, 0)),
        kernel(|insts, compute| kernel_math::cos(insts, compute, 0)),
        kernel(|insts, compute| kernel_math::atan2(insts, compute, 0, 1)),
    ]
}

/// The index space of one call; a flat one has one column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dims {
    pub(crate) rows: u64,
    pub(crate) cols: u64,
}

/// Rows (or elements of a flat space) that share a partial sum.
fn chunk(space: Space) -> u64 {
    if space == Space::Flat {
        CHUNK
    } else {
        ROW_CHUNK
    }
}

/// Dtype and number of the elements a backend writes for output `n`: partial sums where the runtime adds.
pub(crate) fn written(kernel: &MapKernel, n: usize, dims: Dims) -> (DType, u64) {
    let output = kernel.outputs[n];
    let chunks = dims.rows.div_ceil(chunk(kernel.space));
    match output.kind {
        OutputKind::Store => (output.dtype, dims.rows * dims.cols),
        OutputKind::Cols(_) => (output.dtype, dims.rows),
        OutputKind::All(_) => (DType::F64, chunks),
        OutputKind::Rows(_) => (DType::F64, chunks * dims.cols),
    }
}

/// What the runtime makes of the elements of output `n`: partial sums added in order and rounded.
pub(crate) fn finish(kernel: &MapKernel, n: usize, dims: Dims, elements: Vec<f64>) -> Vec<f64> {
    let output = kernel.outputs[n];
    let width = match output.kind {
        OutputKind::Store | OutputKind::Cols(_) => return elements,
        OutputKind::All(_) => 1,
        OutputKind::Rows(_) => dims.cols as usize,
    };
    let fold = output.kind.fold().unwrap();
    let total = |col| fold.of_all(elements.iter().skip(col).step_by(width).copied());
    (0..width)
        .map(|col| round_once(output.dtype, total(col)))
        .collect()
}

/// A shared object in the memory of this process.
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
    pub(crate) unsafe fn symbol<F: Copy>(&self, name: &str) -> F {
        // SAFETY: the caller vouches for the type; the library outlives the calls of a test.
        unsafe { *self.library.get::<F>(name.as_bytes()).unwrap() }
    }

    /// Runs a kernel in calls of `step` chunks; returns the finished outputs.
    pub(crate) fn run(
        &self,
        kernel: &MapKernel,
        inputs: &[Vec<f64>],
        scalars: &[f64],
        dims: Dims,
        step: u64,
    ) -> Vec<Vec<f64>> {
        // SAFETY: the symbol of a map kernel has this type.
        let function: MapFn = unsafe { self.symbol(&kernel.symbol()) };
        let stored = inputs
            .iter()
            .zip(&kernel.inputs)
            .map(|(values, input)| input.dtype.encode(values));
        let fresh = (0..kernel.outputs.len()).map(|n| {
            let (dtype, count) = written(kernel, n, dims);
            vec![0xAA; (count * dtype.size()) as usize]
        });
        let mut tensors: Vec<Vec<u8>> = stored.chain(fresh).collect();
        let operands: Vec<*mut c_void> = tensors
            .iter_mut()
            .map(|bytes| bytes.as_mut_ptr().cast())
            .collect();
        let unit = chunk(kernel.space) * step;
        for begin in (0..dims.rows.max(1)).step_by(unit as usize) {
            let end = (begin + unit).min(dims.rows);
            // SAFETY: every operand has the elements that `dims` asks for.
            unsafe {
                function(
                    operands.as_ptr(),
                    scalars.as_ptr(),
                    [dims.rows, dims.cols].as_ptr(),
                    begin,
                    end,
                )
            };
        }
        let outputs = tensors[inputs.len()..].iter().enumerate();
        outputs
            .map(|(n, bytes)| finish(kernel, n, dims, written(kernel, n, dims).0.decode(bytes)))
            .collect()
    }
}
