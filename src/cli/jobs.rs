//! `sira jobs`: what an operator asks about jobs at a terminal. Payloads hold ids, so nothing here is personal.

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use sira_engine::JobId;
use sira_engine::ops::{self, JobDetails, JobFilter, JobView};

use super::{Exit, print};
use crate::config::Config;
use crate::database::Database;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List jobs, newest first
    Ls(Ls),
    /// Show one job with its attempts, live or finished
    Show(Show),
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    Table,
    /// For programs
    Json,
}

/// Which jobs.
#[derive(Debug, Args)]
pub struct Ls {
    /// scheduled, ready, running, dead; done, cancelled or merged for finished ones; all when left out
    #[arg(long)]
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
    #[arg(long)]
    before: Option<i64>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: u16,
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Which job.
#[derive(Debug, Args)]
pub struct Show {
    /// Its id
    id: i64,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    let database = Database::join(config).await?;
    let written = match command {
        Command::Ls(args) => list(&database, args).await,
        Command::Show(args) => show(&database, &args).await,
    };
    database.close().await;
    print(&written?)?;
    Ok(Exit::Ok)
}

async fn list(database: &Database, args: Ls) -> anyhow::Result<String> {
    if !(1..=ops::PAGE_MAX).contains(&args.limit) {
        bail!("--limit is from 1 to {}", ops::PAGE_MAX);
    }
    let filter = JobFilter {
        state: args.state,
        kind: args.kind,
        queue: args.queue,
        tag: args.tag,
        before: args.before.map(JobId),
        limit: args.limit,
    };
    let jobs = ops::list_jobs(&mut *database.pool().acquire().await?, &filter).await?;
    match args.output {
        Format::Json => json(&jobs),
        Format::Table => Ok(table(&jobs)),
    }
}

async fn show(database: &Database, args: &Show) -> anyhow::Result<String> {
    let found = ops::find_job(&mut *database.pool().acquire().await?, JobId(args.id)).await?;
    let job = found.with_context(|| format!("there is no job {}", args.id))?;
    match args.output {
        Format::Json => json(&job),
        Format::Table => Ok(told(&job)),
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)?)
}

fn table(jobs: &[JobView]) -> String {
    let head = ["ID", "KIND", "STATE", "ATTEMPT", "DUE", "ERROR"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(jobs.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row[..5].iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}  {}", cells.collect::<Vec<_>>().join("  "), row[5]).trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(job: &JobView) -> [String; 6] {
    let attempts = job.attempts_max.map_or(job.attempt.to_string(), |max| format!("{}/{max}", job.attempt));
    let due = job.run_at.map_or(String::new(), |at| at.to_rfc3339());
    let error = job.error.as_ref().and_then(|error| error["code"].as_str()).unwrap_or_default();
    [job.id.to_string(), job.kind.clone(), job.state.clone(), attempts, due, error.to_owned()]
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
    for attempt in &details.attempts {
        let next = attempt.next_at.map_or(String::new(), |at| format!(", next at {}", at.to_rfc3339()));
        let waits = attempt.waits_for.as_ref().map_or(String::new(), |why| format!(", waits for {why}"));
        let error = attempt.error.as_ref().and_then(|error| error["code"].as_str()).unwrap_or_default();
        let ended = attempt.ended_at.to_rfc3339();
        lines.push(format!("attempt  {} {ended} {} {error}{waits}{next}", attempt.attempt, attempt.outcome));
    }
    lines.join("\n")
}
