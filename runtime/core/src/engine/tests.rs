//! Whole steps on plans written by hand, against straightforward Rust.

use super::bind::{Code, Policies};
use super::device::bind::Ptx;
use super::*;
use crate::error::StepError;
use crate::kernels::{KernelSet, Tier};
use crate::routine::Failure;
use optc_core::kernel::{
    Access, BinaryOp, CHUNK, Fold, Input, Inst, MapKernel, Output, OutputKind, Space, UnaryOp,
};
use optc_core::plan::{
    Buffer, Gemm, HostBinary, HostInst, HostUnary, Matrix, OnFailure, Role, Routine, Slot, Temp,
    Thunk,
};
use std::ffi::c_void;

/// `m = beta · m + g; w = w - lr · m`, flat: (w, g, m) scalars (lr, beta) -> (w, m).
fn momentum_kernel() -> MapKernel {
    flat(
        &[Access::Full; 3],
        2,
        vec![
            Inst::Load(0),
            Inst::Load(1),
            Inst::Load(2),
            Inst::Scalar(0),
            Inst::Scalar(1),
            Inst::Binary(BinaryOp::Mul, 4, 2),
            Inst::Binary(BinaryOp::Add, 5, 1),
            Inst::Binary(BinaryOp::Mul, 3, 6),
            Inst::Binary(BinaryOp::Sub, 0, 7),
        ],
        &[(8, OutputKind::Store), (6, OutputKind::Store)],
    )
}

unsafe extern "C" fn momentum(
    operands: *const *mut c_void,
    scalars: *const f64,
    _: *const u64,
    begin: u64,
    end: u64,
) {
    // SAFETY: the operands of `momentum_kernel`.
    unsafe {
        let [w, g, m, w_out, m_out] = [0, 1, 2, 3, 4].map(|n| (*operands.add(n)).cast::<f32>());
        let (lr, beta) = (*scalars as f32, *scalars.add(1) as f32);
        for n in begin as usize..end as usize {
            let next = beta * *m.add(n) + *g.add(n);
            *w_out.add(n) = *w.add(n) - lr * next;
            *m_out.add(n) = next;
        }
    }
}

/// The sum of squares, flat: (x) -> sum.
fn squares_kernel() -> MapKernel {
    let square = vec![Inst::Load(0), Inst::Binary(BinaryOp::Mul, 0, 0)];
    flat(
        &[Access::Full],
        0,
        square,
        &[(1, OutputKind::All(Fold::Sum))],
    )
}

unsafe extern "C" fn squares(
    operands: *const *mut c_void,
    _: *const f64,
    _: *const u64,
    begin: u64,
    end: u64,
) {
    // SAFETY: the operands of `squares_kernel`.
    unsafe {
        let (x, partial) = ((*operands).cast::<f32>(), (*operands.add(1)).cast::<f64>());
        for chunk in (begin..end).step_by(CHUNK as usize) {
            let elements = chunk..end.min(chunk + CHUNK);
            let sum = elements
                .map(|n| f64::from(*x.add(n as usize) * *x.add(n as usize)))
                .sum::<f64>();
            *partial.add((chunk / CHUNK) as usize) = sum;
        }
    }
}

/// `w = w - lr · x / sqrt(s)`, flat: (w, x, s one) scalars (lr) -> w.
fn scaled_kernel() -> MapKernel {
    let insts = vec![
        Inst::Load(0),
        Inst::Load(1),
        Inst::Load(2),
        Inst::Scalar(0),
        Inst::Unary(UnaryOp::Sqrt, 2),
        Inst::Binary(BinaryOp::Mul, 3, 1),
        Inst::Binary(BinaryOp::Div, 5, 4),
        Inst::Binary(BinaryOp::Sub, 0, 6),
    ];
    flat(
        &[Access::Full, Access::Full, Access::One],
        1,
        insts,
        &[(7, OutputKind::Store)],
    )
}

unsafe extern "C" fn scaled(
    operands: *const *mut c_void,
    scalars: *const f64,
    _: *const u64,
    begin: u64,
    end: u64,
) {
    // SAFETY: the operands of `scaled_kernel`.
    unsafe {
        let [w, x, s, out] = [0, 1, 2, 3].map(|n| (*operands.add(n)).cast::<f32>());
        for n in begin as usize..end as usize {
            *out.add(n) = *w.add(n) - *scalars as f32 * *x.add(n) / (*s).sqrt();
        }
    }
}

fn flat(
    inputs: &[Access],
    scalars: u32,
    insts: Vec<Inst>,
    outputs: &[(u32, OutputKind)],
) -> MapKernel {
    let input = |&access: &Access| Input {
        dtype: DType::F32,
        access,
    };
    let output = |&(value, kind): &(u32, OutputKind)| Output {
        value,
        dtype: DType::F32,
        kind,
    };
    MapKernel {
        space: Space::Flat,
        compute: DType::F32,
        inputs: inputs.iter().map(input).collect(),
        scalars,
        insts,
        outputs: outputs.iter().map(output).collect(),
    }
}

fn kernels() -> KernelSet {
    let mut set = KernelSet::default();
    let functions: [(MapKernel, crate::kernels::MapFn); 3] = [
        (momentum_kernel(), momentum),
        (squares_kernel(), squares),
        (scaled_kernel(), scaled),
    ];
    for (kernel, function) in functions {
        // SAFETY: each function does what its kernel says, and is compiled into this program.
        unsafe { set.insert(&kernel.hash(), function, Tier::Quick, Arc::new(())) };
    }
    set
}

fn slot(name: &str, role: Role, dims: &[u64]) -> Slot {
    Slot {
        name: name.into(),
        role,
        dtype: DType::F32,
        dims: dims.to_vec(),
    }
}

fn slots(dims: &[u64], states: &[(&str, &[u64])]) -> Vec<Slot> {
    let mut slots = vec![slot("w", Role::Param, dims), slot("grad", Role::Grad, dims)];
    slots.extend(
        states
            .iter()
            .map(|(name, dims)| slot(name, Role::State, dims)),
    );
    slots
}

const W: Buffer = Buffer::Slot(0);
const G: Buffer = Buffer::Slot(1);
const M: Buffer = Buffer::Slot(2);

fn map(kernel: u32, inputs: &[Buffer], outputs: &[Buffer], scalars: &[u32], rows: u64) -> Thunk {
    Thunk::Map {
        kernel,
        inputs: inputs.into(),
        outputs: outputs.into(),
        scalars: scalars.into(),
        rows,
        cols: 1,
    }
}

fn count(dims: &[u64]) -> u64 {
    dims.iter().product()
}

/// Momentum: hypers (lr, beta), m from zero.
fn momentum_plan(dims: &[u64]) -> Plan {
    Plan {
        slots: slots(dims, &[("m", dims)]),
        shared: vec![],
        sums: vec![],
        temps: vec![],
        arena_bytes: 0,
        host: vec![HostInst::Hyper(0), HostInst::Hyper(1), HostInst::Const(0.0)],
        kernels: vec![momentum_kernel()],
        init: vec![Thunk::Fill { out: M, value: 2 }],
        body: vec![map(0, &[W, G, M], &[W, M], &[0, 1], count(dims))],
    }
}

/// `w -= lr · g / ‖g‖` from the second step on: two stages under a condition.
fn normalised_plan(dims: &[u64]) -> Plan {
    let sum = Buffer::Temp(0);
    let late = vec![
        map(0, &[G], &[sum], &[], count(dims)),
        map(1, &[W, G, sum], &[W], &[0], count(dims)),
    ];
    Plan {
        slots: slots(dims, &[]),
        shared: vec![],
        sums: vec![],
        temps: vec![Temp {
            dtype: DType::F32,
            dims: vec![],
            offset: 0,
        }],
        arena_bytes: 64,
        host: vec![
            HostInst::Hyper(0),
            HostInst::Step,
            HostInst::Const(1.0),
            HostInst::Binary(HostBinary::Eq, 1, 2),
            HostInst::Unary(HostUnary::Not, 3),
        ],
        kernels: vec![squares_kernel(), scaled_kernel()],
        init: vec![],
        body: vec![Thunk::If {
            cond: 4,
            then: late,
            otherwise: vec![],
        }],
    }
}

fn dense(buffer: Buffer, cols: u64) -> Matrix {
    Matrix {
        buffer,
        offset: 0,
        row_stride: cols,
        col_stride: 1,
        batch_stride: 0,
    }
}

/// `gram = gram + g g'; q = qr(gram).q; w = w - q · g`, every step; a matrix plan with all kinds of thunks.
fn whitening_plan(m: u64, n: u64) -> Plan {
    let (gram, q, update) = (Buffer::Slot(2), Buffer::Temp(0), Buffer::Temp(1));
    let transposed = Matrix {
        buffer: G,
        offset: 0,
        row_stride: 1,
        col_stride: n,
        batch_stride: 0,
    };
    let base = Gemm {
        dtype: DType::F32,
        a: dense(G, n),
        b: transposed,
        c: Some(dense(gram, m)),
        out: dense(gram, m),
        m,
        n: m,
        k: n,
        batch: 1,
        sum_batch: false,
        alpha: None,
        beta: None,
        symmetric: true,
    };
    let apply = Gemm {
        a: dense(q, m),
        b: dense(G, n),
        c: None,
        out: dense(update, n),
        n,
        k: m,
        symmetric: false,
        ..base.clone()
    };
    let subtract = Gemm {
        c: Some(dense(W, n)),
        out: dense(W, n),
        alpha: Some(0),
        ..apply.clone()
    };
    let qr = Thunk::Call {
        routine: Routine::Qr,
        inputs: vec![gram],
        outputs: vec![Some(q), None],
        on_failure: OnFailure::default(),
    };
    let bytes = |count: u64| crate::memory::padded(4 * count);
    Plan {
        slots: slots(&[m, n], &[("gram", &[m, m])]),
        shared: vec![],
        sums: vec![],
        temps: vec![
            Temp {
                dtype: DType::F32,
                dims: vec![m, m],
                offset: 0,
            },
            Temp {
                dtype: DType::F32,
                dims: vec![m, n],
                offset: bytes(m * m),
            },
        ],
        arena_bytes: bytes(m * m) + bytes(m * n),
        host: vec![HostInst::Hyper(0), HostInst::Const(0.5)],
        kernels: vec![],
        init: vec![Thunk::Identity {
            out: gram,
            n: m,
            scale: 1,
        }],
        body: vec![
            Thunk::Gemm(base),
            qr,
            Thunk::Gemm(apply),
            Thunk::Gemm(subtract),
        ],
    }
}

/// Fails in the first step unless the gradient's first element is positive.
fn cholesky_plan() -> Plan {
    let call = Thunk::Call {
        routine: Routine::Cholesky,
        inputs: vec![G],
        outputs: vec![Some(W)],
        on_failure: OnFailure::default(),
    };
    Plan {
        slots: slots(&[1, 1], &[]),
        shared: vec![],
        sums: vec![],
        temps: vec![],
        arena_bytes: 0,
        host: vec![],
        kernels: vec![],
        init: vec![],
        body: vec![call],
    }
}

/// Keeps a copy of the parameter as it was before its first step.
fn anchor_plan(dims: &[u64]) -> Plan {
    let mut plan = momentum_plan(dims);
    plan.slots.push(slot("anchor", Role::State, dims));
    plan.init.push(Thunk::Copy {
        x: W,
        out: Buffer::Slot(3),
    });
    plan
}

fn entry(name: &str, plan: Plan) -> Entry {
    let dims = plan.slots[0].dims.iter().map(|&dim| dim as i64).collect();
    let (name, plan) = (name.to_owned(), Arc::new(plan));
    Entry {
        entries: Vec::new().into(),
        numbers: 0,
        name,
        dims,
        dtype: DType::F32,
        device: Device::Cpu,
        plan,
        rule: "each".into(),
        hypers: 0,
        absent_zeros: false,
        non_finite: NonFinite::Propagate,
        lent: false,
    }
}

/// Code for the host alone.
fn code(kernels: &KernelSet) -> Code<'_> {
    Code {
        kernels,
        ptx: Ptx::default(),
    }
}

fn bind(entries: Vec<Entry>, threads: usize) -> Engine {
    bind_with(entries, threads, NonFinite::Propagate)
}

fn bind_with(entries: Vec<Entry>, threads: usize, non_finite: NonFinite) -> Engine {
    let hypers = vec![vec![0.25, 0.5], vec![0.125, 0.5]];
    Engine::new(
        entries,
        hypers,
        code(&kernels()),
        Arc::new(Pool::new(threads)),
        Policies {
            non_finite,
            ..Policies::default()
        },
    )
    .unwrap()
}

struct Random(u64);

impl Random {
    fn values(&mut self, count: u64) -> Vec<f32> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}

/// Parameters and gradients by position.
struct Model {
    dims: Vec<Vec<i64>>,
    params: Vec<Vec<f32>>,
    random: Random,
}

impl Model {
    fn new(engine: &Engine) -> Model {
        let mut random = Random(11);
        let dims: Vec<Vec<i64>> = engine
            .params
            .iter()
            .map(|param| param.dims.clone())
            .collect();
        let params = engine
            .params
            .iter()
            .map(|param| random.values(param.elements()))
            .collect();
        Model {
            dims,
            params,
            random,
        }
    }

    fn gradients(&mut self) -> Vec<Option<Vec<f32>>> {
        self.params
            .iter()
            .map(|param| Some(self.random.values(param.len() as u64)))
            .collect()
    }

    fn step(&mut self, engine: &mut Engine, grads: &[Option<Vec<f32>>]) -> Result<(), StepError> {
        let inputs: Vec<StepInput<'_>> = self
            .params
            .iter_mut()
            .zip(grads)
            .zip(&self.dims)
            .map(|((param, grad), dims)| StepInput {
                param: TensorView::from_mut(param, dims).unwrap(),
                grad: grad
                    .as_ref()
                    .map(|grad| TensorView::from_ref(grad, dims).unwrap()),
            })
            .collect();
        engine.step(&inputs)
    }
}

/// Runs some steps and returns every bit of parameters and state.
fn trajectory(entries: Vec<Entry>, threads: usize, steps: usize) -> Vec<u32> {
    let mut engine = bind(entries, threads);
    let mut model = Model::new(&engine);
    for _ in 0..steps {
        let grads = model.gradients();
        model.step(&mut engine, &grads).unwrap();
    }
    let states = engine
        .params
        .iter()
        .flat_map(|param| &param.states)
        .flat_map(|state| state.bytes().unwrap().into_owned());
    let states: Vec<u8> = states.collect();
    let words = states
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    model
        .params
        .iter()
        .flatten()
        .map(|x| x.to_bits())
        .chain(words)
        .collect()
}

const SHAPES: [&[u64]; 9] = [
    &[],
    &[0],
    &[1],
    &[5],
    &[4096],
    &[4097],
    &[3, 7],
    &[40, 1000],
    &[2, 300_000],
];

fn many(plan: fn(&[u64]) -> Plan) -> Vec<Entry> {
    SHAPES
        .iter()
        .enumerate()
        .map(|(n, dims)| entry(&format!("p{n}"), plan(dims)))
        .collect()
}

#[test]
fn momentum_matches_the_formula() {
    for threads in [1, 2, 5] {
        let mut engine = bind(many(momentum_plan), threads);
        let mut model = Model::new(&engine);
        let mut expected: Vec<Vec<(f32, f32)>> = model
            .params
            .iter()
            .map(|param| param.iter().map(|&w| (w, 0.0)).collect())
            .collect();
        for _ in 0..3 {
            let grads = model.gradients();
            for (param, grad) in expected.iter_mut().zip(&grads) {
                for ((w, m), g) in param.iter_mut().zip(grad.as_ref().unwrap()) {
                    *m = 0.5 * *m + g;
                    *w -= 0.25 * *m;
                }
            }
            model.step(&mut engine, &grads).unwrap();
        }
        for (found, expected) in model.params.iter().zip(expected) {
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(x, (y, _))| x.to_bits() == y.to_bits())
            );
        }
        assert!(engine.params.iter().all(|param| param.step == 3));
    }
}

#[test]
fn sums_and_conditions_in_lockstep() {
    let mut engine = bind(many(normalised_plan), 2);
    let mut model = Model::new(&engine);
    let before = model.params.clone();
    let grads = model.gradients();
    model.step(&mut engine, &grads).unwrap();
    assert_eq!(model.params, before, "the first step does nothing");
    model.step(&mut engine, &grads).unwrap();
    for ((param, old), grad) in model.params.iter().zip(before).zip(grads) {
        let grad = grad.unwrap();
        let chunk = |chunk: &[f32]| chunk.iter().map(|g| f64::from(g * g)).sum::<f64>();
        let norm = (grad.chunks(CHUNK as usize).map(chunk).sum::<f64>() as f32).sqrt();
        assert!(
            param
                .iter()
                .zip(old)
                .zip(&grad)
                .all(|((x, w), g)| *x == w - 0.25 * g / norm)
        );
    }
}

#[test]
fn lockstep_takes_maps_and_the_queue_the_rest() {
    let engine = bind(
        vec![
            entry("a", momentum_plan(&[10])),
            entry("b", whitening_plan(8, 4)),
        ],
        2,
    );
    assert!(engine.tables.lockstep.takes(0) && !engine.tables.lockstep.takes(1));
}

fn mixed() -> Vec<Entry> {
    let sizes = [(300, 40), (33, 17), (64, 64), (1, 5), (20, 200)];
    let matrices = sizes
        .iter()
        .enumerate()
        .map(|(n, &(m, k))| entry(&format!("m{n}"), whitening_plan(m, k)));
    many(momentum_plan)
        .into_iter()
        .chain(matrices)
        .chain([entry("n", normalised_plan(&[9000]))])
        .collect()
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let alone = trajectory(mixed(), 1, 3);
    assert!(alone.iter().all(|&bits| f32::from_bits(bits).is_finite()));
    for threads in [2, 3, 8] {
        assert_eq!(alone, trajectory(mixed(), threads, 3), "{threads} threads");
    }
    // One large matrix: its thunks are shared.
    let large = || {
        vec![
            entry("large", whitening_plan(530, 600)),
            entry("small", whitening_plan(5, 6)),
        ]
    };
    assert_eq!(trajectory(large(), 1, 2), trajectory(large(), 3, 2));
}

#[test]
fn the_whitening_plan_computes_what_it_says() {
    let mut engine = bind(vec![entry("w", whitening_plan(4, 6))], 1);
    let mut model = Model::new(&engine);
    let (before, grads) = (model.params[0].clone(), model.gradients());
    model.step(&mut engine, &grads).unwrap();
    let g: Vec<f64> = grads[0]
        .as_ref()
        .unwrap()
        .iter()
        .map(|&x| f64::from(x))
        .collect();
    let dot = |i: usize, j: usize| (0..6).map(|p| g[i * 6 + p] * g[j * 6 + p]).sum::<f64>();
    let gram = faer::Mat::from_fn(4, 4, |i, j| dot(i, j) + if i == j { 0.5 } else { 0.0 });
    let q = gram.qr().compute_thin_Q();
    for (n, x) in model.params[0].iter().enumerate() {
        let update: f64 = (0..4).map(|p| q[(n / 6, p)] * g[p * 6 + n % 6]).sum();
        assert!((f64::from(*x) - (f64::from(before[n]) + 0.25 * update)).abs() < 1e-5);
    }
}

#[test]
fn an_absent_gradient_skips_or_counts_as_zeros() {
    let zeros = Entry {
        absent_zeros: true,
        ..entry("zeros", momentum_plan(&[3]))
    };
    let mut engine = bind(vec![entry("skips", momentum_plan(&[3])), zeros], 2);
    let mut model = Model::new(&engine);
    let grads = model.gradients();
    model.step(&mut engine, &grads).unwrap();
    let before = model.params.clone();
    model.step(&mut engine, &[None, None]).unwrap();
    assert_eq!(model.params[0], before[0]);
    assert_ne!(model.params[1], before[1], "momentum goes on with zeros");
    assert_eq!(
        engine.params.iter().map(|p| p.step).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn parameters_at_different_steps_have_their_own_scalars() {
    // The second parameter's first step does nothing while the first one's second step moves it.
    let entries = || {
        vec![
            entry("a", normalised_plan(&[4])),
            entry("b", normalised_plan(&[4])),
        ]
    };
    let mut engine = bind(entries(), 2);
    let mut model = Model::new(&engine);
    let mut grads = model.gradients();
    let all = grads.clone();
    grads[1] = None;
    model.step(&mut engine, &grads).unwrap();
    let before = model.params.clone();
    model.step(&mut engine, &all).unwrap();
    assert_ne!(model.params[0], before[0]);
    assert_eq!(model.params[1], before[1]);
}

#[test]
fn groups_have_their_own_hyperparameters() {
    let other = Entry {
        hypers: 1,
        ..entry("b", momentum_plan(&[1]))
    };
    let mut engine = bind(vec![entry("a", momentum_plan(&[1])), other], 1);
    let mut model = Model::new(&engine);
    let before = model.params.clone();
    model
        .step(&mut engine, &[Some(vec![1.0]), Some(vec![1.0])])
        .unwrap();
    assert_eq!(model.params[0][0], before[0][0] - 0.25);
    assert_eq!(model.params[1][0], before[1][0] - 0.125);
}

#[test]
fn state_that_reads_the_parameter_is_filled_at_its_first_step() {
    let mut engine = bind(vec![entry("w", anchor_plan(&[3]))], 1);
    let mut model = Model::new(&engine);
    let before = model.params[0].clone();
    for _ in 0..2 {
        let grads = model.gradients();
        model.step(&mut engine, &grads).unwrap();
    }
    let anchor: Vec<u8> = before.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(*engine.params[0].states[1].bytes().unwrap(), *anchor);
}

#[test]
fn a_failed_factorization_names_its_parameter_and_spares_the_others() {
    for threads in [1, 3] {
        let entries = ["a", "b", "c"].map(|name| entry(name, cholesky_plan()));
        let mut engine = bind(entries.into(), threads);
        let mut model = Model::new(&engine);
        let before = model.params.clone();
        let outcome = model.step(
            &mut engine,
            &[Some(vec![4.0]), Some(vec![-1.0]), Some(vec![9.0])],
        );
        let Err(StepError::Failed {
            name,
            routine,
            source,
        }) = outcome
        else {
            panic!("{outcome:?}")
        };
        assert_eq!(
            (name.as_str(), routine, source),
            ("b", "cholesky", Failure::NotPositiveDefinite)
        );
        assert_eq!(model.params, [vec![2.0], before[1].clone(), vec![3.0]]);
        assert_eq!(
            engine.params.iter().map(|p| p.step).collect::<Vec<_>>(),
            [1, 0, 1]
        );
        model
            .step(&mut engine, &[None, Some(vec![1.0]), None])
            .unwrap();
    }
}

#[test]
fn a_bad_gradient_is_refused_before_anything_is_written() {
    let mut engine = bind_with(many(momentum_plan), 2, NonFinite::Error);
    let mut model = Model::new(&engine);
    let before = model.params.clone();
    let mut grads = model.gradients();
    grads[7].as_mut().unwrap()[1007] = f32::NAN;
    grads[8].as_mut().unwrap()[0] = f32::INFINITY;
    let outcome = model.step(&mut engine, &grads);
    let Err(StepError::NonFinite { name, index, value }) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (name.as_str(), index, value.is_nan()),
        ("p7", vec![1, 7], true)
    );
    assert_eq!(model.params, before);
    assert!(engine.params.iter().all(|param| param.step == 0));
    let mut relaxed = bind(many(momentum_plan), 2);
    model.step(&mut relaxed, &grads).unwrap();
}

#[test]
fn strided_tensors_step_like_contiguous_ones() {
    let mut engine = bind(vec![entry("w", momentum_plan(&[3, 4]))], 1);
    let dims = [3i64, 4];
    let mut random = Random(5);
    let (w, g) = (random.values(12), random.values(12));
    // Both are stored transposed, the parameter with gaps.
    let mut stored: Vec<f32> = vec![9.0; 24];
    let transposed: Vec<f32> = (0..12).map(|n| g[n % 3 * 4 + n / 3]).collect();
    (0..12).for_each(|n| stored[n % 4 * 6 + n / 4] = w[n]);
    for _ in 0..2 {
        // SAFETY: 3 × 4 elements with these strides lie inside the vectors; nothing else uses them.
        let inputs = unsafe {
            let param = TensorView::from_raw(
                stored.as_mut_ptr().cast(),
                DType::F32,
                &dims,
                Some(&[1, 6]),
                Device::Cpu,
            );
            let grad = transposed.as_ptr().cast_mut().cast();
            let grad = TensorView::from_raw(grad, DType::F32, &dims, Some(&[1, 3]), Device::Cpu);
            [StepInput {
                param,
                grad: Some(grad),
            }]
        };
        engine.step(&inputs).unwrap();
    }
    let mut reference = bind(vec![entry("w", momentum_plan(&[3, 4]))], 1);
    let mut model = Model::new(&reference);
    model.params = vec![w];
    (0..2).for_each(|_| model.step(&mut reference, &[Some(g.clone())]).unwrap());
    let found: Vec<f32> = (0..12).map(|n| stored[n % 4 * 6 + n / 4]).collect();
    assert_eq!(found, model.params[0]);
    assert_eq!(
        stored.iter().filter(|&&x| x == 9.0).count(),
        12,
        "gaps are untouched"
    );
}

#[test]
fn wrong_tensors_are_named() {
    let mut engine = bind(vec![entry("w", momentum_plan(&[2, 2]))], 1);
    let (mut w, g) = (vec![0.0f32; 4], vec![0.0f32; 4]);
    let mut halves = [half::bf16::ZERO; 4];
    assert!(matches!(
        engine.step(&[]),
        Err(StepError::Count {
            expected: 1,
            found: 0
        })
    ));
    let view = TensorView::from_mut(&mut w, &[4]).unwrap();
    let outcome = engine.step(&[StepInput {
        param: view,
        grad: None,
    }]);
    assert!(
        matches!(
            outcome,
            Err(StepError::Shape {
                which: Which::Parameter,
                ..
            })
        ),
        "{outcome:?}"
    );
    let view = TensorView::from_mut(&mut halves, &[2, 2]).unwrap();
    let outcome = engine.step(&[StepInput {
        param: view,
        grad: None,
    }]);
    assert!(
        matches!(
            outcome,
            Err(StepError::DType {
                found: DType::BF16,
                ..
            })
        ),
        "{outcome:?}"
    );
    let view = TensorView::from_ref(&g, &[2, 2]).unwrap();
    assert!(matches!(
        engine.step(&[StepInput {
            param: view,
            grad: None
        }]),
        Err(StepError::ReadOnly { .. })
    ));
    // SAFETY: refused before anything is read.
    let device = unsafe {
        TensorView::from_raw(
            w.as_mut_ptr().cast(),
            DType::F32,
            &[2, 2],
            None,
            Device::Cuda(0),
        )
    };
    assert!(matches!(
        engine.step(&[StepInput {
            param: device,
            grad: None
        }]),
        Err(StepError::Device { .. })
    ));
    // SAFETY: as above.
    let strides = unsafe {
        TensorView::from_raw(
            w.as_mut_ptr().cast(),
            DType::F32,
            &[2, 2],
            Some(&[1]),
            Device::Cpu,
        )
    };
    let outcome = engine.step(&[StepInput {
        param: strides,
        grad: None,
    }]);
    assert!(
        matches!(
            outcome,
            Err(StepError::Strides {
                expected: 2,
                found: 1,
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[test]
fn broken_plans_do_not_bind() {
    use crate::error::BindError;
    let set = kernels();
    let fails = |plan: Plan, part: &str| {
        let dims = plan.slots[0].dims.iter().map(|&d| d as i64).collect();
        let entry = Entry {
            dims,
            ..entry("w", plan)
        };
        let pool = Arc::new(Pool::new(1));
        let error = Engine::new(
            vec![entry],
            vec![vec![0.1, 0.2]],
            code(&set),
            pool,
            Policies::default(),
        )
        .unwrap_err();
        let BindError::InvalidPlan { source, .. } = error else {
            panic!("{error:?}")
        };
        assert!(source.to_string().contains(part), "{source}");
    };
    let base = || momentum_plan(&[8]);
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = base();
        change(&mut plan);
        plan
    };
    fails(with(&|p| p.slots[2].dims = vec![7]), "holds fewer than 8");
    fails(
        with(&|p| p.body = vec![map(3, &[], &[], &[], 1)]),
        "kernel 3 does not exist",
    );
    fails(
        with(&|p| p.body = vec![map(0, &[W, G, M], &[W, G], &[0, 1], 8)]),
        "the gradient or an input is written",
    );
    fails(
        with(&|p| p.body = vec![map(0, &[W, G, M], &[W, M], &[0, 9], 8)]),
        "register 9",
    );
    fails(
        with(&|p| p.body = vec![map(0, &[W, G, Buffer::Temp(0)], &[W, M], &[0, 1], 8)]),
        "does not exist",
    );
    fails(
        with(&|p| p.host[0] = HostInst::Hyper(2)),
        "hyperparameter does not exist",
    );
    fails(
        with(&|p| p.host[0] = HostInst::Unary(HostUnary::Neg, 0)),
        "later register",
    );
    fails(
        with(&|p| {
            p.temps = vec![Temp {
                dtype: DType::F32,
                dims: vec![1],
                offset: 0,
            }]
        }),
        "not inside the arena",
    );
    fails(
        with(&|p| p.slots[2].dims = vec![1 << 40, 1 << 40]),
        "too large",
    );
    let mut short = whitening_plan(4, 6);
    short.slots[2].dims = vec![4, 3];
    fails(short, "holds fewer than");
}

#[test]
fn two_parameters_of_one_name_do_not_bind() {
    let entries = vec![
        entry("w", momentum_plan(&[1])),
        entry("w", momentum_plan(&[2])),
    ];
    let pool = Arc::new(Pool::new(1));
    let outcome = Engine::new(
        entries,
        vec![vec![0.1, 0.2]],
        code(&kernels()),
        pool,
        Policies::default(),
    );
    assert!(matches!(
        outcome,
        Err(crate::error::BindError::Duplicate { .. })
    ));
}
