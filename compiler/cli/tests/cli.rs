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
        for command in ["", "check", "compile", "inspect", "explain", "list", "new"] {
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
        for (name, known) in [("std.absent", "std.adamw"), ("absent", "optc list")] {
            let output = optc(&format!("check {name}"));
            assert!(stderr(&output).contains(known), "{}", stderr(&output));
        }
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

/// A folder with `lion.opt` in it.
fn lion_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lion.opt"), LION).unwrap();
    folder
}

mod compile {
    use super::*;
    use optc_artifact::{Artifact, Features, Isa};

    fn compiled(line: &str) -> Vec<u8> {
        let folder = lion_folder();
        let output = optc_in(folder.path(), &format!("compile {line} -o out.optc"), LION);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        std::fs::read(folder.path().join("out.optc")).unwrap()
    }

    #[test]
    fn an_artifact_holds_source_description_and_code() {
        let bytes = compiled("lion.opt");
        let artifact = Artifact::parse(&bytes).unwrap();
        assert_eq!(
            (
                artifact.sources().root.as_str(),
                artifact.sources().root_text()
            ),
            ("lion", LION)
        );
        let lion = &artifact.manifest().optimizers[0];
        assert_eq!(
            (lion.name.as_str(), lion.hypers[1].default.0),
            ("Lion", 0.9)
        );
        assert_eq!(lion.rules[0].state, ["exp_avg = zeros_like(w)"]);
        assert!(artifact.docs().unwrap().contains("arXiv 2302.06675"));
        let machine: Features = Isa::X86_64V3.requires().collect();
        let code = artifact.best_object(&machine).unwrap().code;
        assert!(code.starts_with(b"\x7fELF"));
        assert!(!artifact.manifest().kernels.is_empty());
        for kernel in &artifact.manifest().kernels {
            assert!(
                code.windows(kernel.symbol.len())
                    .any(|w| w == kernel.symbol.as_bytes()),
                "{}",
                kernel.symbol
            );
        }
    }

    #[test]
    fn the_same_source_gives_the_same_bytes_wherever_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("deep/lion.opt"), LION).unwrap();
        assert_eq!(
            code(&optc_in(folder.path(), "compile deep/lion.opt", "")),
            0
        );
        assert_eq!(
            std::fs::read(folder.path().join("lion.optc")).unwrap(),
            compiled("lion.opt")
        );
    }

    #[test]
    fn targets_are_what_was_asked_for() {
        let targets = |line: &str| {
            Artifact::parse(&compiled(line))
                .unwrap()
                .manifest()
                .targets
                .clone()
        };
        assert_eq!(
            targets("lion.opt --target cuda")
                .into_iter()
                .collect::<Vec<_>>(),
            ["sm_80"]
        );
        let both = targets("lion.opt --target cpu,cuda");
        assert!(both.contains("sm_80") && both.contains("x86-64-v3") && both.contains("x86-64-v4"));
    }

    #[test]
    fn the_standard_input_and_output_are_files() {
        let output = optc_in(tempfile::tempdir().unwrap().path(), "compile - -o -", LION);
        assert_eq!(code(&output), 0);
        assert_eq!(
            Artifact::parse(&output.stdout).unwrap().sources().root,
            "stdin"
        );
    }

    #[test]
    fn every_stage_is_text() {
        for (stage, expected) in [
            ("ast", "exp_avg"),
            ("hir", "exp_avg"),
            ("ir", "sqrt"),
            ("fused", "sqrt"),
            ("plan", "exp_avg"),
            ("mlir", "@optc_map_"),
            ("llvm", "define void @optc_map_"),
            ("asm", "optc_map_"),
            ("ptx", ".entry optc_map_"),
        ] {
            let output = optc(&format!("compile std.adamw --emit {stage}"));
            assert_eq!(code(&output), 0, "{stage}: {}", stderr(&output));
            assert!(
                stdout(&output).contains(expected),
                "{stage}: {}",
                stdout(&output)
            );
        }
    }

    #[test]
    fn a_stage_goes_to_a_file_if_one_is_given() {
        let folder = lion_folder();
        let output = optc_in(
            folder.path(),
            "compile lion.opt --emit plan -o plan.txt",
            "",
        );
        assert_eq!((code(&output), stdout(&output)), (0, ""));
        assert!(
            std::fs::read_to_string(folder.path().join("plan.txt"))
                .unwrap()
                .contains("exp_avg")
        );
    }

    #[test]
    fn mistakes_leave_no_artifact() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("wrong.opt"), TWO_MISTAKES).unwrap();
        assert_eq!(code(&optc_in(folder.path(), "compile wrong.opt", "")), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_chosen_is_named() {
        for (line, exit, expected) in [
            (
                "compile std.sgd --static absent=1",
                2,
                "opt::bind::unknown_static",
            ),
            (
                "compile std.sgd --static nesterov=2",
                2,
                "opt::bind::wrong_static",
            ),
            (
                "compile std.muon --static ns_steps=0",
                2,
                "opt::bind::out_of_range",
            ),
            (
                "compile std.sgd --optimizer Sgg",
                2,
                "opt::cli::unknown_optimizer",
            ),
            ("compile - --emit plan", 1, "opt::cli::no_rule"),
        ] {
            let only_matrices =
                "optimizer M { hyper lr = 1\n rule each(w: [m, n, k]) { w -= lr * grad } }";
            let folder = tempfile::tempdir().unwrap();
            let output = optc_in(
                folder.path(),
                &format!("{line} --message-format json"),
                only_matrices,
            );
            assert_eq!(code(&output), exit, "{line}: {}", stderr(&output));
            assert_eq!(messages(&output)[0]["code"], expected, "{line}");
        }
    }

    #[test]
    fn an_abort_of_the_backend_is_a_bug_of_ours() {
        let output = optc("panic --abort");
        assert_eq!(code(&output), 70);
        assert!(
            stderr(&output).contains("this is a bug in optc"),
            "{}",
            stderr(&output)
        );
    }
}

mod inspect {
    use super::*;

    #[test]
    fn a_source_is_a_snapshot() {
        let folder = lion_folder();
        let output = optc_in(folder.path(), "inspect lion.opt --shape 4096x11008", "");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        insta::assert_snapshot!(stdout(&output));
    }

    #[test]
    fn state_and_scratch_are_counted_by_dtype() {
        let folder = lion_folder();
        let output = optc_in(
            folder.path(),
            "inspect lion.opt --shape 1000 --dtype bf16",
            "",
        );
        assert!(
            stdout(&output).contains("bf16[1000]"),
            "{}",
            stdout(&output)
        );
        assert!(stdout(&output).contains("2.00 kB"), "{}", stdout(&output));
    }

    #[test]
    fn a_shape_that_no_rule_takes_is_said() {
        let output = optc_in(
            tempfile::tempdir().unwrap().path(),
            "inspect - --shape 8 --shape scalar",
            "optimizer M { hyper lr = 1\n rule each(w: [m]) { w -= lr * grad } }",
        );
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("no rule takes a parameter of shape scalar"));
    }

    #[test]
    fn a_rule_without_measure_is_refused() {
        let rule = "optimizer M { static k: int = 10000\n rule each(w: [m]) { repeat k { repeat k { w -= grad } } } }";
        for command in ["inspect - --shape 8", "compile - --emit plan --shape 8"] {
            let folder = tempfile::tempdir().unwrap();
            let output = optc_in(folder.path(), command, rule);
            assert_eq!(code(&output), 1, "{}", stderr(&output));
            assert!(
                stderr(&output).contains("opt::bind::too_large"),
                "{}",
                stderr(&output)
            );
        }
    }

    #[test]
    fn an_artifact_tells_what_it_holds_and_for_whom() {
        let folder = lion_folder();
        assert_eq!(
            code(&optc_in(
                folder.path(),
                "compile lion.opt --target cpu,cuda",
                ""
            )),
            0
        );
        let output = optc_in(folder.path(), "inspect lion.optc --shape 10x10", "");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        for expected in [
            "ABI 1.0",
            "x86-64-v3",
            "sm_80",
            "precompiled",
            "beta2",
            "exp_avg",
        ] {
            assert!(
                stdout(&output).contains(expected),
                "`{expected}` in {}",
                stdout(&output)
            );
        }
        assert!(
            !stdout(&output).contains("compiled at load"),
            "{}",
            stdout(&output)
        );
    }

    #[test]
    fn a_damaged_artifact_is_named_with_its_code() {
        let folder = lion_folder();
        assert_eq!(
            code(&optc_in(
                folder.path(),
                "compile lion.opt --target cuda",
                ""
            )),
            0
        );
        let path = folder.path().join("lion.optc");
        let whole = std::fs::read(&path).unwrap();
        let mut altered = whole.clone();
        *altered.last_mut().unwrap() ^= 1;
        for (bytes, expected) in [
            (&whole[..whole.len() - 1], "opt::artifact::truncated"),
            (&whole[..10], "opt::artifact::truncated"),
            (&altered[..], "opt::artifact::hash"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let output = optc_in(folder.path(), "inspect lion.optc --message-format json", "");
            assert_eq!(code(&output), 1);
            assert_eq!(messages(&output)[0]["code"], expected);
            assert!(
                messages(&output)[0]["message"]
                    .as_str()
                    .unwrap()
                    .contains("lion.optc")
            );
        }
    }

    #[test]
    fn an_artifact_is_not_a_source() {
        let folder = lion_folder();
        assert_eq!(
            code(&optc_in(
                folder.path(),
                "compile lion.opt --target cuda",
                ""
            )),
            0
        );
        for line in ["check lion.optc", "compile lion.optc"] {
            let output = optc_in(folder.path(), &format!("{line} --message-format json"), "");
            assert_eq!(code(&output), 2, "{line}");
            assert_eq!(messages(&output)[0]["code"], "opt::cli::artifact");
        }
    }
}

mod explain {
    use super::*;

    #[test]
    fn every_code_of_the_list_has_a_page() {
        let output = optc("explain");
        assert_eq!(code(&output), 0);
        let codes: Vec<&str> = stdout(&output)
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert!(codes.contains(&"opt::artifact::cpu") && codes.contains(&"opt::shape::mismatch"));
        for one in codes.iter().step_by(10) {
            assert_eq!(code(&optc(&format!("explain {one}"))), 0, "{one}");
        }
    }

    #[test]
    fn a_code_does_without_its_prefix() {
        let [short, long] = ["", "opt::"].map(|opt| optc(&format!("explain {opt}shape::mismatch")));
        assert_eq!(code(&short), 0);
        assert_eq!(stdout(&short), stdout(&long));
    }

    #[test]
    fn a_half_remembered_code_is_suggested() {
        let output = optc("explain mismatch");
        assert_eq!(code(&output), 2);
        assert!(
            stderr(&output).contains("opt::shape::mismatch"),
            "{}",
            stderr(&output)
        );
    }
}

mod library {
    use super::*;

    #[test]
    fn a_line_for_each_optimizer() {
        let output = optc("list");
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        for module in optc_stdlib::NAMES {
            let declares = optc_stdlib::source(module)
                .unwrap()
                .contains("\noptimizer ");
            assert_eq!(
                stdout(&output).contains(&format!("  {module} ")),
                declares,
                "{module}"
            );
        }
        let line = |module: &str| {
            stdout(&output)
                .lines()
                .find(|line| line.contains(module))
                .unwrap()
        };
        for (module, words) in [
            ("std.adamw ", ["8 ", "elementwise", "1711.05101"]),
            ("std.muon ", ["4 ", "products", "Jordan"]),
            ("std.soap ", ["24 ", "factorizations", "2409.11321"]),
        ] {
            assert!(
                words.iter().all(|word| line(module).contains(word)),
                "{}",
                line(module)
            );
        }
    }

    #[test]
    fn a_name_does_without_its_prefix() {
        for command in ["check", "inspect"] {
            let [short, long] = ["lion", "std.lion"].map(|name| optc(&format!("{command} {name}")));
            assert_eq!(code(&short), 0, "{}", stderr(&short));
            assert_eq!(stdout(&short), stdout(&long));
        }
        assert_eq!(
            code(&optc("inspect std.lions")),
            code(&optc("inspect lions"))
        );
    }

    #[test]
    fn an_optimizer_is_found_in_its_module() {
        let output = optc("inspect AdamW");
        let help = "`AdamW` is declared by `std.adamw`";
        assert!(stderr(&output).contains(help), "{}", stderr(&output));
    }

    /// Modules with several optimizers say what each is.
    #[test]
    fn no_two_lines_are_alike() {
        let output = optc("list");
        let lines: Vec<String> = stdout(&output).lines().map(str::to_owned).collect();
        let about = |line: &String| {
            line.split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let distinct: std::collections::BTreeSet<String> = lines.iter().map(about).collect();
        assert_eq!(distinct.len(), lines.len(), "{lines:#?}");
        for optimizer in ["ClipValue", "SamAdamW", "BlockShampoo"] {
            assert!(stdout(&output).contains(optimizer), "{optimizer}");
        }
    }

    #[test]
    fn every_module_is_a_beginning() {
        let folder = tempfile::tempdir().unwrap();
        for module in optc_stdlib::NAMES {
            if optc_stdlib::source(module)
                .unwrap()
                .contains("\noptimizer ")
            {
                let name = module.replace("std.", "my_");
                let made = optc_in(folder.path(), &format!("new {name} --from {module}"), "");
                assert_eq!(code(&made), 0, "{}", stderr(&made));
                let checked = optc_in(folder.path(), &format!("check {name}.opt"), "");
                assert_eq!(code(&checked), 0, "{}", stderr(&checked));
            }
        }
        let text = std::fs::read_to_string(folder.path().join("my_adamw.opt")).unwrap();
        assert!(
            text.starts_with("//! MyAdamw, begun from std.adamw.")
                && text.contains("optimizer MyAdamw {")
        );
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.opt"), "kept").unwrap();
        for (line, wanted) in [
            ("new mine", "opt::cli::exists"),
            ("new 3d", "opt::cli::bad_name"),
            ("new MyRule", "opt::cli::bad_name"),
            ("new other --from orthogonal", "opt::cli::unknown_module"),
            ("new other --from nowhere", "opt::cli::unknown_module"),
        ] {
            let output = optc_in(folder.path(), line, "");
            assert!(
                code(&output) != 0 && stderr(&output).contains(wanted),
                "{}",
                stderr(&output)
            );
        }
        assert_eq!(
            std::fs::read_to_string(folder.path().join("mine.opt")).unwrap(),
            "kept"
        );
        assert!(!folder.path().join("other.opt").exists());
    }
}

#[test]
fn a_composition_stands_for_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let checked = optc_in(folder.path(), "check Clip(base=AdamW) std.adamw", "");
    assert_eq!(code(&checked), 0, "{}", stderr(&checked));
    let shown = optc_in(
        folder.path(),
        "inspect Sam(base=Soap,rho=0.1) --shape 4x4",
        "",
    );
    assert!(
        stdout(&shown).contains("base.exp_avg"),
        "{}",
        stdout(&shown)
    );
    let made = optc_in(folder.path(), "compile Clip(base=Sgd)", "");
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert!(folder.path().join("composition.optc").is_file());
    let wrong = optc_in(folder.path(), "check Clip(base=Nothing)", "");
    assert!(stderr(&wrong).contains("Nothing"), "{}", stderr(&wrong));
}

#[test]
fn a_name_decides_where_rules_ask_for_it() {
    const NAMED: &str = "optimizer N {
        rule norm(w: [m, n]) where named(\"norm\") { w -= grad }
        rule each(w: [...]) { state m = w  m = m + grad  w -= m }
    }";
    let shown = |line: &str| {
        let output = optc_in(tempfile::tempdir().unwrap().path(), line, NAMED);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        stdout(&output).to_owned()
    };
    assert!(shown("inspect - --shape 4x4").contains("by rule `each`"));
    assert!(shown("inspect - --shape 4x4 --name norm.weight").contains("by rule `norm`"));
    assert!(!shown("compile - --emit ir --shape 4x4 --name norm.weight").contains("state"));
}
