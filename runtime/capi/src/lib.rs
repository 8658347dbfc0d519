//! The C interface: what `include/optc/optc.h` declares, function by function.
//!
//! A call reads its arguments into Rust values, hands them to `optc-runtime`, and turns what comes back into a status
//! and the thread's last error; no panic leaves it. What it leaves out: a second meaning of anything. Names, numbers
//! and codes are those of the runtime.
//!
//! The header is written by cbindgen from these files; the test `header` compares.

mod abi;
mod bind;
mod checkpoint;
mod describe;
mod entry;
mod error;
mod optimizer;
mod rules;
mod state;
mod tensor;
mod text;

pub use bind::{
    BindOptions, Choice, Group, OPTC_NON_FINITE_PROPAGATE, OPTC_NON_FINITE_REFUSE,
    OPTC_NON_FINITE_SKIP, Param, Setting, optc_bind,
};
pub use checkpoint::{
    Bytes, Checkpoint, optc_bytes_free, optc_bytes_get, optc_checkpoint_free,
    optc_checkpoint_hyper, optc_checkpoint_migrated, optc_checkpoint_read,
    optc_checkpoint_read_bytes, optc_checkpoint_state, optc_checkpoint_step, optc_load, optc_save,
    optc_save_bytes,
};
pub use entry::{
    EntryInfo, Input, InputInfo, OPTC_HAS_GRADIENT, OPTC_HAS_STATE, OPTC_HAS_TENSORS,
    optc_entry_get, optc_entry_input, optc_entry_takes, optc_run_entry,
};
pub use error::{
    Status, optc_error_code, optc_error_help, optc_error_message, optc_error_rendered,
};
pub use optimizer::{
    Optimizer, optc_group_count, optc_group_hyper, optc_group_optimizer, optc_group_shared,
    optc_hyper_get, optc_hyper_set, optc_optimizer_free, optc_report, optc_set_stream,
    optc_shared_set, optc_step,
};
pub use rules::{
    Hyper, Rules, Static, optc_rules_free, optc_rules_from_artifact, optc_rules_from_source,
    optc_rules_hyper, optc_rules_open, optc_rules_optimizer, optc_rules_static,
};
pub use state::{
    OPTC_NOT_BEGUN, ParamInfo, StateInfo, optc_lend_state, optc_param_count, optc_param_get,
    optc_reclaim_state, optc_state_begun, optc_state_get, optc_step_count,
};
pub use tensor::{
    OPTC_BF16, OPTC_CPU, OPTC_CUDA, OPTC_F16, OPTC_F32, OPTC_F64, OPTC_I64, OPTC_U8, Tensor,
};

use std::ffi::c_char;

/// The interface that this header declares. It grows when functions or struct members are added; a program that was
/// compiled with a smaller one goes on working.
pub const OPTC_ABI_VERSION: u32 = 1;

/// The interface that the library offers: at least `OPTC_ABI_VERSION` of the header that a program was compiled with,
/// or the program must be linked with a newer library.
#[unsafe(no_mangle)]
pub extern "C" fn optc_abi_version() -> u32 {
    OPTC_ABI_VERSION
}

/// The version of optc, such as `0.1.0`. Valid for ever.
#[unsafe(no_mangle)]
pub extern "C" fn optc_version() -> *const c_char {
    const VERSION: &std::ffi::CStr = match std::ffi::CStr::from_bytes_with_nul(
        concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes(),
    ) {
        Ok(version) => version,
        Err(_) => panic!("a version holds no NUL"),
    };
    VERSION.as_ptr()
}
