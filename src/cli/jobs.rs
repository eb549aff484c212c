//! `sira jobs`: what an operator asks about jobs and does to them at a terminal. Payloads hold ids, so nothing here is
//! personal.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sira_domain::{Db, operations};
use sira_engine::JobId;
use sira_engine::ops::{self, Done, JobDetails, JobFilter, JobView, Refused, Verdict};
use sira_kernel::Actor;
use sira_kernel::Clock;

use super::output::{Listing, Row};
use super::{Exit, on_database, print, say};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// What can be asked and done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List jobs, newest first
    Ls(Ls),
    /// Show one job with its attempts, live or finished
    Show(Show),
    /// Make dead and scheduled jobs due now, with all their attempts before them again
    Retry(Retry),
    /// End jobs that do not run
    Cancel(Cancel),
}

/// Which jobs.
#[derive(Debug, Args)]
pub struct Ls {
    /// How they stand; done, cancelled and merged are finished ones
    #[arg(long, value_parser = ["scheduled", "held", "ready", "running", "dead", "done", "cancelled", "merged"])]
    state: Option<String>,
    /// A kind, as in ingestion.fetch_meta_lead
    #[arg(long)]
    kind: Option<String>,
    /// A queue's name
    #[arg(long)]
    queue: Option<String>,
    /// What the job was tagged with, as in `inbound:ID`
    #[arg(long)]
    tag: Option<String>,
    /// Only jobs with smaller ids: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    #[command(flatten)]
    listing: Listing,
}

/// How one thing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ShowFormat {
    /// Lines, for people
    Table,
    /// For programs
    Json,
}

/// Which job.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id
    id: i64,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t = ShowFormat::Table)]
    output: ShowFormat,
}

/// Which jobs are retried.
#[derive(Debug, Args)]
pub struct Retry {
    /// Their ids
    #[arg(required = true, num_args = 1..=operations::JOBS_MAX, value_name = "ID")]
    ids: Vec<i64>,
}

/// Which jobs are cancelled, and why.
#[derive(Debug, Args)]
pub struct Cancel {
    /// Their ids
    #[arg(required = true, num_args = 1..=operations::JOBS_MAX, value_name = "ID")]
    ids: Vec<i64>,
    /// Why, for the job's history and the audit log; no names, numbers or addresses of people
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Ls(args) => list(database, args).await.map(|()| Exit::Ok),
        Command::Show(args) => show(database, &args).await.map(|()| Exit::Ok),
        Command::Retry(args) => retry(&unattended(config, database.pool().clone()), &args.ids).await,
        Command::Cancel(args) => cancel(&unattended(config, database.pool().clone()), &args).await,
    }
}

async fn list(database: &Database, args: Ls) -> anyhow::Result<()> {
    let filter = JobFilter {
        state: args.state,
        kind: args.kind,
        queue: args.queue,
        tag: args.tag,
        before: args.before.map(JobId),
        limit: args.listing.rows_wanted(),
    };
    let jobs = ops::list_jobs(&mut *database.pool().acquire().await?, &filter).await?;
    args.listing.print(jobs)
}

async fn show(database: &Database, args: &Show) -> anyhow::Result<()> {
    let found =
        ops::find_job(&mut *database.pool().acquire().await?, &Clock::system(), JobId(args.id)).await?;
    let job = found.with_context(|| format!("there is no job {}", args.id))?;
    print(&match args.output {
        ShowFormat::Json => serde_json::to_string_pretty(&job)?,
        ShowFormat::Table => told(&job),
    })?;
    Ok(())
}

/// The workers of other processes find what is due at their next poll, within `engine.poll_ms`.
async fn retry(db: &Db, ids: &[i64]) -> anyhow::Result<Exit> {
    let mut uow = db.begin(Actor::System).await?;
    let verdicts = operations::retry_jobs(&mut uow, &jobs(ids)).await?;
    uow.commit().await?;
    report(&verdicts)
}

async fn cancel(db: &Db, args: &Cancel) -> anyhow::Result<Exit> {
    let mut uow = db.begin(Actor::System).await?;
    let verdicts = operations::cancel_jobs(&mut uow, &jobs(&args.ids), &args.reason).await?;
    uow.commit().await?;
    report(&verdicts)
}

fn jobs(ids: &[i64]) -> Vec<JobId> {
    ids.iter().copied().map(JobId).collect()
}

/// A line for each job: what was done on stdout, what was not on stderr.
fn report(verdicts: &[Verdict]) -> anyhow::Result<Exit> {
    let mut exit = Exit::Ok;
    for (job, verdict) in verdicts {
        match verdict {
            Ok(done) => print(&format!("job {job}: {}", done_in_words(*done)))?,
            Err(refused) => {
                exit = Exit::Refused;
                say(&format!("job {job}: {refused}{}", way_out(*refused, *job)));
            }
        }
    }
    Ok(exit)
}

fn done_in_words(done: Done) -> &'static str {
    match done {
        Done::Ready => "ready",
        Done::Merged => "merged: an equal job waited and is ready now",
        Done::Cancelled => "cancelled",
    }
}

/// What an operator can do instead.
fn way_out(refused: Refused, job: JobId) -> String {
    match refused {
        Refused::Unknown => "; `sira jobs ls` lists them".to_owned(),
        Refused::Ended => format!("; `sira jobs show {job}` says how"),
        Refused::Running => {
            " and cannot be stopped from here: wait until this attempt has ended, then ask again".to_owned()
        }
        Refused::Ready => "; if none does, `sira doctor` says why".to_owned(),
        Refused::Held => "; `sira gates ls` says what holds it".to_owned(),
        Refused::LiveWorkflow => {
            ", which would wait for it for ever: retry it, or let the workflow end".to_owned()
        }
        Refused::EndedWorkflow => ": it cannot go on; cancel the job to put it away".to_owned(),
    }
}

impl Row for JobView {
    const HEADINGS: &'static [&'static str] = &["ID", "KIND", "STATE", "ATTEMPT", "DUE", "ERROR"];
    fn cells(&self) -> Vec<String> {
        let attempts =
            self.attempts_max.map_or(self.attempt.to_string(), |max| format!("{}/{max}", self.attempt));
        let due = self.run_at.map_or(String::new(), |at| at.to_rfc3339());
        let error = self.error.as_ref().and_then(|error| error["code"].as_str()).unwrap_or_default();
        vec![self.id.to_string(), self.kind.clone(), self.state.clone(), attempts, due, error.to_owned()]
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}

fn told(details: &JobDetails) -> String {
    let job = &details.job;
    let mut lines = vec![
        format!("job      {} {} ({})", job.id, job.kind, job.state),
        format!("queue    {}", job.queue),
        format!("payload  {}", job.payload),
        format!("tags     {}", details.tags.join(", ")),
        format!("created  {}", job.created_at.to_rfc3339()),
    ];
    lines.extend(job.finished_at.map(|at| format!("finished {}", at.to_rfc3339())));
    lines.extend(job.error.as_ref().map(|error| format!("error    {error}")));
    lines.extend(details.waits_for.as_ref().map(|why| format!("waits    {why}")));
    for attempt in &details.attempts {
        let next = attempt.next_at.map_or(String::new(), |at| format!(", next at {}", at.to_rfc3339()));
        let waits = attempt.waits_for.as_ref().map_or(String::new(), |why| format!(", waits for {why}"));
        let error = attempt.error.as_ref().and_then(|error| error["code"].as_str()).unwrap_or_default();
        let ended = attempt.ended_at.to_rfc3339();
        lines.push(format!("attempt  {} {ended} {} {error}{waits}{next}", attempt.attempt, attempt.outcome));
    }
    lines.join("\n")
}
