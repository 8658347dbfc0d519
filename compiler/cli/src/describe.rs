//! A checked program → its description: the manifest and the documentation of an artifact, and the head of `inspect`.

use optc_artifact::manifest::{Hyper, Number, Optimizer, Range, Rule, Static};
use optc_core::hir::{self, InputKind, OptimizerId, PatternAxis, Program, RuleBody, StaticType};
use optc_core::settings::{Overrides, SettingError, StaticValue, settle};
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
    let settings = settle(program, id, &Overrides::default())?;
    let entries = program.entries(id);
    let hyper = |(hyper, default): (&hir::Hyper, f64)| Hyper {
        default: Number(default),
        docs: hyper.docs.clone(),
        name: hyper.name.clone(),
        range: hyper.range.map(range),
    };
    Ok(Optimizer {
        docs: optimizer.docs.clone(),
        entries: entries.iter().map(entry).collect(),
        hypers: (optimizer.hypers.iter().zip(settings.hypers))
            .map(hyper)
            .collect(),
        name: optimizer.name.clone(),
        rules: optimizer.rules.iter().map(|r| rule(program, r)).collect(),
        statics: (optimizer.statics.iter().zip(&settings.statics))
            .map(|(declared, value)| choice(program, optimizer, declared, value))
            .collect(),
    })
}

/// `pull(to: like w, by: float)`
fn entry(entry: &hir::Signature) -> String {
    let inputs = entry.inputs.iter().map(|(name, kind)| match kind {
        InputKind::Tensor => format!("{name}: like w"),
        InputKind::Number => format!("{name}: float"),
    });
    format!("{}({})", entry.name, inputs.collect::<Vec<_>>().join(", "))
}

fn range(range: hir::Range) -> Range {
    Range {
        hi: Number(range.hi),
        hi_closed: range.hi_closed,
        lo: Number(range.lo),
        lo_closed: range.lo_closed,
    }
}

fn choice(
    program: &Program,
    optimizer: &hir::Optimizer,
    choice: &hir::Static,
    value: &StaticValue,
) -> Static {
    let ty = type_name(&choice.ty);
    // The defaults of a composition stand in several files.
    let own = optimizer.rules.iter().all(|r| r.file == optimizer.file);
    let default = match own && optimizer.bases.is_empty() {
        true => slice(&program.sources[optimizer.file].text, choice.default.span),
        false => value_text(value),
    };
    Static {
        default,
        docs: choice.docs.clone(),
        name: choice.name.clone(),
        ty: choice
            .range
            .map_or(ty.clone(), |range| format!("{ty} in {range}")),
    }
}

fn value_text(value: &StaticValue) -> String {
    match value {
        StaticValue::Number(x) => x.to_string(),
        StaticValue::Bool(b) => b.to_string(),
        StaticValue::Word(word) => word.clone(),
        StaticValue::DType(dtype) => dtype.map_or("same", |dtype| dtype.name()).to_owned(),
        StaticValue::Table(rows) => {
            let row = |row: &Vec<f64>| {
                let cells: Vec<String> = row.iter().map(f64::to_string).collect();
                format!("({})", cells.join(", "))
            };
            format!("[{}]", rows.iter().map(row).collect::<Vec<_>>().join(", "))
        }
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

fn rule(program: &Program, rule: &hir::Rule) -> Rule {
    let text = program.sources[rule.file].text.as_str();
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
    for entry in &optimizer.entries {
        text += &format!("\nEntry `{entry}`.\n");
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
