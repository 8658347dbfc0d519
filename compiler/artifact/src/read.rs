//! Bytes → an artifact, trusting none of them.
//!
//! The checks run in a fixed order, from the outside in, and the first that fails is the answer: magic and size,
//! versions, the table (bounds, alignment, overlap, stray bytes), hashes, manifest and sources. Whether there is code
//! for this machine is asked later, by [`Artifact::best_object`] and [`Artifact::best_ptx`].

use crate::error::LoadError;
use crate::layout::{
    self, ABI, ALIGNMENT, CONTAINER, ENTRY, Entry, HEADER, Header, Kind, MAGIC, describe,
};
use crate::manifest::{self, Manifest, Sources, list};
use crate::target::{Features, Isa};
use std::collections::BTreeMap;

/// An artifact whose bytes were all checked.
#[derive(Debug, Clone)]
pub struct Artifact<'a> {
    manifest: Manifest,
    sources: Sources,
    objects: BTreeMap<&'a str, &'a [u8]>,
    ptx: BTreeMap<&'a str, &'a str>,
    docs: Option<&'a str>,
}

/// Machine code for a CPU level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// The level.
    pub isa: Isa,
    /// An ELF shared object.
    pub code: &'a [u8],
}

/// Code for a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ptx<'a> {
    /// `sm_80`, `sm_90a`.
    pub target: &'a str,
    /// PTX.
    pub text: &'a str,
}

impl<'a> Artifact<'a> {
    /// Checks `bytes` and gives access to what they hold. Never panics; allocates no more than a small multiple of
    /// `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Artifact<'a>, LoadError> {
        let header = parse_header(bytes)?;
        let table = parse_table(bytes, header)?;
        let sections = locate(bytes, table)?;
        check_hashes(header, table, &sections)?;
        interpret(&sections)
    }

    /// Whether `bytes` begin like an artifact; a `.opt` source does not.
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// The description.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The `.opt` texts.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The documentation as Markdown.
    pub fn docs(&self) -> Option<&'a str> {
        self.docs
    }

    /// Every CPU object, by the name of its level.
    pub fn objects(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.objects.iter().map(|(&name, &code)| (name, code))
    }

    /// Every PTX text, by target.
    pub fn ptx(&self) -> impl Iterator<Item = Ptx<'a>> {
        self.ptx.iter().map(|(&target, &text)| Ptx { target, text })
    }

    /// The object of the most demanding level that a machine with `features` runs.
    pub fn best_object(&self, features: &Features) -> Result<Object<'a>, LoadError> {
        let runnable = Isa::ALL.into_iter().rev().filter(|&isa| features.runs(isa));
        let best = runnable
            .filter_map(|isa| {
                Some(Object {
                    isa,
                    code: self.objects.get(isa.name())?,
                })
            })
            .next();
        best.ok_or_else(|| LoadError::OtherCpu {
            holds: list(self.objects.keys()),
            machine: features.to_string(),
        })
    }

    /// The PTX for a device of compute capability `major.minor`: the newest whose target is not above it. A target
    /// with a suffix (`sm_90a`) serves only its own capability, and is preferred there.
    pub fn best_ptx(&self, major: u32, minor: u32) -> Result<Ptx<'a>, LoadError> {
        let target = best_gpu(self.ptx.keys().copied(), major, minor)?;
        let text = self.ptx[target];
        Ok(Ptx { target, text })
    }
}

/// Of several targets, the best for a device; see [`Artifact::best_ptx`].
pub fn best_gpu<'a>(
    targets: impl Iterator<Item = &'a str> + Clone,
    major: u32,
    minor: u32,
) -> Result<&'a str, LoadError> {
    let device = major * 10 + minor;
    let fits = |target: &&str| match capability(target) {
        Some((number, specific)) => number == device || (number < device && !specific),
        None => false,
    };
    let best = targets
        .clone()
        .filter(fits)
        .max_by_key(|target| capability(target));
    best.ok_or_else(|| LoadError::OtherGpu {
        capability: format!("{major}.{minor}"),
        holds: list(targets),
    })
}

/// `sm_90a` → (90, true).
fn capability(target: &str) -> Option<(u32, bool)> {
    let rest = target.strip_prefix("sm_")?;
    let digits = rest.trim_end_matches(|c: char| c.is_ascii_lowercase());
    Some((digits.parse().ok()?, digits.len() < rest.len()))
}

/// A section of the file.
struct Section<'a> {
    kind: Kind,
    name: &'a str,
    bytes: &'a [u8],
    hash: [u8; 32],
}

impl Section<'_> {
    fn describe(&self) -> String {
        describe(self.kind, self.name)
    }
}

fn parse_header(bytes: &[u8]) -> Result<Header, LoadError> {
    let found = bytes.len() as u64;
    let magic = &MAGIC[..MAGIC.len().min(bytes.len())];
    if bytes.is_empty() || !bytes.starts_with(magic) {
        return Err(LoadError::NotAnArtifact);
    }
    let Some(first) = bytes.first_chunk::<HEADER>() else {
        return Err(LoadError::Truncated {
            expected: HEADER as u64,
            found,
        });
    };
    let header = Header::from_bytes(first);
    if header.container != CONTAINER {
        return Err(LoadError::ContainerVersion {
            found: header.container,
        });
    }
    if !ABI.reads(header.abi) {
        return Err(LoadError::AbiVersion { found: header.abi });
    }
    if header.reserved != 0 {
        return Err(LoadError::ReservedField);
    }
    match header.length.cmp(&found) {
        std::cmp::Ordering::Greater => Err(LoadError::Truncated {
            expected: header.length,
            found,
        }),
        std::cmp::Ordering::Less => Err(LoadError::TrailingBytes {
            extra: found - header.length,
        }),
        std::cmp::Ordering::Equal => Ok(header),
    }
}

/// The bytes of the table.
fn parse_table(bytes: &[u8], header: Header) -> Result<&[u8], LoadError> {
    let length = (header.sections as usize).checked_mul(ENTRY);
    let table = length.and_then(|length| bytes[HEADER..].get(..length));
    table.ok_or(LoadError::TableOutOfBounds {
        sections: header.sections,
        length: header.length,
    })
}

/// The sections, each inside the file, aligned, after the one before, with zeros between.
fn locate<'a>(bytes: &'a [u8], table: &'a [u8]) -> Result<Vec<Section<'a>>, LoadError> {
    let (entries, _) = table.as_chunks::<ENTRY>();
    let mut sections: Vec<Section<'a>> = Vec::with_capacity(entries.len());
    let mut end = HEADER + table.len();
    for (index, raw) in entries.iter().enumerate() {
        let section = section(bytes, raw, index, &mut end)?;
        check_order(sections.last(), &section, index)?;
        sections.push(section);
    }
    // The length in the header is the file's, so bytes after the last section are too many.
    match bytes.len() - end {
        0 => Ok(sections),
        extra => Err(LoadError::TrailingBytes {
            extra: extra as u64,
        }),
    }
}

/// Sections ascend by kind and name, so that equal parts are equal bytes and none occurs twice.
fn check_order(
    before: Option<&Section<'_>>,
    section: &Section<'_>,
    entry: usize,
) -> Result<(), LoadError> {
    use std::cmp::Ordering;
    let order = before.map(|b| (b.kind, b.name).cmp(&(section.kind, section.name)));
    match order {
        None | Some(Ordering::Less) => Ok(()),
        Some(Ordering::Equal) => Err(LoadError::DuplicateSection {
            section: section.describe(),
        }),
        Some(Ordering::Greater) => Err(LoadError::MalformedEntry {
            entry,
            reason: "it is out of order".into(),
        }),
    }
}

/// The section of one entry; `end` is where the one before ended, and becomes where this one does.
fn section<'a>(
    bytes: &'a [u8],
    raw: &'a [u8; ENTRY],
    index: usize,
    end: &mut usize,
) -> Result<Section<'a>, LoadError> {
    let entry = Entry::from_bytes(raw);
    let malformed = |reason: &str| LoadError::MalformedEntry {
        entry: index,
        reason: reason.into(),
    };
    let kind = Kind::from_number(entry.kind).ok_or_else(|| malformed("its kind is unknown"))?;
    let packed = raw[layout::NAME_AT..]
        .first_chunk()
        .ok_or_else(|| malformed("it is too short"))?;
    let name =
        layout::unpack_name(packed).ok_or_else(|| malformed("its name is not printable ASCII"))?;
    if name.is_empty() == kind.is_named() {
        return Err(malformed("its name does not suit its kind"));
    }
    let section = describe(kind, name);
    if u64::from(entry.alignment) != ALIGNMENT || !entry.offset.is_multiple_of(ALIGNMENT) {
        return Err(LoadError::Misaligned { section });
    }
    let Some((start, stop)) = range(entry, bytes.len()) else {
        return Err(LoadError::SectionOutOfBounds { section });
    };
    let Some(gap) = bytes.get(*end..start) else {
        return Err(LoadError::Overlap { section });
    };
    if gap.len() >= ALIGNMENT as usize || gap.iter().any(|&b| b != 0) {
        return Err(LoadError::StrayBytes { section });
    }
    *end = stop;
    Ok(Section {
        kind,
        name,
        bytes: &bytes[start..stop],
        hash: entry.hash,
    })
}

/// Start and end of an entry's section, if both are inside a file of `length` bytes.
fn range(entry: Entry, length: usize) -> Option<(usize, usize)> {
    let stop = usize::try_from(entry.offset.checked_add(entry.length)?).ok()?;
    (stop <= length).then_some((entry.offset as usize, stop))
}

fn check_hashes(header: Header, table: &[u8], sections: &[Section<'_>]) -> Result<(), LoadError> {
    if layout::header_hash(header, table) != header.hash {
        return Err(LoadError::HeaderHash);
    }
    let altered = sections
        .iter()
        .find(|s| *blake3::hash(s.bytes).as_bytes() != s.hash);
    altered.map_or(Ok(()), |s| {
        Err(LoadError::SectionHash {
            section: s.describe(),
        })
    })
}

/// The sections' contents, once their bytes are known to be as written.
fn interpret<'a>(sections: &[Section<'a>]) -> Result<Artifact<'a>, LoadError> {
    let of_kind = |kind: Kind| sections.iter().filter(move |s| s.kind == kind);
    let single = |kind: Kind| {
        of_kind(kind)
            .next()
            .ok_or(LoadError::MissingSection { kind })
    };
    let manifest = single(Kind::Manifest)?;
    let sources = single(Kind::Sources)?;
    let artifact = Artifact {
        manifest: manifest::from_json(manifest.bytes).map_err(|e| LoadError::Manifest {
            reason: e.to_string(),
        })?,
        sources: manifest::from_json(sources.bytes).map_err(|e| LoadError::Sources {
            reason: e.to_string(),
        })?,
        objects: of_kind(Kind::Object).map(|s| (s.name, s.bytes)).collect(),
        ptx: of_kind(Kind::Ptx)
            .map(|s| Ok((s.name, text(s)?)))
            .collect::<Result<_, _>>()?,
        docs: of_kind(Kind::Docs).next().map(text).transpose()?,
    };
    agree(&artifact)?;
    Ok(artifact)
}

fn agree(artifact: &Artifact<'_>) -> Result<(), LoadError> {
    let targets = artifact.objects.keys().chain(artifact.ptx.keys());
    let targets = targets.map(|&name| name.to_owned()).collect();
    if let Some(reason) = artifact.manifest.problem(&targets) {
        return Err(LoadError::Manifest { reason });
    }
    let reason = artifact.sources.problem();
    reason.map_or(Ok(()), |reason| Err(LoadError::Sources { reason }))
}

fn text<'a>(section: &Section<'a>) -> Result<&'a str, LoadError> {
    std::str::from_utf8(section.bytes).map_err(|_| LoadError::NotText {
        section: section.describe(),
    })
}
