//! What can go wrong when loading, binding, stepping and saving; each with a code and what to do about it.

use crate::cuda::CudaError;
use crate::prepared::InvalidPlan;
use crate::routine::Failure;
use crate::view::Device;
use miette::Diagnostic;
use optc_core::check::Diagnostics;
use optc_core::dtype::DType;
use optc_core::lower::LowerError;
use optc_core::settings::SettingError;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a source or an artifact could not be loaded.
#[derive(Debug, Error, Diagnostic)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    #[diagnostic(code(opt::load::file), help("{}", meant(path)))]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Neither an artifact nor UTF-8.
    #[error("`{}` is neither an artifact nor text", path.display())]
    #[diagnostic(
        code(opt::load::not_text),
        help("a `.opt` file is UTF-8; an artifact begins with its own magic")
    )]
    NotText {
        /// Its path.
        path: PathBuf,
    },
    /// The standard library has no such module.
    #[error("the standard library has no module `{name}`")]
    #[diagnostic(code(opt::load::unknown_module), help("it has {known}"))]
    UnknownModule {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The source has mistakes.
    #[error("the source has mistakes")]
    #[diagnostic(transparent)]
    Source {
        /// All of them.
        source: Diagnostics,
    },
    /// The bytes are not an artifact for this machine.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Artifact(#[from] optc_artifact::LoadError),
    /// A file holds an artifact that is not one for this machine.
    #[error("`{}`: {reason}", path.display())]
    #[diagnostic(forward(reason))]
    ArtifactFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        reason: optc_artifact::LoadError,
    },
    /// The system refuses the artifact's machine code.
    #[error("the artifact's machine code cannot be loaded")]
    #[diagnostic(
        code(opt::load::code),
        help("allow this process to map executable memory, or load the artifact's source instead")
    )]
    Code {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a path that is no file may have been meant to be.
fn meant(path: &Path) -> String {
    let stem = path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    let module = format!("std.{}", stem.to_lowercase());
    match optc_stdlib::source(&module) {
        Some(_) => format!("the standard library's rule is `{module}`"),
        None => "give a `.opt` file, an artifact, or a module such as `std.adamw`".to_owned(),
    }
}

impl LoadError {
    /// The same about an artifact that was read from a file.
    pub fn of_file(self, path: &Path) -> LoadError {
        match self {
            LoadError::Artifact(reason) => LoadError::ArtifactFile {
                path: path.to_owned(),
                reason,
            },
            other => other,
        }
    }
}

/// Why parameters could not be bound.
#[derive(Debug, Error, Diagnostic)]
pub enum BindError {
    /// Two parameters have one name.
    #[error("parameter `{name}` is given twice")]
    #[diagnostic(
        code(opt::bind::duplicate),
        help("give every parameter its own name: checkpoints are keyed by it")
    )]
    Duplicate {
        /// The name.
        name: String,
    },
    /// Nothing was loaded that runs on a GPU.
    #[error("parameter `{name}` is on {device}, and the rules come without code for CUDA")]
    #[diagnostic(
        code(opt::bind::no_cuda_code),
        help(
            "compile the rules with `optc compile --target cpu,cuda` and load that artifact, or move the parameter to the cpu"
        )
    )]
    NoCudaCode {
        /// The parameter.
        name: String,
        /// Where it is.
        device: Device,
    },
    /// A kernel that the artifact's PTX lacks; there is no quick tier for devices.
    #[error("the artifact has no CUDA code `{symbol}`, which parameter `{name}` on {device} needs")]
    #[diagnostic(
        code(opt::bind::cuda_kernel),
        help(
            "compile the artifact with this version of optc, `--target cpu,cuda`, and the statics and dtypes in use"
        )
    )]
    MissingCudaKernel {
        /// The parameter.
        name: String,
        /// Where it is.
        device: Device,
        /// The entry.
        symbol: String,
    },
    /// A rule that needs more than map kernels.
    #[error(
        "rule `{rule}` needs {operation} for parameter `{name}`, which does not run on {device} yet"
    )]
    #[diagnostic(
        code(opt::bind::cuda_operation),
        help(
            "move the parameter to the cpu, or give it a rule of element-wise work and sums (AdamW, say) with a group"
        )
    )]
    CudaOperation {
        /// The parameter.
        name: String,
        /// Its rule.
        rule: String,
        /// What devices do not do.
        operation: &'static str,
        /// Where the parameter is.
        device: Device,
    },
    /// The artifact's PTX is for other devices.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Artifact(#[from] optc_artifact::LoadError),
    /// The driver or a device refuses.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cuda(#[from] CudaError),
    /// The plan is not one that this runtime may run: a bug of the compiler.
    #[error("the plan for parameter `{name}` is not valid")]
    #[diagnostic(
        code(opt::bind::invalid_plan),
        help("this is a bug in optc: please report it with the source of the rule")
    )]
    InvalidPlan {
        /// The parameter.
        name: String,
        /// The violation.
        #[source]
        source: InvalidPlan,
    },
    /// A kernel has no code in the artifact, and this program has no quick tier.
    #[error("no code for a kernel of parameter `{name}` (kernel {hash})")]
    #[diagnostic(
        code(opt::bind::missing_kernel),
        help("compile the artifact for this shape, or build the runtime with its feature `quick`")
    )]
    MissingKernel {
        /// The parameter.
        name: String,
        /// The kernel's content hash.
        hash: String,
    },
    /// The quick tier could not compile a kernel.
    #[error("the quick tier cannot compile the kernels")]
    #[diagnostic(
        code(opt::bind::quick_tier),
        help("compile the rule ahead of time: `optc compile`")
    )]
    QuickTier {
        /// Its message.
        message: String,
    },
    /// There is not enough memory for state and scratch.
    #[error("not enough memory on {device} for the state of parameter `{name}`")]
    #[diagnostic(
        code(opt::bind::memory),
        help("bind fewer parameters, or use a rule with less state")
    )]
    OutOfMemory {
        /// The parameter.
        name: String,
        /// Where it is.
        device: Device,
    },
    /// The source declares several optimizers, or none.
    #[error("which optimizer is meant?")]
    #[diagnostic(code(opt::bind::which_optimizer), help("name one of {known}"))]
    WhichOptimizer {
        /// What there is.
        known: String,
    },
    /// The source declares no such optimizer.
    #[error("there is no optimizer `{name}`")]
    #[diagnostic(
        code(opt::bind::unknown_optimizer),
        help("the source declares {known}")
    )]
    UnknownOptimizer {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// A hyperparameter or static that cannot be set so.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Setting(#[from] SettingError),
    /// A group's pattern is not a regular expression.
    #[error("`{pattern}` is not a regular expression")]
    #[diagnostic(code(opt::bind::pattern), help("{message}"))]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        message: String,
    },
    /// A group's pattern is found in no name.
    #[error("the pattern `{pattern}` matches no parameter")]
    #[diagnostic(
        code(opt::bind::nothing_matches),
        help("correct the pattern or remove the group")
    )]
    NothingMatches {
        /// The pattern.
        pattern: String,
    },
    /// A parameter belongs to two groups.
    #[error("parameter `{name}` matches both `{first}` and `{second}`")]
    #[diagnostic(
        code(opt::bind::two_groups),
        help("make one of the patterns more exact: a parameter has one group")
    )]
    TwoGroups {
        /// The parameter.
        name: String,
        /// One group's pattern.
        first: String,
        /// Another's.
        second: String,
    },
    /// No rule takes a parameter of this shape.
    #[error("no rule of `{optimizer}` takes parameter `{name}` of shape {dims:?}")]
    #[diagnostic(
        code(opt::bind::no_rule),
        help("add a rule for this shape, such as `rule other(w: [...])`")
    )]
    NoRule {
        /// The parameter.
        name: String,
        /// Its dimensions.
        dims: Vec<i64>,
        /// The optimizer.
        optimizer: String,
    },
    /// A rule whose loops, written out, are more than anything can run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    TooLarge(#[from] LowerError),
    /// A group names a rule that does not exist.
    #[error("`{optimizer}` has no rule `{rule}`")]
    #[diagnostic(code(opt::bind::unknown_rule), help("it has {known}"))]
    UnknownRule {
        /// What was asked for.
        rule: String,
        /// The optimizer.
        optimizer: String,
        /// What there is.
        known: String,
    },
    /// A group names a rule that does not take one of its parameters.
    #[error("the rule `{rule}` does not take parameter `{name}` of shape {dims:?}")]
    #[diagnostic(
        code(opt::bind::rule_refuses),
        help("leave this parameter out of the group, or widen the rule's pattern")
    )]
    RuleRefuses {
        /// The parameter.
        name: String,
        /// The rule.
        rule: String,
        /// The parameter's dimensions.
        dims: Vec<i64>,
    },
    /// A parameter that does not hold floats.
    #[error("parameter `{name}` is stored as {dtype}")]
    #[diagnostic(
        code(opt::bind::not_float),
        help("parameters are f64, f32, bf16 or f16")
    )]
    NotFloat {
        /// The parameter.
        name: String,
        /// Its dtype.
        dtype: DType,
    },
    /// Too many axes.
    #[error("parameter `{name}` has {rank} axes")]
    #[diagnostic(code(opt::bind::rank), help("reshape it to at most 16 axes"))]
    Rank {
        /// The parameter.
        name: String,
        /// Its number of axes.
        rank: usize,
    },
    /// A dimension is negative, or there are more elements than memory has.
    #[error("parameter `{name}` has the impossible shape {dims:?}")]
    #[diagnostic(
        code(opt::bind::shape),
        help("dimensions are 0 or more, and their product fits in memory")
    )]
    Shape {
        /// The parameter.
        name: String,
        /// Its dimensions.
        dims: Vec<i64>,
    },
}

/// Why a hyperparameter was not set.
#[derive(Debug, Error, Diagnostic)]
pub enum HyperError {
    /// No such group.
    #[error("there is no group {group}")]
    #[diagnostic(
        code(opt::step::unknown_group),
        help("there are {groups}, counted from 0: the optimizer's own settings")
    )]
    UnknownGroup {
        /// What was asked for.
        group: usize,
        /// How many there are.
        groups: usize,
    },
    /// No such hyperparameter.
    #[error("`{optimizer}` has no hyperparameter `{name}`")]
    #[diagnostic(code(opt::step::unknown_hyper), help("it has {known}"))]
    UnknownHyper {
        /// The optimizer.
        optimizer: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Outside its interval.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Setting(#[from] SettingError),
}

/// Why state could not be saved or loaded.
#[derive(Debug, Error, Diagnostic)]
pub enum CheckpointError {
    /// The file cannot be read or written.
    #[error("cannot {action} `{}`", path.display())]
    #[diagnostic(
        code(opt::checkpoint::file),
        help("check the folder, the name of the file, and that there is space for it")
    )]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// State on a device cannot be read or written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cuda(#[from] CudaError),
    /// Not a safetensors file, or a damaged one.
    #[error("`{}` is not a checkpoint", path.display())]
    #[diagnostic(
        code(opt::checkpoint::damaged),
        help("the file is damaged or not a checkpoint of optc: {what}")
    )]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Written by a later version.
    #[error("the checkpoint has format {found}, this program reads {known}")]
    #[diagnostic(code(opt::checkpoint::format), help("update this program"))]
    Format {
        /// In the file.
        found: u64,
        /// The newest one known.
        known: u64,
    },
    /// The content is not what was written.
    #[error("the checkpoint's content was altered")]
    #[diagnostic(code(opt::checkpoint::hash), help("use another copy of the file"))]
    Hash,
    /// Of another optimizer.
    #[error("the checkpoint is of optimizer `{found}`, not `{expected}`")]
    #[diagnostic(
        code(opt::checkpoint::optimizer),
        help("load it with the optimizer that saved it")
    )]
    Optimizer {
        /// Bound.
        expected: String,
        /// In the file.
        found: String,
    },
    /// Of a version from which no migration is declared.
    #[error(
        "the checkpoint is of version `{found}` of `{optimizer}`, this is version `{expected}`"
    )]
    #[diagnostic(
        code(opt::checkpoint::version),
        help(
            "write `migrate from \"{found}\" {{ … }}` in `optimizer {optimizer}`, or load it with that version"
        )
    )]
    Version {
        /// Whose.
        optimizer: String,
        /// In the file.
        found: String,
        /// Bound.
        expected: String,
    },
    /// Other groups or hyperparameters.
    #[error("the checkpoint has other groups or hyperparameters: {what}")]
    #[diagnostic(
        code(opt::checkpoint::groups),
        help("bind with the groups of the run that saved it")
    )]
    Groups {
        /// The difference.
        what: String,
    },
    /// State that is bound and not in the file.
    #[error("the checkpoint lacks `{key}`")]
    #[diagnostic(
        code(opt::checkpoint::missing),
        help("bind the parameters of the run that saved it, under the same names")
    )]
    Missing {
        /// `<parameter>/<state>`.
        key: String,
    },
    /// State that is in the file and not bound.
    #[error("the checkpoint has `{key}`, which is not bound")]
    #[diagnostic(
        code(opt::checkpoint::unexpected),
        help("bind the parameters of the run that saved it, under the same names")
    )]
    Unexpected {
        /// `<parameter>/<state>`.
        key: String,
    },
    /// State of another shape or dtype.
    #[error("`{key}` is {found} in the checkpoint, {expected} in this optimizer")]
    #[diagnostic(
        code(opt::checkpoint::shape),
        help("load it into a model of the same shapes and dtypes")
    )]
    Shape {
        /// `<parameter>/<state>`.
        key: String,
        /// Bound.
        expected: String,
        /// In the file.
        found: String,
    },
}

/// Which of a parameter's tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The parameter itself.
    Parameter,
    /// Its gradient.
    Gradient,
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Which::Parameter => "parameter",
            Which::Gradient => "gradient of",
        })
    }
}

/// Why a step did not happen, or did not finish.
///
/// Unless the variant says otherwise nothing was written.
#[derive(Debug, Error, Diagnostic)]
pub enum StepError {
    /// Not as many tensors as parameters were bound.
    #[error("{found} parameters are given, {expected} are bound")]
    #[diagnostic(
        code(opt::step::count),
        help("give every bound parameter, in the order of `bind`")
    )]
    Count {
        /// Bound.
        expected: usize,
        /// Given.
        found: usize,
    },
    /// A tensor has another shape than at bind.
    #[error("{which} `{name}` has shape {found:?}, bound as {expected:?}")]
    #[diagnostic(
        code(opt::step::shape),
        help("bind again after changing a parameter's shape")
    )]
    Shape {
        /// Which tensor.
        which: Which,
        /// The parameter.
        name: String,
        /// At bind.
        expected: Vec<i64>,
        /// Now.
        found: Vec<i64>,
    },
    /// A tensor has another dtype than at bind.
    #[error("{which} `{name}` is stored as {found}, bound as {expected}")]
    #[diagnostic(
        code(opt::step::dtype),
        help("convert the tensor, or bind again with its dtype")
    )]
    DType {
        /// Which tensor.
        which: Which,
        /// The parameter.
        name: String,
        /// At bind.
        expected: DType,
        /// Now.
        found: DType,
    },
    /// A tensor is on another device than at bind.
    #[error("{which} `{name}` is on {found}, bound on {expected}")]
    #[diagnostic(code(opt::step::device), help("move the tensor, or bind again"))]
    Device {
        /// Which tensor.
        which: Which,
        /// The parameter.
        name: String,
        /// At bind.
        expected: Device,
        /// Now.
        found: Device,
    },
    /// The strides do not fit the dimensions.
    #[error("{which} `{name}` has {found} strides for {expected} axes")]
    #[diagnostic(
        code(opt::step::strides),
        help("give one stride per axis, or none for a contiguous tensor")
    )]
    Strides {
        /// Which tensor.
        which: Which,
        /// The parameter.
        name: String,
        /// Axes.
        expected: usize,
        /// Strides.
        found: usize,
    },
    /// The caller keeps the state, and what was lent for this step cannot be used.
    #[error("the state lent for parameter `{name}` does not fit: {what}")]
    #[diagnostic(
        code(opt::step::state),
        help(
            "lend a contiguous tensor for each state of the rule, in its order, before every step"
        )
    )]
    State {
        /// The parameter.
        name: String,
        /// The difference.
        what: String,
    },
    /// A parameter's view may not be written.
    #[error("parameter `{name}` is given as read-only")]
    #[diagnostic(code(opt::step::read_only), help("make its view from a mutable slice"))]
    ReadOnly {
        /// The parameter.
        name: String,
    },
    /// A gradient holds a NaN or an infinity, and the policy is to refuse it.
    #[error("the gradient of `{name}` is {value} at {index:?}")]
    #[diagnostic(
        code(opt::step::non_finite),
        help("skip this step (or scale the loss down), or bind with `NonFinite::Propagate`")
    )]
    NonFinite {
        /// The first such parameter.
        name: String,
        /// Its first such element.
        index: Vec<u64>,
        /// The value.
        value: f64,
    },
    /// A factorization failed, and the rule has no `or retry` or `or keep` for it. This parameter's state may be
    /// partly written and its step is not counted; the other parameters finished theirs.
    #[error("`{routine}` failed for parameter `{name}`")]
    #[diagnostic(
        code(opt::step::failed),
        help(
            "write `or retry f64`, `or keep` or `or else` after the call in the rule, or look at this parameter's gradients"
        )
    )]
    Failed {
        /// The first such parameter.
        name: String,
        /// The function of the rule.
        routine: &'static str,
        /// Why.
        #[source]
        source: Failure,
    },
    /// Factorizations failed in more steps in a row than the rule keeps a state for. This parameter's state may be
    /// partly written, its step is not counted and the state is still the old one; the other parameters finished theirs.
    #[error(
        "`{state}` of parameter `{name}` could not be computed again after it was kept for {most} failures in a row"
    )]
    #[diagnostic(
        code(opt::step::kept_too_often),
        help(
            "look at this parameter's gradients, or let the rule keep the state for longer: `or keep at most 10 times`"
        )
    )]
    KeptTooOften {
        /// The first such parameter.
        name: String,
        /// The state.
        state: String,
        /// How many failures in a row the rule allows.
        most: u32,
    },
    /// No rule of the bound parameters has that entry.
    #[error("`{optimizer}` has no entry `{name}`")]
    #[diagnostic(code(opt::entry::unknown), help("it has {known}"))]
    UnknownEntry {
        /// The optimizer.
        optimizer: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// An entry is given something that it does not take.
    #[error("entry `{entry}` takes no `{name}`")]
    #[diagnostic(code(opt::entry::unknown_input), help("it takes {known}"))]
    UnknownInput {
        /// The entry.
        entry: String,
        /// What was given.
        name: String,
        /// What it takes.
        known: String,
    },
    /// An entry is not given something that it takes.
    #[error("entry `{entry}` needs `{name}`")]
    #[diagnostic(code(opt::entry::missing_input), help("it takes {known}"))]
    MissingInput {
        /// The entry.
        entry: String,
        /// What is missing.
        name: String,
        /// What it takes.
        known: String,
    },
    /// A tensor that an entry is given is not like the parameter.
    #[error("`{input}` of entry `{entry}` does not fit parameter `{name}`: {what}")]
    #[diagnostic(
        code(opt::entry::tensor),
        help("give a tensor of the parameter's shape, dtype and device")
    )]
    EntryTensor {
        /// The entry.
        entry: String,
        /// The input.
        input: String,
        /// The parameter.
        name: String,
        /// The difference.
        what: String,
    },
    /// Entries run on the host.
    #[error("entry `{entry}` cannot run for parameter `{name}` on {device}")]
    #[diagnostic(
        code(opt::entry::device),
        help("move the parameter, its gradient and its state to the host for this call")
    )]
    EntryOnDevice {
        /// The entry.
        entry: String,
        /// The parameter.
        name: String,
        /// Where it is.
        device: Device,
    },
    /// There is not enough memory for a contiguous copy of a strided tensor.
    #[error("not enough memory for a contiguous copy of {which} `{name}`")]
    #[diagnostic(
        code(opt::step::memory),
        help("make the tensor contiguous before the step")
    )]
    OutOfMemory {
        /// Which tensor.
        which: Which,
        /// The parameter.
        name: String,
    },
    /// A device failed, now or in earlier work. The parameters on it may be partly written and their step is not
    /// counted; the others finished theirs, unless it failed before anything was written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cuda(#[from] CudaError),
    /// A panic inside the step: a bug. Parameters and state may be partly written.
    #[error("the step of parameter `{name}` panicked")]
    #[diagnostic(
        code(opt::step::panicked),
        help("this is a bug in optc: please report it with the source of the rule")
    )]
    Panicked {
        /// The parameter, or what was being done.
        name: String,
    },
}
