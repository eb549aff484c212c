//! The port behind which key-encryption keys live: a local file, and later a vault or a cloud's key service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

/// The length of every key here: AES-256 and the index root.
pub const KEY_BYTES: usize = 32;

/// A boxed answer, so that providers which ask over a network fit behind the same trait object.
pub type KeyProviderFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyProviderError>> + Send + 'a>>;

/// 32 secret bytes. Wiped when dropped; `Debug` does not show them.
#[derive(Clone)]
pub struct KeyBytes(Zeroizing<[u8; KEY_BYTES]>);

impl KeyBytes {
    /// Fresh bytes from the operating system's generator.
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(&mut *bytes).expect("the system's random generator does not fail once seeded");
        Self(bytes)
    }

    /// Takes exactly 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut own = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return None;
        }
        own.copy_from_slice(bytes);
        Some(Self(own))
    }

    /// The bytes, for a cryptographic primitive.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(..)")
    }
}

/// A data key on its way into the key store.
pub struct ToWrap {
    /// The key.
    pub key: KeyBytes,
    /// What it is bound to: additional authenticated data.
    pub context: Vec<u8>,
}

/// A data key out of the key store.
pub struct ToUnwrap<'a> {
    /// The key-encryption key that wrapped it.
    pub kek_id: &'a str,
    /// What wrapping gave.
    pub wrapped: &'a [u8],
    /// What it was bound to.
    pub context: Vec<u8>,
}

/// Why a provider did not wrap or unwrap.
#[derive(Debug, thiserror::Error)]
pub enum KeyProviderError {
    /// It has no such key-encryption key, or another one under that name, or the wrapped key was changed or moved.
    #[error("key-encryption key {kek_id} does not open this data key")]
    WrongKek {
        /// The one that was asked for.
        kek_id: String,
    },
    /// It does not answer; may be tried again.
    #[error("not available: {0}")]
    Unavailable(String),
}

/// Wraps and unwraps data keys under a key-encryption key that never enters the database. Calls take many keys, so
/// that a remote provider needs one round trip.
pub trait KeyProvider: Send + Sync {
    /// The name of the key-encryption key that new data keys are wrapped with.
    fn active_kek(&self) -> &str;

    /// Wraps keys under the named key-encryption key, in order.
    fn wrap<'a>(&'a self, kek_id: &'a str, keys: &'a [ToWrap]) -> KeyProviderFuture<'a, Vec<Vec<u8>>>;

    /// Unwraps keys, in order; all or none.
    fn unwrap<'a>(&'a self, keys: &'a [ToUnwrap<'a>]) -> KeyProviderFuture<'a, Vec<KeyBytes>>;

    /// The root of the blind indexes and of the fingerprints of requests. Held in memory, because an index is taken
    /// of every contact: a remote provider reads it when it connects. It stays the same when key-encryption keys are
    /// rotated.
    fn index_root(&self) -> &KeyBytes;
}
