//! Loads an artifact or a source and steps with it on tensor views.

pub mod kernels;
mod engine;
pub mod error;
mod execute;
mod memory;
mod moves;
mod object;
pub mod pool;
mod prepared;
mod product;
pub mod routine;
pub mod view;
