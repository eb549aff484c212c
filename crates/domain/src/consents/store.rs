//! SQL of the consent ledger.

use chrono::{DateTime, Utc};
use sira_kernel::Id;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Channel, Evidence, NewConsent, Said};
use crate::nouns::{InboundId, LeadId};

pub async fn append(
    conn: &mut PgConnection,
    decided: &[(LeadId, Evidence<'_>, &[NewConsent])],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = decided
        .iter()
        .flat_map(|(lead, evidence, decisions)| decisions.iter().map(move |d| (lead, evidence, d)))
        .collect();
    sqlx::query!(
        "insert into consent_ledger
             (id, lead_id, channel, purpose, decision, source, text_version, inbound_id, at, recorded_at)
         select id, lead_id, channel, 'commercial', decision, source, text_version, inbound_id, at, $1
         from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[],
                 $9::timestamptz[])
             as consent (id, lead_id, channel, decision, source, text_version, inbound_id, at)",
        now,
        &rows.iter().map(|_| Id::<NewConsent>::new().uuid()).collect::<Vec<_>>(),
        &rows.iter().map(|(lead, ..)| lead.uuid()).collect::<Vec<_>>(),
        &rows.iter().map(|(_, _, d)| d.channel.code()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|(_, _, d)| d.decision.code()).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|(_, evidence, _)| evidence.source).collect::<Vec<_>>() as &[&str],
        &rows.iter().map(|(_, _, d)| d.text_version.as_deref()).collect::<Vec<_>>() as &[Option<&str>],
        &rows.iter().map(|(_, evidence, _)| evidence.inbound.map(InboundId::uuid)).collect::<Vec<_>>()
            as &[Option<Uuid>],
        &rows.iter().map(|(_, evidence, _)| evidence.at).collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn newest(conn: &mut PgConnection, lead: LeadId) -> Result<Vec<(String, bool)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select distinct on (channel) channel, decision = 'granted' as "granted!"
         from consent_ledger
         where lead_id = any(lead_ids($1)) and purpose = 'commercial'
         order by channel, at desc, id desc"#,
        lead.uuid(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.channel, row.granted)).collect())
}

pub async fn newest_of_channel(
    conn: &mut PgConnection,
    lead: LeadId,
    channel: Channel,
) -> Result<Vec<(String, Said)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select distinct on (purpose) purpose, id, decision = 'granted' as "granted!"
         from consent_ledger
         where lead_id = any(lead_ids($1)) and channel = $2
         order by purpose, at desc, id desc"#,
        lead.uuid(),
        channel.code(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.purpose, Said { id: row.id, granted: row.granted })).collect())
}

pub async fn append_withdrawals(
    conn: &mut PgConnection,
    lead: LeadId,
    channel: Channel,
    source: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: [Uuid; 2] = std::array::from_fn(|_| Id::<NewConsent>::new().uuid());
    sqlx::query!(
        "insert into consent_ledger (id, lead_id, channel, purpose, decision, source, at, recorded_at)
         select id, $1, $2, purpose, 'withdrawn', $3, $4, $4
         from unnest($5::uuid[], array['commercial', 'transactional']) as said (id, purpose)",
        lead.uuid(),
        channel.code(),
        source,
        now,
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
