//! Checkpoints: written and read by the optimizer, or read for a caller that keeps the state.

use crate::abi;
use crate::error::{Status, guard, quietly};
use crate::optimizer::Optimizer;
use crate::rules::{at, hand_out_box};
use crate::text;
use optc_runtime::Saved;
use std::ffi::{CString, c_char, c_void};

/// A checkpoint that was read, and fits the optimizer that it was read for.
#[derive(Debug)]
pub struct Checkpoint {
    saved: Saved,
    /// What migrations did, a line each.
    migrated: CString,
}

/// Writes state, step counts and hyperparameters as safetensors, keyed by parameter and state; what the file held
/// before is replaced at once or not at all. Parameters are the caller's to save. Where the caller keeps the state,
/// parameters whose state is not lent count as not stepped.
///
/// Errors: `OPTC_STATUS_CHECKPOINT`: the file cannot be written; `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library, `path` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_save(optimizer: *const Optimizer, path: *const c_char) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, path) =
            unsafe { (Optimizer::of(optimizer)?, text::required(path, "path")?) };
        Ok(optimizer.lock().save(path)?)
    })
}

/// Reads what `optc_save`, or the Rust or Python interface, wrote; the next step continues bit for bit. A file of an
/// earlier version of the rule is migrated as its source says; `optc_checkpoint_migrated` tells what that does.
///
/// Errors: `OPTC_STATUS_CHECKPOINT`: a damaged file, or one of another optimizer, other parameters, shapes or groups,
/// or of a version from which the source declares no migration; `OPTC_STATUS_ARGUMENT`. Nothing is changed then.
///
/// # Safety
///
/// `optimizer` is from this library, `path` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_load(optimizer: *mut Optimizer, path: *const c_char) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, path) =
            unsafe { (Optimizer::of(optimizer)?, text::required(path, "path")?) };
        optimizer.lock().load(path)?;
        Ok(())
    })
}

/// Reads a checkpoint and changes nothing: for a caller that keeps the state itself.
///
/// Errors: as `optc_load`.
///
/// # Safety
///
/// `optimizer` is from this library, `path` ends with NUL, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_read(
    optimizer: *const Optimizer,
    path: *const c_char,
    out: *mut *mut Checkpoint,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, path) =
            unsafe { (Optimizer::of(optimizer)?, text::required(path, "path")?) };
        let saved = optimizer.lock().read(path)?;
        // SAFETY: the caller's promise.
        unsafe { hand_out_box(Checkpoint::new(saved), out) }
    })
}

/// What `optc_save` writes, in memory: for a caller with a container of its own.
#[derive(Debug)]
pub struct Bytes(Vec<u8>);

/// Writes what `optc_save` does into memory.
///
/// Errors: `OPTC_STATUS_CHECKPOINT`, `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_save_bytes(
    optimizer: *const Optimizer,
    out: *mut *mut Bytes,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let bytes = unsafe { Optimizer::of(optimizer) }?.lock().to_bytes()?;
        // SAFETY: the same.
        unsafe { hand_out_box(Bytes(bytes), out) }
    })
}

/// Where the bytes are, and how many. Valid until they are freed.
///
/// Errors: `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `bytes` is from this library, `data` and `size` have place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_bytes_get(
    bytes: *const Bytes,
    data: *mut *const c_void,
    size: *mut usize,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe {
            let bytes = &abi::reference(bytes, "bytes")?.0;
            abi::store(data, bytes.as_ptr().cast(), "data")?;
            abi::store(size, bytes.len(), "size")
        }
    })
}

/// Frees bytes. Null is fine.
///
/// # Safety
///
/// Null, or bytes that are not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_bytes_free(bytes: *mut Bytes) {
    quietly(|| {
        if !bytes.is_null() {
            // SAFETY: made by `hand_out_box`, and nobody uses them any more.
            drop(unsafe { Box::from_raw(bytes) });
        }
    });
}

/// As `optc_checkpoint_read`, of what `optc_save_bytes` wrote; messages call it `name`. The bytes are copied.
///
/// Errors: as `optc_load`.
///
/// # Safety
///
/// `optimizer` is from this library, `name` ends with NUL, `data` has `size` bytes, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_read_bytes(
    optimizer: *const Optimizer,
    name: *const c_char,
    data: *const c_void,
    size: usize,
    out: *mut *mut Checkpoint,
) -> Status {
    guard(|| {
        // SAFETY: all by the caller's promise.
        unsafe {
            let optimizer = Optimizer::of(optimizer)?;
            let name = text::required(name, "name")?;
            let bytes = abi::slice(data.cast::<u8>(), size, "data")?.to_vec();
            let saved = optimizer.lock().read_bytes(name, bytes)?;
            hand_out_box(Checkpoint::new(saved), out)
        }
    })
}

impl Checkpoint {
    fn new(saved: Saved) -> Checkpoint {
        let migrated = text::owned(&saved.migrated().join("\n"));
        Checkpoint { saved, migrated }
    }
}

/// Frees a checkpoint. Null is fine.
///
/// # Safety
///
/// Null, or a checkpoint that is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_free(checkpoint: *mut Checkpoint) {
    quietly(|| {
        if !checkpoint.is_null() {
            // SAFETY: made by `hand_out_box`, and nobody uses it any more.
            drop(unsafe { Box::from_raw(checkpoint) });
        }
    });
}

/// What the source's migrations did to a file of an earlier version, a line each; empty for a file of this version.
/// Valid as long as the checkpoint.
///
/// Errors: `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `checkpoint` is from this library, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_migrated(
    checkpoint: *const Checkpoint,
    out: *mut *const c_char,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let checkpoint = unsafe { abi::reference(checkpoint, "checkpoint") }?;
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, checkpoint.migrated.as_ptr(), "out") }
    })
}

/// Steps that a parameter had taken, by its position.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
///
/// # Safety
///
/// `checkpoint` is from this library, `out` has place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_step(
    checkpoint: *const Checkpoint,
    param: usize,
    out: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let checkpoint = unsafe { abi::reference(checkpoint, "checkpoint") }?;
        let steps: Vec<u64> = checkpoint.saved.params().map(|param| param.step).collect();
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, *at(&steps, param, "parameter")?, "out") }
    })
}

/// The bytes of a piece of state, both by position, row-major; a parameter whose state had not begun has none, and null
/// is stored. Valid as long as the checkpoint.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter or piece.
///
/// # Safety
///
/// `checkpoint` is from this library, `data` and `bytes` have place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_state(
    checkpoint: *const Checkpoint,
    param: usize,
    state: usize,
    data: *mut *const c_void,
    bytes: *mut usize,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let checkpoint = unsafe { abi::reference(checkpoint, "checkpoint") }?;
        let params: Vec<_> = checkpoint.saved.params().collect();
        let states = &at(&params, param, "parameter")?.states;
        let found = match states.is_empty() {
            true => None,
            false => Some(*at(states, state, "state")?),
        };
        let start = found.map_or(std::ptr::null(), |found| found.as_ptr().cast());
        // SAFETY: the caller's promise.
        unsafe {
            abi::store(data, start, "data")?;
            abi::store(bytes, found.map_or(0, <[u8]>::len), "bytes")
        }
    })
}

/// A hyperparameter of a group, both by position; those behind the last are what the group's parameters share.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such group or hyperparameter.
///
/// # Safety
///
/// `checkpoint` is from this library, `out` has place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_checkpoint_hyper(
    checkpoint: *const Checkpoint,
    group: usize,
    index: usize,
    out: *mut f64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let checkpoint = unsafe { abi::reference(checkpoint, "checkpoint") }?;
        let hypers = at(checkpoint.saved.hypers(), group, "group")?;
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, *at(hypers, index, "hyperparameter")?, "out") }
    })
}
