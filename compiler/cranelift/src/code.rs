//! The function of one kernel: loops over chunks, rows and runs, and the sums that run beside them.
//!
//! ```text
//! flat            for chunk { lanes = 0; run(chunk); partial[chunk] = total(lanes) }
//! grid            for chunk { column sums = 0; total = 0
//!                             for row { lanes = 0; run(row); out[row] = total(lanes) } … }
//! run(from, to)   vectors while they fit, then single elements
//! ```
//!
//! The 16 lanes of a sum lie in a stack slot, so that vectors and single elements add to the same lanes and it does
//! not matter how many vectors an iteration handles. A flat kernel that reduces nothing is a single run. Maxima are
//! computed like sums.

use crate::memory::{PLAIN, Place};
use crate::point::{float_of, int_of};
use cranelift::codegen::ir::{Endianness, Function, StackSlot};
use cranelift::codegen::isa::TargetFrontendConfig;
use cranelift::prelude::*;
use optc_core::dtype::DType;
use optc_core::kernel::{
    Access, CHUNK, Fold, LANES, MapKernel, Output, OutputKind, ROW_CHUNK, Space,
};

/// How many points one instruction handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// One.
    Scalar,
    /// As many as fit in 128 bits.
    Vector,
}

/// Types of the values of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Types {
    scalar: Type,
}

impl Types {
    pub(crate) fn float(self, width: Width) -> Type {
        match width {
            Width::Scalar => self.scalar,
            Width::Vector => self
                .scalar
                .by(128 / self.scalar.bits())
                .unwrap_or(self.scalar),
        }
    }

    fn lanes(self) -> u64 {
        u64::from(128 / self.scalar.bits())
    }
}

/// A value that does not change along a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Uniform {
    scalar: Value,
    vector: Value,
}

impl Uniform {
    pub(crate) fn at(self, width: Width) -> Value {
        match width {
            Width::Scalar => self.scalar,
            Width::Vector => self.vector,
        }
    }
}

/// Where each operand's element 0 of a run lies.
pub(crate) struct Run {
    pub(crate) operands: Vec<Value>,
}

/// A function under construction.
pub(crate) struct Code<'a> {
    pub(crate) b: FunctionBuilder<'a>,
    pub(crate) kernel: &'a MapKernel,
    pub(crate) types: Types,
    /// Pointers to the inputs, then the outputs.
    pub(crate) operands: Vec<Value>,
    /// By instruction.
    pub(crate) uniform: Vec<Option<Uniform>>,
    /// By output: 16 lanes and, after them, the sum over rows so far.
    sums: Vec<Option<StackSlot>>,
    /// Vectors per iteration; none where everything is done one element at a time.
    vectors: u64,
}

/// Byte offset of the sum over rows, after the lanes.
const ROWS_SUM: i32 = 8 * LANES as i32;

/// Fills `function`, whose signature is set, with the code of `kernel`.
pub(crate) fn build(
    kernel: &MapKernel,
    width: Width,
    target: TargetFrontendConfig,
    function: &mut Function,
    context: &mut FunctionBuilderContext,
) {
    let scalar = if kernel.compute == DType::F32 {
        types::F32
    } else {
        types::F64
    };
    let vectors = match (width, weight(kernel)) {
        (Width::Scalar, _) => 0,
        // Long bodies are bound by arithmetic, not by the loop around it.
        (Width::Vector, 64..) => 1,
        (Width::Vector, _) => 4,
    };
    let mut code = Code {
        b: FunctionBuilder::new(function, context),
        kernel,
        types: Types { scalar },
        operands: vec![],
        uniform: vec![None; kernel.insts.len()],
        sums: vec![],
        vectors,
    };
    code.function();
    code.b.seal_all_blocks();
    code.b.finalize(target);
}

/// About as many instructions as a vector of the body takes.
fn weight(kernel: &MapKernel) -> usize {
    let conversion = |dtype| match dtype {
        DType::F16 => 20,
        DType::BF16 => 6,
        _ => 1,
    };
    let loads: usize = kernel
        .inputs
        .iter()
        .map(|input| conversion(input.dtype))
        .sum();
    let stores: usize = kernel
        .outputs
        .iter()
        .map(|output| conversion(output.dtype))
        .sum();
    kernel.insts.len() + loads + stores
}

impl Code<'_> {
    fn function(&mut self) {
        let entry = self.b.create_block();
        self.b.append_block_params_for_function_params(entry);
        self.b.switch_to_block(entry);
        let &[operands, scalars, dims, begin, end] = self.b.block_params(entry) else {
            unreachable!("a kernel takes five arguments")
        };
        let (work, exit) = (self.b.create_block(), self.b.create_block());
        let any = self.b.ins().icmp(IntCC::UnsignedLessThan, begin, end);
        self.b.ins().brif(any, work, &[], exit, &[]);

        self.b.switch_to_block(work);
        self.prepare(operands, scalars);
        match self.kernel.space {
            Space::Flat => self.flat(begin, end),
            Space::Grid => self.grid(dims, begin, end),
        }
        self.b.ins().jump(exit, &[]);
        self.b.switch_to_block(exit);
        self.b.ins().return_(&[]);
    }

    fn prepare(&mut self, operands: Value, scalars: Value) {
        let count = self.kernel.inputs.len() + self.kernel.outputs.len();
        self.operands = (0..count)
            .map(|n| self.b.ins().load(types::I64, PLAIN, operands, 8 * n as i32))
            .collect();
        self.load_uniform(scalars);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * (LANES as u32 + 1), 4);
        for output in &self.kernel.outputs {
            let slot = output
                .kind
                .is_along_run()
                .then(|| self.b.create_sized_stack_slot(slot.clone()));
            self.sums.push(slot);
        }
    }

    fn flat(&mut self, begin: Value, end: Value) {
        let run = Run {
            operands: self.operands.clone(),
        };
        if self.sums.iter().all(Option::is_none) {
            return self.run(&run, begin, end);
        }
        self.repeat(begin, end, CHUNK, |code, from| {
            let to = code.chunk_end(from, CHUNK, end);
            code.clear_lanes();
            code.run(&run, from, to);
            for (n, fold) in code.of_all() {
                let total = code.total(n, fold);
                let chunk = code.b.ins().ushr_imm_u(from, CHUNK.trailing_zeros() as i64);
                let at = code.element(code.operand_of_output(n), DType::F64, chunk, 0);
                code.raw_store(total, at);
            }
        });
    }

    fn grid(&mut self, dims: Value, begin: Value, end: Value) {
        let cols = self.b.ins().load(types::I64, PLAIN, dims, 8);
        self.repeat(begin, end, ROW_CHUNK, |code, first| {
            let after = code.chunk_end(first, ROW_CHUNK, end);
            let chunk = code
                .b
                .ins()
                .ushr_imm_u(first, ROW_CHUNK.trailing_zeros() as i64);
            let columns = code.begin_rows(chunk, cols);
            code.repeat(first, after, 1, |code, row| code.row(&columns, row, cols));
            for (n, _) in code.of_all() {
                let place = code.sum_place(n, ROWS_SUM);
                let sum = code.raw_load(types::F64, place);
                let at = code.element(code.operand_of_output(n), DType::F64, chunk, 0);
                code.raw_store(sum, at);
            }
        });
    }

    /// Begins the sums over a chunk of rows; returns where the column sums lie, by output.
    fn begin_rows(&mut self, chunk: Value, cols: Value) -> Vec<Option<Value>> {
        for (n, fold) in self.of_all() {
            let none = self.b.ins().f64const(fold.of_none());
            let place = self.sum_place(n, ROWS_SUM);
            self.raw_store(none, place);
        }
        let mut columns = vec![None; self.kernel.outputs.len()];
        for (n, fold) in self.of_rows() {
            let first_value = self.b.ins().f64const(fold.of_none());
            let first = self.b.ins().imul(chunk, cols);
            let base = self.pointer(self.operand_of_output(n), DType::F64, first);
            let none = self.b.ins().iconst(types::I64, 0);
            self.repeat(none, cols, 1, |code, col| {
                let at = code.element(base, DType::F64, col, 0);
                code.raw_store(first_value, at);
            });
            columns[n] = Some(base);
        }
        columns
    }

    fn row(&mut self, columns: &[Option<Value>], row: Value, cols: Value) {
        self.load_row(row);
        self.clear_lanes();
        let run = self.row_operands(columns, row, cols);
        let none = self.b.ins().iconst(types::I64, 0);
        self.run(&run, none, cols);
        for (n, output, fold) in self.of_cols() {
            let total = self.total(n, fold);
            let at = self.element(self.operand_of_output(n), output.dtype, row, 0);
            self.store(output.dtype, total, at);
        }
        for (n, fold) in self.of_all() {
            let total = self.total(n, fold);
            let place = self.sum_place(n, ROWS_SUM);
            let sum = self.raw_load(types::F64, place);
            let sum = self.fold(fold, sum, total);
            self.raw_store(sum, place);
        }
    }

    fn row_operands(&mut self, columns: &[Option<Value>], row: Value, cols: Value) -> Run {
        let mut operands = self.operands.clone();
        let first = self.b.ins().imul(row, cols);
        for (n, input) in self.kernel.inputs.iter().enumerate() {
            if input.access == Access::Full {
                operands[n] = self.pointer(operands[n], input.dtype, first);
            }
        }
        for (n, output) in self.kernel.outputs.iter().enumerate() {
            let operand = &mut operands[self.kernel.inputs.len() + n];
            match (output.kind, columns[n]) {
                (OutputKind::Store, _) => *operand = self.pointer(*operand, output.dtype, first),
                (_, Some(column_sums)) => *operand = column_sums,
                _ => {}
            }
        }
        Run { operands }
    }

    /// Elements `[from, to)` of a run; `from` is a multiple of 16.
    fn run(&mut self, run: &Run, from: Value, to: Value) {
        let mut from = from;
        if self.vectors > 0 {
            let (lanes, step) = (self.types.lanes(), self.types.lanes() * self.vectors);
            let count = self.b.ins().isub(to, from);
            let whole = self.b.ins().band_imm_s(count, -(step as i64));
            let end = self.b.ins().iadd(from, whole);
            self.repeat(from, end, step, |code, index| {
                for vector in 0..code.vectors {
                    code.point(Width::Vector, run, index, vector * lanes);
                }
            });
            from = end;
        }
        self.repeat(from, to, 1, |code, index| {
            code.point(Width::Scalar, run, index, 0)
        });
    }

    fn point(&mut self, width: Width, run: &Run, index: Value, offset: u64) {
        let values = self.body(width, run, index, offset);
        for (n, output) in self.kernel.outputs.iter().enumerate() {
            let operand = run.operands[self.kernel.inputs.len() + n];
            let value = values[output.value as usize];
            match output.kind {
                OutputKind::Store => {
                    let at = self.element(operand, output.dtype, index, offset);
                    self.store(output.dtype, value, at);
                }
                OutputKind::Rows(fold) => {
                    let at = self.element(operand, DType::F64, index, offset);
                    self.take(fold, value, at);
                }
                OutputKind::All(fold) | OutputKind::Cols(fold) => {
                    let lanes = self.sum_place(n, 0);
                    let lane = self.b.ins().band_imm_u(index, LANES as i64 - 1);
                    let at = self.element(lanes.pointer, DType::F64, lane, offset);
                    self.take(fold, value, at);
                }
            }
        }
    }

    fn fold(&mut self, fold: Fold, a: Value, b: Value) -> Value {
        match fold {
            Fold::Sum => self.b.ins().fadd(a, b),
            Fold::Max => self.b.ins().fmax(a, b),
        }
    }

    /// Folds a float, or each lane of a vector, into the f64 in its place.
    fn take(&mut self, fold: Fold, value: Value, at: Place) {
        let parts = match self.type_of(value) {
            types::F32 => vec![self.b.ins().fpromote(types::F64, value)],
            types::F32X4 => self.promote(value).to_vec(),
            _ => vec![value],
        };
        for (n, part) in parts.into_iter().enumerate() {
            let at = Place {
                offset: at.offset + 16 * n as i32,
                ..at
            };
            let sum = self.raw_load(self.type_of(part), at);
            let sum = self.fold(fold, sum, part);
            self.raw_store(sum, at);
        }
    }

    fn clear_lanes(&mut self) {
        for n in 0..self.sums.len() {
            if let (Some(_), Some(fold)) = (self.sums[n], self.kernel.outputs[n].kind.fold()) {
                let none = self.b.ins().f64const(fold.of_none());
                let both = self.b.ins().splat(types::F64X2, none);
                for pair in 0..LANES as i32 / 2 {
                    let place = self.sum_place(n, 16 * pair);
                    self.raw_store(both, place);
                }
            }
        }
    }

    /// The 16 lanes folded pairwise.
    fn total(&mut self, output: usize, fold: Fold) -> Value {
        let mut pairs: Vec<Value> = (0..LANES as i32 / 2)
            .map(|pair| {
                let place = self.sum_place(output, 16 * pair);
                self.raw_load(types::F64X2, place)
            })
            .collect();
        while pairs.len() > 1 {
            let upper = pairs.split_off(pairs.len() / 2);
            pairs = pairs
                .iter()
                .zip(upper)
                .map(|(&a, b)| self.fold(fold, a, b))
                .collect();
        }
        let [even, odd] = [0_u8, 1].map(|lane| self.b.ins().extractlane(pairs[0], lane));
        self.fold(fold, even, odd)
    }

    fn sum_place(&mut self, output: usize, offset: i32) -> Place {
        let Some(slot) = self.sums[output] else {
            unreachable!("output {output} has no running sum")
        };
        Place {
            pointer: self.b.ins().stack_addr(types::I64, slot, 0),
            offset,
        }
    }

    fn outputs<T>(&self, which: impl Fn(usize, Output) -> Option<T>) -> Vec<T> {
        let outputs = self.kernel.outputs.iter().copied().enumerate();
        outputs.filter_map(|(n, output)| which(n, output)).collect()
    }

    fn of_all(&self) -> Vec<(usize, Fold)> {
        self.outputs(|n, output| match output.kind {
            OutputKind::All(fold) => Some((n, fold)),
            _ => None,
        })
    }

    fn of_rows(&self) -> Vec<(usize, Fold)> {
        self.outputs(|n, output| match output.kind {
            OutputKind::Rows(fold) => Some((n, fold)),
            _ => None,
        })
    }

    fn of_cols(&self) -> Vec<(usize, Output, Fold)> {
        self.outputs(|n, output| match output.kind {
            OutputKind::Cols(fold) => Some((n, output, fold)),
            _ => None,
        })
    }

    fn operand_of_output(&self, output: usize) -> Value {
        self.operands[self.kernel.inputs.len() + output]
    }

    fn chunk_end(&mut self, from: Value, chunk: u64, end: Value) -> Value {
        let full = self.b.ins().iadd_imm_s(from, chunk as i64);
        self.b.ins().umin(full, end)
    }

    /// `for index in (from..to).step_by(step)`; leaves the builder after the loop.
    fn repeat(&mut self, from: Value, to: Value, step: u64, body: impl FnOnce(&mut Self, Value)) {
        let (around, exit) = (self.b.create_block(), self.b.create_block());
        let index = self.b.append_block_param(around, types::I64);
        let any = self.b.ins().icmp(IntCC::UnsignedLessThan, from, to);
        self.b.ins().brif(any, around, &[from.into()], exit, &[]);
        self.b.switch_to_block(around);
        body(self, index);
        let next = self.b.ins().iadd_imm_s(index, step as i64);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, to);
        self.b.ins().brif(more, around, &[next.into()], exit, &[]);
        self.b.switch_to_block(exit);
    }
}

/// Places and uniform values.
impl Code<'_> {
    /// Element `index + offset` of a tensor.
    pub(crate) fn element(
        &mut self,
        base: Value,
        dtype: DType,
        index: Value,
        offset: u64,
    ) -> Place {
        Place {
            pointer: self.pointer(base, dtype, index),
            offset: (offset * dtype.size()) as i32,
        }
    }

    fn pointer(&mut self, base: Value, dtype: DType, index: Value) -> Value {
        let bytes = self
            .b
            .ins()
            .ishl_imm_u(index, dtype.size().trailing_zeros() as i64);
        self.b.ins().iadd(base, bytes)
    }

    pub(crate) fn load_one(&mut self, input: u32, pointer: Value, offset: i32) -> Uniform {
        let dtype = self.kernel.inputs[input as usize].dtype;
        let value = self.load(dtype, self.types.scalar, Place { pointer, offset });
        self.spread(value)
    }

    pub(crate) fn scalar(&mut self, scalars: Value, n: u32) -> Uniform {
        let x = self.raw_load(
            types::F64,
            Place {
                pointer: scalars,
                offset: 8 * n as i32,
            },
        );
        let x = if self.types.scalar == types::F32 {
            self.b.ins().fdemote(types::F32, x)
        } else {
            x
        };
        self.spread(x)
    }

    pub(crate) fn scalar_mask(&mut self, scalars: Value, n: u32) -> Uniform {
        let x = self.raw_load(
            types::F64,
            Place {
                pointer: scalars,
                offset: 8 * n as i32,
            },
        );
        let zero = self.b.ins().f64const(0.0);
        let mask = self.b.ins().fcmp(FloatCC::NotEqual, x, zero);
        let bit = self.b.ins().uextend(int_of(self.types.scalar), mask);
        let bits = self.b.ins().ineg(bit);
        Uniform {
            scalar: mask,
            vector: self.spread(bits).vector,
        }
    }

    pub(crate) fn float_constant(&mut self, x: f64) -> Uniform {
        let [scalar, vector] = [Width::Scalar, Width::Vector]
            .map(|width| self.float_of_type(self.types.float(width), x));
        Uniform { scalar, vector }
    }

    pub(crate) fn int_constant(&mut self, x: i64) -> Uniform {
        let [scalar, vector] = [Width::Scalar, Width::Vector]
            .map(|width| self.int_of_type(int_of(self.types.float(width)), x));
        Uniform { scalar, vector }
    }

    /// The same value in every lane. Where there are no vectors, none is made.
    fn spread(&mut self, scalar: Value) -> Uniform {
        if self.vectors == 0 {
            return Uniform {
                scalar,
                vector: scalar,
            };
        }
        let ty = self.type_of(scalar);
        let vector = ty.by(128 / ty.bits()).unwrap_or(ty);
        Uniform {
            scalar,
            vector: self.b.ins().splat(vector, scalar),
        }
    }
}

/// What both widths share: every function goes by the type of its arguments.
impl Code<'_> {
    pub(crate) fn type_of(&self, value: Value) -> Type {
        self.b.func.dfg.value_type(value)
    }

    /// The same bits as another type.
    pub(crate) fn cast(&mut self, ty: Type, value: Value) -> Value {
        if self.type_of(value) == ty {
            return value;
        }
        self.b.ins().bitcast(
            ty,
            MemFlagsData::new().with_endianness(Endianness::Little),
            value,
        )
    }

    pub(crate) fn as_int(&mut self, value: Value) -> Value {
        self.cast(int_of(self.type_of(value)), value)
    }

    pub(crate) fn as_float(&mut self, value: Value) -> Value {
        self.cast(float_of(self.type_of(value)), value)
    }

    /// The first where the mask holds, else the second; floats or integers.
    pub(crate) fn choose(&mut self, mask: Value, a: Value, b: Value) -> Value {
        let ty = self.type_of(a);
        if !ty.is_vector() {
            return self.b.ins().select(mask, a, b);
        }
        let mask = self.cast(ty, mask);
        self.b.ins().bitselect(mask, a, b)
    }

    pub(crate) fn int_like(&mut self, like: Value, x: i64) -> Value {
        self.int_of_type(self.type_of(like), x)
    }

    pub(crate) fn float_like(&mut self, like: Value, x: f64) -> Value {
        self.float_of_type(self.type_of(like), x)
    }

    fn int_of_type(&mut self, ty: Type, x: i64) -> Value {
        match ty {
            types::I32 => self.b.ins().iconst(ty, i64::from(x as u32)),
            types::I64 => self.b.ins().iconst(ty, x),
            types::I32X4 => self.vector_constant(ty, &(x as u32).to_le_bytes()),
            _ => self.vector_constant(ty, &x.to_le_bytes()),
        }
    }

    fn float_of_type(&mut self, ty: Type, x: f64) -> Value {
        match ty {
            types::F32 => self.b.ins().f32const(x as f32),
            types::F64 => self.b.ins().f64const(x),
            types::F32X4 => self.vector_constant(ty, &(x as f32).to_le_bytes()),
            _ => self.vector_constant(ty, &x.to_le_bytes()),
        }
    }

    fn vector_constant(&mut self, ty: Type, lane: &[u8]) -> Value {
        let bytes = lane.repeat(16 / lane.len());
        let constant = self.b.func.dfg.constants.insert(bytes.into());
        self.b.ins().vconst(ty, constant)
    }

    /// Bytes of `a` (0 to 15) and `b` (16 to 31) by number.
    pub(crate) fn shuffle(&mut self, a: Value, b: Value, bytes: [u8; 16]) -> Value {
        let mask = self.b.func.dfg.immediates.push(bytes.to_vec().into());
        self.b.ins().shuffle(a, b, mask)
    }

    /// One vector of given lanes.
    pub(crate) fn join(&mut self, ty: Type, lanes: &[Value]) -> Value {
        let first = self.b.ins().splat(ty, lanes[0]);
        (1_u8..).zip(&lanes[1..]).fold(first, |vector, (n, &lane)| {
            self.b.ins().insertlane(vector, lane, n)
        })
    }

    /// Does lane by lane what has no vector instruction.
    pub(crate) fn per_lane(
        &mut self,
        result: Type,
        vectors: &[Value],
        each: impl Fn(&mut Self, &[Value]) -> Value,
    ) -> Value {
        let lane = |code: &mut Self, n: u32| {
            let lanes: Vec<Value> = vectors
                .iter()
                .map(|&v| code.b.ins().extractlane(v, n as u8))
                .collect();
            each(code, &lanes)
        };
        let lanes: Vec<Value> = (0..result.lane_count()).map(|n| lane(self, n)).collect();
        self.join(result, &lanes)
    }
}
