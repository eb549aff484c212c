//! On what it was measured.

use serde_json::{Value, json};
use sqlx::PgConnection;

pub async fn describe(conn: &mut PgConnection) -> anyhow::Result<Value> {
    let mut settings = serde_json::Map::new();
    for name in [
        "server_version",
        "fsync",
        "synchronous_commit",
        "full_page_writes",
        "shared_buffers",
        "max_wal_size",
    ] {
        let value: String =
            sqlx::query_scalar("select current_setting($1)").bind(name).fetch_one(&mut *conn).await?;
        settings.insert(name.to_owned(), value.into());
    }
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    Ok(json!({
        "cpu": model,
        "cores": std::thread::available_parallelism()?.get(),
        "postgresql": settings,
    }))
}
