//! The command `optc`: checks, compiles, inspects and explains `.opt` files.
//!
//! The only crate with arguments, files and colours. What the compiler finds comes back as values; here it becomes
//! text for people or JSON for programs, and an exit code. Without the feature `compile` it needs no LLVM; that is how
//! the Python wheel brings it.
#![forbid(unsafe_code)]

mod args;
#[cfg(feature = "compile")]
mod artifact;
#[cfg(feature = "compile")]
mod backend;
#[cfg(not(feature = "compile"))]
#[path = "no_backend.rs"]
mod backend;
mod bug;
mod check;
mod choice;
mod compile;
mod cost;
pub mod describe;
mod error;
mod explain;
mod inspect;
mod list;
mod needs;
mod new;
mod output;
mod pages;
mod program;
mod report;
mod source;
#[cfg(feature = "compile")]
mod supervise;
mod text;

use args::{Args, Command};
use error::{Exit, Failure};
pub use inspect::{Question, inspect};
use report::Reporter;
pub use report::rendered;
use std::ffi::OsString;

/// Runs the command with these arguments, the program's name first. Returns its exit code.
///
/// A panic ends the process, after a message that says it is a bug.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    bug::install_hook();
    let args = match args::parse(arguments) {
        Ok(args) => args,
        Err(exit) => return exit as u8,
    };
    let reporter = Reporter::new(args.color, args.message_format);
    let exit = match run(&args, &reporter) {
        Ok(exit) => exit,
        Err(Failure::Reported) => Exit::Diagnostics,
        Err(Failure::Command(error)) => {
            reporter.report(&error);
            error.exit()
        }
    };
    exit as u8
}

fn run(args: &Args, reporter: &Reporter) -> Result<Exit, Failure> {
    match &args.command {
        Command::Check(args) => check::run(args, reporter),
        Command::Compile(args) => compile::run(args, reporter),
        Command::Inspect(args) => inspect::run(args, reporter),
        Command::Explain(args) => explain::run(args),
        Command::List => list::run(reporter),
        Command::New(args) => new::run(args, reporter),
        #[cfg(debug_assertions)]
        Command::Panic(args) => bug::provoke(args.abort),
    }
}
