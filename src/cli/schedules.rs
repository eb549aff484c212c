//! `sira schedules`: when things fire by the clock, and changing it.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sira_domain::operations::{OperationError, schedules};
use sira_engine::CatchUp;
use sira_engine::ops::{self, ScheduleDetails, ScheduleEdit, ScheduleError, ScheduleView, SlotView};

use super::jobs::ShowFormat;
use super::output::{Row, Whole};
use super::{Exit, Named, decide, on_database, print};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// What can be asked and done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List schedules, by name
    Ls(Whole),
    /// Show one with its next five slots and what became of the last ten
    Show(Show),
    /// Change when one fires, and what happens with slots that were missed
    Edit(Edit),
    /// Stop one
    Pause(Pause),
    /// Let one go on, with its first slot from now on
    Resume(Named),
    /// Enqueue its job now, beside its slots
    Run(Named),
}

/// Which schedule.
#[derive(Debug, Args)]
pub struct Show {
    /// Its name
    name: String,
    /// How it is written
    #[arg(short, long, value_enum, default_value_t = ShowFormat::Table)]
    output: ShowFormat,
}

/// Which schedule, and how it is to be. What is left out stays.
#[derive(Debug, Args)]
pub struct Edit {
    /// Its name
    name: String,
    /// Minute, hour, day of month, month, weekday, as in "30 3 * * MON-FRI"; with six fields, seconds come first
    #[arg(long, value_name = "EXPRESSION", required_unless_present_any = ["time_zone", "catch_up"])]
    cron: Option<String>,
    /// An IANA name, as in Europe/Istanbul
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// What happens with slots that passed while nothing could fire them: all, latest or skip
    #[arg(long, value_parser = catch_up)]
    catch_up: Option<CatchUp>,
}

fn catch_up(code: &str) -> Result<CatchUp, String> {
    CatchUp::parse(code).ok_or_else(|| "take one of all, latest, skip".to_owned())
}

/// Which schedule, and why.
#[derive(Debug, Args)]
pub struct Pause {
    /// Its name
    name: String,
    /// Why, for operators and the audit log; no names, numbers or addresses of people
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
        Command::Ls(whole) => {
            let schedules = ops::list_schedules(&mut *database.pool().acquire().await?).await?;
            whole.print(&schedules)
        }
        Command::Show(args) => show(database, &args).await.map(|()| Exit::Ok),
        Command::Edit(Edit { name, cron, time_zone, catch_up }) => {
            let edit = ScheduleEdit { cron, time_zone, catch_up };
            decide(&db, is_refusal, async |uow| {
                let now = schedules::edit(uow, &name, &edit).await?;
                Ok(format!(
                    "{name}: {} in {}, catch-up {}; {}",
                    now.cron,
                    now.time_zone,
                    now.catch_up,
                    next(&now)
                ))
            })
            .await
        }
        Command::Pause(Pause { name, reason }) => {
            decide(&db, is_refusal, async |uow| {
                schedules::pause(uow, &name, &reason).await?;
                Ok(format!("{name}: paused"))
            })
            .await
        }
        Command::Resume(Named { name }) => {
            decide(&db, is_refusal, async |uow| {
                schedules::resume(uow, &name).await?;
                Ok(format!("{name}: goes on"))
            })
            .await
        }
        Command::Run(Named { name }) => {
            decide(&db, is_refusal, async |uow| {
                let job = schedules::run_now(uow, &name).await?;
                Ok(format!("{name}: job {job}; `sira jobs show {job}` says how it stands"))
            })
            .await
        }
    }
}

async fn show(database: &Database, args: &Show) -> anyhow::Result<()> {
    let found = ops::find_schedule(&mut *database.pool().acquire().await?, &args.name).await?;
    let found = found.with_context(|| {
        format!("there is no schedule {}; `sira schedules ls` lists them, once workers have run", args.name)
    })?;
    print(&match args.output {
        ShowFormat::Json => serde_json::to_string_pretty(&found)?,
        ShowFormat::Table => told(&found),
    })?;
    Ok(())
}

fn is_refusal(error: &OperationError) -> bool {
    !matches!(error, OperationError::Engine(_) | OperationError::Schedule(ScheduleError::Engine(_)))
}

fn next(schedule: &ScheduleView) -> String {
    match (&schedule.paused_reason, schedule.next_at) {
        (Some(reason), _) => format!("paused: {reason}"),
        (None, Some(at)) => format!("next at {}", at.to_rfc3339()),
        (None, None) => "no further slot in ten years".to_owned(),
    }
}

impl Row for ScheduleView {
    const HEADINGS: &'static [&'static str] = &["NAME", "CRON", "ZONE", "CATCH_UP", "NEXT", "PAUSED"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.cron.clone(),
            self.time_zone.clone(),
            self.catch_up.clone(),
            self.next_at.map_or(String::new(), |at| at.to_rfc3339()),
            self.paused_reason.clone().unwrap_or_default(),
        ]
    }
    fn position(&self) -> String {
        self.name.clone()
    }
}

fn told(details: &ScheduleDetails) -> String {
    let schedule = &details.schedule;
    let origin = schedule.edited_at.map_or_else(
        || "as the program declares it".to_owned(),
        |at| format!("changed by an operator at {}", at.to_rfc3339()),
    );
    let mut lines = vec![
        format!("schedule {} ({origin})", schedule.name),
        format!("fires    {} in {}", schedule.cron, schedule.time_zone),
        format!("catch-up {}", schedule.catch_up),
        format!("job      {} on {}", schedule.kind, schedule.queue),
        format!("state    {}", next(schedule)),
    ];
    lines.extend(details.next.iter().skip(1).map(|at| format!("then     {}", at.to_rfc3339())));
    lines.extend(details.last.iter().map(slot_told));
    lines.join("\n")
}

fn slot_told(slot: &SlotView) -> String {
    let at = slot.slot.to_rfc3339();
    match (slot.missed_from, slot.job_id) {
        (Some(from), _) if from == slot.slot => format!("missed   {at}"),
        (Some(from), _) => format!("missed   {} to {at}", from.to_rfc3339()),
        (None, job) => {
            let by = if slot.by_request { "ran     " } else { "fired   " };
            let state = slot.job_state.as_deref().unwrap_or("no longer known");
            format!("{by} {at} job {} {state}", job.map_or_else(String::new, |job| job.to_string()))
        }
    }
}
