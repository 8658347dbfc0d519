//! Copying a function operation by operation, with a say in each.

use crate::ir::{Builder, Function, Op, OpData, OpKind, Region, Type, Value};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

/// What happens to each operation of the old function; operands are already values of the new one.
pub(super) trait Visitor {
    /// Appends what replaces the operation, which has one value per result. `old` are the results in the old function.
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: &mut Vec<Type>,
        old: &[Value],
    ) -> Made;

    /// What a branch yields for `value`; appends to that branch.
    fn yielded(&mut self, _: &mut Builder, value: Value) -> Value {
        value
    }

    /// What stands for the result of a branch, whose type was `ty`; appends after the branch.
    fn joined(&mut self, _: &mut Builder, value: Value, _ty: &Type) -> Value {
        value
    }
}

/// What stands for the results of an operation.
pub(super) enum Made {
    /// Those of an operation of the new function.
    Op(Op),
    /// One value.
    Value(Value),
}

/// Leaves every operation as it is.
pub(super) struct Keep;

impl Visitor for Keep {
    fn op(
        &mut self,
        build: &mut Builder,
        kind: OpKind,
        types: &mut Vec<Type>,
        _: &[Value],
    ) -> Made {
        Made::Op(build.push_op(kind, types.drain(..)))
    }
}

/// Whether a copy would be the same, the numbers of values included.
pub(super) fn in_order(function: &Function) -> bool {
    let mut next = 0;
    let regions = [function.init, function.body];
    regions
        .into_iter()
        .all(|region| counts_on(function, region, &mut next))
}

/// Whether the values of a region are numbered from `next` on, those of a branch after what is inside it.
fn counts_on(function: &Function, region: Region, next: &mut u32) -> bool {
    function.regions[region].ops.iter().all(|&op| {
        let data = &function.ops[op];
        let inner = match data.kind {
            OpKind::If {
                then, otherwise, ..
            } => counts_on(function, then, next) && counts_on(function, otherwise, next),
            _ => true,
        };
        let mut results = data.results.iter();
        inner
            && results.all(|result| {
                *next += 1;
                result.as_u32() + 1 == *next
            })
    })
}

/// Whether a branch depends on a constant.
pub(super) fn decides_now(function: &Function, kind: &OpKind) -> bool {
    matches!(kind, OpKind::If { cond, .. } if function.constant(*cond).is_some())
}

/// Copies a function. A branch on a constant is replaced by the region that is taken.
pub(super) fn rebuild(mut function: Function, visitor: &mut dyn Visitor) -> Function {
    let (init, body) = (function.init, function.body);
    let (slots, shared) = (
        std::mem::take(&mut function.slots),
        std::mem::take(&mut function.shared),
    );
    let mut copy = Copy {
        build: Builder::new(slots),
        map: SecondaryMap::with_capacity(function.values.len()),
        types: Vec::new(),
        old: function,
        visitor,
    };
    for (old, new) in [
        (init, copy.build.function.init),
        (body, copy.build.function.body),
    ] {
        copy.region(old, new);
    }
    Function {
        shared,
        ..copy.build.function
    }
}

struct Copy<'a> {
    /// What was copied is taken out of it.
    old: Function,
    build: Builder,
    map: SecondaryMap<Value, PackedOption<Value>>,
    /// The types of what an operation makes.
    types: Vec<Type>,
    visitor: &'a mut dyn Visitor,
}

impl Copy<'_> {
    fn region(&mut self, old: Region, new: Region) {
        let outer = std::mem::replace(&mut self.build.region, new);
        self.ops(old);
        self.build.function.regions[new].results = self.yields(old);
        self.build.region = outer;
    }

    fn ops(&mut self, old: Region) {
        for op in std::mem::take(&mut self.old.regions[old].ops) {
            let nothing = OpData {
                kind: OpKind::Step,
                results: Vec::new(),
            };
            let OpData { kind, results } = std::mem::replace(&mut self.old.ops[op], nothing);
            self.op(kind, &results);
        }
    }

    fn op(&mut self, kind: OpKind, results: &[Value]) {
        let kind = kind.map_operands(|value| self.value(value));
        let mut types = std::mem::take(&mut self.types);
        types.clear();
        for &result in results {
            let ty = &mut self.old.values[result].ty;
            types.push(std::mem::replace(ty, Type::Host));
        }
        if let OpKind::If {
            cond,
            then,
            otherwise,
        } = kind
        {
            let made = self.branch(cond, then, otherwise, &types);
            for (&old, new) in results.iter().zip(made) {
                self.map[old] = new.into();
            }
        } else {
            let made = self.visitor.op(&mut self.build, kind, &mut types, results);
            self.stand_for(results, made);
        }
        self.types = types;
    }

    fn stand_for(&mut self, old: &[Value], made: Made) {
        match made {
            Made::Value(new) => self.map[old[0]] = new.into(),
            Made::Op(op) => {
                let made = self.build.function.ops[op].results.iter();
                for (&old, &new) in old.iter().zip(made) {
                    self.map[old] = new.into();
                }
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
            return self.yields(taken);
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
        self.ops(old);
        let results = self
            .yields(old)
            .into_iter()
            .map(|value| self.visitor.yielded(&mut self.build, value))
            .collect();
        self.build.function.regions[new].results = results;
        self.build.region = outer;
    }

    fn yields(&self, old: Region) -> Vec<Value> {
        let results = self.old.regions[old].results.iter();
        results.map(|&value| self.value(value)).collect()
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
        let kind = &function.ops[op].kind;
        kind.each_operand(|value| counts[value] += 1);
    });
    for region in function.regions.values() {
        region.results.iter().for_each(|&value| counts[value] += 1);
    }
    counts
}
