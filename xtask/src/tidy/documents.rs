//! What pages say about code is so: quoted code, metrics, and the tests that are named as proofs.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{code, is_rust};
use super::{Tree, Violation};

/// Where the metrics stand.
const METRICS_PAGE: &str = "docs/METRICS.md";
/// What all metrics begin with.
const METRICS_PREFIX: &str = "sira_";
/// The macros that make them, and what the page calls each.
const METRICS_MACROS: [(&str, &str); 3] =
    [("counter!(", "counter"), ("gauge!(", "gauge"), ("histogram!(", "histogram")];
/// Where pages lie that quote code.
const TUTORIALS: &str = "docs/tutorials/";
/// Pages that name tests as proofs.
const PROVEN_PAGES: [&str; 2] = ["docs/GUARANTEES.md", "docs/ROADMAP.md"];
/// A claim has at least so many underscores; shorter names are columns and tables.
const CLAIM_UNDERSCORES_MIN: usize = 3;
const QUOTED: &str = "// quoted: ";
const QUOTED_END: &str = "// quoted: end";

pub fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    metrics(tree, &mut violations);
    quotations(tree, &mut violations);
    let tests = functions(tree);
    for page in PROVEN_PAGES {
        if let Some(text) = tree.get(page) {
            claims(page, text, &tests, &mut violations);
        }
    }
    violations
}

/// Every metric in the code stands in the page's table with its type, and every one in the table in the code.
fn metrics(tree: &Tree, violations: &mut Vec<Violation>) {
    let made = metrics_made(tree);
    let page = tree.get(METRICS_PAGE).map(String::as_str).unwrap_or_default();
    let mut told = BTreeSet::new();
    for (n, line) in page.lines().enumerate() {
        let mut cells = line.strip_prefix("| `").unwrap_or_default().split('|').map(str::trim);
        let (Some(name), Some(kind)) = (cells.next(), cells.next()) else { continue };
        let name = name.trim_end_matches('`');
        if !name.starts_with(METRICS_PREFIX) {
            continue;
        }
        told.insert((name, kind));
        if !made.contains_key(&(name, kind)) {
            let rule = format!("no code makes {name} as a {kind}");
            violations.push(Violation::new(METRICS_PAGE, n + 1, rule));
        }
    }
    for ((name, kind), (path, line)) in made {
        if !told.contains(&(name, kind)) {
            let rule = format!("{name} (a {kind}) does not stand in {METRICS_PAGE}");
            violations.push(Violation::new(path, line, rule));
        }
    }
}

/// Name and type of every metric, and where it is made first. Tests make none.
fn metrics_made(tree: &Tree) -> BTreeMap<(&str, &str), (&str, usize)> {
    let mut made = BTreeMap::new();
    for (path, text) in tree {
        if !is_rust(path)
            || !(path.starts_with("src/") || path.contains("/src/"))
            || path.starts_with("xtask/")
        {
            continue;
        }
        let blanked = code(text);
        for (call, kind) in METRICS_MACROS {
            for (at, _) in blanked.match_indices(call) {
                let argument = text[at + call.len()..].trim_start();
                let name = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
                if let Some(name) = name {
                    let line = text[..at].matches('\n').count() + 1;
                    made.entry((name, kind)).or_insert((path.as_str(), line));
                }
            }
        }
    }
    made
}

/// Every block of Rust in a tutorial is what its source has between the markers, and every quoted part is quoted.
fn quotations(tree: &Tree, violations: &mut Vec<Violation>) {
    let mut shown = BTreeSet::new();
    let mut sources = BTreeSet::new();
    for (path, page) in tree.iter().filter(|(path, _)| path.starts_with(TUTORIALS)) {
        let mut above = "";
        let mut lines = page.lines().enumerate();
        while let Some((n, line)) = lines.next() {
            if line != "```rust" {
                above = line;
                continue;
            }
            let block: Vec<&str> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let source = above.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
            let Some((file, part)) = source.and_then(|source| source.split_once(": ")) else {
                let rule = "code in a tutorial is quoted: <!-- path: part --> stands above it";
                violations.push(Violation::new(path, n + 1, rule));
                continue;
            };
            shown.insert((file, part));
            sources.insert(file);
            let found = tree.get(file).and_then(|text| parts(text).remove(part));
            if found.as_ref() != Some(&block) {
                let rule = format!("not what stands in {file} under `{QUOTED}{part}`");
                violations.push(Violation::new(path, n + 1, rule));
            }
        }
    }
    for file in sources {
        let text = tree.get(file).map(String::as_str).unwrap_or_default();
        for part in parts(text).into_keys().filter(|part| !shown.contains(&(file, *part))) {
            violations.push(Violation::new(file, 0, format!("`{QUOTED}{part}` is quoted by no tutorial")));
        }
    }
}

/// The parts of a source that are quoted, by name.
fn parts(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut parts = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix(QUOTED) {
            parts.insert(name, lines.by_ref().take_while(|line| *line != QUOTED_END).collect());
        }
    }
    parts
}

/// Every function: name, and the paths of the files that have one of it.
fn functions(tree: &Tree) -> BTreeMap<&str, Vec<&str>> {
    let mut functions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, text) in tree.iter().filter(|(path, _)| is_rust(path)) {
        for (at, _) in text.match_indices("fn ") {
            let name = text[at + "fn ".len()..].split(|c: char| !is_word(c)).next().unwrap_or_default();
            functions.entry(name).or_default().push(path);
        }
    }
    functions
}

/// `module::a_claim_like_this` names a test that there is, in a file of this module.
fn claims(page: &str, text: &str, functions: &BTreeMap<&str, Vec<&str>>, violations: &mut Vec<Violation>) {
    for (n, line) in text.lines().enumerate() {
        for claim in line.split('`').skip(1).step_by(2) {
            let mut modules: Vec<&str> = claim.split("::").filter(|module| *module != "…").collect();
            let name = modules.pop().unwrap_or_default().trim_start_matches('…');
            let is_claim = name.matches('_').count() >= CLAIM_UNDERSCORES_MIN && name.chars().all(is_word);
            if !is_claim || name.starts_with(METRICS_PREFIX) || name.starts_with('_') {
                continue;
            }
            let is_in = |path: &&str| {
                modules
                    .iter()
                    .all(|module| path.trim_end_matches(".rs").split('/').any(|step| step == *module))
            };
            if !functions.get(name).is_some_and(|paths| paths.iter().any(is_in)) {
                violations.push(Violation::new(page, n + 1, format!("there is no test {claim}")));
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    fn rules(files: &[(&str, &str)]) -> Vec<String> {
        check(&tree(files)).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_metric_stands_in_the_page_and_in_the_code_with_one_type() {
        let source = "fn f() { metrics::counter!(\n    \"sira_x_total\", \"a\" => b).increment(1); }";
        let row = "| `sira_x_total` | counter | things | | what | when |\n";
        for (source, page, violations) in [
            (source, row, 0),
            (source, "", 1),
            ("", row, 1),
            (source, "| `sira_x_total` | gauge | things |", 2),
            ("// metrics::counter!(\"sira_x_total\")", "", 0),
            (source, "In a sentence, `sira_x_total` is no row.", 1),
        ] {
            let found = rules(&[("src/a.rs", source), ("docs/METRICS.md", page)]);
            assert_eq!(found.len(), violations, "{source} {page}: {found:?}");
        }
    }

    #[test]
    fn a_tutorial_shows_what_is_compiled() {
        let source = "//! x\n// quoted: job\nfn job() {}\n// quoted: end\nfn other() {}\n";
        let quoted = "Text.\n\n<!-- tests/it/t.rs: job -->\n```rust\nfn job() {}\n```\n";
        for (page, violations) in [
            (quoted, 0),
            (&quoted.replace("job() {}", "job() { }"), 1),
            (&quoted.replace(": job", ": jobs"), 2),
            (&quoted.replace("<!-- tests/it/t.rs: job -->", ""), 1),
            (&format!("{quoted}\n```rust\nfn made_up() {{}}\n```\n"), 1),
        ] {
            let found = rules(&[("tests/it/t.rs", source), ("docs/tutorials/t.md", page)]);
            assert_eq!(found.len(), violations, "{page}: {found:?}");
        }
        let unquoted = format!("{source}// quoted: more\nfn more() {{}}\n// quoted: end\n");
        assert_eq!(rules(&[("tests/it/t.rs", &unquoted), ("docs/tutorials/t.md", quoted)]).len(), 1);
    }

    #[test]
    fn a_proof_is_a_test_that_there_is() {
        let test = ("tests/it/http/auth.rs", "async fn nobody_gets_in_twice() {}");
        for (claim, violations) in [
            ("`http::auth::nobody_gets_in_twice`", 0),
            ("`http::…::nobody_gets_in_twice`, `nobody_gets_in_twice`", 0),
            ("`identity::nobody_gets_in_twice`", 1),
            ("`nobody_gets_in_thrice`", 1),
            ("nobody_gets_in_thrice, and `lead_status_history`", 0),
        ] {
            assert_eq!(rules(&[test, ("docs/GUARANTEES.md", claim)]).len(), violations, "{claim}");
        }
    }
}
