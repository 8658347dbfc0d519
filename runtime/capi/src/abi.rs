//! Pointers and structs of C: what is checked before anything is read.
//!
//! A struct begins with its size as its user was compiled. A smaller one is an older one, whose missing members are
//! zero; in a larger one all that this library does not know must be zero. Zero always means the default.

use crate::error::Failure;
use std::mem::MaybeUninit;

/// A struct that begins with `size_t struct_size`.
///
/// # Safety
///
/// `repr(C)`, the first member is a `usize`, and any bytes are a value.
pub(crate) unsafe trait Versioned: Copy {
    /// Its name in C.
    const NAME: &'static str;
}

/// Larger structs are garbage, not a later version.
const LARGEST: usize = 4096;

pub(crate) fn null(what: &str) -> Failure {
    let message = format!("`{what}` is null");
    Failure::argument(
        "null",
        message,
        "only what the header calls optional may be null",
    )
}

fn unusable(what: &str, why: &str) -> Failure {
    let message = format!("`{what}` {why}");
    Failure::argument(
        "pointer",
        message,
        "look at how the pointer or its count was made",
    )
}

/// What a handle or an out-parameter points to.
///
/// # Safety
///
/// Null, or a pointer to a `T` that lives and that nobody writes for `'a`.
pub(crate) unsafe fn reference<'a, T>(from: *const T, what: &str) -> Result<&'a T, Failure> {
    check_aligned(from, what)?;
    // SAFETY: aligned; null gives `None`; the rest is the caller's promise.
    unsafe { from.as_ref() }.ok_or_else(|| null(what))
}

/// Stores a value where the caller wants it.
///
/// # Safety
///
/// Null, or a pointer to memory of a `T` that is the caller's.
pub(crate) unsafe fn store<T>(to: *mut T, value: T, what: &str) -> Result<(), Failure> {
    check_aligned(to, what)?;
    if to.is_null() {
        return Err(null(what));
    }
    // SAFETY: not null, aligned, and the caller's memory.
    unsafe { to.write(value) };
    Ok(())
}

/// An array; null only if it is empty.
///
/// # Safety
///
/// Null, or a pointer to that many values that nobody writes for `'a`.
pub(crate) unsafe fn slice<'a, T>(
    from: *const T,
    count: usize,
    what: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if from.is_null() {
        return Err(null(what));
    }
    check_aligned(from, what)?;
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(unusable(what, "has an impossible count"));
    }
    // SAFETY: not null, aligned, no longer than memory is; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(from, count) })
}

fn check_aligned<T>(from: *const T, what: &str) -> Result<(), Failure> {
    match from.is_aligned() {
        true => Ok(()),
        false => Err(unusable(what, "is not aligned")),
    }
}

/// A struct, in the version that this library knows.
///
/// # Safety
///
/// Null, or a pointer to as many readable bytes as its first member says.
pub(crate) unsafe fn read<T: Versioned>(from: *const T) -> Result<T, Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_struct(from) }?;
    let (bytes, known) = (from.cast::<u8>(), size.min(size_of::<T>()));
    // SAFETY: `size` bytes are readable, by the caller's promise.
    let rest = unsafe { std::slice::from_raw_parts(bytes.add(known), size - known) };
    if rest.iter().any(|&byte| byte != 0) {
        let message = format!("`{}` has members that this library does not know", T::NAME);
        return Err(Failure::argument(
            "struct_size",
            message,
            "link with the library of your header",
        ));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: both are `known` bytes long, and any bytes are a value.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast(), known);
        Ok(value.assume_init())
    }
}

/// An array of structs, which lie as far apart as the first one says.
///
/// # Safety
///
/// Null, or a pointer to that many structs of one size.
pub(crate) unsafe fn read_all<T: Versioned>(
    from: *const T,
    count: usize,
    what: &str,
) -> Result<Vec<T>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_struct(from) }?;
    if count > isize::MAX as usize / size {
        return Err(unusable(what, "has an impossible count"));
    }
    let at = |n: usize| from.wrapping_byte_add(n * size);
    // SAFETY: inside the array, by the caller's promise.
    (0..count).map(|n| unsafe { read(at(n)) }).collect()
}

/// Fills a struct of the caller's, as much of it as the caller knows.
///
/// # Safety
///
/// Null, or a pointer to as many writable bytes as its first member says.
pub(crate) unsafe fn write<T: Versioned>(to: *mut T, value: &T) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let size = unsafe { size_of_struct(to) }?;
    let (first, known) = (size_of::<usize>(), size.min(size_of::<T>()));
    let (bytes, value) = (to.cast::<u8>(), std::ptr::from_ref(value).cast::<u8>());
    // SAFETY: both have `known` bytes; the first member is the caller's. What the caller has beyond is zero.
    unsafe {
        std::ptr::copy_nonoverlapping(value.add(first), bytes.add(first), known - first);
        bytes.add(known).write_bytes(0, size - known);
    }
    Ok(())
}

/// # Safety
///
/// Null, or a pointer to a readable `usize`.
unsafe fn size_of_struct<T: Versioned>(at: *const T) -> Result<usize, Failure> {
    // SAFETY: the caller's promise.
    let size = *unsafe { reference(at.cast::<usize>(), T::NAME) }?;
    if (size_of::<usize>()..=LARGEST).contains(&size) && size.is_multiple_of(align_of::<T>()) {
        return Ok(size);
    }
    let message = format!("`struct_size` of `{}` is {size}", T::NAME);
    Err(Failure::argument(
        "struct_size",
        message,
        "set it to the `sizeof` of the struct",
    ))
}
