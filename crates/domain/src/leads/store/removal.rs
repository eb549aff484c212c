//! SQL of leads that are taken away.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::nouns::{LeadId, UserId};

// Locked in the order of ids, as everybody does who locks several; answers what they weigh on their owners.
pub async fn lock(conn: &mut PgConnection, leads: &[LeadId]) -> Result<Vec<(UserId, i32)>, sqlx::Error> {
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    sqlx::query!("select id from leads where id = any($1) order by id for update", &ids)
        .fetch_all(&mut *conn)
        .await?;
    let weights = sqlx::query!(
        r#"select lead.owner_id as "owner!", sum(status.load_weight)::integer as "weight!"
           from leads lead join statuses status on status.code = lead.status
           where lead.id = any($1) and lead.owner_id is not null
           group by lead.owner_id order by lead.owner_id"#,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(weights.into_iter().map(|row| (row.owner.into(), row.weight)).collect())
}

// One statement: foreign keys are checked at its end.
pub async fn delete(conn: &mut PgConnection, leads: &[LeadId]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    sqlx::query!(
        "with review as (delete from lead_reviews where lead_id = any($1) or other_id = any($1)),
             notification as (delete from notifications where lead_id = any($1)),
             entry as (delete from timeline_entries where lead_id = any($1)),
             timer as (delete from sla_timers where lead_id = any($1)),
             cooling_off as (delete from cooling_offs where lead_id = any($1)),
             decision as (delete from routing_decisions where lead_id = any($1)),
             assignment as (delete from lead_assignments where lead_id = any($1)),
             consent as (delete from consent_ledger where lead_id = any($1)),
             step as (delete from lead_status_history where lead_id = any($1)),
             enquiry as (delete from lead_enquiries where lead_id = any($1)),
             contact as (delete from lead_contacts where lead_id = any($1))
         delete from leads where id = any($1)",
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
