//! A driver without a device: its memory is the host's, and its entries are run by `kernel_eval`.
//!
//! Of PTX it reads the names of the entries; what they do, it has to be told by kernels of these names, which are made
//! once one is launched that is not known yet. Everything happens at once, so it cannot show a missing order between
//! streams; it does notice a call without a context, memory that is not given back, and a word read beyond a tensor's.

use super::driver::{
    Address, Api, Context, Driver, Event, Function, Launch, Module, Opened, Stream,
};
use super::error::CudaError;
use crate::memory::Pointer;
use crate::moves::{self, Axes};
use crate::view::Device;
use optc_core::dtype::DType;
use optc_core::kernel::{Access, CHUNK, Fold, MapKernel, OutputKind, ROW_CHUNK, Space};
use optc_core::kernel_eval;
use optc_core::kernel_support::{self as support, AXES};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// What stands before the name of an entry in PTX.
const ENTRY: &str = ".visible .entry ";

thread_local! {
    /// Contexts entered on this thread.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// What a test says before, and asks afterwards.
#[derive(Debug, Clone)]
pub struct Fake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kernels: Mutex<Kernels>,
    /// Bytes of the device.
    size: u64,
    state: Mutex<State>,
}

/// What the entries do.
struct Kernels {
    known: HashMap<String, Arc<MapKernel>>,
    /// Those that nobody has asked for yet.
    others: Box<dyn Iterator<Item = MapKernel> + Send>,
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.known.keys()).finish()
    }
}

impl Kernels {
    /// The next of the others, which is known from now on.
    fn next(&mut self) -> Option<Arc<MapKernel>> {
        let kernel = Arc::new(self.others.next()?);
        self.known.insert(kernel.symbol(), Arc::clone(&kernel));
        Some(kernel)
    }

    fn find(&mut self, name: &str) -> Option<Arc<MapKernel>> {
        if let Some(known) = self.known.get(name) {
            return Some(Arc::clone(known));
        }
        std::iter::from_fn(|| self.next()).find(|kernel| kernel.symbol() == name)
    }
}

#[derive(Debug, Default)]
struct State {
    memory: HashMap<Address, Vec<u64>>,
    /// Names of all functions given out.
    functions: Vec<String>,
    modules: Vec<Option<Vec<String>>>,
    counts: Counts,
}

/// What is held and what was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub open: usize,
    pub bytes: u64,
    pub pinned: usize,
    pub events: usize,
    pub modules: usize,
    pub launches: usize,
    pub waits: usize,
    pub allocations: usize,
    pub stream: usize,
}

impl Counts {
    /// Whether everything was given back.
    pub fn nothing_held(&self) -> bool {
        (
            self.open,
            self.bytes,
            self.pinned,
            self.events,
            self.modules,
        ) == (0, 0, 0, 0, 0)
    }
}

impl Fake {
    /// A driver with two devices of `size` bytes that can run these kernels; it takes as many of them as it needs.
    pub fn new<K>(kernels: K, size: u64) -> Fake
    where
        K: IntoIterator<Item = MapKernel, IntoIter: Send + 'static>,
    {
        let kernels = Kernels {
            known: HashMap::new(),
            others: Box::new(support::kernels().chain(kernels)),
        };
        Fake(Arc::new(Shared {
            kernels: Mutex::new(kernels),
            size,
            state: Mutex::default(),
        }))
    }

    pub fn driver(&self) -> Driver {
        Driver(Arc::new(self.clone()))
    }

    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The PTX that has every entry.
    pub fn ptx(&self) -> String {
        let mut kernels = self.0.kernels.lock().unwrap();
        while kernels.next().is_some() {}
        let entries = kernels.known.keys().cloned().chain(support::symbols());
        entries.map(|entry| format!("{ENTRY}{entry}()\n")).collect()
    }

    /// What an entry does, unless it is one of those that are no map kernels.
    fn kernel(&self, name: &str) -> Option<Arc<MapKernel>> {
        let is_other = support::symbols().any(|symbol| symbol == name);
        (!is_other).then(|| self.0.kernels.lock().unwrap().find(name))?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// The state, for a call that needs a context.
    fn inside(&self) -> MutexGuard<'_, State> {
        assert!(DEPTH.get() > 0, "a call without a context");
        self.state()
    }
}

impl Api for Fake {
    fn device_count(&self) -> Result<u32, CudaError> {
        Ok(2)
    }

    fn open(&self, ordinal: u32) -> Result<Opened, CudaError> {
        if ordinal > 1 {
            return Err(CudaError::NoDevice {
                device: Device::Cuda(ordinal),
                count: 2,
            });
        }
        self.state().counts.open += 1;
        Ok(Opened {
            context: Context(ordinal as usize),
            name: "fake".into(),
            capability: (9, 0),
        })
    }

    fn close(&self, _: u32) {
        self.state().counts.open -= 1;
    }

    fn enter(&self, _: Context) -> Result<(), CudaError> {
        DEPTH.set(DEPTH.get() + 1);
        Ok(())
    }

    fn leave(&self) {
        DEPTH.set(DEPTH.get() - 1);
    }

    fn load(&self, ptx: &str) -> Result<Module, CudaError> {
        if ptx.contains("refuse me") {
            let (name, log) = (
                "CUDA_ERROR_INVALID_PTX".into(),
                "ptxas fatal: line 1".into(),
            );
            return Err(CudaError::Ptx { name, log });
        }
        let mut state = self.inside();
        state.counts.modules += 1;
        state.modules.push(Some(entries(ptx)));
        Ok(Module(state.modules.len() - 1))
    }

    unsafe fn unload(&self, module: Module) {
        let mut state = self.inside();
        state.counts.modules -= 1;
        state.modules[module.0] = None;
    }

    unsafe fn function(&self, module: Module, name: &str) -> Result<Option<Function>, CudaError> {
        let mut state = self.inside();
        let entries = state.modules[module.0].as_ref().expect("a loaded module");
        if !entries.iter().any(|entry| entry == name) {
            return Ok(None);
        }
        state.functions.push(name.to_owned());
        Ok(Some(Function(state.functions.len() - 1)))
    }

    fn allocate(&self, bytes: u64) -> Result<Address, CudaError> {
        let mut state = self.inside();
        if state.counts.bytes + bytes > self.0.size {
            return Err(CudaError::OutOfMemory { bytes });
        }
        // What was there before is not zero.
        let memory = vec![0xAAAA_AAAA_AAAA_AAAA; bytes.div_ceil(8).max(1) as usize];
        let at = memory.as_ptr() as Address;
        state.counts.bytes += 8 * memory.len() as u64;
        state.counts.allocations += 1;
        state.memory.insert(at, memory);
        Ok(at)
    }

    unsafe fn free(&self, at: Address) {
        let mut state = self.inside();
        let memory = state.memory.remove(&at).expect("memory of the device");
        state.counts.bytes -= 8 * memory.len() as u64;
    }

    fn allocate_pinned(&self, bytes: u64) -> Result<*mut u8, CudaError> {
        let mut state = self.inside();
        let mut memory = vec![0u64; bytes.div_ceil(8).max(1) as usize];
        let at = memory.as_mut_ptr();
        state.counts.pinned += 1;
        state.memory.insert(at as Address, memory);
        Ok(at.cast())
    }

    unsafe fn free_pinned(&self, at: *mut u8) {
        let mut state = self.inside();
        state.counts.pinned -= 1;
        state
            .memory
            .remove(&(at as Address))
            .expect("pinned memory");
    }

    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        self.inside().counts.stream = stream.0;
        // SAFETY: by the caller's promise.
        unsafe { std::ptr::copy(from, to as *mut u8, bytes as usize) };
        Ok(())
    }

    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        self.inside().counts.stream = stream.0;
        // SAFETY: by the caller's promise.
        unsafe { std::ptr::copy(from as *const u8, to, bytes as usize) };
        Ok(())
    }

    unsafe fn copy(
        &self,
        to: Address,
        from: Address,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        // SAFETY: by the caller's promise.
        unsafe { self.upload(to, from as *const u8, bytes, stream) }
    }

    unsafe fn fill(
        &self,
        at: Address,
        size: u64,
        count: u64,
        bits: u64,
        _: Stream,
    ) -> Result<(), CudaError> {
        drop(self.inside());
        let bytes = bits.to_le_bytes();
        for n in 0..count {
            // SAFETY: by the caller's promise.
            unsafe { std::ptr::copy(bytes.as_ptr(), (at + n * size) as *mut u8, size as usize) };
        }
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch, stream: Stream) -> Result<(), CudaError> {
        let name = {
            let mut state = self.inside();
            state.counts.launches += 1;
            state.counts.stream = stream.0;
            state.functions[launch.function.0].clone()
        };
        let tensors = launch.tensors as usize;
        let [operands, scalars, dims, starts] = launch.tables;
        assert!(launch.blocks > 0 && tensors > 0, "an empty launch");
        let kernel = self.kernel(&name);
        // SAFETY: the tables have as many words as the entry reads.
        unsafe {
            for n in 0..tensors {
                let dims = [word(dims, 2 * n), word(dims, 2 * n + 1)];
                let items = word(starts, n + 1) - word(starts, n);
                match &kernel {
                    Some(kernel) => map(kernel, operands, scalars, n, dims, items),
                    None => entry(&name, (operands, scalars), n, dims),
                }
            }
        }
        Ok(())
    }

    fn event(&self) -> Result<Event, CudaError> {
        self.inside().counts.events += 1;
        Ok(Event(0))
    }

    unsafe fn destroy(&self, _: Event) {
        self.inside().counts.events -= 1;
    }

    unsafe fn record(&self, _: Event, _: Stream) -> Result<(), CudaError> {
        drop(self.inside());
        Ok(())
    }

    unsafe fn wait(&self, _: Event) -> Result<(), CudaError> {
        drop(self.inside());
        Ok(())
    }

    unsafe fn follow(&self, stream: Stream, _: Event) -> Result<(), CudaError> {
        self.inside().counts.stream = stream.0;
        Ok(())
    }

    unsafe fn synchronize(&self, _: Stream) -> Result<(), CudaError> {
        self.inside().counts.waits += 1;
        Ok(())
    }
}

/// The names of the entries.
fn entries(ptx: &str) -> Vec<String> {
    let after = ptx.lines().filter_map(|line| line.strip_prefix(ENTRY));
    after
        .filter_map(|rest| rest.split('(').next())
        .map(str::to_owned)
        .collect()
}

/// # Safety
///
/// The table has that word.
unsafe fn word(table: Address, n: usize) -> u64 {
    // SAFETY: by the caller's promise.
    unsafe { *(table as *const u64).add(n) }
}

/// # Safety
///
/// The bytes are readable.
unsafe fn read(at: Address, bytes: u64) -> Vec<u8> {
    // SAFETY: by the caller's promise.
    unsafe { std::slice::from_raw_parts(at as *const u8, bytes as usize) }.to_vec()
}

/// # Safety
///
/// The bytes are writable.
unsafe fn write(at: Address, bytes: &[u8]) {
    // SAFETY: by the caller's promise.
    unsafe { std::ptr::copy(bytes.as_ptr(), at as *mut u8, bytes.len()) }
}

/// Runs a map kernel over tensor `n`. A total goes whole to the first chunk, what is made of nothing to the others.
unsafe fn map(
    kernel: &MapKernel,
    operands: Address,
    scalars: Address,
    n: usize,
    [rows, cols]: [u64; 2],
    items: u64,
) {
    let unit = if kernel.space == Space::Flat {
        CHUNK
    } else {
        ROW_CHUNK
    };
    assert_eq!(items, rows.div_ceil(unit), "work items");
    let count = kernel.inputs.len() + kernel.outputs.len();
    // SAFETY: `launch` promises the tables and the tensors that they speak of.
    unsafe {
        let at = |operand: usize| word(operands, n * count + operand);
        let inputs: Vec<Vec<f64>> = (kernel.inputs.iter().enumerate())
            .map(|(i, input)| {
                let count = match input.access {
                    Access::Full => rows * cols,
                    Access::Row => rows,
                    Access::Col => cols,
                    Access::One => 1,
                };
                input.dtype.decode(&read(at(i), count * input.dtype.size()))
            })
            .collect();
        let inputs: Vec<&[f64]> = inputs.iter().map(Vec::as_slice).collect();
        let scalars: Vec<f64> = (0..kernel.scalars as usize)
            .map(|s| f64::from_bits(word(scalars, n * kernel.scalars as usize + s)))
            .collect();
        let results = kernel_eval::run(kernel, &inputs, &scalars, rows, cols);
        for (o, (output, values)) in kernel.outputs.iter().zip(results).enumerate() {
            let to = at(kernel.inputs.len() + o);
            match output.kind {
                OutputKind::Store | OutputKind::Cols(_) => write(to, &output.dtype.encode(&values)),
                OutputKind::All(_) | OutputKind::Rows(_) => {
                    let none = output.kind.fold().map_or(0.0, Fold::of_none);
                    let mut partial = vec![none; items as usize * values.len()];
                    partial
                        .iter_mut()
                        .zip(&values)
                        .for_each(|(partial, &value)| *partial = value);
                    write(to, &DType::F64.encode(&partial));
                }
            }
        }
    }
}

/// Runs one of the entries beside the map kernels over tensor `n`.
unsafe fn entry(
    name: &str,
    (operands, scalars): (Address, Address),
    n: usize,
    [rows, cols]: [u64; 2],
) {
    // SAFETY: `launch` promises the tables and the tensors that they speak of.
    unsafe {
        let [a, b] = [word(operands, 2 * n), word(operands, 2 * n + 1)].map(Pointer::on_device);
        let total = |fold: Fold, col: u64| {
            fold.of_all((0..rows).map(|c| moves::load(a, DType::F64, c * cols + col)))
        };
        let mut totals = Fold::BOTH
            .into_iter()
            .flat_map(|fold| support::TOTALS.map(|dtype| (fold, dtype)));
        if let Some((fold, dtype)) =
            totals.find(|&(fold, dtype)| support::totals_symbol(fold, dtype) == name)
        {
            return (0..cols).for_each(|col| moves::store(b, dtype, col, total(fold, col)));
        }
        let pairs = (0..cols as usize).rev().map(|axis| 2 * (n * AXES + axis));
        let axes = Axes::signed(pairs.map(|at| (word(scalars, at), word(scalars, at + 1) as i64)));
        let size = |symbol: fn(u64) -> String| {
            support::SIZES
                .into_iter()
                .find(|&size| symbol(size) == name)
        };
        match (size(support::gather_symbol), size(support::scatter_symbol)) {
            (Some(size), _) => moves::gather_strided(a, b, size, &axes),
            (_, Some(size)) => moves::scatter_strided(b, a, size, &axes),
            _ => panic!("no entry {name}"),
        }
    }
}
