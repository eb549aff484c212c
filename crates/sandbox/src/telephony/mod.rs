//! The telephony provider's side: takes orders for calls over HTTP, plays what becomes of them, and tells it by signed
//! webhooks.
//!
//! A bridge in the manner of Verimor: it calls the agent first, then the lead; webhooks name its own id of the call
//! alone, hold both numbers in clear, and may come before the answer to the order. Errors have codes like Twilio's. It
//! does not look whether it had a reference before: what is ordered twice rings twice, and stands twice in
//! [`Sandbox::calls_placed`].
//!
//! What a call comes to is scripted for the next one, or decided by the last two digits of the number called: see
//! [`CallScript::of_destination`].

mod player;
mod scenario;
mod server;
mod signature;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};
pub use scenario::{CallAnswer, CallCourse, CallDelivery, CallScript};
use serde::{Deserialize, Serialize};
pub(crate) use server::routes;
pub(crate) use signature::Signer;
pub use signature::sign_webhook;
use sira_kernel::Id;

use self::scenario::Step;
use crate::Sandbox;

/// Calls that can be asked for; the oldest fall out.
const CALLS_MAX: usize = 10_000;
/// Calls kept in the ledger; the oldest fall out.
const PLACED_MAX: usize = 200_000;
/// Scripts that wait for their call; more are ignored.
const SCRIPTS_MAX: usize = 1_000;

/// A call that was placed: somebody's phone rang. No numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlacedInLedger {
    /// The caller's own id of the call.
    pub reference: String,
    /// The sandbox's id of the call.
    pub call_uuid: String,
    /// When it was placed.
    pub at: DateTime<Utc>,
}

impl Sandbox {
    /// Sets the URL that webhooks about calls go to. Without one, only asking tells what became of a call.
    pub fn aim_calls(&self, webhook_url: impl Into<String>) {
        self.shared.state().telephony.target = Some(webhook_url.into());
    }

    /// What the next call comes to, whatever its number; several wait for one call each, in the order given.
    pub fn script_next_call(&self, script: CallScript) {
        self.shared.state().telephony.script_next(script);
    }

    /// All calls that were placed, oldest first, also those whose order was answered with an error, or not at all.
    /// Bounded, the oldest fall out.
    pub fn calls_placed(&self) -> Vec<PlacedInLedger> {
        self.shared.state().telephony.placed.iter().cloned().collect()
    }
}

/// An order for a call.
#[derive(Deserialize)]
struct NewCall {
    reference: String,
    source: String,
    destination: String,
    caller_id: String,
    ring_timeout_s: u32,
}

/// A call that can be asked for.
#[derive(Clone)]
struct Call {
    uuid: String,
    order: Arc<NewCall>,
    happened: Vec<Happened>,
}

/// A step of a call, with its time.
#[derive(Clone, Copy, Serialize)]
struct Happened {
    #[serde(flatten)]
    step: Step,
    at: DateTime<Utc>,
}

/// The calls, the scripts that wait, and the ledger.
#[derive(Default)]
pub(crate) struct Telephony {
    target: Option<String>,
    scripts: VecDeque<CallScript>,
    placed: VecDeque<PlacedInLedger>,
    /// By the order in which they were placed.
    calls: BTreeMap<u64, Call>,
    by_reference: HashMap<String, Vec<u64>>,
    placed_total: u64,
}

impl Telephony {
    fn script_next(&mut self, script: CallScript) {
        if self.scripts.len() < SCRIPTS_MAX {
            self.scripts.push_back(script);
        } else {
            tracing::warn!("too many scripts wait for a call: this one is ignored");
        }
    }

    /// No more scripts: numbers decide again.
    pub fn clear_scripts(&mut self) {
        self.scripts.clear();
    }

    fn take_script(&mut self, destination: &str) -> CallScript {
        self.scripts.pop_front().unwrap_or_else(|| CallScript::of_destination(destination))
    }

    /// Remembers a call, and writes it into the ledger; the number to record its steps by, and its id.
    fn place(&mut self, order: NewCall, at: DateTime<Utc>) -> (u64, String) {
        let number = self.placed_total;
        self.placed_total += 1;
        let uuid = Id::<Call>::new().to_string();
        let reference = order.reference.clone();
        self.placed.push_back(PlacedInLedger { reference: reference.clone(), call_uuid: uuid.clone(), at });
        if self.placed.len() > PLACED_MAX {
            self.placed.pop_front();
        }
        self.by_reference.entry(reference).or_default().push(number);
        self.calls.insert(number, Call { uuid: uuid.clone(), order: order.into(), happened: Vec::new() });
        if self.calls.len() > CALLS_MAX {
            self.forget_oldest();
        }
        (number, uuid)
    }

    fn forget_oldest(&mut self) {
        let Some((oldest, call)) = self.calls.pop_first() else { return };
        let reference = &call.order.reference;
        if let Some(numbers) = self.by_reference.get_mut(reference) {
            numbers.retain(|number| *number != oldest);
            if numbers.is_empty() {
                self.by_reference.remove(reference);
            }
        }
    }

    /// Adds a step to a call, if it is still remembered; the call as it now is.
    fn record(&mut self, number: u64, happened: Happened) -> Option<Call> {
        let call = self.calls.get_mut(&number)?;
        call.happened.push(happened);
        Some(call.clone())
    }

    /// All calls with this reference, oldest first.
    fn find(&self, reference: &str) -> Vec<&Call> {
        let numbers = self.by_reference.get(reference).map(Vec::as_slice).unwrap_or_default();
        numbers.iter().filter_map(|number| self.calls.get(number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(reference: &str) -> NewCall {
        NewCall {
            reference: reference.to_owned(),
            source: "1001".to_owned(),
            destination: "+905550000017".to_owned(),
            caller_id: "+905550000099".to_owned(),
            ring_timeout_s: 30,
        }
    }

    #[test]
    fn what_is_ordered_twice_stands_twice_in_the_ledger() {
        let mut telephony = Telephony::default();
        for reference in ["a", "b", "a"] {
            telephony.place(order(reference), DateTime::UNIX_EPOCH);
        }
        let placed: Vec<_> = telephony.placed.iter().map(|placed| placed.reference.as_str()).collect();
        assert_eq!(placed, ["a", "b", "a"]);
        let found: Vec<_> = telephony.find("a").iter().map(|call| call.uuid.clone()).collect();
        assert_eq!(found, [telephony.placed[0].call_uuid.clone(), telephony.placed[2].call_uuid.clone()]);
        assert!(telephony.find("c").is_empty());
        let ledger = serde_json::to_string(&telephony.placed).unwrap();
        assert!(!ledger.contains("5550000"), "{ledger}");
    }

    #[test]
    fn the_oldest_call_is_forgotten_and_its_steps_go_nowhere() {
        let mut telephony = Telephony::default();
        let (oldest, _) = telephony.place(order("oldest"), DateTime::UNIX_EPOCH);
        for n in 0..CALLS_MAX {
            telephony.place(order(&format!("r{n}")), DateTime::UNIX_EPOCH);
        }
        assert!(telephony.find("oldest").is_empty());
        assert_eq!(telephony.find("r0").len(), 1);
        assert_eq!((telephony.calls.len(), telephony.by_reference.len()), (CALLS_MAX, CALLS_MAX));
        let step = CallScript::default().steps()[0];
        let happened = Happened { step, at: DateTime::UNIX_EPOCH };
        assert!(telephony.record(oldest, happened).is_none());
        assert_eq!(telephony.record(oldest + 1, happened).unwrap().happened.len(), 1);
    }

    #[test]
    fn a_script_is_for_one_call_and_goes_before_the_number() {
        let mut telephony = Telephony::default();
        let busy = CallScript { course: CallCourse::Busy, ..CallScript::default() };
        telephony.script_next(busy);
        telephony.script_next(CallScript::default());
        let taken = [(); 3].map(|()| telephony.take_script("+905550000062").course);
        assert_eq!(taken, [CallCourse::Busy, CallCourse::Answered, CallCourse::NoAnswer]);
        for _ in 0..=SCRIPTS_MAX {
            telephony.script_next(busy);
        }
        assert_eq!(telephony.scripts.len(), SCRIPTS_MAX);
        telephony.clear_scripts();
        assert_eq!(telephony.take_script("+905550000017"), CallScript::default());
    }
}
