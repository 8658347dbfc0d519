//! Stored numbers and the numbers computed with: loads, stores and conversions for every dtype.
//!
//! Conversions to and from the half types use integer arithmetic where a target's instruction would flush subnormals
//! (`vcvtneps2bf16`) or call a library (bf16 below AVX-512, f64 to f16).

use crate::text::{Elem, Text, Type, Value, act, emit};
use optc_core::dtype::DType;

/// How MLIR sees a stored element: bf16 as its bits.
pub(crate) fn storage(dtype: DType) -> Elem {
    match dtype {
        DType::F64 => Elem::F64,
        DType::F32 => Elem::F32,
        DType::BF16 => Elem::I16,
        DType::F16 => Elem::F16,
        // Kernels read and write floats alone.
        DType::I64 | DType::U8 => Elem::I64,
    }
}

/// Loads elements from `index` on and converts them to `ty`.
pub(crate) fn load(
    t: &mut Text,
    pointer: &str,
    base: Value,
    index: Value,
    dtype: DType,
    ty: Type,
) -> Value {
    let stored = ty.of(storage(dtype));
    let address = t.at(pointer, base, index, stored.elem);
    let size = dtype.size();
    let value = emit!(
        t,
        "llvm.load {address} {{alignment = {size} : i64}} : {pointer} -> {stored}"
    );
    widen(t, value, dtype, ty)
}

/// Rounds a value of type `ty` and stores it from `index` on.
pub(crate) fn store(
    t: &mut Text,
    pointer: &str,
    base: Value,
    index: Value,
    dtype: DType,
    value: Value,
    ty: Type,
) {
    let stored = ty.of(storage(dtype));
    let value = narrow(t, value, ty, dtype);
    let address = t.at(pointer, base, index, stored.elem);
    let size = dtype.size();
    act!(
        t,
        "llvm.store {value}, {address} {{alignment = {size} : i64}} : {stored}, {pointer}"
    );
}

/// A stored value in `ty`; exact, except f64 to f32.
pub(crate) fn widen(t: &mut Text, stored: Value, dtype: DType, ty: Type) -> Value {
    let single = ty.of(Elem::F32);
    match dtype {
        DType::F64 | DType::F32 | DType::I64 | DType::U8 => {
            convert(t, stored, ty.of(storage(dtype)), ty.elem)
        }
        DType::F16 => {
            let value = emit!(t, "arith.extf {stored} : {} to {single}", ty.of(Elem::F16));
            convert(t, value, single, ty.elem)
        }
        DType::BF16 => {
            let bits = ty.of(Elem::I32);
            let low = emit!(t, "arith.extui {stored} : {} to {bits}", ty.of(Elem::I16));
            let sixteen = t.int(bits, 16);
            let high = emit!(t, "arith.shli {low}, {sixteen} : {bits}");
            let value = emit!(t, "arith.bitcast {high} : {bits} to {single}");
            convert(t, value, single, ty.elem)
        }
    }
}

/// A value of type `ty` as it is stored: one rounding, to nearest, ties to even.
pub(crate) fn narrow(t: &mut Text, value: Value, ty: Type, dtype: DType) -> Value {
    match dtype {
        DType::F64 | DType::F32 | DType::I64 | DType::U8 => convert(t, value, ty, storage(dtype)),
        DType::F16 => {
            let value = single(t, value, ty);
            emit!(
                t,
                "arith.truncf {value} : {} to {}",
                ty.of(Elem::F32),
                ty.of(Elem::F16)
            )
        }
        DType::BF16 => {
            let value = single(t, value, ty);
            bf16_bits(t, value, ty.lanes)
        }
    }
}

/// One float type to another.
pub(crate) fn convert(t: &mut Text, value: Value, from: Type, to: Elem) -> Value {
    match (from.elem, to) {
        (Elem::F64, Elem::F32) => emit!(t, "arith.truncf {value} : {from} to {}", from.of(to)),
        (Elem::F32, Elem::F64) => emit!(t, "arith.extf {value} : {from} to {}", from.of(to)),
        _ => value,
    }
}

/// The bits of f32 values rounded to bf16: half a unit minus the tie is added below the cut. A NaN is made quiet, for
/// the sum could carry its payload away.
fn bf16_bits(t: &mut Text, value: Value, lanes: u32) -> Value {
    let float = Type {
        elem: Elem::F32,
        lanes,
    };
    let int = float.of(Elem::I32);
    let (one, sixteen, half, quiet) = (
        t.int(int, 1),
        t.int(int, 16),
        t.int(int, 0x7fff),
        t.int(int, 0x40_0000),
    );
    let bits = emit!(t, "arith.bitcast {value} : {float} to {int}");
    let above = emit!(t, "arith.shrui {bits}, {sixteen} : {int}");
    let odd = emit!(t, "arith.andi {above}, {one} : {int}");
    let bias = emit!(t, "arith.addi {odd}, {half} : {int}");
    let rounded = emit!(t, "arith.addi {bits}, {bias} : {int}");
    let nan = emit!(t, "arith.ori {bits}, {quiet} : {int}");
    let is_nan = emit!(t, "arith.cmpf uno, {value}, {value} : {float}");
    let kept = select(t, is_nan, nan, rounded, int);
    let high = emit!(t, "arith.shrui {kept}, {sixteen} : {int}");
    emit!(t, "arith.trunci {high} : {int} to {}", int.of(Elem::I16))
}

/// `a` where the condition holds, else `b`, both of type `ty`.
pub(crate) fn select(t: &mut Text, condition: Value, a: Value, b: Value, ty: Type) -> Value {
    match ty.lanes {
        1 => emit!(t, "arith.select {condition}, {a}, {b} : {ty}"),
        _ => emit!(
            t,
            "arith.select {condition}, {a}, {b} : {}, {ty}",
            ty.of(Elem::I1)
        ),
    }
}

/// A value of type `ty` in f32, the type the half types are rounded from. An f64 is cut rather than rounded, its last
/// bit set if anything was cut off: rounding that to fewer bits equals rounding the f64 to them.
fn single(t: &mut Text, value: Value, ty: Type) -> Value {
    if ty.elem == Elem::F32 {
        return value;
    }
    let (float, int) = (ty.of(Elem::F32), ty.of(Elem::I32));
    let one = t.int(int, 1);
    let near = convert(t, value, ty, Elem::F32);
    let back = convert(t, near, float, Elem::F64);
    let size = intrinsic(t, "fabs", value, ty);
    let back_size = intrinsic(t, "fabs", back, ty);
    let beyond = emit!(t, "arith.cmpf ogt, {back_size}, {size} : {ty}");
    let bits = emit!(t, "arith.bitcast {near} : {float} to {int}");
    let below = emit!(t, "arith.subi {bits}, {one} : {int}");
    let cut = select(t, beyond, below, bits, int);
    let odd = emit!(t, "arith.ori {cut}, {one} : {int}");
    let inexact = emit!(t, "arith.cmpf one, {back}, {value} : {ty}");
    let kept = select(t, inexact, odd, bits, int);
    emit!(t, "arith.bitcast {kept} : {int} to {float}")
}

/// An intrinsic of LLVM with one argument. Called by name, because `convert-gpu-to-nvvm` would turn the op of the same
/// name into a call of CUDA's library, whose square root is approximate.
pub(crate) fn intrinsic(t: &mut Text, name: &str, value: Value, ty: Type) -> Value {
    emit!(
        t,
        "llvm.call_intrinsic \"llvm.{name}\"({value}) : ({ty}) -> {ty}"
    )
}
