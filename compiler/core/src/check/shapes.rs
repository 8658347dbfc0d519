//! Symbolic shapes: broadcasting, trailing matrices, substitution at calls.

use crate::hir::{Axis, Dim, Shape};
use std::collections::HashMap;

/// `[]`, `[m, n]`.
pub(super) fn of_dims(dims: impl IntoIterator<Item = Dim>) -> Shape {
    Shape {
        axes: dims.into_iter().map(Axis::Dim).collect(),
    }
}

pub(super) fn scalar() -> Shape {
    Shape::default()
}

/// The shape of an elementwise operation: equal shapes, a scalar, or axes of length 1 stretched.
pub(super) fn broadcast(a: &Shape, b: &Shape) -> Option<Shape> {
    if a == b || b.axes.is_empty() {
        return Some(a.clone());
    }
    if a.axes.is_empty() {
        return Some(b.clone());
    }
    if a.axes.len() != b.axes.len() {
        return None;
    }
    let axes = a.axes.iter().zip(&b.axes).map(|(a, b)| match (a, b) {
        _ if a == b => Some(a.clone()),
        (Axis::Dim(Dim::Const(1)), Axis::Dim(_)) => Some(b.clone()),
        (Axis::Dim(_), Axis::Dim(Dim::Const(1))) => Some(a.clone()),
        _ => None,
    });
    axes.collect::<Option<Vec<_>>>().map(|axes| Shape { axes })
}

/// The number of axes, unless some stand in `...`.
pub(super) fn rank(shape: &Shape) -> Option<usize> {
    let known = shape.axes.iter().all(|axis| matches!(axis, Axis::Dim(_)));
    known.then_some(shape.axes.len())
}

/// Axis `k`, counted from the front, when no `...` stands before it.
pub(super) fn axis(shape: &Shape, k: usize) -> Option<&Dim> {
    let front = shape.axes.get(..=k)?.iter().map(|axis| match axis {
        Axis::Dim(dim) => Some(dim),
        Axis::Rest(_) => None,
    });
    front.collect::<Option<Vec<_>>>()?.pop()
}

/// A stack of matrices: the axes before, rows, columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) stack: Vec<Axis>,
    pub(super) rows: Dim,
    pub(super) cols: Dim,
}

impl Matrix {
    /// The last two axes, if both are known.
    pub(super) fn of(shape: &Shape) -> Option<Self> {
        let [stack @ .., Axis::Dim(rows), Axis::Dim(cols)] = shape.axes.as_slice() else {
            return None;
        };
        Some(Self {
            stack: stack.to_vec(),
            rows: rows.clone(),
            cols: cols.clone(),
        })
    }

    /// The same stack of matrices of another size.
    pub(super) fn sized(&self, rows: Dim, cols: Dim) -> Shape {
        let mut axes = self.stack.clone();
        axes.extend([Axis::Dim(rows), Axis::Dim(cols)]);
        Shape { axes }
    }

    /// The same stack of vectors.
    pub(super) fn vectors(&self, length: Dim) -> Shape {
        let mut axes = self.stack.clone();
        axes.push(Axis::Dim(length));
        Shape { axes }
    }

    /// `[..., 1, 1]`, such as `frobenius` gives: it scales.
    pub(super) fn is_factor(&self) -> bool {
        self.rows == Dim::Const(1) && self.cols == Dim::Const(1)
    }
}

/// What the named dimensions and `...` of a function are at one call.
#[derive(Debug, Default)]
pub(super) struct Substitution {
    dims: HashMap<String, Dim>,
    rest: Option<Vec<Axis>>,
}

impl Substitution {
    /// Makes a parameter's shape equal to an argument's; `None` when that cannot be.
    pub(super) fn unify(&mut self, param: &Shape, arg: &Shape) -> Option<()> {
        let rest = param
            .axes
            .iter()
            .position(|axis| matches!(axis, Axis::Rest(_)));
        let Some(at) = rest else {
            return self.unify_axes(&param.axes, &arg.axes);
        };
        let after = param.axes.len() - at - 1;
        let middle = arg.axes.len().checked_sub(at + after)?;
        self.unify_axes(&param.axes[..at], &arg.axes[..at])?;
        self.unify_axes(&param.axes[at + 1..], &arg.axes[at + middle..])?;
        let found = &arg.axes[at..at + middle];
        match &self.rest {
            Some(rest) => (rest == found).then_some(()),
            None => {
                self.rest = Some(found.to_vec());
                Some(())
            }
        }
    }

    fn unify_axes(&mut self, params: &[Axis], args: &[Axis]) -> Option<()> {
        let same_length = params.len() == args.len();
        let mut pairs = params.iter().zip(args);
        (same_length && pairs.all(|pair| self.unify_axis(pair))).then_some(())
    }

    fn unify_axis(&mut self, pair: (&Axis, &Axis)) -> bool {
        match pair {
            (Axis::Dim(Dim::Named(name)), Axis::Dim(dim)) => {
                self.dims.entry(name.clone()).or_insert_with(|| dim.clone()) == dim
            }
            (Axis::Dim(param), Axis::Dim(arg)) => param == arg,
            _ => false,
        }
    }

    /// A shape of the function, seen from the call.
    pub(super) fn apply(&self, shape: &Shape) -> Shape {
        let axes = shape.axes.iter().flat_map(|axis| match axis {
            Axis::Rest(_) => self.rest.clone().unwrap_or_else(|| vec![axis.clone()]),
            Axis::Dim(Dim::Named(name)) => vec![Axis::Dim(
                self.dims
                    .get(name)
                    .cloned()
                    .unwrap_or(Dim::Named(name.clone())),
            )],
            Axis::Dim(_) => vec![axis.clone()],
        });
        Shape {
            axes: axes.collect(),
        }
    }
}

/// The one length that is not 1, of axes that are all known to be 1 but for it.
pub(super) fn only_long(axes: &[Axis]) -> Option<Dim> {
    let mut long = None;
    for axis in axes {
        match axis {
            Axis::Dim(Dim::Const(1)) => {}
            Axis::Dim(length) if long.is_none() => long = Some(length.clone()),
            _ => return None,
        }
    }
    Some(long.unwrap_or(Dim::Const(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: &str) -> Shape {
        let axes = text.split_whitespace().map(|word| match word.parse() {
            _ if word == "..." => Axis::Rest(0),
            Ok(number) => Axis::Dim(Dim::Const(number)),
            Err(_) => Axis::Dim(Dim::Named(word.to_owned())),
        });
        Shape {
            axes: axes.collect(),
        }
    }

    #[track_caller]
    fn check(a: &str, b: &str, expected: Option<&str>) {
        assert_eq!(broadcast(&shape(a), &shape(b)), expected.map(shape));
        assert_eq!(broadcast(&shape(b), &shape(a)), expected.map(shape));
    }

    #[test]
    fn broadcasting() {
        check("m n", "m n", Some("m n"));
        check("", "... n", Some("... n"));
        check("... 1 1", "... m n", Some("... m n"));
        check("m 1", "1 n", Some("m n"));
        check("n", "m n", None);
        check("m n", "n m", None);
        check("...", "... n", None);
    }

    #[test]
    fn calls_substitute() {
        let mut call = Substitution::default();
        call.unify(&shape("... m n"), &shape("... a 3")).unwrap();
        assert_eq!(call.apply(&shape("... n m")), shape("... 3 a"));
        assert_eq!(call.unify(&shape("m m"), &shape("a b")), None);
    }

    #[test]
    fn a_rest_swallows_any_axes() {
        let mut call = Substitution::default();
        call.unify(&shape("... n"), &shape("a b c")).unwrap();
        assert_eq!(call.apply(&shape("...")), shape("a b"));
        assert_eq!(
            Substitution::default().unify(&shape("... m n"), &shape("...")),
            None
        );
    }
}
