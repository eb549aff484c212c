//! `sira workflows`: what an operator asks about workflows at a terminal. States hold ids, so nothing here is personal.

use clap::{Args, Subcommand};
use sira_engine::ops::{self, WorkflowFilter, WorkflowView};

use super::output::{Listing, Row};
use super::{Exit, on_database};
use crate::config::Config;
use crate::database::Database;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List workflows, newest first
    Ls(Ls),
}

/// Which workflows.
#[derive(Debug, Args)]
pub struct Ls {
    /// How they stand
    #[arg(long, value_parser = ["running", "sleeping", "waiting", "done", "failed", "cancelled", "superseded"])]
    status: Option<String>,
    /// A kind, as in sla.timer
    #[arg(long)]
    kind: Option<String>,
    /// The business key
    #[arg(long)]
    key: Option<String>,
    /// Only workflows with smaller ids: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    #[command(flatten)]
    listing: Listing,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    let Command::Ls(args) = command;
    on_database(config, async |database| list(database, args).await).await.map(|()| Exit::Ok)
}

async fn list(database: &Database, args: Ls) -> anyhow::Result<()> {
    let filter = WorkflowFilter {
        kind: args.kind,
        status: args.status,
        key: args.key,
        before: args.before,
        limit: args.listing.rows_wanted(),
    };
    let workflows = ops::list_workflows(&mut *database.pool().acquire().await?, &filter).await?;
    args.listing.print(workflows)
}

impl Row for WorkflowView {
    const HEADINGS: &'static [&'static str] =
        &["ID", "KIND", "KEY", "STATUS", "STEPS", "WAKES", "WAITS_FOR", "ERROR"];
    fn cells(&self) -> Vec<String> {
        let error = self.error.as_ref().and_then(|error| error["code"].as_str()).unwrap_or_default();
        vec![
            self.id.to_string(),
            self.kind.clone(),
            self.key.clone(),
            self.status.clone(),
            self.seq.to_string(),
            self.wake_at.map_or(String::new(), |at| at.to_rfc3339()),
            self.waiting_for.clone().unwrap_or_default(),
            error.to_owned(),
        ]
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}
