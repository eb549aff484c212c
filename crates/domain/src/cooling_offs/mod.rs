//! Cooling-off: for a while this person does not get this lead. A hard constraint in routing and for calls.
//!
//! Its end is a durable wake-up, and does not depend on it: a cooling-off whose time is over binds nobody, whether
//! the wake-up has come or not.

mod store;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::event::Event;
use crate::nouns::{CoolingOffId, LeadId, PoolId, UserId};
use crate::uow::Uow;

/// A cooling-off that binds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoolingOff {
    /// The row.
    pub id: Uuid,
    /// Who does not get the lead.
    pub user_id: Uuid,
    /// Their display name.
    pub user_name: String,
    /// The status that opened it.
    pub reason: String,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
}

/// Opens one for so many days and records [`Event::CoolingOffOpened`].
pub(crate) async fn open(
    uow: &mut Uow,
    lead: LeadId,
    user: UserId,
    reason: &str,
    days: i16,
) -> Result<(), sqlx::Error> {
    let (cooling_off, now) = (CoolingOffId::new(), uow.now());
    let until = now + TimeDelta::days(i64::from(days));
    store::insert(uow.conn(), cooling_off, (lead, user), reason, (now, until)).await?;
    uow.record(Event::CoolingOffOpened { cooling_off, lead, user, reason: reason.to_owned(), until });
    Ok(())
}

/// Ends one whose time has come, and records [`Event::CoolingOffEnded`], which names the pool when the lead waits
/// there for an agent. `false` when it has ended already or its time has not come.
pub async fn expire(uow: &mut Uow, cooling_off: CoolingOffId) -> Result<bool, sqlx::Error> {
    let now = uow.now();
    let Some(ended) = store::end(uow.conn(), cooling_off, now).await? else { return Ok(false) };
    uow.record(Event::CoolingOffEnded {
        lead: LeadId::from_uuid(ended.lead_id),
        user: UserId::from_uuid(ended.user_id),
        waits_in: ended.waits_in.map(PoolId::from_uuid),
    });
    Ok(true)
}

/// When the cooling-off ends that binds this person for this lead now.
pub async fn find_until(
    conn: &mut PgConnection,
    lead: LeadId,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    store::find_until(conn, lead, user, now).await
}

/// What binds now, of one lead.
pub async fn list_of_lead(
    conn: &mut PgConnection,
    lead: LeadId,
    now: DateTime<Utc>,
) -> Result<Vec<CoolingOff>, sqlx::Error> {
    store::list_of_lead(conn, lead, now).await
}

/// Who does not get these leads now: lead -> users, in id order.
pub(crate) async fn list_users(
    conn: &mut PgConnection,
    leads: &[Uuid],
    now: DateTime<Utc>,
) -> Result<HashMap<Uuid, Vec<UserId>>, sqlx::Error> {
    let mut users: HashMap<Uuid, Vec<UserId>> = HashMap::new();
    for (lead, user) in store::list_pairs(conn, leads, now).await? {
        users.entry(lead).or_default().push(UserId::from_uuid(user));
    }
    Ok(users)
}
