//! The processes that work, and how attempts ended by minute.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_engine::ops::{self, CounterFilter, CounterView, MINUTES_MAX, SessionView};
use utoipa::{IntoParams, ToSchema};

use crate::http::catalogue::{Code, Text};
use crate::http::extract::ApiQuery;
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::state::App;

const MINUTES: Text =
    Text { tr: "1 ile 180 arasında bir sayı yazın.", en: "Write a number from 1 to 180." };
// The text says the number.
const _: () = assert!(MINUTES_MAX == 180);

/// A process that works.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Of this incarnation of the process.
    id: i64,
    host: String,
    /// The program's version.
    version: String,
    /// What it works on.
    queues: Vec<String>,
    started_at: DateTime<Utc>,
    /// When it is taken for dead, unless it says again that it lives.
    until: DateTime<Utc>,
}

/// All of them.
#[derive(Serialize, ToSchema)]
pub struct Workers {
    data: Vec<Worker>,
}

/// Which minutes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CounterQuery {
    /// So many minutes back: 1 to 180; 60 when not given.
    #[param(minimum = 1, maximum = 180)]
    minutes: Option<u16>,
    /// The queue.
    #[serde(rename = "filter[queue]")]
    queue: Option<String>,
    /// The stored kind.
    #[serde(rename = "filter[kind]")]
    kind: Option<String>,
}

/// What ended within a minute.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCounter {
    minute: DateTime<Utc>,
    queue: String,
    kind: String,
    /// `done`, `cancelled`, `snoozed`, `failed`, `timed_out`, `panicked`, `released` or `lease_lost`.
    outcome: String,
    attempts: i64,
    /// How long they ran together, in milliseconds.
    ran_ms: i64,
}

/// The minutes, the newest first.
#[derive(Serialize, ToSchema)]
pub struct JobCounters {
    data: Vec<JobCounter>,
}

/// The processes that work on jobs, oldest first.
#[utoipa::path(get, path = "/ops/workers", operation_id = "list_workers", tag = "operations", responses(
    (status = 200, description = "All of them", body = Workers),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_workers(State(app): State<App>) -> Result<Json<Workers>, ApiError> {
    let found = ops::list_sessions(&mut *app.cx.db.read().await?).await?;
    Ok(Json(Workers { data: found.into_iter().map(Worker::from).collect() }))
}

/// How attempts ended in the last minutes, by queue, kind and outcome. Processes tell every few seconds.
#[utoipa::path(get, path = "/ops/counters", operation_id = "list_job_counters", tag = "operations", params(CounterQuery), responses(
    (status = 200, description = "Minutes in which something ended", body = JobCounters),
    (status = 400, description = "A parameter is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_job_counters(
    State(app): State<App>,
    ApiQuery(CounterQuery { minutes, queue, kind }): ApiQuery<CounterQuery>,
) -> Result<Json<JobCounters>, ApiError> {
    let minutes = minutes.unwrap_or(60);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(ApiError::new(Code::InvalidQuery).with(FieldError::query(
            "minutes",
            "wrong_value",
            MINUTES,
        )));
    }
    let filter = CounterFilter { queue, kind, minutes };
    let found = ops::list_counters(&mut *app.cx.db.read().await?, &filter).await?;
    Ok(Json(JobCounters { data: found.into_iter().map(JobCounter::from).collect() }))
}

impl From<SessionView> for Worker {
    fn from(session: SessionView) -> Self {
        let SessionView { id, host, version, queues, started_at, until } = session;
        Self { id, host, version, queues, started_at, until }
    }
}

impl From<CounterView> for JobCounter {
    fn from(counter: CounterView) -> Self {
        let CounterView { minute, queue, kind, outcome, attempts, ran_ms } = counter;
        Self { minute, queue, kind, outcome, attempts, ran_ms }
    }
}
