//! The parameters of an optimizer and their state: what there is, how far it is, and state that the caller keeps.

use crate::abi::{self, Versioned};
use crate::error::{Failure, Status, guard};
use crate::optimizer::Optimizer;
use crate::rules::at;
use crate::tensor::{Checked, Tensor, dtype_number};
use crate::text::owned;
use optc_runtime::{Optimizer as Bound, StateView, TensorView};
use std::borrow::Cow;
use std::ffi::{CString, c_char, c_void};

/// In place of a number of steps: the state has not begun.
pub const OPTC_NOT_BEGUN: u64 = u64::MAX;

/// A bound parameter.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ParamInfo {
    /// `sizeof(optc_param_info)`, set by the caller.
    pub struct_size: usize,
    /// Its name; valid as long as the optimizer.
    pub name: *const c_char,
    /// Its rule; valid as long as the optimizer.
    pub rule: *const c_char,
    /// Its group.
    pub group: usize,
    /// How many pieces of state it has.
    pub state_count: usize,
    /// Whether it takes part in a step without a gradient: its rule says `absent grad: zeros`.
    pub steps_without_gradient: bool,
}

/// A piece of a parameter's state.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StateInfo {
    /// `sizeof(optc_state_info)`, set by the caller.
    pub struct_size: usize,
    /// Its name in the rule, with its mode if it has one: `exp_avg`, `gram.0`. Valid as long as the optimizer.
    pub name: *const c_char,
    /// `rank` dimensions; valid as long as the optimizer.
    pub dims: *const i64,
    /// The number of axes.
    pub rank: usize,
    /// Its element type.
    pub dtype: i32,
    /// Its elements, row-major; null on a device, and while the caller keeps the state and has not lent it. Read
    /// them only while no step, load or free runs.
    pub data: *const c_void,
    /// How many bytes.
    pub bytes: usize,
}

// SAFETY: `repr(C)`, the size comes first, and it is written, never read.
unsafe impl Versioned for ParamInfo {
    const NAME: &'static str = "optc_param_info";
}

// SAFETY: `repr(C)`, the size comes first, pointers and integers may have any bytes.
unsafe impl Versioned for StateInfo {
    const NAME: &'static str = "optc_state_info";
}

/// What is known of a parameter for good.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) name: CString,
    rule: CString,
    group: usize,
    always: bool,
    states: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    name: CString,
    dims: Vec<i64>,
    dtype: i32,
    bytes: usize,
}

impl Known {
    pub(crate) fn all(bound: &Bound) -> Vec<Known> {
        let rules = &bound.report().rules;
        let each = rules.iter().enumerate().map(|(n, (name, rule))| Known {
            name: owned(name),
            rule: owned(rule),
            group: bound.group_of(n).unwrap_or_default(),
            always: bound.steps_without_gradient(n),
            states: bound
                .state_layout(n)
                .map(|(name, dtype, dims)| Piece {
                    name: owned(name),
                    dims: dims.iter().map(|&dim| dim as i64).collect(),
                    dtype: dtype_number(dtype),
                    bytes: (dims.iter().product::<u64>() * dtype.size()) as usize,
                })
                .collect(),
        });
        each.collect()
    }
}

/// How many parameters are bound.
///
/// Errors: `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_param_count(optimizer: *const Optimizer, out: *mut usize) -> Status {
    // SAFETY: the caller's promise.
    guard(|| unsafe { abi::store(out, Optimizer::of(optimizer)?.params.len(), "out") })
}

/// A parameter, by its position in `optc_bind`.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_param_get(
    optimizer: *const Optimizer,
    param: usize,
    out: *mut ParamInfo,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let known = at(
            unsafe { &Optimizer::of(optimizer)?.params },
            param,
            "parameter",
        )?;
        let info = ParamInfo {
            struct_size: size_of::<ParamInfo>(),
            name: known.name.as_ptr(),
            rule: known.rule.as_ptr(),
            group: known.group,
            state_count: known.states.len(),
            steps_without_gradient: known.always,
        };
        // SAFETY: the caller's promise.
        unsafe { abi::write(out, &info) }
    })
}

/// A piece of a parameter's state, both by position.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter or piece.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_state_get(
    optimizer: *const Optimizer,
    param: usize,
    state: usize,
    out: *mut StateInfo,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let optimizer = unsafe { Optimizer::of(optimizer) }?;
        let piece = at(
            &at(&optimizer.params, param, "parameter")?.states,
            state,
            "state",
        )?;
        let bound = optimizer.lock();
        let view = bound.states_at(param).nth(state);
        let info = StateInfo {
            struct_size: size_of::<StateInfo>(),
            name: piece.name.as_ptr(),
            dims: piece.dims.as_ptr(),
            rank: piece.dims.len(),
            dtype: piece.dtype,
            data: view.map_or(Ok(std::ptr::null()), place)?,
            bytes: piece.bytes,
        };
        // SAFETY: the caller's promise.
        unsafe { abi::write(out, &info) }
    })
}

/// Where state is in host memory; null for a device's.
fn place(view: StateView<'_>) -> Result<*const c_void, Failure> {
    Ok(match view.bytes()? {
        Cow::Borrowed(bytes) => bytes.as_ptr().cast(),
        Cow::Owned(_) => std::ptr::null(),
    })
}

/// Steps that a parameter has taken.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_step_count(
    optimizer: *const Optimizer,
    param: usize,
    out: *mut u64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let optimizer = unsafe { Optimizer::of(optimizer) }?;
        at(&optimizer.params, param, "parameter")?;
        let steps = optimizer.lock().step_at(param).unwrap_or_default();
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, steps, "out") }
    })
}

/// Lends the state of a parameter of an optimizer that was bound with `state_is_lent`, with the steps that it has
/// taken: one contiguous tensor for each piece, as `optc_state_get` describes them, for the next `optc_step`,
/// `optc_run_entry` or `optc_save`. With `OPTC_NOT_BEGUN` for `step` it is zeros, and the step or entry fills it; an
/// entry may begin it before the first step, which `optc_state_begun` tells.
///
/// The loan ends when `optc_step`, `optc_run_entry` or `optc_reclaim_state` returns.
///
/// Errors: `OPTC_STATUS_STEP`: other tensors, or an optimizer that keeps its state itself; `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `states` has `count` pointers; the memory of every tensor is there and nobody else uses it until the loan ends.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_lend_state(
    optimizer: *mut Optimizer,
    param: usize,
    step: u64,
    states: *const *const Tensor,
    count: usize,
) -> Status {
    guard(|| {
        // SAFETY: all by the caller's promise.
        unsafe {
            let optimizer = Optimizer::of(optimizer)?;
            let states = abi::slice(states, count, "states")?;
            let what = || "a piece of state".to_owned();
            let states = states.iter().map(|&state| Checked::read(state, what));
            let states = states.collect::<Result<Vec<Checked<'_>>, Failure>>()?;
            let views: Vec<TensorView<'_>> = states.iter().map(|state| state.view()).collect();
            let step = (step != OPTC_NOT_BEGUN).then_some(step);
            Ok(optimizer.lock().lend_state(param, step, &views)?)
        }
    })
}

/// Whether the state of a parameter has begun: a step or an entry has filled it.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a truth value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_state_begun(
    optimizer: *const Optimizer,
    param: usize,
    out: *mut bool,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let optimizer = unsafe { Optimizer::of(optimizer) }?;
        at(&optimizer.params, param, "parameter")?;
        let begun = optimizer.lock().has_begun(param);
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, begun, "out") }
    })
}

/// Ends the loan of all state, where no step has.
///
/// Errors: `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_reclaim_state(optimizer: *mut Optimizer) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { Optimizer::of(optimizer) }?.lock().reclaim_state();
        Ok(())
    })
}
