//! Steps with an `optc` optimizer on the variables of a `tch` store.
//!
//! ```
//! use optc_tch::{Group, Optimizer};
//! use tch::{nn, nn::Module, Device, Kind, Tensor};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let layer = nn::linear(vs.root() / "layer", 4, 2, Default::default());
//! let mut optimizer = Optimizer::builder()
//!     .hyper("weight_decay", 0.1)
//!     .group(Group::new("bias$").hyper("weight_decay", 0.0))
//!     .build_from_file(&vs, "std.adamw")?;
//!
//! let loss = layer.forward(&Tensor::ones([3, 4], (Kind::Float, Device::Cpu))).square().mean(Kind::Float);
//! optimizer.set_lr(1e-2)?;
//! optimizer.backward_step(&loss)?;
//! # Ok::<(), optc_tch::Error>(())
//! ```
//!
//! [`Optimizer`] has the methods of `tch::nn::Optimizer`, with errors in place of panics. Variables are bound once, by
//! the names they have in the store; a step reads and writes their memory where it is. What it leaves out: variables
//! made after the optimizer was built, and sparse gradients; both are errors.
//!
//! Variables on a CUDA device need an artifact compiled with `--target cpu,cuda`. tch does not say which stream is
//! current, so steps go to the legacy default stream, which is LibTorch's unless a program changes it; one that does
//! says so with [`Optimizer::set_stream`].

mod entry;
mod error;
mod optimizer;
mod variables;

pub use entry::Given;
pub use error::Error;
pub use optc_runtime::cuda::Stream;
pub use optc_runtime::{Group, NonFinite, Pool, Rules};
pub use optimizer::{Builder, Optimizer};

/// The page about Rust programs: its blocks run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rust.md")]
struct Book;
