//! Random well-typed functions: maps with broadcasting, sums, data movement, branches on host scalars, slots that read
//! and replace each other and, if asked, the products and factorizations of Shampoo-like rules.

use crate::random::Rng;
use optc_core::dtype::DType;
use optc_core::hir::Fact;
use optc_core::ir::{Builder, Function, OpKind, Region, Slot, TensorType, Type, Value};
use optc_core::plan::Role;
use std::collections::HashSet;

mod elements;
mod matrices;

/// What may occur.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Storage types of slots and casts.
    pub(crate) dtypes: &'static [DType],
    /// Products and factorizations; divisions and roots then keep values tame.
    pub(crate) products: bool,
    /// Operations to choose, branches included.
    pub(crate) ops: usize,
}

/// A function, and which written slots depend on a product, so that rewrites may change their last bits.
#[derive(Debug, Clone)]
pub(crate) struct Generated {
    pub(crate) function: Function,
    pub(crate) loose: Vec<bool>,
}

/// Makes a function.
pub(crate) fn function(options: Options, mut rng: Rng) -> Generated {
    let dims = parameter_dims(options, &mut rng);
    let slots = slots(options, &dims, &mut rng);
    let mut generator = Generator {
        rng,
        options,
        build: Builder::new(slots),
        scope: Scope::default(),
        loose: HashSet::new(),
        depth: 0,
    };
    generator.init();
    generator.body();
    let results = &generator.build.function.regions[generator.build.function.body].results;
    let loose = results
        .iter()
        .map(|value| generator.loose.contains(value))
        .collect();
    Generated {
        function: generator.build.function,
        loose,
    }
}

fn parameter_dims(options: Options, rng: &mut Rng) -> Vec<u64> {
    if !options.products && rng.percent(4) {
        return rng.pick(&[vec![5000], vec![70, 70], vec![130, 3], vec![2, 4100]]);
    }
    let rank = if options.products {
        rng.pick(&[1, 2, 2, 2, 3, 3, 4])
    } else {
        rng.below(5)
    };
    let zero = !options.products && rng.percent(3);
    (0..rank)
        .map(|_| {
            if zero && rng.percent(50) {
                0
            } else {
                1 + rng.below(5) as u64
            }
        })
        .collect()
}

fn slots(options: Options, dims: &[u64], rng: &mut Rng) -> Vec<Slot> {
    let slot = |name: &str, role, dtype, dims: Vec<u64>, fact| Slot {
        name: name.to_owned(),
        role,
        ty: TensorType { dtype, dims },
        fact,
    };
    let mut slots = vec![
        slot(
            "w",
            Role::Param,
            rng.pick(options.dtypes),
            dims.to_vec(),
            Fact::General,
        ),
        slot(
            "grad",
            Role::Grad,
            rng.pick(options.dtypes),
            dims.to_vec(),
            Fact::General,
        ),
    ];
    for n in 0..rng.below(4) {
        let dims = related(dims, rng);
        slots.push(slot(
            &format!("s{n}"),
            Role::State,
            rng.pick(options.dtypes),
            dims,
            Fact::General,
        ));
    }
    if options.products && dims.len() > 1 {
        for (mode, &d) in dims
            .iter()
            .enumerate()
            .filter(|_| rng.percent(70))
            .collect::<Vec<_>>()
        {
            let dtype = rng.pick(options.dtypes);
            slots.push(slot(
                &format!("gram.{mode}"),
                Role::State,
                dtype,
                vec![d, d],
                Fact::Symmetric,
            ));
            slots.push(slot(
                &format!("basis.{mode}"),
                Role::State,
                dtype,
                vec![d, d],
                Fact::Orthogonal,
            ));
        }
    }
    slots
}

/// The parameter's shape, a part of it, or one that broadcasts to it.
fn related(dims: &[u64], rng: &mut Rng) -> Vec<u64> {
    let cut = rng.below(dims.len() + 1);
    match rng.below(8) {
        0 => Vec::new(),
        1 => dims[..cut].to_vec(),
        2 => dims[cut..].to_vec(),
        3 => [dims[..cut].to_vec(), vec![1; dims.len() - cut]].concat(),
        4 => dims
            .iter()
            .map(|&d| if rng.percent(40) { 1 } else { d })
            .collect(),
        _ => dims.to_vec(),
    }
}

/// What a region can see.
#[derive(Debug, Clone, Default)]
struct Scope {
    tensors: Vec<Value>,
    masks: Vec<Value>,
    hosts: Vec<Value>,
    /// The new value of each slot so far.
    current: Vec<Value>,
}

struct Generator {
    rng: Rng,
    options: Options,
    build: Builder,
    scope: Scope,
    /// Values that depend on a product.
    loose: HashSet<Value>,
    depth: usize,
}

/// One kind of operation: makes it if the scope has what it needs.
type Make = fn(&mut Generator) -> Option<()>;

/// With weights.
const COMMON: &[(usize, Make)] = &[
    (4, Generator::assign),
    (2, Generator::assign_slot),
    (4, Generator::branch),
];

impl Generator {
    fn init(&mut self) {
        self.build.region = self.build.function.init;
        let param = self.build.slot(0);
        let mut results = Vec::new();
        for slot in self.build.function.slots.clone().iter().skip(2) {
            results.push(self.first_value(param, slot));
        }
        let init = self.build.function.init;
        self.build.function.regions[init].results = results;
        self.build.region = self.build.function.body;
    }

    fn first_value(&mut self, param: Value, slot: &Slot) -> Value {
        let number = self.rng.pick(&[0.0, 1.0, 0.1]);
        let number = self.build.constant(number);
        if matches!(slot.ty.dims[..], [m, n] if m == n)
            && (slot.fact != Fact::General || self.rng.percent(30))
        {
            return self
                .build
                .push_one(OpKind::Identity(number), Type::Tensor(slot.ty.clone()));
        }
        if slot.ty.dims == self.build.function.dims(param) && self.rng.percent(50) {
            let first = if self.rng.percent(50) {
                self.build.lerp(param, param, number)
            } else {
                param
            };
            return self.build.cast(first, slot.ty.dtype);
        }
        self.build.fill(number, slot.ty.clone())
    }

    fn body(&mut self) {
        for slot in 0..self.build.function.slots.len() {
            let value = self.build.slot(slot as u32);
            self.see(value);
            self.scope.current.push(value);
        }
        for x in [0.1, 1.0] {
            let value = self.build.constant(x);
            self.scope.hosts.push(value);
        }
        self.ops(self.options.ops);
        let mut results = Vec::new();
        for (slot, value) in self
            .scope
            .current
            .clone()
            .into_iter()
            .enumerate()
            .filter(|(slot, _)| *slot != 1)
        {
            results.push(self.stored(slot, value));
        }
        let body = self.build.function.body;
        self.build.function.regions[body].results = results;
    }

    /// A value as its slot stores it.
    fn stored(&mut self, slot: usize, value: Value) -> Value {
        let dtype = self.build.function.slots[slot].ty.dtype;
        let stored = self.build.cast(value, dtype);
        self.spread(stored);
        stored
    }

    fn ops(&mut self, count: usize) {
        let matrices: &[(usize, Make)] = if self.options.products {
            matrices::OPS
        } else {
            &[]
        };
        let all: Vec<(usize, Make)> = [COMMON, elements::OPS, matrices].concat();
        let total: usize = all.iter().map(|(weight, _)| weight).sum();
        for _ in 0..count {
            let mut at = self.rng.below(total);
            let make = all.iter().find(|(weight, _)| {
                let found = at < *weight;
                at = at.saturating_sub(*weight);
                found
            });
            if let Some((_, make)) = make {
                make(self);
            }
        }
    }

    /// Makes a new value visible.
    fn see(&mut self, value: Value) {
        self.spread(value);
        match self.build.function.ty(value) {
            Type::Host => self.scope.hosts.push(value),
            Type::Mask(_) => self.scope.masks.push(value),
            Type::Tensor(ty) if ty.dtype != DType::I64 => self.scope.tensors.push(value),
            Type::Tensor(_) => {}
        }
    }

    /// What depends on a product is loose.
    fn spread(&mut self, value: Value) {
        let kind = self.build.function.def(value);
        let product = matches!(
            kind,
            OpKind::Product(_) | OpKind::Gram { .. } | OpKind::Contract { .. }
        );
        let mut operands = kind.operands();
        if let OpKind::If {
            then, otherwise, ..
        } = *kind
        {
            let index = self.build.function.values[value].index as usize;
            operands.extend(
                [then, otherwise].map(|region| self.build.function.regions[region].results[index]),
            );
        }
        if product || operands.iter().any(|operand| self.loose.contains(operand)) {
            self.loose.insert(value);
        }
    }

    fn dims(&self, value: Value) -> Vec<u64> {
        self.build.function.dims(value).to_vec()
    }

    fn dtype(&self, value: Value) -> DType {
        self.build.parts(value).0
    }

    fn exact(&self, value: Value) -> bool {
        !self.loose.contains(&value)
    }

    /// Some tensor; late ones are likelier.
    fn tensor(&mut self) -> Option<Value> {
        self.tensor_where(|_, _| true)
    }

    fn tensor_where(&mut self, fits: impl Fn(&Self, Value) -> bool) -> Option<Value> {
        let found: Vec<Value> = self
            .scope
            .tensors
            .iter()
            .copied()
            .filter(|&value| fits(self, value))
            .collect();
        if found.is_empty() {
            return None;
        }
        let at = self.rng.below(found.len()).max(self.rng.below(found.len()));
        Some(found[at])
    }

    fn host(&mut self) -> Value {
        let hosts = self.scope.hosts.clone();
        self.rng.pick(&hosts)
    }

    /// Slots that any value of their shape may be written to.
    fn free_slots(&self) -> Vec<usize> {
        let slots = &self.build.function.slots;
        (0..slots.len())
            .filter(|&slot| slots[slot].role != Role::Grad && slots[slot].fact == Fact::General)
            .collect()
    }

    fn assign(&mut self) -> Option<()> {
        let slots = self.free_slots();
        let slot = self.rng.pick(&slots);
        let dims = self.build.function.slots[slot].ty.dims.clone();
        let value = self.tensor_where(|this, value| this.dims(value) == dims)?;
        self.scope.current[slot] = value;
        Some(())
    }

    /// One slot takes what another has, or had before the step.
    fn assign_slot(&mut self) -> Option<()> {
        let slots = self.free_slots();
        let (to, from) = (
            self.rng.pick(&slots),
            self.rng.below(self.build.function.slots.len()),
        );
        if self.build.function.slots[to].ty.dims != self.build.function.slots[from].ty.dims {
            return None;
        }
        let value = if self.rng.percent(50) {
            self.scope.current[from]
        } else {
            self.build.slot(from as u32)
        };
        self.spread(value);
        if self.rng.percent(50) {
            self.scope
                .current
                .swap(to, if slots.contains(&from) { from } else { to });
        } else {
            self.scope.current[to] = value;
        }
        Some(())
    }

    fn branch(&mut self) -> Option<()> {
        if self.depth == 2 {
            return None;
        }
        self.depth += 1;
        let cond = self.condition();
        let (outer, region) = (self.scope.clone(), self.build.region);
        let regions = [self.build.new_region(), self.build.new_region()];
        let sides = regions.map(|side| {
            self.scope.clone_from(&outer);
            self.build.region = side;
            let count = self.rng.below(6);
            self.ops(count);
            self.scope.clone()
        });
        self.scope = outer;
        self.depth -= 1;
        let joined = self.join(regions, &sides);
        self.build.region = region;
        let types = joined
            .iter()
            .map(|(_, a)| self.build.function.ty(*a).clone())
            .collect();
        let results = self.build.push(
            OpKind::If {
                cond,
                then: regions[0],
                otherwise: regions[1],
            },
            types,
        );
        for (&(slot, _), result) in joined.iter().zip(results) {
            self.see(result);
            if let Some(slot) = slot {
                self.scope.current[slot] = result;
            }
        }
        Some(())
    }

    /// What both sides yield: slots that either changed, and pairs of values of one type. Gives the first side's.
    fn join(&mut self, regions: [Region; 2], sides: &[Scope; 2]) -> Vec<(Option<usize>, Value)> {
        let [then, otherwise] = sides;
        let mut pairs: Vec<(Option<usize>, [Value; 2])> = Vec::new();
        for (slot, (&a, &b)) in then.current.iter().zip(&otherwise.current).enumerate() {
            if a != b || (self.rng.percent(10) && slot != 1) {
                pairs.push((
                    Some(slot),
                    [
                        self.stored_in(regions[0], slot, a),
                        self.stored_in(regions[1], slot, b),
                    ],
                ));
            }
        }
        let kinds = [
            (&then.tensors, &otherwise.tensors),
            (&then.hosts, &otherwise.hosts),
            (&then.masks, &otherwise.masks),
        ];
        for (a_side, b_side) in kinds
            .into_iter()
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        {
            let (a, b) = (self.rng.pick(a_side), self.rng.pick(b_side));
            if self.build.function.ty(a) == self.build.function.ty(b) {
                pairs.push((None, [a, b]));
            }
        }
        for (side, region) in regions.into_iter().enumerate() {
            self.build.function.regions[region].results =
                pairs.iter().map(|(_, ends)| ends[side]).collect();
        }
        pairs
            .into_iter()
            .map(|(slot, ends)| (slot, ends[0]))
            .collect()
    }

    fn stored_in(&mut self, region: Region, slot: usize, value: Value) -> Value {
        self.build.region = region;
        self.stored(slot, value)
    }
}
