//! The numbers and choices an optimizer is bound with: defaults, overrides, and their checks.

use crate::dtype::DType;
use crate::hir::{Optimizer, OptimizerId, Program, Range, StaticType};
use crate::lower::{self, LowerError};
use miette::Diagnostic;
use thiserror::Error;

/// The value of a static.
#[derive(Debug, Clone, PartialEq)]
pub enum StaticValue {
    /// An int or float.
    Number(f64),
    /// A bool.
    Bool(bool),
    /// A word of a choice.
    Word(String),
    /// A storage type; `None` is the parameter's.
    DType(Option<DType>),
    /// Rows of numbers.
    Table(Vec<Vec<f64>>),
}

impl std::fmt::Display for StaticValue {
    /// As a person writes it on a command line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StaticValue::Number(number) => write!(f, "{number}"),
            StaticValue::Bool(value) => write!(f, "{value}"),
            StaticValue::Word(word) => f.write_str(word),
            StaticValue::DType(Some(dtype)) => write!(f, "{dtype}"),
            StaticValue::DType(None) => f.write_str("same"),
            StaticValue::Table(rows) => f.write_str(&cells(rows)),
        }
    }
}

fn cells(rows: &[Vec<f64>]) -> String {
    let row = |row: &Vec<f64>| {
        let cells: Vec<String> = row.iter().map(f64::to_string).collect();
        cells.join(",")
    };
    rows.iter().map(row).collect::<Vec<_>>().join(";")
}

impl StaticValue {
    /// Reads a value as a person writes it on a command line: `5`, `true`, `match_rms_adamw`, `f32`, `3,-3.2,1.2;…`.
    pub fn parse(text: &str, ty: &StaticType) -> Option<StaticValue> {
        match ty {
            StaticType::Int | StaticType::Float => {
                text.trim().parse().ok().map(StaticValue::Number)
            }
            StaticType::Bool => text.trim().parse().ok().map(StaticValue::Bool),
            StaticType::Choice(_) => Some(StaticValue::Word(text.trim().to_owned())),
            StaticType::DType if text.trim() == "same" => Some(StaticValue::DType(None)),
            StaticType::DType => {
                DType::from_name(text.trim()).map(|dtype| StaticValue::DType(Some(dtype)))
            }
            StaticType::Table(_) => {
                let row = |row: &str| {
                    row.split(',')
                        .map(|cell| cell.trim().parse().ok())
                        .collect::<Option<Vec<f64>>>()
                };
                text.split(';')
                    .map(row)
                    .collect::<Option<_>>()
                    .map(StaticValue::Table)
            }
        }
    }
}

/// What a user sets when binding; everything else keeps its default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Hyperparameters by name.
    pub hypers: Vec<(String, f64)>,
    /// Statics by name.
    pub statics: Vec<(String, StaticValue)>,
}

/// All numbers and choices of an optimizer, in declaration order.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// One per hyperparameter.
    pub hypers: Vec<f64>,
    /// One per static.
    pub statics: Vec<StaticValue>,
    /// Shared numbers and sums over parameters before the first step, those of optimizers delegated to included.
    pub shared: Vec<f64>,
}

impl Settings {
    /// What a step reads on the host: hyperparameters, then shared numbers and sums.
    pub fn inputs(&self) -> Vec<f64> {
        [&self.hypers[..], &self.shared].concat()
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Error, Diagnostic)]
pub enum SettingError {
    /// No hyperparameter of that name.
    #[error("`{optimizer}` has no hyperparameter `{name}`")]
    #[diagnostic(code(opt::bind::unknown_hyper), help("it has {}", list(known)))]
    UnknownHyper {
        /// The optimizer.
        optimizer: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No static of that name.
    #[error("`{optimizer}` has no static `{name}`")]
    #[diagnostic(code(opt::bind::unknown_static), help("it has {}", list(known)))]
    UnknownStatic {
        /// The optimizer.
        optimizer: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Outside the declared interval.
    #[error("`{name}` = {value} is not in {range}")]
    #[diagnostic(code(opt::bind::out_of_range), help("choose a value in {range}"))]
    OutOfRange {
        /// The hyperparameter or static.
        name: String,
        /// Its value.
        value: f64,
        /// The declared interval.
        range: Range,
    },
    /// A static of another kind.
    #[error("the static `{name}` cannot be `{found}`")]
    #[diagnostic(code(opt::bind::wrong_static), help("it takes {expected}"))]
    WrongStatic {
        /// The static.
        name: String,
        /// What it takes, in words.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A default whose loops, written out, are more than anything can run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    TooLarge(#[from] LowerError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names
            .iter()
            .map(|n| format!("`{n}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The settings of an optimizer with some of them overridden.
///
/// # Errors
///
/// A name that does not exist, a value outside its interval or of another kind, a default that loops without measure.
pub fn settle(
    program: &Program,
    id: OptimizerId,
    overrides: &Overrides,
) -> Result<Settings, SettingError> {
    let optimizer = &program.optimizers[id];
    check_names(optimizer, overrides)?;
    let mut settings = Settings {
        hypers: Vec::new(),
        statics: Vec::new(),
        shared: Vec::new(),
    };
    for hyper in &optimizer.hypers {
        let given = overrides
            .hypers
            .iter()
            .rev()
            .find(|(name, _)| hyper.is(name));
        let value = match given {
            Some((_, x)) => *x,
            None => lower::default_hyper(program, id, &settings, hyper)?,
        };
        check_hyper(optimizer, settings.hypers.len(), value)?;
        settings.hypers.push(value);
    }
    for (index, declared) in optimizer.statics.iter().enumerate() {
        let given = overrides
            .statics
            .iter()
            .rev()
            .find(|(name, _)| declared.is(name));
        let value = match given {
            Some((_, value)) => value.clone(),
            None => lower::default_static(program, id, &settings, declared)?,
        };
        check_static(optimizer, index, &value)?;
        settings.statics.push(value);
    }
    settings.shared = lower::first_shared(program, id, &settings)?;
    Ok(settings)
}

/// Checks a new value of hyperparameter `index` against its interval.
///
/// # Errors
///
/// [`SettingError::OutOfRange`]; NaN is in no interval.
pub fn check_hyper(optimizer: &Optimizer, index: usize, value: f64) -> Result<(), SettingError> {
    let hyper = &optimizer.hypers[index];
    in_range(&hyper.name, value, hyper.range.as_ref())
}

fn in_range(name: &str, value: f64, range: Option<&Range>) -> Result<(), SettingError> {
    let whole = Range {
        lo: f64::NEG_INFINITY,
        lo_closed: true,
        hi: f64::INFINITY,
        hi_closed: true,
    };
    let range = *range.unwrap_or(&whole);
    if range.contains(value) {
        Ok(())
    } else {
        Err(SettingError::OutOfRange {
            name: name.to_owned(),
            value,
            range,
        })
    }
}

fn check_names(optimizer: &Optimizer, overrides: &Overrides) -> Result<(), SettingError> {
    let hypers: Vec<String> = optimizer.hypers.iter().map(|h| h.name.clone()).collect();
    let statics: Vec<String> = optimizer.statics.iter().map(|s| s.name.clone()).collect();
    if let Some((name, _)) = overrides
        .hypers
        .iter()
        .find(|(name, _)| !optimizer.hypers.iter().any(|hyper| hyper.is(name)))
    {
        let (optimizer, name) = (optimizer.name.clone(), name.clone());
        return Err(SettingError::UnknownHyper {
            optimizer,
            name,
            known: hypers,
        });
    }
    if let Some((name, _)) = overrides
        .statics
        .iter()
        .find(|(name, _)| !optimizer.statics.iter().any(|entry| entry.is(name)))
    {
        let (optimizer, name) = (optimizer.name.clone(), name.clone());
        return Err(SettingError::UnknownStatic {
            optimizer,
            name,
            known: statics,
        });
    }
    Ok(())
}

fn check_static(
    optimizer: &Optimizer,
    index: usize,
    value: &StaticValue,
) -> Result<(), SettingError> {
    let declared = &optimizer.statics[index];
    let wrong = |expected: String| SettingError::WrongStatic {
        name: declared.name.clone(),
        expected,
        found: value.to_string(),
    };
    match (&declared.ty, value) {
        (StaticType::Int, StaticValue::Number(x)) if x.fract() == 0.0 => {
            in_range(&declared.name, *x, declared.range.as_ref())
        }
        (StaticType::Int, _) => Err(wrong("a whole number".to_owned())),
        (StaticType::Float, StaticValue::Number(x)) => {
            in_range(&declared.name, *x, declared.range.as_ref())
        }
        (StaticType::Float, _) => Err(wrong("a number".to_owned())),
        (StaticType::Bool, StaticValue::Bool(_)) | (StaticType::DType, StaticValue::DType(_)) => {
            Ok(())
        }
        (StaticType::Bool, _) => Err(wrong("`true` or `false`".to_owned())),
        (StaticType::DType, _) => Err(wrong("`f64`, `f32`, `bf16`, `f16` or `same`".to_owned())),
        (StaticType::Choice(words), StaticValue::Word(word)) if words.contains(word) => Ok(()),
        (StaticType::Choice(words), _) => Err(wrong(list(words))),
        (StaticType::Table(width), StaticValue::Table(rows))
            if !rows.is_empty() && rows.iter().all(|row| row.len() == *width as usize) =>
        {
            Ok(())
        }
        (StaticType::Table(width), _) => Err(wrong(format!("at least one row of {width} numbers"))),
    }
}
