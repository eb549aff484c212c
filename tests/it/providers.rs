//! Claims about the Graph API client, against a server of ours that misbehaves, and against the sandbox.

mod telephony;

use std::time::Duration;

use chrono::TimeDelta;
use sira_kernel::Clock;
use sira_providers::FailureKind;
use sira_providers::meta::{GraphApi, GraphSettings, MetaLeads};
use sira_sandbox::{DeliverError, Encoding, Failure, LeadWish, LedgerKind, Sandbox, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::{header, method, path, query_param, query_param_contains};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const TOKEN: &str = "token-of-the-test";
const APP_SECRET: &str = "secret-of-the-test";
const TELEPHONY_KEY: &str = "key-of-the-test";
/// Stands for the bytes 0 to 23.
const SIGNING_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
/// `printf %s token-of-the-test | openssl dgst -sha256 -hmac secret-of-the-test`
const PROOF: &str = "17ca69337fe8d9e814c48cee4bf8636d9db684536e9d431b083e08868d423169";

fn api(base_url: &str, timeout: Duration) -> GraphApi {
    let settings = GraphSettings {
        base_url: base_url.to_owned(),
        api_version: "v26.0".to_owned(),
        access_token: TOKEN.into(),
        app_secret: APP_SECRET.into(),
        timeout,
    };
    GraphApi::new(&settings).expect("the settings are valid")
}

fn patient(base_url: &str) -> GraphApi {
    api(base_url, Duration::from_secs(20))
}

async fn answering(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(response).mount(&server).await;
    server
}

async fn sandbox() -> Sandbox {
    sandbox_at(Clock::system()).await
}

async fn sandbox_at(clock: Clock) -> Sandbox {
    Sandbox::start(settings(), clock).await.expect("a free port is to be had")
}

fn settings() -> Settings {
    Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        access_token: TOKEN.into(),
        app_secret: APP_SECRET.into(),
        verify_token: "verify".into(),
        seed: 7,
        telephony_key: TELEPHONY_KEY.into(),
        telephony_signing_secret: SIGNING_SECRET.into(),
        call_pace: Duration::from_millis(2),
    }
}

#[tokio::test]
async fn the_request_is_what_the_graph_api_asks_for() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/v26.0/4440017"))
        .and(header("authorization", format!("Bearer {TOKEN}")))
        .and(query_param("appsecret_proof", PROOF))
        .and(query_param_contains("fields", "field_data"))
        .respond_with(
            ResponseTemplate::new(200)
                .set_body_string(r#"{"id":"4440017","created_time":"2016-06-24T02:26:12+0000"}"#),
        )
        .expect(1)
        .mount(&server)
        .await;
    let lead = patient(&server.uri()).fetch_lead("4440017").await.unwrap();
    assert_eq!(lead.created_at.timestamp(), 1_466_735_172);
    let requests = server.received_requests().await.unwrap();
    assert!(requests.iter().all(|request| !request.url.as_str().contains(TOKEN)));
}

#[tokio::test]
async fn error_bodies_become_kinds_by_their_code_whatever_the_status() {
    use FailureKind::*;
    let body = |error: &str| format!(r#"{{"error":{{"message":"m","type":"t",{error}}}}}"#);
    let cases = [
        (400, body(r#""code":4"#), RateLimited, "4"),
        (403, body(r#""code":4"#), RateLimited, "4"),
        (400, body(r#""code":17,"error_subcode":2446079"#), RateLimited, "17/2446079"),
        (400, body(r#""code":32"#), RateLimited, "32"),
        (400, body(r#""code":613,"error_subcode":1487742"#), RateLimited, "613/1487742"),
        (400, body(r#""code":80000"#), RateLimited, "80000"),
        (400, body(r#""code":80014"#), RateLimited, "80014"),
        (400, body(r#""code":1"#), ProviderDown, "1"),
        (500, body(r#""code":2,"is_transient":true"#), ProviderDown, "2"),
        (400, body(r#""code":123456,"is_transient":true"#), ProviderDown, "123456"),
        (400, body(r#""code":0"#), AuthExpired, "0"),
        (400, body(r#""code":104"#), AuthExpired, "104"),
        (400, body(r#""code":190,"error_subcode":463"#), AuthExpired, "190/463"),
        (500, body(r#""code":190"#), AuthExpired, "190"),
        (400, body(r#""code":3"#), PermissionDenied, "3"),
        (400, body(r#""code":10"#), PermissionDenied, "10"),
        (400, body(r#""code":200"#), PermissionDenied, "200"),
        (400, body(r#""code":299"#), PermissionDenied, "299"),
        (400, body(r#""code":100,"error_subcode":33"#), NotFound, "100/33"),
        (400, r#"{"error":{"message":"Object does not exist","code":100}}"#.to_owned(), NotFound, "100"),
        (400, body(r#""code":100"#), BadRequest, "100"),
        (400, body(r#""code":33"#), BadRequest, "33"),
        (200, body(r#""code":190"#), AuthExpired, "190"),
        (503, "<html>".to_owned(), ProviderDown, "http 503"),
        (429, String::new(), RateLimited, "http 429"),
    ];
    for (status, body, kind, code) in cases {
        let server = answering(ResponseTemplate::new(status).set_body_string(body.clone())).await;
        let error = patient(&server.uri()).fetch_lead("17").await.unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (kind, code), "{status} {body}");
        let again = matches!(kind, RateLimited | ProviderDown);
        assert_eq!(error.retryable(), again, "{status} {body}");
    }
}

#[tokio::test]
async fn a_rate_limit_tells_when_to_come_back() {
    let usage = r#"{"7":[{"type":"leadgen","estimated_time_to_regain_access":5}]}"#;
    let response = ResponseTemplate::new(400)
        .insert_header("x-business-use-case-usage", usage)
        .insert_header("retry-after", "30")
        .set_body_string(r#"{"error":{"code":80005}}"#);
    let server = answering(response).await;
    let error = patient(&server.uri()).fetch_lead("17").await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_mins(5)));
}

#[tokio::test]
async fn a_slow_answer_is_a_timeout() {
    let server = answering(ResponseTemplate::new(200).set_delay(Duration::from_secs(30))).await;
    let error = api(&server.uri(), Duration::from_millis(200)).fetch_lead("17").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Timeout);
    assert!(error.retryable());
}

/// Promises a body of 100 bytes, sends one, and then holds the connection or closes it.
async fn sends_half_an_answer(holds: bool) -> (String, tokio::task::JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let uri = format!("http://{}", listener.local_addr().expect("it is bound"));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (mut connection, _) = listener.accept().await.expect("the client comes");
        let mut request = [0; 4096];
        let read = connection.read(&mut request).await.expect("the client asks");
        assert!(read > 0);
        connection
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            .await
            .expect("the client listens");
        if holds {
            std::future::pending::<()>().await;
        }
    });
    (uri, tasks)
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout_and_one_that_breaks_off_is_provider_down() {
    let (uri, _tasks) = sends_half_an_answer(true).await;
    let error = api(&uri, Duration::from_millis(300)).fetch_lead("17").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::Timeout);
    let (uri, _tasks) = sends_half_an_answer(false).await;
    let error = patient(&uri).fetch_lead("17").await.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::ProviderDown, true));
}

#[tokio::test]
async fn nobody_there_is_provider_down() {
    // Free since the end of the statement: nobody listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = patient(&format!("http://{free}")).fetch_lead("17").await.unwrap_err();
    assert_eq!((error.kind, error.maybe_done), (FailureKind::ProviderDown, false));
}

#[tokio::test]
async fn what_is_not_the_lead_asked_for_is_a_bad_answer() {
    let another = r#"{"id":"18","created_time":"2016-06-24T02:26:12+0000"}"#;
    for body in ["", "<html>", "[]", "{}", "\u{0}", r#"{"id":"17"}"#, another] {
        let server = answering(ResponseTemplate::new(200).set_body_string(body)).await;
        let error = patient(&server.uri()).fetch_lead("17").await.unwrap_err();
        assert_eq!(error.kind, FailureKind::BadAnswer, "{body:?}");
    }
}

#[tokio::test]
async fn an_oversized_answer_is_refused() {
    let padding = "x".repeat(2 * 1024 * 1024);
    let body = format!(r#"{{"id":"17","created_time":"2016-06-24T02:26:12+0000","padding":"{padding}"}}"#);
    let server = answering(ResponseTemplate::new(200).set_body_string(body)).await;
    let error = patient(&server.uri()).fetch_lead("17").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::BadAnswer);
    assert!(error.message.contains("longer than"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = answering(ResponseTemplate::new(200)).await;
    let moved = ResponseTemplate::new(302).insert_header("location", elsewhere.uri());
    let server = answering(moved).await;
    let error = patient(&server.uri()).fetch_lead("17").await.unwrap_err();
    assert_eq!(error.kind, FailureKind::BadAnswer);
    assert!(elsewhere.received_requests().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_sandbox_gives_the_lead_that_it_made() {
    let sandbox = sandbox().await;
    let wish = LeadWish { language: Some("tr".to_owned()), organic: Some(false), ..LeadWish::default() };
    let made = sandbox.new_lead(wish);
    let lead = patient(sandbox.base_url()).fetch_lead(&made.id).await.unwrap();
    let source = made.source.clone().unwrap();
    assert_eq!((lead.id, lead.created_at), (made.id.clone(), made.created_at));
    assert_eq!(lead.form_id.as_ref(), Some(&made.form_id));
    assert_eq!(lead.campaign.map(|c| (c.id, c.name.unwrap())), Some(source.campaign));
    assert_eq!(lead.ad_set.map(|s| (s.id, s.name.unwrap())), Some(source.ad_set));
    assert_eq!(lead.ad.map(|a| (a.id, a.name.unwrap())), Some(source.ad));
    assert_eq!(lead.consents, made.consents);
    let answer = |name: &str| lead.answers.iter().find(|(key, _)| key == name).unwrap().1[0].clone();
    assert_eq!(answer("full_name"), made.full_name);
    assert_eq!(answer("phone_number"), made.phone);
    assert_eq!(answer("email"), made.email);
    sandbox.stop().await;
}

#[tokio::test]
async fn the_sandbox_refuses_who_cannot_prove_the_app_secret() {
    let sandbox = sandbox().await;
    let lead = sandbox.new_lead(LeadWish::default());
    let settings = |token: &str, secret: &str| GraphSettings {
        base_url: sandbox.base_url().to_owned(),
        api_version: "v26.0".to_owned(),
        access_token: token.into(),
        app_secret: secret.into(),
        timeout: Duration::from_secs(20),
    };
    let cases = [("stolen", APP_SECRET, FailureKind::AuthExpired), (TOKEN, "guess", FailureKind::BadRequest)];
    for (token, secret, kind) in cases {
        let api = GraphApi::new(&settings(token, secret)).unwrap();
        assert_eq!(api.fetch_lead(&lead.id).await.unwrap_err().kind, kind);
    }
}

#[tokio::test]
async fn failures_on_demand_are_seen_by_the_client_as_what_they_are() {
    let sandbox = sandbox().await;
    let lead = sandbox.new_lead(LeadWish::default());
    let (hasty, patient) = (api(sandbox.base_url(), Duration::from_millis(500)), patient(sandbox.base_url()));
    let cases = [
        (Failure::RateLimited, FailureKind::RateLimited),
        (Failure::ServerError, FailureKind::ProviderDown),
        (Failure::Hang, FailureKind::Timeout),
        (Failure::Garbage, FailureKind::BadAnswer),
        (Failure::NotFound, FailureKind::NotFound),
        (Failure::AuthExpired, FailureKind::AuthExpired),
    ];
    for (failure, kind) in cases {
        sandbox.fail_lead(&lead.id, failure, 1);
        let api = if failure == Failure::Hang { &hasty } else { &patient };
        let error = api.fetch_lead(&lead.id).await.unwrap_err();
        assert_eq!(error.kind, kind);
        assert_eq!(error.retry_after, (kind == FailureKind::RateLimited).then_some(Duration::from_mins(1)));
        patient.fetch_lead(&lead.id).await.unwrap();
    }
    assert_eq!(patient.fetch_lead("1").await.unwrap_err().kind, FailureKind::NotFound);
    assert!(
        sandbox.ledger().iter().any(|entry| entry.failure == Some(Failure::Hang) && entry.status.is_none())
    );
    sandbox.fail_next(Failure::ServerError, u32::MAX);
    assert!(patient.fetch_lead(&lead.id).await.is_err());
    sandbox.heal();
    assert!(patient.fetch_lead(&lead.id).await.is_ok());
    sandbox.stop().await;
}

/// A receiver that checks signatures as the product does and answers with this status.
async fn receiver(status: u16) -> MockServer {
    let server = MockServer::start().await;
    let signed = |request: &Request| {
        let header = request.headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
        let secrets = [APP_SECRET.into()];
        header.is_some_and(|header| {
            sira_providers::meta::webhook::verify_signature(&secrets, &request.body, header)
        })
    };
    Mock::given(method("POST")).and(signed).respond_with(ResponseTemplate::new(status)).mount(&server).await;
    server
}

#[tokio::test]
async fn redelivery_sends_the_same_bytes_and_the_ledger_keeps_what_was_acknowledged() {
    let (accepting, refusing) = (receiver(200).await, receiver(503).await);
    let sandbox = sandbox().await;
    let leads: Vec<_> = (0..3).map(|_| sandbox.new_lead(LeadWish::default())).collect();
    assert!(matches!(sandbox.deliver(&leads).await, Err(DeliverError::NoTarget)));
    sandbox.aim(refusing.uri());
    assert_eq!(sandbox.deliver(&leads).await.unwrap(), 503);
    assert!(sandbox.acknowledged().is_empty());
    sandbox.aim(accepting.uri());
    for _ in 0..2 {
        assert_eq!(sandbox.deliver(&leads).await.unwrap(), 200);
    }
    assert_eq!(sandbox.deliver_as(&leads, Encoding::Utf8).await.unwrap(), 200);
    let bodies: Vec<_> =
        accepting.received_requests().await.unwrap().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies[0], bodies[1]);
    assert_ne!(bodies[0], bodies[2]);
    let ids: Vec<_> = leads.iter().map(|lead| lead.id.clone()).collect();
    assert_eq!(sandbox.acknowledged(), ids);
    let statuses: Vec<_> = sandbox.ledger().into_iter().map(|entry| (entry.kind, entry.status)).collect();
    assert_eq!(statuses, [503, 200, 200, 200].map(|status| (LedgerKind::Webhook, Some(status))));
}

#[tokio::test]
async fn the_handshake_succeeds_only_when_the_challenge_comes_back() {
    let echo = MockServer::start().await;
    Mock::given(method("GET"))
        .and(query_param("hub.mode", "subscribe"))
        .and(query_param("hub.verify_token", "verify"))
        .respond_with(|request: &Request| {
            let challenge = request.url.query_pairs().find(|(key, _)| key == "hub.challenge").unwrap().1;
            ResponseTemplate::new(200).set_body_string(challenge)
        })
        .mount(&echo)
        .await;
    let sandbox = sandbox().await;
    sandbox.aim(echo.uri());
    assert!(sandbox.handshake().await.unwrap());
    let wrong = answering(ResponseTemplate::new(200).set_body_string("17")).await;
    sandbox.aim(wrong.uri());
    assert!(!sandbox.handshake().await.unwrap());
}

async fn until(happened: impl Fn() -> bool) {
    let waiting = async {
        while !happened() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens within 20 seconds");
}

#[tokio::test]
async fn live_leads_arrive_until_stopped_and_are_delivered_again_until_acknowledged() {
    let refusing = receiver(503).await;
    let sandbox = sandbox().await;
    sandbox.aim(refusing.uri());
    sandbox.start_live(6_000);
    until(|| sandbox.ledger().len() >= 3).await;
    let accepting = receiver(200).await;
    sandbox.aim(accepting.uri());
    until(|| sandbox.acknowledged().len() >= 5).await;
    sandbox.stop_live();
    let refused: Vec<String> =
        sandbox.ledger().into_iter().filter(|e| e.status == Some(503)).flat_map(|e| e.leadgen_ids).collect();
    let acknowledged = sandbox.acknowledged();
    assert!(refused.iter().all(|id| acknowledged.contains(id)));
    sandbox.stop().await;
}

#[tokio::test]
async fn the_sandbox_is_controlled_by_hand_over_http() {
    let target = receiver(200).await;
    let sandbox = sandbox().await;
    sandbox.aim(target.uri());
    let base = sandbox.base_url().to_owned();
    let client = sira_providers::http::client(Duration::from_secs(20)).unwrap();
    let post = async |path: &str, body: &str| {
        let request = client.post(format!("{base}{path}")).header("content-type", "application/json");
        request.body(body.to_owned()).send().await.unwrap()
    };
    let set = post("/sandbox/failures", r#"{"kind":"server_error","times":1}"#).await;
    assert_eq!(set.status(), 204);
    assert_eq!(post("/sandbox/failures", r#"{"kind":"earthquake"}"#).await.status(), 422);
    let made = post("/sandbox/leads", r#"{"full_name":"Şule Demo","phone":"0555 000 00 17"}"#).await;
    assert_eq!(made.status(), 201);
    let made: serde_json::Value = made.json().await.unwrap();
    let id = made["leadgen_id"].as_str().unwrap();
    assert_eq!(made["webhook_status"], 200);
    assert_eq!(patient(&base).fetch_lead(id).await.unwrap_err().kind, FailureKind::ProviderDown);
    let lead = patient(&base).fetch_lead(id).await.unwrap();
    assert_eq!(lead.answers[0].1, ["Şule Demo"]);
    let shown = client.get(format!("{base}/sandbox/requests")).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains(id) && shown.contains("server_error"), "{shown}");
    for personal in ["Şule", "555 000", "example.com"] {
        assert!(!shown.contains(personal), "{shown}");
    }
}

#[tokio::test]
async fn the_ledger_is_written_in_the_sandboxs_own_time() {
    let clock = Clock::system();
    let sandbox = sandbox_at(clock.clone()).await;
    let before = clock.now();
    clock.advance(TimeDelta::days(1));
    let lead = sandbox.new_lead(LeadWish::default());
    patient(sandbox.base_url()).fetch_lead(&lead.id).await.unwrap();
    assert!(sandbox.ledger()[0].at - before >= TimeDelta::days(1));
    assert!(lead.created_at - before >= TimeDelta::hours(23));
}
