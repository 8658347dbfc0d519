//! Linear passes over the lines and the brackets of a text, before pest recurses into them.

use crate::ast::Span;
use crate::error::ParseError;
use crate::parse::{MAX_DEPTH, MAX_LINE};

/// How much of a line that is too long a message shows, in characters.
const BEGINNING: usize = 60;

/// Checks that every line has at most [`MAX_LINE`] characters.
pub(crate) fn check_lines(text: &str) -> Result<(), ParseError> {
    let Some((start, line)) = long_line(text) else {
        return Ok(());
    };
    let first = line.chars().next().map_or(0, char::len_utf8);
    Err(ParseError::LongLine {
        length: line.chars().count(),
        at: Span::at(start, first),
    })
}

/// What a message may show of a text: all of it, or what stands before its first line that is too long, and how that
/// line begins. Places in it are those of the text.
pub fn printable(text: &str) -> &str {
    match long_line(text) {
        None => text,
        Some((start, line)) => {
            let shown: usize = line.chars().take(BEGINNING).map(char::len_utf8).sum();
            &text[..start + shown]
        }
    }
}

/// The first line that is too long, and where it begins.
fn long_line(text: &str) -> Option<(usize, &str)> {
    let mut start = 0;
    let mut lines = text.split('\n').map(|line| {
        let at = start;
        start += line.len() + 1;
        (at, line)
    });
    lines.find(|(_, line)| line.len() > MAX_LINE && line.chars().count() > MAX_LINE)
}

/// Checks that brackets pair up and nest at most [`MAX_DEPTH`] deep.
///
/// `[` and `(` may close each other, because `[0, 1)` is an interval; where that is wrong, the grammar says so.
pub(crate) fn check_brackets(text: &str) -> Result<(), ParseError> {
    let mut open: Vec<(char, usize)> = Vec::new();
    for (at, bracket) in brackets(text) {
        match bracket {
            '(' | '[' | '{' if open.len() == MAX_DEPTH => {
                return Err(ParseError::TooDeep {
                    at: Span::at(at, 1),
                });
            }
            '(' | '[' | '{' => open.push((bracket, at)),
            _ => close(&mut open, bracket, at)?,
        }
    }
    match open.last() {
        Some(last) => Err(unclosed(*last, last_character(text))),
        None => Ok(()),
    }
}

fn last_character(text: &str) -> Span {
    let text = text.trim_end();
    let len = text.chars().next_back().map_or(0, char::len_utf8);
    Span::at(text.len() - len, len)
}

/// The brackets outside comments, with their places.
fn brackets(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut comment = false;
    text.bytes().enumerate().filter_map(move |(at, byte)| {
        comment = match byte {
            b'\n' => false,
            b'/' => comment || text.as_bytes().get(at + 1) == Some(&b'/'),
            _ => comment,
        };
        (!comment && b"()[]{}".contains(&byte)).then_some((at, byte as char))
    })
}

fn close(open: &mut Vec<(char, usize)>, bracket: char, at: usize) -> Result<(), ParseError> {
    let here = Span::at(at, 1);
    match open.last() {
        None => Err(ParseError::Unopened {
            bracket,
            partner: partner(bracket),
            at: here,
        }),
        Some(last) if (last.0 == '{') != (bracket == '}') => Err(unclosed(*last, here)),
        Some(_) => {
            open.pop();
            Ok(())
        }
    }
}

fn unclosed((bracket, origin): (char, usize), at: Span) -> ParseError {
    ParseError::Unclosed {
        bracket,
        partner: partner(bracket),
        at,
        origin: Span::at(origin, 1),
    }
}

fn partner(bracket: char) -> char {
    match bracket {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        '{' => '}',
        _ => '{',
    }
}
