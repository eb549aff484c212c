//! A small demo team, so that the first lead finds an agent: an administrator, a manager, three agents in one pool.
//!
//! Passwords are generated and lie, readable by the owner alone, in `secrets/demo_passwords` under the data
//! directory. Without working hours the agents are always at work.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::ExposeSecret;
use sira_domain::distribution;
use sira_domain::identity::{self, NewUser, Passwords, Role};
use sira_domain::nouns::TeamId;
use sira_domain::{Db, Uow};
use sira_kernel::Actor;

use crate::secrets;

/// Who is seeded: username, display name, role, weight in the pool.
const PEOPLE: [(&str, &str, Role, i32); 5] = [
    ("admin", "Administrator", Role::Admin, 0),
    ("manager", "Manager", Role::Manager, 0),
    ("agent1", "Agent One", Role::Agent, 50),
    ("agent2", "Agent Two", Role::Agent, 30),
    ("agent3", "Agent Three", Role::Agent, 20),
];

/// Open leads that a demo agent carries, and leads it takes a day.
const CAPACITY: i32 = 5_000;

/// The line of every demo agent at the sandbox: nobody's phone rings.
const EXTENSION: &str = "101";

/// Where the generated passwords lie.
pub fn passwords_file(data: &Path) -> PathBuf {
    data.join("secrets").join("demo_passwords")
}

/// Seeds the team unless it is there. Answers whether it did. Safe to repeat; all of it or nothing.
pub async fn seed(db: &Db, passwords: &Passwords, data: &Path) -> anyhow::Result<bool> {
    {
        let mut conn = db.read().await?;
        if identity::find_user_by_username(&mut conn, PEOPLE[0].0).await?.is_some() {
            return Ok(false);
        }
    }
    let mut lines = String::new();
    let mut hashed = Vec::new();
    for (username, ..) in PEOPLE {
        let password = identity::generate_password();
        writeln!(lines, "{username} {}", password.expose_secret())?;
        hashed.push(passwords.hash(username, &password).await?);
    }
    let mut uow = db.begin(Actor::System).await?;
    let team = identity::ensure_team(&mut uow, "Demo").await?;
    let pool = distribution::ensure_default_pool(&mut uow).await?;
    for ((username, display_name, role, weight), password) in PEOPLE.into_iter().zip(hashed) {
        let user = create(&mut uow, (username, display_name, role), team, password).await?;
        if role == Role::Agent {
            identity::set_extension(&mut uow, user, Some(EXTENSION)).await?;
            distribution::set_load_limits(&mut uow, user, CAPACITY, CAPACITY).await?;
            distribution::set_member(&mut uow, pool, user, weight).await?;
        }
    }
    // Before the commit: a seeded team without its passwords would be locked out.
    secrets::write(&passwords_file(data), lines.as_bytes()).context("writing the demo passwords")?;
    uow.commit().await?;
    Ok(true)
}

async fn create(
    uow: &mut Uow,
    (username, display_name, role): (&str, &str, Role),
    team: TeamId,
    password: identity::HashedPassword,
) -> anyhow::Result<sira_domain::nouns::UserId> {
    let new = NewUser {
        username: username.to_owned(),
        display_name: display_name.to_owned(),
        role,
        team: Some(team),
        password,
    };
    Ok(identity::create_user(uow, new).await?.id)
}

/// The generated password of a demo user, for those who may read the file.
pub fn password_of(data: &Path, username: &str) -> anyhow::Result<String> {
    let path = passwords_file(data);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(name, _)| *name == username);
    let (_, password) = found.with_context(|| format!("{} names no {username}", path.display()))?;
    Ok(password.to_owned())
}

/// The username of the demo user who is shown by this name.
pub fn username_of(display_name: &str) -> Option<&'static str> {
    PEOPLE.iter().find(|(_, shown, ..)| *shown == display_name).map(|(username, ..)| *username)
}
