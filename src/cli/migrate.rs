//! `sira migrate`: brings the schema up to this binary.

use super::{Exit, say};
use crate::app::prepare_database;
use crate::config::Config;
use crate::database::Database;

/// Applies what is missing. Running it twice, or in two places at once, is safe.
pub async fn run(config: &Config) -> anyhow::Result<Exit> {
    let database = Database::join(config).await?;
    let applied = prepare_database(config, database.pool()).await;
    database.close().await;
    match applied? {
        0 => say("the schema is up to date"),
        n => say(&format!("{n} migrations applied")),
    }
    Ok(Exit::Ok)
}
