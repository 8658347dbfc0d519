//! The reference interpreter: what the IR means, slow and plain.
//!
//! ```text
//! let mut slots = interp::allocate(&function, &weights, &gradient, Moment::new(&inputs, 1.0))?;   // the first state
//! interp::run(&function, &mut slots, Moment::new(&inputs, step))?;   // slots[PARAM] and the state are new
//! ```
//!
//! Tensors are lists of f64 that hold exactly representable values of their storage type, so a function lowered for
//! f64 is interpreted in f64 and one lowered for f32 gives bit for bit what every backend must give on element-wise
//! work. Products and factorizations are computed in f64 and rounded once.

pub(crate) mod dense;
mod linear;
mod map;

use crate::dtype::DType;
use crate::ir::{Function, Op, OpKind, Region, Summand, Value};
use crate::kernel_eval;
use crate::plan::Role;
use crate::quantized::Format;
use crate::random::{Distribution, Draw, Noise};
use cranelift_entity::SecondaryMap;
use thiserror::Error;

/// The parameter's slot.
pub const PARAM: usize = 0;
/// The gradient's slot.
pub const GRAD: usize = 1;

/// A step that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InterpError {
    /// A factorization failed and the rule has no policy that helps.
    #[error("{op}: the factorization failed")]
    Factorization {
        /// Which operation.
        op: String,
    },
    /// A state was kept for as many failures in a row as its policy allows, and there is one more.
    #[error("`{state}` was kept {most} times")]
    KeptTooOften {
        /// The state.
        state: String,
        /// How many failures are allowed.
        most: u32,
    },
}

/// A value during interpretation.
#[derive(Debug, Clone, Default, PartialEq)]
enum Datum {
    #[default]
    Missing,
    Host(f64),
    Tensor(Vec<f64>),
    Mask(Vec<bool>),
}

/// Slots with the parameter, its first gradient, and the state as `init` makes it of them.
///
/// # Errors
///
/// A factorization in a state's first value failed.
pub fn allocate(
    function: &Function,
    param: &[f64],
    grad: &[f64],
    moment: Moment<'_>,
) -> Result<Vec<Vec<f64>>, InterpError> {
    let mut slots: Vec<Vec<f64>> = function
        .slots
        .iter()
        .map(|slot| vec![0.0; slot.ty.numel() as usize])
        .collect();
    slots[PARAM] = param.to_vec();
    slots[GRAD] = grad.to_vec();
    let initial = Interp::new(function, &slots, moment).region_results(function.init)?;
    let states = slots
        .iter_mut()
        .zip(&function.slots)
        .filter(|(_, slot)| slot.role == Role::State);
    for ((slot, _), value) in states.zip(initial) {
        *slot = value;
    }
    Ok(slots)
}

/// One step: new values of the parameter and the state, in place; gives those of shared numbers.
///
/// # Errors
///
/// A factorization failed; the slots are unchanged.
pub fn run(
    function: &Function,
    slots: &mut [Vec<f64>],
    moment: Moment<'_>,
) -> Result<Vec<f64>, InterpError> {
    let mut results = Interp::new(function, slots, moment).region_results(function.body)?;
    let shared = results.split_off(results.len() - function.shared.len());
    let written = slots
        .iter_mut()
        .zip(&function.slots)
        .filter(|(_, slot)| !slot.role.is_read_only());
    for ((slot, _), value) in written.zip(results) {
        *slot = value;
    }
    Ok(shared.concat())
}

/// What the parameter adds to a sum over parameters.
///
/// # Errors
///
/// A factorization failed.
pub fn summand(sum: &Summand, slots: &[Vec<f64>], moment: Moment<'_>) -> Result<f64, InterpError> {
    let before = sum.function.slots.len() - 1;
    let mut seen = slots[..before].to_vec();
    seen.push(vec![0.0]);
    run(&sum.function, &mut seen, moment)?;
    Ok(seen[before][0])
}

/// What a step reads besides its slots.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Hyperparameters, shared numbers and sums over parameters.
    pub inputs: &'a [f64],
    /// The parameter's step number, from 1.
    pub step: f64,
    /// The parameter's name: the streams of its random numbers.
    pub param: &'a str,
    /// Where random numbers come from.
    pub noise: &'a Noise,
}

impl<'a> Moment<'a> {
    /// A step of a parameter without a name, with the streams of seed 0.
    pub fn new(inputs: &'a [f64], step: f64) -> Moment<'a> {
        const NOISE: &Noise = &Noise::Seeded(0);
        Moment {
            inputs,
            step,
            param: "",
            noise: NOISE,
        }
    }
}

struct Interp<'a> {
    function: &'a Function,
    slots: &'a [Vec<f64>],
    moment: Moment<'a>,
    values: SecondaryMap<Value, Datum>,
}

impl<'a> Interp<'a> {
    fn new(function: &'a Function, slots: &'a [Vec<f64>], moment: Moment<'a>) -> Interp<'a> {
        Interp {
            function,
            slots,
            moment,
            values: SecondaryMap::new(),
        }
    }

    fn region_results(&mut self, region: Region) -> Result<Vec<Vec<f64>>, InterpError> {
        self.region(region)?;
        let results = &self.function.regions[region].results;
        Ok(results
            .iter()
            .map(|&value| match &self.values[value] {
                Datum::Host(x) => vec![*x],
                _ => self.tensor(value).to_vec(),
            })
            .collect())
    }

    fn region(&mut self, region: Region) -> Result<(), InterpError> {
        self.function.regions[region]
            .ops
            .iter()
            .try_for_each(|&op| self.op(op))
    }

    fn host(&self, value: Value) -> f64 {
        match &self.values[value] {
            Datum::Host(x) => *x,
            other => unreachable!("{value} is {other:?}, not a host value"),
        }
    }

    fn tensor(&self, value: Value) -> &[f64] {
        match &self.values[value] {
            Datum::Tensor(data) => data,
            other => unreachable!("{value} is {other:?}, not a tensor"),
        }
    }

    fn dims(&self, value: Value) -> &'a [u64] {
        self.function.dims(value)
    }

    fn dtype(&self, value: Value) -> DType {
        self.function
            .tensor(value)
            .map_or(DType::F64, |ty| ty.dtype)
    }

    fn op(&mut self, op: Op) -> Result<(), InterpError> {
        let data = &self.function.ops[op];
        if let OpKind::If {
            cond,
            then,
            otherwise,
        } = data.kind
        {
            return self.choose(
                &data.results,
                if self.holds(cond) { then } else { otherwise },
            );
        }
        let made = match &data.kind {
            kind if kind.is_host() => vec![Datum::Host(self.host_op(kind))],
            OpKind::Fused(fused) => self.fused(fused),
            kind if kind.is_map() => vec![self.map(kind, data.results[0])],
            kind => self.structured(kind, op)?,
        };
        for (&result, datum) in data.results.iter().zip(made) {
            self.values[result] = datum;
        }
        Ok(())
    }

    fn holds(&self, cond: Value) -> bool {
        match &self.values[cond] {
            Datum::Tensor(data) => data[0] != 0.0,
            _ => self.host(cond) != 0.0,
        }
    }

    fn choose(&mut self, results: &[Value], region: Region) -> Result<(), InterpError> {
        self.region(region)?;
        for (&result, &value) in results.iter().zip(&self.function.regions[region].results) {
            self.values[result] = self.values[value].clone();
        }
        Ok(())
    }

    fn host_op(&self, kind: &OpKind) -> f64 {
        match kind {
            OpKind::Hyper(n) => self.moment.inputs[*n as usize],
            OpKind::Step => self.moment.step,
            OpKind::Chance(site) => self.moment.noise.chance(Draw {
                param: "",
                ..self.draw(*site)
            }),
            OpKind::Const(x) => *x,
            OpKind::HostUnary(op, a) => op.apply(self.host(*a)),
            OpKind::HostBinary(op, a, b) => op.apply(self.host(*a), self.host(*b)),
            OpKind::HostSelect(c, a, b) => self.host(if self.host(*c) != 0.0 { *a } else { *b }),
            other => unreachable!("{other:?} on the host"),
        }
    }

    fn fused(&self, fused: &crate::ir::Fused) -> Vec<Datum> {
        let inputs: Vec<&[f64]> = fused.inputs.iter().map(|&v| self.tensor(v)).collect();
        let scalars: Vec<f64> = fused.scalars.iter().map(|&v| self.host(v)).collect();
        let outputs = kernel_eval::run(&fused.kernel, &inputs, &scalars, fused.rows, fused.cols);
        outputs.into_iter().map(Datum::Tensor).collect()
    }

    /// Operations that look at more than one element.
    fn structured(&mut self, kind: &OpKind, op: Op) -> Result<Vec<Datum>, InterpError> {
        let one = |data: Vec<f64>| Ok(vec![Datum::Tensor(data)]);
        let result = self.function.ops[op].results[0];
        match kind {
            OpKind::Slot(n) => one(self.slots[*n as usize].clone()),
            OpKind::Reshape(a) => one(self.tensor(*a).to_vec()),
            OpKind::Reduce(fold, a, over) => one(self.reduce(*fold, *a, *over)),
            OpKind::Identity(scale) => one(self.identity(*scale, result)),
            OpKind::Triangle { upper } => one(triangle(self.dims(result)[0], *upper)),
            OpKind::Random(distribution, site) => one(self.random(*distribution, *site, result)),
            OpKind::Permute(a, axes) => one(permute(self.tensor(*a), self.dims(*a), axes)),
            OpKind::Diag(a) => one(diagonal(self.tensor(*a), self.dims(*a))),
            OpKind::Argsort { x, descending } => {
                let kept = self.dims(result)[0] as usize;
                one(argsort(self.tensor(*x), *descending, kept))
            }
            OpKind::Gather { x, axis, index } => one(gather(
                self.tensor(*x),
                self.dims(*x),
                *axis as usize,
                self.tensor(*index),
            )),
            OpKind::Scatter { x, axis, index, y } => one(scatter(
                self.tensor(*x),
                self.tensor(*y),
                around(self.dims(*x), *axis as usize),
                self.tensor(*index),
            )),
            OpKind::Pack { x, packing } => {
                one(packing.pack(self.tensor(*x), self.dims(*x)[0] as usize))
            }
            OpKind::Unpack { x, packing } => {
                one(packing.unpack(self.tensor(*x), self.dims(result)[0] as usize))
            }
            OpKind::Limit { x, most, kept } if self.tensor(*x)[0] > f64::from(*most) => {
                Err(InterpError::KeptTooOften {
                    state: self.function.slots[*kept as usize].name.clone(),
                    most: *most,
                })
            }
            OpKind::Limit { x, .. } => one(self.tensor(*x).to_vec()),
            OpKind::Quantize { x, format } => Ok(quantize(self.tensor(*x), *format)
                .map(Datum::Tensor)
                .to_vec()),
            OpKind::Dequantize {
                codes,
                scales,
                format,
            } => one(dequantize(
                self.tensor(*codes),
                self.tensor(*scales),
                *format,
            )),
            OpKind::Slice { x, axis, from } => {
                let count = self.dims(result)[*axis as usize];
                let extent = around(self.dims(*x), *axis as usize);
                one(slice(self.tensor(*x), extent, *from, count))
            }
            OpKind::Concat { parts, axis } => {
                let extent = around(self.dims(result), *axis as usize);
                let mut whole = vec![0.0; extent.iter().product::<u64>() as usize];
                let mut from = 0;
                for &part in parts {
                    let count = self.dims(part)[*axis as usize];
                    paste(&mut whole, self.tensor(part), extent, from, count);
                    from += count;
                }
                one(whole)
            }
            OpKind::Product(product) => one(self.product(product, result)),
            OpKind::Contract {
                x,
                q,
                mode,
                transposed,
            } => one(self.contract(*x, *q, *mode as usize, *transposed)),
            OpKind::Gram {
                x,
                mode,
                alpha,
                added,
            } => one(self.gram(*x, *mode as usize, *alpha, *added)),
            kind => self.factorize(kind, op),
        }
    }

    fn draw(&self, site: u32) -> Draw<'a> {
        Draw {
            param: self.moment.param,
            step: self.moment.step as u64,
            site,
        }
    }

    fn random(&self, distribution: Distribution, site: u32, result: Value) -> Vec<f64> {
        let count = self.dims(result).iter().product();
        let dtype = self.dtype(result);
        let mut data = vec![0.0; count as usize];
        let store = |n: u64, x| data[n as usize] = dtype.round(x);
        self.moment
            .noise
            .fill(self.draw(site), distribution, dtype, count, store);
        data
    }

    fn identity(&self, scale: Value, result: Value) -> Vec<f64> {
        let n = self.dims(result)[0] as usize;
        let scale = self.dtype(result).round(self.host(scale));
        (0..n * n)
            .map(|k| if k / n == k % n { scale } else { 0.0 })
            .collect()
    }
}

/// The elements of `x` with axis `a` of the result taken from axis `axes[a]`.
pub(crate) fn permute(x: &[f64], dims: &[u64], axes: &[u32]) -> Vec<f64> {
    let mut strides = vec![1usize; dims.len()];
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * dims[axis + 1] as usize;
    }
    let shape: Vec<usize> = axes
        .iter()
        .map(|&axis| dims[axis as usize] as usize)
        .collect();
    let steps: Vec<usize> = axes.iter().map(|&axis| strides[axis as usize]).collect();
    let element = |mut n: usize| {
        let mut at = 0;
        for axis in (0..shape.len()).rev() {
            at += n % shape[axis] * steps[axis];
            n /= shape[axis];
        }
        x[at]
    };
    (0..x.len()).map(element).collect()
}

/// Ones on the diagonal and on one side of it.
pub(crate) fn triangle(n: u64, upper: bool) -> Vec<f64> {
    let inside = |(i, j): (u64, u64)| if upper { i <= j } else { i >= j };
    let entries = (0..n * n).map(|k| (k / n, k % n));
    entries.map(|at| f64::from(u8::from(inside(at)))).collect()
}

pub(crate) fn diagonal(x: &[f64], dims: &[u64]) -> Vec<f64> {
    let n = dims[0] as usize;
    (0..n).map(|k| x[k * n + k]).collect()
}

/// The first `kept` of the stable order of a vector, as indices.
pub(crate) fn argsort(x: &[f64], descending: bool, kept: usize) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    let directed = |&a: &usize, &b: &usize| {
        let ascending = x[a].total_cmp(&x[b]);
        let directed = if descending {
            ascending.reverse()
        } else {
            ascending
        };
        directed.then(a.cmp(&b))
    };
    // No two indices are equal in this order, so a selection finds what a stable sort would put first.
    if kept > 0 && kept < order.len() {
        order.select_nth_unstable_by(kept - 1, directed);
    }
    order.truncate(kept);
    order.sort_unstable_by(directed);
    order.into_iter().map(|k| k as f64).collect()
}

/// Codes, and the scales of their blocks.
pub(crate) fn quantize(x: &[f64], format: Format) -> [Vec<f64>; 2] {
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for block in x.chunks(format.block as usize) {
        let block: Vec<f32> = block.iter().map(|&x| x as f32).collect();
        let mut made = vec![0; block.len()];
        scales.push(f64::from(format.encode(&block, &mut made)));
        codes.extend(made.into_iter().map(f64::from));
    }
    [codes, scales]
}

pub(crate) fn dequantize(codes: &[f64], scales: &[f64], format: Format) -> Vec<f64> {
    let blocks = codes.chunks(format.block as usize).zip(scales);
    let element = |code: &f64, scale: f64| f64::from(format.decode(*code as u8, scale as f32));
    blocks
        .flat_map(|(block, &scale)| block.iter().map(move |code| element(code, scale)))
        .collect()
}

/// Elements before an axis, on it and after it.
pub(crate) fn around(dims: &[u64], axis: usize) -> [u64; 3] {
    [
        dims[..axis].iter().product(),
        dims[axis],
        dims[axis + 1..].iter().product(),
    ]
}

/// Calls `f` with where each run of elements is along an axis and where it is among `count` chosen ones.
fn each_run(
    [pre, d, post]: [u64; 3],
    count: usize,
    at: impl Fn(usize) -> usize,
    mut f: impl FnMut(std::ops::Range<usize>, std::ops::Range<usize>),
) {
    let (d, post) = (d as usize, post as usize);
    for p in 0..pre as usize {
        for j in 0..count {
            let (whole, part) = ((p * d + at(j)) * post, (p * count + j) * post);
            f(whole..whole + post, part..part + post);
        }
    }
}

pub(crate) fn gather(x: &[f64], dims: &[u64], axis: usize, index: &[f64]) -> Vec<f64> {
    let mut chosen = Vec::new();
    let at = |j: usize| index[j] as usize;
    each_run(around(dims, axis), index.len(), at, |whole, _| {
        chosen.extend_from_slice(&x[whole])
    });
    chosen
}

pub(crate) fn scatter(x: &[f64], y: &[f64], extent: [u64; 3], index: &[f64]) -> Vec<f64> {
    let mut made = x.to_vec();
    let at = |j: usize| index[j] as usize;
    each_run(extent, index.len(), at, |whole, part| {
        made[whole].copy_from_slice(&y[part])
    });
    made
}

pub(crate) fn slice(x: &[f64], extent: [u64; 3], from: u64, count: u64) -> Vec<f64> {
    let mut part = Vec::new();
    let at = |j: usize| from as usize + j;
    each_run(extent, count as usize, at, |whole, _| {
        part.extend_from_slice(&x[whole])
    });
    part
}

/// Writes a part of a tensor.
pub(crate) fn paste(into: &mut [f64], part: &[f64], extent: [u64; 3], from: u64, count: u64) {
    let at = |j: usize| from as usize + j;
    each_run(extent, count as usize, at, |whole, own| {
        into[whole].copy_from_slice(&part[own])
    });
}
