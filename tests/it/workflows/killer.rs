//! Kills all workers after the commit of every step that they take of a workflow, and in the midst of one before each.

use std::time::Duration;

use sira_engine::Running;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};

use crate::house::House;

/// Whoever takes a step shares a lock until its commit: whoever holds that lock alone decides when steps are committed.
/// What ends a workflow from outside is no step.
const HOLD_STEPS: &str = "
    create function hold_steps() returns trigger language plpgsql as
        'begin perform pg_advisory_xact_lock_shared(1); return null; end';
    create trigger hold_steps after insert on engine.workflow_steps
        for each row when (new.decision not in ('cancelled', 'superseded')) execute function hold_steps();
    select pg_advisory_lock(1)";
/// Those that wait go on before who asks again, and who asks again waits for their commit.
const LET_STEPS_PASS: &str = "select pg_advisory_unlock(1), pg_advisory_lock(1)";
/// Of each step that waits for its commit.
const HELD: &str = "from pg_locks where locktype = 'advisory' and not granted
    and database = (select oid from pg_database where datname = current_database())";
const STEPS: &str =
    "select count(*) from engine.workflow_steps where decision not in ('cancelled', 'superseded')";

pub struct Killer<'a> {
    house: &'a House,
    holder: PgConnection,
    running: Option<Running>,
    /// Steps that were committed, after each of which nobody was left to go on.
    pub steps: i64,
}

impl<'a> Killer<'a> {
    /// With workers of its own.
    pub async fn new(house: &'a House) -> Self {
        let mut holder = PgConnection::connect(&house.db.url()).await.unwrap();
        holder.execute(HOLD_STEPS).await.unwrap();
        Self { house, holder, running: Some(house.work().await), steps: 0 }
    }

    /// Until it is dropped.
    pub async fn kill_at_every_step(&mut self) {
        loop {
            self.until_held().await;
            drop(self.running.take());
            // Their connections end with their process.
            self.count(&format!("select count(pg_terminate_backend(pid)) {HELD}")).await;
            self.start_again().await;
            self.until_held().await;
            assert_eq!(self.count(STEPS).await, self.steps, "no step was committed unseen");
            self.holder.execute(LET_STEPS_PASS).await.unwrap();
            drop(self.running.take());
            self.steps = self.count(STEPS).await;
            self.start_again().await;
        }
    }

    async fn until_held(&mut self) {
        while self.count(&format!("select count(*) {HELD}")).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Without waiting for the dead ones' lease to end.
    async fn start_again(&mut self) {
        self.holder.execute("update engine.sessions set until = now() - interval '1 ms'").await.unwrap();
        self.running = Some(self.house.work().await);
    }

    async fn count(&mut self, sql: &str) -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.holder).await.unwrap()
    }
}
