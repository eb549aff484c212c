//! Promises about time: what is overdue, and the policies.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sira_domain::nouns::{CalendarId, TeamId, UserId};
use sira_domain::sla::{self, CallCounts, Escalation, Overdue, OverdueCount, Policy, SlaError, Target};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::calls::Label;
use super::catalogue::{Code, Text};
use super::cursor::ListId;
use super::extract::{ApiJson, ApiQuery, Original, PathOf};
use super::leads::Named;
use super::page::{self, Page, PageRequest};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;

const TIMES: Text = Text {
    tr: "Süreler 1 saniye ile bir yıl arasında olmalı; hatırlatmalar artan sırada ve süre dolmadan önce.",
    en: "Times lie between 1 second and a year; reminders are ascending and before it is due.",
};

/// Which promises.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OverdueQuery {
    /// The owner's id.
    #[serde(rename = "filter[owner]")]
    owner: Option<Uuid>,
    /// The team's id.
    #[serde(rename = "filter[team]")]
    team: Option<Uuid>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filters.
    cursor: Option<String>,
}

/// A promise that is overdue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverdueView {
    lead_id: Uuid,
    /// For people.
    reference: String,
    status: String,
    /// Masked.
    name: Option<String>,
    owner: Option<Named>,
    team: Option<Named>,
    policy: String,
    due_at: DateTime<Utc>,
    /// On the clock.
    overdue_seconds: i64,
    server_time: DateTime<Utc>,
}

impl OverdueView {
    fn new(row: Overdue, now: DateTime<Utc>) -> Self {
        Self {
            lead_id: row.lead_id,
            reference: row.reference,
            status: row.status,
            name: row.name_masked,
            owner: row.owner_id.map(|id| Named { id, name: row.owner_name }),
            team: row.team_id.map(|id| Named { id, name: row.team_name }),
            policy: row.policy,
            due_at: row.due_at,
            overdue_seconds: (now - row.due_at).num_seconds(),
            server_time: now,
        }
    }
}

/// What is overdue in the caller's scope, the longest first; of one agent or team if asked.
#[utoipa::path(get, path = "/sla/overdue", operation_id = "list_overdue", tag = "sla", params(OverdueQuery), responses(
    (status = 200, description = "A page", body = Page<OverdueView>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_overdue(
    State(app): State<App>,
    Caller(user): Caller,
    Original(address): Original,
    ApiQuery(query): ApiQuery<OverdueQuery>,
) -> Result<Response, ApiError> {
    let filter = format!("{:?}", (query.owner, query.team));
    let list = ListId::of(&["/sla/overdue", &filter, &user.scope().fingerprint()]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let after = request.timed()?;
    let now = app.cx.clock.now();
    let whose = (query.owner.map(UserId::from_uuid), query.team.map(TeamId::from_uuid));
    let mut conn = app.cx.db.read().await?;
    let rows = sla::list_overdue(&mut conn, user.scope(), whose, now, after, request.limit + 1).await?;
    drop(conn);
    let position = |row: &Overdue| page::timed_position(row.due_at, row.id);
    let (rows, info) = request.onwards(&app.cursors, rows, position);
    Ok(page::reply(&address, rows.into_iter().map(|row| OverdueView::new(row, now)).collect(), info))
}

/// How much is overdue with one agent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverdueCountView {
    /// Null: with the administrators.
    owner: Option<Named>,
    team: Option<Named>,
    overdue: i64,
    oldest_due_at: DateTime<Utc>,
}

impl From<OverdueCount> for OverdueCountView {
    fn from(row: OverdueCount) -> Self {
        Self {
            owner: row.owner_id.map(|id| Named { id, name: row.owner_name }),
            team: row.team_id.map(|id| Named { id, name: row.team_name }),
            overdue: row.overdue,
            oldest_due_at: row.oldest_due_at,
        }
    }
}

/// How much is overdue by agent and team in the caller's scope, the most first; at most 200 agents.
#[utoipa::path(get, path = "/sla/overdue/summary", operation_id = "count_overdue", tag = "sla", responses(
    (status = 200, description = "The counts", body = Vec<OverdueCountView>),
))]
pub async fn count_overdue(
    State(app): State<App>,
    Caller(user): Caller,
) -> Result<Json<Vec<OverdueCountView>>, ApiError> {
    let now = app.cx.clock.now();
    let mut conn = app.cx.db.read().await?;
    let rows = sla::count_overdue(&mut conn, user.scope(), now).await?;
    Ok(Json(rows.into_iter().map(OverdueCountView::from).collect()))
}

/// A promise. Times are working time of its calendar, in seconds.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    #[schema(example = "first_response")]
    code: String,
    label: Label,
    calendar_id: Uuid,
    /// From the start until the first action is due.
    due_seconds: i64,
    /// From the start: when the owner is reminded.
    remind_at_seconds: Vec<i64>,
    escalations: Vec<EscalationView>,
    /// Which call keeps it: `attempt` (the other side rang or was busy) or `conversation`.
    call_counts: &'static str,
}

/// What follows when it was not kept.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EscalationView {
    /// After it was due.
    after_seconds: i64,
    to: EscalationTarget,
}

/// To whom.
#[derive(Serialize, Deserialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum EscalationTarget {
    /// Who leads the team is told.
    TeamLead,
    /// The team's managers are told.
    Manager,
    /// The administrators are told.
    Admins,
    /// The lead leaves its owner and goes to the administrators.
    AdminQueue,
}

impl From<Policy> for PolicyView {
    fn from(policy: Policy) -> Self {
        let escalation = |step: Escalation| EscalationView {
            after_seconds: step.after_s,
            to: match step.to {
                Target::TeamLead => EscalationTarget::TeamLead,
                Target::Manager => EscalationTarget::Manager,
                Target::Admins => EscalationTarget::Admins,
                Target::AdminQueue => EscalationTarget::AdminQueue,
            },
        };
        Self {
            code: policy.code,
            label: Label { tr: policy.label_tr, en: policy.label_en },
            calendar_id: policy.calendar.uuid(),
            due_seconds: policy.due_s,
            remind_at_seconds: policy.remind_at_s,
            escalations: policy.escalations.into_iter().map(escalation).collect(),
            call_counts: policy.call_counts.code(),
        }
    }
}

/// All policies, by code.
#[utoipa::path(get, path = "/sla/policies", operation_id = "list_sla_policies", tag = "sla", responses(
    (status = 200, description = "The policies", body = Vec<PolicyView>),
))]
pub async fn list_sla_policies(State(app): State<App>) -> Result<Json<Vec<PolicyView>>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let policies = sla::list_policies(&mut conn).await?;
    Ok(Json(policies.into_iter().map(PolicyView::from).collect()))
}

/// What a policy is from now on. Times are working time of its calendar, in seconds.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatePolicy {
    calendar_id: Option<Uuid>,
    due_seconds: i64,
    remind_at_seconds: Vec<i64>,
    escalations: Vec<EscalationView>,
    call_counts: PolicyCallCounts,
}

/// Which call keeps a promise.
#[derive(Deserialize, ToSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub enum PolicyCallCounts {
    /// One at which the other side rang or was busy.
    Attempt,
    /// One that the other side answered.
    Conversation,
}

/// Changes a policy. Promises that are under way follow: their times are computed anew by a job.
#[utoipa::path(put, path = "/sla/policies/{code}", operation_id = "update_sla_policy", tag = "sla", request_body = UpdatePolicy,
    params(("code" = String, Path, description = "The policy's code")), responses(
    (status = 200, description = "Changed", body = PolicyView),
    (status = 404, description = "No such policy", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Times make no sense", body = Problem, content_type = "application/problem+json"),
))]
pub async fn update_sla_policy(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(code): PathOf<String>,
    body: ApiJson<UpdatePolicy>,
) -> Result<Json<PolicyView>, ApiError> {
    let asked = body.value;
    let mut uow = app.cx.begin(user.actor()).await?;
    let policies = sla::list_policies(uow.conn()).await?;
    let current = policies.into_iter().find(|policy| policy.code == code).ok_or(Code::NotFound)?;
    let escalation = |step: EscalationView| Escalation {
        after_s: step.after_seconds,
        to: match step.to {
            EscalationTarget::TeamLead => Target::TeamLead,
            EscalationTarget::Manager => Target::Manager,
            EscalationTarget::Admins => Target::Admins,
            EscalationTarget::AdminQueue => Target::AdminQueue,
        },
    };
    let policy = Policy {
        calendar: asked.calendar_id.map_or(current.calendar, CalendarId::from_uuid),
        due_s: asked.due_seconds,
        remind_at_s: asked.remind_at_seconds,
        escalations: asked.escalations.into_iter().map(escalation).collect(),
        call_counts: match asked.call_counts {
            PolicyCallCounts::Attempt => CallCounts::Attempt,
            PolicyCallCounts::Conversation => CallCounts::Conversation,
        },
        ..current
    };
    sla::set_policy(&mut uow, &policy).await?;
    uow.commit().await?;
    Ok(Json(policy.into()))
}

impl From<SlaError> for ApiError {
    fn from(error: SlaError) -> Self {
        match error {
            SlaError::UnknownPolicy => Code::NotFound.into(),
            SlaError::UnknownCalendar => {
                let text = Text { tr: "Böyle bir takvim yok.", en: "There is no such calendar." };
                Self::new(Code::InvalidBody).with(FieldError::body("/calendarId", "unknown_calendar", text))
            }
            SlaError::Invalid(_) => {
                Self::new(Code::InvalidBody).with(FieldError::body("/dueSeconds", "out_of_range", TIMES))
            }
            SlaError::Database(error) => error.into(),
            other @ SlaError::Lead(_) => Self::internal(other),
        }
    }
}
