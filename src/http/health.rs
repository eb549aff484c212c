//! Whether the process lives, whether it can serve, what it counts, which version it is.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;
use sqlx::Connection;
use utoipa::ToSchema;

use super::problem::Problem;
use super::state::App;

/// Longest wait for one dependency.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the process can serve.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    /// All of them.
    ready: bool,
    /// One by one.
    dependencies: Vec<Dependency>,
}

/// Something the process cannot serve without.
#[derive(Serialize, ToSchema)]
pub struct Dependency {
    /// Its name.
    name: &'static str,
    /// Whether it answers.
    ready: bool,
}

/// Which version this is.
#[derive(Serialize, ToSchema)]
pub struct Version {
    /// The product.
    name: &'static str,
    /// Semantic version.
    version: &'static str,
}

/// The process lives. Says nothing about what it depends on: a restart would not mend that.
#[utoipa::path(get, path = "/livez", operation_id = "get_liveness", tag = "operations", responses((status = 204, description = "It lives")))]
pub async fn get_liveness() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Whether the process can serve: the database and the keys of personal data answer.
#[utoipa::path(get, path = "/readyz", operation_id = "get_readiness", tag = "operations", responses(
    (status = 200, description = "It can", body = Readiness),
    (status = 503, description = "It cannot", body = Readiness),
))]
pub async fn get_readiness(State(app): State<App>) -> Response {
    let (db, cipher) = &app.health;
    let database = async {
        let mut conn = db.read().await?;
        conn.ping().await
    };
    let (database, keys) = tokio::join!(
        tokio::time::timeout(PROBE_TIMEOUT, database),
        tokio::time::timeout(PROBE_TIMEOUT, cipher.verify()),
    );
    let dependencies = vec![
        Dependency { name: "database", ready: matches!(database, Ok(Ok(()))) },
        Dependency { name: "keys", ready: matches!(keys, Ok(Ok(()))) },
    ];
    let ready = dependencies.iter().all(|dependency| dependency.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, dependencies })).into_response()
}

/// Counters and histograms in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", operation_id = "get_metrics", tag = "operations", responses(
    (status = 200, description = "The metrics", body = String, content_type = "text/plain"),
    (status = 401, description = "Neither local nor signed in", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}

/// Which version this is.
#[utoipa::path(get, path = "/version", operation_id = "get_version", tag = "operations", responses(
    (status = 200, description = "The version", body = Version),
    (status = 401, description = "Neither local nor signed in", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}
