//! Map kernels as MLIR: a body shared by all targets, and the loops around it for each.

mod body;
pub(crate) mod cpu;
pub(crate) mod gpu;
