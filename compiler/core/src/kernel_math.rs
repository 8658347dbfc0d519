//! temporary
use crate::{dtype::DType, kernel::{Inst, Val}};
pub fn exp(_: &mut Vec<Inst>, _: DType, _: Val) -> Val { panic!() }
pub fn log(_: &mut Vec<Inst>, _: DType, _: Val) -> Val { panic!() }
pub fn tanh(_: &mut Vec<Inst>, _: DType, _: Val) -> Val { panic!() }
pub fn pow(_: &mut Vec<Inst>, _: DType, _: Val, _: Val) -> Val { panic!() }
