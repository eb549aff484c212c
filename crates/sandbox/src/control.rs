//! For trying things by hand: make a lead, let fetches fail, see what happened.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::Shared;
use crate::failure::{Failure, Failures};
use crate::lead::LeadWish;
use crate::ledger::Entry;
use crate::webhook::{self, Encoding};

/// Entries that one look shows.
const SHOWN_MAX: usize = 200;

/// `POST /sandbox/leads` with a [`LeadWish`]: makes a lead and delivers it.
pub async fn create_lead(State(shared): State<Arc<Shared>>, Json(wish): Json<LeadWish>) -> Response {
    let lead = shared.state().leads.make(wish, shared.clock.now());
    let delivered = webhook::deliver(&shared, std::slice::from_ref(&lead), Encoding::Escaped).await;
    match delivered {
        Ok(status) => (StatusCode::CREATED, Json(json!({ "leadgen_id": lead.id, "webhook_status": status })))
            .into_response(),
        Err(error) => {
            let body = json!({ "leadgen_id": lead.id, "error": error.to_string() });
            (StatusCode::BAD_GATEWAY, Json(body)).into_response()
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFailure {
    kind: Failure,
    #[serde(default = "once")]
    times: u32,
    leadgen_id: Option<String>,
}

const fn once() -> u32 {
    1
}

/// `POST /sandbox/failures` with `{"kind":"server_error","times":3,"leadgen_id":"..."}`; the last two may be left
/// out.
pub async fn create_failure(State(shared): State<Arc<Shared>>, Json(new): Json<NewFailure>) -> StatusCode {
    shared.state().failures.fail_next(new.leadgen_id.as_deref(), new.kind, new.times);
    StatusCode::NO_CONTENT
}

/// `DELETE /sandbox/failures`: everything succeeds again.
pub async fn delete_failures(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.state().failures = Failures::default();
    StatusCode::NO_CONTENT
}

/// `GET /sandbox/requests`: the latest entries of the ledger, newest first.
pub async fn list_requests(State(shared): State<Arc<Shared>>) -> Json<Vec<Entry>> {
    Json(shared.state().ledger.latest(SHOWN_MAX))
}
