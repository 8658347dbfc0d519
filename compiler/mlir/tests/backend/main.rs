//! The MLIR backend against the meaning of kernels and products.

mod common;
mod cuda;
mod maps;
mod products;
