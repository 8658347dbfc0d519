//! What a plan costs: bytes moved, floating-point operations and launches, read off the plan itself.
//!
//! Bytes count every operand of every thunk once, as if each product read its matrices once and nothing stayed in a
//! cache between thunks. Operations of products count a multiplication and an addition for each term, and half of that
//! for symmetric results; those of factorizations are the leading terms of the usual algorithms.

use optc_core::kernel::{Access, MapKernel, OutputKind};
use optc_core::plan::{Buffer, Gemm, Plan, Role, Routine, Thunk, evaluate_host};
use optc_core::random::Noise;
use std::fmt;
use std::ops::AddAssign;
use std::str::FromStr;

/// What some part of a step costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    /// Bytes read and written.
    pub bytes: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// Thunks that were executed.
    pub launches: u64,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Cost) {
        self.bytes += other.bytes;
        self.flops += other.flops;
        self.launches += other.launches;
    }
}

/// What a step costs over time: rules do some things only at some steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Profile {
    /// Step 1.
    pub first: Cost,
    /// The median of later steps, by time on the given machine.
    pub typical: Cost,
    /// The most expensive of them.
    pub worst: Cost,
    /// Their mean.
    pub mean: Cost,
}

/// The limits of a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Machine {
    /// Operations per second, in units of 10^9.
    pub gflops: f64,
    /// Bytes per second, in units of 10^9.
    pub gbytes: f64,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine {
            gflops: 200.0,
            gbytes: 50.0,
        }
    }
}

impl FromStr for Machine {
    type Err = String;

    fn from_str(text: &str) -> Result<Machine, String> {
        let wrong =
            || format!("`{text}` is not a machine; write `200,50` for 200 GFLOP/s and 50 GB/s");
        let (gflops, gbytes) = text.split_once(',').ok_or_else(wrong)?;
        let positive = |text: &str| {
            text.trim()
                .parse()
                .ok()
                .filter(|x: &f64| x.is_finite() && *x > 0.0)
                .ok_or_else(wrong)
        };
        Ok(Machine {
            gflops: positive(gflops)?,
            gbytes: positive(gbytes)?,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} GFLOP/s and {} GB/s", self.gflops, self.gbytes)
    }
}

impl Machine {
    /// The least time that `cost` takes, in seconds.
    pub(crate) fn seconds(self, cost: Cost) -> f64 {
        self.seconds_of_memory(cost)
            .max(self.seconds_of_arithmetic(cost))
    }

    /// Whether `cost` is limited by memory rather than by arithmetic.
    pub(crate) fn is_memory_bound(self, cost: Cost) -> bool {
        self.seconds_of_memory(cost) >= self.seconds_of_arithmetic(cost)
    }

    fn seconds_of_memory(self, cost: Cost) -> f64 {
        cost.bytes / (self.gbytes * 1e9)
    }

    fn seconds_of_arithmetic(self, cost: Cost) -> f64 {
        cost.flops / (self.gflops * 1e9)
    }
}

/// Steps after the first that are looked at: enough to meet every branch of a rule with a period up to this.
const HORIZON: u64 = 1000;

/// The cost of `plan`'s steps with these hyperparameters.
pub(crate) fn profile(plan: &Plan, hypers: &[f64], machine: Machine) -> Profile {
    let mut regs = vec![0.0; plan.host.len()];
    let mut at = |step: u64| {
        evaluate_host(
            &plan.host,
            hypers,
            step as f64,
            &Noise::default(),
            &mut regs,
        );
        of_thunks(plan, &plan.body, &regs)
    };
    let first = at(1);
    let mut later: Vec<Cost> = (2..2 + HORIZON).map(&mut at).collect();
    later.sort_by(|a, b| machine.seconds(*a).total_cmp(&machine.seconds(*b)));
    Profile {
        first,
        typical: later[later.len() / 2],
        worst: later[later.len() - 1],
        mean: mean(&later),
    }
}

/// Bytes of the state that the rule keeps for one parameter.
pub(crate) fn state_bytes(plan: &Plan) -> u64 {
    let states = plan.slots.iter().filter(|slot| slot.role == Role::State);
    states
        .map(|slot| slot.dtype.size() * slot.dims.iter().product::<u64>())
        .sum()
}

fn mean(costs: &[Cost]) -> Cost {
    let mut sum = Cost::default();
    costs.iter().for_each(|&cost| sum += cost);
    let n = costs.len() as f64;
    Cost {
        bytes: sum.bytes / n,
        flops: sum.flops / n,
        launches: (sum.launches as f64 / n).round() as u64,
    }
}

fn of_thunks(plan: &Plan, thunks: &[Thunk], regs: &[f64]) -> Cost {
    let mut total = Cost::default();
    for thunk in thunks {
        total += match thunk {
            Thunk::If {
                cond,
                then,
                otherwise,
            } => {
                let branch = if regs[*cond as usize] != 0.0 {
                    then
                } else {
                    otherwise
                };
                of_thunks(plan, branch, regs)
            }
            // As if it always held: how long a loop runs is not known.
            Thunk::IfFlag { then, .. } => of_thunks(plan, then, regs),
            leaf => {
                let (bytes, flops) = of_leaf(plan, leaf);
                Cost {
                    bytes,
                    flops,
                    launches: 1,
                }
            }
        };
    }
    total
}

/// Bytes and operations of one thunk.
fn of_leaf(plan: &Plan, thunk: &Thunk) -> (f64, f64) {
    let bytes = |buffer: &Buffer| plan.bytes(*buffer) as f64;
    match thunk {
        Thunk::Map {
            kernel, rows, cols, ..
        } => of_map(&plan.kernels[*kernel as usize], *rows as f64, *cols as f64),
        Thunk::Gemm(gemm) => of_gemm(gemm),
        Thunk::Call {
            routine,
            inputs,
            outputs,
            ..
        } => {
            let moved = inputs
                .iter()
                .chain(outputs.iter().flatten())
                .map(bytes)
                .sum();
            (
                moved,
                of_routine(
                    *routine,
                    &inputs.iter().map(|b| plan.dims(*b)).collect::<Vec<_>>(),
                ),
            )
        }
        Thunk::Permute { x, out, .. }
        | Thunk::Copy { x, out }
        | Thunk::Pack { x, out, .. }
        | Thunk::Unpack { x, out, .. }
        | Thunk::Diag { x, out, .. } => (bytes(x).min(bytes(out)) + bytes(out), 0.0),
        Thunk::Gather { index, out, .. } => (bytes(index) + 2.0 * bytes(out), 0.0),
        Thunk::Scatter { x, index, y, .. } => (bytes(index) + 2.0 * (bytes(x) + bytes(y)), 0.0),
        Thunk::Quantize { x, codes, .. } => (bytes(x) + bytes(codes), 0.0),
        Thunk::Dequantize { codes, out, .. } => (bytes(codes) + bytes(out), 0.0),
        Thunk::Slice { out: part, .. }
        | Thunk::Paste { x: part, .. }
        | Thunk::Limit { x: part, .. } => (2.0 * bytes(part), 0.0),
        Thunk::Argsort { x, out, .. } => (bytes(x) + bytes(out), 0.0),
        Thunk::Fill { out, .. }
        | Thunk::Identity { out, .. }
        | Thunk::Random { out, .. }
        | Thunk::Triangle { out, .. } => (bytes(out), 0.0),
        // Its branch was taken by the caller.
        Thunk::If { .. } | Thunk::IfFlag { .. } => (0.0, 0.0),
    }
}

fn of_map(kernel: &MapKernel, rows: f64, cols: f64) -> (f64, f64) {
    let elements = |access: Access| match access {
        Access::Full => rows * cols,
        Access::Row => rows,
        Access::Col => cols,
        Access::One => 1.0,
    };
    let read: f64 = kernel
        .inputs
        .iter()
        .map(|input| elements(input.access) * input.dtype.size() as f64)
        .sum();
    let written: f64 = kernel
        .outputs
        .iter()
        .map(|out| elements(stored(out.kind)) * out.dtype.size() as f64)
        .sum();
    (
        read + written,
        rows * cols * kernel.flops_per_point() as f64,
    )
}

fn stored(kind: OutputKind) -> Access {
    match kind {
        OutputKind::Store => Access::Full,
        OutputKind::All(_) => Access::One,
        OutputKind::Cols(_) => Access::Row,
        OutputKind::Rows(_) => Access::Col,
    }
}

fn of_gemm(gemm: &Gemm) -> (f64, f64) {
    let [m, n, k, batch] = [gemm.m, gemm.n, gemm.k, gemm.batch].map(|x| x as f64);
    let results = if gemm.sum_batch { 1.0 } else { batch };
    let touched = if gemm.c.is_some() { 2.0 } else { 1.0 };
    let elements = batch * (m * k + k * n) + results * touched * m * n;
    let terms = if gemm.symmetric {
        m * (m + 1.0) / 2.0
    } else {
        m * n
    };
    (elements * gemm.dtype.size() as f64, 2.0 * batch * terms * k)
}

/// Leading terms: Householder tridiagonalisation with vectors, Householder QR with Q formed, and so on.
fn of_routine(routine: Routine, inputs: &[&[u64]]) -> f64 {
    let length = |input: usize, axis: usize| {
        inputs
            .get(input)
            .and_then(|d| d.get(axis))
            .map_or(0.0, |&d| d as f64)
    };
    let (m, n) = (length(0, 0), length(0, 1));
    match routine {
        Routine::Eigh { .. } => 9.0 * n.powi(3),
        Routine::Qr => reflections(m.max(n), m.min(n)) + reflections(m, m.min(n)),
        Routine::Svd { .. } => 20.0 * m * n * m.min(n),
        Routine::Cholesky => n.powi(3) / 3.0,
        Routine::SolveTriangular { .. } => n * n * length(1, 1),
    }
}

/// Applying or accumulating `k` Householder reflections of length up to `m`.
fn reflections(m: f64, k: f64) -> f64 {
    2.0 * m * k * k - 2.0 / 3.0 * k.powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use optc_core::dtype::DType;
    use optc_core::kernel::{BinaryOp, Input, Inst, Output, Space};
    use optc_core::plan::{HostBinary, HostInst, Matrix, Slot};

    const MACHINE: Machine = Machine {
        gflops: 100.0,
        gbytes: 10.0,
    };

    fn slot(name: &str, role: Role, dims: &[u64]) -> Slot {
        Slot {
            name: name.into(),
            role,
            dtype: DType::F32,
            dims: dims.into(),
        }
    }

    /// `w -= grad`, and at every fourth step a product of the 32 × 32 parameter with its gradient.
    fn plan() -> Plan {
        let full = Input {
            dtype: DType::F32,
            access: Access::Full,
        };
        let kernel = MapKernel {
            space: Space::Flat,
            compute: DType::F32,
            inputs: vec![full, full],
            scalars: 0,
            insts: vec![
                Inst::Load(0),
                Inst::Load(1),
                Inst::Binary(BinaryOp::Sub, 0, 1),
            ],
            outputs: vec![Output {
                value: 2,
                dtype: DType::F32,
                kind: OutputKind::Store,
            }],
        };
        let (w, grad) = (Buffer::Slot(0), Buffer::Slot(1));
        let map = Thunk::Map {
            kernel: 0,
            inputs: vec![w, grad],
            outputs: vec![w],
            scalars: vec![],
            rows: 1024,
            cols: 1,
        };
        let matrix = |buffer| Matrix {
            buffer,
            offset: 0,
            row_stride: 32,
            col_stride: 1,
            batch_stride: 0,
        };
        let gemm = Gemm {
            dtype: DType::F32,
            a: matrix(w),
            b: matrix(grad),
            c: None,
            out: matrix(Buffer::Slot(2)),
            m: 32,
            n: 32,
            k: 32,
            batch: 1,
            sum_batch: false,
            alpha: None,
            beta: None,
            symmetric: false,
        };
        Plan {
            slots: vec![
                slot("w", Role::Param, &[32, 32]),
                slot("grad", Role::Grad, &[32, 32]),
                slot("m", Role::State, &[32, 32]),
            ],
            shared: vec![],
            sums: vec![],
            temps: vec![],
            arena_bytes: 0,
            host: vec![
                HostInst::Step,
                HostInst::Const(4.0),
                HostInst::Binary(HostBinary::Mod, 0, 1),
                HostInst::Const(0.0),
                HostInst::Binary(HostBinary::Eq, 2, 3),
            ],
            kernels: vec![kernel],
            init: vec![],
            body: vec![
                map,
                Thunk::If {
                    cond: 4,
                    then: vec![Thunk::Gemm(gemm)],
                    otherwise: vec![],
                },
            ],
        }
    }

    #[test]
    fn branches_count_at_the_steps_that_take_them() {
        let profile = profile(&plan(), &[], MACHINE);
        let map = Cost {
            bytes: 3.0 * 4096.0,
            flops: 1024.0,
            launches: 1,
        };
        let product = Cost {
            bytes: 6.0 * 4096.0,
            flops: 1024.0 + 65536.0,
            launches: 2,
        };
        assert_eq!(
            (profile.first, profile.typical, profile.worst),
            (map, map, product)
        );
        assert_eq!(profile.mean.flops, 1024.0 + 65536.0 / 4.0);
    }

    #[test]
    fn a_symmetric_product_is_half_the_work() {
        let mut plan = plan();
        let Thunk::If { then, .. } = &mut plan.body[1] else {
            panic!("the second thunk branches")
        };
        let Thunk::Gemm(gemm) = &mut then[0] else {
            panic!("to a product")
        };
        gemm.symmetric = true;
        assert_eq!(of_gemm(gemm).1, 2.0 * 528.0 * 32.0);
    }

    #[test]
    fn state_is_counted_without_parameter_and_gradient() {
        assert_eq!(state_bytes(&plan()), 4096);
    }

    #[test]
    fn qr_of_a_square_is_eight_thirds_of_a_cube() {
        let n = 100.0f64;
        let flops = of_routine(Routine::Qr, &[&[100, 100]]);
        assert!((flops - 8.0 / 3.0 * n.powi(3)).abs() < 1.0, "{flops}");
    }

    #[test]
    fn the_roofline_takes_the_slower_of_memory_and_arithmetic() {
        let cost = Cost {
            bytes: 1e10,
            flops: 1e10,
            launches: 1,
        };
        assert_eq!(MACHINE.seconds(cost), 1.0);
        assert!(MACHINE.is_memory_bound(cost));
        let product = Cost {
            flops: 1e12,
            ..cost
        };
        assert_eq!(MACHINE.seconds(product), 10.0);
        assert!(!MACHINE.is_memory_bound(product));
    }
}
