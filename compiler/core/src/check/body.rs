//! What is known while the statements and expressions of one rule, function or setting are checked.

use super::compose::Needs;
use super::diagnostics::{Fault, Sink};
use super::error::CheckError;
use super::items::{FunctionInfo, Items};
use super::names::{Binding, Entry, Names, did_you_mean};
use super::phase::{Level, Phase};
use super::unused::Unused;
use crate::hir::{
    self, Dim, FileId, Local, LocalData, Modes, ModesId, NonfiniteGrad, OptimizerId, Place, Shape,
    StateId, Symbol, Type,
};
use cranelift_entity::PrimaryMap;
use optc_grammar::ast::{self, Span};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A rule with more operations is no optimizer, but a way to exhaust the compiler.
const MOST_OPERATIONS: u64 = 100_000;

/// The size of what was reported as too large.
const TOO_LARGE: u64 = u64::MAX;

/// What checking a program builds.
pub(super) struct Context {
    pub(super) program: hir::Program,
    /// By function.
    pub(super) functions: PrimaryMap<hir::FunctionId, FunctionInfo>,
    /// Hyperparameters and statics that something reads.
    pub(super) used: HashSet<(OptimizerId, Setting)>,
    /// What the rules of an optimizer ask of those that it takes.
    pub(super) needs: HashMap<OptimizerId, Vec<Needs>>,
    /// The optimizer whose rules a composition has.
    pub(super) origins: BTreeMap<OptimizerId, OptimizerId>,
    /// How many optimizers one is made of, itself included, if more than one.
    pub(super) weights: HashMap<OptimizerId, u64>,
    /// Compositions that were reported.
    pub(super) broken: HashSet<OptimizerId>,
    /// Where a composition is written that has no name.
    pub(super) places: HashMap<OptimizerId, (FileId, Span)>,
    /// What optimizers say themselves of absent gradients.
    pub(super) absent: HashMap<OptimizerId, bool>,
    /// The same of gradients that are not finite.
    pub(super) nonfinite: HashMap<OptimizerId, NonfiniteGrad>,
    /// What optimizers apply to something computed, by index.
    pub(super) homeless: HashMap<OptimizerId, Vec<usize>>,
    /// The rule that assigns a shared number, and where.
    pub(super) shared_by: HashMap<(OptimizerId, usize), (usize, Span)>,
    pub(super) sink: Sink,
}

/// A hyperparameter or static of an optimizer, by index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Setting {
    Hyper(usize),
    Static(usize),
}

/// Which kind of place a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Rule,
    Function,
    Component,
    /// A default, guard or bound: only host values.
    Setting(&'static str),
}

impl Room {
    pub(super) fn name(self) -> &'static str {
        match self {
            Room::Rule => "a rule",
            Room::Function => "a function",
            Room::Component => "a component",
            Room::Setting(name) => name,
        }
    }
}

/// Which statements the current block may hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flow {
    /// Why state cannot be declared here.
    pub(super) no_state: Option<&'static str>,
    /// Why a component cannot be used here.
    pub(super) no_use: Option<&'static str>,
    /// Inside `repeat` or `each`, which `skip` cannot leave.
    pub(super) in_loop: bool,
    /// Inside a loop that the device ends: host variables from before it keep their values.
    pub(super) device_loop: Option<u32>,
    /// How many blocks with a value stand around.
    pub(super) value_depth: u32,
}

/// What is known of a local besides its type.
#[derive(Debug, Clone)]
pub(super) struct LocalInfo {
    pub(super) phase: Phase,
    /// [`Flow::value_depth`] at its declaration.
    pub(super) value_depth: u32,
    /// An unused name is worth a warning.
    pub(super) warn: bool,
}

/// The parameter of a rule.
#[derive(Debug, Clone)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) shape: Shape,
}

/// One rule, function or setting while it is checked.
pub(super) struct Body<'a> {
    pub(super) cx: &'a mut Context,
    pub(super) items: &'a Items,
    pub(super) file: FileId,
    pub(super) room: Room,
    pub(super) optimizer: Option<OptimizerId>,
    pub(super) function: Option<hir::FunctionId>,
    pub(super) names: Names,
    pub(super) param: Option<Param>,
    pub(super) symbols: PrimaryMap<Symbol, String>,
    pub(super) locals: PrimaryMap<Local, LocalData>,
    pub(super) local_info: PrimaryMap<Local, LocalInfo>,
    pub(super) states: PrimaryMap<StateId, hir::State>,
    pub(super) modes: PrimaryMap<ModesId, Modes>,
    /// The chosen mode, inside `each` and `modes`.
    pub(super) mode: Option<(ModesId, Span)>,
    pub(super) flow: Flow,
    /// An initial value of state is checked: it is computed before the rule runs.
    pub(super) in_init: bool,
    /// The state whose assignment is checked: what `or keep` keeps.
    pub(super) kept: Option<Place>,
    /// A factorization was met.
    pub(super) can_fail: bool,
    /// Operations when all calls and loops are written out, as far as their number is known here.
    pub(super) size: u64,
    /// How often the statement being checked is written out.
    pub(super) copies: u64,
    /// Something assigns the parameter.
    pub(super) updates: bool,
    /// Something assigns the parameter or state.
    pub(super) changes: bool,
    /// An entry of a rule is checked.
    pub(super) in_entry: bool,
    /// Where each optimizer that the optimizer takes is applied.
    pub(super) applied: BTreeMap<usize, Span>,
    /// Where each component is used, by what stands before the names of its state.
    pub(super) uses: BTreeMap<String, Span>,
    /// The name that the value being checked is bound to.
    pub(super) bound_as: Option<String>,
    /// A call of `stochastic` is all that is assigned to the parameter or to state.
    pub(super) rounds: bool,
    /// State that is assigned somewhere.
    pub(super) assigned: HashSet<StateId>,
    /// A `skip` may have ended the rule before this place.
    pub(super) may_have_ended: bool,
    /// The lengths that are known only by themselves, as written.
    pub(super) fresh: Vec<String>,
    fresh_by_key: HashMap<String, u32>,
    /// All declarations of the body, filled when first needed.
    pub(super) later: Option<HashMap<String, Span>>,
    pub(super) source: Option<&'a ast::Block>,
}

impl<'a> Body<'a> {
    pub(super) fn new(cx: &'a mut Context, items: &'a Items, room: Room) -> Self {
        Self {
            cx,
            file: items.file,
            items,
            room,
            optimizer: None,
            function: None,
            names: Names::default(),
            param: None,
            symbols: PrimaryMap::new(),
            locals: PrimaryMap::new(),
            local_info: PrimaryMap::new(),
            states: PrimaryMap::new(),
            modes: PrimaryMap::new(),
            mode: None,
            flow: Flow::default(),
            in_init: false,
            kept: None,
            can_fail: false,
            size: 0,
            copies: 1,
            updates: false,
            changes: false,
            in_entry: false,
            applied: BTreeMap::new(),
            uses: BTreeMap::new(),
            bound_as: None,
            rounds: false,
            assigned: HashSet::new(),
            may_have_ended: false,
            fresh: Vec::new(),
            fresh_by_key: HashMap::new(),
            later: None,
            source: None,
        }
    }

    pub(super) fn report(&mut self, error: CheckError) {
        self.cx.sink.report(self.file, Fault::Check(error));
    }

    /// Reports a body that grows too large, unless one that it calls was reported.
    pub(super) fn check_size(&mut self, name: &ast::Name) {
        if (MOST_OPERATIONS..TOO_LARGE).contains(&self.size) {
            let (name, limit, at) = (name.text.clone(), MOST_OPERATIONS, name.span);
            self.report(CheckError::TooLarge { name, limit, at });
            self.size = TOO_LARGE;
        }
    }

    /// Makes a name visible, or reports that it is taken.
    pub(super) fn declare(&mut self, name: &ast::Name, binding: Binding) {
        if let Err(entry) = self.names.declare(&name.text, binding, Some(name.span)) {
            self.report(CheckError::Duplicate {
                name: name.text.clone(),
                at: name.span,
                origin: entry.span,
            });
        }
    }

    /// A new local, visible to the end of the block.
    pub(super) fn add_local(
        &mut self,
        name: &ast::Name,
        ty: Type,
        mutable: bool,
        phase: Phase,
        warn: bool,
    ) -> Local {
        let local = self.locals.push(LocalData {
            name: name.text.clone(),
            ty,
            mutable,
        });
        let warn = warn && !name.text.starts_with('_');
        self.local_info.push(LocalInfo {
            phase,
            value_depth: self.flow.value_depth,
            warn,
        });
        self.declare(name, Binding::Local(local));
        local
    }

    /// The dimension of that name, new or known.
    pub(super) fn add_symbol(&mut self, name: &ast::Name) -> Symbol {
        if let Some(Entry {
            binding: Binding::Symbol(symbol),
            ..
        }) = self.names.get(&name.text)
        {
            return symbol;
        }
        let symbol = self.symbols.push(name.text.clone());
        self.declare(name, Binding::Symbol(symbol));
        symbol
    }

    /// Runs `check` in a block of its own, with changed rules for its statements.
    pub(super) fn within<T>(&mut self, flow: Flow, check: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.flow, flow);
        self.names.enter();
        let result = check(self);
        self.leave();
        self.flow = outer;
        result
    }

    fn leave(&mut self) {
        for (name, entry) in self.names.leave() {
            match (entry.used, entry.span) {
                (false, Some(at)) => self.warn_unused(name, entry.binding, at),
                (true, Some(at)) => self.warn_constant(name, entry.binding, at),
                _ => {}
            }
        }
    }

    fn warn_unused(&mut self, name: String, binding: Binding, at: Span) {
        match binding {
            Binding::Local(local) if self.local_info[local].warn => {
                self.report(Unused::Local { name, at }.into())
            }
            Binding::State(_) => self.report(Unused::State { name, at }.into()),
            _ => {}
        }
    }

    /// State that is read and has the same value for ever.
    fn warn_constant(&mut self, name: String, binding: Binding, at: Span) {
        if let Binding::State(state) = binding
            && !self.assigned.contains(&state)
            && super::state::is_constant(&self.states[state].init)
        {
            self.report(Unused::NeverAssigned { name, at }.into());
        }
    }

    /// What a name stands for; one that is unknown or unusable here is reported.
    pub(super) fn resolve(&mut self, name: &str, at: Span) -> Option<Entry> {
        let Some(entry) = self.names.get(name) else {
            let error = self.unknown(name, at);
            self.report(error);
            return None;
        };
        self.names.mark_used(name);
        match (entry.binding, self.optimizer) {
            (Binding::Hyper(index), Some(id)) => self.use_setting(id, Setting::Hyper(index)),
            (Binding::Static(index), Some(id)) => self.use_setting(id, Setting::Static(index)),
            _ => {}
        }
        match self.unusable(name, entry, at) {
            Some(error) => {
                self.report(error);
                None
            }
            None => Some(entry),
        }
    }

    fn use_setting(&mut self, optimizer: OptimizerId, setting: Setting) {
        self.cx.used.insert((optimizer, setting));
    }

    fn unusable(&self, name: &str, entry: Entry, at: Span) -> Option<CheckError> {
        let not_available = |place: &str, help: &str| CheckError::NotAvailable {
            name: name.to_owned(),
            place: place.to_owned(),
            help: help.to_owned(),
            at,
        };
        match entry.binding {
            Binding::Later => Some(CheckError::BeforeDeclaration {
                name: name.to_owned(),
                at,
                origin: entry.span,
            }),
            Binding::Hidden => Some(not_available(
                self.room.name(),
                "a hyperparameter may use earlier hyperparameters; a static may use those and earlier statics",
            )),
            Binding::Local(local) if self.in_init && self.is_argument(local) => None,
            // What is known at bind is known before the rule runs.
            Binding::Local(local)
                if self.in_init && self.local_info[local].phase.level == Level::Bind =>
            {
                None
            }
            Binding::Local(_) | Binding::State(_) | Binding::Shared(_) if self.in_init => {
                Some(not_available(
                    "an initial value",
                    "state begins before the rule runs: use the parameter, `grad`, hyperparameters, statics and shapes",
                ))
            }
            _ => None,
        }
    }

    /// Whether a local is what the component that is checked was given.
    fn is_argument(&self, local: Local) -> bool {
        let params = self
            .function
            .map(|id| &self.cx.program.functions[id].params);
        self.room == Room::Component
            && params.is_some_and(|params| params.iter().any(|(param, _)| *param == local))
    }

    /// The reason why nothing of that name is visible.
    fn unknown(&mut self, name: &str, at: Span) -> CheckError {
        let owned = name.to_owned();
        if let Some(entry) = self.names.ended(name) {
            return CheckError::OutOfScope {
                name: owned,
                at,
                origin: entry.span,
            };
        }
        if self.in_entry && self.declared_later(name).is_some() {
            return CheckError::NotAvailable {
                name: owned,
                place: "an entry".to_owned(),
                help: "an entry sees the state of its rule, not what a step computes: keep it in state, or compute it here"
                    .to_owned(),
                at,
            };
        }
        if let Some(origin) = self.declared_later(name) {
            return CheckError::BeforeDeclaration {
                name: owned,
                at,
                origin: Some(origin),
            };
        }
        if matches!(name, "grad" | "step") {
            let help = match self.room {
                Room::Function | Room::Component => {
                    format!("a function sees its parameters only: pass `{name}` to it")
                }
                _ => format!("use `{name}` in the body of a rule"),
            };
            return CheckError::NotAvailable {
                name: owned,
                place: self.room.name().to_owned(),
                help,
                at,
            };
        }
        let help = self.suggest_name(name);
        CheckError::UnknownName {
            name: owned,
            help,
            at,
        }
    }

    fn suggest_name(&self, name: &str) -> String {
        if let Some(here) = super::foreign::value(name) {
            return here.to_owned();
        }
        let tables = self.items.tables.keys().map(String::as_str);
        let fallback = if self.items.functions.contains_key(name)
            || super::signatures::find(name).is_some()
        {
            format!("`{name}` is a function: write `{name}(…)`")
        } else {
            match self.room {
                Room::Function | Room::Component => format!(
                    "a function sees its parameters only: add `{name}` to them, or bind it with `let`"
                ),
                _ => format!("declare `{name}` with `let` above, or as a `hyper` or `static`"),
            }
        };
        did_you_mean(name, self.names.all().chain(tables), fallback)
    }

    fn declared_later(&mut self, name: &str) -> Option<Span> {
        let source = self.source?;
        let later = self.later.get_or_insert_with(|| {
            let mut all = HashMap::new();
            collect_declarations(source, &mut all);
            all
        });
        later.get(name).copied()
    }

    /// A length known only by itself; the same `key` gives the same length.
    pub(super) fn fresh_dim(&mut self, key: String, text: String) -> Dim {
        let next = u32::try_from(self.fresh.len()).unwrap_or(u32::MAX);
        let index = *self.fresh_by_key.entry(key).or_insert(next);
        if index == next {
            self.fresh.push(text);
        }
        Dim::Fresh(index)
    }

    /// `[m, dim(w, i)]`
    pub(super) fn show_shape(&self, shape: &Shape) -> String {
        let axes: Vec<String> = shape.axes.iter().map(|axis| self.show_axis(axis)).collect();
        format!("[{}]", axes.join(", "))
    }

    fn show_axis(&self, axis: &hir::Axis) -> String {
        match axis {
            hir::Axis::Dim(dim) => self.show_dim(dim),
            hir::Axis::Rest(_) => "...".to_owned(),
        }
    }

    pub(super) fn show_dim(&self, dim: &Dim) -> String {
        let param = self.param.as_ref().map_or("w", |param| param.name.as_str());
        match dim {
            Dim::Const(length) => length.to_string(),
            Dim::Named(name) => name.clone(),
            Dim::Mode(modes) => format!("dim({param}, {})", self.modes[*modes].var),
            Dim::Fresh(index) => match self.fresh.get(*index as usize) {
                Some(text) => text.clone(),
                None => "?".to_owned(),
            },
        }
    }

    /// `a whole number`, `a tensor of shape [m, n]`.
    pub(super) fn describe(&self, ty: &Type) -> String {
        match ty {
            Type::Error => "unknown".to_owned(),
            Type::Int => "a whole number".to_owned(),
            Type::Float => "a number".to_owned(),
            Type::Bool => "a truth value".to_owned(),
            Type::Choice(names) => format!("one of {}", list(names)),
            Type::DType => "a storage type".to_owned(),
            Type::Table(width) => {
                format!("a table with rows of {}", count(*width as usize, "number"))
            }
            Type::Tensor { shape, .. } => format!("a tensor of shape `{}`", self.show_shape(shape)),
            Type::Mask(shape) => format!("a mask of shape `{}`", self.show_shape(shape)),
            Type::Indices { count, of } => {
                let (count, of) = (self.show_dim(count), self.show_dim(of));
                format!("`{count}` indices of `{of}` places")
            }
            Type::Eigh(_) => "the result of `eigh`".to_owned(),
            Type::Qr(_) => "the result of `qr`".to_owned(),
            Type::Svd(..) => "the result of `svd`".to_owned(),
            Type::Family(_) => "one tensor per mode".to_owned(),
        }
    }
}

/// `1 number`, `2 numbers`
pub(super) fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// `` `a`, `b` ``
pub(super) fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

/// Every `let`, `var` and `state` of a block and the blocks in it; the first of a name counts.
fn collect_declarations(block: &ast::Block, into: &mut HashMap<String, Span>) {
    use ast::StmtKind::*;
    for stmt in &block.stmts {
        match &stmt.kind {
            State { name, .. } | Let { name, .. } => {
                into.entry(name.text.clone()).or_insert(name.span);
            }
            If {
                then, otherwise, ..
            } => {
                collect_declarations(then, into);
                otherwise
                    .iter()
                    .for_each(|block| collect_declarations(block, into));
            }
            OnFirst(body)
            | Every { body, .. }
            | Chance { body, .. }
            | Until { body, .. }
            | Modes { body, .. }
            | Each { body, .. }
            | Repeat { body, .. } => {
                collect_declarations(body, into);
            }
            Assign { .. } | Entry { .. } | Skip => {}
        }
    }
}
