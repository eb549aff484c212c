//! Webhooks about calls: signed as Standard Webhooks says, over id, time and the raw bytes; and the step that a body
//! tells of.
//!
//! They name the call by the provider's id alone, and may come before the answer to the order of that call. The body
//! holds both numbers; what is read of it holds none.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::events::WireEvent;
use super::{LegEvent, is_plausible_id};

/// The header of [`Signed::id`].
pub const ID_HEADER: &str = "webhook-id";
/// The header of [`Signed::timestamp`].
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header of [`Signed::signature`].
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// What one POST may hold.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// How far a webhook's time may be from ours, either way.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Signatures of one header that are looked at.
const SIGNATURES_MAX: usize = 16;
/// What every secret begins with, and how many bytes it stands for.
const SECRET_PREFIX: &str = "whsec_";
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// What the headers of a webhook say.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// Stays the same when the webhook is delivered again.
    pub id: &'a str,
    /// Seconds since 1970, of this delivery.
    pub timestamp: &'a str,
    /// `v1,` and base64 for each secret that signed, separated by spaces.
    pub signature: &'a str,
}

/// One step of a call, as a webhook tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallNotice {
    /// Unique for this step: what makes a redelivery recognisable.
    pub event_id: String,
    /// The provider's id of the call.
    pub provider_ref: String,
    /// The step.
    pub event: LegEvent,
}

/// Why a body is no webhook about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not JSON, or not in the form of a webhook.
    #[error("the body is not a webhook: expected event_id, call_uuid, leg, state and at")]
    Malformed,
}

/// Whether one of the secrets signed exactly this id, time and body, within [`TOLERANCE`] of `now`. Takes the same
/// time whichever secret fits and wherever a wrong signature differs; several secrets are active while one replaces
/// the other. A secret that is not `whsec_` and base64 of 24 to 64 bytes signs nothing; above all not an empty one,
/// as of a setting that nobody made: everybody knows it.
pub fn verify(secrets: &[SecretString], signed: &Signed<'_>, raw: &[u8], now: DateTime<Utc>) -> bool {
    // With a full stop in it, id and time could be read in two ways.
    if signed.id.is_empty() || signed.id.contains('.') || !is_recent(signed.timestamp, now) {
        return false;
    }
    let text = [signed.id.as_bytes(), signed.timestamp.as_bytes(), raw].join(&b'.');
    let keys: Vec<hmac::Key> = secrets.iter().filter_map(key).collect();
    let signatures = signed.signature.split_ascii_whitespace().take(SIGNATURES_MAX);
    signatures.filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok()).fold(
        false,
        |valid, signature| {
            keys.iter().fold(valid, |valid, key| hmac::verify(key, &text, &signature).is_ok() | valid)
        },
    )
}

fn is_recent(timestamp: &str, now: DateTime<Utc>) -> bool {
    let sent_at = timestamp.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    sent_at.is_some_and(|sent_at| (now - sent_at).abs() <= TOLERANCE)
}

fn key(secret: &SecretString) -> Option<hmac::Key> {
    let bytes = STANDARD.decode(secret.expose_secret().strip_prefix(SECRET_PREFIX)?).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[derive(Deserialize)]
struct WireNotice {
    event_id: String,
    call_uuid: String,
    #[serde(flatten)]
    event: WireEvent,
}

/// Reads the step out of a body whose signature was verified. What it does not know is passed over.
pub fn parse(raw: &[u8]) -> Result<CallNotice, WebhookError> {
    let wire: WireNotice = serde_json::from_slice(raw).map_err(|_| WebhookError::Malformed)?;
    if !is_plausible_id(&wire.event_id) || !is_plausible_id(&wire.call_uuid) {
        return Err(WebhookError::Malformed);
    }
    Ok(CallNotice { event_id: wire.event_id, provider_ref: wire.call_uuid, event: wire.event.read() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::FailureKind;
    use crate::telephony::{Leg, LegState};

    // The public vector of Standard Webhooks.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    const AT: &str = "1649367553";
    const BODY: &[u8] = br#"{"email":"test@example.com","username":"test_user"}"#;
    const SIGNATURE: &str = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_649_367_553 + seconds, 0).unwrap()
    }

    fn verifies(secrets: &[&str], id: &str, timestamp: &str, signature: &str) -> bool {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        verify(&secrets, &Signed { id, timestamp, signature }, BODY, at(0))
    }

    /// Signs by the specification, with whatever bytes.
    fn sign(secret: &[u8], id: &str, timestamp: &str, raw: &[u8]) -> String {
        let text = [id.as_bytes(), b".", timestamp.as_bytes(), b".", raw].concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("v1,{}", STANDARD.encode(hmac::sign(&key, &text)))
    }

    #[test]
    fn the_public_vector_verifies_under_either_active_secret() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        for secrets in [&[SECRET] as &[&str], &[&other, SECRET], &[SECRET, &other]] {
            assert!(verifies(secrets, ID, AT, SIGNATURE));
        }
        assert!(verifies(&[SECRET, &other], ID, AT, &sign(&[7; 32], ID, AT, BODY)));
        assert!(!verifies(&[&other], ID, AT, SIGNATURE));
        assert!(!verifies(&[], ID, AT, SIGNATURE));
    }

    #[test]
    fn any_one_of_several_signatures_suffices() {
        let junk = "v1,AAAA v1a,xyz v2,abc";
        for header in [format!("{junk} {SIGNATURE}"), format!("{SIGNATURE} {junk}")] {
            assert!(verifies(&[SECRET], ID, AT, &header), "{header}");
        }
        let many = format!("{} {SIGNATURE}", ["v1,AAAA"; SIGNATURES_MAX].join(" "));
        assert!(!verifies(&[SECRET], ID, AT, &many));
    }

    #[test]
    fn another_body_id_or_time_does_not_verify() {
        let secrets = [SECRET.into()];
        let signed = Signed { id: ID, timestamp: AT, signature: SIGNATURE };
        assert!(verify(&secrets, &signed, BODY, at(0)));
        assert!(!verify(&secrets, &signed, br#"{"email":"test@example.com"}"#, at(0)));
        assert!(!verifies(&[SECRET], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpl", AT, SIGNATURE));
        assert!(!verifies(&[SECRET], ID, "1649367554", SIGNATURE));
        let own = format!("whsec_{}", STANDARD.encode([7; 32]));
        assert!(!verifies(&[&own], "", AT, &sign(&[7; 32], "", AT, BODY)));
    }

    #[test]
    fn a_webhook_counts_within_five_minutes_of_its_time() {
        let secrets = [SECRET.into()];
        let signed = Signed { id: ID, timestamp: AT, signature: SIGNATURE };
        for (seconds, valid) in [(-301, false), (-300, true), (0, true), (300, true), (301, false)] {
            assert_eq!(verify(&secrets, &signed, BODY, at(seconds)), valid, "{seconds}");
        }
        let own = format!("whsec_{}", STANDARD.encode([7; 32]));
        for timestamp in
            ["", "soon", "1649367553.5", " 1649367553", "99999999999999999999", "9223372036854775807"]
        {
            assert!(!verifies(&[&own], ID, timestamp, &sign(&[7; 32], ID, timestamp, BODY)), "{timestamp}");
        }
    }

    #[test]
    fn a_full_stop_cannot_move_between_id_time_and_body() {
        let own = [format!("whsec_{}", STANDARD.encode([7; 32])).into()];
        let signature = sign(&[7; 32], "a", "1649367553", b"1649367553.{}");
        let as_sent = Signed { id: "a", timestamp: AT, signature: &signature };
        assert!(verify(&own, &as_sent, b"1649367553.{}", at(0)));
        let shifted = Signed { id: "a.1649367553", ..as_sent };
        assert!(!verify(&own, &shifted, b"{}", at(0)));
    }

    #[test]
    fn a_header_in_any_other_form_does_not_verify() {
        let bare = SIGNATURE.trim_start_matches("v1,");
        let asymmetric = SIGNATURE.replace("v1,", "v1a,");
        let cut = &SIGNATURE[..40];
        let url_safe = SIGNATURE.replace('/', "_");
        for header in
            ["", " ", "v1,", "v1", bare, &asymmetric, cut, &url_safe, &format!("{SIGNATURE}0"), "ğ,ş"]
        {
            assert!(!verifies(&[SECRET], ID, AT, header), "{header}");
        }
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        let encoded = |bytes: &[u8]| format!("whsec_{}", STANDARD.encode(bytes));
        assert!(verifies(&[&encoded(&[7; 24])], ID, AT, &sign(&[7; 24], ID, AT, BODY)));
        assert!(verifies(&[&encoded(&[7; 64])], ID, AT, &sign(&[7; 64], ID, AT, BODY)));
        for (secret, bytes) in [
            (String::new(), Vec::new()),
            ("whsec_".to_owned(), Vec::new()),
            (encoded(&[7; 23]), vec![7; 23]),
            (encoded(&[7; 65]), vec![7; 65]),
            (STANDARD.encode([7; 24]), vec![7; 24]),
            ("whsec_not base64, but long enough".to_owned(), b"not base64, but long enough".to_vec()),
        ] {
            assert!(!verifies(&[&secret], ID, AT, &sign(&bytes, ID, AT, BODY)), "{secret}");
            assert!(verifies(&[&secret, SECRET], ID, AT, SIGNATURE), "{secret}");
        }
    }

    fn notice(extra: &Value) -> Value {
        let mut body = json!({
            "event_id": "evt_1", "call_uuid": "c-1", "leg": "callee", "state": "ringing",
            "at": "2026-11-02T13:00:00+03:00", "from": "+905550000018", "to": "+905550000017",
        });
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    fn parsed(extra: &Value) -> Result<CallNotice, WebhookError> {
        parse(notice(extra).to_string().as_bytes())
    }

    #[test]
    fn a_step_is_read_and_the_numbers_are_not() {
        let event = LegEvent {
            leg: Leg::Callee,
            state: LegState::Ringing,
            at: "2026-11-02T10:00:00Z".parse().unwrap(),
            talk: None,
            failure: None,
        };
        let expected = CallNotice { event_id: "evt_1".to_owned(), provider_ref: "c-1".to_owned(), event };
        let read = parsed(&json!({ "news": [1] })).unwrap();
        assert_eq!(read, expected);
        assert!(!format!("{read:?}").contains("5550000"), "{read:?}");
        let ended = parsed(&json!({ "state": "completed", "talk_s": 42 })).unwrap();
        assert_eq!(
            (ended.event.state, ended.event.talk),
            (LegState::Completed, Some(Duration::from_secs(42)))
        );
    }

    #[test]
    fn every_state_and_leg_is_read() {
        use LegState::*;
        let states = [
            ("initiated", Initiated),
            ("ringing", Ringing),
            ("answered", Answered),
            ("completed", Completed),
            ("busy", Busy),
            ("no_answer", NoAnswer),
            ("failed", Failed),
            ("canceled", Canceled),
        ];
        for (leg_name, leg) in [("agent", Leg::Agent), ("callee", Leg::Callee)] {
            for (name, state) in states {
                let event = parsed(&json!({ "leg": leg_name, "state": name })).unwrap().event;
                assert_eq!((event.leg, event.state), (leg, state));
            }
        }
    }

    #[test]
    fn a_failed_leg_tells_why_and_no_other_does() {
        use FailureKind::{InvalidNumber, OptedOut, UnreachableContact};
        let cases = [
            ("failed", json!("30003"), Some(UnreachableContact)),
            ("failed", json!("13224"), Some(InvalidNumber)),
            ("failed", json!("21610"), Some(OptedOut)),
            ("failed", json!("a new cause"), Some(UnreachableContact)),
            ("failed", json!(null), Some(UnreachableContact)),
            ("busy", json!("30003"), None),
            ("completed", json!("30003"), None),
        ];
        for (state, cause, failure) in cases {
            let event = parsed(&json!({ "state": state, "cause": cause })).unwrap().event;
            assert_eq!(event.failure, failure, "{state} {cause}");
        }
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        let cases = [
            json!({ "event_id": "" }),
            json!({ "event_id": 17 }),
            json!({ "event_id": "a b" }),
            json!({ "call_uuid": "x".repeat(65) }),
            json!({ "call_uuid": null }),
            json!({ "leg": "both" }),
            json!({ "state": "confused" }),
            json!({ "at": "yesterday" }),
            json!({ "talk_s": -1 }),
            json!({ "talk_s": "42" }),
        ];
        for case in cases {
            assert_eq!(parsed(&case), Err(WebhookError::Malformed), "{case}");
        }
        for raw in ["", "[]", "{}", "null", "\u{feff}{}"] {
            assert_eq!(parse(raw.as_bytes()), Err(WebhookError::Malformed), "{raw}");
        }
    }
}
