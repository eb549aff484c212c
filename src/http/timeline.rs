//! A lead's timeline: everything that happened, and what will happen by itself. Notes are opened here, with what looks
//! like a number or an address in them masked.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sira_domain::leads;
use sira_domain::nouns::LeadId;
use sira_domain::privacy::{DataKey, Subject};
use sira_domain::timeline::{self, Kind, NOTE, Position, Row};
use sira_workflows::upcoming;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::auth::Caller;
use super::calls::check_note;
use super::catalogue::{Code, Text};
use super::cursor::ListId;
use super::extract::{ApiQuery, PathOf};
use super::idempotent::Once;
use super::leads as http_leads;
use super::message::{self, Message};
use super::page::{self, PageInfo, PageRequest};
use super::problem::{ApiError, FieldError, Problem};
use super::state::App;

const UNKNOWN_KIND: Text =
    Text { tr: "Böyle bir tür yok. allowed alanına bakın.", en: "There is no such type. See allowed." };

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// Types, separated by commas: `lead`, `assignment`, `status`, `sla`, `call`, `note`, `follow_up`, `cooling_off`, `queue`,
    /// `consent`. All when not given.
    #[serde(rename = "filter[type]")]
    #[param(example = "call,note")]
    kinds: Option<String>,
    /// Rows of a page: 1 to 200; 50 when not given.
    limit: Option<u16>,
    /// From `nextCursor` of a page with the same filter.
    cursor: Option<String>,
}

impl TimelineQuery {
    fn kinds(&self) -> Result<Vec<Kind>, ApiError> {
        let names = self.kinds.iter().flat_map(|list| list.split(',')).map(str::trim);
        let mut kinds = names.map(Kind::parse).collect::<Option<Vec<_>>>().ok_or_else(|| {
            let error = FieldError::query("filter[type]", "unknown_value", UNKNOWN_KIND);
            let allowed = Kind::ALL.into_iter().map(Kind::code);
            ApiError::new(Code::InvalidQuery).with(error.allowing(allowed))
        })?;
        kinds.sort_by_key(|kind| kind.code());
        kinds.dedup();
        Ok(kinds)
    }
}

/// A page of a timeline, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelinePage {
    data: Vec<TimelineEntry>,
    page: PageInfo,
    /// What will happen by itself unless something comes before, soonest first; on the first page.
    upcoming: Vec<UpcomingView>,
    server_time: DateTime<Utc>,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    id: Uuid,
    at: DateTime<Utc>,
    #[serde(rename = "type")]
    #[schema(example = "call")]
    kind: String,
    /// What happened.
    #[schema(example = "call.statusChanged")]
    code: String,
    actor: TimelineActor,
    /// The call, the note, the follow-up that it is about.
    reference: Option<Uuid>,
    /// Ids, codes and numbers.
    details: Value,
    /// A note's text; what looks like a number or an address is masked.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
pub struct TimelineActor {
    /// `user`, `job`, `workflow`, `provider` or `system`.
    kind: String,
    /// A user's id, a job's kind, a provider's name.
    id: String,
    /// A user's name.
    name: Option<String>,
}

/// One thing that will happen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpcomingView {
    at: DateTime<Utc>,
    /// `sla.reminder`, `sla.breach`, `sla.escalation`, `sla.resume`, `followUp.due`, `lead.redistribution`, `call.check` or
    /// `lead.waitsTooLong`.
    code: &'static str,
    policy: Option<String>,
}

/// Everything that happened to a lead, newest first, and what will happen by itself.
#[utoipa::path(get, path = "/leads/{id}/timeline", operation_id = "get_lead_timeline", tag = "leads",
    params(("id" = Uuid, Path, description = "The lead"), TimelineQuery), responses(
    (status = 200, description = "A page", body = TimelinePage),
    (status = 400, description = "A parameter or the cursor is not valid", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such lead in the caller's scope", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_lead_timeline(
    State(app): State<App>,
    Caller(user): Caller,
    PathOf(id): PathOf<Uuid>,
    ApiQuery(query): ApiQuery<TimelineQuery>,
) -> Result<Json<TimelinePage>, ApiError> {
    let (lead, kinds) = (LeadId::from_uuid(id), query.kinds()?);
    let names: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
    let list = ListId::of(&["/leads/timeline", &lead.to_string(), &names.join(",")]);
    let request = PageRequest::new(&app.cursors, list, query.limit, query.cursor.as_deref())?;
    let after = request.timed()?;
    let mut conn = app.cx.db.read().await?;
    leads::search::find(&mut conn, user.scope(), lead).await?.ok_or(Code::NotFound)?;
    let upcoming = match after {
        None => upcoming::list(&mut conn, lead).await?,
        Some(_) => Vec::new(),
    };
    let after = after.map(|(at, id)| Position { at, id });
    let rows = timeline::list(&mut conn, lead, &kinds, after, request.limit + 1).await?;
    drop(conn);
    let position = |row: &Row| page::timed_position(row.at, row.id);
    let (rows, page) = request.onwards(&app.cursors, rows, position);
    let with_note = rows.iter().filter(|row| row.note_sealed.is_some());
    let holders: HashSet<LeadId> = with_note.map(|row| row.lead).collect();
    let keys = app.cx.cipher.keys(&holders.into_iter().map(Subject::Lead).collect::<Vec<_>>()).await?;
    let key_of = |lead| keys.iter().find(|key| key.subject() == Subject::Lead(lead));
    let data = rows.into_iter().map(|row| {
        let key = key_of(row.lead);
        entry(row, key)
    });
    let data = data.collect::<Result<_, _>>()?;
    let upcoming = upcoming.into_iter().map(|upcoming| UpcomingView {
        at: upcoming.at,
        code: upcoming.code,
        policy: upcoming.policy,
    });
    Ok(Json(TimelinePage { data, page, upcoming: upcoming.collect(), server_time: app.cx.clock.now() }))
}

fn entry(row: Row, key: Option<&DataKey>) -> Result<TimelineEntry, ApiError> {
    let note = match (&row.note_sealed, key, row.reference) {
        (Some(sealed), Some(key), Some(note)) => {
            let text = key.open(NOTE, note, sealed)?;
            Some(sira_kernel::mask_contacts(&String::from_utf8_lossy(&text)))
        }
        _ => None,
    };
    Ok(TimelineEntry {
        id: row.id,
        at: row.at,
        kind: row.kind,
        code: row.code,
        actor: TimelineActor { kind: row.actor_kind, id: row.actor, name: row.actor_name },
        reference: row.reference,
        details: row.body,
        note,
    })
}

/// A note to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateNote {
    /// At most 4,000 characters. Stored encrypted.
    note: String,
}

/// A note that was added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NoteAdded {
    note_id: Uuid,
    message: Message,
}

/// Adds a note to a lead's timeline. Notes are not changed: a correction is another note.
#[utoipa::path(post, path = "/leads/{id}/notes", operation_id = "create_note", tag = "leads", request_body = CreateNote,
    params(("id" = Uuid, Path, description = "The lead"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 201, description = "Added", body = NoteAdded),
    (status = 404, description = "No such lead in the caller's scope", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Fields are wrong, or the key was used with another body", body = Problem, content_type = "application/problem+json"),
))]
pub async fn create_note(
    State(app): State<App>,
    PathOf(id): PathOf<Uuid>,
    once: Once<CreateNote>,
) -> Result<Response, ApiError> {
    let (lead, user, text) = (LeadId::from_uuid(id), &once.user, check_note(&once.body.note)?);
    http_leads::check_visible(&app, user, lead).await?;
    let key = app.cx.cipher.key(Subject::Lead(lead)).await?;
    once.run(&app, StatusCode::CREATED, async |uow| {
        leads::search::find(uow.conn(), user.scope(), lead).await?.ok_or(Code::NotFound)?;
        let note = timeline::add_note(uow, lead, user.id, &key, text).await?;
        Ok(NoteAdded { note_id: note.uuid(), message: message::NOTE_ADDED })
    })
    .await
}
