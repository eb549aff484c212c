//! The process's own secret: the Ed25519 key that signs access tokens, and what is derived from it.
//!
//! The file is made once, readable by its owner alone. Its loss signs everybody out and makes open list cursors
//! invalid; nothing else is lost. A copy of it lets its holder sign in as anybody.

use std::path::Path;

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{hkdf, hmac};
use zeroize::Zeroizing;

use crate::secrets;

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
    /// Reads the key file, making it first when there is none.
    ///
    /// # Errors
    /// When the file is readable by others, is no key, or cannot be made.
    pub fn load_or_create(path: &Path) -> anyhow::Result<Self> {
        Self::of_pkcs8(secrets::load_or_create_key(path)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_no_key() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token_key");
        secrets::write(&path, b"hello").unwrap();
        assert!(Secrets::load_or_create(&path).is_err());
    }
}
