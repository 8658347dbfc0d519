//! The model: a decoder-only transformer over characters.
//!
//! Pre-norm blocks of causal self-attention and a four times wider GELU layer,
//! learned positions, no dropout. Queries, keys and values are matrices of
//! their own, so that a rule for matrices sees each as the paper means it.

use tch::nn::{self, Init, Module, Path};
use tch::{IndexOp, Kind, Tensor};

/// Sizes of the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) vocab: i64,
    pub(crate) context: i64,
    pub(crate) width: i64,
    pub(crate) layers: i64,
    pub(crate) heads: i64,
}

/// Maps `[batch, time]` token ids to `[batch, time, vocab]` logits.
#[derive(Debug)]
pub(crate) struct Transformer {
    shape: Shape,
    token: nn::Embedding,
    position: Tensor,
    blocks: Vec<Block>,
    norm: nn::LayerNorm,
    head: nn::Linear,
}

#[derive(Debug)]
struct Block {
    heads: i64,
    norm1: nn::LayerNorm,
    query: nn::Linear,
    key: nn::Linear,
    value: nn::Linear,
    project: nn::Linear,
    norm2: nn::LayerNorm,
    up: nn::Linear,
    down: nn::Linear,
}

impl Transformer {
    pub(crate) fn new(vs: &Path, shape: Shape) -> Self {
        let Shape {
            vocab,
            context,
            width,
            layers,
            ..
        } = shape;
        let small = Init::Randn {
            mean: 0.0,
            stdev: 0.02,
        };
        let token = nn::EmbeddingConfig {
            ws_init: small,
            ..Default::default()
        };
        let blocks = vs / "blocks";
        Self {
            shape,
            token: nn::embedding(vs / "embed" / "token", vocab, width, token),
            position: (vs / "embed" / "position").var("weight", &[context, width], small),
            blocks: (0..layers)
                .map(|i| Block::new(&(&blocks / i), shape))
                .collect(),
            norm: nn::layer_norm(vs / "norm", vec![width], Default::default()),
            head: matrix(vs / "head", width, vocab, 0.02),
        }
    }

    /// Mean cross entropy in nats per character.
    pub(crate) fn loss(&self, inputs: &Tensor, targets: &Tensor) -> Tensor {
        let logits = self.forward(inputs).view([-1, self.shape.vocab]);
        logits.cross_entropy_for_logits(&targets.view(-1))
    }

    /// `prompt` and `count` more characters, each drawn from the model's own prediction.
    pub(crate) fn sample(&self, prompt: &[i64], count: usize) -> Vec<i64> {
        let mut ids = prompt.to_vec();
        let context = self.shape.context as usize;
        for _ in 0..count {
            let window = Tensor::from_slice(&ids[ids.len().saturating_sub(context)..]);
            let logits = self.forward(&window.unsqueeze(0)).i((0, -1)) / 0.8;
            ids.push(
                logits
                    .softmax(-1, Kind::Float)
                    .multinomial(1, true)
                    .int64_value(&[0]),
            );
        }
        ids
    }
}

impl Module for Transformer {
    fn forward(&self, ids: &Tensor) -> Tensor {
        let time = ids.size()[1];
        let x = ids.apply(&self.token) + self.position.narrow(0, 0, time);
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x));
        x.apply(&self.norm).apply(&self.head)
    }
}

impl Block {
    fn new(vs: &Path, shape: Shape) -> Self {
        let Shape {
            width,
            layers,
            heads,
            ..
        } = shape;
        let attention = vs / "attention";
        let mlp = vs / "mlp";
        // What is added to the residual stream starts smaller, as in GPT-2.
        let residual = 0.02 / (2.0 * layers as f64).sqrt();
        Self {
            heads,
            norm1: nn::layer_norm(vs / "norm1", vec![width], Default::default()),
            query: matrix(&attention / "query", width, width, 0.02),
            key: matrix(&attention / "key", width, width, 0.02),
            value: matrix(&attention / "value", width, width, 0.02),
            project: matrix(&attention / "project", width, width, residual),
            norm2: nn::layer_norm(vs / "norm2", vec![width], Default::default()),
            up: matrix(&mlp / "up", width, 4 * width, 0.02),
            down: matrix(&mlp / "down", 4 * width, width, residual),
        }
    }

    fn attention(&self, x: &Tensor) -> Tensor {
        let (batch, time, width) = x.size3().expect("the residual stream has three dimensions");
        let split = |layer: &nn::Linear| {
            x.apply(layer)
                .view([batch, time, self.heads, width / self.heads])
                .transpose(1, 2)
        };
        let mixed = Tensor::scaled_dot_product_attention(
            &split(&self.query),
            &split(&self.key),
            &split(&self.value),
            None::<Tensor>,
            0.0,
            true,
            None,
            false,
        );
        mixed
            .transpose(1, 2)
            .reshape([batch, time, width])
            .apply(&self.project)
    }
}

impl Module for Block {
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x + self.attention(&x.apply(&self.norm1));
        let hidden = x.apply(&self.norm2).apply(&self.up).gelu("none");
        x + hidden.apply(&self.down)
    }
}

fn matrix<'a>(
    vs: impl std::borrow::Borrow<Path<'a>>,
    from: i64,
    to: i64,
    stdev: f64,
) -> nn::Linear {
    let config = nn::LinearConfig {
        ws_init: Init::Randn { mean: 0.0, stdev },
        bs_init: None,
        bias: false,
    };
    nn::linear(vs, from, to, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_future_does_not_leak() {
        tch::manual_seed(0);
        let vs = nn::VarStore::new(tch::Device::Cpu);
        let shape = Shape {
            vocab: 7,
            context: 6,
            width: 8,
            layers: 2,
            heads: 2,
        };
        let model = Transformer::new(&vs.root(), shape);
        let a = Tensor::from_slice(&[1i64, 2, 3, 4, 5, 6]).unsqueeze(0);
        let b = Tensor::from_slice(&[1i64, 2, 3, 4, 0, 0]).unsqueeze(0);
        let difference = (model.forward(&a) - model.forward(&b)).abs();
        assert_eq!(f64::try_from(difference.i((0, ..4)).max()).unwrap(), 0.0);
        assert!(f64::try_from(difference.i((0, 4..)).max()).unwrap() > 0.0);
    }
}
