//! The quick tier: map kernels to machine code in memory.
