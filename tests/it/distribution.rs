//! Claims about distribution.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, NaiveTime, TimeDelta, TimeZone, Utc};
use sira_domain::distribution::routing::{LeadFacts, Member, Snapshot, route};
use sira_domain::distribution::{self, Assigned, Block, DecisionTrace, DistributionError};
use sira_domain::nouns::{LeadId, PoolId, UserId};
use sira_domain::{Db, Event, Uow};
use sira_kernel::Actor;
use sira_testkit::TestDb;
use sqlx::postgres::PgPoolOptions;
use sqlx::{ConnectOptions, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::recorded::{capture, recorded};

struct World {
    test: TestDb,
    db: Db,
}

impl World {
    async fn new() -> Self {
        let test = TestDb::new().await;
        let db = open(test.pool.clone(), &test);
        Self { test, db }
    }

    async fn begin(&self) -> Uow {
        self.db.begin(Actor::System).await.unwrap()
    }

    /// A pool of new agents, one per weight, each with these limits.
    async fn pool(&self, name: &str, weights: &[i32], capacity: i32) -> (PoolId, Vec<UserId>) {
        let mut users = Vec::new();
        for number in 0..weights.len() {
            users.push(self.agent(&format!("{name}-{number}"), capacity).await);
        }
        let members: Vec<_> = users.iter().copied().zip(weights.iter().copied()).collect();
        (self.pool_of(name, &members).await, users)
    }

    async fn pool_of(&self, name: &str, members: &[(UserId, i32)]) -> PoolId {
        let mut uow = self.begin().await;
        let pool = distribution::create_pool(&mut uow, name, false).await.unwrap();
        for &(user, weight) in members {
            distribution::set_member(&mut uow, pool, user, weight).await.unwrap();
        }
        uow.commit().await.unwrap();
        pool
    }

    async fn agent(&self, username: &str, capacity: i32) -> UserId {
        let user = UserId::new();
        sqlx::query(
            "insert into users (id, username, display_name, role, password_hash, created_at, updated_at)
             values ($1, $2, $3, 'agent', 'none', now(), now())",
        )
        .bind(user.uuid())
        .bind(username)
        .bind(format!("Agent {username}"))
        .execute(&self.test.pool)
        .await
        .unwrap();
        let mut uow = self.begin().await;
        distribution::set_load_limits(&mut uow, user, capacity, 10_000).await.unwrap();
        uow.commit().await.unwrap();
        user
    }

    async fn assign(&self, pool: PoolId, batch_max: u16) -> Assigned {
        let mut uow = self.begin().await;
        let assigned = distribution::assign_waiting(&mut uow, pool, batch_max).await.unwrap();
        uow.commit().await.unwrap();
        assigned
    }

    async fn change_load(&self, user: UserId, delta: i32) -> Result<(), DistributionError> {
        let mut uow = self.begin().await;
        distribution::change_load(&mut uow, user, delta).await?;
        uow.commit().await.unwrap();
        Ok(())
    }

    /// Leads that wait in this pool, the first one longest.
    async fn leads(&self, pool: PoolId, count: usize) -> Vec<LeadId> {
        insert_leads(&self.test.pool, pool, count, self.test.clock.now(), false).await
    }

    async fn owner(&self, lead: LeadId) -> Option<UserId> {
        let owner: Option<Uuid> = sqlx::query_scalar("select owner_id from leads where id = $1")
            .bind(lead.uuid())
            .fetch_one(&self.test.pool)
            .await
            .unwrap();
        owner.map(UserId::from_uuid)
    }

    async fn explain(&self, lead: LeadId) -> Option<DecisionTrace> {
        let mut conn = self.db.read().await.unwrap();
        distribution::explain(&mut conn, lead).await.unwrap()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.test.pool).await.unwrap()
    }
}

/// The zone of users for whom no other is set; without daylight saving since 2016.
fn istanbul() -> FixedOffset {
    FixedOffset::east_opt(3 * 3600).unwrap()
}

fn open(pool: PgPool, test: &TestDb) -> Db {
    Db::new(pool, test.clock.clone(), capture, Arc::new(|_| {}))
}

async fn insert_leads(
    db: &PgPool,
    pool: PoolId,
    count: usize,
    now: DateTime<Utc>,
    is_test: bool,
) -> Vec<LeadId> {
    let leads: Vec<LeadId> = (0..count).map(|_| LeadId::new()).collect();
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.uuid()).collect();
    sqlx::query(
        "insert into leads (id, reference, channel, acquired_at, created_at, updated_at, status, status_since,
                            pool_id, is_test, waiting_since)
         select id, 'L-' || id, 'api', $1, $1, $1, 'new', $1, $2, $3,
                case when not $3 then $1 - interval '1 second' + place * interval '1 microsecond' end
         from unnest($4::uuid[]) with ordinality as lead (id, place)",
    )
    .bind(now)
    .bind(pool.uuid())
    .bind(is_test)
    .bind(ids)
    .execute(db)
    .await
    .unwrap();
    leads
}

/// What must hold whatever happened: each row counts something that must not be.
const VIOLATIONS: &str = "
    select 'over capacity' as what from agent_load where open_weight > capacity or day_count > day_capacity
    union all
    select 'loads and owned leads differ' from agent_load load where open_weight <> (
        select coalesce(sum(status.load_weight), 0) from leads lead join statuses status on status.code = lead.status
        where lead.owner_id = load.user_id)
    union all
    select 'neither owned nor waiting' from leads
        where not is_test and (owner_id is null) <> (waiting_since is not null)
    union all
    select 'owner without the current assignment' from leads lead where owner_id is not null and 1 <> (
        select count(*) from lead_assignments held
        where held.lead_id = lead.id and held.ended_at is null and held.user_id = lead.owner_id)
    union all
    select 'two current owners' from lead_assignments where ended_at is null group by lead_id having count(*) > 1
    union all
    select 'routed without a decision' from lead_assignments held where cause = 'routed' and not exists (
        select from routing_decisions decision where decision.lead_id = held.lead_id
            and decision.batch_id = held.batch_id and decision.chosen = held.user_id)";

async fn violations(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(VIOLATIONS).fetch_all(db).await.unwrap()
}

/// Closes one owned lead, as a change of status does. Lock order: lead, then load.
async fn close_one(db: &Db) {
    let mut uow = db.begin(Actor::System).await.unwrap();
    let closed: Option<(Uuid, Uuid)> = sqlx::query_as(
        "update leads set status = 'sale', version = version + 1 where id = (
            select id from leads where owner_id is not null and status = 'new'
            order by random() limit 1 for update skip locked)
         returning id, owner_id",
    )
    .fetch_optional(uow.conn())
    .await
    .unwrap();
    if let Some((_, owner)) = closed {
        distribution::change_load(&mut uow, UserId::from_uuid(owner), -1).await.unwrap();
    }
    uow.commit().await.unwrap();
}

/// Gives one waiting lead to this agent by hand, when there is room.
async fn give_by_hand(db: &Db, user: UserId) {
    let mut uow = db.begin(Actor::System).await.unwrap();
    let now = uow.now();
    let lead: Option<Uuid> = sqlx::query_scalar(
        "select id from leads where waiting_since is not null order by random() limit 1 for update skip locked",
    )
    .fetch_optional(uow.conn())
    .await
    .unwrap();
    let Some(lead) = lead else { return };
    match distribution::change_load(&mut uow, user, 1).await {
        Ok(()) => {}
        Err(DistributionError::AtCapacity) => return,
        Err(error) => panic!("{error}"),
    }
    sqlx::query("update leads set owner_id = $2, waiting_since = null where id = $1")
        .bind(lead)
        .bind(user.uuid())
        .execute(uow.conn())
        .await
        .unwrap();
    sqlx::query(
        "insert into lead_assignments (id, lead_id, user_id, cause, assigned_at) values ($1, $2, $3, 'manual', $4)",
    )
    .bind(LeadId::new().uuid())
    .bind(lead)
    .bind(user.uuid())
    .bind(now)
    .execute(uow.conn())
    .await
    .unwrap();
    uow.commit().await.unwrap();
}

// Eight workers with a connection pool each: to PostgreSQL they are what eight processes are.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_workers_never_overfill_an_agent_nor_give_a_lead_twice() {
    const WORKERS: usize = 8;
    const ROUNDS: usize = 40;
    let world = World::new().await;
    let mut agents = Vec::new();
    for number in 0..6 {
        agents.push(world.agent(&format!("agent-{number}"), 4 + number).await);
    }
    let mut pools = Vec::new();
    for (name, range) in [("north", 0..4), ("middle", 1..5), ("south", 2..6)] {
        let members: Vec<_> = range.map(|index| (agents[index], 1 + index as i32)).collect();
        pools.push(world.pool_of(name, &members).await);
    }
    for &pool in &pools {
        world.leads(pool, 40).await;
    }
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let own = PgPoolOptions::new().max_connections(2).connect_with(world.test.options()).await.unwrap();
        let db = open(own.clone(), &world.test);
        let (agents, pools, clock) = (agents.clone(), pools.clone(), world.test.clock.clone());
        workers.spawn(async move {
            for round in 0..ROUNDS {
                let pool = pools[(worker + round) % pools.len()];
                match (worker * 7 + round * 3) % 5 {
                    0 => close_one(&db).await,
                    1 => give_by_hand(&db, agents[(worker + round) % agents.len()]).await,
                    2 => drop(insert_leads(&own, pool, 2, clock.now(), false).await),
                    _ => {
                        let mut uow = db.begin(Actor::System).await.unwrap();
                        distribution::assign_waiting(&mut uow, pool, 10).await.unwrap();
                        uow.commit().await.unwrap();
                    }
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
        assert_eq!(violations(&world.test.pool).await, Vec::<String>::new());
    }
    for &pool in &pools {
        while world.assign(pool, 10).await.more {}
    }
    assert_eq!(violations(&world.test.pool).await, Vec::<String>::new());
    let routed = world.count("select count(*) from lead_assignments where cause = 'routed'").await;
    let closed = world.count("select count(*) from leads where status = 'sale'").await;
    assert!(routed > 20 && closed > 20, "{routed} routed, {closed} closed: little was tried");
    let stuck = world
        .count(
            "select count(*) from leads lead join pool_members member on member.pool_id = lead.pool_id
             join agent_load load on load.user_id = member.user_id
             where lead.waiting_since is not null and load.open_weight < load.capacity",
        )
        .await;
    assert_eq!(stuck, 0, "a lead waits only while every member of its pool is full");
}

#[tokio::test]
async fn leads_of_many_batches_go_where_the_pure_function_sends_them() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[50, 30, 20], 1000).await;
    let leads = world.leads(pool, 100).await;
    let member = |(&user, weight): (&UserId, i64)| Member {
        user,
        weight,
        round_weight: None,
        given: 0,
        lag_micro: 0,
        open_weight: 0,
        capacity: 1000,
        day_count: 0,
        day_capacity: 10_000,
        last_assigned_at: None,
        excluded: None,
    };
    let members = users.iter().zip([50, 30, 20]).map(member).collect();
    let mut mirror = Snapshot { turns: 0, round_weight: 0, members };
    for chunk in leads.chunks(7) {
        world.assign(pool, 7).await;
        let choices = route(&mut mirror, &vec![LeadFacts::from(1); chunk.len()], world.test.clock.now());
        for (&lead, choice) in chunk.iter().zip(choices) {
            assert_eq!(world.owner(lead).await, choice.chosen.map(|index| users[index]));
        }
    }
    let given: Vec<i64> = mirror.members.iter().map(|member| member.open_weight).collect();
    assert_eq!(given, [50, 30, 20]);
    assert_eq!(violations(&world.test.pool).await, Vec::<String>::new());
}

/// Counts the statements that are sent.
struct Statements(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn two_hundred_leads_take_as_many_statements_as_one() {
    use tracing_subscriber::layer::SubscriberExt;
    let world = World::new().await;
    let (pool, _) = world.pool("sales", &[3, 2, 1], 1000).await;
    let level = "info".parse().unwrap();
    let options =
        world.test.options().log_statements(level).log_slow_statements(level, Duration::from_mins(1));
    let db = open(PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap(), &world.test);
    let counter = Arc::new(AtomicUsize::new(0));
    let subscriber = tracing_subscriber::registry().with(Statements(counter.clone()));
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut counts = Vec::new();
    for size in [1, 200] {
        world.leads(pool, size).await;
        counter.store(0, Ordering::Relaxed);
        let mut uow = db.begin(Actor::System).await.unwrap();
        let assigned = distribution::assign_waiting(&mut uow, pool, 1000).await.unwrap();
        counts.push(counter.load(Ordering::Relaxed));
        uow.commit().await.unwrap();
        assert_eq!(assigned.assigned, size);
    }
    assert!(counts[0] >= 10, "statements are counted: {counts:?}");
    assert_eq!(counts[0], counts[1]);
    assert_eq!(violations(&world.test.pool).await, Vec::<String>::new());
}

#[tokio::test]
async fn freed_capacity_is_recorded_and_drains_the_queue_oldest_first() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[1], 2).await;
    let leads = world.leads(pool, 4).await;
    recorded();
    let first = world.assign(pool, 100).await;
    assert_eq!(first, Assigned { assigned: 2, left: 2, more: false, next_opening: None });
    let events = recorded();
    assert!(matches!(&events[0], Event::LeadsAssigned { assignments, .. }
        if *assignments == [(leads[0], users[0]), (leads[1], users[0])]));
    assert_eq!(events[1], Event::LeadsLeftWaiting { pool, waiting: 2, retry_at: None });

    assert!(matches!(world.change_load(users[0], 1).await, Err(DistributionError::AtCapacity)));
    assert!(recorded().is_empty());
    world.change_load(users[0], -1).await.unwrap();
    assert_eq!(recorded(), [Event::CapacityFreed { pools: vec![pool] }]);
    assert_eq!(world.assign(pool, 100).await.assigned, 1);
    assert_eq!(world.owner(leads[2]).await, Some(users[0]));
    assert_eq!(world.owner(leads[3]).await, None);

    world.change_load(users[0], -1).await.unwrap();
    world.assign(pool, 100).await;
    recorded();
    world.change_load(users[0], -1).await.unwrap();
    assert!(recorded().is_empty(), "nothing waits, so nothing is woken");
}

#[tokio::test]
async fn a_full_batch_asks_for_the_next_at_once() {
    let world = World::new().await;
    let (pool, _) = world.pool("sales", &[1, 1], 2).await;
    world.leads(pool, 5).await;
    recorded();
    let first = world.assign(pool, 2).await;
    assert!(first.more && first.assigned == 2);
    let Event::LeadsLeftWaiting { waiting: 0, retry_at: Some(at), .. } = recorded()[1] else {
        panic!("the next batch is on record")
    };
    assert!(at <= world.test.clock.now());
    let second = world.assign(pool, 2).await;
    assert_eq!((second.assigned, second.more), (2, false), "both are full: no batch is asked for in vain");
    assert_eq!(world.assign(pool, 2).await.left, 1);
}

#[tokio::test]
async fn with_nothing_waiting_nothing_is_written() {
    let world = World::new().await;
    let (pool, _) = world.pool("sales", &[1], 2).await;
    insert_leads(&world.test.pool, pool, 3, world.test.clock.now(), true).await;
    recorded();
    let assigned = world.assign(pool, 100).await;
    assert_eq!(assigned, Assigned { assigned: 0, left: 0, more: false, next_opening: None });
    assert!(recorded().is_empty());
    assert_eq!(world.count("select count(*) from routing_batches").await, 0);
    assert_eq!(world.count("select count(*) from leads where owner_id is not null").await, 0, "test leads");
}

#[tokio::test]
async fn a_lead_that_goes_on_waiting_is_on_record_once() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[1], 0).await;
    let leads = world.leads(pool, 3).await;
    for _ in 0..3 {
        assert_eq!(world.assign(pool, 100).await.left, 3);
    }
    assert_eq!(world.count("select count(*) from routing_decisions").await, 3);
    assert_eq!(world.count("select count(*) from routing_batches").await, 1);
    let trace = world.explain(leads[1]).await.unwrap();
    assert_eq!((trace.chosen, trace.reason.as_str()), (None, "nobody_eligible"));
    assert!(trace.candidates[0].excluded_text.is_some());

    let mut uow = world.begin().await;
    distribution::set_load_limits(&mut uow, users[0], 1, 10).await.unwrap();
    uow.commit().await.unwrap();
    world.leads(pool, 1).await;
    assert_eq!(world.assign(pool, 100).await.assigned, 1);
    assert_eq!(
        world.count("select count(*) from routing_decisions").await,
        5,
        "one given, one new that waits"
    );
    // The first lead's place counts leads that are not told of again.
    let trace = world.explain(leads[0]).await.unwrap();
    assert_eq!((trace.reason.as_str(), trace.reproduced), ("only_candidate", Some(true)));
}

#[tokio::test]
async fn a_shift_that_starts_later_is_the_next_opening_and_takes_the_leads_then() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[1], 5).await;
    let zone = istanbul();
    let date = world.test.clock.now().with_timezone(&zone).date_naive() + TimeDelta::days(2);
    let nine =
        zone.from_local_datetime(&date.and_time(NaiveTime::from_hms_opt(9, 0, 0).unwrap())).unwrap().to_utc();
    let weekday = date.weekday().number_from_monday() as u8;
    let mut uow = world.begin().await;
    distribution::set_hours(&mut uow, users[0], &[Block { weekday, starts_minute: 540, ends_minute: 600 }])
        .await
        .unwrap();
    // Away for the first half of the hour.
    let back = nine + TimeDelta::minutes(30);
    distribution::set_absence(&mut uow, users[0], nine - TimeDelta::hours(1), back).await.unwrap();
    uow.commit().await.unwrap();
    let leads = world.leads(pool, 1).await;
    recorded();
    assert_eq!(world.assign(pool, 100).await.next_opening, Some(back));
    assert_eq!(recorded(), [Event::LeadsLeftWaiting { pool, waiting: 1, retry_at: Some(back) }]);
    world.test.clock.advance(back - world.test.clock.now() - TimeDelta::minutes(1));
    assert_eq!(world.assign(pool, 100).await.assigned, 0);
    world.test.clock.advance(TimeDelta::minutes(1));
    assert_eq!(world.assign(pool, 100).await.assigned, 1);
    assert_eq!(world.owner(leads[0]).await, Some(users[0]));
}

#[tokio::test]
async fn a_full_day_opens_again_on_the_next_local_day() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[1], 50).await;
    let mut uow = world.begin().await;
    distribution::set_load_limits(&mut uow, users[0], 50, 1).await.unwrap();
    uow.commit().await.unwrap();
    world.leads(pool, 2).await;
    let zone = istanbul();
    let today = world.test.clock.now().with_timezone(&zone).date_naive();
    let midnight = (today + TimeDelta::days(1)).and_time(NaiveTime::MIN);
    let midnight = zone.from_local_datetime(&midnight).unwrap().to_utc();
    let first = world.assign(pool, 100).await;
    assert_eq!((first.assigned, first.left, first.next_opening), (1, 1, Some(midnight)));
    world.test.clock.advance(midnight - world.test.clock.now());
    assert_eq!(world.assign(pool, 100).await.assigned, 1);
    assert_eq!(world.count("select day_count::bigint from agent_load").await, 1);
}

#[tokio::test]
async fn every_decision_is_explained_by_a_replay() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[5, 3, 2], 4).await;
    let away = world.agent("away", 10).await;
    let now = world.test.clock.now();
    let mut uow = world.begin().await;
    distribution::set_member(&mut uow, pool, away, 9).await.unwrap();
    distribution::set_absence(&mut uow, away, now, now + TimeDelta::days(1)).await.unwrap();
    uow.commit().await.unwrap();
    let leads = world.leads(pool, 13).await;
    while world.assign(pool, 6).await.more {}
    world.assign(pool, 6).await;
    for (place, &lead) in leads.iter().enumerate() {
        let trace = world.explain(lead).await.expect("every lead that was looked at has a decision");
        assert_eq!(trace.reproduced, Some(true), "lead {place}");
        assert_eq!(trace.chosen.as_ref().map(|user| user.id), world.owner(lead).await);
        assert_eq!(trace.candidates.len(), 4);
        let out = trace.candidates.iter().find(|candidate| candidate.user.id == away).unwrap();
        assert_eq!(serde_json::to_value(out.excluded).unwrap(), "absent");
        if let Some(chosen) = &trace.chosen {
            let candidate = trace.candidates.iter().find(|one| one.user.id == chosen.id).unwrap();
            assert!(candidate.excluded.is_none() && candidate.open_weight < candidate.capacity);
        } else {
            assert_eq!(place, 12);
        }
    }
    let shown = serde_json::to_value(world.explain(leads[0]).await).unwrap();
    assert_eq!(shown["reason"], "share");
    assert_eq!(shown["candidates"][0]["user"]["name"], "Agent sales-0");
    assert_eq!(shown["candidates"][0]["user"]["id"], users[0].to_string());
    assert_eq!(shown["candidates"][0]["openWeight"], 0);
    assert!(world.explain(LeadId::new()).await.is_none());
}

#[tokio::test]
async fn who_joins_works_longer_or_may_carry_more_wakes_the_queue() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[1], 1).await;
    let other = world.agent("other", 1).await;
    world.leads(pool, 3).await;
    world.assign(pool, 100).await;
    let freed = |set| [set, Event::CapacityFreed { pools: vec![pool] }];
    recorded();

    let mut uow = world.begin().await;
    distribution::set_load_limits(&mut uow, users[0], 2, 10).await.unwrap();
    uow.commit().await.unwrap();
    assert_eq!(recorded(), freed(Event::LoadLimitsSet { user: users[0], capacity: 2, day_capacity: 10 }));
    let mut uow = world.begin().await;
    distribution::set_member(&mut uow, pool, other, 1).await.unwrap();
    uow.commit().await.unwrap();
    assert_eq!(recorded(), freed(Event::PoolMemberSet { pool, user: other, weight: 1 }));
    let mut uow = world.begin().await;
    distribution::set_hours(&mut uow, users[0], &[]).await.unwrap();
    uow.commit().await.unwrap();
    assert_eq!(recorded(), freed(Event::WorkingHoursSet { user: users[0], blocks: 0 }));

    let mut uow = world.begin().await;
    let refused = distribution::set_load_limits(&mut uow, users[0], 0, 10).await;
    assert!(matches!(refused, Err(DistributionError::BelowPresentLoad)));
    let refused = distribution::set_member(&mut uow, pool, other, 0).await;
    assert!(matches!(refused, Err(DistributionError::OutOfRange("weight"))));
    let block = |starts_minute, ends_minute| Block { weekday: 1, starts_minute, ends_minute };
    let refused = distribution::set_hours(&mut uow, other, &[block(540, 720), block(700, 800)]).await;
    assert!(matches!(refused, Err(DistributionError::OutOfRange("working hours"))));
    let refused = distribution::create_pool(&mut uow, "sales", false).await;
    assert!(matches!(refused, Err(DistributionError::PoolExists)));
}

#[tokio::test]
async fn setting_up_is_audited() {
    let world = World::new().await;
    let (pool, users) = world.pool("sales", &[3], 2).await;
    let user = users[0];
    let starts_at = world.test.clock.now();
    let ends_at = starts_at + TimeDelta::days(1);
    let mut uow = world.begin().await;
    let hours = Block { weekday: 1, starts_minute: 540, ends_minute: 600 };
    distribution::set_hours(&mut uow, user, &[hours]).await.unwrap();
    distribution::set_absence(&mut uow, user, starts_at, ends_at).await.unwrap();
    uow.commit().await.unwrap();
    let expected = [
        Event::LoadLimitsSet { user, capacity: 2, day_capacity: 10_000 },
        Event::PoolCreated { pool },
        Event::PoolMemberSet { pool, user, weight: 3 },
        Event::WorkingHoursSet { user, blocks: 1 },
        Event::AbsenceSet { user, starts_at, ends_at },
    ];
    assert_eq!(recorded(), expected);
    let audited: Vec<String> = sqlx::query_scalar("select action from audit_event order by id")
        .fetch_all(&world.test.pool)
        .await
        .unwrap();
    assert_eq!(
        audited,
        [
            "user.load_limits_set",
            "pool.created",
            "pool.member_set",
            "user.working_hours_set",
            "user.absence_set"
        ]
    );
}

#[tokio::test]
async fn there_is_one_default_pool_however_many_ask_for_it() {
    let world = World::new().await;
    let mut conn = world.db.read().await.unwrap();
    assert_eq!(distribution::find_default_pool(&mut conn).await.unwrap(), None);
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let db = world.db.clone();
        tasks.spawn(async move {
            let mut uow = db.begin(Actor::System).await.unwrap();
            let pool = distribution::ensure_default_pool(&mut uow).await.unwrap();
            uow.commit().await.unwrap();
            pool
        });
    }
    let pools = tasks.join_all().await;
    let pool = pools[0];
    assert_eq!(pools, [pool; 8]);
    assert_eq!(distribution::find_default_pool(&mut conn).await.unwrap(), Some(pool));
    assert_eq!(recorded(), [Event::PoolCreated { pool }]);

    sqlx::query("update pools set is_default = false").execute(&world.test.pool).await.unwrap();
    let mut uow = world.begin().await;
    let refused = distribution::ensure_default_pool(&mut uow).await;
    assert!(matches!(refused, Err(DistributionError::PoolExists)), "its name is taken");
}

#[tokio::test]
async fn a_new_lead_does_not_wait_for_a_running_batch() {
    let world = World::new().await;
    let (pool, _) = world.pool("sales", &[1], 10).await;
    world.leads(pool, 2).await;
    let mut uow = world.begin().await;
    distribution::assign_waiting(&mut uow, pool, 100).await.unwrap();
    // The batch holds its locks; a lead of the same pool comes in.
    let arrival = tokio::time::timeout(Duration::from_secs(5), world.leads(pool, 1)).await;
    assert!(arrival.is_ok(), "the insert waited for the batch");
    uow.commit().await.unwrap();
    assert_eq!(world.assign(pool, 100).await.assigned, 1);
}
