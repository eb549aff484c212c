//! Claims about the telephony client: against a server of ours that misbehaves, and against the sandbox's provider.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sira_kernel::{Clock, PhoneNumber};
use sira_providers::FailureKind;
use sira_providers::telephony::webhook::{self, CallNotice, Signed};
use sira_providers::telephony::{
    Answer, CallRequest, CallSnapshot, Leg, LegState, PlacedCall, SandboxTelephony, Telephony,
    TelephonySettings,
};
use sira_sandbox::{CallAnswer, CallCourse, CallDelivery, CallScript, Sandbox, sign_webhook};
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{sends_half_an_answer, settings, until};

const KEY: &str = super::TELEPHONY_KEY;
const SIGNING_SECRET: &str = super::SIGNING_SECRET;
const CALLER_ID: &str = "+905550000099";
const AGENT_LINE: &str = "1001";
/// Longer than the sandbox ever needs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of a client that does not wait for an answer that never comes.
const HASTE: Duration = Duration::from_millis(500);

fn client(base_url: &str, timeout: Duration) -> SandboxTelephony {
    client_with(base_url, KEY, timeout)
}

fn client_with(base_url: &str, key: &str, timeout: Duration) -> SandboxTelephony {
    let settings = TelephonySettings {
        base_url: base_url.to_owned(),
        api_key: key.into(),
        caller_id: CALLER_ID.to_owned(),
        timeout,
    };
    SandboxTelephony::new(&settings).expect("the settings are valid")
}

/// Orders one call to a number of the unassigned block that ends with these two digits.
async fn place(client: &SandboxTelephony, reference: &str, digits: u32) -> Answer<PlacedCall> {
    let callee = PhoneNumber::parse(&format!("+9055500000{digits:02}"), "TR").unwrap();
    let ring_timeout = Duration::from_secs(30);
    let request = CallRequest { reference, agent_line: AGENT_LINE, callee: &callee, ring_timeout };
    client.place_call(&request).await
}

async fn answering(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(wiremock::matchers::any()).respond_with(response).mount(&server).await;
    server
}

// ---- the client against a server of ours ----

#[tokio::test]
async fn an_order_is_what_the_provider_documents() {
    let server = MockServer::start().await;
    let body = json!({
        "reference": "r-1", "source": "1001", "destination": "+905550000017", "caller_id": CALLER_ID,
        "ring_timeout_s": 30,
    });
    Mock::given(method("POST"))
        .and(path("/telephony/calls"))
        .and(header("authorization", format!("Bearer {KEY}")))
        .and(header("content-type", "application/json"))
        .and(body_json(&body))
        .respond_with(
            ResponseTemplate::new(201).set_body_json(json!({ "call_uuid": "c-1", "status": "initiated" })),
        )
        .expect(1)
        .mount(&server)
        .await;
    let answer = place(&client(&server.uri(), PATIENCE), "r-1", 17).await;
    let expected = PlacedCall { provider_ref: "c-1".to_owned(), dial_url: None };
    assert_eq!(answer.result.unwrap(), expected);
    assert_eq!((answer.exchange.operation, answer.exchange.http_status), ("place_call", Some(201)));
    assert_eq!(serde_json::from_slice::<Value>(&answer.exchange.request).unwrap(), body);
    let mut shown = body;
    shown["destination"] = json!("+90*** ** 17");
    shown["caller_id"] = json!("+90*** ** 99");
    assert_eq!(answer.exchange.request_redacted, shown);
    assert_eq!(answer.exchange.response_redacted, json!({ "call_uuid": "c-1", "status": "initiated" }));
}

#[tokio::test]
async fn a_question_is_what_the_provider_documents() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/telephony/calls"))
        .and(query_param("reference", "r-1"))
        .and(header("authorization", format!("Bearer {KEY}")))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({ "calls": [] })))
        .expect(1)
        .mount(&server)
        .await;
    let answer = client(&server.uri(), PATIENCE).find_call("r-1").await;
    assert_eq!(answer.result.unwrap(), None);
    assert_eq!((answer.exchange.operation, answer.exchange.http_status), ("find_call", Some(200)));
    assert_eq!(answer.exchange.request, b"reference=r-1");
    assert_eq!(answer.exchange.request_redacted, json!({ "reference": "r-1" }));
}

#[tokio::test]
async fn each_refusal_has_its_kind_and_says_whether_the_call_may_have_been_placed() {
    use FailureKind::*;
    let code = |code: u32| json!({ "code": code, "message": "about +905550000017" }).to_string();
    let cases = [
        (429, code(20_429), RateLimited, "20429", false),
        (400, code(21_211), InvalidNumber, "21211", false),
        (400, code(13_224), InvalidNumber, "13224", false),
        (400, code(21_610), OptedOut, "21610", false),
        (401, code(20_003), AuthExpired, "20003", false),
        (403, code(21_408), PermissionDenied, "21408", false),
        (400, code(30_003), UnreachableContact, "30003", false),
        (400, code(99_999), BadRequest, "99999", false),
        (404, code(20_404), NotFound, "20404", false),
        (500, code(20_500), ProviderDown, "20500", true),
        (503, "<html>".to_owned(), ProviderDown, "http 503", true),
        (429, String::new(), RateLimited, "http 429", false),
        (422, r#"{"code":"text"}"#.to_owned(), BadRequest, "http 422", false),
        (408, String::new(), ProviderDown, "http 408", true),
        (400, "x".repeat(1024 * 1024), BadRequest, "http 400", false),
    ];
    for (status, body, kind, code, maybe_done) in cases {
        let server = answering(ResponseTemplate::new(status).set_body_string(body.clone())).await;
        let answer = place(&client(&server.uri(), PATIENCE), "r-1", 17).await;
        let error = answer.result.unwrap_err();
        assert_eq!((error.kind, error.code.as_str(), error.maybe_done), (kind, code, maybe_done), "{status}");
        assert!(!error.to_string().contains("5550000"), "{error}");
        assert!(!answer.exchange.response_redacted.to_string().contains("5550000"), "{status}");
        assert_eq!(answer.exchange.http_status, Some(status));
    }
}

#[tokio::test]
async fn a_limit_tells_when_to_come_back_and_another_refusal_does_not() {
    for (status, expected) in [(429, Some(Duration::from_secs(30))), (400, None)] {
        let response = ResponseTemplate::new(status).insert_header("retry-after", "30");
        let server = answering(response).await;
        let answer = place(&client(&server.uri(), PATIENCE), "r-1", 17).await;
        assert_eq!(answer.result.unwrap_err().retry_after, expected, "{status}");
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_understood_may_have_placed_the_call() {
    for body in ["", "<html>", "[]", "{}", r#"{"call_uuid":17}"#, r#"{"call_uuid":"a b"}"#, "\u{0}"] {
        let server = answering(ResponseTemplate::new(201).set_body_string(body)).await;
        let error = place(&client(&server.uri(), PATIENCE), "r-1", 17).await.result.unwrap_err();
        assert_eq!((error.kind, error.maybe_done), (FailureKind::BadAnswer, true), "{body:?}");
        let error = client(&server.uri(), PATIENCE).find_call("r-1").await.result.unwrap_err();
        assert_eq!(error.kind, FailureKind::BadAnswer, "{body:?}");
    }
}

#[tokio::test]
async fn an_oversized_answer_is_not_kept() {
    let body = json!({ "call_uuid": "c-1", "padding": "x".repeat(300 * 1024) });
    let server = answering(ResponseTemplate::new(201).set_body_json(body)).await;
    let answer = place(&client(&server.uri(), PATIENCE), "r-1", 17).await;
    let error = answer.result.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::BadAnswer, true));
    assert!(error.message.contains("longer than"), "{error}");
    assert!(answer.exchange.response.is_empty());
    assert_eq!((answer.exchange.http_status, answer.exchange.response_redacted), (Some(201), Value::Null));
}

#[tokio::test]
async fn a_redirect_carries_neither_key_nor_number_elsewhere() {
    let elsewhere = answering(ResponseTemplate::new(201)).await;
    for status in [302, 307, 308] {
        let server =
            answering(ResponseTemplate::new(status).insert_header("location", elsewhere.uri())).await;
        let error = place(&client(&server.uri(), PATIENCE), "r-1", 17).await.result.unwrap_err();
        assert_eq!((error.kind, error.maybe_done), (FailureKind::BadAnswer, true), "{status}");
    }
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn only_what_was_sent_may_have_been_done() {
    // Free since the end of the statement: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let answer = place(&client(&format!("http://{free}"), PATIENCE), "r-1", 17).await;
    let error = answer.result.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::ProviderDown, false));
    assert_eq!((answer.exchange.http_status, answer.exchange.response.len()), (None, 0));
    assert!(!answer.exchange.request.is_empty());

    let (uri, _tasks) = sends_half_an_answer(false).await;
    let error = place(&client(&uri, PATIENCE), "r-1", 17).await.result.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::ProviderDown, true));
    let (uri, _tasks) = sends_half_an_answer(true).await;
    let error = place(&client(&uri, HASTE), "r-1", 17).await.result.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::Timeout, true));
    let slow = answering(ResponseTemplate::new(201).set_delay(Duration::from_secs(30))).await;
    let answer = place(&client(&slow.uri(), HASTE), "r-1", 17).await;
    let error = answer.result.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::Timeout, true));
    assert!(answer.exchange.latency >= HASTE);
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_sent() {
    let server = answering(ResponseTemplate::new(201)).await;
    let client = client(&server.uri(), PATIENCE);
    let callee = PhoneNumber::parse("+905550000017", "TR").unwrap();
    let long = "1".repeat(65);
    for (reference, agent_line) in [("", "1001"), ("a b", "1001"), (&long, "1001"), ("r", ""), ("r", "1&2")] {
        let ring_timeout = Duration::from_secs(30);
        let request = CallRequest { reference, agent_line, callee: &callee, ring_timeout };
        let error = client.place_call(&request).await.result.unwrap_err();
        assert_eq!((error.kind, error.maybe_done), (FailureKind::BadRequest, false));
    }
    let error = client.find_call("../x").await.result.unwrap_err();
    assert_eq!(error.kind, FailureKind::BadRequest);
    assert!(server.received_requests().await.unwrap().is_empty());
}

// ---- the client against the sandbox ----

/// A sandbox, what it delivers to, and what was delivered.
struct Exchanges {
    sandbox: Sandbox,
    clock: Clock,
    delivered: Arc<Mutex<Vec<Delivered>>>,
    _receiver: MockServer,
}

/// One delivery whose signature was verified.
#[derive(Clone)]
struct Delivered {
    id: String,
    raw: Vec<u8>,
    notice: CallNotice,
}

impl Exchanges {
    async fn start() -> Self {
        Self::refusing_first(0).await
    }

    /// The first deliveries are answered with 503.
    async fn refusing_first(refused: usize) -> Self {
        let clock = Clock::system();
        let sandbox = Sandbox::start(settings(), clock.clone()).await.expect("a free port is to be had");
        let delivered = Arc::new(Mutex::new(Vec::new()));
        let receiver = MockServer::start().await;
        let (kept, now) = (Arc::clone(&delivered), clock.clone());
        let take = move |request: &Request| {
            let mut kept = kept.lock().unwrap();
            kept.push(verified(request, &now));
            ResponseTemplate::new(if kept.len() <= refused { 503 } else { 204 })
        };
        Mock::given(method("POST")).respond_with(take).mount(&receiver).await;
        sandbox.aim_calls(receiver.uri());
        Self { sandbox, clock, delivered, _receiver: receiver }
    }

    fn client(&self) -> SandboxTelephony {
        client(self.sandbox.base_url(), PATIENCE)
    }

    fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().unwrap().clone()
    }

    /// What was delivered, once so many were.
    async fn wait_for(&self, count: usize) -> Vec<Delivered> {
        until(|| self.delivered.lock().unwrap().len() >= count).await;
        self.delivered()
    }

    /// The call as asking tells it, once its agent's leg ended.
    async fn ended(&self, reference: &str) -> CallSnapshot {
        let ended = |call: &CallSnapshot| {
            call.events.iter().any(|event| (event.leg, event.state) == (Leg::Agent, LegState::Completed))
        };
        let asking = async {
            loop {
                let found = self.client().find_call(reference).await.result.unwrap();
                if let Some(call) = found.filter(ended) {
                    return call;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.expect("the call ends within 20 seconds")
    }

    fn references_placed(&self) -> Vec<String> {
        self.sandbox.calls_placed().into_iter().map(|placed| placed.reference).collect()
    }
}

/// As the product does: verify over the raw bytes, then read.
fn verified(request: &Request, clock: &Clock) -> Delivered {
    let text = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let signed = Signed {
        id: text(webhook::ID_HEADER),
        timestamp: text(webhook::TIMESTAMP_HEADER),
        signature: text(webhook::SIGNATURE_HEADER),
    };
    let (right, wrong) = ([SIGNING_SECRET.into()], ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into()]);
    assert!(webhook::verify(&right, &signed, &request.body, clock.now()));
    assert!(!webhook::verify(&wrong, &signed, &request.body, clock.now()));
    let notice = webhook::parse(&request.body).expect("a webhook of the sandbox is read");
    assert_eq!(notice.event_id, signed.id);
    Delivered { id: signed.id.to_owned(), raw: request.body.clone(), notice }
}

fn steps<'a>(
    events: impl IntoIterator<Item = &'a sira_providers::telephony::LegEvent>,
) -> Vec<(Leg, LegState)> {
    events.into_iter().map(|event| (event.leg, event.state)).collect()
}

fn steps_of(delivered: &[Delivered]) -> Vec<(Leg, LegState)> {
    steps(delivered.iter().map(|delivered| &delivered.notice.event))
}

/// The steps of a call that goes well.
const ANSWERED: [(Leg, LegState); 8] = [
    (Leg::Agent, LegState::Initiated),
    (Leg::Agent, LegState::Ringing),
    (Leg::Agent, LegState::Answered),
    (Leg::Callee, LegState::Initiated),
    (Leg::Callee, LegState::Ringing),
    (Leg::Callee, LegState::Answered),
    (Leg::Callee, LegState::Completed),
    (Leg::Agent, LegState::Completed),
];

#[tokio::test]
async fn a_call_that_goes_well_is_told_step_by_step_and_by_asking() {
    let sira = Exchanges::start().await;
    let placed = place(&sira.client(), "r-1", 17).await.result.unwrap();
    let delivered = sira.wait_for(8).await;
    assert_eq!(steps_of(&delivered), ANSWERED);
    assert!(delivered.iter().all(|delivered| delivered.notice.provider_ref == placed.provider_ref));
    let snapshot = sira.ended("r-1").await;
    assert_eq!(snapshot.provider_ref, placed.provider_ref);
    let told: Vec<_> = delivered.iter().map(|delivered| delivered.notice.event).collect();
    assert_eq!(snapshot.events, told);
    assert_eq!(snapshot.events[6].talk, Some(Duration::from_secs(42)));
    assert!(snapshot.events.is_sorted_by_key(|event| event.at));
    let ledger = sira.sandbox.calls_placed();
    assert_eq!((ledger.len(), ledger[0].reference.as_str()), (1, "r-1"));
    assert_eq!(ledger[0].call_uuid, placed.provider_ref);
    assert_eq!(sira.client().find_call("r-2").await.result.unwrap(), None);
    sira.sandbox.stop().await;
}

#[tokio::test]
async fn each_course_ends_as_its_number_says() {
    let sira = Exchanges::start().await;
    let cases = [
        (61, LegState::Busy, None),
        (62, LegState::NoAnswer, None),
        (63, LegState::Failed, Some(FailureKind::UnreachableContact)),
        (64, LegState::Failed, Some(FailureKind::InvalidNumber)),
        (66, LegState::Canceled, None),
    ];
    for (digits, state, failure) in cases {
        let reference = format!("r-{digits}");
        place(&sira.client(), &reference, digits).await.result.unwrap();
        let call = sira.ended(&reference).await;
        let last = call.events.iter().rfind(|event| event.leg == Leg::Callee).unwrap();
        assert_eq!((last.state, last.failure, last.talk), (state, failure, None), "{digits}");
    }
    place(&sira.client(), "r-65", 65).await.result.unwrap();
    let call = sira.ended("r-65").await;
    assert!(call.events.iter().all(|event| event.leg == Leg::Agent && event.state != LegState::Answered));
    assert_eq!(sira.references_placed().len(), 6);
}

#[tokio::test]
async fn each_refusal_on_demand_is_seen_by_the_client_as_what_it_is() {
    use FailureKind::*;
    let sira = Exchanges::start().await;
    // digits, kind, may have been placed, was placed
    let cases = [
        (71, RateLimited, false, false),
        (72, InvalidNumber, false, false),
        (73, OptedOut, false, false),
        (74, AuthExpired, false, false),
        (75, PermissionDenied, false, false),
        (76, ProviderDown, true, false),
        (77, ProviderDown, true, true),
        (78, Timeout, true, false),
        (79, Timeout, true, true),
        (80, BadAnswer, true, true),
    ];
    for (digits, kind, maybe_done, done) in cases {
        let reference = format!("r-{digits}");
        let client = if kind == Timeout { client(sira.sandbox.base_url(), HASTE) } else { sira.client() };
        let error = place(&client, &reference, digits).await.result.unwrap_err();
        assert_eq!((error.kind, error.maybe_done), (kind, maybe_done), "{digits}");
        let wait = (kind == RateLimited).then_some(Duration::from_secs(30));
        assert_eq!(error.retry_after, wait, "{digits}");
        if done {
            assert_eq!(steps(&sira.ended(&reference).await.events), ANSWERED, "{digits}");
        } else {
            let found = sira.client().find_call(&reference).await.result.unwrap();
            assert_eq!(found, None, "{digits}");
        }
    }
    assert_eq!(sira.references_placed(), ["r-77", "r-79", "r-80"]);
    sira.sandbox.stop().await;
}

#[tokio::test]
async fn webhooks_come_before_the_answer_where_it_is_asked_for() {
    let sira = Exchanges::start().await;
    let placed = place(&sira.client(), "r-1", 81).await.result.unwrap();
    let delivered = sira.delivered();
    assert_eq!(steps_of(&delivered), ANSWERED);
    assert!(delivered.iter().all(|delivered| delivered.notice.provider_ref == placed.provider_ref));
}

#[tokio::test]
async fn webhooks_come_reversed_late_or_not_at_all_and_asking_tells_the_order() {
    let sira = Exchanges::start().await;
    place(&sira.client(), "r-82", 82).await.result.unwrap();
    let mut told = steps_of(&sira.wait_for(8).await);
    told.reverse();
    assert_eq!(told, ANSWERED);
    place(&sira.client(), "r-85", 85).await.result.unwrap();
    let told = steps_of(&sira.wait_for(16).await[8..]);
    assert_eq!(told[7], (Leg::Callee, LegState::Ringing));
    assert_eq!(told[..4], ANSWERED[..4]);
    assert_eq!(told[4..7], ANSWERED[5..]);
    place(&sira.client(), "r-84", 84).await.result.unwrap();
    for reference in ["r-82", "r-84", "r-85"] {
        assert_eq!(steps(&sira.ended(reference).await.events), ANSWERED, "{reference}");
    }
    assert_eq!(sira.delivered().len(), 16);
}

#[tokio::test]
async fn a_repeated_webhook_has_the_same_id_and_the_same_bytes() {
    let sira = Exchanges::start().await;
    place(&sira.client(), "r-1", 83).await.result.unwrap();
    let delivered = sira.wait_for(16).await;
    for pair in delivered.chunks(2) {
        assert_eq!((&pair[0].id, &pair[0].raw), (&pair[1].id, &pair[1].raw));
    }
    let mut ids: Vec<_> = delivered.into_iter().map(|delivered| delivered.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[tokio::test]
async fn what_is_not_taken_is_delivered_again_a_few_times() {
    let sira = Exchanges::refusing_first(7).await;
    place(&sira.client(), "r-1", 17).await.result.unwrap();
    // The first step five times in vain, the second two times in vain and then taken, the others once.
    let delivered = sira.wait_for(5 + 3 + 6).await;
    for (range, step) in [(0..5, ANSWERED[0]), (5..8, ANSWERED[1])] {
        for again in &delivered[range] {
            assert_eq!((again.notice.event.leg, again.notice.event.state), step);
        }
    }
    assert!(delivered[..5].windows(2).all(|two| two[0].id == two[1].id && two[0].raw == two[1].raw));
    assert_ne!(delivered[4].id, delivered[5].id);
    assert_eq!(steps_of(&delivered[8..]), ANSWERED[2..]);
}

#[tokio::test]
async fn a_script_goes_before_the_number_for_one_call() {
    let sira = Exchanges::start().await;
    let script =
        CallScript { course: CallCourse::NoAnswer, delivery: CallDelivery::Never, ..CallScript::default() };
    sira.sandbox.script_next_call(script);
    sira.sandbox.script_next_call(CallScript { answer: CallAnswer::OptedOut, ..CallScript::default() });
    place(&sira.client(), "r-1", 17).await.result.unwrap();
    assert!(steps(&sira.ended("r-1").await.events).contains(&(Leg::Callee, LegState::NoAnswer)));
    let error = place(&sira.client(), "r-2", 17).await.result.unwrap_err();
    assert_eq!(error.kind, FailureKind::OptedOut);
    place(&sira.client(), "r-3", 17).await.result.unwrap();
    assert_eq!(steps(&sira.ended("r-3").await.events), ANSWERED);
}

#[tokio::test]
async fn nobody_calls_without_the_key() {
    let sira = Exchanges::start().await;
    let stranger = client_with(sira.sandbox.base_url(), "stolen", PATIENCE);
    let error = place(&stranger, "r-1", 17).await.result.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::AuthExpired, false));
    assert_eq!(stranger.find_call("r-1").await.result.unwrap_err().kind, FailureKind::AuthExpired);
    assert!(sira.sandbox.calls_placed().is_empty());
}

#[tokio::test]
async fn the_sandbox_rings_once_for_each_order() {
    let sira = Exchanges::start().await;
    for _ in 0..2 {
        place(&sira.client(), "r-1", 17).await.result.unwrap();
    }
    assert_eq!(sira.references_placed(), ["r-1", "r-1"]);
    let ledger = sira.sandbox.calls_placed();
    assert_eq!(sira.ended("r-1").await.provider_ref, ledger[1].call_uuid);
}

#[tokio::test]
async fn numbers_are_in_the_raw_bodies_and_nowhere_else() {
    let sira = Exchanges::start().await;
    let placed = place(&sira.client(), "r-1", 17).await;
    let delivered = sira.wait_for(8).await;
    let found = sira.client().find_call("r-1").await;
    let raw = [&placed.exchange.request, &found.exchange.response, &delivered[7].raw];
    for (raw, number) in raw.into_iter().zip(["+905550000017", "+905550000017", CALLER_ID]) {
        assert!(String::from_utf8_lossy(raw).contains(number));
        let shown = sira_providers::redact::body(raw).to_string();
        assert!(shown.contains("+90*** ** ") && !shown.contains("5550000"), "{shown}");
    }
    let shown = format!("{placed:?} {found:?} {:?}", delivered[3].notice);
    let redacted = format!("{} {}", found.exchange.request_redacted, found.exchange.response_redacted);
    let placed_at = &sira.sandbox.calls_placed();
    let ledger = serde_json::to_string(placed_at).unwrap();
    for text in [&shown, &redacted, &ledger] {
        assert!(!text.contains("5550000") && !text.contains(KEY), "{text}");
    }
    assert!(redacted.contains(&placed_at[0].call_uuid), "{redacted}");
}

#[tokio::test]
async fn calls_are_controlled_by_hand_over_http() {
    let sira = Exchanges::start().await;
    let url = format!("{}/sandbox/calls", sira.sandbox.base_url());
    let http = sira_providers::http::client(PATIENCE).unwrap();
    let script = async |body: &'static str| {
        let request = http.post(&url).header("content-type", "application/json").body(body);
        request.send().await.unwrap().status()
    };
    assert_eq!(script(r#"{"answer":"earthquake"}"#).await, 422);
    assert_eq!(script(r#"{"course":"busy","delivery":"never"}"#).await, 204);
    place(&sira.client(), "r-1", 17).await.result.unwrap();
    assert!(steps(&sira.ended("r-1").await.events).contains(&(Leg::Callee, LegState::Busy)));
    assert_eq!(script(r#"{"answer":"opted_out"}"#).await, 204);
    assert_eq!(http.delete(&url).send().await.unwrap().status(), 204);
    place(&sira.client(), "r-2", 17).await.result.unwrap();
    let shown = http.get(&url).send().await.unwrap().text().await.unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let references: Vec<_> = shown.as_array().unwrap().iter().map(|placed| &placed["reference"]).collect();
    assert_eq!(references, ["r-2", "r-1"]);
}

#[tokio::test]
async fn a_stopped_sandbox_plays_no_further() {
    let sira = Exchanges::start().await;
    let slow = sira_sandbox::Settings { call_pace: Duration::from_mins(10), ..settings() };
    let sandbox = Sandbox::start(slow, sira.clock.clone()).await.unwrap();
    let hanging = place(&client(sandbox.base_url(), PATIENCE), "r-1", 17).await;
    assert!(hanging.result.is_ok());
    tokio::time::timeout(Duration::from_secs(4), sandbox.stop())
        .await
        .expect("nobody waits for the next step");
}

#[tokio::test]
async fn a_sandbox_does_not_start_with_a_secret_that_signs_nothing() {
    for secret in ["", "secret", "whsec_AAAA"] {
        let settings = sira_sandbox::Settings { telephony_signing_secret: secret.into(), ..settings() };
        assert!(Sandbox::start(settings, Clock::system()).await.is_err(), "{secret}");
        assert_eq!(sign_webhook(&secret.into(), "a", 1, b"{}"), None);
    }
}
