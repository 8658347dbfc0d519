//! A bound optimizer → a file that appears whole or not at all.

use super::{About, ENTRY, FORMAT, Tensors, hash, key, migrate, stored, title};
use crate::cuda::CudaError;
use crate::engine::{Home, Param};
use crate::error::CheckpointError;
use crate::optimizer::Optimizer;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes state, step counts and hyperparameters. Lent state is that of the parameters for which it is lent now; the
/// others count as not stepped.
pub(crate) fn write(optimizer: &Optimizer, path: &Path) -> Result<(), CheckpointError> {
    let failed = |error: io::Error| unwritable(path, error);
    with_contents(optimizer, failed, |tensors, metadata| {
        replace(path, |beside| {
            safetensors::serialize_to_file(tensors, metadata, beside)
        })
    })
}

/// What [`write`] writes, in memory.
pub(crate) fn to_bytes(optimizer: &Optimizer) -> Result<Vec<u8>, CheckpointError> {
    let failed = |error: io::Error| unwritable(Path::new("memory"), error);
    with_contents(optimizer, failed, |tensors, metadata| {
        safetensors::serialize(tensors, metadata).map_err(io::Error::other)
    })
}

fn unwritable(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::File {
        action: "write",
        path: path.to_owned(),
        source,
    }
}

/// Collects tensors and metadata for `use_them`.
fn with_contents<T>(
    optimizer: &Optimizer,
    failed: impl Fn(io::Error) -> CheckpointError,
    use_them: impl FnOnce(Tensors<'_>, Option<HashMap<String, String>>) -> io::Result<T>,
) -> Result<T, CheckpointError> {
    let params = &optimizer.engine.params;
    let steps: Vec<[u8; 8]> = params
        .iter()
        .map(|param| saved_step(param).to_le_bytes())
        .collect();
    let states = read_states(optimizer)?;
    let tensors =
        collect(optimizer, &steps, &states).map_err(|error| failed(io::Error::other(error)))?;
    let mut about = about(optimizer);
    about.hash = hash(&about, &tensors);
    let text = serde_json::to_string(&about).map_err(|error| failed(error.into()))?;
    let metadata = HashMap::from([(ENTRY.to_owned(), text)]);
    use_them(tensors, Some(metadata)).map_err(failed)
}

/// The steps of a parameter; none where the caller keeps the state and has not lent it.
fn saved_step(param: &Param) -> u64 {
    match param.home {
        Home::Lent { here: false } => 0,
        _ => param.step,
    }
}

fn about(optimizer: &Optimizer) -> About {
    let list = |group| {
        optimizer
            .inputs(group)
            .map(|(name, value)| (name, value.to_bits()))
            .collect()
    };
    About {
        format: FORMAT,
        optimizer: title(optimizer),
        hypers: (0..optimizer.group_count()).map(list).collect(),
        hash: String::new(),
        versions: (optimizer.all_terms())
            .flat_map(|terms| migrate::versions_of(&terms.program, terms.id))
            .collect(),
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
        let count = TensorView::new(Dtype::I64, Vec::new(), step)?;
        tensors.insert(key(&param.name, "step"), count);
        let stepped = param.states().zip(states).filter(|_| param.begun);
        for (state, bytes) in stepped {
            let shape = state.dims.iter().map(|&dim| dim as usize).collect();
            let view = TensorView::new(stored(state.dtype), shape, bytes)?;
            tensors.insert(key(&param.name, state.name), view);
        }
    }
    Ok(tensors)
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
    let beside = beside(path, folder)?;
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

/// A name that no other save uses, in this process or another.
fn beside(path: &Path, folder: &Path) -> io::Result<PathBuf> {
    static SAVES: AtomicU64 = AtomicU64::new(0);
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a file name"))?;
    let (process, save) = (std::process::id(), SAVES.fetch_add(1, Ordering::Relaxed));
    Ok(folder.join(format!(".{}.{process}.{save}.tmp", name.to_string_lossy())))
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
