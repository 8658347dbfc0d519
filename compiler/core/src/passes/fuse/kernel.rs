//! The kernel of a group.

use super::Readers;
use super::group::Group;
use super::space::{Split, access, compute_of};
use crate::dtype::DType;
use crate::ir::{Function, Fused, Math, OpKind, Reduce, Value};
use crate::kernel::{BinaryOp, Fold, Input, Inst, MapKernel, Output, OutputKind, Space, Val};
use crate::{kernel_math, kernel_round};
use std::collections::HashMap;

/// A kernel with its operands and the values it makes.
pub(super) struct Built {
    pub(super) fused: Fused,
    pub(super) results: Vec<Value>,
}

/// Constants that a kernel's text holds. All others reach it as scalars: they may come from a parameter's shape, such
/// as the count in a mean, and a kernel serves every shape.
const INLINE: [f64; 5] = [0.0, 1.0, -1.0, 2.0, 0.5];

pub(super) struct KernelBuilder<'a> {
    function: &'a Function,
    group: &'a Group,
    readers: &'a Readers,
    insts: Vec<Inst>,
    made: HashMap<Value, Val>,
    inputs: Vec<(Value, Input)>,
    scalars: Vec<Value>,
    outputs: Vec<Output>,
    results: Vec<Value>,
}

impl<'a> KernelBuilder<'a> {
    pub(super) fn new(
        function: &'a Function,
        group: &'a Group,
        readers: &'a Readers,
    ) -> KernelBuilder<'a> {
        KernelBuilder {
            function,
            group,
            readers,
            insts: Vec::new(),
            made: HashMap::new(),
            inputs: Vec::new(),
            scalars: Vec::new(),
            outputs: Vec::new(),
            results: Vec::new(),
        }
    }

    pub(super) fn build(mut self) -> Built {
        for &op in &self.group.members {
            let data = &self.function.ops[op];
            self.member(&data.kind, data.results[0]);
        }
        let (rows, cols) = self.extent();
        let kernel = MapKernel {
            space: if matches!(self.group.split, Split::At(_)) {
                Space::Grid
            } else {
                Space::Flat
            },
            compute: self.group.key.compute,
            inputs: self.inputs.iter().map(|(_, input)| *input).collect(),
            scalars: self.scalars.len() as u32,
            insts: self.insts,
            outputs: self.outputs,
        };
        let inputs = self.inputs.into_iter().map(|(value, _)| value).collect();
        Built {
            fused: Fused {
                kernel,
                inputs,
                scalars: self.scalars,
                rows,
                cols,
            },
            results: self.results,
        }
    }

    /// Computes one member; stores it if anybody else reads it.
    fn member(&mut self, kind: &OpKind, result: Value) {
        let dtype = self
            .function
            .tensor(result)
            .map_or(DType::F32, |ty| ty.dtype);
        let (value, kind) = match *kind {
            OpKind::Reduce(fold, a, over) => (self.float(a, dtype.compute()), reduced(fold, over)),
            ref kind => {
                let value = self.arithmetic(kind, dtype);
                let value = self.rounded(value, dtype);
                self.made.insert(result, value);
                (value, OutputKind::Store)
            }
        };
        if kind != OutputKind::Store || self.readers.any_outside(result, self.group) {
            self.outputs.push(Output { value, dtype, kind });
            self.results.push(result);
        }
    }

    fn extent(&self) -> (u64, u64) {
        let dims = &self.group.key.dims;
        match self.group.split {
            Split::At(axis) => (dims[..axis].iter().product(), dims[axis..].iter().product()),
            Split::Any | Split::Flat => (dims.iter().product(), 1),
        }
    }

    fn push(&mut self, inst: Inst) -> Val {
        let known = self.insts.iter().position(|known| known.same(&inst));
        known.unwrap_or_else(|| {
            self.insts.push(inst);
            self.insts.len() - 1
        }) as Val
    }

    fn rounded(&mut self, value: Val, dtype: DType) -> Val {
        let is_rounded =
            matches!(self.insts[value as usize], Inst::Round(known, _) if known == dtype);
        if dtype == self.group.key.compute || is_rounded {
            value
        } else {
            self.push(Inst::Round(dtype, value))
        }
    }

    fn arithmetic(&mut self, kind: &OpKind, dtype: DType) -> Val {
        let compute = dtype.compute();
        let space = self.group.key.compute;
        match *kind {
            OpKind::Fill(a) | OpKind::Cast(a) => self.float(a, compute),
            OpKind::Unary(op, a) => {
                let a = self.float(a, compute);
                self.push(Inst::Unary(op, a))
            }
            OpKind::Binary(op, a, b) => {
                let (a, b) = (self.float(a, compute), self.float(b, compute));
                self.push(Inst::Binary(op, a, b))
            }
            OpKind::Math(op, a) => {
                let a = self.float(a, compute);
                match op {
                    Math::Exp => kernel_math::exp(&mut self.insts, space, a),
                    Math::Log => kernel_math::log(&mut self.insts, space, a),
                    Math::Tanh => kernel_math::tanh(&mut self.insts, space, a),
                    Math::Sin => kernel_math::sin(&mut self.insts, space, a),
                    Math::Cos => kernel_math::cos(&mut self.insts, space, a),
                }
            }
            OpKind::Stochastic(x, noise) => {
                let (x, noise) = (self.float(x, compute), self.float(noise, compute));
                kernel_round::stochastic(&mut self.insts, dtype, x, noise)
            }
            OpKind::Pow(a, b) => {
                let (a, b) = (self.float(a, compute), self.float(b, compute));
                kernel_math::pow(&mut self.insts, space, a, b)
            }
            OpKind::Atan2(y, x) => {
                let (y, x) = (self.float(y, compute), self.float(x, compute));
                kernel_math::atan2(&mut self.insts, space, y, x)
            }
            OpKind::Lerp(a, b, weight) => {
                let [a, b, weight] = [a, b, weight].map(|value| self.float(value, compute));
                let way = self.push(Inst::Binary(BinaryOp::Sub, b, a));
                let way = self.rounded(way, dtype);
                let part = self.push(Inst::Binary(BinaryOp::Mul, weight, way));
                let part = self.rounded(part, dtype);
                self.push(Inst::Binary(BinaryOp::Add, a, part))
            }
            OpKind::Select(c, a, b) => {
                let (c, a, b) = (self.mask(c), self.float(a, compute), self.float(b, compute));
                self.push(Inst::Select(c, a, b))
            }
            ref other => unreachable!("{other:?} in a kernel"),
        }
    }

    /// A number at this point: made here, loaded, or a host scalar as an operation that computes in `compute` sees it.
    fn float(&mut self, value: Value, compute: DType) -> Val {
        if let Some(&made) = self.made.get(&value) {
            return made;
        }
        let scalar = match *self.function.def(value) {
            OpKind::Const(x) if INLINE.contains(&x) => self.push(Inst::Const(x)),
            _ if self.function.is_host(value) => {
                let scalar = self.scalar(value);
                self.push(Inst::Scalar(scalar))
            }
            _ => return self.load(value),
        };
        self.rounded(scalar, compute)
    }

    fn scalar(&mut self, value: Value) -> u32 {
        let known = self.scalars.iter().position(|&scalar| scalar == value);
        known.unwrap_or_else(|| {
            self.scalars.push(value);
            self.scalars.len() - 1
        }) as u32
    }

    fn load(&mut self, value: Value) -> Val {
        let known = self.inputs.iter().position(|(input, _)| *input == value);
        let n = known.unwrap_or_else(|| {
            let dtype = self
                .function
                .tensor(value)
                .map_or(DType::F32, |ty| ty.dtype);
            let access = access(
                self.function.dims(value),
                &self.group.key.dims,
                self.group.split,
            );
            self.inputs.push((value, Input { dtype, access }));
            self.inputs.len() - 1
        });
        self.push(Inst::Load(n as u32))
    }

    fn mask(&mut self, value: Value) -> Val {
        match *self.function.def(value) {
            ref kind @ OpKind::Compare(op, a, b) => {
                let compute = compute_of(self.function, kind, DType::F32);
                let (a, b) = (self.float(a, compute), self.float(b, compute));
                self.push(Inst::Compare(op, a, b))
            }
            OpKind::Logic(op, a, b) => {
                let (a, b) = (self.mask(a), self.mask(b));
                self.push(Inst::Logic(op, a, b))
            }
            OpKind::Not(a) => {
                let a = self.mask(a);
                self.push(Inst::Not(a))
            }
            _ => {
                let scalar = self.scalar(value);
                self.push(Inst::ScalarMask(scalar))
            }
        }
    }
}

fn reduced(fold: Fold, over: Reduce) -> OutputKind {
    match over {
        Reduce::All => OutputKind::All(fold),
        Reduce::From(_) => OutputKind::Cols(fold),
        Reduce::Before(_) => OutputKind::Rows(fold),
    }
}
