//! CPU levels: what machine code is made for, and what a machine can run.

use std::collections::BTreeSet;
use std::fmt;

/// A level of a CPU's instruction set. The order is from least to most demanding: of two that a machine runs, the
/// later is the faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// AVX2 and FMA.
    X86_64V3,
    /// AVX-512.
    X86_64V4,
    /// AVX-512 with bfloat16 products.
    X86_64V4Bf16,
}

/// What each level adds, and what of all that this machine has: detection wants literals.
macro_rules! features {
    ($($level:ident = [$($name:tt),*];)*) => {
        $(const $level: &[&str] = &[$($name),*];)*

        #[cfg(target_arch = "x86_64")]
        fn detected() -> Vec<&'static str> {
            let all = [$($(($name, std::arch::is_x86_feature_detected!($name))),*),*];
            let present = all.into_iter().filter(|&(_, present)| present);
            present.map(|(name, _)| name).collect()
        }
    };
}

features! {
    V3 = [
        "avx", "avx2", "bmi1", "bmi2", "cmpxchg16b", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sse3", "sse4.1",
        "sse4.2", "ssse3"
    ];
    V4 = ["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"];
    BF16 = ["avx512bf16"];
}

impl Isa {
    /// Every level, in order.
    pub const ALL: [Isa; 3] = [Isa::X86_64V3, Isa::X86_64V4, Isa::X86_64V4Bf16];

    /// The name of its section: `x86-64-v4`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::X86_64V3 => "x86-64-v3",
            Isa::X86_64V4 => "x86-64-v4",
            Isa::X86_64V4Bf16 => "x86-64-v4-bf16",
        }
    }

    /// The level of that name.
    pub fn from_name(name: &str) -> Option<Isa> {
        Isa::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// The features code of this level may use, as `/proc/cpuinfo` and `target_feature` spell them.
    pub fn requires(self) -> impl Iterator<Item = &'static str> {
        let levels = Isa::ALL.into_iter().zip([V3, V4, BF16]);
        let below = levels.filter(move |(level, _)| *level <= self);
        below.flat_map(|(_, features)| features).copied()
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a machine's CPU offers, as far as any level asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    names: BTreeSet<String>,
}

impl Features {
    /// Of the machine this runs on. Empty where it is not an x86-64.
    pub fn detect() -> Features {
        detected().into_iter().collect()
    }

    /// Whether code of level `isa` runs.
    pub fn runs(&self, isa: Isa) -> bool {
        isa.requires().all(|feature| self.names.contains(feature))
    }

    /// The most demanding level that runs.
    pub fn best(&self) -> Option<Isa> {
        Isa::ALL.into_iter().rev().find(|&isa| self.runs(isa))
    }
}

impl<S: Into<String>> FromIterator<S> for Features {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Features {
        Features {
            names: names.into_iter().map(Into::into).collect(),
        }
    }
}

/// In words, for messages: the best level, or what is missing for the first.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(isa) = self.best() {
            return write!(f, "a CPU of level `{isa}`");
        }
        let missing: Vec<&str> = Isa::X86_64V3
            .requires()
            .filter(|&feature| !self.names.contains(feature))
            .collect();
        write!(f, "a CPU without {}", missing.join(", "))
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_include_the_ones_below() {
        for (n, isa) in Isa::ALL.into_iter().enumerate() {
            let features: Features = isa.requires().collect();
            let runs: Vec<Isa> = Isa::ALL
                .into_iter()
                .filter(|&isa| features.runs(isa))
                .collect();
            assert_eq!(runs, Isa::ALL[..=n]);
            assert_eq!(features.best(), Some(isa));
            assert_eq!(Isa::from_name(isa.name()), Some(isa));
        }
    }

    #[test]
    fn a_plain_cpu_is_described_by_what_it_lacks() {
        let features: Features = Isa::X86_64V3
            .requires()
            .filter(|&f| f != "fma" && f != "movbe")
            .collect();
        assert_eq!(features.best(), None);
        assert_eq!(features.to_string(), "a CPU without fma, movbe");
    }

    #[test]
    fn detection_knows_every_feature_a_level_asks_for() {
        let known: Features = Isa::X86_64V4Bf16.requires().collect();
        assert!(Features::detect().names.is_subset(&known.names));
    }
}
