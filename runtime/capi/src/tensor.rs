//! A tensor of C → a view that a step can trust as far as anything about it can be checked.

use crate::abi::{self, Versioned};
use crate::error::Failure;
use optc_core::dtype::DType;
use optc_runtime::apart::{Part, reach};
use optc_runtime::{Device, TensorView};
use std::ffi::c_void;
use std::ops::Range;

/// IEEE binary64, `double`.
pub const OPTC_F64: i32 = 1;
/// IEEE binary32, `float`.
pub const OPTC_F32: i32 = 2;
/// bfloat16.
pub const OPTC_BF16: i32 = 3;
/// IEEE binary16.
pub const OPTC_F16: i32 = 4;
/// 64-bit integers: only state may hold them.
pub const OPTC_I64: i32 = 5;
/// Bytes: the codes of state in 8 bits.
pub const OPTC_U8: i32 = 6;

/// Host memory.
pub const OPTC_CPU: i32 = 0;
/// The memory of a CUDA device: steps there need an artifact with code for it.
pub const OPTC_CUDA: i32 = 1;

/// More axes than any tensor has.
const MAX_RANK: usize = 64;

/// A tensor of the caller's, for the time of one call.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Tensor {
    /// `sizeof(optc_tensor)`.
    pub struct_size: usize,
    /// The element at index 0, 0, …, aligned to its type; may be null if there are no elements.
    pub data: *mut c_void,
    /// `rank` dimensions.
    pub dims: *const i64,
    /// `rank` distances between neighbours along each axis, in elements; null means row-major without gaps.
    pub strides: *const i64,
    /// The number of axes.
    pub rank: usize,
    /// `OPTC_F64`, `OPTC_F32`, `OPTC_BF16` or `OPTC_F16`.
    pub dtype: i32,
    /// `OPTC_CPU` or `OPTC_CUDA`.
    pub device_type: i32,
    /// Which of the devices of that type.
    pub device_index: i32,
}

// SAFETY: `repr(C)`, the size comes first, pointers and integers may have any bytes.
unsafe impl Versioned for Tensor {
    const NAME: &'static str = "optc_tensor";
}

pub(crate) fn dtype(number: i32) -> Result<DType, Failure> {
    Ok(match number {
        OPTC_F64 => DType::F64,
        OPTC_F32 => DType::F32,
        OPTC_BF16 => DType::BF16,
        OPTC_F16 => DType::F16,
        OPTC_I64 => DType::I64,
        OPTC_U8 => DType::U8,
        _ => {
            let message = format!("there is no dtype {number}");
            let help = "dtypes are the constants `OPTC_F64` to `OPTC_U8`";
            return Err(Failure::argument("dtype", message, help));
        }
    })
}

pub(crate) fn dtype_number(dtype: DType) -> i32 {
    match dtype {
        DType::F64 => OPTC_F64,
        DType::F32 => OPTC_F32,
        DType::BF16 => OPTC_BF16,
        DType::F16 => OPTC_F16,
        DType::I64 => OPTC_I64,
        DType::U8 => OPTC_U8,
    }
}

pub(crate) fn device(kind: i32, index: i32) -> Result<Device, Failure> {
    match (kind, u32::try_from(index)) {
        (OPTC_CPU, _) => Ok(Device::Cpu),
        (OPTC_CUDA, Ok(index)) => Ok(Device::Cuda(index)),
        _ => {
            let message = format!("there is no device {index} of type {kind}");
            let help = "a device type is `OPTC_CPU` or `OPTC_CUDA`";
            Err(Failure::argument("device", message, help))
        }
    }
}

/// The dimensions that a pointer and a rank mean.
///
/// # Safety
///
/// Null, or a pointer to `rank` numbers that nobody writes for `'a`.
pub(crate) unsafe fn dims<'a>(from: *const i64, rank: usize) -> Result<&'a [i64], Failure> {
    if rank > MAX_RANK {
        let message = format!("`rank` is {rank}");
        return Err(Failure::argument(
            "rank",
            message,
            "a tensor has at most 64 axes",
        ));
    }
    // SAFETY: the caller's promise.
    unsafe { abi::slice(from, rank, "dims") }
}

/// A tensor whose elements have places of their own, and what a message calls it.
#[derive(Debug)]
pub(crate) struct Checked<'a> {
    data: *mut c_void,
    dims: &'a [i64],
    strides: Option<&'a [i64]>,
    dtype: DType,
    device: Device,
    /// The bytes from the first element to the last.
    bytes: Range<usize>,
}

impl<'a> Checked<'a> {
    /// # Safety
    ///
    /// Null, or a pointer to a tensor that is as it says for `'a`.
    pub(crate) unsafe fn read(
        from: *const Tensor,
        what: impl Fn() -> String,
    ) -> Result<Checked<'a>, Failure> {
        // SAFETY: the caller's promise.
        let tensor = unsafe { abi::read(from) }?;
        // SAFETY: the same.
        let dims = unsafe { dims(tensor.dims, tensor.rank) }?;
        let strides = match tensor.strides.is_null() {
            true => None,
            // SAFETY: the same.
            false => Some(unsafe { abi::slice(tensor.strides, tensor.rank, "strides") }?),
        };
        let mut checked = Checked {
            data: tensor.data,
            dims,
            strides,
            dtype: dtype(tensor.dtype)?,
            device: device(tensor.device_type, tensor.device_index)?,
            bytes: 0..0,
        };
        checked.bytes = checked.place(what)?;
        Ok(checked)
    }

    /// Its bytes, if elements can be there and each has its own.
    fn place(&self, what: impl Fn() -> String) -> Result<Range<usize>, Failure> {
        let start = self.data as usize;
        let wrong = |why: &str| {
            let message = format!("{} {why}", what());
            Err(Failure::argument(
                "tensor",
                message,
                "give dense or strided memory of the tensor's own",
            ))
        };
        let Some(elements) = reach(self.dims, self.strides) else {
            return wrong(
                "has elements that share memory with each other, or more than memory has",
            );
        };
        let size = self.dtype.size() as usize;
        let end = elements
            .checked_mul(size)
            .and_then(|bytes| start.checked_add(bytes));
        match end {
            _ if elements == 0 => Ok(start..start),
            _ if self.data.is_null() => wrong("has elements and no memory"),
            _ if !start.is_multiple_of(size) => wrong("is not aligned to its elements"),
            None => wrong("reaches beyond all memory"),
            Some(end) => Ok(start..end),
        }
    }

    /// Its memory, to be compared with that of others.
    pub(crate) fn part(&self, written: bool, param: usize) -> Part {
        Part {
            bytes: self.bytes.clone(),
            written,
            param,
        }
    }

    /// The view for a step.
    ///
    /// # Safety
    ///
    /// The promises of [`TensorView::from_raw`] that cannot be checked: the memory is there, and nobody interferes.
    pub(crate) unsafe fn view(&self) -> TensorView<'a> {
        // SAFETY: `place` found it aligned and every element apart; the rest is the caller's promise.
        unsafe { TensorView::from_raw(self.data, self.dtype, self.dims, self.strides, self.device) }
    }
}
