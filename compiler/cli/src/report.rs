//! Diagnostics → text for people, or JSON for programs; both on the standard error.

use crate::args::{Color, MessageFormat};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteHandler,
    MietteHandlerOpts, ReportHandler, Severity, SourceCode, SourceSpan,
};
use serde::Serialize;
use std::fmt;
use std::io::{IsTerminal, Write};

/// Width of messages where there is no terminal to ask.
const WIDTH: usize = 100;

/// A diagnostic as text for people, the same everywhere: for the messages of libraries.
pub fn rendered(diagnostic: &dyn Diagnostic) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_links(false)
        .with_width(WIDTH);
    let mut text = String::new();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => diagnostic.to_string(),
    }
}

/// Writes diagnostics in the form the command line asked for.
pub(crate) struct Reporter {
    format: MessageFormat,
    handler: MietteHandler,
}

impl Reporter {
    /// A reporter for this process's standard error.
    pub(crate) fn new(color: Color, format: MessageFormat) -> Reporter {
        let terminal = std::io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain,
        };
        let options = MietteHandlerOpts::new().color(colors).terminal_links(false);
        // A pipe or a file gets the same text everywhere.
        let options = if terminal {
            options
        } else {
            options.unicode(true).width(WIDTH)
        };
        Reporter {
            format,
            handler: options.build(),
        }
    }

    /// Reports `diagnostic`, with the text it points into if it knows that.
    pub(crate) fn report(&self, diagnostic: &dyn Diagnostic) {
        self.write(&match self.format {
            MessageFormat::Human => self.human(diagnostic),
            MessageFormat::Json => json(diagnostic),
        });
    }

    /// Tells people what was done; programs see it from the exit code.
    pub(crate) fn note(&self, text: &str) {
        if self.format == MessageFormat::Human {
            self.write(text);
        }
    }

    fn human(&self, diagnostic: &dyn Diagnostic) -> String {
        struct Rendered<'a>(&'a MietteHandler, &'a dyn Diagnostic);
        impl fmt::Display for Rendered<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.debug(self.1, f)
            }
        }
        Rendered(&self.handler, diagnostic).to_string()
    }

    /// Messages are best effort: with a closed standard error the exit code still tells.
    fn write(&self, message: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", message.trim_end());
    }
}

/// One message as programs read it. Lines and columns count from 1, columns in characters.
#[derive(Debug, Serialize)]
struct Message {
    code: Option<String>,
    severity: &'static str,
    message: String,
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    end: Option<Point>,
    labels: Vec<Label>,
    help: Option<String>,
}

#[derive(Debug, Serialize)]
struct Label {
    message: Option<String>,
    line: usize,
    column: usize,
    end: Point,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Point {
    line: usize,
    column: usize,
}

fn json(diagnostic: &dyn Diagnostic) -> String {
    let labels = labels(diagnostic);
    let primary = labels.first();
    let message = Message {
        code: diagnostic.code().map(|code| code.to_string()),
        severity: severity(diagnostic),
        message: diagnostic.to_string(),
        file: file(diagnostic),
        line: primary.map(|label| label.line),
        column: primary.map(|label| label.column),
        end: primary.map(|label| label.end),
        help: diagnostic.help().map(|help| help.to_string()),
        labels,
    };
    // Strings, numbers and lists always have a JSON form.
    serde_json::to_string(&message).unwrap_or_else(|error| format!("{{\"message\":\"{error}\"}}"))
}

fn severity(diagnostic: &dyn Diagnostic) -> &'static str {
    match diagnostic.severity().unwrap_or_default() {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Advice => "advice",
    }
}

/// The name of the text that `diagnostic` points into.
fn file(diagnostic: &dyn Diagnostic) -> Option<String> {
    let start = diagnostic
        .source_code()?
        .read_span(&SourceSpan::from(0), 0, 0)
        .ok()?;
    start.name().map(str::to_owned)
}

/// The labels inside of the text, the primary one first.
fn labels(diagnostic: &dyn Diagnostic) -> Vec<Label> {
    let Some(source) = diagnostic.source_code() else {
        return Vec::new();
    };
    let mut labels: Vec<LabeledSpan> = diagnostic.labels().into_iter().flatten().collect();
    labels.sort_by_key(|label| !label.primary());
    let place = |label: LabeledSpan| {
        let start = point(source, label.offset())?;
        let end = point(source, label.offset() + label.len())?;
        Some(Label {
            message: label.label().map(str::to_owned),
            line: start.line,
            column: start.column,
            end,
        })
    };
    labels.into_iter().filter_map(place).collect()
}

/// Line and column of a byte, if it is inside of the text or at its end.
fn point(source: &dyn SourceCode, offset: usize) -> Option<Point> {
    let before = source
        .read_span(&SourceSpan::from((0, offset)), 0, 0)
        .ok()?;
    let before = String::from_utf8_lossy(before.data().get(..offset)?);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Some(Point {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_never_leave_the_text() {
        let text = "über\nw = β1\n".to_owned();
        let at = |offset| point(&text, offset).map(|p| (p.line, p.column));
        assert_eq!(at(0), Some((1, 1)));
        assert_eq!(at(2), Some((1, 2)));
        assert_eq!(at(6), Some((2, 1)));
        assert_eq!(at(text.find('1').unwrap()), Some((2, 6)));
        assert_eq!(at(text.len()), Some((3, 1)));
        assert_eq!(at(1000), None);
    }
}
