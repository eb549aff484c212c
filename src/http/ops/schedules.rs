//! What fires by the clock: when, what became of the last slots, and changing it. Audited as the caller's act.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sira_domain::operations::schedules;
use sira_engine::InvalidCron;
use sira_engine::ops::{self, ScheduleEdit, ScheduleError, ScheduleView, SlotView};
use utoipa::ToSchema;

use crate::http::catalogue::{Code, Text};
use crate::http::extract::PathOf;
use crate::http::idempotent::Once;
use crate::http::message::{self, Message};
use crate::http::problem::{ApiError, FieldError, Problem};
use crate::http::queue::Nothing;
use crate::http::state::App;

const UNREADABLE: Text = Text {
    tr: "Bu bir cron ifadesi değil. Beş alan yazın: dakika saat gün ay haftanın-günü, 30 2 * * * gibi; altı alanda ilki saniyedir.",
    en: "This is no cron expression. Write five fields, minute hour day month weekday, as in 30 2 * * *; with six, seconds come first.",
};
const NUMBERED_WEEKDAY: Text = Text {
    tr: "Haftanın günlerini adıyla yazın (MON-SUN): sayılar her sistemde başka gün demektir.",
    en: "Write days of the week by name, MON to SUN: their numbers mean different days in different systems.",
};
const UNKNOWN_ZONE: Text = Text {
    tr: "Böyle bir saat dilimi yok. Europe/Istanbul gibi bir IANA adı yazın.",
    en: "There is no such time zone. Write an IANA name, as in Europe/Istanbul.",
};
const NEVER: Text = Text {
    tr: "Bu ifadenin önümüzdeki on yılda hiçbir zamanı yok.",
    en: "This expression has no time in the next ten years.",
};

/// What happens with slots that passed while nothing could fire them.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// Each of them is fired.
    All,
    /// The latest one is fired, the others are missed.
    Latest,
    /// They are missed; one that is at most a minute late is not.
    Skip,
}

impl From<CatchUp> for sira_engine::CatchUp {
    fn from(catch_up: CatchUp) -> Self {
        match catch_up {
            CatchUp::All => Self::All,
            CatchUp::Latest => Self::Latest,
            CatchUp::Skip => Self::Skip,
        }
    }
}

/// Something that fires by the clock.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    name: String,
    /// The kind of its jobs.
    kind: String,
    queue: String,
    #[schema(example = "30 3 * * *")]
    cron: String,
    #[schema(example = "Europe/Istanbul")]
    time_zone: String,
    /// `all`, `latest` or `skip`.
    catch_up: String,
    /// When an operator changed it last; null when it is as the program declares it.
    edited_at: Option<DateTime<Utc>>,
    paused_at: Option<DateTime<Utc>>,
    paused_reason: Option<String>,
    next_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

/// What became of a slot.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    #[serde(rename = "slot")]
    at: DateTime<Utc>,
    /// Slots were missed, from this one to `slot`.
    missed_from: Option<DateTime<Utc>>,
    /// An operator ran it.
    by_request: bool,
    settled_at: DateTime<Utc>,
    job_id: Option<i64>,
    /// How the job stands; null when it is no longer known.
    job_state: Option<String>,
}

/// A schedule with its slots.
#[derive(Serialize, ToSchema)]
pub struct ScheduleDetail {
    #[serde(flatten)]
    schedule: Schedule,
    /// The next five; none while it is paused.
    next: Vec<DateTime<Utc>>,
    /// The last ten, newest first.
    last: Vec<Slot>,
}

/// All of them.
#[derive(Serialize, ToSchema)]
pub struct Schedules {
    data: Vec<Schedule>,
}

/// What is to be different; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EditSchedule {
    /// Minute, hour, day of month, month, day of week; with six fields, seconds come first. Weekdays by name.
    #[schema(example = "30 3 * * MON-FRI")]
    cron: Option<String>,
    /// An IANA name.
    #[schema(example = "Europe/Istanbul")]
    time_zone: Option<String>,
    catch_up: Option<CatchUp>,
}

/// Why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseSchedule {
    /// For operators and the audit log: 1 to 200 characters, no names; numbers and addresses are masked.
    #[schema(example = "the provider is under maintenance")]
    reason: String,
}

/// What was done.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleDone {
    name: String,
    /// The job, when one was enqueued.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<i64>,
    /// The next slot, when it was changed; null while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<DateTime<Utc>>,
    message: Message,
}

/// All schedules, by name: a handful.
#[utoipa::path(get, path = "/ops/schedules", operation_id = "list_schedules", tag = "operations", responses(
    (status = 200, description = "All of them", body = Schedules),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
))]
pub async fn list_schedules(State(app): State<App>) -> Result<Json<Schedules>, ApiError> {
    let found = ops::list_schedules(&mut *app.cx.db.read().await?).await?;
    Ok(Json(Schedules { data: found.into_iter().map(Schedule::from).collect() }))
}

/// One schedule, with its next five slots and what became of the last ten.
#[utoipa::path(get, path = "/ops/schedules/{name}", operation_id = "get_schedule", tag = "operations",
    params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = ScheduleDetail),
    (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
))]
pub async fn get_schedule(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
) -> Result<Json<ScheduleDetail>, ApiError> {
    let found = ops::find_schedule(&mut *app.cx.db.read().await?, &name).await?.ok_or(Code::NotFound)?;
    let last = found.last.into_iter().map(Slot::from).collect();
    Ok(Json(ScheduleDetail { schedule: found.schedule.into(), next: found.next, last }))
}

/// Changes when it fires. Its next slot is the first one from now on.
#[utoipa::path(post, path = "/ops/schedules/{name}/edit", operation_id = "edit_schedule", tag = "operations", request_body = EditSchedule,
    params(("name" = String, Path, description = "The schedule"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It is changed", body = ScheduleDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The expression or the zone cannot be used", body = Problem, content_type = "application/problem+json"),
))]
pub async fn edit_schedule(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<EditSchedule>,
) -> Result<Response, ApiError> {
    let EditSchedule { cron, time_zone, catch_up } = &once.body;
    let edit = ScheduleEdit {
        cron: cron.clone(),
        time_zone: time_zone.clone(),
        catch_up: catch_up.map(sira_engine::CatchUp::from),
    };
    once.run(&app, StatusCode::OK, async |uow| {
        let schedule = schedules::edit(uow, &name, &edit).await?;
        let next_at = schedule.next_at;
        Ok(ScheduleDone { name: schedule.name, job_id: None, next_at, message: message::SCHEDULE_EDITED })
    })
    .await
}

/// Stops it, with the reason. Slots of the pause are not caught up.
#[utoipa::path(post, path = "/ops/schedules/{name}/pause", operation_id = "pause_schedule", tag = "operations", request_body = PauseSchedule,
    params(("name" = String, Path, description = "The schedule"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It fires no more", body = ScheduleDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "The reason is empty or too long", body = Problem, content_type = "application/problem+json"),
))]
pub async fn pause_schedule(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<PauseSchedule>,
) -> Result<Response, ApiError> {
    let reason = &once.body.reason;
    once.run(&app, StatusCode::OK, async |uow| {
        schedules::pause(uow, &name, reason).await?;
        Ok(done(&name, None, message::SCHEDULE_PAUSED))
    })
    .await
}

/// Lets it go on, with its first slot from now on.
#[utoipa::path(post, path = "/ops/schedules/{name}/resume", operation_id = "resume_schedule", tag = "operations", request_body = Nothing,
    params(("name" = String, Path, description = "The schedule"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 200, description = "It fires", body = ScheduleDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
))]
pub async fn resume_schedule(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::OK, async |uow| {
        schedules::resume(uow, &name).await?;
        Ok(done(&name, None, message::SCHEDULE_RESUMED))
    })
    .await
}

/// Enqueues its job now, beside its slots, paused or not. Follow the job under `/ops/jobs/{id}`.
#[utoipa::path(post, path = "/ops/schedules/{name}/run", operation_id = "run_schedule", tag = "operations", request_body = Nothing,
    params(("name" = String, Path, description = "The schedule"), ("Idempotency-Key" = String, Header, description = "New for every new request: 1 to 200 characters")), responses(
    (status = 202, description = "The job is enqueued", body = ScheduleDone),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 404, description = "No such schedule", body = Problem, content_type = "application/problem+json"),
))]
pub async fn run_schedule(
    State(app): State<App>,
    PathOf(name): PathOf<String>,
    once: Once<Nothing>,
) -> Result<Response, ApiError> {
    once.run(&app, StatusCode::ACCEPTED, async |uow| {
        let job = schedules::run_now(uow, &name).await?;
        Ok(done(&name, Some(job.0), message::SCHEDULE_RUN))
    })
    .await
}

fn done(name: &str, job_id: Option<i64>, message: Message) -> ScheduleDone {
    ScheduleDone { name: name.to_owned(), job_id, next_at: None, message }
}

/// What a refusal means to the caller.
pub(super) fn refused(error: ScheduleError) -> ApiError {
    let invalid = match error {
        ScheduleError::Unknown => return Code::NotFound.into(),
        ScheduleError::Engine(error) => return error.into(),
        ScheduleError::Invalid(invalid) => invalid,
    };
    let (pointer, text) = match invalid {
        InvalidCron::Unreadable(_) => ("/cron", UNREADABLE),
        InvalidCron::NumberedWeekday => ("/cron", NUMBERED_WEEKDAY),
        InvalidCron::Never => ("/cron", NEVER),
        InvalidCron::UnknownZone => ("/timeZone", UNKNOWN_ZONE),
    };
    ApiError::new(Code::InvalidBody).with(FieldError::body(pointer, "wrong_value", text))
}

impl From<ScheduleView> for Schedule {
    fn from(schedule: ScheduleView) -> Self {
        Self {
            name: schedule.name,
            kind: schedule.kind,
            queue: schedule.queue,
            cron: schedule.cron,
            time_zone: schedule.time_zone,
            catch_up: schedule.catch_up,
            edited_at: schedule.edited_at,
            paused_at: schedule.paused_at,
            paused_reason: schedule.paused_reason,
            next_at: schedule.next_at,
            created_at: schedule.created_at,
        }
    }
}

impl From<SlotView> for Slot {
    fn from(slot: SlotView) -> Self {
        Self {
            at: slot.slot,
            missed_from: slot.missed_from,
            by_request: slot.by_request,
            settled_at: slot.settled_at,
            job_id: slot.job_id,
            job_state: slot.job_state,
        }
    }
}
