//! The unit of work: one transaction in which a change, its audit events, its entries on timelines and everything that
//! follows from it commit together, or not at all.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_engine::{Applied, Effect, EngineError, JobError, Lease, Outcome, Step, Transition};
use sira_kernel::{Actor, Clock};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tokio::sync::Notify;

use crate::event::Event;
use crate::{audit, live, timeline};

/// How long a connection of one's own is waited for.
const APART_ACQUIRE_MAX: Duration = Duration::from_secs(3);

/// How long a connection is waited for in a hurry.
const HURRIED_ACQUIRE_MAX: Duration = Duration::from_millis(800);

/// A unit of work runs the same short statements by key again and again. Each connection plans them once, because
/// planning costs more than running them, and row by row through an index, because that plan stays right however fast
/// the tables grow after it was made. Why: docs/adr/0008.
const BEGIN: &str = "begin; set local plan_cache_mode = force_generic_plan; set local enable_seqscan = off;
    set local enable_hashjoin = off; set local enable_mergejoin = off";

/// What an event causes that happens at this time: a pure function, handed in from above so that low code can trigger high
/// code.
type Reactions = Arc<dyn Fn(&Event, DateTime<Utc>) -> Vec<Effect> + Send + Sync>;

/// The database was not there when a unit of work was to begin.
pub type BeginError = sqlx::Error;

/// Called after a commit with what it made due; wakes the engine's workers.
pub type Waker = Arc<dyn Fn(&Applied) + Send + Sync>;

/// Access to the database for reads and units of work. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    clock: Clock,
    reactions: Reactions,
    waker: Waker,
    told: Arc<Notify>,
    /// Whether a connection is waited for no longer than [`HURRIED_ACQUIRE_MAX`].
    hurried: bool,
}

/// A pool of one connection to where this one leads, made when it is needed and made anew when it is lost.
pub(crate) fn apart(pool: &PgPool) -> PgPool {
    let options = (*pool.connect_options()).clone();
    PgPoolOptions::new().max_connections(1).acquire_timeout(APART_ACQUIRE_MAX).connect_lazy_with(options)
}

impl Db {
    /// Over this pool, with these reactions; `waker` is called after each commit that made work due.
    pub fn new(
        pool: PgPool,
        clock: Clock,
        reactions: impl Fn(&Event, DateTime<Utc>) -> Vec<Effect> + Send + Sync + 'static,
        waker: Waker,
    ) -> Self {
        Self { pool, clock, reactions: Arc::new(reactions), waker, told: Arc::default(), hurried: false }
    }

    /// The same with one connection of its own, made when it is needed and made anew when it is lost: for what must go
    /// on while all others are in use. Must be called within a Tokio runtime.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { pool: apart(&self.pool), ..self.clone() }
    }

    /// The same for whom it is better to hear soon that all connections are in use than to get one late.
    #[must_use]
    pub fn hurried(&self) -> Self {
        Self { hurried: true, ..self.clone() }
    }

    /// Begins a unit of work of this actor.
    pub async fn begin(&self, actor: Actor) -> Result<Uow, BeginError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the unit of work is the one place that begins transactions"
        )]
        let tx = self.in_time(Box::pin(self.pool.begin_with(BEGIN))).await?;
        let (events, effects) = (Vec::new(), Vec::new());
        let (now, due) = (self.clock.now(), Applied::default());
        Ok(Uow { tx, actor, now, events, effects, due, tells: false, db: self.clone() })
    }

    /// A connection for reads.
    pub async fn read(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.in_time(Box::pin(self.pool.acquire())).await
    }

    async fn in_time<T>(
        &self,
        connecting: Pin<Box<impl Future<Output = Result<T, sqlx::Error>>>>,
    ) -> Result<T, sqlx::Error> {
        let most = if self.hurried { HURRIED_ACQUIRE_MAX } else { Duration::MAX };
        tokio::time::timeout(most, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits until a unit of work of this `Db` or a clone has committed live events. A commit while nobody waits ends
    /// the next wait at once; of several who wait, one hears of it.
    pub async fn told(&self) {
        self.told.notified().await;
    }

    fn committed(&self, applied: &Applied, tells: bool) {
        (self.waker)(applied);
        if tells {
            self.told.notify_one();
        }
    }
}

/// One transaction with its actor, its time and what happened in it. Dropped without a commit, nothing happened.
pub struct Uow {
    tx: Transaction<'static, Postgres>,
    actor: Actor,
    now: DateTime<Utc>,
    events: Vec<Event>,
    effects: Vec<Effect>,
    /// What was made due beside the effects.
    due: Applied,
    /// Whether live events were written.
    tells: bool,
    db: Db,
}

impl Uow {
    /// The transaction's connection, for the stores.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// The time at which this unit of work happens; one for all its rows.
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// Who acts.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Records what happened: audited, and reacted to, in the commit.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Adds what the caller's own work causes: a job that goes on where this one stopped.
    pub fn follow_with(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The clock by which the engine compares times.
    pub(crate) fn clock(&self) -> Clock {
        self.db.clock.clone()
    }

    /// Wakes, after the commit, whoever can do what the engine's own functions made due in this unit of work.
    pub(crate) fn made_due(&mut self, applied: Applied) {
        self.due.merge(applied);
    }

    /// Commits change, audit events and effects together.
    pub async fn commit(mut self) -> Result<(), EngineError> {
        let applied = self.flush().await?;
        self.tx.commit().await?;
        self.db.committed(&applied, self.tells);
        Ok(())
    }

    /// Commits and completes the job in the same transaction.
    ///
    /// # Errors
    /// [`JobError::LeaseLost`] when the lease was lost; then nothing was changed.
    pub async fn commit_and_complete(mut self, lease: &Lease) -> Result<Outcome, JobError> {
        let applied = self.flush().await?;
        lease.complete(&mut self.tx).await?;
        self.tx.commit().await?;
        self.db.committed(&applied, self.tells);
        Ok(Outcome::Committed)
    }

    /// Commits and takes the workflow's step in the same transaction.
    ///
    /// # Errors
    /// [`JobError::LeaseLost`] when the step was taken elsewhere; then nothing was changed.
    pub async fn commit_and_advance<S: Serialize + Sync>(
        mut self,
        step: &Step,
        transition: Transition<S>,
    ) -> Result<Outcome, JobError> {
        // The workflow's row before any job's: the order in which signals lock, too.
        let mut applied = step.record(&mut self.tx, &transition).await?;
        applied.merge(self.flush().await?);
        self.tx.commit().await?;
        self.db.committed(&applied, self.tells);
        Ok(Outcome::Committed)
    }

    /// Writes the audit events, the timelines and the effects of what was recorded.
    async fn flush(&mut self) -> Result<Applied, EngineError> {
        let mut applied = std::mem::take(&mut self.due);
        if self.events.is_empty() && self.effects.is_empty() {
            return Ok(applied);
        }
        let entries: Vec<_> = self.events.iter().map(Event::audit).collect();
        if !entries.is_empty() {
            audit::insert(&mut self.tx, &self.actor, self.now, &entries).await?;
        }
        let entries: Vec<_> = self.events.iter().flat_map(Event::timeline).collect();
        if !entries.is_empty() {
            timeline::insert(&mut self.tx, &self.actor, self.now, &entries).await?;
        }
        let told: Vec<_> = self.events.iter().flat_map(Event::live).collect();
        if !told.is_empty() {
            live::insert(&mut self.tx, self.now, &told).await?;
            self.tells = true;
        }
        let caused = self.events.iter().flat_map(|event| (self.db.reactions)(event, self.now));
        let mut effects: Vec<_> = caused.collect();
        effects.append(&mut self.effects);
        applied.merge(sira_engine::apply(&mut self.tx, &self.db.clock, &effects).await?);
        Ok(applied)
    }
}
