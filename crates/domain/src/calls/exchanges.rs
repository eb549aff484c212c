//! What was said with a provider about a call: sealed whole under the lead's key, and a view without numbers and secrets
//! for those who look into a failure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::store::exchanges as store;
use crate::nouns::{CallId, LeadId};
use crate::privacy::{DataKey, Field};
use crate::uow::Uow;

/// Where the request is sealed; the row is the exchange.
pub const REQUEST: Field = Field { table: "provider_exchanges", column: "request_sealed" };
/// Where the response is sealed.
pub const RESPONSE: Field = Field { table: "provider_exchanges", column: "response_sealed" };
/// Most exchanges that are shown of one call: retries are bounded, and so is what a provider repeats.
pub const SHOWN_MAX: i64 = 200;

/// Who began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We asked.
    Out,
    /// A webhook.
    In,
}

impl Direction {
    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// Bodies of one request and its answer. Has no `Debug`: the bodies hold numbers.
pub struct Exchange {
    /// As it was sent.
    pub request: Vec<u8>,
    /// As it was answered; empty when it was not.
    pub response: Vec<u8>,
    /// The request without numbers and secrets.
    pub request_redacted: Value,
    /// The response without numbers and secrets.
    pub response_redacted: Value,
}

/// An exchange to keep.
pub struct NewExchange<'a> {
    /// The provider's stored name.
    pub provider: &'a str,
    /// What was asked.
    pub operation: &'a str,
    /// Who began.
    pub direction: Direction,
    /// The call; `None` while it is not known which.
    pub call: Option<CallId>,
    /// The lead.
    pub lead: Option<LeadId>,
    /// The provider's id of the call, where it was said.
    pub provider_ref: Option<&'a str>,
    /// The answer's status; `None` without an answer.
    pub http_status: Option<u16>,
    /// How long the answer took.
    pub latency: Duration,
    /// A kind of the failure taxonomy.
    pub failure: Option<&'a str>,
    /// The bodies.
    pub exchange: &'a Exchange,
}

/// An exchange as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeRow {
    /// The row.
    pub id: Uuid,
    /// The provider's stored name.
    pub provider: String,
    /// What was asked.
    pub operation: String,
    /// `in` or `out`.
    pub direction: String,
    /// The provider's id of the call.
    pub provider_ref: Option<String>,
    /// The answer's status.
    pub http_status: Option<i16>,
    /// How long the answer took.
    pub latency_ms: Option<i32>,
    /// A kind of the failure taxonomy.
    pub failure: Option<String>,
    /// Without numbers and secrets.
    pub request: Value,
    /// Without numbers and secrets.
    pub response: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Keeps an exchange, sealed under the lead's key, or, while it is not known whose call it is about, under a key of its
/// own: of an inbound subject that nothing else has, whose id becomes the row's. So the row alone says which key opens
/// it, and whoever erases the lead finds both.
pub async fn keep_exchange(uow: &mut Uow, key: &DataKey, new: &NewExchange<'_>) -> Result<(), sqlx::Error> {
    let now = uow.now();
    store::insert(uow.conn(), key, new, now).await
}

/// Exchanges of a call, oldest first; at most `SHOWN_MAX`.
pub async fn list_exchanges(conn: &mut PgConnection, call: CallId) -> Result<Vec<ExchangeRow>, sqlx::Error> {
    store::list(conn, call, SHOWN_MAX).await
}
