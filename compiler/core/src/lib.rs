//! The middle of the compiler: checked trees, IR, passes, the plan and the reference interpreter.
//!
//! Pure: no file, environment or clock access, no native library.

pub mod dtype;
pub mod kernel;
pub mod kernel_eval;
#[doc(hidden)]
pub mod kernel_random;
pub mod kernel_verify;
pub mod plan;
