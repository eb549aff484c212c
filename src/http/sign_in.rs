//! `/auth/login` and `/me`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sira_domain::identity::{self, Permission, Role, SignInError, User};
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::{Caller, tokens};
use super::catalogue::Code;
use super::extract::ApiJson;
use super::problem::{ApiError, Problem};
use super::state::App;

/// When the hashing gate is full: by then its queue has moved on.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// Who wants to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// However capitalised.
    #[schema(example = "admin")]
    username: String,
    /// As it is.
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// A signed-in session.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    /// For the `Authorization` header.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// Who signed in.
    user: Me,
}

/// A signed-in user.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Me {
    id: Uuid,
    username: String,
    display_name: String,
    /// `admin`, `manager`, `agent` or `auditor`.
    role: &'static str,
    team_id: Option<Uuid>,
    time_zone: String,
    /// Which leads they see: `own`, `team` or `all`.
    scope: &'static str,
    /// What they may do.
    permissions: Vec<&'static str>,
    created_at: DateTime<Utc>,
}

impl From<User> for Me {
    fn from(user: User) -> Self {
        let scope = match user.scope() {
            identity::Scope::All => "all",
            identity::Scope::Team(_) => "team",
            identity::Scope::Own(_) => "own",
        };
        let allowed = |permission: &Permission| Role::can(user.role, *permission);
        Self {
            id: user.id.uuid(),
            role: user.role.as_str(),
            team_id: user.team.map(sira_kernel::Id::uuid),
            scope,
            permissions: Permission::ALL.iter().copied().filter(allowed).map(Permission::as_str).collect(),
            username: user.username,
            display_name: user.display_name,
            time_zone: user.time_zone,
            created_at: user.created_at,
        }
    }
}

/// Signs in with a username and a password. An unknown name, a wrong password and a disabled user get the same
/// answer in the same time. After some failures in a row the next attempt from the same address has to wait.
/// Takes no `Idempotency-Key`, since its answer is a credential and is not kept: whoever lost it signs in again, and
/// has another session.
#[utoipa::path(post, path = "/auth/login", operation_id = "create_session", tag = "auth", request_body = Credentials, responses(
    (status = 200, description = "Signed in", body = SignedIn),
    (status = 401, description = "Refused", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Fields are unknown, missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts", body = Problem, content_type = "application/problem+json"),
))]
pub async fn create_session(
    State(app): State<App>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    body: ApiJson<Credentials>,
) -> Result<Json<SignedIn>, ApiError> {
    let Credentials { username, password } = body.value;
    let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.0.ip());
    let now = app.cx.clock.now();
    let attempt = app.throttle.attempt(&username, address, now);
    attempt.map_err(|wait| {
        metrics::counter!("sira_sign_ins_total", "outcome" => "delayed").increment(1);
        ApiError::new(Code::TooManyAttempts).retry_after(wait)
    })?;
    let user = identity::sign_in(&app.cx.db, &app.passwords, &username, &password).await;
    let user = user.inspect_err(|error| {
        if !matches!(error, SignInError::Refused) {
            app.throttle.take_back(&username, address, now);
        }
    })?;
    app.throttle.succeeded(&username, address);
    metrics::counter!("sira_sign_ins_total", "outcome" => "signed_in").increment(1);
    let access_token =
        app.tokens.issue(user.id).map_err(|_| ApiError::internal("a token could not be signed"))?;
    let expires_in = tokens::LIFETIME.num_seconds();
    Ok(Json(SignedIn { access_token, token_type: "Bearer", expires_in, user: user.into() }))
}

/// Who is signed in, and what they may do.
#[utoipa::path(get, path = "/me", operation_id = "get_me", tag = "auth", responses(
    (status = 200, description = "The caller", body = Me),
    (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_me(Caller(user): Caller) -> Json<Me> {
    Json(user.into())
}

impl From<SignInError> for ApiError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Refused => {
                metrics::counter!("sira_sign_ins_total", "outcome" => "refused").increment(1);
                Code::SignInRefused.into()
            }
            SignInError::Busy => {
                Self::new(Code::Unavailable).retry_after(BUSY_RETRY).because("hashing gate full")
            }
            SignInError::Broken => Self::internal("a stored password hash could not be checked"),
            SignInError::Database(error) => error.into(),
            SignInError::Commit(error) => error.into(),
        }
    }
}
