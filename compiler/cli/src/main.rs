//! The command `optc`, as a program.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    optc_cli::main(std::env::args_os()).into()
}
