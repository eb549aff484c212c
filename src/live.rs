//! The hub of live updates: one task per serving process, which numbers what was committed, reads on, and tells every
//! open stream of this process.
//!
//! A commit of this process wakes it; what other processes committed is found by polling. It has a connection of its
//! own, so that busy requests and jobs do not hold it up. The database may be away for as long as it likes: the hub goes
//! on from where it was.
//!
//! **Invariant:** who subscribes hears every event after [`Subscription::head`] in the order of the numbers and
//! without a gap, or a [`Message::Resync`], or the end. What has fallen behind takes no memory: the channel is bounded
//! and drops the oldest.

use std::sync::Arc;
use std::time::Duration;

use sira_domain::Db;
use sira_domain::live::{self, BATCH_MAX, KEPT_FOR, Numbered};
use sira_engine::EngineError;
use sira_kernel::Actor;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Longest step; a statement on a dead line has no deadline of its own.
const STEP_MAX: Duration = Duration::from_secs(10);
/// First pause after a failure; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest wait of a subscriber for a hub that has not reached the database yet.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// How often old events are deleted.
const CLEAR_EVERY: Duration = Duration::from_mins(1);
/// Most deletions in a row, of [`BATCH_MAX`] events each.
const CLEARINGS_MAX: usize = 50;

/// What the hub can be tuned by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often it looks for what other processes committed.
    pub poll_every: Duration,
    /// Events that a stream may be behind; one that falls further behind is ended.
    pub backlog_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { poll_every: Duration::from_millis(200), backlog_max: 4096 }
    }
}

/// What is told to the streams.
#[derive(Debug, Clone)]
pub enum Message {
    /// The next event.
    Event(Arc<Numbered>),
    /// Events were missed, and are not to be had any more; the next one is the one after this number.
    Resync(i64),
}

/// The running hub. Cheap to clone; dropped for the last time, it stops.
#[derive(Clone)]
pub struct Live(Arc<Running>);

struct Running {
    /// Weak: whoever listens hears the end of the channel when the task ends, however it ends.
    sender: broadcast::WeakSender<Message>,
    head: watch::Receiver<Option<i64>>,
    _task: AbortOnDropHandle<()>,
}

/// One listener's end of the channel.
pub struct Subscription {
    /// All events up to this number are in the database; those after it come by the receiver, and some up to it may.
    pub head: i64,
    /// What is told from now on. Its end is the end of the hub.
    pub receiver: broadcast::Receiver<Message>,
}

impl Live {
    /// Starts the hub; must be called within a Tokio runtime. It ends with `stop`, once what it does at that moment is
    /// done, and every stream with it.
    pub fn start(db: Db, settings: &Settings, stop: CancellationToken) -> Self {
        let (sender, _) = broadcast::channel(settings.backlog_max);
        let (head, heads) = watch::channel(None);
        let weak = sender.downgrade();
        let poll_every = settings.poll_every;
        let db = db.apart();
        let hub = Hub { db, sender, head, at: None, clear_at: Instant::now() + CLEAR_EVERY };
        #[expect(
            clippy::disallowed_methods,
            reason = "owned: ends with its token, aborted with its last handle"
        )]
        let task = AbortOnDropHandle::new(tokio::spawn(hub.run(poll_every, stop)));
        Self(Arc::new(Running { sender: weak, head: heads, _task: task }))
    }

    /// Waits for its end: then it uses the database no more.
    pub async fn ended(&self) {
        let mut heads = self.0.head.clone();
        while heads.changed().await.is_ok() {}
    }

    /// Hears from now on. `None` when the hub has ended, or has not reached the database within a few seconds.
    pub async fn subscribe(&self) -> Option<Subscription> {
        // Before the head is read: what comes between the two is heard, not missed.
        let receiver = self.0.sender.upgrade()?.subscribe();
        let mut heads = self.0.head.clone();
        let known = tokio::time::timeout(HEAD_MAX, heads.wait_for(Option::is_some)).await;
        let head = (*known.ok()?.ok()?)?;
        Some(Subscription { head, receiver })
    }
}

/// What a step found.
enum Step {
    /// Events; there may be more.
    More,
    /// Nothing new.
    Quiet,
}

/// The state of the task.
struct Hub {
    db: Db,
    sender: broadcast::Sender<Message>,
    head: watch::Sender<Option<i64>>,
    /// The last number told; none before the database was reached first.
    at: Option<i64>,
    clear_at: Instant,
}

impl Hub {
    async fn run(mut self, poll_every: Duration, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        while !stop.is_cancelled() {
            // One that is given up has told what it told: the next one goes on from there.
            let taken = tokio::time::timeout(STEP_MAX, self.step()).await;
            match taken.unwrap_or(Err(EngineError::Database(sqlx::Error::PoolTimedOut))) {
                Ok(Step::More) => pause = PAUSE_MIN,
                Ok(Step::Quiet) => {
                    pause = PAUSE_MIN;
                    tokio::select! {
                        () = self.db.told() => {}
                        () = tokio::time::sleep(poll_every) => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "live updates wait for the database");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => {}
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Tells at most one batch of what is committed.
    async fn step(&mut self) -> Result<Step, EngineError> {
        if Instant::now() >= self.clear_at {
            self.clear_at = Instant::now() + CLEAR_EVERY;
            self.clear().await?;
        }
        let state = live::state(&mut *self.db.read().await?).await?;
        let at = match self.at {
            Some(at) if at <= state.last => at,
            // A database that was set back, as from a backup, gives these numbers anew.
            Some(_) => self.skip_to(state.last),
            None => self.go_on_from(state.last),
        };
        if !state.unnumbered && state.last == at {
            return Ok(Step::Quiet);
        }
        let numbered = if state.unnumbered { live::sequence(&self.db).await? } else { Vec::new() };
        let next = if numbered.first().is_some_and(|event| event.seq == at + 1) {
            numbered
        } else {
            // Others have given numbers, too.
            live::read_after(&mut *self.db.read().await?, at, BATCH_MAX).await?
        };
        if next.is_empty() && state.last > at {
            self.skip_to(state.last);
        }
        for event in next {
            self.tell(event);
        }
        Ok(Step::More)
    }

    fn go_on_from(&mut self, last: i64) -> i64 {
        self.at = Some(last);
        self.head.send_replace(self.at);
        last
    }

    fn skip_to(&mut self, last: i64) -> i64 {
        tracing::warn!(seq = last, "live updates were missed; the streams are told to load anew");
        // The head first: who subscribes between the two hears of it twice rather than not at all.
        self.go_on_from(last);
        let _ = self.sender.send(Message::Resync(last));
        last
    }

    fn tell(&mut self, event: Numbered) {
        if self.at.is_some_and(|at| event.seq != at + 1) {
            self.skip_to(event.seq - 1);
        }
        self.go_on_from(event.seq);
        metrics::counter!("sira_live_events_total").increment(1);
        // Fails when nobody listens.
        let _ = self.sender.send(Message::Event(Arc::new(event)));
    }

    /// Deletes what is too old, in batches.
    async fn clear(&self) -> Result<(), EngineError> {
        let before = self.db.clock().now() - KEPT_FOR;
        for _ in 0..CLEARINGS_MAX {
            let mut uow = self.db.begin(Actor::System).await?;
            let deleted = live::delete_older(uow.conn(), before, BATCH_MAX).await?;
            uow.commit().await?;
            if deleted < u64::from(BATCH_MAX) {
                break;
            }
        }
        Ok(())
    }
}
