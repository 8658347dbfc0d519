//! Names of a file: what it declares and what it imports; tables and the settings of optimizers.

use super::body::{Body, Context, LocalInfo, Room, Setting};
use super::constant::{constant, evaluate};
use super::error::CheckError;
use super::modules::{File, uses};
use super::names::{Binding, Names, did_you_mean};
use super::phase::Level;
use crate::hir::{
    self, ExprKind, FileId, FunctionId, Hyper, Local, Optimizer, OptimizerId, Range, Static,
    StaticType, Table, TableId, Type,
};
use cranelift_entity::PrimaryMap;
use optc_grammar::ast::{self, Item, Name, Span};
use std::collections::HashMap;

/// What a file can name, by kind: a table and a function may share a name.
#[derive(Debug, Clone)]
pub(super) struct Items {
    pub(super) file: FileId,
    pub(super) functions: HashMap<String, FunctionId>,
    pub(super) tables: HashMap<String, TableId>,
    pub(super) optimizers: HashMap<String, OptimizerId>,
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
            spans: HashMap::new(),
        }
    }

    /// The names that a file declares itself: what others can import.
    pub(super) fn declare(cx: &mut Context, file: FileId, ast: &ast::Module) -> Self {
        let mut items = Self::new(file);
        for item in &ast.items {
            match item {
                Item::Function(function) => items.add_function(cx, function),
                Item::Table(table) => items.add_table(cx, table),
                Item::Optimizer(optimizer) => items.add_optimizer(cx, optimizer, &ast.docs),
                Item::Use(_) => {}
            }
        }
        items
    }

    fn take_name(&mut self, cx: &mut Context, kind: Kind, name: &Name) {
        if let Some(origin) = self.spans.insert((kind, name.text.clone()), name.span) {
            let (name, at) = (name.text.clone(), name.span);
            cx.sink.report(
                self.file,
                CheckError::Duplicate {
                    name,
                    at,
                    origin: Some(origin),
                },
            );
        }
    }

    fn add_function(&mut self, cx: &mut Context, function: &ast::Function) {
        self.take_name(cx, Kind::Function, &function.name);
        if super::builtins::find(&function.name.text).is_some() {
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

    fn add_optimizer(&mut self, cx: &mut Context, optimizer: &ast::Optimizer, file_docs: &str) {
        self.take_name(cx, Kind::Optimizer, &optimizer.name);
        let docs = if optimizer.docs.is_empty() {
            file_docs
        } else {
            &optimizer.docs
        };
        let id = cx.program.optimizers.push(Optimizer {
            name: optimizer.name.text.clone(),
            docs: docs.to_owned(),
            file: self.file,
            span: optimizer.name.span,
            hypers: Vec::new(),
            statics: Vec::new(),
            absent_grad_is_zero: false,
            rules: Vec::new(),
        });
        self.optimizers.insert(optimizer.name.text.clone(), id);
    }

    /// Adds what a file imports; `exports` are the own names of each file.
    pub(super) fn import(
        mut self,
        cx: &mut Context,
        file: &File,
        exports: &HashMap<FileId, Items>,
    ) -> Self {
        for (item, used) in uses(&file.ast).zip(&file.uses) {
            let Some(exported) = used.and_then(|used| exports.get(&used)) else {
                continue;
            };
            for name in &item.names {
                self.import_name(cx, name, exported);
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
            let (expected, found) = (first.len(), row.len());
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
                    .map(|cell| self.constant(cell, "a number in a table"))
                    .collect()
            })
            .collect()
    }

    /// The value of a constant expression, or 0 after a report.
    fn constant(&mut self, expr: &ast::Expr, what: &str) -> f64 {
        let at = expr.span;
        let value = self.expr(expr);
        if value.ty == Type::Error {
            return 0.0;
        }
        constant(&value).unwrap_or_else(|| {
            self.report(CheckError::NotConstant {
                what: what.to_owned(),
                at,
            });
            0.0
        })
    }

    fn range(&mut self, range: &ast::Range) -> Range {
        let lo = self.constant(&range.lo, "a bound");
        let hi = self.constant(&range.hi, "a bound");
        let checked = Range {
            lo,
            lo_closed: range.lo_closed,
            hi,
            hi_closed: range.hi_closed,
        };
        let empty = !(lo < hi || (lo == hi && range.lo_closed && range.hi_closed));
        if empty {
            self.report(CheckError::EmptyRange {
                range: checked.to_string(),
                at: range.span,
            });
        }
        checked
    }
}

/// From the first to the last cell.
fn row_span(row: &[ast::Expr]) -> Span {
    match (row.first(), row.last()) {
        (Some(first), Some(last)) => first.span.to(last.span),
        _ => Span::default(),
    }
}

/// The values of defaults, where they are numbers that can be computed here.
#[derive(Debug, Default)]
struct Defaults {
    hypers: Vec<Option<f64>>,
    statics: Vec<Option<f64>>,
}

impl Defaults {
    fn of(&self, expr: &hir::Expr) -> Option<f64> {
        evaluate(expr, &|kind| match kind {
            ExprKind::Hyper(index) => *self.hypers.get(*index)?,
            ExprKind::Static(index) => *self.statics.get(*index)?,
            _ => None,
        })
    }
}

/// Hyperparameters and statics of an optimizer.
pub(super) fn settings(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
) {
    let mut defaults = Defaults::default();
    duplicates(cx, items.file, optimizer);
    for (index, hyper) in optimizer.hypers.iter().enumerate() {
        let checked = check_hyper(cx, items, id, optimizer, index, hyper, &mut defaults);
        cx.program.optimizers[id].hypers.push(checked);
    }
    for (index, entry) in optimizer.statics.iter().enumerate() {
        let checked = check_static(cx, items, id, optimizer, index, entry, &mut defaults);
        cx.program.optimizers[id].statics.push(checked);
    }
    let zero = optimizer
        .absent_grad
        .as_ref()
        .is_some_and(|policy| absent_grad(cx, items.file, policy));
    cx.program.optimizers[id].absent_grad_is_zero = zero;
}

fn duplicates(cx: &mut Context, file: FileId, optimizer: &ast::Optimizer) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for name in setting_names(optimizer) {
        if let Some(origin) = seen.insert(&name.text, name.span) {
            let (name, at) = (name.text.clone(), name.span);
            cx.sink.report(
                file,
                CheckError::Duplicate {
                    name,
                    at,
                    origin: Some(origin),
                },
            );
        }
    }
}

fn setting_names(optimizer: &ast::Optimizer) -> impl Iterator<Item = &Name> {
    optimizer
        .hypers
        .iter()
        .map(|hyper| &hyper.name)
        .chain(optimizer.statics.iter().map(|entry| &entry.name))
}

fn absent_grad(cx: &mut Context, file: FileId, policy: &Name) -> bool {
    if !matches!(policy.text.as_str(), "zeros" | "skip") {
        let help = did_you_mean(&policy.text, ["zeros", "skip"], "write `zeros` or `skip`");
        let (name, words, at) = (
            policy.text.clone(),
            "`zeros`, `skip`".to_owned(),
            policy.span,
        );
        cx.sink.report(
            file,
            CheckError::UnknownWord {
                name,
                words,
                help,
                at,
            },
        );
    }
    policy.text == "zeros"
}

/// A body in which the first settings of an optimizer are visible and the others are known to come later.
fn setting_body<'a>(
    cx: &'a mut Context,
    items: &'a Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
    visible: (usize, usize),
    room: &'static str,
) -> Body<'a> {
    let mut body = Body::new(cx, items, Room::Setting(room));
    body.optimizer = Some(id);
    let (hypers, statics) = visible;
    for (index, hyper) in optimizer.hypers.iter().enumerate() {
        let binding = if index < hypers {
            Binding::Hyper(index)
        } else {
            Binding::Later
        };
        let _ = body
            .names
            .declare(&hyper.name.text, binding, Some(hyper.name.span));
    }
    let in_hyper = hypers < optimizer.hypers.len() || room == HYPER;
    for (index, entry) in optimizer.statics.iter().enumerate() {
        let later = if in_hyper {
            Binding::Hidden
        } else {
            Binding::Later
        };
        let binding = if index < statics {
            Binding::Static(index)
        } else {
            later
        };
        let _ = body
            .names
            .declare(&entry.name.text, binding, Some(entry.name.span));
    }
    body
}

const HYPER: &str = "the default of a hyperparameter";
const STATIC: &str = "the default of a static";

fn check_hyper(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
    index: usize,
    hyper: &ast::Hyper,
    defaults: &mut Defaults,
) -> Hyper {
    let mut body = setting_body(cx, items, id, optimizer, (index, 0), HYPER);
    let default = body.expr_as(&hyper.default, &Type::Float);
    body.require(&default, Level::Hyper, "a default");
    let range = hyper.range.as_ref().map(|range| body.range(range));
    let value = defaults.of(&default);
    body.check_default(
        &hyper.name,
        &hyper.default,
        value,
        range.zip(hyper.range.as_ref().map(|range| range.span)),
    );
    defaults.hypers.push(value);
    Hyper {
        name: hyper.name.text.clone(),
        docs: hyper.docs.clone(),
        default,
        range,
    }
}

fn check_static(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
    index: usize,
    entry: &ast::Static,
    defaults: &mut Defaults,
) -> Static {
    let mut body = setting_body(
        cx,
        items,
        id,
        optimizer,
        (optimizer.hypers.len(), index),
        STATIC,
    );
    let ty = body.static_type(&entry.ty);
    let default = body.expr_as(&entry.default, &ty.clone().map_or(Type::Error, value_type));
    body.require(&default, Level::Hyper, "a default");
    let range = entry.range.as_ref().map(|range| body.range(range));
    let value = defaults.of(&default);
    body.check_default(
        &entry.name,
        &entry.default,
        value,
        range.zip(entry.range.as_ref().map(|range| range.span)),
    );
    defaults.statics.push(value);
    let ty = ty.unwrap_or(StaticType::Float);
    Static {
        name: entry.name.text.clone(),
        docs: entry.docs.clone(),
        ty,
        default,
        range,
    }
}

/// The type of a static where it is used.
pub(super) fn value_type(ty: StaticType) -> Type {
    match ty {
        StaticType::Int => Type::Int,
        StaticType::Float => Type::Float,
        StaticType::Bool => Type::Bool,
        StaticType::Choice(names) => Type::Choice(names),
        StaticType::Table(width) => Type::Table(width),
        StaticType::DType => Type::DType,
    }
}

impl Body<'_> {
    fn check_default(
        &mut self,
        name: &Name,
        written: &ast::Expr,
        value: Option<f64>,
        range: Option<(Range, Span)>,
    ) {
        if let (Some(value), Some((range, origin))) = (value, range)
            && !range.contains(value)
            && !(range.lo > range.hi)
        {
            let (name, at) = (name.text.clone(), written.span);
            let (value, range) = (value.to_string(), range.to_string());
            self.report(CheckError::DefaultOutOfRange {
                name,
                value,
                range,
                at,
                origin,
            });
        }
    }

    fn static_type(&mut self, ty: &ast::Type) -> Option<StaticType> {
        match self.host_type(
            ty,
            "`int`, `float`, `bool`, `dtype`, `choice(a, b)` or `table(3)`",
        )? {
            Type::Int => Some(StaticType::Int),
            Type::Float => Some(StaticType::Float),
            Type::Bool => Some(StaticType::Bool),
            Type::Choice(names) => Some(StaticType::Choice(names)),
            Type::Table(width) => Some(StaticType::Table(width)),
            Type::DType => Some(StaticType::DType),
            _ => None,
        }
    }
}

/// Warns of settings that nothing reads.
pub(super) fn unused_settings(
    cx: &mut Context,
    file: FileId,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
) {
    for (index, hyper) in optimizer.hypers.iter().enumerate() {
        if !cx.used.contains(&(id, Setting::Hyper(index))) {
            let (name, at) = (hyper.name.text.clone(), hyper.name.span);
            cx.sink.report(file, CheckError::UnusedHyper { name, at });
        }
    }
    for (index, entry) in optimizer.statics.iter().enumerate() {
        if !cx.used.contains(&(id, Setting::Static(index))) {
            let (name, at) = (entry.name.text.clone(), entry.name.span);
            cx.sink.report(file, CheckError::UnusedStatic { name, at });
        }
    }
}
