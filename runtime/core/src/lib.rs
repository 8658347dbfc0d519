//! Loads an artifact or a source and steps with it on tensor views.
//!
//! ```
//! use optc_core::dtype::DType;
//! use optc_runtime::{BindOptions, ParamDesc, Rules, StepInput, TensorView};
//!
//! let params = [ParamDesc::new("weight", &[2, 2], DType::F32)];
//! let mut optimizer = Rules::from_std("std.adamw")?.bind(&params, &BindOptions::default())?;
//!
//! let (mut weight, gradient) = (vec![1.0f32; 4], vec![0.5f32; 4]);
//! let input = StepInput {
//!     param: TensorView::from_mut(&mut weight, &[2, 2]).unwrap(),
//!     grad: TensorView::from_ref(&gradient, &[2, 2]),
//! };
//! optimizer.step(&[input])?;
//! assert!(weight.iter().all(|&w| w < 1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Rules`] is a checked source, with machine code if it came from an artifact. [`Rules::bind`] specialises it for the
//! shapes of a model; [`Optimizer::step`] runs over views of the caller's tensors. Neither LLVM nor LibTorch is used;
//! kernels that no artifact carries are compiled by Cranelift, which the feature `quick` brings.

pub mod apart;
mod checkpoint;
pub mod cuda;
mod engine;
pub mod error;
mod execute;
mod groups;
pub mod kernels;
mod lent;
mod memory;
mod moves;
mod object;
mod optimizer;
mod plans;
pub mod pool;
mod prepared;
mod product;
mod quantized;
mod report;
mod routine;
mod rules;
pub mod view;

pub use checkpoint::{Changes, Saved, SavedParam, versions_of};
pub use engine::entry::{Given, Present};
pub use engine::{NonFinite, StepInput};
pub use error::{BindError, CheckpointError, HyperError, LoadError, StepError};
pub use groups::Group;
pub use kernels::Tier;
pub use optimizer::{BindOptions, Optimizer, ParamDesc, StateView};
pub use pool::Pool;
pub use prepared::InvalidPlan;
pub use report::Report;
pub use routine::Failure;
pub use rules::Rules;
pub use view::{Device, TensorView};
