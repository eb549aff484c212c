//! SQL of one lead's detail.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::leads::detail::{Assignment, Contact, Enquiry, HISTORY_MAX, StatusStep};
use crate::nouns::LeadId;

pub async fn place(
    conn: &mut PgConnection,
    id: LeadId,
) -> Result<(Option<String>, Option<String>), sqlx::Error> {
    let row =
        sqlx::query!("select country, language from leads where id = $1", id.uuid()).fetch_one(conn).await?;
    Ok((row.country, row.language))
}

pub async fn contacts(conn: &mut PgConnection, id: LeadId) -> Result<Vec<Contact>, sqlx::Error> {
    sqlx::query_as!(
        Contact,
        "select id, kind, masked, shared, invalid_since, can_text from lead_contacts
         where lead_id = any(lead_ids($1)) order by kind desc, id limit $2",
        id.uuid(),
        HISTORY_MAX,
    )
    .fetch_all(conn)
    .await
}

pub async fn enquiries(conn: &mut PgConnection, id: LeadId) -> Result<Vec<Enquiry>, sqlx::Error> {
    sqlx::query_as!(
        Enquiry,
        r#"select enquiry.id, enquiry.channel, enquiry.acquired_at, enquiry.received_at,
             campaign.name as campaign_name, ad_set.name as ad_set_name, ad.name as ad_name,
             form.external_id as "form_external_id?", enquiry.effect
         from lead_enquiries enquiry
         left join campaigns campaign on campaign.id = enquiry.campaign_id
         left join ad_sets ad_set on ad_set.id = enquiry.ad_set_id
         left join ads ad on ad.id = enquiry.ad_id
         left join lead_forms form on form.id = enquiry.form_id
         where enquiry.lead_id = any(lead_ids($1))
         order by enquiry.received_at desc, enquiry.id desc
         limit $2"#,
        id.uuid(),
        HISTORY_MAX,
    )
    .fetch_all(conn)
    .await
}

pub async fn history(conn: &mut PgConnection, id: LeadId) -> Result<Vec<StatusStep>, sqlx::Error> {
    sqlx::query_as!(
        StatusStep,
        r#"select from_status as "from", to_status as "to", actor_kind, actor, reason, at, spent_seconds
         from lead_status_history where lead_id = $1 order by at desc, id desc limit $2"#,
        id.uuid(),
        HISTORY_MAX,
    )
    .fetch_all(conn)
    .await
}

pub async fn assignments(conn: &mut PgConnection, id: LeadId) -> Result<Vec<Assignment>, sqlx::Error> {
    sqlx::query_as!(
        Assignment,
        "select assignment.id, assignment.user_id, owner.display_name as user_name, assignment.batch_id,
             assignment.cause, assignment.assigned_at, assignment.ended_at, assignment.end_reason
         from lead_assignments assignment join users owner on owner.id = assignment.user_id
         where assignment.lead_id = $1
         order by assignment.assigned_at desc, assignment.id desc
         limit $2",
        id.uuid(),
        HISTORY_MAX,
    )
    .fetch_all(conn)
    .await
}

/// A contact as it is stored.
pub struct SealedContact {
    pub id: Uuid,
    pub lead: LeadId,
    pub sealed: Vec<u8>,
}

/// The newest contacts of all leads.
pub async fn list_newest_contacts(
    conn: &mut PgConnection,
    limit: i64,
) -> Result<Vec<SealedContact>, sqlx::Error> {
    let rows = sqlx::query!("select id, lead_id, sealed from lead_contacts order by id desc limit $1", limit)
        .fetch_all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| SealedContact { id: row.id, lead: row.lead_id.into(), sealed: row.sealed })
        .collect())
}
