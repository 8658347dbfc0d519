//! Every rule of the standard library on every shape of a table: the interpreter and the quick tier agree, nothing
//! becomes infinite, and there is no state that the rule does not declare.

use std::collections::BTreeSet;

use optc_core::hir::{OptimizerId, Program, RuleBody, Target};
use optc_core::lower::rule_for;
use optc_core::settings::{Settings, settle};
use optc_tests::interpreted::overrides;
use optc_tests::library;
use optc_tests::mapping::Group;
use optc_tests::trial::{Run, Trial};
use serde_json::{Value, json};

/// Every rank to 5, lengths 0 and 1, tall and wide, and longer than the limits of [`VARIANTS`].
const SHAPES: &[&[u64]] = &[
    &[],
    &[0],
    &[1],
    &[7],
    &[0, 3],
    &[3, 0],
    &[1, 1],
    &[1, 6],
    &[6, 1],
    &[5, 5],
    &[24, 3],
    &[3, 24],
    &[0, 2, 3],
    &[1, 3, 1],
    &[2, 3, 4],
    &[2, 1, 2, 1],
    &[4, 3, 2, 2],
    &[1, 1, 1, 1, 1],
    &[2, 2, 3, 2, 2],
];

/// Where a Gram matrix is larger than its rank, any basis of its null space will do.
const EIGENBASES: [&str; 3] = ["std.graft", "std.soap", "std.splus"];

/// In the basis of its own singular vectors a gradient is diagonal: what rounding leaves beside the diagonal is divided
/// by itself.
const DIVIDED_ROUNDING: &str = "std.distributed_shampoo_evc";

/// A parameter's name, a module (its first optimizer is meant) or an optimizer of one, and statics in JSON.
type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Rules, limits on lengths that these shapes pass, and
/// periods that four steps reach.
const VARIANTS: &[Row] = &[
    ("bias", "std.adam_mini", &[]),
    ("embed", "std.adam_mini", &[]),
    ("wq", "std.adam_mini", &[("dim", "6"), ("n_heads", "2")]),
    ("p", "std.adamw_8bit", &[("min_8bit_size", "0")]),
    (
        "p",
        "std.averaged_shampoo",
        &[("max_preconditioner_dim", "4")],
    ),
    ("p", "std.dion", &[("algorithm", "\"lion\"")]),
    (
        "p",
        "std.dion",
        &[
            ("max_rank", "2"),
            ("power_iters", "2"),
            ("side", "\"columns\""),
        ],
    ),
    ("p", "std.dion", &[("qr_method", "\"cqr\"")]),
    ("p", "std.dion2", &[("algorithm", "\"lion\"")]),
    ("p", "std.dion_muon", &[("algorithm", "\"lion\"")]),
    ("p", "std.dion_muon", &[("flatten", "true")]),
    ("p", "std.dion_muon", &[("split_sizes", "[[1], [4]]")]),
    (
        "p",
        "std.distributed_shampoo",
        &[("grafting", "\"adam\""), ("with_momentum", "true")],
    ),
    (
        "p",
        "std.distributed_shampoo",
        &[
            ("max_preconditioner_dim", "4"),
            ("precondition_frequency", "2"),
        ],
    ),
    (
        "p",
        "std.distributed_shampoo_evc",
        &[("max_preconditioner_dim", "4")],
    ),
    (
        "p",
        "std.galore",
        &[("proj_rank", "2"), ("update_proj_gap", "2")],
    ),
    (
        "p",
        "std.galore",
        &[("proj_rank", "1"), ("proj_type", "\"full\"")],
    ),
    (
        "p",
        "std.graft",
        &[("max_precond_dim", "4"), ("precondition_frequency", "1")],
    ),
    ("p", "std.mars", &[("mars_type", "\"shampoo\"")]),
    ("p", "std.muon", &[("split_sizes", "[[1], [2], [3]]")]),
    ("p", "std.nordion2", &[("algorithm", "\"lion\"")]),
    ("p", "std.normuon", &[("algorithm", "\"lion\"")]),
    ("p", "std.normuon", &[("split_sizes", "[[1], [4]]")]),
    ("p", "std.normuon", &[("flatten", "true")]),
    ("p", "std.psgd_kron", &[("max_size_triangular", "4")]),
    (
        "p",
        "std.psgd_kron",
        &[
            ("memory_save_mode", "\"one_diag\""),
            ("merge_dims", "false"),
        ],
    ),
    (
        "p",
        "std.psgd_kron",
        &[("memory_save_mode", "\"all_diag\"")],
    ),
    (
        "p",
        "std.scalable_shampoo",
        &[
            ("block_size", "4"),
            ("preconditioning_compute_steps", "2"),
            ("start_preconditioning_step", "2"),
        ],
    ),
    (
        "p",
        "std.scalable_shampoo",
        &[("no_preconditioning_for_layers_with_dim_gt", "4")],
    ),
    (
        "p",
        "std.scalable_shampoo.BlockShampoo",
        &[
            ("block_size", "4"),
            ("leading_one", "true"),
            ("preconditioning_compute_steps", "2"),
        ],
    ),
    (
        "p",
        "std.shampoo",
        &[("preconditioning_compute_steps", "2")],
    ),
    ("p", "std.shampoo_sequential", &[("update_freq", "2")]),
    (
        "p",
        "std.soap",
        &[("max_precond_dim", "4"), ("precondition_frequency", "1")],
    ),
    (
        "p",
        "std.soap",
        &[
            ("merge_dims", "true"),
            ("max_precond_dim", "4"),
            ("precondition_1d", "true"),
        ],
    ),
    (
        "p",
        "std.soap",
        &[("merge_dims", "true"), ("channels_last", "true")],
    ),
    (
        "p",
        "std.splus",
        &[("max_dim", "4"), ("inverse_every", "2")],
    ),
];

/// Every module that declares optimizers.
fn modules() -> impl Iterator<Item = &'static str> {
    let all = optc_stdlib::NAMES.iter().copied();
    all.filter(|name| optc_stdlib::source(name).is_some_and(|text| text.contains("\noptimizer ")))
}

/// Its optimizers.
fn optimizers(module: &str) -> Vec<OptimizerId> {
    library::checked(module).program.roots
}

/// An optimizer of a module with what differs from its defaults.
struct Variant {
    module: &'static str,
    names: Vec<String>,
    group: Group,
    program: Program,
    id: OptimizerId,
    settings: Settings,
}

impl Variant {
    fn new(
        prefix: &str,
        (module, id): (&'static str, OptimizerId),
        set: &[(&'static str, &str)],
    ) -> Variant {
        let program = library::checked(module).program;
        let value = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
        let mut group = Group {
            params: Vec::new(),
            rule: None,
            hypers: [].into(),
            statics: set
                .iter()
                .map(|&(name, text)| (name, value(text)))
                .collect(),
        };
        // The tiers agree as far as products are exact.
        let statics = &program.optimizers[id].statics;
        if statics.iter().any(|declared| declared.name == "ns_dtype") {
            group.statics.insert("ns_dtype", json!("same"));
        }
        let settings = settle(&program, id, &overrides(&group));
        Variant {
            names: (0..SHAPES.len()).map(|n| format!("{prefix}{n}")).collect(),
            settings: settings.unwrap_or_else(|mistake| panic!("{module}: {mistake}")),
            module,
            group,
            program,
            id,
        }
    }

    fn name(&self) -> &str {
        &self.program.optimizers[self.id].name
    }

    fn title(&self) -> String {
        format!("{}.{}", self.module, self.name())
    }

    fn rule(&self, n: usize) -> Option<usize> {
        rule_for(
            &self.program,
            self.id,
            &self.settings,
            (&self.names[n], SHAPES[n]),
        )
        .expect("short guards")
    }

    /// Runs it on the shapes that some rule takes.
    fn check(&self) {
        println!("{} {:?}", self.title(), self.group.statics);
        let taken: Vec<usize> = (0..SHAPES.len())
            .filter(|&n| self.rule(n).is_some())
            .collect();
        assert!(!taken.is_empty(), "{}", self.title());
        let shapes: Vec<&[u64]> = taken.iter().map(|&n| SHAPES[n]).collect();
        let names: Vec<&str> = taken.iter().map(|&n| self.names[n].as_str()).collect();
        let loose = (0..shapes.len()).filter(|&n| self.is_loose(shapes[n]));
        let trial = Trial::of_std(self.module, &shapes).optimizer(self.name());
        let trial = trial.named(&names).steps(4);
        let statics = self.group.statics.iter();
        let set =
            |trial: Trial, (name, value): (&&'static str, &Value)| trial.set(name, value.clone());
        let run = statics.fold(trial.loose(loose.collect()), set).run();
        check(&self.title(), &run, shapes.len());
    }

    fn is_loose(&self, dims: &[u64]) -> bool {
        let count: u64 = dims.iter().product();
        let larger = dims.iter().any(|d| d * d > count);
        self.module == DIVIDED_ROUNDING || EIGENBASES.contains(&self.module) && larger
    }

    /// The rules that take some shape, and those that they hand it to.
    fn reached(&self) -> BTreeSet<String> {
        let rules = &self.program.optimizers[self.id].rules;
        let mut reached = BTreeSet::new();
        for first in (0..SHAPES.len()).filter_map(|n| self.rule(n)) {
            let mut next = Some(first);
            while let Some(at) = next {
                reached.insert(format!("{} {}", self.title(), rules[at].name));
                next = match &rules[at].body {
                    RuleBody::Delegate {
                        target: Target::Rule(rule),
                        ..
                    } => Some(*rule),
                    _ => None,
                };
            }
        }
        reached
    }

    fn rules(&self) -> impl Iterator<Item = String> {
        let rules = self.program.optimizers[self.id].rules.iter();
        rules.map(|rule| format!("{} {}", self.title(), rule.name))
    }
}

fn defaults() -> impl Iterator<Item = Variant> {
    let of = |module| optimizers(module).into_iter().map(move |id| (module, id));
    modules()
        .flat_map(of)
        .map(|which| Variant::new("p", which, &[]))
}

fn variants() -> impl Iterator<Item = Variant> {
    let of = |&(prefix, name, set): &Row| Variant::new(prefix, find(name), set);
    VARIANTS.iter().map(of)
}

/// The optimizer that a row means.
fn find(name: &'static str) -> (&'static str, OptimizerId) {
    if optc_stdlib::NAMES.contains(&name) {
        return (name, optimizers(name)[0]);
    }
    let (module, own) = name.rsplit_once('.').expect("a module and its optimizer");
    let program = library::checked(module).program;
    let found = program
        .roots
        .iter()
        .find(|&&id| program.optimizers[id].name == own);
    (module, *found.expect("an optimizer of the module"))
}

fn check(title: &str, run: &Run, params: usize) {
    for param in 0..params {
        let finite = run.params[param].iter().all(|x| x.is_finite());
        assert!(
            finite,
            "{title}, parameter {param}: {:?}",
            run.params[param]
        );
        assert!(
            run.has_declared_state_only(param),
            "{title}, parameter {param}"
        );
    }
}

#[test]
fn with_the_defaults() {
    defaults().for_each(|variant| variant.check());
}

#[test]
fn with_other_rules_limits_and_periods() {
    variants().for_each(|variant| variant.check());
}

/// No rule of the library is left out by both.
#[test]
fn every_rule_is_reached() {
    let reached: BTreeSet<String> = defaults()
        .chain(variants())
        .flat_map(|one| one.reached())
        .collect();
    let all: BTreeSet<String> = defaults()
        .flat_map(|one| one.rules().collect::<Vec<_>>())
        .collect();
    let missing: Vec<&String> = all.difference(&reached).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
