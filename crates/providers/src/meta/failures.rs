//! What an error of the Graph API means. Meta throttles mostly with HTTP 400 and 403, so `error.code` decides; the
//! HTTP status only where the code is unknown.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;

use crate::failure::{FailureKind, ProviderError, RETRY_AFTER_MAX};

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
    let kind = error.as_ref().and_then(kind_by_code).unwrap_or_else(|| kind_by_status(status));
    let code = match &error {
        Some(WireError { code, error_subcode: Some(subcode), .. }) => format!("{code}/{subcode}"),
        Some(WireError { code, .. }) => code.to_string(),
        None => format!("http {}", status.as_u16()),
    };
    let retry_after = if kind.retryable() { retry_after(headers) } else { None };
    Some(ProviderError { kind, code, message: advice(kind).to_owned(), retry_after })
}

fn kind_by_code(error: &WireError) -> Option<FailureKind> {
    let kind = match error.code {
        4 | 17 | 32 | 613 | 80_000..=80_014 => FailureKind::RateLimited,
        1 | 2 => FailureKind::ProviderDown,
        0 | 104 | 190 => FailureKind::AuthExpired,
        3 | 10 | 200..=299 => FailureKind::PermissionDenied,
        100 if error.error_subcode == Some(33) || error.message.contains("does not exist") => {
            FailureKind::NotFound
        }
        33 | 100 => FailureKind::BadRequest,
        _ if error.is_transient => FailureKind::ProviderDown,
        _ => return None,
    };
    Some(kind)
}

fn kind_by_status(status: StatusCode) -> FailureKind {
    match status.as_u16() {
        401 => FailureKind::AuthExpired,
        403 => FailureKind::PermissionDenied,
        404 | 410 => FailureKind::NotFound,
        429 => FailureKind::RateLimited,
        408 | 500.. => FailureKind::ProviderDown,
        400..=499 => FailureKind::BadRequest,
        // An error under a success, or a redirect, which is not followed.
        _ => FailureKind::BadAnswer,
    }
}

fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::RateLimited => "Meta limits our calls; they go on when it lets them",
        FailureKind::Timeout => "Meta did not answer in time",
        FailureKind::ProviderDown => "Meta is not available at the moment",
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
        FailureKind::BadAnswer => "Meta's answer was not what its API describes",
    }
}

/// The longer of the two times that Meta may tell.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &reqwest::header::HeaderValue| value.to_str().ok());
    // Seconds; the form with a date is not sent by Meta.
    let seconds = text(RETRY_AFTER.as_str()).and_then(|value| value.trim().parse::<u64>().ok());
    let regain =
        text(BUSINESS_USAGE).and_then(minutes_to_regain_access).map(|minutes| minutes.saturating_mul(60));
    let longest = seconds.into_iter().chain(regain).max().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(longest).min(RETRY_AFTER_MAX))
}

fn minutes_to_regain_access(header: &str) -> Option<u64> {
    let usages: serde_json::Map<String, Value> = serde_json::from_str(header).ok()?;
    let usages = usages.values().filter_map(Value::as_array).flatten();
    usages.filter_map(|usage| usage.get("estimated_time_to_regain_access")?.as_u64()).max()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
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
