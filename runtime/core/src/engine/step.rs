//! One step: look at the tensors, then write.
//!
//! Devices get their work first, so that they are busy while the host steps its own parameters.

use super::device::Part;
use super::storage::{Lent, Storage};
use super::{Engine, Home, NonFinite, Param, StepInput};
use crate::cuda::device::download;
use crate::cuda::{CudaError, Stream};
use crate::error::{StepError, Which};
use crate::execute::{Stop, axes_of};
use crate::memory::{ALIGN, Memory, Pointer};
use crate::moves;
use crate::view::{Device, TensorView};
use optc_core::plan::evaluate_host;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

impl Engine {
    /// Steps every parameter that has a gradient. Allocates nothing once every strided tensor has been seen.
    ///
    /// # Errors
    ///
    /// See [`StepError`]; tensors are checked before anything is written.
    pub(crate) fn step(&mut self, inputs: &[StepInput<'_>]) -> Result<(), StepError> {
        self.check(inputs, |_, param, input| param.steps_with(input))?;
        self.take(inputs, |_, param, input| param.steps_with(input))?;
        self.make_contiguous(inputs);
        for part in &mut self.parts {
            part.gather(&self.params, inputs)?;
        }
        if self.non_finite == NonFinite::Error {
            self.check_finite()?;
        }
        self.evaluate_host();
        self.initialise_late();
        if self.has_sums() {
            self.sum_parameters();
            self.outcome()?;
        }
        let launched = self.launch(inputs);
        let outcome = self.run_bodies();
        self.finish(inputs);
        launched?;
        self.outcome()?;
        outcome.map_err(|_| StepError::Panicked {
            name: "a map kernel".into(),
        })
    }

    /// The first failure so far.
    pub(super) fn outcome(&mut self) -> Result<(), StepError> {
        let failure = self.failure.get_mut();
        match failure.unwrap_or_else(PoisonError::into_inner).take() {
            Some((n, stop)) => Err(stopped(&self.params[n].name, stop)),
            None => Ok(()),
        }
    }

    /// Sets the stream of a device, if there are parameters on it.
    pub(crate) fn set_stream(&mut self, ordinal: u32, stream: Stream) -> Result<(), CudaError> {
        part_of(&mut self.parts, Device::Cuda(ordinal))
            .map_or(Ok(()), |part| part.set_stream(stream))
    }

    /// Takes the caller's memory for a parameter's state.
    ///
    /// # Safety
    ///
    /// The views have the layout of the state, and stay what they are until it is reclaimed.
    pub(crate) unsafe fn lend(&mut self, n: usize, step: Option<u64>, state: &[TensorView<'_>]) {
        let param = &mut self.params[n];
        let device = part_of(&mut self.parts, param.device).map(|part| part.device().clone());
        let bytes = (2..).map(|slot| param.prepared.slot_bytes(slot));
        // SAFETY: by the caller's promise.
        let lent = |(view, bytes)| unsafe { Lent::new(address(view), bytes, device.clone()) };
        let lent: Vec<Storage> = state
            .iter()
            .zip(bytes)
            .map(lent)
            .map(Storage::Lent)
            .collect();
        param.lend(step, lent);
    }

    /// Refuses tensors that do not fit, and state that is not here for a parameter that takes part.
    pub(super) fn check(
        &self,
        inputs: &[StepInput<'_>],
        takes_part: impl Fn(usize, &Param, &StepInput<'_>) -> bool,
    ) -> Result<(), StepError> {
        if inputs.len() != self.params.len() {
            return Err(StepError::Count {
                expected: self.params.len(),
                found: inputs.len(),
            });
        }
        self.params
            .iter()
            .zip(inputs)
            .enumerate()
            .try_for_each(|(n, (param, input))| {
                check_view(param, &input.param, Which::Parameter)?;
                if !input.param.is_writable() {
                    return Err(StepError::ReadOnly {
                        name: param.name.clone(),
                    });
                }
                if takes_part(n, param, input) {
                    check_state(param)?;
                }
                input
                    .grad
                    .as_ref()
                    .map_or(Ok(()), |grad| check_view(param, grad, Which::Gradient))
            })
    }

    /// Notes where everything is in this step, and reserves copies for what is strided.
    pub(super) fn take(
        &mut self,
        inputs: &[StepInput<'_>],
        takes_part: impl Fn(usize, &Param, &StepInput<'_>) -> bool,
    ) -> Result<(), StepError> {
        self.tables.strided.clear();
        for part in &mut self.parts {
            part.strided.tensors.clear();
        }
        for (n, (param, input)) in self.params.iter_mut().zip(inputs).enumerate() {
            param.active = takes_part(n, param, input);
            *param.failed.get_mut() = false;
            if !param.active {
                continue;
            }
            let mut part = part_of(&mut self.parts, param.device);
            for which in [Which::Parameter, Which::Gradient] {
                param.slots[which as usize] = match (input.view(which), &mut part) {
                    (Some(view), _) if view.is_contiguous() => address(view),
                    (Some(_), None) => {
                        self.tables.strided.push((n, which));
                        reserve(param, which, None)?
                    }
                    (Some(_), Some(part)) => {
                        part.strided.tensors.push((n, which));
                        reserve(param, which, Some(part))?
                    }
                    (None, None) => self.zeros.pointer(),
                    (None, Some(part)) => part.zeros(),
                };
            }
        }
        Ok(())
    }

    /// Copies what is strided.
    pub(super) fn make_contiguous(&self, inputs: &[StepInput<'_>]) {
        let views = Views(inputs);
        // The tasks only copy; there is nothing in them that panics.
        let _ = self.pool.run(self.tables.strided.len(), &|_, task| {
            let (n, which) = self.tables.strided[task];
            if let Some((view, strides)) = views.strided(n, which) {
                let param = &self.params[n];
                let (slot, size) = (which as usize, view.dtype().size());
                // SAFETY: the view's elements are readable, and the copy has one place for each.
                unsafe {
                    moves::gather_strided(
                        address(view),
                        param.slots[slot],
                        size,
                        &axes_of(view.dims(), strides),
                    )
                };
            }
        });
    }

    /// Copies strided parameters back.
    pub(super) fn scatter(&self, inputs: &[StepInput<'_>]) {
        let views = Views(inputs);
        let _ = self.pool.run(self.tables.strided.len(), &|_, task| {
            let (n, which) = self.tables.strided[task];
            let param = &self.params[n];
            if which == Which::Gradient || param.failed.load(Ordering::Relaxed) {
                return;
            }
            if let Some((view, strides)) = views.strided(n, which) {
                let (from, size) = (param.slots[0], view.dtype().size());
                // SAFETY: the view is a parameter, writable by contract, and its elements are distinct.
                unsafe {
                    moves::scatter_strided(
                        from,
                        address(view),
                        size,
                        &axes_of(view.dims(), strides),
                    )
                };
            }
        });
    }

    fn check_finite(&mut self) -> Result<(), StepError> {
        let mut first = self.first_not_finite()?;
        for part in &mut self.parts {
            first = first.min(part.not_finite(&self.params)?.unwrap_or(usize::MAX));
        }
        match self.params.get(first) {
            None => Ok(()),
            Some(param) => {
                let part = part_of(&mut self.parts, param.device);
                Err(not_finite(param, part.as_deref())?)
            }
        }
    }

    /// The first active parameter of the host whose gradient is not finite, or none so large.
    fn first_not_finite(&self) -> Result<usize, StepError> {
        let first = AtomicUsize::new(usize::MAX);
        let scan = &self.tables.scan;
        let outcome = self.pool.run(scan.len(), &|_, task| {
            let item = &scan[task];
            let param = &self.params[item.param as usize];
            let (grad, dtype) = (param.slots[1], param.prepared.plan.slots[1].dtype);
            // SAFETY: an active parameter's gradient has all its elements.
            if param.active && !unsafe { moves::all_finite(grad, dtype, item.begin, item.end) } {
                first.fetch_min(item.param as usize, Ordering::Relaxed);
            }
        });
        outcome.map_err(|_| StepError::Panicked {
            name: "the gradient check".into(),
        })?;
        Ok(first.into_inner())
    }

    /// Host scalars, once for all parameters of a bucket that are at the same step.
    pub(super) fn evaluate_host(&mut self) {
        for bucket in &mut self.tables.buckets {
            bucket.evaluated.clear();
        }
        for param in self.params.iter_mut().filter(|param| param.active) {
            let bucket = &mut self.tables.buckets[param.bucket];
            let known = bucket
                .evaluated
                .iter()
                .find(|(step, _)| *step == param.step);
            param.regs = known.map_or(param.own_regs, |&(_, at)| at);
            if known.is_none() {
                let host = &bucket.prepared.plan.host;
                let regs = &mut self.regs[param.own_regs..param.own_regs + host.len()];
                evaluate_host(
                    host,
                    &self.hypers[bucket.hypers],
                    (param.step + 1) as f64,
                    &self.noise,
                    regs,
                );
                bucket.evaluated.push((param.step, param.own_regs));
            }
        }
    }

    /// Fills state that is computed from the parameter or the gradient, at the parameter's first step.
    pub(super) fn initialise_late(&self) {
        let late = |param: &Param| {
            let here = param.on_host() && param.initialised_late();
            here && param.active && !param.begun
        };
        if !self.params.iter().any(late) {
            return;
        }
        let outcome = self.pool.run(self.params.len(), &|worker, n| {
            if late(&self.params[n])
                && let Err(stop) = self.initialise(n, worker)
            {
                self.record(n, stop);
            }
        });
        if outcome.is_err() {
            self.record(0, Stop::Panicked);
        }
    }

    /// Notes that a parameter's step did not finish.
    pub(super) fn record(&self, n: usize, stop: Stop) {
        self.params[n].failed.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_none_or(|(first, _)| n < first) {
            *failure = Some((n, stop));
        }
    }

    /// Gives every device its work; what of a device fails counts for none of its parameters.
    fn launch(&mut self, inputs: &[StepInput<'_>]) -> Result<(), CudaError> {
        let mut outcome = Ok(());
        for part in &mut self.parts {
            if let Err(error) = part.step(&self.params, &self.regs, inputs) {
                let device = Device::Cuda(part.device().ordinal());
                let here = self
                    .params
                    .iter_mut()
                    .filter(|param| param.device == device);
                here.for_each(|param| *param.failed.get_mut() = true);
                outcome = outcome.and(Err(error));
            }
        }
        outcome
    }

    fn finish(&mut self, inputs: &[StepInput<'_>]) {
        self.scatter(inputs);
        for param in self.params.iter_mut().filter(|param| param.active) {
            let done = !*param.failed.get_mut();
            param.step += u64::from(done);
            param.begun |= done;
        }
        self.share();
    }
}

impl Param {
    /// Whether it takes part in a step.
    fn steps_with(&self, input: &StepInput<'_>) -> bool {
        input.grad.is_some() || self.absent_zeros
    }
}

/// Views that the pool's workers look at.
struct Views<'a, 'b>(&'a [StepInput<'b>]);

// SAFETY: workers read dimensions and addresses; what they do with the elements is said where they do it.
unsafe impl Sync for Views<'_, '_> {}

impl<'a, 'b> Views<'a, 'b> {
    fn strided(&self, n: usize, which: Which) -> Option<(&'a TensorView<'b>, &'b [i64])> {
        let view = self.0[n].view(which)?;
        view.strides().map(|strides| (view, strides))
    }
}

/// Where a view's elements begin; an empty one may have no address of its own.
pub(super) fn address(view: &TensorView<'_>) -> Pointer {
    let empty = view.dims().contains(&0);
    Pointer(if empty {
        ALIGN as *mut u8
    } else {
        view.data().cast()
    })
}

/// The part of a parameter on a device.
fn part_of(parts: &mut [Part], device: Device) -> Option<&mut Part> {
    parts
        .iter_mut()
        .find(|part| Device::Cuda(part.device().ordinal()) == device)
}

/// The contiguous copy of a strided tensor, allocated when first needed.
fn reserve(param: &mut Param, which: Which, part: Option<&Part>) -> Result<Pointer, StepError> {
    let bytes = param.prepared.slot_bytes(which as usize);
    let copy = if which == Which::Parameter {
        &mut param.dense_param
    } else {
        &mut param.dense_grad
    };
    if copy.is_none() {
        *copy = match part {
            None => Memory::zeroed(bytes).map(Storage::Host),
            Some(part) => part.device().zeroed(bytes).ok().map(Storage::Device),
        };
    }
    let name = || param.name.clone();
    copy.as_ref()
        .map(Storage::pointer)
        .ok_or_else(|| StepError::OutOfMemory {
            which,
            name: name(),
        })
}

fn check_view(param: &Param, view: &TensorView<'_>, which: Which) -> Result<(), StepError> {
    let name = || param.name.clone();
    if view.dims() != param.dims {
        let (expected, found) = (param.dims.clone(), view.dims().to_vec());
        return Err(StepError::Shape {
            which,
            name: name(),
            expected,
            found,
        });
    }
    let expected = param.prepared.plan.slots[which as usize].dtype;
    if view.dtype() != expected {
        return Err(StepError::DType {
            which,
            name: name(),
            expected,
            found: view.dtype(),
        });
    }
    if view.device() != param.device {
        return Err(StepError::Device {
            which,
            name: name(),
            expected: param.device,
            found: view.device(),
        });
    }
    match view.strides() {
        Some(strides) if strides.len() != view.dims().len() => {
            let (expected, found) = (view.dims().len(), strides.len());
            Err(StepError::Strides {
                which,
                name: name(),
                expected,
                found,
            })
        }
        _ => Ok(()),
    }
}

/// Whoever keeps a parameter's state has lent it.
fn check_state(param: &Param) -> Result<(), StepError> {
    if param.home == (Home::Lent { here: false }) {
        return Err(StepError::State {
            name: param.name.clone(),
            what: "it was not lent for this step".into(),
        });
    }
    Ok(())
}

/// The error that names the first bad element; a gradient on a device is copied for that.
fn not_finite(param: &Param, part: Option<&Part>) -> Result<StepError, CudaError> {
    let (mut grad, dtype) = (param.slots[1], param.prepared.plan.slots[1].dtype);
    let mut copy = match part {
        // SAFETY: an active parameter's gradient has all its bytes.
        Some(part) => unsafe {
            download(part.device(), grad.address(), param.prepared.slot_bytes(1))?
        },
        None => Vec::new(),
    };
    if part.is_some() {
        grad = Pointer(copy.as_mut_ptr());
    }
    // SAFETY: elements below the count are readable.
    let value = |n: u64| unsafe { moves::load(grad, dtype, n) };
    let at = (0..param.elements())
        .find(|&n| !value(n).is_finite())
        .unwrap_or(0);
    Ok(StepError::NonFinite {
        name: param.name.clone(),
        index: index_of(at, &param.dims),
        value: value(at),
    })
}

/// The index of element `at` of a contiguous tensor.
fn index_of(mut at: u64, dims: &[i64]) -> Vec<u64> {
    let mut index: Vec<u64> = dims
        .iter()
        .rev()
        .map(|dim| {
            let dim = dim.unsigned_abs().max(1);
            let here = at % dim;
            at /= dim;
            here
        })
        .collect();
    index.reverse();
    index
}

fn stopped(name: &str, stop: Stop) -> StepError {
    match stop {
        Stop::Failed(routine, source) => StepError::Failed {
            name: name.into(),
            routine,
            source,
        },
        Stop::Panicked => StepError::Panicked { name: name.into() },
    }
}
