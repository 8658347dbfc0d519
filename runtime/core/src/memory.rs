//! Aligned, zeroed memory for state and scratch, and pointers that cross threads.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

/// Every buffer starts on a cache line, which is also the widest vector.
pub(crate) const ALIGN: usize = 64;

/// Bytes on a cache line boundary, zero at first.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is plain bytes that this value owns.
unsafe impl Send for Memory {}
// SAFETY: a shared reference gives out only its address; who uses it says why.
unsafe impl Sync for Memory {}

impl Memory {
    /// `None` when there is not that much.
    pub(crate) fn zeroed(bytes: u64) -> Option<Memory> {
        let bytes = usize::try_from(bytes).ok()?;
        if bytes == 0 {
            let start = NonNull::new(ALIGN as *mut u8)?;
            return Some(Memory { start, bytes });
        }
        let layout = Layout::from_size_align(bytes, ALIGN).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Memory { start, bytes })
    }

    pub(crate) fn pointer(&self) -> Pointer {
        Pointer(self.start.as_ptr())
    }


    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `bytes` bytes are allocated and were zeroed; writers hold a mutable borrow of the optimizer.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let (true, Ok(layout)) = (self.bytes > 0, Layout::from_size_align(self.bytes, ALIGN)) {
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

/// An address that may be used on any thread; whoever dereferences it says why that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pointer(pub(crate) *mut u8);

// SAFETY: an address alone does nothing.
unsafe impl Send for Pointer {}
// SAFETY: as above.
unsafe impl Sync for Pointer {}

impl Pointer {
    pub(crate) const NULL: Pointer = Pointer(std::ptr::null_mut());

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
        for bytes in [0u64, 1, 63, 64, 4096] {
            let memory = Memory::zeroed(bytes).unwrap();
            assert_eq!(memory.pointer().0 as usize % ALIGN, 0);
            assert_eq!(memory.as_slice(), vec![0; bytes as usize]);
        }
    }

    #[test]
    fn too_much_is_none() {
        assert!(Memory::zeroed(u64::MAX).is_none());
        assert!(Memory::zeroed(1 << 62).is_none());
    }
}
