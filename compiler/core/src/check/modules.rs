//! The files of a program: the root, all it uses, and an order in which every file comes after what it uses.

use super::diagnostics::Sink;
use super::error::CheckError;
use super::graph;
use super::names::did_you_mean;
use crate::hir::{FileId, SourceFile};
use crate::source::Sources;
use cranelift_entity::{EntityRef, PrimaryMap};
use optc_grammar::ast::{self, Item, Span, Use};
use std::collections::HashMap;

/// A parsed file.
pub(super) struct File {
    /// Empty after a syntax error.
    pub(super) ast: ast::Module,
    /// There was none.
    pub(super) parsed: bool,
    /// The file behind each `use`, in the order of the items; `None` when there is none.
    pub(super) uses: Vec<Option<FileId>>,
}

/// All files, and the order to check them in.
pub(super) struct Modules {
    pub(super) sources: PrimaryMap<FileId, SourceFile>,
    pub(super) files: PrimaryMap<FileId, File>,
    pub(super) order: Vec<FileId>,
}

/// Reads the root and all that it uses, each file once.
pub(super) fn load(name: &str, text: &str, sources: &dyn Sources, sink: &mut Sink) -> Modules {
    let mut loader = Loader {
        sources,
        sink,
        texts: PrimaryMap::new(),
        files: PrimaryMap::new(),
        ids: HashMap::new(),
    };
    loader.add(name, text.to_owned());
    let mut next = 0;
    while let Some(file) = loader.files.keys().nth(next) {
        loader.follow_uses(file);
        next += 1;
    }
    let Loader {
        sink, texts, files, ..
    } = loader;
    let order = order(&texts, &files, sink);
    Modules {
        sources: texts,
        files,
        order,
    }
}

struct Loader<'a> {
    sources: &'a dyn Sources,
    sink: &'a mut Sink,
    texts: PrimaryMap<FileId, SourceFile>,
    files: PrimaryMap<FileId, File>,
    ids: HashMap<String, FileId>,
}

impl Loader<'_> {
    fn add(&mut self, name: &str, text: String) -> FileId {
        let id = self.sink.add_file(name, &text);
        let parsed = optc_grammar::parse(&text);
        let (parsed, ast) = match parsed {
            Ok(ast) => (true, ast),
            Err(error) => {
                self.sink.report(id, error);
                (
                    false,
                    ast::Module {
                        docs: String::new(),
                        items: Vec::new(),
                    },
                )
            }
        };
        self.texts.push(SourceFile {
            name: name.to_owned(),
            text,
        });
        self.ids.insert(name.to_owned(), id);
        self.files.push(File {
            ast,
            parsed,
            uses: Vec::new(),
        })
    }

    fn follow_uses(&mut self, file: FileId) {
        let uses: Vec<(String, Span)> = uses(&self.files[file].ast).map(module_name).collect();
        let found = uses
            .into_iter()
            .map(|(module, at)| self.find(file, module, at))
            .collect();
        self.files[file].uses = found;
    }

    fn find(&mut self, file: FileId, module: String, at: Span) -> Option<FileId> {
        if let Some(known) = self.ids.get(&module) {
            return Some(*known);
        }
        if let Some(text) = self.sources.read(&module) {
            return Some(self.add(&module, text));
        }
        let modules = self.sources.modules();
        let fallback =
            "the standard library begins with `std.`; other modules are files beside this one";
        let help = did_you_mean(&module, modules.iter().map(String::as_str), fallback);
        self.sink
            .report(file, CheckError::UnknownModule { module, help, at });
        None
    }
}

/// The `use` items of a file.
pub(super) fn uses(module: &ast::Module) -> impl Iterator<Item = &Use> {
    module.items.iter().filter_map(|item| match item {
        Item::Use(item) => Some(item),
        _ => None,
    })
}

fn module_name(item: &Use) -> (String, Span) {
    let segments: Vec<&str> = item.module.iter().map(|name| name.text.as_str()).collect();
    let span = match (item.module.first(), item.module.last()) {
        (Some(first), Some(last)) => first.span.to(last.span),
        _ => item.span,
    };
    (segments.join("."), span)
}

/// Used files first; a circle is reported where it closes.
fn order(
    texts: &PrimaryMap<FileId, SourceFile>,
    files: &PrimaryMap<FileId, File>,
    sink: &mut Sink,
) -> Vec<FileId> {
    let edges: Vec<Vec<usize>> = files
        .values()
        .map(|file| {
            file.uses
                .iter()
                .flatten()
                .map(|used| used.index())
                .collect()
        })
        .collect();
    let found = graph::order(&edges);
    for circle in found.circles {
        let path = circle
            .path
            .iter()
            .map(|file| format!("`{}`", texts[FileId::new(*file)].name));
        let path = path.collect::<Vec<_>>().join(" → ");
        let (file, edge) = (FileId::new(circle.closed_by.0), circle.closed_by.1);
        let known = uses(&files[file].ast)
            .zip(&files[file].uses)
            .filter(|(_, used)| used.is_some());
        let at = known
            .map(|(item, _)| item.span)
            .nth(edge)
            .unwrap_or_default();
        sink.report(file, CheckError::UseCycle { path, at });
    }
    found.nodes.into_iter().map(FileId::new).collect()
}
