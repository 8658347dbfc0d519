//! The command `optc`: checks, compiles, inspects and explains `.opt` files.
//!
//! The only crate with arguments, files and colours. What the compiler finds comes back as values; here it becomes
//! text for people or JSON for programs, and an exit code.
#![forbid(unsafe_code)]

mod args;
mod artifact;
mod bug;
mod check;
mod choice;
mod compile;
mod cost;
mod describe;
mod error;
mod explain;
mod inspect;
mod list;
mod new;
mod output;
mod pages;
mod program;
mod report;
mod source;
mod supervise;
mod text;

use args::{Args, Command};
use error::{Exit, Failure};
use report::Reporter;
use std::process::ExitCode;

fn main() -> ExitCode {
    bug::install_hook();
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(exit) => return exit.into(),
    };
    let reporter = Reporter::new(args.color, args.message_format);
    match run(&args, &reporter) {
        Ok(exit) => exit.into(),
        Err(Failure::Reported) => Exit::Diagnostics.into(),
        Err(Failure::Command(error)) => {
            reporter.report(&error);
            error.exit().into()
        }
    }
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
