//! The telephony provider's HTTP side, and what controls it by hand.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::player;
use super::scenario::{CallAnswer, CallDelivery, CallScript};
use super::{Call, NewCall, PlacedInLedger};
use crate::Shared;
use crate::graph::hang;

/// Longest reference, in characters.
const REFERENCE_CHARS_MAX: usize = 64;
/// Longest line of an agent, in characters.
const LINE_CHARS_MAX: usize = 33;
/// Digits of a number.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// Seconds that a leg may ring.
const RING_S: std::ops::RangeInclusive<u32> = 1..=120;
/// Sent with a rate limit, in seconds.
const RETRY_AFTER_S: u32 = 30;
/// Calls that one look shows.
const SHOWN_MAX: usize = 200;

/// The provider's API, and its control.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/telephony/calls", get(find_calls).post(create_call))
        .route("/sandbox/calls", get(list_placed).post(create_script).delete(delete_scripts))
}

/// `POST /telephony/calls`.
async fn create_call(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    order: Result<Json<NewCall>, JsonRejection>,
) -> Response {
    if !is_authorised(&shared, &headers) {
        return refusal(CallAnswer::AuthExpired);
    }
    let Ok(Json(order)) = order else {
        return error(400, 20_001, "The request is not in the documented form");
    };
    if let Some(refused) = refuse(&order) {
        return refused;
    }
    let script = shared.state().telephony.take_script(&order.destination);
    let mut uuid = None;
    if script.answer.places() {
        let (number, placed) = shared.state().telephony.place(order, shared.clock.now());
        uuid = Some(placed);
        let playing = player::start(&shared, number, script);
        if script.delivery == CallDelivery::BeforeAnswer {
            // Ends early only with the sandbox.
            let _ended = playing.await;
        }
    }
    match script.answer {
        CallAnswer::Placed => {
            let body = json!({ "call_uuid": uuid, "status": "initiated" });
            (StatusCode::CREATED, Json(body)).into_response()
        }
        CallAnswer::Hang | CallAnswer::HangPlaced => hang(&shared).await,
        other => refusal(other),
    }
}

fn refuse(order: &NewCall) -> Option<Response> {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let reference = &order.reference;
    let referenced = (1..=REFERENCE_CHARS_MAX).contains(&reference.len()) && reference.bytes().all(named);
    if !referenced {
        return Some(error(400, 20_001, "'reference' is not valid"));
    }
    if !(1..=LINE_CHARS_MAX).contains(&order.source.len()) {
        return Some(error(400, 20_001, "'source' is not valid"));
    }
    if !is_number(&order.caller_id) {
        return Some(error(400, 20_001, "'caller_id' is not a number of this account"));
    }
    if !RING_S.contains(&order.ring_timeout_s) {
        return Some(error(400, 20_001, "'ring_timeout_s' is not valid"));
    }
    if !is_number(&order.destination) {
        return Some(refusal(CallAnswer::InvalidNumber));
    }
    None
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    NUMBER_DIGITS.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[derive(Deserialize)]
struct Asked {
    reference: String,
}

/// `GET /telephony/calls?reference=...`.
async fn find_calls(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Response {
    if !is_authorised(&shared, &headers) {
        return refusal(CallAnswer::AuthExpired);
    }
    let calls: Vec<Value> = shared.state().telephony.find(&asked.reference).into_iter().map(shown).collect();
    Json(json!({ "calls": calls })).into_response()
}

/// As a provider does, with both numbers.
fn shown(call: &Call) -> Value {
    json!({
        "call_uuid": call.uuid,
        "source": call.order.source,
        "destination": call.order.destination,
        "events": call.happened,
    })
}

fn is_authorised(shared: &Shared, headers: &HeaderMap) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    given == Some(shared.settings.telephony_key.expose_secret())
}

/// The answer of an order that does not end in a call's id.
fn refusal(answer: CallAnswer) -> Response {
    match answer {
        CallAnswer::RateLimited => {
            let limited = error(429, 20_429, "Too many requests");
            ([(header::RETRY_AFTER, RETRY_AFTER_S.to_string())], limited).into_response()
        }
        CallAnswer::InvalidNumber => error(400, 21_211, "Invalid 'destination' phone number"),
        CallAnswer::OptedOut => error(400, 21_610, "Attempt to reach an unsubscribed recipient"),
        CallAnswer::AuthExpired => error(401, 20_003, "Authentication error: invalid API key"),
        CallAnswer::PermissionDenied => error(403, 21_408, "Permission to call this region was not enabled"),
        CallAnswer::Garbage => {
            (StatusCode::CREATED, "<html><body>not what you asked for</body></html>").into_response()
        }
        CallAnswer::Placed
        | CallAnswer::Hang
        | CallAnswer::HangPlaced
        | CallAnswer::ServerError
        | CallAnswer::ServerErrorPlaced => error(500, 20_500, "Internal server error"),
    }
}

fn error(status: u16, code: u32, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}

/// `POST /sandbox/calls` with a [`CallScript`], as `{"course":"busy"}`: what the next call comes to.
async fn create_script(State(shared): State<Arc<Shared>>, Json(script): Json<CallScript>) -> StatusCode {
    shared.state().telephony.script_next(script);
    StatusCode::NO_CONTENT
}

/// `DELETE /sandbox/calls`: numbers decide again.
async fn delete_scripts(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().telephony.clear_scripts();
    StatusCode::NO_CONTENT
}

/// `GET /sandbox/calls`: the latest calls placed, newest first, without numbers.
async fn list_placed(State(shared): State<Arc<Shared>>) -> Json<Vec<PlacedInLedger>> {
    Json(shared.state().telephony.placed.iter().rev().take(SHOWN_MAX).cloned().collect())
}
