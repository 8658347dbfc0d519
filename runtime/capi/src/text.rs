//! Texts of C: read as UTF-8, given as texts that end with NUL.

use crate::error::Failure;
use std::ffi::{CStr, CString, c_char};

/// A text; `what` names it in the message.
///
/// # Safety
///
/// Null, or a text that ends with NUL and stays as it is for `'a`.
pub(crate) unsafe fn required<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: the caller's promise.
    match unsafe { optional(text, what) }? {
        Some(text) => Ok(text),
        None => Err(crate::abi::null(what)),
    }
}

/// A text, or nothing for null.
///
/// # Safety
///
/// As for [`required`].
pub(crate) unsafe fn optional<'a>(
    text: *const c_char,
    what: &str,
) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, and the caller promises the NUL.
    let text = unsafe { CStr::from_ptr(text) };
    let not_text = |_| {
        let message = format!("`{what}` is not UTF-8");
        Failure::argument("text", message, "give names and sources as UTF-8")
    };
    text.to_str().map(Some).map_err(not_text)
}

/// A text for C. What follows a NUL in it is lost.
pub(crate) fn owned(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}
