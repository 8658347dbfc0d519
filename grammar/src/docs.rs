//! Documentation comments, read from the text around a node.
//!
//! To the grammar they are comments like any other, so one in an odd place is harmless.

/// What editors of some systems put before the first character.
const MARK: char = '\u{feff}';

/// The lines of `//!` at the top of a file, without the marker, joined by newlines.
pub(crate) fn of_module(text: &str) -> String {
    let head = text
        .trim_start_matches(MARK)
        .lines()
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("//"));
    join(head.filter_map(|line| line.strip_prefix("//!")))
}

/// The lines of `///` right above the line on which `start` stands, if nothing but `opener` stands before it there.
pub(crate) fn above(text: &str, start: u32, opener: &str) -> String {
    let before = text.get(..start as usize).unwrap_or_default();
    let before = before.trim_start_matches(MARK);
    let (above, line) = before.rsplit_once('\n').unwrap_or(("", before));
    if !["", opener].contains(&line.trim()) {
        return String::new();
    }
    let mut lines: Vec<&str> = above
        .lines()
        .rev()
        .map_while(|line| line.trim().strip_prefix("///"))
        .collect();
    lines.reverse();
    join(lines.into_iter())
}

/// The `//` comment that follows `end` on its line.
pub(crate) fn beside(text: &str, end: u32) -> String {
    let rest = text.get(end as usize..).unwrap_or_default();
    let line = rest.lines().next().unwrap_or_default().trim_start();
    let comment = line
        .strip_prefix(',')
        .unwrap_or(line)
        .trim()
        .strip_prefix("//");
    comment
        .map(|words| words.trim_start_matches('/').trim().to_owned())
        .unwrap_or_default()
}

fn join<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<&str> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .collect();
    lines.join("\n")
}
