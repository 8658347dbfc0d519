//! Element types of tensors, and how a value is stored in each.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The element type of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// bfloat16: arithmetic happens in f32, each result is rounded.
    BF16,
    /// IEEE binary16: arithmetic happens in f32, each result is rounded.
    F16,
    /// Indices, the result of `argsort`.
    I64,
    /// Codes of state in 8 bits, see [`crate::quantized`].
    U8,
}

impl DType {
    /// Bytes per element.
    pub fn size(self) -> u64 {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 => 4,
            DType::BF16 | DType::F16 => 2,
            DType::U8 => 1,
        }
    }

    /// Whether tensors of this type hold numbers to compute with.
    pub fn is_float(self) -> bool {
        !matches!(self, DType::I64 | DType::U8)
    }

    /// The type arithmetic happens in.
    pub fn compute(self) -> DType {
        match self {
            DType::BF16 | DType::F16 => DType::F32,
            other => other,
        }
    }

    /// `x` rounded once to this type, to nearest, ties to even; from f64 to a half type without a stop at f32.
    pub fn round(self, x: f64) -> f64 {
        match self {
            DType::F64 | DType::I64 | DType::U8 => x,
            DType::F32 => f64::from(x as f32),
            DType::BF16 => half::bf16::from_f32(round_to_odd(x)).to_f64(),
            DType::F16 => half::f16::from_f32(round_to_odd(x)).to_f64(),
        }
    }

    /// A number of f32 rounded to one of its two neighbours in a half type: the one away from zero if the noise, in
    /// [0, 1), is below its distance from the other. Other types have the number itself. A number beyond the largest
    /// is one cell beyond it, which [`DType::round`] makes infinite.
    pub fn round_stochastic(self, x: f64, noise: f64) -> f64 {
        let (fraction, least) = match self {
            DType::BF16 => (7, -126),
            DType::F16 => (10, -14),
            _ => return x,
        };
        if !x.is_finite() {
            return x;
        }
        let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        let cell = 2f64.powi(exponent.max(least) - fraction);
        let cells = x.abs() / cell;
        let away = noise < cells - cells.floor();
        ((cells.floor() + f64::from(u8::from(away))) * cell).copysign(x)
    }

    /// `x` as it is stored, in the machine's byte order.
    pub fn bytes_of(self, x: f64) -> Vec<u8> {
        match self {
            DType::F64 => x.to_ne_bytes().to_vec(),
            DType::F32 => (x as f32).to_ne_bytes().to_vec(),
            DType::BF16 => half::bf16::from_f64(x).to_ne_bytes().to_vec(),
            DType::F16 => half::f16::from_f64(x).to_ne_bytes().to_vec(),
            DType::I64 => (x as i64).to_ne_bytes().to_vec(),
            DType::U8 => vec![x as u8],
        }
    }

    /// The number that the bytes of one element mean.
    fn number_of(self, bytes: &[u8]) -> f64 {
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("the bytes of one element")
        }
        match self {
            DType::F64 => f64::from_ne_bytes(array(bytes)),
            DType::F32 => f32::from_ne_bytes(array(bytes)).into(),
            DType::BF16 => half::bf16::from_ne_bytes(array(bytes)).into(),
            DType::F16 => half::f16::from_ne_bytes(array(bytes)).into(),
            DType::I64 => i64::from_ne_bytes(array(bytes)) as f64,
            DType::U8 => u8::from_ne_bytes(array(bytes)).into(),
        }
    }

    /// Numbers as they are stored, in the machine's byte order; each is a number of this type.
    pub fn encode(self, values: &[f64]) -> Vec<u8> {
        values.iter().flat_map(|&x| self.bytes_of(x)).collect()
    }

    /// The numbers that stored bytes mean.
    pub fn decode(self, bytes: &[u8]) -> Vec<f64> {
        let elements = bytes.chunks_exact(self.size() as usize);
        elements.map(|bytes| self.number_of(bytes)).collect()
    }

    /// The distance from 1 to the next number; 1 of indices and codes.
    pub fn epsilon(self) -> f64 {
        match self {
            DType::F64 => f64::EPSILON,
            DType::F32 => f64::from(f32::EPSILON),
            DType::BF16 => half::bf16::EPSILON.to_f64(),
            DType::F16 => half::f16::EPSILON.to_f64(),
            DType::I64 | DType::U8 => 1.0,
        }
    }

    /// The name used in `.opt` files and manifests.
    pub fn name(self) -> &'static str {
        match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::BF16 => "bf16",
            DType::F16 => "f16",
            DType::I64 => "i64",
            DType::U8 => "u8",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<DType> {
        let all = [
            DType::F64,
            DType::F32,
            DType::BF16,
            DType::F16,
            DType::I64,
            DType::U8,
        ];
        all.into_iter().find(|dtype| dtype.name() == name)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `x` cut to f32, the last bit set if anything was cut off: rounding that to fewer bits equals rounding `x` to them.
fn round_to_odd(x: f64) -> f32 {
    let near = x as f32;
    let back = f64::from(near);
    if back == x || x.is_nan() {
        return near;
    }
    let cut = if back.abs() > x.abs() {
        near.to_bits() - 1
    } else {
        near.to_bits()
    };
    f32::from_bits(cut | 1)
}
