//! `sira workflows`: what an operator asks about workflows, and does to them, at a terminal. States hold ids, so nothing here is personal.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sira_domain::operations::{OperationError, workflows};
use sira_engine::ops::{self, WorkflowDetails, WorkflowError, WorkflowFilter, WorkflowView};

use super::jobs::ShowFormat;
use super::output::{Listing, Row};
use super::{Exit, decide, on_database, print};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List workflows, newest first
    Ls(Ls),
    /// Show one workflow with the timeline of its steps
    Show(Show),
    /// End one that lives
    Cancel(Cancel),
    /// Let one go on that failed or was ended, from its last step or an earlier one
    Retry(Retry),
}

/// Which workflows.
#[derive(Debug, Args)]
pub struct Ls {
    /// How they stand
    #[arg(long, value_parser = ["running", "sleeping", "waiting", "joining", "done", "failed", "cancelled", "superseded"])]
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

/// Which workflow.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id
    id: i64,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t = ShowFormat::Table)]
    output: ShowFormat,
}

/// Which workflow, and why.
#[derive(Debug, Args)]
pub struct Cancel {
    /// Its id
    id: i64,
    /// Why, for its history and the audit log; no names, numbers or addresses of people
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Which workflow, and from where.
#[derive(Debug, Args)]
pub struct Retry {
    /// Its id
    id: i64,
    /// The step whose outcome it goes on from; what later steps did is not undone
    #[arg(long, value_name = "STEP")]
    from: Option<i32>,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    let db = unattended(config, database.pool().clone());
    match command {
        Command::Ls(args) => list(database, args).await.map(|()| Exit::Ok),
        Command::Show(Show { id, output }) => {
            let found = ops::find_workflow(&mut *database.pool().acquire().await?, id).await?;
            let workflow = found.with_context(|| format!("there is no workflow {id}"))?;
            print(&match output {
                ShowFormat::Json => serde_json::to_string_pretty(&workflow)?,
                ShowFormat::Table => told(&workflow),
            })?;
            Ok(Exit::Ok)
        }
        Command::Cancel(Cancel { id, reason }) => {
            decide(&db, is_refusal, async |uow| {
                workflows::cancel(uow, id, &reason).await?;
                Ok(format!("workflow {id}: cancelled"))
            })
            .await
        }
        Command::Retry(Retry { id, from }) => {
            decide(&db, is_refusal, async |uow| {
                workflows::retry(uow, id, from).await?;
                Ok(format!("workflow {id}: goes on"))
            })
            .await
        }
    }
}

fn is_refusal(error: &OperationError) -> bool {
    !matches!(error, OperationError::Engine(_) | OperationError::Workflow(WorkflowError::Engine(_)))
}

fn told(details: &WorkflowDetails) -> String {
    let workflow = &details.workflow;
    let mut lines = vec![
        format!("workflow {} {} ({})", workflow.id, workflow.kind, workflow.status),
        format!("key      {}", workflow.key),
        format!("state    {}", workflow.state),
        format!("started  {}", workflow.created_at.to_rfc3339()),
    ];
    lines.extend(workflow.wake_at.map(|at| format!("wakes    {}", at.to_rfc3339())));
    lines.extend(workflow.waiting_for.as_ref().map(|signal| format!("waits    for {signal}")));
    lines.extend(workflow.error.as_ref().map(|error| format!("error    {error}")));
    for step in &details.steps {
        let details = step.details.as_ref().map_or(String::new(), |details| format!(" {details}"));
        let at = step.at.to_rfc3339();
        lines.push(format!("step     {} {at} {}: {}{details}", step.seq, step.woken_by, step.decision));
    }
    for child in &details.children {
        lines.push(format!("child    {} {}", child.job_id, child.outcome.as_deref().unwrap_or("open")));
    }
    lines.join("\n")
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
