//! Rules that can never match, because an earlier one takes every shape of theirs.

use super::error::CheckError;
use super::rules::RuleSet;
use crate::hir::{Pattern, PatternAxis, Rule, RuleBody, Target, View};

/// Whether every shape of `later` has the form of `earlier`.
fn covers(earlier: &Pattern, later: &Pattern) -> bool {
    let free = |axis: &PatternAxis| match axis {
        PatternAxis::Bind(symbol) => {
            earlier
                .axes
                .iter()
                .filter(|other| **other == PatternAxis::Bind(*symbol))
                .count()
                == 1
        }
        _ => false,
    };
    let axis_covers = |pair: (&PatternAxis, &PatternAxis)| match pair {
        (PatternAxis::Fixed(x), PatternAxis::Fixed(y)) => x == y,
        (axis, PatternAxis::Bind(_) | PatternAxis::Fixed(_)) => free(axis),
        _ => false,
    };
    let split = |pattern: &Pattern| {
        pattern
            .axes
            .iter()
            .position(|axis| *axis == PatternAxis::Rest)
    };
    let Some(front) = split(earlier) else {
        let same_length = split(later).is_none() && earlier.axes.len() == later.axes.len();
        return same_length && earlier.axes.iter().zip(&later.axes).all(axis_covers);
    };
    let back = earlier.axes.len() - front - 1;
    let fronts = earlier.axes[..front]
        .iter()
        .zip(&later.axes)
        .all(axis_covers);
    let backs = earlier
        .axes
        .iter()
        .rev()
        .take(back)
        .zip(later.axes.iter().rev())
        .all(axis_covers);
    let long_enough = later
        .axes
        .iter()
        .filter(|axis| **axis != PatternAxis::Rest)
        .count()
        >= front + back;
    long_enough && fronts && backs
}

fn hands_to(rule: &Rule, index: usize) -> bool {
    matches!(rule.body, RuleBody::Delegate { target: Target::Rule(target), .. } if target == index)
}

/// Whether the rule has a view that depends on more than the pattern.
fn may_not_fit(rule: &Rule) -> bool {
    let RuleBody::Delegate { view, .. } = &rule.body else {
        return false;
    };
    view.iter()
        .any(|view| matches!(view, View::Split { .. } | View::Rows { .. }))
}

impl RuleSet<'_> {
    /// Reports rules that an earlier one without a guard leaves nothing, and that no rule hands a parameter to.
    pub(super) fn unreachable(&mut self) {
        let rules = self.checked();
        let mut errors = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let Some(rule) = rule else { continue };
            if rules.iter().flatten().any(|other| hands_to(other, index)) {
                continue;
            }
            let takes_all = |earlier: &Rule| {
                earlier.guard.is_none()
                    && !may_not_fit(earlier)
                    && covers(&earlier.pattern, &rule.pattern)
            };
            if let Some(place) = rules[..index]
                .iter()
                .position(|earlier| earlier.is_some_and(takes_all))
            {
                let (later, earlier) = (
                    &self.optimizer.rules[index].name,
                    &self.optimizer.rules[place].name,
                );
                errors.push(CheckError::UnreachableRule {
                    name: later.text.clone(),
                    earlier: earlier.text.clone(),
                    at: later.span,
                    origin: earlier.span,
                });
            }
        }
        errors.into_iter().for_each(|error| self.report(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hir::Symbol;
    use cranelift_entity::EntityRef;

    fn pattern(text: &str) -> Pattern {
        let mut names = Vec::new();
        let axes = text.split_whitespace().map(|word| {
            if word == "..." {
                return PatternAxis::Rest;
            }
            if let Ok(length) = word.parse() {
                return PatternAxis::Fixed(length);
            }
            let known = names.iter().position(|name| *name == word);
            let index = known.unwrap_or_else(|| {
                names.push(word);
                names.len() - 1
            });
            PatternAxis::Bind(Symbol::new(index))
        });
        Pattern {
            axes: axes.collect(),
        }
    }

    #[track_caller]
    fn check(earlier: &str, later: &str, expected: bool) {
        assert_eq!(
            covers(&pattern(earlier), &pattern(later)),
            expected,
            "[{earlier}] covers [{later}]"
        );
    }

    #[test]
    fn patterns_cover() {
        check("...", "m n", true);
        check("...", "", true);
        check("m n", "a b", true);
        check("m n", "a a", true);
        check("... n", "m n", true);
        check("m ... n", "a ... b c", true);
        check("m n", "4 n", true);
    }

    #[test]
    fn patterns_that_leave_something() {
        check("m n", "...", false);
        check("n n", "a b", false);
        check("4 n", "m n", false);
        check("m n", "m n k", false);
        check("m ... n", "m", false);
        check("... m n", "... n", false);
    }
}
