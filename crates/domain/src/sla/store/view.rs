//! SQL of what is overdue.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::leads::Scope;
use crate::nouns::{TeamId, UserId};
use crate::sla::{Overdue, OverdueCount};

/// Which leads count: within the caller's scope, and of one owner or team if asked.
pub struct Bounds {
    owners: [Option<Uuid>; 2],
    teams: [Option<Uuid>; 2],
}

impl Bounds {
    pub fn of(scope: Scope, owner: Option<UserId>, team: Option<TeamId>) -> Self {
        let (own, ours) = match scope {
            Scope::All => (None, None),
            Scope::Team(team) => (None, Some(team.uuid())),
            Scope::Own(user) => (Some(user.uuid()), None),
        };
        Self { owners: [own, owner.map(UserId::uuid)], teams: [ours, team.map(TeamId::uuid)] }
    }
}

pub async fn list_overdue(
    conn: &mut PgConnection,
    bounds: Bounds,
    now: DateTime<Utc>,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u16,
) -> Result<Vec<Overdue>, sqlx::Error> {
    sqlx::query_as!(
        Overdue,
        r#"select timer.id, timer.lead_id, lead.reference, lead.status, lead.name_masked, lead.owner_id,
             owner.display_name as "owner_name?", lead.team_id, team.name as "team_name?", timer.policy,
             timer.due_at as "due_at!"
         from sla_timers timer
         join leads lead on lead.id = timer.lead_id
         left join users owner on owner.id = lead.owner_id
         left join teams team on team.id = lead.team_id
         where timer.ended_at is null and timer.due_at < $1
             and ($2::uuid is null or lead.owner_id = $2) and ($3::uuid is null or lead.owner_id = $3)
             and ($4::uuid is null or lead.team_id = $4) and ($5::uuid is null or lead.team_id = $5)
             and ($6::timestamptz is null or (timer.due_at, timer.id) > ($6, $7::uuid))
         order by timer.due_at, timer.id
         limit $8"#,
        now,
        bounds.owners[0],
        bounds.owners[1],
        bounds.teams[0],
        bounds.teams[1],
        after.map(|(at, _)| at),
        after.map(|(_, id)| id),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

pub async fn count_overdue(
    conn: &mut PgConnection,
    bounds: Bounds,
    now: DateTime<Utc>,
    limit: u16,
) -> Result<Vec<OverdueCount>, sqlx::Error> {
    sqlx::query_as!(
        OverdueCount,
        r#"select lead.owner_id, owner.display_name as "owner_name?", lead.team_id, team.name as "team_name?",
             count(*) as "overdue!", min(timer.due_at) as "oldest_due_at!"
         from sla_timers timer
         join leads lead on lead.id = timer.lead_id
         left join users owner on owner.id = lead.owner_id
         left join teams team on team.id = lead.team_id
         where timer.ended_at is null and timer.due_at < $1
             and ($2::uuid is null or lead.owner_id = $2) and ($3::uuid is null or lead.team_id = $3)
         group by lead.owner_id, owner.display_name, lead.team_id, team.name
         order by count(*) desc, lead.owner_id
         limit $4"#,
        now,
        bounds.owners[0],
        bounds.teams[0],
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}
