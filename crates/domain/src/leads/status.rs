//! A lead's status changes: along the table of transitions, by its version, with its history, with what it weighs on its
//! owner, and with what entering the new status does.

use super::queue::{self, Leaving};
use super::store::status as sql;
use super::{LeadError, REASON_CHARS_MAX, Status, store};
use crate::identity::{Permission, Role};
use crate::nouns::LeadId;
use crate::{Event, Uow, consents, cooling_offs, distribution, sla};

/// A change that is asked for.
#[derive(Debug, Clone, Copy)]
pub struct StatusChange<'a> {
    /// The lead.
    pub lead: LeadId,
    /// The version that the caller read; `None`: whichever it is at.
    pub expected_version: Option<i64>,
    /// The status to go to.
    pub to: &'a str,
    /// A code.
    pub reason: Option<&'a str>,
    /// The caller's role; `None`: the product itself, which may do what the table allows anybody.
    pub role: Option<Role>,
}

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

pub(super) async fn insert_history(uow: &mut Uow, steps: &[StatusStep<'_>]) -> Result<(), sqlx::Error> {
    let (now, actor) = (uow.now(), uow.actor().clone());
    sql::insert_history(uow.conn(), steps, &actor, now).await
}

fn is_code(reason: &str) -> bool {
    (1..=REASON_CHARS_MAX).contains(&reason.len())
        && reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Moves a lead to another status and records [`Event::LeadStatusChanged`].
///
/// The change is made only at the version that the caller read, and only along the table of transitions. A change of the
/// status' weight changes the load of the owner, who stays the owner of a closed lead; a lead without an owner leaves
/// the waiting queue when it is closed and enters it when it is opened again. Entering some statuses does more: see the
/// catalogue. It keeps the promises about the lead, and begins those of the new status. Asking for the status that the
/// lead has changes nothing.
///
/// # Errors
/// [`LeadError::NotFound`], [`LeadError::Merged`], [`LeadError::VersionConflict`], [`LeadError::UnknownStatus`],
/// [`LeadError::TransitionNotAllowed`], [`LeadError::ReasonRequired`], [`LeadError::ReasonNotACode`],
/// [`LeadError::Uncontactable`] when it would leave the administrators' queue with a wrong number, and
/// [`LeadError::Distribution`] when the owner of a closed lead that is opened again is at capacity.
pub async fn change_status(uow: &mut Uow, change: &StatusChange<'_>) -> Result<StatusChanged, LeadError> {
    let StatusChange { lead, to, reason, .. } = *change;
    if !reason.is_none_or(is_code) {
        return Err(LeadError::ReasonNotACode);
    }
    let current = sql::lock(uow.conn(), lead).await?.ok_or(LeadError::NotFound)?;
    if let Some(into) = current.merged_into {
        return Err(LeadError::Merged { into });
    }
    if change.expected_version.is_some_and(|expected| expected != current.version) {
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
    let allowed = list_allowed(uow.conn(), &current.status, change.role).await?;
    if !allowed.iter().any(|code| code == to) {
        return Err(LeadError::TransitionNotAllowed { allowed });
    }
    if target.needs_reason && reason.is_none() {
        return Err(LeadError::ReasonRequired);
    }
    if current.queued && !target.terminal {
        queue::check_contactable(uow, lead).await?;
    }
    let version = write(uow, change, &current, before, target).await?;
    sla::satisfy_by_status(uow, lead).await?;
    enter(uow, lead, &current, target).await?;
    sla::start(uow, &[lead]).await?;
    Ok(StatusChanged { version, from: current.status, to: to.to_owned() })
}

/// What may follow this status for this role, in the order of the catalogue; `None`: for the product itself.
pub async fn list_allowed(
    conn: &mut sqlx::PgConnection,
    from: &str,
    role: Option<Role>,
) -> Result<Vec<String>, sqlx::Error> {
    Ok(list_allowed_of(conn, &[from], role).await?.into_iter().map(|(_, to)| to).collect())
}

/// The same of several statuses: from, to.
pub async fn list_allowed_of(
    conn: &mut sqlx::PgConnection,
    from: &[&str],
    role: Option<Role>,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    let transitions = sql::list_transitions(conn, from).await?;
    let may = |permission: &str| {
        let wanted = Permission::ALL.into_iter().find(|known| known.as_str() == permission);
        role.is_none_or(|role| wanted.is_some_and(|wanted| role.can(wanted)))
    };
    let allowed = transitions.into_iter().filter(|row| may(&row.permission));
    Ok(allowed.map(|row| (row.from_status, row.to_status)).collect())
}

/// The row, its history, the owner's load, the event.
async fn write(
    uow: &mut Uow,
    change: &StatusChange<'_>,
    current: &sql::Current,
    before: &Status,
    target: &Status,
) -> Result<i64, LeadError> {
    let (lead, now) = (change.lead, uow.now());
    let waits = current.owner.is_none() && !current.is_test && !target.terminal && !target.takes_owner;
    let version = sql::change(uow.conn(), lead, &target.code, waits, now).await?;
    let spent = (now - current.status_since).num_seconds();
    let from = Some((current.status.as_str(), spent));
    insert_history(uow, &[StatusStep { lead, from, to: &target.code, reason: change.reason }]).await?;
    let delta = i32::from(target.load_weight) - i32::from(before.load_weight);
    if let Some(owner) = current.owner.filter(|_| delta != 0) {
        distribution::change_load(uow, owner, delta).await?;
    }
    uow.record(Event::LeadStatusChanged { lead, from: current.status.clone(), to: target.code.clone() });
    if current.queued {
        uow.record(Event::LeadUnqueued { lead });
    }
    if waits && before.terminal {
        uow.record(Event::LeadReopened { lead, pool: current.pool });
    } else if waits && current.queued {
        uow.record(Event::LeadRedistributed { lead, pool: current.pool });
    }
    Ok(version)
}

/// What entering a status does besides.
async fn enter(
    uow: &mut Uow,
    lead: LeadId,
    current: &sql::Current,
    target: &Status,
) -> Result<(), LeadError> {
    if target.spoils_phone {
        let now = uow.now();
        sql::spoil_phone(uow.conn(), lead, now).await?;
    }
    if let Some(channel) = target.suppresses.as_deref().and_then(consents::Channel::parse) {
        consents::suppress(uow, lead, channel, &target.code).await?;
        uow.record(Event::ChannelSuppressed { lead, channel, reason: target.code.clone() });
    }
    if !target.takes_owner || current.is_test {
        return Ok(());
    }
    if let Some(owner) = current.owner.filter(|_| target.cooling_off_days > 0) {
        cooling_offs::open(uow, lead, owner, &target.code, target.cooling_off_days).await?;
    }
    let release_at = target.redistribute_after(uow.now());
    let leaving = Leaving { lead, owner: current.owner, load: target.load_weight };
    queue::enter(uow, &leaving, &target.code, release_at).await
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
