//! SQL of pairs of leads that may be one person, and of merging them.

use chrono::{DateTime, Utc};
use sira_kernel::Id;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::leads::reviews::State;
use crate::nouns::{LeadId, PoolId, ReviewId};

/// A row of `lead_reviews`.
pub struct ReviewRow {
    pub id: Uuid,
    pub lead_id: Uuid,
    pub other_id: Uuid,
    pub shared: String,
    pub state: String,
    pub survivor_id: Option<Uuid>,
    pub carried: Vec<Uuid>,
    pub created_at: DateTime<Utc>,
    pub decided_at: Option<DateTime<Utc>>,
}

pub async fn list(
    conn: &mut PgConnection,
    state: State,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u16,
) -> Result<Vec<ReviewRow>, sqlx::Error> {
    sqlx::query_as!(
        ReviewRow,
        "select review.id, review.lead_id, review.other_id, review.shared, review.state, review.survivor_id,
             review.carried, review.created_at, review.decided_at
         from lead_reviews review
         join leads lead on lead.id = review.lead_id
         join leads other on other.id = review.other_id
         where review.state = $1
             and ($1 <> 'open' or (lead.merged_into is null and other.merged_into is null))
             and ($2::timestamptz is null or (review.created_at, review.id) < ($2, $3::uuid))
         order by review.created_at desc, review.id desc
         limit $4",
        state.code(),
        after.map(|(at, _)| at),
        after.map(|(_, id)| id),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

pub async fn find_created_at(
    conn: &mut PgConnection,
    id: ReviewId,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!("select created_at from lead_reviews where id = $1", id.uuid())
        .fetch_optional(conn)
        .await
}

/// Contacts of one kind, each with the lead that it is asked for.
#[derive(Default)]
pub struct Asked<'a> {
    leads: Vec<Uuid>,
    indexes: Vec<&'a [u8]>,
}

impl<'a> Asked<'a> {
    pub fn is_empty(&self) -> bool {
        self.leads.is_empty()
    }

    pub fn extend(&mut self, lead: LeadId, indexes: Vec<&'a [u8]>) {
        self.leads.extend(indexes.iter().map(|_| lead.uuid()));
        self.indexes.extend(indexes);
    }
}

/// Two leads in the order of their ids, and the kind of contact that both have.
pub struct Pair {
    pub lead: Uuid,
    pub other: Uuid,
    pub shared: String,
}

/// Pairs of these leads with others that have one of the contacts; for a merged lead the one that stays. An address that more
/// than `shared_by_max` others have makes no pair.
// Contact by contact, by the index: a join may be planned over whole tables while they are small, and stay so.
pub async fn find_sharing(
    conn: &mut PgConnection,
    emails: &Asked<'_>,
    phones: &Asked<'_>,
    shared_by_max: i32,
) -> Result<Vec<Pair>, sqlx::Error> {
    sqlx::query_as!(
        Pair,
        r#"select least(pair.lead, pair.other) as "lead!", greatest(pair.lead, pair.other) as "other!",
               max(pair.shared) as "shared!"
           from (
               select asked.lead, 'email' as shared,
                   (select coalesce(merged_into, id) from leads where id = holder.lead) as other
               from unnest($1::uuid[], $2::bytea[]) as asked (lead, blind_index)
               cross join lateral (
                   select array_agg(lead_id) as leads from (
                       select lead_id from lead_contacts
                       where blind_index = asked.blind_index and kind = 'email' and not shared and not is_test
                           and lead_id <> asked.lead
                       limit $5 + 1
                   ) as holder
               ) as holders
               cross join lateral unnest(holders.leads) as holder (lead)
               where cardinality(holders.leads) <= $5
               union all
               select asked.lead, 'phone',
                   (select coalesce(merged_into, id) from leads where id = holder.lead_id)
               from unnest($3::uuid[], $4::bytea[]) as asked (lead, blind_index)
               cross join lateral (
                   select lead_id from lead_contacts
                   where blind_index = asked.blind_index and kind = 'phone' and not shared and not is_test
                       and invalid_since is null and lead_id <> asked.lead
                   limit 1
               ) as holder
           ) as pair
           where pair.lead <> pair.other
           group by 1, 2
           order by 1, 2"#,
        &emails.leads,
        &emails.indexes as &[&[u8]],
        &phones.leads,
        &phones.indexes as &[&[u8]],
        shared_by_max,
    )
    .fetch_all(conn)
    .await
}

/// Answers the pairs that nobody had proposed before.
pub async fn insert(
    conn: &mut PgConnection,
    pairs: &[Pair],
    now: DateTime<Utc>,
) -> Result<Vec<(LeadId, LeadId)>, sqlx::Error> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        "insert into lead_reviews (id, lead_id, other_id, shared, created_at)
         select id, lead, other, shared, $1
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[]) as pair (id, lead, other, shared)
         on conflict (lead_id, other_id) do nothing
         returning lead_id, other_id",
        now,
        &pairs.iter().map(|_| Id::<Pair>::new().uuid()).collect::<Vec<_>>(),
        &pairs.iter().map(|pair| pair.lead).collect::<Vec<_>>(),
        &pairs.iter().map(|pair| pair.other).collect::<Vec<_>>(),
        &pairs.iter().map(|pair| pair.shared.as_str()).collect::<Vec<_>>() as &[&str],
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.lead_id.into(), row.other_id.into())).collect())
}

/// The open pairs of one lead, as pairs of another.
pub async fn list_open_partners(
    conn: &mut PgConnection,
    of: LeadId,
    with: LeadId,
) -> Result<Vec<Pair>, sqlx::Error> {
    sqlx::query_as!(
        Pair,
        r#"select least(partner, $2) as "lead!", greatest(partner, $2) as "other!", shared as "shared!"
           from (
               select other_id as partner, shared from lead_reviews where lead_id = $1 and state = 'open'
               union all
               select lead_id, shared from lead_reviews where other_id = $1 and state = 'open'
           ) as open
           where partner <> $2
           order by 1, 2"#,
        of.uuid(),
        with.uuid(),
    )
    .fetch_all(conn)
    .await
}

// Locked so that two decisions about one pair come one after the other.
pub async fn lock(conn: &mut PgConnection, id: ReviewId) -> Result<Option<ReviewRow>, sqlx::Error> {
    sqlx::query_as!(
        ReviewRow,
        "select id, lead_id, other_id, shared, state, survivor_id, carried, created_at, decided_at
         from lead_reviews where id = $1 for update",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// A lead that was locked for a merge.
pub struct Current {
    pub id: LeadId,
    pub owner_id: Option<Uuid>,
    pub pool: PoolId,
    pub terminal: bool,
    pub load_weight: i32,
    /// It is with the administrators.
    pub queued: bool,
    pub merged_into: Option<Uuid>,
}

// Locked in the order of ids, as everybody does who locks several.
pub async fn lock_leads(conn: &mut PgConnection, ids: &[Uuid]) -> Result<Vec<Current>, sqlx::Error> {
    sqlx::query_as!(
        Current,
        r#"select lead.id, lead.owner_id, lead.pool_id as pool, status.terminal,
              status.load_weight::integer as "load_weight!", lead.queue = 'admin' as "queued!",
             lead.merged_into
           from leads lead join statuses status on status.code = lead.status
           where lead.id = any($1)
           order by lead.id
           for update of lead"#,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// Makes one lead part of another, and what was merged into it before as well; answers the latter.
pub async fn absorb(
    conn: &mut PgConnection,
    goes: LeadId,
    stays: LeadId,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let carried = sqlx::query_scalar!(
        "update leads set merged_into = $2, version = version + 1, updated_at = $3 where merged_into = $1 returning id",
        goes.uuid(),
        stays.uuid(),
        now,
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "update lead_assignments set ended_at = $2, end_reason = 'merged' where lead_id = $1 and ended_at is null",
        goes.uuid(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update leads
         set merged_into = case when id = $1 then $2::uuid end,
             owner_id = case when id <> $1 then owner_id end,
             team_id = case when id <> $1 then team_id end,
             waiting_since = case when id <> $1 then waiting_since end,
             version = version + 1, updated_at = $3
         where id in ($1, $2)",
        goes.uuid(),
        stays.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(carried)
}

/// Makes a lead one of its own again, with what went with it.
pub async fn part(
    conn: &mut PgConnection,
    (lead, root): (LeadId, LeadId),
    carried: &[Uuid],
    waits: bool,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update leads
         set merged_into = case when id = any($3) then $1::uuid end,
             waiting_since = case when id = $1 and $4 then $5 else waiting_since end,
             version = version + 1, updated_at = $5
         where id in ($1, $2) or (id = any($3) and merged_into = $2)",
        lead.uuid(),
        root.uuid(),
        carried,
        waits,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is refused for a lead and those merged into it, and not for one of them by itself, is refused for that one.
pub async fn append_refusals(
    conn: &mut PgConnection,
    root: LeadId,
    lead: LeadId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into consent_ledger (id, lead_id, channel, purpose, decision, source, at, recorded_at)
         select gen_random_uuid(), $2, whole.channel, whole.purpose, 'withdrawn', 'unmerge', $3, $3
         from (
             select distinct on (channel, purpose) channel, purpose, decision
             from consent_ledger where lead_id = any(lead_ids($1))
             order by channel, purpose, at desc, id desc
         ) as whole
         left join (
             select distinct on (channel, purpose) channel, purpose, decision
             from consent_ledger where lead_id = $2
             order by channel, purpose, at desc, id desc
         ) as own using (channel, purpose)
         where whole.decision <> 'granted' and coalesce(own.decision, 'granted') = 'granted'",
        root.uuid(),
        lead.uuid(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes what was decided; of a merge the lead that stays, and those that went with the other one.
pub async fn decide(
    conn: &mut PgConnection,
    id: ReviewId,
    state: State,
    merged: Option<(LeadId, &[Uuid])>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let (survivor, carried) = merged.unzip();
    sqlx::query!(
        "update lead_reviews set state = $2, survivor_id = $3, carried = $4, decided_at = $5 where id = $1",
        id.uuid(),
        state.code(),
        survivor.map(LeadId::uuid),
        carried.unwrap_or_default(),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
