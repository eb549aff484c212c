//! Everything that happened to a lead, in one stream: written by the unit of work from its events, read by cursor.
//!
//! **Invariant:** append-only; entries hold ids, codes and numbers. What people write is a note, sealed under the
//! lead's key, and an entry points at it.

mod store;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
pub(crate) use store::insert;
use uuid::Uuid;

use crate::event::Event;
use crate::nouns::{LeadId, NoteId, UserId};
use crate::privacy::{DataKey, Field};
use crate::uow::Uow;

/// Where a note is sealed; the row is the note.
pub const NOTE: Field = Field { table: "lead_notes", column: "body_sealed" };
/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 4_000;
/// Most rows in one page.
pub const PAGE_MAX: u16 = 200;

/// What one filters a timeline by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It arrived, asked again, was reopened or corrected.
    Lead,
    /// It got or lost its owner.
    Assignment,
    /// Its status changed.
    Status,
    /// A promise about it began, was reminded of, broken, kept.
    Sla,
    /// It was called, or that was refused.
    Call,
    /// Somebody wrote about it.
    Note,
    /// Something was agreed for a time.
    FollowUp,
    /// Somebody does not get it for a while, or does again.
    CoolingOff,
    /// It waits, or is with the administrators.
    Queue,
    /// The person said what they may be contacted by.
    Consent,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Lead,
        Self::Assignment,
        Self::Status,
        Self::Sla,
        Self::Call,
        Self::Note,
        Self::FollowUp,
        Self::CoolingOff,
        Self::Queue,
        Self::Consent,
    ];

    /// The stored name.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Lead => "lead",
            Self::Assignment => "assignment",
            Self::Status => "status",
            Self::Sla => "sla",
            Self::Call => "call",
            Self::Note => "note",
            Self::FollowUp => "follow_up",
            Self::CoolingOff => "cooling_off",
            Self::Queue => "queue",
            Self::Consent => "consent",
        }
    }

    /// The kind of this stored name.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// One thing that happened to one lead, before it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The lead.
    pub lead: LeadId,
    /// What one filters by.
    pub kind: Kind,
    /// What happened.
    pub code: &'static str,
    /// The call, the note, the follow-up that it is about.
    pub reference: Option<Uuid>,
    /// Ids, codes and numbers.
    pub body: Value,
}

/// A place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When.
    pub at: DateTime<Utc>,
    /// The row.
    pub id: Uuid,
}

/// An entry as it is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The row.
    pub id: Uuid,
    /// The lead that it happened to: the one that was asked for, or one that was merged into it.
    pub lead: LeadId,
    /// When.
    pub at: DateTime<Utc>,
    /// What one filters by: a [`Kind`]'s stored name.
    pub kind: String,
    /// What happened.
    pub code: String,
    /// `user`, `job`, `workflow`, `provider` or `system`.
    pub actor_kind: String,
    /// Which one.
    pub actor: String,
    /// A user's display name.
    pub actor_name: Option<String>,
    /// The call, the note, the follow-up that it is about.
    pub reference: Option<Uuid>,
    /// Ids, codes and numbers.
    pub body: Value,
    /// The note, sealed for [`NOTE`] under the lead's key.
    pub note_sealed: Option<Vec<u8>>,
}

impl Row {
    /// Its place.
    pub fn position(&self) -> Position {
        Position { at: self.at, id: self.id }
    }
}

/// Entries of a lead and of those merged into it, newest first, from after a place; of these kinds, or of all when none is named. At most `limit`
/// rows, and at most [`PAGE_MAX`] and one that tells whether there is another page.
pub async fn list(
    conn: &mut PgConnection,
    lead: LeadId,
    kinds: &[Kind],
    after: Option<Position>,
    limit: u16,
) -> Result<Vec<Row>, sqlx::Error> {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
    store::list(conn, lead, &kinds, after, limit.min(PAGE_MAX + 1)).await
}

/// Adds a note, sealed under the lead's own key, and records [`Event::NoteAdded`]. The text has at most
/// [`NOTE_CHARS_MAX`] characters: the edge has checked it.
pub async fn add_note(
    uow: &mut Uow,
    lead: LeadId,
    author: UserId,
    key: &DataKey,
    text: &str,
) -> Result<NoteId, sqlx::Error> {
    let (note, now) = (NoteId::new(), uow.now());
    let sealed = key.seal(NOTE, note.uuid(), text.as_bytes());
    store::insert_note(uow.conn(), note, lead, author, &sealed, now).await?;
    uow.record(Event::NoteAdded { lead, note });
    Ok(note)
}
