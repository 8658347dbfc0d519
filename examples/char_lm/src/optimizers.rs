//! Which optimizer trains, and with which settings.

use miette::miette;
use tch::nn::{self, OptimizerConfig, VarStore};

/// An optimizer named on the command line.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// LibTorch's own AdamW, to compare with.
    LibTorchAdamW,
}

impl std::str::FromStr for Choice {
    type Err = miette::Report;

    fn from_str(name: &str) -> miette::Result<Self> {
        match name {
            "libtorch-adamw" => Ok(Self::LibTorchAdamW),
            other => Err(miette!("no optimizer `{other}`")),
        }
    }
}

impl Choice {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::LibTorchAdamW => "libtorch-adamw".to_string(),
        }
    }

    /// The optimizer over the trainable variables of `vs`.
    pub(crate) fn build(&self, vs: &VarStore, lr: Option<f64>) -> miette::Result<Stepper> {
        match self {
            Self::LibTorchAdamW => {
                let lr = lr.unwrap_or(3e-3);
                let built = nn::AdamW {
                    beta2: 0.95,
                    wd: 0.01,
                    ..Default::default()
                }
                .build(vs, lr);
                Ok(Stepper::LibTorch {
                    optimizer: built.map_err(|e| miette!("{e}"))?,
                    lr,
                })
            }
        }
    }
}

/// A built optimizer, whoever made it.
pub(crate) enum Stepper {
    LibTorch { optimizer: nn::Optimizer, lr: f64 },
}

impl Stepper {
    pub(crate) fn zero_grad(&mut self) {
        match self {
            Self::LibTorch { optimizer, .. } => optimizer.zero_grad(),
        }
    }

    pub(crate) fn step(&mut self) -> miette::Result<()> {
        match self {
            Self::LibTorch { optimizer, .. } => optimizer.step(),
        }
        Ok(())
    }

    /// Sets every learning rate to `factor` times what the optimizer was built with.
    pub(crate) fn scale_lr(&mut self, factor: f64) -> miette::Result<()> {
        match self {
            Self::LibTorch { optimizer, lr } => optimizer.set_lr(*lr * factor),
        }
        Ok(())
    }
}
