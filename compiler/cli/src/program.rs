//! A FILE of the command line → a checked program, with every mistake reported on the way.

use crate::error::Failure;
use crate::report::Reporter;
use crate::source::Input;
use optc_artifact::Sources as Embedded;
use optc_core::check::{self, Checked, Diagnostics};
use optc_core::hir::Program;
use optc_core::source::Sources;
use std::fs;
use std::path::{Path, PathBuf};

/// Checks a source that declares optimizers.
pub(crate) fn check(input: &Input, reporter: &Reporter) -> Result<Program, Failure> {
    report(
        check::check(
            &input.name,
            input.text()?,
            &Modules {
                folder: input.folder.clone(),
            },
        ),
        reporter,
    )
}

/// Checks a source that may hold functions and tables alone.
pub(crate) fn check_library(input: &Input, reporter: &Reporter) -> Result<Program, Failure> {
    report(
        check::check_library(
            &input.name,
            input.text()?,
            &Modules {
                folder: input.folder.clone(),
            },
        ),
        reporter,
    )
}

/// Checks the sources that an artifact holds.
pub(crate) fn check_embedded(sources: &Embedded, reporter: &Reporter) -> Result<Program, Failure> {
    let modules = InArtifact(sources);
    report(
        check::check(&sources.root, sources.root_text(), &modules),
        reporter,
    )
}

fn report(checked: Result<Checked, Diagnostics>, reporter: &Reporter) -> Result<Program, Failure> {
    match checked {
        Ok(checked) => {
            checked
                .warnings
                .iter()
                .for_each(|warning| reporter.report(warning));
            Ok(checked.program)
        }
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| reporter.report(mistake));
            Err(Failure::Reported)
        }
    }
}

/// Where `use` finds modules: the standard library for `std.…`, else the folder of the root file.
struct Modules {
    folder: Option<PathBuf>,
}

impl Sources for Modules {
    fn read(&self, module: &str) -> Option<String> {
        if module.starts_with("std.") {
            return optc_stdlib::source(module).map(str::to_owned);
        }
        let relative: PathBuf = module.split('.').collect();
        fs::read_to_string(self.folder.as_ref()?.join(relative).with_extension("opt")).ok()
    }

    fn modules(&self) -> Vec<String> {
        let local = self.folder.as_deref().map_or_else(Vec::new, modules_in);
        optc_stdlib::NAMES
            .iter()
            .map(|&name| name.to_owned())
            .chain(local)
            .collect()
    }
}

/// Where `use` finds modules of an artifact: inside of it, whatever the standard library says today.
struct InArtifact<'a>(&'a Embedded);

impl Sources for InArtifact<'_> {
    fn read(&self, module: &str) -> Option<String> {
        self.0.modules.get(module).cloned()
    }

    fn modules(&self) -> Vec<String> {
        self.0.modules.keys().cloned().collect()
    }
}

/// The modules that stand in `folder` itself, by name; none if it cannot be read.
fn modules_in(folder: &Path) -> Vec<String> {
    // The parent of a bare file name is the empty path, which means the current folder.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| module_name(&entry.path()))
        .collect();
    names.sort();
    names
}

/// `rules/lion.opt` → `lion`.
pub(crate) fn module_name(path: &Path) -> Option<String> {
    let is_source = path.extension().is_some_and(|extension| extension == "opt");
    let stem = path.file_stem()?.to_str()?;
    is_source.then(|| stem.to_owned())
}
