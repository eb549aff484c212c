//! What every subject of this program does the same way: payloads, senders, waiting, percentiles.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};

/// Named figures of one run: `per_s`, or `p50_ms` and `p99_ms`.
pub type Figures = BTreeMap<String, f64>;

/// Clients that send one job after the other.
pub const CLIENTS: usize = 8;
/// Jobs of one bulk insert.
pub const BULK: u64 = 1000;
/// A hundred jobs a second.
const STEADY: Duration = Duration::from_millis(10);

/// How much is asked of a subject.
pub struct Load {
    pub url: String,
    pub jobs: u64,
    pub seconds: u64,
}

impl Load {
    pub fn from_environment() -> anyhow::Result<Self> {
        let var = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
        Ok(Self { url: var("DATABASE_URL")?, jobs: var("JOBS")?.parse()?, seconds: var("SECONDS")?.parse()? })
    }

    pub async fn connect(&self, connections: u32) -> anyhow::Result<PgPool> {
        Ok(Self::pool(connections).connect(&self.url).await?)
    }

    pub fn pool(connections: u32) -> PgPoolOptions {
        // As the product's own pool: no round trip before each use.
        PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(connections)
            .test_before_acquire(false)
    }
}

/// About 200 bytes as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Payload {
    pub n: u64,
    pub sent_us: i64,
    pub note: String,
}

impl Payload {
    pub fn new(n: u64) -> Self {
        Self { n, sent_us: now_us(), note: "x".repeat(150) }
    }

    /// How long ago it was sent, in milliseconds.
    pub fn age_ms(&self) -> f64 {
        (now_us() - self.sent_us) as f64 / 1000.0
    }
}

fn now_us() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

pub fn per_second(count: u64, took: Duration) -> Figures {
    Figures::from([("per_s".to_owned(), count as f64 / took.as_secs_f64())])
}

pub fn percentiles(mut milliseconds: Vec<f64>) -> anyhow::Result<Figures> {
    anyhow::ensure!(!milliseconds.is_empty(), "nothing was measured");
    milliseconds.sort_by(f64::total_cmp);
    let at =
        |share: f64| milliseconds[((milliseconds.len() as f64 * share) as usize).min(milliseconds.len() - 1)];
    Ok(Figures::from([("p50_ms".to_owned(), at(0.5)), ("p99_ms".to_owned(), at(0.99))]))
}

/// Eight clients, each sending one after the other for the load's seconds.
pub async fn singly<S, F>(load: &Load, senders: impl IntoIterator<Item = S>) -> anyhow::Result<Figures>
where
    S: FnMut(Payload) -> F + Send + 'static,
    F: Future<Output = anyhow::Result<()>> + Send,
{
    let began = Instant::now();
    let until = began + Duration::from_secs(load.seconds);
    let clients: Vec<_> = senders
        .into_iter()
        .map(|mut send| {
            tokio::spawn(async move {
                let mut sent = 0;
                while Instant::now() < until {
                    send(Payload::new(sent)).await?;
                    sent += 1;
                }
                anyhow::Ok(sent)
            })
        })
        .collect();
    let mut sent = 0;
    for client in clients {
        sent += client.await??;
    }
    Ok(per_second(sent, began.elapsed()))
}

/// A hundred a second, for the load's seconds.
pub async fn steadily<F>(load: &Load, mut send: impl FnMut(Payload) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut ticks = tokio::time::interval(STEADY);
    for n in 0..load.seconds * 100 {
        ticks.tick().await;
        send(Payload::new(n)).await?;
    }
    Ok(())
}

/// The same for all before a drain.
pub async fn vacuum(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::raw_sql("vacuum analyze").execute(pool).await?;
    sqlx::raw_sql("checkpoint").execute(pool).await?;
    Ok(())
}

/// Waits until the table is empty.
pub async fn emptied(pool: &PgPool, table: &str) -> anyhow::Result<()> {
    let sql = format!("select exists (select from {table})");
    while sqlx::query_scalar::<_, bool>(AssertSqlSafe(sql.clone())).fetch_one(pool).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
