//! Whether the tensors of a step are apart: none may be written while another is read or written.

use crate::error::Failure;
use std::ops::Range;

/// A tensor of a step.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) bytes: Range<usize>,
    pub(crate) written: bool,
    /// The position of its parameter.
    pub(crate) param: usize,
}

/// The parameters of two parts that share memory of which one is written.
pub(crate) fn find_clash(mut parts: Vec<Part>) -> Option<(usize, usize)> {
    parts.retain(|part| !part.bytes.is_empty());
    parts.sort_unstable_by_key(|part| part.bytes.start);
    let (mut any, mut written) = (None, None);
    for part in &parts {
        let before: Option<&Part> = if part.written { any } else { written };
        if let Some(other) = before.filter(|other| other.bytes.end > part.bytes.start) {
            return Some((other.param, part.param));
        }
        any = further(any, part);
        if part.written {
            written = further(written, part);
        }
    }
    None
}

fn further<'a>(known: Option<&'a Part>, part: &'a Part) -> Option<&'a Part> {
    known
        .filter(|known| known.bytes.end >= part.bytes.end)
        .or(Some(part))
}

/// The message about two parameters that share memory.
pub(crate) fn failure(first: &str, second: &str) -> Failure {
    let message = format!("`{first}` and `{second}` share memory");
    Failure::argument(
        "shared",
        message,
        "bind a tied parameter once, and give each gradient its own memory",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: Range<usize>, written: bool, param: usize) -> Part {
        Part {
            bytes,
            written,
            param,
        }
    }

    #[test]
    fn only_what_is_written_must_be_apart() {
        let gradients = vec![part(0..8, false, 0), part(4..12, false, 1)];
        assert_eq!(find_clash(gradients), None);
        let tied = vec![part(0..8, true, 0), part(4..12, true, 1)];
        assert_eq!(find_clash(tied), Some((0, 1)));
    }

    #[test]
    fn a_long_part_is_remembered_behind_short_ones() {
        let parts = vec![
            part(0..100, true, 0),
            part(200..300, true, 1),
            part(50..60, false, 2),
        ];
        assert_eq!(find_clash(parts), Some((0, 2)));
    }

    #[test]
    fn nothing_overlaps_with_an_empty_part() {
        assert_eq!(
            find_clash(vec![part(0..8, true, 0), part(4..4, true, 1)]),
            None
        );
    }
}
