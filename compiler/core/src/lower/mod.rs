//! hir → ir: one rule, specialised for one parameter shape, dtype and set of statics.
//!
//! Lowering is partial evaluation. What is known at bind (statics, dimensions, the set of modes, table rows) is
//! computed here and disappears; functions are inlined and `repeat` and `each` are unrolled, because both depend on
//! such values. What remains is straight tensor code with host scalars and the branches that depend on the step.
//!
//! A checked program lowers without failing, unless the numbers of a parameter make that impossible ([`LowerError`]); an impossible case is a bug
//! in the checker and panics with its name.

mod apply;
mod builtin;
mod current;
mod entry;
mod error;
mod expr;
mod names;
mod select;
mod shared;
mod state;
mod stmt;
mod view;

pub use entry::{entries, lower_entry};
pub use error::{Fault, LowerError, Place};
pub use names::{answers, examples};
pub use select::{rule_for, rule_takes};
pub(crate) use shared::first_shared;

use crate::dtype::DType;
use crate::hir::FileId;
use crate::hir::{
    self, Fact, FunctionId, ModesId, OptimizerId, Program, Rule, RuleBody, StateId, StaticType,
    Target,
};
use crate::ir::{Builder, Function, OnFailure, Slot, TensorType, Value};
use crate::packed::Packing;
use crate::plan::Role;
use crate::quantized::Format;
use crate::settings::{Settings, StaticValue};
use cranelift_entity::SecondaryMap;
use current::Current;
use std::collections::{BTreeMap, HashMap};

/// Operations that a rule may have for one parameter, loops written out and parts counted each; loops stop there.
/// Scalable Shampoo has 2.4 million for 256 blocks.
pub const LARGEST_FUNCTION: u64 = 1 << 22;

/// What a rule is specialised for.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// The program.
    pub program: &'a Program,
    /// The optimizer bound to the parameter.
    pub optimizer: OptimizerId,
    /// Its numbers and choices; statics are used, hyperparameters stay variable.
    pub settings: &'a Settings,
    /// The rule that takes the parameter, an index into the optimizer's rules.
    pub rule: usize,
    /// The parameter's name, for rules that ask for it.
    pub name: &'a str,
    /// The parameter's shape.
    pub dims: &'a [u64],
    /// The parameter's storage type.
    pub dtype: DType,
    /// The gradient's storage type.
    pub grad_dtype: DType,
}

/// Specialises a rule.
///
/// # Errors
///
/// Its loops are too long to be written out.
pub fn lower(spec: &Spec<'_>) -> Result<Function, LowerError> {
    Ok(lowered(spec)?.finish())
}

fn lowered<'p>(spec: &Spec<'p>) -> Result<Lowerer<'p>, LowerError> {
    let frame = root_frame(spec.program, spec.optimizer, spec.settings);
    let mut lowerer = Lowerer {
        name: spec.name,
        ..Lowerer::new(spec.program, frame)
    };
    lowerer.slot("w", Role::Param, spec.dtype, spec.dims, Fact::General);
    lowerer.slot(
        "grad",
        Role::Grad,
        spec.grad_dtype,
        spec.dims,
        Fact::General,
    );
    let [param, grad] = [0, 1].map(|slot| {
        let value = lowerer.build.slot(slot);
        lowerer.build.cast(value, spec.dtype.compute())
    });
    lowerer.current = Current::new(vec![param, grad]);
    let updated = lowerer.rule(spec.rule, param, grad);
    lowerer.current.set(0, updated);
    lowerer.whole(|| Place::of(spec))
}

/// The value of a hyperparameter's default over the settings so far; NaN if it is not a number.
pub(crate) fn default_hyper(
    program: &Program,
    id: OptimizerId,
    settings: &Settings,
    hyper: &hir::Hyper,
) -> Result<f64, LowerError> {
    let mut lowerer = Lowerer::new(program, constant_frame(id, settings));
    let value = lowerer.expr(&hyper.default);
    lowerer.whole(|| Place::default(&hyper.name))?;
    Ok(match value {
        Val::Number(x) => x,
        _ => f64::NAN,
    })
}

/// The value of a static's default.
pub(crate) fn default_static(
    program: &Program,
    id: OptimizerId,
    settings: &Settings,
    declared: &hir::Static,
) -> Result<StaticValue, LowerError> {
    let mut lowerer = Lowerer::new(program, constant_frame(id, settings));
    let value = lowerer.expr(&declared.default);
    lowerer.whole(|| Place::default(&declared.name))?;
    Ok(value.into_static(&declared.ty))
}

/// A value during lowering: known now, or a value of the IR.
#[derive(Debug, Clone, PartialEq)]
enum Val {
    /// A host number or bool (0 or 1) known now.
    Number(f64),
    /// A host number known at each step.
    Host(Value),
    /// Input `n` of the host program, read where it is needed.
    Input(u32),
    /// A word of a choice.
    Word(String),
    /// A storage type; `None` is the parameter's.
    DType(Option<DType>),
    /// Rows of numbers.
    Table(Vec<Vec<f64>>),
    /// A tensor or mask.
    Tensor(Value),
    /// The results of a factorization.
    Results(Vec<Value>),
    /// `identity`: every square state knows what it means.
    Identity,
    /// State of every mode that takes part.
    Family(Vec<(u32, Value)>),
}

impl Val {
    /// A number known now.
    fn number(self) -> f64 {
        match self {
            Val::Number(x) => x,
            other => unreachable!("a number known at bind is {other:?}"),
        }
    }

    fn into_static(self, ty: &StaticType) -> StaticValue {
        match self {
            Val::Number(x) if *ty == StaticType::Bool => StaticValue::Bool(x != 0.0),
            Val::Number(x) => StaticValue::Number(x),
            Val::Word(word) => StaticValue::Word(word),
            Val::DType(dtype) => StaticValue::DType(dtype),
            Val::Table(rows) => StaticValue::Table(rows),
            other => unreachable!("a static is {other:?}"),
        }
    }
}

impl From<&StaticValue> for Val {
    fn from(value: &StaticValue) -> Val {
        match value {
            StaticValue::Number(x) => Val::Number(*x),
            StaticValue::Bool(b) => Val::Number(f64::from(u8::from(*b))),
            StaticValue::Word(word) => Val::Word(word.clone()),
            StaticValue::DType(dtype) => Val::DType(*dtype),
            StaticValue::Table(rows) => Val::Table(rows.clone()),
        }
    }
}

/// What names mean inside one optimizer and rule.
#[derive(Debug, Clone)]
struct Frame {
    optimizer: OptimizerId,
    /// Where what is lowered stands; unknown for settings.
    file: Option<FileId>,
    hypers: Vec<Val>,
    statics: Vec<Val>,
    symbols: SecondaryMap<hir::Symbol, u64>,
    locals: HashMap<hir::Local, Val>,
    states: HashMap<(StateId, Option<u32>), usize>,
    /// The slots that count failures.
    failures: HashMap<(StateId, Option<u32>), usize>,
    modes: HashMap<ModesId, Vec<u32>>,
    mode: Option<u32>,
    /// Where its shared numbers are among the host inputs.
    first_input: usize,
    /// Shared numbers that were assigned.
    shared: HashMap<usize, Value>,
    param: Option<Value>,
    grad: Option<Value>,
    /// How the rule sees the parameter's slot, and what its state is called.
    through: Through,
    /// The component that runs, and the mode for which it is used.
    component: Option<(FunctionId, Option<u32>)>,
    /// The parameter and the gradient that the rule was given.
    given: Option<[Value; 2]>,
    /// Whether those are the ones that were bound, before anything changed them.
    pristine: [bool; 2],
    rule: usize,
}

/// The way from a parameter's slot to what a rule sees of it.
#[derive(Debug, Clone)]
struct Through {
    steps: Vec<view::Step>,
    /// What state is called before its name: that of a part `part2.`, of what is applied `base.`
    prefix: String,
    /// The slot where the rule's parameter is kept, and the steps from there; none when it is computed.
    home: Option<(usize, Vec<view::Step>)>,
}

impl Default for Through {
    fn default() -> Through {
        Through {
            steps: Vec::new(),
            prefix: String::new(),
            home: Some((0, Vec::new())),
        }
    }
}

impl Through {
    fn then(&self, steps: &[view::Step]) -> Through {
        Through {
            steps: [&self.steps, steps].concat(),
            prefix: self.prefix.clone(),
            home: self
                .home
                .as_ref()
                .map(|(slot, from)| (*slot, [from, steps].concat())),
        }
    }

    fn part(self, n: usize) -> Through {
        self.named(&format!("part{n}"))
    }

    fn named(mut self, name: &str) -> Through {
        self.prefix = format!("{}{name}.", self.prefix);
        self
    }
}

impl Frame {
    fn new(optimizer: OptimizerId, hypers: Vec<Val>, statics: Vec<Val>) -> Frame {
        Frame {
            optimizer,
            file: None,
            hypers,
            statics,
            symbols: SecondaryMap::new(),
            locals: HashMap::new(),
            states: HashMap::new(),
            failures: HashMap::new(),
            modes: HashMap::new(),
            mode: None,
            first_input: 0,
            shared: HashMap::new(),
            param: None,
            grad: None,
            through: Through::default(),
            component: None,
            given: None,
            pristine: [true; 2],
            rule: 0,
        }
    }
}

/// The frame of the bound optimizer: its hyperparameters are read at each step.
fn root_frame(program: &Program, id: OptimizerId, settings: &Settings) -> Frame {
    let count = program.optimizers[id].hypers.len();
    let hypers = (0..count as u32).map(Val::Input).collect();
    let statics = settings.statics.iter().map(Val::from).collect();
    Frame {
        first_input: count,
        ..Frame::new(id, hypers, statics)
    }
}

/// The frame of expressions evaluated at bind: hyperparameters have their values of that moment.
fn constant_frame(id: OptimizerId, settings: &Settings) -> Frame {
    let hypers = settings.hypers.iter().map(|&x| Val::Number(x)).collect();
    Frame::new(id, hypers, settings.statics.iter().map(Val::from).collect())
}

struct Lowerer<'p> {
    program: &'p Program,
    /// The parameter's name.
    name: &'p str,
    build: Builder,
    frame: Frame,
    /// The value of each slot at this point.
    current: Current,
    /// The slots that hold codes; their scales are in the next one. The value of such a slot at this point is that of
    /// the state.
    formats: BTreeMap<usize, Format>,
    /// The slots that hold one half of a matrix with so many rows; the value of such a slot at this point is the matrix.
    packed: BTreeMap<usize, (Packing, u64)>,
    /// The first value of each state slot, in `init`.
    initial: Vec<Value>,
    /// Tensors read here are cast to this type.
    context: Option<DType>,
    on_failure: OnFailure,
    /// The rules that ran, with what names meant in them.
    ran: Vec<Frame>,
    /// A first value of state is lowered.
    hiding: Option<state::Hiding>,
    /// Turns of loops that were written out.
    turns: u64,
    /// The first thing that makes the rule impossible for this parameter.
    fault: Option<Fault>,
    /// How many random tensors and random branches were written out.
    draws: [u32; 2],
    /// The vectors of diagonal matrices.
    diagonals: HashMap<Value, Value>,
    /// The new values of shared numbers, by host input.
    assigned: BTreeMap<u32, Value>,
}

impl<'p> Lowerer<'p> {
    fn new(program: &'p Program, frame: Frame) -> Lowerer<'p> {
        Lowerer {
            program,
            name: "",
            build: Builder::default(),
            frame,
            current: Current::default(),
            formats: BTreeMap::new(),
            packed: BTreeMap::new(),
            initial: Vec::new(),
            context: None,
            on_failure: OnFailure::default(),
            ran: Vec::new(),
            turns: 0,
            fault: None,
            hiding: None,
            draws: [0; 2],
            diagonals: HashMap::new(),
            assigned: BTreeMap::new(),
        }
    }

    fn slot(&mut self, name: &str, role: Role, dtype: DType, dims: &[u64], fact: Fact) -> usize {
        let ty = TensorType {
            dtype,
            dims: dims.to_vec(),
        };
        self.build.function.slots.push(Slot {
            name: name.to_owned(),
            role,
            ty,
            fact,
        });
        self.build.function.slots.len() - 1
    }

    /// The same, unless something is wrong with it.
    fn whole(self, place: impl FnOnce() -> Place) -> Result<Self, LowerError> {
        let oversized = self.build.oversized.clone().map(Fault::Elements);
        match self.fault.clone().or(oversized) {
            Some(fault) => Err(LowerError {
                place: place(),
                fault,
            }),
            None => Ok(self),
        }
    }

    fn finish(mut self) -> Function {
        let (init, body) = (self.build.function.init, self.build.function.body);
        self.store_codes();
        self.store_packed();
        let mut results = self.current.into_values();
        for (slot, value) in results.iter_mut().enumerate() {
            let stored = self.build.function.slots[slot].ty.dtype;
            *value = self.build.cast(*value, stored);
        }
        let mut slots = self.build.function.slots.iter();
        results.retain(|_| slots.next().is_some_and(|slot| !slot.role.is_read_only()));
        let shared: Vec<(u32, Value)> = self.assigned.into_iter().collect();
        results.extend(shared.iter().map(|(_, value)| *value));
        self.build.function.shared = shared.into_iter().map(|(input, _)| input).collect();
        self.build.function.regions[body].results = results;
        self.build.function.regions[init].results = self.initial;
        self.build.forget_unused_regions();
        self.build.function
    }

    fn rule_data(&self) -> &'p Rule {
        &self.program.optimizers[self.frame.optimizer].rules[self.frame.rule]
    }

    fn state_data(&self, state: StateId) -> &'p hir::State {
        match self.frame.component {
            Some((id, _)) => &self.program.functions[id].states[state],
            None => &self.rule_data().states[state],
        }
    }

    /// Runs a rule of the frame's optimizer on a parameter and its gradient; gives the parameter's new value.
    fn rule(&mut self, rule: usize, param: Value, grad: Value) -> Value {
        self.frame.rule = rule;
        self.frame.file = Some(self.rule_data().file);
        self.frame.param = Some(param);
        self.frame.grad = Some(grad);
        self.frame.given = Some([param, grad]);
        let data = self.rule_data();
        let dims = self.build.function.dims(param).to_vec();
        self.frame.symbols = select::bind_pattern(&data.pattern, &dims).unwrap_or_default();
        match &data.body {
            RuleBody::Block(block) => {
                self.stmts(&block.stmts, None);
                self.ran.push(self.frame.clone());
                self.frame.param.unwrap_or(param)
            }
            RuleBody::Delegate { target, view } => {
                let through = self.frame.through.clone();
                self.delegate(target, view, &through, param, grad)
            }
        }
    }

    fn delegate(
        &mut self,
        target: &'p Target,
        views: &'p [hir::View],
        through: &Through,
        param: Value,
        grad: Value,
    ) -> Value {
        let Some((view, inner)) = views.split_first() else {
            return self.hand_over(target, through, param, grad);
        };
        let dims = self.build.function.dims(param).to_vec();
        match self.seen(view, &dims) {
            view::Seen::Whole(step) => {
                let steps = std::slice::from_ref(&step);
                let [param, grad] = [param, grad].map(|value| self.apply_view(steps, value));
                let through = through.then(steps);
                let updated = self.delegate(target, inner, &through, param, grad);
                self.undo_view(&step, updated)
            }
            view::Seen::Parts(lengths) => {
                let mut updated = Vec::new();
                let parts = view::parts(&lengths);
                for (n, steps) in parts.iter().enumerate() {
                    let [param, grad] = [param, grad].map(|value| self.apply_view(steps, value));
                    let own = match parts.len() {
                        1 => through.then(steps),
                        _ => through.then(steps).part(n),
                    };
                    updated.push(self.delegate(target, inner, &own, param, grad));
                }
                self.together(&lengths, updated)
            }
            view::Seen::Nothing => unreachable!("a rule whose view does not fit takes nothing"),
        }
    }

    /// Runs the target on a parameter that was seen through all views.
    fn hand_over(
        &mut self,
        target: &'p Target,
        through: &Through,
        param: Value,
        grad: Value,
    ) -> Value {
        let dims = self.build.function.dims(param).to_vec();
        let first_input = self.inputs_of_target(self.frame.rule);
        let (frame, rule) = match target {
            Target::Rule(rule) => (
                Frame::new(
                    self.frame.optimizer,
                    self.frame.hypers.clone(),
                    self.frame.statics.clone(),
                ),
                *rule,
            ),
            Target::Optimizer {
                id,
                hypers,
                statics,
            } => {
                let frame = self.inner_frame(*id, hypers, statics);
                let rule = self.matching_rule(&frame, &dims).unwrap_or_default();
                (frame, rule)
            }
        };
        let outer = std::mem::replace(&mut self.frame, frame);
        self.frame.through = through.clone();
        self.frame.first_input = first_input;
        self.frame.pristine = outer.pristine;
        let updated = self.rule(rule, param, grad);
        self.frame = outer;
        updated
    }

    /// The frame of an optimizer used inside another: what is not set keeps its default.
    fn inner_frame(
        &mut self,
        id: OptimizerId,
        hypers: &'p [(usize, hir::Expr)],
        statics: &'p [(usize, hir::Expr)],
    ) -> Frame {
        let given = |this: &mut Self, list: &'p [(usize, hir::Expr)]| -> HashMap<usize, Val> {
            list.iter()
                .map(|(index, expr)| (*index, this.expr(expr)))
                .collect()
        };
        let (mut hypers, mut statics) = (given(self, hypers), given(self, statics));
        let optimizer = &self.program.optimizers[id];
        let outer = std::mem::replace(&mut self.frame, Frame::new(id, Vec::new(), Vec::new()));
        for (index, hyper) in optimizer.hypers.iter().enumerate() {
            let value = hypers
                .remove(&index)
                .unwrap_or_else(|| self.expr(&hyper.default));
            self.frame.hypers.push(value);
        }
        for (index, declared) in optimizer.statics.iter().enumerate() {
            let value = statics
                .remove(&index)
                .unwrap_or_else(|| self.expr(&declared.default));
            self.frame.statics.push(value);
        }
        std::mem::replace(&mut self.frame, outer)
    }
}
