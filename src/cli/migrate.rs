//! `sira migrate`: brings the schema up to this binary.

use super::{Exit, on_database, say};
use crate::app::prepare_database;
use crate::config::Config;
use crate::database::Database;

/// Applies what is missing. Running it twice, or in two places at once, is safe.
pub async fn run(config: &Config) -> anyhow::Result<Exit> {
    let prepare = async |database: &Database| Ok(prepare_database(config, database.pool()).await?);
    match on_database(config, prepare).await? {
        0 => say("the schema is up to date"),
        n => say(&format!("{n} migrations applied")),
    }
    Ok(Exit::Ok)
}
