//! ir → plan: which buffer holds each value, and which thunk makes it.
//!
//! A value that ends in a slot is written there at once when nobody reads the slot's old value afterwards (an
//! element-wise reader in the same pass, or the `c` of a product, may); otherwise it lives in scratch and is copied at
//! the end. What a branch yields lives where the side that changes nothing has it, so that this side does nothing.
//! Scratch tensors share memory when their lives do not overlap. Host scalars become one straight program,
//! branches included, because evaluating both sides costs nothing.

mod homes;
mod kernels;
mod lives;
mod scratch;
mod thunks;

use crate::ir::{Function, OpKind, Region, Summand, Value};
use crate::plan::{Buffer, HostInst, Plan, Reg, Role, Slot, Sum, Temp, Thunk};
use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use std::collections::{BTreeSet, HashMap};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

/// Plans a function that went through [`crate::passes::optimize`].
pub fn plan(function: &Function) -> Plan {
    let mut planner = Planner::new(function);
    let init = planner.init();
    let body = planner.body();
    let slots = function.slots.iter().map(|slot| Slot {
        name: slot.name.clone(),
        role: slot.role,
        dtype: slot.ty.dtype,
        dims: slot.ty.dims.clone(),
    });
    let shared = planner.shared();
    let sum = |sum: &Summand| Sum {
        input: sum.input,
        fold: sum.fold,
        plan: Arc::new(plan(&sum.function)),
    };
    Plan {
        slots: slots.collect(),
        shared,
        sums: function.sums.iter().map(sum).collect(),
        temps: planner.temps,
        arena_bytes: planner.arena_bytes,
        host: planner.host,
        kernels: planner.kernels.all,
        init,
        body,
    }
}

fn bytes(temp: &Temp) -> u64 {
    temp.dims.iter().product::<u64>() * temp.dtype.size()
}

struct Planner<'a> {
    function: &'a Function,
    buffers: SecondaryMap<Value, Option<Buffer>>,
    temps: Vec<Temp>,
    arena_bytes: u64,
    host: Vec<HostInst>,
    /// The register of each instruction.
    known_host: HashMap<(Discriminant<HostInst>, [u64; 3]), Reg>,
    regs: SecondaryMap<Value, PackedOption<RegKey>>,
    kernels: kernels::Kernels,
}

/// A register as an entity, so that a side map can say "none".
#[derive(Clone, Copy, PartialEq, Eq)]
struct RegKey(u32);
cranelift_entity::entity_impl!(RegKey);

impl<'a> Planner<'a> {
    fn new(function: &'a Function) -> Planner<'a> {
        let mut planner = Planner {
            function,
            buffers: SecondaryMap::new(),
            temps: Vec::new(),
            arena_bytes: 0,
            host: Vec::new(),
            known_host: HashMap::new(),
            regs: SecondaryMap::new(),
            kernels: kernels::Kernels::default(),
        };
        planner.host_region(function.init);
        planner.host_region(function.body);
        planner
    }

    /// The value whose buffer `value` is: reshapes move nothing.
    fn base(&self, value: Value) -> Value {
        base(self.function, value)
    }

    fn buffer(&self, value: Value) -> Buffer {
        let base = self.base(value);
        match *self.function.def(base) {
            OpKind::Slot(slot) => Buffer::Slot(slot),
            _ => match self.buffers[base] {
                Some(buffer) => buffer,
                None => unreachable!("{base} has no buffer"),
            },
        }
    }

    fn init(&mut self) -> Vec<Thunk> {
        let targets = self.slots_of(&[Role::State]);
        self.region_thunks(self.function.init, &targets)
    }

    fn body(&mut self) -> Vec<Thunk> {
        let targets = self.slots_of(&[Role::Param, Role::State]);
        self.region_thunks(self.function.body, &targets)
    }

    fn slots_of(&self, roles: &[Role]) -> Vec<u32> {
        let slots = self.function.slots.iter().enumerate();
        let chosen = slots.filter(|(_, slot)| roles.contains(&slot.role));
        chosen.map(|(n, _)| n as u32).collect()
    }

    /// Which registers become shared numbers.
    fn shared(&self) -> Vec<(u32, Reg)> {
        let results = &self.function.regions[self.function.body].results;
        let values = &results[results.len() - self.function.shared.len()..];
        let inputs = self.function.shared.iter().copied();
        inputs
            .zip(values.iter().map(|&value| self.reg(value)))
            .collect()
    }

    /// Homes, scratch and thunks of a root region that yields the new values of these slots.
    fn region_thunks(&mut self, region: Region, targets: &[u32]) -> Vec<Thunk> {
        let timeline = lives::Timeline::new(self.function, region);
        let homes = homes::choose(self.function, &timeline, region, targets);
        for (&value, &slot) in &homes.slots {
            self.buffers[value] = Some(Buffer::Slot(slot));
        }
        let saved = self.saved_slots(region, targets, &homes);
        self.allocate(&timeline, region, &homes.shared);
        let mut thunks: Vec<Thunk> = saved
            .iter()
            .map(|&(x, out)| Thunk::Copy { x, out })
            .collect();
        thunks.extend(self.thunks(region));
        let saved_at: HashMap<Buffer, Buffer> = saved.into_iter().collect();
        for (&target, &value) in targets.iter().zip(&self.function.regions[region].results) {
            let out = Buffer::Slot(target);
            let from = self.buffer(value);
            let x = match saved_at.get(&from) {
                Some(&temp) if from != out => temp,
                _ => from,
            };
            if x != out {
                thunks.push(Thunk::Copy { x, out });
            }
        }
        thunks
    }

    /// The first free byte after all scratch so far.
    fn scratch_end(&self) -> u64 {
        self.arena_bytes.next_multiple_of(64)
    }

    fn temp(&mut self, temp: Temp) -> Buffer {
        self.arena_bytes = self.arena_bytes.max(temp.offset + bytes(&temp));
        self.temps.push(temp);
        Buffer::Temp(self.temps.len() as u32 - 1)
    }

    /// Slots whose old value becomes another slot's new one, while they are written themselves: saved first.
    fn saved_slots(
        &mut self,
        region: Region,
        targets: &[u32],
        homes: &homes::Homes,
    ) -> Vec<(Buffer, Buffer)> {
        let results = &self.function.regions[region].results;
        let (all, mut seen) = (BTreeSet::from_iter(targets), BTreeSet::new());
        let mut saved = Vec::new();
        for (&target, &value) in targets.iter().zip(results) {
            let OpKind::Slot(old) = *self.function.def(self.base(value)) else {
                continue;
            };
            let written = all.contains(&old) && !homes.untouched.contains(&old);
            if old == target || !written || !seen.insert(old) {
                continue;
            }
            let ty = &self.function.slots[old as usize].ty;
            let offset = self.scratch_end();
            let copy = self.temp(Temp {
                dtype: ty.dtype,
                dims: ty.dims.clone(),
                offset,
            });
            saved.push((Buffer::Slot(old), copy));
        }
        saved
    }

    /// Host operations of a region and those inside it, in order.
    fn host_region(&mut self, region: Region) {
        for &op in &self.function.regions[region].ops {
            let data = &self.function.ops[op];
            match &data.kind {
                OpKind::If {
                    cond,
                    then,
                    otherwise,
                } => self.host_branch(*cond, *then, *otherwise, &data.results),
                kind if kind.is_host() => {
                    let inst = self.host_inst(kind);
                    self.define(data.results[0], inst);
                }
                _ => {}
            }
        }
    }

    fn host_branch(&mut self, cond: Value, then: Region, otherwise: Region, results: &[Value]) {
        self.host_region(then);
        self.host_region(otherwise);
        let yields = |region: Region| self.function.regions[region].results.clone();
        for ((&result, a), b) in results.iter().zip(yields(then)).zip(yields(otherwise)) {
            if self.function.is_host(result) {
                let inst = HostInst::Select(self.reg(cond), self.reg(a), self.reg(b));
                self.define(result, inst);
            }
        }
    }

    fn define(&mut self, value: Value, inst: HostInst) {
        let reg = self.place(inst);
        self.regs[value] = Some(RegKey::from_u32(reg)).into();
    }

    /// The register of an instruction, which is added if it is new.
    fn place(&mut self, inst: HostInst) -> Reg {
        *self.known_host.entry(bits(&inst)).or_insert_with(|| {
            self.host.push(inst);
            self.host.len() as Reg - 1
        })
    }

    fn host_inst(&self, kind: &OpKind) -> HostInst {
        match kind {
            OpKind::Hyper(n) => HostInst::Hyper(*n),
            OpKind::Step => HostInst::Step,
            OpKind::Const(x) => HostInst::Const(*x),
            OpKind::Chance(site) => HostInst::Chance(*site),
            OpKind::HostUnary(op, a) => HostInst::Unary(*op, self.reg(*a)),
            OpKind::HostBinary(op, a, b) => HostInst::Binary(*op, self.reg(*a), self.reg(*b)),
            OpKind::HostSelect(c, a, b) => {
                HostInst::Select(self.reg(*c), self.reg(*a), self.reg(*b))
            }
            other => unreachable!("{other:?} on the host"),
        }
    }

    fn reg(&self, value: Value) -> Reg {
        match self.regs[value].expand() {
            Some(reg) => reg.as_u32(),
            None => unreachable!("{value} has no register"),
        }
    }
}

/// A host instruction as numbers, equal for equal ones: constants by their bits.
fn bits(inst: &HostInst) -> (Discriminant<HostInst>, [u64; 3]) {
    let numbers = match *inst {
        HostInst::Step => [0; 3],
        HostInst::Hyper(n) | HostInst::Chance(n) => [u64::from(n), 0, 0],
        HostInst::Const(x) => [x.to_bits(), 0, 0],
        HostInst::Unary(op, a) => [op as u64, u64::from(a), 0],
        HostInst::Binary(op, a, b) => [op as u64, u64::from(a), u64::from(b)],
        HostInst::Select(c, a, b) => [c, a, b].map(u64::from),
    };
    (discriminant(inst), numbers)
}

/// The value whose elements, in another shape, `value` is.
pub(crate) fn base(function: &Function, mut value: Value) -> Value {
    while let OpKind::Reshape(inner) = *function.def(value) {
        value = inner;
    }
    value
}
