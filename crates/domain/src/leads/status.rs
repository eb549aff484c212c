//! A lead's status changes: by its version, with its history, and with what it weighs on its owner.

use sira_kernel::Id;

use super::store::status as sql;
use super::{LeadError, REASON_CHARS_MAX, store};
use crate::nouns::LeadId;
use crate::{Event, Uow, distribution};

/// What a change of status left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChanged {
    /// The lead's version now.
    pub version: i64,
    /// The status it left.
    pub from: String,
    /// The status it has.
    pub to: String,
}

/// One step of the status history; marks the ids of its rows.
pub(super) struct StatusStep<'a> {
    pub lead: LeadId,
    /// The status left and the seconds spent in it.
    pub from: Option<(&'a str, i64)>,
    pub to: &'a str,
    pub reason: Option<&'a str>,
}

pub(super) async fn insert_history(uow: &mut Uow, step: &StatusStep<'_>) -> Result<(), sqlx::Error> {
    let (now, actor) = (uow.now(), uow.actor().clone());
    sql::insert_history(uow.conn(), Id::<StatusStep<'_>>::new().uuid(), step, &actor, now).await
}

fn is_code(reason: &str) -> bool {
    (1..=REASON_CHARS_MAX).contains(&reason.len())
        && reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Moves a lead to another status and records [`Event::LeadStatusChanged`].
///
/// The change is made only at the version that the caller read. A change of the status' weight changes the load of
/// the owner, who stays the owner of a closed lead; a lead without an owner leaves the waiting queue when it is
/// closed and enters it when it is opened again. Asking for the status that the lead has changes nothing.
///
/// # Errors
/// [`LeadError::NotFound`], [`LeadError::VersionConflict`], [`LeadError::UnknownStatus`],
/// [`LeadError::ReasonNotACode`], and [`LeadError::Distribution`] when the owner of a closed lead that is opened
/// again is at capacity.
pub async fn change_status(
    uow: &mut Uow,
    lead: LeadId,
    expected_version: i64,
    to: &str,
    reason: Option<&str>,
) -> Result<StatusChanged, LeadError> {
    if !reason.is_none_or(is_code) {
        return Err(LeadError::ReasonNotACode);
    }
    let current = sql::lock(uow.conn(), lead).await?.ok_or(LeadError::NotFound)?;
    if current.version != expected_version {
        return Err(LeadError::VersionConflict { current: current.version });
    }
    let catalogue = store::list_statuses(uow.conn()).await?;
    let find = |code: &str| catalogue.iter().find(|status| status.code == code);
    let Some(target) = find(to) else {
        return Err(LeadError::UnknownStatus { allowed: catalogue.into_iter().map(|s| s.code).collect() });
    };
    let before = find(&current.status).expect("a foreign key: the lead's status is in the catalogue");
    if target.code == before.code {
        return Ok(StatusChanged { version: current.version, from: current.status, to: to.to_owned() });
    }
    let now = uow.now();
    let waits = current.owner.is_none() && !current.is_test && !target.terminal;
    let version = sql::change(uow.conn(), lead, to, waits, now).await?;
    let spent = (now - current.status_since).num_seconds();
    insert_history(uow, &StatusStep { lead, from: Some((&current.status, spent)), to, reason }).await?;
    let delta = i32::from(target.load_weight) - i32::from(before.load_weight);
    if let Some(owner) = current.owner.filter(|_| delta != 0) {
        distribution::change_load(uow, owner, delta).await?;
    }
    uow.record(Event::LeadStatusChanged { lead, from: current.status.clone(), to: to.to_owned() });
    if waits && before.terminal {
        uow.record(Event::LeadReopened { lead, pool: current.pool });
    }
    Ok(StatusChanged { version, from: current.status, to: to.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_code_and_never_a_sentence() {
        for (reason, expected) in [
            ("asked_again", true),
            ("price_too_high", true),
            ("", false),
            ("Ayşe said no", false),
            ("call +905550000017", false),
            (&"x".repeat(REASON_CHARS_MAX + 1), false),
        ] {
            assert_eq!(is_code(reason), expected, "{reason}");
        }
    }
}
