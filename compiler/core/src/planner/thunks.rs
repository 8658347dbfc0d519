//! One thunk per operation.

use super::Planner;
use crate::dtype::DType;
use crate::ir::{Fused, Op, OpKind, Product, Region, Value, facts};
use crate::kernel::{Inst, OutputKind};
use crate::plan::{Along, Buffer, Gemm, HostInst, Matrix, OnFailure, Reg, Routine, Temp, Thunk};

/// Factors and addend of a product.
#[derive(Clone, Copy)]
struct Scaling {
    alpha: Option<Value>,
    added: Option<(Value, Option<Value>)>,
}

impl Planner<'_> {
    pub(super) fn thunks(&mut self, region: Region) -> Vec<Thunk> {
        let function = self.function;
        let mut thunks = Vec::new();
        for &op in &function.regions[region].ops {
            self.op_thunks(op, &mut thunks);
        }
        thunks
    }

    fn op_thunks(&mut self, op: Op, thunks: &mut Vec<Thunk>) {
        let function = self.function;
        let data = &function.ops[op];
        let result = data.results[0];
        let thunk = match &data.kind {
            kind if kind.is_host() => return,
            OpKind::Slot(_) | OpKind::Reshape(_) => return,
            OpKind::If {
                cond,
                then,
                otherwise,
            } => {
                return thunks.extend(self.branch(*cond, *then, *otherwise, &data.results));
            }
            OpKind::Fused(fused) => self.map(fused, &data.results),
            OpKind::Identity(scale) => {
                let n = function.dims(result)[0];
                Thunk::Identity {
                    out: self.buffer(result),
                    n,
                    scale: self.reg(*scale),
                }
            }
            OpKind::Triangle { upper } => Thunk::Triangle {
                out: self.buffer(result),
                n: function.dims(result)[0],
                upper: *upper,
            },
            OpKind::Random(distribution, site) => Thunk::Random {
                out: self.buffer(result),
                distribution: *distribution,
                site: *site,
            },
            OpKind::Permute(x, axes) => Thunk::Permute {
                x: self.buffer(*x),
                out: self.buffer(result),
                dims: function.dims(*x).to_vec(),
                axes: axes.clone(),
            },
            OpKind::Diag(x) => Thunk::Diag {
                x: self.buffer(*x),
                out: self.buffer(result),
                n: function.dims(*x)[0],
            },
            OpKind::Argsort { x, descending } => Thunk::Argsort {
                x: self.buffer(*x),
                out: self.buffer(result),
                n: function.dims(*x)[0],
                descending: *descending,
            },
            OpKind::Gather { x, axis, index } => {
                let axis = self.along(*x, result, *axis);
                Thunk::Gather {
                    x: self.buffer(*x),
                    index: self.buffer(*index),
                    out: self.buffer(result),
                    axis,
                }
            }
            OpKind::Scatter { x, axis, index, y } => Thunk::Scatter {
                x: self.buffer(*x),
                index: self.buffer(*index),
                y: self.buffer(*y),
                out: self.buffer(result),
                axis: self.along(*x, *y, *axis),
            },
            OpKind::Quantize { x, format } => Thunk::Quantize {
                x: self.buffer(*x),
                codes: self.buffer(data.results[0]),
                scales: self.buffer(data.results[1]),
                format: *format,
            },
            OpKind::Dequantize {
                codes,
                scales,
                format,
            } => Thunk::Dequantize {
                codes: self.buffer(*codes),
                scales: self.buffer(*scales),
                out: self.buffer(result),
                format: *format,
            },
            OpKind::Pack { x, packing } => Thunk::Pack {
                x: self.buffer(*x),
                out: self.buffer(result),
                n: function.dims(*x)[0],
                packing: *packing,
            },
            OpKind::Unpack { x, packing } => Thunk::Unpack {
                x: self.buffer(*x),
                out: self.buffer(result),
                n: function.dims(result)[0],
                packing: *packing,
            },
            OpKind::Limit { x, most, kept } => Thunk::Limit {
                x: self.buffer(*x),
                out: self.buffer(result),
                most: *most,
                kept: *kept,
            },
            OpKind::Slice { x, axis, from } => Thunk::Slice {
                x: self.buffer(*x),
                out: self.buffer(result),
                axis: self.along(*x, result, *axis),
                from: *from,
            },
            OpKind::Concat { parts, axis } => {
                return thunks.extend(self.concat(parts, *axis, result));
            }
            OpKind::Product(product) => self.product(product, result),
            OpKind::Contract {
                x,
                q,
                mode,
                transposed,
            } => self.contract(*x, *q, *mode, *transposed, result),
            OpKind::Gram {
                x,
                mode,
                alpha,
                added,
            } => self.gram(
                *x,
                *mode,
                Scaling {
                    alpha: *alpha,
                    added: *added,
                },
                result,
            ),
            kind => return self.call(kind, &data.results, thunks),
        };
        thunks.push(thunk);
    }

    fn concat(&mut self, parts: &[Value], axis: u32, result: Value) -> Vec<Thunk> {
        let mut from = 0;
        let paste = |&part: &Value| {
            let axis = self.along(result, part, axis);
            let first = from;
            from += axis.count;
            Thunk::Paste {
                x: self.buffer(part),
                out: self.buffer(result),
                axis,
                from: first,
            }
        };
        parts.iter().map(paste).collect()
    }

    fn branch(
        &mut self,
        cond: Value,
        then: Region,
        otherwise: Region,
        results: &[Value],
    ) -> Option<Thunk> {
        let mut sides = [then, otherwise].map(|region| {
            let mut thunks = self.thunks(region);
            let yields = self.function.regions[region].results.iter();
            let tensors = results.iter().zip(yields);
            let copies: Vec<[Buffer; 2]> = tensors
                .filter(|(result, _)| !self.function.is_host(**result))
                .map(|(&result, &value)| [self.buffer(value), self.buffer(result)])
                .filter(|[x, out]| x != out)
                .collect();
            thunks.extend(self.copies(copies));
            thunks
        });
        let otherwise = std::mem::take(&mut sides[1]);
        let then = std::mem::take(&mut sides[0]);
        if then.is_empty() && otherwise.is_empty() {
            return None;
        }
        Some(if self.function.is_host(cond) {
            let cond = self.reg(cond);
            Thunk::If {
                cond,
                then,
                otherwise,
            }
        } else {
            let flag = self.buffer(cond);
            Thunk::IfFlag {
                flag,
                then,
                otherwise,
            }
        })
    }

    /// Copies as if all happened at once: what another one still reads is written later, and saved first in a circle.
    fn copies(&mut self, mut copies: Vec<[Buffer; 2]>) -> Vec<Thunk> {
        let mut thunks = Vec::new();
        while !copies.is_empty() {
            let unread = |&[_, out]: &[Buffer; 2]| copies.iter().all(|[x, _]| *x != out);
            match copies.iter().position(unread) {
                Some(n) => {
                    let [x, out] = copies.remove(n);
                    thunks.push(Thunk::Copy { x, out });
                }
                None => {
                    let [_, lost] = copies[0];
                    let saved = self.like(lost);
                    thunks.push(Thunk::Copy {
                        x: lost,
                        out: saved,
                    });
                    let readers = copies.iter_mut().filter(|[x, _]| *x == lost);
                    readers.for_each(|[x, _]| *x = saved);
                }
            }
        }
        thunks
    }

    /// New scratch for what a buffer holds.
    fn like(&mut self, buffer: Buffer) -> Buffer {
        let (dtype, dims) = match buffer {
            Buffer::Slot(n) => {
                let ty = &self.function.slots[n as usize].ty;
                (ty.dtype, ty.dims.clone())
            }
            Buffer::Temp(n) => {
                let temp = &self.temps[n as usize];
                (temp.dtype, temp.dims.clone())
            }
        };
        let offset = self.scratch_end();
        self.temp(Temp {
            dtype,
            dims,
            offset,
        })
    }

    fn map(&mut self, fused: &Fused, results: &[Value]) -> Thunk {
        let scalars: Vec<Reg> = fused.scalars.iter().map(|&value| self.reg(value)).collect();
        if let Some(value) = self.fill_value(fused, &scalars) {
            return Thunk::Fill {
                out: self.buffer(results[0]),
                value,
            };
        }
        Thunk::Map {
            kernel: self.kernels.place(&fused.kernel),
            inputs: fused
                .inputs
                .iter()
                .map(|&value| self.buffer(value))
                .collect(),
            outputs: results.iter().map(|&value| self.buffer(value)).collect(),
            scalars,
            rows: fused.rows,
            cols: fused.cols,
        }
    }

    /// The host scalar that a kernel writes everywhere, if that is all it does.
    fn fill_value(&mut self, fused: &Fused, scalars: &[Reg]) -> Option<Reg> {
        let [output] = fused.kernel.outputs[..] else {
            return None;
        };
        if output.kind != OutputKind::Store {
            return None;
        }
        match fused.kernel.insts[..] {
            [Inst::Const(x)] => Some(self.place(HostInst::Const(x))),
            [Inst::Scalar(n)] => Some(scalars[n as usize]),
            _ => None,
        }
    }

    /// The elements that a part has along an axis of the whole.
    fn along(&self, whole: Value, part: Value, axis: u32) -> Along {
        let (pre, d, post) = self.around(whole, axis);
        let count = self.function.dims(part)[axis as usize];
        Along {
            pre,
            d,
            post,
            count,
        }
    }

    /// Elements before an axis, on it and after it.
    fn around(&self, x: Value, axis: u32) -> (u64, u64, u64) {
        let dims = self.function.dims(x);
        let axis = axis as usize;
        (
            dims[..axis].iter().product(),
            dims[axis],
            dims[axis + 1..].iter().product(),
        )
    }

    /// The matrices of a stack, transposed by their strides.
    fn stacked(&self, value: Value, transposed: bool) -> Matrix {
        let dims = self.function.dims(value);
        let (rows, cols) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let (row_stride, col_stride) = if transposed { (1, cols) } else { (cols, 1) };
        Matrix {
            buffer: self.buffer(value),
            offset: 0,
            row_stride,
            col_stride,
            batch_stride: rows * cols,
        }
    }

    fn product(&mut self, product: &Product, result: Value) -> Thunk {
        let dims = self.function.dims(result);
        let inner = self.function.dims(product.a);
        let k = inner[inner.len() - if product.ta { 2 } else { 1 }];
        let (m, n) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let gemm = Gemm {
            dtype: self.dtype(result),
            a: self.stacked(product.a, product.ta),
            b: self.stacked(product.b, product.tb),
            c: product.added.map(|(c, _)| self.stacked(c, false)),
            out: self.stacked(result, false),
            m,
            n,
            k,
            batch: dims[..dims.len() - 2].iter().product(),
            sum_batch: false,
            alpha: None,
            beta: None,
            symmetric: facts::is_symmetric(self.function, result),
        };
        Thunk::Gemm(self.scaled(
            gemm,
            Scaling {
                alpha: product.alpha,
                added: product.added,
            },
        ))
    }

    fn scaled(&self, gemm: Gemm, scaling: Scaling) -> Gemm {
        let alpha = scaling.alpha.map(|alpha| self.reg(alpha));
        let beta = scaling
            .added
            .and_then(|(_, beta)| beta)
            .map(|beta| self.reg(beta));
        Gemm {
            alpha,
            beta,
            ..gemm
        }
    }

    /// `x ×_mode op(q)`: the last mode is one product, any other a batch over what stands before it.
    fn contract(
        &mut self,
        x: Value,
        q: Value,
        mode: u32,
        transposed: bool,
        result: Value,
    ) -> Thunk {
        let (pre, d, post) = self.around(x, mode);
        let (from, to) = (self.buffer(x), self.buffer(result));
        let last = post == 1;
        let side = |buffer| {
            let (row_stride, batch_stride) = if last { (d, pre * d) } else { (post, d * post) };
            Matrix {
                buffer,
                offset: 0,
                row_stride,
                col_stride: 1,
                batch_stride,
            }
        };
        let q = Matrix {
            batch_stride: 0,
            ..self.stacked(q, transposed == last)
        };
        let (a, b) = if last {
            (side(from), q)
        } else {
            (q, side(from))
        };
        let (m, n, batch) = if last { (pre, d, 1) } else { (d, post, pre) };
        Thunk::Gemm(Gemm {
            dtype: self.dtype(result),
            a,
            b,
            c: None,
            out: side(to),
            m,
            n,
            k: d,
            batch,
            sum_batch: false,
            alpha: None,
            beta: None,
            symmetric: false,
        })
    }

    /// `X_(mode) X_(mode)'`: one product along the last mode, else a sum over what stands before the mode.
    fn gram(&mut self, x: Value, mode: u32, scaling: Scaling, result: Value) -> Thunk {
        let (pre, d, post) = self.around(x, mode);
        let buffer = self.buffer(x);
        let fibers = |row_stride, col_stride, batch_stride| Matrix {
            buffer,
            offset: 0,
            row_stride,
            col_stride,
            batch_stride,
        };
        let last = post == 1;
        let (a, b) = if last {
            (fibers(1, d, 0), fibers(d, 1, 0))
        } else {
            (fibers(post, 1, d * post), fibers(1, post, d * post))
        };
        let gemm = Gemm {
            dtype: self.dtype(result),
            a,
            b,
            c: scaling.added.map(|(c, _)| self.stacked(c, false)),
            out: self.stacked(result, false),
            m: d,
            n: d,
            k: if last { pre } else { post },
            batch: if last { 1 } else { pre },
            sum_batch: !last,
            alpha: None,
            beta: None,
            symmetric: facts::is_symmetric(self.function, result),
        };
        Thunk::Gemm(self.scaled(gemm, scaling))
    }

    fn call(&mut self, kind: &OpKind, results: &[Value], thunks: &mut Vec<Thunk>) {
        let (routine, inputs, on_failure) = match kind {
            OpKind::Eigh {
                x,
                descending,
                on_failure,
            } => (
                Routine::Eigh {
                    descending: *descending,
                },
                vec![*x],
                *on_failure,
            ),
            OpKind::Qr { x, on_failure } => (Routine::Qr, vec![*x], *on_failure),
            OpKind::Svd { x, on_failure } => {
                let count = self.function.dims(results[1])[0];
                (Routine::Svd { count }, vec![*x], *on_failure)
            }
            OpKind::Cholesky { x, on_failure } => (Routine::Cholesky, vec![*x], *on_failure),
            OpKind::SolveTriangular {
                a,
                b,
                upper,
                on_failure,
            } => (
                Routine::SolveTriangular {
                    upper: *upper,
                    transposed: false,
                },
                vec![*a, *b],
                *on_failure,
            ),
            other => unreachable!("no thunk for {other:?}"),
        };
        let inputs = inputs
            .into_iter()
            .map(|value| self.shaped(value, thunks))
            .collect();
        let keep = on_failure.keep.map(|keep| self.shaped(keep, thunks));
        let on_failure = OnFailure {
            retry_f64: on_failure.retry_f64,
            keep,
            nan: on_failure.nan,
        };
        let outputs = results.iter().map(|&result| self.buffers[result]).collect();
        thunks.push(Thunk::Call {
            routine,
            inputs,
            outputs,
            on_failure,
        });
    }

    /// A buffer that has the value's own shape, which a routine reads off its operands: another name for the same
    /// scratch, or a copy of a slot of another shape.
    fn shaped(&mut self, value: Value, thunks: &mut Vec<Thunk>) -> Buffer {
        let (buffer, dims) = (self.buffer(value), self.function.dims(value));
        let (own, offset) = match buffer {
            Buffer::Slot(n) => (&self.function.slots[n as usize].ty.dims, self.scratch_end()),
            Buffer::Temp(n) => (&self.temps[n as usize].dims, self.temps[n as usize].offset),
        };
        if own == dims {
            return buffer;
        }
        let shaped = Temp {
            dtype: self.dtype(value),
            dims: dims.to_vec(),
            offset,
        };
        let shaped = self.temp(shaped);
        if matches!(buffer, Buffer::Slot(_)) {
            thunks.push(Thunk::Copy {
                x: buffer,
                out: shaped,
            });
        }
        shaped
    }

    fn dtype(&self, value: Value) -> DType {
        self.function
            .tensor(value)
            .map_or(DType::F32, |ty| ty.dtype)
    }
}
