//! `sira jobs`: what an operator asks about jobs and does to them at a terminal. Payloads hold ids, so nothing here is
//! personal.

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use sira_domain::operations::OperationError;
use sira_domain::operations::bulk::{self, Act, Progress};
use sira_domain::{Db, operations};
use sira_engine::JobId;
use sira_engine::ops::{self, Done, JobDetails, JobFilter, JobView, Refused, Verdict};
use sira_kernel::Actor;
use sira_kernel::Clock;

use super::output::{Listing, Row};
use super::{Exit, decide, on_database, print, say};
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
    /// Give jobs that wait another time
    Reschedule(Reschedule),
    /// Do one of these to all jobs that match; a durable job does it, in batches
    All(All),
    /// How far an act on all that match has come
    Progress(ActId),
    /// Stop an act on all that match where it stands
    Stop(ActId),
}

/// Which jobs.
#[derive(Debug, Args)]
pub struct Ls {
    /// How they stand; done, cancelled and merged are finished ones
    #[arg(long, value_parser = ["scheduled", "held", "ready", "running", "dead", "done", "cancelled", "merged"])]
    state: Option<String>,
    #[command(flatten)]
    which: Matching,
    /// Only jobs with smaller ids: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    #[command(flatten)]
    listing: Listing,
}

/// Conditions that jobs meet, all of them.
#[derive(Debug, Args)]
pub struct Matching {
    /// A kind, as in ingestion.fetch_meta_lead
    #[arg(long)]
    kind: Option<String>,
    /// A queue's name
    #[arg(long)]
    queue: Option<String>,
    /// What the job was tagged with, as in `inbound:ID`
    #[arg(long)]
    tag: Option<String>,
    /// The workflow whose steps they take
    #[arg(long, value_name = "ID")]
    workflow: Option<i64>,
    /// The code of the last failure, as in provider_down
    #[arg(long, value_name = "CODE")]
    error: Option<String>,
    /// At least so many attempts begun
    #[arg(long, value_name = "N")]
    attempts_min: Option<i16>,
    /// Live ones that have been due for longer than so many seconds
    #[arg(long, value_name = "SECONDS")]
    stuck_for: Option<u32>,
}

impl Matching {
    fn filter(self, state: Option<String>) -> JobFilter {
        let due_before =
            self.stuck_for.map(|seconds| Clock::system().now() - TimeDelta::seconds(seconds.into()));
        JobFilter {
            state,
            kind: self.kind,
            queue: self.queue,
            tag: self.tag,
            workflow: self.workflow,
            error: self.error,
            attempts_min: self.attempts_min,
            due_before,
            ..JobFilter::default()
        }
    }
}

/// What is done to all jobs that match.
#[derive(Debug, Args)]
pub struct All {
    /// What is done with each: dead and scheduled ones are due now, those that do not run end, those that wait are due at
    /// another time
    #[arg(value_enum)]
    act: ActName,
    /// How they stand
    #[arg(long, value_parser = ["scheduled", "held", "ready", "running", "dead"])]
    state: Option<String>,
    #[command(flatten)]
    which: Matching,
    /// Why they are cancelled, for their history and the audit log; no names, numbers or addresses of people
    #[arg(long, value_name = "TEXT", required_if_eq("act", "cancel"))]
    reason: Option<String>,
    /// When they are due, as in 2026-12-01T09:00:00+03:00
    #[arg(long, value_name = "TIME", required_if_eq("act", "reschedule"))]
    at: Option<DateTime<Utc>>,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

/// What can be done to many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ActName {
    /// Due now, with all attempts before them again
    Retry,
    /// Ended
    Cancel,
    /// Due at another time
    Reschedule,
}

/// Which jobs are given another time.
#[derive(Debug, Args)]
pub struct Reschedule {
    /// When they are due, as in 2026-12-01T09:00:00+03:00
    #[arg(long, value_name = "TIME")]
    at: DateTime<Utc>,
    /// Their ids
    #[arg(required = true, num_args = 1..=operations::JOBS_MAX, value_name = "ID")]
    ids: Vec<i64>,
}

/// Which act.
#[derive(Debug, Args)]
pub struct ActId {
    /// Its id
    id: i64,
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
    let db = unattended(config, database.pool().clone());
    match command {
        Command::Ls(args) => list(database, args).await.map(|()| Exit::Ok),
        Command::Show(args) => show(database, &args).await.map(|()| Exit::Ok),
        Command::Retry(args) => retry(&db, &args.ids).await,
        Command::Cancel(args) => cancel(&db, &args).await,
        Command::Reschedule(Reschedule { at, ids }) => {
            let mut uow = db.begin(Actor::System).await?;
            let verdicts = operations::reschedule_jobs(&mut uow, &jobs(&ids), at).await?;
            uow.commit().await?;
            report(&verdicts)
        }
        Command::All(args) => act_on_all(&db, args).await,
        Command::Progress(ActId { id }) => {
            let found = bulk::find(&mut *database.pool().acquire().await?, id).await?;
            let Progress { act, state, done, refused, .. } =
                found.with_context(|| format!("there is no act {id}"))?;
            print(&format!("{act}: {state}, {done} done, {refused} refused"))?;
            Ok(Exit::Ok)
        }
        Command::Stop(ActId { id }) => {
            decide(&db, is_refusal, async |uow| {
                bulk::stop(uow, id).await?;
                Ok(format!("{id}: stopped"))
            })
            .await
        }
    }
}

async fn list(database: &Database, args: Ls) -> anyhow::Result<()> {
    let filter = JobFilter {
        before: args.before.map(JobId),
        limit: args.listing.rows_wanted(),
        ..args.which.filter(args.state)
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

async fn act_on_all(db: &Db, args: All) -> anyhow::Result<Exit> {
    let act = match (args.act, args.reason, args.at) {
        (ActName::Cancel, Some(reason), _) => Act::Cancel { reason },
        (ActName::Reschedule, _, Some(run_at)) => Act::Reschedule { run_at },
        (ActName::Retry, ..) => Act::Retry,
        (ActName::Cancel | ActName::Reschedule, ..) => anyhow::bail!("--reason or --at is missing"),
    };
    let filter = args.which.filter(args.state);
    if args.dry_run {
        let count = match bulk::count(&mut *db.read().await?, &filter).await {
            Err(refused @ (OperationError::NoFilter | OperationError::InvalidFilter)) => {
                say(&format!("sira: {refused}"));
                return Ok(Exit::Refused);
            }
            count => count?,
        };
        let or_more = if count == usize::from(bulk::COUNT_MAX) { " or more" } else { "" };
        print(&format!("{count}{or_more} jobs match; nothing was done"))?;
        return Ok(Exit::Ok);
    }
    decide(db, is_refusal, async |uow| {
        let id = bulk::start(uow, act, &filter).await?;
        Ok(format!("act {id} has begun; `sira jobs progress {id}` tells how far it has come"))
    })
    .await
}

fn is_refusal(error: &OperationError) -> bool {
    !matches!(error, OperationError::Engine(_))
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
        Done::Scheduled => "due at its new time",
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
        Refused::Dead => format!("; `sira jobs retry {job}` makes it due"),
        Refused::LiveWorkflow => {
            ", which would wait for it for ever: retry it, or let the workflow end".to_owned()
        }
        Refused::EndedWorkflow => {
            ": `sira workflows retry` lets the workflow go on, or cancel the job to put it away".to_owned()
        }
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
