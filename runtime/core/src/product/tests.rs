//! Products against the definition, for a plain family and for the library, over shapes, strides and options.

use super::*;
use crate::kernels::GemmFamily;
use crate::memory::Memory;
use optc_core::plan::Buffer;
use std::ffi::c_void;

/// A family as plain as can be, with tiles of 4 × 3; `T` is the stored type, sums are in the compute type of `Number`.
trait Number: Copy {
    const DTYPE: DType;
    /// Packed sums have a multiple of this length.
    const PAIRS: u64;
    fn to_f64(self) -> f64;
    fn from_f64(x: f64) -> Self;
}

impl Number for f32 {
    const DTYPE: DType = DType::F32;
    const PAIRS: u64 = 1;
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
}

impl Number for f64 {
    const DTYPE: DType = DType::F64;
    const PAIRS: u64 = 1;
    fn to_f64(self) -> f64 {
        self
    }
    fn from_f64(x: f64) -> f64 {
        x
    }
}

impl Number for half::bf16 {
    const DTYPE: DType = DType::BF16;
    const PAIRS: u64 = 2;
    fn to_f64(self) -> f64 {
        half::bf16::to_f64(self)
    }
    fn from_f64(x: f64) -> half::bf16 {
        half::bf16::from_f32(x as f32)
    }
}

const MR: u64 = 4;
const NR: u64 = 3;

/// Packs `count` lines of length `k` to panels of `unit` lines.
unsafe fn pack<T: Number>(
    dst: *mut T,
    unit: u64,
    count: u64,
    k: u64,
    entry: impl Fn(u64, u64) -> T,
) {
    let depth = k.next_multiple_of(T::PAIRS);
    for line in 0..count.next_multiple_of(unit) {
        for p in 0..depth {
            let value = if line < count && p < k {
                entry(line, p)
            } else {
                T::from_f64(0.0)
            };
            let at = line / unit * unit * depth + p * unit + line % unit;
            // SAFETY: the driver reserved whole panels.
            unsafe { *dst.add(at as usize) = value };
        }
    }
}

unsafe extern "C" fn pack_a<T: Number>(
    dst: *mut c_void,
    src: *const c_void,
    rs: u64,
    cs: u64,
    m: u64,
    k: u64,
) {
    let src = src.cast::<T>();
    // SAFETY: the driver gives a readable block.
    unsafe {
        pack(dst.cast::<T>(), MR, m, k, |i, p| {
            *src.add((i * rs + p * cs) as usize)
        })
    }
}

unsafe extern "C" fn pack_b<T: Number>(
    dst: *mut c_void,
    src: *const c_void,
    rs: u64,
    cs: u64,
    k: u64,
    n: u64,
) {
    let src = src.cast::<T>();
    // SAFETY: as above.
    unsafe {
        pack(dst.cast::<T>(), NR, n, k, |j, p| {
            *src.add((p * rs + j * cs) as usize)
        })
    }
}

unsafe extern "C" fn tile<T: Number>(
    k: u64,
    a: *const c_void,
    b: *const c_void,
    out: *mut c_void,
    out_stride: u64,
    c: *const c_void,
    c_stride: u64,
    alpha: f64,
    beta: f64,
    m: u64,
    n: u64,
) {
    assert!(m <= MR && n <= NR && k.is_multiple_of(T::PAIRS));
    let (a, b, out, c) = (a.cast::<T>(), b.cast::<T>(), out.cast::<T>(), c.cast::<T>());
    for i in 0..m {
        for j in 0..n {
            // SAFETY: packed panels of depth `k`; the tile is inside the output.
            unsafe {
                let term = |p: u64| {
                    (*a.add((p * MR + i) as usize)).to_f64()
                        * (*b.add((p * NR + j) as usize)).to_f64()
                };
                let sum = (0..k).fold(0.0, |sum, p| {
                    if T::DTYPE == DType::F64 {
                        sum + term(p)
                    } else {
                        f64::from((sum + term(p)) as f32)
                    }
                });
                let added = if c.is_null() {
                    0.0
                } else {
                    beta * (*c.add((i * c_stride + j) as usize)).to_f64()
                };
                *out.add((i * out_stride + j) as usize) = T::from_f64(alpha * sum + added);
            }
        }
    }
}

fn family<T: Number>() -> GemmFamily {
    GemmFamily {
        mr: MR,
        nr: NR,
        pack_a: pack_a::<T>,
        pack_b: pack_b::<T>,
        tile: tile::<T>,
    }
}

/// Small whole numbers over a power of two: sums of a few hundred products are exact in every dtype's sum.
struct Random(u64);

impl Random {
    fn value(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 60) as f64 - 7.5) / 8.0
    }
}

struct Tensor {
    memory: Memory,
    dtype: DType,
    count: u64,
}

impl Tensor {
    fn new(dtype: DType, count: u64, value: &mut impl FnMut() -> f64) -> Tensor {
        let memory = Memory::zeroed(count * dtype.size()).unwrap();
        // SAFETY: `n` stays below the count.
        (0..count).for_each(|n| unsafe { moves::store(memory.pointer(), dtype, n, value()) });
        Tensor {
            memory,
            dtype,
            count,
        }
    }

    fn get(&self, n: u64) -> f64 {
        assert!(n < self.count);
        // SAFETY: checked above.
        unsafe { moves::load(self.memory.pointer(), self.dtype, n) }
    }

    fn bits(&self) -> Vec<u8> {
        self.memory.as_slice().to_vec()
    }
}

/// One case: sizes, which factors are stored transposed, and the options.
#[derive(Debug, Clone, Copy, Default)]
struct Case {
    m: u64,
    n: u64,
    k: u64,
    batch: u64,
    transpose_a: bool,
    transpose_b: bool,
    /// `c`: none, another tensor, the output itself, or one with strided columns.
    c: usize,
    sum_batch: bool,
    symmetric: bool,
}

fn matrix(slot: u32, rows: u64, cols: u64, transposed: bool, gap: u64) -> Matrix {
    let lead = if transposed { rows } else { cols } + gap;
    let (row_stride, col_stride) = if transposed { (1, lead) } else { (lead, 1) };
    let batch_stride = lead * if transposed { cols } else { rows } + gap;
    Matrix {
        buffer: Buffer::Slot(slot),
        offset: 0,
        row_stride,
        col_stride,
        batch_stride,
    }
}

fn gemm(case: Case, dtype: DType) -> Gemm {
    let c = match case.c {
        0 => None,
        1 => Some(matrix(2, case.m, case.n, false, 2)),
        2 => Some(matrix(3, case.m, case.n, false, 1)),
        _ => Some(matrix(2, case.m, case.n, true, 2)),
    };
    Gemm {
        dtype,
        a: matrix(0, case.m, case.k, case.transpose_a, 3),
        b: matrix(1, case.k, case.n, case.transpose_b, 0),
        c,
        out: matrix(3, case.m, case.n, false, 1),
        m: case.m,
        n: case.n,
        k: case.k,
        batch: case.batch,
        sum_batch: case.sum_batch,
        alpha: Some(0),
        beta: Some(1),
        symmetric: case.symmetric,
    }
}

/// Elements that a batch of matrices reaches.
fn extent(m: &Matrix, rows: u64, cols: u64, batch: u64) -> u64 {
    m.batch_stride * batch.max(1) + m.row_stride * rows + m.col_stride * cols + 1
}

struct Setup {
    gemm: Gemm,
    tensors: [Tensor; 4],
    alpha: f64,
    beta: f64,
}

impl Setup {
    fn new(case: Case, dtype: DType, seed: u64) -> Setup {
        let gemm = gemm(case, dtype);
        let mut random = Random(seed);
        let mut value = || random.value();
        let a = Tensor::new(
            dtype,
            extent(&gemm.a, case.m, case.k, case.batch),
            &mut value,
        );
        let b = Tensor::new(
            dtype,
            extent(&gemm.b, case.k, case.n, case.batch),
            &mut value,
        );
        let c = Tensor::new(
            dtype,
            extent(
                gemm.c.as_ref().unwrap_or(&gemm.out),
                case.m,
                case.n,
                case.batch,
            ),
            &mut value,
        );
        let out = Tensor::new(
            dtype,
            extent(&gemm.out, case.m, case.n, case.batch),
            &mut value,
        );
        let mut setup = Setup {
            gemm,
            tensors: [a, b, c, out],
            alpha: 0.5,
            beta: -2.0,
        };
        if case.symmetric {
            setup.make_symmetric();
        }
        setup
    }

    /// `b` becomes `a'`, and `c` symmetric.
    fn make_symmetric(&mut self) {
        let g = &self.gemm;
        let mut batches = Vec::new();
        for batch in 0..g.batch {
            for i in 0..g.m {
                for p in 0..g.k {
                    batches.push((
                        at(&g.b, batch, p, i),
                        self.tensors[0].get(at(&g.a, batch, i, p)),
                    ));
                }
            }
        }
        for (to, value) in batches {
            // SAFETY: inside `b`.
            unsafe { moves::store(self.tensors[1].memory.pointer(), g.dtype, to, value) };
        }
        let Some(c) = g.c else { return };
        let slot = if c.buffer == Buffer::Slot(3) { 3 } else { 2 };
        for batch in 0..self.outputs() {
            for (i, j) in (0..g.m).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let value = self.tensors[slot].get(at(&c, batch, j, i));
                // SAFETY: inside `c`.
                unsafe {
                    moves::store(
                        self.tensors[slot].memory.pointer(),
                        g.dtype,
                        at(&c, batch, i, j),
                        value,
                    )
                };
            }
        }
    }

    fn outputs(&self) -> u64 {
        if self.gemm.sum_batch {
            1
        } else {
            self.gemm.batch
        }
    }

    fn expected(&self) -> Vec<f64> {
        let g = &self.gemm;
        let entry = |batch: u64, i: u64, j: u64| {
            let batches = if g.sum_batch {
                0..g.batch
            } else {
                batch..batch + 1
            };
            let term = |z: u64, p: u64| {
                self.tensors[0].get(at(&g.a, z, i, p)) * self.tensors[1].get(at(&g.b, z, p, j))
            };
            let sum: f64 = batches
                .map(|z| (0..g.k).map(|p| term(z, p)).sum::<f64>())
                .sum();
            let added = g.c.as_ref().map_or(0.0, |c| {
                let slot = if c.buffer == Buffer::Slot(3) { 3 } else { 2 };
                self.beta * self.tensors[slot].get(at(c, batch, i, j))
            });
            self.alpha * sum + added
        };
        self.entries()
            .map(|(batch, i, j)| entry(batch, i, j))
            .collect()
    }

    fn entries(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let (m, n) = (self.gemm.m, self.gemm.n);
        (0..self.outputs())
            .flat_map(move |b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j))))
    }

    fn found(&self) -> Vec<f64> {
        self.entries()
            .map(|(b, i, j)| self.tensors[3].get(at(&self.gemm.out, b, i, j)))
            .collect()
    }

    fn product<'a>(&'a self, family: Option<&'a GemmFamily>) -> Product<'a> {
        let [a, b, c, out] = [0, 1, 2, 3].map(|n| self.tensors[n].memory.pointer());
        let c = self
            .gemm
            .c
            .as_ref()
            .map(|m| if m.buffer == Buffer::Slot(3) { out } else { c });
        Product {
            gemm: &self.gemm,
            family,
            a,
            b,
            c,
            out,
            alpha: self.alpha,
            beta: self.beta,
            workers: 3,
        }
    }

    fn run_whole(&self, family: Option<&GemmFamily>) {
        let work = Memory::zeroed(work_bytes(&self.gemm, family)).unwrap();
        // SAFETY: the tensors reach as far as the matrices, and the work memory is large enough.
        (0..self.outputs())
            .for_each(|batch| unsafe { self.product(family).run_whole(batch, work.pointer()) });
    }

    /// Block by block, backwards, as workers might.
    fn run_blocks(&self, family: Option<&GemmFamily>) {
        let work = Memory::zeroed(work_bytes(&self.gemm, family)).unwrap();
        let product = self.product(family);
        for region in (0..product.block_count())
            .rev()
            .filter_map(|n| product.block(n))
        {
            // SAFETY: as above.
            unsafe { product.run(region, work.pointer()) };
        }
        // SAFETY: as above; the upper triangle is done.
        (0..self.outputs()).for_each(|batch| unsafe { product.finish(batch, [0, self.gemm.m]) });
    }
}

fn at(m: &Matrix, batch: u64, i: u64, j: u64) -> u64 {
    batch * m.batch_stride + i * m.row_stride + j * m.col_stride
}

#[track_caller]
fn check(case: Case, dtype: DType, family: Option<&GemmFamily>) {
    let setup = Setup::new(case, dtype, 7);
    let expected = setup.expected();
    let outside = outside(&setup);
    setup.run_whole(family);
    let tolerance = if dtype == DType::BF16 {
        2f64.powi(-8)
    } else {
        1e-6
    };
    for (n, (x, y)) in setup.found().iter().zip(&expected).enumerate() {
        assert!(
            (x - y).abs() <= tolerance * y.abs().max(1.0),
            "{case:?} {dtype} entry {n}: {x} instead of {y}"
        );
    }
    assert_eq!(
        outside,
        self::outside(&setup),
        "{case:?} {dtype}: wrote outside the output"
    );
    let again = Setup::new(case, dtype, 7);
    again.run_blocks(family);
    assert_eq!(
        setup.tensors[3].bits(),
        again.tensors[3].bits(),
        "{case:?} {dtype}: the split changed the result"
    );
}

/// The elements between and after the output's rows.
fn outside(setup: &Setup) -> Vec<f64> {
    let inside: std::collections::HashSet<u64> = setup
        .entries()
        .map(|(b, i, j)| at(&setup.gemm.out, b, i, j))
        .collect();
    (0..setup.tensors[3].count)
        .filter(|n| !inside.contains(n))
        .map(|n| setup.tensors[3].get(n))
        .collect()
}

fn cases() -> Vec<Case> {
    let sizes = [
        (0, 3, 2),
        (3, 0, 2),
        (3, 4, 0),
        (1, 1, 1),
        (4, 3, 5),
        (5, 4, 1),
        (13, 9, 31),
        (40, 33, 17),
    ];
    let mut cases = Vec::new();
    for (m, n, k) in sizes {
        for flags in 0..16usize {
            let base = Case {
                m,
                n,
                k,
                batch: 1 + flags as u64 % 3,
                c: flags % 4,
                ..Case::default()
            };
            cases.push(Case {
                transpose_a: flags & 1 != 0,
                transpose_b: flags & 2 != 0,
                ..base
            });
            cases.push(Case {
                sum_batch: true,
                transpose_a: flags & 4 != 0,
                transpose_b: flags & 8 != 0,
                ..base
            });
            let square = Case {
                n: m,
                symmetric: true,
                transpose_a: flags & 1 != 0,
                transpose_b: flags & 2 != 0,
                ..base
            };
            cases.push(square);
            cases.push(Case {
                sum_batch: true,
                ..square
            });
        }
    }
    cases.push(Case {
        m: 4,
        n: 4,
        k: 4,
        batch: 0,
        c: 1,
        sum_batch: true,
        ..Case::default()
    });
    cases.push(Case {
        m: 4,
        n: 4,
        k: 4,
        batch: 0,
        ..Case::default()
    });
    cases
}

#[test]
fn a_family_computes_the_definition() {
    for case in cases() {
        check(case, DType::F32, Some(&family::<f32>()));
        check(case, DType::F64, Some(&family::<f64>()));
        check(case, DType::BF16, Some(&family::<half::bf16>()));
    }
}

#[test]
fn the_library_computes_the_definition() {
    for case in cases() {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            check(case, dtype, None);
        }
    }
}

#[test]
fn several_blocks_and_passes() {
    let long = Case {
        m: 9,
        n: 7,
        k: 1300,
        batch: 2,
        c: 1,
        ..Case::default()
    };
    let wide = Case {
        m: 530,
        n: 600,
        k: 20,
        batch: 1,
        c: 2,
        ..Case::default()
    };
    let square = Case {
        m: 600,
        n: 600,
        k: 3,
        batch: 1,
        c: 1,
        symmetric: true,
        ..Case::default()
    };
    for case in [
        long,
        wide,
        square,
        Case {
            sum_batch: true,
            transpose_a: true,
            ..long
        },
    ] {
        check(case, DType::F32, None);
        check(case, DType::F32, Some(&family::<f32>()));
        check(case, DType::F64, Some(&family::<f64>()));
    }
    check(
        Case {
            m: 600,
            n: 520,
            k: 40,
            ..long
        },
        DType::BF16,
        None,
    );
    check(
        Case {
            m: 60,
            n: 520,
            k: 1300,
            ..long
        },
        DType::BF16,
        Some(&family::<half::bf16>()),
    );
}

#[test]
fn a_symmetric_result_is_exactly_symmetric() {
    let case = Case {
        m: 70,
        n: 70,
        k: 33,
        batch: 1,
        symmetric: true,
        ..Case::default()
    };
    for family in [None, Some(&family::<f32>())] {
        let setup = Setup::new(case, DType::F32, 3);
        setup.run_whole(family);
        let found = setup.found();
        assert!(
            (0..70).all(
                |i| (0..70).all(|j| found[i * 70 + j].to_bits() == found[j * 70 + i].to_bits())
            )
        );
    }
}
