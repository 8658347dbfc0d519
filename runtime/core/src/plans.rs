//! Which rule takes each parameter, and its plan: one for all parameters alike.

use crate::engine::Entry;
use crate::error::BindError;
use crate::groups::Terms;
use crate::optimizer::ParamDesc;
use optc_core::dtype::DType;
use optc_core::lower::{LowerError, Spec, answers, rule_for, rule_takes};
use optc_core::plan::Plan;
use optc_core::specialize::{EntryPlan, entry_plans, plan_for};
use std::collections::HashMap;
use std::sync::Arc;

/// Picks rules and makes plans, one for all parameters alike.
pub(crate) struct Planner<'a> {
    terms: &'a [Terms],
    /// For each group the first one with the same statics.
    first_alike: Vec<usize>,
    state_is_lent: bool,
    chosen: HashMap<RuleKey, usize>,
    plans: HashMap<Key, Arc<Plan>>,
    entries: HashMap<Key, Arc<[EntryPlan]>>,
    /// The rule of each parameter so far.
    pub(crate) rules: Vec<(String, String)>,
}

/// What a plan depends on: statics (by their first group), rule, shape, dtypes, what the name answers.
type Key = (usize, usize, Vec<u64>, DType, DType, Vec<bool>);

/// What the rule depends on that a parameter takes: its group, its shape, what its name answers.
type RuleKey = (usize, Vec<u64>, Vec<bool>);

impl<'a> Planner<'a> {
    pub(crate) fn new(terms: &'a [Terms], state_is_lent: bool) -> Planner<'a> {
        let first_alike = terms.iter().enumerate().map(|(group, own)| {
            let mut others = terms.iter();
            others
                .position(|other| other.plans_like(own))
                .unwrap_or(group)
        });
        Planner {
            terms,
            first_alike: first_alike.collect(),
            state_is_lent,
            chosen: HashMap::new(),
            plans: HashMap::new(),
            entries: HashMap::new(),
            rules: Vec::new(),
        }
    }

    /// What the engine needs to know of a parameter.
    pub(crate) fn entry(&mut self, param: &ParamDesc, group: usize) -> Result<Entry, BindError> {
        let dims = dims_of(param)?;
        let terms = &self.terms[group];
        let answers = answers(&terms.program, &param.name);
        let rule = self.rule(param, &dims, group, &answers)?;
        let first = self.first_alike[group];
        let key = (first, rule, dims, param.dtype, param.grad_dtype, answers);
        let chosen = terms.optimizer().rules[rule].name.clone();
        self.rules.push((param.name.clone(), chosen.clone()));
        let plan = self.plan(param, &key, group)?;
        Ok(Entry {
            rule: chosen,
            name: param.name.clone(),
            dims: param.dims.clone(),
            dtype: param.dtype,
            device: param.device,
            entries: self.entries(param, &key, group)?,
            numbers: 0,
            plan,
            hypers: group,
            absent_zeros: terms.optimizer().absent_grad_is_zero,
            non_finite: terms.optimizer().nonfinite_grad.into(),
            lent: self.state_is_lent,
        })
    }

    /// The rule that takes a parameter; parameters alike take the same.
    fn rule(
        &mut self,
        param: &ParamDesc,
        dims: &[u64],
        group: usize,
        answers: &[bool],
    ) -> Result<usize, BindError> {
        let key = (group, dims.to_vec(), answers.to_vec());
        if let Some(&known) = self.chosen.get(&key) {
            return Ok(known);
        }
        let found = rule(param, dims, &self.terms[group])?;
        self.chosen.insert(key, found);
        Ok(found)
    }

    fn plan(
        &mut self,
        param: &ParamDesc,
        key: &Key,
        group: usize,
    ) -> Result<Arc<Plan>, LowerError> {
        if let Some(known) = self.plans.get(key) {
            return Ok(Arc::clone(known));
        }
        let plan = Arc::new(plan_for(&spec(&self.terms[group], &param.name, key))?);
        self.plans.insert(key.clone(), Arc::clone(&plan));
        Ok(plan)
    }

    fn entries(
        &mut self,
        param: &ParamDesc,
        key: &Key,
        group: usize,
    ) -> Result<Arc<[EntryPlan]>, LowerError> {
        if let Some(known) = self.entries.get(key) {
            return Ok(Arc::clone(known));
        }
        let planned: Arc<[EntryPlan]> =
            entry_plans(&spec(&self.terms[group], &param.name, key))?.into();
        self.entries.insert(key.clone(), Arc::clone(&planned));
        Ok(planned)
    }

    /// The dtypes of all products.
    pub(crate) fn products(&self) -> Vec<DType> {
        let mut dtypes: Vec<DType> = self
            .plans
            .values()
            .chain(
                self.entries
                    .values()
                    .flat_map(|all| all.iter().map(|entry| &entry.plan)),
            )
            .flat_map(|plan| crate::prepared::product_dtypes(plan))
            .collect();
        dtypes.sort();
        dtypes.dedup();
        dtypes
    }
}

fn spec<'a>(
    terms: &'a Terms,
    name: &'a str,
    (_, rule, dims, dtype, grad_dtype, _): &'a Key,
) -> Spec<'a> {
    Spec {
        program: &terms.program,
        optimizer: terms.id,
        settings: &terms.settings,
        rule: *rule,
        name,
        dims,
        dtype: *dtype,
        grad_dtype: *grad_dtype,
    }
}

/// The rule that takes a parameter.
fn rule(param: &ParamDesc, dims: &[u64], terms: &Terms) -> Result<usize, BindError> {
    let (program, id, optimizer) = (&terms.program, terms.id, terms.optimizer());
    let Some(wanted) = &terms.rule else {
        let found = rule_for(program, id, &terms.settings, (&param.name, dims))?;
        return found.ok_or_else(|| BindError::NoRule {
            name: param.name.clone(),
            dims: param.dims.clone(),
            optimizer: optimizer.name.clone(),
        });
    };
    let Some(rule) = optimizer.rules.iter().position(|rule| rule.name == *wanted) else {
        let known: Vec<String> = optimizer
            .rules
            .iter()
            .map(|rule| format!("`{}`", rule.name))
            .collect();
        return Err(BindError::UnknownRule {
            rule: wanted.clone(),
            optimizer: optimizer.name.clone(),
            known: known.join(", "),
        });
    };
    match rule_takes(program, id, &terms.settings, rule, (&param.name, dims))? {
        true => Ok(rule),
        false => Err(BindError::RuleRefuses {
            name: param.name.clone(),
            rule: wanted.clone(),
            dims: param.dims.clone(),
        }),
    }
}

fn dims_of(param: &ParamDesc) -> Result<Vec<u64>, BindError> {
    let (name, dims) = (&param.name, &param.dims);
    if !matches!(
        param.dtype,
        DType::F64 | DType::F32 | DType::BF16 | DType::F16
    ) {
        return Err(BindError::NotFloat {
            name: name.clone(),
            dtype: param.dtype,
        });
    }
    let all = dims
        .iter()
        .map(|&dim| u64::try_from(dim).ok())
        .collect::<Option<Vec<u64>>>();
    let fits = |dims: &Vec<u64>| {
        dims.iter()
            .try_fold(8u64, |n, &d| n.checked_mul(d))
            .is_some_and(|n| n < 1 << 62)
    };
    all.filter(fits).ok_or_else(|| BindError::Shape {
        name: name.clone(),
        dims: dims.clone(),
    })
}
