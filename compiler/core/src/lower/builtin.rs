//! Functions of the language: on numbers they are host functions, on tensors operations.

use super::{Lowerer, Val};
use crate::dtype::DType;
use crate::hir::{BinaryOp, Builtin, Expr, Fact};
use crate::ir::numel;
use crate::ir::{Math, OpKind, Reduce, TensorType, Type, Value};
use crate::kernel::{self, CompareOp, Fold};
use crate::plan::{HostBinary, HostUnary};
use crate::random::Distribution;

impl<'p> Lowerer<'p> {
    pub(super) fn builtin(&mut self, builtin: Builtin, args: &'p [Expr]) -> Val {
        use Builtin as B;
        let args_of_family = matches!(builtin, B::Rotate | B::RotateBack);
        match builtin {
            B::Identity => Val::Identity,
            B::Named => {
                let words = match self.expr(&args[0]) {
                    Val::Word(words) => words,
                    other => unreachable!("words are {other:?}"),
                };
                let found = super::names::matches(&words, self.name);
                Val::Number(f64::from(u8::from(found)))
            }
            B::Numel | B::Rank | B::Dim => self.shape_query(builtin, args),
            B::Epsilon => {
                let x = self.tensor(&args[0]);
                Val::Number(self.stored_dtype(x).epsilon())
            }
            B::Eigh | B::Qr | B::Orthonormal | B::Svd | B::Cholesky | B::SolveTriangular => {
                self.factorization(builtin, args)
            }
            B::Argsort | B::TopK => self.order(builtin, args),
            B::GramMode
            | B::Permute
            | B::PermuteAxes
            | B::Columns
            | B::Flatten
            | B::Unflatten
            | B::Gather
            | B::Scatter
            | B::ScatterAdd
            | B::Along => self.structured(builtin, args),
            B::Diag if is_line(&args[0]) => Val::Tensor(self.diagonal_of_line(&args[0])),
            B::IdentityOf => Val::Tensor(self.identity_of(&args[0])),
            B::Chance => Val::Host(self.chance()),
            B::Normal | B::NormalLike | B::UniformLike => Val::Tensor(self.random(builtin, args)),
            _ if args_of_family => self.rotate(args, builtin == B::RotateBack),
            _ => {
                let args: Vec<Val> = args.iter().map(|arg| self.expr(arg)).collect();
                if args.iter().any(|arg| matches!(arg, Val::Tensor(_))) {
                    let values: Vec<Value> = args.into_iter().map(|arg| self.value(arg)).collect();
                    Val::Tensor(self.tensor_fn(builtin, &values))
                } else {
                    self.number_fn(builtin, &args)
                }
            }
        }
    }

    fn number_fn(&mut self, builtin: Builtin, args: &[Val]) -> Val {
        let arg = |n: usize| args[n].clone();
        match builtin {
            Builtin::Sqrt => self.host_fn(HostUnary::Sqrt, arg(0)),
            Builtin::Abs => self.host_fn(HostUnary::Abs, arg(0)),
            Builtin::Exp => self.host_fn(HostUnary::Exp, arg(0)),
            Builtin::Log => self.host_fn(HostUnary::Log, arg(0)),
            Builtin::Floor => self.host_fn(HostUnary::Floor, arg(0)),
            Builtin::Sin => self.host_fn(HostUnary::Sin, arg(0)),
            Builtin::Cos => self.host_fn(HostUnary::Cos, arg(0)),
            Builtin::Atan2 => self.host_op(HostBinary::Atan2, arg(0), arg(1)),
            Builtin::Min => self.host_op(HostBinary::Min, arg(0), arg(1)),
            Builtin::Max => self.host_op(HostBinary::Max, arg(0), arg(1)),
            Builtin::Mod => self.host_op(HostBinary::Mod, arg(0), arg(1)),
            Builtin::Clamp => {
                let above = self.host_op(HostBinary::Max, arg(0), arg(1));
                self.host_op(HostBinary::Min, above, arg(2))
            }
            Builtin::Lerp => {
                let way = self.host_op(HostBinary::Sub, arg(1), arg(0));
                let part = self.host_op(HostBinary::Mul, arg(2), way);
                self.host_op(HostBinary::Add, arg(0), part)
            }
            Builtin::Sign => {
                let above = self.host_op(HostBinary::Lt, Val::Number(0.0), arg(0));
                let below = self.host_op(HostBinary::Lt, arg(0), Val::Number(0.0));
                self.host_op(HostBinary::Sub, above, below)
            }
            Builtin::Tanh => {
                let doubled = self.host_op(HostBinary::Mul, Val::Number(2.0), arg(0));
                let e = self.host_fn(HostUnary::Exp, doubled);
                let below = self.host_op(HostBinary::Add, e, Val::Number(1.0));
                let part = self.host_op(HostBinary::Div, Val::Number(2.0), below);
                self.host_op(HostBinary::Sub, Val::Number(1.0), part)
            }
            Builtin::Select => {
                let (c, a, b) = (self.host(arg(0)), self.host(arg(1)), self.host(arg(2)));
                Val::Host(self.build.push_one(OpKind::HostSelect(c, a, b), Type::Host))
            }
            other => unreachable!("{other:?} of numbers"),
        }
    }

    fn tensor_fn(&mut self, builtin: Builtin, args: &[Value]) -> Value {
        use kernel::{BinaryOp as Map, UnaryOp as MapUnary};
        match builtin {
            Builtin::Sqrt => self.build.unary(MapUnary::Sqrt, args[0]),
            Builtin::Abs => self.build.unary(MapUnary::Abs, args[0]),
            Builtin::Floor => self.build.unary(MapUnary::Floor, args[0]),
            Builtin::Exp => self.build.math(Math::Exp, args[0]),
            Builtin::Log => self.build.math(Math::Log, args[0]),
            Builtin::Tanh => self.build.math(Math::Tanh, args[0]),
            Builtin::Sin => self.build.math(Math::Sin, args[0]),
            Builtin::Cos => self.build.math(Math::Cos, args[0]),
            Builtin::Atan2 => self.build.atan2(args[0], args[1]),
            Builtin::Min => self.build.binary(Map::Min, args[0], args[1]),
            Builtin::Max => self.build.binary(Map::Max, args[0], args[1]),
            Builtin::Clamp => {
                let above = self.build.binary(Map::Max, args[0], args[1]);
                self.build.binary(Map::Min, above, args[2])
            }
            Builtin::Lerp => self.build.lerp(args[0], args[1], args[2]),
            Builtin::Select => self.build.select(args[0], args[1], args[2]),
            Builtin::Sign => self.sign(args[0]),
            Builtin::ZerosLike | Builtin::OnesLike => {
                let value = self
                    .build
                    .constant(f64::from(u8::from(builtin == Builtin::OnesLike)));
                let (dtype, dims) = self.build.parts(args[0]);
                self.build.fill(value, TensorType { dtype, dims })
            }
            Builtin::Gram => self.build.matmul(args[0], false, args[0], true),
            Builtin::Diag => match *self.build.function.def(args[0]) {
                OpKind::Gram {
                    x,
                    mode,
                    alpha: None,
                    added: None,
                } => self.squares_along(x, mode as usize),
                _ => self.diag(args[0]),
            },
            Builtin::Triu | Builtin::Tril => self.triangle(args[0], builtin == Builtin::Triu),
            Builtin::Trace => {
                let diagonal = self.diag(args[0]);
                self.build.sum(diagonal, Reduce::All)
            }
            other => self.reduction(other, args),
        }
    }

    fn reduction(&mut self, builtin: Builtin, args: &[Value]) -> Value {
        use kernel::{BinaryOp as Map, UnaryOp as MapUnary};
        let x = args[0];
        let (_, dims) = self.build.parts(x);
        match builtin {
            Builtin::Sum => self.build.sum(x, Reduce::All),
            Builtin::Mean => {
                let sum = self.build.sum(x, Reduce::All);
                self.divided_by_count(sum, &dims)
            }
            Builtin::Dot => {
                let terms = self.build.binary(Map::Mul, x, args[1]);
                self.build.sum(terms, Reduce::All)
            }
            Builtin::Norm | Builtin::Rms => {
                let squares = self.build.binary(Map::Mul, x, x);
                let sum = self.build.sum(squares, Reduce::All);
                let sum = if builtin == Builtin::Rms {
                    self.divided_by_count(sum, &dims)
                } else {
                    sum
                };
                self.build.unary(MapUnary::Sqrt, sum)
            }
            Builtin::Frobenius => {
                let squares = self.build.binary(Map::Mul, x, x);
                let stack = dims.len() - 2;
                let over = if stack == 0 {
                    Reduce::All
                } else {
                    Reduce::From(stack)
                };
                let sum = self.build.sum(squares, over);
                let mut kept = dims[..stack].to_vec();
                kept.extend([1, 1]);
                let sum = self.build.reshape(sum, kept);
                self.build.unary(MapUnary::Sqrt, sum)
            }
            Builtin::Largest => self.build.reduce(Fold::Max, x, Reduce::All),
            Builtin::Smallest => {
                let turned = self.build.unary(MapUnary::Neg, x);
                let largest = self.build.reduce(Fold::Max, turned, Reduce::All);
                self.build.unary(MapUnary::Neg, largest)
            }
            Builtin::RowSums => self.of_rows(Fold::Sum, x, &dims),
            Builtin::RowMax => self.of_rows(Fold::Max, x, &dims),
            Builtin::ColumnSums => self.of_columns(Fold::Sum, x, &dims),
            Builtin::ColumnMax => self.of_columns(Fold::Max, x, &dims),
            other => unreachable!("{other:?} of tensors"),
        }
    }

    fn of_rows(&mut self, fold: Fold, x: Value, dims: &[u64]) -> Value {
        let last = dims.len() - 1;
        let reduced = self.build.reduce(fold, x, Reduce::From(last));
        self.build.reshape(reduced, [&dims[..last], &[1]].concat())
    }

    fn of_columns(&mut self, fold: Fold, x: Value, dims: &[u64]) -> Value {
        let stack = dims.len() - 2;
        let reduced = if stack == 0 {
            self.build.reduce(fold, x, Reduce::Before(1))
        } else {
            let turned = self.build.transpose(x);
            self.build.reduce(fold, turned, Reduce::From(stack + 1))
        };
        let kept = [&dims[..stack], &[1, dims[stack + 1]]].concat();
        self.build.reshape(reduced, kept)
    }

    /// How a tensor is stored: a slot that was read may be held in a wider type.
    fn stored_dtype(&self, x: Value) -> DType {
        match self.build.function.def(x) {
            OpKind::Cast(inner) if matches!(self.build.function.def(*inner), OpKind::Slot(_)) => {
                self.build.parts(*inner).0
            }
            _ => self.build.parts(x).0,
        }
    }

    fn divided_by_count(&mut self, sum: Value, dims: &[u64]) -> Value {
        let count = self.build.constant(numel(dims) as f64);
        self.tensor_binary(BinaryOp::Div, sum, count)
    }

    /// −1, 0 or 1; 0 of NaN, as LibTorch has it.
    fn sign(&mut self, x: Value) -> Value {
        let [zero, one, minus] = [0.0, 1.0, -1.0].map(|c| self.build.constant(c));
        let below = self.build.compare(CompareOp::Lt, x, zero);
        let ty = self.build.function.ty(x).clone();
        let Type::Tensor(tensor) = ty else {
            unreachable!("the sign of a tensor")
        };
        let nothing = self.build.fill(zero, tensor);
        let negative = self.build.select(below, minus, nothing);
        let above = self.build.compare(CompareOp::Gt, x, zero);
        self.build.select(above, one, negative)
    }

    fn diag(&mut self, a: Value) -> Value {
        let (dtype, dims) = self.build.parts(a);
        let ty = TensorType {
            dtype,
            dims: vec![dims[0]],
        };
        self.build.push_one(OpKind::Diag(a), Type::Tensor(ty))
    }

    /// The type of a tensor that is made of lengths alone.
    fn fresh_type(&self, dims: Vec<u64>) -> TensorType {
        let param = self.build.function.slots.first();
        let around = param.map_or(DType::F64, |slot| slot.ty.dtype.compute());
        TensorType {
            dtype: self.context.unwrap_or(around),
            dims,
        }
    }

    /// The number of the next draw: equal programs give equal numbers.
    fn site(&mut self, of_branch: bool) -> u32 {
        let draws = &mut self.draws[usize::from(of_branch)];
        *draws += 1;
        *draws - 1
    }

    /// Numbers in [0, 1) for what is rounded here.
    pub(super) fn noise(&mut self) -> OpKind {
        OpKind::Random(Distribution::Uniform, self.site(false))
    }

    fn chance(&mut self) -> Value {
        let kind = OpKind::Chance(self.site(true));
        self.build.push_one(kind, Type::Host)
    }

    fn random(&mut self, builtin: Builtin, args: &'p [Expr]) -> Value {
        let ty = if builtin == Builtin::Normal {
            let dims = args.iter().map(|length| self.count(length)).collect();
            self.fresh_type(dims)
        } else {
            let like = self.tensor(&args[0]);
            let (dtype, dims) = self.build.parts(like);
            TensorType { dtype, dims }
        };
        let distribution = match builtin {
            Builtin::UniformLike => Distribution::Uniform,
            _ => Distribution::Normal,
        };
        let kind = OpKind::Random(distribution, self.site(false));
        self.build.push_one(kind, Type::Tensor(ty))
    }

    fn identity_of(&mut self, n: &'p Expr) -> Value {
        let n = self.count(n);
        let ty = self.fresh_type(vec![n, n]);
        let one = self.build.constant(1.0);
        self.build.push_one(OpKind::Identity(one), Type::Tensor(ty))
    }

    /// The vector on the diagonal, 0 elsewhere; products with it scale rows or columns, see [`Lowerer::scaled`].
    fn diagonal_matrix(&mut self, v: Value) -> Value {
        let (dtype, dims) = self.build.parts(v);
        let n = dims[0];
        let [zero, one] = [0.0, 1.0].map(|c| self.build.constant(c));
        let ty = Type::Tensor(TensorType {
            dtype,
            dims: vec![n, n],
        });
        let identity = self.build.push_one(OpKind::Identity(one), ty);
        let on_diagonal = self.build.compare(CompareOp::Eq, identity, one);
        let row = self.build.reshape(v, vec![1, n]);
        let matrix = self.build.select(on_diagonal, row, zero);
        self.diagonals.insert(matrix, v);
        matrix
    }

    /// A mode product; with a diagonal matrix it scales.
    fn along(&mut self, x: Value, mode: u32, a: Value) -> Value {
        let Some(&v) = self.diagonals.get(&a) else {
            return self.build.contract(x, a, mode, true);
        };
        let mut dims = vec![1; self.build.function.dims(x).len()];
        dims[mode as usize] = self.build.function.dims(v)[0];
        let factors = self.build.reshape(v, dims);
        self.build.binary(kernel::BinaryOp::Mul, x, factors)
    }

    /// The diagonal of the Gram matrix of a mode, without the matrix.
    fn squares_along(&mut self, x: Value, mode: usize) -> Value {
        let squares = self.build.binary(kernel::BinaryOp::Mul, x, x);
        let dims = self.build.function.dims(x).to_vec();
        let mut axes: Vec<u32> = (0..dims.len() as u32).collect();
        axes[..=mode].rotate_right(1);
        let first = self.build.permute(squares, axes);
        let rest = numel(&dims) / dims[mode].max(1);
        let matrix = self.build.reshape(first, vec![dims[mode], rest]);
        self.build.sum(matrix, Reduce::From(1))
    }

    fn triangle(&mut self, a: Value, upper: bool) -> Value {
        let ty = self.build.function.ty(a).clone();
        let ones = self.build.push_one(OpKind::Triangle { upper }, ty);
        let zero = self.build.constant(0.0);
        let inside = self.build.compare(CompareOp::Gt, ones, zero);
        self.build.select(inside, a, zero)
    }

    /// A product with a diagonal matrix: the columns of the left side or the rows of the right side, scaled.
    pub(super) fn scaled(&mut self, a: Value, b: Value) -> Option<Value> {
        let (x, v, is_row) = match (self.diagonals.get(&a), self.diagonals.get(&b)) {
            (_, Some(&v)) => (a, v, true),
            (Some(&v), None) => (b, v, false),
            (None, None) => return None,
        };
        let n = self.build.function.dims(v)[0];
        let factors = if is_row { vec![1, n] } else { vec![n, 1] };
        let factors = self.build.reshape(v, factors);
        Some(self.build.binary(kernel::BinaryOp::Mul, x, factors))
    }

    fn shape_query(&mut self, builtin: Builtin, args: &'p [Expr]) -> Val {
        let x = self.tensor(&args[0]);
        let dims = self.build.function.dims(x).to_vec();
        match builtin {
            Builtin::Numel => Val::Number(numel(&dims) as f64),
            Builtin::Rank => Val::Number(dims.len() as f64),
            _ => {
                let axis = self.count(&args[1]) as usize;
                Val::Number(dims.get(axis).map_or(1.0, |&d| d as f64))
            }
        }
    }

    fn rotate(&mut self, args: &'p [Expr], back: bool) -> Val {
        let mut x = self.tensor(&args[0]);
        let Val::Family(members) = self.expr(&args[1]) else {
            unreachable!("a family of states")
        };
        let left_alone = args.get(2).map(|mode| self.count(mode));
        let dtype = self.build.parts(x).0;
        let turned = members.into_iter();
        for (mode, q) in turned.filter(|(mode, _)| Some(u64::from(*mode)) != left_alone) {
            let q = self.build.cast(q, dtype);
            x = self.build.contract(x, q, mode, back);
        }
        Val::Tensor(x)
    }

    fn structured(&mut self, builtin: Builtin, args: &'p [Expr]) -> Val {
        let x = self.tensor(&args[0]);
        let rank = self.build.function.dims(x).len() as u32;
        Val::Tensor(match builtin {
            Builtin::GramMode => {
                let mode = self.count(&args[1]) as u32;
                self.build.gram(x, mode)
            }
            Builtin::Along => {
                let mode = self.count(&args[1]) as u32;
                let a = self.tensor(&args[2]);
                self.along(x, mode, a)
            }
            Builtin::Permute | Builtin::Gather => {
                let axis = self.count(&args[1]) as u32;
                let index = self.tensor(&args[2]);
                self.build.gather(x, axis, index)
            }
            Builtin::PermuteAxes => {
                let Val::Table(rows) = self.expr(&args[1]) else {
                    unreachable!("axes are written as a table")
                };
                let axes = rows[0].iter().map(|&axis| axis as u32).collect();
                self.build.permute(x, axes)
            }
            Builtin::Scatter | Builtin::ScatterAdd => {
                let axis = self.count(&args[1]) as u32;
                let (index, y) = (self.tensor(&args[2]), self.tensor(&args[3]));
                let ty = self.build.function.ty(x).clone();
                let y = self.build.cast(y, self.build.parts(x).0);
                let y = match builtin {
                    Builtin::ScatterAdd => {
                        let old = self.build.gather(x, axis, index);
                        self.build.binary(kernel::BinaryOp::Add, old, y)
                    }
                    _ => y,
                };
                let kind = OpKind::Scatter { x, axis, index, y };
                self.build.push_one(kind, ty)
            }
            Builtin::Columns => {
                let index = self.tensor(&args[1]);
                self.build.gather(x, rank - 1, index)
            }
            Builtin::Unflatten => {
                let like = self.tensor(&args[2]);
                let dims = self.build.function.dims(like).to_vec();
                self.build.reshape(x, dims)
            }
            _ => {
                let from = self.count(&args[1]) as usize;
                let dims =
                    super::view::flattened(self.build.function.dims(x), from.min(rank as usize));
                self.build.reshape(x, dims)
            }
        })
    }

    /// The order of a vector, a row or a column; of the largest first for `top_k`.
    fn order(&mut self, builtin: Builtin, args: &'p [Expr]) -> Val {
        let x = self.tensor(&args[0]);
        let length = numel(self.build.function.dims(x));
        let x = self.build.reshape(x, vec![length]);
        let (count, descending) = match builtin {
            Builtin::TopK => (self.count(&args[1]).min(length), true),
            _ => (length, self.word_is(&args[1], "descending")),
        };
        let ty = Type::Tensor(TensorType {
            dtype: DType::I64,
            dims: vec![count],
        });
        Val::Tensor(self.build.push_one(OpKind::Argsort { x, descending }, ty))
    }

    fn factorization(&mut self, builtin: Builtin, args: &'p [Expr]) -> Val {
        let x = self.tensor(&args[0]);
        let (dtype, dims) = self.build.parts(x);
        let on_failure = self.on_failure;
        let tensor = |dims: Vec<u64>| Type::Tensor(TensorType { dtype, dims });
        match builtin {
            Builtin::Eigh => {
                let descending = self.word_is(&args[1], "descending");
                let types = vec![tensor(vec![dims[0]]), tensor(dims)];
                let results = self.build.push(
                    OpKind::Eigh {
                        x,
                        descending,
                        on_failure,
                    },
                    types,
                );
                Val::Results(results)
            }
            Builtin::Qr => {
                let inner = dims[0].min(dims[1]);
                let types = vec![tensor(vec![dims[0], inner]), tensor(vec![inner, dims[1]])];
                let results = self.build.push(OpKind::Qr { x, on_failure }, types);
                Val::Results(results)
            }
            Builtin::Orthonormal => {
                Val::Tensor(self.of_each_matrix(x, |lowerer, x| lowerer.orthonormal(x)))
            }
            Builtin::Svd => {
                let least = dims[0].min(dims[1]);
                let count = args.get(1).map_or(least, |rank| self.count(rank));
                let shapes = [vec![dims[0], count], vec![count], vec![dims[1], count]];
                let types = shapes.map(tensor).to_vec();
                Val::Results(self.build.push(OpKind::Svd { x, on_failure }, types))
            }
            Builtin::Cholesky => Val::Tensor(
                self.build
                    .push_one(OpKind::Cholesky { x, on_failure }, tensor(dims)),
            ),
            _ => Val::Tensor(self.solve(x, args)),
        }
    }

    /// `x` with op(a) x = b, or x op(a) = b: of the transposes, if the matrix stands on the right.
    fn solve(&mut self, a: Value, args: &'p [Expr]) -> Value {
        let [right, lower, upper] = [(2, "right"), (3, "lower"), (3, "upper")]
            .map(|(arg, word)| self.word_is(&args[arg], word));
        let [transposed, unit] = [4, 5].map(|flag| self.expr(&args[flag]) == Val::Number(1.0));
        let b = self.tensor(&args[1]);
        let (a, upper) = match args[0].ty {
            crate::hir::Type::Tensor {
                fact: fact @ (Fact::Upper | Fact::Lower),
                ..
            } => (a, fact == Fact::Upper),
            _ if upper || lower => (self.triangle(a, upper), upper),
            _ => (a, false),
        };
        let a = if unit { self.with_unit_diagonal(a) } else { a };
        let turned = transposed != right;
        let (a, upper) = match turned {
            true => (self.build.transpose(a), !upper),
            false => (a, upper),
        };
        let b = if right { self.build.transpose(b) } else { b };
        let [a, b] = self.build.in_one_dtype([a, b]);
        let ty = self.build.function.ty(b).clone();
        let solve = OpKind::SolveTriangular {
            a,
            b,
            upper,
            on_failure: self.on_failure,
        };
        let x = self.build.push_one(solve, ty);
        if right { self.build.transpose(x) } else { x }
    }

    fn with_unit_diagonal(&mut self, a: Value) -> Value {
        let ty = self.build.function.ty(a).clone();
        let [zero, one] = [0.0, 1.0].map(|c| self.build.constant(c));
        let identity = self.build.push_one(OpKind::Identity(one), ty);
        let diagonal = self.build.compare(CompareOp::Gt, identity, zero);
        self.build.select(diagonal, one, a)
    }

    /// The diagonal matrix of a vector, a row or a column.
    fn diagonal_of_line(&mut self, x: &'p Expr) -> Value {
        let x = self.tensor(x);
        let length = numel(self.build.function.dims(x));
        let vector = self.build.reshape(x, vec![length]);
        self.diagonal_matrix(vector)
    }

    /// What `of` makes of every matrix of a stack, in the shape of the stack.
    fn of_each_matrix(&mut self, x: Value, of: impl Fn(&mut Self, Value) -> Value) -> Value {
        let dims = self.build.function.dims(x).to_vec();
        let (stack, matrix) = dims.split_at(dims.len() - 2);
        let count = numel(stack);
        if stack.is_empty() {
            return of(self, x);
        }
        if count == 0 {
            return x;
        }
        let listed = [count, matrix[0], matrix[1]];
        let all = self.build.reshape(x, listed.to_vec());
        let made = (0..count).map(|n| {
            let one = self.build.slice(all, 0, n, 1);
            let one = self.build.reshape(one, matrix.to_vec());
            let made = of(self, one);
            self.build.reshape(made, vec![1, matrix[0], matrix[1]])
        });
        let made = made.collect();
        let joined = self.build.concat(made, 0);
        self.build.reshape(joined, dims)
    }

    fn orthonormal(&mut self, x: Value) -> Value {
        let (dtype, dims) = self.build.parts(x);
        let on_failure = self.on_failure;
        let tensor = |dims: Vec<u64>| Type::Tensor(TensorType { dtype, dims });
        if dims[0] >= dims[1] {
            let shapes = [dims.clone(), vec![dims[1], dims[1]]];
            let qr = OpKind::Qr { x, on_failure };
            return self.build.push(qr, shapes.map(tensor).to_vec())[0];
        }
        // More columns than rows: the last ones are zero.
        let shapes = [dims.clone(), vec![dims[1]], vec![dims[1], dims[1]]];
        let svd = OpKind::Svd { x, on_failure };
        self.build.push(svd, shapes.map(tensor).to_vec())[0]
    }

    fn word_is(&mut self, expr: &'p Expr, word: &str) -> bool {
        self.expr(expr) == Val::Word(word.to_owned())
    }
}

fn is_line(x: &Expr) -> bool {
    matches!(&x.ty, crate::hir::Type::Tensor { shape, .. } if shape.line().is_some())
}
