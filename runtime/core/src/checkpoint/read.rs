//! A file → what it holds for the parameters of a bound optimizer, once all of it was found to fit.

use super::{About, ENTRY, FORMAT, Tensors, describe, hash, key, stored, title};
use crate::cuda::CudaError;
use crate::engine::Param;
use crate::error::CheckpointError;
use crate::optimizer::Optimizer;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;

/// A checkpoint that fits the optimizer it was read for.
#[derive(Debug)]
pub struct Saved {
    bytes: Vec<u8>,
    hypers: Vec<Vec<f64>>,
    params: Vec<Places>,
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
    let (about, tensors) = parse(&bytes, path)?;
    check_title(optimizer, &about)?;
    let hypers = check_hypers(optimizer, &about)?;
    let params = check_tensors(optimizer, &tensors, &bytes)?;
    Ok(Saved {
        hypers,
        params,
        bytes,
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
fn check_hypers(optimizer: &Optimizer, about: &About) -> Result<Vec<Vec<f64>>, CheckpointError> {
    let (bound, saved) = (optimizer.group_count(), about.hypers.len());
    if bound != saved {
        return Err(CheckpointError::Groups {
            what: format!("{saved} groups, {bound} are bound"),
        });
    }
    for (group, list) in about.hypers.iter().enumerate() {
        let bound = optimizer.inputs(group).map(|(name, _)| name);
        if !bound.eq(list.iter().map(|(name, _)| name.clone())) {
            return Err(CheckpointError::Groups {
                what: format!("group {group} has other hyperparameters"),
            });
        }
    }
    let values =
        |list: &Vec<(String, u64)>| list.iter().map(|&(_, bits)| f64::from_bits(bits)).collect();
    Ok(about.hypers.iter().map(values).collect())
}

/// Where everything is, if the file holds exactly what is bound.
fn check_tensors(
    optimizer: &Optimizer,
    tensors: &Tensors<'_>,
    bytes: &[u8],
) -> Result<Vec<Places>, CheckpointError> {
    let mut finder = Finder {
        tensors,
        start: bytes.as_ptr() as usize,
        found: HashSet::new(),
    };
    let params = optimizer.engine.params.iter();
    let places = params
        .map(|param| finder.param(param))
        .collect::<Result<Vec<Places>, CheckpointError>>()?;
    match tensors.keys().find(|key| !finder.found.contains(*key)) {
        Some(key) => Err(CheckpointError::Unexpected { key: key.clone() }),
        None => Ok(places),
    }
}

/// Looks tensors up, and notes which were asked for.
struct Finder<'a> {
    tensors: &'a Tensors<'a>,
    /// The address of the file's first byte.
    start: usize,
    found: HashSet<String>,
}

impl<'a> Finder<'a> {
    fn param(&mut self, param: &Param) -> Result<Places, CheckpointError> {
        let step = self.step(&param.name)?;
        let slots = param.state_slots();
        let stepped = step > 0 || slots.iter().any(|slot| self.has(&param.name, &slot.name));
        let mut states = Vec::new();
        for slot in slots.iter().filter(|_| stepped) {
            let shape: Vec<usize> = slot.dims.iter().map(|&dim| dim as usize).collect();
            let key = key(&param.name, &slot.name);
            let data = self.tensor(key, stored(slot.dtype), &shape)?;
            let at = data.as_ptr() as usize - self.start;
            states.push(at..at + data.len());
        }
        Ok(Places { step, states })
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
