//! The client of the sandbox's telephony provider: a bridge in the manner of Verimor, with codes like Twilio's.
//!
//! Its API. Every request carries `Authorization: Bearer <key>`.
//!
//! - `POST /telephony/calls {"reference","source","destination","caller_id","ring_timeout_s"}`: it calls `source`, then
//!   `destination` (E.164), and shows both `caller_id`. Answered at once by 201
//!   `{"call_uuid":"…","status":"initiated"}`. It does not look whether it had the reference before: each POST is a
//!   call.
//! - `GET /telephony/calls?reference=…` → `{"calls":[{"call_uuid","events":[{"leg","state","at","talk_s"?,"cause"?}]}]}`,
//!   calls and events oldest first; no call: an empty list.
//! - Errors: a 4xx or 5xx with `{"code":21211,"message":"…"}`; a 429 also with `Retry-After` in seconds.
//! - Webhooks: see [`super::webhook`].

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::events::WireEvent;
use super::{
    ANSWER_BYTES_MAX, Answer, CallRequest, CallSnapshot, Exchange, PlacedCall, Telephony, is_plausible_id,
};
use crate::codes::{Api, classify};
use crate::failure::{FailureKind, ProviderError};
use crate::{http, redact};

/// The stored name.
const NAME: &str = "sandbox";
/// Longest line of an agent, a plus in front apart.
const LINE_CHARS_MAX: usize = 32;
/// Digits of a number to show.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// Steps of one call that are read: a call has two legs with four steps each, and some to spare.
const EVENTS_MAX: usize = 64;

/// How to reach the provider.
#[derive(Clone)]
pub struct TelephonySettings {
    /// The sandbox on this machine, or https.
    pub base_url: String,
    /// What the provider knows us by.
    pub api_key: SecretString,
    /// The number of ours that both sides see, in E.164.
    pub caller_id: String,
    /// The longest that one request may take, all told.
    pub timeout: Duration,
}

impl std::fmt::Debug for TelephonySettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TelephonySettings")
            .field("base_url", &self.base_url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a client cannot be made of the settings.
#[derive(Debug, thiserror::Error)]
pub enum TelephonySettingsError {
    /// The base URL is none, or would carry the key and numbers in clear over a network.
    #[error(
        "the telephony provider's base URL must be https://host, or http://127.0.0.1:port for a sandbox on this \
         machine"
    )]
    BaseUrl,
    /// The key cannot stand in a header.
    #[error("the telephony provider's API key is empty or has characters that no key has")]
    ApiKey,
    /// There is no number to show.
    #[error("the caller id must be a number of ours, with its country, as in +90850xxxxxxx")]
    CallerId,
    /// TLS is not to be had.
    #[error("no HTTP client: {0}; are root certificates installed (Debian: ca-certificates)?")]
    Client(#[from] reqwest::Error),
}

/// Places calls with the sandbox. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct SandboxTelephony {
    client: Client,
    calls: Url,
    authorization: HeaderValue,
    caller_id: String,
}

#[derive(Deserialize)]
struct WirePlaced {
    call_uuid: String,
}

#[derive(Deserialize)]
struct WireCalls {
    calls: Vec<WireCall>,
}

#[derive(Deserialize)]
struct WireCall {
    call_uuid: String,
    events: Vec<WireEvent>,
}

/// Of the provider's own words only the code is read.
#[derive(Deserialize)]
struct WireFailure {
    code: u32,
}

/// A success whose body is not what the API describes.
#[derive(Debug, PartialEq, Eq)]
struct Unreadable;

/// What is about to be sent: for the record.
struct Outgoing {
    operation: &'static str,
    body: Vec<u8>,
    redacted: Value,
}

/// What came back, as far as it did.
struct Received {
    status: Option<StatusCode>,
    retry_after: Option<Duration>,
    body: Result<Vec<u8>, ProviderError>,
}

impl SandboxTelephony {
    /// Checks the settings and connects to nothing yet.
    pub fn new(settings: &TelephonySettings) -> Result<Self, TelephonySettingsError> {
        let mut calls = http::base_url(&settings.base_url).ok_or(TelephonySettingsError::BaseUrl)?;
        calls
            .path_segments_mut()
            .map_err(|()| TelephonySettingsError::BaseUrl)?
            .pop_if_empty()
            .extend(["telephony", "calls"]);
        let authorization = http::bearer(&settings.api_key).ok_or(TelephonySettingsError::ApiKey)?;
        if !is_number(&settings.caller_id) {
            return Err(TelephonySettingsError::CallerId);
        }
        let client = http::client(settings.timeout)?;
        Ok(Self { client, calls, authorization, caller_id: settings.caller_id.clone() })
    }

    async fn place(&self, request: &CallRequest<'_>) -> Answer<PlacedCall> {
        const OPERATION: &str = "place_call";
        if !is_plausible_id(request.reference) {
            return never_sent(OPERATION, "a reference is 1 to 64 letters, digits, dashes and underscores");
        }
        if !is_line(request.agent_line) {
            return never_sent(
                OPERATION,
                "an agent's line is an extension or a number: 1 to 32 letters and digits",
            );
        }
        let body = json!({
            "reference": request.reference,
            "source": request.agent_line,
            "destination": request.callee.e164(),
            "caller_id": self.caller_id,
            "ring_timeout_s": request.ring_timeout.as_secs().max(1),
        });
        let redacted = redact::redacted(&body);
        let body = body.to_string().into_bytes();
        let post =
            self.client.post(self.calls.clone()).header(CONTENT_TYPE, "application/json").body(body.clone());
        self.ask(post, Outgoing { operation: OPERATION, body, redacted }, read_placed).await
    }

    async fn find(&self, reference: &str) -> Answer<Option<CallSnapshot>> {
        const OPERATION: &str = "find_call";
        if !is_plausible_id(reference) {
            return never_sent(OPERATION, "a reference is 1 to 64 letters, digits, dashes and underscores");
        }
        let mut url = self.calls.clone();
        url.query_pairs_mut().append_pair("reference", reference);
        let body = url.query().unwrap_or_default().as_bytes().to_vec();
        let redacted = redact::redacted(&json!({ "reference": reference }));
        self.ask(self.client.get(url), Outgoing { operation: OPERATION, body, redacted }, read_calls).await
    }

    /// Sends one request, and makes of what comes back a result and its record.
    async fn ask<T>(
        &self,
        request: RequestBuilder,
        outgoing: Outgoing,
        read: fn(&[u8]) -> Result<T, Unreadable>,
    ) -> Answer<T> {
        let started = Instant::now();
        let received = send(request.header(AUTHORIZATION, self.authorization.clone())).await;
        let latency = started.elapsed();
        let response = received.body.clone().unwrap_or_default();
        let exchange = Exchange {
            operation: outgoing.operation,
            http_status: received.status.map(|status| status.as_u16()),
            latency,
            request: outgoing.body,
            request_redacted: outgoing.redacted,
            response_redacted: redact::body(&response),
            response,
        };
        Answer { result: judge(received, read), exchange }
    }
}

impl Telephony for SandboxTelephony {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place_call<'a>(
        &'a self,
        request: &'a CallRequest<'a>,
    ) -> Pin<Box<dyn Future<Output = Answer<PlacedCall>> + Send + 'a>> {
        Box::pin(self.place(request))
    }

    fn find_call<'a>(
        &'a self,
        reference: &'a str,
    ) -> Pin<Box<dyn Future<Output = Answer<Option<CallSnapshot>>> + Send + 'a>> {
        Box::pin(self.find(reference))
    }
}

async fn send(request: RequestBuilder) -> Received {
    match request.send().await {
        Err(error) => {
            Received { status: None, retry_after: None, body: Err(http::transport_failure(&error)) }
        }
        Ok(response) => Received {
            status: Some(response.status()),
            retry_after: http::retry_after(response.headers()),
            body: http::read_body(response, ANSWER_BYTES_MAX).await,
        },
    }
}

fn judge<T>(received: Received, read: fn(&[u8]) -> Result<T, Unreadable>) -> Result<T, ProviderError> {
    let Received { status, retry_after, body } = received;
    match status {
        // An error page that is too long or breaks off is still an error with a status.
        Some(status) if !status.is_success() => Err(refusal(status, retry_after, &body.unwrap_or_default())),
        _ => read(&body?).map_err(|Unreadable| failure(FailureKind::BadAnswer)),
    }
}

fn refusal(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> ProviderError {
    let http = status.as_u16();
    let code = serde_json::from_slice(body).map(|WireFailure { code }| code.to_string());
    let kind = classify(Api::Twilio, code.as_deref().unwrap_or_default(), Some(http));
    let code = code.unwrap_or_else(|_| format!("http {http}"));
    ProviderError { code, retry_after: retry_after.filter(|_| kind.retryable()), ..failure(kind) }
}

fn failure(kind: FailureKind) -> ProviderError {
    ProviderError::new(kind, format!("the telephony provider {}", kind.meaning()))
}

fn read_placed(body: &[u8]) -> Result<PlacedCall, Unreadable> {
    let WirePlaced { call_uuid } = serde_json::from_slice(body).map_err(|_| Unreadable)?;
    if !is_plausible_id(&call_uuid) {
        return Err(Unreadable);
    }
    Ok(PlacedCall { provider_ref: call_uuid, dial_url: None })
}

fn read_calls(body: &[u8]) -> Result<Option<CallSnapshot>, Unreadable> {
    let WireCalls { mut calls } = serde_json::from_slice(body).map_err(|_| Unreadable)?;
    let Some(WireCall { call_uuid, events }) = calls.pop() else { return Ok(None) };
    if !is_plausible_id(&call_uuid) || events.len() > EVENTS_MAX {
        return Err(Unreadable);
    }
    Ok(Some(CallSnapshot {
        provider_ref: call_uuid,
        events: events.into_iter().map(WireEvent::read).collect(),
    }))
}

fn never_sent<T>(operation: &'static str, message: &str) -> Answer<T> {
    let exchange = Exchange {
        operation,
        http_status: None,
        latency: Duration::ZERO,
        request: Vec::new(),
        response: Vec::new(),
        request_redacted: Value::Null,
        response_redacted: Value::Null,
    };
    Answer { result: Err(ProviderError::never_sent(FailureKind::BadRequest, message)), exchange }
}

/// An extension or a number.
fn is_line(text: &str) -> bool {
    let bare = text.strip_prefix('+').unwrap_or(text);
    (1..=LINE_CHARS_MAX).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// E.164.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    NUMBER_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(base_url: &str, api_key: &str, caller_id: &str) -> TelephonySettings {
        TelephonySettings {
            base_url: base_url.to_owned(),
            api_key: api_key.into(),
            caller_id: caller_id.to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    const HERE: &str = "http://127.0.0.1:4010";
    const CALLER_ID: &str = "+905550000099";

    #[test]
    fn settings_that_would_leak_the_key_or_never_work_are_refused() {
        for base in ["https://telephony.example.com", HERE, "http://localhost:1/", "http://[::1]:1"] {
            assert!(SandboxTelephony::new(&settings(base, "k", CALLER_ID)).is_ok(), "{base}");
        }
        for base in ["http://telephony.example.com", "ftp://127.0.0.1", "", "https://a/?x=1", "https://u@a"] {
            let refused = SandboxTelephony::new(&settings(base, "k", CALLER_ID));
            assert!(matches!(refused.err(), Some(TelephonySettingsError::BaseUrl)), "{base}");
        }
        for key in ["", " ", "a\nb"] {
            let refused = SandboxTelephony::new(&settings(HERE, key, CALLER_ID));
            assert!(matches!(refused.err(), Some(TelephonySettingsError::ApiKey)), "{key:?}");
        }
        for caller_id in ["", "+", "Sira", "+90 555", "905550000099", "+1234567", "+1234567890123456"] {
            let refused = SandboxTelephony::new(&settings(HERE, "k", caller_id));
            assert!(matches!(refused.err(), Some(TelephonySettingsError::CallerId)), "{caller_id:?}");
        }
        let shown = format!("{:?}", settings(HERE, "hush", CALLER_ID));
        assert!(!shown.contains("hush") && !shown.contains("5550000"), "{shown}");
    }

    #[test]
    fn the_newest_of_several_calls_counts_and_an_endless_one_is_not_read() {
        let event = r#"{"leg":"agent","state":"ringing","at":"2026-11-02T10:00:00Z"}"#;
        let calls = |second: &str| {
            format!(
                r#"{{"calls":[{{"call_uuid":"c1","events":[]}},{{"call_uuid":"c2","events":[{second}]}}]}}"#
            )
        };
        let read = read_calls(calls(event).as_bytes()).unwrap().unwrap();
        assert_eq!((read.provider_ref.as_str(), read.events.len()), ("c2", 1));
        assert_eq!(read_calls(br#"{"calls":[]}"#), Ok(None));
        assert!(read_calls(calls(&vec![event; EVENTS_MAX].join(",")).as_bytes()).is_ok());
        assert!(read_calls(calls(&vec![event; EVENTS_MAX + 1].join(",")).as_bytes()).is_err());
    }
}
