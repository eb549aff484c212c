//! Taking an import's leads back.

use super::{ImportError, State, store};
use crate::event::Event;
use crate::leads;
use crate::nouns::ImportId;
use crate::uow::Uow;

/// How far taking back is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Leads were taken; there may be more.
    Going,
    /// None is left to take.
    Undone,
}

/// Takes back some leads that the import made and nobody has worked on, oldest first, and their enquiries with them. When
/// none is left the import is [`State::Undone`], and [`Event::ImportUndone`] is recorded.
///
/// # Errors
/// [`ImportError::WrongState`] unless it was asked for.
pub async fn undo(uow: &mut Uow, id: ImportId, limit: u16) -> Result<Progress, ImportError> {
    let import = super::lock(uow, id, &[State::Undoing]).await?;
    let now = uow.now();
    let untouched = store::list_untouched(uow.conn(), id, limit).await?;
    if untouched.is_empty() {
        let kept = import.counts.created - import.counts.removed;
        store::finish_undo(uow.conn(), id, kept, now).await?;
        uow.record(Event::ImportUndone { import: id, removed: import.counts.removed, kept });
        return Ok(Progress::Undone);
    }
    leads::remove(uow, &untouched).await?;
    store::count_removed(uow.conn(), id, untouched.len() as i64, now).await?;
    Ok(Progress::Going)
}
