//! The auditor's search: newest first, by what an index serves.

use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::audit::seal::Recorded;
use crate::operations::bulk::is_code;

/// Most events that are read at a time: a page, and one more to tell whether there is another.
const PAGE_MAX: u16 = 201;

/// An id may be of a time so much later than its event: of when it was written, not of when the act began.
const WRITTEN_WITHIN: TimeDelta = TimeDelta::hours(1);

/// What is looked for. Everything that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// Kind and id of what it happened to.
    pub subject: Option<(String, String)>,
    /// Who: the id or the name.
    pub actor: Option<String>,
    /// `noun.verb` in the past tense.
    pub action: Option<String>,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub to: Option<DateTime<Utc>>,
}

impl Search {
    /// Whether it is made of ids and names alone, as the program writes them; then it may be kept.
    pub fn names_nobody(&self) -> bool {
        let subject = self.subject.as_ref().map(|(kind, id)| format!("{kind}:{id}"));
        let actor = self.actor.as_ref().map(|actor| format!("actor:{actor}"));
        [subject, actor, self.action.clone()].iter().flatten().all(|value| is_code(value))
    }
}

/// An event that was found.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Found {
    /// The event.
    #[sqlx(flatten)]
    pub event: Recorded,
    /// Its place among the leaves, once it is sealed.
    pub leaf: Option<i64>,
}

/// Up to `limit` events, and never more than 201, older than the one of this id.
///
/// # Errors
/// When the database refuses.
pub async fn search(
    conn: &mut PgConnection,
    search: &Search,
    before: Option<Uuid>,
    limit: u16,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "select e.id, at, actor_kind, actor, action, subject_kind, subject, body, trace_parent,
            (select leaf from audit_leaf where event_id = e.id)
        from audit_event e where true",
    );
    push_filters(&mut query, search);
    if let Some(before) = before {
        query.push(" and e.id < ").push_bind(before);
    }
    query.push(" order by e.id desc limit ").push_bind(i64::from(limit.min(PAGE_MAX)));
    // Planned for these values: which index serves it depends on them.
    query.build_query_as().persistent(false).fetch_all(conn).await
}

/// Places and bytes of those leaves of a range whose events are looked for, in their order.
pub(in crate::audit) async fn list_sealed(
    conn: &mut PgConnection,
    search: &Search,
    leaves: &Range<u64>,
) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "select leaf, record from audit_leaf l join audit_event e on e.id = l.event_id where leaf >= ",
    );
    query.push_bind(leaves.start.cast_signed()).push(" and leaf < ").push_bind(leaves.end.cast_signed());
    push_filters(&mut query, search);
    query.push(" order by leaf");
    query.build_query_as().persistent(false).fetch_all(conn).await
}

fn push_filters(query: &mut QueryBuilder<Postgres>, search: &Search) {
    if let Some((kind, id)) = &search.subject {
        query
            .push(" and subject_kind = ")
            .push_bind(kind.clone())
            .push(" and subject = ")
            .push_bind(id.clone());
    }
    if let Some(actor) = &search.actor {
        query.push(" and actor = ").push_bind(actor.clone());
    }
    if let Some(action) = &search.action {
        query.push(" and action = ").push_bind(action.clone());
    }
    // Ids begin with a time, so that their own index finds a time as well.
    if let Some(from) = search.from {
        query.push(" and at >= ").push_bind(from).push(" and e.id >= ").push_bind(first_id(from));
    }
    if let Some(to) = search.to {
        let written = first_id(to + WRITTEN_WITHIN);
        query.push(" and at < ").push_bind(to).push(" and e.id < ").push_bind(written);
    }
}

/// No id of this time is smaller.
fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}
