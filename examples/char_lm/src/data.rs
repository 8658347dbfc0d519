//! The text as token ids: vocabulary, split, batches and the bigram baseline.
//!
//! The text is the King James Bible (public domain), one verse a line, without
//! verse numbers; it is the output of Debian's `bible -f gen1:1-rev22:21` with
//! the references cut off. The first nine tenths train, the rest validates.

use std::io::Read;

use flate2::read::GzDecoder;
use tch::Tensor;

const KING_JAMES: &[u8] = include_bytes!("../data/king_james.txt.gz");

/// A text over its own alphabet, split in two.
pub(crate) struct Corpus {
    vocab: Vec<char>,
    train: Vec<i64>,
    valid: Vec<i64>,
}

/// Token ids, `[batch, context]` int64 each; `targets` is `inputs` one character later.
pub(crate) struct Batch {
    pub(crate) inputs: Tensor,
    pub(crate) targets: Tensor,
}

impl Corpus {
    /// The text that comes with the example.
    pub(crate) fn king_james() -> std::io::Result<Self> {
        let mut text = String::new();
        GzDecoder::new(KING_JAMES).read_to_string(&mut text)?;
        Ok(Self::new(&text))
    }

    pub(crate) fn new(text: &str) -> Self {
        let mut vocab: Vec<char> = text.chars().collect();
        vocab.sort_unstable();
        vocab.dedup();
        let ids: Vec<i64> = text
            .chars()
            .map(|c| vocab.partition_point(|&v| v < c) as i64)
            .collect();
        let (train, valid) = ids.split_at(ids.len() / 10 * 9);
        Self {
            train: train.to_vec(),
            valid: valid.to_vec(),
            vocab,
        }
    }

    pub(crate) fn vocab(&self) -> usize {
        self.vocab.len()
    }

    pub(crate) fn characters(&self) -> usize {
        self.train.len() + self.valid.len()
    }

    /// The shorter of the two parts: a window of this many characters always fits.
    pub(crate) fn shortest_part(&self) -> usize {
        self.train.len().min(self.valid.len())
    }

    /// A random batch of the training part.
    pub(crate) fn batch(&self, random: &mut Random, size: usize, context: usize) -> Batch {
        let starts = self.train.len() - context;
        let windows = (0..size).map(|_| random.below(starts)).collect::<Vec<_>>();
        gather(&self.train, &windows, context)
    }

    /// `count` fixed batches spread evenly over the validation part.
    pub(crate) fn eval_batches(&self, count: usize, size: usize, context: usize) -> Vec<Batch> {
        let starts = self.valid.len() - context;
        let windows: Vec<usize> = (0..count * size)
            .map(|i| i * starts / (count * size))
            .collect();
        windows
            .chunks(size)
            .map(|chunk| gather(&self.valid, chunk, context))
            .collect()
    }

    /// Loss (nats per character) on the validation part of the model that knows
    /// only how often each character follows each other one, counted on the
    /// training part with one added to every count.
    pub(crate) fn bigram_loss(&self) -> f64 {
        let n = self.vocab();
        let mut counts = vec![1.0; n * n];
        for (from, to) in pairs(&self.train) {
            counts[from * n + to] += 1.0;
        }
        let totals: Vec<f64> = counts.chunks(n).map(|row| row.iter().sum()).collect();
        let nats: f64 = pairs(&self.valid)
            .map(|(from, to)| f64::ln(totals[from] / counts[from * n + to]))
            .sum();
        nats / (self.valid.len() - 1) as f64
    }

    /// The text of some token ids.
    pub(crate) fn decode(&self, ids: &[i64]) -> String {
        ids.iter().map(|&id| self.vocab[id as usize]).collect()
    }

    /// The ids of `text`; characters the corpus does not have are left out.
    pub(crate) fn encode(&self, text: &str) -> Vec<i64> {
        text.chars()
            .filter_map(|c| self.vocab.binary_search(&c).ok())
            .map(|i| i as i64)
            .collect()
    }
}

fn pairs(ids: &[i64]) -> impl Iterator<Item = (usize, usize)> + '_ {
    ids.windows(2)
        .map(|pair| (pair[0] as usize, pair[1] as usize))
}

fn gather(ids: &[i64], starts: &[usize], context: usize) -> Batch {
    let shape = [starts.len() as i64, context as i64];
    let at = |shift: usize| {
        let flat: Vec<i64> = starts
            .iter()
            .flat_map(|&s| &ids[s + shift..s + shift + context])
            .copied()
            .collect();
        Tensor::from_slice(&flat).view(shape)
    };
    Batch {
        inputs: at(0),
        targets: at(1),
    }
}

/// SplitMix64: every optimizer sees the same batches, whatever it draws itself.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_follow_inputs() {
        let corpus = Corpus::new(&"abcdefghij".repeat(20));
        let batch = corpus.batch(&mut Random::new(1), 4, 5);
        let inputs = Vec::<i64>::try_from(batch.inputs.view(-1)).unwrap();
        let targets = Vec::<i64>::try_from(batch.targets.view(-1)).unwrap();
        assert_eq!(inputs.len(), 20);
        for (i, t) in inputs.iter().zip(targets) {
            assert_eq!(t, (i + 1) % 10);
        }
    }

    #[test]
    fn encoding_reverses() {
        let corpus = Corpus::new("in the beginning");
        assert_eq!(corpus.decode(&corpus.encode("be the inn")), "be the inn");
        assert_eq!(corpus.encode("Q"), Vec::<i64>::new());
    }

    #[test]
    fn a_cycle_is_predictable_and_a_uniform_text_is_not() {
        let cycle = Corpus::new(&"ab".repeat(5000)).bigram_loss();
        assert!(cycle < 0.01, "{cycle}");
        let mut random = Random::new(3);
        let noise: String = (0..20_000)
            .map(|_| ['a', 'b', 'c', 'd'][random.below(4)])
            .collect();
        let loss = Corpus::new(&noise).bigram_loss();
        assert!((loss - 4f64.ln()).abs() < 0.01, "{loss}");
    }

    #[test]
    fn the_text_is_whole() {
        let corpus = Corpus::king_james().unwrap();
        assert_eq!(
            corpus.decode(&corpus.train[..24]),
            "In the beginning God cre"
        );
        assert!(
            corpus
                .decode(&corpus.valid)
                .ends_with("be with you all. Amen.\n")
        );
    }
}
