//! Plays what becomes of a placed call, and tells it by webhook.
//!
//! Steps happen at the sandbox's pace whether or not anybody listens; webhooks go out one after the other beside
//! them. So a receiver that is away loses webhooks, and no steps.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sira_kernel::Id;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::scenario::{CallDelivery, CallScript, Leg, LegState, Step};
use super::{Call, Happened};
use crate::Shared;

/// Steps that may wait for their webhook; a call has fewer.
const WAITING_MAX: usize = 16;
/// Deliveries of one webhook until one is taken.
const TRIES_MAX: u32 = 5;

/// A webhook. The same bytes under the same id each time it is delivered.
struct Webhook {
    id: String,
    raw: Vec<u8>,
    /// Whether it is the one that comes late.
    is_last_ringing: bool,
}

/// Starts the call; it ends by itself, or with the sandbox.
pub fn start(shared: &Arc<Shared>, number: u64, script: CallScript) -> JoinHandle<()> {
    let player = Arc::clone(shared);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = player.stopping.cancelled() => {}
            () = play(&player, number, script) => {}
        }
    })
}

async fn play(shared: &Shared, number: u64, script: CallScript) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::join!(happen(shared, number, script.steps(), sender), tell(shared, script.delivery, receiver));
}

async fn happen(shared: &Shared, number: u64, steps: Vec<Step>, sender: mpsc::Sender<Webhook>) {
    let last_ringing = steps.iter().rposition(|step| step.state == LegState::Ringing);
    for (n, step) in steps.into_iter().enumerate() {
        pause(shared.settings.call_pace).await;
        let happened = Happened { step, at: shared.clock.now() };
        let call = shared.state().telephony.record(number, happened);
        // Forgotten: more calls came than are kept.
        let Some(call) = call else { return };
        let webhook = webhook(&call, happened, last_ringing == Some(n));
        if sender.send(webhook).await.is_err() {
            return;
        }
    }
}

async fn tell(shared: &Shared, delivery: CallDelivery, mut receiver: mpsc::Receiver<Webhook>) {
    let mut held = Vec::new();
    while let Some(webhook) = receiver.recv().await {
        match delivery {
            CallDelivery::Never => {}
            CallDelivery::Reversed => held.push(webhook),
            CallDelivery::Late if webhook.is_last_ringing => held.push(webhook),
            CallDelivery::InOrder | CallDelivery::BeforeAnswer | CallDelivery::Late => {
                deliver(shared, &webhook).await;
            }
            CallDelivery::Twice => {
                deliver(shared, &webhook).await;
                deliver(shared, &webhook).await;
            }
        }
    }
    for webhook in held.iter().rev() {
        pause(shared.settings.call_pace).await;
        deliver(shared, webhook).await;
    }
}

/// Like Verimor it names the call by its own id alone, and both numbers in clear.
fn webhook(call: &Call, happened: Happened, is_last_ringing: bool) -> Webhook {
    let id = Id::<Webhook>::new().to_string();
    let to = match happened.step.leg {
        Leg::Agent => &call.order.source,
        Leg::Callee => &call.order.destination,
    };
    let mut body = json!(happened);
    let named = [("event_id", &id), ("call_uuid", &call.uuid), ("from", &call.order.caller_id), ("to", to)];
    for (name, value) in named {
        body[name] = json!(value);
    }
    Webhook { id, raw: body.to_string().into_bytes(), is_last_ringing }
}

/// Until it is answered 2xx, at most [`TRIES_MAX`] times; waits longer each time. Each time is signed anew.
async fn deliver(shared: &Shared, webhook: &Webhook) {
    for tried in 0..TRIES_MAX {
        if tried > 0 {
            pause(shared.settings.call_pace * 2_u32.pow(tried - 1)).await;
        }
        let Some(target) = shared.state().telephony.target.clone() else { return };
        let timestamp = shared.clock.now().timestamp();
        let request = shared
            .client
            .post(target)
            .header("content-type", "application/json")
            .header("webhook-id", &webhook.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", shared.signer.sign(&webhook.id, timestamp, &webhook.raw))
            .body(webhook.raw.clone());
        if request.send().await.is_ok_and(|response| response.status().is_success()) {
            return;
        }
    }
    tracing::warn!(webhook.id, "a webhook about a call was not taken");
}

async fn pause(wait: Duration) {
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use sira_providers::telephony::webhook::parse;

    use super::super::NewCall;
    use super::super::scenario::CallCourse;
    use super::*;

    #[test]
    fn the_client_reads_every_step_of_every_course() {
        let order = NewCall {
            reference: "r1".to_owned(),
            source: "1001".to_owned(),
            destination: "+905550000017".to_owned(),
            caller_id: "+905550000099".to_owned(),
            ring_timeout_s: 30,
        };
        let call = Call { uuid: Id::<Call>::new().to_string(), order: Arc::new(order), happened: Vec::new() };
        let courses = [
            CallCourse::Answered,
            CallCourse::Busy,
            CallCourse::NoAnswer,
            CallCourse::CalleeUnreachable,
            CallCourse::CalleeInvalid,
            CallCourse::AgentNoAnswer,
            CallCourse::Canceled,
        ];
        for course in courses {
            for step in (CallScript { course, ..CallScript::default() }).steps() {
                let webhook = webhook(&call, Happened { step, at: DateTime::UNIX_EPOCH }, false);
                let notice = parse(&webhook.raw).unwrap();
                assert_eq!((&notice.event_id, &notice.provider_ref), (&webhook.id, &call.uuid));
                let wanted = format!("{:?} {:?}", step.leg, step.state);
                assert_eq!(format!("{:?} {:?}", notice.event.leg, notice.event.state), wanted);
                assert_eq!(notice.event.talk.map(|talk| talk.as_secs()), step.talk_s.map(u64::from));
                assert_eq!(notice.event.failure.is_some(), step.cause.is_some());
                let text = String::from_utf8(webhook.raw).unwrap();
                assert!(text.contains("+905550000099") && !text.contains("r1"), "{text}");
            }
        }
    }
}
