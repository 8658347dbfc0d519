//! `optc compile`: a source → an artifact, or the text of one stage on the way.

use crate::args::{self, Emit};
use crate::backend;
use crate::choice;
use crate::error::{CommandError, Exit, Failure};
use crate::needs::Needs;
use crate::output;
use crate::program::{self, module_name};
use crate::report::Reporter;
use crate::source::{COMPOSITION, Input};
use crate::text;
use optc_core::hir::Program;
use optc_core::lower::{Spec, lower, rule_for};
use optc_core::passes::optimize;
use optc_core::planner;
use optc_core::variants::variants;
use std::path::{Path, PathBuf};

/// Compiles, in a child process if LLVM takes part.
pub(crate) fn run(args: &args::Compile, reporter: &Reporter) -> Result<Exit, Failure> {
    match args.emit {
        Some(Emit::Ast | Emit::Hir | Emit::Ir | Emit::Fused | Emit::Plan) => work(args, reporter),
        _ => backend::supervised(|| work(args, reporter)),
    }
}

fn work(args: &args::Compile, reporter: &Reporter) -> Result<Exit, Failure> {
    let input = Input::read(&args.file)?;
    match args.emit {
        Some(stage) => {
            let text = emit(args, stage, &input, reporter)?;
            output::write(
                args.output.as_deref().unwrap_or(Path::new("-")),
                text.as_bytes(),
            )?;
        }
        None => make(args, &input, reporter)?,
    }
    Ok(Exit::Success)
}

fn make(args: &args::Compile, input: &Input, reporter: &Reporter) -> Result<(), Failure> {
    let root = root_name(&args.file);
    let output = args
        .output
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("{root}.optc")));
    let program = program::check(input, reporter)?;
    let needs = needs(args, &program)?;
    let bytes = backend::artifact(&program, &root, &needs, &args.target)?;
    output::write(&output, &bytes)?;
    let (size, kernels) = (text::bytes(bytes.len() as f64), needs.kernels.len());
    reporter.note(&format!(
        "wrote {}: {kernels} kernels, {size}",
        output.display()
    ));
    Ok(())
}

/// The name of the root module: the file's, without its folder.
fn root_name(file: &str) -> String {
    match module_name(Path::new(file)) {
        Some(name) => name,
        None if file == "-" => "stdin".into(),
        None if optc_stdlib::is_composition(file) => COMPOSITION.into(),
        None => file.rsplit(['/', '.']).next().unwrap_or(file).into(),
    }
}

fn emit(
    args: &args::Compile,
    stage: Emit,
    input: &Input,
    reporter: &Reporter,
) -> Result<String, Failure> {
    if stage == Emit::Ast {
        return syntax(input, reporter);
    }
    let program = program::check(input, reporter)?;
    match stage {
        Emit::Ast | Emit::Hir => Ok(program.to_string()),
        Emit::Ir | Emit::Fused | Emit::Plan => one_shape(args, stage, &program),
        Emit::Mlir | Emit::Llvm | Emit::Asm | Emit::Ptx => {
            backend::text(args, stage, &needs(args, &program)?)
        }
    }
}

/// The syntax tree; names need not be known for that.
fn syntax(input: &Input, reporter: &Reporter) -> Result<String, Failure> {
    match optc_grammar::parse(input.text()?) {
        Ok(module) => Ok(optc_grammar::dump(&module)),
        // The checker meets the same mistake, and reports it with its place.
        Err(_) => Err(program::check(input, reporter)
            .err()
            .unwrap_or(Failure::Reported)),
    }
}

/// The kernels and products of the chosen optimizers, for parameters of the chosen types.
fn needs(args: &args::Compile, program: &Program) -> Result<Needs, Failure> {
    let mut needs = Needs::default();
    for id in choice::optimizers(program, args.optimizer.as_deref())? {
        let overrides = choice::overrides(program, id, &args.statics)?;
        needs = needs.and(variants(program, id, &overrides, &args.dtype));
    }
    Ok(needs)
}

fn one_shape(args: &args::Compile, stage: Emit, program: &Program) -> Result<String, Failure> {
    let id = choice::optimizer(program, args.optimizer.as_deref())?;
    let settings = choice::settings(program, id, &args.statics)?;
    let rule = rule_for(program, id, &settings, (&args.name, &args.shape.0))?;
    let rule = rule.ok_or_else(|| CommandError::NoRule {
        optimizer: program.optimizers[id].name.clone(),
        shape: args.shape.to_string(),
    })?;
    let (dims, dtype) = (&args.shape.0, args.dtype[0]);
    let spec = Spec {
        program,
        optimizer: id,
        settings: &settings,
        rule,
        name: &args.name,
        dims,
        dtype,
        grad_dtype: dtype,
    };
    let function = lower(&spec)?;
    Ok(match stage {
        Emit::Ir => function.to_string(),
        Emit::Fused => optimize(function).to_string(),
        _ => planner::plan(&optimize(function)).to_string(),
    })
}
