//! The bytes of a container: header, table of sections, sections.
//!
//! ```text
//! 0    magic      8 bytes   89 6F 70 74 63 0D 0A 1A   (".optc" framed so that text transfers damage it visibly)
//! 8    container  u32       layout of this file; 1
//! 12   abi major  u16       what kernels, symbols and manifest mean
//! 14   abi minor  u16
//! 16   sections   u32       entries of the table
//! 20   reserved   u32       0
//! 24   length     u64       of the whole file
//! 32   hash       32 bytes  blake3 of bytes 0..32 and of the table
//! 64   table      80 bytes per section
//! ```
//!
//! A table entry, by offset inside it:
//!
//! ```text
//! 0    kind       u32
//! 4    alignment  u32       64
//! 8    name       24 bytes  ASCII, zero-filled
//! 32   offset     u64       from the start of the file, a multiple of 64
//! 40   length     u64
//! 48   hash       32 bytes  blake3 of the section's bytes
//! ```
//!
//! Integers are little-endian. The table is in order of kind and name, and the sections follow it in that order; what lies between two of them is zero and
//! shorter than 64 bytes, and the file ends with its last section. So every byte is either hashed or known.

use std::fmt;

/// The first bytes of every artifact.
pub const MAGIC: [u8; 8] = *b"\x89optc\r\n\x1a";
/// The layout described above.
pub const CONTAINER: u32 = 1;
/// The calling conventions and the manifest this crate writes. Readable: equal major, minor not above.
pub const ABI: Abi = Abi { major: 1, minor: 0 };
/// Where a section may start.
pub const ALIGNMENT: u64 = 64;
/// Bytes of the header.
pub const HEADER: usize = 64;
/// Bytes of one entry of the table.
pub const ENTRY: usize = 80;
/// Longest name of a section, in bytes.
pub const NAME: usize = 24;

/// The version of what the sections mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi {
    /// Changes when old readers would misunderstand.
    pub major: u16,
    /// Changes when something is added.
    pub minor: u16,
}

impl Abi {
    /// Whether a reader of this version understands an artifact of version `other`.
    pub fn reads(self, other: Abi) -> bool {
        self.major == other.major && other.minor <= self.minor
    }
}

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The description: canonical JSON, exactly one.
    Manifest,
    /// Every `.opt` text the optimizers need: canonical JSON, exactly one.
    Sources,
    /// An ELF shared object; the name is its CPU level.
    Object,
    /// PTX text; the name is its target.
    Ptx,
    /// The documentation as Markdown, at most one.
    Docs,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::Manifest,
        Kind::Sources,
        Kind::Object,
        Kind::Ptx,
        Kind::Docs,
    ];

    /// The number that stands for it in the table.
    pub fn number(self) -> u32 {
        match self {
            Kind::Manifest => 1,
            Kind::Sources => 2,
            Kind::Object => 3,
            Kind::Ptx => 4,
            Kind::Docs => 5,
        }
    }

    /// Whether there may be several, told apart by name; the others have none.
    pub fn is_named(self) -> bool {
        matches!(self, Kind::Object | Kind::Ptx)
    }

    /// The kind of that number.
    pub fn from_number(number: u32) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Manifest => "manifest",
            Kind::Sources => "sources",
            Kind::Object => "object",
            Kind::Ptx => "ptx",
            Kind::Docs => "docs",
        })
    }
}

/// Where the name stands in an entry.
pub(crate) const NAME_AT: usize = 8;

/// A section in words: "object `x86-64-v4`", "manifest".
pub(crate) fn describe(kind: Kind, name: &str) -> String {
    if name.is_empty() {
        kind.to_string()
    } else {
        format!("{kind} `{name}`")
    }
}

/// The header's fields, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) magic: [u8; 8],
    pub(crate) container: u32,
    pub(crate) abi: Abi,
    pub(crate) sections: u32,
    pub(crate) reserved: u32,
    pub(crate) length: u64,
    pub(crate) hash: [u8; 32],
}

/// One entry of the table, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: u32,
    pub(crate) alignment: u32,
    pub(crate) name: [u8; NAME],
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) hash: [u8; 32],
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(&self.magic);
        bytes[8..12].copy_from_slice(&self.container.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.abi.major.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.abi.minor.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.sections.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.reserved.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.length.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.hash);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER]) -> Header {
        Header {
            magic: field(bytes, 0),
            container: u32::from_le_bytes(field(bytes, 8)),
            abi: Abi {
                major: u16::from_le_bytes(field(bytes, 12)),
                minor: u16::from_le_bytes(field(bytes, 14)),
            },
            sections: u32::from_le_bytes(field(bytes, 16)),
            reserved: u32::from_le_bytes(field(bytes, 20)),
            length: u64::from_le_bytes(field(bytes, 24)),
            hash: field(bytes, 32),
        }
    }
}

impl Entry {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[0..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.alignment.to_le_bytes());
        bytes[8..32].copy_from_slice(&self.name);
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.length.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.hash);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; ENTRY]) -> Entry {
        Entry {
            kind: u32::from_le_bytes(field(bytes, 0)),
            alignment: u32::from_le_bytes(field(bytes, 4)),
            name: field(bytes, 8),
            offset: u64::from_le_bytes(field(bytes, 32)),
            length: u64::from_le_bytes(field(bytes, 40)),
            hash: field(bytes, 48),
        }
    }
}

/// The hash that the header carries: of its first half and of the table.
pub(crate) fn header_hash(header: Header, table: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header.to_bytes()[..32]);
    hasher.update(table);
    *hasher.finalize().as_bytes()
}

/// `name` in the form of the table: printable ASCII, at most [`NAME`] bytes, zero-filled.
pub(crate) fn pack_name(name: &str) -> Option<[u8; NAME]> {
    let fits = name.len() <= NAME && name.bytes().all(|b| b.is_ascii_graphic());
    let mut packed = [0; NAME];
    fits.then(|| packed[..name.len()].copy_from_slice(name.as_bytes()))?;
    Some(packed)
}

/// The inverse of [`pack_name`]; `None` for anything it does not produce.
pub(crate) fn unpack_name(packed: &[u8; NAME]) -> Option<&str> {
    let end = packed.iter().position(|&b| b == 0).unwrap_or(NAME);
    let name = std::str::from_utf8(&packed[..end]).ok()?;
    (pack_name(name)? == *packed).then_some(name)
}

/// `N` bytes at `at`; both are constants of the layout, so they are always inside.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_and_entry_survive_their_bytes() {
        let header = Header {
            magic: MAGIC,
            container: 7,
            abi: Abi { major: 3, minor: 9 },
            sections: 2,
            reserved: 1,
            length: 0x0102_0304_0506_0708,
            hash: [5; 32],
        };
        assert_eq!(Header::from_bytes(&header.to_bytes()), header);
        let entry = Entry {
            kind: 3,
            alignment: 64,
            name: pack_name("x86-64-v4").unwrap(),
            offset: 128,
            length: 9,
            hash: [8; 32],
        };
        assert_eq!(Entry::from_bytes(&entry.to_bytes()), entry);
    }

    #[test]
    fn names_are_short_printable_and_zero_filled() {
        for name in ["", "sm_80", "x86-64-v4-bf16", "abcdefghijklmnopqrstuvwx"] {
            assert_eq!(unpack_name(&pack_name(name).unwrap()), Some(name));
        }
        assert_eq!(pack_name("abcdefghijklmnopqrstuvwxy"), None);
        assert_eq!(pack_name("a b"), None);
        let mut hole = pack_name("ab").unwrap();
        hole[5] = b'c';
        assert_eq!(unpack_name(&hole), None);
    }

    #[test]
    fn a_reader_takes_its_major_and_older_minors() {
        let reader = Abi { major: 2, minor: 3 };
        assert!(
            reader.reads(Abi { major: 2, minor: 3 }) && reader.reads(Abi { major: 2, minor: 0 })
        );
        assert!(
            !reader.reads(Abi { major: 2, minor: 4 }) && !reader.reads(Abi { major: 1, minor: 0 })
        );
    }
}
