//! Whether the tensors of a call are apart: none may be written while another is read or written, and no two indices of
//! one may be the same element. Callers that hand in raw memory ask before they do.

use std::ops::Range;

/// A tensor of a call.
#[derive(Debug, Clone)]
pub struct Part {
    /// Addresses, from the first element to behind the last.
    pub bytes: Range<usize>,
    /// Whether the call writes it.
    pub written: bool,
    /// The position of its parameter.
    pub param: usize,
}

/// One more than the index of the last element in memory, in elements; none if two indices could be one element, if a
/// length is negative, or if there is more than memory has. Without strides the elements are dense.
pub fn reach(dims: &[i64], strides: Option<&[i64]>) -> Option<usize> {
    if dims.iter().any(|&dim| dim < 0) {
        return None;
    }
    if dims.contains(&0) {
        return Some(0);
    }
    let Some(strides) = strides else {
        let count = dims.iter().try_fold(1usize, |count, &dim| {
            count.checked_mul(usize::try_from(dim).ok()?)
        });
        return count.filter(|&count| isize::try_from(count).is_ok());
    };
    let axes = strides.iter().copied().zip(dims.iter().copied());
    let mut axes: Vec<(i64, i64)> = axes.filter(|&(_, dim)| dim > 1).collect();
    axes.sort_unstable();
    let mut reach = 0i64;
    for (stride, dim) in axes {
        if stride <= reach {
            return None;
        }
        reach = reach.checked_add(stride.checked_mul(dim - 1)?)?;
    }
    usize::try_from(reach).ok()?.checked_add(1)
}

/// The parameters of two parts that share memory of which one is written.
pub fn find_clash(mut parts: Vec<Part>) -> Option<(usize, usize)> {
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

/// What a message says of the two parameters.
pub fn clash_text(first: &str, second: &str) -> String {
    if first == second {
        return format!(
            "`{first}` and its gradient, or what an entry is given for it, share memory"
        );
    }
    format!("`{first}` and `{second}` share memory")
}

fn further<'a>(known: Option<&'a Part>, part: &'a Part) -> Option<&'a Part> {
    known
        .filter(|known| known.bytes.end >= part.bytes.end)
        .or(Some(part))
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

    #[test]
    fn an_axis_steps_over_all_that_smaller_ones_reach() {
        assert_eq!(reach(&[3, 4], None), Some(12));
        assert_eq!(reach(&[3, 4], Some(&[1, 3])), Some(12));
        assert_eq!(reach(&[3, 4], Some(&[8, 2])), Some(2 * 8 + 3 * 2 + 1));
        assert_eq!(reach(&[3, 4], Some(&[0, 1])), None);
        assert_eq!(reach(&[2, 2], Some(&[1, 1])), None);
        assert_eq!(reach(&[3, 1, 0], Some(&[0, 0, 0])), Some(0));
        assert_eq!(reach(&[1, 1], Some(&[0, 0])), Some(1));
        assert_eq!(reach(&[], None), Some(1));
    }

    #[test]
    fn impossible_shapes_have_no_reach() {
        assert_eq!(reach(&[-1], None), None);
        assert_eq!(reach(&[i64::MAX, i64::MAX], None), None);
        assert_eq!(reach(&[i64::MAX, 2], Some(&[i64::MAX, 1])), None);
    }
}
