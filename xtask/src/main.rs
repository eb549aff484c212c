//! Checks and generators of the repository, called by `./test` and by hand: `cargo run -p xtask -- tidy`.

mod cluster;
mod prepare;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(about = "Checks and generators of the repository")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check layers, sizes, words, migrations, pages and the lock file; print every violation
    Tidy,
    /// Run every checked query against a fresh database and write the .sqlx cache
    Prepare {
        /// Write nothing; fail when the cache is not what it should be
        #[arg(long)]
        check: bool,
    },
    /// Run a command with SIRA_TEST_DATABASE_URL set to a throw-away cluster
    Cluster {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let root = root();
    match Cli::parse().command {
        Command::Tidy => tidy::run(&root),
        Command::Prepare { check } => prepare::run(&root, check).await,
        Command::Cluster { command } => cluster::run(&command).await,
    }
}

/// The checkout: of the place where cargo built this, and the only one this is run in.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout").to_owned()
}
