//! What can go wrong between a store and a step.

use miette::Diagnostic;
use optc_runtime::apart::clash_text;
use optc_runtime::{BindError, CheckpointError, HyperError, LoadError, StepError};
use tch::{Device, Kind, TchError};
use thiserror::Error;

/// Why an optimizer was not built, a step not done, or a file not read or written.
#[derive(Debug, Error, Diagnostic)]
pub enum Error {
    /// The source or artifact cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] LoadError),
    /// The variables do not fit the optimizer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bind(#[from] BindError),
    /// A hyperparameter cannot have that value.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hyper(#[from] HyperError),
    /// The step was refused or did not finish.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Step(#[from] StepError),
    /// State was not saved or loaded.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// LibTorch refused an operation on a tensor.
    #[error("libtorch: {0}")]
    #[diagnostic(code(opt::tch::libtorch))]
    LibTorch(#[from] TchError),
    /// An entry is given a tensor for something else.
    #[error("`{input}` has a tensor for `{name}`, which is no variable of the store")]
    #[diagnostic(
        code(opt::tch::given),
        help("use the names that variables have in the store")
    )]
    Given {
        /// The input.
        input: String,
        /// What the tensor is for.
        name: String,
    },
    /// Elements that no optimizer steps on.
    #[error("variable `{name}` or its gradient holds elements of kind {kind:?}")]
    #[diagnostic(
        code(opt::tch::kind),
        help("variables are Float, Double, BFloat16 or Half")
    )]
    Kind {
        /// The variable.
        name: String,
        /// Its kind.
        kind: Kind,
    },
    /// A device that the runtime does not know.
    #[error("variable `{name}` is on {device:?}")]
    #[diagnostic(
        code(opt::tch::device),
        help("move the store to the cpu or to a CUDA device")
    )]
    Device {
        /// The variable.
        name: String,
        /// Where it is.
        device: Device,
    },
    /// A sparse tensor has no place in memory for each of its elements.
    #[error("variable `{name}` or its gradient is sparse")]
    #[diagnostic(
        code(opt::tch::sparse),
        help("build the embedding with `sparse: false`")
    )]
    Sparse {
        /// The variable.
        name: String,
    },
    /// Several indices of one variable are one element in memory.
    #[error("elements of variable `{name}` share memory with each other")]
    #[diagnostic(
        code(opt::tch::overlapping),
        help("make it contiguous; an expanded tensor cannot be stepped")
    )]
    Overlapping {
        /// The variable.
        name: String,
    },
    /// One of the tensors would be written while another one is read or written.
    #[error("{}", clash_text(first, second))]
    #[diagnostic(
        code(opt::tch::shared),
        help(
            "keep a tied variable under one name in the store, and give each gradient memory of its own"
        )
    )]
    Shared {
        /// A variable.
        first: String,
        /// A variable, or the owner of a gradient.
        second: String,
    },
    /// The store was divided with `Path::set_group`.
    #[error("variable `{name}` is in group {group} of its store")]
    #[diagnostic(
        code(opt::tch::store_group),
        help("name groups by pattern instead: `.group(Group::new(\"…\"))`")
    )]
    StoreGroup {
        /// The variable.
        name: String,
        /// Its group.
        group: usize,
    },
    /// Variables were made after the optimizer was built.
    #[error("the store has {found} trainable variables, {bound} are bound")]
    #[diagnostic(
        code(opt::tch::grown),
        help("build the optimizer after the whole model")
    )]
    Grown {
        /// When it was built.
        bound: usize,
        /// Now.
        found: usize,
    },
}
