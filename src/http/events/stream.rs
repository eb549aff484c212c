//! One open stream: first what its client missed, then what happens, and a heartbeat in between.
//!
//! **Invariant:** whatever is sent under an id, the client has been sent everything in its scope up to that id, or has
//! been told to load anew.

use std::collections::VecDeque;

use axum::response::sse::Event;
use serde_json::json;
use sira_domain::live::{self, Numbered};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Interval;

use super::feed::{self, Feed, Outbox};
use super::listener::Listener;
use crate::http::state::App;
use crate::live::{Message, Subscription};

/// Furthest that a client may be behind and be sent what it missed: beyond that, loading anew is cheaper for both.
const REPLAY_MAX: i64 = 10_000;
/// Events read by one statement of a replay.
const REPLAY_PAGE: u16 = 500;

/// The state of a stream.
pub struct EventStream {
    app: App,
    listener: Listener,
    receiver: broadcast::Receiver<Message>,
    /// Everything up to here was sent, or is not for this user.
    at: i64,
    /// Up to here events are read from the database; those after it are heard.
    replay_to: i64,
    outbox: Outbox,
    heartbeat: Interval,
}

impl EventStream {
    /// Goes on after the event that the client had last (`from`), or from now on. Where what came after it is not to
    /// be had, it goes on from now, and the client is told to load anew.
    pub async fn open(
        app: App,
        listener: Listener,
        from: Option<i64>,
        subscription: Subscription,
    ) -> Result<Self, sqlx::Error> {
        let Subscription { head, receiver } = subscription;
        let missed = match from {
            Some(from) => !is_to_be_had(&app, from, head).await?,
            None => false,
        };
        let at = from.filter(|_| !missed).unwrap_or(head);
        let hello = json!({ "serverTime": app.cx.clock.now(), "seq": head.max(at) });
        let mut ready = VecDeque::from([event(at, "hello", &hello.to_string())]);
        if missed {
            ready.push_back(resync(at));
        }
        let heartbeat = feed::every(app.settings.heartbeat);
        let outbox = Outbox { ready, ended: false };
        Ok(Self { app, listener, receiver, at, replay_to: head, outbox, heartbeat })
    }
}

impl Feed for EventStream {
    fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    async fn advance(&mut self) {
        let replaying = self.at < self.replay_to;
        tokio::select! {
            // Events without a pause must not put off the look at the user.
            biased;
            _ = self.heartbeat.tick() => self.beat().await,
            () = std::future::ready(()), if replaying => self.replay().await,
            message = self.receiver.recv(), if !replaying => self.hear(message),
        }
    }
}

impl EventStream {
    /// Reads a page of what was missed. Where the database is not there, the stream ends: its client comes again.
    async fn replay(&mut self) {
        match self.read_page().await {
            Ok(page) if page.first().is_some_and(|event| event.seq == self.at + 1) => {
                for event in page {
                    self.pass(&event);
                }
            }
            // Deleted since the stream was opened.
            Ok(_) => self.skip_to(self.replay_to),
            Err(error) => {
                tracing::debug!(%error, "a replay ended with its stream");
                self.outbox.ended = true;
            }
        }
    }

    async fn read_page(&self) -> Result<Vec<Numbered>, sqlx::Error> {
        live::read_after(&mut *self.app.cx.db.read().await?, self.at, REPLAY_PAGE).await
    }

    fn hear(&mut self, message: Result<Message, RecvError>) {
        match message {
            // What was read from the database may be heard again.
            Ok(Message::Event(event)) if event.seq > self.at => self.pass(&event),
            Ok(Message::Event(_)) => {}
            Ok(Message::Resync(seq)) => self.skip_to(seq),
            Err(RecvError::Lagged(_)) => {
                // Its client reads too slowly. It may come again with the id that it has.
                self.outbox.ready.push_back(resync(self.at));
                self.outbox.ended = true;
            }
            Err(RecvError::Closed) => self.outbox.ended = true,
        }
    }

    /// Moves over the next event, and sends it if it is for this user.
    fn pass(&mut self, next: &Numbered) {
        self.at = next.seq;
        if next.is_for(self.listener.user.scope(), self.listener.user.id) {
            self.outbox.ready.push_back(event(next.seq, &next.name, &next.body));
        }
    }

    /// What lies between is not to be had any more.
    fn skip_to(&mut self, seq: i64) {
        self.at = seq;
        self.outbox.ready.push_back(resync(seq));
    }

    /// Reads the user again, and moves the client's id on even if nothing was for it.
    async fn beat(&mut self) {
        self.outbox.ended = !self.listener.may_go_on(&self.app).await;
        if !self.outbox.ended {
            let data = json!({ "serverTime": self.app.cx.clock.now(), "seq": self.at });
            self.outbox.ready.push_back(event(self.at, "heartbeat", &data.to_string()));
        }
    }
}

/// Whether everything after this event can be sent: the event was told, what came after it is kept, and it is not too
/// much.
async fn is_to_be_had(app: &App, from: i64, head: i64) -> Result<bool, sqlx::Error> {
    let mut conn = app.cx.db.read().await?;
    let last = live::state(&mut conn).await?.last;
    let oldest = live::oldest_kept(&mut conn).await?;
    Ok(from <= last && from >= oldest - 1 && from >= head - REPLAY_MAX)
}

/// `data` is JSON on one line.
fn event(id: i64, name: &str, data: &str) -> Event {
    Event::default().id(id.to_string()).event(name).data(data)
}

fn resync(id: i64) -> Event {
    metrics::counter!("sira_live_resyncs_total").increment(1);
    event(id, "resync", &json!({ "seq": id }).to_string())
}
