//! Finds PostgreSQL's programs: the setting, then what Debian installed, then PATH.

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
        let major = version_of(&dir.join("postgres"))?;
        (major >= MAJOR_MIN).then(|| Self { dir: dir.to_owned(), major })
    }
}

/// A program that talks to a server, as `pg_dump` does: of the server's own major version where that is installed, else of
/// the next later one, since none talks to a server that is newer than itself. A configured directory alone is looked in.
///
/// # Errors
/// [`Error::NoClient`], with what to install.
pub fn client_program(configured: Option<&Path>, name: &str, server_major: u32) -> Result<PathBuf, Error> {
    let dirs = configured.map_or_else(|| [debian_dirs(), path_dirs()].concat(), |dir| vec![dir.to_owned()]);
    let mut found: Vec<(u32, PathBuf)> = dirs
        .iter()
        .map(|dir| dir.join(name))
        .filter(|program| program.is_file())
        .filter_map(|program| Some((version_of(&program)?, program)))
        .filter(|(major, _)| *major >= server_major)
        .collect();
    // Stable: of equal versions the first, Debian's, stays first.
    found.sort_by_key(|(major, _)| *major);
    let first = found.into_iter().next().map(|(_, program)| program);
    first.ok_or_else(|| Error::NoClient { name: name.to_owned(), server_major })
}

fn version_of(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    major_in(&String::from_utf8_lossy(&output.stdout))
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
        assert_eq!(major_in("pg_dump (PostgreSQL) 16.2"), Some(16));
        assert_eq!(major_in("something else 16"), None);
    }

    #[test]
    fn a_configured_directory_without_programs_is_refused() {
        assert!(matches!(Binaries::find(Some(Path::new("/nonexistent"))), Err(Error::NoBinaries { .. })));
    }

    #[test]
    fn a_client_older_than_its_server_is_none() {
        let refused = client_program(None, "pg_dump", 999).unwrap_err().to_string();
        assert!(refused.contains("pg_dump") && refused.contains("postgresql-client-999"), "{refused}");
        assert!(client_program(Some(Path::new("/nonexistent")), "pg_dump", MAJOR_MIN).is_err());
    }
}
