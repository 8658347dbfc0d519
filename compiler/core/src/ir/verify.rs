//! Checks what every pass must preserve, and reports every violation. A violation is a bug in the compiler.
//!
//! 1. A value is used only where it is visible: after its operation, in the same region or one inside it.
//! 2. Every operation's results point back at it.
//! 3. Host operands are host values; tensor operands are not; masks feed only `select`, logic and kernels.
//! 4. Element-wise results have the broadcast shape of their operands.
//! 5. Products, grams, contractions and factorizations have agreeing dimensions, and so have parts of tensors.
//! 6. An `if` has as many results as each of its regions yields, of the same types.
//! 7. The body yields the type of each written slot in order; `init` those of the state slots.
//! 8. A fused operation's kernel is well formed and its operand counts agree.

use super::{Function, Op, OpKind, Product, Region, Type, Value};
use crate::kernel_verify;
use crate::packed::Packing;
use crate::plan::Role;
use cranelift_entity::EntitySet;

/// Every violation, as text; empty when the function is well formed.
pub fn verify(function: &Function) -> Vec<String> {
    let mut verifier = Verifier {
        function,
        visible: EntitySet::with_capacity(function.values.len()),
        errors: Vec::new(),
    };
    verifier.region(function.init);
    verifier.region(function.body);
    verifier.yields();
    verifier.errors
}

struct Verifier<'a> {
    function: &'a Function,
    visible: EntitySet<Value>,
    errors: Vec<String>,
}

impl Verifier<'_> {
    fn fail(&mut self, op: Op, what: impl std::fmt::Display) {
        self.errors.push(format!("{op}: {what}"));
    }

    fn region(&mut self, region: Region) {
        let function = self.function;
        let data = &function.regions[region];
        for &op in &data.ops {
            self.op(op);
        }
        for &result in &data.results {
            if !self.visible.contains(result) {
                self.errors
                    .push(format!("{region}: yields {result}, which is not visible"));
            }
        }
        for result in data.ops.iter().flat_map(|&op| &function.ops[op].results) {
            self.visible.remove(*result);
        }
    }

    fn op(&mut self, op: Op) {
        let data = &self.function.ops[op];
        for operand in data.kind.operands() {
            if !self.visible.contains(operand) {
                self.fail(op, format_args!("uses {operand}, which is not visible"));
            }
        }
        for (index, &result) in data.results.iter().enumerate() {
            let value = &self.function.values[result];
            if value.op != op || value.index as usize != index {
                self.fail(op, format_args!("result {result} points elsewhere"));
            }
        }
        self.shapes(op, &data.kind);
        self.visible.extend(data.results.iter().copied());
    }

    fn shapes(&mut self, op: Op, kind: &OpKind) {
        match kind {
            OpKind::HostUnary(_, a) | OpKind::Fill(a) | OpKind::Identity(a) => self.host(op, *a),
            OpKind::HostBinary(_, a, b) => [a, b].into_iter().for_each(|v| self.host(op, *v)),
            OpKind::If {
                cond,
                then,
                otherwise,
            } => {
                if self.function.dims(*cond).iter().product::<u64>() != 1 {
                    self.fail(op, format_args!("{cond} is not a scalar"));
                }
                self.branches(op, *then, *otherwise);
            }
            OpKind::Product(product) => self.product(op, product),
            OpKind::Contract { x, q, mode, .. } => self.contract(op, *x, *q, *mode),
            OpKind::Fused(fused) => {
                if let Err(what) = kernel_verify::verify(&fused.kernel) {
                    self.fail(op, what);
                }
                let counts = (fused.inputs.len(), fused.scalars.len());
                if counts != (fused.kernel.inputs.len(), fused.kernel.scalars as usize) {
                    self.fail(op, "operand counts differ from the kernel's");
                }
            }
            OpKind::Reshape(a) | OpKind::Limit { x: a, .. } => self.same_count(op, *a),
            OpKind::Pack { x, .. } => self.packed(op, *x, self.function.ops[op].results[0]),
            OpKind::Unpack { x, .. } => self.packed(op, self.function.ops[op].results[0], *x),
            OpKind::Slice { x, axis, from } => self.slice(op, *x, *axis, *from),
            OpKind::Concat { parts, axis } => self.concat(op, parts, *axis),
            kind if kind.is_map() => self.broadcast(op, kind),
            _ => {}
        }
    }

    fn host(&mut self, op: Op, value: Value) {
        if !self.function.is_host(value) {
            self.fail(op, format_args!("{value} is not a host value"));
        }
    }

    fn same_count(&mut self, op: Op, a: Value) {
        let result = self.function.ops[op].results[0];
        let count = |v| self.function.dims(v).iter().product::<u64>();
        if count(a) != count(result) {
            self.fail(op, "changes the number of elements");
        }
    }

    fn packed(&mut self, op: Op, whole: Value, half: Value) {
        let fits = match (self.function.dims(whole), self.function.dims(half)) {
            ([m, n], [count]) => m == n && *count == Packing::count(*n),
            _ => false,
        };
        if !fits {
            self.fail(op, "the half of a square matrix has another length");
        }
    }

    fn slice(&mut self, op: Op, x: Value, axis: u32, from: u64) {
        let axis = axis as usize;
        let (whole, part) = (self.function.dims(x), self.result_dims(op));
        let count = part.get(axis).copied().unwrap_or(u64::MAX);
        let inside = from
            .checked_add(count)
            .is_some_and(|end| whole.get(axis).is_some_and(|&d| end <= d));
        if !inside || !alike(whole, part, axis) {
            let what = format!("slice of {whole:?} from {from} is {part:?}");
            self.fail(op, what);
        }
    }

    fn concat(&mut self, op: Op, parts: &[Value], axis: u32) {
        let (axis, whole) = (axis as usize, self.result_dims(op).to_vec());
        let each = parts.iter().map(|&part| self.function.dims(part));
        let alike = each.clone().all(|part| alike(&whole, part, axis));
        let total: u64 = each.map(|part| part.get(axis).copied().unwrap_or(0)).sum();
        if !alike || whole.get(axis) != Some(&total) {
            self.fail(op, format_args!("parts do not make {whole:?}"));
        }
    }

    fn result_dims(&self, op: Op) -> &[u64] {
        self.function.dims(self.function.ops[op].results[0])
    }

    fn broadcast(&mut self, op: Op, kind: &OpKind) {
        let result = self.function.ops[op].results[0];
        let dims = self.function.dims(result).to_vec();
        for operand in kind.operands() {
            let from = self.function.dims(operand).to_vec();
            let skipped = dims.len().checked_sub(from.len());
            let fits = skipped
                .is_some_and(|s| from.iter().zip(&dims[s..]).all(|(&a, &b)| a == b || a == 1));
            if !fits {
                self.fail(
                    op,
                    format_args!("{operand} {from:?} does not broadcast to {dims:?}"),
                );
            }
        }
    }

    fn product(&mut self, op: Op, product: &Product) {
        let side = |value: Value, transposed: bool| {
            let dims = self.function.dims(value);
            let [.., m, n] = *dims else { return None };
            Some(if transposed { (n, m) } else { (m, n) })
        };
        let (a, b) = (side(product.a, product.ta), side(product.b, product.tb));
        let result = self.function.dims(self.function.ops[op].results[0]);
        let agrees = matches!((a, b, result), (Some((m, k)), Some((l, n)), [.., r, c]) if k == l && m == *r && n == *c);
        if !agrees {
            self.fail(op, format_args!("product of {a:?} and {b:?}"));
        }
        self.one_dtype(op, [product.a, product.b]);
        if let Some((c, _)) = product.added
            && self.function.dims(c) != self.function.dims(self.function.ops[op].results[0])
        {
            self.fail(op, "the added matrix has another shape");
        }
    }

    fn contract(&mut self, op: Op, x: Value, q: Value, mode: u32) {
        let d = self.function.dims(x).get(mode as usize).copied();
        if d.is_none_or(|d| self.function.dims(q) != [d, d]) {
            self.fail(
                op,
                format_args!("mode {mode} of {:?}", self.function.dims(x)),
            );
        }
        self.one_dtype(op, [x, q]);
    }

    /// Both factors are stored as the product is.
    fn one_dtype(&mut self, op: Op, factors: [Value; 2]) {
        let dtype = |value| self.function.tensor(value).map(|ty| ty.dtype);
        let result = dtype(self.function.ops[op].results[0]);
        if factors.iter().any(|&factor| dtype(factor) != result) {
            self.fail(op, "the factors have other dtypes than the product");
        }
    }

    fn branches(&mut self, op: Op, then: Region, otherwise: Region) {
        self.region(then);
        self.region(otherwise);
        let wanted: Vec<Type> = self.types(&self.function.ops[op].results);
        for region in [then, otherwise] {
            if self.types(&self.function.regions[region].results) != wanted {
                self.fail(
                    op,
                    format_args!("{region} yields other types than the results"),
                );
            }
        }
    }

    fn types(&self, values: &[Value]) -> Vec<Type> {
        values
            .iter()
            .map(|&v| self.function.ty(v).clone())
            .collect()
    }

    fn yields(&mut self) {
        let wanted = |roles: &[Role]| -> Vec<Type> {
            let slots = self
                .function
                .slots
                .iter()
                .filter(|slot| roles.contains(&slot.role));
            slots.map(|slot| Type::Tensor(slot.ty.clone())).collect()
        };
        let shared = vec![Type::Host; self.function.shared.len()];
        let body = [wanted(&[Role::Param, Role::State]), shared].concat();
        for (region, wanted) in [
            (self.function.body, body),
            (self.function.init, wanted(&[Role::State])),
        ] {
            if self.types(&self.function.regions[region].results) != wanted {
                self.errors
                    .push(format!("{region}: yields other types than the slots have"));
            }
        }
    }
}

/// Equal shapes but for one axis.
fn alike(a: &[u64], b: &[u64], axis: usize) -> bool {
    let same = |n: usize| n == axis || a[n] == b[n];
    a.len() == b.len() && (0..a.len()).all(same)
}
