//! The catalogue of statuses: labels, what entering one does, and what may follow it.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use sira_domain::leads::{self, Status};
use utoipa::ToSchema;

use super::auth::Caller;
use super::calls::Label;
use super::problem::ApiError;
use super::state::App;

/// One status.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    #[schema(example = "interested")]
    code: String,
    label: Label,
    /// `lead`, `contacted`, `qualified`, `proposal`, `sale` or `lost`.
    stage: String,
    /// No further work.
    terminal: bool,
    /// The change wants a reason.
    needs_reason: bool,
    /// The lead leaves its owner and goes to the administrators.
    takes_owner: bool,
    /// For so many days the owner that it leaves does not get it again.
    cooling_off_days: i16,
    /// The promise that a lead in this status is under.
    sla_policy: Option<String>,
    /// What may follow it, for the caller.
    allowed_transitions: Vec<String>,
}

/// All statuses, in their order, with what the caller may change each into.
#[utoipa::path(get, path = "/statuses", operation_id = "list_statuses", tag = "leads", responses(
    (status = 200, description = "The catalogue", body = Vec<StatusView>),
))]
pub async fn list_statuses(
    State(app): State<App>,
    Caller(user): Caller,
) -> Result<Json<Vec<StatusView>>, ApiError> {
    let mut conn = app.cx.db.read().await?;
    let statuses = leads::list_statuses(&mut conn).await?;
    let codes: Vec<&str> = statuses.iter().map(|status| status.code.as_str()).collect();
    let allowed = leads::list_allowed_of(&mut conn, &codes, Some(user.role)).await?;
    let view = |status: Status| {
        let follow = allowed.iter().filter(|(from, _)| *from == status.code);
        let follow = follow.map(|(_, to)| to.clone()).collect();
        view(status, follow)
    };
    Ok(Json(statuses.into_iter().map(view).collect()))
}

fn view(status: Status, allowed_transitions: Vec<String>) -> StatusView {
    StatusView {
        code: status.code,
        label: Label { tr: status.label_tr, en: status.label_en },
        stage: status.stage,
        terminal: status.terminal,
        needs_reason: status.needs_reason,
        takes_owner: status.takes_owner,
        cooling_off_days: status.cooling_off_days,
        sla_policy: status.sla_policy,
        allowed_transitions,
    }
}
