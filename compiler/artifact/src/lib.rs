//! The `.optc` container and its manifest: written by the compiler, read by the runtime.
//!
//! ```
//! use optc_artifact::{Artifact, Builder, Manifest, Sources};
//!
//! let mut sources = Sources::new("sgd");
//! sources.modules.insert("sgd".into(), "optimizer Sgd { }".into());
//! let manifest = Manifest { optc: "0.1.0".into(), root: "sgd".into(), ..Manifest::default() };
//! let bytes = Builder::new(manifest, sources).build()?;
//!
//! let artifact = Artifact::parse(&bytes)?;
//! assert_eq!(artifact.sources().root_text(), "optimizer Sgd { }");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`layout`] gives the bytes, [`manifest`] the description inside, [`target`] the CPU levels that machine code is
//! made for. An artifact is read without being trusted: [`Artifact::parse`] accepts any bytes and answers with a named
//! [`LoadError`] or with a container whose every byte is covered by a hash or known to be zero. What the machine code
//! in it does is a question of trust in its maker; running it is the runtime's act, not this crate's.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod error;
pub mod layout;
pub mod manifest;
pub mod read;
pub mod target;
pub mod write;

pub use error::{BuildError, LoadError};
pub use layout::{ABI, Kind};
pub use manifest::{Manifest, Sources};
pub use read::{Artifact, Object, Ptx, best_gpu};
pub use target::{Features, Isa};
pub use write::Builder;
