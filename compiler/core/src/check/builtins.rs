//! The types of what the functions of the language give, and what they ask of their arguments.

use super::body::{Body, Room};
use super::error::CheckError;
use super::expr::{general, is_numeric};
use super::operators::sum_fact;
use super::phase::Level;
use super::shapes::{self, Matrix};
use super::signatures::Signature;
use super::types::{fact_name, implies};
use crate::hir::{Axis, Builtin, Dim, Expr, ExprKind, Fact, Shape, Type};
use optc_grammar::ast::Span;

/// The length of an axis that was summed.
const ONE: crate::hir::Dim = crate::hir::Dim::Const(1);

/// Boxed: the good case should stay small.
type Checked<T> = Result<T, Box<CheckError>>;

type Typed = Checked<Type>;

/// A call whose arguments have types.
struct Call<'c, 'b, 'a> {
    body: &'c mut Body<'a>,
    signature: &'static Signature,
    args: &'b [Expr],
    span: Span,
}

impl Body<'_> {
    /// The type of a call; no argument has [`Type::Error`].
    pub(super) fn builtin_type(
        &mut self,
        signature: &'static Signature,
        args: &[Expr],
        span: Span,
    ) -> Type {
        use Builtin::{Cholesky, Eigh, Orthonormal, Qr, SolveTriangular, Svd};
        let builtin = signature.builtin;
        self.can_fail |= matches!(
            builtin,
            Eigh | Qr | Orthonormal | Cholesky | Svd | SolveTriangular
        );
        let typed = Call {
            body: self,
            signature,
            args,
            span,
        }
        .result();
        typed.unwrap_or_else(|error| {
            self.report(*error);
            Type::Error
        })
    }
}

impl Call<'_, '_, '_> {
    fn result(&mut self) -> Typed {
        use Builtin::*;
        match self.signature.builtin {
            Sqrt | Exp | Log | Tanh | Sin | Cos => self.map(Type::Float),
            Atan2 => self.angle(),
            Abs | Sign => self.map(self.args[0].ty.clone()),
            Floor => self.map(Type::Int),
            ZerosLike | OnesLike => self.tensor(0).cloned().map(general),
            Min | Max => self.elementwise(0, 1),
            Clamp => self.clamp(),
            Lerp => self.lerp(),
            Select => self.select(),
            Sum | Mean | Norm | Rms | Smallest | Largest => {
                self.tensor(0).map(|_| general(shapes::scalar()))
            }
            Frobenius => Ok(general(self.matrix(0)?.sized(ONE, ONE))),
            RowSums | RowMax => {
                let matrix = self.matrix(0)?;
                Ok(general(matrix.sized(matrix.rows.clone(), ONE)))
            }
            ColumnSums | ColumnMax => {
                let matrix = self.matrix(0)?;
                Ok(general(matrix.sized(ONE, matrix.cols.clone())))
            }
            Epsilon => self.tensor(0).map(|_| Type::Float),
            Dot => self.dot(),
            Numel | Rank => self.tensor(0).map(|_| Type::Int),
            Dim => self.dim(),
            Gram => self.gram(),
            GramMode => self.gram_of_mode(),
            Rotate | RotateBack => self.rotate(),
            Eigh => self.symmetric().map(Type::Eigh),
            Qr => self.single(0).and(self.tensor(0).cloned()).map(Type::Qr),
            Svd => self.svd(),
            Orthonormal => self.orthonormal(),
            Cholesky => self.symmetric().map(|shape| Type::Tensor {
                shape,
                fact: Fact::Lower,
            }),
            SolveTriangular => self.solve(),
            Diag => self.diag(),
            IdentityOf => self.identity_of(),
            Along => self.along(),
            Mod => self.modulo(),
            Triu => self.triangle(Fact::Upper),
            Tril => self.triangle(Fact::Lower),
            NormalLike | UniformLike => {
                let ty = self.tensor(0).cloned().map(general)?;
                self.random(ty)
            }
            Stochastic => {
                let ty = self.map(self.args[0].ty.clone())?;
                self.random(ty)
            }
            Normal => {
                let mut lengths = Vec::new();
                for index in 0..self.args.len() {
                    lengths.push(self.length(index)?);
                }
                self.random(general(shapes::of_dims(lengths)))
            }
            Trace => self.square(0).map(|_| general(shapes::scalar())),
            Argsort => self.argsort(),
            TopK => self.top_k(),
            Gather => self.gather(),
            Scatter | ScatterAdd => self.scatter(),
            Permute => self.permute(),
            PermuteAxes => self.permute_axes(),
            Columns => self.columns(),
            Flatten => self.flatten(0).map(general),
            Unflatten => self.unflatten(),
            Named => self.named(),
            Identity | Chance => Ok(Type::Error),
        }
    }

    fn wrong(&self, index: usize, expected: &str) -> Box<CheckError> {
        Box::new(CheckError::ArgumentType {
            name: self.signature.name.to_owned(),
            argument: self.signature.params[index].0.to_owned(),
            expected: expected.to_owned(),
            found: self.body.describe(&self.args[index].ty),
            usage: self.signature.usage(),
            at: self.args[index].span,
        })
    }

    /// A number that may have a fraction is rounded down; anything else is wrong.
    fn not_whole(&self, index: usize, expected: &str) -> Box<CheckError> {
        let mut error = self.wrong(index, expected);
        if let (CheckError::ArgumentType { usage, at, .. }, Type::Float) =
            (&mut *error, &self.args[index].ty)
        {
            let written = self.body.cx.sink.text(self.body.file, *at);
            *usage = format!("floor({written})` in place of `{written}");
        }
        error
    }

    fn wrong_rank(&self, index: usize, need: &str, shape: &Shape) -> Box<CheckError> {
        let what = format!("`{}`", self.signature.name);
        Box::new(
            self.body
                .wrong_rank(&what, need, shape, self.args[index].span),
        )
    }

    fn tensor(&self, index: usize) -> Checked<&Shape> {
        match &self.args[index].ty {
            Type::Tensor { shape, .. } => Ok(shape),
            _ => Err(self.wrong(index, "a tensor")),
        }
    }

    fn numeric(&self, index: usize) -> Checked<()> {
        if is_numeric(&self.args[index].ty) {
            Ok(())
        } else {
            Err(self.wrong(index, "a number or a tensor"))
        }
    }

    fn matrix(&self, index: usize) -> Checked<Matrix> {
        let shape = self.tensor(index)?;
        Matrix::of(shape).ok_or_else(|| self.wrong_rank(index, "a matrix", shape))
    }

    /// One matrix: factorizations take no stacks, but for `orthonormal`.
    fn single(&self, index: usize) -> Checked<Matrix> {
        let matrix = self.matrix(index)?;
        if matrix.stack.is_empty() {
            return Ok(matrix);
        }
        Err(self.wrong_rank(index, "one matrix", self.tensor(index)?))
    }

    fn square(&self, index: usize) -> Checked<Matrix> {
        let matrix = self.single(index)?;
        if matrix.rows == matrix.cols {
            return Ok(matrix);
        }
        Err(Box::new(CheckError::NotSquare {
            what: format!("`{}`", self.signature.name),
            shape: self.body.show_shape(self.tensor(index)?),
            at: self.args[index].span,
        }))
    }

    /// A whole number that is known at bind.
    fn axis(&mut self, index: usize) -> Checked<&Expr> {
        if self.args[index].ty != Type::Int {
            return Err(self.not_whole(index, "a whole number"));
        }
        self.body.require(&self.args[index], Level::Bind, "an axis");
        Ok(&self.args[index])
    }

    /// One operand: a number gives `host`, a tensor one of its shape.
    fn map(&self, host: Type) -> Typed {
        match &self.args[0].ty {
            Type::Int | Type::Float => Ok(host),
            Type::Tensor { shape, .. } => Ok(general(shape.clone())),
            _ => Err(self.wrong(0, "a number or a tensor")),
        }
    }

    fn elementwise(&mut self, x: usize, y: usize) -> Typed {
        self.numeric(x)?;
        self.numeric(y)?;
        let ty = self
            .body
            .elementwise(&self.args[x], &self.args[y], self.span);
        Ok(ty.unwrap_or(Type::Error))
    }

    /// The angle of two whole numbers is none.
    fn angle(&mut self) -> Typed {
        Ok(match self.elementwise(0, 1)? {
            Type::Int => Type::Float,
            Type::Tensor { shape, .. } => general(shape),
            other => other,
        })
    }

    /// The type of three operands together; bounds and weights do not change the shape of `x`.
    fn clamp(&mut self) -> Typed {
        let low = self.elementwise(0, 1)?;
        let high = self.elementwise(0, 2)?;
        Ok(if low == Type::Int { high } else { low })
    }

    fn lerp(&mut self) -> Typed {
        let ends = self.elementwise(0, 1)?;
        self.numeric(2)?;
        if ends == Type::Error {
            return Ok(ends);
        }
        let whole = Expr {
            kind: ExprKind::Number(0.0),
            ty: ends,
            span: self.args[0].span,
        };
        let ty = self
            .body
            .elementwise(&whole, &self.args[2], self.span)
            .unwrap_or(Type::Error);
        Ok(
            match (ty, &self.args[0].ty, &self.args[1].ty, &self.args[2].ty) {
                (Type::Int, ..) => Type::Float,
                (
                    Type::Tensor { shape, .. },
                    Type::Tensor { fact: a, shape: s },
                    Type::Tensor { fact: b, shape: t },
                    Type::Int | Type::Float,
                ) if s == t => Type::Tensor {
                    shape,
                    fact: sum_fact(*a, *b),
                },
                (ty, ..) => ty,
            },
        )
    }

    fn select(&mut self) -> Typed {
        let mask = match &self.args[0].ty {
            Type::Mask(shape) => shape.clone(),
            _ => {
                return Err(self.wrong(0, "a mask, such as `x > 0`"));
            }
        };
        self.numeric(1)?;
        self.numeric(2)?;
        let mut shape = mask;
        for index in [1, 2] {
            if let Type::Tensor { shape: other, .. } = &self.args[index].ty {
                let (at, of) = (Some(self.args[0].span), Some(self.args[index].span));
                match self.body.broadcast(&shape, other, self.span, at, of) {
                    Some(joined) => shape = joined,
                    None => return Ok(Type::Error),
                }
            }
        }
        Ok(general(shape))
    }

    fn same_shape(&mut self, left: usize, right: &Shape, help: &str) -> Checked<bool> {
        let shape = self.tensor(left)?.clone();
        if shape == *right {
            return Ok(true);
        }
        let at = self.args[left].span;
        self.body
            .shape_mismatch(&shape, right, help, self.span, Some(at), None);
        Ok(false)
    }

    fn dot(&mut self) -> Typed {
        let right = self.tensor(1)?.clone();
        let same = self.same_shape(0, &right, "`dot(x, y)` needs two tensors of one shape")?;
        Ok(if same {
            general(shapes::scalar())
        } else {
            Type::Error
        })
    }

    fn dim(&mut self) -> Typed {
        let shape = self.tensor(0)?.clone();
        self.axis(1)?;
        self.existing_axis(&shape, 1)?;
        Ok(Type::Int)
    }

    /// A constant axis must exist where the rank is known.
    fn existing_axis(&self, shape: &Shape, index: usize) -> Checked<()> {
        let axis = super::constant::constant(&self.args[index]);
        let missing =
            |axis: f64| axis < 0.0 || shapes::rank(shape).is_some_and(|rank| axis >= rank as f64);
        match axis.filter(|axis| missing(*axis)) {
            Some(axis) => Err(Box::new(CheckError::NoSuchAxis {
                axis: axis.to_string(),
                shape: self.body.show_shape(shape),
                at: self.args[index].span,
            })),
            None => Ok(()),
        }
    }

    fn gram(&self) -> Typed {
        let matrix = self.matrix(0)?;
        let shape = matrix.sized(matrix.rows.clone(), matrix.rows.clone());
        Ok(Type::Tensor {
            shape,
            fact: Fact::Symmetric,
        })
    }

    fn gram_of_mode(&mut self) -> Typed {
        let length = self.axis_length(0, 1)?;
        let shape = shapes::of_dims([length.clone(), length]);
        Ok(Type::Tensor {
            shape,
            fact: Fact::Symmetric,
        })
    }

    /// The length of the axis of argument `x` that argument `index` chooses: a mode, or a constant within known axes.
    fn axis_length(&mut self, x: usize, index: usize) -> Checked<Dim> {
        let shape = self.tensor(x)?.clone();
        self.existing_axis(&shape, index)?;
        let axis = self.axis(index)?.clone();
        if let Some(length) = self.body.axis_length(&shape, &axis) {
            return Ok(length);
        }
        let text = self.body.cx.sink.text(self.body.file, axis.span).to_owned();
        let (shape, at) = (self.body.show_shape(&shape), axis.span);
        Err(Box::new(CheckError::NoSuchAxis {
            axis: text,
            shape,
            at,
        }))
    }

    fn rotate(&mut self) -> Typed {
        let Some(param) = self.body.param.clone() else {
            return Ok(Type::Error);
        };
        let help = format!(
            "only tensors of the shape of `{}` have its modes",
            param.name
        );
        let same = self.same_shape(0, &param.shape, &help)?;
        if self.args.len() > 2 {
            self.axis(2)?;
        }
        Ok(if same {
            general(param.shape)
        } else {
            Type::Error
        })
    }

    /// A square matrix that should be symmetric.
    fn symmetric(&mut self) -> Checked<Shape> {
        self.square(0)?;
        if let Type::Tensor { fact, .. } = self.args[0].ty
            && !implies(fact, Fact::Symmetric)
        {
            let name = format!("argument `a` of `{}`", self.signature.name);
            let declared = fact_name(Fact::Symmetric).to_owned();
            self.body.report(CheckError::UnprovenFact {
                name,
                declared,
                at: self.args[0].span,
            });
        }
        self.tensor(0).cloned()
    }

    fn solve(&mut self) -> Typed {
        let a = self.square(0)?;
        let b = self.single(1)?;
        self.triangle_of_solve()?;
        let (expected, help) = if is_word(&self.args[2], "right") {
            let help =
                "`solve_triangular(a, b, side: right)` needs as many columns in `b` as in `a`";
            (a.sized(b.rows.clone(), a.rows.clone()), help)
        } else {
            let help = "`solve_triangular(a, b)` needs as many rows in `b` as in `a`";
            (a.sized(a.rows.clone(), b.cols.clone()), help)
        };
        let same = self.same_shape(1, &expected, help)?;
        Ok(if same { general(expected) } else { Type::Error })
    }

    /// A triangle that is asked for must not be the one that is known to hold nothing.
    fn triangle_of_solve(&self) -> Checked<()> {
        let fact = match self.args[0].ty {
            Type::Tensor { fact, .. } => fact,
            _ => Fact::General,
        };
        let asked = &self.args[3];
        let (wrong, asked_for, known) = match fact {
            Fact::Upper => (is_word(asked, "lower"), "lower", "upper"),
            Fact::Lower => (is_word(asked, "upper"), "upper", "lower"),
            Fact::Diagonal => (false, "", ""),
            _ if is_word(asked, "known") => {
                let expected = "a triangular matrix, such as `cholesky(s)` or `qr(x).r`, \
                                or `triangle: lower` for one half of another";
                return Err(self.wrong(0, expected));
            }
            _ => (false, "", ""),
        };
        if !wrong {
            return Ok(());
        }
        Err(Box::new(CheckError::OtherTriangle {
            asked: asked_for.to_owned(),
            known: known.to_owned(),
            at: asked.span,
            origin: self.args[0].span,
        }))
    }

    fn orthonormal(&self) -> Typed {
        let matrix = self.matrix(0)?;
        let square = matrix.rows == matrix.cols && matrix.stack.is_empty();
        Ok(Type::Tensor {
            shape: matrix.sized(matrix.rows.clone(), matrix.cols.clone()),
            fact: if square {
                Fact::Orthogonal
            } else {
                Fact::General
            },
        })
    }

    fn svd(&mut self) -> Typed {
        let matrix = self.single(0)?;
        let shape = self.tensor(0)?.clone();
        let count = match self.args.get(1) {
            None => self.body.smaller(&matrix),
            Some(_) => self.length(1)?,
        };
        Ok(Type::Svd(shape, count))
    }

    /// A length that is known at bind.
    fn length(&mut self, index: usize) -> Checked<Dim> {
        if self.args[index].ty != Type::Int {
            return Err(self.not_whole(index, "a whole number, such as `dim(w, 0)`"));
        }
        self.body
            .require(&self.args[index], Level::Bind, "a length");
        Ok(self.body.dim_of(&self.args[index]))
    }

    /// Of a matrix a vector, of a vector a matrix.
    fn diag(&self) -> Typed {
        match self.tensor(0)?.line() {
            Some(length) => Ok(Type::Tensor {
                shape: shapes::of_dims([length.clone(), length.clone()]),
                fact: Fact::Diagonal,
            }),
            None => self
                .square(0)
                .map(|matrix| general(matrix.vectors(matrix.rows.clone()))),
        }
    }

    fn identity_of(&mut self) -> Typed {
        let length = self.length(0)?;
        Ok(Type::Tensor {
            shape: shapes::of_dims([length.clone(), length]),
            fact: Fact::Diagonal,
        })
    }

    fn triangle(&self, fact: Fact) -> Typed {
        let matrix = self.square(0)?;
        Ok(Type::Tensor {
            shape: matrix.sized(matrix.rows.clone(), matrix.cols.clone()),
            fact,
        })
    }

    /// A draw of that type: by rules, not by functions.
    fn random(&self, ty: Type) -> Typed {
        if self.body.room == super::body::Room::Function {
            return Err(Box::new(CheckError::RandomInFunction {
                name: self.signature.name.to_owned(),
                at: self.span,
            }));
        }
        Ok(ty)
    }

    fn along(&mut self) -> Typed {
        let length = self.axis_length(0, 1)?;
        self.square(2)?;
        let expected = shapes::of_dims([length.clone(), length]);
        let help = "`along(x, i, a)` needs a square matrix of the length of mode `i`";
        let same = self.same_shape(2, &expected, help)?;
        Ok(if same {
            general(self.tensor(0)?.clone())
        } else {
            Type::Error
        })
    }

    /// Two numbers: whole numbers leave a whole remainder.
    fn modulo(&self) -> Typed {
        for index in [0, 1] {
            if !matches!(self.args[index].ty, Type::Int | Type::Float) {
                return Err(self.wrong(index, "a number"));
            }
        }
        Ok(match (&self.args[0].ty, &self.args[1].ty) {
            (Type::Int, Type::Int) => Type::Int,
            _ => Type::Float,
        })
    }

    fn argsort(&self) -> Typed {
        let of = self.vector(0)?;
        Ok(Type::Indices {
            count: of.clone(),
            of,
        })
    }

    /// The length of a vector, a row or a column.
    fn vector(&self, index: usize) -> Checked<Dim> {
        let shape = self.tensor(index)?;
        match shape.axes.as_slice() {
            [Axis::Dim(n)] | [Axis::Dim(ONE), Axis::Dim(n)] | [Axis::Dim(n), Axis::Dim(ONE)] => {
                Ok(n.clone())
            }
            _ => Err(self.wrong_rank(index, "a vector", shape)),
        }
    }

    /// The number of places is known by itself: there are never more than elements.
    fn top_k(&mut self) -> Typed {
        let of = self.vector(0)?;
        self.axis(1)?;
        let k = self.args[1].span;
        let text = self.body.cx.sink.text(self.body.file, k).to_owned();
        let length = self.body.show_dim(&of);
        let key = format!("top {} of {length}", super::same::key(&self.args[1]));
        let count = self.body.fresh_dim(key, format!("min({text}, {length})"));
        Ok(Type::Indices { count, of })
    }

    /// The shape of the elements of argument 0 that argument 2 chooses along axis argument 1.
    fn chosen(&mut self) -> Checked<Shape> {
        let length = self.axis_length(0, 1)?;
        let Type::Indices { count, of } = self.args[2].ty.clone() else {
            return Err(self.wrong(2, "indices, such as `top_k(v, k)`"));
        };
        if of != length {
            let (expected, found) = (shapes::of_dims([length]), shapes::of_dims([of]));
            let help = "the indices must be those of the axis";
            let at = self.args[2].span;
            self.body
                .shape_mismatch(&expected, &found, help, self.span, None, Some(at));
        }
        let mut shape = self.tensor(0)?.clone();
        if let Some(axis) = super::constant::constant(&self.args[1]) {
            shape.axes[axis as usize] = Axis::Dim(count);
        }
        Ok(shape)
    }

    fn gather(&mut self) -> Typed {
        self.chosen().map(general)
    }

    fn scatter(&mut self) -> Typed {
        let expected = self.chosen()?;
        let help = "the new elements must have the shape of `gather(x, axis, index)`";
        let same = self.same_shape(3, &expected, help)?;
        let whole = self.tensor(0)?.clone();
        Ok(if same { general(whole) } else { Type::Error })
    }

    fn permute(&mut self) -> Typed {
        let length = self.axis_length(0, 1)?;
        self.order_of(2, length)?;
        self.tensor(0).cloned().map(general)
    }

    /// `permute(x, (2, 0, 1))`
    fn permute_axes(&self) -> Typed {
        let shape = self.tensor(0)?;
        let Some(rank) = shapes::rank(shape) else {
            return Err(self.wrong_rank(0, "known axes", shape));
        };
        let written = super::views::permutation(&self.args[1]);
        let Some(axes) = written.filter(|axes| axes.len() == rank) else {
            let at = self.args[1].span;
            return Err(Box::new(CheckError::BadPermutation { at }));
        };
        let axes = axes.iter().map(|&axis| shape.axes[axis as usize].clone());
        Ok(general(Shape {
            axes: axes.collect(),
        }))
    }

    fn columns(&mut self) -> Typed {
        let matrix = self.matrix(0)?;
        self.order_of(1, matrix.cols)?;
        let Type::Tensor { shape, fact } = &self.args[0].ty else {
            return Ok(Type::Error);
        };
        let fact = if *fact == Fact::Orthogonal {
            Fact::Orthogonal
        } else {
            Fact::General
        };
        Ok(Type::Tensor {
            shape: shape.clone(),
            fact,
        })
    }

    /// Indices for an axis of that length.
    fn order_of(&mut self, index: usize, length: Dim) -> Checked<()> {
        let Type::Indices { count, of } = self.args[index].ty.clone() else {
            return Err(self.wrong(index, "indices, such as `argsort(v)`"));
        };
        let (found, expected) = (shapes::of_dims([count]), shapes::of_dims([length.clone()]));
        if found != expected || of != length {
            let help = "the order must have one index for each place of the axis";
            let at = self.args[index].span;
            self.body
                .shape_mismatch(&expected, &found, help, self.span, None, Some(at));
        }
        Ok(())
    }

    /// Only rules have a parameter with a name.
    fn named(&mut self) -> Typed {
        let place = match self.body.room {
            Room::Rule | Room::Setting("a guard" | "a setting of another optimizer") => {
                return Ok(Type::Bool);
            }
            room => room.name(),
        };
        let help = "ask in a rule or its guard, and pass the answer on";
        self.body
            .misplaced("`named`", place, help, self.args[0].span);
        Ok(Type::Error)
    }

    fn unflatten(&mut self) -> Typed {
        let flat = self.flatten(2)?;
        let help = "only what has the shape of `flatten(like, from)` can be unflattened";
        let same = self.same_shape(0, &flat, help)?;
        let whole = self.tensor(2)?.clone();
        Ok(if same { general(whole) } else { Type::Error })
    }

    /// The shape of an argument with the axes from argument 1 on as one.
    fn flatten(&mut self, x: usize) -> Checked<Shape> {
        let shape = self.tensor(x)?.clone();
        self.axis(1)?;
        self.existing_axis(&shape, 1)?;
        let from = super::constant::constant(&self.args[1]).unwrap_or(f64::INFINITY);
        let front = shape
            .axes
            .get(..from.min(1e9) as usize)
            .filter(|_| from < 1e9);
        let known = front.filter(|axes| {
            axes.iter()
                .all(|axis| matches!(axis, crate::hir::Axis::Dim(_)))
        });
        let Some(front) = known else {
            return Err(self.wrong_rank(x, "known axes before the first merged one", &shape));
        };
        let mut axes = front.to_vec();
        let merged = match shapes::only_long(&shape.axes[axes.len()..]) {
            Some(length) => length,
            None => {
                let key = format!("axes from {from} of {}", self.body.show_shape(&shape));
                self.body.fresh_dim(key, "…".to_owned())
            }
        };
        axes.push(Axis::Dim(merged));
        Ok(Shape { axes })
    }
}

fn is_word(arg: &Expr, word: &str) -> bool {
    matches!(&arg.kind, ExprKind::Word(found) if found == word)
}
