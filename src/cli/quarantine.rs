//! `sira quarantine`: source events that could not become leads. What they say is sealed and not shown.

use std::io::Read as _;

use anyhow::{Context as _, bail, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;
use sira_domain::ingestion::{self, Correction, Quarantined, ReleaseError};
use sira_domain::nouns::InboundId;
use sira_domain::privacy::Subject;
use sira_kernel::{Actor, EmailAddress, PhoneNumber};
use uuid::Uuid;

use super::output::{Listing, Row};
use super::{Exit, on_database, print, say};
use crate::app::{Parts, prepare_database, unattended};
use crate::config::Config;
use crate::database::Database;

/// Most events that are let out by one command.
const EVENTS_MAX: usize = 200;
/// Longest correction, in bytes.
const CORRECTION_BYTES_MAX: u64 = 4096;

/// What can be asked and done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List events in quarantine, oldest first, each with the reason
    Ls(Ls),
    /// Try events again, as they are
    Retry(Retry),
    /// Put a right number or address in the place of what was written, and try the event again
    Correct(Correct),
}

/// From where.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only events that came after this one: the last id of the page before
    #[arg(long, value_name = "ID")]
    after: Option<InboundId>,
    #[command(flatten)]
    listing: Listing,
}

/// Which events.
#[derive(Debug, Args)]
pub struct Retry {
    /// Their ids
    #[arg(required = true, num_args = 1..=EVENTS_MAX, value_name = "ID")]
    ids: Vec<InboundId>,
}

/// Which event. What is right comes on stdin, because others on the machine can read a command line.
#[derive(Debug, Args)]
#[command(after_help = "Reads lines from stdin: `phone: +90 5xx xxx xx xx`, `email: ...`, or both.")]
pub struct Correct {
    /// Its id
    id: InboundId,
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Ls(args) => list(database, args).await.map(|()| Exit::Ok),
        Command::Retry(args) => {
            let db = unattended(config, database.pool().clone());
            let mut exit = Exit::Ok;
            for id in args.ids {
                exit = exit.max(release(&db, id, None).await?);
            }
            Ok(exit)
        }
        Command::Correct(args) => {
            let correction = read_correction(&config.intake.phone_region)?;
            prepare_database(config, database.pool()).await?;
            let parts = Parts::assemble(config, database.pool().clone()).await?;
            let known = ingestion::find_received_at(&mut *database.pool().acquire().await?, args.id).await;
            if let Err(ReleaseError::NotFound) = known {
                return Ok(refused(args.id, &ReleaseError::NotFound));
            }
            let key = parts.cx.cipher.key(Subject::Inbound(args.id)).await?;
            release(&parts.cx.db, args.id, Some(&correction.seal(&key, args.id))).await
        }
    }
}

async fn list(database: &Database, args: Ls) -> anyhow::Result<()> {
    let mut conn = database.pool().acquire().await?;
    let after = match args.after {
        Some(id) => Some((ingestion::find_received_at(&mut conn, id).await?, id)),
        None => None,
    };
    let found = ingestion::list_quarantined(&mut conn, after, args.listing.rows_wanted()).await?;
    args.listing.print(found.into_iter().map(Listed::from).collect())
}

/// Each in a unit of work of its own. The workers of other processes find it at their next poll.
async fn release(db: &sira_domain::Db, id: InboundId, correction: Option<&[u8]>) -> anyhow::Result<Exit> {
    let mut uow = db.begin(Actor::System).await?;
    match ingestion::release(&mut uow, id, correction).await {
        Ok(()) => {
            uow.commit().await?;
            print(&format!("event {id}: tried again"))?;
            Ok(Exit::Ok)
        }
        Err(ReleaseError::Database(error)) => Err(error.into()),
        Err(error) => Ok(refused(id, &error)),
    }
}

fn refused(id: InboundId, error: &ReleaseError) -> Exit {
    say(&format!("event {id}: {error}"));
    Exit::Refused
}

fn read_correction(region: &str) -> anyhow::Result<Correction> {
    let mut text = String::new();
    let stdin = std::io::stdin().lock();
    stdin
        .take(CORRECTION_BYTES_MAX)
        .read_to_string(&mut text)
        .context("reading the correction from stdin")?;
    parse_correction(&text, region)
}

/// No value is repeated in an error.
fn parse_correction(text: &str, region: &str) -> anyhow::Result<Correction> {
    let mut correction = Correction::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (name, value) =
            line.split_once(':').context("stdin: each line is `phone: ...` or `email: ...`")?;
        match name.trim() {
            "phone" => {
                let phone = PhoneNumber::parse(value.trim(), region);
                correction.phone = Some(phone.ok().context("stdin: the phone number cannot be read")?);
            }
            "email" => {
                let email = EmailAddress::parse(value.trim());
                correction.email = Some(email.ok().context("stdin: this is not an e-mail address")?);
            }
            _ => bail!("stdin: each line is `phone: ...` or `email: ...`"),
        }
    }
    ensure!(!correction.is_empty(), "stdin has neither a `phone: ...` nor an `email: ...`");
    Ok(correction)
}

/// An event in a list.
#[derive(Serialize)]
struct Listed {
    id: Uuid,
    provider: String,
    external_id: String,
    code: String,
    reason: String,
    received_at: DateTime<Utc>,
}

impl From<Quarantined> for Listed {
    fn from(event: Quarantined) -> Self {
        Self {
            id: event.id.uuid(),
            provider: event.provider,
            external_id: event.external_id,
            code: event.reason_code,
            reason: event.reason,
            received_at: event.received_at,
        }
    }
}

impl Row for Listed {
    const HEADINGS: &'static [&'static str] =
        &["ID", "PROVIDER", "EXTERNAL_ID", "RECEIVED", "CODE", "REASON"];
    const NEXT: &'static str = "--after";
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.provider.clone(),
            self.external_id.clone(),
            self.received_at.to_rfc3339(),
            self.code.clone(),
            self.reason.clone(),
        ]
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correction_is_read_line_by_line_and_an_error_repeats_nothing() {
        let correction = parse_correction("email: A@example.com\n\nphone: 0555 000 00 17\n", "TR").unwrap();
        assert_eq!(correction.phone.unwrap().e164(), "+905550000017");
        assert_eq!(correction.email.unwrap().as_str(), "a@example.com");
        for text in ["", "phone 1", "phone: 12", "email: nobody", "fax: 1"] {
            let error = parse_correction(text, "TR").err().unwrap().to_string();
            assert!(
                error.starts_with("stdin") && !error.contains("12") && !error.contains("nobody"),
                "{error}"
            );
        }
    }
}
