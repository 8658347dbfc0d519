//! `optc list`: the standard library, one line for each optimizer.

use crate::cost;
use crate::error::{CommandError, Exit, Failure};
use crate::output;
use crate::program;
use crate::report::Reporter;
use crate::source::Input;
use crate::text;
use optc_core::dtype::DType;
use optc_core::hir::{OptimizerId, Program};
use optc_core::lower::{Spec, rule_for};
use optc_core::plan::{Plan, Thunk};
use optc_core::settings::{Overrides, settle};
use optc_core::specialize::plan_for;

/// The matrix whose plan says what an optimizer keeps and does.
const SHAPE: [u64; 2] = [512, 512];

/// Prints the table.
pub(crate) fn run(reporter: &Reporter) -> Result<Exit, Failure> {
    let mut rows = vec![
        ["", "optimizer", "state", "work", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for module in optc_stdlib::NAMES {
        let input = Input::read(module)?;
        let program = program::check_library(&input, reporter)?;
        let about = first_line(input.text()?);
        for &id in &program.roots {
            rows.push(row(module, about, &program, id)?);
        }
    }
    output::print(text::table(
        "standard library, state in bytes per f32 element of a matrix",
        &rows,
    ))?;
    Ok(Exit::Success)
}

/// What the file says it is, with its paper.
fn first_line(source: &str) -> &str {
    let first = source.lines().next().unwrap_or_default();
    first.trim_start_matches("//!").trim()
}

/// One optimizer; it says itself what it is where the file has several.
fn row(
    module: &str,
    about: &str,
    program: &Program,
    id: OptimizerId,
) -> Result<Vec<String>, CommandError> {
    let optimizer = &program.optimizers[id];
    let about = optimizer.docs.lines().next().unwrap_or(about);
    let plan = plan(program, id)?;
    let [state, work] = match &plan {
        Some(plan) => [per_element(plan), class(&plan.body).to_owned()],
        None => [String::new(), String::new()],
    };
    let names = [module, &optimizer.name].map(str::to_owned);
    Ok([&names[..], &[state, work, about.to_owned()]].concat())
}

/// The plan for a matrix, if the optimizer takes any.
fn plan(program: &Program, id: OptimizerId) -> Result<Option<Plan>, CommandError> {
    let settings = settle(program, id, &Overrides::default())?;
    let spec = |rule| Spec {
        program,
        optimizer: id,
        settings: &settings,
        rule,
        name: "",
        dims: &SHAPE,
        dtype: DType::F32,
        grad_dtype: DType::F32,
    };
    let rule = rule_for(program, id, &settings, ("", &SHAPE))?;
    Ok(rule.map(|rule| plan_for(&spec(rule))).transpose()?)
}

fn per_element(plan: &Plan) -> String {
    let elements: u64 = SHAPE.iter().product();
    format!("{:.3}", cost::state_bytes(plan) as f64 / elements as f64)
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// The costliest kind of work in a step.
fn class(thunks: &[Thunk]) -> &'static str {
    let kinds = ["elementwise", "products", "factorizations"];
    kinds[thunks.iter().map(rank).max().unwrap_or(0)]
}

fn rank(thunk: &Thunk) -> usize {
    match thunk {
        Thunk::If {
            then, otherwise, ..
        }
        | Thunk::IfFlag {
            then, otherwise, ..
        } => then.iter().chain(otherwise).map(rank).max().unwrap_or(0),
        Thunk::Gemm(_) => 1,
        Thunk::Call { .. } => 2,
        _ => 0,
    }
}
