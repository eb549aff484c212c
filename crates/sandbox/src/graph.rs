//! The Graph API's side: one lead by its id, with Meta's checks and Meta's errors.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::json;

use crate::Shared;
use crate::failure::Failure;
use crate::ledger::{Entry, LedgerKind};
use crate::webhook::hmac_hex;

/// The longest that a hanging answer is held open.
const HANG_MAX: Duration = Duration::from_mins(10);
/// Sent with a rate limit; one minute.
const BUSINESS_USAGE: &str = r#"{"555000700":[{"type":"leadgen","call_count":100,"total_cputime":25,"total_time":25,"estimated_time_to_regain_access":1}]}"#;
/// What Meta answers with when no fields are asked for.
const FIELDS_DEFAULT: &str = "id,created_time,field_data";

#[derive(Deserialize)]
pub struct Asked {
    fields: Option<String>,
    access_token: Option<String>,
    appsecret_proof: Option<String>,
}

/// `GET /{version}/{leadgen_id}`.
pub async fn get_lead(
    State(shared): State<Arc<Shared>>,
    Path((version, leadgen_id)): Path<(String, String)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    let failure = shared.state().failures.take(&leadgen_id);
    let write_down = |status| {
        let (at, leadgen_ids) = (shared.clock.now(), vec![leadgen_id.clone()]);
        shared.state().ledger.add(Entry { at, kind: LedgerKind::Fetch, leadgen_ids, status, failure });
    };
    if failure == Some(Failure::Hang) {
        // Before it hangs: when the caller goes away, this handler is dropped where it waits.
        write_down(None);
        return hang(&shared).await;
    }
    let response = failure.map_or_else(
        || {
            refuse(&shared, &version, &asked, &headers)
                .unwrap_or_else(|| answer(&shared, &leadgen_id, &asked))
        },
        |failure| fail(failure, &leadgen_id),
    );
    write_down(Some(response.status().as_u16()));
    response
}

/// No answer until the caller or the sandbox goes away.
pub async fn hang(shared: &Shared) -> Response {
    tokio::select! {
        () = shared.stopping.cancelled() => {}
        () = tokio::time::sleep(HANG_MAX) => {}
    }
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

fn answer(shared: &Shared, leadgen_id: &str, asked: &Asked) -> Response {
    let fields: Vec<&str> = asked.fields.as_deref().unwrap_or(FIELDS_DEFAULT).split(',').collect();
    let answer = shared.state().leads.find(leadgen_id).map(|lead| lead.answer(&fields));
    answer.map_or_else(|| not_found(leadgen_id), |answer| Json(answer).into_response())
}

fn refuse(shared: &Shared, version: &str, asked: &Asked, headers: &HeaderMap) -> Option<Response> {
    if !version.starts_with('v') {
        return Some(error(400, 2500, None, "Unknown path components"));
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let token = shared.settings.access_token.expose_secret();
    if bearer.or(asked.access_token.as_deref()) != Some(token) {
        return Some(error(401, 190, None, "Invalid OAuth access token - Cannot parse access token"));
    }
    let proof = hmac_hex(&shared.settings.app_secret, token.as_bytes());
    match asked.appsecret_proof.as_deref() {
        Some(given) if given == proof => None,
        Some(_) => Some(error(400, 100, None, "Invalid appsecret_proof provided in the API argument")),
        None => Some(error(400, 100, None, "API calls from the server require an appsecret_proof argument")),
    }
}

fn fail(failure: Failure, leadgen_id: &str) -> Response {
    match failure {
        Failure::RateLimited => {
            let limited = error(400, 4, None, "Application request limit reached");
            ([("x-business-use-case-usage", BUSINESS_USAGE)], limited).into_response()
        }
        Failure::ServerError => {
            error(500, 2, None, "An unexpected error has occurred. Please retry your request later.")
        }
        Failure::Hang | Failure::Garbage => {
            "<html><body>not what you asked for</body></html>".into_response()
        }
        Failure::NotFound => not_found(leadgen_id),
        Failure::AuthExpired => {
            error(400, 190, Some(463), "Error validating access token: Session has expired")
        }
    }
}

fn not_found(leadgen_id: &str) -> Response {
    let message = format!(
        "Unsupported get request. Object with ID '{leadgen_id}' does not exist, cannot be loaded due to missing \
         permissions, or does not support this operation"
    );
    error(400, 100, Some(33), &message)
}

/// An error in Meta's shape.
fn error(status: u16, code: u32, subcode: Option<u32>, message: &str) -> Response {
    let kind = if code == 190 { "OAuthException" } else { "GraphMethodException" };
    let mut body = json!({ "message": message, "type": kind, "code": code, "fbtrace_id": "Sandbox" });
    if let Some(subcode) = subcode {
        body["error_subcode"] = json!(subcode);
    }
    if code == 2 {
        body["is_transient"] = json!(true);
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "error": body }))).into_response()
}
