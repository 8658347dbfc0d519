//! A checked program lowers: no rule of a clean case, page or library module makes lowering panic or the verifier
//! complain, for any shape that the rule takes.

#[path = "language/support.rs"]
#[expect(dead_code, reason = "the language tests use the rest")]
mod support;

use optc_core::check::{Checked, check_library};
use optc_core::codes;
use optc_core::dtype::DType;
use optc_core::ir::verify;
use optc_core::lower::{Spec, lower, rule_for};
use optc_core::passes;
use optc_core::settings::{Overrides, settle};
use std::fs;
use std::path::{Path, PathBuf};
use support::{Modules, split};

const SHAPES: [&[u64]; 10] = [
    &[],
    &[4],
    &[6, 4],
    &[4, 4],
    &[3, 5],
    &[1, 7],
    &[2, 3, 4],
    &[3, 2, 3, 3],
    &[2, 3, 2, 2, 2],
    &[0, 3],
];

/// Lowers every rule that some shape reaches; gives how many.
fn lower_all(name: &str, checked: &Checked) -> usize {
    let mut lowered = 0;
    for &optimizer in &checked.program.roots {
        let settings = settle(&checked.program, optimizer, &Overrides::default());
        let settings = settings.unwrap_or_else(|error| panic!("{name}: {error}"));
        for dims in SHAPES {
            let Some(rule) = rule_for(&checked.program, optimizer, &settings, dims) else {
                continue;
            };
            let spec = Spec {
                program: &checked.program,
                optimizer,
                settings: &settings,
                rule,
                dims,
                dtype: DType::F32,
                grad_dtype: DType::F32,
            };
            let function = lower(&spec);
            let faults = verify(&function);
            assert!(faults.is_empty(), "{name} {dims:?}: {faults:?}\n{function}");
            let faults = verify(&passes::optimize(function));
            assert!(faults.is_empty(), "{name} {dims:?}, optimized: {faults:?}");
            lowered += 1;
        }
    }
    lowered
}

fn checked(name: &str, text: &str, modules: &Modules) -> Checked {
    check_library("shown.opt", text, modules)
        .unwrap_or_else(|mistakes| panic!("{name}: {mistakes}"))
}

#[test]
fn the_library() {
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        lower_all(name, &checked(name, text, &Modules::default()));
    }
}

#[test]
fn corrected_pages() {
    for page in codes::all() {
        let (text, modules) = split(page.corrected);
        assert!(
            lower_all(page.code, &checked(page.code, &text, &modules)) > 0,
            "{}",
            page.code
        );
    }
}

/// Pages that warn are programs too.
#[test]
fn pages_with_warnings() {
    for page in codes::all()
        .filter(|page| page.code.starts_with("opt::unused") || page.code == "opt::fact::unproven")
    {
        let (text, modules) = split(page.failing);
        assert!(
            lower_all(page.code, &checked(page.code, &text, &modules)) > 0,
            "{}",
            page.code
        );
    }
}

fn cases(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder)
        .expect("the cases are beside the crates")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() {
            cases(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "opt") {
            into.push(path);
        }
    }
}

#[test]
fn clean_cases() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases");
    let shared = fs::read_to_string(root.join("modules/shared.opt")).expect("what cases import");
    let modules = Modules([("shared".to_owned(), shared)].into());
    let mut paths = Vec::new();
    cases(&root.join("pass"), &mut paths);
    paths.sort();
    for path in paths {
        let name = path.display().to_string();
        let text = fs::read_to_string(&path).expect("a readable file");
        lower_all(&name, &checked(&name, &text, &modules));
    }
}
