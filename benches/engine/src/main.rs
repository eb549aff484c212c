//! The engine beside its peers and the floor. `benches/engine/run` says how.

mod compare;
mod floor;
mod graphile_worker;
mod hardware;
mod load;
mod sira;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::compare::Test;
use crate::load::{Figures, Load};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All tests of all subjects, interleaved.
    Compare {
        /// Where the peers from npm are installed.
        #[arg(long)]
        peers: PathBuf,
        /// End with one JSON object.
        #[arg(long)]
        json: bool,
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// These tests alone.
        #[arg(long)]
        only: Vec<Test>,
        /// Jobs of a drain.
        #[arg(long, default_value_t = 100_000)]
        jobs: u64,
    },
    /// One test of one subject in this process, on the database of DATABASE_URL; prints its figures as JSON.
    Subject { name: String, test: String },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Compare { peers, json, rounds, only, jobs } => {
            compare::run(&compare::Plan { peers, json, rounds, only, jobs }).await
        }
        Command::Subject { name, test } => {
            let figures = subject(&name, &test, &Load::from_environment()?).await?;
            println!("{}", serde_json::to_string(&figures)?);
            // Workers still run; the database goes with its test.
            std::process::exit(0);
        }
    }
}

async fn subject(name: &str, test: &str, load: &Load) -> anyhow::Result<Figures> {
    match name {
        "sira" => sira::run(test, load).await,
        "floor" => floor::run(test, load).await,
        "graphile_worker" => graphile_worker::run(test, load).await,
        other => anyhow::bail!("no subject is called {other}"),
    }
}
