//! SQL of the audit log.

use chrono::{DateTime, Utc};
use sira_kernel::{Actor, Id};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Entry;
use super::key::PublicKey;
use super::seal::{Checkpoint, Recorded};
use super::tree::{Hash, Tree};

/// Appends entries, in one statement.
pub async fn insert(
    conn: &mut PgConnection,
    actor: &Actor,
    at: DateTime<Utc>,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = entries.iter().map(|_| Id::<Entry>::new().uuid()).collect();
    let actions: Vec<&str> = entries.iter().map(|e| e.action).collect();
    let kinds: Vec<&str> = entries.iter().map(|e| e.subject_kind).collect();
    let subjects: Vec<&str> = entries.iter().map(|e| e.subject.as_str()).collect();
    let bodies: Vec<serde_json::Value> = entries.iter().map(|e| e.body.clone()).collect();
    sqlx::query!(
        "insert into audit_event (id, at, actor_kind, actor, action, subject_kind, subject, body)
         select id, $1, $2, $3, action, subject_kind, subject, body
         from unnest($4::uuid[], $5::text[], $6::text[], $7::text[], $8::jsonb[])
             as entry (id, action, subject_kind, subject, body)",
        at,
        actor.kind(),
        actor.name(),
        &ids,
        &actions as &[&str],
        &kinds as &[&str],
        &subjects as &[&str],
        &bodies,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Names the lock of the sealer: one seals at a time.
const SEALER_LOCK: i64 = 7_140_101;

/// Whether nobody else seals; until the end of the transaction nobody else does.
pub async fn lock_sealer(tx: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "locked!""#, SEALER_LOCK)
        .fetch_one(tx)
        .await
}

/// Takes events that are not sealed, oldest first.
pub async fn take_pending(tx: &mut PgConnection, limit: i64) -> Result<Vec<Recorded>, sqlx::Error> {
    let mut taken = sqlx::query_as!(
        Recorded,
        "with taken as (
            delete from audit_pending where id in (select id from audit_pending order by id limit $1) returning id
        )
        select e.id, at, actor_kind, actor, action, subject_kind, subject, body, trace_parent
        from taken join audit_event e on e.id = taken.id",
        limit
    )
    .fetch_all(tx)
    .await?;
    taken.sort_unstable_by_key(|event| event.id);
    Ok(taken)
}

/// The name of the key that signs this database's checkpoints: this one, when there was none.
pub async fn own_key(tx: &mut PgConnection, key: &PublicKey) -> Result<String, sqlx::Error> {
    sqlx::query_scalar!(
        r#"with known as (select id from audit_key limit 1), added as (
            insert into audit_key (id, public) select $1, $2 where not exists (select from known) returning id
        )
        select coalesce((select id from known), (select id from added)) as "id!""#,
        key.id(),
        key.as_bytes()
    )
    .fetch_one(tx)
    .await
}

/// The size and the peaks of the tree of the last checkpoint.
pub async fn last_tree(tx: &mut PgConnection) -> Result<Option<(u64, Vec<u8>)>, sqlx::Error> {
    let last = sqlx::query!("select size, peaks from audit_checkpoint order by size desc limit 1");
    Ok(last.fetch_optional(tx).await?.map(|row| (row.size.cast_unsigned(), row.peaks)))
}

pub async fn insert_leaves(
    tx: &mut PgConnection,
    first: u64,
    events: &[Recorded],
    records: &[Vec<u8>],
    hashes: &[Hash],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into audit_leaf (leaf, event_id, record, hash)
        select $1 + n - 1, event_id, record, hash
        from unnest($2::uuid[], $3::bytea[], $4::bytea[]) with ordinality as leaf (event_id, record, hash, n)",
        first.cast_signed(),
        &events.iter().map(|event| event.id).collect::<Vec<_>>(),
        records,
        &hashes.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn insert_checkpoint(
    tx: &mut PgConnection,
    checkpoint: &Checkpoint,
    tree: &Tree,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into audit_checkpoint (size, root, peaks, at, signature)
        values ($1, $2, $3, $4, decode($5, 'base64'))",
        checkpoint.size.cast_signed(),
        &tree.root()[..],
        tree.peaks(),
        checkpoint.at,
        checkpoint.signature,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A leaf, and its event if that is there.
pub struct Leaf {
    pub place: i64,
    pub event_id: Uuid,
    pub record: Vec<u8>,
    pub hash: Vec<u8>,
    pub event: Option<Recorded>,
}

/// Leaves from this one on, in their order.
pub async fn list_leaves(conn: &mut PgConnection, from: i64, limit: i64) -> Result<Vec<Leaf>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select leaf, event_id, record, hash, e.id as "id?", at as "at?", actor_kind as "actor_kind?",
            actor as "actor?", action as "action?", subject_kind as "subject_kind?", subject as "subject?",
            body as "body?", trace_parent as "trace_parent?"
        from audit_leaf l left join audit_event e on e.id = l.event_id
        where leaf >= $1 order by leaf limit $2"#,
        from,
        limit
    )
    .fetch_all(conn)
    .await?;
    let leaves = rows.into_iter().map(|row| {
        let event = || {
            Some(Recorded {
                id: row.id?,
                at: row.at?,
                actor_kind: row.actor_kind?,
                actor: row.actor?,
                action: row.action?,
                subject_kind: row.subject_kind?,
                subject: row.subject?,
                body: row.body?,
                trace_parent: row.trace_parent,
            })
        };
        let event = event();
        Leaf { place: row.leaf, event_id: row.event_id, record: row.record, hash: row.hash, event }
    });
    Ok(leaves.collect())
}

/// Checkpoints of more than `from` leaves and of at most `to`, the smallest first.
pub async fn list_checkpoints(
    conn: &mut PgConnection,
    (from, to): (i64, i64),
    limit: i64,
) -> Result<Vec<Checkpoint>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select size, translate(encode(root, 'base64'), e'\n', '') as "root!", at, (select id from audit_key limit 1) as key,
            translate(encode(signature, 'base64'), e'\n', '') as "signature!"
        from audit_checkpoint where size > $1 and size <= $2 order by size limit $3"#,
        from,
        to,
        limit
    )
    .fetch_all(conn)
    .await?;
    let checkpoints = rows.into_iter().map(|row| Checkpoint {
        size: row.size.cast_unsigned(),
        root: row.root,
        at: row.at,
        key: row.key.unwrap_or_default(),
        signature: row.signature,
    });
    Ok(checkpoints.collect())
}

/// What is no leaf.
pub struct Unsealed {
    /// Events that wait to be sealed.
    pub pending: i64,
    /// Events that do not wait either.
    pub strays: Vec<Uuid>,
    /// What waits and is no event.
    pub lost: Vec<Uuid>,
}

/// Reads all events. Names so many of each kind at most.
pub async fn find_unsealed(conn: &mut PgConnection, limit: i64) -> Result<Unsealed, sqlx::Error> {
    let pending = sqlx::query_scalar!(r#"select count(*) as "count!" from audit_pending"#);
    let pending = pending.fetch_one(&mut *conn).await?;
    let strays = sqlx::query_scalar!(
        "select id from audit_event e where not exists (select from audit_leaf where event_id = e.id)
            and not exists (select from audit_pending where id = e.id) limit $1",
        limit
    );
    let strays = strays.fetch_all(&mut *conn).await?;
    let lost = sqlx::query_scalar!(
        "select id from audit_pending p where not exists (select from audit_event where id = p.id) limit $1",
        limit
    );
    Ok(Unsealed { pending, strays, lost: lost.fetch_all(conn).await? })
}
