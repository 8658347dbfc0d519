//! Loading: a file, a text or bytes → checked rules, which say what they are.

use crate::abi::{self, Versioned};
use crate::describe::{self, Described};
use crate::error::{Failure, Status, guard, quietly};
use crate::text;
use optc_runtime::Rules as Loaded;
use std::ffi::{c_char, c_void};

/// Checked rules, with machine code if they came from an artifact. Never changes: any number of threads may use it.
#[derive(Debug)]
pub struct Rules {
    pub(crate) loaded: Loaded,
    pub(crate) described: Vec<Described>,
}

/// A hyperparameter: a number that may change between steps.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Hyper {
    /// `sizeof(optc_hyper)`, set by the caller.
    pub struct_size: usize,
    /// Its name; valid as long as the rules.
    pub name: *const c_char,
    /// Its documentation; valid as long as the rules.
    pub docs: *const c_char,
    /// Its default.
    pub default_value: f64,
    /// The interval of values that it may have.
    pub lo: f64,
    /// See `lo`.
    pub hi: f64,
    /// Whether `lo` itself is allowed.
    pub lo_closed: bool,
    /// Whether `hi` itself is allowed.
    pub hi_closed: bool,
}

/// A static: a choice that is made when parameters are bound.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Static {
    /// `sizeof(optc_static)`, set by the caller.
    pub struct_size: usize,
    /// Its name; valid as long as the rules, as the other texts.
    pub name: *const c_char,
    /// Its documentation.
    pub docs: *const c_char,
    /// What it may be: `int in [1, inf)`, `bool`, `choice(a, b)`.
    pub type_name: *const c_char,
    /// Its default, as written in the source.
    pub default_value: *const c_char,
}

// SAFETY: `repr(C)`, the size comes first, and it is written, never read.
unsafe impl Versioned for Hyper {
    const NAME: &'static str = "optc_hyper";
}

// SAFETY: `repr(C)`, the size comes first, pointers may have any bytes.
unsafe impl Versioned for Static {
    const NAME: &'static str = "optc_static";
}

/// Loads whatever `path` names: a `.opt` file, a `.optc` artifact, or a rule of the standard library such as `adamw`
/// or `std.adamw`. Imports of a `.opt` file are looked for beside it.
///
/// An artifact is machine code that this program runs: open only files that you trust.
///
/// Errors: `OPTC_STATUS_LOAD` (no such file, mistakes in the source, a damaged artifact, one for another machine or
/// version), `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `path` is a text that ends with NUL, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_open(path: *const c_char, out: *mut *mut Rules) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let path = unsafe { text::required(path, "path") }?;
        // SAFETY: whoever names the file trusts it; the documentation says so.
        let loaded = unsafe { Loaded::open(path) }?;
        // SAFETY: the caller's promise.
        unsafe { hand_out(loaded, out) }
    })
}

/// Loads the text of a `.opt` file, which may import from the standard library. `name` is what messages call it.
///
/// Errors: `OPTC_STATUS_LOAD` with every mistake in the text, `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `name` and `text` end with NUL, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_from_source(
    name: *const c_char,
    text: *const c_char,
    out: *mut *mut Rules,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (name, text) =
            unsafe { (text::required(name, "name")?, text::required(text, "text")?) };
        // SAFETY: the caller's promise.
        unsafe { hand_out(Loaded::from_source(name, text)?, out) }
    })
}

/// Loads the bytes of an artifact, which are copied. They are machine code that this program runs.
///
/// Errors: as `optc_rules_open`.
///
/// # Safety
///
/// `bytes` points to `size` bytes, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_from_artifact(
    bytes: *const c_void,
    size: usize,
    out: *mut *mut Rules,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let bytes = unsafe { abi::slice(bytes.cast::<u8>(), size, "bytes") }?;
        // SAFETY: whoever gives the bytes trusts them; the documentation says so.
        let loaded = unsafe { Loaded::from_artifact(bytes) }?;
        // SAFETY: the caller's promise.
        unsafe { hand_out(loaded, out) }
    })
}

/// Frees rules; what was bound from them goes on. Null is fine.
///
/// # Safety
///
/// Null, or rules that are not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_free(rules: *mut Rules) {
    quietly(|| {
        if !rules.is_null() {
            // SAFETY: made by `hand_out`, and nobody uses it any more.
            drop(unsafe { Box::from_raw(rules) });
        }
    });
}

/// Name and documentation of an optimizer of the source, by its position. Each may be null if it is not wanted; the
/// texts are valid as long as the rules.
///
/// Errors: `OPTC_STATUS_ARGUMENT` from the last position on.
///
/// # Safety
///
/// `rules` is from this library; `name` and `docs` are null or have place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_optimizer(
    rules: *const Rules,
    optimizer: usize,
    name: *mut *const c_char,
    docs: *mut *const c_char,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let described = unsafe { find(rules, optimizer) }?;
        for (to, text) in [(name, &described.name), (docs, &described.docs)] {
            if !to.is_null() {
                // SAFETY: the caller's promise.
                unsafe { abi::store(to, text.as_ptr(), "name") }?;
            }
        }
        Ok(())
    })
}

/// A hyperparameter of an optimizer of the source, both by position.
///
/// Errors: `OPTC_STATUS_ARGUMENT` from the last position on.
///
/// # Safety
///
/// `rules` is from this library; `out` has its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_hyper(
    rules: *const Rules,
    optimizer: usize,
    index: usize,
    out: *mut Hyper,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let described = unsafe { find(rules, optimizer) }?;
        let hyper = at(&described.hypers, index, "hyperparameter")?;
        let value = Hyper {
            struct_size: size_of::<Hyper>(),
            name: hyper.name.as_ptr(),
            docs: hyper.docs.as_ptr(),
            default_value: hyper.default,
            lo: hyper.range.lo.0,
            hi: hyper.range.hi.0,
            lo_closed: hyper.range.lo_closed,
            hi_closed: hyper.range.hi_closed,
        };
        // SAFETY: the caller's promise.
        unsafe { abi::write(out, &value) }
    })
}

/// A static of an optimizer of the source, both by position.
///
/// Errors: `OPTC_STATUS_ARGUMENT` from the last position on.
///
/// # Safety
///
/// `rules` is from this library; `out` has its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_rules_static(
    rules: *const Rules,
    optimizer: usize,
    index: usize,
    out: *mut Static,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let described = unsafe { find(rules, optimizer) }?;
        let choice = at(&described.statics, index, "static")?;
        let value = Static {
            struct_size: size_of::<Static>(),
            name: choice.name.as_ptr(),
            docs: choice.docs.as_ptr(),
            type_name: choice.ty.as_ptr(),
            default_value: choice.default.as_ptr(),
        };
        // SAFETY: the caller's promise.
        unsafe { abi::write(out, &value) }
    })
}

/// # Safety
///
/// `out` has place for a pointer, or is null.
unsafe fn hand_out(loaded: Loaded, out: *mut *mut Rules) -> Result<(), Failure> {
    let described = describe::all(loaded.program());
    // SAFETY: the caller's promise.
    unsafe { hand_out_box(Rules { loaded, described }, out) }
}

/// Gives an object of ours to the caller.
///
/// # Safety
///
/// `out` has place for a pointer, or is null.
pub(crate) unsafe fn hand_out_box<T>(object: T, out: *mut *mut T) -> Result<(), Failure> {
    let place = Box::into_raw(Box::new(object));
    // SAFETY: the caller's promise.
    let stored = unsafe { abi::store(out, place, "out") };
    if stored.is_err() {
        // SAFETY: made above, and nobody else has it.
        drop(unsafe { Box::from_raw(place) });
    }
    stored
}

/// # Safety
///
/// Rules of this library, or null.
unsafe fn find<'a>(rules: *const Rules, optimizer: usize) -> Result<&'a Described, Failure> {
    // SAFETY: the caller's promise.
    let rules = unsafe { abi::reference(rules, "rules") }?;
    at(&rules.described, optimizer, "optimizer")
}

/// What is at a position.
pub(crate) fn at<'a, T>(all: &'a [T], index: usize, what: &str) -> Result<&'a T, Failure> {
    all.get(index).ok_or_else(|| {
        let message = format!("there is no {what} {index}");
        let help = format!("there are {}, counted from 0", all.len());
        Failure::argument("index", message, &help)
    })
}
