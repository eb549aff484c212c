//! The review queue: pairs of leads that may be one person, merged, kept apart, or parted again.

use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::leads::reviews::{self, Merged, Review};
use sira_domain::nouns::{LeadId, ReviewId};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::cursor::ListId;
use super::extract::{ApiQuery, Original, PathOf};
use super::idempotent::Once;
use super::leads::LeadSummary;
use super::message::{self, Message};
use super::page::{self, Page, PageRequest};
use super::problem::{ApiError, Problem};
use super::queue::Nothing;
use super::state::App;

/// What was decided about a pair.
#[derive(Debug, Default, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReviewState {
    /// Nothing yet.
    #[default]
    Open,
    /// They are one person.
    Merged,
    /// They are two.
    Apart,
}

impl From<ReviewState> for reviews::State {
    fn from(state: ReviewState) -> Self {
        match state {
            ReviewState::Open => Self::Open,
            ReviewState::Merged => Self::Merged,
            ReviewState::Apart => Self::Apart,
        }
    }
}

/// Which pairs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReviewQuery {
    /// What was decided; `open` when not given.
    #[serde(rename = "filter[state]", default)]
    state: ReviewState,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filter.
    cursor: Option<String>,
}

/// Two leads that may be one person.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewView {
    id: Uuid,
    state: &'static str,
    /// What both have: `phone` or `email`.
    shared: String,
    /// The lead that is known longer, and the other one.
    leads: [LeadSummary; 2],
    /// The lead that stays, while they are merged.
    survivor_id: Option<Uuid>,
    /// When the doubt arose.
    created_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    /// Until when the merge can be taken back.
    unmerge_until: Option<DateTime<Utc>>,
}

impl ReviewView {
    fn new(review: Review, now: DateTime<Utc>) -> Self {
        Self {
            id: review.id.uuid(),
            state: review.state.code(),
            survivor_id: review.survivor.map(LeadId::uuid),
            created_at: review.created_at,
            decided_at: review.decided_at,
            unmerge_until: review.unmerge_until(),
            shared: review.shared,
            leads: review.leads.map(|lead| LeadSummary::new(lead, now)),
        }
    }
}

/// Which lead stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MergeLeads {
    /// One of the pair; when left out an open lead before a closed one, one with an owner before one without, and the one
    /// that is known longer.
    survivor_id: Option<Uuid>,
}

/// What was decided.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewDone {
    id: Uuid,
    /// The lead that stays, after a merge; the lead that the other one was part of, after it was parted.
    #[serde(skip_serializing_if = "Option::is_none")]
    survivor_id: Option<Uuid>,
    /// The lead that is part of it, or was.
    #[serde(skip_serializing_if = "Option::is_none")]
    absorbed_id: Option<Uuid>,
    message: Message,
}

impl ReviewDone {
    fn of(id: Uuid, merged: Option<Merged>, message: Message) -> Self {
        Self {
            id,
            survivor_id: merged.map(|merged| merged.survivor.uuid()),
            absorbed_id: merged.map(|merged| merged.absorbed.uuid()),
            message,
        }
    }
}

/// Pairs of leads that share a contact and may be one person, newest first; masked.
#[utoipa::path(get, path = "/review-queue", operation_id = "list_reviews", tag = "leads", params(ReviewQuery), responses(
    (status = 200, description = "A page", body = Page<ReviewView>),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_reviews(
    State(app): State<App>,
    Original(address): Original,
    ApiQuery(query): ApiQuery<ReviewQuery>,
) -> Result<Response, ApiError> {
    let state = reviews::State::from(query.state);
    let list = ListId::of(&["/review-queue", state.code()]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let after = request.timed()?;
    let rows = reviews::list(&mut *app.cx.db.read().await?, state, after, request.limit + 1).await?;
    let position = |row: &Review| page::timed_position(row.created_at, row.id.uuid());
    let (rows, info) = request.onwards(&app.cursors, rows, position);
    let now = app.cx.clock.now();
    let views = rows.into_iter().map(|row| ReviewView::new(row, now)).collect();
    Ok(page::reply(&address, views, info))
}

/// Decides that both leads are one person: one stays, the other is read with it from then on. Can be taken back for 30 days.
#[utoipa::path(post, path = "/review-queue/{id}/merge", operation_id = "merge_leads", tag = "leads", request_body = MergeLeads,
    params(("id" = Uuid, Path, description = "The pair"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "They are one", body = ReviewDone),
    (status = 404, description = "No such pair", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "They are merged, one belongs to a third lead or is being called, or the one that is to stay is closed", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The lead that is to stay is none of the pair, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn merge_leads(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<MergeLeads>,
) -> Result<Response, ApiError> {
    let survivor = once.body.survivor_id.map(LeadId::from_uuid);
    once.run(&app, StatusCode::OK, async |uow| {
        let merged = reviews::merge(uow, ReviewId::from_uuid(id), survivor).await?;
        Ok(ReviewDone::of(id, Some(merged), message::LEADS_MERGED))
    })
    .await
}

/// Decides that the leads are two persons.
#[utoipa::path(post, path = "/review-queue/{id}/keepApart", operation_id = "keep_leads_apart", tag = "leads", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The pair"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "They are two", body = ReviewDone),
    (status = 404, description = "No such pair", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "They are merged: unmerge them", body = Problem, content_type = "application/problem+json"),
))]
pub async fn keep_leads_apart(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        reviews::keep_apart(uow, ReviewId::from_uuid(id)).await?;
        Ok(ReviewDone::of(id, None, message::LEADS_KEPT_APART))
    })
    .await
}

/// Takes a merge back, within 30 days: the lead is one of its own again and waits for an agent if it is open.
#[utoipa::path(post, path = "/review-queue/{id}/unmerge", operation_id = "unmerge_leads", tag = "leads", request_body = Nothing,
    params(("id" = Uuid, Path, description = "The pair"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "They are two again", body = ReviewDone),
    (status = 404, description = "No such pair", body = Problem, content_type = "application/problem+json"),
    (status = 409, description = "They are not merged, or were more than 30 days ago", body = Problem, content_type = "application/problem+json"),
))]
pub async fn unmerge_leads(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        let parted = reviews::unmerge(uow, ReviewId::from_uuid(id)).await?;
        Ok(ReviewDone::of(id, Some(parted), message::LEADS_UNMERGED))
    })
    .await
}
