//! Meta Lead Ads: the handshake, and the announcement of new leads.
//!
//! **Invariant:** nothing is parsed before the signature over the raw bytes is right, and 200 is answered after the
//! commit: what was acknowledged is stored. A wrong signature leaves nothing but a count.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use sira_domain::ingestion::{self, IngestionError, RawEvent};
use sira_kernel::Actor;
use sira_providers::meta::webhook::{self, BODY_BYTES_MAX, SIGNATURE_HEADER, WebhookError};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::IntoParams;

use crate::http::catalogue::Code;
use crate::http::extract::read_body;
use crate::http::problem::{ApiError, Problem};
use crate::http::state::App;

/// The largest body that this route reads.
pub const BODY_LIMIT: usize = BODY_BYTES_MAX;
/// Bodies up to this many bytes are read without asking how many are: Meta's usual ones are far smaller.
const SMALL_BODY: u64 = 256 * 1024;
/// Most larger bodies, or bodies of unknown length, at a time. Whoever sends one has not shown yet that they may.
const LARGE_BODIES_MAX: usize = 16;
static LARGE_BODIES: Semaphore = Semaphore::const_new(LARGE_BODIES_MAX);
/// When to come back with a large body.
const LARGE_BODY_RETRY: Duration = Duration::from_secs(1);
/// Longest challenge that is repeated, in bytes.
const CHALLENGE_MAX: usize = 256;
/// The provider's stored name.
const PROVIDER: &str = "meta";

/// What Meta asks when the webhook is set up. All three are there in a true handshake.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Handshake {
    /// `subscribe`.
    #[serde(rename = "hub.mode", default)]
    mode: String,
    /// The token that was typed into Meta's settings.
    #[serde(rename = "hub.verify_token", default)]
    verify_token: String,
    /// To be repeated.
    #[serde(rename = "hub.challenge", default)]
    challenge: String,
}

/// Meta's handshake: repeats the challenge when the token is the configured one.
#[utoipa::path(get, path = "/webhooks/meta", operation_id = "confirm_meta_webhook", tag = "webhooks", params(Handshake), responses(
    (status = 200, description = "The challenge", body = String, content_type = "text/plain"),
    (status = 401, description = "Another token", body = Problem, content_type = "application/problem+json"),
))]
pub async fn confirm_meta_webhook(
    State(app): State<App>,
    Query(asked): Query<Handshake>,
) -> Result<Response, ApiError> {
    let expected = app.settings.meta.verify_token.expose_secret().as_bytes();
    let same = bool::from(asked.verify_token.as_bytes().ct_eq(expected));
    if !same || expected.is_empty() || asked.mode != "subscribe" || asked.challenge.len() > CHALLENGE_MAX {
        count("handshake_refused", 1);
        return Err(Code::SignatureInvalid.into());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], asked.challenge).into_response())
}

/// Takes in Meta's announcement of new leads. 200 means stored, or known already.
#[utoipa::path(post, path = "/webhooks/meta", operation_id = "receive_meta_webhook", tag = "webhooks",
    params(("X-Hub-Signature-256" = String, Header, description = "sha256= and the HMAC of the raw body under the app secret")),
    request_body(content = Object, content_type = "application/json"), responses(
    (status = 200, description = "Stored, or known already"),
    (status = 400, description = "Signed, but no webhook", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "The signature is missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 413, description = "More than 4 MiB or 1,000 changes", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "Too many large bodies at once, or no database", body = Problem, content_type = "application/problem+json"),
))]
pub async fn receive_meta_webhook(State(app): State<App>, request: Request) -> Result<StatusCode, ApiError> {
    // Without anything that could be a signature not even the body is read.
    let signature = signature(request.headers()).ok_or_else(refused)?;
    let _permit = admit(request.body())?;
    let raw = read_body(request, &app).await?;
    if !webhook::verify_signature(&app.settings.meta.app_secrets, &raw, &signature) {
        return Err(refused());
    }
    let batch = webhook::parse(&raw).map_err(|error| {
        count("malformed", 1);
        ApiError::from(match error {
            WebhookError::Malformed => Code::MalformedJson,
            WebhookError::TooMany => Code::BodyTooLarge,
        })
    })?;
    count("unreadable", batch.unreadable);
    if batch.leads.is_empty() {
        count("ignored", 1);
        return Ok(StatusCode::OK);
    }
    let event = |notice: webhook::LeadgenNotice| {
        let body = serde_json::to_vec(&notice).map_err(ApiError::internal)?;
        Ok(RawEvent { external_id: notice.leadgen_id, body })
    };
    let events = batch.leads.into_iter().map(event).collect::<Result<Vec<_>, ApiError>>()?;
    let prepared = ingestion::prepare(&app.cx.db, &app.cx.cipher, PROVIDER, events).await?;
    let mut uow = app.cx.begin(Actor::Provider(PROVIDER.to_owned())).await?;
    let accepted = ingestion::accept(&mut uow, prepared).await?;
    uow.commit().await?;
    count("accepted", accepted.new.len());
    count("known", accepted.known);
    Ok(StatusCode::OK)
}

/// A place for a large body, held until its request is answered; a small one needs none.
fn admit(body: &Body) -> Result<Option<SemaphorePermit<'static>>, ApiError> {
    if body.size_hint().upper().is_some_and(|bytes| bytes <= SMALL_BODY) {
        return Ok(None);
    }
    LARGE_BODIES.try_acquire().map(Some).map_err(|_| {
        count("busy", 1);
        ApiError::new(Code::Unavailable).retry_after(LARGE_BODY_RETRY).because("too many large webhooks")
    })
}

/// The one signature header, when it has a signature's form; two are none.
fn signature(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(SIGNATURE_HEADER).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let text = only.to_str().ok()?;
    let digits = text.strip_prefix("sha256=")?;
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
}

fn refused() -> ApiError {
    count("signature_refused", 1);
    Code::SignatureInvalid.into()
}

fn count(outcome: &'static str, by: usize) {
    if by > 0 {
        metrics::counter!("sira_webhook_events_total", "provider" => PROVIDER, "outcome" => outcome)
            .increment(by as u64);
    }
}

impl From<IngestionError> for ApiError {
    fn from(error: IngestionError) -> Self {
        match error {
            IngestionError::Database(error) => error.into(),
            IngestionError::Privacy(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn large_bodies_are_few_at_a_time_and_small_ones_never_wait() {
        let large = || Body::from(vec![b' '; SMALL_BODY as usize + 1]);
        let held: Vec<_> = (0..LARGE_BODIES_MAX).map(|_| admit(&large()).unwrap()).collect();
        assert!(held.iter().all(Option::is_some));
        assert_eq!(admit(&large()).unwrap_err().code(), Code::Unavailable);
        assert!(admit(&Body::from("{}")).unwrap().is_none());
        drop(held);
        assert!(admit(&large()).unwrap().is_some());
    }

    #[test]
    fn only_what_may_be_a_signature_is_taken_for_one() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(SIGNATURE_HEADER, HeaderValue::from_str(text).unwrap());
            signature(&headers)
        };
        let right = format!("sha256={}", "0aF".repeat(22).split_at(64).0);
        assert_eq!(of(&right).as_deref(), Some(right.as_str()));
        let digits = &right["sha256=".len()..];
        for bad in ["", "sha256=", &right[..70], digits, &format!("{right}0"), &right.replacen('F', "g", 1)] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
