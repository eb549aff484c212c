//! Masked calls: place one, see how it stands, say what became of it. No number is in any answer.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sira_domain::calls::{
    self, Call, CallError, CallStatus, ExchangeRow, NewOutcome, OutcomeError, Purpose, Recorded, Refusal,
    Wish,
};
use sira_domain::idempotency;
use sira_domain::leads;
use sira_domain::live::CALL_STATUS;
use sira_domain::nouns::CallId;
use sira_domain::privacy::Subject;
use sira_domain::timeline::NOTE_CHARS_MAX;
use utoipa::ToSchema;
use uuid::Uuid;

use super::auth::Caller;
use super::catalogue::{Code, Text};
use super::extract::{ApiJson, IdempotencyKey, OriginalPath, PathOf};
use super::idempotent::{self, Once};
use super::message::{self, Message};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;
use crate::live::{self, Subscription};

/// How long a request waits for the provider before it answers 202.
const PROVIDER_WAIT: Duration = Duration::from_secs(3);

const NOTE: Text = Text {
    tr: "Not boş olamaz ve en çok 4.000 karakterdir.",
    en: "A note is not empty and has at most 4,000 characters.",
};
const FOLLOW_UP: Text = Text {
    tr: "Takip zamanı gelecekte ve bir yıl içinde olmalı.",
    en: "A follow-up lies ahead, within a year.",
};
const FOLLOW_UP_OF_NOBODY: Text = Text {
    tr: "Kapalı ya da sahibinden ayrılan kayıt için takip planlanamaz.",
    en: "A lead that is closed or leaves its owner has no follow-up.",
};
const DISPOSITION: Text = Text { tr: "Böyle bir sonuç kodu yok.", en: "There is no such disposition." };

/// What a call is for.
#[derive(Deserialize, ToSchema, Clone, Copy, Default)]
#[serde(rename_all = "snake_case")]
pub enum CallPurpose {
    /// Answers the person's own enquiry.
    #[default]
    Transactional,
    /// Offers something; needs the person's consent.
    Commercial,
}

/// A call to place.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateCall {
    /// `transactional` when not given.
    #[serde(default)]
    purpose: CallPurpose,
}

/// A masked call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CallView {
    call_id: Uuid,
    /// The session that the call modal shows; a call has one, and they share their id.
    session_id: Uuid,
    lead_id: Uuid,
    /// `queued`, `initiated`, `ringing`, `in-progress`, `completed`, `busy`, `no-answer`, `failed`, `canceled`, `expired` or
    /// `unknown`.
    #[schema(example = "initiated")]
    status: &'static str,
    /// Until when the other side is rung at most; while the call is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<DateTime<Utc>>,
    /// What the agent's device dials, where the provider wants that.
    #[serde(skip_serializing_if = "Option::is_none")]
    dial_url: Option<String>,
    requested_at: DateTime<Utc>,
    answered_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// Of talk.
    duration_seconds: Option<i32>,
    /// Why it failed: a kind of the failure taxonomy.
    failure: Option<String>,
    /// What the agent said about it.
    disposition: Option<String>,
    /// Fit for a toast.
    message: Message,
    server_time: DateTime<Utc>,
}

impl CallView {
    fn new(call: &Call, now: DateTime<Utc>) -> Self {
        let session = &call.session;
        Self {
            call_id: call.id.uuid(),
            session_id: call.id.uuid(),
            lead_id: call.lead.uuid(),
            status: session.status.code(),
            expires_at: (!session.status.is_final()).then_some(call.expires_at),
            dial_url: call.dial_url.clone(),
            requested_at: call.requested_at,
            answered_at: session.answered_at,
            ended_at: session.ended_at,
            duration_seconds: session.talk_s,
            failure: session.failure.clone(),
            disposition: call.disposition.clone(),
            message: message::of_call(call),
            server_time: now,
        }
    }
}

/// Places a masked call to a lead: the caller's own line is rung first, then the lead's, and neither sees the other's
/// number. Consent, ownership, cooling-off and limits are checked first. Waits up to 3 seconds for the provider, else
/// answers 202 with `queued`; follow it by `GET /calls/{id}` or the event `callSession.status`. A repeated request is
/// answered with the same call as it stands by then, and places no other.
#[utoipa::path(post, path = "/leads/{id}/call", operation_id = "create_call", tag = "calls", request_body = CreateCall,
    params(("id" = Uuid, Path, description = "The lead"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 201, description = "The provider has it, or has refused it: see status", body = CallView, headers(("Location" = String, description = "The call"))),
    (status = 202, description = "Queued", body = CallView, headers(("Location" = String, description = "The call"))),
    (status = 403, description = "Not the caller's lead", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such lead in the caller's scope", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The lead may not be called now: opted out, no consent, cooling-off, closed, no number, a call under way", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Fields are wrong, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "Too many calls", body = Problem, content_type = "application/problem+json"),
))]
pub async fn create_call(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
    OriginalPath(path): OriginalPath,
    IdempotencyKey(key): IdempotencyKey,
    body: ApiJson<CreateCall>,
) -> Result<Response, ApiError> {
    let (request, kept) = idempotent::look_up(&app, &user, &path, key, &body.raw).await?;
    if let Some(kept) = kept {
        return replay(&app, &kept.body).await;
    }
    let purpose = match body.value.purpose {
        CallPurpose::Transactional => Purpose::Transactional,
        CallPurpose::Commercial => Purpose::Commercial,
    };
    let wish = Wish { lead: id.into(), caller: &user, purpose };
    // Before the call is stored: its answer cannot be missed.
    let told = app.live.subscribe().await;
    let mut uow = app.cx.begin(user.actor()).await?;
    if let Some(kept) = idempotent::begin(&mut uow, &request).await? {
        return replay(&app, &kept.body).await;
    }
    leads::search::find(uow.conn(), user.scope(), wish.lead).await?.ok_or(Code::NotFound)?;
    let call = match calls::request(&mut uow, &wish, &app.cx.settings.calls).await? {
        Ok(call) => call,
        Err(verdict) => {
            // The key is free again, the refusal is on record.
            drop(uow);
            let mut uow = app.cx.begin(user.actor()).await?;
            calls::refuse(&mut uow, &wish, verdict).await?;
            uow.commit().await?;
            return Err(refused(verdict.refusal, app.cx.clock.now()));
        }
    };
    let answer = json!({ "callId": call.id });
    idempotency::keep(&mut uow, &request, StatusCode::ACCEPTED.as_u16(), &answer).await?;
    uow.commit().await?;
    let call = wait_for_provider(&app, call.id, told).await?;
    answer_with(&app, &call)
}

/// The call of the first request, as it stands now.
async fn replay(app: &App, kept: &Value) -> Result<Response, ApiError> {
    let id: CallId = kept["callId"]
        .as_str()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| ApiError::internal("a kept answer names no call"))?;
    let mut conn = app.cx.db.read().await?;
    let call = calls::find(&mut conn, id).await?.ok_or(Code::NotFound)?;
    drop(conn);
    answer_with(app, &call).map(idempotent::mark_replayed)
}

/// Waits until it is told that the provider has answered, or the wait is over; the call as it stands then.
async fn wait_for_provider(app: &App, id: CallId, told: Option<Subscription>) -> Result<Call, ApiError> {
    if let Some(told) = told {
        // In time or not: what is stored counts.
        let _ = tokio::time::timeout(PROVIDER_WAIT, until_answered(told, &id.to_string())).await;
    }
    let mut conn = app.cx.db.read().await?;
    calls::find(&mut conn, id).await?.ok_or_else(|| Code::NotFound.into())
}

/// Hears events until the call is queued no longer; or one cannot know, because some were missed.
async fn until_answered(mut told: Subscription, call: &str) {
    while let Ok(live::Message::Event(event)) = told.receiver.recv().await {
        if event.name != CALL_STATUS || !event.body.contains(call) {
            continue;
        }
        let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
        if body["callId"] == call && body["status"] != CallStatus::Queued.code() {
            return;
        }
    }
}

fn answer_with(app: &App, call: &Call) -> Result<Response, ApiError> {
    let queued = call.session.status == CallStatus::Queued;
    let status = if queued { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let location = format!("{}/calls/{}", app.settings.base_path, call.id);
    let location = HeaderValue::from_str(&location).map_err(ApiError::internal)?;
    let view = CallView::new(call, app.cx.clock.now());
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

fn refused(refusal: Option<Refusal>, now: DateTime<Utc>) -> ApiError {
    let Some(refusal) = refusal else { return ApiError::internal("the gate refused without a reason") };
    let error = ApiError::new(code_of(refusal));
    match refusal.retry_at() {
        Some(at) => error.retry_after((at - now).max(TimeDelta::zero()).to_std().unwrap_or_default()),
        None => error,
    }
}

/// The problem that a refusal is.
pub fn code_of(refusal: Refusal) -> Code {
    match refusal {
        Refusal::NotOwner => Code::NotLeadOwner,
        Refusal::TestLead => Code::TestLead,
        Refusal::LeadClosed => Code::LeadClosed,
        Refusal::NoLine => Code::NoLine,
        Refusal::NoNumber => Code::NoNumber,
        Refusal::OptedOut => Code::OptedOut,
        Refusal::ConsentMissing => Code::ConsentMissing,
        Refusal::CoolingOff(_) => Code::CoolingOff,
        Refusal::CallInProgress => Code::CallInProgress,
        Refusal::UserThrottled(_) => Code::CallerThrottled,
        Refusal::LeadThrottled(_) => Code::LeadThrottled,
    }
}

/// How a call stands. For the caller, and for those who see the lead.
#[utoipa::path(get, path = "/calls/{id}", operation_id = "get_call", tag = "calls",
    params(("id" = Uuid, Path, description = "The call")), responses(
    (status = 200, description = "The call", body = CallView),
    (status = 404, description = "No such call in the caller's scope", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_call(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
) -> Result<Json<CallView>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let call = calls::get(&mut conn, user.scope(), id.into()).await?;
    Ok(Json(CallView::new(&call, app.cx.clock.now())))
}

/// What became of a call.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOutcome {
    /// A code of `GET /calls/dispositions`.
    #[schema(example = "reached")]
    disposition: String,
    /// At most 4,000 characters. Stored encrypted.
    note: Option<String>,
    /// The status that the lead goes to.
    #[schema(example = "interested")]
    next_status: Option<String>,
    /// A code, where the status wants a reason.
    reason: Option<String>,
    /// When to speak again: ahead, within a year.
    follow_up_at: Option<DateTime<Utc>>,
}

/// What was written.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutcomeView {
    call_id: Uuid,
    lead_id: Uuid,
    /// The lead's status now.
    status: String,
    /// The lead's version now: the ETag.
    version: i64,
    note_id: Option<Uuid>,
    follow_up_id: Option<Uuid>,
    message: Message,
}

/// Says what became of a call, once: disposition, note, next status and follow-up, all of it or nothing.
#[utoipa::path(post, path = "/calls/{id}/outcome", operation_id = "record_call_outcome", tag = "calls", request_body = CreateOutcome,
    params(("id" = Uuid, Path, description = "The call"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 201, description = "Recorded", body = OutcomeView),
    (status = 404, description = "No such call in the caller's scope", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The call is not over, its outcome is on record, or the status does not follow", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Fields are wrong, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn record_call_outcome(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<CreateOutcome>,
) -> Result<Response, ApiError> {
    let (asked, user) = (&once.body, &once.user);
    let note = asked.note.as_deref().map(check_note).transpose()?;
    let call = {
        let mut conn = app.cx.db.read().await?;
        calls::get(&mut conn, user.scope(), id.into()).await?
    };
    let key = app.cx.cipher.key(Subject::Lead(call.lead)).await?;
    let new = NewOutcome {
        disposition: &asked.disposition,
        note: note.map(|text| (&key, text)),
        next_status: asked.next_status.as_deref(),
        reason: asked.reason.as_deref(),
        follow_up_at: asked.follow_up_at,
    };
    once.run(&app, StatusCode::CREATED, async |uow| {
        let Recorded { version, status, note, follow_up } =
            calls::record_outcome(uow, &call, user, &new).await?;
        Ok(OutcomeView {
            call_id: call.id.uuid(),
            lead_id: call.lead.uuid(),
            status,
            version,
            note_id: note.map(sira_kernel::Id::uuid),
            follow_up_id: follow_up.map(sira_kernel::Id::uuid),
            message: message::OUTCOME_RECORDED,
        })
    })
    .await
}

/// A note's text, without white space around it.
pub fn check_note(text: &str) -> Result<&str, ApiError> {
    let text = text.trim();
    if (1..=NOTE_CHARS_MAX).contains(&text.chars().count()) {
        return Ok(text);
    }
    Err(ApiError::new(Code::InvalidBody).with(FieldError::body("/note", "out_of_range", NOTE)))
}

/// One thing that can be said about a call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DispositionView {
    code: String,
    label: Label,
    /// Statuses worth proposing after it, the likeliest first.
    suggests: Vec<String>,
}

/// A label in both languages.
#[derive(Serialize, ToSchema)]
pub struct Label {
    pub tr: String,
    pub en: String,
}

/// What can be said about a call, in its order.
#[utoipa::path(get, path = "/calls/dispositions", operation_id = "list_call_dispositions", tag = "calls", responses(
    (status = 200, description = "The catalogue", body = Vec<DispositionView>),
))]
pub async fn list_call_dispositions(State(app): State<App>) -> Result<Json<Vec<DispositionView>>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let rows = calls::list_dispositions(&mut conn).await?.into_iter().map(|row| DispositionView {
        code: row.code,
        label: Label { tr: row.label_tr, en: row.label_en },
        suggests: row.suggests,
    });
    Ok(Json(rows.collect()))
}

/// What was said with a provider about a call, without numbers and secrets.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExchangeView {
    id: Uuid,
    provider: String,
    operation: String,
    /// `out`: we asked; `in`: a webhook.
    direction: String,
    provider_ref: Option<String>,
    http_status: Option<i16>,
    latency_ms: Option<i32>,
    /// A kind of the failure taxonomy.
    failure: Option<String>,
    request: Value,
    response: Value,
    at: DateTime<Utc>,
}

impl From<ExchangeRow> for ExchangeView {
    fn from(row: ExchangeRow) -> Self {
        Self {
            id: row.id,
            provider: row.provider,
            operation: row.operation,
            direction: row.direction,
            provider_ref: row.provider_ref,
            http_status: row.http_status,
            latency_ms: row.latency_ms,
            failure: row.failure,
            request: row.request,
            response: row.response,
            at: row.at,
        }
    }
}

/// Every request and answer about a call, in both directions, oldest first; at most 200. Without numbers and secrets.
#[utoipa::path(get, path = "/calls/{id}/exchanges", operation_id = "list_call_exchanges", tag = "calls",
    params(("id" = Uuid, Path, description = "The call")), responses(
    (status = 200, description = "The exchanges", body = Vec<ExchangeView>),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such call", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_call_exchanges(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
) -> Result<Json<Vec<ExchangeView>>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let call = calls::get(&mut conn, user.scope(), id.into()).await?;
    let rows = calls::list_exchanges(&mut conn, call.id).await?;
    Ok(Json(rows.into_iter().map(ExchangeView::from).collect()))
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotFound => Code::NotFound.into(),
            CallError::Unreadable => Self::internal(error),
            CallError::Database(error) => error.into(),
        }
    }
}

impl From<OutcomeError> for ApiError {
    fn from(error: OutcomeError) -> Self {
        let refused =
            |at: &str, code, text| Self::new(Code::InvalidBody).with(FieldError::body(at, code, text));
        match error {
            OutcomeError::NotOver => Code::CallNotOver.into(),
            OutcomeError::Recorded => Code::OutcomeOnRecord.into(),
            OutcomeError::UnknownDisposition { allowed } => {
                let error = FieldError::body("/disposition", "unknown_disposition", DISPOSITION);
                Self::new(Code::InvalidBody).with(error.allowing(allowed))
            }
            OutcomeError::FollowUpTime => refused("/followUpAt", "out_of_range", FOLLOW_UP),
            OutcomeError::FollowUpOfNobody => refused("/followUpAt", "not_possible", FOLLOW_UP_OF_NOBODY),
            OutcomeError::Call(error) => error.into(),
            OutcomeError::Lead(error) => Self::from(error).renamed("/status", "/nextStatus"),
            OutcomeError::Database(error) => error.into(),
        }
    }
}
