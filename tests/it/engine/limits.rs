//! Claims about what limits jobs besides the workers of one process: queues' limits, keys, gates.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sira_engine::gate::RATE_LIMIT;
use sira_engine::ops::{
    GateEdit, GateError, GateView, edit_gate, find_job, limit_queue, list_gates, reset_gate,
};
use sira_engine::{
    Applied, Breaker, Effect, Gate, Job, JobError, JobId, Lease, NewJob, Outcome, Queue, Rate, Registry,
    Retry, Running, Spec,
};

use super::world::{Cx, DONE, Do, QUEUE, World, job};

const RUNNING: &str = "select count(*) from engine.jobs where state = 'running'";
const HELD: &str = "select count(*) from engine.jobs where state = 'held'";
const OPEN: &str = "select count(*) from engine.gates where open_until is not null";
const RETRY: Retry = Retry::backoff(100, Duration::from_millis(1), Duration::from_millis(1));

/// One of its key at a time.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Keyed {
    key: String,
}

/// How many of a key ran at once, at most.
static TOGETHER: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

impl Job<Cx> for Keyed {
    const SPEC: Spec =
        Spec { name: "test.keyed", queue: QUEUE, retry: RETRY, timeout: Duration::from_secs(30) };

    fn concurrency_key(&self) -> Option<String> {
        Some(self.key.clone())
    }

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        cx.began.lock().unwrap().push((self.key.clone(), lease.attempt()));
        let counted = self.key == "counted";
        if counted {
            MOST.fetch_max(TOGETHER.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(3)).await;
            TOGETHER.fetch_sub(1, Ordering::SeqCst);
        }
        match cx.next(&self.key) {
            Do::Retry => Err(JobError::retry("scripted", "as told")),
            Do::Block => {
                cx.gate.acquire().await.unwrap().forget();
                Ok(Outcome::Done)
            }
            _ => Ok(Outcome::Done),
        }
    }
}

/// Asks a provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asking {
    name: String,
}

impl Job<Cx> for Asking {
    const SPEC: Spec =
        Spec { name: "test.asking", queue: QUEUE, retry: RETRY, timeout: Duration::from_secs(30) };

    const GATE: Option<Gate> = Some(Gate {
        name: "test.provider",
        concurrency: None,
        rate: None,
        breaker: Some(Breaker {
            failures_max: 3,
            counts: &["provider_down"],
            open_for: Duration::from_mins(1),
        }),
    });

    async fn run(self, cx: &Cx, lease: &Lease) -> Result<Outcome, JobError> {
        cx.began.lock().unwrap().push((self.name.clone(), lease.attempt()));
        match cx.next(&self.name) {
            Do::Retry => Err(JobError::retry("provider_down", "as told")),
            Do::Fail => Err(JobError::retry("other", "as told")),
            Do::Snooze(s) => {
                let until = cx.clock.now() + chrono::TimeDelta::seconds(s);
                Ok(Outcome::Snooze { until, waits_for: RATE_LIMIT })
            }
            Do::Block => {
                cx.gate.acquire().await.unwrap().forget();
                Ok(Outcome::Done)
            }
            _ => Ok(Outcome::Done),
        }
    }
}

/// Ten a minute, four at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Rated;

impl Job<Cx> for Rated {
    const SPEC: Spec =
        Spec { name: "test.rated", queue: QUEUE, retry: RETRY, timeout: Duration::from_secs(30) };

    const GATE: Option<Gate> = Some(Gate {
        name: "test.rate",
        concurrency: None,
        rate: Some(Rate { jobs: 10, per: Duration::from_mins(1), burst: 4 }),
        breaker: None,
    });

    async fn run(self, _: &Cx, _: &Lease) -> Result<Outcome, JobError> {
        Ok(Outcome::Done)
    }
}

async fn start(w: &World) -> Running {
    let registry = World::registry().job::<Keyed>().job::<Asking>().job::<Rated>();
    w.start_with(registry, World::settings()).await
}

fn asking(name: &str) -> Effect {
    Effect::Job(NewJob::of(&Asking { name: name.to_owned() }))
}

fn keyed(key: &str) -> Effect {
    Effect::Job(NewJob::of(&Keyed { key: key.to_owned() }))
}

impl World {
    async fn gate(&self, name: &str) -> GateView {
        let mut conn = self.db.pool.acquire().await.unwrap();
        let gates = list_gates(&mut conn, &self.db.clock).await.unwrap();
        gates.into_iter().find(|gate| gate.name == name).unwrap()
    }

    async fn limit(&self, most: Option<u16>) {
        let mut conn = self.db.pool.acquire().await.unwrap();
        let applied =
            limit_queue(&mut conn, &self.db.clock, QUEUE.name, most.and_then(NonZeroU16::new)).await.unwrap();
        self.cx.engine.wake(&applied);
    }

    async fn waits_for(&self) -> Option<String> {
        let mut conn = self.db.pool.acquire().await.unwrap();
        let held = "select id from engine.jobs where state = 'held' order by id limit 1";
        let id = sqlx::query_scalar(held).fetch_one(&mut *conn).await.unwrap();
        find_job(&mut conn, &self.db.clock, JobId(id)).await.unwrap().unwrap().waits_for
    }

    /// Moves the time and lets whoever keeps the gates see it.
    fn pass_time(&self, secs: i64) {
        self.advance(secs);
        self.cx.engine.wake(&Applied { queues: vec!["gates:".to_owned()], scheduled: false });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_a_limited_queue_run_than_its_limit_in_all_processes() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Block]);
    let _one = start(&w).await;
    let _two = start(&w).await;
    w.limit(Some(3)).await;
    w.apply(&(0..20).map(|_| job("a", None)).collect::<Vec<_>>()).await;
    w.until_began("a", 3).await;
    for through in 1..=10_usize {
        // Nothing is claimed ahead either, and each end makes room for one.
        assert_eq!(w.count(RUNNING).await, 3, "after {through}");
        w.cx.gate.add_permits(1);
        w.until_began("a", 3 + through).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(w.cx.began("a"), 13);
    w.limit(None).await;
    // One process may have claimed more than it runs: how many begin is up to it.
    w.until_began("a", 14).await;
    w.cx.gate.add_permits(10);
    w.until(DONE, 20).await;
    assert_eq!(w.count("select count(*) from engine.queues").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_key_runs_at_a_time_and_the_others_hold_up_nobody() {
    let w = World::new().await;
    w.cx.script("slow", &[Do::Block]);
    let _one = start(&w).await;
    let _two = start(&w).await;
    w.apply(&(0..50).map(|_| keyed("slow")).collect::<Vec<_>>()).await;
    w.until_began("slow", 1).await;
    w.apply(&[keyed("quick"), keyed("other"), job("plain", None)]).await;
    w.until(DONE, 3).await;
    assert_eq!((w.cx.began("slow"), w.count(HELD).await), (1, 49));
    assert_eq!(w.waits_for().await.as_deref(), Some("concurrency"));
    for began in 2..=5 {
        w.cx.gate.add_permits(1);
        w.until_began("slow", began).await;
        assert_eq!(w.count(RUNNING).await, 1);
    }
    w.cx.gate.add_permits(50);
    w.until(DONE, 53).await;
    assert_eq!(w.cx.attempts("slow"), vec![1; 50], "waiting spends no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_key_never_two_run_together_however_many_processes_race_and_fail() {
    let w = World::new().await;
    w.cx.script("counted", &[vec![Do::Retry; 40], vec![Do::Done]].concat());
    let _running = [start(&w).await, start(&w).await, start(&w).await];
    for _ in 0..6 {
        w.apply(&(0..10).map(|_| keyed("counted")).collect::<Vec<_>>()).await;
    }
    w.until(DONE, 60).await;
    assert_eq!((w.cx.began("counted"), MOST.load(Ordering::SeqCst)), (100, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_process_keeps_its_jobs_place_until_it_runs_again() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Block]);
    let dying = start(&w).await;
    w.apply(&[keyed("a"), keyed("a")]).await;
    w.until_began("a", 1).await;
    let session = dying.session();
    drop(dying);
    w.expire(session).await;
    let _other = start(&w).await;
    w.until_began("a", 2).await;
    w.cx.gate.add_permits(2);
    w.until(DONE, 2).await;
    assert_eq!(w.cx.attempts("a"), [1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_lets_its_burst_through_and_then_one_after_the_other() {
    let w = World::new().await;
    let _one = start(&w).await;
    let _two = start(&w).await;
    w.apply(&(0..12).map(|_| Effect::Job(NewJob::of(&Rated))).collect::<Vec<_>>()).await;
    w.until(DONE, 4).await;
    assert_eq!((w.count(HELD).await, w.waits_for().await.as_deref()), (8, Some("rate_limit")));
    for done in 5..=8 {
        w.pass_time(6);
        w.until(DONE, done).await;
    }
    // A bucket holds no more than its burst, however long nobody came.
    w.pass_time(3600);
    w.until(DONE, 12).await;
    assert_eq!(w.count(HELD).await, 0);
    assert!(w.gate("test.rate").await.tokens.unwrap() < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_own_time_holds_all_that_ask_it() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Snooze(600), Do::Done]);
    let _running = start(&w).await;
    w.apply(&[asking("a")]).await;
    w.until("select count(*) from engine.gates where blocked_until is not null", 1).await;
    w.apply(&[asking("b"), asking("b")]).await;
    w.until(HELD, 2).await;
    w.pass_time(500);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((w.cx.began("b"), w.waits_for().await.as_deref()), (0, Some("rate_limit")));
    w.pass_time(200);
    w.until(DONE, 3).await;
    assert_eq!(w.cx.attempts("a"), [1, 1], "waiting spends no attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_opens_after_failures_in_a_row_probes_with_one_and_closes_on_its_success() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Retry, Do::Fail, Do::Retry, Do::Retry, Do::Retry, Do::Block]);
    let _one = start(&w).await;
    let _two = start(&w).await;
    w.apply(&[asking("a")]).await;
    // Of another code, the second one does not count, and does not forgive either.
    w.until(OPEN, 1).await;
    w.until(HELD, 1).await;
    assert_eq!(w.cx.attempts("a"), [1, 2, 3, 4]);
    let open = w.gate("test.provider").await;
    assert_eq!((open.breaker.as_str(), w.waits_for().await.as_deref()), ("open", Some("breaker")));
    w.apply(&(0..10).map(|_| asking("b")).collect::<Vec<_>>()).await;
    w.until(HELD, 11).await;
    // One probes, and fails: open again for twice as long.
    w.pass_time(61);
    w.until_began("a", 5).await;
    w.until(HELD, 11).await;
    w.until("select openings::bigint from engine.gates where name = 'test.provider'", 2).await;
    w.pass_time(61);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((w.cx.began("a"), w.cx.began("b")), (5, 0), "for twice as long");
    // One probes and takes its time: nobody else is let through meanwhile.
    w.pass_time(60);
    w.until_began("a", 6).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!((w.cx.began("b"), w.gate("test.provider").await.breaker.as_str()), (0, "half_open"));
    w.cx.gate.add_permits(1);
    w.until(DONE, 11).await;
    let closed = w.gate("test.provider").await;
    assert_eq!((closed.breaker.as_str(), closed.failures, closed.held), ("closed", 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_edits_a_gate_and_closes_its_breaker_and_the_edit_outlives_the_program() {
    let w = World::new().await;
    w.cx.script("a", &[Do::Retry, Do::Retry, Do::Retry, Do::Done]);
    let running = start(&w).await;
    w.apply(&[asking("a")]).await;
    w.until(OPEN, 1).await;
    w.until(HELD, 1).await;
    let mut conn = w.db.pool.acquire().await.unwrap();
    let none = GateEdit { concurrency_max: None, rate: None, breaker: None };
    let unknown = edit_gate(&mut conn, &w.db.clock, "unknown", &none).await.unwrap_err();
    assert!(matches!(unknown, GateError::Unknown));
    for invalid in [
        GateEdit { concurrency_max: Some(0), ..none.clone() },
        GateEdit { rate: Some((0.0, 1)), ..none.clone() },
        GateEdit { rate: Some((f64::NAN, 1)), ..none.clone() },
        GateEdit { rate: Some((1.0, 0)), ..none.clone() },
        GateEdit { breaker: Some((0, 1.0)), ..none.clone() },
        GateEdit { breaker: Some((1, -1.0)), ..none.clone() },
    ] {
        let refused = edit_gate(&mut conn, &w.db.clock, "test.provider", &invalid).await.unwrap_err();
        assert!(matches!(refused, GateError::InvalidLimit), "{invalid:?}");
    }
    let applied = reset_gate(&mut conn, "test.provider").await.unwrap();
    w.cx.engine.wake(&applied);
    w.until(DONE, 1).await;

    let edit = GateEdit { concurrency_max: Some(1), ..none };
    let applied = edit_gate(&mut conn, &w.db.clock, "test.provider", &edit).await.unwrap();
    w.cx.engine.wake(&applied);
    running.drain(Duration::from_secs(5)).await;
    w.cx.script("b", &[Do::Block]);
    let _again = start(&w).await;
    w.apply(&[asking("b"), asking("b"), asking("b")]).await;
    w.until_began("b", 1).await;
    let edited = w.gate("test.provider").await;
    assert_eq!((edited.concurrency_max, edited.failures_max), (Some(1), None));
    assert_eq!((edited.passed, edited.held, w.cx.began("b")), (1, 2, 1));
    w.cx.gate.add_permits(3);
    w.until(DONE, 4).await;
}

#[test]
#[should_panic(expected = "two gates are named")]
fn two_kinds_cannot_declare_one_gate_differently() {
    #[derive(Serialize, Deserialize)]
    struct Other;
    impl Job<Cx> for Other {
        const SPEC: Spec = Spec {
            name: "test.other",
            queue: Queue { name: "test", concurrency: 1 },
            retry: RETRY,
            timeout: Duration::from_secs(1),
        };
        const GATE: Option<Gate> = Some(Gate { concurrency: Some(1), ..Rated::GATE.unwrap() });
        async fn run(self, _: &Cx, _: &Lease) -> Result<Outcome, JobError> {
            Ok(Outcome::Done)
        }
    }
    let _ = Registry::new().job::<Rated>().job::<Other>();
}
