//! SQL of an arriving lead.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::campaigns::OriginIds;
use crate::leads::NewLead;
use crate::leads::prepare::{Kind, Prepared};
use crate::nouns::{AdId, AdSetId, CampaignId, FormId, InboundId, LeadId, PoolId};

/// A lead that was locked for a join.
pub struct Current {
    pub status: String,
    pub status_since: DateTime<Utc>,
    pub terminal: bool,
}

// Stands for a unique key over e-mails: two leads without a phone and with one address meet here. The number is
// the beginning of the blind index; a clash of two addresses costs a wait and nothing else.
pub async fn lock_emails(conn: &mut PgConnection, indexes: &[&[u8]]) -> Result<(), sqlx::Error> {
    let mut locks: Vec<i64> = indexes.iter().map(|index| first_number(index)).collect();
    locks.sort_unstable();
    for lock in locks {
        sqlx::query!("select pg_advisory_xact_lock($1)", lock).execute(&mut *conn).await?;
    }
    Ok(())
}

fn first_number(index: &[u8]) -> i64 {
    let (head, _) = index.split_first_chunk::<8>().expect("a blind index has 32 bytes");
    i64::from_be_bytes(*head)
}

/// Inserts the contacts that nobody has; answers how many those were.
pub async fn insert_contacts(
    conn: &mut PgConnection,
    prepared: &Prepared,
    is_test: bool,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let contacts = &prepared.contacts;
    let ids: Vec<Uuid> = contacts.iter().map(|c| c.id).collect();
    let kinds: Vec<&str> = contacts.iter().map(|c| c.kind.code()).collect();
    let masked: Vec<&str> = contacts.iter().map(|c| c.masked.as_str()).collect();
    let sealed: Vec<&[u8]> = contacts.iter().map(|c| c.sealed.as_slice()).collect();
    let indexes: Vec<&[u8]> = contacts.iter().map(|c| c.blind_index.as_slice()).collect();
    let done = sqlx::query!(
        "insert into lead_contacts (id, lead_id, kind, masked, sealed, blind_index, is_test, created_at)
         select id, $1, kind, masked, sealed, blind_index, $2, $3
         from unnest($4::uuid[], $5::text[], $6::text[], $7::bytea[], $8::bytea[])
             as contact (id, kind, masked, sealed, blind_index)
         on conflict do nothing",
        prepared.lead.uuid(),
        is_test,
        now,
        &ids,
        &kinds as &[&str],
        &masked as &[&str],
        &sealed as &[&[u8]],
        &indexes as &[&[u8]],
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// `false` when the reference is taken.
pub async fn insert_lead(
    conn: &mut PgConnection,
    lead: &NewLead,
    prepared: &Prepared,
    origin: &OriginIds,
    reference: &str,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "insert into leads (id, reference, channel, acquired_at, created_at, updated_at, status, status_since,
             pool_id, waiting_since, is_test, campaign_id, ad_set_id, ad_id, form_id, country, language,
             name_masked, name_sealed)
         values ($1, $2, $3, $4, $5, $5, $6, $5, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
         on conflict on constraint leads_reference_key do nothing",
        prepared.lead.uuid(),
        reference,
        lead.channel.code(),
        lead.acquired_at,
        now,
        crate::leads::arrival::FIRST_STATUS,
        origin.pool.uuid(),
        (!lead.is_test).then_some(now),
        lead.is_test,
        origin.campaign.map(CampaignId::uuid),
        origin.ad_set.map(AdSetId::uuid),
        origin.ad.map(AdId::uuid),
        origin.form.map(FormId::uuid),
        lead.country,
        lead.language,
        prepared.name_masked,
        prepared.name_sealed,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

// Locked so that open or closed, and the owner, stay as they are read until the enquiry is written.
pub async fn lock_lead(conn: &mut PgConnection, id: LeadId) -> Result<Option<Current>, sqlx::Error> {
    sqlx::query_as!(
        Current,
        "select lead.status, lead.status_since, status.terminal
         from leads lead join statuses status on status.code = lead.status
         where lead.id = $1 and not lead.is_test
         for update of lead",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await
}

/// Whether the lead still has one of the contacts by which it was found.
pub async fn holds_contact(conn: &mut PgConnection, prepared: &Prepared) -> Result<bool, sqlx::Error> {
    let kind = if prepared.has_phone() { Kind::Phone } else { Kind::Email };
    sqlx::query_scalar!(
        r#"select exists (
             select from lead_contacts
             where lead_id = $1 and kind = $2 and blind_index = any($3) and not shared and not is_test
               and invalid_since is null
         ) as "held!""#,
        prepared.lead.uuid(),
        kind.code(),
        &prepared.indexes(kind) as &[&[u8]],
    )
    .fetch_one(conn)
    .await
}

/// Puts a closed lead back into the waiting queue, without an owner.
pub async fn reopen(
    conn: &mut PgConnection,
    id: LeadId,
    pool: PoolId,
    status: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update lead_assignments set ended_at = $2, end_reason = 'reopened' where lead_id = $1 and ended_at is null",
        id.uuid(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update leads
         set status = $3, status_since = $4, owner_id = null, team_id = null, pool_id = $2, queue = 'pool',
             waiting_since = $4
         where id = $1",
        id.uuid(),
        pool.uuid(),
        status,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks the lead as changed by a further enquiry; a lead that had no name yet takes this one.
pub async fn touch(
    conn: &mut PgConnection,
    prepared: &Prepared,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update leads
         set version = version + 1, updated_at = $2,
             name_masked = case when name_sealed is null then $3 else name_masked end,
             name_sealed = coalesce(name_sealed, $4)
         where id = $1",
        prepared.lead.uuid(),
        now,
        prepared.name_masked,
        prepared.name_sealed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_enquiry(
    conn: &mut PgConnection,
    lead: &NewLead,
    prepared: &Prepared,
    origin: &OriginIds,
    effect: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into lead_enquiries (id, lead_id, inbound_id, channel, acquired_at, received_at, campaign_id,
             ad_set_id, ad_id, form_id, answers_sealed, effect)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        prepared.enquiry.uuid(),
        prepared.lead.uuid(),
        lead.inbound.map(InboundId::uuid),
        lead.channel.code(),
        lead.acquired_at,
        now,
        origin.campaign.map(CampaignId::uuid),
        origin.ad_set.map(AdSetId::uuid),
        origin.ad.map(AdId::uuid),
        origin.form.map(FormId::uuid),
        prepared.answers_sealed,
        effect,
    )
    .execute(conn)
    .await?;
    Ok(())
}
