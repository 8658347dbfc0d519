//! Reads the recorded trajectories in `tests/golden`; its README describes the files.
//!
//! ```no_run
//! for case in optc_tests::golden::load("adamw") {
//!     println!("{} runs {} steps", case.id(), case.steps);
//! }
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::{Map, Value};

/// The recorded files, and how many cases each has.
pub const FILES: [(&str, usize); 64] = [
    ("sgd", 8),
    ("adagrad", 3),
    ("adadelta", 3),
    ("rmsprop", 5),
    ("adam", 7),
    ("adamw", 10),
    ("nadam", 4),
    ("radam", 4),
    ("adamax", 3),
    ("asgd", 3),
    ("rprop", 3),
    ("lion", 6),
    ("lion_cautious", 5),
    ("c_lion", 3),
    ("c_adamw", 6),
    ("signum", 4),
    ("ademamix", 4),
    ("normalised_gd", 5),
    ("adabelief", 3),
    ("yogi", 3),
    ("adan", 4),
    ("laprop", 4),
    ("adopt", 4),
    ("grams", 3),
    ("clip_norm_adamw", 7),
    ("prodigy", 5),
    ("schedule_free_adamw", 6),
    ("schedule_free_sgd", 3),
    ("schedule_free_radam", 3),
    ("adafactor", 5),
    ("adafactor_fairseq", 6),
    ("lamb", 6),
    ("lars", 5),
    ("mars", 8),
    ("torch_muon", 6),
    ("muon", 5),
    ("po_muon", 5),
    ("moonlight_muon", 3),
    ("mars_m", 3),
    ("normuon", 7),
    ("dion2", 2),
    ("nordion2", 1),
    ("scion", 5),
    ("adam_mini", 3),
    ("soap", 4),
    ("soap_options", 8),
    ("soap_long", 3),
    ("pytorch_optimizer_shampoo", 5),
    ("torch_optimizer_shampoo", 4),
    ("splus", 4),
    ("galore_adamw", 7),
    ("distributed_shampoo", 8),
    ("distributed_shampoo_evc", 4),
    ("distributed_shampoo_other", 7),
    ("scalable_shampoo", 2),
    ("scalable_shampoo_options", 4),
    ("dion", 6),
    ("dion_simple", 1),
    ("dion_muon", 4),
    ("psgd_kron", 4),
    ("psgd_kron_options", 5),
    ("sam", 4),
    ("sophia_g", 3),
    ("c_muon", 2),
];

/// One recorded run of one optimizer.
#[derive(Clone)]
pub struct Case {
    /// The file it comes from, without the extension.
    pub file: String,
    /// Its name inside the file.
    pub name: String,
    /// What the reference computed in: `float64`, `float32` or `bfloat16`.
    pub dtype: String,
    /// How many steps the reference took.
    pub steps: u64,
    /// The steps after which parameters and states were recorded.
    pub snapshots: Vec<u64>,
    /// The reference's casts to lower precision were made harmless.
    pub exact: bool,
    /// Parameters in the order of the reference.
    pub order: Vec<String>,
    /// Shapes and initial values.
    pub params: BTreeMap<String, Param>,
    /// Every option of every parameter group.
    pub groups: Vec<Map<String, Value>>,
    /// What the case sets; the rest are the constructor's defaults.
    pub hyper: Map<String, Value>,
    /// The constructor's other arguments.
    pub defaults: Map<String, Value>,
    /// What is done around the optimizer: clipping, entries, their arguments.
    pub protocol: Map<String, Value>,
    /// The gradients of step t at index t - 1; a parameter without a gradient has no entry.
    pub grads: Vec<BTreeMap<String, Vec<f64>>>,
    /// The learning rate of step t at index t - 1, where it changes.
    pub lr: Option<Vec<f64>>,
    /// How far results move when gradients move by 4 units in the last place: `param`, `state NAME`.
    pub response: BTreeMap<String, f64>,
    /// Random tensors in the order in which the reference drew them, with their steps.
    pub draws: Vec<(u64, Vec<f64>)>,
    /// One random number in [0, 1) for each step, where the reference draws one.
    pub chances: Vec<f64>,
    /// Options of a group that change, by step and group.
    pub options: BTreeMap<(u64, usize), BTreeMap<String, f64>>,
    snapshot: BTreeMap<(u64, String), Snapshot>,
    extra: BTreeMap<(u64, String), BTreeMap<String, Vec<f64>>>,
}

/// A parameter before the first step.
#[derive(Clone)]
pub struct Param {
    pub shape: Vec<usize>,
    /// Row-major.
    pub init: Vec<f64>,
    /// All gradients lie in one subspace of this dimension.
    pub gradient_rank: Option<usize>,
}

/// One parameter after one step.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Row-major.
    pub param: Vec<f64>,
    /// By the reference's own name.
    pub states: BTreeMap<String, Vec<f64>>,
}

impl Case {
    /// `file/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.file, self.name)
    }

    /// An option of a group, or of the constructor for what the reference keeps outside its groups.
    pub fn option(&self, group: usize, name: &str) -> Option<&Value> {
        let places = [
            &self.groups[group],
            &self.hyper,
            &self.defaults,
            &self.protocol,
        ];
        places.into_iter().find_map(|options| options.get(name))
    }

    /// What else was recorded of the parameters at a step: gradients for an entry, or what one makes of a parameter.
    pub fn extra(&self, kind: &str, step: u64) -> Option<&BTreeMap<String, Vec<f64>>> {
        self.extra.get(&(step, kind.to_owned()))
    }

    /// Whether random numbers were drawn.
    pub fn draws_numbers(&self) -> bool {
        !self.draws.is_empty() || !self.chances.is_empty()
    }

    /// What was recorded of a parameter after a step.
    pub fn snapshot(&self, step: u64, param: &str) -> &Snapshot {
        let key = (step, param.to_owned());
        self.snapshot
            .get(&key)
            .unwrap_or_else(|| panic!("{}: no snapshot {key:?}", self.id()))
    }

    /// Puts another snapshot in the place of a recorded one.
    pub fn replace(&mut self, step: u64, param: &str, by: Snapshot) {
        self.snapshot.insert((step, param.to_owned()), by);
    }
}

/// All cases of one file.
pub fn load(file: &str) -> Vec<Case> {
    let path = folder().join(format!("{file}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let meta = read_meta(&bytes);
    meta.cases
        .into_iter()
        .map(|(name, meta)| build(file, name, meta, &tensors))
        .collect()
}

/// All cases of all files.
pub fn load_all() -> Vec<Case> {
    FILES.iter().flat_map(|(file, _)| load(file)).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[derive(Deserialize)]
struct FileMeta {
    cases: BTreeMap<String, CaseMeta>,
}

#[derive(Deserialize)]
struct CaseMeta {
    dtype: String,
    steps: u64,
    snapshots: Vec<u64>,
    #[serde(default)]
    exact_float64: bool,
    order: Vec<String>,
    params: BTreeMap<String, ParamMeta>,
    groups: Vec<Map<String, Value>>,
    hyper: Map<String, Value>,
    defaults: Map<String, Value>,
    #[serde(default)]
    protocol: Map<String, Value>,
    response_4ulp: BTreeMap<String, f64>,
    #[serde(default)]
    draws: Vec<DrawMeta>,
}

#[derive(Deserialize)]
struct DrawMeta {
    i: usize,
    t: u64,
    /// What drew it.
    r#fn: String,
}

impl DrawMeta {
    /// A random bit stands for a sign.
    fn drawn(&self, values: Vec<f64>) -> Vec<f64> {
        match self.r#fn.as_str() {
            "randint" => values.into_iter().map(|bit| 2.0 * bit - 1.0).collect(),
            _ => values,
        }
    }
}

#[derive(Deserialize)]
struct ParamMeta {
    shape: Vec<usize>,
    gradient_rank: Option<usize>,
}

fn read_meta(bytes: &[u8]) -> FileMeta {
    let (_, header) = SafeTensors::read_metadata(bytes).expect("a safetensors header");
    let entries = header.metadata().as_ref().expect("metadata");
    serde_json::from_str(&entries["golden"]).expect("the `golden` entry")
}

fn build(file: &str, name: String, meta: CaseMeta, tensors: &SafeTensors) -> Case {
    let prefix = format!("{name}/");
    let mut records = Records::default();
    for (key, view) in tensors.iter() {
        if let Some(rest) = key.strip_prefix(&prefix) {
            records.add(rest, &view);
        }
    }
    let params = meta.params.into_iter().map(|(param, m)| {
        let init = records
            .init
            .remove(&param)
            .expect("every parameter has an initial value");
        (
            param,
            Param {
                shape: m.shape,
                init,
                gradient_rank: m.gradient_rank,
            },
        )
    });
    Case {
        file: file.to_owned(),
        dtype: meta.dtype,
        steps: meta.steps,
        snapshots: meta.snapshots,
        exact: meta.exact_float64,
        order: meta.order,
        params: params.collect(),
        groups: meta.groups,
        hyper: meta.hyper,
        defaults: meta.defaults,
        protocol: meta.protocol,
        grads: (1..=meta.steps)
            .map(|t| records.grads.remove(&t).unwrap_or_default())
            .collect(),
        lr: records.lr,
        response: meta.response_4ulp,
        draws: meta
            .draws
            .iter()
            .filter_map(|draw| Some((draw.t, draw.drawn(records.draws.remove(&draw.i)?))))
            .collect(),
        chances: records.chances,
        options: records.options,
        snapshot: records.snapshot,
        extra: records.extra,
        name,
    }
}

#[derive(Default)]
struct Records {
    init: BTreeMap<String, Vec<f64>>,
    grads: BTreeMap<u64, BTreeMap<String, Vec<f64>>>,
    snapshot: BTreeMap<(u64, String), Snapshot>,
    lr: Option<Vec<f64>>,
    draws: BTreeMap<usize, Vec<f64>>,
    chances: Vec<f64>,
    options: BTreeMap<(u64, usize), BTreeMap<String, f64>>,
    extra: BTreeMap<(u64, String), BTreeMap<String, Vec<f64>>>,
}

impl Records {
    fn add(&mut self, key: &str, view: &TensorView) {
        let parts: Vec<&str> = key.split('/').collect();
        match parts[..] {
            ["param", name, "init"] => drop(self.init.insert(name.to_owned(), values(view))),
            ["param", name, step] => self.at(step, name).param = values(view),
            ["state", name, state, step] => {
                self.at(step, name)
                    .states
                    .insert(state.to_owned(), values(view));
            }
            ["grad", name, step] => {
                let grads = self.grads.entry(number(step)).or_default();
                grads.insert(name.to_owned(), values(view));
            }
            ["extra", "lr"] => self.lr = Some(values(view)),
            ["extra", "rng_random"] => self.chances = values(view),
            ["extra", "draw", index] => {
                drop(
                    self.draws
                        .insert(index.parse().expect("an index"), values(view)),
                );
            }
            // What decided which steps update a preconditioner: a function of the step.
            ["extra", "do_update" | "update_probability"] => {}
            // Norms and gradients on the way from the recorded gradients to the recorded result.
            ["extra", "total_norm"] | ["extra", "clipped", _, _] => {}
            ["extra", "after_init", name] => {
                let extra = self.extra.entry((0, "after_init".to_owned())).or_default();
                extra.insert(name.to_owned(), values(view));
            }
            ["extra", group, option, step] if group.starts_with("group") => {
                let at = (
                    number(step),
                    group["group".len()..].parse().expect("a group"),
                );
                let options = self.options.entry(at).or_default();
                options.insert(option.to_owned(), values(view)[0]);
            }
            ["extra", kind, name, step] => {
                let at = (number(step), kind.to_owned());
                let extra = self.extra.entry(at).or_default();
                extra.insert(name.to_owned(), values(view));
            }
            _ => panic!("unknown key {key}"),
        }
    }

    fn at(&mut self, step: &str, name: &str) -> &mut Snapshot {
        self.snapshot
            .entry((number(step), name.to_owned()))
            .or_default()
    }
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("`{text}` is not a step"))
}

fn values(view: &TensorView) -> Vec<f64> {
    let bytes = view.data();
    match view.dtype() {
        Dtype::F64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect(),
        Dtype::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b).into())
            .collect(),
        Dtype::I64 => bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| i64::from_le_bytes(*b) as f64)
            .collect(),
        Dtype::BOOL => bytes.iter().map(|&b| b.into()).collect(),
        other => panic!("unexpected dtype {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_whole() {
        for (file, count) in FILES {
            assert_eq!(load(file).len(), count, "{file}");
        }
        for case in load_all() {
            assert_eq!(case.grads.len() as u64, case.steps, "{}", case.id());
            for (name, param) in &case.params {
                let elements: usize = param.shape.iter().product();
                assert_eq!(param.init.len(), elements, "{} {name}", case.id());
                for step in &case.snapshots {
                    assert_eq!(case.snapshot(*step, name).param.len(), elements);
                }
            }
        }
    }

    #[test]
    fn absent_gradients_have_no_entry() {
        let cases = load("adamw");
        let case = cases
            .iter()
            .find(|c| c.name == "default")
            .expect("the default case");
        let present: Vec<bool> = case.grads.iter().map(|g| g.contains_key("late")).collect();
        assert_eq!(present[..4], [false, false, true, true]);
        assert!(!case.grads[3].contains_key("vec"));
    }
}
