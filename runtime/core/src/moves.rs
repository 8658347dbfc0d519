//! Elements moved, set and compared by their storage: what needs no compiled kernel.
//!
//! Nothing here allocates.

use crate::memory::Pointer;
use half::{bf16, f16};
use optc_core::dtype::DType;
use optc_core::packed::Packing;
use optc_core::plan::Along;
use std::cmp::Ordering;

/// The most axes a tensor may have where strides are walked.
pub(crate) const MAX_RANK: usize = 16;

/// Reads element `n` of a tensor of floats or indices.
///
/// # Safety
///
/// Element `n` is readable and aligned.
pub(crate) unsafe fn load(at: Pointer, dtype: DType, n: u64) -> f64 {
    let n = n as usize;
    // SAFETY: by the caller's promise.
    unsafe {
        match dtype {
            DType::F64 => *at.0.cast::<f64>().add(n),
            DType::F32 => f64::from(*at.0.cast::<f32>().add(n)),
            DType::BF16 => (*at.0.cast::<bf16>().add(n)).to_f64(),
            DType::F16 => (*at.0.cast::<f16>().add(n)).to_f64(),
            DType::I64 => *at.0.cast::<i64>().add(n) as f64,
            DType::U8 => f64::from(*at.0.cast::<u8>().add(n)),
        }
    }
}

/// Writes `value`, rounded to the dtype, to element `n`.
///
/// # Safety
///
/// Element `n` is writable and aligned.
pub(crate) unsafe fn store(at: Pointer, dtype: DType, n: u64, value: f64) {
    let n = n as usize;
    // SAFETY: by the caller's promise.
    unsafe {
        match dtype {
            DType::F64 => *at.0.cast::<f64>().add(n) = value,
            DType::F32 => *at.0.cast::<f32>().add(n) = value as f32,
            DType::BF16 => *at.0.cast::<bf16>().add(n) = bf16::from_f64(dtype.round(value)),
            DType::F16 => *at.0.cast::<f16>().add(n) = f16::from_f64(dtype.round(value)),
            DType::I64 => *at.0.cast::<i64>().add(n) = value as i64,
            DType::U8 => *at.0.cast::<u8>().add(n) = value as u8,
        }
    }
}

/// The bits of `value`, rounded to the dtype, in the low bytes.
pub(crate) fn bits(dtype: DType, value: f64) -> u64 {
    let mut bytes = [0u64];
    // SAFETY: eight bytes hold one element of any dtype.
    unsafe { store(Pointer(bytes.as_mut_ptr().cast()), dtype, 0, value) };
    u64::from_le(bytes[0])
}

/// Calls a function for the storage type of that many bytes.
macro_rules! by_size {
    ($size:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $size {
            2 => $function::<u16>($($argument),*),
            4 => $function::<u32>($($argument),*),
            _ => $function::<u64>($($argument),*),
        }
    };
}

/// Sets `count` elements to `value`, rounded once.
///
/// # Safety
///
/// `count` elements are writable.
pub(crate) unsafe fn fill(out: Pointer, dtype: DType, count: u64, value: f64) {
    if count == 0 {
        return;
    }
    // SAFETY: the first element is writable; the rest are copies of it.
    unsafe {
        store(out, dtype, 0, value);
        by_size!(dtype.size(), repeat_first(out, count));
    }
}

unsafe fn repeat_first<T: Copy>(out: Pointer, count: u64) {
    let first = out.0.cast::<T>();
    // SAFETY: `fill` promises `count` elements, the first initialised.
    unsafe { (1..count as usize).for_each(|n| *first.add(n) = *first) }
}

/// `scale` on the diagonal of an n × n matrix, 0 elsewhere.
///
/// # Safety
///
/// n² elements are writable.
pub(crate) unsafe fn identity(out: Pointer, dtype: DType, n: u64, scale: f64) {
    // SAFETY: diagonal entries lie within the n² elements.
    unsafe {
        fill(out, dtype, n * n, 0.0);
        (0..n).for_each(|i| store(out, dtype, i * (n + 1), scale));
    }
}

/// Ones on the diagonal of an `[n, n]` matrix and on one side of it, zeros on the other.
///
/// # Safety
///
/// As of [`identity`].
pub(crate) unsafe fn triangle(out: Pointer, dtype: DType, n: u64, upper: bool) {
    for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let inside = if upper { i <= j } else { i >= j };
        // SAFETY: the index is below n².
        unsafe { store(out, dtype, i * n + j, f64::from(u8::from(inside))) };
    }
}

/// The diagonal of an n × n matrix as a vector.
///
/// # Safety
///
/// n² elements of `x` are readable, n of `out` writable, and they do not overlap.
pub(crate) unsafe fn diagonal(x: Pointer, out: Pointer, size: u64, n: u64) {
    let axes = Axes::new(&[(n, n + 1)]);
    // SAFETY: the strided entries are the diagonal.
    unsafe { gather_strided(x, out, size, &axes) }
}

/// One half of an n × n matrix, row by row.
///
/// # Safety
///
/// n² elements of `x` are readable, n (n + 1) / 2 of `out` writable, and they do not overlap.
pub(crate) unsafe fn pack(x: Pointer, out: Pointer, size: u64, n: u64, packing: Packing) {
    let mut at = 0;
    for i in 0..n {
        let (from, count) = stored(i, n, packing);
        // SAFETY: the columns lie in row i, and the rows before it filled `at` elements.
        unsafe {
            copy(
                x.plus((i * n + from) * size),
                out.plus(at * size),
                count * size,
            )
        };
        at += count;
    }
}

/// The n × n matrix of one half; the other half is its mirror image, or zeros.
///
/// # Safety
///
/// n (n + 1) / 2 elements of `x` are readable, n² of `out` writable, and they do not overlap.
pub(crate) unsafe fn unpack(x: Pointer, out: Pointer, size: u64, n: u64, packing: Packing) {
    let mut at = 0;
    for i in 0..n {
        let (from, count) = stored(i, n, packing);
        // SAFETY: row i has n elements, and its mirror image is column i from the diagonal on.
        unsafe {
            let row = out.plus(i * n * size);
            if packing != Packing::Mirrored {
                row.0.write_bytes(0, (n * size) as usize);
            }
            copy(x.plus(at * size), row.plus(from * size), count * size);
            if packing == Packing::Mirrored {
                let column = Axes::new(&[(count, n)]);
                scatter_strided(x.plus(at * size), row.plus(i * size), size, &column);
            }
        }
        at += count;
    }
}

/// The first column of row i that is stored, and how many.
fn stored(i: u64, n: u64, packing: Packing) -> (u64, u64) {
    match packing {
        Packing::Mirrored | Packing::Upper => (i, n - i),
        Packing::Lower => (0, i + 1),
    }
}

unsafe fn copy(from: Pointer, to: Pointer, bytes: u64) {
    // SAFETY: by the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from.0.cast_const(), to.0, bytes as usize) };
}

/// Dimensions and strides of a walk, the innermost axis last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Axes {
    axes: [(u64, i64); MAX_RANK],
    rank: usize,
}

impl Axes {
    /// From `(dimension, stride)` pairs; at most [`MAX_RANK`], which `bind` checks.
    pub(crate) fn new(pairs: &[(u64, u64)]) -> Axes {
        Axes::signed(pairs.iter().map(|&(dim, stride)| (dim, stride as i64)))
    }

    /// The same with strides of any sign.
    pub(crate) fn signed(pairs: impl Iterator<Item = (u64, i64)>) -> Axes {
        let mut all = Axes {
            axes: [(1, 0); MAX_RANK],
            rank: 0,
        };
        for pair in pairs.take(MAX_RANK) {
            all.axes[all.rank] = pair;
            all.rank += 1;
        }
        all
    }

    fn as_slice(&self) -> &[(u64, i64)] {
        &self.axes[..self.rank]
    }
}

/// Copies strided elements of `x` to contiguous `out`, in the order of the axes.
///
/// # Safety
///
/// Every element the axes reach is readable, their number writable in `out`, and the two do not overlap.
pub(crate) unsafe fn gather_strided(x: Pointer, out: Pointer, size: u64, axes: &Axes) {
    // SAFETY: by the caller's promise.
    unsafe { by_size!(size, walk_in(x, out, axes.as_slice())) }
}

/// Copies contiguous `x` to strided elements of `out`.
///
/// # Safety
///
/// As for [`gather_strided`], with the roles exchanged.
pub(crate) unsafe fn scatter_strided(x: Pointer, out: Pointer, size: u64, axes: &Axes) {
    // SAFETY: by the caller's promise.
    unsafe { by_size!(size, walk_out(x, out, axes.as_slice())) }
}

unsafe fn walk_in<T: Copy>(x: Pointer, out: Pointer, axes: &[(u64, i64)]) {
    let mut to = out.0.cast::<T>();
    // SAFETY: `walk` visits the elements that `gather_strided` speaks of, `to` advances once per element.
    walk(x.0.cast::<T>(), axes, &mut |from| unsafe {
        *to = *from;
        to = to.add(1);
    });
}

unsafe fn walk_out<T: Copy>(x: Pointer, out: Pointer, axes: &[(u64, i64)]) {
    let mut from = x.0.cast::<T>();
    // SAFETY: as in `walk_in`, the other way round.
    walk(out.0.cast::<T>(), axes, &mut |to| unsafe {
        *to = *from;
        from = from.add(1);
    });
}

/// Visits the address of every element in row-major order.
fn walk<T>(base: *mut T, axes: &[(u64, i64)], visit: &mut impl FnMut(*mut T)) {
    match axes {
        [] => visit(base),
        [(dim, stride)] => {
            (0..*dim as isize).for_each(|n| visit(base.wrapping_offset(n * *stride as isize)))
        }
        [(dim, stride), rest @ ..] => {
            (0..*dim as isize)
                .for_each(|n| walk(base.wrapping_offset(n * *stride as isize), rest, visit));
        }
    }
}

/// `out` is `x` with axis `a` of `out` being axis `axes[a]` of `x`.
///
/// # Safety
///
/// Both hold the product of `dims` elements and do not overlap; `axes` is a permutation of at most [`MAX_RANK`] axes.
pub(crate) unsafe fn permute(x: Pointer, out: Pointer, size: u64, dims: &[u64], axes: &[u32]) {
    let stride = |axis: usize| dims[axis + 1..].iter().product::<u64>() as i64;
    let order = Axes::signed(
        axes.iter()
            .map(|&axis| (dims[axis as usize], stride(axis as usize))),
    );
    // SAFETY: the strides are those of contiguous `x`.
    unsafe { gather_strided(x, out, size, &order) }
}

/// `out[p, j, q] = x[p, index[j], q]`; false if an index is outside the axis.
///
/// # Safety
///
/// `x` holds the elements of `axis.whole()`, `out` those of `axis.part()`, and they do not overlap; `index` holds
/// `axis.count` integers.
pub(crate) unsafe fn gather(
    x: Pointer,
    index: Pointer,
    out: Pointer,
    size: u64,
    axis: &Along,
) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        indexed(index, size, axis, |whole, part| {
            (x.plus(whole), out.plus(part))
        })
    }
}

/// `out[p, index[j], q] = y[p, j, q]`; false if an index is outside the axis.
///
/// # Safety
///
/// `out` holds the elements of `axis.whole()`, `y` those of `axis.part()`, and they do not overlap; `index` holds
/// `axis.count` integers.
pub(crate) unsafe fn scatter(
    y: Pointer,
    index: Pointer,
    out: Pointer,
    size: u64,
    axis: &Along,
) -> bool {
    // SAFETY: by the caller's promise.
    unsafe {
        indexed(index, size, axis, |whole, part| {
            (y.plus(part), out.plus(whole))
        })
    }
}

/// `out[p, j, q] = x[p, from + j, q]`.
///
/// # Safety
///
/// `x` holds the elements of `axis.whole()`, `out` those of `axis.part()`, they do not overlap, and
/// `from + axis.count` is at most `axis.d`.
pub(crate) unsafe fn slice(x: Pointer, out: Pointer, size: u64, axis: &Along, from: u64) {
    // SAFETY: by the caller's promise.
    unsafe {
        runs(
            axis,
            size,
            |j| from + j as u64,
            |whole, part| (x.plus(whole), out.plus(part)),
        )
    }
}

/// `out[p, from + j, q] = x[p, j, q]`.
///
/// # Safety
///
/// As for [`slice`], with `x` and `out` exchanged.
pub(crate) unsafe fn paste(x: Pointer, out: Pointer, size: u64, axis: &Along, from: u64) {
    // SAFETY: by the caller's promise.
    unsafe {
        runs(
            axis,
            size,
            |j| from + j as u64,
            |whole, part| (x.plus(part), out.plus(whole)),
        )
    }
}

/// Copies the runs that integers choose; false, and nothing is copied, if one of them is outside the axis.
///
/// # Safety
///
/// `axis.count` integers are readable, and what `ends` gives is as for [`runs`].
unsafe fn indexed(
    index: Pointer,
    size: u64,
    axis: &Along,
    ends: impl Fn(u64, u64) -> (Pointer, Pointer),
) -> bool {
    let at = index.0.cast::<i64>().cast_const();
    // SAFETY: by the caller's promise.
    let index = unsafe { std::slice::from_raw_parts(at, axis.count as usize) };
    let inside = index.iter().all(|&i| i >= 0 && (i as u64) < axis.d);
    if inside {
        // SAFETY: every index is below `d`; the rest is the caller's promise.
        unsafe { runs(axis, size, |j| index[j] as u64, ends) };
    }
    inside
}

/// Copies runs of `post` elements: `ends` makes of the bytes before a run in the whole and in the part whence it comes
/// and where it goes.
///
/// # Safety
///
/// `at` gives less than `axis.d`; what `ends` gives is readable and writable for a run, and apart.
unsafe fn runs(
    axis: &Along,
    size: u64,
    at: impl Fn(usize) -> u64,
    ends: impl Fn(u64, u64) -> (Pointer, Pointer),
) {
    let run = axis.post * size;
    for p in 0..axis.pre {
        for j in 0..axis.count as usize {
            let whole = (p * axis.d + at(j)) * run;
            let (from, to) = ends(whole, (p * axis.count + j as u64) * run);
            // SAFETY: by the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(from.0, to.0, run as usize) };
        }
    }
}

/// The first `kept` of the stable order of a vector of `n`, as indices. NaN counts as the largest, equal zeros as equal.
///
/// # Safety
///
/// `n` elements of `x` are readable and `n` integers of `out` writable; those behind the first `kept` end as anything.
pub(crate) unsafe fn argsort(
    x: Pointer,
    dtype: DType,
    out: Pointer,
    [kept, n]: [u64; 2],
    descending: bool,
) {
    // SAFETY: `n` integers are writable, and initialised by the loop before they are read.
    let order = unsafe {
        (0..n).for_each(|i| out.0.cast::<i64>().add(i as usize).write(i as i64));
        std::slice::from_raw_parts_mut(out.0.cast::<i64>(), n as usize)
    };
    // SAFETY: indices stay below `n`.
    let value = |i: i64| unsafe { load(x, dtype, i as u64) };
    let directed = |&i: &i64, &j: &i64| {
        let ascending = compare(value(i), value(j));
        let directed = if descending {
            ascending.reverse()
        } else {
            ascending
        };
        directed.then(i.cmp(&j))
    };
    // No two indices are equal in this order, so a selection finds what a stable sort would put first.
    if kept > 0 && kept < n {
        order.select_nth_unstable_by(kept as usize - 1, directed);
    }
    order[..kept as usize].sort_unstable_by(directed);
}

fn compare(x: f64, y: f64) -> Ordering {
    x.partial_cmp(&y)
        .unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()))
}

/// Whether all elements of a range of a float tensor are finite.
///
/// # Safety
///
/// Elements `begin..end` are readable.
pub(crate) unsafe fn all_finite(x: Pointer, dtype: DType, begin: u64, end: u64) -> bool {
    let count = (end - begin) as usize;
    let at = x.plus(begin * dtype.size()).0;
    // SAFETY: `count` elements are readable from `at`; the bits of floats are integers.
    unsafe {
        match dtype {
            DType::F64 => no_bits_full(at.cast::<u64>(), count, 0x7ff0_0000_0000_0000),
            DType::F32 => no_bits_full(at.cast::<u32>(), count, 0x7f80_0000),
            DType::BF16 => no_bits_full(at.cast::<u16>(), count, 0x7f80),
            DType::F16 => no_bits_full(at.cast::<u16>(), count, 0x7c00),
            DType::I64 | DType::U8 => true,
        }
    }
}

/// Whether no element has all bits of `mask`: the exponent of infinity and NaN. Written to vectorise.
unsafe fn no_bits_full<T>(at: *const T, count: usize, mask: T) -> bool
where
    T: Copy + PartialEq + std::ops::BitAnd<Output = T>,
{
    // SAFETY: by the caller's promise.
    let all = unsafe { std::slice::from_raw_parts(at, count) };
    all.iter()
        .fold(0u8, |bad, &bits| bad | u8::from(bits & mask == mask))
        == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<T>(data: &mut [T]) -> Pointer {
        Pointer(data.as_mut_ptr().cast())
    }

    #[test]
    fn values_survive_storage() {
        for dtype in [DType::F64, DType::F32, DType::BF16, DType::F16, DType::I64] {
            let mut data = [0u64; 2];
            let x = at(&mut data);
            for value in [0.0, 1.0, -3.0, 96.0] {
                // SAFETY: 16 bytes hold two elements of any dtype.
                unsafe {
                    store(x, dtype, 1, value);
                    assert_eq!(load(x, dtype, 1), value);
                }
            }
        }
    }

    #[test]
    fn storing_rounds_as_the_dtype_does() {
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            for value in [
                1.0 / 3.0,
                1.00390625,
                1.01171875,
                65519.0,
                1e-7,
                3.4e38,
                -0.1,
            ] {
                let mut data = [0u64];
                // SAFETY: one element fits.
                let stored = unsafe {
                    store(at(&mut data), dtype, 0, value);
                    load(at(&mut data), dtype, 0)
                };
                assert_eq!(stored, dtype.round(value), "{dtype} {value}");
            }
        }
    }

    #[test]
    fn fill_and_identity() {
        let mut data = [9.0f32; 10];
        // SAFETY: nine elements are inside.
        unsafe { identity(at(&mut data), DType::F32, 3, 2.0) };
        assert_eq!(data, [2.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0, 9.0]);
        let mut halves = [bf16::ONE; 3];
        // SAFETY: two elements are inside.
        unsafe { fill(at(&mut halves), DType::BF16, 2, 0.5) };
        assert_eq!(halves.map(bf16::to_f32), [0.5, 0.5, 1.0]);
    }

    #[test]
    fn permute_matches_indexing() {
        let dims = [2u64, 3, 4];
        let axes = [2u32, 0, 1];
        let mut x: Vec<f64> = (0..24).map(f64::from).collect();
        let mut out = vec![0.0f64; 24];
        // SAFETY: both hold 24 elements.
        unsafe { permute(at(&mut x), at(&mut out), 8, &dims, &axes) };
        for (i, j, k) in
            (0..2).flat_map(|i| (0..3).flat_map(move |j| (0..4).map(move |k| (i, j, k))))
        {
            assert_eq!(out[(k * 2 + i) * 3 + j], x[(i * 3 + j) * 4 + k]);
        }
    }

    #[test]
    fn gather_checks_its_indices() {
        let mut x: Vec<f32> = (0..12).map(|n| n as f32).collect();
        let mut out = [0.0f32; 12];
        let mut index = [2i64, 0, 1];
        let axis = Along {
            pre: 2,
            d: 3,
            post: 2,
            count: 3,
        };
        // SAFETY: 2 · 3 · 2 elements and three indices.
        let inside = unsafe { gather(at(&mut x), at(&mut index), at(&mut out), 4, &axis) };
        assert!(inside);
        assert_eq!(
            out,
            [4.0, 5.0, 0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 6.0, 7.0, 8.0, 9.0]
        );
        index[1] = 3;
        // SAFETY: as above; the bad index is caught before anything is read.
        assert!(!unsafe { gather(at(&mut x), at(&mut index), at(&mut out), 4, &axis) });
    }

    #[test]
    fn parts_come_out_and_go_back() {
        let mut x: Vec<f32> = (0..12).map(|n| n as f32).collect();
        let mut part = [0.0f32; 4];
        let axis = Along {
            pre: 2,
            d: 3,
            post: 2,
            count: 1,
        };
        // SAFETY: 2 · 3 · 2 elements, of which one of three along the axis are 2 · 2.
        unsafe { slice(at(&mut x), at(&mut part), 4, &axis, 2) };
        assert_eq!(part, [4.0, 5.0, 10.0, 11.0]);
        let mut index = [0i64];
        // SAFETY: as above; one index.
        unsafe {
            paste(at(&mut part), at(&mut x), 4, &axis, 1);
            assert!(scatter(at(&mut part), at(&mut index), at(&mut x), 4, &axis));
        }
        assert_eq!(
            x,
            [
                4.0, 5.0, 4.0, 5.0, 4.0, 5.0, 10.0, 11.0, 10.0, 11.0, 10.0, 11.0
            ]
        );
    }

    #[test]
    fn argsort_is_stable_and_total() {
        let mut x = [1.0f32, f32::NAN, 0.0, -0.0, 1.0, f32::NEG_INFINITY];
        let mut out = [0i64; 6];
        // SAFETY: six elements each.
        unsafe { argsort(at(&mut x), DType::F32, at(&mut out), [6, 6], false) };
        assert_eq!(out, [5, 2, 3, 0, 4, 1]);
        // SAFETY: as above.
        unsafe { argsort(at(&mut x), DType::F32, at(&mut out), [6, 6], true) };
        assert_eq!(out, [1, 0, 4, 2, 3, 5]);
    }

    #[test]
    fn a_selection_is_the_start_of_the_order() {
        // Few values, so that most are ties, and some NaN.
        let value = |i: u64| [0.0, -0.0, f32::NAN, 3.0, -1.0][(i * i % 7 % 5) as usize];
        let mut x: Vec<f32> = (0..200).map(value).collect();
        let mut order = |kept, descending| {
            let mut out = vec![0i64; 200];
            // SAFETY: 200 elements each.
            unsafe {
                argsort(
                    at(&mut x),
                    DType::F32,
                    at(&mut out),
                    [kept, 200],
                    descending,
                )
            };
            out.truncate(kept as usize);
            out
        };
        for descending in [false, true] {
            let all = order(200, descending);
            for kept in [0, 1, 2, 57, 199] {
                assert_eq!(order(kept, descending), all[..kept as usize]);
            }
        }
    }

    #[test]
    fn strided_copies_invert_each_other() {
        let mut x: Vec<u16> = (0..12).collect();
        let axes = Axes::signed([(3u64, 1i64), (4, 3)].into_iter());
        let mut dense = [0u16; 12];
        let mut back = [0u16; 12];
        // SAFETY: the axes reach the twelve elements once each.
        unsafe {
            gather_strided(at(&mut x), at(&mut dense), 2, &axes);
            scatter_strided(at(&mut dense), at(&mut back), 2, &axes);
        }
        assert_eq!(&dense[..5], [0, 3, 6, 9, 1]);
        assert_eq!(back.as_slice(), x);
    }

    #[test]
    fn one_bad_element_is_seen() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0f32; 37];
            x[36] = bad;
            // SAFETY: 37 elements.
            unsafe {
                assert!(all_finite(at(&mut x), DType::F32, 0, 36));
                assert!(!all_finite(at(&mut x), DType::F32, 5, 37));
            }
        }
    }
}
