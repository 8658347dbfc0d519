//! `optc new`: a file to begin with, copied from the standard library.

use crate::args;
use crate::error::{CommandError, Exit, Failure};
use crate::output;
use crate::report::Reporter;
use std::path::PathBuf;

/// Writes `NAME.opt`, unless it exists.
pub(crate) fn run(args: &args::New, reporter: &Reporter) -> Result<Exit, Failure> {
    let name = camel_case(&args.name)?;
    let path = PathBuf::from(format!("{}.opt", args.name));
    if path.exists() {
        let path = path.display().to_string();
        return Err(CommandError::Exists { path }.into());
    }
    let module = module(&args.from)?;
    output::write(&path, copy(&name, module).as_bytes())?;
    reporter.note(&format!("wrote {}, begun from {module}", path.display()));
    Ok(Exit::Success)
}

/// The optimizer's name for a file's: `my_rule` → `MyRule`.
fn camel_case(name: &str) -> Result<String, CommandError> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(letter) {
        return Err(CommandError::BadName { name: name.into() });
    }
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    let words = name.split('_').filter(|word| !word.is_empty());
    Ok(words.map(capital).collect())
}

/// The module that `--from` names, with or without `std.`; it must declare an optimizer.
fn module(from: &str) -> Result<&'static str, CommandError> {
    let declares = |module: &&str| {
        let text = optc_stdlib::source(module);
        text.is_some_and(|text| text.contains("\noptimizer "))
    };
    let module = optc_stdlib::module(from).filter(declares);
    module.ok_or_else(|| CommandError::UnknownModule { name: from.into() })
}

/// The module's text with its first optimizer renamed, and a line on top that says where it comes from.
fn copy(name: &str, module: &str) -> String {
    let text = optc_stdlib::source(module).unwrap_or_default();
    let mut heads = text
        .lines()
        .filter_map(|line| line.strip_prefix("optimizer "));
    let old = heads.next().map_or("", first_word);
    let mut copied = format!("//! {name}, begun from {module}.\n//!\n");
    for line in text.lines() {
        match line.trim_start().starts_with("//") {
            true => copied += line,
            false => copied += &renamed(line, old, name),
        }
        copied.push('\n');
    }
    copied
}

fn is_of_a_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c| !is_of_a_word(c)).unwrap_or(text.len());
    &text[..end]
}

/// A line with every word `old` replaced; module paths such as `std.sam.Sam` stay.
fn renamed(line: &str, old: &str, new: &str) -> String {
    let (mut done, mut rest, mut before) = (String::new(), line, ' ');
    while let Some(c) = rest.chars().next() {
        let word = match first_word(rest) {
            "" => &rest[..c.len_utf8()],
            word => word,
        };
        done += if word == old && before != '.' {
            new
        } else {
            word
        };
        before = word.chars().next_back().unwrap_or(' ');
        rest = &rest[word.len()..];
    }
    done
}
