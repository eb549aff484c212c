//! Claims about the raw inbox and about fetching what Meta announced.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use sira_domain::ingestion::{self, Accepted, RawEvent};
use sira_domain::nouns::{InboundId, LeadId};
use sira_domain::privacy::Subject;
use sira_engine::gate::RATE_LIMIT;
use sira_engine::{JobError, Outcome};
use sira_jobs::ingestion::FetchMetaLead;
use sira_jobs::ingestion::fetch_meta_lead::{CONNECTION_PATIENCE, JUST_ANNOUNCED, Work};
use sira_jobs::{Context, Providers, Settings};
use sira_providers::meta::{MetaLead, MetaLeads, MetaSource};
use sira_providers::{FailureKind, ProviderError};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::leads::Office;

fn raw(id: u32, body: &str) -> RawEvent {
    RawEvent { external_id: id.to_string(), body: body.as_bytes().to_vec() }
}

async fn accept(office: &Office, events: Vec<RawEvent>) -> Accepted {
    let prepared = ingestion::prepare(&office.db, &office.cipher, "meta", events).await.unwrap();
    let mut uow = office.begin().await;
    let accepted = ingestion::accept(&mut uow, prepared).await.unwrap();
    uow.commit().await.unwrap();
    accepted
}

#[tokio::test]
async fn an_event_is_stored_once_sealed_under_its_own_key() {
    let office = Office::open().await;
    let accepted = accept(&office, vec![raw(1, "kanarya body"), raw(2, "other")]).await;
    assert_eq!((accepted.new.len(), accepted.known), (2, 0));
    assert_eq!(office.audited("meta").await, ["inbound.accepted"]);
    let (id, body): (uuid::Uuid, Vec<u8>) =
        sqlx::query_as("select id, body from inbound_events where external_id = '1'")
            .fetch_one(&office.test.pool)
            .await
            .unwrap();
    let key = office.cipher.key(Subject::Inbound(InboundId::from_uuid(id))).await.unwrap();
    assert_eq!(key.open(ingestion::BODY, id, &body).unwrap(), b"kanarya body");
    assert_eq!(office.spilt(&["kanarya".to_owned(), hex::encode("kanarya")]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_redelivery_changes_nothing_and_makes_no_keys() {
    let office = Office::open().await;
    let first = accept(&office, vec![raw(1, "a"), raw(2, "b"), raw(2, "twice in one batch")]).await;
    assert_eq!((first.new.len(), first.known), (2, 1));
    let before = office.count("keystore.data_keys").await;
    let again = accept(&office, vec![raw(1, "changed"), raw(2, "b")]).await;
    assert_eq!((again.new.len(), again.known), (0, 2));
    assert_eq!(office.count("keystore.data_keys").await, before);
    let mixed = accept(&office, vec![raw(2, "b"), raw(3, "c")]).await;
    assert_eq!((mixed.new.len(), mixed.known), (1, 1));
    assert_eq!(office.count("inbound_events").await, 3);
    assert_eq!(office.audited("meta").await.len(), 2, "nothing is recorded about what was known");
}

#[tokio::test]
async fn a_thousand_events_go_in_by_one_statement() {
    let office = Office::open().await;
    // Counts insert statements on the inbox.
    sqlx::raw_sql(
        "create table statements (n int);
         create function count_statement() returns trigger language plpgsql as
             $$ begin insert into statements values (1); return null; end $$;
         create trigger count_statement after insert on inbound_events
             for each statement execute function count_statement()",
    )
    .execute(&office.test.pool)
    .await
    .unwrap();
    let events = (0..1000).map(|n| raw(n, "body")).collect();
    assert_eq!(accept(&office, events).await.new.len(), 1000);
    assert_eq!(office.count("statements").await, 1);
    // More than one statement's worth goes in chunks, each with an event of its own.
    let events = (500..2600).map(|n| raw(n, "body")).collect();
    let accepted = accept(&office, events).await;
    assert_eq!((accepted.new.len(), accepted.known), (1600, 500));
    assert_eq!(office.count("statements").await, 3);
    assert_eq!(office.audited("meta").await.len(), 3);
}

#[tokio::test]
async fn two_doors_with_the_same_events_store_each_once() {
    let office = Arc::new(Office::open().await);
    let mut tasks = JoinSet::new();
    for door in 0..8 {
        let office = office.clone();
        tasks.spawn(async move {
            let mut ids: Vec<u32> = (0..200).collect();
            if door % 2 == 1 {
                ids.reverse();
            }
            accept(&office, ids.into_iter().map(|n| raw(n, "body")).collect()).await
        });
    }
    let accepted = tasks.join_all().await;
    assert_eq!(accepted.iter().map(|a| a.new.len()).sum::<usize>(), 200);
    assert!(accepted.iter().all(|a| a.new.len() + a.known == 200));
    assert_eq!(office.count("inbound_events").await, 200);
}

#[tokio::test]
async fn quarantine_is_visible_paged_and_never_takes_a_settled_event() {
    let office = Office::open().await;
    let ids = accept(&office, (0..5).map(|n| raw(n, "body")).collect()).await.new;
    let lead = office.arrive(&office.person(1)).await.lead();
    let mut uow = office.begin().await;
    for id in &ids[..4] {
        assert!(ingestion::quarantine(&mut uow, *id, "bad_answer", "it was no JSON").await.unwrap());
    }
    ingestion::settle(&mut uow, ids[4], lead).await.unwrap();
    assert!(!ingestion::quarantine(&mut uow, ids[4], "late", "too late").await.unwrap());
    assert!(!ingestion::quarantine(&mut uow, ids[0], "again", "already there").await.unwrap());
    uow.commit().await.unwrap();
    assert_eq!(office.audited(ids[0]).await, ["inbound.quarantined"]);
    assert_eq!(office.audited(ids[4]).await, Vec::<String>::new());
    let mut conn = office.db.read().await.unwrap();
    let first = ingestion::list_quarantined(&mut conn, None, 3).await.unwrap();
    let last = &first[2];
    let rest = ingestion::list_quarantined(&mut conn, Some((last.received_at, last.id)), 3).await.unwrap();
    let mut seen: Vec<InboundId> = first.iter().chain(&rest).map(|q| q.id).collect();
    seen.sort();
    let mut expected = ids[..4].to_vec();
    expected.sort();
    assert_eq!(seen, expected);
    assert_eq!((first[0].reason_code.as_str(), first[0].reason.as_str()), ("bad_answer", "it was no JSON"));
}

/// Meta as the test wants it: answers in order, and keeps what it was asked. While it is asked, it looks whether
/// anybody holds a transaction open.
struct FakeMeta {
    pool: PgPool,
    answers: Mutex<VecDeque<Result<MetaLead, ProviderError>>>,
    asked: Mutex<Vec<String>>,
    open_transactions: Mutex<i64>,
}

impl MetaLeads for FakeMeta {
    fn fetch_lead<'a>(
        &'a self,
        leadgen_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<MetaLead, ProviderError>> + Send + 'a>> {
        Box::pin(async move {
            let open: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity
                 where datname = current_database() and state like 'idle in transaction%'",
            )
            .fetch_one(&self.pool)
            .await
            .unwrap();
            *self.open_transactions.lock().unwrap() += open;
            self.asked.lock().unwrap().push(leadgen_id.to_owned());
            self.answers.lock().unwrap().pop_front().expect("an answer for each question")
        })
    }
}

/// Returns once a session of this database waits for another one's lock.
async fn wait_until_somebody_waits_for_a_lock(pool: &PgPool) {
    const LOOKS_MAX: usize = 20_000;
    for _ in 0..LOOKS_MAX {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if waiting > 0 {
            return;
        }
    }
    panic!("nobody waited for a lock");
}

/// An office with one announced lead, and Meta's answers to come.
struct Desk {
    office: Office,
    cx: Context,
    meta: Arc<FakeMeta>,
    job: FetchMetaLead,
}

impl Desk {
    async fn open(answers: Vec<Result<MetaLead, ProviderError>>) -> Self {
        let office = Office::open().await;
        let inbound = accept(&office, vec![raw(9001, "{}")]).await.new[0];
        let meta = Arc::new(FakeMeta {
            pool: office.test.pool.clone(),
            answers: Mutex::new(answers.into()),
            asked: Mutex::default(),
            open_transactions: Mutex::default(),
        });
        let cx = Context {
            db: office.db.clone(),
            clock: office.test.clock.clone(),
            cipher: office.cipher.clone(),
            providers: Providers { meta: meta.clone(), telephony: crate::fakes::unasked_telephony() },
            settings: Settings {
                history_days: 30,
                phone_region: "TR".to_owned(),
                assign_batch_max: 100,
                waiting_alarm_after: Duration::from_mins(10),
                calls: crate::fakes::call_rules(),
            },
        };
        Self { office, cx, meta, job: FetchMetaLead { inbound } }
    }

    async fn run(&self, is_last_attempt: bool) -> Result<Option<Outcome>, JobError> {
        match self.job.work(&self.cx, is_last_attempt).await? {
            Work::Written(uow) => {
                uow.commit().await.unwrap();
                Ok(None)
            }
            Work::Nothing(outcome) => Ok(Some(outcome)),
        }
    }

    async fn state(&self) -> (String, Option<String>, Option<uuid::Uuid>) {
        sqlx::query_as("select state, reason_code, lead_id from inbound_events")
            .fetch_one(&self.office.test.pool)
            .await
            .unwrap()
    }
}

fn meta_lead(answers: &[(&str, &str)]) -> MetaLead {
    let source = |id: &str| Some(MetaSource { id: id.to_owned(), name: Some(format!("Named {id}")) });
    MetaLead {
        id: "9001".to_owned(),
        created_at: sira_kernel::Clock::system().now(),
        form_id: Some("77".to_owned()),
        ad: source("a1"),
        ad_set: source("s1"),
        campaign: source("c1"),
        is_organic: false,
        answers: answers.iter().map(|(n, v)| ((*n).to_owned(), vec![(*v).to_owned()])).collect(),
        consents: vec![("whatsapp_consent".to_owned(), true), ("sms_consent".to_owned(), false)],
        raw: br#"{"kanarya":"raw answer"}"#.to_vec(),
    }
}

fn reachable() -> MetaLead {
    meta_lead(&[
        ("full_name", "Kanarya Demo"),
        ("phone_number", "0555 000 00 17"),
        ("email", "kanarya@example.com"),
    ])
}

fn failure(kind: FailureKind, retry_after: Option<Duration>) -> Result<MetaLead, ProviderError> {
    Err(ProviderError {
        kind,
        code: "1".to_owned(),
        message: "what happened".to_owned(),
        retry_after,
        maybe_done: false,
    })
}

#[tokio::test]
async fn an_announced_lead_becomes_a_lead_and_a_second_run_changes_nothing() {
    let desk = Desk::open(vec![Ok(reachable())]).await;
    assert_eq!(desk.run(false).await.unwrap(), None);
    let (state, reason, lead) = desk.state().await;
    assert_eq!((state.as_str(), reason), ("settled", None));
    let lead = LeadId::from_uuid(lead.unwrap());
    let mut conn = desk.office.db.read().await.unwrap();
    let detail =
        sira_domain::leads::get_detail(&mut conn, sira_domain::leads::Scope::All, lead, desk.cx.clock.now())
            .await
            .unwrap();
    assert_eq!(detail.row.campaign_name.as_deref(), Some("Named c1"));
    assert_eq!(detail.row.phone_masked.as_deref(), Some("+90*** ** 17"));
    assert_eq!((detail.consents.whatsapp, detail.consents.sms), (Some(true), Some(false)));
    assert_eq!(desk.office.count("consent_ledger where inbound_id is not null").await, 2);
    assert_eq!(desk.office.count("inbound_events where fetched is not null").await, 1);
    // Again: nothing is asked, nothing is written.
    assert_eq!(desk.run(false).await.unwrap(), Some(Outcome::Done));
    assert_eq!(*desk.meta.asked.lock().unwrap(), ["9001"]);
    assert_eq!(desk.office.count("lead_enquiries").await, 1);
    assert_eq!(desk.office.audited(lead).await, ["lead.created"]);
    let marks = ["kanarya", "5550000017"].map(|m| [m.to_owned(), hex::encode(m)]).concat();
    assert_eq!(desk.office.spilt(&marks).await, Vec::<String>::new());
}

#[tokio::test]
async fn no_transaction_is_open_while_meta_is_asked() {
    let desk = Desk::open(vec![failure(FailureKind::Timeout, None), Ok(reachable())]).await;
    desk.run(false).await.unwrap_err();
    desk.run(false).await.unwrap();
    assert_eq!(*desk.meta.open_transactions.lock().unwrap(), 0);
}

#[tokio::test]
async fn of_two_runs_at_once_one_writes() {
    let desk = Arc::new(Desk::open(vec![Ok(reachable()), Ok(reachable())]).await);
    let Work::Written(first) = desk.job.work(&desk.cx, false).await.unwrap() else { panic!("it writes") };
    let mut tasks = JoinSet::new();
    let twin = desk.clone();
    tasks.spawn(async move { twin.run(false).await });
    wait_until_somebody_waits_for_a_lock(&desk.office.test.pool).await;
    first.commit().await.unwrap();
    assert_eq!(tasks.join_all().await[0], Ok(Some(Outcome::Done)));
    assert_eq!(desk.office.count("lead_enquiries").await, 1);
}

#[tokio::test]
async fn a_run_that_dies_before_its_commit_leaves_the_event_pending() {
    let desk = Desk::open(vec![Ok(reachable()), Ok(reachable())]).await;
    drop(desk.job.work(&desk.cx, false).await.unwrap());
    assert_eq!(desk.state().await.0, "pending");
    assert_eq!(desk.office.count("leads").await, 0);
    assert_eq!(desk.run(false).await.unwrap(), None);
    assert_eq!(desk.state().await.0, "settled");
}

#[tokio::test]
async fn a_rate_limit_waits_for_metas_own_time_even_at_the_last_attempt() {
    let minutes = Duration::from_mins(7);
    let desk = Desk::open(vec![failure(FailureKind::RateLimited, Some(minutes))]).await;
    let before = desk.cx.clock.now();
    let Some(Outcome::Snooze { until, waits_for }) = desk.run(true).await.unwrap() else {
        panic!("it waits")
    };
    assert!(until >= before + TimeDelta::minutes(7) && until <= desk.cx.clock.now() + TimeDelta::minutes(7));
    assert_eq!(waits_for, RATE_LIMIT);
    assert_eq!(desk.state().await.0, "pending");
}

#[tokio::test]
async fn what_passes_is_tried_again_and_a_connection_is_waited_for_a_week() {
    let kinds = [
        (FailureKind::Timeout, "timeout"),
        (FailureKind::ProviderDown, "provider_down"),
        (FailureKind::RateLimited, "rate_limited"),
    ];
    for (kind, code) in kinds {
        let desk = Desk::open((0..3).map(|_| failure(kind, None)).collect()).await;
        let Err(JobError::Retry(stored)) = desk.run(false).await else { panic!("{code}: tried again") };
        assert_eq!((stored.code.as_str(), stored.message.as_str()), (code, "what happened"));
        assert!(matches!(desk.run(true).await.unwrap(), Some(Outcome::Snooze { .. })), "{code}: waited for");
        assert_eq!(desk.state().await.0, "pending");
        desk.cx.clock.advance(CONNECTION_PATIENCE);
        assert_eq!(desk.run(true).await.unwrap(), None);
        assert_eq!(desk.state().await, ("quarantined".to_owned(), Some(code.to_owned()), None));
    }
}

#[tokio::test]
async fn an_answer_that_stays_unreadable_is_quarantined_at_the_last_attempt() {
    let kind = FailureKind::BadAnswer;
    let desk = Desk::open(vec![failure(kind, None), failure(kind, None)]).await;
    assert!(matches!(desk.run(false).await, Err(JobError::Retry(_))));
    assert_eq!(desk.run(true).await.unwrap(), None);
    assert_eq!(desk.state().await, ("quarantined".to_owned(), Some("bad_answer".to_owned()), None));
}

#[tokio::test]
async fn expired_credentials_cost_no_lead() {
    let desk = Desk::open(vec![failure(FailureKind::AuthExpired, None)]).await;
    assert!(matches!(desk.run(false).await.unwrap(), Some(Outcome::Snooze { .. })));
    assert_eq!(desk.state().await.0, "pending");
}

#[tokio::test]
async fn a_lead_just_announced_may_be_missing_for_a_few_minutes() {
    for (kind, code) in
        [(FailureKind::PermissionDenied, "permission_denied"), (FailureKind::NotFound, "not_found")]
    {
        let desk = Desk::open(vec![failure(kind, None), failure(kind, None)]).await;
        assert!(matches!(desk.run(false).await, Err(JobError::Retry(_))), "{code}");
        desk.cx.clock.advance(JUST_ANNOUNCED);
        assert_eq!(desk.run(false).await.unwrap(), None);
        assert_eq!(desk.state().await.1.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn what_cannot_be_mended_is_quarantined_at_once_and_stays_there() {
    for (kind, code) in [(FailureKind::BadRequest, "bad_request")] {
        let desk = Desk::open(vec![failure(kind, None)]).await;
        assert_eq!(desk.run(false).await.unwrap(), None);
        assert_eq!(desk.state().await.1.as_deref(), Some(code));
        assert_eq!(desk.run(false).await.unwrap(), Some(Outcome::Done));
        assert_eq!(desk.office.audited(desk.job.inbound).await, ["inbound.quarantined"]);
    }
}

#[tokio::test]
async fn a_lead_without_a_usable_contact_is_quarantined_with_its_answer() {
    let desk =
        Desk::open(vec![Ok(meta_lead(&[("full_name", "Kanarya"), ("phone_number", "call me")]))]).await;
    assert_eq!(desk.run(false).await.unwrap(), None);
    assert_eq!(desk.state().await.1.as_deref(), Some("no_usable_contact"));
    let fetched: Vec<u8> = sqlx::query_scalar("select fetched from inbound_events")
        .fetch_one(&desk.office.test.pool)
        .await
        .unwrap();
    let key = desk.office.cipher.key(Subject::Inbound(desk.job.inbound)).await.unwrap();
    let opened = key.open(ingestion::FETCHED, desk.job.inbound.uuid(), &fetched).unwrap();
    assert_eq!(opened, br#"{"kanarya":"raw answer"}"#);
    assert_eq!(desk.office.count("leads").await, 0);
}

#[tokio::test]
async fn a_lead_without_a_pool_to_wait_in_is_quarantined_at_the_last_attempt() {
    let desk = Desk::open(vec![Ok(reachable()), Ok(reachable())]).await;
    sqlx::raw_sql("update pools set is_default = false").execute(&desk.office.test.pool).await.unwrap();
    let Err(JobError::Retry(failure)) = desk.run(false).await else { panic!("a pool may be made meanwhile") };
    assert_eq!(failure.code, "no_default_pool");
    assert_eq!(desk.state().await.0, "pending");
    assert_eq!(desk.run(true).await.unwrap(), None);
    assert_eq!(desk.state().await, ("quarantined".to_owned(), Some("no_default_pool".to_owned()), None));
    assert_eq!(desk.office.count("inbound_events where fetched is not null").await, 1);
    assert_eq!(desk.office.count("leads").await, 0);
    assert_eq!(desk.office.audited(desk.job.inbound).await, ["inbound.quarantined"]);
}

#[tokio::test]
async fn what_can_never_land_is_quarantined_at_once() {
    let desk = Desk::open(vec![Ok(reachable())]).await;
    let (subject, now) = (Subject::Inbound(desk.job.inbound), desk.cx.clock.now());
    desk.office.cipher.destroy_keys(&[subject], now).await.unwrap();
    assert_eq!(desk.run(false).await.unwrap(), None);
    assert_eq!(desk.state().await, ("quarantined".to_owned(), Some("key".to_owned()), None));
    assert_eq!(desk.office.count("inbound_events where fetched is not null").await, 0, "nothing can seal it");
}

#[tokio::test]
async fn an_unreadable_phone_does_not_lose_the_address() {
    let desk =
        Desk::open(vec![Ok(meta_lead(&[("phone_number", "call me"), ("email", "a@example.com")]))]).await;
    assert_eq!(desk.run(false).await.unwrap(), None);
    assert_eq!(desk.office.count("lead_contacts where kind = 'email'").await, 1);
    assert_eq!(desk.state().await.0, "settled");
}

#[tokio::test]
async fn metas_testing_tool_makes_a_kept_test_lead() {
    let dummy = "<test lead: dummy data for phone_number>";
    let desk =
        Desk::open(vec![Ok(meta_lead(&[("phone_number", dummy), ("email", "test@example.com")]))]).await;
    assert_eq!(desk.run(false).await.unwrap(), None);
    assert_eq!(desk.office.count("leads where is_test and waiting_since is null").await, 1);
    assert_eq!(desk.office.count("audit_event where action = 'lead.test_kept'").await, 1);
}
