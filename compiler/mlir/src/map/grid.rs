//! How entries of the PTX share their work: blocks of threads over the work items of a table of tensors.
//!
//! ```text
//! for each work item of this block:
//!     which tensor is it?              // binary search in `starts`
//!     do it                            // a map kernel, or one of `super::support`
//! ```
//!
//! The same loops can be written as a C function that is one thread of a block ([`emit_emulated`]), for tests.

use super::{gpu, support};
use crate::number::{load, store};
use crate::text::{Elem, Text, Type, Value, act, emit};
use optc_core::dtype::DType;
use optc_core::kernel::MapKernel;

/// Threads per block.
pub const THREADS: u32 = 128;

/// Threads, as a step of a loop.
pub(super) const STRIP: i64 = THREADS as i64;
const DOUBLE: Type = Type {
    elem: Elem::F64,
    lanes: 1,
};
const SHARED: &str = "shared";

/// Writes a `gpu.module` with an entry for each kernel, and those of [`support`].
pub(crate) fn emit(t: &mut Text, kernels: &[MapKernel]) {
    t.block(format_args!("gpu.module @maps"), |t| {
        act!(t, "llvm.mlir.global internal @{SHARED}() {{addr_space = 3 : i32}} : !llvm.array<{THREADS} x f64>");
        entries(t, kernels, entry);
    });
}

/// Writes a C function for each of the same that runs one thread of one block.
pub(crate) fn emit_emulated(t: &mut Text, kernels: &[MapKernel]) {
    entries(t, kernels, emulated);
}

/// What is done for one work item.
type Act<'a> = &'a dyn Fn(&mut Text, Block, &Work);

fn entries(t: &mut Text, kernels: &[MapKernel], entry: fn(&mut Text, &str, Act<'_>)) {
    for kernel in kernels {
        entry(t, &kernel.symbol(), &|t, block, work| {
            gpu::item(t, kernel, block, work)
        });
    }
    for support in support::all() {
        entry(t, &support.symbol(), &|t, block, work| {
            support.item(t, block, work)
        });
    }
}

fn entry(t: &mut Text, symbol: &str, act: Act<'_>) {
    let global = "!llvm.ptr<1>";
    let params = [global, global, global, global, "i32"];
    let attributes =
        format!("kernel attributes {{known_block_size = array<i32: {THREADS}, 1, 1>}}");
    t.routine("gpu", symbol, &params, &attributes, |t, args| {
        let block = Block {
            thread: position(t, "thread_id"),
            block: position(t, "block_id"),
            blocks: position(t, "grid_dim"),
            shared: emit!(t, "llvm.mlir.addressof @{SHARED} : !llvm.ptr<3>"),
            shared_pointer: "!llvm.ptr<3>",
            pointer: global,
            barrier: None,
        };
        items(t, block, args, act);
    });
}

fn position(t: &mut Text, what: &str) -> Value {
    let index = emit!(t, "gpu.{what} x");
    emit!(t, "arith.index_castui {index} : index to i64")
}

fn emulated(t: &mut Text, symbol: &str, act: Act<'_>) {
    let address = "!llvm.ptr";
    let table = [address, address, address, address, "i32"];
    let params = [
        &table[..],
        &["i64", "i64", "i64", address, address, address],
    ]
    .concat();
    t.function(symbol, &params, |t, args| {
        let block = Block {
            thread: args[5],
            block: args[6],
            blocks: args[7],
            shared: args[8],
            shared_pointer: address,
            pointer: address,
            barrier: Some((args[9], args[10])),
        };
        items(t, block, args, act);
    });
}

/// A work item of a tensor.
pub(crate) struct Work {
    pub(super) operands: Value,
    pub(super) scalars: Value,
    /// The tensor's number.
    pub(super) tensor: Value,
    /// Its two dimensions.
    pub(super) dims: (Value, Value),
    /// The item's number within the tensor.
    pub(super) item: Value,
}

/// The loop over work items; `args` begins with the parameters of an entry.
fn items(t: &mut Text, block: Block, args: &[Value], act: Act<'_>) {
    let &[operands, scalars, dims, starts, tensors, ..] = args else {
        unreachable!("five at least")
    };
    let tensors = emit!(t, "arith.extui {tensors} : i32 to i64");
    let total = block.table(t, starts, tensors);
    let carried = [block.block];
    t.loop_while(
        &carried,
        |t, item| emit!(t, "arith.cmpi ult, {}, {total} : i64", item[0]),
        |t, item| {
            let tensor = find(t, block, starts, tensors, item[0]);
            let before = block.table(t, starts, tensor);
            let chunk = emit!(t, "arith.subi {}, {before} : i64", item[0]);
            let (two, one) = (t.index(2), t.index(1));
            let row = t.times(tensor, two);
            let col = t.plus(row, one);
            let work = Work {
                operands,
                scalars,
                tensor,
                dims: (block.table(t, dims, row), block.table(t, dims, col)),
                item: chunk,
            };
            act(t, block, &work);
            vec![t.plus(item[0], block.blocks)]
        },
    );
}

/// How a thread sees its block.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(super) thread: Value,
    pub(super) block: Value,
    pub(super) blocks: Value,
    /// 128 f64.
    pub(super) shared: Value,
    pub(super) shared_pointer: &'static str,
    /// The MLIR type of addresses of tensors.
    pub(super) pointer: &'static str,
    /// A function to call with a pointer; on a GPU an instruction.
    pub(super) barrier: Option<(Value, Value)>,
}

impl Block {
    pub(super) fn wait(&self, t: &mut Text) {
        match self.barrier {
            None => act!(t, "gpu.barrier"),
            Some((function, context)) => act!(
                t,
                "llvm.call {function}({context}) : !llvm.ptr, (!llvm.ptr) -> ()"
            ),
        }
    }

    pub(super) fn write_shared(&self, t: &mut Text, at: Value, value: Value) {
        store(
            t,
            self.shared_pointer,
            self.shared,
            at,
            DType::F64,
            value,
            DOUBLE,
        );
    }

    pub(super) fn read_shared(&self, t: &mut Text, at: Value) -> Value {
        load(t, self.shared_pointer, self.shared, at, DType::F64, DOUBLE)
    }

    pub(super) fn is_first(&self, t: &mut Text) -> Value {
        let zero = t.index(0);
        emit!(t, "arith.cmpi eq, {}, {zero} : i64", self.thread)
    }

    pub(super) fn table(&self, t: &mut Text, base: Value, at: Value) -> Value {
        let address = t.at(self.pointer, base, at, Elem::I64);
        emit!(t, "llvm.load {address} : {} -> i64", self.pointer)
    }
}

/// The last tensor whose work begins at or before `item`.
fn find(t: &mut Text, block: Block, starts: Value, tensors: Value, item: Value) -> Value {
    let first = t.index(0);
    let found = t.loop_while(
        &[first, tensors],
        |t, bounds| {
            let gap = emit!(t, "arith.subi {}, {} : i64", bounds[1], bounds[0]);
            let one = t.index(1);
            emit!(t, "arith.cmpi ugt, {gap}, {one} : i64")
        },
        |t, bounds| {
            let (sum, one) = (t.plus(bounds[0], bounds[1]), t.index(1));
            let middle = emit!(t, "arith.shrui {sum}, {one} : i64");
            let start = block.table(t, starts, middle);
            let reached = emit!(t, "arith.cmpi ule, {start}, {item} : i64");
            let low = emit!(t, "arith.select {reached}, {middle}, {} : i64", bounds[0]);
            let high = emit!(t, "arith.select {reached}, {}, {middle} : i64", bounds[1]);
            vec![low, high]
        },
    );
    found[0]
}
