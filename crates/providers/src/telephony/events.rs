//! A step of a leg as the sandbox provider writes it, in webhooks and in snapshots alike.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Leg, LegEvent, LegState};
use crate::codes::{self, Api};
use crate::failure::FailureKind;

/// `{"leg":"callee","state":"completed","at":"2026-11-02T10:00:00Z","talk_s":42,"cause":null}`; the last two may be
/// absent, and what else there is is passed over.
#[derive(Deserialize)]
pub struct WireEvent {
    leg: Leg,
    state: LegState,
    at: DateTime<Utc>,
    talk_s: Option<u32>,
    cause: Option<String>,
}

impl WireEvent {
    /// A cause counts on a failed leg only. Without a known one, all that is known is that nobody was reached.
    pub fn read(self) -> LegEvent {
        let failure = (self.state == LegState::Failed).then(|| {
            let known = self.cause.and_then(|cause| codes::find(Api::Twilio, &cause));
            known.unwrap_or(FailureKind::UnreachableContact)
        });
        LegEvent {
            leg: self.leg,
            state: self.state,
            at: self.at,
            talk: self.talk_s.map(|seconds| Duration::from_secs(seconds.into())),
            failure,
        }
    }
}
