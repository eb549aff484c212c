//! `sira leads imports`: the files of leads that came in. A file's name and headings are sealed and not shown here.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use sira_domain::imports::{self, Counts, Import};
use sira_domain::nouns::ImportId;
use uuid::Uuid;

use super::Exit;
use super::output::{Listing, Row};
use crate::database::Database;

/// Which imports.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only imports older than this one: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<ImportId>,
    #[command(flatten)]
    listing: Listing,
}

/// Lists imports, newest first.
pub async fn run(database: &Database, args: Ls) -> anyhow::Result<Exit> {
    let mut conn = database.pool().acquire().await?;
    let before = match args.before {
        Some(id) => Some((imports::get(&mut conn, id).await?.created_at, id)),
        None => None,
    };
    let found = imports::list(&mut conn, before, args.listing.rows_wanted()).await?;
    args.listing.print(found.into_iter().map(Listed::from).collect())?;
    Ok(Exit::Ok)
}

/// An import in a list.
#[derive(Serialize)]
struct Listed {
    id: Uuid,
    state: &'static str,
    /// None: it came by the command line.
    user: Option<Uuid>,
    bytes: i64,
    rows: i64,
    #[serde(flatten)]
    counts: Counts,
    failure: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Import> for Listed {
    fn from(import: Import) -> Self {
        Self {
            id: import.id.uuid(),
            state: import.state.code(),
            user: import.user.map(sira_kernel::Id::uuid),
            bytes: import.bytes,
            rows: import.rows_done,
            counts: import.counts,
            failure: import.failure,
            created_at: import.created_at,
            started_at: import.started_at,
            finished_at: import.finished_at,
        }
    }
}

impl Row for Listed {
    const HEADINGS: &'static [&'static str] = &[
        "ID", "STATE", "ROWS", "CREATED", "JOINED", "REOPENED", "BAD", "REMOVED", "KEPT", "BEGAN", "FAILURE",
    ];
    fn cells(&self) -> Vec<String> {
        let Counts { created, joined, reopened, bad, removed, kept } = self.counts;
        let numbers = [self.rows, created, joined, reopened, bad, removed, kept];
        let mut cells = vec![self.id.to_string(), self.state.to_owned()];
        cells.extend(numbers.iter().map(ToString::to_string));
        cells.extend([self.created_at.to_rfc3339(), self.failure.clone().unwrap_or_default()]);
        cells
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}
