//! State, step counts and hyperparameters in a safetensors file.
//!
//! Tensors are keyed `<parameter>/<state>`, with `<parameter>/step` beside them; a parameter that has not stepped has
//! its count alone, because its state is whatever the rule starts from. One metadata entry, `optc`, holds a JSON text:
//! format, optimizer and version, hyperparameters of all groups, and the blake3 hash of everything else. A file is written beside
//! its place, synced, and renamed; it is validated as a whole before any state changes.

mod migrate;
mod read;
mod write;

use crate::optimizer::Optimizer;
use optc_core::dtype::DType;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use migrate::{Changes, versions_of};
pub use read::{Saved, SavedParam};
pub(crate) use read::{from_bytes, read, restore};
pub(crate) use write::{to_bytes, write};

/// What this program writes, and the newest it reads.
const FORMAT: u64 = 1;
/// The metadata entry.
const ENTRY: &str = "optc";

/// The metadata.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u64,
    /// The optimizers of all groups, each once.
    optimizer: String,
    /// One list per group; bits, so that infinities survive.
    hypers: Vec<Vec<(String, u64)>>,
    hash: String,
    /// Of each optimizer that has another than the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    versions: BTreeMap<String, String>,
}

/// Tensors by key.
type Tensors<'a> = BTreeMap<String, TensorView<'a>>;

/// What the metadata calls the optimizers of a bound optimizer.
fn title(optimizer: &Optimizer) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in (0..optimizer.group_count()).filter_map(|group| optimizer.name_of(group)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

fn key(param: &str, state: &str) -> String {
    format!("{param}/{state}")
}

fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::BF16 => Dtype::BF16,
        DType::F16 => Dtype::F16,
        DType::I64 => Dtype::I64,
        DType::U8 => Dtype::U8,
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
    for (optimizer, version) in &about.versions {
        part(optimizer.as_bytes());
        part(version.as_bytes());
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
