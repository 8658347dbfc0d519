//! What can go wrong outside of the language: files, names on the command line. And the exit codes.

use miette::Diagnostic;
use optc_artifact::LoadError;
use optc_core::lower::LowerError;
use optc_core::settings::SettingError;
#[cfg(feature = "compile")]
use optc_mlir::EmitError;
use std::fmt;
use thiserror::Error;

/// How the command ends. Documented in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// The files have mistakes; they were reported.
    Diagnostics = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// A file could not be read or written.
    Io = 3,
    /// A bug in optc.
    Bug = 70,
}

impl Exit {
    /// The meaning of an exit code of this program.
    #[cfg(feature = "compile")]
    pub(crate) fn from_code(code: i32) -> Option<Exit> {
        [
            Exit::Success,
            Exit::Diagnostics,
            Exit::Usage,
            Exit::Io,
            Exit::Bug,
        ]
        .into_iter()
        .find(|&exit| exit as i32 == code)
    }
}

/// Why a command stopped.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Mistakes in the user's files; already shown.
    Reported,
    /// Anything else; to be shown.
    Command(CommandError),
}

impl Failure {
    /// What is left to be shown.
    pub(crate) fn into_diagnostic(self) -> Box<dyn Diagnostic + Send + Sync> {
        Box::new(match self {
            Failure::Command(error) => error,
            Failure::Reported => CommandError::Bug {
                what: "a message was shown to nobody".into(),
            },
        })
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        Failure::Command(error)
    }
}

#[cfg(feature = "compile")]
impl From<EmitError> for Failure {
    fn from(error: EmitError) -> Failure {
        Failure::Command(error.into())
    }
}

impl From<LowerError> for Failure {
    fn from(error: LowerError) -> Failure {
        Failure::Command(error.into())
    }
}

impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Failure {
        Failure::Command(error.into())
    }
}

/// A failure of the command itself.
#[derive(Debug, Error, Diagnostic)]
pub(crate) enum CommandError {
    /// A file that cannot be read.
    #[error("cannot read `{path}`: {reason}")]
    #[diagnostic(code(opt::cli::read), help("{help}"))]
    Read {
        /// As given.
        path: String,
        /// From the operating system.
        reason: String,
        /// What to do.
        help: String,
    },

    /// A file that is not text.
    #[error("`{path}` is not UTF-8 text: byte {offset} fits no character")]
    #[diagnostic(
        code(opt::cli::not_text),
        help("save it as UTF-8, or give a `.opt` file")
    )]
    NotText {
        /// As given.
        path: String,
        /// The first byte that does not fit.
        offset: usize,
    },

    /// An artifact where only a source can stand.
    #[error("`{path}` is a compiled artifact, not a source")]
    #[diagnostic(
        code(opt::cli::artifact),
        help("`optc inspect` reads artifacts; the other commands want the `.opt` file")
    )]
    IsArtifact {
        /// As given.
        path: String,
    },

    /// An artifact that cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Load(#[from] BadArtifact),

    /// A name given with `--optimizer`.
    #[error("there is no optimizer `{name}` in this file")]
    #[diagnostic(code(opt::cli::unknown_optimizer), help("it declares {}", list(known)))]
    UnknownOptimizer {
        /// As given.
        name: String,
        /// What there is.
        known: Vec<String>,
    },

    /// No `--optimizer` where one is needed.
    #[error("this needs one optimizer, and the file declares {}", list(known))]
    #[diagnostic(
        code(opt::cli::which_optimizer),
        help("choose one with `--optimizer NAME`; a file of functions alone cannot be compiled")
    )]
    WhichOptimizer {
        /// What there is.
        known: Vec<String>,
    },

    /// A shape that the optimizer leaves alone.
    #[error("no rule of `{optimizer}` takes a parameter of shape `{shape}`")]
    #[diagnostic(
        code(opt::cli::no_rule),
        help("choose another shape with `--shape`, or add a rule for this one")
    )]
    NoRule {
        /// The optimizer.
        optimizer: String,
        /// As given.
        shape: String,
    },

    /// A rule whose loops, written out, are more than anything can run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    TooLarge(#[from] LowerError),

    /// A static given with `--static`.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Setting(#[from] SettingError),

    /// The backend failed.
    #[cfg(feature = "compile")]
    #[error(transparent)]
    #[diagnostic(transparent)]
    Emit(#[from] EmitError),

    /// This build has no backend.
    #[cfg(not(feature = "compile"))]
    #[error("this `optc` came with the Python package, which has no LLVM to compile with")]
    #[diagnostic(
        code(opt::cli::no_backend),
        help(
            "install LLVM and MLIR 22 and build the command from the repository with `make build`; \
             a `.opt` file loads without compiling it first"
        )
    )]
    NoBackend,

    /// Something that cannot happen.
    #[error("{}", crate::bug::message_for(what))]
    #[diagnostic(code(opt::cli::bug))]
    Bug {
        /// What happened.
        what: String,
    },

    /// A code that no message has.
    #[error("there is no code `{code}`")]
    #[diagnostic(code(opt::cli::unknown_code), help("{help}"))]
    UnknownCode {
        /// As given.
        code: String,
        /// What to do.
        help: String,
    },

    /// A file that `optc new` would overwrite.
    #[error("`{path}` exists already")]
    #[diagnostic(
        code(opt::cli::exists),
        help("choose another name, or remove the file first")
    )]
    Exists {
        /// The file.
        path: String,
    },

    /// A name that no optimizer can have.
    #[error("`{name}` is not a name")]
    #[diagnostic(
        code(opt::cli::bad_name),
        help(
            "begin with a small letter, then write small letters, digits and `_`: `my_rule` makes `my_rule.opt` with the optimizer `MyRule`"
        )
    )]
    BadName {
        /// As given.
        name: String,
    },

    /// A module that the standard library lacks.
    #[error("the standard library has no optimizer in `{name}`")]
    #[diagnostic(
        code(opt::cli::unknown_module),
        help("`optc list` shows the modules, as in `--from adamw`")
    )]
    UnknownModule {
        /// As given.
        name: String,
    },

    /// A file that cannot be written.
    #[error("cannot write `{path}`: {reason}")]
    #[diagnostic(
        code(opt::cli::write),
        help("check that the folder exists, is writable and has space")
    )]
    Write {
        /// As given, or `the standard output`.
        path: String,
        /// From the operating system.
        reason: String,
    },
}

/// What is wrong with an artifact, and which.
#[derive(Debug)]
pub(crate) struct BadArtifact {
    /// As given.
    pub path: String,
    /// What is wrong.
    pub error: LoadError,
}

impl fmt::Display for BadArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.error)
    }
}

impl std::error::Error for BadArtifact {}

impl Diagnostic for BadArtifact {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.code()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.help()
    }
}

fn list(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

impl CommandError {
    /// The exit code it means.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Load(_)
            | Self::NoRule { .. }
            | Self::TooLarge(_)
            | Self::Setting(SettingError::TooLarge(_)) => Exit::Diagnostics,
            Self::Read { .. } | Self::NotText { .. } | Self::Exists { .. } | Self::Write { .. } => {
                Exit::Io
            }
            #[cfg(feature = "compile")]
            Self::Emit(EmitError::Internal { .. }) => Exit::Bug,
            #[cfg(feature = "compile")]
            Self::Emit(_) => Exit::Io,
            #[cfg(not(feature = "compile"))]
            Self::NoBackend => Exit::Usage,
            Self::Bug { .. } => Exit::Bug,
            Self::IsArtifact { .. }
            | Self::UnknownOptimizer { .. }
            | Self::WhichOptimizer { .. }
            | Self::Setting(_)
            | Self::BadName { .. }
            | Self::UnknownModule { .. }
            | Self::UnknownCode { .. } => Exit::Usage,
        }
    }
}
