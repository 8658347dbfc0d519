//! Which operations of a region become one kernel.

use super::space::{SpaceKey, Split, is_inline, space_of};
use crate::ir::{Function, Op, OpKind, Region, Value};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use std::collections::{HashMap, HashSet};

/// Operations that become one kernel.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: SpaceKey,
    pub(super) split: Split,
    /// In the order of their numbers.
    pub(super) members: Vec<Op>,
}

impl Group {
    pub(super) fn contains(&self, op: Op) -> bool {
        self.members.binary_search(&op).is_ok()
    }
}

/// Where each operation of a function stands: in which region, as which of its operations.
pub(super) struct Places {
    regions: SecondaryMap<Op, PackedOption<Region>>,
    positions: SecondaryMap<Op, u32>,
}

impl Places {
    pub(super) fn new(function: &Function) -> Places {
        let mut places = Places {
            regions: SecondaryMap::with_capacity(function.ops.len()),
            positions: SecondaryMap::with_capacity(function.ops.len()),
        };
        for (region, data) in &function.regions {
            for (n, &op) in data.ops.iter().enumerate() {
                places.regions[op] = region.into();
                places.positions[op] = n as u32;
            }
        }
        places
    }

    /// The position of an operation in a region, if it is there.
    fn position(&self, region: Region, op: Op) -> Option<usize> {
        let here = self.regions[op].expand() == Some(region);
        here.then(|| self.positions[op] as usize)
    }
}

/// The groups of a region, none of them empty.
pub(super) fn groups(function: &Function, region: Region, places: &Places) -> Vec<Group> {
    let mut grouping = Grouping::new(function, region, places);
    for (n, &op) in function.regions[region].ops.iter().enumerate() {
        match space_of(function, op) {
            Some((key, split)) => grouping.place(n, key, split),
            None => grouping.alone(n),
        }
    }
    grouping.sink();
    grouping.finish()
}

/// What is executed at once: a group, or an operation of its own.
type Node = usize;

/// Assigns the operations of one region to groups. Operations are named by their position in the region.
struct Grouping<'a> {
    function: &'a Function,
    ops: &'a [Op],
    region: Region,
    /// What each operation reads that is made in this region.
    sources: Lists,
    node_of: Vec<Option<Node>>,
    nodes: Vec<NodeData>,
    /// The node of each group.
    node_of_group: Vec<Node>,
    groups: Vec<Group>,
    /// The groups of each key.
    of_key: HashMap<SpaceKey, BitSet>,
}

#[derive(Debug, Default)]
struct NodeData {
    /// The group that it is; `None` for an operation of its own.
    group: Option<usize>,
    /// The groups that it needs, directly or not.
    needs: BitSet,
    /// The nodes that read it.
    readers: Vec<Node>,
}

impl<'a> Grouping<'a> {
    fn new(function: &'a Function, region: Region, places: &Places) -> Grouping<'a> {
        let ops = &function.regions[region].ops;
        Grouping {
            function,
            ops,
            region,
            sources: sources(function, region, places),
            node_of: vec![None; ops.len()],
            nodes: Vec::new(),
            node_of_group: Vec::new(),
            groups: Vec::new(),
            of_key: HashMap::new(),
        }
    }

    fn node(&mut self, group: Option<usize>) -> Node {
        self.nodes.push(NodeData {
            group,
            ..NodeData::default()
        });
        self.nodes.len() - 1
    }

    fn alone(&mut self, op: usize) {
        let node = self.node(None);
        self.add(op, node);
    }

    /// The operation joins the latest group that it may join, or opens one.
    fn place(&mut self, op: usize, key: SpaceKey, split: Split) {
        let blocked = self.blocked(op);
        let of_key = self.of_key.entry(key.clone()).or_default();
        let groups = &self.groups;
        let found = of_key.without(&blocked).find_map(|group| {
            let joined = groups[group].split.join(split)?;
            Some((group, joined))
        });
        let (group, split) = found.unwrap_or((self.groups.len(), split));
        if group == self.groups.len() {
            of_key.insert(group);
            let node = self.node(Some(group));
            self.node_of_group.push(node);
            self.groups.push(Group {
                key,
                split,
                members: Vec::new(),
            });
        }
        self.groups[group].split = split;
        self.add(op, self.node_of_group[group]);
    }

    /// The groups that an operation may not join: what it reads outside of them needs them, or what it reads inside is
    /// a sum, not elements.
    fn blocked(&self, op: usize) -> BitSet {
        let mut blocked = BitSet::default();
        for &source in self.sources.of(op) {
            let source = source as usize;
            let Some(node) = self.node_of[source] else {
                continue;
            };
            blocked.union(&self.nodes[node].needs);
            if let (Some(group), true) = (self.nodes[node].group, self.is_reduction(source)) {
                blocked.insert(group);
            }
        }
        blocked
    }

    fn is_reduction(&self, op: usize) -> bool {
        matches!(self.function.ops[self.ops[op]].kind, OpKind::Reduce(..))
    }

    fn add(&mut self, op: usize, node: Node) {
        self.node_of[op] = Some(node);
        let mut needs = std::mem::take(&mut self.nodes[node].needs);
        let mut grew = false;
        for &source in self.sources.of(op) {
            let own = self.node_of[source as usize].filter(|&own| own != node);
            if let Some(own) = own {
                let source = &mut self.nodes[own];
                if source.readers.last() != Some(&node) {
                    source.readers.push(node);
                }
                grew |= source.group.is_some_and(|group| needs.insert(group));
                grew |= needs.union(&source.needs);
            }
        }
        self.nodes[node].needs = needs;
        if grew {
            self.spread(node);
        }
    }

    /// What needs a node needs what it needs.
    fn spread(&mut self, from: Node) {
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            let data = std::mem::take(&mut self.nodes[node]);
            for &reader in &data.readers {
                if self.nodes[reader].needs.union(&data.needs) {
                    open.push(reader);
                }
            }
            self.nodes[node] = data;
        }
    }

    /// Moves operations to the group of their readers when all of those sit in one later group.
    fn sink(&mut self) {
        let function = self.function;
        let results = &function.regions[self.region].results;
        let yields: HashSet<Value> = results.iter().copied().collect();
        let readers = self.readers();
        for op in (0..self.ops.len()).rev() {
            let data = &function.ops[self.ops[op]];
            let Some(own) = self.group(op) else { continue };
            if is_inline(&data.kind) || self.is_reduction(op) || yields.contains(&data.results[0]) {
                continue;
            }
            let mut targets = readers
                .of(op)
                .iter()
                .map(|&reader| self.group(reader as usize));
            match targets.next() {
                Some(Some(target))
                    if target != own && targets.all(|other| other == Some(target)) =>
                {
                    self.try_sink(op, own, target)
                }
                _ => {}
            }
        }
    }

    fn group(&self, op: usize) -> Option<usize> {
        self.node_of[op].and_then(|node| self.nodes[node].group)
    }

    fn try_sink(&mut self, op: usize, own: usize, target: usize) {
        let Some((key, split)) = space_of(self.function, self.ops[op]) else {
            return;
        };
        let Some(joined) = self.groups[target].split.join(split) else {
            return;
        };
        let mut sources = self.sources.of(op).iter();
        let stays_stored = sources.all(|&source| self.group(source as usize) != Some(own));
        let same_key = self.groups[target].key == key;
        if same_key && stays_stored && !self.blocked(op).contains(target) {
            self.groups[target].split = joined;
            self.add(op, self.node_of_group[target]);
        }
    }

    /// Who reads each operation's value, through what is never stored.
    fn readers(&self) -> Lists {
        let stored = |op: &usize| !is_inline(&self.function.ops[self.ops[*op]].kind);
        let reads = (0..self.ops.len()).filter(stored).flat_map(|op| {
            let sources = self.sources.of(op).iter();
            sources.map(move |&source| (source as usize, op as u32))
        });
        Lists::new(self.ops.len(), reads.collect())
    }

    fn finish(mut self) -> Vec<Group> {
        for op in 0..self.ops.len() {
            if let Some(group) = self.group(op) {
                self.groups[group].members.push(self.ops[op]);
            }
        }
        self.groups.retain(|group| !group.members.is_empty());
        for group in &mut self.groups {
            group.members.sort_unstable();
        }
        self.groups
    }
}

/// The operations of the region that make what each one reads, looking through what is never stored.
fn sources(function: &Function, region: Region, places: &Places) -> Lists {
    let ops = &function.regions[region].ops;
    let mut found: Vec<(usize, u32)> = Vec::new();
    let mut seen_by: Vec<Option<usize>> = vec![None; ops.len()];
    for (n, &op) in ops.iter().enumerate() {
        for_each_read(function, op, &mut |value| {
            let source = places.position(region, function.values[value].op);
            if let Some(source) = source
                && seen_by[source] != Some(n)
            {
                seen_by[source] = Some(n);
                found.push((n, source as u32));
            }
        });
    }
    Lists::new(ops.len(), found)
}

/// Calls `f` with the tensors and host values that an operation itself reads, looking through masks.
pub(super) fn for_each_operand(function: &Function, op: Op, f: &mut impl FnMut(Value)) {
    function.ops[op]
        .kind
        .each_operand(|value| read(function, value, f));
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

/// A list of numbers for each of some things, in one piece.
#[derive(Debug)]
struct Lists {
    ends: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// For each thing what it is paired with, in the order of the pairs.
    fn new(count: usize, pairs: Vec<(usize, u32)>) -> Lists {
        let mut ends = vec![0u32; count + 1];
        for (of, _) in &pairs {
            ends[of + 1] += 1;
        }
        for n in 0..count {
            ends[n + 1] += ends[n];
        }
        let mut next = ends.clone();
        let mut items = vec![0; pairs.len()];
        for (of, item) in pairs {
            items[next[of] as usize] = item;
            next[of] += 1;
        }
        Lists { ends, items }
    }

    fn of(&self, n: usize) -> &[u32] {
        &self.items[self.ends[n] as usize..self.ends[n + 1] as usize]
    }
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

    /// Whether it was not there.
    fn insert(&mut self, n: usize) -> bool {
        let new = !self.contains(n);
        self.0.resize(self.0.len().max(n / 64 + 1), 0);
        self.0[n / 64] |= 1 << (n % 64);
        new
    }

    /// Whether anything was not there.
    fn union(&mut self, other: &BitSet) -> bool {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        let mut grew = false;
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            grew |= other & !*word != 0;
            *word |= other;
        }
        grew
    }

    /// What is here and not there, the largest first.
    fn without(&self, other: &BitSet) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate().rev();
        words.flat_map(move |(n, word)| {
            let left = word & !other.0.get(n).copied().unwrap_or(0);
            Bits(left).map(move |bit| n * 64 + bit)
        })
    }
}

/// The bits of a word, the highest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.checked_ilog2()?;
        self.0 &= !(1 << bit);
        Some(bit as usize)
    }
}
