//! Entries: what rules do beside a step, with the same state.
//!
//! An entry is rare work, so each parameter's runs on one worker from beginning to end; nothing is prepared for it that
//! a step would have to pay for. Entries run on the host.

use super::sums::{Summand, total};
use super::{Engine, Param, StepInput};
use crate::error::{StepError, Which};
use crate::execute::{self, Stop};
use crate::memory::{Memory, Pointer};
use crate::moves;
use crate::prepared::Prepared;
use crate::view::TensorView;
use optc_core::hir::{InputKind, Signature};
use optc_core::plan::evaluate_host;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What an entry is given beside parameters and gradients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Given<'a> {
    /// Numbers by name.
    pub numbers: &'a [(&'a str, f64)],
    /// Tensors by name, one for each parameter in the order of `bind`; a parameter without one is left out.
    pub tensors: &'a [(&'a str, &'a [Option<TensorView<'a>>])],
}

/// What there is of a parameter when an entry is run.
#[derive(Debug, Clone, Copy)]
pub struct Present {
    /// A gradient.
    pub grad: bool,
    /// All tensors that the entry is given.
    pub tensors: bool,
    /// State that a step or an entry has begun.
    pub state: bool,
}

/// An entry of one parameter's rule.
#[derive(Debug)]
pub(super) struct BoundEntry {
    pub(super) signature: Signature,
    pub(super) reads_grad: bool,
    pub(super) prepared: Arc<Prepared>,
    /// Where its host scalars are.
    pub(super) regs: usize,
    pub(super) summands: Vec<Summand>,
    /// The addresses of all slots in this call.
    pub(super) slots: Vec<Pointer>,
    /// Contiguous copies of strided tensors, in this call.
    copies: Vec<Memory>,
}

impl BoundEntry {
    pub(super) fn new(
        signature: Signature,
        reads_grad: bool,
        prepared: Arc<Prepared>,
        regs: usize,
        summands: Vec<Summand>,
    ) -> BoundEntry {
        let slots = vec![Pointer::NULL; prepared.plan.slots.len()];
        BoundEntry {
            signature,
            reads_grad,
            prepared,
            regs,
            summands,
            slots,
            copies: Vec::new(),
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &str> {
        let inputs = self.signature.inputs.iter();
        let tensors = inputs.filter(|(_, kind)| *kind == InputKind::Tensor);
        tensors.map(|(name, _)| name.as_str())
    }
}

impl Param {
    fn entry(&self, name: &str) -> Option<&BoundEntry> {
        self.entries
            .iter()
            .find(|entry| entry.signature.name == name)
    }

    /// Whether it takes part in an entry: its rule has the entry, and there is all that it reads. State that begins from
    /// the gradient has not begun before a first one.
    pub(crate) fn enters(&self, name: &str, present: Present) -> bool {
        let Some(entry) = self.entry(name) else {
            return false;
        };
        let grad = present.grad || self.absent_zeros;
        let begun = present.state || !self.begins_with_grad();
        present.tensors && (grad || begun && !entry.reads_grad)
    }
}

impl Engine {
    /// Runs an entry on every parameter whose rule has it and for which there is all that it reads.
    ///
    /// # Errors
    ///
    /// See [`StepError`]; tensors are checked before anything is written.
    pub(crate) fn run_entry(
        &mut self,
        signature: &Signature,
        inputs: &[StepInput<'_>],
        given: Given<'_>,
    ) -> Result<(), StepError> {
        let numbers = numbers(signature, given)?;
        self.check_tensors(signature, given)?;
        self.check(inputs, |n, param, input| {
            takes(n, param, input, signature, given)
        })?;
        self.take(inputs, |n, param, input| {
            takes(n, param, input, signature, given)
        })?;
        self.make_contiguous(inputs);
        self.weigh_gradients(|param| {
            let entry = param.entry(&signature.name);
            entry.is_some_and(|entry| entry.reads_grad)
        })?;
        self.evaluate_host();
        self.initialise_late();
        self.outcome()?;
        self.place(signature, given)?;
        let hypers: Vec<Vec<f64>> = self
            .hypers
            .iter()
            .map(|own| [own.as_slice(), &numbers].concat())
            .collect();
        let hypers = self.sum_entry(&signature.name, hypers)?;
        self.evaluate_entry(&signature.name, &hypers);
        self.run_entries(&signature.name);
        self.finish_entry(inputs);
        self.outcome()
    }

    /// Tensors that fit, for as many parameters as there are.
    fn check_tensors(&self, signature: &Signature, given: Given<'_>) -> Result<(), StepError> {
        for (name, tensors) in given.tensors {
            known(signature, name, InputKind::Tensor)?;
            if tensors.len() != self.params.len() {
                return Err(StepError::Count {
                    expected: self.params.len(),
                    found: tensors.len(),
                });
            }
            for (param, view) in self.params.iter().zip(*tensors) {
                if let Some(view) = view
                    && let Some(what) = misfit(param, view)
                {
                    return Err(StepError::EntryTensor {
                        entry: signature.name.clone(),
                        input: (*name).to_owned(),
                        name: param.name.clone(),
                        what,
                    });
                }
            }
        }
        let missing = signature.inputs.iter().find(|(name, kind)| {
            *kind == InputKind::Tensor && !given.tensors.iter().any(|(known, _)| known == name)
        });
        missing.map_or(Ok(()), |(name, _)| Err(missing_input(signature, name)))
    }

    /// Notes where the slots of the entry are.
    fn place(&mut self, signature: &Signature, given: Given<'_>) -> Result<(), StepError> {
        for (n, param) in self.params.iter_mut().enumerate() {
            let slots = std::mem::take(&mut param.slots);
            let entries = param.entries.iter_mut();
            let mut entries = entries.filter(|entry| entry.signature.name == signature.name);
            if let (true, Some(entry)) = (param.active, entries.next()) {
                entry.slots[..slots.len()].copy_from_slice(&slots);
                let names: Vec<String> = entry.tensors().map(str::to_owned).collect();
                entry.copies.clear();
                for (at, name) in names.iter().enumerate() {
                    if let Some(view) = tensor(given, name, n) {
                        let address = contiguous(view, &mut entry.copies);
                        let address = address.ok_or_else(|| StepError::OutOfMemory {
                            which: Which::Gradient,
                            name: param.name.clone(),
                        });
                        match address {
                            Ok(address) => entry.slots[slots.len() + at] = address,
                            Err(error) => {
                                param.slots = slots;
                                return Err(error);
                            }
                        }
                    }
                }
            }
            param.slots = slots;
        }
        Ok(())
    }

    /// The host inputs of each group, with the sums that the entry reads.
    fn sum_entry(
        &mut self,
        name: &str,
        mut hypers: Vec<Vec<f64>>,
    ) -> Result<Vec<Vec<f64>>, StepError> {
        let entries = self.params.iter().filter_map(|param| param.entry(name));
        let summands = entries.flat_map(|entry| &entry.summands);
        let mut sums: Vec<u32> = summands.map(Summand::input).collect();
        sums.sort_unstable();
        sums.dedup();
        for input in sums {
            self.evaluate_summands(name, input, &hypers);
            self.compute_all(
                |param| param.entry(name).map_or(&[][..], |entry| &entry.summands),
                &[input],
            );
            self.outcome()?;
            let active = self.params.iter().filter(|param| param.active);
            let entries = active.filter_map(|param| param.entry(name));
            let total = total(entries.flat_map(|entry| &entry.summands), input);
            for inputs in &mut hypers {
                inputs[input as usize] = total;
            }
        }
        Ok(hypers)
    }

    fn evaluate_summands(&mut self, name: &str, input: u32, hypers: &[Vec<f64>]) {
        for param in self.params.iter_mut().filter(|param| param.active) {
            let entries = param.entries.iter_mut();
            for entry in entries.filter(|entry| entry.signature.name == name) {
                let due = entry.summands.iter_mut();
                for summand in due.filter(|summand| summand.input() == input) {
                    let inputs = &hypers[param.hypers];
                    let moment = (param.step, &self.noise);
                    summand.prepare(&entry.slots, inputs, moment, &mut self.regs);
                }
            }
        }
    }

    fn evaluate_entry(&mut self, name: &str, hypers: &[Vec<f64>]) {
        for param in self.params.iter().filter(|param| param.active) {
            if let Some(entry) = param.entry(name) {
                let host = &entry.prepared.plan.host;
                let regs = &mut self.regs[entry.regs..entry.regs + host.len()];
                let inputs = &hypers[param.hypers];
                evaluate_host(host, inputs, param.step as f64, &self.noise, regs);
            }
        }
    }

    fn run_entries(&self, name: &str) {
        let outcome = self.pool.run(self.params.len(), &|worker, n| {
            let param = &self.params[n];
            let Some(entry) = param.entry(name).filter(|_| param.active) else {
                return;
            };
            let run = || self.run_one(param, entry, worker);
            if let Err(stop) = catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(Stop::Panicked)) {
                self.record(n, stop);
            }
        });
        if outcome.is_err() {
            self.record(0, Stop::Panicked);
        }
    }

    fn run_one(&self, param: &Param, entry: &BoundEntry, worker: usize) -> Result<(), Stop> {
        let plan = (&*entry.prepared, entry.regs, param.step);
        // SAFETY: the slots are this parameter's and what it was given, as `place` set them.
        unsafe { self.run_beside_step(param, plan, &entry.slots, worker) }
    }

    fn finish_entry(&mut self, inputs: &[StepInput<'_>]) {
        self.scatter(inputs);
        for param in self.params.iter_mut().filter(|param| param.active) {
            param.begun |= !*param.failed.get_mut();
            for entry in &mut param.entries {
                entry.copies.clear();
            }
        }
    }
}

/// Whether a parameter takes part, with what it is given here.
fn takes(
    n: usize,
    param: &Param,
    input: &StepInput<'_>,
    signature: &Signature,
    given: Given<'_>,
) -> bool {
    let inputs = signature.inputs.iter();
    let mut tensors = inputs.filter(|(_, kind)| *kind == InputKind::Tensor);
    let present = Present {
        grad: input.grad.is_some(),
        tensors: tensors.all(|(name, _)| tensor(given, name, n).is_some()),
        state: param.begun,
    };
    param.enters(&signature.name, present)
}

fn tensor<'a>(given: Given<'a>, name: &str, param: usize) -> Option<&'a TensorView<'a>> {
    let (_, tensors) = given.tensors.iter().find(|(known, _)| *known == name)?;
    tensors[param].as_ref()
}

/// The numbers that an entry is given, in its order.
fn numbers(signature: &Signature, given: Given<'_>) -> Result<Vec<f64>, StepError> {
    for (name, _) in given.numbers {
        known(signature, name, InputKind::Number)?;
    }
    let wanted = signature.inputs.iter();
    let wanted = wanted.filter(|(_, kind)| *kind == InputKind::Number);
    let each = wanted.map(|(name, _)| {
        let found = given.numbers.iter().find(|(known, _)| known == name);
        found
            .map(|(_, x)| *x)
            .ok_or_else(|| missing_input(signature, name))
    });
    each.collect()
}

fn known(signature: &Signature, name: &str, kind: InputKind) -> Result<(), StepError> {
    let inputs = &signature.inputs;
    if inputs
        .iter()
        .any(|(known, of)| known == name && *of == kind)
    {
        return Ok(());
    }
    Err(StepError::UnknownInput {
        entry: signature.name.clone(),
        name: name.to_owned(),
        known: described(signature),
    })
}

fn missing_input(signature: &Signature, name: &str) -> StepError {
    StepError::MissingInput {
        entry: signature.name.clone(),
        name: name.to_owned(),
        known: described(signature),
    }
}

/// `a tensor `hess`, a number `bs``
fn described(signature: &Signature) -> String {
    let each = signature.inputs.iter().map(|(name, kind)| match kind {
        InputKind::Tensor => format!("a tensor `{name}` for each parameter"),
        InputKind::Number => format!("a number `{name}`"),
    });
    match each.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "nothing".to_owned(),
        all => all,
    }
}

/// Why a tensor cannot be an input for a parameter.
fn misfit(param: &Param, view: &TensorView<'_>) -> Option<String> {
    let dtype = param.prepared.plan.slots[0].dtype;
    if view.dims() != param.dims {
        let (found, expected) = (view.dims(), &param.dims);
        return Some(format!("it has shape {found:?}, not {expected:?}"));
    }
    if view.dtype() != dtype {
        return Some(format!("it is stored as {}, not {dtype}", view.dtype()));
    }
    if view.device() != param.device {
        return Some(format!("it is on {}, not {}", view.device(), param.device));
    }
    let strides = view.strides().map_or(view.dims().len(), <[i64]>::len);
    (strides != view.dims().len()).then(|| format!("it has {strides} strides"))
}

/// Where a tensor's elements are, one after another.
fn contiguous(view: &TensorView<'_>, copies: &mut Vec<Memory>) -> Option<Pointer> {
    let Some(strides) = view.strides().filter(|_| !view.is_contiguous()) else {
        return Some(super::step::address(view));
    };
    let size = view.dtype().size();
    let count: u64 = view.dims().iter().map(|dim| dim.unsigned_abs()).product();
    let copy = Memory::zeroed(count * size)?;
    let axes = execute::axes_of(view.dims(), strides);
    // SAFETY: the view's elements are readable, and the copy has one place for each.
    unsafe { moves::gather_strided(super::step::address(view), copy.pointer(), size, &axes) };
    let address = copy.pointer();
    copies.push(copy);
    Some(address)
}
