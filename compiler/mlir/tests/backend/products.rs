//! Products against plain sums in f64, with the error bound of the sum's precision.

use crate::common::gemm::{Addend, Family, Matrix, Size};
use crate::common::{Object, levels};
use optc_core::dtype::DType;
use optc_core::kernel_eval::round_once;
use optc_mlir::{Isa, Unit, compile_cpu};

const DTYPES: [DType; 3] = [DType::F32, DType::F64, DType::BF16];
/// What a result matrix holds where nothing may be written.
const UNTOUCHED: f64 = -512.0;

fn object(isa: Isa) -> Object {
    Object::load(
        &compile_cpu(
            &Unit {
                kernels: &[],
                products: &DTYPES,
            },
            isa,
        )
        .unwrap(),
    )
}

/// Numbers in (-1, 1), the same for equal seeds.
fn numbers(dtype: DType, seed: u64, count: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| round_once(dtype, next())).collect()
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Rows,
    Columns,
    Spread,
}

/// `values`, `rows` × `cols` in row-major order, laid out in memory.
fn matrix(dtype: DType, values: &[f64], rows: u64, cols: u64, layout: Layout) -> Matrix {
    let (row_stride, col_stride) = match layout {
        Layout::Rows => (cols + 3, 1),
        Layout::Columns => (1, rows + 1),
        Layout::Spread => (3 * cols + 2, 3),
    };
    let mut spread = vec![f64::NAN; (rows * row_stride + cols * col_stride) as usize];
    for i in 0..rows {
        for j in 0..cols {
            spread[(i * row_stride + j * col_stride) as usize] = values[(i * cols + j) as usize];
        }
    }
    Matrix {
        bytes: dtype.encode(&spread),
        row_stride,
        col_stride,
    }
}

fn fresh(dtype: DType, rows: u64, cols: u64) -> Matrix {
    let row_stride = cols + 5;
    let bytes = dtype.encode(&vec![UNTOUCHED; (rows * row_stride) as usize]);
    Matrix {
        bytes,
        row_stride,
        col_stride: 1,
    }
}

/// Unit roundoff of a family's sums.
fn roundoff(dtype: DType) -> f64 {
    if dtype == DType::F64 {
        f64::EPSILON / 2.0
    } else {
        f64::from(f32::EPSILON) / 2.0
    }
}

fn check(family: &Family, size: Size, layouts: (Layout, Layout), isa: Isa) {
    let dtype = family.dtype;
    let Size { m, n, k, .. } = size;
    let (a, b, c) = (
        numbers(dtype, 1, m * k),
        numbers(dtype, 2, k * n),
        numbers(dtype, 3, m * n),
    );
    let stored_a = matrix(dtype, &a, m, k, layouts.0);
    let stored_b = matrix(dtype, &b, k, n, layouts.1);
    let stored_c = matrix(dtype, &c, m, n, Layout::Rows);
    for adds in 0..3 {
        let mut out = fresh(dtype, m, n);
        if adds == 2 {
            write_rows(&mut out, dtype, &c, n);
        }
        let add = [Addend::None, Addend::Matrix(&stored_c), Addend::Out]
            .into_iter()
            .nth(adds)
            .unwrap();
        family.multiply(&stored_a, &stored_b, &mut out, add, size);
        let found = dtype.decode(&out.bytes);
        for (at, &found) in found.iter().enumerate() {
            let (i, j) = (at as u64 / out.row_stride, at as u64 % out.row_stride);
            let place = format!(
                "{} {dtype} {size:?} {layouts:?}, addend {adds}, ({i}, {j})",
                isa.name()
            );
            if j >= n {
                assert_eq!(found, UNTOUCHED, "{place}");
                continue;
            }
            let terms = (0..k).map(|p| a[(i * k + p) as usize] * b[(p * n + j) as usize]);
            let (sum, bulk) = terms.fold((0.0, 0.0), |(sum, bulk), term: f64| {
                (sum + term, bulk + term.abs())
            });
            let added = if adds == 0 {
                0.0
            } else {
                size.beta * c[(i * n + j) as usize]
            };
            let expected = size.alpha * sum + added;
            let bound = (k + 4) as f64 * roundoff(dtype) * (size.alpha.abs() * bulk + added.abs());
            let stored = if dtype == DType::BF16 {
                expected.abs() / 256.0
            } else {
                0.0
            };
            assert!(
                (found - expected).abs() <= bound + stored,
                "{place}: {found} is not {expected}"
            );
        }
    }
}

fn write_rows(out: &mut Matrix, dtype: DType, values: &[f64], cols: u64) {
    let size = dtype.size() as usize;
    let row = (out.row_stride as usize) * size;
    for (line, values) in out.bytes.chunks_mut(row).zip(values.chunks(cols as usize)) {
        line[..values.len() * size].copy_from_slice(&dtype.encode(values));
    }
}

#[test]
fn shapes_and_layouts() {
    use Layout::{Columns, Rows, Spread};
    let layouts = [
        (Rows, Rows),
        (Rows, Columns),
        (Columns, Rows),
        (Columns, Columns),
        (Spread, Spread),
    ];
    let sizes = [
        (1, 1, 1),
        (3, 5, 2),
        (12, 32, 64),
        (13, 33, 17),
        (40, 70, 37),
        (24, 64, 1),
        (5, 40, 0),
        (50, 96, 300),
    ];
    for isa in levels() {
        let object = object(isa);
        for family in DTYPES.map(|dtype| Family::of(&object, dtype)) {
            for (m, n, k) in sizes {
                for layouts in layouts {
                    check(
                        &family,
                        Size {
                            m,
                            n,
                            k,
                            alpha: 0.75,
                            beta: -1.5,
                        },
                        layouts,
                        isa,
                    );
                }
            }
        }
    }
}

#[test]
fn unit_factors_change_nothing() {
    for isa in levels() {
        let object = object(isa);
        for family in DTYPES.map(|dtype| Family::of(&object, dtype)) {
            check(
                &family,
                Size {
                    m: 30,
                    n: 70,
                    k: 33,
                    alpha: 1.0,
                    beta: 1.0,
                },
                (Layout::Rows, Layout::Rows),
                isa,
            );
        }
    }
}

/// A result depends on its row, its column and nothing else.
#[test]
fn the_place_of_a_tile_does_not_matter() {
    let (m, n, k) = (29, 67, 45);
    for isa in levels() {
        let object = object(isa);
        for family in DTYPES.map(|dtype| Family::of(&object, dtype)) {
            let dtype = family.dtype;
            let (a, b) = (numbers(dtype, 5, m * k), numbers(dtype, 6, k * n));
            let b = matrix(dtype, &b, k, n, Layout::Columns);
            let product = |first: u64| {
                let rows = matrix(
                    dtype,
                    &a[(first * k) as usize..],
                    m - first,
                    k,
                    Layout::Rows,
                );
                let mut out = fresh(dtype, m - first, n);
                let size = Size {
                    m: m - first,
                    n,
                    k,
                    alpha: 1.0,
                    beta: 0.0,
                };
                family.multiply(&rows, &b, &mut out, Addend::None, size);
                out
            };
            let (all, below) = (product(0), product(5));
            let skipped = (5 * all.row_stride * dtype.size()) as usize;
            assert!(
                all.bytes[skipped..] == below.bytes,
                "{} {dtype}",
                isa.name()
            );
        }
    }
}
