//! State: where it is kept, and its value before the first step.
//!
//! A first value is computed in `init`, from the parameter and the gradient as they were bound. What an optimizer is
//! applied to, or a component is given, is known only in the body; a first value that depends on it is computed there,
//! at the first step.

use super::{Lowerer, Val};
use crate::dtype::DType;
use crate::hir::{Expr, Fact, ModesId, StateId};
use crate::ir::numel;
use crate::ir::{Function, Op, OpKind, TensorType, Type, Value};
use crate::packed::Packing;
use crate::plan::{HostBinary, Role};
use crate::quantized::Format;
use std::collections::HashSet;

impl<'p> Lowerer<'p> {
    pub(super) fn declare(&mut self, state: StateId) {
        let data = self.state_data(state);
        let Some(modes) = data.modes else {
            return self.declare_one(state, None);
        };
        if !self.frame.modes.contains_key(&modes) {
            let present = self.present_modes(modes);
            self.frame.modes.insert(modes, present);
        }
        for mode in self.frame.modes[&modes].clone() {
            let outer = self.frame.mode.replace(mode);
            self.declare_one(state, Some(mode));
            self.frame.mode = outer;
        }
    }

    /// The modes of the parameter for which the guard holds.
    fn present_modes(&mut self, modes: ModesId) -> Vec<u32> {
        let data = &self.rule_data().modes[modes];
        let rank = self
            .frame
            .param
            .map_or(0, |param| self.build.function.dims(param).len() as u32);
        let mut present = Vec::new();
        for mode in 0..rank {
            let outer = self.frame.mode.replace(mode);
            let takes_part = data
                .guard
                .as_ref()
                .is_none_or(|guard| self.expr(guard) == Val::Number(1.0));
            self.frame.mode = outer;
            present.extend(takes_part.then_some(mode));
        }
        present
    }

    fn declare_one(&mut self, state: StateId, mode: Option<u32>) {
        let data = self.state_data(state);
        let stored = data.format.map(|_| DType::F32).or(data.dtype);
        let dtype = stored.unwrap_or(self.build.function.slots[0].ty.dtype);
        let dims = data
            .dims
            .as_ref()
            .map(|dims| dims.iter().map(|dim| self.count(dim)).collect());
        let (initial, depends) = self.initial_value(&data.init, dtype, dims);
        let dims = self.build.function.dims(initial).to_vec();
        let name = format!("{}{}", self.frame.through.prefix, data.name);
        let of_use = self.frame.component.and_then(|(_, mode)| mode);
        let name = match mode.or(of_use) {
            Some(mode) => format!("{name}.{mode}"),
            None => name,
        };
        let slot = match (data.format, data.packed) {
            (Some(format), _) => self.declare_codes(&name, &dims, initial, format),
            (None, Some(packing)) => self.declare_packed(&name, initial, packing),
            (None, None) => {
                self.initial.push(initial);
                self.slot(&name, Role::State, dtype, &dims, data.fact)
            }
        };
        if data.counts_failures {
            let count = self.declare_count(&name);
            self.frame.failures.insert((state, mode), count);
        }
        self.read_missing_slots(self.build.function.slots.len());
        if depends {
            self.begin(slot, TensorType { dtype, dims }, &data.init);
        }
        self.frame.states.insert((state, mode), slot);
    }

    /// One slot, as long as the half that is stored.
    fn declare_packed(&mut self, name: &str, initial: Value, packing: Packing) -> usize {
        let body = std::mem::replace(&mut self.build.region, self.build.function.init);
        let first = self.build.pack(initial, packing);
        self.build.region = body;
        self.initial.push(first);
        let (dtype, half) = self.build.parts(first);
        let rows = self.build.function.dims(initial)[0];
        let slot = self.slot(name, Role::State, dtype, &half, Fact::General);
        self.packed.insert(slot, (packing, rows));
        slot
    }

    /// The halves of what changed.
    pub(super) fn store_packed(&mut self) {
        for (slot, (packing, _)) in self.packed.clone() {
            let (now, dtype) = (self.current[slot], self.build.function.slots[slot].ty.dtype);
            let rest = self.read_before(now) == Some(slot);
            let half = match rest {
                true => self.build.slot(slot as u32),
                false => {
                    let stored = self.build.cast(now, dtype);
                    self.build.pack(stored, packing)
                }
            };
            self.current.set(slot, half);
        }
    }

    /// The packed slot that a value is, as it was before the step.
    fn read_before(&self, value: Value) -> Option<usize> {
        let def = |value: Value| self.build.function.def(value);
        let inner = match *def(value) {
            OpKind::Cast(inner) => inner,
            _ => value,
        };
        let OpKind::Unpack { x, .. } = *def(inner) else {
            return None;
        };
        match *def(x) {
            OpKind::Slot(slot) => Some(slot as usize),
            _ => None,
        }
    }

    /// The type of a slot's value at this point, as it is stored.
    pub(super) fn slot_type(&self, slot: usize) -> TensorType {
        let ty = self.build.function.slots[slot].ty.clone();
        match self.packed.get(&slot) {
            Some(&(_, rows)) => TensorType {
                dims: vec![rows; 2],
                ..ty
            },
            None => ty,
        }
    }

    /// `basis.failures`: for how many failures in a row a state was kept.
    fn declare_count(&mut self, name: &str) -> usize {
        let ty = TensorType {
            dtype: DType::F32,
            dims: Vec::new(),
        };
        let body = std::mem::replace(&mut self.build.region, self.build.function.init);
        let first = self.filled(Val::Number(0.0), ty);
        self.build.region = body;
        self.initial.push(first);
        let name = format!("{name}.failures");
        self.slot(&name, Role::State, DType::F32, &[], Fact::General)
    }

    /// Two slots: `exp_avg` for the codes, `exp_avg.absmax` for the scales.
    fn declare_codes(&mut self, name: &str, dims: &[u64], initial: Value, format: Format) -> usize {
        let body = std::mem::replace(&mut self.build.region, self.build.function.init);
        let first = self.build.quantize(initial, format);
        self.build.region = body;
        self.initial.extend(first);
        let scales = [format.scales(numel(dims))];
        let slot = self.slot(name, Role::State, DType::U8, dims, Fact::General);
        let name = format!("{name}.absmax");
        self.slot(&name, Role::State, DType::F32, &scales, Fact::General);
        self.formats.insert(slot, format);
        slot
    }

    /// The codes and scales of what changed.
    pub(super) fn store_codes(&mut self) {
        for (slot, format) in self.formats.clone() {
            let is_old = match *self.build.function.def(self.current[slot]) {
                OpKind::Dequantize { codes, .. } => {
                    *self.build.function.def(codes) == OpKind::Slot(slot as u32)
                }
                _ => false,
            };
            let [codes, scales] = if is_old {
                [slot, slot + 1].map(|slot| self.build.slot(slot as u32))
            } else {
                self.build.quantize(self.current[slot], format)
            };
            self.current.set(slot, codes);
            self.current.set(slot + 1, scales);
        }
    }

    /// Lowers a state's first value into `init`, and says whether it depends on what is known only in the body: it is
    /// zeros there then.
    fn initial_value(
        &mut self,
        init: &'p Expr,
        dtype: DType,
        dims: Option<Vec<u64>>,
    ) -> (Value, bool) {
        let region = self.build.function.init;
        let outer = std::mem::replace(&mut self.build.region, region);
        let before = self.build.function.regions[region].ops.len();
        self.hiding = Some(Hiding {
            first: self.build.function.values.next_key(),
            stand_ins: HashSet::new(),
        });
        let (param, grad) = (self.frame.param, self.frame.grad);
        (self.frame.param, self.frame.grad) = self.bound();
        let value = self.expr(init);
        let dims = dims.unwrap_or_else(|| match &value {
            Val::Tensor(tensor) => self.build.function.dims(*tensor).to_vec(),
            _ => Vec::new(),
        });
        let ty = TensorType { dtype, dims };
        let mut value = self.filled(value, ty.clone());
        (self.frame.param, self.frame.grad) = (param, grad);
        let mut unknown = self
            .hiding
            .take()
            .map_or_else(HashSet::new, |h| h.stand_ins);
        let function = &self.build.function;
        taint(
            function,
            &function.regions[region].ops[before..],
            &mut unknown,
        );
        let depends = unknown.contains(&value);
        if depends {
            self.build.function.regions[region].ops.truncate(before);
            let zero = self.build.constant(0.0);
            value = self.build.fill(zero, ty);
        }
        self.build.region = outer;
        (value, depends)
    }

    /// The parameter and the gradient in `init`: their slots, where the rule sees nothing else.
    fn bound(&mut self) -> (Option<Value>, Option<Value>) {
        if self.frame.component.is_some() {
            return (None, None);
        }
        let steps = self.frame.through.steps.clone();
        let given = self.frame.given.map_or([None; 2], |given| given.map(Some));
        let [param, grad] = [0, 1].map(|slot| match self.frame.pristine[slot] {
            true => {
                let value = self.build.slot(slot as u32);
                Some(self.apply_view(&steps, value))
            }
            false => given[slot],
        });
        (param, grad)
    }

    /// The value itself, or in `init` something of its type if it is known only in the body.
    pub(super) fn known(&mut self, value: Value) -> Value {
        match &self.hiding {
            Some(hiding) if value < hiding.first => {}
            _ => return value,
        }
        let stand_in = match self.build.function.tensor(value).cloned() {
            Some(ty) => {
                let zero = self.build.constant(0.0);
                self.build.fill(zero, ty)
            }
            None => self.build.push_one(OpKind::Step, Type::Host),
        };
        if let Some(hiding) = &mut self.hiding {
            hiding.stand_ins.insert(stand_in);
        }
        stand_in
    }

    /// Gives a state its first value in the body, at the first step.
    fn begin(&mut self, slot: usize, ty: TensorType, init: &'p Expr) {
        let step = self.step();
        let first = self.host_op(HostBinary::Eq, step, Val::Number(1.0));
        let first = self.host(first);
        let fill = |this: &mut Self| {
            let now = (this.frame.param, this.frame.grad);
            if let Some([param, grad]) = this.frame.given {
                (this.frame.param, this.frame.grad) = (Some(param), Some(grad));
            }
            let value = this.expr(init);
            (this.frame.param, this.frame.grad) = now;
            let compute = ty.dtype.compute();
            let value = this.filled(value, ty);
            let value = this.build.cast(value, compute);
            this.current.set(slot, value);
        };
        self.branch(first, fill, |_| ());
    }

    /// A tensor of this type: numbers fill it, `identity` is ones on the diagonal.
    pub(super) fn filled(&mut self, value: Val, ty: TensorType) -> Value {
        match value {
            Val::Tensor(tensor) => self.build.cast(tensor, ty.dtype),
            Val::Identity => {
                let one = self.build.constant(1.0);
                self.build.push_one(OpKind::Identity(one), Type::Tensor(ty))
            }
            number => {
                let number = self.host(number);
                self.build.fill(number, ty)
            }
        }
    }
}

/// A first value is lowered: what was made before `first` belongs to the body.
#[derive(Debug)]
pub(super) struct Hiding {
    first: Value,
    /// What stands for values of the body.
    stand_ins: HashSet<Value>,
}

/// Adds what the operations make of the values in `unknown`.
fn taint(function: &Function, ops: &[Op], unknown: &mut HashSet<Value>) {
    for &op in ops {
        let data = &function.ops[op];
        let mut reads = data.kind.operands();
        if let OpKind::If {
            then, otherwise, ..
        } = data.kind
        {
            for region in [then, otherwise] {
                let region = &function.regions[region];
                taint(function, &region.ops, unknown);
                reads.extend(&region.results);
            }
        }
        if reads.iter().any(|read| unknown.contains(read)) {
            unknown.extend(&data.results);
        }
    }
}
