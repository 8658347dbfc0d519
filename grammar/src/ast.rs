//! The tree as written: names are text, nothing is resolved, every node knows its place.
//!
//! A [`Module`] is one `.opt` file. Spans are byte ranges of that file's text.

/// A byte range of one source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// `len` bytes from `start`; places beyond `u32`, which no accepted source has, saturate.
    pub fn at(start: usize, len: usize) -> Self {
        let place = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: place(start),
            end: place(start.saturating_add(len)),
        }
    }

    /// From the start of `self` to the end of `other`.
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start,
            end: other.end,
        }
    }
}

impl From<Span> for miette::SourceSpan {
    fn from(span: Span) -> Self {
        (span.start as usize..span.end as usize).into()
    }
}

/// A name and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The text.
    pub text: String,
    /// Its place.
    pub span: Span,
}

/// One `.opt` file.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// The lines of `//!` at the top, without the marker, joined by newlines.
    pub docs: String,
    /// The items in order.
    pub items: Vec<Item>,
}

/// A top-level item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// `use std.orthogonal.{newton_schulz, KELLER}`
    Use(Use),
    /// `fn newton_schulz(g: [m, n], steps: int) -> [m, n] { … }`
    Function(Function),
    /// `table KELLER = [(3.4445, -4.7750, 2.0315)]`
    Table(Table),
    /// `optimizer Muon { … }`
    Optimizer(Optimizer),
    /// `optimizer SamSoap = Sam(base = Soap)`
    Composition(Composition),
}

/// `use a.b.Name` or `use a.b.{Name, Other}`; `module` is `a.b`.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The segments before the imported names; the first is `std` for the standard library.
    pub module: Vec<Name>,
    /// The imported names.
    pub names: Vec<Name>,
    /// The whole item.
    pub span: Span,
}

/// A pure function, or a component: a function with state of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Function {
    /// `component` rather than `fn`.
    pub component: bool,
    /// The lines of `///` above.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// `name: type`, in order.
    pub params: Vec<Param>,
    /// The type after `->`.
    pub result: Type,
    /// The body; its value is the tail expression.
    pub body: Block,
    /// From `fn` or `component` to `}`.
    pub span: Span,
}

/// A parameter of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Name,
    /// Its declared type.
    pub ty: Type,
}

/// Rows of constants, each of the same width.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The lines of `///` above.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// The rows; every cell is a constant expression.
    pub rows: Vec<Vec<Expr>>,
    /// The whole item.
    pub span: Span,
}

/// An optimizer made of others.
#[derive(Debug, Clone, PartialEq)]
pub struct Composition {
    /// The lines of `///` above.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// What it is.
    pub value: Composed,
    /// The whole item.
    pub span: Span,
}

/// An optimizer with settings: `Sam(base = Soap(precondition_frequency = 5), rho = 0.1)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// The optimizer.
    pub target: Name,
    /// What differs from its defaults; a parameter's value is [`ExprKind::Composed`] or a name.
    pub settings: Vec<(Name, Expr)>,
    /// The whole text.
    pub span: Span,
}

/// `base: optimizer = Sgd`
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Its name.
    pub name: Name,
    /// What it is when nothing else is given.
    pub default: Composed,
}

/// An update rule set: hyperparameters and rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimizer {
    /// The lines of `///` above.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// The optimizers that it takes.
    pub bases: Vec<Base>,
    /// `hyper` entries in order; one `hyper a = 1, b = 2` gives two.
    pub hypers: Vec<Hyper>,
    /// `static` entries in order.
    pub statics: Vec<Static>,
    /// `shared` entries in order.
    pub shared: Vec<Shared>,
    /// `absent grad: zeros` or `absent grad: skip`.
    pub absent_grad: Option<Name>,
    /// `nonfinite grad: skip`, `raise` or `pass`.
    pub nonfinite_grad: Option<Name>,
    /// `version "2"`, without the quotation marks.
    pub version: Option<Name>,
    /// `migrate from "1" { … }` entries in order.
    pub migrations: Vec<Migration>,
    /// `rule` entries in order.
    pub rules: Vec<Rule>,
    /// From `optimizer` to `}`.
    pub span: Span,
}

/// `migrate from "1" { rename m -> exp_avg }`
#[derive(Debug, Clone, PartialEq)]
pub struct Migration {
    /// The version whose checkpoints it takes, without the quotation marks.
    pub from: Name,
    /// What has changed since.
    pub changes: Vec<Change>,
}

/// How something that a checkpoint holds has changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// `rename m -> exp_avg`
    Rename {
        /// What it was called.
        from: Name,
        /// What it is called.
        to: Name,
    },
    /// `drop count`
    Drop(Name),
    /// `add max_exp_avg_sq = 0`
    Add {
        /// State that was not there.
        name: Name,
        /// What all its elements are.
        value: Expr,
    },
}

/// `lr = 1e-3 in [0, inf)`
#[derive(Debug, Clone, PartialEq)]
pub struct Hyper {
    /// The lines of `///` above, or the `//` comment on the same line.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// The default.
    pub default: Expr,
    /// The allowed interval.
    pub range: Option<Range>,
}

/// `[lo, hi)`: a parenthesis leaves the bound out.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// Lower bound.
    pub lo: Expr,
    /// `[` rather than `(`.
    pub lo_closed: bool,
    /// Upper bound.
    pub hi: Expr,
    /// `]` rather than `)`.
    pub hi_closed: bool,
    /// The whole range.
    pub span: Span,
}

/// `static ns_steps: int = 5 in [1, 99]`
#[derive(Debug, Clone, PartialEq)]
pub struct Static {
    /// As for hyperparameters.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// `int`, `bool`, `float`, `choice(a, b)` or `table(3)`.
    pub ty: Type,
    /// The default.
    pub default: Expr,
    /// The allowed interval, of an int or float.
    pub range: Option<Range>,
}

/// `shared t = 0`
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    /// As for hyperparameters.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// Its value before the first step.
    pub initial: Expr,
}

/// `rule hidden(w: [m, n]) where guard { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The lines of `///` above.
    pub docs: String,
    /// Its name.
    pub name: Name,
    /// What the rule calls its parameter, `w`.
    pub param: Name,
    /// Which shapes it takes.
    pub pattern: Shape,
    /// `where rank(w) > 1`
    pub guard: Option<Expr>,
    /// What it does.
    pub body: RuleBody,
    /// From `rule` to its end.
    pub span: Span,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleBody {
    /// `{ … }`
    Block(Block),
    /// `= hidden on flatten(w, from: 1)` or `= AdamW(lr = 3e-4)`
    Delegate {
        /// A rule of this optimizer, or another optimizer.
        target: Name,
        /// Hyperparameters, statics and parameters set for another optimizer.
        args: Vec<(Name, Expr)>,
        /// A view of the parameter.
        view: Option<Expr>,
        /// The whole right side.
        span: Span,
    },
}

/// A written type.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// `[m, n]` or `[...]`
    Tensor(Shape),
    /// `sym[n]`, `f32[m, n]`, `bf16[...]`, `table(3)`: a word with a shape.
    Applied {
        /// The word: a fact (`sym`, `spd`, `orthogonal`, `upper`, `lower`, `diagonal`) or a dtype.
        word: Name,
        /// Its shape.
        shape: Shape,
    },
    /// `int`, `bool`, `float`: a host value.
    Word(Name),
    /// `choice(original, match_rms_adamw)`
    Choice {
        /// The alternatives.
        names: Vec<Name>,
        /// The whole type.
        span: Span,
    },
    /// `table(3)`: rows of that many numbers.
    Table {
        /// Cells per row.
        width: u32,
        /// The whole type.
        span: Span,
    },
}

/// A shape as written.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// The axes in order.
    pub axes: Vec<Axis>,
    /// From `[` to `]`.
    pub span: Span,
}

/// One entry of a shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Axis {
    /// A dimension: a name that it binds or repeats, or an expression such as `dim(w, i)` or `4`.
    Dim(Expr),
    /// `...`: any number of axes.
    Rest(Span),
}

/// `{ statements; tail }`
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The statements in order.
    pub stmts: Vec<Stmt>,
    /// A last expression without a binding: the block's value.
    pub tail: Option<Box<Expr>>,
    /// From `{` to `}`.
    pub span: Span,
}

/// A statement and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Stmt {
    /// Which statement.
    pub kind: StmtKind,
    /// The whole statement.
    pub span: Span,
}

/// The statements.
#[derive(Debug, Clone, PartialEq)]
pub enum StmtKind {
    /// `state exp_avg = zeros_like(w)`, `state gram[i]: sym[dim(w, i)] = 0`
    State {
        /// Its name.
        name: Name,
        /// `[i]`: one per mode.
        index: Option<Name>,
        /// `packed`: one triangle of it is stored.
        packed: Option<Span>,
        /// Its declared type.
        ty: Option<Type>,
        /// Its value before the first step.
        init: Expr,
    },
    /// `let d = …` (fixed) or `var x = …` (may be assigned)
    Let {
        /// The bound name.
        name: Name,
        /// `var`.
        mutable: bool,
        /// A declared type.
        ty: Option<Type>,
        /// The value.
        value: Expr,
    },
    /// `w -= …`
    Assign {
        /// The assigned name.
        target: Name,
        /// `gram[i] = …`
        index: Option<Name>,
        /// `=`, or the operator before it.
        op: Option<BinaryOp>,
        /// The right side.
        value: Expr,
    },
    /// `if c { … } else { … }` as a statement: no value.
    If {
        /// The condition.
        cond: Expr,
        /// When it holds.
        then: Block,
        /// Otherwise; `else if` nests here as a block of one statement.
        otherwise: Option<Block>,
    },
    /// `on first step { … }`
    OnFirst(Block),
    /// `every k steps from s { … }`
    Every {
        /// The period.
        period: Expr,
        /// The first step at which it happens; the period when absent.
        from: Option<Expr>,
        /// What happens.
        body: Block,
    },
    /// `until c at most k { … }`
    Until {
        /// Looked at before each turn.
        cond: Expr,
        /// The number of turns after which it ends anyway.
        most: Expr,
        /// What happens.
        body: Block,
    },
    /// `with probability p { … }`
    Chance {
        /// How likely it happens.
        probability: Expr,
        /// What happens.
        body: Block,
    },
    /// `modes i of w where guard { state … }`
    Modes {
        /// The mode variable.
        var: Name,
        /// The tensor whose modes are meant.
        of: Name,
        /// Which modes take part.
        guard: Option<Expr>,
        /// State declarations, one per mode.
        body: Block,
    },
    /// `each i { … }`: once per mode that takes part.
    Each {
        /// The mode variable of an earlier `modes`.
        var: Name,
        /// What happens.
        body: Block,
    },
    /// `repeat 3 { … }`, `repeat (a, b, c) in TABLE { … }`, `repeat (a, b, c) in TABLE take k { … }`
    Repeat {
        /// The row's names.
        row: Vec<Name>,
        /// The table.
        table: Option<Expr>,
        /// How often; the table's length when absent. Past the end the last row repeats.
        count: Option<Expr>,
        /// What happens.
        body: Block,
    },
    /// `skip`: the rule ends here for this step.
    Skip,
    /// `entry update_hessian(hess: like w, bs: float) { … }`
    Entry {
        /// Its name.
        name: Name,
        /// What a caller gives it.
        inputs: Vec<EntryInput>,
        /// What happens.
        body: Block,
    },
}

/// An input of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryInput {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: InputType,
}

/// What an input of an entry may be.
#[derive(Debug, Clone, PartialEq)]
pub enum InputType {
    /// `like w`: a tensor with the shape of the parameter.
    Like(Name),
    /// A written type.
    Written(Type),
}

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// Which expression.
    pub kind: ExprKind,
    /// The whole expression.
    pub span: Span,
}

/// The expressions.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `1e-3`, `0.5`, `inf`, `pi`
    Number(f64),
    /// `true`, `false`
    Bool(bool),
    /// A name.
    Name(String),
    /// `basis[i]`
    Index {
        /// The family.
        name: Name,
        /// The mode.
        index: Name,
    },
    /// `-x`, `not c`
    Unary(UnaryOp, Box<Expr>),
    /// `x'`
    Transpose(Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `newton_schulz(u, KELLER, 5)`, `flatten(w, from: 1)`
    Call {
        /// What is called.
        callee: Name,
        /// The arguments.
        args: Vec<Arg>,
    },
    /// `eigh(a).vectors`
    Field(Box<Expr>, Name),
    /// `if c { a } else { b }`
    If {
        /// The condition.
        cond: Box<Expr>,
        /// The value when it holds.
        then: Block,
        /// The value otherwise.
        otherwise: Block,
    },
    /// `in bf16 { … }`
    In {
        /// The dtype.
        dtype: Name,
        /// What is computed in it.
        body: Block,
    },
    /// `"bias|norm"`, without the quotes
    Text(String),
    /// `across params { dot(grad, grad) }`, `across params max { norm(grad) }`
    Across {
        /// The largest value; otherwise the sum.
        max: bool,
        /// The value of one parameter.
        body: Block,
    },
    /// `eigh(a).vectors or retry f64 or keep`
    OrElse {
        /// What may fail.
        value: Box<Expr>,
        /// What to do, in order.
        policies: Vec<Policy>,
    },
    /// `Soap(precondition_frequency = 5)` where a setting is the value of an optimizer's parameter.
    Composed(Composed),
    /// `(a, b)` in a static table default; `[(a, b), (c, d)]`
    Table(Vec<Vec<Expr>>),
}

/// An argument of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Arg {
    /// `from:` in `flatten(w, from: 1)`.
    pub name: Option<Name>,
    /// Its value.
    pub value: Expr,
}

/// What to do when a factorization fails.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// `retry f64`
    Retry(Name),
    /// `keep`, `keep at most 3 times`: the assigned state keeps its value.
    Keep {
        /// How many failures in a row it is kept for.
        most: Option<Box<Expr>>,
        /// From `keep` to its end.
        span: Span,
    },
    /// `else orthonormal(a)`: another value.
    Else(Box<Expr>),
}

/// Operators with one operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// Operators with two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`: scaling by a number or a scalar tensor, or the product of two matrices.
    Mul,
    /// `.*`: element by element.
    ElementMul,
    /// `/`: element by element.
    Div,
    /// `^`: element by element.
    Pow,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `and`
    And,
    /// `or`
    Or,
}
