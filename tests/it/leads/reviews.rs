//! Leads that may be one person: proposed, merged, parted again.

use chrono::TimeDelta;
use sira_domain::consents::{self, Channel as Consented};
use sira_domain::leads::reviews::{self, Merged, Review, State, UNMERGE_DAYS};
use sira_domain::leads::{self, Arrival, LeadDetail, LeadError, NewLead, Scope, StatusChange};
use sira_domain::nouns::{LeadId, ReviewId, UserId};
use sira_domain::{follow_ups, timeline};
use tokio::task::JoinSet;

use super::office::{Office, email, phone};

/// Who asks by this number and this address.
fn asking(office: &Office, number: u16, address: &str) -> NewLead {
    NewLead { emails: vec![email(address)], ..office.person(number) }
}

/// Two leads of two numbers and one address, and their pair.
async fn doubtful(office: &Office) -> (LeadId, LeadId, ReviewId) {
    let first = office.arrive(&asking(office, 1, "shared")).await.lead();
    let second = office.arrive(&asking(office, 2, "shared")).await.lead();
    let open = list(office, State::Open).await;
    assert_eq!(open.len(), 1);
    (first, second, open[0].id)
}

async fn list(office: &Office, state: State) -> Vec<Review> {
    let mut conn = office.db.read().await.unwrap();
    reviews::list(&mut conn, state, None, 50).await.unwrap()
}

async fn merge(office: &Office, id: ReviewId, survivor: Option<LeadId>) -> Result<Merged, LeadError> {
    let mut uow = office.begin().await;
    let merged = reviews::merge(&mut uow, id, survivor).await?;
    uow.commit().await.unwrap();
    Ok(merged)
}

async fn unmerge(office: &Office, id: ReviewId) -> Result<Merged, LeadError> {
    let mut uow = office.begin().await;
    let parted = reviews::unmerge(&mut uow, id).await?;
    uow.commit().await.unwrap();
    Ok(parted)
}

async fn detail(office: &Office, lead: LeadId) -> LeadDetail {
    let mut conn = office.db.read().await.unwrap();
    leads::get_detail(&mut conn, Scope::All, lead, office.test.clock.now()).await.unwrap()
}

/// The leads that lists show.
async fn listed(office: &Office) -> Vec<LeadId> {
    let mut conn = office.db.read().await.unwrap();
    let filter = leads::Filter::default();
    let page = leads::search(&mut conn, Scope::All, &filter, leads::Seek::First, 50).await.unwrap();
    page.rows.into_iter().map(|row| row.id).collect()
}

async fn load(office: &Office, user: UserId) -> i32 {
    sqlx::query_scalar("select open_weight from agent_load where user_id = $1")
        .bind(user.uuid())
        .fetch_one(&office.test.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_address_of_two_numbers_and_numbers_of_two_leads_are_doubtful() {
    let office = Office::open().await;
    let (first, second, review) = doubtful(&office).await;
    let open = list(&office, State::Open).await;
    assert_eq!(open[0].leads.each_ref().map(|lead| lead.id), [first, second], "the older one first");
    assert_eq!(open[0].shared, "email");
    assert_eq!(office.audited("").await, ["leads.duplicates_suspected"]);
    // Said again it is no news; nor is it once somebody has decided.
    office.arrive(&asking(&office, 2, "shared")).await;
    let mut uow = office.begin().await;
    reviews::keep_apart(&mut uow, review).await.unwrap();
    reviews::keep_apart(&mut uow, review).await.unwrap();
    uow.commit().await.unwrap();
    office.arrive(&asking(&office, 1, "shared")).await;
    assert_eq!(office.count("lead_reviews").await, 1);
    assert_eq!(list(&office, State::Open).await, []);
    assert_eq!(list(&office, State::Apart).await.len(), 1);
    assert_eq!(office.audited(first).await.iter().filter(|action| *action == "lead.kept_apart").count(), 1);
    // One enquiry with the numbers of two: it joins the one known longer, and tells of the other.
    let third = office.arrive(&asking(&office, 3, "third")).await.lead();
    let both = NewLead { phones: vec![phone(3), phone(1)], ..asking(&office, 3, "third") };
    assert_eq!(office.arrive(&both).await, Arrival::Joined(first));
    let open = list(&office, State::Open).await;
    let pairs: Vec<_> = open.iter().map(|one| one.leads.each_ref().map(|lead| lead.id)).collect();
    assert_eq!(pairs, [[first, third]]);
    assert_eq!(open[0].shared, "phone", "which says more than the address that they share by now");
}

#[tokio::test]
async fn the_address_of_a_desk_and_of_test_leads_proves_nothing() {
    let office = Office::open().await;
    for number in 1..=14 {
        office.arrive(&asking(&office, number, "desk")).await;
    }
    // Until the eleventh came it might have been a person's.
    assert_eq!(office.count("lead_reviews").await, 11 * 10 / 2);
    office.arrive(&NewLead { is_test: true, ..asking(&office, 20, "tested") }).await;
    office.arrive(&asking(&office, 21, "tested")).await;
    assert_eq!(office.count("lead_reviews").await, 11 * 10 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_come_at_the_same_moment_are_a_pair() {
    let office = std::sync::Arc::new(Office::open().await);
    let mut tasks = JoinSet::new();
    for number in 1..=8 {
        let office = office.clone();
        tasks.spawn(async move { office.arrive(&asking(&office, number, "shared")).await });
    }
    tasks.join_all().await;
    assert_eq!(office.count("lead_reviews").await, 8 * 7 / 2, "each with each, once");
}

#[tokio::test]
async fn a_merged_lead_is_read_with_the_one_that_stays_and_nothing_is_written_to_it() {
    let office = Office::open().await;
    let agents = [office.agent("one", None).await, office.agent("two", None).await];
    let (first, second, review) = doubtful(&office).await;
    office.give(first, agents[0]).await;
    office.give(second, agents[1]).await;
    let note = {
        let key = office.cipher.key(sira_domain::privacy::Subject::Lead(second)).await.unwrap();
        let mut uow = office.begin().await;
        let note = timeline::add_note(&mut uow, second, agents[1], &key, "Speaks German.").await.unwrap();
        uow.commit().await.unwrap();
        sqlx::query(
            "insert into cooling_offs (id, lead_id, user_id, reason, opened_at, until)
             values (gen_random_uuid(), $1, $2, 'blocked', now(), now() + interval '1 year')",
        )
        .bind(second.uuid())
        .bind(agents[0].uuid())
        .execute(&office.test.pool)
        .await
        .unwrap();
        note
    };
    let merged = merge(&office, review, None).await.unwrap();
    assert_eq!(merged, Merged { survivor: first, absorbed: second });
    assert_eq!(listed(&office).await, [first]);
    assert_eq!([load(&office, agents[0]).await, load(&office, agents[1]).await], [1, 0]);
    let one = detail(&office, first).await;
    assert_eq!(one.row.owner_id, Some(agents[0].uuid()));
    let masked: Vec<&str> = one.contacts.iter().map(|contact| contact.masked.as_str()).collect();
    assert_eq!(masked[..2], ["+90*** ** 01", "+90*** ** 02"]);
    assert_eq!(one.enquiries.len(), 2);
    assert_eq!(one.cooling_offs.len(), 1, "who is not to have the one is not to have the other");
    let gone = detail(&office, second).await;
    assert_eq!(gone.row.merged_into, Some(first.uuid()));
    assert_eq!((gone.row.owner_id, gone.row.waiting_since), (None, None));
    assert_eq!(gone.assignments[0].end_reason.as_deref(), Some("merged"));
    let rows = {
        let mut conn = office.db.read().await.unwrap();
        timeline::list(&mut conn, first, &[], None, 50).await.unwrap()
    };
    let noted = rows.iter().find(|row| row.reference == Some(note.uuid())).unwrap();
    assert_eq!(noted.lead, second, "whose key opens it");
    // Asking by the number of either one reaches the one that stays.
    assert_eq!(office.arrive(&office.person(2)).await, Arrival::Joined(first));
    assert_eq!(
        office.arrive(&NewLead { phones: Vec::new(), ..asking(&office, 9, "shared") }).await.lead(),
        first
    );
    // And the other is closed to all.
    let mut uow = office.begin().await;
    let change =
        StatusChange { lead: second, expected_version: None, to: "interested", reason: None, role: None };
    let refused = leads::change_status(&mut uow, &change).await.unwrap_err();
    assert!(matches!(refused, LeadError::Merged { into } if into == first), "{refused}");
    let refused = leads::redistribute(&mut uow, second, None).await.unwrap_err();
    assert!(matches!(refused, LeadError::Merged { .. }), "{refused}");
    let key = office.cipher.key(sira_domain::privacy::Subject::Lead(second)).await.unwrap();
    let right = leads::prepare_phone(&office.cipher, &key, &phone(7));
    let refused = leads::correct_phone(&mut uow, second, &right).await.unwrap_err();
    assert!(matches!(refused, LeadError::Merged { .. }), "{refused}");
    drop(uow);
    assert!(matches!(merge(&office, review, None).await, Err(LeadError::AlreadyMerged)));
}

#[tokio::test]
async fn which_lead_stays_is_the_callers_choice_within_reason() {
    let office = Office::open().await;
    let (first, second, review) = doubtful(&office).await;
    let stranger = office.arrive(&office.person(5)).await.lead();
    assert!(matches!(merge(&office, review, Some(stranger)).await, Err(LeadError::NotOfThePair)));
    office.close(first).await;
    assert!(matches!(merge(&office, review, Some(first)).await, Err(LeadError::SurvivorClosed)));
    let merged = merge(&office, review, None).await.unwrap();
    assert_eq!(merged.survivor, second, "the open one");
    let agent = office.agent("one", None).await;
    let other = Office::open().await;
    let (third, fourth, review) = doubtful(&other).await;
    let owner = other.agent("two", None).await;
    other.give(fourth, owner).await;
    assert_eq!(merge(&other, review, None).await.unwrap().survivor, fourth, "the one with an owner");
    assert_eq!(detail(&other, third).await.row.merged_into, Some(fourth.uuid()));
    assert_eq!(load(&office, agent).await, 0);
}

#[tokio::test]
async fn a_merge_is_taken_back_for_thirty_days() {
    let office = Office::open().await;
    let agent = office.agent("one", None).await;
    let (first, second, review) = doubtful(&office).await;
    office.give(second, agent).await;
    assert!(matches!(unmerge(&office, review).await, Err(LeadError::NotMerged)));
    merge(&office, review, Some(first)).await.unwrap();
    office.test.clock.advance(TimeDelta::days(UNMERGE_DAYS) - TimeDelta::minutes(5));
    let parted = unmerge(&office, review).await.unwrap();
    assert_eq!(parted, Merged { survivor: first, absorbed: second });
    let row = detail(&office, second).await.row;
    assert_eq!(row.merged_into, None);
    assert!(row.waiting_since.is_some(), "it waits for an agent");
    assert_eq!(office.arrive(&office.person(2)).await, Arrival::Joined(second));
    assert_eq!(detail(&office, first).await.contacts.len(), 2);
    assert_eq!(list(&office, State::Apart).await.len(), 1);
    // It can be found to be one again, and that is kept in the end.
    merge(&office, review, Some(first)).await.unwrap();
    office.test.clock.advance(TimeDelta::days(UNMERGE_DAYS));
    assert!(matches!(unmerge(&office, review).await, Err(LeadError::UnmergeTooLate)));
    let audited = office.audited(first).await;
    assert_eq!(audited.iter().filter(|action| *action == "lead.merged").count(), 2);
    assert!(office.audited(second).await.contains(&"lead.unmerged".to_owned()));
}

#[tokio::test]
async fn what_the_person_refused_holds_for_both_and_after_they_are_parted() {
    let office = Office::open().await;
    let (first, second, review) = doubtful(&office).await;
    let block = async |lead| {
        let mut uow = office.begin().await;
        let change = StatusChange { lead, expected_version: None, to: "blocked", reason: None, role: None };
        leads::change_status(&mut uow, &change).await.unwrap();
        uow.commit().await.unwrap();
    };
    let refused = async |lead| {
        let mut conn = office.db.read().await.unwrap();
        let state = consents::find_channel(&mut conn, lead, Consented::Call).await.unwrap();
        state.transactional.is_some_and(|said| !said.granted)
    };
    merge(&office, review, Some(first)).await.unwrap();
    assert!(!refused(first).await);
    office.test.clock.advance(TimeDelta::minutes(1));
    block(first).await;
    assert!(refused(first).await);
    assert!(!refused(second).await, "by itself it was asked nothing");
    unmerge(&office, review).await.unwrap();
    assert!(refused(second).await, "it was said while they were one");
    // And the other way round.
    let other = Office::open().await;
    let (third, fourth, review) = doubtful(&other).await;
    let mut uow = other.begin().await;
    let change =
        StatusChange { lead: fourth, expected_version: None, to: "blocked", reason: None, role: None };
    leads::change_status(&mut uow, &change).await.unwrap();
    uow.commit().await.unwrap();
    merge(&other, review, Some(third)).await.unwrap();
    let mut conn = other.db.read().await.unwrap();
    let state = consents::find_channel(&mut conn, third, Consented::Call).await.unwrap();
    assert!(state.transactional.is_some_and(|said| !said.granted));
}

#[tokio::test]
async fn of_two_appointments_the_earlier_one_is_kept() {
    let office = Office::open().await;
    let agent = office.agent("one", None).await;
    let (first, second, review) = doubtful(&office).await;
    let now = office.test.clock.now();
    let plan = async |lead, hours| {
        let mut uow = office.begin().await;
        follow_ups::plan(&mut uow, lead, agent, now + TimeDelta::hours(hours)).await.unwrap();
        uow.commit().await.unwrap();
    };
    plan(first, 5).await;
    plan(second, 3).await;
    merge(&office, review, Some(first)).await.unwrap();
    let kept = detail(&office, first).await.follow_up.unwrap();
    assert_eq!(kept.due_at, now + TimeDelta::hours(3));
    assert_eq!(office.count("follow_ups where state = 'open'").await, 1);
    unmerge(&office, review).await.unwrap();
    plan(second, 9).await;
    merge(&office, review, Some(first)).await.unwrap();
    assert_eq!(detail(&office, first).await.follow_up.unwrap().due_at, now + TimeDelta::hours(3));
    assert_eq!(office.count("follow_ups where state = 'open'").await, 1);
}

#[tokio::test]
async fn three_leads_become_one_and_two_again() {
    let office = Office::open().await;
    let first = office.arrive(&asking(&office, 1, "shared")).await.lead();
    let second = office.arrive(&asking(&office, 2, "shared")).await.lead();
    let third = office
        .arrive(&NewLead { emails: vec![email("shared"), email("own")], ..office.person(3) })
        .await
        .lead();
    let fourth = office.arrive(&asking(&office, 4, "own")).await.lead();
    let pair = async |a: LeadId, b: LeadId| {
        let all = [list(&office, State::Open).await, list(&office, State::Merged).await].concat();
        let ids = |review: &Review| review.leads.each_ref().map(|lead| lead.id);
        all.iter().find(|review| ids(review) == [a, b]).map(|review| review.id)
    };
    // The third goes into the second, whose pair with the fourth goes on.
    let of_third = pair(second, third).await.unwrap();
    assert!(pair(second, fourth).await.is_none());
    merge(&office, of_third, Some(second)).await.unwrap();
    assert!(pair(second, fourth).await.is_some());
    let open = list(&office, State::Open).await;
    assert!(
        open.iter().all(|review| review.leads.iter().all(|lead| lead.id != third)),
        "nobody decides twice"
    );
    // The second goes into the first, and takes the third with it.
    let of_second = pair(first, second).await.unwrap();
    merge(&office, of_second, Some(first)).await.unwrap();
    assert_eq!(office.arrive(&office.person(3)).await, Arrival::Joined(first));
    assert_eq!(detail(&office, first).await.enquiries.len(), 4);
    // Back: the second is itself again, with the third.
    unmerge(&office, of_second).await.unwrap();
    assert_eq!(office.arrive(&office.person(3)).await, Arrival::Joined(second));
    assert_eq!(listed(&office).await, [fourth, second, first]);
    unmerge(&office, of_third).await.unwrap();
    assert_eq!(listed(&office).await, [fourth, third, second, first]);
    assert_eq!(office.arrive(&office.person(3)).await, Arrival::Joined(third));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_decide_at_once_one_wins() {
    let office = std::sync::Arc::new(Office::open().await);
    let (first, second, review) = doubtful(&office).await;
    let mut tasks = JoinSet::new();
    for survivor in [first, second, first, second] {
        let office = office.clone();
        tasks.spawn(async move { merge(&office, review, Some(survivor)).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(office.count("leads where merged_into is not null").await, 1);
}
