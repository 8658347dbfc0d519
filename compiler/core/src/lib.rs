//! The middle of the compiler: checked trees, IR, passes, the plan and the reference interpreter.
//!
//! Pure: no file, environment or clock access, no native library.

pub mod check;
pub mod dtype;
pub mod hir;
pub mod kernel;
pub mod plan;
pub mod source;
