//! Numbers and tables for people.

/// `1_234_567` → `1.23 MB`.
pub(crate) fn bytes(n: f64) -> String {
    scaled(n, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// `2.5e9` → `2.50 GFLOP`.
pub(crate) fn flops(n: f64) -> String {
    scaled(n, &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"])
}

/// `0.0042` → `4.20 ms`.
pub(crate) fn seconds(s: f64) -> String {
    scaled(s * 1e9, &["ns", "µs", "ms", "s"])
}

/// Three digits and the largest unit that leaves at least 1.
fn scaled(n: f64, units: &[&str]) -> String {
    let mut n = n;
    let mut rest = units;
    while n >= 999.5 && rest.len() > 1 {
        (n, rest) = (n / 1000.0, &rest[1..]);
    }
    let unit = rest.first().copied().unwrap_or_default();
    let exact = n.fract() == 0.0 && rest.len() == units.len();
    let digits = if exact || n >= 99.95 {
        0
    } else if n >= 9.995 {
        1
    } else {
        2
    };
    format!("{n:.digits$} {unit}")
}

/// Rows under a title: two spaces before each row and between columns, columns as wide as their widest cell.
pub(crate) fn table(title: &str, rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|column| width(column).unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("  {cell:<width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    format!("{title}\n{}", rows.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_three_digits() {
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(1234567.0), "1.23 MB");
        assert_eq!(bytes(999_700.0), "1.00 MB");
        assert_eq!(flops(12.34e9), "12.3 GFLOP");
        assert_eq!(flops(123.4e9), "123 GFLOP");
        assert_eq!(seconds(0.0042), "4.20 ms");
        assert_eq!(seconds(7200.0), "7200 s");
    }

    #[test]
    fn columns_line_up() {
        let rows = [
            vec!["a".into(), "1".into()],
            vec!["µµµ".into(), "22".into(), "x".into()],
            vec![],
        ];
        assert_eq!(table("t", &rows), "t\n  a    1\n  µµµ  22  x\n\n");
    }
}
