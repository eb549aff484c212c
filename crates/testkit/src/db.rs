//! One database per test, cloned from a template that is migrated once.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use sira_kernel::Clock;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool};

/// Where the tests' cluster is: a superuser URL. `./test` starts a throw-away cluster and sets it.
pub const URL_VARIABLE: &str = "SIRA_TEST_DATABASE_URL";

/// Connections that one test may hold.
const CONNECTIONS_MAX: u32 = 20;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");
/// Beside the migrations, here alone.
const INVARIANTS: &str = include_str!("invariants.sql");
static NEXT: AtomicU32 = AtomicU32::new(0);

/// An own database with all migrations; dropped at the end of the test.
pub struct TestDb {
    /// A pool on it.
    pub pool: PgPool,
    /// The clock to hand to what is tested; move it with [`Clock::advance`].
    pub clock: Clock,
    options: PgConnectOptions,
    admin: PgConnectOptions,
    name: String,
}

impl TestDb {
    /// Clones the template, making it first when this is the first test to ask.
    ///
    /// # Panics
    /// When no cluster is to be had: says how to get one.
    pub async fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the test cluster is no setting of the product")]
        let url = std::env::var(URL_VARIABLE)
            .unwrap_or_else(|_| panic!("{URL_VARIABLE} is not set: run the tests by ./test"));
        let admin = PgConnectOptions::from_str(&url).expect("a PostgreSQL URL").disable_statement_logging();
        let mut conn = PgConnection::connect_with(&admin).await.expect("the test cluster answers");
        let template = ensure_template(&mut conn, &admin).await;
        let name = format!("sira_test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run(&mut conn, format!("drop database if exists {name} with (force)")).await;
        run(&mut conn, format!("create database {name} template {template}")).await;
        let options = through_pooler(admin.clone().database(&name), &name);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .connect_with(options.clone())
            .await
            .expect("the clone answers");
        Self { pool, clock: Clock::system(), options, admin, name }
    }

    /// How to connect to it, for a second pool or another process.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The same as a URL, for another process.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }
}

/// The URL of a pooler before the tests' cluster: what is tested then goes through it.
fn through_pooler(direct: PgConnectOptions, name: &str) -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "the test cluster is no setting of the product")]
    let Ok(url) = std::env::var("SIRA_TEST_POOLER_URL") else { return direct };
    let options = PgConnectOptions::from_str(&url).expect("a PostgreSQL URL");
    options.database(name).disable_statement_logging()
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        // A runtime of its own: the test's may be gone already.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                if let Ok(mut conn) = PgConnection::connect_with(&admin).await {
                    let sql = format!("drop database if exists {name} with (force)");
                    let _ = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await;
                }
            });
        });
        let _ = dropping.join();
    }
}

async fn run(conn: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await.expect("database administration works");
}

/// The template's name carries a digest of what made it, so that a changed one is never mistaken for the old.
async fn ensure_template(conn: &mut PgConnection, admin: &PgConnectOptions) -> String {
    let checksums = MIGRATIONS.iter().flat_map(|migration| migration.checksum.iter());
    let digest = checksums
        .chain(INVARIANTS.as_bytes())
        .fold(0u64, |acc, byte| acc.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let name = format!("sira_template_{digest:016x}");
    run(conn, "select pg_advisory_lock(7140001)".to_owned()).await;
    let ready: bool =
        sqlx::query_scalar("select exists (select from pg_database where datname = $1 and datistemplate)")
            .bind(&name)
            .fetch_one(&mut *conn)
            .await
            .expect("pg_database is readable");
    if !ready {
        run(conn, format!("drop database if exists {name} with (force)")).await;
        run(conn, format!("create database {name}")).await;
        let mut fresh =
            PgConnection::connect_with(&admin.clone().database(&name)).await.expect("a new database answers");
        MIGRATIONS.run(&mut fresh).await.expect("the migrations apply to an empty database");
        run(&mut fresh, INVARIANTS.to_owned()).await;
        fresh.close().await.expect("the template has no session left");
        run(conn, format!("alter database {name} is_template true")).await;
    }
    run(conn, "select pg_advisory_unlock(7140001)".to_owned()).await;
    name
}
