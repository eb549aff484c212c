//! Bad rows, mended one by one: values of columns are put in the place of those in the file, and the row goes through the
//! same door as every other.
//!
//! **Invariant:** a row is mended once; what became of it is said again to whoever mends it again.

use super::reader::reading_of;
use super::records::Record;
use super::rows::Refusal;
use super::{ImportError, ROW, State, lock, store};
use crate::Db;
use crate::event::Event;
use crate::leads::{self, LeadError, NewLead, Prepared};
use crate::nouns::{ImportId, LeadId};
use crate::privacy::{Cipher, Subject};
use crate::uow::Uow;

/// In which states bad rows are mended: nobody settles rows, or takes leads back, meanwhile.
const MENDABLE: [State; 3] = [State::Done, State::Failed, State::Cancelled];

/// What became of a row that was mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mended {
    /// The lead.
    pub lead: LeadId,
    /// `created`, `joined` or `reopened`.
    pub effect: &'static str,
}

impl Mended {
    /// Of what is stored.
    pub(super) fn read(lead: LeadId, effect: &str) -> Option<Self> {
        let effects = ["created", "joined", "reopened"];
        let effect = effects.into_iter().find(|known| *known == effect)?;
        Some(Self { lead, effect })
    }
}

/// Why a row was not mended. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// The import has no bad row there.
    #[error("there is no bad row at this line")]
    NoBadRow,
    /// The file has no such column.
    #[error("no column has this heading; the file has {}", .known.join(", "))]
    UnknownColumn {
        /// Which of the values.
        place: usize,
        /// The headings that there are.
        known: Vec<String>,
    },
    /// The row with the new values cannot become a lead either.
    #[error("{}", Refusal::advice(.0.code))]
    StillBad(Refusal),
    /// The import does not allow it, or somebody else brings the same person at this moment ([`LeadError::Raced`]: prepare
    /// again).
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl From<LeadError> for MendError {
    fn from(error: LeadError) -> Self {
        Self::Import(error.into())
    }
}

impl From<sqlx::Error> for MendError {
    fn from(error: sqlx::Error) -> Self {
        Self::Import(error.into())
    }
}

/// A row ready to be settled.
pub struct PreparedRow {
    import: ImportId,
    line: i64,
    /// `None`: it was mended before.
    lead: Option<(NewLead, Prepared)>,
}

/// Opens a bad row, puts values, named by the headings of their columns, in the place of its own, and prepares the lead. No
/// transaction is open here: see [`leads::prepare_all`].
///
/// # Errors
/// [`MendError`].
pub async fn prepare_row(
    db: &Db,
    cipher: &Cipher,
    (import, line): (ImportId, i64),
    values: &[(String, String)],
) -> Result<PreparedRow, MendError> {
    let (found, row) = {
        let mut conn = db.read().await?;
        let found = super::get(&mut conn, import).await?;
        (found, store::find_bad(&mut conn, import, line).await?.ok_or(MendError::NoBadRow)?)
    };
    if !MENDABLE.contains(&found.state) {
        return Err(ImportError::WrongState { state: found.state }.into());
    }
    if row.mended.is_some() {
        return Ok(PreparedRow { import, line, lead: None });
    }
    let key = cipher.key(Subject::Import(import)).await.map_err(ImportError::from)?;
    let reading = reading_of(&key, &found)?;
    let opened = key.open(ROW, row.id, &row.sealed).map_err(ImportError::from)?;
    let mut fields: Vec<String> = serde_json::from_slice(&opened).map_err(|_| ImportError::Unreadable)?;
    fields.resize(fields.len().max(reading.columns.len()), String::new());
    let mut kept: Vec<bool> = reading.columns.iter().map(|_| true).collect();
    for (place, (heading, value)) in values.iter().enumerate() {
        let column = reading.columns.iter().position(|column| column.heading.trim() == heading.trim());
        let known = || reading.columns.iter().map(|column| column.heading.clone()).collect();
        let column = column.ok_or_else(|| MendError::UnknownColumn { place, known: known() })?;
        fields[column].clone_from(value);
        kept[column] = false;
    }
    // One that was too large, or had more values than there are columns, is made anew by giving every column.
    let anew = !kept.contains(&true);
    if anew {
        fields.truncate(reading.columns.len());
    }
    let too_large = row.code == "row_too_large" && !anew;
    let record = Record { line: line.cast_unsigned(), fields, too_large };
    let lead = reading.read(&record).map_err(MendError::StillBad)?;
    let prepared = leads::prepare(db, cipher, &lead).await?;
    Ok(PreparedRow { import, line, lead: Some((lead, prepared)) })
}

/// Makes the lead, and moves the row from the bad ones to those that became something. Says what became of a row that was
/// mended before. Records [`Event::ImportRowMended`].
///
/// # Errors
/// [`MendError`]; [`ImportError::WrongState`] while the import runs, and once it is taken back.
pub async fn settle_row(uow: &mut Uow, row: &PreparedRow) -> Result<Mended, MendError> {
    let now = uow.now();
    lock(uow, row.import, &MENDABLE).await?;
    // Under the import's lock: nobody else mends it at this moment.
    let found = store::find_bad(uow.conn(), row.import, row.line).await?.ok_or(MendError::NoBadRow)?;
    if let Some(mended) = found.mended {
        return Ok(mended);
    }
    let Some((lead, prepared)) = &row.lead else { return Err(MendError::NoBadRow) };
    let arrival = leads::create_or_merge(uow, lead, prepared).await?;
    let mended = Mended { lead: arrival.lead(), effect: arrival.code() };
    store::mark_mended(uow.conn(), row.import, row.line, &mended, now).await?;
    store::count_mended(uow.conn(), row.import, mended.effect, now).await?;
    uow.record(Event::ImportRowMended {
        import: row.import,
        line: row.line,
        lead: mended.lead,
        effect: mended.effect,
    });
    Ok(mended)
}
