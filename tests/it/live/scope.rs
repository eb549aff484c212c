//! Who hears what.

use serde_json::json;
use sira_domain::identity::{self, Role, User};
use sira_domain::leads::{self, StatusChange};
use sira_domain::nouns::LeadId;

use super::listener::{Listener, Served, until_quiet};
use crate::http::app::TestApp;

/// An office of two teams that listens.
struct Office {
    app: TestApp,
    served: Served,
}

impl Office {
    async fn open() -> Self {
        let app = TestApp::new().await;
        // A change of status is one event then.
        sqlx::query("update statuses set sla_policy = null").execute(&app.db.pool).await.unwrap();
        let served = Served::of(&app).await;
        Self { app, served }
    }

    /// What happened before is told by then.
    async fn listens(&self, user: &User) -> Listener {
        until_quiet(&self.app.app).await;
        self.served.listen(&self.app.token(user)).await.0
    }

    /// Changes the status.
    async fn change(&self, lead: LeadId, to: &str) {
        let mut uow = self.app.uow().await;
        let change = StatusChange { lead, expected_version: None, to, reason: Some("test"), role: None };
        leads::change_status(&mut uow, &change).await.unwrap();
        uow.commit().await.unwrap();
    }
}

fn changed(lead: LeadId) -> (String, LeadId) {
    ("lead.statusChanged".to_owned(), lead)
}

#[tokio::test]
async fn an_agent_hears_of_own_leads_a_manager_of_the_teams_and_an_admin_of_all() {
    let office = Office::open().await;
    let app = &office.app;
    let mut uow = app.uow().await;
    let elsewhere = identity::ensure_team(&mut uow, "İzmir").await.unwrap();
    uow.commit().await.unwrap();
    let ayse = app.user("ayse", Role::Agent).await;
    let can = app.user("can", Role::Agent).await;
    let far = app.user_of("far", Role::Agent, Some(elsewhere)).await;
    let manager = app.user("manager", Role::Manager).await;
    let teamless = app.user_of("teamless", Role::Manager, None).await;
    let admin = app.user("admin", Role::Admin).await;
    let auditor = app.user("auditor", Role::Auditor).await;
    let of_ayse = app.lead(1, Some(&ayse)).await;
    let of_can = app.lead(2, Some(&can)).await;
    let of_far = app.lead(3, Some(&far)).await;
    let of_teamless = app.lead(4, Some(&teamless)).await;
    let mut listeners = Vec::new();
    for (user, expected) in [
        (&ayse, vec![of_ayse]),
        (&can, vec![of_can]),
        (&far, vec![of_far]),
        (&manager, vec![of_ayse, of_can]),
        (&teamless, vec![of_teamless]),
        (&admin, vec![of_ayse, of_can, of_far, of_teamless]),
        (&auditor, vec![of_ayse, of_can, of_far, of_teamless]),
    ] {
        listeners.push((office.listens(user).await, expected, user.username.clone()));
    }
    // Twice: whoever heard what was not theirs in the first round hears it before what is theirs in the second.
    for to in ["interested", "qualified"] {
        for lead in [of_ayse, of_can, of_far, of_teamless] {
            office.change(lead, to).await;
        }
    }
    for (listener, expected, who) in &mut listeners {
        let twice: Vec<_> = expected.iter().chain(&*expected).map(|lead| changed(*lead)).collect();
        assert_eq!(listener.names(twice.len()).await, twice, "{who}");
    }
    office.served.end().await;
}

#[tokio::test]
async fn who_lost_a_lead_hears_of_it_and_nobody_else_does() {
    let office = Office::open().await;
    let app = &office.app;
    let (former, other) = (app.user("former", Role::Agent).await, app.user("other", Role::Agent).await);
    let lead = app.lead(1, Some(&former)).await;
    let of_other = app.lead(2, Some(&other)).await;
    sqlx::query(
        "insert into lead_assignments (id, lead_id, user_id, cause, assigned_at)
         values (gen_random_uuid(), $1, $2, 'manual', now())",
    )
    .bind(lead.uuid())
    .bind(former.id.uuid())
    .execute(&app.db.pool)
    .await
    .unwrap();
    office.change(lead, "lost").await;
    let (mut hears, mut deaf) = (office.listens(&former).await, office.listens(&other).await);
    // Closed and asked again: it goes back to the queue, and is its owner's no longer.
    assert_eq!(app.lead(1, None).await, lead);
    let gone = "select count(*) from leads where owner_id is null and waiting_since is not null";
    assert_eq!(app.count(gone).await, 1);
    office.change(of_other, "interested").await;
    let expected = ["lead.enquired", "lead.reopened"].map(|name| (name.to_owned(), lead));
    assert_eq!(hears.names(2).await, expected);
    assert_eq!(deaf.names(1).await, [changed(of_other)]);
    // What comes after is nothing to the former owner.
    office.change(lead, "interested").await;
    app.give(of_other, &former).await;
    office.change(of_other, "qualified").await;
    assert_eq!(hears.names(1).await, [changed(of_other)]);
    office.served.end().await;
}

#[tokio::test]
async fn bodies_hold_ids_and_codes() {
    let office = Office::open().await;
    let app = &office.app;
    let admin = app.user("admin", Role::Admin).await;
    let mut listener = office.listens(&admin).await;
    let lead = app.lead(1, None).await;
    office.change(lead, "interested").await;
    assert_eq!(app.lead(1, None).await, lead);
    let heard = listener.take(3).await;
    let told: Vec<_> = heard.iter().map(|heard| (heard.name.as_str(), &heard.data)).collect();
    let id = json!({ "leadId": lead });
    let body = json!({ "leadId": lead, "from": "new", "to": "interested" });
    assert_eq!(told, [("lead.created", &id), ("lead.statusChanged", &body), ("lead.enquired", &id)]);
    office.served.end().await;
}
