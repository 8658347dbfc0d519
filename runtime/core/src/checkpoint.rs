//! State, step counts and hyperparameters in a safetensors file.
//!
//! Tensors are keyed `<parameter>/<state>`, with `<parameter>/step` beside them. One metadata entry, `optc`, holds a
//! JSON text: format, optimizer, hyperparameters of all groups, and the blake3 hash of everything else. A file is
//! written beside its place, synced, and renamed; it is validated as a whole before any state changes.

use crate::cuda::CudaError;
use crate::engine::Param;
use crate::error::CheckpointError;
use crate::optimizer::Optimizer;
use optc_core::dtype::DType;
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What this program writes, and the newest it reads.
const FORMAT: u64 = 1;
/// The metadata entry.
const ENTRY: &str = "optc";

/// The metadata.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u64,
    optimizer: String,
    /// One list per group; bits, so that infinities survive.
    hypers: Vec<Vec<(String, u64)>>,
    hash: String,
}

/// Tensors by key.
type Tensors<'a> = BTreeMap<String, TensorView<'a>>;

pub(crate) fn save(optimizer: &Optimizer, path: &Path) -> Result<(), CheckpointError> {
    let failed = |source: io::Error| CheckpointError::File {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let steps: Vec<[u8; 8]> = optimizer
        .engine
        .params
        .iter()
        .map(|param| param.step.to_le_bytes())
        .collect();
    let states = read_states(optimizer)?;
    let tensors =
        collect(optimizer, &steps, &states).map_err(|error| failed(io::Error::other(error)))?;
    let mut about = About {
        hash: String::new(),
        ..about(optimizer)
    };
    about.hash = hash(&about, &tensors);
    let text = serde_json::to_string(&about).map_err(|error| failed(error.into()))?;
    let metadata = HashMap::from([(ENTRY.to_owned(), text)]);
    replace(path, |beside| {
        safetensors::serialize_to_file(tensors, Some(metadata), beside)
    })
    .map_err(failed)
}

fn about(optimizer: &Optimizer) -> About {
    let list = |group| {
        optimizer
            .inputs(group)
            .map(|(name, value)| (name, value.to_bits()))
            .collect()
    };
    let hypers = (0..optimizer.group_count()).map(list).collect();
    About {
        format: FORMAT,
        optimizer: optimizer.name().to_owned(),
        hypers,
        hash: String::new(),
    }
}

/// The bytes of every parameter's state; those of a device are copied.
fn read_states(optimizer: &Optimizer) -> Result<Vec<Vec<Cow<'_, [u8]>>>, CudaError> {
    let params = optimizer.engine.params.iter();
    params
        .map(|param| param.states().map(|state| state.bytes()).collect())
        .collect()
}

fn collect<'a>(
    optimizer: &Optimizer,
    steps: &'a [[u8; 8]],
    states: &'a [Vec<Cow<'a, [u8]>>],
) -> Result<Tensors<'a>, SafeTensorError> {
    let mut tensors = Tensors::new();
    for ((param, step), states) in optimizer.engine.params.iter().zip(steps).zip(states) {
        tensors.insert(
            key(param, "step"),
            TensorView::new(Dtype::I64, Vec::new(), step)?,
        );
        for (state, bytes) in param.states().zip(states) {
            let shape = state.dims.iter().map(|&dim| dim as usize).collect();
            tensors.insert(
                key(param, state.name),
                TensorView::new(stored(state.dtype), shape, bytes)?,
            );
        }
    }
    Ok(tensors)
}

fn key(param: &Param, state: &str) -> String {
    format!("{}/{state}", param.name)
}

fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        DType::I64 => Dtype::I64,
    }
}

/// Hash of all but the hash: every part is preceded by its length.
fn hash(about: &About, tensors: &Tensors<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&about.format.to_le_bytes());
    part(about.optimizer.as_bytes());
    for (name, bits) in about.hypers.iter().flatten() {
        part(name.as_bytes());
        part(&bits.to_le_bytes());
    }
    for (key, tensor) in tensors {
        part(key.as_bytes());
        part(describe(tensor).as_bytes());
        part(tensor.data());
    }
    hasher.finalize().to_hex().to_string()
}

fn describe(tensor: &TensorView<'_>) -> String {
    format!("{:?} {:?}", tensor.dtype(), tensor.shape())
}

/// Writes a file beside `path` and puts it in its place once all of it is on disk.
fn replace(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), SafeTensorError>,
) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let beside = folder.join(format!(
        ".{}.{}.tmp",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = write(&beside)
        .map_err(io::Error::other)
        .and_then(|()| File::open(&beside)?.sync_all())
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // What failed is reported; a leftover of it would only take space.
        let _ = std::fs::remove_file(&beside);
    }
    written.and_then(|()| sync_folder(folder))
}

/// Makes the rename itself durable.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn load(optimizer: &mut Optimizer, path: &Path) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(failed)?;
    let (about, tensors) = parse(&bytes, path)?;
    check_about(optimizer, &about)?;
    let (hypers, steps) = (
        check_hypers(optimizer, &about)?,
        check_tensors(optimizer, &tensors)?,
    );
    for param in &mut optimizer.engine.params {
        restore(param, &tensors)?;
    }
    for (param, step) in optimizer.engine.params.iter_mut().zip(steps) {
        param.step = step;
    }
    optimizer.engine.hypers = hypers;
    Ok(())
}

fn parse<'a>(bytes: &'a [u8], path: &Path) -> Result<(About, Tensors<'a>), CheckpointError> {
    let damaged = |what: String| CheckpointError::Damaged {
        path: PathBuf::from(path),
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

fn check_about(optimizer: &Optimizer, about: &About) -> Result<(), CheckpointError> {
    let (expected, found) = (optimizer.name(), about.optimizer.as_str());
    if expected == found {
        return Ok(());
    }
    Err(CheckpointError::Optimizer {
        expected: expected.to_owned(),
        found: found.to_owned(),
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
        if !optimizer
            .inputs(group)
            .map(|(name, _)| name)
            .eq(list.iter().map(|(name, _)| name.clone()))
        {
            return Err(CheckpointError::Groups {
                what: format!("group {group} has other hyperparameters"),
            });
        }
    }
    let values =
        |list: &Vec<(String, u64)>| list.iter().map(|&(_, bits)| f64::from_bits(bits)).collect();
    Ok(about.hypers.iter().map(values).collect())
}

/// The step counts, if the file holds exactly the bound state.
fn check_tensors(
    optimizer: &Optimizer,
    tensors: &Tensors<'_>,
) -> Result<Vec<u64>, CheckpointError> {
    let params = &optimizer.engine.params;
    let steps = params
        .iter()
        .map(|param| check_param(param, tensors))
        .collect::<Result<Vec<u64>, CheckpointError>>()?;
    let known = |key: &str| {
        params.iter().any(|param| {
            let rest = key
                .strip_prefix(param.name.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|state| {
                state == "step" || param.states().any(|known| known.name == state)
            })
        })
    };
    let expected: usize = params.iter().map(|param| 1 + param.states().count()).sum();
    match tensors
        .keys()
        .find(|key| tensors.len() != expected && !known(key))
    {
        Some(key) => Err(CheckpointError::Unexpected { key: key.clone() }),
        None => Ok(steps),
    }
}

fn check_param(param: &Param, tensors: &Tensors<'_>) -> Result<u64, CheckpointError> {
    for state in param.states() {
        let shape: Vec<usize> = state.dims.iter().map(|&dim| dim as usize).collect();
        check_tensor(
            &key(param, state.name),
            stored(state.dtype),
            &shape,
            tensors,
        )?;
    }
    let key = key(param, "step");
    let bytes = check_tensor(&key, Dtype::I64, &[], tensors)?;
    let step = <[u8; 8]>::try_from(bytes)
        .map(u64::from_le_bytes)
        .unwrap_or(u64::MAX);
    let wrong = || CheckpointError::Shape {
        key: key.clone(),
        expected: "a count".into(),
        found: step.to_string(),
    };
    // Step numbers are host scalars: beyond 2⁵³ they would no longer be exact.
    if step <= 1 << 53 {
        Ok(step)
    } else {
        Err(wrong())
    }
}

fn check_tensor<'t>(
    key: &str,
    dtype: Dtype,
    shape: &[usize],
    tensors: &'t Tensors<'_>,
) -> Result<&'t [u8], CheckpointError> {
    let Some(tensor) = tensors.get(key) else {
        return Err(CheckpointError::Missing {
            key: key.to_owned(),
        });
    };
    if tensor.dtype() == dtype && tensor.shape() == shape {
        return Ok(tensor.data());
    }
    let (expected, found) = (format!("{dtype:?} {shape:?}"), describe(tensor));
    Err(CheckpointError::Shape {
        key: key.to_owned(),
        expected,
        found,
    })
}

/// Copies validated state.
fn restore(param: &mut Param, tensors: &Tensors<'_>) -> Result<(), CudaError> {
    let keys: Vec<String> = param.states().map(|state| key(param, state.name)).collect();
    for (storage, key) in param.states.iter_mut().zip(keys) {
        if let Some(tensor) = tensors.get(&key) {
            storage.write(tensor.data())?;
        }
    }
    Ok(())
}
