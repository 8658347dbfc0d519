//! Which optimizer trains, and with which settings.

use std::path::Path;

use miette::IntoDiagnostic;
use optc_tch::{Builder, Group, Optimizer};
use tch::nn::{self, OptimizerConfig, VarStore};

/// Embeddings, head, norms and biases: what Muon leaves to its rule for everything else.
const NOT_HIDDEN: &str = r"^(embed|head)\.|norm|bias$";

/// An optimizer named on the command line.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// A `.opt` file, an artifact, or a module of the standard library.
    Optc { name: String, file: String },
    /// LibTorch's own AdamW, to compare with.
    LibTorchAdamW,
}

impl Choice {
    /// `soap` and the like are modules of the standard library, unless a file has that name.
    pub(crate) fn new(text: &str) -> Self {
        if text == "libtorch-adamw" {
            return Self::LibTorchAdamW;
        }
        let path = Path::new(text);
        let standard = !path.exists() && !text.contains(['.', '/']);
        let file = if standard {
            format!("std.{text}")
        } else {
            text.to_string()
        };
        let name = path
            .file_stem()
            .map_or(text.to_string(), |stem| stem.to_string_lossy().into_owned());
        Self::Optc { name, file }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Optc { name, .. } => name,
            Self::LibTorchAdamW => "libtorch-adamw",
        }
    }

    /// The optimizer over the trainable variables of `vs`; `lr` goes before the tuned learning rate.
    pub(crate) fn build(&self, vs: &VarStore, lr: Option<f64>) -> miette::Result<Stepper> {
        match self {
            Self::Optc { name, file } => {
                let mut builder = tuned(name);
                if let Some(lr) = lr {
                    builder = builder.hyper("lr", lr);
                }
                Ok(Stepper::optc(builder.build_from_file(vs, file)?))
            }
            Self::LibTorchAdamW => {
                let lr = lr.unwrap_or(3e-3);
                let config = nn::AdamW {
                    beta2: 0.95,
                    ..Default::default()
                };
                Ok(Stepper::LibTorch {
                    optimizer: config.build(vs, lr).into_diagnostic()?,
                    lr,
                })
            }
        }
    }
}

/// The settings found for the model of this example; a rule of your own runs with its defaults.
///
/// Each optimizer got the same four tries of its learning rate on 300 steps of one seed, everything else as its paper
/// or LibTorch has it. Final loss, the kept one first:
///
/// - AdamW (beta2 0.95 for all): 3e-3 2.161; 1e-3 2.259; 2e-3 2.213; 6e-3 2.198.
/// - SOAP: 6e-3 1.754; 1e-3 2.256; 3e-3 1.807; 1e-2 1.802.
/// - Muon, with AdamW's 3e-3 for what is not a hidden matrix: 0.02 1.701; 0.01 1.797; 0.04 1.707;
///   0.02 with 6e-3 1.703.
fn tuned(name: &str) -> Builder {
    let builder = Optimizer::builder();
    match name {
        "soap" => builder.hyper("lr", 6e-3),
        "muon" => builder
            .hyper("adam_lr", 3e-3)
            .group(Group::new(NOT_HIDDEN).rule("other")),
        "adamw" => builder.hyper("lr", 3e-3).hyper("beta2", 0.95),
        _ => builder,
    }
}

/// A built optimizer, whoever made it.
pub(crate) enum Stepper {
    Optc {
        optimizer: Box<Optimizer>,
        rates: Vec<Rate>,
    },
    LibTorch {
        optimizer: nn::Optimizer,
        lr: f64,
    },
}

/// A learning rate as the optimizer was built with it.
pub(crate) struct Rate {
    group: usize,
    name: String,
    value: f64,
}

impl Stepper {
    /// The schedule moves every hyperparameter called `lr` or `…_lr`, in every group.
    fn optc(optimizer: Optimizer) -> Self {
        let bound = optimizer.bound();
        let all = (0..bound.group_count())
            .flat_map(|group| bound.hypers(group).map(move |hyper| (group, hyper)));
        let rates = all.filter(|(_, (name, _))| *name == "lr" || name.ends_with("_lr"));
        let rates = rates
            .map(|(group, (name, value))| Rate {
                group,
                name: name.to_string(),
                value,
            })
            .collect();
        Self::Optc {
            optimizer: Box::new(optimizer),
            rates,
        }
    }

    /// Where the code comes from, in one line.
    pub(crate) fn about(&self) -> String {
        match self {
            Self::Optc { optimizer, .. } => optimizer.bound().report().to_string(),
            Self::LibTorch { .. } => "LibTorch's own kernels".to_string(),
        }
    }

    pub(crate) fn zero_grad(&mut self) {
        match self {
            Self::Optc { optimizer, .. } => optimizer.zero_grad(),
            Self::LibTorch { optimizer, .. } => optimizer.zero_grad(),
        }
    }

    pub(crate) fn step(&mut self) -> miette::Result<()> {
        match self {
            Self::Optc { optimizer, .. } => optimizer.step()?,
            Self::LibTorch { optimizer, .. } => optimizer.step(),
        }
        Ok(())
    }

    /// Sets every learning rate to `factor` times what the optimizer was built with.
    pub(crate) fn scale_lr(&mut self, factor: f64) -> miette::Result<()> {
        match self {
            Self::Optc { optimizer, rates } => {
                for rate in rates {
                    optimizer.set_hyper(rate.group, &rate.name, rate.value * factor)?;
                }
            }
            Self::LibTorch { optimizer, lr } => optimizer.set_lr(*lr * factor),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files() {
        let file = |text| match Choice::new(text) {
            Choice::Optc { name, file } => (name, file),
            Choice::LibTorchAdamW => unreachable!("not asked for"),
        };
        assert_eq!(file("soap"), ("soap".into(), "std.soap".into()));
        assert_eq!(
            file("out/soap.optc"),
            ("soap".into(), "out/soap.optc".into())
        );
        assert_eq!(file("lion.opt"), ("lion".into(), "lion.opt".into()));
        assert_eq!(Choice::new("libtorch-adamw").name(), "libtorch-adamw");
    }

    #[test]
    fn the_schedule_moves_every_rate() {
        let vs = VarStore::new(tch::Device::Cpu);
        nn::linear(vs.root() / "up", 2, 3, Default::default());
        let mut stepper = Choice::new("muon").build(&vs, None).unwrap();
        stepper.scale_lr(0.5).unwrap();
        stepper.scale_lr(0.1).unwrap();
        let Stepper::Optc { optimizer, .. } = stepper else {
            unreachable!("muon is optc's")
        };
        for group in 0..2 {
            assert_eq!(optimizer.hyper(group, "lr"), Some(0.02 * 0.1));
            assert_eq!(optimizer.hyper(group, "adam_lr"), Some(3e-3 * 0.1));
        }
    }
}
