//! What is known of a matrix: symmetric, orthogonal, a polynomial in another matrix.
//!
//! Facts are computed bottom-up from the operations and from what state declarations promise. They choose the
//! symmetric half of a product, license rewrites such as `Q' Q = I`, and cost nothing at run time.

use super::{Function, OnFailure, OpKind, Value, numel};
use crate::hir::Fact;
use crate::kernel::{BinaryOp, UnaryOp};
use crate::packed::Packing;
use std::collections::HashMap;

/// How far back the origin of a value is followed.
const DEEPEST: u32 = 256;

/// Whether `value` equals its transpose.
pub fn is_symmetric(function: &Function, value: Value) -> bool {
    Search::of(function).is_symmetric(value)
}

/// The symmetric matrix S that `value` is a polynomial in, if it is one: two polynomials in one symmetric matrix
/// commute, so their product is symmetric.
pub fn polynomial_base(function: &Function, value: Value) -> Option<Value> {
    Search::of(function).base(value)
}

/// `x x'` or `x' x`.
fn is_gram(product: &super::Product) -> bool {
    product.a == product.b && product.ta != product.tb
}

fn is_square(function: &Function, value: Value) -> bool {
    matches!(function.dims(value), [.., m, n] if m == n)
}

/// Answers about one function; each value is looked at once, however many ways lead to it.
struct Search<'f> {
    function: &'f Function,
    symmetric: HashMap<Value, bool>,
    bases: HashMap<Value, Option<Value>>,
    depth: u32,
}

impl<'f> Search<'f> {
    fn of(function: &'f Function) -> Search<'f> {
        Search {
            function,
            symmetric: HashMap::new(),
            bases: HashMap::new(),
            depth: 0,
        }
    }

    fn is_symmetric(&mut self, value: Value) -> bool {
        if let Some(&known) = self.symmetric.get(&value) {
            return known;
        }
        let found = self.deeper(|this| this.find_symmetric(value)) == Some(true);
        self.symmetric.insert(value, found);
        found
    }

    fn base(&mut self, value: Value) -> Option<Value> {
        if let Some(&known) = self.bases.get(&value) {
            return known;
        }
        let found = self.deeper(|this| this.find_base(value)).flatten();
        self.bases.insert(value, found);
        found
    }

    /// What is found within the depth.
    fn deeper<T>(&mut self, find: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth == DEEPEST {
            return None;
        }
        self.depth += 1;
        let found = find(self);
        self.depth -= 1;
        Some(found)
    }

    fn find_symmetric(&mut self, value: Value) -> bool {
        let function = self.function;
        match function.def(value) {
            OpKind::Slot(n) => matches!(
                function.slots[*n as usize].fact,
                Fact::Symmetric | Fact::Spd | Fact::Diagonal
            ),
            OpKind::Identity(_) => true,
            OpKind::Unpack { packing, .. } => *packing == Packing::Mirrored,
            OpKind::Gram { added, .. } => added.is_none_or(|(c, _)| self.is_symmetric(c)),
            OpKind::Fill(_) => is_square(function, value),
            OpKind::Product(p) => {
                let added = p.added.is_none_or(|(c, _)| self.is_symmetric(c));
                added && is_square(function, value) && (is_gram(p) || self.base(value).is_some())
            }
            kind if kind.is_map() => {
                is_square(function, value) && self.map_of_symmetric(kind, value)
            }
            _ => false,
        }
    }

    /// An element-wise function of symmetric matrices (and scalars) is symmetric.
    fn map_of_symmetric(&mut self, kind: &OpKind, value: Value) -> bool {
        let function = self.function;
        kind.operands().into_iter().all(|operand| {
            let scalar = function.is_host(operand) || numel(function.dims(operand)) == 1;
            let alike = || function.dims(operand) == function.dims(value);
            scalar || alike() && self.is_symmetric(operand)
        })
    }

    fn find_base(&mut self, value: Value) -> Option<Value> {
        let function = self.function;
        match function.def(value) {
            OpKind::Product(p) if !is_gram(p) => {
                let base = self.shared_base(p.a, p.b)?;
                let same = p.added.is_none_or(|(c, _)| self.base(c) == Some(base));
                same.then_some(base)
            }
            OpKind::Product(p) if p.added.is_some() => {
                let (c, _) = p.added?;
                self.shared_base(p.a, c)
            }
            OpKind::Product(p) if is_square(function, p.a) && self.is_symmetric(p.a) => {
                self.base(p.a)
            }
            OpKind::Binary(op, a, b) => self.binary_base(*op, *a, *b),
            OpKind::Lerp(a, b, weight) if function.is_host(*weight) => self.shared_base(*a, *b),
            OpKind::Unary(UnaryOp::Neg, a) | OpKind::Cast(a) => self.base(*a),
            _ => (is_square(function, value) && self.is_symmetric(value)).then_some(value),
        }
    }

    /// The base of both.
    fn shared_base(&mut self, a: Value, b: Value) -> Option<Value> {
        let base = self.base(a)?;
        (self.base(b)? == base).then_some(base)
    }

    fn binary_base(&mut self, op: BinaryOp, a: Value, b: Value) -> Option<Value> {
        let (host_a, host_b) = (self.function.is_host(a), self.function.is_host(b));
        match op {
            BinaryOp::Mul if host_a => self.base(b),
            BinaryOp::Mul | BinaryOp::Div if host_b => self.base(a),
            BinaryOp::Add | BinaryOp::Sub if !host_a && !host_b => self.shared_base(a, b),
            _ => None,
        }
    }
}

/// Whether `value' value` is the identity (and `value` is square).
pub fn is_orthogonal(function: &Function, value: Value) -> bool {
    if !is_square(function, value) {
        return false;
    }
    match function.def(value) {
        OpKind::Slot(n) => function.slots[*n as usize].fact == Fact::Orthogonal,
        OpKind::Eigh { on_failure, .. } => {
            function.values[value].index == 1 && keeps_orthogonal(function, *on_failure)
        }
        OpKind::Qr { on_failure, .. } => {
            function.values[value].index == 0 && keeps_orthogonal(function, *on_failure)
        }
        // The order of a vector is a permutation of its indices.
        OpKind::Gather { x, index, .. } => {
            matches!(function.def(*index), OpKind::Argsort { .. }) && is_orthogonal(function, *x)
        }
        OpKind::Permute(x, axes) => axes[..] == [1, 0] && is_orthogonal(function, *x),
        _ => false,
    }
}

/// Whether what a failed factorization leaves instead of its result is orthogonal too.
fn keeps_orthogonal(function: &Function, on_failure: OnFailure) -> bool {
    let kept = on_failure.keep;
    !on_failure.nan && kept.is_none_or(|keep| is_orthogonal(function, keep))
}
