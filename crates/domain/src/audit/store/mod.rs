//! SQL of the audit log.

pub mod search;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sira_kernel::{Actor, Id};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::audit::Entry;
use crate::audit::key::PublicKey;
use crate::audit::seal::{Checkpoint, Recorded};
use crate::audit::tiles::{TILE, Tile, Tiles};
use crate::audit::tree::{Hash, Tree};

/// Appends entries, in one statement.
pub async fn insert(
    conn: &mut PgConnection,
    actor: &Actor,
    at: DateTime<Utc>,
    entries: &[Entry],
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = Id::<Entry>::sequence(at).map(Id::uuid).take(entries.len()).collect();
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

/// Hashes of one level from this place on, up to but not including another; a leaf's own at level 0.
pub async fn list_hashes(
    conn: &mut PgConnection,
    level: u32,
    places: std::ops::Range<u64>,
) -> Result<Vec<Hash>, sqlx::Error> {
    let (from, to) = (places.start.cast_signed(), places.end.cast_signed());
    let rows = if level == 0 {
        sqlx::query_scalar!(
            "select hash from audit_leaf where leaf >= $1 and leaf < $2 order by leaf",
            from,
            to
        )
        .fetch_all(conn)
        .await?
    } else {
        let level = level as i16;
        sqlx::query_scalar!(
            "select hash from audit_tile where level = $1 and place >= $2 and place < $3 order by place",
            level,
            from,
            to
        )
        .fetch_all(conn)
        .await?
    };
    rows.into_iter().map(into_hash).collect()
}

fn into_hash(bytes: Vec<u8>) -> Result<Hash, sqlx::Error> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("a hash has 32 bytes".into()))
}

/// So many roots of a level are kept: all before the first that is not.
pub async fn count_tiles(conn: &mut PgConnection, level: u32) -> Result<u64, sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"select coalesce(max(place) + 1, 0) as "count!" from audit_tile where level = $1"#,
        level as i16
    );
    Ok(count.fetch_one(conn).await?.cast_unsigned())
}

/// Adds roots of a level, from this place on.
pub async fn insert_tiles(
    tx: &mut PgConnection,
    level: u32,
    first: u64,
    roots: &[Hash],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into audit_tile (level, place, hash)
        select $1, $2 + n - 1, hash from unnest($3::bytea[]) with ordinality as root (hash, n)",
        level as i16,
        first.cast_signed(),
        &roots.iter().map(|root| root.to_vec()).collect::<Vec<_>>(),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// The hashes of tiles.
pub async fn read_tiles(conn: &mut PgConnection, wanted: &BTreeSet<Tile>) -> Result<Tiles, sqlx::Error> {
    let mut tiles = Tiles::default();
    let leaves: Vec<i64> =
        wanted.iter().filter(|(level, _)| *level == 0).map(|(_, tile)| tile.cast_signed()).collect();
    let rows = sqlx::query!(
        r#"select own.leaf, own.hash from unnest($1::bigint[]) as tile (place)
        cross join lateral (
            select leaf, hash from audit_leaf where leaf >= tile.place * $2 and leaf < (tile.place + 1) * $2 offset 0
        ) as own"#,
        &leaves,
        TILE.cast_signed()
    );
    for row in rows.fetch_all(&mut *conn).await? {
        tiles.extend(0, [(row.leaf.cast_unsigned(), into_hash(row.hash)?)]);
    }
    let (levels, places): (Vec<i16>, Vec<i64>) = wanted
        .iter()
        .filter(|(level, _)| *level > 0)
        .map(|(level, tile)| (*level as i16, tile.cast_signed()))
        .unzip();
    let rows = sqlx::query!(
        r#"select own.level, own.place, own.hash from unnest($1::smallint[], $2::bigint[]) as tile (level, place)
        cross join lateral (
            select level, place, hash from audit_tile
            where level = tile.level and place >= tile.place * $3 and place < (tile.place + 1) * $3 offset 0
        ) as own"#,
        &levels,
        &places,
        TILE.cast_signed()
    );
    for row in rows.fetch_all(conn).await? {
        tiles.extend(row.level as u32, [(row.place.cast_unsigned(), into_hash(row.hash)?)]);
    }
    Ok(tiles)
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

/// Checkpoints of fewer than `before` leaves, the largest first.
pub async fn list_last_checkpoints(
    conn: &mut PgConnection,
    before: i64,
    limit: i64,
) -> Result<Vec<Checkpoint>, sqlx::Error> {
    let last = sqlx::query_scalar!(
        "select size from audit_checkpoint where size < $1 order by size desc limit $2",
        before,
        limit
    );
    let sizes = last.fetch_all(&mut *conn).await?;
    let Some((largest, smallest)) = sizes.first().zip(sizes.last()) else { return Ok(Vec::new()) };
    let mut checkpoints = list_checkpoints(conn, (smallest - 1, *largest), limit).await?;
    checkpoints.reverse();
    Ok(checkpoints)
}

/// The checkpoint of so many leaves.
pub async fn find_checkpoint(conn: &mut PgConnection, size: u64) -> Result<Option<Checkpoint>, sqlx::Error> {
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    Ok(list_checkpoints(conn, (size.saturating_sub(1), size), 1).await?.pop())
}

/// The key that signs this database's checkpoints; `None` before the first one.
///
/// # Errors
/// When the database refuses.
pub async fn find_key(conn: &mut PgConnection) -> Result<Option<PublicKey>, sqlx::Error> {
    let key = sqlx::query_scalar!("select public from audit_key limit 1").fetch_optional(conn).await?;
    Ok(key.map(PublicKey::of_bytes))
}

/// Place and bytes of an event's leaf.
pub async fn find_leaf(conn: &mut PgConnection, event: Uuid) -> Result<Option<(u64, Vec<u8>)>, sqlx::Error> {
    let leaf = sqlx::query!("select leaf, record from audit_leaf where event_id = $1", event);
    Ok(leaf.fetch_optional(conn).await?.map(|row| (row.leaf.cast_unsigned(), row.record)))
}

/// Whether there is such an event.
pub async fn exists(conn: &mut PgConnection, event: Uuid) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from audit_event where id = $1) as "known!""#, event)
        .fetch_one(conn)
        .await
}

/// Events that wait to be sealed.
///
/// # Errors
/// When the database refuses.
pub async fn count_pending(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let count =
        sqlx::query_scalar!(r#"select count(*) as "count!" from audit_pending"#).fetch_one(conn).await?;
    Ok(count.cast_unsigned())
}

/// What is no leaf.
pub struct Unsealed {
    /// Events that wait to be sealed.
    pub pending: u64,
    /// Events that do not wait either.
    pub strays: Vec<Uuid>,
    /// What waits and is no event.
    pub lost: Vec<Uuid>,
}

/// Reads all events. Names so many of each kind at most.
pub async fn find_unsealed(conn: &mut PgConnection, limit: i64) -> Result<Unsealed, sqlx::Error> {
    let pending = count_pending(&mut *conn).await?;
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
