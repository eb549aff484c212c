//! SQL of the key store. Each statement commits by itself: the key store may be another database than the caller's.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::Subject;

/// A data key to store.
pub struct NewKey {
    pub id: Uuid,
    pub subject: Subject,
    pub wrapped: Vec<u8>,
}

/// A stored data key; destroyed when `wrapped` is none.
pub struct StoredKey {
    pub id: Uuid,
    pub subject_kind: String,
    pub subject: Uuid,
    pub kek_id: String,
    pub wrapped: Option<Vec<u8>>,
}

/// A stored data key that was not destroyed.
pub struct WrappedKey {
    pub id: Uuid,
    pub subject_kind: String,
    pub subject: Uuid,
    pub kek_id: String,
    pub wrapped: Vec<u8>,
}

/// Stores keys of subjects that have none, destroyed ones counted as had. A parallel insert of the same subject is
/// waited for, so that a later statement sees whichever won.
pub async fn insert_keys(
    pool: &PgPool,
    kek_id: &str,
    keys: &[NewKey],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = keys.iter().map(|key| key.id).collect();
    let kinds: Vec<&str> = keys.iter().map(|key| key.subject.kind()).collect();
    let subjects: Vec<Uuid> = keys.iter().map(|key| key.subject.uuid()).collect();
    let wrapped: Vec<&[u8]> = keys.iter().map(|key| key.wrapped.as_slice()).collect();
    sqlx::query!(
        "insert into keystore.data_keys (id, subject_kind, subject, kek_id, wrapped, created_at)
         select id, subject_kind, subject, $1, wrapped, $2
         from unnest($3::uuid[], $4::text[], $5::uuid[], $6::bytea[]) as key (id, subject_kind, subject, wrapped)
         on conflict (subject_kind, subject) do nothing",
        kek_id,
        now,
        &ids,
        &kinds as &[&str],
        &subjects,
        &wrapped as &[&[u8]],
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The keys of these subjects, in order; none for a subject that never had one.
pub async fn find_keys(pool: &PgPool, subjects: &[Subject]) -> Result<Vec<Option<StoredKey>>, sqlx::Error> {
    let kinds: Vec<&str> = subjects.iter().map(|subject| subject.kind()).collect();
    let uuids: Vec<Uuid> = subjects.iter().map(|subject| subject.uuid()).collect();
    let rows = sqlx::query!(
        r#"select key.id as "id?", asked.subject_kind as "subject_kind!", asked.subject as "subject!",
                key.kek_id as "kek_id?", key.wrapped
         from unnest($1::text[], $2::uuid[]) with ordinality as asked (subject_kind, subject, position)
         left join keystore.data_keys key using (subject_kind, subject)
         order by asked.position"#,
        &kinds as &[&str],
        &uuids,
    )
    .fetch_all(pool)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let (id, kek_id) = row.id.zip(row.kek_id)?;
        let (subject_kind, subject, wrapped) = (row.subject_kind, row.subject, row.wrapped);
        Some(StoredKey { id, subject_kind, subject, kek_id, wrapped })
    });
    Ok(stored.collect())
}

/// Whether anything here is wrapped, that is: whether a lost key-encryption key would be missed.
pub async fn holds_keys(pool: &PgPool) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from keystore.data_keys where wrapped is not null) as "held!""#
    )
    .fetch_one(pool)
    .await
}

/// One live key of each key-encryption key in use, by hopping along `data_keys_kek_idx` instead of reading it all.
pub async fn one_key_of_each_kek(pool: &PgPool) -> Result<Vec<WrappedKey>, sqlx::Error> {
    sqlx::query_as!(
        WrappedKey,
        r#"with recursive kek as (
             (select kek_id from keystore.data_keys where wrapped is not null order by kek_id limit 1)
             union all
             select (select key.kek_id from keystore.data_keys key
                     where key.wrapped is not null and key.kek_id > kek.kek_id order by key.kek_id limit 1)
             from kek where kek.kek_id is not null
         )
         select key.id as "id!", key.subject_kind as "subject_kind!", key.subject as "subject!",
                key.kek_id as "kek_id!", key.wrapped as "wrapped!"
         from kek
         cross join lateral (
             select id, subject_kind, subject, kek_id, wrapped from keystore.data_keys
             where kek_id = kek.kek_id and wrapped is not null order by id limit 1
         ) key"#
    )
    .fetch_all(pool)
    .await
}

/// Empties the subjects' keys, or leaves destroyed ones where there were none, so that none is ever made.
pub async fn destroy_keys(
    pool: &PgPool,
    keys: &[(Uuid, Subject)],
    kek_id: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into keystore.data_keys (id, subject_kind, subject, kek_id, wrapped, created_at, destroyed_at)
         select id, subject_kind, subject, $1, null, $2, $2
         from unnest($3::uuid[], $4::text[], $5::uuid[]) as key (id, subject_kind, subject)
         on conflict (subject_kind, subject) do update
         set wrapped = null, destroyed_at = excluded.destroyed_at
         where data_keys.wrapped is not null",
        kek_id,
        now,
        &keys.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        &keys.iter().map(|(_, subject)| subject.kind()).collect::<Vec<_>>() as &[&str],
        &keys.iter().map(|(_, subject)| subject.uuid()).collect::<Vec<_>>(),
    )
    .execute(pool)
    .await?;
    Ok(())
}
