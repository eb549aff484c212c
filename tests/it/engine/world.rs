//! A scripted world: jobs that do what a test tells them to, and a record of what ran.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_engine::{
    Applied, Effect, Engine, Job, JobError, Lease, Link, NewJob, Outcome, Queue, Registry, Retry, Running,
    Settings, Spec, apply,
};
use sira_kernel::Clock;
use sira_testkit::TestDb;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::sync::Semaphore;

pub const QUEUE: Queue = Queue { name: "test", concurrency: 4 };
const DEADLINE: Duration = Duration::from_secs(20);

/// What an attempt does.
#[derive(Debug, Clone)]
pub enum Do {
    Done,
    Retry,
    Fail,
    Panic,
    Cancel,
    /// Snoozes for so many seconds.
    Snooze(i64),
    /// Waits for a permit of the gate, then is done.
    Block,
    /// Waits for a permit, then writes its effect and completes in one transaction.
    BlockThenCommit,
    /// Writes its effect and completes in one transaction.
    Commit,
    /// Notes an external effect, and fails with what it was told.
    External,
    /// Notes an external effect, and never ends by itself.
    ExternalThenHang,
    /// Never ends by itself.
    Hang,
}

#[derive(Clone)]
pub struct Cx {
    pub pool: PgPool,
    pub engine: Engine,
    pub clock: Clock,
    pub gate: Arc<Semaphore>,
    pub began: Arc<Mutex<Vec<(String, u16)>>>,
    pub ended: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<HashMap<String, Vec<Do>>>>,
}

impl Cx {
    /// What `name` does at its next attempts; the last one repeats.
    pub fn script(&self, name: &str, what: &[Do]) {
        self.script.lock().unwrap().insert(name.to_owned(), what.to_vec());
    }

    /// What `name` does now.
    pub fn next(&self, name: &str) -> Do {
        let mut script = self.script.lock().unwrap();
        match script.get_mut(name) {
            None => Do::Done,
            Some(left) if left.len() == 1 => left[0].clone(),
            Some(left) => left.remove(0),
        }
    }

    /// How many attempts of `name` have begun.
    pub fn began(&self, name: &str) -> usize {
        self.began.lock().unwrap().iter().filter(|(n, _)| n == name).count()
    }

    /// The attempt numbers that `name` was run with.
    pub fn attempts(&self, name: &str) -> Vec<u16> {
        self.began.lock().unwrap().iter().filter(|(n, _)| n == name).map(|(_, a)| *a).collect()
    }
}

/// Does what the script says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scripted {
    pub name: String,
    pub key: Option<String>,
}

impl Job<Cx> for Scripted {
    const SPEC: Spec = Spec {
        name: "test.scripted",
        queue: QUEUE,
        retry: Retry::backoff(3, Duration::from_secs(100), Duration::from_secs(1000)),
        timeout: Duration::from_secs(30),
    };

    fn dedupe_key(&self) -> Option<String> {
        self.key.clone()
    }

    fn tags(&self) -> Vec<String> {
        vec![format!("name:{}", self.name)]
    }

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        run(&self.name, cx, lease).await
    }
}

/// The same with a timeout of 50 ms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hasty {
    pub name: String,
}

impl Job<Cx> for Hasty {
    const SPEC: Spec =
        Spec { name: "test.hasty", timeout: Duration::from_millis(50), ..<Scripted as Job<Cx>>::SPEC };

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        run(&self.name, cx, lease).await
    }
}

async fn run(name: &str, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
    cx.began.lock().unwrap().push((name.to_owned(), lease.attempt()));
    let outcome = match cx.next(name) {
        Do::Done => Ok(Outcome::Done),
        Do::Retry => Err(JobError::retry("scripted", "as told")),
        Do::Fail => Err(JobError::fail("scripted", "as told")),
        Do::Panic => panic!("as told"),
        Do::Cancel => Ok(Outcome::Cancel("as told".to_owned())),
        Do::Snooze(secs) => {
            let until = cx.clock.now() + chrono::TimeDelta::seconds(secs);
            Ok(Outcome::Snooze { until, waits_for: "requested" })
        }
        Do::Block => {
            cx.gate.acquire().await.unwrap().forget();
            Ok(Outcome::Done)
        }
        Do::BlockThenCommit => {
            cx.gate.acquire().await.unwrap().forget();
            commit(name, cx, lease).await
        }
        Do::Commit => commit(name, cx, lease).await,
        Do::External => {
            let mut conn = cx.pool.acquire().await?;
            let begun = lease.begin_external(&mut conn).await?;
            Err(JobError::retry("external", format!("{begun:?}")))
        }
        Do::ExternalThenHang => {
            let mut conn = cx.pool.acquire().await?;
            lease.begin_external(&mut conn).await?;
            drop(conn);
            std::future::pending().await
        }
        Do::Hang => std::future::pending().await,
    };
    cx.ended.lock().unwrap().push(name.to_owned());
    outcome
}

async fn commit(name: &str, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
    #[expect(clippy::disallowed_methods, reason = "the engine is tested without the domain's unit of work")]
    let mut tx = cx.pool.begin().await?;
    sqlx::query("insert into effects (name) values ($1)").bind(name).execute(&mut *tx).await?;
    lease.complete(&mut tx).await?;
    tx.commit().await?;
    Ok(Outcome::Committed)
}

pub struct World {
    pub db: TestDb,
    pub cx: Cx,
}

impl World {
    pub async fn new() -> Self {
        let db = TestDb::new().await;
        sqlx::query("create table effects (name text not null)").execute(&db.pool).await.unwrap();
        let engine = Engine::new(&db.pool, db.clock.clone(), Self::link());
        let cx = Cx {
            pool: db.pool.clone(),
            engine,
            clock: db.clock.clone(),
            gate: Arc::new(Semaphore::new(0)),
            began: Arc::default(),
            ended: Arc::default(),
            script: Arc::default(),
        };
        Self { db, cx }
    }

    /// Through what the engine reaches the database: `./test` runs its claims a second time with a pooled link.
    pub fn link() -> Link {
        let pooled = std::env::var_os("SIRA_TEST_POOLED").is_some();
        if pooled { Link::Pooled } else { Link::Direct }
    }

    pub fn registry() -> Registry<Cx> {
        Registry::new().job::<Scripted>().job::<Hasty>()
    }

    pub fn settings() -> Settings {
        Settings { poll_every: Duration::from_millis(100), prefetch: 4, ..Settings::new("test", "0") }
    }

    pub async fn start(&self) -> Running {
        self.start_with(Self::registry(), Self::settings()).await
    }

    pub async fn start_with(&self, registry: Registry<Cx>, settings: Settings) -> Running {
        self.cx.engine.start(registry, &[QUEUE], self.cx.clone(), settings).await.unwrap()
    }

    /// Writes effects in a transaction of their own and wakes the engine.
    pub async fn apply(&self, effects: &[Effect]) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the engine is tested without the domain's unit of work"
        )]
        let mut tx = self.db.pool.begin().await.unwrap();
        let applied = apply(&mut tx, &self.db.clock, effects).await.unwrap();
        tx.commit().await.unwrap();
        self.cx.engine.wake(&applied);
    }

    pub async fn enqueue(&self, name: &str, key: Option<&str>) {
        self.apply(&[job(name, key)]).await;
    }

    /// Moves the time and lets the timers see it.
    pub fn advance(&self, secs: i64) {
        self.db.clock.advance(chrono::TimeDelta::seconds(secs));
        self.cx.engine.wake(&Applied { queues: Vec::new(), scheduled: true });
    }

    /// As if the session's process had been dead for its whole lease.
    pub async fn expire(&self, session: i64) {
        sqlx::query("update engine.sessions set until = now() - interval '1 s' where id = $1")
            .bind(session)
            .execute(&self.db.pool)
            .await
            .unwrap();
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.db.pool).await.unwrap()
    }

    pub async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.db.pool).await.unwrap()
    }

    /// Waits until a query gives this number.
    pub async fn until(&self, sql: &'static str, wanted: i64) {
        self.until_sql(sql.to_owned(), wanted).await;
    }

    /// The same for a query that was put together.
    pub async fn until_sql(&self, sql: String, wanted: i64) {
        let mut last = 0;
        let reached = tokio::time::timeout(DEADLINE, async {
            loop {
                let query = sqlx::query_scalar(AssertSqlSafe(sql.clone()));
                last = query.fetch_one(&self.db.pool).await.unwrap();
                if last == wanted {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(reached.await.is_ok(), "{sql}: {last}, and not {wanted}");
    }

    /// Waits until so many attempts of `name` have begun.
    pub async fn until_began(&self, name: &str, wanted: usize) {
        until(&format!("{wanted} attempts of {name}"), || self.cx.began(name) >= wanted).await;
    }
}

pub fn job(name: &str, key: Option<&str>) -> Effect {
    Effect::Job(NewJob::of(&Scripted { name: name.to_owned(), key: key.map(str::to_owned) }))
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let reached = tokio::time::timeout(DEADLINE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(reached.await.is_ok(), "waited in vain for {what}");
}

pub const LIVE: &str = "select count(*) from engine.jobs";
pub const DEAD: &str = "select count(*) from engine.jobs where state = 'dead'";
pub const DONE: &str = "select count(*) from engine.finished where outcome = 'done'";
pub const WAITING: &str = "select count(*) from engine.jobs where state in ('scheduled', 'held', 'ready')";
pub const EFFECTS: &str = "select count(*) from effects";
