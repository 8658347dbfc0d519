//! The middle of the compiler: checked trees, IR, passes, the plan and the reference interpreter.
//!
//! Pure: no file, environment or clock access, no native library.

pub mod check;
pub mod codes;
pub mod dtype;
pub mod hir;
mod hir_text;
pub mod host_math;
pub mod interp;
pub mod ir;
pub mod kernel;
pub mod kernel_eval;
pub mod kernel_math;
#[doc(hidden)]
pub mod kernel_random;
#[doc(hidden)]
pub mod kernel_round;
pub mod kernel_support;
pub mod kernel_verify;
pub mod lower;
pub mod packed;
pub mod passes;
pub mod plan;
pub mod planner;
pub mod quantized;
pub mod random;
pub mod settings;
pub mod source;
pub mod specialize;
pub mod variants;
