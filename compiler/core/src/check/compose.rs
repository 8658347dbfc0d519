//! Optimizers that take optimizers: what a composition is made of, and what can be set in it.
//!
//! A composition is an optimizer like any other: it has the rules of the one that takes the others, and the options of
//! all of them. So nothing behind `check` needs to know how an optimizer came about, but for [`hir::Base`].

use super::body::{Body, Context, Room};
use super::error::CheckError;
use super::item_name;
use super::items::Items;
use super::names::did_you_mean;
use super::settings::value_type;
use super::{graph, walk};
use crate::hir::{
    self, Base, Block, Expr, ExprKind, Hyper, Optimizer, OptimizerId, Static, StmtKind,
};
use optc_grammar::ast::{self, Composed, Item, Name, Span};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// A composition of more optimizers than this is no optimizer, but a way to exhaust the compiler.
const MOST_OPTIMIZERS: u64 = 64;

/// What the rules of an optimizer ask of one that it takes.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// Hyperparameters that it sets where it applies it.
    sets: HashSet<String>,
    /// Hyperparameters that it reads.
    reads: HashSet<String>,
}

impl Needs {
    /// Whether the hyperparameter has no other value than those set at each step.
    fn ties(&self, name: &str) -> bool {
        self.sets.contains(name) && !self.reads.contains(name)
    }
}

/// What the rules of an optimizer ask of each that it takes.
fn needs(optimizer: &ast::Optimizer) -> Vec<Needs> {
    let mut found = vec![Needs::default(); optimizer.bases.len()];
    let index = |name: &str| {
        let mut bases = optimizer.bases.iter();
        bases.position(|base| base.name.text == name)
    };
    let mut look = |expr: &ast::Expr| match &expr.kind {
        ast::ExprKind::Call { callee, args } => {
            if let Some(base) = index(&callee.text) {
                let names = args.iter().filter_map(|arg| arg.name.as_ref());
                found[base].sets.extend(names.map(|name| name.text.clone()));
            }
        }
        ast::ExprKind::Field(of, field) => {
            if let ast::ExprKind::Name(name) = &of.kind
                && let Some(base) = index(name)
            {
                found[base].reads.insert(field.text.clone());
            }
        }
        _ => {}
    };
    for rule in &optimizer.rules {
        match &rule.body {
            ast::RuleBody::Block(block) => walk::block(block, &mut look),
            ast::RuleBody::Delegate { args, .. } => args
                .iter()
                .for_each(|(_, value)| walk::expr(value, &mut look)),
        }
    }
    found
}

/// The optimizers of a file so that each comes after those that it is made of; a circle is reported.
pub(super) fn order<'a>(cx: &mut Context, items: &Items, file: &'a ast::Module) -> Vec<&'a Item> {
    // A name declared twice was reported; its first meaning counts.
    let mut own: Vec<(&str, &Item)> = Vec::new();
    let mut indices: HashMap<&str, usize> = HashMap::new();
    for (name, item) in file
        .items
        .iter()
        .filter_map(|item| Some((item_name(item)?, item)))
    {
        if let Entry::Vacant(place) = indices.entry(name) {
            place.insert(own.len());
            own.push((name, item));
        }
    }
    let parts: Vec<Vec<(usize, Span)>> = own
        .iter()
        .map(|(_, item)| {
            let mut found = Vec::new();
            made_of(item, &mut |name, span| {
                found.extend(indices.get(name).map(|at| (*at, span)));
            });
            found
        })
        .collect();
    let edges: Vec<Vec<usize>> = parts
        .iter()
        .map(|parts| parts.iter().map(|(part, _)| *part).collect())
        .collect();
    let found = graph::order(&edges);
    for circle in found.circles {
        let names = circle.path.iter().map(|at| own[*at].0);
        let ids = names.clone().filter_map(|name| items.optimizers.get(name));
        cx.broken.extend(ids);
        let path = super::rules::show_path(names);
        let at = parts[circle.closed_by.0][circle.closed_by.1].1;
        cx.sink
            .report(items.file, CheckError::CompositionCycle { path, at });
    }
    found.nodes.into_iter().map(|at| own[at].1).collect()
}

/// The optimizers that an item is made of by name.
fn made_of(item: &Item, visit: &mut dyn FnMut(&str, Span)) {
    match item {
        Item::Composition(composition) => names_in(&composition.value, visit),
        Item::Optimizer(optimizer) => {
            for base in &optimizer.bases {
                names_in(&base.default, visit);
            }
        }
        _ => {}
    }
}

fn names_in(composed: &Composed, visit: &mut dyn FnMut(&str, Span)) {
    visit(&composed.target.text, composed.target.span);
    for (_, value) in &composed.settings {
        match &value.kind {
            ast::ExprKind::Composed(inner) => names_in(inner, visit),
            ast::ExprKind::Name(name) => visit(name, value.span),
            ast::ExprKind::Call { callee, .. } => visit(&callee.text, callee.span),
            _ => {}
        }
    }
}

/// Adds the options of the optimizers that an optimizer takes by default; its own settings are checked.
pub(super) fn defaults(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    optimizer: &ast::Optimizer,
) {
    cx.needs.insert(id, needs(optimizer));
    let mut maker = Maker { cx, items };
    let mut bases = Vec::new();
    for base in &optimizer.bases {
        let Some(taken) = maker.value(&base.default) else {
            continue;
        };
        maker.satisfies(id, bases.len(), taken, base.default.span);
        bases.push((base.name.text.clone(), taken));
    }
    if bases.len() == optimizer.bases.len() {
        maker.take(id, id, bases, optimizer.name.span);
    }
}

/// `optimizer SamSoap = Sam(base = Soap)`: the item's own optimizer becomes what it says.
pub(super) fn composition(
    cx: &mut Context,
    items: &Items,
    id: OptimizerId,
    item: &ast::Composition,
) {
    let mut maker = Maker { cx, items };
    let Some(made) = maker.value(&item.value) else {
        maker.cx.broken.insert(id);
        return;
    };
    let named = maker.cx.program.optimizers[id].clone();
    let docs = match (&item.docs, &named.docs) {
        (own, _) if !own.is_empty() => own.clone(),
        (_, of_file) => of_file.clone(),
    };
    let (name, file, span) = (named.name, named.file, named.span);
    maker.cx.program.optimizers[id] = Optimizer {
        name,
        docs,
        file,
        span,
        ..maker.cx.program.optimizers[made].clone()
    };
    let weight = maker.weight(made);
    maker.cx.weights.insert(id, weight);
    let of = maker.cx.origin(made);
    maker.cx.origins.insert(id, of);
    // What was made for this name is spoken of once.
    if let Some(place) = maker.cx.places.remove(&made) {
        maker.cx.places.insert(id, place);
    }
}

/// Gives every composition the rules of the optimizer that takes the others.
pub(super) fn finish(cx: &mut Context) {
    let origins: Vec<(OptimizerId, OptimizerId)> =
        cx.origins.iter().map(|(made, of)| (*made, *of)).collect();
    for (made, of) in origins {
        let from = &cx.program.optimizers[of];
        let (rules, shared, sums) = (from.rules.clone(), from.shared.clone(), from.sums);
        let into = &mut cx.program.optimizers[made];
        (into.rules, into.shared, into.sums) = (rules, shared, sums);
    }
}

impl Context {
    /// The optimizer whose rules a composition has.
    pub(super) fn origin(&self, id: OptimizerId) -> OptimizerId {
        self.origins.get(&id).copied().unwrap_or(id)
    }
}

/// Makes compositions of one file.
pub(super) struct Maker<'a> {
    pub(super) cx: &'a mut Context,
    pub(super) items: &'a Items,
}

impl Maker<'_> {
    fn report(&mut self, error: CheckError) {
        self.cx.sink.report(self.items.file, error);
    }

    /// The optimizer that a composition means; `None` after a report.
    fn value(&mut self, composed: &Composed) -> Option<OptimizerId> {
        let id = self.named(&composed.target)?;
        let (given, rest): (Vec<_>, Vec<_>) = composed
            .settings
            .iter()
            .partition(|(name, _)| self.base_of(id, &name.text).is_some());
        let made = self.with_bases(id, &given, composed.span)?;
        if rest.is_empty() {
            return Some(made);
        }
        let made = if made == id { self.copy(id) } else { made };
        self.cx
            .places
            .insert(made, (self.items.file, composed.span));
        for (name, value) in rest {
            self.set(made, name, value);
        }
        Some(made)
    }

    fn base_of(&self, id: OptimizerId, name: &str) -> Option<usize> {
        let bases = &self.cx.program.optimizers[id].bases;
        bases.iter().position(|base| base.name == name)
    }

    fn named(&mut self, name: &Name) -> Option<OptimizerId> {
        if self.items.missing.contains(&name.text) {
            return None;
        }
        match self.items.optimizers.get(&name.text) {
            Some(id) if self.cx.broken.contains(id) => None,
            Some(id) => Some(*id),
            None => {
                let known = self.items.optimizers.keys().map(String::as_str);
                let help = did_you_mean(&name.text, known, "import an optimizer with `use`");
                let (name, at) = (name.text.clone(), name.span);
                self.report(CheckError::UnknownTarget { name, help, at });
                None
            }
        }
    }

    /// The optimizer with others in the place of some that it takes.
    pub(super) fn with_bases(
        &mut self,
        id: OptimizerId,
        given: &[&(Name, ast::Expr)],
        at: Span,
    ) -> Option<OptimizerId> {
        if given.is_empty() {
            return Some(id);
        }
        let bases = self.cx.program.optimizers[id].bases.clone();
        let mut taken: Vec<(String, OptimizerId)> = bases
            .into_iter()
            .map(|base| (base.name, base.optimizer))
            .collect();
        let mut seen = HashSet::new();
        for (name, value) in given {
            let base = self.base_of(id, &name.text)?;
            if !seen.insert(base) {
                let (name, at) = (name.text.clone(), name.span);
                self.report(CheckError::Duplicate {
                    name,
                    at,
                    origin: None,
                });
            }
            taken[base].1 = self.argument(name, value)?;
            self.satisfies(id, base, taken[base].1, value.span);
        }
        let made = self.copy(id);
        self.cx.places.insert(made, (self.items.file, at));
        self.take(made, id, taken, at).then_some(made)
    }

    /// The value of an optimizer's parameter.
    fn argument(&mut self, name: &Name, value: &ast::Expr) -> Option<OptimizerId> {
        let alone = |text: &str, span| Composed {
            target: Name {
                text: text.to_owned(),
                span,
            },
            settings: Vec::new(),
            span,
        };
        match &value.kind {
            ast::ExprKind::Composed(composed) => self.value(composed),
            ast::ExprKind::Name(text) => self.value(&alone(text, value.span)),
            ast::ExprKind::Call { callee, args } if args.is_empty() => {
                self.value(&alone(&callee.text, callee.span))
            }
            _ => {
                let help = self.optimizer_wanted(&name.text, value);
                let (name, at) = (name.text.clone(), value.span);
                self.report(CheckError::NeedsOptimizer { name, help, at });
                None
            }
        }
    }

    /// How the value of an optimizer's parameter is written; a path such as `std.adamw.AdamW` is imported first.
    fn optimizer_wanted(&self, name: &str, value: &ast::Expr) -> String {
        match &value.kind {
            ast::ExprKind::Field(_, optimizer) => {
                let (path, optimizer) = (
                    self.cx.sink.text(self.items.file, value.span),
                    &optimizer.text,
                );
                format!(
                    "write `use {path}` at the top of the file, and `{name} = {optimizer}` here"
                )
            }
            _ => format!("name one, with settings if need be: `{name} = AdamW(lr = 1e-3)`"),
        }
    }

    /// Reports hyperparameters that an optimizer sets or reads in one that it takes, where that has none.
    fn satisfies(&mut self, id: OptimizerId, base: usize, taken: OptimizerId, at: Span) {
        let by = self.cx.origin(id);
        let needs = self.cx.needs.get(&by).and_then(|needs| needs.get(base));
        let wanted = needs
            .into_iter()
            .flat_map(|needs| needs.sets.iter().chain(&needs.reads));
        let other = &self.cx.program.optimizers[taken];
        let lacks = |name: &&String| !other.hypers.iter().any(|hyper| hyper.is(name));
        let mut missing: Vec<String> = wanted.filter(lacks).cloned().collect();
        missing.sort();
        missing.dedup();
        let by = self.cx.program.optimizers[by].name.clone();
        let of = other.name.clone();
        for name in missing {
            let (of, by) = (of.clone(), by.clone());
            self.report(CheckError::MissingSetting { of, name, by, at });
        }
    }

    fn copy(&mut self, id: OptimizerId) -> OptimizerId {
        let of = self.cx.origin(id);
        let copy = self.cx.program.optimizers[id].clone();
        let made = self.cx.program.optimizers.push(copy);
        self.cx.origins.insert(made, of);
        let weight = self.weight(id);
        self.cx.weights.insert(made, weight);
        made
    }

    /// How many optimizers it is made of, itself included.
    fn weight(&self, id: OptimizerId) -> u64 {
        self.cx.weights.get(&id).copied().unwrap_or(1)
    }

    /// Makes `into` what `id` is with these optimizers to take; false if they are too many.
    fn take(
        &mut self,
        into: OptimizerId,
        id: OptimizerId,
        taken: Vec<(String, OptimizerId)>,
        at: Span,
    ) -> bool {
        let parts = taken.iter().map(|(_, id)| self.weight(*id));
        let weight = parts.fold(1, |sum: u64, part| sum.saturating_add(part));
        self.cx.weights.insert(into, weight);
        if weight > MOST_OPTIMIZERS {
            let limit = MOST_OPTIMIZERS;
            self.cx.broken.insert(into);
            self.report(CheckError::TooManyOptimizers { limit, at });
            return false;
        }
        let of = self.cx.origin(id);
        let needs = self.cx.needs.get(&of).cloned().unwrap_or_default();
        let options = Options::of(&self.cx.program, id, &taken, &needs);
        let optimizers = &self.cx.program.optimizers;
        let mut inherited = taken.iter().map(|(_, taken)| &optimizers[*taken]);
        let absent = match self.cx.absent.get(&of) {
            Some(own) => *own,
            None => inherited.any(|taken| taken.absent_grad_is_zero),
        };
        let inherited = taken
            .iter()
            .map(|(_, taken)| optimizers[*taken].nonfinite_grad);
        let nonfinite = match self.cx.nonfinite.get(&of) {
            Some(own) => *own,
            None => inherited.max().unwrap_or_default(),
        };
        let made = &mut self.cx.program.optimizers[into];
        (made.hypers, made.statics, made.bases) = (options.hypers, options.statics, options.bases);
        made.absent_grad_is_zero = absent;
        made.nonfinite_grad = nonfinite;
        true
    }

    /// Another default for an option, of the optimizer itself or of one that it takes.
    fn set(&mut self, id: OptimizerId, name: &Name, value: &ast::Expr) {
        let optimizer = &self.cx.program.optimizers[id];
        let hyper = optimizer
            .hypers
            .iter()
            .position(|hyper| hyper.is(&name.text));
        let entry = optimizer
            .statics
            .iter()
            .position(|entry| entry.is(&name.text));
        let (ty, range, path) = match (hyper, entry) {
            (Some(index), _) => {
                let hyper = &optimizer.hypers[index];
                (hir::Type::Float, hyper.range, hyper.path.clone())
            }
            (None, Some(index)) => {
                let declared = &optimizer.statics[index];
                let ty = value_type(declared.ty.clone());
                (ty, declared.range, declared.path.clone())
            }
            (None, None) => {
                let mut body = Body::new(self.cx, self.items, Room::Setting("a setting"));
                return body.unknown_setting(id, name);
            }
        };
        let mut body = Body::new(self.cx, self.items, Room::Setting("a setting"));
        let checked = body.expr_as(value, &ty);
        body.check_setting(id, name, &checked, range);
        self.set_path(id, &path, checked);
    }

    fn set_path(&mut self, id: OptimizerId, path: &str, value: Expr) {
        let Some((base, rest)) = path.split_once('.') else {
            let optimizer = &mut self.cx.program.optimizers[id];
            let hypers = optimizer
                .hypers
                .iter_mut()
                .filter(|hyper| hyper.path == path);
            let mut places = hypers.map(|hyper| &mut hyper.default).chain(
                optimizer
                    .statics
                    .iter_mut()
                    .filter(|entry| entry.path == path)
                    .map(|entry| &mut entry.default),
            );
            if let Some(default) = places.next() {
                *default = value;
            }
            return;
        };
        let bases = self.cx.program.optimizers[id].bases.clone();
        let mut taken: Vec<(String, OptimizerId)> = bases
            .into_iter()
            .map(|base| (base.name, base.optimizer))
            .collect();
        if let Some((_, part)) = taken.iter_mut().find(|(name, _)| name == base) {
            *part = self.copy(*part);
            self.set_path(*part, rest, value);
        }
        let at = self.cx.program.optimizers[id].span;
        self.take(id, id, taken, at);
    }
}

/// The options of an optimizer and of those that it takes.
struct Options {
    hypers: Vec<Hyper>,
    statics: Vec<Static>,
    bases: Vec<Base>,
}

impl Options {
    fn of(
        program: &hir::Program,
        id: OptimizerId,
        taken: &[(String, OptimizerId)],
        needs: &[Needs],
    ) -> Options {
        let optimizer = &program.optimizers[id];
        let own = |path: &str| !path.contains('.');
        let hypers = optimizer.hypers.iter().filter(|hyper| own(&hyper.path));
        let statics = optimizer.statics.iter().filter(|entry| own(&entry.path));
        let mut all = Options {
            hypers: hypers.cloned().collect(),
            statics: statics.cloned().collect(),
            bases: Vec::new(),
        };
        for (n, (name, taken)) in taken.iter().enumerate() {
            let ties = |hyper: &str| needs.get(n).is_some_and(|needs| needs.ties(hyper));
            all.add(name, *taken, &program.optimizers[*taken], ties);
        }
        all.rename();
        all
    }

    fn add(
        &mut self,
        name: &str,
        optimizer: OptimizerId,
        taken: &Optimizer,
        ties: impl Fn(&str) -> bool,
    ) {
        let mut next = self.hypers.len()..;
        let place = |hyper: &Hyper| (!ties(&hyper.name)).then(|| next.next()).flatten();
        let hypers: Vec<Option<usize>> = taken.hypers.iter().map(place).collect();
        let statics: Vec<usize> = (self.statics.len()..).take(taken.statics.len()).collect();
        let moved = Moved {
            taken,
            hypers: &hypers,
            statics: &statics,
        };
        let free = taken
            .hypers
            .iter()
            .zip(&hypers)
            .filter(|(_, at)| at.is_some());
        self.hypers.extend(free.map(|(hyper, _)| Hyper {
            path: format!("{name}.{}", hyper.path),
            default: moved.expr(&hyper.default),
            ..hyper.clone()
        }));
        self.statics
            .extend(taken.statics.iter().map(|entry| Static {
                path: format!("{name}.{}", entry.path),
                default: moved.expr(&entry.default),
                ..entry.clone()
            }));
        let name = name.to_owned();
        self.bases.push(Base {
            name,
            optimizer,
            hypers,
            statics,
        });
    }

    /// The last part of a path is enough where no other option has it.
    fn rename(&mut self) {
        let mut count: HashMap<String, usize> = HashMap::new();
        let paths = self.hypers.iter().map(|hyper| &hyper.path);
        for path in paths.chain(self.statics.iter().map(|entry| &entry.path)) {
            *count.entry(last(path).to_owned()).or_default() += 1;
        }
        let name = |path: &str| match count.get(last(path)) {
            Some(1) => last(path).to_owned(),
            _ => path.to_owned(),
        };
        for hyper in &mut self.hypers {
            hyper.name = name(&hyper.path);
        }
        for entry in &mut self.statics {
            entry.name = name(&entry.path);
        }
    }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Defaults of an optimizer as expressions over the options of the one that takes it.
struct Moved<'a> {
    taken: &'a Optimizer,
    hypers: &'a [Option<usize>],
    statics: &'a [usize],
}

impl Moved<'_> {
    fn expr(&self, expr: &Expr) -> Expr {
        let kind = match &expr.kind {
            ExprKind::Hyper(index) => match self.hypers[*index] {
                Some(at) => ExprKind::Hyper(at),
                // It has no value before the rules run: what follows it begins at its default.
                None => return self.expr(&self.taken.hypers[*index].default),
            },
            ExprKind::Static(index) => ExprKind::Static(self.statics[*index]),
            ExprKind::Unary(op, x) => ExprKind::Unary(*op, self.boxed(x)),
            ExprKind::Binary(op, x, y) => ExprKind::Binary(*op, self.boxed(x), self.boxed(y)),
            ExprKind::If {
                cond,
                then,
                otherwise,
            } => ExprKind::If {
                cond: self.boxed(cond),
                then: self.block(then),
                otherwise: self.block(otherwise),
            },
            ExprKind::Call(function, args) => ExprKind::Call(*function, self.all(args)),
            ExprKind::Builtin(builtin, args) => ExprKind::Builtin(*builtin, self.all(args)),
            other => other.clone(),
        };
        Expr {
            kind,
            ty: expr.ty.clone(),
            span: expr.span,
        }
    }

    fn boxed(&self, expr: &Expr) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    fn all(&self, exprs: &[Expr]) -> Vec<Expr> {
        exprs.iter().map(|expr| self.expr(expr)).collect()
    }

    fn block(&self, block: &Block) -> Block {
        let mut moved = block.clone();
        for stmt in &mut moved.stmts {
            if let StmtKind::Let(_, value) | StmtKind::Assign(_, value) = &mut stmt.kind {
                *value = self.expr(value);
            }
        }
        moved.tail = block.tail.as_ref().map(|tail| self.boxed(tail));
        moved
    }
}
