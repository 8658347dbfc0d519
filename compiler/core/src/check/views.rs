//! Views of a parameter, and whether what they hand over fits the rule that takes it.

use super::body::Body;
use super::error::CheckError;
use super::phase::Level;
use super::rules::{RuleSet, delegate_span};
use crate::hir::{Expr, ExprKind, Parts, Pattern, PatternAxis, Rule, RuleBody, Target, Type, View};
use optc_grammar::ast::{self, Span};

impl Body<'_> {
    /// `merge(permute(w, (1, 0)), limit: k, from: left)`: the inner view comes first.
    pub(super) fn views(&mut self, expr: &ast::Expr) -> Option<Vec<View>> {
        let param = self
            .param
            .as_ref()
            .map(|param| param.name.clone())
            .unwrap_or_default();
        match &expr.kind {
            ast::ExprKind::Name(name) if *name == param => Some(Vec::new()),
            ast::ExprKind::Call { callee, args } => {
                let Some((inner, rest)) = args.split_first() else {
                    return self.bad_view(param, expr.span);
                };
                let mut views = self.views(&inner.value)?;
                match self.view(&callee.text, rest) {
                    Ok(view) => views.push(view?),
                    Err(NotAView) => return self.bad_view(param, expr.span),
                }
                Some(views)
            }
            _ => self.bad_view(param, expr.span),
        }
    }

    fn bad_view(&mut self, param: String, at: Span) -> Option<Vec<View>> {
        self.report(CheckError::BadView { param, at });
        None
    }

    /// A view by name and arguments; `Ok(None)` after a report about an argument.
    fn view(&mut self, name: &str, args: &[ast::Arg]) -> Result<Option<View>, NotAView> {
        let named = |wanted: &str, position: usize| {
            let by_name = args
                .iter()
                .find(|arg| arg.name.as_ref().is_some_and(|name| name.text == wanted));
            by_name
                .or_else(|| args.get(position).filter(|arg| arg.name.is_none()))
                .map(|arg| &arg.value)
                .ok_or(NotAView)
        };
        match (name, args.len()) {
            ("flatten", 1) => {
                let from = self.view_number(named("from", 0)?);
                Ok(from.map(|from| View::Flatten { from }))
            }
            ("merge", 2) => {
                let limit = self.view_number(named("limit", 0)?);
                let sides = Type::Choice(vec!["left".to_owned(), "right".to_owned()]);
                let side = self.expr_as(named("from", 1)?, &sides);
                let from_right = side.kind == ExprKind::Word("right".to_owned());
                Ok(limit.map(|limit| View::Merge { limit, from_right }))
            }
            ("rows", 1) => {
                let of = self.view_number(named("of", 0)?);
                Ok(of.map(|of| View::Rows { of }))
            }
            ("unsqueeze", 1) => {
                let axis = self.view_number(named("axis", 0)?);
                Ok(axis.map(|axis| View::Unsqueeze { axis }))
            }
            ("split", 2) => {
                let axis = self.view_number(named("axis", 0)?);
                let parts = match named("parts", 2) {
                    Ok(count) => self.view_number(count).map(Parts::Equal),
                    Err(NotAView) => self.part_sizes(named("sizes", 1)?).map(Parts::Sizes),
                };
                let view = axis.zip(parts);
                Ok(view.map(|(axis, parts)| View::Split { axis, parts }))
            }
            ("blocks", 1) => {
                let size = self.view_number(named("size", 0)?);
                Ok(size.map(|size| View::Blocks { size }))
            }
            ("permute", 1) => Ok(self
                .permutation(named("axes", 0)?)
                .map(|axes| View::Permute { axes })),
            _ => Err(NotAView),
        }
    }

    /// `(0, 2, 3, 1)`: every axis from 0 on, once.
    fn permutation(&mut self, written: &ast::Expr) -> Option<Vec<u32>> {
        let checked = self.expr(written);
        let axes = permutation(&checked);
        if axes.is_none() && checked.ty != Type::Error {
            self.report(CheckError::BadPermutation { at: written.span });
        }
        axes
    }

    /// `(6, 4, 2)`, or a table with one column.
    fn part_sizes(&mut self, written: &ast::Expr) -> Option<Expr> {
        let sizes = self.expr(written);
        match &sizes.ty {
            Type::Table(_) => Some(sizes),
            Type::Error => None,
            other => {
                let (found, at) = (self.describe(other), written.span);
                let help = "write them as `(6, 4, 2)`, or name a table with one column";
                self.report(CheckError::TypeMismatch {
                    expected: "the lengths of the parts".to_owned(),
                    found,
                    help: help.to_owned(),
                    at,
                    origin: None,
                });
                None
            }
        }
    }

    fn view_number(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let checked = self.expr_as(expr, &Type::Int);
        self.require(&checked, Level::Bind, "a view");
        (checked.ty != Type::Error).then_some(checked)
    }

    /// Whether the axes that views name exist in what they view.
    pub(super) fn axes_exist(&mut self, views: &[View], pattern: &Pattern, at: Span) -> bool {
        let mut shape = pattern.axes.iter().map(|axis| forget(*axis)).collect();
        for view in views {
            match apply(view, shape) {
                Ok(next) => shape = next,
                Err(axis) => {
                    let (axis, shape) = (axis.to_string(), self.show_pattern(pattern));
                    self.report(CheckError::NoSuchAxis { axis, shape, at });
                    return false;
                }
            }
        }
        true
    }

    fn show_pattern(&self, pattern: &Pattern) -> String {
        self.show_shape(&self.shape_of_pattern(pattern))
    }
}

/// The rows of `(0, 2, 3, 1)` as axes, if each from 0 on occurs once.
pub(super) fn permutation(table: &Expr) -> Option<Vec<u32>> {
    let ExprKind::TableLiteral(rows) = &table.kind else {
        return None;
    };
    let [row] = rows.as_slice() else { return None };
    let axes: Vec<u32> = row.iter().map(|axis| *axis as u32).collect();
    let whole = row.iter().all(|axis| axis.fract() == 0.0 && *axis >= 0.0);
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    (whole && sorted.iter().copied().eq(0..axes.len() as u32)).then_some(axes)
}

/// A call that is none of the views.
struct NotAView;

/// What is known of an axis after names are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Any,
    Fixed(u64),
    Rest,
}

fn forget(axis: PatternAxis) -> Length {
    match axis {
        PatternAxis::Bind(_) => Length::Any,
        PatternAxis::Fixed(length) => Length::Fixed(length),
        PatternAxis::Rest => Length::Rest,
    }
}

/// What a part of an axis may be.
fn unfixed(length: Length) -> Length {
    match length {
        Length::Fixed(_) => Length::Any,
        other => other,
    }
}

/// The axes of a view, or the axis that does not exist.
fn apply(view: &View, shape: Vec<Length>) -> Result<Vec<Length>, u64> {
    let rank = (!shape.contains(&Length::Rest)).then_some(shape.len());
    match view {
        View::Merge { .. } => Ok(vec![Length::Rest]),
        View::Rows { .. } => Ok(vec![Length::Any; 2]),
        View::Unsqueeze { axis } => {
            let axis = super::constant::constant(axis).map(|axis| axis.max(0.0) as usize);
            match (rank, axis.and_then(|axis| shape.split_at_checked(axis))) {
                (Some(_), None) if axis.is_some() => Err(axis.unwrap_or_default() as u64),
                (_, Some((front, back))) if !front.contains(&Length::Rest) => {
                    Ok([front, &[Length::Fixed(1)], back].concat())
                }
                _ => Ok(vec![Length::Rest]),
            }
        }
        View::Blocks { .. } => Ok(shape.into_iter().map(unfixed).collect()),
        View::Split { axis, .. } => match (rank, super::constant::constant(axis)) {
            (Some(rank), Some(axis)) if axis < 0.0 || axis >= rank as f64 => {
                Err(axis.max(0.0) as u64)
            }
            _ => Ok(shape.into_iter().map(unfixed).collect()),
        },
        View::Permute { axes } => match rank {
            Some(rank) if rank != axes.len() => Err(rank.min(axes.len()) as u64),
            _ => Ok(vec![Length::Any; axes.len()]),
        },
        View::Flatten { from } => {
            let Some(from) = super::constant::constant(from) else {
                return Ok(vec![Length::Rest]);
            };
            match (rank, shape.get(..from.max(0.0) as usize)) {
                (Some(rank), _) if from < 0.0 || from >= rank as f64 => Err(from.max(0.0) as u64),
                (_, Some(front)) if !front.contains(&Length::Rest) => {
                    Ok([front, &[Length::Any]].concat())
                }
                _ => Ok(vec![Length::Rest]),
            }
        }
    }
}

/// Whether some shape has both forms.
fn may_meet(a: &[Length], b: &[Length]) -> bool {
    match (a, b) {
        ([], []) => true,
        ([Length::Rest, rest @ ..], other) | (other, [Length::Rest, rest @ ..]) => {
            (0..=other.len()).any(|skipped| may_meet(rest, &other[skipped..]))
                || other.contains(&Length::Rest)
        }
        ([Length::Fixed(x), ..], [Length::Fixed(y), ..]) if x != y => false,
        ([_, a @ ..], [_, b @ ..]) => may_meet(a, b),
        _ => false,
    }
}

impl RuleSet<'_> {
    /// Rules whose view can never have the form that their target takes.
    pub(super) fn never_fitting(&mut self) {
        let rules = self.checked();
        let mut errors = Vec::new();
        for (rule, written) in rules.iter().zip(&self.optimizer.rules) {
            let Some((target, seen)) = rule.and_then(handed_over) else {
                continue;
            };
            let Some(Some(taker)) = rules.get(target) else {
                continue;
            };
            let takes: Vec<Length> = taker.pattern.axes.iter().copied().map(forget).collect();
            if !may_meet(&seen, &takes) {
                errors.push(CheckError::NeverFits {
                    name: written.name.text.clone(),
                    target: taker.name.clone(),
                    view: show_lengths(&seen),
                    pattern: show_lengths(&takes),
                    at: delegate_span(written),
                    origin: self.optimizer.rules[target].pattern.span,
                });
            }
        }
        errors.into_iter().for_each(|error| self.report(error));
    }
}

/// The rule that a rule hands its parameter to, and the form of what it hands over.
fn handed_over(rule: &Rule) -> Option<(usize, Vec<Length>)> {
    let RuleBody::Delegate {
        target: Target::Rule(target),
        view,
    } = &rule.body
    else {
        return None;
    };
    let shape = rule.pattern.axes.iter().copied().map(forget).collect();
    let seen = view
        .iter()
        .try_fold(shape, |shape, view| apply(view, shape))
        .ok()?;
    Some((*target, seen))
}

fn show_lengths(lengths: &[Length]) -> String {
    let axes = lengths.iter().map(|length| match length {
        Length::Any => "_".to_owned(),
        Length::Fixed(length) => length.to_string(),
        Length::Rest => "...".to_owned(),
    });
    format!("[{}]", axes.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<Length> {
        let words = text.split_whitespace().map(|word| match word.parse() {
            Ok(length) => Length::Fixed(length),
            Err(_) if word == "..." => Length::Rest,
            Err(_) => Length::Any,
        });
        words.collect()
    }

    #[track_caller]
    fn check(a: &str, b: &str, expected: bool) {
        assert_eq!(may_meet(&lengths(a), &lengths(b)), expected);
        assert_eq!(may_meet(&lengths(b), &lengths(a)), expected);
    }

    #[test]
    fn shapes_in_common() {
        check("m n", "... a b", true);
        check("...", "", true);
        check("m n", "k", false);
        check("4 n", "5 n", false);
        check("m", "... a b", false);
    }
}
