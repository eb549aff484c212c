//! What the tests of leads stand on: a database with a default pool, keys, and people who ask.

use std::sync::Arc;

use sira_domain::campaigns::{Origin, Source};
use sira_domain::consents::{self, ConsentBox};
use sira_domain::leads::{self, Arrival, Channel, LeadError, NewLead, RACES_MAX};
use sira_domain::nouns::{LeadId, PoolId, TeamId, UserId};
use sira_domain::privacy::{Cipher, LocalKeyFile};
use sira_domain::{Db, Uow};
use sira_kernel::{Actor, EmailAddress, PersonName, PhoneNumber};
use sira_testkit::TestDb;
use sqlx::AssertSqlSafe;

pub struct Office {
    pub test: TestDb,
    pub db: Db,
    pub cipher: Cipher,
    pub pool: PoolId,
}

impl Office {
    pub async fn open() -> Self {
        let test = TestDb::new().await;
        let db = Db::new(test.pool.clone(), test.clock.clone(), |_, _| Vec::new(), Arc::new(|_| {}));
        let cipher = Cipher::new(test.pool.clone(), Arc::new(LocalKeyFile::generate()));
        let pool = PoolId::new();
        sqlx::query(
            "insert into pools (id, name, is_default, created_at) values ($1, 'Everybody', true, now())",
        )
        .bind(pool.uuid())
        .execute(&test.pool)
        .await
        .unwrap();
        Self { test, db, cipher, pool }
    }

    pub async fn begin(&self) -> Uow {
        self.db.begin(Actor::System).await.unwrap()
    }

    /// A person with this number, an address, a name, and an answer.
    pub fn person(&self, number: u16) -> NewLead {
        NewLead {
            channel: Channel::Api,
            acquired_at: self.test.clock.now(),
            name: PersonName::parse("Zümrüt Demo"),
            phones: vec![phone(number)],
            emails: vec![email(&format!("person{number}"))],
            answers: vec![("best_day".to_owned(), vec!["Tuesday".to_owned()])],
            origin: Origin::default(),
            country: None,
            language: None,
            consents: Vec::new(),
            consent_source: "api",
            inbound: None,
            import: None,
            is_test: false,
        }
    }

    /// The same person through a campaign, with a ticked box.
    pub fn person_of_campaign(&self, number: u16, campaign: &str) -> NewLead {
        let source = |id: String| Some(Source { name: Some(format!("Named {id}")), external_id: id });
        let ticked = ConsentBox { key: "whatsapp_consent".to_owned(), ticked: true };
        NewLead {
            channel: Channel::Meta,
            origin: Origin {
                campaign: source(campaign.to_owned()),
                ad_set: source(format!("{campaign}-set")),
                ad: source(format!("{campaign}-ad")),
                form: source("form".to_owned()),
            },
            consents: consents::decide(Some("form"), &[ticked]),
            consent_source: "meta_form",
            ..self.person(number)
        }
    }

    /// Comes in as through any door: prepared again after a lost race.
    pub async fn arrive(&self, lead: &NewLead) -> Arrival {
        for _ in 0..RACES_MAX {
            let prepared = leads::prepare(&self.db, &self.cipher, lead).await.unwrap();
            let mut uow = self.begin().await;
            match leads::create_or_merge(&mut uow, lead, &prepared).await {
                Ok(arrival) => {
                    uow.commit().await.unwrap();
                    return arrival;
                }
                Err(LeadError::Raced) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("lost {RACES_MAX} races")
    }

    pub async fn agent(&self, name: &str, team: Option<TeamId>) -> UserId {
        let id = UserId::new();
        if let Some(team) = team {
            sqlx::query("insert into teams (id, name) values ($1, $2) on conflict do nothing")
                .bind(team.uuid())
                .bind(team.to_string())
                .execute(&self.test.pool)
                .await
                .unwrap();
        }
        sqlx::query(
            "insert into users (id, username, display_name, role, team_id, password_hash, created_at, updated_at)
             values ($1, $2, $2, 'agent', $3, '-', now(), now())",
        )
        .bind(id.uuid())
        .bind(name)
        .bind(team.map(TeamId::uuid))
        .execute(&self.test.pool)
        .await
        .unwrap();
        sqlx::query("insert into agent_load (user_id, capacity, day_capacity) values ($1, 2, 10)")
            .bind(id.uuid())
            .execute(&self.test.pool)
            .await
            .unwrap();
        sqlx::query("insert into pool_members (pool_id, user_id, weight) values ($1, $2, 100)")
            .bind(self.pool.uuid())
            .bind(id.uuid())
            .execute(&self.test.pool)
            .await
            .unwrap();
        id
    }

    /// Gives a lead to an agent, as distribution would.
    pub async fn give(&self, lead: LeadId, agent: UserId) {
        let statements = [
            "update leads set owner_id = $2, waiting_since = null, version = version + 1,
                 team_id = (select team_id from users where id = $2) where id = $1",
            "insert into lead_assignments (id, lead_id, user_id, cause, assigned_at)
             values (gen_random_uuid(), $1, $2, 'manual', now())",
            "update agent_load set open_weight = open_weight + 1 where user_id = $2 and $1::uuid is not null",
        ];
        for statement in statements {
            sqlx::query(statement)
                .bind(lead.uuid())
                .bind(agent.uuid())
                .execute(&self.test.pool)
                .await
                .unwrap();
        }
    }

    /// Sets a status behind the domain's back.
    pub async fn close(&self, lead: LeadId) {
        sqlx::query("update leads set status = 'lost', waiting_since = null where id = $1")
            .bind(lead.uuid())
            .execute(&self.test.pool)
            .await
            .unwrap();
    }

    pub async fn count(&self, from: &str) -> i64 {
        let sql = format!("select count(*) from {from}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.test.pool).await.unwrap()
    }

    /// The audited actions about a subject, oldest first.
    pub async fn audited(&self, subject: impl ToString) -> Vec<String> {
        sqlx::query_scalar("select action from audit_event where subject = $1 order by id")
            .bind(subject.to_string())
            .fetch_all(&self.test.pool)
            .await
            .unwrap()
    }

    /// Rows in which one of the marks is to be read in clear, as hex or in base64: table and mark.
    pub async fn spilt(&self, marks: &[String]) -> Vec<String> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', table_schema, table_name) from information_schema.tables
             where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
        )
        .fetch_all(&self.test.pool)
        .await
        .unwrap();
        let mut spilt = Vec::new();
        for table in tables {
            // Rows as text show bytea columns as hex.
            let sql = format!("select lower(found::text) from {table} as found");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.test.pool).await.unwrap();
            for row in rows {
                spilt.extend(
                    marks
                        .iter()
                        .filter(|mark| row.contains(&mark.to_lowercase()))
                        .map(|m| format!("{table}: {m}")),
                );
            }
        }
        spilt
    }
}

pub fn phone(number: u16) -> PhoneNumber {
    PhoneNumber::parse(&format!("+90555000{number:04}"), "TR").unwrap()
}

pub fn email(name: &str) -> EmailAddress {
    EmailAddress::parse(&format!("{name}@example.com")).unwrap()
}
