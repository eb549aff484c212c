//! Where a scenario is played: a database of its own with work in it, ledgers, and workers as processes.

use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sira_engine::{Effect, Job, NewJob, NewWorkflow, apply};
use sira_testkit::TestDb;
use sqlx::Connection;

use crate::kinds::{Cx, Hold, Inside, Once, Outside, Steps};
use crate::ledger::Ledger;

/// Jobs of each kind, and workflows, of one scenario.
pub const LOAD: u32 = 25;
/// How long a victim may take to come to its failpoint, in leases.
const FAULT_LEASES: u32 = 15;
/// How long the survivors may take to finish everything, in leases.
const QUIET_LEASES: u32 = 30;
/// How long the database may take to recover.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// A worker process; killed with its handle.
pub struct Worker(Child);

impl Worker {
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        let _ = kill_process(pid, signal);
    }

    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Whether it has ended as it should when it is told to.
    pub fn has_stopped_well(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some_and(|status| status.success()))
    }

    /// Whether it has been stopped by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Stage {
    pub db: TestDb,
    pub dir: PathBuf,
    pub lease_ttl: Duration,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Stage {
    pub async fn new(name: &str, seed: u64, lease_ttl: Duration) -> Self {
        let db = TestDb::new().await;
        sqlx::query(
            "create table effects (name text not null, at timestamptz not null default clock_timestamp())",
        )
        .execute(&db.pool)
        .await
        .expect("the scenario's database answers");
        let dir = std::env::temp_dir().join(format!("sira-faults-{}-{name}-{seed}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        Self { db, dir, lease_ttl }
    }

    pub fn fault_deadline(&self) -> Duration {
        self.lease_ttl * FAULT_LEASES
    }

    pub fn quiet_deadline(&self) -> Duration {
        self.lease_ttl * QUIET_LEASES
    }

    /// Accepts work of every kind: what the database has acknowledged is in the ledger.
    pub async fn load(&self, numbers: Range<u32>) {
        for n in numbers {
            // Told twice, as by somebody who heard no answer: it is one job.
            self.apply(&[new(&Inside { n })]).await;
            self.accept(vec![new(&Inside { n })], &format!("inside {n}")).await;
            self.accept(vec![new(&Outside { n })], &format!("outside {n}")).await;
            self.accept(vec![new(&Once { n })], &format!("once {n}")).await;
            let steps = NewWorkflow::of(&Steps { n, taken: 0 });
            self.accept(vec![Effect::Start(steps)], &format!("steps {n}")).await;
        }
    }

    /// Accepts jobs that each hold a connection for longer than a lease.
    pub async fn load_long(&self, count: u32) {
        for n in 0..count {
            self.accept(vec![new(&Hold { n })], &format!("hold {n}")).await;
        }
    }

    pub async fn accept(&self, effects: Vec<Effect>, what: &str) {
        self.apply(&effects).await;
        self.note(&format!("accepted {what}"));
    }

    pub fn note(&self, line: &str) {
        Ledger::open(&self.dir, "accepted").write(line);
    }

    pub async fn apply(&self, effects: &[Effect]) {
        let mut conn = self.db.pool.acquire().await.expect("the scenario's database answers");
        let mut tx = conn.begin().await.expect("the scenario's database answers");
        let _ = apply(&mut tx, &self.db.clock, effects).await.expect("the effects are accepted");
        tx.commit().await.expect("the effects are accepted");
    }

    pub fn spawn(&self, name: &str, arguments: &[&str]) -> Worker {
        self.spawn_by(&self.db.url(), name, arguments, &[])
    }

    /// With this way to the database, and this in its environment.
    pub fn spawn_by(&self, url: &str, name: &str, arguments: &[&str], env: &[(&str, &str)]) -> Worker {
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("worker")
            .arg(url)
            .arg(&self.dir)
            .arg(name)
            .arg(self.lease_ttl.as_millis().to_string())
            .args(arguments)
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a worker can be started");
        Worker(child)
    }

    pub async fn until_quiet(&self) -> bool {
        // A tick comes every second: that none is late is the end of a fault.
        let open = "select (select count(*) from engine.jobs where state <> 'dead' and (kind <> 'faults.tick' or run_at < now() - interval '1 s'))
            + (select count(*) from engine.workflows where finished_at is null)
            + (select count(*) from engine.schedules where next_at < now() - interval '1 s')";
        let deadline = Instant::now() + self.quiet_deadline();
        while self.count(open).await > 0 {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Until some work has been done; `None` when that took too long.
    pub async fn until_at_work(&self) -> Option<()> {
        let deadline = Instant::now() + self.fault_deadline();
        while self.count("select count(*) from effects").await == 0 {
            if Instant::now() > deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Some(())
    }

    /// Asks until the database answers: it may be what was hurt.
    pub async fn count(&self, sql: &'static str) -> i64 {
        let deadline = Instant::now() + RECOVERY_MAX;
        loop {
            match sqlx::query_scalar(sql).fetch_one(&self.db.pool).await {
                Ok(count) => return count,
                Err(error) => {
                    assert!(Instant::now() < deadline, "the scenario's database does not answer: {error}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub fn new<J: Job<Cx>>(job: &J) -> Effect {
    Effect::Job(NewJob::of(job))
}

/// When it came to hold; `None` when it did not in time.
pub async fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> Option<Instant> {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(Instant::now())
}
