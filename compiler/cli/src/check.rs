//! `optc check`: every mistake of every file.

use crate::args;
use crate::error::{Exit, Failure};
use crate::program;
use crate::report::Reporter;
use crate::source::Input;

/// Checks all files, whatever happens to one of them. The exit code is the highest that any file gives.
pub(crate) fn run(args: &args::Check, reporter: &Reporter) -> Result<Exit, Failure> {
    let exits = args.files.iter().map(|file| check(file, reporter));
    Ok(exits
        .max_by_key(|&exit| exit as u8)
        .unwrap_or(Exit::Success))
}

fn check(file: &str, reporter: &Reporter) -> Exit {
    let input = Input::read(file).map_err(Failure::from);
    match input.and_then(|input| program::check_library(&input, reporter)) {
        Ok(_) => Exit::Success,
        Err(Failure::Reported) => Exit::Diagnostics,
        Err(Failure::Command(error)) => {
            reporter.report(&error);
            error.exit()
        }
    }
}
