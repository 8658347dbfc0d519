//! A panic is our bug: the message says so, and the exit code is 70.

use crate::error::Exit;
use std::panic::PanicHookInfo;

/// Replaces Rust's message. The hook ends the process, so no half-written result follows a panic in any thread.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{}", describe(info));
        std::process::exit(Exit::Bug as i32);
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let message = info.payload_as_str().unwrap_or("no message");
    let place = info
        .location()
        .map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
    message_for(&format!("{message}{place}"))
}

/// The text for a failure that is not the user's.
pub(crate) fn message_for(what: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "this is a bug in optc {version}: {what}\n\
         Your file is not to blame, whatever it says. Please report this text together with the command line and \
         the file that led here."
    )
}

/// Fails as a bug would: by a panic, or by an abort of the compiling process.
#[cfg(debug_assertions)]
pub(crate) fn provoke(abort: bool) -> Result<Exit, crate::error::Failure> {
    if abort {
        return crate::backend::supervised(|| std::process::abort());
    }
    panic!("asked for with `optc panic`")
}
