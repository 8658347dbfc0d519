//! State in 8 bits, block by block; what codes mean is said in [`optc_core::quantized`].

use crate::memory::Pointer;
use optc_core::quantized::Format;

/// Writes the codes and scales of blocks `first..last`.
///
/// # Safety
///
/// `x` holds `count` f32, `codes` as many bytes, `scales` an f32 for each block, apart from each other and aligned;
/// nobody else uses these blocks.
pub(crate) unsafe fn encode(
    [x, codes, scales]: [Pointer; 3],
    format: &Format,
    count: u64,
    [first, last]: [u64; 2],
) {
    for block in first..last {
        let (from, len) = range(format, count, block);
        // SAFETY: the block lies inside the tensors, by the caller's promise.
        unsafe {
            let x = std::slice::from_raw_parts(x.0.cast::<f32>().add(from).cast_const(), len);
            let codes = std::slice::from_raw_parts_mut(codes.0.add(from), len);
            *scales.0.cast::<f32>().add(block as usize) = format.encode(x, codes);
        }
    }
}

/// Writes the elements of blocks `first..last`.
///
/// # Safety
///
/// As for [`encode`], with `out` in place of `x`.
pub(crate) unsafe fn decode(
    [codes, scales, out]: [Pointer; 3],
    format: &Format,
    count: u64,
    [first, last]: [u64; 2],
) {
    for block in first..last {
        let (from, len) = range(format, count, block);
        // SAFETY: the block lies inside the tensors, by the caller's promise.
        unsafe {
            let scale = *scales.0.cast::<f32>().add(block as usize);
            let codes = std::slice::from_raw_parts(codes.0.add(from).cast_const(), len);
            let out = std::slice::from_raw_parts_mut(out.0.cast::<f32>().add(from), len);
            let pairs = out.iter_mut().zip(codes);
            pairs.for_each(|(x, &code)| *x = format.decode(code, scale));
        }
    }
}

fn range(format: &Format, count: u64, block: u64) -> (usize, usize) {
    let from = block * format.block;
    (from as usize, format.block.min(count - from) as usize)
}
