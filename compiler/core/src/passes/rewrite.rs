//! Copying a function operation by operation, with a say in each.

use crate::ir::{Builder, Function, OpKind, Region, Type, Value};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

/// What happens to each operation of the old function; operands are already values of the new one.
pub(super) trait Visitor {
    /// Appends what replaces the operation; gives one value per result. `old` are the results in the old function.
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: Vec<Type>,
        old: &[Value],
    ) -> Vec<Value>;

    /// What a branch yields for `value`; appends to that branch.
    fn yielded(&mut self, _: &mut Builder, value: Value) -> Value {
        value
    }

    /// What stands for the result of a branch, whose type was `ty`; appends after the branch.
    fn joined(&mut self, _: &mut Builder, value: Value, _ty: &Type) -> Value {
        value
    }

    /// A region begins.
    fn enter(&mut self) {}

    /// A region ends.
    fn exit(&mut self) {}
}

/// Copies a function. A branch on a constant is replaced by the region that is taken.
pub(super) fn rebuild(function: &Function, visitor: &mut dyn Visitor) -> Function {
    let mut copy = Copy {
        old: function,
        build: Builder::new(function.slots.clone()),
        map: SecondaryMap::new(),
        visitor,
    };
    for (old, new) in [
        (function.init, copy.build.function.init),
        (function.body, copy.build.function.body),
    ] {
        copy.region(old, new);
    }
    let shared = function.shared.clone();
    Function {
        shared,
        ..copy.build.function
    }
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
            let types: Vec<Type> = data
                .results
                .iter()
                .map(|&result| function.ty(result).clone())
                .collect();
            let kind = data.kind.clone().map_operands(|value| self.value(value));
            let made = match kind {
                OpKind::If {
                    cond,
                    then,
                    otherwise,
                } => self.branch(cond, then, otherwise, &types),
                kind => self.visitor.op(&mut self.build, kind, types, &data.results),
            };
            for (&old, new) in data.results.iter().zip(made) {
                self.map[old] = new.into();
            }
        }
    }

    fn branch(
        &mut self,
        cond: Value,
        then: Region,
        otherwise: Region,
        types: &[Type],
    ) -> Vec<Value> {
        if let Some(known) = self.build.function.constant(cond) {
            let taken = if known != 0.0 { then } else { otherwise };
            self.ops(taken);
            return self.mapped(&self.old.regions[taken].results);
        }
        let sides = [then, otherwise].map(|old| {
            let new = self.build.new_region();
            self.side(old, new);
            new
        });
        let yielded = &self.build.function.regions[sides[0]].results;
        let made = yielded
            .iter()
            .map(|&value| self.build.function.ty(value).clone())
            .collect();
        let results = self.build.push(
            OpKind::If {
                cond,
                then: sides[0],
                otherwise: sides[1],
            },
            made,
        );
        results
            .into_iter()
            .zip(types)
            .map(|(value, ty)| self.visitor.joined(&mut self.build, value, ty))
            .collect()
    }

    /// One side of a branch.
    fn side(&mut self, old: Region, new: Region) {
        let outer = std::mem::replace(&mut self.build.region, new);
        self.visitor.enter();
        self.ops(old);
        let values = self.mapped(&self.old.regions[old].results);
        let results = values
            .into_iter()
            .map(|value| self.visitor.yielded(&mut self.build, value))
            .collect();
        self.visitor.exit();
        self.build.function.regions[new].results = results;
        self.build.region = outer;
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
    function.for_each_op(|op| {
        function.ops[op]
            .kind
            .operands()
            .into_iter()
            .for_each(|value| counts[value] += 1)
    });
    for region in function.regions.values() {
        region.results.iter().for_each(|&value| counts[value] += 1);
    }
    counts
}
