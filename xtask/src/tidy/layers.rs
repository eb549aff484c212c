//! Who may import whom, by manifest and by use.

use super::text::{code, is_rust, lines_with};
use super::{Tree, Violation};

/// A crate's directory, and which of ours it may depend on. The root package stands on top of everything.
const LAYERS: [(&str, &[&str]); 12] = [
    // Measures the engine from outside, as its peers are: a workspace of its own.
    ("benches/engine", &["sira-engine", "sira-kernel", "sira-postgres"]),
    ("crates/kernel", &[]),
    ("crates/engine", &["sira-kernel"]),
    ("crates/domain", &["sira-kernel", "sira-engine"]),
    ("crates/providers", &["sira-kernel"]),
    ("crates/postgres", &[]),
    ("crates/sandbox", &["sira-kernel"]),
    ("crates/synthetic", &[]),
    ("crates/testkit", &["sira-kernel", "sira-engine", "sira-domain"]),
    ("jobs", &["sira-kernel", "sira-engine", "sira-domain", "sira-providers"]),
    ("workflows", &["sira-kernel", "sira-engine", "sira-domain", "sira-jobs"]),
    ("xtask", &["sira-postgres"]),
];

/// A library, and the path prefixes under which it may be used.
const LIBRARIES: [(&str, &[&str]); 5] = [
    ("axum", &["src/http/", "crates/sandbox/", "tests/", "src/app.rs"]),
    // `up --check` plays a client of the API.
    ("reqwest", &["crates/providers/", "crates/sandbox/", "tests/", "benches/", "src/cli/check"]),
    ("apalis", &["crates/engine/"]),
    ("apalis_core", &["crates/engine/"]),
    ("jiff", &["crates/kernel/src/zone.rs"]),
];

/// What runs SQL.
const SQL: [&str; 10] = [
    "sqlx::query",
    "query!",
    "query_as!",
    "query_scalar!",
    "query_file!",
    "query_file_as!",
    "query_as",
    "query_scalar",
    "QueryBuilder",
    "raw_sql",
];

/// Where SQL may stand besides `store.rs` and `store/`.
const SQL_PLACES: [&str; 8] = [
    "crates/engine/",
    "crates/testkit/",
    "crates/postgres/",
    "crates/domain/src/leads/search.rs",
    "crates/domain/src/reporting/",
    "tests/",
    "benches/",
    "xtask/",
];

pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in tree {
        if let Some(dir) = path.strip_suffix("/Cargo.toml") {
            manifest(path, dir, text, &mut violations);
        } else if is_rust(path) {
            let code = code(text);
            uses(path, &code, &mut violations);
            sql(path, &code, &mut violations);
            stores(path, &code, &mut violations);
        }
    }
    violations
}

fn manifest(path: &str, dir: &str, text: &str, violations: &mut Vec<Violation>) {
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == dir) else {
        violations.push(Violation::new(
            path,
            0,
            "a crate without a layer: give it one in xtask/src/tidy/layers.rs",
        ));
        return;
    };
    let Ok(manifest) = text.parse::<toml::Table>() else {
        return violations.push(Violation::new(path, 0, "not TOML"));
    };
    for section in ["dependencies", "build-dependencies"] {
        let Some(dependencies) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
        for name in dependencies.keys().filter(|name| is_ours(name) && !allowed.contains(&name.as_str())) {
            let line = text.lines().position(|line| line.starts_with(name.as_str())).map_or(0, |n| n + 1);
            let rule = format!("{dir} may not depend on {name}; it may on {allowed:?}");
            violations.push(Violation::new(path, line, rule));
        }
    }
}

fn is_ours(name: &str) -> bool {
    name == "sira" || name.starts_with("sira-")
}

fn uses(path: &str, code: &str, violations: &mut Vec<Violation>) {
    for (library, places) in LIBRARIES {
        if places.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for line in lines_with(code, &format!("{library}::")) {
            let rule = format!("{library} is used under {} only", places.join(", "));
            violations.push(Violation::new(path, line, rule));
        }
    }
    let on_top = path == "src/main.rs" || path.starts_with("tests/") || path.starts_with("benches/");
    if !on_top {
        for line in lines_with(code, "use sira::") {
            violations.push(Violation::new(path, line, "nothing imports the root package: it stands on top"));
        }
    }
}

fn sql(path: &str, code: &str, violations: &mut Vec<Violation>) {
    let is_store = path.ends_with("/store.rs") || path.contains("/store/");
    if is_store || SQL_PLACES.iter().any(|place| path.starts_with(place)) {
        return;
    }
    let mut lines: Vec<usize> = SQL.iter().flat_map(|call| lines_with(code, call)).collect();
    lines.sort_unstable();
    lines.dedup();
    for line in lines {
        violations.push(Violation::new(
            path,
            line,
            "SQL stands in store.rs or store/ (and crates/engine, leads/search.rs)",
        ));
    }
}

/// A domain module calls another's `mod.rs`.
fn stores(path: &str, code: &str, violations: &mut Vec<Violation>) {
    let Some(below) = path.strip_prefix("crates/domain/src/") else { return };
    let own = below.split(['/', '.']).next().unwrap_or_default();
    for (n, line) in code.lines().enumerate() {
        let foreign = line.match_indices("crate::").any(|(at, _)| {
            let mut names = line[at + "crate::".len()..].split("::");
            let module = names.next().unwrap_or_default();
            let next = names.next().unwrap_or_default();
            module != own
                && next
                    .trim_start_matches(['{', ' '])
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    == Some("store")
        });
        if foreign {
            violations.push(Violation::new(path, n + 1, "another module's store: call its mod.rs instead"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    /// Lines of the violations in these files.
    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        check(&tree(files)).into_iter().map(|violation| (violation.path, violation.line)).collect()
    }

    #[test]
    fn a_lower_layer_may_not_depend_on_a_higher_one() {
        let manifest = "[dependencies]\nsira-kernel.workspace = true\nsira-jobs.workspace = true\n";
        assert_eq!(
            found(&[("crates/domain/Cargo.toml", manifest)]),
            [("crates/domain/Cargo.toml".to_owned(), 3)]
        );
        assert_eq!(found(&[("workflows/Cargo.toml", manifest)]), []);
        assert_eq!(found(&[("crates/engine/Cargo.toml", "[dependencies]\nsira = \"1\"\n")]).len(), 1);
        assert_eq!(found(&[("crates/new/Cargo.toml", "")]).len(), 1, "a crate without a layer");
    }

    #[test]
    fn tests_may_depend_on_the_test_kit() {
        let manifest = "[dev-dependencies]\nsira-testkit.workspace = true\n";
        assert_eq!(found(&[("crates/domain/Cargo.toml", manifest)]), []);
    }

    #[test]
    fn libraries_stay_in_their_places() {
        for (path, text, violations) in [
            ("src/http/leads.rs", "use axum::Json;", 0),
            ("src/cli/up.rs", "use axum::Json;", 1),
            ("crates/domain/src/lib.rs", "fn f() -> axum::Json {}", 1),
            ("crates/domain/src/lib.rs", "// axum::Json\nlet s = \"reqwest::x\";", 0),
            ("crates/domain/src/lib.rs", "reqwest::get()", 1),
            ("crates/providers/src/meta.rs", "reqwest::get()", 0),
            ("jobs/src/a.rs", "apalis_core::x", 1),
            ("crates/kernel/src/zone.rs", "use jiff::tz;", 0),
            ("crates/domain/src/distribution/eligibility.rs", "use jiff::tz;", 1),
            ("jobs/src/a.rs", "use sira::app;", 1),
            ("tests/it/main.rs", "use sira::app;", 0),
        ] {
            assert_eq!(found(&[(path, text)]).len(), violations, "{path}: {text}");
        }
    }

    #[test]
    fn sql_stays_in_stores() {
        for (path, text, violations) in [
            ("crates/domain/src/leads/store.rs", "sqlx::query!(1)", 0),
            ("crates/domain/src/leads/store/list.rs", "query_as!(1)", 0),
            ("crates/domain/src/leads/mod.rs", "sqlx::query!(1)", 1),
            ("crates/domain/src/leads/mod.rs", "sqlx::query_as::<_, X>(1)", 1),
            ("crates/domain/src/leads/search.rs", "QueryBuilder::new()", 0),
            ("src/http/leads.rs", "sqlx::raw_sql(1)", 1),
            ("src/http/leads.rs", "serde_json::from_str(\"sqlx::query\")", 0),
            ("crates/engine/src/claim.rs", "sqlx::query!(1)", 0),
        ] {
            assert_eq!(found(&[(path, text)]).len(), violations, "{path}: {text}");
        }
    }

    #[test]
    fn stores_belong_to_their_module() {
        for (text, violations) in [
            ("use crate::leads::store::find;", 0),
            ("use crate::consents::store;", 1),
            ("crate::consents::store::find()", 1),
            ("use crate::consents::{store, x};", 1),
            ("crate::consents::storey()", 0),
        ] {
            assert_eq!(found(&[("crates/domain/src/leads/mod.rs", text)]).len(), violations, "{text}");
        }
    }
}
