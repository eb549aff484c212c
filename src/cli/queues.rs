//! `sira queues`: who works on what, what waits, stopping and limiting a queue.

use std::num::NonZeroU16;
use std::time::Duration;

use clap::{Args, Subcommand};
use sira_domain::operations::{OperationError, queues};
use sira_engine::ops::{
    self, CounterFilter, CounterView, MINUTES_MAX, QueueError, QueueView, READY_MAX, SessionView,
};
use sira_kernel::Clock;

use super::output::{Row, Whole};
use super::{Exit, Named, decide, on_database, print};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// How often a drain looks again.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What can be asked and done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List queues, by name: paused or not, what is due, who works on them
    Ls(Whole),
    /// Stop one in all processes: what runs comes to its end, what is enqueued waits
    Pause(Pause),
    /// Stop one, and wait until none of its jobs runs; interrupted, it stays stopped
    Drain(Pause),
    /// Let one go on
    Resume(Named),
    /// List the processes that work, oldest first
    Workers(Whole),
    /// How attempts ended in the last minutes, by queue, kind and outcome
    Counters(Counters),
    /// Set how many of its jobs run at a time in all processes
    Limit(Limit),
}

/// Which minutes.
#[derive(Debug, Args)]
pub struct Counters {
    /// So many minutes back
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=i64::from(MINUTES_MAX)))]
    minutes: u16,
    /// A queue's name
    #[arg(long)]
    queue: Option<String>,
    /// A kind, as in ingestion.fetch_meta_lead
    #[arg(long)]
    kind: Option<String>,
    #[command(flatten)]
    whole: Whole,
}

/// Which queue, and why.
#[derive(Debug, Args)]
pub struct Pause {
    /// Its name
    name: String,
    /// Why, for operators and the audit log; no names, numbers or addresses of people
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Which queue, and how much of it.
#[derive(Debug, Args)]
pub struct Limit {
    /// Its name
    name: String,
    /// Most jobs at a time, from 1; `none` takes the limit away
    #[arg(value_name = "N", value_parser = most)]
    most: Most,
}

/// A limit, or none.
type Most = Option<NonZeroU16>;

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    let db = unattended(config, database.pool().clone());
    match command {
        Command::Ls(whole) => {
            let mut conn = database.pool().acquire().await?;
            whole.print(&ops::list_queues(&mut conn, &Clock::system()).await?)
        }
        Command::Pause(Pause { name, reason }) => {
            decide(&db, is_refusal, async |uow| {
                queues::pause(uow, &name, &reason).await?;
                Ok(format!("{name}: paused"))
            })
            .await
        }
        Command::Drain(Pause { name, reason }) => {
            let paused = decide(&db, is_refusal, async |uow| {
                queues::pause(uow, &name, &reason).await?;
                Ok(format!("{name}: paused"))
            });
            match paused.await? {
                Exit::Ok => drained(database, &name).await,
                refused => Ok(refused),
            }
        }
        Command::Workers(whole) => {
            let mut conn = database.pool().acquire().await?;
            whole.print(&ops::list_sessions(&mut conn).await?)
        }
        Command::Counters(Counters { minutes, queue, kind, whole }) => {
            let mut conn = database.pool().acquire().await?;
            let filter = CounterFilter { queue, kind, minutes };
            whole.print(&ops::list_counters(&mut conn, &filter).await?)
        }
        Command::Limit(Limit { name, most }) => {
            decide(&db, is_refusal, async |uow| {
                queues::limit(uow, &name, most).await?;
                let limit = most.map_or("no limit".to_owned(), |most| format!("at most {most} at a time"));
                Ok(format!("{name}: {limit}"))
            })
            .await
        }
        Command::Resume(Named { name }) => {
            decide(&db, is_refusal, async |uow| {
                queues::resume(uow, &name).await?;
                Ok(format!("{name}: goes on"))
            })
            .await
        }
    }
}

/// Says how many still run whenever that has changed.
async fn drained(database: &Database, name: &str) -> anyhow::Result<Exit> {
    let mut told = None;
    loop {
        let running = ops::count_running(&mut *database.pool().acquire().await?, name).await?;
        if running == 0 {
            print(&format!("{name}: drained"))?;
            return Ok(Exit::Ok);
        }
        if told != Some(running) {
            print(&format!("{name}: {running} still run"))?;
            told = Some(running);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A number from 1, or `none`.
fn most(text: &str) -> Result<Most, String> {
    match (text, text.parse()) {
        ("none", _) => Ok(None),
        (_, Ok(most)) => Ok(Some(most)),
        _ => Err("write a number from 1 to 65535, or none".to_owned()),
    }
}

fn is_refusal(error: &OperationError) -> bool {
    !matches!(error, OperationError::Engine(_) | OperationError::Queue(QueueError::Engine(_)))
}

impl Row for QueueView {
    const HEADINGS: &'static [&'static str] = &["NAME", "READY", "OLDEST_S", "WORKERS", "LIMIT", "PAUSED"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            if self.ready < READY_MAX { self.ready.to_string() } else { format!("{READY_MAX} or more") },
            self.oldest_s.map_or(String::new(), |seconds| format!("{seconds:.0}")),
            self.workers.to_string(),
            self.concurrency_max.map_or(String::new(), |most| most.to_string()),
            self.paused_reason.clone().unwrap_or_default(),
        ]
    }
    fn position(&self) -> String {
        self.name.clone()
    }
}

impl Row for SessionView {
    const HEADINGS: &'static [&'static str] = &["ID", "HOST", "VERSION", "SINCE", "UNTIL", "QUEUES"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.host.clone(),
            self.version.clone(),
            self.started_at.to_rfc3339(),
            self.until.to_rfc3339(),
            self.queues.join(" "),
        ]
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}

impl Row for CounterView {
    const HEADINGS: &'static [&'static str] = &["MINUTE", "QUEUE", "KIND", "OUTCOME", "ATTEMPTS", "RAN_MS"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.minute.to_rfc3339(),
            self.queue.clone(),
            self.kind.clone(),
            self.outcome.clone(),
            self.attempts.to_string(),
            self.ran_ms.to_string(),
        ]
    }
    fn position(&self) -> String {
        self.minute.to_rfc3339()
    }
}
