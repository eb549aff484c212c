//! The rules of the house that no compiler checks. All violations at once, each with its place and its rule.
//!
//! Each rule is a function over a [`Tree`], which tests build in memory: a rule that cannot fail is no rule.

mod documents;
mod layers;
mod lock;
mod sources;
mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

/// Not ours, or not the repository's.
const SKIPPED: [&str; 5] = ["target", "data", "node_modules", ".git", ".sqlx"];
const EXTENSIONS: [&str; 4] = ["rs", "toml", "sql", "md"];

/// Path from the root, with slashes, to text.
pub type Tree = BTreeMap<String, String>;

/// One break of one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    path: String,
    /// From 1; 0 is the file as a whole.
    line: usize,
    rule: String,
}

impl Violation {
    fn new(path: &str, line: usize, rule: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule: rule.into() }
    }
}

pub fn run(root: &Path) -> anyhow::Result<ExitCode> {
    let mut tree = Tree::new();
    collect(root, root, &mut tree)?;
    let mut violations = check(&tree);
    violations.extend(lock::linked(root)?);
    violations.sort();
    for note in sources::growing(&tree) {
        eprintln!("note: {note}");
    }
    for Violation { path, line, rule } in &violations {
        eprintln!("{path}:{line}: {rule}");
    }
    eprintln!("tidy: {} files, {} violations", tree.len(), violations.len());
    Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = layers::check(tree);
    violations.extend(sources::check(tree));
    violations.extend(documents::check(tree));
    violations.extend(lock::check(tree.get("Cargo.lock").map_or("", String::as_str)));
    violations
}

fn collect(root: &Path, dir: &Path, tree: &mut Tree) -> anyhow::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name) {
            collect(root, &path, tree)?;
        } else if is_read(&path, name) {
            let relative = path.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).with_context(|| relative.clone())?;
            tree.insert(relative, text);
        }
    }
    Ok(())
}

fn is_read(path: &Path, name: &str) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    path.is_file() && (EXTENSIONS.contains(&extension) || name == "Cargo.lock")
}

#[cfg(test)]
fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}
