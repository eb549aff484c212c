//! The sender of webhooks: signed over the very bytes sent, batched, in either way to write Turkish letters.

use std::collections::BTreeMap;
use std::fmt::Write;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::Shared;
use crate::catalogue::PAGE_ID;
use crate::lead::SandboxLead;
use crate::ledger::{Entry, LedgerKind};

/// Meta batches at most this many changes into one POST.
pub const LEADS_PER_POST_MAX: usize = 1_000;
/// Changes of one entry; more leads make more entries.
const CHANGES_PER_ENTRY: usize = 100;
/// Bytes read of an answer to the handshake.
const CHALLENGE_BYTES_MAX: usize = 1_024;

/// How letters beyond ASCII are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `\u00e7`, lower-case, as Meta does.
    #[default]
    Escaped,
    /// As they are.
    Utf8,
}

/// Why a webhook was not answered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// [`crate::Sandbox::aim`] was not called.
    #[error("the sandbox has no webhook URL to send to")]
    NoTarget,
    /// More leads than one POST may hold.
    #[error("one POST holds at most {LEADS_PER_POST_MAX} leads")]
    TooMany,
    /// Nobody answered: not there, too slow, or broken off.
    #[error("the webhook was not answered")]
    NoAnswer,
}

/// The value of `X-Hub-Signature-256` for these bytes.
pub fn sign(app_secret: &SecretString, raw: &[u8]) -> String {
    format!("sha256={}", hmac_hex(app_secret, raw))
}

pub(crate) fn hmac_hex(secret: &SecretString, bytes: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    hex::encode(hmac::sign(&key, bytes))
}

/// One POST about these leads; writes what came of it into the ledger.
pub(crate) async fn deliver(
    shared: &Shared,
    leads: &[SandboxLead],
    encoding: Encoding,
) -> Result<u16, DeliverError> {
    if leads.len() > LEADS_PER_POST_MAX {
        return Err(DeliverError::TooMany);
    }
    let target = shared.state().target.clone().ok_or(DeliverError::NoTarget)?;
    let raw = body(leads, encoding);
    let request = shared
        .client
        .post(target)
        .header("content-type", "application/json")
        .header("x-hub-signature-256", sign(&shared.settings.app_secret, &raw))
        .body(raw);
    let status = request.send().await.ok().map(|response| response.status().as_u16());
    let leadgen_ids = leads.iter().map(|lead| lead.id.clone()).collect();
    let at = shared.clock.now();
    shared.state().ledger.add(Entry { at, kind: LedgerKind::Webhook, leadgen_ids, status, failure: None });
    status.ok_or(DeliverError::NoAnswer)
}

/// `GET` with a challenge; true when it came back as it was sent.
pub(crate) async fn handshake(shared: &Shared) -> Result<bool, DeliverError> {
    let target = shared.state().target.clone().ok_or(DeliverError::NoTarget)?;
    let mut url = reqwest::Url::parse(&target).map_err(|_| DeliverError::NoTarget)?;
    let challenge = rand::random::<u32>().to_string();
    url.query_pairs_mut()
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.challenge", &challenge)
        .append_pair("hub.verify_token", shared.settings.verify_token.expose_secret());
    let mut response = shared.client.get(url).send().await.map_err(|_| DeliverError::NoAnswer)?;
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| DeliverError::NoAnswer)? {
        answer.extend_from_slice(&chunk);
        if answer.len() > CHALLENGE_BYTES_MAX {
            return Ok(false);
        }
    }
    Ok(response.status() == reqwest::StatusCode::OK && answer == challenge.as_bytes())
}

/// The same leads give the same bytes: times are the leads' own.
fn body(leads: &[SandboxLead], encoding: Encoding) -> Vec<u8> {
    let entries: Vec<Value> = leads
        .chunks(CHANGES_PER_ENTRY)
        .map(|leads| {
            let changes: Vec<Value> = leads.iter().map(change).collect();
            let time = leads.iter().map(|lead| lead.created_at.timestamp()).max();
            json!({ "id": PAGE_ID, "time": time, "changes": changes })
        })
        .collect();
    let text = json!({ "object": "page", "entry": entries }).to_string();
    match encoding {
        Encoding::Utf8 => text.into_bytes(),
        Encoding::Escaped => escape(&text).into_bytes(),
    }
}

fn change(lead: &SandboxLead) -> Value {
    let ids = lead.source.as_ref();
    let mut value: BTreeMap<&str, Value> = BTreeMap::from([
        ("leadgen_id", json!(lead.id)),
        ("page_id", json!(PAGE_ID)),
        ("form_id", json!(lead.form_id)),
        // Not among what Meta documents: a reader must pass over what it does not know. Holds Turkish letters.
        ("form_name", json!(lead.form_name)),
        ("created_time", json!(lead.created_at.timestamp())),
    ]);
    if let Some(source) = ids {
        value.insert("ad_id", json!(source.ad.0));
        value.insert("adgroup_id", json!(source.ad_set.0));
    }
    json!({ "field": "leadgen", "value": value })
}

/// JSON in ASCII: letters beyond it stand in strings only, and are escaped there.
fn escape(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
        } else {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                write!(ascii, "\\u{unit:04x}").expect("a String takes everything");
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use sira_providers::meta::webhook::{parse, verify_signature};

    use super::*;
    use crate::lead::{LeadWish, Leads};

    fn leads(count: usize) -> Vec<SandboxLead> {
        let mut leads = Leads::new(7);
        let wish = || LeadWish { language: Some("tr".to_owned()), ..LeadWish::default() };
        (0..count).map(|_| leads.make(wish(), DateTime::UNIX_EPOCH)).collect()
    }

    #[test]
    fn the_signature_is_that_of_the_public_vector() {
        let signature = sign(&"It's a Secret to Everybody".into(), b"Hello, World!");
        assert_eq!(signature, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
    }

    #[test]
    fn the_client_verifies_and_reads_what_is_sent_in_both_encodings() {
        let secret: SecretString = "secret".into();
        let leads = leads(250);
        for encoding in [Encoding::Escaped, Encoding::Utf8] {
            let raw = body(&leads, encoding);
            assert!(verify_signature(std::slice::from_ref(&secret), &raw, &sign(&secret, &raw)));
            assert_eq!(raw.is_ascii(), encoding == Encoding::Escaped);
            let read = parse(&raw).unwrap();
            let ids: Vec<_> = read.leads.iter().map(|lead| &lead.leadgen_id).collect();
            assert_eq!(ids, leads.iter().map(|lead| &lead.id).collect::<Vec<_>>());
        }
        assert_eq!(body(&leads, Encoding::Utf8), body(&leads, Encoding::Utf8));
    }

    #[test]
    fn letters_beyond_sixteen_bits_become_a_pair() {
        assert_eq!(escape("ş😀"), r"\u015f\ud83d\ude00");
    }
}
