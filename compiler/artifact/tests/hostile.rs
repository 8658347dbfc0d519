//! Damaged and hostile artifacts: every one is refused by name, none panics.

use optc_artifact::layout::{ENTRY, HEADER};
use optc_artifact::{Artifact, BuildError, Builder, Features, Isa, LoadError, Manifest, Sources};

fn builder() -> Builder {
    let mut sources = Sources::new("sgd");
    sources
        .modules
        .insert("sgd".into(), "optimizer Sgd { }".into());
    let manifest = Manifest {
        optc: "0.1.0".into(),
        root: "sgd".into(),
        ..Manifest::default()
    };
    Builder::new(manifest, sources)
}

fn small() -> Vec<u8> {
    builder()
        .object(Isa::X86_64V3, vec![3; 70])
        .ptx("sm_80", ".version 7.0".into())
        .docs("# Sgd".into())
        .build()
        .unwrap()
}

/// `bytes` changed by `edit`, with the header's hash made right again: what a hostile writer can do.
fn forged(edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = small();
    edit(&mut bytes);
    let sections = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let end = (HEADER + sections.saturating_mul(ENTRY)).min(bytes.len());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..32]).update(&bytes[HEADER..end]);
    bytes[32..64].copy_from_slice(hasher.finalize().as_bytes());
    bytes
}

/// Overwrites a field of the table's entry `n`; entries: manifest, sources, object, ptx, docs.
fn entry(n: usize, at: usize, value: &[u8]) -> Vec<u8> {
    forged(|bytes| {
        let at = HEADER + n * ENTRY + at;
        bytes[at..at + value.len()].copy_from_slice(value);
    })
}

fn code(bytes: &[u8]) -> String {
    let error = Artifact::parse(bytes).expect_err("a damaged artifact was accepted");
    let code = miette::Diagnostic::code(&error).expect("every error has a code");
    assert!(
        miette::Diagnostic::help(&error).is_some(),
        "every error says what to do"
    );
    code.to_string()
}

#[test]
fn what_was_built_is_read() {
    let bytes = small();
    let artifact = Artifact::parse(&bytes).unwrap();
    assert_eq!(artifact.sources().root_text(), "optimizer Sgd { }");
    assert_eq!(artifact.docs(), Some("# Sgd"));
    assert_eq!(
        artifact.objects().collect::<Vec<_>>(),
        [("x86-64-v3", &[3; 70][..])]
    );
    assert_eq!(artifact.best_ptx(8, 6).unwrap().text, ".version 7.0");
    let targets: Vec<_> = artifact.manifest().targets.iter().collect();
    assert_eq!(targets, ["sm_80", "x86-64-v3"]);
}

#[test]
fn the_order_of_building_leaves_no_trace() {
    let other = builder()
        .docs("# Sgd".into())
        .ptx("sm_80", ".version 7.0".into())
        .object(Isa::X86_64V3, vec![3; 70]);
    assert_eq!(other.build().unwrap(), small());
}

#[test]
fn every_truncation_is_refused() {
    let bytes = small();
    for length in 0..bytes.len() {
        let code = code(&bytes[..length]);
        let expected = if length == 0 {
            "opt::artifact::magic"
        } else {
            "opt::artifact::truncated"
        };
        assert_eq!(code, expected, "at {length} bytes");
    }
}

#[test]
fn every_altered_bit_is_refused() {
    let mut bytes = small();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(
                Artifact::parse(&bytes).is_err(),
                "bit {bit} of byte {at} may be anything"
            );
            bytes[at] ^= 1 << bit;
        }
    }
    assert!(Artifact::parse(&bytes).is_ok());
}

#[test]
fn other_files_are_not_artifacts() {
    assert_eq!(code(b"optimizer Sgd { }"), "opt::artifact::magic");
    assert_eq!(code(&[0; 4096]), "opt::artifact::magic");
}

#[test]
fn versions_come_before_everything_behind_them() {
    assert_eq!(
        code(&forged(|b| b[8] = 2)),
        "opt::artifact::container_version"
    );
    assert_eq!(code(&forged(|b| b[12] = 2)), "opt::artifact::abi");
    assert_eq!(code(&forged(|b| b[14] = 1)), "opt::artifact::abi");
}

/// `tests/artifacts/other_abi.optc`, which the tests of other languages open. `OPTC_WRITE_ARTIFACT=1` writes it.
#[test]
fn the_file_for_other_languages() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/artifacts/other_abi.optc"
    );
    let expected = forged(|b| b[12] = 0xff);
    if std::env::var_os("OPTC_WRITE_ARTIFACT").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    assert!(std::fs::read(path).unwrap() == expected);
    assert_eq!(code(&expected), "opt::artifact::abi");
}

#[test]
fn the_length_is_exact() {
    let mut long = small();
    long.push(0);
    assert_eq!(code(&long), "opt::artifact::trailing");
    let claimed = forged(|b| {
        b.push(0);
        let length = b.len() as u64;
        b[24..32].copy_from_slice(&length.to_le_bytes());
    });
    assert_eq!(code(&claimed), "opt::artifact::trailing");
    assert_eq!(
        code(&forged(|b| b[24..32].fill(0xff))),
        "opt::artifact::truncated"
    );
}

#[test]
fn huge_counts_and_offsets_do_not_overflow() {
    assert_eq!(
        code(&forged(|b| b[16..20].fill(0xff))),
        "opt::artifact::table"
    );
    let top = (u64::MAX - 63).to_le_bytes();
    assert_eq!(code(&entry(2, 32, &top)), "opt::artifact::bounds");
    assert_eq!(
        code(&entry(2, 40, &u64::MAX.to_le_bytes())),
        "opt::artifact::bounds"
    );
    assert_eq!(
        code(&entry(4, 40, &6u64.to_le_bytes())),
        "opt::artifact::bounds"
    );
}

#[test]
fn the_table_is_checked_entry_by_entry() {
    assert_eq!(
        code(&entry(2, 0, &9u32.to_le_bytes())),
        "opt::artifact::entry"
    );
    assert_eq!(
        code(&entry(2, 0, &5u32.to_le_bytes())),
        "opt::artifact::entry"
    );
    assert_eq!(
        code(&entry(2, 4, &32u32.to_le_bytes())),
        "opt::artifact::alignment"
    );
    assert_eq!(code(&entry(2, 8, b"a b")), "opt::artifact::entry");
    assert_eq!(code(&entry(2, 8, &[0; 24])), "opt::artifact::entry");
    assert_eq!(code(&entry(4, 8, b"name")), "opt::artifact::entry");
    assert_eq!(
        code(&entry(2, 32, &65u64.to_le_bytes())),
        "opt::artifact::alignment"
    );
    assert_eq!(
        code(&entry(2, 32, &0u64.to_le_bytes())),
        "opt::artifact::overlap"
    );
    assert_eq!(
        code(&entry(2, 40, &1u64.to_le_bytes())),
        "opt::artifact::padding"
    );
    assert_eq!(code(&forged(|b| b[20] = 1)), "opt::artifact::header");
}

#[test]
fn a_section_stands_once() {
    let twice = forged(|bytes| {
        // The PTX entry takes the object's kind and name.
        let object = HEADER + 2 * ENTRY;
        bytes.copy_within(object..object + 32, object + ENTRY);
    });
    assert_eq!(code(&twice), "opt::artifact::duplicate");
}

#[test]
fn an_artifact_without_sections_lacks_its_manifest() {
    let none = forged(|bytes| {
        bytes.truncate(HEADER);
        bytes[16..20].fill(0);
        bytes[24..32].copy_from_slice(&(HEADER as u64).to_le_bytes());
    });
    assert_eq!(code(&none), "opt::artifact::missing_section");
}

#[test]
fn contents_are_checked_after_their_hash() {
    assert_eq!(code(&entry(2, 48, &[0; 32])), "opt::artifact::hash");
    // The manifest's bytes are replaced and its hash made right.
    let replaced = |n: usize, text: u8| {
        forged(move |bytes| {
            let at = HEADER + n * ENTRY;
            let number =
                |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            let (offset, length) = (number(at + 32), number(at + 40));
            bytes[offset..offset + length].fill(text);
            let hash = blake3::hash(&bytes[offset..offset + length]);
            bytes[at + 48..at + 80].copy_from_slice(hash.as_bytes());
        })
    };
    assert_eq!(code(&replaced(0, b'[')), "opt::artifact::manifest");
    assert_eq!(code(&replaced(1, b'0')), "opt::artifact::sources");
    assert_eq!(code(&replaced(3, 0xff)), "opt::artifact::text");
    assert!(
        Artifact::parse(&replaced(2, 0xff)).is_ok(),
        "machine code may be any bytes"
    );
}

#[test]
fn a_manifest_must_match_the_sections() {
    // The section's name changes, the manifest does not.
    assert_eq!(code(&entry(3, 8, b"sm_81")), "opt::artifact::manifest");
}

#[test]
fn the_best_object_is_the_most_demanding_that_runs() {
    let bytes = builder()
        .object(Isa::X86_64V3, vec![3])
        .object(Isa::X86_64V4, vec![4])
        .build()
        .unwrap();
    let artifact = Artifact::parse(&bytes).unwrap();
    let best = |isa: Isa| artifact.best_object(&isa.requires().collect()).unwrap().isa;
    assert_eq!(best(Isa::X86_64V3), Isa::X86_64V3);
    assert_eq!(best(Isa::X86_64V4), Isa::X86_64V4);
    assert_eq!(best(Isa::X86_64V4Bf16), Isa::X86_64V4);
}

#[test]
fn another_cpu_is_told_what_there_is_and_what_it_has() {
    let bytes = builder().object(Isa::X86_64V4, vec![4]).build().unwrap();
    let artifact = Artifact::parse(&bytes).unwrap();
    let machine: Features = Isa::X86_64V3.requires().collect();
    let error = artifact.best_object(&machine).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the artifact was made for another CPU: it holds code for `x86-64-v4`, and this machine has a CPU of level `x86-64-v3`"
    );
    let bytes = builder().build().unwrap();
    let artifact = Artifact::parse(&bytes).unwrap();
    let error = artifact.best_object(&machine).unwrap_err().to_string();
    assert!(error.contains("it holds code for nothing"), "{error}");
}

#[test]
fn the_best_ptx_is_the_newest_the_device_takes() {
    let bytes = builder()
        .ptx("sm_80", "80".into())
        .ptx("sm_90", "90".into())
        .ptx("sm_90a", "90a".into())
        .build()
        .unwrap();
    let artifact = Artifact::parse(&bytes).unwrap();
    let best = |major, minor| artifact.best_ptx(major, minor).map(|ptx| ptx.text);
    assert_eq!(best(8, 9), Ok("80"));
    assert_eq!(best(9, 0), Ok("90a"));
    assert_eq!(best(10, 0), Ok("90"));
    assert!(matches!(best(7, 5), Err(LoadError::OtherGpu { .. })));
}

#[test]
fn mistakes_of_the_builder_are_named() {
    let long = builder().ptx("sm_80_and_a_very_long_tail", String::new());
    assert!(matches!(long.build(), Err(BuildError::SectionName { .. })));
    let twice = builder().docs("a".into()).docs("b".into());
    assert!(matches!(
        twice.build(),
        Err(BuildError::DuplicateSection { .. })
    ));
    let nameless = builder().ptx("", String::new());
    assert!(matches!(
        nameless.build(),
        Err(BuildError::SectionName { .. })
    ));
    let rootless = Builder::new(Manifest::default(), Sources::new("x"));
    assert!(matches!(rootless.build(), Err(BuildError::Invalid { .. })));
}
