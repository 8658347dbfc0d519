//! The command as a process: help, exit codes, messages, files.

use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `optc` in `folder` with the words of `line` as arguments, in a bare environment.
fn optc_in(folder: &Path, line: &str, stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_optc"))
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .env_remove("COLUMNS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built with this test");
    // A command that fails before reading closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn optc(line: &str) -> Output {
    optc_in(tempfile::tempdir().unwrap().path(), line, "")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The JSON objects on the standard error.
fn messages(output: &Output) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    stderr(output).lines().map(parse).collect()
}

const LION: &str = "\
//! Lion (Chen et al., arXiv 2302.06675).

optimizer Lion {
    hyper lr           = 1e-4 in [0, inf)
    hyper beta1        = 0.9  in [0, 1)
    hyper beta2        = 0.99 in [0, 1)
    hyper weight_decay = 0.0  in [0, inf)

    rule each(w: [...]) {
        state exp_avg = zeros_like(w)
        let u = sign(lerp(exp_avg, grad, 1 - beta1))
        exp_avg = lerp(exp_avg, grad, 1 - beta2)
        w *= 1 - lr * weight_decay
        w -= lr * u
    }
}
";

const TWO_MISTAKES: &str = "\
optimizer Wrong {
    hyper lr = 1e-3 in [0, inf)
    rule each(w: [...]) {
        w -= lrr * grad
        w -= lr * gradd
    }
}
";

mod usage {
    use super::*;

    #[test]
    fn help_is_a_snapshot() {
        for command in ["", "check", "compile", "inspect", "explain"] {
            let output = optc(&format!("{command} --help"));
            assert_eq!(code(&output), 0);
            let name = if command.is_empty() { "optc" } else { command };
            insta::assert_snapshot!(format!("help_{name}"), stdout(&output));
        }
    }

    #[test]
    fn a_senseless_command_line_is_exit_2() {
        for line in [
            "",
            "chek",
            "check",
            "compile",
            "compile a.opt --emit nothing",
            "inspect std.sgd --shape 3by4",
        ] {
            let output = optc(line);
            assert_eq!(code(&output), 2, "`optc {line}`");
            assert!(stdout(&output).is_empty() && !stderr(&output).is_empty());
        }
    }

    #[test]
    fn a_misspelt_command_is_suggested() {
        assert!(stderr(&optc("chek a.opt")).contains("check"));
    }

    #[test]
    fn colours_stay_out_of_pipes() {
        assert!(!stdout(&optc("--help")).contains('\x1b'));
        assert!(stdout(&optc("--color always --help")).contains('\x1b'));
        assert!(!stderr(&optc("check absent.opt")).contains('\x1b'));
        assert!(stderr(&optc("check absent.opt --color=always")).contains('\x1b'));
    }

    #[test]
    fn a_bug_says_so_and_is_exit_70() {
        let output = optc("panic");
        assert_eq!(code(&output), 70);
        assert!(
            stderr(&output).starts_with("this is a bug in optc"),
            "{}",
            stderr(&output)
        );
    }
}

mod files {
    use super::*;

    #[test]
    fn unreadable_files_are_exit_3() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("folder.opt")).unwrap();
        std::fs::write(folder.path().join("latin1.opt"), b"// caf\xe9").unwrap();
        for (file, expected) in [
            ("absent.opt", "opt::cli::read"),
            ("std.absent", "opt::cli::read"),
            ("folder.opt", "opt::cli::read"),
            ("latin1.opt", "opt::cli::not_text"),
        ] {
            let output = optc_in(
                folder.path(),
                &format!("check {file} --message-format json"),
                "",
            );
            assert_eq!(code(&output), 3, "{file}");
            assert_eq!(messages(&output)[0]["code"], expected, "{file}");
        }
    }

    #[test]
    fn an_unknown_name_of_the_library_is_told_the_known_ones() {
        let output = optc("check std.absent");
        assert!(stderr(&output).contains("std.adamw"), "{}", stderr(&output));
    }

    #[test]
    fn the_standard_input_is_a_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(code(&optc_in(folder.path(), "check -", LION)), 0);
        let output = optc_in(folder.path(), "check - --message-format json", TWO_MISTAKES);
        assert_eq!(code(&output), 1);
        assert_eq!(messages(&output)[0]["file"], "<stdin>");
    }

    #[test]
    fn every_file_is_checked_and_the_worst_decides() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lion.opt"), LION).unwrap();
        std::fs::write(folder.path().join("wrong.opt"), TWO_MISTAKES).unwrap();
        let output = optc_in(folder.path(), "check absent.opt wrong.opt lion.opt", "");
        assert_eq!(code(&output), 3);
        assert!(stderr(&output).contains("absent.opt") && stderr(&output).contains("wrong.opt"));
    }

    #[test]
    fn a_module_is_found_beside_the_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        let root = "use parts.Base\noptimizer Top { rule each(w: [...]) = Base(lr = 1) }\n";
        let base = "optimizer Base { hyper lr = 1e-3\n rule each(w: [...]) { w -= lr * grad } }\n";
        std::fs::write(folder.path().join("rules/top.opt"), root).unwrap();
        std::fs::write(folder.path().join("rules/parts.opt"), base).unwrap();
        let output = optc_in(folder.path(), "check rules/top.opt", "");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
    }
}

mod messages_of_mistakes {
    use super::*;

    fn check(format: &str) -> Output {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wrong.opt"), TWO_MISTAKES).unwrap();
        optc_in(
            folder.path(),
            &format!("check wrong.opt --message-format {format}"),
            "",
        )
    }

    #[test]
    fn for_people_show_place_and_help() {
        let output = check("human");
        assert_eq!(code(&output), 1);
        insta::assert_snapshot!(stderr(&output));
    }

    #[test]
    fn for_programs_are_one_object_per_line() {
        let output = check("json");
        assert_eq!(code(&output), 1);
        let messages = messages(&output);
        assert_eq!(messages.len(), 2);
        let first = &messages[0];
        assert_eq!(first["severity"], "error");
        assert_eq!(first["file"], "wrong.opt");
        assert_eq!(
            (first["line"].as_u64(), first["column"].as_u64()),
            (Some(4), Some(14))
        );
        assert_eq!(first["end"], serde_json::json!({ "line": 4, "column": 17 }));
        assert!(first["message"].as_str().unwrap().contains("`lrr`"));
        assert!(first["help"].as_str().unwrap().contains("`lr`"));
        assert_eq!(first["labels"][0]["line"], 4);
    }

    #[test]
    fn their_codes_can_be_explained() {
        for message in messages(&check("json")) {
            let code_text = message["code"].as_str().unwrap();
            let output = optc(&format!("explain {code_text}"));
            assert_eq!(code(&output), 0);
            assert!(stdout(&output).contains(code_text));
        }
    }
}
