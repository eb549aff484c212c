//! Sizes, words, module docs, leftovers and migrations.

use super::text::{code, is_rust, lines_with};
use super::{Tree, Violation};

/// Lines of a source file without its tests.
const LINES_MAX: usize = 600;
/// From here on a file is named, so that it is split in time.
const LINES_NOTED: usize = 500;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc", "shared"];
/// Never in code.
const LEFTOVERS: [&str; 6] = ["todo!", "unimplemented!", "dbg!", "#[ignore", "#[allow(", "#![allow("];
const TIMESTAMP_DIGITS: usize = 14;

pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in tree {
        if is_rust(path) {
            source(path, text, &mut violations);
        } else if let Some(name) = path.strip_prefix("migrations/") {
            migration(path, name, text, tree, &mut violations);
        }
    }
    violations
}

/// Files that come close to the limit.
pub fn growing(tree: &Tree) -> Vec<String> {
    let grown = tree.iter().filter(|(path, _)| is_sized(path)).map(|(path, text)| (path, lines_of(text)));
    let noted = grown.filter(|(_, lines)| *lines > LINES_NOTED && *lines <= LINES_MAX);
    noted.map(|(path, lines)| format!("{path} has {lines} lines of {LINES_MAX}")).collect()
}

fn is_sized(path: &str) -> bool {
    is_rust(path) && !path.starts_with("tests/") && !path.contains("/tests/") && !path.ends_with("/tests.rs")
}

/// Up to the unit tests, which stand last.
fn lines_of(text: &str) -> usize {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count()
}

fn source(path: &str, text: &str, violations: &mut Vec<Violation>) {
    let mut violate = |line, rule: String| violations.push(Violation::new(path, line, rule));
    if is_sized(path) && lines_of(text) > LINES_MAX {
        violate(0, format!("{} lines; at most {LINES_MAX}, tests apart: split it", lines_of(text)));
    }
    if !text.starts_with("//!") {
        violate(1, "a file begins with //! and says what it is for".to_owned());
    }
    let names = path.trim_end_matches(".rs").split('/');
    for name in names.filter(|name| EMPTY_NAMES.contains(name)) {
        violate(0, format!("`{name}` says nothing: name it after what it does"));
    }
    let code = code(text);
    for leftover in LEFTOVERS {
        for line in lines_with(&code, leftover) {
            violate(line, format!("`{leftover}` is a leftover; lints are expected with a reason, tests run"));
        }
    }
}

fn migration(path: &str, name: &str, text: &str, tree: &Tree, violations: &mut Vec<Violation>) {
    let mut violate = |rule: &str| violations.push(Violation::new(path, 0, rule));
    let (timestamp, what) = name.split_once('_').unwrap_or_default();
    let what = what.strip_suffix(".sql").unwrap_or_default();
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let named = timestamp.len() == TIMESTAMP_DIGITS
        && timestamp.chars().all(|c| c.is_ascii_digit())
        && !what.is_empty()
        && what.chars().all(is_word);
    if !named {
        violate("a migration is named YYYYMMDDHHMMSS_<what>.sql, in lowercase");
    }
    let twins = tree.keys().filter(|other| other.starts_with(&format!("migrations/{timestamp}_"))).count();
    if named && twins > 1 {
        violate("two migrations with one timestamp");
    }
    if !text.starts_with("--") {
        violate("a migration begins with a comment that says what it is for");
    }
    let statements = text.lines().filter(|line| !line.trim_start().starts_with("--"));
    let concurrently = statements.filter(|line| line.contains("concurrently")).count();
    if concurrently > 0 && !text.starts_with("-- no-transaction") {
        violate("`concurrently` needs -- no-transaction as the first line");
    }
    if concurrently > 1 {
        violate(
            "one statement a file with -- no-transaction: a second one would not be undone with the first",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<String> {
        check(&tree(&[(path, text)])).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn sizes_are_bounded_tests_apart() {
        let long = format!("//! x\n{}", "x;\n".repeat(LINES_MAX));
        assert_eq!(rules("src/a.rs", &long).len(), 1);
        assert_eq!(rules("tests/it/a.rs", &long), [""; 0]);
        let tested = format!("//! x\n#[cfg(test)]\n{}", "x;\n".repeat(LINES_MAX));
        assert_eq!(rules("src/a.rs", &tested), [""; 0]);
        let growing_one = format!("//! x\n{}", "x;\n".repeat(LINES_NOTED));
        assert_eq!(growing(&tree(&[("src/a.rs", &growing_one)])).len(), 1);
    }

    #[test]
    fn files_say_what_they_are_for_and_are_named_for_it() {
        assert_eq!(rules("src/a.rs", "fn main() {}").len(), 1);
        assert_eq!(rules("src/helpers.rs", "//! x").len(), 1);
        assert_eq!(rules("src/util/a.rs", "//! x").len(), 1);
        assert_eq!(rules("src/commons.rs", "//! x"), [""; 0]);
    }

    #[test]
    fn leftovers_are_found_in_code_only() {
        for (line, violations) in [
            ("fn f() { todo!() }", 1),
            ("#[ignore]", 1),
            ("#[ignore = \"slow\"]", 1),
            ("#[allow(dead_code)]", 1),
            ("// todo!() says the book", 0),
            ("let s = \"#[ignore]\";", 0),
            ("#[expect(dead_code, reason = \"x\")]", 0),
        ] {
            assert_eq!(rules("src/a.rs", &format!("//! x\n{line}\n")).len(), violations, "{line}");
        }
    }

    #[test]
    fn migrations_are_named_and_told() {
        for (name, text, violations) in [
            ("20261122100000_engine.sql", "-- x\ncreate table a ();", 0),
            ("20261122_engine.sql", "-- x", 1),
            ("20261122100000_Engine.sql", "-- x", 1),
            ("20261122100000_engine.sql", "create table a ();", 1),
            ("20261122100000_a.sql", "-- x\ncreate index concurrently a on b (c);", 1),
            ("20261122100000_a.sql", "-- no-transaction\n-- x\ncreate index concurrently a on b (c);", 0),
        ] {
            assert_eq!(rules(&format!("migrations/{name}"), text).len(), violations, "{name}: {text}");
        }
        let twins =
            [("migrations/20261122100000_a.sql", "-- x"), ("migrations/20261122100000_b.sql", "-- x")];
        assert_eq!(check(&tree(&twins)).len(), 2);
    }
}
