//! A device and what is held on it: memory, modules, events. Everything is given back when it is dropped.

use super::driver::{Address, Api, Context, Driver, Event, Function, Module, Stream};
use super::error::CudaError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A device whose primary context is held: the one that LibTorch uses too, so memory of either is good for both.
///
/// ```no_run
/// use optc_runtime::cuda::{Device, Driver};
///
/// let device = Device::open(&Driver::system()?, 0)?;
/// let mut buffer = device.allocate(4)?;
/// buffer.upload(&[1, 2, 3, 4])?;
/// # Ok::<(), optc_runtime::cuda::CudaError>(())
/// ```
#[derive(Clone)]
pub struct Device(Arc<Held>);

struct Held {
    api: Arc<dyn Api>,
    context: Context,
    ordinal: u32,
    name: String,
    capability: (u32, u32),
    /// The stream of everything that is asked of the device.
    stream: AtomicUsize,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device(cuda:{}, {})", self.0.ordinal, self.0.name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.api.close(self.ordinal);
    }
}

/// The device's context is current on this thread while this lives.
pub(super) struct Entered<'a>(&'a dyn Api);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Device {
    /// Opens the device of that number.
    ///
    /// # Errors
    ///
    /// [`CudaError::NoDevice`], or the driver's own refusal.
    pub fn open(driver: &Driver, ordinal: u32) -> Result<Device, CudaError> {
        let opened = driver.0.open(ordinal)?;
        Ok(Device(Arc::new(Held {
            api: Arc::clone(&driver.0),
            context: opened.context,
            ordinal,
            name: opened.name,
            capability: opened.capability,
            stream: AtomicUsize::new(Stream::default().0),
        })))
    }

    /// Its number.
    pub fn ordinal(&self) -> u32 {
        self.0.ordinal
    }

    /// What the driver calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its compute capability: 9 and 0 for 9.0.
    pub fn capability(&self) -> (u32, u32) {
        self.0.capability
    }

    /// The stream in use.
    pub(crate) fn stream(&self) -> Stream {
        Stream(self.0.stream.load(Ordering::Relaxed))
    }

    pub(super) fn set_stream(&self, stream: Stream) {
        self.0.stream.store(stream.0, Ordering::Relaxed);
    }

    pub(crate) fn api(&self) -> &dyn Api {
        &*self.0.api
    }

    pub(super) fn enter(&self) -> Result<Entered<'_>, CudaError> {
        self.0.api.enter(self.0.context)?;
        Ok(Entered(&*self.0.api))
    }

    /// Runs what needs the context and cannot be reported: giving something back.
    fn give_back(&self, act: impl FnOnce(&dyn Api)) {
        if let Ok(_entered) = self.enter() {
            act(self.api());
        }
    }

    /// Memory that holds nothing in particular.
    ///
    /// # Errors
    ///
    /// [`CudaError::OutOfMemory`].
    pub fn allocate(&self, bytes: u64) -> Result<Buffer, CudaError> {
        let _entered = self.enter()?;
        let at = self.0.api.allocate(bytes)?;
        Ok(Buffer {
            device: self.clone(),
            at,
            bytes,
        })
    }

    /// Memory of zeros.
    pub(crate) fn zeroed(&self, bytes: u64) -> Result<Buffer, CudaError> {
        let buffer = self.allocate(bytes)?;
        let _entered = self.enter()?;
        // SAFETY: the whole pairs of bytes of a new buffer, and there is no odd one: tensors have even sizes.
        unsafe { self.0.api.fill(buffer.at, 2, bytes / 2, 0, self.stream())? };
        Ok(buffer)
    }

    /// Waits until the device has done everything that was asked on the stream in use.
    ///
    /// # Errors
    ///
    /// The failure of any of it.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        let _entered = self.enter()?;
        // SAFETY: whoever set the stream promised that it exists.
        unsafe { self.0.api.synchronize(self.stream()) }
    }

    pub(crate) fn load(&self, ptx: &str) -> Result<Code, CudaError> {
        let _entered = self.enter()?;
        let module = self.0.api.load(ptx)?;
        Ok(Code {
            device: self.clone(),
            module,
        })
    }

    pub(super) fn event(&self) -> Result<Mark, CudaError> {
        let _entered = self.enter()?;
        let event = self.0.api.event()?;
        Ok(Mark {
            device: self.clone(),
            event,
        })
    }

    pub(crate) fn pinned(&self, words: usize) -> Result<Pinned, CudaError> {
        let _entered = self.enter()?;
        let at = self.0.api.allocate_pinned(8 * words as u64)?;
        // SAFETY: that many bytes were just allocated; any bytes are numbers once they are set.
        unsafe { at.write_bytes(0, 8 * words) };
        Ok(Pinned {
            device: self.clone(),
            at,
            words,
        })
    }
}

/// Memory on a device.
#[derive(Debug)]
pub struct Buffer {
    device: Device,
    at: Address,
    bytes: u64,
}

impl Buffer {
    /// Where it is.
    pub fn address(&self) -> Address {
        self.at
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Replaces its first bytes.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    ///
    /// # Panics
    ///
    /// When it is smaller than `bytes`.
    pub fn upload(&mut self, bytes: &[u8]) -> Result<(), CudaError> {
        assert!(
            bytes.len() as u64 <= self.bytes,
            "more bytes than the buffer has"
        );
        let (api, stream) = (self.device.api(), self.device.stream());
        let _entered = self.device.enter()?;
        // SAFETY: both hold that many bytes, and are left alone until the stream is through.
        unsafe {
            api.upload(self.at, bytes.as_ptr(), bytes.len() as u64, stream)?;
            api.synchronize(stream)
        }
    }

    /// Its bytes, once everything asked of the device before is done.
    ///
    /// # Errors
    ///
    /// A failure of the device, now or since the last time.
    pub fn download(&self) -> Result<Vec<u8>, CudaError> {
        // SAFETY: a buffer's own bytes.
        unsafe { download(&self.device, self.at, self.bytes) }
    }
}

/// Bytes from an address of a device.
///
/// # Safety
///
/// They are readable.
pub(crate) unsafe fn download(
    device: &Device,
    from: Address,
    bytes: u64,
) -> Result<Vec<u8>, CudaError> {
    let mut host = vec![0; bytes as usize];
    let (api, stream) = (device.api(), device.stream());
    let _entered = device.enter()?;
    // SAFETY: by the caller's promise, and `host` is left alone until the stream is through.
    unsafe {
        api.download(host.as_mut_ptr(), from, bytes, stream)?;
        api.synchronize(stream)?;
    }
    Ok(host)
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `allocate` gave the address. The driver waits for work that is still to use it.
        self.device.give_back(|api| unsafe { api.free(self.at) });
    }
}

/// PTX, compiled for its device.
#[derive(Debug)]
pub(crate) struct Code {
    device: Device,
    module: Module,
}

impl Code {
    pub(crate) fn function(&self, name: &str) -> Result<Option<Function>, CudaError> {
        let _entered = self.device.enter()?;
        // SAFETY: the module is loaded while this lives.
        unsafe { self.device.api().function(self.module, name) }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: whoever has functions of it holds it, and `synchronize` says that none still runs.
        let unload = |api: &dyn Api| unsafe {
            if api.synchronize(self.device.stream()).is_ok() {
                api.unload(self.module);
            }
        };
        self.device.give_back(unload);
    }
}

/// A place in the stream that can be waited for.
#[derive(Debug)]
pub(super) struct Mark {
    device: Device,
    event: Event,
}

impl Mark {
    /// Behind all that was asked so far; the context is entered.
    pub(super) fn set(&self) -> Result<(), CudaError> {
        // SAFETY: the event lives while this does; whoever set the stream promised that it exists.
        unsafe { self.device.api().record(self.event, self.device.stream()) }
    }

    /// Until the device is there; the context is entered.
    pub(super) fn wait(&self) -> Result<(), CudaError> {
        // SAFETY: as above.
        unsafe { self.device.api().wait(self.event) }
    }

    /// The stream in use goes on only after it; the context is entered.
    pub(super) fn follow(&self) -> Result<(), CudaError> {
        // SAFETY: as above.
        unsafe { self.device.api().follow(self.device.stream(), self.event) }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: `event` gave it.
        self.device
            .give_back(|api| unsafe { api.destroy(self.event) });
    }
}

/// Words of host memory that a device reads by itself.
#[derive(Debug)]
pub(crate) struct Pinned {
    device: Device,
    at: *mut u8,
    words: usize,
}

// SAFETY: the memory is plain numbers that this value owns.
unsafe impl Send for Pinned {}
// SAFETY: a shared reference only reads.
unsafe impl Sync for Pinned {}

impl Pinned {
    pub(crate) fn words(&mut self) -> &mut [u64] {
        // SAFETY: that many words were allocated and set to 0; the driver aligns to more than a word.
        unsafe { std::slice::from_raw_parts_mut(self.at.cast(), self.words) }
    }

    pub(super) fn as_ptr(&self) -> *const u8 {
        self.at
    }

    /// Reads all words from a device, once everything asked of it before is done.
    ///
    /// # Safety
    ///
    /// As many are readable at `from`.
    pub(crate) unsafe fn download(&mut self, from: Address) -> Result<(), CudaError> {
        let (api, stream) = (self.device.api(), self.device.stream());
        let _entered = self.device.enter()?;
        // SAFETY: by the caller's promise; the words are left alone until the stream is through.
        unsafe {
            api.download(self.at, from, 8 * self.words as u64, stream)?;
            api.synchronize(stream)
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: `pinned` allocated it, and no copy reads it once the stream is through or has failed.
        let free = |api: &dyn Api| unsafe {
            let _ = api.synchronize(self.device.stream());
            api.free_pinned(self.at);
        };
        self.device.give_back(free);
    }
}
