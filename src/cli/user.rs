//! `sira user`: those who work here.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sira_domain::identity::{self, NewUser, Passwords, Role, User};
use sira_domain::{Db, distribution};
use sira_kernel::Actor;
use uuid::Uuid;

use super::output::{Listing, Row};
use super::{Exit, on_database};
use crate::app::unattended;
use crate::config::Config;
use crate::database::Database;

/// Longest line that is read as a password, in bytes: 128 characters of UTF-8 and a line break.
const LINE_BYTES_MAX: u64 = 1024;

/// What is asked for.
#[derive(Debug, Clone, Parser)]
pub struct CreateArgs {
    /// What one signs in with: a-z, 0-9, dot, dash, underscore
    #[arg(long)]
    pub username: String,
    /// admin, manager, agent or auditor
    #[arg(long)]
    pub role: Role,
    /// What colleagues read; the username when not given
    #[arg(long)]
    pub display_name: Option<String>,
    /// The team's name; made when there is none of it
    #[arg(long)]
    pub team: Option<String>,
    /// The share of the default pool's leads that an agent takes, as a weight; 0 joins no pool
    #[arg(long, default_value_t = 1)]
    pub pool_weight: i32,
    /// The line that the user places calls by, at the telephony provider: 1 to 10 digits
    #[arg(long)]
    pub extension: Option<String>,
    /// Read the password from the first line of stdin; without this one is generated and shown once
    #[arg(long)]
    pub password_stdin: bool,
}

/// Which users.
#[derive(Debug, Args)]
pub struct Ls {
    /// Only users with later usernames: the last one of the page before
    #[arg(long, value_name = "USERNAME")]
    after: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a user; its password is generated and shown once, unless it comes on stdin
    Create(CreateArgs),
    /// List users in the order of their usernames
    Ls(Ls),
}

/// Runs one of them, on the running system or on its database.
pub async fn run(config: &Config, command: Command) -> anyhow::Result<Exit> {
    on_database(config, async |database| with(config, database, command).await).await.map(|()| Exit::Ok)
}

async fn with(config: &Config, database: &Database, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(args) => {
            let db = unattended(config, database.pool().clone());
            create(&db, args, &mut std::io::stdin().lock(), &mut std::io::stdout()).await.map(drop)
        }
        Command::Ls(args) => {
            let mut conn = database.pool().acquire().await?;
            let wanted = args.listing.rows_wanted();
            let users = identity::list_users(&mut conn, args.after.as_deref(), wanted).await?;
            args.listing.print(users.into_iter().map(Listed::from).collect())
        }
    }
}

/// A user in a list.
#[derive(Serialize)]
struct Listed {
    id: Uuid,
    username: String,
    display_name: String,
    role: &'static str,
    team: Option<Uuid>,
    active: bool,
    created_at: DateTime<Utc>,
}

impl From<User> for Listed {
    fn from(user: User) -> Self {
        Self {
            id: user.id.uuid(),
            username: user.username,
            display_name: user.display_name,
            role: user.role.as_str(),
            team: user.team.map(sira_kernel::Id::uuid),
            active: user.active,
            created_at: user.created_at,
        }
    }
}

impl Row for Listed {
    const HEADINGS: &'static [&'static str] =
        &["USERNAME", "ROLE", "ACTIVE", "DISPLAY_NAME", "TEAM", "CREATED", "ID"];
    const NEXT: &'static str = "--after";
    fn cells(&self) -> Vec<String> {
        vec![
            self.username.clone(),
            self.role.to_owned(),
            self.active.to_string(),
            self.display_name.clone(),
            self.team.map_or(String::new(), |team| team.to_string()),
            self.created_at.to_rfc3339(),
            self.id.to_string(),
        ]
    }
    fn position(&self) -> String {
        self.username.clone()
    }
}

/// Creates the user and writes what was created, and the password when it was generated, as this one time.
pub async fn create(
    db: &Db,
    args: CreateArgs,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<User> {
    let given = if args.password_stdin { Some(read_password(input)?) } else { None };
    let password = given.clone().unwrap_or_else(identity::generate_password);
    let hashed = Passwords::new().hash(&args.username, &password).await?;
    let mut uow = db.begin(Actor::System).await.context("the database is not to be had")?;
    let team = match &args.team {
        Some(name) => Some(identity::ensure_team(&mut uow, name).await?),
        None => None,
    };
    let display_name = args.display_name.unwrap_or_else(|| args.username.clone());
    let new = NewUser { username: args.username, display_name, role: args.role, team, password: hashed };
    let user = identity::create_user(&mut uow, new).await?;
    if let Some(extension) = &args.extension {
        identity::set_extension(&mut uow, user.id, Some(extension)).await?;
    }
    if user.role == Role::Agent && args.pool_weight != 0 {
        let pool = distribution::ensure_default_pool(&mut uow).await?;
        distribution::set_member(&mut uow, pool, user.id, args.pool_weight).await?;
    }
    uow.commit().await?;
    writeln!(out, "created {} ({}) {}", user.username, user.role.as_str(), user.id)?;
    if given.is_none() {
        writeln!(out, "password: {}", password.expose_secret())?;
    }
    Ok(user)
}

fn read_password(input: &mut impl BufRead) -> anyhow::Result<SecretString> {
    let mut line = String::new();
    input.take(LINE_BYTES_MAX).read_line(&mut line).context("reading the password from stdin")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "stdin has no password in its first line");
    Ok(SecretString::from(password))
}
