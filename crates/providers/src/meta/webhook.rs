//! Webhooks of new leads: the signature over the raw bytes, and the list of leads that a body announces. The body
//! holds ids and times; the person's answers are fetched.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";
/// What Meta may send in one POST: 3 MB seen, 4 MiB to be safe.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Meta batches at most this many changes into one POST.
pub const CHANGES_MAX: usize = 1_000;
/// Longest id of a lead, in characters; the same rule as where leads are fetched.
const ID_CHARS_MAX: usize = 64;

/// One lead that a webhook announces. Ids only; also the form in which it may be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadgenNotice {
    /// Unique for this lead: what makes a redelivery recognisable.
    pub leadgen_id: String,
    /// The page whose form it was.
    pub page_id: Option<String>,
    /// The form.
    pub form_id: Option<String>,
    /// The ad; not always sent.
    pub ad_id: Option<String>,
    /// The ad set, by its older name; not always sent.
    pub adgroup_id: Option<String>,
    /// When the person sent the form.
    pub created_at: Option<DateTime<Utc>>,
}

/// What one POST announces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The leads, in the order sent.
    pub leads: Vec<LeadgenNotice>,
    /// Changes that say they are a lead but name none that could be one: to be counted and looked at. They do not
    /// hold up the rest.
    pub unreadable: usize,
}

/// Why a body is no webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookError {
    /// Not JSON, or not in the form of a webhook.
    #[error("the body is not a webhook: expected {{\"object\":\"page\",\"entry\":[{{\"changes\":[...]}}]}}")]
    Malformed,
    /// More than one POST may hold.
    #[error("the body has more than {CHANGES_MAX} changes")]
    TooMany,
}

#[derive(Deserialize)]
struct WireBody {
    object: String,
    entry: Vec<WireEntry>,
}

#[derive(Deserialize)]
struct WireEntry {
    id: Option<WireId>,
    #[serde(default)]
    changes: Vec<WireChange>,
}

#[derive(Deserialize)]
struct WireChange {
    field: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
struct WireLead {
    leadgen_id: WireId,
    page_id: Option<WireId>,
    form_id: Option<WireId>,
    ad_id: Option<WireId>,
    adgroup_id: Option<WireId>,
    created_time: Option<i64>,
}

/// Meta sends strings; its older documents show numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum WireId {
    Text(String),
    Number(u64),
}

impl WireId {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

/// Whether one of the secrets signed exactly these bytes. `header` is the value of [`SIGNATURE_HEADER`]. Takes the
/// same time whichever secret fits and wherever a wrong signature differs; several secrets are active while one
/// replaces the other. An empty secret, as of a setting that nobody made, signs nothing: everybody knows it.
pub fn verify_signature(app_secrets: &[SecretString], raw: &[u8], header: &str) -> bool {
    let mut signature = [0; 32];
    let hex = header.strip_prefix("sha256=").unwrap_or_default();
    if hex::decode_to_slice(hex, &mut signature).is_err() {
        return false;
    }
    let secrets = app_secrets.iter().map(|secret| secret.expose_secret().as_bytes());
    secrets.filter(|secret| !secret.is_empty()).fold(false, |valid, secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        hmac::verify(&key, raw, &signature).is_ok() | valid
    })
}

/// Reads the leads out of a body whose signature was verified. Fields and objects that it does not know are passed
/// over.
pub fn parse(raw: &[u8]) -> Result<Batch, WebhookError> {
    let body: WireBody = serde_json::from_slice(raw).map_err(|_| WebhookError::Malformed)?;
    let mut batch = Batch::default();
    if body.object != "page" {
        return Ok(batch);
    }
    if body.entry.iter().map(|entry| entry.changes.len()).sum::<usize>() > CHANGES_MAX {
        return Err(WebhookError::TooMany);
    }
    for entry in body.entry {
        let page_id = entry.id.map(WireId::text);
        for change in entry.changes.into_iter().filter(|change| change.field == "leadgen") {
            match read_lead(change.value, page_id.as_ref()) {
                Some(lead) => batch.leads.push(lead),
                None => batch.unreadable += 1,
            }
        }
    }
    Ok(batch)
}

fn read_lead(value: Value, page_id: Option<&String>) -> Option<LeadgenNotice> {
    let wire: WireLead = serde_json::from_value(value).ok()?;
    let text = |id: Option<WireId>| id.map(WireId::text);
    let leadgen_id = wire.leadgen_id.text();
    is_plausible(&leadgen_id).then(|| LeadgenNotice {
        leadgen_id,
        page_id: text(wire.page_id).or_else(|| page_id.cloned()),
        form_id: text(wire.form_id),
        ad_id: text(wire.ad_id),
        adgroup_id: text(wire.adgroup_id),
        created_at: wire.created_time.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
    })
}

/// Whether an id can be stored and asked for: 1 to 64 letters, digits and underscores.
fn is_plausible(id: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "It's a Secret to Everybody";
    const HELLO: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn sign(secret: &str, raw: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        format!("sha256={}", hex::encode(hmac::sign(&key, raw)))
    }

    fn change(value: &Value) -> Value {
        json!({ "field": "leadgen", "value": value })
    }

    fn body(changes: &[Value]) -> Vec<u8> {
        json!({ "object": "page", "entry": [{ "id": "7", "time": 1, "changes": changes }] })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn the_public_vector_verifies_under_either_active_secret() {
        let (old, new): (SecretString, SecretString) = (SECRET.into(), "next".into());
        let raw = b"Hello, World!";
        assert!(verify_signature(std::slice::from_ref(&old), raw, HELLO));
        assert!(verify_signature(&[new.clone(), old.clone()], raw, HELLO));
        assert!(verify_signature(&[old.clone(), new.clone()], raw, HELLO));
        assert!(verify_signature(&[old.clone(), new.clone()], raw, &sign("next", raw)));
        assert!(!verify_signature(&[new], raw, HELLO));
        assert!(!verify_signature(&[], raw, HELLO));
        assert!(!verify_signature(&[old], b"Hello, World?", HELLO));
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let raw = b"Hello, World!";
        assert!(!verify_signature(&["".into()], raw, &sign("", raw)));
        assert!(!verify_signature(&["".into(), SECRET.into()], raw, &sign("", raw)));
        assert!(verify_signature(&["".into(), SECRET.into()], raw, HELLO));
    }

    #[test]
    fn a_header_in_any_other_form_does_not_verify() {
        let secrets: [SecretString; 1] = [SECRET.into()];
        let bare = HELLO.trim_start_matches("sha256=");
        for header in
            ["", "sha256=", bare, &HELLO[..70], &format!("{HELLO}00"), &HELLO.replace("sha256", "sha1")]
        {
            assert!(!verify_signature(&secrets, b"Hello, World!", header), "{header}");
        }
    }

    #[test]
    fn turkish_letters_verify_as_sent_escaped_or_not() {
        let plain = r#"{"object":"page","entry":[{"id":"7","changes":[{"field":"leadgen","value":{"leadgen_id":"17","form_name":"Başvuru çğıöşü İ"}}]}]}"#;
        let escaped = plain
            .chars()
            .map(|c| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) })
            .collect::<String>();
        assert!(escaped.contains(r"\u015f") && escaped.is_ascii());
        let secrets: [SecretString; 1] = [SECRET.into()];
        let (by_plain, by_escaped) = (sign(SECRET, plain.as_bytes()), sign(SECRET, escaped.as_bytes()));
        assert!(verify_signature(&secrets, plain.as_bytes(), &by_plain));
        assert!(verify_signature(&secrets, escaped.as_bytes(), &by_escaped));
        assert!(!verify_signature(&secrets, escaped.as_bytes(), &by_plain));
        assert_eq!(parse(plain.as_bytes()), parse(escaped.as_bytes()));
        assert_eq!(parse(plain.as_bytes()).unwrap().leads[0].leadgen_id, "17");
    }

    #[test]
    fn the_documented_body_is_read() {
        let raw = br#"{"object":"page","entry":[{"id":"7","time":1630087927,"changes":[{"field":"leadgen",
            "value":{"form_id":"4","leadgen_id":"17","created_time":1630087926,"page_id":"7"}}]}]}"#;
        let expected = LeadgenNotice {
            leadgen_id: "17".to_owned(),
            page_id: Some("7".to_owned()),
            form_id: Some("4".to_owned()),
            ad_id: None,
            adgroup_id: None,
            created_at: DateTime::from_timestamp(1_630_087_926, 0),
        };
        assert_eq!(parse(raw).unwrap(), Batch { leads: vec![expected], unreadable: 0 });
    }

    #[test]
    fn numbers_as_ids_unknown_fields_and_other_objects_do_no_harm() {
        let lead = change(&json!({ "leadgen_id": 17, "ad_id": 5, "adgroup_id": "6", "news": [1] }));
        let other = json!({ "field": "feed", "value": { "item": "like" } });
        let batch = parse(&body(&[other, lead])).unwrap();
        assert_eq!(batch.leads.len(), 1);
        assert_eq!(batch.leads[0].leadgen_id, "17");
        assert_eq!(batch.leads[0].page_id.as_deref(), Some("7"));
        assert_eq!(batch.leads[0].ad_id.as_deref(), Some("5"));
        assert_eq!(parse(br#"{"object":"user","entry":[]}"#).unwrap(), Batch::default());
    }

    #[test]
    fn one_unreadable_change_does_not_hold_up_the_rest() {
        let named = |id: &str| json!({ "leadgen_id": id });
        let bad = [
            json!({}),
            json!(null),
            json!({ "leadgen_id": ["17"] }),
            named(""),
            named("1\u{0}7"),
            named("../17"),
            named("on yedi"),
            named(&"1".repeat(ID_CHARS_MAX + 1)),
        ];
        let mut changes: Vec<Value> = bad.iter().map(change).collect();
        changes.push(change(&json!({ "leadgen_id": "17" })));
        let batch = parse(&body(&changes)).unwrap();
        assert_eq!((batch.leads.len(), batch.unreadable), (1, bad.len()));
    }

    #[test]
    fn a_full_batch_is_read_and_a_larger_one_refused() {
        let changes =
            |count: usize| (0..count).map(|n| change(&json!({ "leadgen_id": n }))).collect::<Vec<_>>();
        assert_eq!(parse(&body(&changes(CHANGES_MAX))).unwrap().leads.len(), CHANGES_MAX);
        assert_eq!(parse(&body(&changes(CHANGES_MAX + 1))), Err(WebhookError::TooMany));
    }

    #[test]
    fn what_is_no_webhook_is_refused() {
        for raw in
            ["", "[]", "{}", "{\"object\":\"page\"}", "\u{feff}{}", "{\"object\":\"page\",\"entry\":{}}"]
        {
            assert_eq!(parse(raw.as_bytes()), Err(WebhookError::Malformed), "{raw}");
        }
    }
}
