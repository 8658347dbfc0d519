//! Names of a file: what it declares and what it imports; tables.

use super::body::{Body, Context, LocalInfo, Room, count};
use super::constant::constant;
use super::error::CheckError;
use super::modules::{File, uses};
use super::names::{Names, did_you_mean};
use crate::hir::{
    FIRST_VERSION, FileId, FunctionId, Local, NonfiniteGrad, Optimizer, OptimizerId, Table,
    TableId, Type,
};
use cranelift_entity::PrimaryMap;
use optc_grammar::ast::{self, Item, Name, Span};
use std::collections::{HashMap, HashSet};

/// What a file can name, by kind: a table and a function may share a name.
#[derive(Debug, Clone)]
pub(super) struct Items {
    pub(super) file: FileId,
    pub(super) functions: HashMap<String, FunctionId>,
    pub(super) tables: HashMap<String, TableId>,
    pub(super) optimizers: HashMap<String, OptimizerId>,
    /// The file has a syntax error, so what it declares is not known.
    incomplete: bool,
    /// Imported names that are nowhere: reported, and silent from then on.
    pub(super) missing: HashSet<String>,
    /// Where each name came in.
    spans: HashMap<(Kind, String), Span>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Function,
    Table,
    Optimizer,
}

/// Parameters and their dimensions.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) names: Names,
    pub(super) local_info: PrimaryMap<Local, LocalInfo>,
}

/// What calls need to know of a function.
#[derive(Debug, Clone)]
pub(super) struct FunctionInfo {
    /// Parameters whose arguments must be known at bind; grows while the body is checked.
    pub(super) fixed: Vec<bool>,
    /// Operations when all calls in it are written out.
    pub(super) size: u64,
    /// It calls a factorization.
    pub(super) can_fail: bool,
    /// Where each parameter is declared, for labels in the same file.
    pub(super) params: Vec<Name>,
    /// The names and locals that its body starts with.
    pub(super) scope: Option<Scope>,
}

impl Items {
    pub(super) fn new(file: FileId) -> Self {
        let (functions, tables, optimizers) = Default::default();
        Self {
            file,
            functions,
            tables,
            optimizers,
            missing: HashSet::new(),
            incomplete: false,
            spans: HashMap::new(),
        }
    }

    /// The names that a file declares itself: what others can import.
    pub(super) fn declare(cx: &mut Context, id: FileId, file: &File) -> Self {
        let mut items = Self::new(id);
        items.incomplete = !file.parsed;
        for item in &file.ast.items {
            match item {
                Item::Function(function) => items.add_function(cx, function),
                Item::Table(table) => items.add_table(cx, table),
                Item::Optimizer(ast::Optimizer { name, docs, .. })
                | Item::Composition(ast::Composition { name, docs, .. }) => {
                    let docs = if docs.is_empty() {
                        &file.ast.docs
                    } else {
                        docs
                    };
                    items.add_optimizer(cx, name, docs);
                }
                Item::Use(_) => {}
            }
        }
        items
    }

    fn take_name(&mut self, cx: &mut Context, kind: Kind, name: &Name) {
        let known = self
            .spans
            .entry((kind, name.text.clone()))
            .or_insert(name.span);
        if *known == name.span {
            return;
        }
        // Imports are entered last, wherever they stand: the first in the text is the origin.
        let (first, second) = if known.start < name.span.start {
            (*known, name.span)
        } else {
            (name.span, *known)
        };
        *known = first;
        let (name, origin) = (name.text.clone(), Some(first));
        cx.sink.report(
            self.file,
            CheckError::Duplicate {
                name,
                at: second,
                origin,
            },
        );
    }

    fn add_function(&mut self, cx: &mut Context, function: &ast::Function) {
        self.take_name(cx, Kind::Function, &function.name);
        if super::signatures::find(&function.name.text).is_some() {
            let (name, at) = (function.name.text.clone(), function.name.span);
            cx.sink
                .report(self.file, CheckError::ShadowsBuiltin { name, at });
        }
        let id = super::functions::declare(cx, self.file, function);
        self.functions.insert(function.name.text.clone(), id);
    }

    fn add_table(&mut self, cx: &mut Context, table: &ast::Table) {
        self.take_name(cx, Kind::Table, &table.name);
        let empty = Items::new(self.file);
        let mut body = Body::new(cx, &empty, Room::Setting("a table"));
        let rows = body.constant_rows(&table.rows);
        let id = cx.program.tables.push(Table {
            name: table.name.text.clone(),
            rows,
        });
        self.tables.insert(table.name.text.clone(), id);
    }

    fn add_optimizer(&mut self, cx: &mut Context, name: &Name, docs: &str) {
        self.take_name(cx, Kind::Optimizer, name);
        let id = cx.program.optimizers.push(Optimizer {
            name: name.text.clone(),
            docs: docs.to_owned(),
            file: self.file,
            span: name.span,
            bases: Vec::new(),
            hypers: Vec::new(),
            statics: Vec::new(),
            shared: Vec::new(),
            sums: 0,
            absent_grad_is_zero: false,
            nonfinite_grad: NonfiniteGrad::Pass,
            version: FIRST_VERSION.to_owned(),
            migrations: Vec::new(),
            rules: Vec::new(),
        });
        self.optimizers.insert(name.text.clone(), id);
    }

    /// Adds what a file imports; `exports` are the own names of each file.
    pub(super) fn import(
        mut self,
        cx: &mut Context,
        file: &File,
        exports: &HashMap<FileId, Items>,
    ) -> Self {
        for (item, used) in uses(&file.ast).zip(&file.uses) {
            for name in &item.names {
                match used.and_then(|used| exports.get(&used)) {
                    Some(exported) => self.import_name(cx, name, exported),
                    None => {
                        self.missing.insert(name.text.clone());
                    }
                }
            }
        }
        self
    }

    fn import_name(&mut self, cx: &mut Context, name: &Name, exported: &Items) {
        let text = &name.text;
        let module = cx.program.sources[exported.file].name.clone();
        let mut found = false;
        if let Some(id) = exported.functions.get(text) {
            self.take_name(cx, Kind::Function, name);
            self.functions.insert(text.clone(), *id);
            found = true;
        }
        if let Some(id) = exported.tables.get(text) {
            self.take_name(cx, Kind::Table, name);
            self.tables.insert(text.clone(), *id);
            found = true;
        }
        if let Some(id) = exported.optimizers.get(text) {
            self.take_name(cx, Kind::Optimizer, name);
            self.optimizers.insert(text.clone(), *id);
            found = true;
        }
        if !found {
            self.missing.insert(text.clone());
            if exported.incomplete {
                return;
            }
            let names = exported.spans.keys().map(|(_, name)| name.as_str());
            let help = did_you_mean(text, names, format!("look for the name in `{module}`"));
            let (name, at) = (text.clone(), name.span);
            cx.sink.report(
                self.file,
                CheckError::UnknownImport {
                    module,
                    name,
                    help,
                    at,
                },
            );
        }
    }
}

impl Body<'_> {
    /// Rows of constants of one width; what is wrong is reported and left out.
    pub(super) fn constant_rows(&mut self, rows: &[Vec<ast::Expr>]) -> Vec<Vec<f64>> {
        let Some(first) = rows.first() else {
            return Vec::new();
        };
        let origin = row_span(first);
        for row in rows.iter().filter(|row| row.len() != first.len()) {
            let (expected, found) = (count(first.len(), "number"), count(row.len(), "number"));
            self.report(CheckError::RaggedTable {
                expected,
                found,
                at: row_span(row),
                origin,
            });
        }
        let whole = rows.iter().filter(|row| row.len() == first.len());
        whole
            .map(|row| {
                row.iter()
                    .map(|cell| self.constant(cell, "a number in a table").unwrap_or(0.0))
                    .collect()
            })
            .collect()
    }

    /// The value of a constant expression, or nothing after a report.
    pub(super) fn constant(&mut self, expr: &ast::Expr, what: &str) -> Option<f64> {
        let value = self.expr(expr);
        if value.ty == Type::Error {
            return None;
        }
        let known = constant(&value);
        if known.is_none() {
            let what = what.to_owned();
            self.report(CheckError::NotConstant {
                what,
                at: expr.span,
            });
        }
        known
    }
}

/// From the first to the last cell.
fn row_span(row: &[ast::Expr]) -> Span {
    match (row.first(), row.last()) {
        (Some(first), Some(last)) => first.span.to(last.span),
        _ => Span::default(),
    }
}
