//! What all streams of events have in common.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Events that are made as time goes on.
pub trait Feed: Sized + Send + 'static {
    /// What is to be sent.
    fn outbox(&mut self) -> &mut Outbox;

    /// Waits until there is something to be sent, or to be ended; it may come back without either.
    fn advance(&mut self) -> impl Future<Output = ()> + Send;

    /// As axum sends it.
    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold(self, |mut feed| async move {
            loop {
                let outbox = feed.outbox();
                if let Some(event) = outbox.ready.pop_front() {
                    return Some((Ok(event), feed));
                }
                if outbox.ended {
                    return None;
                }
                feed.advance().await;
            }
        })
    }
}

/// What is to be sent.
pub struct Outbox {
    /// Next.
    pub ready: VecDeque<Event>,
    /// Nothing comes after that.
    pub ended: bool,
}

/// Ticks this far apart, the first one after as long; after a delay as far apart again.
pub fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
