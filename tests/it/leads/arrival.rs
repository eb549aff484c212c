//! A lead arrives.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sira_domain::campaigns::{self, Source};
use sira_domain::leads::{self, Arrival, Arriving, LeadError, NewLead};
use sira_domain::privacy::Subject;
use sira_domain::{consents, distribution};
use sira_kernel::{PersonName, PhoneNumber};
use tokio::task::JoinSet;

use super::office::{Office, email, phone};

/// Everything that tells a person: clear, digits only, hex, base64.
fn marks(texts: &[&str]) -> Vec<String> {
    let forms = |text: &&str| {
        let encoded = STANDARD.encode(text);
        [(*text).to_owned(), hex::encode(text), encoded.trim_end_matches('=').to_owned()]
    };
    texts.iter().flat_map(forms).collect()
}

#[tokio::test]
async fn a_new_person_becomes_a_waiting_lead_with_all_that_belongs_to_it() {
    let office = Office::open().await;
    let Arrival::Created(id) = office.arrive(&office.person_of_campaign(1, "c1")).await else {
        panic!("new")
    };
    let detail = {
        let mut conn = office.db.read().await.unwrap();
        leads::get_detail(&mut conn, leads::Scope::All, id, office.test.clock.now()).await.unwrap()
    };
    assert!(detail.row.reference.starts_with("L-"));
    assert_eq!((detail.row.status.as_str(), detail.row.version), ("new", 1));
    assert_eq!(detail.row.waiting_since, Some(detail.row.created_at));
    assert_eq!(detail.row.campaign_name.as_deref(), Some("Named c1"));
    assert_eq!(detail.row.name_masked.as_deref(), Some("Z*** D***"));
    assert_eq!(detail.row.phone_masked.as_deref(), Some("+90*** ** 01"));
    assert_eq!(detail.row.email_masked.as_deref(), Some("p***@***.com"));
    assert_eq!(detail.contacts.len(), 2);
    assert_eq!(detail.consents.whatsapp, Some(true));
    assert_eq!(detail.consents.call, None);
    assert_eq!(detail.enquiries.len(), 1);
    assert_eq!(detail.enquiries[0].effect, "created");
    assert_eq!(detail.history.len(), 1);
    assert_eq!(office.audited(id).await, ["lead.created"]);
}

#[tokio::test]
async fn the_same_campaign_is_one_row_and_a_new_name_is_taken_over() {
    let office = Office::open().await;
    office.arrive(&office.person_of_campaign(1, "c1")).await;
    let mut renamed = office.person_of_campaign(2, "c1");
    renamed.origin.campaign.as_mut().unwrap().name = Some("New name".to_owned());
    office.arrive(&renamed).await;
    let mut nameless = office.person_of_campaign(3, "c1");
    nameless.origin.campaign.as_mut().unwrap().name = None;
    office.arrive(&nameless).await;
    for table in ["campaigns", "ad_sets", "ads", "lead_forms"] {
        assert_eq!(office.count(table).await, 1, "{table}");
    }
    assert_eq!(office.count("campaigns where name = 'New name'").await, 1);
    assert_eq!(
        office
            .count("ads join ad_sets on ad_sets.id = ad_set_id join campaigns on campaigns.id = campaign_id")
            .await,
        1
    );
}

#[tokio::test]
async fn a_campaign_with_a_pool_sends_its_leads_there() {
    let office = Office::open().await;
    office.arrive(&office.person_of_campaign(1, "c1")).await;
    // One that is known, and one whose first lead is still to come.
    let unnamed = |id: &str| Source { external_id: id.to_owned(), name: None };
    let mut uow = office.begin().await;
    let own = distribution::create_pool(&mut uow, "Own", false).await.unwrap();
    let known = campaigns::send_to_pool(&mut uow, "meta", &unnamed("c1"), own).await.unwrap();
    campaigns::send_to_pool(&mut uow, "meta", &unnamed("c2"), own).await.unwrap();
    uow.commit().await.unwrap();
    assert_eq!(office.audited(known).await, ["campaign.pool_set"]);
    assert_eq!(office.count("campaigns where external_id = 'c1' and name is not null").await, 1);
    office.arrive(&office.person_of_campaign(2, "c1")).await;
    office.arrive(&office.person_of_campaign(3, "c2")).await;
    assert_eq!(
        office.count("leads join pools on pools.id = leads.pool_id where pools.name = 'Own'").await,
        2
    );
    assert_eq!(office.count("leads join pools on pools.id = leads.pool_id where pools.is_default").await, 1);
}

#[tokio::test]
async fn nothing_of_a_person_stands_in_clear_in_any_table() {
    let office = Office::open().await;
    let mut lead = office.person_of_campaign(1717, "c1");
    lead.name = PersonName::parse("Kanarya Sarıgüzel");
    lead.emails = vec![email("kanarya.mark")];
    lead.answers = vec![("wish".to_owned(), vec!["kanarya-answer".to_owned()])];
    let id = office.arrive(&lead).await.lead();
    office.arrive(&lead).await;
    let marks = marks(&[
        "+905550001717",
        "905550001717",
        "5550001717",
        "kanarya.mark@example.com",
        "kanarya",
        "Sarıgüzel",
        "kanarya-answer",
    ]);
    assert_eq!(office.spilt(&marks).await, Vec::<String>::new());
    // The scan sees what there is to see: the masked forms, and bytes as hex.
    assert!(!office.spilt(&["k***@***.com".to_owned()]).await.is_empty());
    let sealed: Vec<u8> = sqlx::query_scalar("select sealed from lead_contacts where kind = 'phone'")
        .fetch_one(&office.test.pool)
        .await
        .unwrap();
    assert!(!office.spilt(&[hex::encode(&sealed)]).await.is_empty());
    // And the lead's key opens it.
    let row: uuid::Uuid = sqlx::query_scalar("select id from lead_contacts where kind = 'phone'")
        .fetch_one(&office.test.pool)
        .await
        .unwrap();
    let key = office.cipher.key(Subject::Lead(id)).await.unwrap();
    assert_eq!(key.open(leads::CONTACT, row, &sealed).unwrap(), b"+905550001717");
    let answers: Vec<(uuid::Uuid, Vec<u8>)> = sqlx::query_as("select id, answers_sealed from lead_enquiries")
        .fetch_all(&office.test.pool)
        .await
        .unwrap();
    assert_eq!(answers.len(), 2);
    for (row, sealed) in answers {
        assert!(
            String::from_utf8(key.open(leads::ANSWERS, row, &sealed).unwrap())
                .unwrap()
                .contains("kanarya-answer")
        );
    }
}

#[tokio::test]
async fn equal_leads_at_the_same_moment_become_one() {
    const TWINS: i64 = 16;
    let office = std::sync::Arc::new(Office::open().await);
    for (number, by_phone) in [(1, true), (2, false)] {
        let mut tasks = JoinSet::new();
        for _ in 0..TWINS {
            let office = office.clone();
            tasks.spawn(async move {
                let mut lead = office.person_of_campaign(number, "c1");
                if !by_phone {
                    lead.phones.clear();
                }
                office.arrive(&lead).await
            });
        }
        let arrivals = tasks.join_all().await;
        let created = arrivals.iter().filter(|a| matches!(a, Arrival::Created(_))).count();
        assert_eq!(created, 1, "by phone: {by_phone}");
        assert!(arrivals.iter().all(|arrival| arrival.lead() == arrivals[0].lead()));
    }
    assert_eq!(office.count("leads").await, 2);
    assert_eq!(office.count("lead_enquiries").await, 2 * TWINS);
    assert_eq!(office.count("lead_contacts").await, 3);
    assert_eq!(office.count("campaigns").await, 1);
}

#[tokio::test]
async fn overlapping_numbers_at_the_same_moment_deadlock_nobody() {
    let office = std::sync::Arc::new(Office::open().await);
    let mut tasks = JoinSet::new();
    for n in 0..12u16 {
        let office = office.clone();
        tasks.spawn(async move {
            let lead = NewLead {
                phones: vec![phone(n % 3), phone((n + 1) % 3)],
                emails: vec![email("one"), email("two")],
                ..office.person_of_campaign(0, "c1")
            };
            office.arrive(&lead).await
        });
    }
    assert_eq!(tasks.join_all().await.len(), 12);
    assert_eq!(office.count("lead_enquiries").await, 12);
    assert_eq!(office.count("lead_contacts where kind = 'phone'").await, 3);
    assert_eq!(
        office.count("leads where not exists (select from lead_contacts where lead_id = leads.id)").await,
        0
    );
}

#[tokio::test]
async fn a_known_person_joins_and_stays_with_the_owner() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let agent = office.agent("ada", None).await;
    office.give(id, agent).await;
    let mut again = office.person_of_campaign(1, "c2");
    again.phones.push(phone(9));
    again.emails = vec![email("second")];
    assert_eq!(office.arrive(&again).await, Arrival::Joined(id));
    let mut conn = office.db.read().await.unwrap();
    let detail =
        leads::get_detail(&mut conn, leads::Scope::Own(agent), id, office.test.clock.now()).await.unwrap();
    assert_eq!(detail.row.owner_id, Some(agent.uuid()));
    assert_eq!((detail.row.waiting_since, detail.row.version), (None, 3));
    assert_eq!(detail.contacts.len(), 4);
    assert_eq!(detail.row.phone_masked.as_deref(), Some("+90*** ** 01"));
    // The lead keeps its own origin; the enquiry has the new one.
    assert_eq!(detail.row.campaign_name, None);
    assert_eq!(detail.enquiries[0].campaign_name.as_deref(), Some("Named c2"));
    assert_eq!(detail.enquiries[0].effect, "joined");
    assert_eq!(detail.consents.whatsapp, Some(true));
    assert_eq!(office.count("agent_load where open_weight = 1 and day_count = 0").await, 1);
    assert_eq!(office.audited(id).await, ["lead.created", "lead.enquired"]);
    // The second number now belongs to this lead too.
    let mut third = office.person(9);
    third.emails.clear();
    assert_eq!(office.arrive(&third).await, Arrival::Joined(id));
}

#[tokio::test]
async fn a_number_of_another_lead_stays_theirs() {
    let office = Office::open().await;
    let first = office.arrive(&office.person(1)).await.lead();
    let second = office.arrive(&office.person(2)).await.lead();
    let mut both = office.person(2);
    both.phones.push(phone(1));
    assert_eq!(office.arrive(&both).await, Arrival::Joined(first), "the number known longest decides");
    assert_eq!(office.arrive(&office.person(2)).await, Arrival::Joined(second));
    assert_eq!(office.count("lead_contacts where kind = 'phone'").await, 2);
}

#[tokio::test]
async fn a_closed_lead_that_asks_again_waits_again_without_its_owner() {
    let office = Office::open().await;
    let id = office.arrive(&office.person(1)).await.lead();
    let agent = office.agent("ada", None).await;
    office.give(id, agent).await;
    office.close(id).await;
    assert_eq!(office.arrive(&office.person(1)).await, Arrival::Reopened(id));
    let mut conn = office.db.read().await.unwrap();
    let detail = leads::get_detail(&mut conn, leads::Scope::All, id, office.test.clock.now()).await.unwrap();
    assert_eq!((detail.row.status.as_str(), detail.row.owner_id), ("new", None));
    assert!(detail.row.waiting_since.is_some());
    assert_eq!(detail.assignments[0].end_reason.as_deref(), Some("reopened"));
    assert_eq!(detail.history[0].from.as_deref(), Some("lost"));
    assert_eq!(detail.history[0].reason.as_deref(), Some("asked_again"));
    assert_eq!(office.audited(id).await, ["lead.created", "lead.enquired", "lead.reopened"]);
}

#[tokio::test]
async fn without_a_phone_the_address_finds_the_lead() {
    let office = Office::open().await;
    let with_phone = office.arrive(&office.person(1)).await.lead();
    let only_email = NewLead { phones: Vec::new(), ..office.person(1) };
    assert_eq!(office.arrive(&only_email).await, Arrival::Joined(with_phone));
    let stranger = NewLead { phones: Vec::new(), ..office.person(2) };
    assert!(matches!(office.arrive(&stranger).await, Arrival::Created(_)));
}

#[tokio::test]
async fn the_same_address_with_another_phone_is_another_lead() {
    let office = Office::open().await;
    office.arrive(&office.person(1)).await;
    let other = NewLead { phones: vec![phone(2)], ..office.person(1) };
    assert!(matches!(office.arrive(&other).await, Arrival::Created(_)));
}

#[tokio::test]
async fn test_leads_are_kept_apart_and_never_wait() {
    let office = Office::open().await;
    let real = office.arrive(&office.person(1)).await.lead();
    let test = NewLead { is_test: true, ..office.person(1) };
    let nothing = NewLead { phones: Vec::new(), emails: Vec::new(), ..test.clone() };
    for lead in [&test, &test, &nothing] {
        let arrival = office.arrive(lead).await;
        assert!(matches!(arrival, Arrival::Created(id) if id != real));
        assert_eq!(office.audited(arrival.lead()).await, ["lead.test_kept"]);
    }
    assert_eq!(office.count("leads where is_test and waiting_since is null").await, 3);
    assert_eq!(office.arrive(&office.person(1)).await, Arrival::Joined(real));
}

#[tokio::test]
async fn a_lead_that_cannot_be_reached_is_refused() {
    let office = Office::open().await;
    let lead = NewLead { phones: Vec::new(), emails: Vec::new(), ..office.person(1) };
    let refused = leads::prepare(&office.db, &office.cipher, &lead).await.err();
    assert!(matches!(refused, Some(LeadError::NoUsableContact)));
}

#[tokio::test]
async fn a_dropped_unit_of_work_leaves_nothing() {
    let office = Office::open().await;
    let lead = office.person_of_campaign(1, "c1");
    let prepared = leads::prepare(&office.db, &office.cipher, &lead).await.unwrap();
    {
        let mut uow = office.begin().await;
        leads::create_or_merge(&mut uow, &lead, &prepared).await.unwrap();
        let written: i64 =
            sqlx::query_scalar("select count(*) from consent_ledger").fetch_one(uow.conn()).await.unwrap();
        assert_eq!(written, 1);
    }
    for table in [
        "leads",
        "lead_contacts",
        "lead_enquiries",
        "lead_status_history",
        "consent_ledger",
        "campaigns",
        "audit_event",
    ] {
        assert_eq!(office.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_stale_look_up_is_a_lost_race_and_changes_nothing() {
    let office = Office::open().await;
    let lead = office.person(1);
    let stale = leads::prepare(&office.db, &office.cipher, &lead).await.unwrap();
    office.arrive(&lead).await;
    let mut uow = office.begin().await;
    let lost = leads::create_or_merge(&mut uow, &lead, &stale).await;
    assert!(matches!(lost, Err(LeadError::Raced)));
    drop(uow);
    assert_eq!(office.count("lead_enquiries").await, 1);
}

#[tokio::test]
async fn without_a_default_pool_the_lead_is_refused_with_what_to_do() {
    let office = Office::open().await;
    sqlx::raw_sql("update pools set is_default = false").execute(&office.test.pool).await.unwrap();
    let lead = office.person(1);
    let prepared = leads::prepare(&office.db, &office.cipher, &lead).await.unwrap();
    let mut uow = office.begin().await;
    let refused = leads::create_or_merge(&mut uow, &lead, &prepared).await.unwrap_err();
    assert!(refused.to_string().contains("create a pool"), "{refused}");
}

#[tokio::test]
async fn the_consent_ledger_keeps_every_decision_and_the_newest_holds() {
    let office = Office::open().await;
    let mut lead = office.person_of_campaign(1, "c1");
    let id = office.arrive(&lead).await.lead();
    office.test.clock.advance(chrono::TimeDelta::hours(1));
    lead.acquired_at = office.test.clock.now();
    lead.consents[0].decision = consents::Decision::Withdrawn;
    office.arrive(&lead).await;
    let mut conn = office.db.read().await.unwrap();
    assert_eq!(consents::find_flags(&mut conn, id).await.unwrap().whatsapp, Some(false));
    assert_eq!(office.count("consent_ledger").await, 2);
    let edited = sqlx::raw_sql("update consent_ledger set decision = 'granted'").execute(&mut *conn).await;
    assert!(edited.unwrap_err().to_string().contains("append-only"));
}

#[tokio::test]
async fn an_address_that_came_a_moment_ago_finds_its_lead_in_the_same_batch() {
    let office = Office::open().await;
    let known = NewLead { emails: Vec::new(), ..office.person(1) };
    let id = office.arrive(&known).await.lead();
    // The known person tells an address, and asks again by it alone: one batch, as a file brings it.
    let by_mail = NewLead { phones: Vec::new(), ..office.person(1) };
    let batch = [office.person(1), by_mail];
    let prepared = leads::prepare_all(&office.db, &office.cipher, &batch).await.unwrap();
    let arriving = Arriving::all(&batch, &prepared);
    let mut uow = office.begin().await;
    let arrivals = leads::create_or_merge_all(&mut uow, &arriving).await.unwrap();
    uow.commit().await.unwrap();
    assert_eq!(arrivals, [Arrival::Joined(id), Arrival::Joined(id)]);
}

#[tokio::test]
async fn a_batch_that_is_prepared_before_the_one_ahead_of_it_is_written_joins_its_leads() {
    let office = Office::open().await;
    let one = |number: u16| NewLead { emails: Vec::new(), ..office.person(number) };
    let first = [one(1), one(2)];
    let second = [one(2), one(3), one(1)];
    let ahead = leads::prepare_all(&office.db, &office.cipher, &first).await.unwrap();
    let ahead = Arriving::all(&first, &ahead);
    let behind = leads::prepare_after(&office.db, &office.cipher, &second, &ahead).await.unwrap();
    let behind = Arriving::all(&second, &behind);
    let mut arrivals = Vec::new();
    for batch in [&ahead, &behind] {
        let mut uow = office.begin().await;
        arrivals.extend(leads::create_or_merge_all(&mut uow, batch).await.unwrap());
        uow.commit().await.unwrap();
    }
    let [Arrival::Created(a), Arrival::Created(b), then @ ..] = arrivals.as_slice() else {
        panic!("{arrivals:?}")
    };
    assert!(
        matches!(then, [Arrival::Joined(c), Arrival::Created(_), Arrival::Joined(d)] if (c, d) == (b, a)),
        "{then:?}"
    );
    assert_eq!(office.count("leads").await, 3);

    // Prepared as if somebody were there who never came: the race is told, and nothing is written.
    let never = [one(4)];
    let never_prepared = leads::prepare_all(&office.db, &office.cipher, &never).await.unwrap();
    let never = Arriving::all(&never, &never_prepared);
    let late = [one(4)];
    let prepared = leads::prepare_after(&office.db, &office.cipher, &late, &never).await.unwrap();
    let mut uow = office.begin().await;
    let raced = leads::create_or_merge(&mut uow, &late[0], &prepared[0]).await;
    assert!(matches!(raced, Err(leads::LeadError::Raced)), "{raced:?}");
}

#[tokio::test]
async fn which_numbers_may_be_texted_is_known_without_opening_them() {
    let office = Office::open().await;
    let landline = PhoneNumber::parse("0212 000 00 17", "TR").unwrap();
    let lead = NewLead { phones: vec![phone(1), landline], ..office.person(1) };
    let id = office.arrive(&lead).await.lead();
    let mut conn = office.db.read().await.unwrap();
    let detail = leads::get_detail(&mut conn, leads::Scope::All, id, office.test.clock.now()).await.unwrap();
    let told: Vec<_> =
        detail.contacts.iter().map(|contact| (contact.kind.as_str(), contact.can_text)).collect();
    assert_eq!(told, [("phone", true), ("phone", false), ("email", false)]);
}
