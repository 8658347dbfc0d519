//! Every mistake that checking finds, in the words that the user reads.
//!
//! `at` is where the fault stands, `origin` its cause; both lie in the file of the diagnostic, so an origin in another
//! file is `None`. Names and shapes are ready to print.

use super::unused::Unused;
use miette::Diagnostic;
use optc_grammar::ast::Span;
use thiserror::Error;

/// Why a module cannot be used as written, or (severity warning) what looks like an oversight.
#[derive(Debug, Clone, PartialEq, Eq, Error, Diagnostic)]
pub enum CheckError {
    #[error("`{name}` is not defined")]
    #[diagnostic(code(opt::name::unknown), help("{help}"))]
    UnknownName {
        name: String,
        help: String,
        #[label(primary, "not found here")]
        at: Span,
    },

    #[error("there is no function `{name}`")]
    #[diagnostic(code(opt::name::unknown_function), help("{help}"))]
    UnknownFunction {
        name: String,
        help: String,
        #[label(primary, "not a function of the language, of this file, or imported")]
        at: Span,
    },

    #[error("there is no module `{module}`")]
    #[diagnostic(code(opt::name::unknown_module), help("{help}"))]
    UnknownModule {
        module: String,
        help: String,
        #[label(primary, "not found")]
        at: Span,
    },

    #[error("module `{module}` has no `{name}`")]
    #[diagnostic(code(opt::name::unknown_import), help("{help}"))]
    UnknownImport {
        module: String,
        name: String,
        help: String,
        #[label(primary, "not declared in `{module}`")]
        at: Span,
    },

    #[error("there is no rule or optimizer `{name}`")]
    #[diagnostic(code(opt::name::unknown_target), help("{help}"))]
    UnknownTarget {
        name: String,
        help: String,
        #[label(primary, "the parameter would go here")]
        at: Span,
    },

    #[error("{of} has no field `{name}`")]
    #[diagnostic(code(opt::name::unknown_field), help("{help}"))]
    UnknownField {
        of: String,
        name: String,
        help: String,
        #[label(primary, "no such field")]
        at: Span,
    },

    #[error("`{of}` has no argument `{name}`")]
    #[diagnostic(code(opt::name::unknown_argument), help("{help}"))]
    UnknownArgument {
        of: String,
        name: String,
        help: String,
        #[label(primary, "no such argument")]
        at: Span,
    },

    #[error("`{name}` is none of {words}")]
    #[diagnostic(code(opt::name::unknown_word), help("{help}"))]
    UnknownWord {
        name: String,
        words: String,
        help: String,
        #[label(primary, "one of {words} is needed")]
        at: Span,
    },

    #[error("`{name}` is defined twice")]
    #[diagnostic(code(opt::name::duplicate), help("rename one of the two"))]
    Duplicate {
        name: String,
        #[label(primary, "defined again")]
        at: Span,
        #[label("defined here")]
        origin: Option<Span>,
    },

    #[error("`{name}` is no state, hyperparameter or shared number of `{optimizer}`")]
    #[diagnostic(code(opt::migration::unknown), help("{help}"))]
    UnknownMigrated {
        name: String,
        optimizer: String,
        help: String,
        #[label(primary, "not declared in this version")]
        at: Span,
    },

    #[error("`{name}` is still declared")]
    #[diagnostic(
        code(opt::migration::kept),
        help("a migration renames or drops what this version no longer has; remove the line")
    )]
    StillDeclared {
        name: String,
        #[label(primary, "in this version too")]
        at: Span,
    },

    #[error("a migration from version `{version}` to itself")]
    #[diagnostic(
        code(opt::migration::own_version),
        help(
            "give the optimizer a new version, such as `version \"2\"`, and migrate from the old one"
        )
    )]
    MigratesFromItself {
        version: String,
        #[label(primary, "this is the optimizer's own version")]
        at: Span,
    },

    #[error("`{name}` is used before its declaration")]
    #[diagnostic(
        code(opt::name::before_declaration),
        help("move the declaration of `{name}` above its first use")
    )]
    BeforeDeclaration {
        name: String,
        #[label(primary, "used here")]
        at: Span,
        #[label("declared only here")]
        origin: Option<Span>,
    },

    #[error("`{name}` cannot be used in {place}")]
    #[diagnostic(code(opt::name::not_available), help("{help}"))]
    NotAvailable {
        name: String,
        place: String,
        help: String,
        #[label(primary, "not available here")]
        at: Span,
    },

    #[error("`{name}` is a function of the language")]
    #[diagnostic(code(opt::name::builtin), help("give your function another name"))]
    ShadowsBuiltin {
        name: String,
        #[label(primary, "cannot be defined again")]
        at: Span,
    },

    #[error("`{name}` cannot name an option")]
    #[diagnostic(
        code(opt::name::taken),
        help("{taken_by}; rename it, for example to `{name}_`")
    )]
    TakenName {
        name: String,
        taken_by: String,
        #[label(primary, "an option of this name cannot be set")]
        at: Span,
    },

    #[error("`{name}` has a meaning in every rule")]
    #[diagnostic(code(opt::name::reserved), help("choose another name"))]
    Reserved {
        name: String,
        #[label(primary, "declared again here")]
        at: Span,
    },

    #[error("shapes `{left}` and `{right}` do not fit")]
    #[diagnostic(code(opt::shape::mismatch), help("{help}"))]
    ShapeMismatch {
        left: String,
        right: String,
        help: String,
        #[label(primary, "needs one shape")]
        at: Span,
        #[label("this has shape `{left}`")]
        left_at: Option<Span>,
        #[label("this has shape `{right}`")]
        right_at: Option<Span>,
        #[label(collection, "first named here")]
        named: Vec<Span>,
    },

    #[error(
        "`{left}` times `{right}`: the inner dimensions `{inner_left}` and `{inner_right}` differ"
    )]
    #[diagnostic(
        code("opt::shape::inner"),
        help("transpose a factor with `'`, or write `.*` to multiply element by element")
    )]
    InnerMismatch {
        left: String,
        right: String,
        inner_left: String,
        inner_right: String,
        #[label(primary, "product of matrices")]
        at: Span,
        #[label("this has shape `{left}`")]
        left_at: Span,
        #[label("this has shape `{right}`")]
        right_at: Span,
        #[label(collection, "first named here")]
        named: Vec<Span>,
    },

    #[error("{what} needs {need}, not a tensor of shape `{shape}`")]
    #[diagnostic(code(opt::shape::rank), help("{help}"))]
    WrongRank {
        what: String,
        need: String,
        shape: String,
        help: String,
        #[label(primary, "this has shape `{shape}`")]
        at: Span,
    },

    #[error("{what} needs a square matrix, not one of shape `{shape}`")]
    #[diagnostic(
        code(opt::shape::not_square),
        help("`gram(x)` is square, and so is a state declared as `sym[n]`")
    )]
    NotSquare {
        what: String,
        shape: String,
        #[label(primary, "this has shape `{shape}`")]
        at: Span,
    },

    #[error("{what} cannot stand in a shape pattern")]
    #[diagnostic(
        code(opt::shape::pattern),
        help("an entry is a name such as `m`, a whole number, or one `...`")
    )]
    BadPattern {
        what: String,
        #[label(primary, "not a pattern")]
        at: Span,
    },

    #[error("axis {axis} does not exist in shape `{shape}`")]
    #[diagnostic(
        code(opt::shape::axis),
        help("axes are counted from 0; of `[...]` only a mode, as in `each i`, is known to exist")
    )]
    NoSuchAxis {
        axis: String,
        shape: String,
        #[label(primary, "no such axis")]
        at: Span,
    },

    #[error("`*` of `{left}` and `{right}` could mean two products")]
    #[diagnostic(
        code("opt::type::ambiguous_product"),
        help(
            "write `.*` to multiply element by element; for a product of matrices name the last two dimensions in the pattern, as in `[m, n]`"
        )
    )]
    AmbiguousProduct {
        left: String,
        right: String,
        #[label(primary, "which product?")]
        at: Span,
        #[label("this has shape `{left}`")]
        left_at: Span,
        #[label("this has shape `{right}`")]
        right_at: Span,
    },

    #[error("expected {expected}, found {found}")]
    #[diagnostic(code("opt::type::mismatch"), help("{help}"))]
    TypeMismatch {
        expected: String,
        found: String,
        help: String,
        #[label(primary, "this is {found}")]
        at: Span,
        #[label("declared here")]
        origin: Option<Span>,
    },

    #[error("the condition is {found}, not a truth value")]
    #[diagnostic(code("opt::type::condition"), help("{help}"))]
    NotACondition {
        found: String,
        help: String,
        #[label(primary, "this is {found}")]
        at: Span,
    },

    #[error("`{op}` cannot take {found}")]
    #[diagnostic(code("opt::type::operand"), help("{help}"))]
    Operand {
        op: String,
        found: String,
        help: String,
        #[label(primary, "this is {found}")]
        at: Span,
    },

    #[error("there is no type `{name}`")]
    #[diagnostic(code("opt::type::unknown"), help("{help}"))]
    UnknownType {
        name: String,
        help: String,
        #[label(primary, "not a type that can stand here")]
        at: Span,
    },

    #[error("there is no storage type `{name}`")]
    #[diagnostic(code("opt::type::unknown_dtype"), help("{help}"))]
    UnknownDtype {
        name: String,
        help: String,
        #[label(primary, "not a storage type")]
        at: Span,
    },

    #[error("this block has no value")]
    #[diagnostic(
        code("opt::type::no_value"),
        help("end the block with the expression that is its value")
    )]
    NoValue {
        #[label(primary, "a value is needed at the end")]
        at: Span,
    },

    #[error("this value is not used")]
    #[diagnostic(
        code("opt::type::unused_value"),
        help("bind it with `let`, assign it, or remove it")
    )]
    UnusedValue {
        #[label(primary, "computed and dropped")]
        at: Span,
    },

    #[error("`{name}` takes {expected}, {found} given")]
    #[diagnostic(code(opt::call::argument_count), help("{help}"))]
    ArgumentCount {
        name: String,
        expected: String,
        found: usize,
        help: String,
        #[label(primary, "{found} given")]
        at: Span,
    },

    #[error("argument `{argument}` of `{name}` must be {expected}, not {found}")]
    #[diagnostic(code(opt::call::argument_type), help("write `{usage}`"))]
    ArgumentType {
        name: String,
        argument: String,
        expected: String,
        found: String,
        usage: String,
        #[label(primary, "this is {found}")]
        at: Span,
    },

    #[error("{what} must be known when the optimizer is bound, but {culprit} is not")]
    #[diagnostic(code(opt::time::not_fixed), help("{help}"))]
    NotFixed {
        what: String,
        culprit: String,
        help: String,
        #[label(primary, "{culprit} may change from step to step")]
        at: Span,
    },

    #[error("{what} must be a constant")]
    #[diagnostic(
        code(opt::time::not_constant),
        help("write a number, or arithmetic of numbers such as `1 / 1.01^3`")
    )]
    NotConstant {
        what: String,
        #[label(primary, "not a constant")]
        at: Span,
    },

    #[error("`{name}` cannot be assigned: it is {what}")]
    #[diagnostic(code(opt::assign::immutable), help("{help}"))]
    Immutable {
        name: String,
        what: String,
        help: String,
        #[label(primary, "assigned here")]
        at: Span,
        #[label("declared here")]
        origin: Option<Span>,
    },

    #[error("a block that gives a value cannot assign `{name}`, which is declared outside it")]
    #[diagnostic(
        code("opt::assign::in_value"),
        help("assign `{name}` the value of the whole expression instead")
    )]
    AssignInValue {
        name: String,
        #[label(primary, "assigned here")]
        at: Span,
        #[label("declared here")]
        origin: Option<Span>,
    },

    #[error(
        "state `{name}` is declared with shape `{declared}`, its initial value has shape `{found}`"
    )]
    #[diagnostic(
        code(opt::state::rank),
        help(
            "make the two agree, or leave the type out: the state then has the shape of its initial value"
        )
    )]
    StateShape {
        name: String,
        declared: String,
        found: String,
        #[label(primary, "this has shape `{found}`")]
        at: Span,
        #[label("declared here")]
        origin: Span,
    },

    #[error("`{name}` is one tensor per mode and needs an index")]
    #[diagnostic(code("opt::state::index_missing"), help("write `{name}[{index}]`"))]
    IndexMissing {
        name: String,
        index: String,
        #[label(primary, "which mode?")]
        at: Span,
        #[label("declared here")]
        origin: Option<Span>,
    },

    #[error("`{name}` takes no index")]
    #[diagnostic(
        code("opt::state::index_not_allowed"),
        help("write `{name}`; only state declared in a `modes` block has one tensor per mode")
    )]
    IndexNotAllowed {
        name: String,
        #[label(primary, "index here")]
        at: Span,
        #[label("declared here")]
        origin: Option<Span>,
    },

    #[error("`{index}` is not a mode here")]
    #[diagnostic(code(opt::state::outside_each), help("{help}"))]
    OutsideEach {
        index: String,
        help: String,
        #[label(primary, "no mode is chosen")]
        at: Span,
        #[label("the modes are declared here")]
        origin: Option<Span>,
    },

    #[error("`{name}` is used outside the block that declares it")]
    #[diagnostic(
        code(opt::name::out_of_scope),
        help("use `{name}` inside the block, or declare it before the block")
    )]
    OutOfScope {
        name: String,
        #[label(primary, "used here")]
        at: Span,
        #[label("declared here, in a block that has ended")]
        origin: Option<Span>,
    },

    #[error("state cannot be declared in {place}")]
    #[diagnostic(code(opt::state::conditional), help("{help}"))]
    ConditionalState {
        place: String,
        help: String,
        #[label(primary, "whether it exists must not change between steps")]
        at: Span,
    },

    #[error("the shape of state `{name}` is not known")]
    #[diagnostic(code(opt::state::needs_type), help("{help}"))]
    StateNeedsType {
        name: String,
        help: String,
        #[label(primary, "no shape can be read off this")]
        at: Span,
    },

    #[error("a `modes` block holds state declarations only")]
    #[diagnostic(
        code("opt::state::modes_body"),
        help("move this behind the block, into `each {var} {{ … }}` if it is about one mode")
    )]
    ModesBody {
        var: String,
        #[label(primary, "not a state declaration")]
        at: Span,
    },

    #[error("`{name}` does not name modes")]
    #[diagnostic(code(opt::state::not_modes), help("{help}"))]
    NotModes {
        name: String,
        help: String,
        #[label(primary, "modes are needed here")]
        at: Span,
    },

    #[error("`each` inside `each`")]
    #[diagnostic(
        code(opt::state::nested_each),
        help("end the outer `each` first: one mode is chosen at a time")
    )]
    NestedEach {
        #[label(primary, "a mode is already chosen here")]
        at: Span,
        #[label("by this `each`")]
        origin: Option<Span>,
    },

    #[error("`{name}` stands for all modes at once")]
    #[diagnostic(
        code(opt::state::family),
        help(
            "pass it to `rotate` or `rotate_back`, or write `{name}[{index}]` inside `each {index}`"
        )
    )]
    FamilyAsValue {
        name: String,
        index: String,
        #[label(primary, "not one tensor")]
        at: Span,
        #[label("declared here")]
        origin: Option<Span>,
    },

    #[error("the range `{range}` is empty")]
    #[diagnostic(
        code(opt::range::empty),
        help(
            "write the smaller bound first; `[` and `]` include a bound, `(` and `)` leave it out"
        )
    )]
    EmptyRange {
        range: String,
        #[label(primary, "no number lies in it")]
        at: Span,
    },

    #[error("the default {value} of `{name}` lies outside `{range}`")]
    #[diagnostic(code(opt::range::default), help("change the default or the range"))]
    DefaultOutOfRange {
        name: String,
        value: String,
        range: String,
        #[label(primary, "this is {value}")]
        at: Span,
        #[label("must lie in `{range}`")]
        origin: Span,
    },

    #[error("`{name}` = {value} lies outside `{range}`")]
    #[diagnostic(
        code(opt::range::setting),
        help("choose a value in `{range}`, the range that `{of}` declares")
    )]
    SettingOutOfRange {
        of: String,
        name: String,
        value: String,
        range: String,
        #[label(primary, "this is {value}")]
        at: Span,
    },

    #[error("rule `{name}` can never match")]
    #[diagnostic(
        code(opt::rule::unreachable),
        help(
            "the first rule that matches is taken: move `{name}` above `{earlier}`, or give `{earlier}` a guard"
        )
    )]
    UnreachableRule {
        name: String,
        earlier: String,
        #[label(primary, "every parameter it takes is taken before")]
        at: Span,
        #[label("by `{earlier}`, which has no guard")]
        origin: Span,
    },

    #[error("rule `{name}` never updates `{param}`")]
    #[diagnostic(
        code(opt::rule::no_update),
        help("assign the parameter, as in `{param} -= lr * grad`")
    )]
    NoUpdate {
        name: String,
        param: String,
        #[label(primary, "no path through this rule assigns `{param}`")]
        at: Span,
    },

    #[error("delegation goes in a circle: {path}")]
    #[diagnostic(
        code(opt::rule::cycle),
        help("give one of these rules a body of its own")
    )]
    DelegateCycle {
        path: String,
        #[label(primary, "comes back to where it began")]
        at: Span,
    },

    #[error("only the parameter can be viewed")]
    #[diagnostic(
        code(opt::rule::view),
        help(
            "write a view of `{param}`: `flatten({param}, from: 1)`, `merge({param}, limit: 1000, from: left)`, `permute({param}, (1, 0))`, `split({param}, axis: 0, parts: 3)` or `blocks({param}, size: 1024)`"
        )
    )]
    BadView {
        param: String,
        #[label(primary, "not a view of `{param}`")]
        at: Span,
    },

    #[error("these are not all axes in some order")]
    #[diagnostic(
        code(opt::rule::permutation),
        help("write every axis from 0 on once, as in `permute(w, (0, 2, 3, 1))`")
    )]
    BadPermutation {
        #[label(primary, "not a permutation")]
        at: Span,
    },

    #[error("a rule takes no settings")]
    #[diagnostic(
        code(opt::rule::arguments),
        help("write `= {name}`: it shares the hyperparameters of its optimizer")
    )]
    ArgumentsOnRule {
        name: String,
        #[label(primary, "settings are for another optimizer")]
        at: Span,
        #[label("`{name}` is a rule of this optimizer")]
        origin: Span,
    },

    #[error("`{target}` never takes what rule `{name}` hands over")]
    #[diagnostic(
        code(opt::rule::never_fits),
        help("hand over a view that `{target}` takes, or change one of the patterns")
    )]
    NeverFits {
        name: String,
        target: String,
        view: String,
        pattern: String,
        #[label(primary, "hands over shape `{view}`")]
        at: Span,
        #[label("takes shape `{pattern}`")]
        origin: Span,
    },

    #[error("modules use each other in a circle: {path}")]
    #[diagnostic(
        code("opt::use::cycle"),
        help("move what they share to a module that uses neither")
    )]
    UseCycle {
        path: String,
        #[label(primary, "closes the circle")]
        at: Span,
    },

    #[error("functions call each other in a circle: {path}")]
    #[diagnostic(
        code(opt::function::recursion),
        help("functions cannot recur; write `repeat k {{ … }}` for a loop of known length")
    )]
    Recursion {
        path: String,
        #[label(primary, "comes back to itself")]
        at: Span,
    },

    #[error("`{name}` is too large: written out it has more than {limit} operations")]
    #[diagnostic(
        code(opt::function::too_large),
        help("calls and loops are written out; compute a part once with `let`, or repeat less")
    )]
    TooLarge {
        name: String,
        limit: u64,
        #[label(primary, "grows too large")]
        at: Span,
    },

    #[error("{what} cannot stand in {place}")]
    #[diagnostic(code(opt::statement::misplaced), help("{help}"))]
    MisplacedStatement {
        what: String,
        place: String,
        help: String,
        #[label(primary, "only in the body of a rule")]
        at: Span,
    },

    #[error("optimizers are made of each other: {path}")]
    #[diagnostic(
        code(opt::compose::circle),
        help("write down which optimizer is meant in one of them")
    )]
    CompositionCycle {
        path: String,
        #[label(primary, "leads back")]
        at: Span,
    },

    #[error("`{of}` has no hyperparameter `{name}`, which `{by}` needs")]
    #[diagnostic(
        code(opt::compose::missing_setting),
        help("give `{by}` an optimizer that has `{name}`")
    )]
    MissingSetting {
        of: String,
        name: String,
        by: String,
        #[label(primary, "has no `{name}`")]
        at: Span,
    },

    #[error("`{name}` takes an optimizer")]
    #[diagnostic(code(opt::compose::needs_optimizer), help("{help}"))]
    NeedsOptimizer {
        name: String,
        help: String,
        #[label(primary, "not an optimizer")]
        at: Span,
    },

    #[error("optimizer `{name}` is used as a value")]
    #[diagnostic(
        code(opt::compose::as_value),
        help(
            "an optimizer that a rule takes is applied, as in `base(w, grad)`; its hyperparameters are read as `base.lr`"
        )
    )]
    OptimizerAsValue {
        name: String,
        #[label(primary, "an optimizer")]
        at: Span,
    },

    #[error("this is made of more than {limit} optimizers")]
    #[diagnostic(
        code(opt::compose::too_many),
        help("each optimizer that is taken counts, as often as it is taken")
    )]
    TooManyOptimizers {
        limit: u64,
        #[label(primary, "grows too large")]
        at: Span,
    },

    #[error("`{name}` is applied twice")]
    #[diagnostic(
        code(opt::compose::applied_twice),
        help(
            "each application has state of its own: take a second optimizer, or bind the value of the first with `let`"
        )
    )]
    AppliedTwice {
        name: String,
        #[label(primary, "applied again")]
        at: Span,
        #[label("applied here")]
        origin: Span,
    },

    #[error("two components would keep their state as `{name}.…`")]
    #[diagnostic(
        code(opt::component::used_twice),
        help("bind each with a name of its own: `let m = momentum(grad, 0.9)` keeps `m.…`")
    )]
    UsedTwice {
        name: String,
        #[label(primary, "used again as `{name}`")]
        at: Span,
        #[label("used here")]
        origin: Span,
    },

    #[error("entry `{name}` changes nothing")]
    #[diagnostic(
        code(opt::entry::no_effect),
        help("an entry acts by assigning the parameter or state")
    )]
    EntryWithoutEffect {
        name: String,
        #[label(primary, "assigns neither the parameter nor state")]
        at: Span,
    },

    #[error("input `{name}` is neither a tensor nor a number")]
    #[diagnostic(
        code(opt::entry::input),
        help(
            "write `{name}: like {param}` for a tensor of the parameter's shape, or `{name}: float`"
        )
    )]
    EntryInput {
        name: String,
        param: String,
        #[label(primary, "declared here")]
        at: Span,
    },

    #[error("entry `{name}` has other inputs in another rule")]
    #[diagnostic(
        code(opt::entry::inputs_differ),
        help(
            "a caller asks all parameters at once: give both entries the same inputs, or two names"
        )
    )]
    EntryInputsDiffer {
        name: String,
        #[label(primary, "has other inputs")]
        at: Span,
        #[label("first declared here")]
        origin: Span,
    },

    #[error("entry `{name}` would belong to {parts}")]
    #[diagnostic(
        code(opt::entry::collision),
        help(
            "a composition has the entries of all its optimizers, so their names must differ: rename one"
        )
    )]
    EntryCollision {
        name: String,
        parts: String,
        #[label(primary, "two entries `{name}`")]
        at: Span,
    },

    #[error("a sum over parameters adds numbers")]
    #[diagnostic(
        code(opt::across::number),
        help("reduce it first, as in `across params {{ sum(x) }}`")
    )]
    NotANumber {
        found: String,
        #[label(primary, "this is {found}")]
        at: Span,
    },

    #[error("`{name}` is shared, but this value depends on one parameter")]
    #[diagnostic(
        code(opt::shared::of_one),
        help(
            "compute it from hyperparameters, shared numbers and `across params {{ … }}`; what belongs to one parameter is `state`"
        )
    )]
    SharedOfOne {
        name: String,
        #[label(primary, "another parameter would compute another value")]
        at: Span,
    },

    #[error("two rules assign `{name}`")]
    #[diagnostic(
        code(opt::shared::two_rules),
        help("let one rule assign it: it changes once in each step")
    )]
    SharedTwice {
        name: String,
        #[label(primary, "assigned here too")]
        at: Span,
        #[label("another rule assigns it here")]
        origin: Span,
    },

    #[error("`skip` is not the last statement of its block")]
    #[diagnostic(
        code(opt::skip::not_last),
        help("remove what follows; the rule ends at `skip`")
    )]
    SkipNotLast {
        #[label(primary, "the rule ends here")]
        at: Span,
        #[label("this is never reached")]
        origin: Span,
    },

    #[error("the period is {period}")]
    #[diagnostic(code(opt::every::period), help("a period is a whole number from 1 on"))]
    BadPeriod {
        period: String,
        #[label(primary, "nothing happens every {period} steps")]
        at: Span,
    },

    #[error("this row has {found}, the first has {expected}")]
    #[diagnostic(
        code(opt::table::ragged),
        help("give every row the same number of numbers")
    )]
    RaggedTable {
        expected: String,
        found: String,
        #[label(primary, "{found}")]
        at: Span,
        #[label("{expected}")]
        origin: Span,
    },

    #[error("rows of {width} are read into {names}")]
    #[diagnostic(
        code(opt::repeat::row_width),
        help("name every number of a row, as in `(a, b, c)`")
    )]
    RowWidth {
        names: String,
        width: String,
        #[label(primary, "rows of {width}")]
        at: Span,
    },

    #[error("a loop cannot have {count} turns")]
    #[diagnostic(code(opt::repeat::count), help("write a whole number from 0 to 10000"))]
    BadCount {
        count: String,
        #[label(primary, "this is {count}")]
        at: Span,
    },

    #[error("`{name}` changes in a loop whose length only the device knows")]
    #[diagnostic(
        code(opt::until::host),
        help("keep it in a scalar tensor, as in `var e = norm(x)`, or loop with `repeat`")
    )]
    HostInUntil {
        name: String,
        #[label(primary, "not a tensor")]
        at: Span,
    },

    #[error("{probability} is not a probability")]
    #[diagnostic(
        code(opt::random::probability),
        help("write a number from 0 to 1; it may depend on `step` and hyperparameters")
    )]
    BadProbability {
        probability: String,
        #[label(primary, "outside of [0, 1]")]
        at: Span,
    },

    #[error("`{name}` draws random numbers inside a function")]
    #[diagnostic(
        code(opt::random::in_function),
        help(
            "functions are pure: draw in the rule and hand the tensor over, as in `f(grad, normal_like(grad))`"
        )
    )]
    RandomInFunction {
        name: String,
        #[label(primary, "drawn here")]
        at: Span,
    },

    #[error("`or keep` has nothing to keep")]
    #[diagnostic(
        code(opt::policy::keep),
        help(
            "write it on the right of an assignment to state, as in `q = eigh(a).vectors or keep`"
        )
    )]
    KeepOutside {
        #[label(primary, "no state is assigned here")]
        at: Span,
    },

    #[error("`or else` behind `or keep` is never reached")]
    #[diagnostic(
        code(opt::policy::order),
        help("write it before: `… or else b or keep` keeps the state where `b` fails too")
    )]
    ElseBehindKeep {
        #[label(primary, "`or keep` has a value already")]
        at: Span,
    },

    #[error("this cannot fail")]
    #[diagnostic(
        code(opt::policy::not_factorization),
        help(
            "`or retry`, `or keep` and `or else` follow a value that `eigh`, `qr`, `orthonormal`, `svd`, `cholesky` or `solve_triangular` makes; a factorization in a `let` above belongs to that `let`: put the policy there, or both into a `fn`"
        )
    )]
    CannotFail {
        #[label(primary, "no factorization")]
        at: Span,
    },

    #[error("`retry {dtype}` is not possible")]
    #[diagnostic(code(opt::policy::retry), help("write `retry f64`"))]
    RetryDtype {
        dtype: String,
        #[label(primary, "only `f64` is more exact")]
        at: Span,
    },

    #[error("`{name}` declares no optimizer")]
    #[diagnostic(
        code(opt::optimizer::none),
        help("add `optimizer Name {{ … }}`; a file of functions is there to be imported")
    )]
    NoOptimizer {
        name: String,
        #[label(primary, "the file ends without one")]
        at: Span,
    },

    #[error("optimizer `{name}` has no rule")]
    #[diagnostic(
        code(opt::optimizer::no_rule),
        help("add `rule each(w: [...]) {{ … }}`")
    )]
    NoRule {
        name: String,
        #[label(primary, "takes no parameter")]
        at: Span,
    },

    #[error("{name} is declared {declared} and assigned a value not known to be so")]
    #[diagnostic(
        code(opt::fact::unproven),
        severity(Warning),
        help(
            "the compiler relies on the declaration: make sure that it holds, or leave the word out"
        )
    )]
    UnprovenFact {
        name: String,
        declared: String,
        #[label(primary, "not known to be {declared}")]
        at: Span,
    },

    #[error("`{name}` needs more than one triangle")]
    #[diagnostic(
        code(opt::state::packed),
        help(
            "`packed` stands before `sym[n]`, `spd[n]`, `upper[n]` or `lower[n]`; a diagonal matrix is kept as a vector"
        )
    )]
    NotPacked {
        name: String,
        #[label(primary, "cannot be packed")]
        at: Span,
    },

    #[error("{entries} of `{base}` can never be called")]
    #[diagnostic(
        code(opt::entry::out_of_reach),
        severity(Warning),
        help(
            "apply `{base}` to the parameter or to state, as in `z = {base}(z, grad)`, or take an optimizer without entries"
        )
    )]
    EntryOutOfReach {
        entries: String,
        base: String,
        #[label(
            primary,
            "`{base}` is applied to something computed, which entries cannot change"
        )]
        at: Span,
    },

    #[error("`stochastic` rounds nothing here")]
    #[diagnostic(code(opt::random::rounds_nothing), help("{help}"))]
    RoundsNothing {
        help: String,
        #[label(primary, "no storage of 16 bits is assigned")]
        at: Span,
    },

    #[error("the {asked} triangle of a matrix that is {known} triangular")]
    #[diagnostic(
        code(opt::fact::triangle),
        help(
            "leave `triangle` out, or write `triangle: {known}`; `transposed: true` solves with the transpose"
        )
    )]
    OtherTriangle {
        asked: String,
        known: String,
        #[label(primary, "holds only zeros beside the diagonal")]
        at: Span,
        #[label("{known} triangular")]
        origin: Span,
    },

    /// What is declared and does nothing.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unused(#[from] Unused),
}
