//! A bound optimizer: stepping, and the hyperparameters of its groups.

use crate::abi;
use crate::entry::Entry;
use crate::error::{Failure, Status, guard, quietly};
use crate::rules::at;
use crate::state::Known;
use crate::tensor::{Checked, OPTC_CUDA, Tensor, device};
use crate::text::{self, owned};
use optc_runtime::apart::{Part, clash_text, find_clash};
use optc_runtime::cuda::Stream;
use optc_runtime::{Device, HyperError, Optimizer as Bound, StepInput};
use std::ffi::{CString, c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rules bound to parameters. Calls on one optimizer from several threads take turns.
#[derive(Debug)]
pub struct Optimizer {
    bound: Mutex<Bound>,
    pub(crate) params: Vec<Known>,
    pub(crate) entries: Vec<Entry>,
    groups: Vec<Terms>,
    report: CString,
}

/// What is known of a group for good.
#[derive(Debug)]
struct Terms {
    optimizer: CString,
    hypers: Vec<CString>,
    shared: Vec<CString>,
}

impl Optimizer {
    pub(crate) fn new(bound: Bound) -> Optimizer {
        let group = |group: usize| Terms {
            optimizer: owned(bound.name_of(group).unwrap_or_default()),
            hypers: bound.hypers(group).map(|(name, _)| owned(name)).collect(),
            shared: (bound.shared_numbers(group))
                .map(|(name, _)| owned(&name))
                .collect(),
        };
        Optimizer {
            params: Known::all(&bound),
            entries: Entry::all(&bound),
            groups: (0..bound.group_count()).map(group).collect(),
            report: owned(&bound.report().to_string()),
            bound: Mutex::new(bound),
        }
    }

    /// # Safety
    ///
    /// An optimizer of this library, or null.
    pub(crate) unsafe fn of<'a>(optimizer: *const Optimizer) -> Result<&'a Optimizer, Failure> {
        // SAFETY: the caller's promise.
        unsafe { abi::reference(optimizer, "optimizer") }
    }

    /// The optimizer, once no other thread uses it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn name(&self, param: usize) -> String {
        let known = self.params.get(param);
        known.map_or_else(
            || param.to_string(),
            |known| known.name.to_string_lossy().into_owned(),
        )
    }

    /// Parameters and gradients of one call.
    ///
    /// # Safety
    ///
    /// Tensors as the header says.
    pub(crate) unsafe fn gather<'a>(
        &self,
        params: &[*const Tensor],
        grads: &[*const Tensor],
    ) -> Result<Vec<Pair<'a>>, Failure> {
        let each = params.iter().enumerate();
        // SAFETY: the caller's promise.
        each.map(|(n, &param)| unsafe { self.read(n, param, grads.get(n)) })
            .collect()
    }

    /// Refuses tensors that share memory with a parameter, `read` being what the call only reads beside gradients.
    pub(crate) fn check_apart(
        &self,
        pairs: &[Pair<'_>],
        read: impl Iterator<Item = Part>,
    ) -> Result<(), Failure> {
        let mut parts: Vec<Part> = read.collect();
        for (param, (own, grad)) in pairs.iter().enumerate() {
            parts.push(own.part(true, param));
            parts.extend(grad.as_ref().map(|grad| grad.part(false, param)));
        }
        let Some((first, second)) = find_clash(parts) else {
            return Ok(());
        };
        let (first, second) = (self.name(first), self.name(second));
        Err(Failure::argument(
            "shared",
            clash_text(&first, &second),
            "bind a tied parameter once, and give each gradient memory of its own",
        ))
    }

    /// A parameter and its gradient.
    ///
    /// # Safety
    ///
    /// Tensors as the header says.
    unsafe fn read<'a>(
        &self,
        n: usize,
        param: *const Tensor,
        grad: Option<&*const Tensor>,
    ) -> Result<Pair<'a>, Failure> {
        // SAFETY: the caller's promise.
        let param = unsafe { Checked::read(param, || format!("parameter `{}`", self.name(n))) }?;
        let grad = grad.filter(|grad| !grad.is_null()).map(|&grad| {
            // SAFETY: the same.
            unsafe { Checked::read(grad, || format!("the gradient of `{}`", self.name(n))) }
        });
        Ok((param, grad.transpose()?))
    }
}

/// A parameter and its gradient.
pub(crate) type Pair<'a> = (Checked<'a>, Option<Checked<'a>>);

/// The tensors of one call as the runtime takes them.
///
/// # Safety
///
/// They were found apart; the memory is there, and nobody interferes.
pub(crate) unsafe fn inputs<'a>(pairs: &[Pair<'a>]) -> Vec<StepInput<'a>> {
    let each = pairs.iter().map(|(param, grad)| StepInput {
        // SAFETY: the caller's promise.
        param: unsafe { param.view() },
        // SAFETY: the same.
        grad: grad.as_ref().map(|grad| unsafe { grad.view() }),
    });
    each.collect()
}

/// One step over all parameters, in the order of `optc_bind`. Each tensor has the shape, dtype and device of its
/// parameter as it was bound; strides are free as long as every element has a place of its own. A parameter whose
/// gradient is null is skipped, unless its rule says `absent grad: zeros`; `grads` itself may be null.
///
/// Errors: `OPTC_STATUS_STEP` (another count, shape, dtype or device, a NaN that is to be refused, a factorization
/// that failed), `OPTC_STATUS_ARGUMENT` (null or misaligned memory, tensors that share memory). Nothing is written
/// then, unless the code is `opt::step::failed`, `opt::step::kept_too_often` or `opt::step::panicked`.
///
/// # Safety
///
/// `params` and `grads` have `count` pointers. For the time of the call the memory of every tensor is there, nobody
/// else uses the parameters, and nobody writes the gradients.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_step(
    optimizer: *mut Optimizer,
    params: *const *const Tensor,
    grads: *const *const Tensor,
    count: usize,
) -> Status {
    guard(|| {
        // SAFETY: all by the caller's promise.
        unsafe {
            let optimizer = Optimizer::of(optimizer)?;
            let params = abi::slice(params, count, "params")?;
            let pairs = optimizer.gather(params, gradients(grads, count)?)?;
            optimizer.check_apart(&pairs, std::iter::empty())?;
            Ok(optimizer.lock().step(&inputs(&pairs))?)
        }
    })
}

/// # Safety
///
/// Null, or `count` pointers.
pub(crate) unsafe fn gradients<'a>(
    from: *const *const Tensor,
    count: usize,
) -> Result<&'a [*const Tensor], Failure> {
    match from.is_null() {
        true => Ok(&[]),
        // SAFETY: the caller's promise.
        false => unsafe { abi::slice(from, count, "grads") },
    }
}

/// Steps the parameters of a CUDA device on `stream` (a `CUstream`, or a `cudaStream_t`) from now on, after all that was
/// asked on the stream before. At first it is the legacy default stream, which is null. Without parameters on that
/// device nothing happens.
///
/// Errors: `OPTC_STATUS_STEP`: a failure of the device; `OPTC_STATUS_ARGUMENT`: a negative number.
///
/// # Safety
///
/// `optimizer` is from this library. `stream` is one of the device's primary context, and stays one until another is
/// set or the optimizer is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_set_stream(
    optimizer: *mut Optimizer,
    device_index: i32,
    stream: *mut c_void,
) -> Status {
    guard(|| {
        let Device::Cuda(ordinal) = device(OPTC_CUDA, device_index)? else {
            return Ok(());
        };
        // SAFETY: the caller's promise.
        let (optimizer, stream) = unsafe { (Optimizer::of(optimizer)?, Stream::from_raw(stream)) };
        Ok(optimizer.lock().set_stream(ordinal, stream)?)
    })
}

/// Frees an optimizer with its state. Null is fine.
///
/// # Safety
///
/// Null, or an optimizer that no thread uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_optimizer_free(optimizer: *mut Optimizer) {
    quietly(|| {
        if !optimizer.is_null() {
            // SAFETY: made by `hand_out_box`, and nobody uses it any more.
            drop(unsafe { Box::from_raw(optimizer) });
        }
    });
}

/// What was bound and where its code comes from, in one line. Valid as long as the optimizer.
///
/// Errors: `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_report(
    optimizer: *const Optimizer,
    out: *mut *const c_char,
) -> Status {
    // SAFETY: the caller's promise.
    guard(|| unsafe { abi::store(out, Optimizer::of(optimizer)?.report.as_ptr(), "out") })
}

/// How many groups there are, the optimizer's own settings counted as group 0.
///
/// Errors: `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_group_count(optimizer: *const Optimizer, out: *mut usize) -> Status {
    // SAFETY: the caller's promise.
    guard(|| unsafe { abi::store(out, Optimizer::of(optimizer)?.groups.len(), "out") })
}

/// The name of the optimizer that a group takes. Valid as long as the optimizer.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such group.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_group_optimizer(
    optimizer: *const Optimizer,
    group: usize,
    out: *mut *const c_char,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let groups = unsafe { &Optimizer::of(optimizer)?.groups };
        // SAFETY: the same.
        unsafe { abi::store(out, at(groups, group, "group")?.optimizer.as_ptr(), "out") }
    })
}

/// Name and current value of a hyperparameter of a group, by its position in the source. The name is valid as long as
/// the optimizer; either may be null if it is not wanted.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such group, or from the last position on.
///
/// # Safety
///
/// `optimizer` is from this library, `name` and `value` are null or have place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_group_hyper(
    optimizer: *const Optimizer,
    group: usize,
    index: usize,
    name: *mut *const c_char,
    value: *mut f64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let optimizer = unsafe { Optimizer::of(optimizer) }?;
        let hypers = &at(&optimizer.groups, group, "group")?.hypers;
        let known = at(hypers, index, "hyperparameter")?;
        let current = optimizer
            .lock()
            .hypers(group)
            .nth(index)
            .map(|(_, value)| value);
        // SAFETY: the caller's promise.
        unsafe { hand_out_number(known, current, name, value) }
    })
}

/// Name and current value of a number that the parameters of a group share, by its position in the source: what a step
/// works out for all of them, and a checkpoint holds. Otherwise as `optc_group_hyper`.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such group, or from the last position on.
///
/// # Safety
///
/// `optimizer` is from this library, `name` and `value` are null or have place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_group_shared(
    optimizer: *const Optimizer,
    group: usize,
    index: usize,
    name: *mut *const c_char,
    value: *mut f64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let optimizer = unsafe { Optimizer::of(optimizer) }?;
        let shared = &at(&optimizer.groups, group, "group")?.shared;
        let known = at(shared, index, "shared number")?;
        let current = optimizer
            .lock()
            .shared_numbers(group)
            .nth(index)
            .map(|(_, value)| value);
        // SAFETY: the caller's promise.
        unsafe { hand_out_number(known, current, name, value) }
    })
}

/// Makes a number that the parameters of a group share what it was in another run: for a caller that keeps the state.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such group or number.
///
/// # Safety
///
/// `optimizer` is from this library, `name` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_shared_set(
    optimizer: *mut Optimizer,
    group: usize,
    name: *const c_char,
    value: f64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, name) =
            unsafe { (Optimizer::of(optimizer)?, text::required(name, "name")?) };
        optimizer.lock().set_shared(group, name, value)?;
        Ok(())
    })
}

/// Stores the name and the value of a number, as far as they are wanted.
///
/// # Safety
///
/// `name` and `value` are null or have place.
unsafe fn hand_out_number(
    known: &CString,
    current: Option<f64>,
    name: *mut *const c_char,
    value: *mut f64,
) -> Result<(), Failure> {
    if !name.is_null() {
        // SAFETY: the caller's promise.
        unsafe { abi::store(name, known.as_ptr(), "name") }?;
    }
    match current.filter(|_| !value.is_null()) {
        // SAFETY: the caller's promise.
        Some(current) => unsafe { abi::store(value, current, "value") },
        None => Ok(()),
    }
}

/// The current value of a hyperparameter of a group.
///
/// Errors: `OPTC_STATUS_HYPER`: no such group or hyperparameter; `OPTC_STATUS_ARGUMENT`.
///
/// # Safety
///
/// `optimizer` is from this library, `name` ends with NUL, `out` has place for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_hyper_get(
    optimizer: *const Optimizer,
    group: usize,
    name: *const c_char,
    out: *mut f64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, name) =
            unsafe { (Optimizer::of(optimizer)?, text::required(name, "name")?) };
        let value = optimizer.lock().hyper(group, name);
        let value = value.ok_or_else(|| optimizer.unknown_hyper(group, name))?;
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, value, "out") }
    })
}

/// Sets a hyperparameter of a group, from the next step on; nothing is compiled.
///
/// Errors: `OPTC_STATUS_HYPER`: no such group or hyperparameter, or a value outside its interval, among them NaN;
/// `OPTC_STATUS_ARGUMENT`. Nothing is changed then.
///
/// # Safety
///
/// `optimizer` is from this library, `name` ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_hyper_set(
    optimizer: *mut Optimizer,
    group: usize,
    name: *const c_char,
    value: f64,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, name) =
            unsafe { (Optimizer::of(optimizer)?, text::required(name, "name")?) };
        Ok(optimizer.lock().set_hyper(group, name, value)?)
    })
}

impl Optimizer {
    fn unknown_hyper(&self, group: usize, name: &str) -> HyperError {
        let Some(terms) = self.groups.get(group) else {
            return HyperError::UnknownGroup {
                group,
                groups: self.groups.len(),
            };
        };
        let known = terms
            .hypers
            .iter()
            .map(|name| format!("`{}`", name.to_string_lossy()));
        HyperError::UnknownHyper {
            optimizer: terms.optimizer.to_string_lossy().into_owned(),
            name: name.to_owned(),
            known: known.collect::<Vec<_>>().join(", "),
        }
    }
}
