//! Live updates: what happened, told in one gapless sequence to whoever listens.
//!
//! An event is written in the transaction of what happened, without a number. Once that has committed, anybody gives
//! it the next one: [`sequence`]. A transaction that commits late gets a later number, so that whoever has heard up to
//! a number misses nothing by going on from there.
//!
//! **Invariant:** numbers are 1, 2, 3 and so on, each given once, without a hole, to committed events alone; those
//! kept are the newest without a hole, too.

mod store;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sira_engine::EngineError;
use sira_kernel::Actor;
use sqlx::PgConnection;
pub(crate) use store::insert;

use crate::leads::Scope;
use crate::nouns::{LeadId, TeamId, UserId};
use crate::uow::{Db, Uow};

/// Most events that are numbered, read or deleted by one statement.
pub const BATCH_MAX: u16 = 1000;
/// How long an event is kept.
pub const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
/// How long a ticket is good.
pub const TICKET_LIFETIME: TimeDelta = TimeDelta::minutes(1);
/// The name under which it is told that a call moved: `{ callId, status, .. }`.
pub const CALL_STATUS: &str = "callSession.status";
/// Bytes of a ticket: 256 random bits.
const TICKET_BYTES: usize = 32;
/// Most expired tickets that a new one clears away: more than one, so that the table shrinks, and few, so that nobody
/// waits long for it.
const CLEARED_MAX: i64 = 20;

/// What is to be told about one thing that happened. Ids, codes, states and numbers; never personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveEvent {
    /// `noun.verb`, as published: clients switch on it.
    pub name: &'static str,
    /// The lead that it is about; its owner and its team hear of it.
    pub lead: Option<LeadId>,
    /// Somebody else who must hear of it. When left out, who lost the lead in the same transaction does.
    pub user: Option<UserId>,
    /// A JSON object.
    pub body: Value,
}

impl LiveEvent {
    /// About a lead; `body` is an object, and gets the lead's id as `leadId`.
    pub fn of_lead(name: &'static str, lead: LeadId, mut body: Value) -> Self {
        body["leadId"] = json!(lead);
        Self { name, lead: Some(lead), user: None, body }
    }
}

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its place in the sequence, from 1.
    pub seq: i64,
    /// `noun.verb`.
    pub name: String,
    /// The lead's owner when it happened.
    pub owner: Option<UserId>,
    /// The lead's team when it happened.
    pub team: Option<TeamId>,
    /// Somebody else who must hear of it.
    pub user: Option<UserId>,
    /// A JSON object on one line.
    pub body: String,
}

impl Numbered {
    /// Whether this user, who sees leads of this scope, hears of it. What is about no lead is told to those alone who
    /// see everything, and to its `user`.
    pub fn is_for(&self, scope: Scope, user: UserId) -> bool {
        let in_scope = match scope {
            Scope::All => true,
            Scope::Team(team) => self.team == Some(team),
            Scope::Own(owner) => self.owner == Some(owner),
        };
        in_scope || self.user == Some(user)
    }
}

/// How far the sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The last number given; 0 before the first.
    pub last: i64,
    /// Whether a committed event has no number yet.
    pub unnumbered: bool,
}

/// How far the sequence is.
pub async fn state(conn: &mut PgConnection) -> Result<State, sqlx::Error> {
    store::state(conn).await
}

/// Gives the next numbers to at most [`BATCH_MAX`] committed events that have none, in the order of their writing,
/// and returns those once that is committed, in the order of their numbers. None when there is nothing to number.
///
/// Any number of processes may run it at the same time: they wait for each other, and each number is returned to one
/// of them. A run that fails has given no number.
pub async fn sequence(db: &Db) -> Result<Vec<Numbered>, EngineError> {
    let mut uow = db.begin(Actor::System).await?;
    let last = store::lock_sequence(uow.conn()).await?;
    // A statement of its own: it sees what whoever held the lock before has committed.
    let mut numbered = store::number(uow.conn(), last, BATCH_MAX).await?;
    if !numbered.is_empty() {
        uow.commit().await?;
    }
    numbered.sort_unstable_by_key(|event| event.seq);
    Ok(numbered)
}

/// At most `limit` (and [`BATCH_MAX`]) events after this number, in the order of their numbers. The first one has
/// another number than `seq + 1` when older ones are kept no longer.
pub async fn read_after(conn: &mut PgConnection, seq: i64, limit: u16) -> Result<Vec<Numbered>, sqlx::Error> {
    store::read_after(conn, seq, limit.min(BATCH_MAX)).await
}

/// The lowest number that is kept; when none is, the one that will be given next.
pub async fn oldest_kept(conn: &mut PgConnection) -> Result<i64, sqlx::Error> {
    store::oldest_kept(conn).await
}

/// Deletes at most `limit` (and [`BATCH_MAX`]) events from before this time and says how many those were. The lowest
/// numbers go first, and none goes before a lower one: those kept have no hole.
pub async fn delete_older(
    conn: &mut PgConnection,
    before: DateTime<Utc>,
    limit: u16,
) -> Result<u64, sqlx::Error> {
    store::delete_older(conn, before, limit.min(BATCH_MAX)).await
}

/// A new ticket of this user: 43 characters that go unescaped into an address. It is good for [`TICKET_LIFETIME`] and
/// for one use; its hash alone is stored. Clears a few expired ones away.
pub async fn create_ticket(uow: &mut Uow, user: UserId) -> Result<String, sqlx::Error> {
    let mut ticket = [0; TICKET_BYTES];
    aws_lc_rs::rand::fill(&mut ticket).expect("the system's random generator does not fail once seeded");
    let now = uow.now();
    store::insert_ticket(uow.conn(), &hash(&ticket), user, now + TICKET_LIFETIME).await?;
    store::delete_expired_tickets(uow.conn(), now, CLEARED_MAX).await?;
    Ok(URL_SAFE_NO_PAD.encode(ticket))
}

/// Uses a ticket up and says whose it was; `None` when it is no ticket, was used, or has expired. Of several who bring
/// the same one at the same moment, one gets it.
pub async fn redeem_ticket(
    conn: &mut PgConnection,
    text: &str,
    now: DateTime<Utc>,
) -> Result<Option<UserId>, sqlx::Error> {
    let Some(ticket) = parse_ticket(text) else { return Ok(None) };
    store::take_ticket(conn, &hash(&ticket), now).await
}

fn parse_ticket(text: &str) -> Option<[u8; TICKET_BYTES]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Plain: 256 random bits cannot be guessed back.
fn hash(ticket: &[u8; TICKET_BYTES]) -> Vec<u8> {
    digest(&SHA256, ticket).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::nouns::{PoolId, RoutingBatchId};

    #[test]
    fn each_event_is_told_as_the_table_says() {
        let (lead, twin, pool) = (LeadId::new(), LeadId::new(), PoolId::new());
        let (user, other) = (UserId::new(), UserId::new());
        let since = DateTime::from_timestamp(1_800_000_000, 0).expect("a valid time");
        let assigned = Event::LeadsAssigned {
            batch: RoutingBatchId::new(),
            pool,
            assignments: vec![(lead, user), (twin, other)],
        };
        let table = [
            (Event::LeadCreated { lead, pool }, vec![("lead.created", lead, json!({}))]),
            (Event::LeadEnquired { lead }, vec![("lead.enquired", lead, json!({}))]),
            (Event::LeadReopened { lead, pool }, vec![("lead.reopened", lead, json!({}))]),
            (
                assigned,
                vec![
                    ("lead.assigned", lead, json!({ "owner": user })),
                    ("lead.assigned", twin, json!({ "owner": other })),
                ],
            ),
            (
                Event::LeadStatusChanged { lead, from: "new".into(), to: "lost".into() },
                vec![("lead.statusChanged", lead, json!({ "from": "new", "to": "lost" }))],
            ),
            (
                Event::LeadWaitsTooLong { lead, since },
                vec![("lead.waitsTooLong", lead, json!({ "since": since }))],
            ),
            (Event::TestLeadKept { lead }, vec![]),
            (Event::CapacityFreed { pools: vec![pool] }, vec![]),
            (Event::SignedIn { user }, vec![]),
        ];
        for (event, expected) in table {
            let told = event.live();
            assert_eq!(told.len(), expected.len(), "{event:?}");
            for (told, (name, lead, mut body)) in told.into_iter().zip(expected) {
                body["leadId"] = json!(lead);
                assert_eq!(told, LiveEvent { name, lead: Some(lead), user: None, body });
            }
        }
    }

    #[test]
    fn an_event_is_for_its_owner_its_team_and_whom_it_names() {
        let (owner, other, former) = (UserId::new(), UserId::new(), UserId::new());
        let (team, elsewhere) = (TeamId::new(), TeamId::new());
        let event = Numbered {
            seq: 1,
            name: "lead.assigned".to_owned(),
            owner: Some(owner),
            team: Some(team),
            user: Some(former),
            body: "{}".to_owned(),
        };
        for (scope, user, expected) in [
            (Scope::All, other, true),
            (Scope::Team(team), other, true),
            (Scope::Team(elsewhere), other, false),
            (Scope::Team(elsewhere), owner, false),
            (Scope::Team(elsewhere), former, true),
            (Scope::Own(owner), owner, true),
            (Scope::Own(other), other, false),
            (Scope::Own(former), former, true),
        ] {
            assert_eq!(event.is_for(scope, user), expected, "{scope:?}");
        }
        let nobodys = Numbered { owner: None, team: None, user: None, ..event };
        assert!(nobodys.is_for(Scope::All, other));
        assert!(!nobodys.is_for(Scope::Team(team), other) && !nobodys.is_for(Scope::Own(owner), owner));
    }

    #[test]
    fn only_what_was_made_here_reads_as_a_ticket() {
        let good = URL_SAFE_NO_PAD.encode([7; TICKET_BYTES]);
        assert_eq!(parse_ticket(&good), Some([7; TICKET_BYTES]));
        for bad in ["", "junk", &good[1..], &format!("{good}A"), &format!("{good}="), &"A".repeat(100_000)] {
            assert_eq!(parse_ticket(bad), None);
        }
    }
}
