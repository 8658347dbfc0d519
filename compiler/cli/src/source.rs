//! What a FILE on the command line means: a path, a name of the standard library with or without `std.`, a composition, or `-`.

use crate::error::CommandError;
use optc_artifact::Artifact;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Larger than any artifact; what is longer is not read into memory.
const LIMIT: u64 = 1 << 30;

/// What messages call the source of a composition.
pub(crate) const COMPOSITION: &str = "composition";

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Input {
    /// For messages: the path as given, `std.soap`, `<stdin>`.
    pub name: String,
    /// Where modules that it uses are looked for; none of the standard library's.
    pub folder: Option<PathBuf>,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Input {
    /// Reads what `argument` names. A path that exists goes before a name of the standard library.
    pub(crate) fn read(argument: &str) -> Result<Input, CommandError> {
        if argument == "-" {
            let bytes = read_all(io::stdin().lock()).map_err(|e| unreadable("<stdin>", &e))?;
            return Ok(Input {
                name: "<stdin>".into(),
                folder: Some(PathBuf::from(".")),
                bytes,
            });
        }
        let file = match Path::new(argument).is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => File::open(argument),
        };
        match file {
            Ok(file) => Input::from_file(argument, file),
            Err(error) => Input::from_stdlib(argument)
                .or_else(|| Input::from_composition(argument))
                .ok_or_else(|| unreadable(argument, &error)),
        }
    }

    fn from_file(path: &str, file: File) -> Result<Input, CommandError> {
        let bytes = read_all(file).map_err(|e| unreadable(path, &e))?;
        let folder = Path::new(path).parent().map(Path::to_owned);
        Ok(Input {
            name: path.into(),
            folder,
            bytes,
        })
    }

    fn from_stdlib(name: &str) -> Option<Input> {
        let module = optc_stdlib::module(name)?;
        let text = optc_stdlib::source(module)?;
        Some(Input {
            name: module.into(),
            folder: None,
            bytes: text.as_bytes().to_vec(),
        })
    }

    fn from_composition(text: &str) -> Option<Input> {
        let made = || Input {
            name: COMPOSITION.into(),
            folder: None,
            bytes: optc_stdlib::composition(text).into_bytes(),
        };
        optc_stdlib::is_composition(text).then(made)
    }

    /// Whether it is a compiled artifact.
    pub(crate) fn is_artifact(&self) -> bool {
        Artifact::recognises(&self.bytes)
    }

    /// Its text, if it is a source.
    pub(crate) fn text(&self) -> Result<&str, CommandError> {
        if self.is_artifact() {
            return Err(CommandError::IsArtifact {
                path: self.name.clone(),
            });
        }
        std::str::from_utf8(&self.bytes).map_err(|error| CommandError::NotText {
            path: self.name.clone(),
            offset: error.valid_up_to(),
        })
    }
}

fn read_all(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LIMIT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIMIT {
        return Err(io::Error::other("it is larger than 1 GiB"));
    }
    Ok(bytes)
}

fn unreadable(path: &str, error: &io::Error) -> CommandError {
    let declaring = optc_stdlib::declaring(path);
    let help = match (declaring, path.strip_prefix("std.")) {
        (Some(module), _) => format!("`{path}` is declared by `{module}`: give that name"),
        (None, Some(_)) => format!("the standard library has {}", optc_stdlib::NAMES.join(", ")),
        (None, None) => "give the path of a `.opt` file, a name that `optc list` shows, such as `soap`, a composition such as `Clip(base = AdamW)`, or `-` for the standard input".into(),
    };
    CommandError::Read {
        path: path.into(),
        reason: error.to_string(),
        help,
    }
}
