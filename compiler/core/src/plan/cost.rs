//! What a step costs, read off the plan: bytes, floating-point operations, launches.

use super::{Buffer, Gemm, Plan, Routine, Thunk, evaluate_host};
use crate::kernel::{Access, MapKernel, OutputKind};
use crate::random::Noise;
use std::ops::AddAssign;

/// The cost of one step of one parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes read and written by every thunk, each tensor counted once per thunk.
    pub bytes: u64,
    /// Floating-point operations; a symmetric product counts half, factorizations by their leading term.
    pub flops: u64,
    /// Thunks executed.
    pub launches: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.bytes += other.bytes;
        self.flops += other.flops;
        self.launches += other.launches;
    }
}

impl Plan {
    /// The cost of step `step` with these hyperparameters: branches not taken cost nothing.
    pub fn cost(&self, hypers: &[f64], step: u64) -> Cost {
        let mut regs = vec![0.0; self.host.len()];
        evaluate_host(
            &self.host,
            hypers,
            step as f64,
            &Noise::default(),
            &mut regs,
        );
        self.cost_of(&self.body, &regs)
    }

    fn cost_of(&self, thunks: &[Thunk], regs: &[f64]) -> Cost {
        let mut total = Cost::default();
        for thunk in thunks {
            total += match thunk {
                Thunk::If {
                    cond,
                    then,
                    otherwise,
                } => self.cost_of(
                    if regs[*cond as usize] != 0.0 {
                        then
                    } else {
                        otherwise
                    },
                    regs,
                ),
                // As if it always held: how long a loop runs is not known.
                Thunk::IfFlag { then, .. } => self.cost_of(then, regs),
                thunk => self.cost_of_one(thunk),
            };
        }
        total
    }

    fn cost_of_one(&self, thunk: &Thunk) -> Cost {
        let (bytes, flops) = match thunk {
            Thunk::Map {
                kernel, rows, cols, ..
            } => map_cost(&self.kernels[*kernel as usize], *rows, *cols),
            Thunk::Gemm(gemm) => gemm_cost(gemm),
            Thunk::Call {
                routine,
                inputs,
                outputs,
                ..
            } => {
                let touched = inputs
                    .iter()
                    .chain(outputs.iter().flatten())
                    .map(|&buffer| self.bytes(buffer))
                    .sum();
                (touched, self.call_flops(*routine, inputs[0]))
            }
            Thunk::Permute { x, out, .. }
            | Thunk::Copy { x, out }
            | Thunk::Pack { x, out, .. }
            | Thunk::Unpack { x, out, .. } => (self.bytes(*x) + self.bytes(*out), 0),
            Thunk::Gather { out, .. } | Thunk::Slice { out, .. } => (2 * self.bytes(*out), 0),
            Thunk::Quantize { x, codes, .. } => (self.bytes(*x) + self.bytes(*codes), 0),
            Thunk::Dequantize { codes, out, .. } => (self.bytes(*codes) + self.bytes(*out), 0),
            Thunk::Limit { x, .. } | Thunk::Paste { x, .. } => (2 * self.bytes(*x), 0),
            Thunk::Scatter { x, y, .. } => (2 * (self.bytes(*x) + self.bytes(*y)), 0),
            Thunk::Argsort { out, .. } | Thunk::Diag { out, .. } => (2 * self.bytes(*out), 0),
            Thunk::Fill { out, .. }
            | Thunk::Identity { out, .. }
            | Thunk::Random { out, .. }
            | Thunk::Triangle { out, .. } => (self.bytes(*out), 0),
            Thunk::If { .. } | Thunk::IfFlag { .. } => (0, 0),
        };
        Cost {
            bytes,
            flops,
            launches: 1,
        }
    }

    /// Shape of a buffer.
    pub fn dims(&self, buffer: Buffer) -> &[u64] {
        match buffer {
            Buffer::Slot(n) => &self.slots[n as usize].dims,
            Buffer::Temp(n) => &self.temps[n as usize].dims,
        }
    }

    /// Size of a buffer in bytes.
    pub fn bytes(&self, buffer: Buffer) -> u64 {
        let dtype = match buffer {
            Buffer::Slot(n) => self.slots[n as usize].dtype,
            Buffer::Temp(n) => self.temps[n as usize].dtype,
        };
        self.dims(buffer).iter().product::<u64>() * dtype.size()
    }

    /// Leading terms: eigh 9 n³, QR 4 m n² (Q formed), SVD 20 m n min(m, n), Cholesky n³ / 3, triangular solve n² m.
    fn call_flops(&self, routine: Routine, x: Buffer) -> u64 {
        let dims = self.dims(x);
        let (m, n) = (
            dims.first().copied().unwrap_or(1),
            dims.last().copied().unwrap_or(1),
        );
        match routine {
            Routine::Eigh { .. } => 9 * n * n * n,
            Routine::Qr => 4 * m * n * n,
            Routine::Svd { .. } => 20 * m * n * m.min(n),
            Routine::Cholesky => n * n * n / 3,
            Routine::SolveTriangular { .. } => n * n * m,
        }
    }
}

fn map_cost(kernel: &MapKernel, rows: u64, cols: u64) -> (u64, u64) {
    let points = rows * cols;
    let elements = |access| match access {
        Access::Full => points,
        Access::Row => rows,
        Access::Col => cols,
        Access::One => 1,
    };
    let read: u64 = kernel
        .inputs
        .iter()
        .map(|input| elements(input.access) * input.dtype.size())
        .sum();
    let written = kernel.outputs.iter().map(|output| {
        let count = match output.kind {
            OutputKind::Store => points,
            OutputKind::Cols(_) => rows,
            OutputKind::Rows(_) => cols,
            OutputKind::All(_) => 1,
        };
        count * output.dtype.size()
    });
    (
        read + written.sum::<u64>(),
        kernel.flops_per_point() * points,
    )
}

fn gemm_cost(gemm: &Gemm) -> (u64, u64) {
    let Gemm { m, n, k, batch, .. } = *gemm;
    let stacks = |matrix: &super::Matrix| if matrix.batch_stride == 0 { 1 } else { batch };
    let results = if gemm.sum_batch { 1 } else { batch };
    let added = if gemm.c.is_some() { m * n * results } else { 0 };
    let elements = m * k * stacks(&gemm.a) + k * n * stacks(&gemm.b) + m * n * results + added;
    let full = 2 * m * n * k * batch;
    (
        elements * gemm.dtype.size(),
        if gemm.symmetric { full / 2 } else { full },
    )
}
