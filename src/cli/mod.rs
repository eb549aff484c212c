//! The command line. stdout is data, stderr is talk, and each kind of failure has its own exit code: [`Exit`].

pub mod audit;
pub mod backup;
pub mod check;
pub mod config;
pub mod doctor;
pub mod gates;
pub mod imports;
pub mod jobs;
pub mod leads;
pub mod manual;
pub mod mending;
pub mod migrate;
pub mod openapi;
pub mod output;
pub mod quarantine;
pub mod queues;
pub mod reviews;
pub mod schedules;
pub mod seed;
pub mod up;
pub mod user;
pub mod watch;
pub mod workflows;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use sira_domain::{Db, Uow};
use sira_kernel::Actor;

use crate::backup as backups;
use crate::config::{Config, Errors, Loaded, Log};
use crate::database::{Database, OpenError};
use crate::logging;

/// Lead management on a durable job and workflow engine.
#[derive(Debug, Parser)]
#[command(name = "sira", version, after_help = Exit::HELP)]
pub struct Cli {
    /// The configuration file; else SIRA_CONFIG, else ./config.toml or /etc/sira/config.toml when there is one
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Configured(Configured),
    #[command(flatten)]
    Manual(manual::Command),
}

/// Commands that need the configuration.
#[derive(Debug, Subcommand)]
enum Configured {
    /// Run everything in one process, with a private PostgreSQL unless database.url names one
    Up(up::UpArgs),
    /// Answer HTTP only; needs database.url
    Serve,
    /// Run jobs and workflows only; needs database.url
    Work(up::WorkArgs),
    /// Apply the migrations that the database lacks
    Migrate,
    /// Check everything sira needs, and say how to fix what is wrong
    Doctor(doctor::Args),
    /// Look at jobs, retry and cancel them
    #[command(subcommand)]
    Jobs(jobs::Command),
    /// Look at workflows, end them and let them go on
    #[command(subcommand)]
    Workflows(workflows::Command),
    /// Look at the queues of jobs, stop one and let it go on, limit one
    #[command(subcommand)]
    Queues(queues::Command),
    /// Look at what jobs wait for besides a worker, and change its limits
    #[command(subcommand)]
    Gates(gates::Command),
    /// Look at what fires by the clock, and change it
    #[command(subcommand)]
    Schedules(schedules::Command),
    /// Print how queues, gates, schedules and workers stand, and what changes
    Watch(watch::WatchArgs),
    /// Prove that the audit log is as it was sealed
    #[command(subcommand)]
    Audit(audit::Command),
    /// Bring in leads by the file, and list what came in
    #[command(subcommand)]
    Leads(leads::Command),
    /// Look at what could not become a lead, and try it again
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Decide about leads that may be one person
    #[command(subcommand)]
    Reviews(reviews::Command),
    /// Make leads of people who do not exist, with the truth about them
    Seed(seed::Args),
    /// Manage users
    #[command(subcommand)]
    User(user::Command),
    /// Back up the database, also while sira runs; the key file is not in it
    Backup(backup::BackupArgs),
    /// Restore a backup into an empty database, and prove it
    Restore(backup::RestoreArgs),
    /// Print the API's OpenAPI 3.1 document
    Openapi,
    /// Print settings
    #[command(subcommand)]
    Config(config::Command),
}

/// How a command ended. Stable: scripts depend on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed for a reason without a code of its own.
    Failed = 1,
    /// The command line was not understood.
    Usage = 2,
    /// The configuration is not valid.
    Config = 3,
    /// The database is not to be had.
    Database = 4,
    /// `doctor` or `audit` found something wrong.
    Unhealthy = 5,
    /// What is there does not allow it. What was refused was left as it is; stderr says why and what to do.
    Refused = 6,
}

impl Exit {
    const HELP: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 configuration not valid, 4 no database, \
                        5 doctor or audit found something wrong, 6 refused: what is there does not allow it, and was left as it is.";

    /// The code of a failure.
    fn of(error: &anyhow::Error) -> Self {
        if error.is::<Errors>() {
            Self::Config
        } else if error.is::<OpenError>() {
            Self::Database
        } else if matches!(error.downcast_ref(), Some(backups::Error::Refused(_))) {
            Self::Refused
        } else {
            Self::Failed
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs one command to its end; failures are told on stderr.
pub async fn run(cli: Cli) -> Exit {
    match dispatch(cli).await {
        Ok(exit) => exit,
        // Whoever read our output has seen enough, as in `sira ... | head`.
        Err(error) if is_broken_pipe(&error) => Exit::Ok,
        Err(error) => {
            say(&format!("sira: {error:#}"));
            Exit::of(&error)
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    match cli.command {
        Command::Manual(command) => manual::run(Cli::command(), &command),
        Command::Configured(command) => {
            Box::pin(configured(Loaded::from_environment(cli.config)?, command)).await
        }
    }
}

async fn configured(loaded: Loaded, command: Configured) -> anyhow::Result<Exit> {
    let _spans = logging::begin(&match &command {
        // Its output is the table.
        Configured::Up(args) if args.is_check() => {
            Log { filter: "warn".to_owned(), ..loaded.config.log.clone() }
        }
        // Their progress is a bar; whom they cannot call or ask is no matter here.
        Configured::Leads(_) | Configured::Seed(_) => {
            Log { filter: "error".to_owned(), ..loaded.config.log.clone() }
        }
        _ => loaded.config.log.clone(),
    })?;
    match command {
        Configured::Up(args) => up::up(loaded.config, &args).await,
        Configured::Serve => up::serve(&loaded.config).await,
        Configured::Work(args) => up::work(&loaded.config, &args).await,
        Configured::Migrate => migrate::run(&loaded.config).await,
        Configured::Jobs(command) => jobs::run(&loaded.config, command).await,
        Configured::Workflows(command) => workflows::run(&loaded.config, command).await,
        Configured::Queues(command) => queues::run(&loaded.config, command).await,
        Configured::Gates(command) => gates::run(&loaded.config, command).await,
        Configured::Schedules(command) => schedules::run(&loaded.config, command).await,
        Configured::Watch(args) => watch::run(&loaded.config, &args).await,
        Configured::Audit(command) => audit::run(&loaded.config, command).await,
        Configured::Leads(command) => Box::pin(leads::run(&loaded.config, command)).await,
        Configured::Quarantine(command) => quarantine::run(&loaded.config, command).await,
        Configured::Reviews(command) => reviews::run(&loaded.config, command).await,
        Configured::Seed(args) => Box::pin(seed::run(&loaded.config, args)).await,
        Configured::User(command) => user::run(&loaded.config, command).await,
        Configured::Backup(args) => backup::backup(&loaded.config, &args).await,
        Configured::Restore(args) => backup::restore(&loaded.config, &args).await,
        Configured::Openapi => {
            openapi::run(&mut io::stdout(), &loaded.config.http.base_path).map(|()| Exit::Ok)
        }
        Configured::Doctor(args) => doctor::run(&loaded.config, &args).await,
        Configured::Config(command) => config::run(&loaded, &command),
    }
}

/// What is known by its name alone.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// Its name
    pub name: String,
}

/// Works on the running system or on its database, and closes what it opened however that ends.
async fn on_database<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Database) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let database = Database::join(config).await?;
    let done = Box::pin(work(&database)).await;
    database.close().await;
    done
}

/// Does one thing in a unit of work of its own and prints what was done. What the rules refuse is said on stderr; any other
/// error ends the command.
async fn decide<E: std::error::Error + Send + Sync + 'static>(
    db: &Db,
    is_refusal: fn(&E) -> bool,
    effect: impl AsyncFnOnce(&mut Uow) -> Result<String, E>,
) -> anyhow::Result<Exit> {
    let mut uow = db.begin(Actor::System).await?;
    match effect(&mut uow).await {
        Ok(done) => {
            uow.commit().await?;
            print(&done)?;
            Ok(Exit::Ok)
        }
        Err(refused) if is_refusal(&refused) => {
            say(&format!("sira: {refused}"));
            Ok(Exit::Refused)
        }
        Err(error) => Err(error.into()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Data, to stdout.
pub fn print(data: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{data}")?;
    stdout.flush()
}

/// Talk, to stderr. Nobody listening is no failure.
pub fn say(talk: &str) {
    let _ = writeln!(io::stderr(), "{talk}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn failures_have_their_codes() {
        assert_eq!(Exit::of(&Errors(Vec::new()).into()), Exit::Config);
        assert_eq!(Exit::of(&OpenError::Connect(sqlx::Error::PoolTimedOut).into()), Exit::Database);
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Failed);
    }
}
