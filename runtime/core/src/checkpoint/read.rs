//! A file → what it holds for the parameters of a bound optimizer, once all of it was found to fit.

use super::migrate::{Changes, Log};
use super::{About, ENTRY, FORMAT, Tensors, describe, hash, key, stored, title};
use crate::cuda::CudaError;
use crate::engine::Param;
use crate::error::CheckpointError;
use crate::optimizer::Optimizer;
use optc_core::plan::Slot;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

/// A checkpoint that fits the optimizer it was read for.
#[derive(Debug)]
pub struct Saved {
    /// The file, and behind it state that a migration added.
    bytes: Vec<u8>,
    hypers: Vec<Vec<f64>>,
    params: Vec<Places>,
    migrated: Vec<String>,
}

/// Where a parameter's state stands in the file.
#[derive(Debug)]
struct Places {
    step: u64,
    states: Vec<Range<usize>>,
}

/// What a checkpoint holds for one parameter.
#[derive(Debug, Clone)]
pub struct SavedParam<'a> {
    /// Steps it has taken.
    pub step: u64,
    /// The bytes of each piece of state, in the rule's order; none before the first step.
    pub states: Vec<&'a [u8]>,
}

impl Saved {
    /// Hyperparameters, one list per group.
    pub fn hypers(&self) -> &[Vec<f64>] {
        &self.hypers
    }

    /// What migrations did to a file of an earlier version, a line each.
    pub fn migrated(&self) -> &[String] {
        &self.migrated
    }

    /// One entry per parameter, in the order of `bind`.
    pub fn params(&self) -> impl Iterator<Item = SavedParam<'_>> {
        self.params.iter().map(|places| SavedParam {
            step: places.step,
            states: places
                .states
                .iter()
                .map(|place| &self.bytes[place.clone()])
                .collect(),
        })
    }
}

/// Reads and validates a file.
pub(crate) fn read(optimizer: &Optimizer, path: &Path) -> Result<Saved, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    from_bytes(optimizer, path, bytes)
}

/// Validates what a file holds, or what came another way under that name.
pub(crate) fn from_bytes(
    optimizer: &Optimizer,
    path: &Path,
    mut bytes: Vec<u8>,
) -> Result<Saved, CheckpointError> {
    let (about, tensors) = parse(&bytes, path)?;
    check_title(optimizer, &about)?;
    let terms = optimizer.all_terms();
    let changes = terms.map(|terms| Changes::between(&terms.program, terms.id, &about.versions));
    let changes = changes.collect::<Result<Vec<Changes>, CheckpointError>>()?;
    let mut log = Log::default();
    let hypers = check_hypers(optimizer, &about, &changes, &mut log)?;
    let (params, added) = check_tensors(optimizer, &tensors, &bytes, &changes, &mut log)?;
    bytes.extend(added);
    Ok(Saved {
        bytes,
        hypers,
        params,
        migrated: log.lines(),
    })
}

/// Makes what was read the state of an optimizer that keeps it itself.
///
/// # Errors
///
/// A failure of a device, after which state may be partly written.
pub(crate) fn restore(optimizer: &mut Optimizer, saved: &Saved) -> Result<(), CudaError> {
    let engine = &mut optimizer.engine;
    engine.reset(|n| saved.params[n].states.is_empty())?;
    for (param, found) in engine.params.iter_mut().zip(saved.params()) {
        param.begun = found.step > 0 || !found.states.is_empty();
        for (storage, bytes) in param.states.iter_mut().zip(found.states) {
            storage.write(bytes)?;
        }
        param.step = found.step;
    }
    engine.hypers.clone_from(&saved.hypers);
    Ok(())
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<(About, Tensors<'a>), CheckpointError> {
    let damaged = |what: String| CheckpointError::Damaged {
        path: path.to_owned(),
        what,
    };
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(ENTRY));
    let text = text.ok_or_else(|| damaged(format!("it has no metadata entry `{ENTRY}`")))?;
    let about: About = serde_json::from_str(text).map_err(|error| damaged(error.to_string()))?;
    if about.format > FORMAT {
        return Err(CheckpointError::Format {
            found: about.format,
            known: FORMAT,
        });
    }
    let all = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let tensors: Tensors<'a> = all.tensors().into_iter().collect();
    if hash(&about, &tensors) != about.hash {
        return Err(CheckpointError::Hash);
    }
    Ok((about, tensors))
}

fn check_title(optimizer: &Optimizer, about: &About) -> Result<(), CheckpointError> {
    let (expected, found) = (title(optimizer), &about.optimizer);
    if expected == *found {
        return Ok(());
    }
    Err(CheckpointError::Optimizer {
        expected,
        found: found.clone(),
    })
}

/// The hyperparameters of all groups, if they are those of this optimizer.
fn check_hypers(
    optimizer: &Optimizer,
    about: &About,
    changes: &[Changes],
    log: &mut Log,
) -> Result<Vec<Vec<f64>>, CheckpointError> {
    let (bound, saved) = (optimizer.group_count(), about.hypers.len());
    if bound != saved {
        return Err(CheckpointError::Groups {
            what: format!("{saved} groups, {bound} are bound"),
        });
    }
    let groups = about.hypers.iter().zip(changes).enumerate();
    let values = groups.map(|(group, (list, changes))| {
        let found = numbers(optimizer.inputs(group), list, changes, log);
        found.ok_or_else(|| CheckpointError::Groups {
            what: format!("group {group} has other hyperparameters"),
        })
    });
    values.collect()
}

/// The numbers of a group, if those of the file are all there are. A file of an earlier version may lack some, which
/// keep the value that they are bound with.
fn numbers(
    bound: impl Iterator<Item = (String, f64)>,
    list: &[(String, u64)],
    changes: &Changes,
    log: &mut Log,
) -> Option<Vec<f64>> {
    let mut left: BTreeMap<&str, u64> = list.iter().map(|(name, bits)| (&**name, *bits)).collect();
    let mut value = |name: &str, default: f64| {
        if let Some(bits) = left.remove(name) {
            return Some(f64::from_bits(bits));
        }
        for (former, line) in changes.former_options(name) {
            if let Some(bits) = left.remove(&*former) {
                log.note(line);
                return Some(f64::from_bits(bits));
            }
        }
        (!changes.is_empty()).then_some(default)
    };
    let values: Option<Vec<f64>> = bound.map(|(name, default)| value(&name, default)).collect();
    left.retain(|name, _| {
        changes
            .dropped_option(name)
            .map(|line| log.note(line))
            .is_none()
    });
    values.filter(|_| left.is_empty())
}

/// Where everything is, if the file holds exactly what is bound; and the bytes of what it lacks, which come after it.
fn check_tensors(
    optimizer: &Optimizer,
    tensors: &Tensors<'_>,
    bytes: &[u8],
    changes: &[Changes],
    log: &mut Log,
) -> Result<(Vec<Places>, Vec<u8>), CheckpointError> {
    let mut finder = Finder {
        tensors,
        file: bytes,
        found: HashSet::new(),
        added: Vec::new(),
        log,
    };
    let params = optimizer.engine.params.iter();
    let places = params
        .map(|param| finder.param(param, &changes[param.hypers]))
        .collect::<Result<Vec<Places>, CheckpointError>>()?;
    match tensors.keys().find(|key| !finder.found.contains(*key)) {
        Some(key) => Err(CheckpointError::Unexpected { key: key.clone() }),
        None => Ok((places, finder.added)),
    }
}

/// Looks tensors up, and notes which were asked for.
struct Finder<'a> {
    tensors: &'a Tensors<'a>,
    file: &'a [u8],
    found: HashSet<String>,
    /// State that the file lacks.
    added: Vec<u8>,
    log: &'a mut Log,
}

impl<'a> Finder<'a> {
    fn param(&mut self, param: &Param, changes: &Changes) -> Result<Places, CheckpointError> {
        let step = self.step(&param.name)?;
        let slots = param.state_slots();
        let stepped = step > 0 || slots.iter().any(|slot| self.has(&param.name, &slot.name));
        let states = slots.iter().filter(|_| stepped);
        let states = states
            .map(|slot| self.state(&param.name, slot, changes))
            .collect::<Result<Vec<Range<usize>>, CheckpointError>>()?;
        if !changes.is_empty() {
            self.drop_states(&param.name, changes);
        }
        Ok(Places { step, states })
    }

    /// Where a piece of state is: under its name, or under its former one, or behind the file.
    fn state(
        &mut self,
        param: &str,
        slot: &Slot,
        changes: &Changes,
    ) -> Result<Range<usize>, CheckpointError> {
        if !self.has(param, &slot.name) {
            if let Some((former, line)) = changes.former(&slot.name) {
                self.log.note(line);
                return self.place(key(param, &former), slot);
            }
            if let Some((value, line)) = changes.added(&slot.name) {
                self.log.note(line);
                return Ok(self.add(slot, value));
            }
        }
        self.place(key(param, &slot.name), slot)
    }

    fn place(&mut self, key: String, slot: &Slot) -> Result<Range<usize>, CheckpointError> {
        let shape: Vec<usize> = slot.dims.iter().map(|&dim| dim as usize).collect();
        let data = self.tensor(key, stored(slot.dtype), &shape)?;
        let at = data.as_ptr() as usize - self.file.as_ptr() as usize;
        Ok(at..at + data.len())
    }

    fn add(&mut self, slot: &Slot, value: f64) -> Range<usize> {
        let start = self.file.len() + self.added.len();
        let element = slot.dtype.bytes_of(value);
        for _ in 0..slot.dims.iter().product::<u64>() {
            self.added.extend(&element);
        }
        start..self.file.len() + self.added.len()
    }

    /// Marks what is no longer there as seen.
    fn drop_states(&mut self, param: &str, changes: &Changes) {
        let prefix = key(param, "");
        let states = self.tensors.range(prefix.clone()..);
        let states = states.take_while(|(key, _)| key.starts_with(&prefix));
        for (key, _) in states {
            if let Some(line) = changes.dropped(&key[prefix.len()..]) {
                self.log.note(line);
                self.found.insert(key.clone());
            }
        }
    }

    fn step(&mut self, param: &str) -> Result<u64, CheckpointError> {
        let key = key(param, "step");
        let bytes = self.tensor(key.clone(), Dtype::I64, &[])?;
        let step = <[u8; 8]>::try_from(bytes)
            .map(u64::from_le_bytes)
            .unwrap_or(u64::MAX);
        // Step numbers are host scalars: beyond 2⁵³ they would no longer be exact.
        if step <= 1 << 53 {
            return Ok(step);
        }
        Err(CheckpointError::Shape {
            key,
            expected: "a count".into(),
            found: step.to_string(),
        })
    }

    fn has(&self, param: &str, state: &str) -> bool {
        self.tensors.contains_key(&key(param, state))
    }

    fn tensor(
        &mut self,
        key: String,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<&'a [u8], CheckpointError> {
        let Some(tensor) = self.tensors.get(&key) else {
            return Err(CheckpointError::Missing { key });
        };
        if tensor.dtype() != dtype || tensor.shape() != shape {
            return Err(CheckpointError::Shape {
                key,
                expected: format!("{dtype:?} {shape:?}"),
                found: describe(tensor),
            });
        }
        self.found.insert(key);
        Ok(tensor.data())
    }
}
