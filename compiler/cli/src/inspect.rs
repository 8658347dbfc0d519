//! `optc inspect`: what an optimizer takes, keeps and does, and what a step of it costs.

use crate::args::{self, Shape};
use crate::choice;
use crate::cost::{self, Cost, Machine, Profile};
use crate::describe::{self, interval};
use crate::error::{BadArtifact, CommandError, Exit, Failure};
use crate::output;
use crate::program;
use crate::report::Reporter;
use crate::source::Input;
use crate::text::{bytes, flops, seconds, table};
use miette::Diagnostic;
use optc_artifact::layout::ABI;
use optc_artifact::manifest::Optimizer;
use optc_artifact::{Artifact, Features};
use optc_core::dtype::DType;
use optc_core::hir::{OptimizerId, Program};
use optc_core::lower::{Spec, rule_for};
use optc_core::plan::{Plan, Role};
use optc_core::settings::Settings;
use optc_core::specialize::plan_for;
use std::collections::BTreeSet;

/// Prints everything about a source or an artifact.
pub(crate) fn run(args: &args::Inspect, reporter: &Reporter) -> Result<Exit, Failure> {
    let input = Input::read(&args.file)?;
    let text = if input.is_artifact() {
        of_artifact(args, &input, reporter)?
    } else {
        of_source(args, &input, reporter)?
    };
    output::print(text)?;
    Ok(Exit::Success)
}

/// What to show of a checked program.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Which optimizer, if the program has several.
    pub optimizer: Option<&'a str>,
    /// Statics in place of their defaults, as text.
    pub statics: &'a [(String, String)],
    /// Shapes of parameters for state, plan and cost.
    pub shapes: &'a [Vec<u64>],
    /// The parameters' element type.
    pub dtype: DType,
}

/// The text of `optc inspect` for a program that was checked already.
///
/// # Errors
///
/// A diagnostic for names and values that do not exist.
pub fn inspect(
    program: &Program,
    question: &Question<'_>,
) -> Result<String, Box<dyn Diagnostic + Send + Sync>> {
    let setting = |(name, value): &(String, String)| args::Setting {
        name: name.clone(),
        value: value.clone(),
    };
    let args = args::Inspect {
        file: String::new(),
        name: String::new(),
        shape: question.shapes.iter().cloned().map(Shape).collect(),
        optimizer: question.optimizer.map(str::to_owned),
        statics: question.statics.iter().map(setting).collect(),
        dtype: question.dtype,
        roofline: Machine::default(),
    };
    of_program(&args, program, None).map_err(Failure::into_diagnostic)
}

fn of_source(args: &args::Inspect, input: &Input, reporter: &Reporter) -> Result<String, Failure> {
    let program = program::check(input, reporter)?;
    of_program(args, &program, None)
}

fn of_artifact(
    args: &args::Inspect,
    input: &Input,
    reporter: &Reporter,
) -> Result<String, Failure> {
    let bad = |error| {
        CommandError::from(BadArtifact {
            path: input.name.clone(),
            error,
        })
    };
    let artifact = Artifact::parse(&input.bytes).map_err(bad)?;
    let program = program::check_embedded(artifact.sources(), reporter)?;
    Ok(format!(
        "{}\n{}",
        contents(&artifact, &input.name),
        of_program(args, &program, Some(&artifact))?
    ))
}

/// What an artifact holds besides its program.
fn contents(artifact: &Artifact<'_>, name: &str) -> String {
    let manifest = artifact.manifest();
    let sources: Vec<&str> = artifact
        .sources()
        .modules
        .keys()
        .map(String::as_str)
        .collect();
    let mut rows = vec![
        vec![
            "made by".into(),
            format!("optc {}, ABI {ABI}", manifest.optc),
        ],
        vec!["sources".into(), sources.join(", ")],
        vec!["kernels".into(), manifest.kernels.len().to_string()],
    ];
    rows.extend(
        artifact
            .objects()
            .map(|(isa, code)| vec![isa.to_owned(), bytes(code.len() as f64)]),
    );
    rows.extend(
        artifact
            .ptx()
            .map(|ptx| vec![ptx.target.to_owned(), bytes(ptx.text.len() as f64)]),
    );
    let chosen = match artifact.best_object(&Features::detect()) {
        Ok(object) => object.isa.to_string(),
        Err(error) => error.to_string(),
    };
    rows.push(vec!["here".into(), chosen]);
    table(name, &rows)
}

fn of_program(
    args: &args::Inspect,
    program: &Program,
    artifact: Option<&Artifact<'_>>,
) -> Result<String, Failure> {
    let chosen = choice::optimizers(program, args.optimizer.as_deref())?;
    let described = describe::optimizers(program)?;
    let mut parts = Vec::new();
    for id in chosen {
        let settings = choice::settings(program, id, &args.statics)?;
        let optimizer = described
            .iter()
            .find(|o| o.name == program.optimizers[id].name);
        parts.extend(optimizer.map(head));
        for shape in &args.shape {
            parts.push(of_shape(args, program, id, &settings, shape, artifact)?);
        }
    }
    Ok(parts.join("\n"))
}

/// Documentation, hyperparameters, statics, rules.
fn head(optimizer: &Optimizer) -> String {
    let hypers = optimizer.hypers.iter().map(|hyper| {
        let range = hyper
            .range
            .map(|range| format!("in {}", interval(range)))
            .unwrap_or_default();
        vec![
            hyper.name.clone(),
            hyper.default.0.to_string(),
            range,
            hyper.docs.clone(),
        ]
    });
    let statics = optimizer.statics.iter().map(|choice| {
        vec![
            choice.name.clone(),
            choice.default.clone(),
            choice.ty.clone(),
            choice.docs.clone(),
        ]
    });
    let rules = optimizer
        .rules
        .iter()
        .map(|rule| vec![rule.name.clone(), rule.pattern.clone()]);
    let entries = optimizer.entries.iter().map(|entry| vec![entry.clone()]);
    let tables = [
        ("hyperparameters", hypers.collect::<Vec<_>>()),
        ("statics", statics.collect()),
        ("rules", rules.collect()),
        ("entries", entries.collect()),
    ];
    let tables = tables.into_iter().filter(|(_, rows)| !rows.is_empty());
    let tables: String = tables
        .map(|(title, rows)| format!("\n{}", table(title, &rows)))
        .collect();
    format!(
        "{}\n{}\n{tables}",
        optimizer.name,
        indented(&optimizer.docs)
    )
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

/// State, cost and plan for a parameter of one shape.
fn of_shape(
    args: &args::Inspect,
    program: &Program,
    id: OptimizerId,
    settings: &Settings,
    shape: &Shape,
    artifact: Option<&Artifact<'_>>,
) -> Result<String, CommandError> {
    let Some(rule) = rule_for(program, id, settings, (&args.name, &shape.0))? else {
        return Ok(format!("no rule takes a parameter of shape {shape}\n"));
    };
    let spec = Spec {
        program,
        optimizer: id,
        settings,
        rule,
        name: &args.name,
        dims: &shape.0,
        dtype: args.dtype,
        grad_dtype: args.dtype,
    };
    let plan = plan_for(&spec)?;
    let name = &program.optimizers[id].rules[rule].name;
    let profile = cost::profile(&plan, &settings.inputs(), args.roofline);
    let parts = [
        table(
            &format!("{} {shape} by rule `{name}`: state", args.dtype),
            &state(&plan),
        ),
        table(
            &format!("{} {shape}: cost of a step", args.dtype),
            &costs(profile, args.roofline),
        ),
        table("kernels", &kernels(&plan, artifact)),
        format!("plan\n{}", indented(&plan.to_string())),
    ];
    Ok(parts.join("\n") + "\n")
}

fn state(plan: &Plan) -> Vec<Vec<String>> {
    let states = plan.slots.iter().filter(|slot| slot.role == Role::State);
    let row = |slot: &optc_core::plan::Slot| {
        let size = slot.dtype.size() * slot.dims.iter().product::<u64>();
        vec![
            slot.name.clone(),
            format!("{}{:?}", slot.dtype, slot.dims),
            bytes(size as f64),
        ]
    };
    let mut rows: Vec<Vec<String>> = states.map(row).collect();
    let total = cost::state_bytes(plan) as f64;
    rows.push(vec![
        "total".into(),
        String::new(),
        bytes(total),
        relative(total, plan),
    ]);
    rows.push(vec![
        "scratch".into(),
        String::new(),
        bytes(plan.arena_bytes as f64),
    ]);
    rows
}

/// `n` bytes as a multiple of the parameter's.
fn relative(n: f64, plan: &Plan) -> String {
    let parameter = plan.slots.first().map_or(0, |slot| {
        slot.dtype.size() * slot.dims.iter().product::<u64>()
    });
    if parameter == 0 {
        String::new()
    } else {
        format!("{:.2} x the parameter", n / parameter as f64)
    }
}

fn costs(profile: Profile, machine: Machine) -> Vec<Vec<String>> {
    let head = [
        "",
        "launches",
        "bytes moved",
        "operations",
        "FLOP/byte",
        "roofline",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    let row = |name: &str, cost: Cost| {
        let bound = if machine.is_memory_bound(cost) {
            "by memory"
        } else {
            "by arithmetic"
        };
        let intensity = if cost.bytes > 0.0 {
            cost.flops / cost.bytes
        } else {
            0.0
        };
        vec![
            name.to_owned(),
            cost.launches.to_string(),
            bytes(cost.bytes),
            flops(cost.flops),
            format!("{intensity:.2}"),
            seconds(machine.seconds(cost)),
            bound.to_owned(),
        ]
    };
    let steady = profile.typical == profile.worst;
    let mut rows = vec![
        head,
        row("first step", profile.first),
        row("typical step", profile.typical),
    ];
    if !steady {
        rows.extend([row("worst step", profile.worst), row("mean", profile.mean)]);
    }
    rows.push(vec![format!(
        "roofline: {machine}; set another with --roofline"
    )]);
    rows
}

fn kernels(plan: &Plan, artifact: Option<&Artifact<'_>>) -> Vec<Vec<String>> {
    let held: BTreeSet<&str> = artifact
        .iter()
        .flat_map(|artifact| &artifact.manifest().kernels)
        .map(|kernel| kernel.hash.as_str())
        .collect();
    let row = |kernel: &optc_core::kernel::MapKernel| {
        let hash = kernel.hash();
        let presence = match artifact {
            Some(_) if held.contains(hash.as_str()) => "precompiled",
            Some(_) => "compiled at load",
            None => "",
        };
        let work = format!(
            "{} B and {} FLOP per element",
            kernel.bytes_per_point(),
            kernel.flops_per_point()
        );
        vec![kernel.symbol(), work, presence.to_owned()]
    };
    plan.kernels.iter().map(row).collect()
}
