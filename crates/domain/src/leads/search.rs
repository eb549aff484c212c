//! Lists of leads: filtered, in the caller's scope, newest first, paged by key. Rows show masked forms only.
//!
//! **Invariant:** a page is bounded, and reading on from a position misses nothing that was there when the reading
//! began: new leads appear before the first page, never between two.

use chrono::{DateTime, Utc};
use sira_kernel::{EmailAddress, PersonName, PhoneNumber};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::Channel;
use crate::nouns::{LeadId, PoolId, TeamId, UserId};
use crate::privacy::{BlindField, Cipher};
use crate::sla::SlaColumns;

/// Most rows in one page.
pub const PAGE_MAX: u16 = 200;

/// Which leads the caller may see at all. What is out of scope does not exist for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every lead.
    All,
    /// The leads of one team.
    Team(TeamId),
    /// One's own leads.
    Own(UserId),
}

/// What to list; an empty filter lists everything in scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these statuses; empty means any.
    pub statuses: Vec<String>,
    /// With this owner.
    pub owner: Option<UserId>,
    /// Of this team.
    pub team: Option<TeamId>,
    /// Created at or after.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before.
    pub created_to: Option<DateTime<Utc>>,
    /// Waiting for an agent, or not.
    pub waiting: Option<bool>,
    /// Through this door.
    pub channel: Option<Channel>,
    /// With the administrators, or not.
    pub queued: Option<bool>,
    /// Of this person.
    pub person: Person,
}

/// What is known of a person who is looked for, as keyed hashes: all of it must be theirs. What was merged into a lead counts
/// as its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Person {
    /// Words of the name.
    pub name: Vec<i64>,
    /// The phone number.
    pub phone: Option<[u8; 32]>,
    /// The e-mail address.
    pub email: Option<[u8; 32]>,
}

impl Person {
    /// Of these words, this number and this address.
    pub fn new(
        cipher: &Cipher,
        name: Option<&PersonName>,
        phone: Option<&PhoneNumber>,
        email: Option<&EmailAddress>,
    ) -> Self {
        Self {
            name: name.map(|name| name_tokens(cipher, name)).unwrap_or_default(),
            phone: phone.map(|phone| cipher.blind_index(BlindField::Phone, phone.e164())),
            email: email.map(|email| cipher.blind_index(BlindField::Email, email.as_str())),
        }
    }

    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The words under which a name is found: the first 64 bits of their keyed hashes.
pub(super) fn name_tokens(cipher: &Cipher, name: &PersonName) -> Vec<i64> {
    let token = |word: &String| {
        let index = cipher.blind_index(BlindField::Name, word);
        let (head, _) = index.split_first_chunk().expect("a blind index has 32 bytes");
        i64::from_be_bytes(*head)
    };
    name.search_tokens().iter().map(token).collect()
}

/// A place in the list: that of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the row was created.
    pub created_at: DateTime<Utc>,
    /// The row.
    pub id: LeadId,
}

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The newest.
    First,
    /// The rows after this one: older.
    After(Position),
    /// The rows before this one: newer, the nearest.
    Before(Position),
}

/// A lead as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LeadRow {
    /// The lead.
    #[sqlx(try_from = "Uuid")]
    pub id: LeadId,
    /// For people: `L-7K3M-92QX`.
    pub reference: String,
    /// The status' code.
    pub status: String,
    /// Since when it has it.
    pub status_since: DateTime<Utc>,
    /// The owner's id.
    pub owner_id: Option<Uuid>,
    /// The owner's display name.
    pub owner_name: Option<String>,
    /// The team's id.
    pub team_id: Option<Uuid>,
    /// The team's name.
    pub team_name: Option<String>,
    /// The pool.
    #[sqlx(try_from = "Uuid")]
    pub pool_id: PoolId,
    /// The door's stored name.
    pub channel: String,
    /// The campaign's name.
    pub campaign_name: Option<String>,
    /// When the person asked first.
    pub acquired_at: DateTime<Utc>,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
    /// Grows by one at each change.
    pub version: i64,
    /// Sent by a testing tool.
    pub is_test: bool,
    /// Since when it waits for an agent.
    pub waiting_since: Option<DateTime<Utc>>,
    /// The lead that it was merged into.
    pub merged_into: Option<Uuid>,
    /// Where it is without an owner: `pool`, or with the administrators, `admin`.
    pub queue: String,
    /// Masked name.
    pub name_masked: Option<String>,
    /// Masked first phone number.
    pub phone_masked: Option<String>,
    /// Masked first e-mail address.
    pub email_masked: Option<String>,
    /// The promise that it is under.
    #[sqlx(flatten)]
    pub sla: SlaColumns,
}

impl LeadRow {
    /// Its place in the list.
    pub fn position(&self) -> Position {
        Position { created_at: self.created_at, id: self.id }
    }
}

/// A page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<LeadRow>,
    /// Where older rows go on, when there are any.
    pub next: Option<Position>,
    /// Where newer rows are, when there may be any.
    pub prev: Option<Position>,
}

const COLUMNS: &str = "select lead.id, lead.reference, lead.status, lead.status_since, lead.owner_id,
         owner.display_name as owner_name, lead.team_id, team.name as team_name, lead.pool_id, lead.channel,
         campaign.name as campaign_name, lead.acquired_at, lead.created_at, lead.updated_at, lead.version,
         lead.is_test, lead.waiting_since, lead.queue,
         coalesce(lead.name_masked, (select name_masked from leads where merged_into = lead.id and name_masked is not null
                                     order by id limit 1)) as name_masked,
         sla.policy as sla_policy, sla.due_at as sla_due_at, sla.paused_until as sla_paused_until,
         sla.breached_at as sla_breached_at, sla.reminded as sla_reminded, sla.left_s as sla_left_s,
         lead.merged_into,
         (select contact.masked from lead_contacts contact
          where contact.kind = 'phone' and contact.lead_id in (
              select lead.id union all select merged.id from leads merged where merged.merged_into = lead.id)
          order by contact.invalid_since is not null, contact.id limit 1) as phone_masked,
         (select contact.masked from lead_contacts contact
          where contact.kind = 'email' and contact.lead_id in (
              select lead.id union all select merged.id from leads merged where merged.merged_into = lead.id)
          order by contact.id limit 1) as email_masked
     from leads lead
     left join users owner on owner.id = lead.owner_id
     left join teams team on team.id = lead.team_id
     left join campaigns campaign on campaign.id = lead.campaign_id
     left join lateral (
         select timer.policy, timer.due_at, timer.paused_until, timer.breached_at, timer.done_until_s > 0 as reminded,
             policy.due_s - timer.consumed_s as left_s
         from sla_timers timer join sla_policies policy on policy.code = timer.policy
         where timer.lead_id = lead.id and timer.ended_at is null
         order by timer.due_at limit 1
     ) sla on true
     where true";

/// Lists at most `limit` leads (and at most [`PAGE_MAX`]) of the scope that the filter lets through. Leads that were merged
/// into another are not listed.
pub async fn search(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &Filter,
    seek: Seek,
    limit: u16,
) -> Result<Page, sqlx::Error> {
    let limit = usize::from(limit.clamp(1, PAGE_MAX));
    let mut query = QueryBuilder::new(COLUMNS);
    push_scope(&mut query, scope);
    query.push(" and lead.merged_into is null");
    push_filter(&mut query, filter);
    push_seek(&mut query, seek, limit + 1);
    let mut rows: Vec<LeadRow> = query.build_query_as().fetch_all(conn).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let (newer, older) = match seek {
        Seek::First => (false, more),
        Seek::After(_) => (true, more),
        Seek::Before(_) => {
            rows.reverse();
            (more, true)
        }
    };
    let next = rows.last().filter(|_| older).map(LeadRow::position);
    let prev = rows.first().filter(|_| newer).map(LeadRow::position);
    Ok(Page { rows, next, prev })
}

/// One lead as lists show it, if it is in scope.
pub async fn find(conn: &mut PgConnection, scope: Scope, id: LeadId) -> Result<Option<LeadRow>, sqlx::Error> {
    let mut query = QueryBuilder::new(COLUMNS);
    push_scope(&mut query, scope);
    query.push(" and lead.id = ").push_bind(id.uuid());
    query.build_query_as().fetch_optional(conn).await
}

/// These leads as lists show them, whoever may see them; in no order.
pub(super) async fn list(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<LeadRow>, sqlx::Error> {
    let mut query = QueryBuilder::new(COLUMNS);
    query.push(" and lead.id = any(").push_bind(ids.to_vec()).push(")");
    query.build_query_as().fetch_all(conn).await
}

fn push_scope(query: &mut QueryBuilder<Postgres>, scope: Scope) {
    match scope {
        Scope::All => {}
        Scope::Team(team) => {
            query.push(" and lead.team_id = ").push_bind(team.uuid());
        }
        Scope::Own(user) => {
            query.push(" and lead.owner_id = ").push_bind(user.uuid());
        }
    }
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    if !filter.statuses.is_empty() {
        query.push(" and lead.status = any(").push_bind(filter.statuses.clone()).push(")");
    }
    if let Some(owner) = filter.owner {
        query.push(" and lead.owner_id = ").push_bind(owner.uuid());
    }
    if let Some(team) = filter.team {
        query.push(" and lead.team_id = ").push_bind(team.uuid());
    }
    if let Some(from) = filter.created_from {
        query.push(" and lead.created_at >= ").push_bind(from);
    }
    if let Some(to) = filter.created_to {
        query.push(" and lead.created_at < ").push_bind(to);
    }
    if let Some(waiting) = filter.waiting {
        query.push(if waiting {
            " and lead.waiting_since is not null"
        } else {
            " and lead.waiting_since is null"
        });
    }
    if let Some(queued) = filter.queued {
        query.push(if queued { " and lead.queue = 'admin'" } else { " and lead.queue = 'pool'" });
    }
    if let Some(channel) = filter.channel {
        query.push(" and lead.channel = ").push_bind(channel.code());
    }
    push_person(query, &filter.person);
}

fn push_person(query: &mut QueryBuilder<Postgres>, person: &Person) {
    if !person.name.is_empty() {
        query
            .push(" and lead.id in (select coalesce(merged_into, id) from leads where name_tokens @> ")
            .push_bind(person.name.clone())
            .push(")");
    }
    for (kind, index) in [("phone", person.phone), ("email", person.email)] {
        let Some(index) = index else { continue };
        query
            .push(" and lead.id in (select coalesce(own.merged_into, own.id) from lead_contacts contact")
            .push(" join leads own on own.id = contact.lead_id where contact.blind_index = ")
            .push_bind(index.to_vec())
            // Written out, so that the partial index of the kind is used.
            .push(format!(" and contact.kind = '{kind}')"));
    }
}

fn push_seek(query: &mut QueryBuilder<Postgres>, seek: Seek, limit: usize) {
    let (comparison, position, order) = match seek {
        Seek::First => ("", None, "desc"),
        Seek::After(position) => ("<", Some(position), "desc"),
        Seek::Before(position) => (">", Some(position), "asc"),
    };
    if let Some(position) = position {
        query.push(" and (lead.created_at, lead.id) ").push(comparison).push(" (");
        query.push_bind(position.created_at).push(", ").push_bind(position.id.uuid()).push(")");
    }
    query.push(" order by lead.created_at ").push(order).push(", lead.id ").push(order);
    query.push(" limit ").push_bind(limit as i64);
}
