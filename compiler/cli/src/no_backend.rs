//! The command as the Python wheel brings it: without LLVM, so it says what to install.

use crate::args::{self, Emit, Target};
use crate::error::{CommandError, Exit, Failure};
use crate::needs::Needs;
use optc_core::hir::Program;

/// Nothing here can abort, so no child is needed.
pub(crate) fn supervised(work: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    work()
}

pub(crate) fn artifact(
    _program: &Program,
    _root: &str,
    _needs: &Needs,
    _targets: &[Target],
) -> Result<Vec<u8>, CommandError> {
    Err(CommandError::NoBackend)
}

pub(crate) fn text(_args: &args::Compile, _stage: Emit, _needs: &Needs) -> Result<String, Failure> {
    Err(CommandError::NoBackend.into())
}
