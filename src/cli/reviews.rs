//! `sira reviews`: pairs of leads that may be one person. Leads are named by their references; nothing of a person is shown
//! but masked.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use sira_domain::leads::LeadError;
use sira_domain::leads::reviews::{self, Review, State};
use sira_domain::leads::search::LeadRow;
use sira_domain::nouns::{LeadId, ReviewId};
use uuid::Uuid;

use super::output::{Listing, Row};
use super::{Exit, decide, on_database};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// What can be asked and decided.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List pairs of leads that may be one person, newest first
    Ls(Ls),
    /// Decide that both are one person: one stays, the other is read with it
    Merge(Merge),
    /// Decide that they are two persons
    KeepApart(Which),
    /// Take a merge back, within 30 days
    Unmerge(Which),
}

/// Which pairs.
#[derive(Debug, Args)]
pub struct Ls {
    /// What was decided
    #[arg(long, default_value = State::Open.code(), value_parser = state)]
    state: State,
    /// Only pairs older than this one: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<ReviewId>,
    #[command(flatten)]
    listing: Listing,
}

fn state(code: &str) -> Result<State, String> {
    State::parse(code).ok_or_else(|| "take one of open, merged, apart".to_owned())
}

/// Which pair, and who stays.
#[derive(Debug, Args)]
pub struct Merge {
    /// The pair
    id: ReviewId,
    /// The lead that stays; else an open one, one with an owner, the one known longer
    #[arg(long, value_name = "LEAD")]
    survivor: Option<LeadId>,
}

/// Which pair.
#[derive(Debug, Args)]
pub struct Which {
    /// The pair
    id: ReviewId,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    let db = unattended(config, database.pool().clone());
    match command {
        Command::Ls(args) => list(database, args).await.map(|()| Exit::Ok),
        Command::Merge(Merge { id, survivor }) => {
            decide(&db, is_refusal, async |uow| {
                let merged = reviews::merge(uow, id, survivor).await?;
                Ok(format!("merged: {} stays, {} is part of it", merged.survivor, merged.absorbed))
            })
            .await
        }
        Command::KeepApart(Which { id }) => {
            decide(&db, is_refusal, async |uow| {
                reviews::keep_apart(uow, id).await?;
                Ok("kept apart".to_owned())
            })
            .await
        }
        Command::Unmerge(Which { id }) => {
            decide(&db, is_refusal, async |uow| {
                let parted = reviews::unmerge(uow, id).await?;
                Ok(format!("unmerged: {} is one of its own again", parted.absorbed))
            })
            .await
        }
    }
}

async fn list(database: &Database, args: Ls) -> anyhow::Result<()> {
    let mut conn = database.pool().acquire().await?;
    let after = match args.before {
        Some(id) => Some((reviews::find_created_at(&mut conn, id).await?, id.uuid())),
        None => None,
    };
    let found = reviews::list(&mut conn, args.state, after, args.listing.rows_wanted()).await?;
    args.listing.print(found.into_iter().map(Listed::from).collect())
}

fn is_refusal(error: &LeadError) -> bool {
    !matches!(error, LeadError::Database(_) | LeadError::Privacy(_))
}

/// A pair in a list.
#[derive(Serialize)]
struct Listed {
    id: Uuid,
    state: &'static str,
    shared: String,
    leads: [ListedLead; 2],
    survivor: Option<Uuid>,
    created_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
}

/// A lead of a pair, masked.
#[derive(Serialize)]
struct ListedLead {
    id: Uuid,
    reference: String,
    status: String,
    owner: Option<String>,
    name: Option<String>,
    phone: Option<String>,
    email: Option<String>,
}

impl From<LeadRow> for ListedLead {
    fn from(row: LeadRow) -> Self {
        Self {
            id: row.id.uuid(),
            reference: row.reference,
            status: row.status,
            owner: row.owner_name,
            name: row.name_masked,
            phone: row.phone_masked,
            email: row.email_masked,
        }
    }
}

impl From<Review> for Listed {
    fn from(review: Review) -> Self {
        Self {
            id: review.id.uuid(),
            state: review.state.code(),
            shared: review.shared,
            leads: review.leads.map(ListedLead::from),
            survivor: review.survivor.map(LeadId::uuid),
            created_at: review.created_at,
            decided_at: review.decided_at,
        }
    }
}

impl Row for Listed {
    const HEADINGS: &'static [&'static str] =
        &["ID", "STATE", "SHARED", "LEAD", "NAME", "PHONE", "OTHER", "OTHER_NAME", "OTHER_PHONE", "SINCE"];
    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.id.to_string(), self.state.to_owned(), self.shared.clone()];
        for lead in &self.leads {
            let shown = |value: &Option<String>| value.clone().unwrap_or_default();
            cells.extend([lead.reference.clone(), shown(&lead.name), shown(&lead.phone)]);
        }
        cells.push(self.created_at.to_rfc3339());
        cells
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}
