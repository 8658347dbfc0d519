//! Which operations of a region become one kernel.

use super::space::{SpaceKey, Split, is_inline, space_of};
use crate::ir::{Function, Op, OpKind, Region, Value};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Operations that become one kernel.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: SpaceKey,
    pub(super) split: Split,
    pub(super) members: BTreeSet<Op>,
}

/// The groups of a region, none of them empty.
pub(super) fn groups(function: &Function, region: Region) -> Vec<Group> {
    let mut grouping = Grouping::new(function, region);
    for op in function.regions[region].ops.clone() {
        match space_of(function, op) {
            Some((key, split)) => grouping.place(op, key, split),
            None => grouping.alone(op),
        }
    }
    grouping.sink();
    grouping.groups.retain(|group| !group.members.is_empty());
    grouping.groups
}

/// What is executed at once: a group, or an operation of its own.
type Node = usize;

/// Assigns the operations of one region to groups.
struct Grouping<'a> {
    function: &'a Function,
    region: Region,
    /// What each operation reads that is made in this region. These maps hold the region's operations alone: a function
    /// has many regions, and most of them are small.
    sources: HashMap<Op, Vec<Op>>,
    node_of: HashMap<Op, Node>,
    /// The group that a node is; `None` for an operation of its own.
    group_of: Vec<Option<usize>>,
    /// What each node needs, directly or not.
    needs: Vec<BitSet>,
    nodes: Vec<Node>,
    groups: Vec<Group>,
}

impl<'a> Grouping<'a> {
    fn new(function: &'a Function, region: Region) -> Grouping<'a> {
        let ops = &function.regions[region].ops;
        let here: HashSet<Op> = ops.iter().copied().collect();
        let sources = ops.iter().map(|&op| (op, sources_of(function, &here, op)));
        let sources = sources.collect();
        Grouping {
            function,
            region,
            sources,
            node_of: HashMap::new(),
            group_of: Vec::new(),
            needs: Vec::new(),
            nodes: Vec::new(),
            groups: Vec::new(),
        }
    }

    fn node(&mut self, group: Option<usize>) -> Node {
        self.group_of.push(group);
        self.needs.push(BitSet::default());
        self.group_of.len() - 1
    }

    fn alone(&mut self, op: Op) {
        let node = self.node(None);
        self.add(op, node);
    }

    /// The operation joins the latest group that it may join, or opens one.
    fn place(&mut self, op: Op, key: SpaceKey, split: Split) {
        let found = (0..self.groups.len()).rev().find_map(|group| {
            let data = &self.groups[group];
            let joined = (data.key == key)
                .then(|| data.split.join(split))
                .flatten()?;
            self.may_join(op, self.nodes[group])
                .then_some((group, joined))
        });
        let (group, split) = found.unwrap_or((self.groups.len(), split));
        if group == self.groups.len() {
            let node = self.node(Some(group));
            self.nodes.push(node);
            self.groups.push(Group {
                key,
                split,
                members: BTreeSet::new(),
            });
        }
        self.groups[group].split = split;
        self.add(op, self.nodes[group]);
    }

    /// No operand outside the group needs the group, and operands inside are elements, not sums.
    fn may_join(&self, op: Op, node: Node) -> bool {
        self.sources[&op]
            .iter()
            .all(|source| match self.node_of.get(source) {
                Some(&own) if own == node => !is_reduction(self.function, *source),
                Some(&own) => !self.needs[own].contains(node),
                None => true,
            })
    }

    fn add(&mut self, op: Op, node: Node) {
        self.node_of.insert(op, node);
        if let Some(group) = self.group_of[node] {
            self.groups[group].members.insert(op);
        }
        let mut needs = std::mem::take(&mut self.needs[node]);
        for source in &self.sources[&op] {
            if let Some(own) = self.node_of.get(source).copied().filter(|&own| own != node) {
                needs.insert(own);
                needs.union(&self.needs[own]);
            }
        }
        for other in self.needs.iter_mut().filter(|other| other.contains(node)) {
            other.union(&needs);
        }
        self.needs[node] = needs;
    }

    /// Moves operations to the group of their readers when all of those sit in one later group.
    fn sink(&mut self) {
        let ops = &self.function.regions[self.region].ops;
        let yields: BTreeSet<Value> = self.function.regions[self.region]
            .results
            .iter()
            .copied()
            .collect();
        let readers = self.readers();
        for &op in ops
            .iter()
            .rev()
            .filter(|&&op| !is_inline(&self.function.ops[op].kind))
        {
            let Some(own) = self.group(op) else { continue };
            if is_reduction(self.function, op) || yields.contains(&self.function.ops[op].results[0])
            {
                continue;
            }
            let readers = readers.get(&op).into_iter().flatten();
            let targets: BTreeSet<Option<usize>> =
                readers.map(|&reader| self.group(reader)).collect();
            match targets.first() {
                Some(&Some(target)) if targets.len() == 1 && target != own => {
                    self.try_sink(op, own, target)
                }
                _ => {}
            }
        }
    }

    fn group(&self, op: Op) -> Option<usize> {
        self.node_of.get(&op).and_then(|&node| self.group_of[node])
    }

    fn try_sink(&mut self, op: Op, own: usize, target: usize) {
        let Some((key, split)) = space_of(self.function, op) else {
            return;
        };
        let Some(joined) = self.groups[target].split.join(split) else {
            return;
        };
        let stays_stored = self.sources[&op]
            .iter()
            .all(|&source| self.group(source) != Some(own));
        if self.groups[target].key == key && stays_stored && self.may_join(op, self.nodes[target]) {
            self.groups[own].members.remove(&op);
            self.groups[target].split = joined;
            self.add(op, self.nodes[target]);
        }
    }

    /// Who reads each operation's value, through what is never stored.
    fn readers(&self) -> HashMap<Op, Vec<Op>> {
        let mut readers: HashMap<Op, Vec<Op>> = HashMap::new();
        for &op in &self.function.regions[self.region].ops {
            if !is_inline(&self.function.ops[op].kind) {
                let sources = self.sources[&op].iter();
                sources.for_each(|&source| readers.entry(source).or_default().push(op));
            }
        }
        readers
    }
}

/// The operations of the region that make what `op` reads, looking through what is never stored.
fn sources_of(function: &Function, here: &HashSet<Op>, op: Op) -> Vec<Op> {
    let mut found: Vec<Op> = Vec::new();
    for_each_read(function, op, &mut |value| {
        let source = function.values[value].op;
        if here.contains(&source) && !found.contains(&source) {
            found.push(source);
        }
    });
    found
}

/// Calls `f` with the tensors and host values that an operation itself reads, looking through masks.
pub(super) fn for_each_operand(function: &Function, op: Op, f: &mut impl FnMut(Value)) {
    for value in function.ops[op].kind.operands() {
        read(function, value, f);
    }
}

/// [`for_each_operand`], and for a branch also what its regions read, from outside or from themselves.
pub(super) fn for_each_read(function: &Function, op: Op, f: &mut impl FnMut(Value)) {
    for_each_operand(function, op, f);
    if let OpKind::If {
        then, otherwise, ..
    } = function.ops[op].kind
    {
        for region in [then, otherwise] {
            let data = &function.regions[region];
            data.ops
                .iter()
                .for_each(|&inner| for_each_read(function, inner, f));
            data.results
                .iter()
                .for_each(|&value| read(function, value, f));
        }
    }
}

fn read(function: &Function, value: Value, f: &mut impl FnMut(Value)) {
    let source = function.values[value].op;
    if is_inline(&function.ops[source].kind) {
        for_each_read(function, source, f)
    } else {
        f(value)
    }
}

fn is_reduction(function: &Function, op: Op) -> bool {
    matches!(function.ops[op].kind, OpKind::Reduce(..))
}

/// A set of small numbers.
#[derive(Debug, Clone, Default)]
struct BitSet(Vec<u64>);

impl BitSet {
    fn contains(&self, n: usize) -> bool {
        self.0
            .get(n / 64)
            .is_some_and(|word| word >> (n % 64) & 1 == 1)
    }

    fn insert(&mut self, n: usize) {
        self.0.resize(self.0.len().max(n / 64 + 1), 0);
        self.0[n / 64] |= 1 << (n % 64);
    }

    fn union(&mut self, other: &BitSet) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0
            .iter_mut()
            .zip(&other.0)
            .for_each(|(word, other)| *word |= other);
    }
}
