//! The driver of the machine: `libcuda.so.1`, opened at run time, so that a program without a GPU needs none.
//!
//! Types and names are those of `cuda.h`; where a function has versions, the one that `cuda.h` of CUDA 12 means.

use super::driver::{
    Address, Api, Context, Event, Function, Launch, Module, Opened, Stream, THREADS,
};
use super::error::CudaError;
use crate::view::Device;
use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_uint, c_void};
use std::ptr;

/// `CUresult`; 0 is success.
type Status = c_int;

const OUT_OF_MEMORY: Status = 2;
const NOT_FOUND: Status = 500;
/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`, and the next is the minor.
const CAPABILITY: c_int = 75;
/// `CU_EVENT_DISABLE_TIMING`.
const NO_TIMING: c_uint = 2;
/// Bytes kept of what the driver's compiler writes.
const LOG: usize = 8192;

/// Declares the table of functions and how it is filled.
macro_rules! functions {
    ($($symbol:literal $name:ident($($ty:ty),*);)*) => {
        /// The driver's functions.
        struct Functions {
            $($name: unsafe extern "C" fn($($ty),*) -> Status,)*
        }

        impl Functions {
            /// # Safety
            ///
            /// The library is a CUDA driver.
            unsafe fn load(library: &libloading::Library) -> Result<Functions, CudaError> {
                Ok(Functions {
                    $($name: {
                        // SAFETY: the types are those of `cuda.h`, and the table lives no longer than the library.
                        let symbol = unsafe { library.get::<unsafe extern "C" fn($($ty),*) -> Status>($symbol) };
                        *symbol.map_err(|_| CudaError::OldDriver { function: $symbol })?
                    },)*
                })
            }
        }
    };
}

functions! {
    "cuInit" init(c_uint);
    "cuGetErrorName" error_name(Status, *mut *const c_char);
    "cuDeviceGetCount" device_count(*mut c_int);
    "cuDeviceGet" device_get(*mut c_int, c_int);
    "cuDeviceGetName" device_name(*mut c_char, c_int, c_int);
    "cuDeviceGetAttribute" device_attribute(*mut c_int, c_int, c_int);
    "cuDevicePrimaryCtxRetain" retain(*mut usize, c_int);
    "cuDevicePrimaryCtxRelease_v2" release(c_int);
    "cuCtxPushCurrent_v2" push(usize);
    "cuCtxPopCurrent_v2" pop(*mut usize);
    "cuModuleLoadDataEx" module_load(*mut usize, *const c_char, c_uint, *mut c_int, *mut *mut c_void);
    "cuModuleUnload" module_unload(usize);
    "cuModuleGetFunction" module_function(*mut usize, usize, *const c_char);
    "cuMemAlloc_v2" mem_alloc(*mut Address, usize);
    "cuMemFree_v2" mem_free(Address);
    "cuMemHostAlloc" host_alloc(*mut *mut u8, usize, c_uint);
    "cuMemFreeHost" host_free(*mut u8);
    "cuMemcpyHtoDAsync_v2" upload(Address, *const u8, usize, usize);
    "cuMemcpyDtoHAsync_v2" download(*mut u8, Address, usize, usize);
    "cuMemcpyDtoDAsync_v2" copy(Address, Address, usize, usize);
    "cuMemsetD16Async" set16(Address, u16, usize, usize);
    "cuMemsetD32Async" set32(Address, c_uint, usize, usize);
    "cuMemsetD2D32Async" set32_pitched(Address, usize, c_uint, usize, usize, usize);
    "cuLaunchKernel" launch(
        usize, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, usize, *mut *mut c_void, *mut *mut c_void
    );
    "cuEventCreate" event_create(*mut usize, c_uint);
    "cuEventDestroy_v2" event_destroy(usize);
    "cuEventRecord" event_record(usize, usize);
    "cuEventSynchronize" event_wait(usize);
    "cuStreamWaitEvent" stream_wait(usize, usize, c_uint);
    "cuStreamSynchronize" stream_synchronize(usize);
}

/// An open driver.
pub(super) struct Library {
    functions: Functions,
    #[expect(dead_code, reason = "keeps the functions loaded")]
    library: libloading::Library,
}

impl Library {
    /// Where the loader looks for the system's driver.
    #[cfg(not(windows))]
    pub(super) const NAME: &str = "libcuda.so.1";
    #[cfg(windows)]
    pub(super) const NAME: &str = "nvcuda.dll";

    /// # Safety
    ///
    /// The file is a CUDA driver.
    pub(super) unsafe fn open(path: &OsStr) -> Result<Library, CudaError> {
        // SAFETY: by the caller's promise.
        let library =
            unsafe { libloading::Library::new(path) }.map_err(|error| CudaError::NoDriver {
                path: path.to_string_lossy().into_owned(),
                message: message(&error),
            })?;
        // SAFETY: by the caller's promise.
        let functions = unsafe { Functions::load(&library) }?;
        let this = Library { functions, library };
        // SAFETY: the flags must be 0.
        this.check("cuInit", unsafe { (this.functions.init)(0) })?;
        Ok(this)
    }

    fn check(&self, call: &'static str, status: Status) -> Result<(), CudaError> {
        match status {
            0 => Ok(()),
            _ => Err(CudaError::Call {
                call,
                name: self.name(status),
            }),
        }
    }

    /// The driver's name for a status, as in `CUDA_ERROR_INVALID_VALUE`.
    fn name(&self, status: Status) -> String {
        let mut name = ptr::null();
        // SAFETY: the driver writes the address of a constant text, or null.
        unsafe {
            (self.functions.error_name)(status, &mut name);
            if name.is_null() {
                return format!("error {status}");
            }
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }

    fn device(&self, ordinal: u32) -> Result<c_int, CudaError> {
        let (mut device, count) = (0, self.device_count()?);
        if ordinal >= count {
            return Err(CudaError::NoDevice {
                device: Device::Cuda(ordinal),
                count,
            });
        }
        // SAFETY: the ordinal is below the count.
        let status = unsafe { (self.functions.device_get)(&mut device, ordinal as c_int) };
        self.check("cuDeviceGet", status).map(|()| device)
    }

    fn attribute(&self, device: c_int, attribute: c_int) -> Result<u32, CudaError> {
        let mut value = 0;
        // SAFETY: the device exists.
        let status = unsafe { (self.functions.device_attribute)(&mut value, attribute, device) };
        self.check("cuDeviceGetAttribute", status)
            .map(|()| value as u32)
    }

    fn device_name(&self, device: c_int) -> Result<String, CudaError> {
        let mut name = [0; 256];
        // SAFETY: the driver ends what it writes with 0, within the length given.
        let status = unsafe { (self.functions.device_name)(name.as_mut_ptr().cast(), 256, device) };
        self.check("cuDeviceGetName", status)?;
        Ok(text(&name))
    }

    fn allocated<T>(
        &self,
        call: &'static str,
        status: Status,
        bytes: u64,
        at: T,
    ) -> Result<T, CudaError> {
        match status {
            OUT_OF_MEMORY => Err(CudaError::OutOfMemory { bytes }),
            _ => self.check(call, status).map(|()| at),
        }
    }
}

/// What the loader says: libloading keeps it as the source of its own error.
fn message(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

/// The text before the first 0.
fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

impl Api for Library {
    fn device_count(&self) -> Result<u32, CudaError> {
        let mut count = 0;
        // SAFETY: the driver writes one number.
        let status = unsafe { (self.functions.device_count)(&mut count) };
        self.check("cuDeviceGetCount", status)
            .map(|()| count as u32)
    }

    fn open(&self, ordinal: u32) -> Result<Opened, CudaError> {
        let device = self.device(ordinal)?;
        let (major, minor) = (
            self.attribute(device, CAPABILITY)?,
            self.attribute(device, CAPABILITY + 1)?,
        );
        let (name, mut context) = (self.device_name(device)?, 0);
        // SAFETY: the device exists; `close` releases what is retained here.
        let status = unsafe { (self.functions.retain)(&mut context, device) };
        self.check("cuDevicePrimaryCtxRetain", status)?;
        Ok(Opened {
            context: Context(context),
            name,
            capability: (major, minor),
        })
    }

    fn close(&self, ordinal: u32) {
        if let Ok(device) = self.device(ordinal) {
            // SAFETY: `open` retained it. A failure means that the process is ending.
            unsafe { (self.functions.release)(device) };
        }
    }

    fn enter(&self, context: Context) -> Result<(), CudaError> {
        // SAFETY: the context is retained.
        self.check("cuCtxPushCurrent", unsafe {
            (self.functions.push)(context.0)
        })
    }

    fn leave(&self) {
        let mut context = 0;
        // SAFETY: `enter` pushed one.
        unsafe { (self.functions.pop)(&mut context) };
    }

    fn load(&self, ptx: &str) -> Result<Module, CudaError> {
        let failed = |name: String, log: String| CudaError::Ptx { name, log };
        let ptx = CString::new(ptx)
            .map_err(|_| failed("a byte of the text is 0".into(), String::new()))?;
        let (mut module, mut log) = (0, vec![0u8; LOG]);
        // `CU_JIT_ERROR_LOG_BUFFER` and its size, which goes where a pointer would.
        let mut options = [5, 6];
        let mut values = [log.as_mut_ptr().cast(), LOG as *mut c_void];
        let (options, values) = (options.as_mut_ptr(), values.as_mut_ptr());
        // SAFETY: two options with their values; the driver writes at most `LOG` bytes.
        let status =
            unsafe { (self.functions.module_load)(&mut module, ptx.as_ptr(), 2, options, values) };
        match status {
            0 => Ok(Module(module)),
            _ => Err(failed(self.name(status), text(&log))),
        }
    }

    unsafe fn unload(&self, module: Module) {
        // SAFETY: by the caller's promise. A failure means that the process is ending.
        unsafe { (self.functions.module_unload)(module.0) };
    }

    unsafe fn function(&self, module: Module, name: &str) -> Result<Option<Function>, CudaError> {
        let (mut function, Ok(name)) = (0, CString::new(name)) else {
            return Ok(None);
        };
        // SAFETY: by the caller's promise, and the name ends with 0.
        let status =
            unsafe { (self.functions.module_function)(&mut function, module.0, name.as_ptr()) };
        match status {
            NOT_FOUND => Ok(None),
            _ => self
                .check("cuModuleGetFunction", status)
                .map(|()| Some(Function(function))),
        }
    }

    fn allocate(&self, bytes: u64) -> Result<Address, CudaError> {
        let mut at = 0;
        // SAFETY: the driver writes one address. It refuses to allocate nothing.
        let status = unsafe { (self.functions.mem_alloc)(&mut at, bytes.max(1) as usize) };
        self.allocated("cuMemAlloc", status, bytes, at)
    }

    unsafe fn free(&self, at: Address) {
        // SAFETY: by the caller's promise. A failure means that the process is ending.
        unsafe { (self.functions.mem_free)(at) };
    }

    fn allocate_pinned(&self, bytes: u64) -> Result<*mut u8, CudaError> {
        let mut at = ptr::null_mut();
        // SAFETY: the driver writes one address.
        let status = unsafe { (self.functions.host_alloc)(&mut at, bytes.max(1) as usize, 0) };
        self.allocated("cuMemHostAlloc", status, bytes, at)
    }

    unsafe fn free_pinned(&self, at: *mut u8) {
        // SAFETY: by the caller's promise. A failure means that the process is ending.
        unsafe { (self.functions.host_free)(at) };
    }

    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: by the caller's promise.
        let status = unsafe { (self.functions.upload)(to, from, bytes as usize, stream.0) };
        self.check("cuMemcpyHtoDAsync", status)
    }

    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: by the caller's promise.
        let status = unsafe { (self.functions.download)(to, from, bytes as usize, stream.0) };
        self.check("cuMemcpyDtoHAsync", status)
    }

    unsafe fn copy(
        &self,
        to: Address,
        from: Address,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: by the caller's promise.
        let status = unsafe { (self.functions.copy)(to, from, bytes as usize, stream.0) };
        self.check("cuMemcpyDtoDAsync", status)
    }

    unsafe fn fill(
        &self,
        at: Address,
        size: u64,
        count: u64,
        bits: u64,
        stream: Stream,
    ) -> Result<(), CudaError> {
        if count == 0 {
            return Ok(());
        }
        let (n, stream, f) = (count as usize, stream.0, &self.functions);
        let [low, high] = [bits as c_uint, (bits >> 32) as c_uint];
        // SAFETY: by the caller's promise. There is no set of 8 bytes: unless both halves are equal, the low ones are
        // set as one column of a table with rows of 8 bytes, and the high ones as another.
        unsafe {
            match size {
                2 => self.check("cuMemsetD16Async", (f.set16)(at, bits as u16, n, stream)),
                4 => self.check("cuMemsetD32Async", (f.set32)(at, bits as c_uint, n, stream)),
                _ if low == high => {
                    self.check("cuMemsetD32Async", (f.set32)(at, low, 2 * n, stream))
                }
                _ => [(at, low), (at + 4, high)]
                    .into_iter()
                    .map(|(at, half)| (f.set32_pitched)(at, 8, half, 1, n, stream))
                    .try_for_each(|status| self.check("cuMemsetD2D32Async", status)),
            }
        }
    }

    unsafe fn launch(&self, launch: &Launch, stream: Stream) -> Result<(), CudaError> {
        let Launch {
            function,
            blocks,
            mut tables,
            mut tensors,
        } = *launch;
        let [a, b, c, d] = tables
            .each_mut()
            .map(|table| ptr::from_mut(table).cast::<c_void>());
        let mut params = [a, b, c, d, ptr::from_mut(&mut tensors).cast()];
        // SAFETY: the entry takes four addresses and a 32-bit number; the rest is the caller's promise.
        let status = unsafe {
            (self.functions.launch)(
                function.0,
                blocks,
                1,
                1,
                THREADS,
                1,
                1,
                0,
                stream.0,
                params.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        self.check("cuLaunchKernel", status)
    }

    fn event(&self) -> Result<Event, CudaError> {
        let mut event = 0;
        // SAFETY: the driver writes one handle.
        let status = unsafe { (self.functions.event_create)(&mut event, NO_TIMING) };
        self.check("cuEventCreate", status).map(|()| Event(event))
    }

    unsafe fn destroy(&self, event: Event) {
        // SAFETY: by the caller's promise. A failure means that the process is ending.
        unsafe { (self.functions.event_destroy)(event.0) };
    }

    unsafe fn record(&self, event: Event, stream: Stream) -> Result<(), CudaError> {
        // SAFETY: by the caller's promise.
        let status = unsafe { (self.functions.event_record)(event.0, stream.0) };
        self.check("cuEventRecord", status)
    }

    unsafe fn wait(&self, event: Event) -> Result<(), CudaError> {
        // SAFETY: by the caller's promise.
        self.check("cuEventSynchronize", unsafe {
            (self.functions.event_wait)(event.0)
        })
    }

    unsafe fn follow(&self, stream: Stream, event: Event) -> Result<(), CudaError> {
        // SAFETY: by the caller's promise; the flags must be 0.
        let status = unsafe { (self.functions.stream_wait)(stream.0, event.0, 0) };
        self.check("cuStreamWaitEvent", status)
    }

    unsafe fn synchronize(&self, stream: Stream) -> Result<(), CudaError> {
        // SAFETY: by the caller's promise.
        let status = unsafe { (self.functions.stream_synchronize)(stream.0) };
        self.check("cuStreamSynchronize", status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_driver_is_named() {
        // SAFETY: there is no such file.
        let error = unsafe { Library::open(OsStr::new("libcuda-of-nobody.so.1")) }.err();
        assert!(
            matches!(error, Some(CudaError::NoDriver { path, .. }) if path == "libcuda-of-nobody.so.1")
        );
    }

    #[test]
    fn a_library_that_is_no_driver_is_named() {
        // SAFETY: the C library is loaded anyway.
        let error = unsafe { Library::open(OsStr::new("libc.so.6")) }.err();
        assert!(matches!(
            error,
            Some(CudaError::OldDriver { function: "cuInit" })
        ));
    }
}
