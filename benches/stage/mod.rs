//! What every bench of the product stands on: what `sira up --demo` runs, in this process, on a private PostgreSQL with
//! fsync on.

use sira::cli::up::{Progress, Up};
use sira::config::{Config, Loaded};
use tempfile::TempDir;

/// The product with the sandbox as its providers, in a directory that goes away with the second value.
pub async fn start(change: impl FnOnce(&mut Config)) -> anyhow::Result<(Up, TempDir)> {
    let home = tempfile::tempdir()?;
    let mut config = Loaded::load(None, &[])?.config;
    config.data.dir = home.path().join("data");
    config.http.listen.set_port(0);
    config.sandbox.enabled = true;
    change(&mut config);
    Ok((Up::start(config, &mut Progress::begin()).await?, home))
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
pub fn report(line: &str) {
    println!("{line}");
}
