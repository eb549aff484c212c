//! Leads from files: created, filled with a file, started, settled chunk by chunk, and taken back if need be.
//!
//! A file comes in through an [`Upload`], which seals it piece by piece and finds out what it is. A [`Reader`] gives its
//! records as enquiries, [`BATCH_MAX`](crate::leads::BATCH_MAX) at a time; each chunk becomes leads, bad rows and progress
//! in one unit of work ([`open_chunk`], [`settle_chunk`]), so that an import that is killed goes on where it stopped and
//! does nothing twice.
//!
//! A bad row is mended by values in the place of its own ([`prepare_row`], [`settle_row`]).
//!
//! **Invariant:** every record of a file that was imported is an enquiry or a bad row, and is exactly one of them.

mod format;
mod mending;
mod reader;
mod records;
mod rows;
mod store;
mod undo;
mod upload;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sira_engine::EngineError;
use sqlx::PgConnection;
use uuid::Uuid;

pub use format::{Format, Unreadable};
pub use mending::{MendError, Mended, PreparedRow, prepare_row, settle_row};
pub use reader::{Chunk, Reader};
pub use rows::Refusal;
pub use store::BadRow;
pub use undo::{Progress, undo};
pub use upload::{Upload, UploadError};

use crate::event::Event;
use crate::ingestion::answers::Question;
use crate::leads::{Arrival, LeadError};
use crate::nouns::{ImportId, UserId};
use crate::privacy::{DataKey, Field, PrivacyError};
use crate::uow::Uow;

/// Where a file's name is sealed; the row is the import.
pub const NAME: Field = Field { table: "imports", column: "name_sealed" };
/// Where a file's headings are sealed, as JSON; the row is the import.
pub const HEADINGS: Field = Field { table: "imports", column: "headings_sealed" };
/// Where a piece of a file is sealed; the row is the piece.
pub const PIECE: Field = Field { table: "import_pieces", column: "sealed" };
/// Where a bad row is sealed, as JSON; the row is its own.
pub const ROW: Field = Field { table: "import_rows", column: "sealed" };
/// Largest file.
pub const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Most imports, or bad rows, of one page.
pub const PAGE_MAX: u16 = 200;

/// How an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has no file yet.
    AwaitingFile,
    /// The file is here and can be read; nothing was imported.
    Checked,
    /// Its rows become leads.
    Running,
    /// Every row is settled.
    Done,
    /// It stopped for good.
    Failed,
    /// Somebody stopped it; what was settled stays.
    Cancelled,
    /// Its leads are being taken back.
    Undoing,
    /// Its leads were taken back, but for those that somebody had worked on.
    Undone,
}

impl State {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::AwaitingFile,
        Self::Checked,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Undoing,
        Self::Undone,
    ];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::AwaitingFile => "awaiting_file",
            Self::Checked => "checked",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
        }
    }

    /// Of a stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// What became of the rows of an import, and of its leads when it was undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows that made a lead.
    pub created: i64,
    /// Rows that joined an open lead.
    pub joined: i64,
    /// Rows that reopened a closed lead.
    pub reopened: i64,
    /// Rows that could not become leads.
    pub bad: i64,
    /// Leads that were taken back.
    pub removed: i64,
    /// Leads that stay, because somebody worked on them or the person asked again.
    pub kept: i64,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The import.
    pub id: ImportId,
    /// How it stands.
    pub state: State,
    /// Whose it is; `None` for one that came by the command line.
    pub user: Option<UserId>,
    /// The file's name, sealed.
    pub name_sealed: Vec<u8>,
    /// Where national phone numbers are at home.
    pub region: String,
    /// In which zone times without one are meant; an IANA name.
    pub time_zone: String,
    /// Which upload of the file counts.
    pub upload: Option<Uuid>,
    /// The file's size.
    pub bytes: i64,
    /// A label of the WHATWG encoding standard.
    pub encoding: Option<String>,
    /// What stands between columns.
    pub delimiter: Option<String>,
    /// The headings, sealed.
    pub headings_sealed: Option<Vec<u8>>,
    /// What each column is taken for.
    pub mapping: Vec<Option<Question>>,
    /// Settled records after the headings.
    pub rows_done: i64,
    /// Bytes of the file that they were read from.
    pub bytes_done: i64,
    /// What became of them.
    pub counts: Counts,
    /// Why it failed: a stable code.
    pub failure: Option<String>,
    /// Somebody wants it stopped.
    pub cancel_requested: bool,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Why an import cannot be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is none.
    #[error("no such import")]
    NotFound,
    /// It stands where this cannot be done.
    #[error("the import is {}: this cannot be done now", .state.code())]
    WrongState {
        /// How it stands.
        state: State,
    },
    /// No column is a phone number or an e-mail address.
    #[error("no column is mapped to phone or email: without one of them no row can become a lead")]
    NoContactColumn,
    /// The mapping has another number of columns than the file.
    #[error("the mapping has another number of columns than the file: {columns}")]
    WrongColumns {
        /// How many the file has.
        columns: usize,
    },
    /// There is no such zone.
    #[error("no such time zone: expected an IANA name, as in Europe/Istanbul")]
    UnknownZone,
    /// Leads could not be taken back.
    #[error(transparent)]
    Leads(#[from] LeadError),
    /// A unit of work could not be committed.
    #[error(transparent)]
    Commit(#[from] EngineError),
    /// The file's key is missing, or something sealed does not open.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// Something stored is none of what is known.
    #[error("a stored import cannot be read")]
    Unreadable,
    /// The database refused or was not there.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// An import to create.
pub struct NewImport<'a> {
    /// Whose it is; `None` for one that came by the command line.
    pub user: Option<UserId>,
    /// The file's name.
    pub name: &'a str,
    /// Where national phone numbers are at home: ISO 3166.
    pub region: &'a str,
    /// In which zone times without one are meant: an IANA name.
    pub time_zone: &'a str,
}

/// Creates an import that waits for its file, and records [`Event::ImportCreated`]. `key` is the import's own.
///
/// # Errors
/// [`ImportError::UnknownZone`].
pub async fn create(
    uow: &mut Uow,
    key: &DataKey,
    id: ImportId,
    new: &NewImport<'_>,
) -> Result<(), ImportError> {
    if rows::zone(new.time_zone).is_none() {
        return Err(ImportError::UnknownZone);
    }
    let now = uow.now();
    let name = key.seal(NAME, id.uuid(), new.name.as_bytes());
    store::insert(uow.conn(), id, new, &name, now).await?;
    uow.record(Event::ImportCreated { import: id });
    Ok(())
}

/// An import.
///
/// # Errors
/// [`ImportError::NotFound`].
pub async fn get(conn: &mut PgConnection, id: ImportId) -> Result<Import, ImportError> {
    store::find(conn, id).await?.ok_or(ImportError::NotFound)
}

/// Imports, newest first, before the given one; at most [`PAGE_MAX`] and one more that tells whether there are others.
pub async fn list(
    conn: &mut PgConnection,
    before: Option<(DateTime<Utc>, ImportId)>,
    limit: u16,
) -> Result<Vec<Import>, ImportError> {
    store::list(conn, before, limit.min(PAGE_MAX + 1)).await
}

/// The headings of an import's file.
pub fn headings(key: &DataKey, import: &Import) -> Result<Vec<String>, ImportError> {
    let Some(sealed) = &import.headings_sealed else { return Ok(Vec::new()) };
    let opened = key.open(HEADINGS, import.id.uuid(), sealed)?;
    serde_json::from_slice(&opened).map_err(|_| ImportError::Unreadable)
}

/// The name of an import's file.
pub fn name(key: &DataKey, import: &Import) -> Result<String, ImportError> {
    let opened = key.open(NAME, import.id.uuid(), &import.name_sealed)?;
    String::from_utf8(opened).map_err(|_| ImportError::Unreadable)
}

/// Lets the rows become leads by this mapping, or by the one that was found, and records [`Event::ImportStarted`].
///
/// # Errors
/// [`ImportError::WrongState`] unless its file was checked; [`ImportError::NoContactColumn`],
/// [`ImportError::WrongColumns`].
pub async fn start(
    uow: &mut Uow,
    id: ImportId,
    mapping: Option<Vec<Option<Question>>>,
) -> Result<(), ImportError> {
    let import = lock(uow, id, &[State::Checked]).await?;
    let columns = import.mapping.len();
    let mapping = mapping.unwrap_or(import.mapping);
    if mapping.len() != columns {
        return Err(ImportError::WrongColumns { columns });
    }
    if !mapping.iter().any(|column| matches!(column, Some(Question::Phone | Question::Email))) {
        return Err(ImportError::NoContactColumn);
    }
    let now = uow.now();
    store::start(uow.conn(), id, &mapping, now).await?;
    uow.record(Event::ImportStarted { import: id });
    Ok(())
}

/// Stops an import: at once when it does not run, else after the chunk that it is at. What was settled stays.
///
/// # Errors
/// [`ImportError::WrongState`] when it has ended.
pub async fn cancel(uow: &mut Uow, id: ImportId) -> Result<(), ImportError> {
    let open = [State::AwaitingFile, State::Checked, State::Running];
    let import = lock(uow, id, &open).await?;
    if import.state == State::Running {
        return Ok(store::request_cancel(uow.conn(), id).await?);
    }
    end(uow, &import, State::Cancelled, None).await
}

/// Whether a chunk may be settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// Somebody else settled it, or the import has ended: there is nothing to do here.
    Passed,
}

/// Locks the import for the chunk after `rows_done` records. One that is to be stopped is stopped here.
pub async fn open_chunk(uow: &mut Uow, id: ImportId, rows_done: i64) -> Result<Gate, ImportError> {
    let import = store::lock(uow.conn(), id).await?.ok_or(ImportError::NotFound)?;
    if import.state != State::Running || import.rows_done != rows_done {
        return Ok(Gate::Passed);
    }
    if import.cancel_requested {
        end(uow, &import, State::Cancelled, None).await?;
        return Ok(Gate::Passed);
    }
    Ok(Gate::Open)
}

/// Writes what became of a chunk, in the unit of work that made it so; the last one ends the import and records
/// [`Event::ImportEnded`].
pub async fn settle_chunk(
    uow: &mut Uow,
    key: &DataKey,
    id: ImportId,
    chunk: &Chunk,
    arrivals: &[Arrival],
) -> Result<(), ImportError> {
    let now = uow.now();
    store::insert_bad(uow.conn(), key, id, &chunk.bad).await?;
    let count = |of: fn(&Arrival) -> bool| arrivals.iter().filter(|arrival| of(arrival)).count() as i64;
    let progress = store::Progress {
        created: count(|arrival| matches!(arrival, Arrival::Created(_))),
        joined: count(|arrival| matches!(arrival, Arrival::Joined(_))),
        reopened: count(|arrival| matches!(arrival, Arrival::Reopened(_))),
        bad: chunk.bad.len() as i64,
        bytes_done: chunk.bytes_done,
    };
    store::advance(uow.conn(), id, &progress, now).await?;
    if chunk.is_last {
        let import = store::find(uow.conn(), id).await?.ok_or(ImportError::NotFound)?;
        end(uow, &import, State::Done, None).await?;
    }
    Ok(())
}

/// Ends an import that no further try can help.
pub async fn fail(uow: &mut Uow, id: ImportId, code: &str) -> Result<(), ImportError> {
    let import = lock(uow, id, &[State::Running]).await?;
    end(uow, &import, State::Failed, Some(code)).await
}

/// Asks for an import's leads to be taken back, and records [`Event::ImportUndoRequested`].
///
/// # Errors
/// [`ImportError::WrongState`] while it runs, and when nothing was imported.
pub async fn request_undo(uow: &mut Uow, id: ImportId) -> Result<(), ImportError> {
    lock(uow, id, &[State::Done, State::Cancelled, State::Failed]).await?;
    let now = uow.now();
    store::set_state(uow.conn(), id, State::Undoing, None, None, now).await?;
    uow.record(Event::ImportUndoRequested { import: id });
    Ok(())
}

/// Bad rows after this line, in the file's order.
pub async fn list_bad(
    conn: &mut PgConnection,
    id: ImportId,
    after_line: i64,
    limit: u16,
) -> Result<Vec<BadRow>, sqlx::Error> {
    store::list_bad(conn, id, after_line, limit).await
}

async fn lock(uow: &mut Uow, id: ImportId, allowed: &[State]) -> Result<Import, ImportError> {
    let import = store::lock(uow.conn(), id).await?.ok_or(ImportError::NotFound)?;
    if allowed.contains(&import.state) {
        Ok(import)
    } else {
        Err(ImportError::WrongState { state: import.state })
    }
}

async fn end(uow: &mut Uow, import: &Import, state: State, failure: Option<&str>) -> Result<(), ImportError> {
    let now = uow.now();
    store::set_state(uow.conn(), import.id, state, failure, Some(now), now).await?;
    uow.record(Event::ImportEnded {
        import: import.id,
        state: state.code(),
        created: import.counts.created,
        joined: import.counts.joined,
        reopened: import.counts.reopened,
        bad: import.counts.bad,
    });
    Ok(())
}
