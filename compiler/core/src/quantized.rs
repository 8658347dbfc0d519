//! State in 8 bits: blocks of codes that share a scale (block-wise dynamic quantisation, Dettmers et al., arXiv 2110.02861).
//!
//! ```
//! use optc_core::quantized::{Format, values};
//!
//! let format = Format { block: 256, signed: true };
//! let mut codes = [0; 3];
//! let scale = format.encode(&[0.5, -2.0, 0.0], &mut codes);
//! assert_eq!(scale, 2.0);
//! assert_eq!(values(true)[codes[2] as usize], 0.0);
//! ```
//!
//! A block's scale is its largest absolute value. A code names one of 256 numbers in [-1, 1], or in [0, 1]: mid-points of
//! equal cells of [0.1, 1], twice as many for each power of ten up to 1, then 0 and 1. An element becomes the code whose
//! number is nearest to its quotient by the scale; of a signed format the code keeps the sign.

use std::fmt;
use std::sync::LazyLock;

/// How elements become codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Format {
    /// Elements that share a scale; the last block may be shorter.
    pub block: u64,
    /// Whether elements may be negative; otherwise they become 0.
    pub signed: bool,
}

impl Format {
    /// Scales of that many elements.
    pub fn scales(&self, count: u64) -> u64 {
        count.div_ceil(self.block)
    }

    /// Codes of one block; gives its scale. What is not finite becomes 0.
    ///
    /// # Panics
    ///
    /// When there are fewer codes than elements.
    pub fn encode(&self, x: &[f32], codes: &mut [u8]) -> f32 {
        let finite = |x: f32| if x.is_finite() { x } else { 0.0 };
        let scale = x.iter().map(|&x| finite(x).abs()).fold(0.0, f32::max);
        for (&x, code) in x.iter().zip(codes) {
            let quotient = if scale > 0.0 { finite(x) / scale } else { 0.0 };
            *code = self.nearest(quotient);
        }
        scale
    }

    /// The element of a code.
    pub fn decode(&self, code: u8, scale: f32) -> f32 {
        values(self.signed)[usize::from(code)] * scale
    }

    fn nearest(&self, x: f32) -> u8 {
        let values = values(self.signed);
        let above = values.partition_point(|&value| value < x).min(255);
        let below = above.saturating_sub(1);
        let middle = (values[below] + values[above]) * 0.5;
        let code = if x > middle { above } else { below };
        let kept = match self.signed {
            true if x > 0.0 && values[code] <= 0.0 => code + 1,
            true if x < 0.0 && values[code] >= 0.0 => code - 1,
            _ => code,
        };
        kept as u8
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.signed { "q8" } else { "uq8" };
        write!(f, "{word}[{}]", self.block)
    }
}

/// The numbers of the codes, ascending.
pub fn values(signed: bool) -> &'static [f32; 256] {
    static SIGNED: LazyLock<[f32; 256]> = LazyLock::new(|| book(true));
    static UNSIGNED: LazyLock<[f32; 256]> = LazyLock::new(|| book(false));
    if signed { &SIGNED } else { &UNSIGNED }
}

fn book(signed: bool) -> [f32; 256] {
    let mut numbers = vec![0.0, 1.0];
    for exponent in 0..7 {
        let cells = 1 << (exponent + i32::from(!signed));
        let width = 0.9 / f64::from(cells);
        for cell in 0..cells {
            let middle = 0.1 + (f64::from(cell) + 0.5) * width;
            let number = (middle * 10f64.powi(exponent - 6)) as f32;
            numbers.push(number);
            if signed {
                numbers.push(-number);
            }
        }
    }
    numbers.sort_by(f32::total_cmp);
    let count = numbers.len();
    numbers
        .try_into()
        .unwrap_or_else(|_| unreachable!("{count} codes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: Format = Format {
        block: 4,
        signed: true,
    };

    #[test]
    fn books_ascend_from_their_least_number_to_one() {
        for signed in [true, false] {
            let values = values(signed);
            assert!(values.is_sorted_by(|a, b| a < b));
            assert_eq!(values[255], 1.0);
            assert_eq!(values[0], if signed { -0.992_968_75 } else { 0.0 });
        }
    }

    #[test]
    fn every_code_stands_for_itself() {
        for signed in [true, false] {
            let format = Format { block: 1, signed };
            for (code, &value) in values(signed).iter().enumerate() {
                assert_eq!(usize::from(format.nearest(value)), code);
            }
        }
    }

    #[test]
    fn small_numbers_keep_their_sign() {
        let mut codes = [0; 4];
        SIGNED.encode(&[1.0, 1e-9, -1e-9, f32::NAN], &mut codes);
        let back = codes.map(|code| SIGNED.decode(code, 1.0));
        assert!(back[0] == 1.0 && back[1] > 0.0 && back[2] < 0.0);
        assert_eq!(back[3], 0.0);
    }

    #[test]
    fn nothing_has_no_scale() {
        let mut codes = [7; 2];
        assert_eq!(SIGNED.encode(&[0.0, -0.0], &mut codes), 0.0);
        assert_eq!(codes.map(|code| SIGNED.decode(code, 0.0)), [0.0, 0.0]);
    }
}
