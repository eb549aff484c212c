//! What is done to the workers, and to what they stand on.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sira_engine::{Effect, NewJob, NewWorkflow};
use sqlx::postgres::{PgConnection, PgListener};
use sqlx::{ConnectOptions, Connection};

use crate::kinds::{Herd, NewSteps, Poison, STEPS, Side, Unreadable};
use crate::proxy::Proxy;
use crate::stage::{LOAD, Stage, Worker, new, wait_until};

/// How long a zombie is stopped at least, and a network silent, in leases.
const STOPPED_LEASES: u32 = 2;
/// Rounds of random kills.
const KILLS: u64 = 4;
/// Times that all connections are cut.
const CUTS: u64 = 10;
/// All connections but the one that says so.
const CUT: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()";
/// Jobs that hold connections beside the load.
const LONG: u32 = 8;
/// How long a process may take to see that the network is back, or to stop when it is told to.
const HEALED_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(30);
/// Where Debian keeps the library that shifts a process' clock.
const SHIFTERS: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];
/// Fast, slow, and about to come to the day that only leap years have.
const CLOCKS: [&str; 3] = ["+1h", "-1h", "@2028-02-28 23:59:57"];
/// How long they run beside one another: some slots of the schedule.
const APART: Duration = Duration::from_secs(5);
/// Jobs that are due at the same moment.
const HERD: usize = 50_000;
/// Jobs that end under a snapshot that is held.
const HELD_HERD: usize = 20_000;
/// Enqueued at a time.
const HERD_PART: usize = 5_000;
/// Makes them all due.
const STAMPEDE: &str =
    "with due as (update engine.jobs set run_at = now() where kind = 'faults.herd' returning 1)
    select count(*) from due";
const HERD_LEFT: &str = "select count(*) from engine.jobs where kind = 'faults.herd'";
/// The longest wait of a job on the queue beside them.
const BESIDE_WAITED_MS: &str = "select coalesce(max(extract(epoch from e.at - f.created_at) * 1000), 0)::bigint
    from engine.finished f join effects e on e.name = 'side ' || (f.payload->>'n') where f.kind = 'faults.side'";
/// Longest that it may be.
const BESIDE_MAX_MS: i64 = 1_000;
/// Most notifications about them: two of each process for each thousand, by which they become due.
const NOTIFIED_MAX: usize = 4 * HERD / 1000;
/// Jobs that bring down the process that runs them.
const KILLERS: u32 = 2;
/// Processes that each of them may take with it: two strikes beside others, three alone.
const DEATHS_MAX: u32 = 5;

/// What came of it.
pub struct Played {
    /// When the worst was over; `None` when it did not happen.
    pub hurt: Option<Instant>,
    /// Those that go on.
    pub workers: Vec<Worker>,
    /// What did not hold meanwhile.
    pub broken: Vec<String>,
}

impl Played {
    fn new(hurt: Option<Instant>, workers: Vec<Worker>) -> Self {
        Self { hurt, workers, broken: Vec::new() }
    }

    fn unless(mut self, holds: bool, rule: &str) -> Self {
        if !holds {
            self.broken.push(rule.to_owned());
        }
        self
    }
}

impl Stage {
    pub async fn kill_at(&self, point: &str, more: &[&str], seed: u64) -> Played {
        let fault = format!("{point}={}:kill", 1 + seed % 7);
        let mut victim = self.spawn("victim", &[more, &[fault.as_str()]].concat());
        let hurt = wait_until(self.fault_deadline(), || victim.has_ended()).await;
        Played::new(hurt, vec![self.spawn("survivor", more)])
    }

    pub async fn zombie_at(&self, point: &str, more: &[&str]) -> Played {
        let fault = format!("{point}=5:stop");
        let mut victim = self.spawn("zombie", &[&[fault.as_str()], more].concat());
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
        // What it still would do, it does now.
        let _ = wait_until(self.lease_ttl, || victim.has_ended()).await;
        Played::new(hurt, vec![victim, survivor])
    }

    pub async fn kill_at_random(&self, seed: u64) -> Played {
        let mut hurt = None;
        for round in 0..KILLS {
            let worker = self.spawn(&format!("victim{round}"), &[]);
            // Spread over the first fractions of a second, where the work is.
            let pause = (seed * 7919 + round * 104_729) % 400;
            tokio::time::sleep(Duration::from_millis(60 + pause)).await;
            drop(worker);
            hurt = Some(Instant::now());
        }
        Played::new(hurt, vec![self.spawn("survivor", &[])])
    }

    /// Once the work is under way; with a victim that died before, once its jobs are about to be taken over.
    pub async fn crash(&self, before: &[&str], seed: u64) -> Played {
        let mut first = self.spawn("first", &[&["stays"], before].concat());
        let mut workers = vec![self.spawn("second", &["stays"])];
        if before.is_empty() {
            workers.push(first);
            tokio::time::sleep(Duration::from_millis(100 + seed * 37 % 200)).await;
        } else {
            if wait_until(self.fault_deadline(), || first.has_ended()).await.is_none() {
                return Played::new(None, workers);
            }
            // The rescue comes with the end of the lease.
            tokio::time::sleep(self.lease_ttl.saturating_sub(Duration::from_millis(seed * 53 % 300))).await;
        }
        let mut witness = self.db.pool.acquire().await.expect("the scenario's database answers");
        let mut conn = self.db.pool.acquire().await.expect("the scenario's database answers");
        let pid: i32 = sqlx::query_scalar("select pg_backend_pid()")
            .fetch_one(&mut *conn)
            .await
            .expect("it tells its process");
        let killed = Pid::from_raw(pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok());
        let hurt = killed.then(Instant::now);
        // All others end as well, and then it recovers.
        while sqlx::query("select").execute(&mut *witness).await.is_ok() && killed {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.count("select 1::bigint").await;
        Played::new(hurt, workers)
    }

    pub async fn cut(&self, seed: u64) -> Played {
        let workers = vec![self.spawn("first", &["stays"]), self.spawn("second", &["stays"])];
        for round in 0..CUTS {
            tokio::time::sleep(Duration::from_millis(80 + (seed * 7919 + round * 104_729) % 150)).await;
            self.count(CUT).await;
        }
        Played::new(Some(Instant::now()), workers)
    }

    /// SIGTERM while long jobs run and others wait.
    pub async fn stop(&self) -> Played {
        self.load_long(LONG).await;
        let mut stopped = self.spawn("stopped", &[]);
        let running = "select count(*) from engine.jobs where kind = 'faults.hold' and state = 'running'";
        let deadline = Instant::now() + self.fault_deadline();
        while self.count(running).await == 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stopped.signal(Signal::TERM);
        let hurt = Instant::now();
        let ended = wait_until(STOP_MAX, || stopped.has_ended()).await;
        let well = stopped.has_stopped_well();
        Played::new(ended.map(|_| hurt), vec![self.spawn("survivor", &[])])
            .unless(well, "the process did not end well")
    }

    /// The network between one worker and the database drops everything, without a word.
    pub async fn silence(&self) -> Played {
        self.load_long(LONG / 2).await;
        let proxy = Proxy::start(&self.dir, self.db.options());
        let mut victim = self.spawn_by(&proxy.url(self.db.options()), "victim", &[], &[]);
        let at_work = self.until_at_work().await;
        proxy.fall_silent(true);
        let survivor = self.spawn("survivor", &[]);
        tokio::time::sleep(self.lease_ttl * STOPPED_LEASES).await;
        proxy.fall_silent(false);
        let hurt = Instant::now();
        let ended = wait_until(HEALED_MAX, || victim.has_ended()).await;
        Played::new(at_work.map(|()| hurt), vec![survivor])
            .unless(ended.is_some(), "the process hung after the network was back")
    }

    /// Processes whose clocks tell other times.
    pub async fn clocks(&self) -> Played {
        let Some(shifter) = SHIFTERS.into_iter().find(|path| std::path::Path::new(path).exists()) else {
            return Played::new(None, Vec::new()).unless(false, "apt-get install faketime");
        };
        let worker = |(n, clock): (usize, &&str)| {
            let env = [("LD_PRELOAD", shifter), ("FAKETIME", *clock), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
            self.spawn_by(&self.db.url(), &format!("clock{n}"), &[], &env)
        };
        let workers: Vec<_> = CLOCKS.iter().enumerate().map(worker).collect();
        tokio::time::sleep(APART).await;
        let now = self.db.clock.now().timestamp();
        let lines = crate::ledger::read_all(&self.dir);
        let told = lines.iter().filter_map(|line| line.strip_prefix("clock ")?.parse::<i64>().ok());
        let apart = told.filter(|told| told.abs_diff(now) > 3_000).count();
        Played::new((apart == CLOCKS.len()).then(Instant::now), workers)
    }

    /// Jobs that panic, abort, use up all memory, and cannot be read.
    pub async fn poison(&self) -> Played {
        let huge = Unreadable { nothing: "?".repeat(4 << 20) };
        let poison = [new(&Poison::Panic), new(&Poison::Abort), new(&Poison::Memory), new(&huge)];
        for job in poison {
            self.apply(&[job]).await;
            self.note("poisoned");
        }
        let dead = "select count(*) from engine.jobs where kind = 'faults.poison' and state = 'dead'";
        let start = |n: u32| self.spawn(&format!("worker{n}"), &["short-of-memory"]);
        let mut workers: Vec<_> = (0..2).map(start).collect();
        let begun = Instant::now();
        let mut deaths = 0;
        let deadline = Instant::now() + self.quiet_deadline();
        while self.count(dead).await < 4 && Instant::now() < deadline {
            for (n, worker) in (0..).zip(&mut workers) {
                if worker.has_ended() {
                    deaths += 1;
                    *worker = start(n);
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Played::new((deaths > 0).then_some(begun), workers)
            .unless(deaths <= KILLERS * DEATHS_MAX, "poison took more processes with it than it may")
    }

    /// A new version beside the old one, with a migration meanwhile; taken back; then for good.
    pub async fn upgrade(&self) -> Played {
        let mut old = self.spawn("old", &["old"]);
        let at_work = self.until_at_work().await;
        let mut early = self.spawn("early", &[]);
        self.load(LOAD..2 * LOAD).await;
        for n in 0..LOAD {
            self.accept(vec![new(&Side { n })], &format!("side {n}")).await;
            let steps = NewWorkflow::of(&NewSteps { n, left: STEPS });
            self.accept(vec![Effect::Start(steps)], &format!("new-steps {n}")).await;
        }
        for table in ["engine.jobs", "engine.finished", "engine.workflows"] {
            let sql = format!("set lock_timeout = '2s'; alter table {table} add column later text");
            let migrated = sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&self.db.pool).await;
            migrated.expect("the migration gets its lock");
        }
        early.signal(Signal::TERM);
        let back = wait_until(STOP_MAX, || early.has_ended()).await;
        self.load(2 * LOAD..3 * LOAD).await;
        old.signal(Signal::TERM);
        let over = wait_until(STOP_MAX, || old.has_ended()).await;
        let well = early.has_stopped_well() && old.has_stopped_well();
        Played::new(at_work.and(back).and(over), vec![self.spawn("new", &[])])
            .unless(well, "a process did not end well")
    }

    /// All connections of the handlers are held for longer than a lease.
    pub async fn starve(&self) -> Played {
        self.load_long(LONG / 2).await;
        Played::new(Some(Instant::now()), vec![self.spawn("starved", &["connections=2"])])
    }

    /// The database takes no more connections, and cuts those that there are.
    pub async fn refuse(&self) -> Played {
        let workers = vec![self.spawn("first", &["stays"]), self.spawn("second", &["stays"])];
        let at_work = self.until_at_work().await;
        let mut own = self.db.pool.acquire().await.expect("the scenario's database answers");
        let elsewhere = self.db.options().database("postgres").disable_statement_logging();
        let mut hoard = Vec::new();
        let mut refused = false;
        let until = Instant::now() + self.lease_ttl * STOPPED_LEASES;
        while Instant::now() < until {
            sqlx::query(CUT).execute(&mut *own).await.expect("this connection stays");
            while let Ok(conn) = PgConnection::connect_with(&elsewhere).await {
                hoard.push(conn);
            }
            refused = true;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for conn in hoard {
            conn.close().await.expect("a connection can be given back");
        }
        let hurt = at_work.filter(|()| refused).map(|()| Instant::now());
        Played::new(hurt, workers)
    }

    /// Very many jobs are due at the same moment, beside few on another queue.
    pub async fn herd(&self) -> Played {
        self.load_herd(HERD).await;
        let mut listener = PgListener::connect_with(&self.db.pool).await.expect("the database answers");
        listener.listen("sira_engine").await.expect("the channel can be listened to");
        let workers = vec![self.spawn("first", &[]), self.spawn("second", &[])];
        self.until_at_work().await;
        self.count(STAMPEDE).await;
        let hurt = Instant::now();
        let mut beside = 0;
        while self.count(HERD_LEFT).await > 0 && hurt.elapsed() < self.quiet_deadline() {
            self.accept(vec![new(&Side { n: beside })], &format!("side {beside}")).await;
            beside += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut notified = 0;
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(100), listener.recv()).await {
            notified += 1;
        }
        let waited = self.count(BESIDE_WAITED_MS).await;
        Played::new(Some(hurt), workers)
            .unless(beside > 1 && waited <= BESIDE_MAX_MS, "a queue waited for another one")
            .unless(notified <= NOTIFIED_MAX, "more notifications than there were batches")
    }

    /// A snapshot is held, so that nothing that was deleted since can be vacuumed.
    pub async fn hold_snapshot(&self) -> Played {
        self.load_herd(HELD_HERD).await;
        let mut holder = PgConnection::connect_with(&self.db.options()).await.expect("the database answers");
        let hold = "begin isolation level repeatable read; select count(*) from engine.jobs";
        sqlx::raw_sql(hold).execute(&mut holder).await.expect("a snapshot can be held");
        let workers = vec![self.spawn("first", &[]), self.spawn("second", &[])];
        self.until_at_work().await;
        self.count(STAMPEDE).await;
        let hurt = Instant::now();
        // When a fifth, two fifths and so on had ended.
        let mut fifths = Vec::new();
        while fifths.len() < 5 && hurt.elapsed() < self.quiet_deadline() {
            let ended = HELD_HERD as i64 - self.count(HERD_LEFT).await;
            while ended >= (HELD_HERD * (fifths.len() + 1) / 5) as i64 {
                fifths.push(hurt.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let slowed = match fifths[..] {
            [first, second, _, fourth, fifth] => {
                fifth.saturating_sub(fourth) > 2 * second.saturating_sub(first)
            }
            _ => true,
        };
        drop(holder);
        Played::new(Some(hurt), workers).unless(!slowed, "claims became slower than twice")
    }

    async fn load_herd(&self, count: usize) {
        let far = self.db.clock.now() + chrono::TimeDelta::hours(1);
        let herd: Vec<_> = (0..count).map(|_| Effect::Job(NewJob::of(&Herd {}).at(far))).collect();
        for part in herd.chunks(HERD_PART) {
            self.apply(part).await;
        }
        self.note(&format!("herd {count}"));
    }
}
