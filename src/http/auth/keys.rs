//! The process's own secret: the Ed25519 key that signs access tokens, and what is derived from it.
//!
//! The file is made once, readable by its owner alone. Its loss signs everybody out and makes open list cursors
//! invalid; nothing else is lost. A copy of it lets its holder sign in as anybody.

use std::fs::{OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, ensure};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

/// Read and write for the owner alone.
const OWNER_ONLY: u32 = 0o600;
/// What nobody else may do: the bits of group and world.
const OTHERS: u32 = 0o077;
/// Longest key file: a PKCS#8 Ed25519 key has fewer than 100 bytes.
const FILE_BYTES_MAX: u64 = 1024;

/// The signing key and the key of list cursors. `Debug` hides both.
pub struct Secrets {
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
    pub(super) public: Vec<u8>,
    pub(crate) cursor: hmac::Key,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Reads the key file, making it first when there is none. Two processes that start at once end up with the
    /// same key: the file is linked into place, and the first one wins.
    ///
    /// # Errors
    /// When the file is readable by others, is no key, or cannot be made.
    pub fn load_or_create(path: &Path) -> anyhow::Result<Self> {
        if !path.try_exists()? {
            create(path).with_context(|| format!("making the token key {}", path.display()))?;
        }
        let metadata = std::fs::metadata(path)?;
        let mode = metadata.permissions().mode() & 0o777;
        ensure!(mode & OTHERS == 0, "{} has mode {mode:o}: chmod 600 it", path.display());
        ensure!(metadata.len() <= FILE_BYTES_MAX, "{} is no token key: too long", path.display());
        Self::of_pkcs8(Zeroizing::new(std::fs::read(path)?))
            .with_context(|| format!("{} is no Ed25519 key in PKCS#8", path.display()))
    }

    fn of_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| anyhow::anyhow!("not a key"))?;
        let public = pair.public_key().as_ref().to_vec();
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"sira").extract(&pkcs8);
        let okm = derived
            .expand(&[b"list cursors v1"], hmac::HMAC_SHA256)
            .map_err(|_| anyhow::anyhow!("the cursor key could not be derived"))?;
        Ok(Self { pkcs8, public, cursor: hmac::Key::from(okm) })
    }
}

fn create(path: &Path) -> anyhow::Result<()> {
    let generated = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8());
    let pkcs8 = generated.map_err(|_| anyhow::anyhow!("no random bytes to be had"))?;
    if let Some(directory) = path.parent().filter(|parent| !parent.try_exists().unwrap_or(false)) {
        std::fs::create_dir_all(directory)?;
        std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
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
    fn the_key_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("secrets/token_key");
        let first = Secrets::load_or_create(&path).unwrap();
        let second = Secrets::load_or_create(&path).unwrap();
        assert_eq!(first.public, second.public);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, OWNER_ONLY);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token_key");
        Secrets::load_or_create(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let refused = Secrets::load_or_create(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn another_file_is_no_key() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token_key");
        std::fs::write(&path, b"hello").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(OWNER_ONLY)).unwrap();
        assert!(Secrets::load_or_create(&path).is_err());
    }
}
