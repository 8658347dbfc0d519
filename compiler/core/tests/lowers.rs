//! A checked program lowers: no rule of a clean case, page or library module makes lowering or planning panic or the
//! verifier complain, for any shape that the rule takes.

#[path = "language/support.rs"]
#[expect(dead_code, reason = "the language tests use the rest")]
mod support;

use optc_core::check::{Checked, check_library};
use optc_core::codes;
use optc_core::dtype::DType;
use optc_core::ir::verify;
use optc_core::lower::{Spec, lower, rule_for};
use optc_core::passes;
use optc_core::planner;
use optc_core::settings::{Overrides, settle};
use optc_core::specialize::entry_plans;
use std::fs;
use std::path::{Path, PathBuf};
use support::{Modules, Random, split};

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

/// Of parameters, in turn.
const DTYPES: [DType; 3] = [DType::F32, DType::F64, DType::BF16];

/// Lowers and plans every rule that some shape reaches; gives how many.
fn lower_all(name: &str, checked: &Checked) -> usize {
    let mut lowered = 0;
    for &optimizer in &checked.program.roots {
        let settings = settle(&checked.program, optimizer, &Overrides::default());
        // A default may lie outside its range where the checker cannot compute it; binding reports that.
        let Ok(settings) = settings else { continue };
        for dims in SHAPES {
            let Ok(Some(rule)) = rule_for(&checked.program, optimizer, &settings, ("", dims))
            else {
                continue;
            };
            let spec = Spec {
                program: &checked.program,
                optimizer,
                settings: &settings,
                rule,
                name: "",
                dims,
                dtype: DTYPES[lowered % 3],
                grad_dtype: DTYPES[lowered % 3],
            };
            // Mutants may loop without measure; binding reports that too.
            let Ok(function) = lower(&spec) else { continue };
            let faults = verify(&function);
            assert!(faults.is_empty(), "{name} {dims:?}: {faults:?}\n{function}");
            let optimized = passes::optimize(function);
            let faults = verify(&optimized);
            assert!(faults.is_empty(), "{name} {dims:?}, optimized: {faults:?}");
            planner::plan(&optimized);
            _ = entry_plans(&spec);
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

/// Programs with names, numbers, operators and lines exchanged, doubled or left out: those that still check must still
/// lower.
#[test]
fn mutants() {
    let mut random = Random(23);
    let mut lowered = 0;
    for page in codes::all() {
        let (text, modules) = split(page.corrected);
        lowered += mutants_of(&text, &modules, &mut random, 30);
    }
    for name in optc_stdlib::NAMES {
        let text = optc_stdlib::source(name).expect("a named module has text");
        lowered += mutants_of(text, &Modules::default(), &mut random, 30);
    }
    assert!(lowered > 1000, "only {lowered} mutants make sense");
}

/// What may stand anywhere.
const NUMBERS: [&str; 8] = ["0", "1", "3", "0.5", "-1", "1e300", "inf", "w"];

/// Now and then, a line twice or not at all.
fn with_lines_moved(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let at = random.below(lines.len());
    match random.below(6) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(random.below(lines.len()), lines[at]),
        _ => {}
    }
    lines.concat()
}

fn mutants_of(text: &str, modules: &Modules, random: &mut Random, count: usize) -> usize {
    let tokens = tokens(text);
    let mut lowered = 0;
    for _ in 0..count {
        let mut mutant = tokens.clone();
        for _ in 0..=random.below(2) {
            let (from, to) = (random.below(mutant.len()), random.below(mutant.len()));
            match random.below(8) {
                0 => mutant[to] = "",
                1 => mutant.swap(from, to),
                2 => mutant[to] = NUMBERS[random.below(NUMBERS.len())],
                _ => mutant[to] = mutant[from],
            }
        }
        let mutant = with_lines_moved(&mutant.concat(), random);
        if let Ok(checked) = check_library("shown.opt", &mutant, modules) {
            lowered += lower_all(&mutant, &checked);
        }
    }
    lowered
}

/// Words and single characters.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(word.max(first.len_utf8()));
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// What is known of a product is asked of both factors, and of theirs: each value once, however many ways lead there.
#[test]
fn a_long_chain_of_products() {
    let text = "optimizer Chain { rule each(w: [m, n]) {
        var x = grad
        repeat 300 { x = gram(x) * x }
        w -= x
    } }";
    let checked = checked("chain", text, &Modules::default());
    assert!(lower_all("chain", &checked) > 0);
}

/// Numbers chosen by a mask are numbers of the tensors that the mask compares, not of the host.
#[test]
fn a_choice_between_numbers_is_stored_as_what_was_compared() {
    let text = "optimizer Chosen { hyper a = 0.3  rule each(w: [n]) {
        w -= select(not (grad > 0) and w < 1, a, 1) .* grad
    } }";
    let checked = checked("chosen", text, &Modules::default());
    let program = &checked.program;
    let id = program.roots[0];
    let settings = settle(program, id, &Overrides::default()).expect("settings");
    let spec = Spec {
        program,
        optimizer: id,
        settings: &settings,
        rule: 0,
        name: "w",
        dims: &[4],
        dtype: DType::F32,
        grad_dtype: DType::F32,
    };
    let function = lower(&spec).expect("a small rule");
    assert!(!function.to_string().contains("f64"), "{function}");
}
