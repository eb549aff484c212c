//! `sira audit`: whether the audit log is as it was sealed, and evidence for others.

mod export;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use sira_domain::audit::{self, Checkpoint, PublicKey, Report, Search, SigningKey};
use sira_domain::event::OperatorAct;
use sira_kernel::Actor;
use sqlx::Connection as _;

use self::export::Exported;
use super::leads::progress_bar;
use super::{Exit, on_database, print, say};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;
use crate::{sealer, secrets};

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the whole log, and compare it with every checkpoint that was signed, in the database and outside
    Verify(Verify),
    /// Write sealed events with their proofs to a file that anybody can verify
    Export(Export),
}

/// With what else it is compared.
#[derive(Debug, Args)]
pub struct Verify {
    /// Checkpoints that were kept elsewhere, in the place of those in the data directory
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// An export to verify by itself, without a database, in the place of the log
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoints")]
    export: Option<PathBuf>,
    /// With --export: the name that the key has to have
    #[arg(long, value_name = "NAME", requires = "export")]
    key: Option<String>,
}

/// Which events, and where to. Everything that is given holds.
#[derive(Debug, Args)]
pub struct Export {
    /// A file to make; nothing may be there yet
    to: PathBuf,
    /// What it happened to, as in lead:018f...
    #[arg(long, value_name = "KIND:ID", value_parser = subject)]
    subject: Option<(String, String)>,
    /// Who: a user's id, or the name of a job, workflow or provider
    #[arg(long)]
    actor: Option<String>,
    /// As in lead.assigned
    #[arg(long)]
    action: Option<String>,
    /// Not before this time, as in 2026-11-01T00:00:00Z
    #[arg(long)]
    from: Option<DateTime<Utc>>,
    /// Before this time
    #[arg(long)]
    until: Option<DateTime<Utc>>,
}

fn subject(text: &str) -> Result<(String, String), String> {
    let (kind, id) = text.split_once(':').ok_or("write its kind, a colon and its id")?;
    Ok((kind.to_owned(), id.to_owned()))
}

/// Runs it, on the running system or on its database; an export is verified without either.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Verify(Verify { export: Some(path), key, .. }) => verify_export(&path, key.as_deref()),
        Command::Verify(args) => verify_log(config, &args).await,
        Command::Export(args) => export(config, args).await,
    }
}

async fn verify_log(config: &Config, args: &Verify) -> anyhow::Result<Exit> {
    let path = sealer::key_file(config);
    let key = SigningKey::of_pkcs8(&secrets::load_key(&path)?).with_context(|| path.display().to_string())?;
    let key = key.public();
    let report = on_database(config, async |database| verify(config, database, args, &key).await).await?;
    print(&told(&report, &key))?;
    for finding in &report.findings {
        say(&format!("sira: {finding}"));
    }
    if report.found > report.findings.len() {
        say(&format!("sira: and {} more", report.found - report.findings.len()));
    }
    Ok(if report.found == 0 { Exit::Ok } else { Exit::Unhealthy })
}

fn verify_export(path: &Path, key: Option<&str>) -> anyhow::Result<Exit> {
    let exported = match export::verify(path) {
        Ok(exported) => exported,
        Err(error) if error.is::<std::io::Error>() => {
            return Err(error).with_context(|| path.display().to_string());
        }
        Err(wrong) => {
            say(&format!("sira: {}: {wrong:#}", path.display()));
            return Ok(Exit::Unhealthy);
        }
    };
    print(&in_words(&exported))?;
    if let Some(key) = key.filter(|key| **key != exported.key.id()) {
        say(&format!("sira: it is signed with the key {}, and not with {key}", exported.key.id()));
        return Ok(Exit::Unhealthy);
    }
    Ok(Exit::Ok)
}

async fn export(config: &Config, args: Export) -> anyhow::Result<Exit> {
    let Export { to, subject, actor, action, from, until } = args;
    let search = Search { subject, actor, action, from, to: until };
    if !search.names_nobody() {
        say("sira: what is looked for is kept in the audit log: give ids and names as it holds them");
        return Ok(Exit::Usage);
    }
    let bar = progress_bar()?;
    let tell = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let exporting = async |database: &Database| {
        let mut conn = database.pool().acquire().await?;
        let (exported, pending) = export::write(&mut conn, &search, &to, tell).await?;
        let mut uow = unattended(config, database.pool().clone()).begin(Actor::System).await?;
        let (events, size) = (exported.events, exported.checkpoint.size);
        let search = serde_json::to_value(&search)?;
        uow.record(OperatorAct::AuditExported { events, size, search }.into());
        uow.commit().await?;
        Ok((exported, pending))
    };
    let exported = on_database(config, exporting).await;
    bar.finish_and_clear();
    let (exported, pending) = exported?;
    print(&in_words(&exported))?;
    if pending > 0 {
        say(&format!("{pending} events were not sealed yet, and are not in it"));
    }
    Ok(Exit::Ok)
}

fn in_words(exported: &Exported) -> String {
    let Exported { events, checkpoint, key, search, whole } = exported;
    let which = if *whole {
        "every event that was sealed by then".to_owned()
    } else {
        format!(
            "those that match {}; that none of those is left out is not proven",
            serde_json::json!(search)
        )
    };
    format!(
        "events           {events}: {which}\nof a log of      {} events, sealed at {}\nroot             {}\nkey              {}\n\
         every event in it is as it was sealed",
        checkpoint.size,
        checkpoint.at.to_rfc3339(),
        checkpoint.root,
        key.id()
    )
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
