//! Fusion: element-wise operations over one index space become one kernel with many inputs and outputs.
//!
//! ```text
//! v3 = lerp v1, v0, v9                     v3, v5 = map_1a2b3c4d (v1, v0, v2) scalars (v9, v8)
//! v4 = mul v0, v0               →
//! v5 = lerp v2, v4, v8
//! ```
//!
//! Operations join a group while no path leads out of the group and back. An operation whose readers all sit in a later
//! group moves there, so nothing is stored only to be read again. Masks and host values are never stored: each kernel
//! that needs one computes it. Sums ride on the group that makes their operand.

use super::rewrite::use_counts;
use crate::dtype::DType;
use crate::ir::{Fused, Function, Math, Op, OpData, OpKind, Reduce, Region, Value, ValueData};
use crate::kernel::{
    Access, BinaryOp, Input, Inst, MapKernel, Output, OutputKind, Space, Val,
};
use crate::kernel_math;
use cranelift_entity::SecondaryMap;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Runs the pass.
pub(super) fn run(mut function: Function) -> Function {
    let regions: Vec<Region> = function.regions.keys().collect();
    for region in regions {
        let plan = Grouping::new(&function, region).run();
        emit(&mut function, region, plan);
    }
    function
}

/// The index space of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SpaceKey {
    dims: Vec<u64>,
    compute: DType,
}

/// How a group's space is cut into rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Any cut will do.
    Any,
    /// It must be one run: a sum over all elements has its own order.
    Flat,
    /// Axes before this one are rows.
    At(usize),
}

impl Split {
    fn join(self, other: Split) -> Option<Split> {
        match (self, other) {
            (Split::Any, split) | (split, Split::Any) => Some(split),
            (a, b) => (a == b).then_some(a),
        }
    }
}

#[derive(Debug)]
struct Group {
    key: SpaceKey,
    split: Split,
    members: BTreeSet<Op>,
}

/// Assigns the operations of one region to groups.
struct Grouping<'a> {
    function: &'a Function,
    region: Region,
    position: SecondaryMap<Op, u32>,
    group_of: BTreeMap<Op, usize>,
    groups: Vec<Group>,
}

impl<'a> Grouping<'a> {
    fn new(function: &'a Function, region: Region) -> Grouping<'a> {
        let mut position = SecondaryMap::with_default(u32::MAX);
        for (n, &op) in function.regions[region].ops.iter().enumerate() {
            position[op] = n as u32;
        }
        Grouping { function, region, position, group_of: BTreeMap::new(), groups: Vec::new() }
    }

    fn run(mut self) -> Vec<Group> {
        for op in self.function.regions[self.region].ops.clone() {
            if let Some((key, split)) = space_of(self.function, op) {
                self.place(op, key, split);
            }
        }
        self.sink();
        self.groups.retain(|group| !group.members.is_empty());
        self.groups
    }

    /// The operation joins the latest group that it may join, or opens one.
    fn place(&mut self, op: Op, key: SpaceKey, split: Split) {
        let candidates = (0..self.groups.len()).rev();
        let found = candidates.into_iter().find_map(|group| {
            let data = &self.groups[group];
            let joined = (data.key == key).then(|| data.split.join(split)).flatten()?;
            self.may_join(op, group).then_some((group, joined))
        });
        let group = match found {
            Some((group, joined)) => {
                self.groups[group].split = joined;
                group
            }
            None => {
                self.groups.push(Group { key, split, members: BTreeSet::new() });
                self.groups.len() - 1
            }
        };
        self.groups[group].members.insert(op);
        self.group_of.insert(op, group);
    }

    /// No operand outside the group depends on it, and operands inside are elements, not sums.
    fn may_join(&self, op: Op, group: usize) -> bool {
        let mut seen = BTreeSet::new();
        self.sources(op).into_iter().all(|source| {
            let inside = self.group_of.get(&source) == Some(&group);
            if inside { !is_sum(self.function, source) } else { !self.reaches(source, group, &mut seen) }
        })
    }

    /// Whether `from` depends on a member of the group.
    fn reaches(&self, from: Op, group: usize, seen: &mut BTreeSet<Op>) -> bool {
        if !seen.insert(from) {
            return false;
        }
        let own = self.group_of.get(&from);
        if own == Some(&group) {
            return true;
        }
        let members: Vec<Op> = own.map_or(vec![from], |&own| self.groups[own].members.iter().copied().collect());
        members.into_iter().any(|op| self.sources(op).into_iter().any(|source| self.reaches(source, group, seen)))
    }

    /// The operations of this region that make what `op` reads, looking through what is never stored.
    fn sources(&self, op: Op) -> Vec<Op> {
        let mut found = Vec::new();
        for value in reads(self.function, op) {
            let source = self.function.values[value].op;
            if self.position[source] == u32::MAX || self.function.ops[source].kind.is_host() {
                continue;
            }
            if is_inline(&self.function.ops[source].kind) {
                found.extend(self.sources(source));
            } else {
                found.push(source);
            }
        }
        found
    }

    /// Moves operations to the group of their readers when all of those sit in one later group.
    fn sink(&mut self) {
        let yields: BTreeSet<Value> = self.function.regions[self.region].results.iter().copied().collect();
        let readers = self.readers();
        for op in self.function.regions[self.region].ops.iter().rev().copied() {
            let Some(&own) = self.group_of.get(&op) else { continue };
            if is_sum(self.function, op) || yields.contains(&self.function.ops[op].results[0]) {
                continue;
            }
            let targets: BTreeSet<Option<usize>> = readers[op].iter().map(|reader| self.group_of.get(reader).copied()).collect();
            let target = match targets.iter().next() {
                Some(Some(target)) if targets.len() == 1 && *target != own => *target,
                _ => continue,
            };
            self.try_sink(op, own, target);
        }
    }

    fn try_sink(&mut self, op: Op, own: usize, target: usize) {
        let Some((key, split)) = space_of(self.function, op) else { return };
        let joined = self.groups[target].split.join(split);
        if self.groups[target].key != key || joined.is_none() {
            return;
        }
        let stays_stored = self.sources(op).into_iter().all(|source| self.group_of.get(&source) != Some(&own));
        if !stays_stored {
            return;
        }
        self.groups[own].members.remove(&op);
        self.group_of.remove(&op);
        let fits = self.may_join(op, target);
        let group = if fits { target } else { own };
        if let (true, Some(joined)) = (fits, joined) {
            self.groups[target].split = joined;
        }
        self.groups[group].members.insert(op);
        self.group_of.insert(op, group);
    }

    /// Who reads each operation's value, through what is never stored; `op` itself stands for readers elsewhere.
    fn readers(&self) -> SecondaryMap<Op, Vec<Op>> {
        let mut readers: SecondaryMap<Op, Vec<Op>> = SecondaryMap::new();
        for &op in &self.function.regions[self.region].ops {
            if is_inline(&self.function.ops[op].kind) {
                continue;
            }
            for source in self.sources(op) {
                readers[source].push(op);
            }
        }
        readers
    }
}

/// The values an operation reads; for a branch also those its regions take from outside.
fn reads(function: &Function, op: Op) -> Vec<Value> {
    let kind = &function.ops[op].kind;
    let mut found = kind.operands();
    if let OpKind::If { then, otherwise, .. } = *kind {
        for region in [then, otherwise] {
            let data = &function.regions[region];
            found.extend(data.ops.iter().flat_map(|&inner| reads(function, inner)));
            found.extend(&data.results);
        }
    }
    found
}

fn is_sum(function: &Function, op: Op) -> bool {
    matches!(function.ops[op].kind, OpKind::Sum(..))
}

/// Computed by each kernel that needs it, never stored: masks.
fn is_inline(kind: &OpKind) -> bool {
    matches!(kind, OpKind::Compare(..) | OpKind::Logic(..) | OpKind::Not(_))
}

/// The space and cut that an operation needs, if it can be part of a kernel.
fn space_of(function: &Function, op: Op) -> Option<(SpaceKey, Split)> {
    let data = &function.ops[op];
    let (dims, dtype) = match &data.kind {
        OpKind::Sum(a, _) => (function.dims(*a), function.tensor(*a)?.dtype),
        kind if kind.is_map() && !is_inline(kind) => {
            let ty = function.tensor(data.results[0])?;
            (&ty.dims[..], ty.dtype)
        }
        _ => return None,
    };
    let split = match &data.kind {
        OpKind::Sum(_, Reduce::All) => Split::Flat,
        OpKind::Sum(_, Reduce::From(axis) | Reduce::Before(axis)) => Split::At(*axis),
        kind => split_of_operands(function, kind, dims)?,
    };
    let compute = mask_compute(function, &data.kind).into_iter().fold(dtype.compute(), wider);
    let one = split == Split::Any && dims.iter().product::<u64>() == 1;
    Some((SpaceKey { dims: if one { Vec::new() } else { dims.to_vec() }, compute }, split))
}

fn wider(a: DType, b: DType) -> DType {
    if a == DType::F64 || b == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The compute types of the comparisons behind a selection.
fn mask_compute(function: &Function, kind: &OpKind) -> Vec<DType> {
    let mut found = Vec::new();
    for operand in kind.operands() {
        let source = function.def(operand);
        if is_inline(source) {
            let tensors = source.operands().into_iter().filter_map(|v| function.tensor(v));
            found.extend(tensors.map(|ty| ty.dtype.compute()));
            found.extend(mask_compute(function, source));
        }
    }
    found
}

fn split_of_operands(function: &Function, kind: &OpKind, dims: &[u64]) -> Option<Split> {
    kind.operands().into_iter().try_fold(Split::Any, |split, operand| {
        let inner = function.def(operand);
        let own = if is_inline(inner) {
            split_of_operands(function, inner, dims)?
        } else {
            cut(function.dims(operand), dims)?
        };
        split.join(own)
    })
}

/// How an operand of shape `from` broadcasts over `dims`; `None` when neither rows nor columns do it.
fn cut(from: &[u64], dims: &[u64]) -> Option<Split> {
    if from.iter().product::<u64>() == 1 || from == dims {
        return Some(Split::Any);
    }
    let padded = [vec![1; dims.len() - from.len()], from.to_vec()].concat();
    let equal = padded.iter().zip(dims).take_while(|(a, b)| a == b).count();
    if padded[equal..].iter().all(|&d| d == 1) {
        return Some(Split::At(equal));
    }
    let ones = padded.iter().take_while(|&&d| d == 1).count();
    (padded[ones..] == dims[ones..]).then_some(Split::At(ones))
}

/// Replaces the region's operations by one operation per group, in an order that respects all dependences.
fn emit(function: &mut Function, region: Region, groups: Vec<Group>) {
    let uses = use_counts(function);
    let mut emitter = Emitter {
        group_of: HashMap::new(),
        done: BTreeSet::new(),
        in_region: function.regions[region].ops.iter().copied().collect(),
        groups,
        order: Vec::new(),
        uses,
    };
    for (n, group) in emitter.groups.iter().enumerate() {
        emitter.group_of.extend(group.members.iter().map(|&op| (op, n)));
    }
    for op in function.regions[region].ops.clone() {
        emitter.op(function, op);
    }
    function.regions[region].ops = emitter.order;
}

struct Emitter {
    group_of: HashMap<Op, usize>,
    done: BTreeSet<Op>,
    in_region: BTreeSet<Op>,
    groups: Vec<Group>,
    order: Vec<Op>,
    uses: SecondaryMap<Value, u32>,
}

impl Emitter {
    fn op(&mut self, function: &mut Function, op: Op) {
        if !self.in_region.contains(&op) || !self.done.insert(op) {
            return;
        }
        match self.group_of.get(&op).copied() {
            None => {
                self.sources(function, op);
                self.order.push(op);
            }
            Some(group) => self.group(function, group),
        }
    }

    fn sources(&mut self, function: &mut Function, op: Op) {
        for value in reads(function, op) {
            let source = function.values[value].op;
            self.op(function, source);
        }
    }

    fn group(&mut self, function: &mut Function, group: usize) {
        let members: Vec<Op> = self.groups[group].members.iter().copied().collect();
        self.done.extend(&members);
        members.iter().for_each(|&op| self.sources(function, op));
        let mut ordered = members;
        ordered.sort_by_key(|op| *op);
        let kernel = KernelBuilder::new(function, &self.groups[group], &self.uses).build(&ordered);
        let fused = function.ops.next_key();
        for (index, &result) in kernel.results.iter().enumerate() {
            let ty = function.values[result].ty.clone();
            function.values[result] = ValueData { ty, op: fused, index: index as u32 };
        }
        function.ops.push(OpData { kind: OpKind::Fused(Box::new(kernel.fused)), results: kernel.results });
        self.order.push(fused);
    }
}

/// A kernel with its operands and the values it makes.
struct Built {
    fused: Fused,
    results: Vec<Value>,
}

struct KernelBuilder<'a> {
    function: &'a Function,
    group: &'a Group,
    uses: &'a SecondaryMap<Value, u32>,
    insts: Vec<Inst>,
    /// Instructions made so far, by their text.
    known: HashMap<String, Val>,
    made: HashMap<Value, Val>,
    inputs: Vec<(Value, Input)>,
    scalars: Vec<Value>,
}

impl<'a> KernelBuilder<'a> {
    fn new(function: &'a Function, group: &'a Group, uses: &'a SecondaryMap<Value, u32>) -> KernelBuilder<'a> {
        KernelBuilder {
            function,
            group,
            uses,
            insts: Vec::new(),
            known: HashMap::new(),
            made: HashMap::new(),
            inputs: Vec::new(),
            scalars: Vec::new(),
        }
    }

    fn build(mut self, members: &[Op]) -> Built {
        let mut outputs = Vec::new();
        let mut results = Vec::new();
        for &op in members {
            let data = &self.function.ops[op];
            let result = data.results[0];
            let dtype = self.function.tensor(result).map_or(DType::F32, |ty| ty.dtype);
            if let OpKind::Sum(a, over) = data.kind {
                let value = self.float(a);
                outputs.push(Output { value, dtype, kind: self.sum_kind(over) });
                results.push(result);
                continue;
            }
            let value = self.member(&data.kind, dtype);
            self.made.insert(result, value);
            if self.read_outside(result, members) {
                outputs.push(Output { value, dtype, kind: OutputKind::Store });
                results.push(result);
            }
        }
        let (rows, cols) = self.extent();
        let kernel = MapKernel {
            space: if matches!(self.group.split, Split::At(_)) { Space::Grid } else { Space::Flat },
            compute: self.group.key.compute,
            inputs: self.inputs.iter().map(|(_, input)| *input).collect(),
            scalars: self.scalars.len() as u32,
            insts: self.insts,
            outputs,
        };
        let inputs = self.inputs.into_iter().map(|(value, _)| value).collect();
        Built { fused: Fused { kernel, inputs, scalars: self.scalars, rows, cols }, results }
    }

    fn sum_kind(&self, over: Reduce) -> OutputKind {
        match over {
            Reduce::All => OutputKind::SumAll,
            Reduce::From(_) => OutputKind::SumCols,
            Reduce::Before(_) => OutputKind::SumRows,
        }
    }

    /// Whether anything but this group's members reads a value.
    fn read_outside(&self, value: Value, members: &[Op]) -> bool {
        let inside = members.iter().flat_map(|&op| self.function.ops[op].kind.operands()).filter(|&v| v == value).count();
        self.uses[value] as usize > inside
    }

    fn extent(&self) -> (u64, u64) {
        let dims = &self.group.key.dims;
        match self.group.split {
            Split::At(axis) => (dims[..axis].iter().product(), dims[axis..].iter().product()),
            Split::Any | Split::Flat => (dims.iter().product(), 1),
        }
    }

    fn push(&mut self, inst: Inst) -> Val {
        let key = format!("{inst:?}");
        if let Some(&value) = self.known.get(&key) {
            return value;
        }
        self.insts.push(inst);
        let value = self.insts.len() as Val - 1;
        self.known.insert(key, value);
        value
    }

    /// The operation's value, rounded to its type.
    fn member(&mut self, kind: &OpKind, dtype: DType) -> Val {
        let value = self.arithmetic(kind, dtype);
        self.rounded(value, dtype)
    }

    fn rounded(&mut self, value: Val, dtype: DType) -> Val {
        let fill = matches!(self.insts[value as usize], Inst::Round(known, _) if known == dtype);
        if dtype == self.group.key.compute || fill { value } else { self.push(Inst::Round(dtype, value)) }
    }

    fn arithmetic(&mut self, kind: &OpKind, dtype: DType) -> Val {
        match *kind {
            OpKind::Fill(a) | OpKind::Cast(a) => self.float(a),
            OpKind::Unary(op, a) => {
                let a = self.float(a);
                self.push(Inst::Unary(op, a))
            }
            OpKind::Binary(op, a, b) => {
                let (a, b) = (self.float(a), self.float(b));
                self.push(Inst::Binary(op, a, b))
            }
            OpKind::Math(op, a) => {
                let a = self.float(a);
                let compute = self.group.key.compute;
                match op {
                    Math::Exp => kernel_math::exp(&mut self.insts, compute, a),
                    Math::Log => kernel_math::log(&mut self.insts, compute, a),
                    Math::Tanh => kernel_math::tanh(&mut self.insts, compute, a),
                }
            }
            OpKind::Pow(a, b) => {
                let (a, b) = (self.float(a), self.float(b));
                kernel_math::pow(&mut self.insts, self.group.key.compute, a, b)
            }
            OpKind::Lerp(a, b, weight) => {
                let (a, b, weight) = (self.float(a), self.float(b), self.float(weight));
                let way = self.push(Inst::Binary(BinaryOp::Sub, b, a));
                let way = self.rounded(way, dtype);
                let part = self.push(Inst::Binary(BinaryOp::Mul, weight, way));
                let part = self.rounded(part, dtype);
                self.push(Inst::Binary(BinaryOp::Add, a, part))
            }
            OpKind::Select(c, a, b) => {
                let (c, a, b) = (self.mask(c), self.float(a), self.float(b));
                self.push(Inst::Select(c, a, b))
            }
            ref other => unreachable!("{other:?} in a kernel"),
        }
    }

    /// A number at this point: made here, a host scalar, or loaded.
    fn float(&mut self, value: Value) -> Val {
        if let Some(&made) = self.made.get(&value) {
            return made;
        }
        match *self.function.def(value) {
            OpKind::Const(x) => self.push(Inst::Const(x)),
            _ if self.function.is_host(value) => {
                let scalar = self.scalar(value);
                self.push(Inst::Scalar(scalar))
            }
            _ => self.load(value),
        }
    }

    fn scalar(&mut self, value: Value) -> u32 {
        let known = self.scalars.iter().position(|&scalar| scalar == value);
        known.unwrap_or_else(|| {
            self.scalars.push(value);
            self.scalars.len() - 1
        }) as u32
    }

    fn load(&mut self, value: Value) -> Val {
        let known = self.inputs.iter().position(|(input, _)| *input == value);
        let n = known.unwrap_or_else(|| {
            let dtype = self.function.tensor(value).map_or(DType::F32, |ty| ty.dtype);
            self.inputs.push((value, Input { dtype, access: self.access(self.function.dims(value)) }));
            self.inputs.len() - 1
        });
        self.push(Inst::Load(n as u32))
    }

    fn access(&self, from: &[u64]) -> Access {
        let dims = &self.group.key.dims;
        let count = from.iter().product::<u64>();
        if count == dims.iter().product::<u64>() {
            return Access::Full;
        }
        if count == 1 {
            return Access::One;
        }
        let leading = from.len() == dims.len() && from[0] == dims[0] && from.last() == Some(&1);
        if leading { Access::Row } else { Access::Col }
    }

    fn mask(&mut self, value: Value) -> Val {
        match *self.function.def(value) {
            OpKind::Compare(op, a, b) => {
                let (a, b) = (self.float(a), self.float(b));
                self.push(Inst::Compare(op, a, b))
            }
            OpKind::Logic(op, a, b) => {
                let (a, b) = (self.mask(a), self.mask(b));
                self.push(Inst::Logic(op, a, b))
            }
            OpKind::Not(a) => {
                let a = self.mask(a);
                self.push(Inst::Not(a))
            }
            _ => {
                let scalar = self.scalar(value);
                self.push(Inst::ScalarMask(scalar))
            }
        }
    }
}
