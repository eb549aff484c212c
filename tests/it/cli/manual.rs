//! Claims about completions, manual pages, and the exit codes that both the help and the README tell.

use std::process::Command;

use crate::house::Ran;

/// Every command, and one below.
const COMMANDS: [&str; 25] = [
    "up",
    "serve",
    "work",
    "migrate",
    "doctor",
    "jobs",
    "workflows",
    "gates",
    "queues",
    "schedules",
    "watch",
    "audit",
    "leads",
    "quarantine",
    "reviews",
    "seed",
    "user",
    "backup",
    "restore",
    "openapi",
    "config",
    "completions",
    "man",
    "retry",
    "imports",
];

/// The real binary without any configuration.
fn sira(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(env!("CARGO_BIN_EXE_sira")).args(arguments).current_dir("/"))
}

#[test]
fn completions_of_every_shell_name_every_command_and_need_no_configuration() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = sira(&["--config", "/nonexistent.toml", "completions", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{shell}");
        for command in COMMANDS {
            assert!(ran.out.contains(command), "{shell}: {command}");
        }
    }
    assert_eq!(sira(&["completions", "cmd"]).code, Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let main = sira(&["man"]);
    assert_eq!(main.code, Some(0));
    assert!(main.out.contains(".TH sira 1") && main.out.contains("Exit codes:"), "{}", main.out);
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let ran = sira(&["man", "--dir", pages.to_str().unwrap()]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ""), "{ran:?}");
    for page in [
        "sira",
        "sira-backup",
        "sira-jobs",
        "sira-jobs-retry",
        "sira-leads-imports",
        "sira-user-ls",
        "sira-man",
    ] {
        let text = std::fs::read_to_string(pages.join(format!("{page}.1"))).unwrap_or_default();
        assert!(text.contains(&format!(".TH {page} 1")), "{page}: {text}");
    }
}

#[test]
fn each_kind_of_failure_has_the_exit_code_that_help_and_readme_tell() {
    let help = sira(&["--help"]);
    assert_eq!(help.code, Some(0));
    let readme = include_str!("../../../README.md");
    for (code, words) in [
        (0, "done"),
        (1, "failed"),
        (2, "usage"),
        (3, "configuration not valid"),
        (4, "no database"),
        (5, "doctor or audit found something wrong"),
        (6, "refused"),
    ] {
        assert!(help.out.contains(&format!("{code} {words}")), "{code}: {}", help.out);
        assert!(readme.contains(&format!("| {code} | {words}")), "{code}: the README tells it too");
    }
    assert_eq!(sira(&["nonsense"]).code, Some(2));
    assert_eq!(sira(&["--config", "/nonexistent.toml", "config", "show"]).code, Some(3));
    let mut away = Command::new(env!("CARGO_BIN_EXE_sira"));
    away.args(["jobs", "ls"]).env("SIRA__DATABASE__URL", "postgres://nobody:secret@127.0.0.1:1/none");
    let away = Ran::of(away.current_dir("/"));
    assert_eq!(away.code, Some(4), "{away:?}");
    assert!(!away.err.contains("secret"), "{}", away.err);
}
