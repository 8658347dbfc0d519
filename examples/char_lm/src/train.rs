//! One training run: the same model, batches and schedule, whatever the optimizer.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tch::nn::VarStore;
use tch::{Device, no_grad};

use crate::data::{Batch, Corpus, Random};
use crate::model::{Shape, Transformer};
use crate::optimizers::{Choice, Stepper};

/// What every run shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) shape: Shape,
    pub(crate) steps: usize,
    pub(crate) batch: usize,
    pub(crate) eval_every: usize,
    pub(crate) seed: u64,
    /// In place of the optimizer's own learning rate.
    pub(crate) lr: Option<f64>,
}

/// Loss on the validation batches after `step` steps and `seconds` of training
/// (evaluation not counted).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    pub(crate) step: usize,
    pub(crate) seconds: f64,
    pub(crate) loss: f64,
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
    /// Median time of `Optimizer::step`, in milliseconds.
    pub(crate) step_ms: f64,
    pub(crate) tokens_per_second: f64,
    /// What the trained model writes.
    pub(crate) sample: String,
}

impl Curve {
    pub(crate) fn last(&self) -> Point {
        *self
            .points
            .last()
            .expect("a run evaluates before its first step")
    }

    /// The first evaluation at or below `loss`.
    pub(crate) fn reaches(&self, loss: f64) -> Option<Point> {
        self.points.iter().find(|point| point.loss <= loss).copied()
    }
}

/// Trains one model from the seed's initial values.
pub(crate) fn run(settings: &Settings, corpus: &Corpus, choice: &Choice) -> miette::Result<Curve> {
    tch::manual_seed(settings.seed as i64);
    let vs = VarStore::new(Device::Cpu);
    let model = Transformer::new(&vs.root(), settings.shape);
    let stepper = choice.build(&vs, settings.lr)?;
    println!("\n{}: {}", choice.name(), stepper.about());
    let mut run = Run {
        settings,
        corpus,
        model,
        stepper,
        clock: Clock::default(),
    };
    let points = run.train(choice.name())?;
    let sample = no_grad(|| run.model.sample(&corpus.encode("And God said"), 100));
    let tokens = settings.steps * settings.batch * settings.shape.context as usize;
    Ok(Curve {
        name: choice.name().to_string(),
        points,
        step_ms: run.clock.median_step_ms(),
        tokens_per_second: tokens as f64 / run.clock.training.as_secs_f64(),
        sample: corpus.decode(&sample),
    })
}

struct Run<'a> {
    settings: &'a Settings,
    corpus: &'a Corpus,
    model: Transformer,
    stepper: Stepper,
    clock: Clock,
}

impl Run<'_> {
    fn train(&mut self, name: &str) -> miette::Result<Vec<Point>> {
        let Settings {
            steps,
            batch,
            eval_every,
            seed,
            shape,
            ..
        } = *self.settings;
        let context = shape.context as usize;
        let eval = self.corpus.eval_batches(8, 32, context);
        let mut random = Random::new(seed);
        let mut progress = Progress::new(name, steps);
        let mut points = vec![self.evaluate(0, &eval)];
        for step in 1..=steps {
            let batch = self.corpus.batch(&mut random, batch, context);
            self.step(step, &batch)?;
            if step % eval_every == 0 || step == steps {
                let point = self.evaluate(step, &eval);
                progress.evaluated(point);
                points.push(point);
            }
            progress.bar.inc(1);
        }
        progress.bar.finish();
        Ok(points)
    }

    fn step(&mut self, step: usize, batch: &Batch) -> miette::Result<()> {
        let started = Instant::now();
        self.stepper.scale_lr(schedule(step, self.settings.steps))?;
        self.stepper.zero_grad();
        self.model.loss(&batch.inputs, &batch.targets).backward();
        let ready = Instant::now();
        self.stepper.step()?;
        self.clock.steps.push(ready.elapsed());
        self.clock.training += started.elapsed();
        Ok(())
    }

    fn evaluate(&self, step: usize, batches: &[Batch]) -> Point {
        let total: f64 = no_grad(|| {
            batches
                .iter()
                .map(|b| self.model.loss(&b.inputs, &b.targets).double_value(&[]))
                .sum()
        });
        let seconds = self.clock.training.as_secs_f64();
        Point {
            step,
            seconds,
            loss: total / batches.len() as f64,
        }
    }
}

/// Share of the full learning rate: a short warm-up, then a cosine down to a tenth.
fn schedule(step: usize, steps: usize) -> f64 {
    let warmup = (steps / 20).max(1);
    if step <= warmup {
        return step as f64 / warmup as f64;
    }
    let done = (step - warmup) as f64 / (steps - warmup) as f64;
    0.1 + 0.45 * (1.0 + (std::f64::consts::PI * done).cos())
}

#[derive(Default)]
struct Clock {
    training: Duration,
    steps: Vec<Duration>,
}

impl Clock {
    fn median_step_ms(&self) -> f64 {
        let mut sorted = self.steps.clone();
        sorted.sort_unstable();
        sorted
            .get(sorted.len() / 2)
            .map_or(0.0, |median| median.as_secs_f64() * 1e3)
    }
}

/// A bar on a terminal, a line now and then anywhere else.
struct Progress {
    name: String,
    bar: ProgressBar,
    printed: Duration,
}

impl Progress {
    fn new(name: &str, steps: usize) -> Self {
        let template = "{prefix:>16} {bar:32} {pos:>4}/{len} {msg} {elapsed}<{eta}";
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::new(steps as u64).with_prefix(name.to_string());
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            name: name.to_string(),
            bar,
            printed: Duration::ZERO,
        }
    }

    fn evaluated(&mut self, point: Point) {
        self.bar.set_message(format!("eval loss {:.3}", point.loss));
        let elapsed = self.bar.elapsed();
        let last = Some(point.step as u64) == self.bar.length();
        if self.bar.is_hidden() && (last || elapsed - self.printed > Duration::from_secs(10)) {
            println!(
                "{:>16}  step {:>4}  eval loss {:.3}",
                self.name, point.step, point.loss
            );
            self.printed = elapsed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_rises_and_falls_to_a_tenth() {
        assert_eq!(schedule(10, 200), 1.0);
        assert!((schedule(200, 200) - 0.1).abs() < 1e-12);
        assert!((1..10).all(|s| schedule(s, 200) < schedule(s + 1, 200)));
        assert!((10..200).all(|s| schedule(s, 200) > schedule(s + 1, 200)));
        assert_eq!(schedule(1, 1), 1.0);
    }
}
