//! Map kernels as MLIR: a body shared by all targets, and the loops around it for each.

mod body;
pub(crate) mod cpu;
mod gpu;
pub(crate) mod grid;
mod support;
