//! SQL of arriving leads, many in one statement.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::campaigns::OriginIds;
use crate::leads::arrival::{Arrival, Arriving};
use crate::leads::prepare::{Contact, Kind, Prepared};
use crate::nouns::{AdId, AdSetId, CampaignId, FormId, ImportId, InboundId, LeadId, PoolId};

/// A lead that was locked for a join.
pub struct Current {
    pub id: LeadId,
    pub status: String,
    pub status_since: DateTime<Utc>,
    pub terminal: bool,
}

// Stands for a unique key over e-mails: two leads without a phone and with one address meet here. The number is
// the beginning of the blind index; a clash of two addresses costs a wait and nothing else.
pub async fn lock_emails(conn: &mut PgConnection, indexes: &[&[u8]]) -> Result<(), sqlx::Error> {
    let mut locks: Vec<i64> = indexes.iter().map(|index| first_number(index)).collect();
    locks.sort_unstable();
    locks.dedup();
    if locks.is_empty() {
        return Ok(());
    }
    sqlx::query!("select pg_advisory_xact_lock(place) from unnest($1::bigint[]) as place", &locks)
        .execute(conn)
        .await?;
    Ok(())
}

fn first_number(index: &[u8]) -> i64 {
    let (head, _) = index.split_first_chunk::<8>().expect("a blind index has 32 bytes");
    i64::from_be_bytes(*head)
}

/// Inserts the contacts that nobody has; answers how many those were.
pub async fn insert_contacts(
    conn: &mut PgConnection,
    arriving: &[Arriving<'_>],
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let mut contacts: Vec<(&Contact, &Arriving<'_>)> = arriving
        .iter()
        .flat_map(|one| one.prepared.contacts.iter().map(move |contact| (contact, one)))
        .collect();
    // In one order for all batches.
    contacts.sort_by_key(|(contact, _)| (contact.kind, contact.blind_index));
    let ids: Vec<Uuid> = contacts.iter().map(|(c, _)| c.id).collect();
    let leads: Vec<Uuid> = contacts.iter().map(|(_, one)| one.prepared.lead.uuid()).collect();
    let tests: Vec<bool> = contacts.iter().map(|(_, one)| one.lead.is_test).collect();
    let kinds: Vec<&str> = contacts.iter().map(|(c, _)| c.kind.code()).collect();
    let masked: Vec<&str> = contacts.iter().map(|(c, _)| c.masked.as_str()).collect();
    let sealed: Vec<&[u8]> = contacts.iter().map(|(c, _)| c.sealed.as_slice()).collect();
    let indexes: Vec<&[u8]> = contacts.iter().map(|(c, _)| c.blind_index.as_slice()).collect();
    let can_text: Vec<bool> = contacts.iter().map(|(c, _)| c.can_text).collect();
    let done = sqlx::query!(
        "insert into lead_contacts (id, lead_id, kind, masked, sealed, blind_index, is_test, can_text, created_at)
         select id, lead_id, kind, masked, sealed, blind_index, is_test, can_text, $1
         from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bool[], $9::bool[])
             as contact (id, lead_id, kind, masked, sealed, blind_index, is_test, can_text)
         on conflict do nothing",
        now,
        &ids,
        &leads,
        &kinds as &[&str],
        &masked as &[&str],
        &sealed as &[&[u8]],
        &indexes as &[&[u8]],
        &tests,
        &can_text,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

// As PostgreSQL reads an array: `unnest` would flatten arrays of arrays.
fn array_of_tokens(prepared: &Prepared) -> Option<String> {
    let tokens: Vec<String> = prepared.name_tokens.iter().map(ToString::to_string).collect();
    (!tokens.is_empty()).then(|| format!("{{{}}}", tokens.join(",")))
}

/// Answers which leads went in: those whose reference was free.
pub async fn insert_leads(
    conn: &mut PgConnection,
    new: &[(Arriving<'_>, OriginIds)],
    references: &[String],
    now: DateTime<Utc>,
) -> Result<HashSet<LeadId>, sqlx::Error> {
    let leads = || new.iter().map(|(one, _)| one.lead);
    let prepared = || new.iter().map(|(one, _)| one.prepared);
    let origins = || new.iter().map(|(_, origin)| origin);
    let inserted = sqlx::query_scalar!(
        "insert into leads (id, reference, channel, acquired_at, created_at, updated_at, status, status_since,
             pool_id, waiting_since, is_test, campaign_id, ad_set_id, ad_id, form_id, country, language,
             name_masked, name_sealed, name_tokens)
         select id, reference, channel, acquired_at, $1, $1, $2, $1, pool_id, case when not is_test then $1::timestamptz end,
             is_test, campaign_id, ad_set_id, ad_id, form_id, country, language, name_masked, name_sealed,
             name_tokens::bigint[]
         from unnest($3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::uuid[], $8::bool[], $9::uuid[],
                 $10::uuid[], $11::uuid[], $12::uuid[], $13::text[], $14::text[], $15::text[], $16::bytea[], $17::text[])
             as lead (id, reference, channel, acquired_at, pool_id, is_test, campaign_id, ad_set_id, ad_id, form_id,
                 country, language, name_masked, name_sealed, name_tokens)
         on conflict on constraint leads_reference_key do nothing
         returning id",
        now,
        crate::leads::arrival::FIRST_STATUS,
        &prepared().map(|p| p.lead.uuid()).collect::<Vec<_>>(),
        references,
        &leads().map(|lead| lead.channel.code()).collect::<Vec<_>>() as &[&str],
        &leads().map(|lead| lead.acquired_at).collect::<Vec<_>>(),
        &origins().map(|origin| origin.pool.uuid()).collect::<Vec<_>>(),
        &leads().map(|lead| lead.is_test).collect::<Vec<_>>(),
        &origins().map(|origin| origin.campaign.map(CampaignId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &origins().map(|origin| origin.ad_set.map(AdSetId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &origins().map(|origin| origin.ad.map(AdId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &origins().map(|origin| origin.form.map(FormId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &leads().map(|lead| lead.country.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &leads().map(|lead| lead.language.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &prepared().map(|p| p.name_masked.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &prepared().map(|p| p.name_sealed.as_deref()).collect::<Vec<_>>() as &[Option<&[u8]>],
        &prepared().map(array_of_tokens).collect::<Vec<_>>() as &[Option<String>],
    )
    .fetch_all(conn)
    .await?;
    Ok(inserted.into_iter().map(LeadId::from_uuid).collect())
}

// Locked so that open or closed, and the owner, stay as they are read until the enquiry is written; in the order of
// ids, as everybody does who locks several.
pub async fn lock_leads(conn: &mut PgConnection, ids: &HashSet<LeadId>) -> Result<Vec<Current>, sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query_as!(
        Current,
        "select lead.id, lead.status, lead.status_since, status.terminal
         from leads lead join statuses status on status.code = lead.status
         where lead.id = any($1) and not lead.is_test and lead.merged_into is null
         order by lead.id
         for update of lead",
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// How many of these leads still have one of the contacts by which they were found.
pub async fn count_held(conn: &mut PgConnection, arriving: &[Arriving<'_>]) -> Result<u64, sqlx::Error> {
    let (mut places, mut leads, mut kinds, mut indexes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, prepared) in (0_i64..).zip(arriving.iter().map(|one| one.prepared)) {
        let kind = deciding_kind(prepared);
        for index in prepared.indexes(kind) {
            places.push(place);
            leads.push(prepared.lead.uuid());
            kinds.push(kind.code());
            indexes.push(index);
        }
    }
    let held = sqlx::query_scalar!(
        r#"select count(distinct asked.place) as "held!"
         from unnest($1::bigint[], $2::uuid[], $3::text[], $4::bytea[]) as asked (place, lead_id, kind, blind_index)
         where exists (
                 select from lead_contacts own
                 where own.lead_id = asked.lead_id and own.kind = asked.kind
                     and own.blind_index = asked.blind_index
                     and not own.shared and not own.is_test and own.invalid_since is null
             ) or exists (
                 select from leads merged join lead_contacts own on own.lead_id = merged.id
                 where merged.merged_into = asked.lead_id and own.kind = asked.kind
                     and own.blind_index = asked.blind_index
                     and not own.shared and not own.is_test and own.invalid_since is null
             )"#,
        &places,
        &leads,
        &kinds as &[&str],
        &indexes as &[&[u8]],
    )
    .fetch_one(conn)
    .await?;
    Ok(held.cast_unsigned())
}

fn deciding_kind(prepared: &Prepared) -> Kind {
    if prepared.has_phone() { Kind::Phone } else { Kind::Email }
}

/// Puts closed leads back into the waiting queues of these pools, without an owner.
pub async fn reopen(
    conn: &mut PgConnection,
    leads: &[(LeadId, PoolId)],
    status: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = leads.iter().map(|(lead, _)| lead.uuid()).collect();
    let pools: Vec<Uuid> = leads.iter().map(|(_, pool)| pool.uuid()).collect();
    sqlx::query!(
        "update lead_assignments set ended_at = $2, end_reason = 'reopened'
         where lead_id = any($1) and ended_at is null",
        &ids,
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "update leads
         set status = $3, status_since = $4, owner_id = null, team_id = null, pool_id = reopened.pool_id,
             queue = 'pool', waiting_since = $4
         from unnest($1::uuid[], $2::uuid[]) as reopened (id, pool_id)
         where leads.id = reopened.id",
        &ids,
        &pools,
        status,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks leads as changed by further enquiries; one that had no name yet takes the first one given.
pub async fn touch(
    conn: &mut PgConnection,
    arriving: &[Arriving<'_>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let prepared = || arriving.iter().map(|one| one.prepared);
    sqlx::query!(
        "update leads
         set version = version + asked.times, updated_at = $1,
             name_masked = case when name_sealed is null then asked.masked else name_masked end,
             name_tokens = case when name_sealed is null then asked.tokens::bigint[] else name_tokens end,
             name_sealed = coalesce(name_sealed, asked.sealed)
         from (
             select id, count(*) as times,
                 (array_agg(masked order by place) filter (where sealed is not null))[1] as masked,
                 (array_agg(sealed order by place) filter (where sealed is not null))[1] as sealed,
                 (array_agg(tokens order by place) filter (where sealed is not null))[1] as tokens
             from unnest($2::uuid[], $3::text[], $4::bytea[], $5::text[]) with ordinality
                 as enquiry (id, masked, sealed, tokens, place)
             group by id
         ) as asked
         where leads.id = asked.id",
        now,
        &prepared().map(|p| p.lead.uuid()).collect::<Vec<_>>(),
        &prepared().map(|p| p.name_masked.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &prepared().map(|p| p.name_sealed.as_deref()).collect::<Vec<_>>() as &[Option<&[u8]>],
        &prepared().map(array_of_tokens).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_enquiries(
    conn: &mut PgConnection,
    all: &[(Arriving<'_>, OriginIds)],
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let leads = || all.iter().map(|(one, _)| one.lead);
    let prepared = || all.iter().map(|(one, _)| one.prepared);
    let origins = || all.iter().map(|(_, origin)| origin);
    sqlx::query!(
        "insert into lead_enquiries (id, lead_id, inbound_id, import_id, channel, acquired_at, received_at, campaign_id,
             ad_set_id, ad_id, form_id, answers_sealed, effect)
         select id, lead_id, inbound_id, import_id, channel, acquired_at, $1, campaign_id, ad_set_id, ad_id, form_id,
             answers, effect
         from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::timestamptz[], $8::uuid[],
                 $9::uuid[], $10::uuid[], $11::uuid[], $12::bytea[], $13::text[])
             as enquiry (id, lead_id, inbound_id, import_id, channel, acquired_at, campaign_id, ad_set_id, ad_id,
                 form_id, answers, effect)",
        now,
        &prepared().map(|p| p.enquiry.uuid()).collect::<Vec<_>>(),
        &prepared().map(|p| p.lead.uuid()).collect::<Vec<_>>(),
        &leads().map(|lead| lead.inbound.map(InboundId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &leads().map(|lead| lead.import.map(ImportId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &leads().map(|lead| lead.channel.code()).collect::<Vec<_>>() as &[&str],
        &leads().map(|lead| lead.acquired_at).collect::<Vec<_>>(),
        &origins().map(|origin| origin.campaign.map(CampaignId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &origins().map(|origin| origin.ad_set.map(AdSetId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &origins().map(|origin| origin.ad.map(AdId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &origins().map(|origin| origin.form.map(FormId::uuid)).collect::<Vec<_>>() as &[Option<Uuid>],
        &prepared().map(|p| p.answers_sealed.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &arrivals.iter().map(|arrival| arrival.code()).collect::<Vec<_>>() as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}
