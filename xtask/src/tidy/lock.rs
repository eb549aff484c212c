//! One version of the big libraries, one TLS: in the lock file, and in what is built for Linux.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::Violation;

/// Two versions of one of these do not fit together, and are compiled twice.
const SINGLE: [&str; 9] =
    ["tokio", "hyper", "axum", "axum-core", "tower-http", "http", "sqlx", "rustls", "reqwest"];
/// A second TLS or cryptography library.
const BANNED: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];

/// Versions in the lock file.
pub fn check(lock: &str) -> Vec<Violation> {
    let Ok(lock) = lock.parse::<toml::Table>() else {
        return vec![Violation::new("Cargo.lock", 0, "not TOML")];
    };
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock.get("package").and_then(toml::Value::as_array).into_iter().flatten() {
        let field = |name| package.get(name).and_then(toml::Value::as_str).unwrap_or_default();
        versions.entry(field("name")).or_default().push(field("version"));
    }
    let doubled = SINGLE.iter().filter_map(|name| Some((name, versions.get(name)?)));
    doubled
        .filter(|(_, found)| found.len() > 1)
        .map(|(name, found)| Violation::new("Cargo.lock", 0, format!("one version of {name}, not {found:?}")))
        .collect()
}

/// What is built: the lock file also names what other platforms would use.
pub fn linked(root: &Path) -> anyhow::Result<Vec<Violation>> {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--prefix=none",
            "--format={p}",
            "--edges=normal,build,dev",
        ])
        .current_dir(root)
        .output()
        .context("run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    Ok(banned(&String::from_utf8_lossy(&output.stdout)))
}

fn banned(packages: &str) -> Vec<Violation> {
    let is_built = |name: &&&str| packages.lines().any(|line| line.split(' ').next() == Some(**name));
    let rule =
        |name: &&str| Violation::new("Cargo.lock", 0, format!("{name} is built: aws-lc-rs is the one TLS"));
    BANNED.iter().filter(is_built).map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_version_is_found() {
        let package =
            |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let lock = [package("tokio", "1.0.0"), package("rand", "0.8.0"), package("rand", "0.9.0")].concat();
        assert_eq!(check(&lock), []);
        assert_eq!(check(&(lock + &package("tokio", "2.0.0"))).len(), 1);
    }

    #[test]
    fn a_second_tls_is_found() {
        assert_eq!(banned("tokio v1.0.0\nstring v1\naws-lc-rs v1"), []);
        assert_eq!(banned("tokio v1.0.0\nring v0.17.0 (*)\n").len(), 1);
    }
}
