//! Leads from a file beside the floor: a plain COPY of the same rows into the same tables.
//!
//!     cargo bench --bench import [-- ROWS]     100,000 when left out
//!
//! Runs what `sira up --demo` runs, in this process: private PostgreSQL with fsync on. A synthetic file is sent through the
//! same door as any other and imported by the workers, while other queues give the leads to the demo's agents. Then every
//! row that the import wrote about leads is copied into an empty database of the same schema, indexes and foreign keys and
//! all, on the same server, in one transaction. Also says how much memory the process took at most above what it took
//! before, and how the audit log was sealed meanwhile.

mod stage;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sira::cli::up::Up;
use sira::database;
use sira_domain::imports::{self, Counts, Import, NewImport, State, Upload};
use sira_domain::nouns::ImportId;
use sira_domain::privacy::Subject;
use sira_kernel::Actor;
use sira_synthetic::{CsvStyle, Dataset, Options};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection, PgPool};

use self::stage::report;

const ROWS_DEFAULT: usize = 100_000;
/// The file spans so many days.
const DAYS: u32 = 60;
/// Longest import.
const PATIENCE: Duration = Duration::from_hours(1);
/// What an import writes about leads, parents first.
const TABLES: [&str; 12] = [
    "pools",
    "campaigns",
    "ad_sets",
    "ads",
    "lead_forms",
    "keystore.data_keys",
    "imports",
    "leads",
    "lead_contacts",
    "lead_enquiries",
    "lead_status_history",
    "consent_ledger",
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let rows = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(ROWS_DEFAULT);
    let (up, home) = stage::start(|_| {}).await?;
    let path = home.path().join("leads.csv");
    write_file(rows, &path)?;
    let before = resident("VmRSS")?;
    let (import, upload, took) = import(&up, &path).await?;
    let peak = resident("VmHWM")?;
    ensure!(import.state == State::Done, "the import is {}", import.state.code());
    let (copied, floor) = copy(&up).await?;
    let per_second = |rows: i64, took: Duration| rows as f64 / took.as_secs_f64();
    let Import { rows_done, counts: Counts { created, joined, bad, .. }, bytes, .. } = import;
    report(&format!(
        "rows                           {rows_done}: created {created}, joined {joined}, bad {bad}"
    ));
    report(&format!(
        "file                           {} MiB, sent in {:.1} s",
        bytes / 1024 / 1024,
        upload.as_secs_f64()
    ));
    report(&format!(
        "import                         {:.1} s, {:.0} rows/s",
        took.as_secs_f64(),
        per_second(rows_done, took)
    ));
    report(&format!(
        "COPY of the same {copied} rows   {:.1} s, {:.0} leads/s",
        floor.as_secs_f64(),
        per_second(created, floor)
    ));
    report(&format!(
        "import / COPY                  {:.2} times the time",
        took.as_secs_f64() / floor.as_secs_f64()
    ));
    report(&format!("memory above rest, at most     {} MiB", peak.saturating_sub(before) / 1024));
    report(&format!(
        "audit events sealed meanwhile  {}",
        sealed(&up, import.created_at, import.finished_at).await?
    ));
    up.wipe().await
}

fn write_file(rows: usize, path: &std::path::Path) -> anyhow::Result<()> {
    let start = DateTime::from_timestamp(1_790_000_000, 0).context("a time")?;
    let options = Options::new(7, rows, start, DAYS);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    Dataset::new(options)?.write_csv(&mut file, CsvStyle::default())?;
    Ok(())
}

/// How it ended; how long sending and importing took.
async fn import(up: &Up, path: &std::path::Path) -> anyhow::Result<(Import, Duration, Duration)> {
    let cx = &up.parts.cx;
    let id = ImportId::new();
    let key = cx.cipher.create_key(Subject::Import(id), cx.clock.now()).await?;
    let mut uow = cx.begin(Actor::System).await?;
    let new = NewImport { user: None, name: "leads.csv", region: "TR", time_zone: "Europe/Istanbul" };
    imports::create(&mut uow, &key, id, &new).await?;
    uow.commit().await?;
    let begun = Instant::now();
    let mut upload = Upload::begin(&cx.db, &cx.cipher, Actor::System, id).await?;
    let mut file = std::fs::File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            break;
        }
        upload.write(&buffer[..read]).await?;
    }
    upload.finish().await?;
    let sent = begun.elapsed();
    let begun = Instant::now();
    let mut uow = cx.begin(Actor::System).await?;
    imports::start(&mut uow, id, None).await?;
    uow.commit().await?;
    loop {
        let import = imports::get(&mut *cx.db.read().await?, id).await?;
        if import.finished_at.is_some() {
            return Ok((import, sent, begun.elapsed()));
        }
        ensure!(begun.elapsed() < PATIENCE, "{} rows in {PATIENCE:?}", import.rows_done);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the audit log is sealed: how many events were written in that time, how many a second, and how long each waited from its act on.
async fn sealed(up: &Up, since: DateTime<Utc>, until: Option<DateTime<Utc>>) -> anyhow::Result<String> {
    while sqlx::query_scalar("select exists (select from audit_pending)").fetch_one(up.pool()).await? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (events, per_second, p50, p99): (i64, f64, f64, f64) = sqlx::query_as(
        "with waited as (
            select e.at, c.at as sealed_at, extract(epoch from c.at - e.at)::float8 as seconds
            from audit_leaf l join audit_event e on e.id = l.event_id
            cross join lateral (select at from audit_checkpoint where size > l.leaf order by size limit 1) as c
            where e.at >= $1 and e.at < $2
        )
        select count(*), count(*) / extract(epoch from max(sealed_at) - min(at))::float8,
            percentile_cont(0.5) within group (order by seconds), percentile_cont(0.99) within group (order by seconds)
        from waited",
    )
    .bind(since)
    .bind(until)
    .fetch_one(up.pool())
    .await?;
    Ok(format!("{events}, {per_second:.0}/s; from the act to the signature p50 {p50:.1} s, p99 {p99:.1} s"))
}

/// How many rows were copied, and how long that took.
async fn copy(up: &Up) -> anyhow::Result<(u64, Duration)> {
    sqlx::raw_sql("create database floor template template0").execute(up.pool()).await?;
    let options = (*up.pool().connect_options()).clone().database("floor");
    let floor: PgPool = PgPoolOptions::new().max_connections(2).connect_with(options.clone()).await?;
    database::migrate(&floor).await?;
    floor.close().await;
    let mut source = up.pool().acquire().await?;
    let mut target = PgConnection::connect_with(&options).await?;
    // Who owns a lead, and who imported it, are not the import's doing.
    sqlx::raw_sql(
        "alter table leads drop constraint leads_owner_id_fkey, drop constraint leads_team_id_fkey;
         alter table imports drop constraint imports_user_id_fkey;",
    )
    .execute(&mut target)
    .await?;
    let mut data = Vec::new();
    for table in TABLES {
        let out = source.copy_out_raw(&format!("copy {table} to stdout (format binary)")).await?;
        data.push(
            out.try_fold(Vec::new(), |mut all, part| async move {
                all.extend_from_slice(&part);
                Ok(all)
            })
            .await?,
        );
    }
    let begun = Instant::now();
    let mut copied = 0;
    sqlx::raw_sql("begin").execute(&mut target).await?;
    for (table, data) in TABLES.iter().zip(data) {
        let mut to = target.copy_in_raw(&format!("copy {table} from stdin (format binary)")).await?;
        to.send(data).await?;
        copied += to.finish().await?;
    }
    sqlx::raw_sql("commit").execute(&mut target).await?;
    let took = begun.elapsed();
    target.close().await?;
    Ok((copied, took))
}

/// A line of `/proc/self/status`, in KiB.
fn resident(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("the kernel tells")?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?)
}
