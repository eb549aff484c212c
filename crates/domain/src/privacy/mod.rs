//! Personal data at rest: a key per subject, sealed fields, blind indexes. (docs/KEYS.md)
//!
//! Every subject (a lead, an inbound event) has a random 256-bit data key of its own. A field of it is sealed by
//! AES-256-GCM under that key; table, column, row, subject and key are bound into the authentication, so that a
//! sealed value opens in its own place only. The data key is stored wrapped by a key-encryption key (KEK) that a
//! [`KeyProvider`] holds and that never enters the database. Destroying a data key makes what it sealed unreadable
//! for ever, in every copy that does not hold the wrapped key beside the values: see docs/KEYS.md on backups.
//!
//! To find a lead by phone or e-mail without decrypting, its normal form is indexed by HMAC under a key per field.
//! Such an index tells who has the same phone, and nothing else while the index root stays secret. Request bodies
//! are told apart the same way, under a key of their own: a bare digest of a phone number is soon guessed.
//!
//! The key store may be another database than the leads': it has its own pool, and keys are committed before the
//! caller's transaction. A transaction that rolls back leaves an orphaned key, which is harmless.
//!
//! **Invariant:** no plaintext and no unwrapped key is ever stored, logged or shown by `Debug`.

mod data_key;
mod key_file;
mod provider;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac};
use chrono::{DateTime, Utc};
pub use data_key::DataKey;
pub use key_file::{Fingerprints, KeyFileError, LocalKeyFile};
pub use provider::{KeyBytes, KeyProvider, KeyProviderError, KeyProviderFuture, ToUnwrap, ToWrap};
use sira_kernel::Id;
use sqlx::PgPool;
use uuid::Uuid;

use crate::nouns::{ImportId, InboundId, LeadId};
use crate::uow;

/// Most subjects whose keys one statement creates or reads; longer calls go in several.
pub const SUBJECTS_MAX: usize = 1_000;

/// Separates our use of the index root from any other.
const INDEX_SALT: &[u8] = b"sira blind index v1";

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A lead: everything known about the person falls with this key.
    Lead(LeadId),
    /// A source event that is no lead yet.
    Inbound(InboundId),
    /// A file of leads, with its rows that are none yet.
    Import(ImportId),
}

impl Subject {
    /// The stored name of the kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Lead(_) => "lead",
            Self::Inbound(_) => "inbound_event",
            Self::Import(_) => "import",
        }
    }

    /// Which one.
    pub const fn uuid(self) -> Uuid {
        match self {
            Self::Lead(id) => id.uuid(),
            Self::Inbound(id) => id.uuid(),
            Self::Import(id) => id.uuid(),
        }
    }
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
    /// A word of a name, folded.
    Name,
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
    /// The provider holds other key-encryption keys than those that wrapped the data keys. Trying again does not
    /// help: an operator must put the right key file back.
    #[error(
        "the key file is not the one this database was sealed with (key-encryption key {kek_id}): \
         put back the right one from its backup, see docs/KEYS.md"
    )]
    WrongKek {
        /// The key-encryption key that is not there, or is another under the same name.
        kek_id: String,
    },
    /// The key provider is not there or refused.
    #[error("key provider: {0}")]
    Provider(String),
    /// The key store is not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Why keys could not be made ready at boot.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The key file is missing although the database holds keys that it wrapped.
    #[error(
        "the key file {0} is missing, but this database holds data sealed with it: put it back from its backup \
         (docs/KEYS.md); a new key file could not open that data, so none is made"
    )]
    Lost(String),
    /// The file is there but cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The keys do not fit this database.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
}

/// Seals, opens and indexes personal data. Cheap to clone.
#[derive(Clone)]
pub struct Cipher {
    keystore: PgPool,
    provider: Arc<dyn KeyProvider>,
    index: Arc<IndexKeys>,
}

/// One HMAC key a field, and one for requests, derived from the provider's index root.
struct IndexKeys {
    phone: hmac::Key,
    email: hmac::Key,
    name: hmac::Key,
    request: hmac::Key,
}

/// The names of the key-encryption keys that data keys of this key store are wrapped with.
pub async fn list_keks_in_use(keystore: &PgPool) -> Result<Vec<String>, PrivacyError> {
    let keys = store::one_key_of_each_kek(keystore).await?;
    Ok(keys.into_iter().map(|key| key.kek_id).collect())
}

impl Cipher {
    /// Over this key store with this provider. Asks neither: see [`Cipher::verify`].
    pub fn new(keystore: PgPool, provider: Arc<dyn KeyProvider>) -> Self {
        let index = Arc::new(IndexKeys::derive(provider.index_root()));
        Self { keystore, provider, index }
    }

    /// Over this key store with the key file at `path`, verified. Makes the file when there is none, but only for a
    /// key store that holds no key yet: a lost key file is an error that says so.
    pub async fn with_key_file(keystore: PgPool, path: &Path) -> Result<Self, OpenError> {
        let file = match LocalKeyFile::load(path) {
            Err(KeyFileError::Missing { .. }) => {
                let held = store::holds_keys(&keystore).await.map_err(PrivacyError::from)?;
                if held {
                    return Err(OpenError::Lost(path.display().to_string()));
                }
                LocalKeyFile::load_or_create(path)?
            }
            loaded => loaded?,
        };
        let cipher = Self::new(keystore, Arc::new(file));
        cipher.verify().await?;
        Ok(cipher)
    }

    /// The same with one connection of its own, made when it is needed: for what must go on while all others are in use. Must
    /// be called within a Tokio runtime.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { keystore: uow::apart(&self.keystore), ..self.clone() }
    }

    /// Proves that the provider opens this database's keys: unwraps one data key of every key-encryption key in use.
    /// Passes for a key store without keys.
    ///
    /// # Errors
    /// [`PrivacyError::WrongKek`] when the key file is not the one that this database was sealed with.
    pub async fn verify(&self) -> Result<(), PrivacyError> {
        let rows = store::one_key_of_each_kek(&self.keystore).await?;
        self.unwrap(&rows).await.map(drop)
    }

    /// Makes keys for subjects that have none and returns all of theirs, in order. Commits at once, before the
    /// caller's transaction: an orphaned key is harmless, a value without a key is not. Safe to repeat and to run
    /// in parallel: a subject gets one key, and all callers get that one.
    ///
    /// # Errors
    /// [`PrivacyError::Destroyed`] when one of the subjects was erased: no new key is made for it.
    pub async fn create_keys(
        &self,
        subjects: &[Subject],
        now: DateTime<Utc>,
    ) -> Result<Vec<DataKey>, PrivacyError> {
        for chunk in subjects.chunks(SUBJECTS_MAX) {
            let rows = self.new_rows(chunk).await?;
            store::insert_keys(&self.keystore, self.provider.active_kek(), &rows, now).await?;
        }
        self.keys(subjects).await
    }

    /// [`Cipher::create_keys`] for one subject.
    pub async fn create_key(&self, subject: Subject, now: DateTime<Utc>) -> Result<DataKey, PrivacyError> {
        one(self.create_keys(&[subject], now).await?)
    }

    /// The keys of subjects that have one, in order.
    ///
    /// # Errors
    /// [`PrivacyError::Missing`] or [`PrivacyError::Destroyed`] when one of the subjects has none.
    pub async fn keys(&self, subjects: &[Subject]) -> Result<Vec<DataKey>, PrivacyError> {
        let mut keys = Vec::with_capacity(subjects.len());
        for chunk in subjects.chunks(SUBJECTS_MAX) {
            let rows = store::find_keys(&self.keystore, chunk).await?;
            let rows: Vec<_> = rows.into_iter().map(present).collect::<Result<_, _>>()?;
            let opened = self.unwrap(&rows).await?;
            let named = rows.iter().zip(chunk).zip(&opened);
            keys.extend(named.map(|((row, subject), key)| DataKey::new(row.id, *subject, key)));
        }
        Ok(keys)
    }

    /// [`Cipher::keys`] for one subject.
    pub async fn key(&self, subject: Subject) -> Result<DataKey, PrivacyError> {
        one(self.keys(&[subject]).await?)
    }

    /// Destroys the subjects' keys, and commits at once: what they sealed is unreadable from now on, and the subjects
    /// never get other keys, even if they had none. Repeating changes nothing. Cannot be undone but from a backup of the
    /// key store.
    pub async fn destroy_keys(&self, subjects: &[Subject], now: DateTime<Utc>) -> Result<(), PrivacyError> {
        // Each once, in the order in which parallel callers lock them: without deadlocks.
        let subjects: BTreeMap<_, _> =
            subjects.iter().map(|subject| ((subject.kind(), subject.uuid()), *subject)).collect();
        let keys: Vec<_> =
            subjects.into_values().map(|subject| (Id::<DataKey>::new().uuid(), subject)).collect();
        for chunk in keys.chunks(SUBJECTS_MAX) {
            store::destroy_keys(&self.keystore, chunk, self.provider.active_kek(), now).await?;
        }
        Ok(())
    }

    /// HMAC-SHA-256 over the normal form under the field's own key.
    pub fn blind_index(&self, field: BlindField, normal: &str) -> [u8; 32] {
        let key = match field {
            BlindField::Phone => &self.index.phone,
            BlindField::Email => &self.index.email,
            BlindField::Name => &self.index.name,
        };
        sign(key, normal.as_bytes())
    }

    /// HMAC-SHA-256 over a request's body under a key of its own: tells whether two bodies are the same, and nothing
    /// about either while the index root stays secret.
    pub fn fingerprint(&self, bytes: &[u8]) -> [u8; 32] {
        sign(&self.index.request, bytes)
    }

    /// Fresh wrapped keys, in the order in which parallel callers lock them: without deadlocks.
    async fn new_rows(&self, subjects: &[Subject]) -> Result<Vec<store::NewKey>, PrivacyError> {
        let mut subjects = subjects.to_vec();
        subjects.sort_unstable_by_key(|subject| (subject.kind(), subject.uuid()));
        subjects.dedup();
        let kek_id = self.provider.active_kek();
        let ids: Vec<Uuid> = subjects.iter().map(|_| Id::<DataKey>::new().uuid()).collect();
        let to_wrap: Vec<ToWrap> = ids
            .iter()
            .zip(&subjects)
            .map(|(id, subject)| ToWrap {
                key: KeyBytes::random(),
                context: wrap_context(subject.kind(), subject.uuid(), *id, kek_id),
            })
            .collect();
        let wrapped = self.provider.wrap(kek_id, &to_wrap).await?;
        if wrapped.len() != ids.len() {
            return Err(PrivacyError::Provider("wrapped another number of keys than asked".to_owned()));
        }
        let rows = ids.into_iter().zip(subjects).zip(wrapped);
        Ok(rows.map(|((id, subject), wrapped)| store::NewKey { id, subject, wrapped }).collect())
    }

    async fn unwrap(&self, rows: &[store::WrappedKey]) -> Result<Vec<KeyBytes>, PrivacyError> {
        let to_unwrap: Vec<ToUnwrap<'_>> = rows
            .iter()
            .map(|row| ToUnwrap {
                kek_id: &row.kek_id,
                wrapped: &row.wrapped,
                context: wrap_context(&row.subject_kind, row.subject, row.id, &row.kek_id),
            })
            .collect();
        let keys = self.provider.unwrap(&to_unwrap).await?;
        if keys.len() != rows.len() {
            return Err(PrivacyError::Provider("unwrapped another number of keys than asked".to_owned()));
        }
        Ok(keys)
    }
}

impl IndexKeys {
    fn derive(root: &KeyBytes) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, INDEX_SALT).extract(root.expose());
        let key = |field: &[u8]| {
            let info = [field];
            let derived = root.expand(&info, hmac::HMAC_SHA256).expect("one SHA-256 block is a valid length");
            hmac::Key::from(derived)
        };
        Self {
            phone: key(b"phone"),
            email: key(b"email"),
            name: key(b"name"),
            request: key(b"request fingerprint"),
        }
    }
}

impl From<KeyProviderError> for PrivacyError {
    fn from(error: KeyProviderError) -> Self {
        match error {
            KeyProviderError::WrongKek { kek_id } => Self::WrongKek { kek_id },
            KeyProviderError::Unavailable(why) => Self::Provider(why),
        }
    }
}

fn sign(key: &hmac::Key, bytes: &[u8]) -> [u8; 32] {
    hmac::sign(key, bytes).as_ref().try_into().expect("a SHA-256 digest has 32 bytes")
}

/// What a wrapped key is bound to: moved to another subject, or renamed, it does not unwrap.
fn wrap_context(subject_kind: &str, subject: Uuid, id: Uuid, kek_id: &str) -> Vec<u8> {
    format!("dek|{subject_kind}|{subject}|{id}|{kek_id}").into_bytes()
}

fn present(row: Option<store::StoredKey>) -> Result<store::WrappedKey, PrivacyError> {
    let store::StoredKey { id, subject_kind, subject, kek_id, wrapped } = row.ok_or(PrivacyError::Missing)?;
    let wrapped = wrapped.ok_or(PrivacyError::Destroyed)?;
    Ok(store::WrappedKey { id, subject_kind, subject, kek_id, wrapped })
}

fn one(keys: Vec<DataKey>) -> Result<DataKey, PrivacyError> {
    keys.into_iter().next().ok_or(PrivacyError::Missing)
}
