//! Kernels to MLIR to object code or PTX.
