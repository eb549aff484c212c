//! The one binary: everything it does is a command of [`sira::cli`].

use std::process::ExitCode;

use clap::Parser;
use sira::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await.into()
}
