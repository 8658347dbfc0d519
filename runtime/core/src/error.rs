//! What can go wrong when loading, binding, stepping and saving; each with a code and what to do about it.

use crate::prepared::InvalidPlan;
use crate::routine::Failure;
use crate::view::Device;
use miette::Diagnostic;
use optc_core::dtype::DType;
use thiserror::Error;

/// Why parameters could not be bound.
#[derive(Debug, Error, Diagnostic)]
pub enum BindError {
    /// Two parameters have one name.
    #[error("parameter `{name}` is given twice")]
    #[diagnostic(code(opt::bind::duplicate), help("give every parameter its own name: checkpoints are keyed by it"))]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A device that this build cannot step on.
    #[error("parameter `{name}` is on {device}")]
    #[diagnostic(code(opt::bind::device), help("move the parameter to the cpu before binding"))]
    Device {
        /// The parameter.
        name: String,
        /// Where it is.
        device: Device,
    },
    /// The plan is not one that this runtime may run: a bug of the compiler.
    #[error("the plan for parameter `{name}` is not valid")]
    #[diagnostic(code(opt::bind::invalid_plan), help("this is a bug in optc: please report it with the source of the rule"))]
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
    #[diagnostic(code(opt::bind::quick_tier), help("compile the rule ahead of time: `optc compile`"))]
    QuickTier {
        /// Its message.
        message: String,
    },
    /// There is not enough memory for state and scratch.
    #[error("not enough memory for the state of parameter `{name}`")]
    #[diagnostic(code(opt::bind::memory), help("bind fewer parameters, or use a rule with less state"))]
    OutOfMemory {
        /// The parameter.
        name: String,
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
    #[diagnostic(code(opt::bind::shape), help("dimensions are 0 or more, and their product fits in memory"))]
    Shape {
        /// The parameter.
        name: String,
        /// Its dimensions.
        dims: Vec<i64>,
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
    #[diagnostic(code(opt::step::count), help("give every bound parameter, in the order of `bind`"))]
    Count {
        /// Bound.
        expected: usize,
        /// Given.
        found: usize,
    },
    /// A tensor has another shape than at bind.
    #[error("{which} `{name}` has shape {found:?}, bound as {expected:?}")]
    #[diagnostic(code(opt::step::shape), help("bind again after changing a parameter's shape"))]
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
    #[diagnostic(code(opt::step::dtype), help("convert the tensor, or bind again with its dtype"))]
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
    #[diagnostic(code(opt::step::strides), help("give one stride per axis, or none for a contiguous tensor"))]
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
        help("write `or retry f64` or `or keep` after the call in the rule, or look at this parameter's gradients")
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
    /// There is not enough memory for a contiguous copy of a strided tensor.
    #[error("not enough memory for a contiguous copy of {which} `{name}`")]
    #[diagnostic(code(opt::step::memory), help("make the tensor contiguous before the step"))]
    OutOfMemory {
        /// Which tensor.
        which: Which,
        /// The parameter.
        name: String,
    },
    /// A panic inside the step: a bug. Parameters and state may be partly written.
    #[error("the step of parameter `{name}` panicked")]
    #[diagnostic(code(opt::step::panicked), help("this is a bug in optc: please report it with the source of the rule"))]
    Panicked {
        /// The parameter, or what was being done.
        name: String,
    },
}
