//! Mistakes with the text they stand in, collected and put in source order.

use super::CheckError;
use crate::hir::FileId;
use cranelift_entity::{EntityRef, PrimaryMap};
use miette::{Diagnostic, LabeledSpan, NamedSource, Severity};
use optc_grammar::ParseError;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// More mistakes than this are not shown: the first ones matter.
const LIMIT: usize = 100;

/// A label over more lines is shown on its first.
const TALLEST: usize = 20;

/// A mistake of either stage.
#[derive(Debug, Clone, PartialEq, Error, Diagnostic)]
pub enum Fault {
    /// The text is not a module.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Syntax(#[from] ParseError),
    /// The module does not make sense.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Check(#[from] CheckError),
}

/// A mistake and the file it stands in.
#[derive(Debug, Clone)]
pub struct Located {
    fault: Fault,
    file: FileId,
    source: Arc<NamedSource<String>>,
}

impl Located {
    /// The mistake.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// The name of the file, as it was given or imported.
    pub fn file_name(&self) -> &str {
        self.source.name()
    }

    /// The stable code, such as `opt::shape::mismatch`.
    pub fn code(&self) -> String {
        self.fault
            .code()
            .map(|code| code.to_string())
            .unwrap_or_default()
    }

    /// Byte range of the primary label: where the fault stands.
    pub fn span(&self) -> Option<miette::SourceSpan> {
        let mut labels: Vec<_> = self.fault.labels().into_iter().flatten().collect();
        let primary = labels.iter().position(|label| label.primary()).unwrap_or(0);
        (primary < labels.len()).then(|| *labels.swap_remove(primary).inner())
    }

    /// A label over many lines, on its first: miette shows all lines of a label.
    fn short(&self, label: LabeledSpan) -> LabeledSpan {
        let covered = label.offset()..label.offset() + label.len();
        let text = self.source.inner().get(covered).unwrap_or_default();
        if text.lines().count() <= TALLEST {
            return label;
        }
        let first = text.lines().next().map_or(0, str::len);
        let (words, at) = (label.label().map(str::to_owned), (label.offset(), first));
        match label.primary() {
            true => LabeledSpan::new_primary_with_span(words, at),
            false => LabeledSpan::new_with_span(words, at),
        }
    }

    fn place(&self) -> (usize, usize) {
        (
            self.file.index(),
            self.span().map_or(0, |span| span.offset()),
        )
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for Located {}

impl Diagnostic for Located {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.fault.code()
    }

    fn severity(&self) -> Option<Severity> {
        self.fault.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.fault.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.fault.labels()?;
        Some(Box::new(labels.map(|label| self.short(label))))
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(&*self.source)
    }
}

/// All mistakes of a run, at least one, by file and place.
#[derive(Debug, Clone)]
pub struct Diagnostics(Vec<Located>);

impl Diagnostics {
    /// The mistakes in source order.
    pub fn iter(&self) -> std::slice::Iter<'_, Located> {
        self.0.iter()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Located;
    type IntoIter = std::vec::IntoIter<Located>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => one.fmt(f),
            many => write!(f, "{} mistakes", many.len()),
        }
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic for Diagnostics {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.0.iter().map(|one| one as &dyn Diagnostic)))
    }
}

/// Where checking puts what it finds.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    sources: PrimaryMap<FileId, Arc<NamedSource<String>>>,
    errors: Vec<Located>,
    warnings: Vec<Located>,
}

impl Sink {
    /// Files are announced in the order of their ids. Of one with a line that is too long, messages see the part above.
    pub(crate) fn add_file(&mut self, name: &str, text: &str) -> FileId {
        let shown = optc_grammar::printable(text).to_owned();
        self.sources.push(Arc::new(NamedSource::new(name, shown)))
    }

    /// The text between two places of a file; of several lines the first.
    pub(crate) fn text(&self, file: FileId, span: optc_grammar::ast::Span) -> &str {
        let text = self.sources[file].inner();
        let between = text.get(span.start as usize..span.end as usize);
        between
            .and_then(|text| text.lines().next())
            .unwrap_or_default()
    }

    pub(crate) fn report(&mut self, file: FileId, fault: impl Into<Fault>) {
        let fault = fault.into();
        let warning = fault.severity() == Some(Severity::Warning);
        let list = if warning {
            &mut self.warnings
        } else {
            &mut self.errors
        };
        if list.len() < LIMIT {
            list.push(Located {
                fault,
                file,
                source: self.sources[file].clone(),
            });
        }
    }

    /// The mistakes so far.
    pub(crate) fn faults(&mut self) -> impl Iterator<Item = &mut Fault> {
        self.errors.iter_mut().map(|located| &mut located.fault)
    }

    /// As many mistakes as are shown: there is no need to look for more.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= LIMIT
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The warnings about the root file, or all mistakes.
    pub(crate) fn finish(mut self) -> Result<Vec<Located>, Diagnostics> {
        self.errors.sort_by_key(Located::place);
        self.warnings.sort_by_key(Located::place);
        self.warnings.retain(|warning| warning.file.index() == 0);
        if self.errors.is_empty() {
            Ok(self.warnings)
        } else {
            Err(Diagnostics(self.errors))
        }
    }
}
