//! Helpers that the test suites share.
//!
//! `golden` reads the recorded trajectories, `mapping` says which `.opt` optimizer with which options each of them is,
//! `parity` runs a [`parity::Stepper`] through one and measures it with `compare`, and `tolerance` says how near it must come. Where
//! recorded numbers hang on random numbers or on signs that a factorization chose, `replay` and `signs` know them.
//! `trial` runs a rule that a test wrote, and `device` is for parameters on a GPU that is not there.

pub mod compare;
pub mod compiled;
pub mod device;
pub mod exchange;
pub mod golden;
pub mod interpreted;
pub mod library;
pub mod mapping;
pub mod parity;
pub mod replay;
pub mod signs;
pub mod tolerance;
pub mod trial;
