//! A `libcuda.so.1` whose device is the host: what the runtime, C, C++ and Python do with a GPU, on a machine without.
//!
//! `OPTC_FAKE_CUDA` names the modules of the standard library whose kernels it can run, such as `std.adamw,std.lion`; it
//! runs them by their meaning and reads of PTX only the names of the entries. Streams are numbers; everything happens at
//! once. The names and types are those of `cuda.h`. Kernels are planned when one of them is launched, a type at a time.

use optc_runtime::cuda::driver::{Api, Context, Event, Function, Launch, Module, Opened};
use optc_runtime::cuda::fake::Fake;
use optc_runtime::cuda::{Address, CudaError, Stream};
use optc_tests::device::{DTYPES, kernels};
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::OnceLock;

const INVALID_VALUE: c_int = 1;
const OUT_OF_MEMORY: c_int = 2;
const INVALID_DEVICE: c_int = 101;
const INVALID_PTX: c_int = 218;
const NOT_FOUND: c_int = 500;

/// Bytes of each device.
const SIZE: u64 = 1 << 30;

fn driver() -> &'static Fake {
    static DRIVER: OnceLock<Fake> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let modules = std::env::var("OPTC_FAKE_CUDA").unwrap_or_default();
        let planned = DTYPES.into_iter().flat_map(move |dtype| {
            let modules = modules.split(',').filter(|module| !module.is_empty());
            let all = modules.flat_map(|module| kernels(module, &[dtype]).into_values());
            all.collect::<Vec<_>>()
        });
        Fake::new(planned, SIZE)
    })
}

fn stream(raw: usize) -> Stream {
    // SAFETY: nothing is done with a stream but to compare it.
    unsafe { Stream::from_raw(raw as *mut c_void) }
}

/// 0, or the number of the error.
fn status<T>(outcome: Result<T, CudaError>, done: impl FnOnce(T)) -> c_int {
    match outcome {
        Ok(value) => {
            done(value);
            0
        }
        Err(CudaError::OutOfMemory { .. }) => OUT_OF_MEMORY,
        Err(CudaError::NoDevice { .. }) => INVALID_DEVICE,
        Err(CudaError::Ptx { .. }) => INVALID_PTX,
        Err(_) => INVALID_VALUE,
    }
}

/// Exports functions of `cuda.h`, each by what it does with the driver.
macro_rules! exports {
    ($($(#[$note:meta])* $name:ident($($argument:ident: $type:ty),*) $body:block)*) => {
        $(
            /// A function of the driver.
            ///
            $(#[$note])*
            ///
            /// # Safety
            ///
            /// What `cuda.h` says of the arguments.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case, reason = "the driver's names")]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> c_int $body
        )*
    };
}

exports! {
    cuInit(_flags: c_uint) {
        driver();
        0
    }
    cuGetErrorName(status: c_int, name: *mut *const c_char) {
        let text = match status {
            INVALID_VALUE => c"CUDA_ERROR_INVALID_VALUE",
            OUT_OF_MEMORY => c"CUDA_ERROR_OUT_OF_MEMORY",
            INVALID_DEVICE => c"CUDA_ERROR_INVALID_DEVICE",
            INVALID_PTX => c"CUDA_ERROR_INVALID_PTX",
            _ => c"CUDA_ERROR_UNKNOWN",
        };
        // SAFETY: by the caller's promise.
        unsafe { *name = text.as_ptr() };
        0
    }
    cuDeviceGetCount(count: *mut c_int) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().device_count(), |devices| *count = devices as c_int) }
    }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        // SAFETY: by the caller's promise.
        unsafe { *device = ordinal };
        0
    }
    cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) {
        let text = c"fake".to_bytes_with_nul();
        // SAFETY: by the caller's promise.
        unsafe { ptr::copy(text.as_ptr(), name.cast(), text.len().min(length as usize)) };
        0
    }
    cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) {
        // Compute capability 9.0: the major is attribute 75.
        let answer = if attribute == 75 { 9 } else { 0 };
        // SAFETY: by the caller's promise.
        unsafe { *value = answer };
        0
    }
    cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().open(device as u32), |Opened { context: opened, .. }| *context = opened.0) }
    }
    cuDevicePrimaryCtxRelease_v2(device: c_int) {
        driver().close(device as u32);
        0
    }
    cuCtxPushCurrent_v2(context: usize) {
        status(driver().enter(Context(context)), drop)
    }
    cuCtxPopCurrent_v2(context: *mut usize) {
        driver().leave();
        // SAFETY: by the caller's promise.
        unsafe { *context = 0 };
        0
    }
    cuModuleLoadDataEx(
        module: *mut usize,
        ptx: *const c_char,
        _count: c_uint,
        _options: *mut c_int,
        _values: *mut *mut c_void
    ) {
        // SAFETY: by the caller's promise.
        let text = unsafe { CStr::from_ptr(ptx) }.to_string_lossy();
        // SAFETY: as above.
        unsafe { status(driver().load(&text), |loaded| *module = loaded.0) }
    }
    cuModuleUnload(module: usize) {
        // SAFETY: by the caller's promise.
        unsafe { driver().unload(Module(module)) };
        0
    }
    cuModuleGetFunction(function: *mut usize, module: usize, name: *const c_char) {
        // SAFETY: by the caller's promise.
        unsafe {
            let name = CStr::from_ptr(name).to_string_lossy();
            match driver().function(Module(module), &name) {
                Ok(None) => NOT_FOUND,
                found => status(found, |found| *function = found.map_or(0, |found| found.0)),
            }
        }
    }
    cuMemAlloc_v2(at: *mut Address, bytes: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().allocate(bytes as u64), |memory| *at = memory) }
    }
    cuMemFree_v2(at: Address) {
        // SAFETY: by the caller's promise.
        unsafe { driver().free(at) };
        0
    }
    cuMemHostAlloc(at: *mut *mut u8, bytes: usize, _flags: c_uint) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().allocate_pinned(bytes as u64), |memory| *at = memory) }
    }
    cuMemFreeHost(at: *mut u8) {
        // SAFETY: by the caller's promise.
        unsafe { driver().free_pinned(at) };
        0
    }
    cuMemcpyHtoDAsync_v2(to: Address, from: *const u8, bytes: usize, on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().upload(to, from, bytes as u64, stream(on)), drop) }
    }
    cuMemcpyDtoHAsync_v2(to: *mut u8, from: Address, bytes: usize, on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().download(to, from, bytes as u64, stream(on)), drop) }
    }
    cuMemcpyDtoDAsync_v2(to: Address, from: Address, bytes: usize, on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().copy(to, from, bytes as u64, stream(on)), drop) }
    }
    cuMemsetD16Async(at: Address, value: u16, count: usize, on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().fill(at, 2, count as u64, value.into(), stream(on)), drop) }
    }
    cuMemsetD32Async(at: Address, value: c_uint, count: usize, on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().fill(at, 4, count as u64, value.into(), stream(on)), drop) }
    }
    cuMemsetD2D32Async(at: Address, pitch: usize, value: c_uint, width: usize, height: usize, on: usize) {
        let fill = |n: usize| {
            let row = at + (n * pitch) as Address;
            // SAFETY: by the caller's promise.
            unsafe { driver().fill(row, 4, width as u64, value.into(), stream(on)) }
        };
        status((0..height).try_for_each(fill), drop)
    }
    cuLaunchKernel(
        function: usize,
        blocks: c_uint,
        _blocks_y: c_uint,
        _blocks_z: c_uint,
        _threads: c_uint,
        _threads_y: c_uint,
        _threads_z: c_uint,
        _shared: c_uint,
        on: usize,
        arguments: *mut *mut c_void,
        _extra: *mut *mut c_void
    ) {
        // SAFETY: by the caller's promise.
        unsafe {
            let table = |n: usize| *(*arguments.add(n)).cast::<Address>();
            let launch = Launch {
                function: Function(function),
                blocks,
                tables: [table(0), table(1), table(2), table(3)],
                tensors: *(*arguments.add(4)).cast::<u32>(),
            };
            status(driver().launch(&launch, stream(on)), drop)
        }
    }
    cuEventCreate(event: *mut usize, _flags: c_uint) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().event(), |made| *event = made.0) }
    }
    cuEventDestroy_v2(event: usize) {
        // SAFETY: by the caller's promise.
        unsafe { driver().destroy(Event(event)) };
        0
    }
    cuEventRecord(event: usize, on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().record(Event(event), stream(on)), drop) }
    }
    cuEventSynchronize(event: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().wait(Event(event)), drop) }
    }
    cuStreamWaitEvent(on: usize, event: usize, _flags: c_uint) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().follow(stream(on), Event(event)), drop) }
    }
    cuStreamSynchronize(on: usize) {
        // SAFETY: by the caller's promise.
        unsafe { status(driver().synchronize(stream(on)), drop) }
    }

    /// Only here: the stream that was used last.
    optc_fake_cuda_stream(on: *mut usize) {
        // SAFETY: by the caller's promise.
        unsafe { *on = driver().counts().stream };
        0
    }
    /// Only here: launches so far.
    optc_fake_cuda_launches(count: *mut usize) {
        // SAFETY: by the caller's promise.
        unsafe { *count = driver().counts().launches };
        0
    }
}
