//! Who works here: users, roles, teams, passwords, and what each may see.
//!
//! **Invariant:** whoever asks cannot tell an unknown username, a wrong password and a disabled user apart,
//! neither by the answer nor by its time.

mod password;
mod roles;
mod store;

use chrono::{DateTime, TimeDelta, Utc};
pub use password::{
    HashError, HashedPassword, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, Passwords, WeakPassword,
    generate as generate_password,
};
pub use roles::{Permission, Role, Scope, UnknownRole};
use secrecy::SecretString;
use sira_engine::EngineError;
use sira_kernel::Actor;
use sqlx::PgConnection;

use crate::audit;
use crate::event::Event;
use crate::nouns::{TeamId, UserId};
use crate::uow::{Db, Uow};

/// What an agent's open leads may weigh together until somebody sets it.
pub const CAPACITY_DEFAULT: i32 = 50;
/// Leads that an agent takes in a day until somebody sets it.
pub const DAY_CAPACITY_DEFAULT: i32 = 100;
/// Between two notes that the same user was refused for lack of the same permission.
const REFUSAL_NOTED_EVERY: TimeDelta = TimeDelta::minutes(1);
/// Longest display name, in characters.
const DISPLAY_NAME_CHARS_MAX: usize = 120;
/// Longest name of a team, in characters.
const TEAM_NAME_CHARS_MAX: usize = 120;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// What one signs in with; lower-case.
    pub username: String,
    /// What colleagues read.
    pub display_name: String,
    /// What they are.
    pub role: Role,
    /// The team, if any.
    pub team: Option<TeamId>,
    /// Whether they may sign in and act.
    pub active: bool,
    /// IANA name of their time zone.
    pub time_zone: String,
    /// When the user was created.
    pub created_at: DateTime<Utc>,
}

impl User {
    /// Which leads they may see.
    pub fn scope(&self) -> Scope {
        Scope::of(self.role, self.id, self.team)
    }

    /// Who they are in a unit of work.
    pub fn actor(&self) -> Actor {
        Actor::User(self.id.uuid())
    }
}

/// A user to create.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// What one signs in with: `[a-z0-9][a-z0-9._-]{1,62}` after trimming and lower-casing.
    pub username: String,
    /// What colleagues read; not empty.
    pub display_name: String,
    /// What they are.
    pub role: Role,
    /// The team, if any.
    pub team: Option<TeamId>,
    /// From [`Passwords::hash`], before the transaction begins: hashing is slow.
    pub password: HashedPassword,
}

/// Why a user or team could not be created or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Somebody has this username.
    #[error("this username is taken")]
    UsernameTaken,
    /// The username has another shape than the rule.
    #[error(
        "a username has 2 to 63 characters: a-z, 0-9, dot, dash, underscore; the first is a letter or digit"
    )]
    InvalidUsername,
    /// The name is empty or too long.
    #[error("a display name has 1 to {DISPLAY_NAME_CHARS_MAX} characters")]
    InvalidDisplayName,
    /// The team's name is empty or too long.
    #[error("a team's name has 1 to {TEAM_NAME_CHARS_MAX} characters")]
    InvalidTeamName,
    /// The extension has another shape than the rule.
    #[error("an extension has 1 to 10 digits")]
    InvalidExtension,
    /// There is no such user.
    #[error("there is no such user")]
    UnknownUser,
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown, wrong or disabled: deliberately one case.
    #[error("username or password is wrong")]
    Refused,
    /// Too many sign-ins at once.
    #[error("too many sign-ins at once")]
    Busy,
    /// A stored hash cannot be read, or memory was refused.
    #[error("the password could not be checked")]
    Broken,
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The audit event could not be written; nobody is signed in without one.
    #[error(transparent)]
    Commit(#[from] EngineError),
}

/// Creates a user; an agent also gets a load row with the default capacity.
///
/// # Errors
/// [`IdentityError::UsernameTaken`] by the unique key, whatever else runs at the same time.
pub async fn create_user(uow: &mut Uow, new: NewUser) -> Result<User, IdentityError> {
    let username = normal_username(&new.username).ok_or(IdentityError::InvalidUsername)?;
    let display_name = new.display_name.trim().to_owned();
    if !(1..=DISPLAY_NAME_CHARS_MAX).contains(&display_name.chars().count()) {
        return Err(IdentityError::InvalidDisplayName);
    }
    let (new, now) = (NewUser { username, display_name, ..new }, uow.now());
    let user = store::insert_user(uow.conn(), UserId::new(), &new, now).await?;
    if user.role == Role::Agent {
        store::insert_agent_load(uow.conn(), user.id, CAPACITY_DEFAULT, DAY_CAPACITY_DEFAULT).await?;
    }
    uow.record(Event::UserCreated { user: user.id, role: user.role.as_str() });
    Ok(user)
}

/// Sets the line that a user places calls by, at the telephony provider: 1 to 10 digits; `None` takes it away. Records
/// [`Event::ExtensionSet`].
///
/// # Errors
/// [`IdentityError::InvalidExtension`], [`IdentityError::UnknownUser`].
pub async fn set_extension(
    uow: &mut Uow,
    user: UserId,
    extension: Option<&str>,
) -> Result<(), IdentityError> {
    let sound = |line: &str| (1..=10).contains(&line.len()) && line.bytes().all(|b| b.is_ascii_digit());
    if !extension.is_none_or(sound) {
        return Err(IdentityError::InvalidExtension);
    }
    let now = uow.now();
    if !store::set_extension(uow.conn(), user, extension, now).await? {
        return Err(IdentityError::UnknownUser);
    }
    uow.record(Event::ExtensionSet { user, set: extension.is_some() });
    Ok(())
}

/// The team of this name, made when there is none, which alone is recorded. Safe to repeat and under concurrency.
pub async fn ensure_team(uow: &mut Uow, name: &str) -> Result<TeamId, IdentityError> {
    let name = name.trim();
    if !(1..=TEAM_NAME_CHARS_MAX).contains(&name.chars().count()) {
        return Err(IdentityError::InvalidTeamName);
    }
    let fresh = TeamId::new();
    let team = store::ensure_team(uow.conn(), fresh, name).await?;
    if team == fresh {
        uow.record(Event::TeamCreated { team });
    }
    Ok(team)
}

/// The user with this id.
pub async fn find_user(conn: &mut PgConnection, id: UserId) -> Result<Option<User>, IdentityError> {
    Ok(store::find_user(conn, id).await?)
}

/// The user with this username, however it is capitalised.
pub async fn find_user_by_username(
    conn: &mut PgConnection,
    username: &str,
) -> Result<Option<User>, IdentityError> {
    let Some(username) = normal_username(username) else { return Ok(None) };
    Ok(store::find_by_username(conn, &username).await?.map(|(user, _)| user))
}

/// At most `limit` users with a username after `after`, in its order.
pub async fn list_users(
    conn: &mut PgConnection,
    after: Option<&str>,
    limit: u16,
) -> Result<Vec<User>, IdentityError> {
    Ok(store::list_users(conn, after.unwrap_or_default(), limit).await?)
}

/// Checks a username and a password; audits the outcome. Holds no connection while it hashes.
///
/// # Errors
/// [`SignInError::Refused`] for an unknown username, a wrong password and a disabled user alike.
pub async fn sign_in(
    db: &Db,
    passwords: &Passwords,
    username: &str,
    password: &SecretString,
) -> Result<User, SignInError> {
    // A name that nobody can have takes the same way, or its answer would come sooner.
    let name = normal_username(username).unwrap_or_default();
    let found = {
        let mut conn = db.read().await?;
        store::find_by_username(&mut conn, &name).await?
    };
    let (user, hash) = found.unzip();
    let matches = passwords.verify(hash, password).await.map_err(|error| match error {
        HashError::Busy => SignInError::Busy,
        HashError::Broken | HashError::Weak(_) => SignInError::Broken,
    })?;
    let known = user.as_ref().map(|user| user.id);
    let signed_in = user.filter(|user| matches && user.active);
    let mut uow = db.begin(signed_in.as_ref().map_or(Actor::System, User::actor)).await?;
    uow.record(match &signed_in {
        Some(user) => Event::SignedIn { user: user.id },
        None => Event::SignInRefused { user: known },
    });
    uow.commit().await?;
    signed_in.ok_or(SignInError::Refused)
}

/// Notes that a user asked for what their role does not include: once a minute for each permission, so that
/// who asks in a loop does not fill the log.
///
/// # Errors
/// When the database refuses; then nothing is noted.
pub async fn note_refusal(db: &Db, user: &User, permission: Permission) -> Result<(), SignInError> {
    let mut uow = db.begin(user.actor()).await?;
    let noted = audit::Search {
        actor: Some(user.id.to_string()),
        action: Some("access.refused".to_owned()),
        from: Some(uow.now() - REFUSAL_NOTED_EVERY),
        ..audit::Search::default()
    };
    let noted = audit::search(uow.conn(), &noted, None, Permission::ALL.len() as u16).await?;
    if noted.iter().any(|found| found.event.body["permission"] == permission.as_str()) {
        return Ok(());
    }
    uow.record(Event::AccessRefused { user: user.id, permission: permission.as_str() });
    uow.commit().await?;
    Ok(())
}

/// Trimmed and lower-cased; `None` when no user can have it. The same rule as `users_username_check`.
fn normal_username(raw: &str) -> Option<String> {
    let name = raw.trim().to_lowercase();
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = (2..=63).contains(&name.len())
        && name.starts_with(word)
        && name.chars().all(|c| word(c) || matches!(c, '.' | '_' | '-'));
    valid.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::normal_username;

    #[test]
    fn usernames_are_normalised_or_refused() {
        for (raw, expected) in [
            (" Ayse.Demo ", Some("ayse.demo")),
            ("a1", Some("a1")),
            ("a", None),
            (".ayse", None),
            ("ay se", None),
            ("ayşe", None),
            ("", None),
        ] {
            assert_eq!(normal_username(raw).as_deref(), expected, "{raw:?}");
        }
        assert_eq!(normal_username(&"a".repeat(64)), None);
    }
}
