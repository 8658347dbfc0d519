//! How long planning takes: each rule of the standard library, source checked once, planned again and again.
//!
//! ```text
//! cargo run --release -p optc-core --example plan_time
//! ```

use optc_core::check::check;
use optc_core::dtype::DType;
use optc_core::lower::{Spec, lower, rule_for};
use optc_core::passes::{PIPELINE, optimize};
use optc_core::planner;
use optc_core::settings::{Overrides, settle};
use optc_core::source::Embedded;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 200;

const LIBRARY: Embedded = Embedded {
    names: optc_stdlib::NAMES,
    text: optc_stdlib::source,
};

fn main() {
    let cases: [(&str, &[u64]); 5] = [
        ("std.sgd", &[512, 256]),
        ("std.adamw", &[512, 256]),
        ("std.muon", &[512, 256]),
        ("std.soap", &[512, 256]),
        ("std.soap", &[64, 32, 3, 3]),
    ];
    for (module, dims) in cases {
        report(module, dims);
    }
}

fn report(module: &str, dims: &[u64]) {
    let Some(Ok(checked)) = optc_stdlib::source(module).map(|text| check(module, text, &LIBRARY))
    else {
        return println!("{module} does not check");
    };
    let program = &checked.program;
    let Some(&optimizer) = program.roots.first() else {
        return println!("{module} has no optimizer");
    };
    let Ok(settings) = settle(program, optimizer, &Overrides::default()) else {
        return println!("{module}: settings");
    };
    let Ok(Some(rule)) = rule_for(program, optimizer, &settings, ("", dims)) else {
        return println!("{module}: no rule");
    };
    let spec = Spec {
        program,
        optimizer,
        settings: &settings,
        rule,
        name: "",
        dims,
        dtype: DType::F32,
        grad_dtype: DType::F32,
    };
    let lowering = time(|| lower(&spec));
    let Ok(lowered) = lower(&spec) else {
        return println!("{module} is too large");
    };
    let optimizing = time(|| optimize(lowered.clone()));
    let optimized = optimize(lowered.clone());
    let planning = time(|| planner::plan(&optimized));
    let total = lowering + optimizing + planning;
    println!(
        "{module} {dims:?}: {total:?} (lower {lowering:?}, passes {optimizing:?}, plan {planning:?})"
    );
    let mut function = lowered;
    for pass in PIPELINE {
        let once = time(|| (pass.run)(function.clone()));
        println!("    {:16} {once:?}", pass.name);
        function = (pass.run)(function);
    }
}

/// The fastest of some rounds.
fn time<T>(f: impl Fn() -> T) -> Duration {
    let once = |_| {
        let start = Instant::now();
        std::hint::black_box(f());
        start.elapsed()
    };
    (0..ROUNDS).map(once).min().unwrap_or_default()
}
