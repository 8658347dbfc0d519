//! `optc explain`: what a message means.

use crate::args;
use crate::error::{CommandError, Exit, Failure};
use crate::output;
use crate::pages::PAGES;

/// Prints the page of a code, or the list of all codes.
pub(crate) fn run(args: &args::Explain) -> Result<Exit, Failure> {
    output::print(match &args.code {
        Some(code) => page(code.trim()).or_else(|unknown| {
            // The codes of messages all begin so.
            page(&format!("opt::{}", code.trim())).map_err(|_| unknown)
        })?,
        None => list(),
    })?;
    Ok(Exit::Success)
}

/// The language's codes have their pages in core, the others here.
fn page(code: &str) -> Result<String, CommandError> {
    let language = optc_core::codes::find(code).map(|page| page.page());
    let page = language.or_else(|| {
        PAGES
            .iter()
            .find(|page| page.code == code)
            .map(|page| page.text())
    });
    page.ok_or_else(|| CommandError::UnknownCode {
        code: code.into(),
        help: help(code),
    })
}

/// Every code and its line, in order.
fn list() -> String {
    let mut all = codes();
    all.sort_unstable();
    let width = all.iter().map(|(code, _)| code.len()).max().unwrap_or(0);
    all.iter()
        .map(|(code, summary)| format!("{code:<width$}  {summary}\n"))
        .collect()
}

fn codes() -> Vec<(&'static str, &'static str)> {
    let language = optc_core::codes::all().map(|page| (page.code, page.summary));
    language
        .chain(PAGES.iter().map(|page| (page.code, page.summary)))
        .collect()
}

/// The codes that end or begin as `code` does, which is what a half-remembered one has in common with the right one.
fn help(code: &str) -> String {
    let last = code.rsplit("::").next().unwrap_or(code);
    let similar = |known: &str| {
        !last.is_empty() && (known.ends_with(last) || known.contains(&format!("{last}::")))
    };
    let found: Vec<String> = codes()
        .iter()
        .filter(|(known, _)| similar(known))
        .map(|(known, _)| format!("`{known}`"))
        .collect();
    match found.as_slice() {
        [] => "`optc explain` lists the codes".into(),
        found => format!("did you mean {}?", found.join(" or ")),
    }
}
