//! Files that only their owner may read: secrets, and keys that sign.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, ensure};
use aws_lc_rs::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

/// Read and write for the owner alone.
const OWNER_ONLY: u32 = 0o600;
/// The same for a directory.
const OWNER_ONLY_DIRECTORY: u32 = 0o700;

/// What nobody else may do: the bits of group and world.
const OTHERS: u32 = 0o077;
/// Longest key file: a PKCS#8 Ed25519 key has fewer than 100 bytes.
const KEY_BYTES_MAX: u64 = 1024;

/// Writes a file that only its owner may read, replacing an older one at once or not at all. Makes its directory,
/// with the same care, when there is none.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    if !directory.try_exists()? {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(OWNER_ONLY_DIRECTORY))?;
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

/// Reads an Ed25519 key in PKCS#8, making it first when there is none. Two processes that start at once end up with the same
/// key: the file is linked into place, and the first one wins.
///
/// # Errors
/// When the file is readable by others, is too long for a key, or cannot be made.
pub fn load_or_create_key(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if !path.try_exists()? {
        create_key(path).with_context(|| format!("making the key {}", path.display()))?;
    }
    load_key(path)
}

/// Reads one that is there.
///
/// # Errors
/// As [`load_or_create_key`].
pub fn load_key(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let metadata = std::fs::metadata(path).with_context(|| format!("reading the key {}", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    ensure!(mode & OTHERS == 0, "{} has mode {mode:o}: chmod 600 it", path.display());
    ensure!(metadata.len() <= KEY_BYTES_MAX, "{} is no key: too long", path.display());
    Ok(Zeroizing::new(std::fs::read(path)?))
}

fn create_key(path: &Path) -> anyhow::Result<()> {
    let generated = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8());
    let pkcs8 = generated.map_err(|_| anyhow::anyhow!("no random bytes to be had"))?;
    if let Some(directory) = path.parent().filter(|parent| !parent.try_exists().unwrap_or(false)) {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(OWNER_ONLY_DIRECTORY))?;
    }
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&draft)?;
    file.write_all(pkcs8.as_ref())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_read_and_no_draft_is_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secrets/passwords");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secrets/key");
        let first = load_or_create_key(&path).unwrap();
        let second = load_or_create_key(&path).unwrap();
        assert_eq!(first, second);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        load_or_create_key(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = load_or_create_key(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
}
