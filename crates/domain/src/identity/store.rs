//! SQL of users and teams.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{IdentityError, NewUser, Role, User};
use crate::nouns::{TeamId, UserId};

/// A row of `users`.
struct Row {
    id: Uuid,
    username: String,
    display_name: String,
    role: String,
    team_id: Option<Uuid>,
    password_hash: String,
    active: bool,
    time_zone: String,
    created_at: DateTime<Utc>,
}

impl Row {
    fn into_user(self) -> Result<(User, String), sqlx::Error> {
        let role: Role = self.role.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let user = User {
            id: self.id.into(),
            username: self.username,
            display_name: self.display_name,
            role,
            team: self.team_id.map(TeamId::from_uuid),
            active: self.active,
            time_zone: self.time_zone,
            created_at: self.created_at,
        };
        Ok((user, self.password_hash))
    }
}

/// Inserts a user; its unique key decides whether the name was free.
pub async fn insert_user(
    conn: &mut PgConnection,
    id: UserId,
    new: &NewUser,
    now: DateTime<Utc>,
) -> Result<User, IdentityError> {
    let inserted = sqlx::query_as!(
        Row,
        "insert into users (id, username, display_name, role, team_id, password_hash, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7)
         returning id, username, display_name, role, team_id, password_hash, active, time_zone, created_at",
        id.uuid(),
        new.username,
        new.display_name,
        new.role.as_str(),
        new.team.map(TeamId::uuid),
        new.password.phc(),
        now,
    )
    .fetch_one(conn)
    .await;
    match inserted {
        Ok(row) => Ok(row.into_user()?.0),
        Err(sqlx::Error::Database(error)) if error.constraint() == Some("users_username_key") => {
            Err(IdentityError::UsernameTaken)
        }
        Err(error) => Err(error.into()),
    }
}

/// What an agent may carry.
pub async fn insert_agent_load(
    conn: &mut PgConnection,
    user: UserId,
    capacity: i32,
    day_capacity: i32,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into agent_load (user_id, capacity, day_capacity) values ($1, $2, $3)",
        user.uuid(),
        capacity,
        day_capacity,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// `false` when there is no such user.
pub async fn set_extension(
    conn: &mut PgConnection,
    user: UserId,
    extension: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "update users set extension = $2, updated_at = $3 where id = $1",
        user.uuid(),
        extension,
        now,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Finds or makes a team: `id` comes back when it was made now. The update changes nothing: it makes the row come
/// back, and waits for a twin.
pub async fn ensure_team(conn: &mut PgConnection, id: TeamId, name: &str) -> Result<TeamId, sqlx::Error> {
    let id = sqlx::query_scalar!(
        "insert into teams (id, name) values ($1, $2)
         on conflict (name) do update set name = excluded.name
         returning id",
        id.uuid(),
        name,
    )
    .fetch_one(conn)
    .await?;
    Ok(id.into())
}

/// By id.
pub async fn find_user(conn: &mut PgConnection, id: UserId) -> Result<Option<User>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "select id, username, display_name, role, team_id, password_hash, active, time_zone, created_at
         from users where id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.into_user().map(|(user, _)| user)).transpose()
}

/// By the normal form of the username, with the stored hash.
pub async fn find_by_username(
    conn: &mut PgConnection,
    username: &str,
) -> Result<Option<(User, String)>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "select id, username, display_name, role, team_id, password_hash, active, time_zone, created_at
         from users where username = $1",
        username,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_user).transpose()
}

/// A page in the order of usernames.
pub async fn list_users(conn: &mut PgConnection, after: &str, limit: u16) -> Result<Vec<User>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "select id, username, display_name, role, team_id, password_hash, active, time_zone, created_at
         from users where username > $1 order by username limit $2",
        after,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.into_user().map(|(user, _)| user)).collect()
}
