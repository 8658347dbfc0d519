//! Trains a small transformer on real text under optimizers compiled from `.opt`.
//!
//! ```text
//! char_lm                                      # SOAP, Muon and AdamW from the standard library
//! char_lm --optimizer lion.opt                 # a rule of your own
//! char_lm --optimizer soap.optc --steps 200    # an artifact made by `optc compile`
//! ```
//!
//! Every run starts from the same initial values and sees the same batches.
//! It ends with a table, a chart (`char_lm.svg`) and the curves (`char_lm.csv`).

mod chart;
mod data;
mod model;
mod optimizers;
mod report;
mod train;

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use miette::{IntoDiagnostic, WrapErr, ensure, miette};

use data::Corpus;
use model::Shape;
use optimizers::Choice;
use report::Baseline;
use train::{Curve, Settings};

/// Trains a small transformer on the King James text and compares optimizers.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// soap, muon, adamw or another of the standard library; a file.opt or file.optc;
    /// libtorch-adamw; or all (soap, muon and adamw). May be given several times.
    #[arg(long = "optimizer", value_name = "NAME|FILE", default_value = "all")]
    optimizers: Vec<String>,
    /// Updates per run.
    #[arg(long, default_value_t = 600)]
    steps: usize,
    /// Width of the residual stream; a multiple of 32.
    #[arg(long, default_value_t = 128)]
    width: i64,
    /// Transformer blocks.
    #[arg(long, default_value_t = 4)]
    layers: i64,
    /// Windows of text per update.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Characters per window.
    #[arg(long, default_value_t = 64)]
    context: i64,
    /// Updates between evaluations.
    #[arg(long, default_value_t = 20)]
    eval_every: usize,
    /// Fixes initial values and batches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Learning rate in place of each optimizer's own.
    #[arg(long)]
    lr: Option<f64>,
    /// Text to train on in place of the King James text.
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Folder for the chart and the curves.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// A smaller model and fewer steps: a look at how it works, under a minute.
    #[arg(long)]
    quick: bool,
}

fn main() -> miette::Result<()> {
    let args = Args::parse();
    let choices = choices(&args.optimizers);
    let corpus = corpus(&args)?;
    let settings = settings(&args, &corpus)?;
    fs::create_dir_all(&args.out)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot create {}", args.out.display()))?;
    let baseline = Baseline {
        bigram: corpus.bigram_loss(),
    };
    println!(
        "{} characters, {} different; bigram loss {:.3}\n{} layers of width {}, {} windows of {} characters per step",
        corpus.characters(),
        corpus.vocab(),
        baseline.bigram,
        settings.shape.layers,
        settings.shape.width,
        settings.batch,
        settings.shape.context,
    );
    let curves = choices
        .iter()
        .map(|choice| train::run(&settings, &corpus, choice))
        .collect::<miette::Result<Vec<_>>>()?;
    finish(&args, &curves, baseline)
}

fn choices(names: &[String]) -> Vec<Choice> {
    let expand = |name: &String| match name.as_str() {
        "all" => ["soap", "muon", "adamw"].map(Choice::new).to_vec(),
        _ => vec![Choice::new(name)],
    };
    names.iter().flat_map(expand).collect()
}

fn corpus(args: &Args) -> miette::Result<Corpus> {
    let Some(path) = &args.text else {
        return Corpus::king_james().into_diagnostic();
    };
    let text = fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    Ok(Corpus::new(&text))
}

fn settings(args: &Args, corpus: &Corpus) -> miette::Result<Settings> {
    let small = |usual: usize, quick: usize| if args.quick { usual.min(quick) } else { usual };
    let width = small(args.width.max(0) as usize, 64) as i64;
    let layers = small(args.layers.max(0) as usize, 2) as i64;
    ensure!(
        width > 0 && width % 32 == 0,
        "--width must be a positive multiple of 32, not {}",
        args.width
    );
    ensure!(
        args.batch > 0 && args.context > 0 && args.eval_every > 0,
        "--batch, --context and --eval-every must be positive"
    );
    ensure!(
        corpus.shortest_part() > args.context as usize,
        "the text is too short for --context {}",
        args.context
    );
    let shape = Shape {
        vocab: corpus.vocab() as i64,
        context: args.context,
        width,
        layers,
        heads: width / 32,
    };
    Ok(Settings {
        shape,
        steps: small(args.steps, 150),
        batch: args.batch,
        eval_every: args.eval_every,
        seed: args.seed,
        lr: args.lr,
    })
}

fn finish(args: &Args, curves: &[Curve], baseline: Baseline) -> miette::Result<()> {
    for curve in curves {
        println!("\n{} writes:\n{}", curve.name, curve.sample);
    }
    println!("\n{}", report::table(curves, baseline));
    let (csv, svg) = (args.out.join("char_lm.csv"), args.out.join("char_lm.svg"));
    fs::write(&csv, report::csv(curves))
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot write {}", csv.display()))?;
    chart::draw(&svg, curves, baseline)
        .map_err(|e| miette!("cannot draw {}: {e}", svg.display()))?;
    println!("chart  {}\ncurves {}", svg.display(), csv.display());
    Ok(())
}
