//! The tree resolved and typed: every name is an id, every expression has a type, every mistake was reported.
//!
//! `check` makes it, [`crate::lower`] specialises it for one parameter shape. Types here are symbolic (a rule is
//! checked once for all shapes); lowering works with concrete dimensions and never fails on a checked program.

use crate::dtype::DType;
use crate::kernel::Fold;
use crate::packed::Packing;
use crate::quantized::Format;
use cranelift_entity::{PrimaryMap, entity_impl};
use optc_grammar::ast::Span;

/// An optimizer of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OptimizerId(u32);
entity_impl!(OptimizerId, "optimizer");

/// A function of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(u32);
entity_impl!(FunctionId, "fn");

/// A coefficient table of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(u32);
entity_impl!(TableId, "table");

/// A named dimension of a rule or function.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);
entity_impl!(Symbol, "dim");

/// A `let`, `var`, function parameter or row variable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Local(u32);
entity_impl!(Local, "local");

/// A state declaration of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(u32);
entity_impl!(StateId, "state");

/// A `modes i of w` declaration of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModesId(u32);
entity_impl!(ModesId, "modes");

/// A source file of the program: an index into [`Program::sources`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(u32);
entity_impl!(FileId, "file");

/// A source file that took part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The module name: `std.soap`, or the root's name as given.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A checked program: the root file and all it uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The documentation at the top of the root file.
    pub docs: String,
    /// All files; the first is the root.
    pub sources: PrimaryMap<FileId, SourceFile>,
    /// All optimizers.
    pub optimizers: PrimaryMap<OptimizerId, Optimizer>,
    /// All functions.
    pub functions: PrimaryMap<FunctionId, Function>,
    /// All tables.
    pub tables: PrimaryMap<TableId, Table>,
    /// The optimizers that the root file itself declares, in order.
    pub roots: Vec<OptimizerId>,
}

impl Program {
    /// The names of an optimizer's host inputs: hyperparameters, shared numbers, sums over parameters, and the last two
    /// of each optimizer that a rule delegates to, and of each that the optimizer takes.
    pub fn input_names(&self, id: OptimizerId) -> Vec<String> {
        let hypers = self.optimizers[id].hypers.iter();
        let mut names: Vec<String> = hypers.map(|hyper| hyper.name.clone()).collect();
        self.shared_names(id, "", &mut names);
        names
    }

    /// The entries of an optimizer beside its step: those of its rules, of the optimizers that they delegate to, and of
    /// those that it takes.
    pub fn entries(&self, id: OptimizerId) -> Vec<Signature> {
        let mut found = Vec::new();
        self.collect_entries(id, &mut found);
        found
    }

    fn collect_entries(&self, id: OptimizerId, into: &mut Vec<Signature>) {
        let optimizer = &self.optimizers[id];
        for rule in &optimizer.rules {
            for entry in &rule.entries {
                if !into.iter().any(|known| known.name == entry.name) {
                    into.push(entry.signature());
                }
            }
            if let Some(id) = rule.body.delegated() {
                self.collect_entries(id, into);
            }
        }
        for base in &optimizer.bases {
            self.collect_entries(base.optimizer, into);
        }
    }

    fn shared_names(&self, id: OptimizerId, path: &str, into: &mut Vec<String>) {
        let optimizer = &self.optimizers[id];
        let shared = optimizer.shared.iter();
        into.extend(shared.map(|shared| format!("{path}{}", shared.name)));
        into.extend((0..optimizer.sums).map(|n| format!("{path}across.{n}")));
        for rule in &optimizer.rules {
            if let Some(id) = rule.body.delegated() {
                self.shared_names(id, &format!("{path}{}.", rule.name), into);
            }
        }
        for base in &optimizer.bases {
            self.shared_names(base.optimizer, &format!("{path}{}.", base.name), into);
        }
    }
}

/// Rows of constants of one width.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// At least one row.
    pub rows: Vec<Vec<f64>>,
}

/// An update rule set.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    /// Its name.
    pub name: String,
    /// Its documentation, or that of its file.
    pub docs: String,
    /// Where it stands.
    pub file: FileId,
    /// `optimizer Name`.
    pub span: Span,
    /// Numbers that may change between steps: its own, then those of the optimizers that it takes.
    pub hypers: Vec<Hyper>,
    /// Choices fixed when bound to parameters: its own, then those of the optimizers that it takes.
    pub statics: Vec<Static>,
    /// The optimizers that it takes.
    pub bases: Vec<Base>,
    /// Numbers that the parameters of a group share, kept between steps.
    pub shared: Vec<Shared>,
    /// How many sums over parameters its rules compute.
    pub sums: usize,
    /// Whether an absent gradient counts as zeros; otherwise the parameter is skipped.
    pub absent_grad_is_zero: bool,
    /// What is done about a gradient that holds a NaN or an infinity.
    pub nonfinite_grad: NonfiniteGrad,
    /// Which version of it checkpoints of today are.
    pub version: String,
    /// What checkpoints of earlier versions are in the terms of this one.
    pub migrations: Vec<Migration>,
    /// Its rules, in matching order.
    pub rules: Vec<Rule>,
}

/// What is done about a gradient that holds a NaN or an infinity; the later ones go before the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum NonfiniteGrad {
    /// The rule computes with it.
    #[default]
    Pass,
    /// The parameter is left as if it had no gradient in this step.
    Skip,
    /// The step is an error, before anything is written.
    Raise,
}

/// An optimizer that another one takes: `base: optimizer = Sgd`.
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// What the other calls it.
    pub name: String,
    /// Which it is.
    pub optimizer: OptimizerId,
    /// Where each of its hyperparameters is among those of the other; `None` when the other sets it at each step.
    pub hypers: Vec<Option<usize>>,
    /// Where each of its statics is among those of the other.
    pub statics: Vec<usize>,
}

/// The version of an optimizer that names none.
pub const FIRST_VERSION: &str = "1";

/// What has changed since a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Migration {
    /// That version.
    pub from: String,
    /// What has changed, in order.
    pub changes: Vec<Change>,
}

/// How something that a checkpoint holds has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// State, a hyperparameter or a shared number has another name.
    Rename {
        /// What it was called.
        from: String,
        /// What it is called.
        to: String,
    },
    /// It is no longer there.
    Drop(String),
    /// State that was not there: all its elements start as this number.
    Add {
        /// Its name.
        name: String,
        /// The number.
        value: f64,
    },
}

/// A host scalar that may change between steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// Its name: the last part of its path where no other option of the optimizer has that, else the path.
    pub name: String,
    /// `base.lr` of an optimizer that this one takes as `base`; the name of one of its own.
    pub path: String,
    /// Its documentation.
    pub docs: String,
    /// Its default: a host expression over earlier hyperparameters.
    pub default: Expr,
    /// The allowed interval.
    pub range: Option<Range>,
}

/// A host number that the parameters of a group share: one rule changes it, once per step.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub docs: String,
    /// Its value before the first step: a host expression over hyperparameters and statics.
    pub initial: Expr,
}

impl Hyper {
    /// Whether a name means it: its name, or its path.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.path == name
    }
}

impl Static {
    /// Whether a name means it: its name, or its path.
    pub fn is(&self, name: &str) -> bool {
        self.name == name || self.path == name
    }
}

/// An interval of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Lower bound.
    pub lo: f64,
    /// The lower bound belongs to it.
    pub lo_closed: bool,
    /// Upper bound.
    pub hi: f64,
    /// The upper bound belongs to it.
    pub hi_closed: bool,
}

impl Range {
    /// Whether `x` lies in it; NaN does not.
    pub fn contains(&self, x: f64) -> bool {
        let above = if self.lo_closed {
            x >= self.lo
        } else {
            x > self.lo
        };
        let below = if self.hi_closed {
            x <= self.hi
        } else {
            x < self.hi
        };
        above && below
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (open, close) = (
            if self.lo_closed { '[' } else { '(' },
            if self.hi_closed { ']' } else { ')' },
        );
        write!(f, "{open}{}, {}{close}", self.lo, self.hi)
    }
}

/// A choice fixed when the optimizer is bound to parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Static {
    /// Its name, as for hyperparameters.
    pub name: String,
    /// As for hyperparameters.
    pub path: String,
    /// Its documentation.
    pub docs: String,
    /// What it may be.
    pub ty: StaticType,
    /// Its default: a host expression over hyperparameters (their values at bind) and earlier statics.
    pub default: Expr,
    /// The allowed interval, of an int or float.
    pub range: Option<Range>,
}

/// What a static may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StaticType {
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// True or false.
    Bool,
    /// One of these words.
    Choice(Vec<String>),
    /// Rows of that many numbers.
    Table(u32),
    /// `f64`, `f32`, `bf16`, `f16`, or `same`: the parameter's.
    DType,
}

/// One rule of an optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub docs: String,
    /// What it calls its parameter.
    pub param: String,
    /// Which shapes it takes; binds symbols.
    pub pattern: Pattern,
    /// A host condition over symbols, `rank(w)`, `dim(w, k)` and statics.
    pub guard: Option<Expr>,
    /// Its named dimensions.
    pub symbols: PrimaryMap<Symbol, String>,
    /// Its locals.
    pub locals: PrimaryMap<Local, LocalData>,
    /// Its state declarations.
    pub states: PrimaryMap<StateId, State>,
    /// Its mode sets.
    pub modes: PrimaryMap<ModesId, Modes>,
    /// Which of the optimizers that its own takes it applies, by index.
    pub applies: Vec<usize>,
    /// What it does in a step.
    pub body: RuleBody,
    /// What else it can do.
    pub entries: Vec<Entry>,
    /// The file of its spans: a composition has rules of another one.
    pub file: FileId,
    /// From `rule` to its end.
    pub span: Span,
}

/// Something that a rule does beside its step, with the same state, when it is asked to.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is given.
    pub inputs: Vec<Input>,
    /// It reads the gradient: a parameter without one is left out.
    pub reads_grad: bool,
    /// What it does.
    pub body: Block,
    /// Its name in the source.
    pub span: Span,
}

/// An input of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// The rule's name for it.
    pub local: Local,
    /// What it is.
    pub kind: InputKind,
}

/// What an entry may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// A tensor for each parameter, of its shape and dtype: `like w`.
    Tensor,
    /// A number.
    Number,
}

/// An entry as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its name.
    pub name: String,
    /// What it is given, in order.
    pub inputs: Vec<(String, InputKind)>,
}

impl Entry {
    /// What callers see of it.
    pub fn signature(&self) -> Signature {
        let inputs = self.inputs.iter();
        Signature {
            name: self.name.clone(),
            inputs: inputs
                .map(|input| (input.name.clone(), input.kind))
                .collect(),
        }
    }
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleBody {
    /// Statements.
    Block(Block),
    /// Another rule takes the parameter, or a view of it.
    Delegate {
        /// Which.
        target: Target,
        /// The views to apply, first to last.
        view: Vec<View>,
    },
}

impl RuleBody {
    /// The other optimizer that takes the parameter, if one does.
    pub fn delegated(&self) -> Option<OptimizerId> {
        match self {
            RuleBody::Delegate {
                target: Target::Optimizer { id, .. },
                ..
            } => Some(*id),
            _ => None,
        }
    }
}

/// Whom a rule delegates to.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A rule of the same optimizer, by index.
    Rule(usize),
    /// The matching rule of another optimizer.
    Optimizer {
        /// Which.
        id: OptimizerId,
        /// Hyperparameters set there, by index; host expressions of this optimizer. The others keep their defaults.
        hypers: Vec<(usize, Expr)>,
        /// Statics set there, by index.
        statics: Vec<(usize, Expr)>,
    },
}

/// A view of a parameter: invertible, or in parts.
#[derive(Debug, Clone, PartialEq)]
pub enum View {
    /// Axes from this one on become one.
    Flatten {
        /// The first axis that is merged.
        from: Expr,
    },
    /// Neighbouring axes are merged greedily while their product is at most `limit`; axes of length 1 vanish.
    Merge {
        /// The largest merged length.
        limit: Expr,
        /// Start at the last axis instead of the first.
        from_right: bool,
    },
    /// Axis `a` of the view is axis `axes[a]` of the parameter.
    Permute {
        /// The order.
        axes: Vec<u32>,
    },
    /// One more axis, of length 1, before this one.
    Unsqueeze {
        /// The axis.
        axis: Expr,
    },
    /// The elements in order, as a matrix with rows of this length.
    Rows {
        /// The length.
        of: Expr,
    },
    /// Parts along one axis, each a parameter of its own.
    Split {
        /// The axis.
        axis: Expr,
        /// Their lengths.
        parts: Parts,
    },
    /// Parts that are at most this long along every axis, each a parameter of its own.
    Blocks {
        /// The longest length.
        size: Expr,
    },
}

/// The lengths of parts along an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Parts {
    /// This many equal ones.
    Equal(Expr),
    /// A table with one row, or with one column, of lengths.
    Sizes(Expr),
}

/// A shape pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Entries in order; at most one is `Rest`.
    pub axes: Vec<PatternAxis>,
}

/// An entry of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternAxis {
    /// One axis, whose length is bound to a symbol; a repeated symbol demands equal lengths.
    Bind(Symbol),
    /// One axis of this length.
    Fixed(u64),
    /// Any number of axes.
    Rest,
}

/// A local name.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalData {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// It may be assigned.
    pub mutable: bool,
}

/// A state declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// One per mode of this set.
    pub modes: Option<ModesId>,
    /// The declared storage type; the parameter's when absent.
    pub dtype: Option<DType>,
    /// It is stored in 8 bits.
    pub format: Option<Format>,
    /// Only this half of it is stored.
    pub packed: Option<Packing>,
    /// A policy counts the failures in a row for which it kept its value: more state, `NAME.failures`.
    pub counts_failures: bool,
    /// The declared fact.
    pub fact: Fact,
    /// The declared shape as host expressions (the mode variable may occur); the shape of `init` when absent.
    pub dims: Option<Vec<Expr>>,
    /// Its value before the first step: a tensor, a number for every element, or `identity`.
    pub init: Expr,
    /// Its symbolic type.
    pub ty: Type,
    /// The declaration.
    pub span: Span,
}

/// `modes i of w where guard`.
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    /// The variable.
    pub var: String,
    /// Which modes take part: a host condition in which [`ExprKind::Mode`] is the mode's number, from 0.
    pub guard: Option<Expr>,
}

/// A pure function, or a component: a function with state of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// It may have state; every use has its own.
    pub component: bool,
    /// Its name.
    pub name: String,
    /// Its documentation.
    pub docs: String,
    /// Its file.
    pub file: FileId,
    /// Its named dimensions.
    pub symbols: PrimaryMap<Symbol, String>,
    /// Its locals, parameters first.
    pub locals: PrimaryMap<Local, LocalData>,
    /// One per parameter, in order: a tensor parameter binds the symbols of its pattern.
    pub params: Vec<(Local, Option<Pattern>)>,
    /// Its state declarations.
    pub states: PrimaryMap<StateId, State>,
    /// The declared type of its value.
    pub result: Type,
    /// Its body; the tail is its value.
    pub body: Block,
}

/// Structure of a matrix that operations may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Fact {
    /// Nothing is known.
    #[default]
    General,
    /// A = A'.
    Symmetric,
    /// Symmetric, positive definite.
    Spd,
    /// A' A = I.
    Orthogonal,
    /// Zero below the diagonal.
    Upper,
    /// Zero above the diagonal.
    Lower,
    /// Zero off the diagonal.
    Diagonal,
}

/// The type of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A mistake was reported; consequences are silent.
    Error,
    /// A whole number on the host.
    Int,
    /// A number on the host.
    Float,
    /// A truth value on the host.
    Bool,
    /// One of these words.
    Choice(Vec<String>),
    /// A storage type.
    DType,
    /// Rows of that many numbers.
    Table(u32),
    /// A tensor of floats.
    Tensor {
        /// Its symbolic shape.
        shape: Shape,
        /// What is known of it.
        fact: Fact,
    },
    /// Truth values, one per element.
    Mask(Shape),
    /// Indices of one axis, each at most once.
    Indices {
        /// How many.
        count: Dim,
        /// The length of the axis.
        of: Dim,
    },
    /// `.values`, `.vectors`
    Eigh(Shape),
    /// `.q`, `.r`
    Qr(Shape),
    /// `.u`, `.s`, `.v`: of a matrix of that shape, with that many singular values.
    Svd(Shape, Dim),
    /// A family of states or values, one per mode.
    Family(ModesId),
}

/// A symbolic shape.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// Entries in order.
    pub axes: Vec<Axis>,
}

impl Shape {
    /// The length of a vector, also of one that is a row or a column; a single element in a matrix is a matrix.
    pub fn line(&self) -> Option<&Dim> {
        const ONE: Dim = Dim::Const(1);
        match self.axes.as_slice() {
            [Axis::Dim(ONE), Axis::Dim(ONE)] => None,
            [Axis::Dim(n)] | [Axis::Dim(ONE), Axis::Dim(n)] | [Axis::Dim(n), Axis::Dim(ONE)] => {
                Some(n)
            }
            _ => None,
        }
    }
}

/// An entry of a symbolic shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// One axis.
    Dim(Dim),
    /// Any number of axes; equal ids are equal lists of lengths.
    Rest(u32),
}

/// A symbolic length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Const(u64),
    /// A named dimension of the rule or function.
    Named(String),
    /// The length of the current mode of this set.
    Mode(ModesId),
    /// A length known only by itself; equal ids are equal lengths.
    Fresh(u32),
}

/// Statements and a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// In order.
    pub stmts: Vec<Stmt>,
    /// The value.
    pub tail: Option<Box<Expr>>,
}

/// A statement and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    /// Which.
    pub kind: StmtKind,
    /// Its place.
    pub span: Span,
}

/// The statements. Compound assignments were expanded.
#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    /// State comes into being here (for its scope).
    State(StateId),
    /// A local gets its first value.
    Let(Local, Expr),
    /// A new value.
    Assign(Place, Expr),
    /// Either block. A condition over statics and shapes is decided at bind, another at each step.
    If {
        /// A host condition.
        cond: Expr,
        /// When it holds.
        then: Block,
        /// Otherwise.
        otherwise: Block,
    },
    /// At step 1 only.
    OnFirst(Block),
    /// When `step >= from` and `(step - from) mod period == 0`.
    Every {
        /// A host int.
        period: Expr,
        /// A host int; the period when it was not written.
        from: Expr,
        /// What happens.
        body: Block,
    },
    /// Once per mode of the set, in order; inside, [`ExprKind::Mode`] is the mode's number.
    Each(ModesId, Block),
    /// A loop of known length, unrolled at bind.
    Repeat {
        /// The row's locals (floats).
        row: Vec<Local>,
        /// A table.
        table: Option<Expr>,
        /// A host int known at bind; the table's length when absent. Past the end the last row repeats.
        count: Option<Expr>,
        /// What happens.
        body: Block,
    },
    /// A loop that ends when a condition holds, of the host or of a scalar tensor, or after so many turns.
    Until {
        /// Looked at before each turn: a host condition, or a mask of a scalar.
        cond: Expr,
        /// A host int known at bind.
        most: Expr,
        /// What happens.
        body: Block,
    },
    /// The rule ends here for this step. Only as the last statement of a block.
    Skip,
}

/// What can be assigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The parameter.
    Param,
    /// State.
    State(StateId),
    /// State of the current mode.
    StateOfMode(StateId),
    /// A shared number of this optimizer, by index.
    Shared(usize),
    /// A `var`.
    Local(Local),
}

/// An expression, its type and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// Which.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Its place.
    pub span: Span,
}

/// The expressions.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A word of a choice (`order: descending`, a static's alternative).
    Word(String),
    /// A storage type; `None` is `same`.
    DType(Option<DType>),
    /// A hyperparameter of this optimizer, by index.
    Hyper(usize),
    /// A static of this optimizer, by index.
    Static(usize),
    /// A shared number of this optimizer, by index.
    Shared(usize),
    /// The sum of a scalar over all parameters of this step that the rule takes, or the largest one; with its number in
    /// the optimizer.
    Across(Fold, usize, Block),
    /// Words that names are compared with.
    Text(String),
    /// The step number, from 1.
    Step,
    /// The parameter (or the view that this rule was given).
    Param,
    /// Its gradient.
    Grad,
    /// State.
    State(StateId),
    /// State of the current mode.
    StateOfMode(StateId),
    /// All of a family, as an argument of `rotate` and `rotate_back`; an absent mode is the identity.
    Family(StateId),
    /// A local.
    Local(Local),
    /// The length of a named dimension, an int.
    Dim(Symbol),
    /// The number of the current mode, from 0.
    Mode,
    /// A table.
    Table(TableId),
    /// A table written in place.
    TableLiteral(Vec<Vec<f64>>),
    /// One operand.
    Unary(UnaryOp, Box<Expr>),
    /// Two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// The last two axes exchanged.
    Transpose(Box<Expr>),
    /// Either value. On a mask, both are computed and chosen element by element (`select`) — that is a builtin, this
    /// one has a host condition.
    If {
        /// A host condition.
        cond: Box<Expr>,
        /// The value when it holds.
        then: Block,
        /// The value otherwise.
        otherwise: Block,
    },
    /// Tensor operations inside are stored in this type (a [`Type::DType`] expression).
    In(Box<Expr>, Block),
    /// A function of the program.
    Call(FunctionId, Vec<Expr>),
    /// A component, with what stands before the names of its state.
    Use(FunctionId, String, Vec<Expr>),
    /// A function of the language, with its arguments in the order of [`Builtin`]'s text.
    Builtin(Builtin, Vec<Expr>),
    /// What an optimizer that this one takes makes of a parameter in this step.
    Apply {
        /// Which, by index.
        base: usize,
        /// The value of its parameter.
        param: Box<Expr>,
        /// The gradient.
        grad: Box<Expr>,
        /// Hyperparameters set for this step, by name.
        hypers: Vec<(String, Expr)>,
    },
    /// A hyperparameter, by name, of an optimizer that this one takes, by index.
    BaseHyper(usize, String),
    /// A field of `eigh` or `qr`.
    Field(Box<Expr>, Field),
    /// A value made by factorizations, with a policy for their failure.
    OrElse(Box<OrElse>),
}

/// A value that can fail, and what to do then, in this order.
#[derive(Debug, Clone, PartialEq)]
pub struct OrElse {
    /// Anything with a factorization in it.
    pub value: Expr,
    /// Once more in f64.
    pub retry_f64: bool,
    /// The assigned state keeps its value.
    pub keep: Option<Keep>,
    /// Another value, computed only then; not beside `keep`.
    pub instead: Option<Expr>,
}

/// The policy that state keeps its value when a factorization fails.
#[derive(Debug, Clone, PartialEq)]
pub struct Keep {
    /// What is assigned.
    pub place: Place,
    /// A host int known at bind: for how many failures in a row; for all of them when absent.
    pub most: Option<Box<Expr>>,
}

/// Results of factorizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Of `eigh`.
    Values,
    /// Of `eigh`.
    Vectors,
    /// Of `qr`.
    Q,
    /// Of `qr`.
    R,
    /// Of `svd`.
    U,
    /// Of `svd`.
    S,
    /// Of `svd`.
    V,
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// Of numbers and tensors.
    Neg,
    /// Of truth values and masks.
    Not,
}

/// Operators with two operands. Arithmetic is of two numbers, a number and a tensor, or two tensors of one shape
/// (a scalar tensor, or axes of length 1, broadcast).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Element by element, or scaling.
    Mul,
    /// Product of matrices (stacks of matrices).
    MatMul,
    /// Element by element.
    Div,
    /// Element by element; the exponent is a number.
    Pow,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Equal; of choices too.
    Eq,
    /// Not equal; of choices too.
    Ne,
    /// Both.
    And,
    /// Either.
    Or,
}

/// Functions of the language. Arguments in the order written here; `x` may be a number or a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Builtin {
    /// `sqrt(x)`
    Sqrt,
    /// `abs(x)`
    Abs,
    /// `exp(x)`
    Exp,
    /// `log(x)`
    Log,
    /// `tanh(x)` (tensors)
    Tanh,
    /// `sin(x)`
    Sin,
    /// `cos(x)`
    Cos,
    /// `atan2(y, x)`
    Atan2,
    /// `sign(x)`: −1, 0 or 1; 0 of NaN.
    Sign,
    /// `floor(x)`
    Floor,
    /// `min(x, y)`
    Min,
    /// `max(x, y)`
    Max,
    /// `clamp(x, lo, hi)` = `min(max(x, lo), hi)`
    Clamp,
    /// `lerp(x, y, weight)` = `x + weight (y − x)`
    Lerp,
    /// `select(mask, x, y)`
    Select,
    /// `zeros_like(x)`
    ZerosLike,
    /// `ones_like(x)`
    OnesLike,
    /// `identity` (only as the initial value of a square state)
    Identity,
    /// `sum(x)` → scalar tensor
    Sum,
    /// `mean(x)` → scalar tensor
    Mean,
    /// `norm(x)` = `sqrt(sum(x^2))` → scalar tensor
    Norm,
    /// `rms(x)` = `sqrt(mean(x^2))` → scalar tensor
    Rms,
    /// `min(x)` → scalar tensor
    Smallest,
    /// `max(x)` → scalar tensor
    Largest,
    /// `row_max(x)`: the largest of each row of a matrix, shape `[..., m, 1]`
    RowMax,
    /// `column_max(x)`: the largest of each column, shape `[..., 1, n]`
    ColumnMax,
    /// `frobenius(x)`: the norm of each matrix of a stack, shape `[..., 1, 1]`
    Frobenius,
    /// `row_sums(x)`: the sum of each row of a matrix, shape `[..., m, 1]`
    RowSums,
    /// `column_sums(x)`: the sum of each column, shape `[..., 1, n]`
    ColumnSums,
    /// `epsilon(x)`: the distance from 1 to the next number of the tensor's storage type, on the host
    Epsilon,
    /// `dot(x, y)` = `sum(x .* y)`
    Dot,
    /// `numel(x)` → int
    Numel,
    /// `rank(x)` → int
    Rank,
    /// `dim(x, k)` → int; `k` from 0
    Dim,
    /// `gram(x)` = `x x'` of each matrix
    Gram,
    /// `gram(x, i)`: the Gram matrix of mode `i`, contracted over all other modes
    GramMode,
    /// `rotate(x, family)`: mode `i` multiplied by `family[i]'`; `rotate(x, family, but: j)` leaves mode `j` alone
    Rotate,
    /// `rotate_back(x, family)`: mode `i` multiplied by `family[i]`
    RotateBack,
    /// `eigh(a, order)`; order is the word `ascending` or `descending`
    Eigh,
    /// `qr(a)`
    Qr,
    /// `orthonormal(a)`: columns that span those of `a`, in its shape; of stacks, matrix by matrix
    Orthonormal,
    /// `svd(a)`, or `svd(a, rank)`: the largest singular values only
    Svd,
    /// `cholesky(a)` → lower factor
    Cholesky,
    /// `solve_triangular(a, b)` → x with a x = b; the fact of `a` says upper or lower
    SolveTriangular,
    /// `diag(a)`: the diagonal of a matrix as a vector, or the diagonal matrix of a vector
    Diag,
    /// `triu(a)`: zeros below the diagonal
    Triu,
    /// `tril(a)`: zeros above the diagonal
    Tril,
    /// `identity(n)`: `[n, n]`
    IdentityOf,
    /// `along(x, i, a)`: mode `i` of `x` multiplied by the square matrix `a`
    Along,
    /// `normal_like(x)`: normal numbers in the shape of `x`
    NormalLike,
    /// `uniform_like(x)`: numbers in [0, 1) in the shape of `x`
    UniformLike,
    /// `normal(n)`, `normal(m, n)`
    Normal,
    /// What `with probability` compares: a number in [0, 1), on the host
    Chance,
    /// `stochastic(x)`: all that is assigned to the parameter or to state, rounded to one of the two neighbours in its
    /// storage type
    Stochastic,
    /// `mod(x, y)`: the remainder of two numbers, with the sign of `y`
    Mod,
    /// `trace(a)` → scalar tensor
    Trace,
    /// `argsort(v, order)`, stable
    Argsort,
    /// `top_k(v, k)`: the indices of the `k` largest, largest first, stable
    TopK,
    /// `gather(x, axis, index)`
    Gather,
    /// `scatter(x, axis, index, y)`
    Scatter,
    /// `scatter_add(x, axis, index, y)`
    ScatterAdd,
    /// `permute(x, i, order)`: axis `i` in the given order
    Permute,
    /// `permute(x, (2, 0, 1))`: the axes in another order
    PermuteAxes,
    /// `columns(a, order)`: the last axis in the given order
    Columns,
    /// `flatten(x, from)`
    Flatten,
    /// `unflatten(x, from, like)`: the inverse of `flatten(like, from)`
    Unflatten,
    /// `named("bias|norm")`: whether the parameter's name contains one of these words → bool
    Named,
}
