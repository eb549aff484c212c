//! The key that signs checkpoints.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Hex digits of a key's name.
const ID_CHARS: usize = 16;

/// Signs checkpoints. `Debug` hides it.
pub struct SigningKey(Ed25519KeyPair);

/// Proves signatures of checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

/// These bytes are no Ed25519 key in PKCS#8.
#[derive(Debug, thiserror::Error)]
#[error("this is no Ed25519 key in PKCS#8")]
pub struct NoKey;

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

impl SigningKey {
    /// Of an Ed25519 key in PKCS#8.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn of_pkcs8(pkcs8: &[u8]) -> Result<Self, NoKey> {
        Ed25519KeyPair::from_pkcs8(pkcs8).map(Self).map_err(|_| NoKey)
    }

    /// What proves its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.public_key().as_ref().to_vec())
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.0.sign(text).as_ref().to_vec()
    }
}

impl PublicKey {
    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of 32 bytes; others prove nothing.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its name: the beginning of its SHA-256.
    pub fn id(&self) -> String {
        let mut id = hex::encode(digest(&SHA256, &self.0));
        id.truncate(ID_CHARS);
        id
    }

    pub(super) fn proves(&self, text: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(text, signature).is_ok()
    }
}
