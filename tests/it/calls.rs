//! Masked calls over real HTTP: the API, real workers, the sandbox as the telephony provider, its webhooks.

pub mod office;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};
use sira_domain::calls::CallStatus;
use sira_domain::leads::{LeadError, reviews};
use sira_engine::{Effect, NewJob};
use sira_jobs::calls::{PlaceCall, ReconcileCall};
use sira_kernel::Actor;
use sira_sandbox::{CallAnswer, CallCourse, CallDelivery, CallScript, sign_webhook};

use self::office::CallOffice;
use crate::house::DRAIN;
use crate::processes::Worker;

const FINAL: &str = "select count(*) from calls where ended_at is not null";
const DIALLED: &str = "select count(*) from engine.finished where kind = 'calls.place_call'";

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_has_the_fields_that_were_asked_for_and_no_number() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    let (status, call) = office.call(&lead, "one").await;
    assert_eq!(status, 201, "{call}");
    let id = call["callId"].as_str().unwrap();
    assert_eq!(call["sessionId"], call["callId"]);
    assert!(CallStatus::parse(call["status"].as_str().unwrap()).is_some(), "{call}");
    assert!(call["expiresAt"].is_string() || call["endedAt"].is_string(), "{call}");
    for field in ["code", "tr", "en", "severity", "retryable"] {
        assert!(!call["message"][field].is_null(), "{field}: {call}");
    }
    office.until(&call, "completed").await;
    let shown = office.get(&format!("/calls/{id}")).await;
    assert_eq!(shown["durationSeconds"], 42);
    assert!(shown["answeredAt"].is_string() && shown["expiresAt"].is_null(), "{shown}");
    let exchanges = office.get_as_admin(&format!("/calls/{id}/exchanges")).await;
    assert!(exchanges.as_array().unwrap().len() > 5, "the order and every webhook: {exchanges}");
    let timeline = office.get(&format!("/leads/{lead}/timeline?filter[type]=call")).await;
    let told: Vec<&str> =
        timeline["data"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap()).collect();
    assert_eq!(told.last(), Some(&"call.requested"));
    for answer in [&call, &shown, &exchanges, &timeline] {
        CallOffice::has_no_number(answer);
    }
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_course_of_a_call_ends_as_its_callees_leg_says() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let courses = [
        (CallCourse::Answered, "completed", Value::Null),
        (CallCourse::Busy, "busy", Value::Null),
        (CallCourse::NoAnswer, "no-answer", Value::Null),
        (CallCourse::CalleeUnreachable, "failed", json!("unreachable_contact")),
        (CallCourse::CalleeInvalid, "failed", json!("invalid_number")),
        (CallCourse::AgentNoAnswer, "canceled", Value::Null),
        (CallCourse::Canceled, "canceled", Value::Null),
    ];
    for (n, (course, expected, failure)) in courses.into_iter().enumerate() {
        let lead = office.lead().await;
        office.house.sandbox.script_next_call(CallScript { course, ..CallScript::default() });
        let (_, call) = office.call(&lead, &format!("course-{n}")).await;
        let ended = office.until(&call, expected).await;
        assert_eq!(ended["failure"], failure, "{course:?}");
    }
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_late_twice_reversed_or_before_the_answer_end_the_same() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let deliveries = [
        CallDelivery::InOrder,
        CallDelivery::BeforeAnswer,
        CallDelivery::Reversed,
        CallDelivery::Twice,
        CallDelivery::Late,
    ];
    for (n, delivery) in deliveries.into_iter().enumerate() {
        let lead = office.lead().await;
        office.house.sandbox.script_next_call(CallScript { delivery, ..CallScript::default() });
        let (_, call) = office.call(&lead, &format!("delivery-{n}")).await;
        let ended = office.until(&call, "completed").await;
        assert_eq!(ended["durationSeconds"], 42, "{delivery:?}");
    }
    office.house.quiet().await;
    let parked = "select count(*) from call_events where call_id is null";
    assert_eq!(office.house.count(parked).await, 0, "news that came before is the call's");
    let strays = "select count(*) from provider_exchanges where call_id is null";
    assert_eq!(office.house.count(strays).await, 0);
    // A sealed value begins with its version, its algorithm and the id of its key.
    let sealed_by = "select count(*) from provider_exchanges exchange join keystore.data_keys key
         on key.id = encode(substr(exchange.request_sealed, 3, 16), 'hex')::uuid";
    let of_lead = format!("{sealed_by} where key.subject_kind = 'lead' and key.subject = exchange.lead_id");
    let of_row =
        format!("{sealed_by} where key.subject_kind = 'inbound_event' and key.subject = exchange.id");
    let house = &office.house;
    let count = async |sql: String| -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&house.db.pool).await.unwrap()
    };
    let (of_lead, of_row) = (count(of_lead).await, count(of_row).await);
    assert!(of_row > 0, "some news came before its call was known");
    assert_eq!(of_lead + of_row, house.count("select count(*) from provider_exchanges").await);
    assert_eq!(office.house.count(DIALLED).await, 5);
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_webhook_comes_the_provider_is_asked() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    let delivery = CallDelivery::Never;
    office.house.sandbox.script_next_call(CallScript { delivery, ..CallScript::default() });
    let (_, call) = office.call(&lead, "one").await;
    let shown = office.until(&call, "initiated").await;
    assert!(shown["endedAt"].is_null(), "nobody said how it ends: {shown}");
    let asked = "select least(count(*), 1) from engine.finished
         where kind = 'calls.reconcile_call' and outcome = 'done'";
    assert_eq!(office.house.count(asked).await, 0);
    let waiting =
        "select count(*) from engine.workflows where kind = 'calls.call_session' and status = 'waiting'";
    office.house.until(1, waiting).await;
    office.house.advance(TimeDelta::seconds(46));
    // A first question may find them still talking; the next comes after a pause.
    office.until_ended(&call).await;
    office.until(&call, "completed").await;
    office
        .house
        .until(
            1,
            "select count(*) from engine.workflows where kind = 'calls.call_session' and status = 'done'",
        )
        .await;
    office.house.until(1, asked).await;
    assert_eq!(office.house.sandbox.calls_placed().len(), 1, "asking dials nobody");
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_provider_is_told_in_its_kind_and_dials_nobody() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let refusals = [
        (CallAnswer::RateLimited, "rate_limited", true),
        (CallAnswer::InvalidNumber, "invalid_number", false),
        (CallAnswer::OptedOut, "opted_out", false),
        (CallAnswer::AuthExpired, "auth_expired", false),
        (CallAnswer::PermissionDenied, "permission_denied", false),
    ];
    for (n, (answer, failure, retryable)) in refusals.into_iter().enumerate() {
        let lead = office.lead().await;
        office.house.sandbox.script_next_call(CallScript { answer, ..CallScript::default() });
        let (status, call) = office.call(&lead, &format!("refusal-{n}")).await;
        assert_eq!((status, call["status"].as_str()), (201, Some("failed")), "{call}");
        assert_eq!(call["failure"], failure);
        assert_eq!(call["message"]["retryable"], retryable, "{call}");
        assert_eq!(call["message"]["retryAfter"].is_u64(), answer == CallAnswer::RateLimited, "{call}");
    }
    assert!(office.house.sandbox.calls_placed().is_empty());
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_an_answer_is_reconciled_and_never_sent_again() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    for (n, answer) in [CallAnswer::ServerErrorPlaced, CallAnswer::Garbage].into_iter().enumerate() {
        let lead = office.lead().await;
        office.house.sandbox.script_next_call(CallScript { answer, ..CallScript::default() });
        let (_, call) = office.call(&lead, &format!("doubt-{n}")).await;
        office.until(&call, "completed").await;
    }
    assert_eq!(office.house.sandbox.calls_placed().len(), 2);
    // One that the provider never had is not tried again: in the end that is said.
    let lead = office.lead().await;
    let answer = CallAnswer::ServerError;
    office.house.sandbox.script_next_call(CallScript { answer, ..CallScript::default() });
    let (status, call) = office.call(&lead, "doubt-never").await;
    assert_eq!((status, call["status"].as_str()), (202, Some("queued")), "{call}");
    let waiting =
        "select count(*) from engine.workflows where kind = 'calls.call_session' and status = 'waiting'";
    office.house.until(1, waiting).await;
    office.house.advance(TimeDelta::seconds(46));
    let ended = office.until(&call, "unknown").await;
    assert_eq!(ended["message"]["code"], "call_unknown");
    assert_eq!(office.house.sandbox.calls_placed().len(), 2, "nobody was dialled twice");
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_between_the_order_and_its_commit_dials_nobody_twice() {
    let office = CallOffice::open().await;
    let lead = office.lead_owned_without_workers().await;
    let answer = CallAnswer::HangPlaced;
    office.house.sandbox.script_next_call(CallScript { answer, ..CallScript::default() });
    let worker = Worker::start(&office.house);
    let asking = office.call_in_background(&lead, "one");
    let begun = std::time::Instant::now();
    while office.house.sandbox.calls_placed().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20), "the order came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Killed by SIGKILL: the order is out, its answer is not in.
    drop(worker);
    let (status, call) = asking.await.unwrap();
    assert_eq!((status, call["status"].as_str()), (202, Some("queued")), "{call}");
    let running = office.house.work().await;
    office.until(&call, "completed").await;
    office.house.quiet().await;
    assert_eq!(office.house.sandbox.calls_placed().len(), 1, "asked for, not dialled again");
    let order = office.house.sandbox.calls_placed().remove(0);
    assert_eq!(order.reference, call["callId"].as_str().unwrap());
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placing_and_asking_twice_changes_nothing() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    let (_, call) = office.call(&lead, "one").await;
    office.until(&call, "completed").await;
    let call = call["callId"].as_str().unwrap().parse().unwrap();
    let jobs =
        [Effect::Job(NewJob::of(&PlaceCall { call })), Effect::Job(NewJob::of(&ReconcileCall { call }))];
    office.house.apply(&jobs).await;
    office.house.until(2, DIALLED).await;
    office.house.quiet().await;
    assert_eq!(office.house.sandbox.calls_placed().len(), 1);
    let changes = "select count(*) from timeline_entries where code = 'call.statusChanged' and body->>'status' = 'completed'";
    assert_eq!(office.house.count(changes).await, 1);
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_the_same_call() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    let (_, first) = office.call(&lead, "one").await;
    let (_, again) = office.call(&lead, "one").await;
    assert_eq!(first["callId"], again["callId"]);
    office.until(&first, "completed").await;
    let (_, later) = office.call(&lead, "one").await;
    assert_eq!((&later["callId"], later["status"].as_str()), (&first["callId"], Some("completed")));
    assert_eq!(office.house.sandbox.calls_placed().len(), 1);
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_refuses_with_its_reason_and_keeps_its_answer() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    let pool = &office.house.db.pool;
    let refusals = [
        ("update users set extension = null where username = 'agent'", "no_line", 409),
        ("update lead_contacts set invalid_since = now() where kind = 'phone'", "no_number", 409),
        (
            "update users set extension = '101' where username = 'agent';
             update lead_contacts set invalid_since = null;
             insert into cooling_offs (id, lead_id, user_id, reason, opened_at, until)
             select gen_random_uuid(), lead.id, lead.owner_id, 'blocked', now(), now() + interval '1 day' from leads lead",
            "cooling_off",
            409,
        ),
        (
            "insert into consent_ledger (id, lead_id, channel, purpose, decision, source, at, recorded_at)
             select gen_random_uuid(), id, 'call', 'transactional', 'withdrawn', 'test', now(), now() from leads",
            "opted_out",
            409,
        ),
    ];
    for (n, (because, reason, expected)) in refusals.into_iter().enumerate() {
        sqlx::raw_sql(because).execute(pool).await.unwrap();
        let (status, problem) = office.call(&lead, &format!("refused-{n}")).await;
        assert_eq!((status, problem["code"].as_str()), (expected, Some(reason)), "{problem}");
        assert_eq!(problem["message"]["severity"], "warning");
        let stored = sqlx::query_scalar::<_, i64>(
            "select count(*) from contact_decisions where not allowed and reason = $1",
        )
        .bind(reason)
        .fetch_one(pool)
        .await
        .unwrap();
        assert_eq!(stored, 1, "{reason} is on record");
        let detail = office.get(&format!("/leads/{lead}")).await;
        assert_eq!(detail["contact"]["call"], json!({ "available": false, "reason": reason }));
    }
    let ledger =
        "select count(*) from contact_decisions where reason = 'opted_out' and consent_id is not null";
    assert_eq!(office.house.count(ledger).await, 1, "with the row that decided");
    assert_eq!(office.house.count("select count(*) from calls").await, 0);
    assert!(office.house.sandbox.calls_placed().is_empty());
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_called_too_often_and_by_two_at_a_time() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    // Only asking tells: the call stays open.
    office
        .house
        .sandbox
        .script_next_call(CallScript { delivery: CallDelivery::Never, ..CallScript::default() });
    let (_, open) = office.call(&lead, "open").await;
    let (status, problem) = office.call(&lead, "second").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("call_in_progress")), "{problem}");
    office.house.advance(TimeDelta::seconds(46));
    office.until_ended(&open).await;
    office.until(&open, "completed").await;
    for n in 0..5 {
        let (_, call) = office.call(&lead, &format!("again-{n}")).await;
        office.until(&call, "completed").await;
    }
    let (status, problem) = office.call(&lead, "too-often").await;
    assert_eq!((status, problem["code"].as_str()), (429, Some("lead_throttled")), "{problem}");
    let wait = problem["retryAfter"].as_u64().unwrap();
    assert!((3000..=3600).contains(&wait), "{wait}");
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_is_called_by_the_number_of_one_that_was_merged_into_it() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let stays = office.house.asks(None, "shared").await;
    let goes = office.house.asks(Some(17), "shared").await;
    let owned = "select count(*) from leads where owner_id is not null";
    office.house.until(2, owned).await;
    let (status, problem) = office.call(&stays.to_string(), "before").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("no_number")), "{problem}");
    let review: uuid::Uuid =
        sqlx::query_scalar("select id from lead_reviews").fetch_one(&office.house.db.pool).await.unwrap();
    let cx = &office.house.parts.cx;
    let mut uow = cx.begin(Actor::System).await.unwrap();
    reviews::merge(&mut uow, review.into(), Some(stays)).await.unwrap();
    uow.commit().await.unwrap();
    let (status, call) = office.call(&stays.to_string(), "after").await;
    assert_eq!(status, 201, "{call}");
    office.until(&call, "completed").await;
    // Taken back, the other one is given to somebody again, and this one has no number again.
    let mut uow = cx.begin(Actor::System).await.unwrap();
    assert_eq!(reviews::unmerge(&mut uow, review.into()).await.unwrap().absorbed, goes);
    uow.commit().await.unwrap();
    office.house.until(2, owned).await;
    let (status, problem) = office.call(&stays.to_string(), "parted").await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("no_number")), "{problem}");
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_lead_that_was_merged_since_has_its_outcome_on_the_one_that_stays() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let stays = office.house.asks(Some(16), "shared").await;
    let goes = office.house.asks(Some(17), "shared").await;
    office.house.until(2, "select count(*) from leads where owner_id is not null").await;
    let review: uuid::Uuid =
        sqlx::query_scalar("select id from lead_reviews").fetch_one(&office.house.db.pool).await.unwrap();
    let merge = async || {
        let mut uow = office.house.parts.cx.begin(Actor::System).await.unwrap();
        reviews::merge(&mut uow, review.into(), Some(stays)).await?;
        uow.commit().await.unwrap();
        Ok::<_, LeadError>(())
    };
    let (_, call) = office.call(&goes.to_string(), "one").await;
    assert!(matches!(merge().await, Err(LeadError::CallUnderWay)), "not while somebody is on the line");
    office.until(&call, "completed").await;
    merge().await.unwrap();
    let path = format!("/calls/{}/outcome", call["callId"].as_str().unwrap());
    let outcome = json!({ "disposition": "reached", "note": "Speaks German.", "nextStatus": "interested" });
    let (status, recorded) = office.post(&path, "outcome", &outcome).await;
    assert_eq!(status, 201, "{recorded}");
    let lead = office.get(&format!("/leads/{stays}")).await;
    assert_eq!(lead["status"], "interested");
    let timeline = office.get(&format!("/leads/{stays}/timeline?filter%5Btype%5D=note")).await;
    assert_eq!(timeline["data"][0]["note"], "Speaks German.", "{timeline}");
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_need_a_consent() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    sqlx::raw_sql(
        "insert into consent_ledger (id, lead_id, channel, purpose, decision, source, at, recorded_at)
         select gen_random_uuid(), id, 'call', 'commercial', 'refused', 'test', now(), now() from leads",
    )
    .execute(&office.house.db.pool)
    .await
    .unwrap();
    let offer = json!({ "purpose": "commercial" });
    let (status, problem) = office.post(&format!("/leads/{lead}/call"), "one", &offer).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("consent_missing")), "{problem}");
    let (status, call) = office.call(&lead, "two").await;
    assert_eq!(status, 201, "their own enquiry is answered: {call}");
    office.until(&call, "completed").await;
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_one_transaction_and_recorded_once() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    let lead = office.lead().await;
    let (_, call) = office.call(&lead, "one").await;
    office.until(&call, "completed").await;
    let path = format!("/calls/{}/outcome", call["callId"].as_str().unwrap());
    let at = office.house.parts.cx.clock.now() + TimeDelta::hours(30);
    let outcome = |status: &str| {
        json!({
            "disposition": "reached", "note": "Fiyat sordu, +90 555 000 44 17 kardeşinin.",
            "nextStatus": status, "followUpAt": at,
        })
    };
    let (status, refused) = office.post(&path, "o1", &outcome("sale")).await;
    assert_eq!((status, refused["code"].as_str()), (409, Some("transition_not_allowed")), "{refused}");
    let untouched = "select (select count(*) from lead_notes) + (select count(*) from follow_ups)
        + (select count(*) from calls where disposition is not null)";
    assert_eq!(office.house.count(untouched).await, 0, "all of it or nothing");

    let (status, done) = office.post(&path, "o2", &outcome("interested")).await;
    assert_eq!((status, done["status"].as_str()), (201, Some("interested")), "{done}");
    let (again, same) = office.post(&path, "o2", &outcome("interested")).await;
    assert_eq!((again, &same), (201, &done), "repeated");
    let (status, problem) = office.post(&path, "o3", &outcome("interested")).await;
    assert_eq!((status, problem["code"].as_str()), (409, Some("outcome_on_record")));

    let timeline = office.get(&format!("/leads/{lead}/timeline")).await;
    let note = timeline["data"].as_array().unwrap().iter().find(|e| e["type"] == "note").unwrap();
    assert_eq!(note["note"], "Fiyat sordu, *** ** 17 kardeşinin.");
    let upcoming: Vec<&str> =
        timeline["upcoming"].as_array().unwrap().iter().map(|u| u["code"].as_str().unwrap()).collect();
    assert!(upcoming.contains(&"followUp.due"), "{upcoming:?}");
    let detail = office.get(&format!("/leads/{lead}")).await;
    assert_eq!(detail["sla"]["state"], "paused", "until the time that was agreed");
    assert_eq!(detail["followUp"]["dueAt"], json!(at));
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_counts_keeps_the_promise() {
    let office = CallOffice::open().await;
    let running = office.house.work().await;
    for (course, kept) in
        [(CallCourse::NoAnswer, true), (CallCourse::Answered, true), (CallCourse::AgentNoAnswer, false)]
    {
        let lead = office.lead().await;
        let detail = office.get(&format!("/leads/{lead}")).await;
        assert_eq!(detail["sla"]["policy"], "first_response", "{detail}");
        assert!(detail["serverTime"].is_string());
        office.house.sandbox.script_next_call(CallScript { course, ..CallScript::default() });
        let (_, call) = office.call(&lead, &format!("{course:?}")).await;
        office.until_ended(&call).await;
        let detail = office.get(&format!("/leads/{lead}")).await;
        assert_eq!(detail["sla"].is_null(), kept, "{course:?}: {}", detail["sla"]);
    }
    running.drain(DRAIN).await;
}

fn sign(secret: &SecretString, at: DateTime<Utc>, body: &str) -> String {
    sign_webhook(secret, "evt", at.timestamp(), body.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_not_rightly_signed_is_401_and_leaves_nothing() {
    let office = CallOffice::open().await;
    let body = json!({ "any": "thing" }).to_string();
    let now = office.house.parts.cx.clock.now();
    let old = now - TimeDelta::minutes(6);
    let secret = office.house.config.telephony.signing_secret.clone();
    let other: SecretString = "whsec_BBECAwQFBgcICQoLDA0ODxAREhMUFRYX".into();
    for (secret, at, signed) in [(&other, now, true), (&secret, old, true), (&secret, now, false)] {
        let signature = if signed { sign(secret, at, &body) } else { String::new() };
        let status = office.webhook("evt", at, &signature, &body).await;
        assert_eq!(status, 401);
    }
    let signature = sign(&secret, now, &body);
    assert_eq!(office.webhook("evt", now, &signature, &body).await, 400, "signed, but no news");
    assert_eq!(office.house.count("select count(*) from call_events").await, 0);
    assert_eq!(office.house.count(FINAL).await, 0);
}
