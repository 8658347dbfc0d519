//! Common subexpressions: an operation that was computed already is not computed again.
//!
//! ```text
//! v1 = mul v0, v0        v1 = mul v0, v0
//! v2 = mul v0, v0   →
//! v3 = add v1, v2        v3 = add v1, v1
//! ```
//!
//! Operations are pure, so equal kind and operands mean equal results. A value made in one branch is not visible in
//! the other, so what a region made is forgotten at its end.

use super::rewrite::{Keep, decides_now, rebuild};
use crate::ir::{Function, Op, OpKind, Region, Value};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::mem::discriminant;

/// Runs the pass.
pub(super) fn run(function: Function) -> Function {
    let mut decided = false;
    function.for_each_op(|op| decided |= decides_now(&function, &function.ops[op].kind));
    let function = match decided {
        true => rebuild(function, &mut Keep),
        false => function,
    };
    let mut cse = Cse {
        same: SecondaryMap::with_capacity(function.values.len()),
        function,
        known: HashMap::default(),
        earlier: SecondaryMap::new(),
        found: false,
    };
    for region in [cse.function.init, cse.function.body] {
        cse.region(region);
    }
    match cse.found {
        true => rebuild(cse.function, &mut Keep),
        false => cse.function,
    }
}

struct Cse {
    function: Function,
    /// The value that was computed before, for those that need not be computed again.
    same: SecondaryMap<Value, PackedOption<Value>>,
    /// The latest operation with each key.
    known: HashMap<u64, Op, BuildHasherDefault<Mix>>,
    /// The one before it with the same key.
    earlier: SecondaryMap<Op, PackedOption<Op>>,
    found: bool,
}

impl Cse {
    fn region(&mut self, region: Region) {
        let mut made = Vec::new();
        let mut ops = std::mem::take(&mut self.function.regions[region].ops);
        ops.retain(|&op| self.op(op, &mut made));
        self.function.regions[region].ops = ops;
        let results = self.function.regions[region].results.iter_mut();
        results.for_each(|value| *value = self.same[*value].expand().unwrap_or(*value));
        while let Some((key, op)) = made.pop() {
            self.forget(key, op);
        }
    }

    /// Whether an operation stays; if so, it is known from here on, unless it is a branch.
    fn op(&mut self, op: Op, made: &mut Vec<(u64, Op)>) -> bool {
        let same = &self.same;
        let kind = &mut self.function.ops[op].kind;
        kind.replace_operands(|value| same[value].expand().unwrap_or(value));
        if let OpKind::If {
            then, otherwise, ..
        } = *kind
        {
            self.region(then);
            self.region(otherwise);
            return true;
        }
        let key = key(kind);
        match self.equal(key, op) {
            Some(known) => self.replace(op, known),
            None => {
                self.remember(key, op);
                made.push((key, op));
                true
            }
        }
    }

    /// An operation that computed the same.
    fn equal(&self, key: u64, op: Op) -> Option<Op> {
        let latest = self.known.get(&key).copied();
        let mut all = std::iter::successors(latest, |&known| self.earlier[known].expand());
        all.find(|&known| self.are_equal(known, op))
    }

    fn are_equal(&self, a: Op, b: Op) -> bool {
        let (a, b) = (&self.function.ops[a], &self.function.ops[b]);
        let mut types = a.results.iter().zip(&b.results);
        same(&a.kind, &b.kind)
            && a.results.len() == b.results.len()
            && types.all(|(&a, &b)| self.function.ty(a) == self.function.ty(b))
    }

    /// Takes the results of another operation for those of this one, which goes.
    fn replace(&mut self, op: Op, known: Op) -> bool {
        let ops = &self.function.ops;
        for (&old, &new) in ops[op].results.iter().zip(&ops[known].results) {
            self.same[old] = new.into();
        }
        self.found = true;
        false
    }

    fn remember(&mut self, key: u64, op: Op) {
        let before = self.known.insert(key, op);
        self.earlier[op] = before.into();
    }

    /// Undoes the latest [`Cse::remember`] of that key.
    fn forget(&mut self, key: u64, op: Op) {
        match (self.known.entry(key), self.earlier[op].expand()) {
            (Entry::Occupied(mut entry), Some(before)) => _ = entry.insert(before),
            (Entry::Occupied(entry), None) => _ = entry.remove(),
            (Entry::Vacant(_), _) => {}
        }
    }
}

/// A number that equal operations have in common, and few others.
fn key(kind: &OpKind) -> u64 {
    let mut mix = Mix::default();
    discriminant(kind).hash(&mut mix);
    kind.each_operand(|value| mix.write_u32(value.as_u32()));
    match kind {
        OpKind::Const(x) => mix.write_u64(x.to_bits()),
        OpKind::Slot(n) | OpKind::Hyper(n) | OpKind::Chance(n) | OpKind::Random(_, n) => {
            mix.write_u32(*n)
        }
        OpKind::Slice { axis, from, .. } => mix.write_u64(u64::from(*axis) ^ from.rotate_left(8)),
        _ => {}
    }
    mix.finish()
}

/// Equality; constants by their bits.
fn same(a: &OpKind, b: &OpKind) -> bool {
    match (a, b) {
        (OpKind::Const(x), OpKind::Const(y)) => x.to_bits() == y.to_bits(),
        (a, b) => a == b,
    }
}

/// A quick hash of a few numbers that nobody chooses to collide.
#[derive(Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::run;
    use crate::kernel::BinaryOp;
    use crate::passes::testing::{branch, check, tensor};
    use insta::assert_snapshot;

    #[test]
    fn equal_operations_are_shared() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let squares = [0, 1].map(|_| b.binary(BinaryOp::Mul, x[0], x[0]));
            vec![b.binary(BinaryOp::Add, squares[0], squares[1])]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = mul v0, v0 : f32[4]
        v3 = add v1, v2 : f32[4]
        yield v3
        →
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = add v1, v1 : f32[4]
        yield v2
        ");
    }

    #[test]
    fn zeros_of_different_sign_are_different() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let zeros = [0.0, -0.0].map(|zero| b.constant(zero));
            zeros
                .map(|zero| b.binary(BinaryOp::Add, x[0], zero))
                .to_vec()
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = const 0
        v2 = const -0
        v3 = add v0, v1 : f32[4]
        v4 = add v0, v2 : f32[4]
        yield v3, v4
        →
        v0 = slot 0 : f32[4]
        v1 = const 0
        v2 = const -0
        v3 = add v0, v1 : f32[4]
        v4 = add v0, v2 : f32[4]
        yield v3, v4
        ");
    }

    #[test]
    fn a_branch_sees_what_stands_before_it_but_not_its_other_side() {
        let shown = check(run, &[tensor(&[4])], |b, x| {
            let square = b.binary(BinaryOp::Mul, x[0], x[0]);
            let chosen = branch(
                b,
                |b| {
                    let again = b.binary(BinaryOp::Mul, x[0], x[0]);
                    b.binary(BinaryOp::Add, again, x[0])
                },
                |b| b.binary(BinaryOp::Add, square, x[0]),
            );
            vec![square, chosen]
        });
        assert_snapshot!(shown, @"
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = step
        v3 = const 2
        v4 = host.mod v2, v3
        v8 = if v4 {
          v5 = mul v0, v0 : f32[4]
          v6 = add v5, v0 : f32[4]
          yield v6
        } else {
          v7 = add v1, v0 : f32[4]
          yield v7
        } : f32[4]
        yield v1, v8
        →
        v0 = slot 0 : f32[4]
        v1 = mul v0, v0 : f32[4]
        v2 = step
        v3 = const 2
        v4 = host.mod v2, v3
        v7 = if v4 {
          v5 = add v1, v0 : f32[4]
          yield v5
        } else {
          v6 = add v1, v0 : f32[4]
          yield v6
        } : f32[4]
        yield v1, v7
        ");
    }
}
