//! Checks a text with its modules, and renders what comes out.

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use optc_core::check::{Checked, Located, check, check_library};
use optc_core::source::Sources;
use std::collections::BTreeMap;

/// Modules by name, before those of the standard library.
#[derive(Debug, Default)]
pub(crate) struct Modules(pub(crate) BTreeMap<String, String>);

impl Sources for Modules {
    fn read(&self, module: &str) -> Option<String> {
        let own = self.0.get(module).cloned();
        own.or_else(|| optc_stdlib::source(module).map(str::to_owned))
    }

    fn modules(&self) -> Vec<String> {
        let library = optc_stdlib::NAMES.iter().map(|name| (*name).to_owned());
        self.0.keys().cloned().chain(library).collect()
    }
}

/// Takes a text apart at its lines `--- name`: the first file, and the modules behind it.
pub(crate) fn split(text: &str) -> (String, Modules) {
    let mut files = text.split("--- ");
    let root = files.next().unwrap_or_default().to_owned();
    let modules = files.filter_map(|file| {
        let (name, text) = file.split_once('\n')?;
        Some((name.to_owned(), text.to_owned()))
    });
    (root, Modules(modules.collect()))
}

/// The mistakes, or else the warnings, of a file that needs an optimizer.
pub(crate) fn mistakes(text: &str, modules: &Modules) -> Vec<Located> {
    collect(check("shown.opt", text, modules))
}

/// The mistakes, or else the warnings, of a file that may have functions alone.
pub(crate) fn library_mistakes(text: &str, modules: &Modules) -> Vec<Located> {
    collect(check_library("shown.opt", text, modules))
}

fn collect(checked: Result<Checked, optc_core::check::Diagnostics>) -> Vec<Located> {
    match checked {
        Ok(checked) => checked.warnings,
        Err(mistakes) => mistakes.into_iter().collect(),
    }
}

/// The codes in order.
pub(crate) fn codes(mistakes: &[Located]) -> Vec<String> {
    mistakes.iter().map(Located::code).collect()
}

/// As a terminal of 80 columns without colour shows them.
pub(crate) fn render(mistakes: &[Located]) -> String {
    mistakes.iter().map(|one| render_one(one)).collect()
}

fn render_one(diagnostic: &dyn Diagnostic) -> String {
    let handler =
        GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(80);
    let mut text = String::new();
    handler
        .render_report(&mut text, diagnostic)
        .expect("rendering to a string succeeds");
    // Miette pads lines with spaces.
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// A linear congruential generator: the same texts in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
