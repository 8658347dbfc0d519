//! What the runtime asks of a CUDA driver, and the handles that it answers with.
//!
//! [`Api`] has one method per thing that is asked, not one per function of the driver, so that a test can put plain
//! memory in the driver's place. A method that touches device memory or a handle is unsafe: a driver checks neither.

use super::error::CudaError;
use super::library::Library;
use std::ffi::{OsStr, c_void};
use std::fmt;
use std::sync::Arc;

/// An address in the memory of a device.
pub type Address = u64;

/// A CUDA driver: what parameters on a GPU are bound with.
///
/// ```no_run
/// use optc_runtime::cuda::Driver;
/// use optc_runtime::BindOptions;
///
/// let options = BindOptions { cuda: Some(Driver::system()?), ..BindOptions::default() };
/// # Ok::<(), optc_runtime::cuda::CudaError>(())
/// ```
#[derive(Clone)]
pub struct Driver(pub(super) Arc<dyn Api>);

impl Driver {
    /// The driver of this machine. `bind` takes it by itself where a parameter is on a CUDA device.
    ///
    /// # Errors
    ///
    /// [`CudaError::NoDriver`], [`CudaError::OldDriver`], or the driver's own refusal to start.
    pub fn system() -> Result<Driver, CudaError> {
        // SAFETY: the file of this name is the system's driver, as it is for every CUDA program.
        unsafe { Driver::open(Library::NAME) }
    }

    /// The driver in that file.
    ///
    /// # Errors
    ///
    /// As for [`Driver::system`].
    ///
    /// # Safety
    ///
    /// The file is a CUDA driver; its code is run.
    pub unsafe fn open(path: impl AsRef<OsStr>) -> Result<Driver, CudaError> {
        // SAFETY: by the caller's promise.
        unsafe { Library::open(path.as_ref()) }.map(|library| Driver(Arc::new(library)))
    }

    /// How many devices the driver sees.
    ///
    /// # Errors
    ///
    /// The driver's refusal to count them.
    pub fn device_count(&self) -> Result<u32, CudaError> {
        self.0.device_count()
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

/// A stream of the primary context: the order in which a device does what it is given.
///
/// The default is the legacy default stream, which LibTorch uses too unless it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stream(pub(super) usize);

impl Stream {
    /// The stream of a raw handle (`CUstream`, `cudaStream_t`).
    ///
    /// # Safety
    ///
    /// It is a stream of the device's primary context, and stays one while an optimizer has it.
    pub unsafe fn from_raw(stream: *mut c_void) -> Stream {
        Stream(stream as usize)
    }
}

/// What is known about a device once it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub context: Context,
    /// What the driver calls it.
    pub name: String,
    /// Compute capability, as in 9.0.
    pub capability: (u32, u32),
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $($(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub usize);)*
    };
}

handles!(
    /// A device's primary context.
    Context,
    /// PTX that the driver has compiled.
    Module,
    /// An entry of a module.
    Function,
    /// A point in a stream.
    Event
);

/// One launch of an entry whose parameters are a table of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    pub function: Function,
    pub blocks: u32,
    /// Device addresses of operands, scalars, dims and starts.
    pub tables: [Address; 4],
    pub tensors: u32,
}

/// Threads per block of every entry; the compiler's `THREADS`.
pub(crate) const THREADS: u32 = 128;

/// The driver. Handles come from the same driver, and a context is entered wherever one is needed: everywhere but in
/// the first four methods.
pub trait Api: Send + Sync {
    /// Devices of this machine.
    fn device_count(&self) -> Result<u32, CudaError>;

    /// Retains the primary context of a device.
    fn open(&self, ordinal: u32) -> Result<Opened, CudaError>;

    /// Releases what `open` retained.
    fn close(&self, ordinal: u32);

    /// Makes a context this thread's current one, until the matching `leave`.
    fn enter(&self, context: Context) -> Result<(), CudaError>;

    /// Takes the current context off this thread.
    fn leave(&self);

    /// Compiles PTX for the device.
    fn load(&self, ptx: &str) -> Result<Module, CudaError>;

    /// # Safety
    ///
    /// The module is loaded and nothing runs any of its functions.
    unsafe fn unload(&self, module: Module);

    /// The entry of that name, if the module has it.
    ///
    /// # Safety
    ///
    /// The module is loaded.
    unsafe fn function(&self, module: Module, name: &str) -> Result<Option<Function>, CudaError>;

    /// Device memory.
    fn allocate(&self, bytes: u64) -> Result<Address, CudaError>;

    /// # Safety
    ///
    /// `allocate` gave this address, and it is not used again.
    unsafe fn free(&self, at: Address);

    /// Host memory that copies read without a stop.
    fn allocate_pinned(&self, bytes: u64) -> Result<*mut u8, CudaError>;

    /// # Safety
    ///
    /// `allocate_pinned` gave this address, and it is not used again.
    unsafe fn free_pinned(&self, at: *mut u8);

    /// Host to device.
    ///
    /// # Safety
    ///
    /// `bytes` bytes are readable and writable; pinned memory stays unchanged until the stream has come past.
    unsafe fn upload(
        &self,
        to: Address,
        from: *const u8,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError>;

    /// Device to host; complete once the stream is synchronised.
    ///
    /// # Safety
    ///
    /// `bytes` bytes are readable and writable until then.
    unsafe fn download(
        &self,
        to: *mut u8,
        from: Address,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError>;

    /// Device to device.
    ///
    /// # Safety
    ///
    /// `bytes` bytes are readable and writable.
    unsafe fn copy(
        &self,
        to: Address,
        from: Address,
        bytes: u64,
        stream: Stream,
    ) -> Result<(), CudaError>;

    /// Sets `count` elements of `size` bytes to the low bytes of `bits`.
    ///
    /// # Safety
    ///
    /// They are writable.
    unsafe fn fill(
        &self,
        at: Address,
        size: u64,
        count: u64,
        bits: u64,
        stream: Stream,
    ) -> Result<(), CudaError>;

    /// # Safety
    ///
    /// The tables describe tensors that exist, in the way of the entry.
    unsafe fn launch(&self, launch: &Launch, stream: Stream) -> Result<(), CudaError>;

    /// An event that counts as reached.
    fn event(&self) -> Result<Event, CudaError>;

    /// # Safety
    ///
    /// `event` gave it, and it is not used again.
    unsafe fn destroy(&self, event: Event);

    /// Puts the event behind what the stream was given so far.
    ///
    /// # Safety
    ///
    /// Both exist.
    unsafe fn record(&self, event: Event, stream: Stream) -> Result<(), CudaError>;

    /// Waits until the event is reached.
    ///
    /// # Safety
    ///
    /// It exists.
    unsafe fn wait(&self, event: Event) -> Result<(), CudaError>;

    /// Lets the stream go on only once the event is reached.
    ///
    /// # Safety
    ///
    /// Both exist.
    unsafe fn follow(&self, stream: Stream, event: Event) -> Result<(), CudaError>;

    /// Waits until the stream has done everything.
    ///
    /// # Safety
    ///
    /// It exists.
    unsafe fn synchronize(&self, stream: Stream) -> Result<(), CudaError>;
}
