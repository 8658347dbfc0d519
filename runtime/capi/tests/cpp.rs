//! The C++ header against LibTorch: recorded runs, LibTorch's own tools, a run that Python began, and the example.
//!
//! All of it is one test, because programs over LibTorch's headers take a minute each to compile, and are compiled
//! again only when they change.

mod common;

use common::{blocks, folder, library, pulled, run, run_with, scratch};
use optc_tests::exchange::Exchange;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the example reaches in its short form on points that it has not seen; 1000 points, so chance is 0.5 ± 0.05.
const ACCURACY: f64 = 0.95;

#[test]
fn the_front_and_the_example() {
    let sdk = install();
    let front = build(&folder("tests/cpp"), &sdk, "front");
    run(Command::new(&front)
        .arg("behaviour")
        .arg(scratch("behaviour"))
        .arg(folder("../../tests/artifacts/other_abi.optc"))
        .arg(pulled()));
    steps_on_devices(&front);
    follows_every_recording(&front);
    continues_what_python_saved(&front);
    let train = build(&folder("../../examples/cpp"), &sdk, "train");
    the_example_learns(&train);
}

#[test]
fn the_page_shows_lines_of_programs_that_run() {
    let programs = ["tests/cpp/front.cpp", "../../examples/cpp/train.cpp"];
    let programs = programs.map(|file| std::fs::read_to_string(folder(file)).expect("a program"));
    let shown = blocks("cpp").join("");
    let shown: Vec<&str> = shown.lines().map(str::trim).collect();
    let runs = |line: &&&str| programs.iter().any(|text| text.contains(**line));
    let unknown: Vec<&&str> = shown.iter().filter(|line| !runs(line)).collect();
    assert!(shown.len() > 10 && unknown.is_empty(), "{unknown:?}");
}

/// The package as `make capi` lays it out.
fn install() -> PathBuf {
    let sdk = scratch("sdk");
    run(Command::new(folder("install")).arg(library()).arg(&sdk));
    sdk
}

fn build(source: &Path, sdk: &Path, program: &str) -> PathBuf {
    let place = scratch(program);
    forget_another_source(&place, source);
    let prefix = format!("-DCMAKE_PREFIX_PATH={};{}", sdk.display(), libtorch());
    run(Command::new("cmake")
        .arg("-S")
        .arg(source)
        .arg("-B")
        .arg(&place)
        .arg(prefix));
    run(Command::new("cmake").arg("--build").arg(&place));
    place.join(program)
}

/// CMake refuses a build folder that was made from another checkout, which a shared target folder keeps.
fn forget_another_source(place: &Path, source: &Path) {
    let cache = std::fs::read_to_string(place.join("CMakeCache.txt")).unwrap_or_default();
    let home = source.canonicalize().expect("the folder of the program");
    let made_here = format!("CMAKE_HOME_DIRECTORY:INTERNAL={}\n", home.display());
    if !cache.is_empty() && !cache.contains(&made_here) {
        std::fs::remove_dir_all(place).expect("the folder of an earlier build");
    }
}

/// The folder of the LibTorch in the Python environment.
fn libtorch() -> String {
    let place =
        "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])";
    run(Command::new("python3").args(["-c", place]))
        .trim()
        .to_owned()
}

/// The driver is `fake_cuda` beside this file, an example of the package, which cargo builds before its tests.
fn steps_on_devices(front: &Path) {
    let driver = library().join("../examples/libcuda.so");
    let driver = driver.canonicalize().expect("the example `cuda`");
    let place = scratch("device");
    std::fs::copy(driver, place.join("libcuda.so.1")).expect("a copy of the driver");
    let artifact = place.join("adamw.optc");
    let made = std::fs::write(&artifact, optc_tests::device::artifact("std.adamw"));
    made.expect("an artifact");
    run(Command::new(front)
        .arg("device")
        .args([&artifact, &place])
        .env("LD_LIBRARY_PATH", &place)
        .env("OPTC_FAKE_CUDA", "std.adamw"));
}

fn follows_every_recording(front: &Path) {
    let [asked, answered] = ["cases", "results"].map(|name| scratch("golden").join(name));
    for dtype in ["float64", "float32"] {
        let exchange = Exchange::of(dtype);
        std::fs::write(&asked, exchange.questions()).expect("a file of cases");
        run(Command::new(front).arg("golden").arg(&asked).arg(&answered));
        let results = std::fs::read_to_string(&answered).expect("a file of results");
        let failures = exchange.judge(&results);
        assert!(failures.is_empty(), "{failures}");
        println!("{} recordings in {dtype}", exchange.count());
    }
}

/// `tests/chain`: a run that Rust began and Python went on with.
fn continues_what_python_saved(front: &Path) {
    let chain = folder("../../tests/chain");
    let weights = std::fs::read_to_string(chain.join("weights")).expect("weights");
    let weights: Vec<&str> = weights.lines().collect();
    let saved = scratch("continue").join("cpp.safetensors");
    let mut command = Command::new(front);
    command
        .arg("continue")
        .arg(chain.join("python.safetensors"))
        .arg(&saved);
    let printed = run_with(&mut command, weights[1]);
    assert_eq!(
        printed.split_whitespace().collect::<Vec<_>>().join(" "),
        weights[2]
    );
    let read = |path: &Path| std::fs::read(path).expect("a checkpoint");
    assert!(read(&saved) == read(&chain.join("cpp.safetensors")));
}

fn the_example_learns(train: &Path) {
    let rule = folder("../../examples/cpp/lion.opt");
    let printed = run(Command::new(train)
        .arg(rule)
        .arg(scratch("example"))
        .arg("300"));
    let accuracy = printed
        .lines()
        .find_map(|line| line.strip_prefix("accuracy: "));
    let accuracy: f64 = accuracy.expect("an accuracy").parse().expect("a number");
    println!("the example reaches {accuracy}");
    assert!(accuracy >= ACCURACY, "{printed}");
}
