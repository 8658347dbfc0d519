//! Plans an optimizer for many settings and places, on every processor, and remembers which places need the same.

use super::{Variants, sample};
use crate::dtype::DType;
use crate::hir::{OptimizerId, Program};
use crate::lower::{self, LowerError, Spec, rule_for};
use crate::plan::Plan;
use crate::settings::Settings;
use crate::specialize::{entry_plans, plan_for};
use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A parameter: its dtype, name and shape.
pub(super) type Place = (DType, String, Vec<u64>);

/// What the plans of an optimizer need.
pub(super) struct Survey<'p> {
    program: &'p Program,
    optimizer: OptimizerId,
    dtypes: &'p [DType],
    /// What all places that were visited need.
    pub(super) found: Variants,
    /// The kernels that each place needed that is compared, setting by setting.
    needed: BTreeMap<Place, Vec<Vec<String>>>,
}

impl<'p> Survey<'p> {
    pub(super) fn new(
        program: &'p Program,
        optimizer: OptimizerId,
        dtypes: &'p [DType],
    ) -> Survey<'p> {
        Survey {
            program,
            optimizer,
            dtypes,
            found: Variants::default(),
            needed: BTreeMap::new(),
        }
    }

    /// Parameters of these shapes, under every name that rules tell apart.
    pub(super) fn places(&self, shapes: &[Vec<u64>]) -> Vec<Place> {
        let names = names(self.program);
        let mut places = Vec::new();
        for &dtype in self.dtypes {
            for name in &names {
                places.extend(
                    shapes
                        .iter()
                        .map(|dims| (dtype, name.clone(), dims.clone())),
                );
            }
        }
        places
    }

    /// Plans every place under each of the settings.
    pub(super) fn visit(&mut self, settings: &[Settings], places: &[Place]) {
        let jobs = jobs(settings, places);
        let planned = self.run(&jobs).into_iter();
        planned.for_each(|variants| self.found.merge(variants));
    }

    /// The same, and remembers what each place needed: [`Self::distinct`] compares them.
    pub(super) fn compare(&mut self, settings: &[Settings], places: &[Place]) {
        let jobs = jobs(settings, places);
        for ((_, place), variants) in jobs.iter().zip(self.run(&jobs)) {
            let kernels = variants.kernels.keys().cloned().collect();
            let needed = self.needed.entry(Place::clone(place)).or_default();
            needed.push(kernels);
            self.found.merge(variants);
        }
    }

    /// Plans shapes beyond a limit. One that changes nothing for vectors and matrices limits something else.
    pub(super) fn beyond(&mut self, limit: u64, settings: &Settings) {
        for shapes in sample::stretched(limit) {
            let known = self.found.kernels.len();
            self.visit(std::slice::from_ref(settings), &self.places(&shapes));
            if self.found.kernels.len() == known {
                return;
            }
        }
    }

    /// One of the places that needed the same kernels under all settings so far, for each such set of these places.
    pub(super) fn distinct(&self, places: &[Place]) -> Vec<Place> {
        let needed = |place| (self.needed.get(place), place);
        let first: BTreeMap<_, _> = places.iter().rev().map(needed).collect();
        first.into_values().cloned().collect()
    }

    /// What each job needs, in their order.
    fn run(&self, jobs: &[(&Settings, &Place)]) -> Vec<Variants> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let work = || {
            let mine = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            // What is too large is never bound.
            mine.map_while(|n| Some((n, self.variants(jobs.get(n)?).unwrap_or_default())))
                .collect::<Vec<_>>()
        };
        let done = thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            running
                .into_iter()
                .flat_map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect::<BTreeMap<usize, Variants>>()
        });
        done.into_values().collect()
    }

    fn variants(
        &self,
        &(settings, (dtype, name, dims)): &(&Settings, &Place),
    ) -> Result<Variants, LowerError> {
        let mut found = Variants::default();
        let Some(rule) = rule_for(self.program, self.optimizer, settings, (name, dims))? else {
            return Ok(found);
        };
        let spec = Spec {
            program: self.program,
            optimizer: self.optimizer,
            settings,
            rule,
            name,
            dims,
            dtype: *dtype,
            grad_dtype: *dtype,
        };
        found.add(plan_for(&spec)?);
        for entry in entry_plans(&spec)? {
            found.add(Plan::clone(&entry.plan));
        }
        Ok(found)
    }
}

fn jobs<'a>(settings: &'a [Settings], places: &'a [Place]) -> Vec<(&'a Settings, &'a Place)> {
    let at_each = |settings| places.iter().map(move |place| (settings, place));
    settings.iter().flat_map(at_each).collect()
}

/// Names that rules tell apart.
fn names(program: &Program) -> Vec<String> {
    let mut answered: BTreeMap<Vec<bool>, String> = BTreeMap::new();
    for name in lower::examples(program) {
        answered
            .entry(lower::answers(program, &name))
            .or_insert(name);
    }
    answered.into_values().collect()
}
