//! Packed triangles: square matrices of which one half says all, stored as that half.
//!
//! ```
//! use optc_core::packed::Packing;
//!
//! let symmetric = [1.0, 2.0, 2.0, 3.0];
//! let packed = Packing::Mirrored.pack(&symmetric, 2);
//! assert_eq!(packed, [1.0, 2.0, 3.0]);
//! assert_eq!(Packing::Mirrored.unpack(&packed, 2), symmetric);
//! ```

use crate::hir::Fact;
use std::fmt;

/// Which half of a square matrix is stored, row by row, and what the other half is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// The diagonal and what is above it; the same below.
    Mirrored,
    /// The diagonal and what is above it; zeros below.
    Upper,
    /// The diagonal and what is below it; zeros above.
    Lower,
}

impl Packing {
    /// The half that a matrix with this fact needs, if it does not need both.
    pub fn of(fact: Fact) -> Option<Packing> {
        match fact {
            Fact::Symmetric | Fact::Spd => Some(Packing::Mirrored),
            Fact::Upper => Some(Packing::Upper),
            Fact::Lower => Some(Packing::Lower),
            Fact::General | Fact::Orthogonal | Fact::Diagonal => None,
        }
    }

    /// Elements that are stored of a matrix with `n` rows.
    pub fn count(n: u64) -> u64 {
        // One of the two is even.
        (n / 2 + n % 2).saturating_mul(n + 1 - n % 2)
    }

    /// The columns of row `i` that are stored, of `n`.
    pub fn columns(self, i: usize, n: usize) -> std::ops::Range<usize> {
        match self {
            Packing::Mirrored | Packing::Upper => i..n,
            Packing::Lower => 0..i + 1,
        }
    }

    /// What is stored of an `n` × `n` matrix.
    pub fn pack(self, x: &[f64], n: usize) -> Vec<f64> {
        (0..n)
            .flat_map(|i| self.columns(i, n).map(move |j| x[i * n + j]))
            .collect()
    }

    /// The `n` × `n` matrix.
    pub fn unpack(self, packed: &[f64], n: usize) -> Vec<f64> {
        let mut x = vec![0.0; n * n];
        let places = (0..n).flat_map(|i| self.columns(i, n).map(move |j| (i, j)));
        for ((i, j), &value) in places.zip(packed) {
            x[i * n + j] = value;
            if self == Packing::Mirrored {
                x[j * n + i] = value;
            }
        }
        x
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packing::Mirrored => "mirrored",
            Packing::Upper => "upper",
            Packing::Lower => "lower",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Packing;

    #[test]
    fn each_half_is_stored_row_by_row() {
        let x: Vec<f64> = (1..=9).map(f64::from).collect();
        let check = |triangle: Packing, packed: &[f64], whole: &[f64]| {
            assert_eq!(triangle.pack(&x, 3), packed);
            assert_eq!(triangle.unpack(packed, 3), whole);
            assert_eq!(Packing::count(3), packed.len() as u64);
        };
        let upper = [1.0, 2.0, 3.0, 5.0, 6.0, 9.0];
        check(
            Packing::Mirrored,
            &upper,
            &[1.0, 2.0, 3.0, 2.0, 5.0, 6.0, 3.0, 6.0, 9.0],
        );
        check(
            Packing::Upper,
            &upper,
            &[1.0, 2.0, 3.0, 0.0, 5.0, 6.0, 0.0, 0.0, 9.0],
        );
        check(
            Packing::Lower,
            &[1.0, 4.0, 5.0, 7.0, 8.0, 9.0],
            &[1.0, 0.0, 0.0, 4.0, 5.0, 0.0, 7.0, 8.0, 9.0],
        );
    }
}
