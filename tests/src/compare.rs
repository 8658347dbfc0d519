//! How far two tensors are apart, measured so that the learning rate and free signs do not matter.
//!
//! A value that is not finite, or a length that differs, is infinitely far away.

/// The distance between a result and its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The largest difference, relative to the largest element of the scale.
    pub max: f64,
    /// The Frobenius norm of the difference, relative to that of the scale.
    pub frobenius: f64,
}

const FAR: Distance = Distance {
    max: f64::INFINITY,
    frobenius: f64::INFINITY,
};

/// Error of a parameter relative to how far the reference moved it.
///
/// Far stricter than comparing weights, and independent of the learning rate.
pub fn movement(found: &[f64], reference: &[f64], init: &[f64]) -> Distance {
    let moved: Vec<f64> = reference.iter().zip(init).map(|(r, i)| r - i).collect();
    distance(found, reference, &moved)
}

/// Error of a state relative to its largest element.
pub fn relative(found: &[f64], reference: &[f64]) -> Distance {
    distance(found, reference, reference)
}

fn distance(found: &[f64], reference: &[f64], scale: &[f64]) -> Distance {
    if found.len() != reference.len() {
        return FAR;
    }
    let difference: Vec<f64> = found.iter().zip(reference).map(|(f, r)| f - r).collect();
    Distance {
        max: ratio(largest(&difference), largest(scale)),
        frobenius: ratio(norm(&difference), norm(scale)),
    }
}

fn ratio(error: f64, scale: f64) -> f64 {
    match error {
        0.0 => 0.0,
        _ if error.is_nan() => f64::INFINITY,
        _ => error / scale,
    }
}

/// The largest magnitude; NaN if any element is.
pub fn largest(values: &[f64]) -> f64 {
    // `f64::max` ignores NaN; here a NaN must win.
    let larger = |a: f64, b: f64| {
        if a.is_nan() || b.is_nan() {
            f64::NAN
        } else {
            a.max(b)
        }
    };
    values.iter().map(|v| v.abs()).fold(0.0, larger)
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// A square matrix with orthonormal columns, row-major.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    pub values: &'a [f64],
    pub size: usize,
}

impl<'a> Basis<'a> {
    /// As many rows as columns.
    pub fn new(values: &'a [f64]) -> Basis<'a> {
        let size = values.len().isqrt();
        Basis { values, size }
    }

    /// The inner product of one of our columns with one of the reference's.
    fn dot(&self, column: usize, other: &Basis, other_column: usize) -> f64 {
        let at = |basis: &Basis, row: usize, col: usize| basis.values[row * basis.size + col];
        (0..self.size)
            .map(|row| at(self, row, column) * at(other, row, other_column))
            .sum()
    }
}

/// How far `|QᵀQ_ref|` is from the identity in the first `rank` columns; the others are arbitrary.
pub fn bases(found: Basis, reference: Basis, rank: usize) -> Distance {
    if found.values.len() != reference.values.len() {
        return FAR;
    }
    let rank = rank.min(found.size);
    let pairs = (0..rank).flat_map(|i| (0..rank).map(move |j| (i, j)));
    let overlaps = pairs.map(|(i, j)| found.dot(i, &reference, j).abs() - f64::from(i == j));
    let overlaps: Vec<f64> = overlaps.collect();
    let identity = vec![1.0; rank];
    Distance {
        max: ratio(largest(&overlaps), 1.0),
        frobenius: ratio(norm(&overlaps), norm(&identity)),
    }
}

/// The sign that each of our columns has in the reference.
pub fn column_signs(found: Basis, reference: Basis) -> Vec<f64> {
    (0..found.size)
        .map(|i| found.dot(i, &reference, i).signum())
        .collect()
}

/// Multiplies a tensor by one vector of signs along each mode that has one.
pub fn with_signs(values: &[f64], dims: &[usize], signs: &[Option<Vec<f64>>]) -> Vec<f64> {
    let mut out = values.to_vec();
    let mut stride = values.len();
    for (dim, signs) in dims.iter().zip(signs) {
        stride /= (*dim).max(1);
        let Some(signs) = signs else { continue };
        for (at, value) in out.iter_mut().enumerate() {
            *value *= signs[at / stride % dim];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movement_ignores_the_size_of_the_weights() {
        let far = movement(&[1001.5], &[1001.0], &[1000.0]);
        assert_eq!(
            far,
            Distance {
                max: 0.5,
                frobenius: 0.5
            }
        );
    }

    #[test]
    fn a_parameter_that_must_rest_may_not_move() {
        assert_eq!(movement(&[1.0], &[1.0], &[1.0]).max, 0.0);
        assert_eq!(movement(&[1.0 + 1e-15], &[1.0], &[1.0]).max, f64::INFINITY);
    }

    #[test]
    fn nan_and_length_are_infinitely_far() {
        assert_eq!(relative(&[f64::NAN, 1.0], &[1.0, 1.0]).max, f64::INFINITY);
        assert_eq!(relative(&[1.0, f64::NAN], &[1.0, 1.0]).max, f64::INFINITY);
        assert_eq!(relative(&[1.0], &[1.0, 1.0]), FAR);
    }

    #[test]
    fn column_signs_are_free_and_column_order_is_not() {
        let reference = Basis::new(&[0.6, -0.8, 0.8, 0.6]);
        let flipped = Basis::new(&[-0.6, -0.8, -0.8, 0.6]);
        let swapped = Basis::new(&[-0.8, 0.6, 0.6, 0.8]);
        assert!(bases(flipped, reference, 2).max < 1e-15);
        assert_eq!(column_signs(flipped, reference), [-1.0, 1.0]);
        assert!(bases(swapped, reference, 2).max > 0.9);
    }

    #[test]
    fn signs_act_along_their_own_mode() {
        let tensor = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let signs = [None, Some(vec![1.0, -1.0, 1.0])];
        assert_eq!(
            with_signs(&tensor, &[2, 3], &signs),
            [1.0, -2.0, 3.0, 4.0, -5.0, 6.0]
        );
        let signs = [Some(vec![-1.0, 1.0]), None];
        assert_eq!(
            with_signs(&tensor, &[2, 3], &signs),
            [-1.0, -2.0, -3.0, 4.0, 5.0, 6.0]
        );
    }
}
