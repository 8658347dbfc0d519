//! Runs a command again in a child process, because LLVM may abort: the parent lives to say what happened.

use crate::error::{CommandError, Exit, Failure};
use std::process::Command;

/// Set in the child, so that it works instead of starting another.
const CHILD: &str = "OPTC_CHILD";

/// Runs `work` in a child of this process, which was started with the same arguments; in the child, just runs it.
pub(crate) fn in_child(work: impl FnOnce() -> Result<Exit, Failure>) -> Result<Exit, Failure> {
    if std::env::var_os(CHILD).is_some() {
        return work();
    }
    let Ok(program) = std::env::current_exe() else {
        return work();
    };
    let child = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(CHILD, "1")
        .status();
    // Without a child the work is still worth trying.
    let Ok(status) = child else { return work() };
    let exit = status.code().and_then(Exit::from_code);
    exit.ok_or_else(|| {
        CommandError::Bug {
            what: format!("the compiling process ended with {status}"),
        }
        .into()
    })
}
