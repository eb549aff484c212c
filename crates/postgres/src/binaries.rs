//! Finds PostgreSQL's programs: the setting, then the highest version Debian installed, then PATH.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, MAJOR_MIN};

const DEBIAN_DIR: &str = "/usr/lib/postgresql";

#[derive(Debug, Clone)]
pub struct Binaries {
    pub dir: PathBuf,
    pub major: u32,
}

impl Binaries {
    pub fn find(configured: Option<&Path>) -> Result<Self, Error> {
        if let Some(dir) = configured {
            return Self::in_dir(dir).ok_or_else(|| Error::NoBinaries {
                looked: format!("postgres.bin_dir is {}", dir.display()),
            });
        }
        let mut found: Vec<Self> =
            debian_dirs().iter().chain(&path_dirs()).filter_map(|d| Self::in_dir(d)).collect();
        // Stable: of equal versions the first, Debian's, stays first.
        found.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        found
            .into_iter()
            .next()
            .ok_or_else(|| Error::NoBinaries { looked: format!("in {DEBIAN_DIR}/*/bin and in PATH") })
    }

    /// The programs in this directory, if they are there and new enough.
    fn in_dir(dir: &Path) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        let major = major_in(&String::from_utf8_lossy(&output.stdout))?;
        (major >= MAJOR_MIN).then(|| Self { dir: dir.to_owned(), major })
    }
}

fn debian_dirs() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DEBIAN_DIR) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect()
}

fn path_dirs() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

/// The major version in `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)` or `... 18beta1`.
fn major_in(version: &str) -> Option<u32> {
    let number = version.split("(PostgreSQL)").nth(1)?.trim_start();
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read() {
        assert_eq!(major_in("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n"), Some(15));
        assert_eq!(major_in("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_in("something else 16"), None);
    }

    #[test]
    fn a_configured_directory_without_programs_is_refused() {
        assert!(matches!(Binaries::find(Some(Path::new("/nonexistent"))), Err(Error::NoBinaries { .. })));
    }
}
