//! Binding: descriptions of parameters, groups and options → an optimizer.

use crate::abi::{self, Versioned};
use crate::error::{Failure, Status, guard};
use crate::optimizer::Optimizer;
use crate::rules::{Rules, hand_out_box};
use crate::tensor;
use crate::text;
use optc_core::random::Noise;
use optc_runtime::{BindOptions as Options, Group as Members, NonFinite, ParamDesc, Pool};
use std::ffi::c_char;

/// Compute with it.
pub const OPTC_NON_FINITE_PROPAGATE: i32 = 0;
/// Refuse the step, before anything is written.
pub const OPTC_NON_FINITE_REFUSE: i32 = 1;
/// Leave the parameter as if it had no gradient in this step.
pub const OPTC_NON_FINITE_SKIP: i32 = 2;

/// A parameter as it is bound.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// `sizeof(optc_param)`.
    pub struct_size: usize,
    /// Its name: what groups match and checkpoints are keyed by.
    pub name: *const c_char,
    /// `rank` dimensions; at most 16.
    pub dims: *const i64,
    /// The number of axes; 0 is a scalar.
    pub rank: usize,
    /// `OPTC_F64`, `OPTC_F32`, `OPTC_BF16` or `OPTC_F16`.
    pub dtype: i32,
    /// The same of its gradient; 0 means that of the parameter.
    pub grad_dtype: i32,
    /// `OPTC_CPU` or `OPTC_CUDA`.
    pub device_type: i32,
    /// Which of the devices of that type.
    pub device_index: i32,
}

/// A hyperparameter's value. Will never have other members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub name: *const c_char,
    /// Its value.
    pub value: f64,
}

/// A static's value. Will never have other members.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Its name.
    pub name: *const c_char,
    /// Its value as on the command line: `5`, `true`, a word of a choice, `1,2,3;4,5,6`.
    pub value: *const c_char,
}

/// Parameters with settings of their own. A parameter belongs to one group at most.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// `sizeof(optc_group)`.
    pub struct_size: usize,
    /// A regular expression that is found in the names of its parameters; an error if it is found in none. Null if
    /// the group lists its parameters.
    pub pattern: *const c_char,
    /// Without a pattern: the names of its parameters.
    pub names: *const *const c_char,
    /// How many.
    pub name_count: usize,
    /// Other rules than those of the call; null for those.
    pub rules: *const Rules,
    /// Which optimizer of `rules`, if there are several; null for the only one.
    pub optimizer: *const c_char,
    /// The rule to take; null for the first that fits.
    pub rule: *const c_char,
    /// Hyperparameters that differ from those of the call, or from their defaults if the group has its own rules.
    pub hypers: *const Setting,
    /// How many.
    pub hyper_count: usize,
    /// Statics that differ.
    pub statics: *const Choice,
    /// How many.
    pub static_count: usize,
}

/// How to bind. All zeros but the size are the defaults.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct BindOptions {
    /// `sizeof(optc_bind_options)`.
    pub struct_size: usize,
    /// Which optimizer of the source, if there are several; null for the only one.
    pub optimizer: *const c_char,
    /// The rule of parameters of no group; null for the first that fits.
    pub rule: *const c_char,
    /// Hyperparameters that differ from their defaults.
    pub hypers: *const Setting,
    /// How many.
    pub hyper_count: usize,
    /// Statics that differ from their defaults.
    pub statics: *const Choice,
    /// How many.
    pub static_count: usize,
    /// Groups. Group `n` of the optimizer is the `n`-th of these counted from 1; 0 is everything else.
    pub groups: *const Group,
    /// How many.
    pub group_count: usize,
    /// Threads of a step, the caller's among them; 0 for as many as the machine has. Optimizers with the same number
    /// share them.
    pub threads: usize,
    /// What a NaN or an infinity in a gradient does: `OPTC_NON_FINITE_PROPAGATE`, `OPTC_NON_FINITE_REFUSE` or
    /// `OPTC_NON_FINITE_SKIP`.
    pub non_finite: i32,
    /// Not 0: state is the caller's, `optc_lend_state` comes before every step, and nothing is allocated for it.
    pub state_is_lent: i32,
    /// The seed of all random numbers that the rules draw.
    pub seed: u64,
}

// SAFETY: `repr(C)`, the size comes first, pointers and integers may have any bytes.
unsafe impl Versioned for Param {
    const NAME: &'static str = "optc_param";
}

// SAFETY: as above.
unsafe impl Versioned for Group {
    const NAME: &'static str = "optc_group";
}

// SAFETY: as above.
unsafe impl Versioned for BindOptions {
    const NAME: &'static str = "optc_bind_options";
}

/// Binds rules to parameters: picks each one's rule, allocates its state, finds its machine code or compiles it.
/// `options` may be null. Everything is copied; the rules may be freed afterwards.
///
/// Errors: `OPTC_STATUS_BIND` (a pattern that matches nothing, a parameter of two groups or of no rule, an unknown
/// hyperparameter or a value outside its interval, integers, a device, two parameters of one name, …),
/// `OPTC_STATUS_ARGUMENT`. `out` is not written then.
///
/// # Safety
///
/// `rules` is from this library, all pointers and counts in `params` and `options` are as this header says, `out` has
/// place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn optc_bind(
    rules: *const Rules,
    params: *const Param,
    param_count: usize,
    options: *const BindOptions,
    out: *mut *mut Optimizer,
) -> Status {
    guard(|| {
        // SAFETY: all by the caller's promise.
        unsafe {
            let rules = abi::reference(rules, "rules")?;
            let params = abi::read_all(params, param_count, "params")?;
            let params = params.iter().map(|param| param.describe());
            let params = params.collect::<Result<Vec<ParamDesc>, Failure>>()?;
            let options = BindOptions::of(options)?;
            let bound = rules.loaded.bind(&params, &options.to_rust()?)?;
            hand_out_box(Optimizer::new(bound), out)
        }
    })
}

impl Param {
    /// # Safety
    ///
    /// Its pointers are as the header says.
    unsafe fn describe(&self) -> Result<ParamDesc, Failure> {
        // SAFETY: the caller's promise.
        let name = unsafe { text::required(self.name, "name") }?;
        // SAFETY: the same.
        let dims = unsafe { tensor::dims(self.dims, self.rank) }?;
        let dtype = tensor::dtype(self.dtype)?;
        let mut desc = ParamDesc::new(name, dims, dtype);
        if self.grad_dtype != 0 {
            desc.grad_dtype = tensor::dtype(self.grad_dtype)?;
        }
        desc.device = tensor::device(self.device_type, self.device_index)?;
        Ok(desc)
    }
}

impl BindOptions {
    /// # Safety
    ///
    /// Null, or options with their size.
    unsafe fn of(options: *const BindOptions) -> Result<BindOptions, Failure> {
        let defaults = [size_of::<usize>()];
        let options = match options.is_null() {
            true => defaults.as_ptr().cast(),
            false => options,
        };
        // SAFETY: the defaults are a struct of which only the size is there; the rest is the caller's promise.
        unsafe { abi::read(options) }
    }

    /// # Safety
    ///
    /// Its pointers are as the header says.
    unsafe fn to_rust(self) -> Result<Options, Failure> {
        // SAFETY: all by the caller's promise.
        unsafe {
            let groups = abi::read_all(self.groups, self.group_count, "groups")?;
            let groups = groups.iter().map(|group| group.to_rust());
            Ok(Options {
                optimizer: text::optional(self.optimizer, "optimizer")?.map(str::to_owned),
                rule: text::optional(self.rule, "rule")?.map(str::to_owned),
                hypers: settings(self.hypers, self.hyper_count)?,
                statics: choices(self.statics, self.static_count)?,
                groups: groups.collect::<Result<_, Failure>>()?,
                pool: Some(Pool::shared(threads(self.threads))),
                non_finite: non_finite(self.non_finite)?,
                state_is_lent: self.state_is_lent != 0,
                noise: Noise::Seeded(self.seed),
                ..Options::default()
            })
        }
    }
}

fn non_finite(number: i32) -> Result<NonFinite, Failure> {
    Ok(match number {
        OPTC_NON_FINITE_PROPAGATE => NonFinite::Propagate,
        OPTC_NON_FINITE_REFUSE => NonFinite::Error,
        OPTC_NON_FINITE_SKIP => NonFinite::Skip,
        _ => {
            let message = format!("`non_finite` is {number}");
            let help = "it is one of the constants `OPTC_NON_FINITE_…`";
            return Err(Failure::argument("non_finite", message, help));
        }
    })
}

fn threads(wanted: usize) -> usize {
    let offered = std::thread::available_parallelism().map_or(1, usize::from);
    match wanted {
        0 => offered,
        // More would only wait for each other.
        _ => wanted.min(4 * offered),
    }
}

impl Group {
    /// # Safety
    ///
    /// Its pointers are as the header says.
    unsafe fn to_rust(self) -> Result<Members, Failure> {
        // SAFETY: all by the caller's promise.
        unsafe {
            let mut group = self.members()?;
            if let Some(rules) = self.rules.as_ref() {
                group = group.uses(&rules.loaded, text::optional(self.optimizer, "optimizer")?);
            }
            if let Some(rule) = text::optional(self.rule, "rule")? {
                group = group.rule(rule);
            }
            for (name, value) in settings(self.hypers, self.hyper_count)? {
                group = group.hyper(&name, value);
            }
            for (name, value) in choices(self.statics, self.static_count)? {
                group = group.set(&name, &value);
            }
            Ok(group)
        }
    }

    /// # Safety
    ///
    /// Its pointers are as the header says.
    unsafe fn members(&self) -> Result<Members, Failure> {
        // SAFETY: the caller's promise.
        if let Some(pattern) = unsafe { text::optional(self.pattern, "pattern") }? {
            return Ok(Members::new(pattern));
        }
        // SAFETY: the same.
        let names = unsafe { abi::slice(self.names, self.name_count, "names") }?;
        // SAFETY: the same.
        let names = names
            .iter()
            .map(|&name| unsafe { text::required(name, "names") });
        Ok(Members::of(names.collect::<Result<Vec<&str>, Failure>>()?))
    }
}

/// # Safety
///
/// Null, or a pointer to that many settings.
unsafe fn settings(from: *const Setting, count: usize) -> Result<Vec<(String, f64)>, Failure> {
    // SAFETY: the caller's promise.
    let all = unsafe { abi::slice(from, count, "hypers") }?;
    let each = all.iter().map(|setting| {
        // SAFETY: the same.
        let name = unsafe { text::required(setting.name, "name") }?;
        Ok((name.to_owned(), setting.value))
    });
    each.collect()
}

/// # Safety
///
/// Null, or a pointer to that many choices.
unsafe fn choices(from: *const Choice, count: usize) -> Result<Vec<(String, String)>, Failure> {
    // SAFETY: the caller's promise.
    let all = unsafe { abi::slice(from, count, "statics") }?;
    let each = all.iter().map(|choice| {
        // SAFETY: the same.
        let name = unsafe { text::required(choice.name, "name") }?;
        // SAFETY: the same.
        let value = unsafe { text::required(choice.value, "value") }?;
        Ok((name.to_owned(), value.to_owned()))
    });
    each.collect()
}
