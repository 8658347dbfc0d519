//! Recorded runs for programs of other languages.
//!
//!     optc-exchange ask float64 FILE       writes what the program is to do
//!     optc-exchange judge float64 FILE     reads what it found; fails with what is too far away
//!     optc-exchange device std.adamw FILE  writes an artifact for devices that are the host

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use optc_tests::exchange::Exchange;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Ask { dtype: String, file: PathBuf },
    Judge { dtype: String, file: PathBuf },
    Device { module: String, file: PathBuf },
}

fn main() -> ExitCode {
    match Arguments::parse().what {
        What::Ask { dtype, file } => {
            let asked = std::fs::write(&file, Exchange::of(&dtype).questions());
            asked.expect("a file of questions");
            ExitCode::SUCCESS
        }
        What::Judge { dtype, file } => judge(&dtype, &file),
        What::Device { module, file } => {
            let written = std::fs::write(&file, optc_tests::device::artifact(&module));
            written.expect("an artifact");
            ExitCode::SUCCESS
        }
    }
}

fn judge(dtype: &str, file: &std::path::Path) -> ExitCode {
    let exchange = Exchange::of(dtype);
    let failures = exchange.judge(&std::fs::read_to_string(file).expect("a file of results"));
    print!("{failures}");
    println!("{} recordings in {dtype}", exchange.count());
    match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
