//! Names that a module has and the file does not import: the message says how to.

use super::CheckError;
use super::diagnostics::{Fault, Sink};
use crate::source::Sources;

/// Gives unknown functions and optimizers that some module declares another help.
pub(super) fn suggest(sink: &mut Sink, sources: &dyn Sources) {
    let mut modules: Option<Vec<(String, String)>> = None;
    for fault in sink.faults() {
        let Some((name, kinds, help)) = unknown(fault) else {
            continue;
        };
        let modules = modules.get_or_insert_with(|| texts(sources));
        let found = modules
            .iter()
            .find(|(_, text)| kinds.iter().any(|kind| declares(text, kind, name)));
        if let Some((module, _)) = found {
            *help = format!("write `use {module}.{name}` at the top of the file");
        }
    }
}

/// The name that a mistake is about, what may declare it, and the help.
fn unknown(fault: &mut Fault) -> Option<(&str, &'static [&'static str], &mut String)> {
    match fault {
        Fault::Check(CheckError::UnknownTarget { name, help, .. }) => {
            Some((name, &["optimizer"], help))
        }
        Fault::Check(CheckError::UnknownFunction { name, help, .. }) => {
            Some((name, &["fn", "component"], help))
        }
        _ => None,
    }
}

fn texts(sources: &dyn Sources) -> Vec<(String, String)> {
    let named = sources.modules().into_iter();
    named
        .filter_map(|name| Some((name.clone(), sources.read(&name)?)))
        .collect()
}

/// Whether a line of the text begins with `kind name`.
fn declares(text: &str, kind: &str, name: &str) -> bool {
    let declared = |line: &str| {
        let rest = line.strip_prefix(kind)?.strip_prefix(' ')?;
        let rest = rest.strip_prefix(name)?;
        Some(!rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    text.lines().any(|line| declared(line) == Some(true))
}
