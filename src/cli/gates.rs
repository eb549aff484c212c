//! `sira gates`: what jobs wait for besides a worker, changing its limits, closing its breaker.

use clap::{Args, Subcommand};
use sira_domain::operations::{OperationError, gates};
use sira_engine::ops::{self, GateEdit, GateError, GateView, HELD_MAX};
use sira_kernel::Clock;

use super::output::{Row, Whole};
use super::{Exit, Named, decide, on_database};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// What can be asked and done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List gates, by name: their limits, their breakers, what waits for them
    Ls(Whole),
    /// Give one these limits in the place of all that it had; what is left out is without that limit
    Set(Set),
    /// Close its breaker, and no longer wait for the time that its provider named
    Reset(Named),
}

/// Which gate, and its limits.
#[derive(Debug, Args)]
pub struct Set {
    /// Its name
    name: String,
    /// Most of its jobs that are ready or run
    #[arg(long, value_name = "N")]
    concurrency: Option<u16>,
    /// Jobs a second
    #[arg(long, value_name = "PER_SECOND", requires = "burst")]
    rate: Option<f64>,
    /// Most jobs at once
    #[arg(long, value_name = "N", requires = "rate")]
    burst: Option<u16>,
    /// Failures in a row that open the breaker
    #[arg(long, value_name = "N", requires = "open_seconds")]
    failures: Option<u16>,
    /// How long it is then open
    #[arg(long, value_name = "SECONDS", requires = "failures")]
    open_seconds: Option<f64>,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    let db = unattended(config, database.pool().clone());
    match command {
        Command::Ls(whole) => {
            let mut conn = database.pool().acquire().await?;
            whole.print(&ops::list_gates(&mut conn, &Clock::system()).await?)
        }
        Command::Set(Set { name, concurrency, rate, burst, failures, open_seconds }) => {
            let edit = GateEdit {
                concurrency_max: concurrency,
                rate: rate.zip(burst),
                breaker: failures.zip(open_seconds),
            };
            decide(&db, is_refusal, async |uow| {
                gates::edit(uow, &name, &edit).await?;
                Ok(format!("{name}: changed"))
            })
            .await
        }
        Command::Reset(Named { name }) => {
            decide(&db, is_refusal, async |uow| {
                gates::reset(uow, &name).await?;
                Ok(format!("{name}: closed"))
            })
            .await
        }
    }
}

fn is_refusal(error: &OperationError) -> bool {
    !matches!(error, OperationError::Engine(_) | OperationError::Gate(GateError::Engine(_)))
}

impl Row for GateView {
    const HEADINGS: &'static [&'static str] =
        &["NAME", "HELD", "PASSED", "MOST", "PER_SECOND", "BURST", "BREAKER", "FAILURES", "WAITS_UNTIL"];
    fn cells(&self) -> Vec<String> {
        let counted = |of: i64| if of < HELD_MAX { of.to_string() } else { format!("{HELD_MAX} or more") };
        let shown = |of: Option<i32>| of.map_or(String::new(), |of| of.to_string());
        vec![
            self.name.clone(),
            counted(self.held),
            counted(self.passed),
            shown(self.concurrency_max),
            self.rate_per_s.map_or(String::new(), |rate| rate.to_string()),
            shown(self.burst),
            self.breaker.clone(),
            self.failures_max.map_or(String::new(), |most| format!("{} of {most}", self.failures)),
            self.blocked_until.max(self.open_until).map_or(String::new(), |at| at.to_rfc3339()),
        ]
    }
    fn position(&self) -> String {
        self.name.clone()
    }
}
