//! Claims of pages that the compiler cannot check: what each role may do, and how each figure is read.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sira_domain::identity::{Permission, Role};
use sira_domain::leads::{self, Scope, StatusChange};
use sira_domain::nouns::{TeamId, UserId};
use sira_kernel::Actor;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::house::{DRAIN, House};

const ROLES: &str = include_str!("../../docs/ROLES.md");
const METRICS: &str = include_str!("../../docs/METRICS.md");

/// The cells of the table under a heading, its own headings first.
fn table(page: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
    let (_, below) = page.split_once(&format!("## {heading}\n")).unwrap();
    let rows =
        below.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |row: &'static str| {
        row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    };
    rows.filter(|row| !row.starts_with("| ---")).map(cells).collect()
}

#[test]
fn the_page_of_roles_and_the_code_allow_the_same() {
    let table = table(ROLES, "Permissions that are enforced today");
    let roles: Vec<Role> = table[0][2..].iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(roles, Role::ALL);
    let told: Vec<&str> = table[1..].iter().map(|row| row[0]).collect();
    let known: Vec<&str> = Permission::ALL.into_iter().map(Permission::as_str).collect();
    assert_eq!(told, known, "each permission has its row, in the order of the code");
    for (permission, row) in Permission::ALL.into_iter().zip(&table[1..]) {
        for (role, cell) in roles.iter().zip(&row[2..]) {
            let told = match *cell {
                "yes" => true,
                "-" => false,
                other => panic!("{other:?} in the row of {}", row[0]),
            };
            assert_eq!(role.can(permission), told, "{role:?} {}", row[0]);
        }
        assert_eq!(row.len(), 2 + roles.len(), "{}", row[0]);
    }
}

#[test]
fn the_page_of_roles_and_the_code_show_the_same_leads() {
    let table = table(ROLES, "Scopes");
    assert_eq!(table.len(), 1 + Role::ALL.len());
    let (user, team) = (UserId::new(), TeamId::new());
    let told = |scope| match scope {
        Scope::All => "all leads",
        Scope::Team(_) => "leads of the team",
        Scope::Own(_) => "own leads",
    };
    for row in &table[1..] {
        let role: Role = row[0].parse().unwrap();
        assert_eq!(told(Scope::of(role, user, Some(team))), row[1], "{role:?} with a team");
        assert_eq!(told(Scope::of(role, user, None)), row[2], "{role:?} without one");
    }
}

#[test]
fn the_examples_of_alarms_and_of_a_dashboard_ask_for_metrics_that_are_counted() {
    const ALERTS: &str = include_str!("../../deploy/monitoring/alerts.yml");
    const DASHBOARD: &str = include_str!("../../deploy/monitoring/dashboard.json");
    let counted: Vec<&str> = table(METRICS, "What a process counts")[1..].iter().map(|row| row[0]).collect();
    let mut asked = 0;
    for page in [ALERTS, DASHBOARD] {
        for (at, _) in page.match_indices("sira_") {
            let end = page[at..].find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap();
            let name = &page[at..at + end];
            assert!(counted.contains(&name), "{name} is not in the table of docs/METRICS.md");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
    assert!(serde_json::from_str::<Value>(DASHBOARD).is_ok());
}

/// A statement of the page of metrics: the first that holds these words.
fn statement(words: &str) -> &'static str {
    let mut blocks = METRICS.split("```sql\n").skip(1).map(|block| block.split_once("```").unwrap().0);
    blocks.find(|sql| sql.contains(words)).unwrap()
}

/// What it answers for the two days around now, a row a line.
async fn answer(house: &House, words: &str) -> Value {
    let sql = statement(words);
    let (now, day) = (house.parts.cx.clock.now(), TimeDelta::days(1));
    let all = format!("select coalesce(jsonb_agg(line), '[]') from ({sql}) as line");
    let mut query = sqlx::query_scalar::<_, Value>(AssertSqlSafe(all));
    if sql.contains("$1") {
        query = query.bind(now - day).bind(now + day);
    }
    query.fetch_one(&house.db.pool).await.unwrap_or_else(|error| panic!("{error}: {sql}"))
}

/// A call of a lead that was asked for so many seconds after the lead came, with what became of it.
async fn called(house: &House, lead: Uuid, after_s: i32, answered: bool) {
    let sql = "with decision as (
            insert into contact_decisions (id, lead_id, user_id, channel, purpose, allowed, reason, decided_at)
            select gen_random_uuid(), id, owner_id, 'call', 'transactional', true, 'allowed', created_at
            from leads where id = $1 returning id
        )
        insert into calls (id, lead_id, user_id, decision_id, contact_id, provider, status, requested_at, expires_at,
            answered_at, ended_at)
        select gen_random_uuid(), lead.id, lead.owner_id, decision.id, contact.id, 'sandbox',
            case when $3 then 'completed' else 'no-answer' end, asked.at, asked.at,
            case when $3 then asked.at end, asked.at
        from leads lead
        cross join decision
        cross join lateral (select lead.created_at + $2 * interval '1 second' as at) asked
        join lead_contacts contact on contact.lead_id = lead.id and contact.kind = 'phone'
        where lead.id = $1
        limit 1";
    let done =
        sqlx::query(sql).bind(lead).bind(after_s).bind(answered).execute(&house.db.pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

async fn goes_through(house: &House, lead: Uuid, statuses: &[&str]) {
    for to in statuses {
        let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
        let reason = (*to == "lost").then_some("too_dear");
        let change = StatusChange { lead: lead.into(), expected_version: None, to, reason, role: None };
        leads::change_status(&mut uow, &change).await.unwrap();
        uow.commit().await.unwrap();
    }
}

#[tokio::test]
async fn the_figures_are_read_as_the_page_of_metrics_says() {
    let house = House::new().await;
    house.agent("agent", 10).await;
    let running = house.work().await;
    house.announce(&[house.lead(), house.lead(), house.lead()]).await;
    house.until(3, "select count(*) from leads where owner_id is not null").await;
    let leads: Vec<Uuid> =
        sqlx::query_scalar("select id from leads order by id").fetch_all(&house.db.pool).await.unwrap();
    called(&house, leads[0], 60, true).await;
    called(&house, leads[0], 600, false).await;
    called(&house, leads[1], 120, false).await;
    goes_through(&house, leads[0], &["interested", "qualified", "proposal", "sale"]).await;
    goes_through(&house, leads[1], &["no_answer", "lost"]).await;
    house.quiet().await;

    let response = answer(&house, "p90_s").await;
    assert_eq!((&response[0]["leads"], &response[0]["called"]), (&json!(3), &json!(2)));
    assert_eq!(response[0]["median_s"].as_f64(), Some(90.0), "the first call of each lead alone");
    let promises = answer(&house, "from sla_timers").await;
    let first = promises.as_array().unwrap().iter().find(|row| row["policy"] == "first_response");
    assert_eq!(first, Some(&json!({ "policy": "first_response", "kept": 2, "of_all": 2 })));
    let contacts = answer(&house, "as contacted").await;
    assert_eq!(contacts, json!([{ "leads": 3, "called": 2, "contacted": 1 }]));
    let funnel = answer(&house, "array_position").await;
    let stages = ["lead", "contacted", "qualified", "proposal", "sale"].into_iter().zip([3, 1, 1, 1, 1]);
    let stages: Vec<Value> = stages.map(|(stage, leads)| json!({ "stage": stage, "leads": leads })).collect();
    assert_eq!(funnel, Value::from(stages));
    let velocity = answer(&house, "median_days").await;
    assert_eq!(velocity[0]["sold"], 1);
    assert_eq!(answer(&house, "'none given'").await, json!([{ "reason": "too_dear", "leads": 1 }]));
    running.drain(DRAIN).await;
}

#[tokio::test]
async fn every_statement_of_the_page_of_metrics_runs_on_an_empty_database() {
    let house = House::new().await;
    let words = ["p90_s", "from sla_timers", "as contacted", "array_position", "median_days", "'none given'"];
    let of_operators = ["dead_jobs", "from provider_exchanges"];
    let all = METRICS.matches("```sql").count();
    assert_eq!(all, words.len() + of_operators.len(), "a new statement is tried here");
    for words in words.into_iter().chain(of_operators) {
        assert!(answer(&house, words).await.is_array());
    }
}
