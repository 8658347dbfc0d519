//! A process that dies while it saves leaves a checkpoint that loads: the one before, or the new one.

#![cfg(unix)]

use optc_core::dtype::DType;
use optc_runtime::{BindOptions, Optimizer, ParamDesc, Rules, StepInput, TensorView};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

const SIGKILL: i32 = 9;
const SIGXFSZ: i32 = 25;
const SIZE: usize = 4096;

fn adamw(steps: u64) -> Optimizer {
    let params = [ParamDesc::new("w", &[SIZE as i64], DType::F32)];
    let rules = Rules::from_std("std.adamw").unwrap();
    let mut optimizer = rules.bind(&params, &BindOptions::default()).unwrap();
    let (mut weight, grad) = (vec![1.0f32; SIZE], vec![0.5f32; SIZE]);
    for _ in 0..steps {
        let input = StepInput {
            param: TensorView::from_mut(&mut weight, &[SIZE as i64]).unwrap(),
            grad: TensorView::from_ref(&grad, &[SIZE as i64]),
        };
        optimizer.step(&[input]).unwrap();
    }
    optimizer
}

/// How many steps the optimizer of a file has taken, if all of the file is what was saved.
fn steps_in(path: &Path) -> u64 {
    let mut optimizer = adamw(0);
    optimizer.load(path).expect("a checkpoint that loads");
    optimizer.step_of("w").unwrap()
}

/// The process that dies. It saves again and again, so that a signal at any time hits a save.
#[test]
#[ignore = "the other tests start it"]
fn saves_until_it_dies() {
    let path = std::env::var("OPTC_SAVE_TO").expect("the place of the checkpoint");
    let (one, two) = (adamw(1), adamw(2));
    for _ in 0..100_000 {
        two.save(&path).unwrap();
        one.save(&path).unwrap();
    }
}

fn saver(path: &Path, before: &[String]) -> Command {
    let me = std::env::current_exe().unwrap();
    let all = before.iter().map(String::as_str);
    let mut words = all.chain([me.to_str().unwrap()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command.args(["--ignored", "--exact", "saves_until_it_dies", "--nocapture"]);
    command.env("OPTC_SAVE_TO", path);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The system kills a process that makes a file longer than it may: so it dies at that byte of its first save.
#[test]
fn at_any_byte_that_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    adamw(7).save(&path).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    for at in (0..length).step_by(length as usize / 24) {
        let limit = ["prlimit".to_owned(), format!("--fsize={at}")];
        let status: ExitStatus = saver(&path, &limit)
            .status()
            .expect("prlimit of util-linux");
        assert_eq!(
            status.signal(),
            Some(SIGXFSZ),
            "it did not die at byte {at}"
        );
        assert_eq!(steps_in(&path), 7);
    }
}

#[test]
fn at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    for turn in 0..24 {
        adamw(7).save(&path).unwrap();
        let mut child = saver(&path, &[]).spawn().unwrap();
        while steps_in(&path) == 7 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(137 * turn));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
        assert!([1, 2].contains(&steps_in(&path)));
    }
}
