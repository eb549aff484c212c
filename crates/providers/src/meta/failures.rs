//! What an error of the Graph API means. Meta throttles mostly with HTTP 400 and 403, so `error.code` decides; the
//! HTTP status only where the code is unknown.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::codes::{self, Api};
use crate::failure::{FailureKind, ProviderError, RETRY_AFTER_MAX};
use crate::http;

/// JSON: business id -> usages, each with the minutes until calls are let through again.
const BUSINESS_USAGE: &str = "x-business-use-case-usage";

#[derive(Deserialize)]
struct WireFailure {
    error: WireError,
}

/// Of Meta's own words only these are read; `message` to tell two cases of one code apart, never to be shown.
#[derive(Deserialize)]
struct WireError {
    code: i64,
    error_subcode: Option<i64>,
    #[serde(default)]
    is_transient: bool,
    #[serde(default)]
    message: String,
}

/// The failure that an answer tells of; `None` for a success without an error in it.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<ProviderError> {
    let error = serde_json::from_slice::<WireFailure>(body).ok().map(|failure| failure.error);
    if error.is_none() && status.is_success() {
        return None;
    }
    let kind =
        error.as_ref().and_then(kind_by_error).unwrap_or_else(|| codes::by_http_status(status.as_u16()));
    let code = match &error {
        Some(WireError { code, error_subcode: Some(subcode), .. }) => format!("{code}/{subcode}"),
        Some(WireError { code, .. }) => code.to_string(),
        None => format!("http {}", status.as_u16()),
    };
    let retry_after = if kind.retryable() { retry_after(headers) } else { None };
    Some(ProviderError { code, retry_after, ..ProviderError::new(kind, advice(kind)) })
}

/// The code's kind, but for what Meta tells beside the code.
fn kind_by_error(error: &WireError) -> Option<FailureKind> {
    if error.code == 100 && (error.error_subcode == Some(33) || error.message.contains("does not exist")) {
        return Some(FailureKind::NotFound);
    }
    let transient = error.is_transient.then_some(FailureKind::ProviderDown);
    codes::find(Api::Meta, &error.code.to_string()).or(transient)
}

fn advice(kind: FailureKind) -> String {
    let own = match kind {
        FailureKind::AuthExpired => "Meta refuses the access token: make a new one and set it",
        FailureKind::PermissionDenied => {
            "the access token may not read this lead: grant leads_retrieval and assign the page in the Leads Access \
             Manager"
        }
        FailureKind::NotFound => {
            "Meta has no such lead, or does not show it to this access token: it was deleted, is older than 90 days, \
             or belongs to a page that is not assigned"
        }
        FailureKind::BadRequest => "Meta did not understand our request: check the configured API version",
        other => return format!("Meta {}", other.meaning()),
    };
    own.to_owned()
}

/// The longer of the two times that Meta may tell.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let usage = headers.get(BUSINESS_USAGE).and_then(|value| value.to_str().ok());
    let minutes = usage.and_then(minutes_to_regain_access).filter(|minutes| *minutes > 0);
    let regain = minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)).min(RETRY_AFTER_MAX));
    http::retry_after(headers).into_iter().chain(regain).max()
}

fn minutes_to_regain_access(header: &str) -> Option<u64> {
    let usages: serde_json::Map<String, Value> = serde_json::from_str(header).ok()?;
    let usages = usages.values().filter_map(Value::as_array).flatten();
    usages.filter_map(|usage| usage.get("estimated_time_to_regain_access")?.as_u64()).max()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderValue, RETRY_AFTER};
    use serde_json::json;

    use super::*;

    fn classified(status: u16, body: &str) -> Option<ProviderError> {
        classify(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn unknown_codes_fall_back_to_the_http_class() {
        use FailureKind::*;
        let cases = [
            (400, BadRequest),
            (401, AuthExpired),
            (403, PermissionDenied),
            (404, NotFound),
            (408, ProviderDown),
            (422, BadRequest),
            (429, RateLimited),
            (500, ProviderDown),
            (503, ProviderDown),
            (302, BadAnswer),
        ];
        for (status, kind) in cases {
            for body in ["", "<html>", r#"{"error":{"code":987654}}"#, r#"{"error":"text"}"#] {
                assert_eq!(classified(status, body).unwrap().kind, kind, "{status} {body}");
            }
        }
        assert_eq!(classified(200, r#"{"id":"17"}"#), None);
        assert_eq!(classified(200, r#"{"error":{"code":987654}}"#).unwrap().kind, BadAnswer);
    }

    #[test]
    fn a_refusal_leaves_no_doubt_and_a_broken_server_does() {
        let cases = [
            (400, r#"{"error":{"code":4}}"#, false),
            (400, r#"{"error":{"code":100}}"#, false),
            (404, "", false),
            (400, r#"{"error":{"code":2}}"#, true),
            (500, "", true),
            (302, "", true),
            (200, r#"{"error":{"code":987654}}"#, true),
        ];
        for (status, body, maybe_done) in cases {
            assert_eq!(classified(status, body).unwrap().maybe_done, maybe_done, "{status} {body}");
        }
    }

    #[test]
    fn an_error_never_repeats_the_providers_words() {
        let body = json!({ "error": { "code": 100, "message": "bad value x@example.com", "type": "OAuthException" } });
        let error = classified(400, &body.to_string()).unwrap();
        assert!(!format!("{error} {error:?}").contains("example.com"));
        assert_eq!(error.code, "100");
    }

    #[test]
    fn the_longer_wait_counts_up_to_a_day_and_only_where_waiting_helps() {
        let usage = |minutes: u64| json!({ "1": [{ "type": "leadgen", "estimated_time_to_regain_access": minutes }] });
        let cases = [
            (Some("30"), None, Some(30)),
            (None, Some(usage(3)), Some(180)),
            (Some("30"), Some(usage(3)), Some(180)),
            (Some("600"), Some(usage(3)), Some(600)),
            (None, Some(usage(0)), None),
            (None, Some(json!("?")), None),
            (Some("soon"), None, None),
            (None, Some(usage(u64::MAX)), Some(86_400)),
        ];
        for (seconds, usage, expected) in cases {
            let mut headers = HeaderMap::new();
            if let Some(seconds) = seconds {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
            }
            if let Some(usage) = &usage {
                headers.insert(BUSINESS_USAGE, usage.to_string().parse().unwrap());
            }
            let of = |code: u32| {
                let body = format!(r#"{{"error":{{"code":{code}}}}}"#);
                classify(StatusCode::BAD_REQUEST, &headers, body.as_bytes()).unwrap().retry_after
            };
            assert_eq!(of(4), expected.map(Duration::from_secs), "{seconds:?} {usage:?}");
            assert_eq!(of(190), None);
        }
    }
}
