//! Parameter groups: which parameters have other numbers, other choices, or a rule by name.
//!
//! ```
//! use optc_runtime::Group;
//!
//! let group = Group::new("(embed|norm|bias)").rule("other").hyper("lr", 1e-3);
//! ```
//!
//! A parameter belongs to the one group whose pattern is found in its name, or which lists it; or to group 0, which
//! has the settings of the optimizer itself. Group `n` of a bound optimizer is the `n`-th that was given, counted
//! from 1.

use crate::error::BindError;
use crate::optimizer::{BindOptions, ParamDesc};
use crate::rules::Rules;
use optc_core::hir::{Optimizer, OptimizerId, Program};
use optc_core::settings::{Overrides, Settings, StaticValue, settle};
use regex::Regex;
use std::collections::HashSet;
use std::sync::Arc;

/// Settings for some of the parameters.
#[derive(Debug, Clone)]
pub struct Group {
    members: Members,
    other: Option<Other>,
    rule: Option<String>,
    pub(crate) hypers: Vec<(String, f64)>,
    pub(crate) statics: Vec<(String, String)>,
}

/// Another optimizer than that of the other parameters.
#[derive(Debug, Clone)]
struct Other {
    rules: Rules,
    optimizer: Option<String>,
}

/// Who belongs to a group.
#[derive(Debug, Clone)]
enum Members {
    Pattern(String),
    Names(HashSet<String>),
}

impl Group {
    /// A group of all parameters in whose name the regular expression is found.
    pub fn new(pattern: &str) -> Group {
        Group::with(Members::Pattern(pattern.to_owned()))
    }

    /// A group of the parameters with these names; it may be empty.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Group {
        Group::with(Members::Names(
            names.into_iter().map(str::to_owned).collect(),
        ))
    }

    fn with(members: Members) -> Group {
        Group {
            members,
            other: None,
            rule: None,
            hypers: Vec::new(),
            statics: Vec::new(),
        }
    }

    /// These parameters take the optimizer of another source or artifact, by name if it declares several. It starts
    /// from its own defaults.
    pub fn uses(mut self, rules: &Rules, optimizer: Option<&str>) -> Group {
        self.other = Some(Other {
            rules: rules.clone(),
            optimizer: optimizer.map(str::to_owned),
        });
        self
    }

    /// These parameters take that rule, not the first that fits.
    pub fn rule(mut self, name: &str) -> Group {
        self.rule = Some(name.to_owned());
        self
    }

    pub(crate) fn other_rules(&self) -> Option<&Rules> {
        self.other.as_ref().map(|other| &other.rules)
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

/// What a group has settled on.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) program: Arc<Program>,
    pub(crate) id: OptimizerId,
    pub(crate) settings: Settings,
    /// The rule to take, in place of the first that fits.
    pub(crate) rule: Option<String>,
}

impl Terms {
    pub(crate) fn optimizer(&self) -> &Optimizer {
        &self.program.optimizers[self.id]
    }

    /// Whether both have the same plan for the same parameter and rule.
    pub(crate) fn plans_like(&self, other: &Terms) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
            && self.id == other.id
            && self.settings.statics == other.settings.statics
    }
}

/// The terms of all groups, the optimizer's own first.
pub(crate) fn terms(rules: &Rules, options: &BindOptions) -> Result<Vec<Terms>, BindError> {
    let id = rules.optimizer(options.optimizer.as_deref())?;
    let own = Group {
        hypers: options.hypers.clone(),
        statics: options.statics.clone(),
        rule: options.rule.clone(),
        ..Group::of([])
    };
    let each = |group: &Group| match &group.other {
        Some(Other { rules, optimizer }) => {
            terms_of(rules, rules.optimizer(optimizer.as_deref())?, group)
        }
        None => terms_of(rules, id, &group.after(&own)),
    };
    let own_terms = terms_of(rules, id, &own);
    std::iter::once(own_terms)
        .chain(options.groups.iter().map(each))
        .collect()
}

impl Group {
    /// This group with the settings of `own` where it has none.
    fn after(&self, own: &Group) -> Group {
        Group {
            hypers: [&own.hypers[..], &self.hypers].concat(),
            statics: [&own.statics[..], &self.statics].concat(),
            ..self.clone()
        }
    }
}

fn terms_of(rules: &Rules, id: OptimizerId, group: &Group) -> Result<Terms, BindError> {
    let program = &rules.program;
    let statics = group
        .statics
        .iter()
        .map(|(name, text)| parse(program, id, name, text))
        .collect::<Result<_, BindError>>()?;
    let overrides = Overrides {
        hypers: group.hypers.clone(),
        statics,
    };
    Ok(Terms {
        program: Arc::clone(program),
        id,
        settings: settle(program, id, &overrides)?,
        rule: group.rule.clone(),
    })
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
        .find(|declared| declared.is(name));
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
    let matchers = groups
        .iter()
        .map(Matcher::new)
        .collect::<Result<Vec<Matcher>, BindError>>()?;
    let found = params
        .iter()
        .map(|param| group_of(&matchers, param))
        .collect::<Result<Vec<usize>, BindError>>()?;
    let empty = (0..matchers.len()).find(|group| !found.contains(&(group + 1)));
    match empty.map(|group| &matchers[group]) {
        Some(Matcher::Pattern(pattern)) => Err(BindError::NothingMatches {
            pattern: pattern.to_string(),
        }),
        _ => Ok(found),
    }
}

/// A group's members, ready to be asked.
enum Matcher<'a> {
    Pattern(Regex),
    Names(&'a HashSet<String>),
}

impl Matcher<'_> {
    fn new(group: &Group) -> Result<Matcher<'_>, BindError> {
        match &group.members {
            Members::Names(names) => Ok(Matcher::Names(names)),
            Members::Pattern(pattern) => {
                let regex = Regex::new(pattern).map_err(|error| BindError::Pattern {
                    pattern: pattern.clone(),
                    message: error.to_string(),
                })?;
                Ok(Matcher::Pattern(regex))
            }
        }
    }

    fn takes(&self, name: &str) -> bool {
        match self {
            Matcher::Pattern(regex) => regex.is_match(name),
            Matcher::Names(names) => names.contains(name),
        }
    }

    /// What a message calls the group.
    fn label(&self) -> String {
        match self {
            Matcher::Pattern(regex) => regex.to_string(),
            Matcher::Names(_) => "a list of names".to_owned(),
        }
    }
}

fn group_of(matchers: &[Matcher<'_>], param: &ParamDesc) -> Result<usize, BindError> {
    let mut matching = (0..matchers.len()).filter(|&n| matchers[n].takes(&param.name));
    match (matching.next(), matching.next()) {
        (None, _) => Ok(0),
        (Some(only), None) => Ok(only + 1),
        (Some(a), Some(b)) => Err(BindError::TwoGroups {
            name: param.name.clone(),
            first: matchers[a].label(),
            second: matchers[b].label(),
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
    fn a_list_of_names_may_be_empty() {
        let groups = [Group::of(["b"]), Group::of([])];
        let params = ["a", "b"].map(|name| ParamDesc::new(name, &[1], DType::F32));
        assert_eq!(assign(&groups, &params).unwrap(), [0, 1]);
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
