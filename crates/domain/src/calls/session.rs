//! What becomes of a call: a pure, monotonic state machine over what is heard of its two legs.
//!
//! The agent is rung first, then the other side, the callee; the callee's leg decides the outcome: an agent's leg that
//! "completed" tells nothing of whether anybody answered. News comes late, twice and out of order.
//!
//! **Invariant:** a status never goes back, and a final one stays; only `expired` and `unknown`, which are our own
//! guesses, give way to a final one of the provider's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How a call stands. The stored and published names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallStatus {
    /// Allowed and stored; the provider was not asked, or has not answered.
    Queued,
    /// The provider has it.
    Initiated,
    /// The other side rings.
    Ringing,
    /// The other side has answered.
    InProgress,
    /// It was answered, and is over.
    Completed,
    /// The other side was busy, or refused.
    Busy,
    /// The other side did not answer.
    NoAnswer,
    /// It could not be made.
    Failed,
    /// The agent did not take it, or hung up before the other side answered.
    Canceled,
    /// Nothing more was heard of it.
    Expired,
    /// It may have been made or not: it was not tried again.
    Unknown,
}

impl CallStatus {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Initiated,
        Self::Ringing,
        Self::InProgress,
        Self::Completed,
        Self::Busy,
        Self::NoAnswer,
        Self::Failed,
        Self::Canceled,
        Self::Expired,
        Self::Unknown,
    ];

    /// The stored and published name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Whether the call is over.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Initiated | Self::Ringing | Self::InProgress)
    }

    /// Whether it is a guess of ours that a provider's word may replace.
    const fn is_guess(self) -> bool {
        matches!(self, Self::Expired | Self::Unknown)
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Initiated => 1,
            Self::Ringing => 2,
            Self::InProgress => 3,
            _ => 4,
        }
    }

    /// Whether a call may go from this status to that one.
    pub const fn may_become(self, next: Self) -> bool {
        if self.is_guess() {
            return next.is_final() && !next.is_guess();
        }
        !self.is_final() && next.rank() > self.rank()
    }
}

/// Which side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// Whoever calls.
    Agent,
    /// The person who is called.
    Callee,
}

impl Leg {
    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Callee => "callee",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        [Self::Agent, Self::Callee].into_iter().find(|leg| leg.code() == code)
    }
}

/// What one side does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// It is about to be rung.
    Initiated,
    /// It rings.
    Ringing,
    /// It answered.
    Answered,
    /// It is over, after an answer.
    Completed,
    /// It was busy, or refused.
    Busy,
    /// It did not answer.
    NoAnswer,
    /// It could not be rung.
    Failed,
    /// It was given up.
    Canceled,
}

impl LegState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Initiated,
        Self::Ringing,
        Self::Answered,
        Self::Completed,
        Self::Busy,
        Self::NoAnswer,
        Self::Failed,
        Self::Canceled,
    ];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Ringing => "ringing",
            Self::Answered => "answered",
            Self::Completed => "completed",
            Self::Busy => "busy",
            Self::NoAnswer => "no_answer",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Initiated => 0,
            Self::Ringing => 1,
            Self::Answered => 2,
            _ => 3,
        }
    }

    const fn is_final(self) -> bool {
        self.rank() == 3
    }
}

/// One piece of news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegEvent {
    /// Which side.
    pub leg: Leg,
    /// What it does.
    pub state: LegState,
    /// Since when, by the provider's clock.
    pub at: DateTime<Utc>,
    /// Seconds of talk, at the end of an answered leg.
    pub talk_s: Option<i32>,
    /// Why it failed: a kind of the failure taxonomy.
    pub failure: Option<String>,
}

/// A call as far as news changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// How it stands.
    pub status: CallStatus,
    /// The last that is known of the agent's side.
    pub agent_leg: Option<LegState>,
    /// The last that is known of the callee's side.
    pub callee_leg: Option<LegState>,
    /// When the callee answered.
    pub answered_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    /// Seconds of talk.
    pub talk_s: Option<i32>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Session {
    /// Nothing was heard yet.
    pub const fn queued() -> Self {
        Self {
            status: CallStatus::Queued,
            agent_leg: None,
            callee_leg: None,
            answered_at: None,
            ended_at: None,
            talk_s: None,
            failure: None,
        }
    }

    /// Takes one piece of news in. Answers whether it changed anything; what is late or repeated does not.
    pub fn hear(&mut self, event: &LegEvent) -> bool {
        let known = match event.leg {
            Leg::Agent => &mut self.agent_leg,
            Leg::Callee => &mut self.callee_leg,
        };
        if known.is_some_and(|state| state.rank() >= event.state.rank()) {
            // That it was answered may be heard of after its end.
            return event.leg == Leg::Callee && event.state == LegState::Answered && self.note_answer(event);
        }
        *known = Some(event.state);
        if event.leg == Leg::Callee {
            self.note_answer(event);
            self.talk_s = self.talk_s.or(event.talk_s);
        }
        if let Some(next) = self.status_of_legs() {
            self.become_status(next, event.at, event.failure.as_deref());
        }
        true
    }

    fn note_answer(&mut self, event: &LegEvent) -> bool {
        let first = event.state == LegState::Answered && self.answered_at.is_none();
        if first {
            self.answered_at = Some(event.at);
        }
        first
    }

    /// What the legs tell. An agent's leg that is over without news of the callee's decides nothing yet: the news may
    /// be on its way.
    fn status_of_legs(&self) -> Option<CallStatus> {
        match self.callee_leg {
            Some(LegState::Completed) => return Some(CallStatus::Completed),
            Some(LegState::Busy) => return Some(CallStatus::Busy),
            Some(LegState::NoAnswer) => return Some(CallStatus::NoAnswer),
            Some(LegState::Failed) => return Some(CallStatus::Failed),
            Some(LegState::Canceled) => return Some(CallStatus::Canceled),
            Some(LegState::Answered) => return Some(CallStatus::InProgress),
            Some(LegState::Ringing) => return Some(CallStatus::Ringing),
            Some(LegState::Initiated) | None => {}
        }
        match self.agent_leg? {
            // The callee is rung only after the agent has answered.
            LegState::Busy | LegState::NoAnswer | LegState::Canceled => Some(CallStatus::Canceled),
            LegState::Failed => Some(CallStatus::Failed),
            LegState::Initiated | LegState::Ringing | LegState::Answered | LegState::Completed => {
                Some(CallStatus::Initiated)
            }
        }
    }

    /// Whether the agent's side is over while nothing final is known of the callee's: worth asking for.
    pub fn is_in_doubt(&self) -> bool {
        !self.status.is_final() && self.agent_leg.is_some_and(LegState::is_final)
    }

    /// The provider has told all that it knows: a call whose agent's side is over is over.
    pub fn conclude(&mut self, now: DateTime<Utc>) -> bool {
        if !self.is_in_doubt() {
            return false;
        }
        let next = match self.callee_leg {
            Some(LegState::Answered) => CallStatus::Completed,
            Some(LegState::Ringing) => CallStatus::NoAnswer,
            _ => CallStatus::Canceled,
        };
        self.become_status(next, now, None)
    }

    /// Goes to this status if it may.
    pub fn become_status(&mut self, next: CallStatus, at: DateTime<Utc>, failure: Option<&str>) -> bool {
        if !self.status.may_become(next) {
            return false;
        }
        self.status = next;
        self.ended_at = next.is_final().then_some(at);
        self.failure = match next {
            CallStatus::Failed => Some(failure.unwrap_or("unreachable_contact").to_owned()),
            _ => failure.map(str::to_owned),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn news(leg: Leg, state: LegState, second: i64) -> LegEvent {
        let at = DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        let talk_s = (leg == Leg::Callee && state == LegState::Completed).then_some(42);
        LegEvent { leg, state, at, talk_s, failure: None }
    }

    /// What happens in an answered call, in order.
    fn answered() -> Vec<LegEvent> {
        use Leg::{Agent, Callee};
        use LegState::{Answered, Completed, Initiated, Ringing};
        [
            (Agent, Initiated),
            (Agent, Ringing),
            (Agent, Answered),
            (Callee, Initiated),
            (Callee, Ringing),
            (Callee, Answered),
            (Callee, Completed),
            (Agent, Completed),
        ]
        .into_iter()
        .enumerate()
        .map(|(n, (leg, state))| news(leg, state, n as i64))
        .collect()
    }

    #[test]
    fn the_callees_leg_decides() {
        use CallStatus as S;
        for (callee, expected) in [
            (Some(LegState::Completed), S::Completed),
            (Some(LegState::Busy), S::Busy),
            (Some(LegState::NoAnswer), S::NoAnswer),
            (Some(LegState::Failed), S::Failed),
            (Some(LegState::Canceled), S::Canceled),
        ] {
            let mut session = Session::queued();
            session.hear(&news(Leg::Agent, LegState::Completed, 0));
            assert_eq!(session.status, S::Initiated, "the agent's end tells nothing");
            assert!(session.is_in_doubt());
            session.hear(&news(Leg::Callee, callee.unwrap(), 1));
            assert_eq!(session.status, expected);
        }
    }

    #[test]
    fn what_is_in_doubt_is_concluded_when_the_provider_knows_no_more() {
        let now = DateTime::from_timestamp(1_800_000_100, 0).unwrap();
        for (callee, expected) in [
            (None, CallStatus::Canceled),
            (Some(LegState::Initiated), CallStatus::Canceled),
            (Some(LegState::Ringing), CallStatus::NoAnswer),
            (Some(LegState::Answered), CallStatus::Completed),
        ] {
            let mut session = Session::queued();
            if let Some(state) = callee {
                session.hear(&news(Leg::Callee, state, 0));
            }
            assert!(!session.conclude(now), "nothing tells that it is over");
            session.hear(&news(Leg::Agent, LegState::Completed, 1));
            assert!(session.conclude(now));
            assert_eq!(session.status, expected);
        }
    }

    #[test]
    fn guesses_give_way_to_the_providers_last_word_only() {
        for guess in [CallStatus::Expired, CallStatus::Unknown] {
            for next in CallStatus::ALL {
                let allowed = next.is_final() && !next.is_guess();
                assert_eq!(guess.may_become(next), allowed, "{guess:?} to {next:?}");
            }
        }
        for last in CallStatus::ALL.into_iter().filter(|status| status.is_final() && !status.is_guess()) {
            assert!(CallStatus::ALL.into_iter().all(|next| !last.may_become(next)), "{last:?} stays");
        }
    }

    #[test]
    fn stored_names_are_read_back() {
        for status in CallStatus::ALL {
            assert_eq!(CallStatus::parse(status.code()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.code());
        }
        for state in LegState::ALL {
            assert_eq!(LegState::parse(state.code()), Some(state));
        }
    }

    proptest! {
        #[test]
        fn any_order_and_any_repetition_end_the_same(
            order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
            again in proptest::collection::vec(0..8_usize, 0..20),
        ) {
            let all = answered();
            let mut session = Session::queued();
            let mut before = session.status;
            for n in order.into_iter().chain(again) {
                session.hear(&all[n]);
                prop_assert!(before == session.status || before.may_become(session.status));
                before = session.status;
            }
            prop_assert_eq!(session.status, CallStatus::Completed);
            prop_assert_eq!(session.answered_at, Some(all[5].at));
            prop_assert_eq!(session.talk_s, Some(42));
            let rest = session.clone();
            prop_assert!(!session.hear(&all[7]));
            prop_assert_eq!(session, rest);
        }
    }
}
