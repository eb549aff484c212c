//! News of calls from the telephony provider.
//!
//! **Invariant:** nothing is parsed before the signature over the raw bytes is right, and 204 is answered after the
//! commit. A wrong signature leaves nothing but a count. Whatever order news comes in, and however often, a call ends
//! the same.

use axum::extract::{Request, State};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use sira_domain::calls::{self, Direction, Exchange, Heard, NewExchange, News};
use sira_domain::nouns::InboundId;
use sira_domain::privacy::Subject;
use sira_jobs::calls::news;
use sira_kernel::Actor;
use sira_providers::redact;
use sira_providers::telephony::webhook::{self, Signed};

use crate::http::catalogue::Code;
use crate::http::extract::read_body;
use crate::http::problem::{ApiError, Problem};
use crate::http::state::App;

/// Takes in news of a call, signed by Standard Webhooks. 204 means stored, or known already.
#[utoipa::path(post, path = "/webhooks/telephony", operation_id = "receive_telephony_webhook", tag = "webhooks",
    params(("webhook-id" = String, Header, description = "Of this piece of news; the same at each repetition"),
           ("webhook-timestamp" = String, Header, description = "Seconds since 1970, within five minutes of now"),
           ("webhook-signature" = String, Header, description = "v1, and the HMAC of id.timestamp.body in base64")),
    request_body(content = Object, content_type = "application/json"), responses(
    (status = 204, description = "Stored, or known already"),
    (status = 400, description = "Signed, but no news of a call", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The signature is missing or wrong", body = Problem, content_type = "application/problem+json"),
))]
pub async fn receive_telephony_webhook(
    State(app): State<App>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let headers = request.headers().clone();
    let signed = signed(&headers).ok_or_else(refused)?;
    let raw = read_body(request, &app).await?;
    let now = app.cx.clock.now();
    if !webhook::verify(&app.settings.telephony_secrets, &signed, &raw, now) {
        return Err(refused());
    }
    let notice = webhook::parse(&raw).map_err(|_| {
        count("malformed");
        Code::MalformedJson
    })?;
    let provider = app.cx.providers.telephony.name();
    let known = {
        let mut conn = app.cx.db.read().await?;
        calls::find_by_ref(&mut conn, provider, &notice.provider_ref).await?
    };
    // The key before the transaction; news that comes before its call is known is sealed under a key of its own.
    let key = match known {
        Some((_, lead)) => app.cx.cipher.key(Subject::Lead(lead)).await?,
        None => app.cx.cipher.create_key(Subject::Inbound(InboundId::new()), now).await?,
    };
    let mut uow = app.cx.begin(Actor::Provider(provider.to_owned())).await?;
    let heard = calls::hear(
        &mut uow,
        &News {
            provider,
            external_id: &notice.event_id,
            provider_ref: &notice.provider_ref,
            event: news(notice.event),
            known,
        },
    )
    .await?;
    let (call, lead) = match heard {
        Heard::Known => {
            count("known");
            return Ok(StatusCode::NO_CONTENT);
        }
        Heard::Call(call, lead) => (Some(call), Some(lead)),
        Heard::Parked => (None, None),
    };
    let redacted = redact::body(&raw);
    let exchange = Exchange {
        request: raw.to_vec(),
        response: Vec::new(),
        request_redacted: redacted,
        response_redacted: Value::Null,
    };
    let new = NewExchange {
        provider,
        operation: "webhook",
        direction: Direction::In,
        call,
        lead,
        provider_ref: Some(&notice.provider_ref),
        http_status: Some(StatusCode::NO_CONTENT.as_u16()),
        latency: std::time::Duration::ZERO,
        failure: None,
        exchange: &exchange,
    };
    calls::keep_exchange(&mut uow, &key, &new).await?;
    uow.commit().await?;
    count(if call.is_some() { "heard" } else { "parked" });
    Ok(StatusCode::NO_CONTENT)
}

/// The three headers, each once.
fn signed(headers: &HeaderMap) -> Option<Signed<'_>> {
    let only = |name: &str| {
        let mut all = headers.get_all(name).iter();
        let (Some(only), None) = (all.next(), all.next()) else { return None };
        only.to_str().ok()
    };
    Some(Signed {
        id: only("webhook-id")?,
        timestamp: only("webhook-timestamp")?,
        signature: only("webhook-signature")?,
    })
}

fn refused() -> ApiError {
    count("signature_refused");
    Code::SignatureInvalid.into()
}

fn count(outcome: &'static str) {
    metrics::counter!("sira_webhook_events_total", "provider" => "telephony", "outcome" => outcome)
        .increment(1);
}
