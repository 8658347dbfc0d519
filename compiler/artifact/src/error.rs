//! What can be wrong with an artifact, and with what was to become one.

use crate::layout::{ABI, Abi, CONTAINER, Kind, NAME};
use miette::Diagnostic;
use thiserror::Error;

/// Why bytes are not an artifact that can be used here. In the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum LoadError {
    /// The first bytes are not those of an artifact.
    #[error("this is not an optc artifact")]
    #[diagnostic(
        code(opt::artifact::magic),
        help(
            "an artifact is made by `optc compile FILE.opt -o FILE.optc`; a `.opt` source is loaded as source"
        )
    )]
    NotAnArtifact,

    /// Shorter than a header, or than the length in the header.
    #[error("the artifact is cut short: {found} of {expected} bytes")]
    #[diagnostic(
        code(opt::artifact::truncated),
        help("copy it again, or compile it again from its source")
    )]
    Truncated {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },

    /// Longer than the length in the header.
    #[error("the artifact has {extra} bytes after its end")]
    #[diagnostic(
        code(opt::artifact::trailing),
        help("copy it again, or compile it again from its source")
    )]
    TrailingBytes {
        /// Bytes too many.
        extra: u64,
    },

    /// Another layout of the file.
    #[error("the artifact has container version {found}, this program reads {CONTAINER}")]
    #[diagnostic(
        code(opt::artifact::container_version),
        help("compile its source with the version of optc that this program was built with")
    )]
    ContainerVersion {
        /// In the file.
        found: u32,
    },

    /// Kernels or manifest of another convention.
    #[error("the artifact has ABI {found}, this program reads {}.0 to {ABI}", ABI.major)]
    #[diagnostic(
        code(opt::artifact::abi),
        help(
            "compile its source with the version of optc that this program was built with, or update this program"
        )
    )]
    AbiVersion {
        /// In the file.
        found: Abi,
    },

    /// A field that must be zero is not.
    #[error("the artifact's header is malformed")]
    #[diagnostic(
        code(opt::artifact::header),
        help("the file is damaged: copy it again, or compile it again")
    )]
    ReservedField,

    /// The table does not fit into the file.
    #[error("the table of {sections} sections does not fit into {length} bytes")]
    #[diagnostic(
        code(opt::artifact::table),
        help("the file is damaged: copy it again, or compile it again")
    )]
    TableOutOfBounds {
        /// Entries claimed.
        sections: u32,
        /// Bytes of the file.
        length: u64,
    },

    /// An entry of the table that says nothing sensible.
    #[error("entry {entry} of the section table is malformed: {reason}")]
    #[diagnostic(
        code(opt::artifact::entry),
        help("the file is damaged: copy it again, or compile it again")
    )]
    MalformedEntry {
        /// Its index.
        entry: usize,
        /// What is wrong.
        reason: String,
    },

    /// A section that starts or ends outside of the file.
    #[error("section {section} lies outside of the file")]
    #[diagnostic(
        code(opt::artifact::bounds),
        help("the file is damaged: copy it again, or compile it again")
    )]
    SectionOutOfBounds {
        /// Kind and name.
        section: String,
    },

    /// A section that starts at an odd place.
    #[error("section {section} is not aligned to 64 bytes")]
    #[diagnostic(
        code(opt::artifact::alignment),
        help("the file is damaged: copy it again, or compile it again")
    )]
    Misaligned {
        /// Kind and name.
        section: String,
    },

    /// A section that shares bytes with the table or with the one before.
    #[error("section {section} overlaps what stands before it")]
    #[diagnostic(
        code(opt::artifact::overlap),
        help("the file is damaged: copy it again, or compile it again")
    )]
    Overlap {
        /// Kind and name.
        section: String,
    },

    /// Bytes that belong to nothing.
    #[error("there are stray bytes before section {section}")]
    #[diagnostic(
        code(opt::artifact::padding),
        help("the file is damaged: copy it again, or compile it again")
    )]
    StrayBytes {
        /// Kind and name of the section they precede.
        section: String,
    },

    /// Two sections of one kind and name.
    #[error("section {section} occurs twice")]
    #[diagnostic(
        code(opt::artifact::duplicate),
        help("the file is damaged: copy it again, or compile it again")
    )]
    DuplicateSection {
        /// Kind and name.
        section: String,
    },

    /// A section every artifact has.
    #[error("the artifact has no section {kind}")]
    #[diagnostic(
        code(opt::artifact::missing_section),
        help("compile it again from its source")
    )]
    MissingSection {
        /// Which.
        kind: Kind,
    },

    /// Header or table were altered.
    #[error("the hash of the artifact's header does not match")]
    #[diagnostic(
        code(opt::artifact::header_hash),
        help("the file was altered: copy it again, or compile it again")
    )]
    HeaderHash,

    /// A section was altered.
    #[error("the hash of section {section} does not match")]
    #[diagnostic(
        code(opt::artifact::hash),
        help("the file was altered: copy it again, or compile it again")
    )]
    SectionHash {
        /// Kind and name.
        section: String,
    },

    /// A section that should be text.
    #[error("section {section} is not UTF-8 text")]
    #[diagnostic(code(opt::artifact::text), help("compile it again from its source"))]
    NotText {
        /// Kind and name.
        section: String,
    },

    /// The manifest is not what this version writes, or contradicts the sections.
    #[error("the artifact's manifest is not valid: {reason}")]
    #[diagnostic(
        code(opt::artifact::manifest),
        help("compile it again from its source")
    )]
    Manifest {
        /// What is wrong.
        reason: String,
    },

    /// The sources are not what this version writes.
    #[error("the artifact's sources are not valid: {reason}")]
    #[diagnostic(code(opt::artifact::sources), help("compile it again from its source"))]
    Sources {
        /// What is wrong.
        reason: String,
    },

    /// No object for this machine's CPU.
    #[error(
        "the artifact was made for another CPU: it holds code for {holds}, and this machine has {machine}"
    )]
    #[diagnostic(
        code(opt::artifact::cpu),
        help(
            "compile its source on this machine with `--target cpu`, or load the `.opt` source: the quick tier compiles it in memory"
        )
    )]
    OtherCpu {
        /// The levels it holds.
        holds: String,
        /// The machine in words.
        machine: String,
    },

    /// No PTX for this GPU.
    #[error(
        "the artifact has no code for a GPU of compute capability {capability}: it holds code for {holds}"
    )]
    #[diagnostic(
        code(opt::artifact::gpu),
        help("compile its source with `--target cpu,cuda`")
    )]
    OtherGpu {
        /// Of the device, `8.0`.
        capability: String,
        /// The targets it holds.
        holds: String,
    },
}

/// Why parts do not make an artifact: a mistake of the program that builds it.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
#[non_exhaustive]
pub enum BuildError {
    /// A name that the table cannot hold.
    #[error("`{name}` cannot name a section: at most {NAME} printable ASCII characters")]
    SectionName {
        /// The name.
        name: String,
    },
    /// Two sections of one kind and name.
    #[error("section {section} was given twice")]
    DuplicateSection {
        /// Kind and name.
        section: String,
    },
    /// The manifest or the sources do not hold together.
    #[error("the artifact would not be valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}
