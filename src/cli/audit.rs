//! `sira audit`: whether the audit log is as it was sealed.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use sira_domain::audit::{self, Checkpoint, PublicKey, Report, SigningKey};
use sqlx::Connection as _;

use super::{Exit, on_database, print, say};
use crate::config::Config;
use crate::database::Database;
use crate::{sealer, secrets};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the whole log, and compare it with every checkpoint that was signed, in the database and outside
    Verify(Verify),
}

/// With what else it is compared.
#[derive(Debug, Args)]
pub struct Verify {
    /// Checkpoints that were kept elsewhere, in the place of those in the data directory
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
}

/// Runs it, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    let Command::Verify(args) = command;
    let path = sealer::key_file(config);
    let key = SigningKey::of_pkcs8(&secrets::load_key(&path)?).with_context(|| path.display().to_string())?;
    let key = key.public();
    let report = on_database(config, async |database| verify(config, database, &args, &key).await).await?;
    print(&told(&report, &key))?;
    for finding in &report.findings {
        say(&format!("sira: {finding}"));
    }
    if report.found > report.findings.len() {
        say(&format!("sira: and {} more", report.found - report.findings.len()));
    }
    Ok(if report.found == 0 { Exit::Ok } else { Exit::Unhealthy })
}

async fn verify(
    config: &Config,
    database: &Database,
    args: &Verify,
    key: &PublicKey,
) -> anyhow::Result<Report> {
    type Outside = Box<dyn Iterator<Item = Result<Checkpoint, String>> + Send>;
    let kept = sealer::checkpoints_file(config);
    let path = args.checkpoints.as_ref().unwrap_or(&kept);
    let outside: Outside = match sealer::read_checkpoints(path) {
        Ok(checkpoints) => Box::new(checkpoints),
        Err(error) if error.kind() == ErrorKind::NotFound && args.checkpoints.is_none() => {
            say(&format!("there are no checkpoints outside the database: no file {}", path.display()));
            Box::new(std::iter::empty())
        }
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    // One moment: what is sealed meanwhile is not half of it.
    let mut conn = database.pool().acquire().await?;
    let mut moment = conn.begin_with("begin isolation level repeatable read, read only").await?;
    Ok(audit::verify(&mut moment, key, outside).await?)
}

fn told(report: &Report, key: &PublicKey) -> String {
    let Report { leaves, pending, checkpoints, outside, root, found, .. } = report;
    let verdict = match found {
        0 => "every event is as it was sealed".to_owned(),
        found => format!("{found} things are not as they were sealed"),
    };
    format!(
        "events sealed    {leaves}\nnot sealed yet   {pending}\ncheckpoints      {checkpoints} in the database, {outside} outside\n\
         root             {root}\nkey              {}\n{verdict}",
        key.id()
    )
}
