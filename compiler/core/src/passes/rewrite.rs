//! Copying a function operation by operation, with a say in each.

use crate::ir::{Builder, Function, OpKind, Region, Type, Value};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

/// What happens to each operation of the old function; operands are already values of the new one.
pub(super) trait Visitor {
    /// Appends what replaces the operation; gives one value per result. `old` are the results in the old function.
    fn op(&mut self, build: &mut Builder, kind: OpKind, types: Vec<Type>, old: &[Value]) -> Vec<Value>;

    /// A region begins.
    fn enter(&mut self) {}

    /// A region ends.
    fn exit(&mut self) {}
}

/// Copies a function. A branch on a constant is replaced by the region that is taken.
pub(super) fn rebuild(function: &Function, visitor: &mut dyn Visitor) -> Function {
    let mut copy = Copy { old: function, build: Builder::new(function.slots.clone()), map: SecondaryMap::new(), visitor };
    for (old, new) in [(function.init, copy.build.function.init), (function.body, copy.build.function.body)] {
        copy.region(old, new);
    }
    copy.build.function
}

struct Copy<'a> {
    old: &'a Function,
    build: Builder,
    map: SecondaryMap<Value, PackedOption<Value>>,
    visitor: &'a mut dyn Visitor,
}

impl Copy<'_> {
    fn region(&mut self, old: Region, new: Region) {
        let outer = std::mem::replace(&mut self.build.region, new);
        self.visitor.enter();
        self.ops(old);
        self.visitor.exit();
        self.build.function.regions[new].results = self.mapped(&self.old.regions[old].results);
        self.build.region = outer;
    }

    fn ops(&mut self, old: Region) {
        let function = self.old;
        for &op in &function.regions[old].ops {
            let data = &function.ops[op];
            let types = data.results.iter().map(|&result| function.ty(result).clone()).collect();
            let kind = data.kind.clone().map_operands(|value| self.value(value));
            let made = match kind {
                OpKind::If { cond, then, otherwise } => self.branch(cond, then, otherwise, types),
                kind => self.visitor.op(&mut self.build, kind, types, &data.results),
            };
            for (&old, new) in data.results.iter().zip(made) {
                self.map[old] = new.into();
            }
        }
    }

    fn branch(&mut self, cond: Value, then: Region, otherwise: Region, types: Vec<Type>) -> Vec<Value> {
        if let Some(known) = self.build.function.constant(cond) {
            let taken = if known != 0.0 { then } else { otherwise };
            self.ops(taken);
            return self.mapped(&self.old.regions[taken].results);
        }
        let (new_then, new_otherwise) = (self.build.new_region(), self.build.new_region());
        self.region(then, new_then);
        self.region(otherwise, new_otherwise);
        self.build.push(OpKind::If { cond, then: new_then, otherwise: new_otherwise }, types)
    }

    fn mapped(&self, values: &[Value]) -> Vec<Value> {
        values.iter().map(|&value| self.value(value)).collect()
    }

    fn value(&self, old: Value) -> Value {
        match self.map[old].expand() {
            Some(new) => new,
            None => unreachable!("{old} is used before it is made"),
        }
    }
}

/// How often each value is used by operations and yields.
pub(super) fn use_counts(function: &Function) -> SecondaryMap<Value, u32> {
    let mut counts = SecondaryMap::new();
    function.for_each_op(|op| function.ops[op].kind.operands().into_iter().for_each(|value| counts[value] += 1));
    for region in function.regions.values() {
        region.results.iter().for_each(|&value| counts[value] += 1);
    }
    counts
}
