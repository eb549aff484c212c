//! `/leads`: list, detail, change of status, leads typed in by hand. Masked forms only.
//!
//! **Invariant:** every handler reads within the caller's scope first; what is out of scope is not found.

pub mod body;
pub mod create;
pub mod find;
mod view;

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Datelike, Utc};
use http::{HeaderValue, header};
use serde::Deserialize;
use sira_domain::calls::{self, Purpose, Wish};
use sira_domain::campaigns::CampaignsError;
use sira_domain::distribution::DistributionError;
use sira_domain::identity::{Permission, User};
use sira_domain::leads::search::Person;
use sira_domain::leads::{self, Filter, LeadError, Position, Scope, Seek, StatusChange};
use sira_domain::nouns::{LeadId, TeamId, UserId};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use self::body::{PatchLead, StatusPatched};
use self::view::{ChannelAvailability, LeadDetail};
pub use self::view::{LeadSummary, Named};
use super::auth::Caller;
use super::catalogue::{Code, Text};
use super::cursor::{Direction, ListId};
use super::extract::{ApiJson, ApiQuery, IfMatch, Original, PathOf};
use super::page::{self, Page, PageInfo, PageRequest};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;

/// Most statuses in one filter: the catalogue is far smaller.
const STATUSES_MAX: usize = 50;
/// Years of a time in a filter: PostgreSQL knows fewer than chrono.
const YEARS: RangeInclusive<i32> = 1970..=9999;
const YEAR: Text = Text { tr: "Yıl 1970 ile 9999 arasında olmalı.", en: "Give a year from 1970 to 9999." };
/// The one order of the list.
const SORT: &str = "-createdAt,-id";

/// Which leads to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Codes of statuses, separated by commas.
    #[serde(rename = "filter[status]")]
    #[param(example = "new,interested")]
    status: Option<String>,
    /// The owner's id.
    #[serde(rename = "filter[owner]")]
    owner: Option<Uuid>,
    /// The team's id.
    #[serde(rename = "filter[team]")]
    team: Option<Uuid>,
    /// Created at this time or later.
    #[serde(rename = "filter[createdAt][gte]")]
    created_from: Option<DateTime<Utc>>,
    /// Created before this time.
    #[serde(rename = "filter[createdAt][lt]")]
    created_before: Option<DateTime<Utc>>,
    /// Whether they wait for an agent.
    #[serde(rename = "filter[waiting]")]
    waiting: Option<bool>,
    /// `pool`, or `admin`: with the administrators.
    #[serde(rename = "filter[queue]")]
    queue: Option<QueueName>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` or `prevCursor` of a page with the same filters.
    cursor: Option<String>,
}

/// Where a lead is without an owner.
#[derive(Debug, Deserialize, ToSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum QueueName {
    /// With its pool.
    Pool,
    /// With the administrators.
    Admin,
}

impl ListQuery {
    fn filter(&self) -> Result<Filter, ApiError> {
        let mut statuses: Vec<String> = self
            .status
            .iter()
            .flat_map(|list| list.split(','))
            .map(|code| code.trim().to_owned())
            .filter(|code| !code.is_empty())
            .collect();
        statuses.sort();
        statuses.dedup();
        if statuses.len() > STATUSES_MAX || self.status.is_some() && statuses.is_empty() {
            let detail =
                Text { tr: "1 ile 50 arası durum kodu verin.", en: "Give 1 to 50 codes of statuses." };
            let error = FieldError::query("filter[status]", "out_of_range", detail);
            return Err(ApiError::new(Code::InvalidQuery).with(error));
        }
        let times =
            [("filter[createdAt][gte]", self.created_from), ("filter[createdAt][lt]", self.created_before)];
        for (name, at) in times {
            if at.is_some_and(|at| !YEARS.contains(&at.year())) {
                let error = FieldError::query(name, "out_of_range", YEAR);
                return Err(ApiError::new(Code::InvalidQuery).with(error));
            }
        }
        Ok(Filter {
            statuses,
            owner: self.owner.map(UserId::from_uuid),
            team: self.team.map(TeamId::from_uuid),
            created_from: self.created_from,
            created_to: self.created_before,
            waiting: self.waiting,
            channel: None,
            queued: self.queue.map(|queue| queue == QueueName::Admin),
            person: Person::default(),
        })
    }
}

/// Leads of the caller's scope, newest first.
#[utoipa::path(get, path = "/leads", operation_id = "list_leads", tag = "leads", params(ListQuery), responses(
    (status = 200, description = "A page", body = Page<LeadSummary>, headers(("Link" = String, description = "RFC 8288: next and prev"))),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_leads(
    State(app): State<App>,
    Caller(user): Caller,
    Original(address): Original,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Response, ApiError> {
    let (filter, scope) = (query.filter()?, user.scope());
    // The filter's own text: equal filters are one list, however they were written.
    let list = ListId::of(&["/leads", &format!("{filter:?}"), SORT, &scope.fingerprint()]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    if !filter.statuses.is_empty() {
        check_statuses(&mut *app.cx.db.read().await?, &filter.statuses).await?;
    }
    let (rows, info) = read_page(&app, scope, &filter, &request).await?;
    Ok(page::reply(&address, rows, info))
}

/// One page of the scope's leads.
async fn read_page(
    app: &App,
    scope: Scope,
    filter: &Filter,
    request: &PageRequest,
) -> Result<(Vec<LeadSummary>, PageInfo), ApiError> {
    let mut conn = app.cx.db.read().await?;
    let found = leads::search(&mut conn, scope, filter, seek(request)?, request.limit).await?;
    drop(conn);
    let bytes = |at: Position| page::timed_position(at.created_at, at.id.uuid());
    let info = PageInfo::of(request, &app.cursors, found.next.map(bytes), found.prev.map(bytes));
    let now = app.cx.clock.now();
    Ok((found.rows.into_iter().map(|row| LeadSummary::new(row, now)).collect(), info))
}

/// Refuses codes that the catalogue does not have.
async fn check_statuses(conn: &mut PgConnection, asked: &[String]) -> Result<(), ApiError> {
    let catalogue = leads::list_statuses(conn).await?;
    let allowed: Vec<String> = catalogue.into_iter().map(|status| status.code).collect();
    if asked.iter().all(|code| allowed.contains(code)) {
        return Ok(());
    }
    let error = FieldError::query("filter[status]", "unknown_status", body::UNKNOWN_STATUS);
    Err(ApiError::new(Code::InvalidQuery).with(error.allowing(allowed)))
}

fn seek(request: &PageRequest) -> Result<Seek, ApiError> {
    let Some((direction, bytes)) = &request.from else { return Ok(Seek::First) };
    let (created_at, id) = page::read_timed_position(bytes)?;
    let position = Position { created_at, id: LeadId::from_uuid(id) };
    Ok(match direction {
        Direction::Next => Seek::After(position),
        Direction::Previous => Seek::Before(position),
    })
}

/// One lead with its contacts, enquiries, histories and the newest routing decision. `ETag` is its version.
#[utoipa::path(get, path = "/leads/{id}", operation_id = "get_lead", tag = "leads",
    params(("id" = Uuid, Path, description = "The lead")), responses(
    (status = 200, description = "The lead", body = LeadDetail, headers(("ETag" = String, description = "The version, for If-Match"))),
    (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such lead in the caller's scope", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_lead(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
) -> Result<Response, ApiError> {
    let now = app.cx.clock.now();
    let mut conn = app.cx.db.read().await?;
    let detail = leads::get_detail(&mut conn, user.scope(), id.into(), now).await?;
    let allowed = leads::list_allowed(&mut conn, &detail.row.status, Some(user.role)).await?;
    let wish = Wish { lead: id.into(), caller: &user, purpose: Purpose::Transactional };
    let verdict = calls::preview(&mut conn, &wish, app.cx.settings.calls.limits, now).await?;
    let may_call = user.role.can(Permission::CallLeads);
    let tag = etag(detail.row.version);
    let detail = LeadDetail::new(detail, now, allowed, ChannelAvailability::of_call(may_call, verdict));
    Ok(([(header::ETAG, tag)], Json(detail)).into_response())
}

/// Changes a lead, as a JSON merge patch (RFC 7396). Today: its status, with a code as the reason.
#[utoipa::path(patch, path = "/leads/{id}", operation_id = "update_lead", tag = "leads",
    params(("id" = Uuid, Path, description = "The lead"), ("If-Match" = String, Header, description = "The ETag that was read")),
    request_body(content = PatchLead, content_type = "application/merge-patch+json"), responses(
    (status = 200, description = "Changed", body = StatusPatched, headers(("ETag" = String, description = "The new version"))),
    (status = 404, description = "No such lead in the caller's scope", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "The status does not follow, or the owner cannot carry it", body = Problem, content_type = "application/problem+json"),
    (status = 412, description = "It changed meanwhile; ETag is its version now", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Fields are unknown, missing or wrong", body = Problem, content_type = "application/problem+json"),
    (status = 428, description = "If-Match is missing", body = Problem, content_type = "application/problem+json"),
))]
pub async fn update_lead(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
    IfMatch(version): IfMatch,
    body: ApiJson<PatchLead>,
) -> Result<Response, ApiError> {
    let (id, patch) = (LeadId::from_uuid(id), body.value);
    let mut uow = app.cx.begin(user.actor()).await?;
    leads::search::find(uow.conn(), user.scope(), id).await?.ok_or(Code::NotFound)?;
    let change = StatusChange {
        lead: id,
        expected_version: Some(version),
        to: &patch.status,
        reason: patch.reason.as_deref(),
        role: Some(user.role),
    };
    let changed = leads::change_status(&mut uow, &change).await?;
    uow.commit().await?;
    let tag = etag(changed.version);
    Ok(([(header::ETAG, tag)], Json(StatusPatched::new(id, changed))).into_response())
}

/// That the caller may see a lead, before its key is asked for.
pub async fn check_visible(app: &App, user: &User, lead: LeadId) -> Result<(), ApiError> {
    let mut conn = app.cx.db.read().await?;
    leads::search::find(&mut conn, user.scope(), lead).await?.ok_or(Code::NotFound)?;
    Ok(())
}

fn etag(version: i64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits in quotes are a header value")
}

impl From<LeadError> for ApiError {
    fn from(error: LeadError) -> Self {
        let refused = |error: FieldError| Self::new(Code::InvalidBody).with(error);
        match error {
            LeadError::NotFound => Code::NotFound.into(),
            LeadError::VersionConflict { current } => {
                Self::new(Code::PreconditionFailed).header(header::ETAG, etag(current))
            }
            LeadError::NoUsableContact => {
                refused(FieldError::body("/phone", "missing_field", body::NO_CONTACT))
            }
            LeadError::UnknownStatus { allowed } => {
                let error = FieldError::body("/status", "unknown_status", body::UNKNOWN_STATUS);
                refused(error.allowing(allowed))
            }
            LeadError::TransitionNotAllowed { allowed } => {
                let error = FieldError::body("/status", "transition_not_allowed", body::NO_TRANSITION);
                Self::new(Code::TransitionNotAllowed).with(error.allowing(allowed))
            }
            LeadError::ReasonRequired => {
                refused(FieldError::body("/reason", "missing_field", body::REASON_REQUIRED))
            }
            LeadError::Merged { .. } => Code::LeadMerged.into(),
            LeadError::AlreadyMerged => Code::AlreadyMerged.into(),
            LeadError::NotMerged => Code::NotMerged.into(),
            LeadError::UnmergeTooLate => Code::UnmergeTooLate.into(),
            LeadError::SurvivorClosed => Code::SurvivorClosed.into(),
            LeadError::CallUnderWay => Code::CallInProgress.into(),
            LeadError::NotOfThePair => {
                refused(FieldError::body("/survivorId", "wrong_value", body::NOT_OF_THE_PAIR))
            }
            LeadError::Uncontactable => Code::LeadUncontactable.into(),
            LeadError::PhoneTaken => Code::PhoneTaken.into(),
            LeadError::ReasonNotACode => refused(FieldError::body("/reason", "wrong_value", body::REASON)),
            LeadError::Distribution(DistributionError::AtCapacity) => Code::OwnerAtCapacity.into(),
            LeadError::Raced | LeadError::Distribution(DistributionError::Changed) => {
                Self::new(Code::Unavailable).retry_after(Duration::from_secs(1)).because("races")
            }
            LeadError::Database(error)
            | LeadError::Distribution(DistributionError::Database(error))
            | LeadError::Campaigns(CampaignsError::Database(error)) => error.into(),
            LeadError::Distribution(other) => Self::internal(other),
            LeadError::Campaigns(other) => Self::internal(other),
            LeadError::Privacy(other) => other.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_was_not_there_is_said_wherever_it_was_missed() {
        let gone = || sqlx::Error::PoolTimedOut;
        for error in [
            LeadError::Database(gone()),
            LeadError::Distribution(DistributionError::Database(gone())),
            LeadError::Campaigns(CampaignsError::Database(gone())),
            LeadError::Distribution(DistributionError::Changed),
        ] {
            let said = error.to_string();
            assert_eq!(ApiError::from(error).code(), Code::Unavailable, "{said}");
        }
    }
}
