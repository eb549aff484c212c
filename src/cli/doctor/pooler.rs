//! Whether a pooler in transaction mode stands between us and PostgreSQL.
//!
//! What a session sets must stay with it: the engine listens, and fixes plans and limits, for a connection's life. A pooler
//! that lends a server to each transaction breaks that, now and then and far from its cause. It shows when two connections
//! that are open at the same time are served by one server process.

use sqlx::{Connection as _, PgConnection, PgPool};

use super::Check;
use super::store;

const NAME: &str = "pooler";
/// Pairs of connections that are tried: a pooler may lend another server for once.
const TRIES: usize = 3;
/// The way past it.
pub const FIX: &str = "sira config show --origin # database.url: PostgreSQL's own port, or say database.pooled and database.direct_url";

/// Looks with two connections of its own.
pub async fn check(pool: &PgPool) -> Check {
    match look(pool).await {
        Ok(true) => Check::bad(
            NAME,
            "in transaction mode: two connections share one server process, so that session settings and LISTEN are lost",
            FIX,
        ),
        Ok(false) => Check::ok(NAME, "none, or in session mode"),
        Err(error) => Check::bad(NAME, format!("two connections cannot be compared: {error}"), FIX),
    }
}

async fn look(pool: &PgPool) -> Result<bool, sqlx::Error> {
    for _ in 0..TRIES {
        let (mut one, mut other) = (pool.acquire().await?, pool.acquire().await?);
        if share(&mut one, &mut other).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Both are open, the second one within a transaction, which holds its server: a server that is dedicated to each has
/// another process, and the first one's keeps what was set in it.
async fn share(one: &mut PgConnection, other: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let first = store::mark_session(one).await?;
    let mut held = other.begin().await?;
    let second = store::get_backend(&mut held).await?;
    let (now, marked) = (store::get_backend(one).await?, store::is_marked(one, first).await?);
    held.rollback().await?;
    Ok(is_shared(first, second, now, marked))
}

fn is_shared(first: i32, second: i32, now: i32, marked: bool) -> bool {
    first == second || now != first || !marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_for_two_or_another_one_each_time_is_transaction_mode() {
        assert!(!is_shared(10, 11, 10, true), "a server each");
        assert!(is_shared(10, 10, 12, false), "the second one was lent the first one's");
        assert!(is_shared(10, 11, 12, true), "the first one was lent another");
        assert!(is_shared(10, 11, 10, false), "what it set is gone");
    }
}
