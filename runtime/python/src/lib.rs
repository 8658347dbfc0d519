//! The extension module behind the Python package `optc`: what has to be Rust, and no more.
//!
//! [`artifact::Artifact`] is a checked source or artifact, [`engine::Engine`] one that is bound to the tensors of an
//! optimizer. Neither LibTorch nor LLVM is linked: tensors are read through their Python methods, so the same wheel
//! works with any version of torch.

mod artifact;
mod describe;
mod engine;
mod entry;
mod error;
mod fields;
mod groups;
mod migrate;
mod options;
mod overlap;
mod params;
mod tensor;
mod value;

#[pyo3::pymodule]
mod _optc {
    #[pymodule_export]
    use crate::artifact::{
        Artifact, check_composition, check_file, check_text, is_composition, run_command,
        standard_library,
    };
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::migrate::Changes;
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
