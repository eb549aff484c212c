//! Lists of leads.

use std::collections::HashSet;

use chrono::TimeDelta;
use sira_domain::leads::{self, Channel, Filter, LeadError, Page, Scope, Seek};
use sira_domain::nouns::{LeadId, TeamId, UserId};

use super::office::Office;

async fn search(office: &Office, scope: Scope, filter: &Filter, seek: Seek, limit: u16) -> Page {
    let mut conn = office.db.read().await.unwrap();
    leads::search(&mut conn, scope, filter, seek, limit).await.unwrap()
}

/// So many leads, several of them created at the very same time. Newest first.
async fn crowd(office: &Office, count: u16) -> Vec<LeadId> {
    let mut prepared = Vec::new();
    for number in 0..count {
        let lead = office.person(number);
        let ready = leads::prepare(&office.db, &office.cipher, &lead).await.unwrap();
        prepared.push((lead, ready));
    }
    for chunk in prepared.chunks(4) {
        office.test.clock.advance(TimeDelta::seconds(1));
        let mut uow = office.begin().await;
        for (lead, ready) in chunk {
            leads::create_or_merge(&mut uow, lead, ready).await.unwrap();
        }
        uow.commit().await.unwrap();
    }
    sqlx::query_scalar("select id from leads order by created_at desc, id desc")
        .fetch_all(&office.test.pool)
        .await
        .unwrap()
        .into_iter()
        .map(LeadId::from_uuid)
        .collect()
}

#[tokio::test]
async fn paging_is_complete_and_stable_while_leads_come_in() {
    let office = Office::open().await;
    let expected = crowd(&office, 22).await;
    let all = Filter::default();
    let mut seen = Vec::new();
    let mut place = Seek::First;
    let mut newcomers = 100;
    let last = loop {
        let page = search(&office, Scope::All, &all, place, 5).await;
        assert!(page.rows.len() <= 5);
        seen.extend(page.rows.iter().map(|row| row.id));
        office.test.clock.advance(TimeDelta::seconds(1));
        office.arrive(&office.person(newcomers)).await;
        newcomers += 1;
        match page.next {
            Some(position) => place = Seek::After(position),
            None => break page,
        }
    };
    assert_eq!(seen, expected);
    // And back again: the same rows, then those that came in meanwhile.
    let mut back: Vec<LeadId> = last.rows.iter().rev().map(|row| row.id).collect();
    let mut prev = last.prev;
    while let Some(position) = prev {
        let page = search(&office, Scope::All, &all, Seek::Before(position), 5).await;
        back.extend(page.rows.iter().rev().map(|row| row.id));
        prev = page.prev;
    }
    back.reverse();
    assert_eq!(back.len(), expected.len() + usize::from(newcomers - 100));
    assert!(back.ends_with(&expected));
}

#[tokio::test]
async fn a_page_is_never_longer_than_the_bound() {
    let office = Office::open().await;
    crowd(&office, 3).await;
    let page = search(&office, Scope::All, &Filter::default(), Seek::First, 0).await;
    assert_eq!(page.rows.len(), 1);
    assert!(page.next.is_some() && page.prev.is_none());
    let page = search(&office, Scope::All, &Filter::default(), Seek::First, u16::MAX).await;
    assert_eq!((page.rows.len(), page.next), (3, None));
    sqlx::raw_sql(
        "insert into leads (id, reference, channel, acquired_at, created_at, updated_at, status, status_since, pool_id)
         select gen_random_uuid(), 'R' || n, 'api', now(), now(), now(), 'new', now(), (select id from pools)
         from generate_series(1, 300) as n",
    )
    .execute(&office.test.pool)
    .await
    .unwrap();
    let page = search(&office, Scope::All, &Filter::default(), Seek::First, u16::MAX).await;
    assert_eq!(page.rows.len(), usize::from(leads::search::PAGE_MAX));
}

#[tokio::test]
async fn scope_hides_what_is_others() {
    let office = Office::open().await;
    let ids = crowd(&office, 3).await;
    let (north, south) = (TeamId::new(), TeamId::new());
    let (ada, bob) = (office.agent("ada", Some(north)).await, office.agent("bob", Some(south)).await);
    office.give(ids[0], ada).await;
    office.give(ids[1], bob).await;
    let cases = [
        (Scope::All, ids.clone()),
        (Scope::Own(ada), vec![ids[0]]),
        (Scope::Own(UserId::new()), vec![]),
        (Scope::Team(south), vec![ids[1]]),
    ];
    for (scope, expected) in cases {
        // Asking for somebody else's leads widens nothing.
        for filter in [Filter::default(), Filter { owner: Some(bob), ..Filter::default() }] {
            let page = search(&office, scope, &filter, Seek::First, 50).await;
            let seen: Vec<LeadId> = page.rows.iter().map(|row| row.id).collect();
            let allowed: Vec<LeadId> =
                expected.iter().copied().filter(|id| filter.owner.is_none() || *id == ids[1]).collect();
            assert_eq!(seen, allowed, "{scope:?}");
        }
        let mut conn = office.db.read().await.unwrap();
        for id in &ids {
            let detail = leads::get_detail(&mut conn, scope, *id, office.test.clock.now()).await;
            if expected.contains(id) {
                assert_eq!(detail.unwrap().row.id, *id);
            } else {
                assert!(matches!(detail, Err(LeadError::NotFound)), "{scope:?}");
            }
        }
    }
}

#[tokio::test]
async fn filters_narrow_one_by_one() {
    let office = Office::open().await;
    let ids = crowd(&office, 8).await;
    let team = TeamId::new();
    let ada = office.agent("ada", Some(team)).await;
    office.give(ids[0], ada).await;
    office.close(ids[7]).await;
    let meta = office.arrive(&office.person_of_campaign(99, "c1")).await.lead();
    let oldest = search(&office, Scope::All, &Filter::default(), Seek::First, 50).await.rows.pop().unwrap();
    let owned: HashSet<_> = [ids[0]].into();
    let all: HashSet<_> = ids.iter().copied().chain([meta]).collect();
    let base = Filter::default;
    let without =
        |gone: &[LeadId]| all.iter().copied().filter(|id| !gone.contains(id)).collect::<HashSet<_>>();
    let cases = [
        (Filter { statuses: vec!["lost".to_owned()], ..base() }, [ids[7]].into()),
        (Filter { statuses: vec!["lost".to_owned(), "new".to_owned()], ..base() }, all.clone()),
        (Filter { owner: Some(ada), ..base() }, owned.clone()),
        (Filter { team: Some(team), ..base() }, owned.clone()),
        (Filter { waiting: Some(true), ..base() }, without(&[ids[0], ids[7]])),
        (Filter { waiting: Some(false), ..base() }, [ids[0], ids[7]].into()),
        (Filter { channel: Some(Channel::Meta), ..base() }, [meta].into()),
        (Filter { created_to: Some(oldest.created_at), ..base() }, HashSet::new()),
        (Filter { created_from: Some(oldest.created_at), ..base() }, all.clone()),
        (
            Filter { created_to: Some(oldest.created_at + TimeDelta::microseconds(1)), ..base() },
            ids[4..].iter().copied().collect(),
        ),
    ];
    for (filter, expected) in cases {
        let page = search(&office, Scope::All, &filter, Seek::First, 50).await;
        let seen: HashSet<LeadId> = page.rows.iter().map(|row| row.id).collect();
        assert_eq!(seen, expected, "{filter:?}");
    }
}
