//! Which rule takes a parameter: the first whose pattern fits and whose guard holds.

use super::view::{self, Seen, Step};
use super::{Frame, LowerError, Lowerer, Place, Val, root_frame};
use crate::hir::{
    self, OptimizerId, Pattern, PatternAxis, Program, RuleBody, Symbol, Target, View,
};
use crate::settings::Settings;
use cranelift_entity::SecondaryMap;

/// The index of the rule that takes a parameter of this name and shape, if one does.
///
/// A rule that delegates takes it only if the rule it delegates to does.
///
/// # Errors
///
/// A guard's loops are too long to be written out.
pub fn rule_for(
    program: &Program,
    optimizer: OptimizerId,
    settings: &Settings,
    param: (&str, &[u64]),
) -> Result<Option<usize>, LowerError> {
    let frame = root_frame(program, optimizer, settings);
    matching_rule(program, &frame, param)
}

/// Whether a rule, asked for by index rather than by matching order, can take a parameter of this name and shape.
///
/// # Errors
///
/// Its guard's loops are too long to be written out.
pub fn rule_takes(
    program: &Program,
    optimizer: OptimizerId,
    settings: &Settings,
    rule: usize,
    param: (&str, &[u64]),
) -> Result<bool, LowerError> {
    let frame = root_frame(program, optimizer, settings);
    takes(program, &frame, rule, param)
}

fn takes(
    program: &Program,
    frame: &Frame,
    rule: usize,
    (name, dims): (&str, &[u64]),
) -> Result<bool, LowerError> {
    let data = &program.optimizers[frame.optimizer].rules[rule];
    let Some(symbols) = bind_pattern(&data.pattern, dims) else {
        return Ok(false);
    };
    let mut lowerer = Lowerer {
        name,
        ..Lowerer::new(program, frame.clone())
    };
    lowerer.frame.symbols = symbols;
    lowerer.frame.rule = rule;
    lowerer.with_shape(dims);
    let holds = lowerer.bases_take(&data.applies, dims)
        && data
            .guard
            .as_ref()
            .is_none_or(|guard| lowerer.expr(guard) == Val::Number(1.0));
    let takes = holds && delegate_takes(&mut lowerer, &data.body, dims);
    lowerer.whole(|| Place::rule(&data.name, (name, dims)))?;
    Ok(takes)
}

fn matching_rule(
    program: &Program,
    frame: &Frame,
    param: (&str, &[u64]),
) -> Result<Option<usize>, LowerError> {
    for rule in 0..program.optimizers[frame.optimizer].rules.len() {
        if takes(program, frame, rule, param)? {
            return Ok(Some(rule));
        }
    }
    Ok(None)
}

fn delegate_takes<'p>(lowerer: &mut Lowerer<'p>, body: &'p RuleBody, dims: &[u64]) -> bool {
    let RuleBody::Delegate { target, view } = body else {
        return true;
    };
    let all = seen_through(lowerer, view, dims);
    all.is_some_and(|all| all.iter().all(|seen| target_takes(lowerer, target, seen)))
}

/// The shapes of what is handed over: one, or one for each part.
fn seen_through<'p>(
    lowerer: &mut Lowerer<'p>,
    views: &'p [View],
    dims: &[u64],
) -> Option<Vec<Vec<u64>>> {
    let Some((view, inner)) = views.split_first() else {
        return Some(vec![dims.to_vec()]);
    };
    let each = match lowerer.seen(view, dims) {
        Seen::Whole(step) => vec![view::dims_after(&step, dims)],
        Seen::Parts(lengths) => {
            let after = |steps: Vec<Step>| {
                let start = dims.to_vec();
                steps
                    .iter()
                    .fold(start, |dims, step| view::dims_after(step, &dims))
            };
            view::parts(&lengths).into_iter().map(after).collect()
        }
        Seen::Nothing => return None,
    };
    let all = each.iter().map(|dims| seen_through(lowerer, inner, dims));
    Some(all.collect::<Option<Vec<_>>>()?.concat())
}

fn target_takes<'p>(lowerer: &mut Lowerer<'p>, target: &'p Target, seen: &[u64]) -> bool {
    match target {
        Target::Rule(rule) => {
            let data = &lowerer.program.optimizers[lowerer.frame.optimizer].rules[*rule];
            let Some(symbols) = bind_pattern(&data.pattern, seen) else {
                return false;
            };
            let outer = lowerer.frame.clone();
            (lowerer.frame.symbols, lowerer.frame.rule) = (symbols, *rule);
            lowerer.with_shape(seen);
            let takes = delegate_takes(lowerer, &data.body, seen);
            lowerer.frame = outer;
            takes
        }
        Target::Optimizer {
            id,
            hypers,
            statics,
        } => {
            let frame = lowerer.inner_frame(*id, hypers, statics);
            lowerer.matching_rule(&frame, seen).is_some()
        }
    }
}

/// The lengths of a pattern's symbols for a shape, if it fits.
pub(super) fn bind_pattern(pattern: &Pattern, dims: &[u64]) -> Option<SecondaryMap<Symbol, u64>> {
    let rest = pattern
        .axes
        .iter()
        .position(|axis| *axis == PatternAxis::Rest);
    let fixed = pattern.axes.len() - usize::from(rest.is_some());
    if dims.len() < fixed || (rest.is_none() && dims.len() != fixed) {
        return None;
    }
    let before = rest.unwrap_or(pattern.axes.len());
    let after = &pattern.axes[(before + 1).min(pattern.axes.len())..];
    let head = pattern.axes[..before].iter().zip(dims);
    let tail = after.iter().zip(&dims[dims.len() - after.len()..]);
    let mut bound: Vec<(Symbol, u64)> = Vec::new();
    for (axis, &d) in head.chain(tail) {
        match *axis {
            PatternAxis::Fixed(n) if n != d => return None,
            PatternAxis::Bind(symbol) => {
                if bound.iter().any(|&(s, n)| s == symbol && n != d) {
                    return None;
                }
                bound.push((symbol, d));
            }
            PatternAxis::Fixed(_) | PatternAxis::Rest => {}
        }
    }
    let mut symbols = SecondaryMap::new();
    bound
        .into_iter()
        .for_each(|(symbol, d)| symbols[symbol] = d);
    Some(symbols)
}

impl<'p> Lowerer<'p> {
    /// The rule of another optimizer that takes what this one hands over.
    pub(super) fn matching_rule(&mut self, frame: &Frame, dims: &[u64]) -> Option<usize> {
        match matching_rule(self.program, frame, (self.name, dims)) {
            Ok(found) => found,
            Err(error) => {
                self.fault.get_or_insert(error.fault);
                None
            }
        }
    }

    /// Gives the frame a parameter of this shape whose elements nobody will read: guards ask only for `rank` and `dim`.
    fn with_shape(&mut self, dims: &[u64]) {
        let zero = self.build.constant(0.0);
        let ty = crate::ir::TensorType {
            dtype: crate::dtype::DType::F32,
            dims: dims.to_vec(),
        };
        let param = self.build.fill(zero, ty);
        self.frame.param = Some(param);
        self.frame.grad = Some(param);
    }

    /// The lengths that patterns of a function's parameters bind.
    pub(super) fn bind_argument(&mut self, pattern: &'p hir::Pattern, dims: &[u64]) {
        if let Some(bound) = bind_pattern(pattern, dims) {
            for axis in &pattern.axes {
                if let PatternAxis::Bind(symbol) = *axis {
                    self.frame.symbols[symbol] = bound[symbol];
                }
            }
        }
    }
}
