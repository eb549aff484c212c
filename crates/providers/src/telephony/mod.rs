//! Telephony: calls that a provider bridges, so that the agent and the lead never see each other's number.
//!
//! The provider calls the agent first, then the lead, and shows both a number of ours. What becomes of the two legs
//! arrives by webhook; [`Telephony::find_call`] asks for it where a webhook, or the answer to the order itself, was
//! lost.
//!
//! **Invariant:** placing a call is never repeated in here: a call that is placed twice rings twice. Nothing here shows
//! a number or a body in its `Debug`.

mod events;
mod sandbox;
pub mod webhook;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
pub use sandbox::{SandboxTelephony, TelephonySettings, TelephonySettingsError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_kernel::PhoneNumber;

use crate::failure::{FailureKind, ProviderError};

/// A call to be placed. `Debug` shows the callee masked and the agent's line not at all.
pub struct CallRequest<'a> {
    /// Our call id, 1 to 64 letters, digits, dashes and underscores: what [`Telephony::find_call`] asks by. Webhooks
    /// need not repeat it.
    pub reference: &'a str,
    /// The agent's extension or number at the provider; rings first.
    pub agent_line: &'a str,
    /// Whom to connect the agent with.
    pub callee: &'a PhoneNumber,
    /// How long each leg may ring; told in whole seconds, at least one.
    pub ring_timeout: Duration,
}

impl fmt::Debug for CallRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallRequest")
            .field("reference", &self.reference)
            .field("callee", &self.callee)
            .field("ring_timeout", &self.ring_timeout)
            .finish_non_exhaustive()
    }
}

/// What the provider says of a call that it took on. `Debug` hides the number to dial.
#[derive(Clone, PartialEq, Eq)]
pub struct PlacedCall {
    /// The provider's id of the call, by which its webhooks name it.
    pub provider_ref: String,
    /// `tel:` and the number to dial, of a provider that leases numbers; none from one that calls both sides.
    pub dial_url: Option<String>,
}

impl fmt::Debug for PlacedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlacedCall").field("provider_ref", &self.provider_ref).finish_non_exhaustive()
    }
}

/// A side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// From the provider to the agent.
    Agent,
    /// From the provider to the lead. The call's outcome is this leg's: the agent's reads completed also when nobody
    /// answered here.
    Callee,
}

/// What a leg has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegState {
    /// Being set up.
    Initiated,
    /// Ringing.
    Ringing,
    /// Somebody speaks.
    Answered,
    /// Ended in good order.
    Completed,
    /// The line was busy, or the call was rejected.
    Busy,
    /// It rang until its time was over.
    NoAnswer,
    /// It could not be set up, or broke off.
    Failed,
    /// The caller hung up before it was answered.
    Canceled,
}

/// One step of one leg. Steps may come late, twice and out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegEvent {
    /// Which leg.
    pub leg: Leg,
    /// What it came to.
    pub state: LegState,
    /// When, by the provider's clock.
    pub at: DateTime<Utc>,
    /// How long they spoke, in whole seconds; of a completed leg, if the provider tells.
    pub talk: Option<Duration>,
    /// Why it failed; of a failed leg only.
    pub failure: Option<FailureKind>,
}

/// All that a provider knows of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSnapshot {
    /// The provider's id of the call.
    pub provider_ref: String,
    /// All steps so far, oldest first.
    pub events: Vec<LegEvent>,
}

/// One request to a provider and what came back, for the record. `Debug` shows no body.
pub struct Exchange {
    /// What was asked: `place_call`, `find_call`.
    pub operation: &'static str,
    /// The answer's status; none when there was no answer.
    pub http_status: Option<u16>,
    /// From the first byte sent to the last one read, or to giving up. Zero when nothing was sent.
    pub latency: Duration,
    /// The raw body sent, of a read its query; with numbers, to be sealed. Empty when nothing was sent.
    pub request: Vec<u8>,
    /// The raw body received, at most [`ANSWER_BYTES_MAX`]; with numbers, to be sealed. Empty when there was none, or
    /// when it was longer or broke off.
    pub response: Vec<u8>,
    /// The request in a form that may be shown: no numbers, no secrets.
    pub request_redacted: Value,
    /// The answer in a form that may be shown: no numbers, no secrets.
    pub response_redacted: Value,
}

/// Bytes of an answer that are read.
pub const ANSWER_BYTES_MAX: usize = 256 * 1024;

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("operation", &self.operation)
            .field("http_status", &self.http_status)
            .field("latency", &self.latency)
            .finish_non_exhaustive()
    }
}

/// What came of a request, and the record of it.
#[derive(Debug)]
pub struct Answer<T> {
    /// What came of it.
    pub result: Result<T, ProviderError>,
    /// The record, also of a failure.
    pub exchange: Exchange,
}

/// The port: what the product needs of a telephony provider.
pub trait Telephony: Send + Sync {
    /// The provider's stable name, as it is stored: `sandbox`.
    fn name(&self) -> &'static str;

    /// Orders one call. Not to be repeated while [`ProviderError::maybe_done`] is set: [`Telephony::find_call`] tells
    /// whether it was placed.
    fn place_call<'a>(
        &'a self,
        request: &'a CallRequest<'a>,
    ) -> Pin<Box<dyn Future<Output = Answer<PlacedCall>> + Send + 'a>>;

    /// What the provider knows of the call that carried our reference: the newest one, should there be several. A
    /// read: may be repeated. None: it never had it.
    fn find_call<'a>(
        &'a self,
        reference: &'a str,
    ) -> Pin<Box<dyn Future<Output = Answer<Option<CallSnapshot>>> + Send + 'a>>;
}

/// Whether a text can be an id of a call, ours or a provider's: 1 to 64 letters, digits, dashes and underscores.
fn is_plausible_id(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Longest id of a call, in characters.
const ID_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn debug_shows_no_number_and_no_body() {
        let callee = PhoneNumber::parse("+905550000017", "TR").unwrap();
        let request = CallRequest {
            reference: "r1",
            agent_line: "+905550000018",
            callee: &callee,
            ring_timeout: Duration::from_secs(30),
        };
        let placed =
            PlacedCall { provider_ref: "p1".to_owned(), dial_url: Some("tel:+905550000019".to_owned()) };
        let exchange = Exchange {
            operation: "place_call",
            http_status: Some(201),
            latency: Duration::from_millis(1),
            request: b"+905550000017".to_vec(),
            response: b"+905550000017".to_vec(),
            request_redacted: json!("shown"),
            response_redacted: json!("shown"),
        };
        let answer = Answer { result: Ok(placed), exchange };
        let shown = format!("{request:?} {answer:?}");
        for part in ["r1", "+90*** ** 17", "p1", "place_call", "201"] {
            assert!(shown.contains(part), "{shown}");
        }
        for hidden in ["5550000", "tel:", "shown", &format!("{:?}", b"+9055")[1..15]] {
            assert!(!shown.contains(hidden), "{hidden} in {shown}");
        }
    }
}
