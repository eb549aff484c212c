//! The unit of work: one transaction in which a change, its audit events and everything that follows from it
//! commit together, or not at all.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_engine::{Applied, Effect, EngineError, JobError, Lease, Outcome, Step, Transition};
use sira_kernel::{Actor, Clock};
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::audit;
use crate::event::Event;

/// What an event causes: a pure function, handed in from above so that low code can trigger high code.
pub type Reactions = fn(&Event) -> Vec<Effect>;

/// The database was not there when a unit of work was to begin.
pub type BeginError = sqlx::Error;

/// Called after a commit with what it made due; wakes the engine's workers.
pub type Waker = std::sync::Arc<dyn Fn(&Applied) + Send + Sync>;

/// Access to the database for reads and units of work. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    clock: Clock,
    reactions: Reactions,
    waker: Waker,
}

impl Db {
    /// Over this pool, with these reactions; `waker` is called after each commit that made work due.
    pub fn new(pool: PgPool, clock: Clock, reactions: Reactions, waker: Waker) -> Self {
        Self { pool, clock, reactions, waker }
    }

    /// Begins a unit of work of this actor.
    pub async fn begin(&self, actor: Actor) -> Result<Uow, BeginError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the unit of work is the one place that begins transactions"
        )]
        let tx = self.pool.begin().await?;
        Ok(Uow { tx, actor, now: self.clock.now(), events: Vec::new(), db: self.clone() })
    }

    /// A connection for reads.
    pub async fn read(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.pool.acquire().await
    }

    /// The time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

/// One transaction with its actor, its time and what happened in it. Dropped without a commit, nothing happened.
pub struct Uow {
    tx: Transaction<'static, Postgres>,
    actor: Actor,
    now: DateTime<Utc>,
    events: Vec<Event>,
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

    /// Commits change, audit events and effects together.
    pub async fn commit(mut self) -> Result<(), EngineError> {
        let applied = self.flush().await?;
        self.tx.commit().await?;
        (self.db.waker)(&applied);
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
        (self.db.waker)(&applied);
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
        (self.db.waker)(&applied);
        Ok(Outcome::Committed)
    }

    /// Writes the audit events and the effects of what was recorded.
    async fn flush(&mut self) -> Result<Applied, EngineError> {
        if self.events.is_empty() {
            return Ok(Applied::default());
        }
        let entries: Vec<_> = self.events.iter().map(Event::audit).collect();
        audit::insert(&mut self.tx, &self.actor, self.now, &entries).await?;
        let effects: Vec<_> = self.events.iter().flat_map(self.db.reactions).collect();
        sira_engine::apply(&mut self.tx, &self.db.clock, &effects).await
    }
}
