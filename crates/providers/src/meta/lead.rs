//! The form of a lead in the Graph API's answer.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{MetaLead, MetaSource};

/// What is asked for; the same that is read below.
pub const FIELDS: &str = "id,created_time,ad_id,ad_name,adset_id,adset_name,campaign_id,campaign_name,form_id,\
                          is_organic,platform,field_data,custom_disclaimer_responses";

/// `2016-06-24T02:26:12+0000`: no colon in the offset.
const CREATED_TIME: &str = "%Y-%m-%dT%H:%M:%S%z";

#[derive(Deserialize)]
struct WireLead {
    id: String,
    created_time: String,
    ad_id: Option<String>,
    ad_name: Option<String>,
    adset_id: Option<String>,
    adset_name: Option<String>,
    campaign_id: Option<String>,
    campaign_name: Option<String>,
    form_id: Option<String>,
    #[serde(default)]
    is_organic: bool,
    #[serde(default)]
    field_data: Vec<WireField>,
    #[serde(default)]
    custom_disclaimer_responses: Vec<WireConsent>,
}

#[derive(Deserialize)]
struct WireField {
    name: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Deserialize)]
struct WireConsent {
    checkbox_key: String,
    #[serde(default)]
    is_checked: Value,
}

/// Reads a lead; `None` when the bytes are none. Says no more: what is wrong may be next to a person's answers.
pub fn parse(raw: Vec<u8>) -> Option<MetaLead> {
    let wire: WireLead = serde_json::from_slice(&raw).ok()?;
    Some(MetaLead {
        id: wire.id,
        created_at: parse_time(&wire.created_time)?,
        form_id: wire.form_id,
        ad: source(wire.ad_id, wire.ad_name),
        ad_set: source(wire.adset_id, wire.adset_name),
        campaign: source(wire.campaign_id, wire.campaign_name),
        is_organic: wire.is_organic,
        answers: wire.field_data.into_iter().map(|field| (field.name, field.values)).collect(),
        consents: wire
            .custom_disclaimer_responses
            .into_iter()
            .map(|consent| (consent.checkbox_key, ticked(&consent.is_checked)))
            .collect(),
        raw,
    })
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_str(text, CREATED_TIME).ok().map(|time| time.to_utc())
}

fn source(id: Option<String>, name: Option<String>) -> Option<MetaSource> {
    id.map(|id| MetaSource { id, name })
}

/// Only a clear yes is a consent.
fn ticked(value: &Value) -> bool {
    match value {
        Value::Bool(ticked) => *ticked,
        Value::Number(number) => number.as_u64() == Some(1),
        Value::String(text) => matches!(text.as_str(), "1" | "true"),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lead(extra: &Value) -> Value {
        let mut lead = json!({ "id": "17", "created_time": "2016-06-24T02:26:12+0000" });
        lead.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        lead
    }

    fn read(value: &Value) -> Option<MetaLead> {
        parse(value.to_string().into_bytes())
    }

    #[test]
    fn a_full_lead_is_read_whole() {
        let lead = read(&lead(&json!({
            "ad_id": "1", "ad_name": "İlan", "adset_id": "2", "adset_name": "Küme", "campaign_id": "3",
            "campaign_name": "Kampanya", "form_id": "4", "is_organic": false, "platform": "ig", "unknown": {},
            "field_data": [
                { "name": "full_name", "values": ["Işıl Demo"] },
                { "name": "phone_number", "values": ["+90 555 000 00 17"] },
            ],
        })))
        .unwrap();
        assert_eq!(lead.created_at.to_rfc3339(), "2016-06-24T02:26:12+00:00");
        assert_eq!(lead.ad_set, Some(MetaSource { id: "2".to_owned(), name: Some("Küme".to_owned()) }));
        assert_eq!(lead.answers[0], ("full_name".to_owned(), vec!["Işıl Demo".to_owned()]));
        assert_eq!(lead.answers[1].0, "phone_number");
    }

    #[test]
    fn an_organic_lead_has_no_source() {
        let lead = read(&lead(&json!({ "is_organic": true }))).unwrap();
        assert!(lead.is_organic);
        assert_eq!((lead.ad, lead.ad_set, lead.campaign), (None, None, None));
    }

    #[test]
    fn only_a_clear_yes_is_a_consent() {
        let cases = [
            (json!("1"), true),
            (json!("true"), true),
            (json!(true), true),
            (json!(1), true),
            (json!(""), false),
            (json!("0"), false),
            (json!("yes?"), false),
            (json!(0), false),
            (json!(null), false),
            (json!([1]), false),
        ];
        for (is_checked, expected) in cases {
            let responses = json!([{ "checkbox_key": "marketing", "is_checked": is_checked }]);
            let lead = read(&lead(&json!({ "custom_disclaimer_responses": responses }))).unwrap();
            assert_eq!(lead.consents, [("marketing".to_owned(), expected)], "{is_checked}");
        }
    }

    #[test]
    fn what_is_no_lead_is_refused() {
        let cases = [
            json!({}),
            json!([]),
            json!({ "id": "17" }),
            json!({ "id": "17", "created_time": "yesterday" }),
            lead(&json!({ "field_data": "x" })),
        ];
        for case in cases {
            assert!(read(&case).is_none(), "{case}");
        }
    }

    #[test]
    fn debug_shows_no_answer() {
        let lead = read(&lead(&json!({ "field_data": [{ "name": "email", "values": ["x@example.com"] }] })))
            .unwrap();
        let shown = format!("{lead:?}");
        assert!(shown.contains("\"17\"") && !shown.contains("example.com"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", lead.raw)), "{shown}");
    }
}
