//! Personal data at rest: a key per subject, sealed fields, blind indexes. (SECURITY.md A.1)
//!
//! Shape of the API; see the owner of this module for the rest.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use crate::nouns::{InboundId, LeadId};

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A lead: everything known about the person falls with this key.
    Lead(LeadId),
    /// A source event that is no lead yet.
    Inbound(InboundId),
}

/// The column that a sealed value belongs to; bound into its authentication, so that a value moved to another
/// column or row does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The table's name.
    pub table: &'static str,
    /// The column's name.
    pub column: &'static str,
}

/// What a blind index is taken over; each has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlindField {
    /// E.164.
    Phone,
    /// Normal form.
    Email,
}

/// What can go wrong with keys and sealed values. Never carries a plaintext.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// The subject never had a key.
    #[error("no data key for this subject")]
    Missing,
    /// The subject was erased: its values are unreadable for ever.
    #[error("the data key of this subject was destroyed")]
    Destroyed,
    /// The value does not belong here, was changed, or was sealed under another key.
    #[error("a sealed value does not open here")]
    DoesNotOpen,
    /// The key provider is not there or refused.
    #[error("key provider: {0}")]
    Provider(String),
    /// The key store is not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Wraps and unwraps data keys under a key-encryption key that never enters the database.
pub trait KeyProvider: Send + Sync {}

/// Seals, opens and indexes personal data. Cheap to clone.
#[derive(Clone)]
pub struct Cipher {
    _keystore: PgPool,
    _provider: Arc<dyn KeyProvider>,
}

/// The data key of one subject, in memory only.
pub struct DataKey {
    _private: (),
}

impl Cipher {
    /// Makes keys for subjects that have none and returns all of theirs, in order. Commits at once, before the
    /// caller's transaction: an orphaned key is harmless, a value without a key is not.
    pub async fn create_keys(
        &self,
        _subjects: &[Subject],
        _now: DateTime<Utc>,
    ) -> Result<Vec<DataKey>, PrivacyError> {
        todo!()
    }

    /// The keys of subjects that have one, in order.
    pub async fn keys(&self, _subjects: &[Subject]) -> Result<Vec<DataKey>, PrivacyError> {
        todo!()
    }

    /// HMAC-SHA-256 over the normal form under the field's own key.
    pub fn blind_index(&self, _field: BlindField, _normal: &str) -> [u8; 32] {
        todo!()
    }
}

impl DataKey {
    /// Seals a value into this column of this row.
    pub fn seal(&self, _field: Field, _row: Uuid, _plaintext: &[u8]) -> Vec<u8> {
        todo!()
    }

    /// Opens what [`DataKey::seal`] sealed for the same column and row.
    pub fn open(&self, _field: Field, _row: Uuid, _sealed: &[u8]) -> Result<Vec<u8>, PrivacyError> {
        todo!()
    }
}
