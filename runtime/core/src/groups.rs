//! Parameter groups: which parameters have other numbers, other choices, or a rule by name.
//!
//! ```
//! use optc_runtime::Group;
//!
//! let group = Group::new("(embed|norm|bias)").rule("other").hyper("lr", 1e-3);
//! ```
//!
//! A parameter belongs to the one group whose pattern is found in its name, or to group 0, which has the settings of
//! the optimizer itself. Group `n` of a bound optimizer is the `n`-th that was given, counted from 1.

use crate::error::BindError;
use crate::optimizer::{BindOptions, ParamDesc};
use optc_core::hir::{OptimizerId, Program};
use optc_core::settings::{Overrides, Settings, StaticValue, settle};
use regex::Regex;

/// Settings for the parameters whose name holds a pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub(crate) pattern: String,
    pub(crate) rule: Option<String>,
    pub(crate) hypers: Vec<(String, f64)>,
    pub(crate) statics: Vec<(String, String)>,
}

impl Group {
    /// A group of all parameters in whose name the regular expression is found.
    pub fn new(pattern: &str) -> Group {
        Group {
            pattern: pattern.to_owned(),
            rule: None,
            hypers: Vec::new(),
            statics: Vec::new(),
        }
    }

    /// These parameters take that rule, not the first that fits.
    pub fn rule(mut self, name: &str) -> Group {
        self.rule = Some(name.to_owned());
        self
    }

    /// A hyperparameter's value in this group.
    pub fn hyper(mut self, name: &str, value: f64) -> Group {
        self.hypers.push((name.to_owned(), value));
        self
    }

    /// A static's value in this group, as on the command line: `5`, `true`, a word of a choice, `1,2,3;4,5,6`.
    pub fn set(mut self, name: &str, value: &str) -> Group {
        self.statics.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The settings of all groups, the optimizer's own first.
pub(crate) fn settings(
    program: &Program,
    id: OptimizerId,
    options: &BindOptions,
) -> Result<Vec<Settings>, BindError> {
    let own = Group::new("");
    let each = |group: &Group| {
        let hypers = options
            .hypers
            .iter()
            .chain(&group.hypers)
            .cloned()
            .collect();
        let statics = options.statics.iter().chain(&group.statics);
        let statics = statics
            .map(|(name, text)| parse(program, id, name, text))
            .collect::<Result<_, BindError>>()?;
        Ok(settle(program, id, &Overrides { hypers, statics })?)
    };
    std::iter::once(&own)
        .chain(&options.groups)
        .map(each)
        .collect()
}

/// A static's value from its text; what cannot be read stays a word, which `settle` refuses with its own message.
fn parse(
    program: &Program,
    id: OptimizerId,
    name: &str,
    text: &str,
) -> Result<(String, StaticValue), BindError> {
    let declared = program.optimizers[id]
        .statics
        .iter()
        .find(|declared| declared.name == name);
    let value = declared.and_then(|declared| StaticValue::parse(text, &declared.ty));
    Ok((
        name.to_owned(),
        value.unwrap_or_else(|| StaticValue::Word(text.to_owned())),
    ))
}

/// The group of each parameter.
///
/// # Errors
///
/// A pattern that is no regular expression, one that is found in no name, or a parameter of two groups.
pub(crate) fn assign(groups: &[Group], params: &[ParamDesc]) -> Result<Vec<usize>, BindError> {
    let patterns = groups
        .iter()
        .map(compile)
        .collect::<Result<Vec<Regex>, BindError>>()?;
    let found = params
        .iter()
        .map(|param| group_of(&patterns, groups, param))
        .collect::<Result<Vec<usize>, BindError>>()?;
    match (1..=groups.len()).find(|group| !found.contains(group)) {
        Some(empty) => Err(BindError::NothingMatches {
            pattern: groups[empty - 1].pattern.clone(),
        }),
        None => Ok(found),
    }
}

fn compile(group: &Group) -> Result<Regex, BindError> {
    let pattern = || group.pattern.clone();
    Regex::new(&group.pattern).map_err(|error| BindError::Pattern {
        pattern: pattern(),
        message: error.to_string(),
    })
}

fn group_of(patterns: &[Regex], groups: &[Group], param: &ParamDesc) -> Result<usize, BindError> {
    let mut matching = (0..patterns.len()).filter(|&n| patterns[n].is_match(&param.name));
    match (matching.next(), matching.next()) {
        (None, _) => Ok(0),
        (Some(only), None) => Ok(only + 1),
        (Some(a), Some(b)) => Err(BindError::TwoGroups {
            name: param.name.clone(),
            first: groups[a].pattern.clone(),
            second: groups[b].pattern.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use optc_core::dtype::DType;

    fn groups_of(patterns: &[&str], names: &[&str]) -> Result<Vec<usize>, BindError> {
        let groups: Vec<Group> = patterns.iter().map(|pattern| Group::new(pattern)).collect();
        let params: Vec<ParamDesc> = names
            .iter()
            .map(|name| ParamDesc::new(name, &[1], DType::F32))
            .collect();
        assign(&groups, &params)
    }

    #[test]
    fn patterns_are_found_in_names() {
        assert_eq!(
            groups_of(
                &["bias$", "^embed"],
                &["embed.weight", "fc.weight", "fc.bias"]
            )
            .unwrap(),
            [2, 0, 1]
        );
    }

    #[test]
    fn mistakes_have_names() {
        assert!(matches!(
            groups_of(&["("], &["a"]),
            Err(BindError::Pattern { .. })
        ));
        assert!(matches!(
            groups_of(&["b"], &["a"]),
            Err(BindError::NothingMatches { .. })
        ));
        assert!(matches!(
            groups_of(&["a", "b"], &["ab"]),
            Err(BindError::TwoGroups { .. })
        ));
    }
}
