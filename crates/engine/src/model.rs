//! A model of a job's life under claims, ends, snoozes, failures, crashes and operators: searched exhaustively for what must
//! never be, and compared with the database move by move.

use std::collections::{BTreeMap, HashSet, VecDeque};

/// Attempts that a job of the model has.
const ATTEMPTS_MAX: i16 = 2;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    Ready,
    Scheduled,
    /// Claimed by this process.
    Running(usize),
    Dead,
    Done,
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Job {
    place: Place,
    attempt: i16,
    lease: i64,
    /// A process died while it was claimed.
    struck: bool,
    /// It runs alone.
    probing: bool,
    crashes: i16,
    /// How often its effect was committed.
    effects: u8,
}

/// An attempt under way, or what a process that is taken for dead still believes to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Held {
    job: usize,
    lease: i64,
}

/// All that is known of the world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct World {
    jobs: Vec<Job>,
    held: Vec<Held>,
}

/// What may happen next. Numbers choose among what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Enqueue,
    /// Process `.0` claims the next job that runs beside others.
    Claim(usize),
    /// Process `.0` claims the next job that must run alone.
    ClaimProbing(usize),
    /// An attempt commits its effect with its completion.
    Complete(usize),
    Snooze(usize),
    Fail(usize),
    /// What waits for its time is due.
    Promote,
    /// Process `.0` is taken for dead, and another one takes its place. Its attempts may still go on.
    Expire(usize),
    Cancel(usize),
    Retry(usize),
}

/// Whether the fence stands: without it an attempt whose lease was lost commits all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    Stands,
    Removed,
}

impl World {
    /// The job of an attempt, if its lease is still good.
    fn owned(&self, held: Held) -> bool {
        let job = &self.jobs[held.job];
        matches!(job.place, Place::Running(_)) && job.lease == held.lease
    }

    fn next(&self, probing: bool) -> Option<usize> {
        self.jobs.iter().position(|job| job.place == Place::Ready && job.probing == probing)
    }

    fn claim(&mut self, process: usize, probing: bool) {
        let Some(at) = self.next(probing) else { return };
        let job = &mut self.jobs[at];
        job.place = Place::Running(process);
        job.lease += 1;
        job.attempt += 1;
        self.held.push(Held { job: at, lease: job.lease });
    }

    /// Takes an attempt's end in; returns the attempt, if there is one.
    fn end(&mut self, which: usize) -> Option<Held> {
        if self.held.is_empty() {
            return None;
        }
        let which = which % self.held.len();
        Some(self.held.remove(which))
    }

    fn job_of(&mut self, which: usize) -> Option<&mut Job> {
        if self.jobs.is_empty() {
            return None;
        }
        let which = which % self.jobs.len();
        self.jobs.get_mut(which)
    }

    fn step(&mut self, by: Move, fence: Fence) {
        match by {
            Move::Enqueue => self.jobs.push(Job {
                place: Place::Ready,
                attempt: 0,
                lease: 0,
                struck: false,
                probing: false,
                crashes: 0,
                effects: 0,
            }),
            Move::Claim(process) => self.claim(process, false),
            Move::ClaimProbing(process) => self.claim(process, true),
            Move::Complete(which) => {
                let Some(held) = self.end(which) else { return };
                if self.owned(held) || fence == Fence::Removed {
                    let job = &mut self.jobs[held.job];
                    job.place = Place::Done;
                    job.effects += 1;
                }
            }
            Move::Snooze(which) => {
                let Some(held) = self.end(which) else { return };
                if self.owned(held) {
                    let job = &mut self.jobs[held.job];
                    (job.place, job.attempt, job.probing) = (Place::Scheduled, job.attempt - 1, false);
                }
            }
            Move::Fail(which) => {
                let Some(held) = self.end(which) else { return };
                if self.owned(held) {
                    let job = &mut self.jobs[held.job];
                    let dead = job.attempt >= ATTEMPTS_MAX;
                    (job.place, job.probing) = (if dead { Place::Dead } else { Place::Scheduled }, false);
                }
            }
            Move::Promote => {
                for job in self.jobs.iter_mut().filter(|job| job.place == Place::Scheduled) {
                    job.place = Place::Ready;
                }
            }
            Move::Expire(process) => {
                for job in self.jobs.iter_mut().filter(|job| job.place == Place::Running(process)) {
                    let blamed = job.probing;
                    job.crashes += i16::from(blamed);
                    job.attempt -= 1;
                    let dead = blamed && job.crashes >= crate::store::CRASHES_MAX;
                    job.place = if dead { Place::Dead } else { Place::Ready };
                    job.probing |= job.struck;
                    job.struck = true;
                }
            }
            Move::Cancel(which) => {
                let Some(job) = self.job_of(which) else { return };
                if matches!(job.place, Place::Ready | Place::Scheduled | Place::Dead) {
                    job.place = Place::Cancelled;
                }
            }
            Move::Retry(which) => {
                let Some(job) = self.job_of(which) else { return };
                if matches!(job.place, Place::Scheduled | Place::Dead) {
                    job.probing |= job.crashes > 0;
                    (job.place, job.attempt, job.crashes) = (Place::Ready, 0, 0);
                }
            }
        }
    }

    /// What must never be.
    fn violation(&self) -> Option<&'static str> {
        for (at, job) in self.jobs.iter().enumerate() {
            let good = self.held.iter().filter(|held| held.job == at && self.owned(**held)).count();
            let broken = [
                (job.effects > 1, "an effect was committed twice"),
                ((job.place == Place::Done) != (job.effects == 1), "done without its effect, or the reverse"),
                (job.attempt < 0, "an attempt was given back that was never begun"),
                (good > 1, "two attempts hold one lease"),
                (matches!(job.place, Place::Running(_)) != (good == 1), "a running job that nobody runs"),
            ];
            if let Some((_, what)) = broken.into_iter().find(|(is, _)| *is) {
                return Some(what);
            }
        }
        None
    }
}

/// All that can happen in a world of so few jobs and processes.
fn moves(world: &World, jobs_max: usize, processes: usize) -> Vec<Move> {
    let mut moves = vec![Move::Promote];
    moves.extend((world.jobs.len() < jobs_max).then_some(Move::Enqueue));
    for process in 0..processes {
        moves.extend([Move::Claim(process), Move::ClaimProbing(process), Move::Expire(process)]);
    }
    for which in 0..world.held.len() {
        moves.extend([Move::Complete(which), Move::Snooze(which), Move::Fail(which)]);
    }
    for which in 0..world.jobs.len() {
        moves.extend([Move::Cancel(which), Move::Retry(which)]);
    }
    moves
}

/// Searches all worlds that so many moves lead to, breadth first. Returns how many there are, or the first that must not be.
fn search(depth: usize, fence: Fence) -> Result<usize, (&'static str, World)> {
    let mut seen = HashSet::from([World::default()]);
    let mut edge = VecDeque::from([(World::default(), 0)]);
    while let Some((world, moved)) = edge.pop_front() {
        if moved == depth {
            continue;
        }
        for by in moves(&world, 2, 2) {
            let mut next = world.clone();
            next.step(by, fence);
            if let Some(what) = next.violation() {
                return Err((what, next));
            }
            if seen.insert(next.clone()) {
                edge.push_back((next, moved + 1));
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn no_order_of_claims_ends_crashes_and_operators_loses_or_doubles_anything() {
    let worlds = search(14, Fence::Stands).unwrap_or_else(|(what, world)| panic!("{what}: {world:#?}"));
    assert!(worlds > 20_000, "{worlds}");
}

#[test]
fn the_search_finds_what_the_fence_prevents() {
    let (what, _) = search(9, Fence::Removed).expect_err("a job that is done twice");
    assert!(["an effect was committed twice", "a running job that nobody runs"].contains(&what), "{what}");
}

mod against_the_database {
    use std::time::Duration;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestCaseError, TestRunner};
    use serde::{Deserialize, Serialize};
    use sira_testkit::TestDb;
    use sqlx::{Connection, PgConnection};

    use super::{ATTEMPTS_MAX, BTreeMap, Fence, Held, Move, Place, World};
    use crate::job::{JobError, JobId, Lease, Outcome, Queue, Retry, Spec};
    use crate::store::{self, ClaimRow, ClaimedBy, PutBack, Return};
    use crate::{Effect, EngineError, NewJob, ops};

    const TTL: Duration = Duration::from_secs(10);
    const PROCESSES: usize = 2;

    #[derive(Serialize, Deserialize)]
    struct Modelled {}

    impl crate::Job<()> for Modelled {
        const SPEC: Spec = Spec {
            name: "test.modelled",
            queue: Queue { name: "test", concurrency: 1 },
            retry: Retry::backoff(ATTEMPTS_MAX as u16, Duration::ZERO, Duration::ZERO),
            timeout: Duration::from_secs(1),
        };
        async fn run(self, (): &(), _: &Lease) -> Result<Outcome, JobError> {
            Ok(Outcome::Done)
        }
    }

    /// The database beside the model: the same moves, by the engine's own statements.
    struct Real<'a> {
        conn: &'a mut PgConnection,
        clock: sira_kernel::Clock,
        sessions: [i64; PROCESSES],
        claims: i64,
        /// Ids of the model's jobs.
        ids: Vec<i64>,
        held: Vec<Held>,
    }

    impl Real<'_> {
        fn claimed(&mut self, row: Option<ClaimRow>) {
            if let Some(row) = row {
                let job = self.ids.iter().position(|id| *id == row.id).expect("one of ours");
                self.held.push(Held { job, lease: row.lease });
            }
        }

        fn by(&mut self, process: usize) -> ClaimedBy {
            self.claims += 1;
            ClaimedBy { session: self.sessions[process], claim: self.claims }
        }

        fn end(&mut self, which: usize) -> Option<(i64, i64)> {
            if self.held.is_empty() {
                return None;
            }
            let held = self.held.remove(which % self.held.len());
            Some((self.ids[held.job], held.lease))
        }

        async fn put_back(&mut self, which: usize, to: Option<Return>) -> Result<(), sqlx::Error> {
            let Some((id, lease)) = self.end(which) else { return Ok(()) };
            let attempt: Option<i16> = sqlx::query_scalar("select attempt from engine.jobs where id = $1")
                .bind(id)
                .fetch_optional(&mut *self.conn)
                .await?;
            let dead = attempt.is_some_and(|attempt| attempt >= ATTEMPTS_MAX);
            let row = PutBack {
                id,
                lease,
                to: to.unwrap_or(if dead { Return::Dead } else { Return::After(3_600_000_000) }),
                refund: to.is_some(),
                crashed: false,
                probing: false,
                deduped: false,
                error: None,
                outcome: Some(if to.is_some() { "snoozed" } else { "failed" }),
                waits_for: None,
                started_at: None,
            };
            let mut tx = self.conn.begin().await?;
            store::put_back(&mut tx, 0, &[row]).await?;
            tx.commit().await
        }

        async fn step(&mut self, by: Move) -> Result<(), EngineError> {
            match by {
                Move::Enqueue => {
                    let effects = [Effect::Job(NewJob::of(&Modelled {}))];
                    let _ = crate::apply(self.conn, &self.clock, &effects).await?;
                    self.ids.push(
                        sqlx::query_scalar("select max(id) from engine.jobs")
                            .fetch_one(&mut *self.conn)
                            .await?,
                    );
                }
                Move::Claim(process) => {
                    let by = self.by(process);
                    let rows = store::claim(self.conn, "test", by, None, 1).await?;
                    self.claimed(rows.into_iter().next());
                }
                Move::ClaimProbing(process) => {
                    let by = self.by(process);
                    let row = store::claim_probing(self.conn, &["test".to_owned()], by).await?;
                    self.claimed(row);
                }
                Move::Complete(which) => {
                    let Some((id, fence)) = self.end(which) else { return Ok(()) };
                    let lease = Lease { job: JobId(id), fence, attempt: 1, attempts_max: 1, child: false };
                    let mut tx = self.conn.begin().await?;
                    sqlx::query("insert into effects values ($1)").bind(id).execute(&mut *tx).await?;
                    match store::complete_one(&mut tx, &lease).await {
                        Ok(()) => tx.commit().await?,
                        Err(EngineError::LeaseLost) => tx.rollback().await?,
                        Err(error) => return Err(error),
                    }
                }
                Move::Snooze(which) => self.put_back(which, Some(Return::After(3_600_000_000))).await?,
                Move::Fail(which) => self.put_back(which, None).await?,
                Move::Promote => {
                    store::promote(self.conn, 7_200_000_000, 100).await?;
                }
                Move::Expire(process) => {
                    sqlx::query("update engine.sessions set until = now() - interval '1 s' where id = $1")
                        .bind(self.sessions[process])
                        .execute(&mut *self.conn)
                        .await?;
                    store::rescue(self.conn, 0, TTL).await?;
                    self.sessions[process] = store::open_session(self.conn, "h", "0", &[], TTL).await?;
                }
                Move::Cancel(which) if !self.ids.is_empty() => {
                    let id = JobId(self.ids[which % self.ids.len()]);
                    ops::cancel_jobs(self.conn, &[id], "modelled").await?;
                }
                Move::Retry(which) if !self.ids.is_empty() => {
                    let id = JobId(self.ids[which % self.ids.len()]);
                    let _ = ops::retry_jobs(self.conn, &self.clock, &[id]).await?;
                }
                Move::Cancel(_) | Move::Retry(_) => {}
            }
            Ok(())
        }

        /// Where each job is, with its attempts and its lease, and how often its effect is there.
        async fn look(&mut self) -> Result<BTreeMap<usize, (String, i16, i64, i64)>, sqlx::Error> {
            let rows: Vec<(i64, String, i16, i64, i64)> = sqlx::query_as(
                "select id, case when state = 'running' then state || session else state end, attempt, lease,
                    (select count(*) from effects e where e.job_id = j.id)
                from engine.jobs j
                union all
                select id, outcome, 0::smallint, 0::bigint, (select count(*) from effects e where e.job_id = f.id) from engine.finished f",
            )
            .fetch_all(&mut *self.conn)
            .await?;
            let place = |id| self.ids.iter().position(|known| *known == id).expect("one of ours");
            Ok(rows
                .into_iter()
                .map(|(id, state, attempt, lease, effects)| (place(id), (state, attempt, lease, effects)))
                .collect())
        }

        fn expected(&self, world: &World) -> BTreeMap<usize, (String, i16, i64, i64)> {
            let seen = |job: &super::Job| {
                let state = match job.place {
                    Place::Ready => "ready".to_owned(),
                    Place::Scheduled => "scheduled".to_owned(),
                    Place::Running(process) => format!("running{}", self.sessions[process]),
                    Place::Dead => "dead".to_owned(),
                    Place::Done => "done".to_owned(),
                    Place::Cancelled => "cancelled".to_owned(),
                };
                let ended = matches!(job.place, Place::Done | Place::Cancelled);
                let (attempt, lease) = if ended { (0, 0) } else { (job.attempt, job.lease) };
                (state, attempt, lease, i64::from(job.effects))
            };
            world.jobs.iter().map(seen).enumerate().collect()
        }
    }

    fn any_move() -> impl Strategy<Value = Move> {
        let process = 0..PROCESSES;
        prop_oneof![
            2 => Just(Move::Enqueue),
            6 => process.clone().prop_map(Move::Claim),
            3 => process.clone().prop_map(Move::ClaimProbing),
            3 => (0..8_usize).prop_map(Move::Complete),
            2 => (0..8_usize).prop_map(Move::Snooze),
            3 => (0..8_usize).prop_map(Move::Fail),
            2 => Just(Move::Promote),
            4 => process.prop_map(Move::Expire),
            1 => (0..8_usize).prop_map(Move::Cancel),
            2 => (0..8_usize).prop_map(Move::Retry),
        ]
    }

    async fn play(db: &TestDb, moves: &[Move]) -> Result<(), TestCaseError> {
        let mut conn = db.pool.acquire().await.expect("the test's database answers");
        sqlx::raw_sql("truncate engine.jobs, engine.finished, engine.attempts, engine.sessions, effects")
            .execute(&mut *conn)
            .await
            .expect("tables are emptied");
        let mut sessions = [0; PROCESSES];
        for session in &mut sessions {
            *session = store::open_session(&mut conn, "h", "0", &[], TTL).await.expect("a session opens");
        }
        let (clock, ids, held) = (db.clock.clone(), Vec::new(), Vec::new());
        let mut real = Real { conn: &mut conn, clock, sessions, claims: 0, ids, held };
        let mut world = World::default();
        for (at, by) in moves.iter().enumerate() {
            world.step(*by, Fence::Stands);
            real.step(*by).await.map_err(|error| TestCaseError::fail(format!("{by:?}: {error}")))?;
            let seen = real.look().await.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&seen, &real.expected(&world), "after move {} of {:?}", at, moves);
            prop_assert_eq!(&real.held, &world.held);
            prop_assert_eq!(world.violation(), None);
        }
        Ok(())
    }

    #[test]
    fn the_engines_statements_do_what_the_model_does() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let db = runtime.block_on(TestDb::new());
        runtime
            .block_on(sqlx::raw_sql("create table effects (job_id bigint not null)").execute(&db.pool))
            .expect("a table of effects");
        let mut runner =
            TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
        let played = runner
            .run(&proptest::collection::vec(any_move(), 1..60), |moves| runtime.block_on(play(&db, &moves)));
        if let Err(failed) = played {
            panic!("{failed}");
        }
    }
}
