//! Recorded cases for a program of another language, and judgement of its results.
//!
//! Both files are words and numbers, separated by white space; `front.cpp` and `test_golden.py` read the one and write
//! the other.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::str::SplitWhitespace;

use serde_json::Value;

use crate::golden::{Case, load_all};
use crate::mapping::{self, Group};
use crate::parity::{self, Comparison, Stepper};
use crate::tolerance::Precision;

/// The recordings of one element type that another language is asked for. Random numbers cannot be handed in there.
pub struct Exchange {
    cases: Vec<Case>,
    precision: Precision,
}

impl Exchange {
    /// Those of `float64` or `float32`.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn of(dtype: &str) -> Exchange {
        let kept = |case: &Case| {
            case.dtype == dtype && mapping::open(case).is_none() && !case.draws_numbers()
        };
        let cases: Vec<Case> = load_all().into_iter().filter(kept).collect();
        assert!(!cases.is_empty(), "no recordings in {dtype}");
        let single = dtype == "float32";
        let precision = if single {
            Precision::F32
        } else {
            Precision::F64
        };
        Exchange { cases, precision }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.cases.len()
    }

    /// What the program is asked to do, as one text.
    pub fn questions(&self) -> String {
        let texts = self
            .cases
            .iter()
            .map(|case| Recorder::write(case, self.precision));
        format!("{}\n{}", self.cases.len(), texts.collect::<String>())
    }

    /// What is too far away in the program's results.
    ///
    /// # Panics
    ///
    /// When the text ends too early.
    pub fn judge(&self, results: &str) -> String {
        let mut replay = Replay::new(results);
        let failures = self
            .cases
            .iter()
            .map(|case| failure(case, self.precision, &mut replay));
        failures.collect()
    }
}

fn failure(case: &Case, precision: Precision, replay: &mut Replay<'_>) -> String {
    replay.start();
    let report = parity::follow(case, precision, replay);
    let wrong = report.failures().filter(|one| !replay.starts_later(one));
    let wrong: Vec<String> = wrong.map(|one| format!("  {one:?}\n")).collect();
    match wrong.is_empty() {
        true => String::new(),
        false => format!("{}:\n{}", case.id(), wrong.concat()),
    }
}

/// Notes what a case asks of a stepper.
struct Recorder<'a> {
    case: &'a Case,
    steps: String,
}

impl Recorder<'_> {
    fn write(case: &Case, precision: Precision) -> String {
        let setup = mapping::setup(case);
        let mut recorder = Recorder {
            case,
            steps: String::new(),
        };
        parity::run(case, precision, &mut recorder);
        let mut text = format!(
            "{} {} {}\n{}\n",
            setup.module,
            setup.optimizer,
            case.dtype,
            case.order.len()
        );
        for name in &case.order {
            let param = &case.params[name];
            let dims: Vec<String> = param.shape.iter().map(usize::to_string).collect();
            let _ = writeln!(
                text,
                "{name} {} {} {}",
                dims.len(),
                dims.join(" "),
                numbers(&param.init)
            );
        }
        let _ = writeln!(text, "{}", setup.groups.len());
        text.extend(setup.groups.iter().map(group));
        text + &recorder.steps + "done\n"
    }
}

impl Recorder<'_> {
    fn note_grads(&mut self, grads: &BTreeMap<String, Vec<f64>>) {
        for (name, grad) in grads {
            let _ = writeln!(self.steps, "grad {name} {}", numbers(grad));
        }
    }
}

impl Stepper for Recorder<'_> {
    fn step(&mut self, lr: Option<f64>, grads: &BTreeMap<String, Vec<f64>>) {
        if let Some(lr) = lr {
            let _ = writeln!(self.steps, "lr {lr:e}");
        }
        self.note_grads(grads);
        self.steps += "step\n";
    }

    fn entry(&mut self, name: &str, grads: Option<&BTreeMap<String, Vec<f64>>>) {
        self.note_grads(grads.unwrap_or(&BTreeMap::new()));
        let _ = writeln!(self.steps, "entry {name}");
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.case.params[name].init.clone()
    }

    fn shared(&self, _: usize, _: &str) -> Option<f64> {
        None
    }

    fn state(&self, _: &str, _: &str) -> Option<Vec<f64>> {
        None
    }
}

fn group(group: &Group) -> String {
    let names: Vec<String> = group
        .params
        .iter()
        .map(|name| format!("^{name}$"))
        .collect();
    let mut text = names.join("|");
    if let Some(rule) = group.rule {
        let _ = write!(text, " rule {rule}");
    }
    for (name, value) in &group.hypers {
        let _ = write!(text, " hyper {name} {value:e}");
    }
    for (name, value) in &group.statics {
        let _ = write!(text, " static {name} {}", choice(value));
    }
    text + " end\n"
}

/// A static as a person would write it, without spaces.
fn choice(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Array(cells) => {
            let rows = cells.iter().any(Value::is_array);
            let cells: Vec<String> = cells.iter().map(choice).collect();
            cells.join(if rows { ";" } else { "," })
        }
        other => other.to_string(),
    }
}

fn numbers(values: &[f64]) -> String {
    values
        .iter()
        .map(|value| format!("{value:e}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What the other program computed, snapshot by snapshot.
struct Replay<'a> {
    words: SplitWhitespace<'a>,
    now: BTreeMap<String, Vec<f64>>,
    /// How many steps of the case are behind it, and parameters that have taken none, with that number.
    step: u64,
    unstepped: HashSet<(u64, String)>,
}

impl<'a> Replay<'a> {
    fn new(text: &'a str) -> Replay<'a> {
        Replay {
            words: text.split_whitespace(),
            now: BTreeMap::new(),
            step: 0,
            unstepped: HashSet::new(),
        }
    }

    /// Goes on to the first snapshot of the next case.
    fn start(&mut self) {
        self.step = 0;
        self.unstepped.clear();
        self.read();
    }

    /// Whether this is state of a parameter that had not stepped by then: a caller that keeps the state has none yet,
    /// while the reference shows what it starts from.
    fn starts_later(&self, comparison: &Comparison) -> bool {
        let owner = comparison
            .what
            .split_once('/')
            .map(|(param, _)| param.to_owned());
        owner.is_some_and(|param| self.unstepped.contains(&(comparison.step, param)))
    }

    fn read(&mut self) {
        self.now.clear();
        while let Some(kind) = self.words.next().filter(|&kind| kind != "end") {
            let param = self.word();
            let key = match kind {
                "param" => param.to_owned(),
                "step" => format!("{param}/step"),
                _ => format!("{param}/{}", self.word()),
            };
            let values = self.values();
            if kind == "step" && values == [0.0] {
                self.unstepped.insert((self.step, param.to_owned()));
            }
            self.now.insert(key, values);
        }
    }

    fn word(&mut self) -> &'a str {
        self.words.next().expect("a whole snapshot")
    }

    fn values(&mut self) -> Vec<f64> {
        let count: usize = self.word().parse().expect("a count");
        (0..count)
            .map(|_| self.word().parse().expect("a number"))
            .collect()
    }
}

impl Stepper for Replay<'_> {
    fn step(&mut self, _: Option<f64>, _: &BTreeMap<String, Vec<f64>>) {
        self.step += 1;
        self.read();
    }

    fn entry(&mut self, _: &str, _: Option<&BTreeMap<String, Vec<f64>>>) {
        self.read();
    }

    fn param(&self, name: &str) -> Vec<f64> {
        self.now[name].clone()
    }

    fn shared(&self, group: usize, name: &str) -> Option<f64> {
        self.now
            .get(&format!("{group}/{name}"))
            .map(|value| value[0])
    }

    fn state(&self, param: &str, state: &str) -> Option<Vec<f64>> {
        self.now.get(&format!("{param}/{state}")).cloned()
    }
}
