//! Which optimizer of a program, with which statics: what the command line leaves open, filled from defaults.

use crate::args::Setting;
use crate::error::{CommandError, Failure};
use optc_core::hir::{OptimizerId, Program, StaticType};
use optc_core::settings::{Overrides, SettingError, Settings, StaticValue, settle};

/// The optimizers of the root file that `name` leaves: all without it.
pub(crate) fn optimizers(
    program: &Program,
    name: Option<&str>,
) -> Result<Vec<OptimizerId>, CommandError> {
    let Some(name) = name else {
        return Ok(program.roots.clone());
    };
    let chosen: Vec<OptimizerId> = program
        .roots
        .iter()
        .copied()
        .filter(|&id| program.optimizers[id].name == name)
        .collect();
    if chosen.is_empty() {
        return Err(CommandError::UnknownOptimizer {
            name: name.into(),
            known: names(program),
        });
    }
    Ok(chosen)
}

/// The one optimizer of the root file, or the one of that name.
pub(crate) fn optimizer(
    program: &Program,
    name: Option<&str>,
) -> Result<OptimizerId, CommandError> {
    match optimizers(program, name)?.as_slice() {
        [one] => Ok(*one),
        _ => Err(CommandError::WhichOptimizer {
            known: names(program),
        }),
    }
}

/// An optimizer's numbers and choices: defaults, and the statics given on the command line.
pub(crate) fn settings(
    program: &Program,
    id: OptimizerId,
    statics: &[Setting],
) -> Result<Settings, Failure> {
    Ok(settle(program, id, &overrides(program, id, statics)?)?)
}

/// The statics given on the command line, for an optimizer that has them.
///
/// Errors: a name that does not exist, a value of another kind or out of its range.
pub(crate) fn overrides(
    program: &Program,
    id: OptimizerId,
    statics: &[Setting],
) -> Result<Overrides, Failure> {
    let overrides = Overrides {
        statics: values(program, id, statics)?,
        ..Overrides::default()
    };
    settle(program, id, &overrides)?;
    Ok(overrides)
}

/// The statics of the command line, read by their types. A name that does not exist passes: [`settle`] reports it.
fn values(
    program: &Program,
    id: OptimizerId,
    statics: &[Setting],
) -> Result<Vec<(String, StaticValue)>, CommandError> {
    let declared = &program.optimizers[id].statics;
    let value = |setting: &Setting| match declared.iter().find(|s| s.name == setting.name) {
        Some(declared) => value(setting, &declared.ty),
        None => Ok(StaticValue::Word(setting.value.clone())),
    };
    statics
        .iter()
        .map(|setting| Ok((setting.name.clone(), value(setting)?)))
        .collect()
}

fn value(setting: &Setting, ty: &StaticType) -> Result<StaticValue, CommandError> {
    let wrong = || SettingError::WrongStatic {
        name: setting.name.clone(),
        expected: expectation(ty),
        found: setting.value.clone(),
    };
    Ok(StaticValue::parse(&setting.value, ty).ok_or_else(wrong)?)
}

fn expectation(ty: &StaticType) -> String {
    match ty {
        StaticType::Int => "a whole number, as in `5`".into(),
        StaticType::Float => "a number, as in `0.5`".into(),
        StaticType::Bool => "`true` or `false`".into(),
        StaticType::Choice(words) => words.join(", "),
        StaticType::Table(width) => format!("rows of {width} numbers, as in `1,2,3;4,5,6`"),
        StaticType::DType => "`f64`, `f32`, `bf16`, `f16` or `same`".into(),
    }
}

fn names(program: &Program) -> Vec<String> {
    program
        .roots
        .iter()
        .map(|&id| program.optimizers[id].name.clone())
        .collect()
}
