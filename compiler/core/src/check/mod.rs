//! Checks a module and all it uses: syntax tree in, resolved and typed tree out, or every mistake with its place.
//!
//! ```
//! use optc_core::{check::check, source::Embedded};
//!
//! let text = "optimizer Sgd { hyper lr = 0.1  rule each(w: [...]) { w -= lr * grad } }";
//! let checked = check("sgd.opt", text, &Embedded::NOTHING)?;
//! assert_eq!(checked.program.optimizers.len(), 1);
//! # Ok::<(), optc_core::check::Diagnostics>(())
//! ```
//!
//! Checking goes on after a mistake: what depends on it has type `Error` and stays silent. A rule is checked once, for
//! all shapes that its pattern takes.

mod across;
mod apply;
mod body;
mod builtins;
mod call;
mod compose;
mod constant;
mod diagnostics;
mod entry;
mod error;
mod expr;
mod foreign;
mod functions;
mod graph;
mod imports;
mod items;
mod migrations;
mod modules;
mod names;
mod operators;
mod phase;
mod reach;
mod rules;
mod same;
mod settings;
mod shapes;
mod signatures;
mod state;
mod stmt;
mod taken;
mod types;
mod unused;
mod views;
mod walk;

pub use diagnostics::{Diagnostics, Fault, Located};
pub use error::CheckError;
pub use unused::Unused;

use crate::hir::{FileId, OptimizerId, Program};
use crate::source::Sources;
use body::Context;
use cranelift_entity::{EntityRef, PrimaryMap};
use diagnostics::Sink;
use items::Items;
use modules::{File, Modules};
use optc_grammar::ast::{self, Item, Span};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A program without mistakes.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The program.
    pub program: Program,
    /// What looks like an oversight in the root file.
    pub warnings: Vec<Located>,
}

/// Checks a file that declares an optimizer, and all it uses.
///
/// # Errors
///
/// Every mistake of every file, by file and place. A file with a syntax error counts as empty.
pub fn check(
    root_name: &str,
    root_text: &str,
    sources: &dyn Sources,
) -> Result<Checked, Diagnostics> {
    run(root_name, root_text, sources, true)
}

/// Checks a file that may consist of functions and tables alone, made to be imported.
///
/// # Errors
///
/// As [`check`], except that no optimizer is needed.
pub fn check_library(
    root_name: &str,
    root_text: &str,
    sources: &dyn Sources,
) -> Result<Checked, Diagnostics> {
    run(root_name, root_text, sources, false)
}

fn run(
    name: &str,
    text: &str,
    sources: &dyn Sources,
    needs_optimizer: bool,
) -> Result<Checked, Diagnostics> {
    let mut sink = Sink::default();
    let mut modules = modules::load(name, text, sources, &mut sink);
    let mut cx = Context {
        program: empty_program(&mut modules),
        functions: PrimaryMap::new(),
        used: HashSet::new(),
        needs: HashMap::new(),
        origins: BTreeMap::new(),
        weights: HashMap::new(),
        broken: HashSet::new(),
        places: HashMap::new(),
        absent: HashMap::new(),
        nonfinite: HashMap::new(),
        homeless: HashMap::new(),
        shared_by: HashMap::new(),
        sink,
    };
    let mut exports: HashMap<FileId, Items> = HashMap::new();
    for file in &modules.order {
        let own = check_file(&mut cx, &modules, *file, &exports);
        exports.insert(*file, own);
    }
    compose::finish(&mut cx);
    // What follows delegation from one optimizer to the next comes to an end only where there is no circle.
    if !rules::optimizer_circles(&mut cx) {
        entry::collisions(&mut cx);
        entry::out_of_reach(&mut cx);
    }
    root(
        &mut cx,
        &modules,
        exports.get(&FileId::new(0)),
        needs_optimizer,
    );
    imports::suggest(&mut cx.sink, sources);
    let Context { program, sink, .. } = cx;
    sink.finish().map(|warnings| Checked { program, warnings })
}

fn empty_program(modules: &mut Modules) -> Program {
    Program {
        docs: modules
            .files
            .get(FileId::new(0))
            .map(|root| root.ast.docs.clone())
            .unwrap_or_default(),
        sources: std::mem::take(&mut modules.sources),
        optimizers: PrimaryMap::new(),
        functions: PrimaryMap::new(),
        tables: PrimaryMap::new(),
        roots: Vec::new(),
    }
}

/// Checks one file whose imports are checked; returns its own names.
fn check_file(
    cx: &mut Context,
    modules: &Modules,
    id: FileId,
    exports: &HashMap<FileId, Items>,
) -> Items {
    let file = &modules.files[id];
    let own = Items::declare(cx, id, file);
    let items = own.clone().import(cx, file, exports);
    functions::bodies(cx, &items, &file.ast);
    for item in compose::order(cx, &items, &file.ast) {
        match (
            item,
            item_name(item).and_then(|name| own.optimizers.get(name)),
        ) {
            (Item::Optimizer(optimizer), Some(id)) => {
                settings::settings(cx, &items, *id, optimizer);
                compose::defaults(cx, &items, *id, optimizer);
            }
            (Item::Composition(item), Some(id)) => compose::composition(cx, &items, *id, item),
            _ => {}
        }
    }
    for_each_optimizer(file, &own, |optimizer, id| {
        rules::rules(cx, &items, id, optimizer)
    });
    for_each_optimizer(file, &own, |optimizer, id| {
        migrations::migrations(cx, &items, id, optimizer)
    });
    own
}

/// The name of an optimizer, declared or composed.
fn item_name(item: &Item) -> Option<&str> {
    match item {
        Item::Optimizer(optimizer) => Some(&optimizer.name.text),
        Item::Composition(composition) => Some(&composition.name.text),
        _ => None,
    }
}

/// A name declared twice is checked once: its second meaning was reported.
fn for_each_optimizer(
    file: &File,
    own: &Items,
    mut visit: impl FnMut(&ast::Optimizer, OptimizerId),
) {
    let mut seen = HashSet::new();
    for item in &file.ast.items {
        if let Item::Optimizer(optimizer) = item
            && seen.insert(&optimizer.name.text)
            && let Some(id) = own.optimizers.get(&optimizer.name.text)
        {
            visit(optimizer, *id);
        }
    }
}

/// The optimizers of the root file, and whether their settings are used.
fn root(cx: &mut Context, modules: &Modules, own: Option<&Items>, needs_optimizer: bool) {
    let (Some(own), Some(file)) = (
        own,
        modules
            .files
            .get(own.map_or(FileId::new(0), |own| own.file)),
    ) else {
        return;
    };
    for_each_optimizer(file, own, |optimizer, id| {
        settings::unused(cx, own.file, id, optimizer);
    });
    let mut roots: Vec<OptimizerId> = Vec::new();
    for name in file.ast.items.iter().filter_map(item_name) {
        let id = own.optimizers.get(name).filter(|id| !roots.contains(id));
        roots.extend(id);
    }
    if roots.is_empty() && needs_optimizer && !cx.sink.has_errors() {
        let source = &cx.program.sources[own.file];
        let (name, end) = (source.name.clone(), source.text.trim_end().len());
        cx.sink.report(
            own.file,
            CheckError::NoOptimizer {
                name,
                at: Span::at(end.saturating_sub(1), end.min(1)),
            },
        );
    }
    cx.program.roots = roots;
}
