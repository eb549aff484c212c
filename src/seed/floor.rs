//! The staff of a dataset: its agents with their shifts, absences and limits, its pools, and the campaigns that send
//! their leads there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sira_domain::campaigns::{self, Source};
use sira_domain::distribution::{self, Block};
use sira_domain::identity::{self, HashedPassword, NewUser, Passwords, Role};
use sira_domain::leads::Channel;
use sira_domain::nouns::{PoolId, TeamId, UserId};
use sira_domain::{Db, Uow};
use sira_kernel::Actor;
use sira_synthetic::{Agent, DEFAULT_POOL, Dataset, Pool, Shift};
use sqlx::PgConnection;

use super::{MARKER, Plan};
use crate::secrets;

/// The line of every synthetic agent at the sandbox: nobody's phone rings.
const EXTENSION: &str = "102";
/// The doors by which the dataset's campaigns come in: the file, and the sandbox that plays Meta.
const DOORS: [Channel; 2] = [Channel::Csv, Channel::Meta];

/// Where the generated passwords of the staff lie.
pub fn passwords_file(data: &Path) -> PathBuf {
    data.join("secrets").join("synthetic_passwords")
}

/// The dataset that this database holds, and the user who stands for it.
///
/// # Errors
/// When somebody else has the marker's username, or the database is not there.
pub async fn find(conn: &mut PgConnection) -> anyhow::Result<Option<(UserId, Plan)>> {
    let Some(user) = identity::find_user_by_username(conn, MARKER).await? else { return Ok(None) };
    let plan = user.display_name.parse().ok().with_context(|| {
        format!("a user called {MARKER} is there, who does not stand for a synthetic dataset: rename them")
    })?;
    Ok(Some((user.id, plan)))
}

/// Makes the staff in one unit of work, all of it or nothing, and answers the marker. The agents of the dataset's
/// default pool join the database's own.
///
/// # Errors
/// When a pool or user of one of the names is there.
pub async fn open(
    db: &Db,
    passwords: &Passwords,
    data: &Path,
    plan: &Plan,
    dataset: &Dataset,
) -> anyhow::Result<UserId> {
    let (mut hashed, lines) = hash_passwords(passwords, dataset).await?;
    let mut take = |username: &str| hashed.remove(username).context("a password was made for everybody");
    let mut uow = db.begin(Actor::System).await?;
    let team = identity::ensure_team(&mut uow, "Synthetic").await?;
    let marker = new_user(MARKER, plan.to_string(), Role::Manager, team, take(MARKER)?);
    let marker = identity::create_user(&mut uow, marker).await?.id;
    for pool in &dataset.staff().pools {
        let id = open_pool(&mut uow, pool).await?;
        for agent in &pool.agents {
            hire(&mut uow, id, agent, team, take(&agent.username)?).await?;
        }
        send_campaigns(&mut uow, pool.code, id).await?;
    }
    // Before the commit: a staff without its passwords would be locked out.
    secrets::write(&passwords_file(data), lines.as_bytes()).context("writing the passwords of the staff")?;
    uow.commit().await?;
    Ok(marker)
}

/// By username, and all of them as lines. Before the transaction begins: hashing is slow.
async fn hash_passwords(
    passwords: &Passwords,
    dataset: &Dataset,
) -> anyhow::Result<(BTreeMap<String, HashedPassword>, String)> {
    let (mut hashed, mut lines) = (BTreeMap::new(), String::new());
    let usernames = dataset.staff().agents().map(|agent| agent.username.as_str());
    for username in std::iter::once(MARKER).chain(usernames) {
        let password = identity::generate_password();
        writeln!(lines, "{username} {}", password.expose_secret())?;
        hashed.insert(username.to_owned(), passwords.hash(username, &password).await?);
    }
    Ok((hashed, lines))
}

fn new_user(
    username: &str,
    display_name: String,
    role: Role,
    team: TeamId,
    password: HashedPassword,
) -> NewUser {
    NewUser { username: username.to_owned(), display_name, role, team: Some(team), password }
}

async fn open_pool(uow: &mut Uow, pool: &Pool) -> anyhow::Result<PoolId> {
    let opened = if pool.code == DEFAULT_POOL {
        distribution::ensure_default_pool(uow).await
    } else {
        distribution::create_pool(uow, pool.name, false).await
    };
    opened.with_context(|| format!("the pool {}", pool.name))
}

async fn hire(
    uow: &mut Uow,
    pool: PoolId,
    agent: &Agent,
    team: TeamId,
    password: HashedPassword,
) -> anyhow::Result<()> {
    let Agent { username, weight, .. } = agent;
    let new = new_user(username, username.clone(), Role::Agent, team, password);
    let user = identity::create_user(uow, new).await.with_context(|| format!("the user {username}"))?.id;
    identity::set_extension(uow, user, Some(EXTENSION)).await?;
    let (capacity, day_capacity) = (agent.capacity.cast_signed(), agent.day_capacity.cast_signed());
    distribution::set_load_limits(uow, user, capacity, day_capacity).await?;
    let block = |shift: &Shift| Block {
        weekday: shift.weekday,
        starts_minute: shift.from_minute,
        ends_minute: shift.to_minute,
    };
    let blocks: Vec<Block> = agent.shifts.iter().map(block).collect();
    distribution::set_hours(uow, user, &blocks).await?;
    for away in &agent.absences {
        let (from, to) = away.span();
        distribution::set_absence(uow, user, from, to).await?;
    }
    distribution::set_member(uow, pool, user, weight.cast_signed()).await?;
    Ok(())
}

/// The campaigns of a pool, through whichever door their leads come.
async fn send_campaigns(uow: &mut Uow, code: &str, pool: PoolId) -> anyhow::Result<()> {
    for campaign in sira_synthetic::campaigns().filter(|campaign| campaign.pool == code) {
        let source = Source { external_id: campaign.id.to_owned(), name: Some(campaign.name.to_owned()) };
        for door in DOORS {
            campaigns::send_to_pool(uow, door.code(), &source, pool).await?;
        }
    }
    Ok(())
}
