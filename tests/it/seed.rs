//! Claims about synthetic datasets: what the product makes of one is what its truth says, owners and all.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Datelike, Days, TimeDelta, Utc};
use sira::cli::up::{Progress, Up};
use sira::seed::{Plan, floor, live, work};
use sira_domain::identity::Passwords;
use sira_domain::leads::{self, StatusChange};
use sira_domain::nouns::LeadId;
use sira_jobs::queues;
use sira_kernel::Actor;
use sira_sandbox::LeadWish;
use sira_synthetic::{
    Agent, CsvStyle, Dataset, Given, HEADER_TURKISH, Lead, Share, TURKISH_OFFSET_HOURS, Verdict,
};
use uuid::Uuid;

use crate::house::{DRAIN, House, Ran};
use crate::imports::{Imported, fates};

const BUSY: &str = "select count(*) from engine.jobs
    where state in ('ready', 'running') and queue in ('intake', 'distribution')";
const OWNED: &str = "select count(*) from leads where owner_id is not null";
const STEPS: &str = "select count(*) from lead_status_history";
const STEPS_TWICE: &str = "select count(*) from (select from lead_status_history group by lead_id, to_status
    having count(*) > 1) twice";
const SETTLED: &str = "select count(*) from inbound_events where state <> 'pending'";
/// The walk through time may be late by so much, and no more: it takes time itself.
const LATE_MAX: TimeDelta = TimeDelta::seconds(30);

/// A house with the staff of a dataset whose first day is the next Monday: the hours of every run are the same.
async fn staffed(seed: u64, leads: usize, days: u32) -> (House, Dataset) {
    let house = House::new().await;
    let today = (house.parts.cx.clock.now() + TimeDelta::hours(TURKISH_OFFSET_HOURS)).date_naive();
    let from = today + Days::new(u64::from(7 - today.weekday().num_days_from_monday()));
    let plan = Plan { seed, leads, days, from };
    let dataset = plan.dataset().unwrap();
    open(&house, &plan, &dataset).await;
    (house, dataset)
}

async fn open(house: &House, plan: &Plan, dataset: &Dataset) {
    let db = &house.parts.cx.db;
    floor::open(db, &Passwords::new(), &house.config.data.dir, plan, dataset).await.unwrap();
    let found = floor::find(&mut db.read().await.unwrap()).await.unwrap();
    assert_eq!(found.map(|(_, plan)| plan), Some(*plan));
}

/// Moves the time there, unless it is past already; never by more than the walk itself took.
fn go_to(house: &House, at: DateTime<Utc>) {
    let ahead = at - house.parts.cx.clock.now();
    assert!(ahead > -LATE_MAX, "the walk is late by {}", -ahead);
    if ahead > TimeDelta::zero() {
        house.advance(ahead);
    }
}

/// What the walk comes by, in order: hours at which leads that wait are given, and leads.
fn moments(dataset: &Dataset) -> BTreeMap<DateTime<Utc>, Vec<Lead>> {
    let owners = dataset.owners();
    let mut moments: BTreeMap<DateTime<Utc>, Vec<Lead>> = BTreeMap::new();
    for lead in dataset.rows() {
        if let Some(Given { at, .. }) = owners.of_row(lead.row.row) {
            moments.entry(at).or_default();
        }
        moments.entry(lead.row.acquired_at).or_default().push(lead);
    }
    moments
}

/// What became of an announced lead: its id at Meta, its id, its owner, since when.
type Announced = (String, Option<Uuid>, Option<String>, Option<DateTime<Utc>>);

/// Of each row: the id by which Meta announced it.
async fn play(house: &House, dataset: &Dataset) -> HashMap<u64, String> {
    let owners = dataset.owners();
    let creating: BTreeSet<u64> =
        dataset.rows().filter(|lead| lead.truth.verdict.creates()).map(|lead| lead.row.row).collect();
    let (mut ids, mut settled) = (HashMap::new(), 0);
    for (at, arriving) in moments(dataset) {
        go_to(house, at);
        for Lead { row, truth } in &arriving {
            let wish = LeadWish { created_at: Some(row.acquired_at), ..live::wish(row, truth) };
            let lead = house.sandbox.new_lead(wish);
            house.announce(std::slice::from_ref(&lead)).await;
            ids.insert(row.row, lead.id);
            settled += 1;
            house.until(settled, SETTLED).await;
            house.until(0, BUSY).await;
        }
        let given = creating.iter().filter(|row| owners.of_row(**row).is_some_and(|given| given.at <= at));
        house.until(given.count() as i64, OWNED).await;
        house.until(0, BUSY).await;
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn leads_that_come_live_are_owned_by_whom_the_truth_names_since_when_it_says() {
    // A seed with which every part of the rule decides something: without any of them others would be owners.
    let (house, dataset) = staffed(230, 260, 6).await;
    // No workflows: promises that nobody keeps would take leads from their owners in the days that pass.
    let running = house.work_on(&[queues::INTAKE, queues::DISTRIBUTION]).await;
    let ids = play(&house, &dataset).await;
    let rows: Vec<Announced> = sqlx::query_as(
        "select inbound.external_id, inbound.lead_id, owner.username, assignment.assigned_at
         from inbound_events inbound
         left join leads lead on lead.id = inbound.lead_id
         left join users owner on owner.id = lead.owner_id
         left join lead_assignments assignment on assignment.lead_id = lead.id",
    )
    .fetch_all(&house.db.pool)
    .await
    .unwrap();
    let by_id: HashMap<&str, _> = rows.iter().map(|row| (row.0.as_str(), (row.1, &row.2, row.3))).collect();
    assert_eq!((rows.len(), by_id.len()), (260, 260), "each row once, and each lead given once");
    let (owners, agents) = (dataset.owners(), dataset.staff().agents().collect::<Vec<_>>());
    let mut waited = 0;
    for Lead { row, truth } in dataset.rows() {
        let (lead, owner, assigned_at) = by_id[ids[&row.row].as_str()];
        let expected = owners.of_row(row.row);
        let name = expected.map(|given| agents[given.agent].username.as_str());
        assert_eq!(owner.as_deref(), name, "row {}", row.row);
        match truth.verdict {
            Verdict::Joined { into } => assert_eq!(lead, by_id[ids[&into].as_str()].0, "row {}", row.row),
            Verdict::Bad { .. } => assert_eq!(lead, None, "row {}", row.row),
            Verdict::Created | Verdict::Doubtful { .. } => assert!(lead.is_some(), "row {}", row.row),
        }
        if let (Some(given), Some(assigned_at)) = (expected, assigned_at) {
            let late = assigned_at - given.at;
            assert!(late >= TimeDelta::zero() && late <= LATE_MAX, "row {}: {late}", row.row);
            assert!(agents[given.agent].is_at_work(assigned_at), "row {}", row.row);
            waited += usize::from(truth.verdict.creates() && given.at > row.acquired_at);
        }
    }
    assert!(waited > 5, "some wait for a shift: {waited}");
    let full = "select count(*) from agent_load where open_weight = capacity";
    assert!(house.count(full).await > 0, "somebody is full");
    running.drain(DRAIN).await;
}

/// A lead as it was given: its pool and agent, in the order in which leads were given.
async fn list_given(house: &House) -> Vec<(String, String, DateTime<Utc>)> {
    sqlx::query_as(
        "select pool.name, owner.username, batch.decided_at
         from routing_decisions decision
         join routing_batches batch on batch.id = decision.batch_id
         join pools pool on pool.id = batch.pool_id
         join users owner on owner.id = decision.chosen
         order by batch.id, decision.position",
    )
    .fetch_all(&house.db.pool)
    .await
    .unwrap()
}

/// Everybody of this pool is strictly within one lead of the fair share, at every moment of every stretch in which the
/// same agents can take leads. All of it is on one day.
fn check_shares(code: &'static str, agents: &[Agent], given: &[(String, DateTime<Utc>)]) {
    let mut taken: HashMap<&str, u32> = HashMap::new();
    let (mut stretch, mut of_stretch): (Vec<&Agent>, HashMap<&str, u64>) = Default::default();
    for (username, at) in given {
        let can = |agent: &&Agent| {
            let open = taken.get(agent.username.as_str()).copied().unwrap_or(0);
            agent.is_at_work(*at) && open < agent.capacity.min(agent.day_capacity)
        };
        let takers: Vec<&Agent> = agents.iter().filter(can).collect();
        assert!(takers.iter().any(|agent| agent.username == *username), "{username} could take a lead");
        if takers != stretch {
            (stretch, of_stretch) = (takers, HashMap::new());
        }
        *taken.entry(username).or_default() += 1;
        *of_stretch.entry(username).or_default() += 1;
        let pool_weight = stretch.iter().map(|agent| agent.weight).sum();
        let pool_leads = of_stretch.values().sum();
        for Agent { username, weight, .. } in &stretch {
            let got = of_stretch.get(username.as_str()).copied().unwrap_or(0);
            let share =
                Share { username: username.clone(), pool: code, weight: *weight, pool_weight, pool_leads };
            assert!(share.is_kept_by(got), "{username}: {got} of {pool_leads}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filled_database_has_the_pools_the_shares_and_the_statuses_that_the_truth_names() {
    let house = House::new().await;
    let now = house.parts.cx.clock.now();
    let today = (now + TimeDelta::hours(TURKISH_OFFSET_HOURS)).date_naive();
    // Four weeks that end before a Tuesday of next week, and it is eleven o'clock.
    let tuesday = today + Days::new(u64::from(8 - today.weekday().num_days_from_monday()));
    let plan = Plan { seed: 4, leads: 1_500, days: 28, from: tuesday - Days::new(28) };
    let dataset = plan.dataset().unwrap();
    open(&house, &plan, &dataset).await;
    house.advance(dataset.options().start + TimeDelta::days(28) + TimeDelta::hours(11) - now);
    let running = house.work().await;
    let mut file = Vec::new();
    dataset.write_csv(&mut file, CsvStyle::default()).unwrap();
    let import = Imported::new(&house).await.run(&file).await;
    house.until(0, BUSY).await;

    let tally = dataset.tally();
    let leads = house.count("select count(*) from leads").await;
    let enquiries = house.count("select count(*) from lead_enquiries").await;
    assert_eq!((leads, enquiries), (tally.leads() as i64, (tally.leads() + tally.joined) as i64));
    let given = list_given(&house).await;
    for pool in &dataset.staff().pools {
        // The pool that takes what no campaign sends elsewhere was there before.
        let name = if pool.languages.is_empty() { "all" } else { pool.name };
        let of_pool: Vec<_> = given.iter().filter(|lead| lead.0 == name).cloned().collect();
        assert!(!of_pool.is_empty() && of_pool.len() as u64 <= tally.leads_by_pool[pool.code]);
        let of_pool: Vec<_> = of_pool.into_iter().map(|(_, username, at)| (username, at)).collect();
        check_shares(pool.code, &pool.agents, &of_pool);
    }

    for _ in 0..20 {
        house.until(0, BUSY).await;
        if work::go_over(&house.parts.cx, &dataset, |_| {}).await.unwrap() == 0 {
            break;
        }
    }
    house.quiet().await;
    check_statuses(&house, &dataset, &fates(&house, &import, HEADER_TURKISH[0]).await).await;
    let books = "select count(*) from agent_load load where open_weight <> (
        select count(*) from leads lead join statuses status on status.code = lead.status
        where lead.owner_id = load.user_id and not status.terminal)";
    assert_eq!(house.count(books).await, 0, "loads are what is owned and open");
    running.drain(DRAIN).await;
}

/// Every lead that anybody had is in the status of its truth, and every other one is new.
async fn check_statuses(house: &House, dataset: &Dataset, fates: &HashMap<u64, (LeadId, String)>) {
    let rows: Vec<(Uuid, String, Option<Uuid>, i64)> = sqlx::query_as(
        "select lead.id, lead.status, lead.owner_id,
             (select count(*) from lead_assignments assignment where assignment.lead_id = lead.id)
         from leads lead",
    )
    .fetch_all(&house.db.pool)
    .await
    .unwrap();
    let by_lead: HashMap<Uuid, _> = rows.iter().map(|row| (row.0, (row.1.as_str(), row.2, row.3))).collect();
    let mut statuses = BTreeSet::new();
    for Lead { row, truth } in dataset.rows().filter(|lead| lead.truth.person.is_some()) {
        let (status, owner, given) = by_lead[&fates[&row.row].0.uuid()];
        let wanted = truth.status.unwrap();
        assert_eq!(status, if given == 0 { "new" } else { wanted }, "row {}", row.row);
        let taken = given == 0 || ["wrong_number", "blocked"].contains(&status);
        assert_eq!(owner.is_none(), taken, "row {}: {status}", row.row);
        statuses.insert(status.to_owned());
    }
    assert_eq!(statuses.len(), 10, "of every status some");
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_twice_changes_nothing_and_another_dataset_or_real_leads_are_refused() {
    let house = House::new().await;
    let asked = ["seed", "--demo", "--leads", "300", "--seed", "5"];
    let Ran { code, out: told, .. } = house.sira(&asked);
    assert_eq!(code, Some(0), "{told}");
    let dataset =
        Plan { seed: 5, leads: 300, days: 30, from: "2026-01-05".parse().unwrap() }.dataset().unwrap();
    let tally = dataset.tally();
    let counts = async || {
        let sql = ["leads", "lead_enquiries", "import_rows", "users", "imports", "pools"];
        let mut counts = Vec::new();
        for table in sql {
            let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
            counts.push(sqlx::query_scalar::<_, i64>(sql).fetch_one(&house.db.pool).await.unwrap());
        }
        counts
    };
    let first = counts().await;
    let expected = [tally.leads(), tally.leads() + tally.joined, tally.bad];
    assert_eq!(first[..3], expected.map(|count| count as i64));
    assert_eq!(first[4], 1);
    assert!(house.count(STEPS).await > first[0], "leads were worked on");
    let agents = dataset.staff().agents().count() as i64;
    assert_eq!(first[3], agents + 1, "the staff, and who stands for it");
    for agent in dataset.staff().agents() {
        let home = house.config.data.dir.join("secrets").join("synthetic_passwords");
        assert!(std::fs::read_to_string(home).unwrap().contains(&format!("{} ", agent.username)));
    }
    assert!(house.config.data.dir.join("synthetic").join("truth.csv").exists());
    assert_eq!(house.sira(&asked).code, Some(0));
    assert_eq!(house.sira(&["seed", "--demo"]).code, Some(0), "whichever is there");
    assert_eq!(counts().await, first, "the same again changes nothing");
    assert_eq!(house.count(STEPS_TWICE).await, 0, "no step was taken twice");
    assert_eq!(house.sira(&["seed", "--demo", "--leads", "300", "--seed", "6"]).code, Some(1), "another one");
    // A lead of a form that is none of ours.
    sqlx::query("update lead_forms set external_id = '1029384756' where external_id = '555010403'")
        .execute(&house.db.pool)
        .await
        .unwrap();
    assert_eq!(house.sira(&asked).code, Some(1), "real leads");
    let told = [&asked[..], &["--among-real-leads"]].concat();
    assert_eq!(house.sira(&told).code, Some(0), "unless told");
    assert_eq!(counts().await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_that_somebody_led_elsewhere_is_left_alone() {
    let (house, dataset) = staffed(2, 60, 2).await;
    house.advance(
        dataset.options().start + TimeDelta::days(8) + TimeDelta::hours(11) - house.parts.cx.clock.now(),
    );
    let running = house.work().await;
    let mut file = Vec::new();
    dataset.write_csv(&mut file, CsvStyle::default()).unwrap();
    let import = Imported::new(&house).await.run(&file).await;
    let fates = fates(&house, &import, HEADER_TURKISH[0]).await;
    let called = dataset.rows().find(|lead| lead.truth.status == Some("no_answer")).unwrap();
    let lead = fates[&called.row.row].0;
    let mut uow = house.parts.cx.begin(Actor::System).await.unwrap();
    let change = StatusChange { lead, expected_version: None, to: "interested", reason: None, role: None };
    leads::change_status(&mut uow, &change).await.unwrap();
    uow.commit().await.unwrap();
    work::go_over(&house.parts.cx, &dataset, |_| {}).await.unwrap();
    let status: String = sqlx::query_scalar("select status from leads where id = $1")
        .bind(lead.uuid())
        .fetch_one(&house.db.pool)
        .await
        .unwrap();
    assert_eq!(status, "interested");
    running.drain(DRAIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let house = House::new().await;
    let write = |name: &str, seed: &str| {
        let path = |what: &str| house.config.data.dir.join(format!("{name}-{what}.csv"));
        let (leads, truth, staff) = (path("leads"), path("truth"), path("staff"));
        let [l, t, s] = [&leads, &truth, &staff].map(|path| path.to_str().unwrap());
        let Ran { code, .. } = house.sira(&[
            "seed", "--csv", l, "--truth", t, "--staff", s, "--leads", "2000", "--seed", seed, "--days", "9",
        ]);
        assert_eq!(code, Some(0));
        [leads, truth, staff].map(|path| std::fs::read(path).unwrap())
    };
    let (one, twin, other) = (write("one", "7"), write("twin", "7"), write("other", "8"));
    assert!(one == twin);
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    assert_eq!(house.count("select count(*) from leads").await, 0, "no database is asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_is_played_live_through_the_webhook_of_a_running_system() {
    let house = House::new().await;
    assert_eq!(house.sira(&["seed", "--demo", "--rate", "5"]).code, Some(1), "nobody plays Meta yet");
    let mut config = house.config.clone();
    config.sandbox.enabled = true;
    config.http.listen.set_port(0);
    let up = Up::start(config, &mut Progress::begin()).await.unwrap();
    let Ran { code, out: told, .. } =
        house.sira(&["seed", "--demo", "--rate", "20", "--for", "3", "--seed", "3"]);
    assert_eq!(code, Some(0));
    assert!(told.contains("announced 60  failed 0"), "{told}");
    let today = Plan { seed: 3, leads: 60, days: 1, from: "2026-01-05".parse().unwrap() };
    let tally = today.dataset().unwrap().tally();
    let settled = "select count(*) from inbound_events where state = 'settled'";
    house.until((tally.leads() + tally.joined) as i64, settled).await;
    let quarantined = "select count(*) from inbound_events where state = 'quarantined'";
    house.until(tally.bad as i64, quarantined).await;
    assert_eq!(house.count("select count(*) from leads where channel = 'meta'").await, tally.leads() as i64);
    up.finish().await.unwrap();
    assert_eq!(house.sira(&["seed", "--demo", "--rate", "5"]).code, Some(1), "nor any more");
}
