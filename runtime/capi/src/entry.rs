//! Entries: what rules do beside a step, with numbers and tensors that the caller hands in.

use crate::abi::{self, Versioned};
use crate::error::{Failure, Status, guard};
use crate::optimizer::{Optimizer, gradients, inputs};
use crate::rules::at;
use crate::tensor::{Checked, Tensor};
use crate::text::{self, owned};
use optc_core::hir::{InputKind, Signature};
use optc_runtime::apart::Part;
use optc_runtime::{Given, Optimizer as Bound, Present, TensorView};
use std::ffi::{CString, c_char};

/// For `optc_entry_takes`: the parameter has a gradient.
pub const OPTC_HAS_GRADIENT: u32 = 1;
/// For `optc_entry_takes`: there is a tensor for the parameter under each name that the entry wants one for.
pub const OPTC_HAS_TENSORS: u32 = 2;
/// For `optc_entry_takes`: the parameter's state has begun.
pub const OPTC_HAS_STATE: u32 = 4;

/// What an entry is given under one name: a number, or a tensor for each parameter.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Input {
    /// `sizeof(optc_input)`.
    pub struct_size: usize,
    /// Its name.
    pub name: *const c_char,
    /// The number, where `tensors` is null.
    pub number: f64,
    /// One tensor of the parameter's shape, dtype and device for each parameter, in the order of `optc_bind`; a null
    /// among them leaves the parameter out.
    pub tensors: *const *const Tensor,
}

/// An entry of an optimizer.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EntryInfo {
    /// `sizeof(optc_entry_info)`, set by the caller.
    pub struct_size: usize,
    /// Its name; valid as long as the optimizer.
    pub name: *const c_char,
    /// How many inputs it has.
    pub input_count: usize,
    /// Whether it reads gradients, and leaves out parameters without one.
    pub reads_gradients: bool,
}

/// An input of an entry.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct InputInfo {
    /// `sizeof(optc_input_info)`, set by the caller.
    pub struct_size: usize,
    /// Its name; valid as long as the optimizer.
    pub name: *const c_char,
    /// Whether it is a tensor for each parameter, not a number.
    pub is_tensor: bool,
}

// SAFETY: `repr(C)`, the size comes first, pointers and numbers may have any bytes.
unsafe impl Versioned for Input {
    const NAME: &'static str = "optc_input";
}

// SAFETY: `repr(C)`, the size comes first, and it is written, never read.
unsafe impl Versioned for EntryInfo {
    const NAME: &'static str = "optc_entry_info";
}

// SAFETY: as above.
unsafe impl Versioned for InputInfo {
    const NAME: &'static str = "optc_input_info";
}

/// What is known of an entry for good.
#[derive(Debug)]
pub(crate) struct Entry {
    name: CString,
    reads_gradients: bool,
    inputs: Vec<(CString, InputKind)>,
}

impl Entry {
    pub(crate) fn all(bound: &Bound) -> Vec<Entry> {
        let one = |signature: &Signature| Entry {
            name: owned(&signature.name),
            reads_gradients: bound.entry_reads_gradients(&signature.name),
            inputs: (signature.inputs.iter())
                .map(|(name, kind)| (owned(name), *kind))
                .collect(),
        };
        bound.entries().map(one).collect()
    }
}

/// An entry, by its position: what the rules of the bound parameters do beside a step.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: from the last position on.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_entry_get(
    optimizer: *const Optimizer,
    entry: usize,
    out: *mut EntryInfo,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let known = at(
            unsafe { &Optimizer::of(optimizer)?.entries },
            entry,
            "entry",
        )?;
        let info = EntryInfo {
            struct_size: size_of::<EntryInfo>(),
            name: known.name.as_ptr(),
            input_count: known.inputs.len(),
            reads_gradients: known.reads_gradients,
        };
        // SAFETY: the caller's promise.
        unsafe { abi::write(out, &info) }
    })
}

/// An input of an entry, both by position.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such entry, or from the last input on.
///
/// # Safety
///
/// `optimizer` is from this library, `out` has its `struct_size`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_entry_input(
    optimizer: *const Optimizer,
    entry: usize,
    input: usize,
    out: *mut InputInfo,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let entries = unsafe { &Optimizer::of(optimizer)?.entries };
        let (name, kind) = at(&at(entries, entry, "entry")?.inputs, input, "input")?;
        let info = InputInfo {
            struct_size: size_of::<InputInfo>(),
            name: name.as_ptr(),
            is_tensor: *kind == InputKind::Tensor,
        };
        // SAFETY: the caller's promise.
        unsafe { abi::write(out, &info) }
    })
}

/// Whether a parameter would take part in an entry, with what there is of it: a sum of `OPTC_HAS_GRADIENT`,
/// `OPTC_HAS_TENSORS` and `OPTC_HAS_STATE`. A caller that keeps the state lends it to those that do. False if there is
/// no such entry.
///
/// Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
///
/// # Safety
///
/// `optimizer` is from this library, `entry` ends with NUL, `out` has place for a truth value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_entry_takes(
    optimizer: *const Optimizer,
    entry: *const c_char,
    param: usize,
    present: u32,
    out: *mut bool,
) -> Status {
    guard(|| {
        // SAFETY: the caller's promise.
        let (optimizer, entry) =
            unsafe { (Optimizer::of(optimizer)?, text::required(entry, "entry")?) };
        at(&optimizer.params, param, "parameter")?;
        let present = Present {
            grad: present & OPTC_HAS_GRADIENT != 0,
            tensors: present & OPTC_HAS_TENSORS != 0,
            state: present & OPTC_HAS_STATE != 0,
        };
        let takes = optimizer.lock().enters(entry, param, present);
        // SAFETY: the caller's promise.
        unsafe { abi::store(out, takes, "out") }
    })
}

/// Runs an entry over all parameters, in the order of `optc_bind`: what their rules say beside a step. Parameters and
/// gradients are as in `optc_step`. A parameter whose rule lacks the entry is left as it is; so is one without a
/// gradient or a tensor that the entry reads. Steps are not counted.
///
/// Errors: `OPTC_STATUS_STEP` (no such entry, an input that is missing, unknown or does not fit, a parameter on a
/// device, what `optc_step` refuses), `OPTC_STATUS_ARGUMENT`. Nothing is written then, unless the code is
/// `opt::step::failed` or `opt::step::panicked`.
///
/// # Safety
///
/// As for `optc_step`; `inputs` has `input_count` members, and each of their `tensors` is null or has `count` pointers
/// to tensors that nobody writes for the time of the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_run_entry(
    optimizer: *mut Optimizer,
    entry: *const c_char,
    params: *const *const Tensor,
    grads: *const *const Tensor,
    count: usize,
    inputs: *const Input,
    input_count: usize,
) -> Status {
    guard(|| {
        // SAFETY: all by the caller's promise.
        unsafe {
            let optimizer = Optimizer::of(optimizer)?;
            let entry = text::required(entry, "entry")?;
            let params = abi::slice(params, count, "params")?;
            let grads = gradients(grads, count)?;
            let given = abi::read_all(inputs, input_count, "inputs")?;
            optimizer.run_entry(entry, params, grads, &given)
        }
    })
}

/// What an entry is given, by name.
struct Handed<'a> {
    numbers: Vec<(&'a str, f64)>,
    tensors: Vec<(&'a str, Vec<Option<Checked<'a>>>)>,
}

impl<'a> Handed<'a> {
    /// # Safety
    ///
    /// Pointers are as the header says, for `count` parameters.
    unsafe fn read(
        optimizer: &Optimizer,
        inputs: &[Input],
        count: usize,
    ) -> Result<Handed<'a>, Failure> {
        let mut handed = Handed {
            numbers: Vec::new(),
            tensors: Vec::new(),
        };
        for input in inputs {
            // SAFETY: the caller's promise.
            let name = unsafe { text::required(input.name, "name") }?;
            match input.tensors.is_null() {
                true => handed.numbers.push((name, input.number)),
                false => {
                    // SAFETY: the same.
                    let tensors = unsafe { input.read(optimizer, name, count) }?;
                    handed.tensors.push((name, tensors));
                }
            }
        }
        Ok(handed)
    }

    /// The memory of all tensors.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let all = self.tensors.iter();
        let each = all.flat_map(|(_, tensors)| tensors.iter().enumerate());
        each.filter_map(|(n, tensor)| Some(tensor.as_ref()?.part(false, n)))
    }

    /// All tensors as the runtime takes them.
    ///
    /// # Safety
    ///
    /// They are apart from all that is written; the memory is there, and nobody interferes.
    unsafe fn views(&self) -> Vec<Vec<Option<TensorView<'a>>>> {
        let view = |tensor: &Option<Checked<'a>>| {
            let tensor = tensor.as_ref();
            // SAFETY: the caller's promise.
            tensor.map(|tensor| unsafe { tensor.view() })
        };
        let all = self.tensors.iter();
        all.map(|(_, tensors)| tensors.iter().map(view).collect())
            .collect()
    }
}

impl Input {
    /// # Safety
    ///
    /// `tensors` has `count` pointers as the header says.
    unsafe fn read<'a>(
        &self,
        optimizer: &Optimizer,
        name: &str,
        count: usize,
    ) -> Result<Vec<Option<Checked<'a>>>, Failure> {
        // SAFETY: the caller's promise.
        let tensors = unsafe { abi::slice(self.tensors, count, "tensors") }?;
        let each = tensors.iter().enumerate().map(|(n, &tensor)| {
            let what = || format!("the input `{name}` for `{}`", optimizer.name(n));
            // SAFETY: the same.
            let read = || unsafe { Checked::read(tensor, what) };
            (!tensor.is_null()).then(read).transpose()
        });
        each.collect()
    }
}

impl Optimizer {
    /// # Safety
    ///
    /// Tensors as the header says.
    unsafe fn run_entry(
        &self,
        entry: &str,
        params: &[*const Tensor],
        grads: &[*const Tensor],
        given: &[Input],
    ) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        let pairs = unsafe { self.gather(params, grads) }?;
        // SAFETY: the same.
        let handed = unsafe { Handed::read(self, given, params.len()) }?;
        self.check_apart(&pairs, handed.parts())?;
        // SAFETY: found apart; the rest is the caller's promise.
        let (inputs, views) = unsafe { (inputs(&pairs), handed.views()) };
        let named = handed.tensors.iter().zip(&views);
        let named: Vec<_> = named.map(|((name, _), views)| (*name, &**views)).collect();
        let given = Given {
            numbers: &handed.numbers,
            tensors: &named,
        };
        Ok(self.lock().run_entry(entry, &inputs, given)?)
    }
}
