//! The proof that a database and a key file belong together: something sealed is opened.

use sqlx::PgConnection;

use super::{CONTACT, LeadError, store::detail as store};
use crate::privacy::{Cipher, PrivacyError, Subject};

/// Contacts that are tried: the newest may belong to people who were erased.
const TRIED_MAX: i64 = 50;

/// Opens the newest contact that is not an erased person's, and throws away what it says. `false` when there is none.
///
/// # Errors
/// When it does not open: the key file is another database's, or the value was changed.
pub async fn prove_readable(conn: &mut PgConnection, cipher: &Cipher) -> Result<bool, LeadError> {
    for contact in store::list_newest_contacts(conn, TRIED_MAX).await? {
        match cipher.key(Subject::Lead(contact.lead)).await {
            Ok(key) => {
                key.open(CONTACT, contact.id, &contact.sealed)?;
                return Ok(true);
            }
            Err(PrivacyError::Destroyed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}
