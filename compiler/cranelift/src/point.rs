//! The body of a kernel at one point of the index space, or at as many neighbouring points as a vector has lanes.

use crate::code::{Code, Run, Width};
use cranelift::prelude::*;
use optc_core::dtype::DType;
use optc_core::kernel::{Access, BinaryOp, CompareOp, Inst, IntOp, LogicOp, UnaryOp, Val};

impl Code<'_> {
    /// The values of all instructions at element `index + offset` of a run, and at those after it.
    pub(crate) fn body(
        &mut self,
        width: Width,
        run: &Run,
        index: Value,
        offset: u64,
    ) -> Vec<Value> {
        let mut values = Vec::with_capacity(self.kernel.insts.len());
        for (n, inst) in self.kernel.insts.iter().enumerate() {
            let value = match (self.uniform[n], *inst) {
                (Some(uniform), _) => uniform.at(width),
                (None, Inst::Load(input)) => {
                    let dtype = self.kernel.inputs[input as usize].dtype;
                    let at = self.element(run.operands[input as usize], dtype, index, offset);
                    self.load(dtype, self.types.float(width), at)
                }
                (None, inst) => self.inst(inst, &values),
            };
            values.push(value);
        }
        values
    }

    /// Scalars, constants and operands of one element: loaded once, whatever the range.
    pub(crate) fn load_uniform(&mut self, scalars: Value) {
        for (n, inst) in self.kernel.insts.iter().enumerate() {
            self.uniform[n] = match *inst {
                Inst::Scalar(scalar) => Some(self.scalar(scalars, scalar)),
                Inst::ScalarMask(scalar) => Some(self.scalar_mask(scalars, scalar)),
                Inst::Const(x) => Some(self.float_constant(x)),
                Inst::IntConst(x) => Some(self.int_constant(x)),
                Inst::Load(input) if self.access(input) == Access::One => {
                    Some(self.load_one(input, self.operands[input as usize], 0))
                }
                _ => None,
            };
        }
    }

    /// Operands of one element per row: loaded once per row.
    pub(crate) fn load_row(&mut self, row: Value) {
        for (n, inst) in self.kernel.insts.iter().enumerate() {
            if let Inst::Load(input) = *inst
                && self.access(input) == Access::Row
            {
                let dtype = self.kernel.inputs[input as usize].dtype;
                let at = self.element(self.operands[input as usize], dtype, row, 0);
                self.uniform[n] = Some(self.load_one(input, at.pointer, at.offset));
            }
        }
    }

    /// A value of kind float, mask or integer from values before it.
    fn inst(&mut self, inst: Inst, values: &[Value]) -> Value {
        let v = |n: Val| values[n as usize];
        match inst {
            Inst::Unary(op, a) => self.unary(op, v(a)),
            Inst::Binary(op, a, b) => self.binary(op, v(a), v(b)),
            Inst::Compare(op, a, b) => self.b.ins().fcmp(condition(op), v(a), v(b)),
            Inst::Logic(LogicOp::And, a, b) => self.b.ins().band(v(a), v(b)),
            Inst::Logic(LogicOp::Or, a, b) => self.b.ins().bor(v(a), v(b)),
            Inst::Not(a) => self.not(v(a)),
            Inst::Select(c, a, b) => self.choose(v(c), v(a), v(b)),
            Inst::Round(dtype, a) => self.round(dtype, v(a)),
            Inst::ToInt(a) => self.nearest_int(v(a)),
            Inst::FromInt(a) => {
                let ty = float_of(self.type_of(v(a)));
                self.b.ins().fcvt_from_sint(ty, v(a))
            }
            Inst::Bits(a) => self.as_int(v(a)),
            Inst::FromBits(a) => self.as_float(v(a)),
            Inst::Int(op, a, b) => self.int(op, v(a), v(b), self.kernel.insts[b as usize]),
            Inst::Load(_)
            | Inst::Scalar(_)
            | Inst::ScalarMask(_)
            | Inst::Const(_)
            | Inst::IntConst(_) => {
                unreachable!("`{inst}` is loaded, not computed")
            }
        }
    }

    fn unary(&mut self, op: UnaryOp, a: Value) -> Value {
        match op {
            UnaryOp::Neg => self.b.ins().fneg(a),
            UnaryOp::Abs => self.b.ins().fabs(a),
            UnaryOp::Sqrt => self.b.ins().sqrt(a),
            UnaryOp::RoundEven => self.b.ins().nearest(a),
            UnaryOp::Floor => self.b.ins().floor(a),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        match op {
            BinaryOp::Add => self.b.ins().fadd(a, b),
            BinaryOp::Sub => self.b.ins().fsub(a, b),
            BinaryOp::Mul => self.b.ins().fmul(a, b),
            BinaryOp::Div => self.b.ins().fdiv(a, b),
            BinaryOp::Min => self.b.ins().fmin(a, b),
            BinaryOp::Max => self.b.ins().fmax(a, b),
        }
    }

    /// A scalar mask is 0 or 1; each lane of a vector mask is all zeros or all ones.
    fn not(&mut self, mask: Value) -> Value {
        if self.type_of(mask).is_vector() {
            self.b.ins().bnot(mask)
        } else {
            self.b.ins().bxor_imm_u(mask, 1)
        }
    }

    fn round(&mut self, dtype: DType, a: Value) -> Value {
        match (dtype, self.type_of(a)) {
            (DType::F32, types::F64X2) => {
                let narrow = self.b.ins().fvdemote(a);
                self.b.ins().fvpromote_low(narrow)
            }
            (_, types::F64X2) => {
                self.per_lane(types::F64X2, &[a], |code, lane| code.round(dtype, lane[0]))
            }
            (DType::F32, _) => {
                let narrow = self.b.ins().fdemote(types::F32, a);
                self.b.ins().fpromote(types::F64, narrow)
            }
            (_, ty) => {
                let bits = self.narrow(dtype, a);
                let rounded = self.widen(dtype, bits);
                if ty == types::F64 {
                    self.b.ins().fpromote(types::F64, rounded)
                } else {
                    rounded
                }
            }
        }
    }

    fn nearest_int(&mut self, a: Value) -> Value {
        let ty = self.type_of(a);
        if ty == types::F64X2 {
            // x64 has no such conversion before AVX-512.
            return self.per_lane(types::I64X2, &[a], |code, lane| code.nearest_int(lane[0]));
        }
        let whole = self.b.ins().nearest(a);
        self.b.ins().fcvt_to_sint_sat(int_of(ty), whole)
    }

    fn int(&mut self, op: IntOp, a: Value, b: Value, maker_of_b: Inst) -> Value {
        let ty = self.type_of(a);
        match op {
            IntOp::Add => self.b.ins().iadd(a, b),
            IntOp::Sub => self.b.ins().isub(a, b),
            IntOp::And => self.b.ins().band(a, b),
            IntOp::Or => self.b.ins().bor(a, b),
            IntOp::Shl | IntOp::Shr | IntOp::Sar => match maker_of_b {
                Inst::IntConst(by) => {
                    let by = self.b.ins().iconst(types::I32, by);
                    self.shift(op, a, by)
                }
                // A vector is shifted by one amount for all lanes.
                _ if ty.is_vector() => {
                    self.per_lane(ty, &[a, b], |code, lane| code.shift(op, lane[0], lane[1]))
                }
                _ => self.shift(op, a, b),
            },
        }
    }

    fn shift(&mut self, op: IntOp, a: Value, by: Value) -> Value {
        match op {
            IntOp::Shl => self.b.ins().ishl(a, by),
            IntOp::Shr => self.b.ins().ushr(a, by),
            _ => self.b.ins().sshr(a, by),
        }
    }

    fn access(&self, input: u32) -> Access {
        self.kernel.inputs[input as usize].access
    }
}

fn condition(op: CompareOp) -> FloatCC {
    match op {
        CompareOp::Eq => FloatCC::Equal,
        CompareOp::Ne => FloatCC::NotEqual,
        CompareOp::Lt => FloatCC::LessThan,
        CompareOp::Le => FloatCC::LessThanOrEqual,
        CompareOp::Gt => FloatCC::GreaterThan,
        CompareOp::Ge => FloatCC::GreaterThanOrEqual,
    }
}

/// The integer type of a float type's width and lanes.
pub(crate) fn int_of(ty: Type) -> Type {
    let lane = if ty.lane_bits() == 32 {
        types::I32
    } else {
        types::I64
    };
    lane.by(ty.lane_count()).unwrap_or(lane)
}

/// The float type of an integer type's width and lanes.
pub(crate) fn float_of(ty: Type) -> Type {
    let lane = if ty.lane_bits() == 32 {
        types::F32
    } else {
        types::F64
    };
    lane.by(ty.lane_count()).unwrap_or(lane)
}
