//! Repeated requests: the first one's answer is kept in the transaction of its effect, and given again.
//!
//! **Invariant:** the key row, the effect and the stored answer commit together: a key without an answer is
//! never visible to anybody else, and an answer without its effect does not exist.
//!
//! Bodies hold personal data, so that only a keyed fingerprint of them is kept, and that for a day: each new key
//! clears some old ones away.

mod store;

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::PgConnection;

use crate::privacy::Cipher;
use crate::uow::Uow;

/// Longest key accepted, in characters; the same bound as `idempotency_keys_key_check`.
pub const KEY_CHARS_MAX: usize = 200;
/// How long an answer is kept at least.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// Most old keys that one new key clears away: more than one, so that the table shrinks after a busy day, and few,
/// so that no request waits long for it.
const CLEARED_MAX: i64 = 20;

/// Who repeats what: keys of different callers and routes never meet.
#[derive(Debug, Clone)]
pub struct Request {
    /// The caller, as in `user:<id>`.
    pub principal: String,
    /// Method and path.
    pub route: String,
    /// The caller's key.
    pub key: String,
    fingerprint: Vec<u8>,
}

/// What was found under a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Begun {
    /// Nothing: go on, then [`keep`] the answer in the same unit of work.
    First,
    /// The answer to the same request: give it again, change nothing.
    Replay {
        /// HTTP status.
        status: u16,
        /// The body.
        body: Value,
    },
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key was used with another body.
    #[error("this key was used with another body")]
    OtherBody,
    /// The same request runs at this moment and did not end within the wait.
    #[error("a request with this key is in flight")]
    InFlight,
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Request {
    /// A request with this body, of which [`Cipher::fingerprint`] is kept. `key` has 1 to [`KEY_CHARS_MAX`]
    /// characters: the edge has checked it.
    pub fn new(cipher: &Cipher, principal: String, route: String, key: String, body: &[u8]) -> Self {
        let fingerprint = cipher.fingerprint(body).to_vec();
        Self { principal, route, key, fingerprint }
    }
}

/// The answer that is kept already, before any work is done; what [`begin`] decides is what counts.
///
/// # Errors
/// [`IdempotencyError::OtherBody`].
pub async fn find(conn: &mut PgConnection, request: &Request) -> Result<Begun, IdempotencyError> {
    match store::find(conn, request).await? {
        Some(kept) => replay(request, kept),
        None => Ok(Begun::First),
    }
}

/// Takes the key in the unit of work of the effect, so call it before any other write. Waits at most two
/// seconds for another holder. A new key clears a few away that are older than [`KEPT_FOR`].
///
/// # Errors
/// [`IdempotencyError::OtherBody`], [`IdempotencyError::InFlight`]; after either the unit of work is dropped.
pub async fn begin(uow: &mut Uow, request: &Request) -> Result<Begun, IdempotencyError> {
    let now = uow.now();
    let inserted = store::insert(uow.conn(), request, now).await.map_err(|error| match &error {
        sqlx::Error::Database(db) if db.code().as_deref() == Some(store::LOCK_NOT_AVAILABLE) => {
            IdempotencyError::InFlight
        }
        _ => error.into(),
    })?;
    if inserted {
        store::delete_older(uow.conn(), now - KEPT_FOR, CLEARED_MAX).await?;
        return Ok(Begun::First);
    }
    // The twin may only be gone between the two statements when it was cleaned up meanwhile: a day has passed.
    let kept = store::find(uow.conn(), request).await?.ok_or(IdempotencyError::InFlight)?;
    replay(request, kept)
}

fn replay(request: &Request, kept: store::Kept) -> Result<Begun, IdempotencyError> {
    if kept.fingerprint != request.fingerprint {
        return Err(IdempotencyError::OtherBody);
    }
    Ok(Begun::Replay { status: kept.status, body: kept.response })
}

/// Keeps the answer, free of personal data, in the unit of work of the effect.
pub async fn keep(
    uow: &mut Uow,
    request: &Request,
    status: u16,
    body: &Value,
) -> Result<(), IdempotencyError> {
    Ok(store::keep(uow.conn(), request, status, body).await?)
}
