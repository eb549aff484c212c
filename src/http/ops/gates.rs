//! Gates: what jobs wait for besides a worker, changing its limits, closing its breaker. Audited as the caller's act.

use std::num::NonZeroU16;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::operations::gates;
use sira_engine::ops::{self, GateEdit, GateView};
use utoipa::ToSchema;

use crate::http::catalogue::{Code, Text};
use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, FieldError, Place, Problem};
use crate::http::queue::Nothing;
use crate::http::state::App;

const INVALID_LIMIT: Text = Text {
    tr: "Her sınır sıfırdan büyük olmalı. Sınır istemiyorsanız alanı boş bırakın.",
    en: "A limit is above zero. Leave the field out to have none.",
};

/// So many a second.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GateRate {
    /// Jobs a second, above 0.
    #[schema(example = 10.0)]
    per_second: f64,
    /// Most at once, from 1.
    #[schema(example = 20, minimum = 1)]
    burst: u16,
}

/// When it closes by itself.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GateBreaker {
    /// So many failures in a row, from 1,
    #[schema(example = 10, minimum = 1)]
    failures: u16,
    /// close it for so many seconds, above 0; longer each time that the job fails which is then let through to see.
    #[schema(example = 30.0)]
    open_seconds: f64,
}

/// The limits that it is to have, in the place of all that it had; what is left out is without that limit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EditGate {
    /// Most of its jobs that are ready or run.
    #[schema(value_type = Option<u16>, minimum = 1)]
    concurrency_max: Option<NonZeroU16>,
    rate: Option<GateRate>,
    breaker: Option<GateBreaker>,
}

/// What jobs of some kinds share and must not overrun.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobGate {
    #[schema(example = "meta.graph")]
    name: String,
    concurrency_max: Option<i32>,
    rate_per_second: Option<f64>,
    burst: Option<i32>,
    /// Failures in a row that open the breaker.
    failures_max: Option<i32>,
    /// How long it is then open, in seconds.
    open_seconds: Option<f64>,
    /// When an operator edited it last; null when it is as the program declares it.
    edited_at: Option<DateTime<Utc>>,
    /// `closed`, `open`, or `half_open` while one job at a time finds out.
    #[schema(example = "closed")]
    breaker: String,
    open_until: Option<DateTime<Utc>>,
    /// Failures in a row.
    failures: i32,
    /// Until when the provider itself said to wait.
    blocked_until: Option<DateTime<Utc>>,
    /// Jobs that its rate would let through now.
    tokens: Option<f64>,
    /// Jobs that wait for it, counted up to 1000.
    held: i64,
    /// Jobs of it that are ready or run, counted up to 1000.
    passed: i64,
}

/// All of them.
#[derive(Serialize, ToSchema)]
pub struct JobGates {
    data: Vec<JobGate>,
}

/// What was done.
#[derive(Serialize, ToSchema)]
pub struct GateDone {
    name: String,
    message: Message,
}

/// The gates that the program declares: a handful. At most one job at a time of the same key is no gate of its own here.
#[utoipa::path(get, path = "/ops/gates", operation_id = "list_gates", tag = "operations", responses(
    (status = 200, description = "All of them", body = JobGates),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_gates(State(app): State<App>) -> Result<Json<JobGates>, ApiError> {
    let found = ops::list_gates(&mut *app.cx.db.read().await?, &app.cx.clock).await?;
    Ok(Json(JobGates { data: found.into_iter().map(JobGate::from).collect() }))
}

/// Gives it these limits; they stand until they are edited again, whatever a later version declares.
#[utoipa::path(post, path = "/ops/gates/{name}/limits", operation_id = "edit_gate", tag = "operations", request_body = EditGate,
    params(("name" = String, Path, description = "The gate"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "Jobs pass it so from now on", body = GateDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such gate", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "A limit is none", body = Problem, content_type = "application/problem+json"),
))]
pub async fn edit_gate(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<EditGate>,
) -> Result<Response, ApiError> {
    let EditGate { concurrency_max, rate, breaker } = &once.body;
    let edit = GateEdit {
        concurrency_max: concurrency_max.map(NonZeroU16::get),
        rate: rate.as_ref().map(|rate| (rate.per_second, rate.burst)),
        breaker: breaker.as_ref().map(|breaker| (breaker.failures, breaker.open_seconds)),
    };
    once.run(&app, StatusCode::OK, async |uow| {
        gates::edit(uow, &name, &edit).await?;
        Ok(GateDone { name: name.clone(), message: message::LIMITS_EDITED })
    })
    .await
}

/// Closes its breaker, and no longer waits for the time that its provider named.
#[utoipa::path(post, path = "/ops/gates/{name}/reset", operation_id = "reset_gate", tag = "operations", request_body = Nothing,
    params(("name" = String, Path, description = "The gate"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "What waited is let through", body = GateDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such gate", body = Problem, content_type = "application/problem+json"),
))]
pub async fn reset_gate(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        gates::reset(uow, &name).await?;
        Ok(GateDone { name: name.clone(), message: message::GATE_RESET })
    })
    .await
}

pub(super) fn invalid_limit() -> ApiError {
    ApiError::new(Code::InvalidBody).with(FieldError::new(
        Place::Body(String::new()),
        "invalid_limit",
        INVALID_LIMIT,
    ))
}

impl From<GateView> for JobGate {
    fn from(gate: GateView) -> Self {
        Self {
            name: gate.name,
            concurrency_max: gate.concurrency_max,
            rate_per_second: gate.rate_per_s,
            burst: gate.burst,
            failures_max: gate.failures_max,
            open_seconds: gate.open_s,
            edited_at: gate.edited_at,
            breaker: gate.breaker,
            open_until: gate.open_until,
            failures: gate.failures,
            blocked_until: gate.blocked_until,
            tokens: gate.tokens,
            held: gate.held,
            passed: gate.passed,
        }
    }
}
