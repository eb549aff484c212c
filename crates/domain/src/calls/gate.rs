//! Whether a person may be called now by this user: one pure decision over facts, stored with what it rested on.
//!
//! Two purposes are told apart. `transactional` answers the person's own enquiry: it needs no prior consent, and ends
//! with a withdrawal. `commercial` offers something: it needs a consent that was given (law no. 6563).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::consents;
use crate::identity::Role;
use crate::nouns::UserId;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Answers the person's own enquiry.
    Transactional,
    /// Offers something.
    Commercial,
}

impl Purpose {
    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Commercial => "commercial",
        }
    }
}

/// How often one may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of one user in a minute.
    pub user_per_minute: i64,
    /// Calls to one lead in an hour.
    pub lead_per_hour: i64,
}

/// What the decision rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who wants to call.
    pub caller: UserId,
    /// What they are.
    pub role: Role,
    /// The caller's line at the provider.
    pub line: Option<String>,
    /// Whose lead it is.
    pub owner: Option<UserId>,
    /// It was sent by a testing tool.
    pub is_test: bool,
    /// The lead is closed.
    pub closed: bool,
    /// The number to call: the first that is not known to be wrong.
    pub contact: Option<Uuid>,
    /// What the person said about calls.
    pub consents: consents::ChannelState,
    /// Until when the caller does not get this lead.
    pub cooling_until: Option<DateTime<Utc>>,
    /// A call to this lead is under way.
    pub call_open: bool,
    /// Calls of the caller in the last minute, and when the oldest of them leaves it.
    pub user_calls: (i64, Option<DateTime<Utc>>),
    /// Calls to the lead in the last hour, and when the oldest of them leaves it.
    pub lead_calls: (i64, Option<DateTime<Utc>>),
}

/// Why nobody is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else's lead.
    NotOwner,
    /// A test lead is never contacted.
    TestLead,
    /// The lead is closed.
    LeadClosed,
    /// The caller has no line.
    NoLine,
    /// There is no number, or it is known to be wrong.
    NoNumber,
    /// The person said stop.
    OptedOut,
    /// The person never agreed to offers.
    ConsentMissing,
    /// The caller does not get this lead for a while.
    CoolingOff(DateTime<Utc>),
    /// The lead is being called.
    CallInProgress,
    /// The caller called too often just now; from when on it is possible again.
    UserThrottled(DateTime<Utc>),
    /// The lead was called too often just now; from when on it is possible again.
    LeadThrottled(DateTime<Utc>),
}

impl Refusal {
    /// The stored code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotOwner => "not_owner",
            Self::TestLead => "test_lead",
            Self::LeadClosed => "lead_closed",
            Self::NoLine => "no_line",
            Self::NoNumber => "no_number",
            Self::OptedOut => "opted_out",
            Self::ConsentMissing => "consent_missing",
            Self::CoolingOff(_) => "cooling_off",
            Self::CallInProgress => "call_in_progress",
            Self::UserThrottled(_) => "user_throttled",
            Self::LeadThrottled(_) => "lead_throttled",
        }
    }

    /// From when on it is possible again, where time alone does it.
    pub const fn retry_at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::CoolingOff(at) | Self::UserThrottled(at) | Self::LeadThrottled(at) => Some(at),
            _ => None,
        }
    }
}

/// The gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Why not; `None`: the call may be made.
    pub refusal: Option<Refusal>,
    /// The row of the consent ledger that decided, when one did.
    pub consent: Option<Uuid>,
}

/// Decides. What concerns the person goes before what concerns the caller, and what only time mends comes last.
pub fn decide(facts: &Facts, purpose: Purpose, limits: Limits, now: DateTime<Utc>) -> Verdict {
    let said = facts.consents;
    let stop = said.transactional.filter(|said| !said.granted);
    let offers = said.commercial;
    if let Some(stop) = stop {
        return Verdict { refusal: Some(Refusal::OptedOut), consent: Some(stop.id) };
    }
    let consent = match purpose {
        Purpose::Transactional => said.transactional.map(|said| said.id),
        Purpose::Commercial => offers.map(|said| said.id),
    };
    if purpose == Purpose::Commercial && !offers.is_some_and(|said| said.granted) {
        return Verdict { refusal: Some(Refusal::ConsentMissing), consent };
    }
    Verdict { refusal: other_refusal(facts, limits, now), consent }
}

fn other_refusal(facts: &Facts, limits: Limits, now: DateTime<Utc>) -> Option<Refusal> {
    if facts.is_test {
        return Some(Refusal::TestLead);
    }
    if facts.role == Role::Agent && facts.owner != Some(facts.caller) {
        return Some(Refusal::NotOwner);
    }
    if facts.closed {
        return Some(Refusal::LeadClosed);
    }
    if facts.contact.is_none() {
        return Some(Refusal::NoNumber);
    }
    if facts.line.is_none() {
        return Some(Refusal::NoLine);
    }
    if let Some(until) = facts.cooling_until {
        return Some(Refusal::CoolingOff(until));
    }
    if facts.call_open {
        return Some(Refusal::CallInProgress);
    }
    let (lead_calls, lead_free) = facts.lead_calls;
    if lead_calls >= limits.lead_per_hour {
        return Some(Refusal::LeadThrottled(lead_free.unwrap_or(now)));
    }
    let (user_calls, user_free) = facts.user_calls;
    (user_calls >= limits.user_per_minute).then(|| Refusal::UserThrottled(user_free.unwrap_or(now)))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::consents::{ChannelState, Said};

    const LIMITS: Limits = Limits { user_per_minute: 20, lead_per_hour: 6 };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn facts() -> Facts {
        let caller = UserId::new();
        Facts {
            caller,
            role: Role::Agent,
            line: Some("101".to_owned()),
            owner: Some(caller),
            is_test: false,
            closed: false,
            contact: Some(Uuid::nil()),
            consents: ChannelState::default(),
            cooling_until: None,
            call_open: false,
            user_calls: (0, None),
            lead_calls: (0, None),
        }
    }

    fn refusal(change: impl FnOnce(&mut Facts)) -> Option<Refusal> {
        let mut facts = facts();
        change(&mut facts);
        decide(&facts, Purpose::Transactional, LIMITS, now()).refusal
    }

    #[test]
    fn each_fact_alone_refuses_with_its_reason() {
        let later = now() + TimeDelta::minutes(1);
        let said = |granted| Some(Said { id: Uuid::nil(), granted });
        assert_eq!(refusal(|_| {}), None);
        assert_eq!(refusal(|f| f.owner = None), Some(Refusal::NotOwner));
        assert_eq!(refusal(|f| f.owner = Some(UserId::new())), Some(Refusal::NotOwner));
        assert_eq!(refusal(|f| f.is_test = true), Some(Refusal::TestLead));
        assert_eq!(refusal(|f| f.closed = true), Some(Refusal::LeadClosed));
        assert_eq!(refusal(|f| f.contact = None), Some(Refusal::NoNumber));
        assert_eq!(refusal(|f| f.line = None), Some(Refusal::NoLine));
        assert_eq!(refusal(|f| f.cooling_until = Some(later)), Some(Refusal::CoolingOff(later)));
        assert_eq!(refusal(|f| f.call_open = true), Some(Refusal::CallInProgress));
        assert_eq!(refusal(|f| f.lead_calls = (6, Some(later))), Some(Refusal::LeadThrottled(later)));
        assert_eq!(refusal(|f| f.user_calls = (20, Some(later))), Some(Refusal::UserThrottled(later)));
        assert_eq!(refusal(|f| f.user_calls = (19, Some(later))), None);
        assert_eq!(refusal(|f| f.consents.transactional = said(false)), Some(Refusal::OptedOut));
        assert_eq!(refusal(|f| f.consents.commercial = said(false)), None, "their own enquiry is answered");
    }

    #[test]
    fn a_manager_may_call_a_lead_of_the_team() {
        let other = |f: &mut Facts| (f.role, f.owner) = (Role::Manager, Some(UserId::new()));
        assert_eq!(refusal(other), None);
    }

    #[test]
    fn offers_need_a_consent_and_a_stop_ends_everything() {
        let said = |granted| Some(Said { id: Uuid::nil(), granted });
        let commercial = |transactional, commercial| {
            let consents = ChannelState { transactional, commercial };
            decide(&Facts { consents, ..facts() }, Purpose::Commercial, LIMITS, now())
        };
        assert_eq!(commercial(None, None).refusal, Some(Refusal::ConsentMissing));
        assert_eq!(commercial(None, said(false)).refusal, Some(Refusal::ConsentMissing));
        assert_eq!(commercial(None, said(true)), Verdict { refusal: None, consent: Some(Uuid::nil()) });
        assert_eq!(commercial(said(false), said(true)).refusal, Some(Refusal::OptedOut));
    }
}
