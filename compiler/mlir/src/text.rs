//! MLIR as text, with values and types kept as Rust values.
//!
//! ```text
//! let sum = emit!(t, "arith.addf {a}, {b} : {ty}");    // %7 = arith.addf %3, %5 : vector<16xf32>
//! ```
//!
//! The text goes through MLIR's own parser and verifier, so an op that is malformed comes back as a diagnostic and
//! never as an abort, and nothing here borrows from a context. Attributes and dialects are not modelled: the caller
//! writes the op as the MLIR manual does.

use std::fmt;

/// Appends one op with a single result and returns the result.
macro_rules! emit {
    ($text:expr, $($op:tt)*) => { $text.op(format_args!($($op)*)) };
}

/// Appends one op without results.
macro_rules! act {
    ($text:expr, $($op:tt)*) => { $text.line(format_args!($($op)*)) };
}

pub(crate) use {act, emit};

/// The SSA value of a text: `%4`, or `%4#1` for one of several results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    id: u32,
    result: Option<u32>,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            None => write!(f, "%{}", self.id),
            Some(n) => write!(f, "%{}#{n}", self.id),
        }
    }
}

/// A number, as MLIR spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elem {
    I1,
    I16,
    I32,
    I64,
    BF16,
    F16,
    F32,
    F64,
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Elem::I1 => "i1",
            Elem::I16 => "i16",
            Elem::I32 => "i32",
            Elem::I64 => "i64",
            Elem::BF16 => "bf16",
            Elem::F16 => "f16",
            Elem::F32 => "f32",
            Elem::F64 => "f64",
        })
    }
}

/// A number, or a vector of `lanes` of them; one lane is a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Type {
    pub(crate) elem: Elem,
    pub(crate) lanes: u32,
}

impl Type {
    pub(crate) fn scalar(elem: Elem) -> Type {
        Type { elem, lanes: 1 }
    }

    pub(crate) fn vector(elem: Elem, lanes: u32) -> Type {
        Type { elem, lanes }
    }

    /// As many lanes of another element.
    pub(crate) fn of(self, elem: Elem) -> Type {
        Type { elem, ..self }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lanes {
            1 => write!(f, "{}", self.elem),
            lanes => write!(f, "vector<{lanes}x{}>", self.elem),
        }
    }
}

/// The bounds of a loop over `i64`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) from: Value,
    pub(crate) to: Value,
    pub(crate) step: i64,
}

/// A text under construction.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
    next: u32,
    depth: usize,
}

impl Text {
    /// The finished text.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// A name nothing else has.
    pub(crate) fn fresh(&mut self) -> Value {
        self.next += 1;
        Value {
            id: self.next - 1,
            result: None,
        }
    }

    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
        fmt::Write::write_fmt(&mut self.out, line).expect("a string takes any text");
        self.out.push('\n');
    }

    pub(crate) fn op(&mut self, op: fmt::Arguments<'_>) -> Value {
        let value = self.fresh();
        self.line(format_args!("{value} = {op}"));
        value
    }

    /// `header {`, the body one step deeper, `}`.
    pub(crate) fn block<R>(
        &mut self,
        header: fmt::Arguments<'_>,
        body: impl FnOnce(&mut Text) -> R,
    ) -> R {
        self.line(format_args!("{header} {{"));
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        self.line(format_args!("}}"));
        result
    }

    /// A C function without result; the body receives its parameters.
    pub(crate) fn function(
        &mut self,
        name: &str,
        params: &[&str],
        body: impl FnOnce(&mut Text, &[Value]),
    ) {
        self.routine(
            "llvm",
            name,
            params,
            "attributes {passthrough = [\"nounwind\"]}",
            body,
        );
    }

    /// A function of some dialect that has `func` and `return`.
    pub(crate) fn routine(
        &mut self,
        dialect: &str,
        name: &str,
        params: &[&str],
        attributes: &str,
        body: impl FnOnce(&mut Text, &[Value]),
    ) {
        let args: Vec<Value> = params.iter().map(|_| self.fresh()).collect();
        let typed = args
            .iter()
            .zip(params)
            .map(|(arg, ty)| format!("{arg}: {ty}"));
        let header = format!("{dialect}.func @{name}({}) {attributes}", list(typed));
        self.block(format_args!("{header}"), |t| {
            body(t, &args);
            act!(t, "{dialect}.return");
        });
    }

    /// A loop; `carried` are its running values, first and last state of each included.
    pub(crate) fn loop_over(
        &mut self,
        range: Range,
        carried: &[(Value, Type)],
        body: impl FnOnce(&mut Text, Value, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let Range { from, to, step } = range;
        let step = self.index(step);
        let index = self.fresh();
        let args: Vec<Value> = carried.iter().map(|_| self.fresh()).collect();
        let bounds = format!("scf.for {index} = {from} to {to} step {step}");
        if carried.is_empty() {
            self.block(format_args!("{bounds} : i64"), |t| body(t, index, &[]));
            return Vec::new();
        }
        let results = self.fresh();
        let inits: Vec<String> = args
            .iter()
            .zip(carried)
            .map(|(arg, (init, _))| format!("{arg} = {init}"))
            .collect();
        let types = list(carried.iter().map(|(_, ty)| *ty));
        let count = carried.len();
        let header = format!(
            "{results}:{count} = {bounds} iter_args({}) -> ({types}) : i64",
            inits.join(", ")
        );
        self.block(format_args!("{header}"), |t| {
            let last = body(t, index, &args);
            act!(t, "scf.yield {} : {types}", list(&last));
        });
        (0..count as u32)
            .map(|n| Value {
                result: Some(n),
                ..results
            })
            .collect()
    }

    /// A loop that carries nothing.
    pub(crate) fn repeat(&mut self, range: Range, body: impl FnOnce(&mut Text, Value)) {
        self.loop_over(range, &[], |t, index, _| {
            body(t, index);
            Vec::new()
        });
    }

    /// A loop over `i64` values that goes on while a condition on them holds; returns their last state.
    pub(crate) fn loop_while(
        &mut self,
        carried: &[Value],
        condition: impl FnOnce(&mut Text, &[Value]) -> Value,
        body: impl FnOnce(&mut Text, &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let (results, count) = (self.fresh(), carried.len());
        let before: Vec<Value> = carried.iter().map(|_| self.fresh()).collect();
        let after: Vec<Value> = carried.iter().map(|_| self.fresh()).collect();
        let types = list(carried.iter().map(|_| "i64"));
        let inits = list(
            before
                .iter()
                .zip(carried)
                .map(|(arg, init)| format!("{arg} = {init}")),
        );
        self.block(
            format_args!("{results}:{count} = scf.while ({inits}) : ({types}) -> ({types})"),
            |t| {
                let goes_on = condition(t, &before);
                act!(t, "scf.condition({goes_on}) {} : {types}", list(&before));
            },
        );
        let params = list(after.iter().map(|arg| format!("{arg}: i64")));
        self.and_then("do", |t| {
            act!(t, "^bb0({params}):");
            let next = body(t, &after);
            act!(t, "scf.yield {} : {types}", list(&next));
        });
        (0..count as u32)
            .map(|n| Value {
                result: Some(n),
                ..results
            })
            .collect()
    }

    /// The body runs if the condition holds.
    pub(crate) fn when(&mut self, condition: Value, body: impl FnOnce(&mut Text)) {
        self.block(format_args!("scf.if {condition}"), body);
    }

    /// One body or the other.
    pub(crate) fn either(
        &mut self,
        condition: Value,
        then: impl FnOnce(&mut Text),
        otherwise: impl FnOnce(&mut Text),
    ) {
        self.block(format_args!("scf.if {condition}"), then);
        self.and_then("else", otherwise);
    }

    /// The value of one body or the other, of type `ty`.
    pub(crate) fn choose(
        &mut self,
        condition: Value,
        ty: Type,
        then: impl FnOnce(&mut Text) -> Value,
        otherwise: impl FnOnce(&mut Text) -> Value,
    ) -> Value {
        self.choose_all(condition, &[ty], |t| vec![then(t)], |t| vec![otherwise(t)])[0]
    }

    /// The values of one body or the other, one for each of `types`.
    pub(crate) fn choose_all(
        &mut self,
        condition: Value,
        types: &[Type],
        then: impl FnOnce(&mut Text) -> Vec<Value>,
        otherwise: impl FnOnce(&mut Text) -> Vec<Value>,
    ) -> Vec<Value> {
        let (results, count, types) = (self.fresh(), types.len(), list(types));
        let giving = |body: &mut Text, values: Vec<Value>| {
            act!(body, "scf.yield {} : {types}", list(&values))
        };
        self.block(
            format_args!("{results}:{count} = scf.if {condition} -> ({types})"),
            |t| {
                let values = then(t);
                giving(t, values);
            },
        );
        self.and_then("else", |t| {
            let values = otherwise(t);
            giving(t, values);
        });
        (0..count as u32)
            .map(|n| Value {
                result: Some(n),
                ..results
            })
            .collect()
    }

    /// One more region after the `}` of an op.
    fn and_then(&mut self, word: &str, body: impl FnOnce(&mut Text)) {
        self.out.truncate(self.out.trim_end().len());
        self.out.push_str(&format!(" {word} {{\n"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        act!(self, "}}");
    }

    /// An `i64` constant.
    pub(crate) fn index(&mut self, value: i64) -> Value {
        emit!(self, "arith.constant {value} : i64")
    }

    /// An integer in every lane.
    pub(crate) fn int(&mut self, ty: Type, value: i64) -> Value {
        match ty.lanes {
            1 => emit!(self, "arith.constant {value} : {ty}"),
            _ => emit!(self, "arith.constant dense<{value}> : {ty}"),
        }
    }

    /// A float in every lane, rounded to the element; given to MLIR as bits, which any NaN survives.
    pub(crate) fn float(&mut self, ty: Type, value: f64) -> Value {
        let bits = match ty.elem {
            Elem::F64 => format!("0x{:016X}", value.to_bits()),
            _ => format!("0x{:08X}", (value as f32).to_bits()),
        };
        match ty.lanes {
            1 => emit!(self, "arith.constant {bits} : {ty}"),
            _ => emit!(self, "arith.constant dense<{bits}> : {ty}"),
        }
    }

    /// `a + b` over `i64`.
    pub(crate) fn plus(&mut self, a: Value, b: Value) -> Value {
        emit!(self, "arith.addi {a}, {b} : i64")
    }

    /// `a * b` over `i64`.
    pub(crate) fn times(&mut self, a: Value, b: Value) -> Value {
        emit!(self, "arith.muli {a}, {b} : i64")
    }

    /// The smaller of two `i64`.
    pub(crate) fn least(&mut self, a: Value, b: Value) -> Value {
        emit!(self, "arith.minsi {a}, {b} : i64")
    }

    /// The address of element `index` behind `base`; `pointer` is the type of `base`.
    pub(crate) fn at(&mut self, pointer: &str, base: Value, index: Value, elem: Elem) -> Value {
        emit!(
            self,
            "llvm.getelementptr {base}[{index}] : ({pointer}, i64) -> {pointer}, {elem}"
        )
    }
}

/// Values or types with commas between.
pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
