//! What went wrong → a status, and the last error of the thread.

use miette::Diagnostic;
use optc_cli::rendered;
use optc_runtime::cuda::CudaError;
use optc_runtime::{BindError, CheckpointError, HyperError, LoadError, StepError};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a function returns. Which mistake it was, `optc_error_code` says.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// An argument that no call can use: a null pointer, a text that is not UTF-8, an index that is too large.
    Argument = 1,
    /// A source or an artifact cannot be loaded.
    Load = 2,
    /// Parameters cannot be bound.
    Bind = 3,
    /// A hyperparameter cannot be read or set so.
    Hyper = 4,
    /// A step was refused, or did not finish.
    Step = 5,
    /// State was not saved or loaded.
    Checkpoint = 6,
    /// A bug of optc; the object of the call may be in any state, and can still be freed.
    Bug = 7,
}

/// A status, with what a person reads.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    code: String,
    message: String,
    help: String,
    rendered: String,
}

/// The last error of a thread, as C reads it.
#[derive(Default)]
struct Last {
    code: CString,
    message: CString,
    help: CString,
    rendered: CString,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

impl Failure {
    /// A mistake in how a function was called.
    pub(crate) fn argument(code: &str, message: String, help: &str) -> Failure {
        Failure {
            status: Status::Argument,
            rendered: format!("opt::c::{code}\n\n  × {message}\n  help: {help}\n"),
            code: format!("opt::c::{code}"),
            message,
            help: help.to_owned(),
        }
    }

    fn of(status: Status, diagnostic: &dyn Diagnostic) -> Failure {
        Failure {
            status,
            code: text(diagnostic.code()),
            message: with_causes(diagnostic),
            help: text(diagnostic.help()),
            rendered: rendered(diagnostic),
        }
    }

    fn of_panic(panic: &(dyn Any + Send)) -> Failure {
        let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
        let message = format!("optc panicked: {}", words.unwrap_or_default());
        let help = "this is a bug in optc: please report it with the source of the rule";
        Failure {
            status: Status::Bug,
            ..Failure::argument("panic", message, help)
        }
    }

    /// Makes it the thread's last error.
    fn record(self) -> Status {
        let last = Last {
            code: c_text(self.code),
            message: c_text(self.message),
            help: c_text(self.help),
            rendered: c_text(self.rendered),
        };
        // A thread that is ending has no place for it any more.
        let _ = LAST.try_with(|place| place.replace(last));
        self.status
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        let LoadError::Source { source } = &error else {
            return Failure::of(Status::Load, &error);
        };
        let each: Vec<Failure> = (source.iter())
            .map(|one| Failure::of(Status::Load, one))
            .collect();
        let rendered = each
            .iter()
            .map(|one| one.rendered.as_str())
            .collect::<Vec<_>>()
            .join("\n");
        let first = each.into_iter().next();
        let first = first.unwrap_or_else(|| Failure::of(Status::Load, source));
        Failure {
            message: source.to_string(),
            rendered,
            ..first
        }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Failure {
        Failure::of(Status::Bind, &error)
    }
}

impl From<HyperError> for Failure {
    fn from(error: HyperError) -> Failure {
        Failure::of(Status::Hyper, &error)
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Failure {
        Failure::of(Status::Step, &error)
    }
}

impl From<CudaError> for Failure {
    fn from(error: CudaError) -> Failure {
        Failure::of(Status::Step, &error)
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Failure {
        Failure::of(Status::Checkpoint, &error)
    }
}

/// Runs the body of a function of the interface.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> Status {
    let outcome = catch_unwind(AssertUnwindSafe(body));
    match outcome.unwrap_or_else(|panic| Err(Failure::of_panic(&*panic))) {
        Ok(()) => Status::Ok,
        Err(failure) => failure.record(),
    }
}

/// Runs the body of a function that has nothing to say: one that frees.
pub(crate) fn quietly(body: impl FnOnce()) {
    let _ = guard(|| {
        body();
        Ok(())
    });
}

fn text(part: Option<Box<dyn std::fmt::Display + '_>>) -> String {
    part.map(|part| part.to_string()).unwrap_or_default()
}

/// `cannot read `x.opt`: No such file or directory`.
fn with_causes(diagnostic: &dyn Diagnostic) -> String {
    let mut message = diagnostic.to_string();
    let mut cause = diagnostic.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

fn c_text(text: String) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

fn last(part: fn(&Last) -> &CString) -> *const c_char {
    LAST.try_with(|last| part(&last.borrow()).as_ptr())
        .unwrap_or(c"".as_ptr())
}

/// The stable code of this thread's last error, such as `opt::bind::nothing_matches`; empty before the first.
/// `optc explain CODE` prints a page about those of the language.
///
/// Like the three functions below: a call that succeeds leaves it as it was, and the text is valid until the next call
/// on this thread that fails.
#[unsafe(no_mangle)]
pub extern "C" fn optc_error_code() -> *const c_char {
    last(|last| &last.code)
}

/// What this thread's last error was, in one line.
#[unsafe(no_mangle)]
pub extern "C" fn optc_error_message() -> *const c_char {
    last(|last| &last.message)
}

/// What to do about this thread's last error; may be empty.
#[unsafe(no_mangle)]
pub extern "C" fn optc_error_help() -> *const c_char {
    last(|last| &last.help)
}

/// All of this thread's last error for a terminal, with the places in the source; several lines.
#[unsafe(no_mangle)]
pub extern "C" fn optc_error_rendered() -> *const c_char {
    last(|last| &last.rendered)
}
