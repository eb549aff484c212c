//! SQL of exchanges with providers.

use chrono::{DateTime, Utc};
use sira_kernel::Id;
use sqlx::PgConnection;

use crate::calls::exchanges::{ExchangeRow, NewExchange, REQUEST, RESPONSE};
use crate::nouns::{CallId, LeadId};
use crate::privacy::{DataKey, Subject};

pub async fn insert(
    conn: &mut PgConnection,
    key: &DataKey,
    new: &NewExchange<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let id = match key.subject() {
        Subject::Inbound(own) => own.uuid(),
        Subject::Lead(_) | Subject::Import(_) => Id::<ExchangeRow>::new().uuid(),
    };
    sqlx::query!(
        "insert into provider_exchanges
             (id, provider, operation, direction, lead_id, call_id, provider_ref, http_status, latency_ms, failure,
              request_sealed, response_sealed, request, response, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        id,
        new.provider,
        new.operation,
        new.direction.code(),
        new.lead.map(LeadId::uuid),
        new.call.map(CallId::uuid),
        new.provider_ref,
        new.http_status.map(|status| status as i16),
        i32::try_from(new.latency.as_millis()).unwrap_or(i32::MAX),
        new.failure,
        key.seal(REQUEST, id, &new.exchange.request),
        key.seal(RESPONSE, id, &new.exchange.response),
        new.exchange.request_redacted,
        new.exchange.response_redacted,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn list(
    conn: &mut PgConnection,
    call: CallId,
    limit: i64,
) -> Result<Vec<ExchangeRow>, sqlx::Error> {
    sqlx::query_as!(
        ExchangeRow,
        "select id, provider, operation, direction, provider_ref, http_status, latency_ms, failure, request, response,
             at
         from provider_exchanges where call_id = $1 order by at, id limit $2",
        call.uuid(),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// What was said of a call before its id was known: now the call's.
pub async fn adopt(
    conn: &mut PgConnection,
    call: CallId,
    lead: LeadId,
    provider: &str,
    provider_ref: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update provider_exchanges set call_id = $1, lead_id = $2
         where provider = $3 and provider_ref = $4 and call_id is null",
        call.uuid(),
        lead.uuid(),
        provider,
        provider_ref,
    )
    .execute(conn)
    .await?;
    Ok(())
}
