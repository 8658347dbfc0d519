//! What an artifact says about itself, and the sources it was made from: canonical JSON.
//!
//! Canonical: fields in the order of their names, maps and sets sorted, no spaces, floats in their shortest form. Equal
//! descriptions are equal bytes. The manifest describes; it decides nothing. The runtime checks the embedded source
//! again and specialises it, and only looks kernels up by hash.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};

/// The description of an artifact. Fields stand in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What a machine must offer beyond map kernels: `products`, `routines`.
    pub capabilities: BTreeSet<String>,
    /// Every precompiled kernel, sorted by hash.
    pub kernels: Vec<Kernel>,
    /// The version of `optc` that wrote this.
    pub optc: String,
    /// The optimizers of the root module, in source order.
    pub optimizers: Vec<Optimizer>,
    /// The families of matrix products in the CPU objects, by element type (`f32`, `bf16`).
    pub products: BTreeSet<String>,
    /// The name of the root module.
    pub root: String,
    /// The names of the object and PTX sections: `x86-64-v4`, `sm_80`.
    pub targets: BTreeSet<String>,
}

/// A precompiled kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// 32 hexadecimal digits of the hash of its canonical text.
    pub hash: String,
    /// The symbol it is exported under.
    pub symbol: String,
    /// The targets that hold it.
    pub targets: BTreeSet<String>,
}

/// An optimizer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// The text of its `///` or of its file's `//!`.
    pub docs: String,
    /// What it does beside a step, as text: `pull(to: like w, by: float)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
    /// Hyperparameters in declaration order.
    pub hypers: Vec<Hyper>,
    /// Its name.
    pub name: String,
    /// Rules in declaration order.
    pub rules: Vec<Rule>,
    /// Statics in declaration order.
    pub statics: Vec<Static>,
}

/// A hyperparameter: may change between steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hyper {
    /// The value when nobody sets it.
    pub default: Number,
    /// Its comment.
    pub docs: String,
    /// Its name.
    pub name: String,
    /// What it may be.
    pub range: Option<Range>,
}

/// An interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Upper bound.
    pub hi: Number,
    /// Whether the upper bound belongs to it.
    pub hi_closed: bool,
    /// Lower bound.
    pub lo: Number,
    /// Whether the lower bound belongs to it.
    pub lo_closed: bool,
}

/// A choice fixed at bind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Static {
    /// The value when nobody sets it, as text.
    pub default: String,
    /// Its comment.
    pub docs: String,
    /// Its name.
    pub name: String,
    /// Its type, as text: `bool`, `int in [1, 99]`.
    pub ty: String,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Which parameters it takes, as text: `w: [m, n]`.
    pub pattern: String,
    /// Its state, one declaration a line as text: `exp_avg: f32 [m, n]`.
    pub state: Vec<String>,
}

/// An f64 that survives JSON: a number, or `"inf"`, `"-inf"`, `"nan"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() => serializer.serialize_f64(x),
            x if x.is_nan() => serializer.serialize_str("nan"),
            x if x > 0.0 => serializer.serialize_str("inf"),
            _ => serializer.serialize_str("-inf"),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Stored {
            Finite(f64),
            Named(String),
        }
        match Stored::deserialize(deserializer)? {
            Stored::Finite(x) => Ok(Number(x)),
            Stored::Named(name) => named(&name).ok_or_else(|| {
                D::Error::custom(format!(
                    "expected a number, `inf`, `-inf` or `nan`, found `{name}`"
                ))
            }),
        }
    }
}

fn named(name: &str) -> Option<Number> {
    match name {
        "inf" => Some(Number(f64::INFINITY)),
        "-inf" => Some(Number(f64::NEG_INFINITY)),
        "nan" => Some(Number(f64::NAN)),
        _ => None,
    }
}

/// Every text needed to check and specialise the optimizers again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// Text by module name (`soap`, `std.orthogonal`).
    pub modules: BTreeMap<String, String>,
    /// The module that was compiled; a key of `modules`.
    pub root: String,
}

impl Sources {
    /// No modules yet; `root` is to be inserted.
    pub fn new(root: impl Into<String>) -> Sources {
        Sources {
            modules: BTreeMap::new(),
            root: root.into(),
        }
    }

    /// The text of the root module; empty if it was never inserted, which neither writer nor reader lets pass.
    pub fn root_text(&self) -> &str {
        self.modules.get(&self.root).map_or("", String::as_str)
    }

    /// What is wrong with it, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let missing = !self.modules.contains_key(&self.root);
        missing.then(|| format!("the root module `{}` is not among its sources", self.root))
    }
}

impl Manifest {
    /// What is wrong with it, if anything. `targets` are the names of the sections present.
    pub(crate) fn problem(&self, targets: &BTreeSet<String>) -> Option<String> {
        if self.targets != *targets {
            return Some(format!(
                "it names the targets {}, but the sections are for {}",
                list(&self.targets),
                list(targets)
            ));
        }
        let ordered = self.kernels.is_sorted_by(|a, b| a.hash < b.hash);
        let kernel = self.kernels.iter().find_map(|k| k.problem(targets));
        kernel.or_else(|| (!ordered).then(|| "its kernels are not in strict order of hash".into()))
    }
}

impl Kernel {
    fn problem(&self, targets: &BTreeSet<String>) -> Option<String> {
        let hash = &self.hash;
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hash.len() != 32 || !hash.bytes().all(digits) {
            return Some(format!("`{hash}` is not the hash of a kernel"));
        }
        if self.symbol != format!("optc_map_{hash}") {
            return Some(format!(
                "the symbol of kernel `{hash}` is `{}`",
                self.symbol
            ));
        }
        let stray = self.targets.difference(targets).next()?;
        Some(format!(
            "kernel `{hash}` is said to be in `{stray}`, which is not a section"
        ))
    }
}

/// `a`, `b` and so on, or `nothing`: for messages.
pub(crate) fn list<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = names
        .into_iter()
        .map(|n| format!("`{}`", n.as_ref()))
        .collect();
    if quoted.is_empty() {
        "nothing".into()
    } else {
        quoted.join(", ")
    }
}

/// `value` as canonical JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(value)
}

/// A value from JSON.
pub(crate) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let range = Range {
            hi: Number(f64::INFINITY),
            hi_closed: false,
            lo: Number(0.0),
            lo_closed: true,
        };
        let hyper = Hyper {
            default: Number(1e-3),
            docs: "learning rate".into(),
            name: "lr".into(),
            range: Some(range),
        };
        let rule = Rule {
            name: "each".into(),
            pattern: "w: [...]".into(),
            state: vec!["m: f32 [...]".into()],
        };
        let choice = Static {
            default: "true".into(),
            docs: String::new(),
            name: "nesterov".into(),
            ty: "bool".into(),
        };
        Manifest {
            optc: "0.1.0".into(),
            root: "sgd".into(),
            optimizers: vec![Optimizer {
                docs: "d".into(),
                entries: vec!["eval()".into()],
                hypers: vec![hyper],
                name: "Sgd".into(),
                rules: vec![rule],
                statics: vec![choice],
            }],
            kernels: vec![Kernel {
                hash: "0".repeat(32),
                symbol: format!("optc_map_{}", "0".repeat(32)),
                targets: ["sm_80".to_owned()].into(),
            }],
            targets: ["sm_80".to_owned()].into(),
            ..Manifest::default()
        }
    }

    /// Asserts that the keys of every object in `json` ascend, reading the text itself: a parsed map would sort them.
    fn assert_sorted_keys(json: &str) {
        let mut open: Vec<String> = Vec::new();
        let mut rest = json;
        while let Some(at) = rest.find(['{', '}', '"']) {
            let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
            rest = after;
            match mark {
                b'{' => open.push(String::new()),
                b'}' => drop(open.pop()),
                _ => {
                    let (text, after) = after.split_once('"').unwrap();
                    rest = after;
                    if after.starts_with(':') {
                        let last = open.last_mut().unwrap();
                        assert!(last.as_str() < text, "`{last}` before `{text}`");
                        *last = text.to_owned();
                    }
                }
            }
        }
    }

    #[test]
    fn keys_are_sorted_at_every_level() {
        let json = String::from_utf8(to_json(&sample()).unwrap()).unwrap();
        assert_sorted_keys(&json);
        let sources = Sources {
            modules: [("b".into(), "x".into()), ("a".into(), "y".into())].into(),
            root: "a".into(),
        };
        assert_sorted_keys(&String::from_utf8(to_json(&sources).unwrap()).unwrap());
    }

    #[test]
    fn json_brings_back_the_same_manifest() {
        let json = to_json(&sample()).unwrap();
        assert_eq!(from_json::<Manifest>(&json).unwrap(), sample());
    }

    #[test]
    fn numbers_keep_every_bit() {
        for x in [
            0.1,
            1e-8,
            f64::MIN_POSITIVE,
            f64::MAX,
            5e-324,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.999,
        ] {
            let json = to_json(&Number(x)).unwrap();
            let back: Number = from_json(&json).unwrap();
            assert_eq!(back.0.to_bits(), x.to_bits(), "{x}");
        }
        assert!(from_json::<Number>(b"\"nan\"").unwrap().0.is_nan());
        assert!(from_json::<Number>(b"\"much\"").is_err());
    }

    #[test]
    fn problems_are_named() {
        let targets = sample().targets;
        assert_eq!(sample().problem(&targets), None);
        assert!(
            sample()
                .problem(&BTreeSet::new())
                .unwrap()
                .contains("`sm_80`, but the sections are for nothing")
        );
        let mut twice = sample();
        twice.kernels.push(twice.kernels[0].clone());
        assert!(twice.problem(&targets).unwrap().contains("order"));
        let mut symbol = sample();
        symbol.kernels[0].symbol = "system".into();
        assert!(symbol.problem(&targets).unwrap().contains("`system`"));
        let mut hash = sample();
        hash.kernels[0].hash = "xyz".into();
        assert!(hash.problem(&targets).unwrap().contains("`xyz`"));
        assert!(Sources::new("a").problem().unwrap().contains("`a`"));
    }
}
