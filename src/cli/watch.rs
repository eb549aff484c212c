//! `sira watch`: the operators' board, and what changes of it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use sira_domain::operations::bulk::Progress;
use sira_kernel::Clock;

use super::output::Row;
use super::{Exit, on_database, print};
use crate::board::{Board, Card, Change};
use crate::config::Config;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How it is written.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// How a change is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How a change is written: one on each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// When, what, and its columns, for people
    Text,
    /// An object a line, for programs
    Json,
}

/// Prints everything on the board, and from then on each second what has changed, until it is interrupted.
pub async fn run(config: &Config, args: &WatchArgs) -> anyhow::Result<Exit> {
    on_database(config, async |database| {
        let clock = Clock::system();
        let mut told = Board::default();
        loop {
            let board = Board::read(&mut *database.pool().acquire().await?, &clock).await?;
            for change in board.changes_since(&told) {
                print(&match args.output {
                    Format::Text => format!("{}  {}", clock.now().format("%H:%M:%S"), line(&change)),
                    Format::Json => object(&change).to_string(),
                })?;
            }
            told = board;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await
}

fn line(change: &Change<'_>) -> String {
    let (card, end) = match change {
        Change::Is(card) => (card, columns(card)),
        Change::Gone(card) => (card, format!("{}  gone", card.key())),
    };
    format!("{:<8}  {end}", card.topic())
}

/// What its list shows of it, without what is empty.
fn columns(card: &Card) -> String {
    match card {
        Card::Queue(queue) => named(queue),
        Card::Gate(gate) => named(gate),
        Card::Schedule(schedule) => named(schedule),
        Card::Worker(worker) => named(worker),
        Card::Counter(counter) => named(counter),
        Card::Bulk(act) => named(act),
    }
}

fn named<R: Row>(row: &R) -> String {
    let cells = R::HEADINGS.iter().zip(row.cells()).filter(|(_, cell)| !cell.is_empty());
    let shown = cells.map(|(heading, cell)| format!("{}={cell}", heading.to_lowercase()));
    shown.collect::<Vec<_>>().join("  ")
}

fn object(change: &Change<'_>) -> Value {
    match change {
        Change::Is(card) => json!({ "topic": card.topic(), "key": card.key(), "is": card }),
        Change::Gone(card) => json!({ "topic": card.topic(), "key": card.key(), "is": null }),
    }
}

impl Row for Progress {
    const HEADINGS: &'static [&'static str] = &["ID", "ACT", "STATE", "DONE", "REFUSED", "BEGUN"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.act.clone(),
            self.state.clone(),
            self.done.to_string(),
            self.refused.to_string(),
            self.created_at.to_rfc3339(),
        ]
    }
    fn position(&self) -> String {
        self.id.to_string()
    }
}
