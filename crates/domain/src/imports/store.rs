//! SQL of imports.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sira_kernel::Id;
use sqlx::PgConnection;
use uuid::Uuid;

use super::reader::Refused;
use super::{Counts, Import, ImportError, Mended, NewImport, ROW, Refusal, State};
use crate::ingestion::answers::Question;
use crate::nouns::{ImportId, LeadId, UserId};
use crate::privacy::DataKey;

struct Row {
    id: Uuid,
    state: String,
    user_id: Option<Uuid>,
    name_sealed: Vec<u8>,
    region: String,
    time_zone: String,
    upload: Option<Uuid>,
    bytes: i64,
    encoding: Option<String>,
    delimiter: Option<String>,
    headings_sealed: Option<Vec<u8>>,
    mapping: Option<Value>,
    rows_done: i64,
    bytes_done: i64,
    created: i64,
    joined: i64,
    reopened: i64,
    bad: i64,
    removed: i64,
    kept: i64,
    failure: Option<String>,
    cancel_requested: bool,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl Row {
    fn into_import(self) -> Result<Import, ImportError> {
        let mapping = match self.mapping {
            None => Vec::new(),
            Some(mapping) => read_mapping(&mapping).ok_or(ImportError::Unreadable)?,
        };
        Ok(Import {
            id: self.id.into(),
            state: State::parse(&self.state).ok_or(ImportError::Unreadable)?,
            user: self.user_id.map(UserId::from_uuid),
            name_sealed: self.name_sealed,
            region: self.region,
            time_zone: self.time_zone,
            upload: self.upload,
            bytes: self.bytes,
            encoding: self.encoding,
            delimiter: self.delimiter,
            headings_sealed: self.headings_sealed,
            mapping,
            rows_done: self.rows_done,
            bytes_done: self.bytes_done,
            counts: Counts {
                created: self.created,
                joined: self.joined,
                reopened: self.reopened,
                bad: self.bad,
                removed: self.removed,
                kept: self.kept,
            },
            failure: self.failure,
            cancel_requested: self.cancel_requested,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

fn read_mapping(mapping: &Value) -> Option<Vec<Option<Question>>> {
    let columns = mapping.as_array()?.iter().map(|column| match column {
        Value::Null => Some(None),
        Value::String(code) => Question::parse(code).map(Some),
        _ => None,
    });
    columns.collect()
}

fn write_mapping(mapping: &[Option<Question>]) -> Value {
    json!(mapping.iter().map(|column| column.map(Question::code)).collect::<Vec<_>>())
}

pub async fn insert(
    conn: &mut PgConnection,
    id: ImportId,
    new: &NewImport<'_>,
    name_sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into imports (id, state, user_id, name_sealed, region, time_zone, created_at, updated_at)
         values ($1, 'awaiting_file', $2, $3, $4, $5, $6, $6)",
        id.uuid(),
        new.user.map(UserId::uuid),
        name_sealed,
        new.region,
        new.time_zone,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn find(conn: &mut PgConnection, id: ImportId) -> Result<Option<Import>, ImportError> {
    let row = sqlx::query_as!(
        Row,
        "select id, state, user_id, name_sealed, region, time_zone, upload, bytes, encoding, delimiter, headings_sealed,
             mapping, rows_done, bytes_done, created, joined, reopened, bad, removed, kept, failure, cancel_requested,
             created_at, started_at, finished_at
         from imports where id = $1",
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::into_import).transpose()
}

// Locked so that state and progress stay as they are read until the change is written.
pub async fn lock(conn: &mut PgConnection, id: ImportId) -> Result<Option<Import>, ImportError> {
    let row = sqlx::query_scalar!("select id from imports where id = $1 for update", id.uuid())
        .fetch_optional(&mut *conn)
        .await?;
    if row.is_none() {
        return Ok(None);
    }
    find(conn, id).await
}

pub async fn list(
    conn: &mut PgConnection,
    before: Option<(DateTime<Utc>, ImportId)>,
    limit: u16,
) -> Result<Vec<Import>, ImportError> {
    let rows = sqlx::query_as!(
        Row,
        "select id, state, user_id, name_sealed, region, time_zone, upload, bytes, encoding, delimiter, headings_sealed,
             mapping, rows_done, bytes_done, created, joined, reopened, bad, removed, kept, failure, cancel_requested,
             created_at, started_at, finished_at
         from imports
         where $1::timestamptz is null or (created_at, id) < ($1, $2::uuid)
         order by created_at desc, id desc limit $3",
        before.map(|(at, _)| at),
        before.map(|(_, id)| id.uuid()),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Row::into_import).collect()
}

/// Where a piece belongs.
#[derive(Clone, Copy)]
pub struct Place {
    pub import: ImportId,
    pub upload: Uuid,
    pub position: i32,
}

pub async fn insert_piece(
    conn: &mut PgConnection,
    place: Place,
    row: Uuid,
    sealed: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into import_pieces (import_id, upload, position, id, sealed) values ($1, $2, $3, $4, $5)",
        place.import.uuid(),
        place.upload,
        place.position,
        row,
        sealed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The piece's row and its sealed bytes.
pub async fn find_piece(
    conn: &mut PgConnection,
    place: Place,
) -> Result<Option<(Uuid, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, sealed from import_pieces where import_id = $1 and upload = $2 and position = $3",
        place.import.uuid(),
        place.upload,
        place.position,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.id, row.sealed)))
}

/// What is known of a file that is here.
pub struct File {
    pub upload: Uuid,
    pub bytes: u64,
    pub fingerprint: [u8; 32],
    pub encoding: &'static str,
    pub delimiter: String,
    pub headings: Vec<u8>,
    pub mapping: Vec<Option<Question>>,
}

/// Makes an upload the import's file; pieces of any other upload go away.
pub async fn set_file(
    conn: &mut PgConnection,
    id: ImportId,
    file: &File,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports
         set state = 'checked', upload = $2, bytes = $3, fingerprint = $4, encoding = $5, delimiter = $6,
             headings_sealed = $7, mapping = $8, updated_at = $9
         where id = $1",
        id.uuid(),
        file.upload,
        file.bytes.cast_signed(),
        &file.fingerprint[..],
        file.encoding,
        file.delimiter,
        file.headings,
        write_mapping(&file.mapping),
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("delete from import_pieces where import_id = $1 and upload <> $2", id.uuid(), file.upload)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn start(
    conn: &mut PgConnection,
    id: ImportId,
    mapping: &[Option<Question>],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports set state = 'running', mapping = $2, started_at = $3, updated_at = $3 where id = $1",
        id.uuid(),
        write_mapping(mapping),
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn request_cancel(conn: &mut PgConnection, id: ImportId) -> Result<(), sqlx::Error> {
    sqlx::query!("update imports set cancel_requested = true where id = $1", id.uuid()).execute(conn).await?;
    Ok(())
}

pub async fn set_state(
    conn: &mut PgConnection,
    id: ImportId,
    state: State,
    failure: Option<&str>,
    finished_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports set state = $2, failure = $3, finished_at = $4, updated_at = $5 where id = $1",
        id.uuid(),
        state.code(),
        failure,
        finished_at,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a chunk adds.
pub struct Progress {
    pub created: i64,
    pub joined: i64,
    pub reopened: i64,
    pub bad: i64,
    /// Up to where the file is settled.
    pub bytes_done: i64,
}

pub async fn advance(
    conn: &mut PgConnection,
    id: ImportId,
    progress: &Progress,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports
         set created = created + $2, joined = joined + $3, reopened = reopened + $4, bad = bad + $5,
             rows_done = rows_done + $2 + $3 + $4 + $5, bytes_done = $6, updated_at = $7
         where id = $1",
        id.uuid(),
        progress.created,
        progress.joined,
        progress.reopened,
        progress.bad,
        progress.bytes_done,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn insert_bad(
    conn: &mut PgConnection,
    key: &DataKey,
    id: ImportId,
    bad: &[Refused],
) -> Result<(), sqlx::Error> {
    if bad.is_empty() {
        return Ok(());
    }
    let rows: Vec<Uuid> = bad.iter().map(|_| Id::<BadRow>::new().uuid()).collect();
    let sealed: Vec<Vec<u8>> = bad
        .iter()
        .zip(&rows)
        .map(|(refused, row)| {
            let fields = serde_json::to_vec(&refused.record.fields).expect("strings are always JSON");
            key.seal(ROW, *row, &fields)
        })
        .collect();
    let columns = bad.iter().map(|refused| refused.refusal.column.map(|column| column as i32));
    sqlx::query!(
        "insert into import_rows (import_id, line, id, code, column_number, sealed)
         select $1, line, id, code, column_number, sealed
         from unnest($2::bigint[], $3::uuid[], $4::text[], $5::integer[], $6::bytea[])
             as row (line, id, code, column_number, sealed)",
        id.uuid(),
        &bad.iter().map(|refused| refused.record.line.cast_signed()).collect::<Vec<_>>(),
        &rows,
        &bad.iter().map(|refused| refused.refusal.code).collect::<Vec<_>>() as &[&str],
        &columns.collect::<Vec<_>>() as &[Option<i32>],
        &sealed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row that could not become a lead, without what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Where the record begins in the file.
    pub line: i64,
    /// A stable code.
    pub code: String,
    /// The column that is to blame, counted from 1.
    pub column: Option<i32>,
}

impl BadRow {
    /// The first line of a list of bad rows.
    pub const CSV_HEADING: &'static str = "line,column,code,advice\n";

    /// The row as a line of CSV, with what to do about it. Codes and advice hold no quotation marks.
    pub fn csv_line(&self) -> String {
        let column = self.column.map_or_else(String::new, |column| column.to_string());
        format!("{},{column},{},\"{}\"\n", self.line, self.code, Refusal::advice(&self.code))
    }
}

/// A bad row with what it says, and what became of it if it was mended.
pub struct SealedRow {
    pub id: Uuid,
    pub code: String,
    pub sealed: Vec<u8>,
    pub mended: Option<Mended>,
}

pub async fn find_bad(
    conn: &mut PgConnection,
    import: ImportId,
    line: i64,
) -> Result<Option<SealedRow>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, code, sealed, lead_id, effect from import_rows where import_id = $1 and line = $2",
        import.uuid(),
        line,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| SealedRow {
        mended: row.lead_id.zip(row.effect).and_then(|(lead, effect)| Mended::read(lead.into(), &effect)),
        id: row.id,
        code: row.code,
        sealed: row.sealed,
    }))
}

/// What the row said stands with the lead's enquiry from now on, under the lead's key.
pub async fn mark_mended(
    conn: &mut PgConnection,
    import: ImportId,
    line: i64,
    mended: &Mended,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update import_rows set sealed = '', mended_at = $3, effect = $4, lead_id = $5
         where import_id = $1 and line = $2",
        import.uuid(),
        line,
        now,
        mended.effect,
        mended.lead.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves a row between the counts; the file is as far as it was.
pub async fn count_mended(
    conn: &mut PgConnection,
    id: ImportId,
    effect: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports
         set created = created + ($2 = 'created')::integer, joined = joined + ($2 = 'joined')::integer,
             reopened = reopened + ($2 = 'reopened')::integer, bad = bad - 1, updated_at = $3
         where id = $1",
        id.uuid(),
        effect,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn list_bad(
    conn: &mut PgConnection,
    id: ImportId,
    after_line: i64,
    limit: u16,
) -> Result<Vec<BadRow>, sqlx::Error> {
    sqlx::query_as!(
        BadRow,
        r#"select line, code, column_number as "column" from import_rows
           where import_id = $1 and line > $2 and mended_at is null order by line limit $3"#,
        id.uuid(),
        after_line,
        i64::from(limit),
    )
    .fetch_all(conn)
    .await
}

/// Leads that the import made and that are as it made them: nobody called, wrote, agreed or changed anything, and the person
/// did not ask again.
pub async fn list_untouched(
    conn: &mut PgConnection,
    id: ImportId,
    limit: u16,
) -> Result<Vec<LeadId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "select lead.id
         from lead_enquiries enquiry join leads lead on lead.id = enquiry.lead_id
         where enquiry.import_id = $1 and enquiry.effect = 'created' and lead.status = 'new'
             and not exists (select from lead_status_history step
                             where step.lead_id = lead.id and step.from_status is not null)
             and not exists (select from lead_enquiries other
                             where other.lead_id = lead.id and other.import_id is distinct from $1)
             and not exists (select from lead_notes where lead_id = lead.id)
             and not exists (select from follow_ups where lead_id = lead.id)
             and not exists (select from contact_decisions where lead_id = lead.id)
             and not exists (select from calls where lead_id = lead.id)
             and not exists (select from lead_reviews
                             where lead.id in (lead_id, other_id) and state <> 'open')
         order by enquiry.id limit $2",
        id.uuid(),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(LeadId::from_uuid).collect())
}

pub async fn count_removed(
    conn: &mut PgConnection,
    id: ImportId,
    removed: i64,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports set removed = removed + $2, updated_at = $3 where id = $1",
        id.uuid(),
        removed,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn finish_undo(
    conn: &mut PgConnection,
    id: ImportId,
    kept: i64,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update imports set state = 'undone', kept = $2, failure = null, finished_at = $3, updated_at = $3 where id = $1",
        id.uuid(),
        kept,
        now,
    )
    .execute(conn)
    .await?;
    Ok(())
}
