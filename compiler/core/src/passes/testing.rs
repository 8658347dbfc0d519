//! Small functions, built by hand, for the tests of single passes.

use crate::dtype::DType;
use crate::hir::Fact;
use crate::ir::{Builder, Function, OpKind, Region, Slot, TensorType, Type, Value, verify};
use crate::plan::{HostBinary, Role};

/// An f32 tensor that the function reads.
pub(super) fn tensor(dims: &[u64]) -> Slot {
    slot(DType::F32, dims, Fact::General)
}

/// An f32 matrix of which something is known.
pub(super) fn matrix(dims: &[u64], fact: Fact) -> Slot {
    slot(DType::F32, dims, fact)
}

/// A tensor of this dtype.
pub(super) fn slot(dtype: DType, dims: &[u64], fact: Fact) -> Slot {
    let ty = TensorType {
        dtype,
        dims: dims.to_vec(),
    };
    Slot {
        name: "x".to_owned(),
        role: Role::Grad,
        ty,
        fact,
    }
}

/// A function that reads `inputs` and whose results `build` makes of them.
pub(super) fn function(
    inputs: &[Slot],
    build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>,
) -> Function {
    let mut builder = Builder::new(inputs.to_vec());
    let values: Vec<Value> = (0..inputs.len() as u32).map(|n| builder.slot(n)).collect();
    let results = build(&mut builder, &values);
    let mut function = builder.function;
    for &result in &results {
        let Type::Tensor(ty) = function.ty(result).clone() else {
            panic!("{result} is no tensor")
        };
        function.slots.push(Slot {
            name: "y".to_owned(),
            role: Role::Param,
            ty,
            fact: Fact::General,
        });
    }
    let body = function.body;
    function.regions[body].results = results;
    function
}

/// The function before and after a pass, both well formed.
pub(super) fn check(
    run: fn(Function) -> Function,
    inputs: &[Slot],
    build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>,
) -> String {
    let before = function(inputs, build);
    let after = run(before.clone());
    for function in [&before, &after] {
        let violations = verify(function);
        assert!(
            violations.is_empty(),
            "{}\n{function}",
            violations.join("\n")
        );
    }
    format!("{}\n→\n{}", body(&before), body(&after))
}

/// The text of the body and of the kernels.
fn body(function: &Function) -> String {
    let text = function.to_string();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("    ") || line.contains(" = map "));
    let shown: Vec<&str> = lines
        .map(|line| line.strip_prefix("    ").unwrap_or(line.trim_start()))
        .collect();
    shown.join("\n")
}

/// A host value that no pass knows.
pub(super) fn hyper(build: &mut Builder) -> Value {
    build.push_one(OpKind::Hyper(0), Type::Host)
}

/// Whether the step number is even.
pub(super) fn even(build: &mut Builder) -> Value {
    let step = build.push_one(OpKind::Step, Type::Host);
    let two = build.constant(2.0);
    build.host_binary(HostBinary::Mod, step, two)
}

/// A branch on [`even`] whose sides make one value each.
pub(super) fn branch(
    build: &mut Builder,
    then: impl FnOnce(&mut Builder) -> Value,
    otherwise: impl FnOnce(&mut Builder) -> Value,
) -> Value {
    let cond = even(build);
    let outer = build.region;
    let (then, a) = side(build, then);
    let (otherwise, b) = side(build, otherwise);
    build.region = outer;
    let ty = build.function.ty(a).clone();
    assert_eq!(&ty, build.function.ty(b));
    build.push_one(
        OpKind::If {
            cond,
            then,
            otherwise,
        },
        ty,
    )
}

fn side(build: &mut Builder, make: impl FnOnce(&mut Builder) -> Value) -> (Region, Value) {
    build.region = build.new_region();
    let value = make(build);
    let region = build.region;
    build.function.regions[region].results = vec![value];
    (region, value)
}
