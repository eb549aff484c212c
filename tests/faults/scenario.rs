//! The scenarios: what is done to which worker.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sira_engine::{Effect, Job, NewJob, NewWorkflow, apply};
use sira_testkit::TestDb;
use sqlx::Connection;

use crate::check;
use crate::ledger::Ledger;
use crate::worker::{Cx, Inside, Once, Outside, Steps};

/// Jobs of each kind, and workflows, of one scenario.
const LOAD: u32 = 25;
/// How long a victim may take to come to its failpoint, in leases.
const FAULT_LEASES: u32 = 15;
/// How long the survivors may take to finish everything, in leases.
const QUIET_LEASES: u32 = 30;
/// How long a zombie is stopped at least, in leases.
const STOPPED_LEASES: u32 = 2;
/// Rounds of random kills.
const KILLS: u64 = 4;
/// Times that all connections are cut.
const CUTS: u64 = 10;
/// How long the database may take to recover.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

pub struct Scenario {
    pub name: &'static str,
    fault: Fault,
    /// The checker must find something.
    pub must_violate: bool,
}

enum Fault {
    /// kill -9 at this failpoint.
    Kill(&'static str),
    /// SIGSTOP at this failpoint, past the lease, then SIGCONT; with more faults.
    Zombie(&'static str, &'static [&'static str]),
    /// kill -9 at random times, one worker after the other.
    Random,
    /// kill -9 of a process of the database, which then ends them all and recovers from its log; with a worker's fault before.
    Crash(&'static [&'static str]),
    /// All connections are cut, again and again.
    Cut,
}

const fn kill(name: &'static str, point: &'static str) -> Scenario {
    Scenario { name, fault: Fault::Kill(point), must_violate: false }
}

/// The zombie's renewal never notices: only the fence on the rows is left.
const STARVED: &[&str] = &["engine::before_renew=2:hang"];
const STARVED_UNFENCED: &[&str] = &["engine::before_renew=2:hang", "engine::no_fence=0:on"];

pub const SCENARIOS: &[Scenario] = &[
    kill("kill-after-claim", "engine::after_claim"),
    kill("kill-before-handler", "engine::before_handler"),
    kill("kill-before-commit", "engine::before_commit"),
    kill("kill-after-handler", "engine::after_handler"),
    kill("kill-before-complete", "engine::before_complete"),
    kill("kill-after-complete", "engine::after_complete"),
    kill("kill-before-renew", "engine::before_renew"),
    kill("kill-mid-slots", "engine::before_slots"),
    Scenario { name: "kill-at-random", fault: Fault::Random, must_violate: false },
    Scenario { name: "database-crash", fault: Fault::Crash(&[]), must_violate: false },
    Scenario {
        name: "database-crash-mid-rescue",
        fault: Fault::Crash(&["engine::before_handler=5:kill"]),
        must_violate: false,
    },
    Scenario { name: "connections-cut", fault: Fault::Cut, must_violate: false },
    Scenario { name: "zombie", fault: Fault::Zombie("engine::before_handler", &[]), must_violate: false },
    Scenario {
        name: "zombie-starved",
        fault: Fault::Zombie("engine::before_handler", STARVED),
        must_violate: false,
    },
    Scenario {
        name: "zombie-mid-transaction",
        fault: Fault::Zombie("engine::before_commit", STARVED),
        must_violate: false,
    },
    Scenario {
        name: "zombie-mid-slots",
        fault: Fault::Zombie("engine::before_slots", &[]),
        must_violate: false,
    },
    Scenario {
        name: "seeded-bug-no-fence",
        fault: Fault::Zombie("engine::before_handler", STARVED_UNFENCED),
        must_violate: true,
    },
];

pub struct Verdict {
    /// From the fault until everything was done.
    pub recovery: Option<Duration>,
    pub violations: Vec<String>,
}

impl Scenario {
    /// With workers of this lease; every wait is in proportion to it.
    pub async fn run(&self, seed: u64, lease_ttl: Duration) -> Verdict {
        let stage = Stage::new(self.name, seed, lease_ttl).await;
        let (hurt, mut workers) = match self.fault {
            Fault::Kill(point) => stage.kill_at(point, seed).await,
            Fault::Zombie(point, more) => stage.zombie_at(point, more).await,
            Fault::Random => stage.kill_at_random(seed).await,
            Fault::Crash(before) => stage.crash(before, seed).await,
            Fault::Cut => stage.cut(seed).await,
        };
        let quiet = stage.until_quiet().await;
        let recovery = hurt.map(|at| at.elapsed());
        stage.end_zombies(&mut workers).await;
        let mut violations = check::violations(&stage.db.pool, &stage.dir).await;
        if hurt.is_none() {
            violations.push("the fault did not happen".to_owned());
        }
        if !quiet {
            violations.push(format!("not quiet after {} s", stage.quiet_deadline().as_secs()));
        }
        drop(workers);
        Verdict { recovery, violations }
    }
}

/// A worker process; killed with its handle.
struct Worker(Child);

impl Worker {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        let _ = kill_process(pid, signal);
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Whether it has been stopped by SIGSTOP.
    fn is_stopped(&self) -> bool {
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

struct Stage {
    db: TestDb,
    dir: PathBuf,
    lease_ttl: Duration,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Stage {
    async fn new(name: &str, seed: u64, lease_ttl: Duration) -> Self {
        let db = TestDb::new().await;
        sqlx::query("create table effects (name text not null)")
            .execute(&db.pool)
            .await
            .expect("the scenario's database answers");
        let dir = std::env::temp_dir().join(format!("sira-faults-{}-{name}-{seed}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("the temporary directory can be written");
        let stage = Self { db, dir, lease_ttl };
        stage.load().await;
        stage
    }

    fn fault_deadline(&self) -> Duration {
        self.lease_ttl * FAULT_LEASES
    }

    fn quiet_deadline(&self) -> Duration {
        self.lease_ttl * QUIET_LEASES
    }

    /// Accepts the work: what the database has acknowledged is in the ledger.
    async fn load(&self) {
        let ledger = Ledger::open(&self.dir, "accepted");
        for n in 0..LOAD {
            self.accept(new(&Inside { n })).await;
            ledger.write(&format!("accepted inside {n}"));
            self.accept(new(&Outside { n })).await;
            ledger.write(&format!("accepted outside {n}"));
            self.accept(new(&Once { n })).await;
            ledger.write(&format!("accepted once {n}"));
            self.accept(Effect::Start(NewWorkflow::of(&Steps { n, taken: 0 }))).await;
            ledger.write(&format!("accepted steps {n}"));
        }
    }

    async fn accept(&self, effect: Effect) {
        let mut conn = self.db.pool.acquire().await.expect("the scenario's database answers");
        let mut tx = conn.begin().await.expect("the scenario's database answers");
        let _ = apply(&mut tx, &self.db.clock, &[effect]).await.expect("the effect is accepted");
        tx.commit().await.expect("the effect is accepted");
    }

    fn spawn(&self, name: &str, faults: &[String]) -> Worker {
        let child = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg("worker")
            .arg(self.db.url())
            .arg(&self.dir)
            .arg(name)
            .arg(self.lease_ttl.as_millis().to_string())
            .args(faults)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a worker can be started");
        Worker(child)
    }

    async fn kill_at(&self, point: &str, seed: u64) -> (Option<Instant>, Vec<Worker>) {
        let mut victim = self.spawn("victim", &[format!("{point}={}:kill", 1 + seed % 7)]);
        let hurt = wait_until(self.fault_deadline(), || victim.has_ended()).await;
        (hurt, vec![self.spawn("survivor", &[])])
    }

    async fn zombie_at(&self, point: &str, more: &[&str]) -> (Option<Instant>, Vec<Worker>) {
        let mut faults = vec![format!("{point}=5:stop")];
        faults.extend(more.iter().map(|&fault| fault.to_owned()));
        let victim = self.spawn("zombie", &faults);
        let hurt = wait_until(self.fault_deadline(), || victim.is_stopped()).await;
        let survivor = self.spawn("survivor", &[]);
        // Past the lease, until the others have taken over what they can.
        tokio::time::sleep(self.lease_ttl * STOPPED_LEASES).await;
        let claimed = "select count(*) from engine.jobs where state = 'running' and
            exists (select from engine.sessions s where s.id = session and s.until > now())";
        let deadline = Instant::now() + self.quiet_deadline();
        while self.count(claimed).await > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        victim.signal(Signal::CONT);
        (hurt, vec![victim, survivor])
    }

    async fn kill_at_random(&self, seed: u64) -> (Option<Instant>, Vec<Worker>) {
        let mut hurt = None;
        for round in 0..KILLS {
            let worker = self.spawn(&format!("victim{round}"), &[]);
            // Spread over the first fractions of a second, where the work is.
            let pause = (seed * 7919 + round * 104_729) % 400;
            tokio::time::sleep(Duration::from_millis(60 + pause)).await;
            drop(worker);
            hurt = Some(Instant::now());
        }
        (hurt, vec![self.spawn("survivor", &[])])
    }

    /// Once the work is under way; with a victim that died before, once its jobs are about to be taken over.
    async fn crash(&self, before: &[&str], seed: u64) -> (Option<Instant>, Vec<Worker>) {
        let faults: Vec<String> = before.iter().map(|&fault| fault.to_owned()).collect();
        let mut first = self.spawn("first", &faults);
        let mut workers = vec![self.spawn("second", &[])];
        if before.is_empty() {
            workers.push(first);
            tokio::time::sleep(Duration::from_millis(100 + seed * 37 % 200)).await;
        } else {
            if wait_until(self.fault_deadline(), || first.has_ended()).await.is_none() {
                return (None, workers);
            }
            // The rescue comes with the end of the lease.
            tokio::time::sleep(self.lease_ttl.saturating_sub(Duration::from_millis(seed * 53 % 300))).await;
        }
        let mut conn = self.db.pool.acquire().await.expect("the scenario's database answers");
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *conn)
            .await
            .expect("it tells its process");
        let killed = Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        (killed.then(Instant::now), workers)
    }

    async fn cut(&self, seed: u64) -> (Option<Instant>, Vec<Worker>) {
        let workers = vec![self.spawn("first", &[]), self.spawn("second", &[])];
        for round in 0..CUTS {
            tokio::time::sleep(Duration::from_millis(80 + (seed * 7919 + round * 104_729) % 150)).await;
            let others = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and pid <> pg_backend_pid()";
            self.count(others).await;
        }
        (Some(Instant::now()), workers)
    }

    /// Lets a zombie that was woken do what it still would.
    async fn end_zombies(&self, workers: &mut [Worker]) {
        if let [zombie, _survivor] = workers {
            let _ = wait_until(self.lease_ttl, || zombie.has_ended()).await;
        }
    }

    async fn until_quiet(&self) -> bool {
        // A tick comes every second: that none is late is the end of a fault.
        let open = "select (select count(*) from engine.jobs where kind <> 'faults.tick' or run_at < now() - interval '1 s')
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

    /// Asks until the database answers: it may be what was hurt.
    async fn count(&self, sql: &'static str) -> i64 {
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

fn new<J: Job<Cx>>(job: &J) -> Effect {
    Effect::Job(NewJob::of(job))
}

/// When it came to hold; `None` when it did not in time.
async fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> Option<Instant> {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(Instant::now())
}
