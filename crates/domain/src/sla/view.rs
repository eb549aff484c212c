//! Promises as they are shown: beside a lead, and what is overdue.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::store::view as store;
use crate::leads::Scope;
use crate::nouns::{TeamId, UserId};

/// Most rows in one page of what is overdue, and most groups of its count.
pub const PAGE_MAX: u16 = 200;

/// How a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlaState {
    /// Time is left.
    Running,
    /// The owner was reminded.
    Reminded,
    /// It was not kept in time.
    Breached,
    /// It waits until a time that was agreed with the person.
    Paused,
}

impl SlaState {
    /// The published name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Reminded => "reminded",
            Self::Breached => "breached",
            Self::Paused => "paused",
        }
    }
}

/// The live promise of a lead that is due first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlaRow {
    /// The policy's code.
    pub policy: String,
    /// When the first action is due; `None` while paused.
    pub due_at: Option<DateTime<Utc>>,
    /// Until when it is paused.
    pub paused_until: Option<DateTime<Utc>>,
    /// When the timer raised the breach.
    pub breached_at: Option<DateTime<Utc>>,
    /// Whether the owner was reminded.
    pub reminded: bool,
    /// Working time that is left while paused, in seconds.
    pub left_s: i64,
}

/// The same as columns of a list of leads.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromRow)]
#[expect(clippy::struct_field_names, reason = "named as the columns")]
pub struct SlaColumns {
    sla_policy: Option<String>,
    sla_due_at: Option<DateTime<Utc>>,
    sla_paused_until: Option<DateTime<Utc>>,
    sla_breached_at: Option<DateTime<Utc>>,
    sla_reminded: Option<bool>,
    sla_left_s: Option<i64>,
}

impl SlaColumns {
    /// The promise, when the lead is under one.
    pub fn promise(&self) -> Option<SlaRow> {
        Some(SlaRow {
            policy: self.sla_policy.clone()?,
            due_at: self.sla_due_at,
            paused_until: self.sla_paused_until,
            breached_at: self.sla_breached_at,
            reminded: self.sla_reminded.unwrap_or_default(),
            left_s: self.sla_left_s.unwrap_or_default(),
        })
    }
}

impl SlaRow {
    /// How it stands.
    pub fn state(&self) -> SlaState {
        if self.breached_at.is_some() {
            SlaState::Breached
        } else if self.paused_until.is_some() {
            SlaState::Paused
        } else if self.reminded {
            SlaState::Reminded
        } else {
            SlaState::Running
        }
    }

    /// Seconds on the clock until it is due, below zero when overdue; while paused the working time that is left.
    pub fn remaining_seconds(&self, now: DateTime<Utc>) -> i64 {
        self.due_at.map_or(self.left_s, |due| (due - now).num_seconds())
    }
}

/// A promise that is overdue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The timer.
    pub id: Uuid,
    /// The lead.
    pub lead_id: Uuid,
    /// For people.
    pub reference: String,
    /// The lead's status.
    pub status: String,
    /// Masked name.
    pub name_masked: Option<String>,
    /// The owner.
    pub owner_id: Option<Uuid>,
    /// The owner's display name.
    pub owner_name: Option<String>,
    /// The team.
    pub team_id: Option<Uuid>,
    /// The team's name.
    pub team_name: Option<String>,
    /// The policy's code.
    pub policy: String,
    /// When the first action was due.
    pub due_at: DateTime<Utc>,
}

/// How much is overdue with one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverdueCount {
    /// The owner; `None`: with the administrators.
    pub owner_id: Option<Uuid>,
    /// The owner's display name.
    pub owner_name: Option<String>,
    /// The team.
    pub team_id: Option<Uuid>,
    /// The team's name.
    pub team_name: Option<String>,
    /// Promises that are overdue.
    pub overdue: i64,
    /// When the oldest of them was due.
    pub oldest_due_at: DateTime<Utc>,
}

/// What is overdue in this scope, of one owner or team if asked, the longest first, from after a place.
pub async fn list_overdue(
    conn: &mut PgConnection,
    scope: Scope,
    (owner, team): (Option<UserId>, Option<TeamId>),
    now: DateTime<Utc>,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: u16,
) -> Result<Vec<Overdue>, sqlx::Error> {
    let limit = limit.min(PAGE_MAX + 1);
    store::list_overdue(conn, store::Bounds::of(scope, owner, team), now, after, limit).await
}

/// How much is overdue by agent and team, the most first; at most `PAGE_MAX` agents.
pub async fn count_overdue(
    conn: &mut PgConnection,
    scope: Scope,
    now: DateTime<Utc>,
) -> Result<Vec<OverdueCount>, sqlx::Error> {
    store::count_overdue(conn, store::Bounds::of(scope, None, None), now, PAGE_MAX).await
}
