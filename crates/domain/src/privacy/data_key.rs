//! The data key of one subject, and the form of what it seals.
//!
//! A sealed value is `version (1) | algorithm (1) | data key id (16) | nonce (12) | ciphertext | tag (16)`. The
//! additional authenticated data is `v1|table|column|row|subject kind|subject|data key id`. Nonces are 96 random
//! bits; at the few dozen values that a subject has, a repetition is out of the question (NIST SP 800-38D allows
//! 2^32 a key).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use uuid::Uuid;

use super::{Field, KeyBytes, PrivacyError, Subject};

/// The form described above.
const VERSION: u8 = 1;
/// AES-256-GCM with a random nonce.
const ALGORITHM: u8 = 1;
/// `version | algorithm | data key id`.
const HEADER_BYTES: usize = 2 + 16;

/// The data key of one subject, in memory only. Wiped when dropped (AWS-LC cleanses what it frees); `Debug` does
/// not show it.
pub struct DataKey {
    id: Uuid,
    subject: Subject,
    key: RandomizedNonceKey,
}

impl DataKey {
    pub(super) fn new(id: Uuid, subject: Subject, bytes: &KeyBytes) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.expose()).expect("AES-256 takes 32 bytes");
        Self { id, subject, key }
    }

    /// Which data key it is.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whose it is.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// Seals a value into this column of this row. Sealing the same value twice gives different bytes.
    pub fn seal(&self, field: Field, row: Uuid, plaintext: &[u8]) -> Vec<u8> {
        let mut body = plaintext.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.context(field, row)), &mut body)
            .expect("a value in memory is below the 64 GiB that AES-GCM can seal");
        let mut sealed = Vec::with_capacity(HEADER_BYTES + NONCE_LEN + body.len());
        sealed.extend_from_slice(&[VERSION, ALGORITHM]);
        sealed.extend_from_slice(self.id.as_bytes());
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        sealed
    }

    /// Opens what [`DataKey::seal`] sealed for the same column and row.
    ///
    /// # Errors
    /// [`PrivacyError::DoesNotOpen`] when one bit of the value differs, or it was sealed for another place.
    pub fn open(&self, field: Field, row: Uuid, sealed: &[u8]) -> Result<Vec<u8>, PrivacyError> {
        self.try_open(field, row, sealed).ok_or(PrivacyError::DoesNotOpen)
    }

    fn try_open(&self, field: Field, row: Uuid, sealed: &[u8]) -> Option<Vec<u8>> {
        let (header, rest) = sealed.split_at_checked(HEADER_BYTES)?;
        let (head, id) = header.split_at_checked(2)?;
        if head != [VERSION, ALGORITHM] || id != self.id.as_bytes() {
            return None;
        }
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let length =
            self.key.open_in_place(nonce, Aad::from(self.context(field, row)), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    /// Table and column names hold no `|`, and the rest has a fixed form: no two places have the same context.
    fn context(&self, field: Field, row: Uuid) -> Vec<u8> {
        let (kind, subject) = (self.subject.kind(), self.subject.uuid());
        format!("v1|{}|{}|{row}|{kind}|{subject}|{}", field.table, field.column, self.id).into_bytes()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey")
            .field("id", &self.id)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use sira_kernel::Id;

    use super::*;

    const NAME: Field = Field { table: "leads", column: "name_sealed" };
    const NOTE: Field = Field { table: "leads", column: "note_sealed" };

    fn key_of(subject: Subject) -> DataKey {
        DataKey::new(Id::<DataKey>::new().uuid(), subject, &KeyBytes::random())
    }

    fn lead() -> Subject {
        Subject::Lead(Id::new())
    }

    #[test]
    fn a_value_opens_in_its_own_place_only() {
        let (row, other_row) = (lead().uuid(), lead().uuid());
        let key = key_of(lead());
        let sealed = key.seal(NAME, row, "Şule Çağrı".as_bytes());
        assert_eq!(key.open(NAME, row, &sealed).unwrap(), "Şule Çağrı".as_bytes());
        for (field, row) in [(NOTE, row), (NAME, other_row), (Field { table: "enquiries", ..NAME }, row)] {
            assert!(matches!(key.open(field, row, &sealed), Err(PrivacyError::DoesNotOpen)));
        }
    }

    #[test]
    fn subject_and_key_id_are_bound_even_when_the_key_bytes_are_equal() {
        let bytes = KeyBytes::random();
        let (subject, row) = (lead(), lead().uuid());
        let id = Id::<DataKey>::new().uuid();
        let sealed = DataKey::new(id, subject, &bytes).seal(NAME, row, b"x");
        let same_uuid_other_kind = Subject::Inbound(Id::from_uuid(subject.uuid()));
        for (id, subject) in
            [(id, lead()), (id, same_uuid_other_kind), (Id::<DataKey>::new().uuid(), subject)]
        {
            assert!(DataKey::new(id, subject, &bytes).open(NAME, row, &sealed).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let (key, row) = (key_of(lead()), lead().uuid());
        let sealed = key.seal(NAME, row, b"+90 555 000 00 17");
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open(NAME, row, &changed).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(key.open(NAME, row, &sealed[..length]).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn ten_thousand_nonces_are_unique() {
        let (key, row) = (key_of(lead()), lead().uuid());
        let nonces: HashSet<Vec<u8>> = (0..10_000)
            .map(|_| key.seal(NAME, row, b"")[HEADER_BYTES..HEADER_BYTES + NONCE_LEN].to_vec())
            .collect();
        assert_eq!(nonces.len(), 10_000);
    }

    #[test]
    fn debug_shows_no_key() {
        let bytes = KeyBytes::random();
        let shown = format!("{bytes:?} {:?}", DataKey::new(Uuid::nil(), lead(), &bytes));
        assert!(!shown.contains(&hex::encode(bytes.expose())), "{shown}");
        assert!(!shown.contains(&format!("{:?}", bytes.expose())), "{shown}");
    }
}
