//! Loads and stores of stored types, one element or one vector at a time, converted from and to the compute type.

use crate::code::Code;
use cranelift::codegen::ir::MemFlagsData;
use cranelift::prelude::*;
use optc_core::dtype::DType;

/// Operands are aligned to their element only, and the runtime vouches for their extent.
pub(crate) const PLAIN: MemFlagsData = MemFlagsData::new().with_notrap();

/// A place in memory: a pointer and a constant number of bytes after it.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) pointer: Value,
    pub(crate) offset: i32,
}

impl Place {
    fn after(self, bytes: u64) -> Place {
        Place {
            offset: self.offset + bytes as i32,
            ..self
        }
    }
}

impl Code<'_> {
    /// Loads as many elements as `ty` has lanes and converts them to it.
    pub(crate) fn load(&mut self, dtype: DType, ty: Type, at: Place) -> Value {
        match (dtype, ty) {
            (DType::F32, types::F32 | types::F32X4) | (DType::F64, types::F64 | types::F64X2) => {
                self.raw_load(ty, at)
            }
            (DType::F64, types::F32) => {
                let x = self.raw_load(types::F64, at);
                self.b.ins().fdemote(types::F32, x)
            }
            (DType::F64, types::F32X4) => {
                let halves = [at, at.after(16)].map(|at| {
                    let half = self.raw_load(types::F64X2, at);
                    self.b.ins().fvdemote(half)
                });
                self.join_low(halves)
            }
            (DType::F32, types::F64X2) => {
                let pair = self.raw_load(types::I64, at);
                let pair = self.b.ins().scalar_to_vector(types::I64X2, pair);
                let pair = self.cast(types::F32X4, pair);
                self.b.ins().fvpromote_low(pair)
            }
            (_, types::F64X2) => {
                let lanes = [at, at.after(dtype.size())].map(|at| self.load(dtype, types::F64, at));
                self.join(types::F64X2, &lanes)
            }
            (_, types::F64) => {
                let x = self.load(dtype, types::F32, at);
                self.b.ins().fpromote(types::F64, x)
            }
            _ => self.load_half(dtype, ty, at),
        }
    }

    fn load_half(&mut self, dtype: DType, ty: Type, at: Place) -> Value {
        let bits = match ty {
            types::F32X4 => self.b.ins().uload16x4(PLAIN, at.pointer, at.offset),
            _ => self
                .b
                .ins()
                .uload16(types::I32, PLAIN, at.pointer, at.offset),
        };
        self.widen(dtype, bits)
    }

    /// Rounds a float or a vector of floats to the stored type and stores it.
    pub(crate) fn store(&mut self, dtype: DType, value: Value, at: Place) {
        match (dtype, self.type_of(value)) {
            (DType::F32, types::F32 | types::F32X4) | (DType::F64, types::F64 | types::F64X2) => {
                self.raw_store(value, at);
            }
            (DType::F64, types::F32) => {
                let x = self.b.ins().fpromote(types::F64, value);
                self.raw_store(x, at);
            }
            (DType::F64, types::F32X4) => {
                let [low, high] = self.promote(value);
                self.raw_store(low, at);
                self.raw_store(high, at.after(16));
            }
            (DType::F32, types::F64) => {
                let x = self.b.ins().fdemote(types::F32, value);
                self.raw_store(x, at);
            }
            (DType::F32, types::F64X2) => {
                let pair = self.b.ins().fvdemote(value);
                self.store_low(pair, at);
            }
            (_, types::F64X2) => {
                for lane in 0..2 {
                    let x = self.b.ins().extractlane(value, lane);
                    self.store(dtype, x, at.after(u64::from(lane) * dtype.size()));
                }
            }
            (_, types::F32X4) => {
                let bits = self.narrow(dtype, value);
                let packed = self.b.ins().unarrow(bits, bits);
                self.store_low(packed, at);
            }
            _ => {
                let bits = self.narrow(dtype, value);
                self.b.ins().istore16(PLAIN, bits, at.pointer, at.offset);
            }
        }
    }

    /// A float rounded to a half type, as its bits; takes f32 scalars and vectors, and f64 scalars.
    pub(crate) fn narrow(&mut self, dtype: DType, value: Value) -> Value {
        let value = if self.type_of(value) == types::F64 {
            self.round_to_odd(value)
        } else {
            value
        };
        match dtype {
            DType::BF16 => self.narrow_bf16(value),
            _ => self.narrow_f16(value),
        }
    }

    /// The f32 of a half type's bits.
    pub(crate) fn widen(&mut self, dtype: DType, bits: Value) -> Value {
        match dtype {
            DType::BF16 => self.widen_bf16(bits),
            _ => self.widen_f16(bits),
        }
    }

    /// The f64 values of four f32 lanes.
    pub(crate) fn promote(&mut self, value: Value) -> [Value; 2] {
        let low = self.b.ins().fvpromote_low(value);
        let bytes = self.cast(types::I8X16, value);
        let swapped = self.shuffle(
            bytes,
            bytes,
            [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7],
        );
        let swapped = self.cast(types::F32X4, swapped);
        [low, self.b.ins().fvpromote_low(swapped)]
    }

    /// The low halves of two f32 vectors, side by side.
    fn join_low(&mut self, [a, b]: [Value; 2]) -> Value {
        let (a, b) = (self.cast(types::I8X16, a), self.cast(types::I8X16, b));
        let joined = self.shuffle(
            a,
            b,
            [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23],
        );
        self.cast(types::F32X4, joined)
    }

    fn store_low(&mut self, vector: Value, at: Place) {
        let words = self.cast(types::I64X2, vector);
        let low = self.b.ins().extractlane(words, 0);
        self.raw_store(low, at);
    }

    pub(crate) fn raw_load(&mut self, ty: Type, at: Place) -> Value {
        self.b.ins().load(ty, PLAIN, at.pointer, at.offset)
    }

    pub(crate) fn raw_store(&mut self, value: Value, at: Place) {
        self.b.ins().store(PLAIN, value, at.pointer, at.offset);
    }
}
