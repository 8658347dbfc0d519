//! Parts → the bytes of an artifact. The same parts give the same bytes, in whatever order they were added.

use crate::error::BuildError;
use crate::layout::{self, ABI, ALIGNMENT, CONTAINER, ENTRY, Entry, HEADER, Header, Kind, MAGIC};
use crate::manifest::{self, Manifest, Sources};
use crate::target::Isa;
use std::collections::BTreeMap;

/// Collects the parts of an artifact.
#[derive(Debug)]
pub struct Builder {
    manifest: Manifest,
    sources: Sources,
    sections: Vec<(Kind, String, Vec<u8>)>,
}

impl Builder {
    /// An artifact of a source only. The manifest's `targets` are filled in by [`Builder::build`].
    pub fn new(manifest: Manifest, sources: Sources) -> Builder {
        Builder {
            manifest,
            sources,
            sections: Vec::new(),
        }
    }

    /// Adds a shared object for a CPU level.
    pub fn object(mut self, isa: Isa, code: Vec<u8>) -> Builder {
        self.sections.push((Kind::Object, isa.name().into(), code));
        self
    }

    /// Adds PTX text for a target such as `sm_80`.
    pub fn ptx(mut self, target: &str, text: String) -> Builder {
        self.sections
            .push((Kind::Ptx, target.into(), text.into_bytes()));
        self
    }

    /// Adds documentation as Markdown.
    pub fn docs(mut self, markdown: String) -> Builder {
        self.sections
            .push((Kind::Docs, String::new(), markdown.into_bytes()));
        self
    }

    /// The bytes.
    ///
    /// Errors: a section given twice or with a name that does not fit, a manifest that contradicts the sections,
    /// sources without their root.
    pub fn build(mut self) -> Result<Vec<u8>, BuildError> {
        self.manifest.targets = self.targets();
        self.validate()?;
        let manifest = manifest::to_json(&self.manifest).map_err(invalid)?;
        let sources = manifest::to_json(&self.sources).map_err(invalid)?;
        let mut sections = BTreeMap::new();
        let json = [
            (Kind::Manifest, String::new(), manifest),
            (Kind::Sources, String::new(), sources),
        ];
        for (kind, name, bytes) in json.into_iter().chain(self.sections) {
            if sections.insert((kind, name.clone()), bytes).is_some() {
                let section = layout::describe(kind, &name);
                return Err(BuildError::DuplicateSection { section });
            }
        }
        assemble(&sections)
    }

    fn targets(&self) -> std::collections::BTreeSet<String> {
        let code = self
            .sections
            .iter()
            .filter(|(kind, ..)| matches!(kind, Kind::Object | Kind::Ptx));
        code.map(|(_, name, _)| name.clone()).collect()
    }

    fn validate(&self) -> Result<(), BuildError> {
        let problem = self
            .manifest
            .problem(&self.manifest.targets)
            .or_else(|| self.sources.problem());
        problem.map_or(Ok(()), |reason| Err(BuildError::Invalid { reason }))
    }
}

fn invalid(error: serde_json::Error) -> BuildError {
    BuildError::Invalid {
        reason: error.to_string(),
    }
}

/// Header, table and sections in order of kind and name.
fn assemble(sections: &BTreeMap<(Kind, String), Vec<u8>>) -> Result<Vec<u8>, BuildError> {
    let mut table = Vec::with_capacity(sections.len() * ENTRY);
    let mut end = (HEADER + sections.len() * ENTRY) as u64;
    for ((kind, name), bytes) in sections {
        let packed = layout::pack_name(name)
            .filter(|_| kind.is_named() != name.is_empty())
            .ok_or_else(|| BuildError::SectionName { name: name.clone() })?;
        let offset = end.next_multiple_of(ALIGNMENT);
        end = offset + bytes.len() as u64;
        let entry = Entry {
            kind: kind.number(),
            alignment: ALIGNMENT as u32,
            name: packed,
            offset,
            length: bytes.len() as u64,
            hash: *blake3::hash(bytes).as_bytes(),
        };
        table.extend_from_slice(&entry.to_bytes());
    }
    let mut file = Vec::with_capacity(end as usize);
    file.extend_from_slice(&header(sections.len() as u32, end, &table).to_bytes());
    file.extend_from_slice(&table);
    for bytes in sections.values() {
        file.resize(file.len().next_multiple_of(ALIGNMENT as usize), 0);
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

fn header(sections: u32, length: u64, table: &[u8]) -> Header {
    let header = Header {
        magic: MAGIC,
        container: CONTAINER,
        abi: ABI,
        sections,
        reserved: 0,
        length,
        hash: [0; 32],
    };
    Header {
        hash: layout::header_hash(header, table),
        ..header
    }
}
