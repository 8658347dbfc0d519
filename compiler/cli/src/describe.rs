//! A checked program → its description: the manifest and the documentation of an artifact, and the head of `inspect`.

use optc_artifact::manifest::{Hyper, Number, Optimizer, Range, Rule, Static};
use optc_core::hir::{self, OptimizerId, PatternAxis, Program, RuleBody, StaticType};
use optc_core::settings::{Overrides, SettingError, settle};
use optc_grammar::ast::Span;

/// The optimizers of the root file.
///
/// # Errors
///
/// A default outside of its own interval, which the checker reports before.
pub fn optimizers(program: &Program) -> Result<Vec<Optimizer>, SettingError> {
    program
        .roots
        .iter()
        .map(|&id| optimizer(program, id))
        .collect()
}

fn optimizer(program: &Program, id: OptimizerId) -> Result<Optimizer, SettingError> {
    let optimizer = &program.optimizers[id];
    let text = program.sources[optimizer.file].text.as_str();
    let defaults = settle(program, id, &Overrides::default())?.hypers;
    let hyper = |(hyper, default): (&hir::Hyper, f64)| Hyper {
        default: Number(default),
        docs: hyper.docs.clone(),
        name: hyper.name.clone(),
        range: hyper.range.map(range),
    };
    Ok(Optimizer {
        docs: optimizer.docs.clone(),
        hypers: optimizer.hypers.iter().zip(defaults).map(hyper).collect(),
        name: optimizer.name.clone(),
        rules: optimizer.rules.iter().map(|r| rule(text, r)).collect(),
        statics: optimizer.statics.iter().map(|s| choice(text, s)).collect(),
    })
}

fn range(range: hir::Range) -> Range {
    Range {
        hi: Number(range.hi),
        hi_closed: range.hi_closed,
        lo: Number(range.lo),
        lo_closed: range.lo_closed,
    }
}

fn choice(text: &str, choice: &hir::Static) -> Static {
    let ty = type_name(&choice.ty);
    Static {
        default: slice(text, choice.default.span),
        docs: choice.docs.clone(),
        name: choice.name.clone(),
        ty: choice
            .range
            .map_or(ty.clone(), |range| format!("{ty} in {range}")),
    }
}

fn type_name(ty: &StaticType) -> String {
    match ty {
        StaticType::Int => "int".into(),
        StaticType::Float => "float".into(),
        StaticType::Bool => "bool".into(),
        StaticType::Choice(words) => format!("choice({})", words.join(", ")),
        StaticType::Table(width) => format!("table({width})"),
        StaticType::DType => "dtype".into(),
    }
}

fn rule(text: &str, rule: &hir::Rule) -> Rule {
    let state = rule.states.values().map(|state| slice(text, state.span));
    Rule {
        name: rule.name.clone(),
        pattern: takes(text, rule),
        state: state
            .map(|s| s.strip_prefix("state ").unwrap_or(&s).to_owned())
            .collect(),
    }
}

/// Which parameters a rule takes, and whom it hands them to: `w: [m, n] where m > 1`.
fn takes(text: &str, rule: &hir::Rule) -> String {
    let axis = |axis: &PatternAxis| match *axis {
        PatternAxis::Bind(symbol) => rule.symbols[symbol].clone(),
        PatternAxis::Fixed(length) => length.to_string(),
        PatternAxis::Rest => "...".into(),
    };
    let axes: Vec<String> = rule.pattern.axes.iter().map(axis).collect();
    let guard = rule
        .guard
        .as_ref()
        .map_or_else(String::new, |g| format!(" where {}", slice(text, g.span)));
    let target = match &rule.body {
        RuleBody::Block(_) => String::new(),
        // What stands after the first `=` outside of the guard, as written.
        RuleBody::Delegate { .. } => {
            let whole = slice(text, rule.span);
            let after = guard.trim_start();
            let tail = whole
                .split_once(after)
                .map_or(whole.as_str(), |(_, tail)| tail);
            tail.find("= ")
                .map_or_else(String::new, |at| format!(" {}", &tail[at..]))
        }
    };
    format!("{}: [{}]{guard}{target}", rule.param, axes.join(", "))
}

/// The text of a span, on one line.
fn slice(text: &str, span: Span) -> String {
    let part = text
        .get(span.start as usize..span.end as usize)
        .unwrap_or_default();
    part.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The documentation of optimizers, as Markdown.
#[cfg(feature = "compile")]
pub(crate) fn docs(optimizers: &[Optimizer]) -> String {
    optimizers
        .iter()
        .map(chapter)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(feature = "compile")]
fn chapter(optimizer: &Optimizer) -> String {
    let mut text = format!("# {}\n\n{}\n", optimizer.name, optimizer.docs.trim());
    if !optimizer.hypers.is_empty() {
        text += "\n| hyperparameter | default | range | |\n|---|---|---|---|\n";
    }
    for hyper in &optimizer.hypers {
        let range = hyper.range.map(interval).unwrap_or_default();
        text += &format!(
            "| `{}` | {} | {range} | {} |\n",
            hyper.name,
            hyper.default.0,
            hyper.docs.trim()
        );
    }
    if !optimizer.statics.is_empty() {
        text += "\n| static | default | type | |\n|---|---|---|---|\n";
    }
    for choice in &optimizer.statics {
        text += &format!(
            "| `{}` | {} | {} | {} |\n",
            choice.name,
            choice.default,
            choice.ty,
            choice.docs.trim()
        );
    }
    for rule in &optimizer.rules {
        text += &format!("\nRule `{}` takes `{}`.\n", rule.name, rule.pattern);
        let states = rule.state.iter().map(|state| format!("- `{state}`\n"));
        text += &states.collect::<String>();
    }
    text
}

/// `[0, inf)`
pub fn interval(range: Range) -> String {
    let open = if range.lo_closed { '[' } else { '(' };
    let close = if range.hi_closed { ']' } else { ')' };
    format!("{open}{}, {}{close}", range.lo.0, range.hi.0)
}
