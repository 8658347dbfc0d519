//! The body of a map kernel at one point or at 16 neighbouring points: one op of `arith` or `llvm.intr` per
//! instruction, the same on every target.
//!
//! Values are emitted as far out as they are known: constants and host scalars once per call, an element per row once
//! per row, the rest at the point.

use crate::number::{convert, intrinsic, load, narrow, select, store, widen};
use crate::text::{Elem, Text, Type, Value, emit};
use optc_core::dtype::DType;
use optc_core::kernel::{
    Access, BinaryOp, CompareOp, Fold, Inst, IntOp, LogicOp, MapKernel, UnaryOp, Val,
};

/// Where a kernel's operands and scalars are.
pub(crate) struct Frame<'k> {
    pub(crate) kernel: &'k MapKernel,
    /// The addresses of the inputs, then of the outputs.
    pub(crate) operands: Vec<Value>,
    /// The address of the host scalars.
    pub(crate) scalars: Value,
    /// The MLIR type of all these addresses.
    pub(crate) pointer: &'static str,
}

/// A point of the index space, as offsets of the elements that belong to it.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    /// Of a full operand.
    pub(crate) full: Value,
    /// Of an operand with one element per column.
    pub(crate) col: Value,
}

/// The values of a body, as far as they are known.
#[derive(Clone)]
pub(crate) struct Body<'f> {
    frame: &'f Frame<'f>,
    lanes: u32,
    values: Vec<Option<Value>>,
}

/// When a value is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Call,
    Row,
    Point,
}

impl<'f> Body<'f> {
    /// Emits what does not depend on the point.
    pub(crate) fn new(t: &mut Text, frame: &'f Frame<'f>, lanes: u32) -> Self {
        let values = vec![None; frame.kernel.insts.len()];
        let mut body = Body {
            frame,
            lanes,
            values,
        };
        let zero = t.index(0);
        body.emit_phase(t, Phase::Call, |_| zero);
        body
    }

    /// This body with the loads of one row emitted.
    pub(crate) fn in_row(&self, t: &mut Text, row: Value) -> Self {
        let mut body = self.clone();
        body.emit_phase(t, Phase::Row, |_| row);
        body
    }

    /// Emits all that is left at `point` and returns the value of each output, in order.
    pub(crate) fn at(&self, t: &mut Text, point: Point) -> Vec<Value> {
        let mut body = self.clone();
        body.emit_phase(t, Phase::Point, |access| {
            if access == Access::Col {
                point.col
            } else {
                point.full
            }
        });
        self.frame
            .kernel
            .outputs
            .iter()
            .map(|output| body.value(output.value))
            .collect()
    }

    /// The type all arithmetic happens in.
    pub(crate) fn float(&self) -> Type {
        Type {
            elem: elem(self.frame.kernel.compute),
            lanes: self.lanes,
        }
    }

    /// A value of the compute type in f64.
    pub(crate) fn to_f64(&self, t: &mut Text, value: Value) -> Value {
        convert(t, value, self.float(), Elem::F64)
    }

    /// Stores a value of the compute type in output `n`.
    pub(crate) fn store(&self, t: &mut Text, n: usize, index: Value, value: Value) {
        let dtype = self.frame.kernel.outputs[n].dtype;
        let base = self.frame.operands[self.frame.kernel.inputs.len() + n];
        store(
            t,
            self.frame.pointer,
            base,
            index,
            dtype,
            value,
            self.float(),
        );
    }

    fn emit_phase(&mut self, t: &mut Text, phase: Phase, index: impl Fn(Access) -> Value) {
        for (n, inst) in self.frame.kernel.insts.iter().enumerate() {
            if self.phase(inst) == phase {
                self.values[n] = Some(self.inst(t, inst, &index));
            }
        }
    }

    fn phase(&self, inst: &Inst) -> Phase {
        match inst {
            Inst::Load(n) => match self.frame.kernel.inputs[*n as usize].access {
                Access::Full | Access::Col => Phase::Point,
                Access::Row => Phase::Row,
                Access::One => Phase::Call,
            },
            Inst::Scalar(_) | Inst::ScalarMask(_) | Inst::Const(_) | Inst::IntConst(_) => {
                Phase::Call
            }
            _ => Phase::Point,
        }
    }

    fn value(&self, val: Val) -> Value {
        self.values[val as usize].expect("an operand comes before its use")
    }

    fn inst(&self, t: &mut Text, inst: &Inst, index: &impl Fn(Access) -> Value) -> Value {
        let (float, int, mask) = (self.float(), self.int(), self.float().of(Elem::I1));
        match *inst {
            Inst::Load(n) => self.load(t, n as usize, index),
            Inst::Scalar(n) => self.scalar(t, n),
            Inst::ScalarMask(n) => self.scalar_mask(t, n),
            Inst::Const(x) => t.float(float, x),
            Inst::IntConst(x) => t.int(int, x),
            Inst::Unary(op, a) => unary(t, op, self.value(a), float),
            Inst::Binary(op, a, b) => binary(t, op, self.value(a), self.value(b), float),
            Inst::Compare(op, a, b) => {
                emit!(
                    t,
                    "arith.cmpf {}, {}, {} : {float}",
                    predicate(op),
                    self.value(a),
                    self.value(b)
                )
            }
            Inst::Logic(LogicOp::And, a, b) => emit!(
                t,
                "arith.andi {}, {} : {mask}",
                self.value(a),
                self.value(b)
            ),
            Inst::Logic(LogicOp::Or, a, b) => {
                emit!(t, "arith.ori {}, {} : {mask}", self.value(a), self.value(b))
            }
            Inst::Not(a) => {
                let truth = t.int(mask, 1);
                emit!(t, "arith.xori {}, {truth} : {mask}", self.value(a))
            }
            Inst::Select(c, a, b) => self.select(t, self.value(c), self.value(a), self.value(b)),
            Inst::Round(dtype, a) => {
                let stored = narrow(t, self.value(a), float, dtype);
                widen(t, stored, dtype, float)
            }
            Inst::ToInt(a) => self.to_int(t, self.value(a)),
            Inst::FromInt(a) => emit!(t, "arith.sitofp {} : {int} to {float}", self.value(a)),
            Inst::Bits(a) => emit!(t, "arith.bitcast {} : {float} to {int}", self.value(a)),
            Inst::FromBits(a) => emit!(t, "arith.bitcast {} : {int} to {float}", self.value(a)),
            Inst::Int(op, a, b) => emit!(
                t,
                "arith.{} {}, {} : {int}",
                integer(op),
                self.value(a),
                self.value(b)
            ),
        }
    }

    fn int(&self) -> Type {
        self.float().of(if self.frame.kernel.compute == DType::F64 {
            Elem::I64
        } else {
            Elem::I32
        })
    }

    fn load(&self, t: &mut Text, n: usize, index: &impl Fn(Access) -> Value) -> Value {
        let input = self.frame.kernel.inputs[n];
        let (base, at) = (self.frame.operands[n], index(input.access));
        match input.access {
            Access::Full | Access::Col => {
                load(t, self.frame.pointer, base, at, input.dtype, self.float())
            }
            Access::Row | Access::One => {
                let one = Type::scalar(self.float().elem);
                let value = load(t, self.frame.pointer, base, at, input.dtype, one);
                self.splat(t, value, one.elem)
            }
        }
    }

    fn host_scalar(&self, t: &mut Text, n: u32) -> Value {
        let index = t.index(i64::from(n));
        load(
            t,
            self.frame.pointer,
            self.frame.scalars,
            index,
            DType::F64,
            Type::scalar(Elem::F64),
        )
    }

    fn scalar(&self, t: &mut Text, n: u32) -> Value {
        let host = self.host_scalar(t, n);
        let elem = self.float().elem;
        let value = convert(t, host, Type::scalar(Elem::F64), elem);
        self.splat(t, value, elem)
    }

    fn scalar_mask(&self, t: &mut Text, n: u32) -> Value {
        let host = self.host_scalar(t, n);
        let zero = t.float(Type::scalar(Elem::F64), 0.0);
        let truth = emit!(t, "arith.cmpf une, {host}, {zero} : f64");
        self.splat(t, truth, Elem::I1)
    }

    fn splat(&self, t: &mut Text, value: Value, elem: Elem) -> Value {
        match self.lanes {
            1 => value,
            lanes => emit!(
                t,
                "vector.broadcast {value} : {elem} to {}",
                Type { elem, lanes }
            ),
        }
    }

    fn select(&self, t: &mut Text, condition: Value, a: Value, b: Value) -> Value {
        select(t, condition, a, b, self.float())
    }

    /// Out of range is a value of no account, but it has to be one value: hence the freeze.
    fn to_int(&self, t: &mut Text, value: Value) -> Value {
        let (float, int) = (self.float(), self.int());
        let whole = intrinsic(t, "roundeven", value, float);
        let converted = emit!(t, "arith.fptosi {whole} : {float} to {int}");
        emit!(t, "llvm.freeze {converted} : {int}")
    }
}

/// Two values that a reduction makes one.
pub(super) fn folded(t: &mut Text, fold: Fold, a: Value, b: Value, ty: Type) -> Value {
    let op = match fold {
        Fold::Sum => BinaryOp::Add,
        Fold::Max => BinaryOp::Max,
    };
    binary(t, op, a, b, ty)
}

fn unary(t: &mut Text, op: UnaryOp, a: Value, ty: Type) -> Value {
    match op {
        UnaryOp::Neg => emit!(t, "arith.negf {a} : {ty}"),
        UnaryOp::Abs => intrinsic(t, "fabs", a, ty),
        UnaryOp::Sqrt => intrinsic(t, "sqrt", a, ty),
        UnaryOp::RoundEven => intrinsic(t, "roundeven", a, ty),
        UnaryOp::Floor => intrinsic(t, "floor", a, ty),
    }
}

fn binary(t: &mut Text, op: BinaryOp, a: Value, b: Value, ty: Type) -> Value {
    let name = match op {
        BinaryOp::Add => "addf",
        BinaryOp::Sub => "subf",
        BinaryOp::Mul => "mulf",
        BinaryOp::Div => "divf",
        BinaryOp::Min => "minimumf",
        BinaryOp::Max => "maximumf",
    };
    emit!(t, "arith.{name} {a}, {b} : {ty}")
}

fn predicate(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "oeq",
        CompareOp::Ne => "une",
        CompareOp::Lt => "olt",
        CompareOp::Le => "ole",
        CompareOp::Gt => "ogt",
        CompareOp::Ge => "oge",
    }
}

fn integer(op: IntOp) -> &'static str {
    match op {
        IntOp::Add => "addi",
        IntOp::Sub => "subi",
        IntOp::And => "andi",
        IntOp::Or => "ori",
        IntOp::Shl => "shli",
        IntOp::Shr => "shrui",
        IntOp::Sar => "shrsi",
    }
}

/// The float MLIR computes with for a compute type.
fn elem(compute: DType) -> Elem {
    if compute == DType::F64 {
        Elem::F64
    } else {
        Elem::F32
    }
}
