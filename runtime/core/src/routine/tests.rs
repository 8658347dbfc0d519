//! Factorizations against what defines them, on random, degenerate and hostile matrices.

use super::*;
use crate::memory::Memory;

/// Numbers in (-1, 1), the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 11) as f64 / (1u64 << 52) as f64) - 1.0
    }

    fn matrix(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A tensor in some dtype.
struct Tensor {
    memory: Memory,
    dtype: DType,
    dims: Vec<u64>,
}

impl Tensor {
    fn new(dtype: DType, dims: &[u64], values: &[f64]) -> Tensor {
        let memory = Memory::zeroed(dims.iter().product::<u64>() * dtype.size()).unwrap();
        for (n, &value) in values.iter().enumerate() {
            // SAFETY: there are as many values as elements.
            unsafe { moves::store(memory.pointer(), dtype, n as u64, value) };
        }
        Tensor {
            memory,
            dtype,
            dims: dims.to_vec(),
        }
    }

    fn zeros(dtype: DType, dims: &[u64]) -> Tensor {
        Tensor::new(dtype, dims, &[])
    }

    fn operand(&self) -> Operand {
        Operand::new(self.memory.pointer(), self.dtype, &self.dims)
    }

    fn values(&self) -> Vec<f64> {
        // SAFETY: indices stay below the count.
        (0..self.operand().count())
            .map(|n| unsafe { moves::load(self.memory.pointer(), self.dtype, n) })
            .collect()
    }
}

fn call(
    routine: Routine,
    inputs: [Option<&Tensor>; 2],
    outputs: [Option<&Tensor>; 2],
    policy: Policy<'_>,
) -> Result<(), Failure> {
    let inputs = inputs.map(|t| t.map(Tensor::operand));
    let keep = policy.keep.map(Tensor::operand);
    let call = Call {
        routine,
        inputs,
        outputs: [outputs[0], outputs[1], None].map(|t| t.map(Tensor::operand)),
        retry_f64: policy.retry,
        keep,
        nan: false,
    };
    let on_failure = OnFailure {
        retry_f64: policy.retry,
        keep: None,
        nan: false,
    };
    let mut work = Memory::zeroed(work_bytes(routine, &inputs, &on_failure)).unwrap();
    // SAFETY: every test gives the shapes that the routine demands.
    unsafe { call.run(work.as_mut_slice()) }
}

#[derive(Default)]
struct Policy<'a> {
    retry: bool,
    keep: Option<&'a Tensor>,
}

fn multiply(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let entry = |i: usize, j: usize| (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
    (0..m * n).map(|at| entry(at / n, at % n)).collect()
}

fn transpose(a: &[f64], m: usize, n: usize) -> Vec<f64> {
    (0..m * n).map(|at| a[at % m * n + at / m]).collect()
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n)
        .map(|at| f64::from(u8::from(at % (n + 1) == 0)))
        .collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    let size = expected.iter().fold(1.0f64, |most, x| most.max(x.abs()));
    for (n, (x, y)) in found.iter().zip(expected).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * size,
            "entry {n}: {x} instead of {y}"
        );
    }
    assert_eq!(found.len(), expected.len());
}

fn tolerance(dtype: DType, n: usize) -> f64 {
    let unit = if dtype == DType::F64 { 1e-14 } else { 4e-6 };
    unit * (n.max(4) as f64)
}

const SIZES: [usize; 8] = [1, 2, 3, 8, 17, 40, 130, 200];

fn check_eigh(dtype: DType, n: usize, a: &[f64], descending: bool) {
    let d = n as u64;
    let input = Tensor::new(dtype, &[d, d], a);
    let (values, vectors) = (Tensor::zeros(dtype, &[d]), Tensor::zeros(dtype, &[d, d]));
    call(
        Routine::Eigh { descending },
        [Some(&input), None],
        [Some(&values), Some(&vectors)],
        Policy::default(),
    )
    .unwrap();
    let (lambda, q) = (values.values(), vectors.values());
    let ordered = lambda.windows(2).all(|w| {
        if descending {
            w[0] >= w[1]
        } else {
            w[0] <= w[1]
        }
    });
    assert!(ordered, "{lambda:?}");
    let bound = tolerance(dtype, n);
    assert_close(
        &multiply(&transpose(&q, n, n), &q, n, n, n),
        &identity(n),
        bound,
    );
    let scaled: Vec<f64> = q
        .iter()
        .enumerate()
        .map(|(at, x)| x * lambda[at % n])
        .collect();
    assert_close(
        &multiply(&scaled, &transpose(&q, n, n), n, n, n),
        &input.values(),
        bound,
    );
}

#[test]
fn eigenvectors_rebuild_the_matrix() {
    let mut random = Random(1);
    for n in SIZES {
        let half = random.matrix(n * n);
        let a: Vec<f64> = half
            .iter()
            .zip(transpose(&half, n, n))
            .map(|(x, y)| x + y)
            .collect();
        for dtype in [DType::F32, DType::F64] {
            check_eigh(dtype, n, &a, false);
            check_eigh(dtype, n, &a, true);
        }
    }
}

#[test]
fn degenerate_spectra_are_fine() {
    for n in [1, 5, 64, 140] {
        for dtype in [DType::F32, DType::F64] {
            check_eigh(dtype, n, &vec![0.0; n * n], true);
            check_eigh(dtype, n, &identity(n), true);
            check_eigh(dtype, n, &vec![1.0; n * n], false);
            check_eigh(
                dtype,
                n,
                &identity(n).iter().map(|x| x * 1e-30).collect::<Vec<_>>(),
                false,
            );
        }
    }
}

fn check_qr(dtype: DType, m: usize, n: usize, a: &[f64]) {
    let least = m.min(n);
    let dims = |x: usize, y: usize| [x as u64, y as u64];
    let input = Tensor::new(dtype, &dims(m, n), a);
    let (q, r) = (
        Tensor::zeros(dtype, &dims(m, least)),
        Tensor::zeros(dtype, &dims(least, n)),
    );
    call(
        Routine::Qr,
        [Some(&input), None],
        [Some(&q), Some(&r)],
        Policy::default(),
    )
    .unwrap();
    let bound = tolerance(dtype, m.max(n));
    let (q, r) = (q.values(), r.values());
    assert_close(
        &multiply(&transpose(&q, m, least), &q, least, m, least),
        &identity(least),
        bound,
    );
    assert_close(&multiply(&q, &r, m, least, n), &input.values(), bound);
    assert!((0..least).all(|i| (0..i.min(n)).all(|j| r[i * n + j] == 0.0)));
}

#[test]
fn qr_is_orthogonal_times_upper() {
    let mut random = Random(2);
    for (m, n) in [
        (1, 1),
        (3, 3),
        (7, 3),
        (3, 7),
        (64, 64),
        (130, 70),
        (70, 130),
        (200, 200),
    ] {
        for dtype in [DType::F32, DType::F64] {
            check_qr(dtype, m, n, &random.matrix(m * n));
            check_qr(dtype, m, n, &vec![0.0; m * n]);
            check_qr(dtype, m, n, &vec![1.0; m * n]);
        }
    }
}

fn spd(random: &mut Random, n: usize) -> Vec<f64> {
    let x = random.matrix(n * n);
    let gram = multiply(&x, &transpose(&x, n, n), n, n, n);
    gram.iter().zip(identity(n)).map(|(g, i)| g + i).collect()
}

#[test]
fn cholesky_factors_rebuild_the_matrix() {
    let mut random = Random(3);
    for n in SIZES {
        let d = [n as u64, n as u64];
        for dtype in [DType::F32, DType::F64] {
            let input = Tensor::new(dtype, &d, &spd(&mut random, n));
            let out = Tensor::zeros(dtype, &d);
            call(
                Routine::Cholesky,
                [Some(&input), None],
                [Some(&out), None],
                Policy::default(),
            )
            .unwrap();
            let l = out.values();
            assert_close(
                &multiply(&l, &transpose(&l, n, n), n, n, n),
                &input.values(),
                tolerance(dtype, n),
            );
            assert!((0..n).all(|i| (i + 1..n).all(|j| l[i * n + j] == 0.0)));
        }
    }
}

#[test]
fn triangular_solves_invert_products() {
    let mut random = Random(4);
    for (n, m) in [(1, 1), (4, 9), (50, 3), (130, 130), (5, 0)] {
        let full = random.matrix(n * n);
        let solution = random.matrix(n * m);
        for (upper, transposed) in [(false, false), (false, true), (true, false), (true, true)] {
            let triangle = triangle(&full, n, upper);
            let operator = if transposed {
                transpose(&triangle, n, n)
            } else {
                triangle.clone()
            };
            let right = multiply(&operator, &solution, n, n, m);
            let a = Tensor::new(DType::F64, &[n as u64, n as u64], &triangle);
            let b = Tensor::new(DType::F64, &[n as u64, m as u64], &right);
            let x = Tensor::zeros(DType::F64, &[n as u64, m as u64]);
            let routine = Routine::SolveTriangular { upper, transposed };
            call(
                routine,
                [Some(&a), Some(&b)],
                [Some(&x), None],
                Policy::default(),
            )
            .unwrap();
            assert_close(&x.values(), &solution, 1e-9);
        }
    }
}

/// A well-conditioned triangle.
fn triangle(full: &[f64], n: usize, upper: bool) -> Vec<f64> {
    let entry = |i: usize, j: usize| match i.cmp(&j) {
        std::cmp::Ordering::Equal => 2.0 + full[i * n + j],
        std::cmp::Ordering::Less if upper => full[i * n + j] / n as f64,
        std::cmp::Ordering::Greater if !upper => full[i * n + j] / n as f64,
        _ => 0.0,
    };
    (0..n * n).map(|at| entry(at / n, at % n)).collect()
}

#[test]
fn nan_and_infinity_are_failures_not_hangs() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for at in [0, 5, 15] {
            let mut a = identity(4);
            a[at] = bad;
            for dtype in [DType::F32, DType::F64, DType::BF16] {
                let input = Tensor::new(dtype, &[4, 4], &a);
                let (x, y) = (Tensor::zeros(dtype, &[4, 4]), Tensor::zeros(dtype, &[4, 4]));
                let v = Tensor::zeros(dtype, &[4]);
                let fails = |routine, inputs, outputs| {
                    assert_eq!(
                        call(
                            routine,
                            inputs,
                            outputs,
                            Policy {
                                retry: true,
                                keep: None
                            }
                        ),
                        Err(Failure::NotFiniteInput)
                    );
                };
                fails(
                    Routine::Eigh { descending: true },
                    [Some(&input), None],
                    [Some(&v), Some(&x)],
                );
                fails(Routine::Qr, [Some(&input), None], [Some(&x), Some(&y)]);
                fails(Routine::Cholesky, [Some(&input), None], [Some(&x), None]);
                let solve = Routine::SolveTriangular {
                    upper: false,
                    transposed: false,
                };
                fails(solve, [Some(&input), Some(&y)], [Some(&x), None]);
            }
        }
    }
}

#[test]
fn a_retry_in_f64_saves_an_almost_singular_matrix() {
    // Gram matrices of (p, 1) and (p - 1, 1): exact in f32, of determinant 1, with a last pivot that f32 loses.
    let mut saved = 0;
    for p in (1024..2048).map(f64::from) {
        let q = p - 1.0;
        let gram = [p * p + 1.0, p * q + 1.0, p * q + 1.0, q * q + 1.0];
        let input = Tensor::new(DType::F32, &[2, 2], &gram);
        let out = Tensor::zeros(DType::F32, &[2, 2]);
        let run = |retry| {
            call(
                Routine::Cholesky,
                [Some(&input), None],
                [Some(&out), None],
                Policy { retry, keep: None },
            )
        };
        if run(false) == Err(Failure::NotPositiveDefinite) {
            run(true).unwrap();
            saved += 1;
        }
    }
    assert!(saved > 0);
}

#[test]
fn keep_takes_the_old_tensor() {
    let input = Tensor::new(DType::F32, &[2, 2], &[1.0, 0.0, 0.0, -1.0]);
    let old = Tensor::new(DType::F32, &[2, 2], &[7.0, 8.0, 9.0, 10.0]);
    let out = Tensor::zeros(DType::F32, &[2, 2]);
    let run = |keep, out: &Tensor| {
        call(
            Routine::Cholesky,
            [Some(&input), None],
            [Some(out), None],
            Policy { retry: true, keep },
        )
    };
    assert_eq!(run(None, &out), Err(Failure::NotPositiveDefinite));
    assert_eq!(out.values(), [0.0; 4]);
    run(Some(&old), &out).unwrap();
    assert_eq!(out.values(), old.values());
    // The kept tensor may be the result's own place.
    run(Some(&old), &old).unwrap();
    assert_eq!(old.values(), [7.0, 8.0, 9.0, 10.0]);
}

#[test]
fn a_zero_on_the_diagonal_is_singular() {
    let a = Tensor::new(DType::F32, &[2, 2], &[1.0, 0.0, 3.0, 0.0]);
    let b = Tensor::new(DType::F32, &[2, 1], &[1.0, 1.0]);
    let x = Tensor::zeros(DType::F32, &[2, 1]);
    let routine = Routine::SolveTriangular {
        upper: false,
        transposed: false,
    };
    assert_eq!(
        call(
            routine,
            [Some(&a), Some(&b)],
            [Some(&x), None],
            Policy::default()
        ),
        Err(Failure::Singular)
    );
}

#[test]
fn empty_matrices_have_empty_results() {
    let empty = Tensor::zeros(DType::F32, &[0, 0]);
    let vector = Tensor::zeros(DType::F32, &[0]);
    for routine in [
        Routine::Eigh { descending: false },
        Routine::Qr,
        Routine::Cholesky,
    ] {
        let outputs = if routine == (Routine::Eigh { descending: false }) {
            [Some(&vector), Some(&empty)]
        } else {
            [Some(&empty), None]
        };
        call(routine, [Some(&empty), None], outputs, Policy::default()).unwrap();
    }
    let (tall, q, r) = (
        Tensor::zeros(DType::F32, &[3, 0]),
        Tensor::zeros(DType::F32, &[3, 0]),
        Tensor::zeros(DType::F32, &[0, 0]),
    );
    call(
        Routine::Qr,
        [Some(&tall), None],
        [Some(&q), Some(&r)],
        Policy::default(),
    )
    .unwrap();
}
