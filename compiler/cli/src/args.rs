//! The command line: what may be given, and the help that teaches it.

use crate::cost::Machine;
use crate::error::Exit;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use optc_artifact::Isa;
use optc_core::dtype::DType;
use std::ffi::OsString;
use std::path::PathBuf;

/// Compiles optimizer update rules: one `.opt` file, written as the paper states it, to fused native code.
#[derive(Debug, Parser)]
#[command(name = "optc", version, styles = STYLES, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Whether messages have colours; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// How messages are written: for people, or one JSON object per line
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) message_format: MessageFormat,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report every mistake in some files
    #[command(after_help = CHECK)]
    Check(Check),
    /// Make an artifact, or print a stage on the way to it
    #[command(after_help = COMPILE)]
    Compile(Compile),
    /// Show hyperparameters, state, plan and cost of a source or an artifact
    #[command(after_help = INSPECT)]
    Inspect(Inspect),
    /// Explain a message by its code
    #[command(after_help = EXPLAIN)]
    Explain(Explain),
    /// Show the standard library: what each optimizer is, keeps and costs
    #[command(after_help = LIST)]
    List,
    /// Begin a `.opt` file from one of the standard library
    #[command(after_help = NEW)]
    New(New),
    /// Fail as a bug would, to test the report
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    Panic(Panic),
}

/// `optc check`
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// `.opt` files, names of the standard library (`std.soap`), compositions (`"Clip(base = AdamW)"`), or `-` for the
    /// standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
}

/// `optc compile`
#[derive(Debug, clap::Args)]
pub(crate) struct Compile {
    /// A `.opt` file, a name of the standard library (`std.soap`), a composition (`"Clip(base = AdamW)"`), or `-` for the
    /// standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// Where the result goes; without it an artifact is named after FILE in the current folder, and a stage is printed
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: Option<PathBuf>,
    /// What machines the artifact is for
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Target::Cpu], value_name = "TARGET")]
    pub(crate) target: Vec<Target>,
    /// Print this stage instead of making an artifact
    #[arg(long, value_enum, value_name = "STAGE")]
    pub(crate) emit: Option<Emit>,
    /// Which optimizer to show, if the file has several
    #[arg(long, value_name = "NAME")]
    pub(crate) optimizer: Option<String>,
    /// The parameter's shape for stages that need one (`ir`, `fused`, `plan`)
    #[arg(long, value_name = "SHAPE", default_value = "512x512")]
    pub(crate) shape: Shape,
    /// The parameter's name, for rules that ask for it
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) name: String,
    /// A static to fix, in place of its default; may be repeated
    #[arg(long = "static", value_name = "NAME=VALUE")]
    pub(crate) statics: Vec<Setting>,
    /// The element types of parameters that kernels are made for; a stage shows the first
    #[arg(long, value_name = "DTYPE", default_value = "f32", value_delimiter = ',', value_parser = dtype)]
    pub(crate) dtype: Vec<DType>,
    /// The CPU level for `llvm` and `asm`; this machine's best without it
    #[arg(long, value_name = "LEVEL", value_parser = isa)]
    pub(crate) isa: Option<Isa>,
}

/// `optc inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// A `.opt` or `.optc` file, a name of the standard library (`std.soap`), a composition (`"Clip(base = AdamW)"`), or `-`
    /// for the standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: String,
    /// The parameter's shape for state, plan and cost; may be repeated
    #[arg(long, value_name = "SHAPE", default_value = "512x512")]
    pub(crate) shape: Vec<Shape>,
    /// The parameter's name, for rules that ask for it
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) name: String,
    /// Which optimizer to show, if the file has several
    #[arg(long, value_name = "NAME")]
    pub(crate) optimizer: Option<String>,
    /// A static to fix, in place of its default; may be repeated
    #[arg(long = "static", value_name = "NAME=VALUE")]
    pub(crate) statics: Vec<Setting>,
    /// The parameter's element type
    #[arg(long, value_name = "DTYPE", default_value = "f32", value_parser = dtype)]
    pub(crate) dtype: DType,
    /// The machine that times are estimated for: 10^9 operations and 10^9 bytes per second
    #[arg(long, value_name = "GFLOPS,GBYTES", default_value = "200,50")]
    pub(crate) roofline: Machine,
}

/// `optc explain`
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// The code, as a message shows it; without it, all codes are listed
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
}

/// `optc new`
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The file's name without `.opt`: words in small letters joined by `_`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The module to begin from; `optc list` shows them
    #[arg(long, value_name = "MODULE", default_value = "adamw")]
    pub(crate) from: String,
}

/// `optc panic`
#[cfg(debug_assertions)]
#[derive(Debug, clap::Args)]
pub(crate) struct Panic {
    /// Die in the compiling process instead, as LLVM does
    #[arg(long)]
    pub(crate) abort: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MessageFormat {
    /// For people
    #[default]
    Human,
    /// One JSON object per line
    Json,
}

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// x86-64 CPUs: one object per level, the best is chosen at load
    Cpu,
    /// NVIDIA GPUs, as PTX
    Cuda,
}

/// A stage between source and artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// The tree as written
    Ast,
    /// The tree with names and types resolved
    Hir,
    /// The tensor program for one shape
    Ir,
    /// The same after all passes
    Fused,
    /// What a step does
    Plan,
    /// MLIR
    Mlir,
    /// LLVM IR for the CPU
    Llvm,
    /// Assembly for the CPU
    Asm,
    /// PTX for the GPU
    Ptx,
}

/// The shape of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape(pub(crate) Vec<u64>);

impl std::str::FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        if text == "scalar" {
            return Ok(Shape(Vec::new()));
        }
        let wrong = || format!("`{text}` is not a shape; write `4096x11008`, `768` or `scalar`");
        let dims: Vec<u64> = text
            .split('x')
            .map(|d| d.parse().map_err(|_| wrong()))
            .collect::<Result<_, _>>()?;
        let elements = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d));
        match elements {
            Some(n) if n <= MAX_ELEMENTS && dims.len() <= MAX_RANK => Ok(Shape(dims)),
            _ => Err(format!(
                "`{text}` is too large; at most {MAX_RANK} axes and 2^40 elements"
            )),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("scalar");
        }
        f.write_str(
            &self
                .0
                .iter()
                .map(u64::to_string)
                .collect::<Vec<_>>()
                .join("x"),
        )
    }
}

fn dtype(name: &str) -> Result<DType, String> {
    let dtype = DType::from_name(name).filter(|dtype| dtype.is_float());
    dtype.ok_or_else(|| "a parameter is `f32`, `f64`, `bf16` or `f16`".into())
}

fn isa(name: &str) -> Result<Isa, String> {
    Isa::from_name(name)
        .ok_or_else(|| format!("the levels are {}", Isa::ALL.map(Isa::name).join(", ")))
}

/// More than any parameter has, and small enough that no count of bytes or operations overflows.
const MAX_ELEMENTS: u64 = 1 << 40;
const MAX_RANK: usize = 8;

/// `name=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Before the `=`.
    pub(crate) name: String,
    /// After it.
    pub(crate) value: String,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| format!("`{text}` has no `=`; write `ns_steps=6`"))?;
        Ok(Setting {
            name: name.trim().into(),
            value: value.trim().into(),
        })
    }
}

/// Reads the command line. Help and usage errors are printed here; the exit code says which.
pub(crate) fn parse(raw: impl IntoIterator<Item = OsString>) -> Result<Args, Exit> {
    let raw: Vec<OsString> = raw.into_iter().collect();
    let command = Args::command().color(color_of_help(&raw));
    let matches = command.try_get_matches_from(raw);
    matches
        .and_then(|matches| Args::from_arg_matches(&matches))
        .map_err(|error| {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Success
            }
        })
}

/// `--color` must be known before the help that it colours is written.
fn color_of_help(raw: &[OsString]) -> clap::ColorChoice {
    let mut words = raw.iter().map(|word| word.to_string_lossy());
    let mut choice = clap::ColorChoice::Auto;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('=').map(|value| value.to_owned().into()),
            None => None,
        };
        choice = match value.as_deref() {
            Some("always") => clap::ColorChoice::Always,
            Some("never") => clap::ColorChoice::Never,
            _ => choice,
        };
    }
    choice
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  optc check lion.opt                       report every mistake
  optc compile lion.opt -o lion.optc        make an artifact for the CPU
  optc inspect std.soap --shape 4096x11008  what a step of SOAP costs on that matrix
  optc explain opt::shape::mismatch         what a message means, with an example
  optc list                                 what the standard library holds
  optc new my_rule --from adamw             a file to begin with

Exit codes:
  0   done
  1   the files have mistakes, which were reported
  2   the command line makes no sense
  3   a file could not be read or written
  70  a bug in optc";

const CHECK: &str = "\
Examples:
  optc check lion.opt                              one file
  optc check rules/*.opt std.muon                  several, and one of the standard library
  sed s/0.9/0.95/ lion.opt | optc check -          the standard input
  optc check --message-format json lion.opt        one JSON object per mistake

A JSON object has: code, severity, message, file, line, column, end {line, column}, labels, help.
Lines and columns count from 1, columns in characters. The exit code is 1 if there is any mistake.";

const COMPILE: &str = "\
Examples:
  optc compile lion.opt                            writes lion.optc
  optc compile std.soap -o soap.optc               the standard library's SOAP
  optc compile lion.opt --target cpu,cuda          code for GPUs too
  optc compile std.muon --emit plan --shape 768x3072
                                                   what a step does to one matrix
  optc compile std.muon --emit plan --static ns_steps=6
                                                   the same with a static changed
  optc compile lion.opt --emit asm | less          machine code of its kernels

The artifact holds the source, so it also serves shapes and statics that were not foreseen.
The same source and the same optc give the same bytes.";

const INSPECT: &str = "\
Examples:
  optc inspect std.adamw                           hyperparameters, state, plan
  optc inspect std.soap --shape 4096x11008         state and cost for that matrix
  optc inspect soap.optc                           what an artifact holds
  optc inspect std.muon --static nesterov=false    with a static changed";

const EXPLAIN: &str = "\
Examples:
  optc explain                                     all codes
  optc explain opt::shape::mismatch                one of them, with a failing and a corrected example";

const LIST: &str = "\
Examples:
  optc list                                        what there is
  optc list | grep products                        those with matrix products
  optc inspect std.muon                            more about one of them";

const NEW: &str = "\
Examples:
  optc new my_rule --from adamw                    writes my_rule.opt with an optimizer MyRule
  optc check my_rule.opt                           what to do next";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn shapes_are_lengths_between_crosses() {
        assert_eq!("512x3x3".parse(), Ok(Shape(vec![512, 3, 3])));
        assert_eq!("7".parse(), Ok(Shape(vec![7])));
        assert_eq!("0x4".parse(), Ok(Shape(vec![0, 4])));
        assert_eq!("scalar".parse(), Ok(Shape(vec![])));
        for wrong in [
            "",
            "x",
            "3x",
            "-1",
            "3,4",
            "1e3",
            "4294967296x4294967296",
            "1x1x1x1x1x1x1x1x1",
        ] {
            assert!(wrong.parse::<Shape>().is_err(), "`{wrong}`");
        }
        for text in ["512x3x3", "7", "scalar"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn settings_have_a_name_and_a_value() {
        let setting: Setting = "table=[(1, 2)]".parse().unwrap();
        assert_eq!(
            (setting.name.as_str(), setting.value.as_str()),
            ("table", "[(1, 2)]")
        );
        assert!("nesterov".parse::<Setting>().is_err());
    }
}
