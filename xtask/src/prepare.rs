//! The `.sqlx` cache: what the database says about every checked query, so that a build needs no database.
//!
//! sqlx's macros write one file a query when they run with a database and a directory to write to. They run when
//! their crate is compiled, so each crate's first file is made younger than the last build for a moment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use anyhow::{Context, ensure};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use crate::cluster::Throwaway;

const CACHE: &str = ".sqlx";

/// File name to content.
type Cache = BTreeMap<String, String>;

pub async fn run(root: &Path, check: bool) -> anyhow::Result<ExitCode> {
    let cluster = Throwaway::start().await?;
    let url = cluster.url()?;
    migrate(root, &url).await?;
    let fresh_dir = tempfile::tempdir()?;
    compile(root, &url, fresh_dir.path())?;
    let fresh = read(fresh_dir.path())?;
    ensure!(!fresh.is_empty(), "no query was checked: the macros did not run");
    let dir = root.join(CACHE);
    let old = read(&dir)?;
    if check {
        return Ok(compare(&old, &fresh));
    }
    write(&dir, &old, &fresh)?;
    eprintln!("{CACHE}: {} queries", fresh.len());
    Ok(ExitCode::SUCCESS)
}

async fn migrate(root: &Path, url: &str) -> anyhow::Result<()> {
    let migrator = Migrator::new(root.join("migrations")).await?;
    let mut conn = PgConnection::connect(url).await?;
    migrator.run(&mut conn).await.context("the migrations do not apply to an empty database")?;
    conn.close().await?;
    Ok(())
}

fn compile(root: &Path, url: &str, cache: &Path) -> anyhow::Result<()> {
    let _touched = Touched::all(root)?;
    let status = Command::new("cargo")
        .args(["check", "--workspace", "--all-targets", "--locked", "--quiet"])
        .current_dir(root)
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", cache)
        .status()
        .context("run cargo check")?;
    ensure!(
        status.success(),
        "cargo check failed: a query does not fit the schema, or the code does not compile"
    );
    Ok(())
}

/// The first file of every target, with its time before; put back when dropped, so that no build is thrown away.
struct Touched(Vec<(PathBuf, SystemTime)>);

impl Touched {
    fn all(root: &Path) -> anyhow::Result<Self> {
        let mut touched = Self(Vec::new());
        let mut crates = vec![root.to_owned(), root.join("jobs"), root.join("workflows"), root.join("xtask")];
        for entry in fs::read_dir(root.join("crates"))? {
            crates.push(entry?.path());
        }
        for name in ["src/lib.rs", "src/main.rs", "tests/it/main.rs"] {
            for path in crates.iter().map(|dir| dir.join(name)).filter(|path| path.exists()) {
                touched.touch(path)?;
            }
        }
        Ok(touched)
    }

    fn touch(&mut self, path: PathBuf) -> anyhow::Result<()> {
        let before = fs::metadata(&path)?.modified()?;
        #[expect(clippy::disallowed_methods, reason = "a file's time, not the product's")]
        let now = SystemTime::now();
        set_time(&path, now)?;
        self.0.push((path, before));
        Ok(())
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for (path, before) in &self.0 {
            if let Err(error) = set_time(path, *before) {
                eprintln!("{}: {error}", path.display());
            }
        }
    }
}

fn set_time(path: &Path, time: SystemTime) -> std::io::Result<()> {
    fs::File::options().write(true).open(path)?.set_modified(time)
}

fn read(dir: &Path) -> anyhow::Result<Cache> {
    let mut cache = Cache::new();
    if !dir.exists() {
        return Ok(cache);
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("query-") {
            cache.insert(name.to_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(cache)
}

fn write(dir: &Path, old: &Cache, fresh: &Cache) -> anyhow::Result<()> {
    fs::create_dir_all(dir)?;
    for name in old.keys().filter(|name| !fresh.contains_key(*name)) {
        fs::remove_file(dir.join(name))?;
    }
    // Equal files are left alone: their time is a reason to compile again.
    for (name, content) in fresh.iter().filter(|(name, content)| old.get(*name) != Some(*content)) {
        fs::write(dir.join(name), content)?;
    }
    Ok(())
}

fn compare(old: &Cache, fresh: &Cache) -> ExitCode {
    let differences = differences(old, fresh);
    if differences.is_empty() {
        return ExitCode::SUCCESS;
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    eprintln!("the {CACHE} cache is not fresh: run `cargo run -p xtask -- prepare` and commit it");
    ExitCode::FAILURE
}

fn differences(old: &Cache, fresh: &Cache) -> Vec<String> {
    let stale = old.keys().filter(|name| !fresh.contains_key(*name)).map(|name| format!("stale: {name}"));
    let changed = fresh.iter().filter_map(|(name, content)| match old.get(name) {
        None => Some(format!("missing: {name}")),
        Some(before) if before != content => Some(format!("changed: {name}")),
        Some(_) => None,
    });
    stale.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(&str, &str)]) -> Cache {
        entries.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn every_difference_is_told() {
        let old = cache(&[("query-a", "1"), ("query-b", "1"), ("query-c", "1")]);
        let fresh = cache(&[("query-b", "1"), ("query-c", "2"), ("query-d", "1")]);
        assert_eq!(differences(&old, &fresh), ["stale: query-a", "changed: query-c", "missing: query-d"]);
        assert!(differences(&fresh, &fresh).is_empty());
    }

    #[test]
    fn writing_leaves_exactly_the_fresh_queries() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let old = cache(&[("query-a", "1"), ("query-b", "1")]);
        write(dir.path(), &Cache::new(), &old).expect("written");
        let fresh = cache(&[("query-b", "2")]);
        write(dir.path(), &old, &fresh).expect("written");
        assert_eq!(read(dir.path()).expect("read"), fresh);
    }
}
