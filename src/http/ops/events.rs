//! `/ops/events`: how the machinery stands, and what changes of it, over server-sent events.
//!
//! One look a second serves all streams of a process, and none is taken while nobody listens. Each stream is told what differs
//! from what it was told last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use serde_json::{Value, json};
use sira_engine::EngineError;
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval};

use super::bulk::BulkAct;
use super::gates::JobGate;
use super::queues::JobQueue;
use super::schedules::Schedule;
use super::workers::{JobCounter, Worker};
use crate::board::{Board, Card, Change};
use crate::http::auth::Caller;
use crate::http::events::feed::{self, Feed, Outbox};
use crate::http::events::listener::Listener;
use crate::http::events::streamed;
use crate::http::problem::{ApiError, Problem};
use crate::http::state::App;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Longest look; a statement on a dead line has no deadline of its own.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Looks in a row that failed; the next one ends the stream.
const UNSEEN_MAX: u8 = 30;

/// The last look at the board, which all streams of a process share.
#[derive(Default)]
pub struct Look(Mutex<Option<(Instant, Arc<Board>)>>);

impl Look {
    /// As it was a moment ago at most.
    async fn board(&self, app: &App) -> Result<Arc<Board>, EngineError> {
        let mut last = self.0.lock().await;
        if let Some((at, board)) = &*last
            && at.elapsed() < LOOK_EVERY / 2
        {
            return Ok(board.clone());
        }
        let board = Board::read(&mut *app.cx.db.read().await?, &app.cx.clock).await?;
        let board = Arc::new(board);
        *last = Some((Instant::now(), board.clone()));
        Ok(board)
    }
}

/// How queues, gates, schedules and workers stand, how attempts ended in this minute and the one before, and how far the latest
/// acts on many jobs have come, as server-sent events. Sign in by the `Authorization` header or by a ticket.
///
/// The stream begins with `hello { serverTime }`; then comes everything that there is, and from then on, within a second or two,
/// what has changed: `queue`, `gate`, `schedule`, `worker`, `counter` and `bulk` are as the lists of `/ops` show them, and
/// `gone { topic, key }` takes one away. At least every 15 seconds comes `heartbeat { serverTime }`. There are no ids: who comes
/// again gets everything anew. States in between may be left out, the last one never. The stream ends when its user is disabled
/// or gets another role or team, and when the process stops.
#[utoipa::path(get, path = "/ops/events", operation_id = "stream_operations", tag = "operations", responses(
    (status = 200, description = "The stream", body = String, content_type = "text/event-stream"),
    (status = 401, description = "Neither signed in nor a good ticket", body = Problem, content_type = "application/problem+json"),
    (status = 403, description = "Not allowed", body = Problem, content_type = "application/problem+json"),
    (status = 429, description = "The caller has too many open streams", body = Problem, content_type = "application/problem+json"),
    (status = 503, description = "This process has too many open streams", body = Problem, content_type = "application/problem+json"),
))]
pub async fn stream_operations(State(app): State<App>, Caller(user): Caller) -> Result<Response, ApiError> {
    let settings = &app.settings;
    let place = app.places.take(user.id, settings.streams_per_user_max, settings.streams_max)?;
    let hello = event("hello", &json!({ "serverTime": app.cx.clock.now() }));
    let mut looks = feed::every(LOOK_EVERY);
    looks.reset_immediately();
    let stream = OperationsStream {
        listener: Listener::new(user, place),
        outbox: Outbox { ready: VecDeque::from([hello]), ended: false },
        told: Arc::default(),
        unseen: 0,
        heartbeat: feed::every(settings.heartbeat),
        looks,
        app: app.clone(),
    };
    Ok(streamed(stream))
}

struct OperationsStream {
    app: App,
    listener: Listener,
    outbox: Outbox,
    /// What was told last.
    told: Arc<Board>,
    unseen: u8,
    heartbeat: Interval,
    looks: Interval,
}

impl Feed for OperationsStream {
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    async fn advance(&mut self) {
        // It ends with the process' service.
        let live = self.app.live.clone();
        tokio::select! {
            biased;
            () = live.ended() => self.outbox.ended = true,
            _ = self.heartbeat.tick() => self.beat().await,
            _ = self.looks.tick() => self.look().await,
        }
    }
}

impl OperationsStream {
    async fn beat(&mut self) {
        self.outbox.ended = !self.listener.may_go_on(&self.app).await;
        if !self.outbox.ended {
            self.outbox
                .ready
                .push_back(event("heartbeat", &json!({ "serverTime": self.app.cx.clock.now() })));
        }
    }

    async fn look(&mut self) {
        let board = tokio::time::timeout(LOOK_MAX, self.app.look.board(&self.app)).await;
        match board.unwrap_or(Err(EngineError::Database(sqlx::Error::PoolTimedOut))) {
            Ok(board) => {
                self.unseen = 0;
                self.outbox.ready.extend(board.changes_since(&self.told).map(|change| told(&change)));
                self.told = board;
            }
            Err(error) => {
                tracing::debug!(%error, "the board could not be read");
                self.unseen += 1;
                self.outbox.ended = self.unseen > UNSEEN_MAX;
            }
        }
    }
}

fn told(change: &Change<'_>) -> Event {
    match change {
        Change::Is(card) => event(card.topic(), &shown((*card).clone())),
        Change::Gone(card) => event("gone", &json!({ "topic": card.topic(), "key": card.key() })),
    }
}

/// As the lists show it.
fn shown(card: Card) -> Value {
    match card {
        Card::Queue(queue) => json!(JobQueue::from(queue)),
        Card::Gate(gate) => json!(JobGate::from(gate)),
        Card::Schedule(schedule) => json!(Schedule::from(schedule)),
        Card::Worker(worker) => json!(Worker::from(worker)),
        Card::Counter(counter) => json!(JobCounter::from(counter)),
        Card::Bulk(act) => json!(BulkAct::from(act)),
    }
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
