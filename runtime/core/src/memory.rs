//! Aligned, zeroed memory for state and scratch, and pointers that cross threads.
//!
//! Large buffers are mapped: their pages are taken when first touched, and the system is asked for huge ones.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Every buffer starts on a cache line, which is also the widest vector.
pub(crate) const ALIGN: usize = 64;

/// Buffers from this size on are mapped.
const LARGE: usize = 1 << 20;

/// Bytes on a cache line boundary, zero at first.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    mapped: bool,
}

// SAFETY: the memory is plain bytes that this value owns.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives out only its address; who uses it says why.
unsafe impl Sync for Memory {}

impl Memory {
    /// `None` when there is not that much.
    pub(crate) fn zeroed(bytes: u64) -> Option<Memory> {
        let bytes = usize::try_from(bytes)
            .ok()
            .filter(|&bytes| bytes <= isize::MAX as usize - ALIGN)?;
        if bytes >= LARGE
            && let Some(start) = map(bytes)
        {
            return Some(Memory {
                start,
                bytes,
                mapped: true,
            });
        }
        let layout = Layout::from_size_align(bytes.max(1), ALIGN).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Memory {
            start,
            bytes,
            mapped: false,
        })
    }

    pub(crate) fn pointer(&self) -> Pointer {
        Pointer(self.start.as_ptr())
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `bytes` bytes are there and were zeroed; writers hold a mutable borrow of the optimizer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.mapped {
            // SAFETY: mapped in `zeroed` with this length.
            unsafe { unmap(self.start, self.bytes) };
        } else if let Ok(layout) = Layout::from_size_align(self.bytes.max(1), ALIGN) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

#[cfg(unix)]
fn map(bytes: usize) -> Option<NonNull<u8>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the system's choice overlaps nothing.
    let start =
        unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }.ok()?;
    advise_huge(start, bytes);
    NonNull::new(start.cast())
}

#[cfg(target_os = "linux")]
fn advise_huge(start: *mut std::ffi::c_void, bytes: usize) {
    // SAFETY: the advice concerns a mapping that was just made. Where it is not taken, pages are small.
    let _ = unsafe { rustix::mm::madvise(start, bytes, rustix::mm::Advice::LinuxHugepage) };
}

#[cfg(all(unix, not(target_os = "linux")))]
fn advise_huge(_start: *mut std::ffi::c_void, _bytes: usize) {}

/// # Safety
///
/// `map` returned this address for this length, and nobody uses it any more.
#[cfg(unix)]
unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
    // SAFETY: by the caller's promise. A failure would leave the mapping, which harms nobody.
    let _ = unsafe { rustix::mm::munmap(start.as_ptr().cast(), bytes) };
}

#[cfg(not(unix))]
fn map(_bytes: usize) -> Option<NonNull<u8>> {
    None
}

/// # Safety
///
/// Never called, since nothing is mapped here.
#[cfg(not(unix))]
unsafe fn unmap(_start: NonNull<u8>, _bytes: usize) {}

/// An address that may be used on any thread; whoever dereferences it says why that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pointer(pub(crate) *mut u8);

// SAFETY: an address alone does nothing.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Pointer {
    pub(crate) const NULL: Pointer = Pointer(std::ptr::null_mut());

    /// An address of a device, which the host must not touch.
    pub(crate) fn on_device(address: u64) -> Pointer {
        Pointer(address as *mut u8)
    }

    /// The address as a number, as a device wants it.
    pub(crate) fn address(self) -> u64 {
        self.0 as u64
    }

    /// The address `bytes` further on.
    pub(crate) fn plus(self, bytes: u64) -> Pointer {
        Pointer(self.0.wrapping_add(bytes as usize))
    }
}

/// `bytes` rounded up to a cache line.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_zero() {
        for bytes in [0u64, 1, 63, 64, 4096, LARGE as u64, 3 << 20] {
            let mut memory = Memory::zeroed(bytes).unwrap();
            assert_eq!(memory.pointer().0 as usize % ALIGN, 0);
            assert!(memory.as_slice().iter().all(|&byte| byte == 0));
            memory.as_mut_slice().fill(1);
            assert_eq!(memory.as_slice().len() as u64, bytes);
        }
    }

    #[test]
    fn too_much_is_none() {
        assert!(Memory::zeroed(u64::MAX).is_none());
        assert!(Memory::zeroed(1 << 62).is_none());
    }
}
