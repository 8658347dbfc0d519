//! Building functions: one method per operation, each computing the type of what it makes.

use super::{
    Function, Math, Op, OpData, OpKind, Product, Reduce, Region, RegionData, Slot, TensorType,
    Type, Value, ValueData,
};
use super::{LARGEST_TENSOR, numel};
use crate::dtype::DType;
use crate::kernel::{BinaryOp, CompareOp, Fold, UnaryOp};
use crate::packed::Packing;
use crate::plan::{HostBinary, HostUnary};
use crate::quantized::Format;
use cranelift_entity::PrimaryMap;
use std::collections::HashSet;

/// Appends operations to a region of a function.
///
/// Shapes are the caller's responsibility: lowering builds only what was checked, and the verifier reports the rest.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The function so far.
    pub function: Function,
    /// Where operations go.
    pub region: Region,
    /// The shape of a tensor that no memory holds.
    pub oversized: Option<Vec<u64>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Builder {
    /// A function with these slots and two empty regions; operations go to the body.
    pub fn new(slots: Vec<Slot>) -> Builder {
        let mut regions = PrimaryMap::new();
        let (init, body) = (
            regions.push(RegionData::default()),
            regions.push(RegionData::default()),
        );
        let function = Function {
            slots,
            ops: PrimaryMap::new(),
            values: PrimaryMap::new(),
            regions,
            init,
            body,
            shared: Vec::new(),
            sums: Vec::new(),
        };
        Builder::at(function, body)
    }

    /// Goes on with a function: operations go to the end of a region.
    pub fn at(function: Function, region: Region) -> Builder {
        Builder {
            function,
            region,
            oversized: None,
        }
    }

    /// A new region, not yet used by any operation.
    pub fn new_region(&mut self) -> Region {
        self.function.regions.push(RegionData::default())
    }

    /// Empties the regions that no operation of the function uses any more.
    pub fn forget_unused_regions(&mut self) {
        let mut used = HashSet::from([self.function.init, self.function.body]);
        self.function.for_each_op(|op| {
            if let OpKind::If {
                then, otherwise, ..
            } = self.function.ops[op].kind
            {
                used.extend([then, otherwise]);
            }
        });
        for (region, data) in &mut self.function.regions {
            if !used.contains(&region) {
                *data = RegionData::default();
            }
        }
    }

    /// Appends an operation that makes values of these types.
    pub fn push(&mut self, kind: OpKind, types: Vec<Type>) -> Vec<Value> {
        let op = self.push_op(kind, types);
        self.function.ops[op].results.clone()
    }

    /// Appends an operation that makes values of these types, and gives the operation.
    pub fn push_op(&mut self, kind: OpKind, types: impl IntoIterator<Item = Type>) -> Op {
        let op: Op = self.function.ops.next_key();
        let make = |(index, ty)| {
            if let Type::Tensor(TensorType { dims, .. }) = &ty
                && numel(dims) > LARGEST_TENSOR
            {
                self.oversized.get_or_insert_with(|| dims.clone());
            }
            self.function.values.push(ValueData {
                ty,
                op,
                index: index as u32,
            })
        };
        let results = types.into_iter().enumerate().map(make).collect();
        self.function.ops.push(OpData { kind, results });
        self.function.regions[self.region].ops.push(op);
        op
    }

    /// Appends an operation that makes one value.
    pub fn push_one(&mut self, kind: OpKind, ty: Type) -> Value {
        let op = self.push_op(kind, [ty]);
        self.function.ops[op].results[0]
    }

    /// A host constant.
    pub fn constant(&mut self, x: f64) -> Value {
        self.push_one(OpKind::Const(x), Type::Host)
    }

    /// A host function of one argument; constants are folded.
    pub fn host_unary(&mut self, op: HostUnary, a: Value) -> Value {
        match self.function.constant(a) {
            Some(x) => self.constant(op.apply(x)),
            None => self.push_one(OpKind::HostUnary(op, a), Type::Host),
        }
    }

    /// A host function of two arguments; constants are folded.
    pub fn host_binary(&mut self, op: HostBinary, a: Value, b: Value) -> Value {
        match (self.function.constant(a), self.function.constant(b)) {
            (Some(x), Some(y)) => self.constant(op.apply(x, y)),
            _ => self.push_one(OpKind::HostBinary(op, a, b), Type::Host),
        }
    }

    /// A slot's value before the step.
    pub fn slot(&mut self, slot: u32) -> Value {
        let ty = self.function.slots[slot as usize].ty.clone();
        self.push_one(OpKind::Slot(slot), Type::Tensor(ty))
    }

    /// A tensor filled with a host scalar.
    pub fn fill(&mut self, value: Value, ty: TensorType) -> Value {
        self.push_one(OpKind::Fill(value), Type::Tensor(ty))
    }

    /// The tensor in another dtype; itself if it has it already.
    pub fn cast(&mut self, a: Value, dtype: DType) -> Value {
        match self.function.tensor(a) {
            Some(ty) if ty.dtype != dtype => {
                let ty = TensorType {
                    dtype,
                    dims: ty.dims.clone(),
                };
                self.push_one(OpKind::Cast(a), Type::Tensor(ty))
            }
            _ => a,
        }
    }

    /// Element by element.
    pub fn unary(&mut self, op: UnaryOp, a: Value) -> Value {
        let ty = self.function.ty(a).clone();
        self.push_one(OpKind::Unary(op, a), ty)
    }

    /// Element by element, expanded.
    pub fn math(&mut self, op: Math, a: Value) -> Value {
        let ty = self.function.ty(a).clone();
        self.push_one(OpKind::Math(op, a), ty)
    }

    /// Element by element with broadcasting.
    pub fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        let ty = self.joined(&[a, b]);
        self.push_one(OpKind::Binary(op, a, b), Type::Tensor(ty))
    }

    /// The angle of each point, with broadcasting.
    pub fn atan2(&mut self, y: Value, x: Value) -> Value {
        let ty = self.joined(&[y, x]);
        self.push_one(OpKind::Atan2(y, x), Type::Tensor(ty))
    }

    /// `a + weight (b − a)`.
    pub fn lerp(&mut self, a: Value, b: Value, weight: Value) -> Value {
        let ty = self.joined(&[a, b, weight]);
        self.push_one(OpKind::Lerp(a, b, weight), Type::Tensor(ty))
    }

    /// Truth values.
    pub fn compare(&mut self, op: CompareOp, a: Value, b: Value) -> Value {
        let dims = self.joined(&[a, b]).dims;
        self.push_one(OpKind::Compare(op, a, b), Type::Mask(dims))
    }

    /// A choice by element.
    pub fn select(&mut self, mask: Value, a: Value, b: Value) -> Value {
        let dims = broadcast(&[
            self.function.dims(mask),
            self.function.dims(a),
            self.function.dims(b),
        ]);
        let host = [a, b].iter().all(|&side| self.function.is_host(side));
        let dtype = match self.function.ty(mask) {
            // Two numbers meet the tensors that the choice depends on.
            Type::Mask(_) if host => self.dtype_of_mask(mask),
            _ => self.joined(&[a, b]).dtype,
        };
        self.push_one(
            OpKind::Select(mask, a, b),
            Type::Tensor(TensorType { dtype, dims }),
        )
    }

    /// The type in which the tensors behind a mask were compared.
    fn dtype_of_mask(&self, mask: Value) -> DType {
        match *self.function.def(mask) {
            OpKind::Compare(_, a, b) => self.joined(&[a, b]).dtype,
            OpKind::Logic(_, a, _) | OpKind::Not(a) => self.dtype_of_mask(a),
            ref other => unreachable!("a mask made by {other:?}"),
        }
    }

    /// A sum; see [`Reduce`].
    pub fn sum(&mut self, a: Value, over: Reduce) -> Value {
        self.reduce(Fold::Sum, a, over)
    }

    /// A sum or a maximum; see [`Reduce`].
    pub fn reduce(&mut self, fold: Fold, a: Value, over: Reduce) -> Value {
        let (dtype, dims) = self.parts(a);
        let dims = match over {
            Reduce::All => Vec::new(),
            Reduce::From(axis) => dims[..axis].to_vec(),
            Reduce::Before(axis) => dims[axis..].to_vec(),
        };
        self.push_one(
            OpKind::Reduce(fold, a, over),
            Type::Tensor(TensorType { dtype, dims }),
        )
    }

    /// The same elements in another shape; itself if it has it already.
    pub fn reshape(&mut self, a: Value, dims: Vec<u64>) -> Value {
        let (dtype, old) = self.parts(a);
        if old == dims {
            return a;
        }
        self.push_one(OpKind::Reshape(a), Type::Tensor(TensorType { dtype, dims }))
    }

    /// The elements along an axis that an index vector names.
    pub fn gather(&mut self, x: Value, axis: u32, index: Value) -> Value {
        let count = self.function.dims(index)[0];
        let ty = self.along(x, axis, count);
        self.push_one(OpKind::Gather { x, axis, index }, ty)
    }

    /// The half of a square matrix that is stored.
    pub fn pack(&mut self, x: Value, packing: Packing) -> Value {
        let (dtype, dims) = self.parts(x);
        let dims = vec![Packing::count(dims[0])];
        let ty = Type::Tensor(TensorType { dtype, dims });
        self.push_one(OpKind::Pack { x, packing }, ty)
    }

    /// The square matrix with `n` rows of a half.
    pub fn unpack(&mut self, x: Value, n: u64, packing: Packing) -> Value {
        let (dtype, _) = self.parts(x);
        let dims = vec![n, n];
        let ty = Type::Tensor(TensorType { dtype, dims });
        self.push_one(OpKind::Unpack { x, packing }, ty)
    }

    /// Codes and scales of a tensor.
    pub fn quantize(&mut self, x: Value, format: Format) -> [Value; 2] {
        let x = self.cast(x, DType::F32);
        let dims = self.function.dims(x).to_vec();
        let scales = vec![format.scales(numel(&dims))];
        let types = [(DType::U8, dims), (DType::F32, scales)]
            .map(|(dtype, dims)| Type::Tensor(TensorType { dtype, dims }));
        let made = self.push(OpKind::Quantize { x, format }, types.to_vec());
        [made[0], made[1]]
    }

    /// The tensor of codes and scales.
    pub fn dequantize(&mut self, codes: Value, scales: Value, format: Format) -> Value {
        let ty = TensorType {
            dtype: DType::F32,
            dims: self.function.dims(codes).to_vec(),
        };
        let kind = OpKind::Dequantize {
            codes,
            scales,
            format,
        };
        self.push_one(kind, Type::Tensor(ty))
    }

    /// `count` elements along an axis.
    pub fn slice(&mut self, x: Value, axis: u32, from: u64, count: u64) -> Value {
        let ty = self.along(x, axis, count);
        self.push_one(OpKind::Slice { x, axis, from }, ty)
    }

    /// Tensors one after the other along an axis; the tensor itself if it is the only one.
    pub fn concat(&mut self, parts: Vec<Value>, axis: u32) -> Value {
        if let [only] = parts[..] {
            return only;
        }
        let lengths = parts
            .iter()
            .map(|&part| self.function.dims(part)[axis as usize]);
        let ty = self.along(parts[0], axis, lengths.sum());
        self.push_one(OpKind::Concat { parts, axis }, ty)
    }

    /// The type of `x` with another length of one axis.
    fn along(&self, x: Value, axis: u32, length: u64) -> Type {
        let (dtype, mut dims) = self.parts(x);
        dims[axis as usize] = length;
        Type::Tensor(TensorType { dtype, dims })
    }

    /// Axes in another order.
    pub fn permute(&mut self, a: Value, axes: Vec<u32>) -> Value {
        let (dtype, old) = self.parts(a);
        let dims = axes.iter().map(|&axis| old[axis as usize]).collect();
        self.push_one(
            OpKind::Permute(a, axes),
            Type::Tensor(TensorType { dtype, dims }),
        )
    }

    /// The last two axes exchanged.
    pub fn transpose(&mut self, a: Value) -> Value {
        let rank = self.function.dims(a).len() as u32;
        let mut axes: Vec<u32> = (0..rank).collect();
        axes.swap(rank as usize - 2, rank as usize - 1);
        self.permute(a, axes)
    }

    /// A matrix product, in the wider dtype of the two.
    pub fn product(&mut self, product: Product) -> Value {
        let [a, b] = self.in_one_dtype([product.a, product.b]);
        let product = Product { a, b, ..product };
        let ty = self.function.product_type(&product);
        self.push_one(OpKind::Product(product), Type::Tensor(ty))
    }

    /// `op(a) op(b)`.
    pub fn matmul(&mut self, a: Value, ta: bool, b: Value, tb: bool) -> Value {
        self.product(Product {
            a,
            ta,
            b,
            tb,
            alpha: None,
            added: None,
        })
    }

    /// A mode product with a square matrix, in the wider dtype of the two.
    pub fn contract(&mut self, x: Value, q: Value, mode: u32, transposed: bool) -> Value {
        let [x, q] = self.in_one_dtype([x, q]);
        let ty = self.function.ty(x).clone();
        self.push_one(
            OpKind::Contract {
                x,
                q,
                mode,
                transposed,
            },
            ty,
        )
    }

    /// The Gram matrix of a mode.
    pub fn gram(&mut self, x: Value, mode: u32) -> Value {
        let (dtype, dims) = self.parts(x);
        let d = dims[mode as usize];
        let ty = Type::Tensor(TensorType {
            dtype,
            dims: vec![d, d],
        });
        self.push_one(
            OpKind::Gram {
                x,
                mode,
                alpha: None,
                added: None,
            },
            ty,
        )
    }

    /// Two tensors in the wider of their dtypes.
    pub fn in_one_dtype(&mut self, operands: [Value; 2]) -> [Value; 2] {
        let [a, b] = operands.map(|operand| self.parts(operand).0);
        operands.map(|operand| self.cast(operand, promote(a, b)))
    }

    /// The dtype and shape of a tensor; a host value counts as an f64 scalar.
    pub fn parts(&self, a: Value) -> (DType, Vec<u64>) {
        match self.function.ty(a) {
            Type::Tensor(ty) => (ty.dtype, ty.dims.clone()),
            Type::Mask(dims) => (DType::F32, dims.clone()),
            Type::Host => (DType::F64, Vec::new()),
        }
    }

    /// The type that element-wise work on these operands has; host operands do not count.
    fn joined(&self, operands: &[Value]) -> TensorType {
        let tensors: Vec<&TensorType> = operands
            .iter()
            .filter_map(|&v| self.function.tensor(v))
            .collect();
        let dtype = tensors
            .iter()
            .map(|ty| ty.dtype)
            .reduce(promote)
            .unwrap_or(DType::F64);
        let dims: Vec<&[u64]> = operands.iter().map(|&v| self.function.dims(v)).collect();
        TensorType {
            dtype,
            dims: broadcast(&dims),
        }
    }
}

/// The wider of two dtypes; bf16 with f16 gives f32.
fn promote(a: DType, b: DType) -> DType {
    match (a, b) {
        _ if a == b => a,
        (DType::F64, _) | (_, DType::F64) => DType::F64,
        _ => DType::F32,
    }
}

/// The common shape: the longest list, with every axis of length 1 stretched.
fn broadcast(shapes: &[&[u64]]) -> Vec<u64> {
    let rank = shapes.iter().map(|dims| dims.len()).max().unwrap_or(0);
    let mut dims = vec![1; rank];
    for shape in shapes {
        let skipped = rank - shape.len();
        for (axis, &d) in shape.iter().enumerate() {
            if d != 1 {
                dims[skipped + axis] = d;
            }
        }
    }
    dims
}
