//! Rules: patterns and guards, bodies, delegation, and whether every rule can do its work.

use super::body::{Body, Context, Param, Room};
use super::error::CheckError;
use super::graph;
use super::items::Items;
use super::names::{Binding, did_you_mean};
use super::phase::Level;
use crate::hir::{
    self, Expr, ExprKind, OptimizerId, Pattern, PatternAxis, Rule, RuleBody, Target, Type, View,
};
use cranelift_entity::{EntityRef, PrimaryMap};
use optc_grammar::ast::{self, Name, Span};

/// Checks the rules of an optimizer whose settings are known.
pub(super) fn rules(cx: &mut Context, items: &Items, id: OptimizerId, optimizer: &ast::Optimizer) {
    if optimizer.rules.is_empty() {
        let (name, at) = (optimizer.name.text.clone(), optimizer.name.span);
        cx.sink.report(items.file, CheckError::NoRule { name, at });
    }
    for (index, rule) in optimizer.rules.iter().enumerate() {
        if let Some(earlier) = optimizer.rules[..index]
            .iter()
            .find(|earlier| earlier.name.text == rule.name.text)
        {
            let (name, at, origin) = (
                rule.name.text.clone(),
                rule.name.span,
                Some(earlier.name.span),
            );
            cx.sink
                .report(items.file, CheckError::Duplicate { name, at, origin });
        }
        let checked = check_rule(cx, items, id, optimizer, rule);
        cx.program.optimizers[id].rules.push(checked);
    }
    unreachable_rules(cx, items, id, optimizer);
    never_fitting(cx, items, id, optimizer);
    rule_circles(cx, items, id, optimizer);
}

fn check_rule(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
    rule: &ast::Rule,
) -> Rule {
    let mut body = Body::new(cx, items, Room::Rule);
    body.optimizer = Some(id);
    body.declare_settings(optimizer);
    body.declare(&rule.param, Binding::Param);
    let pattern = body.pattern(&rule.pattern).unwrap_or(Pattern {
        axes: vec![PatternAxis::Rest],
    });
    body.param = Some(Param {
        name: rule.param.text.clone(),
        shape: body.shape_of_pattern(&pattern),
    });
    let guard = rule.guard.as_ref().map(|guard| body.guard(guard));
    let checked = body.rule_body(optimizer, rule, &pattern);
    Rule {
        name: rule.name.text.clone(),
        docs: rule.docs.clone(),
        param: rule.param.text.clone(),
        pattern,
        guard,
        symbols: body.symbols,
        locals: body.locals,
        states: body.states,
        modes: body.modes,
        body: checked,
        span: rule.span,
    }
}

impl<'a> Body<'a> {
    fn declare_settings(&mut self, optimizer: &ast::Optimizer) {
        let hypers = optimizer.hypers.iter().map(|hyper| &hyper.name).enumerate();
        let statics = optimizer
            .statics
            .iter()
            .map(|entry| &entry.name)
            .enumerate();
        // A name that is declared twice was reported with the settings; the first declaration counts.
        for (index, name) in hypers {
            let _ = self
                .names
                .declare(&name.text, Binding::Hyper(index), Some(name.span));
        }
        for (index, name) in statics {
            let _ = self
                .names
                .declare(&name.text, Binding::Static(index), Some(name.span));
        }
    }

    fn guard(&mut self, guard: &ast::Expr) -> Expr {
        let room = std::mem::replace(&mut self.room, Room::Setting("a guard"));
        let checked = self.condition(guard);
        self.require(&checked, Level::Bind, "a guard");
        self.room = room;
        checked
    }

    fn rule_body(
        &mut self,
        optimizer: &ast::Optimizer,
        rule: &'a ast::Rule,
        pattern: &Pattern,
    ) -> RuleBody {
        match &rule.body {
            ast::RuleBody::Block(block) => self.rule_block(rule, block),
            ast::RuleBody::Delegate {
                target,
                args,
                view,
                span,
            } => {
                let view = match view {
                    Some(view) => self.views(view),
                    None => Some(Vec::new()),
                };
                let view = view.filter(|view| self.axes_exist(view, pattern, *span));
                let room = std::mem::replace(
                    &mut self.room,
                    Room::Setting("a setting of another optimizer"),
                );
                let target = self.target_of(optimizer, target, args);
                self.room = room;
                match target.zip(view) {
                    Some((target, view)) => RuleBody::Delegate { target, view },
                    None => RuleBody::Block(hir::Block {
                        stmts: Vec::new(),
                        tail: None,
                    }),
                }
            }
        }
    }

    fn rule_block(&mut self, rule: &'a ast::Rule, block: &'a ast::Block) -> RuleBody {
        for (name, binding) in [("grad", Binding::Grad), ("step", Binding::Step)] {
            // A setting of that name was reported with the settings.
            if let Err(entry) = self.names.declare(name, binding, None)
                && !matches!(entry.binding, Binding::Hyper(_) | Binding::Static(_))
            {
                let (name, at) = (name.to_owned(), entry.span.unwrap_or_default());
                self.report(CheckError::Reserved { name, at });
            }
        }
        self.source = Some(block);
        let flow = self.flow;
        let checked = self.within(flow, |body| body.block(block));
        if !self.updates {
            let (name, param, at) = (
                rule.name.text.clone(),
                rule.param.text.clone(),
                rule.name.span,
            );
            self.report(CheckError::NoUpdate { name, param, at });
        }
        RuleBody::Block(checked)
    }

    fn target_of(
        &mut self,
        optimizer: &ast::Optimizer,
        target: &Name,
        args: &[(Name, ast::Expr)],
    ) -> Option<Target> {
        let rule = optimizer
            .rules
            .iter()
            .position(|rule| rule.name.text == target.text);
        if let Some(index) = rule {
            if let (Some((first, _)), Some((_, last))) = (args.first(), args.last()) {
                let (name, at) = (target.text.clone(), first.span.to(last.span));
                let origin = optimizer.rules[index].name.span;
                self.report(CheckError::ArgumentsOnRule { name, at, origin });
            }
            return Some(Target::Rule(index));
        }
        if self.items.missing.contains(&target.text) {
            return None;
        }
        let Some(id) = self.items.optimizers.get(&target.text).copied() else {
            let rules = optimizer.rules.iter().map(|rule| rule.name.text.as_str());
            let optimizers = self.items.optimizers.keys().map(String::as_str);
            let fallback = "name a rule of this optimizer, or import an optimizer with `use`";
            let help = did_you_mean(&target.text, rules.chain(optimizers), fallback);
            self.report(CheckError::UnknownTarget {
                name: target.text.clone(),
                help,
                at: target.span,
            });
            return None;
        };
        let (mut hypers, mut statics) = (Vec::new(), Vec::new());
        for (name, value) in args {
            self.setting(id, name, value, &mut hypers, &mut statics);
        }
        Some(Target::Optimizer {
            id,
            hypers,
            statics,
        })
    }

    fn setting(
        &mut self,
        id: OptimizerId,
        name: &Name,
        value: &ast::Expr,
        hypers: &mut Vec<(usize, Expr)>,
        statics: &mut Vec<(usize, Expr)>,
    ) {
        let other = &self.cx.program.optimizers[id];
        let hyper = other
            .hypers
            .iter()
            .position(|hyper| hyper.name == name.text);
        let entry = other
            .statics
            .iter()
            .position(|entry| entry.name == name.text);
        let (index, expected, level, into) = match (hyper, entry) {
            (Some(index), _) => (index, Type::Float, Level::Hyper, hypers),
            (None, Some(index)) => (
                index,
                super::settings::value_type(other.statics[index].ty.clone()),
                Level::Hyper,
                statics,
            ),
            (None, None) => return self.unknown_setting(id, name),
        };
        if into.iter().any(|(known, _)| *known == index) {
            let (name, at) = (name.text.clone(), name.span);
            return self.report(CheckError::Duplicate {
                name,
                at,
                origin: None,
            });
        }
        let checked = self.expr_as(value, &expected);
        self.require(&checked, level, "a setting");
        into.push((index, checked));
    }

    fn unknown_setting(&mut self, id: OptimizerId, name: &Name) {
        let other = &self.cx.program.optimizers[id];
        let hypers = other.hypers.iter().map(|hyper| hyper.name.as_str());
        let statics = other.statics.iter().map(|entry| entry.name.as_str());
        let fallback = "the settings of an optimizer are its `hyper` and `static` entries";
        let help = did_you_mean(&name.text, hypers.chain(statics), fallback);
        let (of, name, at) = (other.name.clone(), name.text.clone(), name.span);
        self.report(CheckError::UnknownArgument { of, name, help, at });
    }

    /// `merge(permute(w, (1, 0)), limit: k, from: left)`: the inner view comes first.
    fn views(&mut self, expr: &ast::Expr) -> Option<Vec<View>> {
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

    fn view_number(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let checked = self.expr_as(expr, &Type::Int);
        self.require(&checked, Level::Bind, "a view");
        (checked.ty != Type::Error).then_some(checked)
    }

    /// Whether the axes that views name exist in what they view.
    fn axes_exist(&mut self, views: &[View], pattern: &Pattern, at: Span) -> bool {
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
fn permutation(table: &Expr) -> Option<Vec<u32>> {
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

/// The axes of a view, or the axis that does not exist.
fn apply(view: &View, shape: Vec<Length>) -> Result<Vec<Length>, u64> {
    let rank = (!shape.contains(&Length::Rest)).then_some(shape.len());
    match view {
        View::Merge { .. } => Ok(vec![Length::Rest]),
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

fn unreachable_rules(cx: &mut Context, items: &Items, id: OptimizerId, optimizer: &ast::Optimizer) {
    let rules = &cx.program.optimizers[id].rules;
    let mut found = Vec::new();
    for (index, later) in rules.iter().enumerate() {
        let taken =
            |earlier: &&Rule| earlier.guard.is_none() && covers(&earlier.pattern, &later.pattern);
        if let Some(place) = rules[..index].iter().position(|earlier| taken(&earlier)) {
            found.push((index, place));
        }
    }
    for (later, earlier) in found {
        let (later, earlier) = (&optimizer.rules[later].name, &optimizer.rules[earlier].name);
        cx.sink.report(
            items.file,
            CheckError::UnreachableRule {
                name: later.text.clone(),
                earlier: earlier.text.clone(),
                at: later.span,
                origin: earlier.span,
            },
        );
    }
}

/// A rule whose view can never have the form that its target takes.
fn never_fitting(cx: &mut Context, items: &Items, id: OptimizerId, optimizer: &ast::Optimizer) {
    let mut found = Vec::new();
    for (index, rule) in cx.program.optimizers[id].rules.iter().enumerate() {
        if let RuleBody::Delegate {
            target: Target::Rule(target),
            view,
        } = &rule.body
        {
            let shape = rule.pattern.axes.iter().map(|axis| forget(*axis)).collect();
            let seen = view
                .iter()
                .try_fold(shape, |shape, view| apply(view, shape));
            found.extend(seen.ok().map(|seen| (index, *target, seen)));
        }
    }
    for (index, target, seen) in found {
        let Some(taker) = cx.program.optimizers[id].rules.get(target) else {
            continue;
        };
        let takes: Vec<Length> = taker
            .pattern
            .axes
            .iter()
            .map(|axis| forget(*axis))
            .collect();
        if may_meet(&seen, &takes) {
            continue;
        }
        let (rule, taker) = (&optimizer.rules[index], &optimizer.rules[target]);
        cx.sink.report(
            items.file,
            CheckError::NeverFits {
                name: rule.name.text.clone(),
                target: taker.name.text.clone(),
                view: show_lengths(&seen),
                pattern: show_lengths(&takes),
                at: delegate_span(rule),
                origin: taker.pattern.span,
            },
        );
    }
}

fn show_lengths(lengths: &[Length]) -> String {
    let axes = lengths.iter().map(|length| match length {
        Length::Any => "_".to_owned(),
        Length::Fixed(length) => length.to_string(),
        Length::Rest => "...".to_owned(),
    });
    format!("[{}]", axes.collect::<Vec<_>>().join(", "))
}

fn delegate_span(rule: &ast::Rule) -> Span {
    match &rule.body {
        ast::RuleBody::Delegate { span, .. } => *span,
        ast::RuleBody::Block(block) => block.span,
    }
}

fn rule_circles(cx: &mut Context, items: &Items, id: OptimizerId, optimizer: &ast::Optimizer) {
    let rules = &cx.program.optimizers[id].rules;
    let edges: Vec<Vec<usize>> = rules
        .iter()
        .map(|rule| match &rule.body {
            RuleBody::Delegate {
                target: Target::Rule(index),
                ..
            } => vec![*index],
            _ => Vec::new(),
        })
        .collect();
    for circle in graph::order(&edges).circles {
        let path = show_path(
            circle
                .path
                .iter()
                .map(|index| optimizer.rules[*index].name.text.as_str()),
        );
        let at = delegate_span(&optimizer.rules[circle.closed_by.0]);
        cx.sink
            .report(items.file, CheckError::DelegateCycle { path, at });
    }
}

/// Optimizers that hand parameters to each other in a circle.
pub(super) fn optimizer_circles(cx: &mut Context) {
    let optimizers = &cx.program.optimizers;
    let delegates: PrimaryMap<OptimizerId, Vec<(usize, Span)>> = optimizers
        .values()
        .map(|optimizer| {
            optimizer
                .rules
                .iter()
                .filter_map(delegated_optimizer)
                .collect()
        })
        .collect();
    let edges: Vec<Vec<usize>> = delegates
        .values()
        .map(|delegates| delegates.iter().map(|(id, _)| *id).collect())
        .collect();
    for circle in graph::order(&edges).circles {
        let names = circle.path.iter().map(|index| {
            cx.program.optimizers[OptimizerId::new(*index)]
                .name
                .as_str()
        });
        let path = show_path(names);
        let (from, edge) = (OptimizerId::new(circle.closed_by.0), circle.closed_by.1);
        let (file, at) = (cx.program.optimizers[from].file, delegates[from][edge].1);
        cx.sink.report(file, CheckError::DelegateCycle { path, at });
    }
}

fn delegated_optimizer(rule: &Rule) -> Option<(usize, Span)> {
    match &rule.body {
        RuleBody::Delegate {
            target: Target::Optimizer { id, .. },
            ..
        } => Some((id.index(), rule.span)),
        _ => None,
    }
}

fn show_path<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(" → ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hir::Symbol;

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

    #[track_caller]
    fn check_meeting(a: &str, b: &str, expected: bool) {
        let lengths = |text| {
            pattern(text)
                .axes
                .into_iter()
                .map(forget)
                .collect::<Vec<_>>()
        };
        assert_eq!(may_meet(&lengths(a), &lengths(b)), expected);
        assert_eq!(may_meet(&lengths(b), &lengths(a)), expected);
    }

    #[test]
    fn shapes_in_common() {
        check_meeting("m n", "... a b", true);
        check_meeting("...", "", true);
        check_meeting("m n", "k", false);
        check_meeting("4 n", "5 n", false);
        check_meeting("m", "... a b", false);
    }
}
